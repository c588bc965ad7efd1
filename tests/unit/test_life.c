/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the life of a key by an injected clock: its secret is replaced and the old one works for
 * exactly its grace; plans want young secrets; keys that nobody uses are found and switched off,
 * those revoked long ago purged.  Guards Invariants 1 (a rotation keeps what was used) and 3 (an
 * acknowledged rotation holds for every check after it).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"
#include "keeper/uses.h"

#define HOUR (3600 * CLOCK_SECOND)
#define DAY (24 * HOUR)

/* ---- asking ---- */

static struct wire_answer
ask(struct kf *f, const char *key)
{
	struct wire_check c = {
	    .client = 1, .seq = 1, .cost = 1, .credential = span_of(key), .deadline_us = INT64_MAX};
	struct wire_answer a;

	(void)kf_decide(f, &c, &a, NULL);
	return a;
}

/* What a key is answered, and what its holder is told as the time to rotate by. */
static void
answers(struct kf *f, const char *key, enum verdict verdict, int64_t rotate_by_us)
{
	struct wire_answer a = ask(f, key);

	assert_string_equal(verdict_info(a.verdict)->code, verdict_info(verdict)->code);
	assert_int_equal(a.rotate_by_us, rotate_by_us);
}

/* Another secret for the key: its text in ${k}. */
static void
rotate(struct kf *f, struct kf_key *k, const char *members)
{
	cJSON *r = kf_do(f, kf_on("key.rotate", k->id, members));

	assert_string_equal(json_str(r, "id", NULL), k->id);
	assert_int_equal(span_copy(k->key, sizeof(k->key), span_of(json_str(r, "key", NULL))), 0);
	cJSON_Delete(r);
}

/* A time that key.show tells; 0: null. */
static int64_t
shown(struct kf *f, const char *id, const char *member)
{
	cJSON *r = kf_do(f, kf_on("key.show", id, ""));
	const char *text = json_str(r, member, NULL);
	int64_t us = 0;

	assert_non_null(cJSON_GetObjectItem(r, member));
	if (text != NULL)
		assert_int_equal(clock_rfc3339_parse(text, &us), 0);
	cJSON_Delete(r);
	return us;
}

/* How many entries of an operation the trail has. */
static unsigned
audited(struct kf *f, const char *op)
{
	cJSON *r = kf_trail(f), *entry;
	unsigned n = 0;

	cJSON_ArrayForEach(entry, cJSON_GetObjectItem(r, "entries"))
	{
		n += strcmp(json_str(entry, "op", NULL), op) == 0;
	}
	cJSON_Delete(r);
	return n;
}

/* ---- rotation ---- */

static void
the_old_secret_works_for_its_grace(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;

	f->now.wall_us += DAY;
	rotate(f, &k, ",\"grace\":3600");
	assert_string_not_equal(k.key, old.key);
	answers(f, k.key, VERDICT_OK, 0);
	answers(f, old.key, VERDICT_OK, T0 + DAY + HOUR);
	f->now.wall_us += HOUR - 1;
	answers(f, old.key, VERDICT_OK, T0 + DAY + HOUR);
	f->now.wall_us += 1;
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0 + DAY + HOUR);
	answers(f, k.key, VERDICT_OK, 0);
	/* The key itself, now: whoever has the old secret is told no other thing than its state. */
	kf_done(f, kf_on("key.disable", k.id, ""));
	answers(f, old.key, VERDICT_KEY_DISABLED, 0);
	kf_done(f, kf_on("key.revoke", k.id, ""));
	answers(f, old.key, VERDICT_KEY_REVOKED, 0);
}

static void
a_grace_is_bounded(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");

	kf_fails(f, kf_on("key.rotate", k.id, ",\"grace\":7776001"), "input", "grace");
	kf_fails(f, kf_on("key.rotate", k.id, ",\"grace\":-1"), "input", "grace");
	rotate(f, &k, ",\"grace\":7776000");
	assert_int_equal(shown(f, k.id, "previous_until"), T0 + 90 * DAY);
	rotate(f, &k, "");
	assert_int_equal(shown(f, k.id, "previous_until"), T0 + DAY);
	kf_fails(f, kf_on("key.rotate", "key_0123456789abcdef", ""), "not_found", "key_");
	kf_done(f, kf_on("key.revoke", k.id, ""));
	kf_fails(f, kf_on("key.rotate", k.id, ""), "conflict", "revoked");
}

/* Also when the clock is set back afterwards. */
static void
without_a_grace_it_ends_at_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;

	rotate(f, &k, ",\"grace\":0");
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
	f->now.wall_us -= 10 * DAY;
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
	answers(f, k.key, VERDICT_OK, 0);
}

static void
the_next_rotation_ends_the_one_before(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), first = k, second;

	rotate(f, &k, ",\"grace\":86400");
	second = k;
	answers(f, first.key, VERDICT_OK, T0 + DAY);
	f->now.wall_us += HOUR;
	rotate(f, &k, ",\"grace\":60");
	answers(f, first.key, VERDICT_KEY_EXPIRED, T0 + HOUR);
	answers(f, second.key, VERDICT_OK, T0 + HOUR + 60 * CLOCK_SECOND);
	answers(f, k.key, VERDICT_OK, 0);
	/* Known for what it was for some rotations; then nobody's. */
	for (unsigned i = 0; i < STORE_OLD_SECRETS_MAX - 2; i++)
		rotate(f, &k, "");
	answers(f, first.key, VERDICT_KEY_EXPIRED, T0 + HOUR);
	rotate(f, &k, "");
	answers(f, first.key, VERDICT_KEY_INVALID, 0);
	answers(f, second.key, VERDICT_KEY_EXPIRED, T0 + HOUR);
}

/* All but the secret, and what is said of it. */
static void
everything_else_is_kept(void **state)
{
	static const char *const gone[] = {"start", "changed", "secret_created", "rotate_by",
	    "previous_start", "previous_until", "exposed", "exposed_ways", "exposed_from", "pepper",
	    "limits"};
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	cJSON *before, *after;

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"max_age\":7776000,\"limits\":[{\"name\":"
		   "\"day\",\"units\":3,\"window\":\"1d\"}]}");
	k = kf_key(f, ",\"plan\":\"p\",\"scopes\":[\"a:read\"],\"allow_ips\":[\"192.0.2.0/24\"],"
		      "\"name\":\"n\",\"member\":\"m\",\"meta\":{\"a\":\"b\"},\"apps\":[\"x\"]");
	c = kf_check(&k);
	c.has_addr = 1;
	c.app = span_of("x");
	assert_int_equal(netaddr_parse(span_of("192.0.2.9"), &c.addr), 0);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	c.exposed = KEYREC_EXPOSED_URL;
	(void)kf_decide(f, &c, &a, NULL);
	before = kf_do(f, kf_on("key.show", k.id, ""));
	assert_non_null(json_str(before, "exposed", NULL));
	f->now.wall_us += HOUR;
	rotate(f, &k, "");
	after = kf_do(f, kf_on("key.show", k.id, ""));
	assert_null(json_str(after, "exposed", NULL));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(after, "exposed_ways")), 0);
	assert_string_equal(
	    json_str(after, "previous_start", NULL), json_str(before, "start", NULL));
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		cJSON_DeleteItemFromObject(before, gone[i]);
		cJSON_DeleteItemFromObject(after, gone[i]);
	}
	assert_true(cJSON_Compare(before, after, 1));
	cJSON_Delete(before);
	cJSON_Delete(after);
	assert_int_equal(shown(f, k.id, "secret_created"), T0 + HOUR);
	assert_int_equal(shown(f, k.id, "rotate_by"), T0 + HOUR + 90 * DAY);
	/* Both secrets count in the same limits: one of three is used. */
	c.exposed = 0;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	c.credential = span_of(k.key);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(audited(f, "key.rotate"), 1);
}

static void
its_use_is_told_once_a_day(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;

	rotate(f, &k, ",\"grace\":864000");
	answers(f, k.key, VERDICT_OK, 0);
	assert_int_equal(audited(f, "key.old_secret"), 0);
	assert_int_equal(shown(f, k.id, "previous_used"), 0);
	f->now.wall_us += HOUR;
	for (unsigned i = 0; i < 5; i++) {
		answers(f, old.key, VERDICT_OK, T0 + 10 * DAY);
		f->now.wall_us += HOUR;
	}
	assert_int_equal(audited(f, "key.old_secret"), 1);
	/* What is shown is the latest use, not the one that was told. */
	assert_int_equal(shown(f, k.id, "previous_used"), T0 + 5 * HOUR);
	assert_int_equal(shown(f, k.id, "last_used"), T0 + 5 * HOUR);
	f->now.wall_us = T0 + HOUR + DAY;
	answers(f, old.key, VERDICT_OK, T0 + 10 * DAY);
	assert_int_equal(audited(f, "key.old_secret"), 2);
	/* Of the next old secret nothing is known yet. */
	f->now.wall_us += HOUR;
	rotate(f, &k, "");
	assert_int_equal(shown(f, k.id, "previous_used"), 0);
	/* One that is refused is no use. */
	answers(f, old.key, VERDICT_KEY_EXPIRED, f->now.wall_us);
	assert_int_equal(shown(f, k.id, "previous_used"), 0);
	assert_int_equal(audited(f, "key.old_secret"), 2);
}

/* Whoever finds a secret that has ended cannot have the key marked or revoked with it. */
static void
an_ended_secret_exposes_nothing(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;
	struct wire_check c = kf_check(&old);
	struct wire_answer a;

	f->config.on_exposure = EXPOSURE_REVOKE;
	kf_done(f, "{\"op\":\"ping\"}");
	rotate(f, &k, ",\"grace\":3600");
	f->now.wall_us += HOUR;
	c.exposed = KEYREC_EXPOSED_URL;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_INVALID);
	answers(f, k.key, VERDICT_OK, 0);
	assert_int_equal(shown(f, k.id, "exposed"), 0);
}

/* The detail of the key's newest entry of an operation, as text. */
static void
detail_of(struct kf *f, const char *op, char *out, size_t cap)
{
	cJSON *r = kf_trail(f), *entry;

	out[0] = '\0';
	cJSON_ArrayForEach(entry, cJSON_GetObjectItem(r, "entries"))
	{
		if (strcmp(json_str(entry, "op", NULL), op) == 0)
			assert_true(json_print(cJSON_GetObjectItem(entry, "detail"), out, cap) > 0);
	}
	cJSON_Delete(r);
}

/*
 * An old secret that is seen in its grace takes itself along and nothing else.  (It had the key
 * disabled or revoked, although the new secret was nowhere to be seen.)
 */
static void
an_exposed_old_secret_ends_alone(void **state)
{
	static const uint8_t ways[] = {
	    KEYREC_EXPOSED_URL, KEYREC_EXPOSED_HTTP, KEYREC_EXPOSED_BROWSER};
	static const enum config_exposure policies[] = {
	    EXPOSURE_FLAG, EXPOSURE_DISABLE, EXPOSURE_REVOKE};
	struct kf *f = *state;
	char detail[400];

	for (size_t i = 0; i < sizeof(ways) * 3; i++) {
		enum config_exposure policy = policies[i / 3];
		struct kf_key k, old;
		struct wire_check c;
		struct wire_answer a;
		int64_t until_us;
		unsigned ended;

		f->now.wall_us = T0;
		f->config.on_exposure = policy;
		kf_done(f, "{\"op\":\"ping\"}");
		old = k = kf_key(f, ",\"browsers\":\"flag\"");
		rotate(f, &k, ",\"grace\":864000");
		until_us = T0 + 10 * DAY;
		f->now.wall_us += HOUR;
		answers(f, old.key, VERDICT_OK, until_us);
		c = kf_check(&old);
		c.browser = ways[i % 3] == KEYREC_EXPOSED_BROWSER;
		c.exposed = c.browser ? 0 : ways[i % 3];
		ended = audited(f, "key.end_old_secret");
		if (policy != EXPOSURE_FLAG)
			until_us = T0;
		/* In a browser the very request that shows it is refused. */
		assert_int_equal(kf_decide(f, &c, &a, NULL), !c.browser ? VERDICT_KEY_INVALID
							     : policy == EXPOSURE_FLAG
								 ? VERDICT_OK
								 : VERDICT_KEY_EXPIRED);
		answers(f, old.key, policy == EXPOSURE_FLAG ? VERDICT_OK : VERDICT_KEY_EXPIRED,
		    until_us);
		answers(f, k.key, VERDICT_OK, 0);
		/* Over is over, also for a clock that is set back. */
		f->now.wall_us = T0 + 1;
		answers(f, old.key, policy == EXPOSURE_FLAG ? VERDICT_OK : VERDICT_KEY_EXPIRED,
		    until_us);
		f->now.wall_us = T0 + HOUR;
		assert_int_equal(shown(f, k.id, "exposed"), T0 + HOUR);
		assert_int_equal(shown(f, k.id, "previous_until"), until_us);
		detail_of(f, "key.exposed", detail, sizeof(detail));
		assert_non_null(strstr(detail, "\"secret\":\"old\""));
		assert_int_equal(audited(f, "key.end_old_secret") - ended, policy != EXPOSURE_FLAG);
		detail_of(f, "key.end_old_secret", detail, sizeof(detail));
		if (policy != EXPOSURE_FLAG)
			assert_string_equal(detail,
			    c.browser
				? "{\"previous_until\":{\"from\":\"2027-01-25T08:00:00Z\",\"to\":"
				  "\"2027-01-15T08:00:00Z\"},\"reason\":\"exposed: browser\"}"
			    : c.exposed == KEYREC_EXPOSED_URL
				? "{\"previous_until\":{\"from\":\"2027-01-25T08:00:00Z\",\"to\":"
				  "\"2027-01-15T08:00:00Z\"},\"reason\":\"exposed: url\"}"
				: "{\"previous_until\":{\"from\":\"2027-01-25T08:00:00Z\",\"to\":"
				  "\"2027-01-15T08:00:00Z\"},\"reason\":\"exposed: http\"}");
		/* Again: there is nothing left to be done with it. */
		(void)kf_decide(f, &c, &a, NULL);
		assert_int_equal(audited(f, "key.end_old_secret") - ended, policy != EXPOSURE_FLAG);
		answers(f, k.key, VERDICT_OK, 0);
		/* The new one, seen the same way, is the key's own matter. */
		c.credential = span_of(k.key);
		(void)kf_decide(f, &c, &a, NULL);
		answers(f, k.key,
		    policy == EXPOSURE_FLAG	 ? VERDICT_OK
		    : policy == EXPOSURE_DISABLE ? VERDICT_KEY_DISABLED
						 : VERDICT_KEY_REVOKED,
		    0);
	}
	f->config.on_exposure = EXPOSURE_FLAG;
}

/* By an admin's word, and once. */
static void
an_old_secret_is_ended(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;
	char detail[400];

	unsigned told;

	kf_fails(f, kf_on("key.end_old_secret", k.id, ""), "conflict", "no old secret");
	rotate(f, &k, ",\"grace\":864000");
	kf_fails(
	    f, kf_on("key.end_old_secret", k.id, ",\"reason\":\"\\u0007\""), "input", "reason");
	answers(f, old.key, VERDICT_OK, T0 + 10 * DAY);
	f->now.wall_us += HOUR;
	kf_done(f, kf_on("key.end_old_secret", k.id, ",\"reason\":\"found in a book\""));
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
	answers(f, k.key, VERDICT_OK, 0);
	detail_of(f, "key.end_old_secret", detail, sizeof(detail));
	assert_string_equal(detail, "{\"previous_until\":{\"from\":\"2027-01-25T08:00:00Z\",\"to\":"
				    "\"2027-01-15T08:00:00Z\"},\"reason\":\"found in a book\"}");
	f->now.wall_us += HOUR;
	told = audited(f, "key.end_old_secret");
	kf_done(f, kf_on("key.end_old_secret", k.id, ""));
	assert_int_equal(audited(f, "key.end_old_secret"), told);
	assert_int_equal(shown(f, k.id, "previous_until"), T0);
	kf_fails(f, kf_on("key.end_old_secret", "key_0123456789abcdef", ""), "not_found", "key_");
	/* Over is over, also for a clock that is set back. */
	f->now.wall_us = T0 + 1;
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
	f->now.wall_us = T0 - DAY;
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
}

static void
secrets_follow_the_peppers(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), old = k;
	struct store_secrets sum;
	uint32_t version;

	rotate(f, &k, "");
	assert_int_equal(
	    peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &version, &f->e), 0);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	answers(f, old.key, VERDICT_OK, T0 + DAY);
	assert_int_equal(store_secrets_get(f->store, version, &sum, &f->e), 0);
	assert_int_equal(sum.n[STORE_SECRET_PREVIOUS], 1);
	assert_int_equal(sum.n[STORE_SECRET_LIVE], 0);
	answers(f, k.key, VERDICT_OK, 0);
	answers(f, old.key, VERDICT_OK, T0 + DAY);
	assert_int_equal(store_secrets_get(f->store, version, &sum, &f->e), 0);
	assert_int_equal(sum.n[STORE_SECRET_LIVE], 1);
	rotate(f, &k, "");
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0);
	answers(f, k.key, VERDICT_OK, 0);
}

/* ---- the age that a plan allows ---- */

static void
plans_want_young_secrets(void **state)
{
	struct kf *f = *state;
	struct kf_key told, refused, office;
	struct wire_check c;
	struct wire_answer a;

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"told\",\"max_age\":7776000}");
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"refused\",\"max_age\":7776000,\"max_age_deny\":"
		   "true}");
	kf_fails(
	    f, "{\"op\":\"plan.set\",\"name\":\"x\",\"max_age_deny\":true}", "input", "max_age");
	told = kf_key(f, ",\"plan\":\"told\"");
	refused = kf_key(f, ",\"plan\":\"refused\"");
	office = kf_key(f, ",\"plan\":\"refused\",\"allow_ips\":[\"192.0.2.0/24\"]");
	assert_int_equal(shown(f, told.id, "rotate_by"), T0 + 90 * DAY);
	f->now.wall_us = T0 + 76 * DAY - 1;
	answers(f, told.key, VERDICT_OK, 0);
	answers(f, refused.key, VERDICT_OK, 0);
	f->now.wall_us = T0 + 76 * DAY;
	answers(f, told.key, VERDICT_OK, T0 + 90 * DAY);
	f->now.wall_us = T0 + 90 * DAY - 1;
	answers(f, refused.key, VERDICT_OK, T0 + 90 * DAY);
	f->now.wall_us = T0 + 90 * DAY;
	answers(f, told.key, VERDICT_OK, T0 + 90 * DAY);
	answers(f, refused.key, VERDICT_KEY_EXPIRED, T0 + 90 * DAY);
	/* Before the restrictions, as the state of a key is. */
	answers(f, office.key, VERDICT_KEY_EXPIRED, T0 + 90 * DAY);
	c = kf_check(&office);
	kf_done(f, kf_on("key.disable", office.id, ""));
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_DISABLED);
	/* With another plan nothing is due; with another secret all begins anew. */
	kf_done(f, kf_on("key.set", refused.id, ",\"plan\":\"default\""));
	answers(f, refused.key, VERDICT_OK, 0);
	kf_done(f, kf_on("key.set", refused.id, ",\"plan\":\"refused\""));
	rotate(f, &refused, "");
	answers(f, refused.key, VERDICT_OK, 0);
}

/* A grace gives no secret more time than its plan does. */
static void
a_grace_does_not_outlive_the_plan(void **state)
{
	struct kf *f = *state;
	struct kf_key k, old;

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"max_age\":86400,\"max_age_deny\":true}");
	old = k = kf_key(f, ",\"plan\":\"p\"");
	f->now.wall_us = T0 + 20 * HOUR;
	rotate(f, &k, ",\"grace\":86400");
	answers(f, old.key, VERDICT_OK, T0 + 24 * HOUR);
	f->now.wall_us = T0 + 24 * HOUR;
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0 + 24 * HOUR);
	old = k;
	f->now.wall_us = T0 + 100 * HOUR;
	answers(f, k.key, VERDICT_KEY_EXPIRED, T0 + 44 * HOUR);
	rotate(f, &k, ",\"grace\":86400");
	answers(f, old.key, VERDICT_KEY_EXPIRED, T0 + 100 * HOUR);
	answers(f, k.key, VERDICT_OK, T0 + 124 * HOUR);
}

/* ---- filters ---- */

/* On any of the pages: ids are random, and so is the page. */
static int
lists(struct kf *f, const char *filters, const struct kf_key *k)
{
	char request[300], after[TOKEN_ID_LEN + 1] = "";
	const char *next = after;
	cJSON *r, *key;
	int found = 0;

	while (next != NULL) {
		assert_true(snprintf(request, sizeof(request),
				"{\"op\":\"key.list\",\"after\":\"%s\"%s}", after, filters) > 0);
		r = kf_do(f, request);
		cJSON_ArrayForEach(key, cJSON_GetObjectItem(r, "keys"))
		{
			found += strcmp(json_str(key, "id", NULL), k->id) == 0;
		}
		if ((next = json_str(r, "next", NULL)) != NULL)
			assert_int_equal(span_copy(after, sizeof(after), span_of(next)), 0);
		cJSON_Delete(r);
	}
	return found;
}

static void
keys_that_nobody_uses(void **state)
{
	struct kf *f = *state;
	struct kf_key never = kf_key(f, ""), once = kf_key(f, ",\"member\":\"ann\"");
	struct kf_key later = kf_key(f, ",\"not_before\":\"2027-01-20T00:00:00Z\"");

	f->now.wall_us = T0 + 30 * DAY;
	answers(f, once.key, VERDICT_OK, 0);
	f->now.wall_us = T0 + 40 * DAY;
	assert_int_equal(lists(f, ",\"unused\":2592000", &never), 1);
	assert_int_equal(lists(f, ",\"unused\":2592000", &once), 0);
	assert_int_equal(lists(f, ",\"unused\":864000", &once), 1);
	assert_int_equal(lists(f, ",\"unused\":864001", &once), 0);
	assert_int_equal(lists(f, ",\"unused\":864000,\"member\":\"ann\"", &once), 1);
	assert_int_equal(lists(f, ",\"unused\":864000,\"member\":\"ann\"", &never), 0);
	/* It could not be used before it was valid. */
	assert_int_equal(lists(f, ",\"unused\":3456000", &never), 1);
	assert_int_equal(lists(f, ",\"unused\":3456000", &later), 0);
	kf_fails(f, "{\"op\":\"key.list\",\"unused\":-1}", "input", "unused");
}

static void
keys_that_are_due(void **state)
{
	struct kf *f = *state;
	struct kf_key due, free_one = kf_key(f, "");

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"max_age\":7776000}");
	due = kf_key(f, ",\"plan\":\"p\"");
	f->now.wall_us = T0 + 76 * DAY - 1;
	assert_int_equal(lists(f, ",\"due\":true", &due), 0);
	f->now.wall_us = T0 + 76 * DAY;
	assert_int_equal(lists(f, ",\"due\":true", &due), 1);
	assert_int_equal(lists(f, ",\"due\":true", &free_one), 0);
	assert_int_equal(lists(f, ",\"due\":false", &free_one), 1);
	assert_int_equal(lists(f, ",\"due\":true,\"owner\":\"nobody\"", &due), 0);
	rotate(f, &due, "");
	assert_int_equal(lists(f, ",\"due\":true", &due), 0);
	f->now.wall_us += 100 * DAY;
	assert_int_equal(lists(f, ",\"due\":true", &due), 1);
	kf_done(f, kf_on("key.revoke", due.id, ""));
	assert_int_equal(lists(f, ",\"due\":true", &due), 0);
}

/* All pages of a sweep; how many keys it told of. */
static unsigned
sweep(struct kf *f, const char *op, const char *members, unsigned *pages)
{
	char request[400], after[TOKEN_ID_LEN + 1] = "";
	unsigned n = 0;

	for (*pages = 1;; ++*pages) {
		cJSON *r;
		const char *next;

		assert_true(snprintf(request, sizeof(request), "{\"op\":\"%s\",\"after\":\"%s\"%s}",
				op, after, members) > 0);
		r = kf_do(f, request);
		n += (unsigned)cJSON_GetArraySize(cJSON_GetObjectItem(r, "keys"));
		assert_in_range(json_int(r, "looked_at", -1, 0, 1000, NULL), 0, OPS_PAGE_MAX);
		if ((next = json_str(r, "next", NULL)) == NULL) {
			cJSON_Delete(r);
			return n;
		}
		assert_int_equal(span_copy(after, sizeof(after), span_of(next)), 0);
		cJSON_Delete(r);
	}
}

/*
 * What is to be dealt with: a key that no request can use is not, whatever its times say, unless
 * its state is asked for.  (A revoked key was "unused", "expiring" and "never expires" once.)
 */
static void
what_is_over_is_not_to_be_dealt_with(void **state)
{
	static const char *const filters[] = {",\"unused\":2592000", ",\"expiring\":8640000",
	    ",\"never_expires\":true", ",\"due\":true"};
	static const char *const states[] = {
	    "active", "disabled", "revoked", "disabled", "expired"};
	struct kf *f = *state;
	char with[200];

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"max_age\":2592000}");
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		int ends = strstr(filters[i], "expiring") != NULL;
		const char *members = ends ? ",\"plan\":\"p\",\"expires\":\"2027-04-15T08:00:00Z\""
					   : ",\"plan\":\"p\"";
		struct kf_key k[5];

		f->now.wall_us = T0;
		for (size_t j = 0; j < 5; j++)
			k[j] = kf_key(
			    f, j < 4 ? members
				     : ",\"plan\":\"p\",\"expires\":\"2027-02-01T00:00:00Z\"");
		kf_done(f, kf_on("key.disable", k[1].id, ""));
		kf_done(f, kf_on("key.revoke", k[2].id, ""));
		kf_done(f, kf_on("key.set", k[3].id, ",\"owner\":\"off\""));
		kf_done(f, "{\"op\":\"owner.disable\",\"owner\":\"off\"}");
		f->now.wall_us = T0 + 60 * DAY;
		for (size_t j = 0; j < 5; j++) {
			int fits = j < 4 || !strstr(filters[i], "expir");

			assert_int_equal(lists(f, filters[i], &k[j]), j == 0);
			assert_true(snprintf(with, sizeof(with), "%s,\"state\":\"%s\"", filters[i],
					states[j]) > 0);
			assert_int_equal(lists(f, with, &k[j]), fits && (j != 2 || i != 3));
		}
		kf_done(f, "{\"op\":\"owner.enable\",\"owner\":\"off\"}");
	}
}

/* A list and a dry run of the sweep name the same keys. */
static void
a_sweep_is_what_was_listed(void **state)
{
	static const char *const filters = ",\"unused\":2592000";
	struct kf *f = *state;
	struct kf_key k, idle = kf_key(f, "");
	cJSON *r, *r0;
	unsigned pages;

	k = kf_key(f, "");
	kf_done(f, kf_on("key.set", k.id, ",\"owner\":\"off\""));
	k = kf_key(f, ",\"expires\":\"2027-02-01T00:00:00Z\"");
	k = kf_key(f, ",\"not_before\":\"2027-09-01T00:00:00Z\"");
	k = kf_key(f, "");
	kf_done(f, kf_on("key.revoke", k.id, ""));
	k = kf_key(f, "");
	kf_done(f, kf_on("key.disable", k.id, ""));
	kf_done(f, "{\"op\":\"owner.disable\",\"owner\":\"off\"}");
	f->now.wall_us += 60 * DAY;
	assert_int_equal(sweep(f, "key.list", filters, &pages), 1);
	assert_int_equal(
	    sweep(f, "key.disable_unused", ",\"unused\":2592000,\"dry_run\":true", &pages), 1);
	assert_int_equal(lists(f, filters, &idle), 1);
	assert_int_equal(sweep(f, "key.disable_unused", filters, &pages), 1);
	assert_int_equal(sweep(f, "key.list", filters, &pages), 0);
	answers(f, idle.key, VERDICT_KEY_DISABLED, 0);
	/* What a key does not have is null, as in a list. */
	kf_done(f, kf_on("key.enable", idle.id, ""));
	r = kf_do(f, "{\"op\":\"key.disable_unused\",\"unused\":2592000,\"dry_run\":true}");
	r0 = cJSON_GetArrayItem(cJSON_GetObjectItem(r, "keys"), 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r0, "member")) &&
		    cJSON_IsNull(cJSON_GetObjectItem(r0, "name")));
	cJSON_Delete(r);
}

/* ---- sweeps ---- */

static unsigned
in_state(struct kf *f, const char *name)
{
	char request[100];
	unsigned pages;

	assert_true(snprintf(request, sizeof(request), ",\"state\":\"%s\"", name) > 0);
	return sweep(f, "key.list", request, &pages);
}

static void
unused_keys_are_disabled(void **state)
{
	struct kf *f = *state;
	struct kf_key used = kf_key(f, ""), revoked = kf_key(f, ""), k = used;
	unsigned pages, changes;

	for (unsigned i = 0; i < 320; i++)
		k = kf_key(f, i % 2 == 0 ? ",\"member\":\"ann\"" : "");
	kf_done(f, kf_on("key.revoke", revoked.id, ""));
	f->now.wall_us += 90 * DAY;
	answers(f, used.key, VERDICT_OK, 0);
	kf_fails(f, "{\"op\":\"key.disable_unused\"}", "usage", "unused");
	/* As a dry run: the same keys, and nothing is changed. */
	changes = audited(f, "key.disable_unused");
	assert_int_equal(sweep(f, "key.disable_unused",
			     ",\"unused\":7776000,\"member\":\"ann\",\"dry_run\":true", &pages),
	    160);
	assert_int_equal(audited(f, "key.disable_unused"), changes);
	assert_int_equal(in_state(f, "disabled"), 0);
	assert_int_equal(
	    sweep(f, "key.disable_unused", ",\"unused\":7776000,\"member\":\"ann\"", &pages), 160);
	assert_true(pages >= 4); /* none holds up the checks for long */
	assert_int_equal(in_state(f, "disabled"), 160);
	assert_int_equal(sweep(f, "key.disable_unused", ",\"unused\":7776000", &pages), 160);
	assert_int_equal(sweep(f, "key.disable_unused", ",\"unused\":7776000", &pages), 0);
	answers(f, used.key, VERDICT_OK, 0);
	answers(f, k.key, VERDICT_KEY_DISABLED, 0);
	answers(f, revoked.key, VERDICT_KEY_REVOKED, 0);
}

static void
revoked_keys_are_purged(void **state)
{
	struct kf *f = *state;
	struct kf_key kept = kf_key(f, ""), k = kept, old = kept, young = kf_key(f, "");
	struct store_stat st;
	unsigned pages;

	f->config.revoked_retention_us = 90 * DAY;
	for (unsigned i = 0; i < 120; i++) {
		k = kf_key(f, "");
		old = k;
		answers(f, k.key, VERDICT_OK, 0);
		rotate(f, &k, "");
		kf_done(f, kf_on("key.revoke", k.id, ",\"reason\":\"done\""));
	}
	f->now.wall_us += DAY;
	kf_done(f, kf_on("key.revoke", young.id, ""));
	f->now.wall_us += 89 * DAY - 1;
	assert_int_equal(sweep(f, "key.purge", "", &pages), 0);
	f->now.wall_us += 1;
	assert_int_equal(sweep(f, "key.purge", ",\"dry_run\":true", &pages), 120);
	assert_int_equal(in_state(f, "revoked"), 121);
	answers(f, k.key, VERDICT_KEY_REVOKED, 0);
	assert_int_equal(sweep(f, "key.purge", "", &pages), 120);
	assert_true(pages >= 3);
	assert_int_equal(in_state(f, "revoked"), 1);
	answers(f, k.key, VERDICT_KEY_INVALID, 0);
	answers(f, old.key, VERDICT_KEY_INVALID, 0);
	answers(f, young.key, VERDICT_KEY_REVOKED, 0);
	answers(f, kept.key, VERDICT_OK, 0);
	kf_fails(f, kf_on("key.show", k.id, ""), "not_found", k.id);
	assert_int_equal(store_stat(f->store, &st, &f->e), 0);
	assert_int_equal(st.keys, 2);
	assert_int_equal(sweep(f, "key.purge", ",\"older_than\":0", &pages), 1);
	assert_int_equal(in_state(f, "active"), 1);
	/* Nothing that is noted of a purged key comes back. */
	assert_int_equal(uses_flush(decide_uses(f->decide), f->store, &f->e), 0);
	{
		struct store_use use;

		assert_int_equal(store_use_get(f->store, span_of(k.id), &use, &f->e), 0);
		assert_int_equal(store_use_get(f->store, span_of(kept.id), &use, &f->e), 1);
	}
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	const struct CMUnitTest tests[] = {
	    T(the_old_secret_works_for_its_grace),
	    T(a_grace_is_bounded),
	    T(without_a_grace_it_ends_at_once),
	    T(the_next_rotation_ends_the_one_before),
	    T(everything_else_is_kept),
	    T(its_use_is_told_once_a_day),
	    T(an_ended_secret_exposes_nothing),
	    T(an_exposed_old_secret_ends_alone),
	    T(an_old_secret_is_ended),
	    T(secrets_follow_the_peppers),
	    T(plans_want_young_secrets),
	    T(a_grace_does_not_outlive_the_plan),
	    T(keys_that_nobody_uses),
	    T(keys_that_are_due),
	    T(what_is_over_is_not_to_be_dealt_with),
	    T(a_sweep_is_what_was_listed),
	    T(unused_keys_are_disabled),
	    T(revoked_keys_are_purged),
	};

	return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
