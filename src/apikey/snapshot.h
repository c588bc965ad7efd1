/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_SNAPSHOT_H_
#define APIKEY_SNAPSHOT_H_

/*
 * A consistent copy of the store, made while its keeper works (or of a store that nobody owns).
 * Backups are such copies; verify and dump work on one, so that no check ever waits for them.
 */

#include <stdint.h>

#include "apikey/progress.h"
#include "apikey/tool.h"
#include "base/err.h"
#include "store/store.h"

/*
 * snapshot_take(T, dir, P, e): the store in service into ${dir}, which is made (mode 0700) or is
 * empty.  It is recovered, closed, and its files are on disk.  0, or -1 and ${dir} is gone.
 */
int snapshot_take(struct tool *, const char *dir, struct progress *, struct err *)
    __attribute__((warn_unused_result));

/* The same of a store that nobody owns, such as a backup; it is not changed. */
int snapshot_of(struct tool *, const struct store_source *, const char *dir, struct progress *,
    struct err *) __attribute__((warn_unused_result));

#define SNAPSHOT_MANIFEST STORE_SOURCE_MANIFEST /* what a backup has beside the files of a copy */

/* A copy's files. */
void snapshot_clear(const char *dir);
void snapshot_clear_at(int dir_fd);
/* And the directory when nothing else is in it. */
void snapshot_remove(const char *dir);
/* Is it a directory with nothing in it but what snapshot_remove removes? */
int snapshot_is_all(const char *dir);
/* Would it remove a file of this name? */
int snapshot_is_file(const char *name);

#endif /* !APIKEY_SNAPSHOT_H_ */
