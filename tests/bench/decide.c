/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many checks a second the keeper decides, without sockets: a real store below TMPDIR, real
 * peppers, HMAC, lookup, limits, one commit a batch (WRITE_NOSYNC), on one core.  Prints one line
 * of figures; compiled by `make tests/bench/decide`.
 *
 *	build/tests/bench/decide [-k KEYS] [-l LIMITS] [-n UNITS] [-b BATCH] [-c CHECKS] [-a
 *NETWORKS]
 *
 * CPU time is what counts on a shared machine; `valgrind --tool=callgrind` counts its instructions.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "../unit/keeper_fixture.h"

struct run {
	struct kf *f;
	const char (*keys)[TOKEN_MAX + 1];
	unsigned nkeys, batch, networks;
	uint64_t next, admitted;
};

static double
cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int
one_batch(void *cookie, struct err *e)
{
	struct run *r = cookie;
	unsigned i;

	for (i = 0; i < r->batch; i++) {
		struct wire_check check = {.seq = r->next, .cost = 1};
		struct wire_answer answer;
		int wrote = 0;

		/* One of the key's networks, if it has any: 10.N.M.0/24. */
		if (r->networks > 0) {
			unsigned net = (unsigned)(r->next * 104729 % r->networks);

			check.has_addr = 1;
			memcpy(check.addr.b,
			    (uint8_t[16]){
				[10] = 0xff, 0xff, 10, (uint8_t)(net >> 8), (uint8_t)net, 7},
			    sizeof(check.addr.b));
		}
		check.credential = span_of(r->keys[r->next++ * 7919 % r->nkeys]);
		r->f->now.steady_us += 3;
		if (decide_check(r->f->decide, &check, &r->f->now, &answer, &wrote, e) == -1)
			return -1;
		r->admitted += answer.verdict == VERDICT_OK;
	}
	return 0;
}

static void
insert(struct run *r, const char *plan, char key[TOKEN_MAX + 1])
{
	static char request[65536];
	struct kf *f = r->f;
	struct wbuf w, reply;
	const char *at;

	wbuf_init(&w, request, sizeof(request));
	wbuf_printf(
	    &w, "{\"op\":\"key.create\",\"owner\":\"o\",\"plan\":\"%s\",\"allow_ips\":[", plan);
	for (unsigned i = 0; i < r->networks; i++)
		wbuf_printf(&w, "%s\"10.%u.%u.0/24\"", i > 0 ? "," : "", i >> 8, i & 255);
	wbuf_str(&w, "]}");
	wbuf_init(&reply, f->reply, sizeof(f->reply));
	ops_run(&f->ops, &(struct ops_peer){.uid = getuid(), .may_admin = 1}, wbuf_view(&w), &reply,
	    &f->changed);
	at = strstr(wbuf_cstr(&reply), "\"key\":\"ak_");
	assert_non_null(at);
	assert_int_equal(
	    span_copy(key, TOKEN_MAX + 1, (struct span){at + 7, strcspn(at + 7, "\"")}), 0);
}

int
main(int argc, char **argv)
{
	unsigned nkeys = 1000, limits = 2, i;
	unsigned long long units = 1000000, checks = 400000;
	struct run r = {.batch = 16};
	struct plan plan = {.name = "bench"};
	char(*keys)[TOKEN_MAX + 1];
	double start;
	int c;

	while ((c = getopt(argc, argv, "k:l:n:b:c:a:")) != -1) {
		unsigned long long n = strtoull(optarg, NULL, 10);

		switch (c) {
		case 'k':
			nkeys = (unsigned)n;
			break;
		case 'l':
			limits = (unsigned)n;
			break;
		case 'n':
			units = n;
			break;
		case 'b':
			r.batch = (unsigned)n;
			break;
		case 'c':
			checks = n;
			break;
		case 'a':
			r.networks = (unsigned)n;
			break;
		default:
			return 2;
		}
	}
	r.f = kf_make();
	r.f->config.cache_bytes = UINT64_C(64) << 20;
	kf_open(r.f);
	plan.nlimits = limits;
	for (i = 0; i < limits; i++)
		plan.limits[i] = (struct plan_limit){.name = {(char)('a' + i)},
		    .max_units = units,
		    .window_us = (60 + i) * CLOCK_SECOND};
	{
		char request[512];
		struct wbuf w, reply;

		wbuf_init(&w, request, sizeof(request));
		wbuf_str(&w, "{\"op\":\"plan.set\",\"name\":\"bench\",\"limits\":[");
		for (i = 0; i < limits; i++)
			wbuf_printf(&w, "%s{\"name\":\"%s\",\"units\":%llu,\"window\":\"%us\"}",
			    i ? "," : "", plan.limits[i].name, units, 60 + i);
		wbuf_str(&w, "]}");
		wbuf_init(&reply, r.f->reply, sizeof(r.f->reply));
		ops_run(&r.f->ops, &(struct ops_peer){.uid = getuid(), .may_admin = 1},
		    wbuf_view(&w), &reply, &r.f->changed);
		assert_non_null(strstr(wbuf_cstr(&reply), "\"ok\":true"));
	}
	keys = calloc(nkeys, sizeof(*keys));
	for (i = 0; i < nkeys; i++)
		insert(&r, limits > 0 ? "bench" : "default", keys[i]);
	r.keys = (const char(*)[TOKEN_MAX + 1]) keys;
	r.nkeys = nkeys;
	start = cpu_us();
	for (r.next = 0; r.next < checks;) {
		assert_int_equal(store_batch(r.f->store, one_batch, &r, &r.f->e), 0);
		decide_batch_end(r.f->decide, 1);
	}
	start = cpu_us() - start;
	printf("keys=%u networks=%u limits=%u units=%llu batch=%u checks=%llu admitted=%llu "
	       "cpu_us_per_check=%.2f checks_per_cpu_second=%.0f\n",
	    nkeys, r.networks, limits, units, r.batch, checks, (unsigned long long)r.admitted,
	    start / (double)checks, (double)checks / start * 1e6);
	free(keys);
	(void)kf_teardown(&(void *){r.f});
	return 0;
}
