/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reads APIKEYD_MODE, APIKEYD_SCOPE, APIKEYD_COST, APIKEYD_PASS, APIKEYD_REQUEST_ID and
 * APIKEYD_RENDER.  Runs in a worker, first of all steps, because every answer needs the mode.
 *
 * These params are the administrator's words.  Whatever is off about one of them - unknown,
 * malformed, given twice - is a mistake in the web server's configuration, and a mistake denies: a
 * scope or a cost that was ignored would open a route.
 *
 * Invariants: nothing here looks at HTTP_*; a value is used only after its whole text was checked.
 */

#include <stddef.h>
#include <string.h>

#include "gate/policy.h"

#include "base/random.h"
#include "core/plan.h"
#include "gate/decided.h"
#include "wire/wire.h"

#define PASS_MAX 64 /* characters behind the '@' */

/* FastCGI's authorizers have a form of answer of their own, whatever APIKEYD_MODE says. */
static const struct {
	const char *name;
	enum policy_mode mode;
} modes[] = {
    {"serve", POLICY_SERVE},
    {"auth_request", POLICY_AUTH_REQUEST},
    {"accel", POLICY_ACCEL},
    {"render", POLICY_RENDER},
};

enum policy_mode
policy_mode_of(int role, int given, struct span value)
{
	size_t i;

	if (role == 2)
		return POLICY_AUTHORIZER;
	if (!given)
		return POLICY_SERVE;
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (span_is(value, modes[i].name))
			return modes[i].mode;
	return POLICY_UNKNOWN;
}

/* Are all characters letters, digits or of ${more}, and 1 to ${max} of them? */
static int
made_of(struct span s, const char *more, size_t max)
{
	size_t i;
	char c;

	if (s.len == 0 || s.len > max)
		return 0;
	for (i = 0; i < s.len; i++) {
		c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c != '\0' && strchr(more, c) != NULL)))
			return 0;
	}
	return 1;
}

static int
read_mode(const struct params *params, int role, struct policy *P)
{
	struct span value;
	int n = params_get(params, "APIKEYD_MODE", &value);

	P->mode = policy_mode_of(role, n != 0, value);
	if (P->mode != POLICY_AUTHORIZER)
		return P->mode != POLICY_UNKNOWN && n != 2;
	if (span_is(params_value(params, "FCGI_APACHE_ROLE"), "ACCESS_CHECKER"))
		P->mode = POLICY_ACCESS_CHECKER;
	return 1;
}

static int
read_scope(const struct params *params, int role, struct policy *P)
{
	struct span value, word;
	int n = params_get(params, "APIKEYD_SCOPE", &value);
	size_t len = 0;

	(void)role;
	if (n == 0)
		return 1;
	if (n == 2 || !scope_needed_list_ok(value))
		return 0;
	/* A client reads the list in the challenge and in the problem: as RFC 6749 3.3 has it. */
	while (span_word(&value, &word)) {
		if (len > 0)
			P->scopes_mem[len++] = ' ';
		memcpy(P->scopes_mem + len, word.p, word.len);
		len += word.len;
	}
	P->scopes = (struct span){P->scopes_mem, len};
	return 1;
}

static int
read_cost(const struct params *params, int role, struct policy *P)
{
	struct span value;
	unsigned long long cost;
	int n = params_get(params, "APIKEYD_COST", &value);

	(void)role;
	if (n == 0)
		return 1;
	if (n == 2 || span_u64(value, LIMIT_COST_MAX, &cost) == -1)
		return 0;
	P->cost = (uint32_t)cost;
	return 1;
}

static int
read_pass(const struct params *params, int role, struct policy *P)
{
	struct span value;
	int n = params_get(params, "APIKEYD_PASS", &value);

	(void)role;
	if (n == 0 || (n == 1 && value.len == 0))
		return P->mode != POLICY_ACCEL;
	/* A location by name only: the request continues with its method and body, and no path can
	 * be named. */
	if (n == 2 || value.p[0] != '@' ||
	    !made_of((struct span){value.p + 1, value.len - 1}, "_-", PASS_MAX))
		return 0;
	P->pass = value;
	return 1;
}

static int
read_request_id(const struct params *params, int role, struct policy *P)
{
	struct span value;
	int n = params_get(params, "APIKEYD_REQUEST_ID", &value);

	(void)role;
	if (n == 0 || (n == 1 && value.len == 0))
		return 1;
	if (n == 2 || !made_of(value, "._:@-", WIRE_REQUEST_ID_MAX))
		return 0;
	P->given_id = value;
	return 1;
}

/* Elsewhere it is nobody's mistake: a server may set it for more than the location that renders. */
static int
read_render(const struct params *params, int role, struct policy *P)
{
	(void)role;
	if (P->mode != POLICY_RENDER)
		return 1;
	return params_get(params, "APIKEYD_RENDER", &P->problem) == 1 &&
	       decided_read(P->problem, &P->decided);
}

static const struct {
	const char *name;
	int (*read)(const struct params *, int role, struct policy *);
} readers[POLICY_PARAMS] = {
    /* The first, because another looks at the mode. */
    [POLICY_PARAM_MODE] = {"APIKEYD_MODE", read_mode},
    [POLICY_PARAM_REQUEST_ID] = {"APIKEYD_REQUEST_ID", read_request_id},
    [POLICY_PARAM_SCOPE] = {"APIKEYD_SCOPE", read_scope},
    [POLICY_PARAM_COST] = {"APIKEYD_COST", read_cost},
    [POLICY_PARAM_PASS] = {"APIKEYD_PASS", read_pass},
    [POLICY_PARAM_RENDER] = {"APIKEYD_RENDER", read_render},
};

const char *
policy_param_name(enum policy_param param)
{
	return readers[param].name;
}

enum verdict
policy_read(const struct params *params, int role, struct policy *P)
{
	unsigned i;

	memset(P, 0, offsetof(struct policy, scopes_mem));
	P->cost = 1;
	for (i = 0; i < POLICY_PARAMS; i++)
		if (!readers[i].read(params, role, P))
			P->wrong |= 1U << i;
	if (P->given_id.len == 0 && random_base62(P->made_id, POLICY_MADE_ID, NULL) == -1)
		return VERDICT_UNAVAILABLE;
	return P->wrong == 0 ? VERDICT_OK : VERDICT_MISCONFIGURED;
}

enum verdict
policy_refuse_id(struct policy *P)
{
	P->given_id = (struct span){NULL, 0};
	P->wrong |= 1U << POLICY_PARAM_REQUEST_ID;
	if (random_base62(P->made_id, POLICY_MADE_ID, NULL) == -1)
		return VERDICT_UNAVAILABLE;
	return VERDICT_MISCONFIGURED;
}

struct span
policy_id(const struct policy *P)
{
	return P->given_id.len > 0 ? P->given_id : span_of(P->made_id);
}
