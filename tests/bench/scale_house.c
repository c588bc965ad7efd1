/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What housekeeping makes checks wait: the sweep of logs that nobody uses, which shares the
 * keeper's loop with them, and the checkpoint, which runs beside it in the housekeeping thread.
 *
 * A check that arrives while the sweep has the loop waits for the end of that slice, so the longest
 * slice is the longest delay.  CPU time of a slice says what it costs on an idle machine, wall time
 * what it took on this one.  The sweep runs with the real housekeeping thread beside it.
 */

#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "keeper/housekeeper.h"
#include "keeper/sweep.h"
#include "scale.h"

#define CACHE (256 * MIB)
#define CYCLES 4
#define RETENTION_US CLOCK_SECOND
#define BATCH 64

/* Measured times, in ms. */
struct times {
	size_t n, cap;
	double *at;
};

static void
times_add(struct times *t, double ms)
{
	if (t->n == t->cap) {
		t->cap = t->cap * 2 + 1024;
		if ((t->at = realloc(t->at, t->cap * sizeof(*t->at))) == NULL)
			err(1, "realloc");
	}
	t->at[t->n++] = ms;
}

static void
times_free(struct times *t)
{
	free(t->at);
	*t = (struct times){0};
}

static double
wall_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Requests of keys [next, end), one each. */
struct crowd {
	struct rig *rig;
	uint64_t next, end;
};

static int
crowd_step(void *cookie, struct err *e)
{
	struct crowd *c = cookie;
	struct rig_key key;

	for (int i = 0; i < BATCH && c->next < c->end; i++, c->next++) {
		rig_key(c->next, &key);
		c->rig->now.steady_us++;
		if (rig_check(c->rig, &key, VERDICT_OK, e) != 0)
			return -1;
	}
	return 0;
}

struct one {
	struct rig *rig;
	const struct rig_key *key;
};

static int
one_step(void *cookie, struct err *e)
{
	struct one *one = cookie;

	one->rig->now.steady_us++;
	return rig_check(one->rig, one->key, VERDICT_OK, e);
}

/* ---- the sweep ---- */

struct passes {
	struct rig rig;
	struct steady steady;
	struct housekeeper *housekeeper;
	struct rig_key busy; /* a key in use all the time */
	struct times cpu, wall, checks;
};

/* Every key asks once, and a few of them so often that they have blocks. */
static void
use_all(struct passes *p, uint64_t keys)
{
	struct crowd c = {.rig = &p->rig};

	p->rig.now.steady_us = steady_now_us(&p->steady);
	for (uint64_t i = 0; i < 1000; i++) {
		c.next = 0;
		c.end = i == 0 ? keys : keys / 1000;
		while (c.next < c.end) {
			rig_batch(&p->rig, crowd_step, &c);
			housekeeper_committed(p->housekeeper);
		}
	}
}

/* A whole pass of the sweep, and a check of the busy key behind every slice. */
static void
sweep_all(struct passes *p)
{
	struct one one = {&p->rig, &p->busy};
	struct sweep sweep;

	sweep_init(&sweep, 0);
	sweep.active = 1;
	p->rig.now.steady_us = steady_now_us(&p->steady);
	while (sweep.active) {
		double cpu = scale_cpu_us(), start = wall_ms();

		if (sweep_slice(&sweep, p->rig.store, &p->steady, RETENTION_US, 0))
			housekeeper_committed(p->housekeeper);
		times_add(&p->wall, wall_ms() - start);
		times_add(&p->cpu, (scale_cpu_us() - cpu) / 1e3);
		start = wall_ms();
		rig_batch(&p->rig, one_step, &one);
		housekeeper_committed(p->housekeeper);
		times_add(&p->checks, wall_ms() - start);
	}
}

static void
cycle(struct passes *p, uint64_t keys, int number)
{
	struct store_stat full, swept;

	use_all(p, keys);
	full = rig_stat(&p->rig);
	p->steady.offset_us += 7200 * CLOCK_SECOND;
	sweep_all(p);
	swept = rig_stat(&p->rig);
	if (swept.logs > 1) /* the busy key's */
		errx(1, "%llu logs are left", (unsigned long long)swept.logs);
	printf("| %d | %llu | %llu | %.0f | %zu | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n",
	    number, (unsigned long long)full.logs, (unsigned long long)full.blocks,
	    (double)swept.data_bytes / (double)MIB, p->wall.n,
	    scale_quantile(p->cpu.at, p->cpu.n, 0.5), scale_quantile(p->cpu.at, p->cpu.n, 0.999),
	    scale_quantile(p->cpu.at, p->cpu.n, 1), scale_quantile(p->wall.at, p->wall.n, 0.999),
	    scale_quantile(p->wall.at, p->wall.n, 1), scale_quantile(p->checks.at, p->checks.n, 1));
	fflush(stdout);
	times_free(&p->cpu);
	times_free(&p->wall);
	times_free(&p->checks);
}

void
axis_sweep(const struct scale_options *o)
{
	static const char *const limits[] = {"hour=100000/1h"};
	uint64_t keys = o->quick ? 20000 : 1000000;
	struct passes *p = scale_shared(sizeof(*p));
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (keys > o->most)
		keys = o->most;
	rig_make(&p->rig, o);
	rig_open(&p->rig, CACHE);
	rig_plan(&p->rig, "used", limits, 1);
	rig_keys(&p->rig, 0, keys + 1, "used");
	rig_key(keys, &p->busy);
	rig_settle(&p->rig);
	rig_must(&p->rig, steady_open(&p->steady, p->rig.store, &p->rig.e), "the clock");
	p->housekeeper = housekeeper_start(p->rig.store, event_fd, &p->rig.e);
	rig_must(&p->rig, p->housekeeper == NULL ? -1 : 0, "housekeeping");
	puts("| cycle | idle logs | blocks | files after it, MiB | slices | slice, CPU ms, median "
	     "| p99.9 | "
	     "max | wall ms, p99.9 | max | check between slices, wall ms, max |\n"
	     "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
	for (int i = 1; i <= CYCLES; i++)
		cycle(p, keys, i);
	housekeeper_stop(&p->housekeeper);
	close(event_fd);
	rig_remove(&p->rig);
}

/* ---- the checkpoint ---- */

struct beside {
	struct rig *rig;
	int checkpoints; /* or flushes alone */
	atomic_int stop;
	unsigned count;
};

static void *
beside(void *cookie)
{
	struct beside *b = cookie;
	struct err e = {0};

	while (!atomic_load(&b->stop)) {
		if (store_flush(b->rig->store, &e) != 0 ||
		    (b->checkpoints && store_housekeep(b->rig->store, 1, &e) != 0))
			errx(1, "housekeeping: %s", e.msg);
		b->count++;
		usleep(20000);
	}
	return NULL;
}

/*
 * Batches of one check of any of the keys, one due every 100 us, for ${seconds}.  A batch that
 * waits for the one before it counts from when it was due; else from when this process was woken,
 * so that what the system takes to wake it is left out.
 */
static void
paced(struct rig *r, uint64_t keys, double seconds, struct times *t)
{
	double due = wall_ms(), start, ended = due, end = due + seconds * 1e3;
	uint64_t random = 1;
	struct rig_key key;
	struct one one = {r, &key};

	for (; due < end; due += 0.1) {
		rig_key(scale_random(&random) % keys, &key);
		while ((start = wall_ms()) < due)
			usleep((useconds_t)((due - start) * 1e3));
		rig_batch(r, one_step, &one);
		start = ended > due ? due : start;
		ended = wall_ms();
		times_add(t, ended - start);
	}
}

static void
checkpoint_row(struct rig *r, uint64_t keys, double seconds, int checkpoints)
{
	struct beside b = {.rig = r, .checkpoints = checkpoints};
	struct times t = {0};
	pthread_t thread;

	if (pthread_create(&thread, NULL, beside, &b) != 0)
		errx(1, "pthread_create");
	paced(r, keys, seconds, &t);
	atomic_store(&b.stop, 1);
	pthread_join(thread, NULL);
	printf("| %s | %u | %zu | %.3f | %.3f | %.3f | %.2f |\n",
	    checkpoints ? "checkpoints" : "flushes alone", b.count, t.n,
	    scale_quantile(t.at, t.n, 0.5), scale_quantile(t.at, t.n, 0.99),
	    scale_quantile(t.at, t.n, 0.999), scale_quantile(t.at, t.n, 1));
	times_free(&t);
}

void
axis_checkpoint(const struct scale_options *o)
{
	static const char *const limits[] = {"hour=100000/1h", "day=1000000/1d"};
	uint64_t keys = o->quick ? 1000 : 100000;
	double seconds = o->quick ? 1 : 10;
	struct rig r;

	rig_make(&r, o);
	rig_open(&r, CACHE);
	rig_plan(&r, "used", limits, 2);
	rig_keys(&r, 0, keys, "used");
	rig_settle(&r);
	prctl(PR_SET_TIMERSLACK, 1UL);
	printf("| in the other thread | of them | checks, 10,000/s | p50 ms | p99 ms | p99.9 ms | "
	       "max ms |\n|---|--:|--:|--:|--:|--:|--:|\n");
	for (int i = 0; i < (o->quick ? 2 : 6); i++)
		checkpoint_row(&r, keys, seconds, i % 2);
	rig_remove(&r);
}
