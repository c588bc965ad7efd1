/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_SUPERVISE_H_
#define APIKEYD_SUPERVISE_H_

/* The life of the service, once everything is prepared: start, serve, reload, stop. */

#include "apikeyd/listen.h"
#include "apikeyd/notify.h"
#include "base/err.h"
#include "config/config.h"

struct supervise {
	const char *argv0;
	const char *config_path; /* the admin's file, absolute; NULL: the default one, which may be
				    missing */
	struct config **config;	 /* in force; replaced by a reload */
	struct listener *listener;
	const struct notify *notify;
	int patient;	/* a predecessor was killed: its keeper may hold the store for a moment */
	int as_daemon;	/* children have no stderr, the log is syslog */
	int *daemon_fd; /* daemon_started */
};

/*
 * Signals TERM, INT, HUP and CHLD are blocked by the caller.  Returns the exit code; 0 when it was
 * told to stop.  What kept it from starting is in ${e}.
 */
int supervise_run(const struct supervise *, struct err *);

#endif /* !APIKEYD_SUPERVISE_H_ */
