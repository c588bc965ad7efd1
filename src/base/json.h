/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_JSON_H_
#define BASE_JSON_H_

/*
 * A thin, strict face on cJSON: whole-input parsing, typed members, and memory that is wiped when
 * freed.
 */

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "base/span.h"

/*
 * json_init(): cJSON's allocator wipes every block before it is freed (a key passes through JSON
 * when it is created or checked).  Once, at the start of main.
 */
void json_init(void);

/*
 * One JSON object, nothing but white space after it, at most 16 levels, no duplicate member names
 * at any level, no NUL in strings, valid UTF-8.  NULL and ${e} on anything else.  Free with
 * cJSON_Delete.
 */
cJSON *json_parse_object(struct span, struct err *);

/*
 * Member access.  A string/number/bool/array member, or NULL/default when absent or null; a wrong
 * type sets ${e} (first one wins).
 * Numbers are doubles: an integer survives printing and parsing up to 2^52.
 */
const char *json_str(const cJSON *, const char *, struct err *);
int64_t json_int(const cJSON *, const char *, int64_t, int64_t min, int64_t max, struct err *);
int json_bool(const cJSON *, const char *, int, struct err *);
const cJSON *json_array(const cJSON *, const char *, struct err *);
const cJSON *json_object(const cJSON *, const char *, struct err *);

/* ${known}: NULL-terminated names; -1 and ${e} naming the first member that is not among them. */
int json_only(const cJSON *, const char *const *, struct err *) __attribute__((warn_unused_result));

/*
 * How many values are missing somewhere for want of memory, since the start.  What adds members to
 * an object need not look at each of them: whoever stores, sends or prints what was built looks
 * once whether this number has changed meanwhile, and if so treats all of it as not there.
 */
unsigned json_lost(void) __attribute__((warn_unused_result));

/* Printed on one line into ${buf}; its length, or 0 when it does not fit. */
size_t json_print(const cJSON *, char *, size_t);

/* Times are RFC 3339 strings in JSON; 0 us is null. */
void json_add_time(cJSON *, const char *, int64_t);
/* A string member from a span. */
void json_add_span(cJSON *, const char *, struct span);

#endif /* !BASE_JSON_H_ */
