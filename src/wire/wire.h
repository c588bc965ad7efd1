/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef WIRE_WIRE_H_
#define WIRE_WIRE_H_

/*
 * The messages between the keeper and its clients (workers, the apikey tool): one datagram each on
 * a SOCK_SEQPACKET unix socket.  A message is a header (u8 version, u8 type, u16 zero, u32 length
 * of what follows) and a body.  For a check and its answer the body is packed (the hot path); for
 * admin operations and theirs it is a JSON object.  Both sides treat the other as hostile: every
 * decoder is strict.
 *
 * Checks may share a datagram, one behind the other, and so may answers: a busy worker and the
 * keeper then wake each other once for many requests.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/netaddr.h"
#include "base/span.h"
#include "core/plan.h"
#include "core/scope.h"
#include "core/token.h"
#include "core/verdict.h"

#define WIRE_VERSION 1
#define WIRE_HEADER 8
#define WIRE_CREDENTIAL_MAX 512
#define WIRE_REFERRER_MAX 2048
#define WIRE_APP_MAX 256
#define WIRE_METHOD_MAX 32
#define WIRE_REQUEST_ID_MAX 128
#define WIRE_CHECK_MAX 8192	/* any check, with header */
#define WIRE_ANSWER_MAX 16384	/* any answer to one */
#define WIRE_MESSAGE_MAX 131072 /* any message: JSON */
#define WIRE_BATCH_MAX 32	/* checks, or answers, in one datagram */
#define WIRE_BATCH_BYTES 65536	/* of such a datagram */

enum wire_type {
	WIRE_CHECK = 1,
	WIRE_ANSWER = 2,
	WIRE_ADMIN = 3, /* JSON request */
	WIRE_REPLY = 4, /* JSON reply */
	WIRE_REPORT = 5 /* a client was blocked; an answer follows, which says nothing */
};

/* Where the credential was seen, when it was not where it belongs (bits = KEYREC_EXPOSED_*). */

struct wire_check {
	uint64_t client; /* random, of this worker process: with seq the identity of the check */
	uint64_t seq;	 /* comes back in the answer */
	int64_t deadline_us; /* CLOCK_MONOTONIC; a check found later than this is dropped, not
				decided */
	uint8_t exposed; /* nonzero: only mark the key exposed; the verdict is decided already */
	uint8_t retry;	 /* sent before, on a connection that broke: may be decided already */
	uint32_t cost;
	int has_addr;
	int browser; /* it came from a browser: Origin or Sec-Fetch-* */
	struct netaddr addr;
	struct span credential, needed_scopes, referrer, app, method, request_id;
};

#define WIRE_ATTEMPTS_MAX 1000000
#define WIRE_BLOCK_MAX_US (INT64_C(366) * 86400 * 1000000)

struct wire_report {
	uint64_t client, seq; /* as in a check */
	int64_t deadline_us;
	struct netaddr_net client_net; /* who: netaddr_client */
	uint32_t attempts;	       /* failed ones that led to it */
	int64_t block_us;
};

struct wire_limit {
	char name[LIMIT_NAME_MAX + 1];
	uint64_t max_units;
	int64_t window_us;
	uint64_t remaining; /* after this request */
	int64_t more_us;    /* until the window has more room than now */
	int violated;
};

struct wire_answer {
	uint64_t seq;
	enum verdict verdict;
	int64_t retry_us; /* rate_limited: until this request would be admitted; -1: never */
	int64_t
	    rotate_by_us; /* wall clock: when the secret will be refused or is to be replaced; of
			     a denial: when it was, its key being good; 0: nothing to be told */
	struct span id, owner, plan, scopes,
	    meta; /* of an admitted key; scopes space separated; meta JSON or empty */
	size_t nlimits;
	struct wire_limit limits[PLAN_LIMITS_MAX];
};

/* Whole messages, header included.  Encoders overflow ${w} when something is over its bound. */
void wire_check_encode(const struct wire_check *, struct wbuf *);
void wire_report_encode(const struct wire_report *, struct wbuf *);
void wire_answer_encode(const struct wire_answer *, struct wbuf *);
/* Decoded spans borrow from the message.  0, or -1 and why. */
int wire_check_decode(struct span, struct wire_check *, struct err *)
    __attribute__((warn_unused_result));
int wire_report_decode(struct span, struct wire_report *, struct err *)
    __attribute__((warn_unused_result));
int wire_answer_decode(struct span, struct wire_answer *, struct err *)
    __attribute__((warn_unused_result));

/*
 * Cut the first message, as long as its header says, off a datagram of several; what is not one of
 * them as a whole comes out as it is, to be refused by its decoder.  Empty at the end.
 */
struct span wire_next(struct span *datagram);

/* The type of a message whose header is right (version, zero, exact length), else -1. */
int wire_type_of(struct span);
/* A JSON message: header + text, into ${w}. */
void wire_json_encode(enum wire_type, struct span json, struct wbuf *);
struct span wire_body(struct span message);

/* ---- sockets ---- */

/*
 * The keeper's sockets in a run directory: "<run_dir>/keeper.sock", where who connects decides what
 * may be asked, and "<run_dir>/check.sock", which takes checks alone, whoever connects.  -1 when the
 * path is too long.
 */
int wire_socket_path(const char *run_dir, char *, size_t, struct err *)
    __attribute__((warn_unused_result));
int wire_check_path(const char *run_dir, char *, size_t, struct err *)
    __attribute__((warn_unused_result));

/*
 * wire_listen: bind it (mode 0666: who may do what is decided by SO_PEERCRED), replacing a stale
 * file but never a live socket (ERR_BUSY).  The caller owns the store's lock already.  fd
 * (non-blocking, close-on-exec) or -1.
 */
int wire_listen(const char *path, struct err *) __attribute__((warn_unused_result));

/*
 * wire_connect: fd (close-on-exec, blocking), or -1 with ERR_UNAVAILABLE when nobody listens,
 * ERR_BUSY when somebody does but takes no connection for some seconds.
 */
int wire_connect(const char *path, struct err *) __attribute__((warn_unused_result));

/*
 * wire_call(fd, request, reply, cap, timeout_us, e): one JSON request, one JSON reply (its text's
 * length in the return value), for the tool.  -1: ERR_UNAVAILABLE.  Whether a change was made is
 * then unknown; the message says so.
 */
long wire_call(int fd, struct span request, char *reply, size_t cap, int64_t timeout_us,
    struct err *) __attribute__((warn_unused_result));

#endif /* !WIRE_WIRE_H_ */
