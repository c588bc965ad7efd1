/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_CONFINE_H_
#define APIKEY_CONFINE_H_

/* What a process of the tool's that works on the store's files may still ask of the kernel. */

#include "base/err.h"
#include "config/config.h"

/*
 * From here on: files (as their modes have it), sockets of this machine, children of its own; no
 * program, no network, no other process, no machine code.  There is no way back; a second time it
 * does nothing.  With `sandbox = false`, or where the kernel has no filters, nothing is done.  -1:
 * it could, and failed.
 */
int confine_enter(const struct config *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_CONFINE_H_ */
