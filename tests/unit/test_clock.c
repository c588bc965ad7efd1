/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: durations, dates and RFC 3339 times are read strictly, without overflow, and the same in
 * every time zone; what is written is read back.  Guards invariant 3's expiry (a wrong moment would
 * admit a key too long) and invariant 6.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MINUTE (60 * CLOCK_SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static void
clocks(void **state)
{
	int64_t wall = clock_wall_us(), mono = clock_mono_us(), boot = clock_boot_us();

	(void)state;
	assert_in_range(wall / CLOCK_SECOND - (int64_t)time(NULL) + 60, 0, 120);
	assert_true(mono > 0);
	assert_true(clock_mono_us() >= mono);
	assert_true(boot >= mono);
	assert_true(clock_boot_us() >= boot);
}

static void
boot_id(void **state)
{
	char id[37], expected[37] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	(void)state;
	memset(id, 'x', sizeof(id));
	clock_boot_id(id);
	if (f != NULL) {
		assert_int_equal(fread(expected, 1, 36, f), 36);
		fclose(f);
	}
	assert_string_equal(id, expected);
}

static void
durations(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: refused */
	} cases[] = {
	    {"1s", 1},
	    {"0s", 0},
	    {"90m", 5400},
	    {"36h", 129600},
	    {"90d", 7776000},
	    {"2w", 1209600},
	    {"36525d", INT64_C(3155760000)},
	    {"3155760000s", INT64_C(3155760000)},
	    {"36526d", -1},
	    {"3155760001s", -1},
	    {"18446744073709551616s", -1},
	    {"99999999999999999999w", -1},
	    {"0", 0},
	    {"", -1},
	    {"s", -1},
	    {"1", -1},
	    {"-1s", -1},
	    {"+1s", -1},
	    {"1.5h", -1},
	    {"1 s", -1},
	    {" 1s", -1},
	    {"1s ", -1},
	    {"1S", -1},
	    {"1y", -1},
	    {"1h30m", -1},
	    {"d1", -1},
	};
	int64_t us;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		us = 99;
		assert_int_equal(
		    clock_duration_parse(cases[i].text, &us), cases[i].seconds < 0 ? -1 : 0);
		assert_true(us == (cases[i].seconds < 0 ? 0 : cases[i].seconds * CLOCK_SECOND));
	}
	assert_int_equal(clock_duration_parse(NULL, &us), -1);
}

static void
durations_written(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
	    {0, "0s"},
	    {1, "1s"},
	    {59, "59s"},
	    {60, "1m"},
	    {61, "61s"},
	    {5400, "90m"},
	    {86400, "1d"},
	    {129600, "36h"},
	    {604800, "1w"},
	    {7776000, "90d"},
	};
	char text[16], tiny[3] = "xx";
	int64_t us;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		clock_duration_format(cases[i].seconds * CLOCK_SECOND, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		assert_int_equal(clock_duration_parse(text, &us), 0);
		assert_true(us == cases[i].seconds * CLOCK_SECOND);
	}
	clock_duration_format(90 * DAY, tiny, sizeof(tiny));
	assert_string_equal(tiny, "");
	clock_duration_format(90 * DAY, NULL, 0);
}

static void
rfc3339(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"2026-11-21T23:38:31Z", INT64_C(1795304311000000)},
	    {"2000-02-29T12:00:00Z", INT64_C(951825600000000)},
	    {"9999-12-31T23:59:59Z", INT64_C(253402300799000000)},
	};
	char text[21];
	int64_t us;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(clock_rfc3339_parse(cases[i].text, &us), 0);
		assert_true(us == cases[i].us);
		clock_rfc3339(cases[i].us, text);
		assert_string_equal(text, cases[i].text);
	}
	clock_rfc3339(INT64_C(1795304311999999), text);
	assert_string_equal(text, "2026-11-21T23:38:31Z");
	clock_rfc3339(INT64_MIN, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	clock_rfc3339(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
}

/* RFC 9110 5.6.7: the example of the RFC, both ends, and each day and month once. */
static void
http_dates(void **unused)
{
	static const struct {
		int64_t s;
		const char *text;
	} cases[] = {
	    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
	    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
	    {INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT"},
	    {1804032000, "Wed, 03 Mar 2027 00:00:00 GMT"},
	    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
	    {1791187200, "Mon, 05 Oct 2026 08:00:00 GMT"},
	};
	static const char *const months[] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char text[CLOCK_HTTP_DATE_MAX];

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		clock_http_date(cases[i].s * CLOCK_SECOND, text);
		assert_string_equal(text, cases[i].text);
	}
	for (int64_t i = 0; i < 12; i++) {
		clock_http_date((i * 30 + 15 + i / 2) * 86400 * CLOCK_SECOND, text);
		assert_memory_equal(text + 8, months[i], 3);
	}
	clock_http_date(INT64_MIN, text);
	assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
	clock_http_date(INT64_MAX, text);
	assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

/* RFC 3339 5.6 and its notes, 4.3, 5.7: every way to write a time, and its examples (5.8). */
static void
rfc3339_ways(void **state)
{
	static const struct {
		const char *text, *utc;
	} cases[] = {
	    {"1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50Z"},
	    {"1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"},
	    {"1990-12-31T23:59:60Z", "1991-01-01T00:00:00Z"},
	    {"1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00Z"},
	    {"2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00Z"},
	    {"2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"},
	    {"2027-01-31T12:00:00+00:00", "2027-01-31T12:00:00Z"},
	    {"2027-01-31T12:00:00-00:00", "2027-01-31T12:00:00Z"},
	    {"2027-01-31t12:00:00z", "2027-01-31T12:00:00Z"},
	    {"2027-01-31 12:00:00Z", "2027-01-31T12:00:00Z"},
	    {"2027-01-31 12:00:00.25-09:30", "2027-01-31T21:30:00Z"},
	    {"2027-12-31T23:30:00-23:59", "2028-01-01T23:29:00Z"},
	    {"2028-03-01T00:30:00+01:00", "2028-02-29T23:30:00Z"},
	    {"1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00Z"},
	    {"9999-12-31T23:59:59+00:01", "9999-12-31T23:58:59Z"},
	    {"9999-12-31T23:59:59.9Z", "9999-12-31T23:59:59Z"},
	};
	char text[21];
	int64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(clock_rfc3339_parse(cases[i].text, &us), 0);
		clock_rfc3339(us, text);
		assert_string_equal(text, cases[i].utc);
	}
	assert_int_equal(clock_when_parse("2027-01-31 12:00:00+02:00", 0, &us), 0);
	clock_rfc3339(us, text);
	assert_string_equal(text, "2027-01-31T10:00:00Z");
	assert_int_equal(clock_when_parse("2027-01-31+02:00", 0, &us), -1);
}

static void
rfc3339_fractions(void **state)
{
	int64_t us;

	(void)state;
	assert_int_equal(clock_rfc3339_parse("1970-01-01T00:00:01.5Z", &us), 0);
	assert_int_equal(us, 1500000);
	assert_int_equal(clock_rfc3339_parse("1970-01-01T00:00:01.000001Z", &us), 0);
	assert_int_equal(us, 1000001);
	assert_int_equal(
	    clock_rfc3339_parse("1970-01-01T00:00:01.1234569999999999999999Z", &us), 0);
	assert_int_equal(us, 1123456);
}

static void
rfc3339_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "2027",
	    "2027-01-31",
	    "2027-01-31T12:00:00",
	    "2027-01-31T12:00:00ZZ",
	    "2027-01-31T12:00:00Z ",
	    "2027-01-31T12:00:00.Z",
	    "2027-01-31T12:00:00,5Z",
	    "2027-01-31T12:00Z",
	    "2027-1-31T12:00:00Z",
	    "27-01-31T12:00:00Z",
	    "2027-13-01T12:00:00Z",
	    "2027-00-01T12:00:00Z",
	    "2027-01-32T12:00:00Z",
	    "2027-01-00T12:00:00Z",
	    "2027-04-31T12:00:00Z",
	    "2027-02-29T12:00:00Z",
	    "1900-01-01T00:00:00Z",
	    "1969-12-31T23:59:59Z",
	    "2027-01-31T24:00:00Z",
	    "2027-01-31T12:60:00Z",
	    "2027-01-31T12:00:60Z",
	    "-027-01-31T12:00:00Z",
	    "2027/01/31T12:00:00Z",
	    "2027-02-30T12:00:00+01:00",
	    /* Offsets are +HH:MM or -HH:MM, of a time of day. */
	    "2027-01-31T12:00:00+24:00",
	    "2027-01-31T12:00:00+23:60",
	    "2027-01-31T12:00:00+0200",
	    "2027-01-31T12:00:00+02",
	    "2027-01-31T12:00:00+2:00",
	    "2027-01-31T12:00:00+02:0",
	    "2027-01-31T12:00:00+02:00Z",
	    "2027-01-31T12:00:00Z+02:00",
	    "2027-01-31T12:00:00 +02:00",
	    "2027-01-31T12:00:00*02:00",
	    "2027-01-31T12:00:00+-2:00",
	    "2027-01-31T12:00:00.+02:00",
	    "2027-01-31T12:00:00UTC",
	    "2027-01-31T24:00:00+01:00",
	    "2027-01-31  12:00:00Z",
	    "2027-01-31_12:00:00Z",
	    "2027-01-31\t12:00:00Z",
	    /* A leap second is the last one of a month, in UTC. */
	    "2016-12-30T23:59:60Z",
	    "2016-12-31T22:59:60Z",
	    "2016-12-31T23:58:60Z",
	    "2016-12-31T23:59:61Z",
	    "2016-12-31T23:59:60+01:00",
	    /* Nothing before 1970 or after 9999 has a form of ours. */
	    "1970-01-01T00:59:59+01:00",
	    "9999-12-31T23:59:59-00:01",
	    "9999-12-31T23:59:60Z",
	    "0000-01-01T00:00:00Z",
	};
	int64_t us;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		us = 99;
		assert_int_equal(clock_rfc3339_parse(bad[i], &us), -1);
		assert_int_equal(us, 0);
	}
	assert_int_equal(clock_rfc3339_parse(NULL, &us), -1);
}

static void
moments(void **state)
{
	const int64_t now_us = INT64_C(1795304311000000);
	int64_t us;

	(void)state;
	assert_int_equal(clock_when_parse("90d", now_us, &us), 0);
	assert_true(us == now_us + 90 * DAY);
	assert_int_equal(clock_when_parse("1970-01-02", now_us, &us), 0);
	assert_true(us == 2 * DAY - CLOCK_SECOND);
	assert_int_equal(clock_when_parse("1970-01-02T00:00:01Z", now_us, &us), 0);
	assert_true(us == DAY + CLOCK_SECOND);
	assert_int_equal(clock_when_parse("2028-02-29", now_us, &us), 0);

	us = 99;
	assert_int_equal(clock_when_parse("2027-02-29", now_us, &us), -1);
	assert_int_equal(us, 0);
	assert_int_equal(clock_when_parse("2027-01-31x", now_us, &us), -1);
	assert_int_equal(clock_when_parse("tomorrow", now_us, &us), -1);
	assert_int_equal(clock_when_parse("", now_us, &us), -1);
	assert_int_equal(clock_when_parse(NULL, now_us, &us), -1);
	us = 99;
	assert_int_equal(clock_when_parse("1s", INT64_MAX, &us), -1);
	assert_int_equal(us, 0);
}

static void
time_zone_does_not_matter(void **state)
{
	char text[21];
	int64_t us;

	(void)state;
	setenv("TZ", "XYZ+9ABC,M3.2.0,M11.1.0", 1);
	tzset();
	assert_int_equal(clock_rfc3339_parse("2026-07-01T00:00:00Z", &us), 0);
	assert_true(us == INT64_C(1782864000000000));
	clock_rfc3339(us, text);
	assert_string_equal(text, "2026-07-01T00:00:00Z");
	unsetenv("TZ");
	tzset();
}

static void
words_for_people(void **state)
{
	static const struct {
		int64_t us;
		const char *ago, *ahead;
	} cases[] = {
	    {0, "just now", "just now"},
	    {9 * CLOCK_SECOND, "just now", "just now"},
	    {10 * CLOCK_SECOND, "10 seconds ago", "in 10 seconds"},
	    {59 * CLOCK_SECOND, "59 seconds ago", "in 59 seconds"},
	    {60 * CLOCK_SECOND - 1, "1 minute ago", "in 1 minute"},
	    {MINUTE, "1 minute ago", "in 1 minute"},
	    {5 * MINUTE + 20 * CLOCK_SECOND, "5 minutes ago", "in 5 minutes"},
	    {59 * MINUTE + 40 * CLOCK_SECOND, "1 hour ago", "in 1 hour"},
	    {2 * HOUR - 1, "2 hours ago", "in 2 hours"},
	    {23 * HOUR + 45 * MINUTE, "1 day ago", "in 1 day"},
	    {3 * DAY, "3 days ago", "in 3 days"},
	    {14 * DAY - 5 * MINUTE, "14 days ago", "in 14 days"},
	    {30 * DAY, "1 month ago", "in 1 month"},
	    {61 * DAY, "2 months ago", "in 2 months"},
	    {90 * DAY, "3 months ago", "in 3 months"},
	    {360 * DAY, "1 year ago", "in 1 year"},
	    {800 * DAY, "2 years ago", "in 2 years"},
	};
	const int64_t now_us = INT64_C(1795304311000000);
	char text[32], tiny[4] = "xxx";
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		clock_relative(now_us - cases[i].us, now_us, text, sizeof(text));
		assert_string_equal(text, cases[i].ago);
		clock_relative(now_us + cases[i].us, now_us, text, sizeof(text));
		assert_string_equal(text, cases[i].ahead);
	}
	clock_relative(INT64_MIN, INT64_MAX, text, sizeof(text));
	assert_string_equal(text, "584554 years ago");
	clock_relative(INT64_MAX, INT64_MIN, text, sizeof(text));
	assert_string_equal(text, "in 584554 years");
	clock_relative(0, now_us, tiny, sizeof(tiny));
	assert_string_equal(tiny, "");
	clock_relative(0, now_us, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clocks),
	    cmocka_unit_test(boot_id),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(durations_written),
	    cmocka_unit_test(rfc3339),
	    cmocka_unit_test(http_dates),
	    cmocka_unit_test(rfc3339_ways),
	    cmocka_unit_test(rfc3339_fractions),
	    cmocka_unit_test(rfc3339_refused),
	    cmocka_unit_test(moments),
	    cmocka_unit_test(time_zone_does_not_matter),
	    cmocka_unit_test(words_for_people),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
