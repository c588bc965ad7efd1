/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Places in a sliding log: from one that is known onwards to the first entry that a search does not
 * pass, through the sealed blocks and then the inline entries.
 *
 * It knows neither N nor W; slog.c asks it where what expires or is released ends.  The keeper runs
 * it for a check in 32 or so, when the entries that are ahead in memory do not do.
 *
 * Invariants: a search reads O(log blocks) blocks; what a block says of its total is held against
 * the head's before anything is made of it.
 */

#include "core/slog_parts.h"

/* The index of the first of entries[from..n) that ${g} does not pass; *total goes along. */
static size_t
scan(const uint64_t *entries, size_t from, size_t n, const struct slog_goal *g, uint64_t *total)
{
	for (; from < n && slog_passes(g, entries[from], *total); from++)
		*total += slog_entry_units(entries[from]);
	return from;
}

int
slog_reader_load(struct slog_reader *r, uint64_t no, struct err *e)
{
	uint8_t raw[SLOG_BLOCK_BYTES];
	uint64_t base = r->log->base_total, before;

	if (r->loaded && r->no == no)
		return 0;
	r->loaded = 0;
	if (r->io->get(r->io->cookie, no, raw, e) == -1)
		return -1;
	if (slog_block_decode(raw, r->entries, &before, e) == -1)
		return -1;
	/* The 56 bits that are stored are those of a total at most 2^56 - 1 below the head's. */
	r->total = base - ((base - before) & SLOG_WORD_MAX);
	if (r->total > base || base - r->total < slog_units_of(r->entries, SLOG_INLINE_MAX))
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
seek_blocks(struct slog_reader *r, const struct slog_goal *g, struct slog_place *at, struct err *e)
{
	uint64_t lo = at->no / SLOG_INLINE_MAX, hi = r->log->end_block, step = 1, mid, total;
	size_t i = at->no % SLOG_INLINE_MAX;

	if (slog_reader_load(r, lo, e) == -1)
		return -1;
	if (at->total != r->total + slog_units_of(r->entries, i))
		return err_set(e, ERR_CORRUPT, "limit log: its tail and a block disagree");
	at->no = lo * SLOG_INLINE_MAX + scan(r->entries, i, SLOG_INLINE_MAX, g, &at->total);

	/* While all of block ${lo} is passed; nothing of block ${hi} is. */
	while (at->no == (lo + 1) * SLOG_INLINE_MAX && hi - lo > 1) {
		mid = step > 0 && step < hi - lo ? lo + step : lo + (hi - lo) / 2;
		if (slog_reader_load(r, mid, e) == -1)
			return -1;
		total = r->total;
		i = scan(r->entries, 0, SLOG_INLINE_MAX, g, &total);
		if (i == 0) {
			hi = mid;
			step = 0;
		} else {
			lo = mid;
			step *= 2;
			*at = (struct slog_place){lo * SLOG_INLINE_MAX + i, total};
		}
	}
	return 0;
}

int
slog_seek(struct slog_reader *r, const struct slog_goal *g, struct slog_place *at, struct err *e)
{
	const struct slog *L = r->log;
	uint64_t base = slog_inline_no(L);

	if (at->no < base && slog_passes(g, L->entries[0], L->base_total))
		*at = (struct slog_place){base, L->base_total};
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

int
slog_oldest(struct slog_reader *r, struct slog_place *at, struct err *e)
{
	const struct slog *L = r->log;

	*at = (struct slog_place){L->first_block * SLOG_INLINE_MAX, L->base_total};
	if (L->first_block < L->end_block) {
		if (slog_reader_load(r, L->first_block, e) == -1)
			return -1;
		at->total = r->total;
	}
	return 0;
}
