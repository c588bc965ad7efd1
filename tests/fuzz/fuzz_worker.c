/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * FastCGI bytes into a real worker: its loop, libfcgi, the gate, without a keeper.  Whatever comes,
 * the worker goes on, the connection ends, and nobody is admitted: no answer has status 200 or 204,
 * and none has an X-Accel-Redirect.
 */

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "fcgi/server.h"
#include "gate/gate.h"
#include "wire/dial.h"

#include "fuzz.h"

static char dir[] = "/tmp/fuzz-worker.XXXXXX", path[64];
static int listen_fd, dial_fds[2];

static const struct config config = {.run_dir = dir,
    .realm = (char *)"api",
    .key_prefix = (char *)"ak",
    .require_https = 1,
    .strict_paths = 1,
    .nquery_parameters = 1,
    .query_parameters = {(char *)"api_key"},
    .app_header = (char *)"X-App-Id",
    .keeper_timeout_us = 5000,
    .max_connections = 16,
    .log_level = LOG_LVL_ERROR};

static void
end(void)
{
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
begin(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct err e;

	/* What it says of bad input is not of interest here. */
	log_open(LOG_TO_SYSLOG, LOG_LVL_ERROR, "fuzz");
	must(fcgi_server_init(&e) == 0);
	must(mkdtemp(dir) != NULL);
	must(snprintf(path, sizeof(path), "%s/s", dir) < (int)sizeof(un.sun_path));
	memcpy(un.sun_path, path, strlen(path));
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(listen_fd >= 0 && bind(listen_fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	must(listen(listen_fd, 16) == 0 && dial_pair(dial_fds, &e) == 0);
	(void)atexit(end);
}

/* The client's side, in the worker's own loop. */
struct client {
	struct gate *gate;
	int fd;
	size_t n;
	char answer[1 << 16];
};

static void
on_answer(void *cookie, uint32_t events)
{
	struct client *c = cookie;
	ssize_t n;

	(void)events;
	n = recv(c->fd, c->answer + c->n, sizeof(c->answer) - 1 - c->n, MSG_DONTWAIT);
	if (n > 0) {
		c->n += (size_t)n;
		return;
	}
	gate_stop(c->gate);
}

static int
says(const struct client *c, const char *what)
{
	return memmem(c->answer, c->n, what, strlen(what)) != NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct client c;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct err e;

	if (path[0] == '\0')
		begin();
	if (n > 60000)
		return 0;
	memcpy(un.sun_path, path, strlen(path));
	c.n = 0;
	must((c.gate = gate_new(&config, listen_fd, dial_fds[1], &e)) != NULL);
	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(c.fd >= 0 && connect(c.fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	must(send(c.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n);
	must(shutdown(c.fd, SHUT_WR) == 0);
	must(gate_watch(c.gate, c.fd, on_answer, &c, &e) == 0);
	must(gate_run(c.gate, &e) == 0);
	gate_free(&c.gate);
	close(c.fd);
	must(!says(&c, "Status: 200") && !says(&c, "Status: 204"));
	/* The fuzzer sees what is compared; as its request's id it is echoed. */
	must(memmem(p, n, "X-Accel-Redirect", 16) != NULL || !says(&c, "X-Accel-Redirect"));
	return 0;
}
