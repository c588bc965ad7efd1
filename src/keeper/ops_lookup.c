/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * key.lookup: which of these keys are known here, and what are they good for?  For whoever found
 * keys where none should be (`apikey scan`).
 *
 * Run by ops.c.  It reads only.  A page is as long as checks may wait: the answer is about the
 * first of the keys, and whoever asks goes on with those behind them.
 *
 * Invariants: of a key that is known the id and the state are told, of one that is not nothing; no
 * key and no digest is in a reply or a message; a secret that was replaced is not taken for the
 * present one.
 */

#include <stdlib.h>

#include "keeper/found.h"
#include "keeper/ops_call.h"

/*
 * The state is that which the gate sees.  An older secret of a key that is good is "replaced", and
 * good until then, if at all.
 */
static cJSON *
describe(struct ops_call *c, const struct found *k, struct err *e)
{
	int64_t now_us = c->now.wall_us;
	enum keyrec_now now = keyrec_now(&k->rec, now_us);
	int off, replaced = k->match.which != ROTATION_PRESENT && now != KEYREC_NOW_REVOKED &&
			    now != KEYREC_NOW_EXPIRED;
	const char *state = ops_owner_state(c, &k->rec, &off, e);
	int64_t by_us;
	cJSON *o;

	if (state == NULL || (o = cJSON_CreateObject()) == NULL)
		return NULL;
	cJSON_AddStringToObject(o, "id", k->rec.id);
	cJSON_AddStringToObject(o, "state", replaced ? "replaced" : state);
	/* No plan makes an older secret good for longer. */
	if (replaced &&
	    rotation_judge(&k->rec, NULL, k->match.which, now_us, &by_us) == ROTATION_GOOD)
		json_add_time(o, "until", by_us);
	else
		cJSON_AddNullToObject(o, "until");
	return o;
}

/* What is known of a key: an object, or null.  NULL and ${e}. */
static cJSON *
look_up(struct ops_call *c, struct found *k, struct span key, struct err *e)
{
	int rc = found_by_credential(k, c->ops->store, *c->ops->peppers, key, e);
	cJSON *o = NULL;

	if (rc == 0)
		o = cJSON_CreateNull();
	else if (rc == 1)
		o = describe(c, k, e);
	found_forget(k);
	return o;
}

static int
look_up_page(struct ops_call *c, struct found *k, const cJSON *keys, cJSON *to, struct err *e)
{
	const cJSON *item;
	size_t n = 0;
	cJSON *o;

	cJSON_ArrayForEach(item, keys)
	{
		struct span key = span_of(cJSON_GetStringValue(item));

		if (ops_page_full(c, n++))
			break;
		if (key.len == 0 || key.len > WIRE_CREDENTIAL_MAX)
			return err_set(e, ERR_INPUT, "\"keys\" must be strings of 1 to %d bytes",
			    WIRE_CREDENTIAL_MAX);
		if ((o = look_up(c, k, key, e)) == NULL)
			return e->code != ERR_NONE ? -1 : err_set(e, ERR_SYSTEM, "out of memory");
		cJSON_AddItemToArray(to, o);
	}
	return 0;
}

int
ops_lookup(struct ops_call *c, struct err *e)
{
	const cJSON *keys = json_array(c->request, "keys", e);
	struct found *k;
	cJSON *to;
	int rc;

	if (e->code != ERR_NONE)
		return -1;
	if (keys == NULL || cJSON_GetArraySize(keys) > OPS_PAGE_MAX)
		return err_set(
		    e, ERR_USAGE, "key.lookup needs \"keys\", at most %d of them", OPS_PAGE_MAX);
	if (*c->ops->peppers == NULL)
		return err_set(
		    e, ERR_UNAVAILABLE, "there is no pepper yet; run: apikey pepper add");
	if ((k = malloc(sizeof(*k))) == NULL ||
	    (to = cJSON_AddArrayToObject(c->result, "keys")) == NULL) {
		free(k);
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	rc = look_up_page(c, k, keys, to, e);
	free(k);
	return rc;
}
