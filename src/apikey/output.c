/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Writing to standard output what may hold a key, for the admin tool.  stdio would keep a copy in a
 * buffer that nobody wipes; so these bytes go to write(2) from memory that is overwritten at once.
 * Text without secrets (tables, help) may use stdio: its buffer is flushed first, so that order is
 * kept.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "apikey/output.h"
#include "base/json.h"
#include "base/secret.h"

#define LINE_MAX_BYTES 262144 /* any object that fits a message of the keeper */

int
output_bytes(const void *p, size_t n, struct err *e)
{
	const char *at = p;
	ssize_t done;

	if (fflush(stdout) == EOF)
		return err_sys(e, "cannot write to standard output");
	while (n > 0) {
		done = write(STDOUT_FILENO, at, n);
		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return err_sys(e, "cannot write to standard output");
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* The object as a line (the caller's, ${len} bytes), or NULL. */
static char *
make_line(const cJSON *o, size_t *len, struct err *e)
{
	char *line = malloc(LINE_MAX_BYTES);

	if (line == NULL || json_lost() > 0) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		free(line);
		return NULL;
	}
	if ((*len = json_print(o, line, LINE_MAX_BYTES - 1)) == 0) {
		(void)err_set(e, ERR_INTERNAL, "an object is too long to print");
		free(line);
		return NULL;
	}
	line[(*len)++] = '\n';
	return line;
}

int
output_json(const cJSON *o, struct err *e)
{
	size_t len;
	char *line = make_line(o, &len, e);
	int rc;

	if (line == NULL)
		return -1;
	rc = output_bytes(line, len, e);
	secret_wipe(line, len);
	free(line);
	return rc;
}

int
output_json_stream(FILE *to, const cJSON *o, struct err *e)
{
	size_t len, done;
	char *line = make_line(o, &len, e);

	if (line == NULL)
		return -1;
	done = fwrite(line, 1, len, to);
	free(line);
	return done == len ? 0 : err_sys(e, "cannot write a list");
}
