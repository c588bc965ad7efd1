/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The N-th allocation or system call of a process fails, for the real programs: with LD_PRELOAD,
 * what the file that TORTURE_SHIM names says, at once when that changes.  Calls are counted as they
 * leave a program or one of its libraries; those that libc makes for itself are not seen.
 *
 * A fault comes once.  It makes no call of its own, so that no sandbox has an opinion on it; only
 * close() does its work as well, as the kernel's does.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { KIND_NONE, KIND_ALLOCATION, KIND_CALL };

/* What the test writes first; what it reads last. */
struct shim {
	char role[16];		    /* who: the first word behind the program's name */
	_Atomic int32_t kind;	    /* enum kind; KIND_NONE: nothing fails */
	int32_t how;		    /* which of a call's two errors */
	int64_t at;		    /* which call, from 1; 0: they are counted only */
	_Atomic int64_t seen;	    /* calls since the test cleared it */
	_Atomic int32_t failed;	    /* calls that have failed */
	char name[20];		    /* which one it was */
	volatile uintptr_t address; /* where in the program or library that is named below */
	char object[64];
};

static struct shim *shim;

static char role[sizeof(((struct shim *)0)->role)];

__attribute__((constructor)) static void
attach(int argc, char **argv)
{
	const char *path = getenv("TORTURE_SHIM");
	int fd = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	struct shim *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort(); /* a test that believes in faults that do not come */
	syscall(SYS_close, fd);
	if (argc > 1)
		strncpy(role, argv[1], sizeof(role) - 1);
	shim = map;
}

static void
note(const char *name, const void *caller)
{
	const char *file;
	Dl_info info;
	size_t len;

	strncpy(shim->name, name, sizeof(shim->name) - 1);
	if (dladdr(caller, &info) == 0 || info.dli_fname == NULL)
		return;
	file = strrchr(info.dli_fname, '/') != NULL ? strrchr(info.dli_fname, '/') + 1
						    : info.dli_fname;
	len = strlen(file) < sizeof(shim->object) ? strlen(file) : sizeof(shim->object) - 1;
	memcpy(shim->object, file, len);
	shim->address = (uintptr_t)caller - (uintptr_t)info.dli_fbase;
}

static int
fails(enum kind kind, const char *name, const void *caller)
{
	if (shim == NULL || shim->kind != (int32_t)kind || strcmp(shim->role, role) != 0 ||
	    ++shim->seen != shim->at)
		return 0;
	note(name, caller);
	shim->failed++;
	return 1;
}

#define CALLER __builtin_return_address(0)

/* ---- memory ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static void *
none(void)
{
	errno = ENOMEM;
	return NULL;
}

void *
malloc(size_t n)
{
	return fails(KIND_ALLOCATION, "malloc", CALLER) ? none() : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return fails(KIND_ALLOCATION, "calloc", CALLER) ? none() : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return fails(KIND_ALLOCATION, "realloc", CALLER) ? none() : __libc_realloc(p, n);
}

/* ---- system calls ---- */

static int
call_fails(const char *name, const void *caller, int first, int second)
{
	int saved = errno;

	if (!fails(KIND_CALL, name, caller)) {
		errno = saved;
		return 0;
	}
	errno = shim->how == 0 ? first : second;
	return 1;
}

/* libc's own, or that of a shim behind this one. */
static void *
next(void **known, const char *name)
{
	if (*known == NULL && (*known = dlsym(RTLD_NEXT, name)) == NULL)
		abort();
	return *known;
}

#define CALL(type, name, params, args, first, second)                                              \
	type name params                                                                           \
	{                                                                                          \
		static void *known;                                                                \
                                                                                                   \
		if (call_fails(#name, CALLER, first, second))                                      \
			return -1;                                                                 \
		return ((type(*) params)next(&known, #name))args;                                  \
	}

CALL(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), EIO, EINTR)
CALL(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), ENOSPC, EINTR)
CALL(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), EIO, EINTR)
CALL(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), ENOSPC, EINTR)
CALL(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), EIO, EINTR)
CALL(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), EIO, ENOSPC)
CALL(int, fsync, (int fd), (fd), EIO, ENOSPC)
CALL(int, fdatasync, (int fd), (fd), EIO, ENOSPC)
CALL(off_t, lseek, (int fd, off_t at, int from), (fd, at, from), EIO, EINVAL)
CALL(int, ftruncate, (int fd, off_t n), (fd, n), EIO, ENOSPC)
CALL(int, unlink, (const char *path), (path), EIO, EACCES)
CALL(int, rename, (const char *from, const char *to), (from, to), EIO, ENOSPC)
CALL(int, stat, (const char *path, struct stat *st), (path, st), ENOMEM, EIO)
CALL(int, lstat, (const char *path, struct stat *st), (path, st), ENOMEM, EIO)
CALL(int, fstat, (int fd, struct stat *st), (fd, st), ENOMEM, EIO)
CALL(int, fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags),
    ENOMEM, EIO)
CALL(int, statvfs, (const char *path, struct statvfs *st), (path, st), EIO, ENOMEM)
CALL(int, fstatvfs, (int fd, struct statvfs *st), (fd, st), EIO, EINTR)
CALL(int, munmap, (void *p, size_t n), (p, n), ENOMEM, EINVAL)
CALL(int, mlock, (const void *p, size_t n), (p, n), ENOMEM, EAGAIN)
CALL(ssize_t, getrandom, (void *p, size_t n, unsigned flags), (p, n, flags), ENOSYS, EINTR)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, ENOBUFS)
CALL(int, connect, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n), ECONNREFUSED,
    EAGAIN)
CALL(int, accept4, (int fd, struct sockaddr *from, socklen_t *n, int flags), (fd, from, n, flags),
    EMFILE, ECONNABORTED)
CALL(int, shutdown, (int fd, int how), (fd, how), ENOTCONN, ENOTCONN)
CALL(int, getpeername, (int fd, struct sockaddr *peer, socklen_t *n), (fd, peer, n), ENOTCONN,
    ENOBUFS)
CALL(int, getsockname, (int fd, struct sockaddr *self, socklen_t *n), (fd, self, n), ENOBUFS,
    ENOBUFS)
CALL(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *n),
    (fd, level, name, value, n), ENOBUFS, ENOMEM)
CALL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n),
    (fd, level, name, value, n), ENOBUFS, ENOMEM)
CALL(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), ECONNRESET, EINTR)
CALL(ssize_t, recvfrom,
    (int fd, void *p, size_t n, int flags, struct sockaddr *from, socklen_t *len),
    (fd, p, n, flags, from, len), ECONNRESET, EINTR)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), ECONNRESET, ENOMEM)
CALL(int, recvmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *wait),
    (fd, m, n, flags, wait), ECONNRESET, EINTR)
CALL(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), EPIPE, ENOBUFS)
CALL(ssize_t, sendto,
    (int fd, const void *p, size_t n, int flags, const struct sockaddr *to, socklen_t len),
    (fd, p, n, flags, to, len), EPIPE, ENOBUFS)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), EPIPE, ENOBUFS)
CALL(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags), EPIPE,
    ENOBUFS)
CALL(int, poll, (struct pollfd * p, nfds_t n, int wait), (p, n, wait), EINTR, ENOMEM)
CALL(int, select, (int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *wait),
    (n, r, w, x, wait), EINTR, ENOMEM)
CALL(int, epoll_create1, (int flags), (flags), EMFILE, ENOMEM)
CALL(int, epoll_ctl, (int fd, int op, int of, struct epoll_event *ev), (fd, op, of, ev), ENOMEM,
    ENOSPC)
CALL(int, epoll_wait, (int fd, struct epoll_event *ev, int n, int wait), (fd, ev, n, wait), EINTR,
    EINTR)

/* Whatever it says, the descriptor is gone. */
int
close(int fd)
{
	int rc = (int)syscall(SYS_close, fd);

	return call_fails("close", CALLER, EIO, EINTR) ? -1 : rc;
}

void *
mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	static void *known;

	if (call_fails("mmap", CALLER, ENOMEM, EAGAIN))
		return MAP_FAILED;
	return ((void *(*)(void *, size_t, int, int, int, off_t))next(&known, "mmap"))(
	    at, n, prot, flags, fd, offset);
}

static mode_t
mode_of(int flags, va_list more)
{
	return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		static void *known;                                                                \
		va_list more;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(more, flags);                                                             \
		mode = mode_of(flags, more);                                                       \
		va_end(more);                                                                      \
		if (call_fails(#name, CALLER, EMFILE, EACCES))                                     \
			return -1;                                                                 \
		return ((int (*)(const char *, int, ...))next(&known, #name))(path, flags, mode);  \
	}
OPEN(open)
OPEN(open64)

int
openat(int dir, const char *path, int flags, ...)
{
	static void *known;
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = mode_of(flags, more);
	va_end(more);
	if (call_fails("openat", CALLER, EMFILE, EACCES))
		return -1;
	return ((int (*)(int, const char *, int, ...))next(&known, "openat"))(
	    dir, path, flags, mode);
}
