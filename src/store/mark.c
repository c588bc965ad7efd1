/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How far the log was on disk, told outside the log: the file `flushed`.
 *
 * For recovery a log ends at its first record that is not whole.  A log that was cut short, whose
 * newest file is gone, or of which a bit has changed, is one that ends earlier: what was
 * acknowledged behind that place would be forgotten without a word, and a revoked key be valid
 * again.  So each flush writes down how far it came, and a log that ends before is refused.
 *
 * That the file has to be there is a record in `meta`: without it the file would be what has to be
 * lost with the log's end for all of this to be of no use.  The file is on disk before the record
 * is written, and the record in its database before anything else of a new store is acknowledged:
 * so no kill and no power cut leaves the one without the other, and the record can be looked for
 * before recovery, which would add to the log that is in doubt.  A store without the record, of
 * before there was one, is taken as it is, and gets it.
 *
 * Written by whoever flushes (the housekeeping thread, or the main one without it), read at
 * opening.  It is not synced again: it may be older than the log, and then tells less, but is never
 * ahead of what is on disk.
 *
 * The same file says that a directory has the files of no store, but of half of one: while a
 * restore replaces them.
 *
 * Invariants: the mark is never ahead of what a sync has returned for; a store that was refused
 * stays refused, for recovery has put new records where the lost ones were; one without its mark is
 * refused untouched, so that the file may be put back.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

#define MARK_LEN 22 /* both numbers, each with what follows it */
#define LOST "lost                 \n"
#define UNFINISHED "unfinished           \n"
#define RECORD_VERSION 1
#define NEW_FILE STORE_MARK_FILE ".new"

static int
lost(struct store *s, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s: the log (files log.*) ends before what was acknowledged: files of it are missing, "
	    "cut short or damaged: restore a backup",
	    s->dir);
}

static int
unfinished(const char *dir, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s: a restore or load was interrupted while it replaced the store's files: run it "
	    "again",
	    dir);
}

static int
unmarked(struct store *s, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s/" STORE_MARK_FILE ": %s, so that nobody can tell whether the log (files log.*) is "
	    "whole: put it back, or restore a backup; what there is becomes the store with: apikey "
	    "db restore --accept-log %s",
	    s->dir, s->mark_fd == -1 ? "missing" : "unreadable", s->dir);
}

static int
format(const DB_LSN *at, char text[MARK_LEN + 1], struct err *e)
{
	int n =
	    snprintf(text, MARK_LEN + 1, "%010" PRIu32 " %010" PRIu32 "\n", at->file, at->offset);

	return n == MARK_LEN ? 0 : err_set(e, ERR_INTERNAL, "the mark of the log does not fit");
}

static int
parse(struct store *s, const char text[MARK_LEN + 1], struct err *e)
{
	char same[MARK_LEN + 1];
	DB_LSN at;

	if (strcmp(text, LOST) == 0)
		return lost(s, e);
	if (strcmp(text, UNFINISHED) == 0)
		return unfinished(s->dir, e);
	if (sscanf(text, "%10" SCNu32 " %10" SCNu32, &at.file, &at.offset) == 2 &&
	    format(&at, same, NULL) == 0 && strcmp(text, same) == 0) {
		s->marked = at;
		s->has_mark = 1;
	}
	return 0;
}

/* The mark of a directory whose store nobody has open, by one rename: it is never without one. */
static int
replace(int dir_fd, const char *dir, const char text[MARK_LEN + 1], struct err *e)
{
	int fd, rc = 0;

	if (unlinkat(dir_fd, NEW_FILE, 0) != 0 && errno != ENOENT)
		return err_sys(e, "%s/" NEW_FILE ": cannot remove", dir);
	fd = openat(dir_fd, NEW_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return err_sys(e, "%s/" NEW_FILE ": cannot make", dir);
	if (write(fd, text, MARK_LEN) != MARK_LEN || fsync(fd) != 0 ||
	    renameat(dir_fd, NEW_FILE, dir_fd, STORE_MARK_FILE) != 0 || fsync(dir_fd) != 0)
		rc = err_sys(e, "%s/" STORE_MARK_FILE ": cannot write", dir);
	close(fd);
	return rc;
}

int
store_mark_unfinished(int dir_fd, const char *dir, struct err *e)
{
	return replace(dir_fd, dir, UNFINISHED, e);
}

int
store_mark_forget(int dir_fd, const char *dir, struct err *e)
{
	const DB_LSN nowhere = {0, 0};
	char text[MARK_LEN + 1] = "";
	int fd = openat(dir_fd, STORE_MARK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = 0;

	if (fd >= 0) {
		n = pread(fd, text, MARK_LEN, 0);
		close(fd);
	}
	if (n < 0 || (fd < 0 && errno != ENOENT))
		return err_sys(e, "%s/" STORE_MARK_FILE ": cannot read", dir);
	if (strcmp(text, UNFINISHED) == 0)
		return unfinished(dir, e);
	return format(&nowhere, text, e) != 0 ? -1 : replace(dir_fd, dir, text, e);
}

int
store_mark_read(struct store *s, struct err *e)
{
	char text[MARK_LEN + 1] = "";
	ssize_t n;

	s->mark_fd = openat(s->dir_fd, STORE_MARK_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (s->mark_fd == -1)
		return errno == ENOENT ? 0
				       : err_sys(e, "%s/" STORE_MARK_FILE ": cannot open", s->dir);
	if ((n = pread(s->mark_fd, text, MARK_LEN, 0)) < 0)
		return err_sys(e, "%s/" STORE_MARK_FILE ": cannot read", s->dir);
	return parse(s, text, e);
}

/* ---- the record that says that there has to be one ---- */

/* 1 it is what this release writes, -1. */
static int
record_known(struct store *s, const uint8_t *record, size_t len, struct err *e)
{
	if (len == 1 && record[0] == RECORD_VERSION)
		return 1;
	return err_set(e, ERR_CORRUPT,
	    "%s: database meta: the record of the log's mark is damaged: restore a backup", s->dir);
}

int
store_mark_expect(struct store *s, struct err *e)
{
	uint8_t record[1];
	struct err why;
	size_t len;

	/* What is not recovered yet may not be readable: then it is asked for once more. */
	if (s->has_mark || store_meta_peek(s, STORE_MARK_FILE, record, sizeof(record), &len) != 1 ||
	    record_known(s, record, len, &why) != 1)
		return 0;
	return unmarked(s, e);
}

int
store_mark_load(struct store *s, struct err *e)
{
	uint8_t record[1];
	size_t len;
	int rc;

	rc = store_db_get(
	    s, STORE_DB_META, span_of(STORE_MARK_FILE), record, sizeof(record), &len, e);
	if (rc < 0 || (rc == 1 && record_known(s, record, len, e) != 1))
		return -1;
	s->needs_mark = rc;
	if (rc == 1 && !s->has_mark)
		return unmarked(s, e);
	return 0;
}

/* Where the log is: its end, and how much of it is on disk. */
static int
places(struct store *s, DB_LSN *end, DB_LSN *disk, struct err *e)
{
	DB_LOG_STAT *st;
	int ret;

	if ((ret = s->env->log_stat(s->env, &st, 0)) != 0)
		return store_fail(s, ret, "looking for the end of the log", e);
	*end = (DB_LSN){st->st_cur_file, st->st_cur_offset};
	*disk = (DB_LSN){st->st_disk_file, st->st_disk_offset};
	free(st);
	return 0;
}

/* 0, or -1 and errno. */
static int
write_text(struct store *s, const char text[MARK_LEN + 1])
{
	ssize_t n;

	if (s->mark_fd == -1)
		s->mark_fd = openat(
		    s->dir_fd, STORE_MARK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->mark_fd == -1 || (n = pwrite(s->mark_fd, text, MARK_LEN, 0)) < 0)
		return -1;
	errno = ENOSPC;
	return n == MARK_LEN ? 0 : -1;
}

/* A disk too full for it leaves an older one, which tells less: that is no reason to stop. */
static void
not_written(void)
{
	log_event(LOG_LVL_DEBUG, "store_mark_failed", "error", strerror(errno), NULL);
}

/* On disk, with its name. */
static int
make_durable(struct store *s, struct err *e)
{
	char text[MARK_LEN + 1];

	if (format(&s->marked, text, e) != 0)
		return -1;
	if (write_text(s, text) != 0)
		return err_sys(e, "%s/" STORE_MARK_FILE ": cannot write", s->dir);
	(void)store_sync(s->mark_fd); /* it ends the process if it fails */
	return fsync(s->dir_fd) == 0 ? 0 : err_sys(e, "%s: cannot sync", s->dir);
}

static int
put_record(void *cookie, struct err *e)
{
	const uint8_t record[1] = {RECORD_VERSION};

	return store_db_put(
	    cookie, STORE_DB_META, span_of(STORE_MARK_FILE), store_span(record, sizeof(record)), e);
}

int
store_mark_begin(struct store *s, struct err *e)
{
	int ret;

	if (s->needs_mark)
		return 0;
	if (make_durable(s, e) != 0 || store_batch(s, put_record, s, e) != 0)
		return -1;
	if ((ret = s->env->txn_checkpoint(s->env, 0, 0, DB_FORCE)) != 0)
		return store_fail(s, ret, "checkpointing", e);
	s->has_mark = s->needs_mark = 1;
	return 0;
}

/* Does its name lead to the file that we write, and does that say what we wrote? */
static int
is_there(struct store *s, const char text[MARK_LEN + 1])
{
	char now[MARK_LEN + 1] = "";
	struct stat named, ours;

	return s->mark_fd != -1 &&
	       fstatat(s->dir_fd, STORE_MARK_FILE, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstat(s->mark_fd, &ours) == 0 && named.st_dev == ours.st_dev &&
	       named.st_ino == ours.st_ino && pread(s->mark_fd, now, MARK_LEN, 0) == MARK_LEN &&
	       strcmp(now, text) == 0;
}

int
store_mark_keep(struct store *s, struct err *e)
{
	char text[MARK_LEN + 1];

	if (format(&s->marked, text, e) != 0)
		return -1;
	if (is_there(s, text))
		return 0;
	if (s->mark_fd != -1)
		close(s->mark_fd);
	s->mark_fd = -1;
	if (make_durable(s, e) != 0)
		return -1;
	log_event(
	    LOG_LVL_WARNING, "store_mark_made_anew", "dir", s->dir, "file", STORE_MARK_FILE, NULL);
	return 0;
}

int
store_mark_check(struct store *s, struct err *e)
{
	DB_LSN end, disk;

	if (places(s, &end, &disk, e) != 0)
		return -1;
	if (log_compare(&end, &s->marked) >= 0)
		return 0;
	if (write_text(s, LOST) != 0)
		not_written();
	return lost(s, e);
}

int
store_mark_write(struct store *s, struct err *e)
{
	char text[MARK_LEN + 1];
	DB_LSN end, disk;

	if (places(s, &end, &disk, e) != 0)
		return -1;
	if (log_compare(&disk, &s->marked) <= 0)
		return 0;
	if (format(&disk, text, e) != 0)
		return -1;
	if (write_text(s, text) == 0)
		s->marked = disk;
	else
		not_written();
	return 0;
}
