/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_DAEMON_H_
#define APIKEYD_DAEMON_H_

/* Going to the background, such that whoever started us learns how it went. */

#include "base/err.h"

/* Open whatever of 0, 1, 2 is closed, so that no later descriptor becomes one of them by accident.
 */
int daemon_keep_std_fds(struct err *) __attribute__((warn_unused_result));

/* Close what else was inherited, but for ${keep} (-1: nothing): a daemon must not hold others'
 * files and pipes. */
void daemon_close_inherited(int keep);

/*
 * daemon_fork(&fd, e): returns in the daemon (own session, no terminal); the original process stays
 * until daemon_started and exits with what is said there.
 */
int daemon_fork(int *, struct err *) __attribute__((warn_unused_result));

/* The start is over: tell the exit code; on success (0) also let go of the terminal.  Harmless with
 * fd -1. */
void daemon_started(int *fd, int exit_code);

#endif /* !APIKEYD_DAEMON_H_ */
