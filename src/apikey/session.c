/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * One conversation of the admin tool: with the running keeper over its socket, or, with none
 * running, with a child that takes the store's lock (alone.c).  Which of the two is decided at the
 * first call.
 *
 * Whoever owns the store at this moment may be about to stop being its owner: a keeper that is just
 * starting holds the lock before it listens, and another command of the tool holds it for
 * milliseconds. So a busy store is asked for again, both ways, for a few seconds; and so is one
 * that is not there under a service that runs, which is about to make it, or has lost it.
 *
 * It does not know operations; requests and results are the commands' matter.
 *
 * Invariants: requests and replies, which may hold a key, are wiped as soon as they are sent or
 * parsed; failing to reach a store is never reported as a refusal.
 */

#include <sys/wait.h>

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apikey/alone.h"
#include "apikey/service.h"
#include "apikey/session.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "wire/wire.h"

#define SOCKET_PATH_MAX 128
#define BUSY_PATIENCE_US (5 * CLOCK_SECOND)
#define BUSY_PAUSE_NS 20000000
/* A running keeper answers a question in milliseconds. */
#define ASK_TIMEOUT_US (10 * CLOCK_SECOND)
/* For a change that is unacknowledged nobody can be sure, so it is waited for longer; and the first
 * answer of one who works alone comes only when the store is recovered. */
#define CALL_TIMEOUT_US (30 * CLOCK_SECOND)
#define TEXT_MAX (WIRE_MESSAGE_MAX - WIRE_HEADER)
#define TEXTS_BYTES (2 * ((size_t)TEXT_MAX + 1))

struct session {
	const struct config *config;
	int fd;		       /* -1: not open yet */
	pid_t pid;	       /* of the child that works alone; 0: none */
	char *request, *reply; /* TEXT_MAX + 1 bytes each, in one block of secret_pages */
};

struct session *
session_new(const struct config *config, struct err *e)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->request = secret_pages(TEXTS_BYTES, NULL)) == NULL) {
		free(s);
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	s->reply = s->request + TEXT_MAX + 1;
	s->config = config;
	s->fd = -1;
	return s;
}

static void
hang_up(struct session *s)
{
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
	while (s->pid != 0 && waitpid(s->pid, NULL, 0) == -1 && errno == EINTR)
		;
	s->pid = 0;
}

void
session_rest(struct session *s)
{
	if (s->pid != 0)
		hang_up(s);
}

void
session_hang_up(struct session *s)
{
	hang_up(s);
}

void
session_close(struct session **sp)
{
	struct session *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	hang_up(s);
	secret_pages_free(s->request, TEXTS_BYTES);
	free(s);
}

/* "result" of a reply, or NULL and the error that it tells. */
static cJSON *
read_reply(struct span text, struct err *e)
{
	struct err why = {0};
	cJSON *reply, *result = NULL;
	const char *code, *message;

	if ((reply = json_parse_object(text, &why)) == NULL) {
		(void)err_set(e, ERR_INTERNAL, "the keeper's reply is malformed: %s", why.msg);
		return NULL;
	}
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
		result = cJSON_DetachItemFromObjectCaseSensitive(reply, "result");
		if (!cJSON_IsObject(result)) {
			cJSON_Delete(result);
			result = NULL;
			(void)err_set(e, ERR_INTERNAL, "the keeper's reply has no result");
		}
	} else {
		code = json_str(reply, "error", NULL);
		message = json_str(reply, "message", NULL);
		(void)err_set(e, err_from_name(code == NULL ? "" : code), "%s",
		    message == NULL ? "the keeper refused without saying why" : message);
	}
	cJSON_Delete(reply);
	return result;
}

/*
 * Say what to do about the answer that did not come.  What wire_call says behind a semicolon is
 * about changes.
 */
static void
explain_silence(const struct session *s, enum session_kind kind, struct err *e)
{
	const struct err why = *e;

	if (why.code != ERR_UNAVAILABLE)
		return;
	if (kind == SESSION_CHANGES)
		(void)err_set(
		    e, why.code, "%s; apikey show, list and audit tell what is there", why.msg);
	else if (s->pid == 0)
		(void)err_set(e, why.code,
		    "%.*s: is it stopped, or of another version? Try again, or restart apikeyd",
		    (int)strcspn(why.msg, ";"), why.msg);
	else
		(void)err_set(e, why.code,
		    "the store in %s does not answer; look for its errors in syslog",
		    s->config->state_dir);
}

/* One request over the open socket. */
static cJSON *
call(struct session *s, enum session_kind kind, const cJSON *request, struct err *e)
{
	int64_t timeout_us =
	    kind == SESSION_READS && s->pid == 0 ? ASK_TIMEOUT_US : CALL_TIMEOUT_US;
	cJSON *result = NULL;
	size_t len;
	long n;

	/* A restriction may be among what is missing. */
	if (json_lost() > 0) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	if ((len = json_print(request, s->request, TEXT_MAX)) == 0) {
		(void)err_set(e, ERR_USAGE, "the request is too long: at most %d bytes", TEXT_MAX);
		return NULL;
	}
	n = wire_call(s->fd, (struct span){s->request, len}, s->reply, TEXT_MAX + 1, timeout_us, e);
	if (n >= 0)
		result = read_reply((struct span){s->reply, (size_t)n}, e);
	else
		explain_silence(s, kind, e);
	secret_wipe(s->request, TEXTS_BYTES);
	return result;
}

/* Whatever is wrong with opening a store, it is the store that is not available. */
static void
as_unavailable(struct err *e)
{
	static const enum err_code kept[] = {
	    ERR_BUSY, ERR_UNAVAILABLE, ERR_FULL, ERR_CORRUPT, ERR_VERSION, ERR_SYSTEM};
	size_t i;

	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (e->code == kept[i])
			return;
	}
	e->code = ERR_UNAVAILABLE;
}

/* Open the store ourselves: a ping tells how that went. */
static int
open_alone(struct session *s, struct err *e)
{
	cJSON *ping = cJSON_CreateObject(), *pong = NULL;

	if (cJSON_AddStringToObject(ping, "op", "ping") == NULL)
		(void)err_set(e, ERR_SYSTEM, "out of memory");
	else if ((s->fd = alone_start(s->config, &s->pid, e)) != -1)
		pong = call(s, SESSION_READS, ping, e);
	cJSON_Delete(ping);
	if (pong == NULL) {
		hang_up(s);
		return -1;
	}
	cJSON_Delete(pong);
	return 0;
}

/* 1 connected, 0 nobody listens, -1. */
static int
open_keeper(struct session *s, struct err *e)
{
	char path[SOCKET_PATH_MAX];

	if (wire_socket_path(s->config->run_dir, path, sizeof(path), e) == -1)
		return -1;
	if ((s->fd = wire_connect(path, e)) != -1)
		return 1;
	return e->code == ERR_UNAVAILABLE ? 0 : -1;
}

/* May who runs this open the store at all?  As root the tool has become the service user by now. */
static int
may_own(const struct config *config)
{
	const struct passwd *pw = getpwnam(config->user);

	return geteuid() == 0 || (pw != NULL && pw->pw_uid == geteuid());
}

/* Waiting mends no pepper file, nor a store that is damaged. */
static int
may_come(const struct session *s, const struct err *e)
{
	return e->code == ERR_BUSY || (e->code == ERR_UNAVAILABLE && service_runs(s->config));
}

static int
session_open(struct session *s, struct err *e)
{
	const struct timespec pause = {0, BUSY_PAUSE_NS};
	int64_t give_up_us = clock_mono_us() + BUSY_PATIENCE_US;
	int rc;

	for (;;) {
		if ((rc = open_keeper(s, e)) != 0)
			return rc == 1 ? 0 : -1;
		if (open_alone(s, e) == 0)
			return 0;
		if (!may_come(s, e) || clock_mono_us() >= give_up_us)
			break;
		(void)nanosleep(&pause, NULL);
	}
	as_unavailable(e);
	if (e->code == ERR_SYSTEM && !may_own(s->config))
		return err_wrap(e,
		    "no keeper is running, and without one this needs root or the user %s",
		    s->config->user);
	return -1;
}

cJSON *
session_call(struct session *s, enum session_kind kind, const cJSON *request, struct err *e)
{
	struct err why = {0};
	cJSON *result;

	/* Errors are told apart by their code, so they are gathered in an object that is surely
	 * there. */
	if (s->fd == -1 && session_open(s, &why) == -1)
		result = NULL;
	else
		result = call(s, kind, request, &why);
	if (result == NULL && e != NULL)
		*e = why;
	return result;
}

int
session_call_keeper(
    struct session *s, enum session_kind kind, const cJSON *request, cJSON **result, struct err *e)
{
	struct err why = {0};
	int rc = 1;

	*result = NULL;
	if (s->fd == -1)
		rc = open_keeper(s, &why);
	if (rc == 1 && (*result = call(s, kind, request, &why)) == NULL)
		rc = -1;
	if (rc == -1 && e != NULL)
		*e = why;
	return rc;
}
