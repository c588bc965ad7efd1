/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The heads of limit logs that were written last, kept decoded: a busy key's limits are counted
 * without reading the database.  A cache and nothing more: every head in it is what the running
 * batch would read.
 *
 * Runs in the owner's main thread.  Two entries a set, the older of the two makes room; the memory
 * is taken once, when the store is opened, and bounded (HEADS_SETS * 2 entries, 9 MB).
 *
 * Invariants: an entry is replaced when its log is put (logs.c) and dropped when its log is deleted
 * (sweep.c); a batch that is not committed empties the cache, because some of it may be of that
 * batch.
 */

#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

#define HEADS_SETS 2048 /* a power of two */

struct head {
	uint8_t len; /* of the name; 0: the entry is free */
	char name[STORE_LOG_NAME_MAX];
	struct slog log;
};

struct store_heads {
	struct head at[HEADS_SETS][2]; /* the first one is the younger */
	int any;		       /* something was put since the last clear */
};

_Static_assert(STORE_LOG_NAME_MAX <= UINT8_MAX, "a name's length fits its byte");

struct store_heads *
store_heads_new(void)
{
	return calloc(1, sizeof(struct store_heads));
}

/* FNV-1a; nothing hostile chooses names: key ids are random, owners are digests. */
static struct head *
set_of(struct store_heads *h, struct span name)
{
	uint32_t hash = 2166136261u;
	size_t i;

	for (i = 0; i < name.len; i++)
		hash = (hash ^ (uint8_t)name.p[i]) * 16777619u;
	return h->at[(hash ^ hash >> 15) & (HEADS_SETS - 1)];
}

static int
is_of(const struct head *head, struct span name)
{
	return head->len == name.len && memcmp(head->name, name.p, name.len) == 0;
}

const struct slog *
store_heads_find(struct store_heads *h, struct span name)
{
	struct head *set = set_of(h, name);

	if (is_of(&set[0], name))
		return &set[0].log;
	return is_of(&set[1], name) ? &set[1].log : NULL;
}

void
store_heads_put(struct store_heads *h, struct span name, const struct slog *log)
{
	struct head *set = set_of(h, name), *to = &set[0];

	if (is_of(&set[1], name))
		to = &set[1];
	else if (!is_of(&set[0], name) && set[0].len > 0) {
		set[1].len = set[0].len;
		memcpy(set[1].name, set[0].name, set[0].len);
		slog_copy(&set[1].log, &set[0].log);
	}
	to->len = (uint8_t)name.len;
	memcpy(to->name, name.p, name.len);
	slog_copy(&to->log, log);
	h->any = 1;
}

void
store_heads_drop(struct store_heads *h, struct span name)
{
	struct head *set = set_of(h, name);

	if (is_of(&set[0], name))
		set[0].len = 0;
	if (is_of(&set[1], name))
		set[1].len = 0;
}

void
store_heads_clear(struct store_heads *h)
{
	size_t i;

	for (i = 0; h->any && i < HEADS_SETS; i++)
		h->at[i][0].len = h->at[i][1].len = 0;
	h->any = 0;
}
