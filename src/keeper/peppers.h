/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_PEPPERS_H_
#define KEEPER_PEPPERS_H_

/*
 * The peppers: HMAC keys by version, from a file of lines "<version> <64 hex digits>" ('#'
 * comments, empty lines, and perhaps the store's key, keeper/storekey.h). The file must be a regular file of mode 0400 owned by root or by us;
 * systemd's credential "peppers" ($CREDENTIALS_DIRECTORY) is taken before it.  Only the keeper, or
 * the tool when it works alone, loads them; the text is wiped at once.
 */

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/span.h"

#define PEPPERS_MAX 32

struct peppers;

/* ERR_NOT_FOUND when there is none yet (mend: apikey pepper add), ERR_DENIED when mode or owner are
 * loose, ERR_INPUT file:line. */
struct peppers *peppers_load(const char *file, struct err *);
void peppers_free(struct peppers **);

/*
 * peppers_add(file, uid, gid, &version, e): append a fresh random pepper: the whole file is written
 * anew beside the old one (0400), synced, renamed over it, the directory synced; two at once are
 * serialised by a lock on the directory.
 * ${uid}/${gid}: whom it shall belong to ((uid_t)-1: leave).  Existing lines are kept byte for
 * byte.
 */
int peppers_add(const char *file, unsigned uid, unsigned gid, uint32_t *, struct err *)
    __attribute__((warn_unused_result));

/*
 * peppers_remove(file, uid, gid, version, e): take the line of ${version} out, in the same way: 1
 * done, 0 there is none, -1 (ERR_CONFLICT: it is the newest).
 */
int peppers_remove(const char *file, unsigned uid, unsigned gid, uint32_t version, struct err *)
    __attribute__((warn_unused_result));

/* Were they read from systemd's credential, which cannot be written? */
int peppers_credential(const struct peppers *);
/* Forget one of them, if it is there. */
void peppers_drop(struct peppers *, uint32_t version);

size_t peppers_count(const struct peppers *);
/* Version ${i}, newest first. */
uint32_t peppers_version(const struct peppers *, size_t i);
/* HMAC-SHA256 of ${key} under the i-th newest. 0 or -1. */
int peppers_digest(struct peppers *, size_t i, struct span key, uint8_t[DIGEST_LEN])
    __attribute__((warn_unused_result));
/* HMAC-SHA256 under a key of its own that is derived from the i-th newest: for the audit trail.  0
 * or -1. */
int peppers_seal(struct peppers *, size_t i, struct span bytes, uint8_t[DIGEST_LEN])
    __attribute__((warn_unused_result));

#endif /* !KEEPER_PEPPERS_H_ */
