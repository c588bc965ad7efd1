/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: what one side of the keeper's socket encodes the other decodes to the same, and nothing
 * else decodes: no message cut short at any byte, lengthened, or with a value over its bound; and
 * the socket is never stolen.  Guards Invariant 6 (no input crashes the keeper or a worker, none is
 * `ok` by accident).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/wire.h"

#define ID "key_0123456789abcdef"

static const struct wire_check full_check = {.client = UINT64_C(0x1122334455667788),
    .seq = 42,
    .deadline_us = INT64_C(123456789012),
    .exposed = 2,
    .retry = 1,
    .cost = LIMIT_COST_MAX,
    .has_addr = 1,
    .browser = 1,
    .addr = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}},
    .credential = {"ak_live_x", 9},
    .needed_scopes = {"orders:read", 11},
    .referrer = {"https://example.org/", 20},
    .app = {"shop", 4},
    .method = {"GET", 3},
    .request_id = {"r1", 2}};

static struct wire_answer
full_answer(void)
{
	struct wire_answer a = {.seq = 7,
	    .verdict = VERDICT_OK,
	    .retry_us = 5,
	    .rotate_by_us = 6,
	    .id = span_of(ID),
	    .owner = span_of("acme"),
	    .plan = span_of("gold"),
	    .scopes = span_of("a b"),
	    .meta = span_of("{\"x\":\"y\"}"),
	    .nlimits = 2};

	a.limits[0] = (struct wire_limit){"burst", 10, 1000000, 3, 77, 0};
	a.limits[1] = (struct wire_limit){"day", LIMIT_UNITS_MAX, LIMIT_WINDOW_MAX_US, 0, 0, 1};
	return a;
}

static struct span
encode_check(const struct wire_check *c, uint8_t *mem, size_t cap)
{
	struct wbuf w;

	wbuf_init(&w, mem, cap);
	wire_check_encode(c, &w);
	assert_false(w.overflow);
	return wbuf_view(&w);
}

static struct span
encode_answer(const struct wire_answer *a, uint8_t *mem, size_t cap)
{
	struct wbuf w;

	wbuf_init(&w, mem, cap);
	wire_answer_encode(a, &w);
	assert_false(w.overflow);
	return wbuf_view(&w);
}

static void
check_comes_back_whole(void **state)
{
	uint8_t mem[WIRE_CHECK_MAX];
	struct wire_check c;
	struct err e = {0};

	(void)state;
	assert_int_equal(wire_check_decode(encode_check(&full_check, mem, sizeof(mem)), &c, &e), 0);
	assert_int_equal(c.client, full_check.client);
	assert_int_equal(c.seq, 42);
	assert_int_equal(c.deadline_us, full_check.deadline_us);
	assert_int_equal(c.exposed, 2);
	assert_int_equal(c.retry, 1);
	assert_int_equal(c.browser, 1);
	assert_int_equal(c.cost, LIMIT_COST_MAX);
	assert_memory_equal(c.addr.b, full_check.addr.b, 16);
	assert_true(span_eq(c.credential, full_check.credential));
	assert_true(span_eq(c.needed_scopes, full_check.needed_scopes));
	assert_true(span_eq(c.referrer, full_check.referrer));
	assert_true(span_eq(c.app, full_check.app));
	assert_true(span_eq(c.method, full_check.method));
	assert_true(span_eq(c.request_id, full_check.request_id));
}

static void
answer_comes_back_whole(void **state)
{
	struct wire_answer a = full_answer(), b;
	uint8_t mem[WIRE_ANSWER_MAX];
	struct err e = {0};

	(void)state;
	assert_int_equal(wire_answer_decode(encode_answer(&a, mem, sizeof(mem)), &b, &e), 0);
	assert_int_equal(b.seq, 7);
	assert_int_equal(b.verdict, VERDICT_OK);
	assert_int_equal(b.retry_us, 5);
	assert_int_equal(b.rotate_by_us, 6);
	assert_true(span_is(b.id, ID));
	assert_true(span_is(b.owner, "acme"));
	assert_true(span_is(b.plan, "gold"));
	assert_true(span_is(b.scopes, "a b"));
	assert_true(span_eq(b.meta, a.meta));
	assert_int_equal(b.nlimits, 2);
	assert_string_equal(b.limits[1].name, "day");
	assert_int_equal(b.limits[0].remaining, 3);
	assert_int_equal(b.limits[0].more_us, 77);
	assert_int_equal(b.limits[1].window_us, LIMIT_WINDOW_MAX_US);
	assert_int_equal(b.limits[1].violated, 1);
}

static struct wire_report
full_report(const char *addr)
{
	struct wire_report r = {.client = 3,
	    .seq = 9,
	    .deadline_us = INT64_C(123456789012),
	    .attempts = WIRE_ATTEMPTS_MAX,
	    .block_us = WIRE_BLOCK_MAX_US};
	struct netaddr a;

	assert_int_equal(netaddr_parse(span_of(addr), &a), 0);
	netaddr_client(&a, &r.client_net);
	return r;
}

/* Whole, or not at all: no other length; no value that a worker would not send. */
static void
report_comes_back_whole(void **state)
{
	static const char *const addrs[] = {"192.0.2.1", "2001:db8::1"};
	uint8_t mem[256];
	struct wire_report r, back;
	struct netaddr_net same;
	struct err e = {0};
	struct wbuf w;

	(void)state;
	for (int which = 0; which < 2; which++) {
		r = full_report(addrs[which]);
		wbuf_init(&w, mem, sizeof(mem));
		wire_report_encode(&r, &w);
		assert_false(w.overflow);
		assert_int_equal(wire_report_decode(wbuf_view(&w), &back, &e), 0);
		assert_int_equal(back.client, 3);
		assert_int_equal(back.seq, 9);
		assert_int_equal(back.deadline_us, r.deadline_us);
		assert_memory_equal(back.client_net.addr.b, r.client_net.addr.b, 16);
		assert_int_equal(back.client_net.bits, which == 0 ? 128 : 64);
		assert_int_equal(back.attempts, WIRE_ATTEMPTS_MAX);
		assert_int_equal(back.block_us, WIRE_BLOCK_MAX_US);
		for (size_t n = 0; n <= w.len + 1; n++) {
			mem[7] = (uint8_t)(n < WIRE_HEADER ? 0 : n - WIRE_HEADER);
			if (n != w.len)
				assert_int_equal(
				    wire_report_decode((struct span){(char *)mem, n}, &back, &e),
				    -1);
		}
		mem[7] = (uint8_t)(w.len - WIRE_HEADER);
		for (size_t i = 0; i < w.len; i++) {
			uint8_t was = mem[i];

			for (int v = 0; v < 256; v++) {
				mem[i] = (uint8_t)v;
				if (wire_report_decode(wbuf_view(&w), &back, &e) != 0)
					continue;
				assert_true(
				    back.attempts >= 1 && back.attempts <= WIRE_ATTEMPTS_MAX);
				assert_true(
				    back.block_us >= 0 && back.block_us <= WIRE_BLOCK_MAX_US);
				netaddr_client(&back.client_net.addr, &same);
				assert_memory_equal(&same, &back.client_net, sizeof(same));
			}
			mem[i] = was;
		}
	}
	r.attempts = 0;
	wbuf_init(&w, mem, sizeof(mem));
	wire_report_encode(&r, &w);
	assert_true(w.overflow);
}

/* Every length but the right one is refused, also when the header's length is made to agree. */
static void
no_other_length_decodes(void **state)
{
	uint8_t mem[WIRE_ANSWER_MAX + 1] = {0};
	struct wire_answer a = full_answer(), b = {0};
	struct wire_check c;
	struct err e = {0};

	(void)state;
	for (int answer = 0; answer < 2; answer++) {
		size_t len = answer ? encode_answer(&a, mem, sizeof(mem) - 1).len
				    : encode_check(&full_check, mem, sizeof(mem) - 1).len;

		for (size_t n = 0; n <= len + 1; n++) {
			struct span s = {(char *)mem, n};

			if (n == len)
				continue;
			assert_int_equal(wire_type_of(s), -1);
			if (n < WIRE_HEADER)
				continue;
			mem[6] = (uint8_t)((n - WIRE_HEADER) >> 8);
			mem[7] = (uint8_t)(n - WIRE_HEADER);
			if (answer)
				assert_int_equal(wire_answer_decode(s, &b, &e), -1);
			else
				assert_int_equal(wire_check_decode(s, &c, &e), -1);
			assert_int_equal(b.verdict, VERDICT_UNAVAILABLE);
			mem[6] = (uint8_t)((len - WIRE_HEADER) >> 8);
			mem[7] = (uint8_t)(len - WIRE_HEADER);
		}
	}
}

/* Every byte, changed to every value: either refused, or an answer within its bounds; `ok` only
 * with a key's id. */
static void
no_changed_answer_is_ok_without_a_key(void **state)
{
	struct wire_answer a = full_answer(), b;
	uint8_t mem[WIRE_ANSWER_MAX];
	struct err e = {0};
	struct span s;

	(void)state;
	a.verdict = VERDICT_KEY_INVALID;
	a.id = span_of("");
	s = encode_answer(&a, mem, sizeof(mem));
	for (size_t i = 0; i < s.len; i++) {
		uint8_t was = mem[i];

		for (int v = 0; v < 256; v++) {
			mem[i] = (uint8_t)v;
			if (wire_answer_decode(s, &b, &e) == 0) {
				assert_int_not_equal(b.verdict, VERDICT_OK);
				assert_true(b.nlimits <= PLAN_LIMITS_MAX);
			} else {
				assert_int_equal(b.verdict, VERDICT_UNAVAILABLE);
			}
		}
		mem[i] = was;
	}
}

static void
bounds_are_kept_by_encoders(void **state)
{
	static char big[WIRE_REFERRER_MAX + 1];
	struct wire_check c = full_check;
	struct wire_answer a = full_answer();
	uint8_t mem[WIRE_ANSWER_MAX];
	struct wbuf w;

	(void)state;
	memset(big, 'a', sizeof(big));
	c.referrer = (struct span){big, sizeof(big)};
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	assert_true(w.overflow);
	c = full_check;
	c.cost = LIMIT_COST_MAX + 1;
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	assert_true(w.overflow);
	a.id = span_of("");
	wbuf_init(&w, mem, sizeof(mem));
	wire_answer_encode(&a, &w);
	assert_true(w.overflow);
}

static void
bounds_are_kept_by_decoders(void **state)
{
	uint8_t mem[WIRE_CHECK_MAX];
	struct span s = encode_check(&full_check, mem, sizeof(mem));
	struct wire_check c;
	struct err e = {0};

	(void)state;
	mem[WIRE_HEADER + 24] = 8; /* an exposure that does not exist */
	assert_int_equal(wire_check_decode(s, &c, &e), -1);
	mem[WIRE_HEADER + 24] = 0;
	mem[WIRE_HEADER + 25] |= 8; /* a flag that does not exist */
	assert_int_equal(wire_check_decode(s, &c, &e), -1);
	mem[WIRE_HEADER + 25] &= 7;
	assert_int_equal(wire_check_decode(s, &c, &e), 0);
	mem[WIRE_HEADER + 26] = 1; /* cost */
	assert_int_equal(wire_check_decode(s, &c, &e), -1);
	assert_int_equal(c.credential.len, 0);
}

/* Of another version, or with bits that this one does not know. */
static void
headers_are_looked_at(void **state)
{
	uint8_t mem[WIRE_ANSWER_MAX];
	struct wire_answer a = full_answer(), b;
	struct wire_check c;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < WIRE_HEADER; i++) {
		struct span s = encode_check(&full_check, mem, sizeof(mem));

		mem[i] ^= 0x40;
		assert_int_equal(wire_type_of(s), -1);
		assert_int_equal(wire_check_decode(s, &c, &e), -1);
		s = encode_answer(&a, mem, sizeof(mem));
		mem[i] ^= 0x40;
		assert_int_equal(wire_answer_decode(s, &b, &e), -1);
	}
}

/* Limits whose names or figures would make header fields that are none. */
static void
limits_are_looked_at(void **state)
{
	static const struct wire_limit bad[] = {
	    {"", 10, 1000000, 3, 0, 0},
	    {"a\r\nX: y", 10, 1000000, 3, 0, 0},
	    {"a\"b", 10, 1000000, 3, 0, 0},
	    {"a", LIMIT_UNITS_MAX + 1, 1000000, 3, 0, 0},
	    {"a", 10, 1000000, 11, 0, 0},
	    {"a", 10, 0, 3, 0, 0},
	    {"a", 10, -1, 3, 0, 0},
	    {"a", 10, LIMIT_WINDOW_MAX_US + 1, 3, 0, 0},
	    {"a", 10, 1000000, 3, -1, 0},
	};
	struct wire_answer a = full_answer(), b;
	uint8_t mem[WIRE_ANSWER_MAX];
	struct err e = {0};
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a.limits[1] = bad[i];
		assert_int_equal(
		    wire_answer_decode(encode_answer(&a, mem, sizeof(mem)), &b, &e), -1);
		assert_int_equal(b.verdict, VERDICT_UNAVAILABLE);
	}
	/* The last byte says whether it is the one that refuses. */
	a = full_answer();
	s = encode_answer(&a, mem, sizeof(mem));
	mem[s.len - 1] = 2;
	assert_int_equal(wire_answer_decode(s, &b, &e), -1);
}

/* Messages of one datagram, whole or not. */
static void
datagrams_come_apart(void **state)
{
	uint8_t mem[3 * WIRE_CHECK_MAX];
	struct span one = encode_check(&full_check, mem, sizeof(mem)), all, s;
	struct wire_check c;
	struct err e = {0};

	(void)state;
	memcpy(mem + one.len, mem, one.len);
	all = (struct span){(char *)mem, 2 * one.len};
	for (int i = 0; i < 2; i++) {
		s = wire_next(&all);
		assert_true(span_eq(s, one));
		assert_int_equal(wire_check_decode(s, &c, &e), 0);
	}
	assert_int_equal(all.len, 0);
	/* Every cut: the first is whole or nothing, what is left is refused by its decoder. */
	for (size_t len = 1; len < 2 * one.len; len++) {
		all = (struct span){(char *)mem, len};
		s = wire_next(&all);
		assert_int_equal(s.len, len < one.len ? len : one.len);
		assert_int_equal(wire_check_decode(s, &c, &e), len < one.len ? -1 : 0);
		s = wire_next(&all);
		assert_int_equal(all.len, 0);
		assert_int_equal(wire_check_decode(s, &c, &e), -1);
	}
	/* A length beyond all. */
	memset(mem + 4, 0xff, 4);
	all = (struct span){(char *)mem, 2 * one.len};
	assert_int_equal(wire_next(&all).len, 2 * one.len);
	assert_int_equal(all.len, 0);
}

/* The largest answer that a key can have fits. */
static void
largest_messages_fit(void **state)
{
	static char big[SCOPE_COUNT_MAX * SCOPE_MAX];
	struct wire_answer a = full_answer(), b;
	uint8_t mem[WIRE_ANSWER_MAX];
	struct err e = {0};

	(void)state;
	memset(big, 'm', sizeof(big));
	a.meta = (struct span){big, sizeof(big)};
	a.scopes = (struct span){big, SCOPE_COUNT_MAX * SCOPE_MAX};
	a.owner = (struct span){big, 128};
	a.plan = (struct span){big, 64};
	a.nlimits = PLAN_LIMITS_MAX;
	for (size_t i = 0; i < PLAN_LIMITS_MAX; i++)
		a.limits[i] =
		    (struct wire_limit){"abcdefghijklmnopqrstuvwxyz012345", 1, 1000000, 1, 0, 0};
	assert_int_equal(wire_answer_decode(encode_answer(&a, mem, sizeof(mem)), &b, &e), 0);
	assert_int_equal(b.nlimits, PLAN_LIMITS_MAX);
}

/* ---- sockets ---- */

struct place {
	char dir[128], path[160];
};

static int
place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const char *tmp = getenv("TMPDIR");
	struct err e = {0};

	assert_non_null(p);
	assert_true(snprintf(p->dir, sizeof(p->dir), "%s/test-wire.XXXXXX",
			tmp != NULL ? tmp : "/tmp") > 0);
	assert_non_null(mkdtemp(p->dir));
	if (wire_socket_path(p->dir, p->path, sizeof(p->path), &e) != 0)
		fail_msg("%s", e.msg);
	*state = p;
	return 0;
}

static int
place_remove(void **state)
{
	struct place *p = *state;

	unlink(p->path);
	rmdir(p->dir);
	free(p);
	return 0;
}

static void
a_live_socket_is_not_replaced(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	struct stat st;
	int fd, again;

	assert_int_equal(wire_connect(p->path, &e), -1);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	fd = wire_listen(p->path, &e);
	assert_true(fd >= 0);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	assert_int_equal(wire_listen(p->path, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	close(fd);
	assert_int_equal(wire_connect(p->path, &e), -1);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	/* Now it is stale. */
	again = wire_listen(p->path, &e);
	assert_true(again >= 0);
	close(again);
}

/* A keeper that hangs while others wait already: the tool says so instead of waiting, too. */
static void
a_full_queue_is_not_waited_for(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = wire_listen(p->path, &e), waiting[300], n = 0;

	assert_true(fd >= 0);
	memcpy(un.sun_path, p->path, strlen(p->path));
	do {
		waiting[n] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
		assert_true(waiting[n] >= 0);
	} while (connect(waiting[n++], (struct sockaddr *)&un, sizeof(un)) == 0 && n < 300);
	assert_true(n < 300);
	assert_int_equal(wire_connect(p->path, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	while (n > 0)
		close(waiting[--n]);
	close(fd);
}

static void
a_file_is_not_replaced(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	int fd = open(p->path, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(wire_listen(p->path, &e), -1);
	assert_int_equal(e.code, ERR_CONFLICT);
	assert_int_equal(access(p->path, F_OK), 0);
}

static void
a_long_path_is_refused(void **state)
{
	char dir[200], path[256];
	struct err e = {0};

	(void)state;
	memset(dir, 'd', sizeof(dir) - 1);
	dir[sizeof(dir) - 1] = '\0';
	assert_int_equal(wire_socket_path(dir, path, sizeof(path), &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_int_equal(wire_listen(dir, &e), -1);
	assert_int_equal(wire_connect(dir, &e), -1);
}

/* What the other end of a socket pair answers to a call: 0 nothing and away, 1 nothing, 2 junk, 3
 * properly. */
static long
call_answered(int how, char *reply, size_t cap, struct err *e)
{
	uint8_t mem[256];
	struct wbuf w;
	int sv[2];
	long rc;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	wbuf_init(&w, mem, sizeof(mem));
	wire_json_encode(how == 2 ? WIRE_ADMIN : WIRE_REPLY, span_of("{\"ok\":true}"), &w);
	/* The answer waits already when the question comes. */
	if (how >= 2)
		assert_int_equal(send(sv[1], mem, w.len, 0), w.len);
	if (how == 0)
		assert_int_equal(shutdown(sv[1], SHUT_WR), 0);
	rc = wire_call(sv[0], span_of("{\"op\":\"ping\"}"), reply, cap, 20000, e);
	if (recv(sv[1], mem, sizeof(mem), MSG_DONTWAIT) > 0)
		assert_int_equal(mem[1], WIRE_ADMIN);
	close(sv[0]);
	close(sv[1]);
	return rc;
}

static void
a_call_tells_what_is_unknown(void **state)
{
	struct err e = {0};
	char reply[64];

	(void)state;
	assert_int_equal(call_answered(3, reply, sizeof(reply), &e), 11);
	assert_string_equal(reply, "{\"ok\":true}");
	for (int how = 0; how < 3; how++) {
		assert_int_equal(call_answered(how, reply, sizeof(reply), &e), -1);
		assert_int_equal(e.code, ERR_UNAVAILABLE);
		assert_non_null(strstr(e.msg, "unknown"));
	}
	assert_int_equal(call_answered(3, reply, 4, &e), -1);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
}

static void
a_call_to_nobody_changes_nothing(void **state)
{
	struct err e = {0};
	char reply[64];
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	close(sv[1]);
	assert_int_equal(wire_call(sv[0], span_of("{}"), reply, sizeof(reply), 1000, &e), -1);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(e.msg, "nothing was changed"));
	close(sv[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(check_comes_back_whole),
	    cmocka_unit_test(answer_comes_back_whole),
	    cmocka_unit_test(report_comes_back_whole),
	    cmocka_unit_test(no_other_length_decodes),
	    cmocka_unit_test(no_changed_answer_is_ok_without_a_key),
	    cmocka_unit_test(bounds_are_kept_by_encoders),
	    cmocka_unit_test(bounds_are_kept_by_decoders),
	    cmocka_unit_test(headers_are_looked_at),
	    cmocka_unit_test(limits_are_looked_at),
	    cmocka_unit_test(datagrams_come_apart),
	    cmocka_unit_test(largest_messages_fit),
	    cmocka_unit_test_setup_teardown(
		a_live_socket_is_not_replaced, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(a_file_is_not_replaced, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(
		a_full_queue_is_not_waited_for, place_make, place_remove),
	    cmocka_unit_test(a_long_path_is_refused),
	    cmocka_unit_test(a_call_tells_what_is_unknown),
	    cmocka_unit_test(a_call_to_nobody_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
