/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_SCOPE_H_
#define CORE_SCOPE_H_

/*
 * Scopes: colon-separated segments ("orders:read").  A key holds scopes; in those a segment may end
 * with a star, which stands for the rest of that segment ("orders:re*", "*:read").  A last segment
 * that is a star alone ("orders:*") stands for all segments from there on, at least one; a lone "*"
 * stands for all scopes.  A route needs scopes, exact ones.
 */

#include "base/span.h"

#define SCOPE_MAX 64	   /* bytes of one scope */
#define SCOPE_COUNT_MAX 64 /* scopes of one key or route */
#define SCOPE_LIST_MAX 2048 /* bytes of a space-separated list */

/* What a scope looks like, for messages. */
#define SCOPE_FORM                                                                                 \
	"segments of letters, digits and _ . / - joined by colons, each of which may end with *, " \
	"like orders:read, orders:* or *:read"

/* May a key hold it?  Segments [A-Za-z0-9_./-]+, each perhaps with a "*" at its end, or a "*". */
int scope_ok(struct span);
/* May a route need it?  The same without a star. */
int scope_needed_ok(struct span);
/* A space-separated list of needed scopes, perhaps empty: 1 when each is ok and none too many. */
int scope_needed_list_ok(struct span);

/* Does holding ${held} grant ${needed}? */
int scope_grants(struct span held, struct span needed);

/* Is every scope of the space-separated ${needed} granted by one of ${held}[${n}]?  1 for an empty list. */
int scope_all_granted(const struct span *held, size_t n, struct span needed);

#endif /* !CORE_SCOPE_H_ */
