/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Figures of the store, for people and for metrics.
 *
 * Runs in the owner's main thread, so it must be cheap whatever the store's size: records are
 * counted in the transactions that make and remove them, never by walking; files are measured by
 * stat(2).
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

#define REDO_SLICE 256

static int
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

static int
stat_files(struct store *s, struct store_stat *st, struct err *e)
{
	struct dirent *entry;
	struct stat file;
	DIR *d;
	int fd;

	if ((fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return err_sys(e, "%s", s->dir);
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return err_sys(e, "%s", s->dir);
	}
	while ((entry = readdir(d)) != NULL) {
		/* The housekeeping thread may have removed a log since its name was read. */
		if (fstatat(s->dir_fd, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		/* Blocks: Berkeley DB gives a log file its full size at once, and fills it later.
		 */
		if (strncmp(entry->d_name, "log.", 4) == 0)
			st->wal_bytes += (uint64_t)file.st_blocks * 512;
		else if (ends_with(entry->d_name, ".db"))
			st->data_bytes += (uint64_t)file.st_blocks * 512;
	}
	closedir(d);
	return 0;
}

static int
stat_cache(struct store *s, struct store_stat *st, struct err *e)
{
	DB_MPOOL_STAT *pool;
	int ret;

	if ((ret = s->env->memp_stat(s->env, &pool, NULL, 0)) != 0)
		return store_fail(s, ret, "asking the cache's figures", e);
	st->cache_bytes = ((uint64_t)pool->st_gbytes << 30) + pool->st_bytes;
	st->cache_hits = pool->st_cache_hit;
	st->cache_misses = pool->st_cache_miss;
	st->cache_dirty_pages = pool->st_page_dirty;
	free(pool);
	return 0;
}

/*
 * Whether a log has a record is not known before it is read: after a kill, some thousands once.
 * Who asks in that moment waits some 50 ms for figures that are right.
 */
static void
stat_waiting(struct store *s)
{
	while (!s->in_batch && s->now.waiting > 0 && store_redo(s, REDO_SLICE, NULL) == 0)
		;
}

int
store_stat(struct store *s, struct store_stat *st, struct err *e)
{
	int major, minor, patch, n;

	memset(st, 0, sizeof(*st));
	stat_waiting(s);
	if (store_alive(s, e) != 0 || stat_cache(s, st, e) != 0 || stat_files(s, st, e) != 0 ||
	    store_space(s, &st->free_bytes, e) < 0)
		return -1;
	st->keys = s->now.counts.keys;
	st->plans = s->now.counts.plans;
	st->logs = s->now.counts.logs + store_heads_unstored(s->heads);
	st->blocks = s->now.counts.blocks;
	st->audit = s->now.trail.last - s->now.trail.pruned;
	st->commits = s->commits;
	st->aborts = s->aborts;
	st->checkpoints = atomic_load(&s->checkpoints);
	st->format = STORE_FORMAT;
	st->opened_us = s->opened_us;
	st->recovery_us = s->recovery_us;
	db_version(&major, &minor, &patch);
	n = snprintf(st->engine, sizeof(st->engine), "Berkeley DB %d.%d.%d", major, minor, patch);
	if (n < 0 || (size_t)n >= sizeof(st->engine))
		return err_set(e, ERR_INTERNAL, "the engine's name is too long");
	return 0;
}
