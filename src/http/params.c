/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The params of one FastCGI request, gathered under bounds and looked up by name.  Workers run it,
 * on bytes that clients choose: most values are headers that a client sent.
 *
 * It copies nothing and judges no value: which params are trusted, and what they may hold, is the
 * gate's to know.
 *
 * Invariants: no more than PARAMS_MAX params and PARAMS_BYTES_MAX bytes are ever kept; what passes
 * a bound is not kept and is remembered, never cut short, so that a request is not decided on half
 * of a value.
 *
 * A request has some ten params, and some fifteen are asked for: so they are chained by a few bytes
 * of their names.  Who sends names that share a chain makes a look-up the walk over all of them
 * that it would be without.
 */

#include <string.h>

#include "http/params.h"

void
params_init(struct params *P)
{
	P->n = P->bytes = 0;
	P->too_large = 0;
	memset(P->latest, 0, sizeof(P->latest));
}

/* Of names as they are (HTTP_*, REQUEST_*, APIKEYD_*) the ends differ, and the lengths. */
static size_t
chain_of(struct span name)
{
	const unsigned char *p = (const unsigned char *)name.p;

	if (name.len == 0)
		return 0;
	return (name.len + 5U * p[name.len - 1] + 3U * p[name.len / 2]) % PARAMS_CHAINS;
}

void
params_add(struct params *P, struct span name, struct span value)
{
	size_t room = PARAMS_BYTES_MAX - P->bytes, chain;

	if (P->n == PARAMS_MAX || value.len > PARAMS_VALUE_MAX || name.len > room ||
	    value.len > room - name.len) {
		P->too_large = 1;
		return;
	}
	P->at[P->n].name = name;
	P->at[P->n].value = value;
	chain = chain_of(name);
	P->before[P->n] = P->latest[chain];
	P->latest[chain] = (uint16_t)++P->n;
	P->bytes += name.len + value.len;
}

void
params_add_env(struct params *P, const char *text)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL)
		params_add(P, span_of(text), span_of("")); /* not NULL: readers step through it */
	else
		params_add(P, (struct span){text, (size_t)(equals - text)}, span_of(equals + 1));
}

/* The latest param ${name} of those that *i and its predecessors are: one more than its index, or
 * 0.
 */
static size_t
find(const struct params *P, struct span name, size_t i)
{
	while (i != 0 && !span_eq(P->at[i - 1].name, name))
		i = P->before[i - 1];
	return i;
}

int
params_get(const struct params *P, const char *name, struct span *value)
{
	struct span wanted = span_of(name);
	size_t i = P->latest[chain_of(wanted)];
	int found = 0;

	*value = (struct span){NULL, 0};
	while ((i = find(P, wanted, i)) != 0) {
		*value = P->at[i - 1].value;
		i = P->before[i - 1];
		found++;
	}
	return found < 2 ? found : 2;
}

int
params_next(const struct params *P, const char *name, size_t *i, struct span *value)
{
	struct span wanted = span_of(name);

	*value = (struct span){NULL, 0};
	*i = find(P, wanted, *i == 0 ? P->latest[chain_of(wanted)] : P->before[*i - 1]);
	if (*i == 0)
		return 0;
	*value = P->at[*i - 1].value;
	return 1;
}

struct span
params_value(const struct params *P, const char *name)
{
	struct span value;

	params_get(P, name, &value);
	return value;
}
