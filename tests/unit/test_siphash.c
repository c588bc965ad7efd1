/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the hash is SipHash-2-4, for every length up to some blocks: the paper's vector, and
 * OpenSSL's implementation as an oracle.  A weaker one would let strangers aim at a place of the
 * table of failed attempts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/siphash.h"

#define LONGEST 80

static void
fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)i;
}

/* Appendix A of the paper: key 00..0f, input 00..0e. */
static void
the_papers_vector(void **state)
{
	uint8_t key[SIPHASH_KEY], input[15];

	(void)state;
	fill(key, sizeof(key));
	fill(input, sizeof(input));
	assert_int_equal(siphash(key, input, sizeof(input)), UINT64_C(0xa129ca6149be45e5));
}

static uint64_t
oracle(EVP_MAC *mac, const uint8_t *key, const uint8_t *p, size_t n)
{
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	unsigned size = 8;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_uint("size", &size), OSSL_PARAM_construct_end()};
	uint8_t out[8];
	uint64_t x = 0;
	size_t len;

	assert_non_null(ctx);
	assert_int_equal(EVP_MAC_init(ctx, key, SIPHASH_KEY, params), 1);
	assert_int_equal(EVP_MAC_update(ctx, p, n), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &len, sizeof(out)), 1);
	assert_int_equal(len, sizeof(out));
	EVP_MAC_CTX_free(ctx);
	for (int i = 7; i >= 0; i--)
		x = x << 8 | out[i];
	return x;
}

static void
as_openssl_says(void **state)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	uint8_t key[SIPHASH_KEY], input[LONGEST + 8];

	(void)state;
	if (mac == NULL)
		skip();
	srandom(1);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)random();
		for (size_t i = 0; i < sizeof(input); i++)
			input[i] = (uint8_t)random();
		/* Also where it is not aligned. */
		for (size_t n = 0; n <= LONGEST; n++)
			assert_int_equal(
			    siphash(key, input + n % 8, n), oracle(mac, key, input + n % 8, n));
	}
	EVP_MAC_free(mac);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_papers_vector),
	    cmocka_unit_test(as_openssl_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
