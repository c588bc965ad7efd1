/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The limits of a key: which plan it has, which logs that names, what they say, and taking units.
 *
 * Called by the decision, inside its batch.  It gives no verdict: it tells what was found.
 *
 * Invariants: nothing is written while looking, so that a request which one limit refuses is
 * recorded in none; a take writes every limit of the plan, dry runs too; a key that names a plan
 * which is neither stored nor built in gets no limits to pass (the caller denies), never the
 * freedom of having none.
 */

#include <stdlib.h>

#include "keeper/limits.h"

#include "base/digest.h"
#include "base/log.h"

#define SLOTS 64 /* decoded plans; a power of two */
#define OWNER_DIGEST 16

enum slot_state { SLOT_EMPTY, SLOT_PLAN, SLOT_MISSING };

struct slot {
	enum slot_state state;
	struct plan plan; /* only its name is of use when it is missing */
};

struct limits_plans {
	struct slot slots[SLOTS];
};

struct limits_plans *
limits_plans_new(struct err *e)
{
	struct limits_plans *p = calloc(1, sizeof(*p));

	if (p == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	return p;
}

void
limits_plans_free(struct limits_plans **pp)
{
	free(*pp);
	*pp = NULL;
}

void
limits_plans_forget(struct limits_plans *p)
{
	for (size_t i = 0; i < SLOTS; i++)
		p->slots[i].state = SLOT_EMPTY;
}

static struct slot *
slot_of(struct limits_plans *p, struct span name)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (uint8_t)name.p[i]) * 16777619U;
	return &p->slots[(h ^ (h >> 16)) & (SLOTS - 1)];
}

/* Logs of an owner: other plans of the owner's keys may count in them as well, and look further
 * back. */
static void
keep_for_others(struct plan *p, struct store *store)
{
	for (size_t i = 0; i < p->nlimits; i++) {
		struct plan_limit *l = &p->limits[i];

		l->keep_units = l->max_units;
		if (p->per == PLAN_PER_OWNER)
			l->keep_units = store_owner_log_units(
			    store, span_of(plan_limit_log(l)), l->window_us, l->max_units);
	}
}

/* Fill a slot from the store; 0 or -1. */
static int
slot_load(struct slot *s, struct store *store, struct span name, struct err *e)
{
	int rc;

	s->state = SLOT_EMPTY;
	if ((rc = store_plan_get(store, name, &s->plan, e)) < 0)
		return -1;
	if (rc == 1 || plan_builtin(name, &s->plan)) {
		keep_for_others(&s->plan, store);
		s->state = SLOT_PLAN;
		return 0;
	}
	s->plan = (struct plan){0};
	if (span_copy(s->plan.name, sizeof(s->plan.name), name) != 0)
		return err_set(e, ERR_CORRUPT, "a key names a plan that cannot be");
	/* Here and not for every check: a plan that is missing would fill the log. */
	log_event(
	    LOG_LVL_ERROR, "plan_missing", "plan", s->plan.name, "mend", "apikey plan set", NULL);
	s->state = SLOT_MISSING;
	return 0;
}

int
limits_plan(struct limits_plans *p, struct store *store, struct span name, const struct plan **plan,
    struct err *e)
{
	struct slot *s;

	*plan = NULL;
	s = slot_of(p, name);
	if (s->state == SLOT_EMPTY || !span_is(name, s->plan.name)) {
		if (slot_load(s, store, name, e) != 0)
			return -1;
	}
	if (s->state == SLOT_MISSING)
		return 0;
	*plan = &s->plan;
	return 1;
}

/* The names of the logs: what the units are counted by, then the limit's log. */
static int
name_logs(const struct keyrec *rec, struct limits_look *look, struct err *e)
{
	uint8_t digest[DIGEST_LEN];
	const void *who = rec->id;
	size_t len = TOKEN_ID_LEN;
	char kind = 'k';
	struct wbuf w;

	if (look->plan->per == PLAN_PER_OWNER) {
		if (digest_sha256(rec->owner.p, rec->owner.len, digest, e) != 0)
			return -1;
		who = digest;
		len = OWNER_DIGEST;
		kind = 'o';
	}
	for (size_t i = 0; i < look->plan->nlimits; i++) {
		wbuf_init(&w, look->names[i], sizeof(look->names[i]));
		wbuf_u8(&w, (uint8_t)kind);
		wbuf_bytes(&w, who, len);
		wbuf_str(&w, plan_limit_log(&look->plan->limits[i]));
		if (w.overflow)
			return err_set(e, ERR_INTERNAL, "the name of a limit's log does not fit");
		look->name_len[i] = w.len;
	}
	return 0;
}

static struct span
log_name(const struct limits_look *look, size_t i)
{
	return (struct span){(const char *)look->names[i], look->name_len[i]};
}

static struct slog_limit
limit_of(const struct limits_look *look, size_t i)
{
	const struct plan_limit *l = &look->plan->limits[i];

	return (struct slog_limit){.max_units = l->max_units, .window_us = l->window_us};
}

int
limits_look(struct store *store, const struct keyrec *rec, const struct plan *plan, uint32_t cost,
    int64_t now_us, struct limits_look *look, struct err *e)
{
	look->plan = plan;
	look->cost = cost;
	look->refused = look->would_refuse = look->dry_runs = 0;
	look->retry_us = 0;
	if (plan->nlimits == 0)
		return 0;
	if (name_logs(rec, look, e) != 0)
		return -1;
	for (size_t i = 0; i < plan->nlimits; i++) {
		struct slog_limit limit = limit_of(look, i);

		look->fits[i] =
		    store_log_look(store, log_name(look, i), &limit, now_us, cost, &look->at[i], e);
		if (look->fits[i] < 0)
			return -1;
		look->dry_runs += plan->limits[i].dry_run;
		if (!look->fits[i] && plan->limits[i].dry_run)
			look->would_refuse = 1;
		if (look->fits[i] || plan->limits[i].dry_run)
			continue;
		if (!look->refused || look->at[i].retry_us < 0 ||
		    (look->retry_us >= 0 && look->at[i].retry_us > look->retry_us))
			look->retry_us = look->at[i].retry_us;
		look->refused = 1;
	}
	return 0;
}

int
limits_take(struct store *store, int64_t now_us, struct limits_look *look, struct err *e)
{
	for (size_t i = 0; i < look->plan->nlimits; i++) {
		struct slog_limit limit = limit_of(look, i);

		limit.max_units = look->plan->limits[i].keep_units;
		if (store_log_take(store, log_name(look, i), &limit, now_us, look->cost, e) != 0)
			return -1;
	}
	return 0;
}

void
limits_figures(const struct limits_look *look, int taken, struct wire_answer *a)
{
	a->nlimits = 0;
	for (size_t i = 0; i < look->plan->nlimits; i++) {
		const struct plan_limit *l = &look->plan->limits[i];
		const struct slog_state *st = &look->at[i];
		struct wire_limit *out = &a->limits[a->nlimits];

		if (l->dry_run)
			continue;
		memcpy(out->name, l->name, sizeof(out->name));
		out->max_units = l->max_units;
		out->window_us = l->window_us;
		out->remaining = st->remaining;
		out->more_us = st->more_us;
		out->violated = !look->fits[i];
		if (taken) {
			out->remaining -= st->remaining < look->cost ? st->remaining : look->cost;
			/* Of an empty window the units just taken are the first to leave. */
			if (st->used == 0)
				out->more_us = l->window_us;
			out->violated = 0;
		}
		a->nlimits++;
	}
}
