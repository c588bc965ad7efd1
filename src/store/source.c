/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The files of a store that nobody owns, open for reading: a backup, whose directory may let only
 * root in, for a process that is not root any more.
 *
 * Nothing is read here, and nothing of what is in the files decides anything.
 *
 * Invariants: regular files alone, no links, no waiting for the other end of a pipe; of what root
 * opens each belongs to whom its directory belongs, so that nobody has root open what is another's
 * (by a second name of it) for the process that copies.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

struct file {
	char *name;
	int fd;
};

struct store_source {
	char *dir; /* for messages */
	size_t n;
	struct file *files; /* by name */
};

static int
is_file(const struct dirent *d)
{
	return store_is_file(d->d_name) || strcmp(d->d_name, STORE_SOURCE_MANIFEST) == 0 ||
	       strcmp(d->d_name, STORE_LOCK_FILE) == 0;
}

static int
open_file(int dir_fd, const char *dir, uid_t owner, const char *name, struct err *e)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_CORRUPT, "%s/%s: is no file", dir, name);
	if (fd < 0)
		return err_sys(e, "%s/%s: cannot open", dir, name);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		err_set(e, ERR_CORRUPT, "%s/%s: is no file", dir, name);
	else if (geteuid() == 0 && st.st_uid != owner)
		err_set(e, ERR_DENIED,
		    "%s/%s: belongs to user id %u, but the directory to %u: is it of this store? "
		    "Then chown it",
		    dir, name, (unsigned)st.st_uid, (unsigned)owner);
	else
		return fd;
	close(fd);
	return -1;
}

static int
open_all(struct store_source *s, int dir_fd, struct dirent **names, size_t n, struct err *e)
{
	struct stat st;

	if (fstat(dir_fd, &st) != 0)
		return err_sys(e, "%s", s->dir);
	if ((s->files = calloc(n + 1, sizeof(*s->files))) == NULL)
		return err_sys(e, "%s", s->dir);
	for (; s->n < n; s->n++) {
		struct file *f = &s->files[s->n];

		if ((f->fd = open_file(dir_fd, s->dir, st.st_uid, names[s->n]->d_name, e)) < 0)
			return -1;
		if ((f->name = strdup(names[s->n]->d_name)) == NULL) {
			close(f->fd);
			return err_sys(e, "%s", s->dir);
		}
	}
	return 0;
}

struct store_source *
store_source_open(const char *dir, struct err *e)
{
	struct store_source *s = calloc(1, sizeof(*s));
	struct dirent **names = NULL;
	int fd = -1, n = -1, rc = -1;

	if (s == NULL || (s->dir = strdup(dir)) == NULL)
		err_sys(e, "%s", dir);
	else if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		(void)(errno == ENOENT || errno == ENOTDIR
			   ? err_set(
				 e, ERR_NOT_FOUND, "%s: there is no backup: no such directory", dir)
			   : err_sys(e, "%s", dir));
	else if ((n = scandirat(fd, ".", &names, is_file, alphasort)) < 0)
		err_sys(e, "%s: cannot list", dir);
	else
		rc = open_all(s, fd, names, (size_t)n, e);
	for (int i = 0; i < n; i++)
		free(names[i]);
	if (n >= 0)
		free(names);
	if (fd >= 0)
		close(fd);
	if (rc != 0)
		store_source_close(&s);
	return s;
}

void
store_source_close(struct store_source **sp)
{
	struct store_source *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++) {
		close(s->files[i].fd);
		free(s->files[i].name);
	}
	free(s->files);
	free(s->dir);
	free(s);
}

const char *
store_source_dir(const struct store_source *s)
{
	return s->dir;
}

int
store_source_file(const struct store_source *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return s->files[i].fd;
	errno = ENOENT;
	return -1;
}

const char *
store_source_missing(const struct store_source *s, size_t at)
{
	for (int which = 0; which < STORE_DBS; which++)
		if (store_source_file(s, store_db_specs[which].file) < 0 && at-- == 0)
			return store_db_specs[which].file;
	return NULL;
}

int
store_source_is_none(const struct store_source *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (store_is_file(s->files[i].name))
			return 0;
	return 1;
}

const char *
store_source_log(const struct store_source *s, size_t at)
{
	for (size_t i = 0; i < s->n; i++)
		if (store_is_log_name(s->files[i].name) && at-- == 0)
			return s->files[i].name;
	return NULL;
}

int
store_source_unowned(const struct store_source *s, int held_fd, struct err *e)
{
	struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int lock = store_source_file(s, STORE_LOCK_FILE);
	struct stat ours, theirs;

	if (lock < 0 || fcntl(lock, F_OFD_GETLK, &whole) != 0 || whole.l_type == F_UNLCK)
		return 0;
	if (held_fd >= 0 && fstat(lock, &theirs) == 0 && fstat(held_fd, &ours) == 0 &&
	    ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return 0;
	return err_set(e, ERR_BUSY, "%s: another process owns the store: stop it first", s->dir);
}
