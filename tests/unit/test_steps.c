/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a worker's steps run in the contract's order, each refuses with its own verdict, and the
 * trace tells exactly those that ran, with no key in what it tells.  Guards Invariants 4 and 6.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/token.h"
#include "gate/steps.h"

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct config config;
static struct facts_rules rules;
static char key[TOKEN_MAX + 1], other[TOKEN_MAX + 1], in_url[256];

static int
setup(void **state)
{
	(void)state;
	config = (struct config){.app_header = (char *)"X-App-Id",
	    .key_prefix = (char *)"ak",
	    .require_https = 1,
	    .strict_paths = 1,
	    .nquery_parameters = 1,
	    .query_parameters = {(char *)"key"}};
	if (token_generate("ak", TOKEN_LIVE, key, NULL) != 0 ||
	    token_generate("ak", TOKEN_LIVE, other, NULL) != 0)
		return -1;
	(void)snprintf(in_url, sizeof(in_url), "/x?key=%s", key);
	return facts_rules_init(&rules, &config, NULL);
}

static char trace[256];

static void
write_down(void *cookie, const char *step, int passed, const char *detail)
{
	size_t n = strlen(trace);

	(void)cookie;
	assert_in_range(
	    snprintf(trace + n, sizeof(trace) - n, "%s%s ", step, passed ? "" : "!"), 1, 64);
	assert_non_null(detail);
	assert_null(strstr(detail, key));
}

static void
walks(enum verdict want, const char *told, const char *const *pairs)
{
	struct params params;
	struct steps s;

	params_init(&params);
	for (; *pairs != NULL; pairs += 2)
		params_add(&params, span_of(pairs[0]), span_of(pairs[1]));
	trace[0] = '\0';
	steps_init(&s, &rules, &params);
	assert_int_equal(steps_walk(&s, write_down, NULL), want);
	assert_string_equal(trace, told);
	/* The credential is there when all steps have passed, and only then. */
	assert_int_equal(s.key.len > 0, want == VERDICT_OK);
	assert_int_equal(steps_walk(&s, NULL, NULL), want);
	steps_wipe(&s);
	for (size_t i = 0; i < s.url_key.len; i++)
		assert_int_equal(s.url_mem[i], 0);
}

static void
in_the_order_of_the_contract(void **state)
{
	char junk[sizeof(key)];

	(void)state;
	memcpy(junk, key, sizeof(junk));
	junk[20] = junk[20] == 'a' ? 'b' : 'a';
	/* Everything is wrong; mended from the front, the next step refuses each time. */
	walks(VERDICT_HTTPS_REQUIRED, "https! ",
	    PAIRS("REQUEST_URI", in_url, "HTTP_X_API_KEY", "a,b", "QUERY_STRING", "x"));
	walks(VERDICT_KEY_IN_URL, "https url! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", in_url, "HTTP_X_API_KEY", "a,b"));
	walks(VERDICT_REQUEST_INVALID, "https url credential! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a/../b", "HTTP_X_API_KEY", "a,b"));
	walks(VERDICT_KEY_MISSING, "https url credential! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a/../b"));
	walks(VERDICT_KEY_INVALID, "https url credential checksum! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a/../b", "HTTP_X_API_KEY", junk));
	walks(VERDICT_KEY_INVALID, "https url credential checksum! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a", "HTTP_X_API_KEY", "hello"));
	walks(VERDICT_REQUEST_INVALID, "https url credential checksum path! ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a/../b", "HTTP_X_API_KEY", key));
	walks(VERDICT_OK, "https url credential checksum path ",
	    PAIRS("HTTPS", "on", "REQUEST_URI", "/a", "HTTP_X_API_KEY", key));
	walks(VERDICT_OK, "https url credential checksum path ",
	    PAIRS("HTTPS", "on", "HTTP_X_API_KEY", key));
}

static void
as_the_settings_say(void **state)
{
	(void)state;
	config.require_https = config.strict_paths = 0;
	config.allow_query_keys = 1;
	walks(VERDICT_OK, "https url credential checksum path ",
	    PAIRS("REQUEST_URI", "/a/../b", "HTTP_X_API_KEY", key));
	walks(VERDICT_OK, "https url credential checksum path ", PAIRS("REQUEST_URI", in_url));
	walks(VERDICT_OK, "https url credential checksum path ",
	    PAIRS("REQUEST_URI", in_url, "HTTP_X_API_KEY", key));
	walks(VERDICT_REQUEST_INVALID, "https url credential! ",
	    PAIRS("REQUEST_URI", in_url, "HTTP_X_API_KEY", other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(in_the_order_of_the_contract, setup),
	    cmocka_unit_test_setup(as_the_settings_say, setup),
	};

	return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
