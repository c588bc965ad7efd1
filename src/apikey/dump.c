/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The chain of hashes over a dump's lines: see dump.h.  Writing them is cmd_dump.c's, reading them
 * cmd_load.c's.
 *
 * Invariant: whoever adds the same lines in the same order has the same hash, and nobody else.
 */

#include <stddef.h>
#include <string.h>

#include "apikey/dump.h"

_Static_assert(offsetof(struct dump_line, text) == DIGEST_LEN, "both are hashed at once");

int
dump_chain_add(struct dump_chain *c, struct dump_line *line, size_t len, struct err *e)
{
	memcpy(line->before, c->hash, DIGEST_LEN);
	return digest_sha256(line, DIGEST_LEN + len, c->hash, e);
}
