/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a line of a patch is told with its commit, its file and its number there; what stands in a
 * hunk is never taken for a header; and no text, however it lies, does more than name a wrong
 * place.
 *
 * The same text in pieces of any size must tell the same of every line: that is tried with texts
 * made of the lines that hurt.  Guards Invariant 6 for `apikey scan`.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apikey/scan.h"
#include "base/span.h"

#define PLACES_MAX 600
#define PLACE_MAX 5000

static const char patch[] = "commit 0123456789abcdef0123456789abcdef01234567 (HEAD -> main)\n"
			    "Author: n <e@x>\n"
			    "\n"
			    "    +++ b/message\n"
			    "    @@ -1,9 +1,9 @@\n"
			    "\n"
			    "diff --git a/src/x.c b/src/x.c\n"
			    "index 1..2 100644\n"
			    "--- a/src/x.c\n"
			    "+++ b/src/x.c\n"
			    "@@ -10,3 +20,4 @@ function\n"
			    " same\n"
			    "--- a/evil\n"
			    "+++ b/evil\n"
			    "+commit 99999\n"
			    "\n"
			    "\\ No newline at end of file\n"
			    "@@ -40 +50,0 @@\n"
			    "-gone\n"
			    "diff --git a/old b/old\n"
			    "deleted file mode 100644\n"
			    "--- a/old\n"
			    "+++ /dev/null\n"
			    "@@ -1,1 +0,0 @@\n"
			    "-last\n"
			    "diff --git \"a/t\\tb\" \"b/t\\tb\"\n"
			    "--- /dev/null\n"
			    "+++ \"b/t\\tb\"\n"
			    "@@ -0,0 +1 @@\n"
			    "+in a tab\n"
			    "diff --git a/with space b/with space\n"
			    "--- a/with space\t\n"
			    "+++ b/with space\t\n"
			    "@@ -1 +1 @@\n"
			    "-a\n"
			    "+b";

static const char *const want[] = {
    "0 : 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567:src/x.c 0",
    "0 0123456789abcdef0123456789abcdef01234567:src/x.c 0",
    "3 0123456789abcdef0123456789abcdef01234567:src/x.c 20",
    "2 0123456789abcdef0123456789abcdef01234567:src/x.c 11",
    "1 0123456789abcdef0123456789abcdef01234567:src/x.c 21",
    "1 0123456789abcdef0123456789abcdef01234567:src/x.c 22",
    "3 0123456789abcdef0123456789abcdef01234567:src/x.c 23",
    "0 0123456789abcdef0123456789abcdef01234567:src/x.c 0",
    "0 0123456789abcdef0123456789abcdef01234567:src/x.c 0",
    "2 0123456789abcdef0123456789abcdef01234567:src/x.c 40",
    "0 0123456789abcdef0123456789abcdef01234567:src/x.c 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567:old 0",
    "0 0123456789abcdef0123456789abcdef01234567:old 0",
    "2 0123456789abcdef0123456789abcdef01234567:old 1",
    "0 0123456789abcdef0123456789abcdef01234567:old 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567:t\\tb 0",
    "1 0123456789abcdef0123456789abcdef01234567:t\\tb 1",
    "0 0123456789abcdef0123456789abcdef01234567:t\\tb 0",
    "0 0123456789abcdef0123456789abcdef01234567: 0",
    "0 0123456789abcdef0123456789abcdef01234567:with space 0",
    "0 0123456789abcdef0123456789abcdef01234567:with space 0",
    "2 0123456789abcdef0123456789abcdef01234567:with space 1",
    "1 0123456789abcdef0123456789abcdef01234567:with space 1",
};
#define NWANT (sizeof(want) / sizeof(want[0]))

static char places[2][PLACES_MAX][PLACE_MAX];

static uint64_t state;

static uint64_t
rnd(uint64_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

/*
 * Where each line is, asked for at its first byte, with the text in pieces of ${piece} bytes.
 * Header lines are told as the line before left things, when they are not whole yet: so it is asked
 * before the end of the line is fed.  Returns the number of lines.
 */
static size_t
walk(const char *text, size_t len, size_t piece, char out[PLACES_MAX][PLACE_MAX])
{
	struct scan_patch *p = scan_patch_new(text, len);
	size_t n = 0, at = 0;

	assert_non_null(p);
	while (at < len) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t end = newline == NULL ? len : (size_t)(newline - text);
		struct scan_origin o;

		for (size_t from = at; from < end || from == at; from += piece) {
			size_t size = end - from < piece ? end - from : piece;

			/* An empty line is its newline. */
			size = size == 0 ? 1 : size;
			/* A copy, so that a sanitizer sees what is read behind it. */
			char *copy = malloc(size);
			assert_non_null(copy);
			memcpy(copy, text + from, size);
			scan_patch_feed(p, copy, size);
			scan_patch_step(p, from);
			o = scan_patch_origin(p);
			if (from == at) {
				assert_true(n < PLACES_MAX);
				(void)snprintf(out[n++], PLACE_MAX, "%d %s:%s %llu", (int)o.kind,
				    o.commit, o.path, (unsigned long long)o.line);
			}
			scan_patch_rest(p);
			free(copy);
			if (size > end - from)
				end++;
		}
		if (newline != NULL && end == (size_t)(newline - text)) {
			scan_patch_feed(p, "\n", 1);
			scan_patch_rest(p);
			end++;
		}
		at = end;
	}
	scan_patch_free(&p);
	assert_null(p);
	return n;
}

static void
lines_of_a_patch(void **unused)
{
	static const size_t pieces[] = {1, 2, 7, 100000};

	(void)unused;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		assert_int_equal(walk(patch, sizeof(patch) - 1, pieces[i], places[0]), NWANT);
		for (size_t line = 0; line < NWANT; line++)
			assert_string_equal(places[0][line], want[line]);
	}
}

static void
only_patches_are_patches(void **unused)
{
	static const char *const none[] = {
	    "", "c", "commit", "committed", "diff", "diff --git", "--- a/x\n", " commit x"};

	(void)unused;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_null(scan_patch_new(none[i], strlen(none[i])));
}

/* Lies, cuts and lengths: whatever is told, is told the same of any pieces. */
static void
lies(void **unused)
{
	static const char *const lines[] = {"commit ", "commit 0123456", "commit 0123456 x",
	    "commit zzzz", "diff --git a/x b/x", "--- ", "--- a/", "--- \"", "+++ b/\t", "+++ x",
	    "+++ \"b/q\"", "@@", "@@ -", "@@ -1", "@@ -1,", "@@ -1 +", "@@ -1 +1",
	    "@@ -2,2 +2,2 @@",
	    "@@ -99999999999999999999999,99999999999999999999 +1,18446744073709551615 @@",
	    "@@ -1,3 +0,0 @@", "@@@ -1 -1 +1 @@@", "+", "-", " ", "", "\\", "+added", "-removed",
	    " context", "+++ b/in a hunk", "--- a/in a hunk", "junk"};
	int rounds = getenv("LONG") != NULL && getenv("LONG")[0] != '\0' ? 20000 : 300;
	static char text[100000];

	(void)unused;
	state = UINT64_C(0x9e3779b97f4a7c15);
	for (int round = 0; round < rounds; round++) {
		size_t len = (size_t)snprintf(text, sizeof(text), "commit 0123456\n"), n;

		for (size_t i = rnd(60); i > 0; i--) {
			const char *line = lines[rnd(sizeof(lines) / sizeof(lines[0]))];

			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", line);
			if (rnd(40) == 0) {
				size_t more = 4000 + rnd(400);

				memset(text + len, 'x', more);
				len += more;
			}
			text[len++] = '\n';
		}
		n = walk(text, len, 1 + rnd(20), places[0]);
		assert_int_equal(walk(text, len, 100000, places[1]), n);
		for (size_t i = 0; i < n; i++)
			assert_string_equal(places[0][i], places[1][i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_of_a_patch),
	    cmocka_unit_test(only_patches_are_patches),
	    cmocka_unit_test(lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
