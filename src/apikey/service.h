/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_SERVICE_H_
#define APIKEY_SERVICE_H_

/*
 * The user that the daemon runs as.  What the tool makes as root belongs to it, so that the tool
 * never leaves a file that the daemon cannot open.
 */

#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"

struct service {
	int change; /* we are root and the service is not: files are given away, and alone we become
		       it */
	uid_t uid;
	gid_t gid;
	const char *user; /* its name; the configuration's */
};

/* 0, or -1 with ERR_UNAVAILABLE: the configured user or group does not exist (names the mend). */
int service_find(const struct config *, struct service *, struct err *)
    __attribute__((warn_unused_result));

/* Does a supervisor of this configuration run?  1 (also when its pid file is not ours to read) or
 * 0. */
int service_runs(const struct config *);

/*
 * service_make_dir(S, path, mode, own, e): when it is missing, make it, and its parents with 0755,
 * whatever the umask.
 * ${own}: give it to the service.  A directory that is there is left as it is.
 */
int service_make_dir(const struct service *, const char *, mode_t, int own, struct err *)
    __attribute__((warn_unused_result));

/*
 * Become the service for good: groups, gid, uid, no program that gives rights (no_new_privs); no
 * way back, and no core.  Standard input is empty from then on, and a terminal can be written to
 * but not read: it is still root's.  For anyone but root nothing happens.
 */
int service_become(const struct service *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_SERVICE_H_ */
