/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_PIDFILE_H_
#define APIKEYD_PIDFILE_H_

/* "<run_dir>/apikeyd.pid": one supervisor a run directory. */

#include "base/err.h"

struct pidfile {
	int fd; /* holds the lock */
	char path[256];
	int orphaned; /* the last owner was killed: its children may still be leaving */
};

/* Take the lock and write our pid.  -1: ERR_BUSY names the pid of the one that runs. */
int pidfile_open(struct pidfile *, const char *run_dir, struct err *)
    __attribute__((warn_unused_result));
/* Remove and unlock; harmless when it was never opened (fd -1). */
void pidfile_close(struct pidfile *);

#endif /* !APIKEYD_PIDFILE_H_ */
