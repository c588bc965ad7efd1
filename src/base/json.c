/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JSON for administrative messages and for the tool's output; the hot path does not use it.  cJSON
 * builds, prints and parses; this file makes it strict (RFC 8259), because what cJSON lets pass
 * (NUL in the middle of a string, control characters, names twice, "01") means different things to
 * different readers.
 *
 * It does not know which members a message has: the operations ask for them by name and type.
 *
 * Invariants:
 * - Text is judged before cJSON sees it: depth, strings, numbers, white space.
 * - No error message quotes a value: one may be a key.  Names are quoted, made printable by err.c.
 * - Every block that cJSON frees is overwritten first, and printing leaves no copies behind.
 * - A value that memory was missing for is counted, so that nothing incomplete passes for whole.
 */

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

#define DEPTH_MAX 16
#define EXACT_MAX 9007199254740992.0 /* 2^53: integers of a double are exact up to here */

/* Of one thread: that which has to do with JSON. */
static unsigned lost;

static void *
allocate(size_t n)
{
	void *p = malloc(n);

	lost += p == NULL;
	return p;
}

static void
wipe_and_free(void *p)
{
	if (p != NULL)
		secret_wipe(p, malloc_usable_size(p));
	free(p);
}

void
json_init(void)
{
	/* With a free of ours cJSON does not use realloc, which would leave old blocks unwiped. */
	cJSON_Hooks hooks = {allocate, wipe_and_free};

	cJSON_InitHooks(&hooks);
}

unsigned
json_lost(void)
{
	return lost;
}

static int
is_digit(struct span s, size_t i)
{
	return i < s.len && s.p[i] >= '0' && s.p[i] <= '9';
}

static int
is_one_of(struct span s, size_t i, const char *set)
{
	return i < s.len && s.p[i] != '\0' && strchr(set, s.p[i]) != NULL;
}

/* Four hex digits at ${i}, not all zero. */
static int
is_unicode_escape(struct span s, size_t i)
{
	size_t k;

	if (s.len - i < 4 || memcmp(s.p + i, "0000", 4) == 0)
		return 0;
	for (k = 0; k < 4; k++)
		if (!is_one_of(s, i + k, "0123456789abcdefABCDEF"))
			return 0;
	return 1;
}

/* Step over the string that begins at ${*at}.  NULL, or what is wrong with it. */
static const char *
scan_string(struct span s, size_t *at)
{
	size_t i;

	for (i = *at + 1; i < s.len && s.p[i] != '"'; i++) {
		*at = i;
		if ((unsigned char)s.p[i] < 0x20)
			return "a control character in a string";
		if (s.p[i] != '\\')
			continue;
		if (is_one_of(s, ++i, "u")) {
			if (!is_unicode_escape(s, i + 1))
				return "a malformed \\u escape, or NUL";
			i += 4;
		}
	}
	*at = i + 1;
	return i < s.len ? NULL : "a string that does not end";
}

/* Step over the number that begins at ${*at}. */
static const char *
scan_number(struct span s, size_t *at)
{
	size_t i = *at, first;

	if (s.p[i] == '-')
		i++;
	first = i;
	while (is_digit(s, i))
		i++;
	if (i == first || (s.p[first] == '0' && i > first + 1))
		return "a malformed number";
	if (is_one_of(s, i, ".")) {
		first = ++i;
		while (is_digit(s, i))
			i++;
		if (i == first)
			return "a malformed number";
	}
	if (is_one_of(s, i, "eE")) {
		if (is_one_of(s, ++i, "+-"))
			i++;
		first = i;
		while (is_digit(s, i))
			i++;
		if (i == first)
			return "a malformed number";
	}
	*at = i;
	return NULL;
}

/* Judge what cJSON does not.  NULL when all is well, else what is wrong, and ${*at} where. */
static const char *
scan(struct span s, size_t *at)
{
	const char *wrong = NULL;
	unsigned depth = 0;
	unsigned char c;

	*at = 0;
	while (*at < s.len && wrong == NULL) {
		if (s.p[*at] == '"') {
			wrong = scan_string(s, at);
			continue;
		}
		if (s.p[*at] == '-' || is_digit(s, *at)) {
			wrong = scan_number(s, at);
			continue;
		}
		if ((s.p[*at] == '{' || s.p[*at] == '[') && ++depth > DEPTH_MAX)
			return "more than 16 levels";
		if ((s.p[*at] == '}' || s.p[*at] == ']') && depth-- == 0)
			return "a bracket too many";
		c = (unsigned char)s.p[*at];
		if (c > 0x7e || (c < 0x20 && !is_one_of(s, *at, "\t\n\r")))
			return "a character that JSON does not have";
		++*at;
	}
	if (wrong == NULL && depth > 0)
		wrong = "its end is missing";
	return wrong;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No name twice among the members of ${object}.  Sorted, as a hostile object may have thousands. */
static int
check_names(const cJSON *object, struct err *e)
{
	size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
	const char **names;
	const cJSON *child;
	int rc = 0;

	if (n < 2)
		return 0;
	names = calloc(n, sizeof(*names));
	if (names == NULL) {
		lost++;
		return err_sys(e, "cannot read JSON");
	}
	cJSON_ArrayForEach(child, object)
	{
		names[i++] = child->string;
	}
	qsort(names, n, sizeof(*names), compare_names);
	for (i = 1; i < n && rc == 0; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			rc = err_set(e, ERR_INPUT, "JSON: member \"%.64s\" occurs twice", names[i]);
	free(names);
	return rc;
}

/* The same at all levels; they are at most DEPTH_MAX. */
static int
check_all_names(const cJSON *node, struct err *e)
{
	const cJSON *child;

	if (cJSON_IsObject(node) && check_names(node, e) != 0)
		return -1;
	cJSON_ArrayForEach(child, node)
	{
		if (check_all_names(child, e) != 0)
			return -1;
	}
	return 0;
}

cJSON *
json_parse_object(struct span s, struct err *e)
{
	const char *wrong, *end = NULL;
	unsigned before = lost;
	cJSON *root = NULL;
	size_t at;

	wrong = scan(s, &at);
	if (wrong == NULL && !text_utf8(s)) {
		at = 0;
		wrong = "not UTF-8";
	}
	if (wrong != NULL) {
		(void)err_set(e, ERR_INPUT, "JSON: %s (near byte %zu)", wrong, at);
		return NULL;
	}
	root = cJSON_ParseWithLengthOpts(s.p, s.len, &end, 0);
	if (root == NULL && lost != before) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	at = end == NULL ? 0 : (size_t)(end - s.p);
	while (root != NULL && is_one_of(s, at, " \t\n\r"))
		at++;
	if (root == NULL || at < s.len) {
		(void)err_set(e, ERR_INPUT, "JSON: syntax error near byte %zu", at);
		goto fail;
	}
	if (!cJSON_IsObject(root)) {
		(void)err_set(e, ERR_INPUT, "JSON: not an object");
		goto fail;
	}
	if (check_all_names(root, e) != 0)
		goto fail;
	return root;
fail:
	cJSON_Delete(root);
	return NULL;
}

/* The member ${name}; NULL when it is absent or null. */
static const cJSON *
member(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNull(item) ? NULL : item;
}

static void
wrong_type(struct err *e, const char *name, const char *expected)
{
	if (e != NULL && e->code == ERR_NONE)
		(void)err_set(e, ERR_INPUT, "\"%s\" must be %s", name, expected);
}

const char *
json_str(const cJSON *object, const char *name, struct err *e)
{
	const cJSON *item = member(object, name);

	if (item != NULL && !cJSON_IsString(item))
		wrong_type(e, name, "a string");
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

int64_t
json_int(
    const cJSON *object, const char *name, int64_t absent, int64_t min, int64_t max, struct err *e)
{
	const cJSON *item = member(object, name);
	double d;

	if (item == NULL)
		return absent;
	d = cJSON_IsNumber(item) ? item->valuedouble : EXACT_MAX + 2;
	if (d >= -EXACT_MAX && d <= EXACT_MAX && (double)(int64_t)d == d && (int64_t)d >= min &&
	    (int64_t)d <= max)
		return (int64_t)d;
	if (e != NULL && e->code == ERR_NONE)
		(void)err_set(e, ERR_INPUT, "\"%s\" must be a whole number from %lld to %lld", name,
		    (long long)min, (long long)max);
	return absent;
}

int
json_bool(const cJSON *object, const char *name, int absent, struct err *e)
{
	const cJSON *item = member(object, name);

	if (item == NULL)
		return absent;
	if (!cJSON_IsBool(item)) {
		wrong_type(e, name, "true or false");
		return absent;
	}
	return cJSON_IsTrue(item);
}

const cJSON *
json_array(const cJSON *object, const char *name, struct err *e)
{
	const cJSON *item = member(object, name);

	if (item != NULL && !cJSON_IsArray(item))
		wrong_type(e, name, "an array");
	return cJSON_IsArray(item) ? item : NULL;
}

const cJSON *
json_object(const cJSON *object, const char *name, struct err *e)
{
	const cJSON *item = member(object, name);

	if (item != NULL && !cJSON_IsObject(item))
		wrong_type(e, name, "an object");
	return cJSON_IsObject(item) ? item : NULL;
}

int
json_only(const cJSON *object, const char *const *known, struct err *e)
{
	const cJSON *child;
	size_t i;

	cJSON_ArrayForEach(child, object)
	{
		for (i = 0; known[i] != NULL; i++)
			if (strcmp(child->string, known[i]) == 0)
				break;
		if (known[i] == NULL)
			return err_set(
			    e, ERR_INPUT, "there is no member \"%.64s\" here", child->string);
	}
	return 0;
}

size_t
json_print(const cJSON *item, char *buf, size_t cap)
{
	int room = cap > INT_MAX ? INT_MAX : (int)cap;

	/* Into the caller's memory: a buffer of cJSON's own would grow, and be copied. */
	if (room > 0 && cJSON_PrintPreallocated((cJSON *)(uintptr_t)item, buf, room, 0))
		return strlen(buf);
	secret_wipe(buf, cap);
	return 0;
}

void
json_add_time(cJSON *object, const char *name, int64_t us)
{
	char text[21];

	if (us == 0) {
		(void)cJSON_AddNullToObject(object, name);
		return;
	}
	clock_rfc3339(us, text);
	(void)cJSON_AddStringToObject(object, name, text);
}

void
json_add_span(cJSON *object, const char *name, struct span s)
{
	int utf8 = text_utf8(s);
	char *text = cJSON_malloc(s.len + 1);
	size_t i;

	if (text == NULL)
		return;
	/* What is printed must parse again, so nothing that JSON cannot carry gets in. */
	for (i = 0; i < s.len; i++)
		text[i] = s.p[i] == '\0' || (!utf8 && (unsigned char)s.p[i] > 0x7e) ? '?' : s.p[i];
	text[s.len] = '\0';
	(void)cJSON_AddStringToObject(object, name, text);
	cJSON_free(text);
}
