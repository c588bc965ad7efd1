/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SIPHASH_H_
#define BASE_SIPHASH_H_

/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys strangers choose.
 * Without the key nobody can aim at a place of the table.  It authenticates nothing here.
 */

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY 16

uint64_t siphash(const uint8_t key[SIPHASH_KEY], const void *, size_t);

#endif /* !BASE_SIPHASH_H_ */
