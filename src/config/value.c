/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The values of settings: reading one from its text, writing it back, copying and freeing it, by
 * kind.
 *
 * Knows the kinds, not the settings (they are rows of settings.c), and neither files nor
 * libConfuse.
 *
 * Invariants: a value is either taken whole or refused with what was expected; what value_format
 * writes, value_set reads back the same.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/value.h"

#define MS INT64_C(1000)

int
value_is_list(const struct setting *s)
{
	return s->kind == SETTING_NETWORKS || s->kind == SETTING_STRINGS;
}

const char *
value_kind_name(const struct setting *s)
{
	static const char *const names[] = {
	    [SETTING_STRING] = "string",
	    [SETTING_PATH] = "path",
	    [SETTING_INT] = "number",
	    [SETTING_MODE] = "octal mode",
	    [SETTING_BOOL] = "true or false",
	    [SETTING_ENUM] = "word",
	    [SETTING_SIZE] = "size",
	    [SETTING_DURATION] = "duration",
	    [SETTING_NETWORKS] = "list of networks",
	    [SETTING_STRINGS] = "list of strings",
	};

	return names[s->kind];
}

/* ---- numbers with units ---- */

static int
parse_size(const char *text, int64_t *out)
{
	static const struct {
		char suffix;
		int shift;
	} units[] = {{'K', 10}, {'M', 20}, {'G', 30}, {'T', 40}};
	struct span s = span_of(text);
	unsigned long long n;
	int shift = 0;
	size_t i;

	for (i = 0; s.len > 1 && i < sizeof(units) / sizeof(units[0]); i++)
		if (s.p[s.len - 1] == units[i].suffix)
			shift = units[i].shift;
	if (shift != 0)
		s.len--;
	if (span_u64(s, (unsigned long long)INT64_MAX >> shift, &n) == -1)
		return -1;
	*out = (int64_t)(n << shift);
	return 0;
}

static void
format_size(int64_t n, struct wbuf *w)
{
	static const char suffix[] = "KMGT";
	size_t i = 0;

	while (n != 0 && n % 1024 == 0 && i < sizeof(suffix) - 1) {
		n /= 1024;
		i++;
	}
	wbuf_dec(w, (uint64_t)n);
	if (i > 0)
		wbuf_u8(w, (uint8_t)suffix[i - 1]);
}

/* base/clock.h knows whole seconds; a time limit also wants milliseconds, and nothing has no unit.
 */
static int
parse_duration(const char *text, int64_t *out)
{
	struct span s = span_of(text);
	unsigned long long n;

	if (span_is(s, "0")) {
		*out = 0;
		return 0;
	}
	if (s.len > 2 && strcmp(text + s.len - 2, "ms") == 0) {
		s.len -= 2;
		if (span_u64(s, INT64_MAX / 1000, &n) == -1)
			return -1;
		*out = (int64_t)n * MS;
		return 0;
	}
	return clock_duration_parse(text, out);
}

static void
format_duration(int64_t us, struct wbuf *w)
{
	char text[32];

	if (us % CLOCK_SECOND != 0) {
		wbuf_printf(w, "%lldms", (long long)(us / MS));
		return;
	}
	clock_duration_format(us, text, sizeof(text));
	wbuf_str(w, text);
}

static int
parse_octal(const char *text, int64_t *out)
{
	char *end;
	unsigned long n;

	if (text[0] < '0' || text[0] > '7' || strlen(text) > 5)
		return -1;
	n = strtoul(text, &end, 8);
	if (*end != '\0')
		return -1;
	*out = (int64_t)n;
	return 0;
}

static int
parse_decimal(const char *text, int64_t *out)
{
	unsigned long long n;

	if (span_u64(span_of(text), INT64_MAX, &n) == -1)
		return -1;
	*out = (int64_t)n;
	return 0;
}

static int
parse_bool(const char *text, int64_t *out)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0) {
			*out = (int64_t)(i % 2);
			return 0;
		}
	return -1;
}

/* ---- what a value should have been ---- */

static void
format_number(const struct setting *s, int64_t n, struct wbuf *w)
{
	if (s->kind == SETTING_SIZE)
		format_size(n, w);
	else if (s->kind == SETTING_DURATION)
		format_duration(n, w);
	else if (s->kind == SETTING_MODE)
		wbuf_printf(w, "%04llo", (unsigned long long)n);
	else
		wbuf_dec(w, (uint64_t)n);
}

void
value_bounds(const struct setting *s, struct wbuf *w)
{
	switch (s->kind) {
	case SETTING_INT:
	case SETTING_SIZE:
	case SETTING_DURATION:
		wbuf_str(w, "From ");
		format_number(s, s->min, w);
		wbuf_str(w, " to ");
		format_number(s, s->max, w);
		wbuf_u8(w, '.');
		break;
	default:
		break;
	}
}

static int
refuse_number(const struct setting *s, char why[VALUE_WHY_MAX])
{
	static const char *const forms[] = {
	    [SETTING_INT] = "a number",
	    [SETTING_MODE] = "an octal mode",
	    [SETTING_SIZE] = "bytes, or a number with K, M, G or T (64M)",
	    [SETTING_DURATION] = "a number with ms, s, m, h, d or w (500ms, 1s)",
	};
	struct wbuf w;

	wbuf_init(&w, why, VALUE_WHY_MAX);
	wbuf_printf(&w, "%s, from ", forms[s->kind]);
	format_number(s, s->min, &w);
	wbuf_str(&w, " to ");
	format_number(s, s->max, &w);
	(void)wbuf_cstr(&w);
	return -1;
}

static int
refuse_text(const struct setting *s, char why[VALUE_WHY_MAX])
{
	(void)snprintf(why, VALUE_WHY_MAX, "%s, %lld to %lld characters", s->expects,
	    (long long)s->min, (long long)s->max);
	return -1;
}

static int
refuse_word(const struct setting *s, char why[VALUE_WHY_MAX])
{
	struct wbuf w;
	size_t i;

	wbuf_init(&w, why, VALUE_WHY_MAX);
	wbuf_str(&w, "one of");
	for (i = 0; s->words[i] != NULL; i++)
		wbuf_printf(&w, "%s %s", i > 0 ? "," : "", s->words[i]);
	(void)wbuf_cstr(&w);
	return -1;
}

/* ---- setting a field ---- */

static void *
field(const struct setting *s, struct config *C)
{
	return (char *)C + s->offset;
}

static const void *
field_of(const struct setting *s, const struct config *C)
{
	return (const char *)C + s->offset;
}

static size_t *
count(const struct setting *s, struct config *C)
{
	return (size_t *)(void *)((char *)C + s->count_offset);
}

static size_t
count_of(const struct setting *s, const struct config *C)
{
	return *(const size_t *)(const void *)((const char *)C + s->count_offset);
}

static int
set_text(const struct setting *s, const char *text, struct config *C, char why[VALUE_WHY_MAX])
{
	struct span v = span_of(text);
	char *copy;

	if ((int64_t)v.len < s->min || (int64_t)v.len > s->max || !s->ok(v))
		return refuse_text(s, why);
	if (C == NULL)
		return 0;
	if ((copy = strdup(text)) == NULL) {
		(void)snprintf(why, VALUE_WHY_MAX, "memory for it");
		return -1;
	}
	if (s->kind == SETTING_STRINGS) {
		((char **)field(s, C))[(*count(s, C))++] = copy;
	} else {
		free(*(char **)field(s, C));
		*(char **)field(s, C) = copy;
	}
	return 0;
}

static int
set_number(const struct setting *s, const char *text, struct config *C,
    int (*parse)(const char *, int64_t *), char why[VALUE_WHY_MAX])
{
	int64_t n;

	if (parse(text, &n) == -1 || n < s->min || n > s->max)
		return refuse_number(s, why);
	if (C == NULL)
		return 0;
	if (s->kind == SETTING_SIZE || s->kind == SETTING_DURATION)
		*(int64_t *)field(s, C) = n;
	else
		*(unsigned *)field(s, C) = (unsigned)n;
	return 0;
}

static int
set_word(const struct setting *s, const char *text, struct config *C, char why[VALUE_WHY_MAX])
{
	int i;

	for (i = 0; s->words[i] != NULL; i++)
		if (strcmp(text, s->words[i]) == 0) {
			if (C != NULL)
				*(int *)field(s, C) = i;
			return 0;
		}
	return refuse_word(s, why);
}

static int
set_bool(const struct setting *s, const char *text, struct config *C, char why[VALUE_WHY_MAX])
{
	int64_t n;

	if (parse_bool(text, &n) == -1) {
		(void)snprintf(why, VALUE_WHY_MAX, "true or false");
		return -1;
	}
	if (C != NULL)
		*(int *)field(s, C) = (int)n;
	return 0;
}

static int
add_network(const struct setting *s, const char *text, struct config *C, char why[VALUE_WHY_MAX])
{
	struct netaddr_net net;

	if (netaddr_net_parse(span_of(text), &net) == -1) {
		(void)snprintf(why, VALUE_WHY_MAX,
		    "a network without host bits, or an address (10.0.0.0/8, 2001:db8::/32, "
		    "192.0.2.7)");
		return -1;
	}
	if (C != NULL)
		((struct netaddr_net *)field(s, C))[(*count(s, C))++] = net;
	return 0;
}

int
value_set(const struct setting *s, const char *text, struct config *C, char why[VALUE_WHY_MAX])
{
	why[0] = '\0';
	if (C != NULL && value_is_list(s) && *count(s, C) >= CONFIG_LIST_MAX) {
		(void)snprintf(why, VALUE_WHY_MAX, "at most %d items", CONFIG_LIST_MAX);
		return -1;
	}
	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_PATH:
	case SETTING_STRINGS:
		return set_text(s, text, C, why);
	case SETTING_INT:
		return set_number(s, text, C, parse_decimal, why);
	case SETTING_MODE:
		return set_number(s, text, C, parse_octal, why);
	case SETTING_SIZE:
		return set_number(s, text, C, parse_size, why);
	case SETTING_DURATION:
		return set_number(s, text, C, parse_duration, why);
	case SETTING_BOOL:
		return set_bool(s, text, C, why);
	case SETTING_ENUM:
		return set_word(s, text, C, why);
	case SETTING_NETWORKS:
		return add_network(s, text, C, why);
	}
	return -1;
}

void
value_clear(const struct setting *s, struct config *C)
{
	size_t i;

	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_PATH:
		free(*(char **)field(s, C));
		*(char **)field(s, C) = NULL;
		break;
	case SETTING_STRINGS:
		for (i = 0; i < *count(s, C); i++)
			free(((char **)field(s, C))[i]);
		*count(s, C) = 0;
		break;
	case SETTING_NETWORKS:
		*count(s, C) = 0;
		break;
	default:
		break;
	}
}

/* ---- writing a value ---- */

/* Double quotes where nothing in them means anything to libConfuse, else single quotes. */
static void
format_quoted(const char *text, struct wbuf *w)
{
	char quote = strpbrk(text, "\"\\$") == NULL ? '"' : '\'';
	const char *p;

	wbuf_u8(w, (uint8_t)quote);
	for (p = text; *p != '\0'; p++) {
		if (quote == '\'' && (*p == '\'' || *p == '\\'))
			wbuf_u8(w, '\\');
		wbuf_u8(w, (uint8_t)*p);
	}
	wbuf_u8(w, (uint8_t)quote);
}

static void
format_list(const struct setting *s, const struct config *C, struct wbuf *w)
{
	char text[NETADDR_TEXT_MAX];
	size_t i;

	wbuf_u8(w, '{');
	for (i = 0; i < count_of(s, C); i++) {
		wbuf_str(w, i > 0 ? ", " : "");
		if (s->kind == SETTING_STRINGS) {
			format_quoted(((char *const *)field_of(s, C))[i], w);
			continue;
		}
		netaddr_net_format(&((const struct netaddr_net *)field_of(s, C))[i], text);
		format_quoted(text, w);
	}
	wbuf_u8(w, '}');
}

void
value_format(const struct setting *s, const struct config *C, struct wbuf *w)
{
	const void *f = field_of(s, C);

	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_PATH:
		format_quoted(*(char *const *)f, w);
		break;
	case SETTING_INT:
	case SETTING_MODE:
		format_number(s, *(const unsigned *)f, w);
		break;
	case SETTING_SIZE:
	case SETTING_DURATION:
		format_number(s, *(const int64_t *)f, w);
		break;
	case SETTING_BOOL:
		wbuf_str(w, *(const int *)f ? "true" : "false");
		break;
	case SETTING_ENUM:
		wbuf_str(w, s->words[*(const int *)f]);
		break;
	case SETTING_NETWORKS:
	case SETTING_STRINGS:
		format_list(s, C, w);
		break;
	}
}

int
value_copy(const struct setting *s, struct config *to, const struct config *from)
{
	char *copy;

	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_PATH:
		if ((copy = strdup(*(char *const *)field_of(s, from))) == NULL)
			return -1;
		free(*(char **)field(s, to));
		*(char **)field(s, to) = copy;
		return 0;
	case SETTING_SIZE:
	case SETTING_DURATION:
		*(int64_t *)field(s, to) = *(const int64_t *)field_of(s, from);
		return 0;
	case SETTING_INT:
	case SETTING_MODE:
	case SETTING_BOOL:
	case SETTING_ENUM:
		*(int *)field(s, to) = *(const int *)field_of(s, from);
		return 0;
	default:
		return -1;
	}
}
