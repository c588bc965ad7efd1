/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The store's directory and the lock that makes its owner unique.
 *
 * Runs in whichever process opens the store: the keeper, or the admin tool when there is no keeper.
 *
 * The directory must be the owner's alone (0700): whoever can write to it can grant himself keys.
 * The lock is an OFD lock: it belongs to the open file, so that no other close() in the process
 * drops it (as with POSIX locks), and the kernel drops it with the process, however that dies.
 * The process id in the file is only for the message that a second process prints; the lock alone
 * decides.
 *
 * Invariant: between store_dir_claim and store_dir_release no other process, and no other call
 * in this one, has this directory.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

/* Make the directory if it is missing. */
static int
dir_make(const char *dir, struct err *e)
{
	if (mkdir(dir, 0700) == 0) {
		/* A umask may have taken bits of the owner's. */
		if (chmod(dir, 0700) != 0)
			return err_sys(e, "%s: cannot set its mode", dir);
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	if (errno == ENOENT)
		return err_set(e, ERR_SYSTEM,
		    "%s: cannot make the store's directory: the one above it is missing; make that "
		    "first",
		    dir);
	return err_sys(e, "%s: cannot make the store's directory", dir);
}

static int
dir_check(const char *dir, int fd, uid_t *owner, struct err *e)
{
	uid_t me = geteuid();
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, "%s", dir);
	*owner = st.st_uid;
	if ((st.st_mode & 077) != 0)
		return err_set(e, ERR_SYSTEM,
		    "%s: mode %04o lets others in; the store must be its owner's alone: chmod 700 "
		    "%s",
		    dir, (unsigned)(st.st_mode & 07777), dir);
	if (st.st_uid != me && me != 0)
		return err_set(e, ERR_SYSTEM,
		    "%s: belongs to user id %u, but this runs as %u: run it as its owner, or chown "
		    "the directory and all in it",
		    dir, (unsigned)st.st_uid, (unsigned)me);
	if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
		if (errno == EROFS)
			return err_set(e, ERR_SYSTEM,
			    "%s: is on a read-only file system: remount it writable, or set "
			    "state_dir to another place",
			    dir);
		return err_sys(e, "%s: the store's directory must be writable", dir);
	}
	return 0;
}

/* Say who has the lock.  Always -1. */
static int
lock_busy(const char *dir, int fd, struct err *e)
{
	char text[16];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	size_t digits;

	text[n > 0 ? n : 0] = '\0';
	digits = strspn(text, "0123456789");
	text[digits] = '\0';
	if (digits == 0)
		return err_set(
		    e, ERR_BUSY, "%s: another process owns the store: stop it first", dir);
	return err_set(e, ERR_BUSY, "%s: process %s owns the store: stop it first", dir, text);
}

static int
lock_take(const char *dir, int fd, struct err *e)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[16];
	int n;

	if (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
		if (errno == EAGAIN || errno == EACCES)
			return lock_busy(dir, fd, e);
		return err_sys(e, "%s/" STORE_LOCK_FILE ": cannot lock", dir);
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(
		    e, ERR_INTERNAL, "%s/" STORE_LOCK_FILE ": the process id is too long", dir);
	/* A full disk must not keep the store closed: without the number a message is vaguer, no
	 * more. */
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_event(LOG_LVL_WARNING, "store_lock_unnamed", "dir", dir, NULL);
	return 0;
}

/*
 * Absolute, because the owner may change its working directory while the store is open.  Unless it
 * works in one that it was led into, and could not reach by a name (apikey db backup): then it
 * stays there.
 */
static int
dir_find(struct store *s, const char *dir)
{
	int at = -1;

	if ((s->dir = realpath(dir, NULL)) != NULL)
		at = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at != -1 || errno != EACCES || strcmp(dir, ".") != 0)
		return at;
	free(s->dir);
	s->dir = strdup(dir);
	return s->dir == NULL ? -1 : open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int
store_dir_claim(struct store *s, const char *dir, struct err *e)
{
	struct stat lock;
	uid_t owner = 0;
	int at, rc;

	if (dir_make(dir, e) != 0)
		return -1;
	/* Looked at before it is opened for reading, which would only say "Permission denied". */
	if ((at = dir_find(s, dir)) == -1)
		return err_sys(e, "%s", dir);
	if ((rc = dir_check(s->dir, at, &owner, e)) == 0 &&
	    (s->dir_fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		rc = err_sys(e, "%s", dir);
	close(at);
	if (rc != 0)
		return -1;
	s->lock_fd =
	    openat(s->dir_fd, STORE_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd == -1)
		return err_sys(e,
		    "%s/" STORE_LOCK_FILE ": cannot be opened by user id %u; remove it, and chown "
		    "the directory and all in it to the service user",
		    s->dir, (unsigned)geteuid());
	/* A link to somebody else's file would be written to, and given away. */
	if (fstat(s->lock_fd, &lock) != 0 || !S_ISREG(lock.st_mode) ||
	    (lock.st_uid != owner && lock.st_nlink != 1))
		return err_set(e, ERR_DENIED,
		    "%s/" STORE_LOCK_FILE ": is not a file of the store: remove it", s->dir);
	return lock_take(s->dir, s->lock_fd, e);
}

/* Deleted under a service that runs, it would be made anew: no key would be known any more. */
int
store_dir_there(struct store *s, struct err *e)
{
	struct stat st;

	if (fstatat(s->dir_fd, store_db_specs[STORE_DB_META].file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return err_sys(e, "%s/%s", s->dir, store_db_specs[STORE_DB_META].file);
	return err_set(e, ERR_UNAVAILABLE,
	    "%s: the store that was served from here is gone: put it back, or restore a backup; to "
	    "begin with an empty one, restart apikeyd",
	    s->dir);
}

/* The store's own files; in a directory of the owner's there may be others. */
static int
is_ours(const char *name)
{
	if (strcmp(name, STORE_MARK_FILE) == 0 || store_is_log_name(name))
		return 1;
	for (int which = 0; which < STORE_DBS; which++)
		if (strcmp(name, store_db_specs[which].file) == 0)
			return 1;
	return 0;
}

/* Others than those of who may do what with it are left to whoever needs the file. */
static int
file_check(struct store *s, const char *name, struct err *e)
{
	/* Not blocking: a FIFO waits for somebody at its other end. */
	int fd = openat(s->dir_fd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW), rc = 0;
	struct stat st;

	if (fd == -1 && (errno == EACCES || errno == EPERM))
		return err_set(e, ERR_SYSTEM,
		    "%s/%s: user id %u may not read and write it: the store's files belong to its "
		    "owner: chown the directory and all in it, and chmod 600 the file",
		    s->dir, name, (unsigned)geteuid());
	if ((fd == -1 && (errno == ELOOP || errno == EISDIR || errno == ENXIO)) ||
	    (fd != -1 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)))
		rc = err_set(e, ERR_CORRUPT,
		    "%s/%s: is not a file: put the store's there, or restore a backup", s->dir,
		    name);
	if (fd != -1)
		close(fd);
	return rc;
}

/*
 * Berkeley DB would name no file, and wait for ever at a FIFO.  A copy that root made of a store is
 * root's, file by file.
 */
int
store_dir_files(struct store *s, struct err *e)
{
	int at = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = at == -1 ? NULL : fdopendir(at);
	struct dirent *entry;

	if (d == NULL) {
		rc = err_sys(e, "%s", s->dir);
		if (at != -1)
			close(at);
		return rc;
	}
	while (rc == 0 && (entry = readdir(d)) != NULL)
		if (is_ours(entry->d_name))
			rc = file_check(s, entry->d_name, e);
	(void)closedir(d);
	return rc;
}

void
store_dir_release(struct store *s)
{
	free(s->dir);
	if (s->dir_fd != -1)
		close(s->dir_fd);
	if (s->lock_fd != -1)
		close(s->lock_fd);
	s->dir = NULL;
	s->dir_fd = s->lock_fd = -1;
}
