/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_ALONE_H_
#define APIKEY_ALONE_H_

/* The keeper's operations without a keeper. */

#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"

/*
 * alone_start(config, &pid, e): a child that owns the store and answers the messages of a keeper's
 * client on the socket that is returned (or -1).  Whether it could open the store is told by its
 * first answer: an error reply. It leaves when the socket is closed; the caller then waits for
 * ${pid}, after which the store is free.
 */
int alone_start(const struct config *, pid_t *pid, struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_ALONE_H_ */
