/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_PLAN_H_
#define CORE_PLAN_H_

/*
 * A plan: named limits, each N units in any window of length W, counted per key or per owner; the
 * scopes of its keys that have none of their own; and how old their secrets may become.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/scope.h"

#define PLAN_NAME_MAX 64
#define PLAN_BUILTIN "default" /* need not be stored: see plan_builtin */
#define PLAN_LIMITS_MAX 8
#define LIMIT_NAME_MAX 32
#define LIMIT_LOG_MAX (LIMIT_NAME_MAX + 3) /* a name, and perhaps "~2" to "~99" */
#define LIMIT_UNITS_MAX UINT64_C(1000000000)
#define LIMIT_WINDOW_MAX_US (INT64_C(366) * 86400 * 1000000)
#define LIMIT_COST_MAX 1000000
#define PLAN_SCOPES_MAX 32
#define PLAN_AGE_MAX_US (INT64_C(3660) * 86400 * 1000000)
#define PLAN_RECORD_MAX 4096

enum plan_per { PLAN_PER_KEY, PLAN_PER_OWNER };

struct plan_limit {
	char name[LIMIT_NAME_MAX + 1];
	uint64_t max_units;
	int64_t window_us; /* whole seconds */
	int dry_run;	   /* counts and reports, never refuses */
	/*
	 * What its units are counted under: its first name, whatever it is called since; empty
	 * means its name.  No two limits of a plan have the same.
	 */
	char log[LIMIT_LOG_MAX + 1];
	/* Units that its log keeps although they have expired here: store_owner_log_units.  No part
	 * of the record. */
	uint64_t keep_units;
};

/* A limit that the plan had: by its name the log is found again. */
struct plan_past {
	char name[LIMIT_NAME_MAX + 1];
	char log[LIMIT_LOG_MAX + 1];
};

struct plan {
	char name[PLAN_NAME_MAX + 1];
	enum plan_per per;
	size_t nlimits;
	struct plan_limit limits[PLAN_LIMITS_MAX];
	size_t npast;
	struct plan_past past[PLAN_LIMITS_MAX]; /* those gone last come first */
	int64_t created_us, changed_us;
	size_t nscopes;
	char scopes[PLAN_SCOPES_MAX][SCOPE_MAX + 1];
	int64_t max_age_us; /* of a secret, whole seconds; 0: any */
	int max_age_deny;   /* an older one is refused, not only told */
};

/* "minute=100/60s": 0, or -1 and what is wrong with it. */
int plan_limit_parse(const char *, struct plan_limit *, struct err *)
    __attribute__((warn_unused_result));

/* The name of the limit's log. */
const char *plan_limit_log(const struct plan_limit *);

/* Everything that must hold of a plan before it is stored (names, bounds, no name and no log
 * twice). */
int plan_check(const struct plan *, struct err *) __attribute__((warn_unused_result));

/* Is this the name of the built-in plan?  1, and the plan: no limits, per key.  0.  Stored, another
 * takes its place. */
int plan_builtin(struct span name, struct plan *) __attribute__((warn_unused_result));

/* The record (first byte: version; of older ones, the limits' logs are named like them).  Decoding
 * fills in every limit's log, and refuses unknown versions, trailing bytes and whatever
 * plan_check refuses. */
void plan_encode(const struct plan *, struct wbuf *);
int plan_decode(struct span, struct plan *, struct err *) __attribute__((warn_unused_result));

#endif /* !CORE_PLAN_H_ */
