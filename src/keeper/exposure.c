/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Exposed keys: seen in a URL, over plain HTTP, or in a browser.  The record is marked once for
 * each way, with the first time and address; what `on_exposure` says beyond that is done whenever
 * the key is seen so and still works, also when it was marked before.  An old secret in its grace
 * takes itself along and not the key: the new one was nowhere to be seen.
 *
 * Called by the decision in its batch, so that a key which is disabled here answers as disabled in
 * that very check; and without a store by the explanation of one.  Nothing here decides a request.
 *
 * Invariants: a state is only ever made graver; no key is in a record of the trail or in the log,
 * only its id; a revoked key stays as it was revoked.
 */

#include <stdio.h>

#include "keeper/exposure.h"

#include "base/log.h"
#include "core/rotation.h"
#include "keeper/trail.h"

/* "url and http" of the ways, as far as ${cap} goes. */
static const char *
ways_text(uint8_t ways, char *out, size_t cap)
{
	struct wbuf w;

	wbuf_init(&w, out, cap - 1);
	for (unsigned way = 1; way <= KEYREC_EXPOSED_WAYS; way <<= 1) {
		if ((ways & way) == 0)
			continue;
		wbuf_str(&w, w.len > 0 ? " and " : "");
		wbuf_str(&w, keyrec_way_name((uint8_t)way));
	}
	out[w.len] = '\0';
	return out;
}

static void
act(struct exposure *x, struct keyrec *rec)
{
	enum keyrec_state to = KEYREC_ACTIVE;

	if (x->policy == EXPOSURE_DISABLE && rec->state == KEYREC_ACTIVE)
		to = KEYREC_DISABLED;
	else if (x->policy == EXPOSURE_REVOKE && rec->state != KEYREC_REVOKED)
		to = KEYREC_REVOKED;
	if (to == KEYREC_ACTIVE)
		return;
	x->acted = 1;
	x->reason_before = rec->reason;
	rec->state = to;
	rec->reason = span_of(x->reason);
	rec->changed_us = x->wall_us;
	if (to == KEYREC_REVOKED)
		rec->revoked_us = x->wall_us;
}

/* The old secret ends, and nothing else. */
static void
end_old_secret(struct exposure *x, struct keyrec *rec)
{
	x->until_before_us = rec->previous_until_us;
	if (x->policy == EXPOSURE_FLAG || !rotation_end_grace(rec, x->wall_us))
		return;
	x->acted = 1;
	rec->changed_us = x->wall_us;
}

int
exposure_mark(struct exposure *x, struct keyrec *rec)
{
	char ways[64];

	x->new_ways = x->ways & (uint8_t)~rec->exposed_ways;
	x->before = rec->state;
	x->acted = 0;
	x->from[0] = '\0';
	if (x->has_addr)
		netaddr_format(&x->addr, x->from);
	if (snprintf(x->reason, sizeof(x->reason), "exposed: %s%s%s",
		ways_text(x->ways, ways, sizeof(ways)), x->has_addr ? " from " : "", x->from) < 0)
		x->reason[0] = '\0';
	rec->exposed_ways |= x->ways;
	if (rec->exposed_us == 0) {
		rec->exposed_us = x->wall_us;
		rec->exposed_addr = span_of(x->from);
	}
	if (x->old_secret)
		end_old_secret(x, rec);
	else
		act(x, rec);
	return x->new_ways != 0 || x->acted;
}

const char *
exposure_reason(const struct exposure *x)
{
	return x->reason;
}

static int
audit(const struct exposure *x, struct store *store, const struct keyrec *rec, const char *op,
    const char *detail, struct err *e)
{
	struct trail_event ev = {.wall_us = x->wall_us,
	    .op = op,
	    .subject = span_of(rec->id),
	    .address = span_of(x->from),
	    .detail = detail};

	return trail_event(store, &ev, e);
}

static int
audit_mark(const struct exposure *x, struct store *store, const struct keyrec *rec, struct err *e)
{
	char detail[160], ways[64];
	int n = snprintf(detail, sizeof(detail), "{\"way\":\"%s\",\"from\":\"%s\"%s}",
	    ways_text(x->new_ways, ways, sizeof(ways)), x->from,
	    x->old_secret ? ",\"secret\":\"old\"" : "");

	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	return audit(x, store, rec, "key.exposed", detail, e);
}

/* What was and what is, as of any change of a key. */
static void
add_change(cJSON *detail, const char *name, struct span from, struct span to)
{
	cJSON *change = cJSON_AddObjectToObject(detail, name);

	if (from.len > 0)
		json_add_span(change, "from", from);
	else
		cJSON_AddNullToObject(change, "from");
	json_add_span(change, "to", to);
}

cJSON *
exposure_end_json(int64_t from_us, int64_t to_us, struct span reason)
{
	cJSON *o = cJSON_CreateObject(), *change = cJSON_AddObjectToObject(o, "previous_until");

	json_add_time(change, "from", from_us);
	json_add_time(change, "to", to_us);
	if (reason.len > 0)
		json_add_span(o, "reason", reason);
	return o;
}

static cJSON *
act_json(const struct exposure *x, const struct keyrec *rec)
{
	cJSON *detail;

	if (x->old_secret)
		return exposure_end_json(
		    x->until_before_us, rec->previous_until_us, span_of(x->reason));
	detail = cJSON_CreateObject();
	add_change(detail, "state", span_of(keyrec_state_name(x->before)),
	    span_of(keyrec_state_name(rec->state)));
	add_change(detail, "reason", x->reason_before, span_of(x->reason));
	return detail;
}

static int
audit_act(const struct exposure *x, struct store *store, const struct keyrec *rec, struct err *e)
{
	const char *op = x->old_secret			? "key.end_old_secret"
			 : rec->state == KEYREC_REVOKED ? "key.revoke"
							: "key.disable";
	char text[2 * KEYREC_REASON_MAX + 256];
	unsigned lost = json_lost();
	cJSON *detail = act_json(x, rec);
	size_t len;

	len = json_print(detail, text, sizeof(text));
	cJSON_Delete(detail);
	if (json_lost() != lost)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (len == 0)
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	return audit(x, store, rec, op, text, e);
}

int
exposure_store(const struct exposure *x, struct store *store,
    const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	char ways[64];

	if (store_key_update(store, digest, rec, e) != 0 ||
	    (x->new_ways != 0 && audit_mark(x, store, rec, e) != 0) ||
	    (x->acted && audit_act(x, store, rec, e) != 0))
		return -1;
	log_event(LOG_LVL_WARNING, "key_exposed", "id", rec->id, "way",
	    ways_text(x->ways, ways, sizeof(ways)), "from", x->from, "secret",
	    x->old_secret ? "old" : "present", "state", keyrec_state_name(rec->state), NULL);
	return 0;
}
