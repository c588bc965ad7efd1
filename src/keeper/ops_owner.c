/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on owners: list, show, disable, enable.
 *
 * Run by ops.c.  An owner is there because keys name it; what is stored of it is that it is
 * switched off.  Listing and showing go by pages: an owner may have all the keys there are.
 *
 * Invariants: once disable is answered no check of any key of that owner is admitted, of those made
 * later neither; what is said of a key's own state is left as it is.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"

#define OWNERS_PAGE 100 /* in one list */

static int
out_of_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, "out of memory");
}

/* "disabled", and if so since when, by whom and why. */
static int
add_stop(struct ops_call *c, struct span owner, cJSON *o, struct err *e)
{
	struct store_stop stop;
	int rc = store_owner_stopped(c->ops->store, owner, &stop, e);

	if (rc < 0)
		return -1;
	cJSON_AddBoolToObject(o, "disabled", rc);
	json_add_time(o, "since", stop.since_us);
	if (rc == 0) {
		cJSON_AddNullToObject(o, "by");
		return cJSON_AddNullToObject(o, "reason") != NULL ? 0 : out_of_memory(e);
	}
	cJSON_AddStringToObject(o, "by", stop.by);
	if (stop.reason[0] == '\0')
		cJSON_AddNullToObject(o, "reason");
	else
		cJSON_AddStringToObject(o, "reason", stop.reason);
	return 0;
}

const char *
ops_owner_state(struct ops_call *c, const struct keyrec *rec, int *off, struct err *e)
{
	const char *own = keyrec_state_at(rec, c->now.wall_us);

	if ((*off = store_owner_stopped(c->ops->store, rec->owner, NULL, e)) < 0)
		return NULL;
	return *off && rec->state != KEYREC_REVOKED ? keyrec_state_name(KEYREC_DISABLED) : own;
}

int
ops_owner_json(struct ops_call *c, const struct keyrec *rec, cJSON *o, struct err *e)
{
	int off;
	const char *state = ops_owner_state(c, rec, &off, e);

	if (state == NULL)
		return -1;
	cJSON_AddBoolToObject(o, "owner_disabled", off);
	if (!off)
		return 0;
	cJSON_AddStringToObject(o, "own_state", keyrec_state_at(rec, c->now.wall_us));
	return cJSON_ReplaceItemInObjectCaseSensitive(o, "state", cJSON_CreateString(state))
		   ? 0
		   : out_of_memory(e);
}

/* The owner that the request names: of a form that one can have, at least. */
static int
need_owner(const struct ops_call *c, struct span *owner, struct err *e)
{
	const char *name = ops_need(c, "owner", e);

	if (name == NULL)
		return -1;
	*owner = span_of(name);
	return owner->len <= KEYREC_OWNER_MAX
		   ? 0
		   : err_set(e, ERR_INPUT, "\"owner\" is longer than %d bytes", KEYREC_OWNER_MAX);
}

/* ---- list ---- */

struct listing {
	struct ops_call *call;
	cJSON *owners;
	size_t found, max;
	char last[KEYREC_OWNER_MAX + 1];
};

static int
list_one(void *cookie, struct span owner, uint64_t keys, struct err *e)
{
	struct listing *l = cookie;
	cJSON *o;

	if (l->found == l->max || (l->found > 0 && clock_mono_us() >= l->call->page_until_us))
		return 1;
	if ((o = cJSON_CreateObject()) == NULL || !cJSON_AddItemToArray(l->owners, o)) {
		cJSON_Delete(o);
		return out_of_memory(e);
	}
	json_add_span(o, "owner", owner);
	cJSON_AddNumberToObject(o, "keys", (double)keys);
	cJSON_AddBoolToObject(o, "more_keys", keys == STORE_OWNER_KEYS_MAX);
	l->found++;
	if (span_copy(l->last, sizeof(l->last), owner) != 0)
		return err_set(e, ERR_INTERNAL, "an owner's name is too long");
	return add_stop(l->call, owner, o, e);
}

int
ops_owner_list(struct ops_call *c, struct err *e)
{
	struct listing l = {.call = c};
	const char *after = json_str(c->request, "after", e);
	int stopped = json_bool(c->request, "disabled", 0, e), rc;

	l.max = (size_t)json_int(c->request, "max", OWNERS_PAGE, 1, OWNERS_PAGE, e);
	if (e->code != ERR_NONE)
		return -1;
	if ((l.owners = cJSON_AddArrayToObject(c->result, "owners")) == NULL)
		return out_of_memory(e);
	rc = store_owners_walk(c->ops->store, span_of(after), stopped, list_one, &l, e);
	if (rc < 0)
		return -1;
	if (rc == 1)
		cJSON_AddStringToObject(c->result, "next", l.last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}

/* ---- show ---- */

struct showing {
	struct ops_call *call;
	cJSON *states, *members;
	size_t looked_at;
	char last[TOKEN_ID_LEN + 1];
};

static int
count_in(cJSON *o, const char *name, struct err *e)
{
	cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);

	if (n == NULL)
		n = cJSON_AddNumberToObject(o, name, 0);
	if (n == NULL)
		return out_of_memory(e);
	(void)cJSON_SetNumberHelper(n, n->valuedouble + 1);
	return 0;
}

static int
show_one(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct showing *s = cookie;
	char member[KEYREC_MEMBER_MAX + 1];

	(void)digest;
	if (ops_page_full(s->call, s->looked_at))
		return 1;
	if (count_in(s->states, keyrec_state_at(rec, s->call->now.wall_us), e) != 0)
		return -1;
	if (rec->member.len > 0 && span_copy(member, sizeof(member), rec->member) == 0 &&
	    count_in(s->members, member, e) != 0)
		return -1;
	s->looked_at++;
	memcpy(s->last, rec->id, sizeof(s->last));
	return 0;
}

/* The states and members of a page of its keys: who wants them all sums up. */
int
ops_owner_show(struct ops_call *c, struct err *e)
{
	struct showing s = {.call = c};
	const char *after = json_str(c->request, "after", e);
	struct span owner;
	uint64_t any;
	int rc, stopped;

	if (e->code != ERR_NONE || need_owner(c, &owner, e) != 0)
		return -1;
	if (after != NULL && after[0] != '\0' && !token_id_ok(span_of(after)))
		return err_set(e, ERR_INPUT, "\"after\" must be the id of a key");
	if ((stopped = store_owner_stopped(c->ops->store, owner, NULL, e)) < 0 ||
	    store_owner_keys(c->ops->store, owner, &any, e) != 0)
		return -1;
	if (any == 0 && !stopped)
		return err_set(
		    e, ERR_NOT_FOUND, "no key has this owner; apikey owner list shows all");
	json_add_span(c->result, "owner", owner);
	if (add_stop(c, owner, c->result, e) != 0)
		return -1;
	s.states = cJSON_AddObjectToObject(c->result, "states");
	s.members = cJSON_AddObjectToObject(c->result, "members");
	if (s.states == NULL || s.members == NULL)
		return out_of_memory(e);
	rc = store_owner_walk(c->ops->store, owner, span_of(after), show_one, &s, e);
	if (rc < 0)
		return -1;
	if (rc == 1)
		cJSON_AddStringToObject(c->result, "next", s.last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}

/* ---- disable, enable ---- */

static int
tell_owner(struct ops_call *c, struct span owner, cJSON *o, struct err *e)
{
	json_add_span(o, "owner", owner);
	return add_stop(c, owner, o, e);
}

/* Have it done: ${stop}, or on again when that is NULL. */
static int
switch_owner(struct ops_call *c, struct span owner, const struct store_stop *stop, struct err *e)
{
	struct store *store = c->ops->store;
	cJSON *before = cJSON_CreateObject();
	char subject[STORE_AUDIT_WORD_MAX + 1];
	uint64_t any;
	int done, rc = -1;

	if (store_owner_keys(store, owner, &any, e) != 0 || tell_owner(c, owner, before, e) != 0)
		goto out;
	done = stop != NULL && any == 0 ? 0
	       : stop != NULL		? store_owner_stop(store, owner, stop, e)
					: store_owner_resume(store, owner, e);
	if (done < 0)
		goto out;
	/* One that nobody has is a slip of the pen, and would be found out too late. */
	if (any == 0 && done == 0) {
		err_set(e, ERR_NOT_FOUND, "no key has this owner; apikey owner list shows all");
		goto out;
	}
	if (tell_owner(c, owner, c->result, e) != 0)
		goto out;
	if (done && span_copy(subject, sizeof(subject), owner) != 0)
		err_set(e, ERR_INTERNAL, "an owner's name is too long");
	else if (!done || ops_audit_change(c, subject, before, c->result, e) == 0)
		rc = 0;
out:
	cJSON_Delete(before);
	return rc;
}

int
ops_owner_disable(struct ops_call *c, struct err *e)
{
	struct store_stop stop = {.since_us = c->now.wall_us, .uid = (uint32_t)c->peer->uid};
	struct span owner, reason;

	if (need_owner(c, &owner, e) != 0 || ops_reason(c, &reason, e) != 0)
		return -1;
	if (span_copy(stop.reason, sizeof(stop.reason), reason) != 0)
		return err_set(e, ERR_INTERNAL, "a reason is too long");
	ops_who(c, stop.by, sizeof(stop.by));
	return switch_owner(c, owner, &stop, e);
}

int
ops_owner_enable(struct ops_call *c, struct err *e)
{
	struct span owner;

	return need_owner(c, &owner, e) == 0 ? switch_owner(c, owner, NULL, e) : -1;
}
