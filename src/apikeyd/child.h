/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_CHILD_H_
#define APIKEYD_CHILD_H_

/* One child of the supervisor: starting it, listening to it, and when to start it again. */

#include <stdint.h>
#include <sys/types.h>

#include "apikeyd/status.h"
#include "base/err.h"
#include "wire/dial.h"

enum child_role { CHILD_KEEPER, CHILD_WORKER };

enum child_state {
	CHILD_FREE,	/* the slot is not in use */
	CHILD_DUE,	/* dead; to be started at due_us */
	CHILD_STARTING, /* runs, has not said that it serves */
	CHILD_READY,
	CHILD_LEAVING, /* told to stop; killed at due_us */
	CHILD_KILLED   /* SIGKILL sent, not reaped yet */
};

struct child {
	enum child_role role;
	enum child_state state;
	unsigned generation; /* of workers: which reload they belong to */
	pid_t pid;
	int status_fd;	      /* our end of its pipe, or -1 */
	struct dialer dialer; /* a worker's way to the keeper and to syslog; no control: none */
	int64_t started_us, ready_us, heard_us, due_us;
	unsigned quick_deaths; /* in a row */
	int unwanted;	       /* told to stop: its end is an end */
	int hang_up;	       /* send SIGHUP once it is ready */
	int served;	       /* it, or the one before it in this place, once was ready */
	size_t nsaid;
	char said[STATUS_TEXT_MAX]; /* behind an 'E' */
	int erring;
};

/* What all children are started with. */
struct child_launch {
	const char *argv0;
	const char *config, *run_dir;
	int listen_fd; /* becomes fd 0 of a worker */
	int quiet;     /* a daemon's: stdout and stderr go to /dev/null */
};

#define CHILD_SILENCE_US INT64_C(5000000)  /* heard nothing: it hangs */
#define CHILD_HEALTHY_US INT64_C(10000000) /* served so long: the next death is a first one */
#define CHILD_WORKER_START_US INT64_C(15000000)
#define CHILD_KEEPER_START_US INT64_C(300000000) /* recovery of a large store takes its time */
#define CHILD_LEAVE_US INT64_C(10000000)

/* How long to wait before a child is started again that died ${quick_deaths} times in a row, each
 * soon after its start. */
int64_t child_backoff_us(unsigned quick_deaths);

const char *child_role_name(enum child_role);
int child_alive(const struct child *);

/* Start it: state STARTING.  -1: not started, nothing is left behind. */
int child_spawn(struct child *, const struct child_launch *, int64_t now_us, struct err *)
    __attribute__((warn_unused_result));

/* Read what it said, do what it asked for.  1 when it has just become ready, else 0. */
int child_hear(struct child *, int64_t now_us);

/* SIGTERM, and later, when it is not gone at due_us, child_kill.  A dead one is no longer due. */
void child_stop(struct child *, int64_t now_us);

/* SIGKILL; it will be reaped soon. */
void child_kill(struct child *);

/* It was reaped: state DUE or, when it was told to stop, FREE.  What it had said last is in ${e}
 * (code ERR_NONE: nothing). */
void child_reaped(struct child *, int64_t now_us, struct err *);

/* When something has to be done about it, INT64_MAX: never. */
int64_t child_deadline(const struct child *);

#endif /* !APIKEYD_CHILD_H_ */
