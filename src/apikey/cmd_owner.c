/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey owner list, show, disable, enable: whose keys there are, and all of them at once.
 *
 * What the keeper tells of an owner comes by pages of its keys; it is summed up here.
 *
 * Invariant: the memory that a sum takes is bounded, however many keys and members an owner has.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"

#define MEMBERS_MAX 1000 /* told of one owner */

static int
is_off(const cJSON *owner)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(owner, "disabled"));
}

static void
owner_row(const struct tool *t, struct table *table, const cJSON *owner)
{
	char buf[32], text[64], when[TOOL_TIME_MAX];

	table_add(table, tool_text(owner, "owner", buf), TERM_PLAIN);
	(void)snprintf(text, sizeof(text), "%s%s", tool_text(owner, "keys", buf),
	    cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(owner, "more_keys")) ? " or more" : "");
	table_add(table, text, TERM_PLAIN);
	table_add(table, is_off(owner) ? "disabled" : "", TERM_YELLOW);
	tool_relative(t, owner, "since", when);
	table_add(table, when, TERM_PLAIN);
}

int
cmd_owner_list(struct tool *t, struct options *o, struct err *e)
{
	static const struct table_column columns[] = {
	    {"OWNER", 0, 8}, {"KEYS", 1, 0}, {"STATE", 0, 0}, {"SINCE", 0, 0}};
	static const struct tool_list list = {.op = "owner.list",
	    .array = "owners",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = owner_row,
	    .none = "There are no such owners."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

/* ---- show ---- */

/* Add the counts of ${page} to those of ${sum}; 1 when one had no place, 0, -1. */
static int
add_counts(cJSON *sum, const cJSON *page, size_t max, struct err *e)
{
	size_t n = (size_t)cJSON_GetArraySize(sum);
	const cJSON *one;
	int left_out = 0;

	cJSON_ArrayForEach(one, page)
	{
		cJSON *had = cJSON_GetObjectItemCaseSensitive(sum, one->string);

		if (had != NULL) {
			(void)cJSON_SetNumberHelper(had, had->valuedouble + one->valuedouble);
		} else if (n == max) {
			left_out = 1;
		} else if (cJSON_AddNumberToObject(sum, one->string, one->valuedouble) == NULL) {
			return err_set(e, ERR_SYSTEM, "out of memory");
		} else {
			n++;
		}
	}
	return left_out;
}

static cJSON *
member_of(cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

/* The next page into ${whole} (made from the first one): 1 when there are more, 0, -1. */
static int
take_page(struct tool *t, cJSON *request, cJSON **whole, int *left_out, struct err *e)
{
	cJSON *page = session_call(t->session, SESSION_READS, request, e), *next;
	int rc = 0, more;

	if (page == NULL)
		return -1;
	next = cJSON_DetachItemFromObjectCaseSensitive(page, "next");
	more = cJSON_IsString(next);
	cJSON_DeleteItemFromObjectCaseSensitive(request, "after");
	if (!more || !cJSON_AddItemToObject(request, "after", next))
		cJSON_Delete(next);
	if (*whole == NULL) {
		*whole = page;
		return more;
	}
	if (add_counts(member_of(*whole, "states"), member_of(page, "states"), 8, e) < 0 ||
	    (rc = add_counts(
		 member_of(*whole, "members"), member_of(page, "members"), MEMBERS_MAX, e)) < 0)
		more = -1;
	*left_out |= rc == 1;
	cJSON_Delete(page);
	return more;
}

static void
print_counts(struct table *f, const char *label, const cJSON *counts)
{
	const cJSON *one;
	char text[256];

	cJSON_ArrayForEach(one, counts)
	{
		(void)snprintf(text, sizeof(text), "%.0f %s", one->valuedouble, one->string);
		tool_field(f, label, text, TERM_PLAIN);
	}
}

static int
print_owner(const struct tool *t, const cJSON *owner, struct err *e)
{
	struct table *f = tool_fields(t);
	char buf[32], when[TOOL_TIME_MAX];

	tool_field(f, "owner", tool_text(owner, "owner", buf), TERM_PLAIN);
	tool_field(f, "state", is_off(owner) ? "disabled" : "enabled",
	    is_off(owner) ? TERM_YELLOW : TERM_GREEN);
	tool_exact(t, owner, "since", when);
	tool_field(f, "since", when, TERM_PLAIN);
	tool_field(f, "by", tool_text(owner, "by", buf), TERM_PLAIN);
	tool_field(f, "reason", tool_text(owner, "reason", buf), TERM_PLAIN);
	tool_field(f, "keys", tool_text(owner, "keys", buf), TERM_PLAIN);
	print_counts(f, "of them", cJSON_GetObjectItemCaseSensitive(owner, "states"));
	print_counts(f, "members", cJSON_GetObjectItemCaseSensitive(owner, "members"));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(owner, "more_members")))
		tool_field(f, "members", "and more", TERM_PLAIN);
	return tool_fields_end(&f, e);
}

int
cmd_owner_show(struct tool *t, struct options *o, struct err *e)
{
	cJSON *whole = NULL;
	const cJSON *one;
	double keys = 0;
	int left_out = 0, more, rc = -1;

	if (cJSON_AddStringToObject(o->request, "op", "owner.show") == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	while ((more = take_page(t, o->request, &whole, &left_out, e)) == 1)
		continue;
	session_rest(t->session);
	if (more == -1)
		goto out;
	cJSON_ArrayForEach(one, member_of(whole, "states")) keys += one->valuedouble;
	if (cJSON_AddNumberToObject(whole, "keys", keys) == NULL ||
	    cJSON_AddBoolToObject(whole, "more_members", left_out) == NULL)
		(void)err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = t->json ? output_json(whole, e) : print_owner(t, whole, e);
out:
	cJSON_Delete(whole);
	return rc == 0 ? TOOL_DONE : -1;
}

/* ---- disable, enable ---- */

static int
switch_owner(struct tool *t, const char *op, const char *now, struct options *o, struct err *e)
{
	cJSON *result = tool_change(t, op, o->request, e);
	char buf[32];
	int rc = 0;

	if (result == NULL)
		return -1;
	if (t->json)
		rc = output_json(result, e);
	else
		printf("all keys of %s are %s\n", tool_text(result, "owner", buf), now);
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_owner_disable(struct tool *t, struct options *o, struct err *e)
{
	return switch_owner(t, "owner.disable", "refused now", o, e);
}

int
cmd_owner_enable(struct tool *t, struct options *o, struct err *e)
{
	return switch_owner(t, "owner.enable", "what their own states say again", o, e);
}
