/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a limit in dry run refuses nobody, whatever happens, and tells the audit trail once a
 * window what it would have refused; over restarts, renames and batches that fail.  Guards
 * Invariant 1 (what is counted and what is told are one).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper/dryruns.h"
#include "keeper_fixture.h"

#define PLAN(name, more) "{\"op\":\"plan.set\",\"name\":\"" name "\"" more "}"
#define DRY(more) PLAN("p", ",\"dry_run\":true" more)
#define LIMIT(name, units, window)                                                                 \
	"{\"name\":\"" name "\",\"units\":" units ",\"window\":\"" window "\"}"

/* Time passes on both clocks. */
static void
pass(struct kf *f, int64_t us)
{
	f->now.steady_us += us;
	f->now.wall_us += us;
}

/* How many reports there are of this subject (NULL: of any); the last one's detail, or NULL. */
static int
reports(struct kf *f, const char *subject, cJSON **last)
{
	cJSON *r = kf_trail(f), *entry;
	int n = 0;

	if (last != NULL)
		*last = NULL;
	cJSON_ArrayForEach(entry, cJSON_GetObjectItem(r, "entries"))
	{
		if (strcmp(json_str(entry, "op", NULL), DRYRUNS_OP) != 0 ||
		    (subject != NULL && strcmp(json_str(entry, "subject", NULL), subject) != 0))
			continue;
		n++;
		assert_string_equal(json_str(entry, "actor", NULL), "gate");
		if (last == NULL)
			continue;
		cJSON_Delete(*last);
		*last = cJSON_Duplicate(cJSON_GetObjectItem(entry, "detail"), 1);
	}
	cJSON_Delete(r);
	return n;
}

static void
assert_detail(cJSON *detail, const char *text)
{
	char *printed;

	assert_non_null(detail);
	printed = cJSON_PrintUnformatted(detail);
	assert_string_equal(printed, text);
	cJSON_free(printed);
	cJSON_Delete(detail);
}

static void
admit(struct kf *f, const struct kf_key *k, int times)
{
	for (int i = 0; i < times; i++)
		assert_int_equal(kf_verdict(f, k), VERDICT_OK);
}

static void
told_once_a_window(void **state)
{
	struct kf *f = *state;
	struct kf_key k, other;
	cJSON *detail;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "2", "60s") "," LIMIT("b", "9", "1h") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	other = kf_key(f, ",\"plan\":\"p\"");
	admit(f, &k, 2);
	assert_int_equal(reports(f, NULL, NULL), 0);
	admit(f, &k, 1);
	assert_int_equal(reports(f, k.id, &detail), 1);
	assert_detail(detail, "{\"plan\":\"p\",\"limit\":\"a\",\"units\":2,\"window\":\"1m\","
			      "\"used\":2,\"cost\":1}");
	pass(f, 60 * CLOCK_SECOND - 1);
	admit(f, &k, 3);
	assert_int_equal(reports(f, k.id, NULL), 1);
	admit(f, &other, 3);
	assert_int_equal(reports(f, other.id, NULL), 1);
	/* Another window, to the microsecond. */
	pass(f, 1);
	admit(f, &k, 3);
	assert_int_equal(reports(f, k.id, &detail), 2);
	assert_detail(detail, "{\"plan\":\"p\",\"limit\":\"a\",\"units\":2,\"window\":\"1m\","
			      "\"used\":3,\"cost\":1}");
	/* The other limit has a window of its own. */
	admit(f, &k, 1);
	assert_int_equal(reports(f, k.id, &detail), 3);
	assert_detail(detail, "{\"plan\":\"p\",\"limit\":\"b\",\"units\":9,\"window\":\"1h\","
			      "\"used\":9,\"cost\":1}");
}

static void
a_cost_that_never_fits_is_told(void **state)
{
	struct kf *f = *state;
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;
	cJSON *detail;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "2", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	c.cost = 0;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(reports(f, NULL, NULL), 0);
	c.cost = LIMIT_COST_MAX;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(a.nlimits, 0);
	assert_int_equal(reports(f, k.id, &detail), 1);
	assert_detail(detail, "{\"plan\":\"p\",\"limit\":\"a\",\"units\":2,\"window\":\"1m\","
			      "\"used\":0,\"cost\":1000000}");
	/* Nothing is counted, nothing is told. */
	pass(f, 60 * CLOCK_SECOND);
	c.cost = 0;
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(reports(f, k.id, NULL), 1);
}

static void
an_owner_is_told_once(void **state)
{
	struct kf *f = *state;
	struct kf_key k, other;
	cJSON *detail;
	char text[200];

	kf_done(f, DRY(",\"per\":\"owner\",\"limits\":[" LIMIT("a", "2", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	other = kf_key(f, ",\"plan\":\"p\"");
	admit(f, &k, 2);
	admit(f, &other, 2);
	admit(f, &k, 2);
	assert_int_equal(reports(f, NULL, NULL), 1);
	assert_int_equal(reports(f, "acme", &detail), 1);
	(void)snprintf(text, sizeof(text),
	    "{\"plan\":\"p\",\"limit\":\"a\",\"units\":2,\"window\":\"1m\",\"used\":2,"
	    "\"cost\":1,\"key\":\"%s\"}",
	    other.id);
	assert_detail(detail, text);
}

/* One plan has both kinds only when somebody stores it so. */
static int
mix(void *cookie, struct err *e)
{
	struct kf *f = cookie;
	struct plan p;

	if (store_plan_get(f->store, span_of("p"), &p, e) != 1)
		return -1;
	p.limits[1].dry_run = 0;
	return store_plan_put(f->store, &p, e);
}

/* A request that another limit refuses is counted nowhere, and told nowhere. */
static void
what_is_refused_is_not_told(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "60s") "," LIMIT("b", "1", "30s") "]"));
	assert_int_equal(store_batch(f->store, mix, f, &f->e), 0);
	decide_forget_plans(f->decide);
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(a.nlimits, 1);
	assert_string_equal(a.limits[0].name, "b");
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_RATE_LIMITED);
	assert_int_equal(a.nlimits, 1);
	assert_int_equal(a.retry_us, 30 * CLOCK_SECOND); /* a's 60 s keep nobody out */
	assert_int_equal(reports(f, NULL, NULL), 0);
	pass(f, 30 * CLOCK_SECOND);
	assert_int_equal(kf_decide(f, &c, &a, NULL), VERDICT_OK);
	assert_int_equal(reports(f, NULL, NULL), 1);
}

static void
a_failed_batch_told_nothing(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	struct kf_batch b = {.f = f, .check = &c, .answer = &a, .fail_after = 1};

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	admit(f, &k, 1);
	assert_int_equal(store_batch(f->store, kf_in_batch, &b, &f->e), -1);
	decide_batch_end(f->decide, 0);
	assert_int_equal(reports(f, NULL, NULL), 0);
	admit(f, &k, 1);
	assert_int_equal(reports(f, NULL, NULL), 1);
	/* What earlier batches told stays known when a later one fails. */
	assert_int_equal(store_batch(f->store, kf_in_batch, &b, &f->e), -1);
	decide_batch_end(f->decide, 0);
	admit(f, &k, 1);
	assert_int_equal(reports(f, NULL, NULL), 1);
	/* Nor is it forgotten by one that failed to tell it anew: the window may grow. */
	pass(f, 60 * CLOCK_SECOND);
	admit(f, &k, 1);
	assert_int_equal(store_batch(f->store, kf_in_batch, &b, &f->e), -1);
	decide_batch_end(f->decide, 0);
	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "1h") "]"));
	admit(f, &k, 1);
	assert_int_equal(reports(f, NULL, NULL), 1);
}

static void
a_restart_tells_nothing_twice(void **state)
{
	struct kf *f = *state;
	struct kf_key k, by_owner;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "60s") "]"));
	kf_done(f, DRY(",\"limits\":[" LIMIT("renamed", "1", "60s") "]"));
	kf_done(f, PLAN("o", ",\"dry_run\":true,\"per\":\"owner\",\"limits\":[" LIMIT(
				 "a", "1", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	by_owner = kf_key(f, ",\"plan\":\"o\"");
	admit(f, &k, 2);
	admit(f, &by_owner, 2);
	assert_int_equal(reports(f, NULL, NULL), 2);
	for (int i = 0; i < 3; i++) {
		pass(f, 10 * CLOCK_SECOND);
		kf_close(f);
		kf_open(f);
		admit(f, &k, 1);
		admit(f, &by_owner, 1);
		assert_int_equal(reports(f, NULL, NULL), 2);
	}
	pass(f, 30 * CLOCK_SECOND);
	admit(f, &k, 1);
	admit(f, &by_owner, 1);
	assert_int_equal(reports(f, NULL, NULL), 4);
	/* A wall clock set back meanwhile delays a report by a window and no more. */
	kf_close(f);
	kf_open(f);
	f->now.wall_us -= INT64_C(3600) * CLOCK_SECOND;
	pass(f, 59 * CLOCK_SECOND);
	admit(f, &k, 1);
	assert_int_equal(reports(f, k.id, NULL), 2);
	pass(f, 60 * CLOCK_SECOND);
	admit(f, &k, 1);
	assert_int_equal(reports(f, k.id, NULL), 2); /* one unit fits by now */
	admit(f, &k, 1);
	assert_int_equal(reports(f, k.id, NULL), 3);
}

static void
a_rename_tells_nothing_twice(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	cJSON *detail;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	admit(f, &k, 2);
	kf_done(f, DRY(",\"limits\":[" LIMIT("b", "1", "60s") "]"));
	admit(f, &k, 1);
	assert_int_equal(reports(f, NULL, NULL), 1);
	pass(f, 60 * CLOCK_SECOND);
	admit(f, &k, 2);
	assert_int_equal(reports(f, k.id, &detail), 2);
	assert_detail(detail, "{\"plan\":\"p\",\"limit\":\"b\",\"log\":\"a\",\"units\":1,"
			      "\"window\":\"1m\",\"used\":1,\"cost\":1}");
}

/* Without space nothing can be counted: an enforced limit denies, a dry run lets through. */
static void
a_full_disk_refuses_nobody(void **state)
{
	struct kf *f = *state;
	struct kf_key k;
	struct wire_check c;
	struct wire_answer a;
	int wrote;

	kf_done(f, DRY(",\"limits\":[" LIMIT("a", "1", "60s") "," LIMIT("b", "1", "60s") "]"));
	k = kf_key(f, ",\"plan\":\"p\"");
	c = kf_check(&k);
	decide_set_writable(f->decide, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
		assert_int_equal(wrote, 0);
	}
	assert_int_equal(reports(f, NULL, NULL), 0);
	assert_int_equal(store_batch(f->store, mix, f, &f->e), 0);
	decide_forget_plans(f->decide);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_UNAVAILABLE);
	decide_set_writable(f->decide, 1);
	assert_int_equal(kf_decide(f, &c, &a, &wrote), VERDICT_OK);
	assert_int_equal(a.limits[0].remaining, 0);
}

/* ---- the table ---- */

struct many {
	struct kf *f;
	struct dryruns *dryruns;
	int from, to;
};

static int
report_many(void *cookie, struct err *e)
{
	struct many *m = cookie;
	struct plan plan = {.name = "p", .per = PLAN_PER_OWNER, .nlimits = 1};
	struct limits_look *look = calloc(1, sizeof(*look));
	struct keyrec rec = {0};
	char owner[32];
	int rc = plan_limit_parse("a=1/60s", &plan.limits[0], e);

	assert_non_null(look);
	plan.limits[0].dry_run = 1;
	look->plan = &plan;
	for (int i = m->from; i < m->to && rc == 0; i++) {
		(void)snprintf(owner, sizeof(owner), "owner-%d", i);
		rec.owner = span_of(owner);
		rc = dryruns_report(m->dryruns, m->f->store, look, &rec, T0, T0 + i, e);
	}
	free(look);
	return rc;
}

/* How many of these owners are told of. */
static uint64_t
told(struct many *m, int from, int to)
{
	uint64_t before = store_audit_last(m->f->store);

	m->from = from;
	m->to = to;
	assert_int_equal(store_batch(m->f->store, report_many, m, &m->f->e), 0);
	dryruns_batch_end(m->dryruns, 1);
	return store_audit_last(m->f->store) - before;
}

/* Of more than the table holds each is told, and the latest not again. */
static void
many_are_told(void **state)
{
	struct many m = {.f = *state};

	m.dryruns = dryruns_new(&m.f->e);
	assert_non_null(m.dryruns);
	assert_int_equal(told(&m, 0, 1000), 1000);
	assert_int_equal(told(&m, 0, 1000), 0);
	assert_int_equal(told(&m, 1000, 20000), 19000);
	assert_in_range(told(&m, 19000, 20000), 0, 50);
	assert_in_range(
	    told(&m, 0, 1000), 900, 1000); /* forgotten: told too often, never too rarely */
	dryruns_free(&m.dryruns);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, kf_setup, kf_teardown)
	    T(told_once_a_window),
	    T(a_cost_that_never_fits_is_told),
	    T(an_owner_is_told_once),
	    T(what_is_refused_is_not_told),
	    T(a_failed_batch_told_nothing),
	    T(a_restart_tells_nothing_twice),
	    T(a_rename_tells_nothing_twice),
	    T(a_full_disk_refuses_nobody),
	    T(many_are_told),
	};

	return cmocka_run_group_tests_name("dryruns", tests, NULL, NULL);
}
