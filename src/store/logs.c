/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Limit logs: a head record a log, and its sealed blocks (core/slog.h knows what is in them).
 *
 * Runs in the owner's main thread; with keys.c it is the hot path: a check reads a head and
 * replaces the bytes at its end (a partial put, so that Berkeley DB logs some 100 bytes and not the
 * whole record).
 *
 * Invariant: a head says which blocks there are; block and head change in one batch.
 */

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

#define WORDS_MAX 96

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

	if (slog_load(L, bytes, e) == 0)
		return 0;
	return err_wrap(e, "%s: database logs: %s", s->dir, log_words(log, text));
}

int
store_log_get(struct store *s, struct span log, struct slog *L, struct err *e)
{
	uint8_t head[SLOG_HEAD_MAX];
	const struct slog *known;
	size_t len;
	int rc;

	slog_init(L);
	if (log_name_ok(log, e) != 0)
		return -1;
	if ((known = store_heads_find(s->heads, log)) != NULL) {
		slog_copy(L, known);
		return store_alive(s, e) == 0 ? 1 : -1;
	}
	rc = store_db_get(s, STORE_DB_LOGS, log, head, sizeof(head), &len, e);
	if (rc <= 0)
		return rc;
	return store_head_load(s, log, store_span(head, len), L, e) == 0 ? 1 : -1;
}

int
store_log_put(struct store *s, struct span log, struct slog *L, struct err *e)
{
	uint8_t buf[SLOG_HEAD_MAX];
	struct span bytes;
	uint32_t doff, dlen;
	int rc;

	if (log_name_ok(log, e) != 0)
		return -1;
	bytes = store_span(buf, slog_head(L, buf, &doff, &dlen));
	if (doff != 0 || dlen != 0) {
		rc = store_db_patch(s, STORE_DB_LOGS, log, bytes, doff, dlen, e);
	} else if ((rc = store_db_insert(s, STORE_DB_LOGS, log, bytes, e)) == 1) {
		s->now.counts.logs++;
		rc = 0;
	} else if (rc == 0) {
		rc = store_db_put(s, STORE_DB_LOGS, log, bytes, e);
	}
	if (rc != 0)
		return -1;
	slog_stored(L);
	store_heads_put(s->heads, log, L);
	return 0;
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
