/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db backup.
 *
 * A backup is a directory: the files of a consistent copy, recovered and verified, and beside them
 * backup.json, which says what it is.  It becomes DIR by one rename when all of it is on disk, so
 * that DIR always holds a whole backup, the one before or this one.
 *
 * The directory is made by who runs this, and is his in the end.  Run by root, it belongs meanwhile
 * to the service user, as whom another process makes, recovers and verifies the copy, working in
 * it: so it need not be able to reach it by its name.  Root only takes it back, adds backup.json
 * and renames it.
 *
 * Invariants: root reads no byte of the store; a directory that is not a backup is left alone.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikey/apart.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/manifest.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "apikey/workdir.h"
#include "base/clock.h"
#include "base/json.h"

struct backup {
	struct tool *tool;
	struct service service;
	struct progress progress;
	char dir[PATH_MAX], made[PATH_MAX]; /* what it becomes; where it is made */
	int64_t now_us;
	int fd;	  /* of ${made}, locked */
	int done; /* it has its name */
};

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

/* Is it a backup, of our own user?  What is another's may be made to look like one. */
static int
is_backup(const char *dir)
{
	char made[MANIFEST_TIME];
	int fd, is = 0, at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st, file;

	if (at < 0)
		return 0;
	fd = openat(at, SNAPSHOT_MANIFEST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0 && fstat(at, &st) == 0 && fstat(fd, &file) == 0 &&
	    (geteuid() != 0 || (st.st_uid == 0 && file.st_uid == 0)))
		is = manifest_read(fd, dir, made, NULL) == 0 && snapshot_is_all(dir);
	if (fd >= 0)
		close(fd);
	close(at);
	return is;
}

/* 0 when a backup may become ${dir}: a backup, an empty directory, or nothing is there. */
static int
may_replace(const char *dir, struct err *e)
{
	struct stat st;

	if (lstat(dir, &st) != 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", dir);
	if (S_ISDIR(st.st_mode) && (is_backup(dir) || rmdir(dir) == 0))
		return 0;
	if (S_ISDIR(st.st_mode) && geteuid() == 0 && st.st_uid != 0)
		return err_set(e, ERR_CONFLICT,
		    "%s: belongs to user id %u, and root replaces only a backup of its own: name "
		    "another directory, or remove it first",
		    dir, (unsigned)st.st_uid);
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

/* Is this still the name of the open directory? */
static int
is_named(int fd, const char *dir)
{
	struct stat st, named;

	return fstat(fd, &st) == 0 && lstat(dir, &named) == 0 && st.st_dev == named.st_dev &&
	       st.st_ino == named.st_ino;
}

/* Nobody else makes a backup in this directory, or removes it, until it is closed; -1: errno. */
static int
lock_dir(const char *dir, const struct service *service)
{
	struct stat st;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		close(fd);
		errno = EWOULDBLOCK;
		return -1;
	}
	/* Whoever had it until now may have renamed it. */
	if (is_named(fd, dir) && fstat(fd, &st) == 0 &&
	    (st.st_uid == geteuid() || (service->change && st.st_uid == service->uid)))
		return fd;
	close(fd);
	errno = EWOULDBLOCK;
	return -1;
}

/* Of what Berkeley DB makes for a moment nothing is left, and the description comes from us. */
static int
is_of_copy(const char *name)
{
	return snapshot_is_file(name) && strcmp(name, SNAPSHOT_MANIFEST) != 0 &&
	       strncmp(name, "__db.", 5) != 0;
}

/*
 * What the service user has made there becomes ours: from the first line on nobody but us gets at
 * the names in it, so that what is looked at is what is given.
 */
static int
take_back(const struct backup *b, struct err *e)
{
	struct dirent *entry;
	struct stat st;
	int fd, rc = 0;
	DIR *d;

	if (fchown(b->fd, geteuid(), getegid()) != 0 || fchmod(b->fd, 0700) != 0)
		return err_sys(e, "%s: cannot take it back", b->made);
	/* Its owner could rename it even where others' directories stay (/tmp): no more. */
	if (!is_named(b->fd, b->made))
		return err_set(e, ERR_DENIED,
		    "%s: somebody put something else in its place: is the service taken over?",
		    b->made);
	if ((fd = openat(b->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (d = fdopendir(fd)) == NULL) {
		if (fd >= 0)
			close(fd);
		return err_sys(e, "%s: cannot list", b->made);
	}
	while (rc == 0 && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		fd = openat(b->fd, entry->d_name,
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
		    (st.st_uid != b->service.uid && st.st_uid != geteuid()) ||
		    !is_of_copy(entry->d_name))
			rc = err_set(e, ERR_DENIED,
			    "%s: somebody put something else into it: is the service taken over?",
			    b->made);
		else if (fchown(fd, geteuid(), getegid()) != 0 || fchmod(fd, 0600) != 0)
			rc = err_sys(e, "%s: cannot take a file of it back", b->made);
		if (fd >= 0)
			close(fd);
	}
	(void)closedir(d);
	return rc;
}

/* It is the service user's meanwhile. */
static int
give(const struct backup *b, struct err *e)
{
	/* One that was there may be open to others. */
	if (fchmod(b->fd, 0700) != 0)
		return err_sys(e, "%s: cannot set its mode", b->made);
	if (!b->service.change || fchown(b->fd, b->service.uid, b->service.gid) == 0)
		return 0;
	(void)err_sys(e, "%s: cannot give it to the service user", b->made);
	return err_wrap(e, "make the backup elsewhere, or as the user %s", b->service.user);
}

/* The directory in which the backup is made, empty and locked. */
static int
begin(void *cookie, struct err *e)
{
	struct backup *b = cookie;

	b->now_us = clock_wall_us();
	if (mkdir(b->made, 0700) != 0 && errno != EEXIST)
		return err_sys(e, "%s: cannot make it", b->made);
	if ((b->fd = lock_dir(b->made, &b->service)) < 0 &&
	    (errno == EWOULDBLOCK || errno == ENOENT))
		return err_set(e, ERR_BUSY,
		    "%s: another backup is being made there, or it belongs to somebody else",
		    b->made);
	if (b->fd < 0)
		return err_sys(e, "%s", b->made);
	if (!snapshot_is_all(b->made))
		return err_set(
		    e, ERR_CONFLICT, "%s: there is something that is not a backup", b->made);
	snapshot_clear_at(b->fd); /* of one that was interrupted */
	if (give(b, e) == 0)
		return 0;
	(void)rmdir(b->made);
	return -1;
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
put_in_place(struct backup *b, struct err *e)
{
	char parent[PATH_MAX];
	int exchanged, old, rc;

	if (parent_of(b->dir, parent, e) != 0 || sync_dir(b->made, e) != 0)
		return -1;
	/* It gets the name under which others make theirs. */
	old = lock_dir(b->dir, &b->service);
	exchanged = renameat2(AT_FDCWD, b->made, AT_FDCWD, b->dir, RENAME_EXCHANGE) == 0;
	if (!exchanged && rename(b->made, b->dir) != 0) {
		rc = err_sys(e, "%s: cannot rename it to %s", b->made, b->dir);
	} else {
		b->done = 1;
		rc = sync_dir(parent, e);
		if (rc == 0 && exchanged)
			snapshot_remove(b->made);
	}
	if (old >= 0)
		close(old);
	return rc;
}

/* Its directory may be out of the service user's reach by its name, but not when we are in it. */
static int
take(struct backup *b, const char **dir, struct err *e)
{
	*dir = b->made;
	if (!b->service.change)
		return snapshot_take(b->tool, *dir, &b->progress, e);
	*dir = ".";
	if (fchdir(b->fd) != 0)
		return err_sys(e, "%s", b->made);
	if (snapshot_take(b->tool, *dir, &b->progress, e) != 0)
		return err_wrap(e, "in %s", b->made);
	return 0;
}

/* In a process of its own. */
static int
copy(void *cookie, struct err *e)
{
	struct backup *b = cookie;
	struct copies_findings f = {.tool = b->tool, .progress = &b->progress, .quiet = 1};
	const char *dir;
	int rc;

	workdir_sweep();
	if ((rc = take(b, &dir, e)) == 0 && (rc = copies_verify(dir, &f, e)) == 0 && f.n > 0)
		rc = err_set(e, ERR_CORRUPT,
		    "the store has damage, and %s was left as it was; see: apikey db verify",
		    b->dir);
	progress_end(&b->progress);
	return rc;
}

/* What the other process has made becomes the backup, or nothing of it stays. */
static int
end(void *cookie, int rc, struct err *e)
{
	struct backup *b = cookie;

	if (rc == 0 && b->service.change)
		rc = take_back(b, e);
	if (rc == 0)
		rc = manifest_write(b->fd, b->made, b->now_us, e);
	if (rc == 0)
		rc = put_in_place(b, e);
	if (rc != 0 && !b->done) {
		snapshot_clear_at(b->fd);
		(void)rmdir(b->made);
	}
	return rc;
}

int
cmd_db_backup(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	struct backup b = {.tool = t, .fd = -1};
	const struct apart apart = {.config = t->config,
	    .become = &b.service,
	    .begin = begin,
	    .work = copy,
	    .end = end,
	    .cookie = &b};
	cJSON *result;
	int rc;

	if (copies_beside(dir, "", b.dir, e) != 0 || copies_beside(dir, ".new", b.made, e) != 0 ||
	    service_find(t->config, &b.service, e) != 0 ||
	    is_outside(b.dir, t->config->state_dir, e) != 0 || may_replace(b.dir, e) != 0 ||
	    copies_enter(t, &b.service, 1, e) != 0)
		return -1;
	copies_quiet(t);
	progress_begin(&b.progress);
	rc = apart_run(&apart, e);
	copies_leave(t);
	if (b.fd >= 0)
		close(b.fd);
	if (rc != 0)
		return -1;
	if (!t->json) {
		printf("the store is in %s, recovered and verified; the pepper file is not part of "
		       "it\n",
		    b.dir);
		return TOOL_DONE;
	}
	result = cJSON_CreateObject();
	cJSON_AddStringToObject(result, "dir", b.dir);
	rc = output_json(result, e);
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}
