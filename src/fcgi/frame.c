/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * FastCGI records, as far as a worker must understand them before libfcgi may: is a request head
 * complete, is it one that libfcgi reads without blocking, without unbounded allocation and without
 * losing bytes?  Runs in every worker, on bytes of anyone who can reach the socket.
 *
 * Not a FastCGI implementation: the request is read, and answered, by libfcgi.  Only refusals of
 * heads that libfcgi must not see, and management records, are answered from here.
 *
 * Invariants: nothing is read behind the ${n} bytes given; FRAME_READY means that the records are
 * BEGIN and PARAMS of one request alone, that name-value pairs end exactly where the params end,
 * that no name holds '=' or NUL and no value NUL (libfcgi makes "NAME=value" C strings of them:
 * such a param would arrive as another), and that the sums are within http/params.h's bounds.
 */

#include <string.h>

#include "fcgi/frame.h"

#include "base/buf.h"
#include "http/params.h"

enum record_type {
	RECORD_BEGIN_REQUEST = 1,
	RECORD_END_REQUEST = 3,
	RECORD_PARAMS = 4,
	RECORD_STDIN = 5,
	RECORD_STDOUT = 6,
	RECORD_GET_VALUES = 9,
	RECORD_GET_VALUES_RESULT = 10,
	RECORD_UNKNOWN_TYPE = 11
};

#define RECORD_VERSION 1
#define RECORD_HEADER 8
#define RECORD_CONTENT_MAX 65528 /* the largest multiple of 8 that the length field holds */
#define BEGIN_BODY 8
#define KEEP_CONN_FLAG 1
#define REQUEST_COMPLETE 0
#define UNKNOWN_ROLE 3

struct record {
	uint8_t type;
	uint16_t id;
	size_t content_len; /* as declared */
	size_t size;	    /* with header and padding, as declared */
	const uint8_t *content;
	size_t here; /* bytes of the content that are there */
};

/* The record at ${off}: 1 whole, 0 in part (content is NULL while its header is not there), -1 not
 * FastCGI. */
static int
record_at(const uint8_t *bytes, size_t n, size_t off, struct record *r)
{
	const uint8_t *h = bytes + off;
	size_t left = n - off;

	memset(r, 0, sizeof(*r));
	if (left > 0 && h[0] != RECORD_VERSION)
		return -1;
	if (left < RECORD_HEADER)
		return 0;
	r->type = h[1];
	r->id = (uint16_t)(h[2] << 8 | h[3]);
	r->content_len = (size_t)h[4] << 8 | h[5];
	r->size = RECORD_HEADER + r->content_len + h[6];
	r->content = h + RECORD_HEADER;
	r->here = left - RECORD_HEADER < r->content_len ? left - RECORD_HEADER : r->content_len;
	return left >= r->size;
}

/* The content of consecutive PARAMS records as one run of bytes. */
struct stream {
	const uint8_t *bytes;
	size_t n, next; /* where the next record begins */
	const uint8_t *p;
	size_t left; /* of this record's content */
	int ended;   /* the empty PARAMS was reached */
};

static void
stream_init(struct stream *s, const uint8_t *bytes, size_t n)
{
	memset(s, 0, sizeof(*s));
	s->bytes = bytes;
	s->n = n;
	s->next = RECORD_HEADER + BEGIN_BODY + (n >= RECORD_HEADER ? bytes[6] : 0);
}

/* To the next record that has a byte: 1, or 0 at the end of the params or of what is there. */
static int
stream_next(struct stream *s)
{
	struct record r;
	int whole;

	while (s->left == 0) {
		if (s->ended || s->next >= s->n)
			return 0;
		whole = record_at(s->bytes, s->n, s->next, &r);
		if (whole == -1 || r.type != RECORD_PARAMS || r.content_len == 0) {
			s->ended = 1;
			return 0;
		}
		s->p = r.content;
		s->left = r.here;
		s->next = whole ? s->next + r.size : s->n;
	}
	return 1;
}

/* Makes the next byte available, likewise.  Nearly always it is there. */
static inline int
stream_more(struct stream *s)
{
	return s->left > 0 || stream_next(s);
}

/* Would libfcgi's "NAME=value" be read as something else? */
static int
has_bad(const uint8_t *p, size_t n, int is_name)
{
	return memchr(p, '\0', n) != NULL || (is_name && memchr(p, '=', n) != NULL);
}

/*
 * Moves over ${k} bytes of a name or of a value: 1, or 0 when fewer are there.  A bad one among
 * them is remembered in *found.  *at: where they begin when all of them are in one record, else
 * NULL.
 */
static int
stream_take(struct stream *s, size_t k, int is_name, int *found, const uint8_t **at)
{
	size_t chunk;

	*at = NULL;
	if (!stream_more(s))
		return k == 0;
	if (s->left >= k)
		*at = s->p;
	for (;;) {
		chunk = s->left < k ? s->left : k;
		*found |= has_bad(s->p, chunk, is_name);
		s->p += chunk;
		s->left -= chunk;
		k -= chunk;
		if (k == 0)
			return 1;
		if (!stream_more(s))
			return 0;
	}
}

static inline int
stream_byte(struct stream *s, uint8_t *byte)
{
	if (!stream_more(s))
		return 0;
	*byte = *s->p++;
	s->left--;
	return 1;
}

/* A length of a name-value pair (FastCGI 1.0, 3.4): one byte, or four with the high bit set. */
static int
stream_length(struct stream *s, size_t *len)
{
	uint8_t byte;
	int i;

	if (!stream_byte(s, &byte))
		return 0;
	*len = byte;
	if (byte < 0x80)
		return 1;
	*len = byte & 0x7f;
	for (i = 0; i < 3; i++) {
		if (!stream_byte(s, &byte))
			return 0;
		*len = *len << 8 | byte;
	}
	return 1;
}

/* As two times stream_take.  Nearly always both name and value are in this record. */
static inline int
stream_pair(struct stream *s, size_t name_len, size_t value_len, int *found)
{
	const uint8_t *at;

	if (s->left < name_len + value_len)
		return stream_take(s, name_len, 1, found, &at) &&
		       stream_take(s, value_len, 0, found, &at);
	*found |= has_bad(s->p, name_len, 1) || has_bad(s->p + name_len, value_len, 0);
	s->p += name_len + value_len;
	s->left -= name_len + value_len;
	return 1;
}

/* The pairs of a complete head. */
static enum frame_result
scan_pairs(const uint8_t *bytes, size_t n)
{
	struct stream s;
	size_t pairs = 0, sum = 0, name_len, value_len;
	int found = 0;

	stream_init(&s, bytes, n);
	while (stream_more(&s)) {
		if (!stream_length(&s, &name_len) || !stream_length(&s, &value_len))
			return FRAME_BAD;
		sum += name_len + value_len;
		if (++pairs > PARAMS_MAX || sum > PARAMS_BYTES_MAX)
			return FRAME_REFUSE;
		if (!stream_pair(&s, name_len, value_len, &found))
			return FRAME_BAD;
	}
	return found ? FRAME_REFUSE : FRAME_READY;
}

/* Does nothing but FCGI_STDIN follow, up to its empty one and no further? */
static int
scan_stdin(const uint8_t *bytes, size_t n, size_t off, uint16_t id)
{
	struct record r;

	for (;;) {
		if (record_at(bytes, n, off, &r) != 1 || r.type != RECORD_STDIN || r.id != id)
			return 0;
		off += r.size;
		if (r.content_len == 0)
			return off == n;
	}
}

/* The first record: MORE, BAD, MANAGEMENT, UNKNOWN_ROLE, or READY for a BEGIN that we serve. */
static enum frame_result
scan_begin(const uint8_t *bytes, size_t n, struct frame *f)
{
	struct record r;
	int whole;

	whole = record_at(bytes, n, 0, &r);
	if (whole == -1)
		return FRAME_BAD;
	if (r.content == NULL)
		return FRAME_MORE;
	if (r.id == 0 && r.type != RECORD_BEGIN_REQUEST) {
		f->head_len = r.size;
		return whole ? FRAME_MANAGEMENT : FRAME_MORE;
	}
	if (r.type != RECORD_BEGIN_REQUEST || r.id == 0 || r.content_len != BEGIN_BODY)
		return FRAME_BAD;
	if (!whole)
		return FRAME_MORE;
	f->request_id = r.id;
	f->role = (uint16_t)(r.content[0] << 8 | r.content[1]);
	f->keep_conn = (r.content[2] & KEEP_CONN_FLAG) != 0;
	f->head_len = r.size;
	return f->role == 1 || f->role == 2 ? FRAME_READY : FRAME_UNKNOWN_ROLE;
}

enum frame_result
frame_scan(const uint8_t *bytes, size_t n, struct frame *f)
{
	struct record r;
	enum frame_result rc;
	size_t off;
	int whole;

	memset(f, 0, sizeof(*f));
	if ((rc = scan_begin(bytes, n, f)) != FRAME_READY)
		return rc;
	off = f->head_len;
	f->head_len = 0;
	do {
		whole = record_at(bytes, n, off, &r);
		if (whole == -1)
			return FRAME_BAD;
		if (r.content != NULL && (r.type != RECORD_PARAMS || r.id != f->request_id))
			return FRAME_BAD;
		if (!whole)
			return n >= FRAME_PEEK_MAX ? FRAME_REFUSE : FRAME_MORE;
		off += r.size;
	} while (r.content_len > 0);
	f->head_len = off;
	f->stdin_done = scan_stdin(bytes, n, off, f->request_id);
	return scan_pairs(bytes, off);
}

int
frame_param(const uint8_t *bytes, size_t n, const char *name, const uint8_t **value, size_t *len)
{
	struct stream s;
	const uint8_t *name_at, *value_at;
	size_t name_len, value_len;
	int found = 0;

	*value = NULL;
	*len = 0;
	stream_init(&s, bytes, n);
	while (stream_length(&s, &name_len) && stream_length(&s, &value_len) &&
	       stream_take(&s, name_len, 1, &found, &name_at) &&
	       stream_take(&s, value_len, 0, &found, &value_at)) {
		if (name_at == NULL || value_at == NULL || name_len != strlen(name) ||
		    memcmp(name_at, name, name_len) != 0)
			continue;
		*value = value_at;
		*len = value_len;
		return 1;
	}
	return 0;
}

static void
put_header(struct wbuf *w, enum record_type type, uint16_t id, size_t content, size_t padding)
{
	wbuf_u8(w, RECORD_VERSION);
	wbuf_u8(w, (uint8_t)type);
	wbuf_u16(w, id);
	wbuf_u16(w, (uint16_t)content);
	wbuf_u8(w, (uint8_t)padding);
	wbuf_u8(w, 0);
}

/* FastCGI 1.0, 5.5, with appStatus 0. */
static void
put_end(struct wbuf *w, uint16_t id, uint8_t protocol_status)
{
	put_header(w, RECORD_END_REQUEST, id, 8, 0);
	wbuf_bytes(w, "\0\0\0\0", 4);
	wbuf_u8(w, protocol_status);
	wbuf_bytes(w, "\0\0\0", 3);
}

/* The variables of FastCGI 1.0, 4.1.  A connection carries one request at a time. */
static const struct {
	const char *name, *value;
} variables[] = {
    {"FCGI_MAX_CONNS", "1024"},
    {"FCGI_MAX_REQS", "1024"},
    {"FCGI_MPXS_CONNS", "0"},
};

/* Is ${name} among the pairs of a GET_VALUES record?  Malformed pairs end the search. */
static int
asks_for(const struct record *r, const char *name)
{
	struct rbuf in;
	const uint8_t *p;
	uint8_t name_len, value_len;

	rbuf_init(&in, r->content, r->here);
	while (in.pos < in.len) {
		name_len = rbuf_u8(&in);
		value_len = rbuf_u8(&in);
		p = rbuf_bytes(&in, name_len);
		(void)rbuf_bytes(&in, value_len);
		if (in.bad || (name_len & 0x80) || (value_len & 0x80))
			return 0;
		if (name_len == strlen(name) && memcmp(p, name, name_len) == 0)
			return 1;
	}
	return 0;
}

size_t
frame_management(const uint8_t *bytes, size_t n, uint8_t *out, size_t cap)
{
	uint8_t mem[FRAME_MANAGEMENT_MAX];
	struct record r;
	struct wbuf w, content;
	size_t i;

	if (cap < FRAME_MANAGEMENT_MAX || record_at(bytes, n, 0, &r) != 1)
		return 0;
	wbuf_init(&content, mem, sizeof(mem));
	wbuf_init(&w, out, cap);
	if (r.type != RECORD_GET_VALUES) {
		put_header(&w, RECORD_UNKNOWN_TYPE, 0, 8, 0);
		wbuf_u8(&w, r.type);
		wbuf_bytes(&w, "\0\0\0\0\0\0", 7);
		return w.overflow ? 0 : w.len;
	}
	for (i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		if (!asks_for(&r, variables[i].name))
			continue;
		wbuf_u8(&content, (uint8_t)strlen(variables[i].name));
		wbuf_u8(&content, (uint8_t)strlen(variables[i].value));
		wbuf_str(&content, variables[i].name);
		wbuf_str(&content, variables[i].value);
	}
	put_header(&w, RECORD_GET_VALUES_RESULT, 0, content.len, 0);
	wbuf_span(&w, wbuf_view(&content));
	return w.overflow || content.overflow ? 0 : w.len;
}

size_t
frame_response(uint16_t id, const void *data, size_t n, uint8_t *out, size_t cap)
{
	const uint8_t *p = data;
	struct wbuf w;
	size_t chunk, padding;

	wbuf_init(&w, out, cap);
	for (; n > 0; n -= chunk, p += chunk) {
		chunk = n < RECORD_CONTENT_MAX ? n : RECORD_CONTENT_MAX;
		padding = -chunk & 7;
		put_header(&w, RECORD_STDOUT, id, chunk, padding);
		wbuf_bytes(&w, p, chunk);
		wbuf_bytes(&w, "\0\0\0\0\0\0", padding);
	}
	put_header(&w, RECORD_STDOUT, id, 0, 0);
	put_end(&w, id, REQUEST_COMPLETE);
	return w.overflow ? 0 : w.len;
}

size_t
frame_unknown_role(uint16_t id, uint8_t *out, size_t cap)
{
	struct wbuf w;

	wbuf_init(&w, out, cap);
	put_end(&w, id, UNKNOWN_ROLE);
	return w.overflow ? 0 : w.len;
}
