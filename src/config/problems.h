/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFIG_PROBLEMS_H_
#define CONFIG_PROBLEMS_H_

/*
 * What is wrong with one configuration file: at most one problem a line (the first that was found),
 * told in the order of the lines.
 */

#include <stddef.h>

#include "base/err.h"

#define PROBLEMS_MAX 50
#define PROBLEMS_TEXT_MAX 320

struct problems {
	size_t n;
	int dropped; /* there were more than PROBLEMS_MAX */
	struct problem {
		int line;
		char text[PROBLEMS_TEXT_MAX];
	} at[PROBLEMS_MAX];
};

/* Line 0: the file as a whole. */
void problems_add(struct problems *, int line, const char *, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * problems_tell(P, path, report, cookie, e): every problem as "path:line: text" to ${report} (may
 * be NULL), the first to
 * ${e}.  0 when there is none, else -1.
 */
int problems_tell(struct problems *, const char *, void (*)(void *, const char *), void *,
    struct err *) __attribute__((warn_unused_result));

#endif /* !CONFIG_PROBLEMS_H_ */
