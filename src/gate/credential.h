/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_CREDENTIAL_H_
#define GATE_CREDENTIAL_H_

/* Where a request's API key is: in its headers, or where it must not be, in its URL. */

#include "base/span.h"
#include "config/config.h"
#include "core/verdict.h"
#include "http/params.h"

#define CREDENTIAL_URL_MAX 128 /* bytes of a percent-decoded value that may be a key */

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

/* Equal, in a time that depends on the lengths alone. */
int credential_equal(struct span, struct span);

#endif /* !GATE_CREDENTIAL_H_ */
