/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Opening and closing the store.
 *
 * Runs in the one process that owns the store.  The environment is private to it: no region files,
 * no lock subsystem, hence nothing that a killed process could leave locked.  Whoever gets the lock
 * on the directory runs recovery, always: there is no "clean" mark that could lie.
 *
 * Invariants: the lock is taken first and released last; the format is checked before any record
 * is.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "store/internal.h"

#define FILE_MODE 0600
#define LOG_BUFFER_BYTES (1u << 20)
#define LOG_FILE_BYTES                                                                             \
	(4u << 20) /* the last one is read to its end at each start, more than once */
#define TXN_MAX 64 /* one batch runs at a time, and a checkpoint beside it */
#define CACHE_MIN (UINT64_C(4) << 20)
#define CACHE_MAX (UINT64_C(1) << 40)

/* With less free space than this, a failed recovery is laid at the disk's door. */
#define FULL_BYTES (UINT64_C(1) << 20)

#define SAID_MAX 10 /* messages a second */

/* Each buffer of the cache has a mutex; pages of 2 KiB are the smallest.  The rest: handles, hash
 * buckets. */
#define MUTEX_PER_BYTES 2048
#define MUTEX_REST 50000

/*
 * Berkeley DB's own words.  A damaged file makes recovery repeat itself for every record of the
 * log, so that there is a limit a second.
 */
static void
engine_says(const DB_ENV *env, const char *prefix, const char *message)
{
	struct store *s = env->app_private;
	int_fast64_t second = clock_mono_us() / CLOCK_SECOND;
	unsigned n;

	(void)prefix;
	if (atomic_exchange(&s->said_second, second) != second)
		atomic_store(&s->said, 0);
	if ((n = atomic_fetch_add(&s->said, 1)) < SAID_MAX)
		log_event(LOG_LVL_ERROR, "store_engine", "message", message, NULL);
	else if (n == SAID_MAX)
		log_event(LOG_LVL_ERROR, "store_engine_more", NULL);
}

static void
engine_event(DB_ENV *env, uint32_t event, void *info)
{
	struct store *s = env->app_private;

	if (event == DB_EVENT_PANIC)
		atomic_store(&s->panicked, *(const int *)info);
}

static int
env_configure(struct store *s, uint64_t cache_bytes)
{
	DB_ENV *env = s->env;
	uint64_t cache = cache_bytes < CACHE_MIN ? CACHE_MIN : cache_bytes;
	uint32_t gib, rest;
	int ret;

	if (cache > CACHE_MAX)
		cache = CACHE_MAX;
	gib = (uint32_t)(cache >> 30);
	rest = (uint32_t)(cache & ((UINT64_C(1) << 30) - 1));

	env->app_private = s;
	env->set_errcall(env, engine_says);
	if ((ret = env->set_event_notify(env, engine_event)) != 0 ||
	    (ret = env->set_cachesize(env, gib, rest, 1)) != 0 ||
	    (ret = env->mutex_set_max(env, (uint32_t)(cache / MUTEX_PER_BYTES) + MUTEX_REST)) !=
		0 ||
	    (ret = env->set_lg_bsize(env, LOG_BUFFER_BYTES)) != 0 ||
	    (ret = env->set_lg_max(env, LOG_FILE_BYTES)) != 0 ||
	    (ret = env->set_lg_filemode(env, FILE_MODE)) != 0 ||
	    (ret = env->set_tx_max(env, TXN_MAX)) != 0)
		return ret;
	return s->key == NULL ? 0 : env->set_encrypt(env, s->key, DB_ENCRYPT_AES);
}

/*
 * What Berkeley DB answers to bytes that it did not write.  DB_OLD_VERSION: a version number is
 * among them.  -1: a checksum of the log, in 5.3.
 */
static int
is_damage(int ret)
{
	return ret == EINVAL || ret == DB_RUNRECOVERY || ret == DB_CHKSUM_FAIL ||
	       ret == DB_PAGE_NOTFOUND || ret == DB_VERIFY_BAD || ret == DB_OLD_VERSION ||
	       ret == -1;
}

/*
 * Recovery or (${file}) opening a database failed.  For lack of space it heals when there is some;
 * damage does not: a restart would only come to the same point.  Berkeley DB tells the cause of a
 * panic in some places only, so the disk is asked, too.
 */
static int
open_fail(struct store *s, const char *file, int ret, struct err *e)
{
	int cause = atomic_exchange(&s->panicked, 0), full = store_sync_full();
	uint64_t free_bytes;

	if (ret == DB_RUNRECOVERY && cause != 0)
		ret = cause;
	if (ret == DB_RUNRECOVERY && full != 0)
		ret = full;
	if (ret == DB_RUNRECOVERY && store_space(s, &free_bytes, e) >= 0 && free_bytes < FULL_BYTES)
		ret = ENOSPC;
	if (file != NULL && ret == ENOENT)
		return err_set(e, ERR_CORRUPT, "%s/%s: missing: restore a backup", s->dir, file);
	if (!is_damage(ret))
		return store_fail(s, ret, file == NULL ? "recovering" : file, e);
	if (file != NULL)
		return err_set(e, ERR_CORRUPT, "%s/%s: damaged (%s): restore a backup", s->dir,
		    file, db_strerror(ret));
	return err_set(e, ERR_CORRUPT,
	    "%s: the store cannot be recovered, a database or the log is damaged (%s; the log says "
	    "more): restore a backup",
	    s->dir, db_strerror(ret));
}

static int
set_hooks(struct store *s, struct err *e)
{
	int ret;

	if ((ret = db_env_set_func_fsync(store_sync)) != 0 ||
	    (ret = db_env_set_func_open(store_sync_open)) != 0 ||
	    (ret = db_env_set_func_pread(store_pages_pread)) != 0 ||
	    (ret = db_env_set_func_seek(store_pages_seek)) != 0 ||
	    (ret = db_env_set_func_pwrite(store_sync_pwrite)) != 0)
		return store_fail(s, ret, "setting up Berkeley DB", e);
	return 0;
}

static int
env_make(struct store *s, uint64_t cache_bytes, uint32_t with, struct err *e)
{
	int ret;

	if ((ret = db_env_create(&s->env, 0)) != 0) {
		s->env = NULL;
		return store_fail(s, ret, "setting up Berkeley DB", e);
	}
	if ((ret = env_configure(s, cache_bytes)) != 0)
		return store_fail(s, ret, "setting up Berkeley DB", e);
	ret = s->env->open(s->env, s->dir, DB_PRIVATE | DB_CREATE | DB_THREAD | with, FILE_MODE);
	return ret == 0 ? 0 : open_fail(s, NULL, ret, e);
}

static int
env_end(struct store *s, struct err *e)
{
	DB_ENV *env = s->env;
	int ret;

	s->env = NULL;
	return (ret = env->close(env, 0)) == 0 ? 0 : open_fail(s, NULL, ret, e);
}

/*
 * The log is looked at before recovery, which adds to it; and the store is read behind it, anew:
 * recovery passes over pages that it does not find, taking them for ones that were given back
 * later, and would leave empty ones in the cache for them.
 */
static int
env_open(struct store *s, uint64_t cache_bytes, struct err *e)
{
	const uint32_t all = DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG;

	if (set_hooks(s, e) != 0 || store_mark_read(s, e) != 0 || store_pages_whole(s, e) != 0 ||
	    store_crypt_check(s, e) != 0 || store_sums_learn(s, e) != 0 ||
	    store_mark_expect(s, e) != 0)
		return -1;
	if (s->marked.file != 0 && (env_make(s, CACHE_MIN, DB_INIT_LOG, e) != 0 ||
				       store_mark_check(s, e) != 0 || env_end(s, e) != 0))
		return -1;
	if (env_make(s, cache_bytes, all | DB_RECOVER, e) != 0 || env_end(s, e) != 0)
		return -1;
	return env_make(s, cache_bytes, all, e);
}

/* ${create}: DB_CREATE, or 0 in a store that has all its files: one that is lost and made anew
 * would let everybody in whom its records kept out. */
static int
db_open(struct store *s, enum store_db which, uint32_t create, struct err *e)
{
	const struct store_db_spec *spec = &store_db_specs[which];
	DB *db;
	int ret;

	if ((ret = db_create(&db, s->env, 0)) != 0)
		return store_fail(s, ret, "opening", e);
	s->dbs[which] = db;
	if ((ret = db->set_flags(db, s->key == NULL ? DB_CHKSUM : DB_CHKSUM | DB_ENCRYPT)) != 0 ||
	    (ret = db->set_pagesize(db, spec->page_bytes)) != 0 ||
	    (ret = db->open(db, NULL, spec->file, NULL, spec->type,
		 create | DB_AUTO_COMMIT | DB_THREAD, FILE_MODE)) != 0)
		return open_fail(s, spec->file, ret, e);
	return store_pages_check(s, which, e);
}

static int
format_write(void *cookie, struct err *e)
{
	return store_pages_first(cookie, e) == 0 ? store_format_write(cookie, e) : -1;
}

/* A store without a format is new, so it must be empty: records of an unknown format are not
 * touched. */
static int
format_begin(struct store *s, struct err *e)
{
	struct store_scan scan;
	int found = -1;

	if (store_scan_open(&scan, s, STORE_DB_IDS, NULL, 0, e) == 0)
		found = store_scan_seek(&scan, span_of(""), e);
	store_scan_close(&scan);
	if (found < 0)
		return -1;
	if (found > 0)
		return err_set(e, ERR_CORRUPT,
		    "%s: database meta: the format record is missing, but there are keys: restore "
		    "a "
		    "backup",
		    s->dir);
	return store_batch(s, format_write, s, e);
}

static int
dbs_open(struct store *s, struct err *e)
{
	int which, known;

	/* In a new store, its checksums can be learnt now. */
	if (db_open(s, STORE_DB_META, DB_CREATE, e) != 0 ||
	    (s->sums.how == STORE_SUMS_UNKNOWN && store_sums_learn(s, e) != 0) ||
	    (known = store_format_read(s, e)) < 0)
		return -1;
	for (which = STORE_DB_META + 1; which < STORE_DBS; which++)
		if (db_open(s, (enum store_db)which, known ? 0 : DB_CREATE, e) != 0)
			return -1;
	if (known == 0) {
		s->new_store = 1;
		if (format_begin(s, e) != 0)
			return -1;
		s->new_store = 0;
	}
	if (store_mark_load(s, e) != 0 || store_counts_read(s, e) != 0 ||
	    store_audit_load(s, e) != 0)
		return -1;
	/* The names of new files; Berkeley DB syncs only their content. */
	if (fsync(s->dir_fd) != 0)
		return err_sys(e, "%s: cannot sync", s->dir);
	return 0;
}

struct store *
store_open(const struct store_options *options, struct err *e)
{
	int64_t start_us = clock_mono_us();
	uint64_t heads, cache;
	struct store *s;

	if ((s = calloc(1, sizeof(*s))) == NULL) {
		err_sys(e, "opening the store");
		return NULL;
	}
	s->dir_fd = s->lock_fd = s->mark_fd = -1;
	s->min_free_bytes = options->min_free_bytes;
	s->key = options->key;
	s->takes_max = STORE_TAKES_MAX;
	s->heads = store_heads_new(options->cache_bytes / 4);
	s->journal = store_journal_new();
	if (s->heads == NULL || s->journal == NULL) {
		err_sys(e, "opening the store");
		store_close(&s);
		return NULL;
	}
	/* Logs take a quarter of a small cache, and never more than they have places. */
	heads = store_heads_bytes(s->heads);
	cache = options->cache_bytes > heads ? options->cache_bytes - heads : 0;
	if (store_dir_claim(s, options->dir, e) != 0 ||
	    (options->there && store_dir_there(s, e) != 0) || store_dir_files(s, e) != 0 ||
	    env_open(s, cache, e) != 0 || dbs_open(s, e) != 0 || store_redo_begin(s, e) != 0 ||
	    store_mark_begin(s, e) != 0) {
		store_close(&s);
		return NULL;
	}
	s->key = NULL; /* Berkeley DB has it now */
	s->opened_us = clock_wall_us();
	s->recovery_us = clock_mono_us() - start_us;
	return s;
}

void
store_close(struct store **sp)
{
	struct err e = {.code = ERR_NONE};
	struct store *s = *sp;
	int which;

	*sp = NULL;
	if (s == NULL)
		return;
	/*
	 * Whatever fails here was logged by Berkeley DB, and costs nothing but time: every commit
	 * is in the log, and the next open recovers from it.
	 */
	if (s->opened_us != 0 && store_logs_settle(s, &e) != 0)
		log_event(LOG_LVL_WARNING, "store_not_settled", "error", e.msg, NULL);
	if (s->dbs[STORE_DBS - 1] != NULL && !atomic_load(&s->panicked))
		s->env->txn_checkpoint(s->env, 0, 0, DB_FORCE);
	if (s->opened_us != 0 && !atomic_load(&s->panicked) &&
	    (store_mark_write(s, &e) != 0 || store_mark_keep(s, &e) != 0))
		log_event(LOG_LVL_WARNING, "store_mark_failed", "error", e.msg, NULL);
	for (which = STORE_DBS - 1; which >= 0; which--)
		if (s->dbs[which] != NULL)
			s->dbs[which]->close(s->dbs[which], 0);
	if (s->env != NULL)
		s->env->close(s->env, 0);
	if (s->mark_fd != -1)
		close(s->mark_fd);
	store_dir_release(s);
	store_heads_free(s->heads);
	free(s->journal);
	store_redo_end(s);
	store_windows_forget(s);
	secret_wipe(&s->sums, sizeof(s->sums));
	free(s);
}
