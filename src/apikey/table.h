/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_TABLE_H_
#define APIKEY_TABLE_H_

/*
 * Aligned columns.  Rows are gathered and printed by table_flush, page by page: the header once,
 * the widths never shrinking from one page to the next.  Text is UTF-8; whatever could steer a
 * terminal is replaced.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "apikey/term.h"

#define TABLE_COLUMNS_MAX 12

struct table_column {
	const char *title; /* NULL in the first column: a table without a header */
	int right;	   /* align to the right */
	unsigned min;	   /* may be cut down to this many columns on a narrow terminal; 0: never */
};

struct table;

/* ${columns}, ${out} and the term must outlive it.  NULL: no memory. */
struct table *table_new(FILE *out, const struct term *, const struct table_column *, size_t);
void table_free(struct table **);

/* The next cell of the row; NULL is an empty one.  Running out of memory is told by table_flush. */
void table_add(struct table *, const char *, enum term_colour);

/* Print what was added since the last time; 0, or -1 when memory ran out or a row is not full. */
int table_flush(struct table *) __attribute__((warn_unused_result));

/* May this character be shown?  Not if it could steer a terminal, or make a line read differently. */
int table_shows(uint32_t c);

/* Columns that a text takes on a terminal. */
size_t table_width(const char *);

#endif /* !APIKEY_TABLE_H_ */
