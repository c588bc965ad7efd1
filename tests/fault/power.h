/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_FAULT_POWER_H_
#define TESTS_FAULT_POWER_H_

/*
 * A disk that forgets.  The program that includes this has its own open, write, pwrite, ftruncate,
 * rename, unlink, fsync and fdatasync in front of the C library's: they do what they should, and
 * write down in memory that is shared with the parent what was done to the files of one directory.
 * From that the directory is made anew as a power cut at any moment may leave it:
 *
 *  - what was written before the last sync of its file that had returned is there;
 *  - of what came later, each block (of the size that is asked for) is there or not, by a die: also
 *    later ones without earlier ones;
 *  - names that came, went or changed since the last sync of the directory did so up to a point.
 *
 * Stricter than ext4 or xfs, where a file's sync takes its name along.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum power_kind {
	POWER_WRITE,
	POWER_CUT,
	POWER_SYNC,
	POWER_NAME,
	POWER_GONE,
	POWER_MOVE,
	POWER_DIRSYNC,
	POWER_NOTE
};

struct power_event {
	enum power_kind kind;
	uint32_t file;	  /* WRITE, CUT, SYNC, NAME */
	uint32_t begun;	  /* SYNC, DIRSYNC: how many events there were when it began */
	uint64_t at, len; /* WRITE: where; CUT: len; NOTE: two numbers of the test's */
	size_t bytes;	  /* WRITE: in data */
	char name[32], to[32];
};

#define POWER_EVENTS 400000
#define POWER_DATA (UINT64_C(1) << 29)
#define POWER_FILES 4096

struct power {
	pthread_mutex_t mutex;
	int on;
	char dir[300];
	size_t dir_len;
	dev_t dev;
	ino_t dir_ino;
	uint32_t nevents, nfiles;
	size_t ndata;
	ino_t inos[POWER_FILES];
	struct power_event events[POWER_EVENTS];
	uint8_t data[POWER_DATA];
};

static struct power *power; /* shared by parent and child; pages that are not used cost nothing */

static inline void
power_make(void)
{
	pthread_mutexattr_t attr;

	power = mmap(NULL, sizeof(*power), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(power != MAP_FAILED);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&power->mutex, &attr);
}

/* From now on, for an existing, empty directory. */
static inline void
power_begin(const char *dir)
{
	struct stat st;
	char *real;

	assert_int_equal(stat(dir, &st), 0);
	assert_non_null(real = realpath(dir, NULL));
	power->dir_len = strlen(real);
	assert_true(power->dir_len < sizeof(power->dir));
	memcpy(power->dir, real, power->dir_len + 1);
	free(real);
	power->dev = st.st_dev;
	power->dir_ino = st.st_ino;
	power->nevents = power->nfiles = 0;
	power->ndata = 0;
	power->on = 1;
}

/* The next event, with the mutex held; full memory ends the test. */
static inline struct power_event *
power_event(enum power_kind kind)
{
	struct power_event *ev = &power->events[power->nevents];

	if (power->nevents == POWER_EVENTS - 1)
		_exit(99);
	memset(ev, 0, sizeof(*ev));
	ev->kind = kind;
	power->nevents++;
	return ev;
}

/* The newest file with that inode: 1 and its number, 0 not one of ours. */
static inline int
power_file(int fd, uint32_t *file)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_dev != power->dev)
		return 0;
	for (*file = power->nfiles; (*file)-- > 0;)
		if (power->inos[*file] == st.st_ino)
			return 1;
	return 0;
}

static inline const char *
power_name(int at, const char *path)
{
	struct stat st;

	if (!power->on)
		return NULL;
	if (path[0] != '/' && at != AT_FDCWD)
		return fstat(at, &st) == 0 && st.st_ino == power->dir_ino &&
			       st.st_dev == power->dev && path[0] != '.'
			   ? path
			   : NULL;
	if (strncmp(path, power->dir, power->dir_len) != 0 || path[power->dir_len] != '/' ||
	    path[power->dir_len + 1] == '.' || strlen(path + power->dir_len + 1) >= 32)
		return NULL;
	return path + power->dir_len + 1;
}

static inline void
power_note(uint64_t a, uint64_t b)
{
	struct power_event *ev;

	pthread_mutex_lock(&power->mutex);
	ev = power_event(POWER_NOTE);
	ev->at = a;
	ev->len = b;
	pthread_mutex_unlock(&power->mutex);
}

/* ---- in front of the C library ---- */

static int
power_open(int at, const char *path, int flags, mode_t mode)
{
	const char *name = power == NULL ? NULL : power_name(at, path);
	struct power_event *ev;
	struct stat st;
	int fd, made;

	if (name == NULL || (flags & O_CREAT) == 0)
		return (int)syscall(SYS_openat, at, path, flags, mode);
	pthread_mutex_lock(&power->mutex);
	made = fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
	fd = (int)syscall(SYS_openat, at, path, flags, mode);
	if (fd >= 0 && made && fstat(fd, &st) == 0) {
		if (power->nfiles == POWER_FILES)
			_exit(98);
		power->inos[power->nfiles] = st.st_ino;
		ev = power_event(POWER_NAME);
		ev->file = power->nfiles++;
		memcpy(ev->name, name, strlen(name) + 1);
	}
	pthread_mutex_unlock(&power->mutex);
	return fd;
}

#define POWER_MODE                                                                                 \
	mode_t mode = 0;                                                                           \
	va_list more;                                                                              \
	va_start(more, flags);                                                                     \
	if ((flags & (O_CREAT | __O_TMPFILE)) != 0)                                                \
		mode = va_arg(more, mode_t);                                                       \
	va_end(more)

int
open(const char *path, int flags, ...)
{
	POWER_MODE;
	return power_open(AT_FDCWD, path, flags, mode);
}

int
openat(int at, const char *path, int flags, ...)
{
	POWER_MODE;
	return power_open(at, path, flags, mode);
}

static ssize_t
power_write(int fd, const void *p, size_t n, off_t at)
{
	struct power_event *ev;
	uint32_t file;
	ssize_t done;

	if (power == NULL || !power->on)
		return at < 0 ? syscall(SYS_write, fd, p, n) : syscall(SYS_pwrite64, fd, p, n, at);
	pthread_mutex_lock(&power->mutex);
	if (at < 0) {
		at = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
		done = syscall(SYS_write, fd, p, n);
	} else {
		done = syscall(SYS_pwrite64, fd, p, n, at);
	}
	if (done > 0 && at >= 0 && power_file(fd, &file)) {
		if (power->ndata + (size_t)done > POWER_DATA)
			_exit(97);
		ev = power_event(POWER_WRITE);
		ev->file = file;
		ev->at = (uint64_t)at;
		ev->len = (uint64_t)done;
		ev->bytes = power->ndata;
		memcpy(power->data + power->ndata, p, (size_t)done);
		power->ndata += (size_t)done;
	}
	pthread_mutex_unlock(&power->mutex);
	return done;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	return power_write(fd, p, n, -1);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return power_write(fd, p, n, at);
}

int
ftruncate(int fd, off_t len)
{
	struct power_event *ev;
	uint32_t file;
	int rc;

	if (power == NULL || !power->on)
		return (int)syscall(SYS_ftruncate, fd, len);
	pthread_mutex_lock(&power->mutex);
	rc = (int)syscall(SYS_ftruncate, fd, len);
	if (rc == 0 && power_file(fd, &file)) {
		ev = power_event(POWER_CUT);
		ev->file = file;
		ev->len = (uint64_t)len;
	}
	pthread_mutex_unlock(&power->mutex);
	return rc;
}

/* What counts is what was written before it began, once it has returned.  The disk itself is not
 * waited for. */
static int
power_sync(int fd)
{
	struct power_event *ev;
	uint32_t file;
	struct stat st;

	if (power == NULL || !power->on)
		return 0;
	pthread_mutex_lock(&power->mutex);
	if (fstat(fd, &st) == 0 && st.st_ino == power->dir_ino && st.st_dev == power->dev) {
		uint32_t begun = power->nevents;

		power_event(POWER_DIRSYNC)->begun = begun;
	} else if (power_file(fd, &file)) {
		uint32_t begun = power->nevents;

		ev = power_event(POWER_SYNC);
		ev->file = file;
		ev->begun = begun;
	}
	pthread_mutex_unlock(&power->mutex);
	return 0;
}

int
fdatasync(int fd)
{
	return power_sync(fd);
}

int
fsync(int fd)
{
	return power_sync(fd);
}

int
rename(const char *from, const char *to)
{
	const char *a = power == NULL ? NULL : power_name(AT_FDCWD, from);
	const char *b = power == NULL ? NULL : power_name(AT_FDCWD, to);
	struct power_event *ev;
	int rc;

	if (a == NULL || b == NULL)
		return (int)syscall(SYS_rename, from, to);
	pthread_mutex_lock(&power->mutex);
	if ((rc = (int)syscall(SYS_rename, from, to)) == 0) {
		ev = power_event(POWER_MOVE);
		memcpy(ev->name, a, strlen(a) + 1);
		memcpy(ev->to, b, strlen(b) + 1);
	}
	pthread_mutex_unlock(&power->mutex);
	return rc;
}

int
unlink(const char *path)
{
	const char *name = power == NULL ? NULL : power_name(AT_FDCWD, path);
	int rc;

	if (name == NULL)
		return (int)syscall(SYS_unlink, path);
	pthread_mutex_lock(&power->mutex);
	if ((rc = (int)syscall(SYS_unlink, path)) == 0)
		memcpy(power_event(POWER_GONE)->name, name, strlen(name) + 1);
	pthread_mutex_unlock(&power->mutex);
	return rc;
}

/* ---- the directory after a power cut ---- */

struct power_cut {
	uint32_t at;	/* so many events had happened */
	uint32_t block; /* bytes that are there or not as one */
	uint32_t keep;	/* of 100 blocks that were not synced */
	uint32_t (*dice)(uint32_t below);
};

static inline void
power_put(int fd, const struct power_event *ev, const struct power_cut *cut, int sure)
{
	uint64_t from = ev->at, end = ev->at + ev->len;
	struct stat st;
	int some = 0;

	while (from < end) {
		uint64_t to = (from / cut->block + 1) * cut->block;

		if (to > end)
			to = end;
		if (sure || cut->dice(100) < cut->keep) {
			some = 1;
			assert_int_equal(
			    syscall(SYS_pwrite64, fd, power->data + ev->bytes + (from - ev->at),
				to - from, from),
			    to - from);
		}
		from = to;
	}
	/* A file's length changes by whole writes. */
	if (some && fstat(fd, &st) == 0 && (uint64_t)st.st_size < end)
		assert_int_equal(syscall(SYS_ftruncate, fd, end), 0);
}

static inline void
power_rebuild_file(const char *path, uint32_t file, const struct power_cut *cut)
{
	uint32_t synced = 0;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	for (uint32_t i = 0; i < cut->at; i++)
		if (power->events[i].kind == POWER_SYNC && power->events[i].file == file)
			synced = power->events[i].begun;
	for (uint32_t i = 0; i < cut->at; i++) {
		const struct power_event *ev = &power->events[i];

		if (ev->file != file)
			continue;
		if (ev->kind == POWER_WRITE)
			power_put(fd, ev, cut, i < synced);
		else if (ev->kind == POWER_CUT && (i < synced || cut->dice(100) < cut->keep))
			assert_int_equal(syscall(SYS_ftruncate, fd, ev->len), 0);
	}
	close(fd);
}

/* Into ${dir}, which is empty. */
static inline void
power_rebuild(const char *dir, const struct power_cut *cut)
{
	static struct {
		char name[32];
		uint32_t file;
	} names[POWER_FILES];
	uint32_t synced = 0, unsynced = 0, upto, n = 0, j;
	char path[400];

	for (uint32_t i = 0; i < cut->at; i++)
		if (power->events[i].kind == POWER_DIRSYNC)
			synced = power->events[i].begun;
	for (uint32_t i = synced; i < cut->at; i++)
		unsynced +=
		    power->events[i].kind >= POWER_NAME && power->events[i].kind <= POWER_MOVE;
	upto = cut->dice(unsynced + 1);
	for (uint32_t i = 0; i < cut->at; i++) {
		const struct power_event *ev = &power->events[i];

		if (ev->kind < POWER_NAME || ev->kind > POWER_MOVE)
			continue;
		if (i >= synced && upto-- == 0)
			break;
		if (ev->kind == POWER_NAME) {
			memcpy(names[n].name, ev->name, sizeof(ev->name));
			names[n++].file = ev->file;
			continue;
		}
		if (ev->kind == POWER_MOVE)
			for (j = 0; j < n; j++)
				if (strcmp(names[j].name, ev->to) == 0)
					names[j] = names[--n];
		for (j = 0; j < n; j++) {
			if (strcmp(names[j].name, ev->name) != 0)
				continue;
			if (ev->kind == POWER_MOVE)
				memcpy(names[j].name, ev->to, sizeof(ev->to));
			else
				names[j] = names[--n];
			break;
		}
	}
	for (j = 0; j < n; j++) {
		assert_true(snprintf(path, sizeof(path), "%s/%s", dir, names[j].name) > 0);
		power_rebuild_file(path, names[j].file, cut);
	}
}

#endif /* !TESTS_FAULT_POWER_H_ */
