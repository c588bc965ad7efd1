/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey audit --follow: what there is, then what comes, until a signal or until nobody reads it.
 *
 * It asks again and again; the keeper knows nothing of it and may come and go.  With no keeper the
 * store is looked at less often, for each look opens it; and not just after a keeper has gone,
 * whose successor wants it.
 *
 * Invariants: an entry is printed once, whole, and at once; no state of the store but a refusal
 * ends it, once it has begun.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "apikey/audit.h"
#include "apikey/output.h"
#include "base/clock.h"

#define LAST 10	    /* entries to begin with, unless --since says from when */
#define LAST_OF 200 /* with --key: those among so many */
#define PAUSE_MS 250
#define ALONE_PAUSE_MS 2000
#define SUCCESSOR_US (10 * CLOCK_SECOND)

static volatile sig_atomic_t stopped;

static void
on_signal(int signo)
{
	(void)signo;
	stopped = 1;
}

struct following {
	struct tool *tool;
	cJSON *request;
	FILE *stream; /* what a page prints */
	char *text;
	size_t len;
	struct table *table;
	int64_t keeper_us; /* when one answered last, CLOCK_MONOTONIC; 0: never */
	int begun, alone, silent;
};

/* A second signal ends it in any case. */
static void
catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL);
}

/* 1 when it is over: a signal, or nobody reads. */
static int
pause_is_over(const struct following *f)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	if (!stopped && poll(&out, 1, f->alone ? ALONE_PAUSE_MS : PAUSE_MS) == 1 &&
	    (out.revents & (POLLERR | POLLNVAL)) != 0)
		return 1;
	return stopped;
}

static int
print_page(struct following *f, const cJSON *page, struct err *e)
{
	const cJSON *entry;

	rewind(f->stream);
	cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(page, "entries"))
	{
		if (!f->tool->json)
			audit_row(f->table, entry);
		else if (output_json_stream(f->stream, entry, e) != 0)
			return -1;
	}
	if (table_flush(f->table) != 0 || fflush(f->stream) == EOF)
		return err_set(e, ERR_SYSTEM, "out of memory");
	return output_bytes(f->text, f->len, e);
}

/* From now on what comes behind this page; 1 when there is some already. */
static int
go_on(struct following *f, const cJSON *page, struct err *e)
{
	const cJSON *last = cJSON_GetObjectItemCaseSensitive(page, "last");

	if (!cJSON_IsNumber(last))
		return err_set(e, ERR_INTERNAL, "the keeper's list does not go on");
	cJSON_DeleteItemFromObjectCaseSensitive(f->request, "since");
	cJSON_DeleteItemFromObjectCaseSensitive(f->request, "last");
	cJSON_DeleteItemFromObjectCaseSensitive(f->request, "after");
	cJSON_AddNumberToObject(f->request, "after", last->valuedouble);
	return cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(page, "next"));
}

/* A page of the keeper, or of the store: NULL and ERR_NONE when it is not the time to open that. */
static cJSON *
ask(struct following *f, struct err *e)
{
	struct session *s = f->tool->session;
	cJSON *page = NULL;

	if (session_call_keeper(s, SESSION_READS, f->request, &page, e) != 0) {
		f->alone = 0;
		if (page != NULL)
			f->keeper_us = clock_mono_us();
		return page;
	}
	if (f->keeper_us != 0 && clock_mono_us() - f->keeper_us < SUCCESSOR_US)
		return NULL;
	f->alone = 1;
	page = session_call(s, SESSION_READS, f->request, e);
	session_rest(s);
	return page;
}

/* The store does not answer: is that the end? */
static int
forgive(struct following *f, const struct err *why)
{
	if (!f->begun || why->code == ERR_DENIED || why->code == ERR_INPUT ||
	    why->code == ERR_USAGE)
		return -1;
	session_hang_up(f->tool->session);
	if (!f->silent && why->code != ERR_NONE)
		fprintf(stderr, "apikey: audit: waiting: %s\n", why->msg);
	f->silent |= why->code != ERR_NONE;
	return 0;
}

/* 1 there is more at once, 0, -1. */
static int
step(struct following *f, struct err *e)
{
	struct err why = {0};
	cJSON *page = ask(f, &why);
	int rc;

	if (page == NULL) {
		if (stopped || forgive(f, &why) == 0)
			return 0;
		*e = why;
		return -1;
	}
	f->begun = 1;
	f->silent = 0;
	rc = print_page(f, page, e) == 0 ? go_on(f, page, e) : -1;
	cJSON_Delete(page);
	return rc;
}

static int
begin(struct following *f, const cJSON *filters)
{
	int of_key = cJSON_HasObjectItem(filters, "key");

	if ((f->request = cJSON_Duplicate(filters, 1)) == NULL ||
	    (f->stream = open_memstream(&f->text, &f->len)) == NULL)
		return -1;
	if (!cJSON_HasObjectItem(filters, "since"))
		cJSON_AddNumberToObject(f->request, "last", of_key ? LAST_OF : LAST);
	f->table = table_new(f->stream, &f->tool->term, audit_columns, AUDIT_COLUMNS);
	return f->table != NULL && cJSON_AddStringToObject(f->request, "op", "audit.list") != NULL
		   ? 0
		   : -1;
}

int
audit_follow(struct tool *t, cJSON *filters, struct err *e)
{
	struct following f = {.tool = t};
	int rc = 0;

	if (begin(&f, filters) != 0)
		rc = err_set(e, ERR_SYSTEM, "out of memory");
	catch_signals();
	while (rc >= 0 && !stopped) {
		rc = step(&f, e);
		if (rc == 0 && pause_is_over(&f))
			break;
	}
	table_free(&f.table);
	if (f.stream != NULL)
		(void)fclose(f.stream);
	free(f.text);
	cJSON_Delete(f.request);
	return rc < 0 ? -1 : TOOL_DONE;
}
