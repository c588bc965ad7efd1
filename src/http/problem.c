/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a denied client reads: the problem+json body (RFC 9457), and the challenges that go with a
 * 400, 401 or 403 (RFC 6750 3, RFC 9110 11.6.1).  Workers run it; title, detail, type and challenge
 * of a verdict come from the table in core/verdict.c, nothing is decided here.
 *
 * Invariants: the body is one line of ASCII-safe JSON syntax whatever bytes come in (control
 * characters, DEL among them, are escaped: under auth_request the body travels in a header); it
 * tells nothing of the key but what the contract lists; a problem is never made of `ok`.
 */

#include "http/problem.h"

#include "base/text.h"

#define TYPE_PREFIX "urn:apikeyd:problem:"
#define INSTANCE_PREFIX "urn:apikeyd:request:"

static const struct verdict_info *
info_of(const struct problem *p)
{
	return verdict_info(p->verdict == VERDICT_OK ? VERDICT_MISCONFIGURED : p->verdict);
}

/* A time to rotate by comes with a denial when the secret alone was refused. */
static const char *
detail_of(const struct problem *p, const struct verdict_info *info)
{
	if (info->secret_detail != NULL && p->answer != NULL && p->answer->rotate_by_us > 0)
		return info->secret_detail;
	return info->detail;
}

static void
json_escape(struct wbuf *w, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	wbuf_u8(w, '\\');
	switch (c) {
	case '"':
	case '\\':
		wbuf_u8(w, c);
		break;
	case '\n':
		wbuf_u8(w, 'n');
		break;
	case '\r':
		wbuf_u8(w, 'r');
		break;
	case '\t':
		wbuf_u8(w, 't');
		break;
	default:
		wbuf_str(w, "u00");
		wbuf_u8(w, (uint8_t)hex[c >> 4]);
		wbuf_u8(w, (uint8_t)hex[c & 15]);
		break;
	}
}

/* Nearly every character that is written: it stands for itself, and is one byte. */
static int
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The inside of a JSON string.  Runs of plain bytes are copied as one. */
static void
json_chars(struct wbuf *w, struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, start = 0, len;
	uint32_t c;

	while (i < s.len) {
		len = is_plain(p[i]) ? 1 : text_utf8_next(p + i, s.len - i, &c);
		if (len > 1 || is_plain(p[i])) {
			i += len;
			continue;
		}
		wbuf_bytes(w, p + start, i - start);
		if (len == 0)
			wbuf_str(w, "\\ufffd");
		else
			json_escape(w, p[i]);
		start = ++i;
	}
	if (i > start)
		wbuf_bytes(w, p + start, i - start);
}

void
problem_json_string(struct wbuf *w, struct span s)
{
	wbuf_u8(w, '"');
	json_chars(w, s);
	wbuf_u8(w, '"');
}

/* `,"name":"prefix+value"` */
static void
member(struct wbuf *w, const char *name, const char *prefix, struct span value)
{
	wbuf_str(w, ",\"");
	wbuf_str(w, name);
	wbuf_str(w, "\":\"");
	wbuf_str(w, prefix);
	json_chars(w, value);
	wbuf_u8(w, '"');
}

static void
violated_policies(const struct wire_answer *a, struct wbuf *w)
{
	size_t i;
	int first = 1;

	wbuf_str(w, ",\"violated-policies\":[");
	for (i = 0; i < a->nlimits; i++) {
		if (!a->limits[i].violated)
			continue;
		if (!first)
			wbuf_u8(w, ',');
		first = 0;
		problem_json_string(w, span_of(a->limits[i].name));
	}
	wbuf_u8(w, ']');
}

void
problem_body(const struct problem *p, struct wbuf *w)
{
	const struct verdict_info *info = info_of(p);

	wbuf_str(w, "{\"type\":\"");
	if (info->type != NULL) {
		wbuf_str(w, info->type);
	} else {
		wbuf_str(w, TYPE_PREFIX);
		wbuf_str(w, info->code);
	}
	wbuf_u8(w, '"');
	member(w, "title", "", span_of(info->title));
	wbuf_str(w, ",\"status\":");
	wbuf_dec(w, (uint64_t)info->status);
	member(w, "detail", "", span_of(detail_of(p, info)));
	member(w, "code", "", span_of(info->code));
	if (p->request_id.len > 0)
		member(w, "instance", INSTANCE_PREFIX, p->request_id);
	if (p->verdict == VERDICT_RATE_LIMITED && p->answer != NULL)
		violated_policies(p->answer, w);
	if (p->verdict == VERDICT_SCOPE_INSUFFICIENT)
		member(w, "scope", "", p->needed_scopes);
	wbuf_u8(w, '}');
}

/* `name="value"`, a quoted-string (RFC 9110 5.6.4). */
static void
parameter(struct wbuf *w, const char *name, struct span value)
{
	size_t i;

	wbuf_str(w, name);
	wbuf_str(w, "=\"");
	for (i = 0; i < value.len; i++) {
		if (value.p[i] == '"' || value.p[i] == '\\')
			wbuf_u8(w, '\\');
		wbuf_u8(w, (uint8_t)value.p[i]);
	}
	wbuf_u8(w, '"');
}

int
problem_challenge(const struct problem *p, struct wbuf *w)
{
	static const char *const errors[] = {
	    [CHALLENGE_INVALID_REQUEST] = "invalid_request",
	    [CHALLENGE_INVALID_TOKEN] = "invalid_token",
	    [CHALLENGE_INSUFFICIENT_SCOPE] = "insufficient_scope",
	};
	const struct verdict_info *info = info_of(p);

	if (info->challenge == CHALLENGE_NONE)
		return 0;
	parameter(w, "Bearer realm", span_of(p->realm));
	if (info->challenge != CHALLENGE_PLAIN)
		parameter(w, ", error", span_of(errors[info->challenge]));
	if (info->description != NULL)
		parameter(w, ", error_description", span_of(info->description));
	if (info->challenge == CHALLENGE_INSUFFICIENT_SCOPE)
		parameter(w, ", scope", p->needed_scopes);
	return 1;
}

void
problem_challenge_apikey(const struct problem *p, struct wbuf *w)
{
	parameter(w, "ApiKey realm", span_of(p->realm));
}
