/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The axis of keys: for each number of them a store is made in one process and opened in another,
 * as a keeper would after a clean stop: how long that took, what a lookup costs (a check of a key
 * without limits: HMAC, hash lookup, record, rules), and how much memory the process has then.
 *
 * The cache is what an administrator would give it: room for keys.db, the only file that a lookup
 * reads.  Each row's keys are asked for in random order, all of them alike, and in turn with those
 * of a store of a thousand keys in the same process: the ratio is the median of that of each round.
 */

#include <stdio.h>

#include "base/clock.h"
#include "scale.h"

#define ROUNDS 15
#define ROUND_CHECKS 40000
#define BATCH 16

#define FEW 1000 /* keys that are compared with */

struct row {
	struct rig rig, few;
	uint64_t keys, cache_bytes;
	/* measured */
	uint64_t rss_bytes, keys_bytes, data_bytes;
	double create_s, stop_ms, start_ms, lookup_us, ratio, misses;
};

struct lookups {
	struct rig *rig;
	uint64_t keys, random;
	double us;
};

static int
lookups_step(void *cookie, struct err *e)
{
	struct lookups *l = cookie;
	struct rig_key keys[BATCH];
	double start;

	/* Making a key is not what is measured. */
	for (unsigned i = 0; i < BATCH; i++)
		rig_key(scale_random(&l->random) % l->keys, &keys[i]);
	start = scale_cpu_us();
	for (unsigned i = 0; i < BATCH; i++)
		if (rig_check(l->rig, &keys[i], VERDICT_OK, e) != 0)
			return -1;
	l->us += scale_cpu_us() - start;
	return 0;
}

/* CPU time a lookup, over ${n} of them. */
static double
lookups(struct lookups *l, uint64_t n)
{
	l->us = 0;
	for (uint64_t i = 0; i < n; i += BATCH)
		rig_batch(l->rig, lookups_step, l);
	return l->us / (double)n;
}

static void
create(void *shared)
{
	struct row *row = shared;
	int64_t start_us = clock_mono_us();

	rig_open(&row->rig, row->cache_bytes);
	rig_keys(&row->rig, 0, row->keys, "default");
	row->create_s = (double)(clock_mono_us() - start_us) / 1e6;
	start_us = clock_mono_us();
	rig_close(&row->rig);
	row->stop_ms = (double)(clock_mono_us() - start_us) / 1e3;
	row->keys_bytes = rig_file_bytes(&row->rig, "keys.db");
}

static void
measure(struct row *row, struct lookups *l)
{
	struct lookups few = {.rig = &row->few, .keys = FEW, .random = 1};
	double rounds[ROUNDS], ratios[ROUNDS];

	(void)lookups(&few, ROUND_CHECKS);
	for (int i = 0; i < ROUNDS; i++) {
		ratios[i] = lookups(&few, ROUND_CHECKS);
		rounds[i] = lookups(l, ROUND_CHECKS);
		ratios[i] = rounds[i] / ratios[i];
	}
	row->lookup_us = scale_quantile(rounds, ROUNDS, 0.5);
	row->ratio = scale_quantile(ratios, ROUNDS, 0.5);
}

static void
use(void *shared)
{
	struct row *row = shared;
	struct lookups l = {.rig = &row->rig, .keys = row->keys, .random = 1};
	int64_t start_us = clock_mono_us();
	struct store_stat before, after;

	rig_open(&row->rig, row->cache_bytes);
	row->start_ms = (double)(clock_mono_us() - start_us) / 1e3;
	/* Until the cache holds what it can: five reads a page leave out one in 150. */
	(void)lookups(&l, row->keys_bytes / 4096 * 5);
	row->rss_bytes = scale_rss_bytes();
	rig_open(&row->few, 64 * MIB);
	before = rig_stat(&row->rig);
	measure(row, &l);
	after = rig_stat(&row->rig);
	row->misses = (double)(after.cache_misses - before.cache_misses) / ROUNDS / ROUND_CHECKS;
	row->data_bytes = after.data_bytes;
	rig_close(&row->few);
	rig_close(&row->rig);
}

/* A quarter more than keys.db, which takes about 300 bytes a key; not less than the default. */
static uint64_t
cache_for(uint64_t keys)
{
	uint64_t bytes = keys * 300 * 5 / 4;

	return bytes < 64 * MIB ? 64 * MIB : bytes / MIB * MIB;
}

void
axis_keys(const struct scale_options *o)
{
	static const uint64_t all[] = {1000, 100000, 1000000, 10000000}, quick[] = {1000, 20000};
	size_t n = o->quick ? sizeof(quick) / sizeof(quick[0]) : sizeof(all) / sizeof(all[0]);
	struct rig few;

	rig_make(&few, o);
	rig_open(&few, 64 * MIB);
	rig_keys(&few, 0, FEW, "default");
	rig_close(&few);
	puts("| keys | cache_size | lookup, CPU us | / 1000 keys | cache misses | start ms | stop "
	     "ms | "
	     "memory, MiB | keys.db, bytes a key | all files, bytes a key | made/s |\n"
	     "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
	for (size_t i = 0; i < n; i++) {
		struct row *row = scale_shared(sizeof(*row));

		row->keys = o->quick ? quick[i] : all[i];
		if (row->keys > o->most)
			break;
		row->cache_bytes = cache_for(row->keys);
		row->few = few;
		rig_make(&row->rig, o);
		scale_alone(create, row);
		scale_alone(use, row);
		printf("| %llu | %lluM | %.2f | %.2f | %.1f %% | %.0f | %.0f | %.0f | %.0f "
		       "| %.0f | %.0f |\n",
		    (unsigned long long)row->keys, (unsigned long long)(row->cache_bytes / MIB),
		    row->lookup_us, row->ratio, row->misses * 100, row->start_ms, row->stop_ms,
		    (double)row->rss_bytes / (double)MIB,
		    (double)row->keys_bytes / (double)row->keys,
		    (double)row->data_bytes / (double)row->keys, (double)row->keys / row->create_s);
		fflush(stdout);
		rig_remove(&row->rig);
	}
	rig_remove(&few);
}
