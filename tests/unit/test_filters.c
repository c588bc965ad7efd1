/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the seccomp filter of each role, read as the kernel would read it: what it says to every
 * system call, with whatever arguments.  test_sandbox tries what an attacker would; here nothing
 * may be in a filter, or missing from it, that is not written down below.
 *
 * So a row that is added to src/apikeyd/sandbox_*.c (or removed, or loses a condition) has to be
 * written down a second time, and somebody has to find a reason for it: that is the purpose, and
 * why this table is not made from that one.  Guards invariants 3 and 4.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/sandbox.h"
#include "base/log.h"

/* What a filter says. */
enum says { NO = '-', MAY = 'm', DIES = 'x', ABSENT = 'a', DEPENDS = '?' };

struct program {
	struct sock_filter ins[BPF_MAXINSNS];
	size_t len;
	pid_t pid; /* who made it: some rows are about that process */
};

static struct program programs[SANDBOX_ROLES];

/* ---- the filters ---- */

static int export_fd = -1;

/* In the place of libseccomp's: the program that would be loaded is written down instead. */
int
seccomp_load(const scmp_filter_ctx ctx)
{
	return seccomp_export_bpf(ctx, export_fd);
}

static void
write_program(enum sandbox_role role, int fd)
{
	struct config config = {.state_dir = (char[]){"/nonexistent"},
	    .run_dir = (char[]){"/nonexistent"},
	    .sandbox = 1};
	struct err e;

	export_fd = fd;
	_exit(sandbox_enter(role, &config, &e) == 0 ? 0 : 1);
}

static void
read_program(enum sandbox_role role, struct program *p)
{
	size_t len = 0;
	ssize_t n;
	int fds[2], status;

	assert_int_equal(pipe(fds), 0);
	(void)fflush(NULL);
	if ((p->pid = fork()) == 0)
		write_program(role, fds[1]);
	assert_true(p->pid > 0);
	close(fds[1]);
	while ((n = read(fds[0], (char *)p->ins + len, sizeof(p->ins) - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_int_equal(status, 0);
	assert_true(len > 0 && len % sizeof(p->ins[0]) == 0);
	p->len = len / sizeof(p->ins[0]);
}

static void write_all_down(void);

static int
setup(void **state)
{
	(void)state;
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "test");
	write_all_down();
	for (int role = 0; role < SANDBOX_ROLES; role++)
		read_program((enum sandbox_role)role, &programs[role]);
	return 0;
}

static enum says
says_of(uint32_t ret)
{
	switch (ret) {
	case SECCOMP_RET_ALLOW:
		return MAY;
	case SECCOMP_RET_KILL_PROCESS:
		return DIES;
	case SECCOMP_RET_ERRNO | EPERM:
		return NO;
	case SECCOMP_RET_ERRNO | ENOSYS:
		return ABSENT;
	default:
		fail_msg("a filter returns %x", ret);
		return NO;
	}
}

static int
holds(const struct sock_filter *i, uint32_t a)
{
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return a == i->k;
	case BPF_JGT:
		return a > i->k;
	case BPF_JGE:
		return a >= i->k;
	case BPF_JSET:
		return (a & i->k) != 0;
	default:
		fail_msg("a jump of kind %x", i->code);
		return 0;
	}
}

/* The kernel's part: one call. */
static enum says
ask(const struct program *p, const struct seccomp_data *d)
{
	const struct sock_filter *i;
	uint32_t a = 0;

	for (size_t pc = 0;; pc++) {
		assert_true(pc < p->len);
		i = &p->ins[pc];
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k % 4 == 0 && i->k < sizeof(*d));
			memcpy(&a, (const char *)d + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_RET | BPF_K:
			return says_of(i->k);
		default:
			assert_int_equal(BPF_CLASS(i->code), BPF_JMP);
			pc += holds(i, a) ? i->jt : i->jf;
		}
	}
}

/* ---- every way through a filter ---- */

#define VALUES_MAX 1024

/* What a filter may say to a call, and by what it decides. */
struct reach {
	const struct program *p;
	uint32_t nr;
	unsigned char seen[BPF_MAXINSNS];
	char says[128]; /* by enum says */
	unsigned args;	/* bits: it looks at these */
	size_t nvalues; /* with what it compares, and what is beside that */
	uint64_t values[VALUES_MAX];
};

static void
note_value(struct reach *r, uint64_t v)
{
	for (size_t i = 0; i < r->nvalues; i++)
		if (r->values[i] == v)
			return;
	assert_true(r->nvalues < VALUES_MAX);
	r->values[r->nvalues++] = v;
}

static void
note_values(struct reach *r, uint64_t v)
{
	note_value(r, v);
	note_value(r, v + 1);
	note_value(r, v - 1);
	note_value(r, ~v);
	note_value(r, v | UINT64_C(1) << 32);
}

static const uint32_t unknown =
    UINT32_MAX; /* an offset: the accumulator holds an argument's part */

/* From ${pc} on, both ways wherever an argument decides.  ${from}: whence the accumulator came. */
static void
walk(struct reach *r, size_t pc, uint32_t from, uint32_t a)
{
	const struct sock_filter *i;

	for (;; pc++) {
		assert_true(pc < r->p->len);
		/* Forward jumps only: who has been here with an argument has seen what follows. */
		if (from == unknown && r->seen[pc]++ != 0)
			return;
		i = &r->p->ins[pc];
		if (i->code == (BPF_RET | BPF_K)) {
			r->says[says_of(i->k)] = 1;
			return;
		}
		if (i->code == (BPF_LD | BPF_W | BPF_ABS)) {
			from = i->k;
			a = from == offsetof(struct seccomp_data, nr) ? r->nr
								      : seccomp_arch_native();
			if (from >= offsetof(struct seccomp_data, args)) {
				r->args |= 1U << (from - offsetof(struct seccomp_data, args)) / 8;
				from = unknown;
			} else {
				assert_true(from <= offsetof(struct seccomp_data, arch));
			}
		} else if (i->code == (BPF_JMP | BPF_JA)) {
			pc += i->k;
		} else if (BPF_CLASS(i->code) == BPF_JMP && from != unknown) {
			pc += holds(i, a) ? i->jt : i->jf;
		} else if (BPF_CLASS(i->code) == BPF_JMP) {
			note_values(r, i->k);
			walk(r, pc + 1 + i->jt, from, a);
			pc += i->jf;
		} else {
			assert_int_equal(i->code, BPF_ALU | BPF_AND | BPF_K);
			note_values(r, i->k);
			a &= i->k;
		}
	}
}

static void
reach(struct reach *r, const struct program *p, uint32_t nr)
{
	memset(r, 0, sizeof(*r));
	r->p = p;
	r->nr = nr;
	walk(r, 0, 0, 0);
}

/* ---- what they may say ---- */

/*
 * To a worker, the keeper and a launcher.  What is in no row is refused to all of them.  (A
 * launcher has what its children need until they have entered theirs.)
 */
static const struct {
	const char says[SANDBOX_ROLES + 1];
	const char *calls;
} calls[] = {
    {"mmm", "brk munmap mremap madvise mlock mlock2 munlock clock_gettime clock_getres "
	    "gettimeofday time "
	    "nanosleep clock_nanosleep futex set_robust_list rseq sched_yield sched_getaffinity "
	    "restart_syscall getpid getppid gettid getuid geteuid getgid getegid getrandom sysinfo "
	    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit exit_group read readv write "
	    "writev close recvfrom recvmsg recvmmsg accept4 getsockopt getsockname getpeername "
	    "epoll_ctl epoll_wait epoll_pwait poll ppoll select pselect6 fstat"},
    {"?mm", "sendto sendmsg shutdown"},
    {"???", "fcntl setsockopt clone tgkill"},
    {"-mm", "open openat access faccessat faccessat2 stat lstat newfstatat statx statfs fstatfs "
	    "readlink "
	    "readlinkat getdents64 getcwd lseek pread64 pwrite64 ftruncate fsync fdatasync rename "
	    "renameat renameat2 unlink unlinkat mkdir mkdirat chmod fchmod fchmodat epoll_create1 "
	    "eventfd2 signalfd4 timerfd_create timerfd_settime pipe2"},
    {"-??", "ioctl"},
    {"-aa", "clone3"},
    {"xmm", "bind listen connect"},
    {"x??", "socket"},
    {"x-?", "socketpair"},
    {"??m", "mmap mprotect"},
    {"--m",
	"wait4 setsid setpgid dup2 dup3 close_range arch_prctl set_tid_address getrlimit setrlimit "
	"seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self "
	"sched_setscheduler uname umask flock fallocate getresuid getresgid getgroups fchown"},
    {"--?", "prlimit64 prctl"},
    {"xxm", "execve fork kill setgroups setresuid setresgid"},
    {"xx-",
	"execveat vfork tkill rt_sigqueueinfo pidfd_send_signal setuid setgid setreuid setregid "
	"setfsuid setfsgid capset pkey_mprotect memfd_create remap_file_pages"},
    {"xxx",
	"ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp bpf "
	"perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl "
	"add_key "
	"request_key modify_ldt unshare setns chroot pivot_root mount umount2 move_mount open_tree "
	"fsopen fsmount fspick mount_setattr mknod mknodat open_by_handle_at fanotify_init "
	"init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff "
	"acct quotactl syslog settimeofday clock_settime adjtimex clock_adjtime sethostname "
	"setdomainname ioperm iopl"},
};

/* Where the arguments decide: the same in C. */

static int
one_of(uint64_t v, const uint64_t *all)
{
	while (*all != 0 && *all != v)
		all++;
	return *all != 0;
}

#define ONE_OF(v, ...) one_of((v), (const uint64_t[]){__VA_ARGS__, 0})
#define NAMESPACES                                                                                 \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |  \
		    CLONE_NEWPID | CLONE_NEWNET))

static enum says
sends(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[4] == 0 && (a[3] & MSG_FASTOPEN) == 0 ? MAY : NO;
}

static enum says
sends_message(const uint64_t *a, pid_t self)
{
	(void)self;
	return (a[2] & MSG_FASTOPEN) == 0 ? MAY : NO;
}

/* Not the listening socket; and of it only what is nothing to it.  17 bits are all descriptors. */
static enum says
shuts(const uint64_t *a, pid_t self)
{
	uint32_t how = (uint32_t)a[1];

	(void)self;
	return how == SHUT_WR || (how == SHUT_RD && (a[0] & 0x1ffff) != 0) ? MAY : NO;
}

static enum says
worker_flags(const uint64_t *a, pid_t self)
{
	(void)self;
	if (a[1] == F_SETFL)
		return (a[2] & (O_NONBLOCK | O_ASYNC)) == O_NONBLOCK ? MAY : NO;
	return ONE_OF(a[1], F_GETFL, F_SETFD) ? MAY : NO;
}

static enum says
keeper_flags(const uint64_t *a, pid_t self)
{
	(void)self;
	if (a[1] == F_SETFL)
		return (a[2] & O_ASYNC) == 0 ? MAY : NO;
	return ONE_OF(a[1], F_GETFL, F_SETFD, F_GETFD, F_OFD_SETLK) ? MAY : NO;
}

static enum says
launcher_flags(const uint64_t *a, pid_t self)
{
	if (a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC)
		return MAY;
	return keeper_flags(a, self);
}

static enum says
worker_options(const uint64_t *a, pid_t self)
{
	(void)self;
	return (a[1] == SOL_SOCKET && a[2] == SO_RCVBUF) ||
		       (a[1] == IPPROTO_TCP && a[2] == TCP_NODELAY)
		   ? MAY
		   : NO;
}

static enum says
keeper_options(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[1] == SOL_SOCKET && ONE_OF(a[2], SO_SNDBUF, SO_SNDTIMEO) ? MAY : NO;
}

static enum says
launcher_options(const uint64_t *a, pid_t self)
{
	return worker_options(a, self) == MAY || keeper_options(a, self) == MAY ||
		       (a[1] == SOL_SOCKET && a[2] == SO_RCVTIMEO)
		   ? MAY
		   : NO;
}

/* A process dies; a thread is refused. */
static enum says
worker_clones(const uint64_t *a, pid_t self)
{
	(void)self;
	return (a[0] & CLONE_THREAD) != 0 ? NO : DIES;
}

static enum says
keeper_clones(const uint64_t *a, pid_t self)
{
	(void)self;
	if ((a[0] & CLONE_THREAD) == 0)
		return DIES;
	return (a[0] & NAMESPACES) == 0 ? MAY : NO;
}

static enum says
launcher_clones(const uint64_t *a, pid_t self)
{
	(void)self;
	if ((a[0] & CLONE_NEWUSER) != 0)
		return DIES;
	return (a[0] & NAMESPACES) == 0 ? MAY : NO;
}

static enum says
signals_itself(const uint64_t *a, pid_t self)
{
	return a[0] == (uint64_t)self ? MAY : NO;
}

static enum says
executes(const uint64_t *a, pid_t self)
{
	(void)self;
	return (a[2] & PROT_EXEC) == 0 ? MAY : DIES;
}

static enum says
keeper_sockets(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[0] == AF_UNIX ? MAY : DIES;
}

static enum says
launcher_sockets(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[0] == AF_UNIX ? MAY : NO;
}

static enum says
keeper_ioctls(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[1] == TCGETS ? MAY : NO;
}

static enum says
launcher_ioctls(const uint64_t *a, pid_t self)
{
	(void)self;
	return ONE_OF(a[1], TCGETS, FIONREAD) ? MAY : NO;
}

static enum says
own_limits(const uint64_t *a, pid_t self)
{
	(void)self;
	return a[0] == 0 ? MAY : NO;
}

static enum says
own_nature(const uint64_t *a, pid_t self)
{
	(void)self;
	if (a[0] == PR_SET_DUMPABLE)
		return a[1] == 0 ? MAY : NO;
	return ONE_OF(a[0], PR_SET_NAME, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_READ)
		   ? MAY
		   : NO;
}

static const struct {
	const char *call;
	enum says (*says[SANDBOX_ROLES])(const uint64_t *, pid_t);
} conditions[] = {
    {"sendto", {sends}},
    {"sendmsg", {sends_message}},
    {"shutdown", {shuts}},
    {"fcntl", {worker_flags, keeper_flags, launcher_flags}},
    {"setsockopt", {worker_options, keeper_options, launcher_options}},
    {"clone", {worker_clones, keeper_clones, launcher_clones}},
    {"tgkill", {signals_itself, signals_itself, signals_itself}},
    {"mmap", {executes, executes}},
    {"mprotect", {executes, executes}},
    {"socket", {NULL, keeper_sockets, launcher_sockets}},
    {"socketpair", {NULL, NULL, launcher_sockets}},
    {"ioctl", {NULL, keeper_ioctls, launcher_ioctls}},
    {"prlimit64", {NULL, NULL, own_limits}},
    {"prctl", {NULL, NULL, own_nature}},
};

/* Those of them that are no small numbers. */
static const uint64_t meant[] = {F_DUPFD_CLOEXEC, TCGETS, FIONREAD, O_ASYNC | O_NONBLOCK};

static const char *const roles[SANDBOX_ROLES] = {"worker", "keeper", "launcher"};

/* ---- held against each other ---- */

#define CALLS_MAX 1024

static char written[SANDBOX_ROLES][CALLS_MAX]; /* the table above, by number */

static void
write_down(const char *name, const char *says)
{
	int nr = seccomp_syscall_resolve_name(name);

	/* Misspelled; or one that this architecture does not have. */
	assert_int_not_equal(nr, __NR_SCMP_ERROR);
	if (nr < 0)
		return;
	assert_true(nr < CALLS_MAX);
	for (int role = 0; role < SANDBOX_ROLES; role++) {
		assert_int_equal(written[role][nr], NO);
		written[role][nr] = says[role];
	}
}

static void
write_all_down(void)
{
	char names[2048], *name, *save;

	memset(written, NO, sizeof(written));
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		assert_true(strlen(calls[i].calls) < sizeof(names));
		memcpy(names, calls[i].calls, strlen(calls[i].calls) + 1);
		for (name = strtok_r(names, " ", &save); name != NULL;
		     name = strtok_r(NULL, " ", &save))
			write_down(name, calls[i].says);
	}
}

static void
print_call(int role, int nr, const char *what)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

	(void)fprintf(
	    stderr, "%s: %s (%d): %s\n", roles[role], name != NULL ? name : "?", nr, what);
	free(name);
}

static int
reached(const struct reach *r)
{
	return r->says[NO] + r->says[MAY] + r->says[DIES] + r->says[ABSENT];
}

/* Of each call the only thing that its filter may say, or that it depends: on what, is the next
 * test's matter. */
static void
nothing_that_is_not_written_down(void **state)
{
	static struct reach r;
	int bad = 0, depends;

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++)
		for (int nr = 0; nr < CALLS_MAX; nr++) {
			reach(&r, &programs[role], (uint32_t)nr);
			depends = written[role][nr] == DEPENDS;
			if (depends ? reached(&r) > 1
				    : reached(&r) == 1 && r.says[(int)written[role][nr]])
				continue;
			print_call(role, nr, r.says[MAY] ? "may, and is not meant to" : "may not");
			bad++;
		}
	assert_int_equal(bad, 0);
}

/* All values, of two arguments at a time, between which the filter or the kernel could make a
 * difference. */
static int
agree(struct reach *r, int role, enum says (*says)(const uint64_t *, pid_t))
{
	const struct program *p = &programs[role];
	struct seccomp_data d = {.nr = (int)r->nr, .arch = seccomp_arch_native()};
	uint64_t a[6];
	size_t n;

	for (uint64_t bit = 1; bit != 0; bit <<= 1)
		note_value(r, bit);
	/* And what a filter that has lost a row does not compare with any more. */
	for (uint64_t small = 0; small < 64; small++)
		note_value(r, small);
	for (size_t i = 0; i < sizeof(meant) / sizeof(meant[0]); i++)
		note_value(r, meant[i]);
	note_value(r, UINT64_MAX);
	note_value(r, UINT32_MAX);
	note_values(r, 0);
	note_values(r, (uint64_t)p->pid);
	n = r->nvalues;
	for (int one = 0; one < 6; one++)
		for (int two = one + 1; two < 6; two++)
			for (size_t i = 0; i < n * n; i++) {
				memset(a, 0, sizeof(a));
				a[one] = r->values[i / n];
				a[two] = r->values[i % n];
				memcpy(d.args, a, sizeof(a));
				if (ask(p, &d) == says(a, p->pid))
					continue;
				(void)fprintf(stderr, "arguments %d: %llx, %d: %llx\n", one,
				    (unsigned long long)a[one], two, (unsigned long long)a[two]);
				return 0;
			}
	return 1;
}

static void
arguments_decide_as_written_down(void **state)
{
	static struct reach r;
	int nr, bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
		if ((nr = seccomp_syscall_resolve_name(conditions[i].call)) < 0)
			continue;
		for (int role = 0; role < SANDBOX_ROLES; role++) {
			assert_int_equal(
			    conditions[i].says[role] != NULL, written[role][nr] == DEPENDS);
			if (conditions[i].says[role] == NULL)
				continue;
			reach(&r, &programs[role], (uint32_t)nr);
			if (!agree(&r, role, conditions[i].says[role])) {
				print_call(role, nr, "with these it says something else");
				bad++;
			}
		}
	}
	assert_int_equal(bad, 0);
}

/* Numbers that mean other calls: of another architecture, or of x32. */
static void
no_other_numbers(void **state)
{
	struct seccomp_data d = {.arch = seccomp_arch_native()};

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++)
		for (int nr = 0; nr < CALLS_MAX; nr++) {
			d.nr = nr | 0x40000000;
			d.arch = seccomp_arch_native();
#ifdef __x86_64__
			assert_int_equal(ask(&programs[role], &d), DIES);
#endif
			d.nr = nr;
			d.arch = AUDIT_ARCH_I386;
			assert_int_equal(ask(&programs[role], &d), DIES);
			d.arch = AUDIT_ARCH_ARM;
			assert_int_equal(ask(&programs[role], &d), DIES);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_that_is_not_written_down),
	    cmocka_unit_test(arguments_decide_as_written_down),
	    cmocka_unit_test(no_other_numbers),
	};

#ifdef INSTRUMENTED
	(void)printf("[  SKIPPED ] nothing: such a build has another filter\n");
	return 0;
#endif
	return cmocka_run_group_tests(tests, setup, NULL);
}
