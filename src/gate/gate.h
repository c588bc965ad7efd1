/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_GATE_H_
#define GATE_GATE_H_

/*
 * A request's way through a worker: policy (mode, scope, cost), HTTPS, key in URL, credential,
 * checksum; then the question to the keeper; then the answer in the form that this mode's web
 * server needs.  The worker knows no secret and no store.  A request that does not reach the last
 * step is denied.
 */

#include "base/err.h"
#include "config/config.h"

struct gate;

/*
 * ${dial_fd}: the worker's end of wire/dial.h; stays the caller's.  Without a dialer at its other
 * end the gate stops.
 */
struct gate *gate_new(const struct config *, int listen_fd, int dial_fd, struct err *);
void gate_free(struct gate **);
/* Serves until gate_stop (async-signal-safe is not required: call it from the signalfd watcher). */
int gate_run(struct gate *, struct err *) __attribute__((warn_unused_result));
void gate_stop(struct gate *);
/* For the worker program: watch another descriptor (signalfd, heartbeat timerfd) in the gate's
 * loop. */
int gate_watch(struct gate *, int fd, void (*)(void *, uint32_t), void *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !GATE_GATE_H_ */
