/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Copies of the store in the tool's hands: verified, and put in its place.
 *
 * Invariants: a finding is one line; a store that is replaced is moved aside, not deleted; one that
 * somebody owns is not touched.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "apikey/copies.h"

#include "apikey/output.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "keeper/storekey.h"
#include "store/store.h"

#define CACHE_BYTES (64 << 20)

void
copies_found(struct copies_findings *f, const char *what)
{
	cJSON *o;

	f->n++;
	if (f->quiet)
		return;
	progress_end(f->progress);
	if (!f->tool->json) {
		printf("%s\n", what);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "finding", what);
	if (output_json(o, NULL) != 0)
		clearerr(stdout); /* the count is what matters */
	cJSON_Delete(o);
}

static void
found(void *cookie, const char *what)
{
	copies_found(cookie, what);
}

static void
at(void *cookie, const char *database, uint64_t record)
{
	struct copies_findings *f = cookie;

	if (record == 0)
		progress_at(f->progress, "verifying %s", database);
	else
		progress_at(
		    f->progress, "verifying %s: %llu", database, (unsigned long long)record);
}

/* *key: the tool's, or ${own} and the caller's, or NULL. */
static int
store_key(const struct tool *t, const char **key, char **own, struct err *e)
{
	*key = t->store_key;
	*own = NULL;
	if (t->store_key != NULL || !t->config->encrypt_store)
		return 0;
	if (storekey_load(t->config->pepper_file, own, e) != 0)
		return -1;
	*key = *own;
	return 0;
}

struct store *
copies_open(const struct tool *t, const char *dir, struct err *e)
{
	struct store_options options = {.dir = dir, .cache_bytes = CACHE_BYTES};
	struct store *s;
	char *own;

	if (store_key(t, &options.key, &own, e) != 0)
		return NULL;
	s = store_open(&options, e);
	storekey_free(&own);
	return s;
}

int
copies_encrypted_right(const struct tool *t, const struct store_source *source, struct err *e)
{
	const char *dir = store_source_dir(source);
	int is = store_source_encrypted(source);

	if (is == 1 && !t->config->encrypt_store)
		return err_set(e, ERR_CONFLICT,
		    "%s: the store in it is encrypted, but encrypt_store is not set: set it", dir);
	if (is == 0 && t->config->encrypt_store)
		return err_set(e, ERR_CONFLICT,
		    "%s: the store in it is not encrypted, but encrypt_store is set: take it out; "
		    "to encrypt what was restored, dump it, set encrypt_store and load the dump",
		    dir);
	return 0;
}

void
copies_rename(struct err *e, const char *dir, const char *of)
{
	char text[sizeof(e->msg)] = "";
	const char *from = e->msg, *at;
	size_t n = 0;

	while ((at = strstr(from, dir)) != NULL && n < sizeof(text)) {
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "%.*s%s", (int)(at - from), from, of);
		from = at + strlen(dir);
	}
	if (n > 0)
		(void)err_set(e, e->code, "%s%s", text, n < sizeof(text) ? from : "");
}

int
copies_verify_files(const char *dir, struct copies_findings *f, struct err *e)
{
	struct store_verify with = {.found = found, .at = at, .cookie = f};
	char *own;
	int rc;

	if (store_key(f->tool, &with.key, &own, e) != 0)
		return -1;
	rc = store_verify_files(dir, &with, e);
	storekey_free(&own);
	return rc;
}

int
copies_verify(const char *dir, struct copies_findings *f, struct err *e)
{
	const struct store_verify with = {.found = found, .at = at, .cookie = f};
	const uint64_t before = f->n;
	struct store *s;
	int rc;

	if (copies_verify_files(dir, f, e) != 0)
		return -1;
	/* What is in damaged files would be told a second time, and worse. */
	if (f->n > before)
		return 0;
	if ((s = copies_open(f->tool, dir, e)) == NULL)
		return -1;
	rc = store_verify_records(s, &with, e);
	store_close(&s);
	return rc;
}

static int
told(void *cookie, uint64_t bytes)
{
	const struct copies_restore *r = cookie;
	char text[PROGRESS_BYTES_MAX];

	progress_at(r->progress, "%s copied", progress_bytes(bytes, text));
	return 0;
}

/* "replaced-20261122T061500Z"; with "-2" and so on behind it for others in the same second. */
static int
replaced_name(const char *state_dir, int64_t now_us, char name[64], struct err *e)
{
	time_t now = (time_t)(now_us / CLOCK_SECOND);
	char stem[32], path[PATH_MAX];
	struct stat st;
	struct tm tm;
	int n;

	if (gmtime_r(&now, &tm) == NULL ||
	    strftime(stem, sizeof(stem), "replaced-%Y%m%dT%H%M%SZ", &tm) == 0)
		(void)snprintf(stem, sizeof(stem), "replaced");
	(void)snprintf(name, 64, "%s", stem);
	for (int i = 2; i < 100; i++) {
		n = snprintf(path, sizeof(path), "%s/%s", state_dir, name);
		if (n < 0 || (size_t)n >= sizeof(path))
			return err_set(e, ERR_INPUT, "%.80s...: too long a path", state_dir);
		if (lstat(path, &st) != 0)
			break;
		(void)snprintf(name, 64, "%s-%d", stem, i);
	}
	return 0;
}

struct noting {
	struct store *store;
	const struct copies_restore *restore;
};

/* The trail is told by the first one that opens it with peppers. */
static int
note_accepted(void *cookie, struct err *e)
{
	const struct noting *n = cookie;
	const struct store_accepted a = {
	    .when_us = n->restore->tool->now_us, .uid = n->restore->asker};

	return store_accepted_note(n->store, &a, e);
}

/* Does it open, which recovers it, and verify?  Its pages only: its records did when it was made.
 * Before it is recovered its pages may be of different moments. */
static int
open_and_verify(const struct copies_restore *r, const char *copy, struct err *e)
{
	struct copies_findings f = {.tool = r->tool, .progress = r->progress, .quiet = 1};
	struct store *s = copies_open(r->tool, copy, e);
	struct noting n = {.store = s, .restore = r};
	int rc = 0;

	if (s == NULL)
		return -1;
	if (r->accept_log && (rc = store_batch(s, note_accepted, &n, e)) == 0)
		rc = store_flush(s, e);
	store_close(&s);
	if (rc != 0 || !r->verify)
		return rc;
	if (copies_verify_files(copy, &f, e) != 0)
		return -1;
	return f.n == 0 ? 0
			: err_set(e, ERR_CORRUPT, "%s: it is damaged; see: apikey db verify %s",
			      copy, copy);
}

static int
whole(void *cookie, const char *copy, struct err *e)
{
	const struct copies_restore *r = cookie;

	progress_at(r->progress, "recovering the copy");
	if (open_and_verify(r, copy, e) == 0)
		return 0;
	copies_rename(e, copy, store_source_dir(r->source));
	return err_wrap(e, "nothing was changed");
}

int
copies_restore(struct copies_restore *r, struct err *e)
{
	const char *state_dir = r->tool->config->state_dir;
	struct store_restore with = {.source = r->source,
	    .accept_log = r->accept_log,
	    .check = whole,
	    .copied = told,
	    .cookie = r};
	int there = store_files_in(state_dir, e);

	r->name[0] = '\0';
	if (there < 0 || (there == 1 && replaced_name(state_dir, r->tool->now_us, r->name, e) != 0))
		return -1;
	if (there == 1)
		with.replaced = r->name;
	return store_restore(state_dir, &with, e);
}

/* It is the store now: does it open, with the peppers that are here?  Its figures, or NULL. */
static cJSON *
open_restored(struct tool *t, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *stat;

	if ((stat = tool_ask(t, "db.stat", request, e)) == NULL)
		err_wrap(e, "the files are in place, but do not open");
	cJSON_Delete(request);
	return stat;
}

static int
report_json(const struct copies_restore *r, const char *made, const char *keys,
    const char *replaced, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	int rc;

	if (made != NULL)
		cJSON_AddStringToObject(o, "made", made);
	cJSON_AddNumberToObject(o, "keys", strtod(keys, NULL));
	if (replaced != NULL)
		cJSON_AddStringToObject(o, "replaced", replaced);
	else
		cJSON_AddNullToObject(o, "replaced");
	if (r->accept_log)
		cJSON_AddTrueToObject(o, "log_accepted");
	rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

int
copies_report(const struct copies_restore *r, const char *verb, const char *made, struct err *e)
{
	const char *keys, *replaced = r->name[0] != '\0' ? r->name : NULL;
	struct tool *t = r->tool;
	cJSON *stat = open_restored(t, e);
	char buf[32];
	int rc = 0;

	if (stat == NULL)
		return -1;
	keys = tool_text(stat, "keys", buf);
	if (t->json) {
		rc = report_json(r, made, keys, replaced, e);
	} else {
		printf("%s %s keys%s%s\n", verb, keys, made != NULL ? ", as they were at " : "",
		    made != NULL ? made : "");
		if (replaced != NULL)
			printf("what was there is in %s/%s\n", t->config->state_dir, replaced);
		if (r->accept_log)
			printf("nobody can tell whether its log was whole: what was changed last "
			       "may be missing\n");
		printf("keys that were revoked or rotated since it was made are as they were "
		       "before: look through them before you start apikeyd\n");
	}
	cJSON_Delete(stat);
	return rc;
}

void
copies_quiet(const struct tool *t)
{
	log_open(LOG_TO_SYSLOG, t->config->log_level, "apikey");
}

int
copies_enter(struct tool *t, const struct service *service, int stay, struct err *e)
{
	struct stat st;

	(void)umask(077);
	if (service->change && t->config->encrypt_store && stat(t->config->pepper_file, &st) == 0 &&
	    st.st_uid == 0 && storekey_load(t->config->pepper_file, &t->store_key, e) != 0)
		return -1;
	return stay ? 0 : service_become(service, e);
}

void
copies_leave(struct tool *t)
{
	storekey_free(&t->store_key);
}

int
copies_beside(const char *dir, const char *end, char out[PATH_MAX], struct err *e)
{
	size_t len = strlen(dir);
	int n;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	n = snprintf(out, PATH_MAX, "%.*s%s", (int)len, dir, end);
	return n > 0 && n < PATH_MAX ? 0 : err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
}
