/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WIRE_DIAL_H_
#define WIRE_DIAL_H_

/*
 * Connections to the keeper for a process that may not make any.  A worker has given up socket()
 * and connect(); its dialer (the supervisor, or a process that the worker started for it) connects
 * in its name and passes the descriptor on.  The same channel carries the worker's lines to syslog.
 *
 * The channel is a SOCK_SEQPACKET pair.  To the dialer: "k" (a connection, please) or a line of
 * base/log.h.  To the worker: "k" with a descriptor, or "n".
 */

#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

enum dial {
	DIAL_GONE = -1, /* the other side is */
	DIAL_NOTHING,	/* nothing was asked; no answer yet */
	DIAL_BUSY,	/* not now */
	DIAL_NOBODY,	/* nobody listens: a keeper has to be started */
	DIAL_CONNECTED
};

/* ---- the dialer's side ---- */

struct dialer {
	int control; /* -1: none */
	int given;   /* our copy of the connection that was passed last, or -1 */
	int64_t last_us;
	struct sockaddr_un to;
};

/* Takes the descriptor ${control}; a worker of this run directory is at its other end. */
int dialer_init(struct dialer *, int control, const char *run_dir, struct err *)
    __attribute__((warn_unused_result));
/* Closes; what was given is cut. */
void dialer_release(struct dialer *);

/*
 * dialer_serve(D, pid): take what the worker ${pid} has sent; never waits.  A new connection ends
 * the one that was given before: a worker has one, whatever it asks for.
 */
enum dial dialer_serve(struct dialer *, pid_t);

/* ---- the worker's side ---- */

/* A pair: [0] is the dialer's end, [1] the worker's; non-blocking, close-on-exec. */
int dial_pair(int fds[2], struct err *) __attribute__((warn_unused_result));
/* Ask for a connection: 1 asked, 0 not now (the channel is full), -1 there is no dialer. */
int dial_ask(int control) __attribute__((warn_unused_result));
/* The answer.  DIAL_CONNECTED: ${fd} is the caller's (non-blocking, close-on-exec), else -1. */
enum dial dial_take(int control, int *fd);

#endif /* !WIRE_DIAL_H_ */
