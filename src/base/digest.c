/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Digests and their text forms.  The keeper computes HMACs of credentials with them (the hot path),
 * everybody else CRCs and hashes.  Which bytes are hashed with which key is not known here.
 *
 * Invariants:
 * - Every digest is complete or all zero, and an error was returned.
 * - An algorithm is fetched when an HMAC key is set up, never afterwards: a fetch takes locks and
 *   costs five times what the digest itself does.
 * - A struct digest_hmac belongs to one thread; two digests at once need two of them.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <zlib.h>

#include "base/digest.h"
#include "base/secret.h"

#define HMAC_BLOCK 64 /* of SHA-256, FIPS 180-4 */

/*
 * The two padded keys of RFC 2104 2, already absorbed: a digest copies them, and the key itself is
 * nowhere.  (OpenSSL's EVP_MAC keeps a plain copy of the key on the ordinary heap, where a core
 * would have it, and takes half as long again.)
 */
struct digest_hmac {
	EVP_MD_CTX *inner, *outer;
	EVP_MD_CTX *work;
};

int
digest_init(struct err *e)
{
	uint8_t out[DIGEST_LEN];

	return digest_sha256("", 0, out, e);
}

uint32_t
digest_crc32(const void *p, size_t n)
{
	return n == 0 ? 0 : (uint32_t)crc32_z(0, p, n);
}

int
digest_sha256(const void *p, size_t n, uint8_t out[DIGEST_LEN], struct err *e)
{
	unsigned len = 0;

	if (EVP_Digest(p, n, out, &len, EVP_sha256(), NULL) == 1 && len == DIGEST_LEN)
		return 0;
	memset(out, 0, DIGEST_LEN);
	return err_set(e, ERR_SYSTEM, "OpenSSL cannot compute SHA-256");
}

int
digest_equal(const uint8_t a[DIGEST_LEN], const uint8_t b[DIGEST_LEN])
{
	return CRYPTO_memcmp(a, b, DIGEST_LEN) == 0;
}

/* ${ctx} = SHA-256 after one block: the key, zero padded, each byte XORed with ${mask}.  0 or -1.
 */
static int
hmac_pad(EVP_MD_CTX *ctx, const EVP_MD *sha256, const uint8_t key[HMAC_BLOCK], uint8_t mask)
{
	uint8_t pad[HMAC_BLOCK];
	size_t i;
	int ok;

	for (i = 0; i < HMAC_BLOCK; i++)
		pad[i] = key[i] ^ mask;
	ok = EVP_DigestInit_ex2(ctx, sha256, NULL) == 1 &&
	     EVP_DigestUpdate(ctx, pad, sizeof(pad)) == 1;
	secret_wipe(pad, sizeof(pad));
	return ok ? 0 : -1;
}

struct digest_hmac *
digest_hmac_new(const void *key, size_t n, struct err *e)
{
	struct digest_hmac *h = calloc(1, sizeof(*h));
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	uint8_t block[HMAC_BLOCK] = {0};
	int ok = 0;

	if (h == NULL || sha256 == NULL || (h->inner = EVP_MD_CTX_new()) == NULL ||
	    (h->outer = EVP_MD_CTX_new()) == NULL || (h->work = EVP_MD_CTX_new()) == NULL)
		goto done;
	/* RFC 2104 2: a key longer than a block is replaced by its digest. */
	if (n > HMAC_BLOCK) {
		if (digest_sha256(key, n, block, e) != 0)
			goto done;
	} else if (n > 0)
		memcpy(block, key, n);
	ok = hmac_pad(h->inner, sha256, block, 0x36) == 0 &&
	     hmac_pad(h->outer, sha256, block, 0x5c) == 0;
done:
	secret_wipe(block, sizeof(block));
	EVP_MD_free(sha256); /* the contexts hold references of their own */
	if (ok)
		return h;
	(void)err_set(e, ERR_SYSTEM, "OpenSSL cannot set up HMAC-SHA256");
	digest_hmac_free(h);
	return NULL;
}

void
digest_hmac_free(struct digest_hmac *h)
{
	if (h == NULL)
		return;
	EVP_MD_CTX_free(h->inner);
	EVP_MD_CTX_free(h->outer);
	EVP_MD_CTX_free(h->work);
	free(h);
}

int
digest_hmac_of(struct digest_hmac *h, const void *p, size_t n, uint8_t out[DIGEST_LEN])
{
	unsigned len = 0;

	if (EVP_MD_CTX_copy_ex(h->work, h->inner) == 1 && EVP_DigestUpdate(h->work, p, n) == 1 &&
	    EVP_DigestFinal_ex(h->work, out, &len) == 1 &&
	    EVP_MD_CTX_copy_ex(h->work, h->outer) == 1 &&
	    EVP_DigestUpdate(h->work, out, DIGEST_LEN) == 1 &&
	    EVP_DigestFinal_ex(h->work, out, &len) == 1 && len == DIGEST_LEN)
		return 0;
	memset(out, 0, DIGEST_LEN);
	return -1;
}

size_t
digest_base64url(const void *p, size_t n, char *out, size_t cap)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *in = p;
	unsigned bits = 0, held = 0;
	size_t len = 0, i;

	if (cap > 0)
		out[0] = '\0';
	if (n > SIZE_MAX / 4 || cap < 4 * n / 3 + 2)
		return 0;
	for (i = 0; i < n; i++) {
		bits = (bits << 8 | in[i]) & 0xffff;
		for (held += 8; held >= 6; held -= 6)
			out[len++] = alphabet[bits >> (held - 6) & 0x3f];
	}
	if (held > 0)
		out[len++] = alphabet[bits << (6 - held) & 0x3f];
	out[len] = '\0';
	return len;
}

void
digest_hex(const void *p, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *in = p;
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = hex[in[i] >> 4];
		out[2 * i + 1] = hex[in[i] & 15];
	}
	out[2 * n] = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
digest_unhex(const char *text, size_t len, void *p, size_t n)
{
	uint8_t *out = p;
	int high, low;
	size_t i;

	memset(out, 0, n);
	if (len % 2 != 0 || len / 2 != n)
		return -1;
	for (i = 0; i < n; i++) {
		high = hex_value(text[2 * i]);
		low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0) {
			secret_wipe(out, n);
			return -1;
		}
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}
