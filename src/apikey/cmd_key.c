/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey create, list, show, set, disable, enable, revoke: the life of a key.  The keeper decides
 * what is right; here its words are asked for and shown.
 *
 * Invariant: the key itself is in the memory of cJSON (wiped when it is freed) and in one buffer of
 * ours (wiped), and leaves the process by write(2) to standard output and no other way.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/output.h"
#include "apikey/table.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/secret.h"
#include "core/token.h"

#define JOINED_MAX 4096
#define NARROW 110 /* terminals below it get no column for the start of the key */

static int
is_exposed(const cJSON *record)
{
	return json_str(record, "exposed", NULL) != NULL;
}

static enum term_colour
state_colour(const cJSON *record)
{
	char buf[32];
	const char *state = tool_text(record, "state", buf);

	if (strcmp(state, "active") == 0)
		return is_exposed(record) ? TERM_YELLOW : TERM_GREEN;
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

	if (!is_exposed(record))
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
	tool_field(f, "state", text, state_colour(record));
}

/* Everything that is known of a key. */
static int
print_record(const struct tool *t, const cJSON *record, struct err *e)
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
	field_exposed(t, f, record);
	field(f, record, "pepper", "pepper");
	return tool_fields_end(&f, e);
}

/* The key on a line of its own, and that it is the only time. */
static int
print_key(const struct tool *t, const char *key, int quiet, struct err *e)
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

/*
 * A key that is made and not shown is lost.  So between the two this process cannot be interrupted:
 * a signal takes effect when the key is on standard output, and a pipe that nobody reads is an
 * error and no end.  The child that works alone inherits it.
 */
static void
hold_signals(sigset_t *before)
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

static void
release_signals(const sigset_t *before)
{
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, before, NULL);
}

/* Nobody has the key and nobody can get it: it must not stay valid.  Says what became of it. */
static void
take_back(struct tool *t, const cJSON *record, struct err *e)
{
	char buf[32];
	const char *id = tool_text(record, "id", buf);
	cJSON *request = cJSON_CreateObject(), *revoked = NULL;

	if (cJSON_AddStringToObject(request, "id", id) != NULL &&
	    cJSON_AddStringToObject(request, "reason", "could not be shown") != NULL)
		revoked = tool_change(t, "key.revoke", request, NULL);
	cJSON_Delete(request);
	if (revoked == NULL)
		(void)err_wrap(e,
		    "the key was made but could not be shown, and never will be; run `apikey "
		    "revoke %s`",
		    id);
	else
		(void)err_wrap(e, "the key could not be shown, so %s was revoked again", id);
	cJSON_Delete(revoked);
}

/* The record of a key that was made and shown, or NULL. */
static cJSON *
make_and_show(struct tool *t, cJSON *request, int quiet, struct err *e)
{
	cJSON *record = tool_change(t, "key.create", request, e);
	const char *key;
	int rc;

	if (record == NULL)
		return NULL;
	if ((key = json_str(record, "key", NULL)) == NULL)
		rc = err_set(e, ERR_INTERNAL, "the keeper made a key and did not tell it");
	else if (t->json)
		rc = output_json(record, e);
	else
		rc = print_key(t, key, quiet, e);
	if (rc == 0)
		return record;
	take_back(t, record, e);
	cJSON_Delete(record);
	return NULL;
}

int
cmd_key_create(struct tool *t, struct options *o, struct err *e)
{
	int quiet = options_local(o, "quiet"), rc = 0;
	sigset_t before;
	cJSON *record;

	if (quiet && t->json)
		return err_set(e, ERR_USAGE, "--quiet and --json exclude each other");
	hold_signals(&before);
	record = make_and_show(t, o->request, quiet, e);
	release_signals(&before);
	if (record == NULL)
		return -1;
	if (!quiet && !t->json)
		rc = print_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

static void
list_row(const struct tool *t, struct table *table, const cJSON *record)
{
	char buf[32], state[64], when[TOOL_TIME_MAX];

	table_add(table, tool_text(record, "id", buf), TERM_PLAIN);
	if (t->term.columns == 0 || t->term.columns >= NARROW)
		table_add(table, tool_text(record, "start", buf), TERM_DIM);
	table_add(table, tool_text(record, "owner", buf), TERM_PLAIN);
	table_add(table, tool_text(record, "name", buf), TERM_PLAIN);
	table_add(table, tool_text(record, "plan", buf), TERM_PLAIN);
	(void)snprintf(state, sizeof(state), "%.32s%s", tool_text(record, "state", buf),
	    is_exposed(record) ? ", exposed" : "");
	table_add(table, state, state_colour(record));
	tool_relative(t, record, "created", when);
	table_add(table, when, TERM_PLAIN);
	tool_relative(t, record, "expires", when);
	table_add(table, when[0] == '\0' ? "never" : when, TERM_PLAIN);
}

int
cmd_key_list(struct tool *t, struct options *o, struct err *e)
{
	/* Rows of the first and of the second table must be those of list_row. */
	static const struct table_column narrow[] = {{"ID", 0, 0}, {"OWNER", 0, 6}, {"NAME", 0, 6},
	    {"PLAN", 0, 6}, {"STATE", 0, 0}, {"CREATED", 0, 0}, {"EXPIRES", 0, 0}};
	static const struct table_column wide[] = {{"ID", 0, 0}, {"START", 0, 0}, {"OWNER", 0, 6},
	    {"NAME", 0, 6}, {"PLAN", 0, 6}, {"STATE", 0, 0}, {"CREATED", 0, 0}, {"EXPIRES", 0, 0}};
	struct tool_list list = {.op = "key.list",
	    .array = "keys",
	    .columns = wide,
	    .ncolumns = sizeof(wide) / sizeof(wide[0]),
	    .row = list_row,
	    .none = "There are no such keys."};

	if (t->term.columns != 0 && t->term.columns < NARROW) {
		list.columns = narrow;
		list.ncolumns = sizeof(narrow) / sizeof(narrow[0]);
	}
	return tool_list(t, &list, o->request, e) == 0 ? TOOL_DONE : -1;
}

/*
 * What cannot be an id names no key: not found, like an id that nobody has, and no malformed value,
 * so that a script need not tell the two apart.  Not repeated: somebody may have pasted a key.
 */
static int
check_id(const struct options *o, struct err *e)
{
	if (token_id_ok(span_of(json_str(o->request, "id", NULL))))
		return 0;
	return err_set(e, ERR_NOT_FOUND,
	    "that is not the id of a key: an id is key_ and 16 letters or digits; apikey list "
	    "shows them");
}

int
cmd_key_show(struct tool *t, struct options *o, struct err *e)
{
	const cJSON *limits;
	cJSON *record;
	int rc;

	if (check_id(o, e) == -1 || (record = tool_ask(t, "key.show", o->request, e)) == NULL)
		return -1;
	limits = cJSON_GetObjectItemCaseSensitive(record, "limits");
	if (t->json)
		rc = output_json(record, e);
	else if ((rc = print_record(t, record, e)) == 0)
		rc = tool_limits(t, limits, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_set(struct tool *t, struct options *o, struct err *e)
{
	cJSON *record;
	int rc;

	if (cJSON_GetArraySize(o->request) == 1)
		return err_set(e, ERR_USAGE, "nothing to change; say what, see: apikey set --help");
	if (check_id(o, e) == -1 || (record = tool_change(t, "key.set", o->request, e)) == NULL)
		return -1;
	rc = t->json ? output_json(record, e) : print_record(t, record, e);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

/* An operation on a key that changes nothing but its state. */
static int
change_state(struct tool *t, const char *op, const char *now, struct options *o, struct err *e)
{
	char buf[32];
	cJSON *record;
	int rc = 0;

	if (check_id(o, e) == -1 || (record = tool_change(t, op, o->request, e)) == NULL)
		return -1;
	if (t->json)
		rc = output_json(record, e);
	else
		printf("%s is now %s\n", tool_text(o->request, "id", buf), now);
	cJSON_Delete(record);
	return rc == 0 ? TOOL_DONE : -1;
}

int
cmd_key_disable(struct tool *t, struct options *o, struct err *e)
{
	return change_state(t, "key.disable", "disabled", o, e);
}

int
cmd_key_enable(struct tool *t, struct options *o, struct err *e)
{
	return change_state(t, "key.enable", "enabled", o, e);
}

int
cmd_key_revoke(struct tool *t, struct options *o, struct err *e)
{
	return change_state(t, "key.revoke", "revoked", o, e);
}
