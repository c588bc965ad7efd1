/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey audit: the trail of changes, oldest first.
 */

#include <stdio.h>

#include "apikey/commands.h"
#include "apikey/table.h"
#include "base/json.h"
#include "core/token.h"

/* "owner=acme plan=gold": what an entry adds, for people; exact with --json. */
static void
describe(const cJSON *detail, char *buf, size_t cap)
{
	char value[512];
	const cJSON *m;
	size_t at = 0;
	int n;

	buf[0] = '\0';
	cJSON_ArrayForEach(m, detail)
	{
		if (cJSON_IsString(m))
			n = snprintf(buf + at, cap - at, "%s%s=%s", at == 0 ? "" : " ", m->string,
			    m->valuestring);
		else if (json_print(m, value, sizeof(value)) > 0)
			n = snprintf(
			    buf + at, cap - at, "%s%s=%s", at == 0 ? "" : " ", m->string, value);
		else
			continue;
		if (n < 0 || (size_t)n >= cap - at)
			return;
		at += (size_t)n;
	}
}

static void
audit_row(const struct tool *t, struct table *table, const cJSON *entry)
{
	char buf[32], when[TOOL_TIME_MAX], detail[2048];

	table_add(table, tool_text(entry, "seq", buf), TERM_DIM);
	tool_relative(t, entry, "time", when);
	table_add(table, when, TERM_PLAIN);
	table_add(table, tool_text(entry, "actor", buf), TERM_PLAIN);
	table_add(table, tool_text(entry, "op", buf), TERM_PLAIN);
	table_add(table, tool_text(entry, "subject", buf), TERM_PLAIN);
	describe(cJSON_GetObjectItemCaseSensitive(entry, "detail"), detail, sizeof(detail));
	table_add(table, detail, TERM_PLAIN);
}

int
cmd_audit(struct tool *t, struct options *o, struct err *e)
{
	static const struct table_column columns[] = {{"SEQ", 1, 0}, {"WHEN", 0, 0}, {"WHO", 0, 6},
	    {"WHAT", 0, 0}, {"SUBJECT", 0, TOKEN_ID_LEN}, {"DETAIL", 0, 8}};
	static const struct tool_list list = {.op = "audit.list",
	    .array = "entries",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = audit_row,
	    .none = "There are no such entries."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}
