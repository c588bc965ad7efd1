/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_ASK_H_
#define GATE_ASK_H_

/*
 * The worker's side of the conversation with the keeper: checks are gathered during a round of
 * events, sent together, and remembered until they are answered or their time is over.  A keeper
 * that goes away is connected to again, through the dialer, and told again what it has not
 * answered.
 */

#include <stdint.h>

#include "base/err.h"
#include "fcgi/server.h"
#include "wire/wire.h"

#define ASK_PENDING_MAX 4096 /* checks without an answer; beyond it a check fails at once */

struct ask;

struct ask_options {
	int dial_fd;	    /* the worker's end of wire/dial.h; stays the caller's */
	int64_t timeout_us; /* from ask_check to the answer */
	/* ${answer}: NULL when there is none in time.  Its spans live until the call returns. Never
	 * called by ask_check. */
	void (*done)(void *cookie, void *tag, const struct wire_answer *answer);
	/* The dialer is gone, once: the keeper will not be reached again. */
	void (*lost)(void *cookie);
	void *cookie; /* of both */
};

/* Asks for a connection at once.  ${server} must outlive it. */
struct ask *ask_new(const struct ask_options *, struct fcgi_server *, struct err *);
/* Pending checks are forgotten, not done. */
void ask_free(struct ask **);

/*
 * ask_check(A, check, tag): gathers it; client, seq, retry and deadline_us are filled in here,
 * nothing of ${check} is kept.
 * ${tag} NULL: nobody waits for the answer, done is not called.  A number for ask_cancel, or 0:
 * cannot be asked now (too many pending, out of memory, a field over its bound).
 */
uint64_t ask_check(struct ask *, const struct wire_check *, void *tag)
    __attribute__((warn_unused_result));
/* The same for a report; nobody waits for an answer. */
uint64_t ask_report(struct ask *, const struct wire_report *) __attribute__((warn_unused_result));
/* Nobody waits for it any more. */
void ask_cancel(struct ask *, uint64_t);

/* After each round: ends what is overdue, connects, sends.  Milliseconds until it must be called
 * again, -1: never. */
int ask_round(struct ask *);

#endif /* !GATE_ASK_H_ */
