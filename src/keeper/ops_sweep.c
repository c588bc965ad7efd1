/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on many keys: disable those that nobody uses, purge those that were revoked long ago.
 *
 * Run inside a batch by ops.c.  A call looks at no more than OPS_PAGE_MAX records and changes no
 * more than CHANGES_MAX, so that the checks which wait behind it wait no more than a few
 * milliseconds; who asked continues behind "next".  A call is whole; a sweep that is broken off has
 * done what its calls have done, and one that is begun again goes on with the rest.
 *
 * Invariants: what a dry run tells is what the same call would do; each key that is changed has an
 * audit record of its own, in the same batch.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "keeper/uses.h"

#define CHANGES_MAX 16 /* some 30 us each */
#define OLDER_MAX_S (INT64_C(100) * 366 * 86400)

/* A page of keys that are to be changed.  The walk only gathers: it allows no writing. */
struct page {
	struct ops_filter filter;
	int64_t revoked_before_us; /* purge: keys revoked no later */
	size_t n, looked_at;
	struct {
		char id[TOKEN_ID_LEN + 1];
		uint8_t digest[STORE_DIGEST_LEN];
	} keys[CHANGES_MAX];
	char last[TOKEN_ID_LEN + 1];
};

/* One key of the page: what is done with it, and what is told of it (${o} and the audit trail). */
typedef int change_fn(struct ops_call *, struct ops_draft *, cJSON *o, struct err *);

static int
take(struct page *p, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, int fits)
{
	if (fits) {
		memcpy(p->keys[p->n].id, rec->id, sizeof(p->keys[p->n].id));
		memcpy(p->keys[p->n].digest, digest, STORE_DIGEST_LEN);
		p->n++;
	}
	p->looked_at++;
	memcpy(p->last, rec->id, sizeof(p->last));
	return 0;
}

static int
is_full(const struct page *p)
{
	return ops_page_full(p->filter.call, p->looked_at) || p->n == CHANGES_MAX;
}

static int
gather_unused(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct page *p = cookie;
	int fits = 0;

	if (is_full(p))
		return 1;
	if (rec->state == KEYREC_ACTIVE)
		fits = ops_filter_match(&p->filter, rec, e);
	return fits < 0 ? -1 : take(p, digest, rec, fits);
}

static int
gather_revoked(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct page *p = cookie;

	(void)e;
	if (is_full(p))
		return 1;
	return take(p, digest, rec,
	    rec->state == KEYREC_REVOKED && rec->revoked_us <= p->revoked_before_us);
}

/* What is told of a key that was changed. */
static int
tell(struct ops_call *c, const struct keyrec *rec, cJSON *o, struct err *e)
{
	struct store_use use;

	if (ops_life_used(c, rec, &use, e) != 0)
		return -1;
	cJSON_AddStringToObject(o, "id", rec->id);
	json_add_span(o, "owner", rec->owner);
	ops_add_text(o, "member", rec->member);
	ops_add_text(o, "name", rec->name);
	json_add_time(o, "created", rec->created_us);
	json_add_time(o, "last_used", use.used_us);
	json_add_time(o, "revoked", rec->revoked_us);
	return 0;
}

/* Change every key of the page; only told in a dry run. */
static int
change_page(struct ops_call *c, const struct page *p, change_fn *change, int dry_run, cJSON *list,
    struct err *e)
{
	struct ops_draft *d = ops_draft_new(e);
	int rc = d == NULL ? -1 : 0;

	for (size_t i = 0; rc == 0 && i < p->n; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		memcpy(d->digest, p->keys[i].digest, sizeof(d->digest));
		rc = store_key_get(c->ops->store, d->digest, d->stored, &d->rec, e) == 1 ? 0 : -1;
		if (rc == 0)
			rc = tell(c, &d->rec, o, e);
		if (rc == 0 && !dry_run)
			rc = change(c, d, o, e);
	}
	ops_draft_free(d);
	return rc;
}

/* ${more}: 1 when there are keys behind the page. */
static int
run_page(struct ops_call *c, const struct page *p, int more, change_fn *change, struct err *e)
{
	int dry_run = json_bool(c->request, "dry_run", 0, e);
	cJSON *list = cJSON_AddArrayToObject(c->result, "keys");

	if (e->code != ERR_NONE || more < 0)
		return -1;
	cJSON_AddBoolToObject(c->result, "dry_run", dry_run);
	cJSON_AddNumberToObject(c->result, "looked_at", (double)p->looked_at);
	if (more == 1)
		cJSON_AddStringToObject(c->result, "next", p->last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return change_page(c, p, change, dry_run, list, e);
}

/* ---- disable ---- */

static int
disable(struct ops_call *c, struct ops_draft *d, cJSON *o, struct err *e)
{
	cJSON *detail = cJSON_CreateObject(), *state = cJSON_AddObjectToObject(detail, "state");

	cJSON_AddStringToObject(state, "from", keyrec_state_name(d->rec.state));
	cJSON_AddStringToObject(state, "to", keyrec_state_name(KEYREC_DISABLED));
	cJSON_AddItemToObject(detail, "last_used",
	    cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(o, "last_used"), 1));
	cJSON_AddNumberToObject(
	    detail, "unused", (double)json_int(c->request, "unused", 0, 0, OLDER_MAX_S, NULL));
	d->rec.state = KEYREC_DISABLED;
	return ops_record_store(c, d, detail, e);
}

int
ops_sweep_disable(struct ops_call *c, struct err *e)
{
	struct page p = {.n = 0};

	if (ops_filter_read(&p.filter, c, e) != 0)
		return -1;
	if (p.filter.unused_us < 0)
		return err_set(e, ERR_USAGE, "%s needs \"unused\"", c->op->name);
	return run_page(c, &p, ops_filter_walk(&p.filter, gather_unused, &p, e), disable, e);
}

/* ---- purge ---- */

static int
purge(struct ops_call *c, struct ops_draft *d, cJSON *o, struct err *e)
{
	cJSON *detail = cJSON_Duplicate(o, 1);
	int rc;

	ops_add_text(detail, "reason", d->rec.reason);
	cJSON_DeleteItemFromObjectCaseSensitive(detail, "id");
	rc = store_key_delete(c->ops->store, d->digest, d->rec.id, e);
	if (rc == 0)
		rc = ops_audit(c, d->rec.id, detail, e);
	cJSON_Delete(detail);
	if (rc == 0)
		uses_forget(decide_uses(c->ops->decide), d->rec.id);
	return rc;
}

int
ops_sweep_purge(struct ops_call *c, struct err *e)
{
	int64_t keep_us = c->ops->config->revoked_retention_us;
	int64_t older_s = json_int(c->request, "older_than", -1, 0, OLDER_MAX_S, e);
	struct page p = {.filter.call = c};
	const char *after = json_str(c->request, "after", e);

	if (e->code != ERR_NONE)
		return -1;
	if (after != NULL && after[0] != '\0' && !token_id_ok(span_of(after)))
		return err_set(e, ERR_INPUT, "\"after\" must be the id of a key");
	p.revoked_before_us = c->now.wall_us - (older_s >= 0 ? older_s * CLOCK_SECOND : keep_us);
	return run_page(
	    c, &p, store_keys_walk(c->ops->store, span_of(after), gather_revoked, &p, e), purge, e);
}
