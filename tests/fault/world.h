/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_FAULT_WORLD_H_
#define TESTS_FAULT_WORLD_H_

/*
 * A small store of which every record is known without reading it back, and what may be said of it
 * after a fault: each read is right, or an error.  "Not there" for what is there would be
 * `key_invalid` for a valid key, or a limit that forgot its units.
 *
 * Include behind store_fixture.h.
 */

#define WORLD_SECOND INT64_C(1000000)
#define WORLD_NOW (SLOG_EPOCH_US + 1000 * WORLD_SECOND)
#define WORLD_KEYS 240
#define WORLD_LOGS 40
#define WORLD_REVOKED 3 /* every so manieth key is, in a later batch */
#define WORLD_BIG 700	/* units of log 0: with blocks */

static const struct slog_limit world_limit = {UINT64_C(1000000), 86400 * WORLD_SECOND};

static inline void
world_log(char name[64], unsigned n)
{
	if (snprintf(name, 64, "kkey_%016uday", n) < 0)
		fail();
}

static inline uint64_t
world_units(unsigned log)
{
	return log == 0 ? WORLD_BIG : log + 1;
}

static inline int
step_world_take(struct fixture *f, const void *arg, struct err *e)
{
	unsigned log = *(const unsigned *)arg;
	char name[64];

	world_log(name, log);
	for (uint64_t i = 0; i < world_units(log); i++)
		if (store_log_take(
			f->s, span_of(name), &world_limit, WORLD_NOW + (int64_t)i, 1, e) != 0)
			return -1;
	return 0;
}

static inline int
step_world_plan(struct fixture *f, const void *arg, struct err *e)
{
	struct plan p = {.nlimits = 1, .created_us = 1, .changed_us = 1};

	if (span_copy(p.name, sizeof(p.name), span_of(arg)) != 0 ||
	    plan_limit_parse("day=1000000/1d", &p.limits[0], e) != 0)
		return -1;
	return store_plan_put(f->s, &p, e);
}

/* As key ${n} is at the end. */
static inline void
world_key(struct key *k, unsigned n, int done)
{
	key_make(k, n);
	if (done && n % WORLD_REVOKED == 0) {
		k->rec.state = KEYREC_REVOKED;
		k->rec.revoked_us = k->rec.created_us + 1;
	}
}

static inline int
step_world_key(struct fixture *f, const void *arg, struct err *e)
{
	unsigned n = *(const unsigned *)arg;
	struct store_audit a = {.when_us = n, .op = span_of("key.create")};
	struct key k;

	world_key(&k, n, 0);
	if (store_audit_append(f->s, &a, e) != 0)
		return -1;
	return store_key_insert(f->s, k.digest, &k.rec, e);
}

static inline int
step_world_revoke(struct fixture *f, const void *arg, struct err *e)
{
	unsigned n = *(const unsigned *)arg;
	struct key k;

	world_key(&k, n, 1);
	return store_key_update(f->s, k.digest, &k.rec, e);
}

static inline void
world_make(struct fixture *f)
{
	static const char *const plans[] = {"default", "plan-0", "plan-1"};

	for (unsigned i = 0; i < 3; i++)
		assert_batch(f, step_world_plan, plans[i]);
	for (unsigned n = 0; n < WORLD_KEYS; n++)
		assert_batch(f, step_world_key, &n);
	for (unsigned n = 0; n < WORLD_LOGS; n++)
		assert_batch(f, step_world_take, &n);
	for (unsigned n = 0; n < WORLD_KEYS; n += WORLD_REVOKED)
		assert_batch(f, step_world_revoke, &n);
}

/* ---- what it says of itself: NULL, or what it got wrong ---- */

#define WORLD_WRONG(...)                                                                           \
	do {                                                                                       \
		if (snprintf(wrong, sizeof(wrong), __VA_ARGS__) < 0)                               \
			wrong[0] = '?';                                                            \
		return wrong;                                                                      \
	} while (0)

static inline const char *
world_wrong_keys(struct fixture *f, unsigned *errors)
{
	static char wrong[200];
	static uint8_t buf[KEYREC_MAX];
	uint8_t digest[STORE_DIGEST_LEN];
	struct keyrec rec;
	struct key k;
	int rc;

	for (unsigned n = 0; n < WORLD_KEYS + 60; n++) {
		world_key(&k, n, 1);
		rc = store_key_get(f->s, k.digest, buf, &rec, &f->e);
		*errors += rc < 0;
		if (rc >= 0 && rc != (n < WORLD_KEYS))
			WORLD_WRONG("key %u: %s", n, rc == 1 ? "there" : "unknown");
		if (rc == 1 && (strcmp(rec.id, k.rec.id) != 0 || rec.state != k.rec.state ||
				   !span_eq(rec.plan, k.rec.plan)))
			WORLD_WRONG("key %u: another record", n);
		rc = store_key_find(f->s, span_of(k.rec.id), digest, &f->e);
		*errors += rc < 0;
		if (rc >= 0 && rc != (n < WORLD_KEYS))
			WORLD_WRONG("id %u: %s", n, rc == 1 ? "there" : "unknown");
		if (rc == 1 && memcmp(digest, k.digest, sizeof(digest)) != 0)
			WORLD_WRONG("id %u: another digest", n);
	}
	return NULL;
}

static inline const char *
world_wrong_limits(struct fixture *f, unsigned *errors)
{
	static const char *const plans[] = {"default", "plan-0", "plan-1"};
	static char wrong[200];
	struct slog_state st;
	struct plan p;
	char name[64];
	int rc;

	for (unsigned i = 0; i < 3; i++) {
		rc = store_plan_get(f->s, span_of(plans[i]), &p, &f->e);
		*errors += rc < 0;
		if (rc == 0 || (rc == 1 && (p.nlimits != 1 || p.limits[0].max_units != 1000000)))
			WORLD_WRONG("plan %s: %s", plans[i], rc == 0 ? "unknown" : "another");
	}
	for (unsigned n = 0; n < WORLD_LOGS; n++) {
		world_log(name, n);
		rc = store_log_look(
		    f->s, span_of(name), &world_limit, WORLD_NOW + WORLD_SECOND, 0, &st, &f->e);
		*errors += rc < 0;
		if (rc >= 0 && st.used != world_units(n))
			WORLD_WRONG("limit log %u: %llu units of %llu", n,
			    (unsigned long long)st.used, (unsigned long long)world_units(n));
	}
	return NULL;
}

static inline int
world_count_key(
    void *cookie, const uint8_t digest[STORE_DIGEST_LEN], const struct keyrec *rec, struct err *e)
{
	(void)digest;
	(void)rec;
	(void)e;
	++*(unsigned *)cookie;
	return 0;
}

static inline int
world_count_audit(void *cookie, const struct store_audit *a, struct err *e)
{
	(void)e;
	*(unsigned *)cookie += a->when_us == *(unsigned *)cookie;
	return 0;
}

static inline const char *
world_wrong_lists(struct fixture *f, unsigned *errors)
{
	static char wrong[200];
	unsigned n = 0;
	int rc = store_keys_walk(f->s, span_of(""), world_count_key, &n, &f->e);

	*errors += rc < 0;
	if (rc == 0 && n != WORLD_KEYS)
		WORLD_WRONG("a list has %u keys", n);
	n = 0;
	rc = store_owner_walk(f->s, span_of("owner-1"), span_of(""), world_count_key, &n, &f->e);
	*errors += rc < 0;
	if (rc == 0 && n != WORLD_KEYS / 3)
		WORLD_WRONG("an owner has %u keys", n);
	n = 0;
	rc = store_audit_walk(f->s, 0, world_count_audit, &n, &f->e);
	*errors += rc < 0;
	if (rc == 0 && n != WORLD_KEYS)
		WORLD_WRONG("the audit trail has %u entries", n);
	return NULL;
}

/* All of it, in an order in which what is damaged is met late: an error stops the store. */
static inline const char *
world_wrong(struct fixture *f, unsigned *errors)
{
	const char *wrong;

	if ((wrong = world_wrong_limits(f, errors)) != NULL ||
	    (wrong = world_wrong_lists(f, errors)) != NULL)
		return wrong;
	return world_wrong_keys(f, errors);
}

#endif /* !TESTS_FAULT_WORLD_H_ */
