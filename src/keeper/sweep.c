/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Sweeping the limit logs that nobody has used for long.
 *
 * Belongs to the keeper's loop, which calls it between rounds.  What may be deleted is the store's
 * business (its last unit left the window long ago); here is only how much at a time and how often.
 *
 * Invariant: a slice holds up the checks that wait for about SLICE_US, however many logs there are.
 */

#include "keeper/sweep.h"

#include "base/clock.h"
#include "base/log.h"

#define SLICE_US 500
#define SLICE_LOGS 16 /* in one batch: the clock is looked at between batches, so few */
#define REST_US (60 * CLOCK_SECOND)

struct slice {
	struct sweep *sweep;
	struct store *store;
	int64_t now_us, keep_us;
	unsigned freed;
	int ended;
};

void
sweep_init(struct sweep *s, int64_t mono_us)
{
	*s = (struct sweep){.next_us = mono_us + REST_US};
}

void
sweep_tick(struct sweep *s, int64_t mono_us)
{
	if (mono_us >= s->next_us)
		s->active = 1;
}

static int
sweep_batch(void *cookie, struct err *e)
{
	struct slice *s = cookie;
	int rc = store_logs_sweep(
	    s->store, s->now_us, s->keep_us, SLICE_LOGS, &s->sweep->cursor, &s->freed, e);

	s->ended = rc == 1;
	return rc < 0 ? -1 : 0;
}

int
sweep_slice(
    struct sweep *s, struct store *store, const struct steady *steady, int64_t keep_us, int pause)
{
	int64_t until_us = clock_mono_us() + SLICE_US;
	struct slice slice = {.sweep = s,
	    .store = store,
	    .now_us = steady_now_us(steady),
	    .keep_us = keep_us,
	    .ended = pause};
	struct err e = {0};
	int deleted = 0;

	while (!slice.ended && clock_mono_us() < until_us) {
		if (store_batch(store, sweep_batch, &slice, &e) != 0) {
			log_event(LOG_LVL_ERROR, "sweep_failed", "error", e.msg, NULL);
			slice.ended = 1;
		} else if (slice.freed > 0) {
			deleted = 1;
		}
	}
	if (slice.ended) {
		s->active = 0;
		s->next_us = clock_mono_us() + REST_US;
	}
	return deleted;
}
