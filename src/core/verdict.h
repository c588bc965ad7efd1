/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_VERDICT_H_
#define CORE_VERDICT_H_

/*
 * The verdicts, once.  Codes go over the wire, in bodies, headers and logs; the number is the
 * wire's.  Zero is a denial, so that memory that nobody filled in admits nobody.
 */

enum verdict {
	VERDICT_UNAVAILABLE = 0,
	VERDICT_OK,
	VERDICT_REQUEST_INVALID,
	VERDICT_KEY_IN_URL,
	VERDICT_KEY_MISSING,
	VERDICT_KEY_INVALID,
	VERDICT_KEY_EXPIRED,
	VERDICT_KEY_REVOKED,
	VERDICT_KEY_DISABLED,
	VERDICT_HTTPS_REQUIRED,
	VERDICT_IP_DENIED,
	VERDICT_REFERRER_DENIED,
	VERDICT_APP_DENIED,
	VERDICT_SCOPE_INSUFFICIENT,
	VERDICT_RATE_LIMITED,
	VERDICT_CLIENT_BLOCKED,
	VERDICT_MISCONFIGURED,
	VERDICT_METHOD_DENIED,
	VERDICT_BROWSER_DENIED,
	VERDICTS /* (count) */
};

/* The challenge of WWW-Authenticate (RFC 6750 3). */
enum verdict_challenge {
	CHALLENGE_NONE,
	CHALLENGE_PLAIN, /* Bearer realm alone: no credential was sent (3.1) */
	CHALLENGE_INVALID_REQUEST,
	CHALLENGE_INVALID_TOKEN,
	CHALLENGE_INSUFFICIENT_SCOPE
};

struct verdict_info {
	const char *code;   /* "rate_limited" */
	int status;	    /* HTTP; 200 for ok */
	const char *title;  /* RFC 9457 title; NULL for ok */
	const char *detail; /* one sentence for the client; says the mend */
	const char
	    *secret_detail; /* when the secret alone is refused, its key being good; or NULL */
	const char *type;   /* problem type URI; NULL: urn:apikeyd:problem:CODE */
	enum verdict_challenge challenge;
	const char *description; /* error_description, or NULL */
	const char *when;	 /* for the manual */
};

/* Never NULL; out of range gives misconfigured. */
const struct verdict_info *verdict_info(enum verdict);

/* Number from the wire -> verdict; -1 when there is none. */
int verdict_from_wire(unsigned);

#endif /* !CORE_VERDICT_H_ */
