/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * An HTTP answer in bounded memory, for `apikey doctor`: gathered line by line, then asked for
 * headers.  It knows neither libcurl (probe.c) nor what an answer should be (judge.c).
 *
 * Bytes are a stranger's.  Invariants: nothing is stored past a maximum, what does not fit is left
 * out and remembered; the body is followed by a NUL; a key that the other side sent back is
 * overwritten before anybody can quote it.
 */

#include <string.h>

#include "apikey/answer.h"

void
answer_reset(struct answer *a)
{
	a->kind = ANSWER_NONE;
	a->why[0] = '\0';
	a->status = a->http2 = a->cut = a->key_seen = a->body_taken = 0;
	a->nheaders = a->head_len = a->body_len = 0;
	a->body[0] = '\0';
}

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 401 Unauthorized", "HTTP/2 401": its status, 0 for another line. */
static int
status_of(struct span line)
{
	const char *sp;
	size_t at;

	if (line.len < sizeof("HTTP/2 200") - 1 || memcmp(line.p, "HTTP/", 5) != 0 ||
	    (sp = memchr(line.p, ' ', line.len)) == NULL)
		return 0;
	at = (size_t)(sp - line.p) + 1;
	if (line.len < at + 3 || !is_digit(line.p[at]) || !is_digit(line.p[at + 1]) ||
	    !is_digit(line.p[at + 2]))
		return 0;
	return (line.p[at] - '0') * 100 + (line.p[at + 1] - '0') * 10 + line.p[at + 2] - '0';
}

static struct span
without_end(struct span line)
{
	while (line.len > 0 && (line.p[line.len - 1] == '\n' || line.p[line.len - 1] == '\r'))
		line.len--;
	return line;
}

void
answer_add_line(struct answer *a, struct span line)
{
	struct answer_header *h;
	const char *colon;
	char *copy;
	int status;

	line = without_end(line);
	if ((status = status_of(line)) != 0) {
		a->kind = ANSWER_GOT;
		a->status = status;
		a->http2 = line.p[5] == '2';
		a->nheaders = a->head_len = 0;
		return;
	}
	if ((colon = memchr(line.p, ':', line.len)) == NULL)
		return;
	if (a->nheaders == ANSWER_HEADERS_MAX || line.len > ANSWER_HEAD_MAX - a->head_len) {
		a->cut = 1;
		return;
	}
	copy = memcpy(a->head + a->head_len, line.p, line.len);
	a->head_len += line.len;
	h = &a->headers[a->nheaders++];
	h->name = (struct span){copy, (size_t)(colon - line.p)};
	h->value = span_trim((struct span){copy + h->name.len + 1, line.len - h->name.len - 1});
}

void
answer_add_body(struct answer *a, const char *p, size_t n)
{
	size_t room = ANSWER_BODY_MAX - a->body_len;

	if (n > room) {
		n = room;
		a->cut = 1;
	}
	memcpy(a->body + a->body_len, p, n);
	a->body_len += n;
	a->body[a->body_len] = '\0';
}

static int
hide_in(char *p, size_t n, struct span secret)
{
	char *at = p;
	int found = 0;

	while ((at = memmem(at, n - (size_t)(at - p), secret.p, secret.len)) != NULL) {
		memset(at, '*', secret.len);
		found = 1;
	}
	return found;
}

void
answer_hide(struct answer *a, struct span secret)
{
	if (secret.len == 0)
		return;
	if (hide_in(a->head, a->head_len, secret))
		a->key_seen = 1;
	if (hide_in(a->body, a->body_len, secret))
		a->key_seen = 1;
}

size_t
answer_count(const struct answer *a, const char *name)
{
	size_t i, n = 0;

	for (i = 0; i < a->nheaders; i++)
		n += span_ieq(a->headers[i].name, span_of(name));
	return n;
}

struct span
answer_get(const struct answer *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->nheaders; i++) {
		if (span_ieq(a->headers[i].name, span_of(name)))
			return a->headers[i].value;
	}
	return (struct span){NULL, 0};
}

struct span
answer_starting(const struct answer *a, const char *start)
{
	size_t i, n = strlen(start);

	for (i = 0; i < a->nheaders; i++) {
		if (a->headers[i].name.len >= n &&
		    span_ieq((struct span){a->headers[i].name.p, n}, span_of(start)))
			return a->headers[i].name;
	}
	return (struct span){NULL, 0};
}

struct span
answer_text(const struct answer *a)
{
	return (struct span){a->body, a->body_len};
}

const char *
answer_find(struct span s, const char *word)
{
	size_t n = strlen(word), i;

	for (i = 0; i + n <= s.len; i++) {
		if (span_ieq((struct span){s.p + i, n}, (struct span){word, n}))
			return s.p + i;
	}
	return NULL;
}

int
answer_holds(const struct answer *a, const char *text)
{
	size_t i;

	if (memmem(a->body, a->body_len, text, strlen(text)) != NULL)
		return 1;
	for (i = 0; i < a->nheaders; i++) {
		if (memmem(a->headers[i].value.p, a->headers[i].value.len, text, strlen(text)) !=
		    NULL)
			return 1;
	}
	return 0;
}
