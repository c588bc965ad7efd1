/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_UNIT_MEMLOG_H_
#define TESTS_UNIT_MEMLOG_H_

/*
 * A store for one sliding log, in memory, that does what slog.h asks of a store and no more: the
 * head record is changed by exactly the partial puts that slog_head names, blocks are never
 * rewritten, and a take is committed or aborted as a whole.  It counts the calls, and fails one on
 * demand.
 */

#include <stdlib.h>
#include <string.h>

#include "core/slog.h"

struct memlog_undo {
	uint64_t no;
	uint8_t *was;
};

struct memlog {
	size_t record_len;
	uint8_t record[SLOG_HEAD_MAX];
	uint64_t cap, live;
	uint8_t **blocks;
	size_t nundo;
	struct memlog_undo undo[64 * 3];
	unsigned gets, puts, dels;
	uint64_t bytes_put; /* of the head record */
	int fail_in;	    /* n > 0: the nth call from now on fails */
	struct slog_io io;
};

static inline int
memlog_fails(struct memlog *m, struct err *e)
{
	if (m->fail_in > 0 && --m->fail_in == 0)
		return err_set(e, ERR_SYSTEM, "injected");
	return 0;
}

static inline int
memlog_get(void *cookie, uint64_t no, uint8_t block[SLOG_BLOCK_BYTES], struct err *e)
{
	struct memlog *m = cookie;

	m->gets++;
	if (memlog_fails(m, e) == -1)
		return -1;
	if (no >= m->cap || m->blocks[no] == NULL)
		return err_set(e, ERR_CORRUPT, "no block %llu", (unsigned long long)no);
	memcpy(block, m->blocks[no], SLOG_BLOCK_BYTES);
	return 0;
}

static inline void
memlog_remember(struct memlog *m, uint64_t no)
{
	assert_true(m->nundo < sizeof(m->undo) / sizeof(m->undo[0]));
	m->undo[m->nundo++] = (struct memlog_undo){no, m->blocks[no]};
}

static inline int
memlog_put(void *cookie, uint64_t no, const uint8_t block[SLOG_BLOCK_BYTES], struct err *e)
{
	struct memlog *m = cookie;
	uint64_t cap = no + 1 > 2 * m->cap ? no + 1 : 2 * m->cap;

	m->puts++;
	if (memlog_fails(m, e) == -1)
		return -1;
	if (no >= m->cap) {
		m->blocks = realloc(m->blocks, cap * sizeof(m->blocks[0]));
		assert_non_null(m->blocks);
		memset(m->blocks + m->cap, 0, (cap - m->cap) * sizeof(m->blocks[0]));
		m->cap = cap;
	}
	assert_null(m->blocks[no]);
	memlog_remember(m, no);
	m->blocks[no] = malloc(SLOG_BLOCK_BYTES);
	assert_non_null(m->blocks[no]);
	memcpy(m->blocks[no], block, SLOG_BLOCK_BYTES);
	m->live++;
	return 0;
}

static inline int
memlog_del(void *cookie, uint64_t no, struct err *e)
{
	struct memlog *m = cookie;

	m->dels++;
	if (memlog_fails(m, e) == -1)
		return -1;
	assert_true(no < m->cap);
	assert_non_null(m->blocks[no]);
	memlog_remember(m, no);
	m->blocks[no] = NULL;
	m->live--;
	return 0;
}

static inline struct memlog *
memlog_new(void)
{
	struct memlog *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->io = (struct slog_io){memlog_get, memlog_put, memlog_del, m};
	return m;
}

static inline void
memlog_free(struct memlog *m)
{
	uint64_t i;

	for (i = 0; i < m->cap; i++)
		free(m->blocks[i]);
	free(m->blocks);
	free(m);
}

/* Takes back what was done to blocks since the last commit. */
static inline void
memlog_abort(struct memlog *m)
{
	while (m->nundo > 0) {
		struct memlog_undo *u = &m->undo[--m->nundo];

		if (u->was == NULL) {
			free(m->blocks[u->no]);
			m->live--;
		} else {
			m->live++;
		}
		m->blocks[u->no] = u->was;
	}
}

/* Stores the head as slog_head wants it, and makes the changes of blocks final. */
static inline void
memlog_commit(struct memlog *m, struct slog *L)
{
	uint8_t buf[SLOG_HEAD_MAX];
	uint32_t doff, dlen;
	size_t n = slog_head(L, buf, &doff, &dlen);

	assert_true(n <= SLOG_HEAD_MAX);
	m->bytes_put += n;
	if (doff == 0 && dlen == 0) {
		memcpy(m->record, buf, n);
		m->record_len = n;
	} else {
		/* What is replaced is the old trailer: the end of the record. */
		assert_int_equal(dlen, 48);
		assert_int_equal(doff + dlen, m->record_len);
		assert_true(doff + n <= SLOG_HEAD_MAX);
		memcpy(m->record + doff, buf, n);
		m->record_len = doff + n;
	}
	while (m->nundo > 0)
		free(m->undo[--m->nundo].was);
	slog_stored(L);
}

static inline struct span
memlog_record(const struct memlog *m)
{
	return (struct span){(const char *)m->record, m->record_len};
}

#endif /* !TESTS_UNIT_MEMLOG_H_ */
