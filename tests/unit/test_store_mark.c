/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a log that was cut short is never believed, also when the file that says how far it was on
 * disk (`flushed`) is gone or unreadable; and no store that is whole is refused for it: not one of
 * before, not one that is killed while it gets its mark, not one whose mark went while it was in
 * use.  What replaces a store opens before anything is touched.  Guards Invariants 3 and 5.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "store_fixture.h"
#include "../fault/image.h"

#define CLOSING 1500 /* bytes of log, at most, that a close writes behind the mark */
#define NAMES_THE_MEND "restore a backup"

static void
path_of(struct fixture *f, const char *name, char path[400])
{
	assert_true(snprintf(path, 400, "%s/%s", f->dir, name) > 0);
}

static int
make_and_die(struct fixture *f)
{
	fixture_open(f);
	key_put(f, 1);
	if (store_flush(f->s, &f->e) != 0)
		return 1;
	key_put(f, 2);
	return store_flush(f->s, &f->e) == 0 ? 0 : 1;
}

/* Two acknowledged keys in a store whose owner was killed: nearly all of it is in the log alone. */
static void
make_killed(struct fixture *f)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(make_and_die(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The last ${bytes} of what is written of the log; Berkeley DB gives it its full size at once. */
static void
cut_log(struct fixture *f, size_t bytes)
{
	struct image im;
	char path[400];
	size_t len = 0;

	image_take(&im, f->dir);
	for (size_t i = 0; i < im.n; i++) {
		if (strcmp(im.files[i].name, "log.0000000001") != 0)
			continue;
		for (len = im.files[i].len; len > 0 && im.files[i].bytes[len - 1] == 0;)
			len--;
	}
	image_free(&im);
	assert_true(len > bytes);
	path_of(f, "log.0000000001", path);
	assert_int_equal(truncate(path, (off_t)(len - bytes)), 0);
}

/* ---- what becomes of the mark ---- */

static const char *const ways[] = {
    "", "x", "00000000010000123456", "0000000001 00000abcde\n", "         1          2\n", NULL};

#define GONE 5 /* of them */

/* ways[w] instead of the mark; NULL: no file. */
static void
spoil_mark(struct fixture *f, size_t w)
{
	char path[400];
	FILE *file;

	path_of(f, STORE_MARK_FILE, path);
	assert_int_equal(unlink(path), 0);
	if (ways[w] == NULL)
		return;
	assert_non_null(file = fopen(path, "w"));
	assert_true(fputs(ways[w], file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
same_files(const struct image *im, const char *dir)
{
	struct image now;

	image_take(&now, dir);
	for (size_t i = 0; i < im->n; i++) {
		size_t j = 0;

		if (strcmp(im->files[i].name, "lock") == 0)
			continue;
		while (j < now.n && strcmp(im->files[i].name, now.files[j].name) != 0)
			j++;
		assert_true(j < now.n);
		assert_int_equal(now.files[j].len, im->files[i].len);
		assert_memory_equal(now.files[j].bytes, im->files[i].bytes, im->files[i].len);
	}
	image_free(&now);
}

static void
image_put_one(const struct image *im, const char *dir, const char *name)
{
	char path[400];
	FILE *file;

	for (size_t i = 0; i < im->n; i++) {
		if (strcmp(im->files[i].name, name) != 0)
			continue;
		assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) > 0);
		assert_non_null(file = fopen(path, "w"));
		assert_int_equal(
		    fwrite(im->files[i].bytes, 1, im->files[i].len, file), im->files[i].len);
		assert_int_equal(fclose(file), 0);
		return;
	}
	fail();
}

static size_t
files_in(const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Without its mark a cut log was taken for one that had always ended there: a revoked key was valid
 * again.  Now nothing is opened, and nothing changed, so that the file may be put back. */
static void
test_a_cut_log_without_its_mark(void **state)
{
	struct fixture *f = *state;
	struct image killed, spoiled;

	make_killed(f);
	image_take(&killed, f->dir);
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		image_put(&killed, f->dir);
		cut_log(f, 40);
		spoil_mark(f, w);
		image_take(&spoiled, f->dir);
		for (unsigned again = 0; again < 2; again++) {
			assert_null(fixture_try(f));
			assert_error(f, ERR_CORRUPT, NAMES_THE_MEND);
			assert_error(f, ERR_CORRUPT, "/store/" STORE_MARK_FILE ": ");
			same_files(&spoiled, f->dir);
		}
		image_free(&spoiled);
	}
	image_put(&killed, f->dir);
	fixture_open(f);
	assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
	image_free(&killed);
}

/* Nobody knows that it is whole; who puts the file back does. */
static void
test_a_whole_log_without_its_mark(void **state)
{
	struct fixture *f = *state;
	struct image whole;

	for (unsigned closed = 0; closed < 2; closed++) {
		make_killed(f);
		if (closed) {
			fixture_open(f);
			store_close(&f->s);
		}
		image_take(&whole, f->dir);
		for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
			spoil_mark(f, w);
			assert_null(fixture_try(f));
			assert_error(f, ERR_CORRUPT, "--accept-log");
			image_put_one(&whole, f->dir, STORE_MARK_FILE);
			fixture_open(f);
			assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
			store_close(&f->s);
		}
		image_free(&whole);
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
}

/* ---- stores of before ---- */

static int
step_forget(struct fixture *f, const void *arg, struct err *e)
{
	(void)arg;
	return store_db_del(f->s, STORE_DB_META, span_of(STORE_MARK_FILE), e) == 1 ? 0 : -1;
}

/* A store that does not say that it has a mark. */
static void
make_old(struct fixture *f)
{
	fixture_open(f);
	key_put(f, 1);
	assert_batch(f, step_forget, NULL);
	store_close(&f->s);
}

/* It opens with its mark, without it, and with whatever is there; from then on it has to be there.
 */
static void
test_a_store_of_before(void **state)
{
	struct fixture *f = *state;
	struct image old;

	make_old(f);
	image_take(&old, f->dir);
	for (size_t w = 0; w <= sizeof(ways) / sizeof(ways[0]); w++) {
		image_put(&old, f->dir);
		if (w > 0)
			spoil_mark(f, w - 1);
		fixture_open(f);
		assert_int_equal(key_there(f, 1), 1);
		key_put(f, 2);
		fixture_reopen(f);
		assert_int_equal(key_there(f, 2), 1);
		store_close(&f->s);
		spoil_mark(f, GONE);
		assert_null(fixture_try(f));
		assert_error(f, ERR_CORRUPT, "flushed: missing");
	}
	/* Its log is held against the mark as ever. */
	image_put(&old, f->dir);
	cut_log(f, CLOSING + 40);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "ends before what was acknowledged");
	image_free(&old);
}

static int
step_damage(struct fixture *f, const void *arg, struct err *e)
{
	return store_db_put(f->s, STORE_DB_META, span_of(STORE_MARK_FILE), span_of(arg), e);
}

/* A record of another form says nothing; least of all that there need not be a mark. */
static void
test_a_damaged_record(void **state)
{
	static const char *const records[] = {"", "\2", "\1\1", "no"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		fixture_open(f);
		assert_batch(f, step_damage, records[i]);
		store_close(&f->s);
		for (unsigned mark = 0; mark < 2; mark++) {
			assert_null(fixture_try(f));
			assert_error(f, ERR_CORRUPT, NAMES_THE_MEND);
			if (mark == 0)
				spoil_mark(f, GONE);
		}
	}
	/* Nobody but the store writes it. */
	nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	fixture_open(f);
	f->s->in_batch = 1;
	assert_int_equal(store_meta_put(f->s, STORE_MARK_FILE, "", 0, &f->e), -1);
	f->s->in_batch = 0;
}

static int
record_and_die(struct fixture *f)
{
	fixture_open(f);
	key_put(f, 1);
	assert_batch(f, step_forget, NULL);
	if (store_housekeep(f->s, 1, &f->e) != 0)
		return 1;
	assert_batch(f, step_damage, "\1");
	return store_flush(f->s, &f->e) == 0 ? 0 : 1;
}

/* As a kill leaves it between the record and the checkpoint: it comes to light with recovery. */
static void
test_a_record_in_the_log_alone(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(record_and_die(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	spoil_mark(f, GONE);
	for (unsigned again = 0; again < 2; again++) {
		assert_null(fixture_try(f));
		assert_error(f, ERR_CORRUPT, "flushed: missing");
	}
}

/* ---- in use ---- */

static int
lose_and_die(struct fixture *f)
{
	char path[400];
	FILE *file;

	for (unsigned w = 0; w < 3; w++) {
		if (fixture_try(f) == NULL)
			return 2;
		key_put(f, w);
		if (store_flush(f->s, &f->e) != 0)
			return 3;
		path_of(f, STORE_MARK_FILE, path);
		if (w > 0)
			assert_int_equal(unlink(path), 0);
		if (w != 1) {
			assert_non_null(file = fopen(path, "w"));
			assert_int_equal(fclose(file), 0);
		}
		/* The housekeeper's once a second; nothing was committed since. */
		if (store_housekeep(f->s, 0, &f->e) != 0)
			return 4;
		if (w < 2)
			store_close(&f->s);
	}
	return 0;
}

/* Emptied, removed, replaced while the store is open: its owner writes it again, as far as the log
 * was on disk, so that the next start is not refused, and a cut log still is. */
static void
test_a_mark_that_goes_while_it_is_in_use(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(lose_and_die(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fixture_open(f);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(key_there(f, n), 1);
	key_put(f, 3);
	assert_int_equal(store_flush(f->s, &f->e), 0);
	spoil_mark(f, GONE);
	store_close(&f->s);
	cut_log(f, CLOSING + 40);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "ends before what was acknowledged");
}

/* ---- copies, and what replaces a store ---- */

/* f->dir with key 3, and beside it a store with keys 1 and 2: its path in ${other}. */
static void
make_two(struct fixture *f, char other[sizeof(f->dir)])
{
	char dir[sizeof(f->dir)];

	memcpy(dir, f->dir, sizeof(dir));
	assert_true(snprintf(other, sizeof(dir), "%s/other", f->top) > 0);
	memcpy(f->dir, other, sizeof(dir));
	make_killed(f);
	memcpy(f->dir, dir, sizeof(dir));
	fixture_open(f);
	key_put(f, 3);
	store_close(&f->s);
}

static int
restore_from(struct fixture *f, const char *from, const char *replaced, int accept)
{
	struct store_restore r = {
	    .replaced = replaced, .accept_log = accept, .check = fixture_opens};
	struct store_source *source;
	int rc;

	memset(&f->e, 0, sizeof(f->e));
	assert_non_null(source = store_source_open(from, &f->e));
	r.source = source;
	rc = store_restore(f->dir, &r, &f->e);
	store_source_close(&source);
	return rc;
}

/* ... which is in ${f}, too, but at ${dir}. */
static void
at(struct fixture *f, const char *dir, void (*what)(struct fixture *, size_t), size_t how)
{
	char kept[sizeof(f->dir)];

	memcpy(kept, f->dir, sizeof(kept));
	memcpy(f->dir, dir, sizeof(kept));
	what(f, how);
	memcpy(f->dir, kept, sizeof(kept));
}

/* What does not open took the place of a store that did, which was aside then. */
static void
test_a_bad_copy_replaces_nothing(void **state)
{
	struct fixture *f = *state;
	struct image store, good;
	char other[sizeof(f->dir)];

	make_two(f, other);
	image_take(&store, f->dir);
	image_take(&good, other);
	for (unsigned bad = 0; bad < 3; bad++) {
		image_put(&good, other);
		if (bad != 0)
			at(f, other, cut_log, 40);
		if (bad != 1)
			at(f, other, spoil_mark, GONE);
		assert_int_equal(restore_from(f, other, "replaced", 0), -1);
		assert_error(f, ERR_CORRUPT, NAMES_THE_MEND);
		assert_error(f, ERR_CORRUPT, bad == 1 ? "ends before" : "flushed: missing");
		same_files(&store, f->dir);
	}
	/* Nothing is left of it. */
	assert_int_equal(files_in(f->dir), store.n);
	image_put(&good, other);
	assert_int_equal(restore_from(f, other, "replaced", 0), 0);
	assert_int_equal(files_in(f->dir), store.n + 1);
	fixture_open(f);
	assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
	assert_int_equal(key_there(f, 3), 0);
	image_free(&store);
	image_free(&good);
}

static void
forget(struct fixture *f, size_t mark)
{
	fixture_open(f);
	assert_batch(f, step_forget, NULL);
	store_close(&f->s);
	spoil_mark(f, mark);
}

/* One without a mark, which says of none: it gets one before it is the store. */
static void
test_a_backup_of_before(void **state)
{
	struct fixture *f = *state;
	char other[sizeof(f->dir)];

	make_two(f, other);
	at(f, other, forget, GONE);
	assert_int_equal(restore_from(f, other, "replaced", 0), 0);
	spoil_mark(f, GONE);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "flushed: missing");
	/* The copy alone was changed. */
	assert_int_equal(restore_from(f, other, "again", 0), 0);
	fixture_open(f);
	assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
}

/* What was asked for: a log that is believed as it is, of a store beside it and of itself. */
static void
test_a_log_that_is_accepted(void **state)
{
	struct fixture *f = *state;
	char other[sizeof(f->dir)];
	struct image good;

	make_two(f, other);
	image_take(&good, other);
	/* Whole, but without its mark: nothing is missing. */
	at(f, other, spoil_mark, GONE);
	assert_int_equal(restore_from(f, other, "replaced", 1), 0);
	fixture_open(f);
	assert_int_equal(key_there(f, 1) && key_there(f, 2), 1);
	store_close(&f->s);

	/* Itself, once it was refused: what was behind the cut is gone, and it has a mark again. */
	image_put(&good, f->dir);
	cut_log(f, 40);
	assert_null(fixture_try(f));
	assert_int_equal(restore_from(f, f->dir, "aside", 0), -1);
	assert_int_equal(restore_from(f, f->dir, "aside", 1), 0);
	fixture_open(f);
	assert_int_equal(key_there(f, 1), 1);
	assert_int_equal(key_there(f, 2), 0);
	key_put(f, 4);
	store_close(&f->s);
	spoil_mark(f, GONE);
	assert_null(fixture_try(f));
	assert_error(f, ERR_CORRUPT, "flushed: missing");
	image_free(&good);
}

/* Half of a store is none, whatever is asked for; nor is what somebody writes to. */
static void
test_what_is_not_accepted(void **state)
{
	struct fixture *f = *state;
	char other[sizeof(f->dir)], kept[sizeof(f->dir)];
	int fd;

	make_two(f, other);
	assert_true((fd = open(other, O_RDONLY | O_DIRECTORY)) >= 0);
	assert_int_equal(store_mark_unfinished(fd, other, &f->e), 0);
	assert_int_equal(restore_from(f, other, "replaced", 1), -1);
	assert_error(f, ERR_CORRUPT, "run it again");
	assert_int_equal(store_mark_forget(fd, other, &f->e), -1);
	assert_int_equal(unlinkat(fd, STORE_MARK_FILE, 0), 0);
	assert_int_equal(store_mark_forget(fd, other, &f->e), 0);
	close(fd);
	memcpy(kept, f->dir, sizeof(kept));
	memcpy(f->dir, other, sizeof(kept));
	fixture_open(f);
	memcpy(f->dir, kept, sizeof(kept));
	assert_int_equal(restore_from(f, other, "replaced", 1), -1);
	assert_error(f, ERR_BUSY, "stop it first");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_make, fixture_free)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_a_cut_log_without_its_mark),
	    T(test_a_whole_log_without_its_mark),
	    T(test_a_store_of_before),
	    T(test_a_damaged_record),
	    T(test_a_record_in_the_log_alone),
	    T(test_a_mark_that_goes_while_it_is_in_use),
	    T(test_a_bad_copy_replaces_nothing),
	    T(test_a_backup_of_before),
	    T(test_a_log_that_is_accepted),
	    T(test_what_is_not_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
