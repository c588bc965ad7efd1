/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox of those who start others: the supervisor, and the dialer of a worker that has none.
 *
 * Filters are inherited across execution, and add up: what is missing here is missing in keeper and
 * workers as well.  So this one has all that they need until they have entered their own: the
 * loader, the accounts, the locked memory, files, programs.  What it takes away: sockets of the
 * network (the listening one is open), everything of sandbox_never, new namespaces.
 */

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "apikeyd/sandbox.h"

static const struct sandbox_rule own[] = {
    /* children, and telling them */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(clone),
	.narg = 1,
	.arg = {{0, SCMP_CMP_MASKED_EQ, SANDBOX_NAMESPACES, 0}}},
    {.action = SANDBOX_KILL,
	.call = SCMP_SYS(clone),
	.narg = 1,
	.arg = {{0, SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER}}},
    {.action = SANDBOX_ABSENT, .call = SCMP_SYS(clone3)},
    SANDBOX_MAY(fork),
    SANDBOX_MAY(execve),
    SANDBOX_MAY(wait4),
    SANDBOX_MAY(kill),
    SANDBOX_MAY(setsid),
    SANDBOX_MAY(setpgid),
    SANDBOX_MAY(dup2),
    SANDBOX_MAY(dup3),
    SANDBOX_IF(fcntl, 1, F_DUPFD),
    SANDBOX_IF(fcntl, 1, F_DUPFD_CLOEXEC),
    SANDBOX_IF(fcntl, 1, F_GETFD),
    SANDBOX_IF(fcntl, 1, F_SETFD),
    SANDBOX_IF(fcntl, 1, F_GETFL),
    SANDBOX_IF(fcntl, 1, F_OFD_SETLK),
    SANDBOX_MAY_SET_FLAGS,
    SANDBOX_MAY(close_range),
    SANDBOX_MAY(pipe2),
    SANDBOX_IF(socketpair, 0, AF_UNIX),
    /* the manager's notification, /dev/log, the keeper; of their own the children's */
    SANDBOX_IF(socket, 0, AF_UNIX),
    SANDBOX_MAY(connect),
    SANDBOX_MAY(bind),
    SANDBOX_MAY(listen),
    SANDBOX_MAY(sendto),
    SANDBOX_MAY(sendmsg),
    SANDBOX_MAY(shutdown),
    /* the children's; and what looks accounts up where others than files have them */
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_SNDBUF),
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_RCVBUF),
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_SNDTIMEO),
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_RCVTIMEO),
    SANDBOX_IF_BOTH(setsockopt, 1, IPPROTO_TCP, 2, TCP_NODELAY),
    /* what a program does before its main, and ours in it */
    SANDBOX_MAY(mmap),
    SANDBOX_MAY(mprotect),
    SANDBOX_MAY(arch_prctl),
    SANDBOX_MAY(set_tid_address),
    /* its own limits, no other's */
    SANDBOX_IF(prlimit64, 0, 0),
    SANDBOX_MAY(getrlimit),
    SANDBOX_MAY(setrlimit),
    /* a name, the end of its parent, never more than before */
    SANDBOX_IF(prctl, 0, PR_SET_NAME),
    SANDBOX_IF(prctl, 0, PR_SET_PDEATHSIG),
    SANDBOX_IF(prctl, 0, PR_SET_NO_NEW_PRIVS),
    SANDBOX_IF(prctl, 0, PR_CAPBSET_READ),
    SANDBOX_IF_BOTH(prctl, 0, PR_SET_DUMPABLE, 1, 0),
    SANDBOX_MAY(seccomp),
    SANDBOX_MAY(landlock_create_ruleset),
    SANDBOX_MAY(landlock_add_rule),
    SANDBOX_MAY(landlock_restrict_self),
    SANDBOX_MAY(sched_setscheduler),
    SANDBOX_MAY(uname),
    /* is it a terminal; how much waits: nothing is typed into one (TIOCSTI) */
    SANDBOX_IF(ioctl, 1, TCGETS),
    SANDBOX_IF(ioctl, 1, FIONREAD),
    SANDBOX_MAY(umask),
    SANDBOX_MAY(flock),
    SANDBOX_MAY(fallocate),
    SANDBOX_MAY(epoll_create1),
    SANDBOX_MAY(eventfd2),
    SANDBOX_MAY(signalfd4),
    SANDBOX_MAY(timerfd_create),
    SANDBOX_MAY(timerfd_settime),
    /* a service that runs as root by its admin's wish: its children go through the motions */
    SANDBOX_MAY(getresuid),
    SANDBOX_MAY(getresgid),
    SANDBOX_MAY(getgroups),
    SANDBOX_MAY(setgroups),
    SANDBOX_MAY(setresuid),
    SANDBOX_MAY(setresgid),
    SANDBOX_MAY(fchown),
    {.action = SANDBOX_END},
};

static const struct sandbox_rule *const rules[] = {
    sandbox_running, sandbox_talking, sandbox_filing, own, sandbox_never, NULL};

const struct sandbox_policy sandbox_launcher = {
    .role = "launcher", .rules = rules, .files = NULL, .threads = 1};
