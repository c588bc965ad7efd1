/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_TRAIL_H_
#define KEEPER_TRAIL_H_

/*
 * The audit trail as the keeper has it: sealed with its peppers, pruned by its settings, and the
 * entries of events that no admin asked for.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "keeper/peppers.h"
#include "store/store.h"

/*
 * The store's trail is sealed with *peppers from now on; whatever they point to then.  0 or -1; a
 * trail whose end was tampered with is logged and goes on.
 */
int trail_open(struct store *, struct peppers **, struct err *) __attribute__((warn_unused_result));
/* *peppers were replaced. */
void trail_peppers_changed(struct store *, struct peppers **);

/*
 * A store whose log somebody accepted as it is, and of which no entry tells yet: one does, and a
 * line of the log.  Behind trail_open, in no batch.  A failure is logged; it stays for the next.
 */
void trail_tell_accepted(struct store *);

/* In a batch: an entry by the gate.  ${addr} NULL: unknown; ${detail}: a JSON object. */
struct trail_event {
	int64_t wall_us;
	const char *op;
	struct span subject;
	struct span address; /* of the client, or its network; empty: unknown */
	const char *detail;
};
int trail_event(struct store *, const struct trail_event *, struct err *)
    __attribute__((warn_unused_result));

/* ---- pruning: passes, in slices between the rounds ---- */

struct trail_prune {
	int active;	 /* a pass is under way: call trail_prune_slice again soon */
	int64_t next_us; /* CLOCK_MONOTONIC: when the next pass begins */
	int64_t before_us;
};
void trail_prune_tick(struct trail_prune *, int64_t mono_us, int64_t wall_us, int64_t keep_us);
/*
 * Removes some of what is older than the pass's time, and tells of it in the trail when the pass
 * ends. ${pause}: ends the pass instead (space is low).  1 when something was committed, else 0.  A
 * failure ends the pass and is logged.
 */
int trail_prune_slice(struct trail_prune *, struct store *, int64_t wall_us, int pause);

#endif /* !KEEPER_TRAIL_H_ */
