/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What limits in dry run would have refused, as entries of the audit trail.
 *
 * Belongs to the decision in the keeper, which calls it for an admitted request that such a limit
 * has no room for.  It decides nothing.
 *
 * When a key (or owner) and limit were reported last is kept in a table of fixed size.  The trail
 * itself outlives the keeper: its newest DRYRUNS_READ_MAX entries are read back before the first
 * report after a start, so nothing is stored twice and a request whose limits have room pays
 * nothing.  Their times are the wall clock's; one that was set while no keeper ran can make one
 * report come early or late, by no more than a window.
 *
 * Invariants: an entry is in the batch that counts the request, and what a batch that failed has
 * reported is forgotten; no second report of the same in one window, as long as no more than some
 * thousand of them are in their windows (SETS * WAYS is what the table holds) and, after a start,
 * none is more than DRYRUNS_READ_MAX entries back.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/dryruns.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "keeper/trail.h"

#define SETS 1024 /* a power of two */
#define WAYS 8
#define DETAIL_MAX 512
#define NEVER INT64_MIN

/* Who was reported for what.  Key ids and names of owners are told apart: an owner may have any. */
struct who {
	enum plan_per per;
	struct span subject;
	const char *log;
};

struct entry {
	uint64_t batch; /* that it was reported in; 0: free */
	int64_t last_us;
	int64_t before_us; /* the time before, if that batch fails; NEVER: none */
	enum plan_per per;
	char subject[STORE_AUDIT_WORD_MAX + 1];
	char log[LIMIT_LOG_MAX + 1];
};

struct dryruns {
	int loaded;
	int wrote;	/* the open batch has entries */
	uint64_t batch; /* its number */
	struct entry at[SETS][WAYS];
};

struct dryruns *
dryruns_new(struct err *e)
{
	/* The kernel gives the pages that are written: without dry runs it costs nothing. */
	struct dryruns *d = calloc(1, sizeof(*d));

	if (d == NULL)
		err_set(e, ERR_SYSTEM, "out of memory");
	else
		d->batch = 2; /* what is read back is of the one before */
	return d;
}

void
dryruns_free(struct dryruns **dp)
{
	free(*dp);
	*dp = NULL;
}

static uint32_t
mix(uint32_t hash, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (uint8_t)s.p[i]) * 16777619U;
	return hash;
}

/* FNV-1a: key ids are random, owners and limits are named by admins. */
static struct entry *
set_of(struct dryruns *d, const struct who *w)
{
	uint32_t hash = mix(mix(2166136261U, w->subject), span_of(w->log));

	return d->at[(hash ^ hash >> 15) & (SETS - 1)];
}

static int
is_of(const struct entry *en, const struct who *w)
{
	return en->batch != 0 && en->per == w->per && span_is(w->subject, en->subject) &&
	       strcmp(en->log, w->log) == 0;
}

static const struct entry *
find(struct dryruns *d, const struct who *w)
{
	const struct entry *set = set_of(d, w);

	for (size_t i = 0; i < WAYS; i++)
		if (is_of(&set[i], w))
			return &set[i];
	return NULL;
}

/* The one reported longest ago makes room. */
static void
keep(struct dryruns *d, const struct who *w, int64_t now_us)
{
	struct entry *set = set_of(d, w), *to = &set[0];
	int64_t before_us = NEVER;

	for (size_t i = 0; i < WAYS && !is_of(to, w); i++)
		if (is_of(&set[i], w) || set[i].batch == 0 ||
		    (to->batch != 0 && set[i].last_us < to->last_us))
			to = &set[i];
	if (is_of(to, w) && to->batch != d->batch)
		before_us = to->last_us;
	else if (is_of(to, w))
		before_us = to->before_us;
	*to = (struct entry){
	    .batch = d->batch, .last_us = now_us, .before_us = before_us, .per = w->per};
	if (span_copy(to->subject, sizeof(to->subject), w->subject) != 0 ||
	    span_copy(to->log, sizeof(to->log), span_of(w->log)) != 0)
		to->batch = 0;
}

/* ---- reading the trail back ---- */

struct loading {
	struct dryruns *dryruns;
	int64_t wall_us, steady_us;
};

static int
load_one(void *cookie, const struct store_audit *a, struct err *e)
{
	struct loading *l = cookie;
	int64_t age_us = l->wall_us > a->when_us ? l->wall_us - a->when_us : 0;
	const char *log;
	struct who w;
	cJSON *detail;

	(void)e;
	if (!span_is(a->op, DRYRUNS_OP) || (detail = json_parse_object(a->detail, NULL)) == NULL)
		return 0;
	if ((log = json_str(detail, "log", NULL)) == NULL)
		log = json_str(detail, "limit", NULL);
	if (log != NULL) {
		w = (struct who){.subject = a->subject, .log = log};
		w.per = cJSON_HasObjectItem(detail, "key") ? PLAN_PER_OWNER : PLAN_PER_KEY;
		keep(l->dryruns, &w, l->steady_us - age_us);
	}
	cJSON_Delete(detail);
	return 0;
}

/* A trail that cannot be read refuses nobody: it is reported anew. */
static void
load(struct dryruns *d, struct store *store, int64_t wall_us, int64_t steady_us)
{
	struct loading l = {.dryruns = d, .wall_us = wall_us, .steady_us = steady_us};
	uint64_t last = store_audit_last(store);
	struct err e = {0};

	d->loaded = 1;
	d->batch--;
	if (store_audit_walk(
		store, last > DRYRUNS_READ_MAX ? last - DRYRUNS_READ_MAX : 0, load_one, &l, &e) < 0)
		log_event(LOG_LVL_ERROR, "audit_unreadable", "error", e.msg, NULL);
	d->batch++;
}

/* ---- reporting ---- */

/* Names are identifiers, so that nothing needs escaping. */
static int
write_entry(struct store *store, const struct who *w, const struct limits_look *look, size_t i,
    const struct keyrec *rec, int64_t wall_us, struct err *e)
{
	const struct plan_limit *l = &look->plan->limits[i];
	int per_owner = w->per == PLAN_PER_OWNER, renamed = strcmp(l->name, w->log) != 0, n;
	char detail[DETAIL_MAX], window[32];
	struct trail_event ev = {
	    .wall_us = wall_us, .op = DRYRUNS_OP, .subject = w->subject, .detail = detail};

	clock_duration_format(l->window_us, window, sizeof(window));
	n = snprintf(detail, sizeof(detail),
	    "{\"plan\":\"%s\",\"limit\":\"%s\"%s%s%s,\"units\":%llu,\"window\":\"%s\","
	    "\"used\":%llu,\"cost\":%u%s%s%s}",
	    look->plan->name, l->name, renamed ? ",\"log\":\"" : "", renamed ? w->log : "",
	    renamed ? "\"" : "", (unsigned long long)l->max_units, window,
	    (unsigned long long)look->at[i].used, (unsigned)look->cost,
	    per_owner ? ",\"key\":\"" : "", per_owner ? rec->id : "", per_owner ? "\"" : "");
	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	return trail_event(store, &ev, e);
}

int
dryruns_report(struct dryruns *d, struct store *store, const struct limits_look *look,
    const struct keyrec *rec, int64_t wall_us, int64_t steady_us, struct err *e)
{
	const struct plan *plan = look->plan;
	struct who w = {.per = plan->per,
	    .subject = plan->per == PLAN_PER_OWNER ? rec->owner : span_of(rec->id)};

	for (size_t i = 0; i < plan->nlimits; i++) {
		const struct plan_limit *l = &plan->limits[i];
		const struct entry *before;

		if (look->fits[i] || !l->dry_run)
			continue;
		if (!d->loaded)
			load(d, store, wall_us, steady_us);
		w.log = plan_limit_log(l);
		before = find(d, &w);
		if (before != NULL && steady_us - before->last_us < l->window_us)
			continue;
		if (write_entry(store, &w, look, i, rec, wall_us, e) != 0)
			return -1;
		keep(d, &w, steady_us);
		d->wrote = 1;
	}
	return 0;
}

void
dryruns_batch_end(struct dryruns *d, int committed)
{
	for (size_t i = 0; !committed && d->wrote && i < SETS * WAYS; i++) {
		struct entry *en = &d->at[i / WAYS][i % WAYS];

		if (en->batch != d->batch)
			continue;
		en->last_us = en->before_us;
		en->batch = en->before_us == NEVER ? 0 : d->batch - 1;
	}
	d->wrote = 0;
	d->batch++;
}
