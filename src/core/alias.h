/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_ALIAS_H_
#define CORE_ALIAS_H_

/*
 * An older secret of a key, as the store keeps it: under that secret's digest, where a record would
 * be, it says whose secret it was.  Whether it still works is the record's matter
 * (core/rotation.h).
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "core/keyrec.h"

#define ALIAS_MAX 128 /* bytes of an encoded one */

struct alias {
	char id[TOKEN_ID_LEN + 1];
	uint32_t pepper; /* version whose HMAC is the alias's digest */
	enum keyrec_digest digest_of;
	int has_older; /* the secret before this one is remembered, too, under: */
	uint8_t older[KEYREC_DIGEST_LEN];
};

/* Is this what stands under a digest an alias, and no record?  By its first byte alone. */
static inline int
alias_is(struct span s)
{
	return s.len > 0 && (uint8_t)s.p[0] >= 0x80;
}

/* Decoding refuses an unknown version (ERR_VERSION), trailing bytes and out-of-bounds values
 * (ERR_CORRUPT); a failure leaves ${a} all zero. */
void alias_encode(const struct alias *, struct wbuf *);
int alias_decode(struct span, struct alias *, struct err *) __attribute__((warn_unused_result));

#endif /* !CORE_ALIAS_H_ */
