/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor's pid file, and the lock on it.
 *
 * The lock (F_OFD_SETLK) says who owns the run directory; the number in the file is for people and
 * scripts. It is released by the kernel however the process ends, so that a stale file never
 * hinders a start.  Nobody else may open the file (0600): who can read one that a killed supervisor
 * left could lock it for reading, and no other would ever start.
 *
 * Run as root, the file lies in a directory of the service user: it is opened without following
 * links, and must be a regular file with one name, before a byte of it is changed.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikeyd/pidfile.h"
#include "base/span.h"
#include "config/config.h"

/* The pid in the file, 0 when there is none. */
static unsigned
read_pid(int fd)
{
	char text[24];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	unsigned long long pid;
	struct span s;

	if (n <= 0)
		return 0;
	s = (struct span){text, (size_t)n};
	if (s.p[s.len - 1] == '\n')
		s.len--;
	return span_u64(s, INT32_MAX, &pid) == 0 ? (unsigned)pid : 0;
}

/* 1 locked and still the file of that name; 0 try again: the last owner removed it meanwhile; -1.
 */
static int
lock(struct pidfile *F, const char *run_dir, struct err *e)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st, now;

	F->fd = open(F->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (F->fd == -1)
		return err_sys(e,
		    errno == EACCES ? "%s: run this as root or as the service user"
				    : "%s cannot be the pid file; remove it",
		    F->path);
	if (fstat(F->fd, &st) == -1)
		return err_sys(e, "%s", F->path);
	if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
		return err_set(e, ERR_DENIED, "%s is not an ordinary file; remove it", F->path);
	if (fcntl(F->fd, F_OFD_SETLK, &fl) == -1) {
		if (errno != EAGAIN && errno != EACCES)
			return err_sys(e, "%s: cannot lock it", F->path);
		return err_set(e, ERR_BUSY,
		    "another apikeyd (pid %u) runs in %s; stop it first, or give this one another "
		    "run_dir and state_dir",
		    read_pid(F->fd), run_dir);
	}
	if (lstat(F->path, &now) == -1 || now.st_ino != st.st_ino || now.st_dev != st.st_dev) {
		(void)close(F->fd);
		F->fd = -1;
		return 0;
	}
	return 1;
}

int
pidfile_open(struct pidfile *F, const char *run_dir, struct err *e)
{
	char text[24];
	int n, got;

	memset(F, 0, sizeof(*F));
	F->fd = -1;
	n = snprintf(F->path, sizeof(F->path), "%s/" CONFIG_PID_FILE, run_dir);
	if (n < 0 || (size_t)n >= sizeof(F->path))
		return err_set(e, ERR_INPUT, "run_dir is too long");
	while ((got = lock(F, run_dir, e)) == 0)
		;
	if (got == -1)
		goto fail;
	F->orphaned = read_pid(F->fd) != 0;
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (fchmod(F->fd, 0600) == -1 || ftruncate(F->fd, 0) == -1 ||
	    pwrite(F->fd, text, (size_t)n, 0) != n) {
		(void)err_sys(e, "%s", F->path);
		goto fail;
	}
	return 0;
fail:
	if (F->fd != -1)
		(void)close(F->fd);
	F->fd = -1;
	return -1;
}

void
pidfile_close(struct pidfile *F)
{
	if (F->fd == -1)
		return;
	/* Unlinked before it is unlocked: whoever locks it next sees that it is gone. */
	(void)unlink(F->path);
	(void)close(F->fd);
	F->fd = -1;
}
