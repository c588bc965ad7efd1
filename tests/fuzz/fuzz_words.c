/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Words that people and clients write: durations, times, limits, addresses and networks, hops of
 * X-Forwarded-For, scopes, referrers and their patterns, keys.  The first byte says which; a
 * newline parts two of them.
 */

#include "base/clock.h"
#include "base/netaddr.h"
#include "core/plan.h"
#include "core/rules.h"
#include "core/scope.h"
#include "core/token.h"

#include "fuzz.h"

static void
times(const char *s)
{
	int64_t us, back;
	char text[64];

	if (clock_duration_parse(s, &us) == 0) {
		must(us >= 0);
		clock_duration_format(us, text, sizeof(text));
		must(clock_duration_parse(text, &back) == 0 && back == us);
	}
	if (clock_rfc3339_parse(s, &us) == 0) {
		clock_rfc3339(us, text);
		must(clock_rfc3339_parse(text, &back) == 0);
		must(back <= us && us - back < CLOCK_SECOND);
	}
	(void)!clock_when_parse(s, 0, &us);
}

static void
limit(const char *s)
{
	struct plan p = {.name = "p", .nlimits = 1};
	struct err e;

	if (plan_limit_parse(s, &p.limits[0], &e) == 0)
		must(plan_check(&p, &e) == 0);
	else
		must(e.msg[0] != '\0');
}

static void
addresses(struct span s)
{
	char text[NETADDR_TEXT_MAX];
	struct netaddr a, b;
	struct netaddr_net net, back;

	if (netaddr_parse(s, &a) == 0) {
		netaddr_format(&a, text);
		must(netaddr_parse(span_of(text), &b) == 0 && memcmp(&a, &b, sizeof(a)) == 0);
	}
	if (netaddr_net_parse(s, &net) == 0) {
		netaddr_net_format(&net, text);
		must(netaddr_net_parse(span_of(text), &back) == 0 && back.bits == net.bits);
		must(netaddr_net_has(&net, &net.addr));
	}
	(void)!netaddr_parse_hop(s, &a);
}

static void
scopes(struct span held, struct span needed)
{
	if (scope_ok(held) && scope_needed_ok(held))
		must(scope_grants(held, held));
	if (!scope_ok(held) || !scope_needed_ok(needed))
		return;
	/* Without a star nothing but itself. */
	if (memchr(held.p, '*', held.len) == NULL)
		must(scope_grants(held, needed) == span_eq(held, needed));
}

static void
referrers(struct span pattern, struct span referrer)
{
	if (rules_referrer_matches(pattern, referrer))
		must(rules_referrer_pattern_ok(pattern) && referrer.len > 0);
}

static void
key(struct span s)
{
	char start[TOKEN_START_MAX + 1];

	if (token_valid(s, span_of("ak")))
		must(token_has_form(s, span_of("ak")));
	if (token_has_form(s, span_of("ak")))
		token_start(s, start);
	(void)token_id_ok(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span a, b = {NULL, 0};
	const char *nl;
	char *text;

	if (n == 0 || (text = malloc(n)) == NULL)
		return 0;
	memcpy(text, p + 1, n - 1);
	text[n - 1] = '\0';
	a = (struct span){text, n - 1};
	if ((nl = memchr(text, '\n', n - 1)) != NULL) {
		a.len = (size_t)(nl - text);
		b = (struct span){nl + 1, n - 1 - a.len - 1};
	}
	switch (p[0] % 6) {
	case 0:
		times(text);
		break;
	case 1:
		limit(text);
		break;
	case 2:
		addresses(a);
		break;
	case 3:
		scopes(a, b);
		(void)scope_needed_list_ok(b);
		break;
	case 4:
		referrers(a, b);
		break;
	default:
		key(a);
		break;
	}
	free(text);
	return 0;
}
