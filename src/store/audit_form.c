/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The bytes of the audit trail: an entry, and the record of where the trail ends (its head).
 *
 * Used by audit.c and audit_verify.c; it reads and writes no database.
 *
 * An entry ends with the link to the one before it, its own hash (SHA-256 over its number and all
 * of its bytes up to there) and a seal of that hash, made with a key that the owner of the store
 * has and the store has not.  Its link is the SHA-256 of hash and seal.  The links make a chain
 * that anybody can follow; the seals are what somebody who can write to the store, and so could
 * hash it all anew, cannot make.  The head is sealed alike, so that a trail without its end is not
 * a shorter trail.
 *
 * Invariants: a seal is over its kind, so that no entry's is a head's; bytes that do not decode as
 * a whole are no entry.
 */

#include <string.h>

#include "base/buf.h"
#include "store/audit.h"

#define ENTRY_VERSION 2
#define HEAD_VERSION 1
#define SEALED_MAX 256

static struct span
sealed_bytes(struct wbuf *w, uint8_t mem[SEALED_MAX], const char *kind, struct span bytes)
{
	wbuf_init(w, mem, SEALED_MAX);
	wbuf_str(w, kind);
	wbuf_u8(w, 0);
	wbuf_span(w, bytes);
	return wbuf_view(w);
}

/* 0; without a sealer the seal is empty, and by nobody. */
static int
seal(const struct store_sealer *sealer, const char *kind, struct span bytes, struct store_seal *out,
    struct err *e)
{
	uint8_t mem[SEALED_MAX];
	struct span sealed;
	struct wbuf w;

	*out = (struct store_seal){0};
	if (sealer->seal == NULL)
		return 0;
	sealed = sealed_bytes(&w, mem, kind, bytes);
	if (w.overflow || sealer->seal(sealer->cookie, sealed, &out->by, out->seal) != 0)
		return err_set(e, ERR_SYSTEM, "cannot seal the audit trail");
	return 0;
}

static enum store_sealed
check(const struct store_sealer *sealer, const char *kind, struct span bytes,
    const struct store_seal *s)
{
	uint8_t mem[SEALED_MAX];
	struct span sealed;
	struct wbuf w;
	int rc;

	if (sealer->check == NULL)
		return STORE_SEALED_UNKNOWN;
	sealed = sealed_bytes(&w, mem, kind, bytes);
	if (w.overflow)
		return STORE_SEALED_NOT;
	rc = sealer->check(sealer->cookie, s->by, sealed, s->seal);
	return rc == 1 ? STORE_SEALED : rc == 0 ? STORE_SEALED_NOT : STORE_SEALED_UNKNOWN;
}

static void
put_seal(struct wbuf *w, const struct store_seal *s)
{
	wbuf_u32(w, s->by);
	wbuf_bytes(w, s->seal, sizeof(s->seal));
}

static void
get(struct rbuf *in, void *to, size_t n)
{
	const uint8_t *p = rbuf_bytes(in, n);

	if (p != NULL)
		memcpy(to, p, n);
}

static void
get_seal(struct rbuf *in, struct store_seal *s)
{
	s->by = rbuf_u32(in);
	get(in, s->seal, sizeof(s->seal));
}

/* ---- entries ---- */

static int
link_of(const uint8_t hash[DIGEST_LEN], const struct store_seal *s, uint8_t out[DIGEST_LEN],
    struct err *e)
{
	uint8_t mem[2 * DIGEST_LEN + 4];
	struct wbuf w;

	wbuf_init(&w, mem, sizeof(mem));
	wbuf_bytes(&w, hash, DIGEST_LEN);
	put_seal(&w, s);
	return digest_sha256(w.p, w.len, out, e);
}

struct span
store_entry_key(uint8_t buf[STORE_ENTRY_KEY], uint64_t seq)
{
	struct wbuf out;

	wbuf_init(&out, buf, STORE_ENTRY_KEY);
	wbuf_u64(&out, seq);
	return wbuf_view(&out);
}

uint64_t
store_entry_number(struct span key)
{
	struct rbuf in;
	uint64_t seq;

	rbuf_init(&in, key.p, key.len);
	seq = rbuf_u64(&in);
	return rbuf_done(&in) == 0 && seq <= STORE_AUDIT_SEQ_MAX ? seq : 0;
}

int
store_entry_encode(const struct store_sealer *sealer, const struct store_audit *a,
    const uint8_t prev[DIGEST_LEN], struct wbuf *out, uint8_t link[DIGEST_LEN], struct err *e)
{
	uint8_t hash[DIGEST_LEN];
	struct store_seal s;

	wbuf_u64(out, a->seq);
	wbuf_u8(out, ENTRY_VERSION);
	wbuf_u64(out, (uint64_t)a->when_us);
	wbuf_u32(out, a->uid);
	wbuf_u32(out, a->pid);
	wbuf_u8(out, (uint8_t)a->via);
	wbuf_str16(out, a->actor);
	wbuf_str16(out, a->admin_key);
	wbuf_str16(out, a->address);
	wbuf_str16(out, a->op);
	wbuf_str16(out, a->subject);
	wbuf_str16(out, a->error);
	wbuf_str16(out, a->detail);
	wbuf_bytes(out, prev, DIGEST_LEN);
	if (out->overflow)
		return err_set(e, ERR_INTERNAL, "an audit entry is too long");
	if (digest_sha256(out->p, out->len, hash, e) != 0 ||
	    seal(sealer, "entry", (struct span){(const char *)hash, DIGEST_LEN}, &s, e) != 0 ||
	    link_of(hash, &s, link, e) != 0)
		return -1;
	wbuf_bytes(out, hash, DIGEST_LEN);
	put_seal(out, &s);
	return out->overflow ? err_set(e, ERR_INTERNAL, "an audit entry is too long") : 0;
}

int
store_entry_decode(struct span bytes, struct store_entry *en)
{
	struct store_audit *a = &en->a;
	uint8_t version, via;
	struct rbuf in;

	*en = (struct store_entry){0};
	rbuf_init(&in, bytes.p, bytes.len);
	a->seq = rbuf_u64(&in);
	version = rbuf_u8(&in);
	a->when_us = (int64_t)rbuf_u64(&in);
	a->uid = rbuf_u32(&in);
	a->pid = rbuf_u32(&in);
	via = rbuf_u8(&in);
	a->via = (enum store_via)via;
	a->actor = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->admin_key = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->address = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->op = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->subject = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->error = rbuf_str16(&in, STORE_AUDIT_WORD_MAX);
	a->detail = rbuf_str16(&in, STORE_AUDIT_DETAIL_MAX);
	get(&in, en->prev, sizeof(en->prev));
	en->hashed = (struct span){bytes.p, in.pos};
	get(&in, en->hash, sizeof(en->hash));
	get_seal(&in, &en->seal);
	if (rbuf_done(&in) == 0 && version == ENTRY_VERSION && via < STORE_VIAS &&
	    link_of(en->hash, &en->seal, en->link, NULL) == 0)
		return 0;
	*en = (struct store_entry){.a = {.seq = a->seq, .damaged = 1}};
	return -1;
}

enum store_sealed
store_entry_check(const struct store_sealer *sealer, const struct store_entry *en)
{
	uint8_t hash[DIGEST_LEN];

	if (digest_sha256(en->hashed.p, en->hashed.len, hash, NULL) != 0 ||
	    !digest_equal(hash, en->hash))
		return STORE_SEALED_NOT;
	return check(sealer, "entry", (struct span){(const char *)hash, DIGEST_LEN}, &en->seal);
}

/* ---- the head ---- */

int
store_head_encode(
    const struct store_sealer *sealer, struct store_trail *t, struct wbuf *out, struct err *e)
{
	struct store_seal s;

	wbuf_u8(out, HEAD_VERSION);
	wbuf_u64(out, t->last);
	wbuf_bytes(out, t->hash, sizeof(t->hash));
	wbuf_u64(out, t->pruned);
	wbuf_bytes(out, t->pruned_hash, sizeof(t->pruned_hash));
	wbuf_u64(out, t->pruned_told);
	if (seal(sealer, "head", wbuf_view(out), &s, e) != 0)
		return -1;
	put_seal(out, &s);
	t->sealed_by = s.by;
	return out->overflow ? err_set(e, ERR_INTERNAL, "the head of the trail is too long") : 0;
}

enum store_sealed
store_head_decode(const struct store_sealer *sealer, struct span bytes, struct store_trail *t)
{
	struct store_seal s = {0};
	struct span sealed;
	struct rbuf in;
	uint8_t version;

	*t = (struct store_trail){0};
	rbuf_init(&in, bytes.p, bytes.len);
	version = rbuf_u8(&in);
	t->last = rbuf_u64(&in);
	get(&in, t->hash, sizeof(t->hash));
	t->pruned = rbuf_u64(&in);
	get(&in, t->pruned_hash, sizeof(t->pruned_hash));
	t->pruned_told = rbuf_u64(&in);
	sealed = (struct span){bytes.p, in.pos};
	get_seal(&in, &s);
	t->sealed_by = s.by;
	if (rbuf_done(&in) != 0 || version != HEAD_VERSION || t->last > STORE_AUDIT_SEQ_MAX ||
	    t->pruned > t->last || t->pruned_told > t->pruned)
		return STORE_SEALED_NOT;
	return check(sealer, "head", sealed, &s);
}
