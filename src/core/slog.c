/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The exact sliding log of one limit: how many units were admitted in the last W, whether another
 * request fits, and when it would.  The header tells the design.
 *
 * It is not a cache and not a clock: it knows the head record and the blocks that the caller's
 * verbs reach, and the time it is told.  How places in a log are found is in slog_seek.c, what is
 * stored in slog_record.c.  Pure; the keeper runs it for every check, the tool when it works alone.
 *
 * Invariants:
 *  - The newest entry is inline: a log that has entries has inline ones.
 *  - Every entry before the tail has a time <= expired_us, every other a later one.
 *  - What is gone was expired, and the units kept behind it summed up to N at that time.
 *  - Totals only grow; whatever a block says of its total is checked against the head's.
 */

#include <string.h>

#include "core/slog_parts.h"

#define TIDY_EVERY 16 /* appends */

/* The caller's time as entries hold it. */
static int64_t
log_time(int64_t now_us)
{
	if (now_us < SLOG_EPOCH_US)
		return 0;
	now_us -= SLOG_EPOCH_US;
	return now_us < SLOG_TIME_MAX ? now_us : SLOG_TIME_MAX;
}

/* The same, but never before the newest entry: times in a log never decrease. */
static int64_t
log_now(const struct slog *L, int64_t now_us)
{
	int64_t now = log_time(now_us);

	if (L->n > 0 && now < slog_entry_us(L->entries[L->n - 1]))
		now = slog_entry_us(L->entries[L->n - 1]);
	return now;
}

static int64_t
window_of(const struct slog_limit *limit)
{
	int64_t W = limit->window_us, most = SLOG_WORD_MAX;

	return W < 1 ? 1 : W < most ? W : most;
}

/* Keeps the entries from the tail on of the block that the reader has, if it has the tail's. */
static void
look_ahead(struct slog *L, const struct slog_reader *r)
{
	size_t i = L->tail % SLOG_INLINE_MAX, n = SLOG_INLINE_MAX - i;

	L->ahead_n = 0;
	if (L->tail >= slog_inline_no(L) || !r->loaded || r->no != L->tail / SLOG_INLINE_MAX)
		return;
	L->ahead_no = L->tail;
	L->ahead_n = n < SLOG_AHEAD ? n : SLOG_AHEAD;
	memcpy(L->ahead, r->entries + i, L->ahead_n * sizeof(L->ahead[0]));
}

/* Moves *at, which begins at the tail, as far as what is ahead of it is expired.  1 when it came to
 * an entry that counts. */
static int
seek_ahead(const struct slog *L, int64_t upto_us, struct slog_place *at)
{
	for (; at->no - L->ahead_no < L->ahead_n; at->no++) {
		uint64_t entry = L->ahead[at->no - L->ahead_no];

		if (slog_entry_us(entry) > upto_us)
			return 1;
		at->total += slog_entry_units(entry);
	}
	return 0;
}

/*
 * Makes the tail right for entries that expired at or before ${upto_us}: onwards from where it is,
 * or again from the oldest entry when the window grew by more than the time that went by (or the
 * clock stepped back between two peeks).
 */
static int
settle(struct slog *L, int64_t upto_us, struct slog_reader *r, struct err *e)
{
	struct slog_goal g = {upto_us, 0};
	struct slog_place at = {L->tail, L->tail_total};
	int near;

	if (upto_us == L->expired_us)
		return 0;
	if (upto_us < L->expired_us && slog_oldest(r, &at, e) == -1)
		return -1;
	near = upto_us > L->expired_us && seek_ahead(L, upto_us, &at);
	if (!near && slog_seek(r, &g, &at, e) == -1)
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
release(struct slog_reader *r, uint64_t max_units, uint64_t cost, int64_t *us, struct err *e)
{
	const struct slog *L = r->log;
	struct slog_goal g = {-1, L->total - (max_units - cost)};
	struct slog_place at = {L->tail, L->tail_total};
	uint64_t base = slog_inline_no(L), entry;

	/* Most often what the tail's own entry gives back is enough. */
	if (L->tail - L->ahead_no < L->ahead_n) {
		entry = L->ahead[L->tail - L->ahead_no];
		*us = slog_entry_us(entry);
		if (!slog_passes(&g, entry, at.total))
			return 0;
	}
	if (slog_seek(r, &g, &at, e) == -1)
		return -1;
	if (at.no < base && slog_reader_load(r, at.no / SLOG_INLINE_MAX, e) == -1)
		return -1;
	entry = at.no < base ? r->entries[at.no % SLOG_INLINE_MAX] : L->entries[at.no - base];
	*us = slog_entry_us(entry);
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
	size_t expired = L->tail - slog_inline_no(L), k;

	for (k = 0; k < expired; k++) {
		units = slog_entry_units(L->entries[k]);
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

	if (L->end_block + 1 >= SLOG_BLOCKS_MAX)
		return err_set(e, ERR_INTERNAL, "limit log: out of block numbers");
	slog_block_encode(L, raw);
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
drop(struct slog *L, uint64_t max_units, struct slog_reader *r, struct err *e)
{
	uint64_t behind;
	int i;

	for (i = 0; i < 2 && L->first_block < L->end_block; i++) {
		if ((L->first_block + 1) * SLOG_INLINE_MAX > L->tail)
			break;
		behind = L->total - L->base_total;
		if (L->first_block + 1 < L->end_block) {
			if (slog_reader_load(r, L->first_block + 1, e) == -1)
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
tidy(struct slog *L, uint64_t max_units, struct slog_reader *r, struct err *e)
{
	if (L->first_block == L->end_block)
		compact(L, max_units, L->n == SLOG_INLINE_MAX ? 4 : 2);
	else if (L->tail >= slog_inline_no(L) && L->total - L->base_total >= max_units)
		return drop(L, max_units, r, e);
	return 0;
}

static int
is_due(const struct slog *L)
{
	return L->n == SLOG_INLINE_MAX || (L->n > 0 && L->n % TIDY_EVERY == 0);
}

static int
append(struct slog *L, uint64_t max_units, uint64_t entry, struct slog_reader *r, struct err *e)
{
	if (is_due(L) && tidy(L, max_units, r, e) == -1)
		return -1;
	if (L->n == SLOG_INLINE_MAX) {
		if (seal(L, r->io, e) == -1 || drop(L, max_units, r, e) == -1)
			return -1;
	}
	L->entries[L->n++] = entry;
	L->total += slog_entry_units(entry);
	return 0;
}

int
slog_take_appends(const struct slog *L, uint64_t cost)
{
	return cost <= SLOG_ENTRY_UNITS_MAX && !is_due(L);
}

void
slog_copy_numbers(struct slog *to, const struct slog *from)
{
	memcpy(to, from, offsetof(struct slog, ahead));
	memcpy(to->ahead, from->ahead, from->ahead_n * sizeof(from->ahead[0]));
}

void
slog_copy(struct slog *to, const struct slog *from)
{
	slog_copy_numbers(to, from);
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

int
slog_peek(struct slog *L, const struct slog_limit *limit, int64_t now_us, uint64_t cost,
    const struct slog_io *io, struct slog_state *state, struct err *e)
{
	const uint64_t N = limit->max_units;
	const int64_t W = window_of(limit), since = log_time(now_us);
	struct slog_state st = {0};
	struct slog_reader r;
	int64_t us;
	int fits;

	memset(state, 0, sizeof(*state));
	slog_reader_init(&r, L, io);
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
	struct slog_reader r;
	uint64_t units, entry;

	if (cost == 0)
		return 0;
	slog_reader_init(&r, L, io);
	if (settle(L, now - W, &r, e) == -1)
		return -1;
	if (L->window_us != W) {
		L->window_us = W;
		L->rewrite = 1;
	}
	for (; cost > 0; cost -= units) {
		units = cost < SLOG_ENTRY_UNITS_MAX ? cost : SLOG_ENTRY_UNITS_MAX;
		entry = (uint64_t)now << SLOG_UNITS_BITS | (units - 1);
		if (append(L, limit->max_units, entry, &r, e) == -1)
			return -1;
	}
	L->taken_tail = L->tail;
	L->taken_total = L->tail_total;
	return 0;
}

int64_t
slog_newest_us(const struct slog *L)
{
	return L->n == 0 ? 0 : SLOG_EPOCH_US + slog_entry_us(L->entries[L->n - 1]);
}

int64_t
slog_window_us(const struct slog *L)
{
	return L->window_us;
}
