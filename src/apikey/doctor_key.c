/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * doctor's key: made for the moment, bound, limited, revoked.  Signals are held by the prober
 * (probe.c) while one exists, so whoever makes it gets to end it.
 *
 * Only a keeper that runs is asked: the key of a store without one would be unknown to every gate.
 *
 * Invariants: a key is never made without an end; its plan is removed before it is revoked, because
 * a revoked key keeps its plan and a plan that a key names cannot be removed.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/doctor_key.h"
#include "base/json.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/span.h"

/* Takes ${request}.  The result (the caller's), or NULL. */
static cJSON *
ask(struct doctor_key *k, const char *op, cJSON *request, struct err *e)
{
	cJSON *result = NULL;
	int rc = -1;

	if (request == NULL || cJSON_AddStringToObject(request, "op", op) == NULL)
		(void)err_set(e, ERR_SYSTEM, "out of memory");
	else if ((rc = session_call_keeper(k->session, SESSION_CHANGES, request, &result, e)) == 0)
		(void)err_set(e, ERR_UNAVAILABLE, "no keeper runs here");
	cJSON_Delete(request);
	return rc == 1 ? result : NULL;
}

/* The same where the result tells nothing more. */
static int
change(struct doctor_key *k, const char *op, cJSON *request, struct err *e)
{
	cJSON *result = ask(k, op, request, e);

	if (result == NULL)
		return -1;
	cJSON_Delete(result);
	return 0;
}

static cJSON *
about_key(const struct doctor_key *k)
{
	cJSON *o = cJSON_CreateObject();

	/* A member that found no memory is missing, and the keeper refuses the request. */
	(void)cJSON_AddStringToObject(o, "id", k->id);
	return o;
}

int
doctor_key_make(
    struct doctor_key *k, const char *plan, const cJSON *scopes, int64_t now_us, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *record;
	int rc = -1;

	(void)cJSON_AddStringToObject(request, "owner", DOCTOR_KEY_OWNER);
	(void)cJSON_AddStringToObject(request, "name", "temporary");
	(void)cJSON_AddStringToObject(request, "plan", plan);
	json_add_time(request, "expires", now_us + DOCTOR_KEY_LIFE_US);
	if (scopes != NULL)
		(void)cJSON_AddItemToObject(request, "scopes", cJSON_Duplicate(scopes, 1));
	if (!cJSON_HasObjectItem(request, "expires")) {
		cJSON_Delete(request);
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	if ((record = ask(k, "key.create", request, e)) == NULL)
		return -1;
	if (span_copy(k->id, sizeof(k->id), span_of(json_str(record, "id", NULL))) == 0 &&
	    span_copy(k->text, sizeof(k->text), span_of(json_str(record, "key", NULL))) == 0 &&
	    span_copy(k->plan, sizeof(k->plan), span_of(plan)) == 0)
		rc = 0;
	else
		(void)err_set(e, ERR_INTERNAL, "the keeper made a key and did not tell it");
	cJSON_Delete(record);
	return rc;
}

int
doctor_key_bind(struct doctor_key *k, const char *address, struct err *e)
{
	cJSON *request = about_key(k), *list = cJSON_AddArrayToObject(request, "allow_ips");

	if (address != NULL)
		(void)cJSON_AddItemToArray(list, cJSON_CreateString(address));
	return change(k, "key.set", request, e);
}

static int
set_plan(struct doctor_key *k, const char *plan, struct err *e)
{
	cJSON *request = about_key(k);

	(void)cJSON_AddStringToObject(request, "plan", plan);
	return change(k, "key.set", request, e);
}

int
doctor_key_limit(struct doctor_key *k, struct err *e)
{
	char name[PLAN_NAME_MAX + 1], letters[9];
	cJSON *request, *limit;

	if (random_base62(letters, sizeof(letters) - 1, e) == -1)
		return -1;
	(void)snprintf(name, sizeof(name), "doctor-%s", letters);
	request = cJSON_CreateObject();
	limit = cJSON_CreateObject();
	(void)cJSON_AddStringToObject(request, "name", name);
	(void)cJSON_AddStringToObject(limit, "name", "doctor");
	(void)cJSON_AddNumberToObject(limit, "units", DOCTOR_LIMIT_UNITS);
	(void)cJSON_AddStringToObject(limit, "window", "1h");
	(void)cJSON_AddItemToArray(cJSON_AddArrayToObject(request, "limits"), limit);
	if (change(k, "plan.set", request, e) == -1)
		return -1;
	memcpy(k->limited, name, sizeof(name));
	return set_plan(k, name, e);
}

int
doctor_key_unlimit(struct doctor_key *k, struct err *e)
{
	cJSON *request;

	if (k->limited[0] == '\0')
		return 0;
	if (set_plan(k, k->plan, e) == -1)
		return -1;
	request = cJSON_CreateObject();
	(void)cJSON_AddStringToObject(request, "name", k->limited);
	if (change(k, "plan.remove", request, e) == -1)
		return -1;
	k->limited[0] = '\0';
	return 0;
}

int
doctor_key_revoke(struct doctor_key *k, struct err *e)
{
	cJSON *request;

	if (k->id[0] == '\0' || k->revoked)
		return 0;
	/* A plan of somebody's must not be kept by a key that is gone. */
	if (strcmp(k->plan, DOCTOR_KEY_PLAN) != 0 && set_plan(k, DOCTOR_KEY_PLAN, e) == -1)
		return -1;
	request = about_key(k);
	(void)cJSON_AddStringToObject(request, "reason", "doctor is done with it");
	if (change(k, "key.revoke", request, e) == -1)
		return -1;
	k->revoked = 1;
	return 0;
}

int
doctor_key_end(struct doctor_key *k, struct err *e)
{
	struct err plan = {0}, key = {0};
	int rc = 0;

	secret_wipe(k->text, sizeof(k->text));
	if (doctor_key_unlimit(k, &plan) == -1)
		rc = -1;
	/* Also when the plan stays. */
	if (doctor_key_revoke(k, &key) == -1)
		rc = -1;
	if (rc == -1)
		(void)err_set(e, key.code != ERR_NONE ? key.code : plan.code,
		    "the temporary key could not be taken back (%s): it ends by itself in 10 "
		    "minutes; apikey revoke %s%s%s",
		    key.code != ERR_NONE ? key.msg : plan.msg, k->id,
		    k->limited[0] ? "; apikey plan remove " : "", k->limited);
	return rc;
}
