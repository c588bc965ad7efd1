/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey, the admin tool: reads the command line by the table of commands, runs one, turns its
 * error into one line and an exit status.
 *
 * It runs for people and scripts, as root or as the service user, or as anyone whom the keeper lets
 * ask. It decides nothing about keys: that is the keeper's, or, when none runs, the same code's in
 * a child (session.c).
 *
 * Invariants: no core dump, and no argument that holds a key is looked at twice; an error is one
 * line on standard error without control characters, whatever was typed or stored.
 */

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/command.h"
#include "apikey/guard.h"
#include "apikey/options.h"
#include "apikey/session.h"
#include "apikey/tool.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "config/config.h"

/*
 * Closed standard descriptors would be taken by sockets and files, and a key be printed into one.
 * They are opened such that using them fails.
 */
static int
fill_standard_fds(void)
{
	int fd;

	for (fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
			continue;
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return -1;
	}
	return 0;
}

/*
 * One line, and nothing in it that could steer a terminal.  A file that was taken for the
 * configuration may hold keys, and its mistakes are told with the words that are there.
 */
static void
complain(const struct command *c, const struct err *e)
{
	char line[sizeof(e->msg) + 128];
	unsigned char *p;

	(void)snprintf(line, sizeof(line), "apikey: %s%s%s%s%s", c != NULL ? c->word : "",
	    c != NULL && c->second != NULL ? " " : "",
	    c != NULL && c->second != NULL ? c->second : "", c != NULL ? ": " : "", e->msg);
	guard_mask_keys(line);
	for (p = (unsigned char *)line; *p != '\0'; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	fprintf(stderr, "%s\n", line);
}

/* The first thing that is done to the arguments.  They are wiped, too: ps(1) shows them to
 * everyone. */
static int
refuse_keys(int argc, char **argv)
{
	int i, found = 0;

	for (i = 1; i < argc; i++) {
		if (!guard_has_key(argv[i]))
			continue;
		secret_wipe(argv[i], strlen(argv[i]));
		found = 1;
	}
	if (found)
		fputs(
		    "apikey: a key is never an argument: it is in your shell's history now, and "
		    "others could see it; revoke it (apikey revoke ID), and give keys on standard "
		    "input\n",
		    stderr);
	return found;
}

/* Words of the command, with global options before and between them.  NULL and ERR_USAGE, or help
 * was asked. */
static const struct command *
read_command(struct options *o, int argc, char **argv, int *i, const char **group, struct err *e)
{
	const char *words[2] = {NULL, NULL};
	int n = 0, wanted = 1;

	while (*i < argc && n < wanted) {
		if (argv[*i][0] == '-') {
			if (options_take(o, NULL, command_globals, argc, argv, i, e) == -1)
				return NULL;
			continue;
		}
		words[n++] = argv[(*i)++];
		if (n == 1 && command_is_group(words[0]))
			wanted = 2;
	}
	*group = n == 1 && wanted == 2 ? words[0] : NULL;
	if (n < wanted && (options_local(o, "help") || options_local(o, "version")))
		return NULL;
	if (n == 0) {
		(void)err_set(e, ERR_USAGE, "no command given; see: apikey help");
		return NULL;
	}
	return command_find(words[0], words[1], e);
}

static int
run_with_store(const struct command *c, struct tool *t, struct options *o, struct err *e)
{
	struct config *config;
	int rc = -1;

	/* The first error is enough here; `apikeyd -t` tells them all. */
	config = config_load(options_local_text(o, "config"), NULL, NULL, e);
	if (config == NULL) {
		/* Nothing was refused and no store is missing: it is what the tool was given. */
		e->code = ERR_USAGE;
		return -1;
	}
	t->config = config;
	if ((t->session = session_new(config, e)) != NULL)
		rc = c->run(t, o, e);
	session_close(&t->session);
	config_free(config);
	return rc;
}

/* An exit status, or -1 and the error. */
static int
run(struct options *o, int argc, char **argv, const struct command **c, struct err *e)
{
	struct tool t = {.now_us = o->now_us};
	const char *group = NULL;
	int i = 1;

	*c = read_command(o, argc, argv, &i, &group, e);
	if (e->code != ERR_NONE)
		return -1;
	if (*c != NULL &&
	    options_rest(o, (*c)->options, command_globals, (*c)->operands, argc, argv, i, e) == -1)
		return -1;
	if (options_local(o, "version")) {
		puts("apikey " PACKAGE_VERSION);
		return TOOL_DONE;
	}
	if (options_local(o, "help")) {
		if (*c != NULL)
			command_help(*c, stdout);
		else
			command_overview(group, stdout);
		return TOOL_DONE;
	}
	if (options_complete(o, (*c)->options, (*c)->operands, e) == -1)
		return -1;
	term_init(&t.term, STDOUT_FILENO);
	t.json = options_local(o, "json");
	return (*c)->offline ? (*c)->run(&t, o, e) : run_with_store(*c, &t, o, e);
}

int
main(int argc, char **argv)
{
	const struct command *c = NULL;
	struct err e = {0};
	struct options o;
	int status;

	secret_no_core();
	json_init();
	if (fill_standard_fds() == -1)
		return TOOL_STORE;
	(void)setlocale(LC_CTYPE, "");
	if (refuse_keys(argc, argv))
		return TOOL_USAGE;
	if (options_init(&o, clock_wall_us(), &e) == -1)
		status = -1;
	else
		status = run(&o, argc, argv, &c, &e);
	if (status != -1 && fflush(stdout) == EOF)
		status = err_sys(&e, "cannot write to standard output");
	if (status == -1) {
		complain(c, &e);
		status = (int)tool_exit_of(e.code);
	}
	options_release(&o);
	return status;
}
