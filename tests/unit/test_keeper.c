/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the keeper as a process: what it answers on its socket and to whom, in what order, and what
 * is left after SIGTERM and kill -9.  Guards Invariants 1 and 2 (exactly the units of the answers
 * are counted, over a kill), 3 (a change holds for every check after its acknowledgement), 5 (any
 * kill) and 6 (no message stops it).
 *
 * The keeper runs in a child; its status pipe is the barrier.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "keeper/keeper.h"
#include "keeper_fixture.h"

#define TIMEOUT_US (20 * CLOCK_SECOND)

struct running {
	struct kf *f;
	char conf[256], socket[256];
	pid_t pid;
	int status_fd; /* the reading end */
	uint64_t seq;
};

static void
write_conf(struct running *r, const char *more)
{
	FILE *out = fopen(r->conf, "w");

	assert_non_null(out);
	assert_true(fprintf(out,
			"state_dir = \"%s\"\nrun_dir = \"%s\"\npepper_file = \"%s\"\nlog_level = "
			"\"error\"\n%s\n",
			r->f->state_dir, r->f->run_dir, r->f->pepper_file, more) > 0);
	assert_int_equal(fclose(out), 0);
}

/* What the child does.  Exit status: 0, or the code of the error. */
static int
child(const struct running *r, int status_fd, int64_t idle_exit_us)
{
	struct keeper_options o = {.status_fd = status_fd, .idle_exit_us = idle_exit_us};
	struct err e = {0};
	struct config *c = config_load(r->conf, NULL, NULL, &e);

	if (c == NULL) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 99;
	}
	log_open(LOG_TO_STDERR, c->log_level, "keeper");
	if (keeper_run(&c, &o, &e) != 0) {
		config_free(c);
		return (int)e.code;
	}
	config_free(c);
	return 0;
}

static void
fork_keeper(struct running *r, int64_t idle_exit_us)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	(void)fflush(NULL);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		close(fds[0]);
		exit(child(r, fds[1], idle_exit_us));
	}
	close(fds[1]);
	r->status_fd = fds[0];
}

static void
start(struct running *r)
{
	char c;

	fork_keeper(r, 0);
	assert_int_equal(read(r->status_fd, &c, 1), 1);
	assert_int_equal(c, 'R');
}

/* The exit status of the child, or minus the signal. */
static int
ended(struct running *r)
{
	int status;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	r->pid = 0;
	if (r->status_fd >= 0)
		close(r->status_fd);
	r->status_fd = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int
stop(struct running *r, int signo)
{
	assert_int_equal(kill(r->pid, signo), 0);
	return ended(r);
}

static int
setup(void **state)
{
	struct running *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->f = kf_make();
	r->status_fd = -1;
	kf_path(r->conf, sizeof(r->conf), r->f->top, "apikeyd.conf");
	assert_int_equal(
	    wire_socket_path(r->f->run_dir, r->socket, sizeof(r->socket), &r->f->e), 0);
	write_conf(r, "");
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct running *r = *state;
	void *f = r->f;

	if (r->pid > 0)
		(void)stop(r, SIGKILL);
	kf_teardown(&f);
	free(r);
	return 0;
}

/* What is left of a connection's latest datagram of answers. */
#define FDS_MAX 1200
static uint8_t datagrams[FDS_MAX][WIRE_BATCH_BYTES];
static struct span rests[FDS_MAX];

static int
dial(const struct running *r)
{
	struct err e = {0};
	int fd = wire_connect(r->socket, &e);

	if (fd < 0)
		fail_msg("%s", e.msg);
	rests[fd].len = 0;
	return fd;
}

/* ---- JSON ---- */

static cJSON *
ask_on(const struct running *r, int fd, const char *request)
{
	long n =
	    wire_call(fd, span_of(request), r->f->reply, sizeof(r->f->reply), TIMEOUT_US, &r->f->e);
	cJSON *reply;

	if (n < 0)
		fail_msg("%s: %s", request, r->f->e.msg);
	reply = json_parse_object((struct span){r->f->reply, (size_t)n}, &r->f->e);
	assert_non_null(reply);
	return reply;
}

static cJSON *
ask(const struct running *r, const char *request)
{
	int fd = dial(r);
	cJSON *reply = ask_on(r, fd, request);

	close(fd);
	return reply;
}

/* The error of a reply, "" for none. */
static void
expect(const struct running *r, const char *request, const char *error)
{
	cJSON *reply = ask(r, request);
	const char *got = json_str(reply, "error", NULL);

	assert_string_equal(got != NULL ? got : "", error);
	cJSON_Delete(reply);
}

static struct kf_key
create(const struct running *r, const char *members)
{
	char request[512];
	struct kf_key k;
	cJSON *reply, *result;

	(void)snprintf(
	    request, sizeof(request), "{\"op\":\"key.create\",\"owner\":\"acme\"%s}", members);
	reply = ask(r, request);
	result = cJSON_GetObjectItem(reply, "result");
	if (result == NULL)
		fail_msg("%s", json_str(reply, "message", NULL));
	assert_int_equal(
	    span_copy(k.key, sizeof(k.key), span_of(json_str(result, "key", NULL))), 0);
	assert_int_equal(span_copy(k.id, sizeof(k.id), span_of(json_str(result, "id", NULL))), 0);
	cJSON_Delete(reply);
	return k;
}

static struct kf_key
create_limited(const struct running *r, int units)
{
	char request[256];

	(void)snprintf(request, sizeof(request),
	    "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"day\",\"units\":%d,"
	    "\"window\":\"1d\"}]}",
	    units);
	expect(r, request, "");
	return create(r, ",\"plan\":\"p\"");
}

static int
used(const struct running *r, const struct kf_key *k)
{
	cJSON *reply = ask(r, kf_on("key.show", k->id, ""));
	int n = (int)json_int(
	    cJSON_GetArrayItem(
		cJSON_GetObjectItem(cJSON_GetObjectItem(reply, "result"), "limits"), 0),
	    "used", -1, 0, INT64_MAX, NULL);

	cJSON_Delete(reply);
	return n;
}

/* ---- checks ---- */

static void
send_check(int fd, const struct wire_check *c)
{
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(c, &w);
	assert_false(w.overflow);
	assert_int_equal(send(fd, mem, w.len, MSG_NOSIGNAL), w.len);
}

/*
 * The next answer: 1, or 0 when the connection has ended.  A keeper that ends with something unread
 * makes the next call fail with ECONNRESET; the answers that it had sent can be read after that.
 */
static int
receive(int fd, struct wire_answer *a)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct err e = {0};
	ssize_t n;

	assert_in_range(fd, 0, FDS_MAX - 1);
	if (rests[fd].len > 0)
		goto decode;
	assert_int_equal(poll(&p, 1, (int)(TIMEOUT_US / 1000)), 1);
	n = recv(fd, datagrams[fd], WIRE_BATCH_BYTES, 0);
	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, datagrams[fd], WIRE_BATCH_BYTES, 0);
	if (n <= 0)
		return 0;
	rests[fd] = (struct span){(char *)datagrams[fd], (size_t)n};
decode:
	if (wire_answer_decode(wire_next(&rests[fd]), a, &e) != 0)
		fail_msg("%s", e.msg);
	return 1;
}

static enum verdict
check_on(struct running *r, int fd, const struct kf_key *k)
{
	struct wire_check c = kf_check(k);
	struct wire_answer a;

	c.seq = ++r->seq;
	send_check(fd, &c);
	assert_int_equal(receive(fd, &a), 1);
	assert_int_equal(a.seq, c.seq);
	return a.verdict;
}

static enum verdict
check(struct running *r, const struct kf_key *k)
{
	int fd = dial(r);
	enum verdict v = check_on(r, fd, k);

	close(fd);
	return v;
}

/* ---- tests ---- */

static void
it_serves_and_ends(void **state)
{
	struct running *r = *state;
	struct kf_key k;
	char c;

	start(r);
	expect(r, "{\"op\":\"ping\"}", "");
	k = create(r, "");
	assert_int_equal(check(r, &k), VERDICT_OK);
	/* The heart beats. */
	assert_int_equal(read(r->status_fd, &c, 1), 1);
	assert_int_equal(c, '.');
	assert_int_equal(stop(r, SIGTERM), 0);
	assert_int_equal(access(r->socket, F_OK), -1);
	start(r);
	assert_int_equal(check(r, &k), VERDICT_OK);
	assert_int_equal(stop(r, SIGINT), 0);
}

static void
an_acknowledged_change_holds(void **state)
{
	struct running *r = *state;
	struct kf_key k;
	int fd;

	start(r);
	k = create(r, "");
	fd = dial(r);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(check_on(r, fd, &k), VERDICT_OK);
		expect(r, kf_on("key.disable", k.id, ""), "");
		assert_int_equal(check_on(r, fd, &k), VERDICT_KEY_DISABLED);
		expect(r, kf_on("key.enable", k.id, ""), "");
	}
	expect(r, kf_on("key.revoke", k.id, ""), "");
	assert_int_equal(stop(r, SIGKILL), -SIGKILL);
	close(fd);
	start(r);
	assert_int_equal(check(r, &k), VERDICT_KEY_REVOKED);
}

/* A burst on one connection: every one answered, in order, exactly as many admitted as the limit
 * has units. */
static void
a_burst_is_exact(void **state)
{
	enum { BURST = 300, UNITS = 100 };
	struct running *r = *state;
	struct wire_answer a;
	struct wire_check c;
	struct kf_key k;
	int fd, ok = 0;

	start(r);
	k = create_limited(r, UNITS);
	c = kf_check(&k);
	fd = dial(r);
	for (int i = 0; i < BURST; i += 50) {
		for (int j = 0; j < 50; j++) {
			c.seq = (uint64_t)(i + j);
			send_check(fd, &c);
		}
		for (int j = 0; j < 50; j++) {
			assert_int_equal(receive(fd, &a), 1);
			assert_int_equal(a.seq, i + j);
			ok += a.verdict == VERDICT_OK;
			assert_true(a.verdict == VERDICT_OK || a.verdict == VERDICT_RATE_LIMITED);
		}
	}
	assert_int_equal(ok, UNITS);
	assert_int_equal(used(r, &k), UNITS);
	close(fd);
}

/* Nobody waits for it any more: it must neither be answered nor counted. */
static void
a_late_check_is_dropped(void **state)
{
	struct running *r = *state;
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;
	int fd;

	start(r);
	k = create_limited(r, 10);
	c = kf_check(&k);
	fd = dial(r);
	c.seq = 1;
	c.deadline_us = clock_mono_us() - 1;
	send_check(fd, &c);
	c.seq = 2;
	c.deadline_us = clock_mono_us() + TIMEOUT_US;
	send_check(fd, &c);
	assert_int_equal(receive(fd, &a), 1);
	assert_int_equal(a.seq, 2);
	assert_int_equal(used(r, &k), 1);
	close(fd);
}

/*
 * Killed with checks in flight (test_round.c stops it at the very instant that matters; here it is
 * any): the worker reads what was answered, sends the rest again to the next keeper, and what is
 * counted is what was answered `ok`, no more and no less.
 */
static void
a_kill_counts_nothing_twice(void **state)
{
	enum { BURST = 60, ROUNDS = 6 };
	struct running *r = *state;
	struct wire_answer a;
	struct wire_check c;
	struct kf_key k;
	int fd, ok = 0;

	start(r);
	k = create_limited(r, BURST * ROUNDS);
	c = kf_check(&k);
	for (int round = 0; round < ROUNDS; round++) {
		int answered[BURST] = {0}, before_kill = round * 12;

		fd = dial(r);
		c.client = (uint64_t)round + 1;
		c.retry = 0;
		for (int i = 0; i < BURST; i++) {
			c.seq = (uint64_t)i;
			send_check(fd, &c);
		}
		for (int i = 0; i < before_kill && i < BURST; i++) {
			assert_int_equal(receive(fd, &a), 1);
			answered[a.seq] = 1;
			ok += a.verdict == VERDICT_OK;
		}
		assert_int_equal(stop(r, SIGKILL), -SIGKILL);
		while (receive(fd, &a)) {
			answered[a.seq] = 1;
			ok += a.verdict == VERDICT_OK;
		}
		close(fd);
		start(r);
		fd = dial(r);
		c.retry = 1;
		for (int i = 0; i < BURST; i++) {
			if (answered[i])
				continue;
			c.seq = (uint64_t)i;
			send_check(fd, &c);
			assert_int_equal(receive(fd, &a), 1);
			assert_int_equal(a.seq, i);
			ok += a.verdict == VERDICT_OK;
		}
		close(fd);
		assert_int_equal(used(r, &k), ok);
	}
	assert_int_equal(ok, BURST * ROUNDS);
}

/* Checks and JSON on one connection: answered in the order in which they were asked. */
static void
order_is_kept(void **state)
{
	struct running *r = *state;
	struct wire_answer a;
	struct wire_check c;
	struct kf_key k;
	uint8_t mem[4096];
	struct wbuf w;
	int fd;

	start(r);
	k = create(r, "");
	c = kf_check(&k);
	fd = dial(r);
	wbuf_init(&w, mem, sizeof(mem));
	wire_json_encode(WIRE_ADMIN, span_of(kf_on("key.disable", k.id, "")), &w);
	assert_int_equal(send(fd, mem, w.len, 0), w.len);
	for (uint64_t i = 1; i <= 3; i++) {
		c.seq = i;
		send_check(fd, &c);
	}
	assert_true(recv(fd, mem, sizeof(mem), 0) > 0);
	assert_int_equal(mem[1], WIRE_REPLY);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(receive(fd, &a), 1);
		assert_int_equal(a.seq, i);
		assert_int_equal(a.verdict, VERDICT_KEY_DISABLED);
	}
	/* The other way round: a connection of checks turns to administering. */
	close(fd);
	fd = dial(r);
	assert_int_equal(check_on(r, fd, &k), VERDICT_KEY_DISABLED);
	cJSON_Delete(ask_on(r, fd, kf_on("key.enable", k.id, "")));
	assert_int_equal(check_on(r, fd, &k), VERDICT_OK);
	close(fd);
}

static void
malformed_messages_end_their_connection_alone(void **state)
{
	static uint8_t junk[WIRE_MESSAGE_MAX + 1];
	struct running *r = *state;
	struct wire_answer a;
	struct wire_check c;
	struct kf_key k;
	size_t sizes[] = {1, 7, 8, 100, WIRE_CHECK_MAX, WIRE_CHECK_MAX + 1, WIRE_MESSAGE_MAX,
	    WIRE_MESSAGE_MAX + 1};
	int fd, other;

	start(r);
	k = create(r, "");
	c = kf_check(&k);
	other = dial(r);
	for (int type = 0; type < 6; type++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			/* First of all, and behind a good check. */
			for (int late = 0; late < 2; late++) {
				junk[0] = WIRE_VERSION;
				junk[1] = (uint8_t)type;
				junk[4] = 0xff;
				fd = dial(r);
				if (late)
					(void)check_on(r, fd, &k);
				assert_int_equal(send(fd, junk, sizes[i], MSG_NOSIGNAL), sizes[i]);
				assert_int_equal(receive(fd, &a), 0);
				close(fd);
			}
		}
	}
	/* A check whose body is wrong, a type that only the keeper sends. */
	fd = dial(r);
	send_check(fd, &c);
	assert_int_equal(receive(fd, &a), 1);
	memcpy(junk, (uint8_t[]){WIRE_VERSION, WIRE_CHECK, 0, 0, 0, 0, 0, 1, 0}, 9);
	assert_int_equal(send(fd, junk, 9, MSG_NOSIGNAL), 9);
	assert_int_equal(receive(fd, &a), 0);
	close(fd);
	assert_int_equal(check_on(r, other, &k), VERDICT_OK);
	close(other);
	assert_int_equal(stop(r, SIGTERM), 0);
}

static void
large_requests_are_heard(void **state)
{
	struct running *r = *state;
	size_t cap = WIRE_MESSAGE_MAX, len;
	char *request = malloc(cap);
	cJSON *reply;

	assert_non_null(request);
	start(r);
	len = (size_t)snprintf(
	    request, cap, "{\"op\":\"key.create\",\"owner\":\"a\",\"allow_ips\":[");
	for (int i = 0; i < KEYREC_NETS_MAX; i++)
		len += (size_t)snprintf(request + len, cap - len,
		    "%s\"2001:db8:aaaa:bbbb:cccc:dddd:eeee:%x\"", i > 0 ? "," : "", i + 0x1000);
	(void)snprintf(request + len, cap - len, "]}");
	reply = ask(r, request);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(reply, "ok")));
	cJSON_Delete(reply);
	free(request);
}

/* Another user: may ask for checks, and for nothing else. */
static void
strangers_only_check(void **state)
{
	struct running *r = *state;
	struct kf_key k;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	start(r);
	k = create(r, "");
	assert_int_equal(chmod(r->f->top, 0755), 0);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char text[512];
		struct err e = {0};
		int fd, rc;

		if (setgid(65534) != 0 || setuid(65534) != 0 ||
		    (fd = wire_connect(r->socket, &e)) < 0)
			_exit(1);
		if (wire_call(
			fd, span_of("{\"op\":\"ping\"}"), text, sizeof(text), TIMEOUT_US, &e) < 0)
			_exit(2);
		if (strstr(text, "\"denied\"") == NULL)
			_exit(3);
		rc = check_on(r, fd, &k) == VERDICT_OK ? 0 : 4;
		_exit(rc);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Its queue is short, and on a loaded machine fuller than the keeper is fast. */
static int
connect_in_turn(const char *path)
{
	int64_t give_up_us = clock_mono_us() + TIMEOUT_US;
	struct err e = {0};
	int fd;

	while (
	    (fd = wire_connect(path, &e)) < 0 && e.code == ERR_BUSY && clock_mono_us() < give_up_us)
		(void)poll(NULL, 0, 1);
	return fd;
}

/* How many of ${n} connections to ${path} the keeper takes, and keeps while more come; all are
 * closed at the end. */
static int
kept_of(const char *path, int n)
{
	static int fds[FDS_MAX];
	struct pollfd p = {.events = POLLIN};
	char c;
	int kept = 0;

	for (int i = 0; i < n; i++)
		if ((fds[i] = connect_in_turn(path)) < 0)
			return -1;
	/* The last one has been seen to when it is closed, or says that it is malformed. */
	if (send(fds[n - 1], "x", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		return -1;
	p.fd = fds[n - 1];
	if (poll(&p, 1, (int)(TIMEOUT_US / 1000)) != 1)
		return -1;
	for (int i = 0; i < n; i++)
		kept += recv(fds[i], &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
	for (int i = 0; i < n; i++)
		close(fds[i]);
	return kept;
}

/* So many of ${n}, never more; fewer only while it has not seen yet that others are closed. */
static int
keeps(const char *path, int n, int most)
{
	int64_t give_up_us = clock_mono_us() + TIMEOUT_US;
	int kept;

	do {
		kept = kept_of(path, n);
	} while (kept >= 0 && kept < most && clock_mono_us() < give_up_us);
	return kept;
}

/* Workers, and strangers, have so many connections and no more; whoever administers has his beside
 * them. */
static void
connections_are_counted(void **state)
{
	enum { WORKERS = 512, STRANGERS = 448, ALL = 1024, MORE = 20 };
	struct rlimit files;
	struct running *r = *state;
	char checks[256];
	int status, admin;
	pid_t pid;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	if (geteuid() != 0 || files.rlim_max < 2 * ALL)
		skip();
	files.rlim_cur = 2 * ALL;
	assert_int_equal(wire_check_path(r->f->run_dir, checks, sizeof(checks), &r->f->e), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	start(r);
	assert_int_equal(chmod(r->f->top, 0755), 0);
	admin = dial(r);
	cJSON_Delete(ask_on(r, admin, "{\"op\":\"ping\"}"));
	assert_int_equal(keeps(checks, WORKERS + MORE, WORKERS), WORKERS);
	assert_int_equal(keeps(r->socket, ALL + MORE, ALL - 1), ALL - 1);
	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(1);
		_exit(keeps(r->socket, STRANGERS + MORE, STRANGERS) == STRANGERS ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	cJSON_Delete(ask_on(r, admin, "{\"op\":\"ping\"}"));
	close(admin);
}

enum { FLOODS = 4, FLOOD = 120 };

/* Connections that are known to the keeper. */
static void
dial_floods(struct running *r, int fds[FLOODS], const struct kf_key *k)
{
	for (int i = 0; i < FLOODS; i++) {
		fds[i] = dial(r);
		assert_int_equal(check_on(r, fds[i], k), VERDICT_OK);
	}
}

static void
flood(const int fds[FLOODS], const struct kf_key *k)
{
	struct wire_check c = kf_check(k);

	for (int i = 0; i < FLOODS; i++)
		for (c.seq = 1; c.seq <= FLOOD; c.seq++)
			send_check(fds[i], &c);
}

static void
freeze(const struct running *r)
{
	int status;

	assert_int_equal(kill(r->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(r->pid, &status, WUNTRACED), r->pid);
	assert_true(WIFSTOPPED(status));
}

/* How many checks were counted before the one that is sent now; the keeper stands still until
 * then. */
static uint64_t
behind(struct running *r, int fd, const struct kf_key *k, uint64_t units)
{
	struct wire_check c = kf_check(k);
	struct wire_answer a;

	c.seq = ++r->seq;
	send_check(fd, &c);
	assert_int_equal(kill(r->pid, SIGCONT), 0);
	assert_int_equal(receive(fd, &a), 1);
	assert_int_equal(a.verdict, VERDICT_OK);
	return units - 1 - a.limits[0].remaining;
}

/* Four connections that have more to ask than fills a round, and a fifth behind them: it is in the
 * second round, not behind all that they have. */
static void
busy_peers_leave_room(void **state)
{
	enum { UNITS = 10000 };
	struct running *r = *state;
	int fds[FLOODS], fd;
	struct kf_key k;

	start(r);
	k = create_limited(r, UNITS);
	/* The fifth first: whom the keeper has dealt with last may still be first in its list. */
	fd = dial(r);
	assert_int_equal(check_on(r, fd, &k), VERDICT_OK);
	dial_floods(r, fds, &k);
	freeze(r);
	flood(fds, &k);
	assert_in_range(behind(r, fd, &k, UNITS), FLOODS + 1, FLOODS + 1 + 256);
	for (int i = 0; i < FLOODS; i++)
		close(fds[i]);
	close(fd);
}

/* The floods of other users wait behind the checks of a worker of ours. */
static void
strangers_wait_for_ours(void **state)
{
	enum { UNITS = 10000 };
	struct running *r = *state;
	int fds[FLOODS], fd, ready[2], go[2], status;
	struct kf_key k;
	char c = 0;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	start(r);
	k = create_limited(r, UNITS);
	fd = dial(r);
	assert_int_equal(check_on(r, fd, &k), VERDICT_OK);
	assert_int_equal(chmod(r->f->top, 0755), 0);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Should the test fail, the pipe ends. */
		close(go[1]);
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(1);
		dial_floods(r, fds, &k);
		if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		flood(fds, &k);
		if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(3);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	freeze(r);
	assert_int_equal(write(go[1], &c, 1), 1);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(behind(r, fd, &k, UNITS), FLOODS + 1);
	assert_int_equal(write(go[1], &c, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
	close(fd);
}

static void
there_is_only_one(void **state)
{
	struct running *r = *state, second = *r;

	start(r);
	fork_keeper(&second, 0);
	assert_int_equal(ended(&second), ERR_BUSY);
	/* It has left the first one's socket alone. */
	expect(r, "{\"op\":\"ping\"}", "");
	assert_int_equal(stop(r, SIGTERM), 0);
	/* What a killed one leaves is no obstacle. */
	start(r);
	assert_int_equal(stop(r, SIGKILL), -SIGKILL);
	assert_int_equal(access(r->socket, F_OK), 0);
	start(r);
	expect(r, "{\"op\":\"ping\"}", "");
}

static void
without_what_it_needs_it_does_not_start(void **state)
{
	struct running *r = *state;

	assert_int_equal(unlink(r->f->pepper_file), 0);
	fork_keeper(r, 0);
	assert_int_equal(ended(r), ERR_NOT_FOUND);
	assert_int_equal(access(r->socket, F_OK), -1);
	memcpy(r->f->run_dir, "/proc/none/at/all", 18);
	write_conf(r, "");
	fork_keeper(r, 0);
	assert_int_not_equal(ended(r), 0);
}

static void
hup_reloads(void **state)
{
	struct running *r = *state;
	struct kf_key k;
	uint32_t v;
	cJSON *reply;

	start(r);
	k = create(r, "");
	assert_int_equal(
	    peppers_add(r->f->pepper_file, (unsigned)-1, (unsigned)-1, &v, &r->f->e), 0);
	write_conf(r, "default_plan = \"other\"");
	assert_int_equal(kill(r->pid, SIGHUP), 0);
	reply = ask(r, "{\"op\":\"pepper.list\"}");
	assert_int_equal(cJSON_GetArraySize(
			     cJSON_GetObjectItem(cJSON_GetObjectItem(reply, "result"), "peppers")),
	    2);
	cJSON_Delete(reply);
	assert_int_equal(check(r, &k), VERDICT_OK);
	expect(r, "{\"op\":\"key.create\",\"owner\":\"a\"}", "not_found");
	expect(r, "{\"op\":\"plan.set\",\"name\":\"other\"}", "");
	k = create(r, "");
	assert_int_equal(check(r, &k), VERDICT_OK);
	/* A configuration and peppers that do not load are not taken. */
	write_conf(r, "nonsense = 1");
	assert_int_equal(unlink(r->f->pepper_file), 0);
	assert_int_equal(kill(r->pid, SIGHUP), 0);
	expect(r, "{\"op\":\"ping\"}", "");
	assert_int_equal(check(r, &k), VERDICT_OK);
	assert_int_equal(stop(r, SIGTERM), 0);
}

static void
low_space_is_an_answer(void **state)
{
	struct running *r = *state;
	struct kf_key k, unlimited;

	start(r);
	k = create_limited(r, 10);
	unlimited = create(r, "");
	assert_int_equal(stop(r, SIGTERM), 0);
	write_conf(r, "min_free_space = \"1T\"");
	start(r);
	assert_int_equal(check(r, &k), VERDICT_UNAVAILABLE);
	assert_int_equal(check(r, &unlimited), VERDICT_OK);
	expect(r, "{\"op\":\"key.create\",\"owner\":\"a\"}", "full");
	expect(r, kf_on("key.disable", k.id, ""), "");
	assert_int_equal(check(r, &k), VERDICT_KEY_DISABLED);
}

/* Page 1 of a database of the closed store; ${whole}: with a checksum that fits, but of a type that
 * there is not. */
static void
damage(struct running *r, const char *name, int whole)
{
	uint8_t page[4096];
	uint32_t sum = 0;
	char path[300];
	FILE *file;

	kf_path(path, sizeof(path), r->f->state_dir, name);
	assert_non_null(file = fopen(path, "r+"));
	assert_int_equal(fseek(file, sizeof(page), SEEK_SET), 0);
	assert_int_equal(fread(page, 1, sizeof(page), file), sizeof(page));
	page[25] = 99;
	if (whole) {
		memset(page + 28, 0, 4);
		for (size_t i = 0; i < sizeof(page); i++)
			sum = sum * 33 + page[i];
		memcpy(page + 28, &sum, 4);
	}
	assert_int_equal(fseek(file, sizeof(page), SEEK_SET), 0);
	assert_int_equal(fwrite(page, 1, sizeof(page), file), sizeof(page));
	assert_int_equal(fclose(file), 0);
}

/* One damaged page is an error of who needs it; it once ended the keeper, each time. */
static void
a_damaged_page_ends_nobody(void **state)
{
	struct running *r = *state;

	start(r);
	(void)create_limited(r, 10);
	assert_int_equal(stop(r, SIGTERM), 0);
	damage(r, "plans.db", 0);
	start(r);
	for (unsigned i = 0; i < 3; i++)
		expect(r, "{\"op\":\"plan.list\"}", "corrupt");
	expect(r, "{\"op\":\"audit.list\"}", "");
	assert_int_equal(stop(r, SIGTERM), 0);
}

static void
a_store_that_stops_ends_it(void **state)
{
	struct running *r = *state;

	start(r);
	(void)create_limited(r, 10);
	assert_int_equal(stop(r, SIGTERM), 0);
	damage(r, "plans.db", 1);
	/* Berkeley DB frees nothing once it has stopped: not this test's leak. */
#ifdef __SANITIZE_ADDRESS__
	__lsan_disable();
#endif
	start(r);
#ifdef __SANITIZE_ADDRESS__
	__lsan_enable();
#endif
	expect(r, "{\"op\":\"plan.list\"}", "unavailable");
	assert_int_equal(ended(r), ERR_UNAVAILABLE);
	assert_int_equal(access(r->socket, F_OK), -1);
}

static void
it_leaves_when_it_is_idle(void **state)
{
	struct running *r = *state;

	fork_keeper(r, CLOCK_SECOND / 2);
	assert_int_equal(ended(r), 0);
}

static void
it_leaves_with_its_supervisor(void **state)
{
	struct running *r = *state;

	start(r);
	close(r->status_fd);
	r->status_fd = -1;
	assert_int_equal(ended(r), 0);
}

/* A worker that does not read its answers is disconnected; the others are served meanwhile. */
static void
who_does_not_read_is_dropped(void **state)
{
	struct running *r = *state;
	struct pollfd p = {.events = POLLOUT};
	struct wire_check c;
	struct wire_answer a;
	struct kf_key k;
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;
	int answers = 0;

	start(r);
	k = create(r, "");
	c = kf_check(&k);
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	p.fd = dial(r);
	assert_int_equal(fcntl(p.fd, F_SETFL, O_NONBLOCK), 0);
	/* As long as the keeper reads there is room again. */
	do {
		while (send(p.fd, mem, w.len, MSG_NOSIGNAL) > 0)
			;
		assert_int_equal(check(r, &k), VERDICT_OK);
		assert_int_equal(poll(&p, 1, (int)(TIMEOUT_US / 1000)), 1);
	} while ((p.revents & POLLHUP) == 0);
	while (receive(p.fd, &a))
		answers++;
	assert_true(answers > 0);
	close(p.fd);
	assert_int_equal(check(r, &k), VERDICT_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	    T(it_serves_and_ends),
	    T(an_acknowledged_change_holds),
	    T(a_burst_is_exact),
	    T(a_late_check_is_dropped),
	    T(a_kill_counts_nothing_twice),
	    T(order_is_kept),
	    T(malformed_messages_end_their_connection_alone),
	    T(large_requests_are_heard),
	    T(strangers_only_check),
	    T(connections_are_counted),
	    T(busy_peers_leave_room),
	    T(strangers_wait_for_ours),
	    T(there_is_only_one),
	    T(without_what_it_needs_it_does_not_start),
	    T(hup_reloads),
	    T(low_space_is_an_answer),
	    T(a_damaged_page_ends_nobody),
	    T(a_store_that_stops_ends_it),
	    T(it_leaves_when_it_is_idle),
	    T(it_leaves_with_its_supervisor),
	    T(who_does_not_read_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
