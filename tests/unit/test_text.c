/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: what may be stored, echoed in a header or decoded from a query is told exactly from what
 * may not: UTF-8 by all the boundaries of RFC 3629, headers without a way to split them.  Guards
 * invariant 6.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
utf8(void **state)
{
	static const struct {
		const char *text;
		int utf8, printable;
	} cases[] = {
	    {"", 1, 1},
	    {"abc ~", 1, 1},
	    {"caf\xc3\xa9", 1, 1},
	    {"\xf0\x9f\x94\x91", 1, 1},
	    {"a\nb", 1, 0},
	    {"\x1f", 1, 0},
	    {" ", 1, 1},
	    {"\x7e", 1, 1},
	    {"\x7f", 1, 0},
	    {"\xc2\x80", 1, 0}, /* C1: 80 to 9f */
	    {"\xc2\x9f", 1, 0},
	    {"\xc2\xa0", 1, 1},
	    {"\xdf\xbf", 1, 1},
	    {"\xe0\xa0\x80", 1, 1},
	    {"\xed\x9f\xbf", 1, 1},
	    {"\xee\x80\x80", 1, 1},
	    {"\xef\xbf\xbf", 1, 1},
	    {"\xf0\x90\x80\x80", 1, 1},
	    {"\xf4\x8f\xbf\xbf", 1, 1},
	    {"\x80", 0, 0}, /* continuation without a start */
	    {"\xbf", 0, 0},
	    {"\xc0\x80", 0, 0}, /* overlong */
	    {"\xc1\xbf", 0, 0},
	    {"\xe0\x9f\xbf", 0, 0},
	    {"\xf0\x8f\xbf\xbf", 0, 0},
	    {"\xed\xa0\x80", 0, 0}, /* surrogates */
	    {"\xed\xbf\xbf", 0, 0},
	    {"\xf4\x90\x80\x80", 0, 0}, /* above U+10FFFF */
	    {"\xf5\x80\x80\x80", 0, 0},
	    {"\xf8\x88\x80\x80\x80", 0, 0},
	    {"\xff", 0, 0},
	    {"\xc3", 0, 0}, /* cut */
	    {"\xe2\x82", 0, 0},
	    {"\xf0\x9f\x94", 0, 0},
	    {"\xc3(", 0, 0},
	    {"\xe2(\x82", 0, 0},
	    {"\xe2\x82(", 0, 0},
	    {"a\xff"
	     "b",
		0, 0},
	};
	size_t i, n;
	char *copy;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		n = strlen(cases[i].text);
		copy = malloc(n + 1);
		assert_non_null(copy);
		copy = realloc(copy, n == 0 ? 1 : n);
		assert_non_null(copy);
		memcpy(copy, cases[i].text, n);
		assert_int_equal(text_utf8((struct span){copy, n}), cases[i].utf8);
		assert_int_equal(text_printable((struct span){copy, n}), cases[i].printable);
		free(copy);
	}
	assert_int_equal(text_printable((struct span){"a\0b", 3}), 0);
	assert_int_equal(text_utf8((struct span){NULL, 0}), 1);
}

/* One character after the other; what is malformed has no length. */
static void
utf8_next(void **state)
{
	static const unsigned char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91";
	uint32_t c;

	(void)state;
	assert_int_equal(text_utf8_next(text, 10, &c), 1);
	assert_int_equal(c, 'a');
	assert_int_equal(text_utf8_next(text + 1, 9, &c), 2);
	assert_int_equal(c, 0xe9);
	assert_int_equal(text_utf8_next(text + 3, 7, &c), 3);
	assert_int_equal(c, 0x20ac);
	assert_int_equal(text_utf8_next(text + 6, 4, &c), 4);
	assert_int_equal(c, 0x1f511);
	assert_int_equal(text_utf8_next(text + 6, 3, &c), 0);
	assert_int_equal(text_utf8_next(text + 7, 3, &c), 0);
}

static void
header_safe(void **state)
{
	int c, expected;
	char text[3] = "axb";

	(void)state;
	assert_int_equal(text_header_safe(span_of("")), 0);
	assert_int_equal(text_header_safe(span_of(" a")), 0);
	assert_int_equal(text_header_safe(span_of("a ")), 0);
	assert_int_equal(text_header_safe(span_of("a b")), 1);
	assert_int_equal(text_header_safe(span_of("a\r\nSet-Cookie: x")), 0);
	for (c = 0; c < 256; c++) {
		expected = c >= 0x20 && c <= 0x7e;
		text[1] = (char)c;
		assert_int_equal(text_header_safe((struct span){text, 3}), expected);
	}
}

/* ${s} byte by byte: has it a control character, is it of printable ASCII alone, of letters and
 * digits alone? */
static void
slowly(struct span s, int *control, int *printable, int *alnum)
{
	size_t i;

	*control = 0;
	*printable = *alnum = 1;
	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		*control |= c < 0x20 || c == 0x7f;
		*printable &= c >= 0x20 && c < 0x7f;
		*alnum &=
		    (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
	}
}

/* Each byte at each place of texts of all lengths around eight and sixteen, between neighbours that
 * could hide it; in memory of exactly that size. */
static void
eight_at_a_time(void **state)
{
	static const char neighbours[] = "xZ09 !~\x80\xa0\xff";
	int c, control, printable, alnum;
	size_t len, at, n;
	struct span s;
	char *mem;

	(void)state;
	assert_int_equal(text_has_control((struct span){NULL, 0}), 0);
	assert_int_equal(text_alnum((struct span){NULL, 0}), 1);
	for (len = 1; len <= 18; len++) {
		assert_non_null(mem = malloc(len));
		s = (struct span){mem, len};
		for (n = 0; n < sizeof(neighbours) - 1; n++)
			for (at = 0; at < len; at++)
				for (c = 0; c < 256; c++) {
					memset(mem, neighbours[n], len);
					mem[at] = (char)c;
					slowly(s, &control, &printable, &alnum);
					assert_int_equal(text_has_control(s), control);
					assert_int_equal(text_alnum(s), alnum);
					assert_int_equal(text_header_safe(s),
					    printable && mem[0] != ' ' && mem[len - 1] != ' ');
				}
		free(mem);
	}
}

static void
identifiers(void **state)
{
	static const char first[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char text[2];
	int c;

	(void)state;
	assert_int_equal(text_identifier(span_of(""), 8), 0);
	assert_int_equal(text_identifier(span_of("plan-1.2_x"), 10), 1);
	assert_int_equal(text_identifier(span_of("plan-1.2_x"), 9), 0);
	for (c = 1; c < 256; c++) {
		text[0] = (char)c;
		assert_int_equal(
		    text_identifier((struct span){text, 1}, 8), strchr(first, c) != NULL);
		text[0] = 'a';
		text[1] = (char)c;
		assert_int_equal(text_identifier((struct span){text, 2}, 8),
		    strchr(first, c) != NULL || strchr("_.-", c) != NULL);
	}
	assert_int_equal(text_identifier((struct span){"a\0", 2}, 8), 0);
}

static void
urldecoding(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} cases[] = {
	    {"", ""},
	    {"abc", "abc"},
	    {"a+b%20c", "a b c"},
	    {"%41%5a%7A%2B", "AZz+"},
	    {"%ff%80", "\xff\x80"},
	    {"%25%32", "%2"},
	    {"%", NULL},
	    {"%4", NULL},
	    {"a%", NULL},
	    {"%4g", NULL},
	    {"%g4", NULL},
	    {"%%41", NULL},
	    {"% 1", NULL},
	    {"%+1", NULL},
	    {"%\x10"
	     "1",
		NULL},
	};
	char out[16], *copy;
	size_t i, n, len;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		n = strlen(cases[i].in);
		copy = malloc(n == 0 ? 1 : n);
		assert_non_null(copy);
		memcpy(copy, cases[i].in, n);
		len = 99;
		assert_int_equal(text_urldecode((struct span){copy, n}, out, sizeof(out), &len),
		    cases[i].out == NULL ? -1 : 0);
		free(copy);
		assert_int_equal(len, cases[i].out == NULL ? 0 : strlen(cases[i].out));
		if (cases[i].out != NULL)
			assert_memory_equal(out, cases[i].out, len);
	}
	assert_int_equal(text_urldecode(span_of("a%00b"), out, sizeof(out), &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(out, "a\0b", 3);
	out[2] = '!';
	assert_int_equal(text_urldecode(span_of("%41%42"), out, 2, &len), 0);
	assert_int_equal(text_urldecode(span_of("%41%42C"), out, 2, &len), -1);
	assert_int_equal(len, 0);
	assert_int_equal(out[2], '!');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(utf8),
	    cmocka_unit_test(utf8_next),
	    cmocka_unit_test(header_safe),
	    cmocka_unit_test(eight_at_a_time),
	    cmocka_unit_test(identifiers),
	    cmocka_unit_test(urldecoding),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
