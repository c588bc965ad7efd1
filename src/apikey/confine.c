/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The filter of a process that parses the store's files, or a dump, in the tool's name: see
 * confine.h.  Berkeley DB trusts its files, so whoever made them may own this process.  It is the
 * service user by then (service.c) and without a terminal (apart.c); here it loses what that user
 * could still do: the network, programs, the service's other processes.
 *
 * Not the sandbox of the daemon's processes (src/apikeyd), which know their files: this one works
 * in directories that an admin has named, so files are as their modes have them.
 *
 * Invariants: what is in no row is refused; entered before the first file is looked at.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "apikey/confine.h"

static const char may[] =
    "brk munmap mremap madvise mlock mlock2 munlock futex set_robust_list rseq sched_yield "
    "sched_getaffinity clock_gettime clock_getres gettimeofday time nanosleep clock_nanosleep "
    "restart_syscall getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid "
    "getgroups getsid getrandom sysinfo uname rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack "
    "exit exit_group "
    "read readv write writev close lseek dup dup2 dup3 pipe2 poll ppoll select pselect6 "
    "open openat access faccessat faccessat2 stat fstat lstat newfstatat statx statfs fstatfs "
    "readlink readlinkat getdents64 getcwd chdir fchdir pread64 pwrite64 ftruncate fallocate fsync "
    "fdatasync flock rename renameat renameat2 link linkat unlink unlinkat mkdir mkdirat rmdir "
    "chmod fchmod fchmodat umask "
    "connect getsockopt getsockname getpeername sendto sendmsg recvfrom recvmsg shutdown "
    "fork setsid wait4 waitid getrlimit setrlimit";

/* What no library tries by itself: somebody else is at the wheel. */
static const char dies[] =
    "execve execveat ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp bpf "
    "perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key "
    "request_key unshare setns chroot pivot_root mount umount2 move_mount open_tree fsopen fsmount "
    "mknod mknodat open_by_handle_at init_module finit_module delete_module kexec_load "
    "kexec_file_load reboot swapon swapoff memfd_create kill tkill pidfd_send_signal bind listen";

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	    CLONE_NEWPID | CLONE_NEWNET)
#define IS(nth, value)                                                                             \
	{                                                                                          \
		(nth), SCMP_CMP_EQ, (value), 0                                                     \
	}
#define LACKS(nth, bits)                                                                           \
	{                                                                                          \
		(nth), SCMP_CMP_MASKED_EQ, (bits), 0                                               \
	}

/* May, with these arguments. */
static const struct {
	int call;
	unsigned n;
	struct scmp_arg_cmp arg[2];
} with[] = {
    {SCMP_SYS(mmap), 1, {LACKS(2, PROT_EXEC)}},
    {SCMP_SYS(mprotect), 1, {LACKS(2, PROT_EXEC)}},
    {SCMP_SYS(clone), 1, {LACKS(0, NAMESPACES)}},
    {SCMP_SYS(socket), 1, {IS(0, AF_UNIX)}},
    {SCMP_SYS(socketpair), 1, {IS(0, AF_UNIX)}},
    {SCMP_SYS(setsockopt), 2, {IS(1, SOL_SOCKET), IS(2, SO_SNDBUF)}},
    {SCMP_SYS(setsockopt), 2, {IS(1, SOL_SOCKET), IS(2, SO_SNDTIMEO)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_DUPFD_CLOEXEC)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_GETFD)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_SETFD)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_GETFL)}},
    {SCMP_SYS(fcntl), 2, {IS(1, F_SETFL), LACKS(2, O_ASYNC)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_OFD_SETLK)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_OFD_GETLK)}},
    {SCMP_SYS(ioctl), 1, {IS(1, TCGETS)}},
    {SCMP_SYS(ioctl), 1, {IS(1, TIOCGWINSZ)}},
    {SCMP_SYS(prctl), 1, {IS(0, PR_SET_PDEATHSIG)}},
    {SCMP_SYS(prctl), 2, {IS(0, PR_SET_DUMPABLE), IS(1, 0)}},
    {SCMP_SYS(prctl), 1, {IS(0, PR_GET_DUMPABLE)}},
    {SCMP_SYS(prctl), 1, {IS(0, PR_GET_NO_NEW_PRIVS)}},
    {SCMP_SYS(prlimit64), 1, {IS(0, 0)}},
};

static int
add_words(scmp_filter_ctx ctx, uint32_t action, const char *words)
{
	char *names = strdup(words), *save, *name;
	int rc = names == NULL ? -ENOMEM : 0, call;

	for (name = rc == 0 ? strtok_r(names, " ", &save) : NULL; name != NULL && rc == 0;
	     name = strtok_r(NULL, " ", &save)) {
		call = seccomp_syscall_resolve_name(name);
		/* A newer one than this libseccomp knows is refused, like all that is not named. */
		if (call != __NR_SCMP_ERROR)
			rc = seccomp_rule_add_array(ctx, action, call, 0, NULL);
	}
	free(names);
	return rc;
}

static int
add_all(scmp_filter_ctx ctx)
{
	int rc;

	if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1)) != 0 ||
	    (rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) != 0 ||
	    (rc = add_words(ctx, SCMP_ACT_KILL_PROCESS, dies)) != 0 ||
	    (rc = add_words(ctx, SCMP_ACT_ALLOW, may)) != 0)
		return rc;
	/* libc then takes clone, whose flags can be seen. */
	rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* abort() of this process; of another, a child's included, it ends otherwise. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (size_t i = 0; rc == 0 && i < sizeof(with) / sizeof(with[0]); i++)
		rc = seccomp_rule_add_array(
		    ctx, SCMP_ACT_ALLOW, with[i].call, with[i].n, with[i].arg);
	return rc;
}

/* A sanitizer or gcov does what it likes, and in no build of those is anything guarded. */
static int
is_possible(void)
{
#ifdef INSTRUMENTED
	return 0;
#else
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
#endif
}

int
confine_enter(const struct config *C, struct err *e)
{
	static int entered;
	scmp_filter_ctx ctx;
	int rc = -ENOMEM;

	if (entered || !C->sandbox || !is_possible())
		return 0;
	if ((ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM))) != NULL && (rc = add_all(ctx)) == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc == 0) {
		entered = 1;
		return 0;
	}
	errno = -rc;
	return err_sys(e, "cannot enter the sandbox of who works on the store's files");
}
