/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the sliding log's edges, one by one: the microsecond at which a unit stops counting, the
 * bytes that are stored, what is dropped and what is kept, stored bytes that are wrong, verbs that
 * fail, and what a check costs when the log is large.  (Whether it agrees with the rule at large is
 * test_slog_oracle's to say.) Guards invariant 2, and the log's part in 5: a log whose bytes are
 * off is refused, never guessed at.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/slog.h"

#include "memlog.h"

#define T0 (SLOG_EPOCH_US + INT64_C(1000000000000))
#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

static struct err e;

static struct span
bytes(const uint8_t *p, size_t n)
{
	return (struct span){(const char *)p, n};
}

static struct slog_state
peek(struct memlog *m, struct slog *L, uint64_t N, int64_t W, int64_t now, uint64_t cost,
    int expected)
{
	struct slog_limit limit = {N, W};
	struct slog_state s;

	assert_int_equal(slog_peek(L, &limit, now, cost, &m->io, &s, &e), expected);
	return s;
}

static void
take(struct memlog *m, struct slog *L, uint64_t N, int64_t W, int64_t now, uint64_t cost)
{
	struct slog_limit limit = {N, W};

	assert_int_equal(slog_take(L, &limit, now, cost, &m->io, &e), 0);
	memlog_commit(m, L);
}

static void
put_u64(uint8_t *p, uint64_t v)
{
	int i;

	for (i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static uint64_t
get_u64(const uint8_t *p)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static uint64_t
entry(int64_t us, uint64_t units)
{
	return (uint64_t)(us - SLOG_EPOCH_US) << 13 | (units - 1);
}

static void
test_empty(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;

	(void)state;
	slog_init(&L);
	assert_int_equal(slog_newest_us(&L), 0);
	s = peek(m, &L, 5, SECOND, T0, 1, 1);
	assert_int_equal(s.used, 0);
	assert_int_equal(s.remaining, 5);
	assert_int_equal(s.more_us, 0);
	assert_int_equal(s.retry_us, 0);
	s = peek(m, &L, 5, SECOND, T0, 6, 0);
	assert_int_equal(s.retry_us, -1);
	/* An empty log can be stored, and is read again. */
	memlog_commit(m, &L);
	assert_int_equal(m->record_len, 56);
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	assert_int_equal(slog_newest_us(&L), 0);
	memlog_free(m);
}

static void
test_the_edge_of_the_window(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;

	(void)state;
	slog_init(&L);
	take(m, &L, 2, SECOND, T0, 1);
	take(m, &L, 2, SECOND, T0 + 300, 1);
	assert_int_equal(slog_newest_us(&L), T0 + 300);
	assert_int_equal(slog_window_us(&L), SECOND);

	/* It counts while t > now - W: at t + W - 1, not at t + W. */
	s = peek(m, &L, 2, SECOND, T0 + SECOND - 1, 1, 0);
	assert_int_equal(s.used, 2);
	assert_int_equal(s.remaining, 0);
	assert_int_equal(s.more_us, 1);
	assert_int_equal(s.retry_us, 1);
	s = peek(m, &L, 2, SECOND, T0 + SECOND, 1, 1);
	assert_int_equal(s.used, 1);
	assert_int_equal(s.remaining, 1);
	assert_int_equal(s.more_us, 300);
	s = peek(m, &L, 2, SECOND, T0 + SECOND, 2, 0);
	assert_int_equal(s.retry_us, 300);
	s = peek(m, &L, 2, SECOND, T0 + SECOND + 300, 2, 1);
	assert_int_equal(s.more_us, 0);
	memlog_free(m);
}

static void
test_costs(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;

	(void)state;
	slog_init(&L);
	/* None: always, and nothing is written. */
	s = peek(m, &L, 0, SECOND, T0, 0, 1);
	assert_int_equal(s.retry_us, 0);
	take(m, &L, 5, SECOND, T0, 0);
	assert_int_equal(L.n, 0);

	/* More than an entry holds. */
	take(m, &L, 1000000, SECOND, T0, 2 * SLOG_ENTRY_UNITS_MAX);
	assert_int_equal(L.n, 2);
	take(m, &L, 1000000, SECOND, T0, SLOG_ENTRY_UNITS_MAX + 1);
	assert_int_equal(L.n, 4);
	s = peek(m, &L, 1000000, SECOND, T0, 1, 1);
	assert_int_equal(s.used, 3 * SLOG_ENTRY_UNITS_MAX + 1);
	/* One entry's worth is free with the first entry already, and all are of one time. */
	s = peek(m, &L, 30000, SECOND, T0, 30000, 0);
	assert_int_equal(s.retry_us, SECOND);

	/* A full log still admits what costs nothing. */
	s = peek(m, &L, 10, SECOND, T0, 0, 1);
	assert_int_equal(s.retry_us, 0);
	assert_int_equal(s.remaining, 0);
	/* No units at all: nothing to wait for. */
	s = peek(m, &L, 0, SECOND, T0, 1, 0);
	assert_int_equal(s.retry_us, -1);
	assert_int_equal(s.more_us, 0);
	/* Costs near the end of the numbers do not wrap around. */
	peek(m, &L, 1000000, SECOND, T0, UINT64_MAX, 0);
	memlog_free(m);
}

/* In dry-run a log holds more than N: there is more room only when it is back below N. */
static void
test_over_the_limit(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	int i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 10; i++)
		take(m, &L, 4, SECOND, T0 + i * 1000, 1);
	s = peek(m, &L, 4, SECOND, T0 + 9000, 1, 0);
	assert_int_equal(s.used, 10);
	assert_int_equal(s.remaining, 0);
	assert_int_equal(s.more_us, SECOND + 6000 - 9000);
	assert_int_equal(s.retry_us, s.more_us);
	s = peek(m, &L, 4, SECOND, T0 + 9000, 3, 0);
	assert_int_equal(s.retry_us, SECOND + 8000 - 9000);
	memlog_free(m);
}

static void
test_stored_bytes(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	uint8_t buf[SLOG_HEAD_MAX], want[96];
	uint32_t doff, dlen;
	struct slog_limit limit = {3, SECOND};

	(void)state;
	slog_init(&L);
	assert_int_equal(slog_take(&L, &limit, T0, 2, &m->io, &e), 0);
	L.mark = 77;
	assert_int_equal(slog_head(&L, buf, &doff, &dlen), 64);
	assert_int_equal(doff, 0);
	assert_int_equal(dlen, 0);
	put_u64(want, UINT64_C(1) << 56 | SECOND);
	put_u64(want + 8, entry(T0, 2));
	memset(want + 16, 0, 48);
	put_u64(want + 48, 2);	/* total */
	put_u64(want + 56, 77); /* mark */
	assert_memory_equal(buf, want, 64);
	memlog_commit(m, &L);

	/* The next one: its entry and the trailer, in place of the old trailer; the tail has moved
	 * on. */
	assert_int_equal(slog_take(&L, &limit, T0 + SECOND, 1, &m->io, &e), 0);
	assert_int_equal(slog_head(&L, buf, &doff, &dlen), 56);
	assert_int_equal(doff, 16);
	assert_int_equal(dlen, 48);
	memset(want, 0, sizeof(want));
	put_u64(want, entry(T0 + SECOND, 1));
	put_u64(want + 24, 1); /* tail */
	put_u64(want + 32, 2); /* tail_total */
	put_u64(want + 40, 3); /* total */
	put_u64(want + 48, 77);
	assert_memory_equal(buf, want, 56);
	memlog_commit(m, &L);
	assert_int_equal(m->record_len, 72);

	/* Another window is stored at once: the whole record goes. */
	limit.window_us = 2 * SECOND;
	assert_int_equal(slog_take(&L, &limit, T0 + SECOND + 1, 1, &m->io, &e), 0);
	assert_int_equal(slog_head(&L, buf, &doff, &dlen), 80);
	assert_int_equal(dlen, 0);
	assert_int_equal(get_u64(buf), UINT64_C(1) << 56 | 2 * SECOND);
	assert_int_equal(get_u64(buf + 32 + 16), 0); /* and the tail is back */
	memlog_free(m);
}

/* What a peek does to the tail in memory is not stored, whoever stores the head after it. */
static void
test_a_peek_stores_nothing(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;

	(void)state;
	slog_init(&L);
	take(m, &L, 2, SECOND, T0, 2);
	peek(m, &L, 2, SECOND, T0 + SECOND, 0, 1);
	take(m, &L, 2, SECOND, T0 + SECOND, 0);
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	assert_int_equal(peek(m, &L, 2, SECOND, T0 + 1, 1, 0).used, 2);
	memlog_free(m);
}

static void
test_small_logs_stay_small(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 5000; i++) {
		take(m, &L, 5, SECOND, T0 + (int64_t)i * SECOND / 5, 1);
		assert_true(L.n <= 16);
	}
	assert_int_equal(m->puts, 0);
	assert_int_equal(L.total, 5000);
	/* The youngest N are there, though they expired long ago. */
	assert_int_equal(peek(m, &L, 5, DAY, T0 + DAY / 2, 1, 0).remaining, 0);
	/* 64 bytes an append, and a rewrite now and then. */
	assert_true(m->bytes_put < 5000 * 90);
	memlog_free(m);

	/* Entries of many units: one such entry is enough to be kept. */
	m = memlog_new();
	slog_init(&L);
	for (i = 0; i < 1000; i++)
		take(m, &L, 100, SECOND, T0 + (int64_t)i * SECOND, 100);
	assert_true(L.n <= 16);
	memlog_free(m);

	/* With N = 0 (all over the limit) nothing has to be kept. */
	m = memlog_new();
	slog_init(&L);
	for (i = 0; i < 100; i++)
		take(m, &L, 0, SECOND, T0 + (int64_t)i * SECOND, 1);
	assert_true(L.n <= 16);
	memlog_free(m);
}

/* At the most that needs no blocks, and a little above: the price of an append stays bounded. */
static void
test_compaction_pays(void **state)
{
	static const uint64_t sizes[] = {120, 180, 185, 190, 240, 244, 245, 246, 300};
	size_t k;
	uint64_t i;

	(void)state;
	for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct memlog *m = memlog_new();
		struct slog L;

		slog_init(&L);
		for (i = 0; i < 20000; i++)
			take(m, &L, sizes[k], SECOND, T0 + (int64_t)(i / sizes[k]) * SECOND, 1);
		assert_true(m->bytes_put + (uint64_t)m->puts * SLOG_BLOCK_BYTES < 20000 * 120);
		assert_true(m->live <= 3);
		memlog_free(m);
	}
}

static void
test_blocks(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 246; i++)
		take(m, &L, 1000, SECOND, T0 + (int64_t)i, 2);
	/* The 246th sealed the 245 before it. */
	assert_int_equal(m->puts, 1);
	assert_int_equal(L.n, 1);
	assert_int_equal(get_u64(m->blocks[0]), UINT64_C(1) << 56);
	assert_int_equal(get_u64(m->blocks[0] + 8), entry(T0, 2));
	assert_int_equal(get_u64(m->blocks[0] + 8 * 245), entry(T0 + 244, 2));
	assert_int_equal(m->record_len, 64);

	for (; i < 500; i++)
		take(m, &L, 1000, SECOND, T0 + (int64_t)i, 2);
	assert_int_equal(get_u64(m->blocks[1]), UINT64_C(1) << 56 | 490);
	assert_int_equal(L.first_block, 0);
	assert_int_equal(L.end_block, 2);

	/* The tail and the promise in another block, loaded again. */
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	s = peek(m, &L, 1000, SECOND, T0 + SECOND + 299, 500, 1);
	assert_int_equal(s.used, 400);
	assert_int_equal(s.more_us, 1);
	s = peek(m, &L, 1000, SECOND, T0 + SECOND + 299, 1000, 0);
	assert_int_equal(s.retry_us, 200);
	s = peek(m, &L, 1000, SECOND, T0 + SECOND + 299, 602, 0);
	assert_int_equal(s.retry_us, 1);

	/* Expired, but needed as the youngest 1000 units: kept; then dropped, never more than two a
	 * time. */
	for (; i < 4 * 245 + 1; i++)
		take(m, &L, 1000, SECOND, T0 + 10 * SECOND + (int64_t)i, 2);
	assert_int_equal(L.end_block, 4);
	assert_int_equal(L.first_block, 1);
	assert_int_equal(m->live, 3);
	memlog_free(m);
}

/* N units are kept and not one less; a block goes only when its last entry has expired too. */
static void
test_what_is_dropped(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 3 * 245 + 1; i++)
		take(m, &L, 2 * 245 + 1, SECOND, T0 + (int64_t)i * SECOND, 1);
	assert_int_equal(m->live, 3);
	memlog_free(m);
	m = memlog_new();
	slog_init(&L);
	for (i = 0; i < 3 * 245 + 1; i++)
		take(m, &L, 2 * 245, SECOND, T0 + (int64_t)i * SECOND, 1);
	assert_int_equal(m->live, 2);
	memlog_free(m);

	/* In dry-run, so that more than N count: of block 0 all have expired but for the last
	 * entry. */
	m = memlog_new();
	slog_init(&L);
	for (i = 0; i < 2 * 245 + 1; i++)
		take(m, &L, 1, SECOND, T0 + (i < 244 ? 0 : i < 300 ? 2 : 5) * (SECOND / 4), 1);
	assert_int_equal(m->live, 2);
	assert_int_equal(peek(m, &L, 1, SECOND, T0 + SECOND + SECOND / 4, 1, 0).used, 247);
	memlog_free(m);
}

/* Reads that are saved: by a take after its peek, and when all blocks have expired. */
static void
test_no_needless_reads(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	int i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 1000; i++)
		take(m, &L, 5000, SECOND, T0 + i * 1000, 1);
	m->gets = 0;
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	/* One block, then the entries ahead are known. */
	for (i = 5; i < 5 + SLOG_AHEAD; i++) {
		peek(m, &L, 5000, SECOND, T0 + SECOND + i * 1000, 1, 1);
		take(m, &L, 5000, SECOND, T0 + SECOND + i * 1000, 1);
		assert_int_equal(m->gets, 1);
	}
	peek(m, &L, 5000, SECOND, T0 + SECOND + i * 1000, 1, 1);
	assert_int_equal(m->gets, 2);
	/* None at all when everything in blocks has expired. */
	peek(m, &L, 5000, SECOND, T0 + 5 * SECOND, 1, 1);
	assert_int_equal(m->gets, 2);
	memlog_free(m);
}

/* A smaller N: the log shrinks by and by, to no blocks at all, and goes on without them. */
static void
test_shrinking(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 5000; i++)
		take(m, &L, 5000, SECOND, T0 + (int64_t)i, 1);
	assert_int_equal(m->live, 20);
	for (i = 0; i < 245 * 30; i++) {
		uint64_t live = m->live;

		take(m, &L, 10, SECOND, T0 + 2 * SECOND + (int64_t)i * SECOND, 1);
		assert_true(m->live + 2 >= live);
	}
	assert_int_equal(m->live, 0);
	assert_true(L.first_block == L.end_block && L.n <= 32);
	assert_int_equal(
	    peek(m, &L, 10, 5 * SECOND, T0 + 2 * SECOND + (int64_t)i * SECOND, 1, 1).used, 4);
	memlog_free(m);
}

static void
test_window_changes(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	int i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 1000; i++)
		take(m, &L, 1000, SECOND, T0 + i * 1000, 1);
	for (; i < 1100; i++)
		take(m, &L, 1000, SECOND, T0 + DAY + i * 1000, 1);
	/* Larger: those of yesterday count again, in blocks and all. */
	s = peek(m, &L, 1000, 2 * DAY, T0 + DAY + 1099000, 1, 0);
	assert_int_equal(s.used, 1100);
	assert_int_equal(s.retry_us, 2 * DAY + 100000 - DAY - 1099000);
	/* Smaller, and as it was. */
	assert_int_equal(peek(m, &L, 1000, 10000, T0 + DAY + 1099000, 1, 1).used, 10);
	assert_int_equal(peek(m, &L, 1000, SECOND, T0 + DAY + 1099000, 1, 1).used, 100);
	memlog_free(m);

	/* By a microsecond, at the very edge, right after loading. */
	m = memlog_new();
	slog_init(&L);
	take(m, &L, 5, SECOND, T0, 1);
	take(m, &L, 5, SECOND, T0 + SECOND, 1);
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	assert_int_equal(peek(m, &L, 5, SECOND + 1, T0 + SECOND, 1, 1).used, 2);
	memlog_free(m);
}

static void
test_clocks(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	const int64_t last = SLOG_EPOCH_US + (INT64_C(1) << 51) - 1;

	(void)state;
	slog_init(&L);
	take(m, &L, 2, SECOND, T0, 1);
	/* Backwards: recorded at the newest time; what is promised is told from the caller's now.
	 */
	take(m, &L, 2, SECOND, T0 - 5 * SECOND, 1);
	assert_int_equal(slog_newest_us(&L), T0);
	s = peek(m, &L, 2, SECOND, T0 - 5 * SECOND, 1, 0);
	assert_int_equal(s.retry_us, 6 * SECOND);
	/* Between two peeks. */
	assert_int_equal(peek(m, &L, 2, SECOND, T0 + SECOND, 1, 1).used, 0);
	assert_int_equal(peek(m, &L, 2, SECOND, T0 + SECOND - 1, 1, 0).used, 2);
	memlog_free(m);

	/* Before the epoch, and behind the last time: as if at it. */
	m = memlog_new();
	slog_init(&L);
	take(m, &L, 2, SECOND, INT64_MIN, 1);
	assert_int_equal(slog_newest_us(&L), SLOG_EPOCH_US);
	assert_int_equal(peek(m, &L, 1, SECOND, -1, 1, 0).retry_us, SECOND);
	take(m, &L, 2, SECOND, INT64_MAX, 2);
	assert_int_equal(slog_newest_us(&L), last);
	assert_int_equal(peek(m, &L, 2, SECOND, INT64_MAX, 1, 0).used, 2);
	memlog_free(m);

	/* Windows out of bounds are as if at the bound. */
	m = memlog_new();
	slog_init(&L);
	take(m, &L, 2, INT64_MAX, T0, 1);
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	assert_int_equal(slog_window_us(&L), (INT64_C(1) << 56) - 1);
	assert_int_equal(peek(m, &L, 2, INT64_MAX, last, 1, 1).used, 1);
	assert_int_equal(peek(m, &L, 2, 0, T0, 1, 1).used, 1);
	assert_int_equal(peek(m, &L, 2, INT64_MIN, T0 + 1, 1, 1).used, 0);
	memlog_free(m);
}

/* A record of two entries with two blocks before it, as another test may then spoil it. */
static size_t
sample(uint8_t *r)
{
	put_u64(r, UINT64_C(1) << 56 | SECOND);
	put_u64(r + 8, entry(T0 + 5, 2));
	put_u64(r + 16, entry(T0 + 5, 3));
	put_u64(r + 24, 7);	      /* first_block */
	put_u64(r + 32, 9);	      /* end_block */
	put_u64(r + 40, 9 * 245 + 1); /* tail */
	put_u64(r + 48, 100000 + 2);  /* tail_total */
	put_u64(r + 56, 100000 + 5);  /* total */
	put_u64(r + 64, 0);	      /* mark */
	return 72;
}

static void
test_strict_loading(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
		const char *what;
	} bad[] = {
	    {0, SECOND, "version 0"},
	    {8, UINT64_C(1) << 63, "times decrease"},
	    {24, 10, "first behind end"},
	    {32, UINT64_C(1) << 48, "block numbers that overflow entry numbers"},
	    {32, UINT64_MAX, "the same"},
	    {40, 7 * 245 - 1, "tail before the first"},
	    {40, 9 * 245 + 3, "tail behind the last"},
	    {40, 9 * 245 - 1, "tail in a block with a total that is not"},
	    {48, 100000 + 1, "tail_total off"},
	    {48, UINT64_MAX, "tail_total over total"},
	    {56, 100000 + 4, "total off"},
	    {56, 1, "total below that of the inline entries"},
	};
	uint8_t r[SLOG_HEAD_MAX + 8];
	struct slog L;
	size_t i, n;

	(void)state;
	n = sample(r);
	assert_int_equal(slog_load(&L, bytes(r, n), &e), 0);
	assert_int_equal(L.n, 2);
	for (i = 0; i < n; i++) {
		e.code = ERR_NONE;
		assert_int_equal(slog_load(&L, bytes(r, i), &e), -1);
		assert_int_equal(e.code, ERR_CORRUPT);
		assert_int_equal(L.n, 0);
	}
	memset(r + n, 0, sizeof(r) - n);
	assert_int_equal(slog_load(&L, bytes(r, n + 1), &e), -1);
	assert_int_equal(slog_load(&L, bytes(r, n + 8), &e), -1);
	assert_int_equal(slog_load(&L, bytes(r, sizeof(r)), &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		sample(r);
		put_u64(r + bad[i].at, bad[i].value);
		e.code = ERR_NONE;
		if (slog_load(&L, bytes(r, n), &e) != -1 || e.code != ERR_CORRUPT)
			fail_msg("accepted: %s", bad[i].what);
	}
	sample(r);
	r[0] = 2;
	assert_int_equal(slog_load(&L, bytes(r, n), &e), -1);
	assert_int_equal(e.code, ERR_VERSION);

	/* Blocks without a newest entry. */
	sample(r);
	memmove(r + 8, r + 24, 48);
	put_u64(r + 8 + 16, 9 * 245);
	put_u64(r + 8 + 24, 100000);
	put_u64(r + 8 + 32, 100000);
	assert_int_equal(slog_load(&L, bytes(r, 56), &e), -1);
	put_u64(r + 8, 9);
	assert_int_equal(slog_load(&L, bytes(r, 56), &e), 0);
}

/* The block verbs' bytes are no more trusted than the head's. */
static void
test_bad_blocks(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_limit limit = {1000, SECOND};
	struct slog_state s;
	uint8_t good[SLOG_BLOCK_BYTES];
	int i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 300; i++)
		take(m, &L, 1000, SECOND, T0 + i, 1);
	memcpy(good, m->blocks[0], sizeof(good));
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);

	m->blocks[0][0] = 3;
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(s.remaining, 0);
	m->blocks[0][0] = 0;
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);

	memcpy(m->blocks[0], good, sizeof(good));
	m->blocks[0][8] ^= 0x80; /* times decrease */
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);

	memcpy(m->blocks[0], good, sizeof(good));
	m->blocks[0][7] = 1; /* one unit more before it than there were */
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	put_u64(m->blocks[0], UINT64_C(1) << 56 | 246); /* more than the head's total */
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);

	memcpy(m->blocks[0], good, sizeof(good));
	L.base_total++; /* one more than the last block comes to */
	assert_int_equal(slog_peek(&L, &limit, T0 + SECOND + 244, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	L.base_total--;

	memcpy(m->blocks[0], good, sizeof(good));
	L.tail = 1; /* whose total is 1, not 0 */
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	L.tail = 0;
	assert_int_equal(slog_peek(&L, &limit, T0 + 400, 1, &m->io, &s, &e), 1);
	memlog_free(m);
}

/* Each verb's failure reaches the caller, at each call, and does not spoil what is stored. */
static void
test_verbs_that_fail(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L, before;
	struct slog_limit limit = {3000, SECOND}, longer = {3000, 20 * DAY};
	struct slog_state s;
	unsigned peeks = 0, takes = 0;
	int i, k, rc;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 245 * 20; i++)
		take(m, &L, 5000, SECOND, T0 + i, 1);
	/* All but the newest expired, and a window that makes most of them count again: many reads.
	 */
	for (; i < 245 * 22; i++)
		take(m, &L, 5000, SECOND, T0 + DAY + i, 1);
	before = L;
	for (k = 1, rc = -1; rc == -1; k++) {
		L = before;
		m->fail_in = k;
		rc = slog_peek(&L, &longer, T0 + 2 * DAY, 2000, &m->io, &s, &e);
		if (rc == -1) {
			assert_string_equal(e.msg, "injected");
			assert_int_equal(s.remaining, 0);
			peeks++;
		}
	}
	assert_int_equal(rc, 0);
	assert_true(peeks >= 6);
	for (k = 1, rc = -1; rc == -1; k++) {
		assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
		m->fail_in = k;
		rc = slog_take(&L, &limit, T0 + 2 * DAY, 1, &m->io, &e);
		if (rc == -1) {
			takes++;
			memlog_abort(m);
		}
	}
	m->fail_in = 0;
	memlog_commit(m, &L);
	/* The put, two gets and two dels. */
	assert_true(takes >= 5);
	memlog_free(m);
}

static void
test_out_of_block_numbers(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_limit limit = {1000, SECOND};
	int i;

	(void)state;
	slog_init(&L);
	L.first_block = L.end_block = (UINT64_C(1) << 48) - 1;
	L.tail = L.end_block * 245;
	for (i = 0; i < 245; i++)
		assert_int_equal(slog_take(&L, &limit, T0, 1, &m->io, &e), 0);
	assert_int_equal(slog_take(&L, &limit, T0, 1, &m->io, &e), -1);
	assert_int_equal(e.code, ERR_INTERNAL);
	memlog_free(m);
}

/* A block has 56 bits of a total that may have grown past them. */
static void
test_large_totals(void **state)
{
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	int i;

	(void)state;
	slog_init(&L);
	L.total = L.base_total = L.tail_total = (UINT64_C(1) << 56) - 100;
	for (i = 0; i < 1000; i++)
		take(m, &L, 5000, SECOND, T0 + i, 1);
	assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
	s = peek(m, &L, 5000, SECOND, T0 + SECOND + 499, 5000, 0);
	assert_int_equal(s.used, 500);
	assert_int_equal(s.retry_us, 500);
	memlog_free(m);
}

/* Ten million units: what a check reads when the log is full, when most has expired, when the
 * window grew. */
static void
test_reads_of_a_large_log(void **state)
{
	const uint64_t N = 10000000;
	const int64_t W = (int64_t)N * 1000;
	struct slog_limit limit = {N, W};
	struct memlog *m = memlog_new();
	struct slog L;
	struct slog_state s;
	unsigned most = 0;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < N; i++) {
		assert_int_equal(
		    slog_take(&L, &limit, T0 + (int64_t)(i / 32) * 32000, 1, &m->io, &e), 0);
		if (L.n == 1)
			memlog_commit(m, &L);
	}

	/* Steady: as much expires as is taken.  The tail's block, and the next when it is through.
	 */
	for (i = 0; i < 20000; i++) {
		int64_t at = T0 + W + (int64_t)i * 1000;

		m->gets = 0;
		assert_int_equal(slog_peek(&L, &limit, at, 1, &m->io, &s, &e), 1);
		assert_int_equal(s.remaining, 32 - i % 32);
		if (m->gets > most)
			most = m->gets;
		assert_int_equal(slog_take(&L, &limit, at, 1, &m->io, &e), 0);
		memlog_commit(m, &L);
	}
	print_message(
	    "steady, N = %llu: at most %u block reads a check\n", (unsigned long long)N, most);
	assert_true(most <= 2);

	/* The worst: the tail anywhere in the log, and a cost that fits when far more has expired.
	 */
	for (most = 0, i = 1; i < 1000; i++) {
		int64_t at = T0 + W + 20000000 + (int64_t)i * 9990000;

		assert_int_equal(slog_load(&L, memlog_record(m), &e), 0);
		m->gets = 0;
		assert_int_not_equal(
		    slog_peek(&L, &limit, at, i % 2 ? N : N / 2 + 77 * i, &m->io, &s, &e), -1);
		if (m->gets > most)
			most = m->gets;
		/* The window grew: back to the oldest, and forward again. */
		m->gets = 0;
		limit.window_us = W + (int64_t)i * 7000000;
		assert_int_not_equal(slog_peek(&L, &limit, at, N, &m->io, &s, &e), -1);
		limit.window_us = W;
		if (m->gets > most)
			most = m->gets;
	}
	print_message("worst, N = %llu (%llu blocks): %u block reads a check\n",
	    (unsigned long long)N, (unsigned long long)m->live, most);
	/* Two searches, each of galloping and halving: 4 * log2(40650) = 61 at the very most. */
	assert_true(most > 2);
	assert_true(most <= 61);
	memlog_free(m);
}

static void
test_bytes_a_unit(void **state)
{
	const uint64_t N = 1000000;
	struct memlog *m = memlog_new();
	struct slog L;
	double stored;
	uint64_t i;

	(void)state;
	slog_init(&L);
	for (i = 0; i < 3 * N; i++)
		take(m, &L, N, SECOND, T0 + (int64_t)i, 1);
	stored = (double)(m->live * SLOG_BLOCK_BYTES + m->record_len) / (double)N;
	print_message("full, N = %llu: %llu blocks, %.3f bytes a unit; %.1f bytes put for one\n",
	    (unsigned long long)N, (unsigned long long)m->live, stored,
	    (double)(m->bytes_put + (uint64_t)m->puts * SLOG_BLOCK_BYTES) / (3.0 * (double)N));
	assert_true(stored < 8.1);
	memlog_free(m);
}

/* A log with blocks is in order, and is not any more when any of their words has changed. */
static void
test_verify(void **state)
{
	const struct slog_limit limit = {100000, INT64_C(1000000000)};
	struct memlog *m = memlog_new();
	struct slog_state st;
	struct slog log;

	(void)state;
	slog_init(&log);
	for (int64_t i = 0; i < 3 * SLOG_INLINE_MAX + 10; i++) {
		assert_int_equal(
		    slog_peek(&log, &limit, SLOG_EPOCH_US + 1000 * i, 2, &m->io, &st, &e), 1);
		assert_int_equal(
		    slog_take(&log, &limit, SLOG_EPOCH_US + 1000 * i, 2, &m->io, &e), 0);
		memlog_commit(m, &log);
	}
	assert_int_equal(log.end_block - log.first_block, 3);
	assert_int_equal(slog_verify(&log, &m->io, &e), 0);
	for (uint64_t no = 0; no < 3; no++) {
		for (size_t at = 0; at < SLOG_BLOCK_BYTES; at += 8) {
			/* The total of the first block is where the count begins, whatever it is.
			 */
			if (no == 0 && at == 0)
				continue;
			m->blocks[no][at + 7] ^= 1;
			assert_int_equal(slog_verify(&log, &m->io, &e), -1);
			assert_int_equal(e.code, ERR_CORRUPT);
			m->blocks[no][at + 7] ^= 1;
		}
		m->blocks[no][0] ^= 0x40;
		assert_int_equal(slog_verify(&log, &m->io, &e), -1);
		m->blocks[no][0] ^= 0x40;
	}
	m->fail_in = 2;
	assert_int_equal(slog_verify(&log, &m->io, &e), -1);
	assert_int_equal(slog_verify(&log, &m->io, &e), 0);
	memlog_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_verify),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_the_edge_of_the_window),
	    cmocka_unit_test(test_costs),
	    cmocka_unit_test(test_over_the_limit),
	    cmocka_unit_test(test_stored_bytes),
	    cmocka_unit_test(test_a_peek_stores_nothing),
	    cmocka_unit_test(test_small_logs_stay_small),
	    cmocka_unit_test(test_compaction_pays),
	    cmocka_unit_test(test_blocks),
	    cmocka_unit_test(test_what_is_dropped),
	    cmocka_unit_test(test_no_needless_reads),
	    cmocka_unit_test(test_shrinking),
	    cmocka_unit_test(test_window_changes),
	    cmocka_unit_test(test_clocks),
	    cmocka_unit_test(test_strict_loading),
	    cmocka_unit_test(test_bad_blocks),
	    cmocka_unit_test(test_verbs_that_fail),
	    cmocka_unit_test(test_out_of_block_numbers),
	    cmocka_unit_test(test_large_totals),
	    cmocka_unit_test(test_reads_of_a_large_log),
	    cmocka_unit_test(test_bytes_a_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
