/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db restore: a backup becomes the store.
 *
 * Root opens the backup's files, becomes the service user for good, and then all of it is done in
 * that one's name: the copy, its verification, the renames, the first opening.
 *
 * With --accept-log it may be any store, that of the service too: restored onto itself, it opens
 * again when nobody could tell whether its log is whole.
 *
 * Invariants: nothing is ever restored that does not open and verify, nor over a store that
 * somebody owns; files of a store that is replaced are moved aside, not deleted.
 */

#include <unistd.h>

#include "apikey/apart.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/manifest.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "apikey/workdir.h"
#include "base/json.h"
#include "store/store.h"

static int
restore(void *cookie, struct err *e)
{
	struct copies_restore *r = cookie;
	const char *dir = store_source_dir(r->source);
	int fd = store_source_file(r->source, SNAPSHOT_MANIFEST), rc;
	char made[MANIFEST_TIME];

	workdir_sweep();
	if ((fd >= 0 && manifest_read(fd, dir, made, e) != 0) ||
	    copies_encrypted_right(r->tool, r->source, e) != 0)
		return -1;
	progress_begin(r->progress);
	rc = copies_restore(r, e);
	progress_end(r->progress);
	return rc == 0 && copies_report(r, "restored", fd >= 0 ? made : NULL, e) == 0 ? TOOL_DONE
										      : -1;
}

int
cmd_db_restore(struct tool *t, struct options *o, struct err *e)
{
	const char *dir = json_str(o->request, "dir", NULL);
	struct progress p;
	struct copies_restore r = {.tool = t,
	    .progress = &p,
	    .verify = 1,
	    .accept_log = options_local(o, "accept-log"),
	    .asker = getuid()};
	/* What one that is interrupted leaves the next one removes; until then it does no harm. */
	const struct apart apart = {.config = t->config, .work = restore, .cookie = &r};
	struct store_source *source;
	struct service service;
	int rc = -1;

	if ((source = store_source_open(dir, e)) == NULL)
		return -1;
	r.source = source;
	copies_quiet(t);
	if (store_source_file(source, SNAPSHOT_MANIFEST) < 0 && !r.accept_log)
		err_set(e, ERR_NOT_FOUND, "%s: there is no backup (no %s in it)", dir,
		    SNAPSHOT_MANIFEST);
	else if (service_find(t->config, &service, e) == 0 &&
		 service_make_dir(&service, t->config->state_dir, 0700, 1, e) == 0 &&
		 copies_enter(t, &service, 0, e) == 0)
		rc = apart_run(&apart, e);
	copies_leave(t);
	store_source_close(&source);
	return rc;
}
