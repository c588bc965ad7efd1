/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey db dump: the store as lines of JSON (dump.h).
 *
 * A dump is made of a consistent copy, so the keeper goes on working.  It holds no secret in the
 * clear: of keys it has what the store has, digests under peppers that are elsewhere.
 *
 * Made as the service user from the first file on, and never as root (apart.h); output goes to
 * where standard output leads already.
 *
 * Invariants: the copy is gone at the end; a dump that has its last line is whole.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/apart.h"
#include "apikey/commands.h"
#include "apikey/copies.h"
#include "apikey/dump.h"
#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/snapshot.h"
#include "apikey/workdir.h"
#include "base/clock.h"
#include "base/digest.h"
#include "store/store.h"

struct dumping {
	struct progress *progress;
	struct dump_chain chain;
	struct dump_line *line;
};

/* ${len} bytes with a newline at their end: into the chain, and out. */
static int
put_line(struct dumping *d, size_t len, struct err *e)
{
	if (dump_chain_add(&d->chain, d->line, len, e) != 0)
		return -1;
	if (fwrite(d->line->text, 1, len, stdout) != len)
		return err_sys(e, "cannot write the dump");
	return 0;
}

static int
dump_record(void *cookie, const char *db, struct span key, struct span value, struct err *e)
{
	struct dumping *d = cookie;
	char *line = d->line->text;
	size_t at;
	int n;

	n = snprintf(line, DUMP_LINE_MAX, "{\"db\":\"%s\",\"key\":\"", db);
	if (n < 0 || (size_t)n + 2 * (key.len + value.len) + 32 > DUMP_LINE_MAX)
		return err_set(e, ERR_INTERNAL, "a record of database %s is too large", db);
	at = (size_t)n;
	digest_hex(key.p, key.len, line + at);
	at += 2 * key.len;
	memcpy(line + at, "\",\"value\":\"", 11);
	at += 11;
	digest_hex(value.p, value.len, line + at);
	at += 2 * value.len;
	memcpy(line + at, "\"}\n", 3);
	if (d->chain.records++ % 256 == 0)
		progress_at(d->progress, "%llu records", (unsigned long long)d->chain.records);
	return put_line(d, at + 3, e);
}

static int
dump_lines(struct store *s, struct dumping *d, struct err *e)
{
	char made[21], hex[2 * DIGEST_LEN + 1];
	struct store_stat stat;
	int n;

	if (store_stat(s, &stat, e) != 0)
		return -1;
	clock_rfc3339(clock_wall_us(), made);
	n = snprintf(d->line->text, DUMP_LINE_MAX,
	    "{\"apikeyd_dump\":%d,\"format\":%u,\"made\":\"%s\"}\n", DUMP_VERSION,
	    (unsigned)stat.format, made);
	if (n < 0 || put_line(d, (size_t)n, e) != 0 || store_dump(s, dump_record, d, e) != 0)
		return -1;
	digest_hex(d->chain.hash, DIGEST_LEN, hex);
	if (printf("{\"records\":%llu,\"sha256\":\"%s\"}\n", (unsigned long long)d->chain.records,
		hex) < 0 ||
	    fflush(stdout) != 0)
		return err_sys(e, "cannot write the dump");
	return 0;
}

static int
dump_copy(const struct tool *t, const char *dir, struct progress *p, struct err *e)
{
	struct dumping d = {.progress = p};
	struct store *s;
	int rc = -1;

	if ((s = copies_open(t, dir, e)) == NULL)
		return -1;
	if ((d.line = malloc(sizeof(*d.line))) == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	else
		rc = dump_lines(s, &d, e);
	store_close(&s);
	free(d.line);
	return rc;
}

struct dump {
	struct tool *tool;
	struct progress progress;
	struct workdir work;
};

static int
dump(void *cookie, struct err *e)
{
	struct dump *d = cookie;
	int rc;

	progress_begin(&d->progress);
	if ((rc = snapshot_take(d->tool, d->work.store, &d->progress, e)) == 0)
		rc = dump_copy(d->tool, d->work.store, &d->progress, e);
	progress_end(&d->progress);
	return rc == 0 ? TOOL_DONE : -1;
}

static int
begin(void *cookie, struct err *e)
{
	struct dump *d = cookie;

	return workdir_make(&d->work, d->tool->config, e);
}

static int
end(void *cookie, int rc, struct err *e)
{
	struct dump *d = cookie;

	(void)e;
	workdir_remove(&d->work);
	return rc;
}

int
cmd_db_dump(struct tool *t, struct options *o, struct err *e)
{
	struct dump d = {.tool = t};
	const struct apart apart = {
	    .config = t->config, .begin = begin, .work = dump, .end = end, .cookie = &d};
	struct service service;
	int rc = -1;

	(void)o;
	copies_quiet(t);
	if (service_find(t->config, &service, e) == 0 && copies_enter(t, &service, 0, e) == 0)
		rc = apart_run(&apart, e);
	copies_leave(t);
	return rc;
}
