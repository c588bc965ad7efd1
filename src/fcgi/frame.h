/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FCGI_FRAME_H_
#define FCGI_FRAME_H_

/*
 * Looks at the bytes that wait on a connection (MSG_PEEK) before libfcgi reads them, and says
 * whether a whole request head is there: FCGI_BEGIN_REQUEST and all FCGI_PARAMS up to the empty one
 * (FastCGI 1.0, 3.3, 5.1, 5.2). libfcgi's reads block; handing it only complete heads means that no
 * peer, however slow, can hold a worker. Pure, no I/O; the first code that hostile bytes meet.
 */

#include <stddef.h>
#include <stdint.h>

#define FRAME_PEEK_MAX                                                                             \
	73728 /* 64 KiB of params, names and lengths and record headers around them */
#define FRAME_MANAGEMENT_MAX 128 /* bytes of an answer to a management record */

enum frame_result {
	FRAME_MORE,   /* so far well-formed, not complete */
	FRAME_READY,  /* a complete head; stdin may follow */
	FRAME_REFUSE, /* FastCGI, but over a bound or with a NUL in a param: answer 400 unread */
	FRAME_MANAGEMENT,   /* a complete management record (FastCGI 1.0, 4) of head_len bytes */
	FRAME_UNKNOWN_ROLE, /* a BEGIN for neither a responder nor an authorizer: answer that */
	FRAME_BAD	    /* not FastCGI, or not an order that we serve: close */
};

struct frame {
	uint16_t request_id;
	uint16_t role; /* 1 responder, 2 authorizer */
	int keep_conn;
	size_t head_len; /* bytes up to the end of the empty FCGI_PARAMS */
	int stdin_done;	 /* the empty FCGI_STDIN is there too, and nothing behind it */
};

enum frame_result frame_scan(const uint8_t *, size_t, struct frame *);

/*
 * frame_param(bytes, n, name, &value, &len): finds one param in the part of a head that is there;
 * for a request that is refused unread, so that its refusal still has the right mode.  1 or 0.
 */
int frame_param(const uint8_t *, size_t, const char *, const uint8_t **, size_t *);

/*
 * The answer to the management record of ${n} bytes that frame_scan found: FCGI_GET_VALUES_RESULT
 * or FCGI_UNKNOWN_TYPE.  libfcgi's own has no bound on what it writes.  Its length; 0 when ${cap}
 * is below FRAME_MANAGEMENT_MAX.
 */
size_t frame_management(const uint8_t *, size_t n, uint8_t *, size_t cap);

/* A whole response to request ${id} with ${n} bytes of CGI output, as records; returns its length
 * or 0 when ${cap} is short. */
size_t frame_response(uint16_t id, const void *, size_t n, uint8_t *, size_t cap);

/* The refusal of request ${id} for FRAME_UNKNOWN_ROLE (FastCGI 1.0, 5.5); as frame_response. */
size_t frame_unknown_role(uint16_t id, uint8_t *, size_t cap);

#endif /* !FCGI_FRAME_H_ */
