/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a key is found by its present secret and by those before it, and by nothing else; a
 * rotation happens whole or not at all; with the key all of its secrets go.  Guards Invariant 3 (a
 * committed rotation is what every later read sees) and 5 (a rotation that is aborted leaves the
 * old secret in its place).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alias.h"
#include "store_fixture.h"

/* Secret number ${n} of the one key of these tests. */
static void
secret(uint8_t digest[STORE_DIGEST_LEN], unsigned n)
{
	memset(digest, (int)n + 1, STORE_DIGEST_LEN);
}

static uint64_t
entries(struct fixture *f, enum store_db which)
{
	DB *db = f->s->dbs[which];
	uint64_t n;
	void *st;

	assert_int_equal(db->stat(db, NULL, &st, 0), 0);
	n = which == STORE_DB_KEYS ? ((DB_HASH_STAT *)st)->hash_ndata
				   : ((DB_BTREE_STAT *)st)->bt_ndata;
	free(st);
	return n;
}

static uint64_t
under(struct fixture *f, uint32_t pepper, enum store_secret_kind kind)
{
	struct store_secrets sum;

	assert_int_equal(store_secrets_get(f->s, pepper, &sum, &f->e), 0);
	return sum.n[kind];
}

static uint64_t
previous(struct fixture *f, uint32_t pepper)
{
	return under(f, pepper, STORE_SECRET_PREVIOUS);
}

static uint64_t
live(struct fixture *f, uint32_t pepper)
{
	return under(f, pepper, STORE_SECRET_LIVE);
}

struct rotate {
	unsigned to;
	int fails;
};

/* From the secret before to number ${to}, by the rules of the operation. */
static int
step_rotate(struct fixture *f, const void *arg, struct err *e)
{
	const struct rotate *r = arg;
	static uint8_t buf[KEYREC_MAX];
	uint8_t from[STORE_DIGEST_LEN], to[STORE_DIGEST_LEN];
	struct keyrec rec;

	secret(from, r->to - 1);
	secret(to, r->to);
	if (store_key_get(f->s, from, buf, &rec, e) != 1)
		return -1;
	rec.previous = from;
	rec.previous_until_us = 1000 + r->to;
	rec.secret_us = 500 + r->to;
	rec.pepper = r->to + 1;
	if (store_key_rotate(f->s, from, to, &rec, e) != 0)
		return -1;
	return r->fails ? err_set(e, ERR_INTERNAL, "as if the process had died") : 0;
}

static void
put_first(struct fixture *f)
{
	struct key k;

	key_make(&k, 1);
	secret(k.digest, 0);
	assert_batch(f, step_insert, &k);
}

static void
rotate_to(struct fixture *f, unsigned n)
{
	struct rotate r = {.to = n};

	assert_batch(f, step_rotate, &r);
}

/* What secret ${n} finds: 1 the key, and as which of its secrets; else 0. */
static int
found(struct fixture *f, unsigned n, enum rotation_secret which)
{
	static uint8_t buf[KEYREC_MAX];
	uint8_t digest[STORE_DIGEST_LEN];
	struct store_match s;
	struct keyrec rec;
	int rc;

	secret(digest, n);
	rc = store_key_match(f->s, digest, buf, &rec, &s, &f->e);
	if (rc == 1) {
		struct keyrec home;
		static uint8_t other[KEYREC_MAX];

		assert_string_equal(rec.id, "key_0000000000000001");
		assert_int_equal(s.which, which);
		assert_int_equal(store_key_get(f->s, s.home, other, &home, &f->e), 1);
		assert_string_equal(home.id, rec.id);
	}
	return rc;
}

static void
old_secrets_find_their_key(void **state)
{
	struct fixture *f = *state;
	uint8_t digest[STORE_DIGEST_LEN], by_id[STORE_DIGEST_LEN];

	put_first(f);
	assert_int_equal(found(f, 0, ROTATION_PRESENT), 1);
	assert_int_equal(found(f, 1, ROTATION_PRESENT), 0);
	rotate_to(f, 1);
	assert_int_equal(found(f, 0, ROTATION_PREVIOUS), 1);
	assert_int_equal(found(f, 1, ROTATION_PRESENT), 1);
	rotate_to(f, 2);
	assert_int_equal(found(f, 0, ROTATION_OLDER), 1);
	assert_int_equal(found(f, 1, ROTATION_PREVIOUS), 1);
	assert_int_equal(found(f, 2, ROTATION_PRESENT), 1);
	assert_int_equal(f->s->now.counts.keys, 1);
	secret(digest, 2);
	assert_int_equal(store_key_find(f->s, span_of("key_0000000000000001"), by_id, &f->e), 1);
	assert_memory_equal(by_id, digest, sizeof(by_id));
	/* Each is counted under the pepper that made it. */
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(previous(f, n + 1), n < 2);
		assert_int_equal(live(f, n + 1), n == 2);
	}
}

static void
only_so_many_are_remembered(void **state)
{
	struct fixture *f = *state;

	put_first(f);
	for (unsigned n = 1; n < 12; n++) {
		rotate_to(f, n);
		assert_int_equal(found(f, n, ROTATION_PRESENT), 1);
		assert_int_equal(found(f, n - 1, ROTATION_PREVIOUS), 1);
		for (unsigned old = 0; old + 1 < n; old++)
			assert_int_equal(
			    found(f, old, ROTATION_OLDER), n - old <= STORE_OLD_SECRETS_MAX);
		assert_int_equal(entries(f, STORE_DB_KEYS),
		    1 + (n < STORE_OLD_SECRETS_MAX ? n : STORE_OLD_SECRETS_MAX));
	}
}

static void
a_rotation_is_whole_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct rotate r = {.to = 1, .fails = 1};

	put_first(f);
	assert_int_equal(batch(f, step_rotate, &r), -1);
	assert_int_equal(found(f, 0, ROTATION_PRESENT), 1);
	assert_int_equal(found(f, 1, ROTATION_PRESENT), 0);
	assert_int_equal(entries(f, STORE_DB_KEYS), 1);
}

static int
step_bad_rotate(struct fixture *f, const void *arg, struct err *e)
{
	static uint8_t buf[KEYREC_MAX];
	const enum err_code *code = arg;
	uint8_t from[STORE_DIGEST_LEN], to[STORE_DIGEST_LEN];
	struct keyrec rec;

	secret(from, 1);
	secret(to, *code == ERR_CONFLICT ? 0 : 7);
	if (store_key_get(f->s, from, buf, &rec, e) != 1)
		return -1;
	rec.previous = *code == ERR_INPUT ? NULL : from;
	if (*code == ERR_NOT_FOUND) {
		secret(from, 5);
		rec.previous = from;
	}
	assert_int_equal(store_key_rotate(f->s, from, to, &rec, e), -1);
	assert_string_equal(err_name(e->code), err_name(*code));
	return 0;
}

/* The digest of an old secret is taken: nobody else's key gets it. */
static void
what_cannot_be_is_refused(void **state)
{
	static const enum err_code codes[] = {ERR_CONFLICT, ERR_INPUT, ERR_NOT_FOUND};
	struct fixture *f = *state;
	struct key k;

	put_first(f);
	rotate_to(f, 1);
	for (size_t i = 0; i < 3; i++)
		assert_batch(f, step_bad_rotate, &codes[i]);
	key_make(&k, 2);
	secret(k.digest, 0);
	assert_int_equal(batch(f, step_insert, &k), -1);
	assert_error(f, ERR_CONFLICT, k.rec.id);
	assert_int_equal(found(f, 0, ROTATION_PREVIOUS), 1);
	assert_int_equal(found(f, 1, ROTATION_PRESENT), 1);
}

static int
step_rehash_both(struct fixture *f, const void *arg, struct err *e)
{
	static uint8_t buf[KEYREC_MAX];
	uint8_t present[STORE_DIGEST_LEN], to[STORE_DIGEST_LEN], old[STORE_DIGEST_LEN];
	struct keyrec rec;

	(void)arg;
	secret(present, 2);
	secret(to, 20);
	secret(old, 10);
	if (store_key_get(f->s, present, buf, &rec, e) != 1 ||
	    store_previous_rehash(f->s, present, old, 9, &rec, e) != 0 ||
	    store_key_get(f->s, present, buf, &rec, e) != 1)
		return -1;
	rec.pepper = 9;
	return store_key_rehash(f->s, present, to, &rec, e);
}

static void
digests_change_under_a_new_pepper(void **state)
{
	struct fixture *f = *state;

	put_first(f);
	rotate_to(f, 1);
	rotate_to(f, 2);
	assert_batch(f, step_rehash_both, NULL);
	assert_int_equal(found(f, 20, ROTATION_PRESENT), 1);
	assert_int_equal(found(f, 10, ROTATION_PREVIOUS), 1);
	assert_int_equal(found(f, 0, ROTATION_OLDER), 1);
	assert_int_equal(found(f, 1, ROTATION_PREVIOUS), 0);
	assert_int_equal(found(f, 2, ROTATION_PRESENT), 0);
	assert_int_equal(previous(f, 9), 1);
	assert_int_equal(previous(f, 2), 0);
	assert_int_equal(live(f, 9), 1);
}

static int
step_delete(struct fixture *f, const void *arg, struct err *e)
{
	uint8_t digest[STORE_DIGEST_LEN];
	struct key k;

	key_make(&k, 1);
	secret(digest, *(const unsigned *)arg);
	return store_key_delete(f->s, digest, k.rec.id, e);
}

static int
step_use(struct fixture *f, const void *arg, struct err *e)
{
	struct store_use use = {.used_us = 77, .previous_used_us = 66};

	return store_use_put(f->s, span_of((const char *)arg), &use, e);
}

static void
nothing_is_left_of_a_deleted_key(void **state)
{
	struct fixture *f = *state;
	unsigned present = 6, other = 3;
	struct store_use use;

	put_first(f);
	key_put(f, 2);
	for (unsigned n = 1; n <= present; n++)
		rotate_to(f, n);
	assert_batch(f, step_use, "key_0000000000000001");
	assert_int_equal(batch(f, step_delete, &other), -1); /* an old secret's digest */
	assert_int_equal(found(f, present, ROTATION_PRESENT), 1);
	assert_batch(f, step_delete, &present);
	for (unsigned n = 0; n <= present; n++)
		assert_int_equal(found(f, n, ROTATION_PRESENT), 0);
	assert_int_equal(store_use_get(f->s, span_of("key_0000000000000001"), &use, &f->e), 0);
	assert_int_equal(f->s->now.counts.keys, 1);
	for (uint32_t pepper = 1; pepper <= present + 1; pepper++) {
		assert_int_equal(previous(f, pepper), 0);
		assert_int_equal(live(f, pepper), pepper == 1); /* the other key */
	}
	for (enum store_db db = STORE_DB_KEYS; db <= STORE_DB_PLAN_KEYS; db++)
		assert_int_equal(entries(f, db), 1);
	assert_int_equal(key_there(f, 2), 1);
	assert_int_equal(batch(f, step_delete, &present), -1);
	assert_error(f, ERR_NOT_FOUND, "key_0000000000000001");
}

static int
step_lose(struct fixture *f, const void *arg, struct err *e)
{
	uint8_t digest[STORE_DIGEST_LEN];

	secret(digest, *(const unsigned *)arg);
	return store_db_del(f->s, STORE_DB_KEYS, store_span(digest, sizeof(digest)), e) == 1 ? 0
											     : -1;
}

/* Damage admits nobody and is told. */
static void
a_torn_chain_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct rotate r = {.to = 3};
	unsigned lost = 0, present = 2;

	put_first(f);
	rotate_to(f, 1);
	rotate_to(f, 2);
	assert_batch(f, step_lose, &lost);
	assert_int_equal(batch(f, step_delete, &present), -1);
	assert_error(f, ERR_CORRUPT, "key_0000000000000001");
	assert_int_equal(batch(f, step_rotate, &r), -1);
	assert_error(f, ERR_CORRUPT, "key_0000000000000001");
	assert_int_equal(found(f, 2, ROTATION_PRESENT), 1);
	assert_batch(f, step_lose, &present);
	assert_int_equal(found(f, 1, ROTATION_PREVIOUS), -1);
	assert_error(f, ERR_CORRUPT, "key_0000000000000001");
}

static int
step_bad_use(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_db_put(
	    f->s, STORE_DB_USES, span_of("key_0000000000000001"), span_of("\001short"), e);
}

static void
uses_come_back(void **state)
{
	struct fixture *f = *state;
	struct span id = span_of("key_0000000000000001");
	struct store_use use;

	assert_int_equal(store_use_get(f->s, id, &use, &f->e), 0);
	assert_int_equal(use.used_us, 0);
	assert_batch(f, step_use, "key_0000000000000001");
	assert_int_equal(store_use_get(f->s, id, &use, &f->e), 1);
	assert_int_equal(use.used_us, 77);
	assert_int_equal(use.previous_used_us, 66);
	assert_int_equal(store_use_get(f->s, span_of("key_1"), &use, &f->e), 0);
	assert_int_equal(batch(f, step_use, "key_1"), -1);
	assert_batch(f, step_bad_use, NULL);
	assert_int_equal(store_use_get(f->s, id, &use, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "key_0000000000000001");
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_open, fixture_free)
	const struct CMUnitTest tests[] = {
	    T(old_secrets_find_their_key),
	    T(only_so_many_are_remembered),
	    T(a_rotation_is_whole_or_nothing),
	    T(what_cannot_be_is_refused),
	    T(digests_change_under_a_new_pepper),
	    T(nothing_is_left_of_a_deleted_key),
	    T(a_torn_chain_is_an_error),
	    T(uses_come_back),
	};

	return cmocka_run_group_tests_name("store aliases", tests, NULL, NULL);
}
