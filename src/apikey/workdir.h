/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_WORKDIR_H_
#define APIKEY_WORKDIR_H_

/*
 * A place for a copy of the store that nobody keeps: a directory of ours in TMPDIR, or /var/tmp,
 * that nobody else may enter.  It is locked by whoever lives; what the dead have left is removed by
 * the next one.
 */

#include <limits.h>

#include "base/err.h"
#include "config/config.h"

struct workdir {
	char dir[PATH_MAX];   /* ours */
	char store[PATH_MAX]; /* in it: for the copy, not made yet */
	int lock;
};

/* As the service user, if that is who works in it.  0, or -1 and there is nothing. */
int workdir_make(struct workdir *, const struct config *, struct err *)
    __attribute__((warn_unused_result));
/* The copy and the directory. */
void workdir_remove(struct workdir *);

/* Remove what runs of our user that are dead have left there; workdir_make does it, too. */
void workdir_sweep(void);

#endif /* !APIKEY_WORKDIR_H_ */
