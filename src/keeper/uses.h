/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_USES_H_
#define KEEPER_USES_H_

/*
 * When keys were last used: kept in a table of fixed size, and written to the store once a minute,
 * in slices between the rounds, so that a check writes nothing for it.  What is asked here is
 * exact; what a kill leaves in the store is a minute old, and what a time in which the disk was
 * full leaves may be older.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/store.h"

#define USES_MAX 49152 /* keys noted between two flushes */

struct uses;

struct uses *uses_new(struct err *);
void uses_free(struct uses **);

/* A key was used at ${wall_us}; ${previous}: with a secret that had been replaced. */
void uses_mark(struct uses *, const char id[TOKEN_ID_LEN + 1], int64_t wall_us, int previous);
/* The key is no more: nothing is written of it. */
void uses_forget(struct uses *, const char *id);
/* What is known of it, here or in the store (all 0: it was never used).  0 or -1. */
int uses_get(const struct uses *, struct store *, struct span id, struct store_use *, struct err *)
    __attribute__((warn_unused_result));

/* Each second: begins a flush when it is time. */
void uses_tick(struct uses *, int64_t mono_us);
/* A flush is under way, or must begin before its time: call uses_slice soon. */
int uses_busy(const struct uses *);
/*
 * Writes for about half a millisecond, longer only when more keys are used than that keeps up
 * with.  ${pause}: ends it until the next tick instead (space is low).  1 when something was
 * written, and so committed; else 0.  A failure is logged, and tried again at the next flush.
 */
int uses_slice(struct uses *, struct store *, int64_t mono_us, int pause);
/* All of it, at the end.  0 or -1. */
int uses_flush(struct uses *, struct store *, struct err *) __attribute__((warn_unused_result));

#endif /* !KEEPER_USES_H_ */
