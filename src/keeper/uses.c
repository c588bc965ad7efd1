/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * When keys were last used, between two flushes to the store.
 *
 * Belongs to the keeper's loop.  What a use is, the decision says: an admitted request.
 *
 * Two tables of fixed size take turns: checks mark one while the other is being written.  Half
 * full, a table is flushed before its minute is over; a slice then writes longer, which is more
 * than a round of checks can add, so that the table never is full unless the disk is.  It is full
 * at three quarters: then keys that are not in it are not noted.
 *
 * Ids are random, and so would be the pages that they are written to.  So a flush goes through them
 * in the order of their first two characters: what falls on a page is written at once.
 *
 * Invariants: a mark costs no allocation and no write; a flush never takes back what the store
 * knows better: a table says nothing of previous secrets unless one was used.
 */

#include <stdlib.h>
#include <string.h>

#include "keeper/uses.h"

#include "base/clock.h"
#include "base/log.h"

#define SLOTS 65536		  /* of a table; a power of two */
#define EARLY (SLOTS / 2)	  /* begin a flush */
#define ID_AT 4			  /* "key_" is the same in all */
#define ID_LEN (TOKEN_ID_LEN - 4) /* 16: two words */
#define BUCKETS 4096		  /* of the order: 64 x 64 */
#define BATCH 32		  /* uses in one batch */
#define SLICE_US 500
#define SLICE_PRESSED_US 4000
#define REST_US (60 * CLOCK_SECOND)

struct slot {
	char id[ID_LEN];
	int64_t used_us, previous_used_us; /* used 0: the slot is free */
};

struct table {
	struct slot *slots;
	size_t n;
};

struct uses {
	struct table marked, flushing;
	uint32_t order[USES_MAX]; /* slots of flushing */
	size_t norder, at;	  /* at: of the next to be written */
	int active, resting;	  /* resting: nothing begins before the next tick */
	int64_t next_us;	  /* CLOCK_MONOTONIC */
	uint32_t starts[BUCKETS + 1];
};

struct uses *
uses_new(struct err *e)
{
	/* Four megabytes in all, of which the kernel gives what is used. */
	struct uses *u = calloc(1, sizeof(*u));

	if (u == NULL || (u->marked.slots = calloc(SLOTS, sizeof(struct slot))) == NULL ||
	    (u->flushing.slots = calloc(SLOTS, sizeof(struct slot))) == NULL) {
		uses_free(&u);
		err_set(e, ERR_SYSTEM, "out of memory");
	}
	return u;
}

void
uses_free(struct uses **up)
{
	if (*up != NULL) {
		free((*up)->marked.slots);
		free((*up)->flushing.slots);
	}
	free(*up);
	*up = NULL;
}

/* ---- the tables ---- */

/* Ids are drawn by us, or imported by an admin: nobody gains from two that meet. */
static size_t
place_of(const char *id)
{
	uint64_t word[2];

	memcpy(word, id, sizeof(word));
	word[0] =
	    (word[0] ^ (word[1] * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xff51afd7ed558ccd);
	return (size_t)(word[0] >> 40) & (SLOTS - 1);
}

/* The slot of an id, or the free one where it would be; a table is never full. */
static struct slot *
slot_of(const struct table *t, const char *id)
{
	size_t i = place_of(id);

	while (t->slots[i].used_us != 0 && memcmp(t->slots[i].id, id, ID_LEN) != 0)
		i = (i + 1) & (SLOTS - 1);
	return &t->slots[i];
}

void
uses_mark(struct uses *u, const char id[TOKEN_ID_LEN + 1], int64_t wall_us, int previous)
{
	struct slot *s = slot_of(&u->marked, id + ID_AT);

	if (s->used_us == 0) {
		if (u->marked.n == USES_MAX)
			return;
		memcpy(s->id, id + ID_AT, ID_LEN);
		s->previous_used_us = 0;
		u->marked.n++;
	}
	s->used_us = wall_us > 0 ? wall_us : 1;
	if (previous)
		s->previous_used_us = s->used_us;
}

/* Its slot stays, so that those behind it are still found, but is nobody's id. */
static void
table_forget(struct table *t, const char *id)
{
	struct slot *s = slot_of(t, id);

	if (s->used_us != 0)
		memset(s->id, 0, sizeof(s->id));
}

void
uses_forget(struct uses *u, const char *id)
{
	if (!token_id_ok(span_of(id)))
		return;
	table_forget(&u->marked, id + ID_AT);
	table_forget(&u->flushing, id + ID_AT);
}

/* What a table knows replaces what is older. */
static void
overlay(const struct table *t, const char *id, struct store_use *use)
{
	const struct slot *s = slot_of(t, id);

	if (s->used_us == 0)
		return;
	use->used_us = s->used_us;
	if (s->previous_used_us != 0)
		use->previous_used_us = s->previous_used_us;
}

int
uses_get(
    const struct uses *u, struct store *store, struct span id, struct store_use *use, struct err *e)
{
	*use = (struct store_use){0};
	if (!token_id_ok(id))
		return 0;
	if (store_use_get(store, id, use, e) < 0)
		return -1;
	overlay(&u->flushing, id.p + ID_AT, use);
	overlay(&u->marked, id.p + ID_AT, use);
	return 0;
}

/* ---- flushing ---- */

/* The place of a character in the order of the database, of 64. */
static unsigned
rank(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	return c >= 'a' ? (unsigned)(c - 'a' + 36) & 63 : (unsigned)(c - 'A' + 10) & 63;
}

static unsigned
bucket_of(const struct slot *s)
{
	return rank(s->id[0]) * 64 + rank(s->id[1]);
}

/* What was marked is to be written, in the order of its first two characters (counting sort). */
static void
begin(struct uses *u)
{
	struct table t = u->marked;

	u->marked = u->flushing;
	u->flushing = t;
	u->norder = t.n;
	u->at = 0;
	u->active = 1;
	memset(u->starts, 0, sizeof(u->starts));
	for (uint32_t i = 0; i < SLOTS; i++)
		if (t.slots[i].used_us != 0)
			u->starts[bucket_of(&t.slots[i]) + 1]++;
	for (size_t b = 0; b < BUCKETS; b++)
		u->starts[b + 1] += u->starts[b];
	for (uint32_t i = 0; i < SLOTS; i++)
		if (t.slots[i].used_us != 0)
			u->order[u->starts[bucket_of(&t.slots[i])]++] = i;
}

static void
end(struct uses *u)
{
	memset(u->flushing.slots, 0, SLOTS * sizeof(struct slot));
	u->flushing.n = u->norder = u->at = 0;
	u->active = 0;
}

static int
write_one(struct store *store, const struct slot *s, struct err *e)
{
	char id[TOKEN_ID_LEN + 1] = "key_";
	struct store_use use;

	memcpy(id + ID_AT, s->id, ID_LEN);
	if (!token_id_ok(span_of(id)))
		return 0; /* forgotten */
	/* One that is damaged must not keep the others from being written: it is mended. */
	if (store_use_get(store, span_of(id), &use, e) < 0) {
		if (e->code != ERR_CORRUPT)
			return -1;
		log_event(LOG_LVL_ERROR, "use_mended", "id", id, "error", e->msg, NULL);
		*e = (struct err){0};
	}
	use.used_us = s->used_us;
	if (s->previous_used_us != 0)
		use.previous_used_us = s->previous_used_us;
	return store_use_put(store, span_of(id), &use, e);
}

struct batch {
	const struct uses *uses;
	struct store *store;
	size_t to;
};

static int
write_batch(void *cookie, struct err *e)
{
	const struct batch *b = cookie;
	const struct uses *u = b->uses;

	for (size_t i = u->at; i < b->to; i++)
		if (write_one(b->store, &u->flushing.slots[u->order[i]], e) != 0)
			return -1;
	return 0;
}

/* The next few.  0 or -1. */
static int
write_some(struct uses *u, struct store *store, struct err *e)
{
	struct batch b = {.uses = u, .store = store};

	b.to = u->norder - u->at > BATCH ? u->at + BATCH : u->norder;
	if (store_batch(store, write_batch, &b, e) != 0)
		return -1;
	u->at = b.to;
	return 0;
}

void
uses_tick(struct uses *u, int64_t mono_us)
{
	u->resting = 0;
	if (u->active || mono_us < u->next_us)
		return;
	u->next_us = mono_us + REST_US;
	if (u->marked.n > 0)
		begin(u);
}

int
uses_busy(const struct uses *u)
{
	return !u->resting && (u->active || u->marked.n >= EARLY);
}

int
uses_slice(struct uses *u, struct store *store, int64_t mono_us, int pause)
{
	int64_t until_us = mono_us + (u->marked.n >= EARLY ? SLICE_PRESSED_US : SLICE_US);
	struct err e = {0};
	int wrote = 0;

	u->resting = pause;
	if (pause)
		return 0;
	if (!u->active) {
		u->next_us = mono_us + REST_US;
		begin(u);
	}
	while (u->at < u->norder && clock_mono_us() < until_us) {
		if (write_some(u, store, &e) != 0) {
			log_event(LOG_LVL_ERROR, "uses_failed", "error", e.msg, NULL);
			u->resting = 1;
			return wrote;
		}
		wrote = 1;
	}
	if (u->at == u->norder)
		end(u);
	return wrote;
}

int
uses_flush(struct uses *u, struct store *store, struct err *e)
{
	/* What is being written, then what was marked meanwhile. */
	for (int turn = 0; turn < 2; turn++) {
		if (!u->active)
			begin(u);
		while (u->at < u->norder)
			if (write_some(u, store, e) != 0)
				return -1;
		end(u);
	}
	return 0;
}
