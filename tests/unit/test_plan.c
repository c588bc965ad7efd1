/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: an admin's words become the limit they say or an error that tells the mend, and a plan's
 * record gives back the same plan or is refused.  Guards Invariant 2 (a limit means what it says)
 * and, for damaged records, Invariant 6.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/plan.h"

#define SECOND INT64_C(1000000)

static const struct plan sample = {
    .name = "pro-2.x_y",
    .per = PLAN_PER_OWNER,
    .nlimits = 3,
    .limits =
	{
	    {"burst", 10, 1 * SECOND, 0, "first"},
	    {"minute", 100, 60 * SECOND, 1, "burst~2"},
	    {"day", LIMIT_UNITS_MAX, LIMIT_WINDOW_MAX_US, 0, "day"},
	},
    .npast = 2,
    .past = {{"second", "minute"}, {"b", "a~99"}},
    .created_us = 1700000000000000,
    .changed_us = 1700000000000001,
    .nscopes = 2,
    .scopes = {"orders:read", "users:*"},
    .max_age_us = 90 * 86400 * SECOND,
    .max_age_deny = 1,
};

static size_t
encode(const struct plan *p, uint8_t record[PLAN_RECORD_MAX])
{
	struct wbuf w;

	wbuf_init(&w, record, PLAN_RECORD_MAX);
	plan_encode(p, &w);
	assert_false(w.overflow);
	return w.len;
}

static void
assert_same(const struct plan *a, const struct plan *b)
{
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->per, b->per);
	assert_int_equal(a->created_us, b->created_us);
	assert_int_equal(a->changed_us, b->changed_us);
	assert_int_equal(a->max_age_us, b->max_age_us);
	assert_int_equal(a->max_age_deny, b->max_age_deny);
	assert_int_equal(a->nscopes, b->nscopes);
	for (size_t i = 0; i < a->nscopes; i++)
		assert_string_equal(a->scopes[i], b->scopes[i]);
	assert_int_equal(a->nlimits, b->nlimits);
	for (size_t i = 0; i < a->nlimits; i++) {
		assert_string_equal(a->limits[i].name, b->limits[i].name);
		assert_int_equal(a->limits[i].max_units, b->limits[i].max_units);
		assert_int_equal(a->limits[i].window_us, b->limits[i].window_us);
		assert_int_equal(a->limits[i].dry_run, b->limits[i].dry_run);
		assert_string_equal(plan_limit_log(&a->limits[i]), plan_limit_log(&b->limits[i]));
	}
	assert_int_equal(a->npast, b->npast);
	for (size_t i = 0; i < a->npast; i++) {
		assert_string_equal(a->past[i].name, b->past[i].name);
		assert_string_equal(a->past[i].log, b->past[i].log);
	}
}

static void
limits_are_read(void **unused)
{
	static const struct {
		const char *text, *name;
		uint64_t units;
		int64_t seconds;
	} good[] = {
	    {"burst=10/1s", "burst", 10, 1},
	    {"minute=100/60s", "minute", 100, 60},
	    {"minute=100/1m", "minute", 100, 60},
	    {"h=1/1h", "h", 1, 3600},
	    {"day=1000/1d", "day", 1000, 86400},
	    {"week.1-a_b=1000000000/2w", "week.1-a_b", 1000000000, 14 * 86400},
	    {"year=5/366d", "year", 5, 366 * 86400},
	    {"abcdefghijklmnopqrstuvwxyz012345=1/1s", "abcdefghijklmnopqrstuvwxyz012345", 1, 1},
	};
	struct err e;

	(void)unused;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct plan_limit l;

		memset(&l, 0xff, sizeof(l));
		assert_int_equal(plan_limit_parse(good[i].text, &l, &e), 0);
		assert_string_equal(l.name, good[i].name);
		assert_int_equal(l.max_units, good[i].units);
		assert_int_equal(l.window_us, good[i].seconds * SECOND);
		assert_int_equal(l.dry_run, 0);
	}
}

static void
bad_limits_say_the_mend(void **unused)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
	    {"x", "limit 'x': expected NAME=N/WINDOW, e.g. minute=100/60s"},
	    {"", "limit '?': expected NAME=N/WINDOW"},
	    {"minute", "expected NAME=N/WINDOW"},
	    {"minute=100", "expected NAME=N/WINDOW"},
	    {"minute/60s", "expected NAME=N/WINDOW"},
	    {"=100/60s", "expected NAME=N/WINDOW"},
	    {"minute=/60s", "expected NAME=N/WINDOW"},
	    {"minute=100/", "expected NAME=N/WINDOW"},
	    {"a/b=100/60s", "limit 'a/b=100/60s': the name must be"},
	    {"a\"b=100/60s", "the name must be"},
	    {" minute=100/60s", "the name must be"},
	    {"abcdefghijklmnopqrstuvwxyz0123456=1/1s", "the name must be 1 to 32"},
	    {"minute=0/60s", "limit 'minute=0/60s': N must be a number from 1 to 1000000000"},
	    {"minute=1000000001/60s", "N must be"},
	    {"minute=18446744073709551617/60s", "N must be"},
	    {"minute=-1/60s", "N must be"},
	    {"minute=+1/60s", "N must be"},
	    {"minute=1.5/60s", "N must be"},
	    {"minute=0x10/60s", "N must be"},
	    {"minute= 1/60s", "N must be"},
	    {"minute=1=1/60s", "N must be"},
	    {"minute=100/60", "limit 'minute=100/60': the window must be"},
	    {"minute=100/0s", "the window must be"},
	    {"minute=100/367d", "the window must be"},
	    {"minute=100/-1s", "the window must be"},
	    {"minute=100/1.5s", "the window must be"},
	    {"minute=100/60s/1", "the window must be"},
	    {"minute=100/60s ", "the window must be"},
	};
	struct err e;

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct plan_limit l = {.name = "x", .max_units = 1};

		memset(&e, 0, sizeof(e));
		assert_int_equal(plan_limit_parse(bad[i].text, &l, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		assert_non_null(strstr(e.msg, bad[i].says));
		assert_string_equal(l.name, "");
		assert_int_equal(l.max_units, 0);
	}
}

static void
words_that_garble_are_not_repeated(void **unused)
{
	char endless[200];
	struct plan_limit l;
	struct err e;

	(void)unused;
	assert_int_equal(plan_limit_parse("a\nb=1/1s", &l, &e), -1);
	assert_null(strchr(e.msg, '\n'));
	assert_int_equal(plan_limit_parse("\033[2J", &l, &e), -1);
	assert_null(strchr(e.msg, '\033'));
	memset(endless, 'Z', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_int_equal(plan_limit_parse(endless, &l, &e), -1);
	assert_null(strstr(e.msg, "ZZ"));
	assert_int_equal(plan_limit_parse(NULL, &l, &e), -1);
}

static void
records_come_back(void **unused)
{
	uint8_t record[PLAN_RECORD_MAX];
	struct plan none = {.name = "default"}, full = sample, got;
	struct err e;
	size_t n;

	(void)unused;
	n = encode(&sample, record);
	assert_int_equal(plan_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &sample);

	n = encode(&none, record);
	assert_int_equal(plan_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &none);

	/* The largest plan there is. */
	memset(full.name, 'n', PLAN_NAME_MAX);
	full.nlimits = PLAN_LIMITS_MAX;
	for (size_t i = 0; i < PLAN_LIMITS_MAX; i++) {
		full.limits[i] = sample.limits[2];
		memset(full.limits[i].name, 'a' + (int)i, LIMIT_NAME_MAX);
		memcpy(full.limits[i].log, full.limits[i].name, LIMIT_NAME_MAX);
		memcpy(full.limits[i].log + LIMIT_NAME_MAX, "~99", 4);
		memcpy(full.past[i].name, full.limits[i].name, sizeof(full.past[i].name));
		memcpy(full.past[i].log, full.limits[i].log, sizeof(full.past[i].log));
	}
	full.npast = PLAN_LIMITS_MAX;
	assert_int_equal(plan_check(&full, &e), 0);
	n = encode(&full, record);
	assert_int_equal(plan_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &full);
}

static void
assert_refused(struct plan p, const char *says)
{
	uint8_t record[PLAN_RECORD_MAX];
	struct plan got;
	struct err e = {0};
	struct wbuf w;

	assert_int_equal(plan_check(&p, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.msg, says));
	/* Nor does a record of it decode, whoever wrote it. */
	wbuf_init(&w, record, sizeof(record));
	plan_encode(&p, &w);
	if (w.overflow)
		return;
	memset(&got, 0xff, sizeof(got));
	assert_int_equal(plan_decode((struct span){(char *)record, w.len}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_string_equal(got.name, "");
	assert_int_equal(got.nlimits, 0);
}

static void
what_must_hold(void **unused)
{
	struct plan p;
	struct err e;

	(void)unused;
	assert_int_equal(plan_check(&sample, &e), 0);

#define REFUSED(change, says) (p = sample, change, assert_refused(p, says))
	REFUSED(p.name[0] = '\0', "plan's name");
	REFUSED(p.name[0] = '-', "plan's name");
	REFUSED(p.name[1] = ' ', "plan's name");
	REFUSED(memset(p.name, 'x', sizeof(p.name)), "plan's name");
	REFUSED(p.per = (enum plan_per)2, "per key or per owner");
	REFUSED(p.created_us = -1, "before 1970");
	REFUSED(p.changed_us = INT64_MIN, "before 1970");
	REFUSED(p.nlimits = PLAN_LIMITS_MAX + 1, "at most 8");
	REFUSED(p.limits[1].name[0] = '\0', "plan 'pro-2.x_y': a limit's name");
	REFUSED(p.limits[1].name[2] = '"', "limit's name");
	REFUSED(memset(p.limits[0].name, 'x', sizeof(p.limits[0].name)), "limit's name");
	REFUSED(p.limits[0].max_units = 0, "limit 'burst': units");
	REFUSED(p.limits[0].max_units = LIMIT_UNITS_MAX + 1, "limit 'burst': units");
	REFUSED(p.limits[0].window_us = 0, "limit 'burst': the window");
	REFUSED(p.limits[0].window_us = -SECOND, "limit 'burst': the window");
	REFUSED(p.limits[0].window_us = SECOND + 1, "limit 'burst': the window");
	REFUSED(p.limits[0].window_us = LIMIT_WINDOW_MAX_US + SECOND, "limit 'burst': the window");
	REFUSED(p.limits[2].dry_run = 2, "limit 'day': dry-run");
	REFUSED(p.limits[2].dry_run = -1, "limit 'day': dry-run");
	REFUSED(memcpy(p.limits[2].name, "burst", 6), "limit 'burst' is given twice");
	REFUSED(memcpy(p.limits[2].name, "minute", 7), "limit 'minute' is given twice");
	/* Logs: a name, and perhaps a number. */
	REFUSED(
	    memcpy(p.limits[1].log, "first", 6), "limits 'burst' and 'minute' have the same log");
	REFUSED(memcpy(p.limits[0].log, "day", 4), "the same log");
	REFUSED(memcpy(p.limits[0].log, "a~", 3), "no name of a log");
	REFUSED(memcpy(p.limits[0].log, "~2", 3), "no name of a log");
	REFUSED(memcpy(p.limits[0].log, "a~0", 4), "no name of a log");
	REFUSED(memcpy(p.limits[0].log, "a~100", 6), "no name of a log");
	REFUSED(memcpy(p.limits[0].log, "a~2~3", 6), "no name of a log");
	REFUSED(memcpy(p.limits[0].log, "a b", 4), "no name of a log");
	REFUSED(memset(p.limits[0].log, 'x', sizeof(p.limits[0].log)), "no name of a log");
	REFUSED(p.npast = PLAN_LIMITS_MAX + 1, "past limits");
	REFUSED(p.past[0].name[0] = '~', "a past limit has no name");
	REFUSED(p.past[1].log[0] = '\0', "a past limit has no name");
	REFUSED(p.nscopes = PLAN_SCOPES_MAX + 1, "at most 32 scopes");
	REFUSED(p.scopes[1][0] = ':', "scope 2:");
	REFUSED(memset(p.scopes[0], 'x', sizeof(p.scopes[0])), "scope 1:");
	REFUSED(memcpy(p.scopes[1], p.scopes[0], sizeof(p.scopes[0])), "is given twice");
	REFUSED(p.max_age_us = -SECOND, "maximal age");
	REFUSED(p.max_age_us++, "maximal age");
	REFUSED(p.max_age_us = PLAN_AGE_MAX_US + SECOND, "maximal age");
	REFUSED(p.max_age_us = 0, "refusing by age needs a maximal age");
	REFUSED(p.max_age_deny = 2, "refusing by age is 0 or 1");
#undef REFUSED
}

static void
versions(void **unused)
{
	uint8_t record[PLAN_RECORD_MAX];
	struct plan got;
	struct err e;
	size_t n = encode(&sample, record);

	(void)unused;
	for (int v = 0; v < 256; v++) {
		record[0] = (uint8_t)v;
		if (v >= 1 && v <= 3)
			continue;
		assert_int_equal(plan_decode((struct span){(char *)record, n}, &got, &e), -1);
		assert_int_equal(e.code, ERR_VERSION);
	}
	assert_int_equal(plan_decode((struct span){(char *)record, 0}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(plan_decode((struct span){NULL, 0}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
}

/* The first version had no renames: the limits' logs are named like them. */
static void
the_first_version_is_read(void **unused)
{
	static const struct plan plan = {.name = "old",
	    .per = PLAN_PER_OWNER,
	    .nlimits = 2,
	    .limits = {{"a", 5, SECOND, 1, ""}, {"b", 6, 60 * SECOND, 0, ""}},
	    .created_us = 5,
	    .changed_us = 6};
	uint8_t record[PLAN_RECORD_MAX];
	struct plan got;
	struct wbuf w;
	struct err e;

	(void)unused;
	wbuf_init(&w, record, sizeof(record));
	wbuf_u8(&w, 1);
	wbuf_str16(&w, span_of("old"));
	wbuf_u8(&w, PLAN_PER_OWNER);
	wbuf_u64(&w, 5);
	wbuf_u64(&w, 6);
	wbuf_u8(&w, 2);
	for (size_t i = 0; i < 2; i++) {
		wbuf_str16(&w, span_of(plan.limits[i].name));
		wbuf_u64(&w, plan.limits[i].max_units);
		wbuf_u64(&w, (uint64_t)plan.limits[i].window_us);
		wbuf_u8(&w, (uint8_t)plan.limits[i].dry_run);
	}
	assert_int_equal(plan_decode((struct span){(char *)record, w.len}, &got, &e), 0);
	assert_same(&got, &plan);
	assert_string_equal(got.limits[1].log, "b");
	assert_int_equal(plan_decode((struct span){(char *)record, w.len + 1}, &got, &e), -1);
}

/* Every prefix in memory of its exact size, so that a sanitizer sees a read behind it. */
static void
cut_and_damaged_records(void **unused)
{
	uint8_t record[PLAN_RECORD_MAX];
	size_t n = encode(&sample, record), decoded = 0;
	struct plan got;
	struct err e;

	(void)unused;
	for (size_t len = 0; len < n; len++) {
		char *cut = malloc(len + 1);

		assert_non_null(cut);
		memcpy(cut, record, len);
		assert_int_equal(plan_decode((struct span){cut, len}, &got, &e), -1);
		free(cut);
	}
	record[n] = 0;
	assert_int_equal(plan_decode((struct span){(char *)record, n + 1}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);

	for (size_t at = 0; at < n; at++) {
		uint8_t was = record[at];

		for (int v = 0; v < 256; v++) {
			record[at] = (uint8_t)v;
			if (plan_decode((struct span){(char *)record, n}, &got, &e) == 0) {
				decoded++;
				assert_int_equal(plan_check(&got, &e), 0);
			} else {
				assert_true(e.code == ERR_CORRUPT || e.code == ERR_VERSION);
			}
		}
		record[at] = was;
	}
	assert_true(decoded > n); /* other names and numbers are as good */
}

/* Only the built-in plan's very name names it. */
static void
one_plan_is_built_in(void **state)
{
	static const char *const others[] = {"", "Default", "default2", "defaul", "gold"};
	struct plan p;
	struct err e;

	(void)state;
	assert_int_equal(plan_builtin(span_of("default"), &p), 1);
	assert_string_equal(p.name, "default");
	assert_int_equal(p.per, PLAN_PER_KEY);
	assert_int_equal(p.nlimits, 0);
	assert_int_equal(p.created_us, 0);
	assert_int_equal(plan_check(&p, &e), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(plan_builtin(span_of(others[i]), &p), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limits_are_read),
	    cmocka_unit_test(bad_limits_say_the_mend),
	    cmocka_unit_test(words_that_garble_are_not_repeated),
	    cmocka_unit_test(records_come_back),
	    cmocka_unit_test(what_must_hold),
	    cmocka_unit_test(versions),
	    cmocka_unit_test(the_first_version_is_read),
	    cmocka_unit_test(cut_and_damaged_records),
	    cmocka_unit_test(one_plan_is_built_in),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
