/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * All records of a store, one by one, and putting them into an empty one: what a dump is made of.
 *
 * Records are taken as they are: each begins with its version, and all numbers in them are
 * big-endian, so they mean the same on any machine and to any engine.  What they mean together is
 * verified behind a load (verify.c), not here.
 *
 * The journal and the small records (what counts the others) come last: a store that is loaded in
 * part, and opened again to go on, is then one that has records that nothing counts yet.
 */

#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

#define MARK_NAME "load"

static int
dump_db(
    struct store *s, int which, uint8_t *value, store_record_fn *fn, void *cookie, struct err *e)
{
	const char *name = store_db_specs[which].name;
	struct store_scan scan;
	int rc, answer = 0;

	rc = store_scan_open(&scan, s, (enum store_db)which, value, STORE_VALUE_MAX, e);
	if (rc == 0)
		/* A hash has no order, and no place to begin but its first. */
		rc = store_db_specs[which].type == DB_HASH ? store_scan_next(&scan, e)
							   : store_scan_seek(&scan, span_of(""), e);
	while (rc == 1) {
		answer =
		    fn(cookie, name, store_scan_key(&scan), store_span(value, scan.value_len), e);
		if (answer != 0)
			break;
		rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	return rc < 0 || answer != 0 ? -1 : 0;
}

int
store_dump(struct store *s, store_record_fn *fn, void *cookie, struct err *e)
{
	uint8_t *value = malloc(STORE_VALUE_MAX);
	int rc = 0;

	if (value == NULL)
		return err_sys(e, "dumping the store");
	for (int which = STORE_DB_META + 1; which < STORE_DBS && rc == 0; which++)
		if (which != STORE_DB_JOURNAL)
			rc = dump_db(s, which, value, fn, cookie, e);
	if (rc == 0)
		rc = dump_db(s, STORE_DB_JOURNAL, value, fn, cookie, e);
	if (rc == 0)
		rc = dump_db(s, STORE_DB_META, value, fn, cookie, e);
	free(value);
	return rc;
}

int
store_load(struct store *s, struct span db, struct span key, struct span value, struct err *e)
{
	for (int which = 0; which < STORE_DBS; which++) {
		if (!span_is(db, store_db_specs[which].name))
			continue;
		if (key.len == 0 || key.len > STORE_KEY_MAX || value.len > STORE_VALUE_MAX)
			return err_set(e, ERR_INPUT, "a record of database %s that is too large",
			    store_db_specs[which].name);
		return store_db_put(s, (enum store_db)which, key, value, e);
	}
	return err_set(e, ERR_INPUT, "there is no database of this name");
}

int
store_load_mark(struct store *s, const void *mark, size_t len, struct err *e)
{
	return store_meta_put(s, MARK_NAME, mark, len, e);
}

int
store_load_marked(struct store *s, void *mark, size_t cap, size_t *len, struct err *e)
{
	return store_meta_get(s, MARK_NAME, mark, cap, len, e);
}

int
store_load_unmark(struct store *s, struct err *e)
{
	return store_db_del(s, STORE_DB_META, span_of(MARK_NAME), e) < 0 ? -1 : 0;
}
