/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the store knows without looking at keys how many secrets are under each pepper, exactly,
 * whatever changes them and whatever fails; and which owners are switched off, which it forgets
 * over no restart.  Guards Invariants 3 and 5: a switched-off owner stays off, and a pepper that
 * keys need is never told to be free.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_fixture.h"

/* ---- secrets by pepper ---- */

static void
expect(struct fixture *f, uint32_t pepper, uint64_t live, uint64_t revoked)
{
	struct store_secrets sum;

	assert_int_equal(store_secrets_get(f->s, pepper, &sum, &f->e), 0);
	assert_int_equal(sum.pepper, pepper);
	assert_int_equal(sum.n[STORE_SECRET_LIVE], live);
	assert_int_equal(sum.n[STORE_SECRET_REVOKED], revoked);
	assert_int_equal(sum.n[STORE_SECRET_PREVIOUS], 0);
}

static int
step_revoke(struct fixture *f, const void *arg, struct err *e)
{
	struct key k = *(const struct key *)arg;

	k.rec.state = KEYREC_REVOKED;
	return store_key_update(f->s, k.digest, &k.rec, e);
}

/* Under pepper 2, with another digest. */
static int
step_rehash(struct fixture *f, const void *arg, struct err *e)
{
	struct key k = *(const struct key *)arg;
	uint8_t to[STORE_DIGEST_LEN];

	memcpy(to, k.digest, sizeof(to));
	to[31] ^= 0xff;
	k.rec.pepper = 2;
	return store_key_rehash(f->s, k.digest, to, &k.rec, e);
}

static int
step_rehash_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	struct store_secrets sum;

	/* Read in the batch, it is there already. */
	if (step_rehash(f, arg, e) != 0 || store_secrets_get(f->s, 2, &sum, e) != 0)
		return -1;
	assert_int_equal(sum.n[STORE_SECRET_LIVE], 1);
	return err_set(e, ERR_FULL, "as if the disk were full");
}

static int
count_versions(void *cookie, const struct store_secrets *sum, struct err *e)
{
	uint32_t *last = cookie;

	(void)e;
	assert_true(sum->pepper > *last);
	*last = sum->pepper;
	return 0;
}

static void
test_secrets_are_counted(void **state)
{
	struct fixture *f = *state;
	struct key k[3];
	uint32_t last = 0;

	expect(f, 1, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		key_make(&k[i], i);
		assert_batch(f, step_insert, &k[i]);
	}
	expect(f, 1, 3, 0);
	assert_batch(f, step_revoke, &k[0]);
	expect(f, 1, 2, 1);
	assert_int_equal(batch(f, step_rehash_and_fail, &k[1]), -1);
	expect(f, 1, 2, 1);
	expect(f, 2, 0, 0);
	assert_batch(f, step_rehash, &k[1]);
	expect(f, 1, 1, 1);
	expect(f, 2, 1, 0);
	fixture_reopen(f);
	expect(f, 1, 1, 1);
	expect(f, 2, 1, 0);
	assert_int_equal(store_secrets_walk(f->s, count_versions, &last, &f->e), 0);
	assert_int_equal(last, 2);
	assert_int_equal(store_imported(f->s), 0);
}

/* More versions than a batch remembers at once. */
static int
step_many_versions(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	for (unsigned i = 0; i < 3 * STORE_NOTED_MAX; i++) {
		struct key k;

		key_make(&k, i);
		k.rec.pepper = 1 + i % (STORE_NOTED_MAX + 10);
		k.rec.digest_of = i % 2 == 0 ? KEYREC_OF_SHA256 : KEYREC_OF_KEY;
		if (store_key_insert(f->s, k.digest, &k.rec, e) != 0)
			return -1;
	}
	return 0;
}

static int
sum_up(void *cookie, const struct store_secrets *sum, struct err *e)
{
	uint64_t *all = cookie;

	(void)e;
	*all += sum->n[STORE_SECRET_LIVE];
	return 0;
}

static void
test_many_versions_in_a_batch(void **state)
{
	struct fixture *f = *state;
	uint64_t all = 0;

	assert_batch(f, step_many_versions, NULL);
	assert_int_equal(store_secrets_walk(f->s, sum_up, &all, &f->e), 0);
	assert_int_equal(all, 3 * STORE_NOTED_MAX);
	expect(f, 1, 3, 0);
	expect(f, STORE_NOTED_MAX + 10, 2, 0);
	assert_int_equal(store_imported(f->s), 3 * STORE_NOTED_MAX / 2);
	fixture_reopen(f);
	assert_int_equal(store_imported(f->s), 3 * STORE_NOTED_MAX / 2);
}

/* ---- owners ---- */

static int
step_stop(struct fixture *f, const void *arg, struct err *e)
{
	const struct store_stop stop = {
	    .since_us = 1700000000000000, .uid = 7, .by = "root", .reason = "did not pay"};
	int rc = store_owner_stop(f->s, span_of(arg), &stop, e);

	return rc < 0 ? -1 : 0;
}

static int
step_resume(struct fixture *f, const void *arg, struct err *e)
{
	return store_owner_resume(f->s, span_of(arg), e) < 0 ? -1 : 0;
}

static int
step_stop_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	if (step_stop(f, arg, e) != 0)
		return -1;
	assert_int_equal(store_owner_stopped(f->s, span_of(arg), NULL, e), 1);
	return err_set(e, ERR_FULL, "as if the disk were full");
}

static int
is_stopped(struct fixture *f, const char *owner)
{
	return store_owner_stopped(f->s, span_of(owner), NULL, &f->e);
}

static void
test_owners_are_stopped(void **state)
{
	struct fixture *f = *state;
	struct store_stop stop;

	assert_int_equal(is_stopped(f, "acme"), 0);
	assert_int_equal(batch(f, step_stop_and_fail, "acme"), -1);
	assert_int_equal(is_stopped(f, "acme"), 0);
	assert_int_equal(store_stopped(f->s), 0);
	assert_batch(f, step_stop, "acme");
	assert_batch(f, step_stop, "acme"); /* again: nothing more */
	assert_int_equal(store_stopped(f->s), 1);
	assert_int_equal(is_stopped(f, "acme"), 1);
	assert_int_equal(is_stopped(f, "acm"), 0);
	assert_int_equal(is_stopped(f, "acme "), 0);
	assert_int_equal(is_stopped(f, ""), 0);
	fixture_reopen(f);
	assert_int_equal(store_owner_stopped(f->s, span_of("acme"), &stop, &f->e), 1);
	assert_int_equal(stop.since_us, 1700000000000000);
	assert_int_equal(stop.uid, 7);
	assert_string_equal(stop.by, "root");
	assert_string_equal(stop.reason, "did not pay");
	assert_batch(f, step_resume, "acme");
	assert_batch(f, step_resume, "acme");
	assert_int_equal(store_stopped(f->s), 0);
	assert_int_equal(is_stopped(f, "acme"), 0);
}

static int
step_damage(struct fixture *f, const void *arg, struct err *e)
{
	return store_db_put(f->s, STORE_DB_STOPPED, span_of(arg), span_of("?"), e);
}

/* A record that cannot be read lets nobody in. */
static void
test_damage_is_no_yes(void **state)
{
	struct fixture *f = *state;

	assert_batch(f, step_stop, "acme");
	assert_batch(f, step_damage, "acme");
	assert_int_equal(is_stopped(f, "acme"), -1);
	assert_error(f, ERR_CORRUPT, "acme");
}

struct seen {
	size_t n, stop_at;
	char names[512];
};

static int
see_owner(void *cookie, struct span owner, uint64_t keys, struct err *e)
{
	struct seen *seen = cookie;
	size_t at = strlen(seen->names);

	(void)e;
	assert_true(snprintf(seen->names + at, sizeof(seen->names) - at, "%.*s=%llu;",
			(int)owner.len, owner.p, (unsigned long long)keys) > 0);
	return ++seen->n == seen->stop_at;
}

static void
owners(struct fixture *f, const char *after, int stopped, size_t stop_at, const char *expected)
{
	struct seen seen = {.stop_at = stop_at};

	assert_int_equal(store_owners_walk(f->s, span_of(after), stopped, see_owner, &seen, &f->e),
	    stop_at != 0);
	assert_string_equal(seen.names, expected);
}

static int
step_insert_of(struct fixture *f, const void *arg, struct err *e)
{
	static unsigned n;
	struct key k;

	key_make(&k, n++);
	k.rec.owner = span_of(arg);
	return store_key_insert(f->s, k.digest, &k.rec, e);
}

static void
test_owners_in_order(void **state)
{
	struct fixture *f = *state;
	static const char *const of[] = {"b", "a", "a b", "b", "ab", "b", "a", "~"};

	owners(f, "", 0, 0, "");
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		assert_batch(f, step_insert_of, of[i]);
	owners(f, "", 0, 0, "a=2;a b=1;ab=1;b=3;~=1;");
	owners(f, "a", 0, 0, "a b=1;ab=1;b=3;~=1;");
	owners(f, "aa", 0, 1, "ab=1;");
	owners(f, "~", 0, 0, "");
	/* One that has keys, and some that have none (any more). */
	assert_batch(f, step_stop, "b");
	assert_batch(f, step_stop, "A");
	assert_batch(f, step_stop, "gone");
	owners(f, "", 0, 0, "A=0;a=2;a b=1;ab=1;b=3;gone=0;~=1;");
	owners(f, "", 1, 0, "A=0;b=3;gone=0;");
	owners(f, "A", 1, 1, "b=3;");
}

static int
step_insert_many(struct fixture *f, const void *arg, struct err *e)
{
	for (unsigned i = 0; i < STORE_OWNER_KEYS_MAX + 5; i++) {
		struct key k;

		key_make(&k, 5000 + i);
		k.rec.owner = span_of(arg);
		if (store_key_insert(f->s, k.digest, &k.rec, e) != 0)
			return -1;
	}
	return 0;
}

static void
test_counting_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t n;

	assert_batch(f, step_insert_many, "many");
	assert_int_equal(store_owner_keys(f->s, span_of("many"), &n, &f->e), 0);
	assert_int_equal(n, STORE_OWNER_KEYS_MAX);
	assert_int_equal(store_owner_keys(f->s, span_of("man"), &n, &f->e), 0);
	assert_int_equal(n, 0);
	owners(f, "", 0, 0, "many=1000;");
}

/* ---- what verification finds of it ---- */

static void
on_found(void *cookie, const char *line)
{
	struct seen *seen = cookie;
	size_t at = strlen(seen->names);

	seen->n++;
	(void)snprintf(seen->names + at, sizeof(seen->names) - at, "%s;", line);
}

static void
on_record(void *cookie, const char *database, uint64_t record)
{
	(void)cookie;
	(void)database;
	(void)record;
}

static void
verified(struct fixture *f, size_t findings, const char *words)
{
	struct seen seen = {.n = 0};
	struct store_verify with = {.found = on_found, .at = on_record, .cookie = &seen};

	assert_int_equal(store_verify_records(f->s, &with, &f->e), 0);
	if (seen.n != findings || strstr(seen.names, words) == NULL)
		fail_msg("%zu findings: %s", seen.n, seen.names);
}

static int
step_plan(struct fixture *f, const void *arg, struct err *e)
{
	struct plan plan = {.nlimits = 0};

	assert_int_equal(span_copy(plan.name, sizeof(plan.name), span_of(arg)), 0);
	return store_plan_put(f->s, &plan, e);
}

/* A sum that is wrong, as no operation leaves it. */
static int
step_miscount(struct fixture *f, const void *arg, struct err *e)
{
	return store_secrets_note(
	    f->s, *(const uint32_t *)arg, KEYREC_OF_SHA256, STORE_SECRET_LIVE, 1, e);
}

static void
test_miscounts_are_found(void **state)
{
	struct fixture *f = *state;
	const uint32_t known = 1, unknown = 9;

	assert_batch(f, step_plan, "plan-0");
	assert_batch(f, step_plan, "plan-1");
	key_put(f, 0);
	key_put(f, 1);
	assert_batch(f, step_stop, "owner-0");
	verified(f, 0, "");
	assert_batch(f, step_miscount, &known);
	verified(f, 2, "under pepper 1 are miscounted");
	assert_batch(f, step_miscount, &unknown);
	verified(f, 3, "under pepper 9 are miscounted");
	/* An owner that is off, and nothing says so: its keys would work. */
	f->s->now.counts.stopped = 0;
	verified(f, 4, "counts 0 owners that are switched off, there are 1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_secrets_are_counted, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_many_versions_in_a_batch, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_owners_are_stopped, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(test_damage_is_no_yes, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(test_owners_in_order, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_counting_is_bounded, fixture_make_open, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_miscounts_are_found, fixture_make_open, fixture_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
