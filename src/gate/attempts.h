/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_ATTEMPTS_H_
#define GATE_ATTEMPTS_H_

/*
 * Failed attempts: addresses that show too many keys that are none are answered 429 client_blocked
 * instead of 401 for a while.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/netaddr.h"
#include "config/config.h"
#include "core/verdict.h"

struct attempts;

/* What becomes of a verdict. */
struct attempts_outcome {
	enum verdict verdict; /* as it was, or client_blocked */
	int64_t left_us;      /* client_blocked: until the block ends */
	int blocking;	      /* this attempt was the last one: ${who} is blocked from now on */
	struct netaddr_net who;
};

/*
 * Never fails for want of shared memory: then this worker counts alone, which is logged.  NULL with
 * ${e} when there is no memory at all.  Keeps ${config}.
 */
struct attempts *attempts_new(const struct config *, struct err *);
void attempts_free(struct attempts **);

/*
 * A request of ${addr} (NULL: not known) is about to be answered with ${verdict}, at ${now_us},
 * CLOCK_BOOTTIME.  Counts it where it is a failed attempt.
 */
struct attempts_outcome attempts_judge(
    struct attempts *, enum verdict, const struct netaddr *addr, int64_t now_us);

#endif /* !GATE_ATTEMPTS_H_ */
