/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_STATUS_H_
#define APIKEYD_STATUS_H_

/*
 * What a child says to the supervisor through its status pipe: 'R' once, when it serves; '.' each
 * second; and before it gives up, 'E', the name of the error's code, a space, the message.
 */

#include <stddef.h>

#include "base/err.h"

#define STATUS_PERIOD_US INT64_C(1000000)
#define STATUS_TEXT_MAX 560 /* an 'E' with everything behind it */

/* All are harmless with fd -1, and never block. */
void status_ready(int fd);
/* 0, or -1 when the supervisor is gone. */
int status_beat(int fd);
void status_failed(int fd, const struct err *);

/* The text behind an 'E', of ${n} bytes, back into an error.  0 or -1. */
int status_parse(const char *, size_t n, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEYD_STATUS_H_ */
