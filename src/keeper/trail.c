/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The audit trail as the keeper has it.
 *
 * Run by the keeper's loop, and by the tool when it works alone (which prunes nothing).  What an
 * entry is made of and how it is checked is the store's; here is who seals, what the gate's own
 * entries say, and when old ones go.
 *
 * Invariants: the end of the trail is sealed by the newest pepper, so that one can be retired
 * without taking the proof along; a slice of pruning holds up the checks that wait for about
 * SLICE_US; what was pruned is told in the trail, at the latest by the next pass.
 */

#include "keeper/trail.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper/actors.h"

#define SLICE_US 500
#define SLICE_ENTRIES 16 /* in one batch: the clock is looked at between batches, so few */
#define REST_MIN_US CLOCK_SECOND
#define REST_MAX_US (86400 * CLOCK_SECOND)
#define PRUNE_OP "audit.prune"
#define OWN_TOLD_MAX 100
#define ACCEPTED "{\"log_accepted\":true}"

/* ---- sealing ---- */

static int
seal(void *cookie, struct span bytes, uint32_t *by, uint8_t out[DIGEST_LEN])
{
	struct peppers *p = *(struct peppers **)cookie;

	*by = peppers_version(p, 0);
	return peppers_seal(p, 0, bytes, out);
}

static int
check(void *cookie, uint32_t by, struct span bytes, const uint8_t sealed[DIGEST_LEN])
{
	struct peppers *p = *(struct peppers **)cookie;
	uint8_t own[DIGEST_LEN];

	for (size_t i = 0; i < peppers_count(p); i++) {
		if (peppers_version(p, i) != by)
			continue;
		return peppers_seal(p, i, bytes, own) == 0 ? digest_equal(own, sealed) : -1;
	}
	return -1;
}

int
trail_open(struct store *store, struct peppers **peppers, struct err *e)
{
	const struct store_sealer sealer = {.seal = seal, .check = check, .cookie = peppers};
	int rc = store_audit_open(store, &sealer, e);

	if (rc == 0)
		log_event(LOG_LVL_ERROR, "audit_tampered", "mend",
		    "somebody has changed where the audit trail ends: apikey audit --verify", NULL);
	return rc < 0 ? -1 : 0;
}

void
trail_peppers_changed(struct store *store, struct peppers **peppers)
{
	struct err e = {0};

	if (trail_open(store, peppers, &e) != 0)
		log_event(LOG_LVL_WARNING, "audit_not_resealed", "error", e.msg, NULL);
}

/* ---- the gate's entries ---- */

int
trail_event(struct store *store, const struct trail_event *ev, struct err *e)
{
	struct store_audit au = {.when_us = ev->wall_us,
	    .uid = UINT32_MAX,
	    .via = STORE_VIA_GATE,
	    .actor = span_of("gate"),
	    .address = ev->address,
	    .op = span_of(ev->op),
	    .subject = ev->subject,
	    .detail = span_of(ev->detail)};

	return store_audit_append(store, &au, e);
}

/* ---- a log that was accepted ---- */

static int
tell_accepted(void *cookie, struct err *e)
{
	struct store *store = cookie;
	struct store_accepted a;
	char actor[STORE_AUDIT_WORD_MAX + 1] = {0};
	struct store_audit au = {
	    .via = STORE_VIA_TOOL, .op = span_of("db.restore"), .detail = span_of(ACCEPTED)};

	if (store_accepted(store, &a, e) != 1)
		return -1;
	actors_name((uid_t)a.uid, actor, sizeof(actor));
	au.when_us = a.when_us;
	au.uid = a.uid;
	au.actor = span_of(actor);
	return store_audit_append(store, &au, e) == 0 && store_accepted_told(store, e) == 0 ? 0
											    : -1;
}

void
trail_tell_accepted(struct store *store)
{
	struct err e = {0};
	struct store_accepted a;
	int rc = store_accepted(store, &a, &e);

	if (rc == 0)
		return;
	log_event(LOG_LVL_WARNING, "log_accepted", "uid", LOG_NUM(a.uid), "means",
	    "changes that were acknowledged may be missing", NULL);
	if (rc < 0 || store_batch(store, tell_accepted, store, &e) != 0)
		log_event(
		    LOG_LVL_WARNING, "audit_failed", "op", "db.restore", "error", e.msg, NULL);
}

/* ---- pruning ---- */

void
trail_prune_tick(struct trail_prune *p, int64_t mono_us, int64_t wall_us, int64_t keep_us)
{
	int64_t rest_us = keep_us / 24;

	if (p->active || keep_us <= 0 || mono_us < p->next_us || wall_us <= keep_us)
		return;
	if (rest_us < REST_MIN_US)
		rest_us = REST_MIN_US;
	if (rest_us > REST_MAX_US)
		rest_us = REST_MAX_US;
	p->active = 1;
	p->before_us = wall_us - keep_us;
	p->next_us = mono_us + rest_us;
}

struct pruning {
	const struct trail_prune *pass;
	struct store *store;
	int64_t wall_us;
	unsigned own; /* entries that tell of pruning, looked at */
	int ended;
};

/*
 * Entries that tell of pruning alone are no reason to prune: each pass would leave one for the
 * next.
 */
static int
is_worth_it(void *cookie, const struct store_audit *a, struct err *e)
{
	struct pruning *p = cookie;

	(void)e;
	if (!a->damaged && a->when_us >= p->pass->before_us)
		p->ended = 1;
	else if (span_is(a->op, PRUNE_OP) && p->own++ < OWN_TOLD_MAX)
		return 0;
	return 1;
}

/* Is there anything to do?  0 or -1. */
static int
look_ahead(struct pruning *p, struct err *e)
{
	int rc = store_audit_walk(p->store, 0, is_worth_it, p, e);

	if (rc == 0)
		p->ended = 1;
	return rc < 0 ? -1 : 0;
}

static int
tell_pruned(const struct pruning *p, struct err *e)
{
	char detail[256], hash[2 * DIGEST_LEN + 1], before[21];
	struct store_audit au = {.when_us = p->wall_us,
	    .uid = UINT32_MAX,
	    .via = STORE_VIA_KEEPER,
	    .actor = span_of("keeper"),
	    .op = span_of(PRUNE_OP)};
	struct store_pruned gone;
	int n;

	store_audit_pruned(p->store, &gone);
	if (gone.to == 0)
		return 0;
	digest_hex(gone.hash, DIGEST_LEN, hash);
	clock_rfc3339(p->pass->before_us, before);
	n = snprintf(detail, sizeof(detail),
	    "{\"from\":%llu,\"to\":%llu,\"hash\":\"%s\",\"before\":\"%s\"}",
	    (unsigned long long)gone.from, (unsigned long long)gone.to, hash, before);
	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	au.detail = (struct span){detail, (size_t)n};
	if (store_audit_append(p->store, &au, e) != 0)
		return -1;
	store_audit_pruned_told(p->store);
	return 0;
}

static int
prune_batch(void *cookie, struct err *e)
{
	struct pruning *p = cookie;
	int rc = p->ended ? 0 : store_audit_prune(p->store, p->pass->before_us, SLICE_ENTRIES, e);

	if (rc < 0)
		return -1;
	p->ended = rc == 0;
	return p->ended ? tell_pruned(p, e) : 0;
}

int
trail_prune_slice(struct trail_prune *pass, struct store *store, int64_t wall_us, int pause)
{
	int64_t until_us = clock_mono_us() + SLICE_US;
	struct pruning p = {.pass = pass, .store = store, .wall_us = wall_us};
	struct err e = {0};
	int rc = pause ? 0 : look_ahead(&p, &e), wrote = 0;

	while (rc == 0 && !pause) {
		rc = store_batch(store, prune_batch, &p, &e);
		wrote |= rc == 0;
		if (p.ended || clock_mono_us() >= until_us)
			break;
	}
	if (rc != 0)
		log_event(LOG_LVL_ERROR, "audit_prune_failed", "error", e.msg, NULL);
	if (rc != 0 || p.ended || pause)
		pass->active = 0;
	return wrote;
}
