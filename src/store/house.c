/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What waits for the disk, so that the main thread never does: the flush behind each commit, the
 * checkpoint, the removal of old logs, the trickle of dirty pages, the look at the free space.
 *
 * Runs in the owner's housekeeping thread, beside the main thread; without one (the admin tool
 * alone) in the main thread.
 *
 * Invariant: nothing here touches an access method, nor any field of the store that the main thread
 * changes; the flag and the counter they share are atomic.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "store/internal.h"

/*
 * Recovery reads the log since the checkpoint four times, and workers wait for it: 9 ms for each
 * MiB.  A busy keeper writes 8 of them a second, so who looks once a second finds 20.
 */
#define CHECKPOINT_KIB (STORE_CHECKPOINT_BYTES >> 10)
#define CLEAN_PERCENT 30

int
store_flush(struct store *s, struct err *e)
{
	int ret;

	if (store_alive(s, e) != 0)
		return -1;
	if ((ret = s->env->log_flush(s->env, NULL)) != 0)
		return store_fail(s, ret, "flushing the log", e);
	return store_mark_write(s, e);
}

/* Logs from before a new checkpoint are of no use.  Without one there is nothing to look for. */
static int
remove_logs(struct store *s, struct err *e)
{
	DB_ENV *env = s->env;
	DB_TXN_STAT *st;
	DB_LSN newest;
	int ret;

	if ((ret = env->txn_stat(env, &st, 0)) != 0)
		return store_fail(s, ret, "looking for a checkpoint", e);
	newest = st->st_last_ckp;
	free(st);
	if (newest.file == s->checkpoint.file && newest.offset == s->checkpoint.offset)
		return 0;
	/* First: a copy that was being made is of no use, whatever becomes of the logs. */
	atomic_fetch_add(&s->checkpoints, 1);
	/* Not DB_LOG_AUTO_REMOVE: it would rule out recovery from a backup and its logs. */
	if ((ret = env->log_archive(env, NULL, DB_ARCH_REMOVE)) != 0)
		return store_fail(s, ret, "removing old logs", e);
	s->checkpoint = newest;
	return 0;
}

static int
checkpoint(struct store *s, int force, struct err *e)
{
	DB_ENV *env = s->env;
	int ret;

	ret = env->txn_checkpoint(env, force ? 0 : CHECKPOINT_KIB, 0, force ? DB_FORCE : 0);
	if (ret != 0)
		return store_fail(s, ret, "checkpointing", e);
	return remove_logs(s, e);
}

/*
 * Is somebody copying?  Holds that follow each other count as one, which ends at its limit: or the
 * log would grow for as long as somebody asks for that.  A hold that begins in this very moment may
 * be ended with the one before: who copies sees that from the count of checkpoints.
 */
static int
held(struct store *s)
{
	int64_t now_us = clock_mono_us(), limit_us = atomic_load(&s->hold_limit_us);

	if (atomic_load(&s->hold_until_us) > now_us && (limit_us == 0 || limit_us > now_us))
		return 1;
	atomic_store(&s->hold_until_us, 0);
	atomic_store(&s->hold_limit_us, 0);
	return 0;
}

int
store_checkpoint(struct store *s, int force, struct err *e)
{
	int rc = 0;

	if (store_alive(s, e) != 0)
		return -1;
	/* First told, then asked: store_hold does it the other way round. */
	atomic_store(&s->checkpointing, 1);
	if (!held(s))
		rc = checkpoint(s, force, e);
	atomic_store(&s->checkpointing, 0);
	return rc;
}

int
store_housekeep(struct store *s, int force, struct err *e)
{
	DB_ENV *env = s->env;
	int ret;

	if (store_alive(s, e) != 0)
		return -1;
	if ((ret = env->memp_trickle(env, CLEAN_PERCENT, NULL)) != 0)
		return store_fail(s, ret, "writing pages", e);
	return store_checkpoint(s, force, e) == 0 ? store_mark_keep(s, e) : -1;
}

int
store_space(struct store *s, uint64_t *free_bytes, struct err *e)
{
	struct statvfs fs;
	int rc;

	*free_bytes = 0;
	do {
		rc = fstatvfs(s->dir_fd, &fs);
	} while (rc != 0 && errno == EINTR);
	if (rc != 0)
		return err_sys(e, "%s: cannot tell the free space", s->dir);
	*free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return *free_bytes >= s->min_free_bytes;
}
