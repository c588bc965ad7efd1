/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LOG_H_
#define BASE_LOG_H_

/*
 * One event a line, logfmt: `level=info role=worker event=child_started pid=12`.
 * Values are quoted and escaped when they hold anything but plain characters,
 * so that no input can forge a line.  Keys, digests and peppers are never
 * handed to this module.  Process-wide by nature (like stderr itself).
 */

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARNING, LOG_LVL_INFO, LOG_LVL_DEBUG };

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

/* log_open(target, level, role): ${role} ("worker", ...) stands in every line. */
void log_open(enum log_target, enum log_level, const char *);
void log_set_level(enum log_level);

/*
 * A process that may not open sockets logs to syslog through one that may: log_through(fd), after
 * log_open, sends lines as datagrams of at most LOG_RELAY_MAX bytes to ${fd} (never waiting; with
 * LOG_TO_STDERR nothing changes), and the other end hands each to log_relayed with the process that
 * it came from.  What is no such line is dropped, what is not printable is replaced.
 */
#define LOG_RELAY_MAX 4098
void log_through(int);
void log_relayed(const char *, size_t, int);

/* "error", "warning", "info", "debug" -> level; -1 for anything else. */
int log_level_parse(const char *);

/*
 * log_event(level, event, name, value, ..., NULL): pairs of strings after the
 * event; a NULL value prints as nothing ("name=").
 */
void log_event(enum log_level, const char *, ...) __attribute__((sentinel));

/*
 * For events that strangers can cause at will: one line a second.  1 and how many were held back
 * since the last line, or 0: hold this one back, too.  Begins as zeros; ${now_us} CLOCK_MONOTONIC.
 */
struct log_pace {
	int64_t next_us;
	uint64_t held;
};
int log_pace(struct log_pace *, int64_t now_us, uint64_t *held);

/* For numbers among the values: LOG_NUM(n) lives until the end of the block. */
#define LOG_NUM(n) log_num((char[24]){0}, (int64_t)(n))
const char *log_num(char *, int64_t);

/*
 * log_format(buf, cap, level, role, event, ap): the line that log_event would
 * write, without the newline; for tests.  Returns its length.
 */
int log_format(char *, unsigned long, enum log_level, const char *, const char *, ...)
    __attribute__((sentinel));

#endif /* !BASE_LOG_H_ */
