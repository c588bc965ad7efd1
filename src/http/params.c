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
 */

#include <string.h>

#include "http/params.h"

void
params_init(struct params *P)
{
	P->n = P->bytes = 0;
	P->too_large = 0;
}

void
params_add(struct params *P, struct span name, struct span value)
{
	size_t room = PARAMS_BYTES_MAX - P->bytes;

	if (P->n == PARAMS_MAX || value.len > PARAMS_VALUE_MAX || name.len > room ||
	    value.len > room - name.len) {
		P->too_large = 1;
		return;
	}
	P->at[P->n].name = name;
	P->at[P->n].value = value;
	P->n++;
	P->bytes += name.len + value.len;
}

void
params_add_env(struct params *P, const char *text)
{
	const char *equals = strchr(text, '=');
	struct span name = span_of(text), value = {NULL, 0};

	if (equals != NULL) {
		name.len = (size_t)(equals - text);
		value = span_of(equals + 1);
	}
	params_add(P, name, value);
}

int
params_get(const struct params *P, const char *name, struct span *value)
{
	struct span wanted = span_of(name);
	size_t i;
	int found = 0;

	*value = (struct span){NULL, 0};
	for (i = 0; i < P->n && found < 2; i++) {
		if (!span_eq(P->at[i].name, wanted))
			continue;
		if (found++ == 0)
			*value = P->at[i].value;
	}
	return found;
}

struct span
params_value(const struct params *P, const char *name)
{
	struct span value;

	params_get(P, name, &value);
	return value;
}
