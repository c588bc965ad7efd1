/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_DUMP_H_
#define APIKEY_DUMP_H_

/*
 * The store as lines of JSON, as they are written and read:
 *
 *     {"apikeyd_dump":1,"format":3,"made":"2026-11-22T06:00:00Z"}
 *     {"db":"keys","key":"HEX","value":"HEX"}
 *     ...
 *     {"records":1234,"sha256":"HEX"}
 *
 * Keys and values are the store's records as they are (big-endian, each with its version).  The
 * hash of the last line is that of a chain: SHA-256 of the hash before and a line, beginning with
 * 32 zeros; so a load that was interrupted knows where it was, and that it reads the same dump
 * again.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/store.h"

#define DUMP_VERSION 1
#define DUMP_LINE_MAX (4 * STORE_VALUE_MAX + 2) /* a value and what is around it, in hex */

/* The lines so far: how many records, and the chain's hash.  A load keeps it in its store. */
struct dump_chain {
	uint64_t records;
	uint8_t hash[DIGEST_LEN];
};

/* A line, with room before it for the hash that it is chained to. */
struct dump_line {
	uint8_t before[DIGEST_LEN];
	char text[DUMP_LINE_MAX];
};

/* ${len} bytes of the line, with its newline. */
int dump_chain_add(struct dump_chain *, struct dump_line *, size_t len, struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_DUMP_H_ */
