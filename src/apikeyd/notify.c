/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Telling the service manager how we are: the protocol of sd_notify(3), one datagram of NAME=value
 * lines to the unix socket in NOTIFY_SOCKET (a leading '@' means the abstract namespace).
 *
 * Only the supervisor uses it.  It is a service to the service manager: nothing here can fail a
 * start but a NOTIFY_SOCKET that is no address, and nothing blocks.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikeyd/notify.h"
#include "base/span.h"

static int64_t
watchdog_of_env(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long n;

	if (pid != NULL && (span_u64(span_of(pid), INT32_MAX, &n) == -1 || (pid_t)n != getpid()))
		return 0;
	if (usec == NULL || span_u64(span_of(usec), INT64_MAX, &n) == -1)
		return 0;
	return (int64_t)n;
}

int
notify_open(struct notify *N, struct err *e)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;
	int ret = 0;

	memset(N, 0, sizeof(*N));
	N->fd = -1;
	if (path == NULL || path[0] == '\0')
		goto out;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(N->to.sun_path)) {
		ret = err_set(e, ERR_INPUT,
		    "NOTIFY_SOCKET=%s is not the address of a unix socket; unset it", path);
		goto out;
	}
	N->to.sun_family = AF_UNIX;
	memcpy(N->to.sun_path, path, len + 1);
	N->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (path[0] == '@')
		N->to.sun_path[0] = '\0';
	else
		N->to_len++; /* its NUL */
	if ((N->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
		ret = err_sys(e, "NOTIFY_SOCKET");
	else
		N->watchdog_us = watchdog_of_env();
out:
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	return ret;
}

void
notify_close(struct notify *N)
{
	if (N->fd != -1)
		(void)close(N->fd);
	N->fd = -1;
}

static void
tell(const struct notify *N, const char *text)
{
	if (N->fd != -1)
		(void)sendto(N->fd, text, strlen(text), MSG_NOSIGNAL,
		    (const struct sockaddr *)&N->to, N->to_len);
}

void
notify_ready(const struct notify *N, const char *status)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "READY=1\nSTATUS=%s\n", status);
	tell(N, text);
}

void
notify_reloading(const struct notify *N, int64_t mono_us)
{
	char text[256];

	/* Type=notify-reload wants the time, to tell this reload's READY from an earlier one. */
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading\n",
	    (long long)mono_us);
	tell(N, text);
}

void
notify_stopping(const struct notify *N)
{
	tell(N, "STOPPING=1\nSTATUS=stopping\n");
}

void
notify_watchdog(const struct notify *N)
{
	tell(N, "WATCHDOG=1\n");
}

void
notify_status(const struct notify *N, const char *status)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "STATUS=%s\n", status);
	tell(N, text);
}
