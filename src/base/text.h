/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_TEXT_H_
#define BASE_TEXT_H_

/* What characters a value may hold before it is stored, echoed or logged. */

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/*
 * text_utf8_next(p, n, &c): the character (RFC 3629) at ${p}, of which ${n} > 0 bytes are there:
 * its length in bytes and its code point; 0 when it is malformed.
 */
size_t text_utf8_next(const unsigned char *, size_t, uint32_t *);

/* Valid UTF-8 (RFC 3629), whatever the characters; 1 or 0. */
int text_utf8(struct span);

/* Valid UTF-8 (RFC 3629) without control characters (C0, DEL, C1); 1 or 0. */
int text_printable(struct span);

/* Has it a control character of ASCII (C0, DEL), whatever its other bytes are?  1 or 0. */
int text_has_control(struct span);

/* Nothing but [0-9A-Za-z], perhaps nothing at all; 1 or 0. */
int text_alnum(struct span);

/*
 * Printable ASCII, 0x20-0x7e, neither beginning nor ending with a space, not empty: safe in a
 * header.
 */
int text_header_safe(struct span);

/* An identifier: [A-Za-z0-9][A-Za-z0-9_.-]*, at most ${max} bytes. */
int text_identifier(struct span, size_t);

/*
 * text_urldecode(in, out, cap, &len): application/x-www-form-urlencoded ('+' is a space,
 * %XX).  0, or -1 when it does not fit or a % is not followed by two hex digits.
 */
int text_urldecode(struct span, char *, size_t, size_t *) __attribute__((warn_unused_result));
/* The same, but '+' is itself (RFC 3986 2.1). */
int text_percent_decode(struct span, char *, size_t, size_t *) __attribute__((warn_unused_result));

#endif /* !BASE_TEXT_H_ */
