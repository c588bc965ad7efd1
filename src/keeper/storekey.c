/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The store's key in the pepper file.
 *
 * Read by whoever opens the store: the keeper, the tool when it works alone, and the tool for
 * copies of the store that it verifies or dumps.
 *
 * Invariants: the key is only in memory of the secure heap, in the file, and inside Berkeley DB; it
 * stands in no message; one that is there is never replaced.
 */

#include <stdio.h>
#include <string.h>

#include "keeper/storekey.h"

#include "base/digest.h"
#include "base/random.h"
#include "base/secret.h"
#include "keeper/pepper_file.h"

#define WORD "store"
#define KEY_LEN (STORE_KEY_DIGITS / 2)

int
storekey_is_line(struct span line)
{
	struct span word, rest = line;

	return span_word(&rest, &word) && span_is(word, WORD);
}

/* The digits of the line, or none. */
static struct span
find(const struct pepper_text *t)
{
	const char *at = t->p, *end = t->p + t->len;
	struct span none = {NULL, 0}, word;

	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		struct span line = {at, (size_t)((nl != NULL ? nl : end) - at)};

		at = nl != NULL ? nl + 1 : end;
		if (!storekey_is_line(line) || !span_word(&line, &word))
			continue;
		return span_word(&line, &word) ? word : none;
	}
	return none;
}

static int
is_key(struct span digits)
{
	uint8_t bytes[KEY_LEN];
	int ok = digits.len == STORE_KEY_DIGITS &&
		 digest_unhex(digits.p, digits.len, bytes, sizeof(bytes)) == 0;

	secret_wipe(bytes, sizeof(bytes));
	return ok;
}

int
storekey_load(const char *file, char **key, struct err *e)
{
	struct pepper_text t = {0};
	char from[PATH_MAX];
	struct span digits = {NULL, 0};
	int rc = -1, found;

	*key = NULL;
	if (secret_heap_init(e) != 0)
		return -1;
	if ((found = pepper_file_read(file, &t, from, e)) == 1)
		digits = find(&t);
	if (found >= 0 && digits.len == 0)
		err_set(e, ERR_NOT_FOUND,
		    "encrypt_store is set, but there is no key for it in %s; run: apikey pepper "
		    "add",
		    file);
	else if (found == 1 && !is_key(digits))
		err_set(e, ERR_INPUT, "%s: the store's key is not %d hex digits", from,
		    STORE_KEY_DIGITS);
	else if (found == 1 && (*key = secret_alloc(2 * STORE_KEY_DIGITS)) == NULL)
		err_set(e, ERR_SYSTEM, "no memory for the store's key");
	else if (found == 1)
		rc = span_copy(*key, STORE_KEY_DIGITS + 1, digits);
	pepper_text_release(&t);
	return rc;
}

void
storekey_free(char **key)
{
	if (*key != NULL)
		secret_free(*key, 2 * STORE_KEY_DIGITS);
	*key = NULL;
}

static int
edit_add(void *cookie, const char *file, struct pepper_text *t, struct err *e)
{
	uint8_t *key;
	int rc = 1;

	(void)cookie;
	if (t->len > 0 && find(t).len > 0)
		return 0;
	if (t->len + sizeof(WORD) + STORE_KEY_DIGITS + 3 > PEPPER_FILE_MAX)
		return err_set(e, ERR_FULL,
		    "%s has grown to its maximum of %d bytes; shorten its comments", file,
		    PEPPER_FILE_MAX);
	if ((key = secret_alloc(KEY_LEN)) == NULL)
		return err_set(e, ERR_SYSTEM, "no memory for the store's key");
	if (random_bytes(key, KEY_LEN, e) != 0) {
		rc = -1;
	} else {
		if (t->len > 0 && t->p[t->len - 1] != '\n')
			t->p[t->len++] = '\n';
		memcpy(t->p + t->len, WORD " ", sizeof(WORD));
		t->len += sizeof(WORD);
		digest_hex(key, KEY_LEN, t->p + t->len);
		t->len += STORE_KEY_DIGITS;
		t->p[t->len++] = '\n';
	}
	secret_free(key, KEY_LEN);
	return rc;
}

int
storekey_add(const char *file, unsigned uid, unsigned gid, struct err *e)
{
	return pepper_file_edit(file, uid, gid, edit_add, NULL, e);
}
