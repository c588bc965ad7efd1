/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: memory for secrets is locked, wiped and out of core dumps, and when it cannot be locked
 * somebody is told.  Guards invariant 4.
 *
 * What changes the whole process is done in a child, whose exit status is the result.  The address
 * sanitizer has an allocator and an mlock of its own; what depends on the real ones is left out
 * under it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"

/* ${body} in a child: its result. */
static int
in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/*
 * Does ${addr}, perhaps freed, still hold ${n} bytes of ${c} somewhere in ${len}?  Allocates
 * nothing: that could overwrite just what is looked for.
 */
static int
still_holds(uintptr_t addr, size_t len, char c, size_t n)
{
	static char copy[4096];
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	size_t i, run = 0, longest = 0;
	ssize_t got;

	if (mem < 0 || len > sizeof(copy))
		return -1;
	got = pread(mem, copy, len, (off_t)addr);
	close(mem);
	if (got != (ssize_t)len)
		return -1;
	for (i = 0; i < len; i++) {
		run = copy[i] == c ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	return longest >= n;
}

static void
wiping(void **state)
{
	char text[] = "0123456789";

	(void)state;
	secret_wipe(text, 5);
	assert_memory_equal(text,
	    "\0\0\0\0\0"
	    "56789",
	    11);
	secret_wipe(text, 0);
	secret_wipe(NULL, 0);
	secret_wipe(NULL, 7);
	assert_memory_equal(text,
	    "\0\0\0\0\0"
	    "56789",
	    11);
}

static int
no_core(void)
{
	struct rlimit limit;

	secret_no_core();
	return getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0 || limit.rlim_max != 0 ||
	       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
}

static void
no_core_dumps(void **state)
{
	(void)state;
	assert_int_equal(in_child(no_core), 0);
}

static int
heap(void)
{
	struct err e = {0};
	uintptr_t addr;
	char *p, *q;
	size_t i;

	if (secret_heap_init(&e) != 0 || secret_heap_init(&e) != 0 || e.code != ERR_NONE)
		return 1;
	p = secret_alloc(1000);
	q = secret_alloc(32);
	if (p == NULL || q == NULL)
		return 2;
	for (i = 0; i < 1000; i++)
		if (p[i] != 0)
			return 3;
	memset(p, 'S', 1000);
	addr = (uintptr_t)p;
	if (still_holds(addr, 1000, 'S', 1000) != 1)
		return 4;
	secret_free(p, 1000);
	if (still_holds(addr, 1000, 'S', 8) != 0)
		return 5;
	secret_free(q, 32);
	secret_free(NULL, 0);
	/* There is an end to it, and it is not the ordinary heap. */
	return secret_alloc(1 << 20) == NULL ? 0 : 6;
}

/* Before there is a secure heap, or in a process that never has one. */
static int
no_heap(void)
{
	char *p = secret_alloc(4000);
	uintptr_t addr = (uintptr_t)p;

	if (p == NULL)
		return 1;
	memset(p, 'S', 4000);
	if (still_holds(addr, 4000, 'S', 4000) != 1)
		return 2;
	secret_free(p, 4000);
	return still_holds(addr, 4000, 'S', 8) == 0 ? 0 : 3;
}

static void
secure_heap(void **state)
{
	(void)state;
	assert_int_equal(in_child(heap), 0);
	assert_int_equal(in_child(no_heap), 0);
}

#ifndef __SANITIZE_ADDRESS__

/* VmLck of this process in KiB. */
static long
locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kib = -1;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmLck: %ld", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kib;
}

static int
heap_is_locked(void)
{
	return secret_heap_init(NULL) == 0 && locked_kib() >= 64 ? 0 : 1;
}

static int
heap_without_the_right(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	struct rlimit limit = {0, 0};
	struct err e = {0};
	int round;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || syscall(SYS_capset, &header, none) != 0)
		return 1;
	/* Not even the second time. */
	for (round = 0; round < 2; round++) {
		e = (struct err){0};
		if (secret_heap_init(&e) != -1 || e.code != ERR_SYSTEM ||
		    strstr(e.msg, "RLIMIT_MEMLOCK") == NULL)
			return 2;
	}
	return 0;
}

static void
secure_heap_is_locked(void **state)
{
	(void)state;
	assert_int_equal(in_child(heap_is_locked), 0);
	assert_int_equal(in_child(heap_without_the_right), 0);
}

/* The flags of the mapping that ${p} is in, as proc(5) shows them; 1 if ${flag} is among them. */
static int
has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	uintptr_t from, to;
	char line[512], word[8];
	int in = 0, has = -1;

	assert_true(snprintf(word, sizeof(word), " %s", flag) > 0);
	while (f != NULL && has < 0 && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			in = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (in && strncmp(line, "VmFlags:", 8) == 0)
			has = strstr(line, word) != NULL;
	}
	if (f != NULL)
		fclose(f);
	return has;
}

#define PAGES_BYTES (200 << 10)

/* libc's sees whether what is given back was overwritten. */
static const uint8_t *watched;
static int given_back_with_secrets = -1;

int
munmap(void *p, size_t n)
{
	if (p != NULL && p == watched)
		given_back_with_secrets = memchr(p, 'S', n) != NULL;
	return (int)syscall(SYS_munmap, p, n);
}

static int
pages_given_back(void)
{
	uint8_t *p = secret_pages(PAGES_BYTES, NULL);

	if (p == NULL)
		return 1;
	watched = p;
	memset(p, 'S', PAGES_BYTES);
	secret_pages_free(p, PAGES_BYTES);
	return given_back_with_secrets == 0 ? 0 : 2;
}

static int
pages(void)
{
	int locked = -1;
	uint8_t *p = secret_pages(PAGES_BYTES, &locked);

	if (p == NULL || locked != 1 || p[0] != 0 || p[PAGES_BYTES - 1] != 0)
		return 1;
	p[0] = p[PAGES_BYTES - 1] = 1;
	if (has_flag(p, "lo") != 1 || has_flag(p + PAGES_BYTES - 1, "lo") != 1 ||
	    has_flag(p, "dd") != 1 || locked_kib() < PAGES_BYTES / 1024)
		return 2;
	secret_pages_free(p, PAGES_BYTES);
	secret_pages_free(NULL, PAGES_BYTES);
	return locked_kib() == 0 ? 0 : 3;
}

/* What passes through is served all the same, and in no core. */
static int
pages_without_the_right(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	struct rlimit limit = {0, 0};
	int locked = -1;
	uint8_t *p;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || syscall(SYS_capset, &header, none) != 0)
		return 1;
	if ((p = secret_pages(PAGES_BYTES, &locked)) == NULL || locked != 0)
		return 2;
	p[PAGES_BYTES - 1] = 1;
	if (has_flag(p, "lo") != 0 || has_flag(p, "dd") != 1)
		return 3;
	secret_pages_free(p, PAGES_BYTES);
	return 0;
}

static void
pages_are_locked(void **state)
{
	(void)state;
	assert_int_equal(in_child(pages), 0);
	assert_int_equal(in_child(pages_without_the_right), 0);
	assert_int_equal(in_child(pages_given_back), 0);
}

static int
freed_blocks(void)
{
	uintptr_t addr;
	char *p, *guard;

	secret_wipe_freed();
	p = malloc(4000);
	guard = malloc(4000);
	if (p == NULL || guard == NULL)
		return 1;
	memset(p, 'S', 4000);
	addr = (uintptr_t)p;
	if (still_holds(addr, 4000, 'S', 4000) != 1)
		return 2;
	free(p);
	if (still_holds(addr, 4000, 'S', 8) != 0)
		return 3;
	free(guard);
	return 0;
}

static void
freed_blocks_are_overwritten(void **state)
{
	(void)state;
	assert_int_equal(in_child(freed_blocks), 0);
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wiping),
	    cmocka_unit_test(no_core_dumps),
	    cmocka_unit_test(secure_heap),
#ifndef __SANITIZE_ADDRESS__
	    cmocka_unit_test(secure_heap_is_locked),
	    cmocka_unit_test(pages_are_locked),
	    cmocka_unit_test(freed_blocks_are_overwritten),
#endif
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
