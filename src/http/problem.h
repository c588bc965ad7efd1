/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HTTP_PROBLEM_H_
#define HTTP_PROBLEM_H_

/* Denials as clients see them: the problem+json body (RFC 9457) and the challenges (RFC 6750 3, RFC
 * 9110 11.6.1). */

#include "base/buf.h"
#include "base/span.h"
#include "core/verdict.h"
#include "wire/wire.h"

struct problem {
	enum verdict verdict;
	struct span request_id;	   /* becomes urn:apikeyd:request:<id>; checked by the caller */
	struct span needed_scopes; /* for scope_insufficient */
	const struct wire_answer *answer; /* NULL, or the limits for rate_limited */
	const char *realm;
};

/* One line of JSON: type, title, status, detail, code, instance; violated-policies for
 * rate_limited; scope for scope_insufficient. */
void problem_body(const struct problem *, struct wbuf *);

/*
 * The value of the Bearer challenge of this verdict into ${w}; 1, or 0 when it has none.
 * A 401 also carries `ApiKey realm="R"` (problem_challenge_apikey).
 */
int problem_challenge(const struct problem *, struct wbuf *);
void problem_challenge_apikey(const struct problem *, struct wbuf *);

/* A JSON string, quotes and escapes included (RFC 8259 7); bytes that are not UTF-8 become U+FFFD.
 */
void problem_json_string(struct wbuf *, struct span);

#endif /* !HTTP_PROBLEM_H_ */
