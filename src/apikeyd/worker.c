/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `apikeyd worker`: one process that answers requests (src/gate does the work).
 *
 * Its listening socket is inherited: fd 0 from the supervisor, mod_fcgid or spawn-fcgi, fd 3 from
 * systemd. Under the supervisor it tells through its status pipe that it lives.  Its way to the
 * keeper is a dialer: the supervisor, or a process that it starts here (dialer.c).
 *
 * It knows no secret but the credentials that pass through, and those neither reach a core dump nor
 * stay in memory.  Before it reads the first byte of a stranger it has given up everything but what
 * is open already (sandbox_worker.c): whoever takes it over can ask for checks.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "apikeyd/dialer.h"
#include "apikeyd/exits.h"
#include "apikeyd/listen.h"
#include "apikeyd/privileges.h"
#include "apikeyd/roles.h"
#include "apikeyd/sandbox.h"
#include "apikeyd/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "config/config.h"
#include "gate/gate.h"

#define OTHER_FILES 64 /* keeper, signalfd, timers, log, libraries */

struct worker {
	const struct invocation *inv;
	struct gate *gate;
	int signal_fd, timer_fd, dial_fd;
};

static void
raise_files(unsigned connections)
{
	struct rlimit lim;
	rlim_t want = (rlim_t)connections + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &lim) == -1 || lim.rlim_cur >= want)
		return;
	lim.rlim_cur = want < lim.rlim_max ? want : lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_cur < want)
		log_event(LOG_LVL_WARNING, "files_limited", "limit", LOG_NUM(lim.rlim_cur),
		    "wanted", LOG_NUM(want), "mend", "raise LimitNOFILE, or lower max_connections",
		    NULL);
}

static void
on_signal(void *cookie, uint32_t events)
{
	struct worker *W = cookie;
	struct signalfd_siginfo info;

	(void)events;
	while (read(W->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGHUP) /* a reload is new workers, not changed ones */
			gate_stop(W->gate);
}

static void
on_timer(void *cookie, uint32_t events)
{
	struct worker *W = cookie;
	uint64_t n;

	(void)events;
	if (read(W->timer_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) &&
	    status_beat(W->inv->status_fd) == -1)
		gate_stop(W->gate);
}

/* SIGUSR1 is Apache's graceful stop. */
static void
fill_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGUSR1);
	(void)sigaddset(set, SIGHUP);
}

/*
 * Before gate_new: libfcgi installs handlers of its own, which would swallow a SIGTERM that comes
 * before the signalfd is open.  Blocked, it waits.
 */
static int
block_signals(struct err *e)
{
	sigset_t set;

	fill_signals(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) == -1 ? err_sys(e, "signals") : 0;
}

static int
open_signals(struct worker *W, struct err *e)
{
	sigset_t set;

	fill_signals(&set);
	if ((W->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) == -1)
		return err_sys(e, "signalfd");
	return gate_watch(W->gate, W->signal_fd, on_signal, W, e);
}

static int
open_timer(struct worker *W, struct err *e)
{
	struct itimerspec each = {
	    .it_interval = {.tv_sec = STATUS_PERIOD_US / 1000000},
	    .it_value = {.tv_sec = STATUS_PERIOD_US / 1000000},
	};

	if (W->inv->status_fd == -1)
		return 0;
	if ((W->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) == -1 ||
	    timerfd_settime(W->timer_fd, 0, &each, NULL) == -1)
		return err_sys(e, "timerfd");
	return gate_watch(W->gate, W->timer_fd, on_timer, W, e);
}

/* The sandbox knows the listening socket by its number (sandbox_worker.c). */
static int
make_it_first(struct listener *L, struct err *e)
{
	if (L->fd == STDIN_FILENO)
		return 0;
	if (dup2(L->fd, STDIN_FILENO) == -1)
		return err_sys(e, "listening socket");
	(void)close(L->fd);
	L->fd = STDIN_FILENO;
	return 0;
}

/* The listening socket: systemd's, or fd 0. */
static int
find_socket(struct listener *L, struct err *e)
{
	int inherited = listen_inherited(L, e);

	if (inherited != 0)
		return inherited == 1 ? make_it_first(L, e) : -1;
	if (!listen_is(STDIN_FILENO))
		return err_set(e, ERR_USAGE,
		    "apikeyd worker must inherit a listening socket as fd 0 (mod_fcgid, "
		    "spawn-fcgi) or in LISTEN_FDS (systemd); to run a service of its own, start "
		    "apikeyd without a word");
	L->fd = STDIN_FILENO;
	return 0;
}

static int
serve(struct worker *W, const struct config *C, int listen_fd, struct err *e)
{
	int supervised = W->inv->status_fd != -1;
	int ret = -1;

	if (block_signals(e) == -1)
		return -1;
	W->gate = gate_new(C, listen_fd, W->dial_fd, e);
	/* Everything is open; from here on there are bytes of strangers. */
	if (W->gate != NULL && open_signals(W, e) == 0 && open_timer(W, e) == 0 &&
	    sandbox_enter(SANDBOX_WORKER, C, e) == 0) {
		status_ready(W->inv->status_fd);
		log_event(supervised ? LOG_LVL_DEBUG : LOG_LVL_INFO, "ready", NULL);
		ret = gate_run(W->gate, e);
	}
	gate_free(&W->gate);
	if (W->signal_fd != -1)
		(void)close(W->signal_fd);
	if (W->timer_fd != -1)
		(void)close(W->timer_fd);
	return ret;
}

static int
run(const struct invocation *inv, struct err *e)
{
	struct worker W = {.inv = inv, .signal_fd = -1, .timer_fd = -1, .dial_fd = inv->dial_fd};
	struct listener L = {.fd = -1};
	struct privileges P;
	struct config *C = NULL;
	int ret = -1;

	if (find_socket(&L, e) == -1)
		return -1;
	if ((C = config_load(inv->config, NULL, NULL, e)) == NULL)
		goto out;
	log_open(C->log == 1 ? LOG_TO_SYSLOG : LOG_TO_STDERR, C->log_level, "worker");
	raise_files(C->max_connections);
	if (privileges_lookup(&P, C, e) == -1 || privileges_drop(&P, e) == -1 ||
	    (W.dial_fd == -1 && (W.dial_fd = dialer_start(inv, e)) == -1))
		goto out;
	log_through(W.dial_fd);
	ret = serve(&W, C, L.fd, e);
out:
	if (W.dial_fd != -1)
		(void)close(W.dial_fd);
	config_free(C);
	listen_close(&L);
	return ret;
}

int
worker_main(const struct invocation *inv)
{
	struct err e = {.code = ERR_NONE};

	secret_wipe_freed();
	(void)umask(0027);
	if (run(inv, &e) == 0)
		return EXITS_OK;
	if (inv->status_fd != -1)
		status_failed(inv->status_fd, &e);
	else
		(void)fprintf(stderr, "apikeyd: %s\n", e.msg);
	return exits_of(&e);
}
