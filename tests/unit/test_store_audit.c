/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: whoever can write to a closed store, but has no pepper, cannot change the audit trail
 * without being found: whatever is edited, taken out, moved, added or cut off is named by its
 * number, and nothing else is, also after the trail has gone on, been pruned, or a pepper has gone.
 * Guards DESIGN.md "The audit trail".
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/audit.h"
#include "store_fixture.h"

/* ---- a sealer with two versions, of which the older may be forgotten ---- */

struct keys {
	struct digest_hmac *of[3];
	uint32_t newest;
};

static struct keys keys;

static int
fake_seal(void *cookie, struct span bytes, uint32_t *by, uint8_t out[32])
{
	struct keys *k = cookie;

	*by = k->newest;
	return digest_hmac_of(k->of[k->newest], bytes.p, bytes.len, out);
}

static int
fake_check(void *cookie, uint32_t by, struct span bytes, const uint8_t seal[32])
{
	struct keys *k = cookie;
	uint8_t own[DIGEST_LEN];

	if (by >= 3 || k->of[by] == NULL)
		return -1;
	assert_int_equal(digest_hmac_of(k->of[by], bytes.p, bytes.len, own), 0);
	return digest_equal(own, seal);
}

static const struct store_sealer sealer = {fake_seal, fake_check, &keys};

static void
key_gone(uint32_t version)
{
	digest_hmac_free(keys.of[version]);
	keys.of[version] = NULL;
}

static void
key_new(uint32_t version, const char *secret)
{
	key_gone(version);
	keys.of[version] = digest_hmac_new(secret, strlen(secret), NULL);
	assert_non_null(keys.of[version]);
	keys.newest = version;
}

/* What opening said: 1 the end is sound. */
static int
open_trail(struct fixture *f)
{
	int rc;

	fixture_open(f);
	rc = store_audit_open(f->s, &sealer, &f->e);
	assert_true(rc >= 0);
	return rc;
}

static int
reopen(struct fixture *f)
{
	store_close(&f->s);
	return open_trail(f);
}

static int
setup(void **state)
{
	fixture_make(state);
	key_new(1, "one");
	assert_int_equal(open_trail(*state), 1);
	return 0;
}

static int
teardown(void **state)
{
	key_gone(1);
	key_gone(2);
	return fixture_free(state);
}

/* ---- writing, as we do and as somebody does to the files ---- */

static int
step_append(struct fixture *f, const void *arg, struct err *e)
{
	const struct store_audit *a = arg;
	struct store_audit copy = *a;

	return store_audit_append(f->s, &copy, e);
}

static void
append(struct fixture *f, unsigned n)
{
	char subject[32];

	for (unsigned i = 0; i < n; i++) {
		uint64_t seq = store_audit_last(f->s) + 1;
		struct store_audit a = {.when_us = (int64_t)(seq * 1000),
		    .uid = 1000,
		    .pid = 77,
		    .actor = span_of("ann"),
		    .op = span_of("key.set"),
		    .detail = span_of("{\"plan\":{\"from\":\"a\",\"to\":\"b\"}}")};

		assert_true(snprintf(subject, sizeof(subject), "key_%u", (unsigned)seq) > 0);
		a.subject = span_of(subject);
		assert_batch(f, step_append, &a);
	}
}

struct raw {
	enum store_db db;
	struct span key;
	size_t len;
	uint8_t bytes[STORE_ENTRY_MAX];
};

static int
step_put(struct fixture *f, const void *arg, struct err *e)
{
	const struct raw *r = arg;

	return store_db_put(f->s, r->db, r->key, store_span(r->bytes, r->len), e);
}

static int
step_del(struct fixture *f, const void *arg, struct err *e)
{
	const struct raw *r = arg;

	return store_db_del(f->s, r->db, r->key, e) == 1 ? 0 : err_set(e, ERR_INTERNAL, "no such");
}

/* The stored record ${seq}; its key is in ${key}. */
static struct raw *
raw_get(struct fixture *f, uint64_t seq, uint8_t key[STORE_ENTRY_KEY])
{
	struct raw *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->db = STORE_DB_AUDIT;
	r->key = store_entry_key(key, seq);
	assert_int_equal(
	    store_db_get(f->s, r->db, r->key, r->bytes, sizeof(r->bytes), &r->len, &f->e), 1);
	return r;
}

static void
raw_del(struct fixture *f, uint64_t seq)
{
	uint8_t key[STORE_ENTRY_KEY];
	struct raw r = {.db = STORE_DB_AUDIT, .key = store_entry_key(key, seq)};

	assert_batch(f, step_del, &r);
}

static struct raw *
head_get(struct fixture *f)
{
	struct raw *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->db = STORE_DB_META;
	r->key = span_of(STORE_AUDIT_HEAD);
	assert_int_equal(
	    store_db_get(f->s, r->db, r->key, r->bytes, sizeof(r->bytes), &r->len, &f->e), 1);
	return r;
}

/* As version *cookie, by somebody who has not its key. */
static int
guess_seal(void *cookie, struct span bytes, uint32_t *by, uint8_t out[32])
{
	*by = *(uint32_t *)cookie;
	return digest_sha256(bytes.p, bytes.len, out, NULL);
}

/*
 * What somebody without a pepper can make: entry ${seq} with another subject behind ${prev}, its
 * hash right, as if sealed by version ${by}.
 */
static void
forge_as(struct fixture *f, uint32_t by, uint64_t seq, const uint8_t prev[DIGEST_LEN],
    uint8_t hash[DIGEST_LEN])
{
	const struct store_sealer nobody = {by != 0 ? guess_seal : NULL, NULL, &by};
	struct store_audit a = {.seq = seq,
	    .when_us = (int64_t)(seq * 1000),
	    .op = span_of("key.revoke"),
	    .subject = span_of("forged"),
	    .detail = span_of("{}")};
	uint8_t key[STORE_ENTRY_KEY];
	struct raw *r = calloc(1, sizeof(*r));
	struct wbuf w;

	assert_non_null(r);
	wbuf_init(&w, r->bytes, sizeof(r->bytes));
	assert_int_equal(store_entry_encode(&nobody, &a, prev, &w, hash, &f->e), 0);
	r->db = STORE_DB_AUDIT;
	r->key = store_entry_key(key, seq);
	r->len = w.len - STORE_ENTRY_KEY;
	memmove(r->bytes, r->bytes + STORE_ENTRY_KEY, r->len);
	assert_batch(f, step_put, r);
	free(r);
}

static void
forge(struct fixture *f, uint64_t seq, const uint8_t prev[DIGEST_LEN], uint8_t hash[DIGEST_LEN])
{
	forge_as(f, 0, seq, prev, hash);
}

/* The link of a stored entry, as the next one has it. */
static void
hash_of(struct fixture *f, uint64_t seq, uint8_t hash[DIGEST_LEN])
{
	uint8_t key[STORE_ENTRY_KEY];
	struct raw *r = raw_get(f, seq, key);

	assert_int_equal(
	    digest_sha256(r->bytes + r->len - 2 * DIGEST_LEN - 4, 2 * DIGEST_LEN + 4, hash, &f->e),
	    0);
	free(r);
}

/* ---- verifying ---- */

struct flaws {
	char text[512]; /* "changed 3-3 missing 5-6 " */
};

static void
found(void *cookie, enum store_flaw flaw, uint64_t from, uint64_t to)
{
	static const char *const names[] = {
	    "missing", "changed", "replaced", "unreadable", "foreign", "head", "unexpected"};
	struct flaws *x = cookie;
	size_t at = strlen(x->text);

	(void)snprintf(x->text + at, sizeof(x->text) - at, "%s %llu-%llu ", names[flaw],
	    (unsigned long long)from, (unsigned long long)to);
}

/* What is found, in slices of ${max}. */
static const char *
verify_as(struct fixture *f, struct store_chain *v, unsigned max)
{
	static struct flaws x;
	int rc;

	x.text[0] = '\0';
	while ((rc = store_audit_verify(f->s, v, max, found, &x, &f->e)) == 1)
		;
	if (rc != 0)
		fail_msg("%s", f->e.msg);
	return x.text;
}

static const char *
verify(struct fixture *f)
{
	struct store_chain whole = {0}, sliced = {0};
	char text[512];

	assert_int_equal(span_copy(text, sizeof(text), span_of(verify_as(f, &whole, 1000))), 0);
	assert_string_equal(verify_as(f, &sliced, 1), text);
	assert_int_equal(whole.looked, sliced.looked);
	return verify_as(f, &(struct store_chain){0}, 3);
}

/* ---- tests ---- */

static void
a_trail_is_intact(void **state)
{
	struct fixture *f = *state;
	struct store_chain v = {0};

	assert_string_equal(verify(f), "");
	append(f, 40);
	assert_string_equal(verify(f), "");
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify_as(f, &v, 7), "");
	assert_int_equal(v.looked, 40);
	append(f, 1);
	assert_string_equal(verify(f), "");
}

static void
each_byte_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t key[STORE_ENTRY_KEY];
	struct raw *r;

	append(f, 5);
	r = raw_get(f, 3, key);
	for (size_t i = 0; i < r->len; i++) {
		r->bytes[i] ^= 1;
		assert_batch(f, step_put, r);
		/* Another who sealed: that one nobody knows, but entry 4 was not written behind it.
		 */
		if (strcmp(verify(f), "changed 3-3 ") != 0 &&
		    strcmp(verify(f), "unreadable 3-3 ") != 0 &&
		    strcmp(verify(f), "replaced 3-3 ") != 0)
			fail_msg("byte %zu of %zu: %s", i, r->len, verify(f));
		r->bytes[i] ^= 1;
	}
	/* Shorter, longer, much longer, of another form. */
	r->len--;
	assert_batch(f, step_put, r);
	assert_string_equal(verify(f), "unreadable 3-3 ");
	r->len += 2;
	assert_batch(f, step_put, r);
	assert_string_equal(verify(f), "unreadable 3-3 ");
	r->len = sizeof(r->bytes);
	assert_batch(f, step_put, r);
	assert_string_equal(verify(f), "unreadable 3-3 ");
	free(r);
}

/* Taken out: the first, one within, several, the last ones. */
static void
removals_are_named(void **state)
{
	struct fixture *f = *state;

	append(f, 20);
	raw_del(f, 1);
	raw_del(f, 7);
	for (uint64_t seq = 10; seq <= 12; seq++)
		raw_del(f, seq);
	raw_del(f, 19);
	raw_del(f, 20);
	assert_string_equal(verify(f), "missing 1-1 missing 7-7 missing 10-12 missing 19-20 ");
	/* And stay so when the trail goes on. */
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "missing 1-1 missing 7-7 missing 10-12 missing 19-20 ");
	append(f, 2);
	assert_int_equal(store_audit_last(f->s), 22);
	assert_string_equal(verify(f), "missing 1-1 missing 7-7 missing 10-12 missing 19-20 ");
}

static void
all_of_it_is_missing(void **state)
{
	struct fixture *f = *state;

	append(f, 3);
	for (uint64_t seq = 1; seq <= 3; seq++)
		raw_del(f, seq);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "missing 1-3 ");
}

static void
swapped_entries_are_named(void **state)
{
	struct fixture *f = *state;
	uint8_t key3[STORE_ENTRY_KEY], key6[STORE_ENTRY_KEY];
	struct raw *three, *six;
	struct span key;

	append(f, 9);
	three = raw_get(f, 3, key3);
	six = raw_get(f, 6, key6);
	key = three->key;
	three->key = six->key;
	six->key = key;
	assert_batch(f, step_put, three);
	assert_batch(f, step_put, six);
	assert_string_equal(verify(f), "changed 3-3 changed 6-6 ");
	/* One moved behind the end. */
	raw_del(f, 3);
	raw_del(f, 6);
	assert_int_equal(reopen(f), 1);
	three->key = store_entry_key(key3, 10);
	assert_batch(f, step_put, three);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "missing 3-3 missing 6-6 changed 10-10 ");
	free(three);
	free(six);
}

/* The hashes are right, from the forged entry to the end; the seals are what nobody else can make.
 */
static void
hashing_anew_does_not_help(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[DIGEST_LEN];

	append(f, 10);
	hash_of(f, 4, hash);
	forge(f, 5, hash, hash);
	assert_string_equal(verify(f), "replaced 5-5 ");
	for (uint64_t seq = 6; seq <= 10; seq++)
		forge(f, seq, hash, hash);
	assert_string_equal(verify(f), "replaced 10-10 ");
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "replaced 10-10 ");
	append(f, 3);
	assert_string_equal(verify(f), "replaced 10-10 ");
	/* Seals that are made up are seen in each. */
	hash_of(f, 1, hash);
	for (uint64_t seq = 2; seq <= 4; seq++)
		forge_as(f, 1, seq, hash, hash);
	assert_string_equal(verify(f), "changed 2-2 changed 3-3 changed 4-4 replaced 10-10 ");
}

static void
added_entries_are_named(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[DIGEST_LEN], key[STORE_ENTRY_KEY];
	struct raw odd = {.db = STORE_DB_AUDIT, .key = span_of("x"), .len = 1};

	append(f, 4);
	hash_of(f, 4, hash);
	forge(f, 5, hash, hash);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "replaced 5-5 ");
	/* The next one is not written behind it. */
	append(f, 1);
	assert_int_equal(store_audit_last(f->s), 6);
	assert_string_equal(verify(f), "replaced 5-5 ");
	/* What has no number of ours. */
	assert_batch(f, step_put, &odd);
	odd.key = store_entry_key(key, UINT64_MAX);
	assert_batch(f, step_put, &odd);
	assert_int_equal(reopen(f), 1);
	assert_int_equal(store_audit_last(f->s), 6);
	assert_string_equal(verify(f), "replaced 5-5 foreign 6-6 foreign 6-6 ");
	append(f, 1);
	assert_string_equal(verify(f), "replaced 5-5 foreign 7-7 foreign 7-7 ");
}

/* Somebody cuts the end off and makes the head fit, as far as that is possible. */
static void
a_head_is_not_made(void **state)
{
	struct fixture *f = *state;
	struct store_trail t = {.last = 4};
	struct raw *head;
	struct wbuf w;

	append(f, 6);
	head = head_get(f);
	raw_del(f, 5);
	raw_del(f, 6);
	hash_of(f, 4, t.hash);
	wbuf_init(&w, head->bytes, sizeof(head->bytes));
	assert_int_equal(store_head_encode(&(struct store_sealer){0}, &t, &w, &f->e), 0);
	head->len = w.len;
	assert_batch(f, step_put, head);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "head 0-4 ");
	/* It is not made good by going on. */
	assert_int_equal(reopen(f), 0);
	append(f, 2);
	assert_string_equal(verify(f), "missing 5-5 ");
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify(f), "missing 5-5 ");
	free(head);
}

static void
a_head_is_not_taken_away(void **state)
{
	struct fixture *f = *state;
	struct raw *head;
	struct key k;

	append(f, 3);
	key_make(&k, 1);
	assert_batch(f, step_insert, &k);
	head = head_get(f);
	assert_batch(f, step_del, head);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "head 0-3 ");
	/* With all entries, too; and that of a new store does not serve. */
	for (uint64_t seq = 1; seq <= 3; seq++)
		raw_del(f, seq);
	assert_int_equal(reopen(f), 0);
	assert_string_equal(verify(f), "head 0-0 ");
	memset(head->bytes, 0, head->len);
	head->bytes[0] = 1;
	assert_batch(f, step_put, head);
	assert_int_equal(reopen(f), 0);
	append(f, 1);
	assert_string_equal(verify(f), "missing 1-1 ");
	free(head);
}

/* The one thing that nothing in the store can tell: all of it was put back.  Who wrote the hash of
 * an entry down knows. */
static void
a_store_put_back_is_known_by_a_hash(void **state)
{
	struct fixture *f = *state;
	struct store_audit other = {.op = span_of("other")};
	struct store_chain v = {0};
	struct raw *head;

	append(f, 4);
	head = head_get(f);
	append(f, 2);
	v.expect = store_audit_head(f->s, v.expect_hash);
	assert_int_equal(v.expect, 6);
	assert_string_equal(verify_as(f, &v, 2), "");
	raw_del(f, 5);
	raw_del(f, 6);
	assert_batch(f, step_put, head);
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify(f), "");
	v.after = v.linked = 0;
	assert_string_equal(verify_as(f, &v, 100), "unexpected 6-6 ");
	assert_batch(f, step_append, &other);
	assert_batch(f, step_append, &other);
	v.after = v.linked = 0;
	assert_string_equal(verify_as(f, &v, 2), "unexpected 6-6 ");
	free(head);
}

/* A pepper goes: what it sealed is still vouched for by what was sealed later. */
static void
a_key_that_goes_takes_no_proof_along(void **state)
{
	struct fixture *f = *state;
	uint8_t key[STORE_ENTRY_KEY], hash[DIGEST_LEN];
	struct raw *r;

	append(f, 5);
	key_new(2, "two");
	/* Nothing is appended: the head alone is sealed anew. */
	assert_int_equal(store_audit_open(f->s, &sealer, &f->e), 1);
	key_gone(1);
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify(f), "");
	append(f, 3);
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify(f), "");
	r = raw_get(f, 2, key);
	r->bytes[3] ^= 1;
	assert_batch(f, step_put, r);
	assert_string_equal(verify(f), "changed 2-2 ");
	r->bytes[3] ^= 1;
	r->bytes[r->len - 1] ^= 1; /* a seal that cannot be looked at any more */
	assert_batch(f, step_put, r);
	assert_string_equal(verify(f), "replaced 2-2 ");
	hash_of(f, 1, hash);
	for (uint64_t seq = 2; seq <= 5; seq++)
		forge(f, seq, hash, hash);
	assert_string_equal(verify(f), "replaced 5-5 ");
	free(r);
}

static int
step_prune(struct fixture *f, const void *arg, struct err *e)
{
	return store_audit_prune(f->s, *(const int64_t *)arg, 4, e) < 0 ? -1 : 0;
}

static int
step_told(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	store_audit_pruned_told(f->s);
	return 0;
}

static void
pruning_keeps_the_chain(void **state)
{
	struct fixture *f = *state;
	struct store_pruned gone;
	struct store_chain v = {0};
	int64_t before_us = 8000;
	uint8_t hash[DIGEST_LEN];
	uint64_t after;

	append(f, 20);
	hash_of(f, 7, hash);
	store_audit_pruned(f->s, &gone);
	assert_int_equal(gone.to, 0);
	/* A slice is 4; those up to 7 are older. */
	assert_batch(f, step_prune, &before_us);
	store_audit_pruned(f->s, &gone);
	assert_int_equal(gone.from, 1);
	assert_int_equal(gone.to, 4);
	assert_string_equal(verify(f), "");
	/* One that was verified up to where is pruned meanwhile. */
	assert_int_equal(store_audit_verify(f->s, &v, 2, found, &(struct flaws){0}, &f->e), 1);
	assert_int_equal(v.after, 6);
	for (int i = 0; i < 3; i++)
		assert_batch(f, step_prune, &before_us);
	assert_string_equal(verify_as(f, &v, 3), "");
	assert_int_equal(reopen(f), 1);
	store_audit_pruned(f->s, &gone);
	assert_int_equal(gone.to, 7);
	assert_memory_equal(gone.hash, hash, sizeof(hash));
	assert_batch(f, step_told, NULL);
	store_audit_pruned(f->s, &gone);
	assert_int_equal(gone.to, 0);
	assert_string_equal(verify(f), "");
	assert_int_equal(store_audit_seek(f->s, 0, &after, &f->e), 0);
	assert_int_equal(after, 7);
	assert_int_equal(store_audit_seek(f->s, 12000, &after, &f->e), 0);
	assert_int_equal(after, 11);
	/* What goes without having been pruned is missed. */
	raw_del(f, 8);
	assert_string_equal(verify(f), "missing 8-8 ");
	/* The newest always stays. */
	before_us = INT64_MAX;
	for (int i = 0; i < 9; i++)
		assert_batch(f, step_prune, &before_us);
	store_audit_pruned(f->s, &gone);
	assert_int_equal(gone.to, 19);
	assert_string_equal(verify(f), "");
	append(f, 1);
	assert_string_equal(verify(f), "");
}

/*
 * Pages that are written, forgotten and read again, the first one of the file among them: that was
 * taken for damaged, because its checksum was looked for where it is not.
 */
static void
a_trail_larger_than_the_cache(void **state)
{
	static char detail[STORE_AUDIT_DETAIL_MAX];
	struct fixture *f = *state;
	int64_t before_us = 350;
	struct store_audit a = {.op = span_of("x")};

	store_close(&f->s);
	f->cache_bytes = 1;
	assert_int_equal(open_trail(f), 1);
	memset(detail, 'x', sizeof(detail));
	a.detail = store_span(detail, sizeof(detail));
	for (a.when_us = 1; a.when_us <= 400; a.when_us++)
		assert_batch(f, step_append, &a);
	assert_string_equal(verify_as(f, &(struct store_chain){0}, 1000), "");
	for (int i = 0; i < 350 / 4; i++)
		assert_batch(f, step_prune, &before_us);
	assert_string_equal(verify_as(f, &(struct store_chain){0}, 1000), "");
	append(f, 3);
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify_as(f, &(struct store_chain){0}, 1000), "");
}

static int
step_append_and_fail(struct fixture *f, const void *arg, struct err *e)
{
	assert_int_equal(step_append(f, arg, e), 0);
	assert_int_equal(step_append(f, arg, e), 0);
	return err_set(e, ERR_USAGE, "changed my mind");
}

static void
an_aborted_batch_breaks_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_audit a = {.op = span_of("x")};
	int64_t before_us = 3000;

	append(f, 2);
	assert_int_equal(batch(f, step_append_and_fail, &a), -1);
	assert_string_equal(verify(f), "");
	append(f, 2);
	assert_batch(f, step_prune, &before_us);
	assert_int_equal(batch(f, step_append_and_fail, &a), -1);
	assert_int_equal(reopen(f), 1);
	assert_string_equal(verify(f), "");
	assert_int_equal(store_audit_last(f->s), 4);
}

/* A damaged entry is shown as such, and those around it are read. */
static unsigned seen, seen_damaged;

static int
see(void *cookie, const struct store_audit *a, struct err *e)
{
	(void)cookie;
	(void)e;
	seen++;
	if (!a->damaged)
		return 0;
	seen_damaged++;
	assert_int_equal(a->seq, 3);
	return 0;
}

static void
a_damaged_trail_is_read(void **state)
{
	struct fixture *f = *state;
	uint8_t key[STORE_ENTRY_KEY];
	uint64_t after;
	struct raw *r;

	append(f, 6);
	r = raw_get(f, 3, key);
	r->len = 2;
	assert_batch(f, step_put, r);
	raw_del(f, 5);
	seen = seen_damaged = 0;
	assert_int_equal(store_audit_walk(f->s, 0, see, NULL, &f->e), 0);
	assert_int_equal(seen, 5);
	assert_int_equal(seen_damaged, 1);
	for (int64_t since = 500; since <= 6500; since += 1000) {
		assert_int_equal(store_audit_seek(f->s, since, &after, &f->e), 0);
		/* The entry behind ${after} is the first that is not older, but for the damaged. */
		assert_true((int64_t)after * 1000 < since);
		assert_true((int64_t)(after + 1 + (after == 2) + (after == 4)) * 1000 >= since);
	}
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	    T(a_trail_is_intact),
	    T(each_byte_counts),
	    T(removals_are_named),
	    T(all_of_it_is_missing),
	    T(swapped_entries_are_named),
	    T(hashing_anew_does_not_help),
	    T(added_entries_are_named),
	    T(a_head_is_not_made),
	    T(a_head_is_not_taken_away),
	    T(a_store_put_back_is_known_by_a_hash),
	    T(a_key_that_goes_takes_no_proof_along),
	    T(pruning_keeps_the_chain),
	    T(a_trail_larger_than_the_cache),
	    T(an_aborted_batch_breaks_nothing),
	    T(a_damaged_trail_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
