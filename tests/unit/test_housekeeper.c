/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: what a recovery has to do is bounded by bytes of log, however fast they came: workers wait
 * for it after a kill of the keeper.  The housekeeping thread once looked for them once a second,
 * in which a busy keeper writes more than three times as many as the bound says; a restart under
 * load then took up to 0.8 s.  Guards the time to the first answer after a kill.
 *
 * No time is measured, for none goes by: what is counted is work.  The disk is not waited for.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "keeper/housekeeper.h"
#include "store_fixture.h"

#define BATCHES 1500
#define BATCH_BYTES (64u << 10) /* of log, more than any batch here makes */
#define ROUNDS 12
#define PAGE_BYTES 512 /* of a database at least; an event is shorter */
#define PATIENCE_MS 60000
#define AHEAD_S 86400

static atomic_int full;
static atomic_uint refused;
static struct housekeeper *house;
static int woken_fd = -1;

/*
 * Time stands still, far ahead of where the kernel waits for it: the thread's first second comes
 * at once, and no second one.
 */
int
clock_gettime(clockid_t which, struct timespec *t)
{
	static atomic_long stopped_s;
	long none = 0;
	int rc = (int)syscall(SYS_clock_gettime, which, t);

	if (rc != 0 || which != CLOCK_MONOTONIC)
		return rc;
	(void)atomic_compare_exchange_strong(&stopped_s, &none, t->tv_sec + AHEAD_S);
	*t = (struct timespec){.tv_sec = atomic_load(&stopped_s)};
	return 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int
fsync(int fd)
{
	return fdatasync(fd);
}

static int
refuse(void)
{
	atomic_fetch_add(&refused, 1);
	errno = ENOSPC;
	return -1;
}

/* Databases and log alike; when a pwrite fails Berkeley DB tries it with a write. */
ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return atomic_load(&full) ? refuse() : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	return atomic_load(&full) && n >= PAGE_BYTES ? refuse() : syscall(SYS_write, fd, p, n);
}

static int
step_blob(struct fixture *f, const void *arg, struct err *e)
{
	static uint8_t blob[STORE_META_MAX];

	memset(blob, (int)*(const unsigned *)arg, sizeof(blob));
	return store_meta_put(f->s, "blob", blob, sizeof(blob), e);
}

/* What a recovery would read, but for the records of the checkpoint itself. */
static uint64_t
log_since_checkpoint(struct fixture *f)
{
	DB_LOG_STAT *st;
	uint64_t bytes;

	assert_int_equal(f->s->env->log_stat(f->s->env, &st, 0), 0);
	bytes = ((uint64_t)st->st_wc_mbytes << 20) + st->st_wc_bytes;
	free(st);
	return bytes;
}

static void
fill_log(struct fixture *f, uint64_t bytes)
{
	for (unsigned n = 0; log_since_checkpoint(f) < bytes; n++)
		assert_batch(f, step_blob, &n);
}

static void
start(struct fixture *f)
{
	assert_int_not_equal(woken_fd = eventfd(0, EFD_CLOEXEC), -1);
	assert_non_null(house = housekeeper_start(f->s, woken_fd, &f->e));
}

static void
test_a_recovery_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes, most = 0;

	fixture_open(f);
	for (unsigned n = 0; n < BATCHES; n++) {
		assert_batch(f, step_blob, &n);
		assert_int_equal(store_flush(f->s, &f->e), 0);
		assert_int_equal(store_checkpoint(f->s, 0, &f->e), 0);
		bytes = log_since_checkpoint(f);
		most = bytes > most ? bytes : most;
	}
	assert_true(most <= STORE_CHECKPOINT_BYTES);
	/* Nor is each look a checkpoint. */
	assert_true(most > STORE_CHECKPOINT_BYTES - 2 * BATCH_BYTES);
}

/* What is committed now is on disk, and what the thread did for the last one that asked is done. */
static void
flushed(void)
{
	struct pollfd p = {.fd = woken_fd, .events = POLLIN};
	uint64_t n, ticket = housekeeper_ask(house);

	while (housekeeper_flushed(house) < ticket) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(read(woken_fd, &n, sizeof(n)), sizeof(n));
	}
}

/* And what it does behind the flush. */
static void
settled(void)
{
	flushed();
	flushed();
}

static void
test_the_log_calls_for_it_not_the_clock(void **state)
{
	struct fixture *f = *state;
	unsigned before, n;

	fixture_open(f);
	start(f);
	settled();
	for (unsigned round = 0; round < ROUNDS; round++) {
		before = atomic_load(&f->s->checkpoints);
		fill_log(f, STORE_CHECKPOINT_BYTES - BATCH_BYTES);
		settled();
		n = atomic_load(&f->s->checkpoints);
		assert_int_equal(n, before);
		fill_log(f, STORE_CHECKPOINT_BYTES);
		settled();
		n = atomic_load(&f->s->checkpoints);
		assert_int_equal(n, before + 1);
	}
}

/* On a full disk a checkpoint is tried with all dirty pages: fifty times a second would be all
 * that the thread does. */
static void
test_what_fails_waits_for_the_clock(void **state)
{
	struct fixture *f = *state;
	unsigned a_try;

	fixture_open(f);
	fill_log(f, STORE_CHECKPOINT_BYTES);
	assert_int_equal(store_flush(f->s, &f->e), 0); /* so that others have nothing to write */
	atomic_store(&full, 1);
	assert_int_equal(store_checkpoint(f->s, 0, &f->e), -1);
	assert_true((a_try = atomic_exchange(&refused, 0)) > 0);
	start(f);
	for (unsigned i = 0; i < ROUNDS; i++)
		flushed();
	/* One behind a flush, one of the clock's first second. */
	assert_in_range(atomic_load(&refused), 1, 2 * a_try);
}

static int
end(void **state)
{
	housekeeper_stop(&house);
	if (woken_fd != -1)
		close(woken_fd);
	woken_fd = -1;
	atomic_store(&full, 0);
	return fixture_free(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_recovery_is_bounded, fixture_make, end),
	    cmocka_unit_test_setup_teardown(
		test_the_log_calls_for_it_not_the_clock, fixture_make, end),
	    cmocka_unit_test_setup_teardown(test_what_fails_waits_for_the_clock, fixture_make, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
