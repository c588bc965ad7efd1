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
#include "config/config.h"
#include "keeper/peppers.h"
#include "store/store.h"
#include "wire/wire.h"

struct decide; /* peppers, store, plan cache, recent request ids; owns none of the first two */

struct decide *decide_new(struct store *, struct peppers *, const char *key_prefix, struct err *);
void decide_free(struct decide **);
/*
 * The settings that matter here: key_prefix, default_plan (a key without a plan has it;
 * PLAN_BUILTIN until told otherwise), reject_browsers and on_exposure (off and flag until told
 * otherwise).  Nothing of the configuration is kept.  Cheap when nothing changed.  0; -1 when a
 * name is too long, and then nothing is changed.
 */
int decide_configure(struct decide *, const struct config *, struct err *)
    __attribute__((warn_unused_result));
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
 * An `exposed` check marks the key, with what on_exposure says beyond that, and is never answered
 * `ok`.
 */
int decide_check(struct decide *, const struct wire_check *, const struct decide_times *,
    struct wire_answer *, int *wrote, struct err *) __attribute__((warn_unused_result));

/* What the limits step of an explained check found; plan.nlimits is 0 when it was not reached. */
struct decide_limits {
	struct plan plan;
	struct slog_state at[PLAN_LIMITS_MAX];
	int fits[PLAN_LIMITS_MAX];
};

/*
 * For `apikey check`: decide_check itself, writing and counting nothing, each step told to
 * ${trace} (its name, passed, what it looked at, or NULL).  With ${id} the key is found by its
 * public id, and the check's credential is not looked at.
 */
typedef void decide_trace_fn(void *cookie, const char *step, int passed, const char *detail);
struct decide_watch {
	decide_trace_fn *trace;
	void *cookie;
	const char *id; /* or NULL */
	struct decide_limits limits;
};
int decide_explain(struct decide *, const struct wire_check *, const struct decide_times *,
    struct wire_answer *, struct decide_watch *, struct err *) __attribute__((warn_unused_result));

/* The plan of a key: 1 and *plan, valid until the next call of anything here; 0 when it is missing;
 * -1. */
int decide_plan(struct decide *, const struct keyrec *, const struct plan **plan, struct err *)
    __attribute__((warn_unused_result));

/* When keys were last used: marked by decide_check, written by the keeper's loop. */
struct uses;
struct uses *decide_uses(struct decide *);

/* How much of each of its limits a key has used, dry-run ones too: 1; 0 when its plan is missing;
 * -1. */
struct decide_usage {
	struct plan plan;
	struct slog_state at[PLAN_LIMITS_MAX];
};
int decide_usage(struct decide *, const struct keyrec *, const struct decide_times *,
    struct decide_usage *, struct err *) __attribute__((warn_unused_result));

#endif /* !KEEPER_DECIDE_H_ */
