/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_SESSION_H_
#define APIKEY_SESSION_H_

/* Asking the keeper, or a store of which nobody is the keeper. */

#include <cjson/cJSON.h>

#include "base/err.h"
#include "config/config.h"

struct session;

/* Opens nothing yet.  ${config} must outlive it.  NULL: no memory. */
struct session *session_new(const struct config *, struct err *);
/* Waits until a store that it used is free again.  Sets the pointer to NULL; harmless on NULL. */
void session_close(struct session **);

/* What becomes of an operation when no answer comes: nothing, or nobody knows what. */
enum session_kind { SESSION_READS, SESSION_CHANGES };

/*
 * The "result" of an operation (the caller's, cJSON_Delete), or NULL and the error: the keeper's
 * own code and words, or, when the store cannot be reached, one of ERR_UNAVAILABLE, ERR_BUSY,
 * ERR_FULL, ERR_VERSION, ERR_CORRUPT, ERR_SYSTEM.
 */
cJSON *session_call(struct session *, enum session_kind, const cJSON *request, struct err *);

/*
 * Let go of a store that nobody is the keeper of, until the next call: before anything that may
 * take as long as somebody wishes, like writing to a pager.  With a keeper nothing happens.
 */
void session_rest(struct session *);

/* Whoever answered so far does so no longer: the next call looks for somebody anew. */
void session_hang_up(struct session *);

/*
 * Like session_call, but only of a keeper that runs: 1 and the result, 0 when none runs, -1.
 */
int session_call_keeper(struct session *, enum session_kind, const cJSON *request, cJSON **result,
    struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_SESSION_H_ */
