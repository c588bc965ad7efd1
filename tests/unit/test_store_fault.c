/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a full disk refuses writes, keeps reads going, loses nothing that was acknowledged and
 * heals by itself; an fsync that fails ends the process at once, one that is interrupted does not;
 * a restore that is killed leaves a whole store or none that opens.  Guards Invariant 5.  The
 * faults are injected below Berkeley DB: this program's own write, pwrite and fdatasync stand
 * before those of the C library.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store_fixture.h"

static int fail_write;	   /* an errno for every write to a file, 0: none */
static int fail_fdatasync; /* an errno for ${fail_fdatasync_count} calls */
static int fail_fdatasync_count;
static unsigned fdatasyncs;
static unsigned kill_at_page; /* die in the so manieth write of a page, 0: in none */
static unsigned kill_at_name; /* before the so manieth change of a directory */

#define PAGE 4096 /* Linux's: a kill comes through between two of them */

ssize_t
write(int fd, const void *p, size_t n)
{
	if (fail_write != 0 && fd > STDERR_FILENO) {
		errno = fail_write;
		return -1;
	}
	return syscall(SYS_write, fd, p, n);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (fail_write != 0) {
		errno = fail_write;
		return -1;
	}
	if (kill_at_page > 0 && --kill_at_page == 0) {
		(void)syscall(SYS_pwrite64, fd, p, n > PAGE ? n - PAGE : n, at);
		(void)kill(getpid(), SIGKILL);
	}
	return syscall(SYS_pwrite64, fd, p, n, at);
}

static void
name_changes(void)
{
	if (kill_at_name > 0 && --kill_at_name == 0)
		(void)kill(getpid(), SIGKILL);
}

int
renameat(int from, const char *old, int to, const char *new)
{
	name_changes();
	return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

int
linkat(int from, const char *old, int to, const char *new, int flags)
{
	name_changes();
	return (int)syscall(SYS_linkat, from, old, to, new, flags);
}

int
unlinkat(int fd, const char *name, int flags)
{
	name_changes();
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

int
mkdirat(int fd, const char *name, mode_t mode)
{
	name_changes();
	return (int)syscall(SYS_mkdirat, fd, name, mode);
}

int
fdatasync(int fd)
{
	fdatasyncs++;
	if (fail_fdatasync != 0 && fail_fdatasync_count > 0) {
		fail_fdatasync_count--;
		errno = fail_fdatasync;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static int
faults_off(void **state)
{
	fail_write = fail_fdatasync = fail_fdatasync_count = 0;
	return fixture_free(state);
}

static int
faults_off_leaky(void **state)
{
	fail_write = 0;
	return fixture_free_leaky(state);
}

static void
test_a_full_disk(void **state)
{
	struct fixture *f = *state;
	struct key k;
	uint64_t aborts;

	for (unsigned n = 0; n < 20; n++)
		key_put(f, n);
	aborts = f->s->aborts;
	for (int round = 0; round < 3; round++) {
		fail_write = round == 1 ? EDQUOT : ENOSPC;
		/* In the last round, more than the log's buffer holds. */
		for (unsigned n = 100; n < (round == 2 ? 3100 : 110); n++) {
			key_make(&k, n);
			assert_int_equal(batch(f, step_insert, &k), -1);
			assert_error(f, ERR_FULL, "free some");
			assert_error(f, ERR_FULL, f->dir);
		}
		/* Reads go on, and what was refused is not there. */
		for (unsigned n = 0; n < 20; n++)
			assert_int_equal(key_there(f, n), 1);
		assert_int_equal(key_there(f, 100), 0);
		assert_int_equal(f->s->now.counts.keys, 20 + (unsigned)round);
		fail_write = 0;
		key_put(f, 50 + (unsigned)round);
	}
	assert_int_equal(f->s->aborts, aborts + 20 + 3000);
	fixture_reopen(f);
	for (unsigned n = 0; n < 20; n++)
		assert_int_equal(key_there(f, n), 1);
	for (unsigned n = 50; n < 53; n++)
		assert_int_equal(key_there(f, n), 1);
	assert_int_equal(key_there(f, 100), 0);
	assert_int_equal(f->s->now.counts.keys, 23);
}

static void
test_a_full_disk_during_housekeeping(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 200; n++)
		key_put(f, n);
	fail_write = ENOSPC;
	assert_int_equal(store_housekeep(f->s, 1, &f->e), -1);
	assert_error(f, ERR_FULL, "free some");
	for (unsigned n = 0; n < 200; n++)
		assert_int_equal(key_there(f, n), 1);
	fail_write = 0;
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	key_put(f, 200);
	fixture_reopen(f);
	for (unsigned n = 0; n <= 200; n++)
		assert_int_equal(key_there(f, n), 1);
}

static int
in_child(int (*fn)(struct fixture *), struct fixture *f)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(f) == 0 ? 1 : 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
fill_up_and_die(struct fixture *f)
{
	struct key k;

	fixture_open(f);
	for (unsigned n = 0; n < 2000; n++) {
		fail_write = n % 2 == 1 ? ENOSPC : 0;
		key_make(&k, n);
		if ((batch(f, step_insert, &k) == 0) != (n % 2 == 0))
			return 1;
	}
	return 0; /* the process ends here: nothing is closed */
}

/* The refused batches were in the log's buffer, which a later commit wrote: recovery must not redo
 * them. */
static void
test_what_was_refused_stays_refused(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	assert_int_equal(in_child(fill_up_and_die, f), 1);
	fixture_open(f);
	for (unsigned n = 0; n < 2000; n++)
		assert_int_equal(key_there(f, n), n % 2 == 0);
	assert_int_equal(f->s->now.counts.keys, 1000);
}

static int
flush_with_eio(struct fixture *f)
{
	fixture_open(f);
	key_put(f, 1);
	fail_fdatasync = EIO;
	fail_fdatasync_count = 1; /* the second would succeed: it must not come to that */
	return store_flush(f->s, &f->e);
}

static int
checkpoint_with_enospc(struct fixture *f)
{
	fixture_open(f);
	key_put(f, 2);
	fail_fdatasync = ENOSPC;
	fail_fdatasync_count = 1;
	return store_housekeep(f->s, 1, &f->e);
}

static void
test_a_failing_fsync_ends_the_process(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	assert_int_equal(in_child(flush_with_eio, f), STORE_EXIT_FSYNC);
	assert_int_equal(in_child(checkpoint_with_enospc, f), STORE_EXIT_FSYNC);
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(key_there(f, 2), 1);
}

static void
test_an_interrupted_fsync_is_repeated(void **state)
{
	struct fixture *f = *state;

	key_put(f, 1);
	fdatasyncs = 0;
	fail_fdatasync = EINTR;
	fail_fdatasync_count = 3;
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_int_equal(fdatasyncs, 4);
}

/* Commits leave the disk alone; the flush asks it once, and not again when nothing was written. */
static void
test_only_the_flush_waits_for_the_disk(void **state)
{
	struct fixture *f = *state;

	fdatasyncs = 0;
	for (unsigned n = 0; n < 50; n++)
		key_put(f, n);
	assert_int_equal(fdatasyncs, 0);
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_int_equal(fdatasyncs, 1);
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_int_equal(fdatasyncs, 1);
	key_put(f, 50);
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_int_equal(fdatasyncs, 2);
}

static void
test_opening_on_a_full_disk(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	key_put(f, 1);
	store_close(&f->s);
	fail_write = ENOSPC;
	assert_null(fixture_try(f));
	assert_error(f, ERR_FULL, "free some");
	fail_write = 0;
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
	key_put(f, 2);
}

static void
test_a_write_that_fails_otherwise(void **state)
{
	struct fixture *f = *state;
	struct key k;

	key_put(f, 1);
	key_make(&k, 2);
	fail_write = EIO;
	assert_int_equal(batch(f, step_insert, &k), -1);
	assert_true(f->e.code == ERR_SYSTEM || f->e.code == ERR_UNAVAILABLE);
	fail_write = 0;
	fixture_reopen(f);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(key_there(f, 2), 0);
}

/* ---- limits ---- */

#define SECOND INT64_C(1000000)
#define START (SLOG_EPOCH_US + 1000 * SECOND)

static const struct slog_limit limit = {1000000, 86400 * SECOND};

/* Logs [from, to): look at each, and take a unit. */
struct logs {
	unsigned from, to;
	int take;
};

static int
step_logs(struct fixture *f, const void *arg, struct err *e)
{
	const struct logs *l = arg;
	struct slog_state st;
	char name[64];

	for (unsigned n = l->from; n < l->to; n++) {
		if (snprintf(name, sizeof(name), "kkey_%016uday", n) < 0 ||
		    store_log_look(f->s, span_of(name), &limit, START, 1, &st, e) != 1)
			return -1;
		if (l->take && store_log_take(f->s, span_of(name), &limit, START, 1, e) != 0)
			return -1;
	}
	return 0;
}

static uint64_t
used(struct fixture *f, unsigned n)
{
	struct slog_state st;
	char name[64];

	assert_true(snprintf(name, sizeof(name), "kkey_%016uday", n) > 0);
	if (store_log_look(f->s, span_of(name), &limit, START, 0, &st, &f->e) < 0)
		fail_msg("%s", f->e.msg);
	return st.used;
}

/* Looking needs no space, also when all that is in memory has to be written to make room: a dry run
 * refuses nobody, and a refusal has its figures. */
static void
test_looking_on_a_full_disk(void **state)
{
	struct fixture *f = *state;
	const struct logs all = {0, 600, 1}, others = {600, 700, 0}, one = {900, 901, 1};

	f->cache_bytes = 1; /* 512 logs in memory, all of them behind */
	fixture_open(f);
	assert_batch(f, step_logs, &all);
	fail_write = ENOSPC;
	assert_int_equal(batch(f, step_logs, &one), -1);
	assert_error(f, ERR_FULL, "free some");
	assert_batch(f, step_logs, &others);
	for (unsigned n = 0; n < 600; n++)
		assert_int_equal(used(f, n), 1);
	assert_int_equal(batch(f, step_logs, &one), -1);
	assert_error(f, ERR_FULL, "free some");
	fail_write = 0;
	assert_batch(f, step_logs, &one);
	assert_batch(f, step_logs, &all);
	fixture_reopen(f);
	for (unsigned n = 0; n < 600; n++)
		assert_int_equal(used(f, n), 2);
	assert_int_equal(used(f, 900), 1);
}

static unsigned life;

/* Batches and checkpoints until a write of a page is the last. */
static int
die_in_a_page(struct fixture *f)
{
	struct logs l = {.take = 1};

	fixture_open(f);
	kill_at_page = 1 + life * 7 % 50;
	for (unsigned i = 0; i < 1000; i++) {
		l.from = i % 10 * 30;
		l.to = l.from + 30;
		if (batch(f, step_logs, &l) != 0 || store_housekeep(f->s, 1, &f->e) != 0)
			return 1;
	}
	return 0;
}

/* A kill in the middle of a page's write: the store opens again, whatever page it was. */
static void
test_a_page_cut_by_a_kill(void **state)
{
	struct fixture *f = *state;

	for (life = 0; life < 30; life++) {
		assert_int_equal(in_child(die_in_a_page, f), -1);
		fixture_open(f);
		store_close(&f->s);
	}
}

/* One record: the value alone is another. */
static int
step_first_write(struct fixture *f, const void *arg, struct err *e)
{
	if (store_meta_put(f->s, "first", arg, 1, e) != 0)
		return -1;
	/* As the housekeeping thread may in this moment; then the process is killed. */
	if (strcmp(arg, "b") == 0 && (store_housekeep(f->s, 1, e) != 0 || raise(SIGKILL) != 0))
		return -1;
	return 0;
}

static int
die_behind_a_first_write(struct fixture *f)
{
	if (fixture_try(f) == NULL)
		return 1;
	return batch(f, step_first_write, "b");
}

/* A checkpoint has written half a batch, of one write, to the database, and then its owner is
 * killed: that write stayed (Berkeley DB undoes it only if there is another one behind it). */
static void
test_a_first_write_is_taken_back(void **state)
{
	struct fixture *f = *state;
	char value = 0;
	size_t len;

	fixture_open(f);
	assert_batch(f, step_first_write, "a");
	store_close(&f->s);
	assert_int_equal(in_child(die_behind_a_first_write, f), -1);
	fixture_open(f);
	assert_int_equal(store_meta_get(f->s, "first", (uint8_t *)&value, 1, &len, &f->e), 1);
	assert_int_equal(value, 'a');
}

static unsigned deaths;
static char backup[300];

static int
restore_and_die(struct fixture *f)
{
	char replaced[32];
	struct store_restore r = {.replaced = replaced, .check = fixture_opens};
	struct store_source *source = store_source_open(backup, &f->e);
	int rc;

	assert_true(snprintf(replaced, sizeof(replaced), "replaced-%u", deaths) > 0);
	if (store_files_in(f->dir, &f->e) == 0)
		r.replaced = NULL;
	assert_non_null(source);
	r.source = source;
	kill_at_name = deaths;
	rc = store_restore(f->dir, &r, &f->e);
	store_source_close(&source);
	return rc;
}

/* A restore dies before each of its steps: what opens is the old store or the backup, all of it;
 * what does not says what to do, and doing that makes it the backup.  (An empty directory, or one
 * with the log or the databases alone, opened as a store.) */
static void
test_a_restore_that_is_killed(void **state)
{
	struct fixture *f = *state;
	unsigned refused = 0, old = 0, new = 0;
	char dir[sizeof(f->dir)];
	int rc = -1;

	memcpy(dir, f->dir, sizeof(dir));
	assert_true(snprintf(backup, sizeof(backup), "%s/backup", f->top) > 0);
	memcpy(f->dir, backup, sizeof(f->dir));
	fixture_open(f);
	key_put(f, 1);
	key_put(f, 2);
	store_close(&f->s);
	memcpy(f->dir, dir, sizeof(dir));
	for (deaths = 1; rc != 1; deaths++) {
		assert_true(deaths < 200);
		/* The old store, anew in place of whatever the one before has left. */
		(void)nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		fixture_open(f);
		key_put(f, 3);
		store_close(&f->s);
		rc = in_child(restore_and_die, f);
		if (fixture_try(f) == NULL) {
			refused++;
			assert_error(f, ERR_CORRUPT, "run it again");
			deaths += 1000;
			assert_int_equal(in_child(restore_and_die, f), 1);
			deaths -= 1000;
			fixture_open(f);
			assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
			assert_int_equal(key_there(f, 3), 0);
		} else if (key_there(f, 3)) {
			old++;
			assert_int_equal(f->s->now.counts.keys, 1);
		} else {
			new ++;
			assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
			assert_int_equal(f->s->now.counts.keys, 2);
		}
		store_close(&f->s);
	}
	assert_true(refused > STORE_DBS && old > 0 && new > 0);
}

/* A backup whose log was cut since is not taken for one that is older. */
static void
test_a_copy_whose_log_was_cut(void **state)
{
	struct fixture *f = *state;
	char copy[sizeof(f->dir)], path[400];

	key_put(f, 1);
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_true(snprintf(copy, sizeof(copy), "%s/copy", f->top) > 0);
	assert_int_equal(mkdir(copy, 0700), 0);
	assert_int_equal(store_copy(f->dir, copy, NULL, NULL, &f->e), 0);
	store_close(&f->s);
	memcpy(f->dir, copy, sizeof(copy));
	assert_true(snprintf(path, sizeof(path), "%s/log.0000000001", copy) > 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "restore a backup");
}

/* Whatever the name leads to: a copy waits for nobody, and follows nothing. */
static void
test_a_copy_of_no_files(void **state)
{
	struct fixture *f = *state;
	char copy[sizeof(f->dir)], path[400];

	store_close(&f->s);
	assert_true(snprintf(copy, sizeof(copy), "%s/copy", f->top) > 0);
	assert_true(snprintf(path, sizeof(path), "%s/plans.db", f->dir) > 0);
	for (int link = 0; link < 2; link++) {
		assert_int_equal(mkdir(copy, 0700), 0);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(link ? symlink("/etc/passwd", path) : mkfifo(path, 0600), 0);
		assert_int_equal(store_copy(f->dir, copy, NULL, NULL, &f->e), -1);
		assert_int_equal(nftw(copy, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_open, faults_off)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_a_full_disk),
	    T(test_a_full_disk_during_housekeeping),
	    T(test_what_was_refused_stays_refused),
	    T(test_a_failing_fsync_ends_the_process),
	    T(test_an_interrupted_fsync_is_repeated),
	    T(test_only_the_flush_waits_for_the_disk),
	    cmocka_unit_test_setup_teardown(
		test_opening_on_a_full_disk, fixture_make_leaky, faults_off_leaky),
	    T(test_a_write_that_fails_otherwise),
	    cmocka_unit_test_setup_teardown(test_looking_on_a_full_disk, fixture_make, faults_off),
	    cmocka_unit_test_setup_teardown(test_a_page_cut_by_a_kill, fixture_make, faults_off),
	    cmocka_unit_test_setup_teardown(
		test_a_first_write_is_taken_back, fixture_make, faults_off),
	    cmocka_unit_test_setup_teardown(
		test_a_restore_that_is_killed, fixture_make, faults_off),
	    T(test_a_copy_whose_log_was_cut),
	    T(test_a_copy_of_no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
