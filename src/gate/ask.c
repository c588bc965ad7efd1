/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The client of the keeper in a worker.  One SEQPACKET connection, non-blocking; the checks of a
 * round of the loop go out in one datagram, and their answers come back in one, so that a busy
 * worker pays a few system calls and one wake-up for many requests.
 *
 * It decides nothing: no answer, a late one, a malformed one, an unknown one are all "no answer",
 * which the gate turns into a 503.  When the keeper is gone the encoded messages are kept and sent
 * again with the retry flag, which lets the new keeper see that the old one may have counted them;
 * the deadline stays.
 *
 * Invariants: each tag is done or cancelled exactly once.  A message holds a key: it is wiped when
 * its check ends. At most ASK_PENDING_MAX checks are held.  The keeper's deadline is earlier than
 * ours, so that it never admits, and counts, what we have given up.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/ask.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"
#include "wire/dial.h"

#define RECONNECT_US 5000
#define BLOCKED_MS 1 /* the keeper's queue is full: its next answers wake us, or this */
#define RECEIVE_ROUNDS 8
#define INDEX_BITS 12

_Static_assert(ASK_PENDING_MAX == 1 << INDEX_BITS, "a seq's low bits are the slot's number");

struct slot {
	uint64_t seq; /* 0: free */
	int64_t deadline_us;
	void *tag;
	int queued; /* to be sent */
	size_t index, len;
	TAILQ_ENTRY(slot) pending; /* or free */
	TAILQ_ENTRY(slot) queue;
	uint8_t message[WIRE_CHECK_MAX];
};

TAILQ_HEAD(slot_list, slot);

struct ask {
	struct ask_options options;
	struct fcgi_server *server;
	int fd;	   /* -1: not connected */
	int asked; /* the dialer has to answer */
	int blocked;
	int reported; /* that the keeper is away */
	int64_t connect_after_us;
	uint64_t client, counter;
	size_t nslots; /* made so far */
	struct slot *slots[ASK_PENDING_MAX];
	struct slot_list free, pending /* by deadline */, queue;
	uint8_t answers[WIRE_BATCH_BYTES];
};

static void on_readable(void *, uint32_t);

static struct slot *
slot_take(struct ask *A)
{
	struct slot *s;

	if ((s = TAILQ_FIRST(&A->free)) != NULL) {
		TAILQ_REMOVE(&A->free, s, pending);
		return s;
	}
	if (A->nslots == ASK_PENDING_MAX || (s = malloc(sizeof(*s))) == NULL)
		return NULL;
	s->index = A->nslots;
	A->slots[A->nslots++] = s;
	return s;
}

/* Forgets the check and its key; the slot is free again. */
static void
slot_end(struct ask *A, struct slot *s)
{
	TAILQ_REMOVE(&A->pending, s, pending);
	if (s->queued)
		TAILQ_REMOVE(&A->queue, s, queue);
	secret_wipe(s->message, s->len);
	s->seq = 0;
	s->tag = NULL;
	TAILQ_INSERT_HEAD(&A->free, s, pending);
}

static void
slot_done(struct ask *A, struct slot *s, const struct wire_answer *answer)
{
	void *tag = s->tag;

	slot_end(A, s);
	if (tag != NULL)
		A->options.done(A->options.cookie, tag, answer);
}

static struct slot *
slot_of(struct ask *A, uint64_t seq)
{
	size_t i = seq & (ASK_PENDING_MAX - 1);

	return seq != 0 && i < A->nslots && A->slots[i]->seq == seq ? A->slots[i] : NULL;
}

static void
enqueue(struct ask *A, struct slot *s)
{
	s->queued = 1;
	TAILQ_INSERT_TAIL(&A->queue, s, queue);
}

/* The same check with the retry flag, in place. */
static void
mark_retry(struct slot *s)
{
	uint8_t mem[WIRE_CHECK_MAX];
	struct wire_check check;
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	if (wire_check_decode((struct span){(const char *)s->message, s->len}, &check, NULL) == 0) {
		check.retry = 1;
		wire_check_encode(&check, &w);
		if (!w.overflow) {
			memcpy(s->message, mem, w.len);
			s->len = w.len;
		}
	}
	secret_wipe(mem, w.len);
}

/* The connection is of no use any more: everything without an answer is to be sent again. */
static void
disconnect(struct ask *A, int64_t pause_us)
{
	struct slot *s;

	fcgi_server_unwatch(A->server, A->fd);
	close(A->fd);
	A->fd = -1;
	A->connect_after_us = clock_mono_us() + pause_us;
	TAILQ_INIT(&A->queue);
	TAILQ_FOREACH(s, &A->pending, pending)
	{
		if (!s->queued)
			mark_retry(s);
		enqueue(A, s);
	}
}

/* What the dialer has got: a worker itself may not connect to anybody. */
static void
take_connection(struct ask *A, int fd)
{
	struct err e;

	if (A->fd != -1 || fcgi_server_watch(A->server, fd, on_readable, A, &e) == -1) {
		if (A->fd == -1)
			log_event(LOG_LVL_ERROR, "keeper_watch", "error", e.msg, NULL);
		close(fd);
		return;
	}
	A->fd = fd;
	if (A->reported)
		log_event(LOG_LVL_INFO, "keeper_back", NULL);
	A->reported = 0;
}

static void
on_dialer(void *cookie, uint32_t events)
{
	struct ask *A = cookie;
	enum dial found;
	int fd;

	(void)events;
	if ((found = dial_take(A->options.dial_fd, &fd)) == DIAL_NOTHING)
		return;
	A->asked = 0;
	A->connect_after_us = clock_mono_us() + RECONNECT_US;
	if (found == DIAL_CONNECTED) {
		take_connection(A, fd);
	} else if (found == DIAL_GONE) {
		fcgi_server_unwatch(A->server, A->options.dial_fd);
		A->asked = 1; /* for ever */
		A->options.lost(A->options.cookie);
	} else if (!A->reported) {
		log_event(LOG_LVL_WARNING, "keeper_away", NULL);
		A->reported = 1;
	}
}

static void
reconnect(struct ask *A)
{
	/* Of one that is gone on_dialer hears. */
	A->asked = dial_ask(A->options.dial_fd) == 1;
	A->connect_after_us = clock_mono_us() + RECONNECT_US;
}

struct ask *
ask_new(const struct ask_options *options, struct fcgi_server *server, struct err *e)
{
	struct ask *A;

	if ((A = calloc(1, sizeof(*A))) == NULL) {
		err_sys(e, "worker");
		return NULL;
	}
	A->options = *options;
	A->server = server;
	A->fd = -1;
	TAILQ_INIT(&A->free);
	TAILQ_INIT(&A->pending);
	TAILQ_INIT(&A->queue);
	if (random_bytes(&A->client, sizeof(A->client), e) == -1 ||
	    fcgi_server_watch(server, options->dial_fd, on_dialer, A, e) == -1) {
		free(A);
		return NULL;
	}
	reconnect(A);
	return A;
}

void
ask_free(struct ask **ask)
{
	struct ask *A = *ask;
	struct slot *s;
	size_t i;

	*ask = NULL;
	if (A == NULL)
		return;
	while ((s = TAILQ_FIRST(&A->pending)) != NULL)
		slot_end(A, s);
	for (i = 0; i < A->nslots; i++)
		free(A->slots[i]);
	fcgi_server_unwatch(A->server, A->options.dial_fd);
	if (A->fd != -1) {
		fcgi_server_unwatch(A->server, A->fd);
		close(A->fd);
	}
	free(A);
}

static uint64_t
next_seq(struct ask *A, const struct slot *s)
{
	return ++A->counter << INDEX_BITS | s->index;
}

/* The keeper's deadline of what is asked at ${now_us}. */
static int64_t
keepers_deadline(const struct ask *A, int64_t now_us)
{
	return now_us + A->options.timeout_us / 5 * 4;
}

/* The message in the slot's memory is pending now; 0 when it did not fit. */
static uint64_t
post(struct ask *A, struct slot *s, const struct wbuf *w, uint64_t seq, int64_t now_us, void *tag)
{
	if (w->overflow) {
		secret_wipe(s->message, w->len);
		TAILQ_INSERT_HEAD(&A->free, s, pending);
		return 0;
	}
	s->seq = seq;
	s->len = w->len;
	s->tag = tag;
	s->deadline_us = now_us + A->options.timeout_us;
	TAILQ_INSERT_TAIL(&A->pending, s, pending);
	enqueue(A, s);
	return s->seq;
}

uint64_t
ask_check(struct ask *A, const struct wire_check *check, void *tag)
{
	struct wire_check c = *check;
	struct slot *s;
	struct wbuf w;
	int64_t now_us = clock_mono_us();

	if ((s = slot_take(A)) == NULL)
		return 0;
	c.client = A->client;
	c.seq = next_seq(A, s);
	c.retry = 0;
	c.deadline_us = keepers_deadline(A, now_us);
	wbuf_init(&w, s->message, sizeof(s->message));
	wire_check_encode(&c, &w);
	return post(A, s, &w, c.seq, now_us, tag);
}

uint64_t
ask_report(struct ask *A, const struct wire_report *report)
{
	struct wire_report r = *report;
	struct slot *s;
	struct wbuf w;
	int64_t now_us = clock_mono_us();

	if ((s = slot_take(A)) == NULL)
		return 0;
	r.client = A->client;
	r.seq = next_seq(A, s);
	r.deadline_us = keepers_deadline(A, now_us);
	wbuf_init(&w, s->message, sizeof(s->message));
	wire_report_encode(&r, &w);
	return post(A, s, &w, r.seq, now_us, NULL);
}

void
ask_cancel(struct ask *A, uint64_t seq)
{
	struct slot *s = slot_of(A, seq);

	if (s != NULL)
		s->tag = NULL;
}

/* As many of the queue as go into one datagram: their number, 0 at its end, -1. */
static int
send_some(struct ask *A)
{
	struct iovec iov[WIRE_BATCH_MAX];
	struct msghdr message = {.msg_iov = iov};
	struct slot *s;
	size_t bytes = 0;
	ssize_t rc;
	int n = 0;

	TAILQ_FOREACH(s, &A->queue, queue)
	{
		bytes += s->len;
		if (n == WIRE_BATCH_MAX || bytes > WIRE_BATCH_BYTES)
			break;
		iov[n++] = (struct iovec){s->message, s->len};
	}
	if (n == 0)
		return 0;
	message.msg_iovlen = (size_t)n;
	do {
		rc = sendmsg(A->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (rc == -1 && errno == EINTR);
	return rc == -1 ? -1 : n;
}

static void
send_queue(struct ask *A)
{
	struct slot *s;
	int sent;

	A->blocked = 0;
	while ((sent = send_some(A)) > 0) {
		for (; sent > 0; sent--) {
			s = TAILQ_FIRST(&A->queue);
			TAILQ_REMOVE(&A->queue, s, queue);
			s->queued = 0;
		}
	}
	/*
	 * A full queue is tried again soon.  A keeper that is gone may have left answers: what it
	 * admitted must not be asked again, so on_readable takes them before it sees the end.
	 */
	if (sent == -1)
		A->blocked = 1;
}

/* One answer of the keeper's: 0, or -1 when the connection has to go. */
static int
take_answer(struct ask *A, struct span message)
{
	struct wire_answer answer;
	struct slot *s;
	struct err e;

	if (wire_answer_decode(message, &answer, &e) == -1) {
		log_event(LOG_LVL_ERROR, "keeper_answer", "error", e.msg, NULL);
		return -1;
	}
	/* One that is not waited for any more came too late. */
	if ((s = slot_of(A, answer.seq)) != NULL)
		slot_done(A, s, &answer);
	return 0;
}

/* One datagram of them, likewise. */
static int
take_answers(struct ask *A, size_t n)
{
	struct span datagram = {(const char *)A->answers, n};

	if (n == 0) {
		log_event(LOG_LVL_INFO, "keeper_lost", "error", "it closed the connection", NULL);
		return -1;
	}
	if (n > sizeof(A->answers)) {
		log_event(
		    LOG_LVL_ERROR, "keeper_answer", "error", "a datagram that is too large", NULL);
		return -1;
	}
	while (datagram.len > 0)
		if (take_answer(A, wire_next(&datagram)) == -1)
			return -1;
	return 0;
}

/* Until there is nothing more: a round of the loop must not begin with answers that wait. */
static void
on_readable(void *cookie, uint32_t events)
{
	struct ask *A = cookie;
	ssize_t n;
	int round;

	(void)events;
	for (round = 0; round < RECEIVE_ROUNDS; round++) {
		n = recv(A->fd, A->answers, sizeof(A->answers), MSG_DONTWAIT | MSG_TRUNC);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		/* It died with questions unread.  Reported once; its last answers are behind it. */
		if (n == -1 && errno == ECONNRESET)
			continue;
		if (n == -1) {
			log_event(LOG_LVL_WARNING, "keeper_lost", "error", strerror(errno), NULL);
			disconnect(A, RECONNECT_US);
			return;
		}
		if (take_answers(A, (size_t)n) == -1) {
			disconnect(A, RECONNECT_US);
			return;
		}
	}
}

static void
sooner(int64_t *wait_us, int64_t left_us)
{
	if (left_us < 0)
		left_us = 0;
	if (*wait_us == -1 || left_us < *wait_us)
		*wait_us = left_us;
}

int
ask_round(struct ask *A)
{
	int64_t now_us, wait_us = -1;
	struct slot *s;

	if (TAILQ_EMPTY(&A->pending))
		return -1;
	now_us = clock_mono_us();
	while ((s = TAILQ_FIRST(&A->pending)) != NULL && s->deadline_us <= now_us)
		slot_done(A, s, NULL);
	if (TAILQ_EMPTY(&A->pending))
		return -1;
	if (A->fd == -1 && !A->asked && now_us >= A->connect_after_us)
		reconnect(A);
	if (A->fd != -1)
		send_queue(A);
	if (A->fd == -1 && !A->asked)
		sooner(&wait_us, A->connect_after_us - now_us);
	else if (A->blocked)
		sooner(&wait_us, BLOCKED_MS * 1000);
	sooner(&wait_us, TAILQ_FIRST(&A->pending)->deadline_us - now_us);
	return (int)((wait_us + 999) / 1000);
}
