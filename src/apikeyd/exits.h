/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_EXITS_H_
#define APIKEYD_EXITS_H_

/* The exit codes of apikeyd, once: for every role, for the usage text and for tests of the manual.
 */

#include <stddef.h>

#include "base/err.h"

enum exits { EXITS_OK = 0, EXITS_FAILED = 1, EXITS_USAGE = 2, EXITS_STORE = 3 };

struct exits_info {
	int code;
	const char *when;
};

/* NULL past the last. */
const struct exits_info *exits_at(size_t);

/* The exit code that an error ends a process with. */
int exits_of(const struct err *);

#endif /* !APIKEYD_EXITS_H_ */
