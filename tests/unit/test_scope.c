/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: a route's scopes are granted by exactly the held scopes that DESIGN.md says, and
 * malformed words neither grant nor are granted.  Guards Invariant 6 (nothing is admitted by
 * accident).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/scope.h"

static const struct {
	const char *text;
	int held, needed;
} words[] = {
    {"orders", 1, 1},
    {"orders:read", 1, 1},
    {"a:b:c:d", 1, 1},
    {"A-Z_0.9/x", 1, 1},
    {"*", 1, 0},
    {"orders:*", 1, 0},
    {"a:b:*", 1, 0},
    {"", 0, 0},
    {":", 0, 0},
    {"orders:", 0, 0},
    {":read", 0, 0},
    {"a::b", 0, 0},
    {"**", 0, 0},
    {"*:read", 1, 0},
    {"orders*", 1, 0},
    {"orders:r*", 1, 0},
    {"orders:*:x", 1, 0},
    {"o*:r*:x*", 1, 0},
    {"*:*", 1, 0},
    {"orders:*x", 0, 0},
    {"or*ders:read", 0, 0},
    {"*orders", 0, 0},
    {"orders:**", 0, 0},
    {"orders:r**", 0, 0},
    {"*:", 0, 0},
    {":*", 0, 0},
    {"*::read", 0, 0},
    {"orders read", 0, 0},
    {"orders\tread", 0, 0},
    {"orders\"", 0, 0},
    {"orders,read", 0, 0},
    {"orders\\", 0, 0},
    {"\xc3\xa4", 0, 0},
    /* 64 and 65 bytes. */
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1, 1},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 0},
};

static void
which_words(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_int_equal(scope_ok(span_of(words[i].text)), words[i].held);
		assert_int_equal(scope_needed_ok(span_of(words[i].text)), words[i].needed);
	}
	assert_false(scope_ok((struct span){"a\0b", 3}));
}

static const struct {
	const char *held, *needed;
	int granted;
} grants[] = {
    {"orders:read", "orders:read", 1},
    {"orders:read", "orders:write", 0},
    {"orders:read", "orders", 0},
    {"orders", "orders:read", 0},
    {"orders:read", "orders:rea", 0},
    {"orders:rea", "orders:read", 0},
    {"Orders:read", "orders:read", 0},
    {"orders:*", "orders:read", 1},
    {"orders:*", "orders:read:all", 1},
    {"orders:*", "orders", 0},
    {"orders:*", "ordersx:read", 0},
    {"orders:*", "order:read", 0},
    {"a:b:*", "a:b:c", 1},
    {"a:b:*", "a:c:b", 0},
    {"*", "orders", 1},
    {"*", "orders:read", 1},
    /* A star at the end of a segment stands for the rest of that segment alone. */
    {"orders:re*", "orders:read", 1},
    {"orders:re*", "orders:re", 1},
    {"orders:re*", "orders:r", 0},
    {"orders:re*", "orders:write", 0},
    {"orders:re*", "orders:read:all", 0},
    {"orders:re*", "orders", 0},
    {"orders*", "orders", 1},
    {"orders*", "orders2", 1},
    {"orders*", "order", 0},
    {"orders*", "orders:read", 0},
    {"ord*:read", "orders:read", 1},
    {"ord*:read", "orders:reader", 0},
    {"ord*:read", "orders", 0},
    {"ord*:read", "or:read", 0},
    {"*:read", "orders:read", 1},
    {"*:read", "orders:write", 0},
    {"*:read", "read", 0},
    {"*:read", "a:b:read", 0},
    {"*:*", "orders:read", 1},
    {"*:*", "orders:read:all", 1},
    {"*:*", "orders", 0},
    {"a:*:c", "a:b:c", 1},
    {"a:*:c", "a:b:c:d", 0},
    {"a:*:c", "a:c", 0},
    {"a:*:c*", "a:b:cd", 1},
    {"a:b*:*", "a:bc:d:e", 1},
    {"a:b*:*", "a:bc", 0},
    /* A star is never granted, and malformed words match nothing, not even themselves. */
    {"*", "*", 0},
    {"*", "orders:*", 0},
    {"orders:*", "orders:*", 0},
    {"orders:re*", "orders:re*", 0},
    {"*", "", 0},
    {"*", "orders:", 0},
    {"orders:*", "orders:", 0},
    {"", "", 0},
    {"", "orders", 0},
    {"a::b", "a::b", 0},
    {"or*ders", "orders", 0},
    {"orders:**", "orders:read", 0},
};

static void
which_grants(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(grants) / sizeof(grants[0]); i++)
		assert_int_equal(scope_grants(span_of(grants[i].held), span_of(grants[i].needed)),
		    grants[i].granted);
}

static int
all(const char *needed)
{
	const struct span held[] = {
	    {"orders:read", 11},
	    {"users:*", 7},
	    {"status", 6},
	};

	return scope_all_granted(held, 3, span_of(needed));
}

static void
all_are_needed(void **unused)
{
	const struct span star = {"*", 1};

	(void)unused;
	assert_true(all(""));
	assert_true(all("   "));
	assert_true(all("orders:read"));
	assert_true(all("  orders:read   users:write status "));
	assert_false(all("orders:read orders:write"));
	assert_false(all("orders:write orders:read"));
	assert_false(all("orders:read users:*"));
	assert_false(all("orders:read,status"));
	assert_true(scope_all_granted(NULL, 0, span_of("")));
	assert_true(scope_all_granted(NULL, 0, (struct span){NULL, 0}));
	assert_false(scope_all_granted(NULL, 0, span_of("status")));
	assert_true(scope_all_granted(&star, 1, span_of("a b c:d")));
	assert_false(scope_all_granted(&star, 1, span_of("a b c:*")));
}

static void
lists(void **unused)
{
	char many[2 * (SCOPE_COUNT_MAX + 1)];
	char longest[SCOPE_LIST_MAX + 1];

	(void)unused;
	assert_true(scope_needed_list_ok(span_of("")));
	assert_true(scope_needed_list_ok(span_of("  a  b:c ")));
	assert_false(scope_needed_list_ok(span_of("a b:*")));
	assert_false(scope_needed_list_ok(span_of("a\tb")));
	assert_false(scope_needed_list_ok(span_of("a b\n")));

	for (size_t i = 0; i < sizeof(many); i += 2)
		memcpy(many + i, "a ", 2);
	assert_true(scope_needed_list_ok((struct span){many, 2 * SCOPE_COUNT_MAX}));
	assert_false(scope_needed_list_ok((struct span){many, sizeof(many)}));

	memset(longest, ' ', sizeof(longest));
	longest[0] = 'a';
	assert_true(scope_needed_list_ok((struct span){longest, SCOPE_LIST_MAX}));
	assert_false(scope_needed_list_ok((struct span){longest, SCOPE_LIST_MAX + 1}));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(which_words),
	    cmocka_unit_test(which_grants),
	    cmocka_unit_test(all_are_needed),
	    cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("scope", tests, NULL, NULL);
}
