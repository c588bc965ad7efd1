/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a request is admitted by the keeper's ok and by nothing else.  A child process runs a whole
 * gate; the test is its web server (raw FastCGI) and a keeper that it scripts: silent, late, gone,
 * babbling, hostile.  What a real keeper decides is tested end to end elsewhere. Guards Invariant
 * 6, and Invariant 1 as far as the worker is concerned: what is asked again is marked as a retry of
 * the same check.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/keyrec.h"
#include "core/token.h"
#include "gate/gate.h"
#include "rawfcgi.h"
#include "wire/dial.h"
#include "wire/wire.h"

#define MANY 700

static struct {
	char dir[256], path[300], keeper_path[108];
	int listen_fd, keeper_listen_fd, keeper_fd, command, started;
	struct span keeper_rest; /* of a datagram of checks */
	pid_t pid;
} F;

static char key[TOKEN_MAX + 1], other[TOKEN_MAX + 1], third[TOKEN_MAX + 1];
static struct raw w;
static char text[65536];

/* ---- the child ---- */

static int child_command, child_started;
static pid_t dialer_pid;

static void
on_command(void *cookie, uint32_t events)
{
	char c;

	(void)events;
	if (read(child_command, &c, 1) != 1 || c == 's')
		gate_stop(cookie);
	else if (c == 'd' && kill(dialer_pid, SIGKILL) == -1)
		abort();
}

/* In a process of its own, as in service; it tells when a keeper would have to be started. */
static void __attribute__((noreturn)) dial_for(int control)
{
	struct pollfd p = {.fd = control, .events = POLLIN};
	struct dialer D;
	struct err e;
	enum dial did;

	if (dialer_init(&D, control, F.dir, &e) == -1)
		_exit(1);
	while ((did = dialer_serve(&D, getppid())) != DIAL_GONE) {
		if (did == DIAL_NOBODY && write(child_started, "k", 1) != 1)
			_exit(1);
		(void)poll(&p, 1, -1);
	}
	_exit(0);
}

static int
start_dialer(void)
{
	struct err e;
	int fds[2];

	if (dial_pair(fds, &e) == -1 || (dialer_pid = fork()) == -1)
		return -1;
	if (dialer_pid == 0) {
		close(fds[1]);
		close(child_command);
		close(F.listen_fd);
		dial_for(fds[0]);
	}
	close(fds[0]);
	return fds[1];
}

static int
child(const struct config *config)
{
	struct gate *gate;
	struct err e;
	int rc, dial_fd = start_dialer();

	gate = gate_new(config, F.listen_fd, dial_fd, &e);
	if (gate == NULL || gate_watch(gate, child_command, on_command, gate, &e) == -1)
		return 1;
	rc = gate_run(gate, &e);
	gate_free(&gate);
	close(dial_fd);
	return rc == 0 && gate == NULL ? 0 : 1;
}

/* ---- the test's side ---- */

static void
start(int64_t timeout_us, int with_keeper, int variant)
{
	struct config config = {.run_dir = F.dir,
	    .realm = (char *)"api",
	    .key_prefix = (char *)"ak",
	    .require_https = variant != 'h',
	    .strict_paths = 1,
	    .nquery_parameters = 1,
	    .query_parameters = {(char *)"api_key"},
	    .allow_query_keys = variant == 'q',
	    .app_header = (char *)"X-App-Id",
	    .failed_attempts = variant == 'b' ? 3 : 0,
	    .failed_window_us = 60000000,
	    .block_time_us = 60000000,
	    .keeper_timeout_us = timeout_us,
	    .max_connections = MANY + 10,
	    .log_level = variant == 'd' ? LOG_LVL_DEBUG : LOG_LVL_ERROR};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const char *tmp = getenv("TMPDIR");
	int commands[2], starts[2];
	struct err e;

	log_open(LOG_TO_STDERR, config.log_level, "test");
	snprintf(F.dir, sizeof(F.dir), "%s/apikeyd-gate-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(F.dir));
	snprintf(F.path, sizeof(F.path), "%s/fcgi.sock", F.dir);
	assert_true(strlen(F.path) < sizeof(un.sun_path));
	memcpy(un.sun_path, F.path, strlen(F.path));
	assert_int_equal(wire_check_path(F.dir, F.keeper_path, sizeof(F.keeper_path), &e), 0);
	F.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(F.listen_fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(F.listen_fd, MANY), 0);
	F.keeper_listen_fd = with_keeper ? wire_listen(F.keeper_path, &e) : -1;
	F.keeper_fd = -1;
	assert_int_equal(pipe(commands), 0);
	assert_int_equal(pipe(starts), 0);
	F.pid = fork();
	assert_true(F.pid != -1);
	if (F.pid == 0) {
		close(commands[1]);
		close(starts[0]);
		if (F.keeper_listen_fd != -1)
			close(F.keeper_listen_fd);
		child_command = commands[0];
		child_started = starts[1];
		exit(child(&config));
	}
	close(commands[0]);
	close(starts[1]);
	close(F.listen_fd);
	F.command = commands[1];
	F.started = starts[0];
}

static int
setup(void **state)
{
	(void)state;
	F.command = F.started = F.keeper_fd = F.keeper_listen_fd = -1;
	return token_generate("ak", TOKEN_LIVE, key, NULL) ||
	       token_generate("ak", TOKEN_LIVE, other, NULL) ||
	       token_generate("ak", TOKEN_LIVE, third, NULL);
}

static int
teardown(void **state)
{
	int status;

	(void)state;
	/* One that the test stopped may be gone already. */
	if (write(F.command, "s", 1) == -1)
		assert_int_equal(errno, EPIPE);
	assert_int_equal(waitpid(F.pid, &status, 0), F.pid);
	close(F.command);
	close(F.started);
	if (F.keeper_fd != -1)
		close(F.keeper_fd);
	if (F.keeper_listen_fd != -1)
		close(F.keeper_listen_fd);
	unlink(F.keeper_path);
	unlink(F.path);
	snprintf(text, sizeof(text), "%s/clients", F.dir);
	unlink(text);
	rmdir(F.dir);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

/* The gate's connection, waited for at most half a minute. */
static void
keeper_accept(void)
{
	struct timeval tv = {30, 0};
	int fd;

	/* wire_listen's socket does not block; a blocking one lets the kernel do the waiting. */
	assert_int_equal(fcntl(F.keeper_listen_fd, F_SETFL, 0), 0);
	setsockopt(F.keeper_listen_fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	fd = accept4(F.keeper_listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd != -1);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	F.keeper_fd = fd;
	F.keeper_rest.len = 0;
}

static void
keeper_gets(struct wire_check *c)
{
	static char mem[WIRE_BATCH_BYTES];
	struct err e;
	ssize_t n;

	if (F.keeper_rest.len == 0) {
		n = recv(F.keeper_fd, mem, sizeof(mem), 0);
		assert_true(n > 0);
		F.keeper_rest = (struct span){mem, (size_t)n};
	}
	assert_int_equal(wire_check_decode(wire_next(&F.keeper_rest), c, &e), 0);
}

static void
keeper_sends(const struct wire_answer *a)
{
	uint8_t mem[WIRE_ANSWER_MAX];
	struct wbuf b;

	wbuf_init(&b, mem, sizeof(mem));
	wire_answer_encode(a, &b);
	assert_int_equal(b.overflow, 0);
	assert_int_equal(send(F.keeper_fd, b.p, b.len, MSG_NOSIGNAL), b.len);
}

static void
keeper_admits(uint64_t seq, const char *owner)
{
	struct wire_answer a = {.seq = seq,
	    .verdict = VERDICT_OK,
	    .id = span_of("key_0123456789abcdef"),
	    .owner = span_of(owner),
	    .plan = span_of("default")};

	keeper_sends(&a);
}

static void
send_params(int fd, int role, const char *const *params)
{
	w.n = 0;
	raw_request(&w, 1, role, 1, params);
	raw_send(fd, &w);
}

#define SEND(fd, ...) send_params(fd, 1, (const char *const[]){__VA_ARGS__, NULL})
#define GOOD "HTTPS", "on", "HTTP_X_API_KEY", key

static void
expect(int fd, const char *status, const char *within)
{
	raw_response(fd, 1, text, sizeof(text));
	if (strncmp(text + 8, status, strlen(status)) != 0 || strstr(text, within) == NULL)
		fail_msg("no %s with \"%s\":\n%s", status, within, text);
}

static void
expect_denied(int fd, const char *status, const char *code)
{
	char want[64];

	snprintf(want, sizeof(want), "\r\nApikey-Denied: %s\r\n", code);
	expect(fd, status, want);
}

static void
test_admitted(void **state)
{
	struct netaddr addr;
	struct wire_check c;
	int fd;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, GOOD, "REMOTE_ADDR", "192.0.2.1", "REQUEST_METHOD", "POST", "HTTP_REFERER",
	    "https://a.example/x", "HTTP_X_APP_ID", "app", "APIKEYD_SCOPE", "a:b c", "APIKEYD_COST",
	    "7", "APIKEYD_REQUEST_ID", "req-1");
	keeper_gets(&c);
	assert_true(span_is(c.credential, key));
	assert_true(span_is(c.needed_scopes, "a:b c"));
	assert_true(span_is(c.referrer, "https://a.example/x"));
	assert_true(span_is(c.app, "app"));
	assert_true(span_is(c.method, "POST"));
	assert_true(span_is(c.request_id, "req-1"));
	assert_int_equal(c.cost, 7);
	assert_int_equal(c.exposed, 0);
	assert_int_equal(c.retry, 0);
	assert_int_equal(c.has_addr, 1);
	assert_int_equal(netaddr_parse(span_of("192.0.2.1"), &addr), 0);
	assert_memory_equal(&addr, &c.addr, sizeof(addr));
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "\"owner\":\"acme\"");

	SEND(fd, GOOD, "APIKEYD_MODE", "auth_request");
	keeper_gets(&c);
	assert_int_equal(c.request_id.len, 0); /* one that we made up is no identity of a request */
	assert_int_equal(c.has_addr, 0);
	keeper_admits(c.seq, "acme");
	expect(fd, "204", "Apikey-Owner: acme\r\n");

	send_params(fd, 2, (const char *const[]){GOOD, "APIKEYD_MODE", "nonsense", NULL});
	keeper_gets(&c);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "Variable-APIKEY_OWNER: acme\r\n");
	close(fd);
}

/* What the worker can refuse alone, in the order of the contract; the keeper is not asked. */
static void
test_refused_alone(void **state)
{
	struct wire_check c;
	char bad[TOKEN_MAX + 1], query[128];
	int fd;

	(void)state;
	start(5000000, 1, 'd');
	keeper_accept();
	fd = raw_connect(F.path);
	memcpy(bad, key, sizeof(bad));
	bad[strlen(bad) - 1] = bad[strlen(bad) - 1] == 'a' ? 'b' : 'a';
	SEND(fd, "HTTPS", "on");
	expect_denied(fd, "401", "key_missing");
	SEND(fd, "HTTPS", "on", "HTTP_X_API_KEY", bad);
	expect_denied(fd, "401", "key_invalid");
	SEND(fd, "HTTPS", "on", "HTTP_X_API_KEY", "junk");
	expect_denied(fd, "401", "key_invalid");
	SEND(fd, GOOD, "HTTP_AUTHORIZATION", "Bearer other");
	expect_denied(fd, "400", "request_invalid");
	SEND(fd, GOOD, "HTTP_X_API_KEY", key);
	expect_denied(fd, "400", "request_invalid");
	SEND(fd, GOOD, "APIKEYD_MODE", "nonsense");
	expect_denied(fd, "500", "misconfigured");
	SEND(fd, GOOD, "APIKEYD_MODE", "auth_request", "APIKEYD_COST", "many");
	expect_denied(fd, "403", "misconfigured");
	SEND(fd, "HTTP_X_API_KEY", bad, "REMOTE_ADDR", "192.0.2.1");
	expect_denied(fd, "403", "https_required");
	snprintf(query, sizeof(query), "/a?api_key=%s", bad);
	SEND(fd, GOOD, "REQUEST_URI", query);
	expect_denied(fd, "400", "key_in_url");
	/* A path of two meanings, after the key: without one it does not matter. */
	SEND(fd, GOOD, "REQUEST_URI", "/api/admin/../x");
	expect_denied(fd, "400", "request_invalid");
	SEND(fd, "HTTPS", "on", "REQUEST_URI", "/api/admin/../x");
	expect_denied(fd, "401", "key_missing");
	SEND(fd, GOOD, "REQUEST_METHOD", "HEAD", "APIKEYD_COST", "-");
	raw_response(fd, 1, text, sizeof(text));
	assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	/* The first that the keeper hears of is this one. */
	SEND(fd, GOOD, "APIKEYD_COST", "42");
	keeper_gets(&c);
	assert_int_equal(c.cost, 42);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "");
	close(fd);
}

/* Rendering asks nobody: it shows a denial, whatever key comes along. */
static void
test_render_mode(void **state)
{
	static const char problem[] = "{\"status\":401,\"code\":\"key_missing\"}";
	int fd;

	(void)state;
	start(5000000, 0, 0);
	fd = raw_connect(F.path);
	SEND(fd, GOOD, "APIKEYD_MODE", "render", "APIKEYD_RENDER", problem);
	expect(fd, "401", problem);
	assert_null(strstr(text, "Apikey-Denied"));
	SEND(fd, "APIKEYD_MODE", "render", "APIKEYD_RENDER", problem);
	expect(fd, "401", problem);
	SEND(fd, GOOD, "APIKEYD_MODE", "render");
	expect_denied(fd, "500", "misconfigured");
	SEND(fd, GOOD, "APIKEYD_MODE", "render", "APIKEYD_RENDER",
	    "{\"status\":200,\"code\":\"ok\"}");
	expect_denied(fd, "500", "misconfigured");
	SEND(fd, GOOD, "APIKEYD_MODE", "render", "APIKEYD_RENDER", problem, "APIKEYD_COST", "x");
	expect_denied(fd, "500", "misconfigured");
	close(fd);
}

/* A real key where it must not be: refused at once, and the keeper is told. */
static void
test_exposed(void **state)
{
	struct wire_check c;
	char query[128];
	int fd;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, "HTTPS", "off", "HTTP_X_API_KEY", key, "REMOTE_ADDR", "192.0.2.1");
	expect_denied(fd, "403", "https_required");
	keeper_gets(&c);
	assert_int_equal(c.exposed, KEYREC_EXPOSED_HTTP);
	assert_int_equal(c.has_addr, 1);
	assert_true(span_is(c.credential, key));
	keeper_admits(c.seq, "acme"); /* changes nothing */

	snprintf(query, sizeof(query), "/a?api_key=%s", other);
	SEND(fd, GOOD, "REQUEST_URI", query);
	expect_denied(fd, "400", "key_in_url");
	keeper_gets(&c);
	assert_int_equal(c.exposed, KEYREC_EXPOSED_URL);
	assert_true(span_is(c.credential, other));

	SEND(fd, "HTTP_X_API_KEY", key, "REQUEST_URI", query);
	expect_denied(fd, "403", "https_required");
	keeper_gets(&c);
	assert_int_equal(c.exposed, KEYREC_EXPOSED_HTTP | KEYREC_EXPOSED_URL);
	assert_true(span_is(c.credential, other));
	keeper_gets(&c);
	assert_int_equal(c.exposed, KEYREC_EXPOSED_HTTP);
	assert_true(span_is(c.credential, key));

	/* Of an ambiguous request, too, and each of them. */
	SEND(fd, "HTTP_X_API_KEY", key, "HTTP_X_API_KEY", other);
	expect_denied(fd, "403", "https_required");
	keeper_gets(&c);
	assert_true(span_is(c.credential, key));
	assert_int_equal(c.exposed, KEYREC_EXPOSED_HTTP);
	keeper_gets(&c);
	assert_true(span_is(c.credential, other));
	assert_int_equal(c.exposed, KEYREC_EXPOSED_HTTP);

	/* Over HTTPS the one in the header is where it may be. */
	snprintf(query, sizeof(query), "/?api_key=%s&api_key=%s", other, third);
	SEND(fd, GOOD, "REQUEST_URI", query);
	expect_denied(fd, "400", "key_in_url");
	keeper_gets(&c);
	assert_true(span_is(c.credential, other));
	assert_int_equal(c.exposed, KEYREC_EXPOSED_URL);
	keeper_gets(&c);
	assert_true(span_is(c.credential, third));
	assert_int_equal(c.exposed, KEYREC_EXPOSED_URL);
	SEND(fd, GOOD, "APIKEYD_COST", "42");
	keeper_gets(&c);
	assert_int_equal(c.cost, 42);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "");
	close(fd);
}

static void
test_query_keys_allowed(void **state)
{
	struct wire_check c;
	char query[128];
	int fd;

	(void)state;
	start(5000000, 1, 'q');
	keeper_accept();
	fd = raw_connect(F.path);
	snprintf(query, sizeof(query), "api_key=%s", key);
	SEND(fd, "HTTPS", "on", "QUERY_STRING", query);
	keeper_gets(&c);
	assert_true(span_is(c.credential, key));
	assert_int_equal(c.exposed, 0);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "");
	SEND(fd, GOOD, "QUERY_STRING", query);
	keeper_gets(&c);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "");
	SEND(fd, "HTTPS", "on", "HTTP_X_API_KEY", other, "QUERY_STRING", query);
	expect_denied(fd, "400", "request_invalid");
	snprintf(query, sizeof(query), "api_key=%s", other);
	SEND(fd, "HTTPS", "on", "REQUEST_URI", "/", "QUERY_STRING", query, "HTTP_AUTHORIZATION",
	    "Bearer");
	expect_denied(fd, "400", "request_invalid");
	close(fd);
}

static void
test_plain_http_allowed(void **state)
{
	struct wire_check c;
	int fd;

	(void)state;
	start(5000000, 1, 'h');
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, "HTTP_X_API_KEY", key);
	keeper_gets(&c);
	assert_int_equal(c.exposed, 0);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "");
	close(fd);
}

/* No answer in time is a 503, and an answer that comes after it is nobody's. */
static void
test_silent_keeper(void **state)
{
	struct wire_check c, late;
	int fd;

	(void)state;
	start(1000000, 1, 0); /* what is in time is no race on a loaded machine */
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, GOOD);
	keeper_gets(&late);
	expect_denied(fd, "503", "unavailable");
	assert_non_null(strstr(text, "Retry-After: 1\r\n"));
	SEND(fd, GOOD);
	keeper_gets(&c);
	assert_true(c.seq != late.seq);
	assert_int_equal(c.client, late.client);
	keeper_admits(late.seq, "late");
	keeper_admits(12345, "unknown");
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "\"owner\":\"acme\"");
	close(fd);
}

static void
reconnects(uint64_t seq)
{
	struct wire_check c;

	close(F.keeper_fd);
	keeper_accept();
	keeper_gets(&c);
	assert_int_equal(c.seq, seq);
	assert_int_equal(c.retry, 1);
	assert_true(span_is(c.credential, key));
}

/* Whatever is no answer ends the connection, not the request: it is asked again, marked as the
 * same. */
static void
test_babbling_keeper(void **state)
{
	static uint8_t big[WIRE_ANSWER_MAX + 100];
	uint8_t header[WIRE_HEADER] = {WIRE_VERSION, WIRE_ANSWER};
	struct wire_check c;
	int fd;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, GOOD);
	keeper_gets(&c);
	assert_int_equal(send(F.keeper_fd, "nonsense", 8, 0), 8);
	reconnects(c.seq);
	assert_int_equal(send(F.keeper_fd, header, sizeof(header), 0), sizeof(header));
	reconnects(c.seq);
	assert_int_equal(send(F.keeper_fd, big, sizeof(big), 0), sizeof(big));
	reconnects(c.seq);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "\"owner\":\"acme\"");
	close(fd);
}

/* A text that would break out of a header, were it echoed. */
static void
test_hostile_text(void **state)
{
	struct wire_check c;
	int fd;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, GOOD, "APIKEYD_MODE", "auth_request");
	keeper_gets(&c);
	keeper_admits(c.seq, "acme\r\nX-Evil: 1");
	expect_denied(fd, "403", "unavailable");
	assert_null(strstr(text, "X-Evil"));
	close(fd);
}

/* The keeper dies with questions open, and another one takes its place. */
static void
test_keeper_restarts(void **state)
{
	struct wire_check c[2], again;
	struct err e;
	char one;
	int a, b;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	a = raw_connect(F.path);
	b = raw_connect(F.path);
	SEND(a, GOOD, "APIKEYD_COST", "1");
	keeper_gets(&c[0]);
	SEND(b, GOOD, "APIKEYD_COST", "2");
	keeper_gets(&c[1]);
	keeper_admits(c[1].seq, "second");
	expect(b, "200", "second");
	close(F.keeper_listen_fd);
	close(F.keeper_fd);
	unlink(F.keeper_path);
	assert_int_equal(
	    read(F.started, &one, 1), 1); /* nobody listens: the gate asks for one to be started */
	F.keeper_listen_fd = wire_listen(F.keeper_path, &e);
	assert_true(F.keeper_listen_fd != -1);
	keeper_accept();
	keeper_gets(&again); /* the answered one is not asked again */
	assert_int_equal(again.seq, c[0].seq);
	assert_int_equal(again.client, c[0].client);
	assert_int_equal(again.deadline_us, c[0].deadline_us);
	assert_int_equal(again.cost, 1);
	assert_int_equal(again.retry, 1);
	keeper_admits(again.seq, "first");
	expect(a, "200", "first");
	SEND(a, GOOD);
	keeper_gets(&again);
	assert_int_equal(again.retry, 0);
	keeper_admits(again.seq, "third");
	expect(a, "200", "third");
	close(a);
	close(b);
}

/*
 * The keeper dies with one question unread and one answered: the system reports the unread one
 * first (ECONNRESET), and what was admitted must not be asked again.
 */
static void
test_last_answers(void **state)
{
	struct wire_check first, again;
	struct err e;
	int a, b, other_fd, i;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	a = raw_connect(F.path);
	b = raw_connect(F.path);
	other_fd = raw_connect(F.path);
	SEND(a, GOOD, "APIKEYD_COST", "1");
	keeper_gets(&first);
	SEND(b, GOOD, "APIKEYD_COST", "2");
	for (i = 0; i < 2;
	     i++) { /* the second one's round is behind the one that sent b's question */
		SEND(other_fd, "HTTPS", "on");
		expect_denied(other_fd, "401", "key_missing");
	}
	raw_halt(F.pid); /* it sees all of this at once */
	keeper_admits(first.seq, "last words");
	close(F.keeper_listen_fd);
	close(F.keeper_fd);
	unlink(F.keeper_path);
	F.keeper_listen_fd = wire_listen(F.keeper_path, &e);
	assert_true(F.keeper_listen_fd != -1);
	SEND(other_fd, GOOD, "APIKEYD_COST", "3"); /* to be sent, in the same round */
	kill(F.pid, SIGCONT);
	expect(a, "200", "last words");
	keeper_accept();
	for (i = 2; i <= 3; i++) {
		keeper_gets(&again);
		assert_int_equal(again.cost, i);
		if (i == 2)
			assert_int_equal(again.retry, 1);
		keeper_admits(again.seq, "again");
	}
	expect(b, "200", "again");
	expect(other_fd, "200", "again");
	close(a);
	close(b);
	close(other_fd);
}

static void
test_no_keeper(void **state)
{
	int fd;

	(void)state;
	start(50000, 0, 0);
	fd = raw_connect(F.path);
	SEND(fd, GOOD);
	expect_denied(fd, "503", "unavailable");
	SEND(fd, "HTTPS", "on");
	expect_denied(fd, "401", "key_missing");
	close(fd);
}

/* More questions at once than the keeper's socket holds, answered the last first. */
static void
test_many_at_once(void **state)
{
	static struct wire_check c[MANY];
	static int fds[MANY];
	char cost[16], owner[16], page[2000];
	int i;

	(void)state;
	memset(page, 'p', sizeof(page));
	page[sizeof(page) - 1] = '\0';
	start(5000000, 1, 0);
	keeper_accept();
	for (i = 0; i < MANY; i++) {
		fds[i] = raw_connect(F.path);
		snprintf(cost, sizeof(cost), "%d", i);
		SEND(fds[i], GOOD, "APIKEYD_COST", cost, "HTTP_REFERER", page);
	}
	for (i = 0; i < MANY; i++)
		keeper_gets(&c[i]);
	for (i = MANY - 1; i >= 0; i--) {
		snprintf(owner, sizeof(owner), "owner-%u.", c[i].cost);
		keeper_admits(c[i].seq, owner);
	}
	for (i = 0; i < MANY; i++) {
		snprintf(owner, sizeof(owner), "owner-%d.", i);
		expect(fds[i], "200", owner);
		close(fds[i]);
	}
}

/* The client is gone before the keeper's answer: it is for nobody, and the next request is none the
 * worse. */
static void
test_client_gone(void **state)
{
	struct wire_check c, next;
	int fd = -1, keep;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	keep = raw_connect(F.path);
	SEND(fd, "HTTPS", "on");
	expect_denied(fd, "401", "key_missing");
	SEND(fd, GOOD);
	keeper_gets(&c);
	close(fd);
	SEND(keep, "HTTPS", "on"); /* answered after the event that the other is gone */
	expect_denied(keep, "401", "key_missing");
	keeper_admits(c.seq, "gone");
	SEND(keep, GOOD);
	keeper_gets(&next);
	keeper_admits(next.seq, "next");
	expect(keep, "200", "next");
	close(keep);
}

static void
test_too_large(void **state)
{
	static char value[8193];
	static struct raw pairs;
	int fd, i;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	memset(value, 'v', sizeof(value));
	/* A value over its bound, read by libfcgi. */
	fd = raw_connect(F.path);
	pairs.n = w.n = 0;
	raw_pair(&pairs, "HTTPS", "on");
	raw_pair(&pairs, "HTTP_X_API_KEY", key);
	raw_pair_n(&pairs, "HTTP_COOKIE", 11, value, 8193);
	raw_begin(&w, 1, 1, 1);
	raw_params(&w, 1, &pairs, 60000);
	raw_record(&w, 5, 1, NULL, 0, 0);
	raw_send(fd, &w);
	expect_denied(fd, "400", "request_invalid");
	/* More than is read at all. */
	pairs.n = w.n = 0;
	raw_pair(&pairs, "APIKEYD_MODE", "auth_request");
	for (i = 0; i < 20; i++)
		raw_pair_n(&pairs, "HTTP_COOKIE", 11, value, 8000);
	raw_begin(&w, 1, 1, 1);
	raw_params(&w, 1, &pairs, 60000);
	raw_send(fd, &w);
	expect_denied(fd, "403", "request_invalid");
	assert_non_null(strstr(text, "Apikey-Status: 400\r\n"));
	assert_non_null(strstr(text, "urn:apikeyd:request:"));
	raw_eof(fd);
	close(fd);
}

/* Told to stop with a question open: the answer still goes out. */
static void
test_stop(void **state)
{
	struct wire_check c;
	int fd, idle;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	idle = raw_connect(F.path);
	SEND(fd, GOOD);
	keeper_gets(&c);
	assert_int_equal(write(F.command, "s", 1), 1);
	raw_eof(idle);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "acme");
	raw_eof(fd);
	close(fd);
	close(idle);
}

/* The keeper hears once that a client is blocked; what has a right checksum it is still asked, and
 * its answer stands unless it is a 401. */
static void
test_blocked(void **state)
{
	static char mem[WIRE_CHECK_MAX];
	struct wire_answer a = {.verdict = VERDICT_KEY_REVOKED};
	struct wire_report r;
	struct wire_check c;
	struct err e;
	ssize_t n;
	int fd;

	(void)state;
	start(5000000, 1, 'b');
	keeper_accept();
	fd = raw_connect(F.path);
	for (int i = 0; i < 2; i++) {
		SEND(fd, "HTTPS", "on", "HTTP_X_API_KEY", "junk", "REMOTE_ADDR", "192.0.2.1");
		expect_denied(fd, "401", "key_invalid");
	}
	SEND(fd, GOOD, "REMOTE_ADDR", "192.0.2.1");
	keeper_gets(&c);
	a.seq = c.seq;
	keeper_sends(&a);
	expect_denied(fd, "401", "key_revoked");
	n = recv(F.keeper_fd, mem, sizeof(mem), 0);
	assert_true(n > 0);
	assert_int_equal(wire_report_decode((struct span){mem, (size_t)n}, &r, &e), 0);
	assert_int_equal(r.attempts, 3);
	assert_int_equal(r.block_us, 60000000);
	assert_int_equal(r.client_net.bits, 128);
	a.seq = r.seq;
	keeper_sends(&a);
	for (int i = 0; i < 10; i++) {
		SEND(fd, "HTTPS", "on", "HTTP_X_API_KEY", "junk", "REMOTE_ADDR", "192.0.2.1");
		expect_denied(fd, "429", "client_blocked");
		SEND(fd, "HTTPS", "on", "REMOTE_ADDR", "192.0.2.1");
		expect_denied(fd, "429", "client_blocked");
	}
	SEND(fd, GOOD, "REMOTE_ADDR", "192.0.2.1");
	keeper_gets(&c);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "acme");
	SEND(fd, GOOD, "REMOTE_ADDR", "192.0.2.1");
	keeper_gets(&c);
	a.seq = c.seq;
	keeper_sends(&a);
	expect_denied(fd, "429", "client_blocked");
	close(fd);
}

/* Its dialer is killed: what it has in hand is answered, and then it ends, for another to serve. */
static void
test_without_its_dialer(void **state)
{
	struct wire_check c;
	int fd;

	(void)state;
	start(5000000, 1, 0);
	keeper_accept();
	fd = raw_connect(F.path);
	SEND(fd, GOOD);
	keeper_gets(&c);
	assert_int_equal(write(F.command, "d", 1), 1);
	keeper_admits(c.seq, "acme");
	expect(fd, "200", "acme");
	raw_eof(fd);
	close(fd);
}

static void
test_new_fails(void **state)
{
	struct config config = {.key_prefix = (char *)"ak", .app_header = (char *)"no header"};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), pair[2];

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t)), 0);
	assert_int_equal(dial_pair(pair, &e), 0);
	assert_null(gate_new(&config, fd, pair[1], &e));
	config.app_header = (char *)"X-App-Id";
	assert_null(gate_new(&config, -1, pair[1], &e));
	assert_null(gate_new(&config, fd, -1, &e));
	close(pair[0]);
	close(pair[1]);
	close(fd);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_admitted),
	    TEST(test_refused_alone),
	    TEST(test_render_mode),
	    TEST(test_exposed),
	    TEST(test_query_keys_allowed),
	    TEST(test_plain_http_allowed),
	    TEST(test_silent_keeper),
	    TEST(test_babbling_keeper),
	    TEST(test_hostile_text),
	    TEST(test_keeper_restarts),
	    TEST(test_last_answers),
	    TEST(test_no_keeper),
	    TEST(test_many_at_once),
	    TEST(test_client_gone),
	    TEST(test_too_large),
	    TEST(test_stop),
	    TEST(test_blocked),
	    TEST(test_without_its_dialer),
	    cmocka_unit_test(test_new_fails),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
