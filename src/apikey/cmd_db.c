/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db stat: the figures that the store tells, whatever they are.  Units are in their names,
 * and decide how they are shown: _bytes as sizes, _us as durations.  A new figure needs nothing
 * here.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/table.h"

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
