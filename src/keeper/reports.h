/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_REPORTS_H_
#define KEEPER_REPORTS_H_

/* What workers report of blocked clients, as entries of the audit trail: no more than a few a
 * minute. */

#include <stdint.h>

#include "base/err.h"
#include "store/store.h"
#include "wire/wire.h"

#define REPORTS_OP "client.blocked"
#define REPORTS_MINUTE_MAX 60 /* entries a minute; what comes beyond is counted in one more */

/* Begins as zeros. */
struct reports {
	int hold;	   /* the disk is too full: what is reported is left out until it is not */
	int64_t minute_us; /* CLOCK_MONOTONIC, when the present minute began; 0: none has */
	unsigned written;  /* entries in it */
	uint64_t left_out; /* reports that have no entry yet */
};

/* In a batch: write the entry of a report, or count it.  0; -1 when the batch must be aborted. */
int reports_take(struct reports *, struct store *, const struct wire_report *, int64_t wall_us,
    int64_t mono_us, int *wrote, struct err *) __attribute__((warn_unused_result));

/*
 * Once a second, and with ${last} before the end: what was left out becomes an entry when its
 * minute is over, in a batch of its own.  1 when one was written, 0.
 */
int reports_tick(struct reports *, struct store *, int last);

#endif /* !KEEPER_REPORTS_H_ */
