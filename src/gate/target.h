/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_TARGET_H_
#define GATE_TARGET_H_

/* Whether a request's path means the same to everybody who reads it. */

#include "http/params.h"

/*
 * 1 when each REQUEST_URI there is (RFC 9112 3.2: a path, or an absolute URI) has a plain path; 0
 * when servers, proxies and backends may take it for different ones.  Without REQUEST_URI nothing
 * is known and nothing refused.  The query may be anything.
 */
int target_is_plain(const struct params *);

#endif /* !GATE_TARGET_H_ */
