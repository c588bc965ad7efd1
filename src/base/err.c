/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The error object.  Used by every process, on every path that can fail for a reason other than
 * the request's own: what a request deserves is a verdict, and does not pass here.
 *
 * Invariants:
 * - A message is one line of printable UTF-8, whatever was formatted into it: it goes to terminals,
 *   logs and JSON replies without another look.
 * - The old message may be among the arguments: a new one is composed aside before it is stored.
 * - Nothing here allocates, so running out of memory can be reported.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"
#include "base/text.h"

static const char *const names[ERR_CODES] = {
    [ERR_NONE] = "none",
    [ERR_USAGE] = "usage",
    [ERR_INPUT] = "input",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_CONFLICT] = "conflict",
    [ERR_DENIED] = "denied",
    [ERR_BUSY] = "busy",
    [ERR_UNAVAILABLE] = "unavailable",
    [ERR_FULL] = "full",
    [ERR_CORRUPT] = "corrupt",
    [ERR_VERSION] = "version",
    [ERR_SYSTEM] = "system",
    [ERR_INTERNAL] = "internal",
};

/* Cut off a UTF-8 sequence that the end of the buffer split. */
static void
drop_split_character(char *msg)
{
	size_t n = strlen(msg), lead = n;

	while (lead > 0 && n - lead < 3 && ((unsigned char)msg[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead == 0 || ((unsigned char)msg[lead - 1] & 0xc0) != 0xc0)
		return;
	if (!text_printable((struct span){msg + lead - 1, n - lead + 1}))
		msg[lead - 1] = '\0';
}

/* Store ${msg}, made fit to print, as the message of ${e}. */
static void
store(struct err *e, enum err_code code, char *msg, int truncated)
{
	char *c;

	if (truncated)
		drop_split_character(msg);
	if (!text_printable(span_of(msg)))
		for (c = msg; *c != '\0'; c++)
			if (*c < 0x20 || *c > 0x7e)
				*c = '?';
	e->code = code;
	memcpy(e->msg, msg, strlen(msg) + 1);
}

/* "${first}: ${second}" into ${out}; 1 when it had to be cut, else 0. */
static int
join(char *out, size_t cap, const char *first, const char *second)
{
	int n = snprintf(out, cap, "%s: %s", first, second);

	return n < 0 || (size_t)n >= cap;
}

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	char msg[sizeof(e->msg)] = "";
	va_list ap;
	int n;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	n = vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	store(e, code, msg, n < 0 || (size_t)n >= sizeof(msg));
	return -1;
}

int
err_sys(struct err *e, const char *fmt, ...)
{
	char context[sizeof(e->msg)] = "", msg[sizeof(e->msg)], reason[128];
	enum err_code code = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_SYSTEM;
	int error = errno, cut;
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	(void)vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	cut = join(msg, sizeof(msg), context, strerror_r(error, reason, sizeof(reason)));
	store(e, code, msg, cut);
	errno = error;
	return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char context[sizeof(e->msg)] = "", msg[sizeof(e->msg)];
	va_list ap;
	int cut;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	(void)vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	cut = join(msg, sizeof(msg), context, e->msg);
	store(e, e->code, msg, cut);
	return -1;
}

const char *
err_name(enum err_code code)
{
	return (unsigned)code < ERR_CODES ? names[code] : names[ERR_INTERNAL];
}

enum err_code
err_from_name(const char *name)
{
	unsigned i;

	/* "none" is not looked for: an error that a peer reports is one, whatever it calls it. */
	for (i = ERR_NONE + 1; i < ERR_CODES; i++)
		if (name != NULL && strcmp(name, names[i]) == 0)
			return (enum err_code)i;
	return ERR_INTERNAL;
}
