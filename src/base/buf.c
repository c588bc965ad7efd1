/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bounded writer and the bounded reader: all records, messages and replies pass through here,
 * in every process.  They move bytes and integers; what a field means, and whether its value is
 * allowed, is the business of whoever encodes or decodes.
 *
 * Invariants:
 * - No byte outside the caller's memory is written or read.
 * - The first overrun (underrun) is final: everything after it is dropped (reads as zero), so a
 *   sequence of calls can be checked once, at its end.
 */

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/* Room for ${n} more bytes, counted as written; or NULL, and the writer is spoilt. */
static uint8_t *
claim(struct wbuf *w, size_t n)
{
	uint8_t *at;

	if (w->overflow || n > w->cap - w->len) {
		w->overflow = 1;
		return NULL;
	}
	at = w->p + w->len;
	w->len += n;
	return at;
}

static void
put_be(struct wbuf *w, uint64_t v, size_t n)
{
	uint8_t *at = claim(w, n);

	if (at == NULL)
		return;
	while (n-- > 0) {
		at[n] = (uint8_t)v;
		v >>= 8;
	}
}

void
wbuf_init(struct wbuf *w, void *p, size_t cap)
{
	*w = (struct wbuf){.p = p, .cap = cap};
}

void
wbuf_reset(struct wbuf *w)
{
	w->len = 0;
	w->overflow = 0;
}

void
wbuf_u8(struct wbuf *w, uint8_t v)
{
	put_be(w, v, 1);
}

void
wbuf_u16(struct wbuf *w, uint16_t v)
{
	put_be(w, v, 2);
}

void
wbuf_u32(struct wbuf *w, uint32_t v)
{
	put_be(w, v, 4);
}

void
wbuf_u64(struct wbuf *w, uint64_t v)
{
	put_be(w, v, 8);
}

void
wbuf_var(struct wbuf *w, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		wbuf_u8(w, (uint8_t)(v | 0x80));
	wbuf_u8(w, (uint8_t)v);
}

void
wbuf_bytes(struct wbuf *w, const void *p, size_t n)
{
	uint8_t *at = claim(w, n);

	if (at != NULL && n > 0)
		memcpy(at, p, n);
}

void
wbuf_span(struct wbuf *w, struct span s)
{
	wbuf_bytes(w, s.p, s.len);
}

void
wbuf_str16(struct wbuf *w, struct span s)
{
	if (s.len > UINT16_MAX) {
		w->overflow = 1;
		return;
	}
	wbuf_u16(w, (uint16_t)s.len);
	wbuf_span(w, s);
}

void
wbuf_str(struct wbuf *w, const char *s)
{
	wbuf_span(w, span_of(s));
}

void
wbuf_dec(struct wbuf *w, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	wbuf_bytes(w, digits + at, sizeof(digits) - at);
}

void
wbuf_printf(struct wbuf *w, const char *fmt, ...)
{
	size_t room = w->cap - w->len;
	va_list ap;
	int n;

	if (w->overflow)
		return;
	va_start(ap, fmt);
	n = vsnprintf((char *)w->p + w->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) {
		w->overflow = 1;
		return;
	}
	w->len += (size_t)n;
}

struct span
wbuf_view(const struct wbuf *w)
{
	return (struct span){(const char *)w->p, w->len};
}

const char *
wbuf_cstr(struct wbuf *w)
{
	uint8_t *at = claim(w, 1);

	if (at == NULL)
		return NULL;
	*at = '\0';
	w->len--;
	return (const char *)w->p;
}

/* The next ${n} bytes, or NULL, and the reader is spoilt. */
static const uint8_t *
take(struct rbuf *r, size_t n)
{
	const uint8_t *at;

	if (r->bad || n > r->len - r->pos) {
		r->bad = 1;
		return NULL;
	}
	at = r->p + r->pos;
	r->pos += n;
	return at;
}

static uint64_t
get_be(struct rbuf *r, size_t n)
{
	const uint8_t *at = take(r, n);
	uint64_t v = 0;
	size_t i;

	for (i = 0; at != NULL && i < n; i++)
		v = v << 8 | at[i];
	return v;
}

void
rbuf_init(struct rbuf *r, const void *p, size_t n)
{
	/* Never NULL inside, so that reading no bytes in place is not mistaken for a failure. */
	*r = (struct rbuf){.p = p == NULL ? (const uint8_t *)"" : p, .len = p == NULL ? 0 : n};
}

uint8_t
rbuf_u8(struct rbuf *r)
{
	return (uint8_t)get_be(r, 1);
}

uint16_t
rbuf_u16(struct rbuf *r)
{
	return (uint16_t)get_be(r, 2);
}

uint32_t
rbuf_u32(struct rbuf *r)
{
	return (uint32_t)get_be(r, 4);
}

uint64_t
rbuf_u64(struct rbuf *r)
{
	return get_be(r, 8);
}

uint64_t
rbuf_var(struct rbuf *r)
{
	uint64_t v = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = rbuf_u8(r);
		/* The tenth byte has one bit; a last byte of zero was not needed. */
		if (shift > 63 || (shift == 63 && byte > 1) || (shift > 0 && byte == 0))
			r->bad = 1;
		if (r->bad)
			return 0;
		v |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte >= 0x80);
	return v;
}

const uint8_t *
rbuf_bytes(struct rbuf *r, size_t n)
{
	return take(r, n);
}

struct span
rbuf_str16(struct rbuf *r, size_t max)
{
	size_t n = rbuf_u16(r);
	const uint8_t *at;

	if (n > max)
		r->bad = 1;
	at = take(r, n);
	return at == NULL ? (struct span){NULL, 0} : (struct span){(const char *)at, n};
}

int
rbuf_done(const struct rbuf *r)
{
	return r->bad || r->pos != r->len ? -1 : 0;
}
