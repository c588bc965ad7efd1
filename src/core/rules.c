/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules: what a key's record and a request's facts alone decide, as a table of steps.
 *
 * Not here: authentication (the record was found by digest), patterns of referrers
 * (rules_referrer.c) and the limits, which need the store.  The keeper runs it for every check, and
 * `apikey check` with a trace: the same steps, which then also say what they have seen.
 *
 * Invariants: VERDICT_OK only when every step passed; a step without its fact (no address, no
 * referrer, no method) refuses as soon as the key is restricted in it; whether somebody looks on
 * changes no verdict.
 */

#include <stdarg.h>
#include <stdio.h>

#include "core/rules.h"

#include "base/clock.h"
#include "core/scope.h"

#define SHOWN_MAX 100 /* bytes of a stranger's text that a detail repeats */

/* What a step has seen, for people; NULL when nobody looks on. */
struct note {
	char text[RULES_DETAIL_MAX];
};

__attribute__((format(printf, 2, 3))) static void
say(struct note *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(n->text, sizeof(n->text), fmt, ap) < 0)
		n->text[0] = '\0';
	va_end(ap);
}

/* For "%.*s". */
static int
shown(struct span s)
{
	return (int)(s.len < SHOWN_MAX ? s.len : SHOWN_MAX);
}

/* An URL without its query, in which others keep what is secret. */
static int
shown_url(struct span s)
{
	size_t n = 0;

	while (n < s.len && s.p[n] != '?' && s.p[n] != '#')
		n++;
	return shown((struct span){s.p, n});
}

static void
say_state(struct note *n, const struct keyrec *k, enum keyrec_now state)
{
	char at[21] = "";

	switch (state) {
	case KEYREC_NOW_REVOKED:
		clock_rfc3339(k->revoked_us, at);
		say(n, "revoked at %s%s%.*s", at, k->reason.len > 0 ? ": " : "", shown(k->reason),
		    k->reason.p);
		break;
	case KEYREC_NOW_DISABLED:
		say(n, "disabled%s%.*s", k->reason.len > 0 ? ": " : "", shown(k->reason),
		    k->reason.p);
		break;
	case KEYREC_NOW_EXPIRED:
		clock_rfc3339(k->expires_us, at);
		say(n, "expired at %s", at);
		break;
	case KEYREC_NOW_PENDING:
		clock_rfc3339(k->not_before_us, at);
		say(n, "not valid before %s", at);
		break;
	case KEYREC_NOW_ACTIVE:
		if (k->expires_us != 0)
			clock_rfc3339(k->expires_us, at);
		say(n, "active, %s%s", k->expires_us != 0 ? "expires " : "never expires", at);
		break;
	}
}

static enum verdict
step_state(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	enum keyrec_now state = keyrec_now(k, q->now_us);

	if (q->owner_off && state != KEYREC_NOW_REVOKED) {
		if (n != NULL)
			say(n, "the owner is switched off; apikey owner show says since when");
		return VERDICT_KEY_DISABLED;
	}
	if (n != NULL)
		say_state(n, k, state);
	switch (state) {
	case KEYREC_NOW_ACTIVE:
		return VERDICT_OK;
	case KEYREC_NOW_REVOKED:
		return VERDICT_KEY_REVOKED;
	case KEYREC_NOW_EXPIRED:
		return VERDICT_KEY_EXPIRED;
	case KEYREC_NOW_DISABLED:
	case KEYREC_NOW_PENDING:
		break;
	}
	return VERDICT_KEY_DISABLED;
}

static enum verdict
unrestricted(struct note *n)
{
	if (n != NULL)
		say(n, "not restricted");
	return VERDICT_OK;
}

static enum verdict
step_secret(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	char made[21], by[21];

	if (n != NULL) {
		clock_rfc3339(rotation_made_us(k), made);
		clock_rfc3339(q->rotate_by_us, by);
		if (q->secret == ROTATION_REPLACED)
			say(n, "replaced at %s, ended at %s", made, by);
		else if (q->secret == ROTATION_TOO_OLD)
			say(n, "made at %s, older than the plan allows since %s", made, by);
		else
			say(n, "the present one is from %s%s%s", made,
			    q->rotate_by_us != 0 ? ", this one is to be replaced by " : "",
			    q->rotate_by_us != 0 ? by : "");
	}
	return q->secret == ROTATION_GOOD ? VERDICT_OK : VERDICT_KEY_EXPIRED;
}

int
rules_secret_refused(enum verdict v, const struct keyrec *k, const struct rules_request *q)
{
	return v == VERDICT_KEY_EXPIRED && q->secret != ROTATION_GOOD &&
	       keyrec_now(k, q->now_us) == KEYREC_NOW_ACTIVE;
}

static enum verdict
step_address(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	char addr[NETADDR_TEXT_MAX] = "the address is not known", in[NETADDR_TEXT_MAX];
	struct netaddr_net net;
	int found;

	if (k->nnets == 0)
		return unrestricted(n);
	found = q->has_addr && keyrec_net_find(k, &q->addr, &net);
	if (n != NULL) {
		if (q->has_addr)
			netaddr_format(&q->addr, addr);
		if (found)
			netaddr_net_format(&net, in);
		say(n, "%s%s%s", addr,
		    found	  ? " is in "
		    : q->has_addr ? " is in none of the key's networks"
				  : "",
		    found ? in : "");
	}
	return found ? VERDICT_OK : VERDICT_IP_DENIED;
}

/* A list of the key's own: the entry that allows what the request says, or what is said instead. */
static void
say_listed(
    struct note *n, struct span said, int said_len, const struct span *entry, const char *what)
{
	if (entry != NULL)
		say(n, "%.*s fits %.*s", said_len, said.p, shown(*entry), entry->p);
	else if (said.len == 0)
		say(n, "the request names no %s", what);
	else
		say(n, "%.*s is none of the key's %ss", said_len, said.p, what);
}

static enum verdict
step_referrer(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	const struct span *fits = NULL;

	if (k->nreferrers == 0)
		return unrestricted(n);
	for (size_t i = 0; i < k->nreferrers && fits == NULL; i++)
		if (rules_referrer_matches(k->referrers[i], q->referrer))
			fits = &k->referrers[i];
	if (n != NULL)
		say_listed(n, q->referrer, shown_url(q->referrer), fits, "referrer");
	return fits != NULL ? VERDICT_OK : VERDICT_REFERRER_DENIED;
}

/* The one of a list that equals a fact of the request; an unknown fact equals none. */
static const struct span *
listed(const struct span *list, size_t n, struct span said)
{
	for (size_t i = 0; i < n && said.len > 0; i++)
		if (span_eq(list[i], said))
			return &list[i];
	return NULL;
}

static enum verdict
step_application(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	const struct span *fits = listed(k->apps, k->napps, q->app);

	if (k->napps == 0)
		return unrestricted(n);
	if (n != NULL)
		say_listed(n, q->app, shown(q->app), fits, "application");
	return fits != NULL ? VERDICT_OK : VERDICT_APP_DENIED;
}

static enum verdict
step_method(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	const struct span *fits = listed(k->methods, k->nmethods, q->method);

	if (k->nmethods == 0)
		return unrestricted(n);
	if (n != NULL)
		say_listed(n, q->method, shown(q->method), fits, "method");
	return fits != NULL ? VERDICT_OK : VERDICT_METHOD_DENIED;
}

enum keyrec_browsers
rules_browsers(const struct keyrec *k, const struct rules_request *q)
{
	return k->browsers != KEYREC_BROWSERS_DEFAULT ? k->browsers : q->browsers;
}

static void
say_browser(struct note *n, const struct keyrec *k, const struct rules_request *q)
{
	enum keyrec_browsers policy = rules_browsers(k, q);

	say(n, "%s; %s, by the %s",
	    q->browser ? "it comes from a browser (Origin, Sec-Fetch-*)"
		       : "nothing says that it comes from a browser",
	    policy == KEYREC_BROWSERS_DENY   ? "browsers are refused"
	    : policy == KEYREC_BROWSERS_FLAG ? "browsers mark the key as exposed"
					     : "browsers are not looked for",
	    k->browsers != KEYREC_BROWSERS_DEFAULT ? "key" : "configuration");
}

static enum verdict
step_browser(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	if (n != NULL)
		say_browser(n, k, q);
	return q->browser && rules_browsers(k, q) == KEYREC_BROWSERS_DENY ? VERDICT_BROWSER_DENIED
									  : VERDICT_OK;
}

static void
say_scopes(struct note *n, const struct rules_request *q, const struct span *held, size_t nheld,
    const char *whose)
{
	char list[RULES_DETAIL_MAX / 2];
	struct wbuf w;

	wbuf_init(&w, list, sizeof(list) - 1);
	for (size_t i = 0; i < nheld; i++) {
		wbuf_span(&w, i > 0 ? span_of(" ") : span_of(""));
		wbuf_span(&w, held[i]);
	}
	list[w.len] = '\0';
	say(n, "needed: %.*s; held%s: %s%s", q->needed_scopes.len > 0 ? shown(q->needed_scopes) : 4,
	    q->needed_scopes.len > 0 ? q->needed_scopes.p : "none", whose,
	    nheld > 0 ? list : "none", w.overflow ? " ..." : "");
}

static enum verdict
step_scopes(const struct keyrec *k, const struct rules_request *q, struct note *n)
{
	int own = k->nscopes > 0;
	const struct span *held = own ? k->scopes : q->plan_scopes;
	size_t nheld = own ? k->nscopes : q->nplan_scopes;

	if (n != NULL)
		say_scopes(n, q, held, nheld, own || nheld == 0 ? "" : " by the plan");
	return scope_all_granted(held, nheld, q->needed_scopes) ? VERDICT_OK
								: VERDICT_SCOPE_INSUFFICIENT;
}

/* In the order of the contract. */
static const struct {
	const char *name;
	enum verdict (*decide)(const struct keyrec *, const struct rules_request *, struct note *);
} steps[] = {
    {"state", step_state},
    {"secret", step_secret},
    {"address", step_address},
    {"referrer", step_referrer},
    {"application", step_application},
    {"method", step_method},
    {"browser", step_browser},
    {"scopes", step_scopes},
};

enum verdict
rules_check(
    const struct keyrec *k, const struct rules_request *q, rules_trace_fn *trace, void *cookie)
{
	struct note note;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		enum verdict v;

		note.text[0] = '\0';
		v = steps[i].decide(k, q, trace != NULL ? &note : NULL);
		if (trace != NULL)
			trace(cookie, steps[i].name, v == VERDICT_OK, note.text);
		if (v != VERDICT_OK)
			return v;
	}
	return VERDICT_OK;
}
