/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The steady clock: fixing, storing and reading the offset between it and CLOCK_BOOTTIME.
 *
 * Used by the keeper, and by the tool when it works alone.  It knows nothing of limits; they are
 * handed its time.
 *
 * Invariants: within a boot steady time never steps, whatever the wall clock does and however often
 * the keeper is restarted; across boots it never goes back behind the last time stored.  The time
 * stored may be up to SAVE_EVERY_US old, so units admitted in the last seconds before a reset can
 * lie ahead of the clock after it: the log takes such an earlier `now` as the time of its newest
 * entry, so that they count for at most that much longer and never less.
 */

#include "keeper/steady.h"

#include "base/buf.h"
#include "base/clock.h"

#define META_NAME "steady"
#define META_VERSION 1
#define BOOT_ID_LEN 36
#define RECORD_LEN (1 + BOOT_ID_LEN + 8 + 8)
#define SAVE_EVERY_US (10 * CLOCK_SECOND)

int64_t
steady_offset(int same_boot, int64_t stored_offset_us, int64_t stored_last_us, int64_t wall_us,
    int64_t boot_us)
{
	int64_t now_us = wall_us;

	/*
	 * A steady time behind the one stored in the same boot can only be a record of another
	 * machine or time namespace that shares the id: then the offset says nothing.
	 */
	if (same_boot && boot_us + stored_offset_us >= stored_last_us)
		return stored_offset_us;
	/* A clock that is broken must not use up the time that the logs have. */
	if (now_us >= SLOG_END_US)
		now_us = SLOG_EPOCH_US;
	if (now_us < stored_last_us)
		now_us = stored_last_us;
	/* A machine without a battery wakes up in 1970; the logs begin at their epoch. */
	if (now_us < SLOG_EPOCH_US)
		now_us = SLOG_EPOCH_US;
	return now_us - boot_us;
}

int64_t
steady_now_us(const struct steady *s)
{
	return clock_boot_us() + s->offset_us;
}

static int
put(const struct steady *s, struct store *store, int64_t now_us, struct err *e)
{
	uint8_t mem[RECORD_LEN], id[BOOT_ID_LEN] = {0};
	struct wbuf w;

	memcpy(id, s->boot_id, strnlen(s->boot_id, sizeof(id)));
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_u8(&w, META_VERSION);
	wbuf_bytes(&w, id, sizeof(id));
	wbuf_u64(&w, (uint64_t)s->offset_us);
	wbuf_u64(&w, (uint64_t)now_us);
	return store_meta_put(store, META_NAME, mem, w.len, e);
}

/* What was stored: 1, 0 nothing yet, -1. */
static int
get(struct store *store, char boot_id[BOOT_ID_LEN + 1], int64_t *offset_us, int64_t *last_us,
    struct err *e)
{
	uint8_t mem[RECORD_LEN];
	const uint8_t *id;
	struct rbuf r;
	size_t len = 0;
	unsigned version;
	int rc;

	boot_id[0] = '\0';
	*offset_us = *last_us = 0;
	if ((rc = store_meta_get(store, META_NAME, mem, sizeof(mem), &len, e)) != 1)
		return rc;
	rbuf_init(&r, mem, len);
	version = rbuf_u8(&r);
	if (!r.bad && version > META_VERSION)
		return err_set(e, ERR_VERSION, "the steady clock was stored by a newer release");
	id = rbuf_bytes(&r, BOOT_ID_LEN);
	*offset_us = (int64_t)rbuf_u64(&r);
	*last_us = (int64_t)rbuf_u64(&r);
	if (rbuf_done(&r) != 0 || version != META_VERSION)
		return err_set(e, ERR_CORRUPT, "the record of the steady clock does not decode");
	memcpy(boot_id, id, BOOT_ID_LEN);
	boot_id[BOOT_ID_LEN] = '\0';
	return 1;
}

struct opening {
	struct steady *steady;
	struct store *store;
	int64_t now_us;
};

static int
save_in_batch(void *cookie, struct err *e)
{
	struct opening *o = cookie;

	return put(o->steady, o->store, o->now_us, e);
}

int
steady_open(struct steady *out, struct store *store, struct err *e)
{
	struct steady s = {0};
	struct opening o = {.steady = &s, .store = store};
	char stored_id[BOOT_ID_LEN + 1];
	int64_t stored_offset_us, last_us;
	int rc, same_boot;

	*out = s;
	if ((rc = get(store, stored_id, &stored_offset_us, &last_us, e)) < 0)
		return -1;
	clock_boot_id(s.boot_id);
	/* Two unknown boots are not the same one. */
	same_boot = rc == 1 && s.boot_id[0] != '\0' && strcmp(s.boot_id, stored_id) == 0;
	s.offset_us =
	    steady_offset(same_boot, stored_offset_us, last_us, clock_wall_us(), clock_boot_us());
	if (!same_boot || s.offset_us != stored_offset_us) {
		o.now_us = steady_now_us(&s);
		if (store_batch(store, save_in_batch, &o, e) != 0)
			return err_wrap(e, "cannot store the steady clock");
		s.saved_us = o.now_us;
	}
	*out = s;
	return 0;
}

int
steady_save(struct steady *s, struct store *store, int64_t now_us, struct err *e)
{
	if (now_us - s->saved_us < SAVE_EVERY_US)
		return 0;
	if (put(s, store, now_us, e) != 0)
		return -1;
	/* Should the batch be aborted, the next save is a few seconds late: within what the log
	 * forgives. */
	s->saved_us = now_us;
	return 0;
}
