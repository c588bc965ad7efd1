/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The life of a key: how it is used, how old its secret is, a new secret for it (rotate), and the
 * end of the old one before its time.
 *
 * Run by ops.c; rotate inside a batch.
 *
 * A rotation changes the secret and what is said of it, nothing else: id, owner, plan, what was
 * used of the limits, scopes and restrictions stay.  The mark of exposure is of the old secret, and
 * goes; the audit trail keeps it.
 *
 * Invariants: the new key is in one reply and nowhere else; of a revoked key there is no other
 * secret; an old secret works no longer than its grace, than the plan says, and than until the next
 * rotation.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "base/secret.h"
#include "core/rotation.h"
#include "keeper/exposure.h"
#include "keeper/uses.h"

int
ops_life_used(struct ops_call *c, const struct keyrec *rec, struct store_use *use, struct err *e)
{
	return uses_get(decide_uses(c->ops->decide), c->ops->store, span_of(rec->id), use, e);
}

/* The secret before the present one, if it is known. */
static void
add_previous(cJSON *o, const struct keyrec *rec, const struct store_use *use)
{
	int64_t used_us = rec->previous_used_us;

	/* What was used before the last rotation was another one. */
	if (use->previous_used_us > used_us && use->previous_used_us >= rotation_made_us(rec))
		used_us = use->previous_used_us;
	ops_add_text(o, "previous_start", rec->previous_start);
	json_add_time(o, "previous_until", rec->previous_until_us);
	json_add_time(o, "previous_used", used_us);
}

int
ops_life_json(struct ops_call *c, const struct keyrec *rec, cJSON *o, struct err *e)
{
	const struct plan *plan;
	struct store_use use;

	if (ops_life_used(c, rec, &use, e) != 0 || decide_plan(c->ops->decide, rec, &plan, e) < 0)
		return -1;
	json_add_time(o, "last_used", use.used_us);
	json_add_time(o, "secret_created", rotation_made_us(rec));
	json_add_time(o, "rotate_by", rotation_due_us(rec, plan));
	add_previous(o, rec, &use);
	return ops_owner_json(c, rec, o, e);
}

/* ---- rotate ---- */

static int
audit_rotation(struct ops_call *c, const struct keyrec *rec, int64_t exposed_us, struct err *e)
{
	cJSON *before = cJSON_CreateObject(), *after = cJSON_CreateObject();
	int rc;

	json_add_span(before, "secret", rec->previous_start);
	json_add_span(after, "secret", rec->start);
	json_add_time(after, "previous_until", rec->previous_until_us);
	json_add_time(before, "exposed", exposed_us);
	rc = ops_audit_change(c, rec->id, before, after, e);
	cJSON_Delete(before);
	cJSON_Delete(after);
	return rc;
}

/* The draft's key gets another secret; its old digest in ${from}. */
static int
replace_secret(struct ops_call *c, struct ops_draft *d, uint8_t from[STORE_DIGEST_LEN],
    char key[TOKEN_MAX + 1], char start[TOKEN_START_MAX + 1], struct err *e)
{
	int64_t grace_us = json_int(c->request, "grace", ROTATION_GRACE_US / CLOCK_SECOND, 0,
			       ROTATION_GRACE_MAX_US / CLOCK_SECOND, e) *
			   CLOCK_SECOND;
	struct keyrec *rec = &d->rec;
	const struct plan *plan;

	if (e->code != ERR_NONE || decide_plan(c->ops->decide, rec, &plan, e) < 0)
		return -1;
	memcpy(from, d->digest, STORE_DIGEST_LEN);
	rec->previous = from;
	rec->previous_start = rec->start;
	rec->previous_until_us = rotation_grace_until_us(rec, plan, c->now.wall_us, grace_us);
	rec->previous_used_us = 0;
	rec->changed_us = c->now.wall_us;
	rec->exposed_us = 0;
	rec->exposed_ways = 0;
	rec->exposed_addr = (struct span){NULL, 0};
	return ops_key_secret(c, d, key, start, e);
}

int
ops_life_rotate(struct ops_call *c, struct err *e)
{
	char key[TOKEN_MAX + 1] = "", start[TOKEN_START_MAX + 1] = "";
	uint8_t from[STORE_DIGEST_LEN] = {0};
	struct ops_draft *d = ops_draft_new(e);
	int64_t exposed_us;
	int rc = -1;

	if (d == NULL || ops_look_up(c, d, e) != 0)
		goto out;
	if (d->rec.state == KEYREC_REVOKED) {
		err_set(e, ERR_CONFLICT,
		    "key %s is revoked, and revocation is final; create a new key", d->rec.id);
		goto out;
	}
	exposed_us = d->rec.exposed_us;
	if (replace_secret(c, d, from, key, start, e) != 0 ||
	    store_key_rotate(c->ops->store, from, d->digest, &d->rec, e) != 0 ||
	    audit_rotation(c, &d->rec, exposed_us, e) != 0)
		goto out;
	ops_record_json(&d->rec, c->now.wall_us, c->result);
	if (ops_life_json(c, &d->rec, c->result, e) != 0)
		goto out;
	if (cJSON_AddStringToObject(c->result, "key", key) == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		goto out;
	}
	rc = 0;
out:
	secret_wipe(key, sizeof(key));
	secret_wipe(from, sizeof(from));
	ops_draft_free(d);
	return rc;
}

/* ---- the end of an old secret ---- */

static int
store_end(struct ops_call *c, struct ops_draft *d, int64_t from_us, struct err *e)
{
	struct span reason;

	if (ops_reason(c, &reason, e) != 0)
		return -1;
	return ops_record_store(
	    c, d, exposure_end_json(from_us, d->rec.previous_until_us, reason), e);
}

/* It is refused from now on; the key and its present secret stay.  One that has ended has ended. */
int
ops_life_end_old_secret(struct ops_call *c, struct err *e)
{
	struct ops_draft *d = ops_draft_new(e);
	int64_t from_us;
	int rc = -1;

	if (d == NULL || ops_look_up(c, d, e) != 0)
		goto out;
	if (d->rec.previous == NULL) {
		err_set(e, ERR_CONFLICT, "key %s has no old secret", d->rec.id);
		goto out;
	}
	from_us = d->rec.previous_until_us;
	if (rotation_end_grace(&d->rec, c->now.wall_us) && store_end(c, d, from_us, e) != 0)
		goto out;
	ops_record_json(&d->rec, c->now.wall_us, c->result);
	rc = ops_life_json(c, &d->rec, c->result, e);
out:
	ops_draft_free(d);
	return rc;
}
