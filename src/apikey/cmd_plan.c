/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey plan set, list, show, remove: the plans, and how limits are shown wherever they are shown.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"
#include "base/text.h"
#include "core/plan.h"

/*
 * What is said of one limit behind its figures: that it is only tried out, and what it is counted
 * as when it was renamed.
 */
static const char *
remark(const cJSON *limit, char buf[96])
{
	int dry = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(limit, "dry_run"));
	const char *name = json_str(limit, "name", NULL), *log = json_str(limit, "log", NULL);

	if (name == NULL || log == NULL || strcmp(name, log) == 0)
		return dry ? " (dry run)" : "";
	(void)snprintf(buf, 96, " (%scounted as %s)", dry ? "dry run, " : "", log);
	return buf;
}

/*
 * "minute 100/60s, day 1000/1d", with remarks.  Without limits a plan is one that somebody made so,
 * or the one that is there without being made.
 */
static void
describe_limits(const cJSON *plan, char *buf, size_t cap)
{
	const cJSON *limit;
	char name[LIMIT_NAME_MAX + 1], n[32], window[32], more[96];
	size_t at = 0;
	int len;

	(void)snprintf(buf, cap, "%s",
	    cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(plan, "builtin")) ? "no limits, built in"
									    : "none");
	cJSON_ArrayForEach(limit, cJSON_GetObjectItemCaseSensitive(plan, "limits"))
	{
		len = snprintf(buf + at, cap - at, "%s%s %s/%s%s", at == 0 ? "" : ", ",
		    tool_text(limit, "name", name), tool_text(limit, "limit", n),
		    tool_text(limit, "window", window), remark(limit, more));
		if (len < 0 || (size_t)len >= cap - at)
			return;
		at += (size_t)len;
	}
}

/* "90d", and what happens then. */
static void
describe_age(const cJSON *plan, char *buf, size_t cap)
{
	char age[32];
	int deny = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(plan, "max_age_deny"));

	buf[0] = '\0';
	if (json_str(plan, "max_age", NULL) != NULL)
		(void)snprintf(buf, cap, "%.31s%s", tool_text(plan, "max_age", age),
		    deny ? ", then refused" : "");
}

static void
plan_row(const struct tool *t, struct table *table, const cJSON *plan)
{
	char buf[32], limits[1024], when[TOOL_TIME_MAX];

	table_add(table, tool_text(plan, "name", buf), TERM_PLAIN);
	table_add(table, tool_text(plan, "per", buf), TERM_PLAIN);
	describe_limits(plan, limits, sizeof(limits));
	table_add(table, limits, TERM_PLAIN);
	describe_age(plan, limits, sizeof(limits));
	table_add(table, limits, TERM_PLAIN);
	table_add(table, tool_text(plan, "keys", buf), TERM_PLAIN);
	tool_relative(t, plan, "changed", when);
	table_add(table, when, TERM_PLAIN);
}

/* "minute to min": which limits go on under another name, after a change. */
static void
describe_renames(const cJSON *plan, char *buf, size_t cap)
{
	const cJSON *m;
	size_t at = 0;
	int len;

	buf[0] = '\0';
	cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(plan, "renamed"))
	{
		len = snprintf(buf + at, cap - at, "%s%s to %s", at == 0 ? "" : ", ", m->string,
		    cJSON_IsString(m) ? m->valuestring : "?");
		if (len < 0 || (size_t)len >= cap - at)
			return;
		at += (size_t)len;
	}
}

static int
print_plan(const struct tool *t, const cJSON *plan, struct err *e)
{
	struct table *f = tool_fields(t);
	char buf[32], limits[1024], when[TOOL_TIME_MAX], scopes[2560];

	tool_field(f, "name", tool_text(plan, "name", buf), TERM_PLAIN);
	tool_field(f, "per", tool_text(plan, "per", buf), TERM_PLAIN);
	describe_limits(plan, limits, sizeof(limits));
	tool_field(f, "limits", limits, TERM_PLAIN);
	describe_renames(plan, limits, sizeof(limits));
	if (limits[0] != '\0')
		tool_field(f, "renamed", limits, TERM_PLAIN);
	tool_field(f, "scopes",
	    tool_join(
		cJSON_GetObjectItemCaseSensitive(plan, "scopes"), ", ", scopes, sizeof(scopes)),
	    TERM_PLAIN);
	describe_age(plan, limits, sizeof(limits));
	tool_field(f, "max age", limits, TERM_PLAIN);
	tool_field(f, "keys", tool_text(plan, "keys", buf), TERM_PLAIN);
	tool_exact(t, plan, "created", when);
	tool_field(f, "created", when, TERM_PLAIN);
	tool_exact(t, plan, "changed", when);
	tool_field(f, "changed", when, TERM_PLAIN);
	return tool_fields_end(&f, e);
}

/* The plan that is the result of an operation; takes it. */
static int
print_result(struct tool *t, cJSON *plan, struct err *e)
{
	int rc;

	if (plan == NULL)
		return -1;
	rc = t->json ? output_json(plan, e) : print_plan(t, plan, e);
	cJSON_Delete(plan);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_plan_set(struct tool *t, struct options *o, struct err *e)
{
	/* Forgetting --limit must not make a plan that limits nothing. */
	if (!cJSON_HasObjectItem(o->request, "limits"))
		return err_set(e, ERR_USAGE,
		    "--limit NAME=N/WINDOW is missing; a plan that limits nothing needs "
		    "--no-limits");
	return print_result(t, tool_change(t, "plan.set", o->request, e), e);
}

/* What cannot be the name of a plan names none: not found, and no malformed value. */
static int
check_name(const struct options *o, struct err *e)
{
	if (text_identifier(span_of(json_str(o->request, "name", NULL)), PLAN_NAME_MAX))
		return 0;
	return err_set(e, ERR_NOT_FOUND,
	    "there is no plan of that name; apikey plan list shows those there are");
}

int
cmd_plan_show(struct tool *t, struct options *o, struct err *e)
{
	if (check_name(o, e) == -1)
		return -1;
	return print_result(t, tool_ask(t, "plan.show", o->request, e), e);
}

int
cmd_plan_list(struct tool *t, struct options *o, struct err *e)
{
	static const struct table_column columns[] = {{"NAME", 0, 8}, {"PER", 0, 0},
	    {"LIMITS", 0, 16}, {"MAX AGE", 0, 0}, {"KEYS", 1, 0}, {"CHANGED", 0, 0}};
	static const struct tool_list list = {.op = "plan.list",
	    .array = "plans",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = plan_row,
	    .none = "There are no plans."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

int
cmd_plan_remove(struct tool *t, struct options *o, struct err *e)
{
	char buf[32];
	cJSON *result;
	int rc = 0;

	if (check_name(o, e) == -1 ||
	    (result = tool_change(t, "plan.remove", o->request, e)) == NULL)
		return -1;
	if (t->json)
		rc = output_json(result, e);
	else
		printf("plan %s is removed\n", tool_text(o->request, "name", buf));
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}
