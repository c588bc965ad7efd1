/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The steps of a worker, in the order of the contract.  They need no secret, no store and no
 * keeper; what follows from a refusal (an exposed key is reported) is gate.c's.
 *
 * Run by the workers for every request, and by the tool for `apikey check`, which is why they know
 * neither FastCGI nor modes.
 *
 * Invariants: VERDICT_OK means "go on"; the key is set only when every step passed; no detail holds
 * a key or anything else of a query.
 */

#include "gate/steps.h"

#include "base/secret.h"
#include "core/token.h"
#include "gate/target.h"

void
steps_init(struct steps *s, const struct facts_rules *rules, const struct params *params)
{
	s->config = rules->config;
	s->params = params;
	s->key = (struct span){NULL, 0};
	facts_read(rules, params, &s->facts);
	s->url_keys = credential_in_url(params, rules->config, s->url_mem, &s->url_key);
}

void
steps_wipe(struct steps *s)
{
	secret_wipe(s->url_mem, sizeof(s->url_mem));
}

static enum verdict
step_https(struct steps *s, const char **detail)
{
	*detail = s->facts.https ? "it comes over HTTPS" : "it comes over plain HTTP";
	if (s->facts.https)
		return VERDICT_OK;
	if (!s->config->require_https) {
		*detail = "it comes over plain HTTP, which require_https allows";
		return VERDICT_OK;
	}
	return VERDICT_HTTPS_REQUIRED;
}

static enum verdict
step_url(struct steps *s, const char **detail)
{
	*detail = s->url_keys == 0 ? "no key in the URL" : "a key is in the URL";
	if (s->url_keys == 0)
		return VERDICT_OK;
	if (s->config->allow_query_keys) {
		*detail = "a key is in the URL, which allow_query_keys allows";
		return VERDICT_OK;
	}
	return VERDICT_KEY_IN_URL;
}

static enum verdict
step_credential(struct steps *s, const char **detail)
{
	enum verdict verdict = credential_in_headers(s->params, &s->key);

	*detail = verdict == VERDICT_OK		   ? "one key in the headers"
		  : verdict == VERDICT_KEY_MISSING ? "no key in the headers"
						   : "the headers hold no single key";
	if (s->url_keys == 0 || verdict == VERDICT_REQUEST_INVALID)
		return verdict;
	/* Allowed in the URL, or step_url had refused it. */
	if (s->url_keys > 1 || (verdict == VERDICT_OK && !credential_equal(s->key, s->url_key))) {
		*detail = "more than one key";
		return VERDICT_REQUEST_INVALID;
	}
	*detail = "the key of the URL";
	s->key = s->url_key;
	return VERDICT_OK;
}

static enum verdict
step_checksum(struct steps *s, const char **detail)
{
	struct span prefix = span_of(s->config->key_prefix);

	if (token_valid(s->key, prefix)) {
		*detail = "form and checksum are right";
		return VERDICT_OK;
	}
	if (s->config->accept_foreign_keys && token_foreign_ok(s->key)) {
		*detail = "another system may have made it, which accept_foreign_keys allows";
		return VERDICT_OK;
	}
	*detail = token_has_form(s->key, prefix) ? "the checksum does not fit: mistyped or cut off"
						 : "this is not of the form of a key of this gate";
	return VERDICT_KEY_INVALID;
}

/* After the key: what an unknown client reads of a path is the same, whatever the path. */
static enum verdict
step_path(struct steps *s, const char **detail)
{
	if (!s->config->strict_paths) {
		*detail = "strict_paths is off";
		return VERDICT_OK;
	}
	if (target_is_plain(s->params)) {
		*detail = params_value(s->params, "REQUEST_URI").len > 0
			      ? "everybody reads it alike"
			      : "it is not known";
		return VERDICT_OK;
	}
	*detail = "web server and backend may take it for different ones";
	return VERDICT_REQUEST_INVALID;
}

static const struct {
	const char *name;
	enum verdict (*decide)(struct steps *, const char **detail);
} steps[] = {
    {"https", step_https},
    {"url", step_url},
    {"credential", step_credential},
    {"checksum", step_checksum},
    {"path", step_path},
};

enum verdict
steps_walk(struct steps *s, steps_trace_fn *trace, void *cookie)
{
	enum verdict verdict = VERDICT_OK;
	const char *detail = NULL;
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]) && verdict == VERDICT_OK; i++) {
		verdict = steps[i].decide(s, &detail);
		if (trace != NULL)
			trace(cookie, steps[i].name, verdict == VERDICT_OK, detail);
	}
	if (verdict != VERDICT_OK)
		s->key = (struct span){NULL, 0};
	return verdict;
}
