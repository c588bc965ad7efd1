/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HTTP_REPLY_H_
#define HTTP_REPLY_H_

/*
 * A CGI response (RFC 3875 6.2) built in one buffer: "Status: 429 Too Many Requests", header lines,
 * an empty line, the body.  No header value can break out of its line: one with a control character
 * is not written at all, and the reply is marked bad, which turns it into a 500.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define REPLY_MAX 32768
#define REPLY_VALUE_MAX 8192 /* one header value */

struct reply {
	int bad;
	int ended; /* reply_body was called: nothing may follow */
	struct wbuf w;
	uint8_t mem[REPLY_MAX];
};

void reply_begin(struct reply *, int status);
/* The name is a token (RFC 9110 5.6.2); the value up to REPLY_VALUE_MAX bytes, perhaps none. */
void reply_header(struct reply *, const char *name, struct span value);
void reply_header_str(struct reply *, const char *name, const char *value);
/* Ends the headers (with Content-Type, Content-Length) and appends the body; ${body} NULL-span:
 * headers only, no Content-Type. */
void reply_body(struct reply *, const char *content_type, struct span body);
/* The bytes to send; a complete fixed 500 problem when the reply is bad, unfinished or did not fit.
 */
struct span reply_view(struct reply *);

/* The reason phrase of a status (RFC 9110 15). */
const char *reply_reason(int status);

#endif /* !HTTP_REPLY_H_ */
