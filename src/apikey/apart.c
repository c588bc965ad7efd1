/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Work in a process of its own: see apart.h.  What work that is, is the caller's.
 *
 * The child reads files that whoever took over the service could have made, so it is nobody that
 * root could miss: it has the service user's rights, another session than the terminal's (or it
 * could type there, TIOCSTI), and says nothing to us but an error of fixed size.  It ends with us.
 *
 * Here the signals that would end us are waited for instead, from before anything is made, so that
 * it can be removed; only one that cannot be waited for leaves it to the next run (workdir.c).
 *
 * Invariants: nothing that the child says is trusted; whoever sent a signal sees us end by it.
 */

#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/apart.h"

#include "apikey/confine.h"

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
#define ENDS (sizeof(ends) / sizeof(ends[0]))

struct said {
	int rc;
	struct err e;
};
_Static_assert(sizeof(struct said) <= PIPE_BUF, "written at once, without waiting for the reader");

static int
work(const struct apart *a, struct err *e)
{
	int rc = a->work(a->cookie, e);

	if (fflush(stdout) == EOF && rc >= 0)
		rc = err_sys(e, "cannot write to standard output");
	return rc;
}

static void __attribute__((noreturn))
child(const struct apart *a, pid_t parent, const sigset_t *mask, int fd)
{
	struct said s = {.e = {.code = ERR_NONE}};
	struct err *e = &s.e;

	(void)setsid();
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	if (a->become != NULL && service_become(a->become, e) != 0)
		s.rc = -1;
	/* A change of user takes this away again, so it comes behind. */
	else if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		s.rc = err_set(e, ERR_SYSTEM, "interrupted");
	else if (confine_enter(a->config, e) != 0)
		s.rc = -1;
	else
		s.rc = work(a, e);
	if (write(fd, &s, sizeof(s)) != (ssize_t)sizeof(s))
		exit(1);
	exit(0);
}

/* Until the child is gone: its status; *ended is the signal that asked us to end, or 0. */
static int
wait_for(pid_t pid, const sigset_t *waited, int *ended)
{
	int status, sig;
	pid_t gone;

	*ended = 0;
	for (;;) {
		if ((gone = waitpid(pid, &status, WNOHANG)) == pid)
			return status;
		if (gone == -1 && errno != EINTR)
			return 0;
		if ((sig = sigwaitinfo(waited, NULL)) == -1 || sig == SIGCHLD)
			continue;
		*ended = sig;
		(void)kill(pid, sig == SIGPIPE ? SIGTERM : sig);
		(void)kill(pid, SIGCONT); /* it may stand still */
	}
}

/* Of a process that did not come to say how it went; and what it says is not believed blindly. */
static int
result(struct said *s, ssize_t n, int status, struct err *e)
{
	if (n != (ssize_t)sizeof(*s) && WIFSIGNALED(status))
		return err_set(e, ERR_SYSTEM,
		    "the process that worked on the store's files was ended by signal %d: are "
		    "they damaged, or is memory short?",
		    WTERMSIG(status));
	if (n != (ssize_t)sizeof(*s))
		return err_set(e, ERR_SYSTEM,
		    "the process that worked on the store's files ended without a word");
	s->e.msg[sizeof(s->e.msg) - 1] = '\0';
	if (s->rc >= 0 && s->rc <= 125)
		return s->rc;
	return err_set(e,
	    (unsigned)s->e.code < ERR_CODES && s->e.code != ERR_NONE ? s->e.code : ERR_INTERNAL,
	    "%s", s->e.msg);
}

static int
run(const struct apart *a, const sigset_t *before, const sigset_t *waited, int *ended,
    struct err *e)
{
	struct said s;
	int fds[2], status;
	pid_t self = getpid(), pid;
	ssize_t n;

	/* Not waited for: what the child has left behind may have the pipe, too. */
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return err_sys(e, "pipe");
	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		close(fds[0]);
		child(a, self, before, fds[1]);
	}
	close(fds[1]);
	if (pid == -1) {
		close(fds[0]);
		return err_sys(e, "fork");
	}
	status = wait_for(pid, waited, ended);
	n = read(fds[0], &s, sizeof(s));
	close(fds[0]);
	/* Nobody reads what it printed: that is told as it would be told of us. */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
		*ended = SIGPIPE;
	return result(&s, n, status, e);
}

/* What is ignored (nohup) is left out: blocked, it would be waited for all the same. */
static void
set_of_waited(sigset_t *waited)
{
	struct sigaction now;

	(void)sigemptyset(waited);
	(void)sigaddset(waited, SIGCHLD);
	for (size_t i = 0; i < ENDS; i++)
		if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			(void)sigaddset(waited, ends[i]);
}

static int
all(const struct apart *a, const sigset_t *before, const sigset_t *waited, int *ended,
    struct err *e)
{
	int rc;

	if (a->begin != NULL && a->begin(a->cookie, e) != 0)
		return -1;
	rc = run(a, before, waited, ended, e);
	if (*ended != 0)
		rc = err_set(e, ERR_SYSTEM, "interrupted");
	return a->end != NULL ? a->end(a->cookie, rc, e) : rc;
}

int
apart_run(const struct apart *a, struct err *e)
{
	struct sigaction child_was, plain = {.sa_handler = SIG_DFL};
	sigset_t waited, before;
	int ended = 0, rc;

	set_of_waited(&waited);
	/* Ignored, it would not be waited for. */
	(void)sigaction(SIGCHLD, &plain, &child_was);
	(void)sigprocmask(SIG_BLOCK, &waited, &before);
	rc = all(a, &before, &waited, &ended, e);
	if (ended != 0)
		(void)raise(ended);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)sigaction(SIGCHLD, &child_was, NULL);
	return rc;
}
