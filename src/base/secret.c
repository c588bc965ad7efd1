/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeping secrets where they belong: in locked memory, in this process, and no longer than needed.
 * Every program calls secret_no_core first; a process that holds peppers (the keeper, or the admin
 * tool when it works alone) also makes the secure heap.
 *
 * It does not encrypt anything, and it cannot protect from root or from a debugger that was
 * attached before.
 *
 * Invariants:
 * - What was allocated here is overwritten before it is given back.
 * - A secure heap that could not be locked is not used as if it were: the caller is told; so is who
 *   has pages for what only passes through, and may go on.
 */

#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <openssl/crypto.h>

#include "base/secret.h"

#define HEAP_BYTES 65536 /* what the tightest usual RLIMIT_MEMLOCK still lets a process lock */
#define HEAP_MIN_BLOCK 32
#define FREED_BYTE 0xa5

void
secret_wipe(void *p, size_t n)
{
	if (p != NULL && n > 0)
		explicit_bzero(p, n);
}

void
secret_no_core(void)
{
	struct rlimit none = {0, 0};

	/*
	 * Neither can fail: lowering a limit needs no right.  The second also covers piped cores.
	 */
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int
secret_heap_init(struct err *e)
{
	int rc;

	if (CRYPTO_secure_malloc_initialized())
		return 0;
	rc = CRYPTO_secure_malloc_init(HEAP_BYTES, HEAP_MIN_BLOCK);
	if (rc == 1)
		return 0;
	/* 2: there is a heap, but its pages could not all be locked and guarded. */
	if (rc == 2)
		(void)CRYPTO_secure_malloc_done();
	return err_set(e, ERR_SYSTEM,
	    "cannot lock %d KiB of memory for secrets; raise RLIMIT_MEMLOCK "
	    "(ulimit -l, or LimitMEMLOCK= of the service)",
	    HEAP_BYTES / 1024);
}

void *
secret_alloc(size_t n)
{
	return OPENSSL_secure_zalloc(n);
}

void
secret_free(void *p, size_t n)
{
	OPENSSL_secure_clear_free(p, n);
}

void *
secret_pages(size_t n, int *locked)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (locked != NULL)
		*locked = 0;
	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, n, MADV_DONTDUMP);
	/* On fault: most of a large buffer is never used, and shall cost nothing. */
	if ((rc = mlock2(p, n, MLOCK_ONFAULT)) != 0)
		rc = mlock(p, n); /* an old kernel, or valgrind */
	if (locked != NULL)
		*locked = rc == 0;
	return p;
}

void
secret_pages_free(void *p, size_t n)
{
	if (p == NULL)
		return;
	secret_wipe(p, n);
	(void)munmap(p, n);
}

void
secret_wipe_freed(void)
{
	(void)mallopt(M_PERTURB, FREED_BYTE);
}
