/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A line of progress on the terminal.  What it says is the caller's; text that is not ours must
 * not be in it.
 *
 * Invariant: nothing is written unless standard error is a terminal.
 */

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "apikey/progress.h"

#include "base/clock.h"

#define EVERY_US (CLOCK_SECOND / 5)

void
progress_begin(struct progress *p)
{
	*p = (struct progress){
	    .shown = isatty(STDERR_FILENO), .next_us = clock_mono_us() + EVERY_US};
}

void
progress_at(struct progress *p, const char *fmt, ...)
{
	int64_t now_us;
	unsigned before = p->width;
	va_list ap;
	int n;

	if (!p->shown || (now_us = clock_mono_us()) < p->next_us)
		return;
	p->next_us = now_us + EVERY_US;
	fputc('\r', stderr);
	va_start(ap, fmt);
	n = vfprintf(stderr, fmt, ap);
	va_end(ap);
	p->width = n > 0 ? (unsigned)n : 0;
	if (before > p->width)
		fprintf(stderr, "%*s", (int)(before - p->width), "");
	(void)fflush(stderr);
}

void
progress_end(struct progress *p)
{
	if (p->width > 0)
		fprintf(stderr, "\r%*s\r", (int)p->width, "");
	(void)fflush(stderr);
	p->width = 0;
}

const char *
progress_bytes(uint64_t bytes, char text[PROGRESS_BYTES_MAX])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes;
	size_t u = 0;

	if (bytes < 1024) {
		(void)snprintf(text, PROGRESS_BYTES_MAX, "%u bytes", (unsigned)bytes);
		return text;
	}
	for (n /= 1024; n >= 1024 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		n /= 1024;
	(void)snprintf(text, PROGRESS_BYTES_MAX, "%.1f %s", n, units[u]);
	return text;
}
