/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor's event loop: first the keeper, then the workers, then keep them alive; reload;
 * stop.
 *
 * Runs without privileges, reads only signals and the status pipes of its children, never the
 * network and never the store.  Everything that happens is a change of a child's state, a signal or
 * a deadline; after each round advance() looks at the whole and takes the next step, so that no
 * order of events is special.
 *
 * Invariants: the service is reported ready only when every worker has said that it serves; a child
 * that fails before the service was ever ready ends the start with its error, one that fails later,
 * or that somebody kills, is started again; a reload replaces all workers or none; workers stop
 * before the keeper.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikeyd/daemon.h"
#include "apikeyd/exits.h"
#include "apikeyd/fleet.h"
#include "apikeyd/rundir.h"
#include "apikeyd/supervise.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/span.h"
#include "config/config.h"

#define WORKERS_MAX 256 /* the bound of the setting */
#define EVENTS_MAX 64
#define HOW_MAX 64 /* how a child ended, in words */
#define PATIENCE_US INT64_C(5000000)
#define LOOK_US INT64_C(1000000) /* between two looks at the socket's file */
#define LATE_US INT64_C(500000)	 /* woken so long after the time we asked for: we were stopped */

enum phase { PHASE_KEEPER, PHASE_WORKERS, PHASE_SERVING, PHASE_STOPPING };

struct state {
	const struct supervise *set;
	struct fleet fleet;
	int epoll_fd, signal_fd;
	enum phase phase;
	unsigned generation; /* of the workers that serve, or shall first */
	struct config *next; /* a reload is on its way: its workers are of generation + 1 */
	int reload_wanted;
	int renewing; /* workers of generation + 1 on a socket that was made again */
	int lost;     /* the socket's file, and that was said */
	int64_t look_at_us;
	int64_t patient_until_us; /* the store's former owner lost its supervisor: 0: it did not */
	int64_t again_until_us;	  /* while it starts: whom somebody killed is started again */
	int64_t watchdog_at_us;
	char running[RUNDIR_PATH_MAX], run_dir[RUNDIR_PATH_MAX]; /* the same until a restart */
	char told[128];						 /* the last status of notify */
	int failed;						 /* the start; why is in *e */
	struct err *e;
};

/* ---- telling the service manager ---- */

static void
tell_status(struct state *S)
{
	char text[sizeof(S->told)];
	unsigned ready = fleet_ready(&S->fleet, FLEET_ANY);

	(void)snprintf(text, sizeof(text), "%u workers serve, the keeper %s%s", ready,
	    fleet_keeper(&S->fleet)->state == CHILD_READY ? "is ready" : "is being started",
	    S->lost ? ", the socket is lost" : "");
	if (S->phase != PHASE_SERVING || strcmp(text, S->told) == 0)
		return;
	memcpy(S->told, text, sizeof(text));
	notify_status(S->set->notify, text);
}

/* ---- stopping ---- */

static void
begin_stop(struct state *S, int64_t now_us)
{
	if (S->phase == PHASE_STOPPING)
		return;
	S->phase = PHASE_STOPPING;
	notify_stopping(S->set->notify);
	log_event(LOG_LVL_INFO, "stopping", NULL);
	/* No new connections: they are refused at once instead of waiting for nobody. */
	listen_close(S->set->listener);
	fleet_stop_workers(&S->fleet, FLEET_ANY, now_us);
}

/* ---- reload ---- */

static void
log_problem(void *cookie, const char *text)
{
	(void)cookie;
	log_event(LOG_LVL_ERROR, "reload_refused", "error", text, NULL);
}

static void
hang_up_keeper(struct state *S)
{
	struct child *keeper = fleet_keeper(&S->fleet);

	/* One that is starting has no handler yet, and may have read the old configuration. */
	if (keeper->state == CHILD_READY)
		(void)kill(keeper->pid, SIGHUP);
	else if (keeper->state == CHILD_STARTING)
		keeper->hang_up = 1;
}

static void
end_reload(struct state *S, const char *event)
{
	log_event(
	    LOG_LVL_INFO, event, "workers", LOG_NUM(fleet_ready(&S->fleet, S->generation)), NULL);
	S->told[0] = '\0';
	notify_ready(S->set->notify, event);
	tell_status(S);
}

/* Load the new configuration; on any doubt everything stays as it is. */
static struct config *
load_next(struct state *S)
{
	const struct config *now = *S->set->config;
	struct config *next;
	struct err e = {.code = ERR_NONE};
	char names[256];

	if ((next = config_load(S->set->config_path, log_problem, NULL, &e)) == NULL)
		return NULL;
	config_needs_restart(now, next, names, sizeof(names));
	if (names[0] != '\0')
		log_event(LOG_LVL_WARNING, "restart_needed", "settings", names, "until_then",
		    "they stay as they are", NULL);
	if (S->set->as_daemon)
		next->log = 1;
	if (config_keep(next, now) == 0 && rundir_write(next, &e) == 0)
		return next;
	log_problem(NULL, e.code != ERR_NONE ? e.msg : "out of memory");
	config_free(next);
	return NULL;
}

static void
begin_reload(struct state *S, int64_t now_us)
{
	S->reload_wanted = 0;
	notify_reloading(S->set->notify, now_us);
	if ((S->next = load_next(S)) == NULL) {
		end_reload(S, "reload_refused_old_configuration_kept");
		return;
	}
	log_set_level(S->next->log_level);
	hang_up_keeper(S);
	fleet_start_workers(&S->fleet, S->next->workers, S->generation + 1, now_us);
}

/* All new workers serve: the old ones finish what they have. */
static void
finish_reload(struct state *S, int64_t now_us)
{
	fleet_stop_workers(&S->fleet, S->generation, now_us);
	S->generation++;
	config_free(*S->set->config);
	*S->set->config = S->next;
	S->next = NULL;
	end_reload(S, "reloaded");
}

static void
abandon_reload(struct state *S, int64_t now_us)
{
	struct err e;

	fleet_stop_workers(&S->fleet, S->generation + 1, now_us);
	config_free(S->next);
	S->next = NULL;
	log_set_level((*S->set->config)->log_level);
	if (rundir_write(*S->set->config, &e) == -1)
		log_event(LOG_LVL_ERROR, "reload_abandoned", "error", e.msg, NULL);
	hang_up_keeper(S);
	end_reload(S, "reload_abandoned_old_configuration_kept");
}

/* ---- the socket's file ---- */

/* Said once, until it is mended: by whoever took it away, or by us as soon as nothing is there. */
static void
say_lost(struct state *S, const struct err *e)
{
	if (S->lost)
		return;
	S->lost = 1;
	log_event(LOG_LVL_ERROR, "socket_lost", "error", e->msg, "effect",
	    "no web server finds us any more", "mend",
	    "remove what is there, or restart apikeyd if its directory is gone", NULL);
	tell_status(S);
}

/*
 * Cleaners of temporary directories and a careless rm take the file away, and with it all that
 * comes later: the socket itself goes on to work for whoever is connected.  So it is made again,
 * and new workers on it take the place of the old ones, as in a reload.  What somebody else has put
 * there is his.
 */
static void
look_after_socket(struct state *S, int64_t now_us)
{
	const struct privileges as_we_are = {.root = 0};
	struct err e = {.code = ERR_NONE};
	int there;

	if (S->phase != PHASE_SERVING || S->next != NULL || S->renewing)
		return;
	if ((there = listen_is_there(S->set->listener, &e)) == 0)
		there = listen_again(S->set->listener, *S->set->config, &as_we_are, &e);
	else if (there == 1 && !S->lost)
		return;
	if (there == -1) {
		say_lost(S, &e);
		return;
	}
	S->lost = 0;
	log_event(LOG_LVL_WARNING, there == 1 ? "socket_back" : "socket_made_again", "listen",
	    S->set->listener->path, NULL);
	if (there == 0) {
		S->renewing = 1;
		fleet_start_workers(
		    &S->fleet, (*S->set->config)->workers, S->generation + 1, now_us);
	}
	tell_status(S);
}

static void
finish_renewal(struct state *S, int64_t now_us)
{
	fleet_stop_workers(&S->fleet, S->generation, now_us);
	S->generation++;
	S->renewing = 0;
	log_event(LOG_LVL_INFO, "listening_again", NULL);
}

/* ---- what happens to children ---- */

static void
on_ready(struct state *S, struct child *c)
{
	log_event(LOG_LVL_DEBUG, "child_ready", "role", child_role_name(c->role), "pid",
	    LOG_NUM(c->pid), "after_ms", LOG_NUM((c->ready_us - c->started_us) / 1000), NULL);
	if (c->hang_up) {
		c->hang_up = 0;
		(void)kill(c->pid, SIGHUP);
	}
	tell_status(S);
}

static void
describe(int status, char text[HOW_MAX])
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		(void)snprintf(
		    text, HOW_MAX, "signal %d: it tried what its sandbox forbids", SIGSYS);
	else if (WIFSIGNALED(status))
		(void)snprintf(text, HOW_MAX, "signal %d", WTERMSIG(status));
	else
		(void)snprintf(text, HOW_MAX, "exit %d", WEXITSTATUS(status));
}

static void
log_death(const struct child *c, pid_t pid, int status, const struct err *said)
{
	char how[HOW_MAX];

	describe(status, how);
	/* One that was told to stop before it had a handler ends by the signal itself. */
	if (c->state == CHILD_FREE &&
	    (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM))) {
		log_event(LOG_LVL_DEBUG, "child_left", "role", child_role_name(c->role), "pid",
		    LOG_NUM(pid), NULL);
		return;
	}
	log_event(c->state == CHILD_FREE ? LOG_LVL_WARNING : LOG_LVL_ERROR, "child_died", "role",
	    child_role_name(c->role), "pid", LOG_NUM(pid), "how", how, "error",
	    said->code != ERR_NONE ? said->msg : "", "restart_in_ms",
	    c->state == CHILD_DUE ? LOG_NUM((c->due_us - clock_mono_us()) / 1000) : "never", NULL);
}

/* By somebody else: of itself a process ends with an error, or by another signal. */
static int
was_killed(int status)
{
	return WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
}

/* Did a child die that never served, before the service ever did?  Then it would again. */
static int
ends_start(const struct state *S, const struct child *c, int status, const struct err *said,
    int64_t now_us)
{
	if (c->state != CHILD_DUE || S->phase >= PHASE_SERVING || c->ready_us != 0)
		return 0;
	/* Unless that was not its own doing: a start that ends for it leaves no service at all. */
	if (was_killed(status) && now_us < S->again_until_us)
		return 0;
	/* Or the store's former owner lost its supervisor and is on its way out. */
	return c->role != CHILD_KEEPER || said->code != ERR_BUSY || now_us >= S->patient_until_us;
}

static void
fail_start(
    struct state *S, const struct child *c, int status, const struct err *said, int64_t now_us)
{
	char how[HOW_MAX];

	*S->e = *said;
	if (said->code == ERR_NONE) {
		describe(status, how);
		(void)err_set(S->e, ERR_INTERNAL,
		    "the %s ended with %s before it served; its log says more",
		    child_role_name(c->role), how);
	}
	S->failed = 1;
	begin_stop(S, now_us);
}

static void
reap_all(struct state *S, int64_t now_us)
{
	struct child *c;
	struct err said;
	int status, fatal;
	pid_t pid = 0;

	while ((c = fleet_reap(&S->fleet, now_us, &pid, &status, &said)) != NULL) {
		if ((fatal = ends_start(S, c, status, &said, now_us)))
			child_stop(c, now_us);
		log_death(c, pid, status, &said);
		if (fatal)
			fail_start(S, c, status, &said, now_us);
		else if (S->next != NULL && c->state == CHILD_DUE && c->ready_us == 0 &&
			 c->role == CHILD_WORKER && c->generation == S->generation + 1)
			abandon_reload(S, now_us);
	}
	tell_status(S);
}

/* ---- signals ---- */

static void
on_signals(struct state *S, int64_t now_us)
{
	struct signalfd_siginfo info;

	while (read(S->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap_all(S, now_us);
		else if (info.ssi_signo == SIGHUP)
			S->reload_wanted = 1;
		else
			begin_stop(S, now_us);
	}
}

/* ---- the whole ---- */

static void
begin_serving(struct state *S)
{
	unsigned n = fleet_ready(&S->fleet, S->generation);

	S->phase = PHASE_SERVING;
	log_event(LOG_LVL_INFO, "ready", "workers", LOG_NUM(n), "listen", (*S->set->config)->listen,
	    NULL);
	notify_ready(S->set->notify, "ready");
	tell_status(S);
	daemon_started(S->set->daemon_fd, 0);
}

/* The next step, whenever the last one is complete.  1 when all is over. */
static int
advance(struct state *S, int64_t now_us)
{
	struct child *keeper = fleet_keeper(&S->fleet);

	if (S->phase == PHASE_KEEPER && keeper->state == CHILD_READY) {
		S->phase = PHASE_WORKERS;
		fleet_start_workers(&S->fleet, (*S->set->config)->workers, S->generation, now_us);
	} else if (S->phase == PHASE_WORKERS &&
		   fleet_ready(&S->fleet, S->generation) == (*S->set->config)->workers) {
		begin_serving(S);
		/* What was asked for meanwhile: nothing else may wake us for a second. */
		return advance(S, now_us);
	} else if (S->phase == PHASE_SERVING && S->next != NULL) {
		if (fleet_ready(&S->fleet, S->generation + 1) == S->next->workers)
			finish_reload(S, now_us);
	} else if (S->phase == PHASE_SERVING && S->renewing) {
		if (fleet_ready(&S->fleet, S->generation + 1) == (*S->set->config)->workers)
			finish_renewal(S, now_us);
	} else if (S->phase == PHASE_SERVING && S->reload_wanted) {
		/* Old workers may still be leaving: their slots are needed for the new ones. */
		if (fleet_workers(&S->fleet, FLEET_ANY) == fleet_workers(&S->fleet, S->generation))
			begin_reload(S, now_us);
	} else if (S->phase == PHASE_STOPPING && fleet_workers(&S->fleet, FLEET_ANY) == 0) {
		if (keeper->state == CHILD_FREE)
			return 1;
		if (!keeper->unwanted)
			child_stop(keeper, now_us);
		return keeper->state == CHILD_FREE;
	}
	return 0;
}

static int
timeout_ms(const struct state *S, int64_t now_us)
{
	int64_t first = fleet_deadline(&S->fleet), ms;

	if (S->look_at_us < first)
		first = S->look_at_us;
	if (S->watchdog_at_us != 0 && S->watchdog_at_us < first)
		first = S->watchdog_at_us;
	if (first == INT64_MAX)
		return -1;
	if (first <= now_us)
		return 0;
	ms = (first - now_us + 999) / 1000;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void
on_deadlines(struct state *S, int64_t now_us)
{
	if (S->watchdog_at_us != 0 && now_us >= S->watchdog_at_us) {
		notify_watchdog(S->set->notify);
		S->watchdog_at_us = now_us + S->set->notify->watchdog_us / 2;
	}
	if (now_us >= S->look_at_us) {
		look_after_socket(S, now_us);
		S->look_at_us = now_us + LOOK_US;
	}
	fleet_expire(&S->fleet, now_us);
}

static void
on_event(struct state *S, const struct epoll_event *ev, int64_t now_us)
{
	struct child *c = ev->data.ptr;

	if (c == NULL)
		on_signals(S, now_us);
	else if (child_hear(c, now_us))
		on_ready(S, c);
}

static int
loop(struct state *S, struct err *e)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t now_us = clock_mono_us(), until_us;
	int i, n, ms;

	while (!advance(S, now_us)) {
		ms = timeout_ms(S, now_us);
		until_us = ms == -1 ? INT64_MAX : now_us + ms * INT64_C(1000) + LATE_US;
		n = epoll_wait(S->epoll_fd, events, EVENTS_MAX, ms);
		if (n == -1 && errno != EINTR)
			return err_sys(e, "epoll_wait");
		now_us = clock_mono_us();
		for (i = 0; i < n; i++)
			on_event(S, &events[i], now_us);
		/*
		 * Silence counts only while we listen: this process, or the machine with all of us,
		 * may have been stopped for longer than anybody's deadline, and words may still be
		 * unread.
		 */
		if (now_us > until_us)
			fleet_forgive(&S->fleet, now_us);
		if (n != -1 && n < EVENTS_MAX)
			on_deadlines(S, now_us);
	}
	return 0;
}

static int
prepare(struct state *S, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	if ((S->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    (S->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) == -1 ||
	    epoll_ctl(S->epoll_fd, EPOLL_CTL_ADD, S->signal_fd, &ev) == -1)
		return err_sys(e, "supervisor");
	if (span_copy(S->run_dir, sizeof(S->run_dir), span_of((*S->set->config)->run_dir)) == -1)
		return err_set(e, ERR_INPUT, "run_dir is too long");
	if (rundir_path(*S->set->config, S->running, e) == -1 ||
	    rundir_write(*S->set->config, e) == -1)
		return -1;
	return fleet_init(&S->fleet, S->epoll_fd, WORKERS_MAX, e);
}

int
supervise_run(const struct supervise *set, struct err *e)
{
	struct state S = {.set = set, .epoll_fd = -1, .signal_fd = -1, .generation = 1, .e = e};
	int64_t now_us = clock_mono_us();
	int ret = -1;

	if (prepare(&S, e) == -1)
		goto out;
	S.fleet.launch = (struct child_launch){.argv0 = set->argv0,
	    .config = S.running,
	    .run_dir = S.run_dir,
	    .listen_fd = set->listener->fd,
	    .quiet = set->as_daemon};
	S.again_until_us = now_us + PATIENCE_US;
	if (set->patient)
		S.patient_until_us = now_us + PATIENCE_US;
	if (set->notify->watchdog_us > 0)
		S.watchdog_at_us = now_us + set->notify->watchdog_us / 2;
	fleet_start_keeper(&S.fleet, now_us);
	ret = loop(&S, e);
	(void)unlink(S.running);
	log_event(LOG_LVL_INFO, "stopped", NULL);
out:
	config_free(S.next);
	fleet_release(&S.fleet);
	if (S.signal_fd != -1)
		(void)close(S.signal_fd);
	if (S.epoll_fd != -1)
		(void)close(S.epoll_fd);
	return ret == -1 || S.failed ? exits_of(e) : EXITS_OK;
}
