/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FCGI_SERVER_H_
#define FCGI_SERVER_H_

/*
 * The worker's event loop: our own accept and epoll around libfcgi (the only room that includes
 * <fcgiapp.h>).  Any number of keep-alive connections wait in epoll; a connection whose request
 * head is complete is read by libfcgi without blocking; any number of requests are open at once,
 * each answered when its owner says so.  stdin is never read: what a web server sends of a body is
 * discarded.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "http/params.h"

struct fcgi_server;
struct fcgi_request; /* open until it is answered; then gone */

struct fcgi_handlers {
	/* A request. ${P} and what it points to live until fcgi_answer. ${role}: 1 responder, 2
	 * authorizer. */
	void (*request)(void *cookie, struct fcgi_request *, const struct params *P, int role);
	/*
	 * A head that is not to be read (FRAME_REFUSE): returns the CGI output to send, at most
	 * REPLY_MAX bytes, valid until the next call.  ${mode}: the value of options.mode_param in
	 * the part that is there, or empty.
	 */
	struct span (*refuse)(void *cookie, struct span mode, int role);
	/* After each round of events: send what was gathered. Returns milliseconds until it wants
	 * to be called again, -1: never. */
	int (*round)(void *cookie);
	/* The peer of an open request went away, or the server is being freed: it must not be
	 * answered, P is gone. */
	void (*gone)(void *cookie, struct fcgi_request *);
	void *cookie;
};

struct fcgi_options {
	int listen_fd; /* inherited; made non-blocking here */
	unsigned max_connections;
	const char *mode_param;	 /* which param handlers.refuse needs */
	int64_t head_timeout_us; /* a head that is begun must be complete by then (default 10 s) */
	/* At the maximum of connections one makes room for the next after so long without a
	 * request, or with a head that is not complete (default 250 ms). */
	int64_t spare_us;
};

/* Once a process: libfcgi's set-up (it installs signal handlers: call it before ours). */
int fcgi_server_init(struct err *) __attribute__((warn_unused_result));
struct fcgi_server *fcgi_server_new(
    const struct fcgi_options *, const struct fcgi_handlers *, struct err *);
void fcgi_server_free(struct fcgi_server **);

/* Any other descriptor in the same loop: ${fn}(cookie, epoll events) while it is readable.
 * fcgi_server_unwatch before closing it. */
int fcgi_server_watch(struct fcgi_server *, int fd, void (*)(void *, uint32_t), void *,
    struct err *) __attribute__((warn_unused_result));
void fcgi_server_unwatch(struct fcgi_server *, int fd);

/* Where the gate keeps its own state of an open request. */
void fcgi_request_set(struct fcgi_request *, void *);
void *fcgi_request_get(const struct fcgi_request *);

/* Answer and end: wipes the params, gives the connection back to the loop (or closes it). */
void fcgi_answer(struct fcgi_request *, struct span cgi_output);

/*
 * Runs until fcgi_server_stop, and then until every open request is answered and every connection
 * is closed: stop means no more accepts, idle connections closed, open ones closed after their
 * answer, and those that have had no request yet after their first one (or a second without any).
 * 0, or -1 (epoll failed).
 */
int fcgi_server_run(struct fcgi_server *, struct err *) __attribute__((warn_unused_result));
void fcgi_server_stop(struct fcgi_server *);

#endif /* !FCGI_SERVER_H_ */
