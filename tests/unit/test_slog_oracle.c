/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the sliding log decides and reports, for any sequence of requests, times, limits, reloads
 * and aborted transactions, exactly what a ledger says that keeps every admitted unit for ever and
 * adds them up one by one. Guards invariant 2 (no window of length W holds more than N admitted
 * units, across restarts and backward clocks) and the log's part in invariant 1 (what was aborted
 * counts nowhere).
 *
 * Longer runs: --seed N --ops M, or SLOG_SEED and SLOG_OPS in the environment; LONG=yes there takes
 * a random seed, which is printed.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/slog.h"

#include "memlog.h"

#define RUN_MAX 6000
#define EPOCH INT64_C(1577836800000000)
#define LAST (EPOCH + (INT64_C(1) << 50))
#define WINDOW_MAX (INT64_C(366) * 86400 * 1000000)

#define LONG_SECONDS 300 /* a long run ends earlier on a slow machine */

static uint64_t seed = 20260101, ops_wanted = 300000;
static time_t until;

/* ---- the ledger: all that was admitted; it knows no blocks, tails or totals ---- */

struct admitted {
	int64_t us;
	uint64_t units;
};

struct ledger {
	size_t n;
	struct admitted at[RUN_MAX];
	/* What the log has promised: it may have dropped what was expired at these... */
	int64_t dropped_upto;
	/* ...but for the youngest units of the smallest N it was told. */
	uint64_t kept_units;
};

struct verdicts {
	uint64_t used, remaining;
	int fits;
	int64_t more_us, retry_us;
};

static int64_t
ledger_now(const struct ledger *g, int64_t now)
{
	if (now < EPOCH)
		now = EPOCH;
	return g->n > 0 && now < g->at[g->n - 1].us ? g->at[g->n - 1].us : now;
}

static uint64_t
ledger_count(const struct ledger *g, int64_t now, int64_t W)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < g->n; i++)
		if (g->at[i].us > now - W)
			sum += g->at[i].units;
	return sum;
}

/* The first moment after now at which no more than ${allowed} units count. */
static int64_t
ledger_when(const struct ledger *g, int64_t now, int64_t W, uint64_t allowed)
{
	uint64_t left = ledger_count(g, now, W);
	size_t i;

	for (i = 0; i < g->n; i++) {
		if (g->at[i].us <= now - W)
			continue;
		left -= g->at[i].units;
		if (left <= allowed && (i + 1 == g->n || g->at[i + 1].us > g->at[i].us))
			return g->at[i].us + W;
	}
	fail_msg("nothing would ever free enough");
	return 0;
}

static struct verdicts
ledger_ask(const struct ledger *g, int64_t asked, int64_t W, uint64_t N, uint64_t cost)
{
	int64_t now = ledger_now(g, asked), from = asked < EPOCH ? EPOCH : asked;
	struct verdicts v = {0};

	v.used = ledger_count(g, now, W);
	v.remaining = v.used >= N ? 0 : N - v.used;
	v.fits = cost == 0 || v.used + cost <= N;
	if (v.used > 0)
		v.more_us = ledger_when(g, now, W, N - v.remaining - 1) - from;
	if (!v.fits)
		v.retry_us = cost > N ? -1 : ledger_when(g, now, W, N - cost) - from;
	return v;
}

static void
ledger_add(struct ledger *g, int64_t asked, int64_t W, uint64_t N, uint64_t units)
{
	int64_t now = ledger_now(g, asked);

	assert_true(g->n < RUN_MAX);
	g->at[g->n++] = (struct admitted){now, units};
	if (now - W > g->dropped_upto)
		g->dropped_upto = now - W;
	if (N < g->kept_units)
		g->kept_units = N;
}

/* ---- random choices ---- */

static uint64_t rng_state;

static uint64_t
rng(void)
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* lo..hi */
static uint64_t
between(uint64_t lo, uint64_t hi)
{
	return lo + rng() % (hi - lo + 1);
}

static int
percent(unsigned p)
{
	return rng() % 100 < p;
}

static uint64_t
random_units(void)
{
	switch (rng() % 6) {
	case 0:
		return between(1, 10);
	case 1:
	case 2:
		return between(1, 300);
	case 3:
	case 4:
		return between(1, 5000);
	default:
		return between(5000, 20000000);
	}
}

static int64_t
random_window(void)
{
	static const int64_t usual[] = {1, 10, 60, 3600, 86400, 366 * 86400};

	if (percent(25))
		return (int64_t)between(1, 100000000);
	return usual[rng() % 6] * 1000000;
}

enum costs { ONES, MIXED, HEAVY };

static uint64_t
random_cost(enum costs costs)
{
	uint64_t r = rng() % 100;

	if (r < 2)
		return 0;
	if (costs == HEAVY && r < 60) /* many entries each: many blocks */
		return between(1, 100000);
	if (costs == ONES || r < 70)
		return 1;
	if (r < 95)
		return between(2, 100);
	return between(1, r < 98 ? 10000 : 100000);
}

/* ---- one run: one log from its first unit on ---- */

struct run {
	struct ledger *ledger;
	struct memlog *mem;
	struct slog log;
	struct slog_limit limit;
	int64_t now, last_retry;
	enum costs costs;
	int fixed, ever_over;
};

static uint64_t admitted, refused, moved_back, reloads, aborts, sealed, dropped;

static int64_t
random_step(const struct run *r)
{
	int64_t W = r->limit.window_us, mean = W / (int64_t)(r->limit.max_units + 1) + 1;
	uint64_t p = rng() % 1000;

	if (p < 250)
		return 0;
	if (p < 700)
		return (int64_t)between(0, (uint64_t)mean);
	if (p < 850)
		return (int64_t)between(0, 3 * (uint64_t)mean);
	if (p < 940 && r->last_retry > 0) /* just when room was promised, and beside it */
		return r->last_retry + (int64_t)between(0, 2) - 1;
	if (p < 950)
		return W + (int64_t)between(0, 2) - 1;
	if (p < 960)
		return (int64_t)between(0, (uint64_t)W);
	if (p < 963)
		return 10 * W;
	if (p < 993)
		return -(int64_t)between(0, 3 * (uint64_t)mean);
	if (p < 998)
		return -(int64_t)between(0, (uint64_t)W);
	return p == 998 ? -10 * W : 1;
}

static void
compare(const struct run *r, uint64_t cost, int fits, const struct slog_state *s)
{
	const struct ledger *g = r->ledger;
	const uint64_t N = r->limit.max_units;
	const int64_t W = r->limit.window_us, since = ledger_now(g, r->now) - W;
	struct verdicts v = ledger_ask(g, r->now, W, N, cost);

	if (since < g->dropped_upto)
		moved_back++;
	if (since < g->dropped_upto && N > g->kept_units) {
		/* Both N and W grew: all that is promised is that the youngest are there. */
		assert_true(s->used <= v.used);
		assert_true(s->used >= (v.used < g->kept_units ? v.used : g->kept_units));
		return;
	}
	if (since >= g->dropped_upto)
		assert_int_equal(s->used, v.used);
	else
		assert_in_range(s->used, v.used < N ? v.used : N, v.used);
	assert_int_equal(fits, v.fits);
	assert_int_equal(s->remaining, v.remaining);
	assert_int_equal(s->more_us, v.more_us);
	assert_int_equal(s->retry_us, v.retry_us);
}

/* What retry_us promises is kept to the microsecond. */
static void
ask_again(struct run *r, uint64_t cost, int64_t retry_us)
{
	struct slog_state s;
	struct err e;
	int64_t at = (r->now < EPOCH ? EPOCH : r->now) + retry_us;

	assert_int_equal(slog_peek(&r->log, &r->limit, at, cost, &r->mem->io, &s, &e), 1);
	assert_int_equal(slog_peek(&r->log, &r->limit, at - 1, cost, &r->mem->io, &s, &e), 0);
	assert_int_equal(s.retry_us, 1);
}

static void
reload(struct run *r)
{
	struct err e;

	reloads++;
	if (r->mem->record_len == 0)
		slog_init(&r->log);
	else
		assert_int_equal(slog_load(&r->log, memlog_record(r->mem), &e), 0);
}

static void
take(struct run *r, uint64_t cost)
{
	struct memlog *m = r->mem;
	struct err e;

	if (percent(3)) {
		m->fail_in = (int)between(1, 4);
		if (slog_take(&r->log, &r->limit, r->now, cost, &m->io, &e) == -1 || percent(50)) {
			m->fail_in = 0;
			memlog_abort(m);
			reload(r);
			aborts++;
			return;
		}
		m->fail_in = 0;
	} else {
		assert_int_equal(slog_take(&r->log, &r->limit, r->now, cost, &m->io, &e), 0);
	}
	memlog_commit(m, &r->log);
	if (cost > 0)
		ledger_add(r->ledger, r->now, r->limit.window_us, r->limit.max_units, cost);
}

static void
one_request(struct run *r)
{
	uint64_t cost = random_cost(r->costs);
	struct slog_state s;
	struct err e;
	int fits;

	r->now += random_step(r);
	if (r->now > LAST) /* the end of time is for test_slog */
		r->now = LAST;
	if (!r->fixed && percent(1))
		r->limit.window_us = random_window();
	else if (!r->fixed && percent(2) && r->limit.window_us < WINDOW_MAX / 2)
		r->limit.window_us = 1 + (int64_t)between(0, 2 * (uint64_t)r->limit.window_us);
	if (!r->fixed && r->costs != ONES && percent(1))
		r->limit.max_units = random_units();
	if (percent(25))
		reload(r);

	fits = slog_peek(&r->log, &r->limit, r->now, cost, &r->mem->io, &s, &e);
	assert_true(fits == 0 || fits == 1);
	compare(r, cost, fits, &s);
	r->last_retry = s.retry_us;
	if (!fits && s.retry_us > 0 && percent(20))
		ask_again(r, cost, s.retry_us);
	if (fits)
		admitted++;
	else
		refused++;
	if (!fits && !(r->ever_over && percent(10)))
		return;
	take(r, cost);
}

/* No half-open interval of length W, wherever it is, holds more than N: enough to look at those
 * that end at a unit. */
static void
check_windows(const struct run *r)
{
	const struct ledger *g = r->ledger;
	size_t i;

	for (i = 0; i < g->n; i++) {
		uint64_t sum = 0;
		size_t j;

		for (j = 0; j <= i; j++)
			if (g->at[j].us > g->at[i].us - r->limit.window_us)
				sum += g->at[j].units;
		/* Units of the same microsecond after i are counted when i is the last of them. */
		assert_true(sum <= r->limit.max_units);
	}
}

static uint64_t
one_run(void)
{
	struct run *r = calloc(1, sizeof(*r));
	uint64_t ops = between(50, percent(40) ? RUN_MAX : 1500), i;

	assert_non_null(r);
	r->ledger = calloc(1, sizeof(*r->ledger));
	assert_non_null(r->ledger);
	r->ledger->dropped_upto = INT64_MIN;
	r->ledger->kept_units = UINT64_MAX;
	r->mem = memlog_new();
	slog_init(&r->log);
	r->limit.max_units = random_units();
	r->limit.window_us = random_window();
	r->now = percent(5) ? EPOCH - 5000000 : EPOCH + (int64_t)between(0, INT64_C(1) << 48);
	r->fixed = percent(40);
	r->costs = percent(50) ? ONES : percent(50) ? MIXED : HEAVY;
	if (r->costs == HEAVY)
		r->limit.max_units = between(100000, 100000000);
	r->ever_over = !r->fixed && percent(30);

	for (i = 0; i < ops; i++)
		one_request(r);
	if (r->fixed)
		check_windows(r);
	sealed += r->mem->puts;
	dropped += r->mem->dels;
	memlog_free(r->mem);
	free(r->ledger);
	free(r);
	return ops;
}

static void
test_agrees_with_the_ledger(void **state)
{
	uint64_t done = 0;

	(void)state;
	while (done < ops_wanted && (until == 0 || time(NULL) < until)) {
		/* Each run starts from a seed of its own, so that a failing one can be repeated
		 * alone. */
		rng_state = seed;
		done += one_run();
		seed++;
	}
	print_message("%llu requests: %llu admitted, %llu refused; %llu looked back, %llu reloads, "
		      "%llu aborts, %llu blocks sealed, %llu dropped\n",
	    (unsigned long long)done, (unsigned long long)admitted, (unsigned long long)refused,
	    (unsigned long long)moved_back, (unsigned long long)reloads, (unsigned long long)aborts,
	    (unsigned long long)sealed, (unsigned long long)dropped);
	/* A run that never came to these would prove little. */
	assert_true(admitted > done / 10 && refused > done / 10);
	assert_true(
	    ops_wanted < 100000 || (moved_back > 0 && aborts > 0 && sealed > 0 && dropped > 0));
}

/* What went wrong is told by cmocka; the seed of the run that did is told here. */
static int
teardown(void **state)
{
	(void)state;
	print_message("next seed %llu (a failing run's own)\n", (unsigned long long)seed);
	return 0;
}

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "test_slog_oracle: not a number: %s\n", text);
		exit(2);
	}
	return n;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_agrees_with_the_ledger, teardown),
	};
	const char *is_long = getenv("LONG");
	int i;

	if (is_long != NULL && strcmp(is_long, "yes") == 0) {
		seed = (uint64_t)time(NULL) * 1000;
		ops_wanted = 10000000;
		until = time(NULL) + LONG_SECONDS;
	}
	if (getenv("SLOG_SEED") != NULL)
		seed = number(getenv("SLOG_SEED"));
	if (getenv("SLOG_OPS") != NULL)
		ops_wanted = number(getenv("SLOG_OPS"));
	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = number(argv[i + 1]);
		else if (strcmp(argv[i], "--ops") == 0)
			ops_wanted = number(argv[i + 1]);
		else
			break;
	}
	if (i != argc) {
		fprintf(stderr, "usage: test_slog_oracle [--seed N] [--ops M]\n");
		return 2;
	}
	print_message("first seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
