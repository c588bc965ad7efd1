/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_COPIES_H_
#define APIKEY_COPIES_H_

/* What the commands on backups and dumps share: verifying a copy of the store, and making one the
 * store. */

#include <limits.h>
#include <stdint.h>

#include "apikey/progress.h"
#include "apikey/service.h"
#include "apikey/tool.h"
#include "base/err.h"

struct copies_findings {
	struct tool *tool;
	struct progress *progress;
	uint64_t n;
	int quiet; /* only counted */
};

struct store;
/* A store of ours, such as a copy, with the key that the configuration's pepper file has.  NULL. */
struct store *copies_open(const struct tool *, const char *dir, struct err *);

/* A recovered copy that is ours: its files, then what is in them.  0, whatever was found; -1. */
int copies_verify(const char *dir, struct copies_findings *, struct err *)
    __attribute__((warn_unused_result));
/* The files of a store that nobody has open. */
int copies_verify_files(const char *dir, struct copies_findings *, struct err *)
    __attribute__((warn_unused_result));
/* One more. */
void copies_found(struct copies_findings *, const char *what);

/*
 * The store in ${dir} takes the place of the configured one; *replaced is ${name} then, a directory
 * in state_dir with what was there, or NULL when nothing was.
 */
int copies_restore(struct tool *, const char *dir, const struct service *, const char **replaced,
    char name[64], struct progress *, struct err *) __attribute__((warn_unused_result));
/* It opens, and this is what it holds.  ${made} may be NULL. */
int copies_report(struct tool *, const char *verb, const char *made, const char *replaced,
    struct err *) __attribute__((warn_unused_result));

/* What the store logs while it is opened by the tool goes where the keeper's words would. */
void copies_quiet(const struct tool *);
/* A new directory of ours to work in. */
int copies_work_dir(char[PATH_MAX], struct err *) __attribute__((warn_unused_result));
/* "${dir}${end}", without slashes at the end of ${dir}. */
int copies_beside(const char *dir, const char *end, char[PATH_MAX], struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_COPIES_H_ */
