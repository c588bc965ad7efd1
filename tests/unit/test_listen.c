/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the supervisor takes a listening address only when it is free: a live socket is refused, a
 * stale one replaced, a file that is no socket left alone; a unix socket has exactly the mode that
 * was asked for, whatever the umask; what systemd passes is taken only when it is meant for us.
 * Likewise the pid file's lock and running.conf.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "apikeyd/listen.h"
#include "apikeyd/pidfile.h"
#include "apikeyd/rundir.h"
#include "config/config.h"

struct fixture {
	char dir[64], path[100];
	struct config C;
	struct privileges P; /* root is 0: no chown, so that the test runs as anybody */
	struct listener L;
	struct err e;
};

static int
setup(void **state)
{
	struct fixture *F = calloc(1, sizeof(*F));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(F);
	(void)snprintf(F->dir, sizeof(F->dir), "%s/tl.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(F->dir));
	(void)snprintf(F->path, sizeof(F->path), "%s/s", F->dir);
	F->C.listen = F->path;
	F->C.listen_mode = 0660;
	F->L.fd = -1;
	*state = F;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *F = *state;

	listen_close(&F->L);
	(void)unlink(F->path);
	assert_int_equal(rmdir(F->dir), 0); /* every test leaves nothing else behind */
	free(F);
	return 0;
}

static int
connects(const char *path, int type)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), ok;

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	ok = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0;
	(void)close(fd);
	return ok;
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode;
}

static void
test_exact_mode(void **state)
{
	static const unsigned modes[] = {0660, 0600, 0666, 0777, 0000};
	struct fixture *F = *state;
	mode_t before = umask(0077);
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		F->C.listen_mode = modes[i];
		assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
		assert_int_equal(mode_of(F->path), S_IFSOCK | modes[i]);
		assert_true(listen_is(F->L.fd));
		listen_close(&F->L);
		assert_int_equal(access(F->path, F_OK), -1);
	}
	assert_int_equal(umask(before), 0077); /* and the umask is as it was */
}

static void
test_live_socket_is_refused(void **state)
{
	struct fixture *F = *state;
	struct listener other;

	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
	assert_int_equal(listen_open(&other, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_BUSY);
	assert_non_null(strstr(F->e.msg, F->path));
	assert_int_equal(other.fd, -1);
	assert_true(connects(F->path, SOCK_STREAM)); /* untouched */
}

static void
test_other_types_are_live_too(void **state)
{
	struct fixture *F = *state;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", F->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_BUSY);
	assert_true(connects(F->path, SOCK_SEQPACKET));
	(void)close(fd);
}

static void
test_full_queue_is_live(void **state)
{
	struct fixture *F = *state;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), queue[8];
	size_t i;

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", F->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 0), 0);
	for (i = 0; i < 8; i++) {
		queue[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(queue[i], (struct sockaddr *)&sun, sizeof(sun));
	}
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_BUSY);
	for (i = 0; i < 8; i++)
		(void)close(queue[i]);
	(void)close(fd);
}

static void
test_stale_socket_is_replaced(void **state)
{
	struct fixture *F = *state;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", F->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	(void)close(fd); /* as after kill -9 */
	assert_int_equal(access(F->path, F_OK), 0);
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
	assert_true(connects(F->path, SOCK_STREAM));
}

static void
test_files_are_left_alone(void **state)
{
	struct fixture *F = *state;
	char target[120];
	int fd = open(F->path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_int_equal(close(fd), 0);
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_CONFLICT);
	assert_true(S_ISREG(mode_of(F->path)));
	assert_int_equal(unlink(F->path), 0);

	(void)snprintf(target, sizeof(target), "%s/elsewhere", F->dir);
	assert_int_equal(symlink(target, F->path), 0);
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_true(S_ISLNK(mode_of(F->path)));
	assert_int_equal(access(target, F_OK), -1);
}

static void
test_only_our_own_is_removed(void **state)
{
	struct fixture *F = *state;
	struct listener other;

	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
	assert_int_equal(unlink(F->path), 0);
	assert_int_equal(listen_open(&other, &F->C, &F->P, &F->e), 0);
	listen_close(&F->L);
	assert_true(connects(F->path, SOCK_STREAM));
	listen_close(&other);
	assert_int_equal(access(F->path, F_OK), -1);
}

static void
test_bad_places(void **state)
{
	struct fixture *F = *state;
	char missing[120], longest[200];

	(void)snprintf(missing, sizeof(missing), "%s/no/such/dir", F->dir);
	F->C.listen = missing;
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_SYSTEM);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	F->C.listen = longest;
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_INPUT);
}

static void
tcp(struct fixture *F, const char *loopback, int family)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct listener other;
	char text[64];
	int probe = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned port;

	/* A port that is free now: the kernel's choice. */
	memset(&ss, 0, sizeof(ss));
	ss.ss_family = (sa_family_t)family;
	if (probe == -1 || bind(probe, (struct sockaddr *)&ss,
			       family == AF_INET ? sizeof(struct sockaddr_in)
						 : sizeof(struct sockaddr_in6)) == -1) {
		(void)close(probe);
		return; /* a machine without that family */
	}
	assert_int_equal(getsockname(probe, (struct sockaddr *)&ss, &len), 0);
	port = ntohs(family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
				       : ((struct sockaddr_in6 *)&ss)->sin6_port);
	(void)close(probe);
	(void)snprintf(text, sizeof(text), "%s:%u", loopback, port);
	F->C.listen = text;
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
	assert_null(F->L.path);
	len = sizeof(ss);
	assert_int_equal(getsockname(F->L.fd, (struct sockaddr *)&ss, &len), 0);
	if (family == AF_INET)
		assert_int_equal(
		    ((struct sockaddr_in *)&ss)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(listen_open(&other, &F->C, &F->P, &F->e), -1);
	assert_int_equal(F->e.code, ERR_BUSY);
	assert_non_null(strstr(F->e.msg, text));
	listen_close(&F->L);
}

static void
test_tcp(void **state)
{
	struct fixture *F = *state;

	tcp(F, "127.0.0.1", AF_INET);
	tcp(F, "[::1]", AF_INET6);
	F->C.listen = (char *)(uintptr_t) "no.such.host.invalid:9000";
	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), -1);
}

static void
pass(int fd, const char *n, pid_t pid)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%ld", (long)pid);
	assert_int_equal(setenv("LISTEN_FDS", n, 1), 0);
	assert_int_equal(setenv("LISTEN_PID", text, 1), 0);
	if (fd != 3)
		assert_int_equal(dup2(fd, 3), 3);
}

static void
test_inherited(void **state)
{
	struct fixture *F = *state;
	struct listener got;
	int saved = fcntl(3, F_DUPFD_CLOEXEC, 20), null;

	assert_int_equal(listen_open(&F->L, &F->C, &F->P, &F->e), 0);
	/* Move away from 3, which is systemd's. */
	if (F->L.fd == 3) {
		F->L.fd = fcntl(3, F_DUPFD_CLOEXEC, 20);
		(void)close(3);
	}
	assert_int_equal(listen_inherited(&got, &F->e), 0);
	pass(F->L.fd, "1", getpid() + 1); /* somebody else's */
	assert_int_equal(listen_inherited(&got, &F->e), 0);
	assert_null(getenv("LISTEN_FDS"));
	pass(F->L.fd, "0", getpid());
	assert_int_equal(listen_inherited(&got, &F->e), 0);
	pass(F->L.fd, "2", getpid());
	assert_int_equal(listen_inherited(&got, &F->e), -1);
	pass(F->L.fd, "1", getpid());
	assert_int_equal(listen_inherited(&got, &F->e), 1);
	assert_true(got.fd > 3);
	assert_true(listen_is(got.fd));
	assert_int_equal(fcntl(3, F_GETFD), -1);
	assert_int_equal(fcntl(got.fd, F_GETFD), FD_CLOEXEC);
	assert_null(getenv("LISTEN_PID"));
	listen_close(&got);
	assert_int_equal(access(F->path, F_OK), 0); /* systemd's file is systemd's */
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pass(null, "1", getpid());
	assert_int_equal(listen_inherited(&got, &F->e), -1);
	assert_int_equal(F->e.code, ERR_INPUT);
	if (null != 3)
		(void)close(null);
	(void)close(3);
	if (saved != -1) {
		assert_int_equal(dup2(saved, 3), 3);
		(void)close(saved);
	}
	assert_false(listen_is(-1));
}

/* Only a stream is one that FastCGI can be spoken on (SOCK_SEQPACKET listens and accepts as well).
 */
static void
test_streams_only(void **state)
{
	static const struct {
		int type, is;
	} types[] = {{SOCK_STREAM, 1}, {SOCK_SEQPACKET, 0}, {SOCK_DGRAM, 0}};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		fd = socket(AF_UNIX, types[i].type | SOCK_CLOEXEC, 0);
		/* No path: the kernel names it. */
		assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sa_family_t)), 0);
		assert_false(listen_is(fd));
		assert_int_equal(listen(fd, 1) == 0, types[i].type != SOCK_DGRAM);
		assert_int_equal(listen_is(fd), types[i].is);
		assert_int_equal(close(fd), 0);
	}
}

static void
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static void
test_pidfile(void **state)
{
	struct fixture *F = *state;
	struct pidfile A, B;
	char text[24] = "", want[24], path[120], other[120];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/apikeyd.pid", F->dir);
	assert_int_equal(pidfile_open(&A, F->dir, &F->e), 0);
	assert_false(A.orphaned);
	/* Whoever could read it could keep the next one from locking it. */
	assert_int_equal(mode_of(path), S_IFREG | 0600);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	(void)close(fd);
	(void)snprintf(want, sizeof(want), "%ld\n", (long)getpid());
	assert_string_equal(text, want);

	assert_int_equal(pidfile_open(&B, F->dir, &F->e), -1);
	assert_int_equal(F->e.code, ERR_BUSY);
	want[strlen(want) - 1] = '\0';
	assert_non_null(strstr(F->e.msg, want));
	assert_int_equal(B.fd, -1);
	pidfile_close(&B);
	assert_int_equal(access(path, F_OK), 0);
	pidfile_close(&A);
	assert_int_equal(access(path, F_OK), -1);
	pidfile_close(&A);

	/* Left behind by one that was killed. */
	write_file(path, "99999999\n");
	assert_int_equal(pidfile_open(&A, F->dir, &F->e), 0);
	assert_true(A.orphaned);
	pidfile_close(&A);

	/* Traps of whoever may write to the directory. */
	(void)snprintf(other, sizeof(other), "%s/other", F->dir);
	write_file(other, "precious\n");
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(pidfile_open(&A, F->dir, &F->e), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(link(other, path), 0);
	assert_int_equal(pidfile_open(&A, F->dir, &F->e), -1);
	assert_int_equal(F->e.code, ERR_DENIED);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pidfile_open(&A, F->dir, &F->e), -1);
	assert_int_equal(unlink(path), 0);
	fd = open(other, O_RDONLY | O_CLOEXEC);
	memset(text, 0, sizeof(text));
	assert_int_equal(read(fd, text, sizeof(text) - 1), 9);
	assert_string_equal(text, "precious\n");
	(void)close(fd);
	assert_int_equal(unlink(other), 0);
}

static void
test_directories_and_running_conf(void **state)
{
	struct fixture *F = *state;
	char conf[120], run[140], deep[140], parent[130], path[RUNDIR_PATH_MAX], text[400];
	struct config *C, *again;

	(void)snprintf(conf, sizeof(conf), "%s/conf", F->dir);
	(void)snprintf(run, sizeof(run), "%s/run", F->dir);
	(void)snprintf(parent, sizeof(parent), "%s/a", F->dir);
	(void)snprintf(deep, sizeof(deep), "%s/a/state", F->dir);
	(void)snprintf(
	    text, sizeof(text), "run_dir = \"%s\"\nstate_dir = \"%s\"\nrealm = r\n", run, deep);
	write_file(conf, text);
	C = config_load(conf, NULL, NULL, &F->e);
	assert_non_null(C);
	assert_int_equal(rundir_make(C, &F->P, &F->e), 0);
	assert_int_equal(mode_of(run), S_IFDIR | 0755);
	assert_int_equal(mode_of(deep), S_IFDIR | 0700);
	assert_int_equal(rundir_make(C, &F->P, &F->e), 0); /* they may be there */
	assert_int_equal(rundir_write(C, &F->e), 0);
	assert_int_equal(rundir_write(C, &F->e), 0);
	assert_int_equal(rundir_path(C, path, &F->e), 0);
	assert_int_equal(mode_of(path), S_IFREG | 0644);
	again = config_load(path, NULL, NULL, &F->e);
	assert_non_null(again);
	assert_string_equal(again->realm, "r");
	assert_string_equal(again->state_dir, deep);
	config_free(again);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rundir_write(C, &F->e), -1);
	/* A file where a directory should be. */
	write_file(run, "");
	assert_int_equal(rundir_make(C, &F->P, &F->e), -1);
	assert_non_null(strstr(F->e.msg, "run_dir"));
	assert_int_equal(unlink(run), 0);
	assert_int_equal(rmdir(deep), 0);
	assert_int_equal(rmdir(parent), 0);
	assert_int_equal(unlink(conf), 0);
	config_free(C);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_exact_mode, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_live_socket_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_other_types_are_live_too, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_full_queue_is_live, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stale_socket_is_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_files_are_left_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_only_our_own_is_removed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_places, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_inherited, setup, teardown),
	    cmocka_unit_test(test_streams_only),
	    cmocka_unit_test_setup_teardown(test_pidfile, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_directories_and_running_conf, setup, teardown),
	};

	return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
