/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The codecs of the messages on the keeper's socket: check and answer are packed by hand, because
 * they are the hot path; JSON messages only get a header here.
 *
 * No socket is touched here (socket.c does that) and no meaning is given to what is carried.  Used
 * by the keeper, the workers and the tool.
 *
 * Invariants: a message that an encoder has made without overflow is accepted by its decoder; a
 * decoder accepts no other form (no unknown flag, no value over its bound, nothing behind the last
 * field); an answer `ok` without the key that it admits does not exist on the wire.
 */

#include "wire/wire.h"

#include "base/text.h"
#include "core/keyrec.h"

/* Flags of a check. */
#define CHECK_RETRY 1
#define CHECK_HAS_ADDR 2
#define CHECK_BROWSER 4
#define CHECK_FLAGS (CHECK_RETRY | CHECK_HAS_ADDR | CHECK_BROWSER)

#define SCOPES_TEXT_MAX (SCOPE_COUNT_MAX * (SCOPE_MAX + 1))

/* The header with a length to be filled in by finish(); returns where the message begins. */
static size_t
begin(struct wbuf *w, enum wire_type type)
{
	size_t start = w->len;

	wbuf_u8(w, WIRE_VERSION);
	wbuf_u8(w, (uint8_t)type);
	wbuf_u16(w, 0);
	wbuf_u32(w, 0);
	return start;
}

static void
finish(struct wbuf *w, size_t start, size_t max)
{
	size_t body;

	if (w->overflow)
		return;
	body = w->len - start - WIRE_HEADER;
	if (body + WIRE_HEADER > max) {
		w->overflow = 1;
		return;
	}
	for (int i = 0; i < 4; i++)
		w->p[start + 4 + (size_t)i] = (uint8_t)(body >> (24 - 8 * i));
}

static void
put_bounded(struct wbuf *w, struct span s, size_t max)
{
	if (s.len > max)
		w->overflow = 1;
	else
		wbuf_str16(w, s);
}

int
wire_type_of(struct span message)
{
	struct rbuf r;
	unsigned version, type, zero;
	uint32_t length;

	rbuf_init(&r, message.p, message.len);
	version = rbuf_u8(&r);
	type = rbuf_u8(&r);
	zero = rbuf_u16(&r);
	length = rbuf_u32(&r);
	if (r.bad || version != WIRE_VERSION || zero != 0 || length != message.len - WIRE_HEADER)
		return -1;
	return type >= WIRE_CHECK && type <= WIRE_REPORT ? (int)type : -1;
}

struct span
wire_next(struct span *datagram)
{
	struct span first = *datagram;
	struct rbuf r;
	uint32_t length;

	rbuf_init(&r, first.p, first.len);
	(void)rbuf_u32(&r);
	length = rbuf_u32(&r);
	if (!r.bad && length < first.len - WIRE_HEADER)
		first.len = WIRE_HEADER + length;
	datagram->p += first.len;
	datagram->len -= first.len;
	return first;
}

struct span
wire_body(struct span message)
{
	if (message.len < WIRE_HEADER)
		return (struct span){NULL, 0};
	return (struct span){message.p + WIRE_HEADER, message.len - WIRE_HEADER};
}

void
wire_json_encode(enum wire_type type, struct span json, struct wbuf *w)
{
	size_t start = begin(w, type);

	wbuf_span(w, json);
	finish(w, start, WIRE_MESSAGE_MAX);
}

void
wire_check_encode(const struct wire_check *c, struct wbuf *w)
{
	size_t start = begin(w, WIRE_CHECK);

	wbuf_u64(w, c->client);
	wbuf_u64(w, c->seq);
	wbuf_u64(w, (uint64_t)c->deadline_us);
	if ((c->exposed & ~KEYREC_EXPOSED_WAYS) != 0 || c->cost > LIMIT_COST_MAX)
		w->overflow = 1;
	wbuf_u8(w, c->exposed);
	wbuf_u8(w, (uint8_t)((c->retry ? CHECK_RETRY : 0) | (c->has_addr ? CHECK_HAS_ADDR : 0) |
			     (c->browser ? CHECK_BROWSER : 0)));
	wbuf_u32(w, c->cost);
	if (c->has_addr)
		wbuf_bytes(w, c->addr.b, sizeof(c->addr.b));
	put_bounded(w, c->credential, WIRE_CREDENTIAL_MAX);
	put_bounded(w, c->needed_scopes, SCOPE_LIST_MAX);
	put_bounded(w, c->referrer, WIRE_REFERRER_MAX);
	put_bounded(w, c->app, WIRE_APP_MAX);
	put_bounded(w, c->method, WIRE_METHOD_MAX);
	put_bounded(w, c->request_id, WIRE_REQUEST_ID_MAX);
	finish(w, start, WIRE_CHECK_MAX);
}

int
wire_check_decode(struct span message, struct wire_check *out, struct err *e)
{
	struct wire_check c = {0};
	struct rbuf r;
	const uint8_t *addr;
	unsigned flags;

	*out = c;
	if (wire_type_of(message) != WIRE_CHECK)
		return err_set(e, ERR_INPUT, "not a check message");
	rbuf_init(&r, message.p + WIRE_HEADER, message.len - WIRE_HEADER);
	c.client = rbuf_u64(&r);
	c.seq = rbuf_u64(&r);
	c.deadline_us = (int64_t)rbuf_u64(&r);
	c.exposed = rbuf_u8(&r);
	flags = rbuf_u8(&r);
	c.cost = rbuf_u32(&r);
	c.retry = (flags & CHECK_RETRY) != 0;
	c.has_addr = (flags & CHECK_HAS_ADDR) != 0;
	c.browser = (flags & CHECK_BROWSER) != 0;
	if (c.has_addr && (addr = rbuf_bytes(&r, sizeof(c.addr.b))) != NULL)
		memcpy(c.addr.b, addr, sizeof(c.addr.b));
	c.credential = rbuf_str16(&r, WIRE_CREDENTIAL_MAX);
	c.needed_scopes = rbuf_str16(&r, SCOPE_LIST_MAX);
	c.referrer = rbuf_str16(&r, WIRE_REFERRER_MAX);
	c.app = rbuf_str16(&r, WIRE_APP_MAX);
	c.method = rbuf_str16(&r, WIRE_METHOD_MAX);
	c.request_id = rbuf_str16(&r, WIRE_REQUEST_ID_MAX);
	if (rbuf_done(&r) != 0)
		return err_set(
		    e, ERR_INPUT, "a check message with a field too few, too many or too long");
	if ((flags & ~CHECK_FLAGS) != 0 || (c.exposed & ~KEYREC_EXPOSED_WAYS) != 0)
		return err_set(e, ERR_INPUT, "a check message with unknown flags");
	if (c.cost > LIMIT_COST_MAX)
		return err_set(e, ERR_INPUT, "a check message with a cost over %d", LIMIT_COST_MAX);
	*out = c;
	return 0;
}

/* One client's network, as netaddr_client makes it, and plausible figures. */
static int
report_ok(const struct wire_report *r)
{
	struct netaddr_net same;

	netaddr_client(&r->client_net.addr, &same);
	return same.bits == r->client_net.bits &&
	       memcmp(same.addr.b, r->client_net.addr.b, sizeof(same.addr.b)) == 0 &&
	       r->attempts >= 1 && r->attempts <= WIRE_ATTEMPTS_MAX && r->block_us >= 0 &&
	       r->block_us <= WIRE_BLOCK_MAX_US;
}

void
wire_report_encode(const struct wire_report *r, struct wbuf *w)
{
	size_t start = begin(w, WIRE_REPORT);

	if (!report_ok(r))
		w->overflow = 1;
	wbuf_u64(w, r->client);
	wbuf_u64(w, r->seq);
	wbuf_u64(w, (uint64_t)r->deadline_us);
	wbuf_bytes(w, r->client_net.addr.b, sizeof(r->client_net.addr.b));
	wbuf_u8(w, r->client_net.bits);
	wbuf_u32(w, r->attempts);
	wbuf_u64(w, (uint64_t)r->block_us);
	finish(w, start, WIRE_CHECK_MAX);
}

int
wire_report_decode(struct span message, struct wire_report *out, struct err *e)
{
	struct wire_report p = {0};
	struct rbuf r;
	const uint8_t *addr;

	*out = p;
	if (wire_type_of(message) != WIRE_REPORT)
		return err_set(e, ERR_INPUT, "not a report message");
	rbuf_init(&r, message.p + WIRE_HEADER, message.len - WIRE_HEADER);
	p.client = rbuf_u64(&r);
	p.seq = rbuf_u64(&r);
	p.deadline_us = (int64_t)rbuf_u64(&r);
	if ((addr = rbuf_bytes(&r, sizeof(p.client_net.addr.b))) != NULL)
		memcpy(p.client_net.addr.b, addr, sizeof(p.client_net.addr.b));
	p.client_net.bits = rbuf_u8(&r);
	p.attempts = rbuf_u32(&r);
	p.block_us = (int64_t)rbuf_u64(&r);
	if (rbuf_done(&r) != 0 || !report_ok(&p))
		return err_set(e, ERR_INPUT, "a report message with a malformed field");
	*out = p;
	return 0;
}

static void
put_limit(struct wbuf *w, const struct wire_limit *l)
{
	wbuf_str16(w, span_of(l->name));
	wbuf_u64(w, l->max_units);
	wbuf_u64(w, (uint64_t)l->window_us);
	wbuf_u64(w, l->remaining);
	wbuf_u64(w, (uint64_t)l->more_us);
	wbuf_u8(w, l->violated != 0);
}

static int
get_limit(struct rbuf *r, struct wire_limit *l)
{
	struct span name = rbuf_str16(r, LIMIT_NAME_MAX);
	unsigned violated;

	l->max_units = rbuf_u64(r);
	l->window_us = (int64_t)rbuf_u64(r);
	l->remaining = rbuf_u64(r);
	l->more_us = (int64_t)rbuf_u64(r);
	violated = rbuf_u8(r);
	l->violated = (int)violated;
	/* The name goes into header fields as it is. */
	if (r->bad || !text_identifier(name, LIMIT_NAME_MAX) ||
	    span_copy(l->name, sizeof(l->name), name) != 0)
		return -1;
	if (l->max_units > LIMIT_UNITS_MAX || l->remaining > l->max_units || violated > 1)
		return -1;
	return l->window_us > 0 && l->window_us <= LIMIT_WINDOW_MAX_US && l->more_us >= 0 ? 0 : -1;
}

void
wire_answer_encode(const struct wire_answer *a, struct wbuf *w)
{
	size_t start = begin(w, WIRE_ANSWER);

	if (a->nlimits > PLAN_LIMITS_MAX || (a->verdict == VERDICT_OK && a->id.len == 0)) {
		w->overflow = 1;
		return;
	}
	wbuf_u64(w, a->seq);
	wbuf_u8(w, (uint8_t)a->verdict);
	wbuf_u64(w, (uint64_t)a->retry_us);
	wbuf_u64(w, (uint64_t)a->rotate_by_us);
	put_bounded(w, a->id, TOKEN_ID_LEN);
	put_bounded(w, a->owner, KEYREC_OWNER_MAX);
	put_bounded(w, a->plan, KEYREC_PLAN_MAX);
	put_bounded(w, a->scopes, SCOPES_TEXT_MAX);
	put_bounded(w, a->meta, KEYREC_META_MAX);
	wbuf_u8(w, (uint8_t)a->nlimits);
	for (size_t i = 0; i < a->nlimits; i++)
		put_limit(w, &a->limits[i]);
	finish(w, start, WIRE_ANSWER_MAX);
}

int
wire_answer_decode(struct span message, struct wire_answer *out, struct err *e)
{
	struct wire_answer a = {0};
	struct rbuf r;
	int verdict;

	*out = a;
	if (wire_type_of(message) != WIRE_ANSWER)
		return err_set(e, ERR_INPUT, "not an answer message");
	rbuf_init(&r, message.p + WIRE_HEADER, message.len - WIRE_HEADER);
	a.seq = rbuf_u64(&r);
	verdict = verdict_from_wire(rbuf_u8(&r));
	a.retry_us = (int64_t)rbuf_u64(&r);
	a.rotate_by_us = (int64_t)rbuf_u64(&r);
	a.id = rbuf_str16(&r, TOKEN_ID_LEN);
	a.owner = rbuf_str16(&r, KEYREC_OWNER_MAX);
	a.plan = rbuf_str16(&r, KEYREC_PLAN_MAX);
	a.scopes = rbuf_str16(&r, SCOPES_TEXT_MAX);
	a.meta = rbuf_str16(&r, KEYREC_META_MAX);
	a.nlimits = rbuf_u8(&r);
	if (r.bad || verdict < 0 || a.nlimits > PLAN_LIMITS_MAX || a.retry_us < -1 ||
	    a.rotate_by_us < 0)
		return err_set(e, ERR_INPUT, "an answer message with a malformed field");
	for (size_t i = 0; i < a.nlimits; i++) {
		if (get_limit(&r, &a.limits[i]) != 0)
			return err_set(e, ERR_INPUT, "an answer message with a malformed limit");
	}
	if (rbuf_done(&r) != 0)
		return err_set(e, ERR_INPUT, "an answer message with something behind its end");
	a.verdict = (enum verdict)verdict;
	if (a.verdict == VERDICT_OK && !token_id_ok(a.id))
		return err_set(e, ERR_INPUT, "an answer message that admits no key");
	*out = a;
	return 0;
}
