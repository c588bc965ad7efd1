/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prints what is generated from the table of settings while apikeyd is built:
 *
 *	print_settings --man	the list of settings of apikeyd.conf(5), in mdoc(7)
 *	print_settings --sample	conf/apikeyd.conf: every setting with its default, commented out
 *	print_settings --names	the names alone, for the test that holds the manual against the table
 *
 * Not installed.  Values come from config_load's defaults, so that what is printed is what
 * is in force.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"
#include "config/value.h"

#define COLUMNS 78

static const char *
default_of(const struct setting *s, char *text, size_t cap)
{
	struct config C;
	struct span rest = span_of(s->def), word = rest;
	struct wbuf w;
	char why[VALUE_WHY_MAX], item[256];

	memset(&C, 0, sizeof(C));
	while (value_is_list(s) ? span_word(&rest, &word) : word.p != NULL) {
		if (span_copy(item, sizeof(item), word) == -1 || value_set(s, item, &C, why) == -1)
			errx(1, "%s: its default is not %s", s->name, why);
		word.p = NULL;
	}
	wbuf_init(&w, text, cap);
	value_format(s, &C, &w);
	value_clear(s, &C);
	if (wbuf_cstr(&w) == NULL)
		errx(1, "%s: its default is too long", s->name);
	return text;
}

/* Sentences for roff: `code` in bold, backslashes escaped, one sentence a line, no line that looks
 * like a request. */
static void
print_roff(const char *p)
{
	int code = 0, bol = 1;

	for (; *p != '\0'; p++) {
		if (bol && (*p == '.' || *p == '\''))
			fputs("\\&", stdout);
		bol = 0;
		if (*p == '`') {
			code = !code;
			fputs(code ? "\\fB" : "\\fP", stdout);
		} else if (*p == '\\') {
			fputs("\\e", stdout);
		} else if (*p == '-') {
			fputs("\\-", stdout);
		} else if (!code && p[0] == '.' && p[1] == ' ') {
			fputs(".\n", stdout);
			p++;
			bol = 1;
		} else {
			putchar(*p);
		}
	}
}

static void
print_line(const char *text)
{
	print_roff(text);
	putchar('\n');
}

static void
print_bounds(const struct setting *s)
{
	uint8_t mem[256];
	struct wbuf w;
	const char *text;

	wbuf_init(&w, mem, sizeof(mem));
	value_bounds(s, &w);
	if ((text = wbuf_cstr(&w)) != NULL && text[0] != '\0')
		print_line(text);
}

static void
print_man(void)
{
	const struct setting *s;
	char text[512];
	size_t i;

	puts(".Bl -tag -width Ds");
	for (i = 0; (s = settings_at(i)) != NULL; i++) {
		printf(".It Ic %s No = Ar %s\n", s->name, value_kind_name(s));
		print_line(s->doc);
		print_bounds(s);
		if (s->restart)
			puts("A change needs a restart.");
		fputs("The default is \\fB", stdout);
		print_roff(default_of(s, text, sizeof(text)));
		puts("\\fP.");
	}
	puts(".El");
}

/* One paragraph as comment lines, wrapped. */
static void
print_comment(const char *p)
{
	size_t column = 0, n;

	while (*p != '\0') {
		n = strcspn(p, " ");
		if (column > 0 && column + 1 + n > COLUMNS) {
			putchar('\n');
			column = 0;
		}
		fputs(column == 0 ? "# " : " ", stdout);
		column += column == 0 ? 2 : 1;
		for (; n > 0; n--, p++)
			if (*p != '`') {
				putchar(*p);
				column++;
			}
		p += strspn(p, " ");
	}
	putchar('\n');
}

static void
print_sample(void)
{
	const struct setting *s;
	char text[512];
	size_t i;

	print_comment("apikeyd's settings, see apikeyd.conf(5). Each line below holds a default: "
		      "remove the # in "
		      "front of one to change it. Check the file with `apikeyd -t`; a SIGHUP takes "
		      "it into use.");
	for (i = 0; (s = settings_at(i)) != NULL; i++) {
		putchar('\n');
		print_comment(s->doc);
		if (s->restart)
			print_comment("A change needs a restart.");
		printf("#%s = %s\n", s->name, default_of(s, text, sizeof(text)));
	}
}

static void
print_names(void)
{
	const struct setting *s;
	size_t i;

	for (i = 0; (s = settings_at(i)) != NULL; i++)
		puts(s->name);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *option;
		void (*print)(void);
	} forms[] = {{"--man", print_man}, {"--sample", print_sample}, {"--names", print_names}};
	size_t i;

	for (i = 0; argc == 2 && i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strcmp(argv[1], forms[i].option) == 0) {
			forms[i].print();
			if (ferror(stdout) || fflush(stdout) == EOF)
				err(1, "stdout");
			return 0;
		}
	errx(2, "usage: print_settings --man | --sample | --names");
}
