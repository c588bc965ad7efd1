/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The kinds of option values of the admin tool: how each is checked and what it becomes in the JSON
 * request.  A value is checked where it is read, so that a mistake is told with the name of its
 * option before anything is asked of the keeper.  The keeper checks everything again: this room is
 * for people, not for safety.
 *
 * Values are repeated in messages: main has refused every argument that holds a key before
 * anything here runs.
 *
 * Invariant: after -1 the error is ERR_USAGE and names the option (or ERR_SYSTEM, no memory).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/kinds.h"
#include "apikey/netfile.h"
#include "base/clock.h"
#include "base/netaddr.h"
#include "base/span.h"
#include "base/text.h"
#include "core/keyrec.h"
#include "core/plan.h"
#include "core/rules.h"
#include "core/scope.h"

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, "out of memory");
}

static int
bad(const struct kinds_use *u, struct err *e, const char *what)
{
	return err_set(e, ERR_USAGE, "--%s %s: %s", u->def->name, u->value, what);
}

static int
empty(const struct kinds_use *u, struct err *e)
{
	return err_set(e, ERR_USAGE, "--%s: the value must not be empty", u->def->name);
}

/* Takes ${item}, also when it fails. */
static int
put(const struct kinds_use *u, cJSON *item, struct err *e)
{
	if (item == NULL || !cJSON_AddItemToObject(u->to, u->member, item)) {
		cJSON_Delete(item);
		return no_memory(e);
	}
	return 0;
}

/* Takes ${item}: one more of the member's list. */
static int
append(const struct kinds_use *u, cJSON *item, struct err *e)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(u->to, u->member);

	if (list == NULL)
		list = cJSON_AddArrayToObject(u->to, u->member);
	if (item == NULL || list == NULL || !cJSON_AddItemToArray(list, item)) {
		cJSON_Delete(item);
		return no_memory(e);
	}
	return 0;
}

static int
apply_flag(const struct kinds_use *u, struct err *e)
{
	return put(u, cJSON_CreateTrue(), e);
}

static int
apply_no_list(const struct kinds_use *u, struct err *e)
{
	return put(u, cJSON_CreateArray(), e);
}

static int
apply_no_map(const struct kinds_use *u, struct err *e)
{
	return put(u, cJSON_CreateObject(), e);
}

static int
apply_path(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return empty(u, e);
	return put(u, cJSON_CreateString(u->value), e);
}

/* Not echoed when it is not printable: the message goes to a terminal. */
static int
check_printable(const struct kinds_use *u, struct err *e)
{
	if (text_printable(span_of(u->value)))
		return 0;
	return err_set(
	    e, ERR_USAGE, "--%s: the value must be UTF-8 without control characters", u->def->name);
}

static int
apply_text(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return empty(u, e);
	if (check_printable(u, e) == -1)
		return -1;
	return put(u, cJSON_CreateString(u->value), e);
}

static int
apply_text_or_none(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return put(u, cJSON_CreateNull(), e);
	return apply_text(u, e);
}

static int
apply_choice(const struct kinds_use *u, struct err *e)
{
	struct span value = span_of(u->value);
	const char *word = u->def->choices, *end;

	for (;; word = end + 1) {
		end = strchrnul(word, '|');
		if (span_eq(value, (struct span){word, (size_t)(end - word)}))
			return put(u, cJSON_CreateString(u->value), e);
		if (*end == '\0')
			break;
	}
	return err_set(
	    e, ERR_USAGE, "--%s %s: must be one of %s", u->def->name, u->value, u->def->choices);
}

static int
apply_number(const struct kinds_use *u, struct err *e)
{
	unsigned long long n;

	if (span_u64(span_of(u->value), (unsigned long long)u->def->max, &n) == -1)
		return err_set(e, ERR_USAGE, "--%s %s: must be a whole number from 0 to %lld",
		    u->def->name, u->value, (long long)u->def->max);
	return put(u, cJSON_CreateNumber((double)n), e);
}

static int
apply_duration(const struct kinds_use *u, struct err *e)
{
	char most[32];
	int64_t us;

	if (clock_duration_parse(u->value, &us) == -1)
		return bad(u, e, "must be a number and s, m, h, d or w, like 14d");
	if (u->def->max != 0 && us > u->def->max * CLOCK_SECOND) {
		clock_duration_format(u->def->max * CLOCK_SECOND, most, sizeof(most));
		return err_set(e, ERR_USAGE, "--%s %s: at most %s", u->def->name, u->value, most);
	}
	return put(u, cJSON_CreateNumber((double)(us / CLOCK_SECOND)), e);
}

static int
put_time(const struct kinds_use *u, int64_t us, struct err *e)
{
	char text[21];

	clock_rfc3339(us, text);
	return put(u, cJSON_CreateString(text), e);
}

static int
apply_until(const struct kinds_use *u, struct err *e)
{
	int64_t us;

	if (strcmp(u->value, "never") == 0)
		return put(u, cJSON_CreateNull(), e);
	if (clock_when_parse(u->value, u->now_us, &us) == -1)
		return bad(u, e,
		    "must be a duration (90d), a date (2027-01-31), a time "
		    "(2027-01-31T12:00:00Z) or never");
	return put_time(u, us, e);
}

/* A date means its first second; RFC 3339 as it stands.  0 or -1. */
static int
parse_beginning(const char *text, int64_t *us)
{
	char full[32];
	int n;

	if (clock_rfc3339_parse(text, us) == 0)
		return 0;
	n = snprintf(full, sizeof(full), "%sT00:00:00Z", text);
	if (n < 0 || (size_t)n >= sizeof(full))
		return -1;
	return clock_rfc3339_parse(full, us);
}

static int
apply_from(const struct kinds_use *u, struct err *e)
{
	int64_t us;

	if (strcmp(u->value, "now") == 0)
		return put(u, cJSON_CreateNull(), e);
	if (clock_duration_parse(u->value, &us) == 0)
		us += u->now_us;
	else if (parse_beginning(u->value, &us) == -1)
		return bad(u, e,
		    "must be a duration (7d), a date (2027-01-31), a time "
		    "(2027-01-31T12:00:00Z) or now");
	return put_time(u, us, e);
}

static int
apply_since(const struct kinds_use *u, struct err *e)
{
	int64_t us;

	if (clock_duration_parse(u->value, &us) == 0)
		us = us > u->now_us ? 0 : u->now_us - us;
	else if (parse_beginning(u->value, &us) == -1)
		return bad(u, e,
		    "must be a duration that has passed since (2h), a date (2026-11-21) or a "
		    "time (2026-11-21T12:00:00Z)");
	return put_time(u, us, e);
}

static int
apply_address(const struct kinds_use *u, struct err *e)
{
	struct netaddr addr;

	if (netaddr_parse(span_of(u->value), &addr) == -1)
		return bad(u, e, "is not an IP address");
	return put(u, cJSON_CreateString(u->value), e);
}

static int
apply_texts(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return empty(u, e);
	if (check_printable(u, e) == -1)
		return -1;
	return append(u, cJSON_CreateString(u->value), e);
}

static int
apply_paths(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return empty(u, e);
	return append(u, cJSON_CreateString(u->value), e);
}

static int
apply_scopes(const struct kinds_use *u, struct err *e)
{
	if (u->value[0] == '\0')
		return empty(u, e);
	if (!scope_ok(span_of(u->value)))
		return bad(u, e, "is not a scope; one is " SCOPE_FORM);
	return append(u, cJSON_CreateString(u->value), e);
}

static int
apply_needed(const struct kinds_use *u, struct err *e)
{
	cJSON *had = cJSON_GetObjectItemCaseSensitive(u->to, u->member);
	const char *before = had == NULL ? "" : had->valuestring;
	char joined[SCOPE_LIST_MAX + 1];
	int n;

	n = snprintf(joined, sizeof(joined), "%s%s%s", before, had == NULL ? "" : " ", u->value);
	if (n < 0 || (size_t)n >= sizeof(joined) || !scope_needed_list_ok(span_of(joined)))
		return bad(u, e,
		    "is not a list of scopes that a route can need, like orders:read (no star, at "
		    "most 64)");
	cJSON_DeleteItemFromObjectCaseSensitive(u->to, u->member);
	return put(u, cJSON_CreateString(joined), e);
}

static int
append_network(void *cookie, struct span text, struct err *e)
{
	char mem[NETFILE_LINE_MAX + 1];

	if (span_copy(mem, sizeof(mem), text) == -1)
		return err_set(e, ERR_USAGE, "a network is too long");
	return append(cookie, cJSON_CreateString(mem), e);
}

/* One, or with '@' those of a file. */
static int
apply_networks(const struct kinds_use *u, struct err *e)
{
	struct kinds_use use = *u;
	struct netaddr_net net;

	if (u->value[0] == '@') {
		if (check_printable(u, e) == -1)
			return -1;
		return netfile_read(u->value + 1, append_network, &use, e) == -1
			   ? err_wrap(e, "--%s", u->def->name)
			   : 0;
	}
	if (netaddr_net_parse(span_of(u->value), &net) == -1)
		return bad(u, e,
		    "is not an address or a network whose host bits are zero, like 10.0.0.0/8");
	return append(u, cJSON_CreateString(u->value), e);
}

static int
apply_referrers(const struct kinds_use *u, struct err *e)
{
	if (!rules_referrer_pattern_ok(span_of(u->value)))
		return bad(u, e,
		    "is not a referrer pattern, like https://app.example.com/path or "
		    "*.example.com");
	return append(u, cJSON_CreateString(u->value), e);
}

/* Methods are upper case (RFC 9110 9.1), however they are typed. */
static int
apply_methods(const struct kinds_use *u, struct err *e)
{
	char method[KEYREC_METHOD_MAX + 1] = "";
	size_t n = strlen(u->value);

	for (size_t i = 0; i < n && i < KEYREC_METHOD_MAX; i++)
		method[i] = u->value[i] >= 'a' && u->value[i] <= 'z'
				? (char)(u->value[i] - 'a' + 'A')
				: u->value[i];
	if (n > KEYREC_METHOD_MAX || !keyrec_method_ok(span_of(method)))
		return bad(u, e, "is not a request method, like GET or POST");
	return append(u, cJSON_CreateString(method), e);
}

static int
apply_pairs(const struct kinds_use *u, struct err *e)
{
	const char *eq = strchr(u->value, '=');
	cJSON *map, *item;
	char *name;
	int rc = -1;

	if (check_printable(u, e) == -1)
		return -1;
	if (eq == NULL || eq == u->value)
		return bad(u, e, "must be NAME=VALUE");
	if ((name = strndup(u->value, (size_t)(eq - u->value))) == NULL)
		return no_memory(e);
	map = cJSON_GetObjectItemCaseSensitive(u->to, u->member);
	if (map == NULL)
		map = cJSON_AddObjectToObject(u->to, u->member);
	if (map != NULL && cJSON_GetObjectItemCaseSensitive(map, name) != NULL) {
		(void)bad(u, e, "this name is given twice");
		goto out;
	}
	item = cJSON_CreateString(eq + 1);
	if (map == NULL || item == NULL || !cJSON_AddItemToObject(map, name, item)) {
		cJSON_Delete(item);
		(void)no_memory(e);
		goto out;
	}
	rc = 0;
out:
	free(name);
	return rc;
}

/* Is a limit of this name in the list? */
static int
has_limit(const struct kinds_use *u, const char *name)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(u->to, u->member), *item;
	const char *had;

	cJSON_ArrayForEach(item, list)
	{
		had = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
		if (had != NULL && strcmp(had, name) == 0)
			return 1;
	}
	return 0;
}

static int
apply_limits(const struct kinds_use *u, struct err *e)
{
	struct plan_limit limit;
	cJSON *item;
	char window[32];

	if (plan_limit_parse(u->value, &limit, e) == -1) {
		if (e != NULL)
			e->code = ERR_USAGE;
		return err_wrap(e, "--%s %s", u->def->name, u->value);
	}
	if (has_limit(u, limit.name))
		return bad(u, e, "a limit of this name is given twice");
	if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(u->to, u->member)) ==
	    PLAN_LIMITS_MAX)
		return err_set(e, ERR_USAGE, "--%s %s: a plan has at most %d limits", u->def->name,
		    u->value, PLAN_LIMITS_MAX);
	clock_duration_format(limit.window_us, window, sizeof(window));
	if ((item = cJSON_CreateObject()) == NULL ||
	    cJSON_AddStringToObject(item, "name", limit.name) == NULL ||
	    cJSON_AddNumberToObject(item, "units", (double)limit.max_units) == NULL ||
	    cJSON_AddStringToObject(item, "window", window) == NULL) {
		cJSON_Delete(item);
		return no_memory(e);
	}
	return append(u, item, e);
}

/* What each kind is. */
static const struct kind {
	int value, repeats;
	int (*apply)(const struct kinds_use *, struct err *);
} kinds[OPTION_KINDS] = {
    [OPTION_FLAG] = {0, 0, apply_flag},
    [OPTION_NO_LIST] = {0, 0, apply_no_list},
    [OPTION_NO_MAP] = {0, 0, apply_no_map},
    [OPTION_TEXT] = {1, 0, apply_text},
    [OPTION_TEXT_OR_NONE] = {1, 0, apply_text_or_none},
    [OPTION_PATH] = {1, 0, apply_path},
    [OPTION_CHOICE] = {1, 0, apply_choice},
    [OPTION_NUMBER] = {1, 0, apply_number},
    [OPTION_DURATION] = {1, 0, apply_duration},
    [OPTION_UNTIL] = {1, 0, apply_until},
    [OPTION_FROM] = {1, 0, apply_from},
    [OPTION_SINCE] = {1, 0, apply_since},
    [OPTION_ADDRESS] = {1, 0, apply_address},
    [OPTION_TEXTS] = {1, 1, apply_texts},
    [OPTION_SCOPES] = {1, 1, apply_scopes},
    [OPTION_NEEDED] = {1, 1, apply_needed},
    [OPTION_NETWORKS] = {1, 1, apply_networks},
    [OPTION_REFERRERS] = {1, 1, apply_referrers},
    [OPTION_METHODS] = {1, 1, apply_methods},
    [OPTION_PAIRS] = {1, 1, apply_pairs},
    [OPTION_LIMITS] = {1, 1, apply_limits},
    [OPTION_PATHS] = {1, 1, apply_paths},
    [OPTION_REFUSED] = {0, 0, NULL}, /* options_take lets none through */
};

int
kinds_takes_value(enum option_kind kind)
{
	return kinds[kind].value;
}

int
kinds_repeats(enum option_kind kind)
{
	return kinds[kind].repeats;
}

int
kinds_apply(const struct kinds_use *u, struct err *e)
{
	return kinds[u->def->kind].apply(u, e);
}
