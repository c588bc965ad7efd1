/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Small named records: the store's format, its record counts, and those that the keeper keeps here.
 *
 * Runs in the owner's main thread.  Not for anything that grows: a record is read and written
 * whole.
 *
 * Invariants: the format is looked at before any other database is opened, and a newer one is
 * refused untouched; the counts are written in the transaction that changes them, so they are
 * exact.
 */

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

#define FORMAT_NAME "format"
#define COUNTS_NAME "counts"
#define COUNTS_VERSION 2
#define COUNTS_BYTES (1 + 6 * 8)
#define META_NAME_MAX 64

int
store_format_read(struct store *s, struct err *e)
{
	uint8_t bytes[4];
	struct rbuf in;
	uint32_t format;
	size_t len;
	int rc;

	rc = store_db_get(s, STORE_DB_META, span_of(FORMAT_NAME), bytes, sizeof(bytes), &len, e);
	if (rc <= 0)
		return rc;
	rbuf_init(&in, bytes, len);
	format = rbuf_u32(&in);
	if (rbuf_done(&in) != 0 || format == 0)
		return err_set(e, ERR_CORRUPT,
		    "%s: database meta: the format record is damaged: restore a backup", s->dir);
	if (format < STORE_FORMAT)
		return err_set(e, ERR_VERSION,
		    "%s: written before the first release (format %" PRIu32
		    "), which cannot be read any more: move it away and create the keys anew",
		    s->dir, format);
	if (format > STORE_FORMAT)
		return err_set(e, ERR_VERSION,
		    "%s: a newer release wrote this store (format %" PRIu32
		    ", this one knows %d): run that release, or restore a backup made before it",
		    s->dir, format, STORE_FORMAT);
	return 1;
}

int
store_format_write(struct store *s, struct err *e)
{
	uint8_t bytes[4];
	struct wbuf out;

	wbuf_init(&out, bytes, sizeof(bytes));
	wbuf_u32(&out, STORE_FORMAT);
	if (store_db_put(s, STORE_DB_META, span_of(FORMAT_NAME), wbuf_view(&out), e) != 0)
		return -1;
	if (store_audit_begin(s, e) != 0)
		return -1;
	return store_counts_write(s, e);
}

int
store_counts_read(struct store *s, struct err *e)
{
	struct store_counts *c = &s->now.counts;
	uint8_t bytes[COUNTS_BYTES];
	uint8_t version;
	struct rbuf in;
	size_t len;

	if (store_db_get(s, STORE_DB_META, span_of(COUNTS_NAME), bytes, sizeof(bytes), &len, e) < 0)
		return -1;
	rbuf_init(&in, bytes, len);
	version = rbuf_u8(&in);
	c->keys = rbuf_u64(&in);
	c->plans = rbuf_u64(&in);
	c->logs = rbuf_u64(&in);
	c->blocks = rbuf_u64(&in);
	c->imported = rbuf_u64(&in);
	c->stopped = rbuf_u64(&in);
	if (rbuf_done(&in) != 0 || version != COUNTS_VERSION)
		return err_set(e, ERR_CORRUPT,
		    "%s: database meta: the record of counts is missing or damaged: restore a "
		    "backup",
		    s->dir);
	return 0;
}

int
store_counts_write(struct store *s, struct err *e)
{
	const struct store_counts *c = &s->now.counts;
	uint8_t bytes[COUNTS_BYTES];
	struct wbuf out;

	wbuf_init(&out, bytes, sizeof(bytes));
	wbuf_u8(&out, COUNTS_VERSION);
	wbuf_u64(&out, c->keys);
	wbuf_u64(&out, c->plans);
	wbuf_u64(&out, c->logs);
	wbuf_u64(&out, c->blocks);
	wbuf_u64(&out, c->imported);
	wbuf_u64(&out, c->stopped);
	return store_db_put(s, STORE_DB_META, span_of(COUNTS_NAME), wbuf_view(&out), e);
}

/* Pages of a store that was not closed are of different moments: of a tree that is being split, a
 * way may lead to one that was not written yet.  Such a page is an error, as in a store in use. */
int
store_meta_peek(struct store *s, const char *name, uint8_t *buf, size_t cap, size_t *len)
{
	DBT k = {.data = (void *)(uintptr_t)name, .size = (uint32_t)strlen(name)};
	DBT v = {.data = buf, .ulen = (uint32_t)cap, .flags = DB_DBT_USERMEM};
	DB *db;
	int ret;

	if (store_crypt_open(s->dir, s->key, &db) != 0)
		return 0;
	store_pages_alone(s, store_db_specs[STORE_DB_META].page_bytes);
	ret = db->get(db, NULL, &k, &v, 0);
	store_pages_end();
	(void)db->close(db, 0);
	*len = v.size;
	return ret == 0;
}

int
store_meta_get(
    struct store *s, const char *name, uint8_t *buf, size_t cap, size_t *len, struct err *e)
{
	return store_db_get(s, STORE_DB_META, span_of(name), buf, cap, len, e);
}

int
store_meta_put(struct store *s, const char *name, const void *bytes, size_t len, struct err *e)
{
	struct span key = span_of(name);

	if (key.len == 0 || key.len > META_NAME_MAX || len > STORE_META_MAX ||
	    span_is(key, FORMAT_NAME) || span_is(key, COUNTS_NAME) ||
	    span_is(key, STORE_AUDIT_HEAD) || span_is(key, STORE_MARK_FILE))
		return err_set(e, ERR_INTERNAL, "meta record \"%.64s\" of %zu bytes", name, len);
	return store_db_put(s, STORE_DB_META, key, store_span(bytes, len), e);
}
