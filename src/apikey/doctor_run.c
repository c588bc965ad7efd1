/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The ways in which doctor's probes without a valid key are run: send what the row says, hand the
 * answer to a judge.  Those with a key are in doctor_keyed.c.
 */

#include "apikey/doctor.h"

static struct judge_wanted
wanted(const struct doctor_probe *p)
{
	return (struct judge_wanted){.verdict = p->verdict,
	    .way = doctor_way(&p->shape),
	    .open = p->open,
	    .no_body = p->shape.method != NULL && strcmp(p->shape.method, "HEAD") == 0};
}

/* The request was sent when doctor looked around. */
int
doctor_run_no_key(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct judge_wanted w = wanted(p);

	(void)e;
	judge_refusal(j, d->no_key, &w);
	d->open = d->no_key->status < 300 && judge_verdict_of(d->no_key) == -1;
	return 0;
}

int
doctor_run_refusal(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct answer *to = p->keep == DOCTOR_KEEP_JUNK	     ? d->junk
			    : p->keep == DOCTOR_KEEP_UNKNOWN ? d->unknown_key
							     : d->now;
	struct judge_wanted w = wanted(p);

	if (doctor_send(d, p, &p->shape, to, e) == -1)
		return -1;
	judge_refusal(j, to, &w);
	if (j->result == JUDGE_PASS && to->body_taken)
		judge_pass(j, "%d %s, after the server had asked for the body", to->status,
		    verdict_info(p->verdict)->code);
	/* It is open to everybody, and that is what it should be called. */
	if (j->result == JUDGE_FAIL && j->cause == p->open && d->open)
		j->cause = CAUSE_OPEN;
	return 0;
}

int
doctor_run_alike(struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	(void)p;
	(void)e;
	if (judge_verdict_of(d->junk) != VERDICT_KEY_INVALID &&
	    judge_verdict_of(d->unknown_key) != VERDICT_KEY_INVALID)
		judge_skip(j, "neither is a refusal of apikeyd's");
	else
		judge_alike(j, d->junk, d->unknown_key);
	return 0;
}

static struct judge_known
known(const struct doctor *d)
{
	return (struct judge_known){
	    .success = d->success, .refusal = d->no_key, .elsewhere = d->elsewhere};
}

int
doctor_run_closed(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct judge_known k = known(d);

	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	judge_closed(j, d->now, &k, p->open);
	return 0;
}

/* What a path of that host gets which is surely not the mount's is no opening. */
int
doctor_run_other_host(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	static const struct doctor_shape there = {.target = "http://doctor.invalid/doctor-{mark}"};
	struct judge_known k = known(d);

	if (doctor_send(d, p, &there, d->other_host, e) == -1 ||
	    doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	k.elsewhere = d->other_host;
	judge_closed(j, d->now, &k, p->open);
	return 0;
}

int
doctor_run_http2(struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct judge_wanted w = wanted(p);

	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	if (d->now->kind == ANSWER_GOT && !d->now->http2)
		judge_skip(j, "the server speaks no HTTP/2");
	else
		judge_refusal(j, d->now, &w);
	return 0;
}

int
doctor_run_internal(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	struct span leak;

	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	leak = judge_gate_leak(d->now);
	if (leak.len == 0)
		leak = judge_identity_leak(d->now);
	if (d->now->kind != ANSWER_GOT)
		judge_pass(j, "no answer: %s", d->now->why);
	else if (leak.len > 0)
		judge_fail(j, p->open, "%d, with %.*s", d->now->status,
		    leak.len > 60 ? 60 : (int)leak.len, leak.p);
	else
		judge_pass(j, "%d, and nothing of the gate's in it", d->now->status);
	return 0;
}

int
doctor_run_plain(struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	if (doctor_send(d, p, &p->shape, d->now, e) == -1)
		return -1;
	judge_plain_http(j, d->now, d->plain ? CAUSE_PLAIN_HTTP : p->open);
	d->plain |= j->result == JUDGE_FAIL && j->cause == CAUSE_PLAIN_HTTP;
	return 0;
}

int
doctor_run_gate_leak(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	(void)p;
	(void)e;
	if (d->gate_leak[0] == '\0')
		judge_pass(j, "none");
	else
		judge_fail(j, CAUSE_GATE_LEAKS, "%s, in the answer to %s", d->gate_leak,
		    d->gate_leak_probe);
	return 0;
}

int
doctor_run_identity_leak(
    struct doctor *d, const struct doctor_probe *p, struct judgement *j, struct err *e)
{
	(void)p;
	(void)e;
	if (d->identity_leak[0] == '\0')
		judge_pass(j, "none");
	else
		judge_fail(j, CAUSE_IDENTITY_LEAKS, "%s, in the answer to %s", d->identity_leak,
		    d->identity_leak_probe);
	return 0;
}
