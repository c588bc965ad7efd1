/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * HTTP for `apikey doctor`, by libcurl: one request at a time, exactly as it is described, and
 * whatever comes back.  It judges nothing.
 *
 * Invariants: what libcurl copied (headers hold a key) is wiped when it is freed; a request goes
 * where the URL says and nowhere else (no redirects, no proxy of the environment, no .netrc); a
 * signal ends the waiting within a moment and is delivered when the prober is freed.
 */

#include <sys/signalfd.h>

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <curl/curl.h>

#include "apikey/probe.h"
#include "apikey/probe_url.h"
#include "base/clock.h"
#include "base/secret.h"

/* An API may stream without end: what came in this time after the head is the answer. */
#define BODY_PATIENCE_US (2 * CLOCK_SECOND)
#define POLL_MS 100
#define EXPECT_MS 1000 /* for "100 Continue", before the body is sent unasked */

static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct prober {
	const struct probe_where *where;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *lines;
	sigset_t before;
	void (*pipe_before)(int);
	int signal_fd, interrupted;
	int is_https;
	char origin[PROBE_ORIGIN_MAX], plain[PROBE_ORIGIN_MAX]; /* "https://host:port" */
	char target[PROBE_TARGET_MAX];
	/* of the request that is under way */
	struct answer *answer;
	const char *body;
	size_t body_at;
	int64_t head_us; /* when the head was complete; 0: not yet */
};

/* ---- memory ---- */

static void
wiping_free(void *p)
{
	if (p != NULL)
		secret_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *
wiping_realloc(void *p, size_t n)
{
	size_t had = p == NULL ? 0 : malloc_usable_size(p);
	void *fresh;

	if (had >= n && p != NULL && n > 0)
		return p;
	if ((fresh = malloc(n == 0 ? 1 : n)) == NULL)
		return NULL;
	if (p != NULL)
		memcpy(fresh, p, had < n ? had : n);
	wiping_free(p);
	return fresh;
}

/* ---- the URL ---- */

/* Where the same API would be over plain HTTP; "" when nobody can know. */
static int
find_plain(struct prober *p, struct err *e)
{
	char target[PROBE_TARGET_MAX];
	const char *host = p->origin + strlen("https://");
	int is_https;

	p->plain[0] = '\0';
	if (p->where->plain_url != NULL) {
		if (probe_url_split(p->where->plain_url, p->plain, &is_https, target, e) == -1)
			return -1;
		return is_https ? err_set(e, ERR_USAGE, "--http-url must begin with http:") : 0;
	}
	/* A bracket may hold colons of an address. */
	if (p->is_https && strchr(host[0] == '[' ? strchrnul(host, ']') : host, ':') == NULL)
		(void)snprintf(p->plain, sizeof(p->plain), "http://%s", host);
	return 0;
}

/* ---- life ---- */

static int
hold_signals(struct prober *p, struct err *e)
{
	sigset_t set;
	size_t i;

	(void)sigemptyset(&set);
	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		(void)sigaddset(&set, held[i]);
	if ((p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) == -1)
		return err_sys(e, "signalfd");
	(void)sigprocmask(SIG_BLOCK, &set, &p->before);
	p->pipe_before = signal(SIGPIPE, SIG_IGN);
	return 0;
}

struct prober *
prober_new(const struct probe_where *where, struct err *e)
{
	struct prober *p = calloc(1, sizeof(*p));

	if (p == NULL || curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free,
			     wiping_realloc, strdup, calloc) != CURLE_OK) {
		free(p);
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	secret_wipe_freed();
	p->where = where;
	p->signal_fd = -1;
	if (probe_url_split(where->url, p->origin, &p->is_https, p->target, e) == -1 ||
	    find_plain(p, e) == -1 || hold_signals(p, e) == -1)
		goto fail;
	if ((p->multi = curl_multi_init()) == NULL || (p->easy = curl_easy_init()) == NULL) {
		(void)err_set(e, ERR_SYSTEM, "out of memory");
		goto fail;
	}
	return p;
fail:
	prober_free(&p);
	return NULL;
}

void
prober_free(struct prober **pp)
{
	struct prober *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	curl_easy_cleanup(p->easy);
	curl_multi_cleanup(p->multi);
	curl_slist_free_all(p->lines);
	curl_global_cleanup();
	if (p->signal_fd != -1) {
		close(p->signal_fd);
		(void)signal(SIGPIPE, p->pipe_before);
		/* A signal that came meanwhile is still pending and takes effect here. */
		(void)sigprocmask(SIG_SETMASK, &p->before, NULL);
	}
	free(p);
}

const char *
prober_target(const struct prober *p)
{
	return p->target;
}

int
prober_is_https(const struct prober *p)
{
	return p->is_https;
}

int
prober_has_plain(const struct prober *p)
{
	return p->plain[0] != '\0';
}

const char *
prober_origin(const struct prober *p)
{
	return p->origin;
}

int
prober_interrupted(const struct prober *p)
{
	return p->interrupted;
}

/* ---- callbacks ---- */

static size_t
on_header(char *line, size_t size, size_t n, void *cookie)
{
	struct prober *p = cookie;

	(void)size;
	if (n <= 2 && p->answer->status >= 200)
		p->head_us = clock_mono_us();
	answer_add_line(p->answer, (struct span){line, n});
	return n;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *cookie)
{
	struct prober *p = cookie;

	(void)size;
	answer_add_body(p->answer, bytes, n);
	return n;
}

static size_t
on_read(char *to, size_t size, size_t n, void *cookie)
{
	struct prober *p = cookie;
	size_t left = strlen(p->body) - p->body_at, max = size * n;

	p->answer->body_taken = 1;
	if (left > max)
		left = max;
	memcpy(to, p->body + p->body_at, left);
	p->body_at += left;
	return left;
}

/* ---- one request ---- */

static int
add_line(struct prober *p, const char *line, struct err *e)
{
	struct curl_slist *more = curl_slist_append(p->lines, line);

	if (more == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	p->lines = more;
	return 0;
}

/* What is the same for every request.  Options that libcurl may refuse are those of TLS: a build
 * without it cannot be used, and tells so when it connects. */
static void
set_common(struct prober *p)
{
	const struct probe_where *w = p->where;
	CURL *h = p->easy;

	curl_easy_reset(h);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "apikey-doctor/" PACKAGE_VERSION);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)(w->timeout_us / 1000));
	curl_easy_setopt(h, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_MS);
	curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, w->insecure ? 0L : 1L);
	curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, w->insecure ? 0L : 2L);
	if (w->cacert != NULL)
		curl_easy_setopt(h, CURLOPT_CAINFO, w->cacert);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, p);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, p);
	curl_easy_setopt(h, CURLOPT_URL, p->origin);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

static int
set_request(struct prober *p, const struct probe_request *r, struct err *e)
{
	static const long versions[] = {[PROBE_HTTP11] = CURL_HTTP_VERSION_1_1,
	    [PROBE_HTTP10] = CURL_HTTP_VERSION_1_0,
	    [PROBE_HTTP2] = CURL_HTTP_VERSION_2TLS};
	CURL *h = p->easy;
	size_t i;

	set_common(p);
	curl_slist_free_all(p->lines);
	p->lines = NULL;
	for (i = 0; i < p->where->nheaders; i++) {
		if (add_line(p, p->where->headers[i], e) == -1)
			return -1;
	}
	for (i = 0; i < r->nheaders; i++) {
		if (add_line(p, r->headers[i], e) == -1)
			return -1;
	}
	if (r->plain)
		curl_easy_setopt(h, CURLOPT_URL, p->plain);
	curl_easy_setopt(h, CURLOPT_REQUEST_TARGET, r->target);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, versions[r->http]);
	/* Some servers hang up when they are offered HTTP/1.0 alone within TLS. */
	curl_easy_setopt(h, CURLOPT_SSL_ENABLE_ALPN, r->http == PROBE_HTTP10 ? 0L : 1L);
	/* Another version of HTTP, or a body that may not be asked for: no connection to share. */
	curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, r->http != PROBE_HTTP11 || r->body ? 1L : 0L);
	curl_easy_setopt(h, CURLOPT_FORBID_REUSE, r->http != PROBE_HTTP11 || r->body ? 1L : 0L);
	if (r->body != NULL) {
		curl_easy_setopt(h, CURLOPT_POST, 1L);
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)strlen(r->body));
		curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(h, CURLOPT_READDATA, p);
	}
	if (r->method != NULL && strcmp(r->method, "HEAD") == 0)
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	else if (r->method != NULL)
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, p->lines);
	return 0;
}

static const char *
mend_of(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return "; --cacert FILE names the authority that signed it, --insecure does "
		       "without";
	case CURLE_SSL_CACERT_BADFILE:
		return "; --cacert needs a file of certificates in PEM";
	case CURLE_SSL_CONNECT_ERROR:
		return "; does this port speak HTTPS?";
	default:
		return "";
	}
}

static enum answer_kind
kind_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ANSWER_TIMEOUT;
	case CURLE_COULDNT_CONNECT:
		return ANSWER_REFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return ANSWER_UNREACHABLE;
	default:
		return ANSWER_CLOSED;
	}
}

/* How it ended.  With a status there is an answer, however the connection ended. */
static void
conclude(struct prober *p, CURLcode code)
{
	struct answer *a = p->answer;

	if (a->kind == ANSWER_GOT && a->status >= 200) {
		a->cut |= code != CURLE_OK;
		return;
	}
	a->kind = kind_of(code);
	a->status = 0;
	(void)snprintf(a->why, sizeof(a->why), "%s%s",
	    code == CURLE_OPERATION_TIMEDOUT ? "nothing came in time (--timeout)"
	    : code == CURLE_OK		     ? "what came is no HTTP"
					     : curl_easy_strerror(code),
	    mend_of(code));
}

/* Run until it is done: 0; 1 when the body takes too long; -1 interrupted. */
static int
run(struct prober *p, struct err *e)
{
	struct curl_waitfd w = {.fd = p->signal_fd, .events = CURL_WAIT_POLLIN};
	int running = 1;

	p->head_us = 0;
	for (;;) {
		if (curl_multi_perform(p->multi, &running) != CURLM_OK)
			return err_set(e, ERR_SYSTEM, "libcurl fails");
		if (running == 0)
			return 0;
		if (p->head_us != 0 && clock_mono_us() - p->head_us > BODY_PATIENCE_US)
			return 1;
		w.revents = 0;
		if (curl_multi_poll(p->multi, &w, 1, POLL_MS, NULL) != CURLM_OK)
			return err_set(e, ERR_SYSTEM, "libcurl fails");
		if (w.revents != 0) {
			p->interrupted = 1;
			return err_set(e, ERR_UNAVAILABLE, "interrupted");
		}
	}
}

int
prober_send(struct prober *p, const struct probe_request *r, struct answer *a, struct err *e)
{
	CURLMsg *message;
	CURLcode code = CURLE_OK;
	int rc, left;

	answer_reset(a);
	p->answer = a;
	p->body = r->body;
	p->body_at = 0;
	if (set_request(p, r, e) == -1)
		return -1;
	if (curl_multi_add_handle(p->multi, p->easy) != CURLM_OK)
		return err_set(e, ERR_SYSTEM, "out of memory");
	rc = run(p, e);
	while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
		if (message->msg == CURLMSG_DONE)
			code = message->data.result;
	}
	(void)curl_multi_remove_handle(p->multi, p->easy);
	if (rc == -1)
		return -1;
	if (rc == 1)
		a->cut = 1;
	conclude(p, code);
	return 0;
}

/* ---- nonsense ---- */

/* Bytes of an answer, until its end or until nothing more comes. */
static void
receive(struct prober *p, CURL *h, struct answer *a)
{
	char bytes[4096];
	struct span rest;
	const char *end;
	struct pollfd w[2] = {{.events = POLLIN}, {.fd = p->signal_fd, .events = POLLIN}};
	curl_socket_t fd = -1;
	size_t n, len = 0;
	CURLcode code;

	if (curl_easy_getinfo(h, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK)
		return;
	w[0].fd = fd;
	while (len < sizeof(bytes)) {
		code = curl_easy_recv(h, bytes + len, sizeof(bytes) - len, &n);
		if (code == CURLE_OK && n > 0)
			len += n;
		else if (code != CURLE_AGAIN || poll(w, 2, 1000) <= 0 || w[1].revents != 0)
			break;
	}
	rest = (struct span){bytes, len};
	while (rest.len > 0 && (end = memchr(rest.p, '\n', rest.len)) != NULL) {
		n = (size_t)(end - rest.p) + 1;
		answer_add_line(a, (struct span){rest.p, n});
		rest.p += n;
		rest.len -= n;
		if (n <= 2)
			break;
	}
	answer_add_body(a, rest.p, rest.len);
}

int
prober_nonsense(struct prober *p, struct answer *a, struct err *e)
{
	/* No method of HTTP has such a character. */
	static const char line[] =
	    "G\001T / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	CURL *before = p->easy;
	size_t sent;

	answer_reset(a);
	p->answer = a;
	if ((p->easy = curl_easy_init()) == NULL) {
		p->easy = before;
		return err_set(e, ERR_SYSTEM, "out of memory");
	}
	set_common(p);
	curl_easy_setopt(p->easy, CURLOPT_CONNECT_ONLY, 1L);
	if (curl_easy_perform(p->easy) == CURLE_OK &&
	    curl_easy_send(p->easy, line, sizeof(line) - 1, &sent) == CURLE_OK)
		receive(p, p->easy, a);
	curl_easy_cleanup(p->easy);
	p->easy = before;
	return 0;
}
