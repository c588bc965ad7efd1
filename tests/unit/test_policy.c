/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: what an administrator wrote in the web server's configuration is taken exactly, and every
 * mistake in it denies. Guards Invariant 6: no unknown mode, no malformed scope, cost, location or
 * id passes as "none".
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/random.h"
#include "gate/policy.h"

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct params params;
static struct policy policy;

static enum verdict
read_it(int role, const char *const *pairs)
{
	params_init(&params);
	for (; *pairs != NULL; pairs += 2)
		params_add(&params, span_of(pairs[0]), span_of(pairs[1]));
	return policy_read(&params, role, &policy);
}

static void
wrong(const char *param, const char *const *pairs)
{
	unsigned i;

	assert_int_equal(read_it(1, pairs), VERDICT_MISCONFIGURED);
	for (i = 0; i < POLICY_PARAMS; i++)
		assert_int_equal(policy.wrong >> i & 1,
		    strcmp(policy_param_name((enum policy_param)i), param) == 0);
	assert_true(policy_id(&policy).len > 0);
}

static void
test_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_it(1, PAIRS("HTTP_APIKEYD_MODE", "accel")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_SERVE);
	assert_int_equal(policy.cost, 1);
	assert_int_equal(policy.scopes.len, 0);
	assert_int_equal(policy.pass.len, 0);
	assert_int_equal(policy.given_id.len, 0);
	assert_int_equal(policy_id(&policy).len, POLICY_MADE_ID);
}

static void
test_modes(void **state)
{
	static const char *const bad[] = {
	    "", "Serve", "serve ", " serve", "auth", "Render", "authorizer", "unknown"};
	size_t i;

	(void)state;
	assert_int_equal(read_it(1, PAIRS("APIKEYD_MODE", "serve")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_SERVE);
	assert_int_equal(read_it(1, PAIRS("APIKEYD_MODE", "auth_request")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_AUTH_REQUEST);
	assert_int_equal(
	    read_it(1, PAIRS("APIKEYD_MODE", "accel", "APIKEYD_PASS", "@b")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_ACCEL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wrong("APIKEYD_MODE", PAIRS("APIKEYD_MODE", bad[i]));
		assert_int_equal(policy.mode, POLICY_UNKNOWN);
		assert_int_equal(read_it(2, PAIRS("APIKEYD_MODE", bad[i])), VERDICT_OK);
		assert_int_equal(policy.mode, POLICY_AUTHORIZER);
	}
	wrong(
	    "APIKEYD_MODE", PAIRS("APIKEYD_MODE", "auth_request", "APIKEYD_MODE", "auth_request"));
	assert_int_equal(
	    policy.mode, POLICY_AUTH_REQUEST); /* so that nginx understands the denial */
}

#define LIMITED                                                                                    \
	"{\"type\":\"t\",\"status\":429,\"code\":\"rate_limited\",\"violated-policies\":[\"day\"]" \
	"}"

/* What is rendered is a denial of the table, or nothing. */
static void
test_render(void **state)
{
	static const char *const bad[] = {"", "{}", "[]", "rate_limited",
	    "{\"status\":200,\"code\":\"ok\"}", "{\"status\":200,\"code\":\"rate_limited\"}",
	    "{\"status\":429}", "{\"code\":\"rate_limited\"}", "{\"status\":429,\"code\":null}",
	    "{\"status\":429.5,\"code\":\"rate_limited\"}",
	    "{\"status\":\"429\",\"code\":\"rate_limited\"}",
	    "{\"status\":429,\"code\":\"no_such\"}", "{\"status\":429,\"code\":[\"rate_limited\"]}",
	    "{\"status\":429,\"code\":\"rate_limited\"} x", LIMITED LIMITED,
	    "{\"status\":429,\"code\":\"rate_limited\",\"code\":\"ok\"}",
	    "{\"status\":429,\n\"code\":\"rate_limited\"}",
	    "{\"status\":429,\"code\":\"rate_limited\"}\r\nX-Evil: 1"};
	char text[128];
	size_t i;
	int v;

	(void)state;
	assert_int_equal(
	    read_it(1, PAIRS("APIKEYD_MODE", "render", "APIKEYD_RENDER", LIMITED)), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_RENDER);
	assert_int_equal(policy.decided, VERDICT_RATE_LIMITED);
	assert_true(span_is(policy.problem, LIMITED));
	for (v = 0; v < VERDICTS; v++) {
		snprintf(text, sizeof(text), "{\"status\":%d,\"code\":\"%s\"}",
		    verdict_info((enum verdict)v)->status, verdict_info((enum verdict)v)->code);
		if (v == VERDICT_OK) {
			wrong("APIKEYD_RENDER",
			    PAIRS("APIKEYD_MODE", "render", "APIKEYD_RENDER", text));
			continue;
		}
		assert_int_equal(
		    read_it(1, PAIRS("APIKEYD_MODE", "render", "APIKEYD_RENDER", text)),
		    VERDICT_OK);
		assert_int_equal(policy.decided, v);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		wrong("APIKEYD_RENDER", PAIRS("APIKEYD_MODE", "render", "APIKEYD_RENDER", bad[i]));
	wrong("APIKEYD_RENDER", PAIRS("APIKEYD_MODE", "render"));
	wrong("APIKEYD_RENDER", PAIRS("APIKEYD_MODE", "render", "HTTP_APIKEYD_RENDER", LIMITED));
	wrong("APIKEYD_RENDER",
	    PAIRS("APIKEYD_MODE", "render", "APIKEYD_RENDER", LIMITED, "APIKEYD_RENDER", LIMITED));
	/* Nobody's business in other modes. */
	assert_int_equal(read_it(1, PAIRS("APIKEYD_RENDER", "x")), VERDICT_OK);
	assert_int_equal(policy.problem.len, 0);
}

static void
test_access_checker(void **state)
{
	(void)state;
	assert_int_equal(read_it(2, PAIRS("FCGI_APACHE_ROLE", "ACCESS_CHECKER")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_ACCESS_CHECKER);
	assert_int_equal(read_it(2, PAIRS("FCGI_APACHE_ROLE", "AUTHENTICATOR")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_AUTHORIZER);
	assert_int_equal(read_it(1, PAIRS("FCGI_APACHE_ROLE", "ACCESS_CHECKER")), VERDICT_OK);
	assert_int_equal(policy.mode, POLICY_SERVE);
}

static void
test_scope(void **state)
{
	(void)state;
	assert_int_equal(read_it(1, PAIRS("APIKEYD_SCOPE", "a:b  c:d")), VERDICT_OK);
	assert_true(span_is(policy.scopes, "a:b c:d"));
	/* What clients are told has no space too many. */
	assert_int_equal(read_it(1, PAIRS("APIKEYD_SCOPE", "  a:b   c:d e ")), VERDICT_OK);
	assert_true(span_is(policy.scopes, "a:b c:d e"));
	assert_int_equal(read_it(1, PAIRS("APIKEYD_SCOPE", "   ")), VERDICT_OK);
	assert_int_equal(policy.scopes.len, 0);
	assert_int_equal(read_it(1, PAIRS("APIKEYD_SCOPE", "")), VERDICT_OK);
	assert_int_equal(policy.scopes.len, 0);
	wrong("APIKEYD_SCOPE", PAIRS("APIKEYD_SCOPE", "a:*"));
	wrong("APIKEYD_SCOPE", PAIRS("APIKEYD_SCOPE", "a,b"));
	wrong("APIKEYD_SCOPE", PAIRS("APIKEYD_SCOPE", "a\tb"));
	wrong("APIKEYD_SCOPE", PAIRS("APIKEYD_SCOPE", "a", "APIKEYD_SCOPE", "a"));
	assert_int_equal(policy.scopes.len, 0);
}

static void
test_cost(void **state)
{
	static const char *const bad[] = {
	    "", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1000001", "one", "18446744073709551617"};
	size_t i;

	(void)state;
	assert_int_equal(read_it(1, PAIRS("APIKEYD_COST", "0")), VERDICT_OK);
	assert_int_equal(policy.cost, 0);
	assert_int_equal(read_it(1, PAIRS("APIKEYD_COST", "1000000")), VERDICT_OK);
	assert_int_equal(policy.cost, 1000000);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		wrong("APIKEYD_COST", PAIRS("APIKEYD_COST", bad[i]));
	wrong("APIKEYD_COST", PAIRS("APIKEYD_COST", "1", "APIKEYD_COST", "1"));
}

static void
test_pass(void **state)
{
	static const char *const bad[] = {"backend", "@", "@a b", "@a/b", "/secret", "@a\r\nX: y",
	    "@@a", "@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wrong("APIKEYD_PASS", PAIRS("APIKEYD_MODE", "accel", "APIKEYD_PASS", bad[i]));
		assert_int_equal(policy.pass.len, 0);
		wrong("APIKEYD_PASS", PAIRS("APIKEYD_PASS", bad[i]));
	}
	wrong("APIKEYD_PASS", PAIRS("APIKEYD_MODE", "accel"));
	wrong("APIKEYD_PASS", PAIRS("APIKEYD_MODE", "accel", "APIKEYD_PASS", ""));
	wrong("APIKEYD_PASS",
	    PAIRS("APIKEYD_MODE", "accel", "APIKEYD_PASS", "@a", "APIKEYD_PASS", "@a"));
	assert_int_equal(
	    read_it(1, PAIRS("APIKEYD_MODE", "accel", "APIKEYD_PASS", "@Back_end-2")), VERDICT_OK);
	assert_true(span_is(policy.pass, "@Back_end-2"));
	assert_int_equal(read_it(1, PAIRS("APIKEYD_PASS", "")), VERDICT_OK);
}

static void
test_request_id(void **state)
{
	char longest[130];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[128] = '\0';
	assert_int_equal(read_it(1, PAIRS("APIKEYD_REQUEST_ID", longest)), VERDICT_OK);
	assert_true(span_is(policy_id(&policy), longest));
	longest[128] = 'a';
	longest[129] = '\0';
	wrong("APIKEYD_REQUEST_ID", PAIRS("APIKEYD_REQUEST_ID", longest));
	assert_int_equal(read_it(1, PAIRS("APIKEYD_REQUEST_ID", "aZ0._:@-")), VERDICT_OK);
	assert_true(span_is(policy_id(&policy), "aZ0._:@-"));
	wrong("APIKEYD_REQUEST_ID", PAIRS("APIKEYD_REQUEST_ID", "a b"));
	wrong("APIKEYD_REQUEST_ID", PAIRS("APIKEYD_REQUEST_ID", "a\"b"));
	wrong("APIKEYD_REQUEST_ID", PAIRS("APIKEYD_REQUEST_ID", "a", "APIKEYD_REQUEST_ID", "a"));
	assert_int_equal(policy_id(&policy).len, POLICY_MADE_ID);
	assert_int_equal(read_it(1, PAIRS("APIKEYD_REQUEST_ID", "")), VERDICT_OK);
	assert_int_equal(policy.given_id.len, 0);
	assert_int_equal(policy_id(&policy).len, POLICY_MADE_ID);
}

/* All mistakes of a request, not the first alone. */
static void
test_several_wrong(void **state)
{
	(void)state;
	assert_int_equal(
	    read_it(1, PAIRS("APIKEYD_COST", "x", "APIKEYD_SCOPE", "*", "APIKEYD_MODE", "serve")),
	    VERDICT_MISCONFIGURED);
	assert_int_equal(policy.wrong, 1U << POLICY_PARAM_COST | 1U << POLICY_PARAM_SCOPE);
}

static int
no_randomness(void *p, size_t n)
{
	(void)p;
	(void)n;
	return -1;
}

static void
test_no_randomness(void **state)
{
	(void)state;
	random_set_source(no_randomness);
	assert_int_equal(read_it(1, PAIRS("X", "y")), VERDICT_UNAVAILABLE);
	assert_int_equal(read_it(1, PAIRS("APIKEYD_REQUEST_ID", "id")), VERDICT_OK);
	random_set_source(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_render),
	    cmocka_unit_test(test_access_checker),
	    cmocka_unit_test(test_scope),
	    cmocka_unit_test(test_cost),
	    cmocka_unit_test(test_pass),
	    cmocka_unit_test(test_request_id),
	    cmocka_unit_test(test_several_wrong),
	    cmocka_unit_test(test_no_randomness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
