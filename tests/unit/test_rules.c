/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the steps run in the contract's order, each refuses with its own verdict, the trace tells
 * exactly those that ran; and a referrer matches a pattern only when both are what they seem.
 * Guards Invariant 6: a restriction whose fact is missing or malformed refuses.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/rules.h"

#define NOW INT64_C(1700000000000000)

struct scene {
	struct keyrec key;
	struct rules_request request;
	uint8_t nets[KEYREC_NETS_MAX * 17];
	char trace[256];
	char detail[RULES_DETAIL_MAX]; /* of the last step */
};

static void
write_down(void *cookie, const char *step, int passed, const char *detail)
{
	struct scene *s = cookie;
	size_t n = strlen(s->trace);
	int m = snprintf(s->trace + n, sizeof(s->trace) - n, "%s=%d ", step, passed);

	assert_in_range(m, 1, sizeof(s->trace) - n - 1);
	/* Each step says what it has seen. */
	assert_true(detail[0] != '\0');
	assert_int_equal(span_copy(s->detail, sizeof(s->detail), span_of(detail)), 0);
}

/* A key restricted in every way, and a request that satisfies all of it. */
static void
scene_init(struct scene *s)
{
	struct netaddr_net net;

	memset(s, 0, sizeof(*s));
	assert_int_equal(netaddr_net_parse(span_of("192.0.2.0/24"), &net), 0);
	assert_int_equal(keyrec_net_add(&s->key, s->nets, &net), 0);
	assert_int_equal(netaddr_net_parse(span_of("2001:db8::/32"), &net), 0);
	assert_int_equal(keyrec_net_add(&s->key, s->nets, &net), 0);
	s->key.not_before_us = NOW - 1;
	s->key.expires_us = NOW + 1;
	s->key.nreferrers = 2;
	s->key.referrers[0] = span_of("example.org");
	s->key.referrers[1] = span_of("https://*.example.com/app");
	s->key.napps = 2;
	s->key.apps[0] = span_of("other");
	s->key.apps[1] = span_of("com.example.app");
	s->key.nmethods = 2;
	s->key.methods[0] = span_of("GET");
	s->key.methods[1] = span_of("POST");
	s->key.browsers = KEYREC_BROWSERS_DENY;
	s->key.nscopes = 2;
	s->key.scopes[0] = span_of("orders:read");
	s->key.scopes[1] = span_of("users:*");

	s->request.now_us = NOW;
	s->request.secret = ROTATION_GOOD;
	s->request.method = span_of("POST");
	s->request.browsers = KEYREC_BROWSERS_OFF;
	s->request.has_addr = 1;
	assert_int_equal(netaddr_parse(span_of("2001:db8::7"), &s->request.addr), 0);
	s->request.referrer = span_of("https://www.example.com/app/page?x=1");
	s->request.app = span_of("com.example.app");
	s->request.needed_scopes = span_of("orders:read users:write");
}

static void
assert_verdict(struct scene *s, enum verdict want, const char *trace)
{
	s->trace[0] = '\0';
	assert_int_equal(rules_check(&s->key, &s->request, write_down, s), want);
	assert_string_equal(s->trace, trace);
	/* Whether somebody looks on changes nothing. */
	assert_int_equal(rules_check(&s->key, &s->request, NULL, NULL), want);
}

#define BEFORE_METHOD "state=1 secret=1 address=1 referrer=1 application=1 "
#define BEFORE_SCOPES BEFORE_METHOD "method=1 browser=1 "
#define ALL_PASSED BEFORE_SCOPES "scopes=1 "

static void
all_steps_pass(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	/* Nothing restricted, nothing needed, nothing known of the request. */
	memset(&s, 0, sizeof(s));
	s.request.now_us = NOW;
	s.request.secret = ROTATION_GOOD;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
}

/* A refusal for the secret alone is told apart from that of a key that has expired itself. */
static void
secrets(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	for (int v = 0; v < 4; v++) {
		s.request.secret = (enum rotation_verdict)v;
		if (s.request.secret == ROTATION_GOOD) {
			assert_verdict(&s, VERDICT_OK, ALL_PASSED);
			continue;
		}
		assert_verdict(&s, VERDICT_KEY_EXPIRED, "state=1 secret=0 ");
		assert_true(rules_secret_refused(VERDICT_KEY_EXPIRED, &s.key, &s.request));
		assert_false(rules_secret_refused(VERDICT_IP_DENIED, &s.key, &s.request));
	}
	s.key.expires_us = NOW;
	assert_verdict(&s, VERDICT_KEY_EXPIRED, "state=0 ");
	assert_false(rules_secret_refused(VERDICT_KEY_EXPIRED, &s.key, &s.request));
}

/* Everything is wrong with the request; mended from the front, the next step refuses each time. */
static void
first_refusal_in_order(void **unused)
{
	struct scene s, good;

	(void)unused;
	scene_init(&good);
	scene_init(&s);
	s.key.state = KEYREC_REVOKED;
	assert_int_equal(netaddr_parse(span_of("198.51.100.1"), &s.request.addr), 0);
	s.request.referrer = span_of("https://evil.example/");
	s.request.app = span_of("evil");
	s.request.method = span_of("DELETE");
	s.request.browser = 1;
	s.request.needed_scopes = span_of("orders:read admin");

	assert_verdict(&s, VERDICT_KEY_REVOKED, "state=0 ");
	s.key.state = KEYREC_ACTIVE;
	s.request.secret = ROTATION_REPLACED;
	assert_verdict(&s, VERDICT_KEY_EXPIRED, "state=1 secret=0 ");
	s.request.secret = ROTATION_GOOD;
	assert_verdict(&s, VERDICT_IP_DENIED, "state=1 secret=1 address=0 ");
	s.request.addr = good.request.addr;
	assert_verdict(&s, VERDICT_REFERRER_DENIED, "state=1 secret=1 address=1 referrer=0 ");
	s.request.referrer = good.request.referrer;
	assert_verdict(
	    &s, VERDICT_APP_DENIED, "state=1 secret=1 address=1 referrer=1 application=0 ");
	s.request.app = good.request.app;
	assert_verdict(&s, VERDICT_METHOD_DENIED, BEFORE_METHOD "method=0 ");
	s.request.method = good.request.method;
	assert_verdict(&s, VERDICT_BROWSER_DENIED, BEFORE_METHOD "method=1 browser=0 ");
	s.request.browser = 0;
	assert_verdict(&s, VERDICT_SCOPE_INSUFFICIENT, BEFORE_SCOPES "scopes=0 ");
	s.request.needed_scopes = good.request.needed_scopes;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
}

static void
states(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	s.key.state = KEYREC_DISABLED;
	assert_verdict(&s, VERDICT_KEY_DISABLED, "state=0 ");
	s.key.state = (enum keyrec_state)9;
	assert_verdict(&s, VERDICT_KEY_DISABLED, "state=0 ");
	s.key.state = KEYREC_ACTIVE;
	s.key.expires_us = NOW;
	assert_verdict(&s, VERDICT_KEY_EXPIRED, "state=0 ");
	s.key.expires_us = NOW + 1;
	s.key.not_before_us = NOW + 1;
	assert_verdict(&s, VERDICT_KEY_DISABLED, "state=0 ");
	s.key.not_before_us = NOW;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	s.key.state = KEYREC_REVOKED;
	s.key.expires_us = 1;
	assert_verdict(&s, VERDICT_KEY_REVOKED, "state=0 ");
}

/* An owner that is off: told before what else is wrong with a key, but for its end. */
static void
owners_that_are_off(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	s.request.owner_off = 1;
	assert_verdict(&s, VERDICT_KEY_DISABLED, "state=0 ");
	assert_non_null(strstr(s.detail, "owner"));
	s.key.expires_us = NOW;
	assert_verdict(&s, VERDICT_KEY_DISABLED, "state=0 ");
	s.key.state = KEYREC_REVOKED;
	assert_verdict(&s, VERDICT_KEY_REVOKED, "state=0 ");
	/* Nobody looking on, as in the gate. */
	assert_int_equal(rules_check(&s.key, &s.request, NULL, NULL), VERDICT_KEY_REVOKED);
	s.key.state = KEYREC_ACTIVE;
	assert_int_equal(rules_check(&s.key, &s.request, NULL, NULL), VERDICT_KEY_DISABLED);
}

static void
missing_facts_refuse(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	s.request.has_addr = 0;
	assert_verdict(&s, VERDICT_IP_DENIED, "state=1 secret=1 address=0 ");

	/* Not even a list of all addresses admits an unknown one. */
	memset(s.nets, 0, sizeof(s.nets));
	s.key.nnets = 1;
	assert_verdict(&s, VERDICT_IP_DENIED, "state=1 secret=1 address=0 ");
	s.request.has_addr = 1;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);

	scene_init(&s);
	s.request.referrer = (struct span){NULL, 0};
	assert_verdict(&s, VERDICT_REFERRER_DENIED, "state=1 secret=1 address=1 referrer=0 ");

	scene_init(&s);
	s.request.app = (struct span){NULL, 0};
	assert_verdict(
	    &s, VERDICT_APP_DENIED, "state=1 secret=1 address=1 referrer=1 application=0 ");
	s.key.apps[0] = (struct span){NULL, 0};
	assert_verdict(
	    &s, VERDICT_APP_DENIED, "state=1 secret=1 address=1 referrer=1 application=0 ");
}

static void
applications_match_exactly(void **unused)
{
	static const char *const others[] = {
	    "Com.example.app", "com.example.ap", "com.example.app2", " com.example.app", "*"};
	struct scene s;

	(void)unused;
	scene_init(&s);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		s.request.app = span_of(others[i]);
		assert_verdict(
		    &s, VERDICT_APP_DENIED, "state=1 secret=1 address=1 referrer=1 application=0 ");
	}
	s.request.app = span_of("other");
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
}

static void
methods_match_exactly(void **unused)
{
	static const char *const others[] = {"get", "GE", "GETS", "HEAD", "OPTIONS", ""};
	struct scene s;

	(void)unused;
	scene_init(&s);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		s.request.method = span_of(others[i]);
		assert_verdict(&s, VERDICT_METHOD_DENIED, BEFORE_METHOD "method=0 ");
	}
	/* Not known. */
	s.request.method = (struct span){NULL, 0};
	assert_verdict(&s, VERDICT_METHOD_DENIED, BEFORE_METHOD "method=0 ");
	assert_string_equal(s.detail, "the request names no method");
	s.request.method = span_of("GET");
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	s.key.nmethods = 0;
	s.request.method = span_of("BREW");
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
}

/* The key's word goes before the configuration's; only a browser is refused. */
static void
browsers(void **unused)
{
	static const struct {
		enum keyrec_browsers key, configured, effective;
	} cases[] = {
	    {KEYREC_BROWSERS_DEFAULT, KEYREC_BROWSERS_OFF, KEYREC_BROWSERS_OFF},
	    {KEYREC_BROWSERS_DEFAULT, KEYREC_BROWSERS_FLAG, KEYREC_BROWSERS_FLAG},
	    {KEYREC_BROWSERS_DEFAULT, KEYREC_BROWSERS_DENY, KEYREC_BROWSERS_DENY},
	    {KEYREC_BROWSERS_OFF, KEYREC_BROWSERS_DENY, KEYREC_BROWSERS_OFF},
	    {KEYREC_BROWSERS_FLAG, KEYREC_BROWSERS_DENY, KEYREC_BROWSERS_FLAG},
	    {KEYREC_BROWSERS_DENY, KEYREC_BROWSERS_OFF, KEYREC_BROWSERS_DENY},
	};
	struct scene s;

	(void)unused;
	scene_init(&s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s.key.browsers = cases[i].key;
		s.request.browsers = cases[i].configured;
		assert_int_equal(rules_browsers(&s.key, &s.request), cases[i].effective);
		s.request.browser = 0;
		assert_verdict(&s, VERDICT_OK, ALL_PASSED);
		s.request.browser = 1;
		if (cases[i].effective == KEYREC_BROWSERS_DENY)
			assert_verdict(
			    &s, VERDICT_BROWSER_DENIED, BEFORE_METHOD "method=1 browser=0 ");
		else
			assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	}
}

/* A key with scopes of its own holds those alone; one without holds its plan's. */
static void
scopes_of_the_plan(void **unused)
{
	const struct span plan[] = {span_of("orders:write"), span_of("files:*")};
	struct scene s;

	(void)unused;
	scene_init(&s);
	s.request.plan_scopes = plan;
	s.request.nplan_scopes = 2;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	assert_string_equal(s.detail, "needed: orders:read users:write; held: orders:read users:*");
	s.request.needed_scopes = span_of("orders:write");
	assert_verdict(&s, VERDICT_SCOPE_INSUFFICIENT, BEFORE_SCOPES "scopes=0 ");
	s.key.nscopes = 0;
	assert_verdict(&s, VERDICT_OK, ALL_PASSED);
	assert_string_equal(
	    s.detail, "needed: orders:write; held by the plan: orders:write files:*");
	s.request.needed_scopes = span_of("orders:read");
	assert_verdict(&s, VERDICT_SCOPE_INSUFFICIENT, BEFORE_SCOPES "scopes=0 ");
	s.request.nplan_scopes = 0;
	s.request.needed_scopes = span_of("orders:write");
	assert_verdict(&s, VERDICT_SCOPE_INSUFFICIENT, BEFORE_SCOPES "scopes=0 ");
	assert_string_equal(s.detail, "needed: orders:write; held: none");
}

/* What a step says names its input and what it was held against; never a query. */
static void
details(void **unused)
{
	struct scene s;

	(void)unused;
	scene_init(&s);
	assert_int_equal(netaddr_parse(span_of("::ffff:198.51.100.7"), &s.request.addr), 0);
	assert_verdict(&s, VERDICT_IP_DENIED, "state=1 secret=1 address=0 ");
	assert_string_equal(s.detail, "198.51.100.7 is in none of the key's networks");
	s.request.has_addr = 0;
	assert_verdict(&s, VERDICT_IP_DENIED, "state=1 secret=1 address=0 ");
	assert_string_equal(s.detail, "the address is not known");
	s.key.nnets = 0;
	s.request.referrer = span_of("https://evil.example/x?api_key=secret");
	assert_verdict(&s, VERDICT_REFERRER_DENIED, "state=1 secret=1 address=1 referrer=0 ");
	assert_string_equal(s.detail, "https://evil.example/x is none of the key's referrers");
	scene_init(&s);
	s.key.state = KEYREC_REVOKED;
	s.key.revoked_us = NOW;
	s.key.reason = span_of("lost");
	assert_verdict(&s, VERDICT_KEY_REVOKED, "state=0 ");
	assert_string_equal(s.detail, "revoked at 2023-11-14T22:13:20Z: lost");
}

static void
addresses(void **unused)
{
	static const struct {
		const char *addr;
		enum verdict verdict;
	} cases[] = {
	    {"192.0.2.0", VERDICT_OK},
	    {"192.0.2.255", VERDICT_OK},
	    {"::ffff:192.0.2.9", VERDICT_OK},
	    {"192.0.3.0", VERDICT_IP_DENIED},
	    {"192.0.1.255", VERDICT_IP_DENIED},
	    {"2001:db8:ffff::", VERDICT_OK},
	    {"2001:db9::", VERDICT_IP_DENIED},
	    {"::", VERDICT_IP_DENIED},
	};
	struct scene s;

	(void)unused;
	scene_init(&s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(netaddr_parse(span_of(cases[i].addr), &s.request.addr), 0);
		assert_verdict(&s, cases[i].verdict,
		    cases[i].verdict == VERDICT_OK ? ALL_PASSED : "state=1 secret=1 address=0 ");
	}
}

static void
patterns(void **unused)
{
	static const char *const good[] = {"example.com", "*.example.com", "localhost", "192.0.2.1",
	    "a_b-c.example.com", "https://example.com", "HTTP://Example.COM",
	    "https://*.example.com", "android-app://com.example", "example.com/", "example.com/app",
	    "example.com/app/", "https://*.example.com/a/b%20c", "example.com/a...b/.c",
	    "example.com/x://y", "xn--bcher-kva.example"};
	static const char *const bad[] = {"", "*", "*.", "**.example.com", "*example.com",
	    "a.*.example.com", "example.*", ".example.com", "example.com.", "exa..mple.com",
	    "://example.com", "1s://example.com", "ht_tp://example.com", "https://", "https:///app",
	    "/app", "https:example.com", "example.com:443", "https://example.com:443/",
	    "user@example.com", "https://user@example.com", "[::1]", "https://[2001:db8::1]/",
	    "example.com?x", "example.com/app?x=1", "example.com/app#x", "example.com/a b",
	    "example.com/\xc3\xa4",
	    "b\xc3\xbc"
	    "cher.example",
	    "example.com/a\nb", "example.com/../x", "example.com/a/..", "example.com/./x",
	    "example.com/.", "example.com/a%2Fb", "example.com/%2e%2E/x", "example.com/%",
	    "example.com/%2", "example.com/%zz", "example.com\\app", "example.com/a\\b"};
	char longest[KEYREC_PATTERN_MAX + 1];
	char host[255];

	(void)unused;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!rules_referrer_pattern_ok(span_of(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (rules_referrer_pattern_ok(span_of(bad[i])))
			fail_msg("taken: %s", bad[i]);
		/* One that slipped in all the same matches nothing. */
		assert_false(
		    rules_referrer_matches(span_of(bad[i]), span_of("https://example.com/app")));
	}
	assert_false(rules_referrer_pattern_ok((struct span){"a\0b", 3}));

	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "a.example/", 10);
	assert_true(rules_referrer_pattern_ok((struct span){longest, KEYREC_PATTERN_MAX}));
	assert_false(rules_referrer_pattern_ok((struct span){longest, KEYREC_PATTERN_MAX + 1}));
	memset(host, 'a', sizeof(host));
	assert_true(rules_referrer_pattern_ok((struct span){host, 253}));
	assert_false(rules_referrer_pattern_ok((struct span){host, 254}));
}

static const struct {
	const char *pattern, *referrer;
	int matches;
} referrers[] = {
    {"example.com", "https://example.com", 1},
    {"example.com", "https://example.com/", 1},
    {"example.com", "http://example.com/any/path?q#f", 1},
    {"example.com", "https://EXAMPLE.com/", 1},
    {"Example.COM", "https://example.com/", 1},
    {"example.com", "https://example.com:8443/x", 1},
    {"example.com", "https://example.com?x", 1},
    {"example.com", "https://example.com#x", 1},
    {"example.com", "https://example.com/a/../b", 1},
    {"example.com", "https://example.com/s?q=a|b\\c{d}", 1},
    {"example.com", "https://www.example.com/", 0},
    {"example.com", "https://example.com.evil.net/", 0},
    {"example.com", "https://evilexample.com/", 0},
    {"example.com", "https://evil.net/example.com", 0},
    {"example.com", "https://evil.net/?https://example.com/", 0},
    {"example.com", "https://evil.net#https://example.com/", 0},
    /* User information is how one site is dressed up as another. */
    {"example.com", "https://example.com@evil.net/", 0},
    {"example.com", "https://user@example.com/", 0},
    {"example.com", "https://user:pw@example.com/", 0},
    {"example.com", "https://example.com:443@evil.net/", 0},
    {"example.com", "https://@example.com/", 0},
    /* Not a URL of that form. */
    {"example.com", "", 0},
    {"example.com", "example.com", 0},
    {"example.com", "//example.com/", 0},
    {"example.com", "https:example.com", 0},
    {"example.com", "https:/example.com", 0},
    {"example.com", "://example.com/", 0},
    {"example.com", "1https://example.com/", 0},
    {"example.com", " https://example.com/", 0},
    {"example.com", "https://example.com/ ", 0},
    {"example.com", "https://example.com/\xc3\xa4", 0},
    {"example.com", "https://example.com/\x7f", 0},
    {"example.com", "https://", 0},
    {"example.com", "https:///example.com", 0},
    {"example.com", "https://example.com./", 0},
    {"example.com", "https://.example.com/", 0},
    {"example.com", "https://example.com:/", 0},
    {"example.com", "https://example.com:65536/", 0},
    {"example.com", "https://example.com:65535/", 1},
    {"example.com", "https://example.com:123456/", 0},
    {"example.com", "https://example.com:8o/", 0},
    {"example.com", "https://example.com:80:80/", 0},
    {"example.com", "https://example.com\\@evil.net/", 0},
    {"example.com", "https://evil.net\\.example.com/", 0},
    {"example.com", "https://[::1]/", 0},
    {"192.0.2.1", "http://192.0.2.1:8080/", 1},
    /* Subdomains. */
    {"*.example.com", "https://a.example.com/", 1},
    {"*.example.com", "https://a.b.example.com/", 1},
    {"*.example.com", "https://A.Example.Com/", 1},
    {"*.example.com", "https://example.com/", 0},
    {"*.example.com", "https://.example.com/", 0},
    {"*.example.com", "https://aexample.com/", 0},
    {"*.example.com", "https://xaexample.com/", 0},
    {"*.example.com", "https://a.example.com.net/", 0},
    {"*.example.com", "https://*.example.com/", 0},
    /* Schemes. */
    {"https://example.com", "https://example.com/", 1},
    {"https://example.com", "HTTPS://example.com/", 1},
    {"https://example.com", "http://example.com/", 0},
    {"https://example.com", "httpss://example.com/", 0},
    {"android-app://com.example", "android-app://com.example/", 1},
    /* Paths, by whole segments. */
    {"example.com/app", "https://example.com/app", 1},
    {"example.com/app", "https://example.com/app/", 1},
    {"example.com/app", "https://example.com/app/x/y", 1},
    {"example.com/app", "https://example.com/app?x=/../", 1},
    {"example.com/app", "https://example.com/app#/../", 1},
    {"example.com/app", "https://example.com/apple", 0},
    {"example.com/app", "https://example.com/App", 0},
    {"example.com/app", "https://example.com/ap", 0},
    {"example.com/app", "https://example.com/", 0},
    {"example.com/app", "https://example.com", 0},
    {"example.com/app", "https://example.com/x?/app", 0},
    {"example.com/app", "https://example.com?/app", 0},
    {"example.com/app", "https://example.com//app", 0},
    {"example.com/app/", "https://example.com/app/x", 1},
    {"example.com/app/", "https://example.com/app/", 1},
    {"example.com/app/", "https://example.com/app", 0},
    {"example.com/app/", "https://example.com/apple", 0},
    {"example.com/", "https://example.com", 1},
    {"example.com/", "https://example.com/x", 1},
    {"example.com/", "https://example.com?x", 1},
    {"example.com/app", "https://example.com/app/a...b/.c/c.", 1},
    {"example.com/a%20b", "https://example.com/a%20b/c", 1},
    /* Paths that a server might take for others. */
    {"example.com/app", "https://example.com/app/../admin", 0},
    {"example.com/app", "https://example.com/app/..", 0},
    {"example.com/app", "https://example.com/app/./x", 0},
    {"example.com/app", "https://example.com/app/.", 0},
    {"example.com/app", "https://example.com/x/../app", 0},
    {"example.com/app", "https://example.com/app/%2e%2e/admin", 0},
    {"example.com/app", "https://example.com/app/.%2E/admin", 0},
    {"example.com/app", "https://example.com/app%2fx", 0},
    {"example.com/app", "https://example.com/app/x%2Fy", 0},
    {"example.com/app", "https://example.com/app/x%2", 0},
    {"example.com/app", "https://example.com/app/x%", 0},
    {"example.com/app", "https://example.com/app/x%g0", 0},
    {"example.com/app", "https://example.com/app/x%0g", 0},
    {"example.com/app", "https://example.com/app/..\\..\\admin", 0},
    {"example.com/app", "https://example.com/app/x%2d%3e%41", 1},
    {"example.com/", "https://example.com/a/../b", 0},
};

static void
referrers_match(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(referrers) / sizeof(referrers[0]); i++)
		if (rules_referrer_matches(span_of(referrers[i].pattern),
			span_of(referrers[i].referrer)) != referrers[i].matches)
			fail_msg("%s on %s: expected %d", referrers[i].pattern,
			    referrers[i].referrer, referrers[i].matches);
	assert_false(rules_referrer_matches(
	    span_of("example.com"), (struct span){"https://example.com\0/", 21}));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_steps_pass),
	    cmocka_unit_test(secrets),
	    cmocka_unit_test(first_refusal_in_order),
	    cmocka_unit_test(states),
	    cmocka_unit_test(owners_that_are_off),
	    cmocka_unit_test(missing_facts_refuse),
	    cmocka_unit_test(applications_match_exactly),
	    cmocka_unit_test(methods_match_exactly),
	    cmocka_unit_test(browsers),
	    cmocka_unit_test(scopes_of_the_plan),
	    cmocka_unit_test(details),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(patterns),
	    cmocka_unit_test(referrers_match),
	};

	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
