/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a reply is one whole CGI response, byte for byte; no value breaks out of its line; whatever
 * goes wrong while it is built ends in the fixed 500, which is a refusal. Guards invariant 6.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "core/verdict.h"
#include "http/reply.h"

static struct reply R;

static void
assert_view(const char *want)
{
	struct span got = reply_view(&R);

	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.p, want, got.len);
	assert_false(R.bad);
}

static void
assert_broken(void)
{
	struct span got = reply_view(&R);

	assert_true(R.bad);
	assert_true(got.len > 40);
	assert_memory_equal(got.p, "Status: 500 Internal Server Error\r\n", 35);
}

static void
test_with_a_body(void **state)
{
	(void)state;
	reply_begin(&R, 429);
	reply_header_str(&R, "Retry-After", "12");
	reply_header(&R, "Apikey-Denied", span_of("rate_limited"));
	reply_header_str(&R, "X-Empty", "");
	reply_body(&R, "application/problem+json", span_of("{}\r\n\r\n"));
	assert_view("Status: 429 Too Many Requests\r\n"
		    "Retry-After: 12\r\n"
		    "Apikey-Denied: rate_limited\r\n"
		    "X-Empty: \r\n"
		    "Content-Type: application/problem+json\r\n"
		    "Content-Length: 6\r\n"
		    "\r\n"
		    "{}\r\n\r\n");
}

static void
test_without_one(void **state)
{
	(void)state;
	reply_begin(&R, 204);
	reply_body(&R, NULL, (struct span){NULL, 0});
	assert_view("Status: 204 No Content\r\n\r\n");

	reply_begin(&R, 200);
	reply_body(&R, "text/plain", span_of(""));
	assert_view("Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
}

static void
test_no_value_ends_its_line(void **state)
{
	int c;

	(void)state;
	for (c = 0; c < 256; c++) {
		char value[] = {'a', (char)c, 'b'};

		reply_begin(&R, 200);
		reply_header(&R, "X-Value", (struct span){value, 3});
		reply_body(&R, NULL, (struct span){NULL, 0});
		if (c < 0x20 || c == 0x7f) {
			assert_broken();
		} else {
			assert_memory_equal(reply_view(&R).p + 25, value, 3);
			assert_false(R.bad);
		}
	}
	reply_begin(&R, 200);
	reply_body(&R, "text/plain\r\nX-Evil: 1", span_of("x"));
	assert_broken();
}

static void
test_names_are_tokens(void **state)
{
	static const char *const bad[] = {"", "A B", "A:", "A\r\nB", "A\x7f", "\xc3\xa4", "A(B)"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reply_begin(&R, 200);
		reply_header_str(&R, bad[i], "v");
		reply_body(&R, NULL, (struct span){NULL, 0});
		assert_broken();
	}
	reply_begin(&R, 200);
	reply_header_str(&R, "Variable-APIKEY_ID", "v");
	reply_header_str(&R, "x!#$%&'*+-.^_`|~09", "v");
	reply_body(&R, NULL, (struct span){NULL, 0});
	reply_view(&R);
	assert_false(R.bad);
}

static void
test_lengths(void **state)
{
	static char large[REPLY_MAX];
	int i;

	(void)state;
	memset(large, 'x', sizeof(large));
	reply_begin(&R, 200);
	reply_header(&R, "A", (struct span){large, REPLY_VALUE_MAX});
	reply_body(&R, NULL, (struct span){NULL, 0});
	assert_int_equal(reply_view(&R).len, 16 + 5 + REPLY_VALUE_MAX + 2);
	reply_begin(&R, 200);
	reply_header(&R, "A", (struct span){large, REPLY_VALUE_MAX + 1});
	reply_body(&R, NULL, (struct span){NULL, 0});
	assert_broken();

	/* Too much of what is allowed one by one. */
	reply_begin(&R, 200);
	for (i = 0; i < 5; i++)
		reply_header(&R, "A", (struct span){large, REPLY_VALUE_MAX});
	reply_body(&R, NULL, (struct span){NULL, 0});
	assert_broken();
	reply_begin(&R, 200);
	reply_body(&R, "text/plain", (struct span){large, REPLY_MAX});
	assert_broken();
	/* Exactly full. */
	reply_begin(&R, 200);
	reply_body(&R, "text/plain", (struct span){large, REPLY_MAX - 16 - 26 - 23 - 2});
	assert_int_equal(reply_view(&R).len, REPLY_MAX);
	assert_false(R.bad);
}

static void
test_order_of_calls(void **state)
{
	(void)state;
	reply_begin(&R, 200);
	reply_header_str(&R, "A", "b");
	assert_broken(); /* never ended */

	reply_begin(&R, 200);
	reply_body(&R, "text/plain", span_of("x"));
	reply_header_str(&R, "A", "b");
	assert_broken();

	reply_begin(&R, 200);
	reply_body(&R, "text/plain", span_of("x"));
	reply_body(&R, "text/plain", span_of("y"));
	assert_broken();

	/* A bad one stays bad, and a new one is good. */
	reply_begin(&R, 200);
	reply_header_str(&R, "A", "\n");
	reply_header_str(&R, "A", "b");
	reply_body(&R, "text/plain", span_of("x"));
	assert_broken();
	reply_begin(&R, 200);
	reply_body(&R, "text/plain", span_of("x"));
	reply_view(&R);
	assert_false(R.bad);
}

static void
test_statuses(void **state)
{
	static const int bad[] = {-1, 0, 99, 100, 199, 600, 1000};
	size_t i;
	int v;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reply_begin(&R, bad[i]);
		reply_body(&R, NULL, (struct span){NULL, 0});
		assert_broken();
	}
	assert_string_equal(reply_reason(401), "Unauthorized");
	assert_string_equal(reply_reason(503), "Service Unavailable");
	assert_string_equal(reply_reason(299), "Unknown");
	for (v = 0; v < VERDICTS; v++)
		assert_string_not_equal(
		    reply_reason(verdict_info((enum verdict)v)->status), "Unknown");
}

/* What is sent instead is a well-formed denial of its own. */
static void
test_the_fixed_500(void **state)
{
	struct span got;
	struct err e = {0};
	const char *body;
	cJSON *json;

	(void)state;
	reply_begin(&R, 0);
	got = reply_view(&R);
	body = memmem(got.p, got.len, "\r\n\r\n", 4);
	assert_non_null(body);
	body += 4;
	assert_non_null(memmem(got.p, got.len, "\r\nCache-Control: no-store\r\n", 27));
	assert_non_null(memmem(got.p, got.len, "\r\nApikey-Denied: misconfigured\r\n", 32));
	assert_non_null(
	    memmem(got.p, got.len, "\r\nContent-Type: application/problem+json\r\n", 42));
	json = json_parse_object((struct span){body, got.len - (size_t)(body - got.p)}, &e);
	assert_non_null(json);
	assert_int_equal(json_int(json, "status", 0, 0, 999, &e), 500);
	assert_string_equal(json_str(json, "code", &e), verdict_info(VERDICT_MISCONFIGURED)->code);
	assert_string_equal(
	    json_str(json, "title", &e), verdict_info(VERDICT_MISCONFIGURED)->title);
	assert_int_equal(e.code, ERR_NONE);
	cJSON_Delete(json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_with_a_body),
	    cmocka_unit_test(test_without_one),
	    cmocka_unit_test(test_no_value_ends_its_line),
	    cmocka_unit_test(test_names_are_tokens),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_order_of_calls),
	    cmocka_unit_test(test_statuses),
	    cmocka_unit_test(test_the_fixed_500),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
