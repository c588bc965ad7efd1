/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_LASTBATCH_H_
#define KEEPER_LASTBATCH_H_

/*
 * Which checks the last batch has counted, stored in that batch itself: so a check that a worker
 * sends again, because the keeper was killed between its commit and its answer, or could not send
 * that, is not counted twice.
 *
 * The answers of a batch are sent before the next one begins, so only the last can be in doubt. For
 * LASTBATCH_DOUBT_US after a start every record carries on what was in doubt then, in case the
 * keeper is killed again before the workers have asked.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

#define LASTBATCH_CHECKS_MAX 256 /* that one batch can count */
#define LASTBATCH_DOUBT_MAX 512
#define LASTBATCH_DOUBT_US INT64_C(10000000)

struct lastbatch_id {
	uint64_t client, seq;
};

struct lastbatch {
	size_t n; /* counted in this batch so far */
	struct lastbatch_id ids[LASTBATCH_CHECKS_MAX];
	size_t ndoubt; /* counted before, perhaps never answered */
	struct lastbatch_id doubt[LASTBATCH_DOUBT_MAX];
	int64_t doubt_until_us; /* CLOCK_MONOTONIC */
};

/* At start.  0 or -1. */
int lastbatch_load(struct lastbatch *, struct store *, int64_t mono_us, struct err *)
    __attribute__((warn_unused_result));

/*
 * The answer of this check of the last batch has not arrived, as far as is known: if the batch
 * counted it, it is in doubt from now on.
 */
void lastbatch_unanswered(struct lastbatch *, uint64_t client, uint64_t seq, int64_t mono_us);

/* Was it counted before, by an earlier keeper or without an answer?  1 or 0. */
int lastbatch_counted(const struct lastbatch *, uint64_t client, uint64_t seq);

/* An empty batch; what was in doubt is forgotten when its time is over. */
void lastbatch_begin(struct lastbatch *, int64_t mono_us);
void lastbatch_add(struct lastbatch *, uint64_t client, uint64_t seq);
/* In the batch, last of all: one put when anything was added, else nothing. */
int lastbatch_store(const struct lastbatch *, struct store *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !KEEPER_LASTBATCH_H_ */
