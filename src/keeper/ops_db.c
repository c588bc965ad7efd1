/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on the store as a whole: its figures, holding still for a backup, compacting.
 *
 * Run by ops.c.  Each call is bounded in time, whatever the store's size: the tool asks again until
 * there is nothing left.
 *
 * Invariant: a hold ends by itself, so that a tool that is killed leaves nothing behind, and so does
 * one that is renewed for ever (store_hold).
 */

#include "keeper/ops_call.h"

#include "base/clock.h"

#define HOLD_MAX_SECONDS 600

static int
uptime(const struct ops_call *c, const struct store_stat *st, cJSON *o)
{
	int64_t us = c->now.wall_us - st->opened_us;

	return cJSON_AddNumberToObject(o, "uptime", us > 0 ? (double)(us / CLOCK_SECOND) : 0) !=
	       NULL;
}

int
ops_db_stat(struct ops_call *c, struct err *e)
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

int
ops_db_hold(struct ops_call *c, struct err *e)
{
	int64_t seconds = json_int(c->request, "seconds", 0, 0, HOLD_MAX_SECONDS, e);
	struct store_moment moment;
	int ready;

	if (e->code != ERR_NONE)
		return -1;
	ready = store_hold(c->ops->store, seconds * CLOCK_SECOND, &moment);
	if (cJSON_AddBoolToObject(c->result, "ready", ready) == NULL ||
	    cJSON_AddNumberToObject(c->result, "opened_us", (double)moment.opened_us) == NULL ||
	    cJSON_AddNumberToObject(c->result, "checkpoints", (double)moment.checkpoints) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	return 0;
}

/* One slice; "next" is where to go on, null at the end. */
int
ops_db_compact(struct ops_call *c, struct err *e)
{
	const char *next = json_str(c->request, "next", e);
	char place[STORE_COMPACT_PLACE_MAX] = "";
	uint64_t pages = 0;
	int rc;

	if (e->code != ERR_NONE)
		return -1;
	if (next != NULL && span_copy(place, sizeof(place), span_of(next)) != 0)
		return err_set(e, ERR_INPUT, "\"next\" is none that was told");
	if ((rc = store_compact(c->ops->store, place, sizeof(place), &pages, e)) < 0)
		return -1;
	cJSON_AddNumberToObject(c->result, "pages", (double)pages);
	if (rc == 1)
		cJSON_AddNullToObject(c->result, "next");
	else
		cJSON_AddStringToObject(c->result, "next", place);
	return 0;
}
