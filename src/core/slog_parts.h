/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_SLOG_PARTS_H_
#define CORE_SLOG_PARTS_H_

/*
 * What the files of the sliding log share, and nobody else includes: slog.c has the rules,
 * slog_seek.c finds places in a log, slog_record.c makes and reads what is stored.
 */

#include "core/slog.h"

#define SLOG_WORD_MAX ((UINT64_C(1) << 56) - 1) /* what fits beside a version byte */
#define SLOG_TIME_MAX ((INT64_C(1) << 51) - 1)
#define SLOG_UNITS_BITS 13
#define SLOG_BLOCKS_MAX (UINT64_C(1) << 48) /* so that entry numbers fit into a u64 */

/* A place in the log: an entry's number, and the units before it. */
struct slog_place {
	uint64_t no;
	uint64_t total;
};

/*
 * What a search passes over: entries of up to a time, or entries that together stay below a total.
 * Either holds for a first run of the log's entries and for none behind it, so that both can be
 * searched for in halves.
 */
struct slog_goal {
	int64_t upto_us; /* -1: no time */
	uint64_t below;	 /* 0: no total */
};

/* A reader of blocks that keeps the last one it read. */
struct slog_reader {
	const struct slog *log;
	const struct slog_io *io;
	int loaded;
	uint64_t no;
	uint64_t total; /* units before the block */
	uint64_t entries[SLOG_INLINE_MAX];
};

/* ---- entries ---- */

static inline int64_t
slog_entry_us(uint64_t entry)
{
	return (int64_t)(entry >> SLOG_UNITS_BITS);
}

static inline uint64_t
slog_entry_units(uint64_t entry)
{
	return (entry & (SLOG_ENTRY_UNITS_MAX - 1)) + 1;
}

static inline uint64_t
slog_units_of(const uint64_t *entries, size_t n)
{
	uint64_t units = 0;

	while (n-- > 0)
		units += slog_entry_units(entries[n]);
	return units;
}

/* The number of the first inline entry. */
static inline uint64_t
slog_inline_no(const struct slog *L)
{
	return L->end_block * SLOG_INLINE_MAX;
}

/* ---- places (slog_seek.c) ---- */

/* Does a search for ${g} go on behind this entry, which has ${before} units before it? */
static inline int
slog_passes(const struct slog_goal *g, uint64_t entry, uint64_t before)
{
	return slog_entry_us(entry) <= g->upto_us || before + slog_entry_units(entry) < g->below;
}

static inline void
slog_reader_init(struct slog_reader *r, const struct slog *L, const struct slog_io *io)
{
	r->log = L;
	r->io = io;
	r->loaded = 0;
}

/* Block ${no} into the reader, unless it is there already: 0 or -1. */
int slog_reader_load(struct slog_reader *, uint64_t no, struct err *)
    __attribute__((warn_unused_result));

/* Moves *at forward to the first entry that the goal does not pass, or behind the newest: 0 or -1.
 */
int slog_seek(struct slog_reader *, const struct slog_goal *, struct slog_place *at, struct err *)
    __attribute__((warn_unused_result));

/* *at: the oldest entry that is kept.  0 or -1. */
int slog_oldest(struct slog_reader *, struct slog_place *at, struct err *)
    __attribute__((warn_unused_result));

/* ---- blocks (slog_record.c) ---- */

/* All SLOG_INLINE_MAX inline entries as a block. */
void slog_block_encode(const struct slog *, uint8_t block[SLOG_BLOCK_BYTES]);

/* A block's entries and, of the units before it, the low 56 bits: 0, or -1 (ERR_CORRUPT). */
int slog_block_decode(const uint8_t block[SLOG_BLOCK_BYTES], uint64_t entries[SLOG_INLINE_MAX],
    uint64_t *before, struct err *) __attribute__((warn_unused_result));

#endif /* !CORE_SLOG_PARTS_H_ */
