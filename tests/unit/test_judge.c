/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: doctor's judgements, answer in, judgement out: what is right passes, each way to be wrong
 * fails and is called by its name, and no answer that serves a request passes for a refusal,
 * whatever headers it has.  And the tables that the report and the manual come from are whole.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/answer.h"
#include "apikey/causes.h"
#include "apikey/doctor.h"
#include "apikey/judge.h"

#define CHALLENGES                                                                                 \
	"WWW-Authenticate: Bearer realm=\"api\"\r\nWWW-Authenticate: ApiKey realm=\"api\"\r\n"
#define INVALID                                                                                    \
	"WWW-Authenticate: Bearer realm=\"api\", error=\"invalid_token\"\r\n"                      \
	"WWW-Authenticate: ApiKey realm=\"api\"\r\n"
#define COMMON(CODE)                                                                               \
	"Content-Type: application/problem+json\r\nCache-Control: "                                \
	"no-store\r\nApikey-Denied: " CODE "\r\n"
#define BODY(CODE, STATUS)                                                                         \
	"{\"type\":\"urn:apikeyd:problem:" CODE "\",\"title\":\"x\",\"status\":" STATUS            \
	",\"code\":\"" CODE "\",\"instance\":\"urn:apikeyd:request:aaaa\"}"

/* The head's lines, each ending with \r\n, then the body. */
static struct answer *
parse(struct answer *a, const char *head, const char *body)
{
	const char *p, *end;

	answer_reset(a);
	for (p = head; *p != '\0'; p = end + 1) {
		end = strchr(p, '\n');
		assert_non_null(end);
		answer_add_line(a, (struct span){p, (size_t)(end - p) + 1});
	}
	answer_add_line(a, span_of("\r\n"));
	answer_add_body(a, body, strlen(body));
	return a;
}

static struct answer *
fresh(void **state)
{
	return *state;
}

static int
setup(void **state)
{
	*state = calloc(4, sizeof(struct answer));
	return *state == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

struct row {
	const char *what;
	const char *head, *body;
	enum judge_result result;
	enum cause cause;
};

static void
refusals(struct answer *a, const struct judge_wanted *wanted, const struct row *rows, size_t n)
{
	struct judgement j;
	size_t i;

	for (i = 0; i < n; i++) {
		memset(&j, 0xff, sizeof(j));
		judge_refusal(&j, parse(a, rows[i].head, rows[i].body), wanted);
		if (j.result != rows[i].result || j.cause != rows[i].cause)
			fail_msg("%s: %s, %s (%s)", rows[i].what, judge_result_name(j.result),
			    causes_info(j.cause)->name, j.detail);
		assert_true(j.detail[0] != '\0');
	}
}

#define GOOD_HEAD "HTTP/1.1 401 Unauthorized\r\n" COMMON("key_missing") CHALLENGES
#define GOOD_BODY BODY("key_missing", "401")

static void
no_key(void **state)
{
	static const struct judge_wanted wanted = {
	    .verdict = VERDICT_KEY_MISSING, .open = CAUSE_OPEN};
	static const struct row rows[] = {
	    {"right", GOOD_HEAD, GOOD_BODY, JUDGE_PASS, CAUSE_NONE},
	    {"after 100 Continue", "HTTP/1.1 100 Continue\r\nX-Y: z\r\n" GOOD_HEAD, GOOD_BODY,
		JUDGE_PASS, CAUSE_NONE},
	    {"HTTP/2", "HTTP/2 401 \r\n" COMMON("key_missing") CHALLENGES, GOOD_BODY, JUDGE_PASS,
		CAUSE_NONE},
	    {"both challenges in one line",
		"HTTP/1.1 401 x\r\n" COMMON(
		    "key_missing") "WWW-Authenticate: Bearer realm=\"api\", "
				   "ApiKey realm=\"api\"\r\n",
		GOOD_BODY, JUDGE_PASS, CAUSE_NONE},
	    {"names in lower case",
		"HTTP/1.1 401 x\r\ncontent-type: application/problem+json; charset=utf-8\r\n"
		"cache-control: private, no-store\r\napikey-denied: key_missing\r\n"
		"www-authenticate: bearer realm=\"a\"\r\nwww-authenticate: apikey "
		"realm=\"a\"\r\n",
		GOOD_BODY, JUDGE_PASS, CAUSE_NONE},
	    {"served", "HTTP/1.1 200 OK\r\nX-Backend: y\r\n", "hello", JUDGE_FAIL, CAUSE_OPEN},
	    {"served with nothing", "HTTP/1.1 204 x\r\n", "", JUDGE_FAIL, CAUSE_OPEN},
	    {"a success that has an API's own code", "HTTP/1.1 200 OK\r\n",
		"{\"type\":\"order\",\"code\":\"key_missing\"}", JUDGE_FAIL, CAUSE_OPEN},
	    {"a refusal made a success", "HTTP/1.1 200 OK\r\n" COMMON("key_missing") CHALLENGES,
		GOOD_BODY, JUDGE_FAIL, CAUSE_REFUSAL_AS_SUCCESS},
	    {"of which the body alone is left", "HTTP/1.1 200 OK\r\n", GOOD_BODY, JUDGE_FAIL,
		CAUSE_REFUSAL_AS_SUCCESS},
	    {"redirect", "HTTP/1.1 301 x\r\nLocation: /login\r\n", "", JUDGE_FAIL, CAUSE_REDIRECT},
	    {"bare 401", "HTTP/1.1 401 x\r\n" CHALLENGES, "<html>", JUDGE_FAIL, CAUSE_BARE_REFUSAL},
	    {"bare 404", "HTTP/1.1 404 x\r\n", "", JUDGE_FAIL, CAUSE_NOT_THERE},
	    {"bare 403", "HTTP/1.1 403 x\r\n", "", JUDGE_FAIL, CAUSE_BARE_REFUSAL},
	    {"502", "HTTP/1.1 502 x\r\n", "", JUDGE_FAIL, CAUSE_GATE_DOWN},
	    {"unavailable", "HTTP/1.1 503 x\r\n" COMMON("unavailable"), BODY("unavailable", "503"),
		JUDGE_FAIL, CAUSE_GATE_DOWN},
	    {"misconfigured", "HTTP/1.1 500 x\r\n" COMMON("misconfigured"),
		BODY("misconfigured", "500"), JUDGE_FAIL, CAUSE_MISCONFIGURED},
	    {"https_required", "HTTP/1.1 403 x\r\n" COMMON("https_required"),
		BODY("https_required", "403"), JUDGE_FAIL, CAUSE_HTTPS_UNSEEN},
	    {"blocked", "HTTP/1.1 429 x\r\n" COMMON("client_blocked"),
		BODY("client_blocked", "429"), JUDGE_FAIL, CAUSE_BLOCKED},
	    {"another status", "HTTP/1.1 403 x\r\n" COMMON("key_missing") CHALLENGES, GOOD_BODY,
		JUDGE_FAIL, CAUSE_STATUS_CHANGED},
	    {"another status in the body", GOOD_HEAD, BODY("key_missing", "403"), JUDGE_FAIL,
		CAUSE_STATUS_CHANGED},
	    {"another code in the body", GOOD_HEAD, BODY("key_invalid", "401"), JUDGE_FAIL,
		CAUSE_BARE_REFUSAL},
	    {"HTML for a body", GOOD_HEAD, "<html>", JUDGE_FAIL, CAUSE_BARE_REFUSAL},
	    {"more behind the body", GOOD_HEAD, GOOD_BODY "<html>", JUDGE_FAIL, CAUSE_BARE_REFUSAL},
	    {"text/html",
		"HTTP/1.1 401 x\r\nContent-Type: text/html\r\nCache-Control: no-store\r\n"
		"Apikey-Denied: key_missing\r\n" CHALLENGES,
		GOOD_BODY, JUDGE_FAIL, CAUSE_CONTENT_TYPE},
	    {"no type",
		"HTTP/1.1 401 x\r\nCache-Control: no-store\r\nApikey-Denied: "
		"key_missing\r\n" CHALLENGES,
		GOOD_BODY, JUDGE_FAIL, CAUSE_CONTENT_TYPE},
	    {"no Apikey-Denied",
		"HTTP/1.1 401 x\r\nContent-Type: application/problem+json\r\nCache-Control: "
		"no-store\r\n" CHALLENGES,
		GOOD_BODY, JUDGE_FAIL, CAUSE_HEADERS_LOST},
	    {"to be cached",
		"HTTP/1.1 401 x\r\nContent-Type: application/problem+json\r\nApikey-Denied: "
		"key_missing\r\n" CHALLENGES,
		GOOD_BODY, JUDGE_FAIL, CAUSE_HEADERS_LOST},
	    {"no challenge", "HTTP/1.1 401 x\r\n" COMMON("key_missing"), GOOD_BODY, JUDGE_FAIL,
		CAUSE_HEADERS_LOST},
	    {"one challenge",
		"HTTP/1.1 401 x\r\n" COMMON("key_missing") "WWW-Authenticate: Bearer "
							   "realm=\"api\"\r\n",
		GOOD_BODY, JUDGE_FAIL, CAUSE_HEADERS_LOST},
	    {"the challenge of another refusal", "HTTP/1.1 401 x\r\n" COMMON("key_missing") INVALID,
		GOOD_BODY, JUDGE_FAIL, CAUSE_HEADERS_LOST},
	    {"challenges twice", GOOD_HEAD CHALLENGES, GOOD_BODY, JUDGE_FAIL, CAUSE_DOUBLED},
	    {"types twice", GOOD_HEAD "Content-Type: text/html\r\n", GOOD_BODY, JUDGE_FAIL,
		CAUSE_DOUBLED},
	    {"verdicts twice", GOOD_HEAD "Apikey-Denied: key_missing\r\n", GOOD_BODY, JUDGE_FAIL,
		CAUSE_DOUBLED},
	};

	refusals(fresh(state), &wanted, rows, sizeof(rows) / sizeof(rows[0]));
}

static void
no_answer(void **state)
{
	static const struct judge_wanted wanted = {.verdict = VERDICT_KEY_MISSING};
	static const enum answer_kind kinds[] = {
	    ANSWER_NONE, ANSWER_TIMEOUT, ANSWER_CLOSED, ANSWER_REFUSED, ANSWER_UNREACHABLE};
	struct answer *a = fresh(state);
	struct judgement j;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		answer_reset(a);
		a->kind = kinds[i];
		judge_refusal(&j, a, &wanted);
		assert_int_equal(j.result, JUDGE_FAIL);
		assert_int_equal(j.cause, CAUSE_NO_ANSWER);
		judge_admitted(&j, a, JUDGE_BEARER);
		assert_int_equal(j.result, JUDGE_FAIL);
	}
}

static void
other_refusals(void **state)
{
	static const struct judge_wanted limited = {.verdict = VERDICT_RATE_LIMITED,
					     .way = JUDGE_BEARER},
					 url = {.verdict = VERDICT_KEY_IN_URL,
					     .way = JUDGE_QUERY,
					     .open = CAUSE_OPEN_CREDENTIALS},
					 invalid = {.verdict = VERDICT_KEY_INVALID,
					     .way = JUDGE_BEARER},
					 header = {.verdict = VERDICT_KEY_INVALID,
					     .way = JUDGE_HEADER},
					 two = {.verdict = VERDICT_REQUEST_INVALID,
					     .way = JUDGE_HEADER},
					 head = {.verdict = VERDICT_KEY_MISSING, .no_body = 1};
	static const struct row
	    limited_rows[] =
		{
		    {"right", "HTTP/1.1 429 x\r\n" COMMON("rate_limited") "Retry-After: 12\r\n",
			BODY("rate_limited", "429"), JUDGE_PASS, CAUSE_NONE},
		    {"no Retry-After", "HTTP/1.1 429 x\r\n" COMMON("rate_limited"),
			BODY("rate_limited", "429"), JUDGE_FAIL, CAUSE_HEADERS_LOST},
		    {"nginx", "HTTP/1.1 500 x\r\n", "<html>", JUDGE_FAIL, CAUSE_STATUS_CHANGED},
		    {"mod_fcgid", "HTTP/1.1 401 x\r\n", "<html>", JUDGE_FAIL, CAUSE_STATUS_CHANGED},
		    {"mod_fcgid with its headers", "HTTP/1.1 401 x\r\n" COMMON("rate_limited"),
			"<html>", JUDGE_FAIL, CAUSE_STATUS_CHANGED},
		},
	    url_rows[] =
		{
		    {"not seen", GOOD_HEAD, GOOD_BODY, JUDGE_FAIL, CAUSE_URI_LOST},
		    {"allowed", "HTTP/1.1 401 x\r\n" COMMON("key_invalid") INVALID,
			BODY("key_invalid", "401"), JUDGE_FAIL, CAUSE_QUERY_ALLOWED},
		    {"served", "HTTP/1.1 200 x\r\n", "", JUDGE_FAIL, CAUSE_OPEN_CREDENTIALS},
		},
	    invalid_rows[] = {{"not seen", GOOD_HEAD, GOOD_BODY, JUDGE_FAIL, CAUSE_BEARER_LOST}},
	    header_rows[] = {{"not seen", GOOD_HEAD, GOOD_BODY, JUDGE_FAIL, CAUSE_HEADER_LOST}},
	    two_rows[] = {{"one of them", "HTTP/1.1 401 x\r\n" COMMON("key_invalid") INVALID,
			      BODY("key_invalid", "401"), JUDGE_FAIL, CAUSE_ONE_OF_TWO},
		{"500", "HTTP/1.1 500 x\r\n", "", JUDGE_FAIL, CAUSE_STATUS_CHANGED}},
	    head_rows[] = {{"right", GOOD_HEAD, "", JUDGE_PASS, CAUSE_NONE},
		{"bare", "HTTP/1.1 401 x\r\n" CHALLENGES, "", JUDGE_FAIL, CAUSE_BARE_REFUSAL},
		{"served", "HTTP/1.1 200 x\r\n", "", JUDGE_FAIL, CAUSE_NONE}};
	struct answer *a = fresh(state);

	refusals(a, &limited, limited_rows, sizeof(limited_rows) / sizeof(limited_rows[0]));
	refusals(a, &url, url_rows, sizeof(url_rows) / sizeof(url_rows[0]));
	refusals(a, &invalid, invalid_rows, 1);
	refusals(a, &header, header_rows, 1);
	refusals(a, &two, two_rows, 2);
	refusals(a, &head, head_rows, 3);
}

/* Every verdict that is a refusal, as the gate makes it, against every other that is wanted. */
static void
no_verdict_passes_for_another(void **state)
{
	char head[512], body[512];
	struct answer *a = fresh(state);
	struct judge_wanted wanted = {.way = JUDGE_BEARER};
	const struct verdict_info *info;
	struct judgement j;
	int v, w;

	for (v = 0; v < VERDICTS; v++) {
		if (v == VERDICT_OK)
			continue;
		info = verdict_info((enum verdict)v);
		snprintf(head, sizeof(head),
		    "HTTP/1.1 %d x\r\nContent-Type: application/problem+json\r\nCache-Control: "
		    "no-store\r\nApikey-Denied: %s\r\nRetry-After: 1\r\n%s",
		    info->status, info->code,
		    info->challenge == CHALLENGE_PLAIN		 ? CHALLENGES
		    : info->challenge == CHALLENGE_INVALID_TOKEN ? INVALID
		    : info->challenge == CHALLENGE_INVALID_REQUEST
			? "WWW-Authenticate: Bearer realm=\"a\", error=\"invalid_request\"\r\n"
		    : info->challenge == CHALLENGE_INSUFFICIENT_SCOPE
			? "WWW-Authenticate: Bearer realm=\"a\", error=\"insufficient_scope\"\r\n"
			: "");
		snprintf(body, sizeof(body),
		    "{\"type\":\"urn:apikeyd:problem:%s\",\"status\":%d,\"code\":\"%s\"}",
		    info->code, info->status, info->code);
		for (w = 0; w < VERDICTS; w++) {
			if (w == VERDICT_OK)
				continue;
			wanted.verdict = (enum verdict)w;
			judge_refusal(&j, parse(a, head, body), &wanted);
			if (v == w)
				assert_int_equal(j.result, JUDGE_PASS);
			else
				assert_int_not_equal(j.result, JUDGE_PASS);
		}
		judge_admitted(&j, a, JUDGE_BEARER);
		assert_int_not_equal(j.result, JUDGE_PASS);
	}
}

static void
alike(void **state)
{
	static const char head[] = "HTTP/1.1 401 x\r\n" COMMON("key_invalid") INVALID;
	static const struct {
		const char *head, *body;
		enum judge_result result;
	} rows[] = {
	    {head, "{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":1}", JUDGE_PASS},
	    {head, "{\"instance\":\"urn:apikeyd:request:\",\"a\":1}", JUDGE_PASS},
	    {head, "{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":2}", JUDGE_FAIL},
	    {head, "{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":1} ", JUDGE_FAIL},
	    {head, "{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":1", JUDGE_FAIL},
	    {head, "", JUDGE_FAIL},
	    {"HTTP/1.1 403 x\r\n" COMMON("key_invalid") INVALID,
		"{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":1}", JUDGE_FAIL},
	    {"HTTP/1.1 401 x\r\n" COMMON("key_invalid") INVALID "Retry-After: 1\r\n",
		"{\"instance\":\"urn:apikeyd:request:bcd\",\"a\":1}", JUDGE_FAIL},
	};
	struct answer *a = fresh(state), *b = a + 1;
	struct judgement j;
	size_t i;

	parse(a, head, "{\"instance\":\"urn:apikeyd:request:aaaa\",\"a\":1}");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		judge_alike(&j, a, parse(b, rows[i].head, rows[i].body));
		assert_int_equal(j.result, rows[i].result);
		judge_alike(&j, b, a);
		assert_int_equal(j.result, rows[i].result);
	}
	answer_reset(b);
	judge_alike(&j, a, b);
	assert_int_equal(j.result, JUDGE_SKIP);
}

static void
admitted(void **state)
{
	static const struct row rows[] = {
	    {"200", "HTTP/1.1 200 x\r\n", "x", JUDGE_PASS, CAUSE_NONE},
	    {"204", "HTTP/1.1 204 x\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"an API's code", "HTTP/1.1 200 x\r\n", "{\"code\":\"unavailable\"}", JUDGE_PASS,
		CAUSE_NONE},
	    {"ok is no refusal", "HTTP/1.1 200 x\r\nApikey-Denied: ok\r\n", "", JUDGE_PASS,
		CAUSE_NONE},
	    {"302", "HTTP/1.1 302 x\r\n", "", JUDGE_FAIL, CAUSE_REDIRECT},
	    {"404", "HTTP/1.1 404 x\r\n", "", JUDGE_FAIL, CAUSE_ADMITTED_IN_VAIN},
	    {"500", "HTTP/1.1 500 x\r\n", "", JUDGE_FAIL, CAUSE_ADMITTED_IN_VAIN},
	    {"missing", GOOD_HEAD, GOOD_BODY, JUDGE_FAIL, CAUSE_BEARER_LOST},
	    {"unknown", "HTTP/1.1 401 x\r\n" COMMON("key_invalid"), "", JUDGE_FAIL,
		CAUSE_OTHER_STORE},
	    {"revoked", "HTTP/1.1 401 x\r\n" COMMON("key_revoked"), "", JUDGE_FAIL, CAUSE_THE_KEY},
	    {"scope", "HTTP/1.1 403 x\r\n" COMMON("scope_insufficient"), "", JUDGE_FAIL,
		CAUSE_THE_KEY},
	    {"limited", "HTTP/1.1 429 x\r\n" COMMON("rate_limited"), "", JUDGE_SKIP, CAUSE_NONE},
	    {"an API's 429", "HTTP/1.1 429 x\r\n", "", JUDGE_FAIL, CAUSE_ADMITTED_IN_VAIN},
	    {"down", "HTTP/1.1 503 x\r\n" COMMON("unavailable"), "", JUDGE_FAIL, CAUSE_GATE_DOWN},
	};
	struct judgement j;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		judge_admitted(&j, parse(fresh(state), rows[i].head, rows[i].body), JUDGE_BEARER);
		if (j.result != rows[i].result || j.cause != rows[i].cause)
			fail_msg("%s: %s", rows[i].what, j.detail);
	}
}

static void
closed(void **state)
{
	struct answer *a = fresh(state), *success = a + 1, *refusal = a + 2, *elsewhere = a + 3;
	const struct judge_known known = {
	    .success = success, .refusal = refusal, .elsewhere = elsewhere};
	static const struct row rows[] = {
	    {"refused", GOOD_HEAD, GOOD_BODY, JUDGE_PASS, CAUSE_NONE},
	    {"not found", "HTTP/1.1 404 x\r\nServer: web\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"bad request", "HTTP/1.1 400 x\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"elsewhere", "HTTP/1.1 301 x\r\nLocation: /x\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"what is everywhere", "HTTP/1.1 200 x\r\nServer: web\r\n", "front page", JUDGE_PASS,
		CAUSE_NONE},
	    {"served", "HTTP/1.1 200 x\r\nServer: web\r\n", "orders", JUDGE_FAIL,
		CAUSE_OPEN_SPELLING},
	    {"served, and refused in name alone", "HTTP/1.1 200 x\r\n" COMMON("key_missing"),
		GOOD_BODY, JUDGE_FAIL, CAUSE_OPEN_SPELLING},
	    {"the API's own 404", "HTTP/1.1 404 x\r\nX-Api-Version: 7\r\n", "", JUDGE_FAIL,
		CAUSE_OPEN_SPELLING},
	    {"the API's own server", "HTTP/1.1 405 x\r\nServer: api\r\n", "", JUDGE_FAIL,
		CAUSE_OPEN_SPELLING},
	};
	struct judgement j;
	size_t i;

	parse(success, "HTTP/1.1 200 x\r\nX-Api-Version: 7\r\nServer: api\r\nX-Everywhere: 1\r\n",
	    "orders");
	parse(refusal, GOOD_HEAD "Server: web\r\nX-Everywhere: 1\r\n", GOOD_BODY);
	parse(elsewhere, "HTTP/1.1 200 x\r\nServer: web\r\n", "front page");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		judge_closed(&j, parse(a, rows[i].head, rows[i].body), &known, CAUSE_OPEN_SPELLING);
		if (j.result != rows[i].result || j.cause != rows[i].cause)
			fail_msg("%s: %s", rows[i].what, j.detail);
	}
	answer_reset(a);
	a->kind = ANSWER_CLOSED;
	judge_closed(&j, a, &known, CAUSE_OPEN_SPELLING);
	assert_int_equal(j.result, JUDGE_PASS);
	a->kind = ANSWER_TIMEOUT;
	judge_closed(&j, a, &known, CAUSE_OPEN_SPELLING);
	assert_int_equal(j.result, JUDGE_SKIP);
	/* With nothing to compare: what is served is open. */
	answer_reset(success);
	answer_reset(elsewhere);
	judge_closed(&j, parse(a, "HTTP/1.1 200 x\r\n", "front page"), &known, CAUSE_OPEN_SPELLING);
	assert_int_equal(j.result, JUDGE_FAIL);
}

static void
plain_http(void **state)
{
	static const struct row rows[] = {
	    {"right", "HTTP/1.1 403 x\r\n" COMMON("https_required"), BODY("https_required", "403"),
		JUDGE_PASS, CAUSE_NONE},
	    {"to https", "HTTP/1.1 308 x\r\nLocation: https://a/\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"to http", "HTTP/1.1 308 x\r\nLocation: http://a/\r\n", "", JUDGE_FAIL,
		CAUSE_PLAIN_HTTP},
	    {"404", "HTTP/1.1 404 x\r\n", "", JUDGE_PASS, CAUSE_NONE},
	    {"it would be taken", "HTTP/1.1 401 x\r\n" COMMON("key_invalid"), "", JUDGE_FAIL,
		CAUSE_PLAIN_HTTP},
	    {"served", "HTTP/1.1 200 x\r\n", "", JUDGE_FAIL, CAUSE_PLAIN_HTTP},
	    {"bare", "HTTP/1.1 403 x\r\nApikey-Denied: https_required\r\n", "", JUDGE_FAIL,
		CAUSE_BARE_REFUSAL},
	};
	struct answer *a = fresh(state);
	struct judgement j;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		judge_plain_http(&j, parse(a, rows[i].head, rows[i].body), CAUSE_PLAIN_HTTP);
		if (j.result != rows[i].result || j.cause != rows[i].cause)
			fail_msg("%s: %s", rows[i].what, j.detail);
	}
	parse(a, "HTTP/1.1 301 x\r\nLocation: https://a/?key=SECRETSECRET\r\n", "");
	answer_hide(a, span_of("SECRETSECRET"));
	judge_plain_http(&j, a, CAUSE_PLAIN_HTTP);
	assert_int_equal(j.result, JUDGE_FAIL);
	answer_reset(a);
	a->kind = ANSWER_REFUSED;
	judge_plain_http(&j, a, CAUSE_PLAIN_HTTP);
	assert_int_equal(j.result, JUDGE_PASS);
	a->kind = ANSWER_TIMEOUT;
	judge_plain_http(&j, a, CAUSE_PLAIN_HTTP);
	assert_int_equal(j.result, JUDGE_SKIP);
}

static void
ratelimit(void **state)
{
	static const struct {
		const char *head;
		int rc;
		enum cause cause;
		long remaining;
	} rows[] = {
	    {"", 0, 0, -1},
	    {"RateLimit: \"a\";r=7;t=1, \"b\";r=3;t=9\r\nRateLimit-Policy: \"a\";q=10;w=1\r\n", 1,
		0, 3},
	    {"X-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 4\r\nX-RateLimit-Reset: 3\r\n", 1, 0,
		-1},
	    {"X-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 4\r\n", -1, CAUSE_RATELIMIT_WRONG, -1},
	    {"RateLimit: \"a\";r=7;t=1\r\n", -1, CAUSE_RATELIMIT_LOST, 7},
	    {"RateLimit-Policy: \"a\";q=7\r\n", -1, CAUSE_RATELIMIT_LOST, -1},
	    {"RateLimit: {rp.header.RateLimit}\r\nRateLimit-Policy: \"a\";q=7\r\n", -1,
		CAUSE_RATELIMIT_WRONG, -1},
	    {"RateLimit: (null)\r\nRateLimit-Policy: (null)\r\n", -1, CAUSE_RATELIMIT_WRONG, -1},
	    {"RateLimit: \"a\";r=;t=1\r\nRateLimit-Policy: \"a\";q=7\r\n", -1,
		CAUSE_RATELIMIT_WRONG, -1},
	    {"RateLimit: \"a\";r=1\r\nRateLimit: \"a\";r=1\r\nRateLimit-Policy: \"a\";q=7\r\n", -1,
		CAUSE_DOUBLED, 1},
	};
	char head[512];
	struct answer *a = fresh(state);
	struct judgement j;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 x\r\n%s", rows[i].head);
		parse(a, head, "");
		if (judge_ratelimit(&j, a) != rows[i].rc)
			fail_msg("%s", rows[i].head);
		if (rows[i].rc == -1)
			assert_int_equal(j.cause, rows[i].cause);
		assert_int_equal(judge_remaining(a), rows[i].remaining);
	}
}

static void
leaks(void **state)
{
	static const char *const gate[] = {"Apikey-Status: 429", "apikey-problem: {}",
	    "Variable-APIKEY_ID: x", "X-Accel-Redirect: @x",
	    "Apikey-Denied: key_missing\r\nStatus: 401 x"},
				 *const identity[] = {"Apikey-Id: x", "apikey-owner: x",
				     "Apikey-Meta: x"},
				 *const neither[] = {"Apikey-Denied: key_missing", "Status: 200 x",
				     "X-Apikey-Id: x", "RateLimit: x"};
	char head[128];
	struct answer *a = fresh(state);
	size_t i;

	for (i = 0; i < sizeof(gate) / sizeof(gate[0]); i++) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 x\r\n%s\r\n", gate[i]);
		assert_true(judge_gate_leak(parse(a, head, "")).len > 0);
	}
	for (i = 0; i < sizeof(identity) / sizeof(identity[0]); i++) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 x\r\n%s\r\n", identity[i]);
		assert_true(judge_identity_leak(parse(a, head, "")).len > 0);
		assert_true(judge_gate_leak(a).len == 0);
	}
	for (i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 x\r\n%s\r\n", neither[i]);
		assert_true(judge_gate_leak(parse(a, head, "")).len == 0);
		assert_true(judge_identity_leak(a).len == 0);
	}
}

static void
details_are_printable(void **state)
{
	static const struct judge_wanted wanted = {.verdict = VERDICT_KEY_MISSING};
	struct judgement j;
	const char *p;

	judge_refusal(&j,
	    parse(fresh(state), "HTTP/1.1 302 x\r\nLocation: \033[31m\t\302\233\377 x\r\n", ""),
	    &wanted);
	for (p = j.detail; *p != '\0'; p++)
		assert_true(*p >= 0x20 && *p < 0x7f);
	judge_fail(&j, CAUSE_OPEN, "%0600d", 1);
	assert_int_equal(strlen(j.detail), JUDGE_DETAIL_MAX - 1);
}

/* More than fits: nothing is written past the end, and what is there is told to be cut. */
static void
answers_are_bounded(void **state)
{
	struct answer *a = fresh(state);
	char *large = malloc(100000);
	size_t i;

	assert_non_null(large);
	memset(large, 'x', 100000);
	parse(a, "HTTP/1.1 200 x\r\n", "");
	large[1] = ':';
	for (i = 0; i < 1000; i++)
		answer_add_line(a, (struct span){large, 300});
	assert_true(a->cut && a->head_len <= ANSWER_HEAD_MAX && a->nheaders <= ANSWER_HEADERS_MAX);
	parse(a, "HTTP/1.1 200 x\r\n", "");
	answer_add_line(a, (struct span){large, 100000});
	assert_true(a->cut && a->nheaders == 0);
	parse(a, "HTTP/1.1 200 x\r\n", "");
	for (i = 0; i < 3; i++)
		answer_add_body(a, large, 50000);
	assert_true(a->cut);
	assert_int_equal(a->body_len, ANSWER_BODY_MAX);
	assert_int_equal(a->body[a->body_len], '\0');
	free(large);
}

static void
keys_are_hidden(void **state)
{
	struct answer *a = parse(
	    fresh(state), "HTTP/1.1 200 x\r\nA: KEYKEY\r\nB: xKEYKEYKEY\r\n", "KEYKEYKEYKEY KEYKE");

	answer_hide(a, span_of("nothing"));
	assert_int_equal(a->key_seen, 0);
	answer_hide(a, span_of("KEYKEY"));
	assert_int_equal(a->key_seen, 1);
	assert_true(span_is(answer_get(a, "A"), "******"));
	assert_true(span_is(answer_get(a, "B"), "x******KEY"));
	assert_string_equal(a->body, "************ KEYKE");
	answer_hide(a, span_of(""));
}

/* A small generator of its own: the same run every time. */
static unsigned
next_random(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

/*
 * Answers of bytes that nobody would send: no judge reads past them, and a status below 400 never
 * passes for a refusal.
 */
static void
damaged_answers(void **state)
{
	static const struct judge_wanted wanted = {.verdict = VERDICT_KEY_MISSING};
	static const char good[] = GOOD_HEAD "RateLimit: \"a\";r=1;t=1\r\nLocation: https:x\r\n"
					     "RateLimit-Policy: \"a\";q=1\r\nServer: x\r\n";
	struct answer *a = fresh(state), *b = a + 1;
	const struct judge_known known = {.success = b, .refusal = b, .elsewhere = b};
	char head[sizeof(good)], *p, *end;
	struct judgement j;
	unsigned seed = 7, i, k;

	parse(b, good, GOOD_BODY);
	for (i = 0; i < 20000; i++) {
		memcpy(head, good, sizeof(good));
		for (k = next_random(&seed) % 8; k > 0; k--)
			head[next_random(&seed) % (sizeof(good) - 1)] = (char)next_random(&seed);
		answer_reset(a);
		for (p = head; p < head + sizeof(good) - 1; p = end + 1) {
			end = memchr(p, '\n', (size_t)(head + sizeof(good) - 1 - p));
			if (end == NULL)
				end = head + sizeof(good) - 2;
			answer_add_line(a, (struct span){p, (size_t)(end - p) + 1});
		}
		answer_add_body(a, GOOD_BODY, next_random(&seed) % sizeof(GOOD_BODY));
		judge_refusal(&j, a, &wanted);
		if (a->status < 400)
			assert_int_not_equal(j.result, JUDGE_PASS);
		judge_admitted(&j, a, JUDGE_BEARER);
		judge_alike(&j, a, b);
		judge_closed(&j, a, &known, CAUSE_OPEN);
		judge_plain_http(&j, a, CAUSE_OPEN);
		judge_ratelimit(&j, a);
		judge_remaining(a);
		judge_gate_leak(a);
		judge_identity_leak(a);
		causes_recognise(a);
	}
}

static void
servers(void **state)
{
	static const struct {
		const char *head, *body;
		enum causes_server server;
	} rows[] = {
	    {"HTTP/1.1 400 x\r\nServer: nginx/1.22.1\r\n", "", CAUSES_NGINX},
	    {"HTTP/1.1 400 x\r\nServer: Apache/2.4.66 (Debian)\r\n", "", CAUSES_APACHE},
	    {"HTTP/1.1 400 x\r\nServer: lighttpd/1.4.69\r\n", "", CAUSES_LIGHTTPD},
	    {"HTTP/1.1 400 Bad Request\r\n", "400 Bad Request", CAUSES_CADDY},
	    {"HTTP/1.1 400 Bad request\r\n", "Your browser sent an invalid request.",
		CAUSES_HAPROXY},
	    {"HTTP/1.1 400 x\r\nServer: thttpd\r\n", "400 Bad Request", CAUSES_ANY},
	    {"HTTP/1.1 400 x\r\n", "", CAUSES_ANY},
	};
	size_t i;
	int s;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(causes_recognise(parse(fresh(state), rows[i].head, rows[i].body)),
		    rows[i].server);
	assert_int_equal(causes_server_parse("haproxy"), CAUSES_HAPROXY);
	assert_int_equal(causes_server_parse("any"), CAUSES_ANY);
	assert_int_equal(causes_server_parse(NULL), CAUSES_ANY);
	for (s = 0; s < CAUSES_SERVERS; s++)
		assert_non_null(causes_server_name((enum causes_server)s));
}

static void
tables_are_whole(void **state)
{
	const struct doctor_probe *p, *q;
	const struct cause_info *c;
	size_t i, k;
	int s, lines;

	(void)state;
	for (i = 0; (p = doctor_probe_at(i)) != NULL; i++) {
		assert_true(p->name != NULL && p->about != NULL && p->run != NULL);
		for (k = 0; k < i; k++)
			assert_string_not_equal(doctor_probe_at(k)->name, p->name);
		/* A real key travels in headers of a plain GET of the URL, over TLS. */
		if (p->shape.bearer == DOCTOR_REAL || p->shape.header == DOCTOR_REAL) {
			assert_null(p->shape.method);
			assert_null(p->shape.target);
			assert_null(p->shape.body);
			assert_int_equal(p->shape.plain, 0);
			assert_true(p->needs & (DOCTOR_NEEDS_KEY | DOCTOR_NEEDS_TEMPORARY));
		}
		assert_int_not_equal(p->shape.query, DOCTOR_REAL);
		if (p->run == doctor_run_forged)
			assert_int_not_equal(p->open, CAUSE_NONE);
		/* Whatever could change something at an API that takes it from anybody. */
		if (p->shape.body != NULL)
			assert_true(p->needs & DOCTOR_NEEDS_CLOSED);
	}
	assert_true(i > 40);
	/* Nothing that shows a key comes behind its end. */
	for (k = 0; (q = doctor_probe_at(k)) != NULL && strcmp(q->name, "revoked") != 0; k++)
		;
	for (k++; (q = doctor_probe_at(k)) != NULL; k++)
		assert_int_equal(q->shape.bearer | q->shape.header, DOCTOR_NOBODY);
	for (i = CAUSE_NONE + 1; i < CAUSES; i++) {
		c = causes_info((enum cause)i);
		assert_true(c->name != NULL && c->meaning != NULL);
		for (s = lines = 0; s < CAUSES_SERVERS; s++)
			lines += c->look[s] != NULL;
		assert_true(lines > 0);
		for (k = 0; k < i; k++)
			assert_string_not_equal(causes_info((enum cause)k)->name, c->name);
	}
	assert_string_equal(causes_info(CAUSES)->name, "none");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_key),
	    cmocka_unit_test(no_answer),
	    cmocka_unit_test(other_refusals),
	    cmocka_unit_test(no_verdict_passes_for_another),
	    cmocka_unit_test(alike),
	    cmocka_unit_test(admitted),
	    cmocka_unit_test(closed),
	    cmocka_unit_test(plain_http),
	    cmocka_unit_test(ratelimit),
	    cmocka_unit_test(leaks),
	    cmocka_unit_test(details_are_printable),
	    cmocka_unit_test(answers_are_bounded),
	    cmocka_unit_test(keys_are_hidden),
	    cmocka_unit_test(damaged_answers),
	    cmocka_unit_test(servers),
	    cmocka_unit_test(tables_are_whole),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
