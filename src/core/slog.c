/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The exact sliding log of one limit: how many units were admitted in the last W, whether another
 * request fits, when it would, and the bytes to store.  The header tells the design.
 *
 * It is not a cache and not a clock: it knows the head record and the blocks that the caller's
 * verbs reach, and the time it is told.  Pure; the keeper runs it for every check, the tool when it
 * works alone.
 *
 * Invariants:
 *  - The newest entry is inline: a log that has entries has inline ones.
 *  - Every entry before the tail has a time <= expired_us, every other a later one.
 *  - What is gone was expired, and the units kept behind it summed up to N at that time.
 *  - Totals only grow; whatever a block says of its total is checked against the head's.
 *
 * The head record: u8 version, 56 bits of window_us; the inline entries; then six u64
 * (first_block, end_block, tail, tail_total, total, mark).  A block: u8 version, the
 * low 56 bits of the units before it; then SLOG_INLINE_MAX entries.  All big-endian, converted here
 * a word at a time: through the calls of base/buf.h this cost more than all the rest of a check.
 */

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "core/slog.h"

#define FORMAT 1
#define PREFIX 8
#define TRAILER 48
#define WORD_MAX ((UINT64_C(1) << 56) - 1) /* what fits beside the version byte */
#define TIME_MAX ((INT64_C(1) << 51) - 1)
#define UNITS_BITS 13
#define BLOCKS_MAX (UINT64_C(1) << 48) /* so that entry numbers fit into a u64 */
#define TIDY_EVERY 16		       /* appends */

/* A place in the log: an entry's number, and the units before it. */
struct place {
	uint64_t no;
	uint64_t total;
};

/*
 * What a search passes over: entries of up to a time, or entries that together stay below a total.
 * Either holds for a first run of the log's entries and for none behind it, so that both can be
 * searched for in halves.
 */
struct goal {
	int64_t upto_us; /* -1: no time */
	uint64_t below;	 /* 0: no total */
};

/* A reader of blocks that keeps the last one it read. */
struct reader {
	const struct slog *log;
	const struct slog_io *io;
	int loaded;
	uint64_t no;
	uint64_t total; /* units before the block */
	uint64_t entries[SLOG_INLINE_MAX];
};

static uint64_t
word_get(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void
word_put(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static int64_t
entry_us(uint64_t entry)
{
	return (int64_t)(entry >> UNITS_BITS);
}

static uint64_t
entry_units(uint64_t entry)
{
	return (entry & (SLOG_ENTRY_UNITS_MAX - 1)) + 1;
}

/* The caller's time as entries hold it. */
static int64_t
log_time(int64_t now_us)
{
	if (now_us < SLOG_EPOCH_US)
		return 0;
	now_us -= SLOG_EPOCH_US;
	return now_us < TIME_MAX ? now_us : TIME_MAX;
}

/* The same, but never before the newest entry: times in a log never decrease. */
static int64_t
log_now(const struct slog *L, int64_t now_us)
{
	int64_t now = log_time(now_us);

	if (L->n > 0 && now < entry_us(L->entries[L->n - 1]))
		now = entry_us(L->entries[L->n - 1]);
	return now;
}

static int64_t
window_of(const struct slog_limit *limit)
{
	int64_t W = limit->window_us, most = WORD_MAX;

	return W < 1 ? 1 : W < most ? W : most;
}

/* The number of the first inline entry. */
static uint64_t
inline_no(const struct slog *L)
{
	return L->end_block * SLOG_INLINE_MAX;
}

static int
passes(const struct goal *g, uint64_t entry, uint64_t before)
{
	return entry_us(entry) <= g->upto_us || before + entry_units(entry) < g->below;
}

/* The index of the first of entries[from..n) that ${g} does not pass; *total goes along. */
static size_t
scan(const uint64_t *entries, size_t from, size_t n, const struct goal *g, uint64_t *total)
{
	for (; from < n && passes(g, entries[from], *total); from++)
		*total += entry_units(entries[from]);
	return from;
}

static uint64_t
units_of(const uint64_t *entries, size_t n)
{
	uint64_t units = 0;

	while (n-- > 0)
		units += entry_units(entries[n]);
	return units;
}

/* Converts ${n} stored entries, without branches: most of a check is here.  -1 when times decrease.
 */
static int
entries_decode(const uint8_t *p, size_t n, uint64_t *entries)
{
	uint64_t last = 0, entry, decreases = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		entry = word_get(p + 8 * i);
		decreases |= entry >> UNITS_BITS < last;
		last = entry >> UNITS_BITS;
		entries[i] = entry;
	}
	return decreases ? -1 : 0;
}

static void
reader_init(struct reader *r, const struct slog *L, const struct slog_io *io)
{
	r->log = L;
	r->io = io;
	r->loaded = 0;
}

/* Block ${no} into the reader, unless it is there already. */
static int
reader_load(struct reader *r, uint64_t no, struct err *e)
{
	uint8_t raw[SLOG_BLOCK_BYTES];
	uint64_t base = r->log->base_total;

	if (r->loaded && r->no == no)
		return 0;
	r->loaded = 0;
	if (r->io->get(r->io->cookie, no, raw, e) == -1)
		return -1;
	/* A newer release writes its version into the head too, so this is not one. */
	if (raw[0] != FORMAT)
		return err_set(e, ERR_CORRUPT, "limit log block: format %u", raw[0]);
	if (entries_decode(raw + 8, SLOG_INLINE_MAX, r->entries) == -1)
		return err_set(e, ERR_CORRUPT, "limit log block: times decrease");
	/* The 56 bits that are stored are those of a total at most 2^56 - 1 below the head's. */
	r->total = base - ((base - word_get(raw)) & WORD_MAX);
	if (r->total > base || base - r->total < units_of(r->entries, SLOG_INLINE_MAX))
		return err_set(e, ERR_CORRUPT, "limit log block: its total is off");
	r->no = no;
	r->loaded = 1;
	return 0;
}

/*
 * Moves *at, in a block, to the first entry not passed of the live blocks from there on, or to the
 * first inline one.  Most often it is in this block or the next; else the steps double until one
 * lands behind it, and the gap is searched in halves: O(log blocks) reads.
 */
static int
seek_blocks(struct reader *r, const struct goal *g, struct place *at, struct err *e)
{
	uint64_t lo = at->no / SLOG_INLINE_MAX, hi = r->log->end_block, step = 1, mid, total;
	size_t i = at->no % SLOG_INLINE_MAX;

	if (reader_load(r, lo, e) == -1)
		return -1;
	if (at->total != r->total + units_of(r->entries, i))
		return err_set(e, ERR_CORRUPT, "limit log: its tail and a block disagree");
	at->no = lo * SLOG_INLINE_MAX + scan(r->entries, i, SLOG_INLINE_MAX, g, &at->total);

	/* While all of block ${lo} is passed; nothing of block ${hi} is. */
	while (at->no == (lo + 1) * SLOG_INLINE_MAX && hi - lo > 1) {
		mid = step > 0 && step < hi - lo ? lo + step : lo + (hi - lo) / 2;
		if (reader_load(r, mid, e) == -1)
			return -1;
		total = r->total;
		i = scan(r->entries, 0, SLOG_INLINE_MAX, g, &total);
		if (i == 0) {
			hi = mid;
			step = 0;
		} else {
			lo = mid;
			step *= 2;
			*at = (struct place){lo * SLOG_INLINE_MAX + i, total};
		}
	}
	return 0;
}

/* Moves *at forward to the first entry that ${g} does not pass, or behind the newest. */
static int
seek(struct reader *r, const struct goal *g, struct place *at, struct err *e)
{
	const struct slog *L = r->log;
	uint64_t base = inline_no(L);

	if (at->no < base && passes(g, L->entries[0], L->base_total))
		*at = (struct place){base, L->base_total};
	if (at->no < base) {
		if (seek_blocks(r, g, at, e) == -1)
			return -1;
		if (at->no < base)
			return 0;
		if (at->total != L->base_total)
			return err_set(
			    e, ERR_CORRUPT, "limit log: its blocks have other units than it says");
	}
	at->no = base + scan(L->entries, at->no - base, L->n, g, &at->total);
	return 0;
}

/* Keeps the entries from the tail on of the block that the reader has, if it has the tail's. */
static void
look_ahead(struct slog *L, const struct reader *r)
{
	size_t i = L->tail % SLOG_INLINE_MAX, n = SLOG_INLINE_MAX - i;

	L->ahead_n = 0;
	if (L->tail >= inline_no(L) || !r->loaded || r->no != L->tail / SLOG_INLINE_MAX)
		return;
	L->ahead_no = L->tail;
	L->ahead_n = n < SLOG_AHEAD ? n : SLOG_AHEAD;
	memcpy(L->ahead, r->entries + i, L->ahead_n * sizeof(L->ahead[0]));
}

/* Moves *at, which begins at the tail, as far as what is ahead of it is expired.  1 when it came to
 * an entry that counts. */
static int
seek_ahead(const struct slog *L, int64_t upto_us, struct place *at)
{
	for (; at->no - L->ahead_no < L->ahead_n; at->no++) {
		uint64_t entry = L->ahead[at->no - L->ahead_no];

		if (entry_us(entry) > upto_us)
			return 1;
		at->total += entry_units(entry);
	}
	return 0;
}

/* The oldest entry that is kept. */
static int
oldest(struct reader *r, struct place *at, struct err *e)
{
	const struct slog *L = r->log;

	*at = (struct place){L->first_block * SLOG_INLINE_MAX, L->base_total};
	if (L->first_block < L->end_block) {
		if (reader_load(r, L->first_block, e) == -1)
			return -1;
		at->total = r->total;
	}
	return 0;
}

/*
 * Makes the tail right for entries that expired at or before ${upto_us}: onwards from where it is,
 * or again from the oldest entry when the window grew by more than the time that went by (or the
 * clock stepped back between two peeks).
 */
static int
settle(struct slog *L, int64_t upto_us, struct reader *r, struct err *e)
{
	struct goal g = {upto_us, 0};
	struct place at = {L->tail, L->tail_total};
	int near;

	if (upto_us == L->expired_us)
		return 0;
	if (upto_us < L->expired_us && oldest(r, &at, e) == -1)
		return -1;
	near = upto_us > L->expired_us && seek_ahead(L, upto_us, &at);
	if (!near && seek(r, &g, &at, e) == -1)
		return -1;
	L->tail = at.no;
	L->tail_total = at.total;
	L->expired_us = upto_us;
	if (!near)
		look_ahead(L, r);
	return 0;
}

/*
 * *us: the time of the first entry with which enough has expired for ${cost} units to fit.  The
 * tail is settled, cost <= N, and it does not fit now.
 */
static int
release(struct reader *r, uint64_t max_units, uint64_t cost, int64_t *us, struct err *e)
{
	const struct slog *L = r->log;
	struct goal g = {-1, L->total - (max_units - cost)};
	struct place at = {L->tail, L->tail_total};
	uint64_t base = inline_no(L), entry;

	/* Most often what the tail's own entry gives back is enough. */
	if (L->tail - L->ahead_no < L->ahead_n) {
		entry = L->ahead[L->tail - L->ahead_no];
		*us = entry_us(entry);
		if (!passes(&g, entry, at.total))
			return 0;
	}
	if (seek(r, &g, &at, e) == -1)
		return -1;
	if (at.no < base && reader_load(r, at.no / SLOG_INLINE_MAX, e) == -1)
		return -1;
	entry = at.no < base ? r->entries[at.no % SLOG_INLINE_MAX] : L->entries[at.no - base];
	*us = entry_us(entry);
	return 0;
}

/*
 * Drops inline entries that are expired and have N units behind them, when at least one in ${share}
 * goes: so an append moves a bounded number of entries on average, and rewrites as few bytes.
 */
static void
compact(struct slog *L, uint64_t max_units, size_t share)
{
	uint64_t before = L->base_total, units;
	size_t expired = L->tail - inline_no(L), k;

	for (k = 0; k < expired; k++) {
		units = entry_units(L->entries[k]);
		if (L->total - before - units < max_units)
			break;
		before += units;
	}
	if (k * share < L->n)
		return;
	L->n -= k;
	memmove(L->entries, L->entries + k, L->n * sizeof(L->entries[0]));
	L->tail -= k;
	L->base_total = before;
	L->rewrite = 1;
}

/* Writes the inline entries, all SLOG_INLINE_MAX of them, as the next block. */
static int
seal(struct slog *L, const struct slog_io *io, struct err *e)
{
	uint8_t raw[SLOG_BLOCK_BYTES];
	size_t i;

	if (L->end_block + 1 >= BLOCKS_MAX)
		return err_set(e, ERR_INTERNAL, "limit log: out of block numbers");
	word_put(raw, L->base_total);
	raw[0] = FORMAT;
	for (i = 0; i < SLOG_INLINE_MAX; i++)
		word_put(raw + 8 + 8 * i, L->entries[i]);
	if (io->put(io->cookie, L->end_block, raw, e) == -1)
		return -1;
	L->end_block++;
	L->base_total = L->total;
	L->n = 0;
	L->rewrite = 1;
	return 0;
}

/*
 * Deletes up to two blocks that are expired and have N units behind them: more than one, so that
 * the log shrinks to what a smaller limit needs; no more than two, so that no request pays for all
 * of it.
 */
static int
drop(struct slog *L, uint64_t max_units, struct reader *r, struct err *e)
{
	uint64_t behind;
	int i;

	for (i = 0; i < 2 && L->first_block < L->end_block; i++) {
		if ((L->first_block + 1) * SLOG_INLINE_MAX > L->tail)
			break;
		behind = L->total - L->base_total;
		if (L->first_block + 1 < L->end_block) {
			if (reader_load(r, L->first_block + 1, e) == -1)
				return -1;
			behind = L->total - r->total;
		}
		if (behind < max_units)
			break;
		if (r->io->del(r->io->cookie, L->first_block, e) == -1)
			return -1;
		L->first_block++;
	}
	return 0;
}

/* Frees what need not be kept, where that is cheap on average; also when no block is sealed any
 * more. */
static int
tidy(struct slog *L, uint64_t max_units, struct reader *r, struct err *e)
{
	if (L->first_block == L->end_block)
		compact(L, max_units, L->n == SLOG_INLINE_MAX ? 4 : 2);
	else if (L->tail >= inline_no(L) && L->total - L->base_total >= max_units)
		return drop(L, max_units, r, e);
	return 0;
}

static int
append(struct slog *L, uint64_t max_units, uint64_t entry, struct reader *r, struct err *e)
{
	if (L->n == SLOG_INLINE_MAX || (L->n > 0 && L->n % TIDY_EVERY == 0)) {
		if (tidy(L, max_units, r, e) == -1)
			return -1;
	}
	if (L->n == SLOG_INLINE_MAX) {
		if (seal(L, r->io, e) == -1 || drop(L, max_units, r, e) == -1)
			return -1;
	}
	L->entries[L->n++] = entry;
	L->total += entry_units(entry);
	return 0;
}

void
slog_copy(struct slog *to, const struct slog *from)
{
	memcpy(to, from, offsetof(struct slog, ahead));
	memcpy(to->ahead, from->ahead, from->ahead_n * sizeof(from->ahead[0]));
	memcpy(to->entries, from->entries, from->n * sizeof(from->entries[0]));
}

void
slog_init(struct slog *L)
{
	L->first_block = L->end_block = 0;
	L->tail = L->tail_total = 0;
	L->taken_tail = L->taken_total = 0;
	L->total = L->base_total = L->mark = 0;
	L->window_us = L->expired_us = 0;
	L->n = L->stored_n = L->ahead_n = 0;
	L->ahead_no = 0;
	L->rewrite = 1;
}

/* Are the numbers of a decoded head possible? */
static int
head_consistent(const struct slog *L)
{
	uint64_t base = L->end_block * SLOG_INLINE_MAX;

	if (L->first_block > L->end_block || L->end_block >= BLOCKS_MAX)
		return 0;
	if (L->n == 0 && L->first_block < L->end_block)
		return 0;
	if (L->tail < L->first_block * SLOG_INLINE_MAX || L->tail > base + L->n)
		return 0;
	if (L->base_total > L->total) /* the inline ones alone are more */
		return 0;
	if (L->tail < base)
		return L->tail_total < L->base_total;
	return L->tail_total == L->base_total + units_of(L->entries, L->tail - base);
}

int
slog_load(struct slog *L, struct span record, struct err *e)
{
	const uint8_t *p = (const uint8_t *)record.p;
	size_t n;

	slog_init(L);
	if (record.len < PREFIX)
		return err_set(e, ERR_CORRUPT, "limit log: %zu bytes", record.len);
	if (p[0] > FORMAT)
		return err_set(e, ERR_VERSION, "limit log: format %u of a newer release", p[0]);
	if (p[0] != FORMAT || record.len < PREFIX + TRAILER || record.len > SLOG_HEAD_MAX ||
	    record.len % 8 != 0)
		return err_set(e, ERR_CORRUPT, "limit log: %zu bytes", record.len);

	n = (record.len - PREFIX - TRAILER) / 8;
	if (entries_decode(p + PREFIX, n, L->entries) == -1)
		return err_set(e, ERR_CORRUPT, "limit log: times decrease");
	L->n = n;
	L->window_us = (int64_t)(word_get(p) & WORD_MAX);
	p += PREFIX + 8 * n;
	L->first_block = word_get(p);
	L->end_block = word_get(p + 8);
	L->tail = L->taken_tail = word_get(p + 16);
	L->tail_total = L->taken_total = word_get(p + 24);
	L->total = word_get(p + 32);
	L->mark = word_get(p + 40);
	L->base_total = L->total - units_of(L->entries, n);
	if (!head_consistent(L)) {
		slog_init(L);
		return err_set(e, ERR_CORRUPT, "limit log: its numbers contradict each other");
	}
	/* What is stored was settled when the newest entry was taken, at that entry's time. */
	if (n > 0)
		L->expired_us = entry_us(L->entries[n - 1]) - L->window_us;
	slog_stored(L);
	return 0;
}

int
slog_peek(struct slog *L, const struct slog_limit *limit, int64_t now_us, uint64_t cost,
    const struct slog_io *io, struct slog_state *state, struct err *e)
{
	const uint64_t N = limit->max_units;
	const int64_t W = window_of(limit), since = log_time(now_us);
	struct slog_state st = {0};
	struct reader r;
	int64_t us;
	int fits;

	memset(state, 0, sizeof(*state));
	reader_init(&r, L, io);
	if (settle(L, log_now(L, now_us) - W, &r, e) == -1)
		return -1;
	st.used = L->total - L->tail_total;
	st.remaining = st.used < N ? N - st.used : 0;
	fits = cost <= st.remaining;

	/* There is more room when one unit more than now would fit. */
	if (st.used > 0 && N > 0) {
		if (release(&r, N, st.remaining + 1, &us, e) == -1)
			return -1;
		st.more_us = us + W - since;
	}
	if (!fits && cost > N) {
		st.retry_us = -1;
	} else if (!fits && cost == st.remaining + 1) {
		st.retry_us = st.more_us;
	} else if (!fits) {
		if (release(&r, N, cost, &us, e) == -1)
			return -1;
		st.retry_us = us + W - since;
	}
	*state = st;
	return fits;
}

int
slog_take(struct slog *L, const struct slog_limit *limit, int64_t now_us, uint64_t cost,
    const struct slog_io *io, struct err *e)
{
	const int64_t W = window_of(limit), now = log_now(L, now_us);
	struct reader r;
	uint64_t units, entry;

	if (cost == 0)
		return 0;
	reader_init(&r, L, io);
	if (settle(L, now - W, &r, e) == -1)
		return -1;
	if (L->window_us != W) {
		L->window_us = W;
		L->rewrite = 1;
	}
	for (; cost > 0; cost -= units) {
		units = cost < SLOG_ENTRY_UNITS_MAX ? cost : SLOG_ENTRY_UNITS_MAX;
		entry = (uint64_t)now << UNITS_BITS | (units - 1);
		if (append(L, limit->max_units, entry, &r, e) == -1)
			return -1;
	}
	L->taken_tail = L->tail;
	L->taken_total = L->tail_total;
	return 0;
}

size_t
slog_head(const struct slog *L, uint8_t buf[SLOG_HEAD_MAX], uint32_t *doff, uint32_t *dlen)
{
	uint8_t *p = buf;
	size_t i = 0;

	*doff = *dlen = 0;
	if (L->rewrite) {
		word_put(p, (uint64_t)L->window_us);
		p[0] = FORMAT;
		p += PREFIX;
	} else {
		i = L->stored_n;
		*doff = (uint32_t)(PREFIX + 8 * i);
		*dlen = TRAILER;
	}
	for (; i < L->n; i++, p += 8)
		word_put(p, L->entries[i]);
	word_put(p, L->first_block);
	word_put(p + 8, L->end_block);
	word_put(p + 16, L->taken_tail);
	word_put(p + 24, L->taken_total);
	word_put(p + 32, L->total);
	word_put(p + 40, L->mark);
	return (size_t)(p + TRAILER - buf);
}

void
slog_stored(struct slog *L)
{
	L->stored_n = L->n;
	L->rewrite = 0;
}

int64_t
slog_newest_us(const struct slog *L)
{
	return L->n == 0 ? 0 : SLOG_EPOCH_US + entry_us(L->entries[L->n - 1]);
}

int64_t
slog_window_us(const struct slog *L)
{
	return L->window_us;
}

/* A block's entries and total before it, into ${r}; its times must not be before ${since}. */
static int
block_verify(struct reader *r, uint64_t no, int64_t since, struct err *e)
{
	uint8_t block[SLOG_BLOCK_BYTES];

	if (r->io->get(r->io->cookie, no, block, e) == -1)
		return -1;
	if (block[0] != FORMAT)
		return err_set(e, ERR_CORRUPT, "limit log: block %" PRIu64 " is none", no);
	r->total = word_get(block) & WORD_MAX;
	if (entries_decode(block + 8, SLOG_INLINE_MAX, r->entries) == -1 ||
	    entry_us(r->entries[0]) < since)
		return err_set(e, ERR_CORRUPT, "limit log: times decrease in block %" PRIu64, no);
	return 0;
}

int
slog_verify(const struct slog *L, const struct slog_io *io, struct err *e)
{
	struct reader r = {.log = L, .io = io};
	uint64_t total = 0;
	int64_t since = 0;

	for (uint64_t no = L->first_block; no < L->end_block; no++) {
		if (block_verify(&r, no, since, e) == -1)
			return -1;
		/* Of a total 56 bits are stored. */
		if (no > L->first_block && r.total != (total & WORD_MAX))
			return err_set(e, ERR_CORRUPT,
			    "limit log: block %" PRIu64 " begins with another total", no);
		total = r.total + units_of(r.entries, SLOG_INLINE_MAX);
		since = entry_us(r.entries[SLOG_INLINE_MAX - 1]);
	}
	if (L->end_block > L->first_block && (total & WORD_MAX) != (L->base_total & WORD_MAX))
		return err_set(e, ERR_CORRUPT, "limit log: its head begins with another total");
	if (L->n > 0 && entry_us(L->entries[0]) < since)
		return err_set(e, ERR_CORRUPT, "limit log: times decrease in its head");
	return 0;
}
