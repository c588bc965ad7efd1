/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Which refused requests the audit trail is told of.
 *
 * Belongs to the operations (ops_trail.c), which write the entries; here is only the counting, by
 * uid and minute, in memory of fixed size.
 *
 * Invariants: each refusal is in the count of some entry, at the latest a minute after it (unless
 * the keeper is killed before); in any minute there are at most REFUSALS_SLOTS entries about peers
 * who may not administer, whatever their number, and one about those who found no slot.
 */

#include "keeper/refusals.h"

#include <stddef.h>

#include "base/clock.h"

#define MINUTE_US (60 * CLOCK_SECOND)

static const unsigned told_max[REFUSALS_KINDS] = {[REFUSALS_DENIED] = 1, [REFUSALS_FAILED] = 60};

static int
has_passed(int64_t since_us, int64_t now_us)
{
	return now_us < since_us || now_us - since_us >= MINUTE_US;
}

/* The slot of these; a free one if they have none; NULL. */
static struct refusals_slot *
slot_of(struct refusals *r, uint32_t uid, enum refusals_kind kind, int64_t now_us)
{
	struct refusals_slot *free_slot = NULL;

	for (size_t i = 0; i < REFUSALS_SLOTS; i++) {
		struct refusals_slot *s = &r->slots[i];

		if (s->since_us != 0 && s->uid == uid && s->kind == kind)
			return s;
		if (s->since_us == 0 || (s->untold == 0 && has_passed(s->since_us, now_us)))
			free_slot = s;
	}
	if (free_slot != NULL)
		*free_slot = (struct refusals_slot){.uid = uid, .kind = kind, .since_us = now_us};
	return free_slot;
}

uint64_t
refusals_add(struct refusals *r, uint32_t uid, enum refusals_kind kind, int64_t now_us)
{
	struct refusals_slot *s = slot_of(r, uid, kind, now_us);
	uint64_t n;

	if (s == NULL) {
		if (r->others++ == 0)
			r->others_since_us = now_us;
		return 0;
	}
	if (has_passed(s->since_us, now_us)) {
		s->since_us = now_us;
		s->told = 0;
	}
	n = s->untold + 1;
	if (s->told == told_max[kind]) {
		s->untold = n;
		return 0;
	}
	s->told++;
	s->untold = 0;
	return n;
}

void
refusals_untold(struct refusals *r, uint32_t uid, enum refusals_kind kind, uint64_t n)
{
	for (size_t i = 0; i < REFUSALS_SLOTS; i++) {
		struct refusals_slot *s = &r->slots[i];

		if (s->since_us != 0 && s->uid == uid && s->kind == kind)
			s->untold += n;
	}
}

int
refusals_due(struct refusals *r, int64_t now_us, int last, struct refusals_due *due)
{
	for (size_t i = 0; i < REFUSALS_SLOTS; i++) {
		struct refusals_slot *s = &r->slots[i];

		if (s->untold == 0 || (!last && !has_passed(s->since_us, now_us)))
			continue;
		*due = (struct refusals_due){.uid = s->uid, .kind = s->kind, .n = s->untold};
		s->since_us = now_us;
		s->told = told_max[s->kind];
		s->untold = 0;
		return 1;
	}
	if (r->others == 0 || (!last && !has_passed(r->others_since_us, now_us)))
		return 0;
	*due = (struct refusals_due){.uid = UINT32_MAX, .kind = REFUSALS_DENIED, .n = r->others};
	r->others = 0;
	return 1;
}
