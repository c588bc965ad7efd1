/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reading a key from standard input, for the admin tool.  On a terminal the key is asked for and
 * echo is off while it is typed.
 *
 * Invariants: the terminal is given back as it was found, also when the tool is interrupted,
 * stopped or told to end meanwhile: the signals are blocked while echo is off and looked for with a
 * signalfd; they take effect once echo is back.  The key stays in the caller's memory and in none
 * of stdio's.
 */

#include <sys/signalfd.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "apikey/keyin.h"
#include "base/secret.h"
#include "base/span.h"

static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

/* A terminal whose echo is off, and how it was. */
struct quiet {
	int is_terminal;
	struct termios before;
	sigset_t signals, mask_before;
	int signal_fd;
};

static void
say(const char *text)
{
	/* A prompt that cannot be written changes nothing. */
	if (write(STDERR_FILENO, text, strlen(text)) == -1)
		return;
}

/* Block the signals first: from here to quiet_end none can leave the terminal mute. */
static int
quiet_begin(struct quiet *q, struct err *e)
{
	struct termios mute;
	size_t i;

	q->signal_fd = -1;
	q->is_terminal = tcgetattr(STDIN_FILENO, &q->before) == 0;
	if (!q->is_terminal)
		return 0;
	(void)sigemptyset(&q->signals);
	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		(void)sigaddset(&q->signals, held[i]);
	if ((q->signal_fd = signalfd(-1, &q->signals, SFD_CLOEXEC)) == -1)
		return err_sys(e, "signalfd");
	(void)sigprocmask(SIG_BLOCK, &q->signals, &q->mask_before);
	mute = q->before;
	mute.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	say("Key: ");
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &mute);
	return 0;
}

static void
quiet_end(struct quiet *q)
{
	if (!q->is_terminal)
		return;
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &q->before);
	say("\n");
	close(q->signal_fd);
	/* A signal that came meanwhile is still pending and takes effect here. */
	(void)sigprocmask(SIG_SETMASK, &q->mask_before, NULL);
}

/* Wait for input: 1; 0 when a signal came that must be let through first. */
static int
wait_input(const struct quiet *q)
{
	struct pollfd p[2] = {
	    {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = q->signal_fd, .events = POLLIN}};

	if (!q->is_terminal)
		return 1;
	while (poll(p, 2, -1) == -1 && errno == EINTR)
		;
	return p[1].revents == 0;
}

/*
 * Bytes until the end of the line, of the input, or of ${cap}.  Returns how many; -1 with ${e}; -2
 * when a signal was let through and we are still here (stopped and continued): ask again.
 */
static ssize_t
read_line(char *line, size_t cap, struct err *e)
{
	struct quiet q;
	size_t len = 0;
	ssize_t n = 1;

	if (quiet_begin(&q, e) == -1)
		return -1;
	while (n > 0 && len < cap && memchr(line, '\n', len) == NULL) {
		if (!wait_input(&q)) {
			quiet_end(&q);
			return -2;
		}
		n = read(STDIN_FILENO, line + len, cap - len);
		if (n == -1 && errno == EINTR)
			n = 1;
		else if (n == -1)
			(void)err_sys(e, "cannot read the key from standard input");
		else
			len += (size_t)n;
	}
	quiet_end(&q);
	return n == -1 ? -1 : (ssize_t)len;
}

/*
 * The key in ${line} of ${len} bytes, whose end must be the end of the input, too.  Blanks around
 * it are none of it, as in a header.
 */
static int
one_line(const char *line, size_t len, struct span *out, struct err *e)
{
	const char *end = memchr(line, '\n', len);
	size_t n = end == NULL ? len : (size_t)(end - line);

	*out = (struct span){NULL, 0};
	if (end != NULL && n + 1 < len)
		return err_set(e, ERR_USAGE,
		    "standard input has more than one line; give it the key and nothing else");
	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (n > KEYIN_MAX)
		return err_set(e, ERR_USAGE,
		    "the line on standard input is longer than %d bytes; give it the key and "
		    "nothing else",
		    KEYIN_MAX);
	*out = span_trim((struct span){line, n});
	if (out->len == 0)
		return err_set(e, ERR_USAGE,
		    "no key on standard input; pipe it in, or type it when asked (it is never an "
		    "argument)");
	return 0;
}

int
keyin_read(char out[KEYIN_MAX + 1], struct err *e)
{
	char line[KEYIN_MAX + 3]; /* and room to see that it is too long */
	ssize_t len;
	struct span key;
	int rc = -1;

	memset(out, 0, KEYIN_MAX + 1);
	do {
		len = read_line(line, sizeof(line), e);
	} while (len == -2);
	if (len >= 0 && one_line(line, (size_t)len, &key, e) == 0) {
		memcpy(out, key.p, key.len);
		rc = 0;
	}
	secret_wipe(line, sizeof(line));
	return rc;
}
