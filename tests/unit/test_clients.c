/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: the table of failed attempts blocks exactly after so many failures within a window, never
 * before; it stays as large as it is under a million addresses and never blocks who did nothing;
 * processes that share it, are killed in it or write garbage into it do each other no harm.  Time
 * is the test's own.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "gate/clients.h"
#include "gate/clients_file.h"

#define S CLOCK_SECOND
#define ATTEMPTS 20
/* In the file's header. */
#define BOOT_AT 32
#define EPOCH_AT (BOOT_AT + 40 + 16)
#define FILE_BYTES (4096 + (size_t)CLIENTS_SETS * CLIENTS_WAYS * 8)

static const struct clients_rule rule = {
    .attempts = ATTEMPTS, .window_us = 300 * S, .block_us = 120 * S};
static int scale = 1;
static char dir[128], path[160];

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/apikeyd-clients-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/" CLIENTS_FILE, dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

/* The ${n}th IPv4 address of 10.0.0.0/8 and further. */
static struct netaddr_net
number(uint32_t n)
{
	struct netaddr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (uint8_t)(10 + (n >> 24)),
	    (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
	struct netaddr_net net;

	netaddr_client(&a, &net);
	return net;
}

static struct netaddr_net
client(const char *text)
{
	struct netaddr_net net;
	struct netaddr a;

	assert_int_equal(netaddr_parse(span_of(text), &a), 0);
	netaddr_client(&a, &net);
	return net;
}

static struct clients *
table(const struct clients_rule *r)
{
	struct err e;
	struct clients *C = clients_open(dir, r, &e);

	if (C == NULL)
		fail_msg("%s", e.msg);
	return C;
}

static enum clients_state
once(struct clients *C, const struct netaddr_net *who, int64_t now_us)
{
	int64_t left;
	enum clients_state s = clients_failed(C, who, now_us, &left);

	assert_int_equal(left != 0, s != CLIENTS_COUNTED);
	assert_true(left >= 0 && left <= rule.block_us);
	return s;
}

static void
fail_times(struct clients *C, const struct netaddr_net *who, int n, int64_t now_us)
{
	for (; n > 0; n--)
		assert_int_equal(once(C, who, now_us), CLIENTS_COUNTED);
}

/* ---- the rule ---- */

static void
the_rule(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net a = client("192.0.2.1"), b = client("192.0.2.2");
	int64_t t = clock_boot_us() + 10 * S, left;

	(void)state;
	/* All but one, the last of them just before the window ends. */
	fail_times(C, &a, ATTEMPTS - 2, t);
	fail_times(C, &a, 1, t + 299 * S);
	assert_int_equal(clients_blocked_us(C, &a, t + 299 * S), 0);
	t += 299 * S + S / 2;
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKED);
	assert_int_equal(once(C, &b, t), CLIENTS_COUNTED);
	assert_int_equal(clients_blocked_us(C, &b, t), 0);

	/* What comes meanwhile does not prolong it. */
	for (int i = 0; i < 119; i++)
		assert_int_equal(once(C, &a, t + i * S), CLIENTS_BLOCKED);
	assert_int_equal(clients_failed(C, &a, t + 60 * S, &left), CLIENTS_BLOCKED);
	assert_true(left <= 60 * S && left > 60 * S - CLIENTS_TICK_US);
	assert_int_equal(clients_blocked_us(C, &a, t + 60 * S), left);
	assert_int_equal(clients_blocked_us(C, &a, t + 120 * S), 0);

	/* Then counting begins anew. */
	t += 120 * S;
	fail_times(C, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
	clients_close(&C);
	assert_null(C);
	clients_close(&C);
}

/* So many just too slowly never block; the window begins anew with the first one after its end. */
static void
too_slow(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net a = client("192.0.2.1");
	int64_t t = clock_boot_us();

	(void)state;
	for (int i = 0; i < 40; i++, t += 300 * S)
		fail_times(C, &a, ATTEMPTS - 1, t);
	fail_times(C, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
	clients_close(&C);
}

static void
one_is_enough(void **state)
{
	struct clients_rule r = rule;
	struct netaddr_net a = client("192.0.2.1");
	struct clients *C;

	(void)state;
	r.attempts = 1;
	C = table(&r);
	assert_int_equal(once(C, &a, clock_boot_us()), CLIENTS_BLOCKING);
	assert_int_equal(once(C, &a, clock_boot_us()), CLIENTS_BLOCKED);
	clients_close(&C);
	r.attempts = CLIENTS_ATTEMPTS_MAX;
	C = table(&r);
	a = client("192.0.2.3");
	fail_times(C, &a, CLIENTS_ATTEMPTS_MAX - 1, clock_boot_us());
	assert_int_equal(once(C, &a, clock_boot_us()), CLIENTS_BLOCKING);
	clients_close(&C);
}

static void
ipv6_counts_by_network(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net other = client("2001:db8:0:1::1"), mapped = client("::ffff:192.0.2.1"),
			   v4 = client("192.0.2.1");
	int64_t t = clock_boot_us();

	(void)state;
	for (int i = 0; i < ATTEMPTS; i++) {
		char text[64];
		struct netaddr_net a;

		snprintf(text, sizeof(text), "2001:db8::%x:1", i);
		a = client(text);
		assert_int_equal(
		    once(C, &a, t), i == ATTEMPTS - 1 ? CLIENTS_BLOCKING : CLIENTS_COUNTED);
	}
	assert_int_equal(once(C, &other, t), CLIENTS_COUNTED);
	fail_times(C, &mapped, ATTEMPTS / 2, t);
	fail_times(C, &v4, ATTEMPTS / 2 - 1, t);
	assert_int_equal(once(C, &mapped, t), CLIENTS_BLOCKING);
	assert_int_equal(once(C, &v4, t), CLIENTS_BLOCKED);
	clients_close(&C);
}

/* When the table was made. */
static int64_t
epoch(void)
{
	int fd = open(path, O_RDONLY);
	int64_t us;

	assert_true(fd != -1);
	assert_int_equal(pread(fd, &us, sizeof(us), EPOCH_AT), sizeof(us));
	close(fd);
	return us;
}

static int64_t
some_time(void)
{
	if (random() % 20 == 0)
		return random() % (500 * S);
	return random() % (random() % 8 == 0 ? 60 * S : 14 * S);
}

/*
 * Random failures of one client, by hundreds of thousands, against the rule as it is documented.
 * On ticks it holds to the microsecond.
 */
static void
as_the_rule_says(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net a = client("192.0.2.1");
	int64_t t = epoch(), first = INT64_MIN / 2, until = INT64_MIN / 2, left;
	int n = 0, blocks = 0;

	(void)state;
	srandom(7);
	for (int i = 0; i < 300000 * scale; i++) {
		enum clients_state want = CLIENTS_COUNTED;

		t += some_time() / CLIENTS_TICK_US * CLIENTS_TICK_US;
		if (t < until) {
			want = CLIENTS_BLOCKED;
		} else {
			if (t - first >= rule.window_us) {
				first = t;
				n = 0;
			}
			if (++n == ATTEMPTS) {
				want = CLIENTS_BLOCKING;
				until = t + rule.block_us;
				first = INT64_MIN / 2;
				blocks++;
			}
		}
		assert_int_equal(clients_failed(C, &a, t, &left), want);
		assert_int_equal(left, want == CLIENTS_COUNTED ? 0 : until - t);
	}
	assert_true(blocks > 100);
	clients_close(&C);
}

/* At any times: a block never begins with fewer failures in the last window, never lasts longer. */
static void
never_early(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net a = client("192.0.2.1");
	int64_t at[ATTEMPTS] = {0}, t = clock_boot_us(), until = INT64_MIN / 2;
	int n = 0, blocks = 0;

	(void)state;
	srandom(8);
	for (int i = 0; i < 300000 * scale; i++) {
		t += some_time();
		enum clients_state s = once(C, &a, t);

		if (s == CLIENTS_BLOCKED) {
			assert_true(t < until);
			continue;
		}
		assert_true(t >= until - CLIENTS_TICK_US);
		at[n++ % ATTEMPTS] = t;
		if (s != CLIENTS_BLOCKING)
			continue;
		assert_true(n >= ATTEMPTS);
		assert_true(t - at[n % ATTEMPTS] < rule.window_us);
		until = t + rule.block_us;
		n = 0;
		blocks++;
	}
	assert_true(blocks > 100);
	clients_close(&C);
}

/* ---- many addresses ---- */

static void
a_million_addresses(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net blocked = client("192.0.2.1"), nearly = client("192.0.2.2"), a;
	int64_t t = clock_boot_us();
	struct stat st;

	(void)state;
	fail_times(C, &blocked, ATTEMPTS - 1, t);
	assert_int_equal(once(C, &blocked, t), CLIENTS_BLOCKING);
	fail_times(C, &nearly, ATTEMPTS - 1, t);
	for (uint32_t i = 0; i < 1000000; i++) {
		a = number(i);
		assert_int_equal(once(C, &a, t), CLIENTS_COUNTED);
	}
	/* Who fails once displaces neither a blocked one nor one who failed more. */
	assert_int_equal(once(C, &blocked, t), CLIENTS_BLOCKED);
	assert_int_equal(once(C, &nearly, t), CLIENTS_BLOCKING);

	/* More blocked ones than there are places: some are forgotten, nobody else is blocked. */
	for (uint32_t i = 0; i < 400000; i++) {
		a = number(i);
		for (int n = 0; n < ATTEMPTS; n++)
			(void)clients_failed(C, &a, t + S, &(int64_t){0});
	}
	for (uint32_t i = 0; i < 1000; i++) {
		a = number((UINT32_C(200) << 24) + i);
		assert_int_equal(clients_blocked_us(C, &a, t + S), 0);
	}
	/* Not even then can one address go on for ever: alone in its set it is counted again. */
	a = client("198.51.100.1");
	fail_times(C, &a, ATTEMPTS - 1, t + 2 * S);
	assert_int_equal(once(C, &a, t + 2 * S), CLIENTS_BLOCKING);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, FILE_BYTES);
	clients_close(&C);
}

/* ---- several processes ---- */

enum { PROCESSES = 4, ADDRESSES = 300 };

/* What each counted, in memory of the test. */
static struct counts {
	int counted[ADDRESSES], blocking[ADDRESSES], blocked[ADDRESSES];
} * shared;

static void
wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
count_all(struct counts *mine, int64_t t)
{
	struct err e;
	struct clients *C = clients_open(dir, &rule, &e);

	if (C == NULL)
		_exit(1);
	for (int round = 0; round < ATTEMPTS; round++) {
		for (uint32_t i = 0; i < ADDRESSES; i++) {
			struct netaddr_net a = number(i);
			enum clients_state s = clients_failed(C, &a, t, &(int64_t){0});

			mine->counted[i] += s == CLIENTS_COUNTED;
			mine->blocking[i] += s == CLIENTS_BLOCKING;
			mine->blocked[i] += s == CLIENTS_BLOCKED;
		}
	}
	clients_close(&C);
}

/* All open it at once, and together they let pass exactly so many, of each address. */
static void
processes_count_together(void **state)
{
	int64_t t = clock_boot_us() + S;
	pid_t pids[PROCESSES];

	(void)state;
	shared = mmap(NULL, PROCESSES * sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	for (int round = 0; round < 5 * scale; round++, t += 500 * S) {
		memset(shared, 0, PROCESSES * sizeof(*shared));
		(void)unlink(path);
		for (int i = 0; i < PROCESSES; i++) {
			assert_true((pids[i] = fork()) != -1);
			if (pids[i] == 0) {
				count_all(&shared[i], t);
				_exit(0);
			}
		}
		for (int i = 0; i < PROCESSES; i++)
			wait_for(pids[i]);
		for (int i = 0; i < ADDRESSES; i++) {
			struct counts sum = {0};

			for (int p = 0; p < PROCESSES; p++) {
				sum.counted[i] += shared[p].counted[i];
				sum.blocking[i] += shared[p].blocking[i];
				sum.blocked[i] += shared[p].blocked[i];
			}
			assert_int_equal(sum.counted[i], ATTEMPTS - 1);
			assert_int_equal(sum.blocking[i], 1);
			assert_int_equal(sum.blocked[i], ATTEMPTS * (PROCESSES - 1));
		}
	}
	munmap(shared, PROCESSES * sizeof(*shared));
}

/* Killed at any instruction, of the opening and of the counting: the others go on. */
static void
killed_in_the_middle(void **state)
{
	struct netaddr_net a;
	struct clients *C;
	int status;
	pid_t pid;

	(void)state;
	srandom(11);
	for (uint32_t round = 0; round < 150U * (uint32_t)scale; round++) {
		int64_t t = clock_boot_us();

		if (round % 3 == 0)
			(void)unlink(path);
		assert_true((pid = fork()) != -1);
		if (pid == 0) {
			struct err e;
			struct netaddr_net b;

			if ((C = clients_open(dir, &rule, &e)) == NULL)
				_exit(1);
			for (uint32_t i = 0;; i++) {
				b = number(i % 100000);
				(void)clients_failed(C, &b, t, &(int64_t){0});
			}
		}
		/* No barrier: any moment will do. */
		(void)usleep((useconds_t)(random() % 3000));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		C = table(&rule);
		a = number((UINT32_C(100) << 24) + round);
		fail_times(C, &a, ATTEMPTS - 1, t);
		assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
		assert_int_equal(once(C, &a, t), CLIENTS_BLOCKED);
		clients_close(&C);
	}
}

/* ---- garbage ---- */

static uint64_t *
words(void)
{
	int fd = open(path, O_RDWR);
	void *p;

	assert_true(fd != -1);
	p = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	close(fd);
	return p;
}

/* Whatever is in the memory, header included, while workers have it: every call ends, and says
 * something that the rule knows. */
static void
garbage(void **state)
{
	struct clients *C = table(&rule);
	uint64_t *w = words();
	int64_t t = clock_boot_us();
	struct netaddr_net a;

	(void)state;
	srandom(13);
	for (int kind = 0; kind < 8; kind++) {
		for (size_t i = 0; i < FILE_BYTES / 8; i++) {
			w[i] = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^
			       (uint64_t)random();
			if (kind == 1)
				w[i] = UINT64_MAX;
			else if (kind == 2)
				w[i] = 1;
			else if (kind == 3)
				w[i] |= UINT64_C(1) << 63;
			/* All blocked, just now. */
			else if (kind == 4)
				w[i] = w[i] >> 41 | UINT64_C(0x8020000000000000);
		}
		for (uint32_t i = 0; i < 50000; i++) {
			a = number(i);
			(void)once(C, &a, t);
			assert_true(clients_blocked_us(C, &a, t) <= rule.block_us);
		}
		/* After a window and a block there is nothing left of it. */
		t += rule.window_us + rule.block_us;
		a = number((uint32_t)kind);
		fail_times(C, &a, 1, t);
	}
	munmap(w, FILE_BYTES);
	clients_close(&C);
	/* With a header of garbage it is made anew by who comes next. */
	C = table(&rule);
	a = number(1);
	fail_times(C, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
	clients_close(&C);
}

/* Times that lie ahead (another boot's, garbage) block nobody; a moment ahead is another
 * processor's. */
static void
times_ahead(void **state)
{
	struct clients *C = table(&rule);
	struct netaddr_net a = client("192.0.2.1");
	int64_t t = clock_boot_us() + 1000 * S;

	(void)state;
	fail_times(C, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKING);
	assert_int_equal(once(C, &a, t - S), CLIENTS_BLOCKED);
	assert_int_equal(once(C, &a, t - 500 * S), CLIENTS_COUNTED);
	assert_int_equal(clients_blocked_us(C, &a, INT64_MIN), 0);
	assert_int_equal(clients_blocked_us(C, &a, INT64_MAX), 0);
	clients_close(&C);
}

/* ---- the file ---- */

static ino_t
inode(void)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_size, FILE_BYTES);
	return st.st_ino;
}

static void
the_file_is_shared(void **state)
{
	struct clients *C = table(&rule), *D = table(&rule), *alone;
	struct netaddr_net a = client("192.0.2.1");
	int64_t t = clock_boot_us();
	struct err e;
	ino_t ino = inode();

	(void)state;
	fail_times(C, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(D, &a, t), CLIENTS_BLOCKING);
	clients_close(&D);
	clients_close(&C);
	/* It outlives its workers, so a restart forgives nothing. */
	C = table(&rule);
	assert_int_equal(inode(), ino);
	assert_int_equal(once(C, &a, t), CLIENTS_BLOCKED);
	clients_close(&C);
	alone = clients_open(NULL, &rule, &e);
	assert_non_null(alone);
	fail_times(alone, &a, ATTEMPTS - 1, t);
	assert_int_equal(once(alone, &a, t), CLIENTS_BLOCKING);
	clients_close(&alone);
}

static void
write_at(off_t at, const void *p, size_t n)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, p, n, at), n);
	close(fd);
}

/* What is not whole and ours is replaced, while those who have it mapped go on with it. */
static void
a_wrong_file_is_replaced(void **state)
{
	static const char junk[64] = "junk";
	struct netaddr_net a = client("192.0.2.1");
	int64_t t = clock_boot_us(), later = INT64_MAX;
	struct clients *C, *D;
	ino_t ino;

	(void)state;
	for (int how = 0; how < 11; how++) {
		C = table(&rule);
		fail_times(C, &a, 1, t);
		ino = inode();
		switch (how) {
		case 0:
			assert_int_equal(truncate(path, (off_t)FILE_BYTES + 1), 0);
			break;
		case 1: /* the magic */
			write_at(0, junk, 16);
			break;
		case 2: /* a version */
			write_at(16, junk, 4);
			break;
		case 3: /* another boot */
			write_at(BOOT_AT, junk, 36);
			break;
		case 4: /* an epoch that lies ahead */
			write_at(EPOCH_AT, &later, 8);
			break;
		case 5:
			assert_int_equal(chmod(path, 0660), 0);
			break;
		case 6:
			if (geteuid() != 0)
				break;
			assert_int_equal(chown(path, 65534, 65534), 0);
			break;
		case 7:
			assert_int_equal(unlink(path), 0);
			assert_int_equal(symlink("/dev/null", path), 0);
			break;
		case 8:
			assert_int_equal(unlink(path), 0);
			assert_int_equal(mkfifo(path, 0600), 0);
			break;
		case 9:
			assert_int_equal(unlink(path), 0);
			break;
		default: /* made by one who was killed at once */
			assert_int_equal(unlink(path), 0);
			close(open(path, O_CREAT | O_WRONLY, 0600));
			break;
		}
		D = table(&rule);
		if (how != 6 || geteuid() == 0)
			assert_true(inode() != ino);
		fail_times(D, &a, ATTEMPTS - 1, t);
		fail_times(C, &a, ATTEMPTS - 2, t);
		assert_int_equal(once(D, &a, t), CLIENTS_BLOCKING);
		clients_close(&C);
		clients_close(&D);
		assert_int_equal(unlink(path), 0);
	}
}

static void
without_a_file(void **state)
{
	struct rlimit lim = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY}, old;
	char gone[200];
	struct err e;

	(void)state;
	snprintf(gone, sizeof(gone), "%s/none", dir);
	assert_null(clients_open(gone, &rule, &e));
	assert_int_equal(mkdir(path, 0700), 0);
	assert_null(clients_open(dir, &rule, &e));
	assert_non_null(strstr(e.msg, path));
	assert_int_equal(rmdir(path), 0);
	/* No space: nothing half-made stays. */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim.rlim_max = old.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	assert_null(clients_open(dir, &rule, &e));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(access(path, F_OK), -1);
	/* Somebody stopped while he holds the lock is not waited for long. */
	clients_close(&(struct clients *){table(&rule)});
	int fd = open(path, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_null(clients_open(dir, &rule, &e));
	assert_int_equal(e.code, ERR_BUSY);
	close(fd);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(the_rule),
	    T(too_slow),
	    T(one_is_enough),
	    T(ipv6_counts_by_network),
	    T(as_the_rule_says),
	    T(never_early),
	    T(a_million_addresses),
	    T(processes_count_together),
	    T(killed_in_the_middle),
	    T(garbage),
	    T(times_ahead),
	    T(the_file_is_shared),
	    T(a_wrong_file_is_replaced),
	    T(without_a_file),
	};

	scale = getenv("LONG") != NULL && getenv("LONG")[0] != '\0' ? 20 : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
