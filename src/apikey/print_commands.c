/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Prints the list of subcommands for the manual page, in mdoc(7), from the table that the tool
 * dispatches by.  Runs when the project is built; it is not installed and links no main of the
 * tool.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/command.h"

/*
 * Text that is to be read, not obeyed: a backslash is \e, no line begins with a control character,
 * and a sentence begins on a line of its own.
 */
static void
print_text(const char *s)
{
	int at_line_start = 1;

	for (; *s != '\0'; s++) {
		if (at_line_start && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		at_line_start = *s == '\n';
		if (*s == '\\') {
			fputs("\\e", stdout);
		} else if (s[0] == '.' && s[1] == ' ') {
			fputs(".\n", stdout);
			at_line_start = 1;
			s++;
		} else {
			putchar(*s);
		}
	}
}

/* One line of help as a sentence's beginning: with a capital, unless it begins with a value. */
static void
print_sentence(const char *s)
{
	if (*s >= 'a' && *s <= 'z' && (s[1] < '0' || s[1] > '9'))
		putchar(*s++ - 'a' + 'A');
	print_text(s);
}

static void
print_option(const struct option_def *d)
{
	fputs(".It ", stdout);
	if (d->letter != '\0')
		printf("Fl %c , ", d->letter);
	printf("Fl -%s", d->name);
	if (d->arg != NULL)
		printf(" Ar \"%s\"", d->arg);
	putchar('\n');
	print_sentence(d->help);
	if (options_repeats(d->kind))
		fputs("; may be repeated", stdout);
	if (d->required)
		fputs("; required", stdout);
	fputs(".\n", stdout);
}

static void
print_options(const struct option_def *table)
{
	const struct option_def *d;

	if (table == NULL)
		return;
	puts(".Bl -tag -width Ds -compact");
	for (d = table; d->name != NULL; d++)
		if (d->kind != OPTION_REFUSED)
			print_option(d);
	puts(".El");
}

static void
print_command(const struct command *c)
{
	const struct option_operand *p;
	const struct option_def *d;
	int more = 0;

	printf(".It Cm %s%s%s", c->word, c->second != NULL ? " " : "",
	    c->second != NULL ? c->second : "");
	for (p = c->operands; p != NULL && p->name != NULL; p++)
		printf(p->optional ? " Op Ar %s" : " Ar %s", p->name);
	for (d = c->options; d != NULL && d->name != NULL; d++) {
		if (d->required)
			printf(" Fl -%s Ar %s", d->name, d->arg);
		else
			more = 1;
	}
	puts(more ? " Op Ar options" : "");
	print_sentence(c->help);
	puts(".");
	if (c->about != NULL)
		print_text(c->about);
	print_options(c->options);
}

int
main(void)
{
	const struct command *c;
	size_t i;

	puts(".Bl -tag -width Ds");
	for (i = 0; (c = command_at(i)) != NULL; i++)
		print_command(c);
	puts(".El");
	return fflush(stdout) == EOF;
}
