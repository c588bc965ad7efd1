/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_CLOCK_H_
#define BASE_CLOCK_H_

/* Clocks, all in microseconds.  src/core never calls these: it is told the time. */

#include <stddef.h>
#include <stdint.h>

#define CLOCK_SECOND INT64_C(1000000)

int64_t clock_wall_us(void); /* CLOCK_REALTIME: since 1970, may step */
int64_t clock_mono_us(void); /* CLOCK_MONOTONIC: the same in all processes of this host */
int64_t clock_boot_us(void); /* CLOCK_BOOTTIME: never steps, counts suspend */

/* The id of this boot (36 characters and NUL), or "" where the kernel has none. */
void clock_boot_id(char[37]);

/*
 * Durations are a number and s, m, h, d or w ("90d"), or "0"; us units out.
 * 0, or -1 for anything else (empty, negative, fractions, overflow, over 100 years).
 */
int clock_duration_parse(const char *, int64_t *) __attribute__((warn_unused_result));

/* "1d", "90m", "36h": the shortest exact form of a whole number of seconds. */
void clock_duration_format(int64_t, char *, size_t);

/*
 * clock_when_parse(text, now_us, &us): a moment given as a duration from now
 * ("90d"), a date ("2027-01-31": through that day, so 23:59:59 UTC), or an RFC 3339 time
 * ("2027-01-31T12:00:00Z").  0 or -1.
 */
int clock_when_parse(const char *, int64_t, int64_t *) __attribute__((warn_unused_result));

/* RFC 3339, UTC, whole seconds: "2026-11-21T23:38:31Z" (21 bytes with NUL). */
void clock_rfc3339(int64_t, char[21]);
/* HTTP-date (RFC 9110 5.6.7, IMF-fixdate): "Sun, 22 Nov 2026 06:10:00 GMT". */
#define CLOCK_HTTP_DATE_MAX 32
void clock_http_date(int64_t, char[CLOCK_HTTP_DATE_MAX]);
/*
 * RFC 3339 back to microseconds, in all of its ways (5.6): with an offset, fractions, 't', 'z', a
 * space for the 'T'.  A leap second is the second after it.  0; -1 also outside of 1970 to 9999, in
 * UTC.
 */
int clock_rfc3339_parse(const char *, int64_t *) __attribute__((warn_unused_result));

/* For people: "3 days ago", "in 2 hours", "just now". */
void clock_relative(int64_t then_us, int64_t now_us, char *, size_t);

#endif /* !BASE_CLOCK_H_ */
