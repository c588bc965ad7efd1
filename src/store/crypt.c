/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Encryption of the files (AES, Berkeley DB's own): is a store what the options say, before it is
 * opened?  Berkeley DB answers a wrong key, or none, as if the files were damaged.
 *
 * Runs in the owner's main thread, before recovery.
 *
 * Invariant: a store is never opened, and nothing in it written, with another key than the one it
 * was made with.
 */

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "store/internal.h"

/* Of a database's first page: the number of the cipher, 0 for none. */
#define META_CIPHER 24
#define META_PROBE 32
#define PATH_BYTES 4200

/* 1 encrypted, 0 not, -1 there is no file. */
static int
is_encrypted(struct store *s)
{
	uint8_t head[META_PROBE];
	int fd = openat(s->dir_fd, store_db_specs[STORE_DB_META].file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = pread(fd, head, sizeof(head), 0);
	close(fd);
	return n != (ssize_t)sizeof(head) ? -1 : head[META_CIPHER] != 0;
}

static int
key_fits(struct store *s, struct err *e)
{
	char path[PATH_BYTES];
	DB *db;
	int n, ret;

	n = snprintf(path, sizeof(path), "%s/%s", s->dir, store_db_specs[STORE_DB_META].file);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INPUT, "%.80s...: too long a path", s->dir);
	if ((ret = db_create(&db, NULL, 0)) != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, db_strerror(ret));
	db->set_errcall(db, store_say_nothing);
	if ((ret = db->set_encrypt(db, s->key, DB_ENCRYPT_AES)) == 0)
		ret = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY, 0);
	(void)db->close(db, 0);
	if (ret == 0)
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "%s: encrypted with another key than the one in the pepper file, or damaged: restore "
	    "that file, or a backup",
	    path);
}

void
store_say_nothing(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env;
	(void)prefix;
	(void)message;
}

int
store_crypt_check(struct store *s, struct err *e)
{
	int encrypted = is_encrypted(s);

	if (encrypted < 0)
		return 0; /* new, or what is wrong with it comes to light elsewhere */
	if (encrypted && s->key == NULL)
		return err_set(e, ERR_CONFLICT,
		    "%s: the store is encrypted, but encrypt_store is not set; set it, or dump the "
		    "store with it and load the dump without",
		    s->dir);
	if (!encrypted && s->key != NULL)
		return err_set(e, ERR_CONFLICT,
		    "%s: the store is not encrypted, but encrypt_store is set; take it out, dump "
		    "the store, set it again and load the dump",
		    s->dir);
	return encrypted ? key_fits(s, e) : 0;
}
