/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: params are found by their exact name, a repeated one is told from a single one, and nothing
 * beyond the bounds is kept or cut short. Guards invariant 6 (no input crashes a worker or is
 * admitted by accident).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/params.h"

static struct params P;
static char large[PARAMS_BYTES_MAX + 1];

static int
setup(void **state)
{
	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	params_init(&P);
	return 0;
}

static void
test_lookup(void **state)
{
	struct span v;

	(void)state;
	params_add_env(&P, "REQUEST_METHOD=GET");
	params_add_env(&P, "HTTP_X_A=b=c");
	params_add_env(&P, "EMPTY=");
	params_add_env(&P, "BARE");
	params_add(&P, span_of("TWICE"), span_of("first"));
	params_add(&P, span_of("TWICE"), span_of("second"));
	params_add(&P, span_of("TWICE"), span_of("third"));

	assert_int_equal(params_get(&P, "REQUEST_METHOD", &v), 1);
	assert_true(span_is(v, "GET"));
	assert_int_equal(params_get(&P, "HTTP_X_A", &v), 1);
	assert_true(span_is(v, "b=c"));
	assert_int_equal(params_get(&P, "EMPTY", &v), 1);
	assert_int_equal(v.len, 0);
	assert_int_equal(params_get(&P, "BARE", &v), 1);
	assert_int_equal(v.len, 0);
	assert_int_equal(params_get(&P, "TWICE", &v), 2);
	assert_true(span_is(v, "first"));

	/* Neither a prefix, nor a longer name, nor another case. */
	v = span_of("stale");
	assert_int_equal(params_get(&P, "REQUEST", &v), 0);
	assert_null(v.p);
	assert_int_equal(v.len, 0);
	assert_int_equal(params_get(&P, "REQUEST_METHODS", &v), 0);
	assert_int_equal(params_get(&P, "request_method", &v), 0);
	assert_int_equal(params_get(&P, "", &v), 0);

	assert_true(span_is(params_value(&P, "REQUEST_METHOD"), "GET"));
	assert_true(span_is(params_value(&P, "TWICE"), "first"));
	assert_int_equal(params_value(&P, "NONE").len, 0);
	assert_false(P.too_large);
}

/* All that are there of a name, by a walk over every param. */
static void
agree(const char *name)
{
	struct span v, first = {NULL, 0};
	size_t i, at = 0;
	int found = 0;

	for (i = P.n; i-- > 0;) {
		if (!span_is(P.at[i].name, name))
			continue;
		assert_int_equal(params_next(&P, name, &at, &v), 1);
		assert_ptr_equal(v.p, P.at[i].value.p);
		assert_int_equal(v.len, P.at[i].value.len);
		first = v;
		found++;
	}
	assert_int_equal(params_next(&P, name, &at, &v), 0);
	assert_null(v.p);
	assert_int_equal(params_get(&P, name, &v), found < 2 ? found : 2);
	assert_ptr_equal(v.p, first.p);
}

/* As many as there may be, of names that are prefixes of others, that differ in one character, that
 * share first, last and middle one and so a chain; some once, some repeatedly. */
static void
test_names_that_are_alike(void **state)
{
	static char names[PARAMS_MAX][24];
	static const char *const values = "0123456789";
	size_t i;

	(void)state;
	for (i = 0; i < PARAMS_MAX; i++) {
		if (i % 4 == 0)
			snprintf(names[i], sizeof(names[i]), "%.*s", (int)(i / 4 % 20),
			    "HTTP_HTTP_HTTP_HTTP_");
		else if (i % 4 == 1)
			snprintf(names[i], sizeof(names[i]), "HTTP_X_%zu", i % 50);
		else
			snprintf(names[i], sizeof(names[i]), "A%03zuMMM%03zuZ", i, 999 - i);
		params_add(&P, span_of(names[i]), (struct span){values + i % 10, i % 2});
	}
	assert_int_equal(P.n, PARAMS_MAX);
	for (i = 0; i < PARAMS_MAX; i++)
		agree(names[i]);
	agree("HTTP");
	agree("HTTP_X_");
	agree("NONE");
	params_init(&P);
	for (i = 0; i < PARAMS_MAX; i++)
		agree(names[i]);
}

static void
test_bytes_are_borrowed_and_may_be_any(void **state)
{
	static const char name[] = "A\0B", value[] = "\0\n\377";
	struct span v;

	(void)state;
	params_add(&P, (struct span){name, 3}, (struct span){value, 3});
	assert_int_equal(P.n, 1);
	assert_ptr_equal(P.at[0].value.p, value);
	assert_int_equal(P.at[0].value.len, 3);
	assert_int_equal(params_get(&P, "A", &v), 0);
}

static void
test_too_many(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < PARAMS_MAX; i++)
		params_add_env(&P, "A=b");
	assert_false(P.too_large);
	assert_int_equal(P.n, PARAMS_MAX);
	params_add_env(&P, "LAST=b");
	assert_true(P.too_large);
	assert_int_equal(P.n, PARAMS_MAX);
	assert_int_equal(params_value(&P, "LAST").len, 0);
	/* And it starts afresh. */
	params_init(&P);
	assert_false(P.too_large);
	assert_int_equal(params_value(&P, "A").len, 0);
}

static void
test_value_too_long(void **state)
{
	struct span v;

	(void)state;
	params_add(&P, span_of("FITS"), (struct span){large, PARAMS_VALUE_MAX});
	assert_false(P.too_large);
	params_add(&P, span_of("LONG"), (struct span){large, PARAMS_VALUE_MAX + 1});
	assert_true(P.too_large);
	assert_int_equal(params_get(&P, "LONG", &v), 0);
	/* What there was stays, and what still fits is kept: a refusal needs the mode. */
	params_add_env(&P, "APIKEYD_MODE=accel");
	assert_true(span_is(params_value(&P, "APIKEYD_MODE"), "accel"));
	assert_int_equal(params_value(&P, "FITS").len, PARAMS_VALUE_MAX);
	assert_true(P.too_large);
}

static void
test_too_many_bytes(void **state)
{
	int i;

	(void)state;
	/* 8 times 8 KiB, names included: exactly the bound. */
	for (i = 0; i < 8; i++)
		params_add(&P, span_of("N"), (struct span){large, PARAMS_VALUE_MAX - 1});
	assert_int_equal(P.bytes, PARAMS_BYTES_MAX);
	assert_false(P.too_large);
	params_add(&P, span_of(""), span_of(""));
	assert_false(P.too_large);
	params_add(&P, span_of("N"), span_of(""));
	assert_true(P.too_large);
	assert_int_equal(P.n, 9);

	params_init(&P);
	params_add(&P, (struct span){large, PARAMS_BYTES_MAX}, span_of(""));
	assert_false(P.too_large);
	params_add(&P, span_of(""), span_of("v"));
	assert_true(P.too_large);
	params_init(&P);
	params_add(&P, (struct span){large, SIZE_MAX}, (struct span){large, 2});
	assert_true(P.too_large);
	assert_int_equal(P.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_lookup, setup),
	    cmocka_unit_test_setup(test_names_that_are_alike, setup),
	    cmocka_unit_test_setup(test_bytes_are_borrowed_and_may_be_any, setup),
	    cmocka_unit_test_setup(test_too_many, setup),
	    cmocka_unit_test_setup(test_value_too_long, setup),
	    cmocka_unit_test_setup(test_too_many_bytes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
