/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: frame_scan lets libfcgi read a request only when it is complete and harmless, whatever
 * bytes come, and in whatever pieces; refusals and management records are answered well-formed.
 * Beside fixed cases, heads are mutated at random, and every one that is called ready is given to
 * libfcgi, which must read it without waiting for more. Guards Invariant 6 (no input crashes a
 * worker or is admitted by accident).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcgiapp.h>
#include <stdlib.h>

#include "fcgi/frame.h"
#include "http/params.h"
#include "rawfcgi.h"

static struct raw w, pairs;

static enum frame_result
scan(struct frame *f)
{
	struct frame local;
	enum frame_result rc;
	uint8_t *exact;

	/* In memory of exactly its size, so that a sanitizer sees any step behind the end. */
	exact = malloc(w.n + (w.n == 0));
	assert_non_null(exact);
	memcpy(exact, w.b, w.n);
	rc = frame_scan(exact, w.n, f == NULL ? &local : f);
	free(exact);
	return rc;
}

static void
start(int role, int keep)
{
	w.n = pairs.n = 0;
	raw_begin(&w, 7, role, keep);
}

static void
head(size_t record_max)
{
	raw_pair(&pairs, "REQUEST_METHOD", "GET");
	raw_pair(&pairs, "EMPTY", "");
	raw_pair(&pairs, "HTTP_X_API_KEY",
	    "a value that is longer than one hundred and twenty-seven bytes, so that its length "
	    "takes four bytes in "
	    "the encoding of name-value pairs of FastCGI");
	raw_params(&w, 7, &pairs, record_max);
}

static void
test_complete(void **state)
{
	struct frame f;
	size_t head_len;

	(void)state;
	start(1, 1);
	head(60000);
	head_len = w.n;
	assert_int_equal(scan(&f), FRAME_READY);
	assert_int_equal(f.request_id, 7);
	assert_int_equal(f.role, 1);
	assert_int_equal(f.keep_conn, 1);
	assert_int_equal(f.head_len, head_len);
	assert_int_equal(f.stdin_done, 0);

	raw_record(&w, 5, 7, "body", 4, 4);
	assert_int_equal(scan(&f), FRAME_READY);
	assert_int_equal(f.stdin_done, 0);
	raw_record(&w, 5, 7, NULL, 0, 8);
	assert_int_equal(scan(&f), FRAME_READY);
	assert_int_equal(f.stdin_done, 1);
	assert_int_equal(f.head_len, head_len);
	raw_bytes(&w, "\1", 1);
	assert_int_equal(scan(&f), FRAME_READY);
	assert_int_equal(f.stdin_done, 0);

	start(2, 0);
	head(60000);
	assert_int_equal(scan(&f), FRAME_READY);
	assert_int_equal(f.role, 2);
	assert_int_equal(f.keep_conn, 0);
}

/* A head may be cut anywhere, by the network or into records. */
static void
test_every_prefix(void **state)
{
	struct frame f;
	size_t all, record_max;

	(void)state;
	for (record_max = 1; record_max <= 64; record_max += 7) {
		start(1, 1);
		head(record_max);
		all = w.n;
		for (w.n = 0; w.n < all; w.n++)
			assert_int_equal(scan(&f), FRAME_MORE);
		w.n = all;
		assert_int_equal(scan(&f), FRAME_READY);
	}
}

static void
test_unknown_role(void **state)
{
	static const uint8_t want[] = {1, 3, 2, 1, 0, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0};
	uint8_t out[sizeof(want)];
	struct frame f;

	(void)state;
	start(3, 0); /* FILTER */
	assert_int_equal(scan(&f), FRAME_UNKNOWN_ROLE);
	assert_int_equal(f.request_id, 7);
	start(0, 0);
	assert_int_equal(scan(NULL), FRAME_UNKNOWN_ROLE);
	assert_int_equal(frame_unknown_role(513, out, sizeof(out)), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(frame_unknown_role(513, out, sizeof(out) - 1), 0);
}

static void
test_bad_orders(void **state)
{
	(void)state;
	w.n = 0;
	raw_bytes(&w, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_int_equal(scan(NULL), FRAME_BAD);
	w.n = 1;
	assert_int_equal(scan(NULL), FRAME_BAD);

	w.n = 0;
	raw_record(&w, 4, 7, NULL, 0, 0); /* PARAMS before BEGIN */
	assert_int_equal(scan(NULL), FRAME_BAD);
	w.n = 0;
	raw_begin(&w, 0, 1, 0);
	assert_int_equal(scan(NULL), FRAME_BAD);
	w.n = 0;
	raw_record(&w, 1, 7, "\0\1\0\0\0\0\0\0", 9, 0);
	assert_int_equal(scan(NULL), FRAME_BAD);

	start(1, 0);
	raw_record(&w, 2, 7, NULL, 0, 0); /* ABORT */
	assert_int_equal(scan(NULL), FRAME_BAD);
	start(1, 0);
	raw_begin(&w, 7, 1, 0);
	assert_int_equal(scan(NULL), FRAME_BAD);
	start(1, 0);
	raw_record(&w, 5, 7, NULL, 0, 0); /* STDIN before the params */
	assert_int_equal(scan(NULL), FRAME_BAD);
	start(1, 0);
	raw_record(&w, 4, 8, NULL, 0, 0); /* another request's */
	assert_int_equal(scan(NULL), FRAME_BAD);
	start(1, 0);
	raw_record(&w, 9, 0, NULL, 0,
	    0); /* management within a head: libfcgi's answer to it is unbounded */
	assert_int_equal(scan(NULL), FRAME_BAD);
	start(1, 0);
	raw_bytes(&w, "\2", 1); /* another version */
	assert_int_equal(scan(NULL), FRAME_BAD);
}

static void
test_no_params(void **state)
{
	struct frame f;

	(void)state;
	start(1, 0);
	raw_params(&w, 7, &pairs, 60000);
	assert_int_equal(scan(&f), FRAME_READY);
}

static enum frame_result
scan_pair(const char *name, size_t name_len, const char *value, size_t value_len)
{
	start(1, 0);
	raw_pair_n(&pairs, name, name_len, value, value_len);
	raw_pair(&pairs, "LAST", "1");
	raw_params(&w, 7, &pairs, 5);
	return scan(NULL);
}

static void
test_strings_libfcgi_would_cut(void **state)
{
	(void)state;
	assert_int_equal(scan_pair("NAME", 4, "va=lue", 6), FRAME_READY);
	assert_int_equal(scan_pair("NAME", 4, "val\0ue", 6), FRAME_REFUSE);
	assert_int_equal(scan_pair("NAME", 4, "\0", 1), FRAME_REFUSE);
	assert_int_equal(scan_pair("NA\0ME", 5, "value", 5), FRAME_REFUSE);
	assert_int_equal(scan_pair("NAME=x", 6, "value", 5), FRAME_REFUSE);
}

/*
 * Wherever records end - between and within lengths of four bytes, names and values, empty ones too
 * - the answer is that of one record: a bad byte is bad in the last of them, a good pair is good.
 */
static void
test_records_that_end_anywhere(void **state)
{
	static const struct {
		const char *name;
		size_t name_len;
		const char *value;
		size_t value_len;
		enum frame_result result;
	} cases[] = {
	    {"NAME", 4, "value", 5, FRAME_READY},
	    {"NAME", 4, "", 0, FRAME_READY},
	    {"", 0, "value", 5, FRAME_READY},
	    {"", 0, "", 0, FRAME_READY},
	    {"NAME", 4, "=", 1, FRAME_READY},
	    {"NAM=", 4, "", 0, FRAME_REFUSE},
	    {"NAM\0", 4, "value", 5, FRAME_REFUSE},
	    {"NAME", 4, "valu\0", 5, FRAME_REFUSE},
	    {"NAME", 4, "\0alue", 5, FRAME_REFUSE},
	};
	char value[130];
	size_t i, record_max;

	(void)state;
	memset(value, 'v', sizeof(value));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (record_max = 1; record_max < 300; record_max++) {
			start(1, 0);
			raw_pair_n(&pairs, value, 127, value, 128);
			raw_pair_n(&pairs, cases[i].name, cases[i].name_len, cases[i].value,
			    cases[i].value_len);
			raw_params(&w, 7, &pairs, record_max);
			assert_int_equal(scan(NULL), cases[i].result);
		}
	/* One byte less than the lengths say, however it is cut. */
	for (record_max = 1; record_max < 300; record_max++) {
		start(1, 0);
		raw_pair_n(&pairs, "N", 1, value, 130);
		pairs.n--;
		raw_params(&w, 7, &pairs, record_max);
		assert_int_equal(scan(NULL), FRAME_BAD);
	}
}

static void
test_pairs_that_lie(void **state)
{
	size_t cut;

	(void)state;
	for (cut = 1; cut < 9; cut++) {
		start(1, 0);
		raw_pair(&pairs, "ABC", "DEFG");
		pairs.n -= cut;
		raw_params(&w, 7, &pairs, 60000);
		assert_int_equal(scan(NULL), FRAME_BAD);
	}
	start(1, 0);
	raw_bytes(&pairs, "\xff\xff\xff\xff\xff\xff\xff\xff", 8); /* two lengths of 2 GiB */
	raw_params(&w, 7, &pairs, 60000);
	assert_int_equal(scan(NULL), FRAME_REFUSE);
	start(1, 0);
	raw_bytes(&pairs, "\xff\xff\xff", 3);
	raw_params(&w, 7, &pairs, 60000);
	assert_int_equal(scan(NULL), FRAME_BAD);
}

static enum frame_result
scan_many(size_t n)
{
	start(1, 0);
	while (n-- > 0)
		raw_pair(&pairs, "N", "v");
	raw_params(&w, 7, &pairs, 60000);
	return scan(NULL);
}

static enum frame_result
scan_sum(size_t sum)
{
	static char value[PARAMS_VALUE_MAX];
	size_t n;

	memset(value, 'v', sizeof(value));
	start(1, 0);
	while (sum > 0) {
		n = sum < sizeof(value) + 1 ? sum : sizeof(value) + 1;
		raw_pair_n(&pairs, "N", 1, value, n - 1);
		sum -= n;
	}
	raw_params(&w, 7, &pairs, 60000);
	return scan(NULL);
}

static void
test_bounds(void **state)
{
	(void)state;
	assert_int_equal(scan_many(PARAMS_MAX), FRAME_READY);
	assert_int_equal(scan_many(PARAMS_MAX + 1), FRAME_REFUSE);
	assert_int_equal(scan_sum(PARAMS_BYTES_MAX), FRAME_READY);
	assert_int_equal(scan_sum(PARAMS_BYTES_MAX + 1), FRAME_REFUSE);
	/* What does not end within the bytes that are ever peeked. */
	start(1, 0);
	while (w.n < FRAME_PEEK_MAX)
		raw_record(&w, 4, 7, "\1\1ab", 4, 255);
	w.n = FRAME_PEEK_MAX - 1;
	assert_int_equal(scan(NULL), FRAME_MORE);
	w.n = FRAME_PEEK_MAX;
	assert_int_equal(scan(NULL), FRAME_REFUSE);
}

static void
test_param_of_a_part(void **state)
{
	const uint8_t *v;
	size_t len, all;

	(void)state;
	start(1, 0);
	raw_pair(&pairs, "A", "1");
	raw_pair(&pairs, "MODES", "no");
	raw_pair(&pairs, "MODE", "auth_request");
	raw_pair(&pairs, "REST", "rest");
	raw_params(&w, 7, &pairs, 60000);
	assert_int_equal(frame_param(w.b, w.n, "MODE", &v, &len), 1);
	assert_int_equal(len, 12);
	assert_memory_equal(v, "auth_request", 12);
	assert_int_equal(frame_param(w.b, w.n, "NONE", &v, &len), 0);
	assert_null(v);
	for (all = w.n, w.n = 0; w.n < all; w.n++) {
		if (frame_param(w.b, w.n, "MODE", &v, &len))
			assert_true(v + len <= w.b + w.n);
	}
	/* In two records its bytes are not in one place. */
	w.n = 0;
	raw_begin(&w, 7, 1, 0);
	raw_params(&w, 7, &pairs, 20);
	assert_int_equal(frame_param(w.b, w.n, "MODE", &v, &len), 0);
	assert_int_equal(frame_param(w.b, w.n, "A", &v, &len), 1);
	/* Empty, and the last that is there: as if it were not. */
	start(1, 0);
	raw_pair(&pairs, "MODE", "");
	raw_record(&w, 4, 7, pairs.b, pairs.n, 0);
	assert_int_equal(frame_param(w.b, w.n, "MODE", &v, &len), 0);
	raw_pair(&pairs, "A", "1");
	raw_params(&w, 7, &pairs, 60000);
	assert_int_equal(frame_param(w.b, w.n, "MODE", &v, &len), 1);
	assert_int_equal(len, 0);
}

static void
test_management(void **state)
{
	static const uint8_t want[] = "\1\12\0\0\0\x22\0\0"
				      "\16\4FCGI_MAX_CONNS1024"
				      "\17\1FCGI_MPXS_CONNS0";
	uint8_t out[FRAME_MANAGEMENT_MAX];
	struct frame f;
	size_t n;
	int i;

	(void)state;
	w.n = pairs.n = 0;
	raw_pair(&pairs, "FCGI_MPXS_CONNS", "");
	raw_pair(&pairs, "OTHER", "");
	for (i = 0; i < 100; i++) /* libfcgi writes one answer for each into 64 bytes */
		raw_pair(&pairs, "FCGI_MAX_CONNS", "");
	raw_record(&w, 9, 0, pairs.b, pairs.n, 3);
	n = w.n;
	w.n--;
	assert_int_equal(scan(&f), FRAME_MORE);
	w.n++;
	raw_begin(&w, 1, 1, 0);
	assert_int_equal(scan(&f), FRAME_MANAGEMENT);
	assert_int_equal(f.head_len, n);
	n = frame_management(w.b, f.head_len, out, sizeof(out));
	assert_int_equal(n, 8 + 20 + 18);
	assert_memory_equal(out + 8, want + 8, n - 8);
	assert_int_equal(out[1], 10);
	assert_int_equal(out[5], n - 8);
	assert_int_equal(frame_management(w.b, f.head_len, out, sizeof(out) - 1), 0);
	assert_int_equal(frame_management(w.b, f.head_len - 1, out, sizeof(out)), 0);

	w.n = 0;
	raw_record(&w, 9, 0, "\377\1A", 3, 0); /* malformed pairs */
	n = frame_management(w.b, w.n, out, sizeof(out));
	assert_int_equal(n, 8);
	w.n = 0;
	raw_record(&w, 77, 0, "x", 1, 0);
	assert_int_equal(scan(&f), FRAME_MANAGEMENT);
	n = frame_management(w.b, w.n, out, sizeof(out));
	assert_int_equal(n, 16);
	assert_int_equal(out[1], 11);
	assert_int_equal(out[8], 77);
}

static void
test_response(void **state)
{
	static uint8_t data[150000], out[160000];
	static char back[160000];
	int s[2];
	size_t n, got, i;

	(void)state;
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	for (n = 0; n < sizeof(data); n = n * 3 + 1) {
		size_t len = frame_response(513, data, n, out, sizeof(out));

		assert_true(len >= n + 24);
		assert_int_equal(frame_response(513, data, n, out, len - 1), 0);
		assert_int_equal(frame_response(513, data, n, out, len), len);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
		setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
		assert_int_equal(send(s[0], out, len, MSG_DONTWAIT), len);
		close(s[0]);
		got = raw_response(s[1], 513, back, sizeof(back));
		assert_int_equal(got, n);
		assert_memory_equal(back, data, n);
		raw_eof(s[1]);
		close(s[1]);
	}
}

/* What frame_scan calls ready is read by libfcgi at once: on a non-blocking socket, with nothing
 * more to come. */
static void
libfcgi_reads(const struct frame *f)
{
	struct frame again;
	FCGX_Request r;
	int s[2];
	size_t n = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	assert_int_equal(send(s[1], w.b, w.n, MSG_DONTWAIT), w.n);
	FCGX_InitRequest(&r, -1, FCGI_FAIL_ACCEPT_ON_INTR);
	r.ipcFd = s[0];
	r.keepConnection = r.detached = 1;
	assert_int_equal(FCGX_Accept_r(&r), 0);
	assert_int_equal(r.requestId, f->request_id);
	assert_int_equal(r.role, f->role);
	while (r.envp[n] != NULL)
		n++;
	assert_true(n <= PARAMS_MAX + 1);
	assert_int_equal(frame_scan(w.b, w.n, &again), FRAME_READY);
	FCGX_Free(&r, 0);
	close(s[0]);
	close(s[1]);
}

static void
test_mutations(void **state)
{
	struct frame f;
	unsigned seed = 20240607, ready = 0, other = 0;
	size_t i, k, at;

	(void)state;
	assert_int_equal(FCGX_Init(), 0);
	for (i = 0; i < 20000; i++) {
		seed = seed * 1664525 + 1013904223;
		start(1, 1);
		head(3 + (seed >> 8) % 50);
		if (seed & 0x40000)
			raw_record(&w, 5, 7, NULL, 0, 0);
		for (k = 0; k < 1 + i % 3; k++) {
			seed = seed * 1664525 + 1013904223;
			at = (seed >> 4) % w.n;
			if (i % 5 == 0)
				w.n = at;
			else
				w.b[at] = (uint8_t)(i % 2 ? seed >> 24
							  : (w.b[at] ^ 1u << (seed >> 28) % 8));
			if (w.n == 0)
				break;
		}
		if (scan(&f) == FRAME_READY) {
			libfcgi_reads(&f);
			ready++;
		} else {
			other++;
		}
	}
	assert_true(ready > 1000);
	assert_true(other > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_complete),
	    cmocka_unit_test(test_every_prefix),
	    cmocka_unit_test(test_unknown_role),
	    cmocka_unit_test(test_bad_orders),
	    cmocka_unit_test(test_no_params),
	    cmocka_unit_test(test_strings_libfcgi_would_cut),
	    cmocka_unit_test(test_records_that_end_anywhere),
	    cmocka_unit_test(test_pairs_that_lie),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_param_of_a_part),
	    cmocka_unit_test(test_management),
	    cmocka_unit_test(test_response),
	    cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
