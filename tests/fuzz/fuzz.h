/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_FUZZ_FUZZ_H_
#define TESTS_FUZZ_FUZZ_H_

/*
 * A fuzz target is one function of bytes.  What it finds wrong aborts; so does what the sanitizers
 * find.  Linked with replay.c it is a test that replays its corpus and changes of it; linked by
 * clang with -fsanitize=fuzzer it is a fuzzer (HACKING.md "Fuzzing").
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define must(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* What fixtures of the unit tests say, without cmocka. */
#define assert_true(x) must(x)
#define assert_false(x) must(!(x))
#define assert_null(x) must((x) == NULL)
#define assert_non_null(x) must((x) != NULL)
#define assert_int_equal(a, b) must((a) == (b))
#define fail_msg(...)                                                                              \
	do {                                                                                       \
		fprintf(stderr, __VA_ARGS__);                                                      \
		abort();                                                                           \
	} while (0)

/* Takes ${n} bytes, or what is left, off the front. */
struct fuzz_bytes {
	const uint8_t *p;
	size_t n;
};

static inline struct fuzz_bytes
fuzz_take(struct fuzz_bytes *from, size_t n)
{
	struct fuzz_bytes b = {from->p, n < from->n ? n : from->n};

	from->p += b.n;
	from->n -= b.n;
	return b;
}

static inline uint64_t
fuzz_number(struct fuzz_bytes *from, size_t bytes)
{
	struct fuzz_bytes b = fuzz_take(from, bytes);
	uint64_t n = 0;

	for (size_t i = 0; i < b.n; i++)
		n = n << 8 | b.p[i];
	return n;
}

#endif /* !TESTS_FUZZ_FUZZ_H_ */
