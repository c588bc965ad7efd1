/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations that read the audit trail: list and verify.
 *
 * Run by ops.c, a page at a time: they write nothing, and the checks that wait behind a page do not
 * wait for long.  What is told in the trail is ops_trail.c's.
 *
 * Invariant: who verifies carries the chain from one page to the next; a false one only deceives
 * him himself.
 */

#include "keeper/ops_call.h"

#include "base/clock.h"
#include "base/digest.h"

#define SEQ_MAX (INT64_C(1) << 52)

/* ---- list ---- */

struct reading {
	struct ops_call *call;
	cJSON *entries;
	const char *key;
	size_t looked_at, found, max, bytes;
	uint64_t last;
};

static void
add_number(cJSON *o, const char *name, uint32_t n, uint32_t none)
{
	if (n == none)
		cJSON_AddNullToObject(o, name);
	else
		cJSON_AddNumberToObject(o, name, n);
}

static void
add_word(cJSON *o, const char *name, struct span s)
{
	if (s.len == 0)
		cJSON_AddNullToObject(o, name);
	else
		json_add_span(o, name, s);
}

static cJSON *
entry_json(const struct store_audit *a)
{
	static const char *const vias[STORE_VIAS] = {[STORE_VIA_SOCKET] = "socket",
	    [STORE_VIA_TOOL] = "tool",
	    [STORE_VIA_GATE] = "gate",
	    [STORE_VIA_KEEPER] = "keeper"};
	cJSON *o = cJSON_CreateObject(), *detail;

	cJSON_AddNumberToObject(o, "seq", (double)a->seq);
	if (a->damaged) {
		cJSON_AddTrueToObject(o, "damaged");
		return o;
	}
	json_add_time(o, "time", a->when_us);
	add_number(o, "uid", a->uid, UINT32_MAX);
	json_add_span(o, "actor", a->actor);
	add_word(o, "admin_key", a->admin_key);
	cJSON_AddStringToObject(o, "via", vias[a->via]);
	add_number(o, "pid", a->pid, 0);
	add_word(o, "address", a->address);
	json_add_span(o, "op", a->op);
	json_add_span(o, "subject", a->subject);
	add_word(o, "error", a->error);
	if ((detail = json_parse_object(a->detail, NULL)) == NULL)
		detail = cJSON_CreateObject();
	cJSON_AddItemToObject(o, "detail", detail);
	return o;
}

static int
read_one(void *cookie, const struct store_audit *a, struct err *e)
{
	struct reading *r = cookie;
	size_t bytes = 700 + 2 * (a->detail.len + a->actor.len + a->subject.len);

	(void)e;
	if (ops_page_full(r->call, r->looked_at) || r->found == r->max)
		return 1;
	if (r->key == NULL || span_is(a->subject, r->key)) {
		if (r->found > 0 && r->bytes + bytes > OPS_REPLY_BYTES)
			return 1;
		cJSON_AddItemToArray(r->entries, entry_json(a));
		r->bytes += bytes;
		r->found++;
	}
	r->looked_at++;
	r->last = a->seq;
	return 0;
}

/* Behind which entry the list begins. */
static int
where_from(struct ops_call *c, uint64_t *from, struct err *e)
{
	const char *since = json_str(c->request, "since", e);
	uint64_t newest = store_audit_last(c->ops->store), found = 0;
	uint64_t after = (uint64_t)json_int(c->request, "after", 0, 0, SEQ_MAX, e);
	uint64_t last = (uint64_t)json_int(c->request, "last", 0, 1, OPS_PAGE_MAX, e);
	int64_t since_us;

	if (e->code != ERR_NONE)
		return -1;
	if (since != NULL) {
		if (clock_rfc3339_parse(since, &since_us) != 0)
			return err_set(e, ERR_INPUT,
			    "\"since\" must be a time such as \"2027-01-31T12:00:00Z\"");
		if (store_audit_seek(c->ops->store, since_us, &found, e) < 0)
			return -1;
	}
	*from = after > found ? after : found;
	if (last > 0 && newest > last && *from < newest - last)
		*from = newest - last;
	return 0;
}

int
ops_audit_list(struct ops_call *c, struct err *e)
{
	struct reading r = {.call = c, .key = json_str(c->request, "key", e)};
	uint64_t from = 0;
	int rc;

	r.max = (size_t)json_int(c->request, "max", OPS_PAGE_MAX, 1, OPS_PAGE_MAX, e);
	if (e->code != ERR_NONE || where_from(c, &from, e) != 0)
		return -1;
	r.last = from;
	if ((r.entries = cJSON_AddArrayToObject(c->result, "entries")) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	rc = store_audit_walk(c->ops->store, from, read_one, &r, e);
	if (rc < 0)
		return -1;
	/* "last": where a reader who waits for more goes on. */
	cJSON_AddNumberToObject(c->result, "last", (double)r.last);
	if (rc == 1)
		cJSON_AddNumberToObject(c->result, "next", (double)r.last);
	else
		cJSON_AddNullToObject(c->result, "next");
	return 0;
}

/* ---- verify ---- */

struct finding {
	cJSON *list;
	int n;
};

static void
found(void *cookie, enum store_flaw flaw, uint64_t from, uint64_t to)
{
	static const char *const names[STORE_FLAWS] = {[STORE_FLAW_MISSING] = "missing",
	    [STORE_FLAW_CHANGED] = "changed",
	    [STORE_FLAW_REPLACED] = "replaced",
	    [STORE_FLAW_UNREADABLE] = "unreadable",
	    [STORE_FLAW_FOREIGN] = "foreign",
	    [STORE_FLAW_HEAD] = "head",
	    [STORE_FLAW_UNEXPECTED] = "unexpected"};
	struct finding *f = cookie;
	cJSON *o;

	/* As many as a page has entries, and then only some of what nobody wrote. */
	if (f->n++ >= 2 * OPS_PAGE_MAX || (o = cJSON_CreateObject()) == NULL)
		return;
	cJSON_AddNumberToObject(o, "from", (double)from);
	cJSON_AddNumberToObject(o, "to", (double)to);
	cJSON_AddStringToObject(o, "problem", names[flaw]);
	cJSON_AddItemToArray(f->list, o);
}

static int
read_hash(
    const cJSON *request, const char *name, uint8_t hash[DIGEST_LEN], int *given, struct err *e)
{
	const char *hex = json_str(request, name, e);

	*given = hex != NULL;
	if (hex == NULL)
		return e->code == ERR_NONE ? 0 : -1;
	return digest_unhex(hex, strlen(hex), hash, DIGEST_LEN) == 0
		   ? 0
		   : err_set(e, ERR_INPUT, "\"%s\" must be 64 hex digits", name);
}

static int
read_verify(const cJSON *q, struct store_chain *v, struct err *e)
{
	int expected;

	*v = (struct store_chain){0};
	v->after = (uint64_t)json_int(q, "after", 0, 0, SEQ_MAX, e);
	v->sealed = json_bool(q, "sealed", 0, e);
	v->expect = (uint64_t)json_int(q, "expect", 0, 1, SEQ_MAX, e);
	if (e->code != ERR_NONE || read_hash(q, "hash", v->hash, &v->linked, e) != 0 ||
	    read_hash(q, "expect_hash", v->expect_hash, &expected, e) != 0)
		return -1;
	return expected == (v->expect != 0)
		   ? 0
		   : err_set(e, ERR_USAGE, "\"expect\" and \"expect_hash\" need each other");
}

static void
add_hash(cJSON *o, const char *name, const uint8_t hash[DIGEST_LEN])
{
	char hex[2 * DIGEST_LEN + 1];

	digest_hex(hash, DIGEST_LEN, hex);
	cJSON_AddStringToObject(o, name, hex);
}

/* What the next page has to be asked with; null at the end. */
static void
add_next(cJSON *result, const struct store_chain *v, int more)
{
	cJSON *next;

	if (!more) {
		cJSON_AddNullToObject(result, "next");
		return;
	}
	next = cJSON_AddObjectToObject(result, "next");
	cJSON_AddNumberToObject(next, "after", (double)v->after);
	if (v->linked)
		add_hash(next, "hash", v->hash);
	cJSON_AddBoolToObject(next, "sealed", v->sealed);
}

int
ops_audit_verify(struct ops_call *c, struct err *e)
{
	struct finding f = {.n = 0};
	uint8_t hash[DIGEST_LEN];
	struct store_chain v;
	cJSON *head;
	int more;

	if (read_verify(c->request, &v, e) != 0)
		return -1;
	if ((f.list = cJSON_AddArrayToObject(c->result, "problems")) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	do
		more = store_audit_verify(c->ops->store, &v, OPS_PAGE_MIN, found, &f, e);
	while (more == 1 && !ops_page_full(c, v.looked));
	if (more < 0)
		return -1;
	cJSON_AddNumberToObject(c->result, "found", f.n);
	cJSON_AddNumberToObject(c->result, "records", (double)v.looked);
	add_next(c->result, &v, more);
	head = cJSON_AddObjectToObject(c->result, "head");
	cJSON_AddNumberToObject(head, "seq", (double)store_audit_head(c->ops->store, hash));
	add_hash(head, "hash", hash);
	return 0;
}
