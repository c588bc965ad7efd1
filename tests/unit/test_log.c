/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: each event is one line and one write, its values cannot forge another line or pair, and the
 * level decides what is written.  Guards invariant 6 for whoever reads the log.
 *
 * stderr is one end of a SOCK_SEQPACKET pair, where each write is one message; syslog(3) is
 * replaced by a recorder.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static struct {
	int opened, options, facility, priority;
	const char *ident;
	char line[8192];
} recorded;

void openlog(const char *, int, int);
void closelog(void);
void syslog(int, const char *, ...);
void __syslog_chk(int, int, const char *, ...);

void
openlog(const char *ident, int options, int facility)
{
	recorded.opened++;
	recorded.ident = ident;
	recorded.options = options;
	recorded.facility = facility;
}

void
closelog(void)
{
}

static void
record(int priority, const char *fmt, va_list ap)
{
	recorded.priority = priority;
	vsnprintf(recorded.line, sizeof(recorded.line), fmt, ap);
}

void
syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(priority, fmt, ap);
	va_end(ap);
}

/* What syslog(3) becomes with _FORTIFY_SOURCE. */
void
__syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	record(priority, fmt, ap);
	va_end(ap);
}

static int reader = -1, saved_stderr = -1;

static int
capture(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) != 0)
		return -1;
	saved_stderr = dup(STDERR_FILENO);
	reader = pair[0];
	if (saved_stderr < 0 || dup2(pair[1], STDERR_FILENO) < 0)
		return -1;
	return close(pair[1]);
}

static int
uncapture(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	log_open(LOG_TO_STDERR, LOG_LVL_INFO, NULL);
	return close(reader);
}

/* The next line written, without its newline; NULL when there is none. */
static const char *
next_line(void)
{
	static char line[8192];
	ssize_t n = recv(reader, line, sizeof(line) - 1, 0);

	if (n < 0)
		return NULL;
	assert_true(n > 0);
	assert_int_equal(line[n - 1], '\n');
	line[n - 1] = '\0';
	assert_null(strchr(line, '\n'));
	return line;
}

static void
plain_lines(void **state)
{
	const char *line;
	char when[21];
	int64_t us;

	(void)state;
	log_open(LOG_TO_STDERR, LOG_LVL_INFO, "worker");
	log_event(LOG_LVL_INFO, "child_started", "pid", LOG_NUM(12), "path", "/run/x.sock", NULL);
	line = next_line();
	assert_non_null(line);
	assert_memory_equal(line, "time=", 5);
	memcpy(when, line + 5, 20);
	when[20] = '\0';
	assert_int_equal(clock_rfc3339_parse(when, &us), 0);
	assert_in_range(clock_wall_us() - us, 0, 60 * CLOCK_SECOND);
	assert_string_equal(
	    line + 25, " level=info role=worker event=child_started pid=12 path=/run/x.sock");
	assert_null(next_line());

	log_open(LOG_TO_STDERR, LOG_LVL_INFO, NULL);
	log_event(LOG_LVL_ERROR, "failed", NULL);
	assert_string_equal(next_line() + 25, " level=error event=failed");
}

static void
levels(void **state)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	int limit, level;

	(void)state;
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "");
	for (limit = LOG_LVL_ERROR; limit <= LOG_LVL_DEBUG; limit++) {
		assert_int_equal(log_level_parse(names[limit]), limit);
		log_set_level((enum log_level)limit);
		for (level = LOG_LVL_ERROR; level <= LOG_LVL_DEBUG; level++) {
			log_event((enum log_level)level, "x", NULL);
			assert_int_equal(next_line() != NULL, level <= limit);
		}
	}
	assert_int_equal(log_level_parse("INFO"), -1);
	assert_int_equal(log_level_parse(""), -1);
}

static void
hostile_values(void **state)
{
	static const struct {
		const char *value, *printed;
	} cases[] = {
	    {"plain-1.2_3:/@", "v=plain-1.2_3:/@"},
	    {NULL, "v="},
	    {"", "v=\"\""},
	    {"two words", "v=\"two words\""},
	    {"a\"b", "v=\"a\\\"b\""},
	    {"a\\b", "v=\"a\\\\b\""},
	    {"a=b", "v=\"a=b\""},
	    {"x\nlevel=error event=forged", "v=\"x\\nlevel=error event=forged\""},
	    {"\r\t\x1b[2J\x7f", "v=\"\\x0d\\x09\\x1b[2J\\x7f\""},
	    {"caf\xc3\xa9", "v=\"caf\\xc3\\xa9\""},
	};
	char expected[200], line[200];
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(expected, sizeof(expected), "level=debug role=r event=e %s next=1",
		    cases[i].printed);
		n = log_format(line, sizeof(line), LOG_LVL_DEBUG, "r", "e", "v", cases[i].value,
		    "next", "1", NULL);
		assert_string_equal(line, expected);
		assert_int_equal(n, strlen(expected));
	}
}

static void
lines_too_long(void **state)
{
	char value[5000], line[8192], small[16];
	size_t n, whole = 0;
	const char *got;

	(void)state;
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	log_open(LOG_TO_STDERR, LOG_LVL_INFO, NULL);
	log_event(LOG_LVL_INFO, "e", "a", "1", "long", value, "b", "2", NULL);
	got = next_line();
	assert_non_null(got);
	assert_string_equal(got + 25, " level=info event=e a=1 b=2 truncated=yes");

	/* Escaping makes it four times as long: it must be measured after that. */
	memset(value, '\x01', 1500);
	value[1500] = '\0';
	log_event(LOG_LVL_INFO, "e", "long", value, NULL);
	assert_string_equal(next_line() + 25, " level=info event=e truncated=yes");

	/* At every length around the bound: one line, complete, or with the mark. */
	for (n = 3950; n < 4100; n++) {
		memset(value, 'v', n);
		value[n] = '\0';
		log_event(LOG_LVL_INFO, "e", "a", value, NULL);
		got = next_line();
		assert_non_null(got);
		snprintf(line, sizeof(line), " level=info event=e a=%s", value);
		if (strcmp(got + 25, line) == 0)
			whole++;
		else
			assert_string_equal(got + 25, " level=info event=e truncated=yes");
		assert_in_range(strlen(got), 0, 4095);
	}
	assert_in_range(whole, 50, 130);
	assert_int_equal(log_format(small, sizeof(small), LOG_LVL_INFO, "r", "e", NULL), 0);
}

static void
to_syslog(void **state)
{
	/* RFC 5424 severities; the values of LOG_ERR to LOG_DEBUG. */
	static const int priorities[] = {3, 4, 6, 7};
	int level;

	(void)state;
	log_open(LOG_TO_SYSLOG, LOG_LVL_DEBUG, "keeper");
	assert_int_equal(recorded.opened, 1);
	for (level = LOG_LVL_ERROR; level <= LOG_LVL_DEBUG; level++) {
		log_event((enum log_level)level, "opened", "note", "100%s\n", NULL);
		assert_int_equal(recorded.priority, priorities[level]);
		assert_string_equal(recorded.line, "role=keeper event=opened note=\"100%s\\n\"");
	}
	assert_null(next_line());
}

/* What log_through sent, handed on as the process that may would. */
static void
relay(int fd, char mem[LOG_RELAY_MAX], size_t *n)
{
	ssize_t got = recv(fd, mem, LOG_RELAY_MAX, MSG_TRUNC);

	assert_in_range(got, 3, LOG_RELAY_MAX);
	*n = (size_t)got;
	recorded.line[0] = '\0';
	log_relayed(mem, *n, 77);
}

/* A worker has no socket to syslog: its lines go through another process, which trusts none. */
static void
through_another(void **state)
{
	char mem[LOG_RELAY_MAX + 1], wide[5000];
	int pair[2], level;
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	log_open(LOG_TO_SYSLOG, LOG_LVL_DEBUG, "worker");
	log_through(pair[0]);
	for (level = LOG_LVL_ERROR; level <= LOG_LVL_DEBUG; level++) {
		recorded.line[0] = '\0';
		log_event((enum log_level)level, "x", "a", "100%s\n", NULL);
		assert_string_equal(recorded.line, ""); /* not by itself */
		relay(pair[1], mem, &n);
		assert_string_equal(recorded.line, "pid=77 role=worker event=x a=\"100%s\\n\"");
	}
	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	log_event(LOG_LVL_INFO, "x", "cut", wide, NULL);
	relay(pair[1], mem, &n);
	assert_string_equal(recorded.line, "pid=77 role=worker event=x truncated=yes");

	/* The other end may be anybody's. */
	recorded.line[0] = '\0';
	log_relayed("l1", 2, 1);
	log_relayed("l", 1, 1);
	log_relayed("", 0, 1);
	log_relayed("l9x", 3, 1);
	log_relayed("l/x", 3, 1);
	log_relayed("m1x", 3, 1);
	memset(mem, 'x', sizeof(mem));
	memcpy(mem, "l1", 2);
	log_relayed(mem, sizeof(mem), 1);
	assert_string_equal(recorded.line, "");
	log_relayed("l1a\nb\0\x1b[\x80%n", 11, 1);
	assert_string_equal(recorded.line, "pid=1 a?b??[?%n");

	/* Nobody there, or nobody who reads: the line is lost, and that is all. */
	for (level = 0; level < 1000; level++)
		log_event(LOG_LVL_INFO, "x", "fill", wide, NULL);
	assert_int_equal(close(pair[1]), 0);
	log_event(LOG_LVL_INFO, "x", NULL);
	assert_int_equal(close(pair[0]), 0);

	/* Who does not log to syslog relays nothing to it. */
	log_open(LOG_TO_STDERR, LOG_LVL_INFO, NULL);
	recorded.line[0] = '\0';
	log_relayed("l1abc", 5, 1);
	assert_string_equal(recorded.line, "");
	log_through(STDERR_FILENO);
	log_event(LOG_LVL_INFO, "still_here", NULL);
	assert_non_null(strstr(next_line(), "event=still_here"));
}

static void
keeps_errno(void **state)
{
	(void)state;
	log_open(LOG_TO_STDERR, LOG_LVL_INFO, NULL);
	errno = ENOSPC;
	log_event(LOG_LVL_INFO, "x", NULL);
	assert_int_equal(errno, ENOSPC);
	assert_non_null(next_line());
	/* A stderr that takes nothing is no reason to fail or to hang. */
	close(STDERR_FILENO);
	errno = EIO;
	log_event(LOG_LVL_INFO, "x", NULL);
	assert_int_equal(errno, EIO);
}

static void
numbers(void **state)
{
	(void)state;
	assert_string_equal(LOG_NUM(0), "0");
	assert_string_equal(LOG_NUM(-1), "-1");
	assert_string_equal(LOG_NUM(INT64_MAX), "9223372036854775807");
	assert_string_equal(LOG_NUM(INT64_MIN), "-9223372036854775808");
}

/* A line a second, with the number of those between. */
static void
pace(void **state)
{
	struct log_pace p = {0};
	uint64_t held = 99;

	(void)state;
	assert_int_equal(log_pace(&p, 5, &held), 1);
	assert_int_equal(held, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(log_pace(&p, 6 + i, &held), 0);
	assert_int_equal(log_pace(&p, 1000005, &held), 1);
	assert_int_equal(held, 1000);
	assert_int_equal(log_pace(&p, 3000000, &held), 1);
	assert_int_equal(held, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pace),
	    cmocka_unit_test_setup_teardown(plain_lines, capture, uncapture),
	    cmocka_unit_test_setup_teardown(levels, capture, uncapture),
	    cmocka_unit_test(hostile_values),
	    cmocka_unit_test_setup_teardown(lines_too_long, capture, uncapture),
	    cmocka_unit_test_setup_teardown(to_syslog, capture, uncapture),
	    cmocka_unit_test_setup_teardown(through_another, capture, uncapture),
	    cmocka_unit_test_setup_teardown(keeps_errno, capture, uncapture),
	    cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
