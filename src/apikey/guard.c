/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Finding keys on the admin tool's command line, before anything else looks at it.  The checksum is
 * not asked: a key that was mistyped is a leak nearly as good.  Nor is the configured prefix, which
 * is not known before the command line has been read: any prefix will do.
 */

#include <string.h>

#include "apikey/guard.h"
#include "base/span.h"
#include "core/token.h"

/* The shortest possible prefix that ends before ${at}: its last letter and the digits behind that;
 * or NULL. */
static const char *
prefix_before(const char *text, const char *at)
{
	const char *p = at;

	while (p > text && at - p < TOKEN_PREFIX_MAX) {
		p--;
		if (*p >= 'a' && *p <= 'z')
			return p;
		if (*p < '0' || *p > '9')
			return NULL;
	}
	return NULL;
}

/* What follows the first key's "_live_" in ${text}, or NULL. */
static const char *
find_key(const char *text)
{
	const char *at, *start;
	size_t prefix, len;

	for (at = strchr(text, '_'); at != NULL; at = strchr(at + 1, '_')) {
		if ((start = prefix_before(text, at)) == NULL)
			continue;
		prefix = (size_t)(at - start);
		len = prefix + strlen("_live_") + TOKEN_RANDOM + TOKEN_CHECK;
		if (strnlen(start, len) == len &&
		    token_has_form((struct span){start, len}, (struct span){start, prefix}))
			return at + strlen("_live_");
	}
	return NULL;
}

int
guard_has_key(const char *text)
{
	return find_key(text) != NULL;
}

void
guard_mask_keys(char *text)
{
	const char *rest;

	while ((rest = find_key(text)) != NULL) {
		text += rest - text;
		memset(text + TOKEN_SHOWN, '*', TOKEN_RANDOM + TOKEN_CHECK - TOKEN_SHOWN);
	}
}
