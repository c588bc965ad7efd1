/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: whatever becomes of a plan, each limit goes on with the log that holds what it has counted,
 * and no two with the same.  Guards Invariant 2 (a window holds no more than N, over changes of the
 * plan).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/renames.h"

/* A plan from "a=10/60s b=5/1s", each perhaps with a wish: "a=10/60s:log". */
static struct plan
plan_of(const char *text)
{
	struct plan p = {.name = "p"};
	char copy[512], *word, *rest = copy, *wish;
	struct err e;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strtok_r(rest, " ", &rest)) != NULL) {
		if ((wish = strchr(word, ':')) != NULL)
			*wish++ = '\0';
		assert_int_equal(plan_limit_parse(word, &p.limits[p.nlimits], &e), 0);
		if (wish != NULL)
			(void)snprintf(
			    p.limits[p.nlimits].log, sizeof(p.limits[0].log), "%s", wish);
		p.nlimits++;
	}
	return p;
}

static struct renames
renames_of(const char *text)
{
	struct renames r = {0};
	char copy[512], *word, *rest = copy, *eq;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strtok_r(rest, " ", &rest)) != NULL) {
		assert_non_null(eq = strchr(word, '='));
		*eq = '\0';
		(void)snprintf(r.of[r.n].from, sizeof(r.of[0].from), "%s", word);
		(void)snprintf(r.of[r.n++].to, sizeof(r.of[0].to), "%s", eq + 1);
	}
	return r;
}

static void
assert_logs(const struct plan *p, const char *logs)
{
	char text[512] = "";
	struct err e;

	assert_int_equal(plan_check(p, &e), 0);
	for (size_t i = 0; i < p->nlimits; i++) {
		size_t at = strlen(text);

		(void)snprintf(text + at, sizeof(text) - at, "%s%s=%s", i == 0 ? "" : " ",
		    p->limits[i].name, p->limits[i].log);
	}
	assert_string_equal(text, logs);
}

/* ${p} becomes ${text}, with these renames asked for: then its logs, and the renames done. */
static void
set(struct plan *p, const char *text, const char *asked, const char *logs, const char *done)
{
	struct plan next = plan_of(text);
	struct renames r = renames_of(asked);
	char seen[512] = "";
	struct err e = {0};

	if (renames_settle(&next, p, &r, &e) != 0)
		fail_msg("%s", e.msg);
	assert_logs(&next, logs);
	for (size_t i = 0; i < r.n; i++) {
		size_t at = strlen(seen);

		(void)snprintf(seen + at, sizeof(seen) - at, "%s%s=%s", i == 0 ? "" : " ",
		    r.of[i].from, r.of[i].to);
	}
	assert_string_equal(seen, done);
	*p = next;
}

static void
a_rename_is_seen(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "minute=10/60s day=100/1d", "", "minute=minute day=day", "");
	set(&p, "min=10/60s day=100/1d", "", "min=minute day=day", "minute=min");
	/* Again, in another place, and in dry run. */
	set(&p, "day=100/1d m=10/60s", "", "day=day m=minute", "min=m");
	/* Both at once are told apart by their figures. */
	set(&p, "d=100/1d minute=10/60s", "", "d=day minute=minute", "day=d m=minute");
}

static void
what_is_not_plain_is_no_rename(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "a=10/60s", "", "a=a", "");
	set(&p, "b=11/60s", "", "b=b", ""); /* other figures */
	set(&p, "c=11/61s", "", "c=c", "");
	set(&p, "a=10/60s b=10/60s", "", "a=a b=b", "");
	set(&p, "c=10/60s", "", "c=c", ""); /* which of the two? */
	set(&p, "x=10/60s y=10/60s", "", "x=x y=y", "");
	set(&p, "x=10/60s y=10/60s z=10/60s", "", "x=x y=y z=z", ""); /* nothing is gone */
}

static void
a_rename_can_be_asked_for(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "a=10/60s b=10/60s", "", "a=a b=b", "");
	set(&p, "c=20/2h b=10/60s", "a=c", "c=a b=b", "a=c");
	/* The rest is recognised next to it: here b is the only one gone. */
	set(&p, "d=20/2h e=10/60s", "c=d", "d=a e=b", "c=d b=e");
	/* A chain and a swap. */
	set(&p, "e=20/2h f=10/60s", "d=e e=f", "e=a f=b", "d=e e=f");
	set(&p, "e=20/2h f=10/60s", "e=f f=e", "e=b f=a", "e=f f=e");
}

static void
what_is_no_rename_is_refused(void **unused)
{
	static const struct {
		const char *asked, *says;
	} bad[] = {
	    {"x=c", "no limit 'x'"},
	    {"a=x", "give the limit 'x' as well"},
	    {"a=b", "there is a limit 'b' already"},
	    {"b=c", "'b' is still there"},
	    {"a=c a=b", "twice"},
	    {"a=c b=c", "twice"},
	};
	struct plan p = {.name = "p"}, next;
	struct renames r;
	struct err e;

	(void)unused;
	set(&p, "a=10/60s b=10/60s", "", "a=a b=b", "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		next = plan_of("b=10/60s c=1/1s");
		r = renames_of(bad[i].asked);
		memset(&e, 0, sizeof(e));
		assert_int_equal(renames_settle(&next, &p, &r, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (strstr(e.msg, bad[i].says) == NULL)
			fail_msg("%s: %s", bad[i].asked, e.msg);
	}
}

static void
no_two_share_a_log(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "a=10/60s", "", "a=a", "");
	set(&p, "b=10/60s", "", "b=a", "a=b");
	/* Now another limit gets the name that the log has. */
	set(&p, "a=1/1s b=10/60s", "", "a=a~2 b=a", "");
	set(&p, "c=1/1s b=10/60s", "", "c=a~2 b=a", "a=c");
	set(&p, "a=7/7s b=10/60s c=1/1s", "", "a=a~3 b=a c=a~2", "");
}

static void
what_comes_back_finds_its_log(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "a=10/60s", "", "a=a", "");
	set(&p, "b=10/60s", "", "b=a", "a=b");
	set(&p, "", "", "", "");
	set(&p, "x=1/1s", "", "x=x", "");
	set(&p, "x=1/1s b=99/9s", "", "x=x b=a", "");
	/* Nothing that other plans do comes between. */
	set(&p, "x=1/1s", "", "x=x", "");
	set(&p, "b=99/9s x=1/1s:y", "", "b=a x=x", "");
	set(&p, "b=99/9s", "", "b=a", "");
	set(&p, "b=99/9s x=2/2s:y", "", "b=a x=x", "");
	set(&p, "b=99/9s", "", "b=a", "");
	/* Its log has gone on with another limit meanwhile. */
	set(&p, "a=2/2s", "", "a=a", "");
	set(&p, "a=2/2s b=99/9s", "", "a=a b=b", "");
}

/* As many as there is room for, the last ones first; a plan with all of them is still stored. */
static void
the_past_is_bounded(void **unused)
{
	struct plan p = {.name = "p"}, got;
	char text[64], log[64], done[64];
	uint8_t record[PLAN_RECORD_MAX];
	struct wbuf w;
	struct err e;

	(void)unused;
	set(&p, "old=5/1d", "", "old=old", "");
	for (int i = 0; i < 20; i++) {
		/* x is renamed, and goes. */
		(void)snprintf(text, sizeof(text), "x%d=%d/1s", i, i + 1);
		(void)snprintf(log, sizeof(log), "x%d=x%d", i, i);
		set(&p, text, "", log, "");
		(void)snprintf(text, sizeof(text), "y%d=%d/1s", i, i + 1);
		(void)snprintf(log, sizeof(log), "y%d=x%d", i, i);
		(void)snprintf(done, sizeof(done), "x%d=y%d", i, i);
		set(&p, text, "", log, done);
	}
	set(&p, "", "", "", "");
	assert_int_equal(p.npast, PLAN_LIMITS_MAX);
	assert_string_equal(p.past[0].name, "y19");
	assert_string_equal(p.past[0].log, "x19");
	assert_string_equal(p.past[7].name, "y12");
	wbuf_init(&w, record, sizeof(record));
	plan_encode(&p, &w);
	assert_int_equal(plan_decode((struct span){(char *)record, w.len}, &got, &e), 0);
	set(&got, "y12=1/1s y11=1/1s", "", "y12=x12 y11=y11", "");
}

/* What other plans call it is followed when nothing is nearer. */
static void
a_wish_is_granted_when_free(void **unused)
{
	struct plan p = {.name = "p"};

	(void)unused;
	set(&p, "min=10/60s:minute", "", "min=minute", "");
	set(&p, "min=10/60s:other", "", "min=minute", ""); /* it has its log */
	set(&p, "min=10/60s b=1/1s:minute", "", "min=minute b=b", "");
	set(&p, "m=10/60s:x b=1/1s", "", "m=minute b=b", "min=m");
	/* In whatever order they stand: another plan's b has the log a. */
	p = (struct plan){.name = "p"};
	set(&p, "a=3/3s b=4/4s:a", "", "a=a~2 b=a", "");
	p = (struct plan){.name = "p"};
	set(&p, "b=4/4s:a a=3/3s", "", "b=a a=a~2", "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_rename_is_seen),
	    cmocka_unit_test(what_is_not_plain_is_no_rename),
	    cmocka_unit_test(a_rename_can_be_asked_for),
	    cmocka_unit_test(what_is_no_rename_is_refused),
	    cmocka_unit_test(no_two_share_a_log),
	    cmocka_unit_test(what_comes_back_finds_its_log),
	    cmocka_unit_test(the_past_is_bounded),
	    cmocka_unit_test(a_wish_is_granted_when_free),
	};

	return cmocka_run_group_tests_name("renames", tests, NULL, NULL);
}
