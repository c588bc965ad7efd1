/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Records of a dump that anybody may have written, put into a store: loading them and verifying the
 * store afterwards ends, with findings or without, and nothing of it is kept by a batch that is
 * aborted.  (Steps of: database, length of key, length of value, both.)
 */

#include "fuzz.h"
#include "../unit/keeper_fixture.h"

static struct kf *f;
static int known; /* findings of the store itself */

static void
end(void)
{
	void *state = f;

	(void)kf_teardown(&state);
}

static void
found(void *cookie, const char *what)
{
	must(what[0] != '\0');
	++*(int *)cookie;
}

static void
at(void *cookie, const char *database, uint64_t record)
{
	(void)cookie;
	(void)database;
	(void)record;
}

static int
verify(int *n, struct err *e)
{
	const struct store_verify with = {.found = found, .at = at, .cookie = n};

	*n = 0;
	return store_verify_records(f->store, &with, e);
}

static int
load(void *cookie, struct err *e)
{
	static const char *const dbs[] = {"meta", "keys", "ids", "owners", "plan_keys", "plans",
	    "logs", "blocks", "uses", "stopped", "audit", "nonsense"};
	struct fuzz_bytes *b = cookie;
	int n;

	while (b->n > 0) {
		const char *db = dbs[fuzz_number(b, 1) % (sizeof(dbs) / sizeof(dbs[0]))];
		size_t klen = fuzz_number(b, 1), vlen = fuzz_number(b, 2);
		struct fuzz_bytes k = fuzz_take(b, klen), v = fuzz_take(b, vlen);

		if (store_load(f->store, span_of(db), (struct span){(const char *)k.p, k.n},
			(struct span){(const char *)v.p, v.n}, e) != 0)
			return -1;
	}
	(void)!verify(&n, e);
	return err_set(e, ERR_INPUT, "taken back");
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_bytes b = {p, n};
	struct err e = {0};
	int now;

	if (f == NULL) {
		f = kf_make();
		kf_open(f);
		(void)atexit(end);
		must(verify(&known, &e) == 0);
	}
	must(store_batch(f->store, load, &b, &e) == -1);
	must(store_alive(f->store, &e) == 0);
	must(verify(&now, &e) == 0 && now == known);
	return 0;
}
