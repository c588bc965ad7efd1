/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A note in the store that somebody took it although nobody could tell whether its log was whole.
 *
 * Written into the copy before it takes the store's place (`db restore --accept-log`), by the tool,
 * which has no peppers then and can seal no audit record; taken out by the next one that opens the
 * store with its peppers, in the batch in which the trail is told.
 *
 * Invariant: there is no store that was accepted in this way without the note or the audit record.
 */

#include "base/buf.h"
#include "store/internal.h"

#define NOTE_NAME "log_accepted"
#define NOTE_VERSION 1
#define NOTE_BYTES (1 + 8 + 4)

int
store_accepted_note(struct store *s, const struct store_accepted *a, struct err *e)
{
	uint8_t bytes[NOTE_BYTES];
	struct wbuf out;

	wbuf_init(&out, bytes, sizeof(bytes));
	wbuf_u8(&out, NOTE_VERSION);
	wbuf_u64(&out, (uint64_t)a->when_us);
	wbuf_u32(&out, a->uid);
	return store_meta_put(s, NOTE_NAME, out.p, out.len, e);
}

int
store_accepted(struct store *s, struct store_accepted *a, struct err *e)
{
	uint8_t bytes[NOTE_BYTES], version;
	struct rbuf in;
	size_t len;
	int rc = store_meta_get(s, NOTE_NAME, bytes, sizeof(bytes), &len, e);

	*a = (struct store_accepted){.uid = UINT32_MAX};
	if (rc != 1)
		return rc;
	rbuf_init(&in, bytes, len);
	version = rbuf_u8(&in);
	a->when_us = (int64_t)rbuf_u64(&in);
	a->uid = rbuf_u32(&in);
	/* That there is one is what matters. */
	if (rbuf_done(&in) != 0 || version != NOTE_VERSION || a->when_us < 0)
		*a = (struct store_accepted){.uid = UINT32_MAX};
	return 1;
}

int
store_accepted_told(struct store *s, struct err *e)
{
	return store_db_del(s, STORE_DB_META, span_of(NOTE_NAME), e) < 0 ? -1 : 0;
}
