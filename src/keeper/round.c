/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A round of checks, between the sockets and the decision.
 *
 * Belongs to the keeper's loop.  It knows no verdicts but `unavailable`, which is what a check is
 * answered that could not be decided.
 *
 * Receiving: a datagram of a worker holds several checks, and stays in the round's memory until it
 * is over; a JSON request may be much larger.  So the first message of a connection is looked at
 * (MSG_PEEK) and says which kind it is; an administering connection is read one message at a time.
 * A worker's connection may turn into one, with a datagram that is the JSON message alone; whatever
 * is too long closes the connection.
 *
 * Invariants: no answer leaves before the commit of what it rests on; checks that a failed batch
 * had decided are decided again, each alone, so that one key whose record is damaged denies nobody
 * else; a check whose deadline has passed is neither decided nor answered; credentials are wiped
 * when the round is over.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "keeper/round.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "wire/wire.h"

/* Full ones; most are much smaller, and lie one behind the other. */
#define DATAGRAMS_MAX 32

struct item {
	struct peer *peer;
	struct wire_check check;
	struct wire_report report; /* attempts 0: it is a check */
	uint8_t *answer;	   /* in the arena; NULL: none is sent */
	size_t answer_len;
};

struct round {
	struct round_with with;
	size_t n, nstrangers; /* checks; and those of strangers */
	struct item items[ROUND_CHECKS_MAX];
	size_t received; /* bytes of datagrams */
	size_t arena_used;
	int64_t complained_us; /* CLOCK_MONOTONIC of the last log line about a failed batch */
	int wrote;
	uint8_t arena[ROUND_CHECKS_MAX][WIRE_ANSWER_MAX]; /* answers, one behind the other */
	struct round_in {
		uint8_t datagrams[DATAGRAMS_MAX][WIRE_BATCH_BYTES];
		uint8_t message[WIRE_MESSAGE_MAX];
	} * in; /* of secret_pages: credentials */
};

struct round *
round_new(const struct round_with *with, struct err *e)
{
	/* Six megabytes, of which the kernel gives what is used. */
	struct round *r = calloc(1, sizeof(*r));

	if (r == NULL || (r->in = secret_pages(sizeof(*r->in), with->locked)) == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		free(r);
		return NULL;
	}
	r->with = *with;
	return r;
}

void
round_free(struct round **rp)
{
	if (*rp != NULL)
		secret_pages_free((*rp)->in, sizeof(*(*rp)->in));
	free(*rp);
	*rp = NULL;
}

/* ---- receiving ---- */

static void
refuse(struct round *r, struct peer *p, const char *why)
{
	peer_refused(p, why, r->with.refusals);
	p->closing = 1;
}

static void
keep_request(struct round *r, struct peer *p, const uint8_t *message, size_t len)
{
	if ((p->request = secret_pages(len, NULL)) == NULL) {
		refuse(r, p, "out of memory");
		return;
	}
	memcpy(p->request, message, len);
	p->request_len = len;
	p->kind = PEER_ADMIN;
}

/* For the round it is a check that nobody waits for: only its identity and time are looked at. */
static int
take_report(struct span message, struct item *it, struct err *e)
{
	if (wire_report_decode(message, &it->report, e) != 0)
		return -1;
	it->check = (struct wire_check){.client = it->report.client,
	    .seq = it->report.seq,
	    .deadline_us = it->report.deadline_us};
	return 0;
}

/* A check, or a report. */
static void
add_check(struct round *r, struct peer *p, struct span message)
{
	struct item *it = &r->items[r->n];
	struct err e = {0};
	int rc;

	it->report.attempts = 0;
	if (wire_type_of(message) == WIRE_REPORT)
		rc = take_report(message, it, &e);
	else
		rc = wire_check_decode(message, &it->check, &e);
	if (rc != 0) {
		refuse(r, p, e.msg);
		return;
	}
	it->peer = p;
	it->answer = NULL;
	it->answer_len = 0;
	r->n++;
	r->nstrangers += (size_t)!p->ours;
}

/* The checks of a datagram: all of it is in the round's memory. */
static void
add_checks(struct round *r, struct peer *p, struct span datagram)
{
	for (int n = 0; datagram.len > 0 && !p->closing; n++) {
		if (n == WIRE_BATCH_MAX)
			refuse(r, p, "too many checks at once");
		else
			add_check(r, p, wire_next(&datagram));
	}
}

/* For how many checks of this peer the round has room. */
static size_t
room_for(const struct round *r, const struct peer *p)
{
	size_t room = ROUND_CHECKS_MAX - r->n;

	if (!p->ours && room > ROUND_STRANGERS_MAX - r->nstrangers)
		room = ROUND_STRANGERS_MAX - r->nstrangers;
	return room < ROUND_PEER_MAX ? room : ROUND_PEER_MAX;
}

/* A datagram is read whole or not at all. */
int
round_full(const struct round *r, const struct peer *p)
{
	return room_for(r, p) < WIRE_BATCH_MAX ||
	       sizeof(r->in->datagrams) - r->received < WIRE_BATCH_BYTES;
}

/* One datagram of a worker: 1 when there may be more. */
static int
receive_checks(struct round *r, struct peer *p)
{
	uint8_t *at = (uint8_t *)r->in->datagrams + r->received;
	struct span datagram = {(const char *)at, 0};
	ssize_t n = recv(p->fd, at, WIRE_BATCH_BYTES, MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		p->closing = 1;
		return 0;
	}
	datagram.len = (size_t)n < WIRE_BATCH_BYTES ? (size_t)n : WIRE_BATCH_BYTES;
	r->received += datagram.len;
	if ((size_t)n > WIRE_BATCH_BYTES)
		refuse(r, p, "a datagram larger than checks may be");
	else if (wire_type_of(datagram) != WIRE_ADMIN)
		add_checks(r, p, datagram);
	else if (p->checks_only)
		refuse(r, p, "an operation asked for on the socket for checks");
	else
		keep_request(r, p, at, datagram.len);
	return !p->closing && p->request == NULL;
}

static void
receive_many(struct round *r, struct peer *p)
{
	size_t first = r->n;

	while (r->n - first <= ROUND_PEER_MAX - WIRE_BATCH_MAX && !round_full(r, p))
		if (!receive_checks(r, p))
			return;
}

/* One message of any size. */
static void
receive_one(struct round *r, struct peer *p)
{
	ssize_t n = recv(p->fd, r->in->message, sizeof(r->in->message), MSG_DONTWAIT | MSG_TRUNC);
	struct span message = {(const char *)r->in->message, 0};

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		p->closing = 1;
		return;
	}
	message.len = (size_t)n < sizeof(r->in->message) ? (size_t)n : sizeof(r->in->message);
	if ((size_t)n > sizeof(r->in->message)) {
		refuse(r, p, "a message larger than any may be");
	} else if (wire_type_of(message) == WIRE_ADMIN) {
		keep_request(r, p, r->in->message, message.len);
	} else if (message.len <= WIRE_BATCH_BYTES) {
		uint8_t *at = (uint8_t *)r->in->datagrams + r->received;

		memcpy(at, r->in->message, message.len);
		r->received += message.len;
		add_checks(r, p, (struct span){(const char *)at, message.len});
	} else {
		refuse(r, p, "a malformed message");
	}
	secret_wipe(r->in->message, message.len);
}

/* What the first message is; PEER_NEW when it is not there yet. */
static enum peer_kind
kind_of(const struct peer *p)
{
	uint8_t header[WIRE_HEADER] = {0};
	ssize_t n = recv(p->fd, header, sizeof(header), MSG_DONTWAIT | MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return PEER_NEW;
	return n >= 2 && header[1] == WIRE_ADMIN ? PEER_ADMIN : PEER_CHECKS;
}

void
round_receive(struct round *r, struct peer *p)
{
	if (round_full(r, p) || p->closing)
		return;
	if (p->kind == PEER_NEW)
		p->kind = kind_of(p);
	if (p->kind == PEER_ADMIN)
		receive_one(r, p);
	else if (p->kind == PEER_CHECKS)
		receive_many(r, p);
}

/* ---- deciding ---- */

/* Write an answer into the arena as that of this check. */
static void
put_answer(struct round *r, struct item *it, const struct wire_answer *a)
{
	struct wire_answer plain = {.seq = a->seq, .verdict = VERDICT_UNAVAILABLE};
	struct wbuf w;

	it->answer = (uint8_t *)r->arena + r->arena_used;
	wbuf_init(&w, it->answer, WIRE_ANSWER_MAX);
	wire_answer_encode(a, &w);
	if (w.overflow) {
		wbuf_init(&w, it->answer, WIRE_ANSWER_MAX);
		wire_answer_encode(&plain, &w);
	}
	it->answer_len = w.len;
	r->arena_used += w.len;
}

/* A run of items that one batch decides. */
struct run {
	struct round *round;
	size_t from, to;
	int wrote;
};

/*
 * One item: 0 and its answer, -1.  What a stranger reports is not believed: nobody could tell it
 * from the truth.
 */
static int
decide_item(struct round *r, struct item *it, const struct decide_times *t, struct wire_answer *a,
    int *wrote, struct err *e)
{
	const struct round_with *with = &r->with;

	*wrote = 0;
	if (it->report.attempts == 0)
		return decide_check(with->decide, &it->check, t, a, wrote, e);
	*a = (struct wire_answer){.seq = it->report.seq, .verdict = VERDICT_CLIENT_BLOCKED};
	if (!it->peer->ours)
		return 0;
	return reports_take(
	    with->reports, with->store, &it->report, t->wall_us, clock_mono_us(), wrote, e);
}

static int
decide_run(void *cookie, struct err *e)
{
	struct run *run = cookie;
	const struct round_with *with = &run->round->with;
	struct decide_times t = {
	    .wall_us = clock_wall_us(), .steady_us = steady_now_us(with->steady)};
	struct wire_answer a;
	int wrote;

	run->wrote = 0;
	for (size_t i = run->from; i < run->to; i++) {
		struct item *it = &run->round->items[i];

		if (it->peer == NULL)
			continue;
		if (decide_item(run->round, it, &t, &a, &wrote, e) != 0)
			return -1;
		put_answer(run->round, it, &a);
		if (!wrote)
			continue;
		run->wrote = 1;
		if (a.verdict == VERDICT_OK)
			lastbatch_add(with->last, it->check.client, it->check.seq);
	}
	if (!run->wrote)
		return 0;
	if (steady_save(with->steady, with->store, t.steady_us, e) != 0)
		return -1;
	return lastbatch_store(with->last, with->store, e);
}

/* One batch over items [from, to): 0, or -1 and nothing of it is stored or remembered. */
static int
run_batch(struct round *r, size_t from, size_t to, struct err *e)
{
	struct run run = {.round = r, .from = from, .to = to};
	size_t counted = r->with.last->n, arena_used = r->arena_used;
	int rc = store_batch(r->with.store, decide_run, &run, e);

	decide_batch_end(r->with.decide, rc == 0);
	if (rc == 0) {
		r->wrote |= run.wrote;
		return 0;
	}
	r->with.last->n = counted;
	r->arena_used = arena_used;
	return -1;
}

/* Once a second at most: a full disk fails every batch. */
static void
complain(struct round *r, const struct err *e)
{
	int64_t now_us = clock_mono_us();

	if (r->complained_us != 0 && now_us - r->complained_us < CLOCK_SECOND)
		return;
	r->complained_us = now_us;
	log_event(LOG_LVL_ERROR, "batch_failed", "error", e->msg, NULL);
}

/* Does the store still answer?  After a panic nothing does. */
static int
store_serves(struct store *store, struct err *e)
{
	uint8_t mem[STORE_META_MAX];
	size_t len;

	return store_meta_get(store, "steady", mem, sizeof(mem), &len, e) >= 0;
}

static int
decide_each(struct round *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		struct item *it = &r->items[i];
		struct wire_answer a = {.seq = it->check.seq, .verdict = VERDICT_UNAVAILABLE};

		if (it->peer == NULL)
			continue;
		if (run_batch(r, i, i + 1, e) == 0)
			continue;
		put_answer(r, it, &a);
		if (!store_serves(r->with.store, e))
			return -1;
	}
	return 0;
}

/* Take out of the round what is not decided: peers that are gone, checks that nobody waits for any
 * more. */
static void
sift(struct round *r, int64_t now_us)
{
	for (size_t i = 0; i < r->n; i++) {
		struct item *it = &r->items[i];

		if (it->peer->closing || it->check.deadline_us < now_us)
			it->peer = NULL;
		else if (it->check.retry)
			it->check.retry =
			    lastbatch_counted(r->with.last, it->check.client, it->check.seq) != 0;
	}
}

int
round_decide(struct round *r, int *wrote, struct err *e)
{
	int64_t now_us = clock_mono_us();
	int rc = 0;

	*wrote = r->wrote = 0;
	if (r->n == 0)
		return 0;
	lastbatch_begin(r->with.last, now_us);
	sift(r, now_us);
	if (run_batch(r, 0, r->n, e) != 0) {
		complain(r, e);
		rc = store_serves(r->with.store, e) ? decide_each(r, e) : -1;
	}
	*wrote = r->wrote;
	return rc;
}

/* ---- answering ---- */

/*
 * The answers of items [*from, to), all of one peer, as far as one datagram holds them; *from goes
 * behind them.
 */
static int
next_answers(const struct round *r, size_t *from, size_t to, struct iovec iov[WIRE_BATCH_MAX])
{
	size_t bytes = 0;
	int n = 0;

	for (; *from < to && n < WIRE_BATCH_MAX; ++*from) {
		const struct item *it = &r->items[*from];

		if (it->peer == NULL || it->answer == NULL)
			continue;
		bytes += it->answer_len;
		if (bytes > WIRE_BATCH_BYTES)
			break;
		iov[n++] = (struct iovec){it->answer, it->answer_len};
	}
	return n;
}

/* 0 when it has left, or the peer is lost; -1 when the peer does not read just now. */
static int
send_answers(struct peer *p, struct iovec *iov, int n)
{
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t rc;

	do {
		rc = sendmsg(p->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0 && errno == EAGAIN)
		return -1;
	if (rc <= 0)
		p->closing = 1;
	return 0;
}

static void
answer_peer(struct round *r, struct peer *p, size_t from, size_t to, int64_t mono_us)
{
	struct iovec iov[WIRE_BATCH_MAX];
	size_t first = from;
	int n;

	while (!p->closing && (n = next_answers(r, &from, to, iov)) > 0) {
		/* What is queued already goes first. */
		if (peer_idle(p) && send_answers(p, iov, n) == 0)
			continue;
		for (int i = 0; i < n; i++)
			peer_queue(p, (struct span){iov[i].iov_base, iov[i].iov_len}, 0);
		if (p->stuck_since_us == 0)
			p->stuck_since_us = mono_us;
	}
	/* Whoever is alive connects again and asks the same. */
	for (; p->closing && first < to; first++)
		lastbatch_unanswered(
		    r->with.last, r->items[first].check.client, r->items[first].check.seq, mono_us);
}

void
round_answer(struct round *r, int64_t mono_us)
{
	size_t from = 0, to;

	/* A peer is read once in a round: its checks are next to each other. */
	while (from < r->n) {
		struct peer *p = r->items[from].peer;

		for (to = from + 1; to < r->n && r->items[to].peer == p; to++)
			;
		if (p != NULL)
			answer_peer(r, p, from, to, mono_us);
		from = to;
	}
	secret_wipe(r->in->datagrams, r->received);
	r->received = 0;
	r->n = r->nstrangers = 0;
	r->arena_used = 0;
}
