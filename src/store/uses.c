/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * When keys were last used.
 *
 * Runs in the owner's main thread.  A database of its own, because it changes for every key in use
 * once a minute, and a key's record may have 64 KiB.  Which uses there were is the keeper's to
 * know.
 *
 * Use: u8 version, u64 last used, u64 last used with a secret that had been replaced (wall clock,
 * us; 0: never), under the key's id.
 */

#include "base/buf.h"
#include "store/internal.h"

#define USE_VERSION 1
#define USE_BYTES 17

int
store_use_get(struct store *s, struct span id, struct store_use *use, struct err *e)
{
	uint8_t buf[USE_BYTES];
	struct rbuf r;
	uint64_t used, previous;
	size_t len;
	uint8_t version;
	int rc;

	*use = (struct store_use){0};
	if (id.len != TOKEN_ID_LEN)
		return 0;
	if ((rc = store_db_get(s, STORE_DB_USES, id, buf, sizeof(buf), &len, e)) <= 0)
		return rc;
	rbuf_init(&r, buf, len);
	version = rbuf_u8(&r);
	used = rbuf_u64(&r);
	previous = rbuf_u64(&r);
	if (rbuf_done(&r) != 0 || version != USE_VERSION || used > INT64_MAX ||
	    previous > INT64_MAX)
		return err_set(e, ERR_CORRUPT,
		    "%s: database uses: the entry of key %.20s is damaged: restore a backup",
		    s->dir, id.p);
	use->used_us = (int64_t)used;
	use->previous_used_us = (int64_t)previous;
	return 1;
}

int
store_use_put(struct store *s, struct span id, const struct store_use *use, struct err *e)
{
	uint8_t buf[USE_BYTES];
	struct wbuf w;

	if (id.len != TOKEN_ID_LEN)
		return err_set(e, ERR_INPUT, "the use of no key");
	wbuf_init(&w, buf, sizeof(buf));
	wbuf_u8(&w, USE_VERSION);
	wbuf_u64(&w, (uint64_t)use->used_us);
	wbuf_u64(&w, (uint64_t)use->previous_used_us);
	return store_db_put(s, STORE_DB_USES, id, wbuf_view(&w), e);
}
