/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: keys are drawn from the system's CSPRNG alone, without bias, and a CSPRNG that fails yields
 * an error and no characters.  Guards invariant 4 (a guessable key is a leaked key).
 *
 * getrandom(2) is replaced below, so that its interruptions and failures can be played.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/random.h"

static int interruptions, calls, broken;

/* The kernel's bytes, 16 a call; before them, ${interruptions} times EINTR; -1 when ${broken}. */
ssize_t
getrandom(void *p, size_t n, unsigned flags)
{
	calls++;
	if (interruptions > 0) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	if (broken) {
		errno = ENOSYS;
		return -1;
	}
	return syscall(SYS_getrandom, p, n < 16 ? n : 16, flags);
}

static void
bytes_of_the_system(void **state)
{
	unsigned char a[80] = {0}, b[80] = {0};
	size_t i, zeros = 0;
	struct err e = {0};

	(void)state;
	calls = 0;
	interruptions = 3;
	assert_int_equal(random_bytes(a, sizeof(a), &e), 0);
	assert_int_equal(calls, 3 + 5);
	assert_int_equal(random_bytes(b, sizeof(b), &e), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	assert_in_range(zeros, 0, 10);
	assert_int_equal(random_bytes(a, 0, &e), 0);
}

static void
a_broken_system(void **state)
{
	char bytes[16], text[33];
	struct err e = {0};
	size_t i;

	(void)state;
	broken = 1;
	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(random_bytes(bytes, sizeof(bytes), &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	for (i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	memset(text, 'x', sizeof(text));
	assert_int_equal(random_base62(text, 32, &e), -1);
	for (i = 0; i < sizeof(text); i++)
		assert_int_equal(text[i], 0);
	broken = 0;
	assert_int_equal(random_base62(text, 32, NULL), 0);
}

/* A source that yields 0, 1, ..., 255, 0, ... */
static unsigned counter;

static int
count_up(void *p, size_t n)
{
	unsigned char *at = p;

	while (n-- > 0)
		*at++ = (unsigned char)counter++;
	return 0;
}

static void
no_bias(void **state)
{
	static const char alphabet[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char text[4 * 62 * 10 + 1];
	unsigned seen[256] = {0};
	size_t i;

	(void)state;
	counter = 0;
	random_set_source(count_up);
	assert_int_equal(random_base62(text, sizeof(text) - 1, NULL), 0);
	random_set_source(NULL);
	assert_int_equal(strlen(text), sizeof(text) - 1);
	for (i = 0; text[i] != '\0'; i++)
		seen[(unsigned char)text[i]]++;
	/* Ten times all values of a byte: each character stands for exactly four of them. */
	for (i = 0; alphabet[i] != '\0'; i++)
		assert_int_equal(seen[(unsigned char)alphabet[i]], 40);
}

static void
length_and_alphabet(void **state)
{
	char text[70];
	size_t n;

	(void)state;
	for (n = 0; n <= 68; n++) {
		memset(text, '!', sizeof(text));
		assert_int_equal(random_base62(text, n, NULL), 0);
		assert_int_equal(strlen(text), n);
		assert_int_equal(text[n + 1], '!');
		assert_int_equal(strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "abcdefghijklmnopqrstuvwxyz"),
		    n);
	}
}

static int budget;

static int
fail_later(void *p, size_t n)
{
	memset(p, 7, n);
	errno = EIO;
	return budget-- > 0 ? 0 : -1;
}

static void
failure_in_the_middle(void **state)
{
	char text[201];
	struct err e = {0};
	size_t i;

	(void)state;
	random_set_source(fail_later);
	budget = 2;
	memset(text, 'x', sizeof(text));
	assert_int_equal(random_base62(text, 200, &e), -1);
	random_set_source(NULL);
	assert_int_equal(e.code, ERR_SYSTEM);
	for (i = 0; i < sizeof(text); i++)
		assert_int_equal(text[i], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_of_the_system),
	    cmocka_unit_test(a_broken_system),
	    cmocka_unit_test(no_bias),
	    cmocka_unit_test(length_and_alphabet),
	    cmocka_unit_test(failure_in_the_middle),
	};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
