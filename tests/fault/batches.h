/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_FAULT_BATCHES_H_
#define TESTS_FAULT_BATCHES_H_

/*
 * Batches that touch everything a store has, numbered from 0, and the oracle: what a store holds
 * after so many of them.  Only whole batches, only the first ones, nothing else: then nothing was
 * lost, doubled or half done.
 *
 * Include behind store_fixture.h.
 */

#define SECOND INT64_C(1000000)
#define START (SLOG_EPOCH_US + 1000 * SECOND)
#define LOGS 4
#define UNITS 3
#define LIFE_US 80000	/* behind its first batch, at most */
#define WITH_KEY 5	/* every so many batches insert a key, and change it in the next three */
#define WITH_ROTATION 5 /* every so many rotate the secret of one more key */
#define WITH_IDLE 3	/* uses an idle log */
#define WITH_SWEEP 8	/* is followed by a sweep */
#define BEHIND 100 /* takes that records of logs may lack: so that they are written in between */

static const struct slog_limit limit = {UINT64_C(1000000000), 86400 * SECOND};

static unsigned
keys_in(uint64_t batches)
{
	return (unsigned)((batches + WITH_KEY - 1) / WITH_KEY);
}

static void
log_name(char name[64], unsigned n)
{
	if (snprintf(name, 64, "kkey_%016uday", n) < 0)
		fail();
}

/* ---- the writer ---- */

static int
take(struct fixture *f, unsigned log, int64_t now, struct err *e)
{
	char name[64];
	struct slog_state st;

	log_name(name, log);
	for (unsigned i = 0; i < UNITS; i++) {
		if (store_log_look(f->s, span_of(name), &limit, now, 1, &st, e) != 1 ||
		    store_log_take(f->s, span_of(name), &limit, now, 1, e) != 0)
			return -1;
	}
	return 0;
}

/* One unit long ago in a log of its own. */
static int
take_idle(struct fixture *f, uint64_t n, struct err *e)
{
	const struct slog_limit short_one = {10, SECOND};
	char name[64];

	log_name(name, 1000000 + (unsigned)n);
	return store_log_take(f->s, span_of(name), &short_one, START - 500 * SECOND, 1, e);
}

struct sweep {
	int64_t now_us;
	struct store_cursor cursor;
	int ended;
};

static int
step_sweep(struct fixture *f, const void *arg, struct err *e)
{
	struct sweep *w = (struct sweep *)(uintptr_t)arg;
	unsigned freed;
	int rc = store_logs_sweep(f->s, w->now_us, SECOND, 3, &w->cursor, &freed, e);

	w->ended = rc == 1;
	return rc < 0 ? -1 : 0;
}

/* A whole pass; 0 or -1. */
static int
sweep(struct fixture *f, uint64_t n)
{
	struct sweep w = {.now_us = START + (int64_t)n};

	while (!w.ended)
		if (batch(f, step_sweep, &w) != 0)
			return -1;
	return 0;
}

/* The key moves under the next pepper. */
static int
rehash(struct fixture *f, unsigned n, struct err *e)
{
	uint8_t to[STORE_DIGEST_LEN], buf[KEYREC_MAX];
	struct keyrec rec;
	struct key k;

	key_make(&k, n);
	if (store_key_get(f->s, k.digest, buf, &rec, e) != 1)
		return -1;
	memcpy(to, k.digest, sizeof(to));
	to[31] ^= 0xff;
	rec.pepper++;
	return store_key_rehash(f->s, k.digest, to, &rec, e);
}

/* Its owner goes off, or on again. */
static int
switch_owner(struct fixture *f, unsigned n, struct err *e)
{
	const struct store_stop stop = {.since_us = n};
	int rc = n % 2 == 0 ? store_owner_stop(f->s, span_of("moved"), &stop, e)
			    : store_owner_resume(f->s, span_of("moved"), e);

	return rc == 1 ? 0 : -1;
}

/* ---- one more key, whose secret is rotated ---- */

#define ROTATING 999999
#define ROTATING_PEPPER 7

/* Its secret number ${n}. */
static void
secret(uint8_t digest[STORE_DIGEST_LEN], uint64_t n)
{
	memset(digest, 0xee, STORE_DIGEST_LEN);
	memcpy(digest, &n, sizeof(n));
}

static int
make_rotating(struct fixture *f, struct err *e)
{
	struct key k;

	key_make(&k, ROTATING);
	k.rec.pepper = ROTATING_PEPPER;
	secret(k.digest, 0);
	return store_key_insert(f->s, k.digest, &k.rec, e);
}

/* To secret number ${n}. */
static int
rotate(struct fixture *f, uint64_t n, struct err *e)
{
	static uint8_t buf[KEYREC_MAX];
	uint8_t from[STORE_DIGEST_LEN], to[STORE_DIGEST_LEN];
	struct keyrec rec;

	secret(from, n - 1);
	secret(to, n);
	if (store_key_get(f->s, from, buf, &rec, e) != 1)
		return -1;
	rec.previous = from;
	rec.secret_us = START + (int64_t)n;
	rec.previous_until_us = rec.secret_us + SECOND;
	return store_key_rotate(f->s, from, to, &rec, e);
}

/* How often it was rotated in so many batches. */
static uint64_t
rotations_in(uint64_t batches)
{
	return batches < 3 ? 0 : (batches - 3) / WITH_ROTATION + 1;
}

/* After so many rotations. */
static uint64_t
remembered(uint64_t rotations)
{
	return rotations < STORE_OLD_SECRETS_MAX ? rotations : STORE_OLD_SECRETS_MAX;
}

/* After ${n} rotations: which secrets find it, and as what. */
static void
check_rotating(struct fixture *f, uint64_t n)
{
	static uint8_t buf[KEYREC_MAX];
	uint8_t digest[STORE_DIGEST_LEN];
	struct store_secrets under;
	struct store_match m;
	struct keyrec rec;

	assert_int_equal(store_secrets_get(f->s, ROTATING_PEPPER, &under, &f->e), 0);
	assert_int_equal(under.n[STORE_SECRET_LIVE], 1);
	assert_int_equal(under.n[STORE_SECRET_PREVIOUS], remembered(n));
	for (uint64_t old = 0; old <= n + 1 && old <= STORE_OLD_SECRETS_MAX + 2; old++) {
		uint64_t number = n + 1 - old;
		int known = old > 0 && old <= STORE_OLD_SECRETS_MAX + 1;

		secret(digest, number);
		assert_int_equal(store_key_match(f->s, digest, buf, &rec, &m, &f->e), known);
		if (known)
			assert_int_equal(m.which, old == 1   ? ROTATION_PRESENT
						  : old == 2 ? ROTATION_PREVIOUS
							     : ROTATION_OLDER);
	}
}

/* Batch ${n}: units in each log, an audit entry, its number in meta, sometimes a key or a change of
 * one. */
static int
step_batch(struct fixture *f, const void *arg, struct err *e)
{
	uint64_t n = *(const uint64_t *)arg;
	struct store_audit a = {.when_us = (int64_t)n, .op = span_of("test.batch")};
	struct key k;

	for (unsigned i = 0; i < LOGS; i++)
		if (take(f, i, START + (int64_t)n, e) != 0)
			return -1;
	if (n % WITH_IDLE == 0 && take_idle(f, n, e) != 0)
		return -1;
	if (store_audit_append(f->s, &a, e) != 0 ||
	    store_meta_put(f->s, "batch", &n, sizeof(n), e) != 0)
		return -1;
	if (n == 1 && make_rotating(f, e) != 0)
		return -1;
	if (n >= 2 && (n - 2) % WITH_ROTATION == 0 &&
	    rotate(f, (n - 2) / WITH_ROTATION + 1, e) != 0)
		return -1;
	if (n % WITH_KEY == 0) {
		key_make(&k, (unsigned)(n / WITH_KEY));
		return store_key_insert(f->s, k.digest, &k.rec, e);
	}
	if (n % WITH_KEY == 1) {
		key_make(&k, (unsigned)(n / WITH_KEY));
		k.rec.owner = span_of("moved");
		return store_key_update(f->s, k.digest, &k.rec, e);
	}
	if (n % WITH_KEY == 2)
		return rehash(f, (unsigned)(n / WITH_KEY), e);
	if (n % WITH_KEY == 3)
		return switch_owner(f, (unsigned)(n / WITH_KEY), e);
	return 0;
}

static uint64_t
batches_done(struct fixture *f)
{
	uint8_t buf[sizeof(uint64_t)];
	uint64_t n = 0;
	size_t len;
	int rc = store_meta_get(f->s, "batch", buf, sizeof(buf), &len, &f->e);

	if (rc == 0)
		return 0;
	assert_int_equal(rc, 1);
	assert_int_equal(len, sizeof(n));
	memcpy(&n, buf, sizeof(n));
	return n + 1;
}

/* ---- the oracle ---- */

static int
see(void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	(void)digest;
	(void)rec;
	(void)e;
	++*(uint64_t *)cookie;
	return 0;
}

static void
a_flaw(void *cookie, enum store_flaw flaw, uint64_t from, uint64_t to)
{
	(void)cookie;
	fail_msg("the audit trail: flaw %d from %llu to %llu", (int)flaw, (unsigned long long)from,
	    (unsigned long long)to);
}

/* No kill tears the chain of the audit trail, nor parts it from its head. */
static void
assert_chain(struct fixture *f)
{
	struct store_chain chain = {0};
	int more;

	do
		more = store_audit_verify(f->s, &chain, 1000, a_flaw, NULL, &f->e);
	while (more == 1);
	assert_int_equal(more, 0);
}

static int
see_audit(void *cookie, const struct store_audit *a, struct err *e)
{
	uint64_t *n = cookie;

	(void)e;
	assert_int_equal(a->seq, *n + 1);
	assert_int_equal(a->when_us, *n);
	++*n;
	return 0;
}

static uint64_t
records(struct fixture *f, enum store_db which)
{
	DB *db = f->s->dbs[which];
	uint64_t n;
	void *st;

	assert_int_equal(db->stat(db, NULL, &st, 0), 0);
	n = which == STORE_DB_KEYS ? ((DB_HASH_STAT *)st)->hash_ndata
				   : ((DB_BTREE_STAT *)st)->bt_ndata;
	free(st);
	return n;
}

static void
check_logs(struct fixture *f, uint64_t batches)
{
	uint64_t blocks = 0;

	for (unsigned i = 0; i < LOGS; i++) {
		char name[64];
		struct store_log_blocks b = {.store = f->s};
		struct slog_io io = store_log_io(&b);
		uint8_t head[SLOG_HEAD_MAX];
		struct slog_state st;
		struct slog L;
		size_t len;

		log_name(name, i);
		b.log = span_of(name);
		assert_int_equal(
		    store_log_look(f->s, b.log, &limit, START + (int64_t)batches, 1, &st, &f->e),
		    1);
		assert_int_equal(st.used, batches * UNITS);
		if (batches == 0)
			continue;
		/* The record, which lacks nothing any more. */
		assert_int_equal(
		    store_db_get(f->s, STORE_DB_LOGS, b.log, head, sizeof(head), &len, &f->e), 1);
		assert_int_equal(slog_load(&L, store_span(head, len), &f->e), 0);
		assert_int_equal(slog_newest_us(&L), START + (int64_t)batches - 1);
		for (blocks += L.end_block; L.end_block > L.first_block; L.end_block--) {
			uint8_t block[SLOG_BLOCK_BYTES];

			assert_int_equal(io.get(io.cookie, L.end_block - 1, block, &f->e), 0);
		}
	}
	assert_int_equal(records(f, STORE_DB_BLOCKS), blocks);
	assert_int_equal(f->s->now.counts.blocks, blocks);
	/* What was idle has gone, and nothing else. */
	assert_int_equal(f->s->now.counts.logs, batches > 0 ? LOGS : 0);
}

/* Of ${keys} keys the first ${moved} are under pepper 2. */
static void
check_secrets(struct fixture *f, uint64_t keys, uint64_t moved)
{
	struct store_secrets under;

	assert_int_equal(store_secrets_get(f->s, 1, &under, &f->e), 0);
	assert_int_equal(under.n[STORE_SECRET_LIVE], keys - moved);
	assert_int_equal(store_secrets_get(f->s, 2, &under, &f->e), 0);
	assert_int_equal(under.n[STORE_SECRET_LIVE], moved);
	for (unsigned i = 0; i < keys; i++) {
		uint8_t digest[STORE_DIGEST_LEN], buf[KEYREC_MAX];
		struct keyrec rec;
		struct key k;

		key_make(&k, i);
		assert_int_equal(store_key_find(f->s, span_of(k.rec.id), digest, &f->e), 1);
		assert_int_equal(store_key_get(f->s, digest, buf, &rec, &f->e), 1);
		assert_int_equal(rec.pepper, i < moved ? 2 : 1);
	}
}

static void
check_keys(struct fixture *f, uint64_t batches)
{
	const char *const owners[] = {"owner-0", "owner-1", "owner-2", "moved"};
	uint64_t keys = keys_in(batches) + (batches > 1), n = 0, rotations = rotations_in(batches);

	assert_int_equal(f->s->now.counts.keys, keys);
	assert_int_equal(records(f, STORE_DB_KEYS), keys + remembered(rotations));
	if (batches > 1)
		check_rotating(f, rotations);
	assert_int_equal(records(f, STORE_DB_IDS), keys);
	assert_int_equal(records(f, STORE_DB_OWNERS), keys);
	assert_int_equal(records(f, STORE_DB_PLAN_KEYS), keys);
	assert_int_equal(store_keys_walk(f->s, span_of(""), see, &n, &f->e), 0);
	assert_int_equal(n, keys);
	n = 0;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
		    store_owner_walk(f->s, span_of(owners[i]), span_of(""), see, &n, &f->e), 0);
	assert_int_equal(n, keys);
	check_secrets(f, keys_in(batches), (batches + WITH_KEY - 3) / WITH_KEY);
	assert_int_equal(store_owner_stopped(f->s, span_of("moved"), NULL, &f->e),
	    (batches + WITH_KEY - 4) / WITH_KEY % 2);
}

/* An open store has at least and at most so many whole batches; how many. */
static uint64_t
check(struct fixture *f, uint64_t least, uint64_t most)
{
	uint64_t batches, n = 0;

	batches = batches_done(f);
	assert_int_equal(store_logs_settle(f->s, &f->e), 0);
	assert_int_equal(records(f, STORE_DB_LOGS), f->s->now.counts.logs);
	assert_int_equal(sweep(f, batches), 0);
	if (batches < least || batches > most)
		fail_msg("%llu batches are stored, not %llu to %llu", (unsigned long long)batches,
		    (unsigned long long)least, (unsigned long long)most);
	check_logs(f, batches);
	check_keys(f, batches);
	assert_int_equal(store_audit_walk(f->s, 0, see_audit, &n, &f->e), 0);
	assert_chain(f);
	assert_int_equal(n, batches);
	return batches;
}

#endif /* !TESTS_FAULT_BATCHES_H_ */
