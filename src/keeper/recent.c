/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Recently counted request ids, in memory: a ring of outcomes in the order they came, and hash
 * chains through it.
 *
 * Belongs to the decision in the keeper.  Nothing of it is stored: after a restart an id may be
 * counted a second time, which errs on the side of the limit.
 *
 * Invariants: at most ${max} outcomes are held; one is found only by its whole key id, its whole
 * request id and its cost (the hash only says where to look, so colliding ids cost time and nothing
 * else, and the seed is random so that they cannot be made on purpose); what a batch that was not
 * committed has added is never found afterwards.
 */

#include <stdlib.h>

#include "keeper/recent.h"

#include "base/buf.h"
#include "base/random.h"
#include "base/siphash.h"

#define NONE UINT32_MAX
/* A chain is followed this far: an id behind it would be counted again, and no input can make a
 * check slow. */
#define CHAIN_MAX 64

struct entry {
	uint64_t hash;
	int64_t when_us;
	uint32_t next; /* in the chain: older */
	uint32_t cost;
	uint8_t used, id_len;
	char key_id[TOKEN_ID_LEN];
	char id[WIRE_REQUEST_ID_MAX];
	struct recent_outcome outcome;
};

struct recent {
	uint8_t seed[SIPHASH_KEY];
	size_t max, next; /* ring: where the next one goes */
	size_t pending;	  /* how many before ${next} belong to the open batch */
	uint32_t *heads;
	struct entry *ring;
};

struct recent *
recent_new(size_t max, struct err *e)
{
	struct recent *r = calloc(1, sizeof(*r));

	if (r == NULL || max == 0 || (max & (max - 1)) != 0)
		goto fail;
	r->max = max;
	r->heads = malloc(max * sizeof(*r->heads));
	/* Zero pages that the kernel hands out when they are first written: an idle table costs
	 * nothing. */
	r->ring = calloc(max, sizeof(*r->ring));
	if (r->heads == NULL || r->ring == NULL)
		goto fail;
	memset(r->heads, 0xff, max * sizeof(*r->heads));
	if (random_bytes(r->seed, sizeof(r->seed), e) != 0) {
		recent_free(&r);
		return NULL;
	}
	return r;
fail:
	err_set(e, ERR_SYSTEM, "no memory for the table of recent requests");
	recent_free(&r);
	return NULL;
}

void
recent_free(struct recent **rp)
{
	struct recent *r = *rp;

	if (r == NULL)
		return;
	free(r->heads);
	free(r->ring);
	free(r);
	*rp = NULL;
}

/* Of an id that is too long to be remembered its beginning. */
static uint64_t
hash_of(const struct recent *r, const char *key_id, struct span id, uint32_t cost)
{
	uint8_t mem[TOKEN_ID_LEN + sizeof(cost) + WIRE_REQUEST_ID_MAX];
	struct wbuf w;

	if (id.len > WIRE_REQUEST_ID_MAX)
		id.len = WIRE_REQUEST_ID_MAX;
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_bytes(&w, key_id, TOKEN_ID_LEN);
	wbuf_u32(&w, cost);
	wbuf_span(&w, id);
	return siphash(r->seed, mem, w.len);
}

static uint32_t *
head_of(struct recent *r, uint64_t hash)
{
	return &r->heads[hash & (r->max - 1)];
}

/* Take an entry out of its chain; it is the last of it or everything behind it is older and gone as
 * well. */
static void
drop(struct recent *r, size_t at)
{
	struct entry *en = &r->ring[at];
	uint32_t *link = head_of(r, en->hash);

	while (*link != NONE && *link != at)
		link = &r->ring[*link].next;
	if (*link == at)
		*link = en->next;
	en->used = 0;
}

const struct recent_outcome *
recent_find(struct recent *r, const char *key_id, struct span id, uint32_t cost, int64_t now_us,
    int *pending)
{
	uint64_t hash = hash_of(r, key_id, id, cost);
	uint32_t at = *head_of(r, hash);

	*pending = 0;
	for (int steps = 0; at != NONE && steps < CHAIN_MAX; at = r->ring[at].next, steps++) {
		const struct entry *en = &r->ring[at];

		if (now_us - en->when_us >= RECENT_KEEP_US)
			return NULL; /* those behind it are older */
		if (en->hash != hash || en->cost != cost || en->id_len != id.len)
			continue;
		if (memcmp(en->key_id, key_id, TOKEN_ID_LEN) != 0 ||
		    memcmp(en->id, id.p, id.len) != 0)
			continue;
		*pending = ((r->next - 1 - at) & (r->max - 1)) < r->pending;
		return &en->outcome;
	}
	return NULL;
}

void
recent_add(struct recent *r, const char *key_id, struct span id, uint32_t cost, int64_t now_us,
    const struct recent_outcome *outcome)
{
	size_t at = r->next;
	struct entry *en = &r->ring[at];
	uint32_t *head;

	if (id.len == 0 || id.len > WIRE_REQUEST_ID_MAX)
		return;
	if (en->used)
		drop(r, at);
	en->hash = hash_of(r, key_id, id, cost);
	en->when_us = now_us;
	en->cost = cost;
	en->id_len = (uint8_t)id.len;
	memcpy(en->key_id, key_id, TOKEN_ID_LEN);
	memcpy(en->id, id.p, id.len);
	en->outcome = *outcome;
	en->used = 1;
	head = head_of(r, en->hash);
	en->next = *head;
	*head = (uint32_t)at;
	r->next = (at + 1) & (r->max - 1);
	if (r->pending < r->max)
		r->pending++;
}

void
recent_repeat(const struct recent_outcome *o, const struct plan *plan, struct wire_answer *a)
{
	a->nlimits = 0;
	a->retry_us = o->retry_us;
	for (size_t i = 0; i < plan->nlimits && a->nlimits < o->nlimits; i++) {
		const struct recent_limit *was = &o->limits[a->nlimits];
		struct wire_limit *l = &a->limits[a->nlimits];

		if (plan->limits[i].dry_run)
			continue;
		memcpy(l->name, plan->limits[i].name, sizeof(l->name));
		l->max_units = plan->limits[i].max_units;
		l->window_us = plan->limits[i].window_us;
		l->remaining = was->remaining;
		l->more_us = was->more_us;
		l->violated = was->violated;
		a->nlimits++;
	}
}

void
recent_batch_end(struct recent *r, int committed)
{
	while (!committed && r->pending > 0) {
		r->next = (r->next - 1) & (r->max - 1);
		r->pending--;
		if (r->ring[r->next].used)
			drop(r, r->next);
	}
	r->pending = 0;
}
