/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Judging refusals, for `apikey doctor`: is this 401 really apikeyd's, and whole?  Steps in a
 * table; the first that finds something wrong names it.  Pure: answers in, a judgement out.  Other
 * answers are judged in judge_more.c.
 *
 * Invariants: a success is never taken for a refusal, whatever headers it has; a step quotes what a
 * stranger sent only through the writers below, which make it printable.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "apikey/judge.h"
#include "base/json.h"

static void
set(struct judgement *j, enum judge_result result, enum cause cause, const char *format, va_list ap)
{
	unsigned char *p;

	j->result = result;
	j->cause = cause;
	if (vsnprintf(j->detail, sizeof(j->detail), format, ap) < 0)
		j->detail[0] = '\0';
	for (p = (unsigned char *)j->detail; *p != '\0'; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
}

void
judge_pass(struct judgement *j, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(j, JUDGE_PASS, CAUSE_NONE, format, ap);
	va_end(ap);
}

void
judge_skip(struct judgement *j, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(j, JUDGE_SKIP, CAUSE_NONE, format, ap);
	va_end(ap);
}

void
judge_fail(struct judgement *j, enum cause cause, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(j, JUDGE_FAIL, cause, format, ap);
	va_end(ap);
}

const char *
judge_result_name(enum judge_result r)
{
	static const char *const names[] = {"pass", "fail", "skipped"};

	return names[r];
}

/* The length to quote, for %.*s. */
static int
some(struct span s)
{
	return s.len > 80 ? 80 : (int)s.len;
}

static int
verdict_named(struct span code)
{
	int v;

	for (v = 0; v < VERDICTS; v++) {
		if (span_is(code, verdict_info((enum verdict)v)->code))
			return v;
	}
	return -1;
}

/* What a refusal tells, read once. */
struct look {
	struct judgement *j;
	const struct answer *a;
	const struct judge_wanted *wanted;
	const struct verdict_info *info; /* of the verdict that is wanted */
	cJSON *problem;			 /* the body, or NULL */
	int verdict;			 /* the answer's, or -1 */
};

static int
told_by(const struct answer *a, const cJSON *problem)
{
	const char *type = json_str(problem, "type", NULL), *code = json_str(problem, "code", NULL);
	int v = verdict_named(answer_get(a, "Apikey-Denied"));

	/* An API may have codes of its own; the types are ours, or come with ours alone. */
	if (v == -1 && type != NULL && code != NULL &&
	    (strncmp(type, "urn:apikeyd:", 12) == 0 || strstr(type, "http-problem-types#") != NULL))
		v = verdict_named(span_of(code));
	return v == VERDICT_OK ? -1 : v;
}

int
judge_verdict_of(const struct answer *a)
{
	cJSON *problem = json_parse_object(answer_text(a), NULL);
	int v = told_by(a, problem);

	cJSON_Delete(problem);
	return v;
}

/* ---- the steps: 1 when the judgement is made ---- */

static int
step_no_answer(struct look *k)
{
	if (k->a->kind == ANSWER_GOT)
		return 0;
	judge_fail(k->j, CAUSE_NO_ANSWER, "no answer: %s", k->a->why);
	return 1;
}

static int
step_success(struct look *k)
{
	const struct answer *a = k->a;
	struct span to = answer_get(a, "Location");

	if (a->status >= 400)
		return 0;
	if (k->verdict != -1)
		judge_fail(k->j, CAUSE_REFUSAL_AS_SUCCESS, "%d, though apikeyd said %s", a->status,
		    verdict_info((enum verdict)k->verdict)->code);
	else if (a->status >= 300)
		judge_fail(
		    k->j, CAUSE_REDIRECT, "%d, a redirect to %.*s", a->status, some(to), to.p);
	else
		judge_fail(k->j, k->wanted->open, "%d: served", a->status);
	return 1;
}

/* Refused by the gate, for another reason: what does that reason tell of the mount? */
static enum cause
cause_of_other(const struct look *k)
{
	enum verdict wanted = k->wanted->verdict;
	enum judge_way way = k->wanted->way;

	switch ((enum verdict)k->verdict) {
	case VERDICT_HTTPS_REQUIRED:
		return CAUSE_HTTPS_UNSEEN;
	case VERDICT_UNAVAILABLE:
		return CAUSE_GATE_DOWN;
	case VERDICT_MISCONFIGURED:
		return CAUSE_MISCONFIGURED;
	case VERDICT_KEY_MISSING:
		if (way == JUDGE_QUERY)
			return CAUSE_URI_LOST;
		return way == JUDGE_BEARER ? CAUSE_BEARER_LOST : CAUSE_HEADER_LOST;
	case VERDICT_KEY_INVALID:
		if (way == JUDGE_QUERY)
			return CAUSE_QUERY_ALLOWED;
		return wanted == VERDICT_REQUEST_INVALID ? CAUSE_ONE_OF_TWO : CAUSE_OTHER_STORE;
	case VERDICT_KEY_IN_URL:
	case VERDICT_REQUEST_INVALID:
	case VERDICT_OK:
		return CAUSE_STATUS_CHANGED;
	default:
		return CAUSE_THE_KEY;
	}
}

static int
step_other_verdict(struct look *k)
{
	struct span wait = answer_get(k->a, "Retry-After");
	const char *said;

	if (k->verdict == -1 || k->verdict == (int)k->wanted->verdict)
		return 0;
	said = verdict_info((enum verdict)k->verdict)->code;
	if (k->verdict == VERDICT_CLIENT_BLOCKED)
		judge_fail(k->j, CAUSE_BLOCKED, "%d %s, for %.*s seconds more", k->a->status, said,
		    wait.p == NULL ? 4 : some(wait), wait.p == NULL ? "some" : wait.p);
	else
		judge_fail(k->j, cause_of_other(k), "%d %s instead of %d %s", k->a->status, said,
		    k->info->status, k->info->code);
	return 1;
}

/* What it is called when not a word of apikeyd's is in it. */
static enum cause
cause_of_unsigned(int status, int wanted)
{
	if (status == wanted)
		return CAUSE_BARE_REFUSAL;
	/* What auth_request makes of other statuses; what mod_fcgid does. */
	if ((wanted == 400 || wanted == 429) && (status == 500 || status == 401 || status == 403))
		return CAUSE_STATUS_CHANGED;
	if (status >= 500)
		return CAUSE_GATE_DOWN;
	return status == 404 ? CAUSE_NOT_THERE : CAUSE_BARE_REFUSAL;
}

static int
step_unsigned(struct look *k)
{
	int status = k->a->status, wanted = k->info->status;
	enum cause cause = cause_of_unsigned(status, wanted);

	if (k->verdict != -1)
		return 0;
	if (status == wanted)
		judge_fail(k->j, cause, "%d without Apikey-Denied%s", status,
		    k->wanted->no_body ? "" : " and without apikeyd's JSON");
	else
		judge_fail(k->j, cause, "%d instead of %d %s, and not from apikeyd", status, wanted,
		    k->info->code);
	return 1;
}

static int
step_status(struct look *k)
{
	const cJSON *status = cJSON_GetObjectItemCaseSensitive(k->problem, "status");

	if (k->a->status != k->info->status)
		judge_fail(k->j, CAUSE_STATUS_CHANGED, "%s arrives as %d instead of %d",
		    k->info->code, k->a->status, k->info->status);
	else if (k->problem != NULL &&
		 (!cJSON_IsNumber(status) || (int)status->valuedouble != k->a->status))
		judge_fail(k->j, CAUSE_STATUS_CHANGED, "the status is %d, the body tells another",
		    k->a->status);
	else
		return 0;
	return 1;
}

/* Headers of which a second one would be read instead of the first. */
static int
step_doubled(struct look *k)
{
	static const char *const single[] = {
	    "Content-Type", "Apikey-Denied", "Retry-After", "RateLimit", "RateLimit-Policy"};
	size_t i;

	for (i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		if (answer_count(k->a, single[i]) < 2)
			continue;
		judge_fail(k->j, CAUSE_DOUBLED, "%s stands twice in the refusal", single[i]);
		return 1;
	}
	return 0;
}

static int
step_body(struct look *k)
{
	struct span type = answer_get(k->a, "Content-Type");

	if (!k->wanted->no_body && k->problem == NULL)
		judge_fail(k->j, CAUSE_BARE_REFUSAL, "%d %s, but the body is not apikeyd's JSON",
		    k->a->status, k->info->code);
	else if (!k->wanted->no_body &&
		 !span_is(span_of(json_str(k->problem, "code", NULL)), k->info->code))
		judge_fail(k->j, CAUSE_BARE_REFUSAL, "Apikey-Denied and the body disagree");
	else if (answer_find(type, "application/problem+json") != type.p || type.p == NULL)
		judge_fail(k->j, CAUSE_CONTENT_TYPE, "Content-Type is %.*s", some(type),
		    type.p == NULL ? "" : type.p);
	else
		return 0;
	return 1;
}

static int
step_headers(struct look *k)
{
	const struct answer *a = k->a;
	int status = k->info->status;

	if (answer_count(a, "Apikey-Denied") == 0)
		judge_fail(k->j, CAUSE_HEADERS_LOST, "Apikey-Denied is missing");
	else if (answer_find(answer_get(a, "Cache-Control"), "no-store") == NULL)
		judge_fail(k->j, CAUSE_HEADERS_LOST,
		    "Cache-Control: no-store is missing: the refusal may be cached");
	else if ((status == 429 || status == 503) && answer_get(a, "Retry-After").len == 0)
		judge_fail(k->j, CAUSE_HEADERS_LOST, "Retry-After is missing");
	else
		return 0;
	return 1;
}

/* How often a challenge of this scheme stands in all WWW-Authenticate together. */
static int
challenges(const struct answer *a, const char *scheme)
{
	const char *at;
	struct span rest;
	size_t i, n = strlen(scheme);
	int found = 0;

	for (i = 0; i < a->nheaders; i++) {
		if (!span_ieq(a->headers[i].name, span_of("WWW-Authenticate")))
			continue;
		rest = a->headers[i].value;
		while ((at = answer_find(rest, scheme)) != NULL) {
			/* A scheme begins the value or follows a comma. */
			if (at == a->headers[i].value.p || at[-1] == ' ' || at[-1] == ',')
				found++;
			rest.len -= (size_t)(at - rest.p) + n;
			rest.p = at + n;
		}
	}
	return found;
}

/* Does any WWW-Authenticate hold this? */
static int
challenge_holds(const struct answer *a, const char *text)
{
	size_t i;

	for (i = 0; i < a->nheaders; i++) {
		if (span_ieq(a->headers[i].name, span_of("WWW-Authenticate")) &&
		    answer_find(a->headers[i].value, text) != NULL)
			return 1;
	}
	return 0;
}

static int
step_challenges(struct look *k)
{
	static const char *const errors[] = {[CHALLENGE_INVALID_REQUEST] = "invalid_request",
	    [CHALLENGE_INVALID_TOKEN] = "invalid_token",
	    [CHALLENGE_INSUFFICIENT_SCOPE] = "insufficient_scope"};
	enum verdict_challenge wanted = k->info->challenge;
	int bearer = challenges(k->a, "Bearer realm="), other = challenges(k->a, "ApiKey realm=");
	struct span said = answer_get(k->a, "WWW-Authenticate");

	if (wanted == CHALLENGE_NONE)
		return 0;
	if (bearer > 1 || other > 1)
		judge_fail(k->j, CAUSE_DOUBLED, "a challenge stands twice in WWW-Authenticate");
	else if (bearer == 0)
		judge_fail(k->j, CAUSE_HEADERS_LOST,
		    "WWW-Authenticate has no Bearer challenge: %.*s", some(said),
		    said.p == NULL ? "" : said.p);
	else if (k->info->status == 401 && other == 0)
		judge_fail(k->j, CAUSE_HEADERS_LOST,
		    "WWW-Authenticate lacks the second challenge, ApiKey");
	else if ((wanted == CHALLENGE_PLAIN) == challenge_holds(k->a, "error=") ||
		 (wanted != CHALLENGE_PLAIN && !challenge_holds(k->a, errors[wanted])))
		judge_fail(k->j, CAUSE_HEADERS_LOST, "WWW-Authenticate is of another refusal: %.*s",
		    some(said), said.p);
	else
		return 0;
	return 1;
}

void
judge_refusal(struct judgement *j, const struct answer *a, const struct judge_wanted *wanted)
{
	/* The order is what is worst first: open, then another verdict, then what is lost of it. */
	static int (*const steps[])(struct look *) = {step_no_answer, step_success,
	    step_other_verdict, step_unsigned, step_status, step_doubled, step_body, step_headers,
	    step_challenges};
	struct look k = {
	    .j = j, .a = a, .wanted = wanted, .info = verdict_info(wanted->verdict), .verdict = -1};
	size_t i;

	if (a->kind == ANSWER_GOT && !a->cut && !wanted->no_body)
		k.problem = json_parse_object(answer_text(a), NULL);
	k.verdict = told_by(a, k.problem);
	judge_pass(j, "%d %s", a->status, k.info->code);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (steps[i](&k))
			break;
	}
	cJSON_Delete(k.problem);
}
