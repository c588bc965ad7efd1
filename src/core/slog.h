/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_SLOG_H_
#define CORE_SLOG_H_

/*
 * The exact sliding log of one limit.
 *
 * Rule: a unit admitted at time t counts at time `now` while t > now - W.  A request of cost c is
 * admitted at `now` iff (units that count) + c <= N.  Then no half-open interval of length W,
 * wherever it is placed, holds more than N admitted units.
 *
 * Representation.  The log is a sequence of entries in time order (times never decrease), one u64
 * each: bits 63..13 are microseconds since SLOG_EPOCH_US, bits 12..0 are units - 1 (1..8192 units
 * admitted at that time; a larger cost takes several entries).  So a request costs 8 bytes, and the
 * units in the window are a difference of two running totals: nothing is ever counted one by one.
 *
 * The newest entries are inline in the log's head record.  When SLOG_INLINE_MAX of them have
 * gathered they are sealed into a block, which is never rewritten; block b holds entry numbers
 * [b * SLOG_INLINE_MAX, (b + 1) * SLOG_INLINE_MAX), and its first word the running total of units
 * before it, so that positions can be found by binary search over blocks.
 *
 * The head also keeps the tail: the number of the oldest entry that counts, and the total before
 * it.  Each check moves the tail over what has expired since (within a block by scanning, over many
 * blocks by binary search: O(log N) reads), so remaining units and the time of the next release
 * cost nothing more.  A tail in a block has the next SLOG_AHEAD entries with it in memory.
 *
 * Kept although expired: the youngest entries that sum up to N units.  They are what is needed to
 * stay exact when the plan's window grows.  Older ones are dropped: inline ones when the head is
 * compacted, blocks (at most two at a time) when another one is sealed, or when what is inline is
 * enough.
 *
 * Time: the caller passes a steady clock (see DESIGN.md).  A `now` before the newest entry is
 * taken as the newest entry's time, but waiting times are told from the caller's `now`, so that
 * asking again at now + retry_us gets what was promised.
 *
 * Pure: memory and the three block verbs of the caller, nothing else.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

/* 2020-01-01T00:00:00Z; 51 bits last until 2091. */
#define SLOG_EPOCH_US INT64_C(1577836800000000)
#define SLOG_END_US (SLOG_EPOCH_US + (INT64_C(1) << 51))
#define SLOG_ENTRY_UNITS_MAX 8192
#define SLOG_INLINE_MAX 245
/* 1968: fits one overflow page of 2 KiB, of which 2016 are usable. */
#define SLOG_BLOCK_BYTES (8 * (SLOG_INLINE_MAX + 1))
#define SLOG_AHEAD 32
/* 2016: fills one.  Of an encrypted store's 1984 are usable: there a head of more than 241 entries
 * has two. */
#define SLOG_HEAD_MAX (8 + 8 * SLOG_INLINE_MAX + 48)

struct slog_limit {
	uint64_t max_units; /* N */
	int64_t window_us;  /* W, 1 to 2^56 - 1 */
};

/* Blocks live elsewhere.  Each returns 0, or -1 with ${err} filled; get also fails when there is
 * none. */
struct slog_io {
	int (*get)(void *cookie, uint64_t no, uint8_t block[SLOG_BLOCK_BYTES], struct err *);
	int (*put)(void *cookie, uint64_t no, const uint8_t block[SLOG_BLOCK_BYTES], struct err *);
	int (*del)(void *cookie, uint64_t no, struct err *);
	void *cookie;
};

/* What a limit says of a request. */
struct slog_state {
	/*
	 * Units that count, before the request.  After W grew, perhaps fewer than were admitted,
	 * when expired ones had been dropped already; then not below N, so that the members below
	 * stay exact.
	 */
	uint64_t used;
	uint64_t remaining; /* max_units - used, never below 0 */
	int64_t more_us;    /* until the window has more room than now; 0 when nothing counts */
	int64_t retry_us;   /* until a request of this cost fits; 0: now; -1: never (cost > N) */
};

/* A log in memory.  The fields are slog.c's; the struct is public only so that callers can embed
 * it. */
struct slog {
	uint64_t first_block, end_block;  /* live blocks */
	uint64_t tail;			  /* entry number of the oldest that counts */
	uint64_t tail_total;		  /* units before it */
	uint64_t taken_tail, taken_total; /* the same at the last take: what is stored */
	uint64_t total;			  /* units ever, before what comes next */
	uint64_t base_total;		  /* units before the first inline entry */
	uint64_t mark;			  /* the caller's; stored with the head */
	int64_t window_us;		  /* W of the last take */
	int64_t expired_us; /* the tail stands behind all entries of up to this time (since
			       SLOG_EPOCH_US) */
	size_t n;	    /* inline entries */
	size_t stored_n;    /* how many of them, unchanged and in place, the stored record has */
	int rewrite;	    /* the stored record must be replaced whole */
	uint64_t ahead_no;  /* entry number of ahead[0] */
	size_t ahead_n;	    /* sealed entries from the tail on, so that most checks read no block */
	uint64_t ahead[SLOG_AHEAD];
	uint64_t entries[SLOG_INLINE_MAX];
};

/* An empty log; and a log from its stored head record (strict: ERR_CORRUPT, ERR_VERSION).  */
void slog_init(struct slog *);
/* ${to} = ${from}; cheaper than assignment, because only entries in use are copied. */
void slog_copy(struct slog *to, const struct slog *from);
/* The same but for the entries, which make up most of it. */
void slog_copy_numbers(struct slog *to, const struct slog *from);
int slog_load(struct slog *, struct span, struct err *) __attribute__((warn_unused_result));

/*
 * slog_peek(L, limit, now_us, cost, io, &state, e): would it fit?  1, 0, or -1 (a block could not
 * be read).  Changes nothing that is stored; moves the tail in memory.
 */
int slog_peek(struct slog *, const struct slog_limit *, int64_t now_us, uint64_t cost,
    const struct slog_io *, struct slog_state *, struct err *) __attribute__((warn_unused_result));

/*
 * slog_take(L, limit, now_us, cost, io, e): record ${cost} units (the caller has peeked: all limits
 * of the plan had room, or this one is in dry-run, where the log may exceed N).  May seal and drop
 * blocks.  0 or -1; after -1 the caller aborts its transaction and forgets ${L}.  The limit's units
 * only say here how many stay known when they have expired: more than N where another limit counts
 * in the same log and looks further back.
 */
int slog_take(struct slog *, const struct slog_limit *, int64_t now_us, uint64_t cost,
    const struct slog_io *, struct err *) __attribute__((warn_unused_result));

/*
 * Would a take of ${cost} leave the inline entries as they are, and put its own behind them?  Then
 * slog_copy_numbers of what was there before is enough to undo it.  1 or 0.
 */
int slog_take_appends(const struct slog *, uint64_t cost);

/*
 * slog_head(L, buf, &doff, &dlen): the bytes to store after a take.  Returns the count of bytes in
 * ${buf} (SLOG_HEAD_MAX).  They replace ${dlen} bytes at ${doff} of the stored record (a partial
 * put: the new entries and the trailer behind them), or the whole record when ${doff} and ${dlen}
 * come back 0.
 */
size_t slog_head(const struct slog *, uint8_t buf[SLOG_HEAD_MAX], uint32_t *doff, uint32_t *dlen);
/* After the store took those bytes: they are now what is stored. */
void slog_stored(struct slog *);

/* Read all of it: are times and totals in order, from the first block to the newest entry?  0 or -1
 * (ERR_CORRUPT, or as the io says). */
int slog_verify(const struct slog *, const struct slog_io *, struct err *)
    __attribute__((warn_unused_result));

/*
 * Steady time of the newest entry (always inline: sealing happens when the next entry arrives), 0
 * for an empty log: for the sweeper.  Nothing counts after it + W.
 */
int64_t slog_newest_us(const struct slog *);
int64_t slog_window_us(const struct slog *);

#endif /* !CORE_SLOG_H_ */
