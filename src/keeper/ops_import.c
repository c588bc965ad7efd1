/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Keys that come from elsewhere: one by its SHA-256 (a part of key.create), and many records at
 * once (key.import).
 *
 * Run inside a batch by ops.c.  Of an imported key only SHA-256(key) comes here, and what is stored
 * is HMAC(pepper, SHA-256(key)), the 32 bytes: the store is worth as little without its pepper as
 * with keys of our own, whatever the other system made them of.
 *
 * Invariants: the hash that was sent is in no message, reply, log or audit entry; of one import
 * either all records are stored or none; what is there already is never changed by one.
 */

#include <stdlib.h>

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "base/secret.h"

#define HASH_WORD "sha256:"
#define REFUSED_BYTES 40000 /* of reasons in a reply; the rest is only counted */

/* ---- a secret by its hash ---- */

/* "sha256:<64 hex digits>" -> the 32 bytes. */
static int
parse_hash(struct span text, uint8_t hash[DIGEST_LEN], struct err *e)
{
	struct span word = span_of(HASH_WORD);

	if (text.len == word.len + (size_t)2 * DIGEST_LEN &&
	    memcmp(text.p, word.p, word.len) == 0 &&
	    digest_unhex(text.p + word.len, (size_t)2 * DIGEST_LEN, hash, DIGEST_LEN) == 0)
		return 0;
	return err_set(e, ERR_INPUT, "\"digest\" must be sha256: and 64 hex digits");
}

/* What everybody may see must not be all of the key. */
static int
check_start(struct span start, const uint8_t hash[DIGEST_LEN], struct err *e)
{
	uint8_t own[DIGEST_LEN];
	int same;

	if (start.len > TOKEN_START_MAX)
		return err_set(e, ERR_INPUT, "\"start\" is longer than %d bytes", TOKEN_START_MAX);
	if (start.len == 0)
		return 0;
	if (digest_sha256(start.p, start.len, own, e) != 0)
		return -1;
	same = digest_equal(own, hash);
	secret_wipe(own, sizeof(own));
	return same ? err_set(e, ERR_INPUT, "\"start\" is the whole key: leave most of it out") : 0;
}

/*
 * Is there a key with this secret, under whichever pepper?  1 and its id, 0, -1; the newest
 * pepper's digest is left in the draft.
 */
static int
find_hash(const struct ops_call *c, struct ops_draft *d, const uint8_t hash[DIGEST_LEN],
    char id[TOKEN_ID_LEN + 1], struct err *e)
{
	struct peppers *p = *c->ops->peppers;
	struct span secret = {(const char *)hash, DIGEST_LEN};
	struct store_match match;
	struct keyrec rec;
	int rc = 0;

	for (size_t i = peppers_count(p); i-- > 0 && rc == 0;) {
		if (peppers_digest(p, i, secret, d->digest) != 0)
			return err_set(e, ERR_SYSTEM, "cannot make the digest of a key");
		rc = store_key_match(c->ops->store, d->digest, d->stored, &rec, &match, e);
	}
	if (rc == 1)
		memcpy(id, rec.id, TOKEN_ID_LEN + 1);
	return rc;
}

int
ops_import_secret(
    const struct ops_call *c, struct ops_draft *d, char there[TOKEN_ID_LEN + 1], struct err *e)
{
	const char *text = json_str(c->request, "digest", e);
	struct span start = span_of(json_str(c->request, "start", e));
	struct peppers *p = *c->ops->peppers;
	uint8_t hash[DIGEST_LEN];
	int rc = -1;

	there[0] = '\0';
	if (e->code != ERR_NONE)
		return -1;
	if (p == NULL || peppers_count(p) == 0)
		return err_set(
		    e, ERR_UNAVAILABLE, "there is no pepper yet; run: apikey pepper add");
	if (parse_hash(span_of(text), hash, e) == 0 && check_start(start, hash, e) == 0)
		rc = find_hash(c, d, hash, there, e);
	secret_wipe(hash, sizeof(hash));
	d->rec.start = start;
	d->rec.digest_of = KEYREC_OF_SHA256;
	d->rec.secret_us = c->now.wall_us;
	d->rec.pepper = peppers_version(p, 0);
	return rc;
}

/* ---- many at once ---- */

/* What lists tell of a key as well: it follows from the rest, or is of the store it came from. */
#define PASSED_OVER                                                                                \
	"changed", "pepper", "imported", "last_used", "rotate_by", "previous_start",               \
	    "previous_until", "previous_used", "owner_disabled", "limits",

static const char *const passed_over[] = {PASSED_OVER NULL};

static const char *const record_members[] = {
    /* What a key is made with, as in key.create. */
    OPS_KEY_MEMBERS "env", "digest", "start",
    /* What else is taken over. */
    "id", "state", "own_state", "created", "revoked", "reason", "exposed", "exposed_ways",
    "exposed_from", "secret_created", PASSED_OVER NULL};

struct importing {
	struct ops_call *call;
	struct ops_call one; /* the call as if it were about one record */
	struct ops_draft *draft;
	cJSON *made, *existing, *refused;
	int skip_existing;
	size_t refused_bytes, more_refused, imported;
	char key[TOKEN_MAX + 1], start[TOKEN_START_MAX + 1];
};

/* A time member into ${us}, which stays as it is without one. */
static int
take_time(const cJSON *item, const char *name, int64_t *us, struct err *e)
{
	const char *s = json_str(item, name, e);

	if (e->code != ERR_NONE)
		return -1;
	if (s != NULL && (clock_rfc3339_parse(s, us) != 0 || *us <= 0))
		return err_set(e, ERR_INPUT,
		    "\"%s\" must be a time such as \"2027-01-31T12:00:00Z\", or null", name);
	return 0;
}

/* The key's own state, by its name; empty when nothing is said. */
static struct span
said_state(const cJSON *item, struct err *e)
{
	const char *own = json_str(item, "own_state", e), *state = json_str(item, "state", e);

	return span_of(own != NULL ? own : state);
}

/* "expired" and "pending" follow from its times. */
static int
take_state(const struct importing *im, struct keyrec *rec, struct err *e)
{
	const cJSON *item = im->one.request;
	struct span name = said_state(item, e);

	if (e->code != ERR_NONE)
		return -1;
	rec->state = KEYREC_ACTIVE;
	if (span_is(name, "disabled"))
		rec->state = KEYREC_DISABLED;
	else if (span_is(name, "revoked"))
		rec->state = KEYREC_REVOKED;
	else if (name.len > 0 && !span_is(name, "active") && !span_is(name, "expired") &&
		 !span_is(name, "pending"))
		return err_set(e, ERR_INPUT,
		    "\"state\" must be active, disabled, revoked, expired or pending");
	if (rec->state == KEYREC_REVOKED)
		rec->revoked_us = im->call->now.wall_us;
	rec->reason = span_of(json_str(item, "reason", e));
	return e->code == ERR_NONE ? take_time(item, "revoked", &rec->revoked_us, e) : -1;
}

/* A key that is said to be no good must not become a good one because its times say otherwise. */
static int
check_state(const struct importing *im, struct err *e)
{
	const struct keyrec *rec = &im->draft->rec;
	const cJSON *item = im->one.request;
	struct span name = said_state(item, e), shown = span_of(json_str(item, "state", e));

	/* What an owner who is switched off does to a key is to disable it. */
	if (shown.len > 0 && !span_is(shown, "disabled") && !span_eq(shown, name))
		return err_set(e, ERR_INPUT, "\"state\" and \"own_state\" do not go together");
	if (rec->revoked_us != 0 && rec->state != KEYREC_REVOKED)
		return err_set(
		    e, ERR_INPUT, "\"revoked\" has a time, and \"state\" is not revoked");
	if (span_is(name, "expired") &&
	    (rec->expires_us == 0 || rec->expires_us > im->call->now.wall_us))
		return err_set(
		    e, ERR_INPUT, "\"state\" is expired, and \"expires\" is no time that is over");
	if (span_is(name, "pending") && rec->not_before_us == 0)
		return err_set(e, ERR_INPUT, "\"state\" is pending, and \"not_before\" is missing");
	return 0;
}

static int
take_exposure(const cJSON *item, struct keyrec *rec, int64_t now_us, struct err *e)
{
	const cJSON *ways = json_array(item, "exposed_ways", e), *one;

	cJSON_ArrayForEach(one, ways)
	{
		const char *name = cJSON_GetStringValue(one);
		unsigned way = 1;

		while (name != NULL && way <= KEYREC_EXPOSED_WAYS &&
		       strcmp(keyrec_way_name((uint8_t)way), name) != 0)
			way <<= 1;
		if (name == NULL || way > KEYREC_EXPOSED_WAYS)
			return err_set(e, ERR_INPUT, "\"exposed_ways\" names none that is known");
		rec->exposed_ways |= (uint8_t)way;
	}
	rec->exposed_addr = span_of(json_str(item, "exposed_from", e));
	/* Ways without a time would keep the key from being told as exposed when it is. */
	if (rec->exposed_ways != 0)
		rec->exposed_us = now_us;
	return e->code == ERR_NONE ? take_time(item, "exposed", &rec->exposed_us, e) : -1;
}

static int64_t
no_later(int64_t us, int64_t now_us)
{
	return us < now_us ? us : now_us;
}

/* What is said of the key beside its secret and what key.create takes. */
static int
take_rest(struct importing *im, struct err *e)
{
	const cJSON *item = im->one.request;
	struct keyrec *rec = &im->draft->rec;
	int64_t now_us = im->call->now.wall_us;

	rec->created_us = rec->changed_us = now_us;
	if (take_time(item, "created", &rec->created_us, e) != 0 || take_state(im, rec, e) != 0 ||
	    take_exposure(item, rec, now_us, e) != 0)
		return -1;
	rec->created_us = no_later(rec->created_us, now_us);
	/* A secret that is made now is new; one that comes along is as old as it is said to be. */
	if (rec->digest_of != KEYREC_OF_SHA256)
		return 0;
	rec->secret_us = rec->created_us;
	if (take_time(item, "secret_created", &rec->secret_us, e) != 0)
		return -1;
	/* One that is ahead would be due too late. */
	rec->secret_us = no_later(rec->secret_us, now_us);
	return 0;
}

/* Its id, given or made: 1 when a key has it already, 0, -1. */
static int
take_id(struct importing *im, uint8_t at[STORE_DIGEST_LEN], struct err *e)
{
	struct span id = span_of(json_str(im->one.request, "id", e));
	struct keyrec *rec = &im->draft->rec;

	if (e->code != ERR_NONE)
		return -1;
	if (id.len == 0)
		return token_id_generate(rec->id, e);
	if (!token_id_ok(id) || span_copy(rec->id, sizeof(rec->id), id) != 0)
		return err_set(e, ERR_INPUT, "\"id\" must be key_ and 16 letters or digits");
	return store_key_find(im->call->ops->store, id, at, e);
}

static int
add_place(cJSON *list, size_t at, const char *id, const char *key, struct err *e)
{
	cJSON *o = cJSON_CreateObject();

	if (cJSON_AddNumberToObject(o, "index", (double)at) == NULL ||
	    cJSON_AddStringToObject(o, "id", id) == NULL ||
	    (key != NULL && cJSON_AddStringToObject(o, "key", key) == NULL) ||
	    !cJSON_AddItemToArray(list, o)) {
		cJSON_Delete(o);
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	return 0;
}

/*
 * Is the record there already?  1, told; 0 it is not; -1: it is, and that refuses it, or another
 * key's id or secret is in its way.
 */
static int
is_there(struct importing *im, size_t at, int has_id, const char *same, struct err *e)
{
	const char *id = im->draft->rec.id;
	int given = json_str(im->one.request, "digest", NULL) != NULL;

	if (!has_id && same[0] == '\0')
		return 0;
	if (has_id && given && strcmp(same, id) != 0)
		return err_set(e, ERR_CONFLICT, "key %s is there already, with another secret", id);
	if (!has_id && json_str(im->one.request, "id", NULL) != NULL)
		return err_set(e, ERR_CONFLICT, "the same key is there already, as %s", same);
	if (!im->skip_existing)
		return err_set(e, ERR_CONFLICT, "key %s is there already", has_id ? id : same);
	return add_place(im->existing, at, has_id ? id : same, NULL, e) == 0 ? 1 : -1;
}

static int
audit_one(struct importing *im, struct err *e)
{
	cJSON *detail = cJSON_Duplicate(im->one.request, 1);
	int rc;

	if (detail == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	cJSON_DeleteItemFromObjectCaseSensitive(detail, "id");
	cJSON_DeleteItemFromObjectCaseSensitive(detail, "digest");
	/* Nobody has looked at what stands there. */
	for (size_t i = 0; passed_over[i] != NULL; i++)
		cJSON_DeleteItemFromObjectCaseSensitive(detail, passed_over[i]);
	rc = ops_audit(im->call, im->draft->rec.id, detail, e);
	cJSON_Delete(detail);
	return rc;
}

/* The secret of the record, from its digest or made for it: as ops_import_secret. */
static int
take_secret(struct importing *im, char same[TOKEN_ID_LEN + 1], struct err *e)
{
	const cJSON *item = im->one.request;

	same[0] = '\0';
	if (json_str(item, "digest", e) != NULL)
		return ops_import_secret(&im->one, im->draft, same, e);
	if (e->code != ERR_NONE)
		return -1;
	/* A second run would make a second key of it. */
	if (im->skip_existing && json_str(item, "id", NULL) == NULL)
		return err_set(e, ERR_INPUT,
		    "with skip_existing a record needs an \"id\" or a \"digest\" that it can be "
		    "recognised by");
	return ops_key_secret(&im->one, im->draft, im->key, im->start, e);
}

/* One record: stored, or passed over because it is there; -1 when it is refused, or worse. */
static int
import_one(struct importing *im, size_t at, struct err *e)
{
	struct ops_draft *d = im->draft;
	uint8_t found[STORE_DIGEST_LEN];
	char same[TOKEN_ID_LEN + 1];
	int has_id, rc;

	memset(&d->rec, 0, sizeof(d->rec));
	im->key[0] = '\0';
	if (json_only(im->one.request, record_members, e) != 0 ||
	    ops_need(&im->one, "owner", e) == NULL || ops_key_env(&im->one, &d->rec, e) != 0 ||
	    (has_id = take_id(im, found, e)) < 0 || take_secret(im, same, e) < 0)
		return -1;
	if ((rc = is_there(im, at, has_id, same, e)) != 0)
		return rc < 0 ? -1 : 0;
	if (take_rest(im, e) != 0 || ops_record_apply(&im->one, d, e) < 0 ||
	    check_state(im, e) != 0 ||
	    store_key_insert(im->call->ops->store, d->digest, &d->rec, e) != 0 ||
	    audit_one(im, e) != 0)
		return -1;
	im->imported++;
	return add_place(im->made, at, d->rec.id, im->key[0] != '\0' ? im->key : NULL, e);
}

/* The mistakes of a record, which the others can be looked at after. */
static int
is_refusal(enum err_code code)
{
	return code == ERR_INPUT || code == ERR_USAGE || code == ERR_CONFLICT ||
	       code == ERR_NOT_FOUND;
}

static int
add_refused(struct importing *im, size_t at, const struct err *why, struct err *e)
{
	size_t bytes = 64 + 2 * strlen(why->msg);
	cJSON *o;

	if (im->refused_bytes + bytes > REFUSED_BYTES) {
		im->more_refused++;
		return 0;
	}
	im->refused_bytes += bytes;
	o = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(o, "index", (double)at) == NULL ||
	    cJSON_AddStringToObject(o, "error", err_name(why->code)) == NULL ||
	    cJSON_AddStringToObject(o, "message", why->msg) == NULL ||
	    !cJSON_AddItemToArray(im->refused, o)) {
		cJSON_Delete(o);
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	return 0;
}

static int
import_all(struct importing *im, const cJSON *keys, struct err *e)
{
	const cJSON *item;
	size_t at = 0;

	cJSON_ArrayForEach(item, keys)
	{
		struct err why = {0};

		im->one = *im->call;
		im->one.request = item;
		if (!cJSON_IsObject(item))
			err_set(&why, ERR_INPUT, "not an object");
		if (why.code == ERR_NONE && import_one(im, at, &why) != 0 &&
		    !is_refusal(why.code)) {
			*e = why;
			return -1;
		}
		if (why.code != ERR_NONE && add_refused(im, at, &why, e) != 0)
			return -1;
		at++;
	}
	return 0;
}

static int
run_import(struct importing *im, struct err *e)
{
	struct ops_call *c = im->call;
	const cJSON *keys = json_array(c->request, "keys", e);
	int dry_run = json_bool(c->request, "dry_run", 0, e), n = cJSON_GetArraySize(keys);

	im->skip_existing = json_bool(c->request, "skip_existing", 0, e);
	if (e->code != ERR_NONE)
		return -1;
	if (n < 1 || n > OPS_IMPORT_MAX)
		return err_set(e, ERR_USAGE,
		    "key.import needs \"keys\", an array of 1 to %d records", OPS_IMPORT_MAX);
	im->made = cJSON_AddArrayToObject(c->result, "keys");
	im->existing = cJSON_AddArrayToObject(c->result, "existing");
	im->refused = cJSON_AddArrayToObject(c->result, "refused");
	if (im->made == NULL || im->existing == NULL || im->refused == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (import_all(im, keys, e) != 0)
		return -1;
	if (dry_run || cJSON_GetArraySize(im->refused) > 0) {
		/* The keys that were made for it are forgotten with it. */
		cJSON_DeleteItemFromObjectCaseSensitive(c->result, "keys");
		cJSON_AddArrayToObject(c->result, "keys");
		if (cJSON_GetArraySize(im->refused) > 0)
			im->imported = 0;
		c->undo = 1;
	}
	cJSON_AddNumberToObject(c->result, "more_refused", (double)im->more_refused);
	if (cJSON_AddNumberToObject(c->result, "imported", (double)im->imported) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	return 0;
}

int
ops_import(struct ops_call *c, struct err *e)
{
	struct importing im = {.call = c};
	int rc;

	if ((im.draft = ops_draft_new(e)) == NULL)
		return -1;
	rc = run_import(&im, e);
	secret_wipe(im.key, sizeof(im.key));
	ops_draft_free(im.draft);
	return rc;
}
