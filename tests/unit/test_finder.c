/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the finder finds every key and nothing else, wherever it stands and however the bytes come
 * in pieces; and says where it is.
 *
 * The oracle looks at every byte: is what begins here a key of this prefix (token_valid), in bytes
 * or in characters of two bytes?  It knows no runs, no blocks and no pieces.  Texts are made of
 * what hurts: keys, keys with a mistake, halves of keys, the characters of keys, NULs, newlines.
 * Guards the half of Invariant 4 that `apikey scan` is for, and Invariant 6 for its input: run with
 * --enable-sanitizers nothing outside of a text is read.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/random.h"
#include "core/finder.h"

#define TEXT_MAX 2000000
#define HITS_MAX 20000
#define BLOCK 262144 /* as in finder.c; a wrong one only makes the test weaker */

static const char *const prefixes[] = {"ak", "k", "prefix0123456789"};
#define NPREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

struct hits {
	size_t n;
	struct hit {
		char key[TOKEN_MAX + 1];
		int env;
		uint64_t offset, line, column;
	} at[HITS_MAX];
};

static struct hits got, want;
static char text[TEXT_MAX];
static size_t len;
static uint64_t state;

/* xorshift64*: the same texts in every run. */
static uint64_t
rnd(uint64_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

static int
random_source(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)rnd(256);
	return 0;
}

static void
add_hit(struct hits *h, struct span key, int env, uint64_t offset, uint64_t line, uint64_t column)
{
	struct hit *at = &h->at[h->n];

	assert_true(h->n < HITS_MAX);
	h->n++;
	*at = (struct hit){.env = env, .offset = offset, .line = line, .column = column};
	assert_int_equal(span_copy(at->key, sizeof(at->key), key), 0);
}

static void
found(void *cookie, const struct finder_hit *hit)
{
	add_hit(cookie, hit->key, (int)hit->env, hit->offset, hit->line, hit->column);
}

/* ---- the oracle ---- */

static int
key_at(size_t at, size_t width, const char *prefix, char key[TOKEN_MAX + 1])
{
	size_t n = strlen(prefix) + 6 + TOKEN_RANDOM + TOKEN_CHECK, i;

	memset(key, 0, TOKEN_MAX + 1);
	if (at + width * (n - 1) >= len)
		return 0;
	for (i = 0; i < n; i++) {
		if (width == 2 && i > 0 && text[at + 2 * i - 1] != '\0')
			return 0;
		key[i] = text[at + width * i];
	}
	return token_valid((struct span){key, n}, span_of(prefix));
}

static void
ask_oracle(void)
{
	uint64_t line = 1, column = 1;
	char key[TOKEN_MAX + 1];

	want.n = 0;
	for (size_t at = 0; at < len; at++, column++) {
		for (size_t i = 0; i < 2 * NPREFIXES; i++) {
			const char *prefix = prefixes[i / 2];

			if (text[at] == prefix[0] && key_at(at, 1 + i % 2, prefix, key))
				add_hit(&want, span_of(key), key[strlen(prefix) + 1] == 't', at,
				    line, column);
		}
		if (text[at] == '\n') {
			line++;
			column = 0;
		}
	}
}

static void
compare(void)
{
	assert_int_equal(got.n, want.n);
	for (size_t i = 0; i < want.n; i++) {
		assert_string_equal(got.at[i].key, want.at[i].key);
		assert_int_equal(got.at[i].env, want.at[i].env);
		assert_int_equal(got.at[i].offset, want.at[i].offset);
		assert_int_equal(got.at[i].line, want.at[i].line);
		assert_int_equal(got.at[i].column, want.at[i].column);
	}
}

/* ---- texts ---- */

static struct finder *
make(void)
{
	struct finder *f;
	struct err e = {0};

	f = finder_new(prefixes, NPREFIXES, found, &got, &e);
	assert_non_null(f);
	finder_begin(f);
	got.n = 0;
	return f;
}

static void
put(const void *p, size_t n)
{
	assert_true(len + n <= TEXT_MAX);
	memcpy(text + len, p, n);
	len += n;
}

static void
put_wide(const char *s, size_t n, int little)
{
	for (size_t i = 0; i < n; i++) {
		const char two[2] = {little ? s[i] : '\0', little ? '\0' : s[i]};

		put(two, 2);
	}
}

static void
make_key(const char *prefix, char key[TOKEN_MAX + 1])
{
	struct err e;

	assert_int_equal(token_generate(prefix, rnd(2) ? TOKEN_LIVE : TOKEN_TEST, key, &e), 0);
}

/* Something that a text may hold next. */
static void
put_something(void)
{
	static const char hostile[] = "ak_livetes09Zz_\n\0\0k \xff";
	char key[TOKEN_MAX + 1];
	size_t n, i;

	make_key(prefixes[rnd(NPREFIXES)], key);
	n = strlen(key);
	switch (rnd(8)) {
	case 0:
		put(key, n);
		break;
	case 1:
		put_wide(key, n, rnd(2) == 0);
		break;
	case 2:
		put(key, rnd(n));
		break;
	case 3:
		put_wide(key, rnd(n), rnd(2) == 0);
		break;
	case 4:
		key[rnd(n)] = hostile[rnd(sizeof(hostile))];
		put(key, n);
		break;
	case 5:
		put_wide(key, n, rnd(2) == 0);
		text[len - 1 - rnd(2 * n)] = hostile[rnd(sizeof(hostile))];
		break;
	case 6:
		for (i = rnd(120); i > 0; i--)
			put(&hostile[rnd(sizeof(hostile))], 1);
		break;
	default:
		for (i = rnd(120); i > 0; i--)
			put(&key[TOKEN_PREFIX_MAX + rnd(16)], 1);
	}
}

static void
feed_in_pieces(struct finder *f, size_t most)
{
	size_t at = 0, n;

	while (at < len) {
		n = 1 + rnd(most);
		n = n < len - at ? n : len - at;
		finder_feed(f, text + at, n);
		at += n;
	}
}

/* ---- tests ---- */

static void
agrees_with_the_oracle(void **unused)
{
	static const size_t most[] = {1, 3, 50, 1000, 300000};
	int rounds = getenv("LONG") != NULL && getenv("LONG")[0] != '\0' ? 3000 : 150;
	size_t hits = 0;

	(void)unused;
	for (int round = 0; round < rounds; round++) {
		struct finder *f = make();

		len = 0;
		for (size_t i = rnd(200); i > 0; i--)
			put_something();
		feed_in_pieces(f, most[round % 5]);
		ask_oracle();
		compare();
		hits += got.n;
		finder_free(&f);
	}
	/* There was something to be found. */
	assert_true(hits > (size_t)rounds * 20);
}

static void
noise_of_all_bytes(void **unused)
{
	static const char alphabet[] = "ak_live_0\0\n";
	struct finder *f = make();

	(void)unused;
	for (len = 0; len < 1000000; len++)
		text[len] = rnd(100) < 90 ? (char)rnd(256) : alphabet[rnd(sizeof(alphabet))];
	feed_in_pieces(f, 100000);
	ask_oracle();
	compare();
	finder_free(&f);
}

/* One key in a text of which every cut in two is tried, and every byte alone. */
static void
every_cut(void **unused)
{
	char key[TOKEN_MAX + 1];

	(void)unused;
	for (size_t i = 0; i < 3 * NPREFIXES; i++) {
		len = 0;
		make_key(prefixes[i / 3], key);
		put("one\ntwo \"", 9);
		if (i % 3 == 0)
			put(key, strlen(key));
		else
			put_wide(key, strlen(key), i % 3 == 1);
		put("\" and more\n", 11);
		ask_oracle();
		assert_int_equal(want.n, 1);
		assert_int_equal(want.at[0].line, 2);
		for (size_t cut = 0; cut <= len; cut++) {
			struct finder *f = make();

			finder_feed(f, text, cut);
			finder_feed(f, text + cut, len - cut);
			compare();
			finder_free(&f);
		}
	}
}

/* The same where the finder's own block ends, in big pieces. */
static void
every_place_at_the_end_of_a_block(void **unused)
{
	char key[TOKEN_MAX + 1];

	(void)unused;
	for (size_t back = 0; back < 300; back += 1 + rnd(3)) {
		struct finder *f = make();

		len = 0;
		memset(text, back % 2 ? 'x' : '\n', 2 * BLOCK);
		make_key(prefixes[back % NPREFIXES], key);
		len = BLOCK + 150 - back;
		if (back % 4 < 2)
			put(key, strlen(key));
		else
			put_wide(key, strlen(key), back % 4 == 2);
		len = 2 * BLOCK;
		finder_feed(f, text, len);
		ask_oracle();
		assert_int_equal(want.n, 1);
		compare();
		finder_free(&f);
	}
}

static void
keys_side_by_side(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct finder *f = make();

	(void)unused;
	len = 0;
	for (int i = 0; i < 3000; i++) {
		make_key(prefixes[rnd(NPREFIXES)], key);
		if (rnd(3) == 0)
			put_wide(key, strlen(key), rnd(2) == 0);
		else
			put(key, strlen(key));
	}
	finder_feed(f, text, len);
	ask_oracle();
	assert_true(want.n >= 3000);
	compare();
	finder_free(&f);
}

/* Of a key at the very end no byte more is waited for. */
static void
found_with_its_last_byte(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct finder *f = make();

	(void)unused;
	make_key("ak", key);
	finder_feed(f, key, strlen(key) - 1);
	assert_int_equal(got.n, 0);
	finder_feed(f, key + strlen(key) - 1, 1);
	assert_int_equal(got.n, 1);
	finder_free(&f);
}

static void
texts_do_not_touch(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct finder *f = make();

	(void)unused;
	make_key("ak", key);
	finder_feed(f, "\n\n", 2);
	finder_feed(f, key, 20);
	finder_begin(f);
	finder_feed(f, key + 20, strlen(key) - 20);
	assert_int_equal(got.n, 0);
	finder_feed(f, key, strlen(key));
	assert_int_equal(got.n, 1);
	assert_int_equal(got.at[0].line, 1);
	assert_int_equal(got.at[0].offset, strlen(key) - 20);
	finder_free(&f);
}

/* Holes of any length are as many NULs. */
static void
holes(void **unused)
{
	static const size_t lengths[] = {1, 2, 75, 119, 120, 121, 4096, 300000};
	char key[TOKEN_MAX + 1];

	(void)unused;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct finder *f = make();

		len = 0;
		make_key("ak", key);
		put("\n", 1);
		/* Wide and little-endian: it ends in the hole. */
		put_wide(key, strlen(key), 1);
		len--;
		finder_feed(f, text, len);
		memset(text + len, 0, lengths[i]);
		len += lengths[i];
		finder_skip(f, lengths[i]);
		/* And one that seems to begin in it. */
		finder_feed(f, "\0_\0l\0i\0v\0e\0_\0", 12);
		put("\0_\0l\0i\0v\0e\0_\0", 12);
		finder_feed(f, key, strlen(key));
		put(key, strlen(key));
		ask_oracle();
		assert_int_equal(want.n, 2);
		compare();
		finder_free(&f);
	}
	/* Petabytes take no time. */
	struct finder *f = make();
	finder_skip(f, UINT64_C(1) << 50);
	finder_feed(f, key, strlen(key));
	assert_int_equal(got.n, 1);
	assert_int_equal(got.at[0].offset, UINT64_C(1) << 50);
	assert_int_equal(got.at[0].column, (UINT64_C(1) << 50) + 1);
	finder_free(&f);
}

static void
many_lines(void **unused)
{
	char key[TOKEN_MAX + 1];
	struct finder *f = make();

	(void)unused;
	make_key("k", key);
	len = 0;
	for (int i = 0; i < 200; i++) {
		memset(text + len, rnd(4) ? '\n' : 'n', 9000);
		len += rnd(9000);
		put(key, strlen(key));
	}
	feed_in_pieces(f, 100000);
	ask_oracle();
	assert_int_equal(want.n, 200);
	compare();
	finder_free(&f);
}

static void
prefixes_are_checked(void **unused)
{
	const char *many[FINDER_PREFIXES_MAX + 1];
	struct err e = {0};

	(void)unused;
	for (size_t i = 0; i <= FINDER_PREFIXES_MAX; i++)
		many[i] = "ak";
	assert_null(finder_new(many, 0, found, &got, &e));
	assert_null(finder_new(many, FINDER_PREFIXES_MAX + 1, found, &got, &e));
	many[1] = "A";
	assert_null(finder_new(many, 2, found, &got, &e));
	assert_int_equal(e.code, ERR_INPUT);
}

static int
seed(void **unused)
{
	(void)unused;
	state = UINT64_C(0x9e3779b97f4a7c15);
	random_set_source(random_source);
	return 0;
}

static int
unseed(void **unused)
{
	(void)unused;
	random_set_source(NULL);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(agrees_with_the_oracle),
	    cmocka_unit_test(noise_of_all_bytes),
	    cmocka_unit_test(every_cut),
	    cmocka_unit_test(every_place_at_the_end_of_a_block),
	    cmocka_unit_test(keys_side_by_side),
	    cmocka_unit_test(found_with_its_last_byte),
	    cmocka_unit_test(texts_do_not_touch),
	    cmocka_unit_test(holes),
	    cmocka_unit_test(many_lines),
	    cmocka_unit_test(prefixes_are_checked),
	};

	return cmocka_run_group_tests(tests, seed, unseed);
}
