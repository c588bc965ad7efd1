/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_PEPPER_FILE_H_
#define KEEPER_PEPPER_FILE_H_

/*
 * The pepper file as text: a regular file of mode 0400 owned by root or by us, or systemd's
 * credential "peppers" ($CREDENTIALS_DIRECTORY), which is taken before it and cannot be written.
 */

#include <limits.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/err.h"

/* 32 lines and plenty of comment; a power of two, which the secure heap deals in. */
#define PEPPER_FILE_MAX 8192

/* Its text, and what the file was. */
struct pepper_text {
	char *p; /* PEPPER_FILE_MAX bytes of secret_alloc, or NULL */
	size_t len;
	int credential;
	struct stat st;
};

void pepper_text_release(struct pepper_text *);

/*
 * pepper_file_read(file, t, from, e): 1 read, 0 there is none, -1 (ERR_DENIED when mode or owner
 * are loose).  The caller releases ${t} whatever comes back; ${from}: the path that it was read
 * from.
 */
int pepper_file_read(const char *file, struct pepper_text *, char from[PATH_MAX], struct err *)
    __attribute__((warn_unused_result));

/*
 * pepper_file_edit(file, uid, gid, edit, cookie, e): have the text changed (empty when there is no
 * file) and the file replaced: written anew beside the old one (0400), synced, renamed over it, the
 * directory synced; two at once are serialised by a lock on the directory.  ${edit}: 1 to be
 * written, 0 nothing to do, -1; that is what comes back.  ${uid}/${gid}: whom it shall belong to
 * ((uid_t)-1: leave).
 */
typedef int pepper_edit_fn(void *cookie, const char *file, struct pepper_text *, struct err *);
int pepper_file_edit(const char *file, unsigned uid, unsigned gid, pepper_edit_fn *, void *cookie,
    struct err *) __attribute__((warn_unused_result));

#endif /* !KEEPER_PEPPER_FILE_H_ */
