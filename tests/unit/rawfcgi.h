/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_RAWFCGI_H_
#define TESTS_RAWFCGI_H_

/*
 * A raw FastCGI client for tests: builds heads byte by byte, well-formed or not, and reads whole
 * responses. Include after <cmocka.h>; every read ends after half a minute at the latest, so no
 * test hangs.
 */

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAW_MAX 262144

struct raw {
	size_t n;
	uint8_t b[RAW_MAX];
};

static inline void
raw_bytes(struct raw *w, const void *p, size_t n)
{
	assert_true(w->n + n <= sizeof(w->b));
	if (n > 0)
		memcpy(w->b + w->n, p, n);
	w->n += n;
}

static inline void
raw_header(struct raw *w, int type, int id, size_t len, int padding)
{
	uint8_t h[8] = {1, (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8),
	    (uint8_t)len, (uint8_t)padding, 0};

	raw_bytes(w, h, sizeof(h));
}

static inline void
raw_record(struct raw *w, int type, int id, const void *p, size_t len, int padding)
{
	uint8_t zero[255] = {0};

	raw_header(w, type, id, len, padding);
	raw_bytes(w, p, len);
	raw_bytes(w, zero, (size_t)padding);
}

static inline void
raw_begin(struct raw *w, int id, int role, int keep)
{
	uint8_t body[8] = {0, (uint8_t)role, (uint8_t)keep};

	raw_record(w, 1, id, body, sizeof(body), 0);
}

static inline void
raw_length(struct raw *w, size_t n)
{
	uint8_t l[4] = {
	    (uint8_t)(n >> 24 | 0x80), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	if (n < 128)
		raw_bytes(w, &l[3], 1);
	else
		raw_bytes(w, l, 4);
}

/* A name-value pair, without a record around it. */
static inline void
raw_pair_n(struct raw *w, const char *name, size_t name_len, const char *value, size_t value_len)
{
	raw_length(w, name_len);
	raw_length(w, value_len);
	raw_bytes(w, name, name_len);
	raw_bytes(w, value, value_len);
}

static inline void
raw_pair(struct raw *w, const char *name, const char *value)
{
	raw_pair_n(w, name, strlen(name), value, strlen(value));
}

/* ${pairs} as PARAMS records of at most ${max} bytes, and the empty one. */
static inline void
raw_params(struct raw *w, int id, const struct raw *pairs, size_t max)
{
	size_t at, n;

	for (at = 0; at < pairs->n; at += n) {
		n = pairs->n - at < max ? pairs->n - at : max;
		raw_record(w, 4, id, pairs->b + at, n, 0);
	}
	raw_record(w, 4, id, NULL, 0, 0);
}

/* A whole request: "NAME", "value", ..., NULL; with the empty stdin. */
static inline void
raw_request(struct raw *w, int id, int role, int keep, const char *const *params)
{
	static struct raw pairs;

	pairs.n = 0;
	for (; *params != NULL; params += 2)
		raw_pair(&pairs, params[0], params[1]);
	raw_begin(w, id, role, keep);
	raw_params(w, id, &pairs, 60000);
	raw_record(w, 5, id, NULL, 0, 0);
}

static inline int
raw_connect(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval tv = {30, 0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd != -1);
	assert_true(strlen(path) < sizeof(un.sun_path));
	memcpy(un.sun_path, path, strlen(path));
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static inline void
raw_send(int fd, const struct raw *w)
{
	size_t at = 0;
	ssize_t n;

	while (at < w->n) {
		n = send(fd, w->b + at, w->n - at, MSG_NOSIGNAL);
		assert_true(n > 0);
		at += (size_t)n;
	}
}

static inline void
raw_read(int fd, void *p, size_t n)
{
	uint8_t *at = p;
	ssize_t got;

	while (n > 0) {
		got = recv(fd, at, n, 0);
		assert_true(got > 0);
		at += got;
		n -= (size_t)got;
	}
}

/* One response: the CGI output as text into ${out}; its length. */
static inline size_t
raw_response(int fd, int id, char *out, size_t cap)
{
	uint8_t h[8], body[65535 + 255];
	size_t len, n = 0;

	for (;;) {
		raw_read(fd, h, sizeof(h));
		assert_int_equal(h[0], 1);
		assert_int_equal(h[2] << 8 | h[3], id);
		len = (size_t)h[4] << 8 | h[5];
		raw_read(fd, body, len + h[6]);
		if (h[1] == 3)
			break;
		assert_int_equal(h[1], 6);
		assert_true(n + len < cap);
		memcpy(out + n, body, len);
		n += len;
	}
	out[n] = '\0';
	return n;
}

/* The peer closes, having sent nothing more. */
static inline void
raw_eof(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	assert_true(n == 0 || (n == -1 && (errno == ECONNRESET || errno == EPIPE)));
}

/* Our child stands still from here on; having the signal alone it may yet take what comes. */
static inline void
raw_halt(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
}

#endif /* !TESTS_RAWFCGI_H_ */
