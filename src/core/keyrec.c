/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record of a key: what must hold of it, its stored form, and what its state means at a time.
 *
 * Not here: the key itself or its digest (the store's name for the record), and whether a request
 * may pass (rules.c).  The keeper decodes one for every check, so nothing is allocated: a
 * decoded record borrows from the stored bytes.
 *
 * Record, version 2, integers big-endian:
 *     u8 version, 20 bytes id, u32 pepper, u8 digest of what, u8 environment, u8 state,
 *     u8 exposed ways, u8 browsers,
 *     u64 each: created, changed, not before, expires, revoked, exposed, secret made,
 *     previous until, previous used,
 *     str16 each: start, owner, member, name, plan, reason, metadata, exposed address,
 *     previous start,
 *     u8 1 and 32 bytes digest of the previous secret, or u8 0,
 *     u8 n, n scopes (str16); u16 n, n networks (17 bytes); u8 n, n referrers (str16);
 *     u8 n, n applications (str16); u8 n, n methods (str16).
 *
 * Invariants: decoding reads no byte that is not there, and what decodes satisfies keyrec_check,
 * so that no caller ever sees a record that could not have been stored - but for its networks, of
 * which there may be 1000: those are checked when they are stored, and each once more before it
 * lets an address in.
 */

#include <string.h>

#include "core/keyrec.h"

#include "base/text.h"
#include "core/rules.h"

#define KEYREC_VERSION 2
#define NET_LEN 17 /* address, bits */

static const char *const state_names[] = {
    [KEYREC_ACTIVE] = "active",
    [KEYREC_DISABLED] = "disabled",
    [KEYREC_REVOKED] = "revoked",
};

static const char *const now_names[] = {
    [KEYREC_NOW_REVOKED] = "revoked",
    [KEYREC_NOW_DISABLED] = "disabled",
    [KEYREC_NOW_EXPIRED] = "expired",
    [KEYREC_NOW_PENDING] = "pending",
    [KEYREC_NOW_ACTIVE] = "active",
};

static const char *const browsers_names[KEYREC_BROWSERS] = {
    [KEYREC_BROWSERS_DEFAULT] = "default",
    [KEYREC_BROWSERS_OFF] = "off",
    [KEYREC_BROWSERS_FLAG] = "flag",
    [KEYREC_BROWSERS_DENY] = "deny",
};

#define STATES (sizeof(state_names) / sizeof(state_names[0]))

int
keyrec_method_ok(struct span s)
{
	if (s.len == 0 || s.len > KEYREC_METHOD_MAX)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		if (!(s.p[i] >= 'A' && s.p[i] <= 'Z') && !(i > 0 && s.p[i] == '-'))
			return 0;
	return 1;
}

static int
is_plan_name(struct span s)
{
	return text_identifier(s, KEYREC_PLAN_MAX);
}

/* What a text field may hold. */
struct text_kind {
	int (*ok)(struct span);
	const char *rule;
};

static const struct text_kind header_text = {
    text_header_safe, "printable ASCII only, no space at either end"};
static const struct text_kind printable_text = {
    text_printable, "UTF-8 without control characters only"};
static const struct text_kind plan_name = {
    is_plan_name, "letters, digits, '_', '.' and '-' only, beginning with a letter or digit"};

/*
 * The text fields in the order of the record.  One table, so that checking, encoding and decoding
 * cannot disagree about a bound.
 */
static const struct field {
	const char *name;
	size_t offset; /* of a struct span in struct keyrec */
	size_t max;
	const struct text_kind *kind;
	int required;
} fields[] = {
    {"start", offsetof(struct keyrec, start), TOKEN_START_MAX, &header_text, 0},
    {"owner", offsetof(struct keyrec, owner), KEYREC_OWNER_MAX, &header_text, 1},
    {"member", offsetof(struct keyrec, member), KEYREC_MEMBER_MAX, &header_text, 0},
    {"name", offsetof(struct keyrec, name), KEYREC_NAME_MAX, &printable_text, 0},
    {"plan", offsetof(struct keyrec, plan), KEYREC_PLAN_MAX, &plan_name, 1},
    {"reason", offsetof(struct keyrec, reason), KEYREC_REASON_MAX, &printable_text, 0},
    {"metadata", offsetof(struct keyrec, meta), KEYREC_META_MAX, &printable_text, 0},
    {"exposed address", offsetof(struct keyrec, exposed_addr), NETADDR_TEXT_MAX - 1, &header_text,
	0},
    {"previous start", offsetof(struct keyrec, previous_start), TOKEN_START_MAX, &header_text, 0},
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* The times in the order of the record. */
static const size_t times[] = {
    offsetof(struct keyrec, created_us),
    offsetof(struct keyrec, changed_us),
    offsetof(struct keyrec, not_before_us),
    offsetof(struct keyrec, expires_us),
    offsetof(struct keyrec, revoked_us),
    offsetof(struct keyrec, exposed_us),
    offsetof(struct keyrec, secret_us),
    offsetof(struct keyrec, previous_until_us),
    offsetof(struct keyrec, previous_used_us),
};

#define TIMES (sizeof(times) / sizeof(times[0]))

/* Views of the field at an offset of either table. */
static const struct span *
text_at(const struct keyrec *k, size_t offset)
{
	return (const struct span *)(const void *)((const char *)k + offset);
}

static struct span *
text_ref(struct keyrec *k, size_t offset)
{
	return (struct span *)(void *)((char *)k + offset);
}

static int64_t
time_at(const struct keyrec *k, size_t offset)
{
	return *(const int64_t *)(const void *)((const char *)k + offset);
}

static int64_t *
time_ref(struct keyrec *k, size_t offset)
{
	return (int64_t *)(void *)((char *)k + offset);
}

void
keyrec_net(const struct keyrec *k, size_t i, struct netaddr_net *net)
{
	const uint8_t *p = k->nets + i * NET_LEN;

	memcpy(net->addr.b, p, sizeof(net->addr.b));
	net->bits = p[sizeof(net->addr.b)];
}

static void
net_write(uint8_t key[NET_LEN], const struct netaddr_net *net)
{
	memcpy(key, net->addr.b, sizeof(net->addr.b));
	key[sizeof(net->addr.b)] = net->bits;
}

/* By address, then the wider one first. */
static int
net_order(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, NET_LEN);
}

/* How many of the networks are not above ${key}. */
static size_t
nets_up_to(const struct keyrec *k, const uint8_t key[NET_LEN])
{
	size_t low = 0, high = k->nnets;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (net_order(k->nets + middle * NET_LEN, key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
keyrec_net_add(struct keyrec *k, uint8_t *mem, const struct netaddr_net *net)
{
	uint8_t key[NET_LEN];
	size_t at;

	net_write(key, net);
	k->nets = mem;
	at = nets_up_to(k, key);
	if (at > 0 && net_order(mem + (at - 1) * NET_LEN, key) == 0)
		return 0;
	if (k->nnets >= KEYREC_NETS_MAX)
		return -1;
	memmove(mem + (at + 1) * NET_LEN, mem + at * NET_LEN, (k->nnets - at) * NET_LEN);
	memcpy(mem + at * NET_LEN, key, NET_LEN);
	k->nnets++;
	return 0;
}

static int
net_ok(const struct netaddr_net *net)
{
	size_t whole = net->bits / 8;

	if (net->bits > 128)
		return 0;
	if (net->bits % 8 != 0) {
		if ((net->addr.b[whole] & (0xff >> (net->bits % 8))) != 0)
			return 0;
		whole++;
	}
	for (size_t i = whole; i < sizeof(net->addr.b); i++)
		if (net->addr.b[i] != 0)
			return 0;
	return 1;
}

/* Leading bits that two addresses share. */
static unsigned
shared_bits(const struct netaddr *a, const struct netaddr *b)
{
	unsigned i = 0, bits;
	uint8_t differ;

	while (i < sizeof(a->b) && a->b[i] == b->b[i])
		i++;
	if (i == sizeof(a->b))
		return 128;
	bits = i * 8;
	for (differ = a->b[i] ^ b->b[i]; (differ & 0x80) == 0; differ = (uint8_t)(differ << 1))
		bits++;
	return bits;
}

/*
 * Of networks that hold the address none is above the last one that is not above the address
 * itself.  When that one does not hold it, those that do lie before it, and are at most as long as
 * what it has in common with the address: look again for the address cut to that length.  Each turn
 * is shorter than the one before.
 */
int
keyrec_net_find(const struct keyrec *k, const struct netaddr *addr, struct netaddr_net *net)
{
	unsigned bits = 128, shared;

	for (;;) {
		struct netaddr_net at = {.addr = *addr, .bits = (uint8_t)bits};
		uint8_t key[NET_LEN];
		size_t n;

		netaddr_mask(&at.addr, bits);
		net_write(key, &at);
		if ((n = nets_up_to(k, key)) == 0)
			return 0;
		keyrec_net(k, n - 1, net);
		/* Looked at here and not when the record is read, which would be all of them. */
		if (net_ok(net) && netaddr_net_has(net, addr))
			return 1;
		if (bits == 0)
			return 0;
		shared = shared_bits(&net->addr, addr);
		bits = shared < bits ? shared : bits - 1;
	}
}

static int
field_check(const struct field *f, struct span s, struct err *e)
{
	if (s.len == 0 && f->required)
		return err_set(e, ERR_INPUT, "%s: must not be empty", f->name);
	if (s.len > f->max)
		return err_set(e, ERR_INPUT, "%s: at most %zu bytes", f->name, f->max);
	if (s.len > 0 && !f->kind->ok(s))
		return err_set(e, ERR_INPUT, "%s: %s", f->name, f->kind->rule);
	return 0;
}

static int
scopes_check(const struct keyrec *k, struct err *e)
{
	if (k->nscopes > SCOPE_COUNT_MAX)
		return err_set(e, ERR_INPUT, "scopes: at most %d", SCOPE_COUNT_MAX);
	for (size_t i = 0; i < k->nscopes; i++) {
		if (!scope_ok(k->scopes[i]))
			return err_set(e, ERR_INPUT,
			    "scope %zu: must be " SCOPE_FORM ", at most %d bytes", i + 1,
			    SCOPE_MAX);
		for (size_t j = 0; j < i; j++)
			if (span_eq(k->scopes[i], k->scopes[j]))
				return err_set(e, ERR_INPUT, "scope '%.*s' is given twice",
				    (int)k->scopes[i].len, k->scopes[i].p);
	}
	return 0;
}

static int
nets_check(const struct keyrec *k, struct err *e)
{
	struct netaddr_net net;

	for (size_t i = 0; i < k->nnets; i++) {
		keyrec_net(k, i, &net);
		if (!net_ok(&net))
			return err_set(e, ERR_INPUT,
			    "network %zu: at most 128 bits, and host bits zero", i + 1);
		if (i > 0 && net_order(k->nets + (i - 1) * NET_LEN, k->nets + i * NET_LEN) >= 0)
			return err_set(e, ERR_INPUT, "network %zu: not in order", i + 1);
	}
	return 0;
}

static int
restrictions_check(const struct keyrec *k, struct err *e)
{
	if (k->nnets > KEYREC_NETS_MAX)
		return err_set(e, ERR_INPUT, "networks: at most %d", KEYREC_NETS_MAX);
	if (k->nreferrers > KEYREC_LIST_MAX || k->napps > KEYREC_LIST_MAX)
		return err_set(
		    e, ERR_INPUT, "referrers, applications: at most %d of each", KEYREC_LIST_MAX);
	for (size_t i = 0; i < k->nreferrers; i++)
		if (!rules_referrer_pattern_ok(k->referrers[i]))
			return err_set(e, ERR_INPUT,
			    "referrer %zu: expected [scheme://]host[/path], e.g. "
			    "https://*.example.com/app, at most %d bytes",
			    i + 1, KEYREC_PATTERN_MAX);
	for (size_t i = 0; i < k->napps; i++)
		if (k->apps[i].len > KEYREC_PATTERN_MAX || !text_header_safe(k->apps[i]))
			return err_set(e, ERR_INPUT,
			    "application %zu: printable ASCII, no space at either end, at most %d "
			    "bytes",
			    i + 1, KEYREC_PATTERN_MAX);
	if (k->nmethods > KEYREC_METHODS_MAX)
		return err_set(e, ERR_INPUT, "methods: at most %d", KEYREC_METHODS_MAX);
	for (size_t i = 0; i < k->nmethods; i++)
		if (!keyrec_method_ok(k->methods[i]))
			return err_set(e, ERR_INPUT,
			    "method %zu: upper-case letters and '-', e.g. GET, at most %d bytes",
			    i + 1, KEYREC_METHOD_MAX);
	return 0;
}

/* All but the networks, which are many. */
static int
rest_check(const struct keyrec *k, struct err *e)
{
	if (!token_id_ok((struct span){k->id, strnlen(k->id, sizeof(k->id))}))
		return err_set(e, ERR_INPUT, "id: expected key_ and 16 letters or digits");
	if (k->pepper == 0)
		return err_set(e, ERR_INPUT, "pepper: versions begin with 1");
	if (k->env != TOKEN_LIVE && k->env != TOKEN_TEST)
		return err_set(e, ERR_INPUT, "environment: expected live or test");
	if ((unsigned)k->state >= STATES)
		return err_set(e, ERR_INPUT, "state: expected active, disabled or revoked");
	if ((unsigned)k->digest_of >= KEYREC_DIGESTS)
		return err_set(e, ERR_INPUT, "digest: of nothing that is known");
	if ((k->exposed_ways & ~KEYREC_EXPOSED_WAYS) != 0)
		return err_set(e, ERR_INPUT, "exposed: unknown way");
	if ((unsigned)k->browsers >= KEYREC_BROWSERS)
		return err_set(e, ERR_INPUT, "browsers: expected default, off, flag or deny");
	if (k->previous == NULL &&
	    (k->previous_until_us != 0 || k->previous_used_us != 0 || k->previous_start.len > 0))
		return err_set(e, ERR_INPUT, "previous secret: there is none");
	for (size_t i = 0; i < TIMES; i++)
		if (time_at(k, times[i]) < 0)
			return err_set(e, ERR_INPUT, "a time is before 1970");
	for (size_t i = 0; i < FIELDS; i++)
		if (field_check(&fields[i], *text_at(k, fields[i].offset), e) < 0)
			return -1;
	if (scopes_check(k, e) < 0)
		return -1;
	return restrictions_check(k, e);
}

int
keyrec_check(const struct keyrec *k, struct err *e)
{
	return rest_check(k, e) < 0 ? -1 : nets_check(k, e);
}

static void
write_list(struct wbuf *w, const struct span *list, size_t n)
{
	wbuf_u8(w, (uint8_t)n);
	for (size_t i = 0; i < n; i++)
		wbuf_str16(w, list[i]);
}

void
keyrec_encode(const struct keyrec *k, struct wbuf *w)
{
	if (k->nscopes > SCOPE_COUNT_MAX || k->nnets > KEYREC_NETS_MAX ||
	    k->nreferrers > KEYREC_LIST_MAX || k->napps > KEYREC_LIST_MAX ||
	    k->nmethods > KEYREC_METHODS_MAX) {
		w->overflow = 1;
		return;
	}
	wbuf_u8(w, KEYREC_VERSION);
	wbuf_bytes(w, k->id, TOKEN_ID_LEN);
	wbuf_u32(w, k->pepper);
	wbuf_u8(w, (uint8_t)k->digest_of);
	wbuf_u8(w, (uint8_t)k->env);
	wbuf_u8(w, (uint8_t)k->state);
	wbuf_u8(w, k->exposed_ways);
	wbuf_u8(w, (uint8_t)k->browsers);
	for (size_t i = 0; i < TIMES; i++)
		wbuf_u64(w, (uint64_t)time_at(k, times[i]));
	for (size_t i = 0; i < FIELDS; i++)
		wbuf_str16(w, *text_at(k, fields[i].offset));
	wbuf_u8(w, k->previous != NULL);
	if (k->previous != NULL)
		wbuf_bytes(w, k->previous, KEYREC_DIGEST_LEN);
	write_list(w, k->scopes, k->nscopes);
	wbuf_u16(w, (uint16_t)k->nnets);
	if (k->nnets > 0)
		wbuf_bytes(w, k->nets, k->nnets * NET_LEN);
	write_list(w, k->referrers, k->nreferrers);
	write_list(w, k->apps, k->napps);
	write_list(w, k->methods, k->nmethods);
}

/* A counted list of at most ${max} texts of at most ${max_bytes}; a larger count makes the record
 * bad. */
static size_t
read_list(struct rbuf *r, struct span *list, size_t max, size_t max_bytes)
{
	size_t n = rbuf_u8(r);

	if (n > max) {
		r->bad = 1;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		list[i] = rbuf_str16(r, max_bytes);
	return n;
}

/* Everything behind the version, into a record that is all zero. */
static void
read_record(struct rbuf *r, struct keyrec *k)
{
	const uint8_t *id = rbuf_bytes(r, TOKEN_ID_LEN);
	unsigned has_previous;

	if (id != NULL)
		memcpy(k->id, id, TOKEN_ID_LEN);
	k->pepper = rbuf_u32(r);
	k->digest_of = (enum keyrec_digest)rbuf_u8(r);
	k->env = (enum token_env)rbuf_u8(r);
	k->state = (enum keyrec_state)rbuf_u8(r);
	k->exposed_ways = rbuf_u8(r);
	k->browsers = (enum keyrec_browsers)rbuf_u8(r);
	for (size_t i = 0; i < TIMES; i++)
		*time_ref(k, times[i]) = (int64_t)rbuf_u64(r);
	for (size_t i = 0; i < FIELDS; i++)
		*text_ref(k, fields[i].offset) = rbuf_str16(r, fields[i].max);
	has_previous = rbuf_u8(r);
	if (has_previous == 1)
		k->previous = rbuf_bytes(r, KEYREC_DIGEST_LEN);
	else if (has_previous > 1)
		r->bad = 1;
	k->nscopes = read_list(r, k->scopes, SCOPE_COUNT_MAX, SCOPE_MAX);
	k->nnets = rbuf_u16(r);
	if (k->nnets > KEYREC_NETS_MAX)
		r->bad = 1;
	else if (k->nnets > 0)
		k->nets = rbuf_bytes(r, k->nnets * NET_LEN);
	k->nreferrers = read_list(r, k->referrers, KEYREC_LIST_MAX, KEYREC_PATTERN_MAX);
	k->napps = read_list(r, k->apps, KEYREC_LIST_MAX, KEYREC_PATTERN_MAX);
	k->nmethods = read_list(r, k->methods, KEYREC_METHODS_MAX, KEYREC_METHOD_MAX);
}

/* Reads in place, not into a copy: it is in every check's path.  A failure leaves ${k} all zero. */
int
keyrec_decode(struct span record, struct keyrec *k, struct err *e)
{
	struct rbuf r;
	struct err why;
	uint8_t version;

	memset(k, 0, sizeof(*k));
	if (record.len > KEYREC_MAX)
		return err_set(e, ERR_CORRUPT, "key record: longer than %d bytes", KEYREC_MAX);
	rbuf_init(&r, record.p, record.len);
	version = rbuf_u8(&r);
	if (!r.bad && version != KEYREC_VERSION)
		return err_set(e, ERR_VERSION,
		    "key record: version %d is not one this release reads", version);
	read_record(&r, k);
	if (rbuf_done(&r) < 0) {
		memset(k, 0, sizeof(*k));
		return err_set(e, ERR_CORRUPT, "key record: cut short, too long or out of bounds");
	}
	if (rest_check(k, &why) < 0) {
		memset(k, 0, sizeof(*k));
		return err_set(e, ERR_CORRUPT, "key record: %s", why.msg);
	}
	return 0;
}

/* Anything but active counts as disabled, so that a state nobody knows admits nobody. */
enum keyrec_now
keyrec_now(const struct keyrec *k, int64_t now_us)
{
	if (k->state == KEYREC_REVOKED)
		return KEYREC_NOW_REVOKED;
	if (k->state != KEYREC_ACTIVE)
		return KEYREC_NOW_DISABLED;
	if (k->expires_us != 0 && now_us >= k->expires_us)
		return KEYREC_NOW_EXPIRED;
	if (k->not_before_us > now_us)
		return KEYREC_NOW_PENDING;
	return KEYREC_NOW_ACTIVE;
}

const char *
keyrec_state_name(enum keyrec_state s)
{
	return (unsigned)s < STATES ? state_names[s] : "unknown";
}

const char *
keyrec_state_at(const struct keyrec *k, int64_t now_us)
{
	return now_names[keyrec_now(k, now_us)];
}

const char *
keyrec_way_name(uint8_t way)
{
	switch (way) {
	case KEYREC_EXPOSED_URL:
		return "url";
	case KEYREC_EXPOSED_HTTP:
		return "http";
	case KEYREC_EXPOSED_BROWSER:
		return "browser";
	default:
		return "unknown";
	}
}

const char *
keyrec_browsers_name(enum keyrec_browsers b)
{
	return (unsigned)b < KEYREC_BROWSERS ? browsers_names[b] : "unknown";
}

int
keyrec_browsers_parse(struct span s)
{
	for (int i = 0; i < KEYREC_BROWSERS; i++)
		if (span_is(s, browsers_names[i]))
			return i;
	return -1;
}
