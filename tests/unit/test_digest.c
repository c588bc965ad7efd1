/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: CRC-32, SHA-256 and HMAC-SHA256 give the published values, also when a context is used
 * again and again; a library that fails yields zeros and an error, never half a digest; text forms
 * go there and back.  Guards invariants 3 and 6: two keys with one digest, or a digest of rubbish,
 * would admit a stranger.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/digest.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int update_fails;

/* Stands before OpenSSL's, so that its failure can be played. */
int
EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *p, size_t n)
{
	int (*next)(EVP_MD_CTX *, const void *, size_t);

	*(void **)&next = dlsym(RTLD_NEXT, "EVP_DigestUpdate");
	return update_fails ? 0 : next(ctx, p, n);
}

static void
crc(void **state)
{
	(void)state;
	/* The check value of CRC-32/ISO-HDLC. */
	assert_int_equal(digest_crc32("123456789", 9), 0xcbf43926);
	assert_int_equal(digest_crc32("", 0), 0);
	assert_int_equal(digest_crc32(NULL, 0), 0);
	assert_int_equal(digest_crc32("\0", 1), 0xd202ef8d);
}

static void
sha256(void **state)
{
	static const struct {
		const char *in, *hex;
	} cases[] = {
	    /* FIPS 180-4 */
	    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	uint8_t out[DIGEST_LEN];
	char hex[2 * DIGEST_LEN + 1];
	struct err e = {0};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(digest_sha256(cases[i].in, strlen(cases[i].in), out, &e), 0);
		digest_hex(out, sizeof(out), hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

/* RFC 4231, test cases 1 to 4, 6 and 7. */
static const struct {
	const char *key, *data, *mac; /* hex */
} hmacs[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"dddddddddddddddddddddddddddddddddddddddddddddddddd"
	"dddddddddddddddddddddddddddddddddddddddddddddddddd",
	"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"0102030405060708090a0b0c0d0e0f10111213141516171819",
	"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a"
	"65204b6579202d2048617368204b6579204669727374",
	"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"5468697320697320612074657374207573696e672061206c6172676572207468"
	"616e20626c6f636b2d73697a65206b657920616e642061206c61726765722074"
	"68616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565"
	"647320746f20626520686173686564206265666f7265206265696e6720757365"
	"642062792074686520484d414320616c676f726974686d2e",
	"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
};

static size_t
unhex(const char *hex, uint8_t *out)
{
	assert_int_equal(digest_unhex(hex, strlen(hex), out, strlen(hex) / 2), 0);
	return strlen(hex) / 2;
}

static void
hmac(void **state)
{
	uint8_t key[256], data[256], mac[DIGEST_LEN], out[DIGEST_LEN];
	struct digest_hmac *h;
	struct err e = {0};
	size_t i, nkey, ndata;
	int round;

	(void)state;
	for (i = 0; i < COUNT(hmacs); i++) {
		nkey = unhex(hmacs[i].key, key);
		ndata = unhex(hmacs[i].data, data);
		(void)unhex(hmacs[i].mac, mac);
		h = digest_hmac_new(key, nkey, &e);
		assert_non_null(h);
		/* The context keeps the key, and nothing of the message before. */
		memset(key, 0, sizeof(key));
		for (round = 0; round < 3; round++) {
			assert_int_equal(digest_hmac_of(h, data, ndata, out), 0);
			assert_memory_equal(out, mac, DIGEST_LEN);
			assert_true(digest_equal(out, mac));
			assert_int_equal(digest_hmac_of(h, "other", 5, out), 0);
			assert_false(digest_equal(out, mac));
		}
		digest_hmac_free(h);
	}
	digest_hmac_free(NULL);
}

static void
hmac_of_nothing(void **state)
{
	uint8_t mac[DIGEST_LEN], out[DIGEST_LEN];
	struct digest_hmac *h = digest_hmac_new(NULL, 0, NULL);

	(void)state;
	assert_non_null(h);
	(void)unhex("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", mac);
	assert_int_equal(digest_hmac_of(h, "", 0, out), 0);
	assert_memory_equal(out, mac, DIGEST_LEN);
	digest_hmac_free(h);
}

static void
equality(void **state)
{
	uint8_t a[DIGEST_LEN] = {0}, b[DIGEST_LEN] = {0};
	size_t i;

	(void)state;
	assert_int_equal(digest_equal(a, b), 1);
	for (i = 0; i < DIGEST_LEN; i++) {
		b[i] = 0x80;
		assert_int_equal(digest_equal(a, b), 0);
		b[i] = 0;
	}
}

static void
digest_that_fails(void **state)
{
	static const uint8_t zeros[DIGEST_LEN];
	struct digest_hmac *h = digest_hmac_new("key", 3, NULL);
	uint8_t good[DIGEST_LEN], out[DIGEST_LEN];

	(void)state;
	assert_non_null(h);
	assert_int_equal(digest_hmac_of(h, "abc", 3, good), 0);
	update_fails = 1;
	memset(out, 'x', sizeof(out));
	assert_int_equal(digest_hmac_of(h, "abc", 3, out), -1);
	assert_memory_equal(out, zeros, sizeof(out));
	update_fails = 0;
	assert_int_equal(digest_hmac_of(h, "abc", 3, out), 0);
	assert_memory_equal(out, good, sizeof(out));
	digest_hmac_free(h);
}

/* Properties that no provider has: OpenSSL then finds no algorithm at all. */
static void
library_that_fails(void **state)
{
	static const uint8_t zeros[DIGEST_LEN];
	uint8_t out[DIGEST_LEN];
	struct err e = {0};

	(void)state;
	assert_int_equal(EVP_set_default_properties(NULL, "nobody=has"), 1);
	memset(out, 'x', sizeof(out));
	assert_int_equal(digest_sha256("abc", 3, out, &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_memory_equal(out, zeros, sizeof(out));
	e.code = ERR_NONE;
	assert_null(digest_hmac_new("key", 3, &e));
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
	assert_int_equal(digest_sha256("abc", 3, out, &e), 0);
}

static void
base64url(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    /* RFC 4648 10, without the padding */
	    {"", ""},
	    {"f", "Zg"},
	    {"fo", "Zm8"},
	    {"foo", "Zm9v"},
	    {"foob", "Zm9vYg"},
	    {"fooba", "Zm9vYmE"},
	    {"foobar", "Zm9vYmFy"},
	    {"\xff\xfe\xfb\xef\xbe\xff", "__77777_"},
	    {"\xfb\xef\xbe", "----"},
	};
	char out[32];
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		n = strlen(cases[i].in);
		memset(out, '!', sizeof(out));
		assert_int_equal(
		    digest_base64url(cases[i].in, n, out, 4 * n / 3 + 2), strlen(cases[i].out));
		assert_string_equal(out, cases[i].out);
		assert_int_equal(digest_base64url(cases[i].in, n, out, 4 * n / 3 + 1), 0);
		assert_string_equal(out, "");
	}
	assert_int_equal(digest_base64url("x", 1, NULL, 0), 0);
	assert_int_equal(digest_base64url("x", SIZE_MAX, out, sizeof(out)), 0);
}

static void
hex(void **state)
{
	static const char *const bad[] = {
	    "", "0", "00ff1", "00ff100", "00ff1g", "00 f10", "0x00ff", "00ff1\xb0", "-1ff10"};
	const uint8_t bytes[] = {0x00, 0xff, 0x1a};
	uint8_t out[3];
	char text[7];
	size_t i;

	(void)state;
	digest_hex(bytes, 3, text);
	assert_string_equal(text, "00ff1a");
	assert_int_equal(digest_unhex(text, 6, out, 3), 0);
	assert_memory_equal(out, bytes, 3);
	assert_int_equal(digest_unhex("00FF1A", 6, out, 3), 0);
	assert_memory_equal(out, bytes, 3);
	for (i = 0; i < COUNT(bad); i++) {
		memset(out, 'x', sizeof(out));
		assert_int_equal(digest_unhex(bad[i], strlen(bad[i]), out, 3), -1);
		assert_memory_equal(out, "\0\0\0", 3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crc),
	    cmocka_unit_test(sha256),
	    cmocka_unit_test(hmac),
	    cmocka_unit_test(hmac_of_nothing),
	    cmocka_unit_test(equality),
	    cmocka_unit_test(digest_that_fails),
	    cmocka_unit_test(library_that_fails),
	    cmocka_unit_test(base64url),
	    cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
