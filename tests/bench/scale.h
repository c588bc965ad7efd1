/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_BENCH_SCALE_H_
#define TESTS_BENCH_SCALE_H_

/*
 * What the axes of tests/bench/scale share: a store with peppers and the decision over it, in a
 * directory of its own; keys that are a function of their number, so that ten million of them need
 * not be remembered; and measuring.  Whatever fails ends the program: a figure of a run that went
 * wrong is worth nothing.
 */

#include <stdint.h>

#include "keeper/decide.h"
#include "keeper/peppers.h"
#include "store/store.h"

#define MIB (UINT64_C(1) << 20)
#define SCALE_T0 INT64_C(1800000000000000) /* a moment in 2027 */

struct scale_options {
	const char *below; /* where the directories are made */
	int quick;	   /* small sizes: does it work? */
	uint64_t most;	   /* keys or units; larger rows are left out */
};

/* The axes; each prints its own table. */
void axis_keys(const struct scale_options *);
void axis_units(const struct scale_options *);
void axis_disk(const struct scale_options *);
void axis_sweep(const struct scale_options *);
void axis_checkpoint(const struct scale_options *);

struct rig {
	char top[200], dir[256], pepper_file[256];
	struct store *store;
	struct peppers *peppers;
	struct decide *decide;
	struct decide_times now;
	struct err e;
};

/* A directory with a pepper and no store; rig_open makes that, or opens it again. */
void rig_make(struct rig *, const struct scale_options *);
void rig_open(struct rig *, uint64_t cache_bytes);
void rig_close(struct rig *);
void rig_remove(struct rig *);
/* ${e} is r->e in all that is called; -1 ends the program. */
void rig_must(const struct rig *, int rc, const char *what);
void rig_batch(struct rig *, int (*)(void *, struct err *), void *cookie);
void rig_plan(struct rig *, const char *name, const char *const *limits, size_t n);

/* Key number ${n}. */
struct rig_key {
	char text[TOKEN_MAX + 1], id[TOKEN_ID_LEN + 1];
};
void rig_key(uint64_t n, struct rig_key *);
/* Puts keys [from, from + n) into the store, ten to an owner, by its verbs in large batches. */
void rig_keys(struct rig *, uint64_t from, uint64_t n, const char *plan);
/* In a batch: one request of a key; ends the program unless the verdict is ${want}. */
int rig_check(struct rig *, const struct rig_key *, enum verdict want, struct err *);
/* All on disk, old logs gone. */
void rig_settle(struct rig *);
struct store_stat rig_stat(struct rig *);
/* Bytes of one database's file. */
uint64_t rig_file_bytes(const struct rig *, const char *name);

/* Runs ${fn} in a process of its own, so that it begins with nothing in memory; ${shared} is of
 * scale_shared. */
void scale_alone(void (*fn)(void *), void *shared);
void *scale_shared(size_t);

uint64_t scale_random(uint64_t *state);
double scale_cpu_us(void); /* of this thread */
uint64_t scale_rss_bytes(void);
/* The ${q}-quantile of n values, which are sorted by it. */
double scale_quantile(double *values, size_t n, double q);

#endif /* !TESTS_BENCH_SCALE_H_ */
