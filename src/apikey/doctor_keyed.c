/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The ways in which doctor's probes with a valid key are run.  Some change the key between requests
 * (bind it, limit it, revoke it); each change holds for every request that starts after it was
 * acknowledged, so nothing is waited for.
 *
 * What the API behind the mount gets cannot be seen from outside, unless it shows it: then the
 * forged values, the id or the key are in its answers.  Where it does not, that is said.
 */

#include <stdio.h>
#include <string.h>

#include "apikey/doctor.h"

#define ID_START "key_"

int
doctor_run_admitted(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct answer *to = d->success->kind == ANSWER_GOT ? d->now : d->success;

	if (doctor_send(d, p, &p->shape, to, e) == -1)
		return -1;
	judge_admitted(j, to, doctor_way(&p->shape));
	/* Only a success is one to compare with. */
	if (j->result != JUDGE_PASS && to == d->success)
		answer_reset(d->success);
	return 0;
}

/* The keyed probes below are of what follows from being admitted. */
static int
is_admitted(struct doctor *d, struct judgement *j)
{
	if (d->success->kind == ANSWER_GOT)
		return 1;
	judge_skip(j, "no valid key was admitted");
	return 0;
}

static const char not_seen[] =
    "the API does not show what headers it gets; a URL that echoes them would tell";

/* Is a forged value in the answer?  What it was sent as, or NULL. */
static const char *
forged_name(const struct doctor *d, const struct doctor_probe *p, char name[64])
{
	const char *line, *end, *colon;
	char value[sizeof(d->mark) + 1];

	for (line = p->shape.lines; *line != '\0'; line = end + 1) {
		end = strchrnul(line, '\n');
		colon = memchr(line, ':', (size_t)(end - line));
		if (colon == NULL || strncmp(line, "X-Doctor-", 9) == 0)
			continue;
		(void)snprintf(value, sizeof(value), "%s%c", d->mark, end[-1]);
		if (!answer_holds(d->now, value))
			continue;
		(void)snprintf(name, 64, "%.*s", (int)(colon - line), line);
		return name;
	}
	return NULL;
}

int
doctor_run_forged(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	char name[64], echo[sizeof(d->mark) + 1];

	if (!is_admitted(d, j))
		return 0;
	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	(void)snprintf(echo, sizeof(echo), "%sz", d->mark);
	d->echoes |= answer_holds(d->now, echo);
	if (forged_name(d, p, name) != NULL)
		judge_fail(j, p->open, "the API got the client's %s", name);
	else if (d->now->status == 400)
		judge_pass(j, "400: such a request is refused");
	else if (d->now->status != d->success->status)
		judge_fail(j, CAUSE_ADMITTED_IN_VAIN, "%d instead of %d", d->now->status,
		    d->success->status);
	else if (answer_holds(d->now, echo))
		judge_pass(j, "the API shows the headers that it gets, and none of these");
	else
		judge_skip(j, "%s", not_seen);
	return 0;
}

int
doctor_run_identity(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	(void)p;
	(void)e;
	if (!is_admitted(d, j))
		return 0;
	if (answer_holds(d->success, d->key.id))
		judge_pass(j, "the API's answer holds the key's id");
	else if (d->echoes)
		judge_fail(j, CAUSE_IDENTITY_LOST,
		    "the API shows the headers that it gets, and the key's id is not among them");
	else
		judge_skip(j, "%s", not_seen);
	return 0;
}

/* The first id of a key in the body of a success: what the API knows of the key.  1 or 0. */
static int
find_id(const struct answer *a, char id[TOKEN_ID_LEN + 1])
{
	const char *p = a->body, *end = a->body + a->body_len;

	while ((p = memmem(p, (size_t)(end - p), ID_START, strlen(ID_START))) != NULL) {
		if (end - p >= TOKEN_ID_LEN && token_id_ok((struct span){p, TOKEN_ID_LEN}))
			return span_copy(id, TOKEN_ID_LEN + 1, (struct span){p, TOKEN_ID_LEN}) == 0;
		p++;
	}
	return 0;
}

int
doctor_run_stripped(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	char id[TOKEN_ID_LEN + 1];

	if (!is_admitted(d, j))
		return 0;
	if (!find_id(d->success, id)) {
		judge_skip(j, "%s", not_seen);
		return 0;
	}
	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	if (answer_holds(d->now, id))
		judge_pass(j, "the id is still there");
	else if (d->now->status >= 400)
		judge_pass(j, "%d: such a request is refused", d->now->status);
	else
		judge_fail(j, CAUSE_STRIPPED, "%d, and the id is gone", d->now->status);
	return 0;
}

int
doctor_run_key_hidden(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	(void)p;
	(void)e;
	if (!is_admitted(d, j))
		return 0;
	if (d->key_seen)
		judge_fail(j, CAUSE_KEY_PASSED_ON, "the key stood in an answer");
	else if (d->echoes)
		judge_pass(j, "the API shows the headers that it gets, and the key is not there");
	else
		judge_skip(j, "%s", not_seen);
	return 0;
}

int
doctor_run_ratelimit(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	int rc;

	(void)p;
	(void)e;
	if (!is_admitted(d, j))
		return 0;
	rc = judge_ratelimit(j, d->success);
	if (rc == 1)
		judge_pass(j, "there, and well-formed");
	else if (rc == 0 && d->ratelimit_off)
		judge_skip(j, "ratelimit_headers is off in apikeyd.conf");
	else if (rc == 0)
		judge_skip(j, "none, and the key's plan may have no limits; see limits");
	return 0;
}

/* What a probe that changed the key is told when the keeper did not. */
static void
skip_change(struct judgement *j, const struct err *why)
{
	judge_skip(j, "the key could not be changed: %.200s", why->msg);
}

static int
send_and_judge(struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct judge_wanted w = {
	    .verdict = p->verdict, .way = doctor_way(&p->shape), .open = p->open};

	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	judge_refusal(j, d->now, &w);
	return 0;
}

int
doctor_run_address(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct err why = {0};
	int rc;

	if (!is_admitted(d, j))
		return 0;
	/* Of TEST-NET-1 (RFC 5737): nobody's address. */
	if (doctor_key_bind(&d->key, "192.0.2.1", &why) == -1) {
		skip_change(j, &why);
		return 0;
	}
	rc = send_and_judge(d, p, j, e);
	if (doctor_key_bind(&d->key, NULL, &why) == -1)
		skip_change(j, &why);
	return rc;
}

/* Use the limit up, and the request after that. */
static int
use_up(struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	int admitted, told = 0;
	long left = -1;
	struct judge_wanted w = {
	    .verdict = p->verdict, .way = doctor_way(&p->shape), .open = p->open};

	for (admitted = 0; admitted <= DOCTOR_LIMIT_UNITS; admitted++) {
		if (doctor_send(d, p, &p->shape, d->now, e) == -1)
			return -1;
		if (d->now->kind != ANSWER_GOT || d->now->status >= 400)
			break;
		if ((told = judge_ratelimit(j, d->now)) == -1)
			return 0;
		left = judge_remaining(d->now);
	}
	judge_refusal(j, d->now, &w);
	if (j->result != JUDGE_PASS)
		return 0;
	if (admitted < DOCTOR_LIMIT_UNITS)
		judge_fail(j, CAUSE_COUNTED_TWICE, "429 after %d of %d requests", admitted,
		    DOCTOR_LIMIT_UNITS);
	else if (told == 0 && !d->ratelimit_off)
		judge_fail(j, CAUSE_RATELIMIT_LOST,
		    "429 when it should be, but no RateLimit on the successes before");
	else
		judge_pass(j, "%d successes (%ld left), then 429 rate_limited", admitted, left);
	return 0;
}

int
doctor_run_limits(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct err why = {0};
	int rc = 0;

	if (!is_admitted(d, j))
		return 0;
	if (doctor_key_limit(&d->key, &why) == -1)
		skip_change(j, &why);
	else
		rc = use_up(d, p, j, e);
	/* What cannot be undone now is tried again, and told, at the end. */
	if (doctor_key_unlimit(&d->key, &why) == -1 && rc == 0)
		return 0;
	return rc;
}

int
doctor_run_revoked(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct err why = {0};

	if (doctor_key_revoke(&d->key, &why) == -1) {
		skip_change(j, &why);
		return 0;
	}
	return send_and_judge(d, p, j, e);
}
