/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_LIMITS_H_
#define KEEPER_LIMITS_H_

/* The limits step of a decision: the plan of a key, looking at its logs, and taking from all of
 * them. */

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "core/keyrec.h"
#include "core/plan.h"
#include "core/slog.h"
#include "store/store.h"
#include "wire/wire.h"

/* What one look at a key's limits found. */
struct limits_look {
	const struct plan *plan;
	uint32_t cost;
	int refused;	  /* one that is no dry run has no room */
	int would_refuse; /* a dry run has none */
	int dry_runs;	  /* how many of the limits are dry runs */
	int64_t retry_us; /* then: until all have room; -1: never */
	struct slog_state at[PLAN_LIMITS_MAX];
	int fits[PLAN_LIMITS_MAX];
	uint8_t names[PLAN_LIMITS_MAX][STORE_LOG_NAME_MAX];
	size_t name_len[PLAN_LIMITS_MAX];
};

/* Decoded plans by name. */
struct limits_plans;
struct limits_plans *limits_plans_new(struct err *);
void limits_plans_free(struct limits_plans **);
void limits_plans_forget(struct limits_plans *);

/*
 * The plan of this name: 1 and *plan, valid until another one is asked for; 0 when there is none
 * (logged once); -1.
 */
int limits_plan(struct limits_plans *, struct store *, struct span name, const struct plan **plan,
    struct err *) __attribute__((warn_unused_result));

/* Look at every limit of the plan; stores nothing.  0 or -1. */
int limits_look(struct store *, const struct keyrec *, const struct plan *, uint32_t cost,
    int64_t now_us, struct limits_look *, struct err *) __attribute__((warn_unused_result));

/* Take the cost that was looked for from all of them, in the same batch.  0, or -1: the batch must
 * be aborted. */
int limits_take(struct store *, int64_t now_us, struct limits_look *, struct err *)
    __attribute__((warn_unused_result));

/* The figures of the limits that refuse (no dry runs), as of now or, when ${taken}, after
 * limits_take. */
void limits_figures(const struct limits_look *, int taken, struct wire_answer *);

#endif /* !KEEPER_LIMITS_H_ */
