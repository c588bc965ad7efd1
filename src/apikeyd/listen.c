/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening the socket that the web server connects to; done by the supervisor before it drops its
 * privileges.
 *
 * Not done by libfcgi: its FCGX_OpenSocket steals the path of a live instance, takes the mode from
 * the umask, binds 0.0.0.0 for ":port" and calls exit().
 *
 * Invariants: a live socket is never taken from its owner, what is no socket is never removed; a
 * unix socket has its final mode from the instant it exists; no address is bound that was not said.
 */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "apikeyd/listen.h"
#include "base/span.h"

static int
busy(const char *where, struct err *e)
{
	return err_set(e, ERR_BUSY,
	    "another apikeyd (or another program) is listening on %s; stop it, or set listen to "
	    "another address",
	    where);
}

/* 0: the path is free (a stale socket was removed); -1: it is not ours to take. */
static int
clear_path(const char *path, const struct sockaddr_un *sun, struct err *e)
{
	struct stat st;
	int fd, connected, why;

	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0 : err_sys(e, "cannot look at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFLICT,
		    "%s exists and is no socket; remove it, or set listen to another path", path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
		return err_sys(e, "socket");
	connected = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0;
	why = errno;
	(void)close(fd);
	/* A full queue (EAGAIN) or another type of socket (EPROTOTYPE) has an owner as well. */
	if (connected || why == EAGAIN || why == EPROTOTYPE)
		return busy(path, e);
	if (why != ECONNREFUSED && why != ENOENT) {
		errno = why;
		return err_sys(e, "cannot find out whether somebody listens on %s", path);
	}
	if (unlink(path) == -1 && errno != ENOENT)
		return err_sys(e, "cannot remove the stale socket %s", path);
	return 0;
}

/*
 * What was just bound, through a descriptor of its own, so that nobody who may write to the
 * directory can slip another file under the chown.
 */
static int
own_path(struct listener *L, const char *path, const struct config *C, const struct privileges *P,
    struct err *e)
{
	struct stat st;
	int fd, ret = -1;

	if ((fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) == -1 || fstat(fd, &st) == -1) {
		(void)err_sys(e, "%s", path);
		goto out;
	}
	if (!S_ISSOCK(st.st_mode) || (st.st_mode & 07777) != C->listen_mode) {
		(void)err_set(e, ERR_CONFLICT,
		    "%s did not get the mode %04o; its directory has access control lists, set "
		    "listen to another",
		    path, C->listen_mode);
		goto out;
	}
	if (P->root && fchownat(fd, "", P->uid, P->gid, AT_EMPTY_PATH) == -1) {
		(void)err_sys(e, "cannot give %s to the service user", path);
		goto out;
	}
	L->dev = st.st_dev;
	L->ino = st.st_ino;
	ret = 0;
out:
	if (fd != -1)
		(void)close(fd);
	return ret;
}

static int
open_unix(struct listener *L, const struct config *C, const struct privileges *P, struct err *e)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	mode_t mask;
	int bound;

	if (span_copy(sun.sun_path, sizeof(sun.sun_path), span_of(C->listen)) == -1)
		return err_set(e, ERR_INPUT, "%s: too long for a unix socket", C->listen);
	if (clear_path(C->listen, &sun, e) == -1)
		return -1;
	if ((L->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
		return err_sys(e, "socket");
	/* The mode is 0777 without the umask's bits: exact from the start, with no moment in which
	 * it is another. */
	mask = umask(0777 & ~(mode_t)C->listen_mode);
	bound = bind(L->fd, (const struct sockaddr *)&sun, sizeof(sun));
	(void)umask(mask);
	if (bound == -1) {
		if (errno == EADDRINUSE)
			return busy(C->listen, e);
		return err_sys(e,
		    "cannot make the socket %s; its directory must exist and be writable",
		    C->listen);
	}
	if ((L->path = strdup(C->listen)) == NULL)
		return err_sys(e, "%s", C->listen);
	return own_path(L, C->listen, C, P, e);
}

/* "host:port", "[address]:port": the configuration has checked the form. */
static int
split(const char *text, char host[256], char port[8])
{
	const char *colon = strrchr(text, ':');
	struct span h;

	if (colon == NULL)
		return -1;
	h = (struct span){text, (size_t)(colon - text)};
	if (h.len > 2 && h.p[0] == '[')
		h = (struct span){h.p + 1, h.len - 2};
	return span_copy(host, 256, h) == -1 ? -1 : span_copy(port, 8, span_of(colon + 1));
}

static int
open_tcp(struct listener *L, const struct config *C, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *ai;
	char host[256], port[8];
	int on = 1, rc, ret = -1;

	if (split(C->listen, host, port) == -1)
		return err_set(e, ERR_INPUT, "listen %s is not host:port", C->listen);
	if ((rc = getaddrinfo(host, port, &hints, &ai)) != 0)
		return err_set(e, ERR_INPUT, "listen %s: %s; write a numeric address", C->listen,
		    gai_strerror(rc));
	L->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (L->fd == -1 || setsockopt(L->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    (ai->ai_family == AF_INET6 &&
		setsockopt(L->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)) {
		(void)err_sys(e, "listen %s", C->listen);
	} else if (bind(L->fd, ai->ai_addr, ai->ai_addrlen) == -1) {
		if (errno == EADDRINUSE)
			(void)busy(C->listen, e);
		else
			(void)err_sys(e, "cannot bind %s", C->listen);
	} else {
		ret = 0;
	}
	freeaddrinfo(ai);
	return ret;
}

static void
reset(struct listener *L)
{
	memset(L, 0, sizeof(*L));
	L->fd = -1;
}

int
listen_open(struct listener *L, const struct config *C, const struct privileges *P, struct err *e)
{
	int opened;

	reset(L);
	opened = C->listen[0] == '/' ? open_unix(L, C, P, e) : open_tcp(L, C, e);
	if (opened == 0 && listen(L->fd, LISTEN_BACKLOG) == 0)
		return 0;
	if (opened == 0) {
		if (errno == EADDRINUSE)
			(void)busy(C->listen, e);
		else
			(void)err_sys(e, "cannot listen on %s", C->listen);
	}
	listen_close(L);
	return -1;
}

int
listen_is(int fd)
{
	int on = 0, type = 0;
	socklen_t on_len = sizeof(on), type_len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_len) == 0 && on &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM;
}

int
listen_inherited(struct listener *L, struct err *e)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	unsigned long long n = 0, who = 0;
	int ours;

	reset(L);
	ours = fds != NULL && pid != NULL && span_u64(span_of(fds), 1000, &n) == 0 &&
	       span_u64(span_of(pid), INT32_MAX, &who) == 0 && (pid_t)who == getpid() && n > 0;
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	if (!ours)
		return 0;
	if (n > 1)
		return err_set(e, ERR_INPUT,
		    "%llu sockets were passed in LISTEN_FDS; apikeyd listens on one", n);
	if (!listen_is(3))
		return err_set(e, ERR_INPUT,
		    "what was passed in LISTEN_FDS is not a listening stream socket; use "
		    "ListenStream=");
	if ((L->fd = fcntl(3, F_DUPFD_CLOEXEC, 4)) == -1)
		return err_sys(e, "LISTEN_FDS");
	(void)close(3);
	return 1;
}

int
listen_is_there(const struct listener *L, struct err *e)
{
	struct stat st;

	if (L->path == NULL)
		return 1;
	if (lstat(L->path, &st) == -1)
		return errno == ENOENT ? 0 : err_sys(e, "cannot look at %s", L->path);
	if (st.st_ino == L->ino && st.st_dev == L->dev)
		return 1;
	return err_set(e, ERR_CONFLICT, "something else is at %s", L->path);
}

int
listen_again(struct listener *L, const struct config *C, const struct privileges *P, struct err *e)
{
	struct listener fresh;

	if (listen_open(&fresh, C, P, e) == -1)
		return -1;
	if (dup3(fresh.fd, L->fd, O_CLOEXEC) == -1) {
		(void)err_sys(e, "%s", fresh.path);
		listen_close(&fresh);
		return -1;
	}
	(void)close(fresh.fd);
	fresh.fd = L->fd;
	free(L->path);
	*L = fresh;
	return 0;
}

void
listen_close(struct listener *L)
{
	struct stat st;

	if (L->fd != -1)
		(void)close(L->fd);
	/* Somebody may have put another socket there since: only our own is removed. */
	if (L->path != NULL && lstat(L->path, &st) == 0 && st.st_ino == L->ino &&
	    st.st_dev == L->dev)
		(void)unlink(L->path);
	free(L->path);
	reset(L);
}
