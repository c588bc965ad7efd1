/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_PEER_H_
#define KEEPER_PEER_H_

/*
 * One connection of the keeper: who is at the other end, what it has asked and what it is still to
 * be sent. Messages leave in the order they were queued; while one waits, nothing more is read from
 * the peer.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/span.h"
#include "keeper/ops.h"

enum peer_kind {
	PEER_NEW,    /* has sent nothing yet */
	PEER_CHECKS, /* many small messages at once */
	PEER_ADMIN   /* one message at a time, of any size */
};

struct peer_message;

struct peer {
	int fd;
	enum peer_kind kind;
	struct ops_peer who;	  /* may_admin: of our own on the socket where that can be asked */
	int ours;		  /* root or the service user: served before strangers */
	int checks_only;	  /* came through the socket for checks */
	int closing;		  /* to be freed at the end of the round */
	struct peer *next, *prev; /* of all; the loop's */

	/* A JSON request that waits for its turn: a whole message, ours, of secret_pages. */
	uint8_t *request;
	size_t request_len;
	struct peer *next_waiting;

	struct peer_message *out, **out_end;
	int64_t stuck_since_us; /* CLOCK_MONOTONIC, when the peer stopped reading; 0: it has not */
	uint32_t events;	/* what epoll watches */
};

/* Log that a peer is refused; its own fault, so no more than a line a second tells of it. */
void peer_refused(const struct peer *, const char *why, struct log_pace *);

/* Takes ${fd}, also when it fails: then it is closed.  Who it is comes from SO_PEERCRED, what it
 * may ask for also from the socket that it came through. */
struct peer *peer_new(int fd, int checks_only, struct err *);
/* Closes; wipes what is left. */
void peer_free(struct peer *);

/* The request waits no longer. */
void peer_request_done(struct peer *);

/* Queue a copy, to be sent once ${ticket} is reached (0: now).  A peer that there is no memory for
 * is closed. */
void peer_queue(struct peer *, struct span message, uint64_t ticket);
/* Send what may be sent up to ${ticket}, as far as the peer reads.  An error closes it. */
void peer_send(struct peer *, uint64_t ticket, int64_t mono_us);
/* Nothing is queued. */
int peer_idle(const struct peer *);

#endif /* !KEEPER_PEER_H_ */
