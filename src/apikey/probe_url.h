/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_PROBE_URL_H_
#define APIKEY_PROBE_URL_H_

/* An http or https URL (RFC 3986) in two halves. */

#include "apikey/probe.h"
#include "base/err.h"

#define PROBE_ORIGIN_MAX 512

/*
 * "scheme://host[:port]" of ${url}, and path and query ("/" at least).  0, or -1 with ERR_USAGE.
 */
int probe_url_split(const char *url, char origin[PROBE_ORIGIN_MAX], int *is_https,
    char target[PROBE_TARGET_MAX], struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_PROBE_URL_H_ */
