/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The pepper file itself: reading it with its owner and mode, and replacing it by a changed one.
 * What its lines mean is the business of peppers.c and storekey.c.
 *
 * Invariants: its text is only ever in memory of the secure heap and in the file; a file that is
 * loose in mode or owner is not used at all; a change that is killed leaves the file as it was or
 * as it shall be.
 */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/pepper_file.h"

#include "base/secret.h"
#include "base/span.h"

void
pepper_text_release(struct pepper_text *t)
{
	if (t->p != NULL)
		secret_free(t->p, PEPPER_FILE_MAX);
	t->p = NULL;
}

/*
 * The owner must be root, us or ${other}.  A systemd credential may be 0440: that is how stat shows
 * the ACL by which systemd lets the service's user, and only that one, read it.
 */
static int
owner_and_mode_ok(
    const char *file, const struct stat *st, unsigned other, int credential, struct err *e)
{
	unsigned mode = st->st_mode & 07777;

	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_DENIED, "pepper file %s is not a regular file", file);
	if (mode != 0400 && !(credential && mode == 0440))
		return err_set(e, ERR_DENIED, "pepper file %s has mode %04o; run: chmod 0400 %s",
		    file, mode, file);
	if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != (uid_t)other)
		return err_set(e, ERR_DENIED,
		    "pepper file %s belongs to uid %u; it must belong to root or to uid %u", file,
		    (unsigned)st->st_uid, (unsigned)geteuid());
	return 0;
}

/* 1 read, 0 there is none, -1.  The caller releases ${t} whatever comes back. */
static int
text_read(const char *file, unsigned other, int credential, struct pepper_text *t, struct err *e)
{
	int fd = -1, rc = -1;
	ssize_t n;

	*t = (struct pepper_text){.credential = credential};
	/* O_NONBLOCK: a fifo in its place must not hang us. */
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "cannot open the pepper file %s", file);
	if (fstat(fd, &t->st) != 0) {
		err_sys(e, "cannot look at the pepper file %s", file);
		goto out;
	}
	if (owner_and_mode_ok(file, &t->st, other, credential, e) != 0)
		goto out;
	if ((t->p = secret_alloc(PEPPER_FILE_MAX)) == NULL) {
		err_set(e, ERR_SYSTEM,
		    "no memory for the peppers; raise the limit on locked memory (ulimit -l)");
		goto out;
	}
	while ((n = read(fd, t->p + t->len, PEPPER_FILE_MAX - t->len)) > 0) {
		t->len += (size_t)n;
		if (t->len == PEPPER_FILE_MAX) {
			err_set(e, ERR_INPUT, "pepper file %s is larger than %d bytes", file,
			    PEPPER_FILE_MAX - 1);
			goto out;
		}
	}
	if (n < 0) {
		err_sys(e, "cannot read the pepper file %s", file);
		goto out;
	}
	rc = 1;
out:
	close(fd);
	return rc;
}

/* The path of systemd's credential: 1, or 0 when we were given none. */
static int
credential_path(char *out, size_t cap)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	int n;

	if (dir == NULL || dir[0] != '/')
		return 0;
	n = snprintf(out, cap, "%s/peppers", dir);
	return n > 0 && (size_t)n < cap;
}

int
pepper_file_read(const char *file, struct pepper_text *t, char from[PATH_MAX], struct err *e)
{
	int found = 0;

	*t = (struct pepper_text){0};
	if (credential_path(from, PATH_MAX))
		found = text_read(from, (unsigned)-1, 1, t, e);
	if (found != 0)
		return found;
	if (span_copy(from, PATH_MAX, span_of(file)) != 0)
		return err_set(e, ERR_INPUT, "the path of the pepper file is too long");
	return text_read(file, (unsigned)-1, 0, t, e);
}

static int
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The new file under its temporary name ${base}.new in the directory, complete and on disk. */
static int
write_beside(
    int dir, const char *name, const struct pepper_text *t, uid_t uid, gid_t gid, struct err *e)
{
	int fd;

	if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
		return err_sys(e, "cannot remove the unfinished %s", name);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	if (fd < 0)
		return err_sys(e, "cannot write %s beside the pepper file", name);
	if (write_all(fd, t->p, t->len) != 0 || fchmod(fd, 0400) != 0) {
		err_sys(e, "cannot write the new pepper file");
		goto fail;
	}
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) != 0) {
		err_sys(e, "cannot give the new pepper file to uid %u", (unsigned)uid);
		goto fail;
	}
	if (fsync(fd) != 0) {
		err_sys(e, "cannot sync the new pepper file");
		goto fail;
	}
	if (close(fd) == 0)
		return 0;
	err_sys(e, "cannot close the new pepper file");
	unlinkat(dir, name, 0);
	return -1;
fail:
	close(fd);
	unlinkat(dir, name, 0);
	return -1;
}

/* The new text in place of the old one, for good. */
static int
replace(int dir, const char *file, const char *base, const struct pepper_text *t, uid_t uid,
    gid_t gid, struct err *e)
{
	char fresh[NAME_MAX + 1];
	int n = snprintf(fresh, sizeof(fresh), "%s.new", base);

	if (n < 0 || (size_t)n >= sizeof(fresh))
		return err_set(e, ERR_INPUT, "the name of the pepper file is too long");
	if (write_beside(dir, fresh, t, uid, gid, e) != 0)
		return -1;
	if (renameat(dir, fresh, dir, base) != 0) {
		err_sys(e, "cannot put the new pepper file in place");
		unlinkat(dir, fresh, 0);
		return -1;
	}
	return fsync(dir) == 0 ? 0 : err_sys(e, "cannot sync the directory of %s", file);
}

/* With the directory locked: read, edit, replace. */
static int
edit_locked(int dir, const char *file, const char *base, uid_t uid, gid_t gid, pepper_edit_fn *edit,
    void *cookie, struct err *e)
{
	struct pepper_text t = {0};
	int found, rc = -1;

	found = text_read(file, uid, 0, &t, e);
	if (found < 0)
		goto out;
	if (found == 0 && (t.p = secret_alloc(PEPPER_FILE_MAX)) == NULL) {
		err_set(e, ERR_SYSTEM, "no memory for the peppers");
		goto out;
	}
	if (found == 1) {
		uid = uid == (uid_t)-1 ? t.st.st_uid : uid;
		gid = gid == (gid_t)-1 ? t.st.st_gid : gid;
	}
	if ((rc = edit(cookie, file, &t, e)) == 1 && replace(dir, file, base, &t, uid, gid, e) != 0)
		rc = -1;
out:
	pepper_text_release(&t);
	return rc;
}

int
pepper_file_edit(
    const char *file, unsigned uid, unsigned gid, pepper_edit_fn *edit, void *cookie, struct err *e)
{
	char dirpath[PATH_MAX], basepath[PATH_MAX];
	const char *dirname_;
	int dir, rc = -1;

	/* dirname() and basename() write into what they are given. */
	if (span_copy(dirpath, sizeof(dirpath), span_of(file)) != 0 ||
	    span_copy(basepath, sizeof(basepath), span_of(file)) != 0)
		return err_set(e, ERR_INPUT, "the path of the pepper file is too long");
	dirname_ = dirname(dirpath);
	dir = open(dirname_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "cannot open the directory %s of the pepper file", dirname_);
	if (flock(dir, LOCK_EX) != 0)
		err_sys(e, "cannot lock the directory %s", dirname_);
	else
		rc = edit_locked(
		    dir, file, basename(basepath), (uid_t)uid, (gid_t)gid, edit, cookie, e);
	close(dir);
	return rc;
}
