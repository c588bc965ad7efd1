/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_PRIVILEGES_H_
#define APIKEYD_PRIVILEGES_H_

/* Becoming the service user, for good. */

#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"

struct privileges {
	int root;  /* we are root: there is something to give up and to give away */
	uid_t uid; /* the service user's, or our own */
	gid_t gid;
	char user[64];
};

/* Who we shall be.  Not root: who we are; the settings are ignored. */
int privileges_lookup(struct privileges *, const struct config *, struct err *)
    __attribute__((warn_unused_result));

/* Become that, with the user's supplementary groups and no way back, and never gain any again
 * (no_new_privs). */
int privileges_drop(const struct privileges *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEYD_PRIVILEGES_H_ */
