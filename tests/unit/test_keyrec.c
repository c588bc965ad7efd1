/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a key's record comes back as it was stored, and no bytes, however damaged, decode to a
 * record that could not have been stored.
 *
 * The property test cuts and mutates records at random (a fixed seed) in memory of their exact
 * size; it is worth most under AddressSanitizer.  Guards Invariant 6 (no input crashes, none admits
 * by accident) and the record's part of Invariant 5.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/keyrec.h"

#define MUTATIONS 200000

static uint64_t state = UINT64_C(0x853c49e6748fea9b);

static size_t
next_random(size_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (size_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % below;
}

static struct span
sp(const char *s)
{
	return span_of(s);
}

static struct netaddr_net
net_of(const char *text)
{
	struct netaddr_net net;

	assert_int_equal(netaddr_net_parse(sp(text), &net), 0);
	return net;
}

static uint8_t sample_nets[KEYREC_NETS_MAX * 17];

/* Every field used. */
static struct keyrec
sample(void)
{
	struct keyrec k = {
	    .id = "key_0123456789ABCDEf",
	    .pepper = 3,
	    .env = TOKEN_TEST,
	    .state = KEYREC_REVOKED,
	    .start = sp("ak_test_3kTM"),
	    .owner = sp("acme"),
	    .member = sp("jane@example.com"),
	    .name = sp("Jane's laptop \xe2\x98\x83"),
	    .plan = sp("pro"),
	    .reason = sp("leaked in a log"),
	    .meta = sp("{\"team\":\"red\"}"),
	    .created_us = 1700000000000000,
	    .changed_us = 1700000000000001,
	    .not_before_us = 1700000000000002,
	    .expires_us = INT64_MAX,
	    .revoked_us = 1700000000000004,
	    .exposed_us = 1700000000000005,
	    .exposed_ways = KEYREC_EXPOSED_URL | KEYREC_EXPOSED_HTTP,
	    .exposed_addr = sp("2001:db8::1"),
	    .digest_of = KEYREC_OF_SHA256,
	    .browsers = KEYREC_BROWSERS_DENY,
	    .secret_us = 1700000000000006,
	    .previous = (const uint8_t *)"0123456789abcdef0123456789ABCDEF",
	    .previous_until_us = 1700000000000007,
	    .previous_used_us = 1700000000000008,
	    .previous_start = sp("ak_test_9xYz"),
	    .nmethods = 2,
	    .methods = {sp("GET"), sp("VERSION-CONTROL")},
	    .nscopes = 3,
	    .scopes = {sp("orders:read"), sp("users:*"), sp("status")},
	    .nreferrers = 2,
	    .referrers = {sp("*.example.com"), sp("https://example.org/app")},
	    .napps = 2,
	    .apps = {sp("com.example.app"), sp("cli/1.0 (x)")},
	};
	struct netaddr_net net;

	net = net_of("10.0.0.0/8");
	assert_int_equal(keyrec_net_add(&k, sample_nets, &net), 0);
	net = net_of("2001:db8::/33");
	assert_int_equal(keyrec_net_add(&k, sample_nets, &net), 0);
	net = net_of("192.0.2.7");
	assert_int_equal(keyrec_net_add(&k, sample_nets, &net), 0);
	return k;
}

static struct keyrec
smallest(void)
{
	return (struct keyrec){
	    .id = "key_zzzzzzzzzzzzzzzz", .pepper = 1, .owner = sp("o"), .plan = sp("p")};
}

static size_t
encode(const struct keyrec *k, uint8_t record[KEYREC_MAX])
{
	struct wbuf w;

	wbuf_init(&w, record, KEYREC_MAX);
	keyrec_encode(k, &w);
	assert_false(w.overflow);
	return w.len;
}

static void
assert_same_list(const struct span *a, size_t na, const struct span *b, size_t nb)
{
	assert_int_equal(na, nb);
	for (size_t i = 0; i < na; i++)
		assert_true(span_eq(a[i], b[i]));
}

static void
assert_same(const struct keyrec *a, const struct keyrec *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->pepper, b->pepper);
	assert_int_equal(a->env, b->env);
	assert_int_equal(a->state, b->state);
	assert_true(span_eq(a->start, b->start));
	assert_true(span_eq(a->owner, b->owner));
	assert_true(span_eq(a->member, b->member));
	assert_true(span_eq(a->name, b->name));
	assert_true(span_eq(a->plan, b->plan));
	assert_true(span_eq(a->reason, b->reason));
	assert_true(span_eq(a->meta, b->meta));
	assert_int_equal(a->created_us, b->created_us);
	assert_int_equal(a->changed_us, b->changed_us);
	assert_int_equal(a->not_before_us, b->not_before_us);
	assert_int_equal(a->expires_us, b->expires_us);
	assert_int_equal(a->revoked_us, b->revoked_us);
	assert_int_equal(a->exposed_us, b->exposed_us);
	assert_int_equal(a->exposed_ways, b->exposed_ways);
	assert_true(span_eq(a->exposed_addr, b->exposed_addr));
	assert_int_equal(a->digest_of, b->digest_of);
	assert_int_equal(a->browsers, b->browsers);
	assert_int_equal(a->secret_us, b->secret_us);
	assert_int_equal(a->previous_until_us, b->previous_until_us);
	assert_int_equal(a->previous_used_us, b->previous_used_us);
	assert_true(span_eq(a->previous_start, b->previous_start));
	assert_int_equal(a->previous == NULL, b->previous == NULL);
	if (a->previous != NULL)
		assert_memory_equal(a->previous, b->previous, KEYREC_DIGEST_LEN);
	assert_same_list(a->methods, a->nmethods, b->methods, b->nmethods);
	assert_same_list(a->scopes, a->nscopes, b->scopes, b->nscopes);
	assert_same_list(a->referrers, a->nreferrers, b->referrers, b->nreferrers);
	assert_same_list(a->apps, a->napps, b->apps, b->napps);
	assert_int_equal(a->nnets, b->nnets);
	for (size_t i = 0; i < a->nnets; i++) {
		struct netaddr_net m, n;

		keyrec_net(a, i, &m);
		keyrec_net(b, i, &n);
		assert_memory_equal(m.addr.b, n.addr.b, sizeof(m.addr.b));
		assert_int_equal(m.bits, n.bits);
	}
}

static void
records_come_back(void **unused)
{
	static uint8_t record[KEYREC_MAX];
	struct keyrec k = sample(), got;
	struct err e;
	size_t n;

	(void)unused;
	assert_int_equal(keyrec_check(&k, &e), 0);
	n = encode(&k, record);
	assert_int_equal(record[0], 2);
	assert_int_equal(keyrec_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &k);
	/* It borrows: nothing points anywhere but into the record. */
	assert_in_range((uintptr_t)got.owner.p, (uintptr_t)record, (uintptr_t)record + n);
	assert_in_range((uintptr_t)got.nets, (uintptr_t)record, (uintptr_t)record + n);

	k = smallest();
	n = encode(&k, record);
	assert_int_equal(keyrec_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &k);
	assert_int_equal(got.nnets, 0);
}

static void
the_largest_record_fits(void **unused)
{
	static uint8_t record[KEYREC_MAX], nets[KEYREC_NETS_MAX * 17];
	static char meta[KEYREC_META_MAX], text[256], names[SCOPE_COUNT_MAX][SCOPE_MAX];
	struct keyrec k = sample(), got;
	struct netaddr_net net = net_of("2001:db8::1");
	struct err e;
	size_t n;

	(void)unused;
	memset(meta, 'm', sizeof(meta));
	memset(text, 't', sizeof(text));
	k.owner = (struct span){text, KEYREC_OWNER_MAX};
	k.member = (struct span){text, KEYREC_MEMBER_MAX};
	k.name = (struct span){text, KEYREC_NAME_MAX};
	k.plan = (struct span){text, KEYREC_PLAN_MAX};
	k.reason = (struct span){text, KEYREC_REASON_MAX};
	k.meta = (struct span){meta, KEYREC_META_MAX};
	k.start = (struct span){text, TOKEN_START_MAX};
	k.exposed_addr = (struct span){text, NETADDR_TEXT_MAX - 1};
	k.nscopes = SCOPE_COUNT_MAX;
	for (size_t i = 0; i < SCOPE_COUNT_MAX; i++) {
		memset(names[i], 'a', SCOPE_MAX);
		names[i][0] = (char)('A' + (int)(i % 26));
		names[i][1] = (char)('A' + (int)(i / 26));
		k.scopes[i] = (struct span){names[i], SCOPE_MAX};
	}
	k.nnets = 0;
	for (size_t i = 0; i <= KEYREC_NETS_MAX; i++) {
		net.addr.b[12] = (uint8_t)(i * 7919 >> 8);
		net.addr.b[13] = (uint8_t)(i * 7919);
		assert_int_equal(keyrec_net_add(&k, nets, &net), i < KEYREC_NETS_MAX ? 0 : -1);
	}
	assert_int_equal(k.nnets, KEYREC_NETS_MAX);
	k.nreferrers = k.napps = KEYREC_LIST_MAX;
	for (size_t i = 0; i < KEYREC_LIST_MAX; i++) {
		static char pattern[KEYREC_PATTERN_MAX];

		memset(pattern, 'h', sizeof(pattern));
		pattern[20] = '/';
		k.referrers[i] = (struct span){pattern, sizeof(pattern)};
		k.apps[i] = (struct span){text, KEYREC_PATTERN_MAX};
	}
	assert_int_equal(keyrec_check(&k, &e), 0);
	n = encode(&k, record);
	assert_int_equal(keyrec_decode((struct span){(char *)record, n}, &got, &e), 0);
	assert_same(&got, &k);
}

/* Networks are looked at when they are stored and when they are used, not when a record is read. */
static int
is_about_a_network(const struct err *e)
{
	return strncmp(e->msg, "network ", 8) == 0;
}

/* keyrec_check refuses it and says so; and bytes that say it do not decode. */
static void
assert_refused(struct keyrec k, const char *says)
{
	static const struct keyrec zeros;
	static uint8_t record[KEYREC_MAX];
	struct keyrec got;
	struct err e = {0};
	struct wbuf w;

	assert_int_equal(keyrec_check(&k, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.msg, says));
	wbuf_init(&w, record, sizeof(record));
	keyrec_encode(&k, &w);
	if (w.overflow || is_about_a_network(&e))
		return;
	memset(&got, 0xff, sizeof(got));
	assert_int_equal(keyrec_decode((struct span){(char *)record, w.len}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_memory_equal(&got, &zeros, sizeof(got));
}

#define REFUSED(change, says) (k = sample(), (void)(change), assert_refused(k, says))

static void
plain_fields(void **unused)
{
	struct keyrec k = sample();
	struct err e;

	(void)unused;
	/* An id without its NUL has a record like any other, but is refused before it gets one. */
	k.id[TOKEN_ID_LEN] = 'x';
	assert_int_equal(keyrec_check(&k, &e), -1);
	REFUSED(k.id[0] = 'K', "id:");
	REFUSED(k.id[19] = '\0', "id:");
	REFUSED(k.pepper = 0, "pepper:");
	REFUSED(k.env = (enum token_env)2, "environment:");
	REFUSED(k.state = (enum keyrec_state)3, "state:");
	REFUSED(k.exposed_ways = 16, "exposed:");
	REFUSED(k.exposed_ways = 0xff, "exposed:");
	REFUSED(k.created_us = -1, "before 1970");
	REFUSED(k.changed_us = -1, "before 1970");
	REFUSED(k.not_before_us = -1, "before 1970");
	REFUSED(k.expires_us = INT64_MIN, "before 1970");
	REFUSED(k.revoked_us = -1, "before 1970");
	REFUSED(k.exposed_us = -1, "before 1970");
	REFUSED(k.exposed_ways = 8, "exposed: unknown way");
	REFUSED(k.digest_of = KEYREC_DIGESTS, "digest:");
	REFUSED(k.browsers = KEYREC_BROWSERS, "browsers:");
	REFUSED(k.previous = NULL, "previous secret: there is none");
	REFUSED(k.previous_until_us = -1, "before 1970");
}

static void
texts(void **unused)
{
	static char big[KEYREC_META_MAX + 1];
	struct keyrec k;

	(void)unused;
	memset(big, 'x', sizeof(big));
#define BYTES(n) ((struct span){big, (n)})
	REFUSED(k.owner = sp(""), "owner: must not be empty");
	REFUSED(k.owner = sp("a\nb"), "owner: printable ASCII");
	REFUSED(k.owner = sp(" a"), "owner: printable ASCII");
	REFUSED(k.owner = sp("\xc3\xa4"), "owner: printable ASCII");
	REFUSED(k.owner = BYTES(KEYREC_OWNER_MAX + 1), "owner: at most 128");
	REFUSED(k.member = sp("a\x7f"), "member: printable ASCII");
	REFUSED(k.member = BYTES(KEYREC_MEMBER_MAX + 1), "member: at most 128");
	REFUSED(k.start = sp("a\rb"), "start: printable ASCII");
	REFUSED(k.start = BYTES(TOKEN_START_MAX + 1), "start: at most 26");
	REFUSED(k.exposed_addr = sp("a\tb"), "exposed address: printable ASCII");
	REFUSED(k.exposed_addr = BYTES(NETADDR_TEXT_MAX), "exposed address: at most 63");
	REFUSED(k.name = sp("a\033[2J"), "name: UTF-8");
	REFUSED(k.name = sp("\xc3("), "name: UTF-8");
	REFUSED(k.name = BYTES(KEYREC_NAME_MAX + 1), "name: at most 128");
	REFUSED(k.reason = sp("a\nb"), "reason: UTF-8");
	REFUSED(k.reason = BYTES(KEYREC_REASON_MAX + 1), "reason: at most 256");
	REFUSED(k.meta = sp("{\n}"), "metadata: UTF-8");
	REFUSED(k.meta = BYTES(KEYREC_META_MAX + 1), "metadata: at most 4096");
	REFUSED(k.plan = sp(""), "plan: must not be empty");
	REFUSED(k.plan = sp("a b"), "plan: letters");
	REFUSED(k.plan = BYTES(KEYREC_PLAN_MAX + 1), "plan: at most 64");
#undef BYTES
}

static struct span
long_span(char fill, size_t n)
{
	static char bytes[1024];

	memset(bytes, fill, sizeof(bytes));
	return (struct span){bytes, n};
}

static void
lists(void **unused)
{
	struct keyrec k;

	(void)unused;
	REFUSED(k.scopes[1] = sp("users:"), "scope 2:");
	REFUSED(k.scopes[2] = sp(""), "scope 3:");
	REFUSED(k.scopes[0] = long_span('s', SCOPE_MAX + 1), "scope 1:");
	REFUSED(k.scopes[2] = sp("orders:read"), "scope 'orders:read' is given twice");
	REFUSED(k.nscopes = SCOPE_COUNT_MAX + 1, "scopes: at most 64");
	REFUSED(k.nnets = KEYREC_NETS_MAX + 1, "networks: at most 1000");
	REFUSED(k.nreferrers = KEYREC_LIST_MAX + 1, "at most 32 of each");
	REFUSED(k.napps = KEYREC_LIST_MAX + 1, "at most 32 of each");
	REFUSED(k.referrers[1] = sp("https://*"), "referrer 2:");
	REFUSED(k.referrers[0] = sp(""), "referrer 1:");
	REFUSED(k.referrers[0] = long_span('r', KEYREC_PATTERN_MAX + 1), "referrer 1:");
	REFUSED(k.apps[0] = sp(""), "application 1:");
	REFUSED(k.apps[1] = sp("a\nb"), "application 2:");
	REFUSED(k.apps[1] = long_span('a', KEYREC_PATTERN_MAX + 1), "application 2:");
	REFUSED(k.methods[0] = sp("get"), "method 1:");
	REFUSED(k.methods[1] = sp(""), "method 2:");
	REFUSED(k.methods[1] = sp("-GET"), "method 2:");
	REFUSED(k.methods[1] = long_span('A', KEYREC_METHOD_MAX + 1), "method 2:");
	REFUSED(k.nmethods = KEYREC_METHODS_MAX + 1, "methods: at most 16");
}

static void
networks(void **unused)
{
	uint8_t mem[KEYREC_NETS_MAX * 17];
	struct keyrec k = smallest();
	struct netaddr_net net = {0}, got;
	struct err e;

	(void)unused;
	/* Everything, one address, and a cut within a byte. */
	assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
	net = net_of("2001:db8::ff/128");
	assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
	net = net_of("10.128.0.0/9");
	assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
	assert_int_equal(keyrec_check(&k, &e), 0);
	/* In order, and each once. */
	assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
	assert_int_equal(k.nnets, 3);
	keyrec_net(&k, 1, &got);
	assert_int_equal(got.bits, 105);
	assert_memory_equal(got.addr.b, net.addr.b, sizeof(net.addr.b));

	/* Any host bit, for any length. */
	for (unsigned bits = 0; bits <= 128; bits++)
		for (unsigned bit = 0; bit < 128; bit++) {
			memset(&net, 0, sizeof(net));
			net.bits = (uint8_t)bits;
			net.addr.b[bit / 8] = (uint8_t)(0x80 >> (bit % 8));
			k.nnets = 0;
			assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
			assert_int_equal(keyrec_check(&k, &e), bit < bits ? 0 : -1);
		}
	memset(&net, 0, sizeof(net));
	for (unsigned bits = 129; bits < 256; bits++) {
		net.bits = (uint8_t)bits;
		k.nnets = 0;
		assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
		assert_refused(k, "network 1:");
	}
}

/* What is not in order cannot be stored: the search would not find it. */
static void
networks_are_in_order(void **unused)
{
	uint8_t mem[3 * 17] = {0};
	struct keyrec k = smallest();
	struct err e;

	(void)unused;
	k.nets = mem;
	k.nnets = 3;
	mem[16] = 0;
	memcpy(mem + 17, "\x20\x01\x0d\xb8", 4);
	mem[17 + 16] = 32;
	memcpy(mem + 34, "\x20\x01\x0d\xb8", 4);
	mem[34 + 16] = 33;
	assert_int_equal(keyrec_check(&k, &e), 0);
	mem[34 + 16] = 32;
	assert_refused(k, "network 3: not in order");
	mem[17 + 16] = 33;
	assert_refused(k, "network 3: not in order");
}

/* The next of a row of numbers that is the same in each run. */
static uint32_t
next_number(void)
{
	static uint32_t n = 2463534242;

	n ^= n << 13;
	n ^= n >> 17;
	n ^= n << 5;
	return n;
}

/* Addresses that share much, so that networks lie within each other. */
static void
some_address(struct netaddr *a)
{
	assert_int_equal(
	    netaddr_parse(span_of(next_number() % 3 ? "10.0.0.0" : "2001:db8::"), a), 0);
	a->b[15] = (uint8_t)next_number();
	if (next_number() % 2)
		a->b[13] = (uint8_t)(next_number() & 0xc1);
	if (next_number() % 4 == 0)
		a->b[next_number() % 16] ^= (uint8_t)(1 << next_number() % 8);
}

static int
walk(const struct keyrec *k, const struct netaddr *a)
{
	struct netaddr_net net;

	for (size_t i = 0; i < k->nnets; i++) {
		keyrec_net(k, i, &net);
		if (netaddr_net_has(&net, a))
			return 1;
	}
	return 0;
}

/* The search finds what a walk over all of them finds. */
static void
networks_are_found(void **unused)
{
	static uint8_t mem[KEYREC_NETS_MAX * 17];
	struct keyrec k = smallest();
	struct netaddr_net net, got;
	struct netaddr a;
	struct err e;
	int inside = 0, outside = 0;

	(void)unused;
	for (int round = 0; round < 200; round++) {
		size_t n = round < 20 ? (size_t)round : next_number() % KEYREC_NETS_MAX;

		k.nnets = 0;
		while (k.nnets < n) {
			some_address(&net.addr);
			net.bits = (uint8_t)(next_number() % 8 ? 96 + next_number() % 33
							       : next_number() % 129);
			netaddr_mask(&net.addr, net.bits);
			assert_int_equal(keyrec_net_add(&k, mem, &net), 0);
			if (next_number() % n == 0)
				break;
		}
		k.nets = mem;
		assert_int_equal(keyrec_check(&k, &e), 0);
		for (int i = 0; i < 500; i++) {
			int found;

			some_address(&a);
			found = keyrec_net_find(&k, &a, &got);
			if (found != walk(&k, &a))
				fail_msg("round %d, address %d: found is %d", round, i, found);
			if (found)
				assert_true(netaddr_net_has(&got, &a));
			inside += found;
			outside += !found;
		}
	}
	assert_true(inside > 10000 && outside > 10000);
}

/* A record that was damaged lets nobody in by a network that nobody could have stored. */
static void
damaged_networks_hold_nobody(void **unused)
{
	uint8_t mem[17];
	struct keyrec k = smallest();
	struct netaddr_net got;
	struct netaddr a;

	(void)unused;
	k.nets = mem;
	k.nnets = 1;
	assert_int_equal(netaddr_parse(span_of("2001:db8::1"), &a), 0);
	for (unsigned bits = 0; bits < 256; bits++) {
		/* The address itself is a network of its own length alone. */
		memcpy(mem, a.b, sizeof(a.b));
		mem[16] = (uint8_t)bits;
		assert_int_equal(keyrec_net_find(&k, &a, &got), bits == 128);
	}
	memset(mem, 0xff, sizeof(mem));
	assert_int_equal(keyrec_net_find(&k, &a, &got), 0);
}

static void
versions(void **unused)
{
	static uint8_t record[KEYREC_MAX + 1];
	struct keyrec k = sample(), got;
	struct err e;
	size_t n = encode(&k, record);

	(void)unused;
	for (int v = 0; v < 256; v++) {
		if (v == 2)
			continue;
		record[0] = (uint8_t)v;
		assert_int_equal(keyrec_decode((struct span){(char *)record, n}, &got, &e), -1);
		assert_int_equal(e.code, ERR_VERSION);
	}
	record[0] = 2;
	assert_int_equal(keyrec_decode((struct span){(char *)record, n + 1}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(
	    keyrec_decode((struct span){(char *)record, sizeof(record)}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(keyrec_decode((struct span){NULL, 0}, &got, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
}

static void
every_cut_is_refused(void **unused)
{
	static uint8_t record[KEYREC_MAX];
	struct keyrec k = sample(), got;
	struct err e;
	size_t n = encode(&k, record);

	(void)unused;
	for (size_t len = 0; len < n; len++) {
		char *cut = malloc(len + 1);

		assert_non_null(cut);
		/* At the end of its block: one byte further is not ours. */
		memcpy(cut + 1, record, len);
		assert_int_equal(keyrec_decode((struct span){cut + 1, len}, &got, &e), -1);
		assert_int_equal(e.code, ERR_CORRUPT);
		free(cut);
	}
}

/* Counts and lengths that promise more than there may be. */
static void
counts_out_of_bounds(void **unused)
{
	static uint8_t record[KEYREC_MAX];
	struct keyrec k = smallest(), got;
	struct err e;
	size_t n = encode(&k, record);
	/* The end of the smallest: scopes, networks (2 bytes), referrers, applications. */
	static const struct {
		size_t from_end;
		uint8_t value;
	} counts[] = {{5, SCOPE_COUNT_MAX + 1}, {5, 255}, {4, 255}, {3, 255},
	    {2, KEYREC_LIST_MAX + 1}, {2, 255}, {1, KEYREC_LIST_MAX + 1}, {1, 255}};

	(void)unused;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		record[n - counts[i].from_end] = counts[i].value;
		/* There is room enough behind it: it is the count that is refused. */
		assert_int_equal(
		    keyrec_decode((struct span){(char *)record, KEYREC_MAX}, &got, &e), -1);
		assert_int_equal(e.code, ERR_CORRUPT);
		record[n - counts[i].from_end] = 0;
	}
	assert_int_equal(keyrec_decode((struct span){(char *)record, n}, &got, &e), 0);
}

/* One to four random changes: flip, overwrite, insert, delete, cut. Returns the new length. */
static size_t
mutate(uint8_t *p, size_t n, size_t cap)
{
	for (size_t times = 1 + next_random(4); times > 0 && n > 0; times--) {
		size_t at = next_random(n);

		switch (next_random(5)) {
		case 0:
			p[at] ^= (uint8_t)(1u << next_random(8));
			break;
		case 1:
			p[at] = (uint8_t)next_random(256);
			break;
		case 2:
			if (n < cap) {
				memmove(p + at + 1, p + at, n - at);
				p[at] = (uint8_t)next_random(256);
				n++;
			}
			break;
		case 3:
			memmove(p + at, p + at + 1, n - at - 1);
			n--;
			break;
		default:
			if (next_random(8) == 0)
				n = at;
			else
				p[at] = 0;
		}
	}
	return n;
}

static void
damage_never_decodes_to_what_check_refuses(void **unused)
{
	static uint8_t record[KEYREC_MAX], changed[KEYREC_MAX];
	size_t decoded = 0, refused = 0;

	(void)unused;
	for (int i = 0; i < MUTATIONS; i++) {
		struct keyrec k = i % 2 == 0 ? sample() : smallest(), got;
		size_t n = encode(&k, record);
		struct err e = {0};
		char *exact;

		n = mutate(record, n, KEYREC_MAX);
		exact = malloc(n == 0 ? 1 : n);
		assert_non_null(exact);
		memcpy(exact, record, n);
		if (keyrec_decode((struct span){exact, n}, &got, &e) == 0) {
			decoded++;
			assert_true(keyrec_check(&got, &e) == 0 || is_about_a_network(&e));
			/* There is one encoding of a record: it is these bytes. */
			assert_int_equal(encode(&got, changed), n);
			assert_memory_equal(changed, record, n);
		} else {
			refused++;
			assert_true(e.code == ERR_CORRUPT || e.code == ERR_VERSION);
			assert_int_equal(got.pepper, 0);
		}
		free(exact);
	}
	/* Neither way may be vacuous. */
	assert_true(decoded > MUTATIONS / 100);
	assert_true(refused > MUTATIONS / 100);
}

static void
what_encodes_is_bounded(void **unused)
{
	uint8_t small[64];
	struct keyrec k = sample();
	struct wbuf w;

	(void)unused;
	wbuf_init(&w, small, sizeof(small));
	keyrec_encode(&k, &w);
	assert_true(w.overflow);
	k.nscopes = SCOPE_COUNT_MAX + 1;
	wbuf_init(&w, small, sizeof(small));
	keyrec_encode(&k, &w);
	assert_true(w.overflow);
	assert_int_equal(w.len, 0);
}

static void
states(void **unused)
{
	static const struct {
		enum keyrec_state state;
		int64_t not_before, expires, now;
		enum keyrec_now at;
		const char *seen;
	} cases[] = {
	    {KEYREC_ACTIVE, 0, 0, 0, KEYREC_NOW_ACTIVE, "active"},
	    {KEYREC_ACTIVE, 0, 0, INT64_MAX, KEYREC_NOW_ACTIVE, "active"},
	    {KEYREC_ACTIVE, 0, 100, 99, KEYREC_NOW_ACTIVE, "active"},
	    {KEYREC_ACTIVE, 0, 100, 100, KEYREC_NOW_EXPIRED, "expired"},
	    {KEYREC_ACTIVE, 0, 100, 101, KEYREC_NOW_EXPIRED, "expired"},
	    {KEYREC_ACTIVE, 50, 0, 49, KEYREC_NOW_PENDING, "pending"},
	    {KEYREC_ACTIVE, 50, 0, 50, KEYREC_NOW_ACTIVE, "active"},
	    {KEYREC_ACTIVE, 200, 100, 150, KEYREC_NOW_EXPIRED, "expired"},
	    {KEYREC_DISABLED, 0, 0, 0, KEYREC_NOW_DISABLED, "disabled"},
	    {KEYREC_DISABLED, 0, 100, 200, KEYREC_NOW_DISABLED, "disabled"},
	    {KEYREC_REVOKED, 0, 0, 0, KEYREC_NOW_REVOKED, "revoked"},
	    {KEYREC_REVOKED, 50, 100, 200, KEYREC_NOW_REVOKED, "revoked"},
	    {(enum keyrec_state)3, 0, 0, 0, KEYREC_NOW_DISABLED, "disabled"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keyrec k = {.state = cases[i].state,
		    .not_before_us = cases[i].not_before,
		    .expires_us = cases[i].expires};

		assert_int_equal(keyrec_now(&k, cases[i].now), cases[i].at);
		assert_string_equal(keyrec_state_at(&k, cases[i].now), cases[i].seen);
	}
	assert_string_equal(keyrec_state_name(KEYREC_ACTIVE), "active");
	assert_string_equal(keyrec_state_name(KEYREC_DISABLED), "disabled");
	assert_string_equal(keyrec_state_name(KEYREC_REVOKED), "revoked");
	assert_string_equal(keyrec_state_name((enum keyrec_state)3), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_come_back),
	    cmocka_unit_test(the_largest_record_fits),
	    cmocka_unit_test(plain_fields),
	    cmocka_unit_test(texts),
	    cmocka_unit_test(lists),
	    cmocka_unit_test(networks),
	    cmocka_unit_test(networks_are_in_order),
	    cmocka_unit_test(networks_are_found),
	    cmocka_unit_test(damaged_networks_hold_nobody),
	    cmocka_unit_test(versions),
	    cmocka_unit_test(every_cut_is_refused),
	    cmocka_unit_test(counts_out_of_bounds),
	    cmocka_unit_test(damage_never_decodes_to_what_check_refuses),
	    cmocka_unit_test(what_encodes_is_bounded),
	    cmocka_unit_test(states),
	};

	return cmocka_run_group_tests_name("keyrec", tests, NULL, NULL);
}
