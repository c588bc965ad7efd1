/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Dialling for workers: both ends of the channel between a worker and its dialer.
 *
 * Why: the keeper takes who connects for the user that it runs as, and so a worker that an attacker
 * has taken over would be the service user, who may administer.  So a worker gets no socket but the
 * ones that it is handed, and those lead to the keeper's socket for checks.
 *
 * The dialer's end reads bytes of a worker, who may be anybody's by now: their meaning is one
 * letter, everything else is ignored or is a line of text for the log.
 *
 * Invariants: a worker has one connection to the keeper at a time; only check.sock is ever dialled;
 * neither side waits for the other.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/dial.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/wire.h"

#define MESSAGES_MAX 32 /* taken at once: others want to be heard, too */
#define PAUSE_US 1000	/* between two connections of one worker */

int
dialer_init(struct dialer *D, int control, const char *run_dir, struct err *e)
{
	*D = (struct dialer){.control = control, .given = -1, .to.sun_family = AF_UNIX};
	return wire_check_path(run_dir, D->to.sun_path, sizeof(D->to.sun_path), e);
}

static void
cut(struct dialer *D)
{
	if (D->given == -1)
		return;
	/* The worker's copy as well. */
	(void)shutdown(D->given, SHUT_RDWR);
	(void)close(D->given);
	D->given = -1;
}

void
dialer_release(struct dialer *D)
{
	cut(D);
	if (D->control != -1)
		(void)close(D->control);
	D->control = -1;
}

static enum dial
refused(int why)
{
	return why == ENOENT || why == ECONNREFUSED ? DIAL_NOBODY : DIAL_BUSY;
}

/* Non-blocking: a keeper whose backlog is full must not hold us. */
static enum dial
connect_now(struct dialer *D, int *fd)
{
	int why;

	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd == -1)
		return DIAL_BUSY;
	if (connect(*fd, (const struct sockaddr *)&D->to, sizeof(D->to)) == 0)
		return DIAL_CONNECTED;
	why = errno;
	(void)close(*fd);
	*fd = -1;
	return refused(why);
}

/* One letter, and a descriptor with it when there is one. */
static int
answer(int control, char letter, int fd)
{
	union {
		char mem[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control_mem = {.mem = {0}};
	struct iovec iov = {&letter, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (fd != -1) {
		m.msg_control = control_mem.mem;
		m.msg_controllen = sizeof(control_mem.mem);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(control, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static enum dial
dial_for(struct dialer *D)
{
	int64_t now_us = clock_mono_us();
	enum dial found = DIAL_BUSY;
	int fd = -1;

	cut(D);
	/* One that asks without end costs the keeper no more than a thousand connections a second.
	 */
	if (D->last_us == 0 || now_us - D->last_us >= PAUSE_US) {
		D->last_us = now_us;
		found = connect_now(D, &fd);
	}
	if (found != DIAL_CONNECTED) {
		(void)answer(D->control, 'n', -1);
		return found;
	}
	if (answer(D->control, 'k', fd) == -1) {
		(void)close(fd);
		return DIAL_BUSY;
	}
	D->given = fd;
	return DIAL_CONNECTED;
}

enum dial
dialer_serve(struct dialer *D, pid_t pid)
{
	char mem[LOG_RELAY_MAX];
	int i, wanted = 0;
	ssize_t n;

	if (D->control == -1)
		return DIAL_NOTHING;
	for (i = 0; i < MESSAGES_MAX; i++) {
		n = recv(D->control, mem, sizeof(mem), MSG_DONTWAIT);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0)
			return DIAL_GONE;
		if (n == 1 && mem[0] == 'k')
			wanted = 1;
		else
			log_relayed(mem, (size_t)n, pid);
	}
	return wanted ? dial_for(D) : DIAL_NOTHING;
}

/* ---- the worker's side ---- */

int
dial_pair(int fds[2], struct err *e)
{
	fds[0] = fds[1] = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == -1)
		return err_sys(e, "socketpair");
	return 0;
}

int
dial_ask(int control)
{
	ssize_t n;

	do {
		n = send(control, "k", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n == -1 && errno == EINTR);
	if (n == 1)
		return 1;
	return errno == EAGAIN ? 0 : -1;
}

static int
passed(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fd;

	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

enum dial
dial_take(int control, int *fd)
{
	union {
		char mem[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control_mem;
	char letter = '\0';
	struct iovec iov = {&letter, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control_mem.mem,
	    .msg_controllen = sizeof(control_mem.mem)};
	ssize_t n;

	*fd = -1;
	n = recvmsg(control, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? DIAL_NOTHING : DIAL_GONE;
	if (n == 0)
		return DIAL_GONE;
	if (letter == 'k' && (*fd = passed(&m)) != -1)
		return DIAL_CONNECTED;
	return DIAL_NOBODY; /* which of the two it is, is the dialer's to know */
}
