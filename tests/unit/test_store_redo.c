/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: takes that a kill left in the journal alone wait until their log is used, and are there
 * exactly once whatever happens first: a use, an abort, a look, a slice, a lack of memory, a round
 * of the journal, another kill.  A log whose record is damaged, or that misses a block, is refused,
 * and stops nobody else.  Guards Invariant 2 and 5.
 *
 * The oracle is a count of units a log (store_ledger.h).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>

#include "store_ledger.h"

typedef void life_fn(struct fixture *, struct ledger *, const void *);

/* ${fn} in a process that opens the store and ends without a word. */
static void
one_life(struct fixture *f, struct ledger *l, life_fn *fn, const void *arg)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(f);
		fn(f, l, arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct uses {
	unsigned logs, n;
};

static void
use_each(struct fixture *f, struct ledger *l, const void *arg)
{
	const struct uses *uses = arg;
	struct work w = {.ledger = l, .n = 1, .cost = {1}};

	for (unsigned i = 0; i < uses->n * uses->logs; i++) {
		w.log[0] = i % uses->logs;
		l->now += 1000;
		assert_batch(f, step_work, &w);
		l->units[w.log[0]]++;
	}
}

/* A kill behind ${n} takes from each of the first logs. */
static void
leave_takes(struct fixture *f, struct ledger *l, unsigned logs, unsigned n)
{
	one_life(f, l, use_each, &(struct uses){logs, n});
}

static void
test_takes_wait_for_use(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .log = {7}, .cost = {1}, .abort = 1};
	int rc;

	leave_takes(f, l, 100, 5);
	fixture_open(f);
	assert_int_equal(f->s->now.waiting, 100);
	/* Used in a batch that comes to nothing: it waits as before, and lacks as much. */
	assert_int_equal(batch(f, step_work, &w), -1);
	assert_error(f, ERR_USAGE, "aborted");
	assert_int_equal(f->s->now.waiting, 100);
	w.abort = 0;
	assert_batch(f, step_work, &w);
	l->units[7]++;
	assert_int_equal(f->s->now.waiting, 99);
	/* By and by the others. */
	while ((rc = store_redo(f->s, 64, &f->e)) == 0)
		;
	assert_int_equal(rc, 1);
	assert_int_equal(f->s->now.waiting, 0);
	assert_int_equal(store_redo(f->s, 64, &f->e), 1);
	assert_null(f->s->redo);
	compare(f, l);
	fixture_reopen(f);
	assert_int_equal(f->s->now.waiting, 0);
	compare(f, l);
	munmap(l, sizeof(*l));
}

/* Those that have no record yet as well. */
static void
test_figures_count_what_waits(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct store_stat st;

	leave_takes(f, l, 10, 3);
	fixture_open(f);
	fixture_reopen(f);
	store_close(&f->s);
	leave_takes(f, l, 300, 3);
	fixture_open(f);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.logs, 300);
	compare(f, l);
	munmap(l, sizeof(*l));
}

/* Takes that nobody uses leave the journal only for the log's record: it goes round meanwhile, and
 * another kill finds them. */
static void
test_waiting_takes_outlive_the_journal(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();

	leave_takes(f, l, 300, 3);
	leave_takes(f, l, 2, 1200);
	leave_takes(f, l, 1, 3000);
	fixture_open(f);
	compare(f, l);
	munmap(l, sizeof(*l));
}

struct bytes {
	enum store_db db;
	struct span key, value; /* value of no bytes: delete it */
};

static int
step_damage(struct fixture *f, const void *arg, struct err *e)
{
	const struct bytes *b = arg;

	if (b->value.len > 0)
		return store_db_put(f->s, b->db, b->key, b->value, e);
	return store_db_del(f->s, b->db, b->key, e) == 1 ? 0 : -1;
}

/* The log is refused, and only that one; and whatever becomes due, it does not come open. */
static void
expect_refused(struct fixture *f, struct ledger *l, unsigned bad, const char *why)
{
	struct work w = {.ledger = l, .n = 1, .cost = {1}};
	struct slog_state at;
	char name[64];

	log_name(name, bad);
	assert_int_equal(store_log_look(f->s, span_of(name), &limit, l->now, 1, &at, &f->e), -1);
	assert_error(f, ERR_CORRUPT, why);
	w.log[0] = bad;
	assert_int_equal(batch(f, step_work, &w), -1);
	assert_error(f, ERR_CORRUPT, why);
	w.log[0] = bad + 1;
	assert_batch(f, step_work, &w);
	l->units[bad + 1]++;
}

static void
test_a_damaged_record_stops_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct bytes bad = {.db = STORE_DB_LOGS, .value = span_of("bad")};
	char name[64];

	leave_takes(f, l, 10, 3);
	fixture_open(f);
	log_name(name, 4);
	bad.key = span_of(name);
	assert_batch(f, step_damage, &bad);
	expect_refused(f, l, 4, "limit minute of key_");
	while (store_redo(f->s, 8, &f->e) == 0)
		;
	assert_int_equal(f->s->now.waiting, 1);
	expect_refused(f, l, 4, "limit minute of key_");
	assert_int_equal(store_logs_settle(f->s, &f->e), 0);
	assert_int_equal(f->s->now.waiting, 0);
	expect_refused(f, l, 4, "limit minute of key_");
	munmap(l, sizeof(*l));
}

/* Something else becomes due: ${n} takes of another log. */
static void
use_other(struct fixture *f, struct ledger *l, unsigned log, unsigned n)
{
	struct work w = {.ledger = l, .n = 1, .log = {log}, .cost = {1}};

	while (n-- > 0) {
		assert_batch(f, step_work, &w);
		l->units[log]++;
	}
}

/* A log with sealed blocks and takes that wait, of which the first block is missing; and another
 * that waits. */
static void
lose_block(struct fixture *f, struct ledger *l)
{
	struct bytes gone = {.db = STORE_DB_BLOCKS};
	uint8_t key[STORE_BLOCK_KEY_MAX];
	char name[64];

	leave_takes(f, l, 1, 700);
	leave_takes(f, l, 2, 3);
	fixture_open(f);
	assert_true(f->s->now.counts.blocks > 0);
	log_name(name, 0);
	gone.key = store_block_key(key, span_of(name), 0);
	assert_batch(f, step_damage, &gone);
}

static void
test_a_missing_block_keeps_its_log_shut(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	int rc;

	lose_block(f, l);
	expect_refused(f, l, 0, "block 0");
	while ((rc = store_redo(f->s, 8, &f->e)) == 0)
		;
	assert_int_equal(rc, 1);
	assert_int_equal(f->s->now.waiting, 1);
	expect_refused(f, l, 0, "a block of it");
	assert_int_equal(store_logs_settle(f->s, &f->e), 0);
	assert_int_equal(f->s->now.needed_take, f->s->now.next_take);
	expect_refused(f, l, 0, "a block of it");
	fixture_reopen(f);
	assert_int_equal(f->s->now.waiting, 0);
	expect_refused(f, l, 0, "a block of it");
	munmap(l, sizeof(*l));
}

/* It becomes due before anybody has looked at it, and leaves the journal, and memory. */
static void
test_a_missing_block_stops_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();

	lose_block(f, l);
	f->s->takes_max = 10;
	use_other(f, l, 1, 20);
	assert_int_equal(f->s->now.waiting, 0);
	expect_refused(f, l, 0, "a block of it");
	use_other(f, l, 2, 2100);
	fixture_reopen(f);
	assert_int_equal(f->s->now.waiting, 0);
	expect_refused(f, l, 0, "a block of it");
	munmap(l, sizeof(*l));
}

/* As a kill does it: what was taken is in the journal alone. */
static void
end_unsettled(struct fixture *f)
{
	f->s->now.needed_take = f->s->now.next_take;
	store_close(&f->s);
}

/* Nor does it where its place in memory is wanted: while takes are used, or are read at a start. */
static void
test_a_missing_block_makes_room(void **state)
{
	struct fixture *f = *state;

	for (int starting = 0; starting < 2; starting++) {
		struct ledger *l = ledger_new();

		f->cache_bytes = !starting;
		lose_block(f, l);
		for (unsigned i = 2; i < LOGS; i++)
			use_other(f, l, i, 1);
		if (starting) {
			assert_true(f->s->now.waiting > 0);
			end_unsettled(f);
			f->cache_bytes = 1;
			fixture_open(f);
			assert_in_range(f->s->now.waiting, 100, 600);
		} else {
			assert_int_equal(f->s->now.waiting, 0);
		}
		expect_refused(f, l, 0, "a block of it");
		store_close(&f->s);
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		munmap(l, sizeof(*l));
	}
}

/* Whoever asks the sweep to begin behind takes that still wait: what waits is not idle. */
static int
step_sweep(struct fixture *f, const void *arg, struct err *e)
{
	struct store_cursor cursor = {.before = 1};
	unsigned freed;

	(void)arg;
	if (store_logs_sweep(f->s, START + 40 * SECOND, 0, 100, &cursor, &freed, e) < 0)
		return -1;
	assert_int_equal(freed, 0);
	return 0;
}

static void
test_what_waits_is_not_idle(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();

	leave_takes(f, l, 10, 3);
	fixture_open(f);
	fixture_reopen(f); /* they have records */
	store_close(&f->s);
	leave_takes(f, l, 10, 3);
	fixture_open(f);
	assert_int_equal(f->s->now.waiting, 10);
	assert_batch(f, step_sweep, NULL);
	compare(f, l);
	munmap(l, sizeof(*l));
}

/* ---- in any order ---- */

#define BAD_RECORD 4
#define BAD_BLOCKS 5

struct life {
	unsigned no, steps;
	int damaged;
};

static int
is_bad(const struct life *life, unsigned log)
{
	return life->damaged && (log == BAD_RECORD || log == BAD_BLOCKS);
}

/* A log that is damaged says so, or what was taken from it; another one that alone. */
static void
look(struct fixture *f, struct ledger *l, const struct life *life, unsigned log)
{
	struct slog_state at;
	char name[64];
	int rc;

	log_name(name, log);
	rc = store_log_look(f->s, span_of(name), &limit, l->now, 0, &at, &f->e);
	if (rc < 0 && is_bad(life, log))
		assert_error(f, ERR_CORRUPT, "limit minute");
	else if (rc < 0)
		fail_msg("log %u: %s", log, f->e.msg);
	else
		assert_int_equal(at.used, l->units[log]);
}

struct failing {
	struct ledger *ledger;
	unsigned from, good, n;
};

/* Takes, then looks at logs while nothing can be written any more. */
static int
step_failing(struct fixture *f, const void *arg, struct err *e)
{
	const struct failing *at = arg;
	struct work w = {.ledger = at->ledger, .n = 1, .cost = {8192 * 40}};
	struct slog_state st;
	char name[64];

	for (unsigned i = 0; i < at->good; i++) {
		w.log[0] = 10 + i;
		if (step_work(f, &w, e) != 0)
			return -1;
	}
	f->s->poisoned = 1;
	f->s->poison = (struct err){.code = ERR_FULL};
	for (unsigned i = 0; i < at->n; i++) {
		log_name(name, (at->from + i) % LOGS);
		(void)!store_log_look(f->s, span_of(name), &limit, at->ledger->now, 1, &st, e);
	}
	return 0;
}

static void
use_failing(struct fixture *f, struct ledger *l)
{
	struct failing at = {
	    .ledger = l, .from = dice(l, LOGS), .good = dice(l, 4), .n = dice(l, 60)};

	assert_int_equal(batch(f, step_failing, &at), -1);
}

static int
step_long_note(struct fixture *f, const void *arg, struct err *e)
{
	static const uint8_t note[STORE_NOTE_MAX];

	(void)arg;
	return store_note_put(f->s, note, sizeof(note), e);
}

static int
step_look_crammed(struct fixture *f, const void *arg, struct err *e)
{
	const struct ledger *l = arg;
	struct slog_state at;
	char name[64];

	atomic_store(&f->s->full, 1);
	for (unsigned i = 10; i < 60; i++) {
		log_name(name, i);
		if (store_log_look(f->s, span_of(name), &limit, l->now, 0, &at, e) < 0)
			return -1;
		assert_int_equal(at.used, l->units[i]);
	}
	return 0;
}

static void
use_bad(struct fixture *f, struct ledger *l, const struct life *life)
{
	struct work w = {.ledger = l, .n = 1, .cost = {1 + dice(l, 3)}};

	w.log[0] = dice(l, 2) ? BAD_RECORD : BAD_BLOCKS;
	if (batch(f, step_work, &w) == 0)
		l->units[w.log[0]] += w.cost[0];
	else
		assert_true(is_bad(life, w.log[0]));
}

/* As one_batch, but never of those that will be damaged. */
static void
use_good(struct fixture *f, struct ledger *l)
{
	struct work w = {.ledger = l, .n = 1 + dice(l, BATCH), .abort = dice(l, 4) == 0};

	l->now += dice(l, 1000);
	for (unsigned i = 0; i < w.n; i++) {
		w.log[i] = 6 + (dice(l, 3) > 0 ? dice(l, HOT) : dice(l, LOGS - 6));
		w.cost[i] = dice(l, 50) == 0 ? 8192 * 30 + 1 : 1 + dice(l, 3);
	}
	if (batch(f, step_work, &w) != 0) {
		if (!w.abort)
			fail_msg("%s", f->e.msg);
		return;
	}
	for (unsigned i = 0; i < w.n; i++)
		l->units[w.log[i]] += w.cost[i];
	l->takes += w.n;
}

static void
any_step(struct fixture *f, struct ledger *l, const struct life *life)
{
	switch (dice(l, 10)) {
	case 0:
		look(f, l, life, dice(l, LOGS));
		look(f, l, life, BAD_RECORD);
		look(f, l, life, BAD_BLOCKS);
		break;
	case 1:
		if (store_redo(f->s, 1 + dice(l, 40), &f->e) < 0)
			fail_msg("%s", f->e.msg);
		break;
	case 2:
		use_failing(f, l);
		break;
	case 3:
		for (unsigned n = dice(l, 5) ? dice(l, 3) : 130; n > 0; n--)
			assert_batch(f, step_long_note, NULL);
		break;
	case 4:
		assert_batch(f, step_look_crammed, l);
		atomic_store(&f->s->full, 0);
		break;
	case 5:
		use_bad(f, l, life);
		break;
	default:
		use_good(f, l);
		break;
	}
}

static void
damage(struct fixture *f)
{
	struct bytes bad = {.db = STORE_DB_LOGS, .value = span_of("bad")};
	struct bytes gone = {.db = STORE_DB_BLOCKS};
	uint8_t key[STORE_BLOCK_KEY_MAX];
	char name[64];

	log_name(name, BAD_RECORD);
	bad.key = span_of(name);
	assert_batch(f, step_damage, &bad);
	log_name(name, BAD_BLOCKS);
	for (unsigned no = 0; no < 2; no++) {
		gone.key = store_block_key(key, span_of(name), no);
		assert_batch(f, step_damage, &gone);
	}
}

static void
any_life(struct fixture *f, struct ledger *l, const void *arg)
{
	const struct life *life = arg;

	f->s->takes_max = life->no % 3 == 0 ? 100 : life->no % 3 == 1 ? 2000 : UINT64_MAX / 2;
	for (unsigned i = 0; i < life->steps; i++)
		any_step(f, l, life);
	if (life->no % 5 == 4)
		for (unsigned i = 0; i < LOGS; i++)
			look(f, l, life, i);
}

static void
any_order(struct fixture *f, unsigned seed, unsigned lives)
{
	struct life life = {.no = 0};
	struct ledger *l = ledger_new();
	struct uses uses = {BAD_BLOCKS + 1, 600};

	l->seed = seed;
	f->cache_bytes = seed % 2 ? 1 : 0;
	one_life(f, l, use_each, &uses);
	for (; life.no < lives; life.no++) {
		life.steps = dice(l, life.no % 2 ? 5 : 60);
		if (life.no == 4) {
			fixture_open(f);
			store_close(&f->s); /* blocks and records are there */
			uses.n = 1;
			one_life(f, l, use_each, &uses);
			fixture_open(f);
			damage(f);
			end_unsettled(f);
			life.damaged = 1;
		}
		one_life(f, l, any_life, &life);
	}
	fixture_open(f);
	for (unsigned i = 0; i < LOGS; i++)
		look(f, l, &life, i);
	store_close(&f->s);
	munmap(l, sizeof(*l));
	nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
test_in_any_order(void **state)
{
	unsigned seeds = getenv("LONG") != NULL ? 40 : 2;

	for (unsigned seed = 1; seed <= seeds; seed++)
		any_order(*state, seed, 12);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make, fixture_free)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_takes_wait_for_use),
	    T(test_figures_count_what_waits),
	    T(test_waiting_takes_outlive_the_journal),
	    T(test_a_damaged_record_stops_nobody_else),
	    T(test_a_missing_block_keeps_its_log_shut),
	    T(test_a_missing_block_stops_nobody_else),
	    T(test_a_missing_block_makes_room),
	    T(test_what_waits_is_not_idle),
	    T(test_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
