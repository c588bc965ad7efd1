/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_LISTEN_H_
#define APIKEYD_LISTEN_H_

/* The listening socket: bound, or inherited. */

#include <sys/types.h>

#include "apikeyd/privileges.h"
#include "base/err.h"
#include "config/config.h"

#define LISTEN_BACKLOG 1024

struct listener {
	int fd;	    /* -1: none */
	char *path; /* unix socket that we bound and shall remove; NULL: none */
	dev_t dev;
	ino_t ino;
};

/*
 * listen_open(L, C, P, e): bind `listen`.  A unix socket gets exactly listen_mode and belongs to
 * the service user; a stale one is replaced.  -1 with ERR_BUSY when somebody listens there: never
 * taken from them.
 */
int listen_open(struct listener *, const struct config *, const struct privileges *, struct err *)
    __attribute__((warn_unused_result));

/*
 * listen_inherited(L, e): the socket that systemd passed (LISTEN_FDS=1 and LISTEN_PID, fd 3), moved
 * away from fd 3; LISTEN_* are removed from the environment.  1 there is one, 0 none was passed, -1
 * what was passed cannot be used.
 */
int listen_inherited(struct listener *, struct err *) __attribute__((warn_unused_result));

/* Is ${fd} a listening stream socket? */
int listen_is(int fd);

/*
 * Does the socket's path still lead to it?  1 (also when no path is ours to look after), 0 nothing
 * is there, -1 something else is, or nobody can tell.
 */
int listen_is_there(const struct listener *, struct err *) __attribute__((warn_unused_result));

/* listen_again(L, C, P, e): where nothing is there any more, a new one, under the same descriptor:
 * who has the old one open goes on with that.  0, or -1 and everything is as it was. */
int listen_again(struct listener *, const struct config *, const struct privileges *, struct err *)
    __attribute__((warn_unused_result));

/* Close, and remove the socket's file when it is still ours. */
void listen_close(struct listener *);

#endif /* !APIKEYD_LISTEN_H_ */
