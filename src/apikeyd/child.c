/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child process of the supervisor (the keeper, a worker).
 *
 * Knows how one child is started, heard and given up; what shall become of it is the supervisor's
 * decision. A child is this very program, executed again: a worker then has a fresh address space
 * (no state of the supervisor, its own layout), and an upgrade of the file on disk does not mix
 * versions, because /proc/self/exe stays the old one.
 *
 * Invariants: a child inherits fd 0, 1, 2, its end of the status pipe and, a worker, that of the
 * channel to its dialer (us: wire/dial.h), nothing else; it does not outlive the supervisor
 * (PR_SET_PDEATHSIG); a child that dies again and again is started ever more slowly.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "apikeyd/child.h"

#define STATUS_FD 3 /* in the child */
#define DIAL_FD 4   /* in a worker */

#define BACKOFF_FIRST_US INT64_C(50000)
#define BACKOFF_MAX_US INT64_C(5000000)

int64_t
child_backoff_us(unsigned quick_deaths)
{
	int64_t us = BACKOFF_FIRST_US;

	/* The first death is answered at once: whoever waits for the keeper has but a second. */
	if (quick_deaths <= 1)
		return 0;
	for (quick_deaths -= 2; quick_deaths > 0 && us < BACKOFF_MAX_US; quick_deaths--)
		us *= 2;
	return us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US;
}

const char *
child_role_name(enum child_role role)
{
	return role == CHILD_KEEPER ? "keeper" : "worker";
}

int
child_alive(const struct child *c)
{
	return c->state >= CHILD_STARTING;
}

/* In the child: ${fd} becomes ${as}, open across the execution. */
static int
place(int fd, int as)
{
	return dup2(fd, as) == -1 ? -1 : 0;
}

/* What becomes of the descriptors: {ours, the child's}. */
struct placing {
	int fd, as;
};

static int
arrange_fds(const struct child *c, const struct child_launch *launch, int status, int dial)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct placing all[5] = {{c->role == CHILD_WORKER ? launch->listen_fd : null, STDIN_FILENO},
	    {status, STATUS_FD}};
	size_t i, n = 2;

	if (c->role == CHILD_WORKER)
		all[n++] = (struct placing){dial, DIAL_FD};
	if (launch->quiet) {
		all[n++] = (struct placing){null, STDOUT_FILENO};
		all[n++] = (struct placing){null, STDERR_FILENO};
	}
	/* Out of the way first: none of them may be overwritten by the placing of another. */
	for (i = 0; i < n; i++)
		if ((all[i].fd = fcntl(all[i].fd, F_DUPFD_CLOEXEC, DIAL_FD + 1)) == -1)
			return -1;
	for (i = 0; i < n; i++)
		if (place(all[i].fd, all[i].as) == -1)
			return -1;
	return close_range(c->role == CHILD_WORKER ? DIAL_FD + 1 : STATUS_FD + 1, ~0U, 0);
}

/*
 * libfcgi takes some fifty small blocks a request; glibc keeps seven of a size at hand and pays for
 * the rest with searching and merging, a fifth of a worker's time.  The keeper's blocks are few and
 * large, and a lookup touches a handful of them at random: on huge pages, where the kernel has
 * them, it takes a quarter less among a million keys, for at most some ten megabytes more.
 */
static const char *
tunables(enum child_role role)
{
	return role == CHILD_WORKER ? "glibc.malloc.tcache_count=127"
				    : "glibc.malloc.tcache_count=127:glibc.malloc.hugetlb=1";
}

static void __attribute__((noreturn))
become(const struct child *c, const struct child_launch *launch, int status, int dial, pid_t parent)
{
	char status_text[] = {'0' + STATUS_FD, '\0'}, dial_text[] = {'0' + DIAL_FD, '\0'};
	const char *const argv[] = {launch->argv0, child_role_name(c->role), "-c", launch->config,
	    "--status-fd", status_text,
	    c->role == CHILD_WORKER ? "--dial-fd"
	    : c->served		    ? "--again"
				    : NULL,
	    c->role == CHILD_WORKER ? dial_text : NULL, NULL};
	sigset_t none;
	struct err e;

	/* A group of its own: a Ctrl-C at the terminal is the supervisor's to handle, in its order.
	 */
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) == -1 || getppid() != parent)
		_exit(1);
	(void)setenv("GLIBC_TUNABLES", tunables(c->role), 0);
	if (arrange_fds(c, launch, status, dial) == 0) {
		status = STATUS_FD;
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)execv("/proc/self/exe", (char *const *)(void *)argv);
	}
	(void)err_sys(&e, "cannot become a %s", child_role_name(c->role));
	status_failed(status, &e);
	_exit(127);
}

/* The channels to it: ours go into the child's record, theirs to ${theirs} and ${dial}. */
static int
open_channels(struct child *c, const char *run_dir, int *theirs, int *dial, struct err *e)
{
	int status[2], pair[2] = {-1, -1};

	*theirs = *dial = -1;
	if (pipe2(status, O_CLOEXEC | O_NONBLOCK) == -1)
		return err_sys(e, "pipe");
	if (c->role == CHILD_WORKER && dial_pair(pair, e) == -1) {
		(void)close(status[0]);
		(void)close(status[1]);
		return -1;
	}
	c->status_fd = status[0];
	*theirs = status[1];
	*dial = pair[1];
	return dialer_init(&c->dialer, pair[0], run_dir, e);
}

static void
close_channels(struct child *c)
{
	if (c->status_fd != -1)
		(void)close(c->status_fd);
	c->status_fd = -1;
	dialer_release(&c->dialer);
}

int
child_spawn(struct child *c, const struct child_launch *launch, int64_t now_us, struct err *e)
{
	pid_t parent = getpid(), pid = -1;
	int theirs, dial;

	if (open_channels(c, launch->run_dir, &theirs, &dial, e) == 0 && (pid = fork()) == -1)
		(void)err_sys(e, "fork");
	if (pid == 0)
		become(c, launch, theirs, dial, parent);
	if (theirs != -1)
		(void)close(theirs);
	if (dial != -1)
		(void)close(dial);
	if (pid == -1) {
		close_channels(c);
		return err_wrap(e, "cannot start a %s", child_role_name(c->role));
	}
	c->pid = pid;
	c->state = CHILD_STARTING;
	c->started_us = now_us;
	c->ready_us = c->heard_us = 0;
	c->nsaid = 0;
	c->erring = c->unwanted = c->hang_up = 0;
	return 0;
}

static int
take(struct child *c, const char *bytes, size_t n, int64_t now_us)
{
	size_t i;
	int became = 0;

	for (i = 0; i < n; i++) {
		if (c->erring) {
			if (c->nsaid < sizeof(c->said))
				c->said[c->nsaid++] = bytes[i];
		} else if (bytes[i] == 'E') {
			c->erring = 1;
		} else if (bytes[i] == 'R' && c->state == CHILD_STARTING) {
			c->state = CHILD_READY;
			c->ready_us = now_us;
			c->served = 1;
			became = 1;
		}
	}
	return became;
}

int
child_hear(struct child *c, int64_t now_us)
{
	char bytes[256];
	ssize_t n;
	int became = 0;

	/* Its end is closed: it is leaving, and SIGCHLD will tell.  A closed one would wake us for
	 * ever. */
	if (dialer_serve(&c->dialer, c->pid) == DIAL_GONE)
		dialer_release(&c->dialer);
	if (c->status_fd == -1)
		return 0;
	while ((n = read(c->status_fd, bytes, sizeof(bytes))) > 0) {
		c->heard_us = now_us;
		became |= take(c, bytes, (size_t)n, now_us);
	}
	if (n == 0) {
		(void)close(c->status_fd);
		c->status_fd = -1;
	}
	return became;
}

void
child_stop(struct child *c, int64_t now_us)
{
	c->unwanted = 1;
	if (c->state == CHILD_DUE)
		c->state = CHILD_FREE;
	if (c->state != CHILD_STARTING && c->state != CHILD_READY)
		return;
	(void)kill(c->pid, SIGTERM);
	/* One that somebody has stopped hears it now, and finishes what it has. */
	(void)kill(c->pid, SIGCONT);
	c->state = CHILD_LEAVING;
	c->due_us = now_us + CHILD_LEAVE_US;
}

void
child_kill(struct child *c)
{
	(void)kill(c->pid, SIGKILL);
	c->state = CHILD_KILLED;
}

void
child_reaped(struct child *c, int64_t now_us, struct err *e)
{
	memset(e, 0, sizeof(*e));
	(void)child_hear(c, now_us);
	close_channels(c);
	c->pid = 0;
	if (c->nsaid > 0 && status_parse(c->said, c->nsaid, e) == -1)
		memset(e, 0, sizeof(*e));
	if (c->unwanted) {
		c->state = CHILD_FREE;
		return;
	}
	c->state = CHILD_DUE;
	if (c->ready_us != 0 && now_us - c->ready_us >= CHILD_HEALTHY_US)
		c->quick_deaths = 0;
	c->quick_deaths++;
	/*
	 * Growing pauses are for a child that cannot start, or that ends with an error each time.
	 * One that got ready and was killed does its work, and who waits for it has but a second,
	 * however often that happens: only one that dies as soon as it is ready has a pause.
	 */
	if (c->ready_us != 0 && e->code == ERR_NONE) {
		if (c->quick_deaths > 2)
			c->quick_deaths = 2;
		c->due_us = c->ready_us + child_backoff_us(c->quick_deaths);
		if (c->due_us < now_us)
			c->due_us = now_us;
	} else {
		c->due_us = now_us + child_backoff_us(c->quick_deaths);
	}
}

int64_t
child_deadline(const struct child *c)
{
	switch (c->state) {
	case CHILD_DUE:
	case CHILD_LEAVING:
		return c->due_us;
	case CHILD_STARTING:
		return c->started_us +
		       (c->role == CHILD_KEEPER ? CHILD_KEEPER_START_US : CHILD_WORKER_START_US);
	case CHILD_READY:
		return c->heard_us + CHILD_SILENCE_US;
	default:
		return INT64_MAX;
	}
}
