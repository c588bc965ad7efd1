/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_FINGERPRINTS_H_
#define KEEPER_FINGERPRINTS_H_

/*
 * Are these the peppers that the store's keys were made with?  A pepper file that was lost and made
 * anew has a version 1 as well, and under it every key would be unknown.  So the store keeps a
 * fingerprint of each version it has seen (an HMAC of a constant: it tells nothing of the pepper).
 */

#include "base/err.h"
#include "keeper/peppers.h"
#include "store/store.h"

/*
 * In a batch: compares each version's fingerprint with the stored one, and stores those that are
 * new. 0; -1 with ERR_CONFLICT, naming ${file} and the mend, when one differs.
 */
int fingerprints_check(struct store *, struct peppers *, const char *file, struct err *)
    __attribute__((warn_unused_result));

/*
 * peppers_load, then fingerprints_check in a batch of its own.  Without a file, but with keys in
 * the store, the error says that the file has to come back rather than be made anew.
 */
struct peppers *fingerprints_load(struct store *, const char *file, struct err *);

#endif /* !KEEPER_FINGERPRINTS_H_ */
