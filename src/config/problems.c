/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Gathering what is wrong with a configuration file, so that one run tells all of it.
 *
 * The scanner and the parser both find problems, each in its own pass; the reader wants them by
 * line.  A line that is broken in its spelling usually gives nonsense to the parser too: only the
 * first problem of a line is kept.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/problems.h"

static int
has_line(const struct problems *P, int line)
{
	size_t i;

	for (i = 0; i < P->n; i++)
		if (P->at[i].line == line)
			return 1;
	return 0;
}

void
problems_add(struct problems *P, int line, const char *fmt, ...)
{
	struct problem *p;
	va_list ap;

	if (has_line(P, line))
		return;
	if (P->n == PROBLEMS_MAX) {
		P->dropped = 1;
		return;
	}
	p = &P->at[P->n++];
	p->line = line;
	va_start(ap, fmt);
	/* Truncation is harmless: the text is for people, and its beginning says what is wrong. */
	(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

static int
by_line(const void *a, const void *b)
{
	const struct problem *p = a, *q = b;

	return (p->line > q->line) - (p->line < q->line);
}

int
problems_tell(struct problems *P, const char *path, void (*report)(void *, const char *),
    void *cookie, struct err *e)
{
	struct err one;
	size_t i;

	if (P->n == 0)
		return 0;
	qsort(P->at, P->n, sizeof(P->at[0]), by_line);
	for (i = P->n; i-- > 0;) {
		if (P->at[i].line > 0)
			(void)err_set(
			    e, ERR_INPUT, "%s:%d: %s", path, P->at[i].line, P->at[i].text);
		else
			(void)err_set(e, ERR_INPUT, "%s: %s", path, P->at[i].text);
	}
	for (i = 0; report != NULL && i < P->n; i++) {
		if (P->at[i].line > 0)
			(void)err_set(
			    &one, ERR_INPUT, "%s:%d: %s", path, P->at[i].line, P->at[i].text);
		else
			(void)err_set(&one, ERR_INPUT, "%s: %s", path, P->at[i].text);
		report(cookie, one.msg);
	}
	if (report != NULL && P->dropped) {
		(void)err_set(&one, ERR_INPUT, "%s: there are more; mend these first", path);
		report(cookie, one.msg);
	}
	return -1;
}
