/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_STOREKEY_H_
#define KEEPER_STOREKEY_H_

/*
 * The key that the store's files are encrypted with (encrypt_store), a line of the pepper file:
 * "store <64 hex digits>".  It is made once, and stays: a store is encrypted anew by dump and load.
 */

#include "base/err.h"
#include "base/span.h"
#include "store/store.h"

/* Is this line of the pepper file the store's key? */
int storekey_is_line(struct span);

/*
 * storekey_load(file, &key, e): STORE_KEY_DIGITS digits and a NUL in *key, of secret_alloc; the
 * caller's, storekey_free.  0, or -1: ERR_NOT_FOUND when there is none (mend: apikey pepper add).
 */
int storekey_load(const char *file, char **key, struct err *) __attribute__((warn_unused_result));
void storekey_free(char **key); /* wipes; harmless on NULL */

/* Make one when there is none yet: 1 made, 0 there was one, -1.  Like peppers_add. */
int storekey_add(const char *file, unsigned uid, unsigned gid, struct err *)
    __attribute__((warn_unused_result));

#endif /* !KEEPER_STOREKEY_H_ */
