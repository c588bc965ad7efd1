/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the subcommands of the admin tool share: asking the keeper, walking a paged list, printing
 * labelled values and times.  It knows the frame of requests and results, not what is in them.
 *
 * Results come from the keeper and are read defensively: a member that is absent or of another type
 * is shown as nothing.
 *
 * Invariant: a list ends; a page whose "next" is where it began is an error and not asked for
 * again.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/tool.h"
#include "base/clock.h"
#include "base/json.h"

#define GATHERED_BYTES 1048576 /* of a list are written at once: some thousand rows */

enum tool_exit
tool_exit_of(enum err_code code)
{
	static const enum tool_exit exits[ERR_CODES] = {[ERR_NONE] = TOOL_DONE,
	    [ERR_USAGE] = TOOL_USAGE,
	    [ERR_INPUT] = TOOL_USAGE,
	    [ERR_NOT_FOUND] = TOOL_REFUSED,
	    [ERR_CONFLICT] = TOOL_REFUSED,
	    [ERR_DENIED] = TOOL_REFUSED,
	    [ERR_BUSY] = TOOL_STORE,
	    [ERR_UNAVAILABLE] = TOOL_STORE,
	    [ERR_FULL] = TOOL_STORE,
	    [ERR_CORRUPT] = TOOL_STORE,
	    [ERR_VERSION] = TOOL_STORE,
	    [ERR_SYSTEM] = TOOL_STORE,
	    [ERR_INTERNAL] = TOOL_STORE};

	return (unsigned)code < ERR_CODES ? exits[code] : TOOL_STORE;
}

static cJSON *
call(struct tool *t, enum session_kind kind, const char *op, cJSON *request, struct err *e)
{
	cJSON_DeleteItemFromObjectCaseSensitive(request, "op");
	if (cJSON_AddStringToObject(request, "op", op) == NULL) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	return session_call(t->session, kind, request, e);
}

/* What follows is printed, and who reads it may take his time: others want the store. */
static cJSON *
call_and_rest(struct tool *t, enum session_kind kind, const char *op, cJSON *request, struct err *e)
{
	cJSON *result = call(t, kind, op, request, e);

	session_rest(t->session);
	return result;
}

cJSON *
tool_ask(struct tool *t, const char *op, cJSON *request, struct err *e)
{
	return call_and_rest(t, SESSION_READS, op, request, e);
}

cJSON *
tool_change(struct tool *t, const char *op, cJSON *request, struct err *e)
{
	return call_and_rest(t, SESSION_CHANGES, op, request, e);
}

/* Make the result's "next" the request's "after": 1; 0 when the list has ended; -1. */
static int
next_page(cJSON *request, cJSON *result, struct err *e)
{
	cJSON *next = cJSON_DetachItemFromObjectCaseSensitive(result, "next");

	if (next == NULL || cJSON_IsNull(next)) {
		cJSON_Delete(next);
		return 0;
	}
	if (cJSON_Compare(next, cJSON_GetObjectItemCaseSensitive(request, "after"), 1)) {
		cJSON_Delete(next);
		return err_set(e, ERR_INTERNAL, "the keeper's list does not go on");
	}
	cJSON_DeleteItemFromObjectCaseSensitive(request, "after");
	if (!cJSON_AddItemToObject(request, "after", next)) {
		cJSON_Delete(next);
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	return 1;
}

/*
 * Output that is gathered, so that the store is held for as long as it takes to read from it and
 * not for as long as somebody takes to read what is printed.
 */
struct gathered {
	FILE *stream;
	char *text; /* of ${len} bytes, once the stream was flushed */
	size_t len;
	size_t looked_at; /* items of the list, those that did not fit included */
	struct progress progress;
};

static int
gather_page(struct tool *t, const struct tool_list *list, struct table *table, const cJSON *items,
    struct gathered *g, size_t *count, struct err *e)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, items)
	{
		(*count)++;
		if (!t->json)
			list->row(t, table, item);
		else if (output_json_stream(g->stream, item, e) == -1)
			return -1;
	}
	return table_flush(table) == -1 ? err_set(e, ERR_SYSTEM, "out of memory") : 0;
}

static int
write_gathered(struct tool *t, struct gathered *g, struct err *e)
{
	if (fflush(g->stream) == EOF || ferror(g->stream))
		return err_set(e, ERR_SYSTEM, "out of memory");
	session_rest(t->session);
	progress_end(&g->progress);
	if (output_bytes(g->text, g->len, e) == -1)
		return -1;
	rewind(g->stream);
	return 0;
}

/* How far a list is, for a person who waits. */
static void
show_progress(struct gathered *g, const cJSON *result, size_t count)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(result, "looked_at");

	g->looked_at += cJSON_IsNumber(n) && n->valuedouble > 0 ? (size_t)n->valuedouble : 0;
	progress_at(&g->progress, "%zu looked at, %zu found", g->looked_at, count);
}

/* One page: 1 when there are more, 0, -1. */
static int
list_page(struct tool *t, const struct tool_list *list, struct table *table, cJSON *request,
    struct gathered *g, size_t *count, struct err *e)
{
	cJSON *result = call(t, list->kind, list->op, request, e);
	int more;

	if (result == NULL)
		return -1;
	more = gather_page(
	    t, list, table, cJSON_GetObjectItemCaseSensitive(result, list->array), g, count, e);
	show_progress(g, result, *count);
	if (more == 0)
		more = next_page(request, result, e);
	cJSON_Delete(result);
	if (more == 0 || (more == 1 && ftello(g->stream) >= GATHERED_BYTES))
		return write_gathered(t, g, e) == -1 ? -1 : more;
	return more;
}

int
tool_list(struct tool *t, const struct tool_list *list, cJSON *request, struct err *e)
{
	struct gathered g = {.stream = NULL};
	struct table *table = NULL;
	size_t count = 0;
	int more = 1;

	progress_begin(&g.progress);
	if ((g.stream = open_memstream(&g.text, &g.len)) == NULL ||
	    (table = table_new(g.stream, &t->term, list->columns, list->ncolumns)) == NULL)
		more = err_set(e, ERR_SYSTEM, "out of memory");
	while (more == 1)
		more = list_page(t, list, table, request, &g, &count, e);
	progress_end(&g.progress);
	table_free(&table);
	if (g.stream != NULL)
		(void)fclose(g.stream);
	free(g.text);
	if (list->count != NULL)
		*list->count = count;
	if (more == 0 && count == 0 && t->term.columns != 0 && !t->json)
		fprintf(stderr, "%s\n", list->none);
	return more;
}

struct table *
tool_fields(const struct tool *t)
{
	static const struct table_column columns[] = {{.title = NULL}, {.title = NULL}};

	return table_new(stdout, &t->term, columns, 2);
}

void
tool_field(struct table *table, const char *label, const char *value, enum term_colour colour)
{
	if (table == NULL || value == NULL || value[0] == '\0')
		return;
	table_add(table, label, TERM_DIM);
	table_add(table, value, colour);
}

int
tool_fields_end(struct table **table, struct err *e)
{
	int rc = *table == NULL ? -1 : table_flush(*table);

	table_free(table);
	return rc == 0 ? 0 : err_set(e, ERR_SYSTEM, "out of memory");
}

/* The time of a member; 0 when it is not there. */
static int
get_time(const cJSON *o, const char *member, int64_t *us)
{
	const char *text = json_str(o, member, NULL);

	return text != NULL && clock_rfc3339_parse(text, us) == 0;
}

void
tool_relative(const struct tool *t, const cJSON *o, const char *member, char out[TOOL_TIME_MAX])
{
	int64_t us;

	out[0] = '\0';
	if (get_time(o, member, &us))
		clock_relative(us, t->now_us, out, TOOL_TIME_MAX);
}

int
tool_is_over(const struct tool *t, const cJSON *o, const char *member)
{
	int64_t us;

	return get_time(o, member, &us) && us <= t->now_us;
}

void
tool_exact(const struct tool *t, const cJSON *o, const char *member, char out[TOOL_TIME_MAX])
{
	char exact[21], relative[48];
	int64_t us;
	int n;

	out[0] = '\0';
	if (!get_time(o, member, &us))
		return;
	clock_rfc3339(us, exact);
	clock_relative(us, t->now_us, relative, sizeof(relative));
	n = snprintf(out, TOOL_TIME_MAX, "%s (%s)", exact, relative);
	if (n < 0 || n >= TOOL_TIME_MAX)
		out[0] = '\0';
}

const char *
tool_join(const cJSON *array, const char *separator, char *buf, size_t cap)
{
	const cJSON *item;
	const char *text;
	size_t at = 0;
	int n;

	buf[0] = '\0';
	cJSON_ArrayForEach(item, array)
	{
		if ((text = cJSON_GetStringValue(item)) == NULL)
			continue;
		n = snprintf(buf + at, cap - at, "%s%s", at == 0 ? "" : separator, text);
		if (n < 0 || (size_t)n >= cap - at)
			break;
		at += (size_t)n;
	}
	return buf;
}

const char *
tool_text(const cJSON *o, const char *member, char buf[32])
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, member);

	buf[0] = '\0';
	if (cJSON_IsString(item))
		return item->valuestring;
	if (cJSON_IsNumber(item) && snprintf(buf, 32, "%.0f", item->valuedouble) >= 32)
		buf[0] = '\0';
	return buf;
}

/* A duration member, seconds or text, as "1d"; "" when it is absent or nothing. */
static void
duration_text(const cJSON *o, const char *member, char *out, size_t cap)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, member);

	out[0] = '\0';
	if (cJSON_IsString(n) && snprintf(out, cap, "%s", n->valuestring) >= (int)cap)
		out[0] = '\0';
	if (cJSON_IsNumber(n) && n->valuedouble > 0 && n->valuedouble < 1e12)
		clock_duration_format((int64_t)n->valuedouble * CLOCK_SECOND, out, cap);
}

static void
limit_row(struct table *table, const cJSON *limit)
{
	int dry_run = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(limit, "dry_run"));
	char buf[32], window[32], allowed[80];
	const char *left = tool_text(limit, "remaining", buf);
	enum term_colour colour = strcmp(left, "0") == 0 ? TERM_RED : TERM_GREEN;
	int n;

	table_add(table, left, colour);
	duration_text(limit, "window", window, sizeof(window));
	n = snprintf(
	    allowed, sizeof(allowed), "of %s in %s", tool_text(limit, "limit", buf), window);
	table_add(table, n < 0 ? "" : allowed, TERM_PLAIN);
	duration_text(limit, "reset", window, sizeof(window));
	table_add(table, window, TERM_PLAIN);
	table_add(table, dry_run ? "dry run" : "", TERM_YELLOW);
}

int
tool_limits(const struct tool *t, const cJSON *limits, struct err *e)
{
	static const struct table_column columns[] = {
	    {"LIMIT", 0, 0}, {"LEFT", 1, 0}, {"ALLOWED", 0, 0}, {"MORE IN", 0, 0}, {"", 0, 0}};
	struct table *table;
	const cJSON *limit;
	char buf[32];
	int rc;

	if (cJSON_GetArraySize(limits) == 0)
		return 0;
	if ((table = table_new(stdout, &t->term, columns, 5)) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	cJSON_ArrayForEach(limit, limits)
	{
		table_add(table, tool_text(limit, "name", buf), TERM_PLAIN);
		limit_row(table, limit);
	}
	putchar('\n');
	rc = table_flush(table);
	table_free(&table);
	return rc == 0 ? 0 : err_set(e, ERR_SYSTEM, "out of memory");
}
