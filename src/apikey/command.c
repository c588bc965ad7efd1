/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What is told of the table of subcommands (commands.c): finding one, usage, help.
 */

#include <string.h>

#include "apikey/command.h"

int
command_is_group(const char *word)
{
	const struct command *c;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++) {
		if (c->second != NULL && strcmp(c->word, word) == 0)
			return 1;
	}
	return 0;
}

/* Say what comes near. */
static void
unknown(const char *first, const char *second, struct err *e)
{
	const struct command *c, *best = NULL;
	unsigned distance, least = OPTIONS_NEAR + 1;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++) {
		if (second != NULL && (c->second == NULL || strcmp(first, c->word) != 0))
			continue;
		distance = second != NULL ? options_distance(second, c->second)
					  : options_distance(first, c->word);
		if (distance < least) {
			least = distance;
			best = c;
		}
	}
	if (best == NULL)
		(void)err_set(e, ERR_USAGE, "unknown command %s%s%s; see: apikey help", first,
		    second != NULL ? " " : "", second != NULL ? second : "");
	else
		(void)err_set(e, ERR_USAGE, "unknown command %s%s%s; did you mean %s%s%s?", first,
		    second != NULL ? " " : "", second != NULL ? second : "", best->word,
		    second != NULL ? " " : "", second != NULL ? best->second : "");
}

const struct command *
command_find(const char *first, const char *second, struct err *e)
{
	const struct command *c;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++) {
		if (strcmp(c->word, first) != 0)
			continue;
		if (c->second == NULL || (second != NULL && strcmp(c->second, second) == 0))
			return c;
	}
	if (second == NULL && command_is_group(first))
		(void)err_set(e, ERR_USAGE, "%s what? see: apikey help %s", first, first);
	else
		unknown(first, command_is_group(first) ? second : NULL, e);
	return NULL;
}

void
command_usage(const struct command *c, FILE *out)
{
	const struct option_operand *p;
	const struct option_def *d;
	int more = 0;

	fprintf(out, "%s%s%s", c->word, c->second != NULL ? " " : "",
	    c->second != NULL ? c->second : "");
	for (p = c->operands; p != NULL && p->name != NULL; p++)
		fprintf(out, p->optional ? " [%s]" : " %s", p->name);
	for (d = c->options; d != NULL && d->name != NULL; d++) {
		if (d->required)
			fprintf(out, " --%s %s", d->name, d->arg);
		else
			more = 1;
	}
	if (more)
		fputs(" [options]", out);
}

static void
print_options(const struct option_def *table, FILE *out)
{
	const struct option_def *d;
	char left[64], letter[8];

	for (d = table; d != NULL && d->name != NULL; d++) {
		if (d->kind == OPTION_REFUSED)
			continue;
		letter[0] = '\0';
		if (d->letter != '\0')
			(void)snprintf(letter, sizeof(letter), "-%c, ", d->letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s%s", letter, d->name,
		    d->arg != NULL ? " " : "", d->arg != NULL ? d->arg : "",
		    options_repeats(d->kind) ? " ..." : "");
		fprintf(out, "  %-26s  %s\n", left, d->help);
	}
}

void
command_help(const struct command *c, FILE *out)
{
	fputs("usage: apikey ", out);
	command_usage(c, out);
	fprintf(out, "\n\n%c%s.\n", c->help[0] - 'a' + 'A', c->help + 1);
	if (c->about != NULL)
		fputs(c->about, out);
	if (c->options != NULL) {
		fputs("\nOptions:\n", out);
		print_options(c->options, out);
	}
	fputs("\nOptions of every command:\n", out);
	print_options(command_globals, out);
}

void
command_overview(const char *group, FILE *out)
{
	const struct command *c;
	char left[32];
	size_t i;

	fprintf(
	    out, "usage: apikey [-c FILE] [--json] %s ...\n\n", group == NULL ? "COMMAND" : group);
	for (i = 0; (c = command_at(i)) != NULL; i++) {
		if (group != NULL && strcmp(group, c->word) != 0)
			continue;
		(void)snprintf(left, sizeof(left), "%s%s%s", c->word, c->second != NULL ? " " : "",
		    c->second != NULL ? c->second : "");
		fprintf(out, "  %-12s  %s\n", left, c->help);
	}
	fputs("\nMore of one: apikey help COMMAND\n", out);
}
