/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_UNIT_KEEPER_FIXTURE_H_
#define TESTS_UNIT_KEEPER_FIXTURE_H_

/*
 * The keeper's rules over a real store and real peppers, in a directory of its own below TMPDIR
 * that is gone after the test; the clocks are the test's.  Include behind cmocka.h.
 */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "keeper/decide.h"
#include "keeper/ops.h"
#include "keeper/peppers.h"
#include "keeper/trail.h"
#include "store/store.h"
#include "wire/wire.h"

#define T0 INT64_C(1800000000000000) /* a moment in 2027 */

struct kf {
	char top[200], state_dir[256], run_dir[256], pepper_file[256], prefix[8], default_plan[16];
	struct config config;
	struct store *store;
	struct peppers *peppers;
	struct decide *decide;
	struct ops ops;
	struct decide_times now;
	struct err e;
	char reply[WIRE_MESSAGE_MAX];
	int changed;
};

static inline int
kf_times(void *cookie, struct decide_times *t)
{
	*t = ((struct kf *)cookie)->now;
	return 0;
}

static inline void
kf_path(char *out, size_t cap, const char *top, const char *name)
{
	int n = snprintf(out, cap, "%s/%s", top, name);

	assert_true(n > 0 && (size_t)n < cap);
}

/* Directory, peppers and configuration; no store opened yet. */
static inline struct kf *
kf_make(void)
{
	const char *tmp = getenv("TMPDIR");
	struct kf *f = calloc(1, sizeof(*f));
	uint32_t version;

	assert_non_null(f);
	kf_path(f->top, sizeof(f->top), tmp != NULL ? tmp : "/tmp", "test-keeper.XXXXXX");
	assert_non_null(mkdtemp(f->top));
	kf_path(f->state_dir, sizeof(f->state_dir), f->top, "store");
	kf_path(f->run_dir, sizeof(f->run_dir), f->top, "run");
	kf_path(f->pepper_file, sizeof(f->pepper_file), f->top, "peppers");
	memcpy(f->prefix, "ak", 3);
	memcpy(f->default_plan, "default", 8);
	f->config.state_dir = f->state_dir;
	f->config.run_dir = f->run_dir;
	f->config.pepper_file = f->pepper_file;
	f->config.key_prefix = f->prefix;
	f->config.default_plan = f->default_plan;
	f->config.cache_bytes = UINT64_C(8) << 20;
	f->config.min_free_bytes = 4096;
	f->config.log_retention_us = CLOCK_SECOND;
	f->now = (struct decide_times){.wall_us = T0, .steady_us = T0};
	unsetenv("CREDENTIALS_DIRECTORY");
	json_init();
	log_open(LOG_TO_STDERR, LOG_LVL_ERROR, "test");
	assert_int_equal(
	    peppers_add(f->pepper_file, (unsigned)-1, (unsigned)-1, &version, &f->e), 0);
	return f;
}

static inline void
kf_open(struct kf *f)
{
	struct store_options o = {.dir = f->state_dir,
	    .cache_bytes = f->config.cache_bytes,
	    .min_free_bytes = f->config.min_free_bytes};

	if ((f->store = store_open(&o, &f->e)) == NULL ||
	    (f->peppers = peppers_load(f->pepper_file, &f->e)) == NULL ||
	    trail_open(f->store, &f->peppers, &f->e) != 0 ||
	    (f->decide = decide_new(f->store, f->peppers, f->prefix, &f->e)) == NULL)
		fail_msg("%s", f->e.msg);
	f->ops = (struct ops){.store = f->store,
	    .decide = f->decide,
	    .peppers = &f->peppers,
	    .config = &f->config,
	    .times = kf_times,
	    .cookie = f};
}

static inline void
kf_close(struct kf *f)
{
	decide_free(&f->decide);
	peppers_free(&f->peppers);
	store_close(&f->store);
}

static inline int
kf_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int
kf_setup(void **state)
{
	struct kf *f = kf_make();

	kf_open(f);
	*state = f;
	return 0;
}

static inline int
kf_teardown(void **state)
{
	struct kf *f = *state;

	kf_close(f);
	nftw(f->top, kf_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* ---- operations ---- */

/* The parsed reply to a request as this peer; the caller deletes it. */
static inline cJSON *
kf_ask_as(struct kf *f, const struct ops_peer *peer, const char *request)
{
	struct wbuf w;
	cJSON *reply;

	wbuf_init(&w, f->reply, sizeof(f->reply) - WIRE_HEADER);
	ops_run(&f->ops, peer, span_of(request), &w, &f->changed);
	assert_false(w.overflow);
	f->reply[w.len] = '\0';
	reply = json_parse_object(wbuf_view(&w), &f->e);
	if (reply == NULL)
		fail_msg("%s: %.*s", f->e.msg, (int)w.len, f->reply);
	return reply;
}

static inline cJSON *
kf_ask(struct kf *f, const char *request)
{
	struct ops_peer root = {.uid = 0, .pid = 1, .may_admin = 1};

	return kf_ask_as(f, &root, request);
}

/* The result of a request that must succeed; the caller deletes it. */
static inline cJSON *
kf_do(struct kf *f, const char *request)
{
	cJSON *reply = kf_ask(f, request), *result;

	if (!cJSON_IsTrue(cJSON_GetObjectItem(reply, "ok")))
		fail_msg("%s -> %s", request, json_str(reply, "message", NULL));
	result = cJSON_DetachItemFromObject(reply, "result");
	cJSON_Delete(reply);
	return result;
}

static inline void
kf_done(struct kf *f, const char *request)
{
	cJSON_Delete(kf_do(f, request));
}

/* A request that must fail with this code and these words. */
static inline void
kf_fails(struct kf *f, const char *request, const char *code, const char *words)
{
	cJSON *reply = kf_ask(f, request);
	const char *message = json_str(reply, "message", NULL);

	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(reply, "ok")));
	if (strcmp(json_str(reply, "error", NULL), code) != 0 || strstr(message, words) == NULL)
		fail_msg("%s -> %s: %s", request, json_str(reply, "error", NULL), message);
	assert_int_equal(f->changed, 0);
	cJSON_Delete(reply);
}

/* The whole audit trail, however many pages that takes: {"entries":[...]}; the caller deletes it.
 */
static inline cJSON *
kf_trail(struct kf *f)
{
	cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, "entries"), *one;
	int64_t next = 0;
	char request[64];

	do {
		cJSON *page;

		(void)snprintf(request, sizeof(request), "{\"op\":\"audit.list\",\"after\":%lld}",
		    (long long)next);
		page = kf_do(f, request);
		while ((one = cJSON_DetachItemFromArray(cJSON_GetObjectItem(page, "entries"), 0)) !=
		       NULL)
			cJSON_AddItemToArray(list, one);
		next = json_int(page, "next", 0, 0, INT64_MAX, NULL);
		cJSON_Delete(page);
	} while (next != 0);
	return all;
}

struct kf_key {
	char key[TOKEN_MAX + 1], id[TOKEN_ID_LEN + 1];
};

/* A key with these further members ("" or ",\"plan\":..."). */
static inline struct kf_key
kf_key(struct kf *f, const char *members)
{
	char request[1024];
	struct kf_key k;
	cJSON *r;

	(void)snprintf(
	    request, sizeof(request), "{\"op\":\"key.create\",\"owner\":\"acme\"%s}", members);
	r = kf_do(f, request);
	assert_int_equal(span_copy(k.key, sizeof(k.key), span_of(json_str(r, "key", NULL))), 0);
	assert_int_equal(span_copy(k.id, sizeof(k.id), span_of(json_str(r, "id", NULL))), 0);
	cJSON_Delete(r);
	return k;
}

/* An operation on a key by its id. */
static inline const char *
kf_on(const char *op, const char *id, const char *members)
{
	static char request[1024];

	(void)snprintf(
	    request, sizeof(request), "{\"op\":\"%s\",\"id\":\"%s\"%s}", op, id, members);
	return request;
}

/* A plan goes although keys use it, as no operation lets it. */
static inline int
kf_drop_in_batch(void *cookie, struct err *e)
{
	struct kf *f = cookie;

	return store_plan_del(f->store, span_of("gold"), e);
}

static inline void
kf_drop_gold(struct kf *f)
{
	if (store_batch(f->store, kf_drop_in_batch, f, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	decide_forget_plans(f->decide);
}

/* ---- checks ---- */

struct kf_batch {
	struct kf *f;
	const struct wire_check *check;
	struct wire_answer *answer;
	int wrote, fail_after;
};

static inline int
kf_in_batch(void *cookie, struct err *e)
{
	struct kf_batch *b = cookie;

	if (decide_check(b->f->decide, b->check, &b->f->now, b->answer, &b->wrote, e) != 0)
		return -1;
	return b->fail_after ? err_set(e, ERR_FULL, "as if the disk were full") : 0;
}

/* Decide in a batch of its own; *wrote may be NULL. */
static inline enum verdict
kf_decide(struct kf *f, const struct wire_check *check, struct wire_answer *answer, int *wrote)
{
	struct kf_batch b = {.f = f, .check = check, .answer = answer};

	if (store_batch(f->store, kf_in_batch, &b, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	decide_batch_end(f->decide, 1);
	if (wrote != NULL)
		*wrote = b.wrote;
	return answer->verdict;
}

static inline struct wire_check
kf_check(const struct kf_key *k)
{
	return (struct wire_check){.client = 1,
	    .seq = 1,
	    .cost = 1,
	    .credential = span_of(k->key),
	    .deadline_us = INT64_MAX};
}

static inline enum verdict
kf_verdict(struct kf *f, const struct kf_key *k)
{
	struct wire_check c = kf_check(k);
	struct wire_answer a;

	return kf_decide(f, &c, &a, NULL);
}

#endif /* !TESTS_UNIT_KEEPER_FIXTURE_H_ */
