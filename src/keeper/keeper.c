/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The keeper process: it owns the store and the peppers, and answers on its sockets.  This file is
 * its start and its end; loop.c is what it does in between.
 *
 * It does not fork, drop privileges or read anything from the network.
 *
 * Two sockets: keeper.sock, where root and our own user may administer, and check.sock, where
 * nobody may.  Workers run as our own user and are not trusted with it: they are only ever
 * connected to the second (wire/dial.h).
 *
 * Invariants: the sockets are bound only while the store's lock is held; what was asked before the
 * end is answered, and what was changed is on disk before it is acknowledged.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "keeper/keeper.h"

#include "base/clock.h"
#include "base/secret.h"
#include "keeper/fingerprints.h"
#include "keeper/loop.h"
#include "keeper/peppers.h"
#include "keeper/storekey.h"
#include "keeper/uses.h"
#include "store/store.h"

_Static_assert(KEEPER_EXIT_DISK == STORE_EXIT_FSYNC, "one exit status");

#define BUSY_US (3 * CLOCK_SECOND) /* how long a store that somebody else owns is waited for */
#define BUSY_POLL_MS 20

static int
now(void *cookie, struct decide_times *t)
{
	const struct keeper *k = cookie;

	t->wall_us = clock_wall_us();
	t->steady_us = steady_now_us(&k->steady);
	return 0;
}

static void
close_doors(struct keeper *k)
{
	for (struct door *d = k->doors; d < k->doors + DOORS; d++) {
		if (d->fd < 0)
			continue;
		close(d->fd);
		d->fd = -1;
		unlink(d->path);
	}
}

/* What was asked before the end is answered, what was changed is on disk before it is acknowledged.
 */
static int
finish(struct keeper *k, struct err *e)
{
	close_doors(k);
	while (k->waiting != NULL)
		loop_requests(k);
	ops_tick(&k->ops, 1);
	(void)reports_tick(&k->reports, k->store, 1);
	/* On a full disk they are lost, and nothing else. */
	if (uses_flush(decide_uses(k->decide), k->store, e) != 0)
		log_event(LOG_LVL_ERROR, "uses_failed", "error", e->msg, NULL);
	housekeeper_stop(&k->housekeeper);
	if (store_flush(k->store, e) != 0)
		return -1;
	for (struct peer *p = k->peers; p != NULL; p = p->next)
		peer_send(p, UINT64_MAX, clock_mono_us());
	return 0;
}

static int
claim_store(struct keeper *k, struct err *e)
{
	const struct config *c = *k->config;
	struct store_options options = {.dir = c->state_dir,
	    .cache_bytes = c->cache_bytes,
	    .min_free_bytes = c->min_free_bytes,
	    .there = k->options->again};
	int64_t until_us = clock_mono_us() + (k->options->idle_exit_us > 0 ? 0 : BUSY_US);
	char *key = NULL;

	if (c->encrypt_store && storekey_load(c->pepper_file, &key, e) != 0)
		return -1;
	options.key = key;
	/* The tool working alone owns the store for a moment; another keeper would for good. */
	while ((k->store = store_open(&options, e)) == NULL && e->code == ERR_BUSY &&
	       clock_mono_us() < until_us)
		(void)poll(NULL, 0, BUSY_POLL_MS);
	storekey_free(&key);
	return k->store == NULL ? -1 : 0;
}

static int
open_store(struct keeper *k, struct err *e)
{
	const struct config *c = *k->config;
	struct err warning = {0};

	if (claim_store(k, e) != 0)
		return -1;
	if (secret_heap_init(&warning) != 0)
		log_event(LOG_LVL_WARNING, "secrets_not_locked", "error", warning.msg, NULL);
	if ((k->peppers = fingerprints_load(k->store, c->pepper_file, e)) == NULL ||
	    trail_open(k->store, &k->peppers, e) != 0 ||
	    steady_open(&k->steady, k->store, e) != 0 ||
	    lastbatch_load(&k->last, k->store, clock_mono_us(), e) != 0 ||
	    (k->decide = decide_new(k->store, k->peppers, c->key_prefix, e)) == NULL)
		return -1;
	trail_tell_accepted(k->store);
	return decide_configure(k->decide, c, e);
}

/* Signals come through a descriptor; the housekeeping thread inherits that they are blocked. */
static int
open_signals(struct keeper *k, struct err *e)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	if ((errno = pthread_sigmask(SIG_BLOCK, &set, &k->old_mask)) != 0)
		return err_sys(e, "cannot block signals");
	k->masked = 1;
	if ((k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_sys(e, "signalfd");
	return 0;
}

static int
open_descriptors(struct keeper *k, struct err *e)
{
	struct itimerspec second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};

	if ((k->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		return err_sys(e, "epoll_create1");
	if ((k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return err_sys(e, "eventfd");
	k->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k->timer_fd < 0 || timerfd_settime(k->timer_fd, 0, &second, NULL) != 0)
		return err_sys(e, "timerfd");
	if (loop_watch(k, EPOLL_CTL_ADD, k->event_fd, EPOLLIN, &k->event_fd) != 0 ||
	    loop_watch(k, EPOLL_CTL_ADD, k->signal_fd, EPOLLIN, &k->signal_fd) != 0 ||
	    loop_watch(k, EPOLL_CTL_ADD, k->timer_fd, EPOLLIN, &k->timer_fd) != 0 ||
	    loop_watch(k, EPOLL_CTL_ADD, k->doors[DOOR_ADMIN].fd, EPOLLIN, &k->doors[DOOR_ADMIN]) !=
		0 ||
	    loop_watch(
		k, EPOLL_CTL_ADD, k->doors[DOOR_CHECKS].fd, EPOLLIN, &k->doors[DOOR_CHECKS]) != 0)
		return err_sys(e, "epoll_ctl");
	return 0;
}

static int
open_doors(struct keeper *k, struct err *e)
{
	const char *run_dir = (*k->config)->run_dir;
	struct door *admin = &k->doors[DOOR_ADMIN], *checks = &k->doors[DOOR_CHECKS];

	if (wire_socket_path(run_dir, admin->path, sizeof(admin->path), e) != 0 ||
	    wire_check_path(run_dir, checks->path, sizeof(checks->path), e) != 0)
		return -1;
	/* Started on demand nobody may have made it; what else is wrong with it shows at the bind.
	 */
	if (mkdir(run_dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, "cannot make the run directory %s", run_dir);
	checks->checks_only = 1;
	if ((checks->fd = wire_listen(checks->path, e)) < 0)
		return -1;
	return (admin->fd = wire_listen(admin->path, e)) < 0 ? -1 : 0;
}

/* The memory that credentials and requests pass through.  Without the right to lock it they may get
 * into swap: peppers, which stay, may not (secret_heap_init). */
static int
open_buffers(struct keeper *k, const struct round_with *with, struct err *e)
{
	int texts_locked;

	if ((k->round = round_new(with, e)) == NULL)
		return -1;
	if ((k->texts = secret_pages(sizeof(*k->texts), &texts_locked)) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (!texts_locked || !*with->locked)
		log_event(LOG_LVL_WARNING, "buffers_not_locked", "mend",
		    "raise RLIMIT_MEMLOCK to 4 MiB (ulimit -l, or LimitMEMLOCK= of the service)",
		    NULL);
	return 0;
}

static int
start(struct keeper *k, struct err *e)
{
	struct round_with with;
	int locked;

	/* First of all the store: its lock is what makes us the only one who may take the socket.
	 */
	if (open_store(k, e) != 0 || open_signals(k, e) != 0 || open_doors(k, e) != 0 ||
	    open_descriptors(k, e) != 0)
		return -1;
	with = (struct round_with){.store = k->store,
	    .decide = k->decide,
	    .steady = &k->steady,
	    .last = &k->last,
	    .reports = &k->reports,
	    .refusals = &k->refusals,
	    .locked = &locked};
	if (open_buffers(k, &with, e) != 0)
		return -1;
	k->ops = (struct ops){.store = k->store,
	    .decide = k->decide,
	    .peppers = &k->peppers,
	    .config = *k->config,
	    .times = now,
	    .cookie = k};
	k->last_peer_us = clock_mono_us();
	k->redoing = 1;
	sweep_init(&k->sweep, k->last_peer_us);
	return (k->housekeeper = housekeeper_start(k->store, k->event_fd, e)) == NULL ? -1 : 0;
}

static void
release(struct keeper *k)
{
	int fds[] = {k->epoll_fd, k->event_fd, k->timer_fd};
	struct signalfd_siginfo si;

	housekeeper_stop(&k->housekeeper);
	while (k->peers != NULL)
		loop_remove_peer(k, k->peers);
	close_doors(k);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	round_free(&k->round);
	secret_pages_free(k->texts, sizeof(*k->texts));
	decide_free(&k->decide);
	peppers_free(&k->peppers);
	store_close(&k->store);
	/* One that is still pending would end us now, after an orderly end. */
	while (k->signal_fd >= 0 && read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		;
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	if (k->masked)
		(void)pthread_sigmask(SIG_SETMASK, &k->old_mask, NULL);
	free(k);
}

int
keeper_run(struct config **config, const struct keeper_options *options, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int rc = -1;

	if (k == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	k->config = config;
	k->options = options;
	k->doors[DOOR_ADMIN].fd = k->doors[DOOR_CHECKS].fd = -1;
	k->epoll_fd = k->event_fd = k->signal_fd = k->timer_fd = -1;
	k->waiting_end = &k->waiting;
	if (start(k, e) != 0)
		goto out;
	if (options->status_fd >= 0)
		(void)fcntl(
		    options->status_fd, F_SETFL, fcntl(options->status_fd, F_GETFL) | O_NONBLOCK);
	log_event(LOG_LVL_INFO, "keeper_started", "socket", k->doors[DOOR_ADMIN].path, "pepper",
	    LOG_NUM(peppers_version(k->peppers, 0)), NULL);
	loop_tell(k, 'R');
	rc = 0;
	while (rc == 0 && !k->stop)
		rc = loop_turn(k, e);
	if (rc == 0)
		rc = finish(k, e);
	if (rc != 0)
		log_event(LOG_LVL_ERROR, "keeper_failed", "error", e->msg, NULL);
	else
		log_event(LOG_LVL_INFO, "keeper_stopped", NULL);
out:
	release(k);
	return rc;
}
