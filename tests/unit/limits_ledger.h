/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_UNIT_LIMITS_LEDGER_H_
#define TESTS_UNIT_LIMITS_LEDGER_H_

/*
 * What has been admitted under one limit by one key (or owner), kept for ever and added up unit by
 * unit: slow and plain.  It shares nothing with src/, knows neither records nor blocks nor totals,
 * and a time that steps back only as the rule has it: it counts as the newest unit's time.
 * Include behind cmocka.h.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ledger_entry {
	int64_t us;
	uint64_t units;
};

/* All that a batch may change, to be put back when it is aborted. */
struct ledger_state {
	size_t n;
	size_t from; /* those before it were swept */
	/*
	 * What the log has promised: of units that had expired at ${dropped_us} the youngest
	 * ${kept} are still known.
	 */
	int64_t dropped_us;
	uint64_t kept;
	int64_t window_us; /* of the last take */
	int maybe;	   /* there is no log, or a crash brought back what was swept */
	int unsure;	   /* and things happened since that depend on which */
	int told;	   /* was a dry run reported, and when last? */
	int64_t told_us;
};

struct ledger {
	char name[200]; /* 'k' or 'o', who, '/', log */
	struct ledger_state now;
	size_t cap;
	struct ledger_entry *at;
};

struct ledger_says {
	int grown; /* the window reaches back beyond where units were dropped */
	/*
	 * Window and N both grew beyond what the log has promised to know: it may count less than
	 * was admitted, so the figures are only the most that it can say.
	 */
	int loose;
	uint64_t used, remaining;
	int fits;
	int64_t more_us, retry_us; /* retry: -1 never */
};

static inline void
ledger_init(struct ledger *g)
{
	g->now = (struct ledger_state){.dropped_us = INT64_MIN, .kept = UINT64_MAX};
}

/* All of it was swept. */
static inline void
ledger_clear(struct ledger *g)
{
	g->now.from = g->now.n;
	g->now.dropped_us = INT64_MIN;
	g->now.kept = UINT64_MAX;
	g->now.maybe = 0;
}

/*
 * A crash may bring back of what was swept what the journal still has: nothing that counted then,
 * but a window that grows later may see it.
 */
static inline void
ledger_crash(struct ledger *g)
{
	if (g->now.from == 0)
		return;
	if (g->at[g->now.from - 1].us > g->now.dropped_us)
		g->now.dropped_us = g->at[g->now.from - 1].us;
	g->now.kept = 0;
	g->now.maybe = g->now.from == g->now.n;
	g->now.from = 0;
}

static inline int
ledger_empty(const struct ledger *g)
{
	return g->now.from == g->now.n;
}

static inline int64_t
ledger_newest(const struct ledger *g)
{
	return ledger_empty(g) ? INT64_MIN : g->at[g->now.n - 1].us;
}

static inline uint64_t
ledger_count(const struct ledger *g, int64_t now, int64_t W)
{
	uint64_t sum = 0;

	for (size_t i = g->now.from; i < g->now.n; i++)
		if (g->at[i].us > now - W)
			sum += g->at[i].units;
	return sum;
}

/* The first moment at which no more than ${allowed} of what counts now still counts. */
static inline int64_t
ledger_when(const struct ledger *g, int64_t now, int64_t W, uint64_t allowed)
{
	uint64_t left = ledger_count(g, now, W);

	for (size_t i = g->now.from; i < g->now.n; i++) {
		if (g->at[i].us <= now - W)
			continue;
		left -= g->at[i].units;
		/* Those of one moment leave together. */
		if (left <= allowed && (i + 1 == g->now.n || g->at[i + 1].us > g->at[i].us))
			return g->at[i].us + W;
	}
	fail_msg("nothing would ever free enough");
	return 0;
}

static inline struct ledger_says
ledger_ask(const struct ledger *g, int64_t asked, uint64_t N, int64_t W, uint64_t cost)
{
	int64_t now = asked < ledger_newest(g) ? ledger_newest(g) : asked;
	struct ledger_says v = {0};

	v.grown = now - W < g->now.dropped_us;
	v.loose = g->now.unsure || (v.grown && N > g->now.kept);
	v.used = ledger_count(g, now, W);
	v.remaining = v.used < N ? N - v.used : 0;
	v.fits = cost == 0 || v.used + cost <= N;
	if (v.used > 0)
		v.more_us = ledger_when(g, now, W, N - v.remaining - 1) - asked;
	if (!v.fits)
		v.retry_us = cost > N ? -1 : ledger_when(g, now, W, N - cost) - asked;
	return v;
}

/* ${keep}: of what expires, how many units stay known. */
static inline void
ledger_add(struct ledger *g, int64_t asked, uint64_t keep, int64_t W, uint64_t units)
{
	int64_t now = asked < ledger_newest(g) ? ledger_newest(g) : asked;

	if (g->now.n == g->cap) {
		g->cap = g->cap == 0 ? 64 : 2 * g->cap;
		g->at = realloc(g->at, g->cap * sizeof(*g->at));
		assert_non_null(g->at);
	}
	/* Times in order are all that is gone through below. */
	if (g->now.n > 0 && g->at[g->now.n - 1].us > now)
		g->now.unsure = 1;
	g->now.maybe = 0;
	g->at[g->now.n++] = (struct ledger_entry){now, units};
	if (now - W > g->now.dropped_us)
		g->now.dropped_us = now - W;
	if (keep < g->now.kept)
		g->now.kept = keep;
	g->now.window_us = W;
}

#endif /* !TESTS_UNIT_LIMITS_LEDGER_H_ */
