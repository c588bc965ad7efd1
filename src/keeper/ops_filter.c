/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Which keys a list, or an operation on many keys, is about: the filters of a request, held against
 * one record after the other.
 *
 * They write nothing and hold no page: how many records are looked at in a call, and what is done
 * with those that fit, is the caller's business.
 *
 * Invariants: a key fits when it fits every filter that was given; what needs the store (the last
 * use, the plan) is asked last, of the keys that fit all the rest; a filter that is about what an
 * admin has to deal with (unused, expiring, never_expires, due) finds usable keys alone, unless a
 * state is asked for: a revoked key needs no sweep and no rotation.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "core/rotation.h"

#define DURATION_MAX_S (INT64_C(100) * 366 * 86400)

static int
choice(const cJSON *request, const char *name, const char *const *names, int *out, struct err *e)
{
	const char *s = json_str(request, name, e);

	*out = -1;
	if (s == NULL)
		return e->code == ERR_NONE ? 0 : -1;
	for (int i = 0; names[i] != NULL; i++) {
		if (strcmp(s, names[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return err_set(e, ERR_INPUT, "\"%s\" has none of its possible values", name);
}

/* Seconds, as microseconds; -1 when it is not given. */
static int64_t
duration(const cJSON *request, const char *name, int64_t min, struct err *e)
{
	int64_t s = json_int(request, name, -1, min, DURATION_MAX_S, e);

	return s < 0 ? -1 : s * CLOCK_SECOND;
}

int
ops_filter_read(struct ops_filter *f, struct ops_call *c, struct err *e)
{
	static const char *const states[] = {
	    "active", "disabled", "revoked", "expired", "pending", NULL};
	static const char *const envs[] = {"live", "test", NULL};
	const cJSON *q = c->request;
	int state;

	*f = (struct ops_filter){.call = c};
	f->owner = json_str(q, "owner", e);
	f->member = json_str(q, "member", e);
	f->plan = json_str(q, "plan", e);
	f->never_expires = json_bool(q, "never_expires", -1, e);
	f->exposed = json_bool(q, "exposed", -1, e);
	f->due = json_bool(q, "due", -1, e);
	f->expiring_us = duration(q, "expiring", 1, e);
	f->unused_us = duration(q, "unused", 0, e);
	f->pepper = (uint32_t)json_int(q, "pepper", 0, 1, UINT32_MAX, e);
	f->after = json_str(q, "after", e);
	if (e->code != ERR_NONE || choice(q, "state", states, &state, e) != 0 ||
	    choice(q, "env", envs, &f->env, e) != 0)
		return -1;
	f->state = state >= 0 ? states[state] : NULL;
	f->usable = f->state == NULL && (f->unused_us >= 0 || f->expiring_us >= 0 ||
					    f->never_expires == 1 || f->due == 1);
	if (f->after != NULL && f->after[0] != '\0' && !token_id_ok(span_of(f->after)))
		return err_set(e, ERR_INPUT, "\"after\" must be the id of a key");
	return 0;
}

/* What the record alone tells. */
static int
record_fits(const struct ops_filter *f, const struct keyrec *rec, int64_t now_us)
{
	if (f->owner != NULL && !span_is(rec->owner, f->owner))
		return 0;
	if (f->member != NULL && !span_is(rec->member, f->member))
		return 0;
	if (f->plan != NULL && !span_is(rec->plan, f->plan))
		return 0;
	if (f->env >= 0 && (int)rec->env != f->env)
		return 0;
	if (f->never_expires >= 0 && (rec->expires_us == 0) != f->never_expires)
		return 0;
	if (f->exposed >= 0 && (rec->exposed_us != 0) != f->exposed)
		return 0;
	if (f->pepper != 0 && rec->pepper != f->pepper)
		return 0;
	if (f->expiring_us >= 0 &&
	    (rec->expires_us <= now_us || rec->expires_us - now_us > f->expiring_us))
		return 0;
	return 1;
}

static int
state_fits(const struct ops_filter *f, const struct keyrec *rec, struct err *e)
{
	const char *state;
	int off;

	if (f->state == NULL && !f->usable)
		return 1;
	if ((state = ops_owner_state(f->call, rec, &off, e)) == NULL)
		return -1;
	if (f->usable)
		return strcmp(state, "active") == 0 || strcmp(state, "pending") == 0;
	return strcmp(state, f->state) == 0;
}

static int
plan_fits(const struct ops_filter *f, const struct keyrec *rec, int64_t now_us, struct err *e)
{
	const struct plan *plan;

	if (f->due < 0)
		return 1;
	if (decide_plan(f->call->ops->decide, rec, &plan, e) < 0)
		return -1;
	return rotation_is_due(rec, plan, now_us) == f->due;
}

/* A key that was never used is unused since it could be. */
static int
use_fits(const struct ops_filter *f, const struct keyrec *rec, int64_t now_us, struct err *e)
{
	int64_t since_us;
	struct store_use use;

	if (f->unused_us < 0)
		return 1;
	since_us = rec->created_us > rec->not_before_us ? rec->created_us : rec->not_before_us;
	/* Used since: whatever the store says, it is not before. */
	if (now_us - since_us < f->unused_us)
		return 0;
	if (ops_life_used(f->call, rec, &use, e) != 0)
		return -1;
	return now_us - use.used_us >= f->unused_us;
}

int
ops_filter_match(const struct ops_filter *f, const struct keyrec *rec, struct err *e)
{
	int64_t now_us = f->call->now.wall_us;
	int rc;

	if (!record_fits(f, rec, now_us))
		return 0;
	if ((rc = state_fits(f, rec, e)) != 1 || (rc = plan_fits(f, rec, now_us, e)) != 1)
		return rc;
	return use_fits(f, rec, now_us, e);
}

int
ops_filter_walk(const struct ops_filter *f, store_key_fn *fn, void *cookie, struct err *e)
{
	struct store *store = f->call->ops->store;

	if (f->owner != NULL)
		return store_owner_walk(store, span_of(f->owner), span_of(f->after), fn, cookie, e);
	return store_keys_walk(store, span_of(f->after), fn, cookie, e);
}
