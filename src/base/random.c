/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Randomness for keys, public ids and peppers, from the kernel's CSPRNG.  Used by the keeper and by
 * the admin tool.
 *
 * Invariants:
 * - No weaker source is ever fallen back to: without randomness there is an error and no output.
 * - Characters are drawn without modulo bias.
 * - Bytes that were drawn on the way to an output are wiped: they are as secret as it is.
 */

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/random.h"
#include "base/secret.h"

#define BASE62 "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define UNBIASED 248 /* the largest multiple of 62 that a byte can be below */

static int
system_source(void *p, size_t n)
{
	unsigned char *at = p;
	ssize_t got;

	while (n > 0) {
		got = getrandom(at, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

static int (*source)(void *, size_t) = system_source;

void
random_set_source(int (*replacement)(void *, size_t))
{
	source = replacement == NULL ? system_source : replacement;
}

int
random_bytes(void *p, size_t n, struct err *e)
{
	if (source(p, n) == 0)
		return 0;
	(void)err_sys(e, "no randomness from the system");
	secret_wipe(p, n);
	return -1;
}

int
random_base62(char *out, size_t n, struct err *e)
{
	unsigned char drawn[64];
	size_t have = 0, i;
	int rc = -1;

	out[0] = '\0';
	while (have < n) {
		if (random_bytes(drawn, sizeof(drawn), e) != 0)
			goto done;
		for (i = 0; i < sizeof(drawn) && have < n; i++)
			if (drawn[i] < UNBIASED)
				out[have++] = BASE62[drawn[i] % 62];
	}
	out[n] = '\0';
	rc = 0;
done:
	if (rc != 0)
		secret_wipe(out, n + 1);
	secret_wipe(drawn, sizeof(drawn));
	return rc;
}
