/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: limit logs that are idle for long go, those that still count stay, and nothing is deleted
 * while space is low; and a kill behind a sweep costs nothing. Guards Invariants 2 (a swept log
 * must not give units back) and 5.  However much there is to sweep, one slice does little of it,
 * and what it frees is used again: files do not grow for ever.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>

#include "keeper/steady.h"
#include "keeper/sweep.h"
#include "keeper_fixture.h"

static int64_t
logs(struct kf *f)
{
	cJSON *r = kf_do(f, "{\"op\":\"db.stat\"}");
	int64_t n = json_int(r, "logs", -1, 0, INT64_MAX, NULL);

	cJSON_Delete(r);
	return n;
}

/* A whole pass, however many slices it takes. */
static int
pass(struct sweep *s, struct kf *f, const struct steady *steady)
{
	int deleted = 0;

	s->active = 1;
	while (s->active)
		deleted |= sweep_slice(s, f->store, steady, CLOCK_SECOND, 0);
	return deleted;
}

static void
idle_logs_go(void **state)
{
	enum { KEYS = 150 };
	struct kf *f = *state;
	struct steady steady;
	struct sweep s;
	struct kf_key k = {0};

	assert_int_equal(steady_open(&steady, f->store, &f->e), 0);
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":1,"
		   "\"window\":\"60s\"}]}");
	f->now.steady_us = steady_now_us(&steady);
	for (int i = 0; i < KEYS; i++) {
		k = kf_key(f, ",\"plan\":\"p\"");
		assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	}
	assert_int_equal(logs(f), KEYS);
	sweep_init(&s, 0);
	sweep_tick(&s, 1);
	assert_int_equal(s.active, 0);
	sweep_tick(&s, INT64_MAX);
	assert_int_equal(s.active, 1);
	assert_int_equal(pass(&s, f, &steady), 0);
	assert_int_equal(logs(f), KEYS);
	f->now.steady_us = steady_now_us(&steady);
	assert_int_equal(kf_verdict(f, &k), VERDICT_RATE_LIMITED);
	/* Two minutes later, but there is no space. */
	steady.offset_us += 120 * CLOCK_SECOND;
	s.active = 1;
	assert_int_equal(sweep_slice(&s, f->store, &steady, CLOCK_SECOND, 1), 0);
	assert_int_equal(s.active, 0);
	assert_int_equal(logs(f), KEYS);
	assert_int_equal(pass(&s, f, &steady), 1);
	assert_int_equal(logs(f), 0);
}

/*
 * A log knows the window of its last take.  When a plan that its limit belongs to got a longer one
 * since, what the log holds still counts: once it was swept, and the units given out again.
 */
static void
a_window_that_grew_keeps_its_log(void **state)
{
	struct kf *f = *state;
	struct steady steady;
	struct sweep s;
	struct kf_key k, moved;

	assert_int_equal(steady_open(&steady, f->store, &f->e), 0);
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":1,"
		   "\"window\":\"60s\"},{\"name\":\"b\",\"units\":9,\"window\":\"60s\"}]}");
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"q\",\"limits\":[{\"name\":\"b\",\"units\":1,"
		   "\"window\":\"2h\"}]}");
	k = kf_key(f, ",\"plan\":\"p\"");
	moved = kf_key(f, ",\"plan\":\"p\"");
	f->now.steady_us = steady_now_us(&steady);
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &moved), VERDICT_OK);
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":1,"
		   "\"window\":\"1h\"},{\"name\":\"b\",\"units\":9,\"window\":\"60s\"}]}");
	kf_done(f, kf_on("key.set", moved.id, ",\"plan\":\"q\""));

	sweep_init(&s, 0);
	steady.offset_us += 3000 * CLOCK_SECOND;
	assert_int_equal(pass(&s, f, &steady), 0);
	f->now.steady_us = steady_now_us(&steady);
	assert_int_equal(kf_verdict(f, &k), VERDICT_RATE_LIMITED);
	assert_int_equal(kf_verdict(f, &moved), VERDICT_RATE_LIMITED);
	/* An hour later those of "a" go, two hours later all. */
	steady.offset_us += 700 * CLOCK_SECOND;
	assert_int_equal(pass(&s, f, &steady), 1);
	assert_int_equal(logs(f), 2);
	steady.offset_us += 3600 * CLOCK_SECOND;
	assert_int_equal(pass(&s, f, &steady), 1);
	assert_int_equal(logs(f), 0);
}

/* What the next one does not outlive: keys that are used, a sweep of some, and more use. */
static void
live(struct kf *f, struct kf_key *keys, int n)
{
	struct steady steady;
	struct sweep s;

	kf_open(f);
	assert_int_equal(steady_open(&steady, f->store, &f->e), 0);
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":9,"
		   "\"window\":\"60s\"}]}");
	f->now.steady_us = steady_now_us(&steady);
	for (int i = 0; i < n; i++) {
		keys[i] = kf_key(f, ",\"plan\":\"p\"");
		assert_int_equal(kf_verdict(f, &keys[i]), VERDICT_OK);
	}
	sweep_init(&s, 0);
	steady.offset_us += 120 * CLOCK_SECOND;
	f->now.steady_us = steady_now_us(&steady);
	assert_int_equal(kf_verdict(f, &keys[0]), VERDICT_OK);
	assert_int_equal(pass(&s, f, &steady), 1);
	assert_int_equal(logs(f), 1);
	for (int i = 0; i < n; i++)
		assert_int_equal(kf_verdict(f, &keys[i]), VERDICT_OK);
}

/*
 * Once the cursor of a sweep was not in its transaction: what it removed from pages was not logged,
 * and after a kill the store could not be recovered.
 */
static void
a_kill_after_a_sweep(void **state)
{
	enum { KEYS = 20 };
	struct kf *f = kf_make();
	struct kf_key keys[KEYS];
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		live(f, keys, KEYS);
		_exit(0); /* nothing is closed: as if it were killed */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	kf_open(f);
	assert_int_equal(logs(f), KEYS);
	kf_teardown((void **)&f);
}

/* ---- how much a slice does ---- */

enum { SLICED_KEYS = 200, SLICED_BLOCKS = 60, PLANS = 800, SLICE = 16 };

struct slice {
	struct kf *f;
	struct store_cursor cursor;
	int64_t now_us;
	unsigned freed;
	int rc;
};

static int
slice_step(void *cookie, struct err *e)
{
	struct slice *s = cookie;

	s->rc = store_logs_sweep(s->f->store, s->now_us, 0, SLICE, &s->cursor, &s->freed, e);
	return s->rc < 0 ? -1 : 0;
}

static struct store_stat
figures(struct kf *f)
{
	struct store_stat st;

	assert_int_equal(store_stat(f->store, &st, &f->e), 0);
	return st;
}

/* Each of these keys asks once, the first so often that its log has blocks. */
static void
use_keys(struct kf *f, const struct kf_key *keys, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(kf_verdict(f, &keys[i]), VERDICT_OK);
	for (unsigned i = 0; i < SLICED_BLOCKS * SLOG_INLINE_MAX; i++) {
		f->now.steady_us++;
		assert_int_equal(kf_verdict(f, &keys[0]), VERDICT_OK);
	}
}

static void
make_keys(struct kf *f, struct kf_key *keys, unsigned n)
{
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":"
		   "1000000,\"window\":\"60s\"}]}");
	for (unsigned i = 0; i < n; i++)
		keys[i] = kf_key(f, ",\"plan\":\"p\"");
}

/*
 * What a check may have to wait for is counted, not timed: logs and blocks that a call frees, and
 * pages that it looks at.  Before, each call walked through all plans: with these its pages were
 * many times as many.
 */
static void
a_slice_is_bounded(void **state)
{
	struct kf *f = *state;
	static struct kf_key keys[SLICED_KEYS];
	struct slice s = {.f = f};
	struct store_stat before, after;
	unsigned slices = 0;
	char request[200];

	for (int i = 0; i < PLANS; i++) {
		(void)snprintf(request, sizeof(request),
		    "{\"op\":\"plan.set\",\"name\":\"plan%d\",\"limits\":[{\"name\":\"l%d\","
		    "\"units\":1,\"window\":\"60s\"}]}",
		    i, i);
		kf_done(f, request);
	}
	make_keys(f, keys, SLICED_KEYS);
	use_keys(f, keys, SLICED_KEYS);
	s.now_us = f->now.steady_us + 3600 * CLOCK_SECOND;
	assert_true(figures(f).blocks >= SLICED_BLOCKS);
	do {
		before = figures(f);
		assert_int_equal(store_batch(f->store, slice_step, &s, &f->e), 0);
		after = figures(f);
		assert_true(before.logs - after.logs <= SLICE);
		assert_true(before.blocks - after.blocks <= SLICE);
		/* The first one learns the plans. */
		if (slices++ > 0)
			assert_in_range(after.cache_hits + after.cache_misses - before.cache_hits -
					    before.cache_misses,
			    0, SLICE * 32);
	} while (s.rc == 0);
	assert_int_equal(after.logs, 0);
	assert_int_equal(after.blocks, 0);
	assert_in_range(slices, SLICED_KEYS / SLICE + SLICED_BLOCKS / SLICE - 1, SLICED_KEYS);
}

/* Logs come and go, blocks too; after some rounds the files have all the pages that they need. */
static void
files_stop_growing(void **state)
{
	enum { ROUNDS = 8, WARM = 3 };
	struct kf *f = *state;
	static struct kf_key keys[SLICED_KEYS];
	struct slice s = {.f = f};
	uint64_t bytes[ROUNDS];

	make_keys(f, keys, SLICED_KEYS);
	for (int i = 0; i < ROUNDS; i++) {
		use_keys(f, keys, SLICED_KEYS);
		f->now.steady_us += 3600 * CLOCK_SECOND;
		s.now_us = f->now.steady_us;
		do {
			assert_int_equal(store_batch(f->store, slice_step, &s, &f->e), 0);
		} while (s.rc == 0);
		assert_int_equal(figures(f).logs, 0);
		assert_int_equal(store_housekeep(f->store, 1, &f->e), 0);
		bytes[i] = figures(f).data_bytes;
	}
	assert_in_range(bytes[ROUNDS - 1], 1, bytes[WARM]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_slice_is_bounded, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(files_stop_growing, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(
		a_window_that_grew_keeps_its_log, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(idle_logs_go, kf_setup, kf_teardown),
	    cmocka_unit_test(a_kill_after_a_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
