/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_STEPS_H_
#define GATE_STEPS_H_

/*
 * What a worker decides of a request by itself, before it asks the keeper: HTTPS, key in the URL,
 * credential, checksum, a path of one meaning.  A table of steps, walked until one refuses; `apikey
 * check` walks the same one and says what each has seen.
 */

#include "base/span.h"
#include "config/config.h"
#include "core/verdict.h"
#include "gate/credential.h"
#include "gate/facts.h"
#include "http/params.h"

/* One request; borrows from its params and from itself, so not to be copied. */
struct steps {
	const struct config *config;
	const struct params *params;
	struct facts facts;
	int url_keys;	     /* 0 none, 1 one, 2 several in the URL */
	struct span url_key; /* in url_mem */
	struct span key;     /* the credential, once all steps have passed */
	char url_mem[CREDENTIAL_URL_MAX];
};

void steps_init(struct steps *, const struct facts_rules *, const struct params *);
/* The key that was decoded from the URL. */
void steps_wipe(struct steps *);

/* Called after each step that ran; ${detail} for people, without any key. */
typedef void steps_trace_fn(void *cookie, const char *step, int passed, const char *detail);

/* VERDICT_OK, which admits nobody yet, or the first refusal.  ${trace} may be NULL. */
enum verdict steps_walk(struct steps *, steps_trace_fn *, void *cookie);

#endif /* !GATE_STEPS_H_ */
