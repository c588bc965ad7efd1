/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the operations tell the audit trail: who asked, from where, what was before and what after;
 * and the requests that came to nothing.
 *
 * Called by ops.c and by the operations.  Reading the trail is ops_audit.c's.
 *
 * Invariants: a change is told in its own batch; of one that failed nothing is told that the sender
 * chose freely (somebody may have pasted a key); a member that is too long to keep is told by the
 * hash of what it was.
 */

#include <stdlib.h>

#include "keeper/actors.h"
#include "keeper/ops_call.h"

#include "base/digest.h"
#include "base/log.h"

#define MEMBER_MAX 512 /* bytes of a value in an entry whose detail is too long otherwise */

/* ---- who ---- */

void
ops_who(const struct ops_call *c, char *out, size_t cap)
{
	actors_name(c->peer->uid, out, cap);
}

/* Append an entry by this peer (${op}, ${subject}, ${error} and ${detail} are set). */
static int
append(struct ops *ops, const struct ops_peer *peer, struct store_audit *au, struct err *e)
{
	char actor[STORE_AUDIT_WORD_MAX + 1] = {0};

	actors_name(peer->uid, actor, sizeof(actor));
	au->uid = (uint32_t)peer->uid;
	au->pid = (uint32_t)peer->pid;
	au->via = peer->via;
	au->actor = span_of(actor);
	return store_audit_append(ops->store, au, e);
}

/* ---- what ---- */

/* Members that change with every change, or that the entry has anyway. */
static int
is_noise(const char *member)
{
	static const char *const noise[] = {
	    "id", "created", "changed", "start", "pepper", "keys", "builtin"};

	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (strcmp(member, noise[i]) == 0)
			return 1;
	return 0;
}

/* Nothing, however it is written: a member that is so on both sides has not changed. */
static int
is_nothing(const cJSON *m)
{
	return m == NULL || cJSON_IsNull(m) ||
	       ((cJSON_IsArray(m) || cJSON_IsObject(m)) && m->child == NULL);
}

static void
add_value(cJSON *to, const char *name, const cJSON *m)
{
	if (is_nothing(m))
		cJSON_AddNullToObject(to, name);
	else
		cJSON_AddItemToObject(to, name, cJSON_Duplicate(m, 1));
}

static void
add_difference(cJSON *detail, const char *member, const cJSON *before, const cJSON *after)
{
	cJSON *o;

	if (is_noise(member) || (is_nothing(before) && is_nothing(after)) ||
	    cJSON_Compare(before, after, 1))
		return;
	o = cJSON_AddObjectToObject(detail, member);
	add_value(o, "from", before);
	add_value(o, "to", after);
}

/* All that something new has, or something that goes had. */
static cJSON *
all_of(const cJSON *o)
{
	cJSON *detail = cJSON_CreateObject();
	const cJSON *m;

	cJSON_ArrayForEach(m, o)
	{
		if (!is_noise(m->string) && !is_nothing(m) && !cJSON_IsFalse(m))
			cJSON_AddItemToObject(detail, m->string, cJSON_Duplicate(m, 1));
	}
	return detail;
}

cJSON *
ops_audit_difference(const cJSON *before, const cJSON *after)
{
	cJSON *detail;
	const cJSON *m;

	if (before == NULL || after == NULL)
		return all_of(before != NULL ? before : after);
	detail = cJSON_CreateObject();
	cJSON_ArrayForEach(m, before) add_difference(
	    detail, m->string, m, cJSON_GetObjectItemCaseSensitive(after, m->string));
	cJSON_ArrayForEach(m, after)
	{
		if (cJSON_GetObjectItemCaseSensitive(before, m->string) == NULL)
			add_difference(detail, m->string, NULL, m);
	}
	return detail;
}

/* Put in place of a long value what it can be recognised by. */
static void
shorten(cJSON *parent, cJSON *m, char *text, size_t cap)
{
	size_t len = json_print(m, text, cap);
	char hex[2 * DIGEST_LEN + 1] = "";
	uint8_t digest[DIGEST_LEN];
	cJSON *o;

	if (len > 0 && len <= MEMBER_MAX)
		return;
	if (len > 0 && digest_sha256(text, len, digest, NULL) == 0)
		digest_hex(digest, sizeof(digest), hex);
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "items", cJSON_GetArraySize(m));
	cJSON_AddStringToObject(o, "sha256", hex);
	if (!cJSON_ReplaceItemInObjectCaseSensitive(parent, m->string, o))
		cJSON_Delete(o);
}

static void
shorten_all(cJSON *detail, char *text, size_t cap)
{
	cJSON *m, *next, *part, *next_part;

	for (m = detail != NULL ? detail->child : NULL; m != NULL; m = next) {
		next = m->next;
		if (!cJSON_IsObject(m)) {
			shorten(detail, m, text, cap);
			continue;
		}
		for (part = m->child; part != NULL; part = next_part) {
			next_part = part->next;
			shorten(m, part, text, cap);
		}
	}
}

/* Takes ${detail}. */
static int
tell(struct ops_call *c, const char *subject, cJSON *detail, struct err *e)
{
	struct store_audit au = {.when_us = c->now.wall_us, .op = span_of(c->op->name)};
	char *text = malloc(OPS_REPLY_BYTES);
	size_t len = 0;
	int rc = -1;

	if (text == NULL || detail == NULL ||
	    span_copy(c->subject, sizeof(c->subject), span_of(subject)) != 0) {
		err_set(e, ERR_SYSTEM, "cannot make the audit record");
		goto out;
	}
	if ((len = json_print(detail, text, STORE_AUDIT_DETAIL_MAX)) == 0) {
		shorten_all(detail, text, OPS_REPLY_BYTES);
		len = json_print(detail, text, STORE_AUDIT_DETAIL_MAX);
	}
	if (len == 0) {
		err_set(e, ERR_INTERNAL, "the audit record does not fit");
		goto out;
	}
	au.subject = span_of(c->subject);
	au.detail = (struct span){text, len};
	if (append(c->ops, c->peer, &au, e) != 0)
		goto out;
	c->changed = 1;
	rc = 0;
out:
	cJSON_Delete(detail);
	free(text);
	return rc;
}

int
ops_audit_change(
    struct ops_call *c, const char *subject, const cJSON *before, const cJSON *after, struct err *e)
{
	return tell(c, subject, ops_audit_difference(before, after), e);
}

int
ops_audit(struct ops_call *c, const char *subject, const cJSON *detail, struct err *e)
{
	return tell(c, subject, cJSON_Duplicate(detail, 1), e);
}

/* ---- what came to nothing ---- */

struct refused {
	struct ops *ops;
	const struct ops_peer *peer;
	int64_t wall_us;
	const char *op, *subject, *error;
	uint64_t n;
};

static int
tell_refused(void *cookie, struct err *e)
{
	const struct refused *r = cookie;
	char detail[64];
	struct wbuf w;
	struct store_audit au = {.when_us = r->wall_us,
	    .op = span_of(r->op),
	    .subject = span_of(r->subject),
	    .error = span_of(r->error)};

	wbuf_init(&w, detail, sizeof(detail));
	wbuf_str(&w, "{\"attempts\":");
	wbuf_dec(&w, r->n);
	wbuf_str(&w, "}");
	au.detail = wbuf_view(&w);
	return append(r->ops, r->peer, &au, e);
}

/* 0, or -1 and why is logged. */
static int
commit_refused(struct refused *r)
{
	struct err e = {0};

	if (r->ops->low_space)
		return -1;
	if (store_batch(r->ops->store, tell_refused, r, &e) == 0) {
		r->ops->wrote = 1;
		return 0;
	}
	log_event(LOG_LVL_ERROR, "audit_failed", "op", r->op, "error", e.msg, NULL);
	return -1;
}

/* The id of the request, or its plan if that is stored: nothing that could be a key. */
static const char *
known_subject(const struct ops_call *c)
{
	const char *id = json_str(c->request, "id", NULL);
	const char *name = json_str(c->request, "name", NULL);
	struct plan plan;

	if (id != NULL)
		return token_id_ok(span_of(id)) ? id : "";
	if (name != NULL && c->op != NULL && strncmp(c->op->name, "plan.", 5) == 0 &&
	    strlen(name) <= PLAN_NAME_MAX &&
	    store_plan_get(c->ops->store, span_of(name), &plan, NULL) == 1)
		return name;
	return "";
}

/* Is it the asker's doing?  What the disk or the store refused is in the log. */
static int
is_askers(const struct ops_call *c, enum err_code code)
{
	if (c->op != NULL && (c->op->flags & OPS_WRITES) == 0)
		return 0;
	return code == ERR_USAGE || code == ERR_INPUT || code == ERR_NOT_FOUND ||
	       code == ERR_CONFLICT;
}

void
ops_audit_refused(struct ops_call *c, const struct err *why)
{
	enum refusals_kind kind = c->peer->may_admin ? REFUSALS_FAILED : REFUSALS_DENIED;
	struct refused r = {.ops = c->ops, .peer = c->peer, .op = "request", .subject = ""};
	struct decide_times now;

	if (c->peer->may_admin && !is_askers(c, why->code))
		return;
	if (c->ops->times(c->ops->cookie, &now) != 0)
		return;
	r.n = refusals_add(&c->ops->refusals, (uint32_t)c->peer->uid, kind, now.steady_us);
	if (r.n == 0)
		return;
	r.wall_us = now.wall_us;
	r.error = err_name(why->code);
	if (c->peer->may_admin && c->op != NULL)
		r.op = c->op->name;
	if (c->peer->may_admin && c->request != NULL)
		r.subject = known_subject(c);
	if (commit_refused(&r) != 0)
		refusals_untold(&c->ops->refusals, (uint32_t)c->peer->uid, kind, r.n);
}

void
ops_tick(struct ops *ops, int last)
{
	struct refusals_due due;
	struct decide_times now;

	if (ops->low_space || ops->times(ops->cookie, &now) != 0)
		return;
	while (refusals_due(&ops->refusals, now.steady_us, last, &due)) {
		struct ops_peer who = {.uid = due.uid, .via = STORE_VIA_SOCKET};
		struct refused r = {.ops = ops,
		    .peer = &who,
		    .wall_us = now.wall_us,
		    .op = "request",
		    .subject = "",
		    .error = due.kind == REFUSALS_DENIED ? err_name(ERR_DENIED) : "several",
		    .n = due.n};

		if (commit_refused(&r) != 0)
			break;
	}
}
