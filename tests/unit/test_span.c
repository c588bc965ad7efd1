/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: spans are compared, cut, copied and read as numbers without following a byte beyond their
 * length, and what is not exactly a number or does not fit is refused.  Guards invariant 6: no
 * input, however malformed, crashes a process.
 *
 * Inputs are given as blocks of exactly their length, so that a sanitizer sees a read past the end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

/* A heap copy of ${s} without its NUL; the caller frees p. */
static struct span
exact(const char *s)
{
	size_t n = strlen(s);
	char *p = malloc(n == 0 ? 1 : n);

	assert_non_null(p);
	memcpy(p, s, n);
	return (struct span){p, n};
}

static void
release(struct span s)
{
	free((char *)(uintptr_t)s.p);
}

static void
equality(void **state)
{
	struct span nothing = {NULL, 0}, a = exact("abc"), b = exact("abd");

	(void)state;
	assert_true(span_eq(nothing, span_of("")));
	assert_true(span_eq(span_of(NULL), nothing));
	assert_true(span_is(a, "abc"));
	assert_false(span_is(a, "ab"));
	assert_false(span_is(a, "abcd"));
	assert_false(span_eq(a, b));
	release(a);
	release(b);
}

static void
equality_without_case(void **state)
{
	static const struct {
		const char *a, *b;
		int equal;
	} cases[] = {
	    {"", "", 1},
	    {"Bearer", "bEARER", 1},
	    {"AZ", "az", 1},
	    {"Bearer", "Bearer ", 0},
	    {"Bearer", "Bearfr", 0},
	    /* Neighbours of the letters that differ in bit 5 alone are not letters. */
	    {"@", "`", 0},
	    {"[", "{", 0},
	    {"\xc4", "\xe4", 0},
	};
	struct span a, b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		a = exact(cases[i].a);
		b = exact(cases[i].b);
		assert_int_equal(span_ieq(a, b), cases[i].equal);
		assert_int_equal(span_ieq(b, a), cases[i].equal);
		release(a);
		release(b);
	}
}

static void
trimming(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"", ""},
	    {" ", ""},
	    {" \t \t", ""},
	    {"a", "a"},
	    {"\t a b \t", "a b"},
	    {"\na\r", "\na\r"},
	};
	struct span s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = exact(cases[i].in);
		assert_true(span_is(span_trim(s), cases[i].out));
		release(s);
	}
	assert_int_equal(span_trim((struct span){NULL, 0}).len, 0);
}

static void
words(void **state)
{
	struct span s = exact("  orders:read   orders:write\tx "), rest = s, word;

	(void)state;
	assert_int_equal(span_word(&rest, &word), 1);
	assert_true(span_is(word, "orders:read"));
	assert_int_equal(span_word(&rest, &word), 1);
	assert_true(span_is(word, "orders:write\tx"));
	assert_int_equal(span_word(&rest, &word), 0);
	assert_int_equal(word.len, 0);
	assert_int_equal(span_word(&rest, &word), 0);
	rest = (struct span){NULL, 0};
	assert_int_equal(span_word(&rest, &word), 0);
	release(s);
}

static void
copying(void **state)
{
	char out[4] = "xyz";

	(void)state;
	assert_int_equal(span_copy(out, sizeof(out), span_of("abc")), 0);
	assert_string_equal(out, "abc");
	assert_int_equal(span_copy(out, sizeof(out), span_of("abcd")), -1);
	assert_string_equal(out, "");
	assert_int_equal(span_copy(out, sizeof(out), (struct span){"a\0b", 3}), -1);
	assert_string_equal(out, "");
	out[0] = 'x';
	assert_int_equal(span_copy(out, sizeof(out), (struct span){NULL, 0}), 0);
	assert_string_equal(out, "");
	assert_int_equal(span_copy(NULL, 0, span_of("")), -1);
}

static void
numbers(void **state)
{
	static const struct {
		const char *text;
		unsigned long long max, n;
		int rc;
	} cases[] = {
	    {"0", 0, 0, 0},
	    {"7", 10, 7, 0},
	    {"10", 10, 10, 0},
	    {"11", 10, 0, -1},
	    {"007", 10, 7, 0},
	    {"18446744073709551615", ULLONG_MAX, ULLONG_MAX, 0},
	    {"18446744073709551616", ULLONG_MAX, 0, -1},
	    {"99999999999999999999", ULLONG_MAX, 0, -1},
	    {"000000000000000000001", ULLONG_MAX, 0, -1},
	    {"", 10, 0, -1},
	    {"-1", 10, 0, -1},
	    {"+1", 10, 0, -1},
	    {" 1", 10, 0, -1},
	    {"1 ", 10, 0, -1},
	    {"1.0", 10, 0, -1},
	    {"0x1", 10, 0, -1},
	    {"1a", 10, 0, -1},
	};
	unsigned long long n;
	struct span s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = exact(cases[i].text);
		n = 99;
		assert_int_equal(span_u64(s, cases[i].max, &n), cases[i].rc);
		assert_true(n == cases[i].n);
		release(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equality),
	    cmocka_unit_test(equality_without_case),
	    cmocka_unit_test(trimming),
	    cmocka_unit_test(words),
	    cmocka_unit_test(copying),
	    cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
