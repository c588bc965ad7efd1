/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SipHash-2-4.  Written here because OpenSSL offers it only through EVP_MAC, whose set-up costs
 * more than the hash of an address; a worker hashes one for each failed attempt, the keeper the id
 * of each request that it counts.
 *
 * Invariant: the result is that of the paper, on any byte order (tested with its vectors).
 */

#include <endian.h>
#include <string.h>

#include "base/siphash.h"

struct state {
	uint64_t a, b, c, d;
};

static uint64_t
rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

/* Less than eight bytes, the first one lowest. */
static uint64_t
little(const uint8_t *p, size_t n)
{
	uint64_t x = 0;

	for (size_t i = 0; i < n; i++)
		x |= (uint64_t)p[i] << 8 * i;
	return x;
}

static uint64_t
whole(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return le64toh(x);
}

static void
rounds(struct state *s, int n)
{
	for (; n > 0; n--) {
		s->a += s->b;
		s->c += s->d;
		s->b = rotate(s->b, 13) ^ s->a;
		s->d = rotate(s->d, 16) ^ s->c;
		s->a = rotate(s->a, 32);
		s->c += s->b;
		s->a += s->d;
		s->b = rotate(s->b, 17) ^ s->c;
		s->d = rotate(s->d, 21) ^ s->a;
		s->c = rotate(s->c, 32);
	}
}

static void
absorb(struct state *s, uint64_t word)
{
	s->d ^= word;
	rounds(s, 2);
	s->a ^= word;
}

uint64_t
siphash(const uint8_t key[SIPHASH_KEY], const void *data, size_t len)
{
	uint64_t k0 = whole(key), k1 = whole(key + 8);
	/* The paper's constants: "somepseudorandomlygeneratedbytes". */
	struct state s = {.a = k0 ^ UINT64_C(0x736f6d6570736575),
	    .b = k1 ^ UINT64_C(0x646f72616e646f6d),
	    .c = k0 ^ UINT64_C(0x6c7967656e657261),
	    .d = k1 ^ UINT64_C(0x7465646279746573)};
	const uint8_t *p = data;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8)
		absorb(&s, whole(p));
	absorb(&s, (uint64_t)(len & 0xff) << 56 | little(p, left));
	s.c ^= 0xff;
	rounds(&s, 4);
	return s.a ^ s.b ^ s.c ^ s.d;
}
