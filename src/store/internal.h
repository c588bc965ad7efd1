/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef STORE_INTERNAL_H_
#define STORE_INTERNAL_H_

/*
 * What the files of this room share: the struct, and a thin layer over Berkeley DB so that its
 * calls, flags and error numbers are handled in one place (db.c).  Nobody outside includes this.
 */

#include <db.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "store/store.h"

#define STORE_FORMAT 4

/* Longest key of any database but `meta`: owner, NUL, id. */
#define STORE_KEY_MAX (KEYREC_OWNER_MAX + 1 + TOKEN_ID_LEN)

enum store_db {
	STORE_DB_META,	    /* name -> bytes */
	STORE_DB_KEYS,	    /* digest -> key record, or alias of an older secret */
	STORE_DB_IDS,	    /* id -> digest */
	STORE_DB_OWNERS,    /* owner NUL id -> nothing */
	STORE_DB_PLAN_KEYS, /* plan NUL id -> nothing */
	STORE_DB_PLANS,	    /* name -> plan record */
	STORE_DB_LOGS,	    /* log name -> head; NUL and log name -> blocks to be freed */
	STORE_DB_BLOCKS,    /* log name, u64 number -> block */
	STORE_DB_JOURNAL,   /* u16 slot -> what a batch took */
	STORE_DB_USES,	    /* id -> when the key was last used (struct store_use) */
	STORE_DB_STOPPED,   /* owner -> since when all keys of it are switched off */
	STORE_DB_AUDIT,	    /* u64 seq -> entry */
	STORE_DBS	    /* (count) */
};

/* Records, kept exact in the transactions that add and remove them (record "counts" in meta). */
struct store_counts {
	uint64_t keys, plans, logs, blocks, imported, stopped;
};

/* What a batch adds to the secrets under a version of the pepper, before it is written. */
#define STORE_NOTED_MAX 64
struct store_noted {
	uint32_t pepper;
	int64_t n[STORE_SECRETS];
	int64_t previous_until_us;
};

/* Where the audit trail begins and ends: its head, stored with each batch that changes it. */
struct store_trail {
	uint64_t last;			 /* number of the newest entry, 0: none */
	uint64_t pruned;		 /* those up to this one were removed on purpose */
	uint64_t pruned_told;		 /* of them an entry tells */
	uint8_t hash[DIGEST_LEN];	 /* link of the newest entry */
	uint8_t pruned_hash[DIGEST_LEN]; /* of the newest that was pruned */
	uint32_t sealed_by;		 /* as stored */
	int lost;			 /* the stored head is not one that we left */
	int changed;			 /* by the running batch */
};

/* What a batch changes in memory and an abort takes back. */
struct store_state {
	struct store_counts counts;
	struct store_trail trail;
	uint64_t next_take, needed_take; /* needed: as the journal's newest record says */
	size_t slot;			 /* behind that of the journal's newest record */
	uint64_t round_bytes;		 /* in the slots before it */
	size_t waiting;			 /* logs that are not read since the start */
};

/* How pages are checked (sums.c): not at all, or with the hash states that a key leads to. */
struct store_sums {
	enum { STORE_SUMS_UNKNOWN, STORE_SUMS_PLAIN, STORE_SUMS_KEYED } how;
	uint32_t inner[5], outer[5];
};

struct store {
	DB_ENV *env;
	DB *dbs[STORE_DBS];
	char *dir;	 /* absolute */
	const char *key; /* of the options, until they are opened; NULL: not encrypted */
	int dir_fd, lock_fd, mark_fd;
	DB_LSN marked;	/* mark.c's: up to there the log is on disk, all that is known of it */
	int has_mark;	/* the file said so */
	int needs_mark; /* the store says that there is one */
	int new_store;	/* being made */
	struct store_sums sums;
	uint64_t min_free_bytes;
	int64_t opened_us, recovery_us;

	/* Set by either thread (to the cause), never cleared: Berkeley DB wants recovery, which is
	 * a restart. */
	atomic_int panicked;
	atomic_int full; /* space ran out, and nothing was committed since */
	atomic_uint_fast64_t checkpoints;
	atomic_int_fast64_t hold_until_us; /* CLOCK_MONOTONIC; no checkpoint before */
	atomic_int_fast64_t hold_limit_us; /* whoever renews it: one behind this; 0: no one holds */
	atomic_int checkpointing;
	atomic_int_fast64_t said_second; /* Berkeley DB's messages in that second */
	atomic_uint said;
	DB_LSN checkpoint; /* the newest that housekeeping knows of; its own */

	int in_batch;
	DB_TXN *txn;  /* begun by the batch's first write */
	int poisoned; /* a write failed: the batch can only abort, and says why: */
	struct err poison;
	struct store_state now, before; /* before: as the batch found it */
	size_t nnoted;
	struct store_noted noted[STORE_NOTED_MAX];
	uint64_t commits, aborts;
	struct store_heads *heads;
	struct store_journal *journal;
	struct store_redo *redo;       /* NULL: nothing is left to be taken again */
	uint64_t takes_max;	       /* STORE_TAKES_MAX; tests make it smaller */
	struct store_windows *windows; /* sweep.c's; NULL until it knows the plans */
	struct store_sealer sealer;    /* of the audit trail; all NULL: nobody seals */

	uint8_t record[KEYREC_MAX]; /* being encoded; nobody keeps anything in it across a call */
};

/* ---- dir.c: the directory and the lock ---- */

#define STORE_LOCK_FILE "lock"

/* Fills dir, dir_fd and lock_fd of ${s}; the caller releases them on failure, too. */
int store_dir_claim(struct store *, const char *dir, struct err *)
    __attribute__((warn_unused_result));
/* Is there a store?  0, or -1. */
int store_dir_there(struct store *, struct err *) __attribute__((warn_unused_result));
/* Is each file that is there one, and may its owner read and write it?  0, or -1 naming it. */
int store_dir_files(struct store *, struct err *) __attribute__((warn_unused_result));
void store_dir_release(struct store *);

/* ---- mark.c: how far the log was on disk ---- */

#define STORE_MARK_FILE "flushed"

/* For ever, or until the file is replaced: what is in this directory is no store. */
int store_mark_unfinished(int dir_fd, const char *dir, struct err *)
    __attribute__((warn_unused_result));
/* In a copy that is no store yet: the log is believed, wherever it ends.  Not of half a store. */
int store_mark_forget(int dir_fd, const char *dir, struct err *)
    __attribute__((warn_unused_result));
/* Before recovery; a store that was refused for its log stays refused. */
int store_mark_read(struct store *, struct err *) __attribute__((warn_unused_result));
/* Still before it: the mark is there, if the store says that it has one. */
int store_mark_expect(struct store *, struct err *) __attribute__((warn_unused_result));
/* The log is not shorter than it was. */
int store_mark_check(struct store *, struct err *) __attribute__((warn_unused_result));
/* After recovery: the same as store_mark_expect, whatever could be read before. */
int store_mark_load(struct store *, struct err *) __attribute__((warn_unused_result));
/* From now on this store has a mark. */
int store_mark_begin(struct store *, struct err *) __attribute__((warn_unused_result));
/* By whoever flushes: should somebody have taken the file away, it is made anew. */
int store_mark_keep(struct store *, struct err *) __attribute__((warn_unused_result));
/* After a flush, by whoever flushed. */
int store_mark_write(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- pages.c: pages that are missing ---- */

/* Berkeley DB's pread and lseek. */
ssize_t store_pages_pread(int fd, void *, size_t, off_t);
int store_pages_seek(int fd, off_t, int whence);
/* Could the last call not read a page?  1 and its number, 0. */
int store_pages_bad(uint32_t *page);
/* Before recovery: files end with a page. */
int store_pages_whole(struct store *, struct err *) __attribute__((warn_unused_result));
/* A file that was opened is as long as it says of itself. */
int store_pages_check(struct store *, enum store_db, struct err *)
    __attribute__((warn_unused_result));
/* Are all of the ${n} bytes, at least one, zero?  1 or 0. */
int store_is_zero(const uint8_t *, size_t n);
/* Around each call of an access method. */
int store_pages_begin(struct store *, enum store_db, int writes, struct err *)
    __attribute__((warn_unused_result));
void store_pages_end(void);
/* The same of a file of such pages that was opened without an environment. */
void store_pages_alone(const struct store *, uint32_t page_bytes);
/* In the batch that makes a new store. */
int store_pages_first(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- sums.c: checksums of pages ---- */

/* Does the checksum of a page of ${n} bytes, as it lies on the disk, fit?  1 or 0. */
int store_sums_fit(const struct store_sums *, const uint8_t *page, size_t n);
/* s->sums from s->key; behind something that had Berkeley DB open the file of `meta`. */
int store_sums_learn(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- crypt.c ---- */

/* Before anything is opened: are the files encrypted with s->key, or not, as it says? */
int store_crypt_check(struct store *, struct err *) __attribute__((warn_unused_result));
/* meta.db by itself, only to be read, as it is before recovery: 0, or what Berkeley DB returned and
 * *db is NULL.  ${key} may be NULL. */
int store_crypt_open(const char *dir, const char *key, DB **db);
/* It is that key, as far as the file can tell. */
int store_crypt_key_fits(const char *dir, const char *key, struct err *)
    __attribute__((warn_unused_result));
/* For handles whose errors are ours to tell. */
void store_say_nothing(const DB_ENV *, const char *prefix, const char *message);

/* ---- sync.c: Berkeley DB's fsync, pwrite and open ---- */

int store_sync(int fd);
ssize_t store_sync_pwrite(int fd, const void *, size_t, off_t);
int store_sync_open(const char *, int flags, ...);
/* The errno of a write that found no space since this was asked last, or 0. */
int store_sync_full(void);

/* ---- heads.c: limit logs in memory ---- */

/* A log in memory; all of it is valid until the next call that adds or drops one. */
struct store_head {
	uint64_t behind;  /* the oldest take that the stored record lacks; 0: it lacks none */
	int stored;	  /* there is a record */
	uint32_t waiting; /* redo.c's: it was not used since the start, and is not read yet; or 0 */
	uint8_t name_len;
	char name[STORE_LOG_NAME_MAX];
	struct slog log; /* last: copied as far as it is used */
};

struct store_heads;
/* As many as fit into ${bytes}, within reason; NULL: no memory. */
struct store_heads *store_heads_new(uint64_t bytes);
/* The memory that they have. */
uint64_t store_heads_bytes(const struct store_heads *);
void store_heads_free(struct store_heads *);
/* NULL: not in memory. */
struct store_head *store_heads_find(struct store_heads *, struct span name);
/* The one to drop before another is added: the least recently used; NULL while there is room. */
struct store_head *store_heads_excess(struct store_heads *);
/* An empty log, in a batch, when nothing is in excess. */
struct store_head *store_heads_add(struct store_heads *, struct span name);
/* In a batch; one that is behind or was touched must have been touched before. */
void store_heads_drop(struct store_heads *, struct store_head *);
/* Outside of a batch: whether one that fails is to leave logs as they were.  It is, if not told. */
void store_heads_undo(struct store_heads *, int wanted);
/* Before a change, in a batch: 0, or -1 without memory.  _end: before one that leaves the log's
 * entries as they are, or adds some behind them. */
int store_heads_touch(struct store_heads *, struct store_head *, struct err *)
    __attribute__((warn_unused_result));
int store_heads_touch_end(struct store_heads *, struct store_head *, struct err *)
    __attribute__((warn_unused_result));
/* The log that is behind for longest, or NULL; and from which take on one is (0: none). */
struct store_head *store_heads_behind(const struct store_heads *);
void store_heads_set_behind(struct store_heads *, struct store_head *, uint64_t take);
/* A batch begins; it was not committed: everything is as it was then. */
void store_heads_begin(struct store_heads *);
void store_heads_abort(struct store_heads *);
/* How many have no record yet, of those that were read. */
size_t store_heads_unstored(const struct store_heads *);

/* ---- journal.c: what was taken from limits ---- */

/* A log's record lacks at most this many takes (of all logs): what is to be redone after a kill. */
#define STORE_TAKES_MAX 65536

struct store_journal;
struct store_journal *store_journal_new(void);
/* A batch begins; it was not committed. */
void store_journal_begin(struct store *);
void store_journal_abort(struct store *);
/* Has the running batch anything for the journal? */
int store_journal_has(const struct store *);
/* A take from a limit, by what slog_take was told. */
struct store_take {
	uint64_t number; /* they count up from 1, over all logs, for ever */
	struct span log;
	struct slog_limit limit;
	int64_t now_us;
	uint64_t cost;
};
/* In a batch: gives it its number.  0 or -1. */
int store_journal_add(struct store *, struct store_take *, struct err *)
    __attribute__((warn_unused_result));
/* The batch's record, when it has takes or a note. */
int store_journal_write(struct store *, struct err *) __attribute__((warn_unused_result));
/* All takes there are, in their order; and the numbers of the next ones are known.  After opening.
 */
typedef int store_take_fn(struct store *, const struct store_take *, struct err *);
int store_journal_walk(struct store *, store_take_fn *, struct err *)
    __attribute__((warn_unused_result));

/* ---- db.c: Berkeley DB's calls ---- */

extern const struct store_db_spec {
	const char *name, *file;
	DBTYPE type;
	uint32_t page_bytes;
} store_db_specs[STORE_DBS];

static inline struct span
store_span(const void *p, size_t len)
{
	return (struct span){p, len};
}

/* The error for what Berkeley DB returned while ${doing} something.  Always -1. */
int store_fail(struct store *, int ret, const char *doing, struct err *);

/*
 * Reads: 1 found, 0 not, -1.  A value longer than ${cap} is ERR_CORRUPT, for nothing this release
 * writes is. Writes: only in a batch; a failing one poisons it.  insert: 1 done, 0 the key was
 * there (nothing changed).  del: 1 done, 0 it was not there.
 */
int store_db_get(struct store *, enum store_db, struct span key, void *, size_t cap, size_t *len,
    struct err *) __attribute__((warn_unused_result));
int store_db_put(struct store *, enum store_db, struct span key, struct span value, struct err *)
    __attribute__((warn_unused_result));
int store_db_insert(struct store *, enum store_db, struct span key, struct span value, struct err *)
    __attribute__((warn_unused_result));
/* Replace ${dlen} bytes at ${doff} of a record that is there. */
int store_db_patch(struct store *, enum store_db, struct span key, struct span bytes, uint32_t doff,
    uint32_t dlen, struct err *) __attribute__((warn_unused_result));
int store_db_del(struct store *, enum store_db, struct span key, struct err *)
    __attribute__((warn_unused_result));

/*
 * A cursor, in a batch one of its transaction.  ${value} (NULL: values are not read) is the
 * caller's and must outlive it.  The moves return 1 (key, len and value are those of the record
 * there), 0 (none), -1.  Close it before the batch ends.
 */
struct store_scan {
	struct store *store;
	enum store_db which;
	DBC *cursor;
	uint8_t key[STORE_KEY_MAX];
	size_t key_len;
	void *value;
	size_t value_cap, value_len;
	int cut; /* set after opening: a value that is too long is cut off at value_cap instead */
};
int store_scan_open(struct store_scan *, struct store *, enum store_db, void *value, size_t cap,
    struct err *) __attribute__((warn_unused_result));
/* To the first record whose key is not below ${from}; to the one after, the one before, the last.
 */
int store_scan_seek(struct store_scan *, struct span from, struct err *)
    __attribute__((warn_unused_result));
int store_scan_next(struct store_scan *, struct err *) __attribute__((warn_unused_result));
int store_scan_prev(struct store_scan *, struct err *) __attribute__((warn_unused_result));
int store_scan_last(struct store_scan *, struct err *) __attribute__((warn_unused_result));
void store_scan_close(struct store_scan *);
struct span store_scan_key(const struct store_scan *);

/* ---- keys.c ---- */

/* Checks and encodes ${rec} into the store's buffer; *bytes is a view of it. */
int store_key_encode(struct store *, const struct keyrec *, struct span *bytes, struct err *)
    __attribute__((warn_unused_result));
/* The record under a digest that must be there, into ${buf}; it must be that of ${id}. */
int store_key_current(struct store *, const uint8_t digest[STORE_DIGEST_LEN], const char *id,
    uint8_t *buf, struct keyrec *, struct err *) __attribute__((warn_unused_result));
/* 0 when nothing is under ${digest}, for the key ${id}. */
int store_digest_free(struct store *, const uint8_t digest[STORE_DIGEST_LEN], const char *id,
    struct err *) __attribute__((warn_unused_result));
/* Replace ${old} (under ${from}) by ${rec} under ${to}, encoded as ${bytes}. */
int store_key_replace(struct store *, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *old, const struct keyrec *rec,
    struct span bytes, struct err *) __attribute__((warn_unused_result));
/* A record and its index entries. */
int store_key_remove(struct store *, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *,
    struct err *) __attribute__((warn_unused_result));

/* ---- batch.c ---- */

/* The running batch's transaction, begun now if it is the first write; NULL and ${e} outside a
 * batch. */
DB_TXN *store_txn(struct store *, struct err *);
/*
 * Runs what makes transactions of Berkeley DB's own: while another one is open, which changes
 * nothing, no checkpoint begins with the first record of one of them (batch.c).  What ${fn}
 * returns, or -1.
 */
int store_guarded(struct store *, int (*fn)(void *, struct err *), void *, struct err *)
    __attribute__((warn_unused_result));
/* The running batch is half done: it can only abort now, for the reason in ${e}.  Always -1. */
int store_poison(struct store *, const struct err *);

/* ---- copy.c ---- */

/* As store_copy_source, into a directory that is open; ${to} is its name for messages. */
int store_copy_at(const struct store_source *, int to_fd, const char *to, store_copied_fn *, void *,
    struct err *) __attribute__((warn_unused_result));
int store_is_log_name(const char *name);

/* ---- source.c ---- */

/* The name of the log number ${at} of those there are, in their order; NULL behind the last. */
const char *store_source_log(const struct store_source *, size_t at);
/* 0, or -1 and ERR_BUSY: somebody else has the lock than we, by ${held_fd} (or -1).  A copy of what
 * somebody is writing to would be of no moment. */
int store_source_unowned(const struct store_source *, int held_fd, struct err *)
    __attribute__((warn_unused_result));

/* ---- meta.c: format and counts ---- */

/* Look at the format before anything else is opened: 1 ours, 0 a new store, -1. */
int store_format_read(struct store *, struct err *) __attribute__((warn_unused_result));
/* A record as it is before recovery: 1; 0 when there is none, or it cannot be read. */
int store_meta_peek(struct store *, const char *name, uint8_t *, size_t cap, size_t *);
/* In a batch: make a new store ours. */
int store_format_write(struct store *, struct err *) __attribute__((warn_unused_result));
int store_counts_read(struct store *, struct err *) __attribute__((warn_unused_result));
int store_counts_write(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- secrets.c ---- */

/*
 * In a batch, beside the change of a record: there is one more secret of this kind under ${pepper}
 * (${by} 1), or one less (-1).  0 or -1.
 */
int store_secrets_note(struct store *, uint32_t pepper, enum keyrec_digest, enum store_secret_kind,
    int by, struct err *) __attribute__((warn_unused_result));
/* In a batch: a previous secret under ${pepper} works until then.  0 or -1. */
int store_secrets_until(struct store *, uint32_t pepper, int64_t until_us, struct err *)
    __attribute__((warn_unused_result));
/* Write what was noted. */
int store_secrets_write(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- sweep.c ---- */

/* A plan has changed. */
void store_windows_forget(struct store *);

/* ---- audit.c ---- */

/* After opening: where the trail ends, as far as that can be told without a sealer. */
int store_audit_load(struct store *, struct err *) __attribute__((warn_unused_result));
/* In a batch, before its commit: the head, when it has changed; and that of a new store. */
int store_audit_batch_end(struct store *, struct err *) __attribute__((warn_unused_result));
int store_audit_begin(struct store *, struct err *) __attribute__((warn_unused_result));
#define STORE_AUDIT_HEAD "audit" /* its name in meta */

/* ---- logs.c ---- */

/* The block verbs of one log, for slog_peek and slog_take. ${log} must outlive them. */
struct store_log_blocks {
	struct store *store;
	struct span log;
};
struct slog_io store_log_io(struct store_log_blocks *);

#define STORE_BLOCK_KEY_MAX (STORE_LOG_NAME_MAX + 8)

/* The key of a log's block, into ${buf}. */
struct span store_block_key(uint8_t buf[STORE_BLOCK_KEY_MAX], struct span log, uint64_t no);
/* The limit's name in a log's; empty when the log's is of no form. */
struct span store_log_limit(struct span log);
/* slog_load, with the log's name in the error. */
int store_head_load(struct store *, struct span log, struct span bytes, struct slog *, struct err *)
    __attribute__((warn_unused_result));
/* The head record: 1, 0 there is none (then ${L} is an empty log), -1. */
int store_head_read(struct store *, struct span log, struct slog *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: its record decodes no more, so that all of its checks are refused until a backup is
 * restored.  0 or -1. */
int store_head_shut(struct store *, const struct store_head *, struct err *)
    __attribute__((warn_unused_result));
/* An empty log in memory, in a batch; another may have to go for it.  NULL with an error. */
struct store_head *store_head_add(struct store *, struct span log, struct err *)
    __attribute__((warn_unused_result));
/* Take from a log in memory, in a batch: 0 or -1. */
int store_head_take(struct store *, struct store_head *, const struct store_take *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: write the records of logs that lack takes before ${take}, ${max} of them: 1 when none
 * is left, 0, -1. */
int store_logs_catch_up(struct store *, uint64_t take, unsigned max, struct err *)
    __attribute__((warn_unused_result));
/* Before closing: so that there is nothing to be redone. */
int store_logs_settle(struct store *, struct err *) __attribute__((warn_unused_result));
/* The last work of a batch that writes. */
int store_logs_batch_end(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- redo.c: takes that the logs' records lack after a kill ---- */

/* After opening: they are read, and wait until their log is used. */
int store_redo_begin(struct store *, struct err *) __attribute__((warn_unused_result));
/*
 * In a batch: a log that is not read yet gets its record and the takes that this lacks.  1; 0 with
 * an error when the record is damaged, or a block (then the log is shut): it waits as before; -1:
 * the batch can only abort.
 */
int store_redo_log(struct store *, struct store_head *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: a log that waits is forgotten with its takes.  0 or -1. */
int store_redo_drop(struct store *, struct store_head *, struct err *)
    __attribute__((warn_unused_result));
/* Outside of a batch: the same as store_redo_log in one of its own, if there is that log and it
 * waits.  0 or -1. */
int store_redo_now(struct store *, struct span log, struct err *)
    __attribute__((warn_unused_result));
/* Nothing waits any more: the memory is given back.  Outside of a batch. */
void store_redo_end(struct store *);

#endif /* !STORE_INTERNAL_H_ */
