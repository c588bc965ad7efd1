/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A pepper file: peppers, newest first, or a message in which nothing of its lines stands.
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/peppers.h"
#include "keeper/storekey.h"

#include "fuzz.h"

static char path[64];

static void
gone(void)
{
	(void)unlink(path);
}

/* No ten bytes of the file stand in the message: a pepper has 64 digits. */
static void
tells_nothing(const struct err *e, const uint8_t *p, size_t n)
{
	char piece[17] = {0};

	for (size_t i = 0; i + 16 <= n; i += 16) {
		memcpy(piece, p + i, 16);
		if (strlen(piece) == 16)
			must(strstr(e->msg, piece) == NULL);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct peppers *peppers;
	struct err e = {0};
	char *key;
	int fd;

	if (path[0] == '\0') {
		must(snprintf(path, sizeof(path), "/dev/shm/fuzz-peppers.%d", (int)getpid()) > 0);
		(void)atexit(gone);
	}
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0400);
	must(fd >= 0 && write(fd, p, n) == (ssize_t)n && close(fd) == 0);
	if ((peppers = peppers_load(path, &e)) == NULL) {
		must(e.code != ERR_NONE);
		tells_nothing(&e, p, n);
	} else {
		for (size_t i = 1; i < peppers_count(peppers); i++)
			must(peppers_version(peppers, i) < peppers_version(peppers, i - 1));
	}
	peppers_free(&peppers);
	if (storekey_load(path, &key, &e) == 0)
		must(strlen(key) == STORE_KEY_DIGITS);
	else
		tells_nothing(&e, p, n);
	storekey_free(&key);
	return 0;
}
