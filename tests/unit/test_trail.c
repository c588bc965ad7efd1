/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the audit trail tells of every change what was before and after, from where and by whom; of
 * refused requests that there were some, and nothing that could be a key, without letting anybody
 * fill the disk; it survives its peppers and its pruning, and verifying it takes short pages.
 * Guards Invariant 4 (no key in the trail) and DESIGN.md "The audit trail".
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "keeper_fixture.h"

#define MINUTE (60 * CLOCK_SECOND)

/* The trail as JSON text, from entry ${after} on; the caller's until the next call. */
static const char *
trail(struct kf *f, int after)
{
	char request[64];

	(void)snprintf(request, sizeof(request), "{\"op\":\"audit.list\",\"after\":%d}", after);
	kf_done(f, request);
	return f->reply;
}

static void
says(struct kf *f, int after, const char *words)
{
	if (strstr(trail(f, after), words) == NULL)
		fail_msg("%s is not in %s", words, f->reply);
}

static int
entries(struct kf *f)
{
	return (int)store_audit_last(f->store);
}

/* All pages of a verification: how much is wrong, and in *records how many there are. */
static int
verify(struct kf *f, int *records)
{
	char request[256] = "{\"op\":\"audit.verify\"}";
	int found = 0, more = 1;

	for (*records = 0; more;) {
		cJSON *r = kf_do(f, request), *next = cJSON_GetObjectItem(r, "next");

		found += (int)json_int(r, "found", 0, 0, 1000, NULL);
		*records += (int)json_int(r, "records", 0, 0, 1000, NULL);
		more = cJSON_IsObject(next);
		if (more) {
			cJSON_AddStringToObject(next, "op", "audit.verify");
			assert_true(json_print(next, request, sizeof(request)) > 0);
		}
		cJSON_Delete(r);
	}
	return found;
}

static void
assert_intact(struct kf *f, int records)
{
	int n;

	assert_int_equal(verify(f, &n), 0);
	assert_int_equal(n, records);
}

/* ---- what is told ---- */

static void
changes_are_differences(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, ",\"name\":\"web\",\"scopes\":[\"a\"]");
	struct ops_peer ann = {
	    .uid = geteuid(), .pid = 4711, .via = STORE_VIA_TOOL, .may_admin = 1};

	/* New: all that it has. */
	says(f, 0, "\"op\":\"key.create\"");
	says(f, 0, "\"owner\":\"acme\"");
	says(f, 0, "\"scopes\":[\"a\"]");
	/* What was not said, and what did not change, is no change. */
	kf_done(f, kf_on("key.set", k.id, ",\"name\":null,\"owner\":\"acme\",\"scopes\":[\"b\"]"));
	says(f, 1,
	    "\"detail\":{\"name\":{\"from\":\"web\",\"to\":null},\"scopes\":{\"from\":[\"a\"],"
	    "\"to\":["
	    "\"b\"]}}");
	cJSON_Delete(kf_ask_as(f, &ann, kf_on("key.disable", k.id, "")));
	says(f, 2, "\"via\":\"tool\",\"pid\":4711,\"address\":null");
	says(f, 2, "\"detail\":{\"state\":{\"from\":\"active\",\"to\":\"disabled\"}}");
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"limits\":[{\"name\":\"a\",\"units\":1,"
		   "\"window\":\"60s\"}]}");
	says(f, 3, "\"limits\":[{\"name\":\"a\",\"limit\":1");
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\",\"per\":\"owner\"}");
	says(f, 4, "\"per\":{\"from\":\"key\",\"to\":\"owner\"}");
	says(f, 4, "\"limits\":{\"from\":[{\"name\":\"a\",\"limit\":1,");
	kf_done(f, "{\"op\":\"plan.remove\",\"name\":\"gold\"}");
	says(f, 5, "\"per\":\"owner\"");
	assert_int_equal(entries(f), 6);
	assert_intact(f, 6);
}

/* 1,000 networks before and after are more than a record holds. */
static void
what_is_too_long_is_told_by_its_hash(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	size_t cap = 100000, len;
	char *request = malloc(cap);

	assert_non_null(request);
	for (int round = 0; round < 2; round++) {
		len = (size_t)snprintf(request, cap,
		    "{\"op\":\"key.set\",\"id\":\"%s\",\"name\":\"n%d\",\"allow_ips\":[", k.id,
		    round);
		for (int i = 0; i < 1000; i++)
			len += (size_t)snprintf(request + len, cap - len,
			    "%s\"2001:db8:%d:%x:1111:2222:3333:4444\"", i > 0 ? "," : "", round, i);
		(void)snprintf(request + len, cap - len, "]}");
		kf_done(f, request);
	}
	says(f, 2, "\"name\":{\"from\":\"n0\",\"to\":\"n1\"}");
	says(f, 2, "\"allow_ips\":{\"from\":{\"items\":1000,\"sha256\":\"");
	assert_intact(f, 3);
	free(request);
}

/* ---- what came to nothing ---- */

static void
failures_are_told_without_what_was_sent(void **state)
{
	struct kf *f = *state;
	struct kf_key k = kf_key(f, "");
	char request[512];

	kf_fails(f, kf_on("key.revoke", "key_0000000000000000", ""), "not_found", "");
	says(f, 1,
	    "\"op\":\"key.revoke\",\"subject\":\"key_0000000000000000\",\"error\":\"not_found\"");
	/* Somebody has pasted a key in every place there is. */
	kf_fails(f, kf_on("key.revoke", k.key, ""), "input", "");
	(void)snprintf(request, sizeof(request), "{\"op\":\"%s\"}", k.key);
	kf_fails(f, request, "usage", "");
	(void)snprintf(request, sizeof(request), "{\"op\":\"key.create\",\"%s\":1}", k.key);
	kf_fails(f, request, "input", "");
	(void)snprintf(request, sizeof(request), "{\"op\":\"plan.remove\",\"name\":\"%s\"}", k.key);
	kf_fails(f, request, "input", "");
	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"key.create\",\"owner\":\"a\",\"plan\":\"%s\"}", k.key);
	kf_fails(f, request, "input", "");
	(void)snprintf(request, sizeof(request), "%s", k.key);
	kf_fails(f, request, "input", "");
	assert_int_equal(entries(f), 8);
	(void)trail(f, 0);
	assert_null(strstr(f->reply, k.key));
	assert_null(strstr(f->reply, k.key + 12));
	/* Asking for what is not there changes nothing and is not told. */
	kf_fails(f, kf_on("key.show", "key_0000000000000000", ""), "not_found", "");
	kf_fails(f, "{\"op\":\"audit.list\",\"since\":\"x\"}", "input", "");
	assert_int_equal(entries(f), 8);
	/* A plan that exists is named. */
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"gold\"}");
	kf_done(f, kf_on("key.set", k.id, ",\"plan\":\"gold\""));
	kf_fails(f, "{\"op\":\"plan.remove\",\"name\":\"gold\"}", "conflict", "");
	says(f, 10, "\"subject\":\"gold\",\"error\":\"conflict\"");
	assert_intact(f, 11);
}

static void
knock(struct kf *f, uid_t uid, unsigned n)
{
	struct ops_peer stranger = {.uid = uid, .pid = 99, .may_admin = 0};

	for (unsigned i = 0; i < n; i++)
		cJSON_Delete(kf_ask_as(f, &stranger, "{\"op\":\"key.list\"}"));
}

static void
strangers_do_not_fill_the_trail(void **state)
{
	struct kf *f = *state;

	knock(f, 65534, 1000);
	assert_int_equal(entries(f), 1);
	says(f, 0, "\"uid\":65534");
	says(f, 0, "\"error\":\"denied\",\"detail\":{\"attempts\":1}");
	/* The others are told a minute later, without another attempt. */
	ops_tick(&f->ops, 0);
	assert_int_equal(entries(f), 1);
	f->now.steady_us += MINUTE;
	f->ops.wrote = 0;
	ops_tick(&f->ops, 0);
	assert_int_equal(f->ops.wrote, 1);
	assert_int_equal(entries(f), 2);
	says(f, 1, "{\"attempts\":999}");
	ops_tick(&f->ops, 0);
	assert_int_equal(entries(f), 2);
	/* Many of them: as many entries as there are places, and one. */
	f->now.steady_us += MINUTE;
	for (uid_t uid = 100000; uid < 101000; uid++)
		knock(f, uid, 2);
	assert_in_range(entries(f), 3, 2 + REFUSALS_SLOTS);
	f->now.steady_us += MINUTE;
	ops_tick(&f->ops, 0);
	assert_in_range(entries(f), 3, 2 + 2 * REFUSALS_SLOTS + 1);
	says(f, entries(f) - 1, "\"uid\":null");
	assert_intact(f, entries(f));
	/* While space is low they are only counted. */
	f->now.steady_us += 2 * MINUTE;
	f->ops.low_space = 1;
	knock(f, 65534, 5);
	f->ops.low_space = 0;
	f->now.steady_us += MINUTE;
	ops_tick(&f->ops, 0);
	says(f, entries(f) - 1, "{\"attempts\":5}");
	/* At an orderly end nothing waits. */
	knock(f, 65534, 7);
	ops_tick(&f->ops, 1);
	says(f, entries(f) - 1, "{\"attempts\":7}");
}

static void
failures_have_a_bound(void **state)
{
	struct kf *f = *state;

	for (int i = 0; i < 200; i++)
		kf_fails(f, "{\"op\":\"nothing\"}", "usage", "");
	assert_int_equal(entries(f), 60);
	f->now.steady_us += MINUTE;
	kf_fails(f, "{\"op\":\"nothing\"}", "usage", "");
	assert_int_equal(entries(f), 61);
	says(f, 60, "{\"attempts\":141}");
}

/* ---- peppers ---- */

static void
peppers_come_and_go(void **state)
{
	struct kf *f = *state;
	uint32_t version;

	for (int i = 0; i < 3; i++)
		(void)kf_key(f, "");
	assert_int_equal(
	    peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &version, &f->e), 0);
	kf_done(f, "{\"op\":\"pepper.reload\"}");
	says(f, 3, "\"newest\":{\"from\":1,\"to\":2}");
	assert_intact(f, 4);
	/* Pepper 1 is taken away at once: the head is under the new one. */
	peppers_drop(f->peppers, 1);
	assert_int_equal(peppers_count(f->peppers), 1);
	assert_intact(f, 4);
	(void)kf_key(f, "");
	assert_intact(f, 5);
	kf_close(f);
	kf_open(f);
	assert_intact(f, 5);
}

/* Of the same version, but not the one that sealed: nothing of the trail is proven by it. */
static void
the_pepper_has_to_be_the_one(void **state)
{
	struct kf *f = *state;
	struct peppers *kept = f->peppers, *other;
	uint32_t version;
	char file[300];
	int n;

	for (int i = 0; i < 3; i++)
		(void)kf_key(f, "");
	kf_path(file, sizeof(file), f->top, "others");
	assert_int_equal(peppers_add(file, (unsigned)-1, (unsigned)-1, &version, &f->e), 0);
	assert_int_equal(version, peppers_version(kept, 0));
	assert_non_null(other = peppers_load(file, &f->e));
	f->peppers = other;
	assert_true(verify(f, &n) > 0);
	f->peppers = kept;
	assert_intact(f, 3);
	peppers_free(&other);
}

/* ---- pruning ---- */

static void
pass(struct kf *f, struct trail_prune *p, int64_t keep_us)
{
	p->next_us = 0;
	trail_prune_tick(p, 1, f->now.wall_us, keep_us);
	while (p->active)
		(void)trail_prune_slice(p, f->store, f->now.wall_us, 0);
}

static void
old_entries_go_and_it_is_told(void **state)
{
	struct kf *f = *state;
	struct trail_prune p = {0};

	for (int i = 0; i < 100; i++)
		(void)kf_key(f, "");
	f->now.wall_us += 10 * CLOCK_SECOND;
	for (int i = 0; i < 10; i++)
		(void)kf_key(f, "");
	pass(f, &p, 0);
	pass(f, &p, 11 * CLOCK_SECOND);
	assert_int_equal(entries(f), 110);
	pass(f, &p, 5 * CLOCK_SECOND);
	assert_int_equal(entries(f), 111);
	says(f, 0, "\"seq\":101");
	says(f, 110, "\"actor\":\"keeper\"");
	says(f, 110, "\"op\":\"audit.prune\"");
	says(f, 110, "\"from\":1,\"to\":100,\"hash\":\"");
	assert_null(strstr(trail(f, 0), "\"seq\":100,"));
	assert_intact(f, 11);
	/* Nothing new is old: nothing is told. */
	pass(f, &p, 5 * CLOCK_SECOND);
	assert_int_equal(entries(f), 111);
	/* What pruning has told is no reason to go on pruning for ever. */
	f->now.wall_us += 10 * CLOCK_SECOND;
	pass(f, &p, 5 * CLOCK_SECOND);
	assert_int_equal(entries(f), 112);
	for (int i = 0; i < 5; i++) {
		f->now.wall_us += 10 * CLOCK_SECOND;
		pass(f, &p, 5 * CLOCK_SECOND);
	}
	assert_in_range(entries(f), 112, 113);
	assert_true(strstr(trail(f, 0), "audit.prune") != NULL);
	kf_close(f);
	kf_open(f);
	assert_int_equal(verify(f, &(int){0}), 0);
	/* Space is low: not now. */
	(void)kf_key(f, "");
	f->now.wall_us += 10 * CLOCK_SECOND;
	p.next_us = 0;
	trail_prune_tick(&p, 1, f->now.wall_us, CLOCK_SECOND);
	assert_int_equal(p.active, 1);
	assert_int_equal(trail_prune_slice(&p, f->store, f->now.wall_us, 1), 0);
	assert_int_equal(p.active, 0);
}

/* ---- verifying ---- */

static int64_t
cpu_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (int64_t)t.tv_sec * CLOCK_SECOND + t.tv_nsec / 1000;
}

static void
verifying_goes_in_pages(void **state)
{
	struct kf *f = *state;
	int64_t longest_us = 0;
	char request[256];
	int pages = 0;
	cJSON *r, *next;

	for (int i = 0; i < 450; i++)
		(void)kf_key(f, "");
	(void)snprintf(request, sizeof(request), "{\"op\":\"audit.verify\"}");
	for (;;) {
		int64_t from_us = cpu_us();

		r = kf_do(f, request);
		if (cpu_us() - from_us > longest_us)
			longest_us = cpu_us() - from_us;
		pages++;
		assert_int_equal(json_int(r, "found", 9, 0, 9, NULL), 0);
		assert_true(json_int(r, "records", 0, 0, 999, NULL) <= OPS_PAGE_MAX);
		next = cJSON_DetachItemFromObject(r, "next");
		cJSON_Delete(r);
		if (!cJSON_IsObject(next))
			break;
		cJSON_AddStringToObject(next, "op", "audit.verify");
		assert_true(json_print(next, request, sizeof(request)) > 0);
		cJSON_Delete(next);
		/* It grows meanwhile. */
		(void)kf_key(f, "");
	}
	cJSON_Delete(next);
	assert_true(pages >= 3);
	/* A fraction of a millisecond; what else the machine does is not in it. */
	assert_in_range(longest_us, 0, 200000);
	kf_fails(f, "{\"op\":\"audit.verify\",\"hash\":\"xyz\"}", "input", "hex");
	kf_fails(f, "{\"op\":\"audit.verify\",\"expect\":1}", "usage", "expect");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	    T(changes_are_differences),
	    T(what_is_too_long_is_told_by_its_hash),
	    T(failures_are_told_without_what_was_sent),
	    T(strangers_do_not_fill_the_trail),
	    T(failures_have_a_bound),
	    T(peppers_come_and_go),
	    T(the_pepper_has_to_be_the_one),
	    T(old_entries_go_and_it_is_told),
	    T(verifying_goes_in_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
