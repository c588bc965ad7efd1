/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_STEADY_H_
#define KEEPER_STEADY_H_

/*
 * The steady clock that limits are counted by: never steps with the wall clock, continues over
 * restarts.
 *
 * steady = CLOCK_BOOTTIME + offset.  The offset is fixed when a store is first opened in a boot (so
 * that steady = wall time then, or the last steady time seen, whichever is later) and stored with
 * the boot's id: a keeper restarted in the same boot goes on exactly.  So a wall clock that steps
 * back an hour, or forward a day, changes no limit at all while the machine is up; across a reboot,
 * a clock that came back earlier than the last time seen goes on from there (nobody gets units
 * back, nobody is locked out for longer than a window), and one that came back later counts as time
 * that passed.
 */

#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

struct steady {
	int64_t offset_us;
	char boot_id[37];
	int64_t saved_us;
};

/* Reads and, when needed, stores the offset (its own batch). */
int steady_open(struct steady *, struct store *, struct err *) __attribute__((warn_unused_result));
int64_t steady_now_us(const struct steady *);
/* In a batch: remember the time seen, at most once in 10 s; cheap otherwise. */
int steady_save(struct steady *, struct store *, int64_t now_us, struct err *)
    __attribute__((warn_unused_result));

/* The rule alone, pure, for tests: the offset to use. */
int64_t steady_offset(int same_boot, int64_t stored_offset_us, int64_t stored_last_us,
    int64_t wall_us, int64_t boot_us);

#endif /* !KEEPER_STEADY_H_ */
