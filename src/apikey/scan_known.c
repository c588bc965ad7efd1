/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the store knows of keys that were found, for `apikey scan --lookup` and `--revoke`.
 *
 * Findings wait until there are enough for one question, or for half a second, and are printed in
 * their order when the answer is there.  What was answered is remembered under the SHA-256 of the
 * key, so that one that stands in a thousand files is asked about once; the memory is bounded, and
 * when it is full it begins anew: what is asked or revoked twice is the same twice.
 *
 * Invariants: keys that wait are wiped once they were asked about; a key's id is revoked only if
 * the very secret that was found is the present one, and of an old one that still works its grace
 * is ended; without --yes nothing is revoked on a terminal before somebody has said yes, and never
 * after a signal.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/output.h"
#include "apikey/scan.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/secret.h"
#include "core/keyrec.h"

#define KEYS_MAX 200	  /* asked about at once; as many as the keeper takes */
#define FINDINGS_MAX 1000 /* that wait */
#define PATIENCE_US (CLOCK_SECOND / 2)
#define MEMORY 65536 /* answers; a power of two */
#define MEMORY_FULL (MEMORY / 4 * 3)
#define DUE_MAX 1000 /* revocations that wait for a yes */

struct remembered {
	uint8_t digest[DIGEST_LEN];
	int used;
	struct scan_answer answer;
};

struct waiting {
	struct scan_finding finding; /* owns its texts */
	uint8_t digest[DIGEST_LEN];
	size_t key; /* that it waits for; KEYS_MAX: none, it is remembered */
	struct scan_answer answer;
};

struct due {
	int old; /* the old secret of the key alone */
	char id[TOKEN_ID_LEN + 1];
	char reason[KEYREC_REASON_MAX + 1];
};

struct scan_known {
	struct scan *scan;
	int revoke, sure, asked;
	int64_t since_us; /* the oldest finding waits since then */
	size_t nkeys, nwaiting, nmemory, ndue;
	char keys[KEYS_MAX][TOKEN_MAX + 1];
	uint8_t digests[KEYS_MAX][DIGEST_LEN];
	struct scan_answer answers[KEYS_MAX];
	struct waiting waiting[FINDINGS_MAX];
	struct due due[DUE_MAX];
	struct remembered memory[MEMORY];
};

struct scan_known *
scan_known_new(struct scan *s, int revoke, int sure, struct err *e)
{
	struct scan_known *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	k->scan = s;
	k->revoke = revoke;
	/* Nobody is there to be asked where standard error is no terminal. */
	k->sure = sure || !isatty(STDERR_FILENO);
	return k;
}

static void
release(struct waiting *w)
{
	/* The finding owns them: scan_known_add has copied them. */
	free((char *)(uintptr_t)w->finding.file);
	free((char *)(uintptr_t)w->finding.origin.commit);
	free((char *)(uintptr_t)w->finding.origin.path);
	memset(w, 0, sizeof(*w));
}

void
scan_known_free(struct scan_known **kp)
{
	struct scan_known *k = *kp;
	size_t i;

	*kp = NULL;
	if (k == NULL)
		return;
	for (i = 0; i < k->nwaiting; i++)
		release(&k->waiting[i]);
	secret_wipe(k, sizeof(*k));
	free(k);
}

static void
fail(struct scan_known *k, const struct err *why)
{
	if (k->scan->error.code == ERR_NONE)
		k->scan->error = *why;
	k->scan->stop = 1;
}

/* ---- memory ---- */

/* The place of a digest: where it is, or where it would be.  Digests are as good as random. */
static struct remembered *
place_of(struct scan_known *k, const uint8_t digest[DIGEST_LEN])
{
	size_t i;

	memcpy(&i, digest, sizeof(i));
	for (i %= MEMORY; k->memory[i].used; i = (i + 1) % MEMORY) {
		if (memcmp(k->memory[i].digest, digest, DIGEST_LEN) == 0)
			break;
	}
	return &k->memory[i];
}

static void
remember(struct scan_known *k, const uint8_t digest[DIGEST_LEN], const struct scan_answer *a)
{
	struct remembered *m;

	if (k->nmemory == MEMORY_FULL) {
		memset(k->memory, 0, sizeof(k->memory));
		k->nmemory = 0;
	}
	m = place_of(k, digest);
	k->nmemory += !m->used;
	m->used = 1;
	m->answer = *a;
	memcpy(m->digest, digest, DIGEST_LEN);
}

/* ---- revoking ---- */

static int
is_old(const struct scan_answer *a)
{
	return strcmp(a->state, "replaced") == 0;
}

/* May it be used, or made usable by a word? */
static int
can_be_revoked(const struct scan_answer *a)
{
	if (a->asked != SCAN_KNOWN)
		return 0;
	if (is_old(a))
		return a->until[0] != '\0';
	return strcmp(a->state, "revoked") != 0 && strcmp(a->state, "expired") != 0;
}

static void
print_revoked(struct scan_known *k, const struct due *d)
{
	cJSON *o;
	struct err e = {0};

	scan_clear(k->scan);
	if (!k->scan->tool->json) {
		printf("%s is now %s (%s)\n", d->id, d->old ? "without its old secret" : "revoked",
		    d->reason);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "id", d->id);
	cJSON_AddStringToObject(o, "state", d->old ? "replaced" : "revoked");
	cJSON_AddBoolToObject(o, "revoked_now", 1);
	cJSON_AddStringToObject(o, "reason", d->reason);
	if (output_json_stream(stdout, o, &e) == -1)
		fail(k, &e);
	cJSON_Delete(o);
}

static void
revoke_one(struct scan_known *k, const struct due *d)
{
	cJSON *request = cJSON_CreateObject(), *record;
	struct err e = {0};

	cJSON_AddStringToObject(request, "id", d->id);
	cJSON_AddStringToObject(request, "reason", d->reason);
	record =
	    tool_change(k->scan->tool, d->old ? "key.end_old_secret" : "key.revoke", request, &e);
	cJSON_Delete(request);
	if (record != NULL) {
		k->scan->counts.revoked++;
		print_revoked(k, d);
	} else {
		(void)err_wrap(&e, "%s is not revoked", d->id);
		/* Others can be, if it is that one which cannot. */
		if (tool_exit_of(e.code) == TOOL_REFUSED)
			scan_note(k->scan, d->id, e.msg);
		else
			fail(k, &e);
	}
	cJSON_Delete(record);
}

/* Somebody at the terminal, even if standard input is what was searched: 1 yes, 0. */
static int
ask(struct scan_known *k)
{
	FILE *in = isatty(STDIN_FILENO) ? stdin : fopen("/dev/tty", "re");
	char line[32];
	int yes;

	scan_clear(k->scan);
	(void)fflush(stdout);
	fprintf(stderr, "Revoke %s%zu key%s? Revocation is final. [y/N] ",
	    k->ndue == DUE_MAX ? "these and all others that will be found, " : "", k->ndue,
	    k->ndue == 1 ? "" : "s");
	yes = in != NULL && fgets(line, sizeof(line), in) != NULL &&
	      (line[0] == 'y' || line[0] == 'Y');
	if (in != NULL && in != stdin)
		(void)fclose(in);
	return yes && scan_signal() == 0;
}

static void
revoke_due(struct scan_known *k)
{
	size_t i;

	if (k->ndue == 0)
		return;
	if (!k->sure && scan_signal() == 0) {
		if (ask(k))
			k->sure = 1;
		else
			k->revoke = 0;
	}
	for (i = 0; i < k->ndue && k->sure && scan_signal() == 0 && k->scan->error.code == ERR_NONE;
	     i++)
		revoke_one(k, &k->due[i]);
	if (i < k->ndue)
		fprintf(stderr, "apikey: scan: %zu known key%s not revoked\n", k->ndue - i,
		    k->ndue - i == 1 ? " was" : "s were");
	k->ndue = 0;
}

/* The place as it is kept with the key and in the audit trail. */
static void
write_reason(const struct scan_finding *f, char out[KEYREC_REASON_MAX + 1])
{
	static const char said[] = "found by apikey scan in ";
	/* Less than what is left by far, so that the place fits behind it. */
	char shown[KEYREC_REASON_MAX - sizeof(said) - 80];
	const struct scan_origin *o = &f->origin;

	if (o->kind != SCAN_NO_LINE && o->path[0] != '\0') {
		scan_shown(o->path, shown, sizeof(shown));
		(void)snprintf(out, KEYREC_REASON_MAX + 1, "%s%s%.*s%s%s:%llu", said,
		    o->commit[0] != '\0' ? "commit " : "", 12, o->commit,
		    o->commit[0] != '\0' ? ", " : "", shown, (unsigned long long)o->line);
		return;
	}
	scan_shown(
	    strcmp(f->file, SCAN_STDIN) == 0 ? "standard input" : f->file, shown, sizeof(shown));
	if (f->line == 0)
		(void)snprintf(out, KEYREC_REASON_MAX + 1, "%sthe name of %s", said, shown);
	else
		(void)snprintf(out, KEYREC_REASON_MAX + 1, "%s%s:%llu", said, shown,
		    (unsigned long long)f->line);
}

static void
make_due(struct scan_known *k, const struct scan_finding *f, const struct scan_answer *a)
{
	struct due *d;

	if (!k->revoke || !can_be_revoked(a))
		return;
	if (k->ndue == DUE_MAX)
		revoke_due(k);
	d = &k->due[k->ndue++];
	d->old = is_old(a);
	memcpy(d->id, a->id, sizeof(d->id));
	write_reason(f, d->reason);
}

/* ---- asking ---- */

static int
read_answer(const cJSON *o, struct scan_answer *a)
{
	const char *id = json_str(o, "id", NULL), *state = json_str(o, "state", NULL),
		   *until = json_str(o, "until", NULL);

	memset(a, 0, sizeof(*a));
	if (cJSON_IsNull(o)) {
		a->asked = SCAN_UNKNOWN;
		return 0;
	}
	a->asked = SCAN_KNOWN;
	if (!token_id_ok(span_of(id)) || span_copy(a->id, sizeof(a->id), span_of(id)) == -1 ||
	    span_copy(a->state, sizeof(a->state), span_of(state)) == -1 ||
	    span_copy(a->until, sizeof(a->until), span_of(until)) == -1)
		return -1;
	return 0;
}

static cJSON *
make_request(const struct scan_known *k, size_t from)
{
	cJSON *request = cJSON_CreateObject(), *keys = cJSON_AddArrayToObject(request, "keys");
	size_t i;

	for (i = from; i < k->nkeys; i++)
		cJSON_AddItemToArray(keys, cJSON_CreateString(k->keys[i]));
	if ((size_t)cJSON_GetArraySize(keys) == k->nkeys - from &&
	    cJSON_AddStringToObject(request, "op", "key.lookup") != NULL)
		return request;
	cJSON_Delete(request);
	return NULL;
}

/* The answers to the first of the keys from ${from} on: how many, or 0 and ${e}. */
static size_t
look_up_some(struct scan_known *k, size_t from, struct err *e)
{
	cJSON *request = make_request(k, from), *result;
	const cJSON *item;
	size_t n = 0;

	if (request == NULL) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return 0;
	}
	result = session_call(k->scan->tool->session, SESSION_READS, request, e);
	cJSON_Delete(request);
	if (result == NULL)
		return 0;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "keys"))
	{
		if (from + n == k->nkeys || read_answer(item, &k->answers[from + n]) == -1) {
			n = 0;
			break;
		}
		n++;
	}
	cJSON_Delete(result);
	if (n == 0)
		(void)err_set(e, ERR_INTERNAL, "the keeper's answer is not to what was asked");
	return n;
}

/* The answer to each of the keys that wait.  0 or -1. */
static int
look_up(struct scan_known *k, struct err *e)
{
	size_t from = 0, n = 1;

	for (; from < k->nkeys && n > 0; from += n)
		n = look_up_some(k, from, e);
	/* What follows is printed, and who reads it may take his time: others want the store. */
	session_rest(k->scan->tool->session);
	return n > 0 ? 0 : -1;
}

static void
count(struct scan_counts *c, const struct scan_answer *a)
{
	if (a->asked != SCAN_KNOWN)
		return;
	c->known++;
	c->live += strcmp(a->state, "active") == 0 || a->until[0] != '\0';
}

/* What was answered goes to whoever waits for it, in order. */
static void
deliver(struct scan_known *k, int failed)
{
	const struct scan_answer none = {.asked = SCAN_FAILED};
	uint8_t due[KEYS_MAX] = {0};
	size_t i;

	for (i = 0; i < k->nkeys && !failed; i++) {
		remember(k, k->digests[i], &k->answers[i]);
		count(&k->scan->counts, &k->answers[i]);
	}
	for (i = 0; i < k->nwaiting; i++) {
		struct waiting *w = &k->waiting[i];

		if (w->key == KEYS_MAX) {
			scan_print(k->scan, &w->finding, &w->answer);
			continue;
		}
		scan_print(k->scan, &w->finding, failed ? &none : &k->answers[w->key]);
		if (!failed && !due[w->key])
			make_due(k, &w->finding, &k->answers[w->key]);
		due[w->key] = 1;
	}
}

void
scan_known_flush(struct scan_known *k, int all)
{
	struct err e = {0};
	int failed;
	size_t i;

	if (k->nwaiting == 0 || (!all && clock_mono_us() - k->since_us < PATIENCE_US))
		return;
	failed = k->nkeys > 0 && (k->scan->error.code != ERR_NONE || look_up(k, &e) == -1);
	deliver(k, failed);
	for (i = 0; i < k->nwaiting; i++)
		release(&k->waiting[i]);
	secret_wipe(k->keys, sizeof(k->keys));
	k->nwaiting = k->nkeys = 0;
	if (e.code != ERR_NONE)
		fail(k, &e);
	if (k->sure)
		revoke_due(k);
}

int
scan_known_patience_ms(const struct scan_known *k)
{
	int64_t left_us = k->since_us + PATIENCE_US - clock_mono_us();

	if (k->nwaiting == 0)
		return -1;
	return left_us > 0 ? (int)(left_us / 1000) + 1 : 0;
}

/* Which of the keys that wait it is, a new one maybe; there is room. */
static size_t
key_of(struct scan_known *k, const uint8_t digest[DIGEST_LEN], struct span key)
{
	size_t i;

	for (i = 0; i < k->nkeys; i++) {
		if (memcmp(k->digests[i], digest, DIGEST_LEN) == 0)
			return i;
	}
	memcpy(k->digests[i], digest, DIGEST_LEN);
	memset(k->keys[i], 0, sizeof(k->keys[i]));
	memcpy(k->keys[i], key.p, key.len);
	k->nkeys++;
	return i;
}

static char *
copy_or_null(const char *s)
{
	return s == NULL ? NULL : strdup(s);
}

void
scan_known_add(struct scan_known *k, const struct scan_finding *f, struct span key)
{
	const struct remembered *m;
	struct waiting *w;
	struct err e = {0};

	if (k->nwaiting == FINDINGS_MAX || k->nkeys == KEYS_MAX)
		scan_known_flush(k, 1);
	if (k->nwaiting == 0)
		k->since_us = clock_mono_us();
	w = &k->waiting[k->nwaiting];
	w->finding = *f;
	w->finding.file = copy_or_null(f->file);
	w->finding.origin.commit = copy_or_null(f->origin.commit);
	w->finding.origin.path = copy_or_null(f->origin.path);
	k->nwaiting++;
	if (w->finding.file == NULL || (f->origin.path != NULL && w->finding.origin.path == NULL) ||
	    (f->origin.commit != NULL && w->finding.origin.commit == NULL))
		(void)err_set(&e, ERR_SYSTEM, "out of memory");
	else if (digest_sha256(key.p, key.len, w->digest, &e) == 0) {
		m = place_of(k, w->digest);
		w->key = m->used ? KEYS_MAX : key_of(k, w->digest, key);
		w->answer = m->answer;
		return;
	}
	release(w);
	k->nwaiting--;
	fail(k, &e);
}

void
scan_known_end(struct scan_known *k)
{
	scan_known_flush(k, 1);
	revoke_due(k);
}
