/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What doctor's probes share: making a request out of a row's shape, sending it, and keeping what
 * every answer tells besides (what leaked, whether the key came back).
 *
 * Invariants: a real key is put into headers of requests to the URL that was given and nowhere
 * else, which is where its bytes are wiped again; no answer is kept before the key in it is
 * overwritten.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/doctor.h"
#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"

#define LINE_MAX_BYTES (2 * KEYIN_MAX + 32)
#define LINES_MAX 16
#define OVERSIZED 20000

int
doctor_init(struct doctor *d, const char *prefix, struct err *e)
{
	struct answer **const answers[] = {&d->now, &d->no_key, &d->junk, &d->unknown_key,
	    &d->success, &d->elsewhere, &d->other_host};
	size_t i;

	memset(d, 0, sizeof(*d));
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if ((*answers[i] = calloc(1, sizeof(struct answer))) == NULL)
			return err_set(e, ERR_SYSTEM, "out of memory");
	}
	if (token_generate(prefix, TOKEN_LIVE, d->unknown, e) == -1 ||
	    token_generate(prefix, TOKEN_LIVE, d->another, e) == -1)
		return -1;
	return random_base62(d->mark, sizeof(d->mark) - 1, e);
}

void
doctor_release(struct doctor *d)
{
	free(d->now);
	free(d->no_key);
	free(d->junk);
	free(d->unknown_key);
	free(d->success);
	free(d->elsewhere);
	free(d->other_host);
	secret_wipe(d, sizeof(*d));
}

/* ---- making a request ---- */

struct request {
	struct probe_request r;
	char target[PROBE_TARGET_MAX];
	char lines[LINES_MAX][LINE_MAX_BYTES];
	char *filler; /* of an oversized one */
};

static const char *
credential(const struct doctor *d, enum doctor_credential c)
{
	switch (c) {
	case DOCTOR_JUNK:
		return "junk";
	case DOCTOR_UNKNOWN:
		return d->unknown;
	case DOCTOR_ANOTHER:
		return d->another;
	case DOCTOR_REAL:
		return d->key.text;
	default:
		return "";
	}
}

static int
too_long(struct err *e)
{
	return err_set(e, ERR_USAGE, "the URL is too long to be probed");
}

static int
add(struct request *q, struct err *e, const char *name, const char *value, const char *second)
{
	size_t at = q->r.nheaders;
	int n;

	if (at == LINES_MAX)
		return err_set(e, ERR_INTERNAL, "a probe has too many headers");
	n = snprintf(q->lines[at], LINE_MAX_BYTES, "%s: %s%s%s", name, value,
	    second[0] == '\0' ? "" : ",", second);
	if (n < 0 || n >= LINE_MAX_BYTES)
		return too_long(e);
	q->r.headers[q->r.nheaders++] = q->lines[at];
	return 0;
}

/* The row's own lines, with {mark} filled in. */
static int
add_lines(struct request *q, const struct doctor *d, const char *lines, struct err *e)
{
	const char *end, *mark;
	char *out;
	int n;

	for (; lines != NULL && *lines != '\0'; lines = end + 1) {
		end = strchrnul(lines, '\n');
		if (q->r.nheaders == LINES_MAX || *end == '\0')
			return err_set(e, ERR_INTERNAL, "a probe has too many headers");
		out = q->lines[q->r.nheaders];
		mark = memmem(lines, (size_t)(end - lines), "{mark}", 6);
		if (mark == NULL)
			n = snprintf(out, LINE_MAX_BYTES, "%.*s", (int)(end - lines), lines);
		else
			n = snprintf(out, LINE_MAX_BYTES, "%.*s%s%.*s", (int)(mark - lines), lines,
			    d->mark, (int)(end - mark - 6), mark + 6);
		if (n < 0 || n >= LINE_MAX_BYTES)
			return too_long(e);
		q->r.headers[q->r.nheaders++] = out;
	}
	return 0;
}

static char
other_case(char c)
{
	if (c >= 'a' && c <= 'z')
		return (char)(c - 'a' + 'A');
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c;
}

/* A path in another spelling. */
static void
respell(struct span name, struct span path, struct wbuf *w)
{
	int encoded = !span_is(name, "encoded");
	char c, hex[4];
	size_t i;

	for (i = 0; i < path.len; i++) {
		c = path.p[i];
		if (!encoded && c != '/' && c != '%') {
			(void)snprintf(hex, sizeof(hex), "%%%02x", (unsigned char)c);
			wbuf_str(w, hex);
			encoded = 1;
			continue;
		}
		if (span_is(name, "case"))
			c = other_case(c);
		wbuf_u8(w, (uint8_t)c);
		if (c == '/' && span_is(name, "slashes"))
			wbuf_u8(w, '/');
	}
}

/*
 * "//{path}": {path} is the URL's without its first '/'; {slashes}, {case} and {encoded} are the
 * whole of it in other spellings; {origin} is what comes before it; {mark} is random.
 */
static void
expand(const struct doctor *d, const char *pattern, struct span path, struct wbuf *w)
{
	struct span name;
	const char *p;

	for (p = pattern; *p != '\0'; p++) {
		if (*p != '{') {
			wbuf_u8(w, (uint8_t)*p);
			continue;
		}
		name = (struct span){p + 1, strcspn(p + 1, "}")};
		if (span_is(name, "path"))
			wbuf_span(w, (struct span){path.p + 1, path.len - 1});
		else if (span_is(name, "mark"))
			wbuf_str(w, d->mark);
		else if (span_is(name, "origin"))
			wbuf_str(w, prober_origin(d->prober));
		else
			respell(name, path, w);
		p += name.len + 1;
	}
}

static int
make_target(struct request *q, const struct doctor *d, const struct doctor_shape *s, struct err *e)
{
	const char *url = prober_target(d->prober);
	struct wbuf w;

	wbuf_init(&w, q->target, sizeof(q->target));
	if (s->target != NULL)
		expand(d, s->target, (struct span){url, strcspn(url, "?")}, &w);
	else
		wbuf_str(&w, url);
	if (s->query != DOCTOR_NOBODY) {
		wbuf_u8(&w, strchr(url, '?') == NULL ? '?' : '&');
		wbuf_str(&w, d->query_name);
		wbuf_u8(&w, '=');
		wbuf_str(&w, credential(d, s->query));
	}
	wbuf_u8(&w, '\0');
	q->r.target = q->target;
	return w.overflow ? too_long(e) : 0;
}

static int
add_oversized(struct request *q, struct err *e)
{
	static const char name[] = "X-Doctor-Filler: ";

	if (q->r.nheaders == LINES_MAX || (q->filler = malloc(OVERSIZED + 1)) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	memset(q->filler, 'x', OVERSIZED);
	memcpy(q->filler, name, sizeof(name) - 1);
	q->filler[OVERSIZED] = '\0';
	q->r.headers[q->r.nheaders++] = q->filler;
	return 0;
}

static int
make(struct request *q, const struct doctor *d, const struct doctor_shape *s, struct err *e)
{
	static const char bearer[] = "Authorization", header[] = "X-API-Key";
	char value[KEYIN_MAX + 8];
	int rc = 0;

	q->r = (struct probe_request){
	    .method = s->method, .body = s->body, .http = s->http, .plain = s->plain};
	if (s->bearer != DOCTOR_NOBODY) {
		(void)snprintf(value, sizeof(value), "Bearer %s", credential(d, s->bearer));
		rc = add(q, e, bearer, value, "");
	}
	if (rc == 0 && s->bearer2 != DOCTOR_NOBODY) {
		(void)snprintf(value, sizeof(value), "Bearer %s", credential(d, s->bearer2));
		rc = add(q, e, bearer, value, "");
	}
	if (rc == 0 && s->header != DOCTOR_NOBODY)
		rc = add(q, e, header, credential(d, s->header),
		    s->comma ? credential(d, s->header2) : "");
	if (rc == 0 && s->header2 != DOCTOR_NOBODY && !s->comma)
		rc = add(q, e, header, credential(d, s->header2), "");
	secret_wipe(value, sizeof(value));
	if (rc == 0 && s->oversized)
		rc = add_oversized(q, e);
	if (rc == 0)
		rc = add_lines(q, d, s->lines, e);
	return rc == 0 ? make_target(q, d, s, e) : -1;
}

enum judge_way
doctor_way(const struct doctor_shape *s)
{
	if (s->query != DOCTOR_NOBODY)
		return JUDGE_QUERY;
	if (s->bearer != DOCTOR_NOBODY && s->header != DOCTOR_NOBODY)
		return JUDGE_BOTH;
	if (s->bearer != DOCTOR_NOBODY)
		return JUDGE_BEARER;
	return s->header != DOCTOR_NOBODY ? JUDGE_HEADER : JUDGE_NO_KEY;
}

/* ---- what every answer tells ---- */

static void
note_leak(struct span name, char kept[64], const char **kept_probe, const char *probe)
{
	if (name.len == 0 || kept[0] != '\0')
		return;
	(void)snprintf(kept, 64, "%.*s", name.len > 60 ? 60 : (int)name.len, name.p);
	*kept_probe = probe;
}

int
doctor_send(struct doctor *d, const struct doctor_probe *probe, const struct doctor_shape *s,
    struct answer *to, struct err *e)
{
	struct request *q = calloc(1, sizeof(*q));
	int rc = -1;

	if (q == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (make(q, d, s, e) == 0)
		rc = prober_send(d->prober, &q->r, to, e);
	free(q->filler);
	secret_wipe(q, sizeof(*q));
	free(q);
	if (rc == -1)
		return -1;
	answer_hide(to, span_of(d->key.text));
	d->key_seen |= to->key_seen;
	if (s->plain)
		answer_hide(to, span_of(d->unknown));
	note_leak(judge_gate_leak(to), d->gate_leak, &d->gate_leak_probe, probe->name);
	note_leak(judge_identity_leak(to), d->identity_leak, &d->identity_leak_probe, probe->name);
	return 0;
}

int
doctor_look_around(struct doctor *d, struct err *e)
{
	static const struct doctor_probe first = {.name = "no-key"},
					 other = {.name = "first look",
					     .shape = {.target = "/doctor-{mark}"}};

	if (doctor_send(d, &first, &first.shape, d->no_key, e) == -1)
		return -1;
	if (d->no_key->kind != ANSWER_GOT)
		return 0;
	if (d->server == CAUSES_ANY) {
		if (prober_nonsense(d->prober, d->now, e) == -1)
			return -1;
		d->server = causes_recognise(d->now);
	}
	return doctor_send(d, &other, &other.shape, d->elsewhere, e);
}
