/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_FOUND_H_
#define KEEPER_FOUND_H_

/*
 * The key that a check is about: found by its credential, through all peppers and by older secrets
 * too, or by its id; and what is written of it when it is admitted.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/netaddr.h"
#include "base/span.h"
#include "core/keyrec.h"
#include "core/plan.h"
#include "core/rotation.h"
#include "keeper/peppers.h"
#include "store/store.h"

#define FOUND_NOBODY_MAX 512

struct found {
	struct keyrec rec; /* borrows from record */
	size_t pepper;	   /* the i-th newest made its digest */
	uint8_t digest[STORE_DIGEST_LEN];
	uint8_t newest[STORE_DIGEST_LEN]; /* what the newest pepper makes of it */
	struct store_match match;	  /* which secret it is, and where its record is */

	/* By found_judge. */
	enum rotation_verdict secret;
	int64_t rotate_by_us;

	uint8_t record[KEYREC_MAX];

	/* The record of nobody: what an unknown key goes on with. */
	uint8_t nobody[FOUND_NOBODY_MAX];
	size_t nobody_len;
};

/* Once, before the others. */
int found_init(struct found *, struct err *) __attribute__((warn_unused_result));

/*
 * What keeps the time of a check from telling unknown keys from known ones.  found_nobody: after a
 * search that found nothing, the record of nobody, revoked, is the one that was found.
 * found_look_further: after one that found a key that is refused, look where an unknown one would
 * have been looked for as well.
 */
int found_nobody(struct found *, struct err *) __attribute__((warn_unused_result));
int found_look_further(struct found *, struct store *, struct peppers *, struct span credential,
    struct err *) __attribute__((warn_unused_result));

/* By a credential of valid form: 1, 0 unknown, -1. */
int found_by_credential(struct found *, struct store *, struct peppers *, struct span credential,
    struct err *) __attribute__((warn_unused_result));
/* By its public id, as if with its present secret. */
int found_by_id(struct found *, struct store *, struct span id, struct err *)
    __attribute__((warn_unused_result));
/* Is the secret good at ${now}, under the key's plan (NULL: none known)? */
void found_judge(struct found *, const struct plan *, int64_t now_us);

/* In the batch of the check that admits it.  The digest moves under the newest pepper: *wrote is
 * set when it was not there yet. */
int found_renew(struct found *, struct store *, struct peppers *, int *wrote, struct err *)
    __attribute__((warn_unused_result));
/* A secret that had been replaced was used: told in the audit trail, once a day for each key. */
int found_tell_previous(struct found *, struct store *, const struct netaddr *, int64_t wall_us,
    int *wrote, struct err *) __attribute__((warn_unused_result));

/* Wipe what was made of the credential. */
void found_forget(struct found *);

#endif /* !KEEPER_FOUND_H_ */
