/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey audit: the trail of changes, oldest first.  Verifying it is audit_verify.c's, waiting for
 * more of it audit_follow.c's.
 */

#include <pwd.h>
#include <stdio.h>

#include "apikey/audit.h"
#include "apikey/commands.h"
#include "apikey/table.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/span.h"
#include "core/token.h"

const struct table_column audit_columns[AUDIT_COLUMNS] = {{"SEQ", 1, 0}, {"WHEN", 0, 0},
    {"FROM", 0, 0}, {"WHO", 0, 6}, {"WHAT", 0, 0}, {"SUBJECT", 0, TOKEN_ID_LEN}, {"DETAIL", 0, 8}};

struct text {
	char *p;
	size_t at, cap;
};

/* 0, or -1 when it is full; then it ends behind what was whole. */
static int
put(struct text *t, const char *s)
{
	int n = snprintf(t->p + t->at, t->cap - t->at, "%s", s);

	if (n < 0 || (size_t)n >= t->cap - t->at) {
		t->p[t->at] = '\0';
		return -1;
	}
	t->at += (size_t)n;
	return 0;
}

static int
put_value(struct text *t, const cJSON *m)
{
	char value[512];

	if (cJSON_IsString(m))
		return put(t, m->valuestring);
	if (m == NULL || cJSON_IsNull(m))
		return put(t, "none");
	return json_print(m, value, sizeof(value)) > 0 ? put(t, value) : put(t, "...");
}

/* "plan=gold", "plan=silver->gold", "name=web->none". */
static int
put_member(struct text *t, const cJSON *m)
{
	const cJSON *from = cJSON_GetObjectItemCaseSensitive(m, "from");
	const cJSON *to = cJSON_GetObjectItemCaseSensitive(m, "to");

	if (put(t, t->at == 0 ? "" : " ") != 0 || put(t, m->string) != 0 || put(t, "=") != 0)
		return -1;
	if (!cJSON_IsObject(m) || from == NULL || to == NULL)
		return put_value(t, m);
	if (!cJSON_IsNull(from) && (put_value(t, from) != 0 || put(t, "->") != 0))
		return -1;
	return put_value(t, to);
}

/* What an entry adds, for people; exact with --json. */
static void
describe(const cJSON *detail, char *buf, size_t cap)
{
	struct text t = {.p = buf, .cap = cap};
	const cJSON *m;

	buf[0] = '\0';
	cJSON_ArrayForEach(m, detail)
	{
		if (put_member(&t, m) != 0)
			return;
	}
}

/* Where it came from: an address, or the process and how it came. */
static const char *
origin(const cJSON *entry, char *buf, size_t cap)
{
	const char *address = json_str(entry, "address", NULL);
	const char *via = json_str(entry, "via", NULL);
	char pid[32];
	int n;

	if (address != NULL)
		return address;
	n = snprintf(buf, cap, "%s %s", via != NULL ? via : "", tool_text(entry, "pid", pid));
	return n > 0 && (size_t)n < cap ? buf : "";
}

/* The keeper knows the names of those who may administer; of others we may know more. */
static const char *
who(const cJSON *entry, char buf[32])
{
	const char *actor = tool_text(entry, "actor", buf);
	const struct passwd *pw;
	unsigned long long uid;

	if (span_u64(span_of(actor), UINT32_MAX, &uid) != 0 || (pw = getpwuid((uid_t)uid)) == NULL)
		return actor;
	return pw->pw_name;
}

static void
row_with(const char *when, struct table *table, const cJSON *entry)
{
	const char *error = json_str(entry, "error", NULL);
	char buf[32], from[64], what[160], detail[2048];
	int damaged = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(entry, "damaged"));
	int n = snprintf(what, sizeof(what), "%s%s%s%s", tool_text(entry, "op", buf),
	    error != NULL ? " (" : "", error != NULL ? error : "", error != NULL ? ")" : "");

	table_add(table, tool_text(entry, "seq", buf), TERM_DIM);
	table_add(table, when, TERM_PLAIN);
	table_add(table, origin(entry, from, sizeof(from)), TERM_PLAIN);
	table_add(table, who(entry, buf), TERM_PLAIN);
	table_add(table,
	    damaged ? "(damaged)"
	    : n < 0 ? ""
		    : what,
	    damaged || error != NULL ? TERM_RED : TERM_PLAIN);
	table_add(table, tool_text(entry, "subject", buf), TERM_PLAIN);
	describe(cJSON_GetObjectItemCaseSensitive(entry, "detail"), detail, sizeof(detail));
	table_add(table, detail, TERM_PLAIN);
}

static void
row(const struct tool *t, struct table *table, const cJSON *entry)
{
	char when[TOOL_TIME_MAX];

	tool_relative(t, entry, "time", when);
	row_with(when, table, entry);
}

void
audit_row(struct table *table, const cJSON *entry)
{
	const char *when = json_str(entry, "time", NULL);

	row_with(when != NULL ? when : "", table, entry);
}

static int
list(struct tool *t, struct options *o, struct err *e)
{
	static const struct tool_list list = {.op = "audit.list",
	    .array = "entries",
	    .columns = audit_columns,
	    .ncolumns = AUDIT_COLUMNS,
	    .row = row,
	    .none = "There are no such entries."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

int
cmd_audit(struct tool *t, struct options *o, struct err *e)
{
	const char *expect = options_local_text(o, "expect");

	if (expect != NULL && !options_local(o, "verify"))
		return err_set(e, ERR_USAGE, "--expect is for --verify");
	if (!options_local(o, "verify"))
		return options_local(o, "follow") ? audit_follow(t, o->request, e) : list(t, o, e);
	if (options_local(o, "follow") || o->request->child != NULL)
		return err_set(
		    e, ERR_USAGE, "--verify looks at all of the trail: without other options");
	return audit_verify(t, expect, e);
}
