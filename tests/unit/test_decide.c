/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the steps of a decision in their order, over a real store: who is refused for what, and
 * that a refused request writes nothing while an admitted one is counted in every limit, once.
 * Guards Invariants 1, 2, 3 and 6 (every path that does not reach the last step denies).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"

#define PLAN(name, more) "{\"op\":\"plan.set\",\"name\":\"" name "\"" more "}"
#define LIMIT(name, units, window)                                                                 \
	"{\"name\":\"" name "\",\"units\":" units ",\"window\":\"" window "\"}"

static uint64_t
units(struct kf *f, const char *id)
{
	cJSON *r = kf_do(f, kf_on("key.show", id, "")), *l;
	uint64_t sum = 0;

	cJSON_ArrayForEach(l, cJSON_GetObjectItem(r, "limits"))
	{
		sum += (uint64_t)json_int(l, "used", 0, 0, INT64_MAX, NULL);
	}
	cJSON_Delete(r);
	return sum;
}

static void
an_admitted_key_is_named(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ",\"scopes\":[\"a:read\",\"b:*\"],\"meta\":{\"tier\":\"1\"}");
	struct wire_check c = kf_check(&k);
	struct wire_answer a;
	int wrote;

	c.needed_scopes = span_of("b:x a:read");
	c.seq = 77;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0); /* no limits, nothing to count */
	assert_int_equal(a.seq, 77);
	assert_true(span_is(a.id, k.id));
	assert_true(span_is(a.owner, "acme"));
	assert_true(span_is(a.plan, "default"));
	assert_true(span_is(a.scopes, "a:read b:*"));
	assert_true(span_is(a.meta, "{\"tier\":\"1\"}"));
	assert_int_equal(a.nlimits, 0);
}

static void
unknown_and_malformed_look_alike(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ""), unknown = k;
	struct wire_check c = kf_check(&k);
	struct wire_answer a, b;

	assert_int_equal(token_generate("ak", TOKEN_LIVE, unknown.key, &f->e), 0);
	c.credential = span_of(unknown.key);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_INVALID);
	k.key[20] = k.key[20] == 'a' ? 'b' : 'a'; /* the checksum fails */
	c.credential = span_of(k.key);
	assert_int_equal(kf_decide(f, &c, &b, NULL), VERDICT_KEY_INVALID);
	assert_memory_equal(&a, &b, sizeof(a));
	c.credential = span_of("");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_INVALID);
	c.credential = span_of("sk_live_0123456789");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_INVALID);
}

static void
states_hold_at_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ",\"expires\":\"2027-01-20T00:00:00Z\"");

	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	kf_done(f, kf_on("key.disable", k.id, ""));
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_DISABLED);
	kf_done(f, kf_on("key.enable", k.id, ""));
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	f->now.wall_us += INT64_C(10) * 86400 * CLOCK_SECOND;
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_EXPIRED);
	kf_done(f, kf_on("key.revoke", k.id, ""));
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_REVOKED);
}

static void
restrictions_and_scopes_refuse(void **state)
{
	struct kf *f = *state;
	struct kf_key k =
	    kf_key(f, ",\"allow_ips\":[\"192.0.2.0/24\"],\"referrers\":[\"https://"
		      "example.org\"],\"apps\":[\"shop\"],"
		      "\"methods\":[\"GET\"],\"browsers\":\"deny\",\"scopes\":[\"a\"]");
	struct wire_check c = kf_check(&k);
	struct wire_answer a;

	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_IP_DENIED);
	c.has_addr = 1;
	assert_int_equal(netaddr_parse(span_of("198.51.100.1"), &c.addr), 0);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_IP_DENIED);
	assert_int_equal(netaddr_parse(span_of("192.0.2.9"), &c.addr), 0);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_REFERRER_DENIED);
	c.referrer = span_of("https://example.org/x");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_APP_DENIED);
	c.app = span_of("shop");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_METHOD_DENIED);
	c.method = span_of("GET");
	c.browser = 1;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_BROWSER_DENIED);
	c.browser = 0;
	c.needed_scopes = span_of("b");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_SCOPE_INSUFFICIENT);
	assert_int_equal(a.id.len, 0);
	assert_int_equal(a.owner.len, 0);
	c.needed_scopes = span_of("a");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	/* A worker that is not ours. */
	c.needed_scopes = span_of("a b:*");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_MISCONFIGURED);
}

static void
limits_are_all_or_nothing(void **state)
{
	struct kf *f = *state;
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("burst", "2", "10s") "," LIMIT(
				 "day", "100", "1d") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	assert_int_equal(a.nlimits, 2);
	assert_string_equal(a.limits[0].name, "burst");
	assert_int_equal(a.limits[0].max_units, 2);
	assert_int_equal(a.limits[0].window_us, 10 * CLOCK_SECOND);
	assert_int_equal(a.limits[0].remaining, 1);
	assert_int_equal(a.limits[0].more_us, 10 * CLOCK_SECOND); /* the window was empty */
	assert_int_equal(a.limits[1].remaining, 99);
	f->now.steady_us += 3 * CLOCK_SECOND;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(a.limits[0].remaining, 0);
	assert_int_equal(a.limits[0].more_us, 7 * CLOCK_SECOND);
	assert_int_equal(units(f, k.id), 4);
	/* Refused by the one, it is counted in neither. */
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_RATE_LIMITED);
	assert_int_equal(wrote, 0);
	assert_int_equal(a.limits[0].violated, 1);
	assert_int_equal(a.limits[1].violated, 0);
	assert_int_equal(a.limits[1].remaining, 98);
	assert_int_equal(a.retry_us, 7 * CLOCK_SECOND);
	assert_int_equal(a.id.len, 0);
	assert_int_equal(units(f, k.id), 4);
	/* To the microsecond. */
	f->now.steady_us += 7 * CLOCK_SECOND - 1;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(a.retry_us, 1);
	f->now.steady_us += 1;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
}

static void
the_longest_wait_is_told(void **state)
{
	struct kf *f = *state;
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;

	kf_done(
	    f, PLAN("p", ",\"limits\":[" LIMIT("a", "5", "100s") "," LIMIT("b", "3", "10s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.cost = 3;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(a.limits[0].remaining, 2);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(a.retry_us, 100 * CLOCK_SECOND);
	/* Never wins over any wait. */
	c.cost = 4;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(a.retry_us, -1);
	assert_int_equal(a.limits[0].violated, 1);
	assert_int_equal(a.limits[1].violated, 1);
	/* Nothing at all is decided, but not counted. */
	c.cost = 0;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(a.limits[1].remaining, 0);
	assert_int_equal(units(f, k.id), 6);
}

static void
dry_runs_count_and_never_refuse(void **state)
{
	struct kf *f = *state;
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;

	kf_done(f, PLAN("p", ",\"dry_run\":true,\"limits\":[" LIMIT("a", "2", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
		assert_int_equal(a.nlimits, 0);
	}
	assert_int_equal(units(f, k.id), 5);
}

static void
owners_share_a_plan_per_owner(void **state)
{
	struct kf *f = *state;
	struct kf_key a, b;

	kf_done(f, PLAN("p", ",\"per\":\"owner\",\"limits\":[" LIMIT("a", "2", "100s") "]"));
	a = kf_key(f, ",\"plan\":\"p\"");
	b = kf_key(f, ",\"plan\":\"p\"");
	assert_int_equal(kf_verdict(f, &a), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &b), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &a), VERDICT_RATE_LIMITED);
	assert_int_equal(kf_verdict(f, &b), VERDICT_RATE_LIMITED);
	/* Another owner has units of its own. */
	kf_done(f, kf_on("key.set", b.id, ",\"owner\":\"other\""));
	assert_int_equal(kf_verdict(f, &b), VERDICT_OK);
}

/* A key whose plan is gone is not a key without limits, not even (once it was) when default_plan
 * has the same name. */
static void
a_missing_plan_denies(void **state)
{
	static char gold[] = "gold";
	struct kf *f = *state;
	struct kf_key k, builtin = kf_key(f, "");
	struct wire_check c;
	struct wire_answer a;

	kf_done(f, PLAN("gold", ""));
	k = kf_key(f, ",\"plan\":\"gold\"");
	c = kf_check(&k);
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	kf_drop_gold(f);
	for (int i = 0; i < 2; i++) {
		f->config.default_plan = gold;
		assert_int_equal(decide_configure(f->decide, &f->config, &f->e), 0);
		assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_UNAVAILABLE);
		assert_int_equal(a.id.len, 0);
	}
	/* As soon as it is there it counts. */
	kf_done(f, PLAN("gold", ",\"limits\":[" LIMIT("a", "1", "100s") "]"));
	assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &k), VERDICT_RATE_LIMITED);
	/* The built-in plan is there under any default_plan, and a stored one takes its place. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(kf_verdict(f, &builtin), VERDICT_OK);
	kf_done(f, PLAN("default", ",\"limits\":[" LIMIT("a", "1", "100s") "]"));
	assert_int_equal(kf_verdict(f, &builtin), VERDICT_OK);
	assert_int_equal(kf_verdict(f, &builtin), VERDICT_RATE_LIMITED);
	f->config.key_prefix = (char[]){"UP"};
	assert_int_equal(decide_configure(f->decide, &f->config, &f->e), -1);
	f->config.key_prefix = f->prefix;
	f->config.default_plan =
	    (char[]){"a-name-that-is-longer-than-any-plan-can-have-in-this-gate-really-it-is"};
	assert_int_equal(decide_configure(f->decide, &f->config, &f->e), -1);
}

static uint64_t
units_left(struct kf *f, const struct kf_key *k, const char *limit)
{
	struct wire_check c = kf_check(k);
	struct wire_answer a;

	c.cost = 0;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	for (size_t i = 0; i < a.nlimits; i++) {
		if (strcmp(a.limits[i].name, limit) == 0)
			return a.limits[i].remaining;
	}
	fail_msg("no limit %s", limit);
	return 0;
}

static void
assert_left(struct kf *f, const struct kf_key *k, const char *limit, uint64_t left)
{
	assert_int_equal(units_left(f, k, limit), left);
}

/* Whatever becomes of a plan, what was used still counts, in this plan and in the next. */
static void
plan_changes_lose_nothing(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	cJSON *r;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("minute", "10", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	for (int i = 0; i < 3; i++)
		assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
	r = kf_do(f, PLAN("p", ",\"limits\":[" LIMIT("min", "10", "60s") "]"));
	assert_string_equal(json_str(cJSON_GetObjectItem(r, "renamed"), "minute", NULL), "min");
	cJSON_Delete(r);
	assert_left(f, &k, "min", 7);
	/* With other figures only when it is said. */
	kf_done(
	    f, PLAN("p", ",\"rename\":{\"min\":\"m\"},\"limits\":[" LIMIT("m", "20", "1h") "]"));
	assert_left(f, &k, "m", 17);
	kf_fails(f, PLAN("p", ",\"rename\":{\"x\":\"m\"},\"limits\":[" LIMIT("m", "20", "1h") "]"),
	    "input", "no limit 'x'");
	kf_fails(f, PLAN("p", ",\"rename\":{\"m\":1},\"limits\":[" LIMIT("m", "20", "1h") "]"),
	    "input", "must name limits");
	/* Gone and come back; and a new one that has the name of the log. */
	kf_done(f, PLAN("p", ",\"limits\":[]"));
	kf_done(f,
	    PLAN("p", ",\"limits\":[" LIMIT("m", "5", "1h") "," LIMIT("minute", "10", "60s") "]"));
	assert_left(f, &k, "m", 2);
	assert_left(f, &k, "minute", 10);
	/* A plan that is made later knows limits of that name by the same log. */
	kf_done(f, PLAN("q", ",\"limits\":[" LIMIT("m", "8", "2h") "]"));
	kf_done(f, kf_on("key.set", k.id, ",\"plan\":\"q\""));
	assert_left(f, &k, "m", 5);
	/* The audit trail says what was recognised. */
	r = kf_trail(f);
	assert_string_equal(
	    json_str(cJSON_GetObjectItem(
			 cJSON_GetObjectItem(
			     cJSON_GetArrayItem(cJSON_GetObjectItem(r, "entries"), 2), "detail"),
			 "rename"),
		"minute", NULL),
	    "min");
	cJSON_Delete(r);
}

/*
 * Two plans per owner, with limits of one name, the keys of one owner under both: each counts what
 * all of them used within its own window.  (What had expired for the shorter window and was beyond
 * its N was forgotten, and the longer one let more than its N through.)
 */
static void
plans_of_one_owner_share_their_logs(void **state)
{
	struct kf *f = *state;
	struct kf_key shorter, longer;

	kf_done(f, PLAN("a", ",\"per\":\"owner\",\"limits\":[" LIMIT("l", "10", "1s") "]"));
	kf_done(f, PLAN("b", ",\"per\":\"owner\",\"limits\":[" LIMIT("l", "1000", "100s") "]"));
	shorter = kf_key(f, ",\"plan\":\"a\"");
	longer = kf_key(f, ",\"plan\":\"b\"");
	for (int i = 0; i < 600; i++) {
		assert_int_equal(kf_verdict(f, &shorter), VERDICT_OK);
		f->now.steady_us += CLOCK_SECOND / 10;
		if (i == 300) {
			kf_close(f);
			kf_open(f);
		}
	}
	assert_left(f, &longer, "l", 400);
	/* Nothing has to be kept for plans that are gone. */
	kf_done(f, kf_on("key.set", longer.id, ",\"plan\":\"a\""));
	kf_done(f, "{\"op\":\"plan.remove\",\"name\":\"b\"}");
	for (int i = 0; i < 300; i++) {
		assert_int_equal(kf_verdict(f, &shorter), VERDICT_OK);
		f->now.steady_us += CLOCK_SECOND / 10;
	}
	kf_done(f, PLAN("b", ",\"per\":\"owner\",\"limits\":[" LIMIT("l", "1000", "100s") "]"));
	kf_done(f, kf_on("key.set", longer.id, ",\"plan\":\"b\""));
	f->now.steady_us += 10 * CLOCK_SECOND;
	assert_true(units_left(f, &longer, "l") > 700);
}

static void
a_request_id_counts_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k, other;
	struct wire_check c;
	struct wire_answer a, b;
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "2", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\",\"scopes\":[\"s\"]");
	other = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.request_id = span_of("r-1");
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	f->now.steady_us += CLOCK_SECOND;
	assert_int_equal(kf_decide(f, &c, &b, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
	assert_int_equal(b.nlimits, 1);
	assert_memory_equal(&a.limits[0], &b.limits[0], sizeof(a.limits[0]));
	assert_int_equal(units(f, k.id), 1);
	/* Only the counting is remembered: everything else is decided. */
	c.needed_scopes = span_of("t");
	assert_int_equal(kf_decide(f, &c, &b, NULL), VERDICT_SCOPE_INSUFFICIENT);
	c.needed_scopes = span_of("");
	/* Another key, another cost: another request. */
	c.credential = span_of(other.key);
	assert_int_equal(kf_decide(f, &c, &b, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	c.credential = span_of(k.key);
	c.cost = 2;
	assert_int_equal(kf_decide(f, &c, &b, NULL), VERDICT_RATE_LIMITED);
	/* A refusal is repeated as well, though there is room meanwhile. */
	f->now.steady_us += 5 * CLOCK_SECOND;
	assert_int_equal(kf_decide(f, &c, &b, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(b.limits[0].violated, 1);
	c.cost = 1;
	f->now.steady_us += 10 * CLOCK_SECOND;
	assert_int_equal(kf_decide(f, &c, &b, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	assert_int_equal(units(f, k.id), 2);
	/* After a change of any plan the figures are read anew, but it is not counted again. */
	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "9", "100s") "]"));
	assert_int_equal(kf_decide(f, &c, &b, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
	assert_int_equal(b.limits[0].max_units, 9);
	assert_int_equal(b.limits[0].remaining, 7);
}

/* What a batch that failed has counted, its request id has not. */
static void
an_aborted_batch_counts_nothing(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	struct kf_batch b = {.f = f, .check = &c, .answer = &a, .fail_after = 1};
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "2", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.request_id = span_of("r-1");
	assert_int_equal(store_batch(f->store, kf_in_batch, &b, &f->e), -1);
	decide_batch_end(f->decide, 0);
	assert_int_equal(units(f, k.id), 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	assert_int_equal(units(f, k.id), 1);
}

/* Two with the same id in one batch: the second rests on the commit of the first. */
static int
twice(void *cookie, struct err *e)
{
	struct kf_batch *b = cookie;
	int first;

	if (kf_in_batch(b, e) != 0)
		return -1;
	first = b->wrote;
	b->wrote = 0;
	if (kf_in_batch(b, e) != 0)
		return -1;
	return first == 1 && b->wrote == 1 ? 0 : err_set(e, ERR_INTERNAL, "not written");
}

static void
one_batch_counts_an_id_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	struct kf_batch b = {.f = f, .check = &c, .answer = &a};

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "2", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.request_id = span_of("r-1");
	if (store_batch(f->store, twice, &b, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	decide_batch_end(f->decide, 1);
	assert_int_equal(units(f, k.id), 1);
}

static void
sent_again_after_a_restart_is_not_counted(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "1", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.request_id = span_of("r-1");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	kf_close(f);
	kf_open(f);
	c.retry = 1;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
	assert_int_equal(a.limits[0].remaining, 0);
	assert_int_equal(units(f, k.id), 1);
	/* And its request id is known again. */
	c.retry = 0;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
	kf_done(f, kf_on("key.revoke", k.id, ""));
	c.retry = 1;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_KEY_REVOKED);
}

static void
low_space_admits_nothing_that_counts(void **state)
{
	struct kf *f = *state;
	struct kf_key k, free_key = kf_key(f, "");
	struct wire_check c;
	struct wire_answer a;
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "1", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	decide_set_writable(f->decide, 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_UNAVAILABLE);
	assert_int_equal(wrote, 0);
	assert_int_equal(a.id.len, 0);
	assert_int_equal(kf_verdict(f, &free_key), VERDICT_OK);
	c.exposed = KEYREC_EXPOSED_URL;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 0);
	c.exposed = 0;
	decide_set_writable(f->decide, 1);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	decide_set_writable(f->decide, 0);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
}

static void
exposure_is_marked_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	struct wire_check c = kf_check(&k);
	struct wire_answer a;
	cJSON *r, *entries;
	int wrote;

	c.exposed = KEYREC_EXPOSED_URL;
	c.has_addr = 1;
	assert_int_equal(netaddr_parse(span_of("192.0.2.9"), &c.addr), 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 1);
	f->now.wall_us += CLOCK_SECOND;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 0);
	c.exposed = KEYREC_EXPOSED_HTTP;
	assert_int_equal(netaddr_parse(span_of("192.0.2.10"), &c.addr), 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 1);
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_string_equal(json_str(r, "exposed_from", NULL), "192.0.2.9");
	assert_string_equal(json_str(r, "exposed", NULL), "2027-01-15T08:00:00Z");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(r, "exposed_ways")), 2);
	cJSON_Delete(r);
	r = kf_trail(f);
	entries = cJSON_GetObjectItem(r, "entries");
	assert_int_equal(cJSON_GetArraySize(entries), 3);
	assert_string_equal(json_str(cJSON_GetArrayItem(entries, 2), "op", NULL), "key.exposed");
	assert_string_equal(json_str(cJSON_GetArrayItem(entries, 2), "actor", NULL), "gate");
	cJSON_Delete(r);
	/* An unknown key marks nothing; it is not `ok` either. */
	assert_int_equal(token_generate("ak", TOKEN_LIVE, k.key, &f->e), 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 0);
}

/* The entries of the trail about a key, beyond its making: "op op". */
static void
assert_trail(struct kf *f, const struct kf_key *k, const char *want)
{
	char got[256] = "";
	const cJSON *entry;
	cJSON *r;

	r = kf_trail(f);
	cJSON_ArrayForEach(entry, cJSON_GetObjectItem(r, "entries"))
	{
		const char *op = json_str(entry, "op", NULL);
		size_t n = strlen(got);

		if (strcmp(json_str(entry, "subject", NULL), k->id) == 0 &&
		    strcmp(op, "key.create") != 0)
			assert_in_range(
			    snprintf(got + n, sizeof(got) - n, "%s%s", n > 0 ? " " : "", op), 1,
			    64);
	}
	cJSON_Delete(r);
	assert_string_equal(got, want);
}

static void
configure(struct kf *f, enum config_browsers browsers, enum config_exposure exposure)
{
	f->config.reject_browsers = browsers;
	f->config.on_exposure = exposure;
	assert_int_equal(decide_configure(f->decide, &f->config, &f->e), 0);
}

/* The mark is in the check's own batch, once; what is refused for it is refused in that very one.
 */
static void
browsers_are_marked_or_refused(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	int wrote;

	kf_done(f, PLAN("p", ",\"limits\":[" LIMIT("a", "9", "100s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.browser = 1;
	configure(f, BROWSERS_OFF, EXPOSURE_FLAG);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_trail(f, &k, "");
	configure(f, BROWSERS_DENY, EXPOSURE_FLAG);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_BROWSER_DENIED);
		assert_int_equal(wrote, i == 0);
		assert_int_equal(a.id.len, 0);
		assert_trail(f, &k, "key.exposed");
	}
	c.browser = 0;
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(units(f, k.id), 2);

	/* A batch that is not committed has marked nothing. */
	k = kf_key(f, ",\"plan\":\"p\",\"browsers\":\"flag\"");
	c = kf_check(&k);
	c.browser = 1;
	{
		struct kf_batch b = {.f = f, .check = &c, .answer = &a, .fail_after = 1};

		assert_int_equal(store_batch(f->store, kf_in_batch, &b, &f->e), -1);
		decide_batch_end(f->decide, 0);
	}
	assert_trail(f, &k, "");
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_trail(f, &k, "key.exposed");
}

/* As the policy says, at once, whatever the way; and again whenever it is seen and works. */
static void
exposure_acts(void **state)
{
	static const uint8_t ways[] = {
	    KEYREC_EXPOSED_URL, KEYREC_EXPOSED_HTTP, KEYREC_EXPOSED_BROWSER};
	struct kf *f = *state;

	for (size_t i = 0; i < sizeof(ways); i++) {
		struct kf_key k = kf_key(f, ",\"browsers\":\"flag\"");
		struct wire_check c = kf_check(&k), seen = c;
		struct wire_answer a;
		enum verdict refused;

		seen.browser = ways[i] == KEYREC_EXPOSED_BROWSER;
		seen.exposed = seen.browser ? 0 : ways[i];
		refused = seen.browser ? VERDICT_KEY_DISABLED : VERDICT_KEY_INVALID;
		configure(f, BROWSERS_OFF, EXPOSURE_DISABLE);
		assert_int_equal(kf_decide(f, &seen, &a, NULL), refused);
		assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_DISABLED);
		assert_trail(f, &k, "key.exposed key.disable");
		assert_int_equal(kf_decide(f, &seen, &a, NULL), refused);
		assert_trail(f, &k, "key.exposed key.disable");
		kf_done(f, kf_on("key.enable", k.id, ""));
		assert_int_equal(kf_verdict(f, &k), VERDICT_OK);
		assert_int_equal(kf_decide(f, &seen, &a, NULL), refused);
		assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_DISABLED);
		assert_trail(f, &k, "key.exposed key.disable key.enable key.disable");
		/* A graver policy takes what was only disabled; nothing makes a key less than it
		 * is. */
		configure(f, BROWSERS_OFF, EXPOSURE_REVOKE);
		(void)kf_decide(f, &seen, &a, NULL);
		assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_REVOKED);
		configure(f, BROWSERS_OFF, EXPOSURE_DISABLE);
		(void)kf_decide(f, &seen, &a, NULL);
		assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_REVOKED);
		assert_trail(f, &k, "key.exposed key.disable key.enable key.disable key.revoke");
	}
	configure(f, BROWSERS_OFF, EXPOSURE_FLAG);
}

/* On a full disk a mark waits; what takes rights away does not. */
static void
exposure_acts_on_a_full_disk(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	struct wire_check c = kf_check(&k);
	struct wire_answer a;
	int wrote;

	c.exposed = KEYREC_EXPOSED_URL | KEYREC_EXPOSED_HTTP;
	decide_set_writable(f->decide, 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 0);
	configure(f, BROWSERS_OFF, EXPOSURE_REVOKE);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_KEY_INVALID);
	assert_int_equal(wrote, 1);
	assert_int_equal(kf_verdict(f, &k), VERDICT_KEY_REVOKED);
	assert_trail(f, &k, "key.exposed key.revoke");
	decide_set_writable(f->decide, 1);
	configure(f, BROWSERS_OFF, EXPOSURE_FLAG);
}

/* A plan's scopes are those of keys without, from the moment that it is changed. */
static void
plans_give_scopes(void **state)
{
	struct kf *f = *state;
	struct kf_key k, own;
	struct wire_check c;
	struct wire_answer a;

	kf_done(f, PLAN("gold", ",\"scopes\":[\"a:*\",\"b\"]"));
	k = kf_key(f, ",\"plan\":\"gold\"");
	own = kf_key(f, ",\"plan\":\"gold\",\"scopes\":[\"c\"]");
	c = kf_check(&k);
	c.needed_scopes = span_of("a:x b");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_true(span_is(a.scopes, "a:* b"));
	c.credential = span_of(own.key);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_SCOPE_INSUFFICIENT);
	c.needed_scopes = span_of("c");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_true(span_is(a.scopes, "c"));
	c.credential = span_of(k.key);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_SCOPE_INSUFFICIENT);
	kf_done(f, PLAN("gold", ",\"scopes\":[\"c\"]"));
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	/* A plan that is gone gives none, and admits nobody in any case. */
	kf_drop_gold(f);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_SCOPE_INSUFFICIENT);
	c.needed_scopes = span_of("");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_UNAVAILABLE);
}

/* A key made under an old pepper works, and moves under the newest when it is used. */
static void
keys_follow_the_peppers(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	struct wire_check c = kf_check(&k);
	struct wire_answer a;
	uint32_t v;
	cJSON *r;
	int wrote;

	assert_int_equal(peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &v, &f->e), 0);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	assert_int_equal(f->changed, 1);
	decide_set_writable(f->decide, 0);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
	decide_set_writable(f->decide, 1);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 1);
	r = kf_do(f, kf_on("key.show", k.id, ""));
	assert_int_equal(json_int(r, "pepper", 0, 0, 99, NULL), 2);
	cJSON_Delete(r);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(wrote, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	    T(an_admitted_key_is_named),
	    T(unknown_and_malformed_look_alike),
	    T(states_hold_at_once),
	    T(restrictions_and_scopes_refuse),
	    T(limits_are_all_or_nothing),
	    T(the_longest_wait_is_told),
	    T(dry_runs_count_and_never_refuse),
	    T(owners_share_a_plan_per_owner),
	    T(a_missing_plan_denies),
	    T(plan_changes_lose_nothing),
	    T(plans_of_one_owner_share_their_logs),
	    T(a_request_id_counts_once),
	    T(an_aborted_batch_counts_nothing),
	    T(one_batch_counts_an_id_once),
	    T(sent_again_after_a_restart_is_not_counted),
	    T(low_space_admits_nothing_that_counts),
	    T(exposure_is_marked_once),
	    T(browsers_are_marked_or_refused),
	    T(exposure_acts),
	    T(exposure_acts_on_a_full_disk),
	    T(plans_give_scopes),
	    T(keys_follow_the_peppers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
