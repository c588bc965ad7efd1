/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Key records by digest, and their three indexes: by id, by owner, by plan.
 *
 * Runs in the owner's main thread.  A digest is the only name under which the hot path looks; ids,
 * owners and plans are for the operations of admins.
 *
 * Invariant: after every batch each record has exactly one entry in each index, and each index
 * entry a record.  The indexes are kept by hand because they are written in one place, here, from a
 * decoded record, and so need no callback into Berkeley DB.
 */

#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

/* "name NUL id" of an index, into ${buf}.  An empty span when ${name} cannot be a part of one. */
static struct span
index_key(uint8_t buf[STORE_KEY_MAX], struct span name, const char *id)
{
	struct wbuf out;

	wbuf_init(&out, buf, STORE_KEY_MAX);
	wbuf_span(&out, name);
	wbuf_u8(&out, 0);
	wbuf_bytes(&out, id, TOKEN_ID_LEN);
	if (out.overflow || (name.len > 0 && memchr(name.p, '\0', name.len) != NULL))
		return store_span(NULL, 0);
	return wbuf_view(&out);
}

static int
index_add(struct store *s, enum store_db which, struct span name, const char *id, struct err *e)
{
	uint8_t buf[STORE_KEY_MAX];

	return store_db_put(s, which, index_key(buf, name, id), span_of(""), e);
}

/* An index that lacks the entry is damaged, and the change half done. */
static int
index_remove(struct store *s, enum store_db which, struct span name, const char *id, struct err *e)
{
	struct err why = {.code = ERR_NONE};
	uint8_t buf[STORE_KEY_MAX];
	int rc = store_db_del(s, which, index_key(buf, name, id), e);

	if (rc != 0)
		return rc == 1 ? 0 : -1;
	err_set(&why, ERR_CORRUPT, "%s: database %s has no entry for key %s: restore a backup",
	    s->dir, store_db_specs[which].name, id);
	if (e != NULL)
		*e = why;
	return store_poison(s, &why);
}

static int
index_move(struct store *s, enum store_db which, struct span from, struct span to, const char *id,
    struct err *e)
{
	if (span_eq(from, to))
		return 0;
	if (index_remove(s, which, from, id, e) != 0)
		return -1;
	return index_add(s, which, to, id, e);
}

int
store_key_encode(struct store *s, const struct keyrec *rec, struct span *bytes, struct err *e)
{
	uint8_t buf[STORE_KEY_MAX];
	struct wbuf out;

	*bytes = store_span(NULL, 0);
	if (keyrec_check(rec, e) != 0)
		return -1;
	if (strlen(rec->id) != TOKEN_ID_LEN || index_key(buf, rec->owner, rec->id).len == 0 ||
	    index_key(buf, rec->plan, rec->id).len == 0)
		return err_set(
		    e, ERR_INPUT, "key %s: its owner or plan cannot be indexed", rec->id);
	wbuf_init(&out, s->record, sizeof(s->record));
	keyrec_encode(rec, &out);
	if (out.overflow)
		return err_set(
		    e, ERR_INPUT, "key %s: its record is over %d bytes", rec->id, KEYREC_MAX);
	*bytes = wbuf_view(&out);
	return 0;
}

int
store_key_get(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], uint8_t *buf,
    struct keyrec *rec, struct err *e)
{
	size_t len;
	int rc;

	memset(rec, 0, sizeof(*rec));
	rc = store_db_get(
	    s, STORE_DB_KEYS, store_span(digest, STORE_DIGEST_LEN), buf, KEYREC_MAX, &len, e);
	if (rc <= 0)
		return rc;
	if (keyrec_decode(store_span(buf, len), rec, e) != 0) {
		memset(rec, 0, sizeof(*rec));
		return err_wrap(e, "%s: database keys: a record", s->dir);
	}
	return 1;
}

int
store_key_find(struct store *s, struct span id, uint8_t digest[STORE_DIGEST_LEN], struct err *e)
{
	uint8_t found[STORE_DIGEST_LEN];
	size_t len;
	int rc;

	memset(digest, 0, STORE_DIGEST_LEN);
	/* An id that could not be stored cannot be found: Berkeley DB is not asked. */
	if (id.len != TOKEN_ID_LEN)
		return 0;
	rc = store_db_get(s, STORE_DB_IDS, id, found, sizeof(found), &len, e);
	if (rc <= 0)
		return rc;
	if (len != sizeof(found))
		return err_set(e, ERR_CORRUPT,
		    "%s: database ids: the entry of key %.20s is damaged: restore a backup", s->dir,
		    id.p);
	memcpy(digest, found, sizeof(found));
	return 1;
}

int
store_key_current(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id,
    uint8_t *buf, struct keyrec *rec, struct err *e)
{
	int rc = store_key_get(s, digest, buf, rec, e);

	if (rc < 0)
		return err_wrap(e, "key %s", id);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no key %s", id);
	if (strcmp(rec->id, id) != 0)
		return err_set(e, ERR_INTERNAL, "key %s: another key's digest", id);
	return 0;
}

int
store_digest_free(
    struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const char *id, struct err *e)
{
	size_t len;
	int rc =
	    store_db_get(s, STORE_DB_KEYS, store_span(digest, STORE_DIGEST_LEN), NULL, 0, &len, e);

	if (rc > 0)
		return err_set(e, ERR_CONFLICT, "key %s: the same key is stored already", id);
	return rc;
}

/* One secret more, or less, of the record's kind. */
static int
note(struct store *s, const struct keyrec *rec, int by, struct err *e)
{
	enum store_secret_kind kind =
	    rec->state == KEYREC_REVOKED ? STORE_SECRET_REVOKED : STORE_SECRET_LIVE;

	return store_secrets_note(s, rec->pepper, rec->digest_of, kind, by, e);
}

int
store_key_insert(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec,
    struct err *e)
{
	struct span d = store_span(digest, STORE_DIGEST_LEN), id = span_of(rec->id), bytes;
	size_t len;
	int rc;

	/* Everything that may refuse comes before the first write: a refusal leaves the batch
	 * usable. */
	if (store_key_encode(s, rec, &bytes, e) != 0 ||
	    store_digest_free(s, digest, rec->id, e) != 0)
		return -1;
	if ((rc = store_db_get(s, STORE_DB_IDS, id, NULL, 0, &len, e)) != 0)
		return rc < 0 ? -1 : err_set(e, ERR_CONFLICT, "key %s exists already", rec->id);

	if (store_db_put(s, STORE_DB_KEYS, d, bytes, e) != 0 ||
	    store_db_put(s, STORE_DB_IDS, id, d, e) != 0 ||
	    index_add(s, STORE_DB_OWNERS, rec->owner, rec->id, e) != 0 ||
	    index_add(s, STORE_DB_PLAN_KEYS, rec->plan, rec->id, e) != 0 || note(s, rec, 1, e) != 0)
		return -1;
	s->now.counts.keys++;
	return 0;
}

int
store_key_replace(struct store *s, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *old, const struct keyrec *rec,
    struct span bytes, struct err *e)
{
	struct span f = store_span(from, STORE_DIGEST_LEN), t = store_span(to, STORE_DIGEST_LEN);

	if (!span_eq(f, t)) {
		if (store_db_del(s, STORE_DB_KEYS, f, e) < 0 ||
		    store_db_put(s, STORE_DB_IDS, span_of(rec->id), t, e) != 0)
			return -1;
	}
	if (store_db_put(s, STORE_DB_KEYS, t, bytes, e) != 0 ||
	    index_move(s, STORE_DB_OWNERS, old->owner, rec->owner, rec->id, e) != 0 ||
	    index_move(s, STORE_DB_PLAN_KEYS, old->plan, rec->plan, rec->id, e) != 0 ||
	    note(s, old, -1, e) != 0 || note(s, rec, 1, e) != 0)
		return -1;
	return 0;
}

int
store_key_update(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec,
    struct err *e)
{
	uint8_t buf[KEYREC_MAX];
	struct keyrec old;
	struct span bytes;

	if (store_key_encode(s, rec, &bytes, e) != 0 ||
	    store_key_current(s, digest, rec->id, buf, &old, e) != 0)
		return -1;
	return store_key_replace(s, digest, digest, &old, rec, bytes, e);
}

int
store_key_rehash(struct store *s, const uint8_t from[STORE_DIGEST_LEN],
    const uint8_t to[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	uint8_t buf[KEYREC_MAX];
	struct keyrec old;
	struct span bytes;

	if (store_key_encode(s, rec, &bytes, e) != 0 ||
	    store_key_current(s, from, rec->id, buf, &old, e) != 0 ||
	    store_digest_free(s, to, rec->id, e) != 0)
		return -1;
	return store_key_replace(s, from, to, &old, rec, bytes, e);
}

int
store_key_remove(struct store *s, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec,
    struct err *e)
{
	if (store_db_del(s, STORE_DB_KEYS, store_span(digest, STORE_DIGEST_LEN), e) < 0 ||
	    store_db_del(s, STORE_DB_IDS, span_of(rec->id), e) < 0 ||
	    index_remove(s, STORE_DB_OWNERS, rec->owner, rec->id, e) != 0 ||
	    index_remove(s, STORE_DB_PLAN_KEYS, rec->plan, rec->id, e) != 0 ||
	    note(s, rec, -1, e) != 0)
		return -1;
	s->now.counts.keys--;
	return 0;
}
