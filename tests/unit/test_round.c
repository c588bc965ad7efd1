/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: a round of checks over socket pairs and a real store: one key whose record is damaged
 * denies nobody else, what a failed batch had counted is counted once, and a peer that does not
 * read gets its answers later and in order.  Guards Invariants 1 and 6.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>

#include "keeper/round.h"
#include "keeper_fixture.h"
#include "store/internal.h"

struct rig {
	struct kf *f;
	struct round *round;
	struct steady steady;
	struct lastbatch last;
	struct reports reports;
	struct log_pace refusals;
	struct peer *peer;
	int fd;		  /* the worker's end */
	struct span rest; /* of a datagram of answers */
	uint8_t answers[WIRE_BATCH_BYTES];
};

static void
rig_connect(struct rig *g)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv), 0);
	g->peer = peer_new(sv[0], 0, &g->f->e);
	assert_non_null(g->peer);
	assert_true(g->peer->who.may_admin);
	g->fd = sv[1];
	g->rest.len = 0;
}

static void
rig_hang_up(struct rig *g)
{
	peer_free(g->peer);
	close(g->fd);
}

static void
rig_open(struct rig *g)
{
	struct round_with with;

	kf_open(g->f);
	assert_int_equal(steady_open(&g->steady, g->f->store, &g->f->e), 0);
	assert_int_equal(lastbatch_load(&g->last, g->f->store, clock_mono_us(), &g->f->e), 0);
	memset(&g->reports, 0, sizeof(g->reports));
	with = (struct round_with){
	    g->f->store, g->f->decide, &g->steady, &g->last, &g->reports, &g->refusals, NULL};
	g->round = round_new(&with, &g->f->e);
	assert_non_null(g->round);
	rig_connect(g);
}

static void
rig_close(struct rig *g)
{
	rig_hang_up(g);
	round_free(&g->round);
	kf_close(g->f);
}

static int
rig_make(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->f = kf_make();
	rig_open(g);
	*state = g;
	return 0;
}

static int
rig_free(void **state)
{
	struct rig *g = *state;
	void *f = g->f;

	rig_close(g);
	kf_teardown(&f);
	free(g);
	return 0;
}

static void
send_check(const struct rig *g, const struct kf_key *k, uint64_t seq)
{
	uint8_t mem[WIRE_CHECK_MAX];
	struct wire_check c = kf_check(k);
	struct wbuf w;

	c.seq = seq;
	wbuf_init(&w, mem, sizeof(mem));
	wire_check_encode(&c, &w);
	assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
}

/* The verdict of the next answer, which must be the one to ${seq}; -1 when there is none. */
static int
answer(struct rig *g, uint64_t seq)
{
	struct wire_answer a;
	ssize_t n;

	if (g->rest.len == 0) {
		n = recv(g->fd, g->answers, sizeof(g->answers), 0);
		if (n < 0 && errno == EAGAIN)
			return -1;
		assert_true(n > 0);
		g->rest = (struct span){(char *)g->answers, (size_t)n};
	}
	assert_int_equal(wire_answer_decode(wire_next(&g->rest), &a, &g->f->e), 0);
	assert_int_equal(a.seq, seq);
	return (int)a.verdict;
}

static int
play(struct rig *g)
{
	int wrote;

	round_receive(g->round, g->peer);
	if (round_decide(g->round, &wrote, &g->f->e) != 0)
		fail_msg("%s", g->f->e.msg);
	round_answer(g->round, 1);
	return wrote;
}

static struct kf_key
limited(struct kf *f)
{
	kf_done(f, "{\"op\":\"plan.set\",\"name\":\"p\",\"limits\":[{\"name\":\"a\",\"units\":3,"
		   "\"window\":\"1d\"}]}");
	return kf_key(f, ",\"plan\":\"p\"");
}

/* Overwrite a key's record with bytes that do not decode. */
struct damage {
	struct kf *f;
	const struct kf_key *key;
};

static int
damage(void *cookie, struct err *e)
{
	struct damage *d = cookie;
	uint8_t digest[STORE_DIGEST_LEN];

	if (peppers_digest(d->f->peppers, 0, span_of(d->key->key), digest) != 0)
		return err_set(e, ERR_INTERNAL, "no digest");
	return store_db_put(d->f->store, STORE_DB_KEYS,
	    (struct span){(char *)digest, sizeof(digest)}, span_of("damaged"), e);
}

static void
a_damaged_record_denies_nobody_else(void **state)
{
	struct rig *g = *state;
	struct kf_key good = limited(g->f), bad = kf_key(g->f, "");
	struct damage d = {g->f, &bad};
	struct lastbatch after;

	if (store_batch(g->f->store, damage, &d, &g->f->e) != 0)
		fail_msg("%s", g->f->e.msg);
	for (uint64_t i = 0; i < 7; i++)
		send_check(g, i % 2 == 0 ? &good : &bad, i);
	assert_int_equal(play(g), 1);
	for (uint64_t i = 0; i < 7; i++) {
		int expected = i % 2 != 0 ? VERDICT_UNAVAILABLE
			       : i == 6	  ? VERDICT_RATE_LIMITED
					  : VERDICT_OK;

		assert_int_equal(answer(g, i), expected);
	}
	assert_int_equal(answer(g, 99), -1);
	assert_int_equal(lastbatch_load(&after, g->f->store, 0, &g->f->e), 0);
	assert_int_equal(after.ndoubt, 3);
	for (uint64_t i = 0; i < 7; i++)
		assert_int_equal(lastbatch_counted(&after, 1, i), i == 0 || i == 2 || i == 4);
}

/*
 * The keeper ends between commit and answer; the worker sends everything again to the next one.
 * What the last batch has counted is `ok` and not counted again; what had never arrived is counted
 * now.
 */
static void
an_end_before_the_answer_counts_once(void **state)
{
	struct rig *g = *state;
	struct kf_key k = limited(g->f);
	struct wire_check c = kf_check(&k);
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;
	int wrote;

	send_check(g, &k, 1);
	send_check(g, &k, 2);
	round_receive(g->round, g->peer);
	assert_int_equal(round_decide(g->round, &wrote, &g->f->e), 0);
	assert_int_equal(wrote, 1);
	rig_close(g);
	rig_open(g);
	c.retry = 1;
	for (c.seq = 1; c.seq <= 4; c.seq++) {
		wbuf_init(&w, mem, sizeof(mem));
		wire_check_encode(&c, &w);
		assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
	}
	assert_int_equal(play(g), 1);
	for (uint64_t i = 1; i <= 4; i++)
		assert_int_equal(answer(g, i), i <= 3 ? VERDICT_OK : VERDICT_RATE_LIMITED);
}

/* A keeper that lives and could not send: the same worker, connected again, asks again. */
static void
an_answer_that_is_lost_counts_once(void **state)
{
	struct rig *g = *state;
	struct kf_key k = limited(g->f);
	struct wire_check c = kf_check(&k);
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;
	int wrote;

	send_check(g, &k, 1);
	send_check(g, &k, 2);
	assert_int_equal(shutdown(g->peer->fd, SHUT_WR), 0);
	round_receive(g->round, g->peer);
	assert_int_equal(round_decide(g->round, &wrote, &g->f->e), 0);
	assert_int_equal(wrote, 1);
	round_answer(g->round, clock_mono_us());
	assert_int_equal(g->peer->closing, 1);
	rig_hang_up(g);
	rig_connect(g);
	/* Others are decided meanwhile. */
	send_check(g, &k, 7);
	assert_int_equal(play(g), 1);
	assert_int_equal(answer(g, 7), VERDICT_OK);
	c.retry = 1;
	for (c.seq = 1; c.seq <= 3; c.seq++) {
		wbuf_init(&w, mem, sizeof(mem));
		wire_check_encode(&c, &w);
		assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
	}
	(void)play(g);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(answer(g, i), i <= 2 ? VERDICT_OK : VERDICT_RATE_LIMITED);
}

static void
answers_wait_for_a_slow_reader(void **state)
{
	struct rig *g = *state;
	struct kf_key k = kf_key(g->f, "");
	uint64_t sent = 0, got = 0;

	/* Until an answer does not fit any more. */
	while (peer_idle(g->peer)) {
		send_check(g, &k, sent++);
		assert_int_equal(play(g), 0);
		assert_true(sent < 1000000);
	}
	assert_int_equal(g->peer->stuck_since_us, 1);
	peer_send(g->peer, 0, 2);
	assert_int_equal(g->peer->stuck_since_us, 1);
	while (answer(g, got) == VERDICT_OK)
		got++;
	assert_int_equal(got, sent - 1);
	peer_send(g->peer, 0, 3);
	assert_true(peer_idle(g->peer));
	assert_int_equal(g->peer->stuck_since_us, 0);
	assert_int_equal(answer(g, got), VERDICT_OK);
}

/* A reply to a change waits for its flush, and everything behind it, too. */
static void
tickets_are_waited_for(void **state)
{
	struct rig *g = *state;
	char mem[8];

	peer_queue(g->peer, span_of("first"), 7);
	peer_queue(g->peer, span_of("second"), 0);
	peer_send(g->peer, 6, 1);
	assert_int_equal(recv(g->fd, mem, sizeof(mem), 0), -1);
	peer_send(g->peer, 7, 1);
	assert_int_equal(recv(g->fd, mem, sizeof(mem), 0), 5);
	assert_int_equal(recv(g->fd, mem, sizeof(mem), 0), 6);
	close(g->fd);
	g->fd = -1;
	peer_queue(g->peer, span_of("third"), 0);
	peer_send(g->peer, 0, 1);
	assert_true(g->peer->closing);
}

/* A worker's checks in one datagram are a batch; one too many, or a broken one, and none counts. */
static void
a_datagram_of_checks(void **state)
{
	struct rig *g = *state;
	struct kf_key k = limited(g->f);
	struct wire_check c = kf_check(&k);
	static uint8_t mem[2 * WIRE_BATCH_BYTES];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	for (c.seq = 1; c.seq <= WIRE_BATCH_MAX; c.seq++)
		wire_check_encode(&c, &w);
	assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
	assert_int_equal(play(g), 1);
	for (uint64_t i = 1; i <= WIRE_BATCH_MAX; i++)
		assert_int_equal(answer(g, i), i <= 3 ? VERDICT_OK : VERDICT_RATE_LIMITED);
	assert_int_equal(recv(g->fd, mem, sizeof(mem), 0), -1);

	/* Cut within the last: those before it are not decided, either. */
	wbuf_init(&w, mem, sizeof(mem));
	k = limited(g->f);
	c = kf_check(&k);
	for (c.seq = 1; c.seq <= 2; c.seq++)
		wire_check_encode(&c, &w);
	assert_int_equal(send(g->fd, mem, w.len - 1, 0), w.len - 1);
	assert_int_equal(play(g), 0);
	assert_true(g->peer->closing);
	rig_close(g);
	rig_open(g);
	for (c.seq = 3; c.seq <= WIRE_BATCH_MAX + 1; c.seq++)
		wire_check_encode(&c, &w);
	assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
	assert_int_equal(play(g), 0);
	assert_true(g->peer->closing);
	rig_close(g);
	rig_open(g);
	assert_int_equal(send(g->fd, mem, WIRE_BATCH_BYTES + 1, 0), WIRE_BATCH_BYTES + 1);
	assert_int_equal(play(g), 0);
	assert_true(g->peer->closing);
}

/* Who may administer is decided by the socket, too: a worker has the service user's id. */
static void
the_socket_says_who_may_administer(void **state)
{
	struct rig *g = *state;
	struct peer *p;
	int sv[2];

	for (int checks_only = 0; checks_only < 2; checks_only++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
		assert_non_null(p = peer_new(sv[0], checks_only, &g->f->e));
		assert_int_equal(p->who.may_admin, !checks_only);
		assert_true(p->ours);
		peer_free(p);
		close(sv[1]);
	}
}

/* All strangers together have a share of a round. */
static void
strangers_have_a_share(void **state)
{
	struct rig *g = *state;
	struct kf_key k = kf_key(g->f, "");
	struct wire_check c = kf_check(&k);
	static uint8_t mem[WIRE_BATCH_BYTES];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	for (c.seq = 1; c.seq <= WIRE_BATCH_MAX; c.seq++)
		wire_check_encode(&c, &w);
	for (int i = 0; i < ROUND_STRANGERS_MAX / WIRE_BATCH_MAX; i++)
		assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
	g->peer->ours = 0;
	assert_false(round_full(g->round, g->peer));
	round_receive(g->round, g->peer);
	assert_true(round_full(g->round, g->peer));
	g->peer->ours = 1;
	assert_false(round_full(g->round, g->peer));
	assert_int_equal(play(g), 0);
}

/* What a peer that is gone has asked is not counted. */
static void
the_gone_are_not_counted(void **state)
{
	struct rig *g = *state;
	struct kf_key k = limited(g->f);

	send_check(g, &k, 1);
	assert_int_equal(send(g->fd, "junk", 4, 0), 4);
	assert_int_equal(play(g), 0);
	assert_true(g->peer->closing);
	assert_int_equal(answer(g, 1), -1);
	/* And nothing more is taken from it. */
	send_check(g, &k, 2);
	assert_int_equal(play(g), 0);
}

static void
send_report(const struct rig *g, uint32_t number, uint64_t seq)
{
	struct netaddr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, (uint8_t)(number >> 16),
	    (uint8_t)(number >> 8), (uint8_t)number}};
	struct wire_report r = {.client = 1,
	    .seq = seq,
	    .deadline_us = clock_mono_us() + 10 * CLOCK_SECOND,
	    .attempts = 20,
	    .block_us = 300 * CLOCK_SECOND};
	uint8_t mem[WIRE_CHECK_MAX];
	struct wbuf w;

	netaddr_client(&a, &r.client_net);
	wbuf_init(&w, mem, sizeof(mem));
	wire_report_encode(&r, &w);
	assert_int_equal(send(g->fd, mem, w.len, 0), w.len);
}

/* A blocked client is an entry of the trail, beside checks of the same round. */
static void
reports_are_in_the_trail(void **state)
{
	struct rig *g = *state;
	struct kf_key k = limited(g->f);
	uint64_t before = store_audit_last(g->f->store);

	send_check(g, &k, 1);
	send_report(g, 1, 2);
	send_check(g, &k, 3);
	assert_int_equal(play(g), 1);
	assert_int_equal(answer(g, 1), VERDICT_OK);
	assert_int_equal(answer(g, 2), VERDICT_CLIENT_BLOCKED);
	assert_int_equal(answer(g, 3), VERDICT_OK);
	assert_int_equal(store_audit_last(g->f->store), before + 1);

	/* Anybody may connect and say anything of anybody. */
	g->peer->ours = 0;
	send_report(g, 2, 4);
	assert_int_equal(play(g), 0);
	assert_int_equal(answer(g, 4), VERDICT_CLIENT_BLOCKED);
	assert_int_equal(store_audit_last(g->f->store), before + 1);

	/* A full disk. */
	g->peer->ours = 1;
	g->reports.hold = 1;
	send_report(g, 3, 5);
	assert_int_equal(play(g), 0);
	assert_int_equal(answer(g, 5), VERDICT_CLIENT_BLOCKED);
	assert_int_equal(reports_tick(&g->reports, g->f->store, 1), 0);
	g->reports.hold = 0;
	assert_int_equal(g->reports.left_out, 1);
	assert_int_equal(reports_tick(&g->reports, g->f->store, 1), 1);
	assert_int_equal(store_audit_last(g->f->store), before + 2);
}

/* However many are reported: so many entries a minute, and one for all the others. */
static void
reports_are_bounded(void **state)
{
	struct rig *g = *state;
	uint64_t before = store_audit_last(g->f->store);

	for (uint32_t i = 0; i < 500; i++) {
		send_report(g, i, i + 1);
		(void)play(g);
		assert_int_equal(answer(g, i + 1), VERDICT_CLIENT_BLOCKED);
	}
	assert_int_equal(store_audit_last(g->f->store), before + REPORTS_MINUTE_MAX);
	assert_int_equal(g->reports.left_out, 500 - REPORTS_MINUTE_MAX);
	assert_int_equal(reports_tick(&g->reports, g->f->store, 0), 0);
	/* A minute later. */
	g->reports.minute_us -= 60 * CLOCK_SECOND;
	assert_int_equal(reports_tick(&g->reports, g->f->store, 0), 1);
	assert_int_equal(store_audit_last(g->f->store), before + REPORTS_MINUTE_MAX + 1);
	assert_int_equal(reports_tick(&g->reports, g->f->store, 1), 0);
	send_report(g, 1, 501);
	assert_int_equal(play(g), 1);
	assert_int_equal(store_audit_last(g->f->store), before + REPORTS_MINUTE_MAX + 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, rig_make, rig_free)
	    T(a_damaged_record_denies_nobody_else),
	    T(an_end_before_the_answer_counts_once),
	    T(an_answer_that_is_lost_counts_once),
	    T(answers_wait_for_a_slow_reader),
	    T(tickets_are_waited_for),
	    T(a_datagram_of_checks),
	    T(the_socket_says_who_may_administer),
	    T(strangers_have_a_share),
	    T(the_gone_are_not_counted),
	    T(reports_are_in_the_trail),
	    T(reports_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
