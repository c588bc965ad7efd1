/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Prints lists for the manual page, in mdoc(7): subcommands, from the table that the tool
 * dispatches by; with the argument "probes" or "causes", what doctor does and finds.  Runs when the
 * project is built; it is not installed and links no main of the tool.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/causes.h"
#include "apikey/command.h"
#include "apikey/doctor.h"

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

static void
print_commands(void)
{
	const struct command *c;
	size_t i;

	puts(".Bl -tag -width Ds");
	for (i = 0; (c = command_at(i)) != NULL; i++)
		print_command(c);
	puts(".El");
}

static void
print_item(const char *name, const char *text)
{
	printf(".It Cm %s\n", name);
	print_sentence(text);
	puts(".");
}

static void
print_probes(void)
{
	const struct doctor_probe *p;
	size_t i;

	puts(".Bl -tag -width forged-underscores -compact");
	for (i = 0; (p = doctor_probe_at(i)) != NULL; i++)
		print_item(p->name, p->about);
	puts(".El");
}

static void
print_causes(void)
{
	int c;

	puts(".Bl -tag -width refusal_as_success -compact");
	for (c = CAUSE_NONE + 1; c < CAUSES; c++)
		print_item(causes_info((enum cause)c)->name, causes_info((enum cause)c)->meaning);
	puts(".El");
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "probes") == 0)
		print_probes();
	else if (argc > 1 && strcmp(argv[1], "causes") == 0)
		print_causes();
	else
		print_commands();
	return fflush(stdout) == EOF;
}
