/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_DECIDE_H_
#define KEEPER_DECIDE_H_

/*
 * The decision: lookup, state, restrictions, scopes, limits; the only place where a request can
 * become `ok`. Called inside a store_batch.  Limits are all looked at before any is written (all or
 * nothing).
 */

#include <stdint.h>

#include "base/err.h"
#include "keeper/peppers.h"
#include "store/store.h"
#include "wire/wire.h"

struct decide; /* peppers, store, plan cache, recent request ids; owns none of the first two */

struct decide *decide_new(struct store *, struct peppers *, const char *key_prefix, struct err *);
void decide_free(struct decide **);
/*
 * The settings that matter here: a key without a plan has ${default_plan} (PLAN_BUILTIN until told
 * otherwise).  Cheap when nothing changed.  0; -1 when a name is too long, and then nothing is
 * changed.
 */
int decide_configure(struct decide *, const char *key_prefix, const char *default_plan,
    struct err *) __attribute__((warn_unused_result));
/* After pepper.reload. */
void decide_set_peppers(struct decide *, struct peppers *);
/* Plans are kept decoded: forget them after any change of a plan or a key. */
void decide_forget_plans(struct decide *);
/* 0 while space is low: a check that would have to write is answered `unavailable`.  1 at first. */
void decide_set_writable(struct decide *, int writable);
/* After the batch of one or more decide_check: was it committed?  Forgets what was not. */
void decide_batch_end(struct decide *, int committed);

struct decide_times {
	int64_t wall_us;   /* for expiry, exposure */
	int64_t steady_us; /* for limits */
};

/*
 * decide_check(D, check, times, answer, e): fills ${answer} (spans borrow from D until the next
 * call).  0; -1 when the store failed (answer->verdict is unavailable then, and the batch must be
 * aborted). Sets *wrote when something was written that the batch must commit before the answer may
 * be sent.
 *
 * check->retry means here: a batch committed before a restart has counted this very check (the loop
 * has cleared it otherwise).  It is decided in full, but not counted again.
 *
 * An `exposed` check marks the key and is never answered `ok`.
 */
int decide_check(struct decide *, const struct wire_check *, const struct decide_times *,
    struct wire_answer *, int *wrote, struct err *) __attribute__((warn_unused_result));

/* For `apikey check`: the same steps, counting nothing, each told to ${trace} (step name, passed,
 * detail or NULL). */
typedef void decide_trace_fn(void *cookie, const char *step, int passed, const char *detail);
int decide_explain(struct decide *, const struct wire_check *, const struct decide_times *,
    struct wire_answer *, decide_trace_fn *, void *, struct err *)
    __attribute__((warn_unused_result));

/* How much of each of its limits a key has used, dry-run ones too: 1; 0 when its plan is missing;
 * -1. */
struct decide_usage {
	struct plan plan;
	struct slog_state at[PLAN_LIMITS_MAX];
};
int decide_usage(struct decide *, const struct keyrec *, const struct decide_times *,
    struct decide_usage *, struct err *) __attribute__((warn_unused_result));

#endif /* !KEEPER_DECIDE_H_ */
