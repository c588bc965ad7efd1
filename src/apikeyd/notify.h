/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_NOTIFY_H_
#define APIKEYD_NOTIFY_H_

/* The service manager's notification socket: sd_notify(3), without libsystemd. */

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

struct notify {
	int fd; /* -1: nobody wants to know */
	struct sockaddr_un to;
	socklen_t to_len;
	int64_t watchdog_us; /* tell "I live" more often than this; 0: not asked for */
};

/*
 * notify_open(N, e): from NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which are removed from the
 * environment: no child shall speak in our name.  0 also when they are not set.
 */
int notify_open(struct notify *, struct err *) __attribute__((warn_unused_result));
void notify_close(struct notify *);

/* Errors are not told: the service manager will see what is missing. */
void notify_ready(const struct notify *, const char *status);
void notify_reloading(const struct notify *, int64_t mono_us);
void notify_stopping(const struct notify *);
void notify_watchdog(const struct notify *);
void notify_status(const struct notify *, const char *status);

#endif /* !APIKEYD_NOTIFY_H_ */
