/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey rotate, disable, purge: a new secret for a key, and what is done with keys that nobody
 * uses or that were revoked long ago.
 *
 * The sweeps are the keeper's, a page at a time; here the pages are asked for until there are no
 * more.  One that is broken off has done more than it has printed, and the audit trail tells what.
 *
 * Invariant: nothing is removed that was not asked for with --yes.
 */

#include <stdio.h>

#include "apikey/commands.h"
#include "apikey/keyshow.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"

/* ---- rotate ---- */

/* The old secret's end, for what is said of a new one that nobody has seen. */
static void
not_shown(const struct tool *t, const cJSON *record, struct err *e)
{
	char until[TOOL_TIME_MAX], buf[32];

	tool_exact(t, record, "previous_until", until);
	(void)err_wrap(e,
	    "the new key could not be shown, and never will be; the old one works until %s; run "
	    "`apikey rotate %s` again",
	    until, tool_text(record, "id", buf));
}

/* The record of a key whose new secret was made and shown, or NULL. */
static cJSON *
rotate_and_show(struct tool *t, cJSON *request, int quiet, struct err *e)
{
	cJSON *record = tool_change(t, "key.rotate", request, e);

	if (record == NULL || keyshow_made(t, record, quiet, e) == 0)
		return record;
	not_shown(t, record, e);
	cJSON_Delete(record);
	return NULL;
}

int
cmd_life_rotate(struct tool *t, struct options *o, struct err *e)
{
	int quiet = options_local(o, "quiet"), rc = 0;
	sigset_t before;
	cJSON *record;

	if (quiet && t->json)
		return err_set(e, ERR_USAGE, "--quiet and --json exclude each other");
	if (cmd_key_check_id(o, e) == -1)
		return -1;
	keyshow_hold(&before);
	record = rotate_and_show(t, o->request, quiet, e);
	keyshow_release(&before);
	if (record == NULL)
		return -1;
	if (!quiet && !t->json)
		rc = keyshow_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

/* ---- sweeps ---- */

static void
swept_row(const struct tool *t, struct table *table, const cJSON *key)
{
	char buf[32], when[TOOL_TIME_MAX];

	table_add(table, tool_text(key, "id", buf), TERM_PLAIN);
	table_add(table, tool_text(key, "owner", buf), TERM_PLAIN);
	table_add(table, tool_text(key, "name", buf), TERM_PLAIN);
	tool_relative(t, key, "created", when);
	table_add(table, when, TERM_PLAIN);
	tool_relative(t, key, "last_used", when);
	table_add(table, when[0] == '\0' ? "never" : when, TERM_PLAIN);
	tool_relative(t, key, "revoked", when);
	table_add(table, when, TERM_PLAIN);
}

/* All pages of ${op}; ${done}: what has happened to the keys that are listed. */
static int
sweep(struct tool *t, const char *op, const char *done, cJSON *request, struct err *e)
{
	static const struct table_column columns[] = {{"ID", 0, 0}, {"OWNER", 0, 6}, {"NAME", 0, 6},
	    {"CREATED", 0, 0}, {"USED", 0, 0}, {"REVOKED", 0, 0}};
	int dry_run = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "dry_run"));
	size_t count = 0;
	struct tool_list list = {.op = op,
	    .array = "keys",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = swept_row,
	    .none = "There are no such keys.",
	    .kind = SESSION_CHANGES,
	    .count = &count};

	if (tool_list(t, &list, request, e) != 0)
		return -1;
	if (!t->json && count > 0)
		printf("\n%zu %s %s\n", count, count == 1 ? "key" : "keys",
		    dry_run ? "would be it" : done);
	return TOOL_DONE;
}

int
cmd_life_disable(struct tool *t, struct options *o, struct err *e)
{
	int has_id = cJSON_HasObjectItem(o->request, "id");

	if (has_id && cJSON_GetArraySize(o->request) > 1)
		return err_set(e, ERR_USAGE, "an ID and filters exclude each other");
	if (has_id)
		return cmd_key_change(t, "key.disable", "disabled", o, e);
	if (!cJSON_HasObjectItem(o->request, "unused"))
		return err_set(e, ERR_USAGE,
		    "ID is missing; or --unused DURATION, for all keys that nobody uses");
	return sweep(t, "key.disable_unused", "disabled", o->request, e);
}

int
cmd_life_purge(struct tool *t, struct options *o, struct err *e)
{
	int dry_run = cJSON_HasObjectItem(o->request, "dry_run");

	if (options_local(o, "yes") && dry_run)
		return err_set(e, ERR_USAGE, "--yes and --dry-run exclude each other");
	if (!options_local(o, "yes") && !dry_run)
		return err_set(e, ERR_USAGE,
		    "purge removes keys for good; see which with --dry-run, then say --yes");
	return sweep(t, "key.purge", "removed", o->request, e);
}
