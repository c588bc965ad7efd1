/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Facts of a request, from what the web server says itself (REMOTE_ADDR, HTTPS, REQUEST_SCHEME,
 * REQUEST_METHOD) and, when the peer is one of trusted_proxies, from what that proxy says
 * (X-Forwarded-For, X-Forwarded-Proto).  Runs in a worker.
 *
 * No decision is made here.  A fact that is not certain - garbage, repeated, too long - is reported
 * as not known, and whoever needs it denies.
 *
 * Invariants: a forwarded header counts only behind a trusted address; nothing left of the
 * right-most untrusted hop is ever looked at, because anyone can write it.
 */

#include "gate/facts.h"

#include "base/text.h"
#include "wire/wire.h"

int
facts_rules_init(struct facts_rules *R, const struct config *config, struct err *e)
{
	const char *h = config->app_header;
	size_t len = 5, i;

	*R = (struct facts_rules){.config = config, .app_param = "HTTP_"};
	for (i = 0; h != NULL && h[i] != '\0'; i++) {
		char c = h[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		else if (c == '-')
			c = '_';
		else if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
			return err_set(e, ERR_INPUT, "app_header: letters, digits and '-' only");
		if (len + 1 >= sizeof(R->app_param))
			return err_set(e, ERR_INPUT, "app_header is too long");
		R->app_param[len++] = c;
	}
	return 0;
}

static int
is_trusted(const struct config *config, const struct netaddr *addr)
{
	size_t i;

	for (i = 0; i < config->ntrusted_proxies; i++)
		if (netaddr_net_has(&config->trusted_proxies[i], addr))
			return 1;
	return 0;
}

/* Cuts the last element of a comma-separated list off *rest, trimmed: 1, or 0 when nothing is left.
 */
static int
last_element(struct span *rest, struct span *element)
{
	size_t i = rest->len;

	if (rest->len == 0)
		return 0;
	while (i > 0 && rest->p[i - 1] != ',')
		i--;
	*element = span_trim((struct span){rest->p + i, rest->len - i});
	rest->len = i == 0 ? 0 : i - 1;
	return 1;
}

/* The elements of all fields ${name}, from the last one of the last field to the first: 1, or 0 at
 * the end. */
struct walk {
	const struct params *params;
	const char *name;
	size_t i; /* of params_next */
	struct span rest;
};

static int
walk_next(struct walk *w, struct span *element)
{
	do {
		while (last_element(&w->rest, element))
			if (element->len > 0)
				return 1;
	} while (params_next(w->params, w->name, &w->i, &w->rest));
	return 0;
}

/* The right-most hop that is not a trusted proxy; the left-most one when all are. */
static void
forwarded_for(const struct config *config, const struct params *params, struct facts *F)
{
	struct walk w = {.params = params, .name = "HTTP_X_FORWARDED_FOR"};
	struct span hop;

	while (is_trusted(config, &F->addr) && walk_next(&w, &hop)) {
		if (netaddr_parse_hop(hop, &F->addr) == -1) {
			F->has_addr = 0;
			return;
		}
	}
}

static int
server_says_https(const struct params *params)
{
	struct span value;

	if (params_get(params, "HTTPS", &value) == 1 &&
	    (span_ieq(value, span_of("on")) || span_is(value, "1")))
		return 1;
	return params_get(params, "REQUEST_SCHEME", &value) == 1 &&
	       span_ieq(value, span_of("https"));
}

static int
proxy_says_https(const struct params *params)
{
	struct walk w = {.params = params, .name = "HTTP_X_FORWARDED_PROTO"};
	struct span proto;

	return walk_next(&w, &proto) && span_ieq(proto, span_of("https"));
}

static struct span
text_param(const struct params *params, const char *name, size_t max)
{
	struct span value;

	if (params_get(params, name, &value) != 1)
		return (struct span){NULL, 0};
	value = span_trim(value);
	return value.len <= max && text_header_safe(value) ? value : (struct span){NULL, 0};
}

/* Their presence counts, whatever they say: Origin (RFC 6454 7), Fetch Metadata (Sec-Fetch-*). */
static int
from_browser(const struct params *params)
{
	static const char fetch[] = "HTTP_SEC_FETCH_";
	size_t i;

	for (i = 0; i < params->n; i++) {
		struct span name = params->at[i].name;

		if (span_is(name, "HTTP_ORIGIN") ||
		    (name.len >= sizeof(fetch) && memcmp(name.p, fetch, sizeof(fetch) - 1) == 0))
			return 1;
	}
	return 0;
}

void
facts_read(const struct facts_rules *R, const struct params *params, struct facts *F)
{
	struct span value;
	int trusted = 0;

	*F = (struct facts){0};
	if (params_get(params, "REMOTE_ADDR", &value) == 1 && netaddr_parse(value, &F->addr) == 0) {
		F->has_addr = 1;
		trusted = is_trusted(R->config, &F->addr);
	}
	F->https = server_says_https(params) || (trusted && proxy_says_https(params));
	if (trusted)
		forwarded_for(R->config, params, F);
	F->browser = from_browser(params);
	/* Of the client's request, where a server has to ask with another one. */
	F->method = text_param(params,
	    params_get(params, "APIKEYD_METHOD", &value) != 0 ? "APIKEYD_METHOD" : "REQUEST_METHOD",
	    WIRE_METHOD_MAX);
	F->referrer = text_param(params, "HTTP_REFERER", WIRE_REFERRER_MAX);
	F->app = text_param(params, R->app_param, WIRE_APP_MAX);
}
