/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The worker's event loop: accepts, tells connections (conn.c) that something happened, runs their
 * timers, and after each round lets the owner send what the round has gathered.  One thread, one
 * loop a process.
 *
 * Accepting is our own: libfcgi's waits two seconds for each new connection's first byte and holds
 * the process meanwhile.  The listening socket is shared with other workers, so it is watched with
 * EPOLLEXCLUSIVE, and only a few connections are taken at a time.
 *
 * Invariants: nothing that a peer does or omits blocks the loop.  No memory that epoll may still
 * point to is freed or used again within a round.  At the maximum of connections whoever comes
 * takes the place of the one that has been idle, or has been sending a head, for longest, if that
 * is a quarter of a second; else the listener is not watched until one closes.  So peers that
 * connect and say nothing keep nobody out, however many they are.
 */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi/conn.h"

#include "base/clock.h"
#include "base/log.h"

#define ROUND_EVENTS 128
#define ROUND_ACCEPTS 16
#define HEAD_TIMEOUT_US (10 * CLOCK_SECOND)
#define SPARE_US (CLOCK_SECOND / 4)
#define ACCEPT_PAUSE_US (CLOCK_SECOND / 10)
#define TELL_FULL_US (60 * CLOCK_SECOND)

struct watch {
	struct source source;
	void (*fn)(void *, uint32_t);
	void *cookie;
	int fd;
	SLIST_ENTRY(watch) next;
};

int
fcgi_server_init(struct err *e)
{
	if (FCGX_Init() != 0)
		return err_set(e, ERR_SYSTEM, "libfcgi could not be set up");
	return 0;
}

static void
set_listening(struct fcgi_server *S, int on)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &S->listener};

	if (on == S->listening)
		return;
	if (epoll_ctl(S->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, S->options.listen_fd, &ev) ==
	    -1)
		log_event(LOG_LVL_ERROR, "epoll_ctl", "fd", LOG_NUM(S->options.listen_fd), "error",
		    strerror(errno), NULL);
	else
		S->listening = on;
}

static int
is_full(const struct fcgi_server *S)
{
	return S->nconns >= S->options.max_connections;
}

/* At the maximum: when a connection may be closed for another; INT64_MAX: none may. */
static int64_t
spare_at(const struct fcgi_server *S)
{
	const struct conn *idle = TAILQ_FIRST(&S->idles), *head = TAILQ_FIRST(&S->heads);
	int64_t at = idle != NULL ? idle->deadline_us : INT64_MAX, of_head;

	if (head == NULL)
		return at;
	of_head = head->deadline_us - S->options.head_timeout_us + S->options.spare_us;
	return of_head < at ? of_head : at;
}

static void
tell_full(struct fcgi_server *S)
{
	if (S->told_full_us != 0 && S->now_us - S->told_full_us < TELL_FULL_US)
		return;
	S->told_full_us = S->now_us;
	log_event(LOG_LVL_WARNING, "connections_full", "max", LOG_NUM(S->nconns), "effect",
	    "idle ones are closed for new ones", "mend", "raise max_connections", NULL);
}

/*
 * Closes connections that nothing would be lost with, until one more may come: 1, or 0 when there
 * is none.  An idle one may turn out to have a request: then it is served.
 */
static int
make_room(struct fcgi_server *S)
{
	struct conn *c;

	while (is_full(S) && spare_at(S) <= S->now_us) {
		tell_full(S);
		if ((c = TAILQ_FIRST(&S->idles)) != NULL && c->deadline_us <= S->now_us)
			conn_stop(c, 0);
		else if ((c = TAILQ_FIRST(&S->heads)) != NULL)
			conn_close(c);
	}
	return !is_full(S);
}

static void
accept_some(struct source *source, uint32_t events)
{
	struct fcgi_server *S =
	    (struct fcgi_server *)((char *)source - offsetof(struct fcgi_server, listener));
	int i, fd;

	(void)events;
	for (i = 0; i < ROUND_ACCEPTS && make_room(S); i++) {
		fd = accept4(S->options.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == -1 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd == -1) {
			if (errno == EAGAIN)
				return;
			/* Out of descriptors or memory: the listener stays readable, so look away
			 * for a while. */
			log_event(LOG_LVL_ERROR, "accept", "error", strerror(errno), NULL);
			S->accept_after_us = S->now_us + ACCEPT_PAUSE_US;
			return;
		}
		conn_open(S, fd);
	}
}

static int
set_nonblocking(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return err_sys(e, "listening socket (descriptor %d)", fd);
	return 0;
}

struct fcgi_server *
fcgi_server_new(
    const struct fcgi_options *options, const struct fcgi_handlers *handlers, struct err *e)
{
	struct fcgi_server *S;
	int domain = 0;
	socklen_t len = sizeof(domain);

	if ((S = calloc(1, sizeof(*S))) == NULL) {
		err_sys(e, "worker");
		return NULL;
	}
	S->options = *options;
	S->handlers = *handlers;
	S->epoll_fd = -1;
	if (S->options.head_timeout_us <= 0)
		S->options.head_timeout_us = HEAD_TIMEOUT_US;
	if (S->options.spare_us <= 0)
		S->options.spare_us = SPARE_US;
	S->listener.fn = accept_some;
	S->now_us = clock_mono_us();
	TAILQ_INIT(&S->conns);
	TAILQ_INIT(&S->dead);
	TAILQ_INIT(&S->pool);
	TAILQ_INIT(&S->queue);
	TAILQ_INIT(&S->idles);
	TAILQ_INIT(&S->heads);
	TAILQ_INIT(&S->lingers);
	SLIST_INIT(&S->requests);
	SLIST_INIT(&S->watches);
	SLIST_INIT(&S->dead_watches);
	if ((S->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1) {
		err_sys(e, "epoll");
		goto fail;
	}
	if (set_nonblocking(options->listen_fd, e) == -1)
		goto fail;
	if (getsockopt(options->listen_fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == -1) {
		err_sys(e, "listening socket (descriptor %d)", options->listen_fd);
		goto fail;
	}
	S->tcp = domain != AF_UNIX;
	return S;
fail:
	fcgi_server_free(&S);
	return NULL;
}

/* Gives connections that ended in this round to the pool, watches that ended in it to the heap. */
static void
bury(struct fcgi_server *S)
{
	struct conn *c;
	struct watch *w;

	while ((c = TAILQ_FIRST(&S->dead)) != NULL) {
		TAILQ_REMOVE(&S->dead, c, all);
		TAILQ_INSERT_HEAD(&S->pool, c, all);
	}
	while ((w = SLIST_FIRST(&S->dead_watches)) != NULL) {
		SLIST_REMOVE_HEAD(&S->dead_watches, next);
		free(w);
	}
}

void
fcgi_server_free(struct fcgi_server **server)
{
	struct fcgi_server *S = *server;
	struct fcgi_request *r;
	struct conn *c;
	struct watch *w;

	*server = NULL;
	if (S == NULL)
		return;
	while ((c = TAILQ_FIRST(&S->conns)) != NULL)
		conn_abandon(c);
	while ((w = SLIST_FIRST(&S->watches)) != NULL)
		fcgi_server_unwatch(S, w->fd);
	bury(S);
	while ((c = TAILQ_FIRST(&S->pool)) != NULL) {
		TAILQ_REMOVE(&S->pool, c, all);
		free(c);
	}
	while ((r = SLIST_FIRST(&S->requests)) != NULL) {
		SLIST_REMOVE_HEAD(&S->requests, pool);
		free(r);
	}
	if (S->epoll_fd != -1)
		close(S->epoll_fd);
	free(S);
}

static void
watch_events(struct source *source, uint32_t events)
{
	struct watch *w = (struct watch *)source;

	if (w->fn != NULL)
		w->fn(w->cookie, events);
}

int
fcgi_server_watch(
    struct fcgi_server *S, int fd, void (*fn)(void *, uint32_t), void *cookie, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct watch *w;

	if ((w = malloc(sizeof(*w))) == NULL)
		return err_sys(e, "worker");
	*w = (struct watch){.source.fn = watch_events, .fn = fn, .cookie = cookie, .fd = fd};
	ev.data.ptr = &w->source;
	if (epoll_ctl(S->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == -1) {
		err_sys(e, "epoll_ctl of descriptor %d", fd);
		free(w);
		return -1;
	}
	SLIST_INSERT_HEAD(&S->watches, w, next);
	return 0;
}

void
fcgi_server_unwatch(struct fcgi_server *S, int fd)
{
	struct watch *w;

	SLIST_FOREACH(w, &S->watches, next)
	if (w->fd == fd)
		break;
	if (w == NULL)
		return;
	(void)epoll_ctl(S->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	w->fn = NULL; /* an event of this round may still come */
	SLIST_REMOVE(&S->watches, w, watch, next);
	SLIST_INSERT_HEAD(&S->dead_watches, w, next);
}

/* The connections that asked for another look; those that ask meanwhile wait for the next round. */
static void
run_queue(struct fcgi_server *S)
{
	struct conn *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &S->queue, queue)
	n++;
	while (n-- > 0 && (c = TAILQ_FIRST(&S->queue)) != NULL) {
		TAILQ_REMOVE(&S->queue, c, queue);
		c->queued = 0;
		if (c->state == CONN_LINGER)
			conn_drain(c);
		else if (c->state == CONN_IDLE || c->state == CONN_HEAD)
			conn_check(c);
	}
}

/* Stops all idle connections; with ${fresh} not those that wait for their first request. */
static void
stop_conns(struct fcgi_server *S, int fresh)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&S->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		conn_stop(c, fresh);
	}
}

static void
run_timers(struct fcgi_server *S)
{
	struct conn *c;
	unsigned late = 0;

	while ((c = TAILQ_FIRST(&S->heads)) != NULL && c->deadline_us <= S->now_us) {
		conn_close(c);
		late++;
	}
	if (late > 0)
		log_event(LOG_LVL_INFO, "head_timeout", "connections", LOG_NUM(late), NULL);
	while ((c = TAILQ_FIRST(&S->lingers)) != NULL && c->deadline_us <= S->now_us)
		conn_close(c);
	if (S->stopped && S->stop_us <= S->now_us)
		stop_conns(S, 0);
}

static void
stop_now(struct fcgi_server *S)
{
	S->stopped = 1;
	S->stop_us = S->now_us + CONN_FRESH_US;
	set_listening(S, 0);
	stop_conns(S, 1);
}

static void
sooner(int *timeout_ms, int64_t left_us)
{
	int64_t ms = left_us <= 0 ? 0 : (left_us + 999) / 1000;

	if (*timeout_ms == -1 || ms < *timeout_ms)
		*timeout_ms = (int)ms;
}

/* How long epoll may wait, given what the owner said. */
static int
round_timeout(struct fcgi_server *S, int timeout_ms)
{
	struct conn *c;
	int64_t at_us;

	if (!TAILQ_EMPTY(&S->queue))
		return 0;
	if ((c = TAILQ_FIRST(&S->heads)) != NULL)
		sooner(&timeout_ms, c->deadline_us - S->now_us);
	if ((c = TAILQ_FIRST(&S->lingers)) != NULL)
		sooner(&timeout_ms, c->deadline_us - S->now_us);
	if (S->stopped && S->stop_us > S->now_us)
		sooner(&timeout_ms, S->stop_us - S->now_us);
	/* From then on the listener is watched. */
	if (!S->stopping && is_full(S) && (at_us = spare_at(S)) > S->now_us && at_us != INT64_MAX)
		sooner(&timeout_ms, at_us - S->now_us);
	if (!S->stopping && S->accept_after_us > S->now_us)
		sooner(&timeout_ms, S->accept_after_us - S->now_us);
	return timeout_ms;
}

int
fcgi_server_run(struct fcgi_server *S, struct err *e)
{
	struct epoll_event events[ROUND_EVENTS];
	struct source *source;
	int i, n, timeout_ms;

	for (;;) {
		if (S->stopping && !S->stopped)
			stop_now(S);
		timeout_ms = S->handlers.round(S->handlers.cookie);
		bury(S);
		if (S->stopped && S->nconns == 0)
			return 0;
		set_listening(S, !S->stopping && S->accept_after_us <= S->now_us &&
				     (!is_full(S) || spare_at(S) <= S->now_us));
		n = epoll_wait(S->epoll_fd, events, ROUND_EVENTS, round_timeout(S, timeout_ms));
		if (n == -1 && errno != EINTR)
			return err_sys(e, "epoll_wait");
		S->now_us = clock_mono_us();
		for (i = 0; i < n; i++) {
			source = events[i].data.ptr;
			source->fn(source, events[i].events);
		}
		run_queue(S);
		run_timers(S);
	}
}

void
fcgi_server_stop(struct fcgi_server *S)
{
	S->stopping = 1;
}
