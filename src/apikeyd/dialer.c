/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `apikeyd dialer`: what a worker that was started by a web server, spawn-fcgi or systemd cannot do
 * itself, because it has given up sockets and programs: connect to the keeper in its name, start a
 * keeper when nobody listens, and write its lines to syslog.
 *
 * It is the worker's child and has nothing of it but one end of a channel, on which it reads single
 * letters and lines for the log; it never sees a byte of the network.  Under a supervisor there is
 * none of these: the supervisor does the same for its workers (child.c), and the keeper is its own.
 *
 * Invariants: it ends when its worker does; any number of dialers may start a keeper at the same
 * time, and the store's lock lets one of them live.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/dialer.h"
#include "apikeyd/exits.h"
#include "apikeyd/privileges.h"
#include "apikeyd/sandbox.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "wire/dial.h"

#define DIAL_FD 3		       /* of a dialer */
#define START_PAUSE_US INT64_C(500000) /* between two keepers that we start */

/* A terminal's Ctrl-C and a web server's end of all its processes are for the worker, whose end is
 * a dialer's: it may have requests to finish.  What a dialer starts hears them again. */
static void
set_signals(void (*how)(int))
{
	static const int ours[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGPIPE};
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		(void)signal(ours[i], how);
}

/* In a process of its own, with our stderr and ${keep} as DIAL_FD (-1: without), nothing else. */
static void __attribute__((noreturn)) become(const char *const argv[], int keep)
{
	int null = open("/dev/null", O_RDWR), first = STDERR_FILENO + 1;
	sigset_t none;

	/* Out of the way first: it may be where another belongs. */
	if (keep != -1 && (keep = fcntl(keep, F_DUPFD_CLOEXEC, DIAL_FD + 1)) == -1)
		_exit(1);
	if (null == -1 || dup2(null, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1)
		_exit(1);
	if (keep != -1) {
		first = DIAL_FD + 1;
		if (dup2(keep, DIAL_FD) == -1)
			_exit(1);
	}
	if (close_range((unsigned)first, ~0U, 0) == -1)
		_exit(1);
	set_signals(SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execv("/proc/self/exe", (char *const *)(void *)argv);
	_exit(127);
}

int
dialer_start(const struct invocation *inv, struct err *e)
{
	static const char fd_text[] = {'0' + DIAL_FD, '\0'};
	const char *const argv[] = {inv->argv0, "dialer", "--dial-fd", fd_text,
	    inv->config != NULL ? "-c" : NULL, inv->config, NULL};
	int fds[2];
	pid_t pid;

	if (dial_pair(fds, e) == -1)
		return -1;
	if ((pid = fork()) == 0)
		become(argv, fds[0]);
	(void)close(fds[0]);
	if (pid != -1)
		return fds[1];
	(void)err_sys(e, "cannot start a dialer: fork");
	(void)close(fds[1]);
	return -1;
}

/* Two forks: the keeper is nobody's child here, and outlives the worker that missed it. */
static void
start_keeper(const struct invocation *inv)
{
	const char *const argv[] = {inv->argv0, "keeper", "--on-demand",
	    inv->config != NULL ? "-c" : NULL, inv->config, NULL};
	pid_t pid;

	log_event(LOG_LVL_INFO, "keeper_start", "why", "none is listening", NULL);
	if ((pid = fork()) == -1) {
		log_event(LOG_LVL_ERROR, "keeper_start_failed", "error", strerror(errno), NULL);
		return;
	}
	if (pid == 0) {
		if (setsid() != -1 && fork() == 0)
			become(argv, -1);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		;
}

/* Until the worker is gone. */
static int
serve(const struct invocation *inv, struct dialer *D, pid_t worker, struct err *e)
{
	struct pollfd p = {.fd = D->control, .events = POLLIN};
	int64_t started_us = 0, now_us;
	enum dial did;

	while ((did = dialer_serve(D, worker)) != DIAL_GONE) {
		now_us = clock_mono_us();
		if (did == DIAL_NOBODY &&
		    (started_us == 0 || now_us - started_us >= START_PAUSE_US)) {
			started_us = now_us;
			start_keeper(inv);
		}
		if (poll(&p, 1, -1) == -1 && errno != EINTR)
			return err_sys(e, "poll");
	}
	return 0;
}

static int
run(const struct invocation *inv, struct err *e)
{
	struct dialer D = {.control = -1, .given = -1};
	struct privileges P;
	struct config *C;
	pid_t worker = getppid();
	int ret = -1;

	if (inv->dial_fd == -1)
		return err_set(e, ERR_USAGE, "a dialer is started by a worker, not by hand");
	if ((C = config_load(inv->config, NULL, NULL, e)) == NULL)
		return -1;
	log_open(C->log == 1 ? LOG_TO_SYSLOG : LOG_TO_STDERR, C->log_level, "dialer");
	set_signals(SIG_IGN);
	if (privileges_lookup(&P, C, e) == 0 && privileges_drop(&P, e) == 0 &&
	    dialer_init(&D, inv->dial_fd, C->run_dir, e) == 0 &&
	    sandbox_enter(SANDBOX_LAUNCHER, C, e) == 0)
		ret = serve(inv, &D, worker, e);
	dialer_release(&D);
	config_free(C);
	return ret;
}

int
dialer_main(const struct invocation *inv)
{
	struct err e = {.code = ERR_NONE};

	(void)umask(0027);
	if (run(inv, &e) == 0)
		return EXITS_OK;
	(void)fprintf(stderr, "apikeyd: %s\n", e.msg);
	return exits_of(&e);
}
