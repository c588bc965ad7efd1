/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_CLIENTS_H_
#define GATE_CLIENTS_H_

/*
 * How often clients failed lately, and who is blocked for it: a table of fixed size in memory that
 * all workers of a run directory share.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/netaddr.h"

#define CLIENTS_ATTEMPTS_MAX 1000
#define CLIENTS_SETS 32768 /* a power of two */
#define CLIENTS_WAYS 8	   /* entries of a set: a line of the processor's cache */
#define CLIENTS_TICK_US INT64_C(250000)

/* ${attempts} failures within ${window_us} of the first of them block for ${block_us}. */
struct clients_rule {
	unsigned attempts; /* 1..CLIENTS_ATTEMPTS_MAX */
	int64_t window_us, block_us;
};

enum clients_state {
	CLIENTS_COUNTED,  /* one more failure */
	CLIENTS_BLOCKING, /* this one was the last that is let pass: the block begins */
	CLIENTS_BLOCKED	  /* it is blocked; nothing was counted */
};

struct clients;

/*
 * The table of ${run_dir}; NULL: one of this process alone.  NULL with ${e} when there is none to
 * be had.
 */
struct clients *clients_open(const char *run_dir, const struct clients_rule *, struct err *);
void clients_close(struct clients **);

/*
 * A failure of ${who} (netaddr_client) at ${now_us}, CLOCK_BOOTTIME.  *left_us: until the block
 * ends, when there is one.
 */
enum clients_state clients_failed(
    struct clients *, const struct netaddr_net *who, int64_t now_us, int64_t *left_us);

/* How long ${who} is blocked yet, 0: it is not. */
int64_t clients_blocked_us(const struct clients *, const struct netaddr_net *who, int64_t now_us);

#endif /* !GATE_CLIENTS_H_ */
