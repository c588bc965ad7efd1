/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_ACTORS_H_
#define KEEPER_ACTORS_H_

/* Names of users for the audit trail. */

#include <stddef.h>
#include <sys/types.h>

/*
 * The keeper cannot look names up once it is in its sandbox: before, it learns those who may
 * administer, root and its own user.  Not called, names are looked up when they are needed.
 */
void actors_learn(void);

/* The name of a user, else the number, into ${out}, which holds either (32 bytes do). */
void actors_name(uid_t, char *out, size_t cap);

#endif /* !KEEPER_ACTORS_H_ */
