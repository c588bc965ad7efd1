/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: columns line up by what a terminal shows, not by bytes; nothing is cut unless the output is
 * a terminal that is too narrow; no text from the store reaches a terminal as a control sequence;
 * colours only where they are allowed.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/table.h"
#include "apikey/term.h"

static const struct table_column columns[] = {{"ID", 0, 0}, {"OWNER", 0, 4}, {"N", 1, 0}};
static const struct term pipe_term = {.colour = 0, .utf8 = 1, .columns = 0};

/* Rows of three texts, NULL-terminated, as one page. */
static void
expect(const struct term *term, const char *const *texts, const char *output)
{
	char *got = NULL;
	size_t len = 0, i;
	FILE *out = open_memstream(&got, &len);
	struct table *t = table_new(out, term, columns, 3);

	assert_non_null(t);
	for (i = 0; texts[i] != NULL; i++)
		table_add(t, texts[i], TERM_PLAIN);
	assert_int_equal(table_flush(t), 0);
	table_free(&t);
	assert_null(t);
	fclose(out);
	assert_string_equal(got, output);
	free(got);
}

static void
test_alignment(void **state)
{
	static const char *const plain[] = {"a", "acme", "1", "bcd", "x", "100", NULL};
	static const char *const utf8[] = {"a", "M\303\274ller", "1", "b",
	    "\345\274\240\344\270\211", "2", "c", "e\314\201", "3", NULL};
	static const char *const none[] = {NULL};
	static const char *const gaps[] = {"a", "", "", "", "b", "", NULL};

	(void)state;
	expect(&pipe_term, plain,
	    "ID   OWNER    N\n"
	    "a    acme     1\n"
	    "bcd  x      100\n");
	expect(&pipe_term, utf8,
	    "ID  OWNER   N\n"
	    "a   M\303\274ller  1\n"
	    "b   \345\274\240\344\270\211    2\n"
	    "c   e\314\201       3\n");
	expect(&pipe_term, none, "");
	expect(&pipe_term, gaps,
	    "ID  OWNER  N\n"
	    "a\n"
	    "    b\n");
}

static void
test_hostile_text(void **state)
{
	/* An escape sequence, a C1 control, an override of direction, broken UTF-8. */
	static const char *const texts[] = {"\033[31m", "\302\233x", "1", "\342\200\256abc",
	    "\377\303", "2", "a\nb", "\360\237\230", "3", NULL};

	(void)state;
	expect(&pipe_term, texts,
	    "ID     OWNER  N\n"
	    "?[31m  ?x     1\n"
	    "?abc   ??     2\n"
	    "a?b    ???    3\n");
}

static void
test_narrow_terminal(void **state)
{
	static const char *const texts[] = {"key_1", "a-rather-long-owner", "1", NULL};
	static const char *const wide[] = {
	    "key_1", "\345\274\240\345\274\240\345\274\240\345\274\240", "1", NULL};
	static const struct term narrow = {.utf8 = 1, .columns = 20};
	static const struct term ascii = {.utf8 = 0, .columns = 20};
	static const struct term tiny = {.utf8 = 1, .columns = 3};
	static const struct term seventeen = {.utf8 = 1, .columns = 17};

	(void)state;
	expect(&pipe_term, texts,
	    "ID     OWNER                N\n"
	    "key_1  a-rather-long-owner  1\n");
	expect(&narrow, texts,
	    "ID     OWNER       N\n"
	    "key_1  a-rather-\342\200\246  1\n");
	expect(&ascii, texts,
	    "ID     OWNER       N\n"
	    "key_1  a-rather-~  1\n");
	/* Columns have a least width, and those of min 0 are never cut. */
	expect(&tiny, texts,
	    "ID     OWN\342\200\246  N\n"
	    "key_1  a-r\342\200\246  1\n");
	/* A character of two columns is not halved: there are 7 columns for 8. */
	expect(&seventeen, wide,
	    "ID     OWNER    N\n"
	    "key_1  \345\274\240\345\274\240\345\274\240\342\200\246  1\n");
}

static void
test_colour(void **state)
{
	static const struct table_column one[] = {{NULL, 0, 0}, {NULL, 0, 0}};
	static const struct term coloured = {.colour = 1, .utf8 = 1, .columns = 80};
	const struct term *terms[] = {&coloured, &pipe_term};
	static const char *const outputs[] = {"\033[32mok\033[0m  plain\n", "ok  plain\n"};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		char *got = NULL;
		size_t len = 0;
		FILE *out = open_memstream(&got, &len);
		struct table *t = table_new(out, terms[i], one, 2);

		table_add(t, "ok", TERM_GREEN);
		table_add(t, "plain", TERM_PLAIN);
		assert_int_equal(table_flush(t), 0);
		table_free(&t);
		fclose(out);
		assert_string_equal(got, outputs[i]);
		free(got);
	}
}

static void
test_pages(void **state)
{
	char *got = NULL;
	size_t len = 0;
	int i;
	FILE *out = open_memstream(&got, &len);
	struct table *t = table_new(out, &pipe_term, columns, 3);

	(void)state;
	table_add(t, "wide id", TERM_PLAIN);
	table_add(t, "o", TERM_PLAIN);
	table_add(t, "1", TERM_PLAIN);
	assert_int_equal(table_flush(t), 0);
	table_add(t, "b", TERM_PLAIN);
	table_add(t, NULL, TERM_PLAIN);
	table_add(t, "2", TERM_PLAIN);
	assert_int_equal(table_flush(t), 0);
	assert_int_equal(table_flush(t), 0);
	/* A row that is not full is a mistake, and not printed. */
	table_add(t, "c", TERM_PLAIN);
	assert_int_equal(table_flush(t), -1);
	for (i = 0; i < 300; i++)
		table_add(t, "x", TERM_PLAIN);
	assert_int_equal(table_flush(t), 0);
	table_free(&t);
	table_free(&t);
	fclose(out);
	assert_memory_equal(got,
	    "ID       OWNER  N\n"
	    "wide id  o      1\n"
	    "b               2\n"
	    "x        x      x\n",
	    4 * 18);
	assert_int_equal(len, 103 * 18);
	free(got);
}

static void
test_term(void **state)
{
	struct term t;
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	term_init(&t, fileno(file));
	fclose(file);
	assert_int_equal(t.columns, 0);
	assert_int_equal(t.colour, 0);
	assert_string_equal(term_on(&t, TERM_RED), "");
	assert_string_equal(term_off(&t, TERM_RED), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_alignment),
	    cmocka_unit_test(test_hostile_text),
	    cmocka_unit_test(test_narrow_terminal),
	    cmocka_unit_test(test_colour),
	    cmocka_unit_test(test_pages),
	    cmocka_unit_test(test_term),
	};

	/* Widths of characters are the locale's; C.UTF-8 is in every Debian. */
	if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
