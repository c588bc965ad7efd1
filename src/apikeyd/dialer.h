/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_DIALER_H_
#define APIKEYD_DIALER_H_

/* A dialer of a worker's own (wire/dial.h), for workers that no supervisor dials for. */

#include "apikeyd/roles.h"
#include "base/err.h"

/* Start it.  Our end of the channel, or -1.  It ends when that is closed. */
int dialer_start(const struct invocation *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEYD_DIALER_H_ */
