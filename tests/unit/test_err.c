/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: whatever is formatted into an error, its message is one line of printable UTF-8 within its
 * bounds, and its code is kept.  Guards invariant 6 (a hostile value in a message harms neither the
 * terminal nor the reply that carries it).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"
#include "base/text.h"

static void
setting(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "no key %s", "key_x"), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_string_equal(e.msg, "no key key_x");
	assert_int_equal(err_set(NULL, ERR_INPUT, "x"), -1);
	assert_int_equal(err_wrap(NULL, "x"), -1);
	assert_int_equal(err_sys(NULL, "x"), -1);
}

static void
system_errors(void **state)
{
	static const struct {
		int number;
		enum err_code code;
	} cases[] = {
	    {ENOENT, ERR_SYSTEM}, {ENOSPC, ERR_FULL}, {EDQUOT, ERR_FULL}, {EROFS, ERR_SYSTEM}};
	char expected[200];
	struct err e = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		errno = cases[i].number;
		assert_int_equal(err_sys(&e, "open %s", "/x"), -1);
		assert_int_equal(errno, cases[i].number);
		assert_int_equal(e.code, cases[i].code);
		snprintf(expected, sizeof(expected), "open /x: %s", strerror(cases[i].number));
		assert_string_equal(e.msg, expected);
	}
}

static void
wrapping(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, ERR_FULL, "no space");
	assert_int_equal(err_wrap(&e, "store %d", 7), -1);
	assert_int_equal(e.code, ERR_FULL);
	assert_string_equal(e.msg, "store 7: no space");
	/* The old message as an argument of the new one. */
	(void)err_set(&e, ERR_INPUT, "%s, again", e.msg);
	assert_string_equal(e.msg, "store 7: no space, again");
	(void)err_wrap(&e, "(%s)", e.msg);
	assert_string_equal(e.msg, "(store 7: no space, again): store 7: no space, again");
}

static void
long_messages(void **state)
{
	char text[2000];
	struct err e = {0};
	size_t shift;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, ERR_INPUT, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	(void)err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	errno = EIO;
	(void)err_sys(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);

	/*
	 * Wherever the end falls in a character of four bytes, no part of it stays, and the rest is
	 * kept.
	 */
	for (shift = 0; shift < 4; shift++) {
		size_t i;

		memset(text, 'a', shift);
		for (i = shift; i + 4 < 1000; i += 4)
			memcpy(text + i, "\xf0\x9f\x94\x91", 4);
		text[i] = '\0';
		(void)err_set(&e, ERR_INPUT, "%s", text);
		assert_true(text_printable(span_of(e.msg)));
		assert_null(strchr(e.msg, '?'));
		assert_in_range(strlen(e.msg), sizeof(e.msg) - 4, sizeof(e.msg) - 1);
	}
}

static void
hostile_messages(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, ERR_INPUT, "%s", "a\nb\x1b[2J\x7f");
	assert_string_equal(e.msg, "a?b?[2J?");
	(void)err_set(&e, ERR_INPUT, "%s", "caf\xc3\xa9");
	assert_string_equal(e.msg, "caf\xc3\xa9");
	(void)err_set(&e, ERR_INPUT, "%s", "caf\xe9");
	assert_string_equal(e.msg, "caf?");
	(void)err_set(&e, ERR_INPUT, "%s", "");
	assert_string_equal(e.msg, "");
	(void)err_wrap(&e, "\x80%c%s", '\n', "x");
	assert_string_equal(e.msg, "??x: ");
}

static void
names(void **state)
{
	unsigned i, k;

	(void)state;
	for (i = ERR_NONE + 1; i < ERR_CODES; i++) {
		assert_non_null(err_name((enum err_code)i));
		assert_int_equal(err_from_name(err_name((enum err_code)i)), i);
		for (k = 0; k < i; k++)
			assert_string_not_equal(
			    err_name((enum err_code)i), err_name((enum err_code)k));
	}
	assert_string_equal(err_name(ERR_NOT_FOUND), "not_found");
	assert_string_equal(err_name(ERR_CODES), "internal");
	assert_int_equal(err_from_name("nonsense"), ERR_INTERNAL);
	assert_int_equal(err_from_name(NULL), ERR_INTERNAL);
	/* A peer cannot report a failure that counts as none. */
	assert_int_equal(err_from_name("none"), ERR_INTERNAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(setting),
	    cmocka_unit_test(system_errors),
	    cmocka_unit_test(wrapping),
	    cmocka_unit_test(long_messages),
	    cmocka_unit_test(hostile_messages),
	    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
