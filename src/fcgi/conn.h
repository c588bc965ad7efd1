/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FCGI_CONN_H_
#define FCGI_CONN_H_

/*
 * Internal to this room: one connection of a web server (conn.c), and the loop's state that
 * connections and loop share (server.c).
 */

#include <sys/queue.h>

#include <fcgiapp.h>

#include "fcgi/frame.h"
#include "fcgi/server.h"
#include "http/reply.h"

#define CONN_LINGER_US (3 * INT64_C(1000000)) /* how long what follows an answer is discarded */
#define CONN_FRESH_US INT64_C(1000000) /* how long a stopping server waits for a first request */

/* Whatever epoll reports on: the first member of its owner. */
struct source {
	void (*fn)(struct source *, uint32_t events);
};

enum conn_state {
	CONN_IDLE,   /* nothing of a request is there; on the list of idle ones */
	CONN_HEAD,   /* a head is begun; on the list of heads until its deadline */
	CONN_OPEN,   /* its request is in somebody's hands */
	CONN_LINGER, /* answered and shut; what still arrives is discarded, until EOF or the
			deadline */
	CONN_CLOSED  /* waits on the dead list for the end of the round: events for it may be queued
		      */
};

struct fcgi_request {
	FCGX_Request fcgx;
	struct conn *conn;
	void *owner_state;
	int keep;    /* the web server wants to use the connection again */
	int drained; /* no byte of this request is left in the socket */
	struct params params;
	SLIST_ENTRY(fcgi_request) pool;
};

struct conn {
	struct source source;
	struct fcgi_server *server;
	enum conn_state state;
	int fd;
	int polled; /* in epoll; a connection that is answered at once and closed never gets there
		     */
	int signalled; /* an edge came while the request was open: look again after the answer */
	int eof;       /* the peer has shut its side */
	int served;    /* at least one request was answered on it */
	int queued;
	int64_t deadline_us; /* an idle one is spared until then */
	struct fcgi_request *request;
	TAILQ_ENTRY(conn) all;	 /* live connections; or the dead list, or the pool */
	TAILQ_ENTRY(conn) timer; /* idles, heads or lingers */
	TAILQ_ENTRY(conn) queue; /* to be looked at in this loop's next round */
};

TAILQ_HEAD(conn_list, conn);

struct watch;

struct fcgi_server {
	struct fcgi_options options;
	struct fcgi_handlers handlers;
	struct source listener;
	int epoll_fd;
	int listening; /* the listener is in epoll */
	int tcp;
	int64_t accept_after_us; /* out of descriptors: not before */
	int stopping, stopped;
	int64_t stop_us; /* once stopped: when connections without a first request are given up */
	int64_t now_us;	 /* of this round */
	unsigned nconns;
	struct conn_list conns, dead, pool, queue;
	/* Each in the order of its deadlines: one timeout a list. */
	struct conn_list idles, heads, lingers;
	int64_t told_full_us;		     /* of the last log line about the maximum */
	SLIST_HEAD(, fcgi_request) requests; /* free ones */
	SLIST_HEAD(, watch) watches, dead_watches;
	uint8_t bytes[FRAME_PEEK_MAX]; /* peeked, or discarded */
	uint8_t out[REPLY_MAX + 64];   /* a refusal in records */
};

/* Takes ${fd} over (closes it on failure), and looks at once for a request. */
void conn_open(struct fcgi_server *, int fd);
/* What waits on an idle connection: serve, wait, refuse or close. */
void conn_check(struct conn *);
/* Discards what has arrived on a lingering one. */
void conn_drain(struct conn *);
void conn_close(struct conn *);
/* Peer gone or server freed: takes an open request back from its owner, then closes. */
void conn_abandon(struct conn *);
/* No more requests after what has arrived, or (${fresh}) after the first one; see fcgi_server_run.
 */
void conn_stop(struct conn *, int fresh);

#endif /* !FCGI_CONN_H_ */
