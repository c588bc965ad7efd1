/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_RENAMES_H_
#define CORE_RENAMES_H_

/*
 * When a plan is replaced: which limit of the new one goes on with the log of which limit of the
 * old one, so that no change of a plan loses what was used.
 */

#include "base/err.h"
#include "core/plan.h"

struct rename {
	char from[LIMIT_NAME_MAX + 1], to[LIMIT_NAME_MAX + 1];
};

struct renames {
	size_t n;
	struct rename of[PLAN_LIMITS_MAX];
};

/*
 * renames_settle(next, prev, r, e): give every limit of ${next} its log, and ${next} its past
 * limits.  ${prev}: the plan before (one without limits when there was none).  ${r}: the renames
 * that were asked for; those that are recognised are added.
 *
 * A log that a limit of ${next} names already is a wish (the log of limits of that name in other
 * plans): it is granted when nothing else has that log.
 *
 * 0; -1 and ERR_INPUT when a rename that was asked for is none.
 */
int renames_settle(struct plan *next, const struct plan *prev, struct renames *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !CORE_RENAMES_H_ */
