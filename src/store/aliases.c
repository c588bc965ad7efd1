/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The secrets of a key: finding it by the present one or an older one, replacing the present one,
 * forgetting them all with the key.
 *
 * Runs in the owner's main thread.  The record is under the digest of the present secret.  Under
 * that of an older one is an alias (core/alias.h), which names the key and the secret before it: a
 * chain that begins with the record's previous, youngest first.  What an older secret is good for
 * stands in the record alone, so that a rotation decides about all of them with one write.
 *
 * Invariants: a rotation is one batch: whenever the process is killed, either the old secret finds
 * the record as its present one, or the new one does and the old one is an alias; each alias is in
 * the chain of the key that it names, which has STORE_OLD_SECRETS_MAX at most.
 */

#include <string.h>

#include "core/alias.h"
#include "store/internal.h"

static struct span
digest_span(const uint8_t digest[STORE_DIGEST_LEN])
{
	return store_span(digest, STORE_DIGEST_LEN);
}

static int
alias_read(struct store *s, struct span bytes, struct alias *a, struct err *e)
{
	if (alias_decode(bytes, a, e) != 0)
		return err_wrap(e, "%s: database keys: an entry", s->dir);
	return 1;
}

/* The alias under a digest: 1, 0, -1. */
static int
alias_get(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], struct alias *a, struct err *e)
{
	uint8_t buf[ALIAS_MAX];
	size_t len;
	int rc;

	memset(a, 0, sizeof(*a));
	rc = store_db_get(s, STORE_DB_KEYS, digest_span(digest), buf, sizeof(buf), &len, e);
	return rc <= 0 ? rc : alias_read(s, store_span(buf, len), a, e);
}

static int
alias_put(
    struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const struct alias *a, struct err *e)
{
	uint8_t buf[ALIAS_MAX];
	struct wbuf w;

	wbuf_init(&w, buf, sizeof(buf));
	alias_encode(a, &w);
	if (w.overflow)
		return err_set(
		    e, ERR_INTERNAL, "key %s: its old secret's entry is too large", a->id);
	return store_db_put(s, STORE_DB_KEYS, digest_span(digest), wbuf_view(&w), e);
}

/* A link of the chain of key ${id}, which must be there. */
static int
chain_get(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id, struct alias *a,
    struct err *e)
{
	int rc = alias_get(s, digest, a, e);

	if (rc < 0)
		return err_wrap(e, "key %s", id);
	if (rc == 1 && strcmp(a->id, id) == 0)
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "%s: database keys: an old secret of key %s is not there: restore a backup", s->dir,
	    id);
}

/* One old secret more, or less. */
static int
note(struct store *s, const struct alias *a, int by, struct err *e)
{
	return store_secrets_note(s, a->pepper, a->digest_of, STORE_SECRET_PREVIOUS, by, e);
}

/* Take away a chain from ${digest} on.  It ends: a link that is gone is an error. */
static int
chain_remove(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id, struct err *e)
{
	struct alias a = {.has_older = 1};

	memcpy(a.older, digest, sizeof(a.older));
	while (a.has_older) {
		uint8_t at[STORE_DIGEST_LEN];

		memcpy(at, a.older, sizeof(at));
		if (chain_get(s, at, id, &a, e) != 0 ||
		    store_db_del(s, STORE_DB_KEYS, digest_span(at), e) < 0 ||
		    note(s, &a, -1, e) != 0)
			return -1;
	}
	return 0;
}

/* Forget what is behind the youngest STORE_OLD_SECRETS_MAX. */
static int
chain_trim(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id, struct err *e)
{
	uint8_t at[STORE_DIGEST_LEN];
	struct alias a;

	memcpy(at, digest, sizeof(at));
	for (unsigned n = 1;; n++) {
		if (chain_get(s, at, id, &a, e) != 0)
			return -1;
		if (!a.has_older)
			return 0;
		if (n == STORE_OLD_SECRETS_MAX)
			break;
		memcpy(at, a.older, sizeof(at));
	}
	if (chain_remove(s, a.older, id, e) != 0)
		return -1;
	a.has_older = 0;
	return alias_put(s, at, &a, e);
}

int
store_key_match(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], uint8_t *buf,
    struct keyrec *rec, struct store_match *m, struct err *e)
{
	struct alias a;
	size_t len;
	int rc;

	*m = (struct store_match){.which = ROTATION_PRESENT};
	rc = store_db_get(s, STORE_DB_KEYS, digest_span(digest), buf, KEYREC_MAX, &len, e);
	if (rc == 1 && !alias_is(store_span(buf, len))) {
		memcpy(m->home, digest, sizeof(m->home));
		if (keyrec_decode(store_span(buf, len), rec, e) != 0)
			return err_wrap(e, "%s: database keys: a record", s->dir);
		m->digest_of = rec->digest_of;
		return 1;
	}
	memset(rec, 0, sizeof(*rec));
	if (rc <= 0)
		return rc;
	if (alias_read(s, store_span(buf, len), &a, e) != 1)
		return -1;
	m->digest_of = a.digest_of;
	if ((rc = store_key_find(s, span_of(a.id), m->home, e)) == 1)
		rc = store_key_get(s, m->home, buf, rec, e);
	if (rc == 0)
		return err_set(e, ERR_CORRUPT,
		    "%s: database keys: an old secret names key %s, which is not there: restore a "
		    "backup",
		    s->dir, a.id);
	if (rc == 1)
		m->which =
		    rec->previous != NULL && memcmp(rec->previous, digest, STORE_DIGEST_LEN) == 0
			? ROTATION_PREVIOUS
			: ROTATION_OLDER;
	return rc;
}

int
store_key_rotate(struct store *s, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	uint8_t buf[KEYREC_MAX];
	struct keyrec old;
	struct alias a = {.has_older = 0};
	struct span bytes;

	if (rec->previous == NULL || memcmp(rec->previous, from, STORE_DIGEST_LEN) != 0)
		return err_set(e, ERR_INPUT, "key %s: its old secret is another one", rec->id);
	if (store_key_encode(s, rec, &bytes, e) != 0 ||
	    store_key_current(s, from, rec->id, buf, &old, e) != 0 ||
	    store_digest_free(s, to, rec->id, e) != 0)
		return -1;
	memcpy(a.id, old.id, sizeof(a.id));
	a.pepper = old.pepper;
	a.digest_of = old.digest_of;
	a.has_older = old.previous != NULL;
	if (a.has_older)
		memcpy(a.older, old.previous, sizeof(a.older));
	if (store_key_replace(s, from, to, &old, rec, bytes, e) != 0 ||
	    alias_put(s, from, &a, e) != 0 || note(s, &a, 1, e) != 0 ||
	    store_secrets_until(s, a.pepper, rec->previous_until_us, e) != 0)
		return -1;
	return chain_trim(s, from, rec->id, e);
}

int
store_previous_rehash(struct store *s, const uint8_t home[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], uint32_t pepper, struct keyrec *rec, struct err *e)
{
	uint8_t from[STORE_DIGEST_LEN];
	struct alias a;

	if (rec->previous == NULL)
		return err_set(e, ERR_INPUT, "key %s has no old secret", rec->id);
	memcpy(from, rec->previous, sizeof(from));
	if (chain_get(s, from, rec->id, &a, e) != 0 || store_digest_free(s, to, rec->id, e) != 0)
		return -1;
	rec->previous = to;
	if (store_key_update(s, home, rec, e) != 0 ||
	    store_db_del(s, STORE_DB_KEYS, digest_span(from), e) < 0 || note(s, &a, -1, e) != 0)
		return -1;
	a.pepper = pepper;
	if (alias_put(s, to, &a, e) != 0 || note(s, &a, 1, e) != 0)
		return -1;
	return store_secrets_until(s, pepper, rec->previous_until_us, e);
}

int
store_key_delete(
    struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id, struct err *e)
{
	uint8_t buf[KEYREC_MAX];
	struct keyrec rec;

	if (store_key_current(s, digest, id, buf, &rec, e) != 0)
		return -1;
	if (rec.previous != NULL && chain_remove(s, rec.previous, id, e) != 0)
		return -1;
	if (store_db_del(s, STORE_DB_USES, span_of(id), e) < 0)
		return -1;
	return store_key_remove(s, digest, &rec, e);
}
