/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: whatever of the store's files is cut off, emptied, zeroed, changed by a bit or gone, the
 * store either refuses to open and names the mend, or answers each question rightly or with an
 * error.  Never "no such key" for a key that is there, never a limit that forgot what was used,
 * never the state of before an acknowledged change.  Guards Invariants 2, 3 and 5.
 *
 * usage: fault_store_damage [ROUNDS [SEED]]     (1; with LONG set in the environment, 40)
 *
 * A log whose mark is gone, too, is refused whatever became of it.
 *
 * The store's contents are known beforehand (world.h).  It is damaged in two states: closed, and as
 * its killed owner left it, so that recovery meets the damage.  Each case is looked at by a process
 * of its own: what crashes or hangs is a failure, too.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/wait.h>

#include "../unit/store_fixture.h"
#include "image.h"
#include "world.h"

#define HANGS_S 60

static unsigned rounds = 1;
static uint32_t dice_state = 1;

/* The same on each run: a failure can be looked at again. */
static uint32_t
dice(uint32_t below)
{
	dice_state = dice_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)dice_state * below >> 32);
}

static int
is_log(const char *name)
{
	return strncmp(name, "log.", 4) == 0;
}

static int
is_db(const char *name)
{
	size_t n = strlen(name);

	return n > 3 && strcmp(name + n - 3, ".db") == 0;
}

/* ---- damage ---- */

enum damage { CUT, EMPTY, ZERO_PAGE, FLIP_BIT, REMOVE };

struct hit {
	enum damage how;
	size_t at;    /* length that is left; page; bit */
	int unmarked; /* and the mark of the log is gone, too */
};

static void
hit_describe(const struct hit *h, const char *name, char text[160])
{
	static const char *const what[] = {
	    "cut to", "emptied", "zeroed page", "flipped bit", "gone"};

	if (snprintf(text, 160, "%s: %s %zu%s", name, what[h->how], h->at,
		h->unmarked ? ", without the mark" : "") < 0)
		fail();
}

static size_t
page_of(const char *name)
{
	return strcmp(name, "blocks.db") == 0 ? 2048 : 4096;
}

static void
hit_file(const struct hit *h, const char *dir, const char *name)
{
	static const uint8_t zeros[4096];
	size_t page = page_of(name);
	char path[400];
	uint8_t byte;
	int fd;

	assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) > 0);
	if (h->how == REMOVE) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	assert_true((fd = open(path, O_RDWR)) >= 0);
	switch (h->how) {
	case CUT:
	case EMPTY:
		assert_int_equal(ftruncate(fd, (off_t)h->at), 0);
		break;
	case ZERO_PAGE:
		assert_int_equal(pwrite(fd, zeros, page, (off_t)(h->at * page)), page);
		break;
	default:
		assert_int_equal(pread(fd, &byte, 1, (off_t)(h->at / 8)), 1);
		byte = (uint8_t)(byte ^ (1u << h->at % 8));
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)(h->at / 8)), 1);
	}
	close(fd);
}

/* ---- the look at it ---- */

enum { SAID_REFUSED = 10, SAID_ERRORS, SAID_RIGHT, SAID_WRONG };

/* In a process of its own; why is on stderr. */
static void __attribute__((noreturn)) look(struct fixture *f, const char *what)
{
	const char *wrong;
	unsigned errors = 0;

	alarm(HANGS_S);
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(1);
	if (fixture_try(f) == NULL) {
		if (strstr(f->e.msg, "restore a backup") != NULL &&
		    strstr(f->e.msg, f->dir) != NULL)
			_exit(SAID_REFUSED);
		printf("%s: refused with \"%s\"\n", what, f->e.msg);
		fflush(stdout);
		_exit(SAID_WRONG);
	}
	if ((wrong = world_wrong(f, &errors)) != NULL) {
		printf("%s: %s\n", what, wrong);
		fflush(stdout);
		_exit(SAID_WRONG);
	}
	_exit(errors > 0 ? SAID_ERRORS : SAID_RIGHT);
}

static int
look_apart(struct fixture *f, const char *what)
{
	int status;
	pid_t pid;

	fflush(stdout);
	assert_true((pid = fork()) >= 0);
	if (pid == 0)
		look(f, what);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		printf("%s: signal %d\n", what, WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : SAID_WRONG;
}

struct tally {
	unsigned refused, errors, right, wrong;
};

/* Each time twice: it says the same the next time, also when the first time tried to recover. */
static void
try_hit(struct fixture *f, const struct image *im, const char *name, const struct hit *h,
    struct tally *t)
{
	char what[160];
	int said, again;

	hit_describe(h, name, what);
	image_put(im, f->dir);
	hit_file(h, f->dir, name);
	if (h->unmarked)
		hit_file(&(struct hit){REMOVE, 0, 0}, f->dir, STORE_MARK_FILE);
	said = look_apart(f, what);
	again = look_apart(f, what);
	if (said == SAID_WRONG || again == SAID_WRONG || (said == SAID_REFUSED && again != said) ||
	    (h->unmarked && said != SAID_REFUSED)) {
		printf("%s: said %d, then %d\n", what, said, again);
		t->wrong++;
	}
	t->refused += said == SAID_REFUSED;
	t->errors += said == SAID_ERRORS;
	t->right += said == SAID_RIGHT;
}

static void
try_db(struct fixture *f, const struct image *im, size_t i, struct tally *t)
{
	const char *name = im->files[i].name;
	size_t len = im->files[i].len, pages = len / page_of(name);
	struct hit h;

	if (len == 0)
		return;
	h = (struct hit){EMPTY, 0, 0};
	try_hit(f, im, name, &h, t);
	if (pages > 1) {
		h = (struct hit){CUT, page_of(name), 0};
		try_hit(f, im, name, &h, t);
		h = (struct hit){CUT, len - page_of(name), 0};
		try_hit(f, im, name, &h, t);
		h = (struct hit){CUT, 1 + dice((uint32_t)len - 1), 0};
		try_hit(f, im, name, &h, t);
		h = (struct hit){ZERO_PAGE, 1 + dice((uint32_t)pages - 1), 0};
		try_hit(f, im, name, &h, t);
	}
	h = (struct hit){ZERO_PAGE, 0, 0};
	try_hit(f, im, name, &h, t);
	h = (struct hit){FLIP_BIT, dice((uint32_t)len * 8), 0};
	try_hit(f, im, name, &h, t);
}

/* A bit of it may make it an older one, which is right as long as the log is. */
static void
try_mark(struct fixture *f, const struct image *im, size_t i, struct tally *t)
{
	const char *name = im->files[i].name;
	size_t len = im->files[i].len;
	struct hit h;

	h = (struct hit){REMOVE, 0, 0};
	try_hit(f, im, name, &h, t);
	h = (struct hit){EMPTY, 0, 0};
	try_hit(f, im, name, &h, t);
	h = (struct hit){CUT, 1 + dice((uint32_t)len - 1), 0};
	try_hit(f, im, name, &h, t);
	for (unsigned n = 0; n < 8; n++) {
		h = (struct hit){FLIP_BIT, dice((uint32_t)len * 8), 0};
		try_hit(f, im, name, &h, t);
	}
}

/* Berkeley DB gives a log its full size at once: what is written ends earlier. */
static size_t
used_of(const struct image *im, size_t i)
{
	size_t len = im->files[i].len;

	while (len > 0 && im->files[i].bytes[len - 1] == 0)
		len--;
	return len;
}

static void
try_log(struct fixture *f, const struct image *im, size_t i, int unmarked, struct tally *t)
{
	const char *name = im->files[i].name;
	size_t used = used_of(im, i);
	struct hit h;

	h = (struct hit){REMOVE, 0, unmarked};
	try_hit(f, im, name, &h, t);
	h = (struct hit){EMPTY, 0, unmarked};
	try_hit(f, im, name, &h, t);
	h = (struct hit){CUT, used / 2, unmarked};
	try_hit(f, im, name, &h, t);
	h = (struct hit){CUT, used - 40, unmarked};
	try_hit(f, im, name, &h, t);
	for (unsigned n = 0; n < 4; n++) {
		h = (struct hit){CUT, dice((uint32_t)used), unmarked};
		try_hit(f, im, name, &h, t);
		h = (struct hit){FLIP_BIT, dice((uint32_t)used * 8), unmarked};
		try_hit(f, im, name, &h, t);
	}
}

static void
try_all(struct fixture *f, const char *state)
{
	struct tally dbs = {0}, logs = {0}, mark = {0};
	struct image im;
	int said;

	image_take(&im, f->dir);
	said = look_apart(f, "nothing");
	assert_int_equal(said, SAID_RIGHT);
	for (unsigned r = 0; r < rounds; r++)
		for (size_t i = 0; i < im.n; i++) {
			if (is_db(im.files[i].name))
				try_db(f, &im, i, &dbs);
			else if (strcmp(im.files[i].name, STORE_MARK_FILE) == 0)
				try_mark(f, &im, i, &mark);
			for (int unmarked = 0; is_log(im.files[i].name) && unmarked < 2; unmarked++)
				try_log(f, &im, i, unmarked, &logs);
		}
	image_free(&im);
	print_message("%s: databases: %u refused, %u with errors, %u repaired; logs: %u refused, "
		      "%u with errors, %u right; mark: %u refused, %u right\n",
	    state, dbs.refused, dbs.errors, dbs.right, logs.refused, logs.errors, logs.right,
	    mark.refused, mark.right);
	assert_int_equal(dbs.wrong + logs.wrong + mark.wrong + mark.errors, 0);
	assert_true(dbs.refused > 0 && logs.refused > 0 && mark.refused > 0);
}

static void
test_damage_of_a_closed_store(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	world_make(f);
	store_close(&f->s);
	try_all(f, "closed");
}

static int
make_and_die(struct fixture *f)
{
	fixture_open(f);
	world_make(f);
	if (store_flush(f->s, &f->e) != 0)
		return -1;
	_exit(0);
}

/* Acknowledged, and nearly all of it in the log only. */
static void
test_damage_of_a_killed_store(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	assert_true((pid = fork()) >= 0);
	if (pid == 0)
		_exit(make_and_die(f) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	try_all(f, "killed");
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_damage_of_a_closed_store, fixture_make, fixture_free),
	    cmocka_unit_test_setup_teardown(
		test_damage_of_a_killed_store, fixture_make, fixture_free),
	    {"test_damage_of_a_closed_store (encrypted)", test_damage_of_a_closed_store,
		fixture_make_encrypted, fixture_free, NULL},
	    {"test_damage_of_a_killed_store (encrypted)", test_damage_of_a_killed_store,
		fixture_make_encrypted, fixture_free, NULL},
	};
	const char *more = getenv("LONG");

	if (more != NULL && *more != '\0')
		rounds = 40;
	if (argc > 1)
		rounds = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		dice_state = (uint32_t)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
