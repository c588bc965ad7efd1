/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations that look at keys: list, show, check.
 *
 * They write nothing.  A list looks at no more than OPS_PAGE_MAX records and stays below
 * OPS_REPLY_BYTES, so that the checks which wait behind it wait no more than a few milliseconds.
 *
 * Invariants: an id that is not of the form of one is never repeated in a message (somebody may
 * have pasted a key); the key of key.check is in no reply.
 */

#include <stdlib.h>

#include "keeper/ops_call.h"

#include "base/secret.h"

int
ops_look_up(struct ops_call *c, struct ops_draft *d, struct err *e)
{
	const char *id = ops_need(c, "id", e);
	int rc;

	if (id == NULL)
		return -1;
	if (!token_id_ok(span_of(id)))
		return err_set(e, ERR_INPUT,
		    "that is not the id of a key: an id is key_ and 16 letters or digits");
	if ((rc = store_key_find(c->ops->store, span_of(id), d->digest, e)) < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "there is no key %s", id);
	if ((rc = store_key_get(c->ops->store, d->digest, d->stored, &d->rec, e)) < 0)
		return -1;
	return rc == 1
		   ? 0
		   : err_set(e, ERR_CORRUPT, "the index names key %s, but there is no record", id);
}

/* ---- list ---- */

struct listing {
	struct ops_filter filter;
	cJSON *keys;
	size_t looked_at, found, max, bytes;
	char last[TOKEN_ID_LEN + 1];
};

static int
add_key(struct listing *l, const struct keyrec *rec, struct err *e)
{
	cJSON *o = cJSON_CreateObject();

	if (o == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	cJSON_AddItemToArray(l->keys, o);
	ops_record_json(rec, l->filter.call->now.wall_us, o);
	return ops_life_json(l->filter.call, rec, o, e);
}

static int
list_one(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct listing *l = cookie;
	int fits;

	(void)digest;
	if (ops_page_full(l->filter.call, l->looked_at) || l->found == l->max)
		return 1;
	if ((fits = ops_filter_match(&l->filter, rec, e)) < 0)
		return -1;
	if (fits) {
		size_t bytes = ops_record_bytes(rec);

		if (l->found > 0 && l->bytes + bytes > OPS_REPLY_BYTES)
			return 1;
		if (add_key(l, rec, e) != 0)
			return -1;
		l->bytes += bytes;
		l->found++;
	}
	l->looked_at++;
	memcpy(l->last, rec->id, sizeof(l->last));
	return 0;
}

int
ops_look_list(struct ops_call *c, struct err *e)
{
	struct listing l = {.looked_at = 0};
	int rc;

	if (ops_filter_read(&l.filter, c, e) != 0)
		return -1;
	l.max = (size_t)json_int(c->request, "max", OPS_PAGE_MAX, 1, OPS_PAGE_MAX, e);
	if (e->code != ERR_NONE)
		return -1;
	if ((l.keys = cJSON_AddArrayToObject(c->result, "keys")) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if ((rc = ops_filter_walk(&l.filter, list_one, &l, e)) < 0)
		return -1;
	cJSON_AddNumberToObject(c->result, "looked_at", (double)l.looked_at);
	if (rc == 1)
		cJSON_AddStringToObject(c->result, "next", l.last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}

/* ---- show ---- */

static void
add_usage(cJSON *result, const struct decide_usage *u)
{
	cJSON *list = cJSON_AddArrayToObject(result, "limits");

	for (size_t i = 0; i < u->plan.nlimits; i++) {
		const struct plan_limit *l = &u->plan.limits[i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "name", l->name);
		cJSON_AddNumberToObject(o, "limit", (double)l->max_units);
		ops_add_window(o, l->window_us);
		cJSON_AddNumberToObject(o, "used", (double)u->at[i].used);
		cJSON_AddNumberToObject(o, "remaining", (double)u->at[i].remaining);
		cJSON_AddNumberToObject(o, "reset", (double)ops_seconds(u->at[i].more_us));
		cJSON_AddBoolToObject(o, "dry_run", l->dry_run);
		cJSON_AddItemToArray(list, o);
	}
}

/* What the key holds in effect, and whose words that are. */
static void
add_held(cJSON *result, const struct keyrec *rec, const struct plan *plan)
{
	cJSON *held = cJSON_AddArrayToObject(result, "held_scopes"), *own;

	cJSON_ArrayForEach(own, cJSON_GetObjectItemCaseSensitive(result, "scopes"))
	    cJSON_AddItemToArray(held, cJSON_CreateString(own->valuestring));
	for (size_t i = 0; rec->nscopes == 0 && i < plan->nscopes; i++)
		cJSON_AddItemToArray(held, cJSON_CreateString(plan->scopes[i]));
	if (rec->nscopes > 0 || plan->nscopes > 0)
		cJSON_AddStringToObject(result, "scopes_from", rec->nscopes > 0 ? "key" : "plan");
	else
		cJSON_AddNullToObject(result, "scopes_from");
}

int
ops_look_show(struct ops_call *c, struct err *e)
{
	struct ops_draft *d = calloc(1, sizeof(*d));
	struct decide_usage usage;
	int rc = -1;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (ops_look_up(c, d, e) != 0 ||
	    decide_usage(c->ops->decide, &d->rec, &c->now, &usage, e) < 0)
		goto out;
	ops_record_json(&d->rec, c->now.wall_us, c->result);
	add_held(c->result, &d->rec, &usage.plan);
	add_usage(c->result, &usage);
	rc = ops_life_json(c, &d->rec, c->result, e);
out:
	secret_wipe(d->digest, sizeof(d->digest));
	free(d);
	return rc;
}

/* ---- check ---- */

/* "scopes" as a string or an array of them, into ${mem}. */
static int
needed_scopes(const cJSON *request, struct wbuf *w, struct span *out, struct err *e)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(request, "scopes"), *item;

	if (m == NULL || cJSON_IsNull(m))
		return 0;
	if (cJSON_IsString(m))
		wbuf_str(w, m->valuestring);
	else if (!cJSON_IsArray(m))
		return err_set(e, ERR_INPUT, "\"scopes\" must be a string or an array of strings");
	cJSON_ArrayForEach(item, m)
	{
		if (!cJSON_IsString(item))
			return err_set(
			    e, ERR_INPUT, "\"scopes\" must be a string or an array of strings");
		if (w->len > 0)
			wbuf_u8(w, ' ');
		wbuf_str(w, item->valuestring);
	}
	*out = wbuf_view(w);
	if (w->overflow || !scope_needed_list_ok(*out))
		return err_set(e, ERR_INPUT, "\"scopes\" names something that no route can need");
	return 0;
}

/* A text of the request, bounded as on the wire. */
static int
bounded(const cJSON *request, const char *name, size_t max, struct span *out, struct err *e)
{
	*out = span_of(json_str(request, name, e));
	if (e->code != ERR_NONE)
		return -1;
	return out->len <= max
		   ? 0
		   : err_set(e, ERR_INPUT, "\"%s\" is longer than %zu bytes", name, max);
}

static int
read_check(const struct ops_call *c, struct wire_check *q, struct wbuf *scopes, struct err *e)
{
	const cJSON *r = c->request;
	struct span ip, uri;

	if (bounded(r, "key", WIRE_CREDENTIAL_MAX, &q->credential, e) != 0 ||
	    bounded(r, "uri", WIRE_CHECK_MAX, &uri, e) != 0 ||
	    bounded(r, "method", WIRE_METHOD_MAX, &q->method, e) != 0 ||
	    bounded(r, "ip", NETADDR_TEXT_MAX, &ip, e) != 0 ||
	    bounded(r, "referrer", WIRE_REFERRER_MAX, &q->referrer, e) != 0 ||
	    bounded(r, "app", WIRE_APP_MAX, &q->app, e) != 0 ||
	    needed_scopes(r, scopes, &q->needed_scopes, e) != 0)
		return -1;
	q->cost = (uint32_t)json_int(r, "cost", 1, 0, LIMIT_COST_MAX, e);
	q->browser = json_bool(r, "browser", 0, e);
	if (e->code != ERR_NONE)
		return -1;
	if (ip.len > 0 && netaddr_parse(ip, &q->addr) != 0)
		return err_set(e, ERR_INPUT, "\"ip\" is not an address");
	q->has_addr = ip.len > 0;
	return 0;
}

/* Which key: "key" itself, or "id". */
static int
read_which(const struct ops_call *c, const char **id, struct err *e)
{
	const char *key = json_str(c->request, "key", e);

	*id = json_str(c->request, "id", e);
	if (e->code != ERR_NONE)
		return -1;
	if ((key == NULL || key[0] == '\0') == (*id == NULL))
		return err_set(e, ERR_USAGE, "%s needs \"key\" or \"id\"", c->op->name);
	if (*id != NULL && !token_id_ok(span_of(*id)))
		return err_set(e, ERR_INPUT,
		    "that is not the id of a key: an id is key_ and 16 letters or digits");
	return 0;
}

static void
add_step(void *cookie, const char *step, int passed, const char *detail)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "step", step);
	cJSON_AddBoolToObject(o, "passed", passed);
	if (detail != NULL && detail[0] != '\0')
		json_add_span(o, "detail", span_of(detail));
	else
		cJSON_AddNullToObject(o, "detail");
	cJSON_AddItemToArray(cookie, o);
}

/* A space-separated list as an array. */
static void
add_words(cJSON *o, const char *name, struct span list)
{
	cJSON *array = cJSON_AddArrayToObject(o, name);
	char text[SCOPE_MAX + 1];
	struct span word;

	while (span_word(&list, &word))
		if (span_copy(text, sizeof(text), word) == 0)
			cJSON_AddItemToArray(array, cJSON_CreateString(text));
}

static void
add_identity(cJSON *o, const struct wire_answer *a)
{
	if (a->id.len == 0)
		return;
	json_add_span(o, "id", a->id);
	json_add_span(o, "owner", a->owner);
	json_add_span(o, "plan", a->plan);
	add_words(o, "scopes", a->scopes);
}

/* Whole seconds, -1 for never. */
static double
wait_seconds(int64_t us)
{
	return us < 0 ? -1 : (double)ops_seconds(us);
}

/* Of each limit that was reached: what is used, what would be left, and when it would have room. */
static void
add_figures(cJSON *result, const struct wire_answer *a, const struct decide_limits *l)
{
	cJSON *list = cJSON_AddArrayToObject(result, "limits");

	for (size_t i = 0; i < l->plan.nlimits; i++) {
		const struct plan_limit *limit = &l->plan.limits[i];
		uint64_t remaining = l->at[i].remaining;
		int64_t more_us = l->at[i].more_us;
		cJSON *o = cJSON_CreateObject();

		/* After this request, where it is told to its client. */
		for (size_t j = 0; j < a->nlimits; j++) {
			if (strcmp(a->limits[j].name, limit->name) == 0) {
				remaining = a->limits[j].remaining;
				more_us = a->limits[j].more_us;
			}
		}
		cJSON_AddStringToObject(o, "name", limit->name);
		cJSON_AddNumberToObject(o, "limit", (double)limit->max_units);
		ops_add_window(o, limit->window_us);
		cJSON_AddNumberToObject(o, "used", (double)l->at[i].used);
		cJSON_AddNumberToObject(o, "remaining", (double)remaining);
		cJSON_AddNumberToObject(o, "reset", (double)ops_seconds(more_us));
		cJSON_AddBoolToObject(o, "dry_run", limit->dry_run);
		cJSON_AddBoolToObject(o, "room", l->fits[i]);
		cJSON_AddNumberToObject(
		    o, "retry_after", l->fits[i] ? 0 : wait_seconds(l->at[i].retry_us));
		cJSON_AddItemToArray(list, o);
	}
	if (a->verdict != VERDICT_RATE_LIMITED)
		cJSON_AddNullToObject(result, "retry_after");
	else
		cJSON_AddNumberToObject(result, "retry_after", wait_seconds(a->retry_us));
}

static void
add_or_null(cJSON *o, const char *name, const char *s)
{
	if (s != NULL)
		cJSON_AddStringToObject(o, name, s);
	else
		cJSON_AddNullToObject(o, name);
}

int
ops_look_check(struct ops_call *c, struct err *e)
{
	char mem[SCOPE_LIST_MAX];
	struct decide_watch watch = {.trace = add_step};
	const struct verdict_info *v;
	struct wire_check q = {0};
	struct wire_answer a;
	struct wbuf scopes;
	cJSON *steps;
	int rc = -1;

	wbuf_init(&scopes, mem, sizeof(mem));
	if (read_which(c, &watch.id, e) != 0 || read_check(c, &q, &scopes, e) != 0)
		return -1;
	if ((watch.cookie = steps = cJSON_CreateArray()) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (decide_explain(c->ops->decide, &q, &c->now, &a, &watch, e) != 0)
		goto out;
	if (watch.id != NULL && a.id.len == 0 && a.verdict == VERDICT_KEY_INVALID) {
		err_set(e, ERR_NOT_FOUND, "there is no key %s", watch.id);
		goto out;
	}
	v = verdict_info(a.verdict);
	cJSON_AddStringToObject(c->result, "code", v->code);
	cJSON_AddNumberToObject(c->result, "status", v->status);
	add_or_null(c->result, "title", v->title);
	add_or_null(c->result, "detail",
	    v->secret_detail != NULL && a.rotate_by_us != 0 ? v->secret_detail : v->detail);
	json_add_time(c->result, "rotate_by", a.rotate_by_us);
	add_identity(c->result, &a);
	cJSON_AddItemToObject(c->result, "steps", steps);
	steps = NULL;
	add_figures(c->result, &a, &watch.limits);
	rc = 0;
out:
	cJSON_Delete(steps);
	return rc;
}
