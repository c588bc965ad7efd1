/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_CAUSES_H_
#define APIKEY_CAUSES_H_

/*
 * What is known to go wrong between a web server and its gate, by name: what it means, and for each
 * server the line of its configuration to look at.  One table.
 */

#include "apikey/answer.h"

enum causes_server {
	CAUSES_ANY, /* not recognised */
	CAUSES_NGINX,
	CAUSES_APACHE,
	CAUSES_LIGHTTPD,
	CAUSES_CADDY,
	CAUSES_HAPROXY,
	CAUSES_SERVERS /* (count) */
};

enum cause {
	CAUSE_NONE,
	CAUSE_OPEN,
	CAUSE_OPEN_SPELLING,
	CAUSE_OPEN_METHOD,
	CAUSE_OPEN_CREDENTIALS,
	CAUSE_CACHED,
	CAUSE_REFUSAL_AS_SUCCESS,
	CAUSE_STATUS_CHANGED,
	CAUSE_BARE_REFUSAL,
	CAUSE_NOT_THERE,
	CAUSE_CONTENT_TYPE,
	CAUSE_HEADERS_LOST,
	CAUSE_DOUBLED,
	CAUSE_GATE_DOWN,
	CAUSE_BLOCKED,
	CAUSE_MISCONFIGURED,
	CAUSE_NO_ANSWER,
	CAUSE_REDIRECT,
	CAUSE_HTTPS_UNSEEN,
	CAUSE_PLAIN_HTTP,
	CAUSE_PROTO_BELIEVED,
	CAUSE_ADDRESS_BELIEVED,
	CAUSE_BEARER_LOST,
	CAUSE_HEADER_LOST,
	CAUSE_ONE_OF_TWO,
	CAUSE_URI_LOST,
	CAUSE_QUERY_ALLOWED,
	CAUSE_TOLD_APART,
	CAUSE_OTHER_STORE,
	CAUSE_THE_KEY,
	CAUSE_ADMITTED_IN_VAIN,
	CAUSE_FORGED,
	CAUSE_KEY_SPELLING,
	CAUSE_UPGRADE,
	CAUSE_STRIPPED,
	CAUSE_IDENTITY_LOST,
	CAUSE_KEY_PASSED_ON,
	CAUSE_INTERNAL_OPEN,
	CAUSE_GATE_LEAKS,
	CAUSE_IDENTITY_LEAKS,
	CAUSE_RATELIMIT_LOST,
	CAUSE_RATELIMIT_WRONG,
	CAUSE_NOT_LIMITED,
	CAUSE_COUNTED_TWICE,
	CAUSES /* (count) */
};

struct cause_info {
	const char *name; /* "open"; a contract with readers of --json */
	const char *meaning;
	const char *look[CAUSES_SERVERS]; /* [CAUSES_ANY]: whatever the server is */
};

/* Never NULL. */
const struct cause_info *causes_info(enum cause);

/* "nginx" as people write it; and back from the word of --server (CAUSES_ANY when unknown). */
const char *causes_server_name(enum causes_server);
enum causes_server causes_server_parse(const char *);

/*
 * Which server wrote this answer of its own: to a request that no server passes on
 * (probe.h), or a refusal.  An answer of the API's may carry the API's Server header.
 */
enum causes_server causes_recognise(const struct answer *);

#endif /* !APIKEY_CAUSES_H_ */
