/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey check: what would be decided of a request, step by step, counting nothing.  The key comes
 * from standard input, or --id says which it is.  First the steps of a worker are walked here, then
 * the keeper runs those that it runs for a worker.
 *
 * Invariant: admitted is what says `ok`; a reply without a code is a refusal.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/asked.h"
#include "apikey/commands.h"
#include "apikey/keyin.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"
#include "core/token.h"

#define SCOPES_SHOWN 4096 /* bytes of them, on a terminal */

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
	char code[32], status[32], detail[32], text[160], scopes[SCOPES_SHOWN];
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
	tool_field(f, "scopes",
	    tool_join(cJSON_GetObjectItemCaseSensitive(d, "scopes"), ", ", scopes, sizeof(scopes)),
	    TERM_PLAIN);
	if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(d, "retry_after"))) {
		(void)snprintf(text, sizeof(text), "%.20s s", tool_text(d, "retry_after", detail));
		tool_field(f, "retry after", text[0] == '-' ? "never: it costs too much" : text,
		    TERM_PLAIN);
	}
	if (tool_fields_end(&f, e) == -1)
		return -1;
	return tool_limits(t, cJSON_GetObjectItemCaseSensitive(d, "limits"), e);
}

/* The decision of a worker that does not ask the keeper. */
static cJSON *
refused_by_worker(enum verdict verdict)
{
	const struct verdict_info *v = verdict_info(verdict);
	cJSON *d = cJSON_CreateObject();

	cJSON_AddStringToObject(d, "code", v->code);
	cJSON_AddNumberToObject(d, "status", v->status);
	cJSON_AddStringToObject(d, "title", v->title);
	cJSON_AddStringToObject(d, "detail", v->detail);
	cJSON_AddArrayToObject(d, "steps");
	cJSON_AddArrayToObject(d, "limits");
	cJSON_AddNullToObject(d, "retry_after");
	return d;
}

/* The worker's steps before those of the keeper, who looks at form and checksum once more. */
static void
put_first(cJSON *decision, cJSON *steps)
{
	const cJSON *step;

	cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(decision, "steps"))
	{
		const char *name = json_str(step, "step", NULL);

		if (name != NULL && strcmp(name, "form") != 0 && strcmp(name, "checksum") != 0)
			cJSON_AddItemToArray(steps, cJSON_Duplicate(step, 1));
	}
	if (!cJSON_ReplaceItemInObjectCaseSensitive(decision, "steps", steps))
		cJSON_Delete(steps);
}

/* The keeper is not asked what a worker refuses; but whoever names a key is told that there is
 * none. */
static int
check_there(struct tool *t, const char *id, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *record = NULL;

	if (cJSON_AddStringToObject(request, "id", id) != NULL)
		record = tool_ask(t, "key.show", request, e);
	else
		err_set(e, ERR_SYSTEM, "out of memory");
	cJSON_Delete(request);
	cJSON_Delete(record);
	return record != NULL ? 0 : -1;
}

/* ${key}: NULL when the request names it by its id. */
static cJSON *
decide(struct tool *t, struct options *o, const char *key, struct err *e)
{
	cJSON *steps = cJSON_CreateArray(), *decision = NULL;
	enum verdict verdict;

	if (asked_walk(t->config, o, key, steps, &verdict, e) == -1)
		goto out;
	if (verdict != VERDICT_OK && key == NULL &&
	    check_there(t, json_str(o->request, "id", NULL), e) == -1)
		goto out;
	if (verdict != VERDICT_OK)
		decision = refused_by_worker(verdict);
	else if (key != NULL && cJSON_AddStringToObject(o->request, "key", key) == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	else
		decision = tool_ask(t, "key.check", o->request, e);
	if (decision == NULL)
		goto out;
	put_first(decision, steps);
	return decision;
out:
	cJSON_Delete(steps);
	return NULL;
}

static cJSON *
decide_by_key(struct tool *t, struct options *o, struct err *e)
{
	char key[KEYIN_MAX + 1];
	cJSON *decision = NULL;

	if (keyin_read(key, e) == -1)
		return NULL;
	if (text_printable(span_of(key)))
		decision = decide(t, o, key, e);
	else
		err_set(e, ERR_INPUT, "standard input holds characters that no key has");
	secret_wipe(key, sizeof(key));
	return decision;
}

static cJSON *
decide_by_id(struct tool *t, struct options *o, const char *id, struct err *e)
{
	/* Not repeated: somebody may have pasted a key. */
	if (token_id_ok(span_of(id)))
		return decide(t, o, NULL, e);
	err_set(e, ERR_NOT_FOUND,
	    "that is not the id of a key: an id is key_ and 16 letters or digits; apikey list "
	    "shows them");
	return NULL;
}

int
cmd_check(struct tool *t, struct options *o, struct err *e)
{
	const char *code, *id = json_str(o->request, "id", NULL);
	cJSON *decision;
	int admitted, rc;

	if (options_local(o, "http") && options_local(o, "https"))
		return err_set(e, ERR_USAGE, "--http and --https exclude each other");
	decision = id != NULL ? decide_by_id(t, o, id, e) : decide_by_key(t, o, e);
	if (decision == NULL)
		return -1;
	code = json_str(decision, "code", NULL);
	admitted = code != NULL && strcmp(code, "ok") == 0;
	rc = t->json ? output_json(decision, e) : print_decision(t, decision, admitted, e);
	cJSON_Delete(decision);
	if (rc == -1)
		return -1;
	return admitted ? TOOL_DONE : TOOL_REFUSED;
}
