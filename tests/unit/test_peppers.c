/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: peppers come only from a file that nobody else can have written or read, every malformed
 * line is told by its number and never by its content, and adding and removing keep what was there
 * byte for byte.  Guards Invariant 4 (no pepper in an error message).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "keeper/peppers.h"

#define HEX1 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX2 "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

struct place {
	char dir[160], file[200];
};

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(p);
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_true(snprintf(p->dir, sizeof(p->dir), "%s/test-peppers.XXXXXX",
			tmp != NULL ? tmp : "/tmp") > 0);
	assert_non_null(mkdtemp(p->dir));
	assert_true(snprintf(p->file, sizeof(p->file), "%s/peppers", p->dir) > 0);
	*state = p;
	return 0;
}

static int
place_remove(void **state)
{
	struct place *p = *state;

	unsetenv("CREDENTIALS_DIRECTORY");
	random_set_source(NULL);
	nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

static void
put(const char *path, const char *text, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
refused(const char *file, enum err_code code, const char *words)
{
	struct err e = {0};
	struct peppers *p = peppers_load(file, &e);

	assert_null(p);
	assert_string_equal(err_name(e.code), err_name(code));
	if (strstr(e.msg, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
	assert_null(strstr(e.msg, "0001020304"));
}

static void
newest_comes_first(void **state)
{
	struct place *pl = *state;
	uint8_t a[DIGEST_LEN], b[DIGEST_LEN], key[32], expected[DIGEST_LEN];
	struct digest_hmac *h;
	struct err e = {0};
	struct peppers *p;

	put(pl->file, "# ours\n\n1 " HEX1 "\n  7  " HEX2 "  \n3 " HEX2, 0400);
	p = peppers_load(pl->file, &e);
	assert_non_null(p);
	assert_int_equal(peppers_count(p), 3);
	assert_int_equal(peppers_version(p, 0), 7);
	assert_int_equal(peppers_version(p, 1), 3);
	assert_int_equal(peppers_version(p, 2), 1);
	assert_int_equal(peppers_version(p, 3), 0);
	assert_int_equal(peppers_digest(p, 0, span_of("k"), a), 0);
	assert_int_equal(peppers_digest(p, 2, span_of("k"), b), 0);
	assert_memory_not_equal(a, b, DIGEST_LEN);
	assert_int_equal(peppers_digest(p, 3, span_of("k"), b), -1);
	assert_int_equal(digest_unhex(HEX2, 64, key, sizeof(key)), 0);
	h = digest_hmac_new(key, sizeof(key), &e);
	assert_int_equal(digest_hmac_of(h, "k", 1, expected), 0);
	assert_memory_equal(a, expected, DIGEST_LEN);
	digest_hmac_free(h);
	peppers_free(&p);
	assert_null(p);
	peppers_free(&p);
}

static void
loose_files_are_refused(void **state)
{
	struct place *pl = *state;

	refused(pl->file, ERR_NOT_FOUND, "apikey pepper add");
	put(pl->file, "1 " HEX1 "\n", 0440);
	refused(pl->file, ERR_DENIED, "chmod 0400");
	put(pl->file, "1 " HEX1 "\n", 0600);
	refused(pl->file, ERR_DENIED, "0600");
	refused(pl->dir, ERR_DENIED, "regular");
	/* Which nobody ever writes to. */
	assert_int_equal(unlink(pl->file), 0);
	assert_int_equal(mkfifo(pl->file, 0400), 0);
	(void)alarm(20);
	refused(pl->file, ERR_DENIED, "regular");
	(void)alarm(0);
	assert_int_equal(unlink(pl->file), 0);
	put(pl->file, "1 " HEX1 "\n", 0400);
	if (geteuid() == 0) {
		assert_int_equal(chown(pl->file, 12345, (gid_t)-1), 0);
		refused(pl->file, ERR_DENIED, "12345");
	}
}

static void
malformed_lines_are_named(void **state)
{
	static const char *const bad[] = {
	    "x " HEX1,
	    "0 " HEX1,
	    "4294967296 " HEX1,
	    "-1 " HEX1,
	    "1",
	    "1 " HEX1 "0",
	    "1 " HEX1 " x",
	    "1 00010203040506070809",
	    "1 zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	    HEX1,
	};
	struct place *pl = *state;
	char text[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(snprintf(text, sizeof(text), "# one\n9 " HEX2 "\n%s\n", bad[i]) > 0);
		put(pl->file, text, 0400);
		refused(pl->file, ERR_INPUT, "peppers:3");
	}
	put(pl->file, "1 " HEX1 "\n1 " HEX2 "\n", 0400);
	refused(pl->file, ERR_INPUT, "twice");
	put(pl->file, "# none\n", 0400);
	refused(pl->file, ERR_NOT_FOUND, "no pepper in");
}

static void
too_much_is_refused(void **state)
{
	struct place *pl = *state;
	char *text = calloc(1, 20000);
	size_t len = 0;

	assert_non_null(text);
	memset(text, '#', 9000);
	put(pl->file, text, 0400);
	refused(pl->file, ERR_INPUT, "larger");
	for (int i = 1; i <= PEPPERS_MAX + 1; i++)
		len += (size_t)snprintf(text + len, 20000 - len, "%d " HEX1 "\n", i);
	put(pl->file, text, 0400);
	refused(pl->file, ERR_INPUT, "more than");
	free(text);
}

static void
credential_goes_first(void **state)
{
	struct place *pl = *state;
	char dir[200], file[256];
	struct err e = {0};
	struct peppers *p;

	assert_true(snprintf(dir, sizeof(dir), "%s/cred", pl->dir) > 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_true(snprintf(file, sizeof(file), "%s/peppers", dir) > 0);
	put(pl->file, "1 " HEX1 "\n", 0400);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
	p = peppers_load(pl->file, &e);
	assert_non_null(p);
	assert_int_equal(peppers_version(p, 0), 1);
	peppers_free(&p);
	/* As systemd's ACL makes it look. */
	put(file, "5 " HEX2 "\n", 0440);
	p = peppers_load(pl->file, &e);
	assert_non_null(p);
	assert_int_equal(peppers_version(p, 0), 5);
	peppers_free(&p);
	put(file, "5 " HEX2 "\n", 0444);
	refused(pl->file, ERR_DENIED, "0444");
}

static size_t
slurp(const char *path, char *out, size_t cap)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, out, cap - 1);
	assert_true(n >= 0);
	out[n] = '\0';
	close(fd);
	return (size_t)n;
}

static void
adding_keeps_the_rest(void **state)
{
	static const char before[] = "# keep me\n\n3 " HEX1;
	struct place *pl = *state;
	char text[1024], beside[256];
	struct err e = {0};
	struct peppers *p;
	struct stat st;
	uint32_t v;

	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), 0);
	assert_int_equal(v, 1);
	assert_int_equal(stat(pl->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	put(pl->file, before, 0400);
	/* What a killed append leaves behind is no obstacle. */
	assert_true(snprintf(beside, sizeof(beside), "%s.new", pl->file) > 0);
	put(beside, "half a li", 0400);
	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), 0);
	assert_int_equal(v, 4);
	(void)slurp(pl->file, text, sizeof(text));
	assert_memory_equal(text, before, sizeof(before) - 1);
	assert_memory_equal(text + sizeof(before) - 1, "\n4 ", 3);
	assert_int_equal(access(beside, F_OK), -1);
	p = peppers_load(pl->file, &e);
	assert_non_null(p);
	assert_int_equal(peppers_count(p), 2);
	peppers_free(&p);
	if (geteuid() == 0) {
		assert_int_equal(peppers_add(pl->file, 12345, 12345, &v, &e), 0);
		assert_int_equal(stat(pl->file, &st), 0);
		assert_int_equal(st.st_uid, 12345);
		/* It belongs to the service: whoever adds for the service may read it, and it stays
		 * the service's. */
		assert_int_equal(peppers_add(pl->file, 12345, (unsigned)-1, &v, &e), 0);
		assert_int_equal(v, 6);
	}
}

static int
no_randomness(void *p, size_t n)
{
	(void)p;
	(void)n;
	return -1;
}

static void
adding_fails_whole(void **state)
{
	struct place *pl = *state;
	char text[PEPPERS_MAX * 80], after[PEPPERS_MAX * 80], missing[256];
	struct err e = {0};
	size_t len = 0;
	uint32_t v = 9;

	assert_true(snprintf(missing, sizeof(missing), "%s/none/peppers", pl->dir) > 0);
	assert_int_equal(peppers_add(missing, (unsigned)-1, (unsigned)-1, &v, &e), -1);
	assert_int_equal(v, 0);
	put(pl->file, "1 junk\n", 0400);
	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), -1);
	assert_non_null(strstr(e.msg, "peppers:1"));
	put(pl->file, "4294967295 " HEX1 "\n", 0400);
	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), -1);
	for (int i = 1; i <= PEPPERS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%d " HEX1 "\n", i);
	put(pl->file, text, 0400);
	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), -1);
	assert_int_equal(e.code, ERR_CONFLICT);
	put(pl->file, "1 " HEX1 "\n", 0400);
	random_set_source(no_randomness);
	assert_int_equal(peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e), -1);
	(void)slurp(pl->file, after, sizeof(after));
	assert_string_equal(after, "1 " HEX1 "\n");
}

static void
removing_keeps_the_rest(void **state)
{
	struct place *pl = *state;
	char text[1024], dir[200];
	struct err e = {0};
	struct stat st;

	put(pl->file, "# one\n1 " HEX1 "\n\n 2 " HEX2 " \n# three\n3 " HEX1, 0400);
	assert_int_equal(peppers_remove(pl->file, (unsigned)-1, (unsigned)-1, 2, &e), 1);
	(void)slurp(pl->file, text, sizeof(text));
	assert_string_equal(text, "# one\n1 " HEX1 "\n\n# three\n3 " HEX1);
	assert_int_equal(stat(pl->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(peppers_remove(pl->file, (unsigned)-1, (unsigned)-1, 2, &e), 0);
	/* The newest, and a file that is not right, stay as they are. */
	assert_int_equal(peppers_remove(pl->file, (unsigned)-1, (unsigned)-1, 3, &e), -1);
	assert_int_equal(e.code, ERR_CONFLICT);
	put(pl->file, "1 " HEX1 "\n2 junk\n3 " HEX1 "\n", 0400);
	assert_int_equal(peppers_remove(pl->file, (unsigned)-1, (unsigned)-1, 1, &e), -1);
	assert_non_null(strstr(e.msg, "peppers:2"));
	(void)slurp(pl->file, text, sizeof(text));
	assert_non_null(strstr(text, "1 " HEX1));
	/* So does one whose directory lets nobody write. */
	if (geteuid() != 0) {
		put(pl->file, "1 " HEX1 "\n3 " HEX1 "\n", 0400);
		assert_true(snprintf(dir, sizeof(dir), "%s", pl->dir) > 0);
		assert_int_equal(chmod(dir, 0500), 0);
		assert_int_equal(peppers_remove(pl->file, (unsigned)-1, (unsigned)-1, 1, &e), -1);
		assert_int_equal(chmod(dir, 0700), 0);
	}
}

/* Several at once, each a process: every one gets a version of its own and none is lost. */
static void
adding_at_once(void **state)
{
	enum { CHILDREN = 8 };
	struct place *pl = *state;
	pid_t pids[CHILDREN];
	struct err e = {0};
	struct peppers *p;
	int status;

	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			uint32_t v;

			_exit(
			    peppers_add(pl->file, (unsigned)-1, (unsigned)-1, &v, &e) == 0 ? 0 : 1);
		}
	}
	for (int i = 0; i < CHILDREN; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	p = peppers_load(pl->file, &e);
	assert_non_null(p);
	assert_int_equal(peppers_count(p), CHILDREN);
	assert_int_equal(peppers_version(p, 0), CHILDREN);
	peppers_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(newest_comes_first, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(loose_files_are_refused, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(malformed_lines_are_named, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(too_much_is_refused, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(credential_goes_first, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(adding_keeps_the_rest, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(adding_fails_whole, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(removing_keeps_the_rest, place_make, place_remove),
	    cmocka_unit_test_setup_teardown(adding_at_once, place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
