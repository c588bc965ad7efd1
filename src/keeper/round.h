/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_ROUND_H_
#define KEEPER_ROUND_H_

/*
 * One round of checks: received from several peers, decided in one batch, committed once, answered.
 */

#include <stdint.h>

#include "base/err.h"
#include "keeper/decide.h"
#include "keeper/lastbatch.h"
#include "keeper/peer.h"
#include "keeper/reports.h"
#include "keeper/steady.h"
#include "store/store.h"

#define ROUND_CHECKS_MAX LASTBATCH_CHECKS_MAX
#define ROUND_PEER_MAX 64      /* of one peer, so that no worker holds up the others */
#define ROUND_STRANGERS_MAX 64 /* of all those who may not administer together */

struct round;

/* What a round decides with; all of it the caller's. */
struct round_with {
	struct store *store;
	struct decide *decide;
	struct steady *steady;
	struct lastbatch *last;
	struct reports *reports;
	struct log_pace *refusals; /* of the log lines about refused peers */
	int *locked;		   /* told whether credentials are in locked memory; or NULL */
};

struct round *round_new(const struct round_with *, struct err *);
void round_free(struct round **);

/* Has the round no room left for what this peer may have sent? */
int round_full(const struct round *, const struct peer *);
/*
 * Take what the peer has sent: its checks into the round, a JSON request into peer->request (then
 * it is the last thing read). A peer that ended, or sent something malformed, is marked closing.
 */
void round_receive(struct round *, struct peer *);

/*
 * Decide what was received.  0, *wrote when something was committed; -1: the store serves no
 * longer.  Checks that could not be decided or committed are answered `unavailable`.
 */
int round_decide(struct round *, int *wrote, struct err *) __attribute__((warn_unused_result));

/* Send the answers (peers' queues take what does not go at once), and wipe the round for the next
 * one. */
void round_answer(struct round *, int64_t mono_us);

#endif /* !KEEPER_ROUND_H_ */
