/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A copy of the store's files, for backups: made from outside, by whoever may read them, while the
 * owner goes on working.
 *
 * The owner is asked to hold (store_hold): it then takes no checkpoint and removes no log, so that
 * a copy of the databases and, after them, of the logs is what a kill would have left; opening it
 * recovers it.  A page that is written while it is read may come out torn.  Its change is in the
 * log, so that recovery meets it, and refuses the copy; one makes another, then.
 *
 * A store that nobody owns is copied from descriptors (source.c): who copies may not be allowed to
 * open its files himself.
 *
 * How far the log was on disk (mark.c) goes along, so that a copy, and a copy of that, whose log
 * was cut since is refused, too.
 *
 * Invariants: databases before logs, for a page may only be on disk behind its log record; the mark
 * before logs, so that it is not ahead of them; nothing in ${from} is changed; a copy is on disk
 * when it is said to be done.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/internal.h"

#define CHUNK_BYTES (256 << 10) /* whole pages of any database */
#define LOG_PREFIX "log."
#define LOG_NAME_LEN 14 /* log.0000000001 */
/* Those of this release are a sixteenth of it.  Recovery fills the last one up to its end, be that
 * a hole. */
#define LOG_BYTES_MAX (UINT64_C(64) << 20)

int
store_hold(struct store *s, int64_t for_us, struct store_moment *moment)
{
	int64_t now_us = clock_mono_us();
	int ready;

	/* From the first hold on, not the last: until housekeeping could do its work again. */
	if (for_us > 0 && atomic_load(&s->hold_limit_us) == 0)
		atomic_store(&s->hold_limit_us, now_us + STORE_HOLD_MAX_US);
	atomic_store(&s->hold_until_us, for_us > 0 ? now_us + for_us : 0);
	/* Whoever was before us in store_housekeep writes a checkpoint that our copy must not hold.
	 * It is counted before it says that it has ended. */
	ready = atomic_load(&s->checkpointing) == 0;
	moment->opened_us = s->opened_us;
	moment->checkpoints = atomic_load(&s->checkpoints);
	return ready;
}

struct copy {
	const char *from, *to;
	const struct store_source *source; /* its files are open; or NULL, and: */
	int from_fd;
	int to_fd;
	store_copied_fn *copied;
	void *cookie;
	uint64_t bytes;
	uint8_t *chunk;
};

/* Zeros become a hole: a file may be said to have more of them than there is space. */
static int
write_all(const struct copy *c, int fd, const char *name, size_t n, struct err *e)
{
	size_t done = 0;
	ssize_t rc;

	if (store_is_zero(c->chunk, n))
		return lseek(fd, (off_t)n, SEEK_CUR) >= 0
			   ? 0
			   : err_sys(e, "%s/%s: cannot write", c->to, name);
	while (done < n) {
		rc = write(fd, c->chunk + done, n - done);
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return err_sys(e, "%s/%s: cannot write", c->to, name);
		done += (size_t)rc;
	}
	return 0;
}

static int
copy_bytes(struct copy *c, int in, int out, const char *name, struct err *e)
{
	ssize_t n;

	for (;;) {
		n = read(in, c->chunk, CHUNK_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "%s/%s: cannot read", c->from, name);
		if (n == 0)
			break;
		if (write_all(c, out, name, (size_t)n, e) != 0)
			return -1;
		c->bytes += (uint64_t)n;
		if (c->copied != NULL && c->copied(c->cookie, c->bytes) != 0)
			return err_set(e, ERR_UNAVAILABLE, "interrupted");
	}
	/* It may end with a hole. */
	if (ftruncate(out, lseek(out, 0, SEEK_CUR)) != 0)
		return err_sys(e, "%s/%s: cannot write", c->to, name);
	return fsync(out) == 0 ? 0 : err_sys(e, "%s/%s: cannot sync", c->to, name);
}

/* Always -1; errno says why. */
static int
cannot_open(const struct copy *c, const char *name, struct err *e)
{
	if (errno == ENOENT)
		return err_set(e, ERR_CORRUPT, "%s/%s: missing: restore a backup", c->from, name);
	if (errno == ELOOP)
		return err_set(e, ERR_CORRUPT, "%s/%s: is no file", c->from, name);
	return err_sys(e, "%s/%s: cannot open", c->from, name);
}

/* A descriptor of ours, at the beginning of the file. */
static int
open_from(struct copy *c, const char *name, struct err *e)
{
	struct stat st;
	int fd;

	if (c->source != NULL) {
		if ((fd = store_source_file(c->source, name)) < 0)
			return cannot_open(c, name, e);
		/* It may have been read before. */
		if (lseek(fd, 0, SEEK_SET) != 0 || (fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
			return err_sys(e, "%s/%s: cannot read", c->from, name);
		return fd;
	}
	/* Whose directory it is may not be who we are: no waiting for the other end of a pipe. */
	if ((fd = openat(c->from_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) < 0)
		return cannot_open(c, name, e);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(e, ERR_CORRUPT, "%s/%s: is no file", c->from, name);
}

static int
log_fits(const struct copy *c, int fd, const char *name, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, "%s/%s: cannot look", c->from, name);
	if ((uint64_t)st.st_size <= LOG_BYTES_MAX)
		return 0;
	return err_set(
	    e, ERR_CORRUPT, "%s/%s: longer than a log can be: restore a backup", c->from, name);
}

static int
copy_file(struct copy *c, const char *name, struct err *e)
{
	int in, out, rc;

	if ((in = open_from(c, name, e)) < 0)
		return -1;
	if (store_is_log_name(name) && log_fits(c, in, name, e) != 0) {
		close(in);
		return -1;
	}
	out = openat(c->to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0) {
		err_sys(e, "%s/%s: cannot make", c->to, name);
		close(in);
		return -1;
	}
	rc = copy_bytes(c, in, out, name, e);
	close(in);
	if (close(out) != 0 && rc == 0)
		rc = err_sys(e, "%s/%s: cannot write", c->to, name);
	return rc;
}

int
store_is_log_name(const char *name)
{
	size_t prefix = strlen(LOG_PREFIX);

	return strlen(name) == LOG_NAME_LEN && strncmp(name, LOG_PREFIX, prefix) == 0 &&
	       strspn(name + prefix, "0123456789") == LOG_NAME_LEN - prefix;
}

static int
is_log(const struct dirent *d)
{
	return store_is_log_name(d->d_name);
}

static int
no_log(const struct copy *c, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "%s: there is no log: restore a backup", c->from);
}

static int
copy_open_logs(struct copy *c, struct err *e)
{
	const char *name = store_source_log(c->source, 0);

	if (name == NULL)
		return no_log(c, e);
	for (size_t i = 1; name != NULL; i++) {
		if (copy_file(c, name, e) != 0)
			return -1;
		name = store_source_log(c->source, i);
	}
	return 0;
}

/* What the owner appends meanwhile is part of the copy as far as it is there. */
static int
copy_logs(struct copy *c, struct err *e)
{
	struct dirent **logs;
	int n, rc = 0;

	if (c->source != NULL)
		return copy_open_logs(c, e);
	if ((n = scandirat(c->from_fd, ".", &logs, is_log, alphasort)) < 0)
		return err_sys(e, "%s: cannot list", c->from);
	if (n == 0)
		rc = no_log(c, e);
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = copy_file(c, logs[i]->d_name, e);
		free(logs[i]);
	}
	free(logs);
	return rc;
}

static int
copy_mark(struct copy *c, struct err *e)
{
	if (c->source != NULL)
		return store_source_file(c->source, STORE_MARK_FILE) < 0
			   ? 0
			   : copy_file(c, STORE_MARK_FILE, e);
	if (faccessat(c->from_fd, STORE_MARK_FILE, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0
				       : err_sys(e, "%s/" STORE_MARK_FILE ": cannot look", c->from);
	return copy_file(c, STORE_MARK_FILE, e);
}

static int
copy_all(struct copy *c, struct err *e)
{
	if (c->source == NULL &&
	    (c->from_fd = open(c->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, "%s", c->from);
	if ((c->chunk = malloc(CHUNK_BYTES)) == NULL)
		return err_sys(e, "copying the store");
	for (int which = 0; which < STORE_DBS; which++)
		if (copy_file(c, store_db_specs[which].file, e) != 0)
			return -1;
	if (copy_mark(c, e) != 0 || copy_logs(c, e) != 0)
		return -1;
	return fsync(c->to_fd) == 0 ? 0 : err_sys(e, "%s: cannot sync", c->to);
}

static int
copy(struct copy *c, struct err *e)
{
	int rc = copy_all(c, e);

	free(c->chunk);
	if (c->from_fd >= 0)
		close(c->from_fd);
	return rc;
}

int
store_copy_at(const struct store_source *source, int to_fd, const char *to, store_copied_fn *copied,
    void *cookie, struct err *e)
{
	struct copy c = {.from = store_source_dir(source),
	    .source = source,
	    .to = to,
	    .from_fd = -1,
	    .to_fd = to_fd,
	    .copied = copied,
	    .cookie = cookie};

	return copy(&c, e);
}

int
store_copy_source(const struct store_source *source, const char *to, store_copied_fn *copied,
    void *cookie, struct err *e)
{
	int fd, rc;

	if (store_source_unowned(source, -1, e) != 0)
		return -1;
	if ((fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, "%s", to);
	rc = store_copy_at(source, fd, to, copied, cookie, e);
	close(fd);
	return rc;
}

int
store_copy(const char *from, const char *to, store_copied_fn *copied, void *cookie, struct err *e)
{
	struct copy c = {.from = from, .to = to, .from_fd = -1, .copied = copied, .cookie = cookie};
	int rc;

	if ((c.to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, "%s", to);
	rc = copy(&c, e);
	close(c.to_fd);
	return rc;
}

int
store_is_file(const char *name)
{
	for (int which = 0; which < STORE_DBS; which++)
		if (strcmp(name, store_db_specs[which].file) == 0)
			return 1;
	return strcmp(name, STORE_MARK_FILE) == 0 || store_is_log_name(name);
}

int
store_files_in(const char *dir, struct err *e)
{
	struct dirent **logs;
	struct stat st;
	int fd, n, found = 0;

	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", dir);
	for (int which = 0; which < STORE_DBS && !found; which++)
		found = fstatat(fd, store_db_specs[which].file, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if ((n = scandirat(fd, ".", &logs, is_log, alphasort)) > 0)
		found = 1;
	for (int i = 0; i < n; i++)
		free(logs[i]);
	if (n >= 0)
		free(logs);
	close(fd);
	return n < 0 ? err_sys(e, "%s: cannot list", dir) : found;
}
