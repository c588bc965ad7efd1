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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikey/audit.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/snapshot.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/store.h"

#define MANIFEST SNAPSHOT_MANIFEST
#define MANIFEST_VERSION 1
#define MANIFEST_MAX 4096
#define TIME_TEXT 21

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
	if (json_lost() > 0)
		return err_set(e, ERR_SYSTEM, "out of memory");
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

static int
parent_of(const char *path, char parent[PATH_MAX], struct err *e)
{
	char *slash;

	if (span_copy(parent, PATH_MAX, span_of(path)) != 0)
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", path);
	if ((slash = strrchr(parent, '/')) == NULL)
		parent[0] = '.', parent[1] = '\0';
	else
		slash[slash == parent] = '\0';
	return 0;
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
	if (S_ISDIR(st.st_mode) && manifest_read(dir, made, &ignored) == 1 && snapshot_is_all(dir))
		return 0;
	if (S_ISDIR(st.st_mode) && rmdir(dir) == 0)
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "%s: there is something that is not a backup; name a directory that is a backup, empty "
	    "or not there",
	    dir);
}

/* Whoever owns the store's directory may put something else there at any moment. */
static int
is_outside(const char *dir, const char *state_dir, struct err *e)
{
	char parent[PATH_MAX], real[PATH_MAX], state[PATH_MAX];
	size_t len;

	if (parent_of(dir, parent, e) != 0)
		return -1;
	if (realpath(parent, real) == NULL)
		return err_sys(e, "%s", parent);
	if (realpath(state_dir, state) == NULL)
		return errno == ENOENT ? 0 : err_sys(e, "%s", state_dir);
	len = strlen(state);
	if (strncmp(real, state, len) == 0 && (real[len] == '/' || real[len] == '\0'))
		return err_set(
		    e, ERR_USAGE, "%s: is in the store's own directory: name one elsewhere", dir);
	return 0;
}

/* Nobody else makes a backup in this directory, or removes it, until it is closed; -1: errno. */
static int
lock_dir(const char *dir)
{
	struct stat st, named;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		close(fd);
		errno = EWOULDBLOCK;
		return -1;
	}
	/* Whoever had it until now may have renamed it. */
	if (fstat(fd, &st) == 0 && lstat(dir, &named) == 0 && st.st_dev == named.st_dev &&
	    st.st_ino == named.st_ino && st.st_uid == geteuid())
		return fd;
	close(fd);
	errno = EWOULDBLOCK;
	return -1;
}

/* The directory in which the backup is made, empty: what it is locked by, or -1. */
static int
begin(const char *made, struct err *e)
{
	int fd;

	if (mkdir(made, 0700) != 0 && errno != EEXIST)
		return err_sys(e, "%s: cannot make it", made);
	if ((fd = lock_dir(made)) < 0 && (errno == EWOULDBLOCK || errno == ENOENT))
		return err_set(e, ERR_BUSY,
		    "%s: another backup is being made there, or it belongs to somebody else", made);
	if (fd < 0)
		return err_sys(e, "%s", made);
	if (!snapshot_is_all(made)) {
		close(fd);
		return err_set(
		    e, ERR_CONFLICT, "%s: there is something that is not a backup", made);
	}
	snapshot_clear(made); /* of one that was interrupted */
	return fd;
}

static int
sync_dir(const char *dir, struct err *e)
{
	int fd, rc;

	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, "%s", dir);
	rc = fsync(fd) == 0 ? 0 : err_sys(e, "%s: cannot sync", dir);
	close(fd);
	return rc;
}

/* The new backup takes the place of the old one, which is gone once that is on disk. */
static int
put_in_place(const char *made, const char *dir, struct err *e)
{
	char parent[PATH_MAX];
	int exchanged, old, rc;

	if (parent_of(dir, parent, e) != 0 || sync_dir(made, e) != 0) {
		snapshot_remove(made);
		return -1;
	}
	/* It gets the name under which others make theirs. */
	old = lock_dir(dir);
	exchanged = renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_EXCHANGE) == 0;
	if (!exchanged && rename(made, dir) != 0) {
		err_sys(e, "%s: cannot rename it to %s", made, dir);
		snapshot_remove(made);
		rc = -1;
	} else if ((rc = sync_dir(parent, e)) == 0 && exchanged) {
		snapshot_remove(made);
	}
	if (old >= 0)
		close(old);
	return rc;
}

static int
backup(struct tool *t, const char *dir, const char *made, struct progress *p, struct err *e)
{
	struct copies_findings f = {.tool = t, .progress = p, .quiet = 1};
	int64_t now_us = clock_wall_us();
	int rc;

	if (snapshot_take(t, made, p, e) != 0)
		return -1;
	if ((rc = copies_verify(made, &f, e)) == 0 && f.n > 0)
		rc = err_set(e, ERR_CORRUPT,
		    "the store has damage, and %s was left as it was; see: apikey db verify", dir);
	if (rc == 0 && (rc = manifest_write(made, now_us, e)) == 0)
		return put_in_place(made, dir, e);
	snapshot_remove(made);
	return rc;
}

int
cmd_db_backup(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	char path[PATH_MAX], made[PATH_MAX];
	struct progress p;
	cJSON *result;
	int lock, rc;

	if (copies_beside(dir, "", path, e) != 0 || copies_beside(dir, ".new", made, e) != 0 ||
	    is_outside(path, t->config->state_dir, e) != 0 || may_replace(path, e) != 0 ||
	    (lock = begin(made, e)) < 0)
		return -1;
	copies_quiet(t);
	progress_begin(&p);
	rc = backup(t, path, made, &p, e);
	close(lock);
	progress_end(&p);
	if (rc != 0)
		return -1;
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

/* Does it verify?  Its pages only: its records did when it was made. */
static int
backup_whole(struct tool *t, const char *dir, struct progress *p, struct err *e)
{
	struct copies_findings f = {.tool = t, .progress = p, .quiet = 1};

	if (copies_verify_files(dir, &f, e) != 0)
		return -1;
	return f.n == 0 ? 0
			: err_set(e, ERR_CORRUPT,
			      "%s: the backup is damaged, and nothing was changed; see: apikey db "
			      "verify %s",
			      dir, dir);
}

int
cmd_db_restore(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL), *replaced = NULL;
	char made[TIME_TEXT], name[64];
	struct service service;
	struct progress p;
	int rc;

	if ((rc = manifest_read(dir, made, e)) < 0)
		return -1;
	if (rc == 0)
		return err_set(
		    e, ERR_NOT_FOUND, "%s: there is no backup (no %s in it)", dir, MANIFEST);
	if (service_find(t->config, &service, e) != 0 ||
	    service_make_dir(&service, t->config->state_dir, 0700, 1, e) != 0)
		return -1;
	progress_begin(&p);
	if ((rc = backup_whole(t, dir, &p, e)) == 0)
		rc = copies_restore(t, dir, &service, &replaced, name, &p, e);
	progress_end(&p);
	return rc == 0 && copies_report(t, "restored", made, replaced, e) == 0 ? TOOL_DONE : -1;
}

/* ---- verify ---- */

/* The trail of the store in service: its seals need the peppers, which the keeper has. */
static int
verify_trail(struct tool *t, struct copies_findings *f, struct err *e)
{
	char text[96];
	double problems;

	progress_at(f->progress, "verifying the audit trail");
	if (audit_verify_count(t, &problems, e) != 0)
		return -1;
	if (problems > 0) {
		(void)snprintf(text, sizeof(text),
		    "audit: %.0f problems in the trail; see: apikey audit --verify", problems);
		copies_found(f, text);
	}
	return 0;
}

/* 0 verified, whatever was found; -1. */
static int
verify(struct tool *t, const char *from, struct copies_findings *f, struct err *e)
{
	char work[PATH_MAX], dir[PATH_MAX];
	int rc;

	if (copies_work_dir(work, e) != 0)
		return -1;
	if ((rc = copies_beside(work, "/store", dir, e)) == 0)
		rc = from != NULL ? snapshot_of(t, from, dir, f->progress, e)
				  : snapshot_take(t, dir, f->progress, e);
	/* What cannot be recovered is a finding, not a failure to look; which file it is, they say.
	 */
	if (rc != 0 && e->code == ERR_CORRUPT) {
		copies_found(f, e->msg);
		rc = from != NULL ? copies_verify_files(from, f, e) : 0;
	} else if (rc == 0) {
		rc = copies_verify(dir, f, e);
		if (rc == 0 && from == NULL && f->n == 0)
			rc = verify_trail(t, f, e);
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
	struct copies_findings f = {.tool = t, .progress = &p};
	cJSON *result;
	int rc;

	copies_quiet(t);
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
