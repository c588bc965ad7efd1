/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where a line of a patch comes from: commit, file and line, for `git log -p --all | apikey scan
 * -`, `git diff` and `git format-patch --stdout`, where the number of a line of standard input
 * helps nobody.
 *
 * It follows git's unified diffs, whose hunks say how many lines they have: what stands in one is
 * never taken for a header.  Of a combined diff (of a merge) only commit and file are known.
 *
 * Patches are a stranger's.  Invariants: nothing is stored past a maximum; a patch that lies can
 * make a place be told wrong, and nothing else.
 */

#include <stdlib.h>
#include <string.h>

#include "apikey/scan.h"
#include "base/secret.h"

#define HEADER_MAX 4200 /* bytes of a header line that are looked at */

struct scan_patch {
	const char *at, *end; /* what was fed and not stepped over */
	uint64_t offset;      /* of at */
	int inside;	      /* of a line: its beginning was stepped over */
	size_t nheader;
	char header[HEADER_MAX + 1];
	/* The present line. */
	enum scan_line kind;
	uint64_t line;
	/* The present hunk: lines left, numbers of the next ones. */
	uint64_t old_left, new_left, old_next, new_next;
	char commit[SCAN_COMMIT_MAX + 1];
	char path[HEADER_MAX + 1];
};

static int
begins(const char *text, size_t n, const char *with)
{
	return n >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

struct scan_patch *
scan_patch_new(const char *text, size_t n)
{
	if (!begins(text, n, "commit ") && !begins(text, n, "diff --git ") &&
	    !begins(text, n, "From "))
		return NULL;
	return calloc(1, sizeof(struct scan_patch));
}

void
scan_patch_free(struct scan_patch **pp)
{
	struct scan_patch *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	/* A path may hold a key. */
	secret_wipe(p, sizeof(*p));
	free(p);
}

static void
read_commit(struct scan_patch *p, const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	p->path[0] = p->commit[0] = '\0';
	if (n < 4 || n > SCAN_COMMIT_MAX || (text[n] != '\0' && text[n] != ' '))
		return;
	memcpy(p->commit, text, n);
	p->commit[n] = '\0';
}

/* "b/src/x.c", "\"b/na\\303\\257ve\"", "/dev/null". */
static void
read_path(struct scan_patch *p, const char *text)
{
	size_t n;

	text += text[0] == '"';
	if (strcmp(text, "/dev/null") == 0)
		return;
	/* The prefix is one letter: a/ and b/, or those of diff.mnemonicPrefix. */
	if (text[0] >= 'a' && text[0] <= 'z' && text[1] == '/')
		text += 2;
	/* git ends a name that has spaces with a tab. */
	n = strcspn(text, "\t");
	if (n > 0 && text[n - 1] == '"')
		n--;
	memcpy(p->path, text, n);
	p->path[n] = '\0';
}

/* "12,3" or "12": how many lines from which on.  What follows, or NULL. */
static const char *
read_range(const char *text, uint64_t *from, uint64_t *count)
{
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	*from = strtoull(text, &end, 10);
	*count = 1;
	if (*end == ',') {
		if (end[1] < '0' || end[1] > '9')
			return NULL;
		*count = strtoull(end + 1, &end, 10);
	}
	return end;
}

/* "@@ -12,3 +14,4 @@ function" */
static void
read_hunk(struct scan_patch *p, const char *text)
{
	uint64_t old_from, old_count, new_from, new_count;

	if ((text = read_range(text, &old_from, &old_count)) == NULL || text[0] != ' ' ||
	    text[1] != '+' || read_range(text + 2, &new_from, &new_count) == NULL)
		return;
	p->old_next = old_from;
	p->old_left = old_count;
	p->new_next = new_from;
	p->new_left = new_count;
}

/* A whole line that is outside of hunks. */
static void
read_header(struct scan_patch *p)
{
	const char *text = p->header;

	p->header[p->nheader] = '\0';
	if (strncmp(text, "commit ", 7) == 0)
		read_commit(p, text + 7);
	else if (strncmp(text, "From ", 5) == 0)
		read_commit(p, text + 5);
	else if (strncmp(text, "diff --git ", 11) == 0)
		p->path[0] = '\0';
	else if (strncmp(text, "--- ", 4) == 0 || strncmp(text, "+++ ", 4) == 0)
		read_path(p, text + 4);
	else if (strncmp(text, "@@ -", 4) == 0)
		read_hunk(p, text + 4);
	p->nheader = 0;
}

/* The first byte of a line of a hunk says what it is. */
static void
begin_line(struct scan_patch *p, char first)
{
	p->kind = SCAN_NO_LINE;
	p->line = 0;
	if (p->old_left == 0 && p->new_left == 0)
		return;
	if (first == '+' && p->new_left > 0) {
		p->kind = SCAN_ADDED;
	} else if (first == '-' && p->old_left > 0) {
		p->kind = SCAN_REMOVED;
	} else if ((first == ' ' || first == '\n') && p->old_left > 0 && p->new_left > 0) {
		p->kind = SCAN_CONTEXT;
	} else if (first != '\\') {
		/* Not what the hunk has promised. */
		p->old_left = p->new_left = 0;
		return;
	}
	p->line = p->kind == SCAN_REMOVED ? p->old_next : p->new_next;
	if (p->kind == SCAN_REMOVED || p->kind == SCAN_CONTEXT) {
		p->old_left--;
		p->old_next++;
	}
	if (p->kind == SCAN_ADDED || p->kind == SCAN_CONTEXT) {
		p->new_left--;
		p->new_next++;
	}
}

/* One line, or as much of it as is there. */
static void
step_line(struct scan_patch *p)
{
	const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
	size_t n = (size_t)((newline == NULL ? p->end : newline) - p->at), room;

	if (!p->inside)
		begin_line(p, *p->at);
	if (p->kind == SCAN_NO_LINE) {
		room = HEADER_MAX - p->nheader;
		memcpy(p->header + p->nheader, p->at, n < room ? n : room);
		p->nheader += n < room ? n : room;
		if (newline != NULL)
			read_header(p);
	}
	p->inside = newline == NULL;
	n += newline != NULL;
	p->at += n;
	p->offset += n;
}

void
scan_patch_feed(struct scan_patch *p, const char *bytes, size_t n)
{
	p->at = bytes;
	p->end = bytes + n;
}

/*
 * Lines are stepped over until the one that holds the offset is begun.  Its end may be stepped over
 * with it: the line stays the present one until the next step.
 */
void
scan_patch_step(struct scan_patch *p, uint64_t offset)
{
	while (p->at < p->end && p->offset <= offset)
		step_line(p);
}

void
scan_patch_rest(struct scan_patch *p)
{
	while (p->at < p->end)
		step_line(p);
}

struct scan_origin
scan_patch_origin(const struct scan_patch *p)
{
	return (struct scan_origin){p->kind, p->commit, p->path, p->line};
}
