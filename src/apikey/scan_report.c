/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What `apikey scan` tells: findings on standard output, a line or an object each; notes, progress
 * and the summary on standard error.
 *
 * Invariants: of a key its visible start is shown, and no key in a name either; nothing that a
 * stranger named can steer a terminal; progress is drawn on a terminal alone, and is gone before
 * anything else is written.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/guard.h"
#include "apikey/output.h"
#include "apikey/scan.h"
#include "apikey/table.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

#define SHORT_COMMIT 12 /* digits that are told to people */

/* ---- names ---- */

/* The character at ${p}, or '?': its bytes into ${out}; *step is what it takes of ${n}. */
static size_t
shown_char(const char *p, size_t n, char out[4], size_t *step)
{
	uint32_t c;
	size_t len = text_utf8_next((const unsigned char *)p, n, &c);

	*step = len == 0 ? 1 : len;
	if (len == 0 || !table_shows(c)) {
		out[0] = '?';
		return 1;
	}
	memcpy(out, p, len);
	return len;
}

void
scan_shown(const char *name, char *out, size_t cap)
{
	char *copy = strdup(name), bytes[4];
	size_t n, at, len, step, size = 0;

	out[0] = '\0';
	if (copy == NULL)
		return;
	guard_mask_keys(copy);
	n = strlen(copy);
	for (at = 0; at < n; at += step) {
		len = shown_char(copy + at, n - at, bytes, &step);
		/* Of what is too long the end says more: the first half of what is there goes. */
		if (size + len >= cap) {
			size_t drop = size / 2 + 1;

			while (drop < size && (out[drop] & 0xc0) == 0x80)
				drop++;
			memmove(out, out + drop, size - drop);
			size -= drop;
		}
		memcpy(out + size, bytes, len);
		size += len;
	}
	out[size] = '\0';
	secret_wipe(copy, n);
	free(copy);
}

/* ---- findings ---- */

static void
print_place(const struct scan_finding *f)
{
	char shown[SCAN_PATH_MAX];
	const struct scan_origin *o = &f->origin;

	if (o->kind != SCAN_NO_LINE && o->path[0] != '\0') {
		scan_shown(o->path, shown, sizeof(shown));
		if (o->commit[0] != '\0')
			printf("%.*s:", SHORT_COMMIT, o->commit);
		printf("%s:%llu%s: ", shown, (unsigned long long)o->line,
		    o->kind == SCAN_REMOVED ? " (removed)" : "");
		return;
	}
	scan_shown(f->file, shown, sizeof(shown));
	if (strcmp(f->file, SCAN_STDIN) == 0)
		(void)snprintf(shown, sizeof(shown), "(standard input)");
	if (f->line == 0)
		printf("%s: in its name: ", shown);
	else
		printf("%s:%llu: ", shown, (unsigned long long)f->line);
}

static void
print_line(const struct tool *t, const struct scan_finding *f, const struct scan_answer *a)
{
	int live =
	    a->asked == SCAN_KNOWN && (strcmp(a->state, "active") == 0 || a->until[0] != '\0');
	enum term_colour colour = live ? TERM_RED : TERM_PLAIN;

	print_place(f);
	printf("%s%s", f->start, t->term.utf8 ? "\342\200\246" : "...");
	if (a->asked == SCAN_UNKNOWN)
		fputs(" unknown", stdout);
	else if (a->asked == SCAN_FAILED)
		fputs(" (could not be looked up)", stdout);
	else if (a->asked == SCAN_KNOWN)
		printf(" %s %s%s%s%s%s", a->id, term_on(&t->term, colour), a->state,
		    a->until[0] != '\0' ? ", works until " : "", a->until,
		    term_off(&t->term, colour));
	putchar('\n');
}

static void
add_name(cJSON *o, const char *member, const char *name)
{
	char shown[SCAN_PATH_MAX];

	/* JSON is UTF-8 and may hold control characters. */
	if (text_utf8(span_of(name)) && !guard_has_key(name)) {
		cJSON_AddStringToObject(o, member, name);
		return;
	}
	scan_shown(name, shown, sizeof(shown));
	cJSON_AddStringToObject(o, member, shown);
}

static void
add_number_or_null(cJSON *o, const char *member, uint64_t n)
{
	if (n == 0)
		cJSON_AddNullToObject(o, member);
	else
		cJSON_AddNumberToObject(o, member, (double)n);
}

static void
add_text_or_null(cJSON *o, const char *member, const char *text)
{
	if (text[0] == '\0')
		cJSON_AddNullToObject(o, member);
	else
		cJSON_AddStringToObject(o, member, text);
}

static void
add_origin(cJSON *o, const struct scan_origin *from)
{
	static const char *const kinds[] = {[SCAN_NO_LINE] = "",
	    [SCAN_ADDED] = "added",
	    [SCAN_REMOVED] = "removed",
	    [SCAN_CONTEXT] = "context"};
	cJSON *patch;

	if (from->commit == NULL || (patch = cJSON_AddObjectToObject(o, "patch")) == NULL)
		return;
	add_text_or_null(patch, "commit", from->commit);
	if (from->path[0] == '\0')
		cJSON_AddNullToObject(patch, "file");
	else
		add_name(patch, "file", from->path);
	add_number_or_null(patch, "line", from->line);
	add_text_or_null(patch, "change", kinds[from->kind]);
}

static int
print_object(const struct scan_finding *f, const struct scan_answer *a, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	int rc;

	add_name(o, "file", f->file);
	add_number_or_null(o, "line", f->line);
	add_number_or_null(o, "column", f->column);
	cJSON_AddNumberToObject(o, "offset", (double)f->offset);
	cJSON_AddStringToObject(o, "start", f->start);
	cJSON_AddStringToObject(o, "env", token_env_name(f->env));
	add_origin(o, &f->origin);
	if (a->asked != SCAN_NOT_ASKED) {
		cJSON_AddStringToObject(o, "lookup",
		    a->asked == SCAN_KNOWN     ? "known"
		    : a->asked == SCAN_UNKNOWN ? "unknown"
					       : "failed");
		add_text_or_null(o, "id", a->id);
		add_text_or_null(o, "state", a->state);
		add_text_or_null(o, "until", a->until);
	}
	rc = output_json_stream(stdout, o, e);
	cJSON_Delete(o);
	return rc;
}

void
scan_print(struct scan *s, const struct scan_finding *f, const struct scan_answer *a)
{
	scan_clear(s);
	if (!s->tool->json)
		print_line(s->tool, f, a);
	else if (print_object(f, a, &s->error) == -1)
		s->stop = 1;
	if (s->progress.shown)
		(void)fflush(stdout);
	/* A reader that is gone wants no more; main says so. */
	if (ferror(stdout))
		s->stop = 1;
}

void
scan_found(void *cookie, const struct finder_hit *hit)
{
	static const struct scan_answer not_asked = {.asked = SCAN_NOT_ASKED};
	struct scan *s = cookie;
	struct scan_finding f = {.file = s->file, .offset = hit->offset, .env = hit->env};

	if (s->stop)
		return;
	if (!s->in_name) {
		f.line = hit->line;
		f.column = hit->column;
	}
	if (s->patch != NULL) {
		scan_patch_step(s->patch, hit->offset);
		f.origin = scan_patch_origin(s->patch);
		if (s->only_added &&
		    (f.origin.kind == SCAN_REMOVED || f.origin.kind == SCAN_CONTEXT))
			return;
	}
	token_start(hit->key, f.start);
	s->counts.findings++;
	s->file_findings++;
	if (s->known != NULL)
		scan_known_add(s->known, &f, hit->key);
	else
		scan_print(s, &f, &not_asked);
}

/* ---- standard error ---- */

void
scan_note(struct scan *s, const char *file, const char *what)
{
	char shown[SCAN_PATH_MAX];

	scan_clear(s);
	scan_shown(file, shown, sizeof(shown));
	fprintf(stderr, "apikey: scan: %s: %s\n",
	    strcmp(file, SCAN_STDIN) == 0 ? "standard input" : shown, what);
}

static const char *
plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* "3 keys in 2 of 1204 files, 1.2 GiB" */
static void
print_counts(const struct scan *s)
{
	const struct scan_counts *c = &s->counts;
	char bytes[PROGRESS_BYTES_MAX];

	(void)progress_bytes(c->bytes, bytes);
	if (c->findings == 0)
		fprintf(stderr, "no keys in %llu file%s, %s", (unsigned long long)c->files,
		    plural(c->files), bytes);
	else
		fprintf(stderr, "%llu key%s in %llu of %llu file%s, %s",
		    (unsigned long long)c->findings, plural(c->findings),
		    (unsigned long long)c->files_with, (unsigned long long)c->files,
		    plural(c->files), bytes);
}

void
scan_clear(struct scan *s)
{
	progress_end(&s->progress);
}

void
scan_tick(struct scan *s)
{
	const struct scan_counts *c = &s->counts;
	char bytes[PROGRESS_BYTES_MAX];

	if (s->progress.shown)
		progress_at(&s->progress, "%llu files, %s: %llu found",
		    (unsigned long long)c->files, progress_bytes(c->bytes, bytes),
		    (unsigned long long)c->findings);
}

void
scan_summary(struct scan *s)
{
	const struct scan_counts *c = &s->counts;

	scan_clear(s);
	(void)fflush(stdout);
	if (scan_signal() != 0)
		fputs("interrupted: so far ", stderr);
	print_counts(s);
	if (c->unread > 0)
		fprintf(stderr, "; %llu could not be read", (unsigned long long)c->unread);
	if (c->skipped > 0)
		fprintf(stderr, "; %llu skipped", (unsigned long long)c->skipped);
	if (s->known != NULL && c->findings > 0)
		fprintf(stderr, "; %llu known here, %llu live, %llu revoked",
		    (unsigned long long)c->known, (unsigned long long)c->live,
		    (unsigned long long)c->revoked);
	fputc('\n', stderr);
}
