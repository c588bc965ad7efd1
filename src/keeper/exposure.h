/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_EXPOSURE_H_
#define KEEPER_EXPOSURE_H_

/* A key that was seen where it must not be: the mark in its record, and what is done about it. */

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/netaddr.h"
#include "config/config.h"
#include "core/keyrec.h"
#include "store/store.h"

struct exposure {
	/* How, from where, when, and what is to be done. */
	uint8_t ways;	/* KEYREC_EXPOSED_*, at least one */
	int old_secret; /* it was the secret before the present one, in its grace */
	int has_addr;
	struct netaddr addr;
	int64_t wall_us;
	enum config_exposure policy;

	/* What exposure_mark found: what the record did not know yet, and what became of the key.
	 */
	uint8_t new_ways;
	enum keyrec_state before;
	struct span reason_before; /* in the stored record */
	int64_t until_before_us;   /* of the old secret */
	int acted;

	/* The record borrows from here. */
	char from[NETADDR_TEXT_MAX];
	char reason[KEYREC_REASON_MAX];
};

/*
 * Into the record alone: the way is marked, with the first time and address, and a key that the
 * policy takes is disabled or revoked; of an old secret, its grace ends instead.  1 when that
 * changed it, 0 when all of it stood there.
 */
int exposure_mark(struct exposure *, struct keyrec *);

/* What the trail tells of an old secret that was ended; the caller's, or NULL. */
cJSON *exposure_end_json(int64_t from_us, int64_t to_us, struct span reason);

/* "exposed: url from 192.0.2.1" */
const char *exposure_reason(const struct exposure *);

/* Store a record that was marked, with its audit entries, and say so in the log.  0 or -1. */
int exposure_store(const struct exposure *, struct store *, const uint8_t digest[STORE_DIGEST_LEN],
    const struct keyrec *, struct err *) __attribute__((warn_unused_result));

#endif /* !KEEPER_EXPOSURE_H_ */
