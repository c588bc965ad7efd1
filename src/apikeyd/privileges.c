/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From root to the service user.
 *
 * Every role that finds itself root goes through here before it opens the store or reads a byte
 * from the network; what needs root (directories, the listening socket) is done before.  That it
 * worked is verified, not assumed. `user = "root"` is an admin's explicit wish and allowed.
 */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "apikeyd/privileges.h"

int
privileges_lookup(struct privileges *P, const struct config *C, struct err *e)
{
	const struct passwd *pw;
	const struct group *gr;

	memset(P, 0, sizeof(*P));
	P->uid = geteuid();
	P->gid = getegid();
	if (P->uid != 0)
		return 0;
	P->root = 1;
	errno = 0;
	if ((pw = getpwnam(C->user)) == NULL)
		return err_set(e, ERR_INPUT,
		    "there is no user %s; create it (adduser --system --group %s) or name another "
		    "with the setting user",
		    C->user, C->user);
	P->uid = pw->pw_uid;
	if ((gr = getgrnam(C->group)) == NULL)
		return err_set(e, ERR_INPUT,
		    "there is no group %s; create it (addgroup --system %s) or name another with "
		    "the setting group",
		    C->group, C->group);
	P->gid = gr->gr_gid;
	if (snprintf(P->user, sizeof(P->user), "%s", pw->pw_name) >= (int)sizeof(P->user))
		return err_set(e, ERR_INPUT, "the name of user %s is too long", C->user);
	return 0;
}

static int
verify(const struct privileges *P)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;

	if (getresuid(&r, &e, &s) == -1 || getresgid(&gr, &ge, &gs) == -1)
		return -1;
	if (r != P->uid || e != P->uid || s != P->uid || gr != P->gid || ge != P->gid ||
	    gs != P->gid)
		return -1;
	return P->uid != 0 && setresuid(0, 0, 0) == 0 ? -1 : 0;
}

int
privileges_drop(const struct privileges *P, struct err *e)
{
	if (P->root) {
		if (initgroups(P->user, P->gid) == -1 || setresgid(P->gid, P->gid, P->gid) == -1 ||
		    setresuid(P->uid, P->uid, P->uid) == -1)
			return err_sys(e, "cannot become user %s", P->user);
		if (verify(P) == -1)
			return err_set(e, ERR_INTERNAL,
			    "root could be regained after becoming %s; not going on", P->user);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return err_sys(e, "no_new_privs");
	return 0;
}
