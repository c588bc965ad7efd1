/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_FACTS_H_
#define GATE_FACTS_H_

/* What is known of the request itself: did it come over HTTPS, from which address, from which page
 * and application. */

#include "base/err.h"
#include "base/netaddr.h"
#include "base/span.h"
#include "config/config.h"
#include "http/params.h"

#define FACTS_PARAM_MAX 128

/* A configuration in the form that is needed per request. */
struct facts_rules {
	const struct config *config;
	char app_param[FACTS_PARAM_MAX]; /* HTTP_X_APP_ID of app_header X-App-Id */
};

struct facts {
	int https;
	int has_addr; /* 0: the address is not known, so any restriction to addresses denies */
	struct netaddr addr;
	int browser; /* what only browsers should send is there: Origin, Sec-Fetch-* */
	/* Borrowed; empty when missing, repeated, too long for the keeper, or with unprintable
	 * characters. */
	struct span method, referrer, app;
};

/* 0, or -1: app_header is no header's name. */
int facts_rules_init(struct facts_rules *, const struct config *, struct err *)
    __attribute__((warn_unused_result));
void facts_read(const struct facts_rules *, const struct params *, struct facts *);

#endif /* !GATE_FACTS_H_ */
