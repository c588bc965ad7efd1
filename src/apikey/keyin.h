/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_KEYIN_H_
#define APIKEY_KEYIN_H_

/* Reading a key, which is never an argument. */

#include <stddef.h>

#include "base/err.h"

#define KEYIN_MAX 512 /* bytes of the line, without its end */

/*
 * keyin_read(out, e): the one line of standard input, without its end, and a NUL.  On a terminal:
 * asked for, and not echoed.  0, or -1 with ERR_USAGE (nothing there, too long, more than one
 * line).  The caller wipes ${out}.
 */
int keyin_read(char out[KEYIN_MAX + 1], struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_KEYIN_H_ */
