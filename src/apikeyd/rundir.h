/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_RUNDIR_H_
#define APIKEYD_RUNDIR_H_

/* The directories of the service, and the file of the settings in force in one of them. */

#include "apikeyd/privileges.h"
#include "base/err.h"
#include "config/config.h"

/* Make run_dir (0755) and state_dir (0700) where they are missing; made by root, they belong to the
 * service user. */
int rundir_make(const struct config *, const struct privileges *, struct err *)
    __attribute__((warn_unused_result));

/* "<run_dir>/running.conf", replaced as a whole: what children load. */
#define RUNDIR_PATH_MAX 256
int rundir_path(const struct config *, char[RUNDIR_PATH_MAX], struct err *)
    __attribute__((warn_unused_result));
int rundir_write(const struct config *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEYD_RUNDIR_H_ */
