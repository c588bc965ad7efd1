/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_PROBE_H_
#define APIKEY_PROBE_H_

/*
 * Sending one request at a time and getting its answer, for doctor.  No redirect is followed, no
 * proxy used, no cookie kept; TLS is verified unless that is switched off.
 */

#include <stddef.h>
#include <stdint.h>

#include "apikey/answer.h"
#include "base/err.h"

#define PROBE_HEADERS_MAX 24
#define PROBE_TARGET_MAX 4096

struct probe_where {
	const char *url;
	const char *plain_url; /* the same over plain HTTP; NULL: port 80 if ${url} names no port */
	const char *cacert;    /* file; NULL: the system's */
	int insecure;
	int64_t timeout_us; /* of one request */
	/* Lines that are added to every request; the caller's, as long as the prober lives. */
	size_t nheaders;
	const char *headers[PROBE_HEADERS_MAX];
};

enum probe_http { PROBE_HTTP11, PROBE_HTTP10, PROBE_HTTP2 };

struct probe_request {
	const char *method; /* NULL: GET */
	const char *target; /* as it goes into the request line */
	size_t nheaders;
	const char *headers[PROBE_HEADERS_MAX]; /* "Name: value" */
	const char *body;			/* sent when the server asks for it; NULL: none */
	enum probe_http http;
	int plain; /* over plain HTTP */
};

struct prober;

/*
 * Once a process, before any thread: libcurl with memory that is wiped when it is freed.  From here
 * on SIGINT, SIGTERM, SIGHUP and SIGQUIT are held back, so that whoever has something to undo can:
 * they end what waits, and take effect in prober_free.  SIGPIPE is ignored until then.
 */
struct prober *prober_new(const struct probe_where *, struct err *);
void prober_free(struct prober **);

/* Path and query of the URL, "/" at least; is it HTTPS; is plain HTTP to be found anywhere? */
const char *prober_target(const struct prober *);
int prober_is_https(const struct prober *);
int prober_has_plain(const struct prober *);
const char *prober_origin(const struct prober *);

/*
 * The answer, of whatever kind.  0; -1 with ${e}: a signal came (prober_interrupted), or no memory.
 */
int prober_send(struct prober *, const struct probe_request *, struct answer *, struct err *)
    __attribute__((warn_unused_result));
int prober_interrupted(const struct prober *);

/*
 * A request line that is no HTTP, which a server answers itself and never passes on: who is it?
 */
int prober_nonsense(struct prober *, struct answer *, struct err *)
    __attribute__((warn_unused_result));

#endif /* !APIKEY_PROBE_H_ */
