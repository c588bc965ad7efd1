/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HTTP_PARAMS_H_
#define HTTP_PARAMS_H_

/*
 * The FastCGI params of one request, bounded: 256 params, 64 KiB in all, 8 KiB a value.  Names and
 * values are borrowed.  A name that a client cannot send is trusted; client headers always arrive
 * as HTTP_*.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define PARAMS_MAX 256
#define PARAMS_BYTES_MAX 65536
#define PARAMS_VALUE_MAX 8192
#define PARAMS_CHAINS 32

struct param {
	struct span name, value;
};

struct params {
	size_t n, bytes;
	int too_large; /* a bound was passed: the request gets a 400 */
	/* By name: one more than the index of a chain's latest param, and of the one before it. */
	uint16_t latest[PARAMS_CHAINS], before[PARAMS_MAX];
	struct param at[PARAMS_MAX];
};

void params_init(struct params *);
/* Beyond a bound: sets too_large and keeps what there was. */
void params_add(struct params *, struct span name, struct span value);
/* "NAME=value" (libfcgi's form). */
void params_add_env(struct params *, const char *);

/*
 * params_get(P, name, &value): 1 when the param is there exactly once, 0 when it is missing, 2 when
 * it is repeated (value: the first).  Trusted params that are repeated are a mistake of the web
 * server's configuration.
 */
int params_get(const struct params *, const char *, struct span *);

/* The value, or an empty span when missing or empty. */
struct span params_value(const struct params *, const char *);

/*
 * params_next(P, name, &i, &value): all params of a name, the latest first; i is 0 at the
 * beginning. 1, or 0 when there are no more.
 */
int params_next(const struct params *, const char *, size_t *, struct span *);

#endif /* !HTTP_PARAMS_H_ */
