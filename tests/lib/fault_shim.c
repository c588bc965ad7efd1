/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A disk that a test breaks, for the real programs: with LD_PRELOAD, what is done to files below
 * the directory FAULT_DIR fails as the file that FAULT_SHIM names says, at once when that changes.
 *
 * The file: for each kind of call (open, read, write, sync) an i32 errno (0: it works) and an i32
 * how many calls have failed so; then 24 bytes: only files whose name contains that text.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault { FAULT_OPEN, FAULT_READ, FAULT_WRITE, FAULT_SYNC, FAULTS };

struct shim {
	struct {
		volatile int32_t why;
		_Atomic int32_t failed;
	} of[FAULTS];
	char name[24];
};

static struct shim *shim;
static char dir[256];

__attribute__((constructor)) static void
attach(void)
{
	const char *path = getenv("FAULT_SHIM"), *below = getenv("FAULT_DIR");
	int fd = path == NULL || below == NULL
		     ? -1
		     : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	shim = mmap(NULL, sizeof(*shim), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	/* A test that believes in faults that do not come. */
	if (shim == MAP_FAILED || strlen(below) >= sizeof(dir))
		abort();
	memcpy(dir, below, strlen(below) + 1);
	close(fd);
}

/* Does this call fail?  Then 1, and errno says why. */
static int
fails(enum fault kind, const char *path)
{
	size_t len = strlen(dir);

	if (strncmp(path, dir, len) != 0 || (path[len] != '/' && path[len] != '\0') ||
	    strstr(path + len, shim->name) == NULL)
		return 0;
	shim->of[kind].failed++;
	errno = shim->of[kind].why;
	return 1;
}

static int
fd_fails(enum fault kind, int fd)
{
	char link[32], path[512];
	ssize_t n;

	if (shim == NULL || shim->of[kind].why == 0)
		return 0;
	if (snprintf(link, sizeof(link), "/proc/self/fd/%d", fd) < 0 ||
	    (n = readlink(link, path, sizeof(path) - 1)) < 0)
		return 0;
	path[n] = '\0';
	return fails(kind, path);
}

ssize_t
read(int fd, void *p, size_t n)
{
	return fd_fails(FAULT_READ, fd) ? -1 : syscall(SYS_read, fd, p, n);
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	return fd_fails(FAULT_READ, fd) ? -1 : syscall(SYS_pread64, fd, p, n, at);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	return fd_fails(FAULT_WRITE, fd) ? -1 : syscall(SYS_write, fd, p, n);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fd_fails(FAULT_WRITE, fd) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

int
fdatasync(int fd)
{
	return fd_fails(FAULT_SYNC, fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

#define OPEN(function)                                                                             \
	int function(const char *path, int flags, ...)                                             \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		va_list more;                                                                      \
                                                                                                   \
		va_start(more, flags);                                                             \
		if ((flags & (O_CREAT | __O_TMPFILE)) != 0)                                        \
			mode = va_arg(more, mode_t);                                               \
		va_end(more);                                                                      \
		if (shim != NULL && shim->of[FAULT_OPEN].why != 0 && fails(FAULT_OPEN, path))      \
			return -1;                                                                 \
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);                      \
	}
OPEN(open)
OPEN(open64)
