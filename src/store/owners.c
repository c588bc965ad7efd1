/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Owners: which there are, and which of them are switched off.
 *
 * Runs in the owner process's main thread.  An owner is no record of its own: it is there as long
 * as a key names it (the index `owners`), or as it is switched off (a record in `stopped`).
 *
 * Record of `stopped`, integers big-endian: u8 version, u64 since, u32 uid, str16 by, str16 reason.
 *
 * Invariants: how many are switched off is counted in the transaction that changes it, so that 0
 * means that nobody is, and checks need not look; a record that does not decode is an error, never
 * an owner that is on.
 */

#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

#define STOP_VERSION 1
#define STOP_BYTES (1 + 8 + 4 + 2 + STORE_WHO_MAX + 2 + KEYREC_REASON_MAX)

/* What no owner can be called has no record. */
static int
is_name(struct span owner)
{
	return owner.len > 0 && owner.len <= KEYREC_OWNER_MAX &&
	       memchr(owner.p, '\0', owner.len) == NULL;
}

static int
stop_decode(
    struct store *s, struct span owner, struct span bytes, struct store_stop *stop, struct err *e)
{
	struct span by, reason;
	struct rbuf in;
	uint8_t version;

	rbuf_init(&in, bytes.p, bytes.len);
	version = rbuf_u8(&in);
	stop->since_us = (int64_t)rbuf_u64(&in);
	stop->uid = rbuf_u32(&in);
	by = rbuf_str16(&in, STORE_WHO_MAX);
	reason = rbuf_str16(&in, KEYREC_REASON_MAX);
	if (rbuf_done(&in) == 0 && version == STOP_VERSION &&
	    span_copy(stop->by, sizeof(stop->by), by) == 0 &&
	    span_copy(stop->reason, sizeof(stop->reason), reason) == 0)
		return 0;
	memset(stop, 0, sizeof(*stop));
	return err_set(e, ERR_CORRUPT,
	    "%s: database stopped: the record of owner %.*s is damaged: restore a backup", s->dir,
	    (int)owner.len, owner.p);
}

int
store_owner_stopped(struct store *s, struct span owner, struct store_stop *stop, struct err *e)
{
	uint8_t bytes[STOP_BYTES];
	struct store_stop own;
	size_t len;
	int rc;

	if (stop != NULL)
		memset(stop, 0, sizeof(*stop));
	if (s->now.counts.stopped == 0 || !is_name(owner))
		return 0;
	rc = store_db_get(s, STORE_DB_STOPPED, owner, bytes, sizeof(bytes), &len, e);
	if (rc <= 0)
		return rc;
	return stop_decode(s, owner, store_span(bytes, len), stop != NULL ? stop : &own, e) == 0
		   ? 1
		   : -1;
}

int
store_owner_stop(struct store *s, struct span owner, const struct store_stop *stop, struct err *e)
{
	uint8_t bytes[STOP_BYTES];
	struct wbuf out;
	int rc;

	if (!is_name(owner))
		return err_set(e, ERR_INPUT, "owner: 1 to %d bytes", KEYREC_OWNER_MAX);
	wbuf_init(&out, bytes, sizeof(bytes));
	wbuf_u8(&out, STOP_VERSION);
	wbuf_u64(&out, (uint64_t)stop->since_us);
	wbuf_u32(&out, stop->uid);
	wbuf_str16(&out, span_of(stop->by));
	wbuf_str16(&out, span_of(stop->reason));
	if (out.overflow)
		return err_set(e, ERR_INPUT, "reason: at most %d bytes", KEYREC_REASON_MAX);
	rc = store_db_insert(s, STORE_DB_STOPPED, owner, wbuf_view(&out), e);
	if (rc == 1)
		s->now.counts.stopped++;
	return rc;
}

int
store_owner_resume(struct store *s, struct span owner, struct err *e)
{
	int rc = 0;

	if (is_name(owner) && s->now.counts.stopped > 0)
		rc = store_db_del(s, STORE_DB_STOPPED, owner, e);
	if (rc == 1)
		s->now.counts.stopped--;
	return rc;
}

uint64_t
store_stopped(const struct store *s)
{
	return s->now.counts.stopped;
}

/* ---- which owners there are ---- */

/* "owner NUL id" -> owner; 1, or -1 for an entry that is none. */
static int
owner_of(struct store *s, struct span key, struct span *owner, struct err *e)
{
	const char *nul = key.len > 0 ? memchr(key.p, '\0', key.len) : NULL;

	*owner = store_span(key.p, nul != NULL ? (size_t)(nul - key.p) : 0);
	if (is_name(*owner))
		return 1;
	return err_set(
	    e, ERR_CORRUPT, "%s: database owners: a damaged entry: restore a backup", s->dir);
}

/* Count the entries of ${owner} from where the scan stands, up to the maximum. */
static int
count_keys(struct store *s, struct span owner, uint64_t *count, struct err *e)
{
	uint8_t prefix[KEYREC_OWNER_MAX + 1];
	struct store_scan scan;
	struct wbuf out;
	uint64_t n = 0;
	int rc;

	wbuf_init(&out, prefix, sizeof(prefix));
	wbuf_span(&out, owner);
	wbuf_u8(&out, 0);
	if ((rc = store_scan_open(&scan, s, STORE_DB_OWNERS, NULL, 0, e)) == 0)
		rc = store_scan_seek(&scan, wbuf_view(&out), e);
	while (rc == 1 && scan.key_len > out.len && memcmp(scan.key, prefix, out.len) == 0 &&
	       ++n < STORE_OWNER_KEYS_MAX)
		rc = store_scan_next(&scan, e);
	store_scan_close(&scan);
	*count = n;
	return rc < 0 ? -1 : 0;
}

int
store_owner_keys(struct store *s, struct span owner, uint64_t *count, struct err *e)
{
	*count = 0;
	return is_name(owner) ? count_keys(s, owner, count, e) : 0;
}

/* One way of going through owners in order: the entries of keys, or the records of those that are
 * off. */
struct source {
	struct store_scan scan;
	int has; /* ${owner} is the next one */
	struct span owner;
};

/* To the first owner behind ${after}, all of whose keys are left behind at once. */
static int
source_seek(struct store *s, struct source *src, struct span after, struct err *e)
{
	uint8_t from[KEYREC_OWNER_MAX + 1];
	struct wbuf out;
	int rc;

	wbuf_init(&out, from, sizeof(from));
	wbuf_span(&out, after);
	/* No name holds a character below ' ', so what begins with it and 1 is behind all its keys.
	 */
	if (after.len > 0)
		wbuf_u8(&out, 1);
	if (out.overflow)
		return err_set(e, ERR_INPUT, "an owner is at most %d bytes", KEYREC_OWNER_MAX);
	if ((rc = store_scan_seek(&src->scan, wbuf_view(&out), e)) == 1) {
		src->owner = store_scan_key(&src->scan);
		if (src->scan.which == STORE_DB_OWNERS)
			rc = owner_of(s, src->owner, &src->owner, e);
	}
	src->has = rc == 1;
	return rc < 0 ? -1 : 0;
}

static int
owner_cmp(struct span a, struct span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int rc = memcmp(a.p, b.p, n);

	return rc != 0 ? rc : (a.len > b.len) - (a.len < b.len);
}

/* The lesser of the two that has one; NULL at the end. */
static struct source *
next_of(struct source *keyed, struct source *stopped)
{
	if (!stopped->has)
		return keyed->has ? keyed : NULL;
	if (!keyed->has)
		return stopped;
	return owner_cmp(stopped->owner, keyed->owner) < 0 ? stopped : keyed;
}

static int
walk(struct store *s, struct source *keyed, struct source *stopped, struct span after,
    store_owner_fn *fn, void *cookie, struct err *e)
{
	char name[KEYREC_OWNER_MAX + 1] = "";
	struct span at = after;

	for (;;) {
		struct source *src;
		uint64_t keys;
		int rc;

		if ((keyed->scan.cursor != NULL && source_seek(s, keyed, at, e) != 0) ||
		    source_seek(s, stopped, at, e) != 0)
			return -1;
		if ((src = next_of(keyed, stopped)) == NULL)
			return 0;
		if (span_copy(name, sizeof(name), src->owner) != 0)
			return err_set(e, ERR_CORRUPT,
			    "%s: database stopped: a damaged entry: restore a backup", s->dir);
		at = span_of(name);
		if (count_keys(s, at, &keys, e) != 0)
			return -1;
		if ((rc = fn(cookie, at, keys, e)) != 0)
			return rc;
	}
}

int
store_owners_walk(struct store *s, struct span after, int stopped, store_owner_fn *fn, void *cookie,
    struct err *e)
{
	struct source keyed = {.has = 0}, off = {.has = 0};
	int rc = 0;

	if (!stopped)
		rc = store_scan_open(&keyed.scan, s, STORE_DB_OWNERS, NULL, 0, e);
	if (rc == 0)
		rc = store_scan_open(&off.scan, s, STORE_DB_STOPPED, NULL, 0, e);
	if (rc == 0)
		rc = walk(s, &keyed, &off, after, fn, cookie, e);
	store_scan_close(&keyed.scan);
	store_scan_close(&off.scan);
	return rc;
}
