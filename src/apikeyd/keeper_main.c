/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `apikeyd keeper`: the process that owns store and peppers (src/keeper does the work).
 *
 * Started by the supervisor, by a worker that found none (--on-demand), or by hand.  Run as root it
 * becomes the service user first: a store made by root could not be opened by the daemon later.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikeyd/exits.h"
#include "apikeyd/privileges.h"
#include "apikeyd/roles.h"
#include "apikeyd/rundir.h"
#include "apikeyd/sandbox.h"
#include "apikeyd/status.h"
#include "base/digest.h"
#include "base/log.h"
#include "config/config.h"
#include "keeper/actors.h"
#include "keeper/keeper.h"

#define IDLE_EXIT_US INT64_C(30000000) /* on demand: how long without a client */

/* Every worker and every tool is a descriptor: take what the limit allows. */
static void
raise_files(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
}

/* Whatever libraries load when they are first used; then the sandbox. */
static int
prepare(const struct config *C, struct err *e)
{
	actors_learn();
	if (digest_init(e) == -1)
		return -1;
	return sandbox_enter(SANDBOX_KEEPER, C, e);
}

static int
run(const struct invocation *inv, int status_fd, struct err *e)
{
	struct keeper_options options = {.status_fd = status_fd,
	    .idle_exit_us = inv->on_demand ? IDLE_EXIT_US : 0,
	    .again = inv->again};
	struct privileges P;
	struct config *C = config_load(inv->config, NULL, NULL, e);
	int ret = -1;

	if (C == NULL)
		return -1;
	log_open(C->log == 1 ? LOG_TO_SYSLOG : LOG_TO_STDERR, C->log_level, "keeper");
	raise_files();
	if (privileges_lookup(&P, C, e) == 0 && rundir_make(C, &P, e) == 0 &&
	    privileges_drop(&P, e) == 0 && prepare(C, e) == 0)
		ret = keeper_run(&C, &options, e);
	config_free(C);
	return ret;
}

int
keeper_main(const struct invocation *inv)
{
	struct err e = {.code = ERR_NONE};
	int spare;

	(void)umask(0027);
	/* keeper_run may close its descriptor before it returns with an error that the supervisor
	 * should hear. */
	spare = inv->status_fd == -1 ? -1 : fcntl(inv->status_fd, F_DUPFD_CLOEXEC, 3);
	if (run(inv, inv->status_fd, &e) == 0)
		return EXITS_OK;
	/* Two workers that miss the keeper at the same time start two; the store's lock lets one
	 * through. */
	if (inv->on_demand && e.code == ERR_BUSY)
		return EXITS_OK;
	if (spare != -1)
		status_failed(spare, &e);
	else
		(void)fprintf(stderr, "apikeyd: %s\n", e.msg);
	return exits_of(&e);
}
