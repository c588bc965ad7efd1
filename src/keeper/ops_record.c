/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A key's record as the JSON that admins see, and the JSON that they send put into a record.
 *
 * Shared by the operations on keys; it stores nothing.  What may stand in a field is keyrec_check's
 * business: here is only which member is which field, and of what type.
 *
 * Invariants: no digest is ever a member; a record that has come from a request has passed
 * keyrec_check; an error names the member.
 */

#include <stddef.h>

#include "keeper/ops_call.h"

#include "base/clock.h"

/* ---- record -> JSON ---- */

void
ops_add_text(cJSON *o, const char *name, struct span s)
{
	if (s.len == 0)
		cJSON_AddNullToObject(o, name);
	else
		json_add_span(o, name, s);
}

static void
add_list(cJSON *o, const char *name, const struct span *items, size_t n)
{
	cJSON *list = cJSON_AddArrayToObject(o, name);
	char text[KEYREC_PATTERN_MAX + 1];

	for (size_t i = 0; i < n; i++) {
		if (span_copy(text, sizeof(text), items[i]) == 0)
			cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
}

static void
add_nets(cJSON *o, const struct keyrec *rec)
{
	cJSON *list = cJSON_AddArrayToObject(o, "allow_ips");
	char text[NETADDR_TEXT_MAX];
	struct netaddr_net net;

	for (size_t i = 0; i < rec->nnets; i++) {
		keyrec_net(rec, i, &net);
		netaddr_net_format(&net, text);
		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
}

static void
add_meta(cJSON *o, struct span meta)
{
	cJSON *parsed = meta.len > 0 ? json_parse_object(meta, NULL) : NULL;

	if (parsed == NULL)
		cJSON_AddObjectToObject(o, "meta");
	else
		cJSON_AddItemToObject(o, "meta", parsed);
}

static void
add_exposure(cJSON *o, const struct keyrec *rec)
{
	cJSON *ways;

	json_add_time(o, "exposed", rec->exposed_us);
	ways = cJSON_AddArrayToObject(o, "exposed_ways");
	for (unsigned way = 1; way <= KEYREC_EXPOSED_WAYS; way <<= 1)
		if ((rec->exposed_ways & way) != 0)
			cJSON_AddItemToArray(
			    ways, cJSON_CreateString(keyrec_way_name((uint8_t)way)));
	ops_add_text(o, "exposed_from", rec->exposed_addr);
}

void
ops_record_json(const struct keyrec *rec, int64_t now_us, cJSON *o)
{
	json_add_span(o, "id", span_of(rec->id));
	ops_add_text(o, "start", rec->start);
	cJSON_AddStringToObject(o, "env", token_env_name(rec->env));
	ops_add_text(o, "owner", rec->owner);
	ops_add_text(o, "member", rec->member);
	ops_add_text(o, "name", rec->name);
	ops_add_text(o, "plan", rec->plan);
	add_list(o, "scopes", rec->scopes, rec->nscopes);
	add_nets(o, rec);
	add_list(o, "referrers", rec->referrers, rec->nreferrers);
	add_list(o, "apps", rec->apps, rec->napps);
	add_list(o, "methods", rec->methods, rec->nmethods);
	cJSON_AddStringToObject(o, "browsers", keyrec_browsers_name(rec->browsers));
	add_meta(o, rec->meta);
	cJSON_AddStringToObject(o, "state", keyrec_state_at(rec, now_us));
	json_add_time(o, "created", rec->created_us);
	json_add_time(o, "changed", rec->changed_us);
	json_add_time(o, "not_before", rec->not_before_us);
	json_add_time(o, "expires", rec->expires_us);
	json_add_time(o, "revoked", rec->revoked_us);
	ops_add_text(o, "reason", rec->reason);
	cJSON_AddNumberToObject(o, "pepper", rec->pepper);
	cJSON_AddBoolToObject(o, "imported", rec->digest_of == KEYREC_OF_SHA256);
	add_exposure(o, rec);
}

static size_t
list_bytes(const struct span *items, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += 3 + 2 * items[i].len;
	return sum;
}

size_t
ops_record_bytes(const struct keyrec *rec)
{
	/* Texts are printable: at worst every byte gets a backslash.  Fixed members and names are
	 * below 900 bytes. */
	size_t text = rec->owner.len + rec->member.len + rec->name.len + rec->plan.len +
		      rec->reason.len + rec->meta.len + rec->exposed_addr.len + rec->start.len +
		      rec->previous_start.len;

	return 900 + 2 * text + rec->nnets * 48 + list_bytes(rec->scopes, rec->nscopes) +
	       list_bytes(rec->referrers, rec->nreferrers) + list_bytes(rec->apps, rec->napps) +
	       list_bytes(rec->methods, rec->nmethods);
}

/* ---- JSON -> record ---- */

static const struct text_member {
	const char *name;
	size_t offset;
} texts[] = {
    {"owner", offsetof(struct keyrec, owner)},
    {"member", offsetof(struct keyrec, member)},
    {"name", offsetof(struct keyrec, name)},
    {"plan", offsetof(struct keyrec, plan)},
};

static const struct time_member {
	const char *name;
	size_t offset;
} times[] = {
    {"not_before", offsetof(struct keyrec, not_before_us)},
    {"expires", offsetof(struct keyrec, expires_us)},
};

static const struct list_member {
	const char *name;
	size_t offset, count_offset, max;
} lists[] = {
    {"scopes", offsetof(struct keyrec, scopes), offsetof(struct keyrec, nscopes), SCOPE_COUNT_MAX},
    {"referrers", offsetof(struct keyrec, referrers), offsetof(struct keyrec, nreferrers),
	KEYREC_LIST_MAX},
    {"apps", offsetof(struct keyrec, apps), offsetof(struct keyrec, napps), KEYREC_LIST_MAX},
    {"methods", offsetof(struct keyrec, methods), offsetof(struct keyrec, nmethods),
	KEYREC_METHODS_MAX},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int
given(const struct ops_call *c, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(c->request, name) != NULL;
}

static int
apply_texts(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	int n = 0;

	for (size_t i = 0; i < COUNT(texts); i++) {
		const char *s;

		if (!given(c, texts[i].name))
			continue;
		s = json_str(c->request, texts[i].name, e);
		if (e->code != ERR_NONE)
			return -1;
		*(struct span *)(void *)((char *)rec + texts[i].offset) = span_of(s);
		n++;
	}
	return n;
}

static int
apply_times(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	int n = 0;

	for (size_t i = 0; i < COUNT(times); i++) {
		int64_t us = 0;
		const char *s;

		if (!given(c, times[i].name))
			continue;
		s = json_str(c->request, times[i].name, e);
		if (e->code != ERR_NONE)
			return -1;
		if (s != NULL && (clock_rfc3339_parse(s, &us) != 0 || us <= 0))
			return err_set(e, ERR_INPUT,
			    "\"%s\" must be a time such as \"2027-01-31T12:00:00Z\", or null",
			    times[i].name);
		*(int64_t *)(void *)((char *)rec + times[i].offset) = us;
		n++;
	}
	if (rec->expires_us != 0 && rec->not_before_us >= rec->expires_us)
		return err_set(e, ERR_INPUT, "\"expires\" must be later than \"not_before\"");
	return n;
}

/* A string of a list, or NULL and ${e}. */
static const char *
list_item(const cJSON *item, const char *name, struct err *e)
{
	if (cJSON_IsString(item))
		return item->valuestring;
	err_set(e, ERR_INPUT, "\"%s\" must be an array of strings", name);
	return NULL;
}

static int
apply_list(const struct ops_call *c, const struct list_member *l, struct keyrec *rec, struct err *e)
{
	struct span *to = (struct span *)(void *)((char *)rec + l->offset);
	size_t *count = (size_t *)(void *)((char *)rec + l->count_offset);
	const cJSON *array = json_array(c->request, l->name, e), *item;

	if (e->code != ERR_NONE)
		return -1;
	*count = 0;
	cJSON_ArrayForEach(item, array)
	{
		const char *s = list_item(item, l->name, e);

		if (s == NULL)
			return -1;
		if (*count == l->max)
			return err_set(
			    e, ERR_INPUT, "\"%s\" has more than %zu items", l->name, l->max);
		to[(*count)++] = span_of(s);
	}
	return 1;
}

static int
apply_lists(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	int n = 0;

	for (size_t i = 0; i < COUNT(lists); i++) {
		if (!given(c, lists[i].name))
			continue;
		if (apply_list(c, &lists[i], rec, e) < 0)
			return -1;
		n++;
	}
	return n;
}

static int
apply_nets(const struct ops_call *c, struct ops_draft *d, struct err *e)
{
	const cJSON *array, *item;
	struct netaddr_net net;

	if (!given(c, "allow_ips"))
		return 0;
	array = json_array(c->request, "allow_ips", e);
	if (e->code != ERR_NONE)
		return -1;
	d->rec.nnets = 0;
	d->rec.nets = d->nets;
	cJSON_ArrayForEach(item, array)
	{
		const char *s = list_item(item, "allow_ips", e);

		if (s == NULL)
			return -1;
		if (netaddr_net_parse(span_of(s), &net) != 0)
			return err_set(e, ERR_INPUT,
			    "\"allow_ips\": item %zu is not an address or a network such as "
			    "10.0.0.0/8 (host bits zero)",
			    d->rec.nnets + 1);
		if (keyrec_net_add(&d->rec, d->nets, &net) != 0)
			return err_set(
			    e, ERR_INPUT, "\"allow_ips\" has more than %d items", KEYREC_NETS_MAX);
	}
	return 1;
}

static int
apply_meta(const struct ops_call *c, struct ops_draft *d, struct err *e)
{
	const cJSON *meta, *item;
	size_t len;

	if (!given(c, "meta"))
		return 0;
	meta = json_object(c->request, "meta", e);
	if (e->code != ERR_NONE)
		return -1;
	cJSON_ArrayForEach(item, meta)
	{
		if (!cJSON_IsString(item))
			return err_set(e, ERR_INPUT,
			    "\"meta\": the value of \"%.64s\" must be a string", item->string);
	}
	d->rec.meta = (struct span){NULL, 0};
	if (meta == NULL || meta->child == NULL)
		return 1;
	if ((len = json_print(meta, d->meta, sizeof(d->meta))) == 0)
		return err_set(e, ERR_INPUT, "\"meta\" is larger than %d bytes", KEYREC_META_MAX);
	d->rec.meta = (struct span){d->meta, len};
	return 1;
}

static int
apply_browsers(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	const char *s = json_str(c->request, "browsers", e);
	int browsers;

	if (e->code != ERR_NONE)
		return -1;
	if (!given(c, "browsers"))
		return 0;
	if ((browsers = keyrec_browsers_parse(span_of(s != NULL ? s : "default"))) < 0)
		return err_set(e, ERR_INPUT,
		    "\"browsers\" must be \"default\", \"off\", \"flag\" or \"deny\"");
	rec->browsers = (enum keyrec_browsers)browsers;
	return 1;
}

/* A false alarm: as if the key had not been seen where it must not be. */
static int
apply_clearing(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	int clear = json_bool(c->request, "clear_exposed", 0, e);

	if (e->code != ERR_NONE)
		return -1;
	if (!clear)
		return 0;
	rec->exposed_us = 0;
	rec->exposed_ways = 0;
	rec->exposed_addr = (struct span){NULL, 0};
	return 1;
}

/* The plan of the record, or the default one, must be there: no key begins with a plan that denies
 * it. */
static int
check_plan(const struct ops_call *c, struct keyrec *rec, struct err *e)
{
	const char *from = rec->plan.len == 0 ? " (default_plan in apikeyd.conf names it)" : "";
	struct plan plan;
	int rc;

	if (rec->plan.len == 0)
		rec->plan = span_of(c->ops->config->default_plan);
	if (rec->plan.len > KEYREC_PLAN_MAX)
		return err_set(e, ERR_INPUT, "\"plan\" is longer than %d bytes", KEYREC_PLAN_MAX);
	if ((rc = store_plan_get(c->ops->store, rec->plan, &plan, e)) < 0)
		return -1;
	if (rc == 0 && !plan_builtin(rec->plan, &plan))
		return err_set(e, ERR_NOT_FOUND,
		    "there is no plan \"%.*s\"%s; make it with: apikey plan set %.*s --limit "
		    "NAME=N/WINDOW",
		    (int)rec->plan.len, rec->plan.p, from, (int)rec->plan.len, rec->plan.p);
	return 0;
}

int
ops_record_apply(struct ops_call *c, struct ops_draft *d, struct err *e)
{
	int n[7], sum = 0;

	n[0] = apply_texts(c, &d->rec, e);
	n[1] = n[0] < 0 ? -1 : apply_times(c, &d->rec, e);
	n[2] = n[1] < 0 ? -1 : apply_lists(c, &d->rec, e);
	n[3] = n[2] < 0 ? -1 : apply_nets(c, d, e);
	n[4] = n[3] < 0 ? -1 : apply_meta(c, d, e);
	n[5] = n[4] < 0 ? -1 : apply_browsers(c, &d->rec, e);
	n[6] = n[5] < 0 ? -1 : apply_clearing(c, &d->rec, e);
	if (n[6] < 0 || check_plan(c, &d->rec, e) != 0 || keyrec_check(&d->rec, e) != 0)
		return -1;
	for (size_t i = 0; i < COUNT(n); i++)
		sum += n[i];
	return sum > 0;
}

int
ops_record_store(struct ops_call *c, struct ops_draft *d, cJSON *detail, struct err *e)
{
	int rc;

	d->rec.changed_us = c->now.wall_us;
	rc = store_key_update(c->ops->store, d->digest, &d->rec, e);
	if (rc == 0)
		rc = ops_audit(c, d->rec.id, detail, e);
	cJSON_Delete(detail);
	return rc;
}
