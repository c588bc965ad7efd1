/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_REFUSALS_H_
#define KEEPER_REFUSALS_H_

/* Which refused requests the audit trail is told of, so that nobody can fill the disk with them. */

#include <stdint.h>

#define REFUSALS_SLOTS 64

enum refusals_kind {
	REFUSALS_DENIED, /* by one who may not administer: the first of a minute */
	REFUSALS_FAILED, /* by one who may: the first 60 of a minute */
	REFUSALS_KINDS	 /* (count) */
};

struct refusals_slot {
	int64_t since_us; /* its minute began; 0: free */
	uint32_t uid;
	enum refusals_kind kind;
	unsigned told;	 /* in this minute */
	uint64_t untold; /* since the last one that was */
};

/* Zeroed at first. */
struct refusals {
	struct refusals_slot slots[REFUSALS_SLOTS];
	int64_t others_since_us;
	uint64_t others; /* of those for whom there was no slot */
};

/* One more, now: how many the trail is to be told of (with those not told before); 0: not now. */
uint64_t refusals_add(struct refusals *, uint32_t uid, enum refusals_kind, int64_t now_us);
/* One that was not told after all. */
void refusals_untold(struct refusals *, uint32_t uid, enum refusals_kind, uint64_t n);

/* What has waited for a minute to be told, or, the ${last} time, for any time: 1 and who
 * (UINT32_MAX: several) and how many; 0: nothing. */
struct refusals_due {
	uint32_t uid;
	enum refusals_kind kind;
	uint64_t n;
};
int refusals_due(struct refusals *, int64_t now_us, int last, struct refusals_due *);

#endif /* !KEEPER_REFUSALS_H_ */
