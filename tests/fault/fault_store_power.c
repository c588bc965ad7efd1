/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: whenever the power fails, what was flushed is there, whole, and at most what was committed
 * since is not.  On a disk whose blocks are Linux's pages the store always opens; where blocks of
 * 512 bytes may be torn out of a page it opens, or refuses, or refuses what is on that page; it
 * says how that is mended.  Guards Invariants 2, 3 and 5.
 *
 * usage: fault_store_power [IMAGES [SEED]]     (60; with LONG set in the environment, 3000)
 *
 * A writer runs batches, a second thread of it the housekeeping, with logs that are short so that
 * they change and are removed often.  power.h writes down what both do to the disk, in one order
 * with the acknowledgements; images of the disk after a power cut are made from that for moments
 * drawn at random (every fourth of them while the store is first made) and looked at each by a
 * process of its own.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "../unit/store_fixture.h"
#include "batches.h"
#include "power.h"

#define IMAGES_A_WRITER 30
#define WRITER_BATCHES 600
#define CHECKPOINT_EACH 4
#define WITH_HOUSE 100 /* so many batches, and then the housekeeping may catch up */
#define HANGS_S 60

enum { NOTE_OPEN, NOTE_COMMITTED, NOTE_FLUSHED };

static unsigned images = 60;
static uint32_t dice_state = 7;

static uint32_t
dice(uint32_t below)
{
	dice_state = dice_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)dice_state * below >> 32);
}

/* ---- the writer ---- */

static atomic_uint_fast64_t committed;
static atomic_uint rounds; /* of the housekeeping */
static atomic_int ended;

static void *
keep_house(void *arg)
{
	struct fixture *f = arg;
	struct err e;
	uint64_t n;

	for (unsigned i = 0; !atomic_load(&ended); i++) {
		n = atomic_load(&committed);
		if (store_flush(f->s, &e) != 0)
			_exit(3);
		power_note(NOTE_FLUSHED, n);
		if (store_housekeep(f->s, i % CHECKPOINT_EACH == 0, &e) != 0)
			_exit(3);
		atomic_fetch_add(&rounds, 1);
		usleep(500); /* a pace, not a barrier */
	}
	return NULL;
}

/* A checkpoint is among them, and so is the removal of what is behind it. */
static void
let_keep_house(void)
{
	unsigned until = atomic_load(&rounds) + CHECKPOINT_EACH + 1;

	while (atomic_load(&rounds) < until)
		usleep(100);
}

static void __attribute__((noreturn)) write_batches(struct fixture *f)
{
	pthread_t thread;

	if (fixture_try(f) == NULL)
		_exit(2);
	power_note(NOTE_OPEN, 0);
	f->s->takes_max = BEHIND;
	if (pthread_create(&thread, NULL, keep_house, f) != 0)
		_exit(2);
	for (uint64_t n = 0; n < WRITER_BATCHES; n++) {
		if (batch(f, step_batch, &n) != 0 || (n % WITH_SWEEP == 0 && sweep(f, n) != 0))
			_exit(4);
		power_note(NOTE_COMMITTED, n + 1);
		atomic_store(&committed, n + 1);
		if (n % WITH_HOUSE == WITH_HOUSE - 1)
			let_keep_house();
	}
	atomic_store(&ended, 1);
	pthread_join(thread, NULL);
	_exit(0);
}

/* ---- the oracle ---- */

/* What the notes say up to an event: how many batches there must be, and how many there may be. */
static void
bounds(uint32_t at, uint64_t *least, uint64_t *most)
{
	*least = *most = 0;
	for (uint32_t i = 0; i < at; i++) {
		const struct power_event *ev = &power->events[i];

		if (ev->kind == POWER_NOTE && ev->at == NOTE_FLUSHED)
			*least = ev->len;
		else if (ev->kind == POWER_NOTE && ev->at == NOTE_COMMITTED)
			*most = ev->len;
	}
	++*most; /* the one that is being committed */
}

enum { SAID_RIGHT = 10, SAID_REFUSED };

/* Every record of every database: 0, or -1 when one is on a page that was torn, which is told. */
static int
read_all(struct fixture *f)
{
	static uint8_t value[1 << 18];
	struct store_scan scan;
	int rc = 0;

	for (unsigned which = 0; which < STORE_DBS && rc == 0; which++) {
		if ((rc = store_scan_open(
			 &scan, f->s, (enum store_db)which, value, sizeof(value), &f->e)) == 0)
			for (rc = store_scan_seek(&scan, span_of(""), &f->e); rc == 1;)
				rc = store_scan_next(&scan, &f->e);
		store_scan_close(&scan);
	}
	return rc;
}

static void __attribute__((noreturn))
look(struct fixture *f, uint64_t least, uint64_t most, int torn)
{
	char said[300];

	alarm(HANGS_S);
	if (snprintf(said, sizeof(said), "%s/said", f->top) < 0 ||
	    freopen(said, "w", stderr) == NULL)
		_exit(1);
	if (fixture_try(f) == NULL) {
		if (strstr(f->e.msg, "restore a backup") != NULL)
			_exit(SAID_REFUSED);
		printf("refused with \"%s\"\n", f->e.msg);
		fflush(stdout);
		_exit(1);
	}
	if (torn && read_all(f) != 0) {
		assert_error(f, ERR_CORRUPT, "restore a backup");
		_exit(SAID_REFUSED);
	}
	check(f, least, most);
	_exit(SAID_RIGHT);
}

/* What the process that failed had to say. */
static void
print_said(struct fixture *f)
{
	char path[300], line[500];
	FILE *file;

	assert_true(snprintf(path, sizeof(path), "%s/said", f->top) > 0);
	if ((file = fopen(path, "r")) == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		fputs(line, stdout);
	fclose(file);
}

static int
look_apart(struct fixture *f, const struct power_cut *cut)
{
	uint64_t least, most;
	int status;
	pid_t pid;

	bounds(cut->at, &least, &most);
	fflush(stdout);
	assert_true((pid = fork()) >= 0);
	if (pid == 0)
		look(f, least, most, cut->block < 4096);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) &&
	    (WEXITSTATUS(status) == SAID_RIGHT || WEXITSTATUS(status) == SAID_REFUSED))
		return WEXITSTATUS(status);
	print_said(f);
	fail_msg("an image of event %u of %u, blocks of %u, %u%% of the unsynced: status %x",
	    cut->at, power->nevents, cut->block, cut->keep, (unsigned)status);
	return 0;
}

static void
clear(const char *dir)
{
	nftw(dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(dir, 0700), 0);
}

/* What Berkeley DB reads before it opens; the images are without it. */
static void
short_logs(const char *dir)
{
	char path[400];
	FILE *file;

	assert_true(snprintf(path, sizeof(path), "%s/DB_CONFIG", dir) > 0);
	assert_non_null(file = fopen(path, "w"));
	assert_true(fputs("set_lg_bsize 65536\nset_lg_max 300000\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static uint32_t
event_of_open(void)
{
	for (uint32_t i = 0; i < power->nevents; i++)
		if (power->events[i].kind == POWER_NOTE && power->events[i].at == NOTE_OPEN)
			return i;
	fail();
	return 0;
}

struct tally {
	unsigned right, refused;
};

static void
cut_power(struct fixture *f, struct tally whole[1], struct tally torn[1])
{
	static const uint32_t keeps[] = {0, 50, 90, 100};
	uint32_t opened = event_of_open();

	for (unsigned i = 0; i < IMAGES_A_WRITER; i++) {
		struct power_cut cut = {
		    .block = i % 3 == 2 ? 512 : 4096, .keep = keeps[dice(4)], .dice = dice};
		struct tally *t = cut.block == 512 ? torn : whole;

		cut.at = i % 4 == 0 ? dice(opened) : opened + dice(power->nevents - opened + 1);
		clear(f->dir);
		power_rebuild(f->dir, &cut);
		if (look_apart(f, &cut) == SAID_RIGHT)
			t->right++;
		else
			t->refused++;
		if (cut.block == 4096 && t->refused > 0)
			fail_msg("an image of event %u of %u (open: %u), %u%% of the unsynced: "
				 "refused",
			    cut.at, power->nevents, opened, cut.keep);
	}
}

static void
test_power_cuts(void **state)
{
	struct fixture *f = *state;
	struct tally whole = {0}, torn = {0};
	unsigned changes = 0;
	int status;
	pid_t pid;

	power_make();
	for (unsigned done = 0; done < images; done += IMAGES_A_WRITER) {
		clear(f->dir);
		short_logs(f->dir);
		power_begin(f->dir);
		assert_true((pid = fork()) >= 0);
		if (pid == 0)
			write_batches(f);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		power->on = 0;
		for (uint32_t i = 0; i < power->nevents; i++)
			changes += power->events[i].kind == POWER_GONE;
		cut_power(f, &whole, &torn);
	}
	print_message("blocks of 4096: %u whole; of 512: %u whole, %u refused; %u logs removed\n",
	    whole.right, torn.right, torn.refused, changes);
	/* Else logs were not removed, or blocks were not torn, and this proves less than it says.
	 */
	assert_true(changes > 0 && torn.right > 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_power_cuts, fixture_make, fixture_free),
	};
	const char *more = getenv("LONG");

	if (more != NULL && *more != '\0')
		images = 3000;
	if (argc > 1)
		images = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		dice_state = (uint32_t)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
