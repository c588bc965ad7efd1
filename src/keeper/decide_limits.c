/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The limits step of a decision: was the request counted already, have all limits of the key's plan
 * room for it, and if so, taking its units.
 *
 * decide.c calls it last, for a key that every other step has passed, and makes of its verdict what
 * the client is told.  Which logs a plan names and what they say is in limits.c.
 *
 * Invariants: a refused request has taken from no limit and an admitted one from each; one that was
 * counted before takes nothing; on a full disk nothing that has to be counted is admitted.
 */

#include <stdio.h>

#include "keeper/decide_parts.h"

#include "base/clock.h"

/* ---- request ids ---- */

static void
remember(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    const struct wire_answer *a, enum verdict verdict)
{
	struct recent_outcome o = {.generation = d->generation,
	    .verdict = verdict,
	    .retry_us = a->retry_us,
	    .nlimits = a->nlimits};

	if (c->request_id.len == 0 || c->cost == 0)
		return;
	for (size_t i = 0; i < a->nlimits; i++) {
		o.limits[i] = (struct recent_limit){.remaining = a->limits[i].remaining,
		    .more_us = a->limits[i].more_us,
		    .violated = a->limits[i].violated != 0};
	}
	recent_add(d->recent, d->key.rec.id, c->request_id, c->cost, t->steady_us, &o);
}

/*
 * Was this request counted already?  1: the outcome is in ${a} and ${verdict}.  0: no.  -1.  An
 * outcome under plans or keys that have changed since still means that it was counted; its figures
 * are then read anew.
 */
static int
counted_before(struct decide *d, const struct wire_check *c, const struct plan *plan,
    const struct decide_times *t, struct wire_answer *a, enum verdict *verdict, int *wrote,
    struct err *e)
{
	const struct recent_outcome *o = NULL;
	int pending = 0;

	*verdict = VERDICT_OK;
	if (!c->retry && c->request_id.len > 0 && c->cost > 0)
		o = recent_find(
		    d->recent, d->key.rec.id, c->request_id, c->cost, t->steady_us, &pending);
	if (!c->retry && o == NULL)
		return 0;
	if (o != NULL && o->generation == d->generation) {
		recent_repeat(o, plan, a);
		*verdict = o->verdict;
	} else if (o != NULL && o->verdict != VERDICT_OK) {
		return 0;
	} else {
		if (limits_look(d->store, &d->key.rec, plan, 0, t->steady_us, &d->look, e) != 0)
			return -1;
		limits_figures(&d->look, 0, a);
	}
	if (pending && *verdict == VERDICT_OK)
		*wrote = 1;
	if (c->retry)
		remember(d, c, t, a, *verdict);
	return 1;
}

/* ---- being looked at ---- */

static void
tell_limits(const struct limits_look *look, struct decide_watch *x)
{
	char step[LIMIT_NAME_MAX + 8], detail[200], window[32], when[64];

	if (x == NULL)
		return;
	x->limits.plan = *look->plan;
	memcpy(x->limits.at, look->at, sizeof(look->at));
	memcpy(x->limits.fits, look->fits, sizeof(look->fits));
	for (size_t i = 0; i < look->plan->nlimits; i++) {
		const struct plan_limit *l = &look->plan->limits[i];
		const struct slog_state *at = &look->at[i];
		int64_t wait_s = at->retry_us / CLOCK_SECOND + (at->retry_us % CLOCK_SECOND > 0);

		clock_duration_format(l->window_us, window, sizeof(window));
		if (look->fits[i])
			when[0] = '\0';
		else if (at->retry_us < 0)
			memcpy(when, ", more than it ever allows",
			    sizeof(", more than it ever allows"));
		else
			(void)snprintf(
			    when, sizeof(when), ", would be admitted in %lld s", (long long)wait_s);
		(void)snprintf(step, sizeof(step), "limit %s", l->name);
		(void)snprintf(detail, sizeof(detail),
		    "%llu of %llu used in %s, %llu remain, costs %u%s%s",
		    (unsigned long long)at->used, (unsigned long long)l->max_units, window,
		    (unsigned long long)at->remaining, (unsigned)look->cost, when,
		    l->dry_run ? " (dry run: refuses nobody)" : "");
		decide_tell(x, step, look->fits[i] || l->dry_run, detail);
	}
}

/* ---- the limits step ---- */

/* Take the units that were looked for, and tell of dry runs that have no room for them. */
static int
take(struct decide *d, const struct decide_times *t, struct err *e)
{
	if (limits_take(d->store, t->steady_us, &d->look, e) != 0)
		return -1;
	return d->look.would_refuse ? dryruns_report(d->dryruns, d->store, &d->look, &d->key.rec,
					  t->wall_us, t->steady_us, e)
				    : 0;
}

int
decide_limits(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, enum verdict *verdict, int *wrote, struct decide_watch *x, struct err *e)
{
	const struct plan *plan = d->plan;
	int rc, taken;

	*verdict = VERDICT_UNAVAILABLE;
	if (plan == NULL) {
		decide_tell(x, "plan", 0,
		    "the plan that the key names is not there; make it with apikey plan set");
		return 0;
	}
	if (plan->nlimits == 0) {
		decide_tell(x, "limits", 1, "the plan has none");
		*verdict = VERDICT_OK;
		return 0;
	}
	if (x == NULL && (rc = counted_before(d, c, plan, t, a, verdict, wrote, e)) != 0)
		return rc < 0 ? -1 : 0;
	*verdict = VERDICT_UNAVAILABLE;
	if (limits_look(d->store, &d->key.rec, plan, c->cost, t->steady_us, &d->look, e) != 0)
		return -1;
	tell_limits(&d->look, x);
	if (d->look.refused) {
		limits_figures(&d->look, 0, a);
		a->retry_us = d->look.retry_us;
		*verdict = VERDICT_RATE_LIMITED;
		if (x == NULL)
			remember(d, c, t, a, *verdict);
		return 0;
	}
	/* On a full disk a limit that cannot be counted refuses, but a dry run never does. */
	taken = c->cost > 0 && d->writable;
	if (c->cost > 0 && !d->writable && d->look.dry_runs < (int)plan->nlimits) {
		decide_tell(
		    x, "space", 0, "the disk is too full to count requests; free some space");
		return 0;
	}
	if (taken && x == NULL) {
		if (take(d, t, e) != 0)
			return -1;
		*wrote = 1;
	}
	limits_figures(&d->look, taken, a);
	*verdict = VERDICT_OK;
	if (x == NULL)
		remember(d, c, t, a, *verdict);
	return 0;
}
