/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_OPTIONS_H_
#define APIKEY_OPTIONS_H_

/*
 * Command lines from tables.  An option's kind says how its value is checked and what it becomes in
 * the JSON request to the keeper, so that most subcommands need no code of their own for it.
 */

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/err.h"

#define OPTIONS_DISTINCT_MAX 48 /* different options on one command line */

enum option_kind {
	OPTION_FLAG,	     /* no value; true */
	OPTION_NO_LIST,	     /* no value; the empty list */
	OPTION_NO_MAP,	     /* no value; the empty object */
	OPTION_TEXT,	     /* printable, not empty */
	OPTION_TEXT_OR_NONE, /* printable; null when empty */
	OPTION_PATH,	     /* any bytes, not empty */
	OPTION_CHOICE,	     /* one of the words of def->choices */
	OPTION_NUMBER,	     /* decimal, at most def->max */
	OPTION_DURATION,     /* "14d"; whole seconds */
	OPTION_UNTIL,	/* "90d" from now, a date (through its end), RFC 3339; "never" is null */
	OPTION_FROM,	/* "90d" from now, a date (from its beginning), RFC 3339; "now" is null */
	OPTION_SINCE,	/* "2h" ago, a date (from its beginning), RFC 3339 */
	OPTION_ADDRESS, /* an IP address */
	OPTION_TEXTS,	/* repeatable from here on: a list of texts */
	OPTION_SCOPES,
	OPTION_NEEDED, /* scopes that a route needs: one space-separated string */
	OPTION_NETWORKS,
	OPTION_REFERRERS,
	OPTION_METHODS,
	OPTION_PAIRS,	/* K=V; an object of strings */
	OPTION_LIMITS,	/* NAME=N/WINDOW; a list of objects */
	OPTION_PATHS,	/* a list of any bytes, not empty */
	OPTION_REFUSED, /* one that is looked for here and cannot be; def->help says why */
	OPTION_KINDS	/* (count) */
};

struct option_def {
	const char *name; /* long name, without "--"; NULL ends a table */
	char letter;	  /* short name, or 0 */
	enum option_kind kind;
	const char
	    *member;	 /* in the request; NULL: a matter of the tool alone, see options_local */
	const char *arg; /* what the manual calls its value */
	const char *choices; /* OPTION_CHOICE: "key|owner" */
	int64_t max;	     /* OPTION_NUMBER; OPTION_DURATION: seconds, 0 for any */
	int required;
	const char *help;
};

/* A word without dashes.  A table ends with a NULL name. */
struct option_operand {
	const char *name; /* "ID" */
	const char *member;
	int optional;
	enum option_operands {
		OPTION_ONE,
		OPTION_REST,	  /* takes the rest; becomes a list */
		OPTION_REST_PATHS /* the same of names of files: any bytes */
	} many;
};

struct options {
	cJSON *request; /* what the keeper is asked; the command adds "op" */
	cJSON *local;	/* options without a member, by their names */
	int64_t now_us;
	size_t noperands;
	size_t nseen;
	const struct option_def *seen[OPTIONS_DISTINCT_MAX];
};

/* ${now_us}: wall clock that durations count from.  0 or -1 (no memory).  Release in either case.
 */
int options_init(struct options *, int64_t now_us, struct err *)
    __attribute__((warn_unused_result));
void options_release(struct options *);

/*
 * options_take(O, own, global, argc, argv, &i, e): argv[i] begins with '-': apply it and step over
 * it and its value.  Either table may be NULL.  0, or -1 with ERR_USAGE that names the option.
 */
int options_take(struct options *, const struct option_def *own, const struct option_def *global,
    int argc, char **argv, int *i, struct err *) __attribute__((warn_unused_result));

/*
 * options_rest(O, own, global, operands, argc, argv, i, e): everything from argv[i] on; "--" ends
 * the options.  What is missing is options_complete's matter, so that --help can come first.
 */
int options_rest(struct options *, const struct option_def *own, const struct option_def *global,
    const struct option_operand *, int argc, char **argv, int i, struct err *)
    __attribute__((warn_unused_result));

/* Are all required options and operands there?  0, or -1 with ERR_USAGE. */
int options_complete(const struct options *, const struct option_def *own,
    const struct option_operand *, struct err *) __attribute__((warn_unused_result));

/* Was this option without a member given?  And its value, or NULL. */
int options_local(const struct options *, const char *name);
const char *options_local_text(const struct options *, const char *name);

/* May an option of this kind be given more than once? */
int options_repeats(enum option_kind);

/* Letters to insert, remove or replace to make one word the other; for "did you mean". */
unsigned options_distance(const char *, const char *);
/* As far as a suggestion may be away. */
#define OPTIONS_NEAR 2

#endif /* !APIKEY_OPTIONS_H_ */
