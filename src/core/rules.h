/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_RULES_H_
#define CORE_RULES_H_

/*
 * What follows from a key's record and a request's facts alone: state, restrictions, scopes, in
 * that order (a table of steps, walked until one refuses).  Pure: no store, no clock.  The limits,
 * which need the store, come after it.
 */

#include <stdint.h>

#include "base/netaddr.h"
#include "base/span.h"
#include "core/keyrec.h"
#include "core/rotation.h"
#include "core/verdict.h"

#define RULES_DETAIL_MAX 512 /* bytes of what a step says, with its NUL */

struct rules_request {
	int64_t now_us; /* wall clock */
	enum rotation_verdict
	    secret;	      /* of the one that came along; anything but ROTATION_GOOD refuses */
	int64_t rotate_by_us; /* as rotation_judge told it */
	int owner_off;	/* the owner is switched off, and with it all keys that are not revoked */
	int has_addr; /* 0: the web server sent no usable REMOTE_ADDR; any address restriction then
			 denies */
	struct netaddr addr;
	struct span referrer, app, method;
	int browser;		       /* it comes from a browser */
	enum keyrec_browsers browsers; /* what the configuration says of those */
	struct span needed_scopes;     /* space separated, already scope_needed_list_ok */
	size_t nplan_scopes;	       /* what a key without scopes of its own holds; borrowed */
	const struct span *plan_scopes;
};

/* For `apikey check`: called after each step that ran, in order.  ${passed} 1 or 0, ${detail} what
 * the step looked at, for people. */
typedef void rules_trace_fn(void *cookie, const char *step, int passed, const char *detail);

/* VERDICT_OK when every step passes, else the first refusal.  ${trace} may be NULL. */
enum verdict rules_check(
    const struct keyrec *, const struct rules_request *, rules_trace_fn *trace, void *cookie);

/* Was a request refused with ${v} for its secret alone, its key being good? */
int rules_secret_refused(enum verdict v, const struct keyrec *, const struct rules_request *);

/* What is done about a browser with this key: its own word, or the configuration's. */
enum keyrec_browsers rules_browsers(const struct keyrec *, const struct rules_request *);

/*
 * A referrer pattern: "[scheme://]host[/path-prefix]", host may begin with "*." (any subdomain,
 * not the domain itself).  Matched on the parsed URL: scheme and host case-insensitively, the path
 * by whole segments.
 */
int rules_referrer_pattern_ok(struct span);
int rules_referrer_matches(struct span pattern, struct span referrer);

#endif /* !CORE_RULES_H_ */
