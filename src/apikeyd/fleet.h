/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_FLEET_H_
#define APIKEYD_FLEET_H_

/* All children of the supervisor: one keeper, and one generation of workers (two during a reload).
 */

#include <stddef.h>
#include <stdint.h>

#include "apikeyd/child.h"
#include "base/err.h"

struct fleet {
	int epoll_fd; /* status pipes and dialers are watched in it; event data is the struct child
		       */
	struct child_launch launch;
	size_t n; /* slots; slot 0 is the keeper's */
	struct child *at;
};

#define FLEET_ANY 0 /* generation: all workers */

int fleet_init(struct fleet *, int epoll_fd, unsigned max_workers, struct err *)
    __attribute__((warn_unused_result));
void fleet_release(struct fleet *);

struct child *fleet_keeper(struct fleet *);
/* Start ${n} workers of ${generation} (1 and more). */
void fleet_start_workers(struct fleet *, unsigned n, unsigned generation, int64_t now_us);
void fleet_start_keeper(struct fleet *, int64_t now_us);
/* Tell all workers of a generation to stop. */
void fleet_stop_workers(struct fleet *, unsigned generation, int64_t now_us);

/* How many slots are in use by workers of a generation; and how many of them serve. */
unsigned fleet_workers(const struct fleet *, unsigned generation);
unsigned fleet_ready(const struct fleet *, unsigned generation);

/* Reap one dead child: it, its pid and wait status, what it had said last; NULL when there is none.
 */
struct child *fleet_reap(struct fleet *, int64_t now_us, pid_t *, int *status, struct err *said);

/* Do what is due: start dead ones again, kill silent ones and those that do not leave. */
void fleet_expire(struct fleet *, int64_t now_us);
int64_t fleet_deadline(const struct fleet *);
/* We did not look for a while: nobody is silent yet. */
void fleet_forgive(struct fleet *, int64_t now_us);

#endif /* !APIKEYD_FLEET_H_ */
