/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_KEEPER_H_
#define KEEPER_KEEPER_H_

/*
 * The keeper process: one event loop over its SEQPACKET socket.  A round drains what waits on every
 * connection, decides all checks in one store_batch, commits once, answers them; then runs admin
 * operations, each in its own batch, whose answers wait until the housekeeping thread has flushed
 * the log.
 */

#include "base/err.h"
#include "config/config.h"

/* Exit status of a keeper whose disk refused to write: it ends at once (store/store.h). */
#define KEEPER_EXIT_DISK 74

struct keeper_options {
	int status_fd; /* the supervisor's pipe: 'R' when ready, a '.' each second; -1: none */
	int64_t idle_exit_us; /* started on demand by a worker: leave after so long without a
				 client; 0: never */
	int again; /* one before us has served this store: it is not made, should it be missing */
};

/*
 * Runs until SIGTERM/SIGINT (then: drains what is in hand, checkpoints, closes).  SIGHUP: reloads
 * configuration and peppers.  0, or -1 with ERR_BUSY when another keeper owns the store (not a
 * failure for one started on demand).
 */
int keeper_run(struct config **, const struct keeper_options *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !KEEPER_KEEPER_H_ */
