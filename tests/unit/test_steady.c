/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the clock of the limits never goes back, over restarts and over wall clocks that step.
 * Guards Invariant 2 (no window holds too much, across restarts and backward clocks).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/slog.h"
#include "keeper/steady.h"
#include "keeper_fixture.h"

#define HOUR (INT64_C(3600) * CLOCK_SECOND)

static void
same_boot_goes_on(void **state)
{
	(void)state;
	/* Whatever the wall clock says. */
	assert_int_equal(steady_offset(1, 77, T0, T0 - HOUR, T0), 77);
	assert_int_equal(steady_offset(1, 77, T0, T0 + 99 * HOUR, T0), 77);
	/* An id that lies: the time in it would go back. */
	assert_int_equal(steady_offset(1, 0, T0, T0 + HOUR, HOUR), T0 + HOUR - HOUR);
}

static void
next_boot_goes_on_from_the_later(void **state)
{
	(void)state;
	assert_int_equal(steady_offset(0, 77, T0, T0 + HOUR, 5) + 5, T0 + HOUR);
	assert_int_equal(steady_offset(0, 77, T0, T0 - HOUR, 5) + 5, T0);
	/* A machine that wakes up in 1970. */
	assert_int_equal(steady_offset(0, 0, 0, 10, 5) + 5, SLOG_EPOCH_US);
	/* One that wakes up in 2106: where the logs end nothing would ever leave a window again. */
	assert_int_equal(
	    steady_offset(0, 0, 0, INT64_C(4294967295) * CLOCK_SECOND, 5) + 5, SLOG_EPOCH_US);
	assert_int_equal(steady_offset(0, 77, T0, INT64_C(4294967295) * CLOCK_SECOND, 5) + 5, T0);
}

struct save {
	struct kf *f;
	struct steady *s;
	int64_t now_us;
	const uint8_t *raw;
	size_t raw_len;
};

static int
save(void *cookie, struct err *e)
{
	struct save *a = cookie;

	if (a->raw != NULL)
		return store_meta_put(a->f->store, "steady", a->raw, a->raw_len, e);
	return steady_save(a->s, a->f->store, a->now_us, e);
}

static void
a_restart_changes_nothing(void **state)
{
	struct kf *f = *state;
	struct steady a, b;
	int64_t before_us;

	assert_int_equal(steady_open(&a, f->store, &f->e), 0);
	before_us = steady_now_us(&a);
	assert_true(before_us > T0 - 10 * 366 * 24 * HOUR);
	kf_close(f);
	kf_open(f);
	assert_int_equal(steady_open(&b, f->store, &f->e), 0);
	if (a.boot_id[0] != '\0')
		assert_int_equal(a.offset_us, b.offset_us);
	assert_true(steady_now_us(&b) >= before_us);
}

/* The record of a machine that has been further on: we go on from there. */
static void
the_last_time_seen_is_kept(void **state)
{
	struct kf *f = *state;
	struct steady a, b;
	struct save s = {.f = f, .s = &a};
	uint8_t mem[64];
	size_t len;

	assert_int_equal(steady_open(&a, f->store, &f->e), 0);
	s.now_us = a.saved_us + CLOCK_SECOND;
	assert_int_equal(store_batch(f->store, save, &s, &f->e), 0);
	assert_int_not_equal(a.saved_us, s.now_us); /* too soon */
	s.now_us = steady_now_us(&a) + 1000 * HOUR;
	assert_int_equal(store_batch(f->store, save, &s, &f->e), 0);
	assert_int_equal(a.saved_us, s.now_us);
	assert_int_equal(store_meta_get(f->store, "steady", mem, sizeof(mem), &len, &f->e), 1);
	mem[1] ^= 1; /* another boot */
	s.raw = mem;
	s.raw_len = len;
	assert_int_equal(store_batch(f->store, save, &s, &f->e), 0);
	assert_int_equal(steady_open(&b, f->store, &f->e), 0);
	assert_true(steady_now_us(&b) >= s.now_us);
}

static void
damaged_records_are_refused(void **state)
{
	struct kf *f = *state;
	struct steady a;
	uint8_t mem[64];
	struct save s = {.f = f, .s = &a, .raw = mem};

	assert_int_equal(steady_open(&a, f->store, &f->e), 0);
	assert_int_equal(
	    store_meta_get(f->store, "steady", mem, sizeof(mem), &s.raw_len, &f->e), 1);
	s.raw_len--;
	assert_int_equal(store_batch(f->store, save, &s, &f->e), 0);
	assert_int_equal(steady_open(&a, f->store, &f->e), -1);
	assert_int_equal(f->e.code, ERR_CORRUPT);
	mem[0] = 2;
	assert_int_equal(store_batch(f->store, save, &s, &f->e), 0);
	assert_int_equal(steady_open(&a, f->store, &f->e), -1);
	assert_int_equal(f->e.code, ERR_VERSION);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(same_boot_goes_on),
	    cmocka_unit_test(next_boot_goes_on_from_the_later),
	    cmocka_unit_test_setup_teardown(a_restart_changes_nothing, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(the_last_time_seen_is_kept, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(damaged_records_are_refused, kf_setup, kf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
