/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The thin layer over Berkeley DB's access methods: get, put, insert, patch, delete and a cursor,
 * on bytes, with our errors.  What the bytes mean is the business of the files above this one.
 *
 * Runs in the owner's main thread only: there is no lock subsystem, so two threads in the access
 * methods would destroy the store.  Everything is read into memory of the caller, for the handles
 * are opened with DB_THREAD.
 *
 * Invariants: a write outside a batch is refused; a write that fails poisons its batch, so that
 * no caller that overlooks an error can commit half of a change.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/internal.h"

/*
 * Page sizes: never above 4 KiB.  Linux looks for a kill between two of its own pages, so that the
 * write of a larger one can end half done, and no recovery gets past such a page.  A 2 KiB page
 * with checksum has 2016 usable bytes, an encrypted one 1984.  `logs`: a head of more than some 500
 * bytes has one overflow page, which the longest fills (encrypted, the few longest have two).
 * `blocks`: a block has one of its own, and shares it with nothing: 8.6 bytes a logged unit, keys
 * and tree included.
 */
const struct store_db_spec store_db_specs[STORE_DBS] = {
    [STORE_DB_META] = {"meta", "meta.db", DB_BTREE, 4096},
    [STORE_DB_KEYS] = {"keys", "keys.db", DB_HASH, 4096},
    [STORE_DB_IDS] = {"ids", "ids.db", DB_BTREE, 4096},
    [STORE_DB_OWNERS] = {"owners", "owners.db", DB_BTREE, 4096},
    [STORE_DB_PLAN_KEYS] = {"plan_keys", "plan_keys.db", DB_BTREE, 4096},
    [STORE_DB_PLANS] = {"plans", "plans.db", DB_BTREE, 4096},
    [STORE_DB_LOGS] = {"logs", "logs.db", DB_BTREE, 2048},
    [STORE_DB_BLOCKS] = {"blocks", "blocks.db", DB_BTREE, 2048},
    [STORE_DB_JOURNAL] = {"journal", "journal.db", DB_BTREE, 4096},
    [STORE_DB_USES] = {"uses", "uses.db", DB_BTREE, 4096},
    [STORE_DB_STOPPED] = {"stopped", "stopped.db", DB_BTREE, 4096},
    [STORE_DB_AUDIT] = {"audit", "audit.db", DB_BTREE, 4096},
};

int
store_alive(struct store *s, struct err *e)
{
	int cause = atomic_load(&s->panicked);

	if (cause == 0)
		return 0;
	return err_set(e, ERR_UNAVAILABLE,
	    "%s: the store stopped (%s): restart its owner, which recovers it; if it stops again, "
	    "restore a backup",
	    s->dir, db_strerror(cause));
}

int
store_fail(struct store *s, int ret, const char *doing, struct err *e)
{
	int running = 0;

	if (ret == DB_RUNRECOVERY)
		atomic_compare_exchange_strong(&s->panicked, &running, ret);
	if (store_alive(s, e) != 0)
		return -1;
	switch (ret) {
	case ENOSPC:
	case EDQUOT:
		atomic_store(&s->full, 1);
		return err_set(
		    e, ERR_FULL, "%s: no space left for the store (%s): free some", s->dir, doing);
	case DB_BUFFER_SMALL:
	case DB_PAGE_NOTFOUND:
	case DB_VERIFY_BAD:
	case EINVAL: /* a page of no form */
		return err_set(e, ERR_CORRUPT, "%s: %s met damaged data (%s): restore a backup",
		    s->dir, doing, db_strerror(ret));
	case DB_VERSION_MISMATCH:
	case DB_OLD_VERSION:
		return err_set(e, ERR_VERSION,
		    "%s: written with another version of Berkeley DB (%s): run the release that "
		    "wrote it, or dump there and load here",
		    s->dir, db_strerror(ret));
	default:
		return err_set(e, ERR_SYSTEM, "%s: %s: %s", s->dir, doing, db_strerror(ret));
	}
}

static int
db_fail(struct store *s, enum store_db which, int ret, const char *verb, struct err *e)
{
	uint32_t page;
	char doing[48];

	if (ret == EIO && store_pages_bad(&page))
		return err_set(e, ERR_CORRUPT, "%s/%s: page %lu is damaged: restore a backup",
		    s->dir, store_db_specs[which].file, (unsigned long)page);
	if (snprintf(doing, sizeof(doing), "%s in database %s", verb, store_db_specs[which].name) <
	    0)
		doing[0] = '\0';
	return store_fail(s, ret, doing, e);
}

static int
write_fail(struct store *s, enum store_db which, int ret, const char *verb, struct err *e)
{
	struct err why = {.code = ERR_NONE};

	db_fail(s, which, ret, verb, &why);
	if (e != NULL)
		*e = why;
	return store_poison(s, &why);
}

/* Berkeley DB never writes through the DBT of a key or value that is handed in. */
static DBT
dbt_in(struct span bytes)
{
	return (DBT){.data = (void *)(uintptr_t)bytes.p, .size = (uint32_t)bytes.len};
}

static DBT
dbt_out(void *buf, size_t cap)
{
	if (buf == NULL)
		return (DBT){.flags = DB_DBT_USERMEM | DB_DBT_PARTIAL};
	return (DBT){.data = buf, .ulen = (uint32_t)cap, .flags = DB_DBT_USERMEM};
}

int
store_db_get(struct store *s, enum store_db which, struct span key, void *buf, size_t cap,
    size_t *len, struct err *e)
{
	DB *db = s->dbs[which];
	DBT k = dbt_in(key), v = dbt_out(buf, cap);
	int ret;

	*len = 0;
	if (store_alive(s, e) != 0)
		return -1;
	if (store_pages_begin(s, which, 0, e) != 0)
		return -1;
	ret = db->get(db, s->txn, &k, &v, 0);
	store_pages_end();
	if (ret == DB_NOTFOUND)
		return 0;
	if (ret != 0)
		return db_fail(s, which, ret, "reading", e);
	*len = v.size;
	return 1;
}

/* 0, a flag's own answer DB_KEYEXIST, or -1. */
static int
put(struct store *s, enum store_db which, struct span key, DBT *v, uint32_t flags, struct err *e)
{
	DB *db = s->dbs[which];
	DB_TXN *txn;
	DBT k = dbt_in(key);
	int ret;

	if ((txn = store_txn(s, e)) == NULL)
		return -1;
	if (store_pages_begin(s, which, 1, e) != 0)
		return -1;
	ret = db->put(db, txn, &k, v, flags);
	store_pages_end();
	if (ret == 0 || ret == DB_KEYEXIST)
		return ret;
	return write_fail(s, which, ret, "writing", e);
}

int
store_db_put(
    struct store *s, enum store_db which, struct span key, struct span value, struct err *e)
{
	DBT v = dbt_in(value);

	return put(s, which, key, &v, 0, e);
}

int
store_db_insert(
    struct store *s, enum store_db which, struct span key, struct span value, struct err *e)
{
	DBT v = dbt_in(value);
	int ret = put(s, which, key, &v, DB_NOOVERWRITE, e);

	if (ret == DB_KEYEXIST)
		return 0;
	return ret == 0 ? 1 : -1;
}

int
store_db_patch(struct store *s, enum store_db which, struct span key, struct span bytes,
    uint32_t doff, uint32_t dlen, struct err *e)
{
	DBT v = dbt_in(bytes);

	v.flags = DB_DBT_PARTIAL;
	v.doff = doff;
	v.dlen = dlen;
	return put(s, which, key, &v, 0, e);
}

int
store_db_del(struct store *s, enum store_db which, struct span key, struct err *e)
{
	DB *db = s->dbs[which];
	DB_TXN *txn;
	DBT k = dbt_in(key);
	int ret;

	if ((txn = store_txn(s, e)) == NULL)
		return -1;
	if (store_pages_begin(s, which, 1, e) != 0)
		return -1;
	ret = db->del(db, txn, &k, 0);
	store_pages_end();
	if (ret == DB_NOTFOUND)
		return 0;
	return ret == 0 ? 1 : write_fail(s, which, ret, "deleting", e);
}

int
store_scan_open(struct store_scan *scan, struct store *s, enum store_db which, void *value,
    size_t cap, struct err *e)
{
	DB *db = s->dbs[which];
	DB_TXN *txn = NULL;
	int ret;

	*scan = (struct store_scan){.store = s, .which = which, .value = value, .value_cap = cap};
	if (store_alive(s, e) != 0)
		return -1;
	/*
	 * In a batch it has to be the transaction's, also when nothing has been written yet: an
	 * item that is deleted under a cursor is taken off its page when the cursor leaves it, and
	 * without a transaction Berkeley DB does not log that.  No recovery gets past such a page.
	 */
	if (s->in_batch && (txn = store_txn(s, e)) == NULL)
		return -1;
	if ((ret = db->cursor(db, txn, &scan->cursor, 0)) != 0) {
		scan->cursor = NULL;
		return db_fail(s, which, ret, "reading", e);
	}
	return 0;
}

static int
scan_move(struct store_scan *scan, uint32_t how, struct err *e)
{
	DBT k = dbt_out(scan->key, sizeof(scan->key));
	DBT v = dbt_out(scan->value, scan->value_cap);
	int ret;

	if (scan->cut) {
		v.flags |= DB_DBT_PARTIAL;
		v.dlen = v.ulen;
	}
	if (store_alive(scan->store, e) != 0)
		return -1;
	k.size = (uint32_t)scan->key_len;
	if (store_pages_begin(scan->store, scan->which, 0, e) != 0)
		return -1;
	ret = scan->cursor->get(scan->cursor, &k, &v, how);
	store_pages_end();
	if (ret == DB_NOTFOUND)
		return 0;
	if (ret != 0)
		return db_fail(scan->store, scan->which, ret, "reading", e);
	scan->key_len = k.size;
	scan->value_len = v.size;
	return 1;
}

int
store_scan_seek(struct store_scan *scan, struct span from, struct err *e)
{
	if (from.len > sizeof(scan->key))
		return err_set(e, ERR_INTERNAL, "a key of %zu bytes is sought in database %s",
		    from.len, store_db_specs[scan->which].name);
	if (from.len > 0)
		memmove(scan->key, from.p, from.len);
	scan->key_len = from.len;
	return scan_move(scan, DB_SET_RANGE, e);
}

int
store_scan_next(struct store_scan *scan, struct err *e)
{
	return scan_move(scan, DB_NEXT, e);
}

int
store_scan_prev(struct store_scan *scan, struct err *e)
{
	return scan_move(scan, DB_PREV, e);
}

int
store_scan_last(struct store_scan *scan, struct err *e)
{
	return scan_move(scan, DB_LAST, e);
}

void
store_scan_close(struct store_scan *scan)
{
	/* Closing only gives memory back; if it fails the environment has panicked and says so
	 * itself. */
	if (scan->cursor != NULL)
		scan->cursor->close(scan->cursor);
	scan->cursor = NULL;
}

struct span
store_scan_key(const struct store_scan *scan)
{
	return store_span(scan->key, scan->key_len);
}
