/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The decision over one check: form and checksum, lookup, state, restrictions, scopes, limits.
 *
 * Run by the keeper (and by the tool when it works alone, which only explains).  It begins and ends
 * no batch, knows no socket and reads no clock: all of that is the caller's.
 *
 * Invariants: an answer starts as `unavailable` and becomes `ok` at one place, admit(), behind
 * every step; a refused request has written nothing; an unknown key goes through the peppers like a
 * known one; no credential and no digest stands in a message or outlives the call; the hot path
 * allocates nothing.
 */

#include <stdio.h>
#include <stdlib.h>

#include "keeper/decide.h"

#include "base/log.h"
#include "base/secret.h"
#include "core/rules.h"
#include "keeper/dryruns.h"
#include "keeper/limits.h"
#include "keeper/recent.h"

#define SCOPES_TEXT_MAX (SCOPE_COUNT_MAX * (SCOPE_MAX + 1))

/* A key that was found. */
struct found {
	struct keyrec rec; /* borrows from D->record */
	size_t pepper;	   /* the i-th newest made its digest */
	uint8_t digest[STORE_DIGEST_LEN];
	uint8_t newest[STORE_DIGEST_LEN]; /* what the newest pepper makes of it */
};

struct decide {
	struct store *store;
	struct peppers *peppers;
	char prefix[TOKEN_PREFIX_MAX + 1];
	char default_plan[PLAN_NAME_MAX + 1];
	int writable;
	uint64_t generation; /* of plans and keys */
	struct limits_plans *plans;
	struct recent *recent;
	struct dryruns *dryruns;
	struct found key;
	struct limits_look look;
	char scopes[SCOPES_TEXT_MAX];
	uint8_t record[KEYREC_MAX];
};

struct decide *
decide_new(struct store *store, struct peppers *peppers, const char *key_prefix, struct err *e)
{
	struct decide *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	d->store = store;
	d->peppers = peppers;
	d->writable = 1;
	if (decide_configure(d, key_prefix, PLAN_BUILTIN, e) != 0 ||
	    (d->plans = limits_plans_new(e)) == NULL ||
	    (d->recent = recent_new(RECENT_MAX, e)) == NULL ||
	    (d->dryruns = dryruns_new(e)) == NULL)
		decide_free(&d);
	return d;
}

void
decide_free(struct decide **dp)
{
	struct decide *d = *dp;

	if (d == NULL)
		return;
	limits_plans_free(&d->plans);
	recent_free(&d->recent);
	dryruns_free(&d->dryruns);
	secret_wipe(d, sizeof(*d));
	free(d);
	*dp = NULL;
}

int
decide_configure(struct decide *d, const char *key_prefix, const char *default_plan, struct err *e)
{
	char prefix[sizeof(d->prefix)], plan[sizeof(d->default_plan)];

	if (strcmp(d->prefix, key_prefix) == 0 && strcmp(d->default_plan, default_plan) == 0)
		return 0;
	if (!token_prefix_ok(span_of(key_prefix)) ||
	    span_copy(prefix, sizeof(prefix), span_of(key_prefix)) != 0)
		return err_set(e, ERR_INPUT, "key_prefix \"%.32s\" cannot begin a key", key_prefix);
	if (span_copy(plan, sizeof(plan), span_of(default_plan)) != 0)
		return err_set(e, ERR_INPUT, "default_plan \"%.80s\" is too long", default_plan);
	memcpy(d->prefix, prefix, sizeof(prefix));
	memcpy(d->default_plan, plan, sizeof(plan));
	if (d->plans != NULL)
		decide_forget_plans(d);
	return 0;
}

void
decide_set_peppers(struct decide *d, struct peppers *peppers)
{
	d->peppers = peppers;
}

void
decide_forget_plans(struct decide *d)
{
	limits_plans_forget(d->plans);
	d->generation++;
}

void
decide_set_writable(struct decide *d, int writable)
{
	d->writable = writable;
}

void
decide_batch_end(struct decide *d, int committed)
{
	recent_batch_end(d->recent, committed);
	dryruns_batch_end(d->dryruns, committed);
}

/* The key of a credential of valid form into D->key: 1, 0 unknown, -1. */
static int
find_key(struct decide *d, struct span credential, struct err *e)
{
	struct found *k = &d->key;
	size_t n = peppers_count(d->peppers);
	int rc;

	for (size_t i = 0; i < n; i++) {
		if (peppers_digest(d->peppers, i, credential, k->digest) != 0)
			return err_set(e, ERR_SYSTEM, "cannot make the digest of a key");
		if (i == 0)
			memcpy(k->newest, k->digest, sizeof(k->newest));
		rc = store_key_get(d->store, k->digest, d->record, &k->rec, e);
		if (rc != 0) {
			k->pepper = i;
			return rc;
		}
	}
	return 0;
}

static void
forget_key(struct decide *d)
{
	secret_wipe(d->key.digest, sizeof(d->key.digest));
	secret_wipe(d->key.newest, sizeof(d->key.newest));
}

static void
facts_of(const struct wire_check *c, struct rules_request *q)
{
	*q = (struct rules_request){.has_addr = c->has_addr,
	    .addr = c->addr,
	    .referrer = c->referrer,
	    .app = c->app,
	    .method = c->method,
	    .needed_scopes = c->needed_scopes};
}

static struct span
plan_name(const struct decide *d, const struct keyrec *rec)
{
	return rec->plan.len > 0 ? rec->plan : span_of(d->default_plan);
}

/* Who the key is, for the answer. */
static void
identify(struct decide *d, struct wire_answer *a)
{
	const struct keyrec *rec = &d->key.rec;
	struct wbuf w;

	wbuf_init(&w, d->scopes, sizeof(d->scopes));
	for (size_t i = 0; i < rec->nscopes; i++) {
		if (i > 0)
			wbuf_u8(&w, ' ');
		wbuf_span(&w, rec->scopes[i]);
	}
	a->id = span_of(rec->id);
	a->owner = rec->owner;
	a->plan = plan_name(d, rec);
	a->scopes = wbuf_view(&w);
	a->meta = rec->meta;
}

/* The one place where a request becomes `ok`. */
static void
admit(struct decide *d, struct wire_answer *a)
{
	identify(d, a);
	a->verdict = VERDICT_OK;
}

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

/* ---- the limits step ---- */

/* What the limits say: `ok` (then the units are taken), `rate_limited` or `unavailable`.  0 or -1.
 */
static int
pass_limits(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, enum verdict *verdict, int *wrote, struct err *e)
{
	const struct plan *plan;
	int rc, taken;

	*verdict = VERDICT_UNAVAILABLE;
	if ((rc = limits_plan(d->plans, d->store, plan_name(d, &d->key.rec), &plan, e)) <= 0)
		return rc;
	if (plan->nlimits == 0) {
		*verdict = VERDICT_OK;
		return 0;
	}
	if ((rc = counted_before(d, c, plan, t, a, verdict, wrote, e)) != 0)
		return rc < 0 ? -1 : 0;
	*verdict = VERDICT_UNAVAILABLE;
	if (limits_look(d->store, &d->key.rec, plan, c->cost, t->steady_us, &d->look, e) != 0)
		return -1;
	if (d->look.refused) {
		limits_figures(&d->look, 0, a);
		a->retry_us = d->look.retry_us;
		*verdict = VERDICT_RATE_LIMITED;
		remember(d, c, t, a, *verdict);
		return 0;
	}
	/* On a full disk a limit that cannot be counted refuses, but a dry run never does. */
	taken = c->cost > 0 && d->writable;
	if (c->cost > 0 && !d->writable && d->look.dry_runs < (int)plan->nlimits)
		return 0;
	if (taken) {
		if (limits_take(d->store, t->steady_us, &d->look, e) != 0 ||
		    (d->look.would_refuse && dryruns_report(d->dryruns, d->store, &d->look,
						 &d->key.rec, t->wall_us, t->steady_us, e) != 0))
			return -1;
		*wrote = 1;
	}
	limits_figures(&d->look, taken, a);
	*verdict = VERDICT_OK;
	remember(d, c, t, a, *verdict);
	return 0;
}

/* A key that an older pepper made moves under the newest when it is used. */
static int
renew_digest(struct decide *d, int *wrote, struct err *e)
{
	if (d->key.pepper == 0 || !d->writable)
		return 0;
	d->key.rec.pepper = peppers_version(d->peppers, 0);
	if (store_key_rehash(d->store, d->key.digest, d->key.newest, &d->key.rec, e) != 0)
		return -1;
	*wrote = 1;
	return 0;
}

/* ---- exposed keys ---- */

static int
audit_exposure(struct decide *d, const char *way, const char *addr, int64_t wall_us, struct err *e)
{
	char detail[128];
	struct store_audit au = {.when_us = wall_us,
	    .uid = UINT32_MAX,
	    .actor = span_of("gate"),
	    .op = span_of("key.exposed"),
	    .subject = span_of(d->key.rec.id)};
	int n = snprintf(detail, sizeof(detail), "{\"way\":\"%s\",\"from\":\"%s\"}", way, addr);

	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	au.detail = span_of(detail);
	return store_audit_append(d->store, &au, e);
}

/* Mark a real key as seen where it must not be: once for each way, the first time and address kept.
 */
static int
mark_exposed(struct decide *d, const struct wire_check *c, const struct decide_times *t, int *wrote,
    struct err *e)
{
	struct keyrec *rec = &d->key.rec;
	char addr[NETADDR_TEXT_MAX] = "";
	const char *way = (c->exposed & KEYREC_EXPOSED_URL) != 0 ? "url" : "http";
	int rc;

	if (!d->writable || (rc = find_key(d, c->credential, e)) == 0)
		return 0;
	if (rc < 0)
		return -1;
	if ((rec->exposed_ways & c->exposed) == c->exposed)
		return 0;
	if (c->has_addr)
		netaddr_format(&c->addr, addr);
	rec->exposed_ways |= c->exposed;
	if (rec->exposed_us == 0) {
		rec->exposed_us = t->wall_us;
		rec->exposed_addr = span_of(addr);
	}
	if (store_key_update(d->store, d->key.digest, rec, e) != 0 ||
	    audit_exposure(d, way, addr, t->wall_us, e) != 0)
		return -1;
	*wrote = 1;
	log_event(LOG_LVL_WARNING, "key_exposed", "id", rec->id, "way", way, "from", addr, NULL);
	return 0;
}

/* ---- the steps ---- */

static int
decide(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct err *e)
{
	struct rules_request q;
	enum verdict v;
	int rc;

	/* The worker has looked at form and checksum: this one may not be ours. */
	if (!token_valid(c->credential, span_of(d->prefix))) {
		a->verdict = VERDICT_KEY_INVALID;
		return 0;
	}
	if (c->exposed != 0) {
		if (mark_exposed(d, c, t, wrote, e) != 0)
			return -1;
		a->verdict = VERDICT_KEY_INVALID;
		return 0;
	}
	if (!scope_needed_list_ok(c->needed_scopes)) {
		a->verdict = VERDICT_MISCONFIGURED;
		return 0;
	}
	if ((rc = find_key(d, c->credential, e)) < 0)
		return -1;
	if (rc == 0) {
		a->verdict = VERDICT_KEY_INVALID;
		return 0;
	}
	facts_of(c, &q);
	v = rules_check(&d->key.rec, &q, t->wall_us, NULL, NULL);
	if (v == VERDICT_OK && pass_limits(d, c, t, a, &v, wrote, e) != 0)
		return -1;
	if (v != VERDICT_OK) {
		a->verdict = v;
		return 0;
	}
	if (renew_digest(d, wrote, e) != 0)
		return -1;
	admit(d, a);
	return 0;
}

int
decide_check(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct err *e)
{
	int rc;

	*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
	*wrote = 0;
	rc = decide(d, c, t, a, wrote, e);
	forget_key(d);
	if (rc != 0) {
		*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
		return -1;
	}
	return 0;
}

/* ---- explaining ---- */

struct explain {
	decide_trace_fn *trace;
	void *cookie;
	const char *failed; /* step of the rules that refused; told when its verdict is known */
};

static void
on_rule(void *cookie, const char *step, int passed)
{
	struct explain *x = cookie;

	if (passed)
		x->trace(x->cookie, step, 1, NULL);
	else
		x->failed = step;
}

static void
tell_limits(const struct limits_look *look, const struct explain *x)
{
	char step[LIMIT_NAME_MAX + 8], detail[160];

	for (size_t i = 0; i < look->plan->nlimits; i++) {
		const struct plan_limit *l = &look->plan->limits[i];
		const char *note = "";

		if (l->dry_run)
			note = look->fits[i] ? " (dry run)" : " (dry run: would refuse)";
		if (snprintf(step, sizeof(step), "limit %s", l->name) < 0 ||
		    snprintf(detail, sizeof(detail), "%llu of %llu used, costs %u%s",
			(unsigned long long)look->at[i].used, (unsigned long long)l->max_units,
			(unsigned)look->cost, note) < 0)
			continue;
		x->trace(x->cookie, step, look->fits[i] || l->dry_run, detail);
	}
}

/* The limits of the key that was found, counting nothing. */
static int
explain_limits(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, const struct explain *x, struct err *e)
{
	const struct plan *plan;
	int rc = limits_plan(d->plans, d->store, plan_name(d, &d->key.rec), &plan, e);

	if (rc == 0)
		x->trace(x->cookie, "plan", 0,
		    "the plan that the key names is not there; make it with apikey plan set");
	if (rc <= 0)
		return rc;
	if (limits_look(d->store, &d->key.rec, plan, c->cost, t->steady_us, &d->look, e) != 0)
		return -1;
	tell_limits(&d->look, x);
	limits_figures(&d->look, !d->look.refused && c->cost > 0, a);
	a->retry_us = d->look.retry_us;
	if (d->look.refused)
		a->verdict = VERDICT_RATE_LIMITED;
	else if (c->cost > 0 && d->look.dry_runs < (int)plan->nlimits && !d->writable)
		x->trace(x->cookie, "space", 0,
		    "the disk is too full to count requests; free some space");
	else
		admit(d, a);
	return 0;
}

/* The steps about the credential; 1 when the key was found, 0 told why not, -1. */
static int
explain_credential(struct decide *d, struct span credential, const struct explain *x, struct err *e)
{
	struct span prefix = span_of(d->prefix);
	int rc;

	if (!token_has_form(credential, prefix)) {
		x->trace(x->cookie, "form", 0, "this is not of the form of a key of this gate");
		return 0;
	}
	x->trace(x->cookie, "form", 1, NULL);
	if (!token_valid(credential, prefix)) {
		x->trace(
		    x->cookie, "checksum", 0, "the checksum does not fit: mistyped or cut off");
		return 0;
	}
	x->trace(x->cookie, "checksum", 1, NULL);
	if ((rc = find_key(d, credential, e)) < 0)
		return -1;
	x->trace(x->cookie, "lookup", rc, rc == 1 ? d->key.rec.id : "no such key is known here");
	return rc;
}

static int
explain(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, struct explain *x, struct err *e)
{
	struct rules_request q;
	enum verdict v;
	int rc;

	if (!scope_needed_list_ok(c->needed_scopes)) {
		x->trace(x->cookie, "configuration", 0, "the needed scopes are malformed");
		a->verdict = VERDICT_MISCONFIGURED;
		return 0;
	}
	if ((rc = explain_credential(d, c->credential, x, e)) <= 0) {
		a->verdict = rc == 0 ? VERDICT_KEY_INVALID : VERDICT_UNAVAILABLE;
		return rc;
	}
	identify(d, a);
	facts_of(c, &q);
	v = rules_check(&d->key.rec, &q, t->wall_us, on_rule, x);
	if (v == VERDICT_OK)
		return explain_limits(d, c, t, a, x, e);
	if (x->failed != NULL)
		x->trace(x->cookie, x->failed, 0, verdict_info(v)->detail);
	a->verdict = v;
	return 0;
}

int
decide_explain(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, decide_trace_fn *trace, void *cookie, struct err *e)
{
	struct explain x = {.trace = trace, .cookie = cookie};
	int rc;

	*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
	rc = explain(d, c, t, a, &x, e);
	forget_key(d);
	if (rc != 0)
		*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
	return rc;
}

int
decide_usage(struct decide *d, const struct keyrec *rec, const struct decide_times *t,
    struct decide_usage *out, struct err *e)
{
	const struct plan *plan;
	int rc;

	*out = (struct decide_usage){0};
	rc = limits_plan(d->plans, d->store, plan_name(d, rec), &plan, e);
	if (rc <= 0)
		return rc;
	if (limits_look(d->store, rec, plan, 0, t->steady_us, &d->look, e) != 0)
		return -1;
	out->plan = *plan;
	memcpy(out->at, d->look.at, plan->nlimits * sizeof(out->at[0]));
	return 1;
}
