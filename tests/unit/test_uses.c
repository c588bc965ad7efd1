/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: when a key was last used is known exactly while the keeper lives, and as of the last flush
 * when it was killed; the table keeps to its size whatever happens, and no flush takes back what
 * the store knows better.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"
#include "keeper/uses.h"

#define MINUTE (60 * CLOCK_SECOND)

/* Id number ${n}. */
static const char *
id_of(unsigned n)
{
	static char id[TOKEN_ID_LEN + 1];

	assert_int_equal(snprintf(id, sizeof(id), "key_%016x", n * 2654435761u), TOKEN_ID_LEN);
	return id;
}

static struct store_use
use_of(struct kf *f, struct uses *u, const char *id)
{
	struct store_use use;

	if (uses_get(u, f->store, span_of(id), &use, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	return use;
}

static struct store_use
stored(struct kf *f, const char *id)
{
	struct store_use use;

	assert_true(store_use_get(f->store, span_of(id), &use, &f->e) >= 0);
	return use;
}

/* Slices until there is nothing to do; how many wrote. */
static unsigned
run(struct kf *f, struct uses *u)
{
	unsigned n = 0;

	while (uses_busy(u))
		n += (unsigned)uses_slice(u, f->store, clock_mono_us(), 0);
	return n;
}

/* One key more. */
static void
mark_next(struct uses *u, unsigned *n)
{
	++*n;
	uses_mark(u, id_of(*n), T0 + *n, 0);
}

static struct uses *
new_uses(struct kf *f)
{
	struct uses *u = uses_new(&f->e);

	assert_non_null(u);
	return u;
}

static void
the_last_one_is_known(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);

	assert_int_equal(use_of(f, u, id_of(1)).used_us, 0);
	uses_mark(u, id_of(1), T0, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0);
	assert_int_equal(use_of(f, u, id_of(1)).previous_used_us, 0);
	uses_mark(u, id_of(1), T0 + 5, 1);
	uses_mark(u, id_of(1), T0 + 7, 0);
	uses_mark(u, id_of(2), T0 + 8, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0 + 7);
	assert_int_equal(use_of(f, u, id_of(1)).previous_used_us, T0 + 5);
	assert_int_equal(use_of(f, u, "key_").used_us, 0);
	/* A clock that is set back, and one that is not set: they are the last use all the same. */
	uses_mark(u, id_of(1), T0 - 9, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0 - 9);
	uses_mark(u, id_of(1), 0, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, 1);
	uses_free(&u);
}

static void
once_a_minute_it_is_stored(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);

	uses_tick(u, 1000);
	assert_false(uses_busy(u));
	uses_mark(u, id_of(1), T0, 1);
	uses_tick(u, 1000 + MINUTE - 1);
	assert_false(uses_busy(u));
	assert_int_equal(stored(f, id_of(1)).used_us, 0);
	uses_tick(u, 1000 + MINUTE);
	assert_true(uses_busy(u));
	/* Used while it is being written. */
	uses_mark(u, id_of(1), T0 + 3, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0 + 3);
	assert_int_equal(use_of(f, u, id_of(1)).previous_used_us, T0);
	assert_int_equal(run(f, u), 1);
	assert_int_equal(stored(f, id_of(1)).used_us, T0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0 + 3);
	/* The next flush knows of no use of a previous secret, and takes none back. */
	uses_tick(u, 1000 + 2 * MINUTE);
	assert_int_equal(run(f, u), 1);
	assert_int_equal(stored(f, id_of(1)).used_us, T0 + 3);
	assert_int_equal(stored(f, id_of(1)).previous_used_us, T0);
	/* Nothing was used: nothing is written. */
	uses_tick(u, 1000 + 9 * MINUTE);
	assert_false(uses_busy(u));
	uses_free(&u);
}

static void
a_full_table_goes_early(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);
	unsigned n = 0;

	uses_tick(u, 1);
	while (!uses_busy(u))
		mark_next(u, &n);
	assert_in_range(n, USES_MAX / 2, USES_MAX - 1);
	/* As fast as rounds can add to it: each time a slice writes more. */
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 256; i++)
			mark_next(u, &n);
		(void)uses_slice(u, f->store, clock_mono_us(), 0);
	}
	run(f, u);
	assert_int_equal(uses_flush(u, f->store, &f->e), 0);
	for (unsigned i = 1; i <= n; i++)
		assert_int_equal(stored(f, id_of(i)).used_us, T0 + i);
	uses_free(&u);
}

/* Nothing can be written, and all the world comes with another key. */
static void
it_keeps_to_its_size(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);
	unsigned n = 0;

	while (n < 2 * USES_MAX) {
		mark_next(u, &n);
		if (uses_busy(u))
			assert_int_equal(uses_slice(u, f->store, clock_mono_us(), 1), 0);
	}
	assert_false(uses_busy(u));
	assert_int_equal(use_of(f, u, id_of(USES_MAX)).used_us, T0 + USES_MAX);
	assert_int_equal(use_of(f, u, id_of(USES_MAX + 1)).used_us, 0);
	/* Those that it knows it goes on with. */
	uses_mark(u, id_of(1), T0 + 7777777, 0);
	assert_int_equal(use_of(f, u, id_of(1)).used_us, T0 + 7777777);
	/* There is space again. */
	uses_tick(u, MINUTE);
	run(f, u);
	assert_int_equal(stored(f, id_of(USES_MAX)).used_us, T0 + USES_MAX);
	uses_mark(u, id_of(USES_MAX + 1), T0, 0);
	assert_int_equal(use_of(f, u, id_of(USES_MAX + 1)).used_us, T0);
	uses_free(&u);
}

static void
what_is_flushed_survives_a_kill(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);

	for (unsigned i = 1; i <= 1000; i++)
		uses_mark(u, id_of(i), T0 + i, 0);
	uses_tick(u, MINUTE);
	(void)uses_slice(u, f->store, 0, 0); /* perhaps not all of it */
	for (unsigned i = 1; i <= 1000; i += 2)
		uses_mark(u, id_of(i), T0 + MINUTE + i, 0);
	assert_int_equal(uses_flush(u, f->store, &f->e), 0);
	uses_free(&u);
	kf_close(f);
	kf_open(f);
	u = new_uses(f);
	for (unsigned i = 1; i <= 1000; i++)
		assert_int_equal(
		    use_of(f, u, id_of(i)).used_us, T0 + i + (i % 2 == 1 ? MINUTE : 0));
	uses_free(&u);
}

static void
nothing_is_written_of_a_key_that_is_no_more(void **state)
{
	struct kf *f = *state;
	struct uses *u = new_uses(f);
	char gone[TOKEN_ID_LEN + 1];

	/* Ids whose slots may be next to each other. */
	for (unsigned i = 1; i <= 20000; i++)
		uses_mark(u, id_of(i), T0 + i, 0);
	memcpy(gone, id_of(7), sizeof(gone));
	uses_tick(u, MINUTE);
	uses_mark(u, gone, T0, 0);
	uses_forget(u, gone);
	uses_forget(u, "key_");
	assert_int_equal(use_of(f, u, gone).used_us, 0);
	assert_int_equal(uses_flush(u, f->store, &f->e), 0);
	assert_int_equal(stored(f, gone).used_us, 0);
	for (unsigned i = 1; i <= 20000; i++)
		assert_int_equal(stored(f, id_of(i)).used_us, i == 7 ? 0 : T0 + i);
	/* It can be noted again. */
	uses_mark(u, gone, T0 + 1, 0);
	assert_int_equal(use_of(f, u, gone).used_us, T0 + 1);
	uses_free(&u);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	const struct CMUnitTest tests[] = {
	    T(the_last_one_is_known),
	    T(once_a_minute_it_is_stored),
	    T(a_full_table_goes_early),
	    T(it_keeps_to_its_size),
	    T(what_is_flushed_survives_a_kill),
	    T(nothing_is_written_of_a_key_that_is_no_more),
	};

	return cmocka_run_group_tests_name("uses", tests, NULL, NULL);
}
