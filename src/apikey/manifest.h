/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_MANIFEST_H_
#define APIKEY_MANIFEST_H_

/* backup.json, which says what a backup is. */

#include <stdint.h>

#include "base/err.h"

#define MANIFEST_TIME 21 /* bytes of an RFC 3339 time */

/* Into the open directory, which has none; ${dir} is its name for messages.  On disk: 0, or -1. */
int manifest_write(int dir_fd, const char *dir, int64_t made_us, struct err *)
    __attribute__((warn_unused_result));
/* When the backup was made, from a descriptor of it; ${dir} for messages.  0, or -1. */
int manifest_read(int fd, const char *dir, char made[MANIFEST_TIME], struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_MANIFEST_H_ */
