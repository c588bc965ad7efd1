/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: HTTPS, address, referrer and application of a request are what the web server, or a proxy
 * that is trusted, says, and never what a client can write.  Guards Invariant 6 (no restriction is
 * passed by a forged header).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate/facts.h"

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define XFF "HTTP_X_FORWARDED_FOR"
#define PROTO "HTTP_X_FORWARDED_PROTO"

static struct config config = {.app_header = (char *)"X-App-Id", .ntrusted_proxies = 2};
static struct facts_rules rules;
static struct facts facts;

static int
setup(void **state)
{
	(void)state;
	return netaddr_net_parse(span_of("10.0.0.0/8"), &config.trusted_proxies[0]) ||
	       netaddr_net_parse(span_of("2001:db8::/32"), &config.trusted_proxies[1]) ||
	       facts_rules_init(&rules, &config, NULL);
}

static void
read_it(const char *const *pairs)
{
	struct params params;

	params_init(&params);
	for (; *pairs != NULL; pairs += 2)
		params_add(&params, span_of(pairs[0]), span_of(pairs[1]));
	facts_read(&rules, &params, &facts);
}

static void
https(int want, const char *const *pairs)
{
	read_it(pairs);
	assert_int_equal(facts.https, want);
}

static void
address(const char *want, const char *const *pairs)
{
	char text[NETADDR_TEXT_MAX];

	read_it(pairs);
	assert_int_equal(facts.has_addr, want != NULL);
	if (want != NULL) {
		netaddr_format(&facts.addr, text);
		assert_string_equal(text, want);
	}
}

static void
test_https(void **state)
{
	(void)state;
	https(0, PAIRS("X", "y"));
	https(1, PAIRS("HTTPS", "on"));
	https(1, PAIRS("HTTPS", "ON"));
	https(1, PAIRS("HTTPS", "1"));
	https(0, PAIRS("HTTPS", "off"));
	https(0, PAIRS("HTTPS", ""));
	https(0, PAIRS("HTTPS", "on", "HTTPS", "off"));
	https(1, PAIRS("REQUEST_SCHEME", "https"));
	https(0, PAIRS("REQUEST_SCHEME", "http"));
	https(0, PAIRS("HTTP_HTTPS", "on"));
	https(0, PAIRS("REMOTE_ADDR", "192.0.2.1", PROTO, "https"));
	https(0, PAIRS(PROTO, "https"));
	https(1, PAIRS("REQUEST_SCHEME", "http", "REMOTE_ADDR", "10.1.2.3", PROTO, "https"));
	https(1, PAIRS("REMOTE_ADDR", "10.1.2.3", PROTO, "HTTPS"));
	https(0, PAIRS("REMOTE_ADDR", "10.1.2.3", PROTO, "https, http"));
	https(1, PAIRS("REMOTE_ADDR", "10.1.2.3", PROTO, "http, https"));
	https(0, PAIRS("REMOTE_ADDR", "10.1.2.3", PROTO, "https", PROTO, "http"));
	https(0, PAIRS("REMOTE_ADDR", "10.1.2.3", PROTO, ""));
}

static void
test_address(void **state)
{
	(void)state;
	address(NULL, PAIRS("X", "y"));
	address(NULL, PAIRS("REMOTE_ADDR", "unix:"));
	address(NULL, PAIRS("REMOTE_ADDR", "192.0.2.1", "REMOTE_ADDR", "192.0.2.1"));
	address("192.0.2.1", PAIRS("REMOTE_ADDR", "192.0.2.1"));
	address("192.0.2.1", PAIRS("REMOTE_ADDR", "192.0.2.1", XFF, "198.51.100.7"));
	address("10.0.0.1", PAIRS("REMOTE_ADDR", "10.0.0.1"));
	address("10.0.0.1", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, ""));
	address("198.51.100.7", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "198.51.100.7"));
	/* What a client wrote stands left of what the proxies added. */
	address("198.51.100.7", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "203.0.113.9, 198.51.100.7"));
	address(
	    "198.51.100.7", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "junk, 198.51.100.7, 10.0.0.2"));
	address("198.51.100.7",
	    PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "203.0.113.9, 198.51.100.7", XFF, "10.0.0.2"));
	address("198.51.100.7", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "198.51.100.7, , 10.0.0.2,"));
	address("198.51.100.7",
	    PAIRS("REMOTE_ADDR", "2001:db8::1", XFF, "198.51.100.7:4711, [2001:db8::2]:80"));
	address("10.0.0.3", PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "10.0.0.3, 10.0.0.2"));
	address(NULL, PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "198.51.100.7, unknown"));
	address(NULL, PAIRS("REMOTE_ADDR", "10.0.0.1", XFF, "198.51.100.7, unknown, 10.0.0.2"));
}

static void
test_texts(void **state)
{
	char longest[4096];

	(void)state;
	read_it(PAIRS("REQUEST_METHOD", "HEAD", "HTTP_REFERER", " https://a.example/ ",
	    "HTTP_X_APP_ID", "app"));
	assert_true(span_is(facts.method, "HEAD"));
	assert_true(span_is(facts.referrer, "https://a.example/"));
	assert_true(span_is(facts.app, "app"));
	read_it(PAIRS("HTTP_REFERER", "https://a.example/", "HTTP_REFERER", "https://a.example/",
	    "HTTP_X_APP_ID", "a\nb", "HTTP_X_APP", "app"));
	assert_int_equal(facts.referrer.len, 0);
	assert_int_equal(facts.app.len, 0);
	memset(longest, 'a', sizeof(longest));
	longest[2049] = '\0';
	read_it(
	    PAIRS("HTTP_REFERER", longest, "HTTP_X_APP_ID", longest, "REQUEST_METHOD", longest));
	assert_int_equal(facts.referrer.len + facts.app.len + facts.method.len, 0);
	longest[2048] = '\0';
	read_it(PAIRS("HTTP_REFERER", longest));
	assert_int_equal(facts.referrer.len, 2048);
}

static void
test_method(void **state)
{
	(void)state;
	read_it(PAIRS("REQUEST_METHOD", "GET", "APIKEYD_METHOD", "POST"));
	assert_true(span_is(facts.method, "POST"));
	read_it(PAIRS("APIKEYD_METHOD", "POST"));
	assert_true(span_is(facts.method, "POST"));
	/* A client cannot say it; and what is not certain is not known. */
	read_it(PAIRS("REQUEST_METHOD", "GET", "HTTP_APIKEYD_METHOD", "POST"));
	assert_true(span_is(facts.method, "GET"));
	read_it(PAIRS("REQUEST_METHOD", "GET", "APIKEYD_METHOD", ""));
	assert_int_equal(facts.method.len, 0);
	read_it(PAIRS("REQUEST_METHOD", "GET", "APIKEYD_METHOD", "GET", "APIKEYD_METHOD", "GET"));
	assert_int_equal(facts.method.len, 0);
	read_it(PAIRS("REQUEST_METHOD", "GET", "REQUEST_METHOD", "GET"));
	assert_int_equal(facts.method.len, 0);
}

static void
test_browser(void **state)
{
	static const char *const theirs[] = {"HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE",
	    "HTTP_SEC_FETCH_MODE", "HTTP_SEC_FETCH_DEST", "HTTP_SEC_FETCH_USER",
	    "HTTP_SEC_FETCH_X"};
	static const char *const others[] = {"ORIGIN", "SEC_FETCH_SITE", "HTTP_ORIGINAL",
	    "HTTP_X_ORIGIN", "HTTP_SEC_FETCH", "HTTP_SEC_FETCH_", "HTTP_X_SEC_FETCH_SITE",
	    "HTTP_SEC_CH_UA", "HTTP_USER_AGENT", "HTTP_REFERER", "H", ""};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++) {
		read_it(PAIRS("REQUEST_METHOD", "GET", theirs[i], "x"));
		assert_int_equal(facts.browser, 1);
		/* Its presence counts. */
		read_it(PAIRS(theirs[i], "", theirs[i], "\n"));
		assert_int_equal(facts.browser, 1);
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		read_it(PAIRS(others[i], "HTTP_ORIGIN"));
		assert_int_equal(facts.browser, 0);
	}
}

static void
test_rules(void **state)
{
	char longest[FACTS_PARAM_MAX + 1];
	struct config c = {.app_header = (char *)"X-My_App"};
	struct facts_rules r;
	struct err e;

	(void)state;
	assert_string_equal(rules.app_param, "HTTP_X_APP_ID");
	assert_int_equal(facts_rules_init(&r, &c, &e), -1);
	memset(longest, 'a', sizeof(longest));
	longest[FACTS_PARAM_MAX] = '\0';
	c.app_header = longest;
	assert_int_equal(facts_rules_init(&r, &c, &e), -1);
	longest[FACTS_PARAM_MAX - 6] = '\0';
	assert_int_equal(facts_rules_init(&r, &c, &e), 0);
	assert_int_equal(strlen(r.app_param), FACTS_PARAM_MAX - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_https),
	    cmocka_unit_test(test_address),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_method),
	    cmocka_unit_test(test_browser),
	    cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
