/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `apikeyd`: everything the supervisor does before and after its loop (supervise.c).
 *
 * As root, in this order: directories, pid file and its lock, listening socket; then the privileges
 * are dropped for good, the sandbox is entered, and only then is a child started or a file of the
 * service written.  Run as anybody else the same, without the drop.
 *
 * Nothing that comes from the network is read here, ever.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apikeyd/daemon.h"
#include "apikeyd/exits.h"
#include "apikeyd/listen.h"
#include "apikeyd/notify.h"
#include "apikeyd/pidfile.h"
#include "apikeyd/privileges.h"
#include "apikeyd/roles.h"
#include "apikeyd/rundir.h"
#include "apikeyd/sandbox.h"
#include "apikeyd/supervise.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"

#define FILES_KEEPER 65536 /* what the keeper's descriptors may be raised to */
#define PATIENCE_US INT64_C(5000000)

struct supervisor {
	const struct invocation *inv;
	struct config *config;
	char *config_path; /* absolute; NULL: no file */
	struct privileges privileges;
	struct notify notify;
	struct pidfile pidfile;
	struct listener listener;
	int daemon_fd;
};

/* Children cannot raise their hard limit any more once root is given up. */
static void
raise_files(const struct config *C)
{
	struct rlimit lim;
	rlim_t want = (rlim_t)C->max_connections + 1024;

	if (want < FILES_KEEPER)
		want = FILES_KEEPER;
	if (getrlimit(RLIMIT_NOFILE, &lim) == -1 || lim.rlim_max >= want)
		return;
	lim.rlim_max = want;
	/* Where even root may not, a worker tells when what there is does not suffice. */
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}

/*
 * When the last supervisor was killed, its workers are finishing their requests and hold the socket
 * until they are gone: a restart waits for them.  Anybody else who listens there is refused to be
 * robbed at once.
 */
static int
open_listener(struct supervisor *V, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 50000000};
	int64_t until_us = clock_mono_us() + (V->pidfile.orphaned ? PATIENCE_US : 0);

	while (listen_open(&V->listener, V->config, &V->privileges, e) == -1) {
		if (e->code != ERR_BUSY || clock_mono_us() >= until_us)
			return -1;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* From here on children may come, and signals are for the loop. */
static int
block_signals(struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &set, NULL) == -1 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGCHLD, SIG_DFL) == SIG_ERR)
		return err_sys(e, "signals");
	return 0;
}

/* Before the drop. */
static int
acquire(struct supervisor *V, struct err *e)
{
	if (rundir_make(V->config, &V->privileges, e) == -1 ||
	    pidfile_open(&V->pidfile, V->config->run_dir, e) == -1)
		return -1;
	if (V->listener.fd == -1 && open_listener(V, e) == -1)
		return -1;
	if (V->privileges.root)
		raise_files(V->config);
	if (V->privileges.root && V->privileges.uid == 0)
		log_event(LOG_LVL_WARNING, "running_as_root", "mend",
		    "set user to an account of its own", NULL);
	return 0;
}

static int
serve(struct supervisor *V, struct err *e)
{
	struct supervise set = {.argv0 = V->inv->argv0,
	    .config_path = V->config_path,
	    .config = &V->config,
	    .listener = &V->listener,
	    .notify = &V->notify,
	    .as_daemon = !V->inv->foreground,
	    .daemon_fd = &V->daemon_fd};

	if (block_signals(e) == -1 || acquire(V, e) == -1 ||
	    privileges_drop(&V->privileges, e) == -1 ||
	    sandbox_enter(SANDBOX_LAUNCHER, V->config, e) == -1)
		return exits_of(e);
	set.patient = V->pidfile.orphaned;
	return supervise_run(&set, e);
}

static void
print_problem(void *cookie, const char *text)
{
	(void)cookie;
	(void)fprintf(stderr, "apikeyd: %s\n", text);
}

/* Still in the foreground, whatever follows. */
static int
begin(struct supervisor *V, struct err *e)
{
	if (daemon_keep_std_fds(e) == -1 || listen_inherited(&V->listener, e) == -1)
		return -1;
	daemon_close_inherited(V->listener.fd);
	if (notify_open(&V->notify, e) == -1)
		return -1;
	if (V->config->path != NULL && (V->config_path = realpath(V->config->path, NULL)) == NULL)
		return err_sys(e, "%s", V->config->path);
	if (privileges_lookup(&V->privileges, V->config, e) == -1)
		return -1;
	if (!V->inv->foreground) {
		if (daemon_fork(&V->daemon_fd, e) == -1)
			return -1;
		V->config->log = 1; /* there will be no stderr */
	}
	log_open(V->config->log == 1 ? LOG_TO_SYSLOG : LOG_TO_STDERR, V->config->log_level,
	    "supervisor");
	return 0;
}

int
supervisor_main(const struct invocation *inv)
{
	struct supervisor V = {
	    .inv = inv, .daemon_fd = -1, .notify.fd = -1, .pidfile.fd = -1, .listener.fd = -1};
	struct err e = {.code = ERR_NONE};
	int code = EXITS_FAILED;

	(void)umask(0027);
	if ((V.config = config_load(inv->config, print_problem, NULL, &e)) == NULL)
		return EXITS_FAILED;
	if (begin(&V, &e) == -1)
		code = exits_of(&e);
	else
		code = serve(&V, &e);
	if (code != EXITS_OK) {
		(void)fprintf(stderr, "apikeyd: %s\n", e.msg);
		if (V.config->log == 1)
			log_event(LOG_LVL_ERROR, "failed", "error", e.msg, NULL);
	}
	listen_close(&V.listener);
	pidfile_close(&V.pidfile);
	notify_close(&V.notify);
	/* Told to stop before it served: whoever waits for the start has not got a service. */
	daemon_started(&V.daemon_fd, code != EXITS_OK ? code : EXITS_FAILED);
	free(V.config_path);
	config_free(V.config);
	return code;
}
