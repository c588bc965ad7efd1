/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_FINDER_H_
#define CORE_FINDER_H_

/*
 * Finding keys (core/token.h) in bytes of any kind: text, binaries, UTF-16 of either byte order.
 *
 * Bytes come in pieces of any size, findings go to a function.  A finding is what token_valid says
 * yes to, whatever stands before and behind it: each place of the text is as good as any other, and
 * so is each cut between two pieces.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "core/token.h"

#define FINDER_PREFIXES_MAX 32

struct finder;

struct finder_hit {
	struct span key; /* the whole key, for as long as the function runs; never to be shown */
	enum token_env env;
	uint64_t offset; /* of its first byte */
	uint64_t line;	 /* from 1; newlines before it, and one */
	uint64_t column; /* from 1; bytes from the beginning of its line */
};

/* Findings come in the order of their places. */
typedef void finder_fn(void *cookie, const struct finder_hit *);

/* For keys with one of ${n} prefixes, which are copied.  NULL: no memory, or no prefix. */
struct finder *finder_new(
    const char *const *prefixes, size_t n, finder_fn *, void *cookie, struct err *);
/* Wipes what it has seen.  Sets the pointer to NULL; harmless on NULL. */
void finder_free(struct finder **);

/* Another text begins: nothing of what came before belongs to it. */
void finder_begin(struct finder *);

/*
 * Without a copy: finder_room is where the next bytes are to be put, *cap > 0 of them at most;
 * finder_take says that ${n} are there, and searches them.
 */
char *finder_room(struct finder *, size_t *cap);
void finder_take(struct finder *, size_t n);

/* With a copy: any bytes. */
void finder_feed(struct finder *, const void *, size_t n);

/* ${n} > 0 bytes that are NUL, as in the hole of a file. */
void finder_skip(struct finder *, uint64_t n);

#endif /* !CORE_FINDER_H_ */
