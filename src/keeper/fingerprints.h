/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_FINGERPRINTS_H_
#define KEEPER_FINGERPRINTS_H_

/*
 * Are these the peppers that the store's keys were made with?  A pepper file that was lost and made
 * anew has a version 1 as well, and under it every key would be unknown.  So the store keeps a
 * fingerprint of each version it has seen (an HMAC of a constant: it tells nothing of the pepper),
 * and that of a version which was retired says so.
 */

#include "base/err.h"
#include "keeper/peppers.h"
#include "store/store.h"

/*
 * In a batch: compares each version's fingerprint with the stored one, and stores those that are
 * new.  A version that was retired is dropped from ${peppers}, as if it were not in the file.  0;
 * -1 with ERR_CONFLICT, naming ${file} and the mend, when one differs under which there are keys,
 * or when one that keys need is missing.
 */
int fingerprints_check(struct store *, struct peppers *, const char *file, struct err *)
    __attribute__((warn_unused_result));

/*
 * peppers_load, then fingerprints_check in a batch of its own.  Without a file, but with keys in
 * the store, the error says that the file has to come back rather than be made anew.
 */
struct peppers *fingerprints_load(struct store *, const char *file, struct err *);

/* What the store remembers of a version. */
enum fingerprints_state {
	FINGERPRINTS_UNKNOWN, /* it never was in use */
	FINGERPRINTS_USED,
	FINGERPRINTS_RETIRED
};
int fingerprints_state(struct store *, uint32_t version, enum fingerprints_state *, struct err *)
    __attribute__((warn_unused_result));
/* In a batch: it is not used any more from then on.  0 or -1. */
int fingerprints_retire(struct store *, uint32_t version, int64_t when_us, struct err *)
    __attribute__((warn_unused_result));

/* Secrets that work, or may work again, and are of no use without their pepper: not those of revoked
 * keys, nor previous ones whose grace has ended at ${now}. */
uint64_t fingerprints_need(const struct store_secrets *, int64_t now_us);

#endif /* !KEEPER_FINGERPRINTS_H_ */
