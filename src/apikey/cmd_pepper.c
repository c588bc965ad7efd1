/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey pepper add, list.  Adding is the one thing that the tool does to a file itself, under its
 * own name: the pepper file may be in a directory that the service user cannot write to, and it
 * must be there before a first keeper can start.
 *
 * Invariant: the file belongs to the service user when root made it, so that the keeper can read
 * it.
 */

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/service.h"
#include "apikey/table.h"
#include "base/json.h"
#include "keeper/peppers.h"

static int
make_directory_of(const char *file, const struct service *service, struct err *e)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s", file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_USAGE, "pepper_file is too long a path");
	return service_make_dir(service, dirname(path), 0755, 0, e);
}

/* Let a running keeper take the file up: 1, 0 when none runs, -1. */
static int
reload(struct tool *t, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int rc;

	if (cJSON_AddStringToObject(request, "op", "pepper.reload") == NULL)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = session_call_keeper(t->session, SESSION_CHANGES, request, &result, e);
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static int
report(const struct tool *t, unsigned version, int reloaded, struct err *e)
{
	const char *file = t->config->pepper_file;
	cJSON *o;
	int rc;

	if (!t->json) {
		printf("pepper %u is in %s%s\n", version, file,
		    reloaded ? "; the keeper uses it for keys made from now on" : "");
		return 0;
	}
	o = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(o, "version", version) == NULL ||
	    cJSON_AddStringToObject(o, "file", file) == NULL ||
	    cJSON_AddBoolToObject(o, "reloaded", reloaded) == NULL)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

int
cmd_pepper_add(struct tool *t, struct options *o, struct err *e)
{
	struct service service;
	uint32_t version;
	int reloaded;

	(void)o;
	if (service_find(t->config, &service, e) == -1)
		return -1;
	if (make_directory_of(t->config->pepper_file, &service, e) == -1 ||
	    peppers_add(t->config->pepper_file, service.uid, service.gid, &version, e) == -1)
		return geteuid() == 0 || e->code != ERR_SYSTEM
			   ? -1
			   : err_wrap(e, "this needs root or the user %s", t->config->user);
	if ((reloaded = reload(t, e)) == -1)
		return err_wrap(e, "pepper %u is in %s, but the running keeper did not take it up",
		    (unsigned)version, t->config->pepper_file);
	return report(t, version, reloaded, e) == 0 ? TOOL_DONE : -1;
}

static void
pepper_row(const struct tool *t, struct table *table, const cJSON *pepper)
{
	int newest = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pepper, "newest"));
	const char *keys;
	char buf[32];

	(void)t;
	table_add(table, tool_text(pepper, "version", buf), TERM_PLAIN);
	/* A large store is not counted: null. */
	keys = tool_text(pepper, "keys", buf);
	table_add(table, keys[0] == '\0' ? "many" : keys, TERM_PLAIN);
	table_add(table, newest ? "new keys" : "", TERM_GREEN);
}

int
cmd_pepper_list(struct tool *t, struct options *o, struct err *e)
{
	static const struct table_column columns[] = {
	    {"VERSION", 1, 0}, {"KEYS", 1, 0}, {"USED FOR", 0, 0}};
	static const struct tool_list list = {.op = "pepper.list",
	    .array = "peppers",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = pepper_row,
	    .none = "There are no peppers."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}
