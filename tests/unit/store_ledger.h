/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_UNIT_STORE_LEDGER_H_
#define TESTS_UNIT_STORE_LEDGER_H_

/*
 * What limit logs must hold, counted beside them: units a log in memory that children share with
 * us, raised after a commit.  And batches of takes by dice.
 *
 * Include behind cmocka.h.
 */

#include <sys/mman.h>

#include "store_fixture.h"

#define SECOND INT64_C(1000000)
#define START (SLOG_EPOCH_US + 1000 * SECOND)
#define LOGS 1500 /* three times what fits into memory */
#define HOT 20
#define BATCH 40

static const struct slog_limit limit = {UINT64_C(1000000000), 86400 * SECOND};

struct ledger {
	uint64_t units[LOGS];
	uint64_t takes;
	int64_t now;
	unsigned seed;
};

/* Shared with children. */
static inline struct ledger *
ledger_new(void)
{
	struct ledger *l =
	    mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(l != MAP_FAILED);
	l->seed = 7;
	l->now = START;
	return l;
}

static inline unsigned
dice(struct ledger *l, unsigned sides)
{
	l->seed = l->seed * 1664525u + 1013904223u;
	return (l->seed >> 8) % sides;
}

static inline void
log_name(char name[64], unsigned n)
{
	assert_true(snprintf(name, 64, "kkey_%016uminute", n) > 0);
}

struct work {
	struct ledger *ledger;
	unsigned n;
	unsigned log[BATCH];
	uint64_t cost[BATCH];
	int abort;
};

static inline int
step_work(struct fixture *f, const void *arg, struct err *e)
{
	const struct work *w = arg;
	char name[64];

	for (unsigned i = 0; i < w->n; i++) {
		struct slog_state st;

		log_name(name, w->log[i]);
		if (store_log_look(
			f->s, span_of(name), &limit, w->ledger->now, w->cost[i], &st, e) != 1 ||
		    store_log_take(f->s, span_of(name), &limit, w->ledger->now, w->cost[i], e) != 0)
			return -1;
	}
	return w->abort ? err_set(e, ERR_USAGE, "aborted") : 0;
}

/* One batch, most of it on few logs; now and then of a cost of several entries. */
static inline void
one_batch(struct fixture *f, struct ledger *l)
{
	struct work w = {.ledger = l, .n = 1 + dice(l, BATCH), .abort = dice(l, 5) == 0};

	l->now += dice(l, 1000);
	for (unsigned i = 0; i < w.n; i++) {
		w.log[i] = dice(l, 3) > 0 ? dice(l, HOT) : dice(l, LOGS);
		w.cost[i] = dice(l, 50) == 0 ? 8192 * 3 + 1 : 1 + dice(l, 3);
	}
	if (batch(f, step_work, &w) != 0) {
		assert_true(w.abort);
		return;
	}
	for (unsigned i = 0; i < w.n; i++)
		l->units[w.log[i]] += w.cost[i];
	l->takes += w.n;
}

static inline void
compare(struct fixture *f, const struct ledger *l)
{
	char name[64];
	uint64_t logs = 0;
	struct store_stat st;

	for (unsigned i = 0; i < LOGS; i++) {
		struct slog_state at;

		log_name(name, i);
		if (store_log_look(f->s, span_of(name), &limit, l->now, 0, &at, &f->e) < 0)
			fail_msg("%s", f->e.msg);
		assert_int_equal(at.used, l->units[i]);
		logs += l->units[i] > 0;
	}
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.logs, logs);
}

#endif /* !TESTS_UNIT_STORE_LEDGER_H_ */
