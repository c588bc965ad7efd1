/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: each role's sandbox, tried from inside.  A child enters it and then does one thing: it dies
 * of SIGSYS, is refused, or may.  Guards invariant 4 (who takes over a worker finds no file and no
 * way out; the keeper's peppers do not leave over the network) and invariant 3 (a worker cannot
 * become somebody who administers: test_takeover has that part).
 *
 * Everything is tried as whoever runs the test, root as a rule: what is refused here is refused by
 * the sandbox and not by a user's lack of rights.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "apikeyd/sandbox.h"
#include "base/log.h"

static struct {
	char top[200], state[256], run[256], etc[256], pepper[300];
	struct config config;
	int pair[2], listening, file;
} F;

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)state;
	(void)snprintf(F.top, sizeof(F.top), "%s/test-sandbox.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(F.top) == NULL)
		return -1;
	(void)snprintf(F.state, sizeof(F.state), "%s/state", F.top);
	(void)snprintf(F.run, sizeof(F.run), "%s/run", F.top);
	(void)snprintf(F.etc, sizeof(F.etc), "%s/etc", F.top);
	(void)snprintf(F.pepper, sizeof(F.pepper), "%s/peppers", F.etc);
	if (mkdir(F.state, 0700) != 0 || mkdir(F.run, 0755) != 0 || mkdir(F.etc, 0755) != 0 ||
	    close(open(F.pepper, O_CREAT | O_WRONLY, 0400)) != 0)
		return -1;
	F.config = (struct config){
	    .state_dir = F.state, .run_dir = F.run, .pepper_file = F.pepper, .sandbox = 1};
	F.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	F.file = open("/etc/passwd", O_RDONLY);
	unsetenv("CREDENTIALS_DIRECTORY");
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "test");
	return F.file == -1 ||
	       bind(F.listening, (struct sockaddr *)&un, sizeof(sa_family_t)) != 0 ||
	       listen(F.listening, 5) != 0;
}

static int
teardown(void **state)
{
	char command[300];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", F.top);
	return system(command);
}

/* ---- what is tried: 0, or the errno ---- */

static int
no_of(long rc)
{
	return rc == -1 ? errno : 0;
}

/* A file of the directory, written, renamed and removed. */
static int
write_in(const char *dir)
{
	char a[300], b[300];
	int fd, rc;

	(void)snprintf(a, sizeof(a), "%s/a", dir);
	(void)snprintf(b, sizeof(b), "%s/b", dir);
	if ((fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0600)) == -1)
		return errno;
	rc = write(fd, "x", 1) == 1 && pwrite(fd, "y", 1, 4096) == 1 && fdatasync(fd) == 0 &&
	     ftruncate(fd, 1) == 0 && rename(a, b) == 0 && unlink(b) == 0;
	return rc ? 0 : errno;
}

static int
try_socket(int domain, int type)
{
	return no_of(socket(domain, type, 0));
}

static void *
nothing(void *p)
{
	return p;
}

static int
try_thread(void)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, nothing, NULL);

	return rc != 0 ? rc : pthread_join(t, NULL);
}

static int
try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid == -1 ? errno : waitpid(pid, NULL, 0) == pid ? 0 : errno;
}

static int
try_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED
		   ? errno
		   : 0;
}

static int
try_exec_later(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : no_of(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int
try_send_elsewhere(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/notify"};
	int rc = no_of(sendto(F.pair[0], "x", 1, MSG_DONTWAIT, (struct sockaddr *)&un, sizeof(un)));

	/* On this socket the address changes nothing; that it may be given is what matters. */
	return rc == EISCONN ? 0 : rc;
}

static int
try_program_in_kernel(void)
{
	struct sock_filter one = {.code = BPF_RET | BPF_K, .k = 0};
	struct sock_fprog p = {.len = 1, .filter = &one};

	return no_of(setsockopt(F.pair[0], SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)));
}

static int
try_options(void)
{
	int one = 1;

	if (setsockopt(F.pair[0], SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)) == -1)
		return errno;
	/* Not a TCP socket: the filter lets it through. */
	if (setsockopt(F.pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1 &&
	    errno != EOPNOTSUPP)
		return errno;
	return 0;
}

static int
try_change_limit(void)
{
	struct rlimit r = {0, 0};

	return no_of(setrlimit(RLIMIT_CORE, &r));
}

static int
shut_listener(void)
{
	return no_of(shutdown(0, SHUT_RD));
}

static int
shut_listener_whole(void)
{
	return no_of(shutdown(0, SHUT_RDWR));
}

/* The kernel takes the lower half of it. */
static int
shut_listener_by_another_number(void)
{
	return no_of(syscall(SYS_shutdown, UINT64_C(0x100000000), SHUT_RD));
}

static int
shut_connection(void)
{
	return no_of(shutdown(F.pair[0], SHUT_RD));
}

static int
block_listener(void)
{
	int rc = no_of(fcntl(F.listening, F_SETFL, 0));

	/* Who may has made all others wait. */
	if (rc == 0)
		(void)fcntl(F.listening, F_SETFL, O_NONBLOCK);
	return rc;
}

static int
signals_by_descriptor(void)
{
	return no_of(fcntl(F.pair[0], F_SETOWN, getppid()));
}

static int
connect_by_sending(void)
{
	struct msghdr m = {.msg_iov = &(struct iovec){(char[1]){"x"[0]}, 1}, .msg_iovlen = 1};

	return no_of(sendmsg(F.pair[0], &m, MSG_FASTOPEN | MSG_DONTWAIT));
}

static int
connect_by_sending_many(void)
{
	struct iovec iov = {(char[1]){"x"[0]}, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	return no_of(sendmmsg(F.pair[0], &m, 1, MSG_FASTOPEN | MSG_DONTWAIT));
}

static int
connect_by_sendto(void)
{
	return no_of(sendto(F.pair[0], "x", 1, MSG_FASTOPEN | MSG_DONTWAIT, NULL, 0));
}

/* All that a worker does all day. */
static int
try_work(void)
{
	struct iovec iov = {(char[8]){"x"}, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	struct timespec ts = {0, 1000};
	int i;
	time_t now = 0;
	struct tm tm;
	sigset_t set;
	char *p;

	if (sendmsg(F.pair[0], &m.msg_hdr, MSG_DONTWAIT) != 1 ||
	    recv(F.pair[1], iov.iov_base, 1, MSG_PEEK) != 1 ||
	    recvmmsg(F.pair[1], &m, 1, MSG_DONTWAIT, NULL) != 1 ||
	    send(F.pair[0], "x", 1, 0) != 1 || read(F.pair[1], iov.iov_base, 1) != 1 ||
	    write(F.pair[1], "y", 1) != 1 || recvmsg(F.pair[0], &m.msg_hdr, 0) != 1)
		return errno;
	if (accept4(F.listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) == -1 &&
	    errno != EAGAIN && errno != EINVAL)
		return errno;
	if (fcntl(F.pair[0], F_SETFL, fcntl(F.pair[0], F_GETFL) | O_NONBLOCK) == -1 ||
	    shutdown(F.pair[0], SHUT_WR) == -1 || close(F.pair[1]) == -1)
		return errno;
	for (i = 1; i < 4; i++) {
		if ((p = malloc((size_t)i << 20)) == NULL ||
		    (p = realloc(p, (size_t)i << 22)) == NULL)
			return ENOMEM;
		memset(p, 1, (size_t)i << 22);
		free(p);
	}
	sigemptyset(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1 || nanosleep(&ts, NULL) == -1 ||
	    getrandom(&i, sizeof(i), 0) != sizeof(i) || gmtime_r(&now, &tm) == NULL)
		return errno;
	log_event(LOG_LVL_DEBUG, "work", NULL);
	return 0;
}

#define ACT(name, expression)                                                                      \
	static int name(void)                                                                      \
	{                                                                                          \
		return (expression);                                                               \
	}

ACT(open_passwd, no_of(open("/etc/passwd", O_RDONLY)))
ACT(open_self_memory, no_of(open("/proc/self/mem", O_RDWR)))
ACT(write_tmp, write_in(F.top))
ACT(write_state, write_in(F.state))
ACT(write_run, write_in(F.run))
ACT(write_etc, write_in(F.etc))
ACT(read_pepper, no_of(open(F.pepper, O_RDONLY)))
ACT(read_boot_id, no_of(open("/proc/sys/kernel/random/boot_id", O_RDONLY)))
ACT(socket_inet, try_socket(AF_INET, SOCK_STREAM))
ACT(socket_inet6, try_socket(AF_INET6, SOCK_DGRAM))
ACT(socket_netlink, try_socket(AF_NETLINK, SOCK_RAW))
ACT(socket_packet, try_socket(AF_PACKET, SOCK_RAW))
ACT(socket_vsock, try_socket(AF_VSOCK, SOCK_STREAM))
ACT(socket_unix, try_socket(AF_UNIX, SOCK_SEQPACKET))
ACT(socket_pair, no_of(socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0})))
ACT(connect_any,
    no_of(connect(-1, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(struct sockaddr))))
ACT(bind_any, no_of(bind(-1, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(struct sockaddr))))
ACT(listen_any, no_of(listen(-1, 1)))
ACT(exec_program, no_of(execl("/nonexistent", "x", (char *)NULL)))
ACT(exec_at, no_of(syscall(SYS_execveat, F.file, "", NULL, NULL, AT_EMPTY_PATH)))
ACT(new_user_namespace, no_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)))
ACT(clone3_raw, no_of(syscall(SYS_clone3, NULL, 0)))
ACT(trace_parent, no_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)))
ACT(read_parent, no_of(process_vm_readv(getppid(), NULL, 0, NULL, 0, 0)))
ACT(take_descriptor, no_of(syscall(SYS_pidfd_getfd, -1, 0, 0)))
ACT(load_bpf, no_of(syscall(SYS_bpf, 0, NULL, 0)))
ACT(perf_events, no_of(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)))
ACT(user_faults, no_of(syscall(SYS_userfaultfd, 0)))
ACT(uring, no_of(syscall(SYS_io_uring_setup, 0, NULL)))
ACT(keyring, no_of(syscall(SYS_keyctl, 0, 0, 0, 0, 0)))
ACT(new_mounts, no_of(unshare(CLONE_NEWNS)))
ACT(mount_any, no_of(mount("none", "/", NULL, MS_REMOUNT, NULL)))
ACT(change_root, no_of(chroot("/")))
ACT(enter_namespace, no_of(setns(-1, 0)))
ACT(load_module, no_of(syscall(SYS_finit_module, -1, "", 0)))
ACT(by_handle, no_of(syscall(SYS_open_by_handle_at, -1, NULL, 0)))
ACT(become_root, no_of(setuid(0)))
ACT(signal_parent, no_of(kill(getppid(), 0)))
ACT(signal_a_thread, no_of(syscall(SYS_tgkill, getppid(), getppid(), 0)))
ACT(signal_itself, no_of(syscall(SYS_tgkill, getpid(), getpid(), 0)))
ACT(anonymous_file, no_of(memfd_create("x", 0)))
ACT(copy_descriptor, no_of(fcntl(F.pair[0], F_DUPFD_CLOEXEC, 50)))
ACT(limit_parent, no_of(prlimit(getppid(), RLIMIT_CORE, &(struct rlimit){0, 0}, NULL)))
ACT(type_into_terminal, no_of(ioctl(F.pair[0], TIOCSTI, "x")))
ACT(second_name, no_of(link(F.pepper, "/nonexistent/x")))
ACT(dumpable, no_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)))
ACT(loosen_filter, no_of(prctl(PR_SET_SECCOMP, 0, 0, 0, 0)))
#ifdef __x86_64__
ACT(other_numbers, no_of(syscall(0x40000000L + SYS_getpid)))
#endif

/* dies: SIGSYS. refused: EPERM, or EACCES by landlock. */
enum want { DIES, REFUSED, MAY };

static const struct act {
	const char *name;
	int (*act)(void);
	enum want want[SANDBOX_ROLES]; /* worker, keeper, launcher */
	int tools;		       /* instrumented builds must let it through */
} acts[] = {
    {"work", try_work, {MAY, MAY, MAY}, 0},
    {"options of a connection", try_options, {MAY, REFUSED, MAY}, 0},
    {"open /etc/passwd", open_passwd, {REFUSED, REFUSED, MAY}, 0},
    {"open its own memory", open_self_memory, {REFUSED, REFUSED, MAY}, 0},
    {"write elsewhere", write_tmp, {REFUSED, REFUSED, MAY}, 0},
    {"write the store", write_state, {REFUSED, MAY, MAY}, 0},
    {"write the run directory", write_run, {REFUSED, MAY, MAY}, 0},
    {"write beside the peppers", write_etc, {REFUSED, REFUSED, MAY}, 0},
    {"read the peppers", read_pepper, {REFUSED, MAY, MAY}, 0},
    {"read the boot's id", read_boot_id, {REFUSED, MAY, MAY}, 0},
    {"socket(AF_INET)", socket_inet, {DIES, DIES, REFUSED}, 1},
    {"socket(AF_INET6)", socket_inet6, {DIES, DIES, REFUSED}, 1},
    {"socket(AF_NETLINK)", socket_netlink, {DIES, DIES, REFUSED}, 1},
    {"socket(AF_PACKET)", socket_packet, {DIES, DIES, REFUSED}, 1},
    {"socket(AF_VSOCK)", socket_vsock, {DIES, DIES, REFUSED}, 1},
    {"socket(AF_UNIX)", socket_unix, {DIES, MAY, MAY}, 1},
    {"socketpair", socket_pair, {DIES, REFUSED, MAY}, 1},
    {"connect", connect_any, {DIES, MAY, MAY}, 1},
    {"bind", bind_any, {DIES, MAY, MAY}, 0},
    {"listen", listen_any, {DIES, MAY, MAY}, 0},
    {"shut the listening socket", shut_listener, {REFUSED, MAY, MAY}, 0},
    {"shut it whole", shut_listener_whole, {REFUSED, MAY, MAY}, 0},
    {"shut it as another", shut_listener_by_another_number, {REFUSED, MAY, MAY}, 0},
    {"shut a connection", shut_connection, {MAY, MAY, MAY}, 0},
    {"make accept4 wait", block_listener, {REFUSED, MAY, MAY}, 0},
    {"have signals sent", signals_by_descriptor, {REFUSED, REFUSED, REFUSED}, 0},
    {"connect by sendmsg", connect_by_sending, {REFUSED, MAY, MAY}, 0},
    {"connect by sendmmsg", connect_by_sending_many, {REFUSED, REFUSED, REFUSED}, 0},
    {"connect by sendto", connect_by_sendto, {REFUSED, MAY, MAY}, 0},
    {"send to an address", try_send_elsewhere, {REFUSED, MAY, MAY}, 0},
    {"a filter on a socket", try_program_in_kernel, {REFUSED, REFUSED, REFUSED}, 0},
    {"execve", exec_program, {DIES, DIES, MAY}, 0},
    {"execveat", exec_at, {DIES, DIES, REFUSED}, 0},
    {"fork", try_fork, {DIES, DIES, MAY}, 1},
    {"a thread", try_thread, {REFUSED, MAY, MAY}, 0},
    {"a user namespace", new_user_namespace, {DIES, DIES, DIES}, 1},
    {"ptrace", trace_parent, {DIES, DIES, DIES}, 1},
    {"process_vm_readv", read_parent, {DIES, DIES, DIES}, 0},
    {"pidfd_getfd", take_descriptor, {DIES, DIES, DIES}, 0},
    {"bpf", load_bpf, {DIES, DIES, DIES}, 0},
    {"perf_event_open", perf_events, {DIES, DIES, DIES}, 0},
    {"userfaultfd", user_faults, {DIES, DIES, DIES}, 0},
    {"io_uring", uring, {DIES, DIES, DIES}, 0},
    {"keyctl", keyring, {DIES, DIES, DIES}, 0},
    {"unshare", new_mounts, {DIES, DIES, DIES}, 0},
    {"mount", mount_any, {DIES, DIES, DIES}, 0},
    {"chroot", change_root, {DIES, DIES, DIES}, 0},
    {"setns", enter_namespace, {DIES, DIES, DIES}, 0},
    {"finit_module", load_module, {DIES, DIES, DIES}, 0},
    {"open_by_handle_at", by_handle, {DIES, DIES, DIES}, 0},
    {"setuid", become_root, {DIES, DIES, REFUSED}, 0},
    {"kill", signal_parent, {DIES, DIES, MAY}, 0},
    {"tgkill of another", signal_a_thread, {REFUSED, REFUSED, REFUSED}, 0},
    {"tgkill of itself", signal_itself, {MAY, MAY, MAY}, 0},
    {"mmap(PROT_EXEC)", try_exec_memory, {DIES, DIES, MAY}, 0},
    {"mprotect(PROT_EXEC)", try_exec_later, {DIES, DIES, MAY}, 0},
    {"memfd_create", anonymous_file, {DIES, DIES, REFUSED}, 0},
    {"F_DUPFD", copy_descriptor, {REFUSED, REFUSED, MAY}, 0},
    {"PR_SET_DUMPABLE", dumpable, {REFUSED, REFUSED, REFUSED}, 0},
    {"the limit of another", limit_parent, {REFUSED, REFUSED, REFUSED}, 0},
    {"type into a terminal", type_into_terminal, {REFUSED, REFUSED, REFUSED}, 0},
    {"a second name", second_name, {REFUSED, REFUSED, REFUSED}, 0},
    {"another limit", try_change_limit, {REFUSED, REFUSED, MAY}, 0},
    {"out of the filter", loosen_filter, {REFUSED, REFUSED, REFUSED}, 0},
#ifdef __x86_64__
    {"x32 numbers", other_numbers, {DIES, DIES, DIES}, 0},
#endif
};

#ifndef INSTRUMENTED
static int
has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}
#endif

/* In a child, behind the sandbox: its wait status. */
static int
inside(enum sandbox_role role, int (*act)(void))
{
	struct err e;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, F.pair), 0);
	if ((pid = fork()) == 0) {
		/* _exit: what runs at the end of a test program is not the matter here. */
		if (sandbox_enter(role, &F.config, &e) == -1) {
			(void)fprintf(stderr, "%s\n", e.msg);
			_exit(255);
		}
		_exit(act());
	}
	assert_true(pid > 0);
	close(F.pair[0]);
	close(F.pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ... which enters it itself. */
static int
inside_as_is(int (*act)(void))
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if ((pid = fork()) == 0)
		_exit(act());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int
as_wanted(enum want want, int status)
{
	int no = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	switch (want) {
	case DIES:
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	case REFUSED:
		return no == EPERM || no == EACCES;
	default:
		return no != -1 && no != 255 && no != EPERM && no != EACCES;
	}
}

static int
is_testable(const struct act *a, enum want want)
{
#ifdef INSTRUMENTED
	return want == MAY || (want == DIES && !a->tools);
#else
	return want != REFUSED || has_landlock() || a->act != open_passwd;
#endif
}

static void
try_all(enum sandbox_role role)
{
	size_t i, bad = 0;
	int status;

	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (!is_testable(&acts[i], acts[i].want[role]))
			continue;
		status = inside(role, acts[i].act);
		if (as_wanted(acts[i].want[role], status))
			continue;
		(void)fprintf(stderr, "%s: %s %d\n", acts[i].name,
		    WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		bad++;
	}
	assert_int_equal(bad, 0);
}

static void
a_worker(void **state)
{
	(void)state;
	try_all(SANDBOX_WORKER);
}

static void
a_keeper(void **state)
{
	(void)state;
	try_all(SANDBOX_KEEPER);
}

static void
a_launcher(void **state)
{
	(void)state;
	try_all(SANDBOX_LAUNCHER);
}

/* ---- filters add up ---- */

static enum sandbox_role second;

static int
enter_second(void)
{
	struct err e;

	if (sandbox_enter(second, &F.config, &e) == -1)
		return 254;
	return second == SANDBOX_WORKER ? try_work() : try_thread() + write_state();
}

/* A child's sandbox within its supervisor's. */
static void
one_within_another(void **state)
{
	(void)state;
	for (second = SANDBOX_WORKER; second <= SANDBOX_KEEPER; second++)
		assert_int_equal(inside(SANDBOX_LAUNCHER, enter_second), 0);
}

/* Absent rather than refused, so that libc falls back to a call whose arguments can be seen. */
static void
clone3_is_absent(void **state)
{
	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	assert_int_equal(WEXITSTATUS(inside(SANDBOX_KEEPER, clone3_raw)), ENOSYS);
	assert_int_equal(WEXITSTATUS(inside(SANDBOX_LAUNCHER, clone3_raw)), ENOSYS);
}

/* ---- what is no system call's permission ---- */

static int
check_limits(void)
{
	struct rlimit r;

	if (prctl(PR_GET_DUMPABLE) != 0)
		return 1;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 2;
	if (getrlimit(RLIMIT_CORE, &r) != 0 || r.rlim_max != 0)
		return 3;
	if (getrlimit(RLIMIT_MSGQUEUE, &r) != 0 || r.rlim_max != 0)
		return 4;
	return 0;
}

static int
check_worker_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NPROC, &r) != 0 || r.rlim_max != 0)
		return 5;
	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_max != r.rlim_cur)
		return 6;
	return check_limits();
}

/* With seccomp in force a worker cannot even be asked: so without, which must change no limit. */
static void
limits_hold_by_themselves(void **state)
{
	struct rlimit files;

	(void)state;
	/* What could be raised again. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max / 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	F.config.sandbox = 0;
	log_set_level((enum log_level) - 1);
	assert_int_equal(inside(SANDBOX_WORKER, check_worker_limits), 0);
	assert_int_equal(inside(SANDBOX_KEEPER, check_limits), 0);
	assert_int_equal(inside(SANDBOX_LAUNCHER, check_limits), 0);
	/* And it can be switched off. */
	assert_int_equal(inside(SANDBOX_WORKER, open_passwd), 0);
	F.config.sandbox = 1;
}

/* An old kernel, or a container that lets neither through: said, and gone on without. */
static int
enter_without_kernel(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	struct err e;

	if (ctx == NULL ||
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0) !=
		0 ||
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(seccomp), 0) != 0 ||
	    seccomp_load(ctx) != 0)
		return 100;
	log_open(LOG_TO_STDERR, LOG_LVL_WARNING, "test");
	return sandbox_enter(SANDBOX_KEEPER, &F.config, &e) == 0 ? open_passwd() : 101;
}

static void
a_kernel_without_is_said(void **state)
{
	char said[1024] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		_exit(enter_without_kernel());
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
#ifndef INSTRUMENTED
	assert_non_null(strstr(said, "kernel_without=landlock"));
#endif
	assert_non_null(strstr(said, "kernel_without=\"seccomp filters\""));
	close(fds[0]);
}

/* A kernel without filters has landlock alone: what the filter would refuse, too. */
static int
try_landlock_alone(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	char path[300];
	struct err e;

	(void)snprintf(path, sizeof(path), "%s/x", F.state);
	if (ctx == NULL ||
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(seccomp), 0) != 0 ||
	    seccomp_load(ctx) != 0 || sandbox_enter(SANDBOX_KEEPER, &F.config, &e) != 0)
		return 100;
	if (no_of(truncate(F.pepper, 0)) != EACCES)
		return 1;
	if (no_of(mknod(path, S_IFIFO | 0600, 0)) != EACCES)
		return 2;
	if (no_of(symlink("/etc", path)) != EACCES)
		return 3;
	if (no_of(execl("/bin/true", "true", (char *)NULL)) != EACCES)
		return 4;
	return write_state() == 0 && read_pepper() == 0 && write_etc() == EACCES ? 0 : 5;
}

static void
landlock_holds_by_itself(void **state)
{
	long version =
	    syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	/* The third has truncate(). */
	if (version < 3)
		skip();
	assert_int_equal(WEXITSTATUS(inside_as_is(try_landlock_alone)), 0);
}

/* abort() still ends it, and as itself: a failed assertion is not to look like an attack. */
static int
fail_inside(void)
{
	abort();
}

static void
an_abort_is_an_abort(void **state)
{
	int status = inside(SANDBOX_WORKER, fail_inside);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- links ---- */

/* A pepper file that is a link is read where it is. */
static void
links_are_followed(void **state)
{
	char link[300];
	struct config kept = F.config;

	(void)state;
	(void)snprintf(link, sizeof(link), "%s/link", F.run);
	assert_int_equal(symlink(F.pepper, link), 0);
	F.config.pepper_file = link;
	assert_int_equal(inside(SANDBOX_KEEPER, read_pepper), 0);
	F.config = kept;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_worker),
	    cmocka_unit_test(a_keeper),
	    cmocka_unit_test(a_launcher),
	    cmocka_unit_test(one_within_another),
	    cmocka_unit_test(clone3_is_absent),
	    cmocka_unit_test(limits_hold_by_themselves),
	    cmocka_unit_test(a_kernel_without_is_said),
	    cmocka_unit_test(landlock_holds_by_itself),
	    cmocka_unit_test(an_abort_is_an_abort),
	    cmocka_unit_test(links_are_followed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
