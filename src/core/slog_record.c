/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The stored form of a sliding log: its head record and its blocks, made, read and verified.
 *
 * No rule of limits is here (slog.c), and no I/O: bytes come and go through the caller.  The keeper
 * runs it when a log comes into memory and when its record is written.
 *
 * The head record: u8 version, 56 bits of window_us; the inline entries; then six u64
 * (first_block, end_block, tail, tail_total, total, mark).  A block: u8 version, the
 * low 56 bits of the units before it; then SLOG_INLINE_MAX entries.  All big-endian, converted here
 * a word at a time: through the calls of base/buf.h this cost more than all the rest of a check.
 *
 * Invariant: what was decoded has its times in order, and numbers that do not contradict each
 * other.
 */

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "core/slog_parts.h"

#define FORMAT 1
#define PREFIX 8
#define TRAILER 48

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

/* Converts ${n} stored entries, without branches: most of a check is here.  -1 when times decrease.
 */
static int
entries_decode(const uint8_t *p, size_t n, uint64_t *entries)
{
	uint64_t last = 0, entry, decreases = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		entry = word_get(p + 8 * i);
		decreases |= entry >> SLOG_UNITS_BITS < last;
		last = entry >> SLOG_UNITS_BITS;
		entries[i] = entry;
	}
	return decreases ? -1 : 0;
}

/* ---- blocks ---- */

void
slog_block_encode(const struct slog *L, uint8_t block[SLOG_BLOCK_BYTES])
{
	word_put(block, L->base_total);
	block[0] = FORMAT;
	for (size_t i = 0; i < SLOG_INLINE_MAX; i++)
		word_put(block + 8 + 8 * i, L->entries[i]);
}

int
slog_block_decode(const uint8_t block[SLOG_BLOCK_BYTES], uint64_t entries[SLOG_INLINE_MAX],
    uint64_t *before, struct err *e)
{
	*before = 0;
	/* A newer release writes its version into the head too, so this is not one. */
	if (block[0] != FORMAT)
		return err_set(e, ERR_CORRUPT, "limit log block: format %u", block[0]);
	if (entries_decode(block + 8, SLOG_INLINE_MAX, entries) == -1)
		return err_set(e, ERR_CORRUPT, "limit log block: times decrease");
	*before = word_get(block) & SLOG_WORD_MAX;
	return 0;
}

/* ---- the head ---- */

/* Are the numbers of a decoded head possible? */
static int
head_consistent(const struct slog *L)
{
	uint64_t base = L->end_block * SLOG_INLINE_MAX;

	if (L->first_block > L->end_block || L->end_block >= SLOG_BLOCKS_MAX)
		return 0;
	if (L->n == 0 && L->first_block < L->end_block)
		return 0;
	if (L->tail < L->first_block * SLOG_INLINE_MAX || L->tail > base + L->n)
		return 0;
	if (L->base_total > L->total) /* the inline ones alone are more */
		return 0;
	if (L->tail < base)
		return L->tail_total < L->base_total;
	return L->tail_total == L->base_total + slog_units_of(L->entries, L->tail - base);
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
	L->window_us = (int64_t)(word_get(p) & SLOG_WORD_MAX);
	p += PREFIX + 8 * n;
	L->first_block = word_get(p);
	L->end_block = word_get(p + 8);
	L->tail = L->taken_tail = word_get(p + 16);
	L->tail_total = L->taken_total = word_get(p + 24);
	L->total = word_get(p + 32);
	L->mark = word_get(p + 40);
	L->base_total = L->total - slog_units_of(L->entries, n);
	if (!head_consistent(L)) {
		slog_init(L);
		return err_set(e, ERR_CORRUPT, "limit log: its numbers contradict each other");
	}
	/* What is stored was settled when the newest entry was taken, at that entry's time. */
	if (n > 0)
		L->expired_us = slog_entry_us(L->entries[n - 1]) - L->window_us;
	slog_stored(L);
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

/* ---- verifying ---- */

/* A block's entries and total before it, into ${r}; its times must not be before ${since}. */
static int
block_verify(struct slog_reader *r, uint64_t no, int64_t since, struct err *e)
{
	uint8_t block[SLOG_BLOCK_BYTES];

	if (r->io->get(r->io->cookie, no, block, e) == -1)
		return -1;
	if (slog_block_decode(block, r->entries, &r->total, e) == -1)
		return err_wrap(e, "block %" PRIu64, no);
	if (slog_entry_us(r->entries[0]) < since)
		return err_set(e, ERR_CORRUPT, "limit log: times decrease in block %" PRIu64, no);
	return 0;
}

int
slog_verify(const struct slog *L, const struct slog_io *io, struct err *e)
{
	struct slog_reader r = {.log = L, .io = io};
	uint64_t total = 0;
	int64_t since = 0;

	for (uint64_t no = L->first_block; no < L->end_block; no++) {
		if (block_verify(&r, no, since, e) == -1)
			return -1;
		/* Of a total 56 bits are stored. */
		if (no > L->first_block && r.total != (total & SLOG_WORD_MAX))
			return err_set(e, ERR_CORRUPT,
			    "limit log: block %" PRIu64 " begins with another total", no);
		total = r.total + slog_units_of(r.entries, SLOG_INLINE_MAX);
		since = slog_entry_us(r.entries[SLOG_INLINE_MAX - 1]);
	}
	if (L->end_block > L->first_block &&
	    (total & SLOG_WORD_MAX) != (L->base_total & SLOG_WORD_MAX))
		return err_set(e, ERR_CORRUPT, "limit log: its head begins with another total");
	if (L->n > 0 && slog_entry_us(L->entries[0]) < since)
		return err_set(e, ERR_CORRUPT, "limit log: times decrease in its head");
	return 0;
}
