/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFIG_VALUE_H_
#define CONFIG_VALUE_H_

/* One value of a setting: from text to its field in struct config, and back. */

#include "base/buf.h"
#include "config/settings.h"

#define VALUE_WHY_MAX 200 /* what a value should have been */

int value_is_list(const struct setting *);
/* "size", "list of networks", ...: the kind in the manual's words. */
const char *value_kind_name(const struct setting *);

/*
 * value_set(s, text, C, why): the one parser of values.  Sets the field (frees what was there), or
 * appends an item when s is a list; with NULL ${C} only checks.  0; -1 and ${why} says what was
 * expected.
 */
int value_set(const struct setting *, const char *, struct config *, char[VALUE_WHY_MAX])
    __attribute__((warn_unused_result));
/* Empty the field and free what it owns. */
void value_clear(const struct setting *, struct config *);
/* The value as it would be written in a file: strings quoted, lists in braces. */
void value_format(const struct setting *, const struct config *, struct wbuf *);
/* "From 1M to 1T." and the like, for the manual; nothing for a kind without bounds. */
void value_bounds(const struct setting *, struct wbuf *);
/* Copy a field that is no list.  0, or -1 for want of memory (${to} is unchanged then). */
int value_copy(const struct setting *, struct config *to, const struct config *from)
    __attribute__((warn_unused_result));

#endif /* !CONFIG_VALUE_H_ */
