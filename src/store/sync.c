/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What Berkeley DB does to make files durable, done our way.
 *
 * A failing fsync ends the process.  Berkeley DB would retry it up to 100 times, and after a first
 * failure Linux may report success for pages that never reached the disk; only recovery from what
 * is really there is honest then.
 *
 * A new log file's name is made durable together with its first content.  Berkeley DB syncs the
 * content alone: without the name the log is gone after a power cut, and pages of the databases
 * that were written with it on disk are ahead of it.
 *
 * Why a write failed is remembered: recovery only says that it failed, whatever the cause.
 *
 * Runs in whichever thread syncs or opens.  The hooks are Berkeley DB's, hence process-wide, and so
 * is what they share: the directory of a log whose name is not durable yet.
 *
 * Invariant: when a sync has returned, the names of all logs that were made before it are durable.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

static struct {
	pthread_mutex_t mutex;
	int dir_fd; /* -1: all names are durable */
} names = {PTHREAD_MUTEX_INITIALIZER, -1};

static atomic_int full; /* ENOSPC or EDQUOT, once a write has failed so */

static void __attribute__((noreturn)) die(int why)
{
	log_event(LOG_LVL_ERROR, "store_fsync_failed", "error", strerror(why), "mend",
	    "the disk lost writes: see the kernel's log, then start again", NULL);
	_exit(STORE_EXIT_FSYNC);
}

/* With the mutex held. */
static void
sync_names(void)
{
	int rc;

	if (names.dir_fd == -1)
		return;
	do {
		rc = fsync(names.dir_fd);
	} while (rc != 0 && errno == EINTR);
	if (rc != 0)
		die(errno);
	close(names.dir_fd);
	names.dir_fd = -1;
}

int
store_sync(int fd)
{
	int rc;

	/* Who comes second waits: nothing may be written on the strength of a name that is not
	 * durable yet. */
	pthread_mutex_lock(&names.mutex);
	sync_names();
	pthread_mutex_unlock(&names.mutex);
	do {
		rc = fdatasync(fd);
	} while (rc != 0 && errno == EINTR);
	if (rc != 0)
		die(errno);
	return 0;
}

/* The directory of a log that was made: its name waits for the next sync.  0 or -1. */
static int
name_waits(const char *path, const char *name)
{
	char dir[PATH_MAX];
	size_t len = (size_t)(name - path);
	int fd;

	if (len == 0 || len >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(dir, path, len);
	dir[len] = '\0';
	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return -1;
	pthread_mutex_lock(&names.mutex);
	sync_names(); /* an earlier one's */
	names.dir_fd = fd;
	pthread_mutex_unlock(&names.mutex);
	return 0;
}

ssize_t
store_sync_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	ssize_t done = pwrite(fd, buf, n, at);

	if (done == -1 && (errno == ENOSPC || errno == EDQUOT))
		atomic_store(&full, errno);
	return done;
}

int
store_sync_full(void)
{
	return atomic_exchange(&full, 0);
}

int
store_sync_open(const char *path, int flags, ...)
{
	const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
	mode_t mode = 0;
	va_list more;
	int fd, why;

	va_start(more, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(more, mode_t);
	va_end(more);
	fd = open(path, flags | O_CLOEXEC, mode);
	if (fd == -1 || (flags & O_CREAT) == 0 || strncmp(name, "log.", 4) != 0 ||
	    name_waits(path, name) == 0)
		return fd;
	why = errno;
	close(fd);
	errno = why;
	return -1;
}
