/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_SWEEP_H_
#define KEEPER_SWEEP_H_

/* Passes over the limit logs, in slices between the rounds: deletes those that have been idle for
 * long. */

#include <stdint.h>

#include "keeper/steady.h"
#include "store/store.h"

struct sweep {
	int active;	 /* a pass is under way: call sweep_slice again soon */
	int64_t next_us; /* CLOCK_MONOTONIC: when the next pass begins */
	struct store_cursor cursor;
};

void sweep_init(struct sweep *, int64_t mono_us);
/* Begins a pass when it is time. */
void sweep_tick(struct sweep *, int64_t mono_us);
/*
 * Sweeps for about half a millisecond.  ${pause}: ends the pass instead (space is low: deleting takes
 * log and gives the disk nothing back).  1 when something was deleted, and so committed; else 0.  A
 * failure ends the pass and is logged.
 */
int sweep_slice(struct sweep *, struct store *, const struct steady *, int64_t keep_us, int pause);

#endif /* !KEEPER_SWEEP_H_ */
