/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_BUF_H_
#define BASE_BUF_H_

/*
 * The one bounded writer and the one bounded reader.  Every record, message
 * and reply is written and read through them.  An overrun or an underrun is
 * remembered in the object and asked once at the end; nothing is ever written
 * or read out of bounds.  Integers are big-endian, so that keys sort.
 *
 * What moves a few bytes is inline: a request writes and reads some 200 fields,
 * and with a call for each they were a sixth of a worker's own instructions.
 */

#include <endian.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

struct wbuf {
	uint8_t *p; /* memory of the caller */
	size_t len, cap;
	int overflow; /* something did not fit; the content is then not to be used */
};

void wbuf_init(struct wbuf *, void *, size_t);
void wbuf_reset(struct wbuf *);
void wbuf_var(struct wbuf *, uint64_t);	     /* LEB128: 7 bits a byte, the lowest first */
void wbuf_str16(struct wbuf *, struct span); /* u16 length, then the bytes */
void wbuf_dec(struct wbuf *, uint64_t);	     /* decimal text; faster than wbuf_printf */
/* Formatted text.  Needs one byte to spare, for a NUL that is not counted. */
void wbuf_printf(struct wbuf *, const char *, ...) __attribute__((format(printf, 2, 3)));
struct span wbuf_view(const struct wbuf *);
/* Append a NUL that is not counted in len; returns the text, or NULL on overflow. */
const char *wbuf_cstr(struct wbuf *);

/* Room for ${n} more bytes, counted as written; or NULL, and the writer is spoilt. */
static inline uint8_t *
wbuf_claim(struct wbuf *w, size_t n)
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

static inline void
wbuf_bytes(struct wbuf *w, const void *p, size_t n)
{
	uint8_t *at = wbuf_claim(w, n);

	if (at != NULL && n > 0)
		memcpy(at, p, n);
}

/* The bytes alone. */
static inline void
wbuf_span(struct wbuf *w, struct span s)
{
	wbuf_bytes(w, s.p, s.len);
}

/* The text alone, without its NUL. */
static inline void
wbuf_str(struct wbuf *w, const char *s)
{
	wbuf_span(w, span_of(s));
}

static inline void
wbuf_u8(struct wbuf *w, uint8_t v)
{
	wbuf_bytes(w, &v, sizeof(v));
}

static inline void
wbuf_u16(struct wbuf *w, uint16_t v)
{
	v = htobe16(v);
	wbuf_bytes(w, &v, sizeof(v));
}

static inline void
wbuf_u32(struct wbuf *w, uint32_t v)
{
	v = htobe32(v);
	wbuf_bytes(w, &v, sizeof(v));
}

static inline void
wbuf_u64(struct wbuf *w, uint64_t v)
{
	v = htobe64(v);
	wbuf_bytes(w, &v, sizeof(v));
}

struct rbuf {
	const uint8_t *p;
	size_t len, pos;
	int bad; /* ran out of bytes, or a length was over its bound */
};

void rbuf_init(struct rbuf *, const void *, size_t);
/* Bad when it has more bytes than it needs or more bits than 64. */
uint64_t rbuf_var(struct rbuf *);
/* A u16 length of at most ${max}, then the bytes, in place. */
struct span rbuf_str16(struct rbuf *, size_t);
/* 0 when everything was read, nothing is left and nothing was bad; else -1. */
int rbuf_done(const struct rbuf *) __attribute__((warn_unused_result));

/* ${n} bytes in place; or NULL, and the reader is spoilt. */
static inline const uint8_t *
rbuf_bytes(struct rbuf *r, size_t n)
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

static inline uint8_t
rbuf_u8(struct rbuf *r)
{
	const uint8_t *at = rbuf_bytes(r, 1);

	return at == NULL ? 0 : *at;
}

static inline uint16_t
rbuf_u16(struct rbuf *r)
{
	const uint8_t *at = rbuf_bytes(r, sizeof(uint16_t));
	uint16_t v = 0;

	if (at != NULL)
		memcpy(&v, at, sizeof(v));
	return be16toh(v);
}

static inline uint32_t
rbuf_u32(struct rbuf *r)
{
	const uint8_t *at = rbuf_bytes(r, sizeof(uint32_t));
	uint32_t v = 0;

	if (at != NULL)
		memcpy(&v, at, sizeof(v));
	return be32toh(v);
}

static inline uint64_t
rbuf_u64(struct rbuf *r)
{
	const uint8_t *at = rbuf_bytes(r, sizeof(uint64_t));
	uint64_t v = 0;

	if (at != NULL)
		memcpy(&v, at, sizeof(v));
	return be64toh(v);
}

#endif /* !BASE_BUF_H_ */
