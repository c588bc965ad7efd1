/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Peppers held against the store that they are used with.
 *
 * Runs wherever peppers are loaded: the keeper at its start and at each reload, the tool working
 * alone.
 *
 * Invariant: a store is never served with a pepper other than the one its keys were made with; the
 * alternative would answer key_invalid for all of them, and make new keys under the wrong one.
 */

#include "keeper/fingerprints.h"

#include <stdio.h>

#define FINGERPRINT_LEN 16

static int
check_version(struct store *s, struct peppers *p, size_t i, const char *file, struct err *e)
{
	uint8_t digest[DIGEST_LEN], stored[DIGEST_LEN] = {0};
	char name[32];
	size_t len = 0;
	int rc;

	if (snprintf(name, sizeof(name), "pepper.%u", (unsigned)peppers_version(p, i)) < 0 ||
	    peppers_digest(p, i, span_of("apikeyd pepper fingerprint"), digest) != 0)
		return err_set(e, ERR_SYSTEM, "cannot compute a pepper's fingerprint");
	memset(digest + FINGERPRINT_LEN, 0, DIGEST_LEN - FINGERPRINT_LEN);
	if ((rc = store_meta_get(s, name, stored, FINGERPRINT_LEN, &len, e)) < 0)
		return -1;
	if (rc == 0)
		return store_meta_put(s, name, digest, FINGERPRINT_LEN, e);
	if (len == FINGERPRINT_LEN && digest_equal(digest, stored))
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "pepper %u in %s is not the one that the keys of this store were made with; bring the "
	    "file "
	    "back from its backup (without one the keys are lost: move the state_dir away and "
	    "start anew)",
	    (unsigned)peppers_version(p, i), file);
}

int
fingerprints_check(struct store *s, struct peppers *p, const char *file, struct err *e)
{
	size_t i;

	for (i = 0; i < peppers_count(p); i++) {
		if (check_version(s, p, i, file, e) != 0)
			return -1;
	}
	return 0;
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
