/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A clock that a test sets, for the real programs: with LD_PRELOAD, clock_gettime tells the
 * kernel's time plus the offsets in the file that CLOCK_SHIM names, at once when they change, and
 * the boot's id is the one in there.  CLOCK_MONOTONIC, by which the programs wait, is left alone.
 *
 * The file: i64 microseconds for CLOCK_REALTIME, i64 for CLOCK_BOOTTIME, 36 bytes of boot id.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36

struct shim {
	volatile int64_t wall_us, boot_us;
	char boot_id[BOOT_ID_LEN];
};

static struct shim *shim;

__attribute__((constructor)) static void
attach(void)
{
	const char *path = getenv("CLOCK_SHIM");
	int fd = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	shim = mmap(NULL, sizeof(*shim), PROT_READ, MAP_SHARED, fd, 0);
	if (shim == MAP_FAILED)
		abort(); /* a test that believes in a clock that is not there */
	close(fd);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t us;
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (rc != 0 || shim == NULL || (id != CLOCK_REALTIME && id != CLOCK_BOOTTIME))
		return rc;
	us = (int64_t)ts->tv_sec * 1000000 + ts->tv_nsec / 1000;
	us += id == CLOCK_REALTIME ? shim->wall_us : shim->boot_us;
	ts->tv_sec = us / 1000000;
	ts->tv_nsec = us % 1000000 * 1000;
	return 0;
}

/* The kernel's file, or one that has the shim's id. */
static int
open_shimmed(const char *path, int flags, mode_t mode)
{
	int fds[2];

	if (shim == NULL || strcmp(path, BOOT_ID) != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	/* A pipe: the keeper's sandbox kills who makes files of memory. */
	if (pipe2(fds, O_CLOEXEC) != 0 ||
	    write(fds[1], shim->boot_id, BOOT_ID_LEN) != BOOT_ID_LEN || close(fds[1]) != 0)
		abort();
	return fds[0];
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		va_list more;                                                                      \
                                                                                                   \
		va_start(more, flags);                                                             \
		if ((flags & (O_CREAT | __O_TMPFILE)) != 0)                                        \
			mode = va_arg(more, mode_t);                                               \
		va_end(more);                                                                      \
		return open_shimmed(path, flags, mode);                                            \
	}
OPEN(open)
OPEN(open64)
