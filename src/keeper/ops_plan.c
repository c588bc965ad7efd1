/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on plans: set (make or replace), list, show, remove.
 *
 * Run by ops.c; set and remove inside a batch.  The logs of limits are not touched: they follow a
 * plan's new figures by themselves, and a limit that gets another name keeps its log
 * (core/renames.h).
 *
 * Invariants: a plan that keys use cannot be removed; the built-in plan is shown like the stored
 * ones for as long as no plan of its name is stored.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "core/renames.h"

#define PLAN_JSON_BYTES 6144 /* more than any plan takes */

static void
add_age(const struct plan *p, cJSON *o)
{
	char text[32];

	if (p->max_age_us == 0) {
		cJSON_AddNullToObject(o, "max_age");
		cJSON_AddNullToObject(o, "max_age_seconds");
	} else {
		clock_duration_format(p->max_age_us, text, sizeof(text));
		cJSON_AddStringToObject(o, "max_age", text);
		cJSON_AddNumberToObject(
		    o, "max_age_seconds", (double)(p->max_age_us / CLOCK_SECOND));
	}
	cJSON_AddBoolToObject(o, "max_age_deny", p->max_age_deny);
}

/* A plan, stored or built in, as JSON into ${o}: 0 or -1. */
static int
plan_json(struct ops_call *c, const struct plan *p, int builtin, cJSON *o, struct err *e)
{
	uint64_t users = 0;
	cJSON *limits, *scopes;

	if (store_plan_users(c->ops->store, span_of(p->name), &users, e) != 0)
		return -1;
	cJSON_AddStringToObject(o, "name", p->name);
	cJSON_AddStringToObject(o, "per", p->per == PLAN_PER_OWNER ? "owner" : "key");
	limits = cJSON_AddArrayToObject(o, "limits");
	for (size_t i = 0; i < p->nlimits; i++) {
		cJSON *l = cJSON_CreateObject();

		cJSON_AddStringToObject(l, "name", p->limits[i].name);
		cJSON_AddNumberToObject(l, "limit", (double)p->limits[i].max_units);
		ops_add_window(l, p->limits[i].window_us);
		cJSON_AddBoolToObject(l, "dry_run", p->limits[i].dry_run);
		cJSON_AddStringToObject(l, "log", plan_limit_log(&p->limits[i]));
		cJSON_AddItemToArray(limits, l);
	}
	scopes = cJSON_AddArrayToObject(o, "scopes");
	for (size_t i = 0; i < p->nscopes; i++)
		cJSON_AddItemToArray(scopes, cJSON_CreateString(p->scopes[i]));
	add_age(p, o);
	cJSON_AddBoolToObject(o, "builtin", builtin);
	json_add_time(o, "created", p->created_us);
	json_add_time(o, "changed", p->changed_us);
	cJSON_AddNumberToObject(o, "keys", (double)users);
	return 0;
}

/* The stored plan that "name" names: 1, 0, -1; the name is in ${p} in any case but -1. */
static int
plan_named(struct ops_call *c, struct plan *p, struct err *e)
{
	const char *name = ops_need(c, "name", e);
	int rc;

	if (name == NULL)
		return -1;
	*p = (struct plan){0};
	if (span_copy(p->name, sizeof(p->name), span_of(name)) != 0)
		return err_set(
		    e, ERR_INPUT, "the name of a plan has at most %d bytes", PLAN_NAME_MAX);
	if ((rc = store_plan_get(c->ops->store, span_of(name), p, e)) == 0 &&
	    span_copy(p->name, sizeof(p->name), span_of(name)) != 0)
		return -1;
	return rc;
}

static int
no_such_plan(const struct plan *p, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND,
	    "there is no plan \"%s\"; apikey plan list shows those there are", p->name);
}

static int
read_limit(const cJSON *o, struct plan_limit *l, struct err *e)
{
	static const char *const known[] = {"name", "units", "window", NULL};
	const char *name, *window;

	*l = (struct plan_limit){0};
	if (!cJSON_IsObject(o))
		return err_set(e, ERR_INPUT, "\"limits\" must be an array of objects");
	if (json_only(o, known, e) != 0) {
		e->code = ERR_USAGE;
		return err_wrap(e, "plan.set: \"limits\"");
	}
	name = json_str(o, "name", e);
	window = json_str(o, "window", e);
	l->max_units = (uint64_t)json_int(o, "units", 0, 1, (int64_t)LIMIT_UNITS_MAX, e);
	if (e->code != ERR_NONE)
		return -1;
	if (name == NULL || window == NULL || l->max_units == 0)
		return err_set(e, ERR_USAGE, "a limit needs \"name\", \"units\" and \"window\"");
	if (span_copy(l->name, sizeof(l->name), span_of(name)) != 0)
		return err_set(
		    e, ERR_INPUT, "the name of a limit has at most %d bytes", LIMIT_NAME_MAX);
	if (clock_duration_parse(window, &l->window_us) != 0)
		return err_set(e, ERR_INPUT,
		    "limit \"%s\": \"window\" must be a duration such as 60s or 1d", l->name);
	return 0;
}

static int
read_scopes(const struct ops_call *c, struct plan *p, struct err *e)
{
	const cJSON *scopes = json_array(c->request, "scopes", e), *item;

	if (e->code != ERR_NONE)
		return -1;
	p->nscopes = 0;
	cJSON_ArrayForEach(item, scopes)
	{
		const char *s = cJSON_GetStringValue(item);

		if (s == NULL)
			return err_set(e, ERR_INPUT, "\"scopes\" must be an array of strings");
		if (p->nscopes == PLAN_SCOPES_MAX)
			return err_set(
			    e, ERR_INPUT, "a plan has at most %d scopes", PLAN_SCOPES_MAX);
		if (span_copy(p->scopes[p->nscopes++], SCOPE_MAX + 1, span_of(s)) != 0)
			return err_set(e, ERR_INPUT, "a scope has at most %d bytes", SCOPE_MAX);
	}
	return 0;
}

/* How old its keys' secrets may become, in seconds; none: any age. */
static int
read_age(const struct ops_call *c, struct plan *p, struct err *e)
{
	p->max_age_us =
	    json_int(c->request, "max_age", 0, 1, PLAN_AGE_MAX_US / CLOCK_SECOND, e) * CLOCK_SECOND;
	p->max_age_deny = json_bool(c->request, "max_age_deny", 0, e);
	if (e->code != ERR_NONE)
		return -1;
	if (p->max_age_deny && p->max_age_us == 0)
		return err_set(e, ERR_INPUT, "\"max_age_deny\" needs \"max_age\"");
	return 0;
}

static int
read_plan(struct ops_call *c, struct plan *p, struct err *e)
{
	const char *per = json_str(c->request, "per", e);
	int dry_run = json_bool(c->request, "dry_run", 0, e);
	const cJSON *limits = json_array(c->request, "limits", e), *item;

	if (e->code != ERR_NONE)
		return -1;
	if (per != NULL && strcmp(per, "key") != 0 && strcmp(per, "owner") != 0)
		return err_set(e, ERR_INPUT, "\"per\" must be \"key\" or \"owner\"");
	p->per = per != NULL && strcmp(per, "owner") == 0 ? PLAN_PER_OWNER : PLAN_PER_KEY;
	p->nlimits = 0;
	cJSON_ArrayForEach(item, limits)
	{
		if (p->nlimits == PLAN_LIMITS_MAX)
			return err_set(
			    e, ERR_INPUT, "a plan has at most %d limits", PLAN_LIMITS_MAX);
		/* Clears what the plan before had there. */
		if (read_limit(item, &p->limits[p->nlimits], e) != 0)
			return -1;
		p->limits[p->nlimits++].dry_run = dry_run;
	}
	if (read_scopes(c, p, e) != 0 || read_age(c, p, e) != 0)
		return -1;
	return plan_check(p, e);
}

/* ---- the logs of the limits ---- */

static int
read_renames(const struct ops_call *c, struct renames *r, struct err *e)
{
	const cJSON *map = json_object(c->request, "rename", e), *m;

	*r = (struct renames){0};
	if (e->code != ERR_NONE)
		return -1;
	cJSON_ArrayForEach(m, map)
	{
		struct rename *one = &r->of[r->n];

		if (r->n == PLAN_LIMITS_MAX)
			return err_set(
			    e, ERR_INPUT, "a plan has at most %d limits", PLAN_LIMITS_MAX);
		if (!cJSON_IsString(m) ||
		    span_copy(one->from, sizeof(one->from), span_of(m->string)) != 0 ||
		    span_copy(one->to, sizeof(one->to), span_of(m->valuestring)) != 0)
			return err_set(e, ERR_INPUT,
			    "\"rename\" must name limits: {\"old name\": \"new name\"}");
		r->n++;
	}
	return 0;
}

/* What the limit is counted under where ${other} has one of its name; its own name wins over all
 * else. */
static void
wish_log(struct plan_limit *l, const struct plan *other)
{
	for (size_t i = 0; i < other->nlimits; i++) {
		const char *log = plan_limit_log(&other->limits[i]);

		if (strcmp(other->limits[i].name, l->name) == 0 &&
		    (l->log[0] == '\0' || strcmp(log, l->name) == 0))
			memcpy(l->log, log, strlen(log) + 1);
	}
}

static int
wish(void *cookie, const struct plan *other, struct err *e)
{
	struct plan *p = cookie;

	(void)e;
	for (size_t i = 0; i < p->nlimits; i++)
		wish_log(&p->limits[i], other);
	return 0;
}

static cJSON *
renames_json(const struct renames *r)
{
	cJSON *map = cJSON_CreateObject();

	for (size_t i = 0; i < r->n; i++)
		cJSON_AddStringToObject(map, r->of[i].from, r->of[i].to);
	return map;
}

/* The audit record tells the renames that were recognised, too. */
static int
audit_set(struct ops_call *c, const struct plan *p, const cJSON *before, const struct renames *r,
    struct err *e)
{
	cJSON *detail = ops_audit_difference(before, c->result);
	int rc;

	if (r->n > 0)
		cJSON_AddItemToObject(detail, "rename", renames_json(r));
	rc = ops_audit(c, p->name, detail, e);
	cJSON_Delete(detail);
	return rc;
}

/* The stored plan for the audit record; NULL and ${e}. */
static cJSON *
as_it_was(struct ops_call *c, const struct plan *p, struct err *e)
{
	cJSON *o = cJSON_CreateObject();

	if (plan_json(c, p, 0, o, e) == 0)
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int
set_plan(struct ops_call *c, struct plan *p, const cJSON *was, struct err *e)
{
	struct plan before = *p;
	struct renames r;

	if (read_plan(c, p, e) != 0 || read_renames(c, &r, e) != 0 ||
	    store_plans_walk(c->ops->store, wish, p, e) < 0 ||
	    renames_settle(p, &before, &r, e) != 0 || store_plan_put(c->ops->store, p, e) != 0 ||
	    plan_json(c, p, 0, c->result, e) != 0 || audit_set(c, p, was, &r, e) != 0)
		return -1;
	cJSON_AddItemToObject(c->result, "renamed", renames_json(&r));
	return 0;
}

int
ops_plan_set(struct ops_call *c, struct err *e)
{
	struct plan p;
	cJSON *was = NULL;
	int rc = plan_named(c, &p, e);

	if (rc < 0 || (rc == 1 && (was = as_it_was(c, &p, e)) == NULL))
		return -1;
	if (rc == 0)
		p.created_us = c->now.wall_us;
	p.changed_us = c->now.wall_us;
	rc = set_plan(c, &p, was, e);
	cJSON_Delete(was);
	return rc;
}

int
ops_plan_show(struct ops_call *c, struct err *e)
{
	struct plan p, builtin;
	int rc = plan_named(c, &p, e);

	if (rc < 0)
		return -1;
	if (rc == 1)
		return plan_json(c, &p, 0, c->result, e);
	if (plan_builtin(span_of(p.name), &builtin))
		return plan_json(c, &builtin, 1, c->result, e);
	return no_such_plan(&p, e);
}

int
ops_plan_remove(struct ops_call *c, struct err *e)
{
	struct plan p, builtin;
	uint64_t users = 0;
	cJSON *was;
	int rc = plan_named(c, &p, e);

	if (rc < 0)
		return -1;
	if (rc == 0 && plan_builtin(span_of(p.name), &builtin))
		return err_set(e, ERR_CONFLICT,
		    "the plan \"%s\" is built in; to give it limits: apikey plan set %s", p.name,
		    p.name);
	if (rc == 0)
		return no_such_plan(&p, e);
	if (store_plan_users(c->ops->store, span_of(p.name), &users, e) != 0)
		return -1;
	if (users > 0)
		return err_set(e, ERR_CONFLICT,
		    "%s%llu keys use the plan \"%s\"; give them another one first (apikey list "
		    "--plan %s)",
		    users >= STORE_PLAN_USERS_MAX ? "at least " : "", (unsigned long long)users,
		    p.name, p.name);
	if ((was = as_it_was(c, &p, e)) == NULL)
		return -1;
	cJSON_AddStringToObject(c->result, "name", p.name);
	rc = store_plan_del(c->ops->store, span_of(p.name), e) == 0
		 ? ops_audit_change(c, p.name, was, NULL, e)
		 : -1;
	cJSON_Delete(was);
	return rc;
}

/* ---- list ---- */

/* The walk only gathers: the store is asked for the users of each plan after it. */
struct gathering {
	const char *after;
	int past_builtin; /* its place in the order of names */
	size_t n;
	struct {
		struct plan plan;
		int builtin;
	} found[OPS_REPLY_BYTES / PLAN_JSON_BYTES];
};

/* 0, or 1 when the page is full. */
static int
add_found(struct gathering *g, const struct plan *p, int builtin)
{
	if (g->after != NULL && strcmp(p->name, g->after) <= 0)
		return 0;
	if (g->n == sizeof(g->found) / sizeof(g->found[0]))
		return 1;
	g->found[g->n].plan = *p;
	g->found[g->n++].builtin = builtin;
	return 0;
}

/* The built-in plan in its place, before the stored plan ${next}, unless that has its name; NULL:
 * at the end. */
static int
add_builtin(struct gathering *g, const char *next)
{
	struct plan builtin;
	int order = next == NULL ? 1 : strcmp(next, PLAN_BUILTIN);

	if (g->past_builtin || order < 0)
		return 0;
	g->past_builtin = 1;
	if (order == 0 || !plan_builtin(span_of(PLAN_BUILTIN), &builtin))
		return 0;
	return add_found(g, &builtin, 1);
}

static int
gather(void *cookie, const struct plan *p, struct err *e)
{
	struct gathering *g = cookie;

	(void)e;
	return add_builtin(g, p->name) || add_found(g, p, 0);
}

int
ops_plan_list(struct ops_call *c, struct err *e)
{
	struct gathering g = {.after = json_str(c->request, "after", e)};
	cJSON *list;
	int more;

	if (e->code != ERR_NONE || (more = store_plans_walk(c->ops->store, gather, &g, e)) < 0)
		return -1;
	if (more == 0)
		more = add_builtin(&g, NULL);
	list = cJSON_AddArrayToObject(c->result, "plans");
	for (size_t i = 0; i < g.n; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		if (plan_json(c, &g.found[i].plan, g.found[i].builtin, o, e) != 0)
			return -1;
	}
	if (more == 1)
		cJSON_AddStringToObject(c->result, "next", g.found[g.n - 1].plan.name);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}
