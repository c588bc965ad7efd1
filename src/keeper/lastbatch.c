/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The keeper's note in the journal: identities of the checks that the last committed batch has
 * counted.
 *
 * Belongs to the keeper's loop.  Only identities are kept, no answers: a check sent again is
 * decided again in everything but the counting (a key revoked meanwhile is refused), and its
 * figures are read from the logs, which hold its units already.
 *
 * The note: u8 version, u16 how many, and runs of one client's: u64 client, how many, and of each
 * the difference of its number from the one before, as an unsigned number (2n, or -2n - 1 when it
 * is below zero), these of variable length.  A worker counts its checks, so that most take a byte.
 *
 * Invariants: the note and the units that it speaks of are in the same record; it fits whatever is
 * in it.
 */

#include "keeper/lastbatch.h"

#include "base/buf.h"

#define NOTE_VERSION 1
#define ID_BYTES_MAX (8 + 1 + 10) /* a run of its own */
#define RECORD_MAX (1 + 2 + (LASTBATCH_CHECKS_MAX + LASTBATCH_DOUBT_MAX) * ID_BYTES_MAX)

_Static_assert(RECORD_MAX <= STORE_NOTE_MAX, "the identities of a batch fit into its note");

/* This batch's own come first; what is carried on from starts before it may be cut. */
static void
doubt(struct lastbatch *l, uint64_t client, uint64_t seq)
{
	if (l->ndoubt < LASTBATCH_DOUBT_MAX)
		l->doubt[l->ndoubt++] = (struct lastbatch_id){client, seq};
}

static uint64_t
get_difference(struct rbuf *r)
{
	uint64_t u = rbuf_var(r);

	return u >> 1 ^ (0 - (u & 1));
}

/* How many they were, of the ${left} that are to come. */
static size_t
get_run(struct lastbatch *l, size_t left, struct rbuf *r)
{
	uint64_t client = rbuf_u64(r), seq = 0, n = rbuf_var(r);

	if (n == 0 || n > left) {
		r->bad = 1;
		return left;
	}
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		seq += get_difference(r);
		doubt(l, client, seq);
	}
	return (size_t)n;
}

int
lastbatch_load(struct lastbatch *l, struct store *store, int64_t mono_us, struct err *e)
{
	uint8_t mem[RECORD_MAX];
	struct rbuf r;
	size_t len = 0, n;
	unsigned version;
	int rc;

	*l = (struct lastbatch){0};
	if ((rc = store_note_get(store, mem, sizeof(mem), &len, e)) <= 0)
		return rc;
	rbuf_init(&r, mem, len);
	version = rbuf_u8(&r);
	n = rbuf_u16(&r);
	if (r.bad || version != NOTE_VERSION)
		return err_set(e, version > NOTE_VERSION ? ERR_VERSION : ERR_CORRUPT,
		    "the record of the last batch does not decode");
	while (n > 0 && !r.bad)
		n -= get_run(l, n, &r);
	if (rbuf_done(&r) != 0) {
		l->ndoubt = 0;
		return err_set(e, ERR_CORRUPT, "the record of the last batch does not decode");
	}
	l->doubt_until_us = mono_us + LASTBATCH_DOUBT_US;
	return 0;
}

int
lastbatch_counted(const struct lastbatch *l, uint64_t client, uint64_t seq)
{
	for (size_t i = 0; i < l->ndoubt; i++) {
		if (l->doubt[i].client == client && l->doubt[i].seq == seq)
			return 1;
	}
	return 0;
}

void
lastbatch_unanswered(struct lastbatch *l, uint64_t client, uint64_t seq, int64_t mono_us)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->ids[i].client != client || l->ids[i].seq != seq)
			continue;
		/* With more than there is room for, some are counted twice, and none is let
		 * through. */
		doubt(l, client, seq);
		l->doubt_until_us = mono_us + LASTBATCH_DOUBT_US;
		return;
	}
}

void
lastbatch_begin(struct lastbatch *l, int64_t mono_us)
{
	l->n = 0;
	if (l->ndoubt > 0 && mono_us > l->doubt_until_us)
		l->ndoubt = 0;
}

void
lastbatch_add(struct lastbatch *l, uint64_t client, uint64_t seq)
{
	if (l->n < LASTBATCH_CHECKS_MAX)
		l->ids[l->n++] = (struct lastbatch_id){client, seq};
}

static void
put_difference(struct wbuf *w, uint64_t d)
{
	wbuf_var(w, d << 1 ^ (0 - (d >> 63)));
}

static void
put_ids(struct wbuf *w, const struct lastbatch_id *ids, size_t n)
{
	size_t end;

	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && ids[end].client == ids[i].client; end++)
			;
		wbuf_u64(w, ids[i].client);
		wbuf_var(w, end - i);
		put_difference(w, ids[i].seq);
		for (size_t k = i + 1; k < end; k++)
			put_difference(w, ids[k].seq - ids[k - 1].seq);
	}
}

int
lastbatch_store(const struct lastbatch *l, struct store *store, struct err *e)
{
	uint8_t mem[RECORD_MAX];
	struct wbuf w;

	if (l->n == 0)
		return 0;
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_u8(&w, NOTE_VERSION);
	wbuf_u16(&w, (uint16_t)(l->n + l->ndoubt));
	put_ids(&w, l->ids, l->n);
	put_ids(&w, l->doubt, l->ndoubt);
	return store_note_put(store, mem, w.len, e);
}
