/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a worker that an attacker has taken over can ask for checks and nothing else.  A real
 * keeper, in its sandbox; a dialer, as the supervisor is one; and a process in a worker's sandbox
 * with a worker's descriptors that tries to administer.  All of them run as the same user, who may.
 * Guards invariants 3 and 4: what workers are made to say changes no key and tells no secret.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/sandbox.h"
#include "keeper/keeper.h"
#include "keeper_fixture.h"
#include "wire/dial.h"

#define PATIENCE_MS 20000

static struct {
	struct kf *f;
	char conf[256], admin[256], checks[256];
	pid_t keeper, dialer;
	int status_fd, control; /* control: the worker's end */
	struct kf_key key;
} T;

/* ---- the three processes ---- */

static void __attribute__((noreturn)) keep(int status_fd)
{
	struct keeper_options o = {.status_fd = status_fd};
	struct err e = {0};
	struct config *c = config_load(T.conf, NULL, NULL, &e);

	/* What libraries load when they are first used: as keeper_main.c does. */
	if (c == NULL || digest_init(&e) == -1 || sandbox_enter(SANDBOX_KEEPER, c, &e) == -1 ||
	    keeper_run(&c, &o, &e) != 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		_exit(1);
	}
	config_free(c);
	_exit(0);
}

static void __attribute__((noreturn)) dial(int control)
{
	struct pollfd p = {.fd = control, .events = POLLIN};
	struct dialer D;
	struct err e;

	if (dialer_init(&D, control, T.f->run_dir, &e) == -1)
		_exit(1);
	while (dialer_serve(&D, getppid()) != DIAL_GONE)
		(void)poll(&p, 1, -1);
	_exit(0);
}

static int
setup(void **state)
{
	int status[2], pair[2];
	FILE *out;
	char c;

	(void)state;
	T.f = kf_make();
	kf_path(T.conf, sizeof(T.conf), T.f->top, "apikeyd.conf");
	assert_int_equal(wire_socket_path(T.f->run_dir, T.admin, sizeof(T.admin), &T.f->e), 0);
	assert_int_equal(wire_check_path(T.f->run_dir, T.checks, sizeof(T.checks), &T.f->e), 0);
	assert_non_null(out = fopen(T.conf, "w"));
	assert_true(fprintf(out,
			"state_dir = \"%s\"\nrun_dir = \"%s\"\npepper_file = \"%s\"\nlog_level = "
			"\"error\"\n",
			T.f->state_dir, T.f->run_dir, T.f->pepper_file) > 0);
	assert_int_equal(fclose(out), 0);
	/* As the supervisor does, before there is a keeper: landlock takes directories that are. */
	assert_int_equal(mkdir(T.f->run_dir, 0755), 0);
	assert_int_equal(mkdir(T.f->state_dir, 0700), 0);
	assert_int_equal(pipe(status), 0);
	if ((T.keeper = fork()) == 0)
		keep(status[1]);
	close(status[1]);
	assert_int_equal(dial_pair(pair, &T.f->e), 0);
	if ((T.dialer = fork()) == 0) {
		close(pair[1]);
		dial(pair[0]);
	}
	close(pair[0]);
	T.status_fd = status[0];
	T.control = pair[1];
	assert_int_equal(read(T.status_fd, &c, 1), 1);
	assert_int_equal(c, 'R');
	return 0;
}

static int
teardown(void **state)
{
	void *f = T.f;
	int status;

	(void)state;
	close(T.control);
	assert_int_equal(waitpid(T.dialer, &status, 0), T.dialer);
	assert_int_equal(status, 0);
	assert_int_equal(kill(T.keeper, SIGTERM), 0);
	assert_int_equal(waitpid(T.keeper, &status, 0), T.keeper);
	assert_int_equal(status, 0);
	close(T.status_fd);
	return kf_teardown(&f);
}

/* ---- what the service user may, in the test itself ---- */

static cJSON *
administer(const char *request)
{
	struct err e = {0};
	int fd = wire_connect(T.admin, &e);
	long n =
	    wire_call(fd, span_of(request), T.f->reply, sizeof(T.f->reply), 20 * CLOCK_SECOND, &e);
	cJSON *reply;

	if (n < 0)
		fail_msg("%s: %s", request, e.msg);
	close(fd);
	reply = json_parse_object((struct span){T.f->reply, (size_t)n}, &e);
	assert_non_null(reply);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(reply, "ok")));
	return reply;
}

static void
make_key(void)
{
	cJSON *reply = administer("{\"op\":\"key.create\",\"owner\":\"acme\"}");
	const cJSON *r = cJSON_GetObjectItem(reply, "result");

	(void)snprintf(T.key.key, sizeof(T.key.key), "%s", json_str(r, "key", NULL));
	(void)snprintf(T.key.id, sizeof(T.key.id), "%s", json_str(r, "id", NULL));
	cJSON_Delete(reply);
}

/* ---- the attacker's means ---- */

/* A connection from the dialer, waited for; -1: none. */
static int
get_connection(void)
{
	struct pollfd in = {.fd = T.control, .events = POLLIN};
	struct pollfd out = {.fd = T.control, .events = POLLOUT};
	enum dial got = DIAL_NOTHING;
	int fd = -1, i, asked;

	for (i = 0; i < 1000 && got != DIAL_CONNECTED; i++) {
		while ((asked = dial_ask(T.control)) == 0)
			if (poll(&out, 1, PATIENCE_MS) != 1)
				return -1;
		if (asked == -1)
			return -1;
		do {
			if (poll(&in, 1, PATIENCE_MS) != 1)
				return -1;
		} while ((got = dial_take(T.control, &fd)) == DIAL_NOTHING);
		if (got == DIAL_GONE)
			return -1;
	}
	return fd;
}

static int
send_json(int fd, enum wire_type type, const char *json)
{
	uint8_t mem[1024];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	wire_json_encode(type, span_of(json), &w);
	return !w.overflow && send(fd, w.p, w.len, MSG_NOSIGNAL) == (ssize_t)w.len;
}

static int
send_check(int fd, uint64_t seq)
{
	struct wire_check c = kf_check(&T.key);
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;

	c.client = 1;
	c.seq = seq;
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	return !w.overflow && send(fd, w.p, w.len, MSG_NOSIGNAL) == (ssize_t)w.len;
}

/* What comes back: bytes, 0: it was cut, -1: nothing in time. */
static ssize_t
hear(int fd, uint8_t *mem, size_t cap)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, PATIENCE_MS) != 1)
		return -1;
	n = recv(fd, mem, cap, MSG_DONTWAIT);
	return n < 0 ? 0 : n;
}

static int
is_admitted(int fd, uint64_t seq)
{
	uint8_t mem[WIRE_BATCH_BYTES];
	struct wire_answer a;
	struct err e;
	ssize_t n;

	if (!send_check(fd, seq) || (n = hear(fd, mem, sizeof(mem))) <= 0)
		return 0;
	return wire_answer_decode((struct span){(char *)mem, (size_t)n}, &a, &e) == 0 &&
	       a.seq == seq && a.verdict == VERDICT_OK;
}

/* In a worker's sandbox: the wait status. */
static int
attack(int (*act)(void))
{
	struct config c = {.sandbox = 1};
	struct err e;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0)
		_exit(sandbox_enter(SANDBOX_WORKER, &c, &e) == -1 ? 255 : act());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- the attacks: 0 is failure to get anywhere ---- */

static int
ask_for_checks(void)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);
	int fd = get_connection();

	if (fd == -1)
		return 1;
	if (getpeername(fd, (struct sockaddr *)&un, &len) == -1 ||
	    strcmp(un.sun_path, T.checks) != 0)
		return 2;
	return is_admitted(fd, 1) ? 0 : 3;
}

static void
it_can_ask_for_checks(void **state)
{
	(void)state;
	make_key();
	assert_int_equal(attack(ask_for_checks), 0);
}

static char revoking[128];

/* Each of these ends the connection without a word. */
static int
ask_to_administer(void)
{
	static const char *const requests[] = {"{\"op\":\"ping\"}",
	    "{\"op\":\"key.create\",\"owner\":\"thief\"}", "{\"op\":\"key.list\"}",
	    "{\"op\":\"pepper.list\"}", "{\"op\":\"plan.list\"}", "{}", "", revoking};
	uint8_t mem[WIRE_BATCH_BYTES];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		/* First of all; and behind a check, when it is known as somebody who asks for
		 * those. */
		for (int behind = 0; behind < 2; behind++) {
			if ((fd = get_connection()) == -1)
				return 1;
			if (behind && !is_admitted(fd, i + 1))
				return 2;
			if (!send_json(fd, WIRE_ADMIN, requests[i]))
				return 3;
			if (hear(fd, mem, sizeof(mem)) != 0)
				return 4;
			close(fd);
		}
	}
	return 0;
}

/* One datagram: a check, and what administers behind it. */
static int
hide_behind_a_check(void)
{
	struct wire_check c = kf_check(&T.key);
	uint8_t mem[WIRE_BATCH_BYTES];
	struct wbuf w, admin;
	uint8_t more[256];
	ssize_t n;
	int fd = get_connection();

	if (fd == -1)
		return 1;
	c.client = 2;
	c.seq = 7;
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	wbuf_init(&admin, more, sizeof(more));
	wire_json_encode(WIRE_ADMIN, span_of(revoking), &admin);
	memcpy(mem + w.len, more, admin.len);
	if (send(fd, mem, w.len + admin.len, MSG_NOSIGNAL) != (ssize_t)(w.len + admin.len))
		return 2;
	/* The check may be answered; nothing else is. */
	while ((n = hear(fd, mem, sizeof(mem))) > 0)
		if (wire_type_of((struct span){(char *)mem, (size_t)n}) == WIRE_REPLY)
			return 3;
	return n == 0 ? 0 : 4;
}

static void
it_cannot_administer(void **state)
{
	cJSON *reply;

	(void)state;
	make_key();
	(void)snprintf(
	    revoking, sizeof(revoking), "{\"op\":\"key.revoke\",\"id\":\"%s\"}", T.key.id);
	assert_int_equal(attack(ask_to_administer), 0);
	assert_int_equal(attack(hide_behind_a_check), 0);
	reply = administer(kf_on("key.show", T.key.id, ""));
	assert_string_equal(
	    json_str(cJSON_GetObjectItem(reply, "result"), "state", NULL), "active");
	cJSON_Delete(reply);
	/* Its words are what would do it, where they may be said. */
	cJSON_Delete(administer(revoking));
}

/* It is the socket that says so, not who connects: this test is no stranger, and in no sandbox. */
static void
the_socket_is_for_checks(void **state)
{
	struct err e = {0};
	uint8_t mem[256];
	int fd;

	(void)state;
	make_key();
	fd = wire_connect(T.checks, &e);
	assert_true(fd != -1);
	assert_true(is_admitted(fd, 1));
	assert_true(send_json(fd, WIRE_ADMIN, "{\"op\":\"ping\"}"));
	assert_int_equal(hear(fd, mem, sizeof(mem)), 0);
	close(fd);
}

/* Many connections: each new one ends the one before, so that it cannot take the keeper's all. */
static int
hoard(void)
{
	int fds[20], i, live = 0;

	for (i = 0; i < 20; i++)
		if ((fds[i] = get_connection()) == -1)
			return 1;
	for (i = 0; i < 20; i++)
		live += is_admitted(fds[i], (uint64_t)i + 1);
	return live == 1 && is_admitted(fds[19], 99) ? 0 : 2;
}

static void
it_has_one_connection(void **state)
{
	(void)state;
	make_key();
	assert_int_equal(attack(hoard), 0);
}

static size_t
files_of(pid_t pid)
{
	char path[64];
	size_t n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	assert_non_null(d = opendir(path));
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* Everything but the one letter, and descriptors that nobody asked for.  (An empty message is the
 * channel's end, to its own loss.) */
static int
babble(void)
{
	static char junk[9000];
	union {
		char mem[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} with = {.align = {.cmsg_len = CMSG_LEN(sizeof(int)),
		      .cmsg_level = SOL_SOCKET,
		      .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {junk, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = with.mem,
	    .msg_controllen = sizeof(with.mem)};
	int i, fd;

	memset(junk, 'z', sizeof(junk));
	memcpy(CMSG_DATA(&with.align), &T.control, sizeof(int));
	for (i = 0; i < 200; i++) {
		(void)send(T.control, junk, 1 + (size_t)i * 40, MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)sendmsg(T.control, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if ((fd = get_connection()) == -1)
		return 1;
	return is_admitted(fd, 1) ? 0 : 2;
}

static void
its_dialer_is_not_impressed(void **state)
{
	size_t before;

	(void)state;
	make_key();
	assert_int_equal(attack(ask_for_checks), 0);
	before = files_of(T.dialer);
	assert_int_equal(attack(babble), 0);
	assert_int_equal(files_of(T.dialer), before);
}

/* Nobody listens, so that each try would say so: not all are tried. */
static void
its_dialer_takes_its_time(void **state)
{
	struct dialer D;
	struct err e;
	int pair[2], tried = 0, spared = 0;

	(void)state;
	assert_int_equal(dial_pair(pair, &e), 0);
	assert_int_equal(dialer_init(&D, pair[0], "/nonexistent", &e), 0);
	/* Ten thousand: one that sleeps longer than the pause between any two is not of this world.
	 */
	for (int i = 0; i < 10000 && spared == 0; i++) {
		assert_int_equal(dial_ask(pair[1]), 1);
		if (dialer_serve(&D, getpid()) == DIAL_NOBODY)
			tried++;
		else
			spared++;
		assert_int_equal(recv(pair[1], (char[1]){0}, 1, 0), 1);
	}
	assert_true(tried >= 1);
	assert_int_equal(spared, 1);
	dialer_release(&D);
	close(pair[1]);
}

/* A socket of its own, to the one where the service user may administer. */
static int
connect_itself(void)
{
	struct err e;

	return wire_connect(T.admin, &e) == -1 ? 1 : 0;
}

static void
it_cannot_connect(void **state)
{
	int status = attack(connect_itself);

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_can_ask_for_checks),
	    TEST(it_cannot_administer),
	    TEST(the_socket_is_for_checks),
	    TEST(it_has_one_connection),
	    TEST(its_dialer_is_not_impressed),
	    TEST(its_dialer_takes_its_time),
	    TEST(it_cannot_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
