/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How an answer looks in each mode.  Runs in a worker, last of all steps, and decides nothing.
 *
 * The modes differ because web servers do.  nginx's auth_request takes 2xx, 401 and 403 alone and
 * drops the body, so the real status and the problem travel in headers.  X-Accel-Redirect is obeyed
 * with any status, and a Content-Type or Cache-Control beside it would replace the backend's.  An
 * authorizer admits with exactly 200 and Variable-*; of its other headers Apache sends all on to
 * the client and lighttpd none, so the limits are in both.
 *
 * Invariants: a 2xx is begun in the admitted_* functions only; a denial never carries
 * X-Accel-Redirect or anything of the key's owner and plan; every denial carries Apikey-Denied and
 * Cache-Control: no-store, but for one whose headers an earlier call has sent (mode render).
 */

#include <stddef.h>

#include "gate/render.h"

#include "base/clock.h"
#include "base/digest.h"
#include "core/keyrec.h"
#include "http/problem.h"
#include "http/ratelimit.h"

#define BODY_MAX 8192
#define META_TEXT_MAX (KEYREC_META_MAX * 4 / 3 + 4)
#define CHALLENGE_MAX 4096

static const struct span no_body = {NULL, 0};

/* What a backend is told of an admitted key. */
static const struct {
	const char *header, *variable;
	size_t at;
} identity[] = {
    {"Apikey-Id", "Variable-APIKEY_ID", offsetof(struct wire_answer, id)},
    {"Apikey-Owner", "Variable-APIKEY_OWNER", offsetof(struct wire_answer, owner)},
    {"Apikey-Plan", "Variable-APIKEY_PLAN", offsetof(struct wire_answer, plan)},
    {"Apikey-Scopes", "Variable-APIKEY_SCOPES", offsetof(struct wire_answer, scopes)},
};

static void
put_identity(const struct wire_answer *a, int as_variables, struct reply *R)
{
	char meta[META_TEXT_MAX];
	struct span value;
	size_t i;

	for (i = 0; i < sizeof(identity) / sizeof(identity[0]); i++) {
		value = *(const struct span *)(const void *)((const char *)a + identity[i].at);
		if (value.len > 0)
			reply_header(
			    R, as_variables ? identity[i].variable : identity[i].header, value);
	}
	if (a->meta.len == 0)
		return;
	/* JSON is not ASCII and may hold any character: base64url is safe in a header everywhere.
	 */
	value = (struct span){meta, digest_base64url(a->meta.p, a->meta.len, meta, sizeof(meta))};
	reply_header(R, as_variables ? "Variable-APIKEY_META" : "Apikey-Meta", value);
}

static void
put_number(struct reply *R, const char *name, uint64_t n)
{
	uint8_t mem[24];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	wbuf_dec(&w, n);
	reply_header(R, name, wbuf_view(&w));
}

/* Until when the key's holder has to have another one: he is told wherever headers reach him. */
static void
put_rotation(const struct wire_answer *a, const char *name, struct reply *R)
{
	char date[CLOCK_HTTP_DATE_MAX];

	if (a == NULL || a->rotate_by_us == 0)
		return;
	clock_http_date(a->rotate_by_us, date);
	reply_header_str(R, name, date);
}

/* A body that did not fit leaves the reply unfinished, which reply_view turns into a 500. */
static void
put_body(const struct render *r, struct reply *R, const char *type, const struct wbuf *w)
{
	if (w->overflow)
		return;
	if (!r->head) {
		reply_body(R, type, wbuf_view(w));
		return;
	}
	reply_header_str(R, "Content-Type", type);
	put_number(R, "Content-Length", w->len);
	reply_body(R, NULL, no_body);
}

/* ${name} is JSON already, with its comma where it needs one. */
static void
put_member(struct wbuf *w, const char *name, struct span value)
{
	wbuf_str(w, name);
	problem_json_string(w, value);
}

static void
limits_json(const struct wire_answer *a, struct wbuf *w)
{
	const struct wire_limit *l;
	size_t i;

	for (i = 0; i < a->nlimits; i++) {
		l = &a->limits[i];
		put_member(w, i == 0 ? "{\"name\":" : ",{\"name\":", span_of(l->name));
		wbuf_str(w, ",\"limit\":");
		wbuf_dec(w, l->max_units);
		wbuf_str(w, ",\"window\":");
		wbuf_dec(w, ratelimit_seconds(l->window_us));
		wbuf_str(w, ",\"remaining\":");
		wbuf_dec(w, l->remaining);
		wbuf_str(w, ",\"reset\":");
		wbuf_dec(w, ratelimit_seconds(l->more_us));
		wbuf_str(w, "}");
	}
}

static void
admitted_serve(const struct render *r, struct reply *R)
{
	const struct wire_answer *a = r->answer;
	struct span rest = a->scopes, word;
	uint8_t mem[BODY_MAX];
	struct wbuf w;
	int first = 1;

	wbuf_init(&w, mem, sizeof(mem));
	put_member(&w, "{\"message\":\"Access granted\",\"key\":{\"id\":", a->id);
	put_member(&w, ",\"owner\":", a->owner);
	put_member(&w, ",\"plan\":", a->plan);
	wbuf_str(&w, ",\"scopes\":[");
	for (; span_word(&rest, &word); first = 0)
		put_member(&w, first ? "" : ",", word);
	wbuf_str(&w, "]},\"limits\":[");
	limits_json(a, &w);
	wbuf_str(&w, "]}");

	reply_begin(R, 200);
	ratelimit_headers(a, r->config->ratelimit_headers, R);
	put_rotation(a, "Apikey-Rotate-By", R);
	reply_header_str(R, "Cache-Control", "no-store");
	put_body(r, R, "application/json", &w);
}

static void
admitted_auth_request(const struct render *r, struct reply *R)
{
	reply_begin(R, 204);
	put_identity(r->answer, 0, R);
	ratelimit_headers(r->answer, r->config->ratelimit_headers, R);
	put_rotation(r->answer, "Apikey-Rotate-By", R);
	reply_header_str(R, "Cache-Control", "no-store");
	reply_body(R, NULL, no_body);
}

static void
admitted_accel(const struct render *r, struct reply *R)
{
	reply_begin(R, 200);
	reply_header(R, "X-Accel-Redirect", r->pass);
	put_identity(r->answer, 0, R);
	ratelimit_headers(r->answer, r->config->ratelimit_headers, R);
	put_rotation(r->answer, "Apikey-Rotate-By", R);
	reply_body(R, NULL, no_body);
}

static void
admitted_authorizer(const struct render *r, struct reply *R)
{
	reply_begin(R, 200);
	reply_header(R, "Variable-REMOTE_USER", r->answer->id);
	put_identity(r->answer, 1, R);
	ratelimit_headers(r->answer, r->config->ratelimit_headers, R);
	ratelimit_variables(r->answer, r->config->ratelimit_headers, R);
	put_rotation(r->answer, "Apikey-Rotate-By", R);
	put_rotation(r->answer, "Variable-APIKEY_ROTATE_BY", R);
	reply_body(R, NULL, no_body);
}

static struct problem
problem_of(const struct render *r)
{
	return (struct problem){.verdict = r->verdict,
	    .request_id = r->id,
	    .needed_scopes = r->needed_scopes,
	    .answer = r->answer,
	    .realm = r->config->realm};
}

/* nginx passes one WWW-Authenticate line of an auth_request on: there both challenges are in it. */
static void
put_challenges(const struct problem *problem, int one_line, struct reply *R)
{
	uint8_t mem[CHALLENGE_MAX];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	if (!problem_challenge(problem, &w))
		return;
	if (verdict_info(problem->verdict)->status == 401) {
		if (one_line) {
			wbuf_str(&w, ", ");
		} else {
			reply_header(R, "WWW-Authenticate", wbuf_view(&w));
			wbuf_reset(&w);
		}
		problem_challenge_apikey(problem, &w);
	}
	if (!w.overflow)
		reply_header(R, "WWW-Authenticate", wbuf_view(&w));
}

/* What every denial carries, in all modes. */
static void
put_denial(const struct render *r, const struct problem *problem, int one_line, struct reply *R)
{
	const struct verdict_info *info = verdict_info(r->verdict);

	reply_header_str(R, "Apikey-Denied", info->code);
	reply_header_str(R, "Cache-Control", "no-store");
	put_challenges(problem, one_line, R);
	put_rotation(r->answer, "Apikey-Rotate-By", R);
	if (r->verdict == VERDICT_RATE_LIMITED && r->answer != NULL)
		ratelimit_headers(r->answer, r->config->ratelimit_headers, R);
	if (r->verdict == VERDICT_CLIENT_BLOCKED)
		put_number(
		    R, "Retry-After", r->blocked_us > 0 ? ratelimit_seconds(r->blocked_us) : 1);
	else if (info->status == 429)
		put_number(
		    R, "Retry-After", r->answer == NULL ? 1 : ratelimit_retry_after(r->answer));
	else if (info->status == 503)
		put_number(R, "Retry-After", 1);
}

static void
denied_natively(const struct render *r, struct reply *R)
{
	struct problem problem = problem_of(r);
	uint8_t mem[BODY_MAX];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	problem_body(&problem, &w);
	reply_begin(R, verdict_info(r->verdict)->status);
	put_denial(r, &problem, 0, R);
	put_body(r, R, "application/problem+json", &w);
}

/* The body in a header, for servers that drop bodies. */
static void
put_problem(const struct problem *problem, struct reply *R)
{
	uint8_t mem[BODY_MAX];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	problem_body(problem, &w);
	if (!w.overflow)
		reply_header(R, "Apikey-Problem", wbuf_view(&w));
}

static void
denied_auth_request(const struct render *r, struct reply *R)
{
	struct problem problem = problem_of(r);
	int status = verdict_info(r->verdict)->status;

	reply_begin(R, status == 401 ? 401 : 403);
	put_number(R, "Apikey-Status", (uint64_t)status);
	put_problem(&problem, R);
	put_denial(r, &problem, 1, R);
	reply_body(R, NULL, no_body);
}

/* The server drops the body, and asks for it again in mode render, by this header. */
static void
denied_access_checker(const struct render *r, struct reply *R)
{
	struct problem problem = problem_of(r);

	reply_begin(R, verdict_info(r->verdict)->status);
	put_denial(r, &problem, 0, R);
	put_problem(&problem, R);
	reply_body(R, NULL, no_body);
}

/* The headers of the call that decided are on the answer already: here they would be repeated. */
static void
denied_render(const struct render *r, struct reply *R)
{
	uint8_t mem[BODY_MAX];
	struct wbuf w;

	if (r->problem.len == 0) {
		denied_natively(r, R);
		return;
	}
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_bytes(&w, r->problem.p, r->problem.len);
	reply_begin(R, verdict_info(r->verdict)->status);
	put_body(r, R, "application/problem+json", &w);
}

static const struct {
	void (*admitted)(const struct render *, struct reply *);
	void (*denied)(const struct render *, struct reply *);
} faces[POLICY_MODES] = {
    [POLICY_UNKNOWN] = {NULL, denied_natively},
    [POLICY_SERVE] = {admitted_serve, denied_natively},
    [POLICY_AUTH_REQUEST] = {admitted_auth_request, denied_auth_request},
    [POLICY_ACCEL] = {admitted_accel, denied_natively},
    [POLICY_AUTHORIZER] = {admitted_authorizer, denied_natively},
    [POLICY_ACCESS_CHECKER] = {admitted_authorizer, denied_access_checker},
    [POLICY_RENDER] = {NULL, denied_render},
};

void
render_reply(const struct render *r, struct reply *R)
{
	struct render denial = *r;

	if (r->verdict != VERDICT_OK) {
		faces[r->mode].denied(r, R);
	} else if (r->answer != NULL && r->answer->verdict == VERDICT_OK &&
		   faces[r->mode].admitted != NULL) {
		faces[r->mode].admitted(r, R);
	} else {
		denial.verdict = VERDICT_MISCONFIGURED;
		faces[r->mode].denied(&denial, R);
	}
}
