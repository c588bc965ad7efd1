/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Going through keys in order of id: all of them, an owner's, or a plan's (only counted).
 *
 * Runs in the owner's main thread, for the operations of admins; callers page, so that no check
 * waits long behind a list.
 *
 * Invariant: an index entry without its record is reported (ERR_CORRUPT), never passed over in
 * silence: a list that hides a key is how a leaked one stays alive.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

/* A walk over the entries of one index whose key begins with ${prefix}; the rest of it is the id.
 */
struct walk {
	struct store *store;
	enum store_db index;
	uint8_t prefix[STORE_KEY_MAX];
	size_t prefix_len;
	struct span after;
	store_key_fn *fn;
	void *cookie;
	uint8_t *record; /* KEYREC_MAX bytes of the walk's own */
};

/* 1 when the scan stands on an entry of the walk; *id is then a view of its id. */
static int
walk_has(const struct walk *w, const struct store_scan *scan, struct span *id)
{
	struct span key = store_scan_key(scan);

	if (key.len < w->prefix_len || memcmp(key.p, w->prefix, w->prefix_len) != 0)
		return 0;
	*id = store_span(key.p + w->prefix_len, key.len - w->prefix_len);
	return 1;
}

/* Hand the key ${id} to the caller; what its function returned. */
static int
walk_give(const struct walk *w, struct span id, struct err *e)
{
	uint8_t digest[STORE_DIGEST_LEN];
	struct keyrec rec;
	int rc;

	if (id.len != TOKEN_ID_LEN)
		return err_set(e, ERR_CORRUPT, "%s: database %s: a damaged entry: restore a backup",
		    w->store->dir, store_db_specs[w->index].name);
	if ((rc = store_key_find(w->store, id, digest, e)) == 1)
		rc = store_key_get(w->store, digest, w->record, &rec, e);
	if (rc == 1)
		return w->fn(w->cookie, digest, &rec, e);
	if (rc == 0)
		err_set(e, ERR_CORRUPT,
		    "%s: database %s: no record behind the entry: restore a backup", w->store->dir,
		    store_db_specs[w->index].name);
	return err_wrap(e, "key %.20s", id.p);
}

/* To the first entry behind ${after}. */
static int
walk_begin(const struct walk *w, struct store_scan *scan, struct err *e)
{
	uint8_t from[STORE_KEY_MAX];
	struct span id = {NULL, 0};
	struct wbuf out;
	int rc;

	wbuf_init(&out, from, sizeof(from));
	wbuf_bytes(&out, w->prefix, w->prefix_len);
	wbuf_span(&out, w->after);
	if (out.overflow)
		return err_set(e, ERR_INPUT, "a key id is %d characters", TOKEN_ID_LEN);
	rc = store_scan_seek(scan, wbuf_view(&out), e);
	if (rc == 1 && w->after.len > 0 && walk_has(w, scan, &id) && span_eq(id, w->after))
		rc = store_scan_next(scan, e);
	return rc;
}

static int
walk_run(struct walk *w, struct err *e)
{
	struct store_scan scan;
	struct span id;
	int rc, answer = 0;

	if ((w->record = malloc(KEYREC_MAX)) == NULL)
		return err_sys(e, "listing keys");
	if ((rc = store_scan_open(&scan, w->store, w->index, NULL, 0, e)) == 0)
		rc = walk_begin(w, &scan, e);
	while (rc == 1 && walk_has(w, &scan, &id)) {
		if ((answer = walk_give(w, id, e)) != 0)
			break;
		rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	free(w->record);
	return rc < 0 ? -1 : answer;
}

int
store_keys_walk(struct store *s, struct span after, store_key_fn *fn, void *cookie, struct err *e)
{
	struct walk w = {
	    .store = s, .index = STORE_DB_IDS, .after = after, .fn = fn, .cookie = cookie};

	return walk_run(&w, e);
}

/* ${name} NUL; an owner or plan that is too long or holds a NUL has no keys: 0. */
static int
prefix_of(struct walk *w, struct span name)
{
	struct wbuf out;

	wbuf_init(&out, w->prefix, sizeof(w->prefix));
	wbuf_span(&out, name);
	wbuf_u8(&out, 0);
	w->prefix_len = out.len;
	return !out.overflow && (name.len == 0 || memchr(name.p, '\0', name.len) == NULL);
}

int
store_owner_walk(struct store *s, struct span owner, struct span after, store_key_fn *fn,
    void *cookie, struct err *e)
{
	struct walk w = {
	    .store = s, .index = STORE_DB_OWNERS, .after = after, .fn = fn, .cookie = cookie};

	if (!prefix_of(&w, owner))
		return 0;
	return walk_run(&w, e);
}

int
store_plan_users(struct store *s, struct span plan, uint64_t *count, struct err *e)
{
	struct walk w = {.store = s, .index = STORE_DB_PLAN_KEYS};
	struct store_scan scan;
	struct span id;
	uint64_t n = 0;
	int rc;

	*count = 0;
	if (!prefix_of(&w, plan))
		return 0;
	if ((rc = store_scan_open(&scan, s, w.index, NULL, 0, e)) == 0)
		rc = walk_begin(&w, &scan, e);
	while (rc == 1 && walk_has(&w, &scan, &id) && ++n < STORE_PLAN_USERS_MAX)
		rc = store_scan_next(&scan, e);
	store_scan_close(&scan);
	if (rc < 0)
		return -1;
	*count = n;
	return 0;
}
