/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Tables for people: cells are measured in columns of a terminal, not in bytes, and padded or cut
 * so that columns line up.  It knows nothing of keys or plans, and no colour but those that it is
 * told.
 *
 * Text comes from the store, that is from whoever may create keys; the reader may be somebody else.
 * So control characters and those that reorder text are shown as '?': no owner's name can steer the
 * terminal of an admin or make a line read differently from what it says.
 *
 * Invariants: a table that goes to no terminal is never cut; a line never ends with white space.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "apikey/table.h"

#define GAP 2 /* columns between columns */

struct cell {
	char *text;
	enum term_colour colour;
};

struct table {
	FILE *out;
	const struct term *term;
	const struct table_column *columns;
	size_t ncolumns;
	size_t width[TABLE_COLUMNS_MAX];
	struct cell *cells;
	size_t n, cap;
	int headed, failed;
};

/*
 * The character at ${s} into ${c}; its length in bytes.  Bytes that are no UTF-8 are single
 * characters of value 0, which is shown as '?'.
 */
static size_t
decode(const char *s, uint32_t *c)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len, i;

	*c = p[0];
	if (p[0] < 0x80)
		return 1;
	len = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	*c = p[0] & (0x7fU >> len);
	for (i = 1; i < len && (p[i] & 0xc0) == 0x80; i++)
		*c = *c << 6 | (p[i] & 0x3fU);
	if (len == 0 || p[0] >= 0xf5 || i < len) {
		*c = 0;
		return 1;
	}
	return len;
}

/* Columns of a character; -1 when it must not reach a terminal. */
static int
columns_of(uint32_t c)
{
	int w;

	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return -1;
	if ((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x2028 ||
	    c == 0x2029 || c == 0x200e || c == 0x200f)
		return -1;
	/* A locale that is not UTF-8 knows no width beyond ASCII; one column is the best guess. */
	w = wcwidth((wchar_t)c);
	return w < 0 ? 1 : w;
}

int
table_shows(uint32_t c)
{
	return columns_of(c) >= 0;
}

size_t
table_width(const char *s)
{
	size_t width = 0;
	uint32_t c;
	int w;

	while (*s != '\0') {
		s += decode(s, &c);
		w = columns_of(c);
		width += w < 0 ? 1 : (size_t)w;
	}
	return width;
}

struct table *
table_new(FILE *out, const struct term *term, const struct table_column *columns, size_t n)
{
	struct table *t;
	size_t i;

	if (n > TABLE_COLUMNS_MAX || (t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	t->out = out;
	t->term = term;
	t->columns = columns;
	t->ncolumns = n;
	t->headed = columns[0].title == NULL;
	for (i = 0; i < n && !t->headed; i++)
		t->width[i] = table_width(columns[i].title);
	return t;
}

static void
forget_rows(struct table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		free(t->cells[i].text);
	t->n = 0;
}

void
table_free(struct table **tp)
{
	struct table *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	forget_rows(t);
	free(t->cells);
	free(t);
}

void
table_add(struct table *t, const char *text, enum term_colour colour)
{
	struct cell *more;
	size_t cap, column, width;
	char *copy;

	if (t->n == t->cap) {
		cap = t->cap == 0 ? 64 : 2 * t->cap;
		if ((more = reallocarray(t->cells, cap, sizeof(*more))) == NULL) {
			t->failed = 1;
			return;
		}
		t->cells = more;
		t->cap = cap;
	}
	if ((copy = strdup(text == NULL ? "" : text)) == NULL) {
		t->failed = 1;
		return;
	}
	column = t->n % t->ncolumns;
	width = table_width(copy);
	if (width > t->width[column])
		t->width[column] = width;
	t->cells[t->n++] = (struct cell){copy, colour};
}

/* Narrow the widest of the columns that may be cut, until a line fits the terminal. */
static void
fit(const struct table *t, size_t width[TABLE_COLUMNS_MAX])
{
	size_t total = GAP * (t->ncolumns - 1), widest, i;

	for (i = 0; i < t->ncolumns; i++) {
		width[i] = t->width[i];
		total += width[i];
	}
	while (t->term->columns != 0 && total > t->term->columns) {
		widest = t->ncolumns;
		for (i = 0; i < t->ncolumns; i++) {
			if (t->columns[i].min == 0 || width[i] <= t->columns[i].min)
				continue;
			if (widest == t->ncolumns || width[i] > width[widest])
				widest = i;
		}
		if (widest == t->ncolumns)
			return;
		width[widest]--;
		total--;
	}
}

/* At most ${max} columns of the text, the last of them an ellipsis when it is cut.  Returns columns
 * written. */
static size_t
print_text(const struct table *t, const char *s, size_t max)
{
	int cut = table_width(s) > max, w;
	size_t room = cut && max > 0 ? max - 1 : max, at = 0, len;
	uint32_t c;

	for (; *s != '\0'; s += len) {
		len = decode(s, &c);
		w = columns_of(c);
		if (at + (w < 0 ? 1 : (size_t)w) > room)
			break;
		if (w < 0)
			fputc('?', t->out);
		else
			fwrite(s, 1, len, t->out);
		at += w < 0 ? 1 : (size_t)w;
	}
	if (cut && max > 0) {
		fputs(t->term->utf8 ? "\342\200\246" : "~", t->out);
		at++;
	}
	return at;
}

static void
print_pad(const struct table *t, size_t n)
{
	while (n-- > 0)
		fputc(' ', t->out);
}

static void
print_row(const struct table *t, const struct cell *row, const size_t *width)
{
	size_t i, last = t->ncolumns, owed = 0, w, at;

	while (last > 0 && row[last - 1].text[0] == '\0')
		last--;
	for (i = 0; i < last; i++) {
		w = table_width(row[i].text);
		if (w > width[i])
			w = width[i];
		print_pad(t, owed + (t->columns[i].right ? width[i] - w : 0));
		fputs(term_on(t->term, row[i].colour), t->out);
		at = print_text(t, row[i].text, width[i]);
		fputs(term_off(t->term, row[i].colour), t->out);
		owed = GAP + (t->columns[i].right ? 0 : width[i] - at);
	}
	fputc('\n', t->out);
}

/* Titles are texts of ours, and row cells are not modified: casting const away is safe here. */
static void
print_header(struct table *t, const size_t *width)
{
	struct cell titles[TABLE_COLUMNS_MAX];
	size_t i;

	for (i = 0; i < t->ncolumns; i++)
		titles[i] = (struct cell){(char *)(uintptr_t)t->columns[i].title, TERM_BOLD};
	print_row(t, titles, width);
	t->headed = 1;
}

int
table_flush(struct table *t)
{
	size_t width[TABLE_COLUMNS_MAX], i;
	int ok = !t->failed && t->n % t->ncolumns == 0;

	if (ok && t->n > 0) {
		fit(t, width);
		if (!t->headed)
			print_header(t, width);
		for (i = 0; i < t->n; i += t->ncolumns)
			print_row(t, &t->cells[i], width);
	}
	forget_rows(t);
	return ok ? 0 : -1;
}
