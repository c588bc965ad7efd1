/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Plans by name.
 *
 * Runs in the owner's main thread.  Whether a plan may be removed or changed while keys name it is
 * decided by the operations above; this file stores what it is given once plan_check lets it pass.
 *
 * Invariant: the record under a name is that plan's.
 */

#include <string.h>

#include "base/buf.h"
#include "store/internal.h"

static int
decode(struct store *s, struct span name, struct span bytes, struct plan *plan, struct err *e)
{
	int rc = plan_decode(bytes, plan, e);

	if (rc == 0 && !span_is(name, plan->name))
		rc = err_set(e, ERR_CORRUPT, "another plan's record: restore a backup");
	if (rc == 0)
		return 0;
	memset(plan, 0, sizeof(*plan));
	return err_wrap(e, "%s: database plans: plan %.*s", s->dir,
	    (int)(name.len < PLAN_NAME_MAX ? name.len : PLAN_NAME_MAX), name.p);
}

int
store_plan_get(struct store *s, struct span name, struct plan *plan, struct err *e)
{
	uint8_t buf[PLAN_RECORD_MAX];
	size_t len;
	int rc;

	memset(plan, 0, sizeof(*plan));
	if (name.len == 0 || name.len > PLAN_NAME_MAX)
		return 0;
	rc = store_db_get(s, STORE_DB_PLANS, name, buf, sizeof(buf), &len, e);
	if (rc <= 0)
		return rc;
	return decode(s, name, store_span(buf, len), plan, e) == 0 ? 1 : -1;
}

int
store_plan_put(struct store *s, const struct plan *plan, struct err *e)
{
	struct span name = span_of(plan->name), bytes;
	uint8_t buf[PLAN_RECORD_MAX];
	struct wbuf out;
	int rc;

	if (plan_check(plan, e) != 0)
		return -1;
	wbuf_init(&out, buf, sizeof(buf));
	plan_encode(plan, &out);
	if (out.overflow)
		return err_set(e, ERR_INTERNAL, "plan %s: its record is over %d bytes", plan->name,
		    PLAN_RECORD_MAX);
	bytes = wbuf_view(&out);
	store_windows_forget(s);
	if ((rc = store_db_insert(s, STORE_DB_PLANS, name, bytes, e)) == 0)
		return store_db_put(s, STORE_DB_PLANS, name, bytes, e);
	if (rc < 0)
		return -1;
	s->now.counts.plans++;
	return 0;
}

int
store_plan_del(struct store *s, struct span name, struct err *e)
{
	int rc = 0;

	store_windows_forget(s);
	if (name.len > 0 && name.len <= PLAN_NAME_MAX)
		rc = store_db_del(s, STORE_DB_PLANS, name, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no plan %.*s",
		    (int)(name.len < PLAN_NAME_MAX ? name.len : PLAN_NAME_MAX), name.p);
	s->now.counts.plans--;
	return 0;
}

int
store_plans_walk(struct store *s, store_plan_fn *fn, void *cookie, struct err *e)
{
	uint8_t buf[PLAN_RECORD_MAX];
	struct store_scan scan;
	struct plan plan;
	int rc, answer = 0;

	if ((rc = store_scan_open(&scan, s, STORE_DB_PLANS, buf, sizeof(buf), e)) == 0)
		rc = store_scan_seek(&scan, span_of(""), e);
	while (rc == 1) {
		rc = decode(s, store_scan_key(&scan), store_span(buf, scan.value_len), &plan, e);
		if (rc != 0 || (answer = fn(cookie, &plan, e)) != 0)
			break;
		rc = store_scan_next(&scan, e);
	}
	store_scan_close(&scan);
	return rc < 0 ? -1 : answer;
}
