/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * RateLimit-Policy, RateLimit, X-RateLimit-* and the seconds of Retry-After, from the keeper's
 * answer.  Workers run it; the figures are the keeper's, only their notation is made here, in the
 * one place that has to change when draft-ietf-httpapi-ratelimit-headers does.
 *
 * Invariants: seconds are rounded up, so that a client that waits as told is not too early;
 * Retry-After is never sooner than the `t` of a limit that refused.
 */

#include "http/ratelimit.h"

#define SECOND_US INT64_C(1000000)
#define FIELD_MAX 1024 /* PLAN_LIMITS_MAX items of up to 114 bytes, whatever the figures */

/* The same figures under the names that a client reads, and that an authorizer's server keeps as
 * variables (it may drop every other header of an answer that admits). */
static const struct names {
	const char *policy, *state, *limit, *remaining, *reset;
} fields = {"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining",
    "X-RateLimit-Reset"},
  variables = {"Variable-APIKEY_RATELIMIT_POLICY", "Variable-APIKEY_RATELIMIT",
      "Variable-APIKEY_X_LIMIT", "Variable-APIKEY_X_REMAINING", "Variable-APIKEY_X_RESET"};

uint64_t
ratelimit_seconds(int64_t us)
{
	return us <= 0 ? 0 : (uint64_t)((us - 1) / SECOND_US) + 1;
}

uint64_t
ratelimit_retry_after(const struct wire_answer *a)
{
	uint64_t seconds = ratelimit_seconds(a->retry_us), s;
	size_t i;

	for (i = 0; i < a->nlimits; i++) {
		if (!a->limits[i].violated)
			continue;
		s = ratelimit_seconds(
		    a->retry_us < 0 ? a->limits[i].window_us : a->limits[i].more_us);
		if (s > seconds)
			seconds = s;
	}
	return seconds > 0 ? seconds : 1;
}

/* `, "name";a=1;b=2`: an item of a list, a structured-field string with parameters (RFC
 * 9651 3.1, 3.3.3). */
static void
item(struct wbuf *w, const struct wire_limit *l, const char *a, uint64_t av, const char *b,
    uint64_t bv)
{
	const char *c;

	if (w->len > 0)
		wbuf_str(w, ", ");
	wbuf_u8(w, '"');
	for (c = l->name; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			wbuf_u8(w, '\\');
		wbuf_u8(w, (uint8_t)*c);
	}
	wbuf_str(w, "\";");
	wbuf_str(w, a);
	wbuf_dec(w, av);
	wbuf_u8(w, ';');
	wbuf_str(w, b);
	wbuf_dec(w, bv);
}

static void
header_wbuf(struct reply *R, const char *name, const struct wbuf *w)
{
	R->bad |= w->overflow;
	reply_header(R, name, wbuf_view(w));
}

static void
header_number(struct reply *R, const char *name, uint64_t n)
{
	uint8_t mem[24];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	wbuf_dec(&w, n);
	header_wbuf(R, name, &w);
}

static void
draft_headers(const struct wire_answer *a, const struct names *names, struct reply *R)
{
	uint8_t mem[2][FIELD_MAX];
	struct wbuf policy, state;
	size_t i;

	wbuf_init(&policy, mem[0], sizeof(mem[0]));
	wbuf_init(&state, mem[1], sizeof(mem[1]));
	for (i = 0; i < a->nlimits; i++) {
		const struct wire_limit *l = &a->limits[i];

		item(&policy, l, "q=", l->max_units, "w=", ratelimit_seconds(l->window_us));
		item(&state, l, "r=", l->remaining, "t=", ratelimit_seconds(l->more_us));
	}
	header_wbuf(R, names->policy, &policy);
	header_wbuf(R, names->state, &state);
}

/* Has ${a} less of its units left than ${b}?  As much: the one that takes longer.  Units are at
 * most 1e9, so the products fit. */
static int
tighter(const struct wire_limit *a, const struct wire_limit *b)
{
	uint64_t left_a = a->remaining * b->max_units, left_b = b->remaining * a->max_units;

	return left_a != left_b ? left_a < left_b : a->more_us > b->more_us;
}

static void
legacy_headers(const struct wire_answer *a, const struct names *names, struct reply *R)
{
	const struct wire_limit *l = &a->limits[0];
	size_t i;

	for (i = 1; i < a->nlimits; i++)
		if (tighter(&a->limits[i], l))
			l = &a->limits[i];
	header_number(R, names->limit, l->max_units);
	header_number(R, names->remaining, l->remaining);
	header_number(R, names->reset, ratelimit_seconds(l->more_us));
}

static void
put(const struct wire_answer *a, enum config_ratelimit form, const struct names *names,
    struct reply *R)
{
	if (a->nlimits == 0)
		return;
	if (form == RATELIMIT_DRAFT || form == RATELIMIT_BOTH)
		draft_headers(a, names, R);
	if (form == RATELIMIT_LEGACY || form == RATELIMIT_BOTH)
		legacy_headers(a, names, R);
}

void
ratelimit_headers(const struct wire_answer *a, enum config_ratelimit form, struct reply *R)
{
	put(a, form, &fields, R);
}

void
ratelimit_variables(const struct wire_answer *a, enum config_ratelimit form, struct reply *R)
{
	put(a, form, &variables, R);
}
