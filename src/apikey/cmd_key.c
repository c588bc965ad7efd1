/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey create, list, show, set, enable, revoke: one key at a time.  The keeper decides what is
 * right; here its words are asked for and shown.
 *
 * Invariant: the key itself is in the memory of cJSON (wiped when it is freed) and goes from there
 * to keyshow.c or output.c alone.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/keyshow.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"
#include "core/token.h"

#define NARROW 110 /* terminals below it get no columns for the start of the key and its age */

/* Nobody has the key and nobody can get it: it must not stay valid.  Says what became of it. */
static void
take_back(struct tool *t, const cJSON *record, struct err *e)
{
	char buf[32];
	const char *id = tool_text(record, "id", buf);
	cJSON *request = cJSON_CreateObject(), *revoked = NULL;

	if (cJSON_AddStringToObject(request, "id", id) != NULL &&
	    cJSON_AddStringToObject(request, "reason", "could not be shown") != NULL)
		revoked = tool_change(t, "key.revoke", request, NULL);
	cJSON_Delete(request);
	if (revoked == NULL)
		(void)err_wrap(e,
		    "the key was made but could not be shown, and never will be; run `apikey "
		    "revoke %s`",
		    id);
	else
		(void)err_wrap(e, "the key could not be shown, so %s was revoked again", id);
	cJSON_Delete(revoked);
}

/* An end that is over is mostly a mistake in a date, and nothing else would tell: the key is made.
 */
static void
warn_expired(const cJSON *request, const cJSON *record)
{
	const char *expires = json_str(request, "expires", NULL);
	char buf[32];

	if (expires != NULL && strcmp(tool_text(record, "state", buf), "expired") == 0)
		fprintf(stderr, "apikey: the key does not work: it has expired (%s)\n", expires);
}

/* The record of a key that was made and shown, or NULL. */
static cJSON *
make_and_show(struct tool *t, cJSON *request, int quiet, struct err *e)
{
	cJSON *record = tool_change(t, "key.create", request, e);

	if (record == NULL || keyshow_made(t, record, quiet, e) == 0)
		return record;
	take_back(t, record, e);
	cJSON_Delete(record);
	return NULL;
}

/* A key that another system made: there is nothing to be shown but its record. */
static int
create_imported(struct tool *t, cJSON *request, struct err *e)
{
	cJSON *record = tool_change(t, "key.create", request, e);
	int rc;

	if (record == NULL)
		return -1;
	warn_expired(request, record);
	rc = t->json ? output_json(record, e) : keyshow_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_create(struct tool *t, struct options *o, struct err *e)
{
	int quiet = options_local(o, "quiet"), rc = 0;
	int imported = cJSON_GetObjectItemCaseSensitive(o->request, "digest") != NULL;
	sigset_t before;
	cJSON *record;

	if (quiet && t->json)
		return err_set(e, ERR_USAGE, "--quiet and --json exclude each other");
	if (quiet && imported)
		return err_set(e, ERR_USAGE,
		    "--quiet and --import-digest exclude each other: there is no key to print");
	if (imported)
		return create_imported(t, o->request, e);
	keyshow_hold(&before);
	record = make_and_show(t, o->request, quiet, e);
	keyshow_release(&before);
	if (record == NULL)
		return -1;
	warn_expired(o->request, record);
	if (!quiet && !t->json)
		rc = keyshow_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

static void
list_row(const struct tool *t, struct table *table, const cJSON *record)
{
	const int wide = t->term.columns == 0 || t->term.columns >= NARROW;
	char buf[32], state[64], when[TOOL_TIME_MAX];

	table_add(table, tool_text(record, "id", buf), TERM_PLAIN);
	if (wide)
		table_add(table, tool_text(record, "start", buf), TERM_DIM);
	table_add(table, tool_text(record, "owner", buf), TERM_PLAIN);
	table_add(table, tool_text(record, "name", buf), TERM_PLAIN);
	table_add(table, tool_text(record, "plan", buf), TERM_PLAIN);
	(void)snprintf(state, sizeof(state), "%.32s%s", tool_text(record, "state", buf),
	    keyshow_exposed(record) ? ", exposed" : "");
	table_add(table, state, keyshow_colour(record));
	if (wide) {
		tool_relative(t, record, "created", when);
		table_add(table, when, TERM_PLAIN);
	}
	tool_relative(t, record, "expires", when);
	table_add(table, when[0] == '\0' ? "never" : when, TERM_PLAIN);
	tool_relative(t, record, "last_used", when);
	table_add(table, when[0] == '\0' ? "never" : when, TERM_PLAIN);
}

int
cmd_key_list(struct tool *t, struct options *o, struct err *e)
{
	/* Rows of the first and of the second table must be those of list_row.  With everything cut
	 * the first one has 80 columns. */
	static const struct table_column narrow[] = {{"ID", 0, 0}, {"OWNER", 0, 5}, {"NAME", 0, 4},
	    {"PLAN", 0, 4}, {"STATE", 0, 0}, {"EXPIRES", 0, 8}, {"USED", 0, 10}};
	static const struct table_column wide[] = {{"ID", 0, 0}, {"START", 0, 0}, {"OWNER", 0, 6},
	    {"NAME", 0, 6}, {"PLAN", 0, 6}, {"STATE", 0, 0}, {"CREATED", 0, 0}, {"EXPIRES", 0, 0},
	    {"USED", 0, 0}};
	struct tool_list list = {.op = "key.list",
	    .array = "keys",
	    .columns = wide,
	    .ncolumns = sizeof(wide) / sizeof(wide[0]),
	    .row = list_row,
	    .none = "There are no such keys."};

	if (t->term.columns != 0 && t->term.columns < NARROW) {
		list.columns = narrow;
		list.ncolumns = sizeof(narrow) / sizeof(narrow[0]);
	}
	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

int
cmd_key_check_id(const struct options *o, struct err *e)
{
	if (token_id_ok(span_of(json_str(o->request, "id", NULL))))
		return 0;
	return err_set(e, ERR_NOT_FOUND,
	    "that is not the id of a key: an id is key_ and 16 letters or digits; apikey list "
	    "shows them");
}

int
cmd_key_show(struct tool *t, struct options *o, struct err *e)
{
	const cJSON *limits;
	cJSON *record;
	int rc;

	if (cmd_key_check_id(o, e) == -1 ||
	    (record = tool_ask(t, "key.show", o->request, e)) == NULL)
		return -1;
	limits = cJSON_GetObjectItemCaseSensitive(record, "limits");
	if (t->json)
		rc = output_json(record, e);
	else if ((rc = keyshow_record(t, record, e)) == 0)
		rc = tool_limits(t, limits, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_set(struct tool *t, struct options *o, struct err *e)
{
	cJSON *record;
	int rc;

	if (cJSON_GetArraySize(o->request) == 1)
		return err_set(e, ERR_USAGE, "nothing to change; say what, see: apikey set --help");
	if (cmd_key_check_id(o, e) == -1 ||
	    (record = tool_change(t, "key.set", o->request, e)) == NULL)
		return -1;
	warn_expired(o->request, record);
	rc = t->json ? output_json(record, e) : keyshow_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_change(struct tool *t, const char *op, const char *now, struct options *o, struct err *e)
{
	char buf[32];
	cJSON *record;
	int rc = 0;

	if (cmd_key_check_id(o, e) == -1 || (record = tool_change(t, op, o->request, e)) == NULL)
		return -1;
	if (t->json)
		rc = output_json(record, e);
	else
		printf("%s is now %s\n", tool_text(o->request, "id", buf), now);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_enable(struct tool *t, struct options *o, struct err *e)
{
	return cmd_key_change(t, "key.enable", "enabled", o, e);
}

int
cmd_key_revoke(struct tool *t, struct options *o, struct err *e)
{
	if (options_local(o, "old-secret"))
		return cmd_key_change(t, "key.end_old_secret", "without its old secret", o, e);
	return cmd_key_change(t, "key.revoke", "revoked", o, e);
}
