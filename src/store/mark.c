/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How far the log was on disk, told outside the log: the file `flushed`.
 *
 * For recovery a log ends at its first record that is not whole.  A log that was cut short, whose
 * newest file is gone, or of which a bit has changed, is one that ends earlier: what was
 * acknowledged behind that place would be forgotten without a word, and a revoked key be valid
 * again.  So each flush writes down how far it came, and a log that ends before is refused.
 *
 * Written by whoever flushes (the housekeeping thread, or the main one without it), read at
 * opening.  It is not synced itself: it may be older than the log, and then tells less, but is
 * never ahead of what is on disk.  A store without it is taken as it is.
 *
 * The same file says that a directory has the files of no store, but of half of one: while a
 * restore replaces them.
 *
 * Invariants: the mark is never ahead of what a sync has returned for; a store that was refused
 * stays refused, for recovery has put new records where the lost ones were.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

#define MARK_LEN 22 /* both numbers, each with what follows it */
#define LOST "lost                 \n"
#define UNFINISHED "unfinished           \n"

static int
lost(struct store *s, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s: the log (files log.*) ends before what was acknowledged: files of it are missing, "
	    "cut short or damaged: restore a backup",
	    s->dir);
}

static int
parse(struct store *s, const char text[MARK_LEN + 1], struct err *e)
{
	uint32_t file, offset;
	int end = 0;

	if (strcmp(text, LOST) == 0)
		return lost(s, e);
	if (strcmp(text, UNFINISHED) == 0)
		return err_set(e, ERR_CORRUPT,
		    "%s: a restore or load was interrupted while it replaced the store's files: "
		    "run it again",
		    s->dir);
	if (sscanf(text, "%10" SCNu32 " %10" SCNu32 "\n%n", &file, &offset, &end) == 2 &&
	    end == MARK_LEN)
		s->marked = (DB_LSN){file, offset};
	else
		log_event(LOG_LVL_WARNING, "store_mark_unreadable", "dir", s->dir, "file",
		    STORE_MARK_FILE, NULL);
	return 0;
}

int
store_mark_unfinished(int dir_fd, const char *dir, struct err *e)
{
	int fd, rc = 0;

	if (unlinkat(dir_fd, STORE_MARK_FILE, 0) != 0 && errno != ENOENT)
		return err_sys(e, "%s/" STORE_MARK_FILE ": cannot remove", dir);
	fd = openat(
	    dir_fd, STORE_MARK_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return err_sys(e, "%s/" STORE_MARK_FILE ": cannot make", dir);
	if (write(fd, UNFINISHED, MARK_LEN) != MARK_LEN || fsync(fd) != 0 || fsync(dir_fd) != 0)
		rc = err_sys(e, "%s/" STORE_MARK_FILE ": cannot write", dir);
	close(fd);
	return rc;
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
	return n > 0 ? parse(s, text, e) : 0;
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

/* A disk too full for it leaves an older one, which tells less: that is no reason to stop. */
static void
write_text(struct store *s, const char text[MARK_LEN + 1])
{
	if (s->mark_fd == -1)
		s->mark_fd = openat(
		    s->dir_fd, STORE_MARK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->mark_fd != -1 && pwrite(s->mark_fd, text, MARK_LEN, 0) != MARK_LEN)
		log_event(LOG_LVL_DEBUG, "store_mark_failed", "error", strerror(errno), NULL);
}

int
store_mark_check(struct store *s, struct err *e)
{
	DB_LSN end, disk;

	if (places(s, &end, &disk, e) != 0)
		return -1;
	if (log_compare(&end, &s->marked) >= 0)
		return 0;
	write_text(s, LOST);
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
	if (snprintf(text, sizeof(text), "%010" PRIu32 " %010" PRIu32 "\n", disk.file,
		disk.offset) != MARK_LEN)
		return err_set(e, ERR_INTERNAL, "the mark of the log does not fit");
	s->marked = disk;
	write_text(s, text);
	return 0;
}
