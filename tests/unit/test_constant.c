/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: comparisons of secrets take the same time wherever two of them differ.  Time is measured as
 * a debugger would: the instructions are counted, one by one, so that no noise can hide a
 * difference and none can look like one.  (test_timing measures the whole way of a check.)
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "core/token.h"
#include "gate/credential.h"

static const uint8_t zeros[DIGEST_LEN];
static uint8_t digest[DIGEST_LEN];
static char token[TOKEN_MAX + 1], text[TOKEN_MAX + 1];
static volatile int sink; /* what was found out is of no interest */

static void
compare_digests(void)
{
	sink = digest_equal(zeros, digest);
}

static void
compare_checksums(void)
{
	sink = token_valid(span_of(text), span_of("ak"));
}

static void
compare_credentials(void)
{
	sink = credential_equal(span_of(token), span_of(text));
}

static void __attribute__((noreturn)) be_counted(void (*what)(void))
{
	/* Once before, for what is only done once: symbols, tables. */
	what();
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(1);
	(void)raise(SIGSTOP);
	what();
	(void)raise(SIGSTOP);
	_exit(0);
}

/* The instructions from one stop to the next: those of ${what}, and always the same of raise(). -1:
 * they cannot be counted here. */
static long
count(void (*what)(void))
{
	long n = 0;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0)
		be_counted(what);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* A container may forbid it. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		return -1;
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	do {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		n++;
	} while (WSTOPSIG(status) == SIGTRAP);
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return n;
}

/* Whoever runs a build of these, or within valgrind, counts what those do. */
static int
can_count(void)
{
#ifdef INSTRUMENTED
	return 0;
#else
	const char *preload = getenv("LD_PRELOAD");

	return (preload == NULL || strstr(preload, "vgpreload") == NULL) &&
	       count(compare_digests) != -1;
#endif
}

static void
digests(void **state)
{
	static const size_t at[] = {0, 1, 7, 8, 15, 16, 31};
	long equal;

	(void)state;
	if (!can_count())
		skip();
	equal = count(compare_digests);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		memset(digest, 0, sizeof(digest));
		digest[at[i]] = 1;
		assert_int_equal(count(compare_digests), equal);
	}
}

static void
make_token(void)
{
	struct err e;

	assert_int_equal(token_generate("ak", TOKEN_LIVE, token, &e), 0);
	memcpy(text, token, sizeof(text));
}

static void
change(size_t at)
{
	memcpy(text, token, sizeof(text));
	text[at] = text[at] == 'x' ? 'y' : 'x';
}

/* The checksum is no secret, but the comment says so, and an early end is a habit. */
static void
checksums(void **state)
{
	long first;
	size_t len;

	(void)state;
	if (!can_count())
		skip();
	make_token();
	len = strlen(token);
	change(len - TOKEN_CHECK);
	first = count(compare_checksums);
	for (size_t i = 1; i < TOKEN_CHECK; i++) {
		change(len - TOKEN_CHECK + i);
		assert_in_range(count(compare_checksums), first - 8, first + 8);
	}
}

static void
credentials(void **state)
{
	long first;

	(void)state;
	if (!can_count())
		skip();
	make_token();
	change(0);
	first = count(compare_credentials);
	/* Not against equal ones: without optimization yes takes another instruction than no. */
	for (size_t i = 9; i < strlen(token); i += 9) {
		change(i);
		assert_int_equal(count(compare_credentials), first);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(digests),
	    cmocka_unit_test(checksums),
	    cmocka_unit_test(credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
