/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit codes.  All roles of apikeyd (supervisor, keeper, worker) end through them, so that a script
 * or a unit file can tell a mistake in the configuration from a store that another process owns.
 */

#include "apikeyd/exits.h"
#include "keeper/keeper.h"

static const struct exits_info table[] = {
    {EXITS_OK, "stopped as it was told, or the configuration is fine"},
    {EXITS_FAILED, "failed; one line on stderr says why and what to do"},
    {EXITS_USAGE, "the command line is wrong, or a worker has no listening socket"},
    {EXITS_STORE, "the store cannot be used (damaged, disk full), or another process has it, the "
		  "run directory or "
		  "the listening address"},
    {KEEPER_EXIT_DISK,
	"the keeper alone: the disk refused to write; its supervisor starts a new one"},
};

const struct exits_info *
exits_at(size_t i)
{
	return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}

int
exits_of(const struct err *e)
{
	switch (e->code) {
	case ERR_NONE:
		return EXITS_OK;
	case ERR_USAGE:
		return EXITS_USAGE;
	case ERR_BUSY:
	case ERR_UNAVAILABLE:
	case ERR_FULL:
	case ERR_CORRUPT:
	case ERR_VERSION:
		return EXITS_STORE;
	default:
		return EXITS_FAILED;
	}
}
