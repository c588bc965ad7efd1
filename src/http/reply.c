/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A CGI response (RFC 3875 6.2), written into the reply's own memory: status, headers, body, in
 * that order. Workers run it for every request, so it neither allocates nor formats with printf.
 *
 * It does not know verdicts or modes; it only makes sure that what leaves is one whole, well-formed
 * response.
 *
 * Invariants: no byte of a header's value can end its line; whatever goes wrong (a bad value, a
 * call out of order, too little room) marks the reply bad and ends in the fixed 500 below, never in
 * a cut or half-right response.
 */

#include "http/reply.h"

#include "base/text.h"

#define BROKEN_BODY                                                                                \
	"{\"type\":\"urn:apikeyd:problem:misconfigured\",\"title\":\"Gate misconfigured\","        \
	"\"status\":500,\"detail\":\"The answer could not be built; tell the operator of this "    \
	"API.\","                                                                                  \
	"\"code\":\"misconfigured\"}"

/* The answer when ours cannot be sent; a refusal, as every 500 is. */
static const char broken[] = "Status: 500 Internal Server Error\r\n"
			     "Apikey-Denied: misconfigured\r\n"
			     "Cache-Control: no-store\r\n"
			     "Content-Type: application/problem+json\r\n"
			     "\r\n" BROKEN_BODY;

static const struct {
	int status;
	const char *phrase;
} reasons[] = {
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {429, "Too Many Requests"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

const char *
reply_reason(int status)
{
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].phrase;
	return "Unknown";
}

/* A token (RFC 9110 5.6.2): the names of headers. */
static int
token_ok(struct span s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";
	size_t i;
	char c;

	for (i = 0; i < s.len; i++) {
		c = s.p[i];
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
			continue;
		if (memchr(marks, c, sizeof(marks) - 1) == NULL)
			return 0;
	}
	return s.len > 0;
}

static int
value_ok(struct span s)
{
	return s.len <= REPLY_VALUE_MAX && !text_has_control(s);
}

void
reply_begin(struct reply *R, int status)
{
	R->bad = R->ended = 0;
	wbuf_init(&R->w, R->mem, sizeof(R->mem));
	if (status < 200 || status > 599) {
		R->bad = 1;
		return;
	}
	wbuf_str(&R->w, "Status: ");
	wbuf_dec(&R->w, (uint64_t)status);
	wbuf_u8(&R->w, ' ');
	wbuf_str(&R->w, reply_reason(status));
	wbuf_str(&R->w, "\r\n");
}

void
reply_header(struct reply *R, const char *name, struct span value)
{
	if (R->ended || !token_ok(span_of(name)) || !value_ok(value)) {
		R->bad = 1;
		return;
	}
	wbuf_str(&R->w, name);
	wbuf_str(&R->w, ": ");
	wbuf_span(&R->w, value);
	wbuf_str(&R->w, "\r\n");
}

void
reply_header_str(struct reply *R, const char *name, const char *value)
{
	reply_header(R, name, span_of(value));
}

static void
header_length(struct reply *R, size_t len)
{
	wbuf_str(&R->w, "Content-Length: ");
	wbuf_dec(&R->w, len);
	wbuf_str(&R->w, "\r\n");
}

void
reply_body(struct reply *R, const char *content_type, struct span body)
{
	if (R->ended) {
		R->bad = 1;
		return;
	}
	if (body.p != NULL) {
		reply_header_str(R, "Content-Type", content_type);
		header_length(R, body.len);
	}
	wbuf_str(&R->w, "\r\n");
	wbuf_span(&R->w, body);
	R->ended = 1;
}

struct span
reply_view(struct reply *R)
{
	if (!R->ended || R->w.overflow)
		R->bad = 1;
	if (R->bad)
		return (struct span){broken, sizeof(broken) - 1};
	return wbuf_view(&R->w);
}
