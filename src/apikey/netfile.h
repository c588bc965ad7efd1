/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_NETFILE_H_
#define APIKEY_NETFILE_H_

/* Networks from a file, for lists that no command line should hold. */

#include "base/err.h"
#include "base/span.h"

#define NETFILE_LINE_MAX 256 /* bytes of a line, without its end */

/*
 * netfile_read(path, add, cookie, e): one address or network a line; blank lines, and what is
 * behind a '#', do not count.  "-" is standard input.  ${add} gets each as it is written, all of
 * them well-formed; it returns 0, or -1 with ${e}.  0, or -1 with ERR_USAGE, which names the line.
 */
int netfile_read(const char *path, int (*add)(void *cookie, struct span, struct err *),
    void *cookie, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_NETFILE_H_ */
