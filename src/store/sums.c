/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The checksums of Berkeley DB's pages: does one fit?  (What becomes of a page whose checksum does
 * not is pages.c's.)
 *
 * A file that is not encrypted has 4 bytes that find accidents.  An encrypted one has an HMAC of
 * the page as it lies on the disk, under a key that comes from the file's; and with a hash that
 * Berkeley DB calls SHA-1 and that is none: for lack of a parenthesis its first sixteen rounds add
 * nothing but the word itself (round_first).  No library has that, so it is here, for reading what
 * Berkeley DB has written, and for nothing else.
 *
 * Runs in the owner's main thread.
 *
 * Invariant: no page that Berkeley DB accepts is refused.  A library in which that is mended, or
 * else, computes otherwise; so a key's checksums are believed when one of them fits a page that
 * Berkeley DB itself has just accepted, and left to it otherwise.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "store/internal.h"

/* Of any page: its type; where the checksum is, in first pages and in others. */
#define PAGE_TYPE 25
#define TYPE_META_FIRST 8
#define TYPE_META_LAST 10
#define META_SUM 492
#define META_BYTES 512
#define PAGE_SUM 28
#define SUM_BYTES 4
#define MAC_BYTES 20

#define BLOCK 64
#define LENGTH_BYTES 8

/* Between the key with its NUL and the same once more. */
static const char mac_label[] = "mac derivation key magic value";

/* ---- without a key ---- */

/* h * 33 + byte for each; eight at a time, which need not wait for one another. */
static uint32_t
sum(uint32_t h, const uint8_t *p, size_t n)
{
	enum { P1 = 33, P2 = P1 * 33, P3 = P2 * 33, P4 = P3 * 33 };
	const uint32_t p5 = P4 * 33u, p6 = p5 * 33u, p7 = p6 * 33u, p8 = p7 * 33u;

	for (; n >= 8; n -= 8, p += 8)
		h = h * p8 + (p[0] * p7 + p[1] * p6 + p[2] * p5 + p[3] * (uint32_t)P4) +
		    (p[4] * (uint32_t)P3 + p[5] * (uint32_t)P2 + p[6] * (uint32_t)P1 + p[7]);
	for (; n > 0; n--, p++)
		h = h * P1 + p[0];
	return h;
}

/* Over ${n} bytes, taking the checksum itself for zero. */
static int
sum_fits(const uint8_t *page, size_t n, size_t at)
{
	static const uint8_t zeros[SUM_BYTES];
	uint32_t is, should = sum(sum(sum(0, page, at), zeros, SUM_BYTES), page + at + SUM_BYTES,
			 n - at - SUM_BYTES);

	memcpy(&is, page + at, sizeof(is));
	/* A file that was made by a machine of the other byte order. */
	return is == should || __builtin_bswap32(is) == should;
}

/* ---- with one ---- */

static uint32_t
rol(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

/* FIPS 180-4 6.1.2, steps 3: the five words move on, with ${e} in front. */
static void
move_on(uint32_t v[5], uint32_t e)
{
	v[4] = v[3];
	v[3] = v[2];
	v[2] = rol(v[1], 30);
	v[1] = v[0];
	v[0] = e;
}

static uint32_t
choose(const uint32_t v[5])
{
	return (v[1] & (v[2] ^ v[3])) ^ v[3];
}

/*
 * One of the first sixteen.  Meant was e + choose() + word + K + rol(a, 5); what stands there is
 * "choose() + big_endian ? word : swapped + K + rol(a, 5)", in which "?" binds less than "+".
 */
static void
round_first(uint32_t v[5], uint32_t *word)
{
	const uint32_t big_endian = __BYTE_ORDER == __BIG_ENDIAN;
	uint32_t e = v[4];

	if (choose(v) + big_endian != 0) {
		e += *word;
	} else {
		*word = __builtin_bswap32(*word);
		e += *word + 0x5a827999 + rol(v[0], 5);
	}
	move_on(v, e);
}

/* One of the others, as it is meant: ${word} points into all of them, and is made now. */
static void
round_other(uint32_t v[5], uint32_t *word, uint32_t mix)
{
	*word = rol(word[-3] ^ word[-8] ^ word[-14] ^ word[-16], 1);
	move_on(v, v[4] + mix + *word + rol(v[0], 5));
}

static void
absorb(uint32_t h[5], const uint8_t block[BLOCK])
{
	uint32_t w[80], v[5];
	unsigned i;

	memcpy(w, block, BLOCK);
	memcpy(v, h, sizeof(v));
	for (i = 0; i < 16; i++)
		round_first(v, &w[i]);
	for (; i < 20; i++)
		round_other(v, &w[i], choose(v) + 0x5a827999);
	for (; i < 40; i++)
		round_other(v, &w[i], (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1);
	for (; i < 60; i++)
		round_other(v, &w[i], (((v[1] | v[2]) & v[3]) | (v[1] & v[2])) + 0x8f1bbcdc);
	for (; i < 80; i++)
		round_other(v, &w[i], (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6);
	for (i = 0; i < 5; i++)
		h[i] += v[i];
}

/* The last ${n} of ${total} bytes, too few for a block and its end. */
static void
finish(uint32_t h[5], const uint8_t *p, size_t n, size_t total, uint8_t out[MAC_BYTES])
{
	uint64_t bits = htobe64((uint64_t)total * 8);
	uint8_t block[BLOCK] = {0};

	memcpy(block, p, n);
	block[n] = 0x80;
	memcpy(block + BLOCK - LENGTH_BYTES, &bits, LENGTH_BYTES);
	absorb(h, block);
	for (size_t i = 0; i < 5; i++) {
		uint32_t word = htobe32(h[i]);

		memcpy(out + 4 * i, &word, sizeof(word));
	}
	secret_wipe(block, sizeof(block));
}

static void
begin(uint32_t h[5])
{
	static const uint32_t first[5] = {
	    0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

	memcpy(h, first, sizeof(first));
}

static void
begin_pad(uint32_t h[5], const uint8_t key[MAC_BYTES], uint8_t mask)
{
	uint8_t pad[BLOCK];

	memset(pad, mask, sizeof(pad));
	for (size_t i = 0; i < MAC_BYTES; i++)
		pad[i] ^= key[i];
	begin(h);
	absorb(h, pad);
	secret_wipe(pad, sizeof(pad));
}

/* Over ${n} bytes, whole blocks, taking the checksum itself, which lies within one, for zeros. */
static int
mac_fits(const struct store_sums *sums, const uint8_t *page, size_t n, size_t at)
{
	uint32_t h[5];
	uint8_t block[BLOCK], mac[MAC_BYTES];

	memcpy(h, sums->inner, sizeof(h));
	for (size_t i = 0; i < n; i += BLOCK) {
		memcpy(block, page + i, BLOCK);
		if (i == at / BLOCK * BLOCK)
			memset(block + at % BLOCK, 0, MAC_BYTES);
		absorb(h, block);
	}
	finish(h, page + n, 0, BLOCK + n, mac);
	memcpy(h, sums->outer, sizeof(h));
	finish(h, mac, sizeof(mac), BLOCK + sizeof(mac), mac);
	return memcmp(mac, page + at, sizeof(mac)) == 0;
}

static int
set_key(struct store_sums *sums, const char *key, struct err *e)
{
	uint8_t text[2 * (STORE_KEY_DIGITS + 1) + sizeof(mac_label)], mac_key[MAC_BYTES];
	struct wbuf w;
	uint32_t h[5];
	size_t n = strlen(key) + 1;

	if (n != STORE_KEY_DIGITS + 1)
		return err_set(e, ERR_INTERNAL, "a store's key of %zu digits", n - 1);
	wbuf_init(&w, text, sizeof(text));
	wbuf_bytes(&w, key, n);
	wbuf_str(&w, mac_label);
	wbuf_bytes(&w, key, n);
	begin(h);
	absorb(h, text);
	absorb(h, text + BLOCK);
	finish(h, text + 2 * BLOCK, w.len - 2 * BLOCK, w.len, mac_key);
	begin_pad(sums->inner, mac_key, 0x36);
	begin_pad(sums->outer, mac_key, 0x5c);
	secret_wipe(text, sizeof(text));
	secret_wipe(mac_key, sizeof(mac_key));
	return 0;
}

/* ---- either ---- */

int
store_sums_fit(const struct store_sums *sums, const uint8_t *page, size_t n)
{
	int first = page[PAGE_TYPE] >= TYPE_META_FIRST && page[PAGE_TYPE] <= TYPE_META_LAST;
	size_t bytes = first ? META_BYTES : n, at = first ? META_SUM : PAGE_SUM;

	switch (sums->how) {
	case STORE_SUMS_PLAIN:
		return sum_fits(page, bytes, at);
	case STORE_SUMS_KEYED:
		return mac_fits(sums, page, bytes, at);
	default:
		return 1;
	}
}

int
store_sums_learn(struct store *s, struct err *e)
{
	struct store_sums *sums = &s->sums;
	uint8_t page[META_BYTES];
	int fd;
	ssize_t n;

	if (s->key == NULL) {
		sums->how = STORE_SUMS_PLAIN;
		return 0;
	}
	if (set_key(sums, s->key, e) != 0)
		return -1;
	fd = openat(s->dir_fd, store_db_specs[STORE_DB_META].file, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT ? 0 : err_sys(e, "%s: cannot read", s->dir);
	n = pread(fd, page, sizeof(page), 0);
	close(fd);
	sums->how = n == META_BYTES && mac_fits(sums, page, META_BYTES, META_SUM)
			? STORE_SUMS_KEYED
			: STORE_SUMS_UNKNOWN;
	if (sums->how == STORE_SUMS_UNKNOWN)
		log_event(LOG_LVL_WARNING, "store_sums_unknown", "dir", s->dir, NULL);
	return 0;
}
