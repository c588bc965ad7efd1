/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stored form of a key's older secret.
 *
 * It stands among the key records, so that the one lookup of a check finds either.  The keeper
 * decodes one only for a request that comes with an older secret.
 *
 * Alias, integers big-endian: u8 0x80 + version, 20 bytes id, u32 pepper, u8 digest of what,
 * u8 1 and 32 bytes digest of the secret before it, or u8 0.
 *
 * Invariants: no alias begins like a record (their versions stay below 0x80), so that neither is
 * ever read as the other; what decodes names an id that a key can have.
 */

#include <string.h>

#include "core/alias.h"

#define ALIAS_VERSION 0x81

void
alias_encode(const struct alias *a, struct wbuf *w)
{
	wbuf_u8(w, ALIAS_VERSION);
	wbuf_bytes(w, a->id, TOKEN_ID_LEN);
	wbuf_u32(w, a->pepper);
	wbuf_u8(w, (uint8_t)a->digest_of);
	wbuf_u8(w, a->has_older != 0);
	if (a->has_older)
		wbuf_bytes(w, a->older, sizeof(a->older));
}

int
alias_decode(struct span s, struct alias *out, struct err *e)
{
	struct alias a = {.pepper = 0};
	struct rbuf r;
	const uint8_t *p;
	uint8_t version;
	unsigned has_older;

	memset(out, 0, sizeof(*out));
	rbuf_init(&r, s.p, s.len);
	version = rbuf_u8(&r);
	if (!r.bad && version != ALIAS_VERSION)
		return err_set(e, ERR_VERSION,
		    "old secret: version %d is not one this release reads", version);
	if ((p = rbuf_bytes(&r, TOKEN_ID_LEN)) != NULL)
		memcpy(a.id, p, TOKEN_ID_LEN);
	a.pepper = rbuf_u32(&r);
	a.digest_of = (enum keyrec_digest)rbuf_u8(&r);
	has_older = rbuf_u8(&r);
	a.has_older = has_older == 1;
	if (a.has_older && (p = rbuf_bytes(&r, sizeof(a.older))) != NULL)
		memcpy(a.older, p, sizeof(a.older));
	if (rbuf_done(&r) < 0 || has_older > 1 || a.pepper == 0 ||
	    (unsigned)a.digest_of >= KEYREC_DIGESTS ||
	    !token_id_ok((struct span){a.id, strnlen(a.id, sizeof(a.id))}))
		return err_set(e, ERR_CORRUPT, "old secret: cut short, too long or out of bounds");
	*out = a;
	return 0;
}
