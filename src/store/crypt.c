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

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/internal.h"

/* Of a database's first page: what kind of file it is, in either byte order; the number of the
 * cipher, 0 for none. */
#define META_MAGIC 12
#define MAGIC_BTREE UINT32_C(0x053162)
#define META_CIPHER 24
#define META_PROBE 32

#define PATH_BYTES 4200

/* 1 encrypted, 0 not, -1 there is no such file. */
static int
is_encrypted(int fd)
{
	uint8_t head[META_PROBE];
	uint32_t magic;

	if (fd < 0 || pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return -1;
	memcpy(&magic, head + META_MAGIC, sizeof(magic));
	if (magic != MAGIC_BTREE && __builtin_bswap32(magic) != MAGIC_BTREE)
		return -1;
	return head[META_CIPHER] != 0;
}

int
store_source_encrypted(const struct store_source *source)
{
	return is_encrypted(store_source_file(source, store_db_specs[STORE_DB_META].file));
}

int
store_crypt_open(const char *dir, const char *key, DB **out)
{
	char path[PATH_BYTES];
	DB *db;
	int n, ret;

	*out = NULL;
	n = snprintf(path, sizeof(path), "%s/%s", dir, store_db_specs[STORE_DB_META].file);
	if (n < 0 || (size_t)n >= sizeof(path))
		return ENAMETOOLONG;
	if ((ret = db_create(&db, NULL, 0)) != 0)
		return ret;
	db->set_errcall(db, store_say_nothing);
	if (key != NULL)
		ret = db->set_encrypt(db, key, DB_ENCRYPT_AES);
	if (ret == 0)
		ret = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY, 0);
	if (ret == 0)
		*out = db;
	else
		(void)db->close(db, 0);
	return ret;
}

int
store_crypt_key_fits(const char *dir, const char *key, struct err *e)
{
	DB *db;

	if (store_crypt_open(dir, key, &db) != 0)
		return err_set(e, ERR_CORRUPT,
		    "%s/%s: encrypted with another key than the one in the pepper file, or "
		    "damaged: put that file back, or restore a backup",
		    dir, store_db_specs[STORE_DB_META].file);
	(void)db->close(db, 0);
	return 0;
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
	int fd = openat(s->dir_fd, store_db_specs[STORE_DB_META].file, O_RDONLY | O_CLOEXEC);
	int encrypted = is_encrypted(fd);

	if (fd >= 0)
		close(fd);
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
	return encrypted ? store_crypt_key_fits(s->dir, s->key, e) : 0;
}
