/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a command line becomes exactly the request that its table says, and a mistake becomes
 * ERR_USAGE that names the option, never a request.  Every kind of option is given a right and a
 * wrong value.
 *
 * Guards invariant 4 in part: an argument that holds a key is found, wherever in it the key stands.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "apikey/guard.h"
#include "apikey/options.h"
#include "base/clock.h"
#include "base/json.h"

/* 2026-11-21T12:00:00Z */
#define NOW_US (INT64_C(1795262400) * 1000000)

static const struct option_def own[] = {
    {.name = "text", .kind = OPTION_TEXT, .member = "text", .arg = "T", .required = 1},
    {.name = "name", .kind = OPTION_TEXT_OR_NONE, .member = "name", .arg = "N"},
    {.name = "env", .kind = OPTION_CHOICE, .member = "env", .arg = "E", .choices = "live|test"},
    {.name = "cost", .kind = OPTION_NUMBER, .member = "cost", .arg = "N", .max = 1000000},
    {.name = "expiring", .kind = OPTION_DURATION, .member = "expiring", .arg = "D"},
    {.name = "grace", .kind = OPTION_DURATION, .member = "grace", .arg = "D", .max = 7776000},
    {.name = "expires", .kind = OPTION_UNTIL, .member = "expires", .arg = "W"},
    {.name = "not-before", .kind = OPTION_FROM, .member = "not_before", .arg = "W"},
    {.name = "since", .kind = OPTION_SINCE, .member = "since", .arg = "W"},
    {.name = "ip", .kind = OPTION_ADDRESS, .member = "ip", .arg = "A"},
    {.name = "app", .kind = OPTION_TEXTS, .member = "apps", .arg = "A"},
    {.name = "scope", .kind = OPTION_SCOPES, .member = "scopes", .arg = "S"},
    {.name = "no-scopes", .kind = OPTION_NO_LIST, .member = "scopes"},
    {.name = "need", .kind = OPTION_NEEDED, .member = "need", .arg = "S"},
    {.name = "allow-ip", .kind = OPTION_NETWORKS, .member = "allow_ips", .arg = "C"},
    {.name = "referrer", .kind = OPTION_REFERRERS, .member = "referrers", .arg = "P"},
    {.name = "meta", .kind = OPTION_PAIRS, .member = "meta", .arg = "K=V"},
    {.name = "no-meta", .kind = OPTION_NO_MAP, .member = "meta"},
    {.name = "limit", .kind = OPTION_LIMITS, .member = "limits", .arg = "L"},
    {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG},
    {.name = "dry-run", .kind = OPTION_FLAG, .member = "dry_run"},
    {.name = "elsewhere", .letter = 'e', .kind = OPTION_REFUSED, .help = "look elsewhere"},
    {.name = NULL}};

static const struct option_def global[] = {
    {.name = "config", .letter = 'c', .kind = OPTION_PATH, .arg = "FILE"},
    {.name = "json", .kind = OPTION_FLAG}, {.name = NULL}};

static const struct option_operand one[] = {{"ID", "id", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand rest[] = {
    {"FIRST", "first", 0, 0}, {"REST", "rest", 1, 1}, {NULL, NULL, 0, 0}};

#define ARGS_MAX 24

/* Words of ${line}, split at blanks; '~' stands for a blank, '@' alone for an empty word. */
static int
split(char *line, char **argv)
{
	char *p = line, *q;
	int argc = 0;

	while (*p != '\0') {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = p;
		p += strcspn(p, " ");
		if (*p == ' ')
			*p++ = '\0';
		q = argv[argc - 1];
		if (strcmp(q, "@") == 0)
			*q = '\0';
		for (; *q != '\0'; q++) {
			if (*q == '~')
				*q = ' ';
		}
	}
	return argc;
}

/* Parse; the request as JSON text into ${out}. */
static int
parse(
    const char *words, const struct option_operand *operands, char *out, size_t cap, struct err *e)
{
	char line[1024], *argv[ARGS_MAX];
	struct options o;
	int argc, rc;

	memset(e, 0, sizeof(*e));
	assert_true((size_t)snprintf(line, sizeof(line), "%s", words) < sizeof(line));
	argc = split(line, argv);
	assert_int_equal(options_init(&o, NOW_US, e), 0);
	rc = options_rest(&o, own, global, operands, argc, argv, 0, e);
	out[0] = '\0';
	if (rc == 0)
		assert_true(json_print(o.request, out, cap) > 0);
	options_release(&o);
	return rc;
}

static void
expect(const char *words, const char *request)
{
	char out[4096];
	struct err e;

	if (parse(words, NULL, out, sizeof(out), &e) != 0)
		fail_msg("%s: %s", words, e.msg);
	assert_string_equal(out, request);
}

/* Refused, as usage, with these words in the message. */
static void
expect_refused(const char *words, const char *message)
{
	char out[4096];
	struct err e;

	if (parse(words, NULL, out, sizeof(out), &e) != -1)
		fail_msg("%s: accepted: %s", words, out);
	assert_int_equal(e.code, ERR_USAGE);
	if (strstr(e.msg, message) == NULL)
		fail_msg("%s: \"%s\" is not in: %s", words, message, e.msg);
}

static void
test_spellings(void **state)
{
	(void)state;
	expect("--text a", "{\"text\":\"a\"}");
	expect("--text=a", "{\"text\":\"a\"}");
	expect("--text=--b=c", "{\"text\":\"--b=c\"}");
	expect("--text -1", "{\"text\":\"-1\"}");
	expect("--text=a~b", "{\"text\":\"a b\"}");
	expect("--dry-run", "{\"dry_run\":true}");
	expect("--json --dry-run", "{\"dry_run\":true}");
	expect_refused("--text", "--text needs a value");
	expect_refused("--text --json", "--text=VALUE");
	expect_refused("--dry-run=1", "--dry-run takes no value");
	expect_refused("--text=", "--text: the value must not be empty");
	expect_refused("--tex a", "did you mean --text?");
	expect_refused("--jsn", "did you mean --json?");
	expect_refused("--frobnicate", "unknown option --frobnicate");
	expect_refused("--elsewhere", "no option here: look elsewhere");
	expect_refused("--elsewhere=x --text a", "no option here: look elsewhere");
	expect_refused("-e x", "--elsewhere is no option here");
	expect_refused("--elsewere", "unknown option --elsewere");
	expect_refused("-x", "unknown option -x");
	expect_refused("--text a --text b", "--text is given twice");
	expect_refused("stray", "unexpected argument: stray");
}

static void
test_kinds(void **state)
{
	(void)state;
	expect("--name @", "{\"name\":null}");
	expect("--name x", "{\"name\":\"x\"}");
	expect("--env test", "{\"env\":\"test\"}");
	expect_refused("--env tes", "live|test");
	expect_refused("--env live|test", "--env");
	expect("--cost 1000000", "{\"cost\":1000000}");
	expect("--cost 0", "{\"cost\":0}");
	expect_refused("--cost 1000001", "from 0 to 1000000");
	expect_refused("--cost -1", "--cost");
	expect_refused("--cost 1x", "--cost");
	expect("--expiring 14d", "{\"expiring\":1209600}");
	expect_refused("--expiring 14", "--expiring");
	expect("--ip 192.0.2.1", "{\"ip\":\"192.0.2.1\"}");
	expect_refused("--ip 192.0.2.0/24", "--ip");
	expect("--app a --app b", "{\"apps\":[\"a\",\"b\"]}");
	expect_refused("--app=", "--app");
	expect_refused("--text a\tb", "--text");
	expect_refused("--app a\033b", "--app");
	expect_refused("--text \xff", "--text");
}

static void
test_times(void **state)
{
	(void)state;
	expect("--expires 1d", "{\"expires\":\"2026-11-22T12:00:00Z\"}");
	expect("--expires 2027-01-31", "{\"expires\":\"2027-01-31T23:59:59Z\"}");
	expect("--expires 2027-01-31T08:00:00Z", "{\"expires\":\"2027-01-31T08:00:00Z\"}");
	expect("--expires 2027-01-31T08:00:00+02:00", "{\"expires\":\"2027-01-31T06:00:00Z\"}");
	expect("--expires never", "{\"expires\":null}");
	expect("--expires 2026-11-21", "{\"expires\":\"2026-11-21T23:59:59Z\"}");
	expect("--expires 1s", "{\"expires\":\"2026-11-21T12:00:01Z\"}");
	expect("--expires 2026-11-20", "{\"expires\":\"2026-11-20T23:59:59Z\"}");
	expect_refused("--expires soon", "--expires soon");
	expect_refused("--expires 2027-02-30", "--expires");
	expect("--grace 90d", "{\"grace\":7776000}");
	expect_refused("--grace 91d", "--grace 91d: at most 90d");
	expect("--not-before 1d", "{\"not_before\":\"2026-11-22T12:00:00Z\"}");
	expect("--not-before 2027-01-31", "{\"not_before\":\"2027-01-31T00:00:00Z\"}");
	expect("--not-before now", "{\"not_before\":null}");
	expect_refused("--not-before never", "--not-before never");
	expect("--since 2h", "{\"since\":\"2026-11-21T10:00:00Z\"}");
	expect("--since 2026-11-01", "{\"since\":\"2026-11-01T00:00:00Z\"}");
	expect("--since 2026-11-01T01:02:03Z", "{\"since\":\"2026-11-01T01:02:03Z\"}");
	expect("--since 60w", "{\"since\":\"2025-09-27T12:00:00Z\"}");
	expect("--since 5000w", "{\"since\":\"1970-01-01T00:00:00Z\"}");
	expect_refused("--since 99y", "--since 99y");
}

static void
test_lists(void **state)
{
	(void)state;
	expect("--scope a:b --scope a:*", "{\"scopes\":[\"a:b\",\"a:*\"]}");
	expect_refused("--scope a:b*c", "--scope a:b*c");
	expect_refused("--scope=", "--scope");
	expect("--no-scopes", "{\"scopes\":[]}");
	expect_refused("--allow-ip @/nowhere/at/all", "--allow-ip: /nowhere/at/all: ");
	expect_refused("--allow-ip @/dev/null", "/dev/null: there is no network in it");
	expect_refused("--allow-ip @/dev/zero", "/dev/zero:1: not an address");
	expect_refused("--no-scopes --scope a", "--no-scopes and --scope exclude each other");
	expect("--need a:b --need c", "{\"need\":\"a:b c\"}");
	expect_refused("--need a:*", "--need");
	expect_refused("--need a --need *", "--need *");
	expect("--allow-ip 10.0.0.0/8 --allow-ip 2001:db8::1",
	    "{\"allow_ips\":[\"10.0.0.0/8\",\"2001:db8::1\"]}");
	expect_refused("--allow-ip 10.0.0.1/8", "--allow-ip");
	expect("--referrer *.example.com", "{\"referrers\":[\"*.example.com\"]}");
	expect_refused("--referrer http://", "--referrer");
	expect("--meta a=1 --meta b=x=y --meta c=",
	    "{\"meta\":{\"a\":\"1\",\"b\":\"x=y\",\"c\":\"\"}}");
	expect_refused("--meta a", "NAME=VALUE");
	expect_refused("--meta =a", "NAME=VALUE");
	expect_refused("--meta a=1 --meta a=2", "twice");
	expect("--no-meta", "{\"meta\":{}}");
	expect("--limit minute=100/60s --limit day=5/1d",
	    "{\"limits\":[{\"name\":\"minute\",\"units\":100,\"window\":\"1m\"},"
	    "{\"name\":\"day\",\"units\":5,\"window\":\"1d\"}]}");
	expect_refused("--limit minute=100", "--limit minute=100");
	expect_refused("--limit minute=0x1/60s", "--limit");
	expect_refused("--limit a=1/1s --limit a=2/2s", "twice");
	expect_refused("--limit a=1/1s --limit b=1/1s --limit c=1/1s --limit d=1/1s --limit=e=1/1s "
		       "--limit=f=1/1s --limit=g=1/1s --limit=h=1/1s --limit=i=1/1s",
	    "--limit i=1/1s: a plan has at most 8 limits");
}

static void
test_operands(void **state)
{
	char out[512];
	struct err e;

	(void)state;
	assert_int_equal(parse("key_1 --text a", one, out, sizeof(out), &e), 0);
	assert_string_equal(out, "{\"id\":\"key_1\",\"text\":\"a\"}");
	assert_int_equal(parse("--text a -- --odd", one, out, sizeof(out), &e), 0);
	assert_string_equal(out, "{\"text\":\"a\",\"id\":\"--odd\"}");
	assert_int_equal(parse("-", one, out, sizeof(out), &e), 0);
	assert_string_equal(out, "{\"id\":\"-\"}");
	assert_int_equal(parse("a b", one, out, sizeof(out), &e), -1);
	assert_non_null(strstr(e.msg, "unexpected argument: b"));
	assert_int_equal(parse("@", one, out, sizeof(out), &e), -1);
	assert_non_null(strstr(e.msg, "ID"));
	assert_int_equal(parse("a\033[31m", one, out, sizeof(out), &e), -1);
	assert_int_equal(parse("a b c", rest, out, sizeof(out), &e), 0);
	assert_string_equal(out, "{\"first\":\"a\",\"rest\":[\"b\",\"c\"]}");
}

static void
test_complete(void **state)
{
	char text[] = "--text", a[] = "a", id[] = "x";
	char *argv[] = {text, a, id};
	struct err e = {0};
	struct options o;

	(void)state;
	assert_int_equal(options_init(&o, NOW_US, &e), 0);
	assert_int_equal(options_complete(&o, own, one, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_string_equal(e.msg, "ID is missing");
	assert_int_equal(options_complete(&o, own, rest + 1, &e), -1);
	assert_string_equal(e.msg, "--text T is missing");
	assert_int_equal(options_rest(&o, own, global, one, 3, argv, 0, &e), 0);
	assert_int_equal(options_complete(&o, own, one, &e), 0);
	assert_int_equal(options_complete(&o, NULL, NULL, &e), 0);
	options_release(&o);
}

static void
test_local(void **state)
{
	char q[] = "-q", c[] = "-c", file[] = "/etc/x", cx[] = "-cy";
	char *argv[] = {q, c, file}, *joined[] = {cx};
	struct err e = {0};
	struct options o;
	int i;

	(void)state;
	assert_int_equal(options_init(&o, NOW_US, &e), 0);
	assert_false(options_local(&o, "quiet"));
	for (i = 0; i < 3;)
		assert_int_equal(options_take(&o, own, global, 3, argv, &i, &e), 0);
	assert_int_equal(i, 3);
	assert_true(options_local(&o, "quiet"));
	assert_string_equal(options_local_text(&o, "config"), "/etc/x");
	assert_null(options_local_text(&o, "json"));
	assert_int_equal(cJSON_GetArraySize(o.request), 0);
	options_release(&o);

	assert_int_equal(options_init(&o, NOW_US, &e), 0);
	i = 0;
	assert_int_equal(options_take(&o, NULL, global, 1, joined, &i, &e), 0);
	assert_string_equal(options_local_text(&o, "config"), "y");
	options_release(&o);
}

static void
test_distance(void **state)
{
	(void)state;
	assert_int_equal(options_distance("", ""), 0);
	assert_int_equal(options_distance("owner", "owner"), 0);
	assert_int_equal(options_distance("ownr", "owner"), 1);
	assert_int_equal(options_distance("list", "lsit"), 2);
	assert_int_equal(options_distance("abc", ""), 3);
	assert_int_equal(options_distance("kitten", "sitting"), 3);
	assert_true(options_distance("an-option-name-of-more-than-32-letters", "a") > OPTIONS_NEAR);
}

#define RANDOM38 "0123456789abcdefghijABCDEFGHIJ01234567"

static void
test_guard(void **state)
{
	(void)state;
	assert_true(guard_has_key("ak_live_" RANDOM38));
	assert_true(guard_has_key("other_test_" RANDOM38));
	assert_true(guard_has_key("--name=ak_live_" RANDOM38));
	assert_true(guard_has_key("k=v ak_live_" RANDOM38 " and more"));
	assert_true(guard_has_key("__ak_live_" RANDOM38));
	assert_true(guard_has_key("_live_ak_live_" RANDOM38));
	assert_true(guard_has_key("AK9a1_live_" RANDOM38 "tail"));
	assert_false(guard_has_key(""));
	assert_false(guard_has_key("_"));
	assert_false(guard_has_key("key_0123456789abcdef"));
	assert_false(guard_has_key("ak_live_0123"));
	assert_false(guard_has_key("ak_prod_" RANDOM38));
	assert_false(guard_has_key("_live_" RANDOM38));
	assert_false(guard_has_key("99_live_" RANDOM38));
	assert_false(guard_has_key("ak_live_0123456789-bcdefghijABCDEFGHIJ01234567"));
}

#define STARS34 "**********************************"

static void
test_masking(void **state)
{
	char two[] = "x/ak_live_" RANDOM38 "_k9_test_" RANDOM38 "tail", none[] = "ak_live_0123";

	(void)state;
	guard_mask_keys(two);
	assert_string_equal(two, "x/ak_live_0123" STARS34 "_k9_test_0123" STARS34 "tail");
	guard_mask_keys(none);
	assert_string_equal(none, "ak_live_0123");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_spellings),
	    cmocka_unit_test(test_kinds),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_operands),
	    cmocka_unit_test(test_complete),
	    cmocka_unit_test(test_local),
	    cmocka_unit_test(test_distance),
	    cmocka_unit_test(test_guard),
	    cmocka_unit_test(test_masking),
	};

	json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
