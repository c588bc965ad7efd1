/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Stored records (the first byte says of what kind): what decodes could have been stored, and comes
 * back the same when it is stored again.
 */

#include "core/alias.h"
#include "core/keyrec.h"
#include "core/plan.h"
#include "core/slog.h"

#include "fuzz.h"

static uint8_t mem[KEYREC_MAX];

static void
key(struct span s)
{
	static const struct netaddr addr = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}};
	struct netaddr_net net;
	struct keyrec k;
	struct wbuf w;
	struct err e;

	if (keyrec_decode(s, &k, &e) != 0)
		return;
	/* Networks are looked at when one is looked for, not in each decoding. */
	must(keyrec_check(&k, &e) == 0 || strncmp(e.msg, "network", 7) == 0);
	(void)keyrec_net_find(&k, &addr, &net);
	wbuf_init(&w, mem, sizeof(mem));
	keyrec_encode(&k, &w);
	must(!w.overflow && span_eq(wbuf_view(&w), s));
	(void)keyrec_now(&k, 0);
}

static void
alias(struct span s)
{
	struct alias a;
	struct wbuf w;
	struct err e;

	if (alias_decode(s, &a, &e) != 0)
		return;
	must(alias_is(s));
	wbuf_init(&w, mem, sizeof(mem));
	alias_encode(&a, &w);
	must(!w.overflow && span_eq(wbuf_view(&w), s));
}

static void
plan(struct span s)
{
	static uint8_t other[PLAN_RECORD_MAX];
	struct plan p, q;
	struct wbuf w;
	struct err e;

	if (plan_decode(s, &p, &e) != 0)
		return;
	must(plan_check(&p, &e) == 0);
	/* Of an older version it comes back in the newest. */
	wbuf_init(&w, other, sizeof(other));
	plan_encode(&p, &w);
	must(!w.overflow && plan_decode(wbuf_view(&w), &q, &e) == 0);
	must(strcmp(p.name, q.name) == 0 && p.nlimits == q.nlimits);
}

static void
head(struct span s)
{
	uint8_t bytes[SLOG_HEAD_MAX];
	struct slog log;
	struct err e;
	uint32_t doff, dlen;
	size_t n;

	if (slog_load(&log, s, &e) != 0)
		return;
	log.rewrite = 1;
	n = slog_head(&log, bytes, &doff, &dlen);
	must(n == s.len && memcmp(bytes, s.p, n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const kinds[])(struct span) = {key, alias, plan, head};

	if (n > 0)
		kinds[p[0] % 4]((struct span){(const char *)p + 1, n - 1});
	return 0;
}
