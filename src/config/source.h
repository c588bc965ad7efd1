/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFIG_SOURCE_H_
#define CONFIG_SOURCE_H_

/*
 * The text of a configuration file, made safe for libConfuse: comments blanked (its line numbers
 * are wrong behind comments), and whatever it would silently drop, expand or run on with told as a
 * problem.
 */

#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "config/problems.h"

#define SOURCE_MAX (256 * 1024)
#define SOURCE_NAMES_MAX 64

struct source {
	char *text; /* NUL-terminated, cleaned */
	size_t len;
	size_t nunknown; /* names of settings that do not exist; told as problems already */
	char *unknown[SOURCE_NAMES_MAX];
};

/*
 * source_read(path, S, e): 1 read, 0 no such file, -1 and ${e} (not readable, no regular file,
 * larger than SOURCE_MAX).  Nothing is looked at yet.
 */
int source_read(const char *, struct source *, struct err *) __attribute__((warn_unused_result));

/* Clean the text in place; what is wrong goes to ${P}.  0, or -1 for want of memory. */
int source_clean(struct source *, struct problems *) __attribute__((warn_unused_result));

void source_release(struct source *);

#endif /* !CONFIG_SOURCE_H_ */
