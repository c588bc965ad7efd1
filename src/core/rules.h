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
#include "core/verdict.h"

struct rules_request {
	int has_addr; /* 0: the web server sent no usable REMOTE_ADDR; any address restriction then denies */
	struct netaddr addr;
	struct span referrer, app, method;
	struct span needed_scopes; /* space separated, already scope_needed_list_ok */
};

/* For `apikey check`: called after each step that ran, in order.  ${passed} 1 or 0. */
typedef void rules_trace_fn(void *cookie, const char *step, int passed);

/* VERDICT_OK when every step passes, else the first refusal.  ${trace} may be NULL. */
enum verdict rules_check(const struct keyrec *, const struct rules_request *, int64_t now_us,
    rules_trace_fn *trace, void *cookie);

/*
 * A referrer pattern: "[scheme://]host[/path-prefix]", host may begin with "*." (any subdomain,
 * not the domain itself).  Matched on the parsed URL: scheme and host case-insensitively, the path
 * by whole segments.
 */
int rules_referrer_pattern_ok(struct span);
int rules_referrer_matches(struct span pattern, struct span referrer);

#endif /* !CORE_RULES_H_ */
