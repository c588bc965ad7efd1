/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: how long the keeper takes does not tell an unknown key from one that is known and refused,
 * nor from one with a wrong checksum that got as far as the keeper.  Measured: many checks of each
 * kind, one kind after the other so that whatever else the machine does falls on all alike, and the
 * medians compared.  Secrets of 190 random bits behind a secret pepper are not found by time in any
 * case; this guards "a denial never reveals whether an unknown key resembles a real one".
 *
 * What may differ is what LIMIT_PER_MILLE says: tens of nanoseconds, in an answer that takes a
 * hundred microseconds through two processes and a web server, and varies by more than that from
 * one to the next.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "keeper_fixture.h"

enum kind { UNKNOWN, BAD_CHECKSUM, REVOKED, DISABLED, EXPIRED, KINDS };

#define LIMIT_PER_MILLE 100
#define POOL 64
#define SAMPLES 4000 /* of each kind in a try; the median of 4000 is good to a percent */
#define TRIES 5	     /* a machine that does something else for a while is asked again */

static const char *const names[KINDS] = {
    "unknown", "bad checksum", "revoked", "disabled", "expired"};
static const enum verdict verdicts[KINDS] = {VERDICT_KEY_INVALID, VERDICT_KEY_INVALID,
    VERDICT_KEY_REVOKED, VERDICT_KEY_DISABLED, VERDICT_KEY_EXPIRED};

static struct {
	struct kf *f;
	char keys[KINDS][POOL][TOKEN_MAX + 1];
	int64_t ns[KINDS][SAMPLES];
} T;

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
make_keys(void)
{
	for (size_t i = 0; i < POOL; i++) {
		struct kf_key revoked = kf_key(T.f, ""), disabled = kf_key(T.f, ""),
			      expired = kf_key(T.f, ",\"expires\":\"2027-02-01T00:00:00Z\"");

		kf_done(T.f, kf_on("key.revoke", revoked.id, ""));
		kf_done(T.f, kf_on("key.disable", disabled.id, ""));
		memcpy(T.keys[REVOKED][i], revoked.key, sizeof(revoked.key));
		memcpy(T.keys[DISABLED][i], disabled.key, sizeof(disabled.key));
		memcpy(T.keys[EXPIRED][i], expired.key, sizeof(expired.key));
		assert_int_equal(token_generate("ak", TOKEN_LIVE, T.keys[UNKNOWN][i], NULL), 0);
		assert_int_equal(
		    token_generate("ak", TOKEN_LIVE, T.keys[BAD_CHECKSUM][i], NULL), 0);
		T.keys[BAD_CHECKSUM][i][12] ^= 1;
	}
}

static int
check_one(void *cookie, struct err *e)
{
	const size_t *at = cookie;
	struct wire_check c = {.cost = 1};
	struct wire_answer a;
	int wrote;

	for (size_t k = 0; k < KINDS; k++) {
		enum kind kind = (enum kind)((k + at[0]) % KINDS);
		int64_t start;

		c.credential = span_of(T.keys[kind][at[0] * 7 % POOL]);
		start = now_ns();
		if (decide_check(T.f->decide, &c, &T.f->now, &a, &wrote, e) != 0)
			return -1;
		T.ns[kind][at[0]] = now_ns() - start;
		assert_int_equal(a.verdict, verdicts[kind]);
	}
	return 0;
}

/* The largest distance of a median from that of unknown keys, in thousandths of it. */
static long
measure(int64_t median[KINDS])
{
	long worst = 0, off;

	for (size_t i = 0; i < SAMPLES; i++)
		assert_int_equal(store_batch(T.f->store, check_one, &i, &T.f->e), 0);
	for (size_t k = 0; k < KINDS; k++) {
		qsort(T.ns[k], SAMPLES, sizeof(T.ns[k][0]), by_value);
		median[k] = T.ns[k][SAMPLES / 2];
		off = labs((long)((median[k] - median[UNKNOWN]) * 1000 / median[UNKNOWN]));
		if (off > worst)
			worst = off;
	}
	return worst;
}

static void
expect_alike(void)
{
	int64_t median[KINDS];
	long worst = 0;

	for (int i = 0; i < TRIES; i++) {
		if ((worst = measure(median)) <= LIMIT_PER_MILLE)
			return;
	}
	for (size_t k = 0; k < KINDS; k++)
		(void)fprintf(stderr, "%s: %lld ns\n", names[k], (long long)median[k]);
	fail_msg("%ld thousandths", worst);
}

static int
setup(void **state)
{
	(void)state;
	T.f = kf_make();
	kf_open(T.f);
	make_keys();
	T.f->now.wall_us += 3 * INT64_C(1000000) * CLOCK_SECOND;
	return 0;
}

static int
teardown(void **state)
{
	void *f = T.f;

	(void)state;
	return kf_teardown(&f);
}

static void
unknown_and_refused_take_the_same_time(void **state)
{
	(void)state;
#ifdef INSTRUMENTED
	skip(); /* it measures its instruments */
#endif
	expect_alike();
}

/* Newer peppers than the keys' own: an unknown key is looked for under each of them. */
static void
under_several_peppers(void **state)
{
	uint32_t v;

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	assert_int_equal(peppers_add(T.f->pepper_file, (unsigned)-1, (unsigned)-1, &v, &T.f->e), 0);
	kf_done(T.f, "{\"op\":\"pepper.reload\"}");
	/* Of these the newest one's digest is the first that is looked for. */
	for (size_t i = 0; i < POOL; i++) {
		struct kf_key revoked = kf_key(T.f, "");

		kf_done(T.f, kf_on("key.revoke", revoked.id, ""));
		memcpy(T.keys[REVOKED][i], revoked.key, sizeof(revoked.key));
	}
	expect_alike();
}

/* Once there is a key of which only a hash was ever here, each search looks for hashes, too. */
static void
with_imported_keys(void **state)
{
	char hex[2 * DIGEST_LEN + 1], request[256];
	uint8_t hash[DIGEST_LEN];

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	assert_int_equal(digest_sha256("elsewhere", 9, hash, &T.f->e), 0);
	digest_hex(hash, sizeof(hash), hex);
	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"key.create\",\"owner\":\"acme\",\"digest\":\"sha256:%s\"}", hex);
	kf_done(T.f, request);
	expect_alike();
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(unknown_and_refused_take_the_same_time),
	    TEST(under_several_peppers),
	    TEST(with_imported_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
