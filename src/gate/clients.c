/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The table of clients that failed: 2 MB, whatever the number of clients, workers and attackers.
 *
 * Runs in workers, all of them on the same memory, of which none may be trusted to be alive or sane
 * a moment later.  So there is no lock, and an entry is one 64-bit word that changes by one
 * compare-and-swap; whatever is in a word means something harmless.  It decides nothing: what is a
 * failure, who is exempt and what a blocked client is told are attempts.c's.
 *
 * A word is (from the top) 1 bit blocked, 10 bits failures, 30 bits time, 23 bits of the client's
 * hash; zero is a free entry.  Time is in quarters of a second since the table was made: when the
 * window or the block began.  15 further bits of the hash choose the set, so that two clients are
 * taken for one another once in 2^38 pairs; a stranger cannot look for such a pair, because the
 * hash is keyed.
 *
 * A client takes the place of (in this order) nobody, one whose window or block is over, the one
 * with the fewest failures (the oldest of these), the longest blocked one.  An attacker with a
 * million addresses thus makes the table forget slow guessers, and at worst itself.
 *
 * The clock may run for eight years before the time in a word is too small for it; then everything
 * seems to be over, and nobody is blocked.
 *
 * Invariants: a client is never blocked before it has failed ${attempts} times within ${window_us};
 * a block ends ${block_us} after it began, whatever comes meanwhile; no bytes in the table make a
 * worker read or write outside of it, or loop.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "gate/clients.h"

#include "base/clock.h"
#include "gate/clients_file.h"

#define TAG_BITS 23
#define TIME_BITS 30
#define COUNT_BITS 10
#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)
#define TABLE_BYTES (sizeof(struct set) * CLIENTS_SETS)
/* Others may have read the clock a moment later than we; further ahead is garbage. */
#define AHEAD_US (2 * CLOCK_SECOND)
#define RETRIES 64 /* lost races: then the failure is not counted */

_Static_assert(TAG_BITS + TIME_BITS + COUNT_BITS + 1 == 64, "an entry is one word");
_Static_assert(CLIENTS_ATTEMPTS_MAX < 1 << COUNT_BITS, "failures fit");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8,
    "shared words need atomics without a lock");

struct set {
	_Atomic uint64_t at[CLIENTS_WAYS];
};

struct clients {
	struct set *sets;
	struct clients_seed seed;
	struct clients_rule rule;
};

struct entry {
	int blocked;
	unsigned failures;
	int64_t age_us; /* since the window or the block began, from the begin of that tick */
	uint64_t began; /* ticks */
	uint64_t tag;
};

/* Who, where and when. */
struct place {
	struct set *set;
	uint64_t tag;
	int64_t since_us; /* since the table was made */
};

struct clients *
clients_open(const char *run_dir, const struct clients_rule *rule, struct err *e)
{
	struct clients *C = calloc(1, sizeof(*C));
	void *entries;
	int rc;

	if (C == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	rc = run_dir != NULL ? clients_file_map(run_dir, TABLE_BYTES, &entries, &C->seed, e)
			     : clients_file_private(TABLE_BYTES, &entries, &C->seed, e);
	if (rc == -1) {
		free(C);
		return NULL;
	}
	C->sets = entries;
	C->rule = *rule;
	return C;
}

void
clients_close(struct clients **cp)
{
	if (*cp != NULL)
		(void)munmap((*cp)->sets, TABLE_BYTES);
	free(*cp);
	*cp = NULL;
}

static struct place
place_of(const struct clients *C, const struct netaddr_net *who, int64_t now_us)
{
	uint64_t hash = siphash(C->seed.key, who->addr.b, sizeof(who->addr.b));

	return (struct place){.set = &C->sets[hash & (CLIENTS_SETS - 1)],
	    .tag = hash >> (64 - TAG_BITS),
	    .since_us = now_us > C->seed.epoch_us ? now_us - C->seed.epoch_us : 0};
}

static uint64_t
pack(int blocked, unsigned failures, const struct place *p, uint64_t began)
{
	return (uint64_t)(blocked != 0) << 63 | (uint64_t)failures << (TAG_BITS + TIME_BITS) |
	       (began & MASK(TIME_BITS)) << TAG_BITS | p->tag;
}

/* 1 and what the word says, when that still holds; 0 when it may be forgotten. */
static int
read_word(const struct clients *C, uint64_t word, const struct place *p, struct entry *en)
{
	int64_t lasts_us;

	*en = (struct entry){.blocked = (int)(word >> 63),
	    .failures = (unsigned)(word >> (TAG_BITS + TIME_BITS) & MASK(COUNT_BITS)),
	    .began = word >> TAG_BITS & MASK(TIME_BITS),
	    .tag = word & MASK(TAG_BITS)};
	en->age_us = p->since_us - (int64_t)en->began * CLIENTS_TICK_US;
	if (en->failures == 0 || en->age_us < -AHEAD_US)
		return 0;
	if (en->age_us < 0)
		en->age_us = 0;
	lasts_us = en->blocked ? C->rule.block_us : C->rule.window_us;
	return en->age_us < lasts_us;
}

/* May ${a} be forgotten rather than ${b}?  Both hold. */
static int
is_worth_less(const struct entry *a, const struct entry *b)
{
	if (a->blocked != b->blocked)
		return b->blocked;
	if (!a->blocked && a->failures != b->failures)
		return a->failures < b->failures;
	return a->age_us > b->age_us;
}

/*
 * 1 with the client's word and what it says; 0 with the word whose place it may take.
 */
static int
find(const struct clients *C, const struct place *p, _Atomic uint64_t **at, uint64_t *word,
    struct entry *found)
{
	struct entry en, worst = {0};
	int spare = 0; /* a place that nobody loses */

	*at = NULL;
	for (size_t i = 0; i < CLIENTS_WAYS; i++) {
		uint64_t w = atomic_load_explicit(&p->set->at[i], memory_order_relaxed);
		int holds = read_word(C, w, p, &en);

		if (holds && en.tag == p->tag) {
			*at = &p->set->at[i];
			*word = w;
			*found = en;
			return 1;
		}
		if (spare || (holds && *at != NULL && !is_worth_less(&en, &worst)))
			continue;
		spare = !holds;
		worst = en;
		*at = &p->set->at[i];
		*word = w;
	}
	return 0;
}

enum clients_state
clients_failed(struct clients *C, const struct netaddr_net *who, int64_t now_us, int64_t *left)
{
	struct place p = place_of(C, who, now_us);
	_Atomic uint64_t *at;
	uint64_t word, next;
	struct entry en;
	unsigned failures;
	int known, block;

	*left = 0;
	for (int i = 0; i < RETRIES; i++) {
		known = find(C, &p, &at, &word, &en);
		if (known && en.blocked) {
			*left = C->rule.block_us - en.age_us;
			return CLIENTS_BLOCKED;
		}
		failures = known ? en.failures + 1 : 1;
		block = failures >= C->rule.attempts;
		next = pack(block, block ? 1 : failures, &p,
		    known && !block ? en.began : (uint64_t)(p.since_us / CLIENTS_TICK_US));
		/* Nothing else is published with a word: no order is needed. */
		if (!atomic_compare_exchange_strong_explicit(
			at, &word, next, memory_order_relaxed, memory_order_relaxed))
			continue;
		if (block)
			*left = C->rule.block_us;
		return block ? CLIENTS_BLOCKING : CLIENTS_COUNTED;
	}
	return CLIENTS_COUNTED;
}

int64_t
clients_blocked_us(const struct clients *C, const struct netaddr_net *who, int64_t now_us)
{
	struct place p = place_of(C, who, now_us);
	_Atomic uint64_t *at;
	struct entry en;
	uint64_t word;

	return find(C, &p, &at, &word, &en) && en.blocked ? C->rule.block_us - en.age_us : 0;
}
