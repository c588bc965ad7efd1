/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How workers come to share a table: any of them may be the first (a supervisor, systemd,
 * spawn-fcgi and mod_fcgid start them in any order, several at once), and any may be killed while
 * it makes the file.
 *
 * Runs in a worker, at its start only; afterwards there is the mapping and no descriptor.  It knows
 * nothing of what is in the entries.
 *
 * A file is looked at, made and replaced by who holds a flock on it, which the kernel takes back
 * from a killed process; the header's magic is written last, so that a half-made file is a wrong
 * one. A wrong file is never changed, because others may have it mapped: it is unlinked and a new
 * one made.  Its blocks are allocated at once: a full tmpfs would otherwise end a worker with
 * SIGBUS.
 *
 * Invariants: the file is ours, mode 0600, a regular file and no link; nobody waits longer than
 * WAIT_US for it.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gate/clients_file.h"

#include "base/clock.h"
#include "base/random.h"

#define MAGIC "apikeyd clients\n"
#define FILE_VERSION 1
#define HEADER_BYTES 4096 /* entries begin on a page */
#define WAIT_US CLOCK_SECOND
#define WAIT_STEP_MS 5
#define TRIES 16 /* times that somebody else replaced the file meanwhile */
#define FILE_PATH_MAX 256

struct header {
	char magic[16];
	uint32_t version, zero;
	uint64_t bytes;
	char boot[40];
	struct clients_seed seed;
};

static int
fill(struct header *h, size_t bytes, struct err *e)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, MAGIC, sizeof(h->magic));
	h->version = FILE_VERSION;
	h->bytes = bytes;
	clock_boot_id(h->boot);
	h->seed.epoch_us = clock_boot_us();
	return random_bytes(h->seed.key, sizeof(h->seed.key), e);
}

/* Nobody else may have opened it, and it was made whole, in this boot, by this version. */
static int
is_right(int fd, const struct stat *st, size_t bytes, struct clients_seed *seed)
{
	struct header h, want = {.version = FILE_VERSION, .bytes = bytes};

	if (st->st_uid != geteuid() || (st->st_mode & 07777) != 0600 || st->st_nlink != 1 ||
	    st->st_size != (off_t)(HEADER_BYTES + bytes) ||
	    pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return 0;
	clock_boot_id(want.boot);
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0 || h.version != want.version ||
	    h.zero != 0 || h.bytes != want.bytes ||
	    memcmp(h.boot, want.boot, sizeof(h.boot)) != 0 || h.seed.epoch_us < 0 ||
	    h.seed.epoch_us > clock_boot_us())
		return 0;
	*seed = h.seed;
	return 1;
}

static int
make(int fd, size_t bytes, struct clients_seed *seed, struct err *e)
{
	const size_t magic = sizeof(((struct header *)0)->magic);
	struct header h;

	if (fill(&h, bytes, e) == -1)
		return -1;
	if ((errno = posix_fallocate(fd, 0, (off_t)(HEADER_BYTES + bytes))) != 0 ||
	    fchmod(fd, 0600) == -1 ||
	    pwrite(fd, (char *)&h + magic, sizeof(h) - magic, (off_t)magic) !=
		(ssize_t)(sizeof(h) - magic) ||
	    pwrite(fd, &h, magic, 0) != (ssize_t)magic)
		return err_sys(e, "cannot write");
	*seed = h.seed;
	return 0;
}

static int
lock(int fd, struct err *e)
{
	int64_t until_us = clock_mono_us() + WAIT_US;

	while (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(e, "cannot lock");
		if (clock_mono_us() >= until_us)
			return err_set(e, ERR_BUSY, "another process holds its lock");
		(void)poll(NULL, 0, WAIT_STEP_MS);
	}
	return 0;
}

/*
 * Under the lock: 1 and the seed when the file is right, or was empty and has been made; 0 when it
 * is to be opened again, because it was wrong and is unlinked now, or somebody else has done that.
 */
static int
settle(int fd, const char *path, size_t bytes, struct clients_seed *seed, struct err *e)
{
	struct stat st, there;

	if (fstat(fd, &st) == -1)
		return err_sys(e, "cannot look at it");
	if (lstat(path, &there) == -1 || there.st_ino != st.st_ino || there.st_dev != st.st_dev)
		return 0;
	if (is_right(fd, &st, bytes, seed))
		return 1;
	if (S_ISREG(st.st_mode) && st.st_size == 0 && st.st_uid == geteuid() && st.st_nlink == 1) {
		if (make(fd, bytes, seed, e) == 0)
			return 1;
		(void)unlink(path);
		return -1;
	}
	return unlink(path) == 0 || errno == ENOENT ? 0 : err_sys(e, "cannot replace it");
}

/* Open, or get out of the way what cannot be: 1 a descriptor, 0 try again, -1. */
static int
open_file(const char *path, int *fd, struct err *e)
{
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (*fd != -1)
		return 1;
	if ((errno == EACCES || errno == ELOOP || errno == ENXIO) && unlink(path) == 0)
		return 0;
	return err_sys(e, "cannot open it");
}

int
clients_file_map(
    const char *run_dir, size_t bytes, void **entries, struct clients_seed *seed, struct err *e)
{
	char path[FILE_PATH_MAX];
	void *map = MAP_FAILED;
	int fd, tries, rc = 0, n = snprintf(path, sizeof(path), "%s/" CLIENTS_FILE, run_dir);

	*entries = NULL;
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INPUT, "run_dir is too long");
	for (tries = 0; rc == 0 && tries < TRIES; tries++) {
		if ((rc = open_file(path, &fd, e)) != 1)
			continue;
		if ((rc = lock(fd, e)) == 0)
			rc = settle(fd, path, bytes, seed, e);
		if (rc == 1) {
			map =
			    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, HEADER_BYTES);
			if (map == MAP_FAILED)
				rc = err_sys(e, "cannot map it");
		}
		/* The mapping keeps the open file, and with it the lock, beyond close(). */
		(void)flock(fd, LOCK_UN);
		(void)close(fd);
	}
	if (rc == 0)
		rc = err_set(e, ERR_CONFLICT, "others keep replacing it");
	if (rc == -1)
		return err_wrap(e, "%s", path);
	*entries = map;
	return 0;
}

int
clients_file_private(size_t bytes, void **entries, struct clients_seed *seed, struct err *e)
{
	struct header h;
	void *map;

	*entries = NULL;
	if (fill(&h, bytes, e) == -1)
		return -1;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "no memory for failed attempts");
	*seed = h.seed;
	*entries = map;
	return 0;
}
