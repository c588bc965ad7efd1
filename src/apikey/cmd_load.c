/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db load: a store of a dump's lines (dump.h).
 *
 * Works on files of the service user, hence as that user from the first one on, and never as root:
 * whoever has taken over the service could have made them, or links that lead elsewhere.
 *
 * Invariants: a load builds a store of its own beside the one there is, which takes that one's
 * place when it is complete and verified, and never before; a dump that is not whole, or not of
 * this format, is refused; hostile lines end in an error.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/apart.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/dump.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "apikey/workdir.h"
#include "base/digest.h"
#include "base/json.h"
#include "keeper/storekey.h"
#include "store/store.h"

#define BATCH_RECORDS 500
#define BATCH_BYTES (4 << 20)
#define LOADING "loading" /* in state_dir */

struct loading {
	struct tool *tool;
	const char *dir; /* where the store is made */
	int restart;
	struct progress *progress;
	const char *name; /* of the dump, for messages */
	FILE *in;
	uint64_t line_no;
	struct dump_line *line;
	struct dump_chain chain, done; /* read; and in the store */
	struct dump_chain stored;      /* as an earlier attempt left it */
	struct store *store;
	cJSON *batch[BATCH_RECORDS];
	size_t n, bytes;
	int ended;
};

static int
bad_line(const struct loading *L, const char *why, struct err *e)
{
	return err_set(e, ERR_INPUT, "%s:%llu: %s", L->name, (unsigned long long)L->line_no, why);
}

/* The next line, parsed, and its bytes in L->line: 1, 0 at the end of the file, -1. */
static int
next_line(struct loading *L, cJSON **o, size_t *len, struct err *e)
{
	struct err why;
	size_t n = 0;
	int c;

	if (L->line == NULL && (L->line = malloc(sizeof(*L->line))) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	L->line_no++;
	do {
		if ((c = getc(L->in)) == EOF)
			break;
		if (n == DUMP_LINE_MAX)
			return bad_line(L, "longer than any of a dump", e);
		L->line->text[n++] = (char)c;
	} while (c != '\n');
	if (ferror(L->in))
		return err_sys(e, "%s: cannot read", L->name);
	if (n == 0)
		return 0;
	*len = n;
	if (c != '\n')
		return bad_line(L, "cut short", e);
	if ((*o = json_parse_object((struct span){L->line->text, n - 1}, &why)) == NULL)
		return bad_line(L, why.msg, e);
	return 1;
}

static int
read_header(struct loading *L, uint32_t format, struct err *e)
{
	cJSON *o = NULL;
	size_t len;
	int rc, ok;

	if ((rc = next_line(L, &o, &len, e)) < 0)
		return -1;
	ok = rc == 1 && json_int(o, "apikeyd_dump", 0, 0, INT32_MAX, NULL) == DUMP_VERSION;
	if (!ok)
		err_set(e, ERR_VERSION, "%s: not a dump of the store, or one of another release",
		    L->name);
	else if (json_int(o, "format", 0, 0, INT32_MAX, NULL) != (int64_t)format)
		ok = err_set(e, ERR_VERSION,
			 "%s: a dump of another format than this release's (%u): load it with the "
			 "release that made it",
			 L->name, (unsigned)format) == 0;
	cJSON_Delete(o);
	return ok ? dump_chain_add(&L->chain, L->line, len, e) : -1;
}

/* Hex of a member into ${out}: its length, or -1. */
static long
unhex(const cJSON *o, const char *name, uint8_t *out, size_t cap)
{
	const char *hex = json_str(o, name, NULL);
	size_t len = hex == NULL ? 1 : strlen(hex);

	if (len % 2 != 0 || len / 2 > cap || digest_unhex(hex, len, out, len / 2) != 0)
		return -1;
	return (long)(len / 2);
}

static int
load_batch(void *cookie, struct err *e)
{
	struct loading *L = cookie;
	uint8_t *value = malloc(STORE_VALUE_MAX), key[512];
	int rc = value == NULL ? err_set(e, ERR_SYSTEM, "out of memory") : 0;

	for (size_t i = 0; i < L->n && rc == 0; i++) {
		const cJSON *o = L->batch[i];
		long klen = unhex(o, "key", key, sizeof(key));
		long vlen = unhex(o, "value", value, STORE_VALUE_MAX);
		const char *db = json_str(o, "db", NULL);

		if (klen < 0 || vlen < 0 || db == NULL)
			rc = err_set(e, ERR_INPUT, "a record that is none");
		else
			rc = store_load(L->store, span_of(db),
			    (struct span){(char *)key, (size_t)klen},
			    (struct span){(char *)value, (size_t)vlen}, e);
	}
	free(value);
	if (rc != 0)
		return -1;
	L->done = L->chain;
	return store_load_mark(L->store, &L->done, sizeof(L->done), e);
}

static int
flush_batch(struct loading *L, struct err *e)
{
	int rc = L->n == 0 ? 0 : store_batch(L->store, load_batch, L, e);

	for (size_t i = 0; i < L->n; i++)
		cJSON_Delete(L->batch[i]);
	L->n = L->bytes = 0;
	if (rc != 0)
		return err_wrap(e, "%s: up to line %llu", L->name, (unsigned long long)L->line_no);
	return 0;
}

static int
another_dump(const struct loading *L, struct err *e)
{
	return err_set(e, ERR_CONFLICT,
	    "%s: another dump than the one whose load was interrupted; --restart begins anew",
	    L->name);
}

/* The last line: do the records and their hash agree with it? */
static int
read_end(struct loading *L, const cJSON *o, struct err *e)
{
	uint8_t hash[DIGEST_LEN];

	if (unhex(o, "sha256", hash, sizeof(hash)) != DIGEST_LEN ||
	    json_int(o, "records", -1, 0, INT64_MAX, NULL) != (int64_t)L->chain.records ||
	    !digest_equal(hash, L->chain.hash))
		return err_set(e, ERR_CORRUPT,
		    "%s: its last line does not agree with the lines before: it was changed, or is "
		    "damaged",
		    L->name);
	if (L->chain.records < L->stored.records)
		return another_dump(L, e);
	if (getc(L->in) != EOF)
		return err_set(
		    e, ERR_INPUT, "%s: there is something behind its last line", L->name);
	L->ended = 1;
	return 0;
}

/* A record; those that an earlier attempt has loaded are only hashed. */
static int
take_record(struct loading *L, cJSON *o, size_t len, struct err *e)
{
	if (dump_chain_add(&L->chain, L->line, len, e) != 0) {
		cJSON_Delete(o);
		return -1;
	}
	L->chain.records++;
	if (L->chain.records == L->stored.records && !digest_equal(L->chain.hash, L->stored.hash)) {
		cJSON_Delete(o);
		return another_dump(L, e);
	}
	if (L->chain.records <= L->stored.records) {
		cJSON_Delete(o);
		return 0;
	}
	L->batch[L->n++] = o;
	L->bytes += len;
	return L->n == BATCH_RECORDS || L->bytes > BATCH_BYTES ? flush_batch(L, e) : 0;
}

static int
load_lines(struct loading *L, struct err *e)
{
	size_t len;
	cJSON *o;
	int rc;

	while ((rc = next_line(L, &o, &len, e)) == 1) {
		if (cJSON_HasObjectItem(o, "sha256")) {
			rc = read_end(L, o, e);
			cJSON_Delete(o);
			break;
		}
		if (take_record(L, o, len, e) != 0)
			return -1;
		progress_at(L->progress, "%llu records", (unsigned long long)L->chain.records);
	}
	if (rc < 0)
		return -1;
	if (!L->ended)
		return err_set(e, ERR_INPUT,
		    "%s: its last line is missing: it was cut short; what was read is kept, run "
		    "this again with all of it",
		    L->name);
	return flush_batch(L, e);
}

/*
 * At once, by a rename: of some of its files alone, when this is interrupted, the next attempt
 * would make a store that holds what is not of it, or does not open.
 */
static void
forget(const char *dir)
{
	char gone[PATH_MAX];
	struct err ignored;

	if (copies_beside(dir, ".gone", gone, &ignored) != 0)
		return;
	snapshot_remove(gone);
	snapshot_remove(rename(dir, gone) == 0 ? gone : dir);
}

/*
 * Where an earlier attempt was.  One that had all of its dump, and did not come to put it in place,
 * has no mark any more: that begins anew, for what it has may be of another dump.
 */
static int
load_begin(const struct tool *t, struct loading *L, const char *dir, struct err *e)
{
	struct store_stat stat;
	size_t len;
	int rc;

	if ((L->store = copies_open(t, dir, e)) == NULL || store_stat(L->store, &stat, e) != 0)
		return -1;
	rc = store_load_marked(L->store, &L->stored, sizeof(L->stored), &len, e);
	if (rc < 0)
		return -1;
	if (rc == 0 && stat.keys + stat.plans + stat.logs + stat.audit > 0) {
		store_close(&L->store);
		forget(dir);
		if ((L->store = copies_open(t, dir, e)) == NULL)
			return -1;
	}
	if (rc == 0 || len != sizeof(L->stored))
		L->stored = (struct dump_chain){.records = 0};
	return read_header(L, stat.format, e);
}

static int
load_end(void *cookie, struct err *e)
{
	const struct loading *L = cookie;

	return store_load_unmark(L->store, e);
}

/* The whole dump into the store in ${dir}. */
static int
load_into(const struct tool *t, struct loading *L, const char *dir, struct err *e)
{
	int rc;

	if ((rc = load_begin(t, L, dir, e)) == 0 && (rc = load_lines(L, e)) == 0)
		rc = store_batch(L->store, load_end, L, e);
	for (size_t i = 0; i < L->n; i++)
		cJSON_Delete(L->batch[i]);
	free(L->line);
	L->line = NULL;
	if (L->store != NULL && store_flush(L->store, rc == 0 ? e : NULL) != 0)
		rc = -1;
	/* Counts come from the records now: so no settling with those of before. */
	store_close(&L->store);
	return rc;
}

/* What was loaded takes the store's place. */
static int
install(struct loading *L, struct err *e)
{
	struct copies_restore r = {.tool = L->tool, .progress = L->progress};
	struct store_source *source = store_source_open(L->dir, e);
	int rc;

	if (source == NULL)
		return -1;
	r.source = source;
	rc = copies_restore(&r, e);
	store_source_close(&source);
	/* What cannot be used is gone; what was interrupted is gone on with. */
	if (rc == 0 || e->code == ERR_CORRUPT)
		forget(L->dir);
	progress_end(L->progress);
	return rc == 0 && copies_report(&r, "loaded", NULL, e) == 0 ? TOOL_DONE : -1;
}

static int
load(void *cookie, struct err *e)
{
	struct loading *L = cookie;
	struct copies_findings f = {.tool = L->tool, .progress = L->progress, .quiet = 1};
	int rc;

	workdir_sweep();
	progress_begin(L->progress);
	if (L->restart)
		forget(L->dir);
	if ((rc = load_into(L->tool, L, L->dir, e)) == 0)
		rc = copies_verify(L->dir, &f, e);
	if (rc == 0 && f.n > 0)
		rc = err_set(e, ERR_CORRUPT,
		    "%s: what it holds does not verify (%llu findings), and was not taken", L->name,
		    (unsigned long long)f.n);
	if (rc == 0)
		return install(L, e);
	if (e->code == ERR_CORRUPT)
		forget(L->dir);
	progress_end(L->progress);
	return -1;
}

/* Is there a keeper?  Found out before the work, not behind it. */
static int
nobody_runs(struct tool *t, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int rc;

	if (cJSON_AddStringToObject(request, "op", "ping") == NULL)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = session_call_keeper(t->session, SESSION_READS, request, &result, e);
	cJSON_Delete(request);
	cJSON_Delete(result);
	if (rc == 1)
		return err_set(e, ERR_BUSY, "apikeyd is running: stop it first");
	return rc;
}

/* Standard input is closed to who is not root any more, so this is another descriptor of it. */
static int
open_dump(struct loading *L, const char *file, struct err *e)
{
	int fd;

	if (file != NULL && strcmp(file, "-") != 0) {
		L->name = file;
		L->in = fopen(file, "re");
	} else {
		L->name = "standard input";
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		L->in = fd < 0 ? NULL : fdopen(fd, "r");
		if (L->in == NULL && fd >= 0)
			close(fd);
	}
	return L->in != NULL ? 0 : err_sys(e, "%s", L->name);
}

static int
prepare(struct tool *t, struct err *e)
{
	const struct config *c = t->config;
	struct service service;

	if (service_find(c, &service, e) != 0 ||
	    service_make_dir(&service, c->state_dir, 0700, 1, e) != 0 ||
	    (c->encrypt_store && storekey_add(c->pepper_file, service.uid, service.gid, e) == -1))
		return -1;
	return copies_enter(t, &service, 0, e);
}

int
cmd_db_load(struct tool *t, struct options *o, struct err *e)
{
	char dir[PATH_MAX];
	struct progress p;
	struct loading L = {
	    .tool = t, .dir = dir, .progress = &p, .restart = options_local(o, "restart")};
	/* What was loaded so far stays, for the next attempt. */
	const struct apart apart = {.config = t->config, .work = load, .cookie = &L};
	int rc = -1;

	if (copies_beside(t->config->state_dir, "/" LOADING, dir, e) != 0 ||
	    nobody_runs(t, e) != 0 || open_dump(&L, json_str(o->request, "file", NULL), e) != 0)
		return -1;
	copies_quiet(t);
	if (prepare(t, e) == 0)
		rc = apart_run(&apart, e);
	copies_leave(t);
	(void)fclose(L.in);
	return rc;
}
