/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_UNIT_STORE_FIXTURE_H_
#define TESTS_UNIT_STORE_FIXTURE_H_

/*
 * A real store in a directory of its own, below TMPDIR, gone after the test; and one-line batches.
 * Include behind cmocka.h.
 */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "store/internal.h"

#define FIXTURE_CACHE (UINT64_C(16) << 20)

struct fixture {
	char top[256];	      /* mkdtemp's */
	char dir[280];	      /* the store's, in it */
	uint64_t cache_bytes; /* 0: FIXTURE_CACHE */
	const char *key;      /* NULL: not encrypted */
	struct store *s;
	struct err e;
};

static inline struct store *
fixture_try(struct fixture *f)
{
	struct store_options options = {.dir = f->dir,
	    .key = f->key,
	    .cache_bytes = f->cache_bytes != 0 ? f->cache_bytes : FIXTURE_CACHE,
	    .min_free_bytes = 4096};

	memset(&f->e, 0, sizeof(f->e));
	f->s = store_open(&options, &f->e);
	return f->s;
}

static inline void
fixture_open(struct fixture *f)
{
	if (fixture_try(f) == NULL)
		fail_msg("store_open: %s", f->e.msg);
}

static inline void
fixture_reopen(struct fixture *f)
{
	store_close(&f->s);
	fixture_open(f);
}

/* For struct store_restore. */
static inline int
fixture_opens(void *cookie, const char *dir, struct err *e)
{
	const struct store_options options = {.dir = dir, .cache_bytes = FIXTURE_CACHE};
	struct store *s = store_open(&options, e);

	(void)cookie;
	if (s == NULL)
		return -1;
	store_close(&s);
	return 0;
}

/* A directory, and no store in it yet. */
static inline int
fixture_make(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct fixture *f = calloc(1, sizeof(*f));
	int n;

	assert_non_null(f);
	n = snprintf(f->top, sizeof(f->top), "%s/test-store.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_true(n > 0 && (size_t)n < sizeof(f->top));
	assert_non_null(mkdtemp(f->top));
	n = snprintf(f->dir, sizeof(f->dir), "%s/store", f->top);
	assert_true(n > 0 && (size_t)n < sizeof(f->dir));
	*state = f;
	return 0;
}

static inline int
fixture_make_encrypted(void **state)
{
	fixture_make(state);
	((struct fixture *)*state)->key =
	    "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
	return 0;
}

static inline int
fixture_make_open(void **state)
{
	fixture_make(state);
	fixture_open(*state);
	return 0;
}

static inline int
fixture_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int
fixture_free(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	nftw(f->top, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/*
 * For tests in which Berkeley DB panics: it does not free all of such an environment, which the
 * leak sanitizer would report.
 */
static inline int
fixture_make_leaky(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_disable();
#endif
	return fixture_make(state);
}

static inline int
fixture_free_leaky(void **state)
{
	int rc = fixture_free(state);

#ifdef __SANITIZE_ADDRESS__
	__lsan_enable();
#endif
	return rc;
}

/* ---- batches of one verb ---- */

/* A test's step in a batch: ${fn} with the fixture and one argument. */
typedef int step_fn(struct fixture *, const void *, struct err *);

struct fixture_step {
	struct fixture *f;
	step_fn *fn;
	const void *arg;
};

static inline int
fixture_step_run(void *cookie, struct err *e)
{
	struct fixture_step *step = cookie;

	return step->fn(step->f, step->arg, e);
}

/* The result of a batch that does just that; the error is in f->e. */
static inline int
batch(struct fixture *f, step_fn *fn, const void *arg)
{
	struct fixture_step step = {f, fn, arg};

	memset(&f->e, 0, sizeof(f->e));
	return store_batch(f->s, fixture_step_run, &step, &f->e);
}

#define assert_batch(f, fn, arg)                                                                   \
	do {                                                                                       \
		if (batch(f, fn, arg) != 0)                                                        \
			fail_msg("batch: %s", (f)->e.msg);                                         \
	} while (0)

#define assert_error(f, which, words)                                                              \
	do {                                                                                       \
		assert_string_equal(err_name((f)->e.code), err_name(which));                       \
		if (strstr((f)->e.msg, words) == NULL)                                             \
			fail_msg("\"%s\" does not say \"%s\"", (f)->e.msg, words);                 \
	} while (0)

/* ---- keys ---- */

/* Key number ${n}: id, digest, owner "owner-<n % 3>", plan "plan-<n % 2>". */
struct key {
	uint8_t digest[STORE_DIGEST_LEN];
	char owner[32], plan[32], name[32];
	struct keyrec rec;
};

static inline void
key_make(struct key *k, unsigned n)
{
	memset(k, 0, sizeof(*k));
	for (size_t i = 0; i < sizeof(k->digest); i++)
		k->digest[i] = (uint8_t)((n * 2654435761u >> (i % 4 * 8)) + i);
	memcpy(k->digest, &n, sizeof(n));
	if (snprintf(k->rec.id, sizeof(k->rec.id), "key_%016u", n) != TOKEN_ID_LEN ||
	    snprintf(k->owner, sizeof(k->owner), "owner-%u", n % 3) < 0 ||
	    snprintf(k->plan, sizeof(k->plan), "plan-%u", n % 2) < 0 ||
	    snprintf(k->name, sizeof(k->name), "name %u", n) < 0)
		fail();
	k->rec.pepper = 1;
	k->rec.start = span_of("ak_live_abcd");
	k->rec.owner = span_of(k->owner);
	k->rec.plan = span_of(k->plan);
	k->rec.name = span_of(k->name);
	k->rec.created_us = k->rec.changed_us = 1700000000000000 + n;
}

static inline int
step_insert(struct fixture *f, const void *arg, struct err *e)
{
	const struct key *k = arg;

	return store_key_insert(f->s, k->digest, &k->rec, e);
}

static inline void
key_put(struct fixture *f, unsigned n)
{
	struct key k;

	key_make(&k, n);
	assert_batch(f, step_insert, &k);
}

/* Is key ${n} there, whole and under its id? */
static inline int
key_there(struct fixture *f, unsigned n)
{
	static uint8_t buf[KEYREC_MAX];
	uint8_t digest[STORE_DIGEST_LEN];
	struct keyrec rec;
	struct key k;
	int by_digest, by_id;

	key_make(&k, n);
	by_digest = store_key_get(f->s, k.digest, buf, &rec, &f->e);
	by_id = store_key_find(f->s, span_of(k.rec.id), digest, &f->e);
	assert_int_equal(by_digest, by_id);
	if (by_digest == 1) {
		assert_memory_equal(digest, k.digest, sizeof(digest));
		assert_string_equal(rec.id, k.rec.id);
		assert_true(span_eq(rec.name, k.rec.name));
	}
	return by_digest;
}

#endif /* !TESTS_UNIT_STORE_FIXTURE_H_ */
