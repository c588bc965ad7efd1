/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey pepper add, list, retire.  Changing the pepper file is the one thing that the tool does to
 * a file itself, under its own name: it may be in a directory that the service user cannot write
 * to, and it must be there before a first keeper can start.
 *
 * Invariants: the file belongs to the service user when root made it, so that the keeper can read
 * it; a pepper is taken out of it only when the store knows that it is retired.
 */

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/service.h"
#include "apikey/table.h"
#include "base/json.h"
#include "keeper/peppers.h"
#include "keeper/storekey.h"

static int
make_directory_of(const char *file, const struct service *service, struct err *e)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s", file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_USAGE, "pepper_file is too long a path");
	return service_make_dir(service, dirname(path), 0755, 0, e);
}

/* Have a running keeper do ${op}: 1 and the result, 0 when none runs, -1. */
static int
ask_keeper(struct tool *t, const char *op, cJSON **result, struct err *e)
{
	cJSON *request = cJSON_CreateObject();
	int rc;

	*result = NULL;
	if (cJSON_AddStringToObject(request, "op", op) == NULL)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = session_call_keeper(t->session, SESSION_CHANGES, request, result, e);
	cJSON_Delete(request);
	return rc;
}

static int
is_credential(const cJSON *result)
{
	const char *source = json_str(result, "source", NULL);

	return source != NULL && strcmp(source, "credential") == 0;
}

/* A keeper that reads systemd's credential would never see what is written to the file. */
static int
refuse_credential(struct tool *t, struct err *e)
{
	cJSON *result;
	int rc = ask_keeper(t, "pepper.list", &result, NULL), credential = is_credential(result);
	const cJSON *newest =
	    cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(result, "peppers"), 0);
	char buf[32] = "";
	unsigned long next = 0;

	if (rc == 1 && credential)
		next = strtoul(tool_text(newest, "version", buf), NULL, 10) + 1;
	cJSON_Delete(result);
	if (next == 0)
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "the keeper has its peppers from systemd's credential \"peppers\", which cannot be "
	    "written; append the line \"%lu $(openssl rand -hex 32)\" to what the credential is "
	    "made from, and restart the service",
	    next);
}

/*
 * Let a running keeper take the file up: 1, 0 when none runs, -1.  A version that the store knows
 * as retired is not used: then the next one has to be made.
 */
static int
reload(struct tool *t, unsigned version, struct err *e)
{
	cJSON *result;
	int64_t newest;
	int rc = ask_keeper(t, "pepper.reload", &result, e);

	newest = json_int(result, "newest", version, 0, UINT32_MAX, NULL);
	cJSON_Delete(result);
	if (rc != 1 || newest == version)
		return rc;
	return err_set(e, ERR_CONFLICT,
	    "the newest in use is %lld: this version was retired before; run apikey pepper add "
	    "again",
	    (long long)newest);
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
	if (service_find(t->config, &service, e) == -1 || refuse_credential(t, e) == -1)
		return -1;
	if (make_directory_of(t->config->pepper_file, &service, e) == -1 ||
	    (t->config->encrypt_store &&
		storekey_add(t->config->pepper_file, service.uid, service.gid, e) == -1) ||
	    peppers_add(t->config->pepper_file, service.uid, service.gid, &version, e) == -1)
		return geteuid() == 0 || e->code != ERR_SYSTEM
			   ? -1
			   : err_wrap(e, "this needs root or the user %s", t->config->user);
	if ((reloaded = reload(t, version, e)) == -1)
		return err_wrap(e, "pepper %u is in %s, but the running keeper did not take it up",
		    (unsigned)version, t->config->pepper_file);
	return report(t, version, reloaded, e) == 0 ? TOOL_DONE : -1;
}

static void
pepper_row(const struct tool *t, struct table *table, const cJSON *pepper)
{
	int newest = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pepper, "newest"));
	int in_use = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pepper, "in_use"));
	char buf[32];

	(void)t;
	table_add(table, tool_text(pepper, "version", buf), TERM_PLAIN);
	table_add(table, tool_text(pepper, "keys", buf), TERM_PLAIN);
	table_add(table, tool_text(pepper, "previous", buf), TERM_PLAIN);
	table_add(table, tool_text(pepper, "revoked", buf), TERM_PLAIN);
	if (newest)
		table_add(table, "new keys", TERM_GREEN);
	else
		table_add(table, in_use ? "" : "nothing: it is gone", TERM_YELLOW);
}

int
cmd_pepper_list(struct tool *t, struct options *o, struct err *e)
{
	static const struct table_column columns[] = {{"VERSION", 1, 0}, {"KEYS", 1, 0},
	    {"OLD SECRETS", 1, 0}, {"REVOKED", 1, 0}, {"USED FOR", 0, 0}};
	static const struct tool_list list = {.op = "pepper.list",
	    .array = "peppers",
	    .columns = columns,
	    .ncolumns = sizeof(columns) / sizeof(columns[0]),
	    .row = pepper_row,
	    .none = "There are no peppers."};

	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

/* ---- retire ---- */

/* What became of it, and what is left to do. */
static int
report_retired(const struct tool *t, cJSON *result, unsigned version, int removed, struct err *e)
{
	char buf[32];
	const char *lost = tool_text(result, "lost", buf);

	if (t->json) {
		cJSON_DeleteItemFromObjectCaseSensitive(result, "again");
		if (cJSON_AddBoolToObject(result, "removed", removed) == NULL)
			return err_set(e, ERR_SYSTEM, "out of memory");
		return output_json(result, e);
	}
	printf("pepper %u is retired%s%s%s\n", version,
	    strcmp(lost, "0") != 0 ? "; keys lost: " : "", strcmp(lost, "0") != 0 ? lost : "",
	    removed ? "" : "; its line was not in the file any more");
	if (strcmp(lost, "0") != 0)
		printf("apikey list --pepper %u shows them; they answer key_invalid\n", version);
	return 0;
}

/* The line goes after the store knows: a file that has lost it first could not be started with. */
static int
remove_line(const struct tool *t, unsigned version, struct err *e)
{
	struct service service;
	int rc;

	if (service_find(t->config, &service, e) == -1)
		return -1;
	rc = peppers_remove(t->config->pepper_file, service.uid, service.gid, version, e);
	if (rc == -1)
		return err_wrap(e,
		    "pepper %u is retired and not used any more, but still in %s; run this again "
		    "as a user who may write there",
		    version, t->config->pepper_file);
	return rc;
}

int
cmd_pepper_retire(struct tool *t, struct options *o, struct err *e)
{
	const char *word = json_str(o->request, "version", NULL);
	unsigned long long version = 0;
	cJSON *result;
	int rc = -1;

	if (word == NULL || span_u64(span_of(word), UINT32_MAX, &version) == -1 || version == 0)
		return err_set(
		    e, ERR_USAGE, "VERSION is a number from 1 on; apikey pepper list shows them");
	cJSON_DeleteItemFromObjectCaseSensitive(o->request, "version");
	if (cJSON_AddNumberToObject(o->request, "version", (double)version) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if ((result = tool_change(t, "pepper.retire", o->request, e)) == NULL)
		return -1;
	if (is_credential(result)) {
		fprintf(stderr,
		    "apikey: take the line of pepper %llu out of what systemd's credential "
		    "\"peppers\" is made from; until then it is passed over\n",
		    version);
		rc = report_retired(t, result, (unsigned)version, 1, e);
	} else if ((rc = remove_line(t, (unsigned)version, e)) != -1) {
		rc = report_retired(t, result, (unsigned)version, rc, e);
	}
	cJSON_Delete(result);
	return rc == 0 ? TOOL_DONE : -1;
}
