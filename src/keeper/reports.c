/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Blocked clients in the audit trail.
 *
 * Belongs to the keeper's loop.  It decides nothing: who is blocked is known to the workers alone.
 * A worker may be in an attacker's hands, and even an honest one reports what a million addresses
 * make it report: so a minute has REPORTS_MINUTE_MAX entries, and one that tells how many clients
 * more there were.
 *
 * A keeper that is killed between commit and answer is told again, and writes the entry twice; it
 * forgets what it has left out.
 *
 * Invariant: at most REPORTS_MINUTE_MAX + 1 entries begin in a minute of ours, whatever is
 * reported.
 */

#include <stdio.h>

#include "keeper/reports.h"

#include "base/clock.h"
#include "base/log.h"
#include "keeper/trail.h"

#define MINUTE_US (60 * CLOCK_SECOND)
#define DETAIL_MAX 128

static int
append(struct store *store, const char *who, const char *address, const char *detail,
    int64_t wall_us, struct err *e)
{
	struct trail_event ev = {.wall_us = wall_us,
	    .op = REPORTS_OP,
	    .subject = span_of(who),
	    .address = span_of(address),
	    .detail = detail};

	return trail_event(store, &ev, e);
}

/* An IPv4 address without its /32. */
static void
name(const struct netaddr_net *net, char out[NETADDR_TEXT_MAX])
{
	if (net->bits == 128)
		netaddr_format(&net->addr, out);
	else
		netaddr_net_format(net, out);
}

static int
is_over(const struct reports *R, int64_t mono_us)
{
	return R->minute_us == 0 || mono_us - R->minute_us >= MINUTE_US;
}

int
reports_take(struct reports *R, struct store *store, const struct wire_report *report,
    int64_t wall_us, int64_t mono_us, int *wrote, struct err *e)
{
	char who[NETADDR_TEXT_MAX], lasts[32], detail[DETAIL_MAX];
	int n;

	*wrote = 0;
	/* What the last minute left out is told first, by the next tick. */
	if (is_over(R, mono_us) && R->left_out == 0) {
		R->minute_us = mono_us;
		R->written = 0;
	}
	if (R->hold || R->written >= REPORTS_MINUTE_MAX) {
		R->left_out++;
		return 0;
	}
	name(&report->client_net, who);
	clock_duration_format(report->block_us / CLOCK_SECOND * CLOCK_SECOND, lasts, sizeof(lasts));
	n = snprintf(detail, sizeof(detail), "{\"attempts\":%u,\"for\":\"%s\"}",
	    (unsigned)report->attempts, lasts);
	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	if (append(store, who, who, detail, wall_us, e) != 0)
		return -1;
	R->written++;
	*wrote = 1;
	log_event(LOG_LVL_WARNING, "client_blocked", "from", who, "attempts",
	    LOG_NUM(report->attempts), "for", lasts, NULL);
	return 0;
}

struct telling {
	struct store *store;
	uint64_t clients;
};

static int
tell_left_out(void *cookie, struct err *e)
{
	const struct telling *t = cookie;
	char detail[DETAIL_MAX];
	int n =
	    snprintf(detail, sizeof(detail), "{\"clients\":%llu}", (unsigned long long)t->clients);

	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	return append(t->store, "others", "", detail, clock_wall_us(), e);
}

int
reports_tick(struct reports *R, struct store *store, int last)
{
	struct telling t = {.store = store, .clients = R->left_out};
	struct err e = {0};

	if (R->left_out == 0 || R->hold || (!last && !is_over(R, clock_mono_us())))
		return 0;
	/* Should it fail, the next minute tells it. */
	R->minute_us = clock_mono_us();
	R->written = 0;
	if (store_batch(store, tell_left_out, &t, &e) != 0) {
		log_event(LOG_LVL_ERROR, "audit_failed", "error", e.msg, NULL);
		return 0;
	}
	log_event(LOG_LVL_WARNING, "clients_blocked", "clients", LOG_NUM(R->left_out), NULL);
	R->left_out = 0;
	return 1;
}
