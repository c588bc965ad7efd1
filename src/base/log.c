/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: one event a line, to stderr or to syslog.  Every process writes it; each line is one
 * write(2), so that lines of several processes on one file or pipe do not mix.
 *
 * It is not an audit trail (that is in the store, and durable), and it is not told secrets.
 *
 * Invariants:
 * - A line is printable ASCII without a newline before its end: no value can forge another line,
 *   another pair, or an escape sequence of a terminal.
 * - A pair that makes the line too long is left out whole, and the line says so.
 * - errno is kept, so that an event may be logged before the error is handled.
 *
 * The state below is process-wide because stderr is; it is set once at the start and by a reload.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/span.h"

/* Not more than PIPE_BUF: a longer write to a pipe may be torn apart by another process's. */
#define PACE_US 1000000 /* of log_pace */
#define LINE_BYTES 4096
#define CUT_MARK " truncated=yes"
#define RELAY_MARK 'l'
#define RELAY_HEAD 2

_Static_assert(LOG_RELAY_MAX == RELAY_HEAD + LINE_BYTES, "any line fits, with its head");

static const struct {
	const char *name;
	int priority;
} levels[] = {
    [LOG_LVL_ERROR] = {"error", LOG_ERR},
    [LOG_LVL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LVL_INFO] = {"info", LOG_INFO},
    [LOG_LVL_DEBUG] = {"debug", LOG_DEBUG},
};

static struct {
	enum log_target target;
	enum log_level level;
	const char *role;
	int through; /* who writes to syslog for us, or -1 */
} state = {LOG_TO_STDERR, LOG_LVL_INFO, NULL, -1};

static int
is_plain(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '"' && c != '=' && c != '\\';
}

static void
put_quoted(struct wbuf *w, const char *value)
{
	const unsigned char *c;

	wbuf_u8(w, '"');
	for (c = (const unsigned char *)value; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			wbuf_u8(w, '\\');
		if (*c == '\n')
			wbuf_str(w, "\\n");
		else if (*c < 0x20 || *c > 0x7e)
			wbuf_printf(w, "\\x%02x", *c);
		else
			wbuf_u8(w, *c);
	}
	wbuf_u8(w, '"');
}

static void
put_value(struct wbuf *w, const char *value)
{
	const char *c = value;

	if (value == NULL)
		return;
	while (is_plain((unsigned char)*c))
		c++;
	if (*c == '\0' && c != value)
		wbuf_str(w, value);
	else
		put_quoted(w, value);
}

static void
put_pair(struct wbuf *w, const char *name, const char *value)
{
	if (w->len > 0)
		wbuf_u8(w, ' ');
	wbuf_str(w, name);
	wbuf_u8(w, '=');
	put_value(w, value);
}

/* Append role, event and the pairs of ${ap} to ${w}; a pair that does not fit is taken back. */
static void
put_event(struct wbuf *w, const char *role, const char *event, va_list ap)
{
	const char *name, *value;
	size_t kept;
	int cut = 0;

	if (role != NULL && *role != '\0')
		put_pair(w, "role", role);
	put_pair(w, "event", event);
	if (w->overflow || w->cap - w->len < sizeof(CUT_MARK)) {
		w->overflow = 1;
		return;
	}
	w->cap -= sizeof(CUT_MARK);
	while ((name = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		kept = w->len;
		put_pair(w, name, value);
		if (w->overflow) {
			w->len = kept;
			w->overflow = 0;
			cut = 1;
		}
	}
	w->cap += sizeof(CUT_MARK);
	if (cut)
		wbuf_str(w, CUT_MARK);
}

void
log_open(enum log_target target, enum log_level level, const char *role)
{
	state.target = target;
	state.level = level;
	state.role = role;
	state.through = -1;
	/* Now, while files and sockets are still within reach of a process about to drop its rights:
	 * each time of day asks for the zone. */
	tzset();
	if (target == LOG_TO_SYSLOG)
		openlog(NULL, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
log_through(int fd)
{
	if (state.target != LOG_TO_SYSLOG)
		return;
	closelog();
	state.through = fd;
}

/* The mark, the level's digit, the line.  It is dropped rather than waited for. */
static void
send_line(enum log_level level, const struct wbuf *w)
{
	char mem[LOG_RELAY_MAX] = {RELAY_MARK, (char)('0' + level)};

	memcpy(mem + RELAY_HEAD, w->p, w->len);
	/* Nobody is left to be told when that fails. */
	(void)!send(state.through, mem, RELAY_HEAD + w->len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int
is_printable(char c)
{
	return c >= 0x20 && c < 0x7f;
}

void
log_relayed(const char *bytes, size_t n, int pid)
{
	char line[LINE_BYTES];
	size_t i, len = n - RELAY_HEAD;
	int level;

	if (state.target != LOG_TO_SYSLOG || n <= RELAY_HEAD || len > sizeof(line) ||
	    bytes[0] != RELAY_MARK)
		return;
	level = bytes[1] - '0';
	if (level < LOG_LVL_ERROR || level > LOG_LVL_DEBUG)
		return;
	for (i = 0; i < len; i++)
		line[i] = (char)(is_printable(bytes[RELAY_HEAD + i]) ? bytes[RELAY_HEAD + i] : '?');
	syslog(levels[level].priority, "pid=%d %.*s", pid, (int)len, line);
}

void
log_set_level(enum log_level level)
{
	state.level = level;
}

int
log_level_parse(const char *name)
{
	unsigned i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(name, levels[i].name) == 0)
			return (int)i;
	return -1;
}

/* The line in ${w} to stderr.  Nobody is left to be told when that fails. */
static void
write_line(struct wbuf *w)
{
	ssize_t n;

	wbuf_u8(w, '\n');
	do
		n = write(STDERR_FILENO, w->p, w->len);
	while (n < 0 && errno == EINTR);
}

void
log_event(enum log_level level, const char *event, ...)
{
	char line[LINE_BYTES], now[21];
	int saved = errno;
	struct wbuf w;
	va_list ap;

	if (level > state.level)
		return;
	/* One byte less: the newline (or the NUL for syslog) always fits. */
	wbuf_init(&w, line, sizeof(line) - 1);
	if (state.target == LOG_TO_STDERR) {
		clock_rfc3339(clock_wall_us(), now);
		put_pair(&w, "time", now);
		put_pair(&w, "level", levels[level].name);
	}
	va_start(ap, event);
	put_event(&w, state.role, event, ap);
	va_end(ap);
	w.cap++;
	if (state.through != -1)
		send_line(level, &w);
	else if (state.target == LOG_TO_SYSLOG)
		syslog(levels[level].priority, "%.*s", (int)w.len, line);
	else
		write_line(&w);
	errno = saved;
}

const char *
log_num(char *buf, int64_t n)
{
	struct wbuf w;

	wbuf_init(&w, buf, 24);
	if (n < 0)
		wbuf_u8(&w, '-');
	wbuf_dec(&w, n < 0 ? -(uint64_t)n : (uint64_t)n);
	return wbuf_cstr(&w);
}

int
log_format(
    char *buf, unsigned long cap, enum log_level level, const char *role, const char *event, ...)
{
	struct wbuf w;
	va_list ap;

	wbuf_init(&w, buf, cap);
	put_pair(&w, "level", levels[level].name);
	va_start(ap, event);
	put_event(&w, role, event, ap);
	va_end(ap);
	return wbuf_cstr(&w) == NULL ? 0 : (int)w.len;
}

int
log_pace(struct log_pace *p, int64_t now_us, uint64_t *held)
{
	*held = p->held;
	if (p->next_us != 0 && now_us < p->next_us) {
		p->held++;
		return 0;
	}
	p->next_us = now_us + PACE_US;
	p->held = 0;
	return 1;
}
