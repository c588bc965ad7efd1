/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFIG_SETTINGS_H_
#define CONFIG_SETTINGS_H_

/*
 * The table of settings: everything that is known of each, once.  The parser, the sample
 * configuration, apikeyd.conf(5), the reload and the supervisor's running.conf all walk it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "config/config.h"

enum setting_kind {
	SETTING_STRING,	  /* char * */
	SETTING_PATH,	  /* char *, absolute */
	SETTING_INT,	  /* unsigned */
	SETTING_MODE,	  /* unsigned, octal */
	SETTING_BOOL,	  /* int */
	SETTING_ENUM,	  /* int: index into words */
	SETTING_SIZE,	  /* uint64_t bytes */
	SETTING_DURATION, /* int64_t microseconds */
	SETTING_NETWORKS, /* struct netaddr_net [CONFIG_LIST_MAX], size_t count */
	SETTING_STRINGS	  /* char * [CONFIG_LIST_MAX], size_t count */
};

struct setting {
	const char *name;
	enum setting_kind kind;
	size_t offset, count_offset; /* into struct config */
	const char *def;	     /* default; the items of a list are separated by spaces */
	int64_t min, max;	  /* of the number, or of the text's length; in the field's unit */
	const char *const *words; /* SETTING_ENUM: NULL-terminated */
	int (*ok)(struct span);	  /* what else must hold of a text, or NULL */
	const char *expects;	  /* what that is, in words */
	int restart;		  /* a reload cannot take it */
	const char *doc;	  /* sentences; `code` in back quotes */
};

size_t settings_count(void);
const struct setting *settings_at(size_t);
/* NULL when there is none. */
const struct setting *settings_find(struct span);
/* The setting whose name is nearest to a misspelt one, or NULL when none is near. */
const struct setting *settings_nearest(struct span);

#endif /* !CONFIG_SETTINGS_H_ */
