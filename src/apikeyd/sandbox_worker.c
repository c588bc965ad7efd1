/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox of a worker, which reads hostile bytes.
 *
 * Everything that it needs is open when it enters: the listening socket, epoll, signalfd, timerfd,
 * its status pipe and the channel to its dialer (wire/dial.h), through which it gets connections to
 * the keeper's socket for checks and through which its lines reach syslog.  New descriptors come
 * from accept4 and from the dialer alone.
 *
 * So whoever takes it over has what passes through it, may answer the web server's requests that it
 * is sent, and may ask the keeper for checks; there is no file, no program, no process, no address
 * that it could open.  sendto, sendmsg and sendmmsg reach nobody but the other end of a connected
 * socket: it has no datagram socket.
 */

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "apikeyd/sandbox.h"

static const struct sandbox_rule own[] = {
    /* send() and no more: a sendto with an address is somebody's else idea */
    {.action = SANDBOX_ALLOW, .call = SCMP_SYS(sendto), .narg = 1, .arg = {{4, SCMP_CMP_EQ, 0, 0}}},
    SANDBOX_MAY(sendmsg),
    /* what fcgi/conn.c sets on a connection, and libfcgi */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(setsockopt),
	.narg = 2,
	.arg = {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_RCVBUF, 0}}},
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(setsockopt),
	.narg = 2,
	.arg = {{1, SCMP_CMP_EQ, IPPROTO_TCP, 0}, {2, SCMP_CMP_EQ, TCP_NODELAY, 0}}},
    /* O_NONBLOCK; no locks, no copies, no signals by descriptor */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(fcntl),
	.narg = 1,
	.arg = {{1, SCMP_CMP_EQ, F_GETFL, 0}}},
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(fcntl),
	.narg = 1,
	.arg = {{1, SCMP_CMP_EQ, F_SETFL, 0}}},
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(fcntl),
	.narg = 1,
	.arg = {{1, SCMP_CMP_EQ, F_SETFD, 0}}},
    /* no way to anybody */
    {.action = SANDBOX_KILL, .call = SCMP_SYS(socket), .tools = 1},
    {.action = SANDBOX_KILL, .call = SCMP_SYS(socketpair), .tools = 1},
    {.action = SANDBOX_KILL, .call = SCMP_SYS(connect), .tools = 1},
    SANDBOX_DIES(bind),
    SANDBOX_DIES(listen),
    {.action = SANDBOX_END},
};

static const struct sandbox_rule *const rules[] = {sandbox_running, sandbox_talking, own,
    sandbox_no_code, sandbox_no_program, sandbox_never, NULL};

static const struct sandbox_files no_files[1];

const struct sandbox_policy sandbox_worker = {
    .role = "worker", .rules = rules, .files = no_files, .nfiles = 0};
