/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_HOUSEKEEPER_H_
#define KEEPER_HOUSEKEEPER_H_

/*
 * The thread that waits for the disk on everybody's behalf: flushes the log 20 ms after a commit or
 * when asked, checkpoints, removes logs, looks at the free space.  It calls store_flush,
 * store_checkpoint, store_housekeep and store_space and nothing else.
 */

#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

struct housekeeper;

/*
 * Starts the thread; it inherits the signal mask, so block signals before.  ${event_fd} (an
 * eventfd, the caller's) becomes readable when a flush that was asked for is done.  NULL and ${e}.
 */
struct housekeeper *housekeeper_start(struct store *, int event_fd, struct err *);
/* Waits for what it is doing and ends it; sets the pointer to NULL.  Harmless on NULL. */
void housekeeper_stop(struct housekeeper **);

/* A batch was committed: flush within 20 ms. */
void housekeeper_committed(struct housekeeper *);

/* Flush now what is committed: the ticket that housekeeper_flushed will reach (tickets grow). */
uint64_t housekeeper_ask(struct housekeeper *);
uint64_t housekeeper_flushed(struct housekeeper *);

/* 1 while there is less free space than the store wants. */
int housekeeper_low_space(struct housekeeper *);

#endif /* !KEEPER_HOUSEKEEPER_H_ */
