/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a configuration file to a struct config, by way of libConfuse; and what a reload needs.
 *
 * libConfuse knows the language, settings.c the settings, value.c their values, source.c what must
 * be looked at before libConfuse.  Each value is checked when libConfuse comes upon it, because
 * only then is its line known, and stored after the whole file was read, because only then is it
 * known that nothing is wrong: a configuration is taken whole or not at all.  Every process loads
 * it; nothing of it is secret.
 *
 * A setting written twice has its last value, as libConfuse has it.
 */

#include <confuse.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/settings.h"
#include "config/source.h"
#include "config/value.h"

/*
 * libConfuse hands no cookie to its callbacks.  A simple option carries ours: it points to the
 * first member of struct load, and no file can name it, because the scanner refuses names with a
 * space.
 */
#define COOKIE_OPTION " load"

struct load {
	long cookie; /* first: see COOKIE_OPTION */
	struct problems problems;
	struct source source;
	cfg_opt_t *opts;
	cfg_t *cfg;
};

static struct load *
load_of(cfg_t *cfg)
{
	cfg_opt_t *opt = cfg_getopt(cfg, COOKIE_OPTION);

	return (struct load *)(void *)opt->simple_value.number;
}

/* libConfuse's own errors are about syntax; it stops behind them. */
static void __attribute__((format(printf, 2, 0))) on_syntax(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[200];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	problems_add(&load_of(cfg)->problems, cfg->line,
	    "%s; a setting is written name = value, a list name = {value, value}", text);
}

/* A value of a known setting: tell what is wrong with it, and let libConfuse go on to the next one.
 */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct load *L = load_of(cfg);
	const struct setting *s = settings_find(span_of(opt->name));
	char why[VALUE_WHY_MAX];
	size_t n = strlen(value);

	*(const char **)result = value;
	if (s == NULL)
		return 0; /* unknown: told by the scanner */
	if (value_is_list(s) && opt->nvalues > CONFIG_LIST_MAX)
		problems_add(
		    &L->problems, cfg->line, "%s: more than %d items", s->name, CONFIG_LIST_MAX);
	else if (value_set(s, value, NULL, why) == -1)
		problems_add(&L->problems, cfg->line, "%s: %s%.*s%s is not %s", s->name,
		    n <= 64 ? "'" : "this value",
		    n <= 64 && text_printable(span_of(value)) ? (int)n : 0, value,
		    n <= 64 ? "'" : "", why);
	return 0;
}

/* The array that libConfuse wants: the table's settings, the unknown names, the cookie. */
static cfg_opt_t *
make_opts(struct load *L)
{
	size_t n = settings_count() + L->source.nunknown + 2, i, k = 0;
	cfg_opt_t *opts = calloc(n, sizeof(*opts));

	if (opts == NULL)
		return NULL;
	for (i = 0; i < settings_count(); i++) {
		const struct setting *s = settings_at(i);

		if (value_is_list(s))
			opts[k++] =
			    (cfg_opt_t)CFG_STR_LIST_CB(s->name, NULL, CFGF_NODEFAULT, on_value);
		else
			opts[k++] = (cfg_opt_t)CFG_STR_CB(s->name, NULL, CFGF_NODEFAULT, on_value);
	}
	for (i = 0; i < L->source.nunknown; i++)
		opts[k++] = (cfg_opt_t)CFG_STR_LIST_CB(
		    L->source.unknown[i], NULL, CFGF_NODEFAULT, on_value);
	opts[k++] = (cfg_opt_t)CFG_SIMPLE_INT(COOKIE_OPTION, &L->cookie);
	opts[k] = (cfg_opt_t)CFG_END();
	return opts;
}

/* 0 when libConfuse has been through the text (whatever it found), -1 for want of memory. */
static int
parse(struct load *L, struct err *e)
{
	FILE *fp = NULL;
	int ret = -1;

	if (L->source.len == 0)
		return 0; /* fmemopen refuses an empty buffer */
	if ((L->opts = make_opts(L)) == NULL || (L->cfg = cfg_init(L->opts, CFGF_NONE)) == NULL ||
	    (fp = fmemopen(L->source.text, L->source.len, "r")) == NULL) {
		(void)err_sys(e, "cannot parse the configuration");
		goto out;
	}
	(void)cfg_set_error_function(L->cfg, on_syntax);
	if (cfg_parse_fp(L->cfg, fp) != CFG_SUCCESS && L->problems.n == 0)
		problems_add(
		    &L->problems, L->cfg->line, "cannot be parsed; look at what precedes it");
	ret = 0;
out:
	if (fp != NULL)
		(void)fclose(fp);
	return ret;
}

static void
load_release(struct load *L)
{
	if (L->cfg != NULL)
		(void)cfg_free(L->cfg);
	free(L->opts);
	source_release(&L->source);
}

/* The default's text from the table, item by item when it is a list. */
static int
store_default(const struct setting *s, struct config *C, char why[VALUE_WHY_MAX])
{
	struct span rest = span_of(s->def), word;
	char item[256];

	if (!value_is_list(s))
		return value_set(s, s->def, C, why);
	while (span_word(&rest, &word))
		if (span_copy(item, sizeof(item), word) == -1 || value_set(s, item, C, why) == -1)
			return -1;
	return 0;
}

/* The file's value, or with none there the default. */
static int
store_one(struct load *L, const struct setting *s, struct config *C, char why[VALUE_WHY_MAX])
{
	cfg_opt_t *opt = L->cfg == NULL ? NULL : cfg_getopt(L->cfg, s->name);
	unsigned i;

	if (opt == NULL || (opt->flags & CFGF_MODIFIED) == 0)
		return store_default(s, C, why);
	for (i = 0; i < cfg_opt_size(opt); i++)
		if (value_set(s, cfg_opt_getnstr(opt, i), C, why) == -1)
			return -1;
	return 0;
}

static unsigned
cores(void)
{
	cpu_set_t set;

	/* What this process may run on: a container's share, not the machine's. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return 1;
}

static struct config *
store(struct load *L, const char *path, struct err *e)
{
	struct config *C;
	char why[VALUE_WHY_MAX];
	size_t i;

	if ((C = calloc(1, sizeof(*C))) == NULL) {
		(void)err_sys(e, "configuration");
		return NULL;
	}
	for (i = 0; i < settings_count(); i++)
		if (store_one(L, settings_at(i), C, why) == -1) {
			(void)err_set(e, ERR_INTERNAL, "%s is not %s", settings_at(i)->name, why);
			goto fail;
		}
	if (path != NULL && (C->path = strdup(path)) == NULL) {
		(void)err_sys(e, "configuration");
		goto fail;
	}
	if (C->workers == 0)
		C->workers = cores();
	return C;
fail:
	config_free(C);
	return NULL;
}

/* 1: there is a text; 0: none, and none is needed; -1. */
static int
find_source(const char **path, struct source *S, struct err *e)
{
	int named = *path != NULL, found;
	const char *env = getenv("APIKEYD_CONF");

	if (!named && env != NULL && env[0] != '\0') {
		*path = env;
		named = 1;
	}
	if (!named)
		*path = CONFIG_DEFAULT_PATH;
	found = source_read(*path, S, e);
	if (found == 0 && named)
		return err_set(e, ERR_NOT_FOUND,
		    "%s: there is no such configuration file; create it or name another with -c",
		    *path);
	return found;
}

struct config *
config_load(const char *path, void (*report)(void *, const char *), void *cookie, struct err *e)
{
	struct config *C = NULL;
	struct load *L;
	struct err own;
	int found;

	if (e == NULL)
		e = &own;
	if ((L = calloc(1, sizeof(*L))) == NULL) {
		(void)err_sys(e, "configuration");
		return NULL;
	}
	if ((found = find_source(&path, &L->source, e)) == -1)
		goto fail;
	if (found && source_clean(&L->source, &L->problems) == -1) {
		(void)err_set(e, ERR_SYSTEM, "%s: out of memory", path);
		goto fail;
	}
	if (found && parse(L, e) == -1)
		goto fail;
	if (problems_tell(&L->problems, path, report, cookie, e) == -1)
		goto out;
	C = store(L, found ? path : NULL, e);
	if (C != NULL)
		goto out;
fail:
	/* Problems of a file have been told one by one; this is about the file or the machine. */
	if (report != NULL)
		report(cookie, e->msg);
out:
	load_release(L);
	free(L);
	return C;
}

void
config_free(struct config *C)
{
	size_t i;

	if (C == NULL)
		return;
	for (i = 0; i < settings_count(); i++)
		value_clear(settings_at(i), C);
	free(C->path);
	free(C);
}

static int
differs(const struct setting *s, const struct config *a, const struct config *b)
{
	uint8_t mem_a[2048], mem_b[2048];
	struct wbuf wa, wb;

	wbuf_init(&wa, mem_a, sizeof(mem_a));
	wbuf_init(&wb, mem_b, sizeof(mem_b));
	value_format(s, a, &wa);
	value_format(s, b, &wb);
	return !span_eq(wbuf_view(&wa), wbuf_view(&wb));
}

void
config_needs_restart(const struct config *a, const struct config *b, char *names, size_t cap)
{
	struct wbuf w;
	size_t i;

	wbuf_init(&w, names, cap - 1);
	for (i = 0; i < settings_count(); i++)
		if (settings_at(i)->restart && differs(settings_at(i), a, b)) {
			wbuf_str(&w, w.len > 0 ? " " : "");
			wbuf_str(&w, settings_at(i)->name);
		}
	names[w.len] = '\0';
}

int
config_keep(struct config *to, const struct config *from)
{
	size_t i;

	for (i = 0; i < settings_count(); i++)
		if (settings_at(i)->restart && value_copy(settings_at(i), to, from) == -1)
			return -1;
	return 0;
}

int
config_text(const struct config *C, struct wbuf *w)
{
	size_t i;

	for (i = 0; i < settings_count(); i++) {
		wbuf_printf(w, "%s = ", settings_at(i)->name);
		value_format(settings_at(i), C, w);
		wbuf_u8(w, '\n');
	}
	return w->overflow ? -1 : 0;
}
