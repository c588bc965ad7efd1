/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scopes: which may be held, which may be needed, and which grants which.
 *
 * Not here: where a route's needed scopes come from (the web server's APIKEYD_SCOPE) and what a
 * refusal looks like.  The keeper decides with it; the workers and the tool check words with it.
 *
 * Invariants: nothing malformed grants or is granted; a star stands for the rest of its own segment
 * and, alone at the end, for whole segments: "orders:*" grants neither "orders" nor "ordersx:read",
 * "orders:re*" not "orders:read:all".
 */

#include <string.h>

#include "core/scope.h"

static int
is_scope_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == '/' || c == '-';
}

/* Colon-separated, non-empty segments; with ${star} each may end with a "*", or be one. */
static int
segments_ok(struct span s, int star)
{
	size_t in_segment = 0;
	int ended = 0;

	if (s.len == 0 || s.len > SCOPE_MAX)
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == ':') {
			if (in_segment == 0)
				return 0;
			in_segment = 0;
			ended = 0;
			continue;
		}
		if (ended || !(is_scope_char(s.p[i]) || (star && s.p[i] == '*')))
			return 0;
		ended = s.p[i] == '*';
		in_segment++;
	}
	return in_segment > 0;
}

int
scope_ok(struct span s)
{
	return segments_ok(s, 1);
}

int
scope_needed_ok(struct span s)
{
	return segments_ok(s, 0);
}

int
scope_needed_list_ok(struct span list)
{
	struct span word;
	size_t n = 0;

	if (list.len > SCOPE_LIST_MAX)
		return 0;
	while (span_word(&list, &word))
		if (++n > SCOPE_COUNT_MAX || !scope_needed_ok(word))
			return 0;
	return 1;
}

/* Cut the next segment, and the colon behind it, off ${rest}. */
static struct span
cut_segment(struct span *rest)
{
	const char *colon = memchr(rest->p, ':', rest->len);
	struct span segment = *rest;

	if (colon == NULL) {
		rest->len = 0;
		return segment;
	}
	segment.len = (size_t)(colon - rest->p);
	rest->p += segment.len + 1;
	rest->len -= segment.len + 1;
	return segment;
}

/* Of one segment; "re*" stands for all that begin with "re". */
static int
segment_grants(struct span held, struct span needed)
{
	size_t before = held.len - 1;

	if (held.p[before] != '*')
		return span_eq(held, needed);
	return needed.len >= before && memcmp(held.p, needed.p, before) == 0;
}

/* Both are well-formed. */
static int
grants(struct span held, struct span needed)
{
	while (held.len > 0 && needed.len > 0) {
		struct span h = cut_segment(&held), n = cut_segment(&needed);

		/* At the end a star alone stands for whatever follows. */
		if (held.len == 0 && span_is(h, "*"))
			return 1;
		if (!segment_grants(h, n))
			return 0;
	}
	return held.len == 0 && needed.len == 0;
}

int
scope_grants(struct span held, struct span needed)
{
	return scope_ok(held) && scope_needed_ok(needed) && grants(held, needed);
}

int
scope_all_granted(const struct span *held, size_t n, struct span needed)
{
	struct span word;

	while (span_word(&needed, &word)) {
		int granted = 0;

		for (size_t i = 0; i < n && !granted; i++)
			granted = scope_grants(held[i], word);
		if (!granted)
			return 0;
	}
	return 1;
}
