/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_COMMAND_H_
#define APIKEY_COMMAND_H_

/*
 * The one table of subcommands: dispatcher, usage, help and the manual's list come from it.
 */

#include <stddef.h>
#include <stdio.h>

#include "apikey/options.h"
#include "apikey/tool.h"
#include "base/err.h"

struct command {
	const char *word, *second; /* "plan", "set"; second is NULL for commands of one word */
	/* An exit status, or -1 and the error. */
	int (*run)(struct tool *, struct options *, struct err *);
	const struct option_def *options;
	const struct option_operand *operands;
	int offline;	   /* needs neither configuration nor store */
	const char *help;  /* one line */
	const char *about; /* some more, or NULL; lines end with \n */
};

/* Options that every command takes. */
extern const struct option_def command_globals[];

/* Row ${i}, or NULL past the last one. */
const struct command *command_at(size_t i);

/*
 * The command that ${first} and ${second} (may be NULL) name; NULL and ERR_USAGE, with the nearest
 * one, when there is none.
 */
const struct command *command_find(const char *first, const char *second, struct err *);

/* Does any command of two words begin with this one? */
int command_is_group(const char *);

/* "create --owner OWNER [options]". */
void command_usage(const struct command *, FILE *);
void command_help(const struct command *, FILE *);
/* All commands; only those of a group unless that is NULL. */
void command_overview(const char *group, FILE *);

#endif /* !APIKEY_COMMAND_H_ */
