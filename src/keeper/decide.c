/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The decision over one check: form and checksum, lookup, state, restrictions, scopes, and last the
 * limits, which are in decide_limits.c.
 *
 * Run by the keeper (and by the tool when it works alone, which only explains).  It begins and ends
 * no batch, knows no socket and reads no clock: all of that is the caller's.
 *
 * Invariants: an answer starts as `unavailable` and becomes `ok` at one place, admit(), behind
 * every step; a refused request has written nothing; an unknown key goes through the peppers like a
 * known one; no credential and no digest stands in a message or outlives the call; the hot path
 * allocates nothing.
 */

#include <stdlib.h>

#include "keeper/decide_parts.h"

#include "base/secret.h"
#include "core/rules.h"

static int
configure_names(struct decide *d, const char *key_prefix, const char *default_plan, struct err *e)
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
	if (configure_names(d, key_prefix, PLAN_BUILTIN, e) != 0 ||
	    (d->plans = limits_plans_new(e)) == NULL ||
	    (d->recent = recent_new(RECENT_MAX, e)) == NULL ||
	    (d->dryruns = dryruns_new(e)) == NULL || (d->uses = uses_new(e)) == NULL ||
	    found_init(&d->key, e) != 0)
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
	uses_free(&d->uses);
	secret_wipe(d, sizeof(*d));
	free(d);
	*dp = NULL;
}

int
decide_configure(struct decide *d, const struct config *c, struct err *e)
{
	if (configure_names(d, c->key_prefix, c->default_plan, e) != 0)
		return -1;
	d->browsers = c->reject_browsers;
	d->on_exposure = c->on_exposure;
	d->accept_foreign = c->accept_foreign_keys;
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

static struct span
plan_name(const struct decide *d, const struct keyrec *rec)
{
	return rec->plan.len > 0 ? rec->plan : span_of(d->default_plan);
}

/* The plan of the key that was found into D->plan, NULL when it is missing, and what it says of the
 * secret.  0 or -1. */
static int
find_plan(struct decide *d, int64_t now_us, struct err *e)
{
	if (limits_plan(d->plans, d->store, plan_name(d, &d->key.rec), &d->plan, e) < 0)
		return -1;
	for (size_t i = 0; d->plan != NULL && i < d->plan->nscopes; i++)
		d->plan_scopes[i] = span_of(d->plan->scopes[i]);
	found_judge(&d->key, d->plan, now_us);
	return 0;
}

static void
facts_of(const struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct rules_request *q)
{
	static const enum keyrec_browsers browsers[] = {
	    [BROWSERS_OFF] = KEYREC_BROWSERS_OFF,
	    [BROWSERS_FLAG] = KEYREC_BROWSERS_FLAG,
	    [BROWSERS_DENY] = KEYREC_BROWSERS_DENY,
	};

	*q = (struct rules_request){.now_us = t->wall_us,
	    .secret = d->key.secret,
	    .rotate_by_us = d->key.rotate_by_us,
	    .has_addr = c->has_addr,
	    .addr = c->addr,
	    .referrer = c->referrer,
	    .app = c->app,
	    .method = c->method,
	    .browser = c->browser,
	    .browsers = browsers[d->browsers],
	    .needed_scopes = c->needed_scopes,
	    .nplan_scopes = d->plan != NULL ? d->plan->nscopes : 0,
	    .plan_scopes = d->plan_scopes};
}

/* Who the key is, for the answer; its scopes are its own or, when it has none, its plan's. */
static void
identify(struct decide *d, struct wire_answer *a)
{
	const struct keyrec *rec = &d->key.rec;
	const struct span *held = rec->nscopes > 0 ? rec->scopes : d->plan_scopes;
	size_t n = rec->nscopes > 0 ? rec->nscopes : d->plan != NULL ? d->plan->nscopes : 0;
	struct wbuf w;

	wbuf_init(&w, d->scopes, sizeof(d->scopes));
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			wbuf_u8(&w, ' ');
		wbuf_span(&w, held[i]);
	}
	a->id = span_of(rec->id);
	a->owner = rec->owner;
	a->plan = plan_name(d, rec);
	a->scopes = wbuf_view(&w);
	a->meta = rec->meta;
	a->rotate_by_us = d->key.rotate_by_us;
}

/* The one place where a request becomes `ok`. */
static void
admit(struct decide *d, struct wire_answer *a)
{
	identify(d, a);
	a->verdict = VERDICT_OK;
}

/* What the use of an admitted key writes: it moves under the newest pepper, and the use of an old
 * secret is told.  Both wait while the disk is full. */
static int
note_use(struct decide *d, const struct wire_check *c, const struct decide_times *t, int *wrote,
    struct err *e)
{
	const struct netaddr *addr = c->has_addr ? &c->addr : NULL;

	uses_mark(d->uses, d->key.rec.id, t->wall_us, d->key.match.which != ROTATION_PRESENT);
	if (!d->writable)
		return 0;
	if (found_tell_previous(&d->key, d->store, addr, t->wall_us, wrote, e) != 0)
		return -1;
	return found_renew(&d->key, d->store, d->peppers, wrote, e);
}

/* ---- exposed keys ---- */

/*
 * The key that was found was seen where it must not be: mark it, and do what on_exposure says.  On
 * a full disk the mark waits, but what takes rights away is done, as for an admin.  A secret that
 * has ended tells nothing of the key: whoever has it must not be able to have the key revoked.  One
 * that is in its grace has it ended.
 */
static int
mark_exposed(struct decide *d, uint8_t ways, const struct wire_check *c,
    const struct decide_times *t, int *wrote, struct decide_watch *x, struct err *e)
{
	struct keyrec *rec = &d->key.rec;

	if (d->key.secret == ROTATION_REPLACED)
		return 0;
	d->exposure = (struct exposure){.ways = ways,
	    .has_addr = c->has_addr,
	    .addr = c->addr,
	    .wall_us = t->wall_us,
	    .old_secret = d->key.match.which != ROTATION_PRESENT,
	    .policy = d->on_exposure};
	if (!exposure_mark(&d->exposure, rec))
		return 0;
	found_judge(&d->key, d->plan, t->wall_us);
	if (x != NULL) {
		decide_tell(x, "exposure", !d->exposure.acted, exposure_reason(&d->exposure));
		return 0;
	}
	if (!d->writable && !d->exposure.acted)
		return 0;
	if (exposure_store(&d->exposure, d->store, d->key.match.home, rec, e) != 0)
		return -1;
	*wrote = 1;
	return 0;
}

/* A browser with the key, where that matters; also to what the rules are told of its secret. */
static int
note_browser(struct decide *d, const struct wire_check *c, struct rules_request *q,
    const struct decide_times *t, int *wrote, struct decide_watch *x, struct err *e)
{
	enum keyrec_browsers policy;

	if (!c->browser)
		return 0;
	policy = rules_browsers(&d->key.rec, q);
	if (policy != KEYREC_BROWSERS_FLAG && policy != KEYREC_BROWSERS_DENY)
		return 0;
	if (mark_exposed(d, KEYREC_EXPOSED_BROWSER, c, t, wrote, x, e) != 0)
		return -1;
	q->secret = d->key.secret;
	q->rotate_by_us = d->key.rotate_by_us;
	return 0;
}

/* ---- the steps ---- */

/* Form and checksum, which the worker has looked at: this one may not be ours.  1, or 0, told why
 * not. */
static int
has_form(const struct decide *d, struct span credential, struct decide_watch *x)
{
	struct span prefix = span_of(d->prefix);

	if (token_valid(credential, prefix)) {
		decide_tell(x, "form", 1, NULL);
		decide_tell(x, "checksum", 1, NULL);
		return 1;
	}
	if (d->accept_foreign && token_foreign_ok(credential)) {
		decide_tell(x, "form", 1, "not of this gate's form; accept_foreign_keys allows it");
		return 1;
	}
	if (x != NULL && !token_has_form(credential, prefix)) {
		decide_tell(x, "form", 0, "this is not of the form of a key of this gate");
		return 0;
	}
	decide_tell(x, "form", 1, NULL);
	decide_tell(x, "checksum", 0, "the checksum does not fit: mistyped or cut off");
	return 0;
}

/*
 * The key that is asked about into D->key: 1; 0, told why not; -1.  One without a right checksum is
 * looked for all the same, so that this takes no less time.
 */
static int
look_up(struct decide *d, const struct wire_check *c, struct decide_watch *x, struct err *e)
{
	int rc, formed;

	if (x != NULL && x->id != NULL) {
		formed = 1;
		rc = found_by_id(&d->key, d->store, span_of(x->id), e);
	} else {
		formed = has_form(d, c->credential, x);
		rc = found_by_credential(&d->key, d->store, d->peppers, c->credential, e);
	}
	if (rc < 0)
		return -1;
	if (!formed)
		return 0;
	decide_tell(x, "lookup", rc, rc == 1 ? d->key.rec.id : "no such key is known here");
	return rc;
}

/*
 * A denial of a key that is known, with a status that an unknown one gets as well.  The verdict
 * tells its holder; the time tells nobody.
 */
static int
even_out(struct decide *d, const struct wire_check *c, enum verdict v, struct err *e)
{
	if (verdict_info(v)->status != 401)
		return 0;
	return found_look_further(&d->key, d->store, d->peppers, c->credential, e);
}

/*
 * Is a denial one that tells its holder until when the secret works?  Of the 401s only the one for
 * the secret's age, so that it is told apart from a key that has expired itself.
 */
static int
tells_age(enum verdict v, const struct keyrec *rec, const struct rules_request *q)
{
	if (v == VERDICT_KEY_EXPIRED)
		return rules_secret_refused(v, rec, q);
	return verdict_info(v)->status != 401;
}

/*
 * The steps behind the lookup, for the key that was found or, in its place, nobody (${known} 0): he
 * walks as far as the verdict, so that this takes the same time.
 */
static int
judge(struct decide *d, int known, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct decide_watch *x, struct err *e)
{
	struct rules_request q;
	enum verdict v;

	if (x != NULL)
		identify(d, a);
	facts_of(d, c, t, &q);
	if ((q.owner_off = store_owner_stopped(d->store, d->key.rec.owner, NULL, e)) < 0)
		return -1;
	if (known && note_browser(d, c, &q, t, wrote, x, e) != 0)
		return -1;
	v = rules_check(&d->key.rec, &q, x != NULL ? x->trace : NULL, x != NULL ? x->cookie : NULL);
	if (!known) {
		a->verdict = VERDICT_KEY_INVALID;
		return 0;
	}
	if (v == VERDICT_OK && decide_limits(d, c, t, a, &v, wrote, x, e) != 0)
		return -1;
	if (v != VERDICT_OK) {
		a->verdict = v;
		a->rotate_by_us = tells_age(v, &d->key.rec, &q) ? q.rotate_by_us : 0;
		return x == NULL ? even_out(d, c, v, e) : 0;
	}
	if (x == NULL && note_use(d, c, t, wrote, e) != 0)
		return -1;
	admit(d, a);
	return 0;
}

/* All steps in their order.  An answer that this leaves half filled in is emptied by answer(). */
static int
decide(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct decide_watch *x, struct err *e)
{
	int known;

	if (c->exposed == 0 && !scope_needed_list_ok(c->needed_scopes)) {
		decide_tell(x, "configuration", 0, "the needed scopes are malformed");
		a->verdict = VERDICT_MISCONFIGURED;
		return 0;
	}
	if ((known = look_up(d, c, x, e)) < 0)
		return -1;
	if (!known && x != NULL) {
		a->verdict = VERDICT_KEY_INVALID;
		return 0;
	}
	/* An unknown key goes on as nobody's, up to the verdict that it had from here on. */
	if (!known && found_nobody(&d->key, e) != 0)
		return -1;
	if (find_plan(d, t->wall_us, e) != 0)
		return -1;
	if (c->exposed != 0) {
		a->verdict = VERDICT_KEY_INVALID;
		return known ? mark_exposed(d, c->exposed, c, t, wrote, x, e) : 0;
	}
	return judge(d, known, c, t, a, wrote, x, e);
}

static int
answer(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct decide_watch *x, struct err *e)
{
	int rc;

	*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
	*wrote = 0;
	rc = decide(d, c, t, a, wrote, x, e);
	found_forget(&d->key);
	if (rc != 0) {
		*a = (struct wire_answer){.seq = c->seq, .verdict = VERDICT_UNAVAILABLE};
		return -1;
	}
	return 0;
}

int
decide_check(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, int *wrote, struct err *e)
{
	return answer(d, c, t, a, wrote, NULL, e);
}

int
decide_explain(struct decide *d, const struct wire_check *c, const struct decide_times *t,
    struct wire_answer *a, struct decide_watch *x, struct err *e)
{
	int wrote;

	x->limits.plan.nlimits = 0;
	return answer(d, c, t, a, &wrote, x, e);
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

int
decide_plan(struct decide *d, const struct keyrec *rec, const struct plan **plan, struct err *e)
{
	return limits_plan(d->plans, d->store, plan_name(d, rec), plan, e);
}

struct uses *
decide_uses(struct decide *d)
{
	return d->uses;
}
