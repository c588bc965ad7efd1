/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on neither keys nor plans: ping, the audit trail, the store's figures.
 *
 * Run by ops.c.  All are bounded in time, whatever the store's size.
 */

#include <unistd.h>

#include "keeper/ops_call.h"

#include "base/clock.h"

int
ops_misc_ping(struct ops_call *c, struct err *e)
{
	if (cJSON_AddNumberToObject(c->result, "pid", getpid()) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	json_add_time(c->result, "time", c->now.wall_us);
	return 0;
}

/* ---- audit ---- */

struct reading {
	struct ops_call *call;
	cJSON *entries;
	const char *key;
	size_t looked_at, found, max, bytes;
	uint64_t last;
};

static cJSON *
entry_json(const struct store_audit *a)
{
	cJSON *o = cJSON_CreateObject(), *detail;

	cJSON_AddNumberToObject(o, "seq", (double)a->seq);
	json_add_time(o, "time", a->when_us);
	if (a->uid == UINT32_MAX)
		cJSON_AddNullToObject(o, "uid");
	else
		cJSON_AddNumberToObject(o, "uid", a->uid);
	json_add_span(o, "actor", a->actor);
	json_add_span(o, "op", a->op);
	json_add_span(o, "subject", a->subject);
	if ((detail = json_parse_object(a->detail, NULL)) == NULL)
		detail = cJSON_CreateObject();
	cJSON_AddItemToObject(o, "detail", detail);
	return o;
}

static int
read_one(void *cookie, const struct store_audit *a, struct err *e)
{
	struct reading *r = cookie;
	size_t bytes = 500 + 2 * (a->detail.len + a->actor.len + a->subject.len);

	(void)e;
	if (r->looked_at == OPS_PAGE_MAX || r->found == r->max)
		return 1;
	if (r->key == NULL || span_is(a->subject, r->key)) {
		if (r->found > 0 && r->bytes + bytes > OPS_REPLY_BYTES)
			return 1;
		cJSON_AddItemToArray(r->entries, entry_json(a));
		r->bytes += bytes;
		r->found++;
	}
	r->looked_at++;
	r->last = a->seq;
	return 0;
}

int
ops_misc_audit_list(struct ops_call *c, struct err *e)
{
	const cJSON *q = c->request;
	struct reading r = {.call = c};
	const char *since = json_str(q, "since", e);
	uint64_t after = (uint64_t)json_int(q, "after", 0, 0, INT64_C(1) << 52, e), from = 0;
	int64_t since_us;
	int rc;

	r.key = json_str(q, "key", e);
	r.max = (size_t)json_int(q, "max", OPS_PAGE_MAX, 1, OPS_PAGE_MAX, e);
	if (e->code != ERR_NONE)
		return -1;
	if (since != NULL) {
		if (clock_rfc3339_parse(since, &since_us) != 0)
			return err_set(e, ERR_INPUT,
			    "\"since\" must be a time such as \"2027-01-31T12:00:00Z\"");
		if (store_audit_seek(c->ops->store, since_us, &from, e) < 0)
			return -1;
	}
	if ((r.entries = cJSON_AddArrayToObject(c->result, "entries")) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	rc = store_audit_walk(c->ops->store, after > from ? after : from, read_one, &r, e);
	if (rc < 0)
		return -1;
	if (rc == 1)
		cJSON_AddNumberToObject(c->result, "next", (double)r.last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}
