/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The axis of units: keys with one limit each, of ten to ten million units, whose windows are full
 * and slide: with each request one unit expires and one is taken.  What a check costs then, and
 * how many bytes the files have a unit that is logged.
 *
 * Every request must be admitted, and one more at the same moment refused: else the windows were
 * not full, and the figures of something else.
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "scale.h"

#define WINDOW_US (100 * CLOCK_SECOND)
#define BATCH 16
#define ROUNDS 15
#define ROUND_CHECKS 20000

/* One key and its clock: it stands still while others are measured. */
struct log {
	uint64_t units;
	struct rig_key key;
	int64_t now_us;
	double rounds[ROUNDS], ratio;
};

struct slide {
	struct rig *rig;
	struct log *log;
};

static int
slide_step(void *cookie, struct err *e)
{
	struct slide *s = cookie;

	for (int i = 0; i < BATCH; i++) {
		s->log->now_us += WINDOW_US / (int64_t)s->log->units;
		s->rig->now.steady_us = s->log->now_us;
		if (rig_check(s->rig, &s->log->key, VERDICT_OK, e) != 0)
			return -1;
	}
	return 0;
}

static int
full_step(void *cookie, struct err *e)
{
	struct slide *s = cookie;

	return rig_check(s->rig, &s->log->key, VERDICT_RATE_LIMITED, e);
}

static void
slide(struct rig *r, struct log *l, uint64_t checks)
{
	struct slide s = {r, l};

	for (uint64_t n = 0; n < checks; n += BATCH) {
		rig_batch(r, slide_step, &s);
		if ((n + BATCH) % (64 * BATCH * 1024) == 0)
			rig_must(r, store_housekeep(r->store, 0, &r->e), "housekeeping");
	}
}

/* A key of its own plan, so much used that its window is full. */
static void
fill(struct rig *r, struct log *l, uint64_t units, uint64_t number)
{
	char name[32], limit[64];
	const char *limits[] = {limit};

	if (snprintf(name, sizeof(name), "n%llu", (unsigned long long)units) < 0 ||
	    snprintf(limit, sizeof(limit), "main=%llu/%llds", (unsigned long long)units,
		(long long)(WINDOW_US / CLOCK_SECOND)) < 0)
		abort();
	rig_plan(r, name, limits, 1);
	rig_keys(r, number, 1, name);
	*l = (struct log){.units = units, .now_us = SCALE_T0};
	rig_key(number, &l->key);
	slide(r, l, units);
	rig_batch(r, full_step, &(struct slide){r, l});
}

static double
round_us(struct rig *r, struct log *l, uint64_t checks)
{
	double start;

	/* That is the other thread's. */
	rig_must(r, store_housekeep(r->store, 0, &r->e), "housekeeping");
	start = scale_cpu_us();
	slide(r, l, checks);
	return (scale_cpu_us() - start) / (double)checks;
}

void
axis_units(const struct scale_options *o)
{
	static const uint64_t all[] = {10, 1000, 100000, 10000000}, few[] = {10, 1000, 10000};
	size_t n = o->quick ? sizeof(few) / sizeof(few[0]) : sizeof(all) / sizeof(all[0]);
	struct log logs[sizeof(all) / sizeof(all[0])];
	uint64_t checks = o->quick ? ROUND_CHECKS / 10 : ROUND_CHECKS;
	double ratios[ROUNDS];
	struct rig r;

	while (n > 1 && (o->quick ? few : all)[n - 1] > o->most)
		n--;
	rig_make(&r, o);
	rig_open(&r, 64 * MIB);
	for (size_t i = 0; i < n; i++)
		fill(&r, &logs[i], (o->quick ? few : all)[i], i);
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < n; i++)
			logs[i].rounds[round] = round_us(&r, &logs[i], checks);
	printf("| N | a check, CPU us | / N = %llu |\n|--:|--:|--:|\n",
	    (unsigned long long)logs[0].units);
	for (size_t i = 0; i < n; i++) { /* all before the first is sorted */
		for (int round = 0; round < ROUNDS; round++)
			ratios[round] = logs[i].rounds[round] / logs[0].rounds[round];
		logs[i].ratio = scale_quantile(ratios, ROUNDS, 0.5);
	}
	for (size_t i = 0; i < n; i++)
		printf("| %llu | %.2f | %.2f |\n", (unsigned long long)logs[i].units,
		    scale_quantile(logs[i].rounds, ROUNDS, 0.5), logs[i].ratio);
	rig_remove(&r);
}

/* ---- bytes on disk ---- */

/* All databases but the journal, whose size does not depend on what is logged. */
static uint64_t
logged_bytes(struct rig *r)
{
	return rig_stat(r).data_bytes - rig_file_bytes(r, "journal.db");
}

struct disk_row {
	uint64_t keys, units;
};

struct crowd {
	struct rig *rig;
	uint64_t keys, next;
};

/* Requests of all keys in turn: their logs grow side by side, as those of real keys do. */
static int
crowd_step(void *cookie, struct err *e)
{
	struct crowd *c = cookie;
	struct rig_key key;

	for (int i = 0; i < 8 * BATCH; i++, c->next++) {
		rig_key(c->next % c->keys, &key);
		c->rig->now.steady_us++;
		if (rig_check(c->rig, &key, VERDICT_OK, e) != 0)
			return -1;
	}
	return 0;
}

static void
disk_row(const struct scale_options *o, const struct disk_row *row)
{
	struct crowd c = {.keys = row->keys};
	uint64_t logged = row->keys * row->units, before, after;
	const char *limit[] = {"main=1000000000/366d"};
	struct rig r;

	rig_make(&r, o);
	rig_open(&r, 256 * MIB);
	rig_plan(&r, "big", limit, 1);
	rig_keys(&r, 0, row->keys, "big");
	rig_settle(&r);
	before = logged_bytes(&r);
	c.rig = &r;
	while (c.next < logged) {
		rig_batch(&r, crowd_step, &c);
		if (c.next % (1 << 20) == 0)
			rig_must(&r, store_housekeep(r.store, 0, &r.e), "housekeeping");
	}
	/* Whatever is kept back in memory is written then. */
	rig_close(&r);
	rig_open(&r, 256 * MIB);
	after = logged_bytes(&r);
	printf("| %llu | %llu | %.2f | %+.1f %% | %.2f | %.2f | %.1f |\n",
	    (unsigned long long)row->keys, (unsigned long long)row->units,
	    (double)(after - before) / (double)c.next,
	    (double)(after - before) / (double)c.next / 8 * 100 - 100,
	    (double)rig_file_bytes(&r, "blocks.db") / (double)c.next,
	    (double)rig_file_bytes(&r, "logs.db") / (double)c.next,
	    (double)rig_file_bytes(&r, "journal.db") / (double)MIB);
	fflush(stdout);
	rig_remove(&r);
}

void
axis_disk(const struct scale_options *o)
{
	static const struct disk_row all[] = {{1, 1000000}, {1, 10000000}, {100, 100000},
	    {1000, 10000}, {10000, 1000}},
				     few[] = {{1, 100000}, {50, 1000}};
	size_t n = o->quick ? sizeof(few) / sizeof(few[0]) : sizeof(all) / sizeof(all[0]);

	puts("| logs | units in each | bytes a unit | beyond 8 | of it blocks.db | logs.db | "
	     "journal.db, MiB |\n"
	     "|--:|--:|--:|--:|--:|--:|--:|");
	for (size_t i = 0; i < n; i++) {
		const struct disk_row *row = o->quick ? &few[i] : &all[i];

		if (row->units <= o->most)
			disk_row(o, row);
	}
}
