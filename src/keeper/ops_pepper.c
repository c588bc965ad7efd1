/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on peppers: list, reload, retire.
 *
 * Run by ops.c.  The pepper file itself is changed by the tool, which may write to it; here it is
 * only read.  fingerprints.c has the order of what is written when.
 *
 * Invariants: of a pepper only its version is told; peppers that do not load replace nothing; a
 * pepper that keys need is retired only by force, and the newest never.
 */

#include "keeper/fingerprints.h"
#include "keeper/ops_call.h"

#define VERSIONS_MAX 256 /* told in one list: more were never in use */

static int
out_of_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, "out of memory");
}

/* ---- list ---- */

struct listing {
	struct store *store;
	const struct peppers *peppers;
	cJSON *list;
	size_t n;
};

static size_t
place_of(const struct peppers *p, uint32_t version)
{
	size_t i = 0;

	while (i < peppers_count(p) && peppers_version(p, i) != version)
		i++;
	return i;
}

static int
add_version(struct listing *l, const struct store_secrets *under, struct err *e)
{
	size_t at = place_of(l->peppers, under->pepper);
	cJSON *o = cJSON_CreateObject();

	if (cJSON_AddNumberToObject(o, "version", under->pepper) == NULL ||
	    cJSON_AddNumberToObject(o, "keys", (double)under->n[STORE_SECRET_LIVE]) == NULL ||
	    cJSON_AddNumberToObject(o, "previous", (double)under->n[STORE_SECRET_PREVIOUS]) ==
		NULL ||
	    cJSON_AddNumberToObject(o, "revoked", (double)under->n[STORE_SECRET_REVOKED]) == NULL ||
	    cJSON_AddBoolToObject(o, "newest", at == 0) == NULL ||
	    cJSON_AddBoolToObject(o, "in_use", at < peppers_count(l->peppers)) == NULL ||
	    !cJSON_AddItemToArray(l->list, o)) {
		cJSON_Delete(o);
		return out_of_memory(e);
	}
	l->n++;
	return 0;
}

/* One that is not in use any more, under which there are records. */
static int
add_unused(void *cookie, const struct store_secrets *under, struct err *e)
{
	struct listing *l = cookie;

	if (place_of(l->peppers, under->pepper) < peppers_count(l->peppers))
		return 0;
	if (l->n == VERSIONS_MAX)
		return 1;
	return add_version(l, under, e);
}

int
ops_pepper_list(struct ops_call *c, struct err *e)
{
	struct listing l = {.store = c->ops->store, .peppers = *c->ops->peppers};
	struct store_secrets under;

	if (l.peppers == NULL)
		return err_set(e, ERR_NOT_FOUND, "there is no pepper yet; run: apikey pepper add");
	cJSON_AddStringToObject(
	    c->result, "source", peppers_credential(l.peppers) ? "credential" : "file");
	if ((l.list = cJSON_AddArrayToObject(c->result, "peppers")) == NULL)
		return out_of_memory(e);
	for (size_t i = 0; i < peppers_count(l.peppers); i++) {
		if (store_secrets_get(l.store, peppers_version(l.peppers, i), &under, e) != 0 ||
		    add_version(&l, &under, e) != 0)
			return -1;
	}
	return store_secrets_walk(l.store, add_unused, &l, e) < 0 ? -1 : 0;
}

/* ---- reload ---- */

/* The file's peppers, to be used once the batch is committed. */
static int
load_fresh(struct ops_call *c, struct err *e)
{
	const char *file = c->ops->config->pepper_file;

	if ((c->fresh_peppers = peppers_load(file, e)) == NULL)
		return -1;
	return fingerprints_check(c->ops->store, c->fresh_peppers, file, e);
}

static void
add_peppers(const struct peppers *p, cJSON *o)
{
	cJSON_AddNumberToObject(o, "peppers", (double)peppers_count(p));
	cJSON_AddNumberToObject(o, "newest", peppers_version(p, 0));
}

int
ops_pepper_reload(struct ops_call *c, struct err *e)
{
	cJSON *before;
	int rc;

	if (load_fresh(c, e) != 0)
		return -1;
	if ((before = cJSON_CreateObject()) == NULL)
		return out_of_memory(e);
	if (*c->ops->peppers != NULL)
		add_peppers(*c->ops->peppers, before);
	add_peppers(c->fresh_peppers, c->result);
	rc = ops_audit_change(c, "", before, c->result, e);
	cJSON_Delete(before);
	return rc;
}

/* ---- retire ---- */

static int
may_retire(const struct ops_call *c, uint32_t version, enum fingerprints_state state,
    const struct store_secrets *under, int force, struct err *e)
{
	const struct peppers *p = *c->ops->peppers;
	uint64_t need = fingerprints_need(under, c->now.wall_us);

	if (p != NULL && peppers_count(p) > 0 && peppers_version(p, 0) == version)
		return err_set(e, ERR_CONFLICT,
		    "pepper %u is the newest, and new keys are made with it; first: apikey pepper "
		    "add",
		    (unsigned)version);
	if (state == FINGERPRINTS_UNKNOWN && need == 0 &&
	    (p == NULL || place_of(p, version) == peppers_count(p)))
		return err_set(e, ERR_NOT_FOUND,
		    "there is no pepper %u; apikey pepper list shows them", (unsigned)version);
	if (need == 0 || force || state == FINGERPRINTS_RETIRED)
		return 0;
	return err_set(e, ERR_CONFLICT,
	    "%llu keys (and %llu old secrets in their grace) still need pepper %u: they move to "
	    "the "
	    "newest when they are next used, and apikey list --pepper %u shows the keys; --force "
	    "gives them up for good",
	    (unsigned long long)under->n[STORE_SECRET_LIVE],
	    (unsigned long long)(need - under->n[STORE_SECRET_LIVE]), (unsigned)version,
	    (unsigned)version);
}

static int
retire(struct ops_call *c, uint32_t version, int force, const struct store_secrets *under,
    struct err *e)
{
	cJSON *detail;
	int rc;

	if (fingerprints_retire(c->ops->store, version, c->now.wall_us, e) != 0)
		return -1;
	/* Without a usable file there may be more to be given up before there is one. */
	if (c->ops->unpeppered == NULL && load_fresh(c, e) != 0)
		return -1;
	detail = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(detail, "version", version) == NULL ||
	    cJSON_AddBoolToObject(detail, "force", force) == NULL ||
	    cJSON_AddNumberToObject(
		detail, "lost", (double)fingerprints_need(under, c->now.wall_us)) == NULL)
		rc = out_of_memory(e);
	else
		rc = ops_audit(c, "", detail, e);
	cJSON_Delete(detail);
	return rc;
}

int
ops_pepper_retire(struct ops_call *c, struct err *e)
{
	uint32_t version = (uint32_t)json_int(c->request, "version", 0, 0, UINT32_MAX, e);
	int force = json_bool(c->request, "force", 0, e);
	enum fingerprints_state state;
	struct store_secrets under;
	const struct peppers *p;

	if (e->code != ERR_NONE)
		return -1;
	if (version == 0)
		return err_set(e, ERR_USAGE, "pepper.retire needs a \"version\" from 1 on");
	if (fingerprints_state(c->ops->store, version, &state, e) != 0 ||
	    store_secrets_get(c->ops->store, version, &under, e) != 0 ||
	    may_retire(c, version, state, &under, force, e) != 0)
		return -1;
	/* One that is retired already stays so: what is left is the tool's, in the file. */
	if (state != FINGERPRINTS_RETIRED && retire(c, version, force, &under, e) != 0)
		return -1;
	p = c->fresh_peppers != NULL ? c->fresh_peppers : *c->ops->peppers;
	cJSON_AddNumberToObject(c->result, "version", version);
	cJSON_AddNumberToObject(
	    c->result, "lost", (double)fingerprints_need(&under, c->now.wall_us));
	cJSON_AddBoolToObject(c->result, "again", state == FINGERPRINTS_RETIRED);
	if (cJSON_AddStringToObject(c->result, "source",
		p != NULL && peppers_credential(p) ? "credential" : "file") == NULL)
		return out_of_memory(e);
	return 0;
}
