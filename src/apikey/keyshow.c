/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the subcommands show of keys: the record, and the key itself in the one moment that it is
 * known.
 *
 * Nothing is asked of the keeper here; records are its results, read defensively.
 *
 * Invariant: the key itself is in one buffer of ours (wiped), and leaves the process by write(2) to
 * standard output and no other way.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "apikey/keyshow.h"
#include "apikey/output.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/secret.h"

#define JOINED_MAX 4096

int
keyshow_exposed(const cJSON *record)
{
	return json_str(record, "exposed", NULL) != NULL;
}

enum term_colour
keyshow_colour(const cJSON *record)
{
	char buf[32];
	const char *state = tool_text(record, "state", buf);

	if (strcmp(state, "active") == 0)
		return keyshow_exposed(record) ? TERM_YELLOW : TERM_GREEN;
	if (strcmp(state, "revoked") == 0 || strcmp(state, "expired") == 0)
		return TERM_RED;
	return TERM_YELLOW;
}

static void
field(struct table *f, const cJSON *record, const char *label, const char *member)
{
	char buf[32];

	tool_field(f, label, tool_text(record, member, buf), TERM_PLAIN);
}

static void
field_list(struct table *f, const cJSON *record, const char *label, const char *member)
{
	char joined[JOINED_MAX];

	tool_field(f, label,
	    tool_join(
		cJSON_GetObjectItemCaseSensitive(record, member), ", ", joined, sizeof(joined)),
	    TERM_PLAIN);
}

/* Its own, or else, where they are told, its plan's. */
static void
field_scopes(struct table *f, const cJSON *record)
{
	const char *from = json_str(record, "scopes_from", NULL);
	char joined[JOINED_MAX], text[JOINED_MAX + 128], plan[32];

	if (from == NULL || strcmp(from, "plan") != 0) {
		field_list(f, record, "scopes", "scopes");
		return;
	}
	(void)tool_join(
	    cJSON_GetObjectItemCaseSensitive(record, "held_scopes"), ", ", joined, sizeof(joined));
	(void)snprintf(
	    text, sizeof(text), "%s (of the plan %.64s)", joined, tool_text(record, "plan", plan));
	tool_field(f, "scopes", text, TERM_PLAIN);
}

static void
field_time(const struct tool *t, struct table *f, const cJSON *record, const char *label,
    const char *member)
{
	char text[TOOL_TIME_MAX];

	tool_exact(t, record, member, text);
	tool_field(f, label, text, TERM_PLAIN);
}

static void
field_meta(struct table *f, const cJSON *record)
{
	const cJSON *pair;
	const char *value;
	char text[512];

	cJSON_ArrayForEach(pair, cJSON_GetObjectItemCaseSensitive(record, "meta"))
	{
		value = cJSON_GetStringValue(pair);
		/* One that is cut here can be read whole with --json. */
		(void)snprintf(
		    text, sizeof(text), "%s = %s", pair->string, value == NULL ? "" : value);
		tool_field(f, "meta", text, TERM_PLAIN);
	}
}

static void
field_exposed(const struct tool *t, struct table *f, const cJSON *record)
{
	char when[TOOL_TIME_MAX], ways[64], from[32], text[256];
	const char *addr = tool_text(record, "exposed_from", from);

	if (!keyshow_exposed(record))
		return;
	tool_exact(t, record, "exposed", when);
	(void)tool_join(
	    cJSON_GetObjectItemCaseSensitive(record, "exposed_ways"), " and ", ways, sizeof(ways));
	(void)snprintf(
	    text, sizeof(text), "%s, by %s%s%s", when, ways, addr[0] ? ", from " : "", addr);
	tool_field(f, "exposed", text, TERM_YELLOW);
}

/* "disabled", and whether that is its owner's doing. */
static void
field_state(struct table *f, const cJSON *record)
{
	char buf[32], text[96];
	const char *own = json_str(record, "own_state", NULL);

	(void)snprintf(text, sizeof(text), "%.32s%s%.32s%s", tool_text(record, "state", buf),
	    own != NULL ? " with its owner (by itself " : "", own != NULL ? own : "",
	    own != NULL ? ")" : "");
	tool_field(f, "state", text, keyshow_colour(record));
}

/* The secret before the present one: until when it works, and whether somebody still has it. */
static void
field_previous(const struct tool *t, struct table *f, const cJSON *record)
{
	char until[TOOL_TIME_MAX], used[TOOL_TIME_MAX], buf[32], text[300];

	tool_exact(t, record, "previous_until", until);
	if (until[0] == '\0')
		return;
	tool_exact(t, record, "previous_used", used);
	(void)snprintf(text, sizeof(text), "%.32s..., %s %s, %s%s",
	    tool_text(record, "previous_start", buf),
	    tool_is_over(t, record, "previous_until") ? "ended" : "until", until,
	    used[0] == '\0' ? "not used" : "last used ", used);
	tool_field(f, "old secret", text, TERM_PLAIN);
}

int
keyshow_record(const struct tool *t, const cJSON *record, struct err *e)
{
	struct table *f = tool_fields(t);
	char buf[32];

	field(f, record, "id", "id");
	field_state(f, record);
	field(f, record, "reason", "reason");
	field(f, record, "start", "start");
	field(f, record, "owner", "owner");
	field(f, record, "member", "member");
	field(f, record, "name", "name");
	field(f, record, "plan", "plan");
	field_scopes(f, record);
	field_list(f, record, "allow-ip", "allow_ips");
	field_list(f, record, "referrer", "referrers");
	field_list(f, record, "app", "apps");
	field_list(f, record, "method", "methods");
	if (strcmp(tool_text(record, "browsers", buf), "default") != 0)
		field(f, record, "browsers", "browsers");
	field_meta(f, record);
	field_time(t, f, record, "created", "created");
	field_time(t, f, record, "changed", "changed");
	field_time(t, f, record, "not before", "not_before");
	field_time(t, f, record, "expires", "expires");
	if (json_str(record, "expires", NULL) == NULL)
		tool_field(f, "expires", "never", TERM_PLAIN);
	field_time(t, f, record, "revoked", "revoked");
	field_time(t, f, record, "last used", "last_used");
	if (json_str(record, "last_used", NULL) == NULL)
		tool_field(f, "last used", "never", TERM_PLAIN);
	field_time(t, f, record, "secret from", "secret_created");
	field_time(t, f, record, "rotate by", "rotate_by");
	field_previous(t, f, record);
	field_exposed(t, f, record);
	field(f, record, "pepper", "pepper");
	return tool_fields_end(&f, e);
}

int
keyshow_key(const struct tool *t, const char *key, int quiet, struct err *e)
{
	char text[512];
	struct wbuf w;
	int rc;

	wbuf_init(&w, text, sizeof(text));
	wbuf_str(&w, term_on(&t->term, quiet ? TERM_PLAIN : TERM_BOLD));
	wbuf_str(&w, key);
	wbuf_str(&w, term_off(&t->term, quiet ? TERM_PLAIN : TERM_BOLD));
	wbuf_str(&w, "\n");
	if (!quiet)
		wbuf_str(&w, "\nStore it now: it is shown once and kept nowhere.\n\n");
	rc = w.overflow ? err_set(e, ERR_INTERNAL, "the key is too long")
			: output_bytes(w.p, w.len, e);
	secret_wipe(text, sizeof(text));
	return rc;
}

int
keyshow_made(const struct tool *t, const cJSON *record, int quiet, struct err *e)
{
	const char *key = json_str(record, "key", NULL);

	if (key == NULL)
		return err_set(e, ERR_INTERNAL, "the keeper made a key and did not tell it");
	return t->json ? output_json(record, e) : keyshow_key(t, key, quiet, e);
}

void
keyshow_hold(sigset_t *before)
{
	static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
	sigset_t set;
	size_t i;

	(void)sigemptyset(&set);
	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		(void)sigaddset(&set, held[i]);
	(void)sigprocmask(SIG_BLOCK, &set, before);
	(void)signal(SIGPIPE, SIG_IGN);
}

void
keyshow_release(const sigset_t *before)
{
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, before, NULL);
}
