/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a path that two readers may take for different ones is refused, any other passes, and the
 * query does not matter.  Guards Invariant 6: the scope that a route needs is not avoided by
 * another spelling of its path.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "gate/target.h"

static int
plain(const char *target)
{
	/* At the end of its memory, so that a sanitizer sees a byte too many being read. */
	size_t len = strlen(target);
	char *mem = malloc(len == 0 ? 1 : len);
	struct params P;
	int result;

	memcpy(mem, target, len);
	params_init(&P);
	params_add(&P, span_of("REQUEST_URI"), (struct span){mem, len});
	result = target_is_plain(&P);
	free(mem);
	return result;
}

static void
test_plain(void **state)
{
	static const char *const good[] = {"/", "/api/", "/api/x", "/api/x.json", "/api/...",
	    "/api/..x/.y/z..", "/api/a%2Fb", "/api/a%23b", "/api/%20%c3%bc", "/api/%e2%82%ac",
	    "/api/%f0%9f%94%91", "/api/%e0%a4%85", "/api/\xc0/x", "/api/%c1",
	    "/api/x?a=../../;b=//c\\", "/?", "*", "", "?x", "https://h/api/x", "http://h:1",
	    "http://h?x=..", "HTTP://h/", "/api/%2E.x"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!plain(good[i]))
			fail_msg("refused: %s", good[i]);
}

static void
test_not_plain(void **state)
{
	static const char *const bad[] = {"/..", "/.", "/api/../x", "/api/./x", "/api/..", "/api/.",
	    "/api/%2e%2e/x", "/api/.%2E/x", "/api/%2e", "/api/x%2f..%2fy", "/api/x%2F%2e%2e",
	    "/api/..;/x", "/api;v=1/x", "/api/x;", "/;", "//api/x", "/api//x", "/api/x//",
	    "/%2fapi", "/api/%2f", "/api\\x", "/api/x%5cy", "/api/..%5cx", "/api/%00",
	    "/api/x%0d%0a", "/api/%7f", "/api/\x01", "/api/x#/y", "/api/%", "/api/%2", "/api/%zz",
	    "api/x", "..", "h:443", "http://h/../x", "http://h//x", "https://u@h/api;x",
	    "/http://h/x", "://h/x", "/\xff/../x", "/api/a%3Bb", "/api/%3b/x", "/api/..%3b/x",
	    "/api/%c0%afx", "/api/\xc0\xaf", "/api/%c0\xae", "/api/x/%C0%AE%c0%ae/y", "/api/%c1%9c",
	    "/api/%e0%80%af", "/api/%f0%80%80%af"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (plain(bad[i]))
			fail_msg("passed: %s", bad[i]);
}

/* All of them count; what a client calls so does not. */
static void
test_params(void **state)
{
	struct params P;

	(void)state;
	params_init(&P);
	params_add(&P, span_of("HTTP_REQUEST_URI"), span_of("/.."));
	assert_true(target_is_plain(&P));
	params_add(&P, span_of("REQUEST_URI"), span_of("/x"));
	assert_true(target_is_plain(&P));
	params_add(&P, span_of("REQUEST_URI"), span_of("/.."));
	assert_false(target_is_plain(&P));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_not_plain),
	    cmocka_unit_test(test_params),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
