/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Putting a backup in the place of a store.
 *
 * Nobody may own the store: its lock is held from before the first look to after the last rename.
 * The copy is made beside the store's files, in a directory of its own, and is whole, was found
 * good by who asked for it, and is on disk before the first of them is touched.  Files that are
 * replaced are moved, never deleted.
 *
 * Between the first of these moves and the last one there are files of no store, or none, which
 * would open as a new one: so the mark says meanwhile that nothing here may be opened (mark.c).
 *
 * Whose store it is does this, never root: the directory may be anybody's by then.  What it may not
 * open itself is open already (source.c).
 *
 * Invariants: interrupted anywhere, what is in the directory is the old store, or the backup, or
 * does not open; everything that was there is there or in the directory of replaced files.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

#define PLACE "restoring"	/* where the copy is made */
#define BERKELEY_PREFIX "__db." /* of files that Berkeley DB makes for a moment */

/* Every file of a store but the mark in ${from} into ${to}; both of one file system. */
static int
move_files(int from, int to, const char *what, struct err *e)
{
	struct dirent *entry;
	int fd, rc = 0;
	DIR *d;

	if ((fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (d = fdopendir(fd)) == NULL) {
		if (fd >= 0)
			close(fd);
		return err_sys(e, "%s: cannot list", what);
	}
	while (rc == 0 && (entry = readdir(d)) != NULL) {
		if (!store_is_file(entry->d_name) || strcmp(entry->d_name, STORE_MARK_FILE) == 0)
			continue;
		if (renameat(from, entry->d_name, to, entry->d_name) != 0)
			rc = err_sys(e, "%s: cannot move %s", what, entry->d_name);
	}
	closedir(d);
	if (rc == 0 && (fsync(from) != 0 || fsync(to) != 0))
		rc = err_sys(e, "%s: cannot sync", what);
	return rc;
}

/* A new directory in that of the store, opened; nobody but us has put anything into it. */
static int
dir_in(struct store *s, const char *name, struct err *e)
{
	struct stat st;
	int fd;

	if (mkdirat(s->dir_fd, name, 0700) != 0)
		return err_sys(e, "%s/%s: cannot make it", s->dir, name);
	fd = openat(s->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "%s/%s", s->dir, name);
	if (fstat(fd, &st) != 0 || st.st_uid != geteuid()) {
		close(fd);
		return err_set(
		    e, ERR_DENIED, "%s/%s: somebody replaced it meanwhile", s->dir, name);
	}
	return fd;
}

/* All that we, or Berkeley DB in our name, put into a copy; nothing that somebody else did. */
static void
clear(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	if (d == NULL) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((entry = readdir(d)) != NULL)
		if (store_is_file(entry->d_name) || strcmp(entry->d_name, STORE_LOCK_FILE) == 0 ||
		    strcmp(entry->d_name, STORE_MARK_FILE ".new") == 0 ||
		    strncmp(entry->d_name, BERKELEY_PREFIX, strlen(BERKELEY_PREFIX)) == 0)
			(void)unlinkat(fd, entry->d_name, 0);
	closedir(d);
}

/* What an attempt before this one has left. */
static void
clear_place(struct store *s)
{
	int fd = openat(s->dir_fd, PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return;
	clear(fd);
	close(fd);
	(void)unlinkat(s->dir_fd, PLACE, AT_REMOVEDIR);
}

/* The mark of a store that is replaced goes first.  Until it is ours the store has to keep it: it
 * would not open without. */
static int
keep_mark(struct store *s, int old, struct err *e)
{
	if (linkat(s->dir_fd, STORE_MARK_FILE, old, STORE_MARK_FILE, 0) != 0 && errno != ENOENT)
		return err_sys(e, "%s: cannot keep " STORE_MARK_FILE, s->dir);
	return fsync(old) == 0 ? 0 : err_sys(e, "%s: cannot sync", s->dir);
}

/* The last step: the new store's mark, or none, says that this is a store. */
static int
finish(struct store *s, int place, struct err *e)
{
	int rc = renameat(place, STORE_MARK_FILE, s->dir_fd, STORE_MARK_FILE);

	if (rc != 0 && errno == ENOENT)
		rc = unlinkat(s->dir_fd, STORE_MARK_FILE, 0);
	return rc == 0 && fsync(s->dir_fd) == 0
		   ? 0
		   : err_sys(e, "%s/" STORE_MARK_FILE ": cannot replace", s->dir);
}

static int
put_in_place(struct store *s, const struct store_restore *r, int place, struct err *e)
{
	int old = -1, rc = 0;

	if (r->replaced != NULL) {
		if ((old = dir_in(s, r->replaced, e)) < 0)
			return -1;
		rc = keep_mark(s, old, e);
	}
	if (rc == 0)
		rc = store_mark_unfinished(s->dir_fd, s->dir, e);
	if (rc == 0 && old >= 0)
		rc = move_files(s->dir_fd, old, s->dir, e);
	if (rc == 0 && (rc = move_files(place, s->dir_fd, s->dir, e)) == 0)
		rc = finish(s, place, e);
	if (old >= 0)
		close(old);
	return rc;
}

static int
check(const struct store *s, const struct store_restore *r, int place, struct err *e)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/" PLACE, s->dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", s->dir);
	if (r->check != NULL && r->check(r->cookie, path, e) != 0)
		return -1;
	/* Of who opened it. */
	(void)unlinkat(place, STORE_LOCK_FILE, 0);
	return fsync(place) == 0 ? 0 : err_sys(e, "%s: cannot sync", path);
}

static int
restore(struct store *s, const struct store_restore *r, struct err *e)
{
	sigset_t all, before;
	int place, rc;

	if (store_source_unowned(r->source, s->lock_fd, e) != 0)
		return -1;
	if ((rc = store_files_in(s->dir, e)) < 0)
		return -1;
	if (rc == 1 && r->replaced == NULL)
		return err_set(e, ERR_CONFLICT, "%s: there is a store already", s->dir);
	clear_place(s);
	if ((place = dir_in(s, PLACE, e)) < 0)
		return -1;
	rc = store_copy_at(r->source, place, PLACE, r->copied, r->cookie, e);
	if (rc == 0 && r->accept_log)
		rc = store_mark_forget(place, store_source_dir(r->source), e);
	if (rc == 0)
		rc = check(s, r, place, e);
	/* Whoever wants to interrupt this now would have no store, and to run it again. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	if (rc == 0)
		rc = put_in_place(s, r, place, e);
	if (rc != 0)
		clear(place);
	close(place);
	(void)unlinkat(s->dir_fd, PLACE, AT_REMOVEDIR);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int
store_restore(const char *dir, const struct store_restore *r, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return err_sys(e, "restoring");
	s->dir_fd = s->lock_fd = -1;
	if ((rc = store_dir_claim(s, dir, e)) == 0)
		rc = restore(s, r, e);
	store_dir_release(s);
	free(s);
	return rc;
}
