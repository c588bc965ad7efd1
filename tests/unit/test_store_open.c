/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the store opens wherever it may and whatever state a dead owner left it in, has one owner
 * at a time, lets nobody else at its files, and refuses with a mend what it must not touch. Guards
 * Invariant 5 (opens after a kill, with all that was acknowledged) and Invariant 6 (damage is an
 * error, not a crash).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store_fixture.h"

#define NOBODY 65534

/* In place of libc's: so that time passes as a test wants it to. */
static int64_t mono_ahead_us;

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	long rc = syscall(SYS_clock_gettime, id, ts);

	if (rc == 0 && id == CLOCK_MONOTONIC)
		ts->tv_sec += mono_ahead_us / CLOCK_SECOND;
	return (int)rc;
}

/* Runs ${fn} in a child process, whose exit status is what it returned. */
static int
in_child(int (*fn)(struct fixture *), struct fixture *f)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_makes_a_private_store(void **state)
{
	struct fixture *f = *state;
	mode_t before = umask(0);
	struct dirent *entry;
	struct stat st;
	unsigned files = 0;
	DIR *d;

	fixture_open(f);
	key_put(f, 1);
	umask(before);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_non_null(d = opendir(f->dir));
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(dirfd(d), entry->d_name, &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		files++;
	}
	closedir(d);
	/* Its databases, a log, how far that is on disk, the lock; no region files. */
	assert_int_equal(files, STORE_DBS + 3);
}

static void
test_umask_cannot_lock_the_owner_out(void **state)
{
	struct fixture *f = *state;
	mode_t before = umask(0177);

	fixture_open(f);
	umask(before);
	key_put(f, 1);
}

static void
test_reopens_with_all_that_was_there(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned n = 0; n < 100; n++)
		key_put(f, n);
	fixture_reopen(f);
	for (unsigned n = 0; n < 100; n++)
		assert_int_equal(key_there(f, n), 1);
	assert_int_equal(key_there(f, 100), 0);
	assert_int_equal(f->s->now.counts.keys, 100);
}

static int
write_and_die(struct fixture *f)
{
	fixture_open(f);
	for (unsigned n = 0; n < 50; n++)
		key_put(f, n);
	return 7; /* the caller ends the process: nothing is closed */
}

static void
test_recovers_after_its_owner_died(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in_child(write_and_die, f), 7);
	fixture_open(f);
	for (unsigned n = 0; n < 50; n++)
		assert_int_equal(key_there(f, n), 1);
	assert_int_equal(f->s->now.counts.keys, 50);
	assert_true(f->s->recovery_us > 0);
}

static int
open_busy(struct fixture *f)
{
	return fixture_try(f) == NULL && f->e.code == ERR_BUSY ? 9 : 1;
}

static void
test_has_one_owner(void **state)
{
	struct fixture *f = *state;
	struct fixture second;
	char pid[32];

	fixture_open(f);
	second = *f;
	assert_null(fixture_try(&second));
	assert_true(snprintf(pid, sizeof(pid), "process %ld owns", (long)getpid()) > 0);
	assert_error(&second, ERR_BUSY, pid);
	assert_error(&second, ERR_BUSY, f->dir);
	second = *f;
	assert_int_equal(in_child(open_busy, &second), 9);

	/* The losers took nothing along. */
	key_put(f, 1);
	second = *f;
	assert_int_equal(in_child(open_busy, &second), 9);
	store_close(&f->s);
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
}

static void
test_busy_without_a_number(void **state)
{
	struct fixture *f = *state;
	struct fixture second;

	fixture_open(f);
	assert_int_equal(ftruncate(f->s->lock_fd, 0), 0);
	second = *f;
	assert_null(fixture_try(&second));
	assert_error(&second, ERR_BUSY, "another process");
}

static void
test_close_is_harmless_on_null(void **state)
{
	struct store *none = NULL;

	(void)state;
	store_close(&none);
	assert_null(none);
}

static void
test_refuses_a_directory_others_may_enter(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(f->dir, 0700), 0);
	assert_int_equal(chmod(f->dir, 0750), 0);
	assert_null(fixture_try(f));
	assert_error(f, ERR_SYSTEM, "chmod 700");
	assert_error(f, ERR_SYSTEM, f->dir);
	assert_int_equal(chmod(f->dir, 0700), 0);
	fixture_open(f);
}

static int
open_as_nobody(struct fixture *f)
{
	if (setegid(NOBODY) != 0 || seteuid(NOBODY) != 0)
		return 1;
	return fixture_try(f) == NULL && f->e.code == ERR_SYSTEM && strstr(f->e.msg, f->dir) != NULL
		   ? 9
		   : 2;
}

static int
open_as_nobody_foreign(struct fixture *f)
{
	return open_as_nobody(f) == 9 && strstr(f->e.msg, "belongs to user id 1") != NULL ? 9 : 2;
}

static void
test_refuses_a_foreign_directory(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->top, 0755), 0);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	assert_int_equal(chown(f->dir, 1, 1), 0);
	assert_int_equal(in_child(open_as_nobody_foreign, f), 9);
	fixture_open(f); /* root may */
}

static void
test_refuses_a_directory_it_cannot_write(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(f->dir, 0500), 0);
	if (geteuid() == 0) {
		assert_int_equal(chmod(f->top, 0755), 0);
		assert_int_equal(chown(f->dir, NOBODY, NOBODY), 0);
		assert_int_equal(in_child(open_as_nobody, f), 9);
		return;
	}
	assert_null(fixture_try(f));
	assert_error(f, ERR_SYSTEM, "writable");
}

static void
test_refuses_without_the_directory_above(void **state)
{
	struct fixture *f = *state;
	struct store_options options = {.cache_bytes = FIXTURE_CACHE};
	char deep[400];

	assert_true(snprintf(deep, sizeof(deep), "%s/no/store", f->top) > 0);
	options.dir = deep;
	assert_null(store_open(&options, &f->e));
	assert_error(f, ERR_SYSTEM, "the one above it is missing");
	assert_error(f, ERR_SYSTEM, deep);
}

static void
test_refuses_a_file_in_its_place(void **state)
{
	struct fixture *f = *state;
	int fd = open(f->dir, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
	assert_null(fixture_try(f));
	assert_error(f, ERR_SYSTEM, f->dir);
}

static void
test_refuses_a_lock_that_is_a_link(void **state)
{
	struct fixture *f = *state;
	char link[320], target[320];
	struct stat st;

	assert_int_equal(mkdir(f->dir, 0700), 0);
	assert_true(snprintf(link, sizeof(link), "%s/lock", f->dir) > 0);
	assert_true(snprintf(target, sizeof(target), "%s/elsewhere", f->top) > 0);
	assert_int_equal(symlink(target, link), 0);
	assert_null(fixture_try(f));
	assert_error(f, ERR_SYSTEM, "lock");
	assert_int_equal(stat(target, &st), -1);
}

static void
test_survives_a_change_of_working_directory(void **state)
{
	struct fixture *f = *state;
	struct store_options options = {.dir = "store", .cache_bytes = FIXTURE_CACHE};
	char *back = realpath(".", NULL);

	assert_non_null(back);
	assert_int_equal(chdir(f->top), 0);
	f->s = store_open(&options, &f->e);
	assert_int_equal(chdir(back), 0);
	free(back);
	assert_non_null(f->s);
	key_put(f, 1);
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	fixture_reopen(f);
	assert_int_equal(key_there(f, 1), 1);
}

/* ---- formats ---- */

struct record {
	enum store_db db;
	struct span key, value;
};

static int
step_put(struct fixture *f, const void *arg, struct err *e)
{
	const struct record *r = arg;

	return store_db_put(f->s, r->db, r->key, r->value, e);
}

static int
step_del(struct fixture *f, const void *arg, struct err *e)
{
	const struct record *r = arg;

	return store_db_del(f->s, r->db, r->key, e) == 1 ? 0 : -1;
}

static void
refuses_with(
    struct fixture *f, const char *name, struct span value, enum err_code code, const char *words)
{
	struct record r = {STORE_DB_META, span_of(name), value};

	fixture_open(f);
	assert_batch(f, step_put, &r);
	store_close(&f->s);
	assert_null(fixture_try(f));
	assert_error(f, code, words);
	/* It is free again, and it says the same the next time. */
	assert_null(fixture_try(f));
	assert_error(f, code, words);
}

static void
test_refuses_a_newer_format(void **state)
{
	refuses_with(*state, "format", store_span("\0\0\0\5", 4), ERR_VERSION, "newer release");
}

static void
test_refuses_an_older_format(void **state)
{
	refuses_with(*state, "format", store_span("\0\0\0\1", 4), ERR_VERSION, "first release");
}

static void
test_refuses_a_damaged_format(void **state)
{
	refuses_with(*state, "format", store_span("\0\0\1", 3), ERR_CORRUPT, "format record");
}

static void
test_refuses_format_zero(void **state)
{
	refuses_with(*state, "format", store_span("\0\0\0\0", 4), ERR_CORRUPT, "format record");
}

static void
test_refuses_a_format_too_long(void **state)
{
	refuses_with(*state, "format", store_span("\0\0\0\1\0", 5), ERR_CORRUPT, "meta");
}

static void
test_refuses_damaged_counts(void **state)
{
	refuses_with(*state, "counts", store_span("\1", 1), ERR_CORRUPT, "counts");
}

static void
test_refuses_keys_of_no_format(void **state)
{
	struct fixture *f = *state;
	struct record format = {.db = STORE_DB_META, .key = span_of("format")};

	fixture_open(f);
	key_put(f, 1);
	assert_batch(f, step_del, &format);
	store_close(&f->s);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "format record is missing");
}

/* ---- damage ---- */

/* Overwrite ${n} bytes of a file of the closed store. */
static void
scribble(struct fixture *f, const char *file, off_t from, size_t n)
{
	char path[400];
	int fd;

	assert_true(snprintf(path, sizeof(path), "%s/%s", f->dir, file) > 0);
	assert_true((fd = open(path, O_RDWR)) >= 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pwrite(fd, "\x5a", 1, from + (off_t)i), 1);
	close(fd);
}

/* With the mode of what is there, or private. */
static void
copy_file(const char *from, const char *to)
{
	char buf[4096];
	int in, out;
	ssize_t n;

	assert_true((in = open(from, O_RDONLY)) >= 0);
	assert_true((out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600)) >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(n, 0);
	close(in);
	close(out);
}

/* It once stopped the whole store: whoever needed the page again kept everybody from being served.
 */
static void
test_a_damaged_page_is_an_error_of_who_needs_it(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	struct keyrec rec;
	unsigned bad[2] = {0, 0};
	struct key k;
	int rc;

	fixture_open(f);
	for (unsigned n = 0; n < 400; n++)
		key_put(f, n);
	store_close(&f->s);
	for (int page = 3; page < 6; page++)
		scribble(f, "keys.db", 4096 * page + 100, 16);
	for (unsigned life = 0; life < 2; life++) {
		fixture_open(f);
		for (unsigned n = 0; n < 400; n++) {
			key_make(&k, n);
			if ((rc = store_key_get(f->s, k.digest, buf, &rec, &f->e)) == 1)
				continue;
			assert_int_equal(rc, -1);
			assert_error(f, ERR_CORRUPT, "keys.db: page ");
			assert_error(f, ERR_CORRUPT, "restore a backup");
			/* Nothing takes its place, either. */
			assert_int_equal(batch(f, step_insert, &k), -1);
			assert_error(f, ERR_CORRUPT, "keys.db: page ");
			bad[life]++;
		}
		assert_int_equal(store_alive(f->s, &f->e), 0);
		assert_int_equal(store_flush(f->s, &f->e), 0);
		assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
		fixture_reopen(f);
		store_close(&f->s);
	}
	assert_true(bad[0] > 0 && bad[0] < 200 && bad[1] == bad[0]);
}

/* A library that computes otherwise than we know is left to find damage itself, as it did. */
static void
test_checksums_that_are_not_known(void **state)
{
	struct fixture *f = *state;
	unsigned stopped = 0;
	struct key k;

	f->key = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
	fixture_open(f);
	assert_int_equal(f->s->sums.how, STORE_SUMS_KEYED);
	for (unsigned n = 0; n < 400; n++)
		key_put(f, n);
	fixture_reopen(f);
	assert_int_equal(f->s->sums.how, STORE_SUMS_KEYED);
	store_close(&f->s);
	scribble(f, "keys.db", 4096 * 4 + 100, 16);
	fixture_open(f);
	f->s->sums.how = STORE_SUMS_UNKNOWN;
	for (unsigned n = 0; n < 400; n++) {
		key_make(&k, n);
		if (store_key_find(f->s, span_of(k.rec.id), k.digest, &f->e) != 1 ||
		    store_key_get(f->s, k.digest, f->s->record, &k.rec, &f->e) != 1) {
			assert_error(f, ERR_UNAVAILABLE, "restart");
			stopped++;
		}
	}
	assert_true(stopped > 0);
}

struct many {
	unsigned from, to;
	int fails; /* behind the last */
};

static int
step_many(struct fixture *f, const void *arg, struct err *e)
{
	const struct many *m = arg;
	struct key k;

	for (unsigned n = m->from; n < m->to; n++) {
		key_make(&k, n);
		if (store_key_insert(f->s, k.digest, &k.rec, e) != 0)
			return -1;
	}
	return m->fails ? -1 : 0;
}

/*
 * Pages come and go, first pages and those that were never written among them, while the table
 * doubles again and again: none is taken for damaged, also not after an abort in the middle.
 */
static void
test_a_store_larger_than_its_cache(void **state)
{
	struct fixture *f = *state;
	const unsigned keys = 24000;
	struct many m = {0};

	f->cache_bytes = 1; /* 4 MB: the least */
	fixture_open(f);
	for (m.from = 0; m.from < keys; m.from = m.to) {
		m.to = m.from + 50;
		m.fails = m.from % 500 == 0;
		if (m.fails)
			assert_int_equal(batch(f, step_many, &m), -1);
		m.fails = 0;
		assert_batch(f, step_many, &m);
		if (m.from % 8000 == 0)
			assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	}
	for (unsigned n = 0; n < keys + 100; n += 7)
		assert_int_equal(key_there(f, n), n < keys);
	fixture_reopen(f);
	for (unsigned n = 0; n < keys + 100; n += 3)
		assert_int_equal(key_there(f, n), n < keys);
}

/* Each once was an error of the system, "Invalid argument", which named no mend. */
static void
test_a_damaged_file_is_refused(void **state)
{
	static const struct {
		const char *file, *named;
		off_t from;
		size_t n;
	} cases[] = {
	    {"meta.db", "store/meta.db: damaged", 100, 16},
	    {"keys.db", "store/keys.db: damaged", 100, 16},
	    {"ids.db", "store/ids.db: damaged", 0, 512},
	    {"audit.db", "store/audit.db: damaged", 0, 4096},
	    {"log.0000000001", "cannot be recovered", 0, 4096},
	};
	struct fixture *f = *state;
	char file[400], kept[400];

	fixture_open(f);
	key_put(f, 1);
	store_close(&f->s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(snprintf(file, sizeof(file), "%s/%s", f->dir, cases[i].file) > 0);
		assert_true(snprintf(kept, sizeof(kept), "%s/kept", f->top) > 0);
		copy_file(file, kept);
		scribble(f, cases[i].file, cases[i].from, cases[i].n);
		assert_null(fixture_try(f));
		assert_error(f, ERR_CORRUPT, cases[i].named);
		assert_non_null(strstr(f->e.msg, f->dir));
		assert_non_null(strstr(f->e.msg, "restore a backup"));
		copy_file(kept, file);
	}
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
}

/* Every public verb, on a store that has stopped. */
static void
test_a_stopped_store_fails_every_call(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[KEYREC_MAX];
	struct store_cursor cursor = {0};
	struct store_stat st;
	struct store_audit a = {.op = span_of("x")};
	struct keyrec rec;
	struct plan plan;
	const struct slog_limit limit = {1, 1};
	struct slog_state state_of;
	uint64_t n;
	size_t len;
	unsigned freed;
	struct key k;

	fixture_open(f);
	key_put(f, 1);
	key_make(&k, 1);
	atomic_store(&f->s->panicked, 1);
#define STOPPED(call)                                                                              \
	do {                                                                                       \
		memset(&f->e, 0, sizeof(f->e));                                                    \
		assert_int_equal(call, -1);                                                        \
		assert_error(f, ERR_UNAVAILABLE, "restart");                                       \
	} while (0)
	STOPPED(batch(f, step_insert, &k));
	STOPPED(store_key_get(f->s, k.digest, buf, &rec, &f->e));
	STOPPED(store_key_find(f->s, span_of(k.rec.id), k.digest, &f->e));
	STOPPED(store_keys_walk(f->s, span_of(""), NULL, NULL, &f->e));
	STOPPED(store_owner_walk(f->s, k.rec.owner, span_of(""), NULL, NULL, &f->e));
	STOPPED(store_plan_users(f->s, k.rec.plan, &n, &f->e));
	STOPPED(store_plan_get(f->s, span_of("p"), &plan, &f->e));
	STOPPED(store_plans_walk(f->s, NULL, NULL, &f->e));
	STOPPED(store_log_look(f->s, span_of("kx"), &limit, 1, 1, &state_of, &f->e));
	STOPPED(store_logs_sweep(f->s, 1, 1, 1, &cursor, &freed, &f->e));
	STOPPED(store_meta_get(f->s, "x", buf, sizeof(buf), &len, &f->e));
	STOPPED(store_stat(f->s, &st, &f->e));
	STOPPED(store_flush(f->s, &f->e));
	STOPPED(store_housekeep(f->s, 1, &f->e));
	f->s->in_batch = 1;
	STOPPED(store_audit_append(f->s, &a, &f->e));
	f->s->in_batch = 0;
#undef STOPPED
	/* A stop loses nothing that was committed. */
	fixture_reopen(f);
	assert_int_equal(key_there(f, 1), 1);
}

/* ---- housekeeping ---- */

static void
test_housekeeping_removes_logs(void **state)
{
	struct fixture *f = *state;
	struct store_stat st;
	static uint8_t blob[STORE_META_MAX];
	struct record r = {STORE_DB_META, span_of("blob"), store_span(blob, sizeof(blob))};
	uint64_t before;

	fixture_open(f);
	for (unsigned n = 0; n < 2500; n++) { /* 40 MB of log */
		memset(blob, (int)n, sizeof(blob));
		assert_batch(f, step_put, &r);
	}
	assert_int_equal(store_flush(f->s, &f->e), 0);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	before = st.wal_bytes;
	assert_true(before > UINT64_C(36) << 20);
	assert_int_equal(store_housekeep(f->s, 0, &f->e), 0);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.checkpoints, 1);
	assert_true(st.wal_bytes < UINT64_C(21) << 20);
	/* Not again while there is nothing to do; but when told to. */
	assert_int_equal(store_housekeep(f->s, 0, &f->e), 0);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.checkpoints, 1);
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.checkpoints, 2);
}

/* Two copies at once: the end of one lets a checkpoint into the other, whose next look finds
 * somebody holding again. */
static void
test_a_hold_that_another_one_ended(void **state)
{
	struct fixture *f = *state;
	struct store_moment before, meanwhile, behind;

	fixture_open(f);
	assert_int_equal(store_hold(f->s, 60 * CLOCK_SECOND, &before), 1);
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	assert_int_equal(store_hold(f->s, 60 * CLOCK_SECOND, &meanwhile), 1);
	assert_int_equal(meanwhile.checkpoints, before.checkpoints);
	assert_int_equal(meanwhile.opened_us, before.opened_us);
	/* The other one has ended, and a third begins. */
	assert_int_equal(store_hold(f->s, 0, &meanwhile), 1);
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	assert_int_equal(store_hold(f->s, 60 * CLOCK_SECOND, &meanwhile), 1);
	assert_int_equal(store_hold(f->s, 0, &behind), 1);
	assert_int_not_equal(behind.checkpoints, before.checkpoints);
	/* While one is being written nobody begins. */
	atomic_store(&f->s->checkpointing, 1);
	assert_int_equal(store_hold(f->s, 60 * CLOCK_SECOND, &meanwhile), 0);
	atomic_store(&f->s->checkpointing, 0);
	fixture_reopen(f);
	assert_int_equal(store_hold(f->s, 0, &behind), 1);
	assert_int_not_equal(behind.opened_us, before.opened_us);
}

/* Whoever renews his hold for ever keeps a checkpoint away for half an hour, not for ever: the log
 * would grow until the disk is full. */
static void
test_a_hold_has_a_limit(void **state)
{
	const int64_t lease_us = 60 * CLOCK_SECOND;
	struct fixture *f = *state;
	struct store_moment first, now;
	int64_t held_us = 0;

	fixture_open(f);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(store_hold(f->s, lease_us, &first), 1);
		for (held_us = 0; held_us < 2 * STORE_HOLD_MAX_US; held_us += lease_us / 2) {
			assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
			assert_int_equal(store_hold(f->s, lease_us, &now), 1);
			if (now.checkpoints != first.checkpoints)
				break;
			mono_ahead_us += lease_us / 2;
		}
		assert_int_equal(held_us, STORE_HOLD_MAX_US);
		/* From then on it is another one, as long. */
	}
	/* Two that follow each other, with nothing between them, are one. */
	assert_int_equal(store_hold(f->s, 0, &now), 1);
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	assert_int_equal(store_hold(f->s, lease_us, &first), 1);
	mono_ahead_us += STORE_HOLD_MAX_US - lease_us;
	assert_int_equal(store_hold(f->s, 0, &now), 1);
	assert_int_equal(store_hold(f->s, 2 * lease_us, &now), 1);
	mono_ahead_us += lease_us;
	assert_int_equal(store_housekeep(f->s, 1, &f->e), 0);
	assert_int_equal(store_hold(f->s, 0, &now), 1);
	assert_int_equal(now.checkpoints, first.checkpoints + 1);
}

static void
test_space(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes;

	fixture_open(f);
	assert_int_equal(store_space(f->s, &bytes, &f->e), 1);
	assert_true(bytes > 4096);
	f->s->min_free_bytes = UINT64_MAX;
	assert_int_equal(store_space(f->s, &bytes, &f->e), 0);
	assert_true(bytes > 4096);
}

static void
test_stat(void **state)
{
	struct fixture *f = *state;
	struct store_stat st;

	fixture_open(f);
	for (unsigned n = 0; n < 10; n++)
		key_put(f, n);
	assert_int_equal(store_stat(f->s, &st, &f->e), 0);
	assert_int_equal(st.keys, 10);
	assert_int_equal(st.plans + st.logs + st.blocks + st.audit, 0);
	assert_int_equal(st.format, STORE_FORMAT);
	assert_int_equal(st.commits, 12); /* the format, too, and that there is a mark */
	assert_int_equal(st.aborts, 0);
	assert_true(st.data_bytes >= 9 * 4096 && st.wal_bytes > 1000 && st.free_bytes > 0);
	assert_true(st.cache_bytes >= FIXTURE_CACHE / 4 * 3 && st.cache_hits > 0);
	assert_true(st.opened_us > 1600000000000000 && st.recovery_us > 0);
	assert_int_equal(strncmp(st.engine, "Berkeley DB 5.", 14), 0);
}

#define LEAKY(fn) cmocka_unit_test_setup_teardown(fn, fixture_make_leaky, fixture_free_leaky)
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make, fixture_free)
#define ENCRYPTED(fn)                                                                              \
	{                                                                                          \
#fn " (encrypted)", fn, fixture_make_encrypted, fixture_free, NULL                 \
	}

/* A lost file is not made anew: without plans, say, keys would have no limits. */
static void
test_a_missing_file(void **state)
{
	struct fixture *f = *state;
	char path[300];

	for (unsigned which = STORE_DB_META + 1; which < STORE_DBS; which++) {
		store_close(&f->s);
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		fixture_open(f);
		key_put(f, 1);
		store_close(&f->s);
		assert_true(
		    snprintf(path, sizeof(path), "%s/%s", f->dir, store_db_specs[which].file) > 0);
		assert_int_equal(unlink(path), 0);
		for (unsigned again = 0; again < 2; again++) {
			assert_null(fixture_try(f));
			assert_error(f, ERR_CORRUPT, store_db_specs[which].file);
		}
	}
}

/* Berkeley DB named no file, or waited for ever for somebody at the other end of a FIFO. */
static void
test_files_that_are_none(void **state)
{
	static const char *const names[] = {"meta.db", "keys.db", "log.0000000001", "flushed"};
	struct fixture *f = *state;
	char file[400], kept[400];

	fixture_open(f);
	key_put(f, 1);
	store_close(&f->s);
	alarm(60);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_true(snprintf(file, sizeof(file), "%s/%s", f->dir, names[i]) > 0);
		assert_true(snprintf(kept, sizeof(kept), "%s/kept", f->top) > 0);
		assert_int_equal(rename(file, kept), 0);
		for (int what = 0; what < 3; what++) {
			assert_int_equal(what == 0   ? mkfifo(file, 0600)
					 : what == 1 ? mkdir(file, 0700)
						     : symlink(kept, file),
			    0);
			assert_null(fixture_try(f));
			assert_error(f, ERR_CORRUPT, file);
			assert_error(f, ERR_CORRUPT, "is not a file");
			assert_int_equal(what == 1 ? rmdir(file) : unlink(file), 0);
		}
		assert_int_equal(rename(kept, file), 0);
		if (geteuid() == 0)
			continue;
		assert_int_equal(chmod(file, 0400), 0);
		assert_null(fixture_try(f));
		assert_error(f, ERR_SYSTEM, file);
		assert_error(f, ERR_SYSTEM, "chown");
		assert_int_equal(chmod(file, 0600), 0);
	}
	alarm(0);
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
}

/* A file that is said to be large, and is nothing but a hole, once filled the disk. */
static void
test_holes_are_copied_as_such(void **state)
{
	const off_t bytes = 64 << 20;
	struct fixture *f = *state;
	char file[400], to[300], copy[400];
	struct stat st;

	fixture_open(f);
	key_put(f, 1);
	store_close(&f->s);
	assert_true(snprintf(file, sizeof(file), "%s/uses.db", f->dir) > 0);
	assert_true(snprintf(to, sizeof(to), "%s/copy", f->top) > 0);
	assert_true(snprintf(copy, sizeof(copy), "%s/uses.db", to) > 0);
	assert_int_equal(mkdir(to, 0700), 0);
	assert_int_equal(truncate(file, bytes), 0);
	assert_int_equal(store_copy(f->dir, to, NULL, NULL, &f->e), 0);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_true((off_t)st.st_blocks * 512 < bytes / 8);
}

struct findings {
	size_t n;
	char last[200];
};

static void
on_found(void *cookie, const char *line)
{
	struct findings *found = cookie;

	found->n++;
	(void)snprintf(found->last, sizeof(found->last), "%s", line);
}

static void
on_record(void *cookie, const char *database, uint64_t record)
{
	(void)cookie;
	(void)database;
	(void)record;
}

/* In a process of its own, as in the tool: a handle that met such a page Berkeley DB frees in part.
 */
static int
page_2_is_found(struct fixture *f)
{
	struct findings found = {.n = 0};
	const struct store_verify with = {
	    .key = f->key, .found = on_found, .at = on_record, .cookie = &found};

	alarm(60);
	return store_verify_files(f->dir, &with, &f->e) != 0 || found.n != 1 ||
	       strcmp(found.last, "ids.db: page 2 is damaged") != 0;
}

/* Berkeley DB's own verification never came to an end at a page of a tree whose checksum was wrong.
 */
static void
test_a_damaged_page_is_found(void **state)
{
	struct fixture *f = *state;
	struct findings found = {.n = 0};
	const struct store_verify with = {
	    .key = f->key, .found = on_found, .at = on_record, .cookie = &found};

	fixture_open(f);
	for (unsigned i = 0; i < 300; i++)
		key_put(f, i);
	store_close(&f->s);
	assert_int_equal(store_verify_files(f->dir, &with, &f->e), 0);
	assert_int_equal(found.n, 0);
	scribble(f, "ids.db", 2 * 4096 + 1847, 1);
	assert_int_equal(in_child(page_2_is_found, f), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_makes_a_private_store),
	    T(test_a_missing_file),
	    T(test_files_that_are_none),
	    T(test_a_damaged_page_is_found),
	    T(test_holes_are_copied_as_such),
	    ENCRYPTED(test_a_damaged_page_is_found),
	    T(test_umask_cannot_lock_the_owner_out),
	    T(test_reopens_with_all_that_was_there),
	    T(test_recovers_after_its_owner_died),
	    T(test_has_one_owner),
	    T(test_busy_without_a_number),
	    T(test_close_is_harmless_on_null),
	    T(test_refuses_a_directory_others_may_enter),
	    T(test_refuses_a_foreign_directory),
	    T(test_refuses_a_directory_it_cannot_write),
	    T(test_refuses_without_the_directory_above),
	    T(test_refuses_a_file_in_its_place),
	    T(test_refuses_a_lock_that_is_a_link),
	    T(test_survives_a_change_of_working_directory),
	    T(test_refuses_a_newer_format),
	    T(test_refuses_an_older_format),
	    T(test_refuses_a_damaged_format),
	    T(test_refuses_format_zero),
	    T(test_refuses_a_format_too_long),
	    T(test_refuses_damaged_counts),
	    T(test_refuses_keys_of_no_format),
	    T(test_a_damaged_page_is_an_error_of_who_needs_it),
	    ENCRYPTED(test_a_damaged_page_is_an_error_of_who_needs_it),
	    T(test_a_store_larger_than_its_cache),
	    ENCRYPTED(test_a_store_larger_than_its_cache),
	    LEAKY(test_checksums_that_are_not_known),
	    LEAKY(test_a_damaged_file_is_refused),
	    T(test_a_stopped_store_fails_every_call),
	    T(test_housekeeping_removes_logs),
	    T(test_a_hold_that_another_one_ended),
	    T(test_a_hold_has_a_limit),
	    T(test_space),
	    T(test_stat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
