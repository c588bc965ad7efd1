/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: every admin operation does what it says, refuses what it cannot take by naming the member
 * and the mend, leaves an audit record with the change and none without, and shows a key once.
 * Guards Invariants 3 (a change holds at once) and 4 (no key in a list, a message or the audit
 * trail).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"

#define LIMITS(units) ",\"limits\":[{\"name\":\"minute\",\"units\":" units ",\"window\":\"60s\"}]"

static const char *
str(const cJSON *o, const char *name)
{
	const char *s = json_str(o, name, NULL);

	return s != NULL ? s : "(null)";
}

static int
count(const cJSON *o, const char *name)
{
	return cJSON_GetArraySize(cJSON_GetObjectItem(o, name));
}

static const cJSON *
item(const cJSON *o, const char *name, int i)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItem(o, name), i);
}

/* Entries that tell of changes, or of what came to nothing. */
static int
told(struct kf *f, int of_changes)
{
	cJSON *r = kf_trail(f);
	int n = 0;

	for (int i = 0; i < count(r, "entries"); i++)
		n +=
		    cJSON_IsNull(cJSON_GetObjectItem(item(r, "entries", i), "error")) == of_changes;
	cJSON_Delete(r);
	return n;
}

static int
audited(struct kf *f)
{
	return told(f, 1);
}

static void
only_the_allowed_are_heard(void **state)
{
	struct ops_peer stranger = {.uid = 65534, .pid = 1, .may_admin = 0};
	struct kf *f = *state;
	cJSON *reply;

	reply = kf_ask_as(f, &stranger, "not even JSON");
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(reply, "ok")));
	assert_string_equal(str(reply, "error"), "denied");
	cJSON_Delete(reply);
	reply = kf_ask_as(f, &stranger, "{\"op\":\"ping\"}");
	assert_string_equal(str(reply, "error"), "denied");
	cJSON_Delete(reply);
}

static void
malformed_requests_are_named(void **state)
{
	struct kf *f = *state;

	kf_fails(f, "", "input", "JSON");
	kf_fails(f, "[]", "input", "JSON");
	kf_fails(f, "{\"op\":\"ping\"} x", "input", "JSON");
	kf_fails(f, "{}", "usage", "op");
	kf_fails(f, "{\"op\":7}", "input", "op");
	kf_fails(f, "{\"op\":\"key.steal\"}", "usage", "key.steal");
	kf_fails(f, "{\"op\":\"ping\",\"x\":1}", "usage", "\"x\"");
	kf_fails(f, "{\"op\":\"key.create\",\"owner\":\"a\",\"colour\":1}", "usage", "\"colour\"");
	kf_done(f, "{\"op\":\"ping\"}");
	assert_int_equal(f->changed, 0);
	assert_int_equal(audited(f), 0);
}

static void
a_key_is_made_whole(void **state)
{
	struct kf *f = *state;
	cJSON *r;
	char key[TOKEN_MAX + 1];

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\"" LIMITS("5") "}");
	r = kf_do(f,
	    "{\"op\":\"key.create\",\"owner\":\"acme\",\"name\":\"ci\",\"member\":\"ann\",\"plan\":"
	    "\"gold\","
	    "\"scopes\":[\"a:*\",\"b\"],\"allow_ips\":[\"10.0.0.0/8\",\"2001:db8::1\"],"
	    "\"referrers\":[\"https://*.example.org\"],\"apps\":[\"shop\"],\"env\":\"test\","
	    "\"expires\":\"2028-01-01T00:00:00Z\",\"not_before\":\"2027-01-02T00:00:00Z\",\"meta\":"
	    "{\"k\":\"v\"}}");
	assert_int_equal(f->changed, 1);
	assert_int_equal(span_copy(key, sizeof(key), span_of(str(r, "key"))), 0);
	assert_true(token_valid(span_of(key), span_of("ak")));
	assert_memory_equal(key, "ak_test_", 8);
	assert_memory_equal(key, str(r, "start"), 12);
	assert_true(token_id_ok(span_of(str(r, "id"))));
	assert_string_equal(str(r, "env"), "test");
	assert_string_equal(str(r, "owner"), "acme");
	assert_string_equal(str(r, "member"), "ann");
	assert_string_equal(str(r, "name"), "ci");
	assert_string_equal(str(r, "plan"), "gold");
	assert_string_equal(item(r, "scopes", 0)->valuestring, "a:*");
	assert_int_equal(count(r, "scopes"), 2);
	assert_string_equal(item(r, "allow_ips", 0)->valuestring, "10.0.0.0/8");
	assert_string_equal(item(r, "allow_ips", 1)->valuestring, "2001:db8::1/128");
	assert_string_equal(item(r, "referrers", 0)->valuestring, "https://*.example.org");
	assert_string_equal(item(r, "apps", 0)->valuestring, "shop");
	assert_string_equal(str(cJSON_GetObjectItem(r, "meta"), "k"), "v");
	assert_string_equal(str(r, "state"), "active");
	assert_string_equal(str(r, "expires"), "2028-01-01T00:00:00Z");
	assert_string_equal(str(r, "not_before"), "2027-01-02T00:00:00Z");
	assert_string_equal(str(r, "created"), "2027-01-15T08:00:00Z");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "revoked")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "reason")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "exposed")));
	assert_int_equal(json_int(r, "pepper", 0, 0, 9, NULL), 1);
	cJSON_Delete(r);
	/* Nowhere again. */
	kf_done(f, "{\"op\":\"key.list\"}");
	assert_null(strstr(f->reply, key));
	kf_done(f, "{\"op\":\"audit.list\"}");
	assert_null(strstr(f->reply, key));
	assert_non_null(strstr(f->reply, "\"op\":\"key.create\""));
	assert_non_null(strstr(f->reply, "\"actor\":\"root\""));
	assert_non_null(strstr(f->reply, "\"meta\":{\"k\":\"v\"}"));
}

static void
bad_members_are_refused(void **state)
{
	static const struct {
		const char *members, *code, *words;
	} cases[] = {
	    {"", "usage", "\"owner\""},
	    {",\"owner\":null", "usage", "\"owner\""},
	    {",\"owner\":5", "input", "\"owner\""},
	    {",\"owner\":\"a\\u0001b\"", "input", "owner"},
	    {",\"owner\":\"a\",\"env\":\"prod\"", "input", "\"env\""},
	    {",\"owner\":\"a\",\"plan\":\"none\"", "not_found", "apikey plan set none"},
	    {",\"owner\":\"a\",\"plan\":7", "input", "\"plan\""},
	    {",\"owner\":\"a\",\"scopes\":\"a\"", "input", "\"scopes\""},
	    {",\"owner\":\"a\",\"scopes\":[7]", "input", "\"scopes\""},
	    {",\"owner\":\"a\",\"scopes\":[\"a b\"]", "input", "scope"},
	    {",\"owner\":\"a\",\"allow_ips\":[\"10.0.0.1/8\"]", "input", "\"allow_ips\""},
	    {",\"owner\":\"a\",\"allow_ips\":[1]", "input", "\"allow_ips\""},
	    {",\"owner\":\"a\",\"allow_ips\":{}", "input", "\"allow_ips\""},
	    {",\"owner\":\"a\",\"referrers\":[\"a b\"]", "input", "referrer"},
	    {",\"owner\":\"a\",\"expires\":\"tomorrow\"", "input", "\"expires\""},
	    {",\"owner\":\"a\",\"expires\":\"1960-01-01T00:00:00Z\"", "input", "\"expires\""},
	    {",\"owner\":\"a\",\"expires\":7", "input", "\"expires\""},
	    {",\"owner\":\"a\",\"expires\":\"2027-01-01T00:00:00Z\",\"not_before\":\"2027-01-01T00:"
	     "00:00Z\"",
		"input", "\"not_before\""},
	    {",\"owner\":\"a\",\"meta\":{\"k\":1}", "input", "\"meta\""},
	    {",\"owner\":\"a\",\"meta\":[]", "input", "\"meta\""},
	    {",\"owner\":\"a\",\"methods\":\"GET\"", "input", "\"methods\""},
	    {",\"owner\":\"a\",\"methods\":[\"get\"]", "input", "method 1"},
	    {",\"owner\":\"a\",\"browsers\":\"maybe\"", "input", "\"browsers\""},
	    {",\"owner\":\"a\",\"browsers\":1", "input", "\"browsers\""},
	    {",\"owner\":\"a\",\"clear_exposed\":true", "usage", "\"clear_exposed\""},
	};
	struct kf *f = *state;
	char request[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(snprintf(request, sizeof(request), "{\"op\":\"key.create\"%s}",
				cases[i].members) > 0);
		kf_fails(f, request, cases[i].code, cases[i].words);
	}
	assert_int_equal(audited(f), 0);
}

static void
too_many_are_refused(void **state)
{
	struct kf *f = *state;
	size_t cap = 60000, len;
	char *request = malloc(cap);

	assert_non_null(request);
	for (int ips = 0; ips < 2; ips++) {
		int max = ips ? KEYREC_NETS_MAX : SCOPE_COUNT_MAX;

		len = (size_t)snprintf(request, cap,
		    "{\"op\":\"key.create\",\"owner\":\"a\",\"%s\":[",
		    ips ? "allow_ips" : "scopes");
		for (int i = 0; i <= max; i++)
			len += (size_t)snprintf(request + len, cap - len,
			    ips ? "%s\"10.%d.%d.1\"" : "%s\"s%d-%d\"", i > 0 ? "," : "", i / 256,
			    i % 256);
		(void)snprintf(request + len, cap - len, "]}");
		kf_fails(f, request, "input", "more than");
	}
	len = (size_t)snprintf(
	    request, cap, "{\"op\":\"key.create\",\"owner\":\"a\",\"meta\":{\"k\":\"");
	memset(request + len, 'x', KEYREC_META_MAX);
	(void)snprintf(request + len + KEYREC_META_MAX, cap - len - KEYREC_META_MAX, "\"}}");
	kf_fails(f, request, "input", "\"meta\"");
	free(request);
}

static void
set_replaces_and_clears(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ",\"name\":\"n\",\"scopes\":[\"a\"],\"allow_ips\":[\"10.0.0.0/"
				    "8\"],\"meta\":{\"a\":\"b\"},"
				    "\"expires\":\"2028-01-01T00:00:00Z\"");
	cJSON *r;

	f->now.wall_us += CLOCK_SECOND;
	r = kf_do(f, kf_on("key.set", k.id, ",\"owner\":\"other\",\"scopes\":[\"b\",\"c\"]"));
	assert_string_equal(str(r, "owner"), "other");
	assert_int_equal(count(r, "scopes"), 2);
	/* What was not given stays. */
	assert_string_equal(str(r, "name"), "n");
	assert_string_equal(item(r, "allow_ips", 0)->valuestring, "10.0.0.0/8");
	assert_string_equal(str(cJSON_GetObjectItem(r, "meta"), "a"), "b");
	assert_string_equal(str(r, "expires"), "2028-01-01T00:00:00Z");
	assert_string_equal(str(r, "changed"), "2027-01-15T08:00:01Z");
	assert_string_equal(str(r, "created"), "2027-01-15T08:00:00Z");
	assert_null(cJSON_GetObjectItem(r, "key"));
	cJSON_Delete(r);
	r = kf_do(f, kf_on("key.set", k.id,
			 ",\"name\":null,\"scopes\":null,\"allow_ips\":null,\"meta\":null,"
			 "\"expires\":null,\"plan\":null"));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "name")));
	assert_int_equal(count(r, "scopes"), 0);
	assert_int_equal(count(r, "allow_ips"), 0);
	assert_int_equal(count(r, "meta"), 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "expires")));
	assert_string_equal(str(r, "plan"), "default");
	cJSON_Delete(r);
	kf_fails(f, kf_on("key.set", k.id, ""), "usage", "at least one");
	kf_fails(f, kf_on("key.set", k.id, ",\"owner\":null"), "input", "owner");
	kf_fails(f, kf_on("key.set", k.id, ",\"env\":\"test\""), "usage", "\"env\"");
	kf_fails(f, kf_on("key.set", "key_0000000000000000", ",\"name\":\"x\""), "not_found",
	    "key_0000000000000000");
	assert_int_equal(audited(f), 3);
}

static void
states_change_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	cJSON *r;

	kf_done(f, kf_on("key.disable", k.id, ""));
	assert_int_equal(f->changed, 1);
	/* The reply waits for the disk all the same: the change that it tells of may be another's,
	 * and a power cut away from being lost. */
	kf_done(f, kf_on("key.disable", k.id, ""));
	assert_int_equal(f->changed, 1);
	kf_done(f, kf_on("key.enable", k.id, ""));
	kf_done(f, kf_on("key.enable", k.id, ""));
	assert_int_equal(audited(f), 3);
	r = kf_do(f, kf_on("key.revoke", k.id, ",\"reason\":\"leaked\""));
	assert_string_equal(str(r, "state"), "revoked");
	assert_string_equal(str(r, "reason"), "leaked");
	assert_string_equal(str(r, "revoked"), "2027-01-15T08:00:00Z");
	cJSON_Delete(r);
	r = kf_do(f, kf_on("key.revoke", k.id, ",\"reason\":\"again\""));
	assert_string_equal(str(r, "reason"), "leaked");
	assert_int_equal(f->changed, 1);
	cJSON_Delete(r);
	kf_fails(f, kf_on("key.enable", k.id, ""), "conflict", "create a new key");
	kf_fails(f, kf_on("key.disable", k.id, ""), "conflict", "final");
	kf_fails(f, kf_on("key.set", k.id, ",\"name\":\"x\""), "conflict", "final");
}

static void
ids_are_not_echoed_unless_they_are_ids(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");

	kf_fails(f, "{\"op\":\"key.show\"}", "usage", "\"id\"");
	kf_fails(f, kf_on("key.show", k.key, ""), "input", "name a key by its id");
	assert_null(strstr(f->reply, k.key + 12));
	kf_fails(f, kf_on("key.show", "bk_live_x", ""), "input", "not the id");
	assert_null(strstr(f->reply, "bk_live_x"));
	kf_fails(f, kf_on("key.revoke", "", ""), "usage", "\"id\"");
}

static void
lists_filter_and_page(void **state)
{
	struct kf *f = *state;
	char after[32] = "", request[256];
	int seen = 0, pages = 0;
	struct kf_key k;
	cJSON *r;

	for (int i = 0; i < 5; i++)
		(void)kf_key(f, ",\"member\":\"ann\"");
	k = kf_key(f, ",\"env\":\"test\",\"expires\":\"2027-01-16T08:00:00Z\"");
	kf_done(f, kf_on("key.set", k.id, ",\"owner\":\"other\""));
	do {
		assert_true(
		    snprintf(request, sizeof(request),
			"{\"op\":\"key.list\",\"owner\":\"acme\",\"max\":2,\"after\":\"%s\"}",
			after) > 0);
		r = kf_do(f, request);
		seen += count(r, "keys");
		assert_true(count(r, "keys") <= 2);
		pages++;
		after[0] = '\0';
		if (json_str(r, "next", NULL) != NULL)
			assert_int_equal(
			    span_copy(after, sizeof(after), span_of(str(r, "next"))), 0);
		cJSON_Delete(r);
	} while (after[0] != '\0');
	assert_int_equal(seen, 5);
	assert_int_equal(pages, 3);
	static const struct {
		const char *filter;
		int n;
	} cases[] = {{"", 6}, {",\"owner\":\"other\"", 1}, {",\"member\":\"ann\"", 5},
	    {",\"env\":\"test\"", 1}, {",\"plan\":\"default\"", 6}, {",\"plan\":\"x\"", 0},
	    {",\"state\":\"active\"", 6}, {",\"state\":\"revoked\"", 0}, {",\"expiring\":86400", 1},
	    {",\"expiring\":86399", 0}, {",\"never_expires\":true", 5},
	    {",\"never_expires\":false", 1}, {",\"exposed\":true", 0}, {",\"exposed\":false", 6},
	    {",\"owner\":\"nobody\"", 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(snprintf(request, sizeof(request), "{\"op\":\"key.list\"%s}",
				cases[i].filter) > 0);
		r = kf_do(f, request);
		if (count(r, "keys") != cases[i].n)
			fail_msg("%s: %d", request, count(r, "keys"));
		cJSON_Delete(r);
	}
	kf_fails(f, "{\"op\":\"key.list\",\"state\":\"odd\"}", "input", "\"state\"");
	kf_fails(f, "{\"op\":\"key.list\",\"max\":0}", "input", "\"max\"");
	kf_fails(f, "{\"op\":\"key.list\",\"after\":\"x\"}", "input", "\"after\"");
}

/* An end may be over when it is told, and must be later than the beginning. */
static void
ends_come_after_beginnings(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	cJSON *r;

	kf_done(f, kf_on("key.set", k.id, ",\"expires\":\"2027-01-15T07:59:51Z\""));
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_string_equal(str(r, "state"), "expired");
	cJSON_Delete(r);
	kf_done(f, kf_on("key.set", k.id, ",\"name\":\"n\""));
	kf_fails(f, kf_on("key.set", k.id, ",\"not_before\":\"2027-01-15T07:59:51Z\""), "input",
	    "later");
	kf_fails(f,
	    kf_on("key.set", k.id,
		",\"not_before\":\"2028-01-01T00:00:00Z\",\"expires\":\"2028-01-01T00:00:00Z\""),
	    "input", "later");
	kf_done(f, kf_on("key.set", k.id, ",\"expires\":null"));
}

/* Large records: a page ends before the reply is too large for a message. */
static void
large_lists_fit(void **state)
{
	struct kf *f = *state;
	size_t cap = 60000, len;
	char *request = malloc(cap), again[128];
	int seen = 0, pages = 0;
	cJSON *r, *next;

	assert_non_null(request);
	len = (size_t)snprintf(
	    request, cap, "{\"op\":\"key.create\",\"owner\":\"big\",\"allow_ips\":[");
	for (int i = 0; i < KEYREC_NETS_MAX; i++)
		len += (size_t)snprintf(request + len, cap - len,
		    "%s\"2001:db8:aaaa:bbbb:cccc:dddd:eeee:%x\"", i > 0 ? "," : "", i + 0x1000);
	(void)snprintf(request + len, cap - len, "]}");
	for (int i = 0; i < 5; i++)
		kf_done(f, request);
	(void)snprintf(request, cap, "{\"op\":\"key.list\"}");
	do {
		r = kf_do(f, request);
		seen += count(r, "keys");
		pages++;
		next = cJSON_GetObjectItem(r, "next");
		if (cJSON_IsString(next))
			(void)snprintf(again, sizeof(again),
			    "{\"op\":\"key.list\",\"after\":\"%s\"}", next->valuestring);
		(void)snprintf(request, cap, "%s", cJSON_IsString(next) ? again : "");
		cJSON_Delete(r);
	} while (request[0] != '\0');
	assert_int_equal(seen, 5);
	assert_true(pages >= 3);
	/* The audit trail of that too. */
	r = kf_do(f, "{\"op\":\"audit.list\"}");
	assert_true(count(r, "entries") < 5);
	assert_true(cJSON_IsNumber(cJSON_GetObjectItem(r, "next")));
	cJSON_Delete(r);
	free(request);
}

static void
show_tells_what_is_used(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	const cJSON *l;
	cJSON *r;

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"dry_run\":true" LIMITS("5") "}");
	k = kf_key(f, ",\"plan\":\"gold\"");
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	f->now.steady_us += 500000;
	r = kf_do(f, kf_on("key.show", k.id, ""));
	l = item(r, "limits", 0);
	assert_string_equal(str(l, "name"), "minute");
	assert_int_equal(json_int(l, "limit", 0, 0, 99, NULL), 5);
	assert_string_equal(str(l, "window"), "1m");
	assert_int_equal(json_int(l, "window_seconds", 0, 0, 99, NULL), 60);
	assert_int_equal(json_int(l, "used", 0, 0, 99, NULL), 1);
	assert_int_equal(json_int(l, "remaining", 0, 0, 99, NULL), 4);
	assert_int_equal(json_int(l, "reset", 0, 0, 99, NULL), 60); /* 59.5, rounded up */
	assert_true(json_bool(l, "dry_run", 0, NULL));
	cJSON_Delete(r);
}

/* The names of the steps that key.check told, those that failed with a '!'. */
static void
steps(const cJSON *r, char *out, size_t cap)
{
	const cJSON *s;
	size_t len = 0;

	out[0] = '\0';
	cJSON_ArrayForEach(s, cJSON_GetObjectItem(r, "steps"))
	{
		len += (size_t)snprintf(out + len, cap - len, "%s%s%s", len > 0 ? "," : "",
		    str(s, "step"), json_bool(s, "passed", 0, NULL) ? "" : "!");
	}
}

static void
explains(struct kf *f, const char *key, const char *members, const char *code, const char *expected)
{
	char request[1024], got[256];
	cJSON *r;

	assert_true(snprintf(request, sizeof(request), "{\"op\":\"key.check\",\"key\":\"%s\"%s}",
			key, members) > 0);
	r = kf_do(f, request);
	steps(r, got, sizeof(got));
	assert_string_equal(str(r, "code"), code);
	assert_string_equal(got, expected);
	if (strlen(key) > 12)
		assert_null(strstr(f->reply, key + 12));
	cJSON_Delete(r);
}

static void
check_explains_each_step(void **state)
{
	struct kf *f = *state;
	struct kf_key k, bad;
	cJSON *r;
	char request[256];

	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\"" LIMITS("1") "}");
	k = kf_key(f, ",\"plan\":\"gold\",\"scopes\":[\"a\"],\"allow_ips\":[\"10.0.0.0/8\"]");
	explains(f, "hello", "", "key_invalid", "form!");
	bad = k;
	bad.key[15] = bad.key[15] == 'a' ? 'b' : 'a';
	explains(f, bad.key, "", "key_invalid", "form,checksum!");
	assert_int_equal(token_generate("ak", TOKEN_LIVE, bad.key, &f->e), 0);
	explains(f, bad.key, "", "key_invalid", "form,checksum,lookup!");
	explains(f, k.key, ",\"ip\":\"192.0.2.1\"", "ip_denied",
	    "form,checksum,lookup,state,secret,address!");
	explains(f, k.key, ",\"ip\":\"10.1.1.1\",\"scopes\":\"b\"", "scope_insufficient",
	    "form,checksum,lookup,state,secret,address,referrer,application,method,browser,"
	    "scopes!");
	/* Counts nothing, however often. */
	for (int i = 0; i < 3; i++)
		explains(f, k.key,
		    ",\"ip\":\"10.1.1.1\",\"scopes\":[\"a\"],\"uri\":\"/x\",\"method\":\"GET\"",
		    "ok",
		    "form,checksum,lookup,state,secret,address,referrer,application,method,browser,"
		    "scopes,"
		    "limit minute");
	explains(f, k.key, ",\"ip\":\"10.1.1.1\",\"cost\":2", "rate_limited",
	    "form,checksum,lookup,state,secret,address,referrer,application,method,browser,scopes,"
	    "limit "
	    "minute!");
	assert_true(snprintf(request, sizeof(request),
			"{\"op\":\"key.check\",\"key\":\"%s\",\"ip\":\"10.1.1.1\"}", k.key) > 0);
	r = kf_do(f, request);
	assert_int_equal(json_int(r, "status", 0, 0, 999, NULL), 200);
	assert_string_equal(str(r, "id"), k.id);
	assert_string_equal(str(r, "owner"), "acme");
	assert_string_equal(str(r, "plan"), "gold");
	assert_int_equal(json_int(item(r, "limits", 0), "remaining", 9, 0, 9, NULL), 0);
	assert_int_equal(json_int(item(r, "limits", 0), "reset", 0, 0, 99, NULL), 60);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "retry_after")));
	cJSON_Delete(r);
	/* Low space and a plan that is gone deny in the explanation as in the decision. */
	decide_set_writable(f->decide, 0);
	explains(f, k.key, ",\"ip\":\"10.1.1.1\"", "unavailable",
	    "form,checksum,lookup,state,secret,address,referrer,application,method,browser,scopes,"
	    "limit "
	    "minute,space!");
	decide_set_writable(f->decide, 1);
	k = kf_key(f, ",\"plan\":\"gold\"");
	kf_drop_gold(f);
	explains(f, k.key, "", "unavailable",
	    "form,checksum,lookup,state,secret,address,referrer,application,method,browser,scopes,"
	    "plan!");
	assert_int_equal(f->changed, 0);
}

static void
check_takes_only_what_it_can(void **state)
{
	struct kf *f = *state;

	kf_fails(f, "{\"op\":\"key.check\"}", "usage", "\"key\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"id\":\"key_0123456789abcdef\"}", "usage",
	    "\"key\" or \"id\"");
	kf_fails(f, "{\"op\":\"key.check\",\"id\":\"ak_live_x\"}", "input", "not the id");
	kf_fails(f, "{\"op\":\"key.check\",\"id\":\"key_0123456789abcdef\"}", "not_found",
	    "there is no key key_0123456789abcdef");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"browser\":1}", "input", "\"browser\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"ip\":\"999\"}", "input", "\"ip\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"cost\":-1}", "input", "\"cost\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"cost\":1000001}", "input", "\"cost\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"scopes\":7}", "input", "\"scopes\"");
	kf_fails(f, "{\"op\":\"key.check\",\"key\":\"x\",\"scopes\":[7]}", "input", "\"scopes\"");
	kf_fails(
	    f, "{\"op\":\"key.check\",\"key\":\"x\",\"scopes\":\"a:*\"}", "input", "\"scopes\"");
	kf_fails(f,
	    "{\"op\":\"key.check\",\"key\":\"x\",\"method\":\"AAAAAAAAAABBBBBBBBBBCCCCCCCCCCDDD\"}",
	    "input", "\"method\"");
}

static void
plans_come_and_go(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	const cJSON *l;
	cJSON *r;

	r = kf_do(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"per\":\"owner\"" LIMITS("5") "}");
	assert_int_equal(f->changed, 1);
	assert_string_equal(str(r, "name"), "gold");
	assert_string_equal(str(r, "per"), "owner");
	l = item(r, "limits", 0);
	assert_string_equal(str(l, "name"), "minute");
	assert_int_equal(json_int(l, "limit", 0, 0, 99, NULL), 5);
	assert_int_equal(json_int(l, "window_seconds", 0, 0, 99, NULL), 60);
	assert_false(json_bool(l, "dry_run", 1, NULL));
	cJSON_Delete(r);
	f->now.wall_us += CLOCK_SECOND;
	k = kf_key(f, ",\"plan\":\"gold\"");
	r = kf_do(f, "{\"op\":\"plan.set\",\"name\":\"gold\"" LIMITS("6") "}");
	assert_string_equal(str(r, "per"), "key");
	assert_string_equal(str(r, "created"), "2027-01-15T08:00:00Z");
	assert_string_equal(str(r, "changed"), "2027-01-15T08:00:01Z");
	assert_int_equal(json_int(r, "keys", 0, 0, 99, NULL), 1);
	cJSON_Delete(r);
	kf_fails(f, "{\"op\":\"plan.remove\",\"name\":\"gold\"}", "conflict", "1 keys use");
	kf_done(f, kf_on("key.set", k.id, ",\"plan\":null"));
	kf_done(f, "{\"op\":\"plan.remove\",\"name\":\"gold\"}");
	kf_fails(f, "{\"op\":\"plan.show\",\"name\":\"gold\"}", "not_found", "gold");
	kf_fails(f, "{\"op\":\"plan.remove\",\"name\":\"gold\"}", "not_found", "gold");
	assert_int_equal(audited(f), 5);
}

/* Scopes of a plan: whose they are is told; what is not said again when it is set is gone. */
static void
plans_have_scopes(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	cJSON *r;

	r = kf_do(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"scopes\":[\"a:*\",\"b\"]}");
	assert_int_equal(count(r, "scopes"), 2);
	cJSON_Delete(r);
	k = kf_key(f, ",\"plan\":\"gold\"");
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_int_equal(count(r, "scopes"), 0);
	assert_int_equal(count(r, "held_scopes"), 2);
	assert_string_equal(str(r, "scopes_from"), "plan");
	cJSON_Delete(r);
	kf_done(f, kf_on("key.set", k.id, ",\"scopes\":[\"c\"]"));
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_string_equal(item(r, "held_scopes", 0)->valuestring, "c");
	assert_string_equal(str(r, "scopes_from"), "key");
	cJSON_Delete(r);
	kf_done(f, kf_on("key.set", k.id, ",\"scopes\":[]"));
	kf_fails(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"scopes\":[\"a b\"]}", "input",
	    "segments of letters");
	kf_fails(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"scopes\":[\"a\",\"a\"]}", "input",
	    "given twice");
	kf_fails(
	    f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"scopes\":[1]}", "input", "\"scopes\"");
	kf_fails(
	    f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"scopes\":\"a\"}", "input", "\"scopes\"");
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\"}");
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(r, "scopes_from")));
	cJSON_Delete(r);
}

/* A default_plan that nobody made once made keys without limits. */
static void
a_key_needs_a_plan_that_is_there(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");

	memcpy(f->default_plan, "gold", 5);
	kf_fails(f, "{\"op\":\"key.create\",\"owner\":\"a\"}", "not_found",
	    "no plan \"gold\" (default_plan in apikeyd.conf names it); make it with: apikey plan "
	    "set gold --limit NAME=N/WINDOW");
	kf_fails(f, kf_on("key.set", k.id, ",\"plan\":null"), "not_found", "default_plan");
	kf_fails(f, kf_on("key.set", k.id, ",\"plan\":\"gold\""), "not_found",
	    "no plan \"gold\"; make it with");
	kf_done(f, kf_on("key.set", k.id, ",\"name\":\"n\",\"plan\":\"default\""));
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\"}");
	k = kf_key(f, "");
	kf_drop_gold(f);
	kf_fails(f, kf_on("key.set", k.id, ",\"name\":\"n\""), "not_found", "apikey plan set gold");
	kf_done(f, kf_on("key.disable", k.id, ""));
}

static void
the_built_in_plan_is_shown(void **state)
{
	struct kf *f = *state;
	cJSON *r;

	(void)kf_key(f, "");
	r = kf_do(f, "{\"op\":\"plan.show\",\"name\":\"default\"}");
	assert_true(cJSON_PrintPreallocated(r, f->reply, sizeof(f->reply), 0));
	assert_string_equal(f->reply,
	    "{\"name\":\"default\",\"per\":\"key\",\"limits\":[],\"scopes\":[],\"max_age\":"
	    "null,\"max_age_seconds\":null,\"max_age_deny\":false,\"builtin\":true,"
	    "\"created\":null,\"changed\":null,\"keys\":1}");
	cJSON_Delete(r);
	kf_fails(f, "{\"op\":\"plan.remove\",\"name\":\"default\"}", "conflict", "is built in");
	r = kf_do(f, "{\"op\":\"plan.set\",\"name\":\"default\"" LIMITS("5") "}");
	assert_false(json_bool(r, "builtin", 1, NULL));
	assert_string_equal(str(r, "created"), "2027-01-15T08:00:00Z");
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"plan.show\",\"name\":\"default\"}");
	assert_false(json_bool(r, "builtin", 1, NULL));
	assert_int_equal(count(r, "limits"), 1);
	cJSON_Delete(r);
	kf_fails(f, "{\"op\":\"plan.remove\",\"name\":\"default\"}", "conflict", "1 keys use");
}

static void
bad_plans_are_refused(void **state)
{
	static const struct {
		const char *members, *code, *words;
	} cases[] = {
	    {"", "usage", "\"name\""},
	    {",\"name\":\"a b\"", "input", "name"},
	    {",\"name\":\"a-name-that-is-longer-than-any-plan-can-have-in-this-gate-really-it-is\"",
		"input", "name"},
	    {",\"name\":\"p\",\"per\":\"day\"", "input", "\"per\""},
	    {",\"name\":\"p\",\"limits\":[7]", "input", "\"limits\""},
	    {",\"name\":\"p\",\"limits\":[{\"name\":\"a\"}]", "usage", "\"units\""},
	    {",\"name\":\"p\",\"limits\":[{\"n\":\"a\"}]", "usage", "\"n\""},
	    {",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":0,\"window\":\"1s\"}]", "input",
		"\"units\""},
	    {",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":1,\"window\":\"1y\"}]", "input",
		"\"window\""},
	    {",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":1,\"window\":\"1s\"},"
	     "{\"name\":\"a\",\"units\":1,\"window\":\"1s\"}]",
		"input", "twice"},
	    {",\"name\":\"p\",\"limits\":[{\"name\":\"a-name-longer-than-thirty-two-bytes\","
	     "\"units\":1,"
	     "\"window\":\"1s\"}]",
		"input", "name"},
	    {",\"name\":\"p\",\"dry_run\":1", "input", "\"dry_run\""},
	};
	struct kf *f = *state;
	char request[512];
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(snprintf(request, sizeof(request), "{\"op\":\"plan.set\"%s}",
				cases[i].members) > 0);
		kf_fails(f, request, cases[i].code, cases[i].words);
	}
	len = (size_t)snprintf(
	    request, sizeof(request), "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[");
	for (int i = 0; i <= PLAN_LIMITS_MAX; i++)
		len += (size_t)snprintf(request + len, sizeof(request) - len,
		    "%s{\"name\":\"l%d\",\"units\":1,\"window\":\"1s\"}", i > 0 ? "," : "", i);
	(void)snprintf(request + len, sizeof(request) - len, "]}");
	kf_fails(f, request, "input", "at most");
}

static void
make_plans(struct kf *f, char letter, int from, int to)
{
	char request[128];

	for (int i = from; i < to; i++) {
		(void)snprintf(request, sizeof(request),
		    "{\"op\":\"plan.set\",\"name\":\"%c%02d\"}", letter, i);
		kf_done(f, request);
	}
}

/* All pages: every plan once and in order, and one of them the default plan, built in or not. */
static void
pages_hold(struct kf *f, int plans, int builtin)
{
	char request[128] = "{\"op\":\"plan.list\"}", last[PLAN_NAME_MAX + 1] = "";
	int seen = 0, defaults = 0, more = 1;

	while (more) {
		cJSON *r = kf_do(f, request);
		int n = count(r, "plans");

		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			const cJSON *p = item(r, "plans", i);
			int is_default = strcmp(str(p, "name"), PLAN_BUILTIN) == 0;

			assert_true(strcmp(last, str(p, "name")) < 0);
			assert_int_equal(span_copy(last, sizeof(last), span_of(str(p, "name"))), 0);
			assert_int_equal(json_bool(p, "builtin", -1, NULL), is_default && builtin);
			defaults += is_default;
		}
		seen += n;
		more = !cJSON_IsNull(cJSON_GetObjectItem(r, "next"));
		if (more)
			assert_string_equal(str(r, "next"), last);
		(void)snprintf(
		    request, sizeof(request), "{\"op\":\"plan.list\",\"after\":\"%s\"}", last);
		cJSON_Delete(r);
	}
	assert_int_equal(defaults, 1);
	assert_int_equal(seen, plans);
}

/* The built-in plan in front of, at, and behind every end of a page. */
static void
plan_lists_page(void **state)
{
	struct kf *f = *state;
	int n = 0;

	pages_hold(f, 1, 1);
	for (; n < 52; n++) {
		make_plans(f, 'a', n, n + 1);
		pages_hold(f, n + 2, 1);
	}
	make_plans(f, 'p', 0, 60);
	pages_hold(f, n + 61, 1);
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"default\"}");
	pages_hold(f, n + 61, 0);
	kf_fails(f, "{\"op\":\"plan.list\",\"after\":1}", "input", "\"after\"");
}

static void
peppers_are_counted_and_reloaded(void **state)
{
	struct kf *f = *state;
	uint32_t v;
	cJSON *r;

	(void)kf_key(f, "");
	(void)kf_key(f, "");
	assert_int_equal(peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &v, &f->e), 0);
	r = kf_do(f, "{\"op\":\"pepper.list\"}");
	assert_int_equal(count(r, "peppers"), 1);
	assert_int_equal(json_int(item(r, "peppers", 0), "keys", 0, 0, 9, NULL), 2);
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"pepper.reload\"}");
	assert_int_equal(json_int(r, "newest", 0, 0, 9, NULL), 2);
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"pepper.list\"}");
	assert_int_equal(count(r, "peppers"), 2);
	assert_int_equal(json_int(item(r, "peppers", 0), "version", 0, 0, 9, NULL), 2);
	assert_true(json_bool(item(r, "peppers", 0), "newest", 0, NULL));
	assert_int_equal(json_int(item(r, "peppers", 0), "keys", 9, 0, 9, NULL), 0);
	assert_int_equal(json_int(item(r, "peppers", 1), "keys", 9, 0, 9, NULL), 2);
	cJSON_Delete(r);
	/* Peppers that do not load replace nothing. */
	assert_int_equal(unlink(f->pepper_file), 0);
	kf_fails(f, "{\"op\":\"pepper.reload\"}", "not_found", "apikey pepper add");
	r = kf_do(f, "{\"op\":\"pepper.list\"}");
	assert_int_equal(count(r, "peppers"), 2);
	cJSON_Delete(r);
}

static const char *
changed_to(const cJSON *entry, const char *member)
{
	return str(cJSON_GetObjectItem(cJSON_GetObjectItem(entry, "detail"), member), "to");
}

static void
the_audit_trail_is_read_in_order(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), other;
	char request[128];
	cJSON *r;

	f->now.wall_us += 10 * CLOCK_SECOND;
	other = kf_key(f, "");
	kf_done(f, kf_on("key.revoke", k.id, ",\"reason\":\"leak\""));
	(void)snprintf(request, sizeof(request), "{\"op\":\"audit.list\",\"key\":\"%s\"}", k.id);
	r = kf_do(f, request);
	assert_int_equal(count(r, "entries"), 2);
	assert_string_equal(str(item(r, "entries", 1), "op"), "key.revoke");
	assert_string_equal(str(item(r, "entries", 1), "subject"), k.id);
	assert_string_equal(str(item(r, "entries", 1), "time"), "2027-01-15T08:00:10Z");
	assert_int_equal(json_int(item(r, "entries", 1), "uid", 9, 0, 9, NULL), 0);
	assert_string_equal(changed_to(item(r, "entries", 1), "reason"), "leak");
	assert_string_equal(changed_to(item(r, "entries", 1), "state"), "revoked");
	assert_null(
	    cJSON_GetObjectItem(cJSON_GetObjectItem(item(r, "entries", 1), "detail"), "id"));
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"audit.list\",\"since\":\"2027-01-15T08:00:05Z\"}");
	assert_int_equal(count(r, "entries"), 2);
	assert_string_equal(str(item(r, "entries", 0), "subject"), other.id);
	cJSON_Delete(r);
	r = kf_do(f, "{\"op\":\"audit.list\",\"max\":1,\"after\":1}");
	assert_int_equal(count(r, "entries"), 1);
	assert_int_equal(json_int(item(r, "entries", 0), "seq", 0, 0, 9, NULL), 2);
	assert_int_equal(json_int(r, "next", 0, 0, 9, NULL), 2);
	cJSON_Delete(r);
	kf_fails(f, "{\"op\":\"audit.list\",\"since\":\"now\"}", "input", "\"since\"");
	kf_fails(f, "{\"op\":\"audit.list\",\"after\":\"x\"}", "input", "\"after\"");
}

static void
low_space_leaves_revocation(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");

	f->ops.low_space = 1;
	kf_fails(f, "{\"op\":\"key.create\",\"owner\":\"a\"}", "full", "free some space");
	kf_fails(f, kf_on("key.set", k.id, ",\"name\":\"x\""), "full", "free some space");
	kf_fails(f, "{\"op\":\"plan.set\",\"name\":\"p\"}", "full", "");
	kf_done(f, kf_on("key.show", k.id, ""));
	kf_done(f, kf_on("key.disable", k.id, ""));
	kf_done(f, kf_on("key.revoke", k.id, ""));
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_REVOKED);
}

/* What key.lookup says of these, as JSON text without blanks; the caller frees it. */
static char *
looked_up(struct kf *f, const char *keys)
{
	char request[2048];
	cJSON *r;
	char *text;

	assert_true(snprintf(request, sizeof(request), "{\"op\":\"key.lookup\",\"keys\":[%s]}",
			keys) < (int)sizeof(request));
	r = kf_do(f, request);
	assert_int_equal(cJSON_GetArraySize(r), 1);
	text = cJSON_PrintUnformatted(cJSON_GetObjectItem(r, "keys"));
	assert_non_null(text);
	cJSON_Delete(r);
	return text;
}

#define ANSWER "[{\"id\":\"%s\",\"state\":\"%s\",\"until\":null}]"

static void
looks_up_as(struct kf *f, const struct kf_key *k, const char *state)
{
	char key[TOKEN_MAX + 3], want[256], *text;

	(void)snprintf(key, sizeof(key), "\"%s\"", k->key);
	(void)snprintf(want, sizeof(want), ANSWER, k->id, state);
	text = looked_up(f, key);
	assert_string_equal(text, want);
	cJSON_free(text);
}

/* Ids and states, of what is known alone; and it changes nothing. */
static void
lookups_tell_ids_and_states(void **state)
{
	struct kf *f = *state;
	struct kf_key active = kf_key(f, ""), disabled = kf_key(f, ""), revoked = kf_key(f, ""),
		      pending = kf_key(f, ",\"not_before\":\"2028-01-01T00:00:00Z\""),
		      stopped = kf_key(f, "");
	char keys[512], *text;
	int before;

	kf_done(f, kf_on("key.disable", disabled.id, ""));
	kf_done(f, kf_on("key.revoke", revoked.id, ""));
	kf_done(f, kf_on("key.set", stopped.id, ",\"owner\":\"off\""));
	kf_done(f, "{\"op\":\"owner.disable\",\"owner\":\"off\"}");
	before = audited(f);
	looks_up_as(f, &active, "active");
	looks_up_as(f, &disabled, "disabled");
	looks_up_as(f, &revoked, "revoked");
	looks_up_as(f, &pending, "pending");
	looks_up_as(f, &stopped, "disabled");
	(void)snprintf(keys, sizeof(keys), "\"x\",\"%s\",\"%.*s\",\"%s\"", active.key,
	    (int)strlen(active.key) - 1, active.key, active.id);
	text = looked_up(f, keys);
	assert_true(strncmp(text, "[null,{", 7) == 0 && strstr(text, "},null,null]") != NULL);
	assert_null(strstr(f->reply, active.key));
	assert_null(strstr(f->reply, "acme"));
	cJSON_free(text);
	assert_int_equal(audited(f), before);
	assert_int_equal(f->changed, 0);
}

static void
lookups_know_replaced_secrets(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), fresh = k;
	char key[TOKEN_MAX + 3], want[256], *text;
	cJSON *r = kf_do(f, kf_on("key.rotate", k.id, ",\"grace\":3600"));

	assert_int_equal(span_copy(fresh.key, sizeof(fresh.key), span_of(str(r, "key"))), 0);
	cJSON_Delete(r);
	looks_up_as(f, &fresh, "active");
	(void)snprintf(key, sizeof(key), "\"%s\"", k.key);
	(void)snprintf(want, sizeof(want),
	    "[{\"id\":\"%s\",\"state\":\"replaced\",\"until\":\"2027-01-15T09:00:00Z\"}]", k.id);
	text = looked_up(f, key);
	assert_string_equal(text, want);
	cJSON_free(text);
	f->now.wall_us += 3600 * CLOCK_SECOND;
	looks_up_as(f, &k, "replaced");
	looks_up_as(f, &fresh, "active");
	/* Of a key that no secret opens any more, there is nothing else to be said. */
	kf_done(f, kf_on("key.revoke", k.id, ""));
	looks_up_as(f, &k, "revoked");
}

static void
lookups_are_bounded(void **state)
{
	struct kf *f = *state;
	char request[1024] = "{\"op\":\"key.lookup\",\"keys\":[\"x\"";
	size_t n = strlen(request);
	cJSON *r;

	kf_fails(f, "{\"op\":\"key.lookup\"}", "usage", "\"keys\"");
	kf_fails(f, "{\"op\":\"key.lookup\",\"keys\":\"x\"}", "input", "\"keys\"");
	kf_fails(f, "{\"op\":\"key.lookup\",\"keys\":[7]}", "input", "\"keys\"");
	kf_fails(f, "{\"op\":\"key.lookup\",\"keys\":[\"\"]}", "input", "\"keys\"");
	for (int i = 1; i < OPS_PAGE_MAX; i++, n += 4)
		memcpy(request + n, ",\"x\"", 5);
	memcpy(request + n, "]}", 3);
	/* Of more than can be answered while checks wait, the first are. */
	r = kf_do(f, request);
	assert_in_range(count(r, "keys"), OPS_PAGE_MIN, OPS_PAGE_MAX);
	cJSON_Delete(r);
	memcpy(request + n, ",\"x\"]}", 7);
	kf_fails(f, request, "usage", "at most 200");
}

static void
figures_are_told(void **state)
{
	struct kf *f = *state;
	cJSON *r;

	(void)kf_key(f, "");
	r = kf_do(f, "{\"op\":\"db.stat\"}");
	assert_int_equal(json_int(r, "keys", 0, 0, 9, NULL), 1);
	assert_int_equal(json_int(r, "audit", 0, 0, 9, NULL), 1);
	assert_true(json_int(r, "commits", 0, 0, INT64_MAX, NULL) >= 1);
	assert_non_null(strstr(str(r, "engine"), "Berkeley DB"));
	assert_true(cJSON_IsNumber(cJSON_GetObjectItem(r, "uptime")));
	cJSON_Delete(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	    T(only_the_allowed_are_heard),
	    T(malformed_requests_are_named),
	    T(a_key_is_made_whole),
	    T(bad_members_are_refused),
	    T(too_many_are_refused),
	    T(set_replaces_and_clears),
	    T(states_change_once),
	    T(ids_are_not_echoed_unless_they_are_ids),
	    T(lists_filter_and_page),
	    T(ends_come_after_beginnings),
	    T(large_lists_fit),
	    T(show_tells_what_is_used),
	    T(check_explains_each_step),
	    T(check_takes_only_what_it_can),
	    T(plans_come_and_go),
	    T(plans_have_scopes),
	    T(a_key_needs_a_plan_that_is_there),
	    T(the_built_in_plan_is_shown),
	    T(bad_plans_are_refused),
	    T(plan_lists_page),
	    T(peppers_are_counted_and_reloaded),
	    T(the_audit_trail_is_read_in_order),
	    T(low_space_leaves_revocation),
	    T(lookups_tell_ids_and_states),
	    T(lookups_know_replaced_secrets),
	    T(lookups_are_bounded),
	    T(figures_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
