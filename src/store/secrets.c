/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How many secrets there are under each version of the pepper, exactly, whatever the store's size.
 *
 * Runs in the owner's main thread.  A batch notes what it adds and takes away in memory; its last
 * work is to write the sums, a record of `meta` for each version that it touched.  So a batch of
 * 500 keys writes one, and a batch of checks that changes no key writes none.
 *
 * Invariants: the sums change in the transaction that changes the records they count; an abort
 * forgets what was noted; a version under which nothing is left has no record.
 */

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "store/internal.h"

#define SUM_PREFIX "secrets."
#define SUM_PREFIX_LEN (sizeof(SUM_PREFIX) - 1)
#define SUM_VERSION 1
#define SUM_BYTES (1 + STORE_SECRETS * 8 + 8)

/* "secrets.", u32 version. */
static struct span
sum_key(uint8_t buf[SUM_PREFIX_LEN + 4], uint32_t version)
{
	struct wbuf out;

	wbuf_init(&out, buf, SUM_PREFIX_LEN + 4);
	wbuf_str(&out, SUM_PREFIX);
	wbuf_u32(&out, version);
	return wbuf_view(&out);
}

static int
sum_decode(
    struct store *s, uint32_t version, struct span bytes, struct store_secrets *sum, struct err *e)
{
	struct rbuf in;
	uint8_t format;

	*sum = (struct store_secrets){.pepper = version};
	rbuf_init(&in, bytes.p, bytes.len);
	format = rbuf_u8(&in);
	for (size_t i = 0; i < STORE_SECRETS; i++)
		sum->n[i] = rbuf_u64(&in);
	sum->previous_until_us = (int64_t)rbuf_u64(&in);
	if (rbuf_done(&in) == 0 && format == SUM_VERSION)
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "%s: database meta: the count of pepper %" PRIu32 " is damaged: restore a backup",
	    s->dir, version);
}

static int
sum_read(struct store *s, uint32_t version, struct store_secrets *sum, struct err *e)
{
	uint8_t name[SUM_PREFIX_LEN + 4], bytes[SUM_BYTES];
	size_t len;
	int rc;

	*sum = (struct store_secrets){.pepper = version};
	rc = store_db_get(s, STORE_DB_META, sum_key(name, version), bytes, sizeof(bytes), &len, e);
	if (rc <= 0)
		return rc;
	return sum_decode(s, version, store_span(bytes, len), sum, e) == 0 ? 1 : -1;
}

static int
sum_write(struct store *s, const struct store_secrets *sum, struct err *e)
{
	uint8_t name[SUM_PREFIX_LEN + 4], bytes[SUM_BYTES];
	struct wbuf out;
	uint64_t any = 0;

	wbuf_init(&out, bytes, sizeof(bytes));
	wbuf_u8(&out, SUM_VERSION);
	for (size_t i = 0; i < STORE_SECRETS; i++) {
		wbuf_u64(&out, sum->n[i]);
		any |= sum->n[i];
	}
	wbuf_u64(&out, (uint64_t)sum->previous_until_us);
	if (any == 0)
		return store_db_del(s, STORE_DB_META, sum_key(name, sum->pepper), e) < 0 ? -1 : 0;
	return store_db_put(s, STORE_DB_META, sum_key(name, sum->pepper), wbuf_view(&out), e);
}

/* A record that was replaced by one of its kind. */
static int
is_nothing(const struct store_noted *noted)
{
	for (size_t k = 0; k < STORE_SECRETS; k++)
		if (noted->n[k] != 0)
			return 0;
	return noted->previous_until_us == 0;
}

int
store_secrets_write(struct store *s, struct err *e)
{
	for (size_t i = 0; i < s->nnoted; i++) {
		const struct store_noted *noted = &s->noted[i];
		struct store_secrets sum;

		if (is_nothing(noted))
			continue;
		if (sum_read(s, noted->pepper, &sum, e) < 0)
			return -1;
		for (size_t k = 0; k < STORE_SECRETS; k++) {
			uint64_t less = noted->n[k] < 0 ? (uint64_t)-noted->n[k] : 0;

			/* A count that is too small denies nobody: it is told, and mended as far as
			 * that goes. */
			if (less > sum.n[k]) {
				log_event(LOG_LVL_ERROR, "secrets_miscounted", "pepper",
				    LOG_NUM(noted->pepper), NULL);
				sum.n[k] = less;
			}
			sum.n[k] += (uint64_t)noted->n[k];
		}
		/* The latest end is kept as long as there is any: later than needed is no harm. */
		if (noted->previous_until_us > sum.previous_until_us)
			sum.previous_until_us = noted->previous_until_us;
		if (sum.n[STORE_SECRET_PREVIOUS] == 0)
			sum.previous_until_us = 0;
		if (sum_write(s, &sum, e) != 0)
			return -1;
	}
	s->nnoted = 0;
	return 0;
}

/* Where the batch notes this version. */
static struct store_noted *
note_of(struct store *s, uint32_t pepper, struct err *e)
{
	for (size_t i = 0; i < s->nnoted; i++)
		if (s->noted[i].pepper == pepper)
			return &s->noted[i];
	if (s->nnoted == STORE_NOTED_MAX && store_secrets_write(s, e) != 0)
		return NULL;
	s->noted[s->nnoted] = (struct store_noted){.pepper = pepper};
	return &s->noted[s->nnoted++];
}

int
store_secrets_note(struct store *s, uint32_t pepper, enum keyrec_digest of,
    enum store_secret_kind kind, int by, struct err *e)
{
	struct store_noted *noted = note_of(s, pepper, e);

	if (noted == NULL)
		return -1;
	noted->n[kind] += by;
	if (of == KEYREC_OF_SHA256)
		s->now.counts.imported += (uint64_t)(int64_t)by;
	return 0;
}

int
store_secrets_until(struct store *s, uint32_t pepper, int64_t until_us, struct err *e)
{
	struct store_noted *noted = note_of(s, pepper, e);

	if (noted == NULL)
		return -1;
	if (until_us > noted->previous_until_us)
		noted->previous_until_us = until_us;
	return 0;
}

int
store_secrets_get(struct store *s, uint32_t pepper, struct store_secrets *sum, struct err *e)
{
	*sum = (struct store_secrets){.pepper = pepper};
	if (s->in_batch && store_secrets_write(s, e) != 0)
		return -1;
	return sum_read(s, pepper, sum, e) < 0 ? -1 : 0;
}

int
store_secrets_walk(struct store *s, store_secrets_fn *fn, void *cookie, struct err *e)
{
	uint8_t bytes[STORE_META_MAX];
	struct store_secrets sum;
	struct store_scan scan;
	int rc, answer = 0;

	if (s->in_batch && store_secrets_write(s, e) != 0)
		return -1;
	if ((rc = store_scan_open(&scan, s, STORE_DB_META, bytes, sizeof(bytes), e)) == 0)
		rc = store_scan_seek(&scan, span_of(SUM_PREFIX), e);
	while (rc == 1) {
		struct span key = store_scan_key(&scan);
		struct rbuf in;

		if (key.len != SUM_PREFIX_LEN + 4 || memcmp(key.p, SUM_PREFIX, SUM_PREFIX_LEN) != 0)
			break;
		rbuf_init(&in, key.p + SUM_PREFIX_LEN, 4);
		rc = sum_decode(s, rbuf_u32(&in), store_span(bytes, scan.value_len), &sum, e);
		if (rc != 0 || (answer = fn(cookie, &sum, e)) != 0)
			break;
		rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	return rc < 0 ? -1 : answer;
}

uint64_t
store_imported(const struct store *s)
{
	return s->now.counts.imported;
}
