/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The audit trail: who changed what and when, numbered from 1, only ever appended to.
 *
 * Runs in the owner's main thread.  An entry is written in the batch of the change that it tells
 * of: neither can exist without the other.
 *
 * Invariant: the numbers have no gap.  An aborted batch gives its numbers back, so a gap in a trail
 * means that somebody cut it.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

#define AUDIT_VERSION 1
#define AUDIT_RECORD_MAX (1 + 8 + 4 + 4 * 2 + 3 * STORE_AUDIT_WORD_MAX + STORE_AUDIT_DETAIL_MAX)

static struct span
seq_key(uint8_t buf[8], uint64_t seq)
{
	struct wbuf out;

	wbuf_init(&out, buf, 8);
	wbuf_u64(&out, seq);
	return wbuf_view(&out);
}

static int
damaged(struct store *s, uint64_t seq, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
	    "%s: database audit: entry %llu is missing or damaged: restore a backup", s->dir,
	    (unsigned long long)seq);
}

static int
seq_of(struct store *s, const struct store_scan *scan, uint64_t *seq, struct err *e)
{
	struct rbuf in;

	rbuf_init(&in, scan->key, scan->key_len);
	*seq = rbuf_u64(&in);
	return rbuf_done(&in) == 0 && *seq != 0 ? 0 : damaged(s, *seq, e);
}

int
store_audit_load(struct store *s, struct err *e)
{
	struct store_scan scan;
	uint64_t seq = 0;
	int rc;

	if ((rc = store_scan_open(&scan, s, STORE_DB_AUDIT, NULL, 0, e)) == 0)
		rc = store_scan_last(&scan, e);
	if (rc == 1)
		rc = seq_of(s, &scan, &seq, e);
	store_scan_close(&scan);
	if (rc != 0)
		return -1;
	s->now.audit_last = seq;
	return 0;
}

int
store_audit_append(struct store *s, struct store_audit *a, struct err *e)
{
	uint8_t key[8];
	struct wbuf out;
	int rc;

	a->seq = 0;
	if (a->actor.len > STORE_AUDIT_WORD_MAX || a->op.len > STORE_AUDIT_WORD_MAX ||
	    a->subject.len > STORE_AUDIT_WORD_MAX || a->detail.len > STORE_AUDIT_DETAIL_MAX)
		return err_set(e, ERR_INTERNAL, "an audit entry is too long");
	wbuf_init(&out, s->record, sizeof(s->record));
	wbuf_u8(&out, AUDIT_VERSION);
	wbuf_u64(&out, (uint64_t)a->when_us);
	wbuf_u32(&out, a->uid);
	wbuf_str16(&out, a->actor);
	wbuf_str16(&out, a->op);
	wbuf_str16(&out, a->subject);
	wbuf_str16(&out, a->detail);
	rc = store_db_insert(
	    s, STORE_DB_AUDIT, seq_key(key, s->now.audit_last + 1), wbuf_view(&out), e);
	if (rc == 0)
		return err_set(e, ERR_INTERNAL, "an audit entry's number is taken");
	if (rc < 0)
		return -1;
	a->seq = ++s->now.audit_last;
	return 0;
}

uint64_t
store_audit_last(const struct store *s)
{
	return s->now.audit_last;
}

static int
decode(struct store *s, uint64_t seq, struct span bytes, struct store_audit *a, struct err *e)
{
	struct rbuf in;
	uint8_t version;

	rbuf_init(&in, bytes.p, bytes.len);
	version = rbuf_u8(&in);
	a->seq = seq;
	a->when_us = (int64_t)rbuf_u64(&in);
	a->uid = rbuf_u32(&in);
	a->actor = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->op = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->subject = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->detail = rbuf_str16(&in, STORE_AUDIT_DETAIL_MAX);
	if (version > AUDIT_VERSION)
		return err_set(e, ERR_VERSION,
		    "%s: database audit: a newer release wrote entry %llu: run that release",
		    s->dir, (unsigned long long)seq);
	return version == AUDIT_VERSION && rbuf_done(&in) == 0 ? 0 : damaged(s, seq, e);
}

int
store_audit_walk(struct store *s, uint64_t after, store_audit_fn *fn, void *cookie, struct err *e)
{
	struct store_scan scan;
	struct store_audit a;
	uint8_t *buf, key[8];
	uint64_t seq;
	int rc, answer = 0;

	if (after >= s->now.audit_last)
		return 0;
	if ((buf = malloc(AUDIT_RECORD_MAX)) == NULL)
		return err_sys(e, "reading the audit trail");
	if ((rc = store_scan_open(&scan, s, STORE_DB_AUDIT, buf, AUDIT_RECORD_MAX, e)) == 0)
		rc = store_scan_seek(&scan, seq_key(key, after + 1), e);
	while (rc == 1) {
		if ((rc = seq_of(s, &scan, &seq, e)) != 0)
			break;
		if ((rc = decode(s, seq, store_span(buf, scan.value_len), &a, e)) != 0)
			break;
		if ((answer = fn(cookie, &a, e)) != 0)
			break;
		rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	free(buf);
	return rc < 0 ? -1 : answer;
}

/* When entry ${seq}, which must be there, was made. */
static int
when(struct store *s, uint64_t seq, uint8_t *buf, int64_t *when_us, struct err *e)
{
	struct store_audit a;
	uint8_t key[8];
	size_t len;
	int rc;

	rc = store_db_get(s, STORE_DB_AUDIT, seq_key(key, seq), buf, AUDIT_RECORD_MAX, &len, e);
	if (rc == 0)
		return damaged(s, seq, e);
	if (rc < 0 || decode(s, seq, store_span(buf, len), &a, e) != 0)
		return -1;
	*when_us = a.when_us;
	return 0;
}

int
store_audit_seek(struct store *s, int64_t since_us, uint64_t *after, struct err *e)
{
	uint64_t lo = 0, hi = s->now.audit_last, mid;
	int64_t mid_us = 0;
	uint8_t *buf;
	int rc = 0;

	*after = 0;
	if ((buf = malloc(AUDIT_RECORD_MAX)) == NULL)
		return err_sys(e, "reading the audit trail");
	/* Entries up to ${lo} are before ${since_us}, those above ${hi} are not. */
	while (rc == 0 && lo < hi) {
		mid = hi - (hi - lo) / 2;
		rc = when(s, mid, buf, &mid_us, e);
		if (mid_us < since_us)
			lo = mid;
		else
			hi = mid - 1;
	}
	free(buf);
	if (rc != 0)
		return -1;
	*after = lo;
	return 0;
}
