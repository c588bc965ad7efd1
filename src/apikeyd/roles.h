/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_ROLES_H_
#define APIKEYD_ROLES_H_

/* The programs in one: what main read from the command line, and where it goes from there. */

struct invocation {
	const char *argv0;
	const char *config; /* -c, or NULL */
	int foreground;	    /* -f */
	int check;	    /* -t */
	int status_fd;	    /* the supervisor's pipe, or -1 (hidden option) */
	int dial_fd;	    /* a worker's or dialer's end of wire/dial.h, or -1 (hidden option) */
	int on_demand;	    /* a keeper that a worker started (hidden option) */
	int again;	    /* a keeper in place of one that served (hidden option) */
};

/* Each runs until it is told to stop, and returns the exit code. */
int supervisor_main(const struct invocation *);
int worker_main(const struct invocation *);
int keeper_main(const struct invocation *);
int dialer_main(const struct invocation *);

#endif /* !APIKEYD_ROLES_H_ */
