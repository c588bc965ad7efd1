/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Keys in bytes of any kind: what the finder finds, in pieces of any size, is what asking at every
 * place finds.
 */

#include "core/finder.h"

#include "fuzz.h"

struct hits {
	size_t n;
	uint64_t sum;
};

static void
hit(void *cookie, const struct finder_hit *h)
{
	struct hits *s = cookie;

	must(token_valid(h->key, span_of("ak")));
	s->n++;
	s->sum += h->offset + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const prefixes[] = {"ak"};
	struct hits whole = {0}, pieces = {0}, naive = {0};
	size_t key_len = strlen("ak_live_") + TOKEN_RANDOM + TOKEN_CHECK, piece, at;
	struct finder *f;
	struct err e;

	for (at = 0; at + key_len <= n; at++)
		if (token_valid((struct span){(const char *)p + at, key_len}, span_of("ak"))) {
			naive.n++;
			naive.sum += at + 1;
		}
	must((f = finder_new(prefixes, 1, hit, &whole, &e)) != NULL);
	finder_begin(f);
	finder_feed(f, p, n);
	finder_free(&f);
	must((f = finder_new(prefixes, 1, hit, &pieces, &e)) != NULL);
	finder_begin(f);
	piece = n > 0 ? p[0] % 61 + 1 : 1;
	for (at = 0; at < n; at += piece)
		finder_feed(f, p + at, n - at < piece ? n - at : piece);
	finder_free(&f);
	must(whole.n == naive.n && whole.sum == naive.sum);
	must(pieces.n == naive.n && pieces.sum == naive.sum);
	return 0;
}
