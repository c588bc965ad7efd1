/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the writer never writes and the reader never reads outside its memory; the first overrun
 * is remembered and final; what was written is read back the same.  Guards invariant 6 (records and
 * messages, however malformed, crash nothing) and the order of keys that the store relies on.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void
round_trip(void **state)
{
	static const uint8_t expected[] = {0xab, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5,
	    6, 7, 8, 'x', 'y', 0, 3, 'a', 0, 'b', 0, 0};
	uint8_t mem[64];
	struct wbuf w;
	struct rbuf r;
	struct span s;

	(void)state;
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_u8(&w, 0xab);
	wbuf_u16(&w, 0x1234);
	wbuf_u32(&w, 0xdeadbeef);
	wbuf_u64(&w, UINT64_C(0x0102030405060708));
	wbuf_bytes(&w, "xy", 2);
	wbuf_str16(&w, (struct span){"a\0b", 3});
	wbuf_str16(&w, (struct span){NULL, 0});
	assert_false(w.overflow);
	s = wbuf_view(&w);
	assert_int_equal(s.len, sizeof(expected));
	assert_memory_equal(s.p, expected, sizeof(expected));

	rbuf_init(&r, s.p, s.len);
	assert_int_equal(rbuf_u8(&r), 0xab);
	assert_int_equal(rbuf_u16(&r), 0x1234);
	assert_int_equal(rbuf_u32(&r), 0xdeadbeef);
	assert_true(rbuf_u64(&r) == UINT64_C(0x0102030405060708));
	assert_memory_equal(rbuf_bytes(&r, 2), "xy", 2);
	assert_int_equal(rbuf_done(&r), -1);
	s = rbuf_str16(&r, 3);
	assert_true(span_eq(s, (struct span){"a\0b", 3}));
	s = rbuf_str16(&r, 0);
	assert_int_equal(s.len, 0);
	assert_int_equal(rbuf_done(&r), 0);
}

static void
integers_sort_as_bytes(void **state)
{
	static const uint64_t ascending[] = {0, 1, 255, 256, 0x7fffffff, 0x80000000,
	    UINT64_C(0x7fffffffffffffff), UINT64_C(0x8000000000000000), UINT64_MAX};
	uint8_t mem[2][8];
	struct wbuf w;
	size_t i;

	(void)state;
	for (i = 1; i < sizeof(ascending) / sizeof(ascending[0]); i++) {
		wbuf_init(&w, mem[0], 8);
		wbuf_u64(&w, ascending[i - 1]);
		wbuf_init(&w, mem[1], 8);
		wbuf_u64(&w, ascending[i]);
		assert_true(memcmp(mem[0], mem[1], 8) < 0);
	}
}

static void
texts(void **state)
{
	char mem[64];
	struct wbuf w;

	(void)state;
	wbuf_init(&w, mem, sizeof(mem));
	wbuf_str(&w, "n=");
	wbuf_dec(&w, 0);
	wbuf_u8(&w, ' ');
	wbuf_dec(&w, UINT64_MAX);
	wbuf_printf(&w, " %s%d", "x", -7);
	wbuf_str(&w, NULL);
	assert_string_equal(wbuf_cstr(&w), "n=0 18446744073709551615 x-7");
	assert_int_equal(w.len, strlen(mem));
	wbuf_reset(&w);
	wbuf_span(&w, span_of("again"));
	assert_string_equal(wbuf_cstr(&w), "again");
}

/* Where the number of digits changes, as the C library writes them. */
static void
decimals(void **state)
{
	uint64_t at = 1, around[] = {0, 1, 2};
	char mem[32], expected[32];
	struct wbuf w;
	size_t digits, i;

	(void)state;
	for (digits = 0; digits < 20; digits++, at *= 10) {
		around[0] = at - 1;
		around[1] = at;
		around[2] = at + 11;
		for (i = 0; i < 3; i++) {
			wbuf_init(&w, mem, sizeof(mem));
			wbuf_dec(&w, around[i]);
			snprintf(expected, sizeof(expected), "%" PRIu64, around[i]);
			assert_string_equal(wbuf_cstr(&w), expected);
		}
	}
}

/*
 * Every verb at every capacity: all or nothing, the byte behind the end untouched, and no way back.
 */
static void
overruns(void **state)
{
	size_t cap, verb, need;
	uint8_t mem[32];
	struct wbuf w;

	(void)state;
	for (verb = 0; verb < 9; verb++) {
		for (cap = 0; cap < 16; cap++) {
			memset(mem, 0xee, sizeof(mem));
			wbuf_init(&w, mem, cap);
			switch (verb) {
			case 0:
				wbuf_u8(&w, 1);
				need = 1;
				break;
			case 1:
				wbuf_u16(&w, 1);
				need = 2;
				break;
			case 2:
				wbuf_u32(&w, 1);
				need = 4;
				break;
			case 3:
				wbuf_u64(&w, 1);
				need = 8;
				break;
			case 4:
				wbuf_str(&w, "abcdef");
				need = 6;
				break;
			case 5:
				wbuf_str16(&w, span_of("abcdef"));
				need = 8;
				break;
			case 6:
				wbuf_dec(&w, 1234567);
				need = 7;
				break;
			case 7:
				wbuf_var(&w, UINT64_C(1) << 35);
				need = 6;
				break;
			default:
				wbuf_printf(&w, "%d", 123456);
				need = 7; /* with its NUL */
				break;
			}
			assert_int_equal(w.overflow, cap < need);
			assert_in_range(w.len, 0, cap);
			assert_int_equal(mem[cap], 0xee);
			if (!w.overflow)
				continue;
			wbuf_bytes(&w, "", 0);
			wbuf_printf(&w, "%s", "");
			assert_true(w.overflow);
			assert_null(wbuf_cstr(&w));
			assert_int_equal(mem[cap], 0xee);
		}
	}
}

static void
terminating_needs_room(void **state)
{
	uint8_t mem[4] = {0, 0, 0, 0xee};
	struct wbuf w;

	(void)state;
	wbuf_init(&w, mem, 3);
	wbuf_str(&w, "abc");
	assert_false(w.overflow);
	assert_null(wbuf_cstr(&w));
	assert_true(w.overflow);
	assert_int_equal(mem[3], 0xee);
	wbuf_reset(&w);
	assert_string_equal(wbuf_cstr(&w), "");
}

static void
too_long_for_its_length(void **state)
{
	size_t n = (size_t)UINT16_MAX + 1;
	uint8_t *in = calloc(1, n), *out = calloc(1, n + 2);
	struct wbuf w;

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	wbuf_init(&w, out, n + 2);
	wbuf_str16(&w, (struct span){(char *)in, n});
	assert_true(w.overflow);
	assert_int_equal(w.len, 0);
	wbuf_reset(&w);
	wbuf_str16(&w, (struct span){(char *)in, n - 1});
	assert_false(w.overflow);
	free(in);
	free(out);
}

/* Every verb on every length that is too short: zero, bad, and final. */
static void
underruns(void **state)
{
	size_t len, verb, need = 0;
	struct rbuf r;
	uint8_t *mem;
	uint64_t v = 0;

	(void)state;
	for (verb = 0; verb < 5; verb++) {
		for (len = 0; len < 12; len++) {
			mem = malloc(len == 0 ? 1 : len);
			assert_non_null(mem);
			memset(mem, 0xff, len);
			rbuf_init(&r, mem, len);
			switch (verb) {
			case 0:
				v = rbuf_u8(&r);
				need = 1;
				break;
			case 1:
				v = rbuf_u16(&r);
				need = 2;
				break;
			case 2:
				v = rbuf_u32(&r);
				need = 4;
				break;
			case 3:
				v = rbuf_u64(&r);
				need = 8;
				break;
			default:
				v = rbuf_bytes(&r, 5) != NULL;
				need = 5;
				break;
			}
			assert_int_equal(r.bad, len < need);
			assert_int_equal(v != 0, len >= need);
			if (len < need) {
				assert_int_equal(rbuf_u8(&r), 0);
				assert_null(rbuf_bytes(&r, 0));
				assert_int_equal(rbuf_done(&r), -1);
			} else {
				assert_int_equal(rbuf_done(&r), len == need ? 0 : -1);
			}
			free(mem);
		}
	}
}

static void
bounded_strings(void **state)
{
	static const uint8_t three[] = {0, 3, 'a', 'b', 'c'};
	struct rbuf r;
	struct span s;

	(void)state;
	rbuf_init(&r, three, sizeof(three));
	s = rbuf_str16(&r, 3);
	assert_true(span_is(s, "abc"));
	assert_int_equal(rbuf_done(&r), 0);

	rbuf_init(&r, three, sizeof(three));
	s = rbuf_str16(&r, 2);
	assert_int_equal(s.len, 0);
	assert_true(r.bad);

	rbuf_init(&r, three, sizeof(three) - 1);
	s = rbuf_str16(&r, 100);
	assert_int_equal(s.len, 0);
	assert_true(r.bad);

	rbuf_init(&r, three, 1);
	s = rbuf_str16(&r, 100);
	assert_int_equal(s.len, 0);
	assert_true(r.bad);
}

static void
reading_nothing(void **state)
{
	struct rbuf r;

	(void)state;
	rbuf_init(&r, NULL, 7);
	assert_non_null(rbuf_bytes(&r, 0));
	assert_int_equal(rbuf_done(&r), 0);
	assert_null(rbuf_bytes(&r, SIZE_MAX));
	assert_int_equal(rbuf_done(&r), -1);
}

static void
test_variable_lengths(void **state)
{
	static const struct {
		uint64_t v;
		size_t len;
	} good[] = {{0, 1}, {1, 1}, {127, 1}, {128, 2}, {16383, 2}, {16384, 3}, {UINT32_MAX, 5},
	    {UINT64_C(1) << 62, 9}, {UINT64_C(1) << 63, 10}, {UINT64_MAX, 10}};
	static const struct {
		uint8_t bytes[11];
		size_t len;
	} bad[] = {{{0x80}, 1}, {{0x80, 0}, 2}, {{0xff, 0x80, 0}, 3},
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, 10},
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}, 11}};
	uint8_t mem[16];
	struct wbuf w;
	struct rbuf r;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		wbuf_init(&w, mem, sizeof(mem));
		wbuf_var(&w, good[i].v);
		assert_int_equal(w.len, good[i].len);
		rbuf_init(&r, mem, w.len);
		assert_true(rbuf_var(&r) == good[i].v);
		assert_int_equal(rbuf_done(&r), 0);
		wbuf_init(&w, mem, good[i].len - 1);
		wbuf_var(&w, good[i].v);
		assert_true(w.overflow);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rbuf_init(&r, bad[i].bytes, bad[i].len);
		assert_true(rbuf_var(&r) == 0);
		assert_true(r.bad);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(integers_sort_as_bytes),
	    cmocka_unit_test(texts),
	    cmocka_unit_test(decimals),
	    cmocka_unit_test(overruns),
	    cmocka_unit_test(terminating_needs_room),
	    cmocka_unit_test(too_long_for_its_length),
	    cmocka_unit_test(underruns),
	    cmocka_unit_test(bounded_strings),
	    cmocka_unit_test(test_variable_lengths),
	    cmocka_unit_test(reading_nothing),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
