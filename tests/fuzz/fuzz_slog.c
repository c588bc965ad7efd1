/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The sliding log against a list of (time, units): each step is a request of some cost at some time
 * under some limit, now and then stored and loaded.  What it says must be what counting says.
 */

#include "core/slog.h"

#include "fuzz.h"
#include "../unit/memlog.h"

#define STEPS_MAX 2000
#define UNITS_MAX 3000

struct taken {
	int64_t us;
	uint64_t units;
};

static struct taken list[STEPS_MAX];
static size_t n;

static uint64_t
counted(int64_t now_us, int64_t window_us)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i].us > now_us - window_us)
			sum += list[i].units;
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct fuzz_bytes b = {p, len};
	struct slog_limit limit;
	struct slog_state st;
	int64_t now_us = SLOG_EPOCH_US + INT64_C(1000000000000);
	struct memlog *m = memlog_new();
	struct slog log;
	struct err e;
	int fits;

	slog_init(&log);
	n = 0;
	limit.max_units = fuzz_number(&b, 2) % UNITS_MAX + 1;
	limit.window_us = (int64_t)(fuzz_number(&b, 2) + 1) * 1000;
	while (b.n > 0 && n < STEPS_MAX) {
		uint64_t how = fuzz_number(&b, 1),
			 cost = how % 4 == 3 ? fuzz_number(&b, 2) : how % 4;
		uint64_t used;

		now_us += (int64_t)(fuzz_number(&b, 1) * (how & 0x80 ? 100000 : 100));
		used = counted(now_us, limit.window_us);
		fits = slog_peek(&log, &limit, now_us, cost, &m->io, &st, &e);
		must(fits >= 0 && st.used == used);
		must(st.remaining == (used < limit.max_units ? limit.max_units - used : 0));
		must(fits == (used + cost <= limit.max_units));
		if (fits && cost > 0) {
			must(slog_take(&log, &limit, now_us, cost, &m->io, &e) == 0);
			memlog_commit(m, &log);
			list[n++] = (struct taken){now_us, cost};
		}
		if ((how & 0x40) && m->record_len > 0) {
			must(slog_load(&log, memlog_record(m), &e) == 0);
			if (slog_verify(&log, &m->io, &e) != 0)
				fail_msg("%s\n", e.msg);
		}
	}
	memlog_free(m);
	return 0;
}
