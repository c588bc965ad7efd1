/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The table-driven parser of command lines, for the admin tool.  It knows options and operands, not
 * subcommands (rows of command.c) and not what values mean (kinds.c).
 *
 * It is no place for keys: main has refused every argument that holds one before anything here
 * runs, because the messages below repeat what was typed.
 *
 * Invariants: after -1 the error is ERR_USAGE and names the option (or ERR_SYSTEM, no memory);
 * an option that may not be repeated, or that contradicts another one of the same member, is
 * refused and never overwritten silently.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/kinds.h"
#include "apikey/options.h"
#include "base/span.h"
#include "base/text.h"

int
options_init(struct options *o, int64_t now_us, struct err *e)
{
	memset(o, 0, sizeof(*o));
	o->now_us = now_us;
	o->request = cJSON_CreateObject();
	o->local = cJSON_CreateObject();
	if (o->request == NULL || o->local == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	return 0;
}

void
options_release(struct options *o)
{
	cJSON_Delete(o->request);
	cJSON_Delete(o->local);
	memset(o, 0, sizeof(*o));
}

int
options_repeats(enum option_kind kind)
{
	return kinds_repeats(kind);
}

unsigned
options_distance(const char *a, const char *b)
{
	unsigned row[32], diagonal, above, i, j;
	size_t la = strlen(a), lb = strlen(b);

	if (la >= 32 || lb >= 32)
		return 32;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= lb; j++) {
			above = row[j];
			row[j] = diagonal + (a[i - 1] != b[j - 1]);
			if (above + 1 < row[j])
				row[j] = above + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diagonal = above;
		}
	}
	return row[lb];
}

/* The option of either table that argv's ${name} (of ${len} bytes, long or one letter) names. */
static const struct option_def *
find(const struct option_def *table, const char *name, size_t len, int is_long)
{
	const struct option_def *d;

	for (d = table; d != NULL && d->name != NULL; d++) {
		if (is_long && strlen(d->name) == len && memcmp(d->name, name, len) == 0)
			return d;
		if (!is_long && d->letter != '\0' && d->letter == name[0])
			return d;
	}
	return NULL;
}

static int
unknown(
    const char *name, const struct option_def *own, const struct option_def *global, struct err *e)
{
	const struct option_def *tables[2] = {own, global}, *d;
	const char *best = NULL;
	unsigned distance, least = OPTIONS_NEAR + 1;
	size_t t;

	for (t = 0; t < 2; t++) {
		for (d = tables[t]; d != NULL && d->name != NULL; d++) {
			distance = options_distance(name, d->name);
			if (distance < least && d->kind != OPTION_REFUSED) {
				least = distance;
				best = d->name;
			}
		}
	}
	if (best != NULL)
		return err_set(e, ERR_USAGE, "unknown option --%s; did you mean --%s?", name, best);
	return err_set(e, ERR_USAGE, "unknown option --%s", name);
}

/*
 * May ${def} be used (again)?  Remembers it.  Options of one member exclude each other: --scope and
 * --no-scopes together have no meaning.
 */
static int
note(struct options *o, const struct option_def *def, struct err *e)
{
	const struct option_def *s;
	size_t i;

	for (i = 0; i < o->nseen; i++) {
		s = o->seen[i];
		if (s == def) {
			if (kinds_repeats(def->kind))
				return 0;
			return err_set(e, ERR_USAGE, "--%s is given twice", def->name);
		}
		if (s->member != NULL && def->member != NULL && strcmp(s->member, def->member) == 0)
			return err_set(
			    e, ERR_USAGE, "--%s and --%s exclude each other", s->name, def->name);
	}
	if (o->nseen == OPTIONS_DISTINCT_MAX)
		return err_set(e, ERR_USAGE, "too many options");
	o->seen[o->nseen++] = def;
	return 0;
}

int
options_take(struct options *o, const struct option_def *own, const struct option_def *global,
    int argc, char **argv, int *i, struct err *e)
{
	const char *arg = argv[*i], *name, *inline_value = NULL;
	const struct option_def *def;
	struct kinds_use u;
	int is_long = arg[1] == '-';
	size_t len;

	name = arg + (is_long ? 2 : 1);
	if (name[0] == '\0')
		return err_set(e, ERR_USAGE, "%s is not an option", arg);
	len = is_long ? strcspn(name, "=") : 1;
	if (name[len] != '\0')
		inline_value = name + len + (is_long ? 1 : 0);
	if ((def = find(own, name, len, is_long)) == NULL)
		def = find(global, name, len, is_long);
	if (def == NULL) {
		char text[64];

		(void)snprintf(text, sizeof(text), "%.*s", (int)(len < 60 ? len : 60), name);
		if (is_long)
			return unknown(text, own, global, e);
		return err_set(e, ERR_USAGE, "unknown option -%s", text);
	}
	if (def->kind == OPTION_REFUSED)
		return err_set(e, ERR_USAGE, "--%s is no option here: %s", def->name, def->help);
	(*i)++;
	if (!kinds_takes_value(def->kind) && inline_value != NULL)
		return err_set(e, ERR_USAGE, "--%s takes no value", def->name);
	u = (struct kinds_use){def, def->member != NULL ? o->request : o->local,
	    def->member != NULL ? def->member : def->name, inline_value, o->now_us};
	if (kinds_takes_value(def->kind) && inline_value == NULL) {
		if (*i >= argc)
			return err_set(e, ERR_USAGE, "--%s needs a value: --%s %s", def->name,
			    def->name, def->arg);
		if (strncmp(argv[*i], "--", 2) == 0)
			return err_set(e, ERR_USAGE,
			    "--%s needs a value; one that begins with -- is written --%s=VALUE",
			    def->name, def->name);
		u.value = argv[(*i)++];
	}
	if (note(o, def, e) == -1)
		return -1;
	return kinds_apply(&u, e);
}

/* The next operand: which of ${table} it is follows from how many came before. */
static int
take_operand(
    struct options *o, const struct option_operand *table, const char *value, struct err *e)
{
	static const struct option_def defs[] = {[OPTION_ONE] = {.kind = OPTION_TEXT},
	    [OPTION_REST] = {.kind = OPTION_TEXTS},
	    [OPTION_REST_PATHS] = {.kind = OPTION_PATHS}};
	const struct option_operand *p = table;
	struct kinds_use u;
	size_t n;

	for (n = o->noperands; p != NULL && p->name != NULL && !p->many && n > 0; n--)
		p++;
	if (p == NULL || p->name == NULL)
		return err_set(e, ERR_USAGE, "unexpected argument: %s", value);
	if (value[0] == '\0')
		return err_set(e, ERR_USAGE, "%s must not be empty", p->name);
	if (p->many != OPTION_REST_PATHS && !text_printable(span_of(value)))
		return err_set(
		    e, ERR_USAGE, "%s must be UTF-8 without control characters", p->name);
	o->noperands++;
	u = (struct kinds_use){&defs[p->many], o->request, p->member, value, o->now_us};
	return kinds_apply(&u, e);
}

int
options_rest(struct options *o, const struct option_def *own, const struct option_def *global,
    const struct option_operand *operands, int argc, char **argv, int i, struct err *e)
{
	int only_operands = 0;

	while (i < argc) {
		if (!only_operands && strcmp(argv[i], "--") == 0) {
			only_operands = 1;
			i++;
		} else if (!only_operands && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (options_take(o, own, global, argc, argv, &i, e) == -1)
				return -1;
		} else if (take_operand(o, operands, argv[i++], e) == -1) {
			return -1;
		}
	}
	return 0;
}

int
options_complete(const struct options *o, const struct option_def *own,
    const struct option_operand *operands, struct err *e)
{
	const struct option_operand *p;
	const struct option_def *d;
	size_t i;

	for (p = operands; p != NULL && p->name != NULL; p++) {
		if (!p->optional && !cJSON_HasObjectItem(o->request, p->member))
			return err_set(e, ERR_USAGE, "%s is missing", p->name);
	}
	for (d = own; d != NULL && d->name != NULL; d++) {
		if (!d->required)
			continue;
		for (i = 0; i < o->nseen && o->seen[i] != d; i++)
			;
		if (i == o->nseen)
			return err_set(e, ERR_USAGE, "--%s %s is missing", d->name, d->arg);
	}
	return 0;
}

int
options_local(const struct options *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o->local, name) != NULL;
}

const char *
options_local_text(const struct options *o, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o->local, name));
}
