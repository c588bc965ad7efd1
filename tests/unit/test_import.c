/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a key that was imported by its SHA-256 is found by the key and by nothing else, neither by
 * its hash nor through a record of the other kind; and an import leaves all of its records or no
 * trace.  Guards Invariants 4 and 6.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"

#define OPS_TEST_RECORDS 100
#define FOREIGN "foreign-key/0123456789+abc=="

static void
hash_of(const char *key, char hex[65])
{
	uint8_t hash[DIGEST_LEN];

	assert_int_equal(digest_sha256(key, strlen(key), hash, NULL), 0);
	digest_hex(hash, sizeof(hash), hex);
}

/* A credential of any form. */
static enum verdict
verdict_of(struct kf *f, const char *key)
{
	struct wire_check c = {
	    .client = 1, .seq = 1, .cost = 1, .credential = span_of(key), .deadline_us = INT64_MAX};
	struct wire_answer a;

	return kf_decide(f, &c, &a, NULL);
}

static void
accept_foreign(struct kf *f, int yes)
{
	f->config.accept_foreign_keys = yes;
	assert_int_equal(decide_configure(f->decide, &f->config, &f->e), 0);
}

static void
import(struct kf *f, const char *key)
{
	char request[256], hex[65];

	hash_of(key, hex);
	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"key.create\",\"owner\":\"acme\",\"digest\":\"sha256:%s\"}", hex);
	kf_done(f, request);
}

static void
found_by_the_key_alone(void **state)
{
	struct kf *f = *state;
	char hex[65];

	import(f, FOREIGN);
	assert_int_equal(store_imported(f->store), 1);
	/* Not without the setting. */
	accept_foreign(f, 0);
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_KEY_INVALID);
	accept_foreign(f, 1);
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_OK);
	hash_of(FOREIGN, hex);
	assert_int_equal(verdict_of(f, hex), VERDICT_KEY_INVALID);
	assert_int_equal(verdict_of(f, ""), VERDICT_KEY_INVALID);
	assert_int_equal(verdict_of(f, "with space"), VERDICT_KEY_INVALID);
}

struct planted {
	struct kf *f;
	const void *secret;
	size_t len;
	enum keyrec_digest of;
	const char *id;
};

/* A record under the digest of these bytes, which says what it likes of them. */
static int
plant(void *cookie, struct err *e)
{
	const struct planted *p = cookie;
	uint8_t digest[DIGEST_LEN];
	struct keyrec rec = {.pepper = 1,
	    .owner = span_of("acme"),
	    .plan = span_of("default"),
	    .digest_of = p->of,
	    .created_us = T0};

	assert_int_equal(span_copy(rec.id, sizeof(rec.id), span_of(p->id)), 0);
	if (peppers_digest(p->f->peppers, 0, (struct span){p->secret, p->len}, digest) != 0)
		return -1;
	return store_key_insert(p->f->store, digest, &rec, e);
}

/* The 32 bytes of a hash could be text: what is found by one is not to be let in by the other. */
static void
kinds_are_not_mixed(void **state)
{
	struct kf *f = *state;
	uint8_t hash[DIGEST_LEN];
	struct planted as_hash = {
	    f, FOREIGN, strlen(FOREIGN), KEYREC_OF_SHA256, "key_aaaaaaaaaaaaaaaa"};
	struct planted as_key = {f, hash, sizeof(hash), KEYREC_OF_KEY, "key_bbbbbbbbbbbbbbbb"};

	accept_foreign(f, 1);
	assert_int_equal(digest_sha256(FOREIGN, strlen(FOREIGN), hash, NULL), 0);
	assert_int_equal(store_batch(f->store, plant, &as_hash, &f->e), 0);
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_KEY_INVALID);
	assert_int_equal(store_batch(f->store, plant, &as_key, &f->e), 0);
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_KEY_INVALID);
}

static void
moves_with_the_peppers(void **state)
{
	struct kf *f = *state;
	struct store_secrets n;
	uint32_t version;

	accept_foreign(f, 1);
	import(f, FOREIGN);
	assert_int_equal(
	    peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &version, &f->e), 0);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_OK);
	assert_int_equal(store_secrets_get(f->store, version, &n, &f->e), 0);
	assert_int_equal(n.n[STORE_SECRET_LIVE], 1);
	assert_int_equal(store_imported(f->store), 1);
	assert_int_equal(verdict_of(f, FOREIGN), VERDICT_OK);
}

static size_t
size_of(const cJSON *r, const char *name)
{
	return (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(r, name));
}

static void
all_or_nothing(void **state)
{
	char many[300];
	struct wbuf w;
	struct kf *f = *state;
	struct store_stat before, after;
	cJSON *r;

	assert_int_equal(store_stat(f->store, &before, &f->e), 0);
	r = kf_do(f, "{\"op\":\"key.import\",\"keys\":[{\"owner\":\"a\"},{\"owner\":\"b\",\"plan\":"
		     "\"none\"},"
		     "{\"owner\":\"c\"},7]}");
	assert_int_equal(f->changed, 1); /* the reply waits for the disk all the same */
	assert_int_equal(size_of(r, "refused"), 2);
	assert_int_equal(size_of(r, "keys"), 0);
	assert_int_equal(json_int(r, "imported", 9, 0, 9, NULL), 0);
	cJSON_Delete(r);
	assert_int_equal(store_stat(f->store, &after, &f->e), 0);
	assert_int_equal(after.keys, before.keys);
	assert_int_equal(after.audit, before.audit);
	r = kf_do(f, "{\"op\":\"key.import\",\"dry_run\":true,\"keys\":[{\"owner\":\"a\"}]}");
	assert_int_equal(f->changed, 1);
	assert_int_equal(json_int(r, "imported", 9, 0, 9, NULL), 1);
	assert_int_equal(size_of(r, "keys"), 0);
	cJSON_Delete(r);
	assert_int_equal(store_stat(f->store, &after, &f->e), 0);
	assert_int_equal(after.keys, before.keys);
	assert_int_equal(after.audit, before.audit);
	r = kf_do(f, "{\"op\":\"key.import\",\"keys\":[{\"owner\":\"a\"},{\"owner\":\"b\"}]}");
	assert_int_equal(size_of(r, "keys"), 2);
	cJSON_Delete(r);
	assert_int_equal(store_stat(f->store, &after, &f->e), 0);
	assert_int_equal(after.keys, before.keys + 2);
	assert_true(after.audit >= before.audit + 2);
	kf_fails(f, "{\"op\":\"key.import\",\"keys\":[]}", "usage", "1 to 100");
	/* Checks wait for an import, so it has an end. */
	wbuf_init(&w, many, sizeof(many) - 1);
	wbuf_str(&w, "{\"op\":\"key.import\",\"keys\":[0");
	for (int i = 0; i < 100; i++)
		wbuf_str(&w, ",0");
	wbuf_str(&w, "]}");
	many[w.len] = '\0';
	kf_fails(f, many, "usage", "1 to 100");
	kf_fails(f, "{\"op\":\"key.import\"}", "usage", "keys");
}

/* Many refusals do not make a reply that fits no message. */
static void
replies_are_bounded(void **state)
{
	struct kf *f = *state;
	char *request = malloc(100000);
	size_t len = 0;
	cJSON *r;

	assert_non_null(request);
	len = (size_t)snprintf(request, 100000, "{\"op\":\"key.import\",\"keys\":[");
	for (unsigned i = 0; i < OPS_TEST_RECORDS; i++)
		len += (size_t)snprintf(request + len, 100000 - len,
		    "%s{\"owner\":\"a\",\"plan\":\"%064u\"}", i == 0 ? "" : ",", i);
	(void)snprintf(request + len, 100000 - len, "]}");
	r = kf_do(f, request);
	assert_true(size_of(r, "refused") > 0 && size_of(r, "refused") < OPS_TEST_RECORDS);
	assert_int_equal(
	    size_of(r, "refused") + (size_t)json_int(r, "more_refused", 0, 0, 999, NULL),
	    OPS_TEST_RECORDS);
	cJSON_Delete(r);
	free(request);
}

/* A line by itself: refused with these words, or imported when they are NULL. */
static void
line(struct kf *f, const char *members, const char *words)
{
	char request[512];
	const cJSON *first;
	cJSON *r;

	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"key.import\",\"keys\":[{\"owner\":\"a\",%s}]}", members);
	r = kf_do(f, request);
	first = cJSON_GetArrayItem(cJSON_GetObjectItem(r, "refused"), 0);
	if (words == NULL && first != NULL)
		fail_msg("%s -> %s", members, json_str(first, "message", NULL));
	if (words != NULL &&
	    (first == NULL || strstr(json_str(first, "message", NULL), words) == NULL))
		fail_msg("%s was not refused with \"%s\"", members, words);
	cJSON_Delete(r);
}

/* Bug: a line that said of its key that it was expired or revoked, in one place and not in the
 * other, made a valid one. */
static void
contradictions_are_refused(void **state)
{
	struct kf *f = *state;

	line(f, "\"state\":\"expired\"", "expires");
	line(f, "\"state\":\"expired\",\"expires\":\"2099-01-01T00:00:00Z\"", "expires");
	line(f, "\"state\":\"disabled\",\"own_state\":\"expired\"", "expires");
	line(f, "\"state\":\"revoked\",\"own_state\":\"active\"", "own_state");
	line(f, "\"state\":\"pending\"", "not_before");
	line(f, "\"revoked\":\"2026-01-01T00:00:00Z\"", "revoked");
	line(f, "\"state\":\"active\",\"revoked\":\"2026-01-01T00:00:00Z\"", "revoked");
	line(f, "\"state\":\"expired\",\"expires\":\"2026-01-01T00:00:00Z\"", NULL);
	/* It was written when that time was ahead. */
	line(f, "\"state\":\"pending\",\"not_before\":\"2026-01-01T00:00:00Z\"", NULL);
	line(f, "\"state\":\"revoked\"", NULL);
	line(f, "\"state\":\"revoked\",\"revoked\":\"2026-01-01T00:00:00Z\"", NULL);
	line(f, "\"state\":\"active\",\"revoked\":null", NULL);
	line(f, "\"state\":\"disabled\",\"own_state\":\"active\",\"owner_disabled\":true", NULL);
}

/* Bug: a secret of the next century is never due, whatever age its plan allows; ways without a time
 * of exposure hid the next one. */
static void
times_are_not_ahead(void **state)
{
	struct kf *f = *state;
	char hex[65], members[256];
	cJSON *r;

	hash_of(FOREIGN, hex);
	(void)snprintf(members, sizeof(members),
	    "\"id\":\"key_aaaaaaaaaaaaaaaa\",\"digest\":\"sha256:%s\",\"secret_created\":"
	    "\"2099-01-01T00:00:00Z\",\"exposed_ways\":[\"url\"]",
	    hex);
	line(f, members, NULL);
	r = kf_do(f, "{\"op\":\"key.show\",\"id\":\"key_aaaaaaaaaaaaaaaa\"}");
	assert_string_equal(json_str(r, "secret_created", NULL), json_str(r, "created", NULL));
	assert_non_null(json_str(r, "exposed", NULL));
	cJSON_Delete(r);
}

/* Bug: a short key, given as the start of itself as well, was stored as it is. */
static void
the_start_is_not_the_key(void **state)
{
	struct kf *f = *state;
	char hex[65], members[256];
	cJSON *all;
	char *text;

	hash_of("short-1", hex);
	(void)snprintf(
	    members, sizeof(members), "\"digest\":\"sha256:%s\",\"start\":\"short-1\"", hex);
	line(f, members, "start");
	(void)snprintf(
	    members, sizeof(members), "\"digest\":\"sha256:%s\",\"start\":\"shor\"", hex);
	line(f, members, NULL);
	all = kf_trail(f);
	text = cJSON_PrintUnformatted(all);
	assert_null(strstr(text, "short-1"));
	cJSON_free(text);
	cJSON_Delete(all);
}

/* Bug: what is passed over, whatever somebody has written there, stood in the audit trail. */
static void
the_trail_tells_what_was_taken(void **state)
{
	struct kf *f = *state;
	cJSON *all;
	char *text;

	line(f,
	    "\"name\":\"taken\",\"limits\":\"passed over\",\"last_used\":{\"x\":\"passed over\"}",
	    NULL);
	all = kf_trail(f);
	text = cJSON_PrintUnformatted(all);
	assert_non_null(strstr(text, "taken"));
	assert_null(strstr(text, "passed over"));
	cJSON_free(text);
	cJSON_Delete(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(contradictions_are_refused, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(times_are_not_ahead, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(the_start_is_not_the_key, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(the_trail_tells_what_was_taken, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(found_by_the_key_alone, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(kinds_are_not_mixed, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(moves_with_the_peppers, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(all_or_nothing, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(replies_are_bounded, kf_setup, kf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
