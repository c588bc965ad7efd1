/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Finding the key that a check is about, and what using it writes.
 *
 * Part of the decision, in its batch; it gives no verdict.
 *
 * Invariants: an unknown key goes through the peppers like a known one; a digest is wiped when its
 * check is over; a key that was not admitted is not written.
 */

#include <stdio.h>

#include "keeper/found.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/secret.h"
#include "keeper/trail.h"

#define TOLD_US (INT64_C(86400) * CLOCK_SECOND)

/* The key of which ${secret} is the secret, in that form: 1, 0 unknown, -1. */
static int
by_secret(struct found *k, struct store *store, struct peppers *peppers, struct span secret,
    enum keyrec_digest form, struct err *e)
{
	size_t n = peppers_count(peppers);
	int rc;

	for (size_t i = 0; i < n; i++) {
		if (peppers_digest(peppers, i, secret, k->digest) != 0)
			return err_set(e, ERR_SYSTEM, "cannot make the digest of a key");
		if (i == 0)
			memcpy(k->newest, k->digest, sizeof(k->newest));
		rc = store_key_match(store, k->digest, k->record, &k->rec, &k->match, e);
		/* A credential that happens to be the hash of a key must not do in its place. */
		if (rc < 0 || (rc == 1 && k->match.digest_of == form)) {
			k->pepper = i;
			return rc;
		}
	}
	return 0;
}

/*
 * A key of our own is found first and costs one hash a pepper; the hash of the credential is looked
 * for only when there are keys of which nothing else was ever here.  Until a key is found every
 * credential goes the same way.
 */
int
found_by_credential(struct found *k, struct store *store, struct peppers *peppers,
    struct span credential, struct err *e)
{
	uint8_t hash[DIGEST_LEN];
	int rc = by_secret(k, store, peppers, credential, KEYREC_OF_KEY, e);

	if (rc != 0 || store_imported(store) == 0)
		return rc;
	if (digest_sha256(credential.p, credential.len, hash, e) == 0)
		rc = by_secret(k, store, peppers, (struct span){(const char *)hash, sizeof(hash)},
		    KEYREC_OF_SHA256, e);
	else
		rc = -1;
	secret_wipe(hash, sizeof(hash));
	return rc;
}

int
found_init(struct found *k, struct err *e)
{
	const struct keyrec rec = {.id = "key_0000000000000000",
	    .pepper = 1,
	    .state = KEYREC_REVOKED,
	    .start = span_of("ak_live_0000"),
	    .owner = span_of("nobody"),
	    .plan = span_of("default"),
	    .created_us = 1,
	    .changed_us = 1,
	    .revoked_us = 1,
	    .secret_us = 1};
	struct wbuf w;

	wbuf_init(&w, k->nobody, sizeof(k->nobody));
	keyrec_encode(&rec, &w);
	if (w.overflow)
		return err_set(e, ERR_INTERNAL, "the record of nobody does not fit");
	k->nobody_len = w.len;
	return found_nobody(k, e);
}

int
found_nobody(struct found *k, struct err *e)
{
	k->match = (struct store_match){.which = ROTATION_PRESENT};
	k->pepper = 0;
	memcpy(k->record, k->nobody, k->nobody_len);
	return keyrec_decode((struct span){(const char *)k->record, k->nobody_len}, &k->rec, e);
}

/* A search of which nothing is kept but that it took its time. */
static int
search_in_vain(struct found *k, struct store *store, struct peppers *peppers, size_t from,
    struct span secret, struct err *e)
{
	struct store_match match;
	struct keyrec rec;

	for (size_t i = from; i < peppers_count(peppers); i++) {
		if (peppers_digest(peppers, i, secret, k->digest) != 0)
			return err_set(e, ERR_SYSTEM, "cannot make the digest of a key");
		if (store_key_match(store, k->digest, k->record, &rec, &match, e) < 0)
			return -1;
	}
	return 0;
}

int
found_look_further(struct found *k, struct store *store, struct peppers *peppers,
    struct span credential, struct err *e)
{
	uint8_t hash[DIGEST_LEN];
	int own = k->match.digest_of == KEYREC_OF_KEY, rc;

	if (own && search_in_vain(k, store, peppers, k->pepper + 1, credential, e) != 0)
		return -1;
	if (store_imported(store) == 0)
		return 0;
	if (digest_sha256(credential.p, credential.len, hash, e) != 0)
		return -1;
	rc = search_in_vain(k, store, peppers, own ? 0 : k->pepper + 1,
	    (struct span){(const char *)hash, sizeof(hash)}, e);
	secret_wipe(hash, sizeof(hash));
	return rc;
}

int
found_by_id(struct found *k, struct store *store, struct span id, struct err *e)
{
	int rc = store_key_find(store, id, k->digest, e);

	k->pepper = 0;
	return rc == 1 ? store_key_match(store, k->digest, k->record, &k->rec, &k->match, e) : rc;
}

void
found_judge(struct found *k, const struct plan *plan, int64_t now_us)
{
	k->secret = rotation_judge(&k->rec, plan, k->match.which, now_us, &k->rotate_by_us);
}

int
found_renew(
    struct found *k, struct store *store, struct peppers *peppers, int *wrote, struct err *e)
{
	uint32_t version;
	int rc;

	if (k->pepper == 0)
		return 0;
	version = peppers_version(peppers, 0);
	if (k->match.which == ROTATION_PRESENT) {
		k->rec.pepper = version;
		rc = store_key_rehash(store, k->digest, k->newest, &k->rec, e);
	} else {
		rc = store_previous_rehash(store, k->match.home, k->newest, version, &k->rec, e);
	}
	if (rc == 0)
		*wrote = 1;
	return rc;
}

/* By the keeper's own clock: one that was set back makes it tell once more. */
static int
was_told(const struct keyrec *rec, int64_t wall_us)
{
	return rec->previous_used_us != 0 && wall_us >= rec->previous_used_us &&
	       wall_us - rec->previous_used_us < TOLD_US;
}

int
found_tell_previous(struct found *k, struct store *store, const struct netaddr *addr,
    int64_t wall_us, int *wrote, struct err *e)
{
	char detail[128], from[NETADDR_TEXT_MAX] = "", until[21];
	struct trail_event ev = {.wall_us = wall_us,
	    .op = "key.old_secret",
	    .subject = span_of(k->rec.id),
	    .detail = detail};
	int n;

	if (k->match.which == ROTATION_PRESENT || was_told(&k->rec, wall_us))
		return 0;
	if (addr != NULL)
		netaddr_format(addr, from);
	clock_rfc3339(k->rec.previous_until_us, until);
	n = snprintf(detail, sizeof(detail), "{\"from\":\"%s\",\"until\":\"%s\"}", from, until);
	if (n < 0 || (size_t)n >= sizeof(detail))
		return err_set(e, ERR_INTERNAL, "an audit detail does not fit");
	ev.address = span_of(from);
	k->rec.previous_used_us = wall_us;
	if (store_key_update(store, k->match.home, &k->rec, e) != 0 ||
	    trail_event(store, &ev, e) != 0)
		return -1;
	*wrote = 1;
	return 0;
}

void
found_forget(struct found *k)
{
	secret_wipe(k->digest, sizeof(k->digest));
	secret_wipe(k->newest, sizeof(k->newest));
	secret_wipe(k->match.home, sizeof(k->match.home));
}
