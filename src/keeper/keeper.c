/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The keeper process: it owns the store and the peppers, and answers on its socket.  This file is
 * the event loop, its start and its end; what is decided is in round.c and decide.c, what is
 * administered in ops.c.
 *
 * A turn of the loop: take what waits on the connections, decide all checks in one batch, answer
 * them; then run a few JSON requests, each in a batch of its own.  Replies to changes wait in their
 * peer's queue until the housekeeping thread has flushed the log past them.  So the loop itself
 * never waits for the disk.
 *
 * It does not fork, drop privileges or read anything from the network.
 *
 * Two sockets: keeper.sock, where root and our own user may administer, and check.sock, where
 * nobody may.  Workers run as our own user and are not trusted with it: they are only ever
 * connected to the second (wire/dial.h).
 *
 * Invariants: the sockets are bound only while the store's lock is held; a peer that is neither
 * root nor of our own user, or came through check.sock, can only ask for checks; answers on a
 * connection keep the order of its questions; buffers that held credentials or requests are wiped
 * when they have been dealt with; a store that serves no longer ends the process, so that a new one
 * recovers it.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "keeper/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "keeper/decide.h"
#include "keeper/fingerprints.h"
#include "keeper/housekeeper.h"
#include "keeper/lastbatch.h"
#include "keeper/ops.h"
#include "keeper/peer.h"
#include "keeper/peppers.h"
#include "keeper/reload.h"
#include "keeper/reports.h"
#include "keeper/round.h"
#include "keeper/steady.h"
#include "keeper/storekey.h"
#include "keeper/sweep.h"
#include "keeper/trail.h"
#include "keeper/uses.h"
#include "store/store.h"
#include "wire/wire.h"

_Static_assert(KEEPER_EXIT_DISK == STORE_EXIT_FSYNC, "one exit status");

#define ACCEPTS_MAX 64
#define PEERS_MAX 1024
#define EVENTS_MAX (PEERS_MAX + 5) /* all at once: a turn sees everybody who waits */
/* Neither strangers nor workers, the most there can be during a reload, use up all of them: the
 * tool gets through. */
#define STRANGERS_MAX 448
#define WORKERS_MAX 512
#define REQUESTS_MAX 1 /* JSON requests run in one turn: checks wait for it, half a millisecond */
#define STUCK_US (2 * CLOCK_SECOND)
#define BUSY_US (3 * CLOCK_SECOND) /* how long a store that somebody else owns is waited for */
#define BUSY_POLL_MS 20
#define SOCKET_PATH_MAX 256

enum { DOOR_ADMIN, DOOR_CHECKS, DOORS };

struct keeper {
	struct config **config;
	const struct keeper_options *options;
	struct store *store;
	struct peppers *peppers;
	struct decide *decide;
	struct steady steady;
	struct lastbatch last;
	struct ops ops;
	struct housekeeper *housekeeper;
	struct round *round;

	int epoll_fd, event_fd, signal_fd, timer_fd;
	struct door {
		int fd; /* it listens, or -1 */
		int checks_only;
		char path[SOCKET_PATH_MAX];
	} doors[DOORS];
	sigset_t old_mask;
	int masked, stop, deaf; /* deaf: out of descriptors, not accepting until the next tick */

	struct peer *peers;
	size_t npeers, nstrangers, nworkers;
	struct peer *waiting, **waiting_end; /* whose JSON request is to be run */
	int64_t last_peer_us;		     /* CLOCK_MONOTONIC */
	int left_out[2]; /* of ours, of strangers: whom the last round had no room for first */
	struct epoll_event events[EVENTS_MAX];

	struct sweep sweep;
	struct reports reports;
	struct log_pace refusals;
	struct trail_prune prune;
	uint8_t reply[WIRE_MESSAGE_MAX], message[WIRE_MESSAGE_MAX];
};

static int
now(void *cookie, struct decide_times *t)
{
	const struct keeper *k = cookie;

	t->wall_us = clock_wall_us();
	t->steady_us = steady_now_us(&k->steady);
	return 0;
}

/* ---- connections ---- */

static int
watch(const struct keeper *k, int op, int fd, uint32_t events, void *who)
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
	if (watch(k, EPOLL_CTL_MOD, p->fd, events, p) != 0)
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
	if (watch(k, EPOLL_CTL_ADD, p->fd, EPOLLIN, p) != 0) {
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

static void
remove_peer(struct keeper *k, struct peer *p)
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
	if (k->deaf == deaf)
		return;
	for (struct door *d = k->doors; d < k->doors + DOORS; d++) {
		if (watch(k, EPOLL_CTL_MOD, d->fd, deaf ? 0 : EPOLLIN, d) == 0)
			k->deaf = deaf;
	}
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

	wbuf_init(&w, k->message, sizeof(k->message));
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
	wbuf_init(&text, k->reply, sizeof(k->reply) - WIRE_HEADER);
	k->ops.config = *k->config;
	ops_run(&k->ops, &p->who, request, &text, &changed);
	peer_request_done(p);
	send_reply(k, p, &text, changed);
	secret_wipe(k->reply, text.len);
}

static void
run_requests(struct keeper *k)
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

/* Tell the supervisor.  When it is gone, nobody would end us, and nobody else could have the store.
 */
static void
tell(struct keeper *k, char c)
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
on_timer(struct keeper *k)
{
	int64_t mono_us = clock_mono_us(), idle_us = k->options->idle_exit_us;
	uint64_t ticks;

	if (read(k->timer_fd, &ticks, sizeof(ticks)) < 0)
		return;
	tell(k, '.');
	set_deaf(k, 0);
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
	uint64_t n, ticket;
	int64_t mono_us = clock_mono_us();

	if (read(k->event_fd, &n, sizeof(n)) < 0)
		return;
	ticket = housekeeper_flushed(k->housekeeper);
	for (struct peer *p = k->peers; p != NULL; p = p->next) {
		if (!peer_idle(p))
			peer_send(p, ticket, mono_us);
	}
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
			remove_peer(k, p);
		else
			update_interest(k, p);
	}
}

static int
is_tidy(const struct keeper *k)
{
	return !k->sweep.active && !k->prune.active && !uses_busy(decide_uses(k->decide));
}

/* What can wait, a slice of one kind: logs that are idle, when keys were used, old audit entries.
 */
static void
tidy(struct keeper *k)
{
	struct uses *uses = decide_uses(k->decide);
	int wrote = 0;

	if (uses_busy(uses))
		wrote = uses_slice(uses, k->store, clock_mono_us(), k->ops.low_space);
	else if (k->sweep.active)
		wrote = sweep_slice(&k->sweep, k->store, &k->steady, (*k->config)->log_retention_us,
		    k->ops.low_space);
	else if (k->prune.active)
		wrote = trail_prune_slice(&k->prune, k->store, clock_wall_us(), k->ops.low_space);
	if (wrote)
		housekeeper_committed(k->housekeeper);
}

static int
turn(struct keeper *k, struct err *e)
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
	run_requests(k);
	if (k->ops.wrote) {
		k->ops.wrote = 0;
		housekeeper_committed(k->housekeeper);
	}
	settle_peers(k);
	tidy(k);
	/* Whoever met the damage: a request, the sweep or the housekeeping thread. */
	return store_alive(k->store, e);
}

static void
close_doors(struct keeper *k)
{
	for (struct door *d = k->doors; d < k->doors + DOORS; d++) {
		if (d->fd < 0)
			continue;
		close(d->fd);
		d->fd = -1;
		unlink(d->path);
	}
}

/* What was asked before the end is answered, what was changed is on disk before it is acknowledged.
 */
static int
finish(struct keeper *k, struct err *e)
{
	close_doors(k);
	while (k->waiting != NULL)
		run_requests(k);
	ops_tick(&k->ops, 1);
	(void)reports_tick(&k->reports, k->store, 1);
	/* On a full disk they are lost, and nothing else. */
	if (uses_flush(decide_uses(k->decide), k->store, e) != 0)
		log_event(LOG_LVL_ERROR, "uses_failed", "error", e->msg, NULL);
	housekeeper_stop(&k->housekeeper);
	if (store_flush(k->store, e) != 0)
		return -1;
	for (struct peer *p = k->peers; p != NULL; p = p->next)
		peer_send(p, UINT64_MAX, clock_mono_us());
	return 0;
}

/* ---- start and end ---- */

static int
claim_store(struct keeper *k, struct err *e)
{
	const struct config *c = *k->config;
	struct store_options options = {.dir = c->state_dir,
	    .cache_bytes = c->cache_bytes,
	    .min_free_bytes = c->min_free_bytes};
	int64_t until_us = clock_mono_us() + (k->options->idle_exit_us > 0 ? 0 : BUSY_US);
	char *key = NULL;

	if (c->encrypt_store && storekey_load(c->pepper_file, &key, e) != 0)
		return -1;
	options.key = key;
	/* The tool working alone owns the store for a moment; another keeper would for good. */
	while ((k->store = store_open(&options, e)) == NULL && e->code == ERR_BUSY &&
	       clock_mono_us() < until_us)
		(void)poll(NULL, 0, BUSY_POLL_MS);
	storekey_free(&key);
	return k->store == NULL ? -1 : 0;
}

static int
open_store(struct keeper *k, struct err *e)
{
	const struct config *c = *k->config;
	struct err warning = {0};

	if (claim_store(k, e) != 0)
		return -1;
	if (secret_heap_init(&warning) != 0)
		log_event(LOG_LVL_WARNING, "secrets_not_locked", "error", warning.msg, NULL);
	if ((k->peppers = fingerprints_load(k->store, c->pepper_file, e)) == NULL ||
	    trail_open(k->store, &k->peppers, e) != 0 ||
	    steady_open(&k->steady, k->store, e) != 0 ||
	    lastbatch_load(&k->last, k->store, clock_mono_us(), e) != 0 ||
	    (k->decide = decide_new(k->store, k->peppers, c->key_prefix, e)) == NULL)
		return -1;
	return decide_configure(k->decide, c, e);
}

/* Signals come through a descriptor; the housekeeping thread inherits that they are blocked. */
static int
open_signals(struct keeper *k, struct err *e)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	if ((errno = pthread_sigmask(SIG_BLOCK, &set, &k->old_mask)) != 0)
		return err_sys(e, "cannot block signals");
	k->masked = 1;
	if ((k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_sys(e, "signalfd");
	return 0;
}

static int
open_descriptors(struct keeper *k, struct err *e)
{
	struct itimerspec second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};

	if ((k->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		return err_sys(e, "epoll_create1");
	if ((k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return err_sys(e, "eventfd");
	k->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k->timer_fd < 0 || timerfd_settime(k->timer_fd, 0, &second, NULL) != 0)
		return err_sys(e, "timerfd");
	if (watch(k, EPOLL_CTL_ADD, k->event_fd, EPOLLIN, &k->event_fd) != 0 ||
	    watch(k, EPOLL_CTL_ADD, k->signal_fd, EPOLLIN, &k->signal_fd) != 0 ||
	    watch(k, EPOLL_CTL_ADD, k->timer_fd, EPOLLIN, &k->timer_fd) != 0 ||
	    watch(k, EPOLL_CTL_ADD, k->doors[DOOR_ADMIN].fd, EPOLLIN, &k->doors[DOOR_ADMIN]) != 0 ||
	    watch(k, EPOLL_CTL_ADD, k->doors[DOOR_CHECKS].fd, EPOLLIN, &k->doors[DOOR_CHECKS]) != 0)
		return err_sys(e, "epoll_ctl");
	return 0;
}

static int
open_doors(struct keeper *k, struct err *e)
{
	const char *run_dir = (*k->config)->run_dir;
	struct door *admin = &k->doors[DOOR_ADMIN], *checks = &k->doors[DOOR_CHECKS];

	if (wire_socket_path(run_dir, admin->path, sizeof(admin->path), e) != 0 ||
	    wire_check_path(run_dir, checks->path, sizeof(checks->path), e) != 0)
		return -1;
	/* Started on demand nobody may have made it; what else is wrong with it shows at the bind.
	 */
	if (mkdir(run_dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, "cannot make the run directory %s", run_dir);
	checks->checks_only = 1;
	if ((checks->fd = wire_listen(checks->path, e)) < 0)
		return -1;
	return (admin->fd = wire_listen(admin->path, e)) < 0 ? -1 : 0;
}

static int
start(struct keeper *k, struct err *e)
{
	struct round_with with;

	/* First of all the store: its lock is what makes us the only one who may take the socket.
	 */
	if (open_store(k, e) != 0 || open_signals(k, e) != 0 || open_doors(k, e) != 0 ||
	    open_descriptors(k, e) != 0)
		return -1;
	with = (struct round_with){.store = k->store,
	    .decide = k->decide,
	    .steady = &k->steady,
	    .last = &k->last,
	    .reports = &k->reports,
	    .refusals = &k->refusals};
	if ((k->round = round_new(&with, e)) == NULL)
		return -1;
	k->ops = (struct ops){.store = k->store,
	    .decide = k->decide,
	    .peppers = &k->peppers,
	    .config = *k->config,
	    .times = now,
	    .cookie = k};
	k->last_peer_us = clock_mono_us();
	sweep_init(&k->sweep, k->last_peer_us);
	return (k->housekeeper = housekeeper_start(k->store, k->event_fd, e)) == NULL ? -1 : 0;
}

static void
release(struct keeper *k)
{
	int fds[] = {k->epoll_fd, k->event_fd, k->timer_fd};
	struct signalfd_siginfo si;

	housekeeper_stop(&k->housekeeper);
	while (k->peers != NULL)
		remove_peer(k, k->peers);
	close_doors(k);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	round_free(&k->round);
	decide_free(&k->decide);
	peppers_free(&k->peppers);
	store_close(&k->store);
	/* One that is still pending would end us now, after an orderly end. */
	while (k->signal_fd >= 0 && read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		;
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	if (k->masked)
		(void)pthread_sigmask(SIG_SETMASK, &k->old_mask, NULL);
	free(k);
}

int
keeper_run(struct config **config, const struct keeper_options *options, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int rc = -1;

	if (k == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	k->config = config;
	k->options = options;
	k->doors[DOOR_ADMIN].fd = k->doors[DOOR_CHECKS].fd = -1;
	k->epoll_fd = k->event_fd = k->signal_fd = k->timer_fd = -1;
	k->waiting_end = &k->waiting;
	if (start(k, e) != 0)
		goto out;
	if (options->status_fd >= 0)
		(void)fcntl(
		    options->status_fd, F_SETFL, fcntl(options->status_fd, F_GETFL) | O_NONBLOCK);
	log_event(LOG_LVL_INFO, "keeper_started", "socket", k->doors[DOOR_ADMIN].path, "pepper",
	    LOG_NUM(peppers_version(k->peppers, 0)), NULL);
	tell(k, 'R');
	rc = 0;
	while (rc == 0 && !k->stop)
		rc = turn(k, e);
	if (rc == 0)
		rc = finish(k, e);
	if (rc != 0)
		log_event(LOG_LVL_ERROR, "keeper_failed", "error", e->msg, NULL);
	else
		log_event(LOG_LVL_INFO, "keeper_stopped", NULL);
out:
	release(k);
	return rc;
}
