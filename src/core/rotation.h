/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_ROTATION_H_
#define CORE_ROTATION_H_

/*
 * What the age of a secret means: until when an older one works, when a plan wants the present one
 * replaced, and from when on its holder is told.  Pure.
 */

#include <stdint.h>

#include "core/keyrec.h"
#include "core/plan.h"

#define ROTATION_DAY_US (INT64_C(86400) * 1000000)
#define ROTATION_WARN_US (14 * ROTATION_DAY_US)	     /* holders are told so long before */
#define ROTATION_GRACE_US (1 * ROTATION_DAY_US)	     /* if none is said */
#define ROTATION_GRACE_MAX_US (90 * ROTATION_DAY_US) /* an old secret works no longer */

/* Which secret of a key came along. */
enum rotation_secret {
	ROTATION_PRESENT,
	ROTATION_PREVIOUS, /* the one before, which may have a grace */
	ROTATION_OLDER	   /* one before that: ended by the rotation that came next */
};

enum rotation_verdict {
	ROTATION_REPLACED, /* an old secret without or after its grace; 0, as whatever nobody judged
			    */
	ROTATION_TOO_OLD,  /* the plan's age is reached, and the plan says to refuse then */
	ROTATION_GOOD
};

/* When the present secret was made. */
int64_t rotation_made_us(const struct keyrec *);
/* When the plan (NULL: none known) wants it replaced; 0: never. */
int64_t rotation_due_us(const struct keyrec *, const struct plan *);
/* Is it time to: due, or so within ROTATION_WARN_US?  Never of a revoked key. */
int rotation_is_due(const struct keyrec *, const struct plan *, int64_t now_us);
/* The end of the grace that starts ${now_us}: no later than the plan would admit the secret. */
int64_t rotation_grace_until_us(
    const struct keyrec *, const struct plan *, int64_t now_us, int64_t grace_us);

/*
 * End the grace of the record's previous secret, as if it had been given none: it does not come
 * back with a clock that is set back.  1, or 0 when it has none that runs at ${now}.
 */
int rotation_end_grace(struct keyrec *, int64_t now_us);

/*
 * *by_us: what the holder is to be told as the time by which to use another secret; 0 when there is
 * nothing to be told, and never 0 for one that is refused.
 */
enum rotation_verdict rotation_judge(const struct keyrec *, const struct plan *,
    enum rotation_secret, int64_t now_us, int64_t *by_us);

#endif /* !CORE_ROTATION_H_ */
