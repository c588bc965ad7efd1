/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the supervisor's view of one child: how long it waits before a restart, when it calls a
 * child silent, what it makes of the bytes on a status pipe, and when a death is an end.
 *
 * Guards invariant 5's other half: whatever is killed is started again, at once the first time
 * (requests wait a second for the keeper), and ever more slowly when it dies again and again.  Time
 * is passed in.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/child.h"
#include "apikeyd/exits.h"
#include "apikeyd/status.h"

#define S INT64_C(1000000)

static void
test_backoff(void **state)
{
	static const int64_t want_ms[] = {0, 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want_ms) / sizeof(want_ms[0]); i++)
		assert_int_equal(child_backoff_us((unsigned)i), want_ms[i] * 1000);
	assert_int_equal(child_backoff_us(UINT32_MAX), 5 * S);
}

/* A child without a process: what is written to *fd is what it says. */
static void
fake(struct child *c, int *fd, int64_t now_us)
{
	int fds[2];

	memset(c, 0, sizeof(*c));
	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	c->status_fd = fds[0];
	c->dialer.control = c->dialer.given = -1;
	c->state = CHILD_STARTING;
	c->started_us = now_us;
	*fd = fds[1];
}

static void
test_ready_and_silence(void **state)
{
	struct child c;
	int fd;

	(void)state;
	fake(&c, &fd, 100 * S);
	c.role = CHILD_WORKER;
	assert_int_equal(child_hear(&c, 100 * S), 0); /* nothing said */
	assert_int_equal(child_deadline(&c), 100 * S + CHILD_WORKER_START_US);
	c.role = CHILD_KEEPER;
	assert_int_equal(child_deadline(&c), 100 * S + CHILD_KEEPER_START_US);
	assert_int_equal(status_beat(fd), 0); /* alive, not ready */
	assert_int_equal(child_hear(&c, 101 * S), 0);
	assert_int_equal(c.state, CHILD_STARTING);
	status_ready(fd);
	assert_int_equal(child_hear(&c, 102 * S), 1);
	assert_int_equal(c.state, CHILD_READY);
	assert_int_equal(child_deadline(&c), 102 * S + CHILD_SILENCE_US);
	status_ready(fd); /* twice is once */
	assert_int_equal(child_hear(&c, 103 * S), 0);
	assert_int_equal(status_beat(fd), 0);
	assert_int_equal(child_hear(&c, 104 * S), 0);
	assert_int_equal(child_deadline(&c), 104 * S + CHILD_SILENCE_US);
	assert_int_equal(close(fd), 0);
	assert_int_equal(child_hear(&c, 105 * S), 0);
	assert_int_equal(c.status_fd, -1);
	assert_int_equal(child_hear(&c, 106 * S), 0); /* and stays harmless */
}

static void
test_deaths_are_counted_and_forgotten(void **state)
{
	struct child c;
	struct err e;
	int fd;

	(void)state;
	fake(&c, &fd, 0);
	status_ready(fd);
	assert_int_equal(child_hear(&c, 1 * S), 1);
	child_reaped(&c, 2 * S, &e);
	assert_int_equal(c.state, CHILD_DUE);
	assert_int_equal(c.due_us, 2 * S); /* at once */
	assert_int_equal(e.code, ERR_NONE);
	c.state = CHILD_READY;
	c.ready_us = 3 * S;
	child_reaped(&c, 4 * S, &e);
	assert_int_equal(c.due_us, 4 * S); /* it was ready, and did not die of that */
	c.state = CHILD_READY;
	c.ready_us = 5 * S;
	child_reaped(&c, 5 * S + 20000, &e);
	assert_int_equal(c.due_us, 5 * S + 50000); /* no longer pause than that */
	c.state = CHILD_READY;
	c.ready_us = 6 * S;
	child_reaped(&c, 6 * S + 50000, &e);
	assert_int_equal(c.due_us, 6 * S + 50000);
	/* It served for ten seconds: forgiven. */
	c.state = CHILD_READY;
	c.ready_us = 7 * S;
	child_reaped(&c, 17 * S, &e);
	assert_int_equal(c.due_us, 17 * S);
	/* One that never served has earned nothing, however long it took. */
	c.state = CHILD_STARTING;
	c.ready_us = 0;
	child_reaped(&c, 100 * S, &e);
	assert_int_equal(c.due_us, 100 * S + 50000);
	c.state = CHILD_STARTING;
	child_reaped(&c, 101 * S, &e);
	assert_int_equal(c.due_us, 101 * S + 100000);
	(void)close(fd);
}

/* A store that stops whenever somebody meets what is damaged: it once was started twenty times a
 * second, for ever. */
static void
test_an_error_each_time_is_tried_ever_more_slowly(void **state)
{
	const int64_t pauses_ms[] = {0, 50, 100, 200, 400};
	struct err why, e;
	struct child c;
	int fd;

	(void)state;
	(void)err_set(&why, ERR_UNAVAILABLE, "the store stopped");
	fake(&c, &fd, 0);
	for (int64_t i = 0; i < 5; i++) {
		c.state = CHILD_READY;
		c.ready_us = (1 + 2 * i) * S;
		c.nsaid = 0;
		c.erring = 0;
		if (i > 0) {
			int fds[2];

			(void)close(fd);
			assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
			c.status_fd = fds[0];
			fd = fds[1];
		}
		status_failed(fd, &why);
		child_reaped(&c, (2 + 2 * i) * S, &e);
		assert_int_equal(e.code, ERR_UNAVAILABLE);
		assert_int_equal(c.due_us, (2 + 2 * i) * S + pauses_ms[i] * 1000);
	}
	(void)close(fd);
}

static void
test_last_words(void **state)
{
	struct err e, got;
	struct child c;
	char flood[4096];
	int fd;

	(void)state;
	fake(&c, &fd, 0);
	(void)err_set(&e, ERR_BUSY, "process 7 owns the store: R.E");
	assert_int_equal(status_beat(fd), 0);
	status_failed(fd, &e);
	child_reaped(&c, 1 * S, &got); /* what was still in the pipe counts */
	assert_int_equal(got.code, ERR_BUSY);
	assert_string_equal(got.msg, "process 7 owns the store: R.E");
	assert_int_equal(c.ready_us, 0); /* the R in the text is no R */
	assert_int_equal(exits_of(&got), EXITS_STORE);
	(void)close(fd);

	/* Rubbish is bounded and is no error text. */
	fake(&c, &fd, 0);
	memset(flood, 'E', sizeof(flood));
	assert_int_equal(write(fd, flood, sizeof(flood)), sizeof(flood));
	child_reaped(&c, 1 * S, &got);
	assert_int_equal(got.code, ERR_NONE);
	(void)close(fd);

	/* The longest message there is travels whole. */
	fake(&c, &fd, 0);
	memset(&e, 0, sizeof(e));
	e.code = ERR_UNAVAILABLE;
	memset(e.msg, 'm', sizeof(e.msg) - 1);
	status_failed(fd, &e);
	child_reaped(&c, 1 * S, &got);
	assert_int_equal(got.code, ERR_UNAVAILABLE);
	assert_string_equal(got.msg, e.msg);
	(void)close(fd);
}

static void
test_status_never_blocks(void **state)
{
	int fds[2], i;

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	for (i = 0; i < 200000; i++) /* more than any pipe holds */
		assert_int_equal(status_beat(fds[1]), 0);
	(void)close(fds[0]);
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	assert_int_equal(status_beat(fds[1]), -1); /* the supervisor is gone */
	(void)close(fds[1]);
	status_ready(-1);
	assert_int_equal(status_beat(-1), 0);
}

/* A process of ours that waits for a signal. */
static void
real(struct child *c)
{
	int fds[2];
	char byte;

	memset(c, 0, sizeof(*c));
	c->status_fd = -1;
	assert_int_equal(pipe(fds), 0);
	c->pid = fork();
	assert_true(c->pid != -1);
	if (c->pid == 0) {
		assert_int_equal(write(fds[1], "x", 1), 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(fds[0], &byte, 1), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	c->state = CHILD_READY;
}

static void
test_stop(void **state)
{
	struct child c;
	struct err e;
	int status;

	(void)state;
	real(&c);
	child_stop(&c, 50 * S);
	assert_int_equal(c.state, CHILD_LEAVING);
	assert_int_equal(child_deadline(&c), 50 * S + CHILD_LEAVE_US);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	child_reaped(&c, 51 * S, &e);
	assert_int_equal(c.state, CHILD_FREE); /* told to go: no restart */
	assert_int_equal(child_deadline(&c), INT64_MAX);

	/* Killed because it hung, and then told to stop before it was reaped: an end, too. */
	real(&c);
	child_kill(&c);
	assert_int_equal(c.state, CHILD_KILLED);
	assert_int_equal(child_deadline(&c), INT64_MAX);
	child_stop(&c, 60 * S);
	assert_int_equal(c.state, CHILD_KILLED);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	child_reaped(&c, 61 * S, &e);
	assert_int_equal(c.state, CHILD_FREE);

	/* Waiting for its restart: there will be none. */
	memset(&c, 0, sizeof(c));
	c.state = CHILD_DUE;
	child_stop(&c, 70 * S);
	assert_int_equal(c.state, CHILD_FREE);
	assert_int_equal(child_alive(&c), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_backoff),
	    cmocka_unit_test(test_ready_and_silence),
	    cmocka_unit_test(test_deaths_are_counted_and_forgotten),
	    cmocka_unit_test(test_an_error_each_time_is_tried_ever_more_slowly),
	    cmocka_unit_test(test_last_words),
	    cmocka_unit_test(test_status_never_blocks),
	    cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
