/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: failed attempts are the 401s of requests that showed a key, and nothing else; being blocked
 * replaces 401s, and nothing else.  Guards that nobody is locked out who has a good key, and that
 * exempt, trusted and unknown addresses are never counted.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gate/attempts.h"

static char dir[128], path[160];
static struct config config;

static struct netaddr_net
net(const char *text)
{
	struct netaddr_net n;

	assert_int_equal(netaddr_net_parse(span_of(text), &n), 0);
	return n;
}

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/apikeyd-attempts-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/clients", dir);
	config = (struct config){.run_dir = dir,
	    .failed_attempts = 3,
	    .failed_window_us = 60 * CLOCK_SECOND,
	    .block_time_us = 60 * CLOCK_SECOND,
	    .nblock_exempt = 2,
	    .block_exempt = {net("198.51.100.0/24"), net("2001:db8:1::/48")},
	    .ntrusted_proxies = 1,
	    .trusted_proxies = {net("10.0.0.0/8")}};
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static struct attempts *
make(void)
{
	struct err e;
	struct attempts *A = attempts_new(&config, &e);

	if (A == NULL)
		fail_msg("%s", e.msg);
	return A;
}

static struct attempts_outcome
judge(struct attempts *A, enum verdict v, const char *addr)
{
	struct attempts_outcome o;
	struct netaddr a;

	if (addr == NULL)
		return attempts_judge(A, v, NULL, clock_boot_us());
	assert_int_equal(netaddr_parse(span_of(addr), &a), 0);
	o = attempts_judge(A, v, &a, clock_boot_us());
	if (v != VERDICT_CLIENT_BLOCKED)
		assert_int_equal(o.left_us > 0, o.verdict == VERDICT_CLIENT_BLOCKED || o.blocking);
	return o;
}

static void
block(struct attempts *A, const char *addr)
{
	for (int i = 0; i < 3; i++) {
		struct attempts_outcome o = judge(A, VERDICT_KEY_INVALID, addr);

		assert_int_equal(o.verdict, VERDICT_KEY_INVALID);
		assert_int_equal(o.blocking, i == 2);
	}
}

static int
shows_a_key(enum verdict v)
{
	return verdict_info(v)->status == 401 && v != VERDICT_KEY_MISSING;
}

static void
what_counts(void **state)
{
	struct attempts *A = make();
	int counting = 0;

	(void)state;
	for (unsigned v = 0; v < VERDICTS; v++) {
		char addr[32];
		int blocking = 0;

		snprintf(addr, sizeof(addr), "192.0.2.%u", v);
		for (int i = 0; i < 4; i++) {
			struct attempts_outcome o = judge(A, (enum verdict)v, addr);

			blocking += o.blocking;
			if (i < 3)
				assert_int_equal(o.verdict, v);
			else
				assert_int_equal(o.verdict,
				    shows_a_key((enum verdict)v) ? VERDICT_CLIENT_BLOCKED : v);
		}
		assert_int_equal(blocking, shows_a_key((enum verdict)v));
		counting += blocking;
	}
	assert_int_equal(counting, 4);
	attempts_free(&A);
}

static void
what_is_replaced(void **state)
{
	struct attempts *A = make();

	(void)state;
	block(A, "192.0.2.1");
	for (unsigned v = 0; v < VERDICTS; v++) {
		struct attempts_outcome o = judge(A, (enum verdict)v, "192.0.2.1");
		char other[32];

		snprintf(other, sizeof(other), "192.0.3.%u", v);
		assert_int_equal(o.blocking, 0);
		assert_int_equal(o.verdict,
		    verdict_info((enum verdict)v)->status == 401 ? VERDICT_CLIENT_BLOCKED : v);
		assert_int_equal(judge(A, (enum verdict)v, other).verdict, v);
	}
	attempts_free(&A);
}

static void
who_is_never_counted(void **state)
{
	static const char *const who[] = {
	    NULL, "198.51.100.7", "::ffff:198.51.100.7", "2001:db8:1::1", "10.1.2.3"};
	struct attempts *A = make();

	(void)state;
	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
		for (int n = 0; n < 10; n++) {
			struct attempts_outcome o = judge(A, VERDICT_KEY_INVALID, who[i]);

			assert_int_equal(o.verdict, VERDICT_KEY_INVALID);
			assert_int_equal(o.blocking, 0);
		}
	}
	block(A, "2001:db8:2::1");
	assert_int_equal(
	    judge(A, VERDICT_KEY_REVOKED, "2001:db8:2::2").verdict, VERDICT_CLIENT_BLOCKED);
	attempts_free(&A);
	attempts_free(&A);
}

static void
switched_off(void **state)
{
	struct attempts *A;

	(void)state;
	config.failed_attempts = 0;
	A = make();
	assert_int_equal(access(path, F_OK), -1);
	for (int n = 0; n < 2000; n++)
		assert_int_equal(
		    judge(A, VERDICT_KEY_INVALID, "192.0.2.1").verdict, VERDICT_KEY_INVALID);
	attempts_free(&A);
}

/* Nothing to share is no reason not to count. */
static void
alone(void **state)
{
	struct attempts *A, *B;

	(void)state;
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "test");
	config.run_dir = (char *)"/nonexistent";
	A = make();
	B = make();
	block(A, "192.0.2.1");
	assert_int_equal(
	    judge(A, VERDICT_KEY_MISSING, "192.0.2.1").verdict, VERDICT_CLIENT_BLOCKED);
	assert_int_equal(judge(B, VERDICT_KEY_MISSING, "192.0.2.1").verdict, VERDICT_KEY_MISSING);
	attempts_free(&A);
	attempts_free(&B);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(what_counts),
	    T(what_is_replaced),
	    T(who_is_never_counted),
	    T(switched_off),
	    T(alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
