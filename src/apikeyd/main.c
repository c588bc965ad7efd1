/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apikeyd: the command line.
 *
 * Two tables, options and words, are dispatcher and usage text at once.  Without a word it is the
 * supervisor; `worker` and `keeper` are the roles that it starts, and that a web server or an admin
 * may start as well; `dialer` is what such a worker starts for itself. No process of this program
 * ever dumps core: that is decided here, first of all.
 */

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "apikeyd/exits.h"
#include "apikeyd/roles.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/span.h"
#include "config/config.h"

enum { OPT_STATUS_FD = 256, OPT_DIAL_FD, OPT_ON_DEMAND, OPT_AGAIN };

static const struct {
	int code; /* the letter, or one of the above */
	const char *name;
	const char *arg;  /* its name, or NULL */
	const char *help; /* NULL: not for people */
} options[] = {
    {'c', "config", "FILE", "read the settings from FILE"},
    {'f', "foreground", NULL, "stay in the foreground and log to stderr"},
    {'t', "test", NULL, "check the configuration, and do nothing else"},
    {'h', "help", NULL, "print this text"},
    {'V', "version", NULL, "print the version"},
    {OPT_STATUS_FD, "status-fd", "N", NULL},
    {OPT_DIAL_FD, "dial-fd", "N", NULL},
    {OPT_ON_DEMAND, "on-demand", NULL, NULL},
    {OPT_AGAIN, "again", NULL, NULL},
};

static const struct {
	const char *name;
	int (*run)(const struct invocation *);
	const char *help; /* NULL: not for people */
} words[] = {
    {NULL, supervisor_main,
	"the service: opens the socket, starts keeper and workers, restarts what dies"},
    {"worker", worker_main, "one worker on an inherited listening socket (fd 0, or LISTEN_FDS)"},
    {"keeper", keeper_main, "the keeper alone: the process that owns the store"},
    {"dialer", dialer_main, NULL},
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))
#define WORDS (sizeof(words) / sizeof(words[0]))

static void
print_usage(FILE *out)
{
	const struct exits_info *x;
	size_t i;

	(void)fprintf(out, "usage: apikeyd [-c FILE] [-f | -t] [worker | keeper]\n\n");
	for (i = 0; i < WORDS; i++)
		if (words[i].help != NULL)
			(void)fprintf(out, "  %-20s %s\n",
			    words[i].name != NULL ? words[i].name : "(no word)", words[i].help);
	(void)fputc('\n', out);
	for (i = 0; i < OPTIONS; i++)
		if (options[i].help != NULL)
			(void)fprintf(out, "  -%c, --%-10s %-4s %s\n", options[i].code,
			    options[i].name, options[i].arg != NULL ? options[i].arg : "",
			    options[i].help);
	(void)fprintf(out, "\nThe default FILE is %s, or what APIKEYD_CONF says.\nExit codes:\n",
	    CONFIG_DEFAULT_PATH);
	for (i = 0; (x = exits_at(i)) != NULL; i++)
		(void)fprintf(out, "  %2d  %s\n", x->code, x->when);
}

static int
usage_error(const char *why, const char *what)
{
	(void)fprintf(stderr, "apikeyd: %s%s; `apikeyd --help` lists what there is\n", why, what);
	return EXITS_USAGE;
}

static void
print_problem(void *cookie, const char *text)
{
	(void)cookie;
	(void)fprintf(stderr, "apikeyd: %s\n", text);
}

static int
check(const struct invocation *inv)
{
	struct err e;
	struct config *C = config_load(inv->config, print_problem, NULL, &e);

	if (C == NULL)
		return EXITS_FAILED;
	if (C->path != NULL)
		(void)printf("apikeyd: %s: configuration is fine\n", C->path);
	else
		(void)printf(
		    "apikeyd: %s: configuration is fine (there is no such file: all defaults)\n",
		    CONFIG_DEFAULT_PATH);
	config_free(C);
	return EXITS_OK;
}

/* The number of an inherited descriptor.  -1: go on; else the exit code. */
static int
take_fd(const char *option, const char *arg, int *fd)
{
	unsigned long long n;

	if (span_u64(span_of(arg), 1 << 20, &n) == -1 || n < 3)
		return usage_error(option, arg);
	*fd = (int)n;
	return -1;
}

/* One option.  -1: go on; else the exit code. */
static int
take_option(int code, const char *arg, struct invocation *inv)
{
	switch (code) {
	case 'c':
		inv->config = arg;
		return -1;
	case 'f':
		inv->foreground = 1;
		return -1;
	case 't':
		inv->check = 1;
		return -1;
	case 'h':
		print_usage(stdout);
		return EXITS_OK;
	case 'V':
		(void)printf("apikeyd %s\n", PACKAGE_VERSION);
		return EXITS_OK;
	case OPT_STATUS_FD:
		return take_fd("--status-fd wants a descriptor, not ", arg, &inv->status_fd);
	case OPT_DIAL_FD:
		return take_fd("--dial-fd wants a descriptor, not ", arg, &inv->dial_fd);
	case OPT_ON_DEMAND:
		inv->on_demand = 1;
		return -1;
	case OPT_AGAIN:
		inv->again = 1;
		return -1;
	default:
		/* getopt_long has said what is wrong. */
		(void)fprintf(stderr, "apikeyd: `apikeyd --help` lists what there is\n");
		return EXITS_USAGE;
	}
}

/* getopt's two descriptions of the options, from the table. */
static int
read_options(int argc, char **argv, struct invocation *inv)
{
	struct option longs[OPTIONS + 1];
	char shorts[2 * OPTIONS + 1];
	size_t i, n = 0;
	int code, ended = -1;

	memset(longs, 0, sizeof(longs));
	for (i = 0; i < OPTIONS; i++) {
		longs[i] = (struct option){.name = options[i].name,
		    .has_arg = options[i].arg != NULL ? required_argument : no_argument,
		    .val = options[i].code};
		if (options[i].code >= OPT_STATUS_FD)
			continue;
		shorts[n++] = (char)options[i].code;
		if (options[i].arg != NULL)
			shorts[n++] = ':';
	}
	shorts[n] = '\0';
	while (ended == -1 && (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
		ended = take_option(code, optarg, inv);
	return ended;
}

/*
 * Workers and keeper are woken by each other and by the web server for every request.  A normal
 * process that is woken interrupts the one that woke it; then each request would travel alone,
 * and most of its cost would be switching.  These wait for their turn, find all that has come
 * meanwhile, and handle it together (sched(7)).  An idle processor runs them at once all the same.
 */
static void
wait_for_turn(void)
{
	const struct sched_param none = {0};

	/* Refused in some containers: then it is only slower. */
	(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

int
main(int argc, char **argv)
{
	struct invocation inv = {.argv0 = argv[0], .status_fd = -1, .dial_fd = -1};
	const char *word;
	char name[16];
	size_t i;
	int ended;

	secret_no_core();
	json_init();
	if ((ended = read_options(argc, argv, &inv)) != -1)
		return ended;
	if (argc - optind > 1)
		return usage_error("one word at most, not also ", argv[optind + 1]);
	if (inv.check)
		return check(&inv);
	word = argv[optind]; /* NULL behind the last */
	/* Executed as /proc/self/exe a child would be called "exe" in ps and top. */
	(void)snprintf(
	    name, sizeof(name), "apikeyd%s%s", word != NULL ? "-" : "", word != NULL ? word : "");
	(void)prctl(PR_SET_NAME, name);
	if (word != NULL)
		wait_for_turn();
	for (i = 0; i < WORDS; i++)
		if (word == NULL ? words[i].name == NULL
				 : words[i].name != NULL && strcmp(word, words[i].name) == 0)
			return words[i].run(&inv);
	return usage_error("there is no ", word);
}
