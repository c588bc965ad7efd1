/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_ANSWER_H_
#define APIKEY_ANSWER_H_

/*
 * An HTTP answer as doctor got it: bounded, and nothing in it believed.  Spans point into the
 * object and hold until the next answer_reset.
 */

#include <stddef.h>

#include "base/span.h"

#define ANSWER_HEAD_MAX 32768
#define ANSWER_BODY_MAX 65536
#define ANSWER_HEADERS_MAX 128

enum answer_kind {
	ANSWER_NONE,	   /* not asked */
	ANSWER_GOT,	   /* there is a status */
	ANSWER_TIMEOUT,	   /* nothing in time */
	ANSWER_CLOSED,	   /* the connection ended without an answer, or with no HTTP */
	ANSWER_REFUSED,	   /* nobody listens there */
	ANSWER_UNREACHABLE /* no name, no route, no TLS */
};

struct answer {
	enum answer_kind kind;
	char why[256]; /* of the kinds without a status: one line */
	int status;
	int http2;
	int cut;	/* there was more than fits, or its end was not waited for */
	int key_seen;	/* it held the key that was sent; overwritten with '*' */
	int body_taken; /* the server wanted the body of the request */
	size_t nheaders;
	struct answer_header {
		struct span name, value;
	} headers[ANSWER_HEADERS_MAX];
	size_t head_len, body_len;
	char head[ANSWER_HEAD_MAX];
	char body[ANSWER_BODY_MAX + 1];
};

void answer_reset(struct answer *);

/* The next line of the head; a status line begins anew (100 Continue comes before the answer). */
void answer_add_line(struct answer *, struct span);
void answer_add_body(struct answer *, const char *, size_t);
/* Overwrite every copy of ${secret}; remembers that there was one. */
void answer_hide(struct answer *, struct span secret);

/* How many headers of this name there are; and the value of the first one, or no bytes. */
size_t answer_count(const struct answer *, const char *name);
struct span answer_get(const struct answer *, const char *name);
/* Is there one that begins like this, whatever the case?  Its name, or no bytes. */
struct span answer_starting(const struct answer *, const char *start);

struct span answer_text(const struct answer *);

/* Does ${text} stand in the body or in the value of a header? */
int answer_holds(const struct answer *, const char *text);

/* Is ${word} in ${s}, whatever the case?  Where it begins, or NULL. */
const char *answer_find(struct span s, const char *word);

#endif /* !APIKEY_ANSWER_H_ */
