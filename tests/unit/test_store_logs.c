/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a limit's log in the store is the log that core/slog.c wrote, whatever its size and across
 * restarts; it costs what the design promises (8.8 bytes a unit, bounded bytes of log a check); the
 * sweep frees what is idle, all of it and nothing else, in bounded slices. Guards Invariant 2
 * (nothing that counts is lost) and Invariant 6 (damage denies, and is named).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>

#include "store_fixture.h"

#define SECOND INT64_C(1000000)
#define START (SLOG_EPOCH_US + 1000 * SECOND)

struct take {
	const char *log;
	struct slog_limit limit;
	int64_t from_us, step_us;
	unsigned count;
	unsigned admitted;
};

/* Look, and take when there is room, ${count} times, as the keeper does. */
static int
step_take(struct fixture *f, const void *arg, struct err *e)
{
	struct take *t = (struct take *)(uintptr_t)arg;
	struct span log = span_of(t->log);
	struct slog_state st;
	int64_t now = t->from_us;
	int fits;

	t->admitted = 0;
	for (unsigned i = 0; i < t->count; i++, now += t->step_us) {
		if ((fits = store_log_look(f->s, log, &t->limit, now, 1, &st, e)) < 0)
			return -1;
		if (!fits)
			continue;
		if (store_log_take(f->s, log, &t->limit, now, 1, e) != 0)
			return -1;
		t->admitted++;
	}
	return 0;
}

static uint64_t
used(struct fixture *f, const char *log, const struct slog_limit *limit, int64_t now)
{
	struct slog_state st;

	if (store_log_look(f->s, span_of(log), limit, now, 1, &st, &f->e) < 0)
		fail_msg("%s", f->e.msg);
	return st.used;
}

/* Look at a log with no units of interest: 0, or -1 when it is damaged. */
static int
look(struct fixture *f, struct span log)
{
	static const struct slog_limit limit = {1000000000, SECOND};
	struct slog_state st;

	return store_log_look(f->s, log, &limit, START, 0, &st, &f->e) < 0 ? -1 : 0;
}

/* Has the log a head record? */
static int
has_head(struct fixture *f, const char *log)
{
	size_t len;

	return store_db_get(f->s, STORE_DB_LOGS, span_of(log), NULL, 0, &len, &f->e);
}

static int
step_settle(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_logs_catch_up(f->s, UINT64_MAX, UINT_MAX, e) == 1 ? 0 : -1;
}

static void
take(struct fixture *f, struct take *t)
{
	assert_batch(f, step_take, t);
}

static void
test_a_log_survives(void **state)
{
	struct fixture *f = *state;
	struct take t = {
	    "kkey_0000000000000001minute", {1000, 60 * SECOND}, START, SECOND / 100, 1, 0};

	assert_int_equal(used(f, t.log, &t.limit, START), 0);
	/* One request a batch, beyond what fits into a head; then all at once. */
	for (unsigned i = 0; i < 600; i++, t.from_us += t.step_us) {
		take(f, &t);
		assert_int_equal(t.admitted, 1);
		if (i % 100 == 99)
			fixture_reopen(f);
		assert_int_equal(used(f, t.log, &t.limit, t.from_us), i + 1);
	}
	t.count = 5;
	take(f, &t);
	assert_int_equal(used(f, t.log, &t.limit, t.from_us), 605);
	t.count = 1000;
	take(f, &t);
	assert_int_equal(t.admitted, 395);
	fixture_reopen(f);
	assert_int_equal(used(f, t.log, &t.limit, t.from_us), 1000);
	assert_int_equal(f->s->now.counts.logs, 1);
	assert_true(f->s->now.counts.blocks >= 3);
}

static int
step_take_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	return step_take(f, arg, e) == 0 ? err_set(e, ERR_USAGE, "aborted") : -1;
}

static void
test_an_aborted_take_counts_nothing(void **state)
{
	struct fixture *f = *state;
	struct take t = {"kkey_0000000000000001day", {10000, 60 * SECOND}, START, 1, 200, 0};
	struct store_counts counts;

	take(f, &t);
	counts = f->s->now.counts;
	t.count = 500; /* seals blocks */
	assert_int_equal(batch(f, step_take_and_fail, &t), -1);
	assert_error(f, ERR_USAGE, "aborted");
	assert_int_equal(used(f, t.log, &t.limit, START + SECOND), 200);
	assert_memory_equal(&counts, &f->s->now.counts, sizeof(counts));
	take(f, &t);
	assert_int_equal(used(f, t.log, &t.limit, START + SECOND), 700);
}

/* Berkeley DB's own count of overflow and leaf pages. */
static DB_BTREE_STAT
pages(struct fixture *f, enum store_db which)
{
	DB *db = f->s->dbs[which];
	DB_BTREE_STAT *st, copy;

	assert_int_equal(db->stat(db, NULL, &st, 0), 0);
	copy = *st;
	free(st);
	return copy;
}

static void
test_a_head_has_one_page(void **state)
{
	struct fixture *f = *state;
	struct take t = {"kkey_0000000000000001a-name-of-32-characters-as-it-is",
	    {100000, 86400 * SECOND}, START, 1, 1, 0};

	for (size_t n = 1; n <= 3 * SLOG_INLINE_MAX; n++, t.from_us++) {
		take(f, &t);
		assert_batch(f, step_settle, NULL);
		assert_true(pages(f, STORE_DB_LOGS).bt_over_pg <= 1);
	}
}

static void
test_a_million_units(void **state)
{
	struct fixture *f = *state;
	struct take t = {
	    "kkey_0000000000000001day", {1000000, 86400 * SECOND}, START, 1000, 10000, 0};
	struct slog_limit limit = t.limit;
	DB_BTREE_STAT st;
	double per_unit;

	for (unsigned i = 0; i < 100; i++, t.from_us += t.count * t.step_us) {
		take(f, &t);
		assert_int_equal(t.admitted, 10000);
		assert_int_equal(store_housekeep(f->s, 0, &f->e), 0);
	}
	assert_int_equal(used(f, t.log, &limit, t.from_us), 1000000);
	t.count = 1;
	take(f, &t);
	assert_int_equal(t.admitted, 0);

	st = pages(f, STORE_DB_BLOCKS);
	assert_int_equal(st.bt_over_pg, f->s->now.counts.blocks); /* one page a block */
	per_unit = (st.bt_over_pg + st.bt_leaf_pg + st.bt_int_pg + st.bt_free) * 2048.0 / 1e6;
	print_message("a log of a million units: %.2f bytes a unit\n", per_unit);
	assert_true(per_unit <= 8.8);

	/* The window slides: room comes back, one by one, for the oldest units. */
	t.from_us = START + limit.window_us + 499 * t.step_us;
	t.count = 1000;
	t.step_us = 0;
	take(f, &t);
	assert_int_equal(t.admitted, 500);
}

/* Bytes that went into the log since the store was opened. */
static double
logged(struct fixture *f)
{
	DB_LOG_STAT *st;
	double bytes;

	assert_int_equal(f->s->env->log_stat(f->s->env, &st, 0), 0);
	bytes = st->st_w_mbytes * 1048576.0 + st->st_w_bytes;
	free(st);
	return bytes;
}

static void
test_a_check_logs_little(void **state)
{
	struct fixture *f = *state;
	struct take t = {"kkey_0000000000000001day", {1000000, 86400 * SECOND}, START, 1000, 1, 0};
	double before, each;

	take(f, &t);
	before = logged(f);
	for (unsigned i = 0; i < 5000; i++) {
		t.from_us += t.step_us;
		take(f, &t);
	}
	each = (logged(f) - before) / 5000;
	print_message("a check in a batch of its own: %.0f bytes of log\n", each);
	assert_true(each > 8 && each < 400);
}

static void
test_damaged_logs_are_named(void **state)
{
	struct fixture *f = *state;
	struct take t = {"kkey_0000000000000001day", {1000, 86400 * SECOND}, START, 1000, 600, 0};
	struct store_log_blocks blocks = {f->s, span_of(t.log)};
	struct slog_io io = store_log_io(&blocks);
	uint8_t block[SLOG_BLOCK_BYTES];

	take(f, &t);
	assert_int_equal(io.get(io.cookie, 1, block, &f->e), 0);
	assert_int_equal(io.get(io.cookie, 9, block, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "block 9");
	assert_error(f, ERR_CORRUPT, "limit day of key_0000000000000001");
	assert_int_equal(look(f, span_of("")), -1);
	assert_error(f, ERR_INTERNAL, "name");
	t.log = "";
	assert_int_equal(batch(f, step_take, &t), -1);
	assert_error(f, ERR_INTERNAL, "name");
}

struct record {
	enum store_db db;
	struct span key, value;
};

static int
step_put(struct fixture *f, const void *arg, struct err *e)
{
	const struct record *r = arg;

	return store_db_put(f->s, r->db, r->key, r->value, e);
}

static int
step_blocks(struct fixture *f, const void *arg, struct err *e)
{
	struct store_log_blocks blocks = {f->s, span_of(arg)};
	struct slog_io io = store_log_io(&blocks);
	static uint8_t block[SLOG_BLOCK_BYTES];
	struct err why;

	assert_int_equal(io.put(io.cookie, 3, block, e), 0);
	assert_int_equal(io.put(io.cookie, 3, block, e), 0); /* a block of a former life */
	assert_int_equal(f->s->now.counts.blocks, 1);
	assert_int_equal(io.del(io.cookie, 3, e), 0);
	assert_int_equal(f->s->now.counts.blocks, 0);
	assert_int_equal(io.del(io.cookie, 3, &why), -1);
	assert_int_equal(why.code, ERR_CORRUPT);
	blocks.log.len = 0;
	assert_int_equal(io.put(io.cookie, 3, block, &why), -1);
	assert_int_equal(why.code, ERR_INTERNAL);
	return 0;
}

static void
test_block_verbs(void **state)
{
	struct fixture *f = *state;

	assert_batch(f, step_blocks, "oaaaaaaaaaaaaaaaaday");
	assert_int_equal(f->s->now.counts.blocks, 0);
}

static void
test_damaged_heads(void **state)
{
	struct fixture *f = *state;
	static char huge[SLOG_HEAD_MAX + 8];
	struct record r = {STORE_DB_LOGS, span_of("oaaaaaaaaaaaaaaaaday"), span_of("bad")};

	assert_batch(f, step_put, &r);
	assert_int_equal(look(f, r.key), -1);
	assert_error(f, ERR_CORRUPT, "limit day of an owner");
	r.value = store_span(huge, sizeof(huge));
	assert_batch(f, step_put, &r);
	assert_int_equal(look(f, r.key), -1);
	assert_error(f, ERR_CORRUPT, "logs");
	r = (struct record){STORE_DB_LOGS, span_of("x"), span_of("bad")};
	assert_batch(f, step_put, &r);
	assert_int_equal(look(f, r.key), -1);
	assert_error(f, ERR_CORRUPT, "no form");
}

/* ---- the sweep ---- */

struct sweep {
	int64_t now_us, keep_us;
	unsigned max;
	struct store_cursor cursor;
	unsigned freed;
	int ended;
};

static int
step_sweep(struct fixture *f, const void *arg, struct err *e)
{
	struct sweep *w = (struct sweep *)(uintptr_t)arg;
	unsigned freed;
	int rc = store_logs_sweep(f->s, w->now_us, w->keep_us, w->max, &w->cursor, &freed, e);

	if (rc < 0)
		return -1;
	w->freed += freed;
	w->ended = rc;
	return 0;
}

/* One round over all logs; how many slices it took. */
static unsigned
sweep_round(struct fixture *f, struct sweep *w)
{
	unsigned slices = 0;

	w->freed = 0;
	do {
		assert_batch(f, step_sweep, w);
		slices++;
		assert_true(slices < 10000);
	} while (!w->ended);
	assert_int_equal(w->cursor.len, 0);
	return slices;
}

static void
log_name(char name[64], unsigned n)
{
	assert_true(snprintf(name, 64, "kkey_%016uminute", n) > 0);
}

static void
test_sweep_frees_the_idle(void **state)
{
	struct fixture *f = *state;
	const int64_t W = 60 * SECOND, keep = 10 * SECOND;
	struct sweep w = {.keep_us = keep, .max = 7};
	struct take t = {.limit = {100, W}, .count = 3};
	char name[64];

	/* Log n has its newest unit at START + n seconds. */
	for (unsigned n = 0; n < 50; n++) {
		log_name(name, n);
		t.log = name;
		t.from_us = START + n * SECOND;
		take(f, &t);
	}
	w.now_us = START + 20 * SECOND + W + keep;
	/* Those that have no record yet get one first, seven a slice as well. */
	assert_int_equal(sweep_round(f, &w), 7 + 8);
	assert_int_equal(w.freed, 20);
	for (unsigned n = 0; n < 50; n++) {
		log_name(name, n);
		assert_int_equal(has_head(f, name), n >= 20);
	}
	assert_int_equal(f->s->now.counts.logs, 30);
	sweep_round(f, &w);
	assert_int_equal(w.freed, 0);
	w.now_us += 1000 * SECOND;
	sweep_round(f, &w);
	assert_int_equal(w.freed, 30);
	assert_int_equal(f->s->now.counts.logs, 0);
	assert_int_equal(pages(f, STORE_DB_LOGS).bt_ndata, 0);
	/* An empty store has an end, too. */
	assert_int_equal(sweep_round(f, &w), 1);
}

static void
test_sweep_frees_all_blocks_in_slices(void **state)
{
	struct fixture *f = *state;
	struct take big = {"kkey_0000000000000005day", {1000000, 60 * SECOND}, START, 1, 100000, 0};
	/* Names around it: in front, behind, and one that it is a prefix of. */
	struct take near[] = {
	    {"kkey_0000000000000004day", {1000, 3600 * SECOND}, START, 1, 600, 0},
	    {"kkey_0000000000000005daylight", {1000, 3600 * SECOND}, START, 1, 600, 0},
	    {"kkey_0000000000000005da", {1000, 3600 * SECOND}, START, 1, 600, 0},
	    {"oaaaaaaaaaaaaaaaaday", {1000, 3600 * SECOND}, START, 1, 600, 0},
	};
	struct sweep w = {.now_us = START + 600 * SECOND, .keep_us = SECOND, .max = 100};
	uint64_t blocks;

	for (unsigned i = 0; i < 4; i++)
		take(f, &near[i]);
	blocks = f->s->now.counts.blocks;
	take(f, &big);
	assert_true(f->s->now.counts.blocks > blocks + 400);
	assert_batch(f, step_settle, NULL);

	assert_batch(f, step_sweep, &w);
	assert_int_equal(w.ended, 0);
	assert_int_equal(w.freed, 1);
	assert_true(f->s->now.counts.blocks > blocks + 300); /* bounded */
	fixture_reopen(f);				     /* the note is in the store */
	assert_true(sweep_round(f, &w) >= 1);
	assert_int_equal(w.freed, 0);
	assert_int_equal(f->s->now.counts.blocks, blocks);
	assert_int_equal(pages(f, STORE_DB_BLOCKS).bt_ndata, blocks);
	assert_int_equal(pages(f, STORE_DB_LOGS).bt_ndata, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(used(f, near[i].log, &near[i].limit, START + SECOND), 600);
}

static void
test_a_log_that_comes_back_keeps_its_blocks(void **state)
{
	struct fixture *f = *state;
	struct take big = {"kkey_0000000000000005day", {1000000, 60 * SECOND}, START, 1, 100000, 0};
	struct sweep w = {.now_us = START + 600 * SECOND, .keep_us = SECOND, .max = 100};

	take(f, &big);
	assert_batch(f, step_sweep, &w);
	assert_int_equal(w.ended, 0);
	big.from_us = w.now_us;
	big.count = 1000;
	take(f, &big);
	sweep_round(f, &w);
	assert_int_equal(w.freed, 0);
	assert_int_equal(used(f, big.log, &big.limit, big.from_us + SECOND), 1000);
	/* It grows over what is left of its former life, exactly. */
	big.from_us += SECOND;
	big.count = 50000;
	take(f, &big);
	assert_int_equal(used(f, big.log, &big.limit, big.from_us + SECOND), 51000);
	/* And all goes when it is idle again. */
	w.now_us += 3600 * SECOND;
	sweep_round(f, &w);
	assert_int_equal(w.freed, 1);
	sweep_round(f, &w);
	assert_int_equal(f->s->now.counts.blocks, 0);
	assert_int_equal(pages(f, STORE_DB_BLOCKS).bt_ndata, 0);
	assert_int_equal(pages(f, STORE_DB_LOGS).bt_ndata, 0);
}

static void
test_sweep_passes_over_damage(void **state)
{
	struct fixture *f = *state;
	struct record r = {STORE_DB_LOGS, span_of("kkey_0000000000000002day"), span_of("bad")};
	struct sweep w = {.now_us = START + 3600 * SECOND, .max = 1};
	struct take t = {.limit = {100, SECOND}, .from_us = START, .count = 1};

	t.log = "kkey_0000000000000001day";
	take(f, &t);
	t.log = "kkey_0000000000000003day";
	take(f, &t);
	assert_batch(f, step_put, &r);
	sweep_round(f, &w);
	assert_int_equal(w.freed, 2);
	assert_int_equal(look(f, r.key), -1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_open, fixture_free)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_a_log_survives),
	    T(test_an_aborted_take_counts_nothing),
	    T(test_a_head_has_one_page),
	    T(test_a_million_units),
	    T(test_a_check_logs_little),
	    T(test_damaged_logs_are_named),
	    T(test_block_verbs),
	    T(test_damaged_heads),
	    T(test_sweep_frees_the_idle),
	    T(test_sweep_frees_all_blocks_in_slices),
	    T(test_a_log_that_comes_back_keeps_its_blocks),
	    T(test_sweep_passes_over_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
