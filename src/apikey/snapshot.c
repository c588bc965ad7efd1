/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Taking a consistent copy of the store.
 *
 * The owner is asked to hold still, the files are copied under that (store_copy), the copy is
 * opened, which recovers it, and closed.  The tool copies by itself, under its own name: the keeper
 * may write nowhere but to its own directory.
 *
 * The hold is a lease that is renewed while copying, for half an hour at most.  It alone proves
 * nothing: it may have ended while we slept, or with another copy's.  So the owner also says which
 * store it opened when, and how many checkpoints there were: if that is the same before and behind,
 * nothing came between. When it is not, or when the copy does not recover, because a page was
 * written while it was read, another one is made.
 *
 * Invariants: a copy that is reported has been recovered, and no checkpoint came into it; what is
 * of no use is removed again; the store in service is only read.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apikey/snapshot.h"
#include "apikey/copies.h"

#include "base/clock.h"
#include "base/json.h"
#include "store/store.h"

#define LEASE_SECONDS 60
#define RENEW_US (10 * CLOCK_SECOND)
#define ATTEMPTS 5
#define READY_POLL_NS 20000000
#define READY_TRIES 1500 /* half a minute for a checkpoint that is being written */

struct taking {
	struct tool *tool; /* NULL: nobody has to hold */
	struct progress *progress;
	int64_t renew_us;
	int broken;
	struct store_moment since;
};

/* 1 when the owner holds; 0 while it still writes a checkpoint; -1. */
static int
hold(struct tool *t, int seconds, struct store_moment *moment, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int ready = -1;

	if (cJSON_AddStringToObject(request, "op", "db.hold") == NULL ||
	    cJSON_AddNumberToObject(request, "seconds", seconds) == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	else if ((result = session_call(t->session, SESSION_READS, request, e)) != NULL) {
		ready = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(result, "ready"));
		moment->opened_us = json_int(result, "opened_us", -1, 0, INT64_MAX, NULL);
		moment->checkpoints =
		    (uint64_t)json_int(result, "checkpoints", -1, 0, INT64_MAX, NULL);
	}
	cJSON_Delete(request);
	cJSON_Delete(result);
	return ready;
}

static int
hold_ready(struct tool *t, struct store_moment *moment, struct err *e)
{
	const struct timespec pause = {0, READY_POLL_NS};
	int ready;

	for (int i = 0; i < READY_TRIES; i++) {
		if ((ready = hold(t, LEASE_SECONDS, moment, e)) != 0)
			return ready < 0 ? -1 : 0;
		(void)nanosleep(&pause, NULL);
	}
	return err_set(e, ERR_UNAVAILABLE,
	    "the keeper is still writing a checkpoint: is its disk very slow? Try again");
}

static int
same(const struct store_moment *a, const struct store_moment *b)
{
	return a->opened_us == b->opened_us && a->checkpoints == b->checkpoints;
}

static int
copied(void *cookie, uint64_t bytes)
{
	struct taking *t = cookie;
	char text[PROGRESS_BYTES_MAX];
	struct store_moment now;
	struct err why;

	progress_at(t->progress, "%s copied", progress_bytes(bytes, text));
	if (t->tool == NULL || clock_mono_us() < t->renew_us)
		return 0;
	t->renew_us = clock_mono_us() + RENEW_US;
	/* The keeper that answers may be another one by now. */
	if (hold(t->tool, LEASE_SECONDS, &now, &why) < 0 || !same(&now, &t->since))
		t->broken = 1;
	return t->broken;
}

/* Opening recovers; a checkpoint, and logs from before it are of no use. */
static int
recover(const struct tool *t, const char *dir, struct err *e)
{
	struct store *s = copies_open(t, dir, e);
	int rc;

	if (s == NULL)
		rc = -1;
	else
		rc = store_housekeep(s, 1, e);
	store_close(&s);
	/* To start a copy again is of no use. */
	if (rc != 0 && e->code == ERR_UNAVAILABLE)
		e->code = ERR_CORRUPT;
	return rc;
}

static DIR *
open_dir(int at, const char *dir)
{
	int fd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d;

	if (fd < 0)
		return NULL;
	if ((d = fdopendir(fd)) == NULL)
		close(fd);
	return d;
}

/* What we, or Berkeley DB in our name, put into a copy. */
int
snapshot_is_file(const char *name)
{
	return store_is_file(name) || strcmp(name, "lock") == 0 ||
	       strcmp(name, SNAPSHOT_MANIFEST) == 0 || strncmp(name, "__db.", 5) == 0;
}

int
snapshot_is_all(const char *dir)
{
	struct dirent *entry;
	DIR *d = open_dir(AT_FDCWD, dir);
	int all = d != NULL;

	while (all && (entry = readdir(d)) != NULL)
		all = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		      snapshot_is_file(entry->d_name);
	if (d != NULL)
		(void)closedir(d);
	return all;
}

static void
clear(DIR *d)
{
	struct dirent *entry;

	if (d == NULL)
		return;
	while ((entry = readdir(d)) != NULL)
		if (snapshot_is_file(entry->d_name))
			(void)unlinkat(dirfd(d), entry->d_name, 0);
	(void)closedir(d);
}

void
snapshot_clear(const char *dir)
{
	clear(open_dir(AT_FDCWD, dir));
}

void
snapshot_clear_at(int dir_fd)
{
	clear(open_dir(dir_fd, "."));
}

void
snapshot_remove(const char *dir)
{
	snapshot_clear(dir);
	(void)rmdir(dir);
}

/* Did nothing come between?  It ends the hold. */
static int
held(struct taking *t)
{
	struct store_moment now, then;
	struct err why;
	int same_now;

	if (hold_ready(t->tool, &now, &why) != 0) {
		/* Who has gone is asked for anew by the next attempt. */
		session_hang_up(t->tool->session);
		return 0;
	}
	same_now = same(&now, &t->since);
	(void)hold(t->tool, 0, &then, &why);
	return same_now && !t->broken;
}

/* 0: another attempt may do better; -1: it would take as long. */
static int
came_between(int64_t took_us, struct err *e)
{
	if (took_us >= STORE_HOLD_MAX_US)
		return err_set(e, ERR_UNAVAILABLE,
		    "it took longer than the keeper goes without a checkpoint (%d minutes): copy "
		    "to a faster disk, or stop apikeyd first",
		    (int)(STORE_HOLD_MAX_US / CLOCK_SECOND / 60));
	err_set(e, ERR_UNAVAILABLE,
	    "the keeper was restarted or wrote a checkpoint meanwhile, each time");
	return 0;
}

/* 1 done, 0 when another attempt may do better, -1. */
static int
attempt(struct tool *tool, const struct store_source *source, const char *dir, struct progress *p,
    struct err *e)
{
	int owned = source == NULL;
	struct taking t = {.tool = owned ? tool : NULL, .progress = p};
	int64_t began_us = clock_mono_us();
	int rc;

	if (owned && hold_ready(tool, &t.since, e) != 0)
		return -1;
	t.renew_us = clock_mono_us() + RENEW_US;
	rc = owned ? store_copy(tool->config->state_dir, dir, copied, &t, e)
		   : store_copy_source(source, dir, copied, &t, e);
	if (owned && !held(&t))
		return came_between(clock_mono_us() - began_us, e);
	if (rc != 0)
		return -1;
	progress_at(p, "recovering the copy");
	if (recover(tool, dir, e) == 0)
		return 1;
	return owned && e->code == ERR_CORRUPT ? 0 : -1;
}

/* ${source} NULL: the store in service. */
static int
take(struct tool *tool, const struct store_source *source, const char *dir, struct progress *p,
    struct err *e)
{
	int rc = 0;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, "%s: cannot make it", dir);
	for (int i = 0; i < ATTEMPTS && rc == 0; i++) {
		*e = (struct err){.code = ERR_NONE};
		if ((rc = attempt(tool, source, dir, p, e)) != 1)
			snapshot_clear(dir);
	}
	if (rc == 1)
		return 0;
	(void)rmdir(dir);
	return err_wrap(
	    e, "copying %s", source != NULL ? store_source_dir(source) : tool->config->state_dir);
}

int
snapshot_take(struct tool *t, const char *dir, struct progress *p, struct err *e)
{
	int rc = take(t, NULL, dir, p, e);

	session_rest(t->session);
	return rc;
}

int
snapshot_of(struct tool *t, const struct store_source *source, const char *dir, struct progress *p,
    struct err *e)
{
	return take(t, source, dir, p, e);
}
