/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: over a real store, for any sequence of requests, plans, changes of plans and keys,
 * restarts, crashes, failed batches, full disks and clocks, the keeper decides and reports exactly
 * what a ledger says that keeps every admitted unit for ever and adds them up: the verdict, r, t
 * and Retry-After of every single request, and what dry runs tell the audit trail.  Guards
 * Invariants 1 and 2.
 *
 * Keeper and ledger share no code.  Which of a plan's limits is which after a change the test knows
 * by what it asked for; it holds the logs that the keeper names against that.
 *
 * Longer runs: --seed N --ops M; LONG=yes in the environment takes a random seed, which is printed.
 * A failing run tells the seed that repeats it alone.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#include "core/slog.h"
#include "http/ratelimit.h"
#include "keeper/steady.h"
#include "keeper_fixture.h"
#include "limits_ledger.h"
#include "store/internal.h"

#define KEYS 6
#define OWNERS 3
#define PLANS 3
#define NAMES 6 /* that limits can have */
#define LIMITS 4
#define LEDGERS 400
#define BATCH_MAX 8
#define REMEMBER_US INT64_C(10000000) /* how long a request id is one */
#define REMEMBERED 4096
#define AUDIT_MAX 900 /* the keeper reads that much back after a start */
#define KEEP_US CLOCK_SECOND

#define LONG_SECONDS 300 /* a long run ends earlier on a slow machine */

static time_t until;
static uint64_t seed = 20261122, ops_wanted = 20000, run_seed;

/* What the runs came to: one that never came to these would prove little. */
static struct {
	uint64_t checks, admitted, refused, never, loose, repeats, retries, told, aborts, restarts,
	    crashes, torn, reboots, back, plan_changes, renames, moves, swept, full, blocks;
} did;

/* ---- the world as the test knows it ---- */

/* Worlds of ones, of anything, and of large costs in logs of many blocks. */
enum scale { LIGHT, MIXED, HEAVY };

struct limit {
	int name; /* 'a' + name */
	uint64_t N;
	int64_t W;
	int dry;
	char log[LIMIT_LOG_MAX + 1];
};

struct plan_model {
	int per_owner;
	size_t n;
	struct limit at[LIMITS];
	char gone[NAMES][LIMIT_LOG_MAX + 1]; /* what limits that it had were counted under */
};

struct key_model {
	struct kf_key k;
	int owner, plan;
};

/* A request id that was decided. */
struct remembered {
	int key;
	char rid[8];
	uint64_t cost;
	int64_t when_us;
	uint64_t generation;
	enum verdict verdict;
	int64_t retry_us;
	size_t nlimits;
	struct wire_limit limits[PLAN_LIMITS_MAX];
};

struct world {
	struct kf *f;
	struct key_model keys[KEYS];
	struct plan_model plans[PLANS];
	struct ledger ledgers[LEDGERS];
	size_t nledgers;
	struct remembered remembered[REMEMBERED];
	size_t nremembered;
	uint64_t generation;
	enum scale scale;
	int writable, stepped, restarted;
	int64_t last_retry_us;
	int last_key;
	uint64_t last_cost;
};

static struct world *world; /* for the teardown */

/* ---- random choices ---- */

static uint64_t rng_state;

static uint64_t
rng(void)
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t
between(uint64_t lo, uint64_t hi)
{
	return lo + rng() % (hi - lo + 1);
}

static int
permille(unsigned p)
{
	return rng() % 1000 < p;
}

static uint64_t
random_units(enum scale scale)
{
	if (scale == HEAVY)
		return between(50000, 50000000);
	switch (rng() % 6) {
	case 0:
	case 1:
		return between(1, 10);
	case 2:
	case 3:
		return between(1, 300);
	case 4:
		return between(1, 5000);
	default:
		return between(5000, scale == LIGHT ? 20000 : 20000000);
	}
}

static int64_t
random_window(void)
{
	static const int64_t usual[] = {1, 2, 10, 60, 3600, 86400, INT64_C(366) * 86400};

	return (permille(300) ? (int64_t)between(1, 100) : usual[rng() % 7]) * CLOCK_SECOND;
}

/* ---- ledgers ---- */

static struct ledger *
ledger_of(struct world *w, const struct key_model *k, const struct limit *l)
{
	char name[sizeof(w->ledgers[0].name)];
	struct ledger *g;

	if (w->plans[k->plan].per_owner)
		(void)snprintf(name, sizeof(name), "oowner-%d/%s", k->owner, l->log);
	else
		(void)snprintf(name, sizeof(name), "k%s/%s", k->k.id, l->log);
	for (size_t i = 0; i < w->nledgers; i++)
		if (strcmp(w->ledgers[i].name, name) == 0)
			return &w->ledgers[i];
	assert_true(w->nledgers < LEDGERS);
	g = &w->ledgers[w->nledgers++];
	memcpy(g->name, name, sizeof(name));
	ledger_init(g);
	return g;
}

/* ---- one check: what the ledgers say of it, and what the keeper does ---- */

struct ask {
	int key;
	uint64_t cost;
	char rid[8];
	int retry;
};

static const struct remembered *
recall(const struct world *w, const struct ask *q)
{
	for (size_t i = w->nremembered; i > 0; i--) {
		const struct remembered *r = &w->remembered[i - 1];

		if (r->key == q->key && r->cost == q->cost && strcmp(r->rid, q->rid) == 0)
			return w->f->now.steady_us - r->when_us < REMEMBER_US ? r : NULL;
	}
	return NULL;
}

static void
remember(struct world *w, const struct ask *q, const struct wire_answer *a)
{
	struct remembered *r;

	if (q->rid[0] == '\0' || q->cost == 0)
		return;
	assert_true(w->nremembered < REMEMBERED);
	r = &w->remembered[w->nremembered++];
	*r = (struct remembered){.key = q->key,
	    .cost = q->cost,
	    .when_us = w->f->now.steady_us,
	    .generation = w->generation,
	    .verdict = a->verdict,
	    .retry_us = a->retry_us,
	    .nlimits = a->nlimits};
	memcpy(r->rid, q->rid, sizeof(r->rid));
	memcpy(r->limits, a->limits, a->nlimits * sizeof(a->limits[0]));
}

static void
assert_repeated(const struct remembered *r, const struct wire_answer *a)
{
	did.repeats++;
	assert_int_equal(a->verdict, r->verdict);
	assert_int_equal(a->retry_us, r->retry_us);
	assert_int_equal(a->nlimits, r->nlimits);
	for (size_t i = 0; i < a->nlimits; i++) {
		assert_string_equal(a->limits[i].name, r->limits[i].name);
		assert_int_equal(a->limits[i].max_units, r->limits[i].max_units);
		assert_int_equal(a->limits[i].window_us, r->limits[i].window_us);
		assert_int_equal(a->limits[i].remaining, r->limits[i].remaining);
		assert_int_equal(a->limits[i].more_us, r->limits[i].more_us);
		assert_int_equal(a->limits[i].violated, r->limits[i].violated);
	}
}

/* The answer's figures are those of the ledgers as they are now. */
static void
assert_figures(struct world *w, const struct key_model *k, const struct wire_answer *a,
    const struct ledger_says *before)
{
	const struct plan_model *p = &w->plans[k->plan];
	size_t at = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct limit *l = &p->at[i];
		const struct wire_limit *f = &a->limits[at];
		struct ledger_says v;

		if (l->dry)
			continue;
		assert_true(at++ < a->nlimits);
		assert_int_equal(f->name[0], 'a' + l->name);
		assert_int_equal(f->max_units, l->N);
		assert_int_equal(f->window_us, l->W);
		v = ledger_ask(ledger_of(w, k, l), w->f->now.steady_us, l->N, l->W, 0);
		if (before[i].loose || v.loose) {
			assert_true(f->remaining >= v.remaining);
			continue;
		}
		assert_int_equal(f->remaining, v.remaining);
		assert_int_equal(f->more_us, v.more_us);
		assert_int_equal(
		    f->violated, a->verdict == VERDICT_RATE_LIMITED && !before[i].fits);
	}
	assert_int_equal(a->nlimits, at);
}

/* Retry-After: when all that refuse have room, whole seconds, rounded up. */
static void
assert_retry(const struct plan_model *p, const struct wire_answer *a, const struct ledger_says *v)
{
	int64_t wait = 0, longest = 0, seconds;
	int never = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->at[i].dry)
			continue;
		if (v[i].loose)
			return;
		if (v[i].fits)
			continue;
		never |= v[i].retry_us < 0;
		if (v[i].retry_us > wait)
			wait = v[i].retry_us;
		if (p->at[i].W > longest)
			longest = p->at[i].W;
	}
	did.never += (uint64_t)never;
	assert_int_equal(a->retry_us, never ? -1 : wait);
	/* What can never fit is put off by a window. */
	seconds = ((never ? longest : wait) + CLOCK_SECOND - 1) / CLOCK_SECOND;
	assert_int_equal(ratelimit_retry_after(a), seconds);
}

/* After the window grew those beyond N may be unknown. */
static void
assert_used(const struct ledger_says *v, uint64_t N, int64_t used)
{
	if (v->grown)
		assert_in_range(used, v->used < N ? v->used : N, v->used);
	else
		assert_int_equal(used, v->used);
}

struct trail {
	struct world *w;
	const struct key_model *k;
	const struct ledger_says *before;
	uint64_t cost;
	size_t next; /* limit of the plan */
};

/* An entry is due for a limit of the plan behind the last one that was told. */
static int
read_told(void *cookie, const struct store_audit *au, struct err *e)
{
	struct trail *t = cookie;
	const struct plan_model *p = &t->w->plans[t->k->plan];
	cJSON *detail = json_parse_object(au->detail, e);
	const char *name = json_str(detail, "limit", NULL);
	char owner[16];
	struct ledger *g;

	assert_true(span_is(au->op, "limit.would_refuse"));
	assert_non_null(name);
	while (t->next < p->n && (!p->at[t->next].dry || p->at[t->next].name != name[0] - 'a'))
		t->next++;
	assert_true(t->next < p->n);
	(void)snprintf(owner, sizeof(owner), "owner-%d", t->k->owner);
	assert_true(span_is(au->subject, p->per_owner ? owner : t->k->k.id));
	assert_int_equal(json_int(detail, "cost", -1, 0, INT64_MAX, NULL), t->cost);
	if (!t->before[t->next].loose) {
		assert_false(t->before[t->next].fits);
		assert_used(&t->before[t->next], p->at[t->next].N,
		    json_int(detail, "used", -1, 0, INT64_MAX, NULL));
	}
	g = ledger_of(t->w, t->k, &p->at[t->next]);
	/* At most once in a window.  Over a restart the trail is read by the wall clock. */
	if (g->now.told && !(t->w->stepped && t->w->restarted))
		assert_true(t->w->f->now.steady_us - g->now.told_us >= p->at[t->next].W);
	g->now.told = 1;
	g->now.told_us = t->w->f->now.steady_us;
	did.told++;
	t->next++;
	cJSON_Delete(detail);
	return 0;
}

/* What dry runs told, and that none kept silent. */
static void
assert_told(struct world *w, const struct ask *q, const struct ledger_says *before,
    uint64_t audit_before, int counted)
{
	const struct key_model *k = &w->keys[q->key];
	const struct plan_model *p = &w->plans[k->plan];
	struct trail t = {.w = w, .k = k, .before = before, .cost = q->cost};
	struct err e = {0};

	if (!counted) {
		assert_int_equal(store_audit_last(w->f->store), audit_before);
		return;
	}
	assert_int_equal(store_audit_walk(w->f->store, audit_before, read_told, &t, &e), 0);
	for (size_t i = 0; i < p->n; i++) {
		const struct ledger *g = ledger_of(w, k, &p->at[i]);

		if (!p->at[i].dry || before[i].fits || before[i].loose ||
		    (w->stepped && w->restarted))
			continue;
		assert_true(g->now.told && w->f->now.steady_us - g->now.told_us < p->at[i].W);
	}
}

/* What is to happen, by the ledgers; a limit that is loose leaves it open. */
static void
assert_verdict(const struct world *w, const struct plan_model *p, const struct ask *q,
    const struct ledger_says *v, enum verdict is)
{
	int refused = 0, loose = 0, enforced = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->at[i].dry)
			continue;
		enforced = 1;
		refused |= !v[i].fits && !v[i].loose;
		loose |= !v[i].fits && v[i].loose;
	}
	did.loose += (uint64_t)loose;
	if (refused || (loose && is == VERDICT_RATE_LIMITED))
		assert_int_equal(is, VERDICT_RATE_LIMITED);
	else if (!w->writable && enforced && q->cost > 0)
		assert_int_equal(is, VERDICT_UNAVAILABLE);
	else
		assert_int_equal(is, VERDICT_OK);
}

/* What stays known of a log: N; of an owner's, the largest N of a plan that looks further back. */
static uint64_t
kept_units(const struct world *w, const struct plan_model *p, const struct limit *l)
{
	uint64_t units = l->N;

	for (size_t i = 0; p->per_owner && i < PLANS; i++) {
		const struct plan_model *o = &w->plans[i];

		for (size_t j = 0; o->per_owner && j < o->n; j++)
			if (strcmp(o->at[j].log, l->log) == 0 && o->at[j].W > l->W &&
			    o->at[j].N > units)
				units = o->at[j].N;
	}
	return units;
}

/* The answer to a request that is decided for the first time; the ledgers take it up. */
static void
compare(struct world *w, const struct ask *q, const struct wire_answer *a, uint64_t audit_before)
{
	const struct key_model *k = &w->keys[q->key];
	const struct plan_model *p = &w->plans[k->plan];
	struct ledger_says v[LIMITS];
	int counted = a->verdict == VERDICT_OK && q->cost > 0 && w->writable;

	for (size_t i = 0; i < p->n; i++)
		v[i] = ledger_ask(ledger_of(w, k, &p->at[i]), w->f->now.steady_us, p->at[i].N,
		    p->at[i].W, q->cost);
	assert_verdict(w, p, q, v, a->verdict);
	for (size_t i = 0; counted && i < p->n; i++)
		ledger_add(ledger_of(w, k, &p->at[i]), w->f->now.steady_us,
		    kept_units(w, p, &p->at[i]), p->at[i].W, q->cost);
	assert_told(w, q, v, audit_before, counted);
	if (a->verdict == VERDICT_UNAVAILABLE) {
		did.full++;
		assert_int_equal(a->nlimits, 0);
		return;
	}
	assert_figures(w, k, a, v);
	if (a->verdict == VERDICT_RATE_LIMITED) {
		did.refused++;
		assert_retry(p, a, v);
	} else {
		did.admitted++;
		assert_int_equal(a->retry_us, 0);
	}
	w->last_retry_us = a->retry_us;
	w->last_key = q->key;
	w->last_cost = q->cost;
	remember(w, q, a);
}

/* A request that was counted already is not counted again: its figures are those of now. */
static void
compare_counted(struct world *w, const struct ask *q, const struct wire_answer *a)
{
	struct ledger_says none[LIMITS];
	const struct key_model *k = &w->keys[q->key];
	const struct plan_model *p = &w->plans[k->plan];

	assert_int_equal(a->verdict, VERDICT_OK);
	for (size_t i = 0; i < p->n; i++)
		none[i] = ledger_ask(
		    ledger_of(w, k, &p->at[i]), w->f->now.steady_us, p->at[i].N, p->at[i].W, 0);
	assert_figures(w, k, a, none);
	assert_int_equal(a->retry_us, 0);
	if (q->retry)
		remember(w, q, a);
}

static int
check(struct world *w, const struct ask *q, struct err *e)
{
	const struct key_model *k = &w->keys[q->key];
	uint64_t audit_before = store_audit_last(w->f->store);
	struct wire_check c = kf_check(&k->k);
	const struct remembered *r = NULL;
	struct wire_answer a;
	int wrote;

	c.cost = (uint32_t)q->cost;
	c.retry = (uint8_t)q->retry;
	c.request_id = span_of(q->rid);
	if (decide_check(w->f->decide, &c, &w->f->now, &a, &wrote, e) != 0)
		return -1;
	did.checks++;
	if (w->plans[k->plan].n == 0) {
		assert_int_equal(a.verdict, VERDICT_OK);
		assert_int_equal(a.nlimits, 0);
		return 0;
	}
	if (!q->retry && q->rid[0] != '\0' && q->cost > 0)
		r = recall(w, q);
	if (r != NULL && r->generation == w->generation)
		assert_repeated(r, &a);
	else if (q->retry || (r != NULL && r->verdict == VERDICT_OK))
		compare_counted(w, q, &a);
	else
		compare(w, q, &a, audit_before);
	did.retries += (uint64_t)q->retry;
	return 0;
}

/* ---- batches, that may be aborted or torn by a crash ---- */

enum ending { COMMITS, ABORTS, TEARS };

struct batch {
	struct world *w;
	enum ending ending;
	size_t n;
	struct ask asks[BATCH_MAX];
	size_t nledgers, nremembered;
	struct ledger_state before[LEDGERS];
};

static void copy_store(struct world *);

/* Most often 1 (in heavy worlds thousands); else what just fits into a limit or just not, or any.
 */
static uint64_t
random_cost(struct world *w, const struct key_model *k)
{
	const struct plan_model *p = &w->plans[k->plan];
	const struct limit *l = p->n > 0 ? &p->at[rng() % p->n] : NULL;
	uint64_t r = rng() % 100, cost = 1;

	if (r < 3)
		return 0;
	if (r < 75)
		return w->scale == HEAVY ? between(1, 50000) : 1;
	if (r < 88)
		return between(1, w->scale == LIGHT ? 10 : 2000);
	if (l != NULL && r < 95)
		cost =
		    ledger_ask(ledger_of(w, k, l), w->f->now.steady_us, l->N, l->W, 0).remaining +
		    between(0, 2);
	else if (l != NULL)
		cost = between(1, l->N);
	cost += cost == 0;
	return cost < LIMIT_COST_MAX ? cost : LIMIT_COST_MAX;
}

static struct ask
random_ask(struct world *w)
{
	struct ask q = {.key = (int)between(0, KEYS - 1)};

	q.cost = random_cost(w, &w->keys[q.key]);

	/* Ask again, when or just before it was promised to be admitted. */
	if (w->last_retry_us != 0 && permille(300)) {
		q.key = w->last_key;
		q.cost = w->last_cost;
	}
	if (permille(150))
		(void)snprintf(q.rid, sizeof(q.rid), "r%d", (int)between(0, 5));
	q.retry = permille(5);
	return q;
}

static int
run_batch(void *cookie, struct err *e)
{
	struct batch *b = cookie;
	struct world *w = b->w;

	for (size_t i = 0; i < b->n; i++)
		if (check(w, &b->asks[i], e) != 0)
			return -1;
	if (b->ending == TEARS)
		copy_store(w);
	return b->ending == COMMITS ? 0 : err_set(e, ERR_FULL, "as if the disk were full");
}

/* What was in doubt has not happened. */
static void
take_back(struct batch *b)
{
	struct world *w = b->w;

	for (size_t i = b->nledgers; i < w->nledgers; i++)
		ledger_init(&w->ledgers[i]);
	for (size_t i = 0; i < b->nledgers; i++)
		w->ledgers[i].now = b->before[i];
	w->nremembered = b->nremembered;
}

static void
one_batch(struct world *w, enum ending ending)
{
	struct batch b = {.w = w, .ending = ending, .n = between(1, permille(700) ? 1 : BATCH_MAX)};
	uint64_t audit_before = store_audit_last(w->f->store);
	int rc;

	b.nledgers = w->nledgers;
	b.nremembered = w->nremembered;
	for (size_t i = 0; i < w->nledgers; i++)
		b.before[i] = w->ledgers[i].now;
	for (size_t i = 0; i < b.n; i++)
		b.asks[i] = random_ask(w);
	rc = store_batch(w->f->store, run_batch, &b, &w->f->e);
	decide_batch_end(w->f->decide, rc == 0);
	if ((rc == 0) != (ending == COMMITS))
		fail_msg("%s", w->f->e.msg);
	if (rc == 0)
		return;
	take_back(&b);
	assert_int_equal(store_audit_last(w->f->store), audit_before);
	did.aborts++;
}

/* ---- restarts ---- */

static void
copy_file(int from_dir, int to_dir, const char *name)
{
	static char buf[1 << 16];
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(from >= 0 && to >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		assert_int_equal(write(to, buf, (size_t)n), n);
	assert_int_equal(n, 0);
	(void)close(from);
	(void)close(to);
}

/* The store's files as they are this moment: what a kill would leave. */
static void
copy_store(struct world *w)
{
	char path[300];
	struct dirent *entry;
	DIR *from;
	int to;

	kf_path(path, sizeof(path), w->f->top, "left");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_non_null(from = opendir(w->f->state_dir));
	assert_true((to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
	while ((entry = readdir(from)) != NULL)
		if (entry->d_name[0] != '.')
			copy_file(dirfd(from), to, entry->d_name);
	(void)closedir(from);
	(void)close(to);
}

/* Go on with the copy, as the next keeper would after a kill. */
static void
use_copy(struct world *w)
{
	char path[300];

	kf_path(path, sizeof(path), w->f->top, "left");
	nftw(w->f->state_dir, kf_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(rename(path, w->f->state_dir), 0);
}

/* Logs are written out behind the journal sooner or later. */
static void
reopen(struct world *w)
{
	static const uint64_t behind[] = {1, 4, 30, 200};

	kf_open(w->f);
	if (permille(700))
		w->f->store->takes_max = behind[rng() % 4];
}

static void
restart(struct world *w, enum ending ending)
{
	if (ending == TEARS) {
		one_batch(w, TEARS);
		did.torn++;
	} else if (ending == ABORTS) {
		copy_store(w);
		did.crashes++;
	}
	kf_close(w->f);
	if (ending != COMMITS) {
		use_copy(w);
		for (size_t i = 0; i < w->nledgers; i++)
			ledger_crash(&w->ledgers[i]);
	}
	reopen(w);
	w->nremembered = 0;
	w->generation++;
	w->restarted = 1;
	w->writable = 1;
	did.restarts++;
}

/* A reboot: the clock goes on from what was stored, which is up to 10 s old, or time has passed. */
static void
reboot(struct world *w)
{
	int64_t last_us = w->f->now.steady_us - (int64_t)between(0, 10 * CLOCK_SECOND);
	int64_t wall_us = last_us, boot_us = (int64_t)between(0, 100 * CLOCK_SECOND);

	if (permille(500))
		wall_us -= (int64_t)between(0, INT64_C(4000) * CLOCK_SECOND);
	else
		wall_us += (int64_t)between(
		    0, permille(500) ? 20 * CLOCK_SECOND : INT64_C(90000) * CLOCK_SECOND);
	restart(w, permille(500) ? COMMITS : ABORTS);
	w->f->now.steady_us = boot_us + steady_offset(0, 12345, last_us, wall_us, boot_us);
	/* Nothing is forgiven and nobody locked out: later than now is time that passed. */
	assert_true(w->f->now.steady_us == (wall_us > last_us ? wall_us : last_us));
	w->stepped = 1;
	did.reboots++;
}

/* ---- time ---- */

static void
random_step(struct world *w)
{
	const struct plan_model *p = &w->plans[between(0, PLANS - 1)];
	int64_t W = p->n > 0 ? p->at[rng() % p->n].W : CLOCK_SECOND, step = 0;
	uint64_t r = rng() % 1000;

	if (r >= 250 && r < 600)
		step = (int64_t)between(0, (uint64_t)W / 20);
	else if (r < 750)
		step = (int64_t)between(0, 3 * CLOCK_SECOND);
	else if (r < 900 && w->last_retry_us > 0)
		step = w->last_retry_us + (int64_t)between(0, 2) - 1;
	else if (r < 940)
		step = W + (int64_t)between(0, 2) - 1;
	else if (r < 950)
		step = (int64_t)between(0, (uint64_t)W);
	else if (r == 999)
		step = 3 * W;
	if (r < 250)
		step = 0;
	/* The entries of logs hold times until 2091. */
	if (step < 0 || w->f->now.steady_us + step > T0 + INT64_C(40) * 366 * 86400 * CLOCK_SECOND)
		step = 0;
	w->f->now.steady_us += step;
	w->f->now.wall_us += step;
}

/* ---- changes of plans ---- */

struct change {
	struct plan_model next;
	int from[LIMITS]; /* which limit of the plan before it is; -1: a new one */
	int said[LIMITS]; /* with --rename */
};

static void
set_in_json(char *to, size_t cap, int plan, const struct plan_model *before, const struct change *c)
{
	size_t at = 0;
	int n = 0;

#define ADD(...) (at += (size_t)snprintf(to + at, cap - at, __VA_ARGS__), assert_true(at < cap))
	ADD("{\"op\":\"plan.set\",\"name\":\"p%d\",\"per\":\"%s\",\"dry_run\":%s,\"limits\":[",
	    plan, c->next.per_owner ? "owner" : "key",
	    c->next.n > 0 && c->next.at[0].dry ? "true" : "false");
	for (size_t i = 0; i < c->next.n; i++)
		ADD("%s{\"name\":\"%c\",\"units\":%llu,\"window\":\"%llds\"}", i == 0 ? "" : ",",
		    'a' + c->next.at[i].name, (unsigned long long)c->next.at[i].N,
		    (long long)(c->next.at[i].W / CLOCK_SECOND));
	ADD("],\"rename\":{");
	for (size_t i = 0; i < c->next.n; i++)
		if (c->said[i])
			ADD("%s\"%c\":\"%c\"", n++ == 0 ? "" : ",",
			    'a' + before->at[c->from[i]].name, 'a' + c->next.at[i].name);
	ADD("}}");
#undef ADD
}

static int
log_used(const struct plan_model *p, const char *log, size_t but)
{
	for (size_t i = 0; i < p->n; i++)
		if (i != but && strcmp(p->at[i].log, log) == 0)
			return 1;
	return 0;
}

/* Do the logs that the keeper gave fit what was asked for? */
static void
assert_logs(const struct plan_model *before, const struct change *c)
{
	const struct plan_model *next = &c->next;

	for (size_t i = 0; i < next->n; i++) {
		const struct limit *l = &next->at[i];

		assert_false(log_used(next, l->log, i));
		if (c->from[i] >= 0)
			assert_string_equal(l->log, before->at[c->from[i]].log);
		else if (before->gone[l->name][0] != '\0' &&
			 !log_used(next, before->gone[l->name], i))
			assert_string_equal(l->log, before->gone[l->name]);
	}
}

/* One plan has dry runs and others only when somebody stores it so. */
struct mixing {
	struct world *w;
	int plan;
};

static int
mix(void *cookie, struct err *e)
{
	struct mixing *m = cookie;
	const struct plan_model *model = &m->w->plans[m->plan];
	char name[8];
	struct plan p;

	(void)snprintf(name, sizeof(name), "p%d", m->plan);
	if (store_plan_get(m->w->f->store, span_of(name), &p, e) != 1)
		return -1;
	for (size_t i = 0; i < p.nlimits; i++)
		p.limits[i].dry_run = model->at[i].dry;
	return store_plan_put(m->w->f->store, &p, e);
}

static void
apply(struct world *w, int plan, struct change *c)
{
	struct plan_model *p = &w->plans[plan], *next = &c->next;
	struct mixing m = {w, plan};
	cJSON *result, *limits;
	char request[1024];

	set_in_json(request, sizeof(request), plan, p, c);
	result = kf_do(w->f, request);
	limits = cJSON_GetObjectItem(result, "limits");
	assert_int_equal(cJSON_GetArraySize(limits), next->n);
	for (size_t i = 0; i < next->n; i++) {
		const char *log = json_str(cJSON_GetArrayItem(limits, (int)i), "log", NULL);

		assert_non_null(log);
		assert_int_equal(
		    span_copy(next->at[i].log, sizeof(next->at[i].log), span_of(log)), 0);
	}
	cJSON_Delete(result);
	assert_logs(p, c);
	/* What is gone, and what is there again. */
	memcpy(next->gone, p->gone, sizeof(next->gone));
	for (size_t j = 0; j < p->n; j++) {
		int stays = 0;

		for (size_t i = 0; i < next->n; i++)
			stays |= c->from[i] == (int)j;
		if (!stays)
			memcpy(next->gone[p->at[j].name], p->at[j].log, sizeof(next->gone[0]));
	}
	for (size_t i = 0; i < next->n; i++)
		next->gone[next->at[i].name][0] = '\0';
	*p = *next;
	if (store_batch(w->f->store, mix, &m, &w->f->e) != 0)
		fail_msg("%s", w->f->e.msg);
	decide_forget_plans(w->f->decide);
	w->generation += 2;
	did.plan_changes++;
}

static int
name_free(const struct plan_model *p)
{
	int name;

	for (;;) {
		int used = 0;

		name = (int)between(0, NAMES - 1);
		for (size_t i = 0; i < p->n; i++)
			used |= p->at[i].name == name;
		if (!used)
			return name;
	}
}

static void
figures(enum scale scale, struct limit *l)
{
	switch (rng() % 6) {
	case 0:
		l->N = l->N > 1 ? l->N / 2 : 1;
		break;
	case 1:
		l->N = l->N * 2 > LIMIT_UNITS_MAX ? l->N : l->N * 2;
		break;
	case 2:
		l->W = l->W > 2 * CLOCK_SECOND ? (l->W / 2 / CLOCK_SECOND) * CLOCK_SECOND : l->W;
		break;
	case 3:
		l->W = l->W > LIMIT_WINDOW_MAX_US / 2 ? l->W : l->W * 2;
		break;
	case 4:
		l->N = random_units(scale);
		break;
	default:
		l->W = random_window();
	}
}

/* So that no two that come or go are alike: nothing is taken for a rename that is none. */
static void
make_unlike(const struct plan_model *before, struct plan_model *p, size_t at)
{
	for (size_t i = 0; i < before->n; i++)
		if (before->at[i].N == p->at[at].N && before->at[i].W == p->at[at].W) {
			p->at[at].N++;
			make_unlike(before, p, at);
			return;
		}
}

static void
add_limit(enum scale scale, const struct plan_model *before, struct change *c)
{
	struct plan_model *p = &c->next;

	if (p->n == LIMITS)
		return;
	p->at[p->n] = (struct limit){.name = name_free(p),
	    .N = random_units(scale),
	    .W = random_window(),
	    .dry = permille(250)};
	/* The name of one that is just leaving would be that one. */
	for (size_t i = 0; i < before->n; i++)
		if (before->at[i].name == p->at[p->n].name)
			return;
	make_unlike(before, p, p->n);
	c->from[p->n] = -1;
	p->n++;
}

static void
remove_limit(struct change *c)
{
	struct plan_model *p = &c->next;
	size_t at;

	if (p->n == 0)
		return;
	at = rng() % p->n;
	p->n--;
	for (; at < p->n; at++) {
		p->at[at] = p->at[at + 1];
		c->from[at] = c->from[at + 1];
	}
}

/* One limit is called otherwise: recognised when only that changes, said when more does. */
static void
rename_limit(enum scale scale, struct change *c)
{
	struct plan_model *p = &c->next;
	size_t at, other;

	if (p->n == 0)
		return;
	at = rng() % p->n;
	did.renames++;
	if (p->n > 1 && permille(200)) { /* two swap their names */
		int name = p->at[at].name;

		other = (at + 1) % p->n;
		p->at[at].name = p->at[other].name;
		p->at[other].name = name;
		c->said[at] = c->said[other] = 1;
		return;
	}
	p->at[at].name = name_free(p);
	c->said[at] = permille(500);
	if (c->said[at] && permille(700))
		figures(scale, &p->at[at]);
}

static void
change_plan(struct world *w, int plan)
{
	struct change c = {.next = w->plans[plan]};

	for (size_t i = 0; i < c.next.n; i++)
		c.from[i] = (int)i;
	switch (rng() % 8) {
	case 0:
		add_limit(w->scale, &w->plans[plan], &c);
		break;
	case 1:
		remove_limit(&c);
		break;
	case 2: /* one goes, another comes, and they are two */
		remove_limit(&c);
		add_limit(w->scale, &w->plans[plan], &c);
		break;
	case 3:
		rename_limit(w->scale, &c);
		break;
	case 4:
		if (c.next.n > 0)
			c.next.at[rng() % c.next.n].dry ^= 1;
		if (permille(100))
			c.next.per_owner ^= 1;
		break;
	default:
		for (size_t i = 0; i < c.next.n; i++)
			figures(w->scale, &c.next.at[i]);
	}
	apply(w, plan, &c);
}

/* ---- keys ---- */

static void
move_key(struct world *w)
{
	struct key_model *k = &w->keys[between(0, KEYS - 1)];
	char members[64];

	if (permille(700))
		k->plan = (int)between(0, PLANS - 1);
	else
		k->owner = (int)between(0, OWNERS - 1);
	(void)snprintf(members, sizeof(members), ",\"plan\":\"p%d\",\"owner\":\"owner-%d\"",
	    k->plan, k->owner);
	kf_done(w->f, kf_on("key.set", k->k.id, members));
	w->generation++;
	did.moves++;
}

/* What is shown of a key, dry runs too, is what the ledgers say. */
static void
show_key(struct world *w)
{
	const struct key_model *k = &w->keys[between(0, KEYS - 1)];
	const struct plan_model *p = &w->plans[k->plan];
	cJSON *r = kf_do(w->f, kf_on("key.show", k->k.id, "")), *limits;

	limits = cJSON_GetObjectItem(r, "limits");
	assert_int_equal(cJSON_GetArraySize(limits), p->n);
	for (size_t i = 0; i < p->n; i++) {
		const struct limit *l = &p->at[i];
		struct ledger_says v =
		    ledger_ask(ledger_of(w, k, l), w->f->now.steady_us, l->N, l->W, 0);
		const cJSON *shown = cJSON_GetArrayItem(limits, (int)i);

		if (v.loose)
			continue;
		assert_int_equal(json_int(shown, "remaining", -1, 0, INT64_MAX, NULL), v.remaining);
		assert_used(&v, l->N, json_int(shown, "used", -1, 0, INT64_MAX, NULL));
	}
	cJSON_Delete(r);
}

/* ---- the sweep ---- */

static int64_t
longest_window(const struct world *w, const char *log)
{
	int64_t longest = 0;

	for (int i = 0; i < PLANS; i++)
		for (size_t j = 0; j < w->plans[i].n; j++)
			if (strcmp(w->plans[i].at[j].log, log) == 0 &&
			    w->plans[i].at[j].W > longest)
				longest = w->plans[i].at[j].W;
	return longest;
}

struct sweeping {
	struct world *w;
	struct store_cursor cursor;
	unsigned freed, all;
	int ended;
};

static int
sweep_some(void *cookie, struct err *e)
{
	struct sweeping *s = cookie;
	int rc = store_logs_sweep(
	    s->w->f->store, s->w->f->now.steady_us, KEEP_US, 16, &s->cursor, &s->freed, e);

	s->all += s->freed;
	s->ended = rc == 1;
	return rc < 0 ? -1 : 0;
}

static void
sweep(struct world *w)
{
	struct sweeping s = {.w = w};
	unsigned idle = 0, maybe = 0;

	while (!s.ended)
		if (store_batch(w->f->store, sweep_some, &s, &w->f->e) != 0)
			fail_msg("%s", w->f->e.msg);
	for (size_t i = 0; i < w->nledgers; i++) {
		struct ledger *g = &w->ledgers[i];
		int64_t window = longest_window(w, strrchr(g->name, '/') + 1);

		if (window < g->now.window_us)
			window = g->now.window_us;
		if (ledger_empty(g) || ledger_newest(g) >= w->f->now.steady_us - KEEP_US - window)
			continue;
		idle += !g->now.maybe;
		maybe += g->now.maybe != 0;
		ledger_clear(g);
	}
	assert_in_range(s.all, idle, idle + maybe);
	did.swept += idle;
}

/* ---- a run ---- */

static void
begin(struct world *w)
{
	char members[64];

	assert_int_equal(kf_setup((void **)&w->f), 0);
	w->writable = 1;
	w->scale = (enum scale)(rng() % 3);
	for (int i = 0; i < PLANS; i++) {
		struct change c = {.next.per_owner = permille(300)};

		for (uint64_t n = between(1, 3); n > 0; n--)
			add_limit(w->scale, &w->plans[i], &c);
		apply(w, i, &c);
	}
	for (int i = 0; i < KEYS; i++) {
		struct key_model *k = &w->keys[i];

		k->owner = (int)between(0, OWNERS - 1);
		k->plan = (int)between(0, PLANS - 1);
		(void)snprintf(members, sizeof(members), ",\"plan\":\"p%d\"", k->plan);
		k->k = kf_key(w->f, members);
		(void)snprintf(members, sizeof(members), ",\"owner\":\"owner-%d\"", k->owner);
		kf_done(w->f, kf_on("key.set", k->k.id, members));
		w->generation += 2;
	}
}

static void
end(struct world *w)
{
	if (w->f != NULL)
		kf_teardown((void **)&w->f);
	for (size_t i = 0; i < w->nledgers; i++)
		free(w->ledgers[i].at);
	free(w);
	world = NULL;
}

static void
one_op(struct world *w, int steps)
{
	uint64_t r = rng() % 1000;

	random_step(w);
	if (w->nremembered > REMEMBERED - BATCH_MAX || store_audit_last(w->f->store) > AUDIT_MAX)
		return;
	if (r < 12)
		change_plan(w, (int)between(0, PLANS - 1));
	else if (r < 20)
		move_key(w);
	else if (r < 50)
		show_key(w);
	else if (r < 54) {
		sweep(w);
		if (permille(200))
			restart(w, ABORTS);
	} else if (r < 57)
		restart(w, (enum ending)(rng() % 3));
	else if (r < 58 && steps)
		reboot(w);
	else if (r < 61 || (!w->writable && r < 150))
		decide_set_writable(w->f->decide, w->writable = !w->writable);
	else if (r < 64 && steps) {
		/* The wall clock is set: nothing but the age of keys goes by it. */
		w->f->now.wall_us +=
		    (int64_t)between(0, INT64_C(90000) * CLOCK_SECOND) - 3600 * CLOCK_SECOND;
		w->stepped = 1;
		did.back++;
	} else if (r < 66)
		assert_int_equal(store_housekeep(w->f->store, 1, &w->f->e), 0);
	else
		one_batch(w, permille(20) ? ABORTS : COMMITS);
}

static void
one_run(void)
{
	uint64_t ops = between(200, 2500);
	struct store_stat st;
	int steps;

	assert_non_null(world = calloc(1, sizeof(*world)));
	begin(world);
	steps = permille(500);
	for (; ops > 0 && store_audit_last(world->f->store) <= AUDIT_MAX; ops--)
		one_op(world, steps);
	assert_int_equal(store_stat(world->f->store, &st, &world->f->e), 0);
	did.blocks += st.blocks;
	end(world);
}

static void
agrees_with_the_ledgers(void **state)
{
	(void)state;
	while (did.checks < ops_wanted && (until == 0 || time(NULL) < until)) {
		/* Each run from a seed of its own, so that a failing one can be repeated alone. */
		rng_state = run_seed = seed++;
		one_run();
	}
#define D(member) (unsigned long long)did.member
	print_message("%llu checks: %llu admitted, %llu refused (%llu for ever), %llu loose, "
		      "%llu repeated, %llu retried; %llu dry runs told; %llu aborts, %llu restarts "
		      "(%llu after a crash, %llu in a batch, %llu reboots), %llu wall clocks set; "
		      "%llu plan changes, %llu renames, %llu moves, %llu logs swept, %llu without "
		      "space, %llu blocks left\n",
	    D(checks), D(admitted), D(refused), D(never), D(loose), D(repeats), D(retries), D(told),
	    D(aborts), D(restarts), D(crashes), D(torn), D(reboots), D(back), D(plan_changes),
	    D(renames), D(moves), D(swept), D(full), D(blocks));
#undef D
	if (ops_wanted < 20000)
		return;
	assert_true(did.admitted > did.checks / 5 && did.refused > did.checks / 10);
	assert_true(did.never && did.loose && did.repeats && did.retries && did.told && did.aborts);
	assert_true(did.crashes && did.torn && did.reboots && did.back && did.plan_changes);
	assert_true(did.renames && did.moves && did.swept && did.full && did.blocks);
	/* Those that are not held to every figure are few. */
	assert_true(did.loose < did.checks / 10);
}

static int
teardown(void **state)
{
	(void)state;
	if (world == NULL)
		return 0;
	print_message(
	    "repeat it: test_limits_oracle --seed %llu --ops 1\n", (unsigned long long)run_seed);
	end(world);
	return 0;
}

static uint64_t
number(const char *text)
{
	unsigned long long n;

	if (span_u64(span_of(text), INT64_MAX, &n) != 0) {
		(void)fprintf(stderr, "test_limits_oracle: not a number: %s\n", text);
		exit(2);
	}
	return n;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(agrees_with_the_ledgers, teardown),
	};
	const char *is_long = getenv("LONG");
	int i;

	if (is_long != NULL && strcmp(is_long, "yes") == 0) {
		seed = (uint64_t)time(NULL) * 1000;
		ops_wanted = 3000000;
		until = time(NULL) + LONG_SECONDS;
	}
	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = number(argv[i + 1]);
		else if (strcmp(argv[i], "--ops") == 0)
			ops_wanted = number(argv[i + 1]);
		else
			break;
	}
	if (i != argc) {
		(void)fprintf(stderr, "usage: test_limits_oracle [--seed N] [--ops M]\n");
		return 2;
	}
	print_message("first seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
