/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_KINDS_H_
#define APIKEY_KINDS_H_

/* The kinds of option values: what is right, and what it becomes in the request. */

#include <stdint.h>

#include <cjson/cJSON.h>

#include "apikey/options.h"
#include "base/err.h"

/* One use of an option. */
struct kinds_use {
	const struct option_def *def;
	cJSON *to;	    /* the object that gets the member */
	const char *member; /* its name there */
	const char *value;  /* NULL for kinds without one */
	int64_t now_us;	    /* what durations count from */
};

int kinds_takes_value(enum option_kind);
int kinds_repeats(enum option_kind);

/* Check the value and put it into the object.  0, or -1 with ERR_USAGE that names the option. */
int kinds_apply(const struct kinds_use *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_KINDS_H_ */
