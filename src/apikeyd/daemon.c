/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Becoming a daemon (the supervisor without -f).
 *
 * The process that was started waits on a pipe until the service really serves, and exits 0 only
 * then: a start script that goes on is right to do so.  Until then the daemon keeps the caller's
 * stderr, so that an error of the start is read by whoever started it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/daemon.h"
#include "base/log.h"

int
daemon_keep_std_fds(struct err *e)
{
	int fd;

	do {
		if ((fd = open("/dev/null", O_RDWR)) == -1)
			return err_sys(e, "/dev/null");
	} while (fd <= STDERR_FILENO);
	(void)close(fd);
	return 0;
}

void
daemon_close_inherited(int keep)
{
	unsigned first = STDERR_FILENO + 1;

	if (keep >= (int)first) {
		if (keep > (int)first)
			(void)close_range(first, (unsigned)keep - 1, 0);
		first = (unsigned)keep + 1;
	}
	(void)close_range(first, ~0U, 0);
}

/* The process that was started: what the daemon says is how we end. */
static void __attribute__((noreturn)) wait_for(int fd)
{
	unsigned char code;
	ssize_t n;

	while ((n = read(fd, &code, 1)) == -1 && errno == EINTR)
		;
	if (n != 1) {
		(void)fprintf(
		    stderr, "apikeyd: the daemon died while it was starting; see the system log\n");
		code = 1;
	}
	_exit(code);
}

int
daemon_fork(int *fd, struct err *e)
{
	int fds[2];
	pid_t pid;

	*fd = -1;
	if (pipe2(fds, O_CLOEXEC) == -1)
		return err_sys(e, "pipe");
	if ((pid = fork()) == -1)
		goto fail;
	if (pid > 0) {
		(void)close(fds[1]);
		(void)waitpid(pid, NULL, 0);
		wait_for(fds[0]);
	}
	(void)close(fds[0]);
	/* A second fork: no leader of a session, which could get a terminal by opening one. */
	if (setsid() == -1 || (pid = fork()) == -1)
		_exit(1);
	if (pid > 0)
		_exit(0);
	*fd = fds[1];
	return chdir("/") == -1 ? err_sys(e, "/") : 0;
fail:
	(void)err_sys(e, "fork");
	(void)close(fds[0]);
	(void)close(fds[1]);
	return -1;
}

void
daemon_started(int *fd, int exit_code)
{
	unsigned char code = (unsigned char)exit_code;
	int null;

	if (*fd == -1)
		return;
	if (exit_code == 0 && (null = open("/dev/null", O_RDWR | O_CLOEXEC)) != -1) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
		(void)close(null);
	}
	/* Nobody may be waiting any more; then nobody misses it. */
	if (write(*fd, &code, 1) == -1)
		log_event(LOG_LVL_DEBUG, "starter_gone", NULL);
	(void)close(*fd);
	*fd = -1;
}
