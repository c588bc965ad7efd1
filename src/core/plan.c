/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plans: the words an admin gives for a limit, what a plan must satisfy, and its record.
 *
 * Not here: counting (slog.c) and storing.  The keeper reads and checks plans with it, the
 * apikey tool reads the admin's words with it.
 *
 * Record, version 3: u8 version, str16 name, u8 per, u64 created, u64 changed, u8 number of limits,
 * then of each: str16 name, u64 units, u64 window in microseconds, u8 dry-run, str16 log; u8 number
 * of past limits, then of each: str16 name, str16 log; u8 number of scopes, str16 each; u64 maximal
 * age in microseconds, u8 whether an older secret is refused.  Version 1 had neither logs nor past
 * limits, version 2 neither scopes nor an age.
 *
 * Invariants: what decodes satisfies plan_check; names are identifiers, so that they need no
 * escaping in a header (RFC 9651 strings), in JSON or in a log line.
 */

#include <string.h>

#include "core/plan.h"

#include "base/clock.h"
#include "base/text.h"

#define PLAN_VERSION 3
#define SHOWN_MAX 80 /* bytes of the admin's words that a message repeats */

/* A name that fills its array without a NUL comes out one byte too long, and is refused for it. */
static struct span
name_span(const char *name, size_t max)
{
	return (struct span){name, strnlen(name, max + 1)};
}

static int
units_ok(uint64_t units)
{
	return units >= 1 && units <= LIMIT_UNITS_MAX;
}

static int
window_ok(int64_t us)
{
	return us >= CLOCK_SECOND && us <= LIMIT_WINDOW_MAX_US && us % CLOCK_SECOND == 0;
}

/* ${text} = NAME=N/WINDOW, cut at its first '=' and the first '/' behind it: 0, or -1 when one is
 * missing. */
static int
limit_split(const char *text, struct span *name, struct span *units, const char **window)
{
	const char *equals = strchr(text, '=');
	const char *slash = equals == NULL ? NULL : strchr(equals, '/');

	if (slash == NULL || equals == text || slash == equals + 1 || slash[1] == '\0')
		return -1;
	*name = (struct span){text, (size_t)(equals - text)};
	*units = (struct span){equals + 1, (size_t)(slash - equals - 1)};
	*window = slash + 1;
	return 0;
}

int
plan_limit_parse(const char *text, struct plan_limit *limit, struct err *e)
{
	struct plan_limit l = {0};
	struct span name, units, all = span_of(text);
	const char *window, *shown = "?";
	unsigned long long n;

	memset(limit, 0, sizeof(*limit));
	/* Words that could garble a terminal or a log are not repeated. */
	if (all.len > 0 && all.len <= SHOWN_MAX && text_printable(all))
		shown = text;
	if (all.len == 0 || limit_split(text, &name, &units, &window) < 0)
		return err_set(
		    e, ERR_INPUT, "limit '%s': expected NAME=N/WINDOW, e.g. minute=100/60s", shown);
	if (!text_identifier(name, LIMIT_NAME_MAX) || span_copy(l.name, sizeof(l.name), name) < 0)
		return err_set(e, ERR_INPUT,
		    "limit '%s': the name must be 1 to %d letters, digits, '_', '.' or '-', "
		    "beginning with a letter or digit",
		    shown, LIMIT_NAME_MAX);
	if (span_u64(units, LIMIT_UNITS_MAX, &n) < 0 || !units_ok(n))
		return err_set(e, ERR_INPUT, "limit '%s': N must be a number from 1 to %llu", shown,
		    (unsigned long long)LIMIT_UNITS_MAX);
	if (clock_duration_parse(window, &l.window_us) < 0 || !window_ok(l.window_us))
		return err_set(e, ERR_INPUT,
		    "limit '%s': the window must be a number and s, m, h, d or w, from 1s to 366d, "
		    "e.g. 60s",
		    shown);
	l.max_units = n;
	*limit = l;
	return 0;
}

const char *
plan_limit_log(const struct plan_limit *l)
{
	return l->log[0] != '\0' ? l->log : l->name;
}

/* A limit's name, and perhaps '~' and a number: what no limit can be called. */
static int
log_ok(const char *log)
{
	struct span s = name_span(log, LIMIT_LOG_MAX), number;
	const char *tilde = memchr(log, '~', s.len);
	unsigned long long n;

	if (tilde != NULL) {
		number = (struct span){tilde + 1, s.len - (size_t)(tilde + 1 - log)};
		if (number.len > 0 && (number.p[0] == '0' || span_u64(number, 99, &n) < 0))
			return 0;
		if (number.len == 0)
			return 0;
		s.len = (size_t)(tilde - log);
	}
	return text_identifier(s, LIMIT_NAME_MAX);
}

static int
limit_check(const struct plan_limit *l, struct err *e)
{
	if (!text_identifier(name_span(l->name, LIMIT_NAME_MAX), LIMIT_NAME_MAX))
		return err_set(e, ERR_INPUT,
		    "a limit's name must be 1 to %d letters, digits, '_', '.' or '-', beginning "
		    "with "
		    "a letter or digit",
		    LIMIT_NAME_MAX);
	if (!units_ok(l->max_units))
		return err_set(e, ERR_INPUT, "limit '%s': units must be from 1 to %llu", l->name,
		    (unsigned long long)LIMIT_UNITS_MAX);
	if (!window_ok(l->window_us))
		return err_set(e, ERR_INPUT,
		    "limit '%s': the window must be whole seconds, from 1s to 366d", l->name);
	if (l->dry_run != 0 && l->dry_run != 1)
		return err_set(e, ERR_INPUT, "limit '%s': dry-run must be 0 or 1", l->name);
	if (!log_ok(plan_limit_log(l)))
		return err_set(e, ERR_INPUT, "limit '%s': its log has no name of a log", l->name);
	return 0;
}

/* Does limit ${i} share its name or its log with one before it? */
static int
limit_unique(const struct plan *p, size_t i, struct err *e)
{
	const struct plan_limit *l = &p->limits[i];

	for (size_t j = 0; j < i; j++) {
		if (strcmp(l->name, p->limits[j].name) == 0)
			return err_set(
			    e, ERR_INPUT, "plan '%s': limit '%s' is given twice", p->name, l->name);
		if (strcmp(plan_limit_log(l), plan_limit_log(&p->limits[j])) == 0)
			return err_set(e, ERR_INPUT,
			    "plan '%s': limits '%s' and '%s' have the same log", p->name,
			    p->limits[j].name, l->name);
	}
	return 0;
}

static int
past_check(const struct plan *p, struct err *e)
{
	if (p->npast > PLAN_LIMITS_MAX)
		return err_set(
		    e, ERR_INPUT, "plan '%s': at most %d past limits", p->name, PLAN_LIMITS_MAX);
	for (size_t i = 0; i < p->npast; i++)
		if (!text_identifier(name_span(p->past[i].name, LIMIT_NAME_MAX), LIMIT_NAME_MAX) ||
		    !log_ok(p->past[i].log))
			return err_set(
			    e, ERR_INPUT, "plan '%s': a past limit has no name", p->name);
	return 0;
}

static int
scopes_check(const struct plan *p, struct err *e)
{
	if (p->nscopes > PLAN_SCOPES_MAX)
		return err_set(
		    e, ERR_INPUT, "plan '%s': at most %d scopes", p->name, PLAN_SCOPES_MAX);
	for (size_t i = 0; i < p->nscopes; i++) {
		if (!scope_ok(name_span(p->scopes[i], SCOPE_MAX)))
			return err_set(e, ERR_INPUT,
			    "plan '%s': scope %zu: must be " SCOPE_FORM ", at most %d bytes",
			    p->name, i + 1, SCOPE_MAX);
		for (size_t j = 0; j < i; j++)
			if (strcmp(p->scopes[i], p->scopes[j]) == 0)
				return err_set(e, ERR_INPUT, "plan '%s': scope '%s' is given twice",
				    p->name, p->scopes[i]);
	}
	return 0;
}

static int
age_check(const struct plan *p, struct err *e)
{
	if (p->max_age_us < 0 || p->max_age_us > PLAN_AGE_MAX_US ||
	    p->max_age_us % CLOCK_SECOND != 0)
		return err_set(e, ERR_INPUT,
		    "plan '%s': the maximal age must be whole seconds, at most 3660d", p->name);
	if (p->max_age_deny != 0 && p->max_age_deny != 1)
		return err_set(e, ERR_INPUT, "plan '%s': refusing by age is 0 or 1", p->name);
	if (p->max_age_deny && p->max_age_us == 0)
		return err_set(
		    e, ERR_INPUT, "plan '%s': refusing by age needs a maximal age", p->name);
	return 0;
}

int
plan_check(const struct plan *p, struct err *e)
{
	if (!text_identifier(name_span(p->name, PLAN_NAME_MAX), PLAN_NAME_MAX))
		return err_set(e, ERR_INPUT,
		    "a plan's name must be 1 to %d letters, digits, '_', '.' or '-', beginning "
		    "with a "
		    "letter or digit",
		    PLAN_NAME_MAX);
	if (p->per != PLAN_PER_KEY && p->per != PLAN_PER_OWNER)
		return err_set(e, ERR_INPUT, "plan '%s': counts per key or per owner", p->name);
	if (p->created_us < 0 || p->changed_us < 0)
		return err_set(e, ERR_INPUT, "plan '%s': a time is before 1970", p->name);
	if (p->nlimits > PLAN_LIMITS_MAX)
		return err_set(
		    e, ERR_INPUT, "plan '%s': at most %d limits", p->name, PLAN_LIMITS_MAX);
	for (size_t i = 0; i < p->nlimits; i++) {
		if (limit_check(&p->limits[i], e) < 0)
			return err_wrap(e, "plan '%s'", p->name);
		if (limit_unique(p, i, e) < 0)
			return -1;
	}
	if (past_check(p, e) < 0 || scopes_check(p, e) < 0)
		return -1;
	return age_check(p, e);
}

int
plan_builtin(struct span name, struct plan *p)
{
	*p = (struct plan){.name = PLAN_BUILTIN, .per = PLAN_PER_KEY};
	return span_is(name, PLAN_BUILTIN);
}

void
plan_encode(const struct plan *p, struct wbuf *w)
{
	if (p->nlimits > PLAN_LIMITS_MAX || p->npast > PLAN_LIMITS_MAX ||
	    p->nscopes > PLAN_SCOPES_MAX) {
		w->overflow = 1;
		return;
	}
	wbuf_u8(w, PLAN_VERSION);
	wbuf_str16(w, name_span(p->name, PLAN_NAME_MAX));
	wbuf_u8(w, (uint8_t)p->per);
	wbuf_u64(w, (uint64_t)p->created_us);
	wbuf_u64(w, (uint64_t)p->changed_us);
	wbuf_u8(w, (uint8_t)p->nlimits);
	for (size_t i = 0; i < p->nlimits; i++) {
		const struct plan_limit *l = &p->limits[i];

		wbuf_str16(w, name_span(l->name, LIMIT_NAME_MAX));
		wbuf_u64(w, l->max_units);
		wbuf_u64(w, (uint64_t)l->window_us);
		wbuf_u8(w, (uint8_t)l->dry_run);
		wbuf_str16(w, name_span(plan_limit_log(l), LIMIT_LOG_MAX));
	}
	wbuf_u8(w, (uint8_t)p->npast);
	for (size_t i = 0; i < p->npast; i++) {
		wbuf_str16(w, name_span(p->past[i].name, LIMIT_NAME_MAX));
		wbuf_str16(w, name_span(p->past[i].log, LIMIT_LOG_MAX));
	}
	wbuf_u8(w, (uint8_t)p->nscopes);
	for (size_t i = 0; i < p->nscopes; i++)
		wbuf_str16(w, name_span(p->scopes[i], SCOPE_MAX));
	wbuf_u64(w, (uint64_t)p->max_age_us);
	wbuf_u8(w, (uint8_t)p->max_age_deny);
}

/* A name into its array; one that does not fit makes the record bad. */
static void
read_name(struct rbuf *r, char *name, size_t max)
{
	if (span_copy(name, max + 1, rbuf_str16(r, max)) < 0)
		r->bad = 1;
}

static void
read_limit(struct rbuf *r, unsigned version, struct plan_limit *l)
{
	read_name(r, l->name, LIMIT_NAME_MAX);
	l->max_units = rbuf_u64(r);
	l->window_us = (int64_t)rbuf_u64(r);
	l->dry_run = rbuf_u8(r);
	if (version == 1)
		memcpy(l->log, l->name, sizeof(l->name));
	else
		read_name(r, l->log, LIMIT_LOG_MAX);
	/* Empty means "like the name" in memory only. */
	if (l->log[0] == '\0')
		r->bad = 1;
}

static void
read_past(struct rbuf *r, struct plan *p)
{
	p->npast = rbuf_u8(r);
	if (p->npast > PLAN_LIMITS_MAX) {
		p->npast = 0;
		r->bad = 1;
	}
	for (size_t i = 0; i < p->npast; i++) {
		read_name(r, p->past[i].name, LIMIT_NAME_MAX);
		read_name(r, p->past[i].log, LIMIT_LOG_MAX);
	}
}

static void
read_scopes(struct rbuf *r, struct plan *p)
{
	p->nscopes = rbuf_u8(r);
	if (p->nscopes > PLAN_SCOPES_MAX) {
		p->nscopes = 0;
		r->bad = 1;
	}
	for (size_t i = 0; i < p->nscopes; i++)
		read_name(r, p->scopes[i], SCOPE_MAX);
}

int
plan_decode(struct span record, struct plan *out, struct err *e)
{
	struct plan p = {0};
	struct rbuf r;
	struct err why;
	uint8_t version;

	memset(out, 0, sizeof(*out));
	rbuf_init(&r, record.p, record.len);
	version = rbuf_u8(&r);
	if (!r.bad && (version < 1 || version > PLAN_VERSION))
		return err_set(e, ERR_VERSION,
		    "plan record: version %d is not one this release reads", version);
	read_name(&r, p.name, PLAN_NAME_MAX);
	p.per = (enum plan_per)rbuf_u8(&r);
	p.created_us = (int64_t)rbuf_u64(&r);
	p.changed_us = (int64_t)rbuf_u64(&r);
	p.nlimits = rbuf_u8(&r);
	if (p.nlimits > PLAN_LIMITS_MAX)
		return err_set(e, ERR_CORRUPT, "plan record: more than %d limits", PLAN_LIMITS_MAX);
	for (size_t i = 0; i < p.nlimits; i++)
		read_limit(&r, version, &p.limits[i]);
	if (version > 1)
		read_past(&r, &p);
	if (version > 2) {
		read_scopes(&r, &p);
		p.max_age_us = (int64_t)rbuf_u64(&r);
		p.max_age_deny = rbuf_u8(&r);
	}
	if (rbuf_done(&r) < 0)
		return err_set(e, ERR_CORRUPT, "plan record: cut short, too long or out of bounds");
	if (plan_check(&p, &why) < 0)
		return err_set(e, ERR_CORRUPT, "plan record: %s", why.msg);
	*out = p;
	return 0;
}
