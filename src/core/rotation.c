/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The age of secrets.
 *
 * Not here: what a secret's digest is, and the state of the key (keyrec_now), which comes before.
 * Used by the keeper for every check, by its lists and by the operation that rotates.
 *
 * All of it is told from the record: it says when the present secret was made and until when the
 * one before works.  So what stands under an old digest never has to be changed to end it, and one
 * record's write decides both.
 *
 * Invariants: an older secret is good only if it is the record's previous one, and only before
 * previous_until_us; a grace of nothing has ended even if the clock is set back behind it.
 */

#include "core/rotation.h"

int64_t
rotation_made_us(const struct keyrec *k)
{
	return k->secret_us != 0 ? k->secret_us : k->created_us;
}

int64_t
rotation_due_us(const struct keyrec *k, const struct plan *plan)
{
	if (plan == NULL || plan->max_age_us == 0)
		return 0;
	return rotation_made_us(k) + plan->max_age_us;
}

int
rotation_is_due(const struct keyrec *k, const struct plan *plan, int64_t now_us)
{
	int64_t due_us = rotation_due_us(k, plan);

	return due_us != 0 && k->state != KEYREC_REVOKED && now_us >= due_us - ROTATION_WARN_US;
}

int64_t
rotation_grace_until_us(
    const struct keyrec *k, const struct plan *plan, int64_t now_us, int64_t grace_us)
{
	int64_t until_us = now_us + grace_us, due_us = rotation_due_us(k, plan);

	if (due_us != 0 && plan->max_age_deny && until_us > due_us)
		until_us = due_us;
	return until_us > now_us ? until_us : now_us;
}

static enum rotation_verdict
judge_present(const struct keyrec *k, const struct plan *plan, int64_t now_us, int64_t *by_us)
{
	int64_t due_us = rotation_due_us(k, plan);

	if (due_us == 0 || now_us < due_us - ROTATION_WARN_US)
		return ROTATION_GOOD;
	*by_us = due_us;
	return plan->max_age_deny && now_us >= due_us ? ROTATION_TOO_OLD : ROTATION_GOOD;
}

enum rotation_verdict
rotation_judge(const struct keyrec *k, const struct plan *plan, enum rotation_secret which,
    int64_t now_us, int64_t *by_us)
{
	int64_t made_us = rotation_made_us(k);

	*by_us = 0;
	if (which == ROTATION_PRESENT)
		return judge_present(k, plan, now_us, by_us);
	/* It ended no later than when it was replaced. */
	*by_us = made_us > 0 ? made_us : 1;
	if (which != ROTATION_PREVIOUS || k->previous_until_us <= made_us)
		return ROTATION_REPLACED;
	*by_us = k->previous_until_us;
	return now_us < k->previous_until_us ? ROTATION_GOOD : ROTATION_REPLACED;
}

int
rotation_end_grace(struct keyrec *k, int64_t now_us)
{
	int64_t by_us;

	if (k->previous == NULL ||
	    rotation_judge(k, NULL, ROTATION_PREVIOUS, now_us, &by_us) != ROTATION_GOOD)
		return 0;
	k->previous_until_us = rotation_made_us(k);
	return 1;
}
