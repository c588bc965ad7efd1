/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Peppers held against the store that they are used with.
 *
 * Runs wherever peppers are loaded: the keeper at its start and at each reload, the tool working
 * alone.
 *
 * A record of `meta` for each version: its fingerprint, and behind it, once it is retired, the time
 * of that.  Store and pepper file cannot be changed together, so each order of their changes has to
 * be one that can be started from:
 *
 *     add     the file first, then the record: a version without a record is taken up;
 *     retire  the record first, then the file: a version that is retired is not used, whether the
 *             file has it or not;
 *     both    a record whose version is not in the file (a file from a backup) is no harm as long
 *             as no key needs it, and a version that comes with another fingerprint takes its
 * place.
 *
 * Invariant: a store is never served without a pepper that its keys need, nor with another one in
 * its place; the alternative would answer key_invalid for all of them, and make new keys under the
 * wrong one.
 */

#include "keeper/fingerprints.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define FINGERPRINT_LEN 16
#define RECORD_MAX (FINGERPRINT_LEN + 8) /* and when it was retired */
#define NAME_MAX_ 32

struct record {
	size_t len; /* 0: there is none */
	uint8_t bytes[RECORD_MAX];
};

static int
name_of(uint32_t version, char name[NAME_MAX_], struct err *e)
{
	int n = snprintf(name, NAME_MAX_, "pepper.%u", (unsigned)version);

	return n > 0 && n < NAME_MAX_ ? 0 : err_set(e, ERR_INTERNAL, "a name is too long");
}

static int
record_get(struct store *s, uint32_t version, struct record *r, struct err *e)
{
	char name[NAME_MAX_];

	*r = (struct record){.len = 0};
	if (name_of(version, name, e) != 0)
		return -1;
	return store_meta_get(s, name, r->bytes, sizeof(r->bytes), &r->len, e) < 0 ? -1 : 0;
}

static int
record_put(struct store *s, uint32_t version, const void *bytes, size_t len, struct err *e)
{
	char name[NAME_MAX_];

	if (name_of(version, name, e) != 0)
		return -1;
	return store_meta_put(s, name, bytes, len, e);
}

static enum fingerprints_state
state_of(const struct record *r)
{
	if (r->len == 0)
		return FINGERPRINTS_UNKNOWN;
	return r->len == RECORD_MAX ? FINGERPRINTS_RETIRED : FINGERPRINTS_USED;
}

int
fingerprints_state(struct store *s, uint32_t version, enum fingerprints_state *state, struct err *e)
{
	struct record r;

	*state = FINGERPRINTS_UNKNOWN;
	if (record_get(s, version, &r, e) != 0)
		return -1;
	*state = state_of(&r);
	return 0;
}

int
fingerprints_retire(struct store *s, uint32_t version, int64_t when_us, struct err *e)
{
	struct record r;
	struct wbuf out;

	if (record_get(s, version, &r, e) != 0)
		return -1;
	/* One that was never seen is all zeros: no pepper has that fingerprint. */
	wbuf_init(&out, r.bytes + FINGERPRINT_LEN, sizeof(r.bytes) - FINGERPRINT_LEN);
	wbuf_u64(&out, (uint64_t)when_us);
	return record_put(s, version, r.bytes, sizeof(r.bytes), e);
}

uint64_t
fingerprints_need(const struct store_secrets *under, int64_t now_us)
{
	uint64_t live = under->n[STORE_SECRET_LIVE];

	return under->previous_until_us > now_us ? live + under->n[STORE_SECRET_PREVIOUS] : live;
}

/* The i-th newest: 1 goes on, 0 was retired, -1. */
static int
check_version(struct store *s, struct peppers *p, size_t i, const char *file, struct err *e)
{
	uint8_t digest[DIGEST_LEN], stored[DIGEST_LEN] = {0};
	uint32_t version = peppers_version(p, i);
	struct store_secrets under;
	struct record r;

	if (record_get(s, version, &r, e) != 0)
		return -1;
	if (state_of(&r) == FINGERPRINTS_RETIRED)
		return 0;
	if (peppers_digest(p, i, span_of("apikeyd pepper fingerprint"), digest) != 0)
		return err_set(e, ERR_SYSTEM, "cannot compute a pepper's fingerprint");
	memset(digest + FINGERPRINT_LEN, 0, DIGEST_LEN - FINGERPRINT_LEN);
	memcpy(stored, r.bytes, FINGERPRINT_LEN);
	if (r.len == FINGERPRINT_LEN && digest_equal(digest, stored))
		return 1;
	if (r.len > 0 && store_secrets_get(s, version, &under, e) != 0)
		return -1;
	if (r.len > 0 && fingerprints_need(&under, clock_wall_us()) > 0)
		return err_set(e, ERR_CONFLICT,
		    "pepper %u in %s is not the one that the keys of this store were made with; "
		    "bring the file back from its backup (without one the keys are lost: move the "
		    "state_dir away and start anew)",
		    (unsigned)version, file);
	return record_put(s, version, digest, FINGERPRINT_LEN, e) == 0 ? 1 : -1;
}

struct looking {
	struct store *store;
	const struct peppers *peppers;
	const char *file;
};

static int
is_loaded(const struct peppers *p, uint32_t version)
{
	for (size_t i = 0; i < peppers_count(p); i++)
		if (peppers_version(p, i) == version)
			return 1;
	return 0;
}

/* Keys are under this version: is it there, or was it given up? */
static int
look_for(void *cookie, const struct store_secrets *under, struct err *e)
{
	const struct looking *l = cookie;
	enum fingerprints_state state;

	uint64_t need = fingerprints_need(under, clock_wall_us());

	if (need == 0 || is_loaded(l->peppers, under->pepper))
		return 0;
	if (fingerprints_state(l->store, under->pepper, &state, e) != 0)
		return -1;
	if (state == FINGERPRINTS_RETIRED)
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "pepper %u is not in %s, and %llu keys of this store need it; bring the file back from "
	    "its backup (without one these keys are lost: apikey pepper retire %u --force gives "
	    "them up)",
	    (unsigned)under->pepper, l->file, (unsigned long long)need, (unsigned)under->pepper);
}

int
fingerprints_check(struct store *s, struct peppers *p, const char *file, struct err *e)
{
	struct looking l = {.store = s, .peppers = p, .file = file};
	size_t i = 0;
	int rc;

	while (i < peppers_count(p)) {
		if ((rc = check_version(s, p, i, file, e)) < 0)
			return -1;
		if (rc == 1) {
			i++;
			continue;
		}
		log_event(
		    LOG_LVL_INFO, "pepper_retired", "pepper", LOG_NUM(peppers_version(p, i)), NULL);
		peppers_drop(p, peppers_version(p, i));
	}
	if (peppers_count(p) == 0)
		return err_set(e, ERR_NOT_FOUND,
		    "every pepper in %s was retired; run: apikey pepper add", file);
	return store_secrets_walk(s, look_for, &l, e) < 0 ? -1 : 0;
}

struct checking {
	struct store *store;
	struct peppers *peppers;
	const char *file;
};

static int
check_batch(void *cookie, struct err *e)
{
	const struct checking *c = cookie;

	return fingerprints_check(c->store, c->peppers, c->file, e);
}

struct peppers *
fingerprints_load(struct store *s, const char *file, struct err *e)
{
	struct checking c = {.store = s, .file = file};
	struct store_stat stat;

	if ((c.peppers = peppers_load(file, e)) == NULL) {
		if (e->code == ERR_NOT_FOUND && store_stat(s, &stat, NULL) == 0 && stat.keys > 0)
			(void)err_set(e, ERR_NOT_FOUND,
			    "the pepper file %s is gone, and the %llu keys of this store need it; "
			    "bring it "
			    "back from its backup (without one the keys are lost: move the "
			    "state_dir away, "
			    "then apikey pepper add)",
			    file, (unsigned long long)stat.keys);
		return NULL;
	}
	if (store_batch(s, check_batch, &c, e) != 0)
		peppers_free(&c.peppers);
	return c.peppers;
}
