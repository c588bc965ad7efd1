/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A request's way through a worker.  Policy and the steps of steps.c are walked in order until one
 * has a verdict; what passes them all is asked of the keeper; the answer is rendered in the
 * request's mode.
 *
 * The gate holds no secret and no store: it can refuse by itself, but never admit.  VERDICT_OK of a
 * step means "go on"; the only VERDICT_OK that admits is the keeper's own, in answered().
 *
 * Invariants: every request gets exactly one answer, unless its peer is gone; one that does not
 * reach answered() with the keeper's ok is denied; keys copied out of the request are wiped before
 * their memory is used again.
 */

#include <stdlib.h>
#include <sys/queue.h>

#include "gate/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "core/keyrec.h"
#include "fcgi/server.h"
#include "gate/ask.h"
#include "gate/attempts.h"
#include "gate/credential.h"
#include "gate/policy.h"
#include "gate/render.h"
#include "gate/steps.h"

/* One open request; everything borrowed in it points into the FastCGI params or into itself. */
struct visit {
	struct fcgi_request *fcgi;
	const struct params *params;
	int role;
	struct policy policy;
	struct steps in;
	struct span problem; /* render: the body, once it is known to be one */
	uint64_t asked;	     /* the check that is pending, or 0 */
	SLIST_ENTRY(visit) pool;
};

struct gate {
	const struct config *config;
	struct facts_rules rules;
	struct fcgi_server *server;
	struct ask *ask;
	struct attempts *attempts;
	int64_t log_after_us[POLICY_PARAMS]; /* of mistakes in the web server's configuration */
	SLIST_HEAD(, visit) visits;	     /* free ones */
	struct reply reply;
};

/* ---- deciding ---- */

/*
 * Tells the keeper of the keys that came where they must not, to be marked: all of them in ${ways},
 * and those of the URL in that one.  The answers change nothing.
 */
static void
report_exposed(struct gate *G, const struct visit *v, uint8_t ways)
{
	struct wire_check check = {.has_addr = v->in.facts.has_addr, .addr = v->in.facts.addr};
	struct credential_seen seen[CREDENTIAL_SEEN_MAX];
	size_t i, n = credential_seen(v->params, G->config, seen);

	for (i = 0; i < n; i++) {
		check.credential = (struct span){seen[i].text, seen[i].len};
		check.exposed = ways | (seen[i].in_url ? KEYREC_EXPOSED_URL : 0);
		/* One in a header beside one in the URL is where it may be. */
		if (check.exposed != 0 && ask_check(G->ask, &check, NULL) == 0)
			log_event(LOG_LVL_WARNING, "exposure_not_recorded", NULL);
	}
	secret_wipe(seen, sizeof(seen));
}

/* One line a second for each param: a route that is always wrong must not hide what is wrong with
 * another. */
static void
log_mistakes(struct gate *G, unsigned wrong)
{
	int64_t now_us = clock_mono_us();
	unsigned i;

	for (i = 0; i < POLICY_PARAMS; i++) {
		if ((wrong >> i & 1) == 0 || now_us < G->log_after_us[i])
			continue;
		G->log_after_us[i] = now_us + CLOCK_SECOND;
		log_event(LOG_LVL_ERROR, "misconfigured", "param",
		    policy_param_name((enum policy_param)i), "error",
		    "missing, malformed or sent twice by the web server", NULL);
	}
}

static enum verdict
step_policy(struct gate *G, struct visit *v)
{
	enum verdict verdict = policy_read(v->params, v->role, &v->policy);

	/* An id stands in logs and bodies. */
	if (token_within(v->policy.given_id, span_of(G->config->key_prefix)))
		verdict = policy_refuse_id(&v->policy);
	/* Of a request that is too large, params may be missing: that is the client's doing. */
	if (v->params->too_large)
		return VERDICT_REQUEST_INVALID;
	if (verdict == VERDICT_MISCONFIGURED)
		log_mistakes(G, v->policy.wrong);
	return verdict;
}

/* Of a denial that an earlier call decided only the body is wanted: nothing here can admit. */
static enum verdict
step_decided(struct visit *v)
{
	if (v->policy.mode != POLICY_RENDER)
		return VERDICT_OK;
	v->problem = v->policy.problem;
	return v->policy.decided;
}

/* The first refusal; what it says of keys that came along is told to the keeper. */
static enum verdict
decide(struct gate *G, struct visit *v)
{
	enum verdict verdict = step_policy(G, v);

	if (verdict == VERDICT_OK)
		verdict = step_decided(v);
	if (verdict != VERDICT_OK)
		return verdict;
	verdict = steps_walk(&v->in, NULL, NULL);
	if (verdict == VERDICT_HTTPS_REQUIRED)
		report_exposed(G, v, KEYREC_EXPOSED_HTTP);
	else if (verdict == VERDICT_KEY_IN_URL)
		report_exposed(G, v, 0);
	return verdict;
}

/* ---- the answer ---- */

static void
visit_end(struct gate *G, struct visit *v)
{
	steps_wipe(&v->in);
	SLIST_INSERT_HEAD(&G->visits, v, pool);
}

static void
log_decision(const struct visit *v, enum verdict verdict, const struct wire_answer *a)
{
	char id[WIRE_REQUEST_ID_MAX + 1], key[TOKEN_ID_LEN + 1], addr[NETADDR_TEXT_MAX] = "";

	if (v->in.facts.has_addr)
		netaddr_format(&v->in.facts.addr, addr);
	if (span_copy(id, sizeof(id), policy_id(&v->policy)) == -1)
		id[0] = '\0';
	if (a == NULL || span_copy(key, sizeof(key), a->id) == -1)
		key[0] = '\0';
	log_event(LOG_LVL_DEBUG, "decision", "request", id, "code", verdict_info(verdict)->code,
	    "key", key, "client", addr, NULL);
}

/*
 * The keeper hears of it once, when the block begins; an answer to the report changes nothing.  One
 * that an earlier call decided was counted by that call.
 */
static struct attempts_outcome
count_failure(struct gate *G, const struct visit *v, enum verdict verdict)
{
	const struct netaddr *addr = v->in.facts.has_addr ? &v->in.facts.addr : NULL;
	struct attempts_outcome o = {.verdict = verdict};
	struct wire_report report;

	if (v->policy.mode == POLICY_RENDER)
		return o;
	o = attempts_judge(G->attempts, verdict, addr, clock_boot_us());
	if (!o.blocking)
		return o;
	report = (struct wire_report){.client_net = o.who,
	    .attempts = G->config->failed_attempts,
	    .block_us = G->config->block_time_us};
	if (ask_report(G->ask, &report) == 0)
		log_event(LOG_LVL_WARNING, "block_not_recorded", NULL);
	return o;
}

static void
answer(struct gate *G, struct visit *v, enum verdict verdict, const struct wire_answer *a)
{
	struct attempts_outcome blocked;
	struct render r = {.mode = v->policy.mode,
	    .verdict = verdict,
	    .id = policy_id(&v->policy),
	    .needed_scopes = v->policy.scopes,
	    .pass = v->policy.pass,
	    .problem = v->problem,
	    .head = span_is(v->in.facts.method, "HEAD"),
	    .answer = a,
	    .config = G->config};

	if (verdict_info(verdict)->status == 401) {
		blocked = count_failure(G, v, verdict);
		verdict = r.verdict = blocked.verdict;
		r.blocked_us = blocked.left_us;
	}
	if (G->config->log_level >= LOG_LVL_DEBUG)
		log_decision(v, verdict, a);
	render_reply(&r, &G->reply);
	fcgi_answer(v->fcgi, reply_view(&G->reply));
	visit_end(G, v);
}

/* What goes into headers must be safe there, whoever sent it. */
static int
is_safe(const struct wire_answer *a)
{
	return text_header_safe(a->id) && (a->owner.len == 0 || text_header_safe(a->owner)) &&
	       (a->plan.len == 0 || text_header_safe(a->plan)) &&
	       (a->scopes.len == 0 || text_header_safe(a->scopes));
}

/* From ask: the keeper's answer, or NULL when there is none in time. */
static void
answered(void *cookie, void *tag, const struct wire_answer *a)
{
	struct gate *G = cookie;
	struct visit *v = tag;

	v->asked = 0;
	if (a != NULL && a->verdict == VERDICT_OK && !is_safe(a)) {
		log_event(
		    LOG_LVL_ERROR, "keeper_answer", "error", "text that no header can hold", NULL);
		a = NULL;
	}
	answer(G, v, a == NULL ? VERDICT_UNAVAILABLE : a->verdict, a);
}

/* ---- the way ---- */

static uint64_t
ask_keeper(struct gate *G, struct visit *v)
{
	struct wire_check check = {.cost = v->policy.cost,
	    .has_addr = v->in.facts.has_addr,
	    .addr = v->in.facts.addr,
	    .browser = v->in.facts.browser,
	    .credential = v->in.key,
	    .needed_scopes = v->policy.scopes,
	    .referrer = v->in.facts.referrer,
	    .app = v->in.facts.app,
	    .method = v->in.facts.method,
	    .request_id = v->policy.given_id};

	return ask_check(G->ask, &check, v);
}

static struct visit *
visit_begin(struct gate *G, struct fcgi_request *request, const struct params *params, int role)
{
	struct visit *v = SLIST_FIRST(&G->visits);

	if (v != NULL)
		SLIST_REMOVE_HEAD(&G->visits, pool);
	else if ((v = malloc(sizeof(*v))) == NULL)
		return NULL;
	v->fcgi = request;
	v->params = params;
	v->role = role;
	v->problem = (struct span){NULL, 0};
	v->asked = 0;
	steps_init(&v->in, &G->rules, params);
	fcgi_request_set(request, v);
	return v;
}

static void
on_request(void *cookie, struct fcgi_request *request, const struct params *params, int role)
{
	struct gate *G = cookie;
	enum verdict verdict;
	struct visit *v;

	if ((v = visit_begin(G, request, params, role)) == NULL) {
		reply_begin(&G->reply, 503); /* left unfinished: goes out as the fixed refusal */
		fcgi_answer(request, reply_view(&G->reply));
		return;
	}
	verdict = decide(G, v);
	if (verdict == VERDICT_OK && (v->asked = ask_keeper(G, v)) == 0)
		verdict = VERDICT_UNAVAILABLE;
	if (verdict != VERDICT_OK)
		answer(G, v, verdict, NULL);
}

static struct span
on_refuse(void *cookie, struct span mode, int role)
{
	struct gate *G = cookie;
	struct policy policy;
	static const struct params none;
	struct render r = {.verdict = VERDICT_REQUEST_INVALID, .config = G->config};

	(void)policy_read(&none, role, &policy); /* for an id */
	r.mode = policy_mode_of(role, mode.p != NULL, mode);
	r.id = policy_id(&policy);
	render_reply(&r, &G->reply);
	return reply_view(&G->reply);
}

static void
on_gone(void *cookie, struct fcgi_request *request)
{
	struct gate *G = cookie;
	struct visit *v = fcgi_request_get(request);

	if (G->ask != NULL)
		ask_cancel(G->ask, v->asked);
	visit_end(G, v);
}

static int
on_round(void *cookie)
{
	struct gate *G = cookie;

	return ask_round(G->ask);
}

static void
on_lost(void *cookie)
{
	struct gate *G = cookie;

	log_event(LOG_LVL_ERROR, "dialer_gone", NULL);
	fcgi_server_stop(G->server);
}

struct gate *
gate_new(const struct config *config, int listen_fd, int dial_fd, struct err *e)
{
	struct fcgi_options options = {.listen_fd = listen_fd,
	    .max_connections = config->max_connections,
	    .mode_param = "APIKEYD_MODE"};
	struct ask_options ask = {.dial_fd = dial_fd,
	    .timeout_us = config->keeper_timeout_us,
	    .done = answered,
	    .lost = on_lost};
	struct gate *G;

	if ((G = calloc(1, sizeof(*G))) == NULL) {
		err_sys(e, "worker");
		return NULL;
	}
	G->config = config;
	SLIST_INIT(&G->visits);
	ask.cookie = G;
	if (facts_rules_init(&G->rules, config, e) == -1 || fcgi_server_init(e) == -1 ||
	    (G->attempts = attempts_new(config, e)) == NULL)
		goto fail;
	G->server = fcgi_server_new(&options,
	    &(struct fcgi_handlers){.request = on_request,
		.refuse = on_refuse,
		.round = on_round,
		.gone = on_gone,
		.cookie = G},
	    e);
	if (G->server == NULL || (G->ask = ask_new(&ask, G->server, e)) == NULL)
		goto fail;
	return G;
fail:
	gate_free(&G);
	return NULL;
}

void
gate_free(struct gate **gate)
{
	struct gate *G = *gate;
	struct visit *v;

	*gate = NULL;
	if (G == NULL)
		return;
	/* The server takes open requests back through on_gone; ask needs the server until it is
	 * freed. */
	ask_free(&G->ask);
	fcgi_server_free(&G->server);
	while ((v = SLIST_FIRST(&G->visits)) != NULL) {
		SLIST_REMOVE_HEAD(&G->visits, pool);
		free(v);
	}
	attempts_free(&G->attempts);
	free(G);
}

int
gate_run(struct gate *G, struct err *e)
{
	return fcgi_server_run(G->server, e);
}

void
gate_stop(struct gate *G)
{
	fcgi_server_stop(G->server);
}

int
gate_watch(struct gate *G, int fd, void (*fn)(void *, uint32_t), void *cookie, struct err *e)
{
	return fcgi_server_watch(G->server, fd, fn, cookie, e);
}
