/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey check: what would be decided of a request, step by step, counting nothing.  The key comes
 * from standard input; the keeper runs the very steps that it runs for a worker.
 *
 * Invariant: admitted is what says `ok`; a reply without a code is a refusal.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/keyin.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

/* Put the key from standard input into the request. */
static int
add_key(cJSON *request, struct err *e)
{
	char key[KEYIN_MAX + 1];
	int rc = 0;

	if (keyin_read(key, e) == -1)
		return -1;
	if (!text_printable(span_of(key)))
		rc = err_set(e, ERR_INPUT, "standard input holds characters that no key has");
	else if (cJSON_AddStringToObject(request, "key", key) == NULL)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	secret_wipe(key, sizeof(key));
	return rc;
}

static int
print_steps(const struct tool *t, const cJSON *steps, struct err *e)
{
	static const struct table_column columns[] = {
	    {.title = NULL}, {.title = NULL}, {.title = NULL}};
	struct table *table = table_new(stdout, &t->term, columns, 3);
	const cJSON *step;
	char buf[32];
	int passed, rc;

	if (table == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	cJSON_ArrayForEach(step, steps)
	{
		passed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(step, "passed"));
		if (t->term.utf8)
			table_add(table, passed ? "\342\234\223" : "\342\234\227",
			    passed ? TERM_GREEN : TERM_RED);
		else
			table_add(table, passed ? "ok" : "no", passed ? TERM_GREEN : TERM_RED);
		table_add(table, tool_text(step, "step", buf), TERM_PLAIN);
		table_add(table, tool_text(step, "detail", buf), TERM_PLAIN);
	}
	rc = table_flush(table);
	table_free(&table);
	return rc == 0 ? 0 : err_set(e, ERR_SYSTEM, "out of memory");
}

static int
print_decision(const struct tool *t, const cJSON *d, int admitted, struct err *e)
{
	char code[32], status[32], detail[32], text[160];
	struct table *f;

	if (print_steps(t, cJSON_GetObjectItemCaseSensitive(d, "steps"), e) == -1)
		return -1;
	(void)snprintf(text, sizeof(text), "%s (%.64s, status %.16s)",
	    admitted ? "admitted" : "refused", tool_text(d, "code", code),
	    tool_text(d, "status", status));
	printf("\n%s%s%s\n", term_on(&t->term, admitted ? TERM_GREEN : TERM_RED), text,
	    term_off(&t->term, admitted ? TERM_GREEN : TERM_RED));
	f = tool_fields(t);
	tool_field(f, "detail", tool_text(d, "detail", detail), TERM_PLAIN);
	tool_field(f, "id", tool_text(d, "id", detail), TERM_PLAIN);
	tool_field(f, "owner", tool_text(d, "owner", detail), TERM_PLAIN);
	tool_field(f, "plan", tool_text(d, "plan", detail), TERM_PLAIN);
	if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(d, "retry_after"))) {
		(void)snprintf(text, sizeof(text), "%.20s s", tool_text(d, "retry_after", detail));
		tool_field(f, "retry after", text, TERM_PLAIN);
	}
	if (tool_fields_end(&f, e) == -1)
		return -1;
	return tool_limits(t, cJSON_GetObjectItemCaseSensitive(d, "limits"), e);
}

int
cmd_check(struct tool *t, struct options *o, struct err *e)
{
	cJSON *decision;
	const char *code;
	int admitted, rc;

	if (add_key(o->request, e) == -1)
		return -1;
	if ((decision = tool_ask(t, "key.check", o->request, e)) == NULL)
		return -1;
	code = json_str(decision, "code", NULL);
	admitted = code != NULL && strcmp(code, "ok") == 0;
	rc = t->json ? output_json(decision, e) : print_decision(t, decision, admitted, e);
	cJSON_Delete(decision);
	if (rc == -1)
		return -1;
	return admitted ? TOOL_DONE : TOOL_REFUSED;
}
