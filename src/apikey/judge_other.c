/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Judging what is no refusal, for `apikey doctor`: successes, two answers side by side, answers of
 * places that should be closed or not be there, limits, headers that leak.  Pure, like judge.c.
 *
 * Invariant: what cannot be told is skipped or fails; nothing passes for want of evidence, but for
 * "closed", which passes on a status of 400 and above that shows no trace of the API.
 */

#include <string.h>

#include "apikey/judge.h"

static int
some(struct span s)
{
	return s.len > 80 ? 80 : (int)s.len;
}

/* ---- two refusals ---- */

#define INSTANCE "urn:apikeyd:request:"

/* The end of the instance that begins at or before ${i}: what differs from request to request. */
static size_t
skip_instance(struct span s, size_t i)
{
	while (i < s.len && s.p[i] != '"' && s.p[i] != ' ')
		i++;
	return i;
}

static int
same_but_instance(struct span a, struct span b)
{
	size_t n = strlen(INSTANCE), i = 0, k = 0;

	while (i < a.len && k < b.len) {
		if (a.p[i] != b.p[k])
			return 0;
		i++;
		k++;
		if (i >= n && memcmp(a.p + i - n, INSTANCE, n) == 0) {
			i = skip_instance(a, i);
			k = skip_instance(b, k);
		}
	}
	return i == a.len && k == b.len;
}

void
judge_alike(struct judgement *j, const struct answer *a, const struct answer *b)
{
	static const char *const names[] = {"Content-Type", "WWW-Authenticate", "Apikey-Denied",
	    "Cache-Control", "Retry-After", "RateLimit", "RateLimit-Policy"};
	size_t i;

	if (a->kind != ANSWER_GOT || b->kind != ANSWER_GOT) {
		judge_skip(j, "one of the two got no answer");
		return;
	}
	if (a->status != b->status) {
		judge_fail(j, CAUSE_TOLD_APART, "%d and %d", a->status, b->status);
		return;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (answer_count(a, names[i]) == answer_count(b, names[i]) &&
		    span_eq(answer_get(a, names[i]), answer_get(b, names[i])))
			continue;
		judge_fail(j, CAUSE_TOLD_APART, "%s differs", names[i]);
		return;
	}
	if (same_but_instance(answer_text(a), answer_text(b)))
		judge_pass(j, "the two differ in nothing but the request's id");
	else
		judge_fail(j, CAUSE_TOLD_APART, "the bodies differ");
}

/* ---- a success ---- */

static enum cause
cause_of_refusal(enum verdict v, enum judge_way way)
{
	switch (v) {
	case VERDICT_KEY_MISSING:
		return way == JUDGE_HEADER ? CAUSE_HEADER_LOST : CAUSE_BEARER_LOST;
	case VERDICT_KEY_INVALID:
		return CAUSE_OTHER_STORE;
	case VERDICT_HTTPS_REQUIRED:
		return CAUSE_HTTPS_UNSEEN;
	case VERDICT_UNAVAILABLE:
		return CAUSE_GATE_DOWN;
	case VERDICT_MISCONFIGURED:
		return CAUSE_MISCONFIGURED;
	case VERDICT_CLIENT_BLOCKED:
		return CAUSE_BLOCKED;
	default:
		return CAUSE_THE_KEY;
	}
}

void
judge_admitted(struct judgement *j, const struct answer *a, enum judge_way way)
{
	struct span to = answer_get(a, "Location"), said = answer_get(a, "WWW-Authenticate");
	int v = judge_verdict_of(a);

	if (a->kind != ANSWER_GOT)
		judge_fail(j, CAUSE_NO_ANSWER, "no answer: %s", a->why);
	else if (v == VERDICT_RATE_LIMITED)
		judge_skip(j, "429: the key's plan has no room left; what came back is a refusal");
	else if (v == VERDICT_SCOPE_INSUFFICIENT)
		judge_fail(
		    j, CAUSE_THE_KEY, "%d: %.*s", a->status, some(said), said.p ? said.p : "");
	else if (v != -1)
		judge_fail(j, cause_of_refusal((enum verdict)v, way),
		    "%d %s: a valid key is refused", a->status,
		    verdict_info((enum verdict)v)->code);
	else if (a->status >= 200 && a->status < 300)
		judge_pass(j, "%d", a->status);
	else if (a->status >= 300 && a->status < 400)
		judge_fail(j, CAUSE_REDIRECT, "%d, a redirect to %.*s", a->status, some(to),
		    to.p ? to.p : "nowhere");
	else
		judge_fail(j, CAUSE_ADMITTED_IN_VAIN, "%d, no refusal of apikeyd's and no success",
		    a->status);
}

/* ---- closed, whoever says so ---- */

/* Headers that any server may add to any answer: they tell nothing of the API. */
static int
is_common(struct span name)
{
	static const char *const common[] = {"Accept-Ranges", "Age", "Allow", "Alt-Svc",
	    "Cache-Control", "Connection", "Content-Encoding", "Content-Language", "Content-Length",
	    "Content-Location", "Content-Type", "Date", "ETag", "Expires", "Keep-Alive",
	    "Last-Modified", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
	    "Server", "Strict-Transport-Security", "Transfer-Encoding", "Upgrade", "Vary", "Via",
	    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"};
	size_t i;

	for (i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		if (span_ieq(name, span_of(common[i])))
			return 1;
	}
	return 0;
}

static int
has(const struct answer *a, struct span name)
{
	size_t i;

	for (i = 0; i < a->nheaders; i++) {
		if (span_ieq(a->headers[i].name, name))
			return 1;
	}
	return 0;
}

/* A header that the API's successes have, refusals and other places have not, and this one has. */
static struct span
trace_of_api(const struct answer *a, const struct judge_known *k)
{
	struct span name, server = answer_get(k->success, "Server");
	size_t i;

	for (i = 0; i < k->success->nheaders; i++) {
		name = k->success->headers[i].name;
		if (!is_common(name) && has(a, name) && !has(k->refusal, name) &&
		    !has(k->elsewhere, name))
			return name;
	}
	/* Some servers pass the API's own Server on. */
	if (server.len > 0 && span_eq(server, answer_get(a, "Server")) &&
	    k->refusal->kind == ANSWER_GOT && !span_eq(server, answer_get(k->refusal, "Server")) &&
	    !span_eq(server, answer_get(k->elsewhere, "Server")))
		return span_of("Server");
	return (struct span){NULL, 0};
}

static int
as_elsewhere(const struct answer *a, const struct answer *elsewhere)
{
	return elsewhere->kind == ANSWER_GOT && a->status == elsewhere->status &&
	       span_eq(answer_text(a), answer_text(elsewhere));
}

void
judge_closed(
    struct judgement *j, const struct answer *a, const struct judge_known *known, enum cause open)
{
	struct span trace, to = answer_get(a, "Location");
	int v = judge_verdict_of(a);

	if (a->kind == ANSWER_CLOSED) {
		judge_pass(j, "the connection was closed without an answer");
		return;
	}
	if (a->kind != ANSWER_GOT) {
		judge_skip(j, "no answer: %s", a->why);
		return;
	}
	if (v != -1 && a->status >= 400) {
		judge_pass(j, "%d %s", a->status, verdict_info((enum verdict)v)->code);
		return;
	}
	trace = trace_of_api(a, known);
	if (trace.len > 0)
		judge_fail(j, open, "%d, with the header %.*s that only the API sends", a->status,
		    some(trace), trace.p);
	else if (a->status >= 400)
		judge_pass(j, "%d", a->status);
	else if (a->status >= 300)
		judge_pass(j, "%d to %.*s", a->status, some(to), to.p ? to.p : "nowhere");
	else if (as_elsewhere(a, known->elsewhere))
		judge_pass(j, "%d, the same as for any path outside of the mount", a->status);
	else
		judge_fail(j, open, "%d: served", a->status);
}

/* ---- plain HTTP ---- */

static void
judge_plain_status(struct judgement *j, const struct answer *a, enum cause open)
{
	struct span to = answer_get(a, "Location");

	if (a->key_seen)
		judge_fail(j, open, "%d: the answer hands the key on", a->status);
	else if (a->status >= 400)
		judge_pass(j, "%d: the API is not there", a->status);
	else if (a->status >= 300 && to.len > 6 && answer_find(to, "https:") == to.p)
		judge_pass(j,
		    "%d to https; it hands no key on, yet who sends one here has shown it: 403 "
		    "https_required would say so",
		    a->status);
	else
		judge_fail(j, open, "%d: answered", a->status);
}

void
judge_plain_http(struct judgement *j, const struct answer *a, enum cause open)
{
	static const struct judge_wanted wanted = {.verdict = VERDICT_HTTPS_REQUIRED};
	int v = judge_verdict_of(a);

	if (a->kind == ANSWER_REFUSED)
		judge_pass(j, "nobody listens there");
	else if (a->kind == ANSWER_CLOSED)
		judge_pass(j, "the connection was closed without an answer");
	else if (a->kind != ANSWER_GOT)
		judge_skip(j, "%s", a->why);
	else if (v == VERDICT_HTTPS_REQUIRED)
		judge_refusal(j, a, &wanted);
	else if (v == VERDICT_CLIENT_BLOCKED)
		judge_fail(j, CAUSE_BLOCKED, "%d client_blocked", a->status);
	else if (v != -1)
		judge_fail(j, open, "%d %s: a key would be taken there", a->status,
		    verdict_info((enum verdict)v)->code);
	else
		judge_plain_status(j, a, open);
}

/* ---- limits ---- */

static struct span
digits(struct span s, size_t from)
{
	size_t end = from;

	while (end < s.len && s.p[end] >= '0' && s.p[end] <= '9')
		end++;
	return (struct span){s.p + from, end - from};
}

/* Of the members `"name";r=1;t=2`: 1 when each has ${parameter} and a number; the least one. */
static int
members_ok(struct span s, const char *parameter, long *least)
{
	struct span member, number;
	const char *comma, *at;
	unsigned long long n;

	*least = -1;
	while (s.len > 0) {
		comma = memchr(s.p, ',', s.len);
		member = (struct span){s.p, comma == NULL ? s.len : (size_t)(comma - s.p)};
		s.p += member.len + (comma != NULL);
		s.len -= member.len + (comma != NULL);
		member = span_trim(member);
		at = answer_find(member, parameter);
		if (member.len < 3 || member.p[0] != '"' || at == NULL)
			return 0;
		number = digits(member, (size_t)(at - member.p) + strlen(parameter));
		if (span_u64(number, 1000000000, &n) == -1)
			return 0;
		if (*least == -1 || (long)n < *least)
			*least = (long)n;
	}
	return *least != -1;
}

long
judge_remaining(const struct answer *a)
{
	long least;

	return members_ok(answer_get(a, "RateLimit"), ";r=", &least) ? least : -1;
}

static int
wrong(struct judgement *j, enum cause cause, const char *name, struct span value)
{
	judge_fail(j, cause, "%s: %.*s", name, some(value), value.p ? value.p : "");
	return -1;
}

static int
judge_legacy(struct judgement *j, const struct answer *a)
{
	static const char *const names[] = {
	    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"};
	struct span value;
	size_t i;

	if (answer_count(a, names[0]) == 0)
		return 0;
	for (i = 0; i < 3; i++) {
		value = answer_get(a, names[i]);
		if (answer_count(a, names[i]) > 1)
			return wrong(j, CAUSE_DOUBLED, names[i], span_of("stands twice"));
		if (value.len == 0 || digits(value, 0).len != value.len)
			return wrong(j, CAUSE_RATELIMIT_WRONG, names[i], value);
	}
	return 1;
}

int
judge_ratelimit(struct judgement *j, const struct answer *a)
{
	struct span now = answer_get(a, "RateLimit"), policy = answer_get(a, "RateLimit-Policy");
	long least;
	int legacy = judge_legacy(j, a);

	if (legacy == -1)
		return -1;
	if (now.len == 0 && policy.len == 0)
		return legacy;
	if (answer_count(a, "RateLimit") > 1 || answer_count(a, "RateLimit-Policy") > 1)
		return wrong(j, CAUSE_DOUBLED, "RateLimit", span_of("stands twice"));
	if (!members_ok(now, ";r=", &least))
		return wrong(j, now.len == 0 ? CAUSE_RATELIMIT_LOST : CAUSE_RATELIMIT_WRONG,
		    "RateLimit", now);
	if (!members_ok(policy, ";q=", &least))
		return wrong(j, policy.len == 0 ? CAUSE_RATELIMIT_LOST : CAUSE_RATELIMIT_WRONG,
		    "RateLimit-Policy", policy);
	return 1;
}

/* ---- what leaks ---- */

struct span
judge_gate_leak(const struct answer *a)
{
	static const char *const internal[] = {"Apikey-Status", "Apikey-Problem", "Variable-",
	    "X-Accel-Redirect", "X-Reproxy-URL", "X-Sendfile"};
	struct span name;
	size_t i;

	for (i = 0; i < sizeof(internal) / sizeof(internal[0]); i++) {
		name = answer_starting(a, internal[i]);
		if (name.len > 0)
			return name;
	}
	/* An API may have a header of this name; the gate's refusals have none but FastCGI's. */
	if (answer_count(a, "Apikey-Denied") > 0 && answer_count(a, "Status") > 0)
		return span_of("Status");
	return (struct span){NULL, 0};
}

struct span
judge_identity_leak(const struct answer *a)
{
	static const char *const names[] = {
	    "Apikey-Id", "Apikey-Owner", "Apikey-Plan", "Apikey-Scopes", "Apikey-Meta"};
	struct span name;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		name = answer_starting(a, names[i]);
		if (name.len > 0)
			return name;
	}
	return (struct span){NULL, 0};
}
