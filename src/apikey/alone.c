/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The admin tool without a keeper: a child process takes the store's lock and runs the same
 * operations on the same messages, over a socket pair, so that the rest of the tool cannot tell the
 * difference.
 *
 * It is a process of its own for two reasons.  Peppers and store then live in a process that has no
 * terminal to talk to and nothing of the command line; and it can become the service user for good
 * before it opens anything, while the tool stays who it was: when the store turns out to be owned
 * by a keeper that is just starting, the tool connects to that one under its own name, which the
 * audit trail then records.
 *
 * Invariants: what needs root (the directory) happens before service_become, everything else after
 * it; no store is made where a service runs, whose own is then gone, or about to come; a change is
 * answered only after it is hard on disk; the store is closed before the process ends.
 */

#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/alone.h"
#include "apikey/confine.h"
#include "apikey/service.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "keeper/decide.h"
#include "keeper/fingerprints.h"
#include "keeper/ops.h"
#include "keeper/peppers.h"
#include "keeper/steady.h"
#include "keeper/storekey.h"
#include "keeper/trail.h"
#include "store/store.h"
#include "wire/wire.h"

struct alone {
	const struct config *config;
	uid_t asker; /* who runs the tool; kept over service_become, for the audit trail */
	pid_t tool;
	struct store *store;
	struct peppers *peppers;
	struct err unpeppered; /* why these may not be used, or ERR_NONE */
	struct decide *decide;
	struct steady steady;
};

static int
times_now(void *cookie, struct decide_times *t)
{
	const struct alone *a = cookie;

	t->wall_us = clock_wall_us();
	t->steady_us = steady_now_us(&a->steady);
	return 0;
}

static int
alone_open(struct alone *a, struct err *e)
{
	const struct config *c = a->config;
	struct store_options options = {.dir = c->state_dir,
	    .cache_bytes = c->cache_bytes,
	    .min_free_bytes = c->min_free_bytes,
	    .there = service_runs(c)};
	struct service service;
	char *key = NULL;

	if (service_find(c, &service, e) == -1)
		return -1;
	/* Without the rights to make it, store_open has the better words. */
	if (!options.there && service_make_dir(&service, c->state_dir, 0700, 1, e) == -1 &&
	    service.change)
		return -1;
	if (service_become(&service, e) == -1 || confine_enter(c, e) == -1)
		return -1;
	(void)umask(077);
	if (c->encrypt_store && storekey_load(c->pepper_file, &key, e) != 0)
		return -1;
	options.key = key;
	a->store = store_open(&options, e);
	storekey_free(&key);
	if (a->store == NULL)
		return -1;
	if (secret_heap_init(e) == -1)
		return -1;
	/* Peppers that are not those of the store's keys can only be mended. */
	a->peppers = fingerprints_load(a->store, c->pepper_file, &a->unpeppered);
	if (a->peppers == NULL && a->unpeppered.code == ERR_CONFLICT)
		a->peppers = peppers_load(c->pepper_file, e);
	if (a->peppers == NULL) {
		*e = a->unpeppered;
		return -1;
	}
	if (trail_open(a->store, &a->peppers, e) != 0)
		return -1;
	trail_tell_accepted(a->store);
	if ((a->decide = decide_new(a->store, a->peppers, c->key_prefix, e)) == NULL)
		return -1;
	return steady_open(&a->steady, a->store, e);
}

static void
alone_close(struct alone *a)
{
	decide_free(&a->decide);
	peppers_free(&a->peppers);
	store_close(&a->store);
}

static void
answer(struct alone *a, struct span request, const struct err *open_error, struct wbuf *reply)
{
	uint64_t free_bytes;
	struct ops ops = {.store = a->store,
	    .decide = a->decide,
	    .peppers = &a->peppers,
	    .config = a->config,
	    .times = times_now,
	    .cookie = a,
	    .unpeppered = a->unpeppered.code != ERR_NONE ? &a->unpeppered : NULL};
	struct ops_peer peer = {
	    .uid = a->asker, .pid = a->tool, .via = STORE_VIA_TOOL, .may_admin = 1};
	struct err e = {0};
	int changed = 0;

	if (open_error->code != ERR_NONE) {
		ops_reply_error(open_error, reply);
		return;
	}
	ops.low_space = store_space(a->store, &free_bytes, NULL) == 0;
	ops_run(&ops, &peer, request, reply, &changed);
	if ((changed || ops.wrote) && store_flush(a->store, &e) == -1) {
		wbuf_reset(reply);
		ops_reply_error(&e, reply);
	}
}

/* Three buffers of a message each: as received, the reply's text, the reply as sent. */
static void
serve(struct alone *a, int fd, const struct err *open_error)
{
	uint8_t *mem = secret_pages(3 * (size_t)WIRE_MESSAGE_MAX, NULL), *in = mem;
	struct wbuf text, out;
	ssize_t n;

	if (mem == NULL)
		return;
	for (;;) {
		do {
			n = recv(fd, in, WIRE_MESSAGE_MAX, 0);
		} while (n == -1 && errno == EINTR);
		if (n <= 0 || wire_type_of((struct span){(char *)in, (size_t)n}) != WIRE_ADMIN)
			break;
		wbuf_init(&text, mem + WIRE_MESSAGE_MAX, WIRE_MESSAGE_MAX - WIRE_HEADER);
		wbuf_init(&out, mem + 2 * (size_t)WIRE_MESSAGE_MAX, WIRE_MESSAGE_MAX);
		answer(a, wire_body((struct span){(char *)in, (size_t)n}), open_error, &text);
		wire_json_encode(WIRE_REPLY, wbuf_view(&text), &out);
		if (text.overflow || out.overflow ||
		    send(fd, out.p, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
			break;
		/* Keys pass through all three. */
		secret_wipe(mem, 3 * (size_t)WIRE_MESSAGE_MAX);
	}
	secret_pages_free(mem, 3 * (size_t)WIRE_MESSAGE_MAX);
}

static void
run_child(const struct config *config, int fd)
{
	struct alone a = {.config = config, .asker = getuid(), .tool = getppid()};
	struct err e = {0};

	/* Root's terminal takes no input from it, and what ends the tool there lets it come to its
	 * end. */
	(void)setsid();
	/* What the keeper would log, too; but standard error is the tool's, for one line. */
	log_open(LOG_TO_SYSLOG, config->log_level, "apikey");
	if (alone_open(&a, &e) == -1)
		alone_close(&a);
	serve(&a, fd, &e);
	alone_close(&a);
}

int
alone_start(const struct config *config, pid_t *pid, struct err *e)
{
	int sv[2], bytes = 2 * WIRE_MESSAGE_MAX, i;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		return err_sys(e, "socketpair");
	/* A message is one datagram; where this is refused the system's default is enough. */
	for (i = 0; i < 2; i++)
		(void)setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	(void)fflush(NULL);
	if ((*pid = fork()) == -1) {
		(void)err_sys(e, "fork");
		close(sv[0]);
		close(sv[1]);
		return -1;
	}
	if (*pid == 0) {
		close(sv[0]);
		run_child(config, sv[1]);
		/* Nothing is buffered: the parent flushed before. */
		exit(0);
	}
	close(sv[1]);
	return sv[0];
}
