/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SPAN_H_
#define BASE_SPAN_H_

/*
 * A span is a borrowed run of bytes: it owns nothing, is not terminated by a
 * NUL, and is valid as long as the memory that it points into.
 */

#include <stddef.h>
#include <string.h>

struct span {
	const char *p;
	size_t len;
};

/* The span of a NUL-terminated string; of nothing when ${s} is NULL. */
static inline struct span
span_of(const char *s)
{
	return (struct span){s, s == NULL ? 0 : strlen(s)};
}

static inline int
span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline int
span_is(struct span a, const char *s)
{
	return span_eq(a, span_of(s));
}

/* ASCII-case-insensitive equality, whatever the locale. */
int span_ieq(struct span, struct span);

/* ${a} without the spaces and tabs (OWS, RFC 9110 5.6.3) at both ends. */
struct span span_trim(struct span);

/*
 * span_word(&rest, &word): cut the next run of non-space bytes off ${rest}
 * (words are separated by one or more spaces).  1 when there was one, else 0.
 */
int span_word(struct span *, struct span *);

/* span_copy(dst, cap, s): copy with a NUL; 0, or -1 when it does not fit or holds a NUL. */
int span_copy(char *, size_t, struct span) __attribute__((warn_unused_result));

/* span_u64(s, max, &n): strict decimal (digits only, no sign).  0 or -1. */
int span_u64(struct span, unsigned long long, unsigned long long *)
    __attribute__((warn_unused_result));

#endif /* !BASE_SPAN_H_ */
