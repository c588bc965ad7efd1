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
 * that it could open.  sendto and sendmsg reach nobody but the other end of a connected socket: it
 * has no datagram socket, and may not connect one by MSG_FASTOPEN.
 *
 * The listening socket is descriptor 0 (worker.c), and shared with all workers: what one could do
 * to it would be done to all.  So it cannot be shut for reading, which would end it for good, and
 * no flag be set that makes the others wait in accept4.
 */

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "apikeyd/sandbox.h"

/* shutdown(fd, SHUT_RD) of descriptors in whose number this bit is set; together all but 0.  (The
 * kernel looks at 32 bits, "not equal" at 64.) */
#define SHUT_RD_OF(bit)                                                                            \
	{                                                                                          \
		.action = SANDBOX_ALLOW, .call = SCMP_SYS(shutdown), .narg = 2,                    \
		.arg = { {0, SCMP_CMP_MASKED_EQ, 1U << (bit), 1U << (bit)},                        \
			{1, SCMP_CMP_MASKED_EQ, UINT32_MAX, SHUT_RD} }                             \
	}

static const struct sandbox_rule own[] = {
    /* send() and no more: a sendto with an address is somebody's else idea */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(sendto),
	.narg = 2,
	.arg = {{4, SCMP_CMP_EQ, 0, 0}, {3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0}}},
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(sendmsg),
	.narg = 1,
	.arg = {{2, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0}}},
    /* the end of a connection: nothing to a listening socket */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(shutdown),
	.narg = 1,
	.arg = {{1, SCMP_CMP_MASKED_EQ, UINT32_MAX, SHUT_WR}}},
    SHUT_RD_OF(0),
    SHUT_RD_OF(1),
    SHUT_RD_OF(2),
    SHUT_RD_OF(3),
    SHUT_RD_OF(4),
    SHUT_RD_OF(5),
    SHUT_RD_OF(6),
    SHUT_RD_OF(7),
    SHUT_RD_OF(8),
    SHUT_RD_OF(9),
    SHUT_RD_OF(10),
    SHUT_RD_OF(11),
    SHUT_RD_OF(12),
    SHUT_RD_OF(13),
    SHUT_RD_OF(14),
    SHUT_RD_OF(15),
    SHUT_RD_OF(16),
    /* what fcgi/conn.c sets on a connection, and libfcgi */
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_RCVBUF),
    SANDBOX_IF_BOTH(setsockopt, 1, IPPROTO_TCP, 2, TCP_NODELAY),
    /* O_NONBLOCK; no locks, no copies, no signals by descriptor */
    SANDBOX_IF(fcntl, 1, F_GETFL),
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(fcntl),
	.narg = 2,
	.arg = {{1, SCMP_CMP_EQ, F_SETFL, 0},
	    {2, SCMP_CMP_MASKED_EQ, O_NONBLOCK | O_ASYNC, O_NONBLOCK}}},
    SANDBOX_IF(fcntl, 1, F_SETFD),
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
