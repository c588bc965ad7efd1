/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey help: everything it says comes from the table of commands.
 */

#include <stdio.h>

#include "apikey/command.h"
#include "apikey/commands.h"

int
cmd_help(struct tool *t, struct options *o, struct err *e)
{
	const cJSON *words = cJSON_GetObjectItemCaseSensitive(o->request, "command");
	const char *first = cJSON_GetStringValue(cJSON_GetArrayItem(words, 0));
	const char *second = cJSON_GetStringValue(cJSON_GetArrayItem(words, 1));
	const struct command *c;

	(void)t;
	if (first == NULL || (second == NULL && command_is_group(first))) {
		command_overview(first, stdout);
		return TOOL_DONE;
	}
	if ((c = command_find(first, second, e)) == NULL)
		return -1;
	command_help(c, stdout);
	return TOOL_DONE;
}
