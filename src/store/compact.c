/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Compacting the trees, in slices: pages that deletions have left half empty are merged, and what
 * is free at the end of a file goes back to the file system.
 *
 * Runs in the owner's main thread, between batches: so a slice is a range of SLICE_RECORDS records,
 * found by stepping over them.  Left out is `keys`: a hash has no ranges; what was deleted from it
 * is used again by keys to come, and dump and load make it small.
 *
 * Invariant: each step is a transaction of Berkeley DB's own, so that a kill leaves the tree whole.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "store/internal.h"

#define SLICE_RECORDS 64

/* "DATABASE KEY-IN-HEX" of a place, or "" for the beginning: 0 or -1. */
static int
place_read(const char *place, int *which, uint8_t key[STORE_KEY_MAX], size_t *len)
{
	size_t digits;
	char *hex;
	long n;

	*which = STORE_DB_META;
	*len = 0;
	if (place[0] == '\0')
		return 0;
	n = strtol(place, &hex, 10);
	if (n < 0 || n >= STORE_DBS || *hex != ' ')
		return -1;
	digits = strlen(++hex);
	if (digits / 2 > STORE_KEY_MAX || digest_unhex(hex, digits, key, digits / 2) != 0)
		return -1;
	*which = (int)n;
	*len = digits / 2;
	return 0;
}

static int
place_write(char *place, size_t cap, int which, struct span key)
{
	char hex[2 * STORE_KEY_MAX + 1];
	int n;

	digest_hex(key.p, key.len, hex);
	n = snprintf(place, cap, "%d %s", which, hex);
	return n < 0 || (size_t)n >= cap ? -1 : 0;
}

/* The key SLICE_RECORDS records behind ${from}: 1, 0 when there are not so many, -1. */
static int
slice_end(struct store *s, int which, struct span from, uint8_t key[STORE_KEY_MAX], size_t *len,
    struct err *e)
{
	struct store_scan scan;
	int rc;

	if ((rc = store_scan_open(&scan, s, (enum store_db)which, NULL, 0, e)) == 0)
		rc = store_scan_seek(&scan, from, e);
	for (int i = 0; rc == 1 && i < SLICE_RECORDS; i++)
		rc = store_scan_next(&scan, e);
	if (rc == 1) {
		*len = scan.key_len;
		memcpy(key, scan.key, scan.key_len);
	}
	store_scan_close(&scan);
	return rc;
}

struct range {
	struct store *store;
	int which;
	struct span from;
	const struct span *to; /* NULL: the end of the file */
	uint64_t pages;	       /* given back */
};

static int
compact_range(void *cookie, struct err *e)
{
	struct range *r = cookie;
	DB *db = r->store->dbs[r->which];
	DBT start = {.data = (void *)(uintptr_t)r->from.p, .size = (uint32_t)r->from.len},
	    stop = {0};
	DB_COMPACT c = {0};
	int ret;

	if (r->to != NULL) {
		stop.data = (void *)(uintptr_t)r->to->p;
		stop.size = (uint32_t)r->to->len;
	}
	ret = db->compact(db, NULL, r->from.len > 0 ? &start : NULL, r->to != NULL ? &stop : NULL,
	    &c, r->to == NULL ? DB_FREE_SPACE : 0, NULL);
	if (ret != 0)
		return store_fail(r->store, ret, "compacting", e);
	r->pages = c.compact_pages_truncated;
	return 0;
}

int
store_compact(struct store *s, char *place, size_t cap, uint64_t *pages, struct err *e)
{
	uint8_t from[STORE_KEY_MAX], to[STORE_KEY_MAX];
	size_t from_len, to_len = 0;
	struct range range;
	struct span end;
	int which, more;

	*pages = 0;
	if (s->in_batch)
		return err_set(e, ERR_INTERNAL, "compacting inside a batch");
	if (place_read(place, &which, from, &from_len) != 0)
		return err_set(e, ERR_INPUT, "there is no such place in the store");
	if (store_alive(s, e) != 0)
		return -1;
	while (which < STORE_DBS && store_db_specs[which].type != DB_BTREE)
		which++;
	more = slice_end(s, which, store_span(from, from_len), to, &to_len, e);
	if (more < 0)
		return -1;
	end = store_span(to, to_len);
	range = (struct range){.store = s,
	    .which = which,
	    .from = store_span(from, from_len),
	    .to = more ? &end : NULL};
	if (store_guarded(s, compact_range, &range, e) != 0)
		return -1;
	*pages = range.pages;
	if (!more) {
		which++;
		end = store_span(to, 0);
	}
	if (which == STORE_DBS)
		return 1;
	return place_write(place, cap, which, end) == 0
		   ? 0
		   : err_set(e, ERR_INTERNAL, "a place in the store does not fit");
}
