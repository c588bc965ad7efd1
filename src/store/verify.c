/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Is a store whole?  First its files, page by page, as Berkeley DB verifies them; then what is in
 * them: every record decodes, every index agrees with its primary, every log is in order, every
 * count is right.
 *
 * Nobody else may use the store meanwhile: a store in service is verified in a copy (copy.c).  It
 * changes nothing.
 *
 * Invariants: a finding is one line that names the database and the record, and no digest; it goes
 * on after one, so that all of them are told; -1 means that it could not go on.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alias.h"
#include "store/internal.h"

#define PATH_BYTES 4200
#define PROGRESS_EVERY 1024

struct verify {
	struct store *store;
	const struct store_verify *with;
	const char *what;
	uint64_t done;
	uint8_t *value; /* KEYREC_MAX bytes */
	uint64_t keys, aliases, plans, logs, blocks, stopped, imported;
	struct store_secrets *under; /* ${nunder} versions of the pepper, as they were counted */
	size_t nunder;
};

static void found(const struct store_verify *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
found(const struct store_verify *with, const char *fmt, ...)
{
	char line[600];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	with->found(with->cookie, n < 0 ? fmt : line);
}

/* ---- files ---- */

/* A handle for the file ${path}, not opened. */
static int
handle(const struct store_verify *with, const char *path, DB **out, struct err *e)
{
	DB *db;
	int ret;

	if ((ret = db_create(&db, NULL, 0)) != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, db_strerror(ret));
	/* What is wrong with a page is of no use to anybody but us. */
	db->set_errcall(db, store_say_nothing);
	if (with->key != NULL && (ret = db->set_encrypt(db, with->key, DB_ENCRYPT_AES)) != 0) {
		(void)db->close(db, 0);
		return err_set(e, ERR_SYSTEM, "%s: %s", path, db_strerror(ret));
	}
	*out = db;
	return 0;
}

/* Berkeley DB finds it damaged then, but not that it is this. */
static int
is_too_long(const char *path, uint32_t page_bytes, db_pgno_t last)
{
	struct stat st;

	return stat(path, &st) == 0 && (uint64_t)st.st_size / page_bytes > (uint64_t)last + 1;
}

/*
 * Each page read once, as far as its checksum.  DB->verify does not come to an end when it meets
 * one that does not fit in a tree: what it was about it can neither keep nor drop any more.
 */
static int
read_pages(DB *db, const char *path, db_pgno_t *page, int *too_long)
{
	db_pgno_t last;
	DB_MPOOLFILE *pool;
	uint32_t page_bytes;
	void *mem;
	int ret;

	*page = 0;
	*too_long = 0;
	if ((ret = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY, 0)) != 0)
		return ret;
	pool = db->get_mpf(db);
	/* As its first page says. */
	if ((ret = db->get_pagesize(db, &page_bytes)) != 0 ||
	    (ret = pool->get_last_pgno(pool, &last)) != 0)
		return ret;
	if ((*too_long = is_too_long(path, page_bytes, last)) != 0)
		return 0;
	for (; *page <= last; (*page)++)
		if ((ret = pool->get(pool, page, NULL, 0, &mem)) != 0 ||
		    (ret = pool->put(pool, mem, DB_PRIORITY_VERY_LOW, 0)) != 0)
			return ret;
	return 0;
}

static int
verify_file(const struct store_verify *with, const char *file, const char *path, struct err *e)
{
	db_pgno_t page;
	DB *db;
	int ret, too_long;

	if (handle(with, path, &db, e) != 0)
		return -1;
	ret = read_pages(db, path, &page, &too_long);
	(void)db->close(db, 0);
	if (ret == ENOENT)
		found(with, "%s: missing", file);
	else if (ret != 0)
		found(with, "%s: page %u is damaged", file, (unsigned)page);
	else if (too_long)
		found(with, "%s: longer than its first page says", file);
	if (ret != 0 || too_long)
		return 0;
	if (handle(with, path, &db, e) != 0)
		return -1;
	/* Closes the handle, whatever it finds. */
	if ((ret = db->verify(db, path, NULL, NULL, 0)) != 0)
		found(with, "%s: damaged (%s)", file, db_strerror(ret));
	return 0;
}

int
store_verify_files(const char *dir, const struct store_verify *with, struct err *e)
{
	char path[PATH_BYTES];
	int n;

	for (int which = 0; which < STORE_DBS; which++) {
		const char *file = store_db_specs[which].file;

		n = snprintf(path, sizeof(path), "%s/%s", dir, file);
		if (n < 0 || (size_t)n >= sizeof(path))
			return err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
		with->at(with->cookie, file, 0);
		if (verify_file(with, file, path, e) != 0)
			return -1;
	}
	return 0;
}

/* ---- records ---- */

/* A record of the database that is walked; 0 to go on, -1. */
typedef int record_fn(struct verify *, struct span key, struct span value, struct err *);

static int
walk(struct verify *v, enum store_db which, record_fn *fn, struct err *e)
{
	struct store_scan scan;
	int rc;

	v->what = store_db_specs[which].name;
	v->done = 0;
	if ((rc = store_scan_open(&scan, v->store, which, v->value, KEYREC_MAX, e)) == 0)
		/* A hash has no order, and no place to begin but its first. */
		rc = which == STORE_DB_KEYS ? store_scan_next(&scan, e)
					    : store_scan_seek(&scan, span_of(""), e);
	while (rc == 1) {
		if (v->done++ % PROGRESS_EVERY == 0)
			v->with->at(v->with->cookie, v->what, v->done);
		if (fn(v, store_scan_key(&scan), store_span(v->value, scan.value_len), e) != 0)
			rc = -1;
		else
			rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	return rc;
}

/* Is there "name NUL id" in an index? */
static int
in_index(struct verify *v, enum store_db which, struct span name, const char *id, struct err *e)
{
	uint8_t key[STORE_KEY_MAX];
	struct wbuf w;
	size_t len;
	int rc;

	wbuf_init(&w, key, sizeof(key));
	wbuf_span(&w, name);
	wbuf_u8(&w, 0);
	wbuf_bytes(&w, id, TOKEN_ID_LEN);
	rc = store_db_get(v->store, which, wbuf_view(&w), NULL, 0, &len, e);
	if (rc == 0)
		found(v->with, "%s: key %s is missing", store_db_specs[which].name, id);
	return rc < 0 ? -1 : 0;
}

static int
same_digest(struct verify *v, const char *id, struct span digest, struct err *e)
{
	uint8_t there[STORE_DIGEST_LEN];
	int rc = store_key_find(v->store, span_of(id), there, e);

	if (rc == 0)
		found(v->with, "ids: key %s is missing", id);
	else if (rc == 1 && memcmp(there, digest.p, STORE_DIGEST_LEN) != 0)
		found(v->with, "ids: key %s has another record", id);
	return rc < 0 ? -1 : 0;
}

static int
plan_there(struct verify *v, const struct keyrec *rec, struct err *e)
{
	struct plan plan;
	int rc;

	if (plan_builtin(rec->plan, &plan))
		return 0;
	if ((rc = store_plan_get(v->store, rec->plan, &plan, e)) == 0)
		found(v->with, "keys: key %s has a plan that is not there", rec->id);
	return rc < 0 ? -1 : 0;
}

/* One more secret, for the sums that the store keeps of them. */
static int
tally(struct verify *v, uint32_t pepper, enum keyrec_digest of, enum store_secret_kind kind,
    struct err *e)
{
	struct store_secrets *more;
	size_t i = 0;

	while (i < v->nunder && v->under[i].pepper != pepper)
		i++;
	if (i == v->nunder) {
		more = reallocarray(v->under, v->nunder + 1, sizeof(*more));
		if (more == NULL)
			return err_sys(e, "verifying the store");
		v->under = more;
		v->under[v->nunder++] = (struct store_secrets){.pepper = pepper};
	}
	v->under[i].n[kind]++;
	v->imported += of == KEYREC_OF_SHA256;
	return 0;
}

static int
same_sum(void *cookie, const struct store_secrets *sum, struct err *e)
{
	struct verify *v = cookie;
	static const struct store_secrets none;
	struct store_secrets *there = NULL;

	(void)e;
	for (size_t i = 0; i < v->nunder; i++)
		if (v->under[i].pepper == sum->pepper)
			there = &v->under[i];
	if (memcmp(sum->n, there != NULL ? there->n : none.n, sizeof(sum->n)) != 0)
		found(v->with, "meta: the secrets under pepper %u are miscounted",
		    (unsigned)sum->pepper);
	if (there != NULL)
		memset(there->n, 0, sizeof(there->n));
	return 0;
}

/* Are the secrets under each pepper counted right? */
static int
sums_right(struct verify *v, struct err *e)
{
	static const struct store_secrets none;

	if (store_secrets_walk(v->store, same_sum, v, e) < 0)
		return -1;
	for (size_t i = 0; i < v->nunder; i++)
		if (memcmp(v->under[i].n, none.n, sizeof(none.n)) != 0)
			found(v->with, "meta: the secrets under pepper %u are not counted",
			    (unsigned)v->under[i].pepper);
	return 0;
}

/* The older secrets of a key, each under its digest, each of this key. */
static int
chain_whole(struct verify *v, const struct keyrec *rec, struct err *e)
{
	uint8_t at[STORE_DIGEST_LEN], buf[ALIAS_MAX];
	struct alias a = {.has_older = rec->previous != NULL};
	struct err why;
	size_t len;
	int rc;

	if (rec->previous != NULL)
		memcpy(a.older, rec->previous, sizeof(a.older));
	for (int n = 0; a.has_older && n <= STORE_OLD_SECRETS_MAX; n++) {
		memcpy(at, a.older, sizeof(at));
		rc = store_db_get(
		    v->store, STORE_DB_KEYS, store_span(at, sizeof(at)), buf, sizeof(buf), &len, e);
		if (rc < 0)
			return -1;
		if (rc == 0 || alias_decode(store_span(buf, len), &a, &why) != 0 ||
		    strcmp(a.id, rec->id) != 0) {
			found(v->with, "keys: an older secret of key %s is missing or damaged",
			    rec->id);
			return 0;
		}
		v->aliases--;
		if (tally(v, a.pepper, a.digest_of, STORE_SECRET_PREVIOUS, e) != 0)
			return -1;
	}
	return 0;
}

static int
key_record(struct verify *v, struct span key, struct span value, struct err *e)
{
	struct keyrec rec;
	struct err why;

	if (key.len != STORE_DIGEST_LEN) {
		found(v->with, "keys: a digest of %zu bytes", key.len);
		return 0;
	}
	if (alias_is(value)) {
		v->aliases++; /* each is taken off again by the chain that it is in */
		return 0;
	}
	if (keyrec_decode(value, &rec, &why) != 0) {
		found(v->with, "keys: %s", why.msg);
		return 0;
	}
	v->keys++;
	if (tally(v, rec.pepper, rec.digest_of,
		rec.state == KEYREC_REVOKED ? STORE_SECRET_REVOKED : STORE_SECRET_LIVE, e) != 0)
		return -1;
	if (same_digest(v, rec.id, key, e) != 0 ||
	    in_index(v, STORE_DB_OWNERS, rec.owner, rec.id, e) != 0 ||
	    in_index(v, STORE_DB_PLAN_KEYS, rec.plan, rec.id, e) != 0)
		return -1;
	return plan_there(v, &rec, e) != 0 ? -1 : chain_whole(v, &rec, e);
}

/* Each record has its entry: so as many entries as records means that there are no others. */
static int
entry(struct verify *v, struct span key, struct span value, struct err *e)
{
	(void)v;
	(void)key;
	(void)value;
	(void)e;
	return 0;
}

static int
index_count(struct verify *v, enum store_db which, struct err *e)
{
	if (walk(v, which, entry, e) != 0)
		return -1;
	if (v->done != v->keys)
		found(v->with, "%s: %llu entries for %llu keys", v->what,
		    (unsigned long long)v->done, (unsigned long long)v->keys);
	return 0;
}

static int
plan_record(struct verify *v, struct span key, struct span value, struct err *e)
{
	struct plan plan;
	struct err why;

	(void)e;
	v->plans++;
	if (plan_decode(value, &plan, &why) != 0)
		found(v->with, "plans: %s", why.msg);
	else if (!span_is(key, plan.name))
		found(v->with, "plans: plan %s under another name", plan.name);
	return 0;
}

/* A record that could not be read: a finding, unless the store has stopped over it. */
static int
damaged(struct verify *v, const struct err *why, struct err *e)
{
	if (store_alive(v->store, e) != 0)
		return -1;
	found(v->with, "%s", why->msg);
	return 0;
}

static int
log_record(struct verify *v, struct span key, struct span value, struct err *e)
{
	struct store_log_blocks blocks = {v->store, key};
	struct slog_io io = store_log_io(&blocks);
	struct slog log;
	struct err why;

	/* What is being freed has no head any more. */
	if (key.len == 0 || key.p[0] == '\0')
		return 0;
	v->logs++;
	if (store_head_load(v->store, key, value, &log, &why) == 0) {
		v->blocks += log.end_block - log.first_block;
		if (slog_verify(&log, &io, &why) == 0)
			return 0;
	}
	return damaged(v, &why, e);
}

static void
count(const struct verify *v, const char *what, uint64_t counted, uint64_t there)
{
	if (counted != there)
		found(v->with, "meta: counts %llu %s, there are %llu", (unsigned long long)counted,
		    what, (unsigned long long)there);
}

/* A use of a key that is gone costs a few bytes and nothing else; damage is what matters here. */
static int
use_record(struct verify *v, struct span key, struct span value, struct err *e)
{
	struct store_use use;
	struct err why = {.code = ERR_NONE};

	(void)value;
	if (store_use_get(v->store, key, &use, &why) >= 0)
		return 0;
	return damaged(v, &why, e);
}

static int
stopped_record(struct verify *v, struct span key, struct span value, struct err *e)
{
	struct store_stop stop;
	struct err why = {.code = ERR_NONE};

	(void)value;
	v->stopped++;
	if (store_owner_stopped(v->store, key, &stop, &why) >= 0)
		return 0;
	return damaged(v, &why, e);
}

static int
verify_all(struct verify *v, struct err *e)
{
	const struct store_counts *c = &v->store->now.counts;

	if (walk(v, STORE_DB_KEYS, key_record, e) != 0)
		return -1;
	if (v->aliases != 0)
		found(v->with, "keys: older secrets that belong to no key");
	if (index_count(v, STORE_DB_IDS, e) != 0 || index_count(v, STORE_DB_OWNERS, e) != 0 ||
	    index_count(v, STORE_DB_PLAN_KEYS, e) != 0 ||
	    walk(v, STORE_DB_PLANS, plan_record, e) != 0 ||
	    walk(v, STORE_DB_LOGS, log_record, e) != 0 ||
	    walk(v, STORE_DB_USES, use_record, e) != 0 ||
	    walk(v, STORE_DB_STOPPED, stopped_record, e) != 0)
		return -1;
	count(v, "keys", c->keys, v->keys);
	count(v, "plans", c->plans, v->plans);
	count(v, "logs", c->logs, v->logs);
	count(v, "owners that are switched off", c->stopped, v->stopped);
	count(v, "imported secrets", c->imported, v->imported);
	return sums_right(v, e);
}

int
store_verify_records(struct store *s, const struct store_verify *with, struct err *e)
{
	struct verify v = {.store = s, .with = with};
	int rc;

	if ((v.value = malloc(KEYREC_MAX)) == NULL)
		return err_sys(e, "verifying the store");
	rc = verify_all(&v, e);
	free(v.value);
	free(v.under);
	return rc;
}
