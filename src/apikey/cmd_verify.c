/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db verify: is the store, or a backup, whole?
 *
 * It looks at a copy: of the store in service, so that nothing waits for it; of a backup, because
 * looking at it is to recover it, and as the service user, who may not be let in where it is.
 *
 * Invariants: what is verified is not changed; no byte of it is read by root but to be copied; the
 * copy is gone at the end.
 */

#include <stdio.h>
#include <sys/stat.h>

#include "apikey/apart.h"
#include "apikey/audit.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/manifest.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "apikey/workdir.h"
#include "base/json.h"
#include "store/store.h"

struct verifying {
	struct copies_findings found;
	struct progress progress;
	struct store_source *source; /* NULL: the store in service */
	const char *name;
	struct workdir work;
};

/* The trail of the store in service: its seals need the peppers, which the keeper has. */
static int
verify_trail(struct tool *t, struct copies_findings *f, struct err *e)
{
	char text[96];
	double problems;

	progress_at(f->progress, "verifying the audit trail");
	if (audit_verify_count(t, &problems, e) != 0)
		return -1;
	if (problems > 0) {
		(void)snprintf(text, sizeof(text),
		    "audit: %.0f problems in the trail; see: apikey audit --verify", problems);
		copies_found(f, text);
	}
	return 0;
}

/* A directory without one may be a store's own; one that is damaged keeps a backup from being
 * restored. */
static void
verify_manifest(struct verifying *v)
{
	int fd = store_source_file(v->source, SNAPSHOT_MANIFEST);
	char made[MANIFEST_TIME];
	struct err why;

	if (fd >= 0 && manifest_read(fd, store_source_dir(v->source), made, &why) != 0)
		copies_found(&v->found, why.msg);
}

/* It cannot be recovered: which of its files is damaged? */
static int
verify_source(struct verifying *v, struct err *e)
{
	struct err why;

	if (mkdir(v->work.store, 0700) != 0)
		return err_sys(e, "%s: cannot make it", v->work.store);
	/* Without a log, say, there are the databases. */
	if (store_copy_source(v->source, v->work.store, NULL, NULL, &why) != 0 &&
	    why.code != ERR_CORRUPT) {
		*e = why;
		return -1;
	}
	return copies_verify_files(v->work.store, &v->found, e);
}

/* 0 verified, whatever was found; -1. */
static int
look(struct verifying *v, struct err *e)
{
	struct tool *t = v->found.tool;
	const char *dir = v->work.store, *of = t->config->state_dir;
	int rc;

	if (v->source != NULL) {
		of = store_source_dir(v->source);
		if (copies_encrypted_right(t, v->source, e) != 0)
			return -1;
		verify_manifest(v);
	}
	rc = v->source != NULL ? snapshot_of(t, v->source, dir, &v->progress, e)
			       : snapshot_take(t, dir, &v->progress, e);
	/* What cannot be recovered is a finding, not a failure to look. */
	if (rc != 0 && e->code == ERR_CORRUPT) {
		copies_rename(e, dir, of);
		copies_found(&v->found, e->msg);
		return v->source != NULL ? verify_source(v, e) : 0;
	}
	if (rc == 0 && (rc = copies_verify(dir, &v->found, e)) != 0 && e->code == ERR_CORRUPT) {
		copies_rename(e, dir, of);
		copies_found(&v->found, e->msg);
		return 0;
	}
	if (rc == 0 && v->source == NULL && v->found.n == 0)
		rc = verify_trail(t, &v->found, e);
	return rc;
}

static int
report(const struct verifying *v, struct err *e)
{
	uint64_t n = v->found.n;
	cJSON *result;
	int rc = 0;

	if (v->found.tool->json) {
		result = cJSON_CreateObject();
		cJSON_AddBoolToObject(result, "whole", n == 0);
		cJSON_AddNumberToObject(result, "findings", (double)n);
		rc = output_json(result, e);
		cJSON_Delete(result);
	} else if (n == 0) {
		printf("%s is whole\n", v->name);
	} else {
		printf("%llu findings: restore a backup (apikey db restore DIR)\n",
		    (unsigned long long)n);
	}
	if (rc != 0)
		return -1;
	return n == 0 ? TOOL_DONE : TOOL_REFUSED;
}

static int
verify(void *cookie, struct err *e)
{
	struct verifying *v = cookie;
	int rc;

	progress_begin(&v->progress);
	rc = look(v, e);
	progress_end(&v->progress);
	return rc == 0 ? report(v, e) : -1;
}

static int
begin(void *cookie, struct err *e)
{
	struct verifying *v = cookie;

	return workdir_make(&v->work, v->found.tool->config, e);
}

static int
end(void *cookie, int rc, struct err *e)
{
	struct verifying *v = cookie;

	(void)e;
	workdir_remove(&v->work);
	return rc;
}

/* A name in it that is no file, or is missing, is found before anything is copied.  0, or -1: what
 * there is to say of it is found, or in ${e}. */
static int
open_source(struct verifying *v, const char *dir, struct err *e)
{
	const char *missing;
	char text[sizeof(e->msg)];

	v->name = dir;
	if ((v->source = store_source_open(dir, e)) == NULL) {
		if (e->code == ERR_CORRUPT)
			copies_found(&v->found, e->msg);
		return -1;
	}
	if (store_source_is_none(v->source))
		return err_set(e, ERR_NOT_FOUND, "%s: there is no backup, nor a store", dir);
	for (size_t i = 0; (missing = store_source_missing(v->source, i)) != NULL; i++) {
		(void)snprintf(text, sizeof(text), "%s/%s: missing", dir, missing);
		copies_found(&v->found, text);
	}
	return v->found.n == 0 ? 0 : -1;
}

int
cmd_db_verify(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	struct verifying v = {.name = "the store"};
	const struct apart apart = {
	    .config = t->config, .begin = begin, .work = verify, .end = end, .cookie = &v};
	struct service service;
	int rc = -1;

	v.found = (struct copies_findings){.tool = t, .progress = &v.progress};
	progress_begin(&v.progress);
	if (service_find(t->config, &service, e) != 0)
		return -1;
	if (dir != NULL && open_source(&v, dir, e) != 0) {
		store_source_close(&v.source);
		return v.found.n > 0 ? report(&v, e) : -1;
	}
	copies_quiet(t);
	if (copies_enter(t, &service, 0, e) == 0)
		rc = apart_run(&apart, e);
	copies_leave(t);
	store_source_close(&v.source);
	return rc;
}
