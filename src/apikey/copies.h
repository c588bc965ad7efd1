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
#include "store/store.h"

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
/* Are the files encrypted or not, as the configuration says?  0, -1. */
int copies_encrypted_right(const struct tool *, const struct store_source *, struct err *)
    __attribute__((warn_unused_result));
/* What is said of the copy in ${dir} is said of ${of}, which it was made from. */
void copies_rename(struct err *, const char *dir, const char *of);
/* One more. */
void copies_found(struct copies_findings *, const char *what);

/*
 * The store in r->source takes the place of the configured one, if a copy of it opens; r->name is
 * then a directory in state_dir with what was there, or "" when nothing was.
 */
struct copies_restore {
	struct tool *tool;
	struct progress *progress;
	const struct store_source *source;
	int verify;	/* its files, too */
	int accept_log; /* as in struct store_restore */
	unsigned asker; /* whose wish that was */
	char name[64];
};
int copies_restore(struct copies_restore *, struct err *) __attribute__((warn_unused_result));
/* It opens, and this is what it holds.  ${made} may be NULL. */
int copies_report(const struct copies_restore *, const char *verb, const char *made, struct err *)
    __attribute__((warn_unused_result));

/* What the store logs while it is opened by the tool goes where the keeper's words would. */
void copies_quiet(const struct tool *);
/*
 * Before the store's files are looked at: become the service user for good, here or (${stay}) in
 * the process to come alone.  A key of an encrypted store that only root can read is read before,
 * if what it stands in is root's.  From here on what is made is the user's alone, whatever the
 * umask.
 */
int copies_enter(struct tool *, const struct service *, int stay, struct err *)
    __attribute__((warn_unused_result));
void copies_leave(struct tool *);
/* "${dir}${end}", without slashes at the end of ${dir}. */
int copies_beside(const char *dir, const char *end, char[PATH_MAX], struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_COPIES_H_ */
