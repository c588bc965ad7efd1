/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey scan: find keys where none should be.  Here the command line and the exit status; the
 * search is core/finder.c, what is searched scan_files.c, what is told scan_report.c, what the
 * store knows scan_known.c.
 *
 * It needs neither configuration nor store, unless the store is to be asked: then that is tried
 * first, and not after an hour of searching.
 *
 * Invariants: a key leaves this process to the keeper and no other way; exit 0 only when all that
 * was named was searched and nothing found.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/commands.h"
#include "apikey/guard.h"
#include "apikey/scan.h"
#include "base/json.h"
#include "config/config.h"

#define DEFAULT_PREFIX "ak"

/* The configuration, if there is one that can be read; it must be only where it is needed. */
static int
open_config(
    struct tool *t, const struct options *o, int needed, struct config **config, struct err *e)
{
	const char *path = options_local_text(o, "config");
	struct err why = {0};

	if ((*config = config_load(path, NULL, NULL, &why)) == NULL) {
		if (needed || path != NULL || getenv("APIKEYD_CONF") != NULL) {
			*e = why;
			e->code = ERR_USAGE;
			return -1;
		}
		guard_mask_keys(why.msg);
		if (!options_local(o, "prefix"))
			fprintf(stderr,
			    "apikey: scan: %.300s; looking for keys that begin with " DEFAULT_PREFIX
			    "\n",
			    why.msg);
		return 0;
	}
	t->config = *config;
	return needed && (t->session = session_new(*config, e)) == NULL ? -1 : 0;
}

static int
make_finder(struct scan *s, const struct options *o, struct err *e)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(o->local, "prefix"), *item;
	const char *prefixes[FINDER_PREFIXES_MAX];
	size_t n = 0;

	cJSON_ArrayForEach(item, given)
	{
		if (!token_prefix_ok(span_of(item->valuestring)))
			return err_set(e, ERR_USAGE,
			    "--prefix %s: must be 1 to %d characters of a-z and 0-9, beginning "
			    "with a letter",
			    item->valuestring, TOKEN_PREFIX_MAX);
		if (n == FINDER_PREFIXES_MAX)
			return err_set(
			    e, ERR_USAGE, "at most %d --prefix are possible", FINDER_PREFIXES_MAX);
		prefixes[n++] = item->valuestring;
	}
	if (n == 0)
		prefixes[n++] =
		    s->tool->config != NULL ? s->tool->config->key_prefix : DEFAULT_PREFIX;
	s->finder = finder_new(prefixes, n, scan_found, s, e);
	return s->finder == NULL ? -1 : 0;
}

/* With the store asked once, so that it is there. */
static int
make_known(struct scan *s, const struct options *o, struct err *e)
{
	int revoke = options_local(o, "revoke");
	cJSON *ping, *pong;

	if (!revoke && !options_local(o, "lookup"))
		return 0;
	if ((ping = cJSON_CreateObject()) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	pong = tool_ask(s->tool, "ping", ping, e);
	cJSON_Delete(ping);
	if (pong == NULL)
		return -1;
	cJSON_Delete(pong);
	s->known = scan_known_new(s, revoke, options_local(o, "yes"), e);
	return s->known == NULL ? -1 : 0;
}

static int
check_options(const struct options *o, const cJSON *files, struct err *e)
{
	if (options_local(o, "yes") && !options_local(o, "revoke"))
		return err_set(e, ERR_USAGE, "--yes is for --revoke");
	if (files == NULL && isatty(STDIN_FILENO))
		return err_set(
		    e, ERR_USAGE, "what? Give files, directories, or - for standard input");
	return 0;
}

static void
search(struct scan *s, const cJSON *files)
{
	const cJSON *item;

	scan_hold_signals();
	if (files == NULL)
		scan_files(s, SCAN_STDIN);
	cJSON_ArrayForEach(item, files)
	{
		if (!s->stop && scan_signal() == 0)
			scan_files(s, item->valuestring);
	}
	if (s->known != NULL)
		scan_known_end(s->known);
	if (!s->tool->json || s->progress.shown || scan_signal() != 0)
		scan_summary(s);
}

/* An exit status, or -1. */
static int
outcome(const struct scan *s, struct err *e)
{
	if (s->error.code != ERR_NONE) {
		*e = s->error;
		return -1;
	}
	if (s->counts.findings > 0)
		return TOOL_REFUSED;
	return s->counts.unread > 0 ? TOOL_USAGE : TOOL_DONE;
}

int
cmd_scan(struct tool *t, struct options *o, struct err *e)
{
	const cJSON *files = cJSON_GetObjectItemCaseSensitive(o->request, "files");
	int needed = options_local(o, "lookup") || options_local(o, "revoke");
	struct scan s = {.tool = t, .only_added = options_local(o, "added")};
	struct config *config = NULL;
	int rc = -1;

	progress_begin(&s.progress);
	if (check_options(o, files, e) == -1 || open_config(t, o, needed, &config, e) == -1 ||
	    make_finder(&s, o, e) == -1 || make_known(&s, o, e) == -1)
		goto out;
	search(&s, files);
	rc = outcome(&s, e);
out:
	scan_known_free(&s.known);
	finder_free(&s.finder);
	session_close(&t->session);
	config_free(config);
	/* As the signal would have ended it: a shell's loop ends with it. */
	if (scan_signal() != 0) {
		(void)fflush(stdout);
		(void)signal(scan_signal(), SIG_DFL);
		(void)raise(scan_signal());
	}
	return rc;
}
