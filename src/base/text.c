/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The characters of texts: what a value may hold before it is stored, echoed in a header, or shown
 * on a terminal.  Used by every process.  What a field means, and how long it may be, is judged by
 * its own module.
 *
 * Invariants:
 * - Nothing here depends on the locale.
 * - UTF-8 is that of RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
 */

#include <stdint.h>
#include <string.h>

#include "base/text.h"

size_t
text_utf8_next(const unsigned char *p, size_t n, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len, i;
	uint32_t c;

	if (p[0] < 0x80) {
		*out = p[0];
		return 1;
	}
	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc0 || p[0] >= 0xf8 || len > n)
		return 0;
	c = p[0] & (0x7fU >> len);
	for (i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[len] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	*out = c;
	return len;
}

static int
is_utf8(struct span s, int allow_controls)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, n;
	uint32_t c;

	while (i < s.len) {
		n = text_utf8_next(p + i, s.len - i, &c);
		if (n == 0)
			return 0;
		if (!allow_controls && (c < 0x20 || (c >= 0x7f && c <= 0x9f)))
			return 0;
		i += n;
	}
	return 1;
}

int
text_utf8(struct span s)
{
	return is_utf8(s, 1);
}

int
text_printable(struct span s)
{
	return is_utf8(s, 0);
}

/*
 * Keys and values of headers are looked at eight bytes at once: a step for each byte was a tenth of
 * what a request costs a worker.  A class of characters says of eight bytes which of them are in
 * it: the top bit of each.
 */
#define EACH UINT64_C(0x0101010101010101)
#define TOPS (EACH * 0x80)

/* Those from ${first} to ${last}, both below 0x80: nothing carries from one byte into the next. */
static inline uint64_t
range(uint64_t x, unsigned first, unsigned last)
{
	uint64_t low = x & ~TOPS;

	return (low + EACH * (0x80 - first)) & ~(low + EACH * (0x7f - last)) & ~x & TOPS;
}

static inline uint64_t
is_no_control(uint64_t x)
{
	return range(x, 0x20, 0x7e) | (x & TOPS);
}

static inline uint64_t
is_printable(uint64_t x)
{
	return range(x, 0x20, 0x7e);
}

static inline uint64_t
is_alnum8(uint64_t x)
{
	return range(x, '0', '9') | range(x | EACH * 0x20, 'a', 'z');
}

/* Are all bytes of ${s} of a class, which '0' is of as well? */
static inline int
all_of(struct span s, uint64_t (*class)(uint64_t))
{
	uint64_t x;
	size_t i;

	for (i = 0; s.len - i >= sizeof(x); i += sizeof(x)) {
		memcpy(&x, s.p + i, sizeof(x));
		if (class(x) != TOPS)
			return 0;
	}
	if (i == s.len)
		return 1;
	x = EACH * '0';
	memcpy(&x, s.p + i, s.len - i);
	return class(x) == TOPS;
}

int
text_has_control(struct span s)
{
	return !all_of(s, is_no_control);
}

int
text_alnum(struct span s)
{
	return all_of(s, is_alnum8);
}

int
text_header_safe(struct span s)
{
	if (s.len == 0 || s.p[0] == ' ' || s.p[s.len - 1] == ' ')
		return 0;
	return all_of(s, is_printable);
}

static int
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int
text_identifier(struct span s, size_t max)
{
	size_t i;

	if (s.len == 0 || s.len > max || !is_alnum(s.p[0]))
		return 0;
	for (i = 1; i < s.len; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '.' && s.p[i] != '-')
			return 0;
	return 1;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ${plus}: what a '+' stands for. */
static int
decode(struct span in, char plus, char *out, size_t cap, size_t *len)
{
	size_t i, n = 0;
	int high, low;
	char c;

	*len = 0;
	for (i = 0; i < in.len; i++) {
		c = in.p[i] == '+' ? plus : in.p[i];
		if (c == '%') {
			if (in.len - i < 3 || (high = hex_value(in.p[i + 1])) < 0 ||
			    (low = hex_value(in.p[i + 2])) < 0)
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (n == cap)
			return -1;
		out[n++] = c;
	}
	*len = n;
	return 0;
}

int
text_urldecode(struct span in, char *out, size_t cap, size_t *len)
{
	return decode(in, ' ', out, cap, len);
}

int
text_percent_decode(struct span in, char *out, size_t cap, size_t *len)
{
	return decode(in, '+', out, cap, len);
}
