/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The keeper's event loop: connections, requests, signals, time.  What is decided is in round.c and
 * decide.c, what is administered in ops.c; how it starts and ends is in keeper.c.
 *
 * A turn: take what waits on the connections, decide all checks in one batch, answer them; then run
 * a JSON request, in a batch of its own.  Replies to changes wait in their peer's queue until the
 * housekeeping thread has flushed the log past them.  So the loop itself never waits for the disk.
 *
 * Invariants: a peer that is neither root nor of our own user, or came through check.sock, can only
 * ask for checks; answers on a connection keep the order of its questions; buffers that held
 * credentials or requests are wiped when they have been dealt with; a store that serves no longer
 * ends the process, so that a new one recovers it.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/loop.h"

#include "base/clock.h"
#include "base/secret.h"
#include "keeper/reload.h"
#include "keeper/uses.h"
#include "store/store.h"

#define ACCEPTS_MAX 64
/* Neither strangers nor workers, the most there can be during a reload, use up all of them: the
 * tool gets through. */
#define STRANGERS_MAX 448
#define WORKERS_MAX 512
#define REQUESTS_MAX 1 /* JSON requests run in one turn: checks wait for it, half a millisecond */
#define REDO_TAKES 128 /* of a turn: as many logs at most, a millisecond or two */
#define STUCK_US (2 * CLOCK_SECOND)

/* ---- connections ---- */

int
loop_watch(const struct keeper *k, int op, int fd, uint32_t events, void *who)
{
	struct epoll_event ev = {.events = events, .data.ptr = who};

	return epoll_ctl(k->epoll_fd, op, fd, &ev);
}

/* Watch a peer for what it may do now: nothing more is read while its request or our answer waits.
 */
static void
update_interest(struct keeper *k, struct peer *p)
{
	uint32_t events = EPOLLIN;

	if (p->request != NULL || !peer_idle(p))
		events = p->stuck_since_us != 0 ? EPOLLOUT : 0;
	if (p->closing || events == p->events)
		return;
	if (loop_watch(k, EPOLL_CTL_MOD, p->fd, events, p) != 0)
		p->closing = 1;
	p->events = events;
}

/* Of how many of its like ${p} would be one too many; NULL: nobody counts these. */
static size_t *
count_of(struct keeper *k, const struct peer *p)
{
	if (!p->ours)
		return &k->nstrangers;
	return p->checks_only ? &k->nworkers : NULL;
}

static int
has_room(struct keeper *k, const struct peer *p)
{
	const size_t *n = count_of(k, p);

	if (k->npeers >= PEERS_MAX)
		return 0;
	return n == NULL || *n < (p->ours ? WORKERS_MAX : STRANGERS_MAX);
}

/* Takes the descriptor. */
static void
add_peer(struct keeper *k, int fd, int checks_only)
{
	struct err e = {0};
	struct peer *p = peer_new(fd, checks_only, &e);
	size_t *n;

	if (p == NULL) {
		log_event(LOG_LVL_ERROR, "accept_failed", "error", e.msg, NULL);
		return;
	}
	if (!has_room(k, p)) {
		peer_refused(p, "too many connections", &k->refusals);
		peer_free(p);
		return;
	}
	if (loop_watch(k, EPOLL_CTL_ADD, p->fd, EPOLLIN, p) != 0) {
		log_event(LOG_LVL_ERROR, "accept_failed", "error", strerror(errno), NULL);
		peer_free(p);
		return;
	}
	p->events = EPOLLIN;
	p->next = k->peers;
	if (p->next != NULL)
		p->next->prev = p;
	k->peers = p;
	k->npeers++;
	if ((n = count_of(k, p)) != NULL)
		++*n;
}

void
loop_remove_peer(struct keeper *k, struct peer *p)
{
	size_t *n = count_of(k, p);

	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		k->peers = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	k->npeers--;
	if (n != NULL)
		--*n;
	k->last_peer_us = clock_mono_us();
	peer_free(p);
}

static void
set_deaf(struct keeper *k, int deaf)
{
	int failed = 0;

	if (k->deaf == deaf)
		return;
	for (struct door *d = k->doors; d < k->doors + DOORS; d++)
		failed |= loop_watch(k, EPOLL_CTL_MOD, d->fd, deaf ? 0 : EPOLLIN, d) != 0;
	/* One that is deaf still is opened by the next tick. */
	k->deaf = deaf || failed;
}

static void
on_listen(struct keeper *k, const struct door *d)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			add_peer(k, fd, d->checks_only);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) {
			log_event(LOG_LVL_ERROR, "accept_failed", "error", strerror(errno), NULL);
			/* The connection stays in the queue: without a pause the loop would spin.
			 */
			set_deaf(k, 1);
		}
		return;
	}
}

/* Take what the peer has sent; a JSON request waits for its turn behind those of others. */
static void
receive(struct keeper *k, struct peer *p)
{
	round_receive(k->round, p);
	if (p->request == NULL)
		return;
	p->next_waiting = NULL;
	*k->waiting_end = p;
	k->waiting_end = &p->next_waiting;
}

static void
on_peer(struct keeper *k, struct peer *p, uint32_t events)
{
	if ((events & EPOLLIN) != 0 && p->request == NULL)
		receive(k, p);
	else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		p->closing = 1;
	if ((events & EPOLLOUT) != 0)
		peer_send(p, housekeeper_flushed(k->housekeeper), clock_mono_us());
}

/* ---- JSON requests ---- */

static void
send_reply(struct keeper *k, struct peer *p, const struct wbuf *text, int changed)
{
	uint64_t ticket = 0;
	struct wbuf w;

	wbuf_init(&w, k->texts->message, sizeof(k->texts->message));
	wire_json_encode(WIRE_REPLY, wbuf_view(text), &w);
	if (changed)
		ticket = housekeeper_ask(k->housekeeper);
	if (text->overflow || w.overflow) {
		log_event(LOG_LVL_ERROR, "reply_too_large", NULL);
		p->closing = 1;
	} else {
		peer_queue(p, wbuf_view(&w), ticket);
		if (!changed)
			peer_send(p, 0, clock_mono_us());
	}
	secret_wipe(w.p, w.len);
}

static void
run_request(struct keeper *k, struct peer *p)
{
	struct span request = wire_body((struct span){(const char *)p->request, p->request_len});
	struct wbuf text;
	int changed = 0;

	/* A message needs a header, too. */
	wbuf_init(&text, k->texts->reply, sizeof(k->texts->reply) - WIRE_HEADER);
	k->ops.config = *k->config;
	ops_run(&k->ops, &p->who, request, &text, &changed);
	peer_request_done(p);
	send_reply(k, p, &text, changed);
	secret_wipe(k->texts->reply, text.len);
}

void
loop_requests(struct keeper *k)
{
	for (int i = 0; i < REQUESTS_MAX && k->waiting != NULL; i++) {
		struct peer *p = k->waiting;

		k->waiting = p->next_waiting;
		if (k->waiting == NULL)
			k->waiting_end = &k->waiting;
		if (p->closing)
			peer_request_done(p);
		else
			run_request(k, p);
	}
}

/* ---- signals and time ---- */

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo si;

	while (read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP)
			reload_all(k->config, k->store, &k->peppers, k->decide);
		else if (si.ssi_signo != SIGPIPE)
			k->stop = 1;
	}
}

void
loop_tell(struct keeper *k, char c)
{
	if (k->options->status_fd >= 0 && write(k->options->status_fd, &c, 1) < 0 &&
	    errno == EPIPE) {
		log_event(LOG_LVL_WARNING, "supervisor_gone", NULL);
		k->stop = 1;
	}
}

static void
drop_stuck(struct keeper *k, int64_t mono_us)
{
	for (struct peer *p = k->peers; p != NULL; p = p->next) {
		if (p->stuck_since_us == 0 || mono_us - p->stuck_since_us < STUCK_US)
			continue;
		peer_refused(p, "it does not read its answers", &k->refusals);
		p->closing = 1;
	}
}

static void
send_flushed(struct keeper *k, int64_t mono_us)
{
	uint64_t ticket = housekeeper_flushed(k->housekeeper);

	for (struct peer *p = k->peers; p != NULL; p = p->next) {
		if (!peer_idle(p))
			peer_send(p, ticket, mono_us);
	}
}

static void
on_timer(struct keeper *k)
{
	int64_t mono_us = clock_mono_us(), idle_us = k->options->idle_exit_us;
	uint64_t ticks;

	if (read(k->timer_fd, &ticks, sizeof(ticks)) < 0)
		return;
	loop_tell(k, '.');
	set_deaf(k, 0);
	/* Should the thread have been unable to wake us: no reply waits for longer than a second.
	 */
	send_flushed(k, mono_us);
	drop_stuck(k, mono_us);
	ops_tick(&k->ops, 0);
	sweep_tick(&k->sweep, mono_us);
	if (reports_tick(&k->reports, k->store, 0))
		housekeeper_committed(k->housekeeper);
	uses_tick(decide_uses(k->decide), mono_us);
	trail_prune_tick(&k->prune, mono_us, clock_wall_us(), (*k->config)->audit_retention_us);
	if (idle_us > 0 && k->npeers == 0 && mono_us - k->last_peer_us >= idle_us) {
		log_event(LOG_LVL_INFO, "keeper_idle", NULL);
		k->stop = 1;
	}
}

static void
on_flushed(struct keeper *k)
{
	uint64_t n;

	if (read(k->event_fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		send_flushed(k, clock_mono_us());
}

/* ---- the loop ---- */

/* An event of something that is not a peer: 1, else 0. */
static int
dispatch(struct keeper *k, const struct epoll_event *ev)
{
	const void *who = ev->data.ptr;

	if (who == &k->doors[DOOR_ADMIN] || who == &k->doors[DOOR_CHECKS])
		on_listen(k, who);
	else if (who == &k->event_fd)
		on_flushed(k);
	else if (who == &k->signal_fd)
		on_signal(k);
	else if (who == &k->timer_fd)
		on_timer(k);
	else
		return 0;
	return 1;
}

/*
 * The events of peers, either ours or strangers.  They come in the same order turn for turn, and a
 * round has room for a few busy peers only: so the next turn begins with the first that was left
 * out.
 */
static void
dispatch_peers(struct keeper *k, int n, int strangers)
{
	int from = k->left_out[strangers], full = 0;

	k->left_out[strangers] = 0;
	for (int i = 0; i < n; i++) {
		int at = (from + i) % n;
		struct peer *p = k->events[at].data.ptr;

		if (p == NULL || p->ours == strangers)
			continue;
		if (!full && round_full(k->round, p)) {
			full = 1;
			k->left_out[strangers] = at;
		}
		on_peer(k, p, k->events[at].events);
	}
}

/* Waiting peers are not removed: their turn comes first, when they see that they are closing. */
static void
settle_peers(struct keeper *k)
{
	struct peer *next;

	for (struct peer *p = k->peers; p != NULL; p = next) {
		next = p->next;
		if (p->closing && p->request == NULL)
			loop_remove_peer(k, p);
		else
			update_interest(k, p);
	}
}

static int
is_tidy(const struct keeper *k)
{
	return !k->redoing && !k->sweep.active && !k->prune.active &&
	       !uses_busy(decide_uses(k->decide));
}

/* 1 when it may have written. */
static int
redo_slice(struct keeper *k)
{
	struct err e = {0};
	int rc = store_redo(k->store, REDO_TAKES, &e);

	k->redoing = rc == 0;
	if (rc < 0)
		log_event(LOG_LVL_ERROR, "redo_failed", "error", e.msg, NULL);
	return rc == 0;
}

/* What can wait, a slice of one kind: takes from before a kill, logs that are idle, when keys were
 * used, old audit entries. */
static void
tidy(struct keeper *k)
{
	struct uses *uses = decide_uses(k->decide);
	int wrote = 0;

	if (k->redoing)
		wrote = redo_slice(k);
	else if (uses_busy(uses))
		wrote = uses_slice(uses, k->store, clock_mono_us(), k->ops.low_space);
	else if (k->sweep.active)
		wrote = sweep_slice(&k->sweep, k->store, &k->steady, (*k->config)->log_retention_us,
		    k->ops.low_space);
	else if (k->prune.active)
		wrote = trail_prune_slice(&k->prune, k->store, clock_wall_us(), k->ops.low_space);
	if (wrote)
		housekeeper_committed(k->housekeeper);
}

int
loop_turn(struct keeper *k, struct err *e)
{
	int idle_ms = is_tidy(k) ? -1 : 1;
	int timeout_ms = k->waiting != NULL ? 0 : idle_ms;
	int n = epoll_wait(k->epoll_fd, k->events, EVENTS_MAX, timeout_ms), wrote = 0;

	if (n < 0 && errno != EINTR)
		return err_sys(e, "epoll_wait");
	k->ops.low_space = housekeeper_low_space(k->housekeeper);
	decide_set_writable(k->decide, !k->ops.low_space);
	k->reports.hold = k->ops.low_space;
	for (int i = 0; i < n; i++) {
		if (dispatch(k, &k->events[i]))
			k->events[i].data.ptr = NULL;
	}
	/* Strangers last: they take what room is left, and never more than their share. */
	dispatch_peers(k, n, 0);
	dispatch_peers(k, n, 1);
	if (round_decide(k->round, &wrote, e) != 0)
		return err_wrap(e, "the store serves no longer");
	if (wrote)
		housekeeper_committed(k->housekeeper);
	round_answer(k->round, clock_mono_us());
	loop_requests(k);
	if (k->ops.wrote) {
		k->ops.wrote = 0;
		housekeeper_committed(k->housekeeper);
	}
	settle_peers(k);
	tidy(k);
	/* Whoever met the damage: a request, the sweep or the housekeeping thread. */
	return store_alive(k->store, e);
}
