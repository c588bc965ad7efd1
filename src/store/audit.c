/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The audit trail: who changed what and when, numbered from 1, only ever appended to; and, where
 * somebody wants that, pruned at its old end.
 *
 * Runs in the owner's main thread.  An entry is written in the batch of the change that it tells
 * of: neither can exist without the other.  With it goes the head, a record in `meta` that says
 * where the trail ends and how far it was pruned.  What the bytes are is audit_form.c's business,
 * whether they are still what was written audit_verify.c's.
 *
 * Invariants: the numbers have no gap but where somebody cut the trail.  An aborted batch gives its
 * numbers back; an entry is never written behind one that the head does not know of, nor a head
 * that was tampered with replaced without a number being left out: so what was done to a closed
 * store stays to be found after it has been written to again.
 */

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/audit.h"

#define PRUNE_MAX 64

_Static_assert(STORE_ENTRY_MAX <= KEYREC_MAX, "an entry fits into s->record");

/* ---- where it ends ---- */

/* The greatest number of an entry, read from the database; 0: there is none. */
static int
newest(struct store *s, uint64_t *seq, struct err *e)
{
	uint8_t key[STORE_ENTRY_KEY];
	struct store_scan scan;
	int rc;

	*seq = 0;
	if ((rc = store_scan_open(&scan, s, STORE_DB_AUDIT, NULL, 0, e)) == 0)
		rc = store_scan_seek(&scan, store_entry_key(key, STORE_AUDIT_SEQ_MAX), e);
	if (rc == 0)
		rc = store_scan_last(&scan, e);
	while (rc == 1 && (*seq = store_entry_number(store_scan_key(&scan))) == 0)
		rc = store_scan_prev(&scan, e);
	store_scan_close(&scan);
	return rc < 0 ? -1 : 0;
}

static int
read_head(struct store *s, struct store_trail *t, enum store_sealed *sealed, struct err *e)
{
	uint8_t bytes[256];
	size_t len;
	int rc;

	*t = (struct store_trail){0};
	*sealed = STORE_SEALED_NOT;
	rc = store_db_get(
	    s, STORE_DB_META, span_of(STORE_AUDIT_HEAD), bytes, sizeof(bytes), &len, e);
	if (rc == 1)
		*sealed = store_head_decode(&s->sealer, store_span(bytes, len), t);
	return rc < 0 ? -1 : 0;
}

/* The head of a store that nobody has used: made before there was anybody to seal it. */
static int
is_virgin(const struct store *s, const struct store_trail *t, uint64_t last)
{
	return t->sealed_by == 0 && t->last == 0 && last == 0 && s->now.counts.keys == 0 &&
	       s->now.counts.plans == 0;
}

int
store_audit_load(struct store *s, struct err *e)
{
	struct store_trail t;
	enum store_sealed sealed;
	uint64_t last;

	if (newest(s, &last, e) != 0 || read_head(s, &t, &sealed, e) != 0)
		return -1;
	if (sealed == STORE_SEALED_NOT ||
	    (sealed == STORE_SEALED_UNKNOWN && s->sealer.check != NULL && !is_virgin(s, &t, last)))
		/* One number is left out: a head that was taken away together with the newest
		 * entries would leave no trace otherwise. */
		t = (struct store_trail){.last = last + 1, .lost = 1};
	else if (last > t.last)
		t.last = last;
	s->now.trail = t;
	return 0;
}

static int
reseal(void *cookie, struct err *e)
{
	struct store *s = cookie;

	(void)e;
	s->now.trail.changed = 1;
	return 0;
}

/* Is the newest entry there, whole, and the one that the head names?  1, 0, -1. */
static int
ends_well(struct store *s, struct err *e)
{
	const struct store_trail *t = &s->now.trail;
	struct store_entries r;
	struct store_entry en;
	int rc;

	if (t->lost)
		return 0;
	if (t->last == t->pruned)
		return 1;
	if ((rc = store_entries_open(&r, s, t->last, e)) == 1) {
		store_entries_get(&r, &en);
		rc = en.a.seq == t->last && digest_equal(en.link, t->hash) &&
		     store_entry_check(&s->sealer, &en) != STORE_SEALED_NOT;
	}
	store_entries_close(&r);
	return rc;
}

int
store_audit_open(struct store *s, const struct store_sealer *sealer, struct err *e)
{
	int again = s->sealer.seal != NULL;
	uint8_t mem[256];
	struct store_trail t;
	struct err why = {0};
	struct wbuf w;

	s->sealer = *sealer;
	if (!again && store_audit_load(s, e) != 0)
		return -1;
	if (s->now.trail.lost)
		return 0;
	t = s->now.trail;
	wbuf_init(&w, mem, sizeof(mem));
	if (store_head_encode(sealer, &t, &w, e) != 0)
		return -1;
	/* A key that goes must not take the proof of the end with it. */
	if (t.sealed_by != s->now.trail.sealed_by && store_batch(s, reseal, s, &why) != 0)
		log_event(LOG_LVL_WARNING, "audit_not_resealed", "error", why.msg, NULL);
	return again ? 1 : ends_well(s, e);
}

int
store_audit_batch_end(struct store *s, struct err *e)
{
	uint8_t mem[256];
	struct wbuf w;

	if (!s->now.trail.changed)
		return 0;
	wbuf_init(&w, mem, sizeof(mem));
	if (store_head_encode(&s->sealer, &s->now.trail, &w, e) != 0)
		return -1;
	return store_db_put(s, STORE_DB_META, span_of(STORE_AUDIT_HEAD), wbuf_view(&w), e);
}

int
store_audit_begin(struct store *s, struct err *e)
{
	(void)e;
	s->now.trail = (struct store_trail){.changed = 1};
	return 0;
}

uint64_t
store_audit_last(const struct store *s)
{
	return s->now.trail.last;
}

uint64_t
store_audit_head(const struct store *s, uint8_t hash[DIGEST_LEN])
{
	memcpy(hash, s->now.trail.hash, DIGEST_LEN);
	return s->now.trail.last;
}

/* ---- appending ---- */

int
store_audit_append(struct store *s, struct store_audit *a, struct err *e)
{
	struct store_trail *t = &s->now.trail;
	struct span words[] = {a->actor, a->admin_key, a->address, a->op, a->subject, a->error};
	uint8_t hash[DIGEST_LEN], key[STORE_ENTRY_KEY];
	struct span bytes;
	struct wbuf out;
	int rc;

	a->seq = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].len > STORE_AUDIT_WORD_MAX)
			return err_set(e, ERR_INTERNAL, "an audit entry is too long");
	if (a->detail.len > STORE_AUDIT_DETAIL_MAX)
		return err_set(e, ERR_INTERNAL, "an audit entry is too long");
	if (t->last + 1 >= STORE_AUDIT_SEQ_MAX)
		return err_set(e, ERR_CORRUPT,
		    "%s: database audit: somebody added entry %llu: restore a backup", s->dir,
		    (unsigned long long)t->last);
	a->seq = t->last + 1;
	wbuf_init(&out, s->record, sizeof(s->record));
	if (store_entry_encode(&s->sealer, a, t->hash, &out, hash, e) != 0)
		goto fail;
	/* The number is the key; in front of the record it is only hashed. */
	bytes = store_span(out.p + STORE_ENTRY_KEY, out.len - STORE_ENTRY_KEY);
	rc = store_db_insert(s, STORE_DB_AUDIT, store_entry_key(key, a->seq), bytes, e);
	if (rc == 0)
		err_set(e, ERR_INTERNAL, "an audit entry's number is taken");
	if (rc != 1)
		goto fail;
	t->last = a->seq;
	memcpy(t->hash, hash, sizeof(t->hash));
	t->lost = 0;
	t->changed = 1;
	return 0;
fail:
	a->seq = 0;
	return -1;
}

/* ---- reading ---- */

int
store_entries_open(struct store_entries *r, struct store *s, uint64_t from, struct err *e)
{
	uint8_t key[STORE_ENTRY_KEY];

	*r = (struct store_entries){.mem = malloc(STORE_ENTRY_MAX + 1)};
	if (r->mem == NULL)
		return err_sys(e, "reading the audit trail");
	if (store_scan_open(&r->scan, s, STORE_DB_AUDIT, r->mem + STORE_ENTRY_KEY,
		STORE_ENTRY_MAX + 1 - STORE_ENTRY_KEY, e) != 0)
		return -1;
	r->scan.cut = 1;
	return store_scan_seek(&r->scan, store_entry_key(key, from), e);
}

int
store_entries_next(struct store_entries *r, struct err *e)
{
	return store_scan_next(&r->scan, e);
}

void
store_entries_close(struct store_entries *r)
{
	if (r->mem != NULL)
		store_scan_close(&r->scan);
	free(r->mem);
}

void
store_entries_get(struct store_entries *r, struct store_entry *en)
{
	uint64_t seq = store_entry_number(store_scan_key(&r->scan));

	/* The record stands behind its number, as it is hashed. */
	(void)store_entry_key(r->mem, seq);
	if (store_entry_decode(store_span(r->mem, STORE_ENTRY_KEY + r->scan.value_len), en) != 0)
		en->a.seq = seq;
}

int
store_audit_walk(struct store *s, uint64_t after, store_audit_fn *fn, void *cookie, struct err *e)
{
	struct store_entry en;
	struct store_entries r;
	int rc, answer = 0;

	if (after >= s->now.trail.last)
		return 0;
	rc = store_entries_open(&r, s, after + 1, e);
	while (rc == 1) {
		store_entries_get(&r, &en);
		if (en.a.seq != 0 && (answer = fn(cookie, &en.a, e)) != 0)
			break;
		rc = store_entries_next(&r, e);
	}
	store_entries_close(&r);
	return rc < 0 ? -1 : answer;
}

/* The first entry from ${from} on that can be read: 1, its number and its time; 0 none up to ${to};
 * -1. */
static int
when(struct store *s, uint64_t from, uint64_t to, uint64_t *seq, int64_t *when_us, struct err *e)
{
	struct store_entry en = {0};
	struct store_entries r;
	int rc;

	for (rc = store_entries_open(&r, s, from, e); rc == 1; rc = store_entries_next(&r, e)) {
		store_entries_get(&r, &en);
		if (en.a.seq > to || (en.a.seq != 0 && !en.a.damaged))
			break;
	}
	store_entries_close(&r);
	*seq = en.a.seq;
	*when_us = en.a.when_us;
	return rc == 1 && en.a.seq > to ? 0 : rc;
}

int
store_audit_seek(struct store *s, int64_t since_us, uint64_t *after, struct err *e)
{
	uint64_t lo = s->now.trail.pruned, hi = s->now.trail.last, mid, seq;
	int64_t at_us;
	int rc;

	*after = 0;
	/* Entries up to ${lo} are before ${since_us}, those above ${hi} are not. */
	while (lo < hi) {
		mid = hi - (hi - lo) / 2;
		if ((rc = when(s, mid, hi, &seq, &at_us, e)) < 0)
			return -1;
		if (rc == 1 && at_us < since_us)
			lo = seq;
		else
			hi = mid - 1;
	}
	*after = lo;
	return 0;
}

/* ---- pruning ---- */

/* What goes, oldest first: *n of them, and the hash of the last. */
static int
gather_old(struct store *s, int64_t before_us, unsigned max, uint64_t *old, unsigned *n,
    uint8_t hash[DIGEST_LEN], struct err *e)
{
	struct store_entry en;
	unsigned seen = 0;
	struct store_entries r;
	int rc;

	*n = 0;
	for (rc = store_entries_open(&r, s, s->now.trail.pruned + 1, e); rc == 1 && seen < max;
	     rc = store_entries_next(&r, e)) {
		store_entries_get(&r, &en);
		if (en.a.seq == 0)
			continue;
		if (en.a.seq >= s->now.trail.last || (!en.a.damaged && en.a.when_us >= before_us))
			break;
		old[seen++] = en.a.seq;
		/* One that cannot be read is as old as the next that can. */
		if (en.a.damaged)
			continue;
		memcpy(hash, en.link, DIGEST_LEN);
		*n = seen;
	}
	store_entries_close(&r);
	return rc < 0 ? -1 : 0;
}

int
store_audit_prune(struct store *s, int64_t before_us, unsigned max, struct err *e)
{
	uint8_t key[STORE_ENTRY_KEY], hash[DIGEST_LEN];
	struct store_trail *t = &s->now.trail;
	uint64_t old[PRUNE_MAX];
	unsigned n;

	if (max > PRUNE_MAX)
		max = PRUNE_MAX;
	/* Of a trail whose beginning and end nobody vouches for nothing is taken away. */
	if (t->lost)
		return 0;
	if (gather_old(s, before_us, max, old, &n, hash, e) != 0)
		return -1;
	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		if (store_db_del(s, STORE_DB_AUDIT, store_entry_key(key, old[i]), e) < 0)
			return -1;
	t->pruned = old[n - 1];
	memcpy(t->pruned_hash, hash, sizeof(t->pruned_hash));
	t->changed = 1;
	return n == max;
}

void
store_audit_pruned(const struct store *s, struct store_pruned *p)
{
	const struct store_trail *t = &s->now.trail;

	*p = (struct store_pruned){0};
	if (t->pruned_told == t->pruned)
		return;
	p->from = t->pruned_told + 1;
	p->to = t->pruned;
	memcpy(p->hash, t->pruned_hash, sizeof(p->hash));
}

void
store_audit_pruned_told(struct store *s)
{
	s->now.trail.pruned_told = s->now.trail.pruned;
	s->now.trail.changed = 1;
}
