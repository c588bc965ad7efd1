/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * One connection of a web server, from accept to close: looks whether a whole request head waits,
 * has libfcgi read it, keeps it open until its owner answers, and takes the connection back.  Runs
 * in the worker's loop.
 *
 * libfcgi reads and writes requests; it never accepts, waits or closes here.  Sockets are
 * non-blocking, and a head is handed over only when it is complete, so libfcgi's reads find all
 * that they ask for; a write that would block is an error of the connection (an answer is smaller
 * than any socket buffer, and a web server does not ask again before it has read the last one).
 * libfcgi closes a connection in FCGX_Accept_r only, on a malformed request; `detached` keeps it
 * from lingering there for two seconds.
 *
 * Invariants: a request object is in the hands of its owner exactly while its connection is
 * CONN_OPEN.  A connection serves another request only when no byte of the last one can be left in
 * the socket.  Params, which hold keys, are wiped before their memory is freed, peeked bytes as
 * soon as they are scanned.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi/conn.h"

#include "base/log.h"
#include "base/secret.h"

#define PEEK_FIRST 8192 /* nearly every head; also the size of libfcgi's reads */
#define DRAIN_READS 16	/* a round: other connections want their turn */

static void
look_again(struct conn *c)
{
	if (c->queued)
		return;
	c->queued = 1;
	TAILQ_INSERT_TAIL(&c->server->queue, c, queue);
}

static struct conn_list *
timers_of(struct fcgi_server *S, enum conn_state state)
{
	switch (state) {
	case CONN_IDLE:
		return &S->idles;
	case CONN_HEAD:
		return &S->heads;
	case CONN_LINGER:
		return &S->lingers;
	default:
		return NULL;
	}
}

/* Leaves the timer list of its old state, if any, for that of its new one. */
static void
set_state(struct conn *c, enum conn_state state)
{
	struct fcgi_server *S = c->server;
	struct conn_list *list;

	if ((list = timers_of(S, c->state)) != NULL)
		TAILQ_REMOVE(list, c, timer);
	c->state = state;
	if ((list = timers_of(S, state)) == NULL)
		return;
	c->deadline_us = S->now_us + (state == CONN_IDLE      ? S->options.spare_us
					 : state == CONN_HEAD ? S->options.head_timeout_us
							      : CONN_LINGER_US);
	TAILQ_INSERT_TAIL(list, c, timer);
}

/* Back to the pool, its libfcgi part freed, the connection's descriptor untouched. */
static void
request_release(struct fcgi_request *r)
{
	struct conn *c = r->conn;
	char **env;

	for (env = r->fcgx.envp; env != NULL && *env != NULL; env++)
		secret_wipe(*env, strlen(*env));
	FCGX_Free(&r->fcgx, 0);
	r->fcgx.envp = NULL;
	r->fcgx.ipcFd = -1;
	r->conn = NULL;
	r->owner_state = NULL;
	c->request = NULL;
	SLIST_INSERT_HEAD(&c->server->requests, r, pool);
}

static struct fcgi_request *
request_new(struct fcgi_server *S)
{
	struct fcgi_request *r;

	if ((r = SLIST_FIRST(&S->requests)) != NULL) {
		SLIST_REMOVE_HEAD(&S->requests, pool);
		return r;
	}
	if ((r = calloc(1, sizeof(*r))) != NULL)
		FCGX_InitRequest(&r->fcgx, -1, FCGI_FAIL_ACCEPT_ON_INTR);
	return r;
}

void
conn_close(struct conn *c)
{
	struct fcgi_server *S = c->server;

	if (c->queued)
		TAILQ_REMOVE(&S->queue, c, queue);
	c->queued = 0;
	set_state(c, CONN_CLOSED);
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	S->nconns--;
	TAILQ_REMOVE(&S->conns, c, all);
	TAILQ_INSERT_TAIL(&S->dead, c, all);
}

void
conn_abandon(struct conn *c)
{
	if (c->state == CONN_OPEN) {
		c->server->handlers.gone(c->server->handlers.cookie, c->request);
		request_release(c->request);
	}
	conn_close(c);
}

static int
poll_conn(struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = &c->source};

	/* Adding reports what is there already, so no edge is lost by coming late. */
	if (!c->polled && epoll_ctl(c->server->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) == -1)
		return -1;
	c->polled = 1;
	return 0;
}

/* Closing with unread bytes, or under a peer that still sends, would reset the connection and lose
 * the answer. */
static void
conn_linger(struct conn *c)
{
	if (shutdown(c->fd, SHUT_WR) == -1 || poll_conn(c) == -1) {
		conn_close(c);
		return;
	}
	set_state(c, CONN_LINGER);
	look_again(c);
}

/* As recv, into S->bytes.  Nothing tells of an edge twice: who is interrupted looks again. */
static ssize_t
receive(struct conn *c, size_t cap, int flags)
{
	ssize_t n;

	do {
		n = recv(c->fd, c->server->bytes, cap, flags | MSG_DONTWAIT);
	} while (n == -1 && errno == EINTR);
	return n;
}

/* Throws away some of what has arrived: as recv.  A refused head is among it, keys and all. */
static ssize_t
discard(struct conn *c)
{
	struct fcgi_server *S = c->server;
	ssize_t n = receive(c, sizeof(S->bytes), 0);

	if (n > 0)
		secret_wipe(S->bytes, (size_t)n);
	return n;
}

void
conn_drain(struct conn *c)
{
	ssize_t n;
	int i;

	for (i = 0; i < DRAIN_READS; i++) {
		n = discard(c);
		if (n == -1 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_close(c);
			return;
		}
	}
	look_again(c);
}

/* The head has been scanned: let libfcgi read it, and hand it to the owner. */
static void
serve(struct conn *c, const struct frame *f, size_t n)
{
	struct fcgi_server *S = c->server;
	struct fcgi_request *r;
	char **env;

	if ((r = request_new(S)) == NULL) {
		conn_close(c);
		return;
	}
	r->conn = c;
	c->request = r;
	set_state(c, CONN_OPEN);
	c->signalled = 0;
	r->fcgx.ipcFd = c->fd;
	r->fcgx.keepConnection = 1;
	r->fcgx.detached = 1;
	if (FCGX_Accept_r(&r->fcgx) != 0) {
		c->fd = -1; /* libfcgi has closed it */
		request_release(r);
		conn_close(c);
		return;
	}
	r->keep = f->keep_conn;
	r->drained = f->stdin_done;
	/* libfcgi stopped reading at the end of the params: what is left belongs to this request's
	 * stdin. */
	if (r->drained && n > PEEK_FIRST - 8)
		while (discard(c) > 0)
			;
	params_init(&r->params);
	/* The first is libfcgi's own FCGI_ROLE. */
	for (env = r->fcgx.envp + 1; *env != NULL; env++)
		params_add_env(&r->params, *env);
	S->handlers.request(S->handlers.cookie, r, &r->params, f->role);
}

static int
send_all(struct conn *c, const void *p, size_t n)
{
	return send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

/* The last ${len} bytes on this connection, of S->out; 0: there are none. */
static void
send_last(struct conn *c, size_t len)
{
	if (len == 0 || send_all(c, c->server->out, len) == -1)
		conn_close(c);
	else
		conn_linger(c);
}

/* A head that libfcgi must not read; ${n} bytes of it are in S->bytes. */
static void
refuse(struct conn *c, const struct frame *f, size_t n)
{
	struct fcgi_server *S = c->server;
	struct span mode, cgi;
	const uint8_t *value;
	size_t len;

	(void)frame_param(S->bytes, n, S->options.mode_param, &value, &len);
	mode = (struct span){(const char *)value, len};
	cgi = S->handlers.refuse(S->handlers.cookie, mode, f->role);
	send_last(c, frame_response(f->request_id, cgi.p, cgi.len, S->out, sizeof(S->out)));
}

/* A management record may come before any request: it is taken from the socket and answered. */
static void
manage(struct conn *c, const struct frame *f)
{
	struct fcgi_server *S = c->server;
	size_t len;

	len = frame_management(S->bytes, f->head_len, S->out, sizeof(S->out));
	if (len == 0 || receive(c, f->head_len, 0) != (ssize_t)f->head_len ||
	    send_all(c, S->out, len) == -1) {
		conn_close(c);
		return;
	}
	set_state(c, CONN_IDLE);
	look_again(c);
}

/* Bytes that wait, into S->bytes; 0 at EOF, -1 when there are none (EAGAIN) or the connection
 * failed. */
static ssize_t
peek(struct conn *c)
{
	struct fcgi_server *S = c->server;
	ssize_t n;

	n = receive(c, PEEK_FIRST, MSG_PEEK);
	if (n == PEEK_FIRST)
		n = receive(c, sizeof(S->bytes), MSG_PEEK);
	return n;
}

void
conn_check(struct conn *c)
{
	struct fcgi_server *S = c->server;
	enum frame_result rc;
	struct frame f;
	ssize_t n;

	if ((n = peek(c)) <= 0) {
		if (n == 0 || errno != EAGAIN || poll_conn(c) == -1)
			conn_close(c);
		return;
	}
	rc = frame_scan(S->bytes, (size_t)n, &f);
	switch (rc) {
	case FRAME_READY:
		secret_wipe(S->bytes, (size_t)n);
		serve(c, &f, (size_t)n);
		return;
	case FRAME_REFUSE:
		refuse(c, &f, (size_t)n);
		break;
	case FRAME_UNKNOWN_ROLE:
		send_last(c, frame_unknown_role(f.request_id, S->out, sizeof(S->out)));
		break;
	case FRAME_MANAGEMENT:
		manage(c, &f);
		break;
	case FRAME_MORE:
		if (c->eof || poll_conn(c) == -1)
			conn_close(c);
		else if (c->state == CONN_IDLE)
			set_state(c, CONN_HEAD);
		break;
	case FRAME_BAD:
		log_event(LOG_LVL_DEBUG, "bad_frame", NULL);
		conn_close(c);
		break;
	}
	secret_wipe(S->bytes, (size_t)n);
}

static void
conn_events(struct source *source, uint32_t events)
{
	struct conn *c = (struct conn *)source;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->eof = 1;
	switch (c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
		/* Gone on both sides: whatever it has sent, nobody would read the answer. */
		if (events & (EPOLLHUP | EPOLLERR))
			conn_close(c);
		else
			conn_check(c);
		break;
	case CONN_OPEN:
		/* A peer that has shut only its own side (RDHUP) still reads the answer. */
		if (events & (EPOLLHUP | EPOLLERR))
			conn_abandon(c);
		else
			c->signalled = 1;
		break;
	case CONN_LINGER:
		conn_drain(c);
		break;
	case CONN_CLOSED:
		break;
	}
}

void
conn_open(struct fcgi_server *S, int fd)
{
	int on = 1, room = 2 * FRAME_PEEK_MAX;
	struct conn *c;

	if ((c = TAILQ_FIRST(&S->pool)) != NULL)
		TAILQ_REMOVE(&S->pool, c, all);
	else if ((c = malloc(sizeof(*c))) == NULL) {
		close(fd);
		return;
	}
	*c = (struct conn){.source.fn = conn_events, .server = S, .state = CONN_CLOSED, .fd = fd};
	set_state(c, CONN_IDLE);
	TAILQ_INSERT_TAIL(&S->conns, c, all);
	S->nconns++;
	if (S->tcp) {
		/* The largest head must fit in while it is only peeked at. */
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	conn_check(c);
}

/*
 * With its reading side shut, an idle connection either has a request waiting already, or the web
 * server's next write fails before a byte of a request is sent, which it may safely repeat
 * elsewhere (unix sockets; TCP has no such thing, there the last look only makes the gap small).
 */
void
conn_stop(struct conn *c, int fresh)
{
	/*
	 * A connection that we accepted and that has had no request is one that a web server is
	 * about to write its request to; a failure there is an error of its client, not a reason to
	 * try again.
	 */
	if (c->state != CONN_IDLE || (fresh && !c->served))
		return;
	(void)shutdown(c->fd, SHUT_RD);
	conn_check(c);
	if (c->state == CONN_IDLE || c->state == CONN_HEAD)
		conn_close(c);
}

void
fcgi_answer(struct fcgi_request *r, struct span cgi_output)
{
	struct conn *c = r->conn;
	struct fcgi_server *S = c->server;
	int keep = r->keep && !S->stopping, drained = r->drained, failed;

	if (S->stopping && drained)
		(void)shutdown(
		    c->fd, SHUT_RD); /* before the answer invites the next request: see conn_stop */
	failed = FCGX_PutStr(cgi_output.p, (int)cgi_output.len, r->fcgx.out) < 0;
	failed |= FCGX_FClose(r->fcgx.err) != 0;
	failed |= FCGX_FClose(r->fcgx.out) != 0;
	request_release(r);
	c->served = 1;
	if (failed || (drained && !keep)) {
		conn_close(c);
		return;
	}
	if (!drained) {
		conn_linger(c);
		return;
	}
	set_state(c, CONN_IDLE);
	if (c->signalled || c->eof)
		look_again(c);
	if (poll_conn(c) == -1)
		conn_close(c);
}

void
fcgi_request_set(struct fcgi_request *r, void *state)
{
	r->owner_state = state;
}

void *
fcgi_request_get(const struct fcgi_request *r)
{
	return r->owner_state;
}
