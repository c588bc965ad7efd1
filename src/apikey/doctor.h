/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_DOCTOR_H_
#define APIKEY_DOCTOR_H_

/* What doctor knows while it probes, and the table of its probes. */

#include "apikey/answer.h"
#include "apikey/causes.h"
#include "apikey/doctor_key.h"
#include "apikey/judge.h"
#include "apikey/probe.h"

/* Whose credentials a request shows. */
enum doctor_credential {
	DOCTOR_NOBODY,
	DOCTOR_JUNK,	/* not even the form of a key */
	DOCTOR_UNKNOWN, /* form and checksum of a key that nobody made */
	DOCTOR_ANOTHER, /* another one of those */
	DOCTOR_REAL
};

/* A request, in short. */
struct doctor_shape {
	const char *method;
	enum doctor_credential bearer, bearer2; /* Authorization, and a second one */
	enum doctor_credential header, header2; /* X-API-Key, and a second one */
	int comma;				/* header and header2 in one, behind a comma */
	enum doctor_credential query;
	const char *target; /* like "//{path}"; NULL: the URL's */
	const char *lines;  /* more headers, each ends with \n; {mark} is random */
	int oversized;	    /* with a header of 20,000 bytes */
	const char *body;
	enum probe_http http;
	int plain;
};

/* When a probe makes sense. */
#define DOCTOR_NEEDS_KEY 1
#define DOCTOR_NEEDS_TEMPORARY 2 /* a key that may be changed */
#define DOCTOR_NEEDS_LIMITS 4	 /* --limits */
#define DOCTOR_NEEDS_CLOSED 8	 /* of an open mount it would tell nothing, or do harm */
#define DOCTOR_NEEDS_HTTPS 16
#define DOCTOR_NEEDS_PLAIN 32 /* known where plain HTTP would be */

enum doctor_reference { DOCTOR_FORGET, DOCTOR_KEEP_JUNK, DOCTOR_KEEP_UNKNOWN };

struct doctor;

struct doctor_probe {
	const char *name;  /* a contract with readers of --json */
	const char *about; /* what is sent, and what must come back; for the manual */
	unsigned needs;
	/* Judges; -1 with ${e} only when doctor cannot go on. */
	int (*run)(struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
	struct doctor_shape shape;
	enum verdict verdict; /* of a refusal that must come back */
	enum cause open;      /* what it is when the request is served instead */
	enum doctor_reference keep;
};

/* Row ${i}, or NULL past the last one. */
const struct doctor_probe *doctor_probe_at(size_t i);

struct doctor {
	struct prober *prober;
	struct doctor_key key;
	char no_key_why[300]; /* "": there is a key */
	int with_limits;
	int ratelimit_off; /* the configuration wants no such headers */
	enum causes_server server;
	char unknown[TOKEN_MAX + 1], another[TOKEN_MAX + 1];
	char mark[17];
	const char *query_name; /* of a parameter that may hold a key; NULL: there is none */
	int open;		/* no key was needed */
	int echoes;		/* the API shows the headers that it gets */
	int key_seen;		/* it got the key */
	int plain;		/* plain HTTP is served, whatever is claimed of it */
	/* The first header that leaked, and the probe in whose answer it was. */
	char gate_leak[64], identity_leak[64];
	const char *gate_leak_probe, *identity_leak_probe;
	const char *told[CAUSES]; /* the probe in whose report a cause was explained */
	struct answer *now;	  /* of the latest request */
	/* References; kind ANSWER_NONE until they are there. */
	struct answer *no_key, *junk, *unknown_key, *success, *elsewhere, *other_host;
};

int doctor_init(struct doctor *, const char *prefix, struct err *)
    __attribute__((warn_unused_result));
void doctor_release(struct doctor *);

/*
 * The first look: the answer to no key (d->no_key; nothing more when there is none), which server
 * it is, what a path outside of the mount gets.
 */
int doctor_look_around(struct doctor *, struct err *) __attribute__((warn_unused_result));

/* Send a request of this shape; the answer is in ${to}.  0, or -1 as prober_send. */
int doctor_send(struct doctor *, const struct doctor_probe *, const struct doctor_shape *,
    struct answer *to, struct err *) __attribute__((warn_unused_result));

/* How credentials travel in a shape. */
enum judge_way doctor_way(const struct doctor_shape *);

/* doctor_run.c: the ways to run a probe. */
int doctor_run_no_key(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_refusal(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_alike(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_closed(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_other_host(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_http2(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_internal(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_plain(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_gate_leak(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_identity_leak(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);

/* doctor_keyed.c: those with a key. */
int doctor_run_admitted(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_forged(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_identity(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_stripped(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_key_hidden(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_ratelimit(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_address(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_limits(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);
int doctor_run_revoked(
    struct doctor *, const struct doctor_probe *, struct judgement *, struct err *);

#endif /* !APIKEY_DOCTOR_H_ */
