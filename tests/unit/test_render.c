/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: every verdict in every mode is one whole response with the status, headers and body that
 * this mode's web server needs; only an ok of the keeper's is a 2xx.  Guards Invariant 6, and that
 * a denial tells nothing of the key's owner or plan.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gate/render.h"

static struct config config = {.realm = (char *)"api", .ratelimit_headers = RATELIMIT_DRAFT};
static struct reply reply;
static char text[REPLY_MAX + 1];

static struct wire_answer
admitted(void)
{
	struct wire_answer a = {.verdict = VERDICT_OK,
	    .id = span_of("key_0123456789abcdef"),
	    .owner = span_of("acme"),
	    .plan = span_of("gold"),
	    .scopes = span_of("orders:read orders:write"),
	    .meta = span_of("{\"a\":\"\303\274\"}"),
	    .nlimits = 1,
	    .limits = {{.name = "day",
		.max_units = 1000,
		.window_us = INT64_C(86400000000),
		.remaining = 993,
		.more_us = 1500000}}};

	return a;
}

static void
render_it(enum policy_mode mode, enum verdict verdict, const struct wire_answer *a, int is_head)
{
	struct render r = {.mode = mode,
	    .verdict = verdict,
	    .id = span_of("req-1"),
	    .needed_scopes = span_of("orders:write"),
	    .pass = span_of("@backend"),
	    .head = is_head,
	    .answer = a,
	    .config = &config};
	struct span out;

	render_reply(&r, &reply);
	out = reply_view(&reply);
	assert_int_equal(reply.bad, 0);
	assert_true(out.len < sizeof(text));
	memcpy(text, out.p, out.len);
	text[out.len] = '\0';
}

static void
has(const char *s)
{
	if (strstr(text, s) == NULL)
		fail_msg("\"%s\" is not in:\n%s", s, text);
}

static void
has_not(const char *s)
{
	if (strstr(text, s) != NULL)
		fail_msg("\"%s\" is in:\n%s", s, text);
}

static const char *
body(void)
{
	const char *at = strstr(text, "\r\n\r\n");

	assert_non_null(at);
	return at + 4;
}

/* Wherever headers reach the holder of a key, in every mode, once for each way there. */
static void
test_rotate_by(void **state)
{
	static const char field[] = "Apikey-Rotate-By: Fri, 15 Jan 2027 08:00:00 GMT\r\n";
	static const char variable[] =
	    "Variable-APIKEY_ROTATE_BY: Fri, 15 Jan 2027 08:00:00 GMT\r\n";
	static const char because[] = "The API key was rotated, or has to be";
	struct wire_answer a = admitted(), denied = {.verdict = VERDICT_KEY_EXPIRED};

	(void)state;
	for (int mode = POLICY_SERVE; mode <= POLICY_ACCESS_CHECKER; mode++) {
		int authorizer = mode == POLICY_AUTHORIZER || mode == POLICY_ACCESS_CHECKER;

		a.rotate_by_us = 0;
		render_it((enum policy_mode)mode, VERDICT_OK, &a, 0);
		has_not("Rotate");
		a.rotate_by_us = INT64_C(1800000000000000);
		render_it((enum policy_mode)mode, VERDICT_OK, &a, 0);
		has(field);
		assert_null(strstr(strstr(text, field) + 1, field));
		if (authorizer)
			has(variable);
		else
			has_not("ROTATE");
		/* A key that has expired, and one that has been replaced. */
		denied.rotate_by_us = 0;
		render_it((enum policy_mode)mode, VERDICT_KEY_EXPIRED, &denied, 0);
		has_not("Rotate");
		has("The API key has expired; ask its issuer for a new one.");
		denied.rotate_by_us = INT64_C(1800000000000000);
		render_it((enum policy_mode)mode, VERDICT_KEY_EXPIRED, &denied, 0);
		has(field);
		has(because);
		has("error_description=\"The API key has expired\"");
		/* No other denial tells it. */
		render_it((enum policy_mode)mode, VERDICT_KEY_INVALID, NULL, 0);
		has_not("Rotate");
		has_not(because);
	}
}

static void
test_admitted_serve(void **state)
{
	static const char want[] =
	    "{\"message\":\"Access "
	    "granted\",\"key\":{\"id\":\"key_0123456789abcdef\",\"owner\":\"acme\","
	    "\"plan\":\"gold\",\"scopes\":[\"orders:read\",\"orders:write\"]},\"limits\":[{"
	    "\"name\":\"day\","
	    "\"limit\":1000,\"window\":86400,\"remaining\":993,\"reset\":2}]}";
	struct wire_answer a = admitted();

	(void)state;
	render_it(POLICY_SERVE, VERDICT_OK, &a, 0);
	has("Status: 200 OK\r\n");
	has("Content-Type: application/json\r\n");
	has("Cache-Control: no-store\r\n");
	has("RateLimit-Policy: \"day\";q=1000;w=86400\r\n");
	has("RateLimit: \"day\";r=993;t=2\r\n");
	has_not("Apikey-");
	has_not("Variable-");
	assert_string_equal(body(), want);

	render_it(POLICY_SERVE, VERDICT_OK, &a, 1);
	has("Content-Type: application/json\r\n");
	assert_string_equal(body(), "");
	assert_int_equal(strtol(strstr(text, "Content-Length: ") + 16, NULL, 10), strlen(want));

	a.nlimits = 0;
	a.scopes = (struct span){NULL, 0};
	render_it(POLICY_SERVE, VERDICT_OK, &a, 0);
	has("\"scopes\":[]},\"limits\":[]}");
	has_not("RateLimit");
}

static void
test_admitted_auth_request(void **state)
{
	struct wire_answer a = admitted();

	(void)state;
	render_it(POLICY_AUTH_REQUEST, VERDICT_OK, &a, 0);
	has("Status: 204 No Content\r\n");
	has("Apikey-Id: key_0123456789abcdef\r\n");
	has("Apikey-Owner: acme\r\n");
	has("Apikey-Plan: gold\r\n");
	has("Apikey-Scopes: orders:read orders:write\r\n");
	has("Apikey-Meta: eyJhIjoiw7wifQ\r\n");
	has("RateLimit: ");
	has("Cache-Control: no-store\r\n");
	has_not("Content-");
	has_not("X-Accel");
	assert_string_equal(body(), "");
	a.meta.len = a.owner.len = 0;
	render_it(POLICY_AUTH_REQUEST, VERDICT_OK, &a, 0);
	has_not("Apikey-Meta");
	has_not("Apikey-Owner");
}

static void
test_admitted_accel(void **state)
{
	struct wire_answer a = admitted();

	(void)state;
	render_it(POLICY_ACCEL, VERDICT_OK, &a, 0);
	has("Status: 200 OK\r\n");
	has("X-Accel-Redirect: @backend\r\n");
	has("Apikey-Id: key_0123456789abcdef\r\n");
	has("RateLimit: ");
	has_not("Content-Type");
	has_not("Cache-Control"); /* nginx would put them in place of the backend's */
	assert_string_equal(body(), "");
}

static void
test_admitted_authorizer(void **state)
{
	struct wire_answer a = admitted();

	(void)state;
	render_it(POLICY_AUTHORIZER, VERDICT_OK, &a, 0);
	has("Status: 200 OK\r\n");
	has("Variable-APIKEY_ID: key_0123456789abcdef\r\n");
	has("Variable-APIKEY_OWNER: acme\r\n");
	has("Variable-APIKEY_PLAN: gold\r\n");
	has("Variable-APIKEY_SCOPES: orders:read orders:write\r\n");
	has("Variable-APIKEY_META: eyJhIjoiw7wifQ\r\n");
	has("Variable-REMOTE_USER: key_0123456789abcdef\r\n");
	has("\r\nRateLimit: \"day\";r=993;t=2\r\n");
	has("Variable-APIKEY_RATELIMIT: \"day\";r=993;t=2\r\n");
	has("Variable-APIKEY_RATELIMIT_POLICY: \"day\";q=1000;w=86400\r\n");
	has_not("Variable-APIKEY_X_");

	config.ratelimit_headers = RATELIMIT_LEGACY;
	render_it(POLICY_AUTHORIZER, VERDICT_OK, &a, 0);
	config.ratelimit_headers = RATELIMIT_DRAFT;
	has("Variable-APIKEY_X_LIMIT: 1000\r\n");
	has("Variable-APIKEY_X_REMAINING: 993\r\n");
	has("Variable-APIKEY_X_RESET: 2\r\n");
	has_not("Variable-APIKEY_RATELIMIT");
	has_not("Apikey-"); /* would reach the client */
	has_not("X-Accel");
	assert_string_equal(body(), "");
}

/* All verdicts but ok, in all modes. */
static void
test_denials(void **state)
{
	struct wire_answer a = admitted();
	char want[64];
	int mode, v, status, shown;

	(void)state;
	for (mode = 0; mode < POLICY_MODES; mode++) {
		for (v = 0; v < VERDICTS; v++) {
			if (v == VERDICT_OK)
				continue;
			status = verdict_info((enum verdict)v)->status;
			shown = mode != POLICY_AUTH_REQUEST || status == 401 ? status : 403;
			/* A keeper that says too much does not make the gate say it. */
			render_it((enum policy_mode)mode, (enum verdict)v, &a, 0);
			snprintf(want, sizeof(want), "Status: %d ", shown);
			assert_memory_equal(text, want, strlen(want));
			snprintf(want, sizeof(want), "\r\nApikey-Denied: %s\r\n",
			    verdict_info((enum verdict)v)->code);
			has(want);
			has("Cache-Control: no-store\r\n");
			snprintf(want, sizeof(want), "\"status\":%d,", status);
			has(want);
			has("\"instance\":\"urn:apikeyd:request:req-1\"");
			has_not("X-Accel");
			has_not("Apikey-Id");
			has_not("Variable-");
			has_not("acme");
			has_not("gold");
			has_not("key_0123");
			if (mode == POLICY_ACCESS_CHECKER) {
				has("Apikey-Problem: {\"type\":");
				has_not("Content-");
				assert_string_equal(body(), "");
			} else if (mode == POLICY_AUTH_REQUEST) {
				snprintf(want, sizeof(want), "\r\nApikey-Status: %d\r\n", status);
				has(want);
				has("Apikey-Problem: {\"type\":");
				has_not("Content-");
				assert_string_equal(body(), "");
			} else {
				has("Content-Type: application/problem+json\r\n");
				assert_memory_equal(body(), "{\"type\":", 8);
			}
			if (status == 429 || status == 503)
				has("Retry-After: ");
			else
				has_not("Retry-After");
			if (v == VERDICT_RATE_LIMITED)
				has("RateLimit: ");
			else
				has_not("RateLimit");
		}
	}
}

/* A body that an earlier call made, and nothing that it has sent already. */
static void
test_rendered(void **state)
{
	static const char problem[] = "{\"status\":429,\"code\":\"rate_limited\"}";
	struct render r = {.mode = POLICY_RENDER,
	    .verdict = VERDICT_RATE_LIMITED,
	    .id = span_of("req-1"),
	    .problem = span_of(problem),
	    .config = &config};
	struct wire_answer a = admitted();
	struct span out;

	(void)state;
	for (r.head = 0; r.head < 2; r.head++) {
		render_reply(&r, &reply);
		out = reply_view(&reply);
		memcpy(text, out.p, out.len);
		text[out.len] = '\0';
		assert_memory_equal(text, "Status: 429 ", 12);
		has("Content-Type: application/problem+json\r\n");
		has_not("RateLimit");
		has_not("Retry-After");
		has_not("WWW-Authenticate");
		has_not("Apikey-");
		has_not("Cache-Control");
		assert_string_equal(body(), r.head ? "" : problem);
	}
	/* It cannot admit, whatever it is given. */
	r.verdict = VERDICT_OK;
	r.answer = &a;
	render_reply(&r, &reply);
	out = reply_view(&reply);
	assert_memory_equal(out.p, "Status: 500 ", 12);
}

static void
test_challenges(void **state)
{
	(void)state;
	render_it(POLICY_SERVE, VERDICT_KEY_MISSING, NULL, 0);
	has("WWW-Authenticate: Bearer realm=\"api\"\r\nWWW-Authenticate: ApiKey realm=\"api\"\r\n");
	render_it(POLICY_AUTH_REQUEST, VERDICT_KEY_MISSING, NULL, 0);
	has("WWW-Authenticate: Bearer realm=\"api\", ApiKey realm=\"api\"\r\n");
	render_it(POLICY_AUTH_REQUEST, VERDICT_SCOPE_INSUFFICIENT, NULL, 0);
	has("error=\"insufficient_scope\", scope=\"orders:write\"\r\n");
	has_not("ApiKey realm");
	render_it(POLICY_SERVE, VERDICT_REQUEST_INVALID, NULL, 0);
	has("WWW-Authenticate: Bearer realm=\"api\", error=\"invalid_request\"\r\n");
	has_not("ApiKey realm");
	render_it(POLICY_SERVE, VERDICT_IP_DENIED, NULL, 0);
	has_not("WWW-Authenticate");
}

static void
test_retry_after(void **state)
{
	struct wire_answer a = {.verdict = VERDICT_RATE_LIMITED,
	    .retry_us = 11000001,
	    .nlimits = 1,
	    .limits = {{.name = "burst", .max_units = 1, .window_us = 60000000, .violated = 1}}};

	(void)state;
	render_it(POLICY_SERVE, VERDICT_RATE_LIMITED, &a, 0);
	has("Retry-After: 12\r\n");
	has("\"violated-policies\":[\"burst\"]");
	render_it(POLICY_SERVE, VERDICT_CLIENT_BLOCKED, NULL, 0);
	has("Retry-After: 1\r\n");
	render_it(POLICY_SERVE, VERDICT_UNAVAILABLE, NULL, 0);
	has("Retry-After: 1\r\n");
	render_it(POLICY_SERVE, VERDICT_RATE_LIMITED, &a, 1);
	has("Content-Length: ");
	assert_string_equal(body(), "");
}

/* An ok that no keeper gave, or that the mode cannot show, is none. */
static void
test_ok_needs_an_answer(void **state)
{
	struct wire_answer a = admitted();
	int mode;

	(void)state;
	for (mode = 0; mode < POLICY_MODES; mode++) {
		render_it((enum policy_mode)mode, VERDICT_OK, NULL, 0);
		has("Apikey-Denied: misconfigured\r\n");
		a.verdict = VERDICT_KEY_INVALID;
		render_it((enum policy_mode)mode, VERDICT_OK, &a, 0);
		has("Apikey-Denied: misconfigured\r\n");
	}
	a.verdict = VERDICT_OK;
	render_it(POLICY_UNKNOWN, VERDICT_OK, &a, 0);
	has("Apikey-Denied: misconfigured\r\n");
	render_it(POLICY_RENDER, VERDICT_OK, &a, 0);
	has("Apikey-Denied: misconfigured\r\n");
}

/* Retry-After is the block's own, rounded up, and nothing else of a 401 or of limits is there. */
static void
test_blocked_client(void **state)
{
	static const enum policy_mode modes[] = {POLICY_SERVE, POLICY_AUTH_REQUEST, POLICY_ACCEL,
	    POLICY_AUTHORIZER, POLICY_ACCESS_CHECKER};
	struct wire_answer revoked = {.verdict = VERDICT_KEY_REVOKED, .retry_us = 7000000};
	struct render r = {
	    .verdict = VERDICT_CLIENT_BLOCKED, .answer = &revoked, .config = &config};
	static const struct {
		int64_t us;
		const char *header;
	} cases[] = {{299750000, "Retry-After: 300\r\n"}, {1, "Retry-After: 1\r\n"},
	    {0, "Retry-After: 1\r\n"}};

	(void)state;
	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct span out;

			r.mode = modes[m];
			r.blocked_us = cases[i].us;
			render_reply(&r, &reply);
			out = reply_view(&reply);
			memcpy(text, out.p, out.len);
			text[out.len] = '\0';
			has(cases[i].header);
			has("Apikey-Denied: client_blocked\r\n");
			has(modes[m] == POLICY_AUTH_REQUEST ? "Status: 403" : "Status: 429");
			has("\"code\":\"client_blocked\"");
			has_not("WWW-Authenticate");
			has_not("RateLimit");
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_blocked_client),
	    cmocka_unit_test(test_rotate_by),
	    cmocka_unit_test(test_admitted_serve),
	    cmocka_unit_test(test_admitted_auth_request),
	    cmocka_unit_test(test_admitted_accel),
	    cmocka_unit_test(test_admitted_authorizer),
	    cmocka_unit_test(test_denials),
	    cmocka_unit_test(test_rendered),
	    cmocka_unit_test(test_challenges),
	    cmocka_unit_test(test_retry_after),
	    cmocka_unit_test(test_ok_needs_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
