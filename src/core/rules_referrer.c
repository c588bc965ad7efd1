/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Referrer patterns: which are well-formed, and which referrer matches which.
 *
 * Referrers are URLs written by strangers.  They are taken apart strictly, and whatever is not a
 * plain scheme://host[:port]/path?query matches nothing: user information ("https://good@evil"),
 * other characters than visible ASCII, empty labels, IPv6 literals.  A path that a server might
 * resolve to another one (dot segments, encoded dots or slashes, backslashes) matches no pattern
 * that has a path.
 *
 * A client writes whatever Referer it likes: this keeps a key that stands in a page from being
 * copied into another one, and keeps out nobody who means it.
 */

#include <string.h>

#include "core/rules.h"

/* What both a pattern and a referrer come apart into; borrowed, empty when absent. */
struct url {
	struct span scheme, host, path;
	int any_subdomain; /* of a pattern: ${host} is what stood behind "*." */
};

static int
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986 3.1. */
static int
scheme_ok(struct span s)
{
	if (s.len == 0 || !is_alpha(s.p[0]))
		return 0;
	for (size_t i = 1; i < s.len; i++)
		if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && strchr("+-.", s.p[i]) == NULL)
			return 0;
	return 1;
}

/* A DNS name or an IPv4 address: labels of letters, digits, '-' and '_' between dots, none empty.
 */
static int
host_ok(struct span s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > 253)
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '.') {
			if (label == 0)
				return 0;
			label = 0;
		} else if (is_alpha(s.p[i]) || is_digit(s.p[i]) || s.p[i] == '-' || s.p[i] == '_') {
			label++;
		} else {
			return 0;
		}
	}
	return label > 0;
}

/* Decimal, at most 65535; five digits cannot overflow. */
static int
port_ok(struct span s)
{
	unsigned port = 0;

	if (s.len == 0 || s.len > 5)
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.p[i]))
			return 0;
		port = port * 10 + (unsigned)(s.p[i] - '0');
	}
	return port <= 65535;
}

static int
all_visible_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return 0;
	return 1;
}

/* %2e or %2f at ${p}, which is followed by two hex digits. */
static int
is_encoded_dot_or_slash(const char *p)
{
	return p[1] == '2' && (p[2] == 'e' || p[2] == 'E' || p[2] == 'f' || p[2] == 'F');
}

/* Length of ${s} up to its first character out of ${stops}, or all of it. */
static size_t
length_until(struct span s, const char *stops)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] != '\0' && strchr(stops, s.p[i]) != NULL)
			return i;
	return s.len;
}

static void
skip(struct span *s, size_t n)
{
	s->p += n;
	s->len -= n;
}

/* No dot segment, no backslash, and every '%' begins an escape that hides neither dot nor slash. */
static int
segment_is_plain(struct span s)
{
	if (span_is(s, ".") || span_is(s, ".."))
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\\')
			return 0;
		if (s.p[i] != '%')
			continue;
		if (s.len - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]) ||
		    is_encoded_dot_or_slash(s.p + i))
			return 0;
	}
	return 1;
}

/* Does every server take this path, empty or beginning with '/', for the same one? */
static int
path_is_plain(struct span path)
{
	while (path.len > 0) {
		struct span segment;

		skip(&path, 1);
		segment = (struct span){path.p, length_until(path, "/")};
		if (!segment_is_plain(segment))
			return 0;
		skip(&path, segment.len);
	}
	return 1;
}

/* Cut "scheme://" off ${s}: 1, or 0 when it does not begin so (both untouched). */
static int
cut_scheme(struct span *s, struct span *scheme)
{
	size_t n = length_until(*s, ":/?#");

	if (s->len - n < 3 || memcmp(s->p + n, "://", 3) != 0)
		return 0;
	*scheme = (struct span){s->p, n};
	skip(s, n + 3);
	return 1;
}

/* "[scheme://]host[/path-prefix]": 1, or 0 when it is not that. */
static int
parse_pattern(struct span s, struct url *u)
{
	memset(u, 0, sizeof(*u));
	if (s.len == 0 || s.len > KEYREC_PATTERN_MAX || !all_visible_ascii(s))
		return 0;
	if (cut_scheme(&s, &u->scheme) && !scheme_ok(u->scheme))
		return 0;
	if (s.len > 2 && memcmp(s.p, "*.", 2) == 0) {
		u->any_subdomain = 1;
		skip(&s, 2);
	}
	u->host = (struct span){s.p, length_until(s, "/")};
	u->path = (struct span){s.p + u->host.len, s.len - u->host.len};
	if (!host_ok(u->host) || length_until(u->path, "?#") != u->path.len)
		return 0;
	/* A path that can never match is a mistake worth telling the admin. */
	return path_is_plain(u->path);
}

/* "scheme://host[:port][/path][?query][#fragment]", taken apart: 1, or 0 when it is not that. */
static int
parse_referrer(struct span s, struct url *u)
{
	struct span authority;

	memset(u, 0, sizeof(*u));
	if (!all_visible_ascii(s) || !cut_scheme(&s, &u->scheme) || !scheme_ok(u->scheme))
		return 0;
	authority = (struct span){s.p, length_until(s, "/?#")};
	skip(&s, authority.len);
	u->host = (struct span){authority.p, length_until(authority, ":")};
	skip(&authority, u->host.len);
	if (authority.len > 0) {
		skip(&authority, 1);
		if (!port_ok(authority))
			return 0;
	}
	/* '@' is no character of a host or a port: user information ends here as well. */
	if (!host_ok(u->host))
		return 0;
	u->path = (struct span){s.p, length_until(s, "?#")};
	if (u->path.len == 0)
		u->path = span_of("/");
	return 1;
}

static int
host_matches(const struct url *pattern, struct span host)
{
	size_t below;

	if (!pattern->any_subdomain)
		return span_ieq(pattern->host, host);
	if (host.len < pattern->host.len + 2)
		return 0;
	below = host.len - pattern->host.len;
	skip(&host, below - 1);
	if (host.p[0] != '.')
		return 0;
	skip(&host, 1);
	return span_ieq(pattern->host, host);
}

/* By whole segments: "/app" is a prefix of "/app" and "/app/x", not of "/apple". */
static int
path_matches(struct span prefix, struct span path)
{
	if (!path_is_plain(path) || path.len < prefix.len ||
	    memcmp(path.p, prefix.p, prefix.len) != 0)
		return 0;
	return path.len == prefix.len || prefix.p[prefix.len - 1] == '/' ||
	       path.p[prefix.len] == '/';
}

int
rules_referrer_pattern_ok(struct span pattern)
{
	struct url u;

	return parse_pattern(pattern, &u);
}

int
rules_referrer_matches(struct span pattern, struct span referrer)
{
	struct url want, got;

	if (!parse_pattern(pattern, &want) || !parse_referrer(referrer, &got))
		return 0;
	if (want.scheme.len > 0 && !span_ieq(want.scheme, got.scheme))
		return 0;
	if (!host_matches(&want, got.host))
		return 0;
	return want.path.len == 0 || path_matches(want.path, got.path);
}
