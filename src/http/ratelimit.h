/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HTTP_RATELIMIT_H_
#define HTTP_RATELIMIT_H_

/*
 * RateLimit header fields: the one place that knows their syntax
 * (draft-ietf-httpapi-ratelimit-headers, structured fields RFC 9651; the draft still moves).
 */

#include "config/config.h"
#include "http/reply.h"
#include "wire/wire.h"

/* RateLimit-Policy and RateLimit, and/or X-RateLimit-Limit/-Remaining/-Reset of the tightest limit;
 * nothing for a key without limits. */
void ratelimit_headers(const struct wire_answer *, enum config_ratelimit, struct reply *);
/* The same as Variable-APIKEY_RATELIMIT_POLICY, _RATELIMIT, _X_LIMIT, _X_REMAINING, _X_RESET: what
 * the server of an authorizer hands on as variables. */
void ratelimit_variables(const struct wire_answer *, enum config_ratelimit, struct reply *);

/* Retry-After of a rate_limited answer in whole seconds, rounded up, at least 1. */
uint64_t ratelimit_retry_after(const struct wire_answer *);
/* ${us} in whole seconds, rounded up. */
uint64_t ratelimit_seconds(int64_t us);

#endif /* !HTTP_RATELIMIT_H_ */
