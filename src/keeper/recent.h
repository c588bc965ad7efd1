/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_RECENT_H_
#define KEEPER_RECENT_H_

/*
 * What the limits said of requests that carried a request id (APIKEYD_REQUEST_ID): the same id with
 * the same key and the same cost within RECENT_KEEP_US is counted once and gets the same outcome.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "core/plan.h"
#include "core/token.h"
#include "wire/wire.h"

#define RECENT_KEEP_US INT64_C(10000000)
#define RECENT_MAX 65536

struct recent;

/* What is kept of one limit; the rest is the plan's. */
struct recent_limit {
	uint64_t remaining;
	int64_t more_us;
	uint8_t violated;
};

struct recent_outcome {
	uint64_t generation;  /* of the plans that it was made with */
	enum verdict verdict; /* ok or rate_limited */
	int64_t retry_us;
	size_t nlimits;
	struct recent_limit limits[PLAN_LIMITS_MAX];
};

/* Room for ${max} outcomes (a power of two); when they are used up the oldest makes way. */
struct recent *recent_new(size_t max, struct err *);
void recent_free(struct recent **);

/*
 * recent_find(R, key_id, request_id, cost, now_us, &pending): the outcome, or NULL.  It belongs to
 * R and is valid until the next recent_add.  ${pending}: it was added in the batch that is still
 * open, so it holds only when that one commits.
 */
const struct recent_outcome *recent_find(struct recent *, const char *key_id,
    struct span request_id, uint32_t cost, int64_t now_us, int *pending);

/* Remember; a request id over WIRE_REQUEST_ID_MAX is not remembered. */
void recent_add(struct recent *, const char *key_id, struct span request_id, uint32_t cost,
    int64_t now_us, const struct recent_outcome *);

/* The figures of an outcome that was made with this very plan, as an answer has them. */
void recent_repeat(const struct recent_outcome *, const struct plan *, struct wire_answer *);

/* The batch was committed: what was added since the last call stays; or it was not: forgotten. */
void recent_batch_end(struct recent *, int committed);

#endif /* !KEEPER_RECENT_H_ */
