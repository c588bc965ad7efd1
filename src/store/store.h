/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef STORE_STORE_H_
#define STORE_STORE_H_

/*
 * The store: keys, plans, limit logs and the audit trail in one Berkeley DB environment that
 * exactly one process owns (an OFD lock on a file in its directory; DESIGN.md "The store").
 *
 * The verbs below speak of keys, plans and logs, never of Berkeley DB; store/ is the only room that
 * includes <db.h>.  A second engine would implement the same verbs.
 *
 * Threads: everything is called from the owner's main thread, but for store_flush,
 * store_checkpoint, store_housekeep and store_space, which may be called from one other thread at
 * the same time: they wait for the disk and touch no access method.
 *
 * Writing: only inside store_batch.  Reads see what the running batch has written.  A committed
 * batch survives a kill of the process (WRITE_NOSYNC: it is with the kernel); it survives power
 * loss once store_flush has returned after it.
 *
 * fsync is never retried: a failing one ends the process (exit status STORE_EXIT_FSYNC).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"
#include "core/keyrec.h"
#include "core/plan.h"
#include "core/rotation.h"
#include "core/slog.h"

#define STORE_DIGEST_LEN 32
#define STORE_EXIT_FSYNC 74
#define STORE_WHO_MAX 128 /* bytes of the name of whoever changed something */

struct store;

struct store_options {
	const char *dir;	 /* mode 0700, made when missing */
	uint64_t cache_bytes;	 /* Berkeley DB's cache, and a quarter of it limit logs */
	uint64_t min_free_bytes; /* writes of limits stop below this much free space */
	int there;		 /* one that is missing is not made: ERR_UNAVAILABLE */
	const char
	    *key; /* STORE_KEY_DIGITS hex digits: files are encrypted (AES); NULL: they are not */
};
#define STORE_KEY_DIGITS 64

/*
 * store_open(options, e): lock, recover, open, upgrade.  NULL and ${e}: ERR_BUSY when another
 * process owns the store (message says its pid), ERR_VERSION when a newer release wrote it,
 * ERR_CONFLICT when it is encrypted and there is no key or another one, or the other way round,
 * ERR_FULL, ERR_SYSTEM (read-only, permissions; message names the directory).
 */
struct store *store_open(const struct store_options *, struct err *);

/* Checkpoint, close, unlock; sets the caller's pointer to NULL.  Harmless on NULL. */
void store_close(struct store **);

/* 0; -1 when it has stopped for good (damage, a disk that fails): only opening it again helps. */
int store_alive(struct store *, struct err *) __attribute__((warn_unused_result));

/*
 * store_batch(S, fn, cookie, e): the one transaction wrapper.  Begins, calls ${fn}, commits when it
 * returns 0, else aborts.  0 when committed (or when nothing was written); -1 otherwise, and then
 * nothing of it is stored.  ERR_FULL when space ran out; the store goes on serving reads, and
 * writes again when there is space.  Not reentrant.
 */
int store_batch(struct store *, int (*)(void *cookie, struct err *), void *cookie, struct err *)
    __attribute__((warn_unused_result));

/* ---- keys.  Reads: 1 found, 0 not, -1 error. ---- */

/*
 * store_key_get(S, digest, buf, &rec, e): the record under a digest, decoded; it borrows from
 * ${buf} (KEYREC_MAX bytes, the caller's).
 */
int store_key_get(struct store *, const uint8_t[STORE_DIGEST_LEN], uint8_t *buf, struct keyrec *,
    struct err *) __attribute__((warn_unused_result));
/* The digest of the key with this public id. */
int store_key_find(struct store *, struct span id, uint8_t[STORE_DIGEST_LEN], struct err *)
    __attribute__((warn_unused_result));
/*
 * In a batch; 0 or -1.  store_key_insert: ERR_CONFLICT when the digest or the id is there already.
 * store_key_update keeps id and digest; owner and plan may change.  store_key_rehash moves a record
 * to a new digest.  ERR_NOT_FOUND, ERR_CONFLICT and ERR_INPUT come before the first write: the
 * batch may go on.
 */
int store_key_insert(struct store *, const uint8_t[STORE_DIGEST_LEN], const struct keyrec *,
    struct err *) __attribute__((warn_unused_result));
int store_key_update(struct store *, const uint8_t[STORE_DIGEST_LEN], const struct keyrec *,
    struct err *) __attribute__((warn_unused_result));
int store_key_rehash(struct store *, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *, struct err *)
    __attribute__((warn_unused_result));

/*
 * Secrets of a key: the present one, and those before it that are still remembered, the youngest
 * STORE_OLD_SECRETS_MAX.  A digest that is none of a key's is as good as unknown.
 *
 * store_key_match(S, digest, buf, &rec, &match, e): like store_key_get, and finds the key by an
 * older secret of it as well.
 */
#define STORE_OLD_SECRETS_MAX 4
struct store_match {
	enum rotation_secret which;
	enum keyrec_digest digest_of;	/* what that secret's digest was made from */
	uint8_t home[STORE_DIGEST_LEN]; /* the digest that the record is under */
};
int store_key_match(struct store *, const uint8_t digest[STORE_DIGEST_LEN], uint8_t *buf,
    struct keyrec *, struct store_match *, struct err *) __attribute__((warn_unused_result));
/*
 * In a batch.  store_key_rotate: the record moves from its digest to ${to}, that of a new secret;
 * rec->previous must be ${from}, which is remembered.  store_previous_rehash: the previous secret
 * gets another digest, made with ${pepper}; ${rec} is under ${home}.  Its previous is changed and
 * borrows from ${to}.  Errors as with the verbs above.
 */
int store_key_rotate(struct store *, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *, struct err *)
    __attribute__((warn_unused_result));
int store_previous_rehash(struct store *, const uint8_t home[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], uint32_t pepper, struct keyrec *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: the key ${id} with all its secrets, and when it was used.  ERR_NOT_FOUND. */
int store_key_delete(struct store *, const uint8_t digest[STORE_DIGEST_LEN], const char *id,
    struct err *) __attribute__((warn_unused_result));

/* When a key was last used, wall clock; 0: never.  get: 1, 0, -1; put in a batch. */
struct store_use {
	int64_t used_us, previous_used_us; /* at all; with a secret that had been replaced */
};
int store_use_get(struct store *, struct span id, struct store_use *, struct err *)
    __attribute__((warn_unused_result));
int store_use_put(struct store *, struct span id, const struct store_use *, struct err *)
    __attribute__((warn_unused_result));

/*
 * Walking in order of id, or through one owner's keys in order of id.  ${after}: start behind
 * this id (empty: at the beginning).  ${fn} returns 0 to go on, 1 to stop, -1 to fail.  The record
 * borrows from memory of the walk.  Returns 0/1/-1 as ${fn} did last.  Writing to keys from ${fn}
 * is not allowed.
 */
typedef int store_key_fn(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *, struct err *);
int store_keys_walk(struct store *, struct span after, store_key_fn *, void *, struct err *)
    __attribute__((warn_unused_result));
int store_owner_walk(struct store *, struct span owner, struct span after, store_key_fn *, void *,
    struct err *) __attribute__((warn_unused_result));
/* *count: how many keys name this plan, counted up to STORE_PLAN_USERS_MAX.  0 or -1. */
#define STORE_PLAN_USERS_MAX 1000
int store_plan_users(struct store *, struct span plan, uint64_t *count, struct err *)
    __attribute__((warn_unused_result));

/*
 * How many secrets are under a version of the pepper: of keys that are not revoked, of those that
 * are, and those before a key's present one.  Exact, and known without looking at keys.
 */
enum store_secret_kind {
	STORE_SECRET_LIVE,
	STORE_SECRET_REVOKED,
	STORE_SECRET_PREVIOUS,
	STORE_SECRETS /* (count) */
};
struct store_secrets {
	uint32_t pepper;
	uint64_t n[STORE_SECRETS];
	int64_t
	    previous_until_us; /* none of the previous ones works later than then (wall clock) */
};
/* Of this version: 0 (all zero when there are none), -1. */
int store_secrets_get(struct store *, uint32_t pepper, struct store_secrets *, struct err *)
    __attribute__((warn_unused_result));
/* Of every version that has any, in ascending order. */
typedef int store_secrets_fn(void *cookie, const struct store_secrets *, struct err *);
int store_secrets_walk(struct store *, store_secrets_fn *, void *, struct err *)
    __attribute__((warn_unused_result));
/* Secrets of which only the SHA-256 was ever here. */
uint64_t store_imported(const struct store *);

/* ---- owners ---- */

/* All keys of an owner are switched off since then, by whom and why. */
struct store_stop {
	int64_t since_us; /* wall clock */
	uint32_t uid;
	char by[STORE_WHO_MAX + 1], reason[KEYREC_REASON_MAX + 1];
};
/* 1 switched off, 0 not, -1.  *stop may be NULL.  As long as no owner is: without a look at the
 * store. */
int store_owner_stopped(struct store *, struct span owner, struct store_stop *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: 1 done, 0 it was so already (nothing is changed), -1. */
int store_owner_stop(struct store *, struct span owner, const struct store_stop *, struct err *)
    __attribute__((warn_unused_result));
int store_owner_resume(struct store *, struct span owner, struct err *)
    __attribute__((warn_unused_result));
/* How many are switched off. */
uint64_t store_stopped(const struct store *);

/*
 * Owners in the order of their names, behind ${after}: each that has a key or is switched off
 * (${stopped}: only those that are).  ${keys}: how many it has, counted up to STORE_OWNER_KEYS_MAX.
 * ${fn} returns as those of the other walks.
 */
#define STORE_OWNER_KEYS_MAX 1000
typedef int store_owner_fn(void *cookie, struct span owner, uint64_t keys, struct err *);
int store_owners_walk(struct store *, struct span after, int stopped, store_owner_fn *, void *,
    struct err *) __attribute__((warn_unused_result));
/* *count: its keys, counted up to STORE_OWNER_KEYS_MAX.  0 or -1. */
int store_owner_keys(struct store *, struct span owner, uint64_t *count, struct err *)
    __attribute__((warn_unused_result));

/* ---- plans.  get: 1, 0, -1; put replaces; del of one that is not there: ERR_NOT_FOUND. ---- */

int store_plan_get(struct store *, struct span name, struct plan *, struct err *)
    __attribute__((warn_unused_result));
int store_plan_put(struct store *, const struct plan *, struct err *)
    __attribute__((warn_unused_result));
int store_plan_del(struct store *, struct span name, struct err *)
    __attribute__((warn_unused_result));
typedef int store_plan_fn(void *cookie, const struct plan *, struct err *);
int store_plans_walk(struct store *, store_plan_fn *, void *, struct err *)
    __attribute__((warn_unused_result));

/* ---- limit logs ---- */

/* Names a log: 'k' and a key id, or 'o' and 16 bytes of SHA-256(owner), then what the plan calls
 * the limit's log. */
#define STORE_LOG_NAME_MAX (1 + TOKEN_ID_LEN + LIMIT_LOG_MAX)

/*
 * store_log_look(S, log, limit, now_us, cost, &state, e): would it fit?  1, 0, -1: slog_peek on
 * that log.  Stores nothing.
 */
int store_log_look(struct store *, struct span log, const struct slog_limit *, int64_t now_us,
    uint64_t cost, struct slog_state *, struct err *) __attribute__((warn_unused_result));
/*
 * store_log_take(S, log, limit, now_us, cost, e): in a batch; slog_take on that log.  0 or -1, and
 * then the batch cannot be committed.
 *
 * A take is one entry in the batch's journal record; the log's own record follows later, for many
 * takes at once (DESIGN.md "The journal").
 */
int store_log_take(struct store *, struct span log, const struct slog_limit *, int64_t now_us,
    uint64_t cost, struct err *) __attribute__((warn_unused_result));

/*
 * store_redo(S, max, e): what was taken before a kill, and is not in the records of logs yet, is
 * taken again in a log when it is used.  This does it for ${max} more takes, so that it comes to an
 * end.  Outside of a batch; 1 when nothing is left, 0, -1 (what is left waits as before).
 */
int store_redo(struct store *, unsigned max, struct err *) __attribute__((warn_unused_result));

/*
 * A note of the keeper's that is stored with what this batch takes, up to STORE_NOTE_MAX bytes
 * (replaces an earlier one of the batch); and that of the latest batch that took anything or had
 * one: 1, 0 none, -1.
 */
#define STORE_NOTE_MAX 16384
int store_note_put(struct store *, const void *, size_t, struct err *)
    __attribute__((warn_unused_result));
int store_note_get(struct store *, uint8_t *, size_t cap, size_t *, struct err *)
    __attribute__((warn_unused_result));

/*
 * How many units the log of a limit that is counted per owner keeps when they have expired: its own
 * ${units}, or those of the largest limit that other plans count there, when one of them looks
 * further back than ${window_us}.  Keys of one owner may have different plans at a time.
 */
uint64_t store_owner_log_units(
    struct store *, struct span limit_log, int64_t window_us, uint64_t units);

/*
 * store_logs_sweep(S, now_us, keep_us, max, cursor, &freed, e): in a batch; looks at up to ${max}
 * logs from the cursor on and deletes those whose last unit left its window more than ${keep_us}
 * ago (the window of the last take, or the longest that any plan gives a limit of that log now),
 * blocks and all.  ${cursor} (caller's, zeroed at first) remembers the place and wraps around.
 * 0 or -1; 1 when the end was reached.  A call frees a bounded number of blocks; it returns 0 while
 * there are more, so call again until 1.  A head that does not decode is logged and passed over.
 */
struct store_cursor {
	uint64_t before; /* takes that the records of logs have to know of, in this pass */
	size_t len;
	uint8_t at[STORE_LOG_NAME_MAX];
};
int store_logs_sweep(struct store *, int64_t now_us, int64_t keep_us, unsigned max,
    struct store_cursor *, unsigned *freed, struct err *) __attribute__((warn_unused_result));

/* ---- audit: append-only, numbered from 1, each entry sealed in a chain ---- */

/* How somebody came to us. */
enum store_via {
	STORE_VIA_SOCKET, /* the keeper's socket */
	STORE_VIA_TOOL,	  /* the tool working alone */
	STORE_VIA_GATE,	  /* a client's request */
	STORE_VIA_KEEPER, /* by itself */
	STORE_VIAS	  /* (count) */
};

struct store_audit {
	uint64_t seq;	 /* assigned by store_audit_append */
	int64_t when_us; /* wall clock */
	uint32_t uid;	 /* who asked; UINT32_MAX: nobody who has one */
	uint32_t pid;	 /* of the process that asked; 0: none */
	enum store_via via;
	struct span actor;     /* name of that user; "gate", "keeper" */
	struct span admin_key; /* id of the key that he administers with; empty: his uid sufficed */
	struct span address;   /* of the client; empty: local */
	struct span op;	       /* "key.create" */
	struct span subject;   /* key id, plan name or owner */
	struct span error;     /* why nothing was done, by the name of the code; empty: it was */
	struct span detail;    /* JSON object, no secrets */
	int damaged;	       /* in a walk: the record is none, and only seq is known */
};
#define STORE_AUDIT_WORD_MAX 128     /* bytes of each text but detail */
#define STORE_AUDIT_DETAIL_MAX 49152 /* of detail */

/*
 * Who seals: HMACs with keys that are not in the store (DESIGN.md "The audit trail").  seal: with
 * the newest key, whose version goes into *by; 0 or -1.  check: 1 it is the seal that this version
 * makes, 0 it is not, -1 that version is not known (any more).
 */
struct store_sealer {
	int (*seal)(void *cookie, struct span bytes, uint32_t *by, uint8_t out[32]);
	int (*check)(void *cookie, uint32_t by, struct span bytes, const uint8_t seal[32]);
	void *cookie;
};
/*
 * From now on entries are sealed, and the end of the trail is believed only when it is.  1; 0:
 * somebody has changed where it ends, or its newest entry, while the store was closed (what is
 * appended leaves a trace of that for ever); -1.  Once more, after the newest key has changed: the
 * end is sealed anew, in a batch of its own.
 */
int store_audit_open(struct store *, const struct store_sealer *, struct err *)
    __attribute__((warn_unused_result));

int store_audit_append(struct store *, struct store_audit *, struct err *)
    __attribute__((warn_unused_result));
/* The number of the newest entry, the running batch's included; 0: none. */
uint64_t store_audit_last(const struct store *);
typedef int store_audit_fn(void *cookie, const struct store_audit *, struct err *);
/* From seq > ${after} upwards; the entry borrows from memory of the walk.  Returns as the last
 * ${fn} did, like the other walks. */
int store_audit_walk(struct store *, uint64_t after, store_audit_fn *, void *, struct err *)
    __attribute__((warn_unused_result));
/*
 * For --since: *after is such that a walk from it begins with the first entry whose time is >=
 * ${since_us}.  A binary search, which takes times to increase: where the wall clock was set back
 * it may land on either side of that step.
 */
int store_audit_seek(struct store *, int64_t since_us, uint64_t *after, struct err *)
    __attribute__((warn_unused_result));

/*
 * store_audit_prune(S, before_us, max, e): in a batch; removes entries from the oldest on, up to
 * ${max}, while they are older than ${before_us} and not the newest.  1 when there may be more, 0,
 * -1.  What was removed and no entry tells of yet: store_audit_pruned; an entry that does is
 * followed by store_audit_pruned_told in the same batch.
 */
int store_audit_prune(struct store *, int64_t before_us, unsigned max, struct err *)
    __attribute__((warn_unused_result));
struct store_pruned {
	uint64_t from, to; /* 0, 0: nothing */
	uint8_t hash[32];  /* of the entry ${to} */
};
void store_audit_pruned(const struct store *, struct store_pruned *);
void store_audit_pruned_told(struct store *);

/*
 * Is the trail what was written?  A slice of at most ${max} entries at a time: *v is zeroed by the
 * caller at first and carries the chain from one slice to the next.  What is found goes to ${fn},
 * in order.  1 when there is more, 0 at the end, -1.
 */
enum store_flaw {
	STORE_FLAW_MISSING,    /* entries from..to are not there */
	STORE_FLAW_CHANGED,    /* an entry is not what was written under its number */
	STORE_FLAW_REPLACED,   /* it is whole, but what follows was not written after it */
	STORE_FLAW_UNREADABLE, /* it is no entry at all */
	STORE_FLAW_FOREIGN, /* behind ${to} something that has no number, or before the first of all
			     */
	STORE_FLAW_HEAD,    /* where the trail ends (${to}) has been changed or is gone */
	STORE_FLAW_UNEXPECTED, /* an entry has not the hash that the caller knows of */
	STORE_FLAWS	       /* (count) */
};
struct store_chain {
	uint64_t after;	 /* looked at up to here */
	uint64_t looked; /* at so many, by all slices */
	int linked;	 /* ${hash} is the link of entry ${after} */
	int sealed;	 /* and its seal was ours */
	uint8_t hash[32];
	uint64_t expect; /* the caller knows the hash of this entry (0: of none) */
	uint8_t expect_hash[32];
};
typedef void store_flaw_fn(void *cookie, enum store_flaw, uint64_t from, uint64_t to);
int store_audit_verify(struct store *, struct store_chain *, unsigned max, store_flaw_fn *, void *,
    struct err *) __attribute__((warn_unused_result));
/* The newest entry's number and hash: what is written down elsewhere to find that the whole store
 * was put back. */
uint64_t store_audit_head(const struct store *, uint8_t hash[32]);

/* ---- small named records (steady clock, fingerprints) ---- */

/* get: 1, 0, -1.  Names: up to 64 bytes; "format", "counts", "audit" and "secrets.*" are the
 * store's own. */
#define STORE_META_MAX 16384
int store_meta_get(struct store *, const char *name, uint8_t *, size_t cap, size_t *, struct err *)
    __attribute__((warn_unused_result));
int store_meta_put(struct store *, const char *name, const void *, size_t, struct err *)
    __attribute__((warn_unused_result));

/* ---- housekeeping: may block on the disk; from one other thread ---- */

/* Hard on disk: every batch committed before the call.  0, or -1 (never: a failing fsync exits). */
int store_flush(struct store *, struct err *) __attribute__((warn_unused_result));
/*
 * When ${force}, or so much log came since the last one: a checkpoint, and logs that are no longer
 * needed are removed.  To be called behind each flush: what a recovery has to read is that much,
 * and what comes until the next look.  It costs nothing when it is not time.
 */
#define STORE_CHECKPOINT_BYTES (3u << 20)
int store_checkpoint(struct store *, int force, struct err *) __attribute__((warn_unused_result));
/* That, and trickle dirty pages: once a second. */
int store_housekeep(struct store *, int force, struct err *) __attribute__((warn_unused_result));
/* Free space looked at now: 1 enough, 0 below min_free_bytes (then limit writes should be refused),
 * -1. */
int store_space(struct store *, uint64_t *free_bytes, struct err *)
    __attribute__((warn_unused_result));

/* ---- backups ---- */

/* Whoever holds, and however often he renews that: a checkpoint is due behind so long a time. */
#define STORE_HOLD_MAX_US (INT64_C(30) * 60 * 1000000)
/*
 * store_hold(S, for_us, &moment): take no checkpoint and remove no log for so long from now on (0:
 * no longer).  1; 0 while an earlier checkpoint is still being written: ask again until 1.
 *
 * Who copies asks before and after.  What was copied between two moments that are the same is of
 * one store, without a checkpoint in it, whoever else held, let go or forgot to meanwhile.
 */
struct store_moment {
	int64_t opened_us;
	uint64_t checkpoints;
};
int store_hold(struct store *, int64_t for_us, struct store_moment *);
/*
 * store_copy(from, to, copied, cookie, e): copies the files of the store in directory ${from},
 * which its owner holds or nobody owns, into the empty directory ${to}.  Opening the copy recovers
 * it.
 * ${copied} (may be NULL) is told the bytes so far; another answer than 0 ends it.  0 or -1, and
 * then what is in ${to} is of no use.
 */
typedef int store_copied_fn(void *cookie, uint64_t bytes);
int store_copy(const char *from, const char *to, store_copied_fn *, void *, struct err *)
    __attribute__((warn_unused_result));

/*
 * store_source_open(dir, e): the files of a store that nobody owns, and ${dir}/backup.json, opened
 * by one who may for one who may not: what is copied of it needs no right any more.  NULL:
 * ERR_NOT_FOUND when there is no directory, ERR_CORRUPT when a name is no file, ERR_DENIED when
 * root would open what belongs to another user than ${dir}.  What is missing is noticed by who
 * copies, or asks.
 */
#define STORE_SOURCE_MANIFEST "backup.json"
struct store_source;
struct store_source *store_source_open(const char *dir, struct err *);
void store_source_close(struct store_source **); /* harmless on NULL */
const char *store_source_dir(const struct store_source *);
/* The name of the database number ${at} of those that are missing; NULL behind the last. */
const char *store_source_missing(const struct store_source *, size_t at);
/* Is there nothing of a store?  1 or 0. */
int store_source_is_none(const struct store_source *);
/* Is it encrypted?  1, 0, -1 it has no file that would tell. */
int store_source_encrypted(const struct store_source *);
/* The descriptor, which stays the source's, of one of them; -1 and errno. */
int store_source_file(const struct store_source *, const char *name);
/* As store_copy; ERR_BUSY when somebody owns it. */
int store_copy_source(const struct store_source *, const char *to, store_copied_fn *, void *,
    struct err *) __attribute__((warn_unused_result));

/*
 * store_restore(dir, restore, e): the store in r->source, which may be that in ${dir}, becomes that
 * in ${dir}.  ERR_BUSY when somebody owns either; ERR_CONFLICT when there is one and r->replaced is
 * NULL.
 */
struct store_restore {
	const struct store_source *source;
	const char *replaced; /* name of a new directory in ${dir} for what is there now, or NULL */
	int accept_log;	      /* also when its mark is missing or unreadable, or ahead of it */
	/* May the copy in directory ${copy}, which is complete, take the store's place?  0 or -1;
	 * NULL: yes.  It may open it, which recovers it. */
	int (*check)(void *cookie, const char *copy, struct err *);
	store_copied_fn *copied; /* as for store_copy */
	void *cookie;		 /* of both */
};
int store_restore(const char *dir, const struct store_restore *, struct err *)
    __attribute__((warn_unused_result));

/*
 * That a log was taken as it is (accept_log), and by whom: in a batch put into the copy, and taken
 * out again when the audit trail has it.  store_accepted: 1, 0 there is none, -1; of a damaged one
 * the figures are 0 and UINT32_MAX.
 */
struct store_accepted {
	int64_t when_us;
	uint32_t uid;
};
int store_accepted_note(struct store *, const struct store_accepted *, struct err *)
    __attribute__((warn_unused_result));
int store_accepted(struct store *, struct store_accepted *, struct err *)
    __attribute__((warn_unused_result));
int store_accepted_told(struct store *, struct err *) __attribute__((warn_unused_result));

/* Is it the name of a file that a store has (without the lock)? */
int store_is_file(const char *name);
/* Is there any file of a store in this directory?  1, 0 (also without the directory), -1. */
int store_files_in(const char *dir, struct err *) __attribute__((warn_unused_result));

/*
 * store_compact(S, place, cap, &pages, e): one slice of giving back pages that records have left
 * empty or half full; outside a batch.  ${place}: "" at the beginning, then what came back in it
 * (STORE_COMPACT_PLACE_MAX bytes).  *pages: given back to the file system.  1 at the end, 0, -1.
 */
#define STORE_COMPACT_PLACE_MAX 640
int store_compact(struct store *, char *place, size_t cap, uint64_t *pages, struct err *)
    __attribute__((warn_unused_result));

/* ---- dump and load: every record, as it is ---- */

#define STORE_VALUE_MAX 65536 /* bytes of any record */
typedef int store_record_fn(
    void *cookie, const char *db, struct span key, struct span value, struct err *);
/* All records of a store that was closed in order since it was last written to.  0, or -1 when the
 * store or ${fn} failed. */
int store_dump(struct store *, store_record_fn *, void *cookie, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: a record into a new store.  It counts only once the store has been opened again. */
int store_load(struct store *, struct span db, struct span key, struct span value, struct err *)
    __attribute__((warn_unused_result));

/* How far a load is, in the store that it fills: in a batch put, or forgotten; get: 1, 0, -1. */
int store_load_mark(struct store *, const void *, size_t, struct err *)
    __attribute__((warn_unused_result));
int store_load_marked(struct store *, void *, size_t cap, size_t *, struct err *)
    __attribute__((warn_unused_result));
int store_load_unmark(struct store *, struct err *) __attribute__((warn_unused_result));

/* ---- is it whole?  Nobody else may use the store meanwhile. ---- */

struct store_verify {
	void (*found)(void *cookie, const char *what); /* something wrong, in one line */
	void (*at)(void *cookie, const char *database, uint64_t record); /* progress */
	void *cookie;
	const char *key; /* as in struct store_options; for the files */
};
/* The files in ${dir}, which is not open: pages, checksums, structure.  0 or -1. */
int store_verify_files(const char *dir, const struct store_verify *, struct err *)
    __attribute__((warn_unused_result));
/* Records, indexes, logs and counts (not the audit trail: store_audit_verify).  0 or -1. */
int store_verify_records(struct store *, const struct store_verify *, struct err *)
    __attribute__((warn_unused_result));

/* ---- figures, for `apikey db stat`: no walk, but some ms when the cache has GiBs ---- */

struct store_stat {
	uint64_t keys, plans, logs, blocks, audit;  /* records */
	uint64_t data_bytes, wal_bytes, free_bytes; /* on disk */
	uint64_t cache_bytes, cache_hits, cache_misses, cache_dirty_pages;
	uint64_t commits, aborts, checkpoints; /* since opening */
	uint32_t format;
	int64_t opened_us;   /* wall clock */
	int64_t recovery_us; /* how long opening took */
	char engine[64];     /* "Berkeley DB 5.3.28" */
};
int store_stat(struct store *, struct store_stat *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !STORE_STORE_H_ */
