/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: what was taken from limits is there exactly once, whether the log's record or only the
 * journal knows of it, when the owner ends without closing, when a batch is aborted, and when more
 * logs are used than fit into memory; and the journal stays short. Guards Invariant 2 and 5.
 * What a start finds and leaves for later is test_store_redo's.
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

#define BEHIND 300

static uint64_t
journal_records(struct fixture *f)
{
	DB *db = f->s->dbs[STORE_DB_JOURNAL];
	DB_BTREE_STAT *st;
	uint64_t n;

	assert_int_equal(db->stat(db, NULL, &st, 0), 0);
	n = st->bt_ndata;
	free(st);
	return n;
}

/* Some batches in a process that ends without a word. */
static void
one_life(struct fixture *f, struct ledger *l, unsigned batches, uint64_t takes_max)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(f);
		f->s->takes_max = takes_max;
		for (unsigned i = 0; i < batches; i++)
			one_batch(f, l);
		compare(f, l);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
test_nothing_is_lost_or_doubled(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();

	f->cache_bytes = 1; /* the least there is */
	for (unsigned life = 0; life < 12; life++) {
		one_life(
		    f, l, 1 + dice(l, life % 3 == 0 ? 3 : 120), life % 2 ? BEHIND : UINT64_MAX / 2);
		fixture_open(f);
		compare(f, l);
		if (life % 4 == 0)
			assert_int_equal(store_logs_settle(f->s, &f->e), 0);
		if (life % 4 == 1) { /* in this one, too, and closed properly */
			f->s->takes_max = BEHIND;
			for (unsigned i = 0; i < 30; i++)
				one_batch(f, l);
			compare(f, l);
		}
		store_close(&f->s);
	}
	assert_true(l->takes > 4 * BEHIND);
	munmap(l, sizeof(*l));
}

/* Whatever the traffic, what a start has to redo is bounded; and after a clean end it is nothing.
 */
static void
test_the_journal_stays_short(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = calloc(1, sizeof(*l));

	l->seed = 3;
	l->now = START;
	f->s->takes_max = BEHIND;
	for (unsigned i = 0; i < 600; i++) {
		const struct store_head *behind;

		one_batch(f, l);
		behind = store_heads_behind(f->s->heads);
		if (behind != NULL)
			assert_true(behind->behind + BEHIND + BATCH >= f->s->now.next_take);
	}
	assert_true(l->takes > 10 * BEHIND);
	fixture_reopen(f);
	assert_null(store_heads_behind(f->s->heads));
	assert_int_equal(f->s->now.needed_take, f->s->now.next_take);
	compare(f, l);
	free(l);
}

/* Twice around: records are overwritten, and what they alone knew is not lost: neither of logs that
 * were used once, nor of busy ones. */
static void
go_round(struct fixture *f, struct ledger *l)
{
	struct work w = {.ledger = l, .n = 2, .log = {0, 2}, .cost = {1, 1}};

	for (unsigned i = 0; i < 2 * 2048 + 100; i++) {
		w.log[0] = i % 1000 == 0 ? 3 + i / 1000 : 1;
		assert_batch(f, step_work, &w);
		l->units[w.log[0]]++;
		l->units[2]++;
		if (i == 2048 || i == 2049 || i == 3000) {
			w.abort = 1;
			assert_int_equal(batch(f, step_work, &w), -1);
			w.abort = 0;
		}
		assert_true(f->s->now.slot <= 2048);
	}
	assert_int_equal(journal_records(f), 2048);
	compare(f, l);
}

static void
test_records_go_round(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(f);
		go_round(f, l);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fixture_open(f);
	compare(f, l);
	munmap(l, sizeof(*l));
}

static int
step_wide(struct fixture *f, const void *arg, struct err *e)
{
	struct work w = *(const struct work *)arg;
	int abort = w.abort;

	w.abort = 0;
	for (unsigned i = 0; i < 2 * LOGS; i++) {
		w.log[0] = i % LOGS;
		if (step_work(f, &w, e) != 0)
			return -1;
	}
	return abort ? err_set(e, ERR_USAGE, "aborted") : 0;
}

/* One batch uses more logs than fit, and comes back to each: aborted, then committed. */
static void
test_a_batch_wider_than_memory(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .cost = {1}};

	f->cache_bytes = 1;
	fixture_open(f);
	for (unsigned i = 0; i < 30; i++)
		one_batch(f, l);
	for (unsigned i = 0; i < 2; i++) {
		w.abort = 1;
		assert_int_equal(batch(f, step_wide, &w), -1);
		assert_error(f, ERR_USAGE, "aborted");
		compare(f, l);
		w.abort = 0;
		assert_batch(f, step_wide, &w);
		for (unsigned n = 0; n < LOGS; n++)
			l->units[n] += 2;
		compare(f, l);
		fixture_reopen(f);
		compare(f, l);
	}
	munmap(l, sizeof(*l));
}

static int
step_note(struct fixture *f, const void *arg, struct err *e)
{
	return store_note_put(f->s, arg, strlen(arg), e);
}

static int
step_note_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	return step_note(f, arg, e) == 0 ? err_set(e, ERR_USAGE, "aborted") : -1;
}

static void
expect_note(struct fixture *f, const char *text)
{
	uint8_t buf[64];
	size_t len;

	assert_int_equal(store_note_get(f->s, buf, sizeof(buf), &len, &f->e), text != NULL);
	assert_int_equal(len, text == NULL ? 0 : strlen(text));
	if (text != NULL)
		assert_memory_equal(buf, text, len);
}

static void
test_notes(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = calloc(1, sizeof(*l));
	struct work w = {.ledger = l, .n = 1, .cost = {1}};
	uint8_t buf[1];
	size_t len;

	l->now = START;
	expect_note(f, NULL);
	assert_batch(f, step_note, "first");
	expect_note(f, "first");
	assert_int_equal(batch(f, step_note_and_fail, "none"), -1);
	expect_note(f, "first");
	assert_int_equal(store_note_get(f->s, buf, sizeof(buf), &len, &f->e), -1);
	assert_batch(f, step_note, "second");
	fixture_reopen(f);
	expect_note(f, "second");
	assert_batch(f, step_work, &w);
	expect_note(f, NULL); /* that batch had none */
	fixture_reopen(f);
	l->units[0] = 1;
	compare(f, l);
	assert_int_equal(store_note_put(f->s, "x", 1, &f->e), -1); /* outside a batch */
	free(l);
}

static int
step_note_then_takes(struct fixture *f, const void *arg, struct err *e)
{
	struct work w = *(const struct work *)arg;

	if (step_note(f, "early", e) != 0)
		return -1;
	for (unsigned i = 0; i < 5000; i++) {
		w.log[0] = i % LOGS; /* names differ: more than one record */
		if (step_work(f, &w, e) != 0)
			return -1;
	}
	return 0;
}

/* A batch of several records has one note, whenever it was put. */
static void
test_a_note_in_front_of_many_takes(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .cost = {1}};

	assert_batch(f, step_note_then_takes, &w);
	assert_true(journal_records(f) > 1);
	expect_note(f, "early");
	fixture_reopen(f);
	expect_note(f, "early");
	munmap(l, sizeof(*l));
}

static int
step_many_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	return step_note_then_takes(f, arg, e) == 0 ? err_set(e, ERR_USAGE, "aborted") : -1;
}

/* After an abort, which may be each batch's on a full disk, the next batch writes no more logs than
 * without: it used to write all that were behind. */
static void
test_an_abort_makes_nothing_due(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .cost = {1}};

	for (unsigned i = 0; i < LOGS; i++) {
		w.log[0] = i;
		assert_batch(f, step_work, &w);
		l->units[i]++;
	}
	assert_int_equal(store_heads_unstored(f->s->heads), LOGS);
	assert_int_equal(batch(f, step_many_and_fail, &w), -1);
	assert_error(f, ERR_USAGE, "aborted");
	assert_int_equal(store_heads_unstored(f->s->heads), LOGS);
	w.log[0] = 7;
	assert_batch(f, step_work, &w);
	l->units[7]++;
	assert_int_equal(store_heads_unstored(f->s->heads), LOGS);
	compare(f, l);
	fixture_reopen(f);
	compare(f, l);
	munmap(l, sizeof(*l));
}

struct wide {
	unsigned from, n;
	size_t note_len;
};

/* A unit of each of ${n} logs, and a note. */
static int
step_each(struct fixture *f, const void *arg, struct err *e)
{
	static const uint8_t note[STORE_NOTE_MAX];
	const struct wide *w = arg;
	char name[64];

	for (unsigned i = 0; i < w->n; i++) {
		log_name(name, w->from + i);
		if (store_log_take(f->s, span_of(name), &limit, START, 1, e) != 0)
			return -1;
	}
	return store_note_put(f->s, note, w->note_len, e);
}

/* Batches of one take; how many logs were written in the one that wrote most. */
static size_t
most_written(struct fixture *f, unsigned batches, size_t note_len)
{
	struct wide w = {0, 1, note_len};
	size_t before, after, most = 0;

	for (unsigned i = 0; i < batches; i++, before = after) {
		before = store_heads_unstored(f->s->heads);
		assert_batch(f, step_each, &w);
		after = store_heads_unstored(f->s->heads);
		if (before - after > most)
			most = before - after;
	}
	assert_true(after < 2);
	return most;
}

/* No small batch pays for what others left: neither for long records that it overwrites, nor when a
 * round ends early with the short ones of the round before it behind. */
static void
test_small_batches_write_little(void **state)
{
	struct fixture *f = *state;
	struct wide w = {.n = 500};

	f->cache_bytes = 64 << 20;
	fixture_open(f);
	for (unsigned i = 0; i < 12; i++, w.from += w.n)
		assert_batch(f, step_each, &w);
	assert_int_equal(store_heads_unstored(f->s->heads), 6000);
	assert_in_range(most_written(f, 2 * 2048, 0), 1, 140);

	w = (struct wide){10000, 1, 0};
	for (; w.from < 12040; w.from++)
		assert_batch(f, step_each, &w);
	assert_in_range(store_heads_unstored(f->s->heads), 1500, 2040);
	assert_in_range(most_written(f, 3000, 12000), 1, 140);
}

/* The round goes on where it was, however often the store is opened. */
static void
test_a_round_goes_on(void **state)
{
	struct fixture *f = *state;
	static char note[1001];
	uint64_t bytes;

	memset(note, 'n', sizeof(note) - 1);
	for (unsigned i = 0; i < 20; i++)
		assert_batch(f, step_note, note);
	bytes = f->s->now.round_bytes;
	assert_true(bytes > 20000);
	fixture_reopen(f);
	assert_true(f->s->now.round_bytes >= bytes && f->s->now.round_bytes < bytes + 2000);
}

static int
step_settle(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_logs_catch_up(f->s, UINT64_MAX, UINT32_MAX, e) == 1 ? 0 : -1;
}

static int
step_empty(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_db_del(f->s, STORE_DB_JOURNAL, store_span("\0\0", 2), e) == 1 ? 0 : -1;
}

/* Numbers that begin anew are below those that records of logs have: takes would pass for known. */
static void
test_a_lost_journal_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .cost = {1}};

	assert_batch(f, step_work, &w);
	assert_batch(f, step_settle, NULL);
	assert_batch(f, step_empty, NULL);
	/* Not closed: that would make a record. */
	f->s->now.needed_take = f->s->now.next_take;
	store_close(&f->s);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "journal");
	munmap(l, sizeof(*l));
}

/* N and W of a limit that was there before are not repeated: they are those of any of the last
 * takes, of none of them, of more than are remembered. */
static int
step_limits(struct fixture *f, const void *arg, struct err *e)
{
	const unsigned *seed = arg;
	struct ledger dice_of = {.seed = *seed};

	for (unsigned i = 0; i < 200; i++) {
		unsigned k = dice(&dice_of, 12);
		struct slog_limit l = {1000 + k, (60 + k / 2) * SECOND};
		char name[64];

		log_name(name, k);
		if (store_log_take(f->s, span_of(name), &l, START, 1, e) != 0)
			return -1;
	}
	return 0;
}

static void
test_limits_come_back(void **state)
{
	struct fixture *f = *state;
	unsigned used[12] = {0}, seed = 5;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(f);
		assert_batch(f, step_limits, &seed);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fixture_open(f);
	for (struct ledger d = {.seed = seed}; d.takes < 200; d.takes++)
		used[dice(&d, 12)]++;
	for (unsigned k = 0; k < 12; k++) {
		struct slog_limit l = {1000 + k, (60 + k / 2) * SECOND};
		struct slog_state at;
		char name[64];

		log_name(name, k);
		assert_int_equal(store_log_look(f->s, span_of(name), &l, START, 0, &at, &f->e), 1);
		assert_int_equal(at.used, used[k]);
		assert_int_equal(slog_window_us(&store_heads_find(f->s->heads, span_of(name))->log),
		    l.window_us);
	}
}

static int
step_record(struct fixture *f, const void *arg, struct err *e)
{
	const struct span *value = arg;

	return store_db_put(f->s, STORE_DB_JOURNAL, store_span("\0\0", 2), *value, e);
}

/* A journal that does not decode keeps the store shut: which units are missing nobody can tell. */
static void
test_damage_is_refused(void **state)
{
#define NUMBERS "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"
	static const char cut[] = "\1" NUMBERS "\0\0\0\5\0\3kab", newer[] = "\2" NUMBERS "\0\0\0",
			  longer[] = "\1" NUMBERS "\0\0\0\7",
			  shared[] = "\1" NUMBERS "\0\0\0\10\1\1k\0\1\1\1\1",
			  none_back[] = "\1" NUMBERS "\0\0\0\6\0\1k\1\1\1",
			  far_back[] = "\1" NUMBERS "\0\0\0\6\0\1k\11\1\1",
			  zero[] = "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	const struct span bad[] = {{cut, sizeof(cut) - 1}, {cut, 3}, {newer, sizeof(newer)},
	    {longer, sizeof(longer) - 1}, {shared, sizeof(shared) - 1},
	    {none_back, sizeof(none_back) - 1}, {far_back, sizeof(far_back) - 1},
	    {zero, sizeof(zero)}};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		store_close(&f->s);
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		fixture_open(f);
		assert_batch(f, step_record, &bad[i]);
		store_close(&f->s);
		assert_null(fixture_try(f));
		assert_int_equal(f->e.code, i == 2 ? ERR_VERSION : ERR_CORRUPT);
		assert_non_null(strstr(f->e.msg, "journal"));
	}
}

/* Takes that all records of logs have are not read again: half of what a start reads of a busy
 * store's journal.  So nobody notices that a record is damaged in which there is nothing else. */
static void
test_what_is_not_needed_is_not_read(void **state)
{
	static const char cut[] = "\1" NUMBERS "\0\0\0\5\0\3kab";
	const struct span spoilt = {cut, sizeof(cut) - 1};
	struct fixture *f = *state;
	struct ledger *l = ledger_new();
	struct work w = {.ledger = l, .n = 1, .cost = {1}};
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open(f);
		for (unsigned i = 0; i < 6; i++) {
			if (i == 4)
				assert_batch(f, step_settle, NULL);
			assert_batch(f, step_work, &w);
			l->units[0]++;
		}
		assert_batch(f, step_record, &spoilt);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fixture_open(f);
	assert_int_equal(f->s->now.next_take, 7);
	assert_int_equal(f->s->now.needed_take, 5);
	compare(f, l);
	munmap(l, sizeof(*l));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_open, fixture_free)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_nothing_is_lost_or_doubled, fixture_make, fixture_free),
	    T(test_the_journal_stays_short),
	    cmocka_unit_test_setup_teardown(test_records_go_round, fixture_make, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_a_batch_wider_than_memory, fixture_make, fixture_free),
	    T(test_notes),
	    T(test_a_note_in_front_of_many_takes),
	    T(test_an_abort_makes_nothing_due),
	    cmocka_unit_test_setup_teardown(
		test_small_batches_write_little, fixture_make, fixture_free),
	    T(test_a_round_goes_on),
	    T(test_a_lost_journal_is_refused),
	    cmocka_unit_test_setup_teardown(test_limits_come_back, fixture_make, fixture_free),
	    T(test_damage_is_refused),
	    cmocka_unit_test_setup_teardown(
		test_what_is_not_needed_is_not_read, fixture_make, fixture_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
