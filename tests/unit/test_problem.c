/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: bodies and challenges are, to the letter, what the contract says of each verdict; they are
 * well-formed whatever bytes come in, and fit for a header. Guards invariant 6; and of 4 that a
 * denial tells nothing of the key.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "http/problem.h"

static uint8_t mem[16384];
static struct wbuf w;

static const char *
body(struct problem p)
{
	if (p.realm == NULL)
		p.realm = "api";
	wbuf_init(&w, mem, sizeof(mem));
	problem_body(&p, &w);
	assert_non_null(wbuf_cstr(&w));
	return (const char *)mem;
}

static const char *
challenge(struct problem p)
{
	if (p.realm == NULL)
		p.realm = "api";
	wbuf_init(&w, mem, sizeof(mem));
	if (problem_challenge(&p, &w) == 0) {
		assert_int_equal(w.len, 0);
		return "";
	}
	assert_non_null(wbuf_cstr(&w));
	return (const char *)mem;
}

static void
test_bodies(void **state)
{
	(void)state;
	assert_string_equal(
	    body((struct problem){.verdict = VERDICT_KEY_MISSING, .request_id = span_of("r1")}),
	    "{\"type\":\"urn:apikeyd:problem:key_missing\",\"title\":\"API key is "
	    "missing\",\"status\":401,"
	    "\"detail\":\"Send the API key as 'Authorization: Bearer KEY' or 'X-API-Key: "
	    "KEY'.\",\"code\":\"key_missing\",\"instance\":\"urn:apikeyd:request:r1\"}");
	assert_string_equal(
	    body((struct problem){.verdict = VERDICT_UNAVAILABLE, .request_id = span_of("r2")}),
	    "{\"type\":\"https://iana.org/assignments/"
	    "http-problem-types#temporary-reduced-capacity\","
	    "\"title\":\"Service unavailable\",\"status\":503,"
	    "\"detail\":\"The API key cannot be checked right now; send the request again in a "
	    "moment.\",\"code\":\"unavailable\",\"instance\":\"urn:apikeyd:request:r2\"}");
	assert_string_equal(body((struct problem){.verdict = VERDICT_SCOPE_INSUFFICIENT,
				.request_id = span_of("r3"),
				.needed_scopes = span_of("orders:read orders:write")}),
	    "{\"type\":\"urn:apikeyd:problem:scope_insufficient\",\"title\":\"Insufficient "
	    "scope\",\"status\":403,"
	    "\"detail\":\"The API key does not hold every scope that this resource needs; use a "
	    "key that does.\",\"code\":\"scope_insufficient\",\"instance\":\"urn:apikeyd:request:"
	    "r3\","
	    "\"scope\":\"orders:read orders:write\"}");
	/* The table's own sentence; and no instance without an id. */
	body((struct problem){.verdict = VERDICT_KEY_INVALID});
	assert_non_null(strstr((char *)mem, verdict_info(VERDICT_KEY_INVALID)->detail));
	assert_null(strstr((char *)mem, "instance"));
	/* Scopes are told where they are what is missing, and nowhere else. */
	body((struct problem){.verdict = VERDICT_IP_DENIED, .needed_scopes = span_of("a:b")});
	assert_null(strstr((char *)mem, "a:b"));
}

static void
test_violated_policies(void **state)
{
	static struct wire_answer a = {
	    .verdict = VERDICT_RATE_LIMITED,
	    .id = {"key_secret", 10},
	    .owner = {"acme", 4},
	    .plan = {"gold", 4},
	    .nlimits = 3,
	    .limits = {{.name = "burst", .violated = 1}, {.name = "minute"},
		{.name = "day", .violated = 1}},
	};
	struct problem p = {
	    .verdict = VERDICT_RATE_LIMITED,
	    .request_id = span_of("x"),
	    .answer = &a,
	};

	(void)state;
	assert_string_equal(body(p),
	    "{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\","
	    "\"title\":\"Rate limit "
	    "exceeded\",\"status\":429,\"detail\":\"A limit has no room for this request; send it "
	    "again after the seconds given in Retry-After.\",\"code\":\"rate_limited\","
	    "\"instance\":\"urn:apikeyd:request:x\",\"violated-policies\":[\"burst\",\"day\"]}");
	a.limits[0].violated = a.limits[2].violated = 0;
	assert_non_null(strstr(body(p), "\"violated-policies\":[]}"));
	p.answer = NULL;
	assert_null(strstr(body(p), "violated"));
	/* Other verdicts say nothing of limits, whatever the answer holds. */
	p.answer = &a;
	p.verdict = VERDICT_KEY_REVOKED;
	a.limits[0].violated = 1;
	assert_null(strstr(body(p), "burst"));
	assert_null(strstr(body(p), "acme"));
}

static void
test_ok_is_no_problem(void **state)
{
	(void)state;
	body((struct problem){.verdict = VERDICT_OK});
	assert_non_null(strstr((char *)mem, "\"status\":500"));
	assert_non_null(strstr((char *)mem, "\"code\":\"misconfigured\""));
	body((struct problem){.verdict = (enum verdict)99});
	assert_non_null(strstr((char *)mem, "\"code\":\"misconfigured\""));
}

/* Each is JSON of one line that an HTTP header can carry. */
static void
test_all_are_json(void **state)
{
	int v;

	(void)state;
	for (v = 0; v < VERDICTS; v++) {
		struct err e = {0};
		cJSON *json;

		if (v == VERDICT_OK)
			continue;
		json = json_parse_object(span_of(body((struct problem){.verdict = (enum verdict)v,
					     .request_id = span_of("\x01\r\n\x7f\xff\"\\"),
					     .needed_scopes = span_of("\t")})),
		    &e);
		assert_non_null(json);
		assert_string_equal(
		    json_str(json, "code", &e), verdict_info((enum verdict)v)->code);
		assert_int_equal(
		    json_int(json, "status", 0, 0, 999, &e), verdict_info((enum verdict)v)->status);
		assert_true(strlen(json_str(json, "title", &e)) > 0);
		assert_true(strlen(json_str(json, "detail", &e)) > 0);
		assert_int_equal(e.code, ERR_NONE);
		assert_true(text_printable(wbuf_view(&w)));
		cJSON_Delete(json);
	}
}

/* Running out of room is told, and nothing is written behind the end. */
static void
test_no_room(void **state)
{
	struct problem p = {
	    .verdict = VERDICT_KEY_EXPIRED, .request_id = span_of("id"), .realm = "api"};
	size_t whole, n;

	(void)state;
	whole = strlen(body(p));
	for (n = 0; n <= whole; n++) {
		memset(mem, 0x55, sizeof(mem));
		wbuf_init(&w, mem, n);
		problem_body(&p, &w);
		assert_int_equal(w.overflow, n < whole);
		assert_int_equal(mem[n], 0x55);
	}
}

static void
test_challenges(void **state)
{
	static const struct {
		enum verdict verdict;
		const char *want;
	} table[] = {
	    {VERDICT_REQUEST_INVALID, "Bearer realm=\"api\", error=\"invalid_request\""},
	    {VERDICT_KEY_IN_URL, "Bearer realm=\"api\", error=\"invalid_request\""},
	    {VERDICT_KEY_MISSING, "Bearer realm=\"api\""},
	    {VERDICT_KEY_INVALID, "Bearer realm=\"api\", error=\"invalid_token\""},
	    {VERDICT_KEY_EXPIRED, "Bearer realm=\"api\", error=\"invalid_token\", "
				  "error_description=\"The API key has expired\""},
	    {VERDICT_KEY_REVOKED, "Bearer realm=\"api\", error=\"invalid_token\", "
				  "error_description=\"The API key has been revoked\""},
	    {VERDICT_KEY_DISABLED, "Bearer realm=\"api\", error=\"invalid_token\", "
				   "error_description=\"The API key is disabled\""},
	    {VERDICT_HTTPS_REQUIRED, ""},
	    {VERDICT_IP_DENIED, ""},
	    {VERDICT_REFERRER_DENIED, ""},
	    {VERDICT_APP_DENIED, ""},
	    {VERDICT_METHOD_DENIED, ""},
	    {VERDICT_BROWSER_DENIED, ""},
	    {VERDICT_SCOPE_INSUFFICIENT,
		"Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"a:r b:w\""},
	    {VERDICT_RATE_LIMITED, ""},
	    {VERDICT_CLIENT_BLOCKED, ""},
	    {VERDICT_UNAVAILABLE, ""},
	    {VERDICT_MISCONFIGURED, ""},
	    {VERDICT_OK, ""},
	};
	size_t i;

	(void)state;
	assert_int_equal(sizeof(table) / sizeof(table[0]), VERDICTS);
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_string_equal(challenge((struct problem){.verdict = table[i].verdict,
					.needed_scopes = span_of("a:r b:w")}),
		    table[i].want);
}

static void
test_realms_are_quoted(void **state)
{
	struct problem p = {.verdict = VERDICT_KEY_MISSING, .realm = "a \"b\" \\c, error=\"x"};

	(void)state;
	assert_string_equal(challenge(p), "Bearer realm=\"a \\\"b\\\" \\\\c, error=\\\"x\"");
	wbuf_init(&w, mem, sizeof(mem));
	problem_challenge_apikey(&p, &w);
	assert_string_equal(wbuf_cstr(&w), "ApiKey realm=\"a \\\"b\\\" \\\\c, error=\\\"x\"");
	p.realm = "api";
	wbuf_init(&w, mem, sizeof(mem));
	problem_challenge_apikey(&p, &w);
	assert_string_equal(wbuf_cstr(&w), "ApiKey realm=\"api\"");
}

static void
check_string(const char *in, size_t n, const char *want)
{
	wbuf_init(&w, mem, sizeof(mem));
	problem_json_string(&w, (struct span){in, n});
	assert_string_equal(wbuf_cstr(&w), want);
}

static void
test_json_strings(void **state)
{
	static const struct {
		const char *in, *want;
	} table[] = {
	    {"", "\"\""},
	    {"plain /x", "\"plain /x\""},
	    {"a\"b\\c", "\"a\\\"b\\\\c\""},
	    {"\n\r\t\x01\x1f\x7f", "\"\\n\\r\\t\\u0001\\u001f\\u007f\""},
	    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
	    {"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
		"\"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
	    {"\x80", "\"\\ufffd\""},
	    {"a\xff"
	     "b",
		"\"a\\ufffdb\""},
	    {"\xc0\xaf", "\"\\ufffd\\ufffd\""},			      /* overlong */
	    {"\xc1\xbf", "\"\\ufffd\\ufffd\""},			      /* overlong */
	    {"\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\""},	      /* overlong */
	    {"\xf0\x8f\xbf\xbf", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* overlong */
	    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},	      /* surrogate */
	    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* over U+10FFFF */
	    {"\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
	    {"\xe2\x82", "\"\\ufffd\\ufffd\""},	      /* cut */
	    {"\xe2\x82\"", "\"\\ufffd\\ufffd\\\"\""}, /* cut by what would end the string */
	    {"\xe2\x82\xc0", "\"\\ufffd\\ufffd\\ufffd\""},
	    {"\xc3", "\"\\ufffd\""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		check_string(table[i].in, strlen(table[i].in), table[i].want);
	check_string("a\0b", 3, "\"a\\u0000b\"");
	check_string(NULL, 0, "\"\"");
	/* A character that goes on behind the span is cut, not read. */
	check_string("\xe2\x82\xac", 2, "\"\\ufffd\\ufffd\"");
}

/* Every pair of bytes: parsed back, JSON says the same. */
static void
test_json_strings_parse_back(void **state)
{
	int a, b;

	(void)state;
	for (a = 1; a < 256; a++) {
		for (b = 1; b < 256; b += 1 + (b > 0x90) * 6) {
			char in[] = {(char)a, (char)b, '\0'};
			struct err e = {0};
			cJSON *json;

			wbuf_init(&w, mem, sizeof(mem));
			wbuf_str(&w, "{\"s\":");
			problem_json_string(&w, span_of(in));
			wbuf_str(&w, "}");
			json = json_parse_object(wbuf_view(&w), &e);
			assert_non_null(json);
			if (a < 0x80 && b < 0x80)
				assert_string_equal(json_str(json, "s", &e), in);
			cJSON_Delete(json);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_violated_policies),
	    cmocka_unit_test(test_ok_is_no_problem),
	    cmocka_unit_test(test_all_are_json),
	    cmocka_unit_test(test_no_room),
	    cmocka_unit_test(test_challenges),
	    cmocka_unit_test(test_realms_are_quoted),
	    cmocka_unit_test(test_json_strings),
	    cmocka_unit_test(test_json_strings_parse_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
