/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The children of the supervisor, together.
 *
 * Mechanism, not policy: starts, restarts when due, watches and reaps; when to stop or to give up
 * is decided in supervise.c.  A child that cannot be started (no memory, no processes) counts as
 * one that died at once, and is tried again with the same back-off.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "apikeyd/fleet.h"
#include "base/log.h"

int
fleet_init(struct fleet *F, int epoll_fd, unsigned max_workers, struct err *e)
{
	size_t i;

	F->epoll_fd = epoll_fd;
	F->n = 1 + 2 * (size_t)max_workers;
	if ((F->at = calloc(F->n, sizeof(*F->at))) == NULL)
		return err_sys(e, "children");
	for (i = 0; i < F->n; i++) {
		F->at[i].role = i == 0 ? CHILD_KEEPER : CHILD_WORKER;
		F->at[i].status_fd = -1;
		F->at[i].dialer.control = F->at[i].dialer.given = -1;
	}
	return 0;
}

void
fleet_release(struct fleet *F)
{
	free(F->at);
	F->at = NULL;
	F->n = 0;
}

struct child *
fleet_keeper(struct fleet *F)
{
	return &F->at[0];
}

static void
start(struct fleet *F, struct child *c, int64_t now_us)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	struct err e;

	if (child_spawn(c, &F->launch, now_us, &e) == -1) {
		c->state = CHILD_DUE;
		c->due_us = now_us + child_backoff_us(++c->quick_deaths + 1);
		log_event(LOG_LVL_ERROR, "child_start_failed", "role", child_role_name(c->role),
		    "error", e.msg, NULL);
		return;
	}
	log_event(LOG_LVL_DEBUG, "child_started", "role", child_role_name(c->role), "pid",
	    LOG_NUM(c->pid), NULL);
	if (epoll_ctl(F->epoll_fd, EPOLL_CTL_ADD, c->status_fd, &ev) == -1 ||
	    (c->dialer.control != -1 &&
		epoll_ctl(F->epoll_fd, EPOLL_CTL_ADD, c->dialer.control, &ev) == -1)) {
		(void)err_sys(&e, "epoll_ctl");
		log_event(LOG_LVL_ERROR, "child_start_failed", "role", child_role_name(c->role),
		    "error", e.msg, NULL);
		child_kill(c);
	}
}

static void
claim(struct fleet *F, struct child *c, unsigned generation, int64_t now_us)
{
	c->generation = generation;
	c->quick_deaths = 0;
	start(F, c, now_us);
}

void
fleet_start_keeper(struct fleet *F, int64_t now_us)
{
	claim(F, &F->at[0], 0, now_us);
}

void
fleet_start_workers(struct fleet *F, unsigned n, unsigned generation, int64_t now_us)
{
	size_t i;

	for (i = 1; i < F->n && n > 0; i++)
		if (F->at[i].state == CHILD_FREE) {
			claim(F, &F->at[i], generation, now_us);
			n--;
		}
}

static int
belongs(const struct child *c, unsigned generation)
{
	return c->role == CHILD_WORKER && c->state != CHILD_FREE &&
	       (generation == FLEET_ANY || c->generation == generation);
}

void
fleet_stop_workers(struct fleet *F, unsigned generation, int64_t now_us)
{
	size_t i;

	for (i = 0; i < F->n; i++)
		if (belongs(&F->at[i], generation))
			child_stop(&F->at[i], now_us);
}

unsigned
fleet_workers(const struct fleet *F, unsigned generation)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < F->n; i++)
		n += (unsigned)belongs(&F->at[i], generation);
	return n;
}

unsigned
fleet_ready(const struct fleet *F, unsigned generation)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < F->n; i++)
		n += belongs(&F->at[i], generation) && F->at[i].state == CHILD_READY;
	return n;
}

struct child *
fleet_reap(struct fleet *F, int64_t now_us, pid_t *pid, int *status, struct err *said)
{
	size_t i;

	while ((*pid = waitpid(-1, status, WNOHANG)) > 0)
		for (i = 0; i < F->n; i++)
			if (F->at[i].pid == *pid && child_alive(&F->at[i])) {
				child_reaped(&F->at[i], now_us, said);
				return &F->at[i];
			}
	return NULL; /* others' children, when we are process 1 of a container, just vanish */
}

static void
kill_hung(struct child *c, const char *event, int64_t since_us, int64_t now_us)
{
	log_event(LOG_LVL_ERROR, event, "role", child_role_name(c->role), "pid", LOG_NUM(c->pid),
	    "waited_ms", LOG_NUM((now_us - since_us) / 1000), NULL);
	child_kill(c);
}

void
fleet_expire(struct fleet *F, int64_t now_us)
{
	struct child *c;
	size_t i;

	for (i = 0; i < F->n; i++) {
		c = &F->at[i];
		if (child_deadline(c) > now_us)
			continue;
		if (c->state == CHILD_DUE)
			start(F, c, now_us);
		else if (c->state == CHILD_STARTING)
			kill_hung(c, "child_start_hangs", c->started_us, now_us);
		else if (c->state == CHILD_READY)
			kill_hung(c, "child_hangs", c->heard_us, now_us);
		else
			kill_hung(c, "child_does_not_leave", c->due_us - CHILD_LEAVE_US, now_us);
	}
}

int64_t
fleet_deadline(const struct fleet *F)
{
	int64_t first = INT64_MAX, t;
	size_t i;

	for (i = 0; i < F->n; i++)
		if ((t = child_deadline(&F->at[i])) < first)
			first = t;
	return first;
}

void
fleet_forgive(struct fleet *F, int64_t now_us)
{
	size_t i;

	for (i = 0; i < F->n; i++)
		if (F->at[i].state == CHILD_READY)
			F->at[i].heard_us = now_us;
}
