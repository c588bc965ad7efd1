/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spans: comparing, cutting and reading borrowed runs of bytes.  Every process uses them, on bytes
 * that strangers chose.  They know nothing of what the bytes mean: characters are judged in text.c.
 *
 * Invariants:
 * - Nothing here depends on the locale, allocates, or reads past the length of a span.
 * - A span of length 0 may have any pointer, NULL included; it is never followed.
 * - Where a function fails, its output holds nothing of the input.
 */

#include <limits.h>
#include <string.h>

#include "base/span.h"

/* ULLONG_MAX has so many digits; a longer number is refused, leading zeros or not. */
#define U64_DIGITS 20

static unsigned char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : (unsigned char)c;
}

int
span_ieq(struct span a, struct span b)
{
	size_t i;

	if (a.len != b.len)
		return 0;
	for (i = 0; i < a.len; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return 0;
	return 1;
}

struct span
span_trim(struct span s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

int
span_word(struct span *rest, struct span *word)
{
	size_t n = 0;

	*word = (struct span){NULL, 0};
	while (rest->len > 0 && rest->p[0] == ' ') {
		rest->p++;
		rest->len--;
	}
	if (rest->len == 0)
		return 0;
	while (n < rest->len && rest->p[n] != ' ')
		n++;
	*word = (struct span){rest->p, n};
	rest->p += n;
	rest->len -= n;
	return 1;
}

int
span_copy(char *dst, size_t cap, struct span s)
{
	if (cap == 0)
		return -1;
	dst[0] = '\0';
	if (s.len >= cap)
		return -1;
	if (s.len == 0)
		return 0;
	if (memchr(s.p, '\0', s.len) != NULL)
		return -1;
	memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
	return 0;
}

int
span_u64(struct span s, unsigned long long max, unsigned long long *out)
{
	unsigned long long n = 0;
	size_t i;

	*out = 0;
	if (s.len == 0 || s.len > U64_DIGITS)
		return -1;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		if (__builtin_mul_overflow(n, 10ULL, &n) ||
		    __builtin_add_overflow(n, (unsigned long long)(s.p[i] - '0'), &n))
			return -1;
	}
	if (n > max)
		return -1;
	*out = n;
	return 0;
}
