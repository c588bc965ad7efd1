/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Limit logs: a head record a log, and its sealed blocks (core/slog.h knows what is in them).
 *
 * Runs in the owner's main thread; with keys.c it is the hot path.  A log that is used stays in
 * memory (heads.c).  A take changes it there and goes into the journal (journal.c); its head record
 * is written when it lacks STORE_TAKES_MAX takes of any log, when it must make room in memory, or
 * when a block was sealed or dropped.  The replaced bytes are those at its end (a partial put, so
 * that Berkeley DB logs some 100 bytes and not the whole record).
 *
 * Invariants: a head says which blocks there are, so head and block change in one batch; a head
 * has the number of the latest take in it, so that none is taken twice.
 */

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "store/internal.h"

#define WORDS_MAX 96
#define SETTLE_SLICE 256 /* logs in a batch */
#define SHUT 0		 /* instead of a head record's version */

struct span
store_log_limit(struct span log)
{
	size_t who = log.len > 0 && log.p[0] == 'k' ? 1 + TOKEN_ID_LEN : 1 + 16;

	return log.len < who ? store_span(NULL, 0) : store_span(log.p + who, log.len - who);
}

/* A log in words, for messages: the key's id and the limit; of an owner's log, the limit alone. */
static const char *
log_words(struct span log, char text[WORDS_MAX])
{
	struct span limit = store_log_limit(log);
	int n;

	if (limit.len == 0)
		return "a log of no form";
	if (log.p[0] == 'k')
		n = snprintf(
		    text, WORDS_MAX, "limit %.*s of %.20s", (int)limit.len, limit.p, log.p + 1);
	else
		n = snprintf(text, WORDS_MAX, "limit %.*s of an owner", (int)limit.len, limit.p);
	return n < 0 ? "" : text;
}

static int
log_name_ok(struct span log, struct err *e)
{
	if (log.len > 0 && log.len <= STORE_LOG_NAME_MAX && log.p[0] != '\0')
		return 0;
	return err_set(e, ERR_INTERNAL, "a limit log's name of %zu bytes", log.len);
}

int
store_head_load(struct store *s, struct span log, struct span bytes, struct slog *L, struct err *e)
{
	char text[WORDS_MAX];

	if (bytes.len > 0 && bytes.p[0] == SHUT)
		return err_set(e, ERR_CORRUPT,
		    "%s: database logs: %s: a block of it was missing or damaged: restore a backup",
		    s->dir, log_words(log, text));
	if (slog_load(L, bytes, e) == 0)
		return 0;
	return err_wrap(e, "%s: database logs: %s", s->dir, log_words(log, text));
}

struct span
store_block_key(uint8_t buf[STORE_BLOCK_KEY_MAX], struct span log, uint64_t no)
{
	struct wbuf out;

	wbuf_init(&out, buf, STORE_BLOCK_KEY_MAX);
	wbuf_span(&out, log);
	wbuf_u64(&out, no);
	return out.overflow ? store_span(NULL, 0) : wbuf_view(&out);
}

static int
block_missing(const struct store_log_blocks *b, uint64_t no, struct err *e)
{
	char text[WORDS_MAX];

	return err_set(e, ERR_CORRUPT,
	    "%s: database blocks: %s: block %llu is missing or damaged: restore a backup",
	    b->store->dir, log_words(b->log, text), (unsigned long long)no);
}

static int
block_get(void *cookie, uint64_t no, uint8_t block[SLOG_BLOCK_BYTES], struct err *e)
{
	const struct store_log_blocks *b = cookie;
	uint8_t buf[STORE_BLOCK_KEY_MAX];
	size_t len;
	int rc;

	rc = store_db_get(b->store, STORE_DB_BLOCKS, store_block_key(buf, b->log, no), block,
	    SLOG_BLOCK_BYTES, &len, e);
	if (rc == 0 || (rc == 1 && len != SLOG_BLOCK_BYTES))
		return block_missing(b, no, e);
	return rc == 1 ? 0 : -1;
}

static int
block_put(void *cookie, uint64_t no, const uint8_t block[SLOG_BLOCK_BYTES], struct err *e)
{
	const struct store_log_blocks *b = cookie;
	uint8_t buf[STORE_BLOCK_KEY_MAX];
	struct span key = store_block_key(buf, b->log, no);
	struct span bytes = store_span(block, SLOG_BLOCK_BYTES);
	int rc;

	if (log_name_ok(b->log, e) != 0)
		return -1;
	if ((rc = store_db_insert(b->store, STORE_DB_BLOCKS, key, bytes, e)) == 0)
		return store_db_put(b->store, STORE_DB_BLOCKS, key, bytes, e);
	if (rc < 0)
		return -1;
	b->store->now.counts.blocks++;
	return 0;
}

static int
block_del(void *cookie, uint64_t no, struct err *e)
{
	const struct store_log_blocks *b = cookie;
	uint8_t buf[STORE_BLOCK_KEY_MAX];
	int rc = store_db_del(b->store, STORE_DB_BLOCKS, store_block_key(buf, b->log, no), e);

	if (rc == 0)
		return block_missing(b, no, e);
	if (rc < 0)
		return -1;
	b->store->now.counts.blocks--;
	return 0;
}

struct slog_io
store_log_io(struct store_log_blocks *b)
{
	return (struct slog_io){.get = block_get, .put = block_put, .del = block_del, .cookie = b};
}

int
store_head_read(struct store *s, struct span log, struct slog *L, struct err *e)
{
	uint8_t head[SLOG_HEAD_MAX];
	size_t len;
	int rc;

	slog_init(L);
	rc = store_db_get(s, STORE_DB_LOGS, log, head, sizeof(head), &len, e);
	if (rc <= 0)
		return rc;
	return store_head_load(s, log, store_span(head, len), L, e) == 0 ? 1 : -1;
}

/* Write the record of a log, so that it lacks nothing. */
static int
head_write(struct store *s, struct store_head *head, struct err *e)
{
	struct span log = store_span(head->name, head->name_len);
	uint8_t buf[SLOG_HEAD_MAX];
	struct span bytes;
	uint32_t doff, dlen;
	int rc;

	if (store_heads_touch_end(s->heads, head, e) != 0)
		return -1;
	bytes = store_span(buf, slog_head(&head->log, buf, &doff, &dlen));
	if (doff != 0 || dlen != 0)
		rc = store_db_patch(s, STORE_DB_LOGS, log, bytes, doff, dlen, e);
	else
		rc = store_db_put(s, STORE_DB_LOGS, log, bytes, e);
	if (rc != 0)
		return -1;
	s->now.counts.logs += !head->stored;
	head->stored = 1;
	slog_stored(&head->log);
	store_heads_set_behind(s->heads, head, 0);
	return 0;
}

/* A log with blocks has a record: they change in one batch. */
int
store_head_shut(struct store *s, const struct store_head *head, struct err *e)
{
	const uint8_t version = SHUT;

	return store_db_patch(s, STORE_DB_LOGS, store_span(head->name, head->name_len),
	    store_span(&version, 1), 0, 1, e);
}

/*
 * Write the record of a log that is behind: 1; 0 when it is not in memory any more, because its
 * record is damaged.  Such a one must not stop the others: its own checks say so, each.  -1.
 */
static int
head_settle(struct store *s, struct store_head *head, struct err *e)
{
	struct err why = {.code = ERR_NONE};

	switch (store_redo_log(s, head, &why)) {
	case 1:
		return head_write(s, head, e) == 0 ? 1 : -1;
	case 0:
		log_event(LOG_LVL_ERROR, "store_log_damaged", "error", why.msg, NULL);
		return store_redo_drop(s, head, e);
	default:
		if (e != NULL)
			*e = why;
		return -1;
	}
}

struct store_head *
store_head_add(struct store *s, struct span log, struct err *e)
{
	struct store_head *excess = store_heads_excess(s->heads);
	int there = 1;

	if (excess != NULL && excess->behind != 0 && (there = head_settle(s, excess, e)) < 0)
		return NULL;
	if (excess != NULL && there)
		store_heads_drop(s->heads, excess);
	return store_heads_add(s->heads, log);
}

/* The log in memory, in a batch. */
static struct store_head *
head_at(struct store *s, struct span log, struct err *e)
{
	struct store_head *head;
	struct slog L;
	int rc;

	if (log_name_ok(log, e) != 0)
		return NULL;
	if ((head = store_heads_find(s->heads, log)) != NULL) {
		if (head->waiting != 0 && store_redo_log(s, head, e) != 1)
			return NULL;
		return store_alive(s, e) == 0 ? head : NULL;
	}
	if ((rc = store_head_read(s, log, &L, e)) < 0 || (head = store_head_add(s, log, e)) == NULL)
		return NULL;
	head->stored = rc;
	slog_copy(&head->log, &L);
	return head;
}

/* Would it take a write, for which there is no space, to have one more log in memory? */
static int
is_crammed(struct store *s)
{
	const struct store_head *excess;

	return atomic_load(&s->full) && (excess = store_heads_excess(s->heads)) != NULL &&
	       excess->behind != 0;
}

int
store_log_look(struct store *s, struct span log, const struct slog_limit *limit, int64_t now_us,
    uint64_t cost, struct slog_state *state, struct err *e)
{
	struct store_log_blocks blocks = {.store = s, .log = log};
	struct slog_io io = store_log_io(&blocks);
	struct store_head *head;
	struct slog L;

	*state = (struct slog_state){0};
	if (log_name_ok(log, e) != 0 || (!s->in_batch && store_redo_now(s, log, e) != 0))
		return -1;
	if ((s->in_batch && !is_crammed(s)) || store_heads_find(s->heads, log) != NULL) {
		if ((head = head_at(s, log, e)) == NULL)
			return -1;
		return slog_peek(&head->log, limit, now_us, cost, &io, state, e);
	}
	/* Nothing can be written to make room; but what is not in memory is in its record, whole.
	 */
	if (store_head_read(s, log, &L, e) < 0)
		return -1;
	return slog_peek(&L, limit, now_us, cost, &io, state, e);
}

/* A change of blocks is written at once, for the record has to know. */
int
store_head_take(struct store *s, struct store_head *head, const struct store_take *t, struct err *e)
{
	struct store_log_blocks blocks = {.store = s, .log = t->log};
	struct slog_io io = store_log_io(&blocks);
	uint64_t first = head->log.first_block, end = head->log.end_block;
	int rc;

	rc = slog_take_appends(&head->log, t->cost) ? store_heads_touch_end(s->heads, head, e)
						    : store_heads_touch(s->heads, head, e);
	if (rc != 0 || slog_take(&head->log, &t->limit, t->now_us, t->cost, &io, e) != 0)
		return -1;
	head->log.mark = t->number;
	if (head->log.first_block != first || head->log.end_block != end)
		return head_write(s, head, e);
	if (head->behind == 0)
		store_heads_set_behind(s->heads, head, t->number);
	return 0;
}

int
store_log_take(struct store *s, struct span log, const struct slog_limit *limit, int64_t now_us,
    uint64_t cost, struct err *e)
{
	struct store_take t = {.log = log, .limit = *limit, .now_us = now_us, .cost = cost};
	struct err why = {.code = ERR_NONE};
	struct store_head *head;

	if (cost == 0)
		return 0;
	if (store_txn(s, e) == NULL)
		return -1;
	if ((head = head_at(s, log, &why)) != NULL && store_journal_add(s, &t, &why) == 0 &&
	    store_head_take(s, head, &t, &why) == 0)
		return 0;
	if (e != NULL)
		*e = why;
	return store_poison(s, &why);
}

int
store_logs_catch_up(struct store *s, uint64_t before, unsigned max, struct err *e)
{
	struct store_head *head;

	while ((head = store_heads_behind(s->heads)) != NULL && head->behind < before) {
		if (max-- == 0)
			return 0;
		if (head_settle(s, head, e) < 0)
			return -1;
	}
	return 1;
}

/* As many logs as there were takes can become due; one more brings down what was held up. */
int
store_logs_batch_end(struct store *s, struct err *e)
{
	uint64_t takes = s->now.next_take - s->before.next_take;
	unsigned most = takes < UINT_MAX ? (unsigned)takes + 1 : UINT_MAX;

	if (s->now.next_take > s->takes_max && takes > 0 &&
	    store_logs_catch_up(s, s->now.next_take - s->takes_max, most, e) < 0)
		return -1;
	return store_journal_write(s, e);
}

/* ---- before closing ---- */

/* Settling: a slice of logs a batch; the last one renews the journal's newest record, note and all,
 * now that no log lacks anything. */
struct settling {
	struct store *store;
	int done;
	size_t note_len;
	uint8_t note[STORE_NOTE_MAX];
};

static int
settle(void *cookie, struct err *e)
{
	struct settling *to = cookie;

	if ((to->done = store_logs_catch_up(to->store, UINT64_MAX, SETTLE_SLICE, e)) < 0)
		return -1;
	return to->done ? store_note_put(to->store, to->note, to->note_len, e) : 0;
}

int
store_logs_settle(struct store *s, struct err *e)
{
	struct settling to = {.store = s};

	if (s->now.needed_take == s->now.next_take || s->now.next_take == 1)
		return 0;
	if (store_note_get(s, to.note, sizeof(to.note), &to.note_len, e) < 0)
		return -1;
	while (!to.done)
		if (store_batch(s, settle, &to, e) != 0)
			return -1;
	return 0;
}
