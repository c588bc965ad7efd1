/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: only what every JSON reader understands alike is parsed, members are typed and bounded,
 * what is printed parses again, and no copy of a text stays in memory.  Guards invariant 4 (a key
 * passes through JSON when it is made) and invariant 6.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Parsed from a block of exactly its length. */
static cJSON *
parse_bytes(const char *text, size_t n, struct err *e)
{
	char *copy = malloc(n == 0 ? 1 : n);
	cJSON *j;

	assert_non_null(copy);
	memcpy(copy, text, n);
	*e = (struct err){0};
	j = json_parse_object((struct span){copy, n}, e);
	free(copy);
	if (j == NULL)
		assert_int_equal(e->code, ERR_INPUT);
	else
		assert_int_equal(e->code, ERR_NONE);
	return j;
}

static cJSON *
parse(const char *text)
{
	struct err e;
	cJSON *j = parse_bytes(text, strlen(text), &e);

	if (j == NULL)
		print_message("%s: %s\n", text, e.msg);
	assert_non_null(j);
	return j;
}

static void
accepted(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"{}", "{}"},
	    {" \t\r\n{ \"a\" : 1 , \"b\":[true,false,null] }\n ",
		"{\"a\":1,\"b\":[true,false,null]}"},
	    {"{\"a\":-0.5,\"b\":1e3,\"c\":10,\"d\":1E-1,\"e\":0,\"f\":1.5e+2}",
		"{\"a\":-0.5,\"b\":1000,\"c\":10,\"d\":0.1,\"e\":0,\"f\":150}"},
	    {"{\"a\":\"\\u0041\\u00e9\\ud83d\\udd11\\n\\\"\\\\\\/\"}",
		"{\"a\":\"A\xc3\xa9\xf0\x9f\x94\x91\\n\\\"\\\\/\"}"},
	    {"{\"a\":\"\\\\u0000\"}", "{\"a\":\"\\\\u0000\"}"},
	    {"{\"a\":\"[{\",\"A\":\"}]\"}", "{\"a\":\"[{\",\"A\":\"}]\"}"},
	    {"{\"\":\"\"}", "{\"\":\"\"}"},
	    {"{\"a\":{\"x\":1},\"b\":{\"x\":1},\"x\":1}",
		"{\"a\":{\"x\":1},\"b\":{\"x\":1},\"x\":1}"},
	};
	char out[200];
	size_t i, n;
	cJSON *j;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		j = parse(cases[i].in);
		n = json_print(j, out, sizeof(out));
		assert_string_equal(out, cases[i].out);
		assert_int_equal(n, strlen(out));
		cJSON_Delete(j);
	}
}

static void
refused(void **state)
{
	static const char *const bad[] = {/* not one object */
	    "", " ", "1", "\"a\"", "null", "[]", "[{}]", "{}{}", "{} x", "{},", "{}}", "{", "}",
	    "\xef\xbb\xbf{}",
	    /* structure */
	    "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{\"a\":}", "{\"a\"}", "{a:1}", "{'a':1}",
	    "{\"a\":1]", "{\"a\":[1,]}", "{\"a\":[1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}",
	    "{\"a\":tru}", "{\"a\":TRUE}", "{\"a\":nullx}", "{\"a\":undefined}", "{\"a\":1}/**/",
	    "{,}", "{\"a\":1;}",
	    /* names twice, also deep down, also when spelled differently */
	    "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3,\"a\":4}", "{\"x\":{\"a\":1,\"a\":2}}",
	    "{\"x\":[1,[{\"a\":1,\"\\u0061\":2}]]}",
	    /* strings */
	    "{\"a\":\"\\u0000\"}", "{\"a\\u0000\":1}", "{\"a\":\"\\\\\\u0000\"}",
	    "{\"a\":\"\\u000\"}", "{\"a\":\"\\uZZZZ\"}", "{\"a\":\"\\u00g0\"}", "{\"a\":\"\\u",
	    "{\"a\":\"\\", "{\"a\":\"\\\"", "{\"a\":\"\\x41\"}", "{\"a\":\"\\ud83d\"}",
	    "{\"a\":\"\\udd11\"}", "{\"a\":\"\\ud83d\\u0041\"}", "{\"a\":\"b", "{\"a\":\"b\nc\"}",
	    "{\"a\":\"b\tc\"}", "{\"a\":\"\x1f\"}", "{\"a\nb\":1}", "{\"a\":\"\xff\"}",
	    "{\"a\":\"\xc3\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xc0\xaf\":1}",
	    /* numbers */
	    "{\"a\":01}", "{\"a\":-}", "{\"a\":-01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":-.5}",
	    "{\"a\":+1}", "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":0x10}", "{\"a\":NaN}",
	    "{\"a\":Infinity}", "{\"a\":1.2.3}", "{\"a\":1-2}", "{\"a\":--1}", "{\"a\":1 2}",
	    /* characters between the tokens */
	    "{\"a\":\v1}", "{\"a\":1}\f", "{\x01}", "{}\x7f",
	    "{\"a\":\xc2\xa0"
	    "1}"};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		if (parse_bytes(bad[i], strlen(bad[i]), &e) != NULL)
			fail_msg("parsed: %s", bad[i]);
		assert_memory_equal(e.msg, "JSON: ", 6);
	}
	assert_null(parse_bytes("{}\0", 3, &e));
	assert_null(parse_bytes("{\"a\":\"b\0c\"}", 11, &e));
	assert_null(json_parse_object((struct span){NULL, 0}, NULL));
}

static void
errors_quote_no_value(void **state)
{
	static const char *const bad[] = {"{\"key\":\"ak_live_secret\"",
	    "{\"key\":\"ak_live_secret\" x}",
	    "{\"key\":\"ak_live_secret\",\"key\":\"ak_live_secret\"}",
	    "{\"key\":\"ak_live_secret\n\"}"};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		assert_null(parse_bytes(bad[i], strlen(bad[i]), &e));
		assert_null(strstr(e.msg, "secret"));
	}
	assert_null(parse_bytes(bad[2], strlen(bad[2]), &e));
	assert_non_null(strstr(e.msg, "\"key\""));
}

/* "{"a":[[...]]}" with ${levels} levels in all. */
static cJSON *
nested(size_t levels, struct err *e)
{
	char *text = malloc(2 * levels + 8);
	size_t n = 0, i;
	cJSON *j;

	assert_non_null(text);
	memcpy(text, "{\"a\":", 5);
	n = 5;
	for (i = 1; i < levels; i++)
		text[n++] = '[';
	if (levels == 1)
		text[n++] = '1';
	for (i = 1; i < levels; i++)
		text[n++] = ']';
	text[n++] = '}';
	j = parse_bytes(text, n, e);
	free(text);
	return j;
}

static void
depth(void **state)
{
	struct err e;
	size_t levels;
	cJSON *j;

	(void)state;
	for (levels = 1; levels <= 16; levels++) {
		j = nested(levels, &e);
		assert_non_null(j);
		cJSON_Delete(j);
	}
	assert_null(nested(17, &e));
	assert_non_null(strstr(e.msg, "16 levels"));
	assert_null(nested(1000000, &e));
}

/*
 * Names that are all different are told apart in a moment, however many: quadratic would take
 * minutes.
 */
static void
many_members(void **state)
{
	size_t n = 300000, len = 1, i;
	char *text = malloc(n * 14 + 2);
	int64_t before_us = clock_mono_us();
	struct err e;
	cJSON *j;

	(void)state;
	assert_non_null(text);
	text[0] = '{';
	for (i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "\"n%07zu\":0%c", i, i + 1 < n ? ',' : '}');
	j = parse_bytes(text, len, &e);
	assert_non_null(j);
	cJSON_Delete(j);
	assert_true(clock_mono_us() - before_us < 20 * CLOCK_SECOND);
	free(text);
}

static void
members(void **state)
{
	cJSON *j = parse(
	    "{\"s\":\"x\",\"i\":7,\"t\":true,\"f\":false,\"a\":[1],\"o\":{\"k\":1},\"n\":null}");
	struct err e = {0};

	(void)state;
	assert_string_equal(json_str(j, "s", &e), "x");
	assert_int_equal(json_int(j, "i", 0, 0, 10, &e), 7);
	assert_int_equal(json_bool(j, "t", 0, &e), 1);
	assert_int_equal(json_bool(j, "f", 1, &e), 0);
	assert_int_equal(cJSON_GetArraySize(json_array(j, "a", &e)), 1);
	assert_int_equal(json_int(json_object(j, "o", &e), "k", 0, 1, 1, &e), 1);

	/* Absent, null, or spelled otherwise. */
	assert_null(json_str(j, "S", &e));
	assert_null(json_str(j, "n", &e));
	assert_int_equal(json_int(j, "I", -5, 0, 10, &e), -5);
	assert_int_equal(json_int(j, "n", 5, 0, 10, &e), 5);
	assert_int_equal(json_bool(j, "x", 1, &e), 1);
	assert_int_equal(json_bool(j, "n", 1, &e), 1);
	assert_null(json_array(j, "x", &e));
	assert_null(json_object(j, "n", &e));
	assert_null(json_str(NULL, "s", &e));
	assert_int_equal(e.code, ERR_NONE);
	cJSON_Delete(j);
}

static void
wrong_types(void **state)
{
	cJSON *j = parse("{\"s\":\"7\",\"i\":7,\"t\":true,\"a\":[],\"o\":{}}");
	struct err e;

	(void)state;
	e = (struct err){0};
	assert_null(json_str(j, "i", &e));
	assert_int_equal(e.code, ERR_INPUT);
	assert_string_equal(e.msg, "\"i\" must be a string");
	/* The first error stays. */
	assert_int_equal(json_int(j, "s", 3, 0, 10, &e), 3);
	assert_int_equal(json_bool(j, "s", 1, &e), 1);
	assert_string_equal(e.msg, "\"i\" must be a string");

	e = (struct err){0};
	assert_int_equal(json_int(j, "s", 3, 0, 10, &e), 3);
	assert_string_equal(e.msg, "\"s\" must be a whole number from 0 to 10");
	e = (struct err){0};
	assert_int_equal(json_bool(j, "i", 1, &e), 1);
	assert_string_equal(e.msg, "\"i\" must be true or false");
	e = (struct err){0};
	assert_null(json_array(j, "o", &e));
	assert_string_equal(e.msg, "\"o\" must be an array");
	e = (struct err){0};
	assert_null(json_object(j, "a", &e));
	assert_string_equal(e.msg, "\"a\" must be an object");
	e = (struct err){0};
	assert_int_equal(json_int(j, "t", 3, 0, 10, &e), 3);
	assert_int_equal(e.code, ERR_INPUT);

	assert_null(json_str(j, "i", NULL));
	assert_int_equal(json_int(j, "s", 3, 0, 10, NULL), 3);
	assert_int_equal(json_bool(j, "s", 1, NULL), 1);
	cJSON_Delete(j);
}

static void
integers(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max, n;
		int ok;
	} cases[] = {
	    {"0", 0, 0, 0, 1},
	    {"-0", 0, 0, 0, 1},
	    {"10", 0, 10, 10, 1},
	    {"11", 0, 10, 0, 0},
	    {"-1", 0, 10, 0, 0},
	    {"-1", -1, 10, -1, 1},
	    {"1e3", 0, 1000, 1000, 1},
	    {"1.0", 0, 10, 1, 1},
	    {"1.5", 0, 10, 0, 0},
	    {"0.9999999", 0, 10, 0, 0},
	    {"9007199254740992", INT64_MIN, INT64_MAX, INT64_C(9007199254740992), 1},
	    {"-9007199254740992", INT64_MIN, INT64_MAX, INT64_C(-9007199254740992), 1},
	    {"9007199254740994", INT64_MIN, INT64_MAX, 0, 0},
	    {"9223372036854775808", INT64_MIN, INT64_MAX, 0, 0},
	    {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, 0},
	    {"1e400", INT64_MIN, INT64_MAX, 0, 0},
	    {"-1e400", INT64_MIN, INT64_MAX, 0, 0},
	};
	char text[64];
	struct err e;
	size_t i;
	cJSON *j;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "{\"n\":%s}", cases[i].text);
		j = parse(text);
		e = (struct err){0};
		assert_true(json_int(j, "n", 77, cases[i].min, cases[i].max, &e) ==
			    (cases[i].ok ? cases[i].n : 77));
		assert_int_equal(e.code, cases[i].ok ? ERR_NONE : ERR_INPUT);
		cJSON_Delete(j);
	}
}

static void
only_known_members(void **state)
{
	static const char *const known[] = {"a", "b", NULL};
	static const char *const none[] = {NULL};
	cJSON *j = parse("{\"b\":1,\"a\":2}"), *more = parse("{\"a\":1,\"A\":2}"),
	      *empty = parse("{}");
	struct err e = {0};

	(void)state;
	assert_int_equal(json_only(j, known, &e), 0);
	assert_int_equal(json_only(empty, none, &e), 0);
	assert_int_equal(e.code, ERR_NONE);
	assert_int_equal(json_only(more, known, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.msg, "\"A\""));
	cJSON_Delete(j);
	cJSON_Delete(more);
	cJSON_Delete(empty);
}

static void
printing(void **state)
{
	cJSON *j = parse("{\"a\":\"two words\",\"b\":[1,2]}");
	const char *expected = "{\"a\":\"two words\",\"b\":[1,2]}";
	size_t cap, fits = 0, i;
	char out[64];

	(void)state;
	for (cap = 0; cap < sizeof(out); cap++) {
		memset(out, '!', sizeof(out));
		if (json_print(j, out, cap) > 0) {
			assert_string_equal(out, expected);
			fits++;
		} else {
			for (i = 0; i < cap; i++)
				assert_int_equal(out[i], '\0');
		}
		for (i = cap; i < sizeof(out); i++)
			assert_int_equal(out[i], '!');
		assert_false(cap <= strlen(expected) && fits > 0);
	}
	assert_true(fits > 0);
	assert_int_equal(json_print(j, out, sizeof(out)), strlen(expected));
	cJSON_Delete(j);
}

static void
adding(void **state)
{
	char out[200];
	cJSON *j = cJSON_CreateObject(), *again;
	struct err e = {0};

	(void)state;
	json_add_time(j, "never", 0);
	json_add_time(j, "at", INT64_C(1795304311000000));
	json_add_span(j, "s", (struct span){"caf\xc3\xa9!!", 5});
	json_add_span(j, "empty", (struct span){NULL, 0});
	json_add_span(j, "nul", (struct span){"a\0b", 3});
	json_add_span(j, "latin1", span_of("caf\xe9\n"));
	assert_true(json_print(j, out, sizeof(out)) > 0);
	assert_string_equal(out,
	    "{\"never\":null,\"at\":\"2026-11-21T23:38:31Z\",\"s\":\"caf\xc3\xa9\",\"empty\":\"\","
	    "\"nul\":\"a?b\",\"latin1\":\"caf?\\n\"}");
	again = json_parse_object(span_of(out), &e);
	assert_non_null(again);
	cJSON_Delete(again);
	cJSON_Delete(j);
}

/* How often the text whose bytes are the complement of ${hidden} stands in writable memory. */
static size_t
count_in_memory(const unsigned char *hidden, size_t n)
{
	static unsigned char chunk[65536];
	unsigned long from, to, at;
	char line[512], mode[8];
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	size_t found = 0, i, k;
	ssize_t got;

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' ||
		    mode[1] != 'w' || to - from > (256UL << 20))
			continue;
		for (at = from; at < to; at += sizeof(chunk) - n) {
			/* What was read last must not be found in the buffer itself. */
			memset(chunk, 0, sizeof(chunk));
			got = pread(mem, chunk, sizeof(chunk) < to - at ? sizeof(chunk) : to - at,
			    (off_t)at);
			for (i = 0; got > 0 && i + n <= (size_t)got; i++) {
				for (k = 0; k < n && (chunk[i + k] ^ 0xff) == hidden[k]; k++)
					;
				found += k == n;
			}
		}
	}
	memset(chunk, 0, sizeof(chunk));
	fclose(maps);
	close(mem);
	return found;
}

static void
leaves_no_copies(void **state)
{
	/*
	 * A freed block's first bytes are overwritten by any allocator: the secret stands behind
	 * them.
	 */
	enum { SECRET = 24, BEFORE = 40 };
	unsigned char hidden[SECRET];
	char text[128] = "{\"key\":\"", out[128], *value = text + strlen(text);
	cJSON *j, *copy;
	struct err e;
	size_t i;

	(void)state;
	/* The secret is only ever spelled out in the memory that is under test. */
	for (i = 0; i < SECRET; i++)
		hidden[i] = (unsigned char)~('a' + (i * 7) % 26);
	memset(value, '.', BEFORE);
	for (i = 0; i < SECRET; i++)
		value[BEFORE + i] = (char)(unsigned char)~hidden[i];
	memcpy(value + BEFORE + SECRET, "\"}", 3);

	j = json_parse_object(span_of(text), &e);
	assert_non_null(j);
	copy = cJSON_CreateObject();
	json_add_span(copy, "key", (struct span){value, BEFORE + SECRET});
	assert_true(json_print(copy, out, sizeof(out)) > 0);
	assert_int_equal(json_print(copy, out, BEFORE + SECRET + 10), 0);
	assert_true(json_print(copy, out, sizeof(out)) > 0);
	secret_wipe(text, sizeof(text));
	assert_int_equal(count_in_memory(hidden, SECRET), 3);
	cJSON_Delete(j);
	cJSON_Delete(copy);
	assert_int_equal(count_in_memory(hidden, SECRET), 1);
	secret_wipe(out, sizeof(out));
	assert_int_equal(count_in_memory(hidden, SECRET), 0);
}

static int
set_up(void **state)
{
	(void)state;
	json_init();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(errors_quote_no_value),
	    cmocka_unit_test(depth),
	    cmocka_unit_test(many_members),
	    cmocka_unit_test(members),
	    cmocka_unit_test(wrong_types),
	    cmocka_unit_test(integers),
	    cmocka_unit_test(only_known_members),
	    cmocka_unit_test(printing),
	    cmocka_unit_test(adding),
	    cmocka_unit_test(leaves_no_copies),
	};

	return cmocka_run_group_tests_name("json", tests, set_up, NULL);
}
