/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on neither keys nor plans: ping, peppers, the audit trail, the store's figures.
 *
 * Run by ops.c.  All are bounded in time, whatever the store's size.
 *
 * Invariants: of a pepper only its version is told; peppers that do not load replace nothing.
 */

#include <unistd.h>

#include "keeper/fingerprints.h"
#include "keeper/ops_call.h"

#include "base/clock.h"

/* Keys counted by pepper: beyond it the counts are null, so that no check waits for them. */
#define COUNT_KEYS_MAX 2000

static int
uptime(const struct ops_call *c, const struct store_stat *st, cJSON *o)
{
	int64_t us = c->now.wall_us - st->opened_us;

	return cJSON_AddNumberToObject(o, "uptime", us > 0 ? (double)(us / CLOCK_SECOND) : 0) !=
	       NULL;
}

int
ops_misc_ping(struct ops_call *c, struct err *e)
{
	if (cJSON_AddNumberToObject(c->result, "pid", getpid()) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	json_add_time(c->result, "time", c->now.wall_us);
	return 0;
}

/* ---- peppers ---- */

struct counting {
	struct peppers *peppers;
	uint64_t all, by_version[PEPPERS_MAX];
};

static int
count_one(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	struct counting *n = cookie;

	(void)digest;
	(void)e;
	if (n->all++ == COUNT_KEYS_MAX)
		return 1;
	for (size_t i = 0; i < peppers_count(n->peppers); i++) {
		if (peppers_version(n->peppers, i) == rec->pepper)
			n->by_version[i]++;
	}
	return 0;
}

int
ops_misc_pepper_list(struct ops_call *c, struct err *e)
{
	struct counting n = {.peppers = *c->ops->peppers};
	cJSON *list;
	int more;

	if (n.peppers == NULL)
		return err_set(e, ERR_NOT_FOUND, "there is no pepper yet; run: apikey pepper add");
	more = store_keys_walk(c->ops->store, (struct span){NULL, 0}, count_one, &n, e);
	if (more < 0)
		return -1;
	list = cJSON_AddArrayToObject(c->result, "peppers");
	for (size_t i = 0; i < peppers_count(n.peppers); i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddNumberToObject(o, "version", peppers_version(n.peppers, i));
		if (more == 1)
			cJSON_AddNullToObject(o, "keys");
		else
			cJSON_AddNumberToObject(o, "keys", (double)n.by_version[i]);
		cJSON_AddBoolToObject(o, "newest", i == 0);
		cJSON_AddItemToArray(list, o);
	}
	return 0;
}

int
ops_misc_pepper_reload(struct ops_call *c, struct err *e)
{
	const char *file = c->ops->config->pepper_file;
	cJSON *detail;
	int rc;

	if ((c->fresh_peppers = peppers_load(file, e)) == NULL ||
	    fingerprints_check(c->ops->store, c->fresh_peppers, file, e) != 0)
		return -1;
	cJSON_AddNumberToObject(c->result, "peppers", (double)peppers_count(c->fresh_peppers));
	cJSON_AddNumberToObject(c->result, "newest", peppers_version(c->fresh_peppers, 0));
	if ((detail = cJSON_Duplicate(c->result, 1)) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	rc = ops_audit(c, "", detail, e);
	cJSON_Delete(detail);
	return rc;
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

/* ---- the store ---- */

int
ops_misc_db_stat(struct ops_call *c, struct err *e)
{
	struct store_stat st;
	const struct {
		const char *name;
		const uint64_t *at;
	} figures[] = {{"keys", &st.keys}, {"plans", &st.plans}, {"logs", &st.logs},
	    {"blocks", &st.blocks}, {"audit", &st.audit}, {"data_bytes", &st.data_bytes},
	    {"wal_bytes", &st.wal_bytes}, {"free_bytes", &st.free_bytes},
	    {"cache_bytes", &st.cache_bytes}, {"cache_hits", &st.cache_hits},
	    {"cache_misses", &st.cache_misses}, {"cache_dirty_pages", &st.cache_dirty_pages},
	    {"commits", &st.commits}, {"aborts", &st.aborts}, {"checkpoints", &st.checkpoints}};

	if (store_stat(c->ops->store, &st, e) != 0)
		return -1;
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		cJSON_AddNumberToObject(c->result, figures[i].name, (double)*figures[i].at);
	cJSON_AddNumberToObject(c->result, "format", st.format);
	json_add_time(c->result, "opened", st.opened_us);
	cJSON_AddNumberToObject(c->result, "recovery_us", (double)st.recovery_us);
	json_add_span(c->result, "engine", span_of(st.engine));
	if (!uptime(c, &st, c->result))
		return err_set(e, ERR_SYSTEM, "out of memory");
	return 0;
}
