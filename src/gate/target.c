/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The web server picks a route, and with it the scope that is needed, by its own reading of the
 * path; the backend serves by another.  /api/admin/../x, /api/admin;v=1/x and //api/admin/x are one
 * route to some and another to others, so a key without the scope would get what needs it.  Such
 * paths are refused; clients that mean no harm have resolved them before they send.  Runs in a
 * worker.
 *
 * It does not say which route a path is of, and changes nothing in it.
 *
 * Invariant: a path that passes has no dot segment, no empty segment but the last, no path
 * parameter, no backslash and no control character, however they are encoded (once, and in no more
 * bytes of UTF-8 than they need); so removing dot segments, merging slashes and cutting parameters
 * leave it as it is, also after a web server that hands on what it has decoded.
 */

#include "gate/target.h"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The character at the start of *rest, decoded, which is taken off; -1 when a % is no escape. */
static int
next(struct span *rest)
{
	int c = (unsigned char)rest->p[0], high, low;
	size_t n = 1;

	if (c == '%') {
		if (rest->len < 3 || (high = hex(rest->p[1])) == -1 ||
		    (low = hex(rest->p[2])) == -1)
			return -1;
		c = high * 16 + low;
		n = 3;
	}
	rest->p += n;
	rest->len -= n;
	return c;
}

/* In UTF-8 that takes more bytes than it needs (%c0%af), careless readers find another character.
 */
static int
is_overlong(int lead, int c)
{
	if (c < 0x80 || c > 0xbf)
		return 0;
	return lead == 0xc0 || lead == 0xc1 || (lead == 0xe0 && c < 0xa0) ||
	       (lead == 0xf0 && c < 0x90);
}

/* Of the absolute form what follows scheme and authority. */
static struct span
path_of(struct span target)
{
	struct span at = target;

	while (at.len > 0 && at.p[0] != '/' && at.p[0] != '?') {
		at.p++;
		at.len--;
	}
	if (target.len - at.len < 2 || at.len < 2 || at.p[-1] != ':' || at.p[0] != '/' ||
	    at.p[1] != '/')
		return target;
	at.p += 2;
	at.len -= 2;
	while (at.len > 0 && at.p[0] != '/' && at.p[0] != '?') {
		at.p++;
		at.len--;
	}
	return at;
}

static int
is_plain(struct span target)
{
	struct span rest = path_of(target);
	size_t len = 0, dots = 0; /* of the segment so far */
	int c, raw, before = 0;

	if (span_is(target, "*") || rest.len == 0 || rest.p[0] == '?')
		return 1;
	if (rest.p[0] != '/')
		return 0;
	rest.p++;
	rest.len--;
	while (rest.len > 0 && rest.p[0] != '?') {
		raw = rest.p[0];
		c = next(&rest);
		if (c < 0x20 || c == 0x7f || c == '\\' || c == ';' || raw == '#' ||
		    is_overlong(before, c))
			return 0;
		before = c;
		if (c == '/') {
			if (len == 0 || (len == dots && dots <= 2))
				return 0;
			len = dots = 0;
		} else {
			len++;
			dots += c == '.';
		}
	}
	return len == 0 || len != dots || dots > 2;
}

int
target_is_plain(const struct params *params)
{
	struct span target;
	size_t i = 0;

	while (params_next(params, "REQUEST_URI", &i, &target))
		if (!is_plain(target))
			return 0;
	return 1;
}
