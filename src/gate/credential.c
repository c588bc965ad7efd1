/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Finds the credential of a request, and refuses whatever two readers could read differently: a
 * repeated header, two different keys, a list, white space within.  Runs in a worker; says nothing
 * about whether a key is good.
 *
 * The URL is searched in both places where servers put its query, because some leave QUERY_STRING
 * empty (nginx's auth_request) and some rewrite REQUEST_URI.  Only values of a key's form count
 * there: `?key=name` is a client's own business.  Where foreign keys are accepted that is any
 * longer value: a key of another system is not known by its form.
 *
 * Invariants: all params are walked, never only the first of a name; a key decoded here is in the
 * caller's memory alone.
 */

#include <openssl/crypto.h>

#include "gate/credential.h"

#include "base/secret.h"
#include "base/text.h"

#define QUERY_NAME_MAX 64

int
credential_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.p, b.p, a.len) == 0);
}

/* One value: no list, no white space or control character within. */
static int
is_single(struct span value)
{
	return value.len == 0 ||
	       (!text_has_control(value) && memchr(value.p, ' ', value.len) == NULL &&
		   memchr(value.p, ',', value.len) == NULL);
}

/* The key of an Authorization field: OK, KEY_MISSING for a scheme that is not ours,
 * REQUEST_INVALID. */
static enum verdict
bearer(struct span field, struct span *key)
{
	size_t n = 0;

	field = span_trim(field);
	while (n < field.len && field.p[n] != ' ' && field.p[n] != '\t')
		n++;
	if (!span_ieq((struct span){field.p, n}, span_of("Bearer")))
		return VERDICT_KEY_MISSING;
	*key = span_trim((struct span){field.p + n, field.len - n});
	return key->len > 0 && is_single(*key) ? VERDICT_OK : VERDICT_REQUEST_INVALID;
}

enum verdict
credential_in_headers(const struct params *params, struct span *key)
{
	struct span field, from_bearer = {NULL, 0}, from_header = {NULL, 0};
	enum verdict verdict;
	int n;

	*key = (struct span){NULL, 0};
	n = params_get(params, "HTTP_AUTHORIZATION", &field);
	if (n == 2)
		return VERDICT_REQUEST_INVALID;
	if (n == 1) {
		verdict = bearer(field, &from_bearer);
		if (verdict != VERDICT_OK && verdict != VERDICT_KEY_MISSING)
			return verdict;
	}
	n = params_get(params, "HTTP_X_API_KEY", &field);
	if (n == 2)
		return VERDICT_REQUEST_INVALID;
	if (n == 1) {
		from_header = span_trim(field);
		if (!is_single(from_header))
			return VERDICT_REQUEST_INVALID;
	}
	if (from_bearer.len > 0 && from_header.len > 0 &&
	    !credential_equal(from_bearer, from_header))
		return VERDICT_REQUEST_INVALID;
	*key = from_bearer.len > 0 ? from_bearer : from_header;
	return key->len > 0 ? VERDICT_OK : VERDICT_KEY_MISSING;
}

static int
is_query_parameter(const struct config *config, struct span name)
{
	char mem[QUERY_NAME_MAX];
	size_t i, len;

	if (text_urldecode(name, mem, sizeof(mem), &len) == -1)
		return 0;
	for (i = 0; i < config->nquery_parameters; i++)
		if (span_ieq((struct span){mem, len}, span_of(config->query_parameters[i])))
			return 1;
	return 0;
}

/* What to do with each value that a query has under one of the names. */
struct search {
	const struct config *config;
	void (*found)(void *cookie, struct span value);
	void *cookie;
};

/*
 * Keys of other systems are often base64, with a '+' that clients forget to escape.  So where they
 * are accepted a value that is several words is read once more, as one.
 */
static int
plus_is_meant(const struct search *s, struct span decoded)
{
	struct span words = span_trim(decoded);

	return s->config->accept_foreign_keys && words.len > 0 &&
	       memchr(words.p, ' ', words.len) != NULL;
}

static void
look_at_value(const struct search *s, struct span value)
{
	char mem[CREDENTIAL_URL_MAX];
	size_t len;

	if (text_urldecode(value, mem, sizeof(mem), &len) == 0)
		s->found(s->cookie, (struct span){mem, len});
	if (plus_is_meant(s, (struct span){mem, len}) &&
	    text_percent_decode(value, mem, sizeof(mem), &len) == 0)
		s->found(s->cookie, (struct span){mem, len});
	secret_wipe(mem, sizeof(mem));
}

/* Cuts what is before the first of ${stops} off *rest, and the stop with it. */
static struct span
cut(struct span *rest, const char *stops)
{
	struct span head = *rest;
	const char *at;

	if (head.len == 0) /* it may be at no place at all */
		return head;
	for (; *stops != '\0'; stops++)
		if ((at = memchr(head.p, *stops, head.len)) != NULL)
			head.len = (size_t)(at - head.p);
	rest->p += head.len;
	rest->len -= head.len;
	if (rest->len > 0) {
		rest->p++;
		rest->len--;
	}
	return head;
}

/* Pairs are separated by '&', by some frameworks also by ';'. */
static void
look_at_query(const struct search *s, struct span query)
{
	struct span pair, name;

	while (query.len > 0) {
		pair = cut(&query, "&;");
		name = cut(&pair, "=");
		if (is_query_parameter(s->config, name))
			look_at_value(s, pair);
	}
}

static void
look_at_url(const struct search *s, const struct params *params)
{
	struct span url;
	size_t i;

	for (i = 0; i < params->n; i++) {
		if (span_is(params->at[i].name, "QUERY_STRING")) {
			look_at_query(s, params->at[i].value);
		} else if (span_is(params->at[i].name, "REQUEST_URI")) {
			url = params->at[i].value;
			url = cut(&url, "#");
			(void)cut(&url, "?");
			look_at_query(s, url);
		}
	}
}

/* May a value be a key of another system?  Short ones are what most parameters have. */
static int
may_be_foreign(const struct config *config, struct span value)
{
	return config->accept_foreign_keys && value.len >= TOKEN_FOREIGN_URL_MIN &&
	       token_foreign_ok(value);
}

/* The first value of a key's form, and whether there are others. */
struct first {
	const struct config *config;
	struct span key;
	char *mem;
	int found;
};

static void
take_first(void *cookie, struct span value)
{
	struct first *f = cookie;
	struct span key = span_trim(value);

	if (!token_has_form(key, span_of(f->config->key_prefix)) && !may_be_foreign(f->config, key))
		return;
	if (f->found == 0) {
		memcpy(f->mem, key.p, key.len);
		f->key = (struct span){f->mem, key.len};
		f->found = 1;
	} else if (!credential_equal(f->key, key)) {
		f->found = 2;
	}
}

int
credential_in_url(const struct params *params, const struct config *config,
    char mem[CREDENTIAL_URL_MAX], struct span *key)
{
	struct first first = {.config = config, .mem = mem};

	look_at_url(&(struct search){config, take_first, &first}, params);
	*key = first.key;
	return first.found;
}

struct seen_list {
	const struct config *config;
	struct credential_seen *at;
	size_t n;
	int in_url;
};

static void
add_seen(struct seen_list *l, struct span key)
{
	struct credential_seen *seen;
	size_t i;

	if (l->n == CREDENTIAL_SEEN_MAX)
		return;
	for (i = 0; i < l->n; i++)
		if (credential_equal((struct span){l->at[i].text, l->at[i].len}, key))
			return;
	seen = &l->at[l->n++];
	seen->in_url = l->in_url;
	seen->len = key.len;
	memcpy(seen->text, key.p, key.len);
}

static void
add_own(struct seen_list *l, struct span word)
{
	if (token_valid(word, span_of(l->config->key_prefix)))
		add_seen(l, word);
}

static void
add_foreign(struct seen_list *l, struct span word)
{
	if (may_be_foreign(l->config, word))
		add_seen(l, word);
}

static int
is_of_own(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_';
}

static int
is_of_foreign(char c)
{
	return c >= 0x21 && c <= 0x7e && c != ',';
}

/* What stands in ${text} between characters that no key of the kind can hold. */
static void
each_word(struct seen_list *l, struct span text, int (*is_of)(char),
    void (*add)(struct seen_list *, struct span))
{
	size_t i, start = 0;

	for (i = 0; i <= text.len; i++) {
		if (i < text.len && is_of(text.p[i]))
			continue;
		if (i > start) /* text may be at no place at all */
			add(l, (struct span){text.p + start, i - start});
		start = i + 1;
	}
}

/* Keys anywhere in ${text}. */
static void
add_all_seen(void *cookie, struct span text)
{
	struct seen_list *l = cookie;

	each_word(l, text, is_of_own, add_own);
	if (l->config->accept_foreign_keys)
		each_word(l, text, is_of_foreign, add_foreign);
}

size_t
credential_seen(const struct params *params, const struct config *config,
    struct credential_seen seen[CREDENTIAL_SEEN_MAX])
{
	struct seen_list list = {.config = config, .at = seen, .in_url = 1};
	size_t i;

	look_at_url(&(struct search){config, add_all_seen, &list}, params);
	list.in_url = 0;
	for (i = 0; i < params->n; i++)
		if (span_is(params->at[i].name, "HTTP_AUTHORIZATION") ||
		    span_is(params->at[i].name, "HTTP_X_API_KEY"))
			add_all_seen(&list, params->at[i].value);
	return list.n;
}
