/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_CREDENTIAL_H_
#define GATE_CREDENTIAL_H_

/* Where a request's API key is: in its headers, or where it must not be, in its URL. */

#include "base/span.h"
#include "config/config.h"
#include "core/token.h"
#include "core/verdict.h"
#include "http/params.h"

#define CREDENTIAL_URL_MAX TOKEN_FOREIGN_MAX /* bytes of a percent-decoded value that may be a key */
#define CREDENTIAL_SEEN_MAX 4  /* keys of one request that are reported as exposed */

/*
 * The credential of Authorization: Bearer and X-API-Key: VERDICT_OK and *key (borrowed, not empty),
 * VERDICT_KEY_MISSING, or VERDICT_REQUEST_INVALID.
 */
enum verdict credential_in_headers(const struct params *, struct span *key);

/*
 * A value of the form of a key under one of config->query_parameters, in REQUEST_URI's or
 * QUERY_STRING's query: 0 none, 1 one (or the same one again), 2 different ones.  *key: the first,
 * decoded into ${mem}, which the caller wipes.
 */
int credential_in_url(
    const struct params *, const struct config *, char mem[CREDENTIAL_URL_MAX], struct span *key);

/* A key that came with a request, where it may be or where it must not. */
struct credential_seen {
	int in_url;
	size_t len;
	char text[TOKEN_FOREIGN_MAX];
};

/*
 * All keys of right form and checksum in the credential headers (repeated, listed, of whatever
 * scheme) and in the URL, and where foreign keys are accepted what may be one, each once, at most
 * CREDENTIAL_SEEN_MAX, those of the URL first.  Returns how many; they are copies, which the caller
 * wipes.
 */
size_t credential_seen(
    const struct params *, const struct config *, struct credential_seen[CREDENTIAL_SEEN_MAX]);

/* Equal, in a time that depends on the lengths alone. */
int credential_equal(struct span, struct span);

#endif /* !GATE_CREDENTIAL_H_ */
