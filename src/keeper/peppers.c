/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The peppers: reading, adding, taking out, and the HMACs that are made with them.
 *
 * Read by the keeper, or by the tool when it works alone; changed by the tool (`apikey pepper
 * add` and `retire`). Which pepper a key was made under is the key record's business, not this
 * file's.
 *
 * Invariants: the text of a pepper is only ever in memory of the secure heap and in the file
 * itself; it stands in no message; a file that is loose in mode or owner is not used at all; a
 * change that is killed leaves the file as it was or as it shall be, and no other pepper but the
 * one that is taken out is ever lost by it.
 */

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/pepper_file.h"
#include "keeper/peppers.h"
#include "keeper/storekey.h"

#include "base/random.h"
#include "base/secret.h"

#define PEPPER_LEN 32
/* What the key that seals the audit trail is derived with.  Its NUL stands in no credential, so
 * that no digest of one is ever that key. */
#define TRAIL_LABEL "apikeyd audit trail"

struct pepper {
	uint32_t version;
	struct digest_hmac *hmac;  /* of keys */
	struct digest_hmac *trail; /* of the audit trail */
};

struct peppers {
	int credential; /* systemd's, which nobody can write to */
	size_t n;
	struct pepper at[PEPPERS_MAX]; /* newest first */
};

/* "<version> <64 hex digits>" -> number and bytes (of PEPPER_LEN, the caller's secret).  0 or -1.
 */
static int
parse_line(struct span line, uint32_t *version, uint8_t *key)
{
	unsigned long long v;
	struct span word, rest = line;

	if (!span_word(&rest, &word) || span_u64(word, UINT32_MAX, &v) != 0 || v == 0)
		return -1;
	*version = (uint32_t)v;
	if (!span_word(&rest, &word) || word.len != (size_t)2 * PEPPER_LEN)
		return -1;
	if (digest_unhex(word.p, word.len, key, PEPPER_LEN) != 0)
		return -1;
	return span_word(&rest, &word) ? -1 : 0;
}

/* The HMAC under a key that is derived from this pepper. */
static struct digest_hmac *
derive(struct digest_hmac *hmac, struct err *e)
{
	uint8_t *key = secret_alloc(DIGEST_LEN);
	struct digest_hmac *derived = NULL;

	if (key == NULL || digest_hmac_of(hmac, TRAIL_LABEL, sizeof(TRAIL_LABEL), key) != 0)
		err_set(e, ERR_SYSTEM, "no memory for the peppers");
	else
		derived = digest_hmac_new(key, DIGEST_LEN, e);
	if (key != NULL)
		secret_free(key, DIGEST_LEN);
	return derived;
}

/* Put a pepper in its place, newest first. */
static int
insert(struct peppers *p, uint32_t version, const uint8_t *key, struct err *e)
{
	size_t i, at = 0;

	while (at < p->n && p->at[at].version > version)
		at++;
	if (at < p->n && p->at[at].version == version)
		return err_set(e, ERR_INPUT, "version %u is there twice", (unsigned)version);
	if (p->n == PEPPERS_MAX)
		return err_set(e, ERR_INPUT, "more than %d peppers", PEPPERS_MAX);
	for (i = p->n; i > at; i--)
		p->at[i] = p->at[i - 1];
	p->at[at] = (struct pepper){.version = version};
	p->n++;
	if ((p->at[at].hmac = digest_hmac_new(key, PEPPER_LEN, e)) == NULL ||
	    (p->at[at].trail = derive(p->at[at].hmac, e)) == NULL)
		return -1;
	return 0;
}

static int
parse(struct peppers *p, const char *file, const struct pepper_text *t, struct err *e)
{
	const char *at = t->p, *end = t->p + t->len;
	unsigned lineno = 0;
	uint8_t *key = secret_alloc(PEPPER_LEN);
	uint32_t version;
	int rc = -1;

	if (key == NULL)
		return err_set(e, ERR_SYSTEM, "no memory for the peppers");
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		struct span line = {at, (size_t)((nl != NULL ? nl : end) - at)};

		at = nl != NULL ? nl + 1 : end;
		lineno++;
		line = span_trim(line);
		if (line.len == 0 || line.p[0] == '#' || storekey_is_line(line))
			continue;
		if (parse_line(line, &version, key) != 0) {
			err_set(e, ERR_INPUT,
			    "%s:%u: not a pepper: a line is a version number from 1 on, a space "
			    "and 64 hex digits",
			    file, lineno);
			goto out;
		}
		if (insert(p, version, key, e) != 0) {
			err_wrap(e, "%s:%u", file, lineno);
			goto out;
		}
	}
	rc = 0;
out:
	secret_free(key, PEPPER_LEN);
	return rc;
}

void
peppers_free(struct peppers **pp)
{
	struct peppers *p = *pp;

	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++) {
		digest_hmac_free(p->at[i].hmac);
		digest_hmac_free(p->at[i].trail);
	}
	free(p);
	*pp = NULL;
}

/* The peppers of ${t}, the content of ${file}; NULL and why. */
static struct peppers *
make(const char *file, const struct pepper_text *t, struct err *e)
{
	struct peppers *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	if (parse(p, file, t, e) != 0)
		peppers_free(&p);
	return p;
}

struct peppers *
peppers_load(const char *file, struct err *e)
{
	char from[PATH_MAX];
	struct peppers *p = NULL;
	struct pepper_text t = {0};
	int found = pepper_file_read(file, &t, from, e);

	if (found == 0)
		err_set(e, ERR_NOT_FOUND, "there is no pepper file %s yet; run: apikey pepper add",
		    file);
	if (found == 1)
		p = make(from, &t, e);
	pepper_text_release(&t);
	if (p != NULL)
		p->credential = t.credential;
	if (p != NULL && p->n == 0) {
		peppers_free(&p);
		err_set(e, ERR_NOT_FOUND, "there is no pepper in %s; run: apikey pepper add", from);
	}
	return p;
}

size_t
peppers_count(const struct peppers *p)
{
	return p->n;
}

int
peppers_credential(const struct peppers *p)
{
	return p->credential;
}

void
peppers_drop(struct peppers *p, uint32_t version)
{
	size_t i = 0;

	while (i < p->n && p->at[i].version != version)
		i++;
	if (i == p->n)
		return;
	digest_hmac_free(p->at[i].hmac);
	digest_hmac_free(p->at[i].trail);
	for (p->n--; i < p->n; i++)
		p->at[i] = p->at[i + 1];
	p->at[p->n] = (struct pepper){.version = 0};
}

uint32_t
peppers_version(const struct peppers *p, size_t i)
{
	return i < p->n ? p->at[i].version : 0;
}

int
peppers_digest(struct peppers *p, size_t i, struct span key, uint8_t out[DIGEST_LEN])
{
	memset(out, 0, DIGEST_LEN);
	if (i >= p->n)
		return -1;
	return digest_hmac_of(p->at[i].hmac, key.p, key.len, out);
}

int
peppers_seal(struct peppers *p, size_t i, struct span bytes, uint8_t out[DIGEST_LEN])
{
	memset(out, 0, DIGEST_LEN);
	if (i >= p->n)
		return -1;
	return digest_hmac_of(p->at[i].trail, bytes.p, bytes.len, out);
}

/* ---- changing the file ---- */

/* Append "<version> <hex>\n" of a fresh pepper to ${t}, whose memory has room for it or it fails.
 */
static int
text_append(struct pepper_text *t, uint32_t version, struct err *e)
{
	uint8_t *key = secret_alloc(PEPPER_LEN);
	int n, rc = -1;

	if (key == NULL)
		return err_set(e, ERR_SYSTEM, "no memory for a pepper");
	if (t->len + 2 * PEPPER_LEN + 16 > PEPPER_FILE_MAX) {
		err_set(e, ERR_FULL,
		    "the pepper file has grown to its maximum of %d bytes; shorten its comments",
		    PEPPER_FILE_MAX);
		goto out;
	}
	if (random_bytes(key, PEPPER_LEN, e) != 0)
		goto out;
	if (t->len > 0 && t->p[t->len - 1] != '\n')
		t->p[t->len++] = '\n';
	n = snprintf(t->p + t->len, PEPPER_FILE_MAX - t->len, "%u ", (unsigned)version);
	if (n < 0 || t->len + (size_t)n + 2 * PEPPER_LEN + 2 > PEPPER_FILE_MAX) {
		err_set(e, ERR_INTERNAL, "a line of the pepper file does not fit");
		goto out;
	}
	t->len += (size_t)n;
	digest_hex(key, PEPPER_LEN, t->p + t->len);
	t->len += (size_t)2 * PEPPER_LEN;
	t->p[t->len++] = '\n';
	rc = 0;
out:
	secret_free(key, PEPPER_LEN);
	return rc;
}

/* The version that comes next, or 0 and why. */
static uint32_t
next_version(const char *file, const struct pepper_text *t, struct err *e)
{
	struct peppers *p = make(file, t, e);
	uint32_t next = 0;

	if (p == NULL)
		return 0;
	if (p->n == PEPPERS_MAX)
		err_set(e, ERR_CONFLICT, "%s holds %d peppers already; retire one first", file,
		    PEPPERS_MAX);
	else if (p->n > 0 && p->at[0].version == UINT32_MAX)
		err_set(e, ERR_CONFLICT, "%s holds the last possible version", file);
	else
		next = p->n > 0 ? p->at[0].version + 1 : 1;
	peppers_free(&p);
	return next;
}

static int
edit_add(void *cookie, const char *file, struct pepper_text *t, struct err *e)
{
	uint32_t *version = cookie;

	if ((*version = next_version(file, t, e)) == 0)
		return -1;
	return text_append(t, *version, e) == 0 ? 1 : -1;
}

/* Take the line of *version out; what else stands in the file stays, byte for byte. */
static int
edit_remove(void *cookie, const char *file, struct pepper_text *t, struct err *e)
{
	const uint32_t *version = cookie;
	struct peppers *p = make(file, t, e);
	uint8_t *key = secret_alloc(PEPPER_LEN);
	char *at = t->p, *end = t->p + t->len, *next;
	uint32_t found = 0;
	int rc = 0;

	if (p == NULL || key == NULL)
		rc = p == NULL ? -1 : err_set(e, ERR_SYSTEM, "no memory for the peppers");
	else if (p->n > 0 && p->at[0].version == *version)
		rc = err_set(e, ERR_CONFLICT, "pepper %u is the newest in %s: new keys need it",
		    (unsigned)*version, file);
	for (; rc == 0 && at < end; at = next) {
		char *nl = memchr(at, '\n', (size_t)(end - at));
		struct span line = {at, (size_t)((nl != NULL ? nl : end) - at)};

		next = nl != NULL ? nl + 1 : end;
		if (parse_line(span_trim(line), &found, key) != 0 || found != *version)
			continue;
		memmove(at, next, (size_t)(end - next));
		secret_wipe(end - (next - at), (size_t)(next - at));
		t->len -= (size_t)(next - at);
		rc = 1;
	}
	if (key != NULL)
		secret_free(key, PEPPER_LEN);
	peppers_free(&p);
	return rc;
}

int
peppers_add(const char *file, unsigned uid, unsigned gid, uint32_t *version, struct err *e)
{
	int rc = pepper_file_edit(file, uid, gid, edit_add, version, e);

	if (rc != 1)
		*version = 0;
	return rc == 1 ? 0 : -1;
}

int
peppers_remove(const char *file, unsigned uid, unsigned gid, uint32_t version, struct err *e)
{
	return pepper_file_edit(file, uid, gid, edit_remove, &version, e);
}
