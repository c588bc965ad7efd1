/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_OPS_H_
#define KEEPER_OPS_H_

/*
 * The admin operations: JSON in, JSON out.  One table (name, who may, handler); the keeper's loop
 * and the tool working alone call the same function, so that both ways do the same.
 *
 * Request:  {"op":"key.create", ...}
 * Reply:    {"ok":true,"result":{...}} or {"ok":false,"error":"not_found","message":"..."}
 *
 * A change is complete and committed when ops_run returns, but durable only after a store_flush:
 * *changed tells the caller to hold the reply back until one has passed.  Lists are paged: at most
 * OPS_PAGE_MAX records looked at a call, and after OPS_PAGE_MIN no more than OPS_PAGE_US allow, so
 * that checks do not wait for them; "next" in the result is the cursor to pass as "after".
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "config/config.h"
#include "keeper/decide.h"
#include "keeper/peppers.h"
#include "keeper/refusals.h"
#include "store/store.h"

#define OPS_PAGE_MAX 200
#define OPS_PAGE_MIN 8
#define OPS_PAGE_US 200

struct ops {
	struct store *store;
	struct decide *decide;
	struct peppers **peppers; /* pepper.reload replaces it */
	const struct config *config;
	int (*times)(void *cookie, struct decide_times *); /* now */
	void *cookie;
	int low_space;		      /* changes that can wait are refused */
	const struct err *unpeppered; /* why the peppers may not be used, or NULL: then only what
					 mends that is done */
	struct refusals refusals;
	int wrote; /* set by what was committed and no reply waits for; cleared by the caller */
};

/* Who asks: from SO_PEERCRED, or the tool's own uid. */
struct ops_peer {
	uid_t uid;
	pid_t pid;
	enum store_via via;
	int may_admin;
};

/* Always writes a complete reply message text into ${reply} (JSON); never fails. The request's
 * memory may hold a key: wiped by the caller. */
void ops_run(
    struct ops *, const struct ops_peer *, struct span request, struct wbuf *reply, int *changed);

/* The reply of an operation that did not come to run, as ops_run would write it. */
void ops_reply_error(const struct err *, struct wbuf *reply);

/* Each second: tells the audit trail of refusals that were counted and not told at once; of all of
 * them the ${last} time. */
void ops_tick(struct ops *, int last);

#endif /* !KEEPER_OPS_H_ */
