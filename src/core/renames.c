/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Limits that are renamed: units are counted under a limit's log, which keeps its name when the
 * limit gets another one.
 *
 * The keeper calls it when a plan is set.  Pure; what a log is called in full, and what is in it,
 * is not known here.
 *
 * A new limit finds its log by the first of these that applies: a rename that was asked for; a
 * limit of the same name in the plan before; a rename that can be seen (one limit gone and one
 * come, alone among those with these units and this window); a past limit of the same name; the
 * caller's wish; its own name; its name and a number, when another limit has all of these.
 *
 * Invariants: no two limits of a plan get the same log; a limit that stays under its name keeps its
 * log; what is gone is remembered with its log, so that it finds it when it comes back.
 */

#include <stdio.h>
#include <string.h>

#include "core/renames.h"

#include "base/text.h"

#define NUMBER_MAX 99 /* of logs of one name: more than a plan has limits, past ones included */

struct settling {
	struct plan *next;
	const struct plan *prev;
	struct renames *renames;
	int settled[PLAN_LIMITS_MAX]; /* those of next that have their log for good */
	char wishes[PLAN_LIMITS_MAX][LIMIT_LOG_MAX + 1];
};

static const struct plan_limit *
limit_named(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->nlimits; i++)
		if (strcmp(p->limits[i].name, name) == 0)
			return &p->limits[i];
	return NULL;
}

static const struct rename *
rename_from(const struct renames *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->of[i].from, name) == 0)
			return &r->of[i];
	return NULL;
}

static const struct rename *
rename_to(const struct renames *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->of[i].to, name) == 0)
			return &r->of[i];
	return NULL;
}

/* ---- the renames ---- */

/* Is what was asked for a rename?  Swaps and chains (a to b, b to c) are, merging two is not. */
static int
check(const struct settling *s, struct err *e)
{
	const struct renames *r = s->renames;

	for (size_t i = 0; i < r->n; i++) {
		const char *from = r->of[i].from, *to = r->of[i].to;

		if (rename_from(r, from) != &r->of[i] || rename_to(r, to) != &r->of[i])
			return err_set(
			    e, ERR_INPUT, "renaming '%s' to '%s': one of them twice", from, to);
		if (limit_named(s->prev, from) == NULL)
			return err_set(e, ERR_INPUT,
			    "renaming '%s' to '%s': the plan has no limit '%s'", from, to, from);
		if (limit_named(s->next, to) == NULL)
			return err_set(e, ERR_INPUT,
			    "renaming '%s' to '%s': give the limit '%s' as well", from, to, to);
		if (limit_named(s->next, from) != NULL && rename_to(r, from) == NULL)
			return err_set(e, ERR_INPUT, "renaming '%s' to '%s': '%s' is still there",
			    from, to, from);
		if (limit_named(s->prev, to) != NULL && rename_from(r, to) == NULL)
			return err_set(e, ERR_INPUT,
			    "renaming '%s' to '%s': there is a limit '%s' already", from, to, to);
	}
	return 0;
}

static int
gone(const struct settling *s, const struct plan_limit *was)
{
	return limit_named(s->next, was->name) == NULL &&
	       rename_from(s->renames, was->name) == NULL;
}

static int
come(const struct settling *s, const struct plan_limit *is)
{
	return limit_named(s->prev, is->name) == NULL && rename_to(s->renames, is->name) == NULL;
}

static int
alike(const struct plan_limit *a, const struct plan_limit *b)
{
	return a->max_units == b->max_units && a->window_us == b->window_us;
}

/* The one limit that is gone and has the figures of ${is}, if there is one, and none but ${is} came
 * with them. */
static const struct plan_limit *
predecessor(const struct settling *s, const struct plan_limit *is)
{
	const struct plan_limit *found = NULL;

	for (size_t i = 0; i < s->next->nlimits; i++) {
		const struct plan_limit *other = &s->next->limits[i];

		if (other != is && come(s, other) && alike(other, is))
			return NULL;
	}
	for (size_t i = 0; i < s->prev->nlimits; i++) {
		const struct plan_limit *was = &s->prev->limits[i];

		if (!gone(s, was) || !alike(was, is))
			continue;
		if (found != NULL)
			return NULL;
		found = was;
	}
	return found;
}

static void
recognise(struct settling *s)
{
	struct renames seen = *s->renames;

	for (size_t i = 0; i < s->next->nlimits && seen.n < PLAN_LIMITS_MAX; i++) {
		const struct plan_limit *is = &s->next->limits[i], *was;

		if (!come(s, is) || (was = predecessor(s, is)) == NULL)
			continue;
		memcpy(seen.of[seen.n].from, was->name, sizeof(was->name));
		memcpy(seen.of[seen.n].to, is->name, sizeof(is->name));
		seen.n++;
	}
	*s->renames = seen;
}

/* ---- the logs ---- */

static int
log_taken(const struct settling *s, const char *log)
{
	for (size_t i = 0; i < s->next->nlimits; i++)
		if (s->settled[i] && strcmp(s->next->limits[i].log, log) == 0)
			return 1;
	return 0;
}

/* Give limit ${i} this log, unless another has it: 1 or 0. */
static int
give(struct settling *s, size_t i, const char *log)
{
	struct plan_limit *l = &s->next->limits[i];

	if (log[0] == '\0' || log_taken(s, log) || span_copy(l->log, sizeof(l->log), span_of(log)))
		return 0;
	s->settled[i] = 1;
	return 1;
}

/* The limits that were there before, under this name or another. */
static void
inherit(struct settling *s)
{
	for (size_t i = 0; i < s->next->nlimits; i++) {
		const char *name = s->next->limits[i].name;
		const struct rename *r = rename_to(s->renames, name);
		const struct plan_limit *was = limit_named(s->prev, r != NULL ? r->from : name);

		if (was != NULL)
			(void)give(s, i, plan_limit_log(was));
	}
}

static const char *
past_log(const struct plan *prev, const char *name)
{
	for (size_t i = 0; i < prev->npast; i++)
		if (strcmp(prev->past[i].name, name) == 0)
			return prev->past[i].log;
	return "";
}

static void
number(struct settling *s, size_t i)
{
	char log[LIMIT_LOG_MAX + 1];

	for (int n = 2; n <= NUMBER_MAX; n++) {
		(void)snprintf(log, sizeof(log), "%s~%d", s->next->limits[i].name, n);
		if (give(s, i, log))
			return;
	}
}

/* ---- the past ---- */

static void
remember(struct settling *s, const char *name, const char *log)
{
	struct plan *p = s->next;

	if (p->npast == PLAN_LIMITS_MAX || limit_named(p, name) != NULL ||
	    past_log(p, name)[0] != '\0')
		return;
	memcpy(p->past[p->npast].name, name, strlen(name) + 1);
	memcpy(p->past[p->npast].log, log, strlen(log) + 1);
	p->npast++;
}

static void
remember_all(struct settling *s)
{
	const struct plan *prev = s->prev;

	s->next->npast = 0;
	for (size_t i = 0; i < prev->nlimits; i++) {
		const struct plan_limit *was = &prev->limits[i];

		if (gone(s, was))
			remember(s, was->name, plan_limit_log(was));
	}
	for (size_t i = 0; i < prev->npast; i++)
		remember(s, prev->past[i].name, prev->past[i].log);
}

int
renames_settle(struct plan *next, const struct plan *prev, struct renames *r, struct err *e)
{
	struct settling s = {.next = next, .prev = prev, .renames = r};

	if (check(&s, e) < 0)
		return -1;
	recognise(&s);
	for (size_t i = 0; i < next->nlimits; i++) {
		memcpy(s.wishes[i], next->limits[i].log, sizeof(s.wishes[i]));
		next->limits[i].log[0] = '\0';
	}
	inherit(&s);
	/* Each step for all of them, so that their order in the plan says nothing. */
	for (size_t i = 0; i < next->nlimits; i++)
		if (!s.settled[i])
			(void)give(&s, i, past_log(prev, next->limits[i].name));
	for (size_t i = 0; i < next->nlimits; i++)
		if (!s.settled[i])
			(void)give(&s, i, s.wishes[i]);
	for (size_t i = 0; i < next->nlimits; i++)
		if (!s.settled[i] && !give(&s, i, next->limits[i].name))
			number(&s, i);
	remember_all(&s);
	return 0;
}
