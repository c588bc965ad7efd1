/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a pepper goes only when no key needs it, or by force; and whatever a kill leaves between
 * the two changes of store and pepper file, the store opens with every key that it had.  A pepper
 * that keys need is missed, one that was replaced is noticed.  Guards Invariant 5.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"

#include "keeper/fingerprints.h"

#define HEX1 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static uint32_t
add(struct kf *f)
{
	uint32_t version;

	if (peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &version, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	return version;
}

static int
take_out(struct kf *f, uint32_t version)
{
	return peppers_remove(f->pepper_file, (unsigned)-1, (unsigned)-1, version, &f->e);
}

static void
retire(struct kf *f, uint32_t version, int force)
{
	char request[96];

	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"pepper.retire\",\"version\":%u,\"force\":%s}", (unsigned)version,
	    force ? "true" : "false");
	kf_done(f, request);
}

/* A new start: store and peppers as they are on disk. */
static struct peppers *
restart(struct kf *f)
{
	struct peppers *p;

	store_close(&f->store);
	peppers_free(&f->peppers);
	decide_free(&f->decide);
	kf_open(f);
	if ((p = fingerprints_load(f->store, f->pepper_file, &f->e)) == NULL)
		return NULL;
	peppers_free(&f->peppers);
	f->peppers = p;
	decide_set_peppers(f->decide, p);
	return p;
}

static void
opens(struct kf *f, size_t peppers)
{
	if (restart(f) == NULL)
		fail_msg("%s", f->e.msg);
	assert_int_equal(peppers_count(f->peppers), peppers);
}

static void
does_not_open(struct kf *f, const char *words)
{
	assert_null(restart(f));
	if (f->e.code != ERR_CONFLICT || strstr(f->e.msg, words) == NULL)
		fail_msg("%s: %s", err_name(f->e.code), f->e.msg);
}

static uint64_t
under(struct kf *f, uint32_t version)
{
	struct store_secrets n;

	assert_int_equal(store_secrets_get(f->store, version, &n, &f->e), 0);
	return n.n[STORE_SECRET_LIVE];
}

static void
only_when_no_key_needs_it(void **state)
{
	struct kf *f = *state;
	struct kf_key used = kf_key(f, ""), idle = kf_key(f, ""), revoked = kf_key(f, "");
	uint64_t last;
	uint32_t newest;

	kf_done(f, kf_on("key.revoke", revoked.id, ""));
	kf_fails(f, "{\"op\":\"pepper.retire\",\"version\":1}", "conflict", "newest");
	newest = add(f);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	assert_int_equal(kf_verdict(f, &used), VERDICT_OK);
	assert_int_equal(under(f, newest), 1);
	kf_fails(f, "{\"op\":\"pepper.retire\",\"version\":1}", "conflict",
	    "1 keys (and 0 old secrets in their grace) still need pepper 1");
	kf_fails(f, "{\"op\":\"pepper.retire\",\"version\":7}", "not_found", "no pepper 7");
	kf_fails(f, "{\"op\":\"pepper.retire\",\"version\":0}", "usage", "version");
	assert_int_equal(kf_verdict(f, &idle), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &revoked), VERDICT_KEY_REVOKED);
	retire(f, 1, 0);
	/* In force at once, before the file is changed. */
	assert_int_equal(peppers_count(f->peppers), 1);
	assert_int_equal(kf_verdict(f, &used), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &revoked), VERDICT_KEY_INVALID);
	assert_int_equal(take_out(f, 1), 1);
	opens(f, 1);
	assert_int_equal(kf_verdict(f, &idle), VERDICT_OK);
	/* Again: nothing is done, and nothing is told. */
	last = store_audit_last(f->store);
	retire(f, 1, 0);
	assert_int_equal(f->changed, 1); /* the reply waits for the disk all the same */
	assert_int_equal(store_audit_last(f->store), last);
}

struct rotation {
	struct kf *f;
	const struct kf_key *key;
	int64_t until_us;
};

/* As key.rotate does it. */
static int
rotate(void *cookie, struct err *e)
{
	const struct rotation *r = cookie;
	uint8_t from[STORE_DIGEST_LEN], to[STORE_DIGEST_LEN], buf[KEYREC_MAX];
	struct keyrec rec;

	if (store_key_find(r->f->store, span_of(r->key->id), from, e) != 1 ||
	    store_key_get(r->f->store, from, buf, &rec, e) != 1)
		return -1;
	memcpy(to, from, sizeof(to));
	to[0] ^= 0xff;
	rec.pepper = 2;
	rec.previous = from;
	rec.previous_until_us = r->until_us;
	return store_key_rotate(r->f->store, from, to, &rec, e);
}

/* The secret before a rotation needs its pepper until its grace ends, and not longer. */
static void
old_secrets_in_grace_need_it(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	struct rotation r = {.f = f, .key = &k, .until_us = T0 + 100};

	(void)add(f);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	assert_int_equal(store_batch(f->store, rotate, &r, &f->e), 0);
	assert_int_equal(under(f, 1), 0);
	f->now.wall_us = T0 + 99;
	kf_fails(f, "{\"op\":\"pepper.retire\",\"version\":1}", "conflict",
	    "0 keys (and 1 old secrets in their grace) still need pepper 1");
	f->now.wall_us = T0 + 100;
	retire(f, 1, 0);
}

static void
by_force(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	cJSON *r;

	(void)add(f);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	r = kf_do(f, "{\"op\":\"pepper.retire\",\"version\":1,\"force\":true}");
	assert_int_equal(json_int(r, "lost", 0, 0, 9, NULL), 1);
	assert_string_equal(json_str(r, "source", NULL), "file");
	cJSON_Delete(r);
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_INVALID);
	/* They are told, and can be listed. */
	r = kf_do(f, "{\"op\":\"pepper.list\"}");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(r, "peppers")), 2);
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"key.list\",\"pepper\":1}");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(r, "keys")), 1);
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"key.list\",\"pepper\":2}");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(r, "keys")), 0);
	cJSON_Delete(r);
	opens(f, 1);
}

/* A kill after each write of add and retire: what is there then must open, with all keys. */
static void
every_state_between_opens(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");

	opens(f, 1); /* fingerprint of 1 */
	/* add: in the file, not in the store. */
	(void)add(f);
	opens(f, 2);
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK); /* moves to 2 */
	/* retire: in the store, still in the file. */
	retire(f, 1, 0);
	opens(f, 1);
	assert_int_equal(peppers_version(f->peppers, 0), 2);
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	/* ... and out of the file. */
	assert_int_equal(take_out(f, 1), 1);
	opens(f, 1);
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
}

static void
write_file(struct kf *f, const char *text)
{
	FILE *file;

	assert_int_equal(unlink(f->pepper_file), 0);
	file = fopen(f->pepper_file, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fchmod(fileno(file), 0400), 0);
	assert_int_equal(fclose(file), 0);
}

/* A file from a backup that lacks versions, or with others in their place. */
static void
older_files(void **state)
{
	struct kf *f = *state;
	char backup[512] = "";
	FILE *file = fopen(f->pepper_file, "r");
	struct kf_key k;

	assert_non_null(file);
	assert_true(fread(backup, 1, sizeof(backup) - 1, file) > 0);
	fclose(file);
	(void)add(f);
	opens(f, 2);
	/* Nothing is under 2 yet: its loss is none, and another one may take its place. */
	write_file(f, backup);
	opens(f, 1);
	(void)add(f);
	opens(f, 2);
	k = kf_key(f, "");
	assert_int_equal(under(f, 2), 1);
	/* Now a key needs it. */
	write_file(f, backup);
	does_not_open(f, "pepper 2 is not in");
	(void)add(f);
	does_not_open(f, "pepper 2 in");
	write_file(f, "9 " HEX1 "\n");
	does_not_open(f, "pepper 2 is not in");
	/* Given up; what was refused is done without the peppers. */
	f->ops.unpeppered = &f->e;
	kf_fails(f, "{\"op\":\"key.list\"}", "conflict", "pepper 2 is not in");
	f->e = (struct err){.code = ERR_CONFLICT};
	retire(f, 2, 1);
	opens(f, 1);
	assert_int_equal(peppers_version(f->peppers, 0), 9);
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(only_when_no_key_needs_it, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(old_secrets_in_grace_need_it, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(by_force, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(every_state_between_opens, kf_setup, kf_teardown),
	    cmocka_unit_test_setup_teardown(older_files, kf_setup, kf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
