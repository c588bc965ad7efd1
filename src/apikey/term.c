/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the tool may assume of its output: colours, character set, width.  It looks once, at the
 * start, and writes nothing itself.  Everything that is not a terminal gets plain text of any
 * length, so that a pipe never receives an escape sequence or a shortened value.
 */

#include <sys/ioctl.h>

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/term.h"

#define COLUMNS_DEFAULT 80
#define COLUMNS_LEAST 40

void
term_init(struct term *t, int fd)
{
	const char *name = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	struct winsize size;

	memset(t, 0, sizeof(*t));
	t->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!isatty(fd))
		return;
	t->colour = (no_colour == NULL || no_colour[0] == '\0') && name != NULL &&
		    strcmp(name, "dumb") != 0;
	t->columns = COLUMNS_DEFAULT;
	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		t->columns = size.ws_col < COLUMNS_LEAST ? COLUMNS_LEAST : size.ws_col;
}

const char *
term_on(const struct term *t, enum term_colour colour)
{
	static const char *const on[TERM_COLOURS] = {[TERM_PLAIN] = "",
	    [TERM_BOLD] = "\033[1m",
	    [TERM_DIM] = "\033[2m",
	    [TERM_GREEN] = "\033[32m",
	    [TERM_YELLOW] = "\033[33m",
	    [TERM_RED] = "\033[31m"};

	return t->colour ? on[colour] : "";
}

const char *
term_off(const struct term *t, enum term_colour colour)
{
	return t->colour && colour != TERM_PLAIN ? "\033[0m" : "";
}
