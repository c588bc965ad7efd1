/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: until when a secret works and from when on its holder is told, at the very microseconds
 * where it changes; and the stored form of an older secret.  Guards Invariants 3 (a rotation
 * without a grace ends the old secret, whatever the clock does) and 6 (damage is not read as
 * something).
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alias.h"
#include "core/rotation.h"

#define T0 INT64_C(1800000000000000)
#define DAY ROTATION_DAY_US

static const struct keyrec sample = {.created_us = T0, .secret_us = T0 + DAY};
static const struct plan ninety = {.max_age_us = 90 * DAY};
static const struct plan strict = {.max_age_us = 90 * DAY, .max_age_deny = 1};

static void
judged(const struct keyrec *k, const struct plan *plan, enum rotation_secret which, int64_t now_us,
    enum rotation_verdict verdict, int64_t by_us)
{
	int64_t by = -1;

	assert_int_equal(rotation_judge(k, plan, which, now_us, &by), verdict);
	assert_int_equal(by, by_us);
}

static void
a_plan_wants_young_secrets(void **unused)
{
	int64_t due = T0 + 91 * DAY, warn = due - 14 * DAY;

	(void)unused;
	judged(&sample, NULL, ROTATION_PRESENT, due + 1, ROTATION_GOOD, 0);
	judged(&sample, &(struct plan){.max_age_deny = 1}, ROTATION_PRESENT, due + 1, ROTATION_GOOD,
	    0);
	judged(&sample, &ninety, ROTATION_PRESENT, warn - 1, ROTATION_GOOD, 0);
	judged(&sample, &ninety, ROTATION_PRESENT, warn, ROTATION_GOOD, due);
	judged(&sample, &ninety, ROTATION_PRESENT, due + 100 * DAY, ROTATION_GOOD, due);
	judged(&sample, &strict, ROTATION_PRESENT, warn - 1, ROTATION_GOOD, 0);
	judged(&sample, &strict, ROTATION_PRESENT, due - 1, ROTATION_GOOD, due);
	judged(&sample, &strict, ROTATION_PRESENT, due, ROTATION_TOO_OLD, due);
}

static void
a_key_is_as_old_as_its_secret(void **unused)
{
	struct keyrec k = sample;

	(void)unused;
	assert_int_equal(rotation_made_us(&k), T0 + DAY);
	k.secret_us = 0;
	assert_int_equal(rotation_made_us(&k), T0);
	assert_int_equal(rotation_due_us(&k, &ninety), T0 + 90 * DAY);
	assert_int_equal(rotation_due_us(&k, NULL), 0);
	assert_int_equal(rotation_is_due(&k, &ninety, T0 + 76 * DAY - 1), 0);
	assert_int_equal(rotation_is_due(&k, &ninety, T0 + 76 * DAY), 1);
	assert_int_equal(rotation_is_due(&k, NULL, INT64_MAX), 0);
	k.state = KEYREC_REVOKED;
	assert_int_equal(rotation_is_due(&k, &ninety, T0 + 100 * DAY), 0);
}

static void
old_secrets_work_for_their_grace(void **unused)
{
	struct keyrec k = sample;
	int64_t until = k.secret_us + DAY;

	(void)unused;
	k.previous_until_us = until;
	judged(&k, &strict, ROTATION_PREVIOUS, until - 1, ROTATION_GOOD, until);
	judged(&k, NULL, ROTATION_PREVIOUS, until, ROTATION_REPLACED, until);
	judged(&k, NULL, ROTATION_OLDER, until - 1, ROTATION_REPLACED, k.secret_us);
	/* The clock is set back behind a rotation without a grace: that one has ended all the same.
	 */
	k.previous_until_us = k.secret_us;
	judged(&k, NULL, ROTATION_PREVIOUS, k.secret_us, ROTATION_REPLACED, k.secret_us);
	judged(&k, NULL, ROTATION_PREVIOUS, T0 - 100 * DAY, ROTATION_REPLACED, k.secret_us);
}

static void
a_grace_ends_when_the_plan_says(void **unused)
{
	int64_t due = T0 + 91 * DAY;

	(void)unused;
	assert_int_equal(rotation_grace_until_us(&sample, NULL, T0, DAY), T0 + DAY);
	assert_int_equal(rotation_grace_until_us(&sample, &ninety, due - 1, DAY), due - 1 + DAY);
	assert_int_equal(rotation_grace_until_us(&sample, &strict, due - 9, DAY), due);
	assert_int_equal(rotation_grace_until_us(&sample, &strict, due + 9, DAY), due + 9);
	assert_int_equal(rotation_grace_until_us(&sample, NULL, T0, 0), T0);
}

/* ---- the stored form ---- */

static size_t
encode(const struct alias *a, uint8_t buf[ALIAS_MAX])
{
	struct wbuf w;

	wbuf_init(&w, buf, ALIAS_MAX);
	alias_encode(a, &w);
	assert_false(w.overflow);
	return w.len;
}

static struct alias
some_alias(int has_older)
{
	struct alias a = {.pepper = 7, .digest_of = KEYREC_OF_SHA256, .has_older = has_older};

	memcpy(a.id, "key_0123456789abcdef", TOKEN_ID_LEN);
	if (has_older)
		memset(a.older, 0xd7, sizeof(a.older));
	return a;
}

static void
aliases_come_back(void **unused)
{
	uint8_t buf[ALIAS_MAX + 1] = {0};
	struct alias a, b;
	struct err e;

	(void)unused;
	for (int older = 0; older < 2; older++) {
		size_t n;

		a = some_alias(older);
		n = encode(&a, buf);
		assert_true(alias_is((struct span){(char *)buf, n}));
		assert_int_equal(alias_decode((struct span){(char *)buf, n}, &b, &e), 0);
		assert_memory_equal(&a, &b, sizeof(a));
		assert_int_equal(alias_decode((struct span){(char *)buf, n + 1}, &b, &e), -1);
		for (size_t len = 0; len < n; len++) {
			char *cut = malloc(len + 1);

			assert_non_null(cut);
			memcpy(cut, buf, len);
			assert_int_equal(alias_decode((struct span){cut, len}, &b, &e), -1);
			assert_int_equal(b.pepper, 0);
			free(cut);
		}
	}
	assert_false(alias_is((struct span){NULL, 0}));
}

/* Whatever one byte is changed to: refused, or an alias that could have been stored; and never a
 * record, nor a record an alias. */
static void
damage_is_no_alias(void **unused)
{
	struct alias a = some_alias(1), b;
	uint8_t buf[ALIAS_MAX];
	size_t n = encode(&a, buf);
	struct keyrec rec;
	struct err e;

	(void)unused;
	assert_int_equal(keyrec_decode((struct span){(char *)buf, n}, &rec, &e), -1);
	for (size_t at = 0; at < n; at++) {
		uint8_t was = buf[at];

		for (int v = 0; v < 256; v++) {
			buf[at] = (uint8_t)v;
			if (alias_decode((struct span){(char *)buf, n}, &b, &e) != 0) {
				assert_true(e.code == ERR_CORRUPT || e.code == ERR_VERSION);
				continue;
			}
			assert_true(alias_is((struct span){(char *)buf, n}));
			assert_true(token_id_ok(span_of(b.id)));
			assert_true(b.pepper > 0 && b.digest_of < KEYREC_DIGESTS);
		}
		buf[at] = was;
	}
	for (int v = 0; v < 0x80; v++) {
		buf[0] = (uint8_t)v;
		assert_false(alias_is((struct span){(char *)buf, n}));
		assert_int_equal(alias_decode((struct span){(char *)buf, n}, &b, &e), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plan_wants_young_secrets),
	    cmocka_unit_test(a_key_is_as_old_as_its_secret),
	    cmocka_unit_test(old_secrets_work_for_their_grace),
	    cmocka_unit_test(a_grace_ends_when_the_plan_says),
	    cmocka_unit_test(aliases_come_back),
	    cmocka_unit_test(damage_is_no_alias),
	};

	return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
