/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a worker would decide of the request that `apikey check` is asked about: the options become
 * the params that a web server would set, and the worker's own steps (gate/steps.h) walk over them.
 * Nothing is sent anywhere, and no answer is rendered.
 *
 * Invariants: the key is in this function's memory alone, which is wiped; no step's detail holds
 * it.
 */

#include <string.h>

#include "apikey/asked.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/secret.h"
#include "core/token.h"
#include "gate/steps.h"

/* Params borrow from it. */
struct asked {
	struct params params;
	struct facts_rules rules;
	struct steps steps;
	char uri[PARAMS_VALUE_MAX + 1], stand_in[TOKEN_MAX + 1];
};

void
asked_step(void *steps, const char *step, int passed, const char *detail)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "step", step);
	cJSON_AddBoolToObject(o, "passed", passed);
	cJSON_AddStringToObject(o, "detail", detail);
	if (!cJSON_AddItemToArray(steps, o))
		cJSON_Delete(o);
}

static void
add(struct asked *a, const char *name, const char *value)
{
	if (value != NULL)
		params_add(&a->params, span_of(name), span_of(value));
}

/* The URI with the key where it is to stand: 1 when it is there, 0 when not, -1. */
static int
make_uri(struct asked *a, const char *uri, const char *key, struct err *e)
{
	const char *at = strstr(uri, ASKED_KEY);
	struct wbuf w;

	wbuf_init(&w, a->uri, sizeof(a->uri));
	wbuf_span(&w, at != NULL ? (struct span){uri, (size_t)(at - uri)} : span_of(uri));
	if (at != NULL) {
		wbuf_str(&w, key);
		wbuf_str(&w, at + strlen(ASKED_KEY));
	}
	if (wbuf_cstr(&w) == NULL)
		return err_set(e, ERR_USAGE, "--uri: at most %d bytes", PARAMS_VALUE_MAX);
	return at != NULL;
}

/* As a web server would say it. */
static int
make_params(struct asked *a, const struct options *o, const char *key, struct err *e)
{
	const cJSON *r = o->request;
	const char *uri = json_str(r, "uri", NULL);
	int in_url = 0;

	params_init(&a->params);
	if (uri != NULL) {
		if ((in_url = make_uri(a, uri, key, e)) < 0)
			return -1;
		add(a, "REQUEST_URI", a->uri);
	}
	add(a, "REQUEST_METHOD", json_str(r, "method", NULL));
	add(a, "REMOTE_ADDR", json_str(r, "ip", NULL));
	add(a, "REQUEST_SCHEME", options_local(o, "http") ? "http" : "https");
	add(a, "HTTP_REFERER", json_str(r, "referrer", NULL));
	add(a, a->rules.app_param, json_str(r, "app", NULL));
	if (json_bool(r, "browser", 0, NULL))
		add(a, "HTTP_ORIGIN", "null");
	if (!in_url)
		add(a, "HTTP_X_API_KEY", key);
	return 0;
}

/* ${s} may be a part of the member that it replaces. */
static int
replace(cJSON *o, const char *member, struct span s)
{
	cJSON *fresh = cJSON_CreateObject(), *item;

	if (s.len > 0)
		json_add_span(fresh, member, s);
	item = cJSON_DetachItemFromObjectCaseSensitive(fresh, member);
	cJSON_Delete(fresh);
	cJSON_DeleteItemFromObjectCaseSensitive(o, member);
	if (item == NULL)
		return s.len == 0 ? 0 : -1;
	return cJSON_AddItemToObject(o, member, item) ? 0 : -1;
}

/* What the keeper would be told. */
static int
pass_on(const struct facts *f, cJSON *request, struct err *e)
{
	char addr[NETADDR_TEXT_MAX] = "";

	if (f->has_addr)
		netaddr_format(&f->addr, addr);
	if (replace(request, "method", f->method) != 0 ||
	    replace(request, "referrer", f->referrer) != 0 ||
	    replace(request, "app", f->app) != 0 || replace(request, "ip", span_of(addr)) != 0)
		return err_set(e, ERR_SYSTEM, "out of memory");
	return 0;
}

/* The steps about the key itself say nothing of one that stands in for another. */
struct watch {
	cJSON *steps;
	int keyless;
};

static void
on_step(void *cookie, const char *step, int passed, const char *detail)
{
	const struct watch *w = cookie;

	if (w->keyless && (strcmp(step, "credential") == 0 || strcmp(step, "checksum") == 0))
		return;
	asked_step(w->steps, step, passed, detail);
}

/* What on_exposure does to a key that came so.  Which secret it is only the keeper knows. */
static void
tell_exposure(const struct config *c, enum verdict verdict, cJSON *steps)
{
	static const char *const details[] = {
	    [EXPOSURE_FLAG] = "the key is marked as exposed",
	    [EXPOSURE_DISABLE] =
		"the key is marked as exposed, and disabled (of an old secret, its grace ends)",
	    [EXPOSURE_REVOKE] =
		"the key is marked as exposed, and revoked (of an old secret, its grace ends)",
	};

	if (verdict == VERDICT_HTTPS_REQUIRED || verdict == VERDICT_KEY_IN_URL)
		asked_step(steps, "exposure", 0, details[c->on_exposure]);
}

int
asked_walk(const struct config *config, struct options *o, const char *key, cJSON *steps,
    enum verdict *verdict, struct err *e)
{
	struct watch watch = {.steps = steps, .keyless = key == NULL};
	struct asked a = {.uri = ""};
	int rc = -1;

	*verdict = VERDICT_UNAVAILABLE;
	if (facts_rules_init(&a.rules, config, e) == -1)
		return -1;
	if (key == NULL) {
		if (token_generate(config->key_prefix, TOKEN_LIVE, a.stand_in, e) != 0)
			return -1;
		key = a.stand_in;
	}
	if (make_params(&a, o, key, e) == 0) {
		steps_init(&a.steps, &a.rules, &a.params);
		*verdict = steps_walk(&a.steps, on_step, &watch);
		tell_exposure(config, *verdict, steps);
		rc = pass_on(&a.steps.facts, o->request, e);
	}
	secret_wipe(&a, sizeof(a));
	return rc;
}
