/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_PLAN_H_
#define CORE_PLAN_H_

/* A plan: named limits, each N units in any window of length W, counted per key or per owner. */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define PLAN_NAME_MAX 64
#define PLAN_BUILTIN "default" /* need not be stored: see plan_builtin */
#define PLAN_LIMITS_MAX 8
#define LIMIT_NAME_MAX 32
#define LIMIT_UNITS_MAX UINT64_C(1000000000)
#define LIMIT_WINDOW_MAX_US (INT64_C(366) * 86400 * 1000000)
#define LIMIT_COST_MAX 1000000
#define PLAN_RECORD_MAX 1024

enum plan_per { PLAN_PER_KEY, PLAN_PER_OWNER };

struct plan_limit {
	char name[LIMIT_NAME_MAX + 1];
	uint64_t max_units;
	int64_t window_us; /* whole seconds */
	int dry_run;	   /* counts and reports, never refuses */
};

struct plan {
	char name[PLAN_NAME_MAX + 1];
	enum plan_per per;
	size_t nlimits;
	struct plan_limit limits[PLAN_LIMITS_MAX];
	int64_t created_us, changed_us;
};

/* "minute=100/60s": 0, or -1 and what is wrong with it. */
int plan_limit_parse(const char *, struct plan_limit *, struct err *)
    __attribute__((warn_unused_result));

/* Everything that must hold of a plan before it is stored (names, bounds, no name twice). */
int plan_check(const struct plan *, struct err *) __attribute__((warn_unused_result));

/* Is this the name of the built-in plan?  1, and the plan: no limits, per key.  0.  Stored, another
 * takes its place. */
int plan_builtin(struct span name, struct plan *) __attribute__((warn_unused_result));

/* The record (first byte: version).  Decoding refuses unknown versions, trailing bytes and whatever
 * plan_check refuses. */
void plan_encode(const struct plan *, struct wbuf *);
int plan_decode(struct span, struct plan *, struct err *) __attribute__((warn_unused_result));

#endif /* !CORE_PLAN_H_ */
