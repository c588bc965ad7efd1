/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_DIGEST_H_
#define BASE_DIGEST_H_

/* CRC-32, SHA-256 and HMAC-SHA256 (RFC 2104, FIPS 198-1), over OpenSSL and zlib. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DIGEST_LEN 32

/* Have OpenSSL read its configuration and load its providers now, while files may be opened. */
int digest_init(struct err *) __attribute__((warn_unused_result));

/* CRC-32 (ISO-HDLC: the one of zlib, PNG, Ethernet) of ${n} bytes. */
uint32_t digest_crc32(const void *, size_t);

int digest_sha256(const void *, size_t, uint8_t[DIGEST_LEN], struct err *)
    __attribute__((warn_unused_result));

/* Equal in constant time: 1 or 0. */
int digest_equal(const uint8_t[DIGEST_LEN], const uint8_t[DIGEST_LEN]);

/*
 * An HMAC key, set up once: the algorithm is fetched here and never in the hot path, and the key is
 * kept only as the two hash states that it leads to.  The caller wipes its own copy.
 */
struct digest_hmac;
struct digest_hmac *digest_hmac_new(const void *, size_t, struct err *);
void digest_hmac_free(struct digest_hmac *); /* wipes */
int digest_hmac_of(struct digest_hmac *, const void *, size_t, uint8_t[DIGEST_LEN])
    __attribute__((warn_unused_result));

/* base64url without padding (RFC 4648 5): returns the length; ${cap} >= 4*n/3 + 2, else 0. */
size_t digest_base64url(const void *, size_t, char *, size_t);

/* Lower-case hex with a NUL; ${out} has 2n + 1 bytes.  And back: 0 or -1, exactly 2n digits. */
void digest_hex(const void *, size_t, char *);
int digest_unhex(const char *, size_t, void *, size_t) __attribute__((warn_unused_result));

#endif /* !BASE_DIGEST_H_ */
