/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Is the audit trail what was written?  DESIGN.md "The audit trail" says what can be found and what
 * cannot.
 *
 * Runs in the owner's main thread, a slice at a time; the trail may grow and be pruned between two
 * of them.  It changes nothing.
 *
 * Each entry is looked at by itself (its hash and its seal), and then whether it was written after
 * the one before it.  So one that was edited, moved or taken out is named by its number, and those
 * behind it are not suspected for it.  Trust comes from the end: the head is sealed, so what it
 * was written after is vouched for by the chain, also where the key of a seal is gone.
 */

#include <stdlib.h>
#include <string.h>

#include "store/audit.h"

#define ENTRY_BYTES 2048

struct verifying {
	struct store *store;
	struct store_chain *v;
	store_flaw_fn *fn;
	void *cookie;
};

static void
tell(const struct verifying *x, enum store_flaw flaw, uint64_t from, uint64_t to)
{
	x->fn(x->cookie, flaw, from, to);
}

/* Entry ${en} is whole; was it written after the one before? */
static void
follow(const struct verifying *x, const struct store_entry *en, int sealed)
{
	struct store_chain *v = x->v;

	/* Of two whole entries that do not follow each other the one without a seal of ours is
	 * made up; else the earlier one, for more of the trail stands on the later. */
	if (v->linked && !digest_equal(en->prev, v->hash)) {
		if (v->sealed && !sealed)
			tell(x, STORE_FLAW_REPLACED, en->a.seq, en->a.seq);
		else
			tell(x, STORE_FLAW_REPLACED, v->after, v->after);
	}
	v->linked = 1;
	v->sealed = sealed;
	memcpy(v->hash, en->link, sizeof(v->hash));
}

static void
expect(const struct verifying *x, uint64_t seq, int whole)
{
	const struct store_chain *v = x->v;

	if (v->expect == seq && whole && !digest_equal(v->expect_hash, v->hash))
		tell(x, STORE_FLAW_UNEXPECTED, seq, seq);
}

static void
look(const struct verifying *x, const struct store_entry *en)
{
	struct store_chain *v = x->v;
	enum store_sealed sealed = STORE_SEALED_NOT;
	uint64_t seq = en->a.seq;

	v->looked++;
	if (seq != v->after + 1) {
		tell(x, STORE_FLAW_MISSING, v->after + 1, seq - 1);
		v->linked = 0;
	}
	if (!en->a.damaged)
		sealed = store_entry_check(&x->store->sealer, en);
	if (sealed == STORE_SEALED_NOT) {
		tell(x, en->a.damaged ? STORE_FLAW_UNREADABLE : STORE_FLAW_CHANGED, seq, seq);
		v->linked = 0;
	} else {
		follow(x, en, sealed == STORE_SEALED);
	}
	v->after = seq;
	expect(x, seq, v->linked);
}

/* Behind the last entry: is it the one that the head names? */
static void
look_at_end(const struct verifying *x)
{
	const struct store_trail *t = &x->store->now.trail;
	struct store_chain *v = x->v;

	if (t->lost) {
		tell(x, STORE_FLAW_HEAD, 0, v->after);
	} else if (v->after < t->last) {
		tell(x, STORE_FLAW_MISSING, v->after + 1, t->last);
	} else if (v->linked && !digest_equal(v->hash, t->hash)) {
		tell(x, STORE_FLAW_REPLACED, v->after, v->after);
	}
	if (v->expect > v->after)
		tell(x, STORE_FLAW_UNEXPECTED, v->expect, v->expect);
}

/* What was pruned on purpose is not missing. */
static void
skip_pruned(const struct verifying *x)
{
	const struct store_trail *t = &x->store->now.trail;
	struct store_chain *v = x->v;

	if (v->after > t->pruned || t->lost)
		return;
	v->after = t->pruned;
	memcpy(v->hash, t->pruned_hash, sizeof(v->hash));
	v->linked = v->sealed = 1;
	expect(x, t->pruned, t->pruned != 0);
}

/*
 * Whatever stands before the first entry that there can be: the lowest number, or the one behind
 * what was pruned.  The first of them is enough.
 */
static int
look_before(const struct verifying *x, struct err *e)
{
	const struct store_trail *t = &x->store->now.trail;
	uint8_t first[STORE_ENTRY_KEY];
	struct span key, begin = store_entry_key(first, t->lost ? 1 : t->pruned + 1);
	struct store_scan scan;
	int rc;

	if ((rc = store_scan_open(&scan, x->store, STORE_DB_AUDIT, NULL, 0, e)) == 0)
		rc = store_scan_seek(&scan, span_of(""), e);
	if (rc == 1) {
		key = store_scan_key(&scan);
		if (memcmp(key.p, begin.p, key.len < begin.len ? key.len : begin.len) < 0 ||
		    key.len < begin.len)
			tell(x, STORE_FLAW_FOREIGN, 0, t->pruned);
	}
	store_scan_close(&scan);
	return rc < 0 ? -1 : 0;
}

int
store_audit_verify(struct store *s, struct store_chain *v, unsigned max, store_flaw_fn *fn,
    void *cookie, struct err *e)
{
	struct verifying x = {.store = s, .v = v, .fn = fn, .cookie = cookie};
	struct store_entries r;
	struct store_entry en;
	size_t n = 0;
	int rc;

	rc = v->after == 0 && v->looked == 0 ? look_before(&x, e) : 0;
	skip_pruned(&x);
	if (rc < 0)
		return -1;
	rc = store_entries_open(&r, s, v->after + 1, e);
	while (rc == 1 && n < max) {
		store_entries_get(&r, &en);
		/* What has no number is not counted: the next slice begins behind what has one. */
		if (en.a.seq != 0) {
			look(&x, &en);
			/* Large ones count for as many as they take time. */
			n += 1 + en.hashed.len / ENTRY_BYTES;
		} else {
			tell(&x, STORE_FLAW_FOREIGN, v->after, v->after);
		}
		rc = store_entries_next(&r, e);
	}
	store_entries_close(&r);
	if (rc == 0)
		look_at_end(&x);
	return rc;
}
