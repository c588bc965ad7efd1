/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db stat, compact: what the store's owner does by itself, asked for.
 *
 * stat shows the figures that the store tells, whatever they are.  Units are in their names, and
 * decide how they are shown: _bytes as sizes, _us as durations.  A new figure needs nothing here.
 *
 * Invariant: nothing here opens a file of the store.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/table.h"
#include "base/json.h"

static void
format_us(double us, char *buf, size_t cap)
{
	if (us < 1000)
		(void)snprintf(buf, cap, "%.0f us", us);
	else if (us < 1000000)
		(void)snprintf(buf, cap, "%.1f ms", us / 1000);
	else
		(void)snprintf(buf, cap, "%.1f s", us / 1000000);
}

/* Is ${unit} how ${name} ends?  Then it is cut off. */
static int
cut_unit(char *name, const char *unit)
{
	size_t n = strlen(name), u = strlen(unit);

	if (n <= u || strcmp(name + n - u, unit) != 0)
		return 0;
	name[n - u] = '\0';
	return 1;
}

static void
figure(const struct tool *t, struct table *f, const cJSON *stat, const cJSON *m)
{
	char label[64], value[TOOL_TIME_MAX], buf[32], *p;

	if (snprintf(label, sizeof(label), "%s", m->string) >= (int)sizeof(label))
		return;
	tool_exact(t, stat, m->string, value);
	if (cJSON_IsBool(m))
		(void)snprintf(value, sizeof(value), "%s", cJSON_IsTrue(m) ? "yes" : "no");
	else if (cJSON_IsNumber(m) && cut_unit(label, "_bytes"))
		(void)progress_bytes((uint64_t)m->valuedouble, value);
	else if (cJSON_IsNumber(m) && cut_unit(label, "_us"))
		format_us(m->valuedouble, value, sizeof(value));
	else if (value[0] == '\0')
		(void)snprintf(value, sizeof(value), "%.90s", tool_text(stat, m->string, buf));
	for (p = label; *p != '\0'; p++) {
		if (*p == '_')
			*p = ' ';
	}
	tool_field(f, label, value, TERM_PLAIN);
}

int
cmd_db_stat(struct tool *t, struct options *o, struct err *e)
{
	cJSON *stat = tool_ask(t, "db.stat", o->request, e);
	struct table *f;
	const cJSON *m;
	int rc;

	if (stat == NULL)
		return -1;
	if (t->json) {
		rc = output_json(stat, e);
	} else {
		f = tool_fields(t);
		cJSON_ArrayForEach(m, stat)
		{
			figure(t, f, stat, m);
		}
		rc = tool_fields_end(&f, e);
	}
	cJSON_Delete(stat);
	return rc == 0 ? TOOL_DONE : -1;
}

/* ---- compact ---- */

/* Slice after slice; *pages given back. */
static int
compact(struct tool *t, cJSON *request, struct progress *p, double *pages, struct err *e)
{
	cJSON *result, *next;
	uint64_t slices = 0;
	int more = 1;

	while (more) {
		if (!cJSON_HasObjectItem(request, "op"))
			cJSON_AddStringToObject(request, "op", "db.compact");
		if ((result = session_call(t->session, SESSION_CHANGES, request, e)) == NULL)
			return -1;
		*pages += json_int(result, "pages", 0, 0, INT64_MAX, NULL);
		next = cJSON_DetachItemFromObjectCaseSensitive(result, "next");
		cJSON_Delete(result);
		more = cJSON_IsString(next);
		cJSON_DeleteItemFromObjectCaseSensitive(request, "next");
		if (!more || !cJSON_AddItemToObject(request, "next", next))
			cJSON_Delete(next);
		progress_at(
		    p, "%llu slices, %.0f pages given back", (unsigned long long)++slices, *pages);
	}
	return 0;
}

int
cmd_db_compact(struct tool *t, struct options *o, struct err *e)
{
	struct progress p;
	double pages = 0;
	cJSON *result;
	int rc;

	progress_begin(&p);
	rc = compact(t, o->request, &p, &pages, e);
	progress_end(&p);
	session_rest(t->session);
	if (rc != 0)
		return -1;
	if (!t->json) {
		printf("%.0f pages given back to the file system\n", pages);
		return TOOL_DONE;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "pages", pages);
	rc = output_json(result, e);
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}
