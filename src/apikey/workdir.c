/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The directory in which a copy of the store is verified or dumped.
 *
 * The copy holds digests of keys, and TMPDIR is everybody's.  A run that is killed by a signal that
 * nobody can wait for leaves it behind, so its directory is locked for as long as the run lives
 * (flock: gone with the last process that has it), and each run first removes those that are not.
 *
 * Invariants: removed is what has our name, is our user's, lets nobody else in, and is locked by
 * nobody; in it only files that a copy has; no link is followed.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikey/workdir.h"

#include "apikey/snapshot.h"

#define NAME "apikey-work-"
#define RANDOM "XXXXXX"
#define STORE "store"
#define TRIES 10

static const char *
temporary(void)
{
	const char *dir = getenv("TMPDIR");

	return dir != NULL && dir[0] == '/' ? dir : "/var/tmp";
}

/* The directory ${name} in ${at}, if it is one of ours that nobody has: locked by us, or -1. */
static int
take(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st, named;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0 &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    /* Whoever had it until now may have removed it. */
	    fstatat(at, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == named.st_dev &&
	    st.st_ino == named.st_ino)
		return fd;
	close(fd);
	return -1;
}

static void
empty(int fd)
{
	int copy = openat(fd, STORE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (copy < 0)
		return;
	snapshot_clear_at(copy);
	close(copy);
	(void)unlinkat(fd, STORE, AT_REMOVEDIR);
}

static int
is_one(const char *name)
{
	return strncmp(name, NAME, strlen(NAME)) == 0 && strlen(name) == strlen(NAME RANDOM);
}

void
workdir_sweep(void)
{
	DIR *d = opendir(temporary());
	struct dirent *entry;
	int fd;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		if (!is_one(entry->d_name) || (fd = take(dirfd(d), entry->d_name)) < 0)
			continue;
		empty(fd);
		(void)unlinkat(dirfd(d), entry->d_name, AT_REMOVEDIR);
		close(fd);
	}
	if (d != NULL)
		(void)closedir(d);
}

/* Locked: 0; 1 when somebody swept it away before it was; -1. */
static int
make(struct workdir *w, struct err *e)
{
	int n = snprintf(w->dir, sizeof(w->dir), "%s/" NAME RANDOM, temporary());

	if (n < 0 || (size_t)n + sizeof("/" STORE) > sizeof(w->dir))
		return err_set(e, ERR_USAGE, "TMPDIR is too long a path");
	if (mkdtemp(w->dir) == NULL)
		return err_sys(e, "%s: cannot make it", w->dir);
	(void)snprintf(w->store, sizeof(w->store), "%.*s/" STORE, n, w->dir);
	if ((w->lock = take(AT_FDCWD, w->dir)) >= 0)
		return 0;
	(void)rmdir(w->dir);
	return 1;
}

int
workdir_make(struct workdir *w, const struct config *config, struct err *e)
{
	int rc = 1;

	w->lock = -1;
	workdir_sweep();
	for (int i = 0; i < TRIES && rc == 1; i++)
		rc = make(w, e);
	if (rc == 1)
		return err_set(e, ERR_SYSTEM, "%s: cannot lock it", w->dir);
	if (rc != 0 && (errno == EACCES || errno == EPERM))
		return err_wrap(e,
		    "the copy is made in TMPDIR, where the user %s must be able to make a "
		    "directory: name one, or none for /var/tmp",
		    config->user);
	return rc;
}

void
workdir_remove(struct workdir *w)
{
	if (w->lock < 0)
		return;
	empty(w->lock);
	(void)rmdir(w->dir);
	close(w->lock);
	w->lock = -1;
}
