/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db backup, restore, verify, compact: the care of the store.
 *
 * A backup is a directory: the files of a consistent copy, recovered and verified, and beside them
 * backup.json, which says what it is.  It becomes DIR by one rename when all of it is on disk, so
 * that DIR always holds a whole backup, the one before or this one.
 *
 * Invariants: nothing is ever restored that does not verify, nor over a store that somebody owns;
 * files of a store that is replaced are moved aside, not deleted; a directory that is not a backup
 * is left alone.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "store/store.h"

#define MANIFEST "backup.json"
#define MANIFEST_VERSION 1
#define MANIFEST_MAX 4096
#define TIME_TEXT 21
#define CACHE_BYTES (16 << 20)
#define WORK_TEMPLATE "apikey-verify-XXXXXX"

/* ---- verifying a copy ---- */

struct findings {
	struct tool *tool;
	struct progress *progress;
	uint64_t n;
	int quiet; /* only count */
};

static void
found(void *cookie, const char *what)
{
	struct findings *f = cookie;
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
at(void *cookie, const char *database, uint64_t record)
{
	struct findings *f = cookie;

	if (record == 0)
		progress_at(f->progress, "verifying %s", database);
	else
		progress_at(
		    f->progress, "verifying %s: %llu", database, (unsigned long long)record);
}

/* A recovered copy that is ours: its files, then what is in them. */
static int
verify_copy(const char *dir, struct findings *f, struct err *e)
{
	const struct store_options options = {dir, CACHE_BYTES, 0};
	const struct store_verify with = {found, at, f};
	struct store *s;
	int rc;

	if (store_verify_files(dir, &with, e) != 0)
		return -1;
	/* What is in damaged files would be told a second time, and worse. */
	if (f->n > 0)
		return 0;
	if ((s = store_open(&options, e)) == NULL)
		return -1;
	rc = store_verify_records(s, &with, e);
	store_close(&s);
	return rc;
}

/* What the store logs while it is opened here goes where the keeper's would: standard error is for
 * our one line. */
static void
quiet_store(const struct tool *t)
{
	log_open(LOG_TO_SYSLOG, t->config->log_level, "apikey");
}

/* ---- the manifest ---- */

static int
manifest_write(const char *dir, int64_t made_us, struct err *e)
{
	char path[PATH_MAX], text[TIME_TEXT], line[MANIFEST_MAX];
	cJSON *o = cJSON_CreateObject();
	size_t len;
	FILE *f;
	int n = snprintf(path, sizeof(path), "%s/" MANIFEST, dir), ok;

	clock_rfc3339(made_us, text);
	cJSON_AddNumberToObject(o, "apikeyd_backup", MANIFEST_VERSION);
	cJSON_AddStringToObject(o, "made", text);
	cJSON_AddStringToObject(o, "release", PACKAGE_VERSION);
	len = json_print(o, line, sizeof(line));
	cJSON_Delete(o);
	if (n < 0 || (size_t)n >= sizeof(path) || len == 0)
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
	if ((f = fopen(path, "wxe")) == NULL)
		return err_sys(e, "%s: cannot make it", path);
	ok = fprintf(f, "%s\n", line) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
	if (fclose(f) != 0 || !ok)
		return err_sys(e, "%s: cannot write", path);
	return 0;
}

/* When the backup in ${dir} was made: 1, 0 it is none, -1. */
static int
manifest_read(const char *dir, char made[TIME_TEXT], struct err *e)
{
	char path[PATH_MAX], text[MANIFEST_MAX];
	const char *when;
	int n = snprintf(path, sizeof(path), "%s/" MANIFEST, dir), rc = 0;
	size_t len;
	cJSON *o;
	FILE *f;

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
	if ((f = fopen(path, "re")) == NULL)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "%s", path);
	len = fread(text, 1, sizeof(text), f);
	(void)fclose(f);
	o = json_parse_object((struct span){text, len}, NULL);
	when = o == NULL ? NULL : json_str(o, "made", NULL);
	if (when != NULL && span_copy(made, TIME_TEXT, span_of(when)) == 0 &&
	    json_int(o, "apikeyd_backup", 0, 0, MANIFEST_VERSION, NULL) == MANIFEST_VERSION)
		rc = 1;
	else
		rc = err_set(e, ERR_VERSION,
		    "%s: not of a backup that this release can read: is it damaged, or of a newer "
		    "release?",
		    path);
	cJSON_Delete(o);
	return rc;
}

/* ---- backup ---- */

/* "${dir}${end}" */
static int
beside(const char *dir, const char *end, char out[PATH_MAX], struct err *e)
{
	size_t len = strlen(dir);
	int n;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	n = snprintf(out, PATH_MAX, "%.*s%s", (int)len, dir, end);
	return n > 0 && n < PATH_MAX ? 0 : err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
}

/* 0 when a backup may become ${dir}: a backup, an empty directory, or nothing is there. */
static int
may_replace(const char *dir, struct err *e)
{
	char made[TIME_TEXT];
	struct err ignored;
	struct stat st;

	if (lstat(dir, &st) != 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", dir);
	if (S_ISDIR(st.st_mode) && manifest_read(dir, made, &ignored) == 1)
		return 0;
	if (S_ISDIR(st.st_mode) && rmdir(dir) == 0)
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "%s: there is something that is not a backup; name a directory that is a backup, empty "
	    "or not there",
	    dir);
}

static int
sync_parent(const char *path, struct err *e)
{
	char parent[PATH_MAX];
	char *slash;
	int fd, rc;

	if (span_copy(parent, sizeof(parent), span_of(path)) != 0)
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", path);
	if ((slash = strrchr(parent, '/')) == NULL)
		parent[0] = '.', parent[1] = '\0';
	else
		slash[slash == parent] = '\0';
	if ((fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, "%s", parent);
	rc = fsync(fd) == 0 ? 0 : err_sys(e, "%s: cannot sync", parent);
	close(fd);
	return rc;
}

/* The new backup takes the place of the old one, which is gone then. */
static int
put_in_place(const char *made, const char *dir, struct err *e)
{
	if (renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
		snapshot_remove(made);
	else if (rename(made, dir) != 0)
		return err_sys(e, "%s: cannot rename it to %s", made, dir);
	return sync_parent(dir, e);
}

static int
backup(struct tool *t, const char *dir, const char *made, struct progress *p, struct err *e)
{
	struct findings f = {.tool = t, .progress = p, .quiet = 1};
	int64_t now_us = clock_wall_us();

	if (snapshot_take(t, made, p, e) != 0)
		return -1;
	if (verify_copy(made, &f, e) != 0)
		return -1;
	if (f.n > 0)
		return err_set(e, ERR_CORRUPT,
		    "the store has damage, and %s was left as it was; see: apikey db verify", dir);
	return manifest_write(made, now_us, e) == 0 ? put_in_place(made, dir, e) : -1;
}

int
cmd_db_backup(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	char path[PATH_MAX], made[PATH_MAX];
	struct progress p;
	cJSON *result;
	int rc;

	if (beside(dir, "", path, e) != 0 || beside(dir, ".new", made, e) != 0 ||
	    may_replace(path, e) != 0)
		return -1;
	snapshot_remove(made);
	quiet_store(t);
	progress_begin(&p);
	rc = backup(t, path, made, &p, e);
	progress_end(&p);
	if (rc != 0) {
		snapshot_remove(made);
		return -1;
	}
	if (!t->json) {
		printf("the store is in %s, recovered and verified; the pepper file is not part of "
		       "it\n",
		    path);
		return TOOL_DONE;
	}
	result = cJSON_CreateObject();
	cJSON_AddStringToObject(result, "dir", path);
	rc = output_json(result, e);
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}

/* ---- restore ---- */

static int
told(void *cookie, uint64_t bytes)
{
	char text[PROGRESS_BYTES_MAX];

	progress_at(cookie, "%s copied", progress_bytes(bytes, text));
	return 0;
}

/* Does it verify?  Its pages only: its records did when it was made. */
static int
backup_whole(struct tool *t, const char *dir, struct progress *p, struct err *e)
{
	struct findings f = {.tool = t, .progress = p, .quiet = 1};
	const struct store_verify with = {found, at, &f};

	if (store_verify_files(dir, &with, e) != 0)
		return -1;
	return f.n == 0 ? 0
			: err_set(e, ERR_CORRUPT,
			      "%s: the backup is damaged, and nothing was changed; see: apikey db "
			      "verify %s",
			      dir, dir);
}

/* "replaced-20261122T061500Z" */
static void
replaced_name(int64_t now_us, char name[64])
{
	time_t now = (time_t)(now_us / CLOCK_SECOND);
	struct tm tm;

	if (gmtime_r(&now, &tm) == NULL || strftime(name, 64, "replaced-%Y%m%dT%H%M%SZ", &tm) == 0)
		(void)snprintf(name, 64, "replaced");
}

static int
restore(struct tool *t, const char *dir, const char *replaced, struct progress *p, struct err *e)
{
	const char *to = t->config->state_dir;
	struct store_restore r = {
	    .from = dir, .replaced = replaced, .uid = (uid_t)-1, .copied = told, .cookie = p};
	struct service service;

	if (service_find(t->config, &service, e) != 0 ||
	    service_make_dir(&service, to, 0700, 1, e) != 0 || backup_whole(t, dir, p, e) != 0)
		return -1;
	if (service.change) {
		r.uid = service.uid;
		r.gid = service.gid;
	}
	return store_restore(to, &r, e);
}

/* It is the store now: does it open, with the peppers that are here?  Its figures, or NULL. */
static cJSON *
open_restored(struct tool *t, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *stat;

	if ((stat = tool_ask(t, "db.stat", request, e)) == NULL)
		err_wrap(e, "the files are restored, but do not open");
	cJSON_Delete(request);
	return stat;
}

static int
restored(struct tool *t, const char *made, const char *replaced, struct err *e)
{
	cJSON *stat = open_restored(t, e), *result;
	char keys[32];
	int rc = 0;

	if (stat == NULL)
		return -1;
	(void)tool_text(stat, "keys", keys);
	if (t->json) {
		result = cJSON_CreateObject();
		cJSON_AddStringToObject(result, "made", made);
		cJSON_AddNumberToObject(result, "keys", strtod(keys, NULL));
		if (replaced != NULL)
			cJSON_AddStringToObject(result, "replaced", replaced);
		else
			cJSON_AddNullToObject(result, "replaced");
		rc = output_json(result, e);
		cJSON_Delete(result);
	} else {
		printf("restored %s keys as they were at %s\n", keys, made);
		if (replaced != NULL)
			printf("what was there is in %s/%s\n", t->config->state_dir, replaced);
		printf("keys that were revoked or rotated since then are as they were before: look "
		       "through them before you start apikeyd\n");
	}
	cJSON_Delete(stat);
	return rc;
}

int
cmd_db_restore(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	char made[TIME_TEXT], name[64], *replaced = NULL;
	struct progress p;
	int rc;

	if ((rc = manifest_read(dir, made, e)) < 0)
		return -1;
	if (rc == 0)
		return err_set(
		    e, ERR_NOT_FOUND, "%s: there is no backup (no %s in it)", dir, MANIFEST);
	if ((rc = store_files_in(t->config->state_dir, e)) < 0)
		return -1;
	if (rc == 1) {
		replaced_name(t->now_us, name);
		replaced = name;
	}
	progress_begin(&p);
	rc = restore(t, dir, replaced, &p, e);
	progress_end(&p);
	return rc == 0 && restored(t, made, replaced, e) == 0 ? TOOL_DONE : -1;
}

/* ---- verify ---- */

/* A new directory of ours to work in. */
static int
work_dir(char path[PATH_MAX], struct err *e)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(
	    path, PATH_MAX, "%s/" WORK_TEMPLATE, tmp != NULL && tmp[0] == '/' ? tmp : "/var/tmp");

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, ERR_USAGE, "TMPDIR is too long a path");
	return mkdtemp(path) != NULL ? 0 : err_sys(e, "%s: cannot make it", path);
}

/* 0 verified, whatever was found; -1. */
static int
verify(struct tool *t, const char *from, struct findings *f, struct err *e)
{
	char work[PATH_MAX], dir[PATH_MAX];
	int rc;

	if (work_dir(work, e) != 0)
		return -1;
	if ((rc = beside(work, "/store", dir, e)) == 0)
		rc = from != NULL ? snapshot_of(from, dir, f->progress, e)
				  : snapshot_take(t, dir, f->progress, e);
	/* What cannot be recovered is a finding, not a failure to look; which file it is, they say.
	 */
	if (rc != 0 && e->code == ERR_CORRUPT) {
		found(f, e->msg);
		rc = from != NULL
			 ? store_verify_files(from, &(struct store_verify){found, at, f}, e)
			 : 0;
	} else if (rc == 0) {
		rc = verify_copy(dir, f, e);
	}
	snapshot_remove(dir);
	(void)rmdir(work);
	return rc;
}

int
cmd_db_verify(struct tool *t, struct options *o, struct err *e)
{
	const char *from = json_str(o->request, "dir", NULL);
	struct progress p;
	struct findings f = {.tool = t, .progress = &p};
	cJSON *result;
	int rc;

	quiet_store(t);
	progress_begin(&p);
	rc = verify(t, from, &f, e);
	progress_end(&p);
	if (rc != 0)
		return -1;
	if (t->json) {
		result = cJSON_CreateObject();
		cJSON_AddBoolToObject(result, "whole", f.n == 0);
		cJSON_AddNumberToObject(result, "findings", (double)f.n);
		rc = output_json(result, e);
		cJSON_Delete(result);
	} else if (f.n == 0) {
		printf("%s is whole\n", from != NULL ? from : "the store");
	} else {
		printf("%llu findings: restore a backup (apikey db restore DIR)\n",
		    (unsigned long long)f.n);
	}
	if (rc != 0)
		return -1;
	return f.n == 0 ? TOOL_DONE : TOOL_REFUSED;
}

/* ---- compact ---- */

/* Slice after slice; *pages given back. */
static int
compact(struct tool *t, cJSON *request, struct progress *p, double *pages, struct err *e)
{
	cJSON *result, *next;
	uint64_t slices = 0;
	int more = 1;

	while (more) {
		if (!cJSON_HasObjectItem(request, "op"))
			cJSON_AddStringToObject(request, "op", "db.compact");
		if ((result = session_call(t->session, SESSION_CHANGES, request, e)) == NULL)
			return -1;
		*pages += json_int(result, "pages", 0, 0, INT64_MAX, NULL);
		next = cJSON_DetachItemFromObjectCaseSensitive(result, "next");
		cJSON_Delete(result);
		more = cJSON_IsString(next);
		cJSON_DeleteItemFromObjectCaseSensitive(request, "next");
		if (!more || !cJSON_AddItemToObject(request, "next", next))
			cJSON_Delete(next);
		progress_at(
		    p, "%llu slices, %.0f pages given back", (unsigned long long)++slices, *pages);
	}
	return 0;
}

int
cmd_db_compact(struct tool *t, struct options *o, struct err *e)
{
	struct progress p;
	double pages = 0;
	cJSON *result;
	int rc;

	progress_begin(&p);
	rc = compact(t, o->request, &p, &pages, e);
	progress_end(&p);
	session_rest(t->session);
	if (rc != 0)
		return -1;
	if (!t->json) {
		printf("%.0f pages given back to the file system\n", pages);
		return TOOL_DONE;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "pages", pages);
	rc = output_json(result, e);
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}
