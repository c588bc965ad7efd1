/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_RENDER_H_
#define GATE_RENDER_H_

/* A verdict in the form that this mode's web server needs: a table of modes, each with an admitted
 * and a denied face. */

#include "base/span.h"
#include "config/config.h"
#include "core/verdict.h"
#include "gate/policy.h"
#include "http/reply.h"
#include "wire/wire.h"

struct render {
	enum policy_mode mode;
	enum verdict verdict;
	struct span id;		   /* of the request */
	struct span needed_scopes; /* for scope_insufficient */
	struct span pass;	   /* accel: where an admitted request continues */
	struct span problem;	   /* render: the body that an earlier call made; or empty */
	int64_t blocked_us;	   /* client_blocked: until the block ends */
	int head;		   /* a HEAD request: no body */
	const struct wire_answer
	    *answer; /* of the keeper; NULL when it was not asked or did not answer */
	const struct config *config;
};

/* The whole CGI response.  VERDICT_OK without an answer, or in an unknown mode, is rendered as
 * misconfigured. */
void render_reply(const struct render *, struct reply *);

#endif /* !GATE_RENDER_H_ */
