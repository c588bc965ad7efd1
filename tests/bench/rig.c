/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The store that tests/bench/scale measures, its keys, and the clocks it is measured by.
 *
 * Everything goes through the store's and the decision's own verbs, in one process and without
 * sockets.  Keys are made from their number: they are as random as real ones, and a process that
 * looks them up needs no list of them.
 */

#include <err.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "scale.h"

#define BATCH_KEYS 1000
/* A checkpoint writes every page that changed since the last one, and new keys change pages all
 * over: the fewer the faster. */
#define CHECKPOINT_KEYS 2000000

static void
path_of(char *out, size_t cap, const char *top, const char *name)
{
	int n = snprintf(out, cap, "%s/%s", top, name);

	if (n < 0 || (size_t)n >= cap)
		errx(1, "%s: too long", top);
}

void
rig_must(const struct rig *r, int rc, const char *what)
{
	if (rc < 0)
		errx(1, "%s: %s", what, r->e.msg);
}

void
rig_make(struct rig *r, const struct scale_options *o)
{
	uint32_t version;

	*r = (struct rig){.now = {.wall_us = SCALE_T0, .steady_us = SCALE_T0}};
	path_of(r->top, sizeof(r->top), o->below, "apikeyd-scale.XXXXXX");
	if (mkdtemp(r->top) == NULL)
		err(1, "%s", r->top);
	path_of(r->dir, sizeof(r->dir), r->top, "store");
	path_of(r->pepper_file, sizeof(r->pepper_file), r->top, "peppers");
	unsetenv("CREDENTIALS_DIRECTORY");
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "scale");
	rig_must(r, peppers_add(r->pepper_file, (unsigned)-1, (unsigned)-1, &version, &r->e),
	    "making a pepper");
}

void
rig_open(struct rig *r, uint64_t cache_bytes)
{
	struct store_options o = {
	    .dir = r->dir, .cache_bytes = cache_bytes, .min_free_bytes = 16 * MIB};

	if ((r->store = store_open(&o, &r->e)) == NULL ||
	    (r->peppers = peppers_load(r->pepper_file, &r->e)) == NULL ||
	    (r->decide = decide_new(r->store, r->peppers, "ak", &r->e)) == NULL)
		errx(1, "opening the store: %s", r->e.msg);
}

void
rig_close(struct rig *r)
{
	decide_free(&r->decide);
	peppers_free(&r->peppers);
	store_close(&r->store);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
rig_remove(struct rig *r)
{
	rig_close(r);
	nftw(r->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
rig_batch(struct rig *r, int (*fn)(void *, struct err *), void *cookie)
{
	rig_must(r, store_batch(r->store, fn, cookie, &r->e), "a batch");
	decide_batch_end(r->decide, 1);
}

struct plan_step {
	struct rig *rig;
	struct plan plan;
};

static int
plan_step(void *cookie, struct err *e)
{
	const struct plan_step *step = cookie;

	return store_plan_put(step->rig->store, &step->plan, e);
}

void
rig_plan(struct rig *r, const char *name, const char *const *limits, size_t n)
{
	struct plan_step step = {.rig = r, .plan = {.nlimits = n}};

	rig_must(r, span_copy(step.plan.name, sizeof(step.plan.name), span_of(name)), "a plan");
	for (size_t i = 0; i < n; i++)
		rig_must(r, plan_limit_parse(limits[i], &step.plan.limits[i], &r->e), limits[i]);
	rig_batch(r, plan_step, &step);
	decide_forget_plans(r->decide);
}

/* ---- keys ---- */

/* splitmix64. */
uint64_t
scale_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void
letters(uint64_t *state, char *out, size_t n)
{
	static const char base62[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint64_t bits = 0;

	for (size_t i = 0; i < n; i++, bits /= 62) {
		if (i % 10 == 0)
			bits = scale_random(state);
		out[i] = base62[bits % 62];
	}
}

void
rig_key(uint64_t n, struct rig_key *k)
{
	static const char base62[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint64_t state = n << 8;
	uint32_t crc;

	memcpy(k->id, "key_", 4);
	letters(&state, k->id + 4, TOKEN_ID_LEN - 4);
	k->id[TOKEN_ID_LEN] = '\0';
	memcpy(k->text, "ak_live_", 8);
	letters(&state, k->text + 8, TOKEN_RANDOM);
	crc = digest_crc32(k->text, 8 + TOKEN_RANDOM);
	k->text[8 + TOKEN_RANDOM + TOKEN_CHECK] = '\0';
	for (size_t i = TOKEN_CHECK; i > 0; i--, crc /= 62)
		k->text[8 + TOKEN_RANDOM + i - 1] = base62[crc % 62];
}

struct keys_step {
	struct rig *rig;
	const char *plan;
	uint64_t next, end;
};

static int
keys_step(void *cookie, struct err *e)
{
	struct keys_step *s = cookie;
	uint8_t digest[DIGEST_LEN];
	struct rig_key k;
	char owner[32];

	for (unsigned i = 0; i < BATCH_KEYS && s->next < s->end; i++, s->next++) {
		struct keyrec rec = {.pepper = 1,
		    .plan = span_of(s->plan),
		    .name = span_of("of the bench"),
		    .created_us = SCALE_T0,
		    .changed_us = SCALE_T0};

		rig_key(s->next, &k);
		memcpy(rec.id, k.id, sizeof(rec.id));
		rec.start = (struct span){k.text, 12};
		if (snprintf(
			owner, sizeof(owner), "owner-%llu", (unsigned long long)(s->next / 10)) < 0)
			return -1;
		rec.owner = span_of(owner);
		if (peppers_digest(s->rig->peppers, 0, span_of(k.text), digest) != 0 ||
		    store_key_insert(s->rig->store, digest, &rec, e) != 0)
			return -1;
	}
	return 0;
}

void
rig_keys(struct rig *r, uint64_t from, uint64_t n, const char *plan)
{
	struct keys_step step = {.rig = r, .plan = plan, .next = from, .end = from + n};

	while (step.next < step.end) {
		rig_batch(r, keys_step, &step);
		if ((step.next - from) % CHECKPOINT_KEYS == 0)
			rig_must(r, store_housekeep(r->store, 1, &r->e), "a checkpoint");
	}
}

int
rig_check(struct rig *r, const struct rig_key *k, enum verdict want, struct err *e)
{
	struct wire_check check = {.seq = 1, .cost = 1, .credential = span_of(k->text)};
	struct wire_answer answer;
	int wrote = 0;

	if (decide_check(r->decide, &check, &r->now, &answer, &wrote, e) != 0)
		return -1;
	if (answer.verdict != want)
		errx(1, "%s: %s", k->id, verdict_info(answer.verdict)->code);
	return 0;
}

/* ---- figures ---- */

void
rig_settle(struct rig *r)
{
	rig_must(r, store_flush(r->store, &r->e), "a flush");
	rig_must(r, store_housekeep(r->store, 1, &r->e), "a checkpoint");
}

struct store_stat
rig_stat(struct rig *r)
{
	struct store_stat st;

	rig_must(r, store_stat(r->store, &st, &r->e), "figures");
	return st;
}

uint64_t
rig_file_bytes(const struct rig *r, const char *name)
{
	char path[300];
	struct stat st;

	path_of(path, sizeof(path), r->dir, name);
	if (stat(path, &st) != 0)
		err(1, "%s", path);
	return (uint64_t)st.st_size;
}

void *
scale_shared(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

void
scale_alone(void (*fn)(void *), void *shared)
{
	int status;
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) == -1)
		err(1, "fork");
	if (pid == 0) {
		fn(shared);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "a measurement failed");
}

double
scale_cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

uint64_t
scale_rss_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long size, resident;

	if (f == NULL || fscanf(f, "%llu %llu", &size, &resident) != 2)
		errx(1, "/proc/self/statm");
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
scale_quantile(double *values, size_t n, double q)
{
	size_t i = (size_t)(q * (double)n);

	qsort(values, n, sizeof(*values), by_size);
	return values[i < n ? i : n - 1];
}
