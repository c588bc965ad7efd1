/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What `apikey scan` searches: files, directories with all below them, standard input.  Bytes go
 * from read(2) into the finder's own memory and nowhere else; files are not mapped, because one
 * that shrinks meanwhile would kill us.
 *
 * Names and contents are a stranger's, who may also move things about while we look.  Invariants:
 * below a directory everything is opened from the directory before it and never through a symbolic
 * link, so that no swap leads out of it; nothing there is opened that could block or answer to
 * being opened (devices, FIFOs, the kernel's file systems); a directory is never held in memory;
 * what cannot be read is told, counted, and ends nothing else.
 */

#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apikey/scan.h"

static volatile sig_atomic_t signal_seen;

static void
on_signal(int sig)
{
	signal_seen = sig;
}

void
scan_hold_signals(void)
{
	static const int held[] = {SIGINT, SIGTERM};
	struct sigaction now, before;
	size_t i;

	memset(&now, 0, sizeof(now));
	now.sa_handler = on_signal;
	/* The second one ends the program, and reads are interrupted. */
	now.sa_flags = (int)SA_RESETHAND;
	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		if (sigaction(held[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			(void)sigaction(held[i], &now, NULL);
	}
}

int
scan_signal(void)
{
	return signal_seen;
}

static int
stopped(struct scan *s)
{
	if (signal_seen != 0)
		s->stop = 1;
	return s->stop;
}

static void
unread(struct scan *s, const char *file, const char *why)
{
	s->counts.unread++;
	scan_note(s, file, why);
}

static void
skipped(struct scan *s, const char *file, const char *why)
{
	s->counts.skipped++;
	scan_note(s, file, why);
}

/* ---- one file ---- */

static void
begin(struct scan *s, const char *file, int in_name)
{
	s->file = file;
	s->in_name = in_name;
	finder_begin(s->finder);
}

static void
end(struct scan *s)
{
	s->counts.files++;
	s->counts.files_with += s->file_findings > 0;
	s->file_findings = 0;
	scan_patch_free(&s->patch);
	if (s->known != NULL)
		scan_known_flush(s->known, 0);
	scan_tick(s);
}

/* A piece of the file that is in the finder's room. */
static void
take(struct scan *s, const char *room, size_t n)
{
	if (s->patch != NULL)
		scan_patch_feed(s->patch, room, n);
	s->counts.bytes += n;
	finder_take(s->finder, n);
	if (s->patch != NULL)
		scan_patch_rest(s->patch);
	if (s->known != NULL)
		scan_known_flush(s->known, 0);
	scan_tick(s);
}

/*
 * Of a pipe that brings nothing for now: what was found until here is told before it is waited for
 * more.  Findings that wait to be looked up do so for as long as they would anyway.
 */
static void
before_waiting(struct scan *s, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, 0) != 0)
		return;
	(void)fflush(stdout);
	if (s->known == NULL || poll(&p, 1, scan_known_patience_ms(s->known)) != 0)
		return;
	scan_known_flush(s->known, 1);
	(void)fflush(stdout);
}

/* At most ${max} bytes: how many came, 0 at the end, -1. */
static ssize_t
read_some(struct scan *s, int fd, uint64_t max, char **room)
{
	size_t cap;
	ssize_t n;

	*room = finder_room(s->finder, &cap);
	if (cap > max)
		cap = (size_t)max;
	do {
		before_waiting(s, fd);
		n = stopped(s) ? 0 : read(fd, *room, cap);
	} while (n == -1 && errno == EINTR && !stopped(s));
	return n;
}

/* Up to ${max} bytes, to the end of the file at most: 1 when all of them came, 0 before, -1. */
static int
search_bytes(struct scan *s, int fd, uint64_t max)
{
	ssize_t n;
	char *room;

	while (max > 0 && !stopped(s)) {
		if ((n = read_some(s, fd, max, &room)) == -1)
			return stopped(s) ? 0 : -1;
		if (n == 0)
			return 0;
		take(s, room, (size_t)n);
		max -= (uint64_t)n;
	}
	return max == 0;
}

/* A file with holes, without reading them.  0 or -1. */
static int
search_sparse(struct scan *s, int fd, off_t size)
{
	off_t at = 0, data, hole;
	int rc;

	while (at < size && !stopped(s)) {
		if ((data = lseek(fd, at, SEEK_DATA)) == -1)
			return errno == ENXIO ? 0 : -1;
		if ((hole = lseek(fd, data, SEEK_HOLE)) == -1 || lseek(fd, data, SEEK_SET) == -1)
			return -1;
		if (data > at)
			finder_skip(s->finder, (uint64_t)(data - at));
		if ((rc = search_bytes(s, fd, (uint64_t)(hole - data))) != 1)
			return rc;
		at = hole;
	}
	return 0;
}

/*
 * An open file, closed here.  One that grows is read as far as it reached when it was opened, so
 * that its writer cannot keep us; files of the kernel's say that they are empty, and are read to
 * their end.
 */
static void
search_file(struct scan *s, const char *file, int fd, const struct stat *st)
{
	int rc;

	begin(s, file, 0);
	if (S_ISREG(st->st_mode) && st->st_size > 0) {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		if (st->st_blocks < st->st_size / 512)
			rc = search_sparse(s, fd, st->st_size);
		else
			rc = search_bytes(s, fd, (uint64_t)st->st_size);
	} else {
		rc = search_bytes(s, fd, UINT64_MAX);
	}
	if (rc == -1)
		unread(s, file, strerror(errno));
	end(s);
	close(fd);
}

/* A name may hold a key, too. */
static void
search_name(struct scan *s, const char *file, const char *name)
{
	begin(s, file, 1);
	finder_feed(s->finder, name, strlen(name));
}

/* ---- directories ---- */

/* The names on the way, as far as they are told. */
struct way {
	size_t len;
	char text[SCAN_PATH_MAX];
};

static void walk(struct scan *, struct way *, int fd, dev_t, unsigned depth);

/* Files there are made up when they are read: some block, some have no end. */
static int
is_of_the_kernel(int fd)
{
	static const unsigned long magics[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC,
	    TRACEFS_MAGIC, SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SELINUX_MAGIC,
	    BPF_FS_MAGIC, BINFMTFS_MAGIC, EFIVARFS_MAGIC};
	struct statfs fs;
	size_t i;

	if (fstatfs(fd, &fs) == -1)
		return 0;
	for (i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		if ((unsigned long)fs.f_type == magics[i])
			return 1;
	}
	return 0;
}

/* An open directory on another file system than ${dev}; closed here. */
static void
search_dir(struct scan *s, struct way *w, int fd, dev_t dev, unsigned depth)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		unread(s, w->text, strerror(errno));
	else if (st.st_dev != dev && is_of_the_kernel(fd))
		(depth == 0 ? unread : skipped)(
		    s, w->text, "a file system of the kernel's is skipped; name its files");
	else if (depth == SCAN_DEPTH_MAX)
		unread(s, w->text, "too many directories in directories");
	else {
		walk(s, w, fd, st.st_dev, depth);
		return;
	}
	close(fd);
}

/* What ${name} is in the directory, opened: a regular file or a directory.  -1: told. */
static int
open_at(struct scan *s, const struct way *w, int dir, const char *name, struct stat *st)
{
	int fd;

	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
		/* What is gone holds nothing. */
		if (errno != ENOENT)
			unread(s, w->text, strerror(errno));
		return -1;
	}
	if (S_ISLNK(st->st_mode))
		return -1;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) {
		skipped(s, w->text, "not a regular file: skipped");
		return -1;
	}
	fd = openat(dir, name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
		(S_ISDIR(st->st_mode) ? O_DIRECTORY : 0));
	if (fd == -1 || fstat(fd, st) == -1) {
		if (errno != ENOENT)
			unread(s, w->text, strerror(errno));
	} else if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) {
		return fd;
	} else {
		skipped(s, w->text, "not a regular file: skipped");
	}
	if (fd != -1)
		close(fd);
	return -1;
}

static void
visit(struct scan *s, struct way *w, int dir, const char *name, dev_t dev, unsigned depth)
{
	struct stat st;
	int fd;

	search_name(s, w->text, name);
	if ((fd = open_at(s, w, dir, name, &st)) == -1)
		return;
	if (S_ISDIR(st.st_mode))
		search_dir(s, w, fd, dev, depth + 1);
	else
		search_file(s, w->text, fd, &st);
}

/* All of the open directory that is at ${w}; closes it. */
static void
walk(struct scan *s, struct way *w, int fd, dev_t dev, unsigned depth)
{
	size_t before = w->len;
	const char *slash = before > 0 && w->text[before - 1] == '/' ? "" : "/";
	struct dirent *d;
	DIR *dir = fdopendir(fd);
	int n;

	if (dir == NULL) {
		unread(s, w->text, strerror(errno));
		close(fd);
		return;
	}
	while (!stopped(s)) {
		errno = 0;
		if ((d = readdir(dir)) == NULL) {
			if (errno != 0)
				unread(s, w->text, strerror(errno));
			break;
		}
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		n = snprintf(w->text + before, sizeof(w->text) - before, "%s%s", slash, d->d_name);
		if (n > 0 && (size_t)n < sizeof(w->text) - before) {
			w->len = before + (size_t)n;
			visit(s, w, dirfd(dir), d->d_name, dev, depth);
		} else {
			unread(s, w->text, "the name is too long");
		}
		w->len = before;
		w->text[before] = '\0';
	}
	(void)closedir(dir);
}

/* ---- what the command line names ---- */

static void
search_stdin(struct scan *s)
{
	ssize_t n;
	char *room;
	int rc = 0;

	begin(s, SCAN_STDIN, 0);
	/* A patch is known by its first bytes, which come at once if it is one. */
	if ((n = read_some(s, STDIN_FILENO, UINT64_MAX, &room)) > 0) {
		s->patch = scan_patch_new(room, (size_t)n);
		take(s, room, (size_t)n);
		rc = search_bytes(s, STDIN_FILENO, UINT64_MAX);
	}
	if ((n == -1 || rc == -1) && !stopped(s))
		unread(s, SCAN_STDIN, strerror(errno));
	end(s);
}

/* What was named is looked at through symbolic links, and a FIFO is read. */
static void
search_named(struct scan *s, const char *word, const struct stat *st)
{
	static struct way w;
	int fd;

	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISFIFO(st->st_mode)) {
		unread(s, word, "a device or a socket is not read");
		return;
	}
	if ((fd = open(word, O_RDONLY | O_NOCTTY | O_CLOEXEC)) == -1) {
		if (!stopped(s))
			unread(s, word, strerror(errno));
	} else if (!S_ISDIR(st->st_mode)) {
		search_file(s, word, fd, st);
	} else if (strlen(word) < sizeof(w.text)) {
		w.len = strlen(word);
		memcpy(w.text, word, w.len + 1);
		search_dir(s, &w, fd, (dev_t)-1, 0);
	} else {
		close(fd);
	}
}

void
scan_files(struct scan *s, const char *word)
{
	struct stat st;

	if (strcmp(word, SCAN_STDIN) == 0)
		search_stdin(s);
	else if (stat(word, &st) == -1)
		unread(s, word, strerror(errno));
	else
		search_named(s, word, &st);
}
