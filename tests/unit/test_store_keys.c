/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: keys, plans, audit entries and meta records come back as they were put; indexes always
 * match their records; a refused change leaves no trace; a batch happens whole or not at all.
 * Guards Invariant 3 (a change that was committed is what every later read sees) and Invariant 6 (a
 * record that does not decode is an error that names it).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_fixture.h"

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
step_del(struct fixture *f, const void *arg, struct err *e)
{
	const struct record *r = arg;

	return store_db_del(f->s, r->db, r->key, e) == 1 ? 0 : -1;
}

static int
step_update(struct fixture *f, const void *arg, struct err *e)
{
	const struct key *k = arg;

	return store_key_update(f->s, k->digest, &k->rec, e);
}

struct rehash {
	const struct key *k;
	const uint8_t *to;
};

static int
step_rehash(struct fixture *f, const void *arg, struct err *e)
{
	const struct rehash *r = arg;

	return store_key_rehash(f->s, r->k->digest, r->to, &r->k->rec, e);
}

/* ---- walks ---- */

struct seen {
	unsigned n, stop_at;
	int answer;
	char last[TOKEN_ID_LEN + 1];
	struct span owner;
};

static int
see(void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct seen *seen = cookie;
	unsigned n;

	(void)e;
	assert_true(strcmp(rec->id, seen->last) > 0);
	memcpy(seen->last, rec->id, sizeof(seen->last));
	memcpy(&n, digest, sizeof(n));
	assert_int_equal(n, strtoul(rec->id + 4, NULL, 10) % 1000000);
	if (seen->owner.p != NULL)
		assert_true(span_eq(rec->owner, seen->owner));
	seen->n++;
	return seen->stop_at != 0 && seen->n == seen->stop_at ? seen->answer : 0;
}

static unsigned
owned(struct fixture *f, const char *owner)
{
	struct seen seen = {.owner = span_of(owner)};

	assert_int_equal(store_owner_walk(f->s, seen.owner, span_of(""), see, &seen, &f->e), 0);
	return seen.n;
}

static uint64_t
planned(struct fixture *f, const char *plan)
{
	uint64_t n;

	assert_int_equal(store_plan_users(f->s, span_of(plan), &n, &f->e), 0);
	return n;
}

static void
test_insert_and_find(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	uint8_t digest[STORE_DIGEST_LEN], zero[STORE_DIGEST_LEN] = {0};
	struct keyrec rec;
	struct key k;

	key_put(f, 1);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(key_there(f, 2), 0);
	key_make(&k, 1);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), 1);
	assert_true(span_is(rec.owner, "owner-1"));
	assert_true(span_is(rec.plan, "plan-1"));
	assert_int_equal(rec.created_us, k.rec.created_us);
	/* Ids that cannot be: short, long, none; the output is cleared. */
	memset(digest, 1, sizeof(digest));
	assert_int_equal(store_key_find(f->s, span_of("key_1"), digest, &f->e), 0);
	assert_memory_equal(digest, zero, sizeof(zero));
	assert_int_equal(store_key_find(f->s, span_of(""), digest, &f->e), 0);
	assert_int_equal(store_key_find(f->s, span_of("key_00000000000000011"), digest, &f->e), 0);
}

static void
test_insert_refuses_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct key k, other;

	key_put(f, 1);
	key_make(&k, 1);
	assert_int_equal(batch(f, step_insert, &k), -1);
	assert_error(f, ERR_CONFLICT, k.rec.id);
	/* Another id under the same digest, another digest under the same id. */
	key_make(&other, 2);
	memcpy(other.digest, k.digest, sizeof(k.digest));
	assert_int_equal(batch(f, step_insert, &other), -1);
	assert_error(f, ERR_CONFLICT, other.rec.id);
	key_make(&other, 2);
	memcpy(other.rec.id, k.rec.id, sizeof(k.rec.id));
	assert_int_equal(batch(f, step_insert, &other), -1);
	assert_error(f, ERR_CONFLICT, k.rec.id);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(f->s->now.counts.keys, 1);
}

static int
step_conflict_then_insert(struct fixture *f, const void *arg, struct err *e)
{
	const struct key *k = arg;

	assert_int_equal(store_key_insert(f->s, k[0].digest, &k[0].rec, e), -1);
	assert_string_equal(err_name(e->code), "conflict");
	return store_key_insert(f->s, k[1].digest, &k[1].rec, e);
}

static void
test_a_refusal_leaves_the_batch_usable(void **state)
{
	struct fixture *f = *state;
	struct key k[2];

	key_put(f, 1);
	key_make(&k[0], 1);
	key_make(&k[1], 2);
	assert_batch(f, step_conflict_then_insert, k);
	assert_int_equal(key_there(f, 2), 1);
}

static void
test_insert_refuses_a_record_that_is_off(void **state)
{
	struct fixture *f = *state;
	struct key k;

	key_make(&k, 1);
	k.rec.owner = store_span("own\0er", 6);
	assert_int_equal(batch(f, step_insert, &k), -1);
	assert_int_equal(f->e.code, ERR_INPUT);
	key_make(&k, 1);
	k.rec.id[5] = '\0';
	assert_int_equal(batch(f, step_insert, &k), -1);
	assert_int_equal(f->e.code, ERR_INPUT);
	assert_int_equal(f->s->now.counts.keys, 0);
}

static void
test_a_record_of_full_size(void **state)
{
	struct fixture *f = *state;
	static uint8_t nets[KEYREC_NETS_MAX * 17], buf[KEYREC_MAX];
	static char meta[KEYREC_META_MAX + 1];
	struct netaddr_net net = {0};
	struct keyrec rec;
	struct key k;
	int n;

	key_make(&k, 1);
	for (unsigned i = 0; i < KEYREC_NETS_MAX; i++) {
		char text[32];

		assert_true(snprintf(text, sizeof(text), "10.%u.%u.0/24", i / 250, i % 250) > 0);
		assert_int_equal(netaddr_net_parse(span_of(text), &net), 0);
		assert_int_equal(keyrec_net_add(&k.rec, nets, &net), 0);
	}
	n = snprintf(meta, sizeof(meta), "{\"a\":\"%0*d\"}", KEYREC_META_MAX - 8, 0);
	assert_int_equal(n, KEYREC_META_MAX);
	k.rec.meta = span_of(meta);
	assert_batch(f, step_insert, &k);
	fixture_reopen(f);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), 1);
	assert_int_equal(rec.nnets, KEYREC_NETS_MAX);
	assert_true(span_eq(rec.meta, k.rec.meta));
}

static void
test_update_moves_the_indexes(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	struct keyrec rec;
	struct key k;

	for (unsigned n = 0; n < 6; n++)
		key_put(f, n);
	assert_int_equal(owned(f, "owner-1"), 2);
	assert_int_equal(planned(f, "plan-1"), 3);
	key_make(&k, 1);
	k.rec.owner = span_of("somebody");
	k.rec.plan = span_of("gold");
	k.rec.state = KEYREC_REVOKED;
	k.rec.revoked_us = 1700000000000000;
	assert_batch(f, step_update, &k);
	assert_int_equal(owned(f, "owner-1"), 1);
	assert_int_equal(owned(f, "somebody"), 1);
	assert_int_equal(planned(f, "plan-1"), 2);
	assert_int_equal(planned(f, "gold"), 1);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), 1);
	assert_int_equal(rec.state, KEYREC_REVOKED);
	assert_int_equal(f->s->now.counts.keys, 6);

	key_make(&k, 99);
	assert_int_equal(batch(f, step_update, &k), -1);
	assert_error(f, ERR_NOT_FOUND, k.rec.id);
	/* Another key's digest: a mistake of the caller that must not rename a key. */
	key_make(&k, 2);
	memcpy(k.rec.id, "key_0000000000000003", TOKEN_ID_LEN);
	assert_int_equal(batch(f, step_update, &k), -1);
	assert_error(f, ERR_INTERNAL, "key_0000000000000003");
	assert_int_equal(key_there(f, 2), 1);
	assert_int_equal(key_there(f, 3), 1);
}

static void
test_rehash(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	uint8_t found[STORE_DIGEST_LEN];
	struct keyrec rec;
	struct key k, other, fresh;
	struct rehash r = {&k, other.digest};

	key_put(f, 1);
	key_put(f, 2);
	key_make(&k, 1);
	key_make(&other, 2);
	key_make(&fresh, 77);
	assert_int_equal(batch(f, step_rehash, &r), -1);
	assert_error(f, ERR_CONFLICT, k.rec.id);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(key_there(f, 2), 1);

	r.to = fresh.digest;
	k.rec.pepper = 2;
	assert_batch(f, step_rehash, &r);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), 0);
	assert_int_equal(store_key_get(f->s, fresh.digest, buf, &rec, &f->e), 1);
	assert_int_equal(rec.pepper, 2);
	assert_int_equal(store_key_find(f->s, span_of(k.rec.id), found, &f->e), 1);
	assert_memory_equal(found, fresh.digest, sizeof(found));
	assert_int_equal(owned(f, "somebody"), 0);
	assert_int_equal(planned(f, "plan-1"), 1);
	assert_int_equal(f->s->now.counts.keys, 2);
	assert_int_equal(batch(f, step_rehash, &r), -1);
	assert_error(f, ERR_NOT_FOUND, k.rec.id);
}

static void
test_walk_all(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {0};

	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), 0);
	assert_int_equal(seen.n, 0);
	for (unsigned n = 500; n-- > 0;)
		key_put(f, n);
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), 0);
	assert_int_equal(seen.n, 500);

	/* Pages: behind an id that is there, behind one that is not, behind the last. */
	memset(&seen, 0, sizeof(seen));
	seen.stop_at = 10;
	seen.answer = 1;
	assert_int_equal(
	    store_keys_walk(f->s, span_of("key_0000000000000007"), see, &seen, &f->e), 1);
	assert_string_equal(seen.last, "key_0000000000000017");
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(
	    store_keys_walk(f->s, span_of("key_000000000000048A"), see, &seen, &f->e), 0);
	assert_int_equal(seen.n, 10); /* 490 to 499 */
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(
	    store_keys_walk(f->s, span_of("key_0000000000000499"), see, &seen, &f->e), 0);
	assert_int_equal(seen.n, 0);

	memset(&seen, 0, sizeof(seen));
	seen.stop_at = 3;
	seen.answer = -1;
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), -1);
	assert_int_equal(seen.n, 3);
}

static void
test_walk_owner(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.owner = span_of("owner-1")};
	char many[1000];

	for (unsigned n = 0; n < 300; n++)
		key_put(f, n);
	assert_int_equal(owned(f, "owner-0"), 100);
	assert_int_equal(owned(f, "owner-1"), 100);
	/* Not those of an owner whose name only begins like that, nor of one that cannot be. */
	assert_int_equal(owned(f, "owner-"), 0);
	assert_int_equal(owned(f, "owner-11"), 0);
	assert_int_equal(owned(f, ""), 0);
	memset(many, 'x', sizeof(many));
	assert_int_equal(
	    store_owner_walk(f->s, store_span(many, sizeof(many)), span_of(""), see, &seen, &f->e),
	    0);
	assert_int_equal(store_owner_walk(f->s, store_span("owner-1\0key_0", 13), span_of(""), see,
			     &seen, &f->e),
	    0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(store_owner_walk(f->s, span_of("owner-1"), span_of("key_0000000000000292"),
			     see, &seen, &f->e),
	    0);
	assert_int_equal(seen.n, 2); /* 295, 298 */
	assert_int_equal(store_owner_walk(f->s, span_of("owner-1"), store_span(many, sizeof(many)),
			     see, &seen, &f->e),
	    -1);
	assert_int_equal(f->e.code, ERR_INPUT);
}

static void
test_plan_users_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct span none = store_span("p\0", 2);
	uint64_t n = 7;

	for (unsigned i = 0; i < 2 * STORE_PLAN_USERS_MAX + 10; i++)
		key_put(f, i);
	assert_int_equal(planned(f, "plan-0"), STORE_PLAN_USERS_MAX);
	assert_int_equal(planned(f, "plan-"), 0);
	assert_int_equal(store_plan_users(f->s, none, &n, &f->e), 0);
	assert_int_equal(n, 0);
}

/* ---- damage ---- */

static void
test_damaged_records_are_named(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	static char huge[KEYREC_MAX + 1];
	struct seen seen = {0};
	struct keyrec rec;
	struct key k;
	struct record r;

	key_put(f, 1);
	key_make(&k, 1);
	r = (struct record){
	    STORE_DB_KEYS, store_span(k.digest, STORE_DIGEST_LEN), span_of("\002garbage")};
	assert_batch(f, step_put, &r);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "database keys");
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), -1);
	assert_error(f, ERR_CORRUPT, k.rec.id);
	assert_int_equal(batch(f, step_update, &k), -1);
	assert_error(f, ERR_CORRUPT, k.rec.id);

	r.value = store_span(huge, sizeof(huge));
	assert_batch(f, step_put, &r);
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "keys");

	assert_batch(f, step_del, &r);
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), -1);
	assert_error(f, ERR_CORRUPT, k.rec.id);

	r = (struct record){STORE_DB_IDS, span_of(k.rec.id), span_of("short")};
	assert_batch(f, step_put, &r);
	assert_int_equal(store_key_find(f->s, span_of(k.rec.id), k.digest, &f->e), -1);
	assert_error(f, ERR_CORRUPT, k.rec.id);
	assert_batch(f, step_del, &r);
	r = (struct record){STORE_DB_IDS, span_of("k"), span_of("")};
	assert_batch(f, step_put, &r);
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &seen, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "database ids");
	assert_int_equal(seen.n, 0);
}

static int
step_update_ignoring(struct fixture *f, const void *arg, struct err *e)
{
	const struct key *k = arg;

	assert_int_equal(store_key_update(f->s, k->digest, &k->rec, e), -1);
	/* A write after the failure is refused with the same words. */
	assert_int_equal(store_meta_put(f->s, "x", "y", 1, e), -1);
	assert_non_null(strstr(e->msg, "owners"));
	return 0;
}

/* A caller that overlooks a failed write must not commit the half of it. */
static void
test_a_failed_write_poisons_the_batch(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	struct keyrec rec;
	struct record r;
	struct key k;

	key_put(f, 1);
	key_make(&k, 1);
	r = (struct record){
	    STORE_DB_OWNERS, store_span("owner-1\0key_0000000000000001", 28), span_of("")};
	assert_batch(f, step_del, &r);
	k.rec.owner = span_of("somebody");
	assert_int_equal(batch(f, step_update_ignoring, &k), -1);
	assert_error(f, ERR_CORRUPT, "owners");
	assert_int_equal(store_key_get(f->s, k.digest, buf, &rec, &f->e), 1);
	assert_true(span_is(rec.owner, "owner-1"));
}

/* ---- batches ---- */

static int
step_insert_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	const struct key *k = arg;
	struct store_audit a = {.op = span_of("key.create")};

	if (store_key_insert(f->s, k->digest, &k->rec, e) != 0 ||
	    store_audit_append(f->s, &a, e) != 0)
		return -1;
	assert_int_equal(a.seq, 2);
	/* Reads see what the batch has written. */
	assert_int_equal(key_there(f, 2), 1);
	return err_set(e, ERR_USAGE, "changed my mind");
}

static int
step_audit(struct fixture *f, const void *arg, struct err *e)
{
	struct store_audit a = *(const struct store_audit *)arg;
	uint64_t was = f->s->now.trail.last;

	if (store_audit_append(f->s, &a, e) != 0)
		return -1;
	assert_int_equal(a.seq, was + 1);
	return 0;
}

static void
test_an_aborted_batch_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_audit a = {.op = span_of("key.create")};
	struct store_stat st;
	struct key k;

	key_put(f, 1);
	assert_batch(f, step_audit, &a);
	key_make(&k, 2);
	assert_int_equal(batch(f, step_insert_and_fail, &k), -1);
	assert_error(f, ERR_USAGE, "changed my mind");
	assert_int_equal(key_there(f, 2), 0);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.keys, 1);
	assert_int_equal(st.audit, 1);
	assert_int_equal(st.aborts, 1);
	/* The number that was given back is given again. */
	assert_batch(f, step_audit, &a);
	assert_int_equal(f->s->now.trail.last, 2);
	fixture_reopen(f);
	assert_int_equal(f->s->now.trail.last, 2);
	assert_int_equal(f->s->now.counts.keys, 1);
}

static int
step_nothing(struct fixture *f, const void *arg, struct err *e)
{
	(void)f;
	(void)arg;
	(void)e;
	return 0;
}

static int
step_nested(struct fixture *f, const void *arg, struct err *e)
{
	struct fixture_step step = {f, step_nothing, arg};

	return store_batch(f->s, fixture_step_run, &step, e);
}

static void
test_batches_keep_their_rules(void **state)
{
	struct fixture *f = *state;
	uint64_t commits = f->s->commits;
	struct key k;

	key_make(&k, 1);
	assert_int_equal(store_key_insert(f->s, k.digest, &k.rec, &f->e), -1);
	assert_error(f, ERR_INTERNAL, "outside a batch");
	assert_int_equal(batch(f, step_nested, NULL), -1);
	assert_error(f, ERR_INTERNAL, "inside a batch");
	/* A batch that writes nothing costs no transaction. */
	assert_batch(f, step_nothing, NULL);
	assert_int_equal(f->s->commits, commits);
	key_put(f, 1);
	assert_int_equal(f->s->commits, commits + 1);
}

/* ---- plans ---- */

static int
step_plan_put(struct fixture *f, const void *arg, struct err *e)
{
	return store_plan_put(f->s, arg, e);
}

static int
step_plan_del(struct fixture *f, const void *arg, struct err *e)
{
	return store_plan_del(f->s, span_of(arg), e);
}

static int
see_plan(void *cookie, const struct plan *plan, struct err *e)
{
	struct seen *seen = cookie;

	(void)e;
	assert_true(strcmp(plan->name, seen->last) > 0);
	assert_int_equal(span_copy(seen->last, sizeof(seen->last), span_of(plan->name)), 0);
	seen->n++;
	return seen->stop_at != 0 && seen->n == seen->stop_at ? seen->answer : 0;
}

static void
test_plans(void **state)
{
	struct fixture *f = *state;
	struct plan gold = {.name = "gold", .nlimits = 1}, got;
	struct plan bad = {.name = "not a name"};
	struct seen seen = {0};
	char many[200];

	assert_int_equal(plan_limit_parse("minute=100/60s", &gold.limits[0], &f->e), 0);
	assert_int_equal(store_plan_get(f->s, span_of("gold"), &got, &f->e), 0);
	assert_batch(f, step_plan_put, &gold);
	gold.limits[0].max_units = 7;
	assert_batch(f, step_plan_put, &gold);
	assert_int_equal(f->s->now.counts.plans, 1);
	fixture_reopen(f);
	assert_int_equal(store_plan_get(f->s, span_of("gold"), &got, &f->e), 1);
	assert_int_equal(got.limits[0].max_units, 7);
	assert_int_equal(store_plan_get(f->s, span_of(""), &got, &f->e), 0);
	memset(many, 'x', sizeof(many));
	assert_int_equal(store_plan_get(f->s, store_span(many, sizeof(many)), &got, &f->e), 0);
	assert_int_equal(batch(f, step_plan_put, &bad), -1);

	memcpy(gold.name, "basic", 6);
	assert_batch(f, step_plan_put, &gold);
	assert_int_equal(store_plans_walk(f->s, see_plan, &seen, &f->e), 0);
	assert_int_equal(seen.n, 2);
	memset(&seen, 0, sizeof(seen));
	seen.stop_at = seen.answer = 1;
	assert_int_equal(store_plans_walk(f->s, see_plan, &seen, &f->e), 1);
	assert_string_equal(seen.last, "basic");

	assert_batch(f, step_plan_del, "gold");
	assert_int_equal(store_plan_get(f->s, span_of("gold"), &got, &f->e), 0);
	assert_int_equal(f->s->now.counts.plans, 1);
	assert_int_equal(batch(f, step_plan_del, "gold"), -1);
	assert_error(f, ERR_NOT_FOUND, "gold");
	assert_int_equal(batch(f, step_plan_del, ""), -1);
	assert_error(f, ERR_NOT_FOUND, "no plan");
}

static void
test_damaged_plans_are_named(void **state)
{
	struct fixture *f = *state;
	struct plan gold = {.name = "gold"}, got;
	struct record r = {STORE_DB_PLANS, span_of("silver"), span_of("\001x")};
	struct seen seen = {0};
	uint8_t buf[PLAN_RECORD_MAX];
	struct wbuf out;

	assert_batch(f, step_put, &r);
	assert_int_equal(store_plan_get(f->s, span_of("silver"), &got, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "silver");
	assert_int_equal(store_plans_walk(f->s, see_plan, &seen, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "silver");
	/* A whole record under another name. */
	wbuf_init(&out, buf, sizeof(buf));
	plan_encode(&gold, &out);
	r.value = wbuf_view(&out);
	assert_batch(f, step_put, &r);
	assert_int_equal(store_plan_get(f->s, span_of("silver"), &got, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "another plan");
	assert_int_equal(got.name[0], 0);
}

/* ---- audit ---- */

struct trail {
	uint64_t first, last;
	unsigned n, stop_at;
	struct store_audit sample;
};

static int
see_audit(void *cookie, const struct store_audit *a, struct err *e)
{
	struct trail *t = cookie;

	(void)e;
	if (t->n == 0)
		t->first = a->seq;
	else
		assert_int_equal(a->seq, t->last + 1);
	t->last = a->seq;
	if (t->sample.op.p != NULL) {
		assert_int_equal(a->uid, t->sample.uid);
		assert_true(span_eq(a->actor, t->sample.actor));
		assert_true(span_eq(a->op, t->sample.op));
		assert_true(span_eq(a->subject, t->sample.subject));
		assert_true(span_eq(a->detail, t->sample.detail));
	}
	t->n++;
	return t->n == t->stop_at ? 1 : 0;
}

static void
test_audit(void **state)
{
	struct fixture *f = *state;
	static char detail[STORE_AUDIT_DETAIL_MAX + 1];
	struct store_audit a = {
	    .uid = 1000,
	    .actor = span_of("ann"),
	    .op = span_of("key.create"),
	    .subject = span_of("key_0000000000000001"),
	    .detail = span_of("{\"owner\":\"x\"}"),
	};
	struct trail t = {.sample = a};

	assert_int_equal(store_audit_walk(f->s, 0, see_audit, &t, &f->e), 0);
	assert_int_equal(t.n, 0);
	for (int i = 1; i <= 300; i++) {
		a.when_us = 1000 * i;
		assert_batch(f, step_audit, &a);
	}
	fixture_reopen(f);
	assert_int_equal(store_audit_walk(f->s, 0, see_audit, &t, &f->e), 0);
	assert_int_equal(t.n, 300);
	assert_int_equal(t.first, 1);
	t.n = 0;
	t.stop_at = 5;
	assert_int_equal(store_audit_walk(f->s, 255, see_audit, &t, &f->e), 1);
	assert_int_equal(t.first, 256);
	assert_int_equal(t.last, 260);
	t.n = 0;
	assert_int_equal(store_audit_walk(f->s, 300, see_audit, &t, &f->e), 0);
	assert_int_equal(store_audit_walk(f->s, UINT64_MAX, see_audit, &t, &f->e), 0);
	assert_int_equal(t.n, 0);

	memset(detail, 'x', sizeof(detail));
	a.detail = store_span(detail, STORE_AUDIT_DETAIL_MAX);
	assert_batch(f, step_audit, &a);
	t = (struct trail){.sample = a};
	assert_int_equal(store_audit_walk(f->s, 300, see_audit, &t, &f->e), 0);
	assert_int_equal(t.n, 1);
	a.detail.len++;
	assert_int_equal(batch(f, step_audit, &a), -1);
	assert_error(f, ERR_INTERNAL, "too long");
}

static void
test_audit_seek(void **state)
{
	struct fixture *f = *state;
	struct store_audit a = {.op = span_of("x")};
	uint64_t after = 9;

	assert_int_equal(store_audit_seek(f->s, 5, &after, &f->e), 0);
	assert_int_equal(after, 0);
	for (int count = 1; count <= 20; count++) {
		a.when_us = 10 * ((count + 1) / 2); /* 10 10 20 20 ... */
		assert_batch(f, step_audit, &a);
		for (int64_t since = 0; since <= 110; since += 5) {
			uint64_t before = 0;

			for (int i = 1; i <= count; i++)
				before += 10 * ((i + 1) / 2) < since;
			assert_int_equal(store_audit_seek(f->s, since, &after, &f->e), 0);
			assert_int_equal(after, before);
		}
	}
}

/* ---- meta ---- */

struct blob {
	const char *name;
	const void *bytes;
	size_t len;
};

static int
step_meta(struct fixture *f, const void *arg, struct err *e)
{
	const struct blob *b = arg;

	return store_meta_put(f->s, b->name, b->bytes, b->len, e);
}

static void
test_meta(void **state)
{
	struct fixture *f = *state;
	static uint8_t full[STORE_META_MAX + 1], got[STORE_META_MAX];
	struct blob b = {"steady", "12345678", 8};
	char name[80];
	size_t len = 1;

	assert_int_equal(store_meta_get(f->s, "steady", got, sizeof(got), &len, &f->e), 0);
	assert_int_equal(len, 0);
	assert_batch(f, step_meta, &b);
	b = (struct blob){"full", full, STORE_META_MAX};
	memset(full, 3, sizeof(full));
	assert_batch(f, step_meta, &b);
	fixture_reopen(f);
	assert_int_equal(store_meta_get(f->s, "steady", got, sizeof(got), &len, &f->e), 1);
	assert_int_equal(len, 8);
	assert_memory_equal(got, "12345678", 8);
	assert_int_equal(store_meta_get(f->s, "full", got, sizeof(got), &len, &f->e), 1);
	assert_int_equal(len, STORE_META_MAX);
	assert_memory_equal(got, full, STORE_META_MAX);
	assert_int_equal(store_meta_get(f->s, "steady", got, 7, &len, &f->e), -1);
	assert_error(f, ERR_CORRUPT, "meta");

	b.len++;
	assert_int_equal(batch(f, step_meta, &b), -1);
	assert_error(f, ERR_INTERNAL, "full");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	const char *const reserved[] = {"format", "counts", "", name};
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		b = (struct blob){reserved[i], "x", 1};
		assert_int_equal(batch(f, step_meta, &b), -1);
		assert_int_equal(f->e.code, ERR_INTERNAL);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_open, fixture_free)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_insert_and_find),
	    T(test_insert_refuses_what_is_there),
	    T(test_a_refusal_leaves_the_batch_usable),
	    T(test_insert_refuses_a_record_that_is_off),
	    T(test_a_record_of_full_size),
	    T(test_update_moves_the_indexes),
	    T(test_rehash),
	    T(test_walk_all),
	    T(test_walk_owner),
	    T(test_plan_users_is_bounded),
	    T(test_damaged_records_are_named),
	    T(test_a_failed_write_poisons_the_batch),
	    T(test_an_aborted_batch_leaves_nothing),
	    T(test_batches_keep_their_rules),
	    T(test_plans),
	    T(test_damaged_plans_are_named),
	    T(test_audit),
	    T(test_audit_seek),
	    T(test_meta),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
