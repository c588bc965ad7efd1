/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Copies of the store in the tool's hands: verified, and put in its place.
 *
 * Invariants: a finding is one line; a store that is replaced is moved aside, not deleted; one that
 * somebody owns is not touched.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "apikey/copies.h"

#include "apikey/output.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "keeper/storekey.h"
#include "store/store.h"

#define CACHE_BYTES (64 << 20)
#define WORK_TEMPLATE "apikey-work-XXXXXX"

void
copies_found(struct copies_findings *f, const char *what)
{
	cJSON *o;

	f->n++;
	if (f->quiet)
		return;
	progress_end(f->progress);
	if (!f->tool->json) {
		printf("%s\n", what);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "finding", what);
	if (output_json(o, NULL) != 0)
		clearerr(stdout); /* the count is what matters */
	cJSON_Delete(o);
}

static void
found(void *cookie, const char *what)
{
	copies_found(cookie, what);
}

static void
at(void *cookie, const char *database, uint64_t record)
{
	struct copies_findings *f = cookie;

	if (record == 0)
		progress_at(f->progress, "verifying %s", database);
	else
		progress_at(
		    f->progress, "verifying %s: %llu", database, (unsigned long long)record);
}

struct store *
copies_open(const struct tool *t, const char *dir, struct err *e)
{
	struct store_options options = {.dir = dir, .cache_bytes = CACHE_BYTES};
	struct store *s;
	char *key = NULL;

	if (t->config->encrypt_store && storekey_load(t->config->pepper_file, &key, e) != 0)
		return NULL;
	options.key = key;
	s = store_open(&options, e);
	storekey_free(&key);
	return s;
}

int
copies_verify_files(const char *dir, struct copies_findings *f, struct err *e)
{
	const struct config *c = f->tool->config;
	struct store_verify with = {.found = found, .at = at, .cookie = f};
	char *key = NULL;
	int rc;

	if (c->encrypt_store && storekey_load(c->pepper_file, &key, e) != 0)
		return -1;
	with.key = key;
	rc = store_verify_files(dir, &with, e);
	storekey_free(&key);
	return rc;
}

int
copies_verify(const char *dir, struct copies_findings *f, struct err *e)
{
	const struct store_verify with = {.found = found, .at = at, .cookie = f};
	struct store *s;
	int rc;

	if (copies_verify_files(dir, f, e) != 0)
		return -1;
	/* What is in damaged files would be told a second time, and worse. */
	if (f->n > 0)
		return 0;
	if ((s = copies_open(f->tool, dir, e)) == NULL)
		return -1;
	rc = store_verify_records(s, &with, e);
	store_close(&s);
	return rc;
}

static int
told(void *cookie, uint64_t bytes)
{
	char text[PROGRESS_BYTES_MAX];

	progress_at(cookie, "%s copied", progress_bytes(bytes, text));
	return 0;
}

/* "replaced-20261122T061500Z"; with "-2" and so on behind it for others in the same second. */
static int
replaced_name(const char *state_dir, int64_t now_us, char name[64], struct err *e)
{
	time_t now = (time_t)(now_us / CLOCK_SECOND);
	char stem[32], path[PATH_MAX];
	struct stat st;
	struct tm tm;
	int n;

	if (gmtime_r(&now, &tm) == NULL ||
	    strftime(stem, sizeof(stem), "replaced-%Y%m%dT%H%M%SZ", &tm) == 0)
		(void)snprintf(stem, sizeof(stem), "replaced");
	(void)snprintf(name, 64, "%s", stem);
	for (int i = 2; i < 100; i++) {
		n = snprintf(path, sizeof(path), "%s/%s", state_dir, name);
		if (n < 0 || (size_t)n >= sizeof(path))
			return err_set(e, ERR_INPUT, "%.80s...: too long a path", state_dir);
		if (lstat(path, &st) != 0)
			break;
		(void)snprintf(name, 64, "%s-%d", stem, i);
	}
	return 0;
}

int
copies_restore(struct tool *t, const char *dir, const struct service *service,
    const char **replaced, char name[64], struct progress *p, struct err *e)
{
	struct store_restore r = {.from = dir, .uid = (uid_t)-1, .copied = told, .cookie = p};
	int there = store_files_in(t->config->state_dir, e);

	if (there < 0)
		return -1;
	if (there == 1) {
		if (replaced_name(t->config->state_dir, t->now_us, name, e) != 0)
			return -1;
		r.replaced = name;
	}
	*replaced = r.replaced;
	if (service->change) {
		r.uid = service->uid;
		r.gid = service->gid;
	}
	return store_restore(t->config->state_dir, &r, e);
}

/* It is the store now: does it open, with the peppers that are here?  Its figures, or NULL. */
static cJSON *
open_restored(struct tool *t, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *stat;

	if ((stat = tool_ask(t, "db.stat", request, e)) == NULL)
		err_wrap(e, "the files are in place, but do not open");
	cJSON_Delete(request);
	return stat;
}

static int
report_json(const char *made, const char *keys, const char *replaced, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	int rc;

	if (made != NULL)
		cJSON_AddStringToObject(o, "made", made);
	cJSON_AddNumberToObject(o, "keys", strtod(keys, NULL));
	if (replaced != NULL)
		cJSON_AddStringToObject(o, "replaced", replaced);
	else
		cJSON_AddNullToObject(o, "replaced");
	rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

int
copies_report(
    struct tool *t, const char *verb, const char *made, const char *replaced, struct err *e)
{
	cJSON *stat = open_restored(t, e);
	char buf[32];
	const char *keys;
	int rc = 0;

	if (stat == NULL)
		return -1;
	keys = tool_text(stat, "keys", buf);
	if (t->json) {
		rc = report_json(made, keys, replaced, e);
	} else {
		printf("%s %s keys%s%s\n", verb, keys, made != NULL ? ", as they were at " : "",
		    made != NULL ? made : "");
		if (replaced != NULL)
			printf("what was there is in %s/%s\n", t->config->state_dir, replaced);
		printf("keys that were revoked or rotated since it was made are as they were "
		       "before: look through them before you start apikeyd\n");
	}
	cJSON_Delete(stat);
	return rc;
}

void
copies_quiet(const struct tool *t)
{
	log_open(LOG_TO_SYSLOG, t->config->log_level, "apikey");
}

int
copies_work_dir(char path[PATH_MAX], struct err *e)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(
	    path, PATH_MAX, "%s/" WORK_TEMPLATE, tmp != NULL && tmp[0] == '/' ? tmp : "/var/tmp");

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, ERR_USAGE, "TMPDIR is too long a path");
	return mkdtemp(path) != NULL ? 0 : err_sys(e, "%s: cannot make it", path);
}

int
copies_beside(const char *dir, const char *end, char out[PATH_MAX], struct err *e)
{
	size_t len = strlen(dir);
	int n;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	n = snprintf(out, PATH_MAX, "%.*s%s", (int)len, dir, end);
	return n > 0 && n < PATH_MAX ? 0 : err_set(e, ERR_INPUT, "%.80s...: too long a path", dir);
}
