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
#include <sched.h>
#include <sys/socket.h>

#include "apikeyd/sandbox.h"

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	    CLONE_NEWPID | CLONE_NEWNET)

static const struct sandbox_rule own[] = {
    /* children, and telling them */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(clone),
	.narg = 1,
	.arg = {{0, SCMP_CMP_MASKED_EQ, NAMESPACES, 0}}},
    {.action = SANDBOX_KILL,
	.call = SCMP_SYS(clone),
	.narg = 1,
	.arg = {{0, SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER}}},
    {.action = SANDBOX_ABSENT, .call = SCMP_SYS(clone3)},
    SANDBOX_MAY(fork),
    SANDBOX_MAY(vfork),
    SANDBOX_MAY(execve),
    SANDBOX_MAY(wait4),
    SANDBOX_MAY(waitid),
    SANDBOX_MAY(kill),
    SANDBOX_MAY(setsid),
    SANDBOX_MAY(setpgid),
    SANDBOX_MAY(getpgrp),
    SANDBOX_MAY(dup),
    SANDBOX_MAY(dup2),
    SANDBOX_MAY(dup3),
    SANDBOX_MAY(fcntl),
    SANDBOX_MAY(close_range),
    SANDBOX_MAY(pipe),
    SANDBOX_MAY(pipe2),
    SANDBOX_MAY(socketpair),
    /* the manager's notification, /dev/log, the keeper; of their own the children's */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(socket),
	.narg = 1,
	.arg = {{0, SCMP_CMP_EQ, AF_UNIX, 0}}},
    SANDBOX_MAY(connect),
    SANDBOX_MAY(bind),
    SANDBOX_MAY(listen),
    SANDBOX_MAY(sendto),
    SANDBOX_MAY(sendmsg),
    SANDBOX_MAY(shutdown),
    SANDBOX_MAY(setsockopt),
    /* what a program does before its main, and ours in it */
    SANDBOX_MAY(mmap),
    SANDBOX_MAY(mprotect),
    SANDBOX_MAY(arch_prctl),
    SANDBOX_MAY(set_tid_address),
    SANDBOX_MAY(prlimit64),
    SANDBOX_MAY(getrlimit),
    SANDBOX_MAY(setrlimit),
    SANDBOX_MAY(prctl),
    SANDBOX_MAY(seccomp),
    SANDBOX_MAY(landlock_create_ruleset),
    SANDBOX_MAY(landlock_add_rule),
    SANDBOX_MAY(landlock_restrict_self),
    SANDBOX_MAY(sched_setscheduler),
    SANDBOX_MAY(sched_getscheduler),
    SANDBOX_MAY(sched_getparam),
    SANDBOX_MAY(sched_setaffinity),
    SANDBOX_MAY(getrusage),
    SANDBOX_MAY(uname),
    SANDBOX_MAY(ioctl),
    SANDBOX_MAY(chdir),
    SANDBOX_MAY(fchdir),
    SANDBOX_MAY(chown),
    SANDBOX_MAY(epoll_create1),
    SANDBOX_MAY(eventfd2),
    SANDBOX_MAY(signalfd4),
    SANDBOX_MAY(timerfd_create),
    SANDBOX_MAY(timerfd_settime),
    SANDBOX_MAY(rt_sigtimedwait),
    SANDBOX_MAY(rt_sigpending),
    /* a service that runs as root by its admin's wish: its children go through the motions */
    SANDBOX_MAY(getresuid),
    SANDBOX_MAY(getresgid),
    SANDBOX_MAY(getgroups),
    SANDBOX_MAY(setgroups),
    SANDBOX_MAY(setresuid),
    SANDBOX_MAY(setresgid),
    SANDBOX_MAY(setuid),
    SANDBOX_MAY(setgid),
    {.action = SANDBOX_END},
};

static const struct sandbox_rule *const rules[] = {
    sandbox_running, sandbox_talking, sandbox_filing, own, sandbox_never, NULL};

const struct sandbox_policy sandbox_launcher = {
    .role = "launcher", .rules = rules, .files = NULL, .threads = 1};
