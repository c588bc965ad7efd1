/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the RateLimit fields are what the contract says to the letter, in every form, and no wait
 * that they or Retry-After tell is too short.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "http/ratelimit.h"

#define SECOND INT64_C(1000000)

static struct reply R;

static const char *
headers(const struct wire_answer *a, enum config_ratelimit form)
{
	static char text[REPLY_MAX];
	struct span s;

	reply_begin(&R, 200);
	ratelimit_headers(a, form, &R);
	reply_body(&R, NULL, (struct span){NULL, 0});
	s = reply_view(&R);
	if (R.bad)
		return "bad";
	/* Without the status line and the empty line. */
	assert_true(s.len >= 18);
	memcpy(text, s.p + 16, s.len - 18);
	text[s.len - 18] = '\0';
	return text;
}

/* The contract's own example. */
static struct wire_answer
example(void)
{
	return (struct wire_answer){
	    .verdict = VERDICT_OK,
	    .nlimits = 2,
	    .limits =
		{
		    {.name = "burst",
			.max_units = 10,
			.window_us = SECOND,
			.remaining = 7,
			.more_us = 1},
		    {.name = "day",
			.max_units = 1000,
			.window_us = 86400 * SECOND,
			.remaining = 993,
			.more_us = 86000 * SECOND},
		},
	};
}

static void
test_forms(void **state)
{
	struct wire_answer a = example();

	(void)state;
	assert_string_equal(headers(&a, RATELIMIT_DRAFT),
	    "RateLimit-Policy: \"burst\";q=10;w=1, \"day\";q=1000;w=86400\r\n"
	    "RateLimit: \"burst\";r=7;t=1, \"day\";r=993;t=86000\r\n");
	assert_string_equal(headers(&a, RATELIMIT_LEGACY), "X-RateLimit-Limit: 10\r\n"
							   "X-RateLimit-Remaining: 7\r\n"
							   "X-RateLimit-Reset: 1\r\n");
	assert_string_equal(headers(&a, RATELIMIT_BOTH),
	    "RateLimit-Policy: \"burst\";q=10;w=1, \"day\";q=1000;w=86400\r\n"
	    "RateLimit: \"burst\";r=7;t=1, \"day\";r=993;t=86000\r\n"
	    "X-RateLimit-Limit: 10\r\n"
	    "X-RateLimit-Remaining: 7\r\n"
	    "X-RateLimit-Reset: 1\r\n");
	assert_string_equal(headers(&a, RATELIMIT_OFF), "");
	a.nlimits = 0;
	assert_string_equal(headers(&a, RATELIMIT_BOTH), "");
}

static void
test_untouched(void **state)
{
	struct wire_answer a = example();

	(void)state;
	a.nlimits = 1;
	a.limits[0].remaining = 10;
	a.limits[0].more_us = 0;
	assert_string_equal(headers(&a, RATELIMIT_DRAFT),
	    "RateLimit-Policy: \"burst\";q=10;w=1\r\nRateLimit: \"burst\";r=10;t=0\r\n");
}

static void
test_the_tightest(void **state)
{
	struct wire_answer a = example();

	(void)state;
	/* By what is left in proportion, not in number. */
	a.limits[0].remaining = 5;
	a.limits[1].remaining = 499;
	assert_non_null(strstr(headers(&a, RATELIMIT_LEGACY), "Limit: 1000\r\n"));
	a.limits[1].remaining = 501;
	assert_non_null(strstr(headers(&a, RATELIMIT_LEGACY), "Limit: 10\r\n"));
	/* As tight: the one that takes longer, wherever it stands. */
	a.limits[0].remaining = a.limits[1].remaining = 0;
	assert_non_null(strstr(headers(&a, RATELIMIT_LEGACY), "Reset: 86000\r\n"));
	a.limits[0].more_us = 86001 * SECOND;
	assert_non_null(strstr(headers(&a, RATELIMIT_LEGACY), "Reset: 86001\r\n"));
	/* At the largest limits. */
	a.limits[0] =
	    (struct wire_limit){.max_units = LIMIT_UNITS_MAX, .remaining = LIMIT_UNITS_MAX - 1};
	a.limits[1] =
	    (struct wire_limit){.max_units = LIMIT_UNITS_MAX - 1, .remaining = LIMIT_UNITS_MAX - 2};
	assert_non_null(strstr(headers(&a, RATELIMIT_LEGACY), "Limit: 999999999\r\n"));
}

/* All limits that a plan can have, with the longest of everything, fit; names cannot break the
 * syntax. */
static void
test_the_largest_plan(void **state)
{
	struct wire_answer a = {.nlimits = PLAN_LIMITS_MAX};
	size_t i;

	(void)state;
	for (i = 0; i < PLAN_LIMITS_MAX; i++) {
		memset(a.limits[i].name, '"', LIMIT_NAME_MAX);
		a.limits[i].max_units = a.limits[i].remaining = LIMIT_UNITS_MAX;
		a.limits[i].window_us = a.limits[i].more_us = LIMIT_WINDOW_MAX_US;
	}
	assert_non_null(
	    strstr(headers(&a, RATELIMIT_BOTH), "\\\"\\\"\";r=1000000000;t=31622400\r\nX-"));
	a.limits[0].name[0] = '\n';
	assert_string_equal(headers(&a, RATELIMIT_DRAFT), "bad");
	memcpy(a.limits[0].name, "a\\b", 4);
	assert_non_null(strstr(headers(&a, RATELIMIT_DRAFT), "RateLimit: \"a\\\\b\";r="));

	/* Not even figures that no plan can have are cut. */
	for (i = 0; i < PLAN_LIMITS_MAX; i++) {
		memset(a.limits[i].name, '"', LIMIT_NAME_MAX);
		a.limits[i].max_units = a.limits[i].remaining = UINT64_MAX;
		a.limits[i].window_us = a.limits[i].more_us = INT64_MAX;
	}
	assert_non_null(
	    strstr(headers(&a, RATELIMIT_BOTH), "r=18446744073709551615;t=9223372036855\r\nX-"));
}

static void
test_seconds(void **state)
{
	(void)state;
	assert_int_equal(ratelimit_seconds(INT64_MIN), 0);
	assert_int_equal(ratelimit_seconds(-1), 0);
	assert_int_equal(ratelimit_seconds(0), 0);
	assert_int_equal(ratelimit_seconds(1), 1);
	assert_int_equal(ratelimit_seconds(SECOND), 1);
	assert_int_equal(ratelimit_seconds(SECOND + 1), 2);
	assert_int_equal(ratelimit_seconds(INT64_MAX), INT64_MAX / SECOND + 1);
}

static void
test_retry_after(void **state)
{
	struct wire_answer a = example();

	(void)state;
	/* Rounded up, at least 1. */
	a.retry_us = 11 * SECOND + 1;
	assert_int_equal(ratelimit_retry_after(&a), 12);
	a.retry_us = 12 * SECOND;
	assert_int_equal(ratelimit_retry_after(&a), 12);
	a.retry_us = 0;
	assert_int_equal(ratelimit_retry_after(&a), 1);
	/* Not before a limit that refused has more room; others do not matter. */
	a.limits[0].violated = 1;
	a.limits[0].more_us = 3 * SECOND + 5;
	a.retry_us = SECOND;
	assert_int_equal(ratelimit_retry_after(&a), 4);
	a.retry_us = 20 * SECOND;
	assert_int_equal(ratelimit_retry_after(&a), 20);
	a.limits[1].violated = 1;
	assert_int_equal(ratelimit_retry_after(&a), 86000);
	/* Never: the window of the limit, the longest of those that refused. */
	a.retry_us = -1;
	assert_int_equal(ratelimit_retry_after(&a), 86400);
	a.limits[1].violated = 0;
	assert_int_equal(ratelimit_retry_after(&a), 1);
	a.limits[0].window_us = 60 * SECOND;
	assert_int_equal(ratelimit_retry_after(&a), 60);
	a.nlimits = 0;
	assert_int_equal(ratelimit_retry_after(&a), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_untouched),
	    cmocka_unit_test(test_the_tightest),
	    cmocka_unit_test(test_the_largest_plan),
	    cmocka_unit_test(test_seconds),
	    cmocka_unit_test(test_retry_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
