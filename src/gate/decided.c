/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reads the problem that an earlier call put into Apikey-Problem, for servers that drop an
 * authorizer's body and ask again for one (mod_fcgid with an ErrorDocument).  Runs in a worker.
 *
 * The text comes from the server's configuration and was ours before that; still it is held against
 * the table of verdicts, because it becomes a status and a body.  It is not made anew: what the
 * first call knew (violated policies, the scope, the request's id) is known to nobody here.
 *
 * Invariant: whatever the text, the result is a denial of the table, with that denial's own status.
 */

#include "gate/decided.h"

#include "base/json.h"
#include "base/text.h"

/* One line of ASCII or UTF-8 that a header carried: no control characters. */
static int
is_line(struct span s)
{
	return s.len > 0 && !text_has_control(s);
}

static int
find(const char *code, int64_t status, enum verdict *verdict)
{
	const struct verdict_info *info;
	unsigned v;

	for (v = 0; v < VERDICTS; v++) {
		info = verdict_info((enum verdict)v);
		if (v == VERDICT_OK || strcmp(info->code, code) != 0)
			continue;
		*verdict = (enum verdict)v;
		return info->status == status;
	}
	return 0;
}

int
decided_read(struct span problem, enum verdict *verdict)
{
	const char *code;
	int64_t status;
	struct err e = {.code = ERR_NONE};
	cJSON *json;
	int found;

	*verdict = VERDICT_UNAVAILABLE;
	if (!is_line(problem) || (json = json_parse_object(problem, &e)) == NULL)
		return 0;
	code = json_str(json, "code", &e);
	status = json_int(json, "status", 0, 0, 999, &e);
	found = e.code == ERR_NONE && code != NULL && find(code, status, verdict);
	cJSON_Delete(json);
	return found;
}
