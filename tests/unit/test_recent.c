/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a request is counted once: by its id within ten seconds (recent), and by its identity over
 * a keeper that was killed between commit and answer (lastbatch).  Guards Invariant 1 (recorded
 * exactly as admitted) and 5.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper/lastbatch.h"
#include "keeper/recent.h"
#include "keeper_fixture.h"

#define KEY_A "key_aaaaaaaaaaaaaaaa"
#define KEY_B "key_bbbbbbbbbbbbbbbb"

static struct recent_outcome
outcome(uint64_t remaining)
{
	struct recent_outcome o = {.verdict = VERDICT_OK, .nlimits = 1};

	o.limits[0].remaining = remaining;
	return o;
}

static void
found_by_all_of_its_name(void **state)
{
	struct err e = {0};
	struct recent *r = recent_new(8, &e);
	struct recent_outcome o = outcome(5);
	const struct recent_outcome *got;
	int pending;

	(void)state;
	assert_non_null(r);
	recent_add(r, KEY_A, span_of("id1"), 1, T0, &o);
	got = recent_find(r, KEY_A, span_of("id1"), 1, T0 + RECENT_KEEP_US - 1, &pending);
	assert_non_null(got);
	assert_int_equal(pending, 1);
	assert_int_equal(got->limits[0].remaining, 5);
	recent_batch_end(r, 1);
	assert_non_null(recent_find(r, KEY_A, span_of("id1"), 1, T0, &pending));
	assert_int_equal(pending, 0);
	assert_null(recent_find(r, KEY_B, span_of("id1"), 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("id2"), 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("id"), 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("id1"), 2, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("id1"), 1, T0 + RECENT_KEEP_US, &pending));
	recent_free(&r);
	recent_free(&r);
}

static void
an_aborted_batch_is_forgotten(void **state)
{
	struct err e = {0};
	struct recent *r = recent_new(4, &e);
	struct recent_outcome o = outcome(5);
	int pending;

	(void)state;
	recent_add(r, KEY_A, span_of("kept"), 1, T0, &o);
	recent_batch_end(r, 1);
	recent_add(r, KEY_A, span_of("lost1"), 1, T0, &o);
	recent_add(r, KEY_A, span_of("lost2"), 1, T0, &o);
	recent_batch_end(r, 0);
	assert_non_null(recent_find(r, KEY_A, span_of("kept"), 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("lost1"), 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of("lost2"), 1, T0, &pending));
	/* More than there is room for, and then none of it. */
	for (int i = 0; i < 9; i++)
		recent_add(r, KEY_B, span_of("again"), (uint32_t)i, T0, &o);
	recent_batch_end(r, 0);
	for (int i = 0; i < 9; i++)
		assert_null(recent_find(r, KEY_B, span_of("again"), (uint32_t)i, T0, &pending));
	recent_free(&r);
}

/* One id with many costs: found as surely as many ids, not only among the latest. */
static void
costs_do_not_hide_each_other(void **state)
{
	enum { COSTS = 1000 };
	struct err e = {0};
	struct recent *r = recent_new(1024, &e);
	int pending;

	(void)state;
	for (uint32_t i = 0; i < COSTS; i++) {
		struct recent_outcome o = outcome(i);

		recent_add(r, KEY_A, span_of("id"), i, T0, &o);
	}
	for (uint32_t i = 0; i < COSTS; i++) {
		const struct recent_outcome *got =
		    recent_find(r, KEY_A, span_of("id"), i, T0, &pending);

		assert_non_null(got);
		assert_int_equal(got->limits[0].remaining, i);
	}
	recent_free(&r);
}

static void
the_oldest_makes_way(void **state)
{
	struct err e = {0};
	struct recent *r = recent_new(64, &e);
	char id[16];
	int pending;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct recent_outcome o = outcome((uint64_t)i);

		assert_true(snprintf(id, sizeof(id), "id%d", i) > 0);
		recent_add(r, KEY_A, span_of(id), 1, T0, &o);
		recent_batch_end(r, 1);
	}
	for (int i = 0; i < 1000; i++) {
		const struct recent_outcome *got;

		assert_true(snprintf(id, sizeof(id), "id%d", i) > 0);
		got = recent_find(r, KEY_A, span_of(id), 1, T0, &pending);
		if (i < 1000 - 64)
			assert_null(got);
		else
			assert_int_equal(got->limits[0].remaining, i);
	}
	recent_free(&r);
	assert_null(recent_new(63, &e));
}

static void
unusable_ids_are_not_kept(void **state)
{
	static char big[WIRE_REQUEST_ID_MAX + 1];
	struct err e = {0};
	struct recent *r = recent_new(4, &e);
	struct recent_outcome o = outcome(5);
	int pending;

	(void)state;
	recent_add(r, KEY_A, (struct span){big, sizeof(big)}, 1, T0, &o);
	recent_add(r, KEY_A, span_of(""), 1, T0, &o);
	assert_null(recent_find(r, KEY_A, (struct span){big, sizeof(big)}, 1, T0, &pending));
	assert_null(recent_find(r, KEY_A, span_of(""), 1, T0, &pending));
	recent_free(&r);
}

/* ---- the last batch ---- */

struct put {
	struct kf *f;
	struct lastbatch *l;
	const void *raw;
	size_t len;
};

static int
put(void *cookie, struct err *e)
{
	struct put *p = cookie;

	if (p->raw != NULL)
		return store_note_put(p->f->store, p->raw, p->len, e);
	return lastbatch_store(p->l, p->f->store, e);
}

static void
in_doubt_after_a_restart(void **state)
{
	struct kf *f = *state;
	struct lastbatch l, m;
	struct put p = {.f = f, .l = &l};

	assert_int_equal(lastbatch_load(&l, f->store, 100, &f->e), 0);
	lastbatch_begin(&l, 100);
	for (uint64_t i = 0; i < LASTBATCH_CHECKS_MAX + 5; i++)
		lastbatch_add(&l, 9, i);
	assert_int_equal(lastbatch_counted(&l, 9, 1), 0);
	assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
	kf_close(f);
	kf_open(f);
	assert_int_equal(lastbatch_load(&m, f->store, 100, &f->e), 0);
	assert_int_equal(lastbatch_counted(&m, 9, 0), 1);
	assert_int_equal(lastbatch_counted(&m, 9, LASTBATCH_CHECKS_MAX - 1), 1);
	assert_int_equal(lastbatch_counted(&m, 9, LASTBATCH_CHECKS_MAX), 0);
	assert_int_equal(lastbatch_counted(&m, 8, 0), 0);
	/* Killed once more before anybody asked: still in doubt. */
	lastbatch_begin(&m, 200);
	lastbatch_add(&m, 7, 7);
	p.l = &m;
	assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
	assert_int_equal(lastbatch_load(&l, f->store, 300, &f->e), 0);
	assert_int_equal(lastbatch_counted(&l, 7, 7), 1);
	assert_int_equal(lastbatch_counted(&l, 9, 0), 1);
	/* Not for ever. */
	lastbatch_begin(&l, 300 + LASTBATCH_DOUBT_US + 1);
	assert_int_equal(lastbatch_counted(&l, 9, 0), 0);
}

/* Numbers of any distance, of clients in any order, come back; and few bytes are stored for what
 * workers count one by one. */
static void
numbers_come_back(void **state)
{
	static const struct lastbatch_id ids[] = {{1, 0}, {1, UINT64_MAX}, {1, 1}, {2, UINT64_MAX},
	    {2, 5}, {1, 7}, {UINT64_MAX, UINT64_C(1) << 63}, {UINT64_MAX, 0}, {3, 127}, {3, 191}};
	enum { N = sizeof(ids) / sizeof(ids[0]) };
	struct kf *f = *state;
	struct lastbatch l = {0}, m;
	struct put p = {.f = f, .l = &l};
	uint8_t note[STORE_NOTE_MAX];
	size_t len;

	for (size_t i = 0; i < N; i++)
		lastbatch_add(&l, ids[i].client, ids[i].seq);
	assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
	assert_int_equal(lastbatch_load(&m, f->store, 100, &f->e), 0);
	assert_int_equal(m.ndoubt, N);
	assert_memory_equal(m.doubt, ids, sizeof(ids));
	lastbatch_begin(&l, 100);
	for (uint64_t i = 0; i < 200; i++)
		lastbatch_add(&l, i / 100, UINT64_C(1) << 40 | i);
	assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
	assert_int_equal(store_note_get(f->store, note, sizeof(note), &len, &f->e), 1);
	assert_true(len < 240);
	assert_int_equal(lastbatch_load(&m, f->store, 100, &f->e), 0);
	assert_memory_equal(m.doubt, l.ids, 200 * sizeof(l.ids[0]));
	/* The most there can be, in the worst order. */
	lastbatch_begin(&l, 100);
	for (uint64_t i = 0; i < LASTBATCH_CHECKS_MAX; i++)
		lastbatch_add(&l, i, UINT64_C(1) << 62);
	l.ndoubt = LASTBATCH_DOUBT_MAX;
	for (uint64_t i = 0; i < LASTBATCH_DOUBT_MAX; i++)
		l.doubt[i] = (struct lastbatch_id){i, UINT64_C(1) << 62};
	assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
	assert_int_equal(lastbatch_load(&m, f->store, 100, &f->e), 0);
	assert_memory_equal(m.doubt, l.ids, sizeof(l.ids));
}

static void
damaged_last_batches_are_refused(void **state)
{
	static const uint8_t newer[] = {9, 0, 0}, cut[] = {1, 0, 1, 0, 0}, longer[] = {1, 0, 0, 0},
			     empty[] = {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0},
			     more[] = {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 2, 2, 2},
			     fewer[] = {1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2}, none[] = {0, 0, 0};
	struct kf *f = *state;
	struct lastbatch l;
	struct put p = {.f = f};
	const struct {
		const uint8_t *raw;
		size_t len;
		enum err_code code;
	} cases[] = {{newer, sizeof(newer), ERR_VERSION}, {cut, sizeof(cut), ERR_CORRUPT},
	    {longer, sizeof(longer), ERR_CORRUPT}, {empty, sizeof(empty), ERR_CORRUPT},
	    {more, sizeof(more), ERR_CORRUPT}, {fewer, sizeof(fewer), ERR_CORRUPT},
	    {none, sizeof(none), ERR_CORRUPT}, {newer, 1, ERR_CORRUPT}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		p.raw = cases[i].raw;
		p.len = cases[i].len;
		assert_int_equal(store_batch(f->store, put, &p, &f->e), 0);
		assert_int_equal(lastbatch_load(&l, f->store, 0, &f->e), -1);
		if (i + 1 < sizeof(cases) / sizeof(cases[0]))
			assert_int_equal(f->e.code, cases[i].code);
		assert_int_equal(l.ndoubt, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(found_by_all_of_its_name),
	    cmocka_unit_test(an_aborted_batch_is_forgotten),
	    cmocka_unit_test(costs_do_not_hide_each_other),
	    cmocka_unit_test(the_oldest_makes_way),
	    cmocka_unit_test(unusable_ids_are_not_kept),
	    cmocka_unit_test_setup_teardown(in_doubt_after_a_restart, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(numbers_come_back, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(
		damaged_last_batches_are_refused, kf_setup, kf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
