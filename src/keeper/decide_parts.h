/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_DECIDE_PARTS_H_
#define KEEPER_DECIDE_PARTS_H_

/*
 * What decide.c and its limits step, decide_limits.c, share, and nobody else includes.
 *
 * In both, ${c} is the check that is asked about, ${t} the time that it is decided at, ${a} the
 * answer, ${wrote} whether anything was written, and ${x} who looks on (apikey check): NULL when
 * the gate asks; otherwise each step is told and nothing is written.
 */

#include "keeper/decide.h"
#include "keeper/dryruns.h"
#include "keeper/exposure.h"
#include "keeper/found.h"
#include "keeper/limits.h"
#include "keeper/recent.h"
#include "keeper/uses.h"

#define SCOPES_TEXT_MAX (SCOPE_COUNT_MAX * (SCOPE_MAX + 1))

struct decide {
	struct store *store;
	struct peppers *peppers;
	char prefix[TOKEN_PREFIX_MAX + 1];
	char default_plan[PLAN_NAME_MAX + 1];
	enum config_browsers browsers;
	enum config_exposure on_exposure;
	int accept_foreign;
	int writable;
	uint64_t generation; /* of plans and keys */
	struct limits_plans *plans;
	struct recent *recent;
	struct dryruns *dryruns;
	struct uses *uses;
	struct found key;
	const struct plan *plan; /* of that key; NULL: there is none */
	struct span plan_scopes[PLAN_SCOPES_MAX];
	struct exposure exposure;
	struct limits_look look;
	char scopes[SCOPES_TEXT_MAX];
};

/* Tell a step, when somebody looks on. */
static inline void
decide_tell(const struct decide_watch *x, const char *step, int passed, const char *detail)
{
	if (x != NULL)
		x->trace(x->cookie, step, passed, detail);
}

/*
 * What the limits of the key that was found say: `ok` (then the units are taken), `rate_limited` or
 * `unavailable`.  0 or -1.  With somebody looking on nothing is taken, and what was counted before
 * is not asked: the figures are those of a new request.
 */
int decide_limits(struct decide *, const struct wire_check *, const struct decide_times *,
    struct wire_answer *, enum verdict *, int *wrote, struct decide_watch *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !KEEPER_DECIDE_PARTS_H_ */
