/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: what the service manager receives is the protocol of sd_notify(3), to the letter, on a path
 * and on an abstract address; and no child inherits the right to speak in the supervisor's name.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "apikeyd/notify.h"

struct fixture {
	char dir[64], path[100];
	int fd;
	struct notify N;
	struct err e;
};

static int
setup(void **state)
{
	struct fixture *F = calloc(1, sizeof(*F));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(F);
	(void)snprintf(F->dir, sizeof(F->dir), "%s/tn.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(F->dir));
	(void)snprintf(F->path, sizeof(F->path), "%s/notify", F->dir);
	F->fd = F->N.fd = -1;
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	(void)unsetenv("NOTIFY_SOCKET");
	*state = F;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *F = *state;

	notify_close(&F->N);
	if (F->fd != -1)
		(void)close(F->fd);
	(void)unlink(F->path);
	(void)rmdir(F->dir);
	free(F);
	return 0;
}

/* Be the service manager at ${name} ('@': abstract). */
static void
manage(struct fixture *F, const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t n = strlen(name);

	memcpy(sun.sun_path, name, n);
	if (name[0] == '@')
		sun.sun_path[0] = '\0';
	F->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(F->fd, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
	    0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static void
assert_got(struct fixture *F, const char *want)
{
	char text[512];
	ssize_t n = recv(F->fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, want);
}

static void
exchange(struct fixture *F)
{
	assert_int_equal(notify_open(&F->N, &F->e), 0);
	assert_null(getenv("NOTIFY_SOCKET"));
	notify_status(&F->N, "starting");
	assert_got(F, "STATUS=starting\n");
	notify_ready(&F->N, "ready");
	assert_got(F, "READY=1\nSTATUS=ready\n");
	notify_reloading(&F->N, 1234567);
	assert_got(F, "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reloading\n");
	notify_watchdog(&F->N);
	assert_got(F, "WATCHDOG=1\n");
	notify_stopping(&F->N);
	assert_got(F, "STOPPING=1\nSTATUS=stopping\n");
}

static void
test_path(void **state)
{
	struct fixture *F = *state;

	manage(F, F->path);
	exchange(F);
	assert_int_equal(F->N.watchdog_us, 0);
}

static void
test_abstract(void **state)
{
	struct fixture *F = *state;
	char name[64];

	(void)snprintf(name, sizeof(name), "@test_notify.%ld", (long)getpid());
	manage(F, name);
	exchange(F);
}

static void
test_watchdog(void **state)
{
	struct fixture *F = *state;
	char pid[24];

	manage(F, F->path);
	assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
	assert_int_equal(notify_open(&F->N, &F->e), 0);
	assert_int_equal(F->N.watchdog_us, 30000000);
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
	notify_close(&F->N);

	/* Meant for another process, or no number. */
	assert_int_equal(setenv("NOTIFY_SOCKET", F->path, 1), 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
	assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
	assert_int_equal(notify_open(&F->N, &F->e), 0);
	assert_int_equal(F->N.watchdog_us, 0);
	notify_close(&F->N);
	assert_int_equal(setenv("NOTIFY_SOCKET", F->path, 1), 0);
	assert_int_equal(setenv("WATCHDOG_USEC", "soon", 1), 0);
	assert_int_equal(notify_open(&F->N, &F->e), 0);
	assert_int_equal(F->N.watchdog_us, 0);
}

static void
test_nobody_and_nonsense(void **state)
{
	static const char *const bad[] = {"relative", "@", "/",
	    "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"
	    "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"};
	struct fixture *F = *state;
	size_t i;

	assert_int_equal(notify_open(&F->N, &F->e), 0);
	assert_int_equal(F->N.fd, -1);
	notify_ready(&F->N, "into the void");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
		assert_int_equal(notify_open(&F->N, &F->e), -1);
		assert_int_equal(F->e.code, ERR_INPUT);
		assert_int_equal(F->N.fd, -1);
		assert_null(getenv("NOTIFY_SOCKET"));
	}
	/* A manager that went away is no reason to fail. */
	manage(F, F->path);
	assert_int_equal(notify_open(&F->N, &F->e), 0);
	(void)close(F->fd);
	F->fd = -1;
	notify_ready(&F->N, "into the void");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_path, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_abstract, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_watchdog, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_nobody_and_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
