/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The admin operations: the table of them, and the one way each is run: may this peer, which
 * operation, does it know these members, is there space, in a batch when it writes, then the reply.
 *
 * Run by the keeper's loop and by the tool when it works alone.  What the operations do is in
 * ops_*.c.
 *
 * Invariants: nothing of a request is looked at before the peer is known to be allowed to ask; a
 * change and its audit record are in the same batch; an operation that fails has changed nothing; a
 * reply is always a complete JSON object (what memory was missing for is not left out: the
 * operation fails); no message quotes a value that could be a key.
 */

#include "keeper/ops.h"
#include "keeper/ops_call.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/token.h"
#include "keeper/trail.h"

#define MEMBERS(...)                                                                               \
	(const char *const[])                                                                      \
	{                                                                                          \
		"op", __VA_ARGS__ NULL                                                             \
	}
static const struct ops_op table[] = {
    {"ping", OPS_UNPEPPERED, ops_misc_ping, MEMBERS()},
    {"key.create", OPS_WRITES, ops_key_create, MEMBERS("env", "digest", "start", OPS_KEY_MEMBERS)},
    {"key.import", OPS_WRITES, ops_import, MEMBERS("keys", "skip_existing", "dry_run", )},
    {"key.list", 0, ops_look_list, MEMBERS(OPS_FILTER "max", )},
    {"key.show", 0, ops_look_show, MEMBERS("id", )},
    {"key.set", OPS_WRITES, ops_key_set, MEMBERS("id", "clear_exposed", OPS_KEY_MEMBERS)},
    {"key.disable", OPS_WRITES | OPS_URGENT, ops_key_disable, MEMBERS("id", )},
    {"key.enable", OPS_WRITES, ops_key_enable, MEMBERS("id", )},
    {"key.rotate", OPS_WRITES, ops_life_rotate, MEMBERS("id", "grace", )},
    {"key.end_old_secret", OPS_WRITES | OPS_URGENT, ops_life_end_old_secret,
	MEMBERS("id", "reason", )},
    {"key.disable_unused", OPS_WRITES, ops_sweep_disable, MEMBERS(OPS_FILTER "dry_run", )},
    {"key.purge", OPS_WRITES, ops_sweep_purge, MEMBERS("older_than", "dry_run", "after", )},
    {"key.revoke", OPS_WRITES | OPS_URGENT, ops_key_revoke, MEMBERS("id", "reason", )},
    {"key.check", OPS_KEYS, ops_look_check,
	MEMBERS(
	    "key", "id", "uri", "method", "ip", "scopes", "cost", "referrer", "app", "browser", )},
    {"key.lookup", OPS_KEYS, ops_lookup, MEMBERS("keys", )},
    {"owner.list", 0, ops_owner_list, MEMBERS("disabled", "after", "max", )},
    {"owner.show", 0, ops_owner_show, MEMBERS("owner", "after", )},
    {"owner.disable", OPS_WRITES | OPS_URGENT, ops_owner_disable, MEMBERS("owner", "reason", )},
    {"owner.enable", OPS_WRITES, ops_owner_enable, MEMBERS("owner", )},
    {"plan.set", OPS_WRITES, ops_plan_set,
	MEMBERS(
	    "name", "per", "dry_run", "limits", "rename", "scopes", "max_age", "max_age_deny", )},
    {"plan.list", 0, ops_plan_list, MEMBERS("after", )},
    {"plan.show", 0, ops_plan_show, MEMBERS("name", )},
    {"plan.remove", OPS_WRITES, ops_plan_remove, MEMBERS("name", )},
    {"pepper.list", OPS_UNPEPPERED, ops_pepper_list, MEMBERS()},
    {"pepper.reload", OPS_WRITES, ops_pepper_reload, MEMBERS()},
    {"pepper.retire", OPS_WRITES | OPS_UNPEPPERED, ops_pepper_retire,
	MEMBERS("version", "force", )},
    {"audit.list", 0, ops_audit_list, MEMBERS("key", "since", "last", "after", "max", )},
    {"audit.verify", 0, ops_audit_verify,
	MEMBERS("after", "hash", "sealed", "expect", "expect_hash", )},
    {"db.stat", 0, ops_db_stat, MEMBERS()},
    {"db.hold", 0, ops_db_hold, MEMBERS("seconds", )},
    {"db.compact", 0, ops_db_compact, MEMBERS("next", )},
};

static const struct ops_op *
find_op(const char *name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	}
	return NULL;
}

const char *
ops_need(const struct ops_call *c, const char *member, struct err *e)
{
	const char *s = json_str(c->request, member, e);

	if (s != NULL && s[0] != '\0')
		return s;
	if (e->code == ERR_NONE)
		err_set(e, ERR_USAGE, "%s needs \"%s\"", c->op->name, member);
	return NULL;
}

int
ops_reason(const struct ops_call *c, struct span *reason, struct err *e)
{
	const char *text = json_str(c->request, "reason", e);

	*reason = span_of(text);
	if (text == NULL)
		return e->code == ERR_NONE ? 0 : -1;
	if (reason->len > KEYREC_REASON_MAX || (reason->len > 0 && !text_printable(*reason)))
		return err_set(e, ERR_INPUT, "\"reason\": printable text of at most %d bytes",
		    KEYREC_REASON_MAX);
	return 0;
}

int64_t
ops_seconds(int64_t us)
{
	return us / CLOCK_SECOND + (us % CLOCK_SECOND > 0);
}

void
ops_add_window(cJSON *o, int64_t window_us)
{
	char text[32];

	clock_duration_format(window_us, text, sizeof(text));
	cJSON_AddStringToObject(o, "window", text);
	cJSON_AddNumberToObject(o, "window_seconds", (double)(window_us / CLOCK_SECOND));
}

int
ops_page_full(const struct ops_call *c, size_t n)
{
	return n >= OPS_PAGE_MAX || (n >= OPS_PAGE_MIN && clock_mono_us() >= c->page_until_us);
}

/* ---- running ---- */

/* Operations add members without looking at each: here it is seen whether one is missing. */
static int
run_whole(struct ops_call *c, struct err *e)
{
	int rc = c->op->run(c, e);

	if (json_lost() == c->lost)
		return rc;
	c->undo = 0;
	return rc != 0 ? rc : err_set(e, ERR_SYSTEM, "out of memory");
}

static int
in_batch(void *cookie, struct err *e)
{
	struct ops_call *c = cookie;
	int rc = run_whole(c, e);

	return c->undo ? -1 : rc;
}

/* What follows from a committed change in memory. */
static void
committed(struct ops_call *c)
{
	struct peppers *old = *c->ops->peppers;

	/* With the number: what the log keeps elsewhere tells of a trail that was put back. */
	log_event(LOG_LVL_INFO, c->op->name, "subject", c->subject, "uid", LOG_NUM(c->peer->uid),
	    "audit", LOG_NUM(store_audit_last(c->ops->store)), NULL);
	if (c->fresh_peppers == NULL)
		return;
	*c->ops->peppers = c->fresh_peppers;
	c->fresh_peppers = NULL;
	decide_set_peppers(c->ops->decide, *c->ops->peppers);
	trail_peppers_changed(c->ops->store, c->ops->peppers);
	peppers_free(&old);
}

static int
run_write(struct ops_call *c, struct err *e)
{
	int rc;

	if (c->ops->low_space && (c->op->flags & OPS_URGENT) == 0)
		return err_set(e, ERR_FULL,
		    "the disk of the store is almost full: only disable and revoke are done; free "
		    "some space");
	rc = store_batch(c->ops->store, in_batch, c, e);
	/* Before anything is decided again, and also when it failed: it costs one read a plan. */
	decide_forget_plans(c->ops->decide);
	if (rc != 0) {
		c->changed = 0;
		peppers_free(&c->fresh_peppers);
		return c->undo ? 0 : -1;
	}
	if (c->changed)
		committed(c);
	return 0;
}

static int
run(struct ops_call *c, struct span text, struct err *e)
{
	const struct config *config = c->ops->config;
	const char *name;

	if ((name = json_str(c->request, "op", e)) == NULL)
		return e->code != ERR_NONE ? -1
					   : err_set(e, ERR_USAGE, "the request names no \"op\"");
	if ((c->op = find_op(name)) == NULL)
		return err_set(e, ERR_USAGE, "there is no operation \"%.40s\"", name);
	/* It would be stored, listed and told in the audit trail. */
	if ((c->op->flags & OPS_KEYS) == 0 && token_within(text, span_of(config->key_prefix)))
		return err_set(e, ERR_INPUT,
		    "%s: there is an API key in the request, where none belongs: name a key by its "
		    "id",
		    c->op->name);
	if (json_only(c->request, c->op->members, e) != 0) {
		e->code = ERR_USAGE;
		return err_wrap(e, "%s", c->op->name);
	}
	if (c->ops->unpeppered != NULL && (c->op->flags & OPS_UNPEPPERED) == 0) {
		*e = *c->ops->unpeppered;
		return -1;
	}
	if (c->ops->times(c->ops->cookie, &c->now) != 0)
		return err_set(e, ERR_SYSTEM, "cannot tell the time");
	if (decide_configure(c->ops->decide, config, e) != 0)
		return -1;
	return (c->op->flags & OPS_WRITES) != 0 ? run_write(c, e) : run_whole(c, e);
}

/* ---- replies ---- */

static void
write_reply(const cJSON *o, struct wbuf *reply)
{
	size_t len = json_print(o, (char *)reply->p + reply->len, reply->cap - reply->len);

	if (len == 0)
		reply->overflow = 1;
	reply->len += len;
}

void
ops_reply_error(const struct err *why, struct wbuf *reply)
{
	unsigned lost = json_lost();
	cJSON *o = cJSON_CreateObject();

	cJSON_AddFalseToObject(o, "ok");
	cJSON_AddStringToObject(o, "error", err_name(why->code));
	json_add_span(o, "message", span_of(why->msg));
	if (json_lost() == lost)
		write_reply(o, reply);
	else
		wbuf_str(
		    reply, "{\"ok\":false,\"error\":\"system\",\"message\":\"out of memory\"}");
	cJSON_Delete(o);
}

/* What is done is told: from here on no memory is needed. */
static void
reply_result(const cJSON *result, struct wbuf *reply)
{
	static const struct err too_large = {
	    ERR_INTERNAL, "the reply does not fit into a message; what was asked for is done"};
	size_t before = reply->len;

	wbuf_str(reply, "{\"ok\":true,\"result\":");
	write_reply(result, reply);
	wbuf_str(reply, "}");
	if (reply->overflow) {
		reply->overflow = 0;
		reply->len = before;
		ops_reply_error(&too_large, reply);
	}
}

void
ops_run(struct ops *ops, const struct ops_peer *peer, struct span request, struct wbuf *reply,
    int *changed)
{
	struct ops_call c = {.ops = ops,
	    .peer = peer,
	    .lost = json_lost(),
	    .page_until_us = clock_mono_us() + OPS_PAGE_US};
	struct err e = {0};
	cJSON *parsed = NULL;
	int rc = -1;

	*changed = 0;
	if (!peer->may_admin)
		err_set(&e, ERR_DENIED,
		    "uid %u may not administer keys; run this as root or as the service's user",
		    (unsigned)peer->uid);
	else if ((parsed = json_parse_object(request, &e)) != NULL &&
		 (c.result = cJSON_CreateObject()) != NULL) {
		c.request = parsed;
		rc = run(&c, request, &e);
	}
	if (rc == 0) {
		/*
		 * Also when there was nothing to be changed: somebody else's change, which this
		 * reply rests on, may be on its way to the disk.
		 */
		*changed = c.changed || (c.op->flags & OPS_WRITES) != 0;
		reply_result(c.result, reply);
	} else {
		if (e.code == ERR_NONE)
			err_set(&e, ERR_SYSTEM, "out of memory");
		ops_audit_refused(&c, &e);
		ops_reply_error(&e, reply);
	}
	cJSON_Delete(c.result);
	cJSON_Delete(parsed);
}
