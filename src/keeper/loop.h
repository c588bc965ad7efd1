/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_LOOP_H_
#define KEEPER_LOOP_H_

/* Between keeper.c, which starts and ends the process, and loop.c, which runs it.  Nobody else
 * includes it. */

#include <signal.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "keeper/decide.h"
#include "keeper/housekeeper.h"
#include "keeper/keeper.h"
#include "keeper/lastbatch.h"
#include "keeper/ops.h"
#include "keeper/peer.h"
#include "keeper/reports.h"
#include "keeper/round.h"
#include "keeper/steady.h"
#include "keeper/sweep.h"
#include "keeper/trail.h"
#include "wire/wire.h"

#define PEERS_MAX 1024
#define EVENTS_MAX (PEERS_MAX + 5) /* all at once: a turn sees everybody who waits */
#define SOCKET_PATH_MAX 256

enum { DOOR_ADMIN, DOOR_CHECKS, DOORS };

struct keeper {
	struct config **config;
	const struct keeper_options *options;
	struct store *store;
	struct peppers *peppers;
	struct decide *decide;
	struct steady steady;
	struct lastbatch last;
	struct ops ops;
	struct housekeeper *housekeeper;
	struct round *round;

	int epoll_fd, event_fd, signal_fd, timer_fd;
	struct door {
		int fd; /* it listens, or -1 */
		int checks_only;
		char path[SOCKET_PATH_MAX];
	} doors[DOORS];
	sigset_t old_mask;
	int masked, stop, deaf; /* deaf: out of descriptors, not accepting until the next tick */

	struct peer *peers;
	size_t npeers, nstrangers, nworkers;
	struct peer *waiting, **waiting_end; /* whose JSON request is to be run */
	int64_t last_peer_us;		     /* CLOCK_MONOTONIC */
	int left_out[2]; /* of ours, of strangers: whom the last round had no room for first */
	struct epoll_event events[EVENTS_MAX];

	int redoing; /* takes from before a kill are left to be taken again */
	struct sweep sweep;
	struct reports reports;
	struct log_pace refusals;
	struct trail_prune prune;
	struct loop_texts {
		uint8_t reply[WIRE_MESSAGE_MAX], message[WIRE_MESSAGE_MAX];
	} * texts; /* of secret_pages: a key may be in them */
};

/* Watch a descriptor of the loop's; as epoll_ctl. */
int loop_watch(const struct keeper *, int op, int fd, uint32_t events, void *who);
/* One turn: 0, or -1 when the store serves no longer. */
int loop_turn(struct keeper *, struct err *) __attribute__((warn_unused_result));
/* The JSON requests that wait, a few of them. */
void loop_requests(struct keeper *);
/* A letter to the supervisor.  When it is gone, nobody would end us, and nobody else could have the
 * store. */
void loop_tell(struct keeper *, char);
void loop_remove_peer(struct keeper *, struct peer *);

#endif /* !KEEPER_LOOP_H_ */
