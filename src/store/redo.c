/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * After a kill: the takes that the logs' records lack (journal.c has them).
 *
 * Runs in the owner's main thread.  Taking them all again before the first check is answered would
 * make everybody wait for logs of which most are not used just now.  So the start only reads the
 * journal: a log that has takes there is in memory, behind, with nothing in it but these takes that
 * wait.  When somebody uses it, when its record is due, or when its turn comes in store_redo, its
 * record is read, and they are taken again.
 *
 * Invariants: nobody looks at a log whose takes wait; it is behind from the first of them on, so
 * that none leaves the journal before; a batch that is not committed leaves them waiting; they are
 * given up for a log alone whose record lets nobody in any more.
 */

#include <stdlib.h>

#include "base/log.h"
#include "store/internal.h"

#define TAKES_FIRST 1024

/* A take, without its log's name; the next one of the same log. */
struct waiting {
	uint64_t number;
	struct slog_limit limit;
	int64_t now_us;
	uint64_t cost;
	uint32_t next, last; /* their place and one, or 0; last: of a log's first */
	struct store_head *head;
};

struct store_redo {
	size_t n, cap;
	size_t at; /* how far store_redo came */
	struct waiting *takes;
};

void
store_redo_end(struct store *s)
{
	if (s->redo != NULL)
		free(s->redo->takes);
	free(s->redo);
	s->redo = NULL;
}

static struct waiting *
waiting_new(struct store_redo *r, struct err *e)
{
	size_t cap = r->cap == 0 ? TAKES_FIRST : 2 * r->cap;
	struct waiting *more;

	if (r->n < r->cap)
		return &r->takes[r->n++];
	if ((more = realloc(r->takes, cap * sizeof(*more))) == NULL) {
		err_sys(e, "takes from limits, to be taken again");
		return NULL;
	}
	r->takes = more;
	r->cap = cap;
	return &r->takes[r->n++];
}

static int
wait_for_use(struct store *s, const struct store_take *t, struct err *e)
{
	struct store_head *head = store_heads_find(s->heads, t->log);
	struct store_redo *r = s->redo;
	struct waiting *w, *first;

	if (head == NULL && (head = store_head_add(s, t->log, e)) == NULL)
		return -1;
	if ((w = waiting_new(r, e)) == NULL)
		return -1;
	*w = (struct waiting){.number = t->number,
	    .limit = t->limit,
	    .now_us = t->now_us,
	    .cost = t->cost,
	    .head = head};
	if (head->waiting == 0) {
		head->waiting = w->last = (uint32_t)r->n;
		store_heads_set_behind(s->heads, head, t->number);
		s->now.waiting++;
		return 0;
	}
	first = &r->takes[head->waiting - 1];
	r->takes[first->last - 1].next = (uint32_t)r->n;
	first->last = (uint32_t)r->n;
	return 0;
}

static int
begin(void *cookie, struct err *e)
{
	return store_journal_walk(cookie, wait_for_use, e);
}

int
store_redo_begin(struct store *s, struct err *e)
{
	int rc;

	if ((s->redo = calloc(1, sizeof(*s->redo))) == NULL)
		return err_sys(e, "opening the store");
	/* 2 KB for each log to remember, for a store that is closed when this fails. */
	store_heads_undo(s->heads, 0);
	rc = store_batch(s, begin, s, e);
	store_heads_undo(s->heads, 1);
	return rc;
}

/* ${head} has its record, and with it some of the takes.  It stays behind from the first that
 * waited on: where it belongs among the others would have to be looked for. */
static int
take_again(struct store *s, struct store_head *head, uint32_t at, struct err *e)
{
	struct span log = store_span(head->name, head->name_len);
	uint64_t stored = head->log.mark;

	for (; at != 0; at = s->redo->takes[at - 1].next) {
		const struct waiting *w = &s->redo->takes[at - 1];
		struct store_take t = {.number = w->number,
		    .log = log,
		    .limit = w->limit,
		    .now_us = w->now_us,
		    .cost = w->cost};

		if (t.number > stored && store_head_take(s, head, &t, e) != 0)
			return -1;
	}
	return 0;
}

/* ${head} gets its record, of which ${there} tells whether there is one, and waits no more. */
static int
awake(struct store *s, struct store_head *head, const struct slog *L, int there, struct err *e)
{
	uint32_t first = head->waiting;

	if (store_heads_touch(s->heads, head, e) != 0)
		return -1;
	slog_copy(&head->log, L);
	head->stored = there;
	head->waiting = 0;
	s->now.waiting--;
	return take_again(s, head, first, e);
}

/* One of its blocks is not what it was.  Without its takes it could go on as if they had never
 * been, and with them it would stop everybody when they are due: so its record says that it is
 * shut, and it waits as one whose record is damaged. */
static int
shut(struct store *s, struct store_head *head, uint32_t first)
{
	if (store_head_shut(s, head, NULL) != 0)
		return -1;
	slog_init(&head->log);
	store_heads_set_behind(s->heads, head, s->redo->takes[first - 1].number);
	head->waiting = first;
	s->now.waiting++;
	return 0;
}

int
store_redo_log(struct store *s, struct store_head *head, struct err *e)
{
	struct err why = {.code = ERR_NONE};
	uint32_t first = head->waiting;
	struct slog L;
	int rc;

	if (first == 0)
		return 1;
	rc = store_head_read(s, store_span(head->name, head->name_len), &L, &why);
	if (rc >= 0 && awake(s, head, &L, rc, &why) == 0)
		return 1;
	if (e != NULL)
		*e = why;
	if (why.code == ERR_CORRUPT && (rc < 0 || shut(s, head, first) == 0))
		return 0;
	return store_poison(s, &why);
}

int
store_redo_drop(struct store *s, struct store_head *head, struct err *e)
{
	if (store_heads_touch(s->heads, head, e) != 0)
		return -1;
	head->waiting = 0;
	s->now.waiting--;
	store_heads_drop(s->heads, head);
	return 0;
}

/* A log by its name, or as many takes as ${max} from where the last slice ended. */
struct some {
	struct store *store;
	struct store_head *head;
	unsigned max;
};

static int
redo_log(void *cookie, struct err *e)
{
	struct some *some = cookie;

	return store_redo_log(some->store, some->head, e) == 1 ? 0 : -1;
}

int
store_redo_now(struct store *s, struct span log, struct err *e)
{
	struct some some = {.store = s, .head = store_heads_find(s->heads, log)};

	if (some.head == NULL || some.head->waiting == 0)
		return 0;
	return store_batch(s, redo_log, &some, e);
}

static int
redo_slice(void *cookie, struct err *e)
{
	struct some *some = cookie;
	struct store_redo *r = some->store->redo;
	struct err why = {.code = ERR_NONE};

	for (; r->at < r->n && some->max-- > 0; r->at++) {
		struct store_head *head = r->takes[r->at].head;
		/* Another log may have its place now: then it is taken again when it is used, or
		 * due. */
		int rc = head->waiting != r->at + 1 ? 1 : store_redo_log(some->store, head, &why);

		if (rc == 0)
			log_event(LOG_LVL_ERROR, "store_log_damaged", "error", why.msg, NULL);
		if (rc < 0) {
			if (e != NULL)
				*e = why;
			return -1;
		}
	}
	return 0;
}

int
store_redo(struct store *s, unsigned max, struct err *e)
{
	struct some some = {.store = s, .max = max};

	if (s->redo != NULL && s->now.waiting == 0)
		store_redo_end(s);
	if (s->redo == NULL || s->redo->at == s->redo->n)
		return 1;
	return store_batch(s, redo_slice, &some, e);
}
