/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_BUF_H_
#define BASE_BUF_H_

/*
 * The one bounded writer and the one bounded reader.  Every record, message
 * and reply is written and read through them.  An overrun or an underrun is
 * remembered in the object and asked once at the end; nothing is ever written
 * or read out of bounds.  Integers are big-endian, so that keys sort.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct wbuf {
	uint8_t *p; /* memory of the caller */
	size_t len, cap;
	int overflow; /* something did not fit; the content is then not to be used */
};

void wbuf_init(struct wbuf *, void *, size_t);
void wbuf_reset(struct wbuf *);
void wbuf_u8(struct wbuf *, uint8_t);
void wbuf_u16(struct wbuf *, uint16_t);
void wbuf_u32(struct wbuf *, uint32_t);
void wbuf_u64(struct wbuf *, uint64_t);
void wbuf_var(struct wbuf *, uint64_t); /* LEB128: 7 bits a byte, the lowest first */
void wbuf_bytes(struct wbuf *, const void *, size_t);
void wbuf_span(struct wbuf *, struct span);  /* the bytes alone */
void wbuf_str16(struct wbuf *, struct span); /* u16 length, then the bytes */
void wbuf_str(struct wbuf *, const char *);  /* the text alone, without its NUL */
void wbuf_dec(struct wbuf *, uint64_t);	     /* decimal text; faster than wbuf_printf */
/* Formatted text.  Needs one byte to spare, for a NUL that is not counted. */
void wbuf_printf(struct wbuf *, const char *, ...) __attribute__((format(printf, 2, 3)));
struct span wbuf_view(const struct wbuf *);
/* Append a NUL that is not counted in len; returns the text, or NULL on overflow. */
const char *wbuf_cstr(struct wbuf *);

struct rbuf {
	const uint8_t *p;
	size_t len, pos;
	int bad; /* ran out of bytes, or a length was over its bound */
};

void rbuf_init(struct rbuf *, const void *, size_t);
uint8_t rbuf_u8(struct rbuf *);
uint16_t rbuf_u16(struct rbuf *);
uint32_t rbuf_u32(struct rbuf *);
uint64_t rbuf_u64(struct rbuf *);
/* Bad when it has more bytes than it needs or more bits than 64. */
uint64_t rbuf_var(struct rbuf *);
/* ${n} bytes in place, or NULL (and bad). */
const uint8_t *rbuf_bytes(struct rbuf *, size_t);
/* A u16 length of at most ${max}, then the bytes, in place. */
struct span rbuf_str16(struct rbuf *, size_t);
/* 0 when everything was read, nothing is left and nothing was bad; else -1. */
int rbuf_done(const struct rbuf *) __attribute__((warn_unused_result));

#endif /* !BASE_BUF_H_ */
