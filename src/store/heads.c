/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The logs that were used last, in memory: what a check looks at and changes.
 *
 * Runs in the owner's main thread.  What is taken from a log is in the journal at once (journal.c)
 * and in the log's own record later: until then the log is `behind`, and must stay here.  The rest
 * is a cache, which gives up what was not used for longest.
 *
 * Invariants: a log is changed only after store_heads_touch, so that a batch that is not committed
 * leaves none of its traces: each log is again as the batch found it, behind or not; the list of
 * those behind is in the order of their oldest take that the record lacks.
 */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "store/internal.h"

#define HEADS_MIN 512
#define HEADS_MAX 65536
/* Batches.  Moving costs cache lines, and a log that is given up too early is only read again. */
#define MOVED_LATELY 1024
#define CACHE_LINE 64
#define UNDO_KEPT 4096 /* from one batch to the next: 9 MB */

/* Links of a log in memory.  Before it: beside its name and totals, which a check needs as well. */
struct slot {
	LIST_ENTRY(slot) same; /* of the same hash, or free again */
	uint64_t touched_in;   /* the batch that has it among its undoes, */
	size_t undo;	       /* there */
	uint64_t added_in;     /* the batch that read it */
	uint64_t moved_in;     /* the batch that put it to the front of those used; they decrease */
	TAILQ_ENTRY(slot) used;
	TAILQ_ENTRY(slot) behind;
	struct store_head head;
} __attribute__((aligned(CACHE_LINE)));

/*
 * A head as the batch found it; or one that the batch itself had read.  Its entries are most of it,
 * and nearly every take leaves those that are there alone: until they are about to be moved, or the
 * head is dropped, it is without them.
 */
struct undo {
	int added;
	int whole; /* has the entries */
	struct store_head was;
};

LIST_HEAD(slot_list, slot);
TAILQ_HEAD(slot_queue, slot);

struct store_heads {
	size_t cap, mask;
	uint64_t batch;
	struct slot *slots;
	size_t nslots; /* used so far: memory that was never needed is never touched, a start waits
			  for it */
	struct slot_list *buckets, unused;
	struct slot_queue used;	  /* the latest first */
	struct slot_queue behind; /* the oldest first */
	int nothing_undone;	  /* who fails now does not open the store */
	size_t nundo, undo_cap;
	struct undo *undo;
};

void
store_heads_free(struct store_heads *h)
{
	if (h == NULL)
		return;
	free(h->slots);
	free(h->buckets);
	free(h->undo);
	free(h);
}

struct store_heads *
store_heads_new(uint64_t bytes)
{
	struct store_heads *h = calloc(1, sizeof(*h));
	uint64_t cap = bytes / sizeof(struct slot);

	if (h == NULL)
		return NULL;
	h->cap = cap < HEADS_MIN ? HEADS_MIN : cap > HEADS_MAX ? HEADS_MAX : (size_t)cap;
	for (h->mask = 1; h->mask < h->cap; h->mask *= 2)
		;
	h->slots = aligned_alloc(CACHE_LINE, h->cap * sizeof(*h->slots));
	h->buckets = calloc(h->mask, sizeof(*h->buckets));
	if (h->slots == NULL || h->buckets == NULL) {
		store_heads_free(h);
		return NULL;
	}
	h->mask--;
	h->batch = 1; /* a new log was touched in none, which is 0 */
	TAILQ_INIT(&h->used);
	TAILQ_INIT(&h->behind);
	return h;
}

uint64_t
store_heads_bytes(const struct store_heads *h)
{
	return h->cap * sizeof(*h->slots) + (h->mask + 1) * sizeof(*h->buckets);
}

static uint64_t
mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

/* FNV-1a, but by eight bytes; nothing hostile chooses names: key ids are random, owners are
 * digests.
 */
static struct slot_list *
bucket_of(struct store_heads *h, struct span name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325), word;
	size_t left;

	for (left = name.len; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, name.p + name.len - left, sizeof(word));
		hash = mix(hash, word);
	}
	if (left > 0) {
		word = 0;
		memcpy(&word, name.p + name.len - left, left);
		hash = mix(hash, word);
	}
	return &h->buckets[hash & h->mask];
}

static struct slot *
slot_find(struct store_heads *h, struct span name)
{
	struct slot *s;

	LIST_FOREACH(s, bucket_of(h, name), same)
	if (s->head.name_len == name.len && memcmp(s->head.name, name.p, name.len) == 0)
		return s;
	return NULL;
}

static struct span
head_name(const struct store_head *head)
{
	return store_span(head->name, head->name_len);
}

static struct slot *
slot_of(const struct store_head *head)
{
	return (struct slot *)((uintptr_t)head - offsetof(struct slot, head));
}

struct store_head *
store_heads_find(struct store_heads *h, struct span name)
{
	struct slot *s = slot_find(h, name);

	if (s == NULL)
		return NULL;
	/* Moving costs three cache lines: the order need not be that exact. */
	if (h->batch - s->moved_in >= MOVED_LATELY) {
		s->moved_in = h->batch;
		TAILQ_REMOVE(&h->used, s, used);
		TAILQ_INSERT_HEAD(&h->used, s, used);
	}
	return &s->head;
}

struct store_head *
store_heads_excess(struct store_heads *h)
{
	if (h->nslots < h->cap || !LIST_EMPTY(&h->unused))
		return NULL;
	return &TAILQ_LAST(&h->used, slot_queue)->head;
}

struct store_head *
store_heads_add(struct store_heads *h, struct span name)
{
	struct slot *s;

	if ((s = LIST_FIRST(&h->unused)) != NULL)
		LIST_REMOVE(s, same);
	else
		s = &h->slots[h->nslots++];
	s->touched_in = 0;
	s->added_in = s->moved_in = h->batch;
	s->head.behind = 0;
	s->head.stored = 0;
	s->head.waiting = 0;
	s->head.name_len = (uint8_t)name.len;
	memcpy(s->head.name, name.p, name.len);
	slog_init(&s->head.log);
	LIST_INSERT_HEAD(bucket_of(h, name), s, same);
	TAILQ_INSERT_HEAD(&h->used, s, used);
	return &s->head;
}

static void
make_whole(struct undo *undo, const struct store_head *head)
{
	struct slog *was = &undo->was.log;

	if (!undo->whole)
		memcpy(was->entries, head->log.entries, was->n * sizeof(was->entries[0]));
	undo->whole = 1;
}

void
store_heads_drop(struct store_heads *h, struct store_head *head)
{
	struct slot *s = slot_of(head);

	if (s->touched_in == h->batch)
		make_whole(&h->undo[s->undo], head);
	if (head->behind != 0)
		TAILQ_REMOVE(&h->behind, s, behind);
	TAILQ_REMOVE(&h->used, s, used);
	LIST_REMOVE(s, same);
	LIST_INSERT_HEAD(&h->unused, s, same);
}

struct store_head *
store_heads_behind(const struct store_heads *h)
{
	struct slot *s = TAILQ_FIRST(&h->behind);

	return s == NULL ? NULL : &s->head;
}

/* New takes have the highest numbers; only an abort puts old ones back, and those were the oldest:
 * the place is sought from the end that is nearer. */
static void
insert_behind(struct store_heads *h, struct slot *s)
{
	struct slot *at = TAILQ_FIRST(&h->behind), *last = TAILQ_LAST(&h->behind, slot_queue);
	uint64_t take = s->head.behind;

	if (at == NULL || take >= last->head.behind) {
		TAILQ_INSERT_TAIL(&h->behind, s, behind);
	} else if (take <= at->head.behind || take - at->head.behind < last->head.behind - take) {
		while (at->head.behind < take)
			at = TAILQ_NEXT(at, behind);
		TAILQ_INSERT_BEFORE(at, s, behind);
	} else {
		for (at = last; at->head.behind > take;)
			at = TAILQ_PREV(at, slot_queue, behind);
		TAILQ_INSERT_AFTER(&h->behind, at, s, behind);
	}
}

void
store_heads_set_behind(struct store_heads *h, struct store_head *head, uint64_t take)
{
	struct slot *s = slot_of(head);

	if (head->behind == take)
		return;
	if (head->behind != 0)
		TAILQ_REMOVE(&h->behind, s, behind);
	head->behind = take;
	if (take != 0)
		insert_behind(h, s);
}

static void
copy(struct store_head *to, const struct store_head *from, int whole)
{
	memcpy(to, from, offsetof(struct store_head, log));
	if (whole)
		slog_copy(&to->log, &from->log);
	else
		slog_copy_numbers(&to->log, &from->log);
}

void
store_heads_undo(struct store_heads *h, int wanted)
{
	h->nothing_undone = !wanted;
}

static int
touch(struct store_heads *h, struct store_head *head, int whole, struct err *e)
{
	struct slot *s = slot_of(head);
	struct undo *more;
	size_t cap;

	if (h->nothing_undone)
		return 0;
	if (s->touched_in == h->batch) {
		if (whole)
			make_whole(&h->undo[s->undo], head);
		return 0;
	}
	if (h->nundo == h->undo_cap) {
		cap = h->undo_cap == 0 ? 64 : 2 * h->undo_cap;
		if ((more = realloc(h->undo, cap * sizeof(*more))) == NULL)
			return err_sys(e, "limit logs in memory");
		h->undo = more;
		h->undo_cap = cap;
	}
	s->touched_in = h->batch;
	s->undo = h->nundo++;
	h->undo[s->undo].added = s->added_in == h->batch;
	h->undo[s->undo].whole = whole;
	copy(&h->undo[s->undo].was, head, whole);
	return 0;
}

int
store_heads_touch(struct store_heads *h, struct store_head *head, struct err *e)
{
	return touch(h, head, 1, e);
}

int
store_heads_touch_end(struct store_heads *h, struct store_head *head, struct err *e)
{
	return touch(h, head, 0, e);
}

void
store_heads_begin(struct store_heads *h)
{
	h->batch++;
	h->nundo = 0;
	if (h->undo_cap > UNDO_KEPT) {
		free(h->undo);
		h->undo = NULL;
		h->undo_cap = 0;
	}
}

/* Those that the batch read go: they may have been read from what it wrote itself. */
static void
drop_added(struct store_heads *h)
{
	struct slot *s, *next;

	for (s = TAILQ_FIRST(&h->used); s != NULL && s->moved_in == h->batch; s = next) {
		next = TAILQ_NEXT(s, used);
		if (s->added_in == h->batch)
			store_heads_drop(h, &s->head);
	}
}

void
store_heads_abort(struct store_heads *h)
{
	struct store_head *head;
	struct slot *s;
	size_t i;

	drop_added(h);
	for (i = h->nundo; i-- > 0;) {
		const struct undo *undo = &h->undo[i];

		if (undo->added)
			continue;
		/* One that made room for another is not there; but what took its place has gone. */
		s = slot_find(h, head_name(&undo->was));
		head = s != NULL ? &s->head : store_heads_add(h, head_name(&undo->was));
		store_heads_set_behind(h, head, undo->was.behind);
		copy(head, &undo->was, undo->whole);
	}
	h->nundo = 0;
}

size_t
store_heads_unstored(const struct store_heads *h)
{
	const struct slot *s;
	size_t n = 0;

	TAILQ_FOREACH(s, &h->behind, behind)
	n += !s->head.stored && s->head.waiting == 0;
	return n;
}
