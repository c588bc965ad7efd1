/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_TOKEN_H_
#define CORE_TOKEN_H_

/*
 * The text of an API key:
 *
 *     <prefix>_<live|test>_<32 base62 characters><6 base62 characters: CRC-32 of all before them>
 *
 * and of its public id: key_<16 base62 characters>.  The CRC is written most significant digit
 * first in the alphabet 0-9A-Za-z, padded with '0'.  It is no secret: it rejects junk before any
 * I/O and lets scanners find leaked keys.
 */

#include "base/err.h"
#include "base/span.h"

#define TOKEN_PREFIX_MAX 16 /* bytes of a key_prefix: [a-z][a-z0-9]* */
#define TOKEN_RANDOM 32
#define TOKEN_CHECK 6
#define TOKEN_MAX (TOKEN_PREFIX_MAX + 6 + TOKEN_RANDOM + TOKEN_CHECK) /* without NUL */
#define TOKEN_SHOWN 4 /* of the random characters, in a key's visible start */
#define TOKEN_START_MAX (TOKEN_PREFIX_MAX + 6 + TOKEN_SHOWN)
#define TOKEN_ID_LEN 20 /* "key_" and 16 characters, without NUL */

/* Keys that other systems made, and that are imported by their SHA-256. */
#define TOKEN_FOREIGN_MAX 512 /* bytes */
#define TOKEN_FOREIGN_URL_MIN                                                                      \
	16 /* shorter values of query parameters are taken for something else */

enum token_env { TOKEN_LIVE, TOKEN_TEST };

const char *token_env_name(enum token_env);
/* "live" or "test" -> env; -1 for anything else. */
int token_env_parse(struct span);

/* 1 for the characters of which keys and ids are made: base62. */
int token_char(char);

/* 1 when ${prefix} may be a key_prefix. */
int token_prefix_ok(struct span);

/* A fresh key into ${out} (NUL-terminated; the caller wipes it).  0 or -1 (no randomness). */
int token_generate(const char *prefix, enum token_env, char out[TOKEN_MAX + 1], struct err *)
    __attribute__((warn_unused_result));

/* Has ${s} the form of a key of ours (prefix, environment, length, alphabet)?  Checksum not looked
 * at. */
int token_has_form(struct span s, struct span prefix);

/* Has it the form and the right checksum? */
int token_valid(struct span s, struct span prefix);

/* May ${s} be a key of another system?  1 to TOKEN_FOREIGN_MAX visible ASCII characters, no comma.
 */
int token_foreign_ok(struct span s);

/* The visible start of a key of valid form: prefix, environment and 4 characters ("ak_live_3kTM").
 */
/* Is there a valid key anywhere in ${text}?  1 or 0. */
int token_within(struct span text, struct span prefix);

void token_start(struct span, char[TOKEN_START_MAX + 1]);

/* A fresh public id.  0 or -1. */
int token_id_generate(char[TOKEN_ID_LEN + 1], struct err *) __attribute__((warn_unused_result));
int token_id_ok(struct span);

#endif /* !CORE_TOKEN_H_ */
