/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_CLIENTS_FILE_H_
#define GATE_CLIENTS_FILE_H_

/* The file that the workers of a run directory share their table of clients in. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/siphash.h"

#define CLIENTS_FILE "clients"

/* What a table is made with, once; copied, because the memory itself may be overwritten. */
struct clients_seed {
	uint8_t key[SIPHASH_KEY];
	int64_t epoch_us; /* CLOCK_BOOTTIME */
};

/*
 * "<run_dir>/clients" with ${bytes} bytes for entries, mapped: made by the first worker that comes,
 * replaced when it is of another owner, size, version or boot.  *entries is to be unmapped.  0, or
 * -1: the caller does without others.
 */
int clients_file_map(const char *run_dir, size_t bytes, void **entries, struct clients_seed *,
    struct err *) __attribute__((warn_unused_result));

/* The same in memory of this process alone. */
int clients_file_private(size_t bytes, void **entries, struct clients_seed *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !GATE_CLIENTS_FILE_H_ */
