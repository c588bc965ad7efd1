/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SECRET_H_
#define BASE_SECRET_H_

/*
 * Keeping secrets (keys, peppers) out of core dumps and out of memory that is
 * no longer theirs.
 */

#include <stddef.h>

#include "base/err.h"

/* Overwrite ${n} bytes; never optimised away. */
void secret_wipe(void *, size_t);

/*
 * No core of this process: RLIMIT_CORE 0 and PR_SET_DUMPABLE 0.  First call of every main.
 */
void secret_no_core(void);

/*
 * Memory for secrets: OpenSSL's secure heap (mlock, MADV_DONTDUMP, guard pages).
 * secret_heap_init once a process that holds peppers; 0 or -1 (then it says which rlimit).
 * secret_alloc returns zeroed memory from it, or NULL; secret_free wipes and takes NULL.
 */
int secret_heap_init(struct err *) __attribute__((warn_unused_result));
void *secret_alloc(size_t);
void secret_free(void *, size_t);

/*
 * Memory for what passes through and holds secrets: zeroed pages of its own, in no core, and kept
 * from swap as they are used.  That is as far as RLIMIT_MEMLOCK goes: *locked (may be NULL) is 0
 * when it did not suffice, and the memory serves all the same.  NULL: there is none.
 * secret_pages_free wipes and takes NULL; ${n} as it was asked for.
 */
void *secret_pages(size_t n, int *locked);
void secret_pages_free(void *, size_t n);

/*
 * Make freed heap blocks too large for malloc's per-thread cache be overwritten at once
 * (mallopt M_PERTURB): libfcgi frees the buffers that it read requests into,
 * Authorization header and all, without wiping them.
 */
void secret_wipe_freed(void);

#endif /* !BASE_SECRET_H_ */
