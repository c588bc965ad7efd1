/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The housekeeping thread of the keeper.
 *
 * It shares with the loop only what is in struct housekeeper: tickets under the mutex, flags as
 * atomics. It touches no access method of the store, no connection and no record.
 *
 * Invariants: a ticket is reached only after a flush that began when the ticket was already given
 * out, so everything committed before housekeeper_ask is on disk then; an idle thread wakes once a
 * second; a failing fsync ends the process inside store_flush and is never tried again.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "keeper/housekeeper.h"

#include "base/clock.h"
#include "base/log.h"

#define FLUSH_EVERY_US 20000

struct housekeeper {
	struct store *store;
	int event_fd;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	uint64_t asked, flushed; /* under the mutex, like stop */
	int stop;
	atomic_int dirty, low_space;
	/* The thread's own: each failure is logged once. */
	int flush_failed, housekeep_failed, space_failed;
};

static void
report(int failed, int *before, const char *event, const struct err *e)
{
	if (failed && !*before)
		log_event(LOG_LVL_ERROR, event, "error", e->msg, NULL);
	*before = failed;
}

/* The once a second: may take as long as the disk does. */
static void
housekeep(struct housekeeper *h)
{
	struct err e = {0};
	uint64_t free_bytes = 0;
	int space, low;

	report(
	    store_housekeep(h->store, 0, &e) != 0, &h->housekeep_failed, "housekeeping_failed", &e);
	space = store_space(h->store, &free_bytes, &e);
	report(space < 0, &h->space_failed, "space_unknown", &e);
	if (space < 0)
		return;
	low = space == 0;
	if (atomic_exchange(&h->low_space, low) != low)
		log_event(low ? LOG_LVL_ERROR : LOG_LVL_INFO, low ? "space_low" : "space_enough",
		    "free_bytes", LOG_NUM(free_bytes), NULL);
}

/* Flush what is committed now, and checkpoint when that is due; called and left with the mutex
 * held. */
static void
flush(struct housekeeper *h)
{
	uint64_t ticket = h->asked, one = 1;
	int asked = ticket > h->flushed, rc;
	struct err e = {0};

	atomic_store(&h->dirty, 0);
	pthread_mutex_unlock(&h->mutex);
	rc = store_flush(h->store, &e);
	report(rc != 0, &h->flush_failed, "flush_failed", &e);
	pthread_mutex_lock(&h->mutex);
	if (rc != 0) {
		atomic_store(&h->dirty, 1);
		return;
	}
	h->flushed = ticket;
	if (asked && write(h->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event(LOG_LVL_ERROR, "eventfd_failed", NULL);
	/* What fails is tried again by housekeep(), once a second. */
	if (h->housekeep_failed)
		return;
	pthread_mutex_unlock(&h->mutex);
	if (store_checkpoint(h->store, 0, &e) != 0)
		report(1, &h->housekeep_failed, "housekeeping_failed", &e);
	pthread_mutex_lock(&h->mutex);
}

static void
wait_until(struct housekeeper *h, int64_t us)
{
	struct timespec at = {.tv_sec = us / CLOCK_SECOND, .tv_nsec = us % CLOCK_SECOND * 1000};

	/* Early or spurious wake-ups only make the loop look again. */
	(void)pthread_cond_timedwait(&h->wake, &h->mutex, &at);
}

static void *
run(void *cookie)
{
	struct housekeeper *h = cookie;
	int64_t flush_at_us = 0, second_us = 0;

	pthread_mutex_lock(&h->mutex);
	while (!h->stop) {
		int64_t now_us = clock_mono_us();
		int dirty = atomic_load(&h->dirty);

		/* What failed is tried again after a pause, asked for or not. */
		if ((h->asked > h->flushed && !h->flush_failed) ||
		    (dirty && now_us >= flush_at_us)) {
			flush(h);
			flush_at_us = clock_mono_us() + FLUSH_EVERY_US;
		} else if (now_us >= second_us) {
			pthread_mutex_unlock(&h->mutex);
			housekeep(h);
			pthread_mutex_lock(&h->mutex);
			second_us = now_us + CLOCK_SECOND;
		} else {
			wait_until(h, dirty && flush_at_us < second_us ? flush_at_us : second_us);
		}
	}
	pthread_mutex_unlock(&h->mutex);
	return NULL;
}

static int
make_condition(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int rc;

	if ((rc = pthread_condattr_init(&attr)) != 0)
		return rc;
	if ((rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC)) == 0)
		rc = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return rc;
}

struct housekeeper *
housekeeper_start(struct store *store, int event_fd, struct err *e)
{
	struct housekeeper *h = calloc(1, sizeof(*h));

	if (h == NULL)
		goto fail;
	h->store = store;
	h->event_fd = event_fd;
	atomic_init(&h->dirty, 0);
	atomic_init(&h->low_space, store_space(store, &(uint64_t){0}, NULL) == 0);
	if ((errno = pthread_mutex_init(&h->mutex, NULL)) != 0)
		goto fail;
	if ((errno = make_condition(&h->wake)) != 0)
		goto fail_mutex;
	if ((errno = pthread_create(&h->thread, NULL, run, h)) != 0)
		goto fail_cond;
	return h;

fail_cond:
	pthread_cond_destroy(&h->wake);
fail_mutex:
	pthread_mutex_destroy(&h->mutex);
fail:
	err_sys(e, "cannot start the housekeeping thread");
	free(h);
	return NULL;
}

void
housekeeper_stop(struct housekeeper **hp)
{
	struct housekeeper *h = *hp;

	if (h == NULL)
		return;
	pthread_mutex_lock(&h->mutex);
	h->stop = 1;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->mutex);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->mutex);
	free(h);
	*hp = NULL;
}

void
housekeeper_committed(struct housekeeper *h)
{
	/* The thread has to be woken for the first commit only: then it knows that it must look
	 * again. */
	if (atomic_exchange(&h->dirty, 1) != 0)
		return;
	pthread_mutex_lock(&h->mutex);
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->mutex);
}

uint64_t
housekeeper_ask(struct housekeeper *h)
{
	uint64_t ticket;

	pthread_mutex_lock(&h->mutex);
	ticket = ++h->asked;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->mutex);
	return ticket;
}

uint64_t
housekeeper_flushed(struct housekeeper *h)
{
	uint64_t ticket;

	pthread_mutex_lock(&h->mutex);
	ticket = h->flushed;
	pthread_mutex_unlock(&h->mutex);
	return ticket;
}

int
housekeeper_low_space(struct housekeeper *h)
{
	return atomic_load(&h->low_space);
}
