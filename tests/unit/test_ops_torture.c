/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: whichever allocation of ours fails while an operation runs, it does all of what it says,
 * its reply whole and its audit record whole, or nothing.  Guards Invariants 3 and 5, and that no
 * restriction is lost on its way.
 *
 * Allocations of our own code and those that JSON makes; libdb's and libcrypto's are failed under
 * the real programs (tests/e2e/test_torture.py).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper_fixture.h"

/* ---- allocations, by the linker's --wrap ---- */

static unsigned long at, seen;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
char *__real_strdup(const char *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
char *__wrap_strdup(const char *);

/* The ${at}th from when it was set. */
static int
fails(void)
{
	return at != 0 && ++seen == at;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* ---- operations ---- */

static const struct torture {
	const char *op, *members; /* of the request; the key's id is added when ${on_key} */
	int on_key;
	const char *undo; /* a request that leaves something to do; NULL: there always is */
} operations[] = {
    {"key.create",
	",\"owner\":\"acme\",\"scopes\":[\"a:b\",\"c:*\"],\"allow_ips\":[\"10.0.0.0/8\"],"
	"\"methods\":[\"GET\"],\"meta\":{\"k\":\"v\"},\"expires\":\"2030-01-01T00:00:00Z\"",
	0, NULL},
    {"key.set", ",\"scopes\":[\"a:b\"],\"referrers\":[\"https://a.example\"]", 1, NULL},
    {"key.disable", "", 1, NULL},
    {"key.revoke", ",\"reason\":\"lost\"", 1, NULL},
    {"key.rotate", ",\"grace\":3600", 1, NULL},
    {"key.show", "", 1, NULL},
    {"key.check", ",\"ip\":\"192.0.2.1\",\"scopes\":[\"a:b\"]", 1, NULL},
    {"key.list", ",\"max\":3", 0, NULL},
    {"plan.set",
	",\"name\":\"gold\",\"limits\":[{\"name\":\"minute\",\"units\":5,\"window\":\"60s\"}],"
	"\"scopes\":[\"a:*\"]",
	0, "{\"op\":\"plan.remove\",\"name\":\"gold\"}"},
    {"plan.list", "", 0, NULL},
    {"owner.disable", ",\"owner\":\"acme\"", 0, "{\"op\":\"owner.enable\",\"owner\":\"acme\"}"},
    {"audit.list", ",\"max\":3", 0, NULL},
    {"db.stat", "", 0, NULL},
};

/* With the ${n}th allocation failing; parsing the reply is the test's. */
static cJSON *
run(struct kf *f, const struct torture *t, const char *id, unsigned long n)
{
	struct ops_peer root = {.uid = 0, .pid = 1, .may_admin = 1};
	char request[1024];
	struct wbuf w;
	cJSON *reply;
	int len = snprintf(request, sizeof(request), "{\"op\":\"%s\"%s%s%s%s}", t->op, t->members,
	    t->on_key ? ",\"id\":\"" : "", t->on_key ? id : "", t->on_key ? "\"" : "");

	assert_true(len > 0 && (size_t)len < sizeof(request));
	wbuf_init(&w, f->reply, sizeof(f->reply) - WIRE_HEADER);
	at = n;
	seen = 0;
	ops_run(&f->ops, &root, span_of(request), &w, &f->changed);
	at = 0;
	assert_false(w.overflow);
	if ((reply = json_parse_object(wbuf_view(&w), &f->e)) == NULL)
		fail_msg("%s, allocation %lu: %s", t->op, n, f->e.msg);
	return reply;
}

/* How much there is of a tree: what one reply has, its like has. */
static int
members_of(const cJSON *o)
{
	const cJSON *m;
	int n = 0;

	cJSON_ArrayForEach(m, o) n += 1 + members_of(m);
	return n;
}

struct trail {
	int entries, detail; /* members of what the newest tells */
};

static struct trail
trail_of(struct kf *f)
{
	cJSON *r = kf_do(f, "{\"op\":\"audit.list\",\"last\":1}"), *e;
	struct trail t = {0};

	e = cJSON_GetArrayItem(cJSON_GetObjectItem(r, "entries"), 0);
	if (e != NULL) {
		t.entries = (int)json_int(e, "seq", 0, 0, 1000000, NULL);
		t.detail = members_of(cJSON_GetObjectItem(e, "detail"));
	}
	cJSON_Delete(r);
	return t;
}

/* What an operation may have changed: the key, the plans, how many keys there are. */
static char *
state_of(struct kf *f, const struct kf_key *k)
{
	char *all = calloc(3, sizeof(f->reply));
	size_t len;
	cJSON *r;

	assert_non_null(all);
	kf_done(f, kf_on("key.show", k->id, ""));
	len = strlen(f->reply);
	memcpy(all, f->reply, len);
	kf_done(f, "{\"op\":\"plan.list\"}");
	memcpy(all + len, f->reply, strlen(f->reply));
	len += strlen(f->reply);
	r = kf_do(f, "{\"op\":\"db.stat\"}");
	assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(r, "keys")) > 0);
	(void)snprintf(all + len, 32, "%.0f", cJSON_GetNumberValue(cJSON_GetObjectItem(r, "keys")));
	cJSON_Delete(r);
	return all;
}

/* Lists grow with the test. */
static int
is_list(const struct torture *t)
{
	return strstr(t->op, ".list") != NULL || strcmp(t->op, "db.stat") == 0;
}

#define NONE 100000000 /* an allocation that is not made */

/* What an operation that nothing stood in the way of replies and tells. */
struct whole {
	int reply, told;
};

/* One reply, with what there was before. */
static void
judge(struct kf *f, const struct torture *t, const struct whole *whole, const cJSON *reply,
    struct trail before, const struct kf_key *k, const char *was)
{
	struct trail after = trail_of(f);
	char *now;

	if (cJSON_IsTrue(cJSON_GetObjectItem(reply, "ok"))) {
		if (!is_list(t))
			assert_int_equal(
			    members_of(cJSON_GetObjectItem(reply, "result")), whole->reply);
		if (after.entries > before.entries)
			assert_int_equal(after.detail, whole->told);
		return;
	}
	if (strcmp(json_str(reply, "error", NULL), "system") != 0)
		fail_msg("%s: %s", t->op, json_str(reply, "message", NULL));
	assert_int_equal(f->changed, 0);
	assert_int_equal(after.entries, before.entries);
	now = state_of(f, k);
	assert_string_equal(was, now);
	free(now);
}

/* 1, or 0 when the ${n}th is not made any more. */
static int
torture_one(struct kf *f, const struct torture *t, struct whole *whole, unsigned long n)
{
	struct kf_key k = kf_key(f, "");
	struct trail before;
	cJSON *reply;
	char *was;
	int made;

	if (t->undo != NULL)
		cJSON_Delete(kf_ask(f, t->undo));
	before = trail_of(f);
	was = state_of(f, &k);
	reply = run(f, t, k.id, n);
	made = seen >= n;

	if (n == NONE) {
		assert_true(cJSON_IsTrue(cJSON_GetObjectItem(reply, "ok")));
		whole->reply = members_of(cJSON_GetObjectItem(reply, "result"));
		whole->told = trail_of(f).detail;
	} else
		judge(f, t, whole, reply, before, &k, was);
	cJSON_Delete(reply);
	free(was);
	return made;
}

static void
torture(struct kf *f, const struct torture *t)
{
	struct whole whole;
	unsigned long n = 1;

	(void)torture_one(f, t, &whole, NONE);
	while (torture_one(f, t, &whole, n))
		n++;
	print_message("%s: %lu\n", t->op, n - 1);
	assert_true(n > 5);
}

static void
an_operation_is_whole_or_not_done(void **state)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		torture(*state, &operations[i]);
}

/* An item that no list could take is lost with the memory that had run out: cJSON does not tell. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		an_operation_is_whole_or_not_done, kf_setup, kf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
