/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Load at a given rate, for latency below saturation: requests become due at random moments
 * (Poisson), whether earlier ones were answered or not, and latency counts from the moment a
 * request was due. wrk cannot do that: its connections wait for their answers. One thread,
 * keep-alive connections to 127.0.0.1, keys drawn from a file. Prints one line of JSON. Not part of
 * apikeyd.
 *
 *   pace PORT REQUESTS-PER-SECOND SECONDS FILE-OF-KEYS
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 64, KEYS_MAX = 10000, REQUEST_MAX = 256, REPLY_MAX = 16384 };

struct conn {
	int fd;
	size_t got;
	double due;
	char reply[REPLY_MAX];
};

static struct conn conns[CONNECTIONS];
static struct conn *idle[CONNECTIONS];
static size_t n_idle, n_requests, n_due, n_sent, n_done, n_bad;
static char requests[KEYS_MAX][REQUEST_MAX];
static double *due, *latency; /* seconds; by number of the request, by order of the answers */
static int epoll_fd;
static in_port_t port;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
conn_open(struct conn *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		err(1, "connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
		err(1, "epoll_ctl");
	idle[n_idle++] = c;
}

/* 1 when the reply in c is whole: nginx sends a length, or chunks that end in an empty one. */
static int
conn_whole(const struct conn *c)
{
	const char *body = strstr(c->reply, "\r\n\r\n"),
		   *length = strcasestr(c->reply, "\r\nContent-Length:");

	if (body == NULL)
		return 0;
	body += 4;
	if (length != NULL && length < body)
		return c->got >= (size_t)(body - c->reply) + strtoul(length + 17, NULL, 10);
	return c->got >= 5 && memcmp(c->reply + c->got - 5, "0\r\n\r\n", 5) == 0;
}

static void
conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->reply + c->got, REPLY_MAX - 1 - c->got, MSG_DONTWAIT);
	int closing;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		errx(1, "a connection broke");
	c->got += (size_t)n;
	c->reply[c->got] = '\0';
	if (!conn_whole(c))
		return;
	latency[n_done++] = now() - c->due;
	n_bad += strncmp(c->reply, "HTTP/1.1 2", 10) != 0;
	closing = strstr(c->reply, "\r\nConnection: close\r\n") != NULL; /* keepalive_requests */
	c->got = 0;
	if (closing) {
		close(c->fd);
		conn_open(c);
	} else {
		idle[n_idle++] = c;
	}
}

static void
send_due(void)
{
	while (n_sent < n_due && n_idle > 0) {
		struct conn *c = idle[--n_idle];
		const char *request = requests[(size_t)random() % n_requests];

		c->due = due[n_sent++];
		if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
			err(1, "send");
	}
}

static void
read_keys(const char *path)
{
	char key[128];
	FILE *f = fopen(path, "r");

	if (f == NULL)
		err(1, "%s", path);
	while (n_requests < KEYS_MAX && fscanf(f, "%127s", key) == 1)
		snprintf(requests[n_requests++], REQUEST_MAX,
		    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: %s\r\n\r\n", key);
	fclose(f);
	if (n_requests == 0)
		errx(1, "%s: no keys", path);
}

/* Requests become due until the end, then the last ones have ten seconds. */
static void
drive(double rate, double seconds, size_t most)
{
	double start = now(), next = start, end = start + seconds;
	struct epoll_event events[CONNECTIONS];

	while (n_done < n_due || next < end) {
		double t = now(), wait;
		struct timespec timeout;
		int n;

		for (; next <= t && next < end && n_due < most; next -= log1p(-drand48()) / rate)
			due[n_due++] = next;
		send_due();
		if (t > end + 10)
			errx(1, "%zu requests were never answered", n_due - n_done);
		wait = next < end ? next - now() : 0.1;
		wait = wait < 0 ? 0 : wait;
		timeout = (struct timespec){
		    .tv_sec = (time_t)wait, .tv_nsec = (long)((wait - floor(wait)) * 1e9)};
		n = epoll_pwait2(epoll_fd, events, CONNECTIONS, &timeout, NULL);
		for (int i = 0; i < n; i++)
			conn_read(events[i].data.ptr);
	}
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	double rate, seconds;
	size_t most;

	if (argc != 5)
		errx(2, "usage: pace PORT REQUESTS-PER-SECOND SECONDS FILE-OF-KEYS");
	port = (in_port_t)strtoul(argv[1], NULL, 10);
	rate = strtod(argv[2], NULL);
	seconds = strtod(argv[3], NULL);
	read_keys(argv[4]);
	most = (size_t)(rate * seconds * 2) + 1000;
	due = calloc(most, sizeof(*due));
	latency = calloc(most, sizeof(*latency));
	if (due == NULL || latency == NULL)
		err(1, "calloc");
	srandom((unsigned)getpid());
	srand48(getpid());
	prctl(PR_SET_TIMERSLACK, 1UL);
	epoll_fd = epoll_create1(0);
	for (int i = 0; i < CONNECTIONS; i++)
		conn_open(&conns[i]);
	drive(rate, seconds, most);
	if (n_done == 0)
		errx(1, "no request was made");
	qsort(latency, n_done, sizeof(*latency), by_size);
	printf("{\"requests\":%zu,\"refused\":%zu,\"rate\":%.0f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
	       "\"p999_ms\":%.4f}\n",
	    n_done, n_bad, (double)n_due / seconds, latency[n_done / 2] * 1e3,
	    latency[n_done * 99 / 100] * 1e3, latency[n_done * 999 / 1000] * 1e3);
	return 0;
}
