/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_LANDLOCK_H_
#define APIKEYD_LANDLOCK_H_

/* Which files a process may reach: the part of a sandbox that landlock(7) does. */

#include "apikeyd/sandbox.h"

/*
 * From now on only the files of the policy (all, if it has no table of them).  1; 0: this kernel
 * has no landlock; -1: it has, and it failed.
 */
int landlock_enter(const struct sandbox_policy *, const struct config *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEYD_LANDLOCK_H_ */
