/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clocks and the texts of times: durations ("90d"), dates, RFC 3339, and words for people.  Used by
 * every process.  Which clock a limit counts by is decided by the keeper, not here.
 *
 * Invariants:
 * - All numbers are microseconds; no result of a parser overflows.
 * - Everything is UTC: neither TZ nor the locale changes a result.
 * - Parsers take the whole text or nothing, and clear their output first.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/span.h"

#define DAY_S 86400
#define DURATION_MAX_S (INT64_C(36525) * DAY_S) /* 100 years */
#define YEAR_9999_END_US (INT64_C(253402300799) * CLOCK_SECOND)
#define BOOT_ID_LEN 36

static const struct {
	char suffix;
	int64_t seconds;
} units[] = {{'w', 7 * DAY_S}, {'d', DAY_S}, {'h', 3600}, {'m', 60}, {'s', 1}};

#define UNITS (sizeof(units) / sizeof(units[0]))

static int64_t
read_clock(clockid_t id)
{
	struct timespec ts = {0};

	/* These clocks exist in every kernel that has the system calls used elsewhere. */
	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * CLOCK_SECOND + ts.tv_nsec / 1000;
}

int64_t
clock_wall_us(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t
clock_mono_us(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t
clock_boot_us(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

void
clock_boot_id(char out[37])
{
	ssize_t n = -1;
	int fd;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, BOOT_ID_LEN);
		(void)close(fd);
	}
	out[n == BOOT_ID_LEN ? BOOT_ID_LEN : 0] = '\0';
}

int
clock_duration_parse(const char *text, int64_t *out)
{
	struct span s = span_of(text);
	unsigned long long n;
	size_t i;

	*out = 0;
	if (span_is(s, "0"))
		return 0;
	if (s.len < 2)
		return -1;
	for (i = 0; i < UNITS; i++)
		if (s.p[s.len - 1] == units[i].suffix)
			break;
	s.len--;
	if (i == UNITS ||
	    span_u64(s, (unsigned long long)(DURATION_MAX_S / units[i].seconds), &n) != 0)
		return -1;
	*out = (int64_t)n * units[i].seconds * CLOCK_SECOND;
	return 0;
}

void
clock_duration_format(int64_t us, char *out, size_t cap)
{
	int64_t seconds = us / CLOCK_SECOND;
	size_t i = 0;
	int n;

	if (seconds == 0)
		i = UNITS - 1;
	while (seconds % units[i].seconds != 0)
		i++;
	n = snprintf(out, cap, "%lld%c", (long long)(seconds / units[i].seconds), units[i].suffix);
	if ((n < 0 || (size_t)n >= cap) && cap > 0)
		out[0] = '\0';
}

/*
 * ${n} digits at ${*at}, stepping over them, as a number of at most ${max}; -1 when they are not.
 */
static int
digits(const char **at, int n, int max)
{
	int v = 0;

	for (; n > 0; n--, (*at)++) {
		if (**at < '0' || **at > '9')
			return -1;
		v = v * 10 + (**at - '0');
	}
	return v <= max ? v : -1;
}

static int
literal(const char **at, char c)
{
	return *(*at)++ == c ? 0 : -1;
}

/*
 * "YYYY-MM-DD" at ${*at}, stepping over it.  Months that are too short for the day are found later.
 */
static int
parse_date(const char **at, struct tm *tm)
{
	if ((tm->tm_year = digits(at, 4, 9999)) < 1970 || literal(at, '-') != 0 ||
	    (tm->tm_mon = digits(at, 2, 12)) < 1 || literal(at, '-') != 0 ||
	    (tm->tm_mday = digits(at, 2, 31)) < 1)
		return -1;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return 0;
}

/* "THH:MM:SS[.fraction]" at ${*at}, stepping over it; a space or 't' for the 'T' (RFC 3339 5.6). */
static int
parse_time(const char **at, struct tm *tm, int64_t *fraction_us)
{
	int64_t place = CLOCK_SECOND / 10;
	const char *start;

	if (**at != 'T' && **at != 't' && **at != ' ')
		return -1;
	++*at;
	if ((tm->tm_hour = digits(at, 2, 23)) < 0 || literal(at, ':') != 0 ||
	    (tm->tm_min = digits(at, 2, 59)) < 0 || literal(at, ':') != 0 ||
	    (tm->tm_sec = digits(at, 2, 60)) < 0)
		return -1;
	if (**at == '.') {
		for (start = ++*at; **at >= '0' && **at <= '9'; (*at)++) {
			*fraction_us += place * (**at - '0');
			place /= 10;
		}
		if (*at == start)
			return -1;
	}
	return 0;
}

/* "Z", "+HH:MM" or "-HH:MM" at ${*at}, stepping over it: how far the time is ahead of UTC. */
static int
parse_offset(const char **at, int64_t *offset_us)
{
	char sign = *(*at)++;
	int h, m;

	*offset_us = 0;
	if (sign == 'Z' || sign == 'z')
		return 0;
	if ((sign != '+' && sign != '-') || (h = digits(at, 2, 23)) < 0 || literal(at, ':') != 0 ||
	    (m = digits(at, 2, 59)) < 0)
		return -1;
	*offset_us = (sign == '-' ? -1 : 1) * (h * INT64_C(60) + m) * 60 * CLOCK_SECOND;
	return 0;
}

/* Microseconds of ${tm}; -1 for a day that its month does not have. */
static int
to_us(struct tm *tm, int64_t *out)
{
	int day = tm->tm_mday;
	time_t t = timegm(tm);

	if (tm->tm_mday != day)
		return -1;
	*out = (int64_t)t * CLOCK_SECOND;
	return 0;
}

int
clock_when_parse(const char *text, int64_t now_us, int64_t *out)
{
	struct tm tm = {.tm_hour = 23, .tm_min = 59, .tm_sec = 59};
	const char *at = text;
	int64_t us;

	*out = 0;
	if (clock_duration_parse(text, &us) == 0) {
		if (__builtin_add_overflow(now_us, us, &us))
			return -1;
		*out = us;
		return 0;
	}
	if (text != NULL && parse_date(&at, &tm) == 0 && *at == '\0')
		return to_us(&tm, out);
	return clock_rfc3339_parse(text, out);
}

void
clock_rfc3339(int64_t us, char out[21])
{
	struct tm tm;
	time_t t;

	/* Only years of four digits have a form; no clock of ours shows another. */
	if (us < 0)
		us = 0;
	if (us > YEAR_9999_END_US)
		us = YEAR_9999_END_US;
	t = (time_t)(us / CLOCK_SECOND);
	if (gmtime_r(&t, &tm) == NULL || strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) != 20)
		out[0] = '\0';
}

void
clock_http_date(int64_t us, char out[CLOCK_HTTP_DATE_MAX])
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm;
	time_t t;
	int n;

	if (us < 0)
		us = 0;
	if (us > YEAR_9999_END_US)
		us = YEAR_9999_END_US;
	t = (time_t)(us / CLOCK_SECOND);
	out[0] = '\0';
	if (gmtime_r(&t, &tm) == NULL)
		return;
	/* Not strftime: its names follow the locale. */
	n = snprintf(out, CLOCK_HTTP_DATE_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT",
	    days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
	    tm.tm_min, tm.tm_sec);
	if (n < 0 || n >= CLOCK_HTTP_DATE_MAX)
		out[0] = '\0';
}

/* Is this where a month begins, in UTC?  Leap seconds are the last ones of a month (5.7). */
static int
month_begins(int64_t us)
{
	time_t t = (time_t)(us / CLOCK_SECOND);
	struct tm tm;

	return gmtime_r(&t, &tm) != NULL && tm.tm_mday == 1 && tm.tm_hour == 0 && tm.tm_min == 0 &&
	       tm.tm_sec == 0;
}

int
clock_rfc3339_parse(const char *text, int64_t *out)
{
	const char *at = text;
	int64_t fraction_us = 0, offset_us, us;
	struct tm tm = {0};
	int leap;

	*out = 0;
	if (text == NULL || parse_date(&at, &tm) != 0 || parse_time(&at, &tm, &fraction_us) != 0 ||
	    parse_offset(&at, &offset_us) != 0 || *at != '\0')
		return -1;
	leap = tm.tm_sec == 60;
	tm.tm_sec -= leap;
	if (to_us(&tm, &us) != 0)
		return -1;
	/* A clock like ours has no leap second; it is the one after it. */
	us += leap * CLOCK_SECOND - offset_us;
	if (us < 0 || us > YEAR_9999_END_US || (leap && !month_begins(us)))
		return -1;
	*out = us + fraction_us;
	return 0;
}

void
clock_relative(int64_t then_us, int64_t now_us, char *out, size_t cap)
{
	/* ${max}: from so many on, the next unit reads better. */
	static const struct {
		const char *name;
		uint64_t seconds, max;
	} steps[] = {
	    {"second", 1, 60},
	    {"minute", 60, 60},
	    {"hour", 3600, 24},
	    {"day", DAY_S, 30},
	    {"month", 2629746, 12}, /* a year of 365.2425 days, twelfth */
	    {"year", 31556952, UINT64_MAX},
	};
	int future = then_us > now_us, n;
	uint64_t us =
	    future ? (uint64_t)then_us - (uint64_t)now_us : (uint64_t)now_us - (uint64_t)then_us;
	uint64_t seconds = us / CLOCK_SECOND, count;
	size_t i = 0;

	if (us % CLOCK_SECOND >= CLOCK_SECOND / 2)
		seconds++;
	/* To the nearest unit: a key of 14 days is "in 14 days" a moment later, too. */
	while ((count = (seconds + steps[i].seconds / 2) / steps[i].seconds) >= steps[i].max)
		i++;
	if (seconds < 10)
		n = snprintf(out, cap, "just now");
	else
		n = snprintf(out, cap, "%s%llu %s%s%s", future ? "in " : "",
		    (unsigned long long)count, steps[i].name, count == 1 ? "" : "s",
		    future ? "" : " ago");
	if ((n < 0 || (size_t)n >= cap) && cap > 0)
		out[0] = '\0';
}
