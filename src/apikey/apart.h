/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_APART_H_
#define APIKEY_APART_H_

/*
 * Work on the store's own files, in a process of its own: whatever they make of Berkeley DB, it
 * happens to one that is not root, has no terminal, and is cleaned up behind.
 */

#include "apikey/service.h"
#include "base/err.h"

struct apart {
	const struct config *config;  /* what that process may still do: confine.h */
	const struct service *become; /* whom that process becomes; NULL: it stays who we are */
	/* Here, before there is that process: 0, or -1 and that was it.  May be NULL. */
	int (*begin)(void *cookie, struct err *);
	int (*work)(void *cookie, struct err *); /* there: an exit status, or -1 */
	/* Here, when that process is gone: ${rc} is the work's, or -1 when somebody asked us to
	 * end; what it returns comes of that.  May be NULL. */
	int (*end)(void *cookie, int rc, struct err *);
	void *cookie;
};

/*
 * What the work returned (or the end made of it), or -1 and its error, or that of a process that
 * died.  Standard output that the work wrote is on its way.  A signal that asks us to end ends the
 * work, never the begin or the end, and behind that us: then this does not return.
 */
int apart_run(const struct apart *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_APART_H_ */
