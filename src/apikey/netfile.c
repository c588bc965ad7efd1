/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reads a file of networks for `--allow-ip @FILE`.  As strict as the option itself: one line that
 * is no network refuses the whole file, so that no list is ever shorter than its author thinks.
 *
 * Invariants: at most KEYREC_NETS_MAX networks come out; nothing of a line that is no network is
 * repeated, because somebody may have named another file.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apikey/netfile.h"

#include "base/netaddr.h"
#include "core/keyrec.h"

/* The next line without its end: 1, its length in *len; 0 at the end; -1: too long, or with a NUL.
 */
static int
read_line(FILE *in, char line[NETFILE_LINE_MAX], size_t *len)
{
	int c;

	*len = 0;
	while ((c = getc(in)) != EOF && c != '\n') {
		if (*len == NETFILE_LINE_MAX || c == '\0')
			return -1;
		line[(*len)++] = (char)c;
	}
	if (c == EOF && *len == 0)
		return 0;
	if (*len > 0 && line[*len - 1] == '\r')
		(*len)--;
	return 1;
}

/* Without its comment. */
static struct span
clean(const char *line, size_t len)
{
	const char *comment = memchr(line, '#', len);

	return span_trim((struct span){line, comment != NULL ? (size_t)(comment - line) : len});
}

static int
read_lines(FILE *in, const char *path, int (*add)(void *, struct span, struct err *), void *cookie,
    struct err *e)
{
	char line[NETFILE_LINE_MAX];
	struct netaddr_net net;
	struct span text = {NULL, 0};
	unsigned at = 0, n = 0;
	size_t len;
	int rc;

	while ((rc = read_line(in, line, &len)) != 0) {
		at++;
		if (rc == 1)
			text = clean(line, len);
		if (rc == -1 || (text.len > 0 && netaddr_net_parse(text, &net) == -1))
			return err_set(e, ERR_USAGE,
			    "%s:%u: not an address or a network whose host bits are zero, like "
			    "10.0.0.0/8",
			    path, at);
		if (text.len == 0)
			continue;
		if (n++ == KEYREC_NETS_MAX)
			return err_set(e, ERR_USAGE, "%s:%u: a key has at most %d networks", path,
			    at, KEYREC_NETS_MAX);
		if (add(cookie, text, e) == -1)
			return -1;
	}
	if (ferror(in))
		return err_set(e, ERR_USAGE, "%s: %s", path, strerror(errno));
	return n > 0 ? 0 : err_set(e, ERR_USAGE, "%s: there is no network in it", path);
}

int
netfile_read(const char *path, int (*add)(void *cookie, struct span, struct err *), void *cookie,
    struct err *e)
{
	FILE *in;
	int rc;

	if (strcmp(path, "-") == 0)
		return read_lines(stdin, "standard input", add, cookie, e);
	if ((in = fopen(path, "re")) == NULL)
		return err_set(e, ERR_USAGE, "%s: %s", path, strerror(errno));
	rc = read_lines(in, path, add, cookie, e);
	(void)fclose(in);
	return rc;
}
