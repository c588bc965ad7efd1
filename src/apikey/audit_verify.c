/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey audit --verify: is the trail what was written?  Asks page for page and carries the chain
 * from one to the next, so that a keeper is never held up by it.  What is wrong is found by the
 * store; here it is put into words.
 *
 * Invariant: it ends; a page that does not go on is an error.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apikey/audit.h"
#include "apikey/output.h"
#include "base/json.h"
#include "base/span.h"

#define PROBLEMS_MAX 1000 /* told; more are counted */

struct verifying {
	struct tool *tool;
	cJSON *problems; /* all that are told, with --json */
	double records, found;
	int told;
};

static double
number(const cJSON *o, const char *member)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, member);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static const char *
words(const char *problem)
{
	static const struct {
		const char *problem, *words;
	} table[] = {
	    {"missing", "missing"},
	    {"changed", "not what was written"},
	    {"replaced", "whole, but what follows was not written after it"},
	    {"unreadable", "cannot be read"},
	    {"foreign", "something behind it has no number, or stands before the first record"},
	    {"head", "where the trail ends was changed: nobody can tell what came behind it"},
	    {"unexpected", "not the one with this hash"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(problem, table[i].problem) == 0)
			return table[i].words;
	return problem;
}

static void
print_problem(const cJSON *problem)
{
	double from = number(problem, "from"), to = number(problem, "to");
	const char *name = json_str(problem, "problem", NULL);

	if (from == to || from == 0)
		printf("record %.0f: %s\n", to, words(name != NULL ? name : ""));
	else
		printf("records %.0f to %.0f: %s\n", from, to, words(name != NULL ? name : ""));
}

static int
take_page(struct verifying *v, cJSON *page, struct err *e)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(page, "problems"), *problem;

	v->records += number(page, "records");
	v->found += number(page, "found");
	while ((problem = cJSON_DetachItemFromArray(list, 0)) != NULL) {
		if (v->told++ < PROBLEMS_MAX && !v->tool->json)
			print_problem(problem);
		if (v->told > PROBLEMS_MAX || !v->tool->json)
			cJSON_Delete(problem);
		else if (!cJSON_AddItemToArray(v->problems, problem))
			return err_set(e, ERR_SYSTEM, "out of memory");
	}
	return 0;
}

/* Make the request that for the next page: 1; 0 at the end; -1. */
static int
next_page(cJSON *request, const cJSON *page, struct err *e)
{
	static const char *const carried[] = {"after", "hash", "sealed"};
	const cJSON *next = cJSON_GetObjectItemCaseSensitive(page, "next"), *m;

	if (!cJSON_IsObject(next))
		return 0;
	if (number(next, "after") <= number(request, "after"))
		return err_set(e, ERR_INTERNAL, "the keeper's verification does not go on");
	for (size_t i = 0; i < sizeof(carried) / sizeof(carried[0]); i++) {
		cJSON_DeleteItemFromObjectCaseSensitive(request, carried[i]);
		if ((m = cJSON_GetObjectItemCaseSensitive(next, carried[i])) != NULL)
			cJSON_AddItemToObject(request, carried[i], cJSON_Duplicate(m, 1));
	}
	return 1;
}

static int
add_expected(cJSON *request, const char *expect, struct err *e)
{
	const char *colon = strchr(expect, ':');
	unsigned long long seq = 0;

	if (colon == NULL || strlen(colon + 1) != 64 ||
	    span_u64((struct span){expect, (size_t)(colon - expect)}, INT64_C(1) << 52, &seq) !=
		0 ||
	    seq == 0)
		return err_set(e, ERR_USAGE,
		    "--expect is a number and a hash, like 120:9f86d08..., as \"head\" in apikey "
		    "audit --verify --json has them");
	cJSON_AddNumberToObject(request, "expect", (double)seq);
	cJSON_AddStringToObject(request, "expect_hash", colon + 1);
	return 0;
}

/* Takes ${head} and v->problems. */
static int
print_json(struct verifying *v, cJSON *head, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	int rc;

	cJSON_AddBoolToObject(o, "intact", v->found == 0);
	cJSON_AddNumberToObject(o, "records", v->records);
	cJSON_AddNumberToObject(o, "found", v->found);
	cJSON_AddItemToObject(o, "problems", v->problems);
	cJSON_AddItemToObject(o, "head", head);
	v->problems = NULL;
	rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

static int
conclude(struct verifying *v, cJSON *head, struct err *e)
{
	if (v->tool->json && print_json(v, head, e) != 0)
		return -1;
	if (v->found > 0)
		return err_set(e, ERR_CONFLICT,
		    "the trail is not what was written: %.0f problem%s in %.0f records; compare it "
		    "with a backup",
		    v->found, v->found == 1 ? "" : "s", v->records);
	if (!v->tool->json)
		printf("%.0f records, chain intact\n", v->records);
	return TOOL_DONE;
}

/* All pages: 0 or -1.  *head: of the last one, with --json. */
static int
verify_all(struct verifying *v, const char *expect, cJSON **head, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *page = NULL;
	int more = 1;

	cJSON_AddStringToObject(request, "op", "audit.verify");
	if (expect != NULL && add_expected(request, expect, e) != 0)
		more = -1;
	while (more == 1) {
		cJSON_Delete(page);
		/* Not tool_ask: a store that nobody is the keeper of is opened once for all pages.
		 */
		if ((page = session_call(v->tool->session, SESSION_READS, request, e)) == NULL ||
		    take_page(v, page, e) != 0)
			more = -1;
		else
			more = next_page(request, page, e);
	}
	if (more == 0 && v->tool->json)
		*head = cJSON_DetachItemFromObjectCaseSensitive(page, "head");
	cJSON_Delete(page);
	cJSON_Delete(request);
	session_rest(v->tool->session);
	return more;
}

int
audit_verify(struct tool *t, const char *expect, struct err *e)
{
	struct verifying v = {.tool = t, .problems = cJSON_CreateArray()};
	cJSON *head = NULL;
	int status = -1;

	if (verify_all(&v, expect, &head, e) == 0)
		status = conclude(&v, head, e);
	cJSON_Delete(v.problems);
	return status;
}

int
audit_verify_count(struct tool *t, double *found, struct err *e)
{
	struct verifying v = {.tool = t, .told = PROBLEMS_MAX, .problems = cJSON_CreateArray()};
	cJSON *head = NULL;
	int rc = verify_all(&v, NULL, &head, e);

	*found = v.found;
	cJSON_Delete(head);
	cJSON_Delete(v.problems);
	return rc;
}
