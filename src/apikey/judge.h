/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_JUDGE_H_
#define APIKEY_JUDGE_H_

/*
 * Judging answers, for doctor: an answer in, a judgement out.  What a refusal must look like is
 * apikeyd-api(7) (RFC 9457, RFC 6750 3, RFC 9110 11.6.1, draft-ietf-httpapi-ratelimit-headers).
 */

#include "apikey/answer.h"
#include "apikey/causes.h"
#include "core/verdict.h"

#define JUDGE_DETAIL_MAX 320

enum judge_result { JUDGE_PASS, JUDGE_FAIL, JUDGE_SKIP };

struct judgement {
	enum judge_result result;
	enum cause cause;	       /* of a failure */
	char detail[JUDGE_DETAIL_MAX]; /* one line, printable ASCII: what came back, or why not */
};

const char *judge_result_name(enum judge_result);

void judge_pass(struct judgement *, const char *, ...) __attribute__((format(printf, 2, 3)));
void judge_skip(struct judgement *, const char *, ...) __attribute__((format(printf, 2, 3)));
void judge_fail(struct judgement *, enum cause, const char *, ...)
    __attribute__((format(printf, 3, 4)));

/* Where the credentials of a request were. */
enum judge_way { JUDGE_NO_KEY, JUDGE_BEARER, JUDGE_HEADER, JUDGE_BOTH, JUDGE_QUERY };

/* What must come back. */
struct judge_wanted {
	enum verdict verdict;
	enum judge_way way;
	enum cause open; /* what it is called when the request is served instead */
	int no_body;	 /* the answer to HEAD */
};

/* The verdict that an answer tells: by Apikey-Denied, else by its body; -1 when it tells none. */
int judge_verdict_of(const struct answer *);

/* A complete refusal with this verdict? */
void judge_refusal(struct judgement *, const struct answer *, const struct judge_wanted *);

/* Do two refusals differ in nothing but the request's id and the time? */
void judge_alike(struct judgement *, const struct answer *, const struct answer *);

/* A success of the API, to a request with a valid key? */
void judge_admitted(struct judgement *, const struct answer *, enum judge_way);

/*
 * Closed, whoever says so?  ${success} is what a key gets, ${refusal} what no key gets,
 * ${elsewhere} what a path outside of the mount gets: kind ANSWER_NONE when unknown.
 */
struct judge_known {
	const struct answer *success, *refusal, *elsewhere;
};
void judge_closed(
    struct judgement *, const struct answer *, const struct judge_known *, enum cause open);

/* Plain HTTP: refused, redirected to HTTPS, or nobody there? */
void judge_plain_http(struct judgement *, const struct answer *, enum cause open);

/* RateLimit and RateLimit-Policy (or the X- ones), on a success or a refusal: 1 well-formed, 0 not
 * there, -1 malformed or doubled, and the judgement. */
int judge_ratelimit(struct judgement *, const struct answer *);
/* The least "r" of RateLimit, or -1. */
long judge_remaining(const struct answer *);

/*
 * A header that no client should see, or no bytes: what the gate and the web server tell each
 * other; who the key is.
 */
struct span judge_gate_leak(const struct answer *);
struct span judge_identity_leak(const struct answer *);

#endif /* !APIKEY_JUDGE_H_ */
