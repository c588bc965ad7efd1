/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The child's end of the status pipe, and the meaning of what comes out of it.
 *
 * One byte a second is enough to tell a process that works from one that hangs, and an error that
 * travels to the supervisor is logged there, once, instead of being lost with the stderr of a
 * daemon. The pipe is written without ever blocking: a supervisor that does not read must not stop
 * a worker.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apikeyd/status.h"

static int
say(int fd, const void *bytes, size_t n)
{
	if (fd == -1 || write(fd, bytes, n) != -1)
		return 0;
	return errno == EPIPE ? -1 : 0;
}

void
status_ready(int fd)
{
	(void)say(fd, "R", 1);
}

int
status_beat(int fd)
{
	return say(fd, ".", 1);
}

void
status_failed(int fd, const struct err *e)
{
	char text[STATUS_TEXT_MAX];
	int n = snprintf(text, sizeof(text), "E%s %s", err_name(e->code), e->msg);

	if (n > 0 && (size_t)n < sizeof(text))
		(void)say(fd, text, (size_t)n);
}

int
status_parse(const char *text, size_t n, struct err *e)
{
	const char *space = memchr(text, ' ', n);
	char name[32];
	size_t len;

	if (space == NULL || (len = (size_t)(space - text)) >= sizeof(name))
		return -1;
	memcpy(name, text, len);
	name[len] = '\0';
	(void)err_set(e, err_from_name(name), "%.*s", (int)(n - len - 1), space + 1);
	return 0;
}
