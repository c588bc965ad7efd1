/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The sweep of limit logs in which nothing counts any more.
 *
 * Runs in the owner's main thread, in small slices between checks.  A log of a billion units has
 * four million blocks, so it is not freed in one batch: its head goes first, and with it the log is
 * gone; a note under NUL and its name stays until the last block went, some in each slice.
 *
 * When a log comes to life again while a note of its former life stands, the note is dropped: the
 * blocks that are left lie above what the new head counts, are overwritten when it grows that far,
 * and are freed with it when it goes idle.
 *
 * Invariants: no block of a log that has a head is freed here; no log goes whose units may count
 * under a plan that there is; a slice is bounded in logs and in blocks.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "store/internal.h"

/*
 * Freeing a block puts its 2 KiB into the log, and reads it first when the cache has it no more: 16
 * of them take a fifth of a millisecond, or two when a fast disk is asked.
 */
#define SLICE_BLOCKS 16

#define NOTE_VERSION 1
#define NOTE_KEY_MAX (1 + STORE_LOG_NAME_MAX)

/* A name, copied out of a scan that goes on. */
struct name {
	size_t len;
	uint8_t bytes[NOTE_KEY_MAX];
};

static struct span
name_view(const struct name *name)
{
	return store_span(name->bytes, name->len);
}

static void
name_set(struct name *name, struct span s)
{
	name->len = s.len <= sizeof(name->bytes) ? s.len : 0;
	memcpy(name->bytes, s.p, name->len);
}

static struct span
note_key(uint8_t buf[NOTE_KEY_MAX], struct span log)
{
	struct wbuf out;

	wbuf_init(&out, buf, NOTE_KEY_MAX);
	wbuf_u8(&out, 0);
	wbuf_span(&out, log);
	return wbuf_view(&out);
}

/*
 * Free blocks of ${log} from the highest down, as many as *budget allows (and take them off it).  1
 * when none is left, 0 when the budget was not enough, -1.
 */
static int
blocks_free(struct store *s, struct span log, unsigned *budget, struct err *e)
{
	uint8_t above[STORE_BLOCK_KEY_MAX];
	struct store_scan scan;
	struct span key;
	int rc;

	/* Block numbers are below 2^48 and names have no control characters: nothing lies between.
	 */
	key = store_block_key(above, log, UINT64_C(1) << 56);
	if ((rc = store_scan_open(&scan, s, STORE_DB_BLOCKS, NULL, 0, e)) == 0 &&
	    (rc = store_scan_seek(&scan, key, e)) >= 0)
		rc = rc == 1 ? store_scan_prev(&scan, e) : store_scan_last(&scan, e);
	while (rc == 1) {
		key = store_scan_key(&scan);
		if (key.len != log.len + 8 || memcmp(key.p, log.p, log.len) != 0) {
			rc = 0;
			break;
		}
		if (*budget == 0)
			break;
		(*budget)--;
		if ((rc = store_db_del(s, STORE_DB_BLOCKS, key, e)) < 0)
			break;
		s->now.counts.blocks--;
		rc = store_scan_prev(&scan, e);
	}
	store_scan_close(&scan);
	return rc < 0 ? -1 : !rc;
}

/* Delete a log: its head now, its blocks as far as the budget goes, a note for the rest. */
static int
log_free(struct store *s, struct span log, unsigned *budget, struct err *e)
{
	struct store_head *head = store_heads_find(s->heads, log);
	uint8_t buf[NOTE_KEY_MAX], note = NOTE_VERSION;
	int rc;

	if (head != NULL) {
		if (store_heads_touch(s->heads, head, e) != 0)
			return -1;
		store_heads_drop(s->heads, head);
	}
	if (store_db_del(s, STORE_DB_LOGS, log, e) < 0)
		return -1;
	s->now.counts.logs--;
	if ((rc = blocks_free(s, log, budget, e)) != 0)
		return rc < 0 ? -1 : 0;
	return store_db_put(s, STORE_DB_LOGS, note_key(buf, log), store_span(&note, 1), e);
}

/* Go on with the log of a note.  1 when the note is done with, 0 when blocks are left, -1. */
static int
note_work(struct store *s, struct span note, unsigned *budget, struct err *e)
{
	struct span log = store_span(note.p + 1, note.len - 1);
	size_t len;
	int rc;

	if ((rc = store_db_get(s, STORE_DB_LOGS, log, NULL, 0, &len, e)) == 0)
		rc = blocks_free(s, log, budget, e);
	if (rc <= 0)
		return rc;
	return store_db_del(s, STORE_DB_LOGS, note, e);
}

/* Work off notes; 1 when none is left, 0, -1. */
static int
notes_work(struct store *s, unsigned *budget, struct err *e)
{
	struct store_scan scan;
	struct name note;
	int rc;

	do {
		note.len = 0;
		if ((rc = store_scan_open(&scan, s, STORE_DB_LOGS, NULL, 0, e)) == 0 &&
		    (rc = store_scan_seek(&scan, span_of(""), e)) == 1 && scan.key[0] == '\0')
			name_set(&note, store_scan_key(&scan));
		store_scan_close(&scan);
		if (rc < 0)
			return -1;
		if (note.len == 0)
			return 1;
		rc = note_work(s, name_view(&note), budget, e);
	} while (rc == 1);
	return rc;
}

/* Of each limit's log the longest window that a plan gives it now; and that of the plans that count
 * per owner, with the most units that one of these allows. */
struct store_windows {
	size_t n;
	struct window {
		char name[LIMIT_LOG_MAX + 1];
		int64_t us;
		int64_t owner_us;
		uint64_t owner_units;
	} * at;
};

/* Where ${name} is, or NULL. */
static struct window *
window_of(const struct store_windows *w, struct span name)
{
	for (size_t i = 0; i < w->n; i++)
		if (span_is(name, w->at[i].name))
			return &w->at[i];
	return NULL;
}

static int
windows_add(void *cookie, const struct plan *plan, struct err *e)
{
	struct store_windows *w = cookie;

	for (size_t i = 0; i < plan->nlimits; i++) {
		const struct plan_limit *l = &plan->limits[i];
		struct span log = span_of(plan_limit_log(l));
		struct window *at = window_of(w, log), *more;

		if (at == NULL) {
			if ((more = realloc(w->at, (w->n + 1) * sizeof(*more))) == NULL)
				return err_sys(e, "sweeping limit logs");
			w->at = more;
			at = &w->at[w->n++];
			*at = (struct window){0};
			if (span_copy(at->name, sizeof(at->name), log) != 0)
				return err_set(e, ERR_INTERNAL, "a log's name is too long");
		}
		if (at->us < l->window_us)
			at->us = l->window_us;
		if (plan->per != PLAN_PER_OWNER)
			continue;
		if (at->owner_us < l->window_us)
			at->owner_us = l->window_us;
		if (at->owner_units < l->max_units)
			at->owner_units = l->max_units;
	}
	return 0;
}

void
store_windows_forget(struct store *s)
{
	if (s->windows != NULL)
		free(s->windows->at);
	free(s->windows);
	s->windows = NULL;
}

/* All plans are walked through once after one has changed, not in each slice. */
static int
windows_know(struct store *s, struct err *e)
{
	if (s->windows != NULL)
		return 0;
	if ((s->windows = calloc(1, sizeof(*s->windows))) == NULL)
		return err_sys(e, "sweeping limit logs");
	if (store_plans_walk(s, windows_add, s->windows, e) == 0)
		return 0;
	store_windows_forget(s);
	return -1;
}

/* A plan that cannot be read denies its own keys, which need these units, and nobody else. */
uint64_t
store_owner_log_units(struct store *s, struct span limit_log, int64_t window_us, uint64_t units)
{
	struct err why = {.code = ERR_NONE};
	const struct window *at;

	if (windows_know(s, &why) != 0 || (at = window_of(s->windows, limit_log)) == NULL)
		return units;
	return at->owner_us > window_us && at->owner_units > units ? at->owner_units : units;
}

/*
 * Has nothing counted in this log for ${keep_us}?  1, 0, -1.  Its window is that of its last take,
 * or the longest that a plan gives a limit of its log now: a plan's window may have grown since,
 * or its key moved to another plan.  One that does not decode is left for a person to look at.
 */
static int
idle(struct store *s, struct span log, struct span head, int64_t now_us, int64_t keep_us,
    struct err *e)
{
	struct err why = {.code = ERR_NONE};
	const struct store_head *known = store_heads_find(s->heads, log);
	const struct window *longest;
	struct slog L;

	if (known != NULL && known->waiting != 0)
		return 0;
	if (known != NULL) {
		slog_copy(&L, &known->log);
	} else if (store_head_load(s, log, head, &L, &why) != 0) {
		log_event(LOG_LVL_ERROR, "store_log_damaged", "error", why.msg, NULL);
		return 0;
	}
	if (slog_newest_us(&L) >= now_us - keep_us - slog_window_us(&L))
		return 0;
	if (windows_know(s, e) != 0)
		return -1;
	longest = window_of(s->windows, store_log_limit(log));
	return longest == NULL || slog_newest_us(&L) < now_us - keep_us - longest->us;
}

/* To the first log behind the cursor. */
static int
logs_begin(struct store_scan *scan, const struct store_cursor *cursor, struct err *e)
{
	struct span at = store_span(cursor->at, cursor->len);
	int rc;

	/* Notes begin with NUL: names of logs lie behind them. */
	rc = store_scan_seek(scan, at.len > 0 ? at : span_of("\001"), e);
	if (rc == 1 && span_eq(store_scan_key(scan), at))
		rc = store_scan_next(scan, e);
	return rc;
}

/* Go through logs from where the scan is, as long as it has some and the budget lasts: 1 when there
 * are more, 0, -1. */
static int
logs_work(struct store_scan *scan, int64_t now_us, int64_t keep_us, unsigned max,
    struct store_cursor *cursor, unsigned *budget, unsigned *freed, struct err *e)
{
	struct store *s = scan->store;
	struct name log;
	int rc = logs_begin(scan, cursor, e);

	for (; rc == 1 && max > 0 && *budget > 0; max--) {
		struct span head = store_span(scan->value, scan->value_len);

		name_set(&log, store_scan_key(scan));
		if (log.len <= sizeof(cursor->at)) {
			memcpy(cursor->at, log.bytes, log.len);
			cursor->len = log.len;
		}
		if ((rc = idle(s, name_view(&log), head, now_us, keep_us, e)) < 0)
			return -1;
		if (rc == 1) {
			if (log_free(s, name_view(&log), budget, e) != 0)
				return -1;
			(*freed)++;
		}
		rc = store_scan_next(scan, e);
	}
	return rc;
}

int
store_logs_sweep(struct store *s, int64_t now_us, int64_t keep_us, unsigned max,
    struct store_cursor *cursor, unsigned *freed, struct err *e)
{
	unsigned budget = SLICE_BLOCKS;
	uint8_t head[SLOG_HEAD_MAX];
	struct store_scan scan;
	int rc;

	*freed = 0;
	/* Logs that have no record yet, or an old one, get theirs first: those of before this pass.
	 */
	if (cursor->len == 0 && cursor->before == 0)
		cursor->before = s->now.next_take;
	if ((rc = store_logs_catch_up(s, cursor->before, max, e)) != 1)
		return rc;
	if ((rc = notes_work(s, &budget, e)) != 1)
		return rc;
	if ((rc = store_scan_open(&scan, s, STORE_DB_LOGS, head, sizeof(head), e)) == 0)
		rc = logs_work(&scan, now_us, keep_us, max, cursor, &budget, freed, e);
	store_scan_close(&scan);
	if (rc < 0)
		return -1;
	/* Out of budget there may be a note now, at the end of the logs as anywhere. */
	if (rc == 1 || budget == 0)
		return 0;
	cursor->len = 0;
	cursor->before = 0;
	return 1;
}
