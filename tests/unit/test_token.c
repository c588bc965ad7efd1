/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a key is what DESIGN.md says, character for character, and nothing else is one.
 *
 * Known answers were computed with another implementation of CRC-32 (Python's zlib), so that a
 * shared mistake in checksum, alphabet or order of digits cannot hide.  The property test makes
 * 10,000 keys and changes every position of each.  Guards the first half of Invariant 6 (junk is
 * told from keys before anything is asked) and the key text's part of Invariant 4 (nothing stays in
 * the output after a failure).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/random.h"
#include "core/token.h"

#define KEYS 10000

/* xorshift64*: the same keys in every run, so that a failure can be looked at again. */
static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t
next_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

static int
seeded_source(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(next_random() >> 56);
	return 0;
}

/* Writes before it fails, as a device that breaks half way would. */
static int
failing_source(void *p, size_t n)
{
	memset(p, 7, n);
	return -1;
}

static int
seed(void **unused)
{
	(void)unused;
	random_set_source(seeded_source);
	return 0;
}

static int
unseed(void **unused)
{
	(void)unused;
	random_set_source(NULL);
	return 0;
}

static int
valid(const char *key, const char *prefix)
{
	return token_valid(span_of(key), span_of(prefix));
}

static void
known_answers(void **unused)
{
	(void)unused;
	assert_true(valid("ak_live_000000000000000000000000000000004YzvZp", "ak"));
	assert_true(valid("ak_test_3kTMabcdefghijklmnopqrstuvwxyzAB2aUQik", "ak"));
	assert_true(valid("a0_live_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123452qvfbo", "a0"));
	/* A small CRC is padded with zeros. */
	assert_true(valid("ak_live_8aspm4G7VmSUfOoD6V1vrORcmn0iSHkp00Nx2S", "ak"));

	assert_false(valid("ak_live_000000000000000000000000000000004YzvZq", "ak"));
	assert_false(valid("ak_live_000000000000000000000000000000004YzvZp", "a0"));
	assert_false(valid("ak_live_000000000000000000000000000000004YzvZp", "a"));
	assert_false(valid("ak_live_000000000000000000000000000000004YzvZp", ""));
	assert_false(valid("", "ak"));
}

static void
form(void **unused)
{
	static const char *const bad[] = {
	    "",
	    "ak",
	    "ak_live_",
	    "ak_live_000000000000000000000000000000004YzvZ",
	    "ak_live_000000000000000000000000000000004YzvZpp",
	    "AK_live_000000000000000000000000000000004YzvZp",
	    "ak-live_000000000000000000000000000000004YzvZp",
	    "ak_live-000000000000000000000000000000004YzvZp",
	    "ak_prod_000000000000000000000000000000004YzvZp",
	    "ak_LIVE_000000000000000000000000000000004YzvZp",
	    "ak_live_0000000000000000000000000000000-4YzvZp",
	    "ak_live_0000000000000000000000000000000\xc3"
	    "4YzvZp",
	    " k_live_000000000000000000000000000000004YzvZp",
	};
	const char nul[] = "ak_live_0000000000000000\0000000000000004YzvZp";

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(token_has_form(span_of(bad[i]), span_of("ak")));
	assert_false(token_has_form((struct span){nul, sizeof(nul) - 1}, span_of("ak")));
	/* The form says nothing of the checksum. */
	assert_true(token_has_form(
	    span_of("ak_test_000000000000000000000000000000004YzvZp"), span_of("ak")));
	assert_false(valid("ak_test_000000000000000000000000000000004YzvZp", "ak"));
}

static void
any_changed_character_is_refused(void **unused)
{
	struct span prefix = span_of("ak");
	char key[TOKEN_MAX + 1];
	struct err e;

	(void)unused;
	for (int i = 0; i < KEYS; i++) {
		enum token_env env = i % 2 == 0 ? TOKEN_LIVE : TOKEN_TEST;
		struct span s;

		assert_int_equal(token_generate("ak", env, key, &e), 0);
		s = span_of(key);
		assert_int_equal(s.len, 2 + 6 + TOKEN_RANDOM + TOKEN_CHECK);
		assert_true(token_valid(s, prefix));
		for (size_t at = 0; at < s.len; at++) {
			char was = key[at];

			do
				key[at] = (char)(next_random() >> 56);
			while (key[at] == was);
			assert_false(token_valid(s, prefix));
			key[at] = was;
		}
		assert_true(token_valid(s, prefix));
	}
}

static void
every_other_byte_at_every_place_is_refused(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct span s, prefix = span_of("k9");
	struct err e;

	(void)unused;
	assert_int_equal(token_generate("k9", TOKEN_LIVE, key, &e), 0);
	s = span_of(key);
	for (size_t at = 0; at < s.len; at++) {
		char was = key[at];

		for (int c = 0; c < 256; c++) {
			key[at] = (char)c;
			assert_int_equal(token_valid(s, prefix), (char)c == was);
		}
		key[at] = was;
	}
}

static void
no_two_alike(void **unused)
{
	static char ids[1000][TOKEN_ID_LEN + 1], keys[1000][TOKEN_MAX + 1];
	struct err e;

	(void)unused;
	random_set_source(NULL); /* the system's, for once */
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(token_id_generate(ids[i], &e), 0);
		assert_int_equal(token_generate("ak", TOKEN_LIVE, keys[i], &e), 0);
		assert_true(token_id_ok(span_of(ids[i])));
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(ids[i], ids[j]);
			assert_string_not_equal(keys[i], keys[j]);
		}
	}
}

static void
longest_prefix(void **unused)
{
	char key[TOKEN_MAX + 1], start[TOKEN_START_MAX + 1];
	struct err e;

	(void)unused;
	assert_int_equal(token_generate("abcdefghijklmno9", TOKEN_TEST, key, &e), 0);
	assert_int_equal(strlen(key), TOKEN_MAX);
	assert_true(valid(key, "abcdefghijklmno9"));
	token_start(span_of(key), start);
	assert_int_equal(strlen(start), TOKEN_START_MAX);
	assert_memory_equal(start, key, TOKEN_START_MAX);
}

static void
prefixes(void **unused)
{
	static const char *const good[] = {"a", "ak", "a1", "z0z", "abcdefghijklmnop"};
	static const char *const bad[] = {
	    "", "1a", "Ak", "aK", "a_b", "a-b", "a b", "abcdefghijklmnopq", "\xc3\xa4"};
	char key[TOKEN_MAX + 1];
	struct err e;

	(void)unused;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(token_prefix_ok(span_of(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(token_prefix_ok(span_of(bad[i])));
		memset(key, 'x', sizeof(key));
		assert_int_equal(token_generate(bad[i], TOKEN_LIVE, key, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		assert_string_equal(key, "");
	}
}

static void
environments(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct err e;

	(void)unused;
	assert_int_equal(token_env_parse(span_of("live")), TOKEN_LIVE);
	assert_int_equal(token_env_parse(span_of("test")), TOKEN_TEST);
	assert_int_equal(token_env_parse(span_of("")), -1);
	assert_int_equal(token_env_parse(span_of("LIVE")), -1);
	assert_int_equal(token_env_parse(span_of("lives")), -1);
	assert_string_equal(token_env_name(TOKEN_LIVE), "live");
	assert_string_equal(token_env_name(TOKEN_TEST), "test");
	assert_string_equal(token_env_name((enum token_env)2), "unknown");

	assert_int_equal(token_generate("ak", TOKEN_TEST, key, &e), 0);
	assert_memory_equal(key, "ak_test_", 8);
	assert_int_equal(token_generate("ak", TOKEN_LIVE, key, &e), 0);
	assert_memory_equal(key, "ak_live_", 8);
	assert_int_equal(token_generate("ak", (enum token_env)2, key, &e), -1);
	assert_int_equal(e.code, ERR_INTERNAL);
}

static void
no_randomness_no_key(void **unused)
{
	static const char zeros[TOKEN_MAX + 1];
	char key[TOKEN_MAX + 1], id[TOKEN_ID_LEN + 1];
	struct err e = {0};

	(void)unused;
	random_set_source(failing_source);
	memset(key, 'x', sizeof(key));
	memset(id, 'x', sizeof(id));
	assert_int_equal(token_generate("ak", TOKEN_LIVE, key, &e), -1);
	assert_int_not_equal(e.code, ERR_NONE);
	assert_memory_equal(key, zeros, sizeof(key));
	assert_int_equal(token_id_generate(id, &e), -1);
	assert_memory_equal(id, zeros, sizeof(id));
}

static void
visible_start(void **unused)
{
	char start[TOKEN_START_MAX + 1];
	char longer[TOKEN_MAX + 2];

	(void)unused;
	token_start(span_of("ak_test_3kTMabcdefghijklmnopqrstuvwxyzAB2aUQik"), start);
	assert_string_equal(start, "ak_test_3kTM");
	/* What is no key shows nothing of itself. */
	token_start(span_of("secret"), start);
	assert_string_equal(start, "");
	token_start(span_of(""), start);
	assert_string_equal(start, "");
	memset(longer, 'x', sizeof(longer));
	token_start((struct span){longer, TOKEN_MAX + 1}, start);
	assert_string_equal(start, "");
}

static void
ids(void **unused)
{
	(void)unused;
	assert_true(token_id_ok(span_of("key_0123456789ABCDEf")));
	assert_false(token_id_ok(span_of("key_0123456789ABCDE")));
	assert_false(token_id_ok(span_of("key_0123456789ABCDEfg")));
	assert_false(token_id_ok(span_of("kex_0123456789ABCDEf")));
	assert_false(token_id_ok(span_of("key_0123456789ABCD-f")));
	assert_false(token_id_ok(span_of("")));
}

static void
within(void **unused)
{
	char key[TOKEN_MAX + 1], text[300];
	struct err e;
	size_t len;

	(void)unused;
	assert_int_equal(token_generate("ak", TOKEN_LIVE, key, &e), 0);
	len = strlen(key);
	for (size_t before = 0; before < 100; before++) {
		/* What looks like the beginning of one stands before it. */
		memset(text, 'a', sizeof(text));
		memcpy(text + before, key, len);
		assert_int_equal(
		    token_within((struct span){text, before + len + 7}, span_of("ak")), 1);
		assert_int_equal(token_within((struct span){text, before + len}, span_of("ak")), 1);
		assert_int_equal(
		    token_within((struct span){text, before + len - 1}, span_of("ak")), 0);
		assert_int_equal(token_within((struct span){text, before + len}, span_of("bk")), 0);
		text[before + len - 1] ^= 1;
		assert_int_equal(token_within((struct span){text, before + len}, span_of("ak")), 0);
	}
	assert_int_equal(token_within((struct span){NULL, 0}, span_of("ak")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(within),
	    cmocka_unit_test(known_answers),
	    cmocka_unit_test(form),
	    cmocka_unit_test_setup_teardown(any_changed_character_is_refused, seed, unseed),
	    cmocka_unit_test_setup_teardown(
		every_other_byte_at_every_place_is_refused, seed, unseed),
	    cmocka_unit_test_setup_teardown(no_two_alike, seed, unseed),
	    cmocka_unit_test_setup_teardown(longest_prefix, seed, unseed),
	    cmocka_unit_test_setup_teardown(prefixes, seed, unseed),
	    cmocka_unit_test_setup_teardown(environments, seed, unseed),
	    cmocka_unit_test_setup_teardown(no_randomness_no_key, seed, unseed),
	    cmocka_unit_test(visible_start),
	    cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
