/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A configuration file: it loads, and then its text loads to the same, or each error is a line that
 * names a place.
 */

#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"

#include "fuzz.h"

static int errors;

static void
report(void *cookie, const char *line)
{
	(void)cookie;
	must(line[0] != '\0' && strchr(line, '\n') == NULL);
	errors++;
}

static struct config *
load(const void *p, size_t n)
{
	struct config *c;
	char path[64];
	struct err e;
	int fd = memfd_create("conf", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	must(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) > 0);
	errors = 0;
	c = config_load(path, report, NULL, &e);
	must(c != NULL || (errors > 0 && e.msg[0] != '\0'));
	close(fd);
	return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t text[CONFIG_TEXT_MAX], again[CONFIG_TEXT_MAX];
	struct config *c, *d;
	struct wbuf w, v;

	/* libConfuse's own "include" would read other files. */
	if (n > 4096 || memmem(p, n, "include", 7) != NULL || (c = load(p, n)) == NULL)
		return 0;
	wbuf_init(&w, text, sizeof(text));
	must(config_text(c, &w) == 0);
	d = load(w.p, w.len);
	must(d != NULL);
	wbuf_init(&v, again, sizeof(again));
	must(config_text(d, &v) == 0 && span_eq(wbuf_view(&w), wbuf_view(&v)));
	config_free(c);
	config_free(d);
	return 0;
}
