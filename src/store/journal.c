/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The journal: what each batch took from limits, as one record, in the batch's own transaction.
 *
 * Runs in the owner's main thread.  It is what makes a take cheap: a log's own record, up to 2 KB
 * with a search and a comparison of its own, is written once for many takes (logs.c).
 *
 * Records go round: SLOTS of them, fewer when they are long.  Before one is overwritten the logs
 * that lack takes of it are written.  So nothing is deleted, which would cost as much as a second
 * record, and the file does not grow.
 *
 * A record, under its slot: u8 version, u64 number of its first take, u64 the take from which on
 * logs may lack any, u32 bytes of takes, takes, note.  A take: u8 how many bytes of the name of the
 * take before it are its own, too, u8 length and the rest of the name, u8 how many takes before it
 * in this record there was one of the same limit (0: N and W follow), then the time that went by
 * since the take before it (microseconds) and the cost, all of variable length.
 *
 * Invariants: takes and what they admit are in one transaction; numbers count up and are never used
 * twice; a record is overwritten only in a batch that leaves no log behind it.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

#define JOURNAL_VERSION 1
#define LIMITS_BACK 8
#define PREFIX (1 + 8 + 8 + 4)
#define TAKE_MAX (3 + STORE_LOG_NAME_MAX + 4 * 10)
#define TAKES_BYTES 49152 /* in one record; a batch that takes more makes several */
#define RECORD_MAX (PREFIX + TAKES_BYTES + STORE_NOTE_MAX)
#define SLOTS 2048
#define ROUND_BYTES (UINT64_C(2) << 20) /* or as many slots as have so many bytes */
#define SLOT_BYTES 2			/* its key */
#define UNDO_MAX 64			/* records of a batch; one of the keeper's makes a few */

/*
 * Logs are written some slots before they have to be, so many a batch beside as many as it takes:
 * a small batch that overwrites a long record, or ends a round early, would pay for thousands.
 */
#define AHEAD 256
#define AHEAD_LOGS 128

/* What the next take of a record is told by its difference from. */
struct before {
	int64_t now_us;
	size_t len;
	char log[STORE_LOG_NAME_MAX];
	size_t nlimits; /* so far; the last ones are here, by their number */
	struct slog_limit limits[LIMITS_BACK];
};

struct store_journal {
	uint64_t first; /* take of the record being made */
	size_t takes_len, note_len;
	int noted;
	struct before before;
	uint64_t ends[SLOTS]; /* the take behind the record's last; 0: there is none */
	size_t nundo;	      /* what they were before this batch */
	struct {
		size_t slot;
		uint64_t end;
	} undo[UNDO_MAX];
	uint8_t record[RECORD_MAX];
	uint8_t note[STORE_NOTE_MAX];
};

struct store_journal *
store_journal_new(void)
{
	return calloc(1, sizeof(struct store_journal));
}

static struct span
slot_key(uint8_t buf[SLOT_BYTES], size_t slot)
{
	struct wbuf out;

	wbuf_init(&out, buf, SLOT_BYTES);
	wbuf_u16(&out, (uint16_t)slot);
	return wbuf_view(&out);
}

static void
record_begin(struct store_journal *j)
{
	j->takes_len = 0;
	j->before.now_us = 0;
	j->before.len = j->before.nlimits = 0;
}

void
store_journal_begin(struct store *s)
{
	struct store_journal *j = s->journal;

	record_begin(j);
	j->note_len = j->nundo = 0;
	j->noted = 0;
}

/* An end that is too high would have all logs written when its slot comes round: hundreds of
 * milliseconds, each time that the disk is full. */
void
store_journal_abort(struct store *s)
{
	struct store_journal *j = s->journal;

	while (j->nundo-- > 0)
		j->ends[j->undo[j->nundo].slot] = j->undo[j->nundo].end;
	j->nundo = 0;
}

int
store_journal_has(const struct store *s)
{
	return s->journal->takes_len > 0 || s->journal->noted;
}

/* Up to which take logs are to be written by and by. */
static uint64_t
due_ahead(const struct store *s)
{
	const uint64_t *ends = s->journal->ends;
	uint64_t due = ends[(s->now.slot + AHEAD) % SLOTS];

	/* A round of long records ends early, and behind its slots lie older ones. */
	if (s->now.round_bytes > ROUND_BYTES / 4 * 3 && due < ends[0])
		due = ends[0];
	return due;
}

/* The slot of the next record, of which no log lacks anything.  0 or -1. */
static int
next_slot(struct store *s, size_t *slot, struct err *e)
{
	struct store_journal *j = s->journal;
	unsigned takes = (unsigned)(s->now.next_take - j->first);

	if (store_logs_catch_up(s, due_ahead(s), takes + AHEAD_LOGS, e) < 0)
		return -1;
	if (s->now.slot == SLOTS || s->now.round_bytes > ROUND_BYTES)
		s->now.slot = s->now.round_bytes = 0;
	*slot = s->now.slot++;
	if (store_logs_catch_up(s, j->ends[*slot], UINT_MAX, e) < 0)
		return -1;
	/* Without room for it an abort leaves the end too high, and logs are written early. */
	if (j->nundo < UNDO_MAX) {
		j->undo[j->nundo].slot = *slot;
		j->undo[j->nundo++].end = j->ends[*slot];
	}
	j->ends[*slot] = s->now.next_take;
	return 0;
}

/* The takes so far as a record, and that much of the note. */
static int
record_write(struct store *s, size_t note_len, struct err *e)
{
	struct store_journal *j = s->journal;
	const struct store_head *behind;
	size_t slot, len = PREFIX + j->takes_len + note_len;
	uint8_t key[SLOT_BYTES];
	struct wbuf out;

	if (j->takes_len == 0)
		j->first = s->now.next_take++;
	if (next_slot(s, &slot, e) != 0)
		return -1;
	behind = store_heads_behind(s->heads);
	s->now.needed_take = behind != NULL ? behind->behind : s->now.next_take;
	wbuf_init(&out, j->record, PREFIX);
	wbuf_u8(&out, JOURNAL_VERSION);
	wbuf_u64(&out, j->first);
	wbuf_u64(&out, s->now.needed_take);
	wbuf_u32(&out, (uint32_t)j->takes_len);
	memcpy(j->record + PREFIX + j->takes_len, j->note, note_len);
	s->now.round_bytes += len;
	record_begin(j);
	return store_db_put(
	    s, STORE_DB_JOURNAL, slot_key(key, slot), store_span(j->record, len), e);
}

int
store_journal_write(struct store *s, struct err *e)
{
	return store_journal_has(s) ? record_write(s, s->journal->note_len, e) : 0;
}

/* How many takes ago there was one of this limit; 0: not lately. */
static unsigned
limit_back(const struct before *b, const struct slog_limit *limit)
{
	for (unsigned back = 1; back <= LIMITS_BACK && back <= b->nlimits; back++) {
		const struct slog_limit *l = &b->limits[(b->nlimits - back) % LIMITS_BACK];

		if (l->max_units == limit->max_units && l->window_us == limit->window_us)
			return back;
	}
	return 0;
}

static void
limit_remember(struct before *b, const struct slog_limit *limit)
{
	b->limits[b->nlimits++ % LIMITS_BACK] = *limit;
}

static void
remember(struct before *b, const struct store_take *t)
{
	limit_remember(b, &t->limit);
	b->now_us = t->now_us;
	b->len = t->log.len;
	memcpy(b->log, t->log.p, t->log.len);
}

static void
take_encode(const struct store_take *t, const struct before *b, struct wbuf *out)
{
	size_t shared = 0, most = b->len < t->log.len ? b->len : t->log.len;
	unsigned back = limit_back(b, &t->limit);

	while (most - shared >= 8 && memcmp(b->log + shared, t->log.p + shared, 8) == 0)
		shared += 8;
	while (shared < most && b->log[shared] == t->log.p[shared])
		shared++;
	wbuf_u8(out, (uint8_t)shared);
	wbuf_u8(out, (uint8_t)(t->log.len - shared));
	wbuf_bytes(out, t->log.p + shared, t->log.len - shared);
	wbuf_u8(out, (uint8_t)back);
	if (back == 0) {
		wbuf_var(out, t->limit.max_units);
		wbuf_var(out, (uint64_t)t->limit.window_us);
	}
	wbuf_var(out, (uint64_t)t->now_us - (uint64_t)b->now_us);
	wbuf_var(out, t->cost);
}

static void
limit_decode(struct rbuf *in, struct before *b, struct slog_limit *limit)
{
	unsigned back = rbuf_u8(in);

	if (back > LIMITS_BACK || back > b->nlimits) {
		in->bad = 1;
		return;
	}
	if (back == 0) {
		limit->max_units = rbuf_var(in);
		limit->window_us = (int64_t)rbuf_var(in);
	} else {
		*limit = b->limits[(b->nlimits - back) % LIMITS_BACK];
	}
	limit_remember(b, limit);
}

/* ${t}'s name is in ${b} after it. */
static void
take_decode(struct rbuf *in, struct before *b, struct store_take *t)
{
	size_t shared = rbuf_u8(in), more = rbuf_u8(in);
	const uint8_t *rest = rbuf_bytes(in, more);

	if (rest == NULL || shared > b->len || shared + more > sizeof(b->log)) {
		in->bad = 1;
		return;
	}
	memcpy(b->log + shared, rest, more);
	b->len = shared + more;
	t->log = store_span(b->log, b->len);
	limit_decode(in, b, &t->limit);
	b->now_us = t->now_us = (int64_t)((uint64_t)b->now_us + rbuf_var(in));
	t->cost = rbuf_var(in);
}

int
store_journal_add(struct store *s, struct store_take *t, struct err *e)
{
	struct store_journal *j = s->journal;
	struct wbuf out;

	/* The note is for the batch's last record, which is the one that is read. */
	if (j->takes_len + TAKE_MAX > TAKES_BYTES && record_write(s, 0, e) != 0)
		return -1;
	if (j->takes_len == 0)
		j->first = s->now.next_take;
	wbuf_init(&out, j->record + PREFIX + j->takes_len, TAKE_MAX);
	take_encode(t, &j->before, &out);
	if (out.overflow)
		return err_set(e, ERR_INTERNAL, "a take from a limit does not fit its record");
	remember(&j->before, t);
	j->takes_len += out.len;
	t->number = s->now.next_take++;
	return 0;
}

/* ---- reading ---- */

static int
damaged(const struct store *s, size_t slot, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s: database journal: the record in slot %zu is damaged: restore a backup", s->dir,
	    slot);
}

/* A record as it is stored; it borrows from the journal's memory. */
struct record {
	size_t slot, len;
	uint64_t first, needed;
	struct rbuf takes;
	struct span note;
};

/* 1, 0 there is none, -1. */
static int
record_read(struct store *s, size_t slot, struct record *r, struct err *e)
{
	struct store_journal *j = s->journal;
	uint8_t key[SLOT_BYTES], version;
	struct rbuf in;
	size_t len, takes;
	int rc;

	if ((rc = store_db_get(s, STORE_DB_JOURNAL, slot_key(key, slot), j->record,
		 sizeof(j->record), &len, e)) != 1)
		return rc;
	rbuf_init(&in, j->record, len);
	*r = (struct record){.slot = slot, .len = len};
	version = rbuf_u8(&in);
	r->first = rbuf_u64(&in);
	r->needed = rbuf_u64(&in);
	takes = rbuf_u32(&in);
	if (!in.bad && version > JOURNAL_VERSION)
		return err_set(e, ERR_VERSION, "%s: database journal: of a newer release", s->dir);
	if (in.bad || version != JOURNAL_VERSION || takes > len - PREFIX || r->first == 0)
		return damaged(s, slot, e);
	rbuf_init(&r->takes, j->record + PREFIX, takes);
	r->note = store_span(j->record + PREFIX + takes, len - PREFIX - takes);
	return 1;
}

/* The takes of one record that are needed to ${fn}; *end is the number behind the last. */
static int
takes_each(struct store *s, struct record *r, uint64_t needed, store_take_fn *fn, uint64_t *end,
    struct err *e)
{
	struct before before = {.len = 0, .nlimits = 0};
	struct store_take t = {0};

	*end = r->first;
	if (r->takes.len == 0)
		++*end; /* a note alone has a number, too */
	while (r->takes.pos < r->takes.len) {
		take_decode(&r->takes, &before, &t);
		t.number = (*end)++;
		if (r->takes.bad)
			return damaged(s, r->slot, e);
		if (t.number >= needed && fn(s, &t, e) != 0)
			return -1;
	}
	return 0;
}

/* Where records are, for sorting. */
struct place {
	uint64_t first;
	size_t slot, len;
};

static int
by_number(const void *a, const void *b)
{
	const struct place *p = a, *q = b;

	return p->first < q->first ? -1 : p->first > q->first;
}

/* All records there are, the oldest first, and from which take on logs may lack any.  0 or -1. */
static int
records_find(
    struct store *s, struct place places[SLOTS], size_t *n, uint64_t *needed, struct err *e)
{
	uint64_t newest = 0;
	struct record r;
	size_t slot;
	int rc;

	*n = 0;
	*needed = 0;
	for (slot = 0; slot < SLOTS; slot++) {
		if ((rc = record_read(s, slot, &r, e)) < 0)
			return -1;
		if (rc == 0)
			continue;
		places[(*n)++] = (struct place){r.first, slot, r.len};
		if (r.first > newest) {
			newest = r.first;
			*needed = r.needed;
		}
	}
	qsort(places, *n, sizeof(*places), by_number);
	return 0;
}

int
store_journal_walk(struct store *s, store_take_fn *fn, struct err *e)
{
	struct place places[SLOTS];
	struct record r;
	uint64_t end;
	size_t n, i;

	s->now.next_take = 1;
	if (records_find(s, places, &n, &s->now.needed_take, e) != 0)
		return -1;
	/* With its numbers beginning anew, records would pass for newer than what is taken now. */
	if (n == 0 && s->now.counts.logs > 0)
		return err_set(e, ERR_CORRUPT,
		    "%s: database journal: it is empty, but there are limit logs: restore a backup",
		    s->dir);
	for (i = 0; i < n; i++) {
		/* None of it is needed; and it ends where the next one begins. */
		if (i + 1 < n && places[i + 1].first <= s->now.needed_take)
			end = places[i + 1].first;
		else if (record_read(s, places[i].slot, &r, e) != 1 ||
			 takes_each(s, &r, s->now.needed_take, fn, &end, e) != 0)
			return -1;
		if (places[i].first < s->now.next_take || end <= places[i].first)
			return damaged(s, places[i].slot, e);
		s->journal->ends[places[i].slot] = s->now.next_take = end;
		s->now.slot = places[i].slot + 1;
	}
	for (i = 0; i < n; i++)
		if (places[i].slot < s->now.slot)
			s->now.round_bytes += places[i].len;
	return 0;
}

/* ---- the keeper's note ---- */

int
store_note_put(struct store *s, const void *bytes, size_t len, struct err *e)
{
	if (len > STORE_NOTE_MAX || !s->in_batch)
		return err_set(e, ERR_INTERNAL, "a note of %zu bytes", len);
	memcpy(s->journal->note, bytes, len);
	s->journal->note_len = len;
	s->journal->noted = 1;
	return 0;
}

int
store_note_get(struct store *s, uint8_t *buf, size_t cap, size_t *len, struct err *e)
{
	size_t slot = s->now.slot;
	struct record r;
	int rc;

	*len = 0;
	if (s->in_batch)
		return err_set(e, ERR_INTERNAL, "a note is read inside a batch");
	if (slot == 0)
		return 0;
	if ((rc = record_read(s, slot - 1, &r, e)) != 1)
		return rc;
	if (r.note.len == 0)
		return 0;
	if (r.note.len > cap)
		return damaged(s, slot - 1, e);
	memcpy(buf, r.note.p, r.note.len);
	*len = r.note.len;
	return 1;
}
