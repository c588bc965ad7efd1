/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: giving up root is believed when it is seen, not when a call says so; and what belongs to
 * root beside its id goes with it.  A kernel (or a container's filter) that says yes and does
 * nothing is played by setresuid and setresgid of ours.  Guards invariant 4.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/privileges.h"

enum { HONEST, NO_USER, NO_GROUP, WAY_BACK } kernel;

/* In the place of libc's. */
int
setresuid(uid_t r, uid_t e, uid_t s)
{
	if (kernel == NO_USER)
		return 0;
	/* What is kept as the saved id is the way back. */
	return (int)syscall(SYS_setresuid, r, e, kernel == WAY_BACK && r != 0 ? (uid_t)-1 : s);
}

int
setresgid(gid_t r, gid_t e, gid_t s)
{
	return kernel == NO_GROUP ? 0 : (int)syscall(SYS_setresgid, r, e, s);
}

/* 0 dropped, with nothing left; 1 refused to go on; else something is wrong. */
static int
drop(void)
{
	struct config config = {.user = (char[]){"nobody"}, .group = (char[]){"nogroup"}};
	const gid_t of_root[] = {0, 4};
	struct privileges P;
	gid_t groups[64];
	struct err e;
	int n;

	if (setgroups(2, of_root) != 0 || privileges_lookup(&P, &config, &e) != 0 || !P.root)
		return 2;
	if (privileges_drop(&P, &e) != 0)
		return e.code == ERR_INTERNAL ? 1 : 3;
	if (getuid() != P.uid || geteuid() != P.uid || getgid() != P.gid || setuid(0) == 0)
		return 4;
	if ((n = getgroups(64, groups)) < 0)
		return 5;
	for (int i = 0; i < n; i++)
		if (groups[i] == 0 || groups[i] == 4)
			return 6;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 7;
}

static int
in_child(void)
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0)
		_exit(drop());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
it_is_seen_to_be_true(void **state)
{
	(void)state;
	if (geteuid() != 0 || getpwnam("nobody") == NULL || getgrnam("nogroup") == NULL)
		skip();
	kernel = HONEST;
	assert_int_equal(in_child(), 0);
	for (kernel = NO_USER; kernel <= WAY_BACK; kernel++)
		assert_int_equal(in_child(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_seen_to_be_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
