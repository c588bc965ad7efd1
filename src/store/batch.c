/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The one transaction wrapper: no other file begins, commits or aborts.
 *
 * Runs in the owner's main thread.  A transaction is begun by the first write, so that a batch of
 * checks that writes nothing costs none.  The commit hands the log to the kernel (WRITE_NOSYNC: it
 * survives the death of the process) and leaves the disk to store_flush.
 *
 * Invariants: after -1 nothing of the batch is stored, nor remembered in memory (record counts,
 * numbers and the limit logs in memory go back to what they were); a batch in which a write failed
 * cannot commit, whatever its function returns.
 */

#include <string.h>

#include "store/internal.h"

/*
 * Recovery of Berkeley DB 5.3 does not undo the first change of a transaction that was not
 * committed if that is its only one, and a checkpoint that ran beside it begins with it in the log:
 * half a batch would stay.  So the first record of each is one that changes nothing.
 */
static int
begin(struct store *s, DB_TXN **txn)
{
	DB_ENV *env = s->env;
	int ret;

	if ((ret = env->txn_begin(env, NULL, txn, 0)) != 0) {
		*txn = NULL;
		return ret;
	}
	if ((ret = env->log_printf(env, *txn, "-")) == 0)
		return 0;
	s->aborts++;
	if ((*txn)->abort(*txn) != 0)
		atomic_store(&s->panicked, DB_RUNRECOVERY);
	*txn = NULL;
	return ret;
}

int
store_guarded(struct store *s, int (*fn)(void *, struct err *), void *cookie, struct err *e)
{
	DB_TXN *guard;
	int ret, rc;

	if ((ret = begin(s, &guard)) != 0)
		return store_fail(s, ret, "beginning a transaction", e);
	rc = fn(cookie, e);
	if ((ret = guard->commit(guard, DB_TXN_WRITE_NOSYNC)) != 0 && rc == 0)
		return store_fail(s, ret, "committing", e);
	return rc;
}

DB_TXN *
store_txn(struct store *s, struct err *e)
{
	int ret;

	if (!s->in_batch) {
		err_set(e, ERR_INTERNAL, "a write to the store outside a batch");
		return NULL;
	}
	if (s->poisoned) {
		if (e != NULL)
			*e = s->poison;
		return NULL;
	}
	if (s->txn != NULL)
		return s->txn;
	if (store_alive(s, e) != 0)
		return NULL;
	if ((ret = begin(s, &s->txn)) != 0) {
		store_fail(s, ret, "beginning a transaction", e);
		return NULL;
	}
	return s->txn;
}

int
store_poison(struct store *s, const struct err *why)
{
	s->poisoned = 1;
	s->poison = *why;
	return -1;
}

static int
batch_commit(struct store *s, struct err *e)
{
	DB_TXN *txn = s->txn;
	int ret;

	s->txn = NULL; /* gone whatever commit returns; when it fails Berkeley DB has aborted */
	if (txn == NULL)
		return 0;
	if ((ret = txn->commit(txn, DB_TXN_WRITE_NOSYNC)) != 0) {
		s->aborts++;
		return store_fail(s, ret, "committing", e);
	}
	s->commits++;
	atomic_store(&s->full, 0);
	return 0;
}

static void
batch_abort(struct store *s)
{
	DB_TXN *txn = s->txn;

	s->txn = NULL;
	if (txn == NULL)
		return;
	s->aborts++;
	/* An abort that fails leaves changes that are not undone in the cache: never go on from
	 * there. */
	if (txn->abort(txn) != 0)
		atomic_store(&s->panicked, DB_RUNRECOVERY);
}

/* The checks between the function's 0 and the commit. */
static int
batch_finish(struct store *s, struct err *e)
{
	if (s->poisoned) {
		if (e != NULL)
			*e = s->poison;
		return -1;
	}
	if (store_logs_batch_end(s, e) != 0 || (s->nnoted > 0 && store_secrets_write(s, e) != 0) ||
	    store_audit_batch_end(s, e) != 0)
		return -1;
	if (memcmp(&s->now.counts, &s->before.counts, sizeof(s->now.counts)) != 0)
		return store_counts_write(s, e);
	return 0;
}

int
store_batch(struct store *s, int (*fn)(void *, struct err *), void *cookie, struct err *e)
{
	int rc;

	if (s->in_batch)
		return err_set(e, ERR_INTERNAL, "a batch inside a batch");
	if (store_alive(s, e) != 0)
		return -1;
	s->in_batch = 1;
	s->poisoned = 0;
	s->now.trail.changed = 0;
	s->before = s->now;
	s->nnoted = 0;
	store_heads_begin(s->heads);
	store_journal_begin(s);
	rc = fn(cookie, e) == 0 ? batch_finish(s, e) : -1;
	if (rc == 0)
		rc = batch_commit(s, e);
	else
		batch_abort(s);
	if (rc != 0) {
		s->now = s->before;
		store_heads_abort(s->heads);
		store_journal_abort(s);
	}
	s->in_batch = 0;
	return rc;
}
