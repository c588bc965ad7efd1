/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: whenever the store's owner is killed, the store opens again with everything it acknowledged
 * and at most the one batch more that it was about to acknowledge; indexes match records; no limit
 * log lost a unit. Guards Invariant 5, and 2 across kills.
 *
 * usage: fault_store_kill [KILLS]     (20; with LONG set in the environment, 10000)
 *
 * A writer runs batches, a second thread of it the housekeeping.  Each batch is acknowledged, after
 * its commit, through a pipe: the oracle is outside the store.  The writer is killed at a random
 * moment, between its first instructions (so also in the middle of recovery) and some hundred
 * batches later.  Some batches use a log that is idle at once, and sweeps take those away.  Others
 * rotate a key's secret: the new one or the old one must find the key, never neither.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/random.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../unit/store_fixture.h"
#include "batches.h"
#include "image.h"

#define LIFE_US 80000 /* behind its first batch, at most */

#define LIVES_A_STORE                                                                              \
	100 /* then it begins with an empty one: looking at it takes the longer, the more is in it \
	     */

static unsigned kills = 20, life_us = LIFE_US, each_step = 7;

/* ---- a death at a step that is counted ---- */

struct steps {
	atomic_uint done; /* steps that changed something on the disk */
	unsigned last;	  /* the one to die at, 0: none */
};

static struct steps *steps; /* shared with the child */

/* Before the step is taken: what came before it is there, and nothing else. */
static void
step(void)
{
	if (steps != NULL && atomic_fetch_add(&steps->done, 1) + 1 == steps->last)
		(void)kill(getpid(), SIGKILL);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	step();
	return syscall(SYS_pwrite64, fd, p, n, at);
}

int
ftruncate(int fd, off_t len)
{
	step();
	return (int)syscall(SYS_ftruncate, fd, len);
}

int
rename(const char *from, const char *to)
{
	step();
	return (int)syscall(SYS_rename, from, to);
}

int
unlink(const char *path)
{
	step();
	return (int)syscall(SYS_unlink, path);
}

int
fdatasync(int fd)
{
	(void)fd;
	step();
	return 0; /* what a killed process wrote is with the kernel: the disk is not waited for */
}

int
fsync(int fd)
{
	return fdatasync(fd);
}

/* ---- the writer ---- */

static void *
keep_house(void *arg)
{
	struct fixture *f = arg;
	struct err e;

	for (unsigned i = 0;; i++) {
		if (store_flush(f->s, &e) != 0 || store_housekeep(f->s, i % 8 == 0, &e) != 0)
			_exit(3);
		usleep(2000); /* a pace, not a barrier */
	}
	return NULL;
}

/* Runs until it is killed. */
static void
write_batches(struct fixture *f, int ack)
{
	pthread_t thread;
	uint64_t n;

	if (fixture_try(f) == NULL)
		_exit(2);
	f->s->takes_max = BEHIND;
	n = batches_done(f);
	if (pthread_create(&thread, NULL, keep_house, f) != 0)
		_exit(2);
	for (;; n++) {
		if (batch(f, step_batch, &n) != 0 || (n % WITH_SWEEP == 0 && sweep(f, n) != 0)) {
			fprintf(stderr, "batch: %s\n", f->e.msg);
			_exit(4);
		}
		if (write(ack, &n, sizeof(n)) != sizeof(n))
			_exit(5);
	}
}

/* ---- kills ---- */

/* One life of a writer; how many batches were acknowledged in all when it was dead. */
static uint64_t
one_life(struct fixture *f, uint64_t acked)
{
	struct timespec pause;
	unsigned dice;
	uint64_t n;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(random_bytes(&dice, sizeof(dice), NULL), 0);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		write_batches(f, fds[1]);
	}
	close(fds[1]);
	/* One life in four may be as short as its recovery; the others begin with a batch. */
	if (dice % 4 != 0 && read(fds[0], &n, sizeof(n)) == sizeof(n))
		acked = n + 1;
	pause = (struct timespec){.tv_nsec = (long)(dice / 4 % life_us) * 1000};
	nanosleep(&pause, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
		assert_true(n + 1 > acked);
		acked = n + 1;
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		fail_msg("the writer ended by itself, status %d", WEXITSTATUS(status));
	return acked;
}

static void
test_kills(void **state)
{
	struct fixture *f = *state;
	uint64_t acked = 0, all = 0;
	int64_t worst_us = 0;
	unsigned old = 0;

	for (unsigned done = 0, lives = 1; done < kills; done += lives, lives = lives % 3 + 1) {
		if (old > LIVES_A_STORE) {
			nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
			all += acked;
			acked = old = 0;
		}
		old += lives;
		/* Up to three writers, each starting from the wreck of the one before. */
		for (unsigned i = 0; i < lives; i++)
			acked = one_life(f, acked);
		fixture_open(f);
		/* Each writer may have had one batch more. */
		acked = check(f, acked, acked + lives);
		if (f->s->recovery_us > worst_us)
			worst_us = f->s->recovery_us;
		store_close(&f->s);
	}
	print_message("%u kills, %llu batches, slowest open %lld ms\n", kills,
	    (unsigned long long)(all + acked), (long long)worst_us / 1000);
}

/* Opens the store in a process that dies at a step of that, or not at all (0); how many it took. */
static unsigned
open_and_die(struct fixture *f, unsigned last)
{
	int status;
	pid_t pid;

	atomic_store(&steps->done, 0);
	steps->last = last;
	assert_true((pid = fork()) >= 0);
	if (pid == 0)
		_exit(fixture_try(f) != NULL ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) ? last != 0 : WEXITSTATUS(status) == 0);
	steps->last = 0;
	return atomic_load(&steps->done);
}

static void
steps_make(void)
{
	steps =
	    mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(steps != MAP_FAILED);
}

/* While the store is first made, at each step: the next one makes it. */
static void
test_a_death_while_it_is_made(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	steps_make();
	n = open_and_die(f, 0);
	assert_true(n > 40);
	for (unsigned last = 1; last <= n; last += each_step) {
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		open_and_die(f, last);
		fixture_open(f);
		key_put(f, 1);
		fixture_reopen(f);
		assert_int_equal(key_there(f, 1), 1);
		store_close(&f->s);
	}
}

static int
step_forget(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_db_del(f->s, STORE_DB_META, span_of(STORE_MARK_FILE), e) == 1 ? 0 : -1;
}

/* Of a store of before, which has no mark and does not say that it needs one.  Before the step at
 * which it says so it opens without; from then on the mark is there. */
static void
test_a_death_while_it_gets_its_mark(void **state)
{
	unsigned without = 0, needed = 0, n;
	struct fixture *f = *state;
	struct image im, dead;
	char path[400];

	assert_true(snprintf(path, sizeof(path), "%s/" STORE_MARK_FILE, f->dir) > 0);
	fixture_open(f);
	key_put(f, 1);
	assert_batch(f, step_forget, NULL);
	store_close(&f->s);
	assert_int_equal(unlink(path), 0);
	steps_make();
	image_take(&im, f->dir);
	n = open_and_die(f, 0);
	assert_true(n > 10);
	for (unsigned last = 1; last <= n; last++) {
		image_put(&im, f->dir);
		open_and_die(f, last);
		image_take(&dead, f->dir);
		fixture_open(f);
		assert_int_equal(key_there(f, 1), 1);
		store_close(&f->s);
		image_put(&dead, f->dir);
		(void)unlink(path);
		if (fixture_try(f) != NULL) {
			without++;
			assert_int_equal(needed, 0);
		} else {
			needed++;
			assert_error(f, ERR_CORRUPT, "flushed: missing");
		}
		store_close(&f->s);
		image_free(&dead);
	}
	image_free(&im);
	assert_true(without > 0 && needed > 0);
}

/* While it recovers, at each step, and again at another one of the recovery of that. */
static void
test_a_death_while_it_recovers(void **state)
{
	struct fixture *f = *state;
	struct image im;
	uint64_t acked;
	unsigned n;

	acked = one_life(f, 0);
	steps_make();
	image_take(&im, f->dir);
	n = open_and_die(f, 0);
	assert_true(n > 10);
	for (unsigned last = 1; last <= n; last += each_step) {
		image_put(&im, f->dir);
		open_and_die(f, last);
		open_and_die(f, 1 + (last * 5) % n);
		fixture_open(f);
		check(f, acked, acked + 1);
		store_close(&f->s);
	}
	image_free(&im);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_kills, fixture_make, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_a_death_while_it_is_made, fixture_make, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_a_death_while_it_gets_its_mark, fixture_make, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_a_death_while_it_recovers, fixture_make, fixture_free),
	};
	const char *more = getenv("LONG");

	if (more != NULL && *more != '\0')
		kills = 10000, life_us = LIFE_US / 4, each_step = 1;
	if (argc > 1)
		kills = (unsigned)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
