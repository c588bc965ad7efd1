/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_TERM_H_
#define APIKEY_TERM_H_

/* What standard output is, and so how it may be written to. */

enum term_colour {
	TERM_PLAIN,
	TERM_BOLD,
	TERM_DIM,
	TERM_GREEN,
	TERM_YELLOW,
	TERM_RED,
	TERM_COLOURS
};

struct term {
	int colour; /* a terminal that knows colours, and NO_COLOR (no-color.org) is not set */
	int utf8;   /* the locale's character set */
	unsigned columns; /* width of the terminal; 0: no terminal, lines may be of any length */
};

/* After setlocale(LC_CTYPE). */
void term_init(struct term *, int fd);

/* Escape sequences around coloured text; "" where there are no colours. */
const char *term_on(const struct term *, enum term_colour);
const char *term_off(const struct term *, enum term_colour);

#endif /* !APIKEY_TERM_H_ */
