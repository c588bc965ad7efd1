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
wbuf_var(struct wbuf *w, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	wbuf_bytes(w, bytes, n);
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
wbuf_dec(struct wbuf *w, uint64_t v)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	char digits[20];
	size_t at = sizeof(digits);

	for (; v >= 10; v /= 100) {
		at -= 2;
		memcpy(digits + at, pairs + v % 100 * 2, 2);
	}
	if (v > 0 || at == sizeof(digits))
		digits[--at] = (char)('0' + v);
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
	uint8_t *at = wbuf_claim(w, 1);

	if (at == NULL)
		return NULL;
	*at = '\0';
	w->len--;
	return (const char *)w->p;
}

void
rbuf_init(struct rbuf *r, const void *p, size_t n)
{
	/* Never NULL inside, so that reading no bytes in place is not mistaken for a failure. */
	*r = (struct rbuf){.p = p == NULL ? (const uint8_t *)"" : p, .len = p == NULL ? 0 : n};
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

struct span
rbuf_str16(struct rbuf *r, size_t max)
{
	size_t n = rbuf_u16(r);
	const uint8_t *at;

	if (n > max)
		r->bad = 1;
	at = rbuf_bytes(r, n);
	return at == NULL ? (struct span){NULL, 0} : (struct span){(const char *)at, n};
}

int
rbuf_done(const struct rbuf *r)
{
	return r->bad || r->pos != r->len ? -1 : 0;
}
