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
#include "core/scope.h"
#include "core/verdict.h"
#include "http/params.h"

#define POLICY_MADE_ID 22 /* characters of an id that we make ourselves */

enum policy_mode {
	POLICY_UNKNOWN = 0, /* its denials look like those of serve */
	POLICY_SERVE,
	POLICY_AUTH_REQUEST,
	POLICY_ACCEL,
	POLICY_AUTHORIZER,
	POLICY_ACCESS_CHECKER, /* an authorizer whose body is dropped: mod_fcgid's
				  FcgidAccessChecker */
	POLICY_RENDER,	       /* the body that the access checker's server dropped */
	POLICY_MODES	       /* (count) */
};

enum policy_param {
	POLICY_PARAM_MODE,
	POLICY_PARAM_REQUEST_ID,
	POLICY_PARAM_SCOPE,
	POLICY_PARAM_COST,
	POLICY_PARAM_PASS,
	POLICY_PARAM_RENDER,
	POLICY_PARAMS /* (count) */
};

/* Not to be copied: it points into itself. */
struct policy {
	enum policy_mode mode;
	uint32_t cost;
	unsigned wrong;	      /* bits 1 << policy_param: those that were misconfigured */
	struct span pass;     /* a named location, "@name", or empty; borrowed, like given_id */
	struct span given_id; /* of the web server; empty: it gave none */
	struct span problem;  /* render: the body to show, and the denial that it is of; borrowed */
	enum verdict decided;
	struct span scopes; /* ok by scope_needed_list_ok, one space between two; in scopes_mem */
	char made_id[POLICY_MADE_ID + 1]; /* random, when none was given */
	char scopes_mem[SCOPE_LIST_MAX];
};

/* The mode of a role (FastCGI: 1 responder, 2 authorizer) and a value of APIKEYD_MODE. */
enum policy_mode policy_mode_of(int role, int given, struct span value);

/*
 * VERDICT_OK, or VERDICT_MISCONFIGURED: then *P still says the mode (as far as it is known) and has
 * an id, so that the denial can be rendered.  VERDICT_UNAVAILABLE when there is no randomness for
 * an id.
 */
enum verdict policy_read(const struct params *, int role, struct policy *);

/* The id that was given must not be used: it is forgotten, and one made.  As policy_read. */
enum verdict policy_refuse_id(struct policy *);

/* "APIKEYD_MODE" and so on, for the log. */
const char *policy_param_name(enum policy_param);

/* The id by which answer and log speak of the request. */
struct span policy_id(const struct policy *);

#endif /* !GATE_POLICY_H_ */
