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
	const struct service *become; /* whom that process becomes; NULL: it stays who we are */
	int (*work)(void *cookie, struct err *); /* there: an exit status, or -1 */
	/* Here, when that process is gone; ${ok}: the work is done, and nobody asked us to end. */
	void (*after)(void *cookie, int ok);
	void *cookie;
};

/*
 * What the work returned, or -1 and its error, or that of a process that died.  Standard output
 * that the work wrote is on its way.  A signal that asks us to end ends the work first, then us,
 * and comes back here no more.
 */
int apart_run(const struct apart *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_APART_H_ */
