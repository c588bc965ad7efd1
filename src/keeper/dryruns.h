/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_DRYRUNS_H_
#define KEEPER_DRYRUNS_H_

/*
 * Limits in dry run: when one would have refused a request that is admitted, the audit trail says
 * so, at most once in a window for each key (or owner) and limit.
 */

#include <stdint.h>

#include "base/err.h"
#include "core/keyrec.h"
#include "keeper/limits.h"
#include "store/store.h"

#define DRYRUNS_OP "limit.would_refuse"
/* How far back the trail is read once after a start, so that a restart repeats nothing. */
#define DRYRUNS_READ_MAX 1000

struct dryruns;
struct dryruns *dryruns_new(struct err *);
void dryruns_free(struct dryruns **);

/*
 * In the batch that takes what ${look} looked at: write the entries that are due.  0; -1 when the
 * batch must be aborted.
 */
int dryruns_report(struct dryruns *, struct store *, const struct limits_look *,
    const struct keyrec *, int64_t wall_us, int64_t steady_us, struct err *)
    __attribute__((warn_unused_result));

/* The batch was committed, or what it reported is to be forgotten. */
void dryruns_batch_end(struct dryruns *, int committed);

#endif /* !KEEPER_DRYRUNS_H_ */
