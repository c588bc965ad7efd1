/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The keeper's sockets: where they are, how they are bound, connected to and asked one JSON
 * question.
 *
 * The keeper listens; the tool connects, and dial.c does for workers.  Checks are not sent here:
 * the workers do that in batches of their own.
 *
 * Invariants: a socket that somebody listens on is never replaced, and nothing that is not a socket
 * is ever removed; no descriptor survives exec; who may ask for what is decided by SO_PEERCRED in
 * the keeper, not by the mode of the file.
 */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/wire.h"

#include "base/clock.h"
#include "base/secret.h"

#define BACKLOG 128
#define CONNECT_SECONDS 5

static int
path_of(const char *run_dir, const char *name, char *out, size_t cap, struct err *e)
{
	struct sockaddr_un un;
	int n = snprintf(out, cap, "%s/%s", run_dir, name);

	if (n < 0 || (size_t)n >= cap || (size_t)n >= sizeof(un.sun_path)) {
		if (cap > 0)
			out[0] = '\0';
		return err_set(e, ERR_INPUT,
		    "run_dir \"%.120s\" is too long for a socket's path; choose a shorter one",
		    run_dir);
	}
	return 0;
}

int
wire_socket_path(const char *run_dir, char *out, size_t cap, struct err *e)
{
	return path_of(run_dir, "keeper.sock", out, cap, e);
}

int
wire_check_path(const char *run_dir, char *out, size_t cap, struct err *e)
{
	return path_of(run_dir, "check.sock", out, cap, e);
}

static int
address(const char *path, struct sockaddr_un *un, struct err *e)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (span_copy(un->sun_path, sizeof(un->sun_path), span_of(path)) != 0)
		return err_set(e, ERR_INPUT, "socket path \"%.120s\" is too long", path);
	return 0;
}

/* Make way for a bind: 0 when the path is free now.  A socket nobody listens on is what a killed
 * keeper leaves. */
static int
remove_stale(const char *path, const struct sockaddr_un *un, struct err *e)
{
	struct stat st;
	int fd, rc, why;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : err_sys(e, "cannot look at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(
		    e, ERR_CONFLICT, "%s is there and is not a socket; move it away", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	rc = connect(fd, (const struct sockaddr *)un, sizeof(*un));
	why = errno;
	close(fd);
	/* EAGAIN: somebody listens whose queue is full; EPROTOTYPE: a listener of another kind. */
	if (rc == 0 || why == EAGAIN || why == EPROTOTYPE)
		return err_set(e, ERR_BUSY, "another process listens on %s", path);
	errno = why;
	if (why != ECONNREFUSED && why != ENOENT)
		return err_sys(e, "cannot tell whether somebody listens on %s", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_sys(e, "cannot remove the stale socket %s", path);
	return 0;
}

int
wire_listen(const char *path, struct err *e)
{
	struct sockaddr_un un;
	int fd;

	if (address(path, &un, e) != 0 || remove_stale(path, &un, e) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	if (bind(fd, (const struct sockaddr *)&un, sizeof(un)) != 0) {
		err_sys(e, "cannot bind %s", path);
		goto fail;
	}
	if (listen(fd, BACKLOG) != 0) {
		err_sys(e, "cannot listen on %s", path);
		goto fail_bound;
	}
	/* Only now: a mode that lets others connect before listen() would get them ECONNREFUSED. */
	if (chmod(path, 0666) != 0) {
		err_sys(e, "cannot set the mode of %s", path);
		goto fail_bound;
	}
	return fd;

fail_bound:
	unlink(path);
fail:
	close(fd);
	return -1;
}

int
wire_connect(const char *path, struct err *e)
{
	const struct timeval patience = {.tv_sec = CONNECT_SECONDS};
	struct sockaddr_un un;
	int fd, rc;

	if (address(path, &un, e) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	/* A keeper whose queue is full would have us wait for ever; the same for what is sent. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		rc = connect(fd, (const struct sockaddr *)&un, sizeof(un));
	} while (rc != 0 && errno == EINTR);
	if (rc == 0)
		return fd;
	if (errno == EAGAIN)
		err_set(e, ERR_BUSY,
		    "the keeper at %s takes no connection: it hangs, or too many wait for it; try "
		    "again",
		    path);
	else if (errno == ENOENT || errno == ECONNREFUSED)
		err_set(e, ERR_UNAVAILABLE, "no keeper listens on %s", path);
	else
		err_sys(e, "cannot connect to the keeper at %s", path);
	close(fd);
	return -1;
}

/* Send all of one datagram, or say why not. */
static int
send_request(int fd, struct span request, struct err *e)
{
	uint8_t *mem = secret_pages(WIRE_MESSAGE_MAX, NULL);
	struct wbuf w;
	ssize_t n;
	int rc = -1;

	if (mem == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	wbuf_init(&w, mem, WIRE_MESSAGE_MAX);
	wire_json_encode(WIRE_ADMIN, request, &w);
	if (w.overflow) {
		err_set(e, ERR_USAGE, "the request is larger than %d bytes", WIRE_MESSAGE_MAX);
		goto out;
	}
	do {
		n = send(fd, mem, w.len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)w.len) {
		err_set(e, ERR_UNAVAILABLE, "the keeper went away; nothing was changed");
		goto out;
	}
	rc = 0;
out:
	secret_pages_free(mem, WIRE_MESSAGE_MAX);
	return rc;
}

/* Wait until ${fd} is readable or ${deadline_us} has come: 1, 0, -1. */
static int
wait_readable(int fd, int64_t deadline_us)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t left_ms;
	int n;

	do {
		left_ms = (deadline_us - clock_mono_us() + 999) / 1000;
		if (left_ms < 0)
			left_ms = 0;
		n = poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
	} while (n < 0 && errno == EINTR);
	return n;
}

long
wire_call(int fd, struct span request, char *reply, size_t cap, int64_t timeout_us, struct err *e)
{
	int64_t deadline_us = clock_mono_us() + timeout_us;
	struct span body;
	uint8_t *mem;
	ssize_t n;
	long rc = -1;

	if (cap > 0)
		reply[0] = '\0';
	if (send_request(fd, request, e) != 0)
		return -1;
	if ((mem = secret_pages(WIRE_MESSAGE_MAX, NULL)) == NULL)
		return err_set(
		    e, ERR_SYSTEM, "out of memory; whether anything was changed is unknown");
	if (wait_readable(fd, deadline_us) != 1) {
		err_set(e, ERR_UNAVAILABLE,
		    "the keeper did not answer in time; whether anything was changed is unknown");
		goto out;
	}
	do {
		n = recv(fd, mem, WIRE_MESSAGE_MAX, MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		err_set(e, ERR_UNAVAILABLE,
		    "the keeper went away before it answered; whether anything was changed is "
		    "unknown");
		goto out;
	}
	if (n > WIRE_MESSAGE_MAX ||
	    wire_type_of((struct span){(char *)mem, (size_t)n}) != WIRE_REPLY) {
		err_set(e, ERR_UNAVAILABLE,
		    "the keeper's answer is malformed; whether anything was changed is unknown");
		goto out;
	}
	body = wire_body((struct span){(char *)mem, (size_t)n});
	if (span_copy(reply, cap, body) != 0) {
		err_set(
		    e, ERR_UNAVAILABLE, "the keeper's answer of %zu bytes does not fit", body.len);
		goto out;
	}
	rc = (long)body.len;
out:
	secret_pages_free(mem, WIRE_MESSAGE_MAX);
	return rc;
}
