/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_OPS_CALL_H_
#define KEEPER_OPS_CALL_H_

/* Between ops.c, which runs an operation, and the files that hold them (ops_*.c).  Nobody else
 * includes it. */

#include "base/json.h"
#include "keeper/ops.h"

/* Room for JSON in a reply: lists end a page before it. */
#define OPS_REPLY_BYTES 100000

struct ops_call;

struct ops_op {
	const char *name;
	unsigned flags;
	int (*run)(struct ops_call *, struct err *); /* in a batch when it writes; 0 or -1 */
	const char *const *members;		     /* of the request, NULL at the end */
};

#define OPS_WRITES 1
#define OPS_URGENT 2	 /* a write that is done although space is low: it takes rights away */
#define OPS_KEYS 4	 /* keys may stand in the request */
#define OPS_UNPEPPERED 4 /* is done although the peppers are not those of the store */

/* One request on its way. */
struct ops_call {
	struct ops *ops;
	const struct ops_peer *peer;
	const struct ops_op *op;
	const cJSON *request;
	cJSON *result; /* an object, empty at first */
	struct decide_times now;
	unsigned lost;	       /* json_lost() at the beginning */
	int64_t page_until_us; /* CLOCK_MONOTONIC: what OPS_PAGE_US gives it */
	int changed;	       /* set by ops_audit */
	int undo; /* nothing of the batch is to be stored; the result is told all the same */
	char subject[STORE_AUDIT_WORD_MAX + 1];
	struct peppers *fresh_peppers; /* to be used once the batch is committed */
};

/*
 * ops_trail.c: the audit record of this change, in the same batch.  Every operation that changed
 * something calls one of them, once.
 *
 * ops_audit_change: what is different in ${after}, member by member:
 * {"plan":{"from":"a","to":"b"}}. Both are what shows the subject to admins; NULL: it was not there
 * before, or is not any more. ops_audit: facts that are no difference.  ${detail} NULL: the
 * request's members but op and id.
 */
int ops_audit_change(struct ops_call *, const char *subject, const cJSON *before,
    const cJSON *after, struct err *) __attribute__((warn_unused_result));
int ops_audit(struct ops_call *, const char *subject, const cJSON *detail, struct err *)
    __attribute__((warn_unused_result));
/* The detail of a change alone, for an operation that adds facts to it; the caller's. */
cJSON *ops_audit_difference(const cJSON *before, const cJSON *after);
/* The audit record of a request that was refused or failed, in a batch of its own; not of each one,
 * when there are many. */
void ops_audit_refused(struct ops_call *, const struct err *);

/* The name of whoever asks, or the number. */
void ops_who(const struct ops_call *, char *out, size_t cap);

/* Has a list that looked at ${n} records to end its page? */
int ops_page_full(const struct ops_call *, size_t n);

/* A string that must be there and not empty; NULL and ${e}. */
const char *ops_need(const struct ops_call *, const char *member, struct err *);

/* The "reason" of a request, empty without one: 0, or -1 when it is no printable text. */
int ops_reason(const struct ops_call *, struct span *, struct err *)
    __attribute__((warn_unused_result));

/* Whole seconds, rounded up; and a window as text and as seconds. */
int64_t ops_seconds(int64_t us);
void ops_add_window(cJSON *, int64_t window_us);

/* ops_record.c: a key's record as JSON and back. */

struct ops_draft {
	struct keyrec rec; /* borrows from the rest and from the request */
	uint8_t digest[STORE_DIGEST_LEN];
	uint8_t stored[KEYREC_MAX];
	uint8_t nets[KEYREC_NETS_MAX * 17];
	char meta[KEYREC_META_MAX + 1];
};

/* A text that may be absent: null then. */
void ops_add_text(cJSON *, const char *name, struct span);
/* All public members of a record into ${o}. */
void ops_record_json(const struct keyrec *, int64_t now_us, cJSON *o);
/* No less than the bytes that it will take as JSON. */
size_t ops_record_bytes(const struct keyrec *);
/*
 * Put the request's members into the record; null clears.  The result has passed keyrec_check.  1
 * when there was one, 0 when none, -1.
 */
int ops_record_apply(struct ops_call *, struct ops_draft *, struct err *)
    __attribute__((warn_unused_result));

/* ops_filter.c: which keys an operation on many of them is about. */

struct ops_filter {
	struct ops_call *call;
	const char *member, *plan, *state, *owner; /* NULL: any */
	int env, never_expires, exposed, due;	   /* -1: any */
	int usable;				   /* those that work, now or later, alone */
	int64_t expiring_us, unused_us;		   /* -1: any */
	uint32_t pepper;			   /* 0: any */
	const char *after;			   /* begin behind this id */
};
/* Members of a request that it reads. */
#define OPS_FILTER                                                                                 \
	"owner", "member", "plan", "state", "env", "expiring", "never_expires", "exposed", "due",  \
	    "unused", "pepper", "after",
int ops_filter_read(struct ops_filter *, struct ops_call *, struct err *)
    __attribute__((warn_unused_result));
/* Does the key fit all of it?  1, 0, -1. */
int ops_filter_match(const struct ops_filter *, const struct keyrec *, struct err *)
    __attribute__((warn_unused_result));
/* Through all keys that may fit, from the filter's place on; returns as ${fn} did last. */
int ops_filter_walk(const struct ops_filter *, store_key_fn *, void *, struct err *)
    __attribute__((warn_unused_result));

/* ops_life.c: what changes of a key without anybody changing it. */

/* When it was last used and how old its secret is, into ${o}, which shows its record.  0 or -1. */
int ops_life_json(struct ops_call *, const struct keyrec *, cJSON *o, struct err *)
    __attribute__((warn_unused_result));
/* When it was last used; 0: never. */
int ops_life_used(struct ops_call *, const struct keyrec *, struct store_use *, struct err *)
    __attribute__((warn_unused_result));
int ops_life_rotate(struct ops_call *, struct err *);
int ops_life_end_old_secret(struct ops_call *, struct err *);

/* ops_sweep.c: operations on many keys, a page at a time */
int ops_sweep_disable(struct ops_call *, struct err *);
int ops_sweep_purge(struct ops_call *, struct err *);

/* ops_key.c */
struct ops_draft *ops_draft_new(struct err *);
void ops_draft_free(struct ops_draft *);
/*
 * A fresh secret for the key of the draft: ${key} (the caller wipes it), its visible start, digest
 * and pepper.
 */
int ops_key_secret(const struct ops_call *, struct ops_draft *, char key[TOKEN_MAX + 1],
    char start[TOKEN_START_MAX + 1], struct err *) __attribute__((warn_unused_result));
int ops_key_create(struct ops_call *, struct err *);
int ops_key_set(struct ops_call *, struct err *);
int ops_key_disable(struct ops_call *, struct err *);
int ops_key_enable(struct ops_call *, struct err *);
int ops_key_revoke(struct ops_call *, struct err *);

/* "env" of the request, or live. */
int ops_key_env(const struct ops_call *, struct keyrec *, struct err *)
    __attribute__((warn_unused_result));

/* ops_import.c */

/* Members of a request that makes or changes a key. */
#define OPS_KEY_MEMBERS                                                                            \
	"owner", "name", "member", "plan", "scopes", "allow_ips", "referrers", "apps", "expires",  \
	    "not_before", "meta", "methods", "browsers",
#define OPS_IMPORT_MAX 100 /* records of one import: checks wait some 6 ms for so many */
/*
 * The request's "digest", of a key that another system made, and its "start" into the draft: 0; 1
 * when a key has this secret already, ${there} is its id; -1.
 */
int ops_import_secret(const struct ops_call *, struct ops_draft *, char there[TOKEN_ID_LEN + 1],
    struct err *) __attribute__((warn_unused_result));
int ops_import(struct ops_call *, struct err *);

/* ops_look.c */
int ops_look_list(struct ops_call *, struct err *);
int ops_look_show(struct ops_call *, struct err *);
int ops_look_check(struct ops_call *, struct err *);
/* The key that "id" names into ${draft}; 0, or -1 with ERR_NOT_FOUND among others. */
int ops_look_up(struct ops_call *, struct ops_draft *, struct err *)
    __attribute__((warn_unused_result));

/* Stores the draft's record as changed now, and tells the trail; takes ${detail}.  0 or -1. */
int ops_record_store(struct ops_call *, struct ops_draft *, cJSON *detail, struct err *)
    __attribute__((warn_unused_result));

/* ops_lookup.c */
int ops_lookup(struct ops_call *, struct err *);

/* ops_plan.c */
int ops_plan_set(struct ops_call *, struct err *);
int ops_plan_list(struct ops_call *, struct err *);
int ops_plan_show(struct ops_call *, struct err *);
int ops_plan_remove(struct ops_call *, struct err *);

/* ops_owner.c */

/* The state of a key as the gate sees it (*off: its owner is switched off); NULL and ${e}. */
const char *ops_owner_state(struct ops_call *, const struct keyrec *, int *off, struct err *);
/* That into ${o}, which shows its record, and "owner_disabled".  0 or -1. */
int ops_owner_json(struct ops_call *, const struct keyrec *, cJSON *o, struct err *)
    __attribute__((warn_unused_result));
int ops_owner_list(struct ops_call *, struct err *);
int ops_owner_show(struct ops_call *, struct err *);
int ops_owner_disable(struct ops_call *, struct err *);
int ops_owner_enable(struct ops_call *, struct err *);

/* ops_pepper.c */
int ops_pepper_list(struct ops_call *, struct err *);
int ops_pepper_reload(struct ops_call *, struct err *);
int ops_pepper_retire(struct ops_call *, struct err *);

/* ops_audit.c */
int ops_audit_list(struct ops_call *, struct err *);
int ops_audit_verify(struct ops_call *, struct err *);

/* ops_misc.c */
int ops_misc_ping(struct ops_call *, struct err *);

/* ops_db.c */
int ops_db_stat(struct ops_call *, struct err *);
int ops_db_hold(struct ops_call *, struct err *);
int ops_db_compact(struct ops_call *, struct err *);

#endif /* !KEEPER_OPS_CALL_H_ */
