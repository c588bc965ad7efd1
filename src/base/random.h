/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_RANDOM_H_
#define BASE_RANDOM_H_

#include <stddef.h>

#include "base/err.h"

/* ${n} bytes of the system's CSPRNG (getrandom).  0 or -1; never weaker bytes. */
int random_bytes(void *, size_t, struct err *) __attribute__((warn_unused_result));

/*
 * ${n} characters of 0-9A-Za-z, each equally likely (bytes of 248 and more are
 * drawn again: no modulo bias), and a NUL.  0 or -1.
 */
int random_base62(char *, size_t, struct err *) __attribute__((warn_unused_result));

/* For tests: replace the source of random_bytes; NULL restores the system's. */
void random_set_source(int (*)(void *, size_t));

#endif /* !BASE_RANDOM_H_ */
