/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The params of a request, as lines NAME=value: policy, facts (Forwarded addresses, HTTPS), the
 * credential in headers and URL, the path.  No key is ever found that is not there, none is valid
 * by accident.
 */

#include "base/text.h"
#include "core/token.h"
#include "gate/credential.h"
#include "gate/facts.h"
#include "gate/policy.h"
#include "gate/target.h"
#include "wire/wire.h"

#include "fuzz.h"

static const struct config config = {.key_prefix = (char *)"ak",
    .require_https = 1,
    .strict_paths = 1,
    .app_header = (char *)"X-App-Id",
    .nquery_parameters = 2,
    .query_parameters = {(char *)"api_key", (char *)"key"},
    .ntrusted_proxies = 1,
    .trusted_proxies = {{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10}}, 104}}};

static int
contains(const struct params *P, struct span s)
{
	for (size_t i = 0; i < P->n; i++)
		if (P->at[i].value.p != NULL && s.p >= P->at[i].value.p &&
		    s.p + s.len <= P->at[i].value.p + P->at[i].value.len)
			return 1;
	return 0;
}

/* A look-up by name finds what a walk over all params does. */
static void
look_up(const struct params *P, const struct param *of)
{
	char *name = malloc(of->name.len + 1);
	struct span value, first = {NULL, 0};
	int found = 0;

	must(name != NULL && span_copy(name, of->name.len + 1, of->name) == 0);
	for (size_t i = 0; i < P->n; i++)
		if (span_eq(P->at[i].name, of->name) && found++ == 0)
			first = P->at[i].value;
	must(params_get(P, name, &value) == (found < 2 ? found : 2));
	must(value.p == first.p && value.len == first.len);
	free(name);
}

static void
look(const struct params *P, int role)
{
	struct credential_seen seen[CREDENTIAL_SEEN_MAX];
	char mem[CREDENTIAL_URL_MAX];
	struct facts_rules R;
	struct facts F;
	struct policy policy;
	struct span key;
	struct err e;
	size_t n;

	must(facts_rules_init(&R, &config, &e) == 0);
	facts_read(&R, P, &F);
	must(F.method.len <= WIRE_METHOD_MAX && F.referrer.len <= WIRE_REFERRER_MAX);
	must(F.app.len == 0 || text_header_safe(F.app));
	if (policy_read(P, role, &policy) == VERDICT_OK) {
		must(policy.mode != POLICY_UNKNOWN && policy.cost <= LIMIT_COST_MAX);
		must(scope_needed_list_ok(policy.scopes));
	}
	must(policy_id(&policy).len > 0);
	if (credential_in_headers(P, &key) == VERDICT_OK)
		must(key.len > 0 && contains(P, key));
	if (credential_in_url(P, &config, mem, &key) > 0)
		must(token_has_form(key, span_of("ak")));
	n = credential_seen(P, &config, seen);
	must(n <= CREDENTIAL_SEEN_MAX);
	while (n-- > 0)
		must(token_valid((struct span){seen[n].text, seen[n].len}, span_of("ak")));
	(void)target_is_plain(P);
	for (size_t i = 0; i < P->n && i < 16; i++)
		look_up(P, &P->at[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct params *P = malloc(sizeof(*P));
	char *text = malloc(n + 1), *line, *next;

	must(P != NULL && text != NULL);
	if (n > 0)
		memcpy(text, p, n);
	text[n] = '\0';
	params_init(P);
	for (line = text; line != NULL && *line != '\0'; line = next) {
		if ((next = strchr(line, '\n')) != NULL)
			*next++ = '\0';
		params_add_env(P, line);
	}
	look(P, 1);
	look(P, 2);
	free(text);
	free(P);
	return 0;
}
