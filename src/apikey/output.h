/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_OUTPUT_H_
#define APIKEY_OUTPUT_H_

/* Standard output, for what may hold a key: straight to write(2), from memory that is wiped. */

#include <stddef.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "base/err.h"

/* All of it, behind what stdio holds.  0 or -1. */
int output_bytes(const void *, size_t, struct err *) __attribute__((warn_unused_result));

/* One object on one line. */
int output_json(const cJSON *, struct err *) __attribute__((warn_unused_result));

/* The same into a stream of stdio, whose buffer nobody wipes: of objects that hold no key. */
int output_json_stream(FILE *, const cJSON *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_OUTPUT_H_ */
