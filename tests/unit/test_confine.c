/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the filter of the process that parses the store's files for the tool, tried from inside: it
 * dies of what an attacker would want of it, is refused the rest, and does its work.  That every
 * such process enters it is e2e/test_db_root.py's.  Guards invariant 4.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikey/confine.h"

static char top[200];

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(top, sizeof(top), "%s/test-confine.XXXXXX", tmp != NULL ? tmp : "/tmp");
	return mkdtemp(top) == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	return rmdir(top);
}

/* ---- what is tried: 0, or the errno ---- */

static int
no_of(long rc)
{
	return rc == -1 ? errno : 0;
}

/* What a copy, its recovery and its way into the store's place are made of. */
static int
try_files(void)
{
	char a[300], b[300], c[300], d[256];
	int fd, rc;

	(void)snprintf(d, sizeof(d), "%s/d", top);
	(void)snprintf(a, sizeof(a), "%s/a", d);
	(void)snprintf(b, sizeof(b), "%s/b", d);
	(void)snprintf(c, sizeof(c), "%s/c", d);
	if (mkdir(d, 0700) == -1 || (fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0600)) == -1)
		return errno;
	rc = pwrite(fd, "x", 1, 4096) == 1 && fsync(fd) == 0 && ftruncate(fd, 1) == 0 &&
	     fchmod(fd, 0400) == 0 && link(a, b) == 0 && rename(b, c) == 0 && unlink(a) == 0 &&
	     unlink(c) == 0 && close(fd) == 0 && rmdir(d) == 0;
	return rc ? 0 : errno;
}

static int
try_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid == -1 ? errno : no_of(waitpid(pid, NULL, 0));
}

static int
try_exec_later(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : no_of(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int
try_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED
		   ? errno
		   : 0;
}

#define ACT(name, expression)                                                                      \
	static int name(void)                                                                      \
	{                                                                                          \
		return (expression);                                                               \
	}

ACT(keepers_socket, no_of(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)))
ACT(pair, no_of(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, (int[2]){0})))
ACT(inet, no_of(socket(AF_INET, SOCK_STREAM, 0)))
ACT(inet6, no_of(socket(AF_INET6, SOCK_DGRAM, 0)))
ACT(netlink, no_of(socket(AF_NETLINK, SOCK_RAW, 0)))
ACT(packet, no_of(socket(AF_PACKET, SOCK_RAW, 0)))
ACT(listen_any, no_of(listen(-1, 1)))
ACT(exec_program, no_of(execl("/nonexistent", "x", (char *)NULL)))
ACT(exec_at, no_of(syscall(SYS_execveat, -1, "", NULL, NULL, AT_EMPTY_PATH)))
ACT(trace, no_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)))
ACT(read_parent, no_of(process_vm_readv(getppid(), NULL, 0, NULL, 0, 0)))
ACT(write_parent, no_of(process_vm_writev(getppid(), NULL, 0, NULL, 0, 0)))
ACT(signal_parent, no_of(kill(getppid(), 0)))
ACT(signal_its_thread, no_of(syscall(SYS_tgkill, getppid(), getppid(), 0)))
ACT(namespace, no_of(unshare(CLONE_NEWUSER)))
ACT(namespace_clone, no_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)))
ACT(clone3_raw, no_of(syscall(SYS_clone3, NULL, 0)) == ENOSYS ? EPERM : 0)
ACT(memory_file, no_of(memfd_create("x", 0)))
ACT(bpf, no_of(syscall(SYS_bpf, 0, NULL, 0)))
ACT(uring, no_of(syscall(SYS_io_uring_setup, 0, NULL)))
ACT(faults, no_of(syscall(SYS_userfaultfd, 0)))
ACT(keys, no_of(syscall(SYS_keyctl, 0, 0, 0, 0, 0)))
ACT(root_again, no_of(setuid(0)))
ACT(owner, no_of(chown(top, 0, 0)))
ACT(type_in, no_of(ioctl(0, TIOCSTI, "x")))
ACT(signals_by_descriptor, no_of(fcntl(0, F_SETOWN, getppid())))
ACT(kernel_program, no_of(setsockopt(0, SOL_SOCKET, SO_ATTACH_FILTER, NULL, 0)))
ACT(dumpable, no_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)))
ACT(limit_parent, no_of(prlimit(getppid(), RLIMIT_CORE, &(struct rlimit){0, 0}, NULL)))
ACT(device, no_of(mknod("/nonexistent/x", S_IFIFO, 0)))
#ifdef __x86_64__
ACT(other_numbers, no_of(syscall(0x40000000L + SYS_getpid)))
#endif

enum want { MAY, REFUSED, DIES };

static const struct act {
	const char *name;
	int (*act)(void);
	enum want want;
} acts[] = {
    {"files", try_files, MAY},
    {"a child", try_child, MAY},
    {"the keeper's socket", keepers_socket, MAY},
    {"socketpair", pair, MAY},
    {"socket(AF_INET)", inet, REFUSED},
    {"socket(AF_INET6)", inet6, REFUSED},
    {"socket(AF_NETLINK)", netlink, REFUSED},
    {"socket(AF_PACKET)", packet, REFUSED},
    {"listen", listen_any, DIES},
    {"execve", exec_program, DIES},
    {"execveat", exec_at, DIES},
    {"ptrace", trace, DIES},
    {"process_vm_readv", read_parent, DIES},
    {"process_vm_writev", write_parent, DIES},
    {"kill", signal_parent, DIES},
    {"tgkill", signal_its_thread, REFUSED},
    {"unshare", namespace, DIES},
    {"clone(CLONE_NEWUSER)", namespace_clone, REFUSED},
    {"clone3", clone3_raw, REFUSED},
    {"memfd_create", memory_file, DIES},
    {"bpf", bpf, DIES},
    {"io_uring", uring, DIES},
    {"userfaultfd", faults, DIES},
    {"keyctl", keys, DIES},
    {"setuid", root_again, REFUSED},
    {"chown", owner, REFUSED},
    {"type into a terminal", type_in, REFUSED},
    {"have signals sent", signals_by_descriptor, REFUSED},
    {"a filter on a socket", kernel_program, REFUSED},
    {"PR_SET_DUMPABLE", dumpable, REFUSED},
    {"the limits of another", limit_parent, REFUSED},
    {"mprotect(PROT_EXEC)", try_exec_later, REFUSED},
    {"mmap(PROT_EXEC)", try_exec_memory, REFUSED},
    {"mknod", device, DIES},
#ifdef __x86_64__
    {"x32 numbers", other_numbers, DIES},
#endif
};

/* In a child, behind the filter (twice, which is once): its wait status. */
static int
inside(int sandbox, int (*act)(void))
{
	const struct config config = {.sandbox = sandbox};
	struct err e;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		if (confine_enter(&config, &e) == -1 || confine_enter(&config, &e) == -1)
			_exit(255);
		_exit(act());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int
as_wanted(enum want want, int status)
{
	if (want == DIES)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	return WIFEXITED(status) && WEXITSTATUS(status) == (want == MAY ? 0 : EPERM);
}

static void
each_is_tried(void **state)
{
	size_t i, bad = 0;
	int status;

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		status = inside(1, acts[i].act);
		if (as_wanted(acts[i].want, status))
			continue;
		(void)fprintf(stderr, "%s: %x\n", acts[i].name, (unsigned)status);
		bad++;
	}
	assert_int_equal(bad, 0);
}

/* For finding out whether a fault comes from it. */
static void
it_can_be_switched_off(void **state)
{
	(void)state;
	assert_true(as_wanted(MAY, inside(0, inet)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_is_tried),
	    cmocka_unit_test(it_can_be_switched_off),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
