/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_TOOL_H_
#define APIKEY_TOOL_H_

/* What every subcommand has at hand. */

#include <stdint.h>

#include <cjson/cJSON.h>

#include "apikey/options.h"
#include "apikey/session.h"
#include "apikey/table.h"
#include "apikey/term.h"
#include "base/err.h"
#include "config/config.h"

/* Exit statuses; a contract. */
enum tool_exit {
	TOOL_DONE = 0,
	TOOL_REFUSED = 1,
	TOOL_USAGE = 2,
	TOOL_STORE = 3 /* the store is unavailable */
};

struct tool {
	const struct config *config;
	struct session *session;
	struct term term; /* standard output */
	int json;
	int64_t now_us;	 /* when the tool was started, wall clock */
	char *store_key; /* copies_enter's, or NULL */
};

/* The exit status that an error of this code gives. */
enum tool_exit tool_exit_of(enum err_code);

/*
 * Have operation ${op} done; ${request} gets that as its "op".  The result (the caller's), or NULL.
 * tool_ask: of an operation that only reads.  tool_change: of one that may change something.
 */
cJSON *tool_ask(struct tool *, const char *op, cJSON *request, struct err *);
cJSON *tool_change(struct tool *, const char *op, cJSON *request, struct err *);

/*
 * A list: pages are asked for until there are no more, and printed, many at once; as one object a
 * line with --json, else as a table.
 */
struct tool_list {
	const char *op;
	const char *array; /* member of the result that holds the page */
	const struct table_column *columns;
	size_t ncolumns;
	void (*row)(const struct tool *, struct table *, const cJSON *item);
	const char *none;	/* told on a terminal when there is nothing to list */
	enum session_kind kind; /* SESSION_CHANGES: of a sweep */
	size_t *count;		/* how many there were, or NULL */
};
int tool_list(struct tool *, const struct tool_list *, cJSON *request, struct err *)
    __attribute__((warn_unused_result));

/*
 * Label and value lines, aligned: a table of these two columns.  A value that is NULL or empty
 * leaves its line out.
 */
struct table *tool_fields(const struct tool *);
void tool_field(struct table *, const char *label, const char *value, enum term_colour);
/* The fields are printed and freed.  0 or -1. */
int tool_fields_end(struct table **, struct err *) __attribute__((warn_unused_result));

#define TOOL_TIME_MAX 96

/* A time member (RFC 3339): "3 days ago"; "" when it is null. */
void tool_relative(const struct tool *, const cJSON *, const char *member, char[TOOL_TIME_MAX]);
/* "2026-11-21T23:38:31Z (3 days ago)"; "" when it is null. */
void tool_exact(const struct tool *, const cJSON *, const char *member, char[TOOL_TIME_MAX]);
/* Is it a time that is over? */
int tool_is_over(const struct tool *, const cJSON *, const char *member);

/* The strings of an array, joined, cut where ${cap} ends; returns ${buf}. */
const char *tool_join(const cJSON *array, const char *separator, char *buf, size_t cap);

/*
 * The limits of a key, a line each: what is left and when there will be more.  Nothing when there
 * are none.
 */
int tool_limits(const struct tool *, const cJSON *limits, struct err *)
    __attribute__((warn_unused_result));

/* A string or number member as text in ${buf} (or the string itself); "" when absent. */
const char *tool_text(const cJSON *, const char *member, char buf[32]);

#endif /* !APIKEY_TOOL_H_ */
