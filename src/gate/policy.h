/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_POLICY_H_
#define GATE_POLICY_H_

/*
 * What the web server asks of the gate for this route: mode, needed scopes, cost, where to
 * continue, the request's id.  It comes from params that a client cannot set (APIKEYD_*, and the
 * FastCGI role).
 */

#include <stdint.h>

#include "base/span.h"
#include "core/verdict.h"
#include "http/params.h"

#define POLICY_MADE_ID 22 /* characters of an id that we make ourselves */

enum policy_mode {
	POLICY_UNKNOWN = 0, /* its denials look like those of serve */
	POLICY_SERVE,
	POLICY_AUTH_REQUEST,
	POLICY_ACCEL,
	POLICY_AUTHORIZER,
	POLICY_MODES /* (count) */
};

struct policy {
	enum policy_mode mode;
	uint32_t cost;
	struct span scopes;   /* space separated, ok by scope_needed_list_ok; borrowed, like pass */
	struct span pass;     /* a named location, "@name", or empty */
	struct span given_id; /* of the web server; empty: it gave none */
	char made_id[POLICY_MADE_ID + 1]; /* random, when none was given */
	const char *wrong;		  /* the param that was misconfigured, for the log */
};

/* The mode of a role (FastCGI: 1 responder, 2 authorizer) and a value of APIKEYD_MODE. */
enum policy_mode policy_mode_of(int role, int given, struct span value);

/*
 * VERDICT_OK, or VERDICT_MISCONFIGURED: then *P still says the mode (as far as it is known) and has
 * an id, so that the denial can be rendered.  VERDICT_UNAVAILABLE when there is no randomness for
 * an id.
 */
enum verdict policy_read(const struct params *, int role, struct policy *);

/* The id by which answer and log speak of the request. */
struct span policy_id(const struct policy *);

#endif /* !GATE_POLICY_H_ */
