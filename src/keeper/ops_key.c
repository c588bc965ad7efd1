/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations that change keys: create, set, disable, enable, revoke.
 *
 * Run inside a batch by ops.c.
 *
 * Invariants: a key is in a reply once, when it is made, and nowhere else; a revocation is never
 * undone; what leaves everything as it was succeeds and leaves no audit record.
 */

#include <stdlib.h>

#include "keeper/ops_call.h"

#include "base/secret.h"

struct ops_draft *
ops_draft_new(struct err *e)
{
	struct ops_draft *d = calloc(1, sizeof(*d));

	if (d == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	return d;
}

void
ops_draft_free(struct ops_draft *d)
{
	if (d != NULL)
		secret_wipe(d->digest, sizeof(d->digest));
	free(d);
}

int
ops_key_env(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	const char *s = json_str(c->request, "env", e);
	int env = TOKEN_LIVE;

	if (e->code != ERR_NONE)
		return -1;
	if (s != NULL && (env = token_env_parse(span_of(s))) < 0)
		return err_set(e, ERR_INPUT, "\"env\" must be \"live\" or \"test\"");
	rec->env = (enum token_env)env;
	return 0;
}

int
ops_key_secret(const struct ops_call *c, struct ops_draft *d, char key[TOKEN_MAX + 1],
    char start[TOKEN_START_MAX + 1], struct err *e)
{
	struct peppers *p = *c->ops->peppers;

	if (p == NULL || peppers_count(p) == 0)
		return err_set(
		    e, ERR_UNAVAILABLE, "there is no pepper yet; run: apikey pepper add");
	if (token_generate(c->ops->config->key_prefix, d->rec.env, key, e) != 0)
		return -1;
	token_start(span_of(key), start);
	d->rec.start = span_of(start);
	d->rec.digest_of = KEYREC_OF_KEY;
	d->rec.secret_us = c->now.wall_us;
	d->rec.pepper = peppers_version(p, 0);
	if (peppers_digest(p, 0, span_of(key), d->digest) != 0)
		return err_set(e, ERR_SYSTEM, "cannot make the digest of the key");
	return 0;
}

/* The secret of a new key: one that is made here (${key} is not empty then), or that of another
 * system. */
static int
first_secret(const struct ops_call *c, struct ops_draft *d, char key[TOKEN_MAX + 1],
    char start[TOKEN_START_MAX + 1], struct err *e)
{
	char there[TOKEN_ID_LEN + 1];
	int rc;

	if (cJSON_GetObjectItemCaseSensitive(c->request, "digest") == NULL) {
		if (cJSON_GetObjectItemCaseSensitive(c->request, "start") != NULL)
			return err_set(e, ERR_USAGE,
			    "the visible start of a key that is made here is its own");
		return ops_key_secret(c, d, key, start, e);
	}
	if ((rc = ops_import_secret(c, d, there, e)) == 1)
		return err_set(e, ERR_CONFLICT, "the same key is there already, as %s", there);
	return rc;
}

int
ops_key_create(struct ops_call *c, struct err *e)
{
	char key[TOKEN_MAX + 1] = "", start[TOKEN_START_MAX + 1] = "";
	struct ops_draft *d;
	int rc = -1;

	if (ops_need(c, "owner", e) == NULL || (d = ops_draft_new(e)) == NULL)
		return -1;
	d->rec.state = KEYREC_ACTIVE;
	d->rec.created_us = d->rec.changed_us = c->now.wall_us;
	if (ops_key_env(c, &d->rec, e) != 0 || token_id_generate(d->rec.id, e) != 0 ||
	    first_secret(c, d, key, start, e) != 0 || ops_record_apply(c, d, e) < 0)
		goto out;
	ops_record_json(&d->rec, c->now.wall_us, c->result);
	if (store_key_insert(c->ops->store, d->digest, &d->rec, e) != 0 ||
	    ops_audit_change(c, d->rec.id, NULL, c->result, e) != 0)
		goto out;
	if (ops_life_json(c, &d->rec, c->result, e) != 0)
		goto out;
	if (key[0] != '\0' && cJSON_AddStringToObject(c->result, "key", key) == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		goto out;
	}
	rc = 0;
out:
	secret_wipe(key, sizeof(key));
	ops_draft_free(d);
	return rc;
}

/* The key as admins see it, before it is changed; the caller's. */
static cJSON *
as_it_was(const struct ops_call *c, const struct keyrec *rec)
{
	cJSON *o = cJSON_CreateObject();

	ops_record_json(rec, c->now.wall_us, o);
	return o;
}

/* Store the changed record, tell the trail what is different, and show it. */
static int
store_change(struct ops_call *c, struct ops_draft *d, const cJSON *before, struct err *e)
{
	if (store_key_update(c->ops->store, d->digest, &d->rec, e) != 0)
		return -1;
	ops_record_json(&d->rec, c->now.wall_us, c->result);
	if (ops_audit_change(c, d->rec.id, before, c->result, e) != 0)
		return -1;
	return ops_life_json(c, &d->rec, c->result, e);
}

int
ops_key_set(struct ops_call *c, struct err *e)
{
	struct ops_draft *d = ops_draft_new(e);
	cJSON *before = NULL;
	int given, rc = -1;

	if (d == NULL || ops_look_up(c, d, e) != 0)
		goto out;
	if (d->rec.state == KEYREC_REVOKED) {
		err_set(e, ERR_CONFLICT,
		    "key %s is revoked, and revocation is final; create a new key", d->rec.id);
		goto out;
	}
	before = as_it_was(c, &d->rec);
	if ((given = ops_record_apply(c, d, e)) < 0)
		goto out;
	if (given == 0) {
		err_set(e, ERR_USAGE, "key.set needs at least one thing to set");
		goto out;
	}
	d->rec.changed_us = c->now.wall_us;
	rc = store_change(c, d, before, e);
out:
	cJSON_Delete(before);
	ops_draft_free(d);
	return rc;
}

static int
revoke(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	const char *reason = json_str(c->request, "reason", e);

	if (e->code != ERR_NONE)
		return -1;
	rec->reason = span_of(reason);
	rec->revoked_us = c->now.wall_us;
	return 0;
}

/* Bring a key into a state; one that is in it already stays as it is. */
static int
change_state(struct ops_call *c, enum keyrec_state state, struct err *e)
{
	struct ops_draft *d = ops_draft_new(e);
	cJSON *before = NULL;
	int rc = -1;

	if (d == NULL || ops_look_up(c, d, e) != 0)
		goto out;
	if (d->rec.state == state) {
		ops_record_json(&d->rec, c->now.wall_us, c->result);
		rc = ops_life_json(c, &d->rec, c->result, e);
		goto out;
	}
	if (d->rec.state == KEYREC_REVOKED) {
		err_set(e, ERR_CONFLICT,
		    "key %s is revoked, and revocation is final; create a new key", d->rec.id);
		goto out;
	}
	before = as_it_was(c, &d->rec);
	if (state == KEYREC_REVOKED && revoke(c, &d->rec, e) != 0)
		goto out;
	/* Why it was disabled, if it was for a reason. */
	if (state == KEYREC_ACTIVE)
		d->rec.reason = (struct span){NULL, 0};
	d->rec.state = state;
	d->rec.changed_us = c->now.wall_us;
	if (keyrec_check(&d->rec, e) == 0)
		rc = store_change(c, d, before, e);
out:
	cJSON_Delete(before);
	ops_draft_free(d);
	return rc;
}

int
ops_key_disable(struct ops_call *c, struct err *e)
{
	return change_state(c, KEYREC_DISABLED, e);
}

int
ops_key_enable(struct ops_call *c, struct err *e)
{
	return change_state(c, KEYREC_ACTIVE, e);
}

int
ops_key_revoke(struct ops_call *c, struct err *e)
{
	return change_state(c, KEYREC_REVOKED, e);
}
