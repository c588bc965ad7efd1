/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef STORE_AUDIT_H_
#define STORE_AUDIT_H_

/* What the files of the audit trail share: its bytes (audit_form.c). */

#include "base/buf.h"
#include "base/digest.h"
#include "store/internal.h"

#define STORE_ENTRY_KEY 8
/* The number, 18 bytes of fixed size, six words and the detail with their lengths, what seals it.
 */
#define STORE_ENTRY_MAX                                                                            \
	(8 + 18 + 7 * 2 + 6 * STORE_AUDIT_WORD_MAX + STORE_AUDIT_DETAIL_MAX + 3 * DIGEST_LEN + 4)
/* Numbers survive JSON; one above it is nobody's. */
#define STORE_AUDIT_SEQ_MAX (UINT64_C(1) << 52)

/* Who sealed (a version of the sealer's), and the seal. */
struct store_seal {
	uint32_t by;
	uint8_t seal[DIGEST_LEN];
};

/* By somebody whose key is gone: only the chain says whether it is what it was. */
enum store_sealed { STORE_SEALED_NOT, STORE_SEALED_UNKNOWN, STORE_SEALED };

/* An entry as it is stored; borrows from the bytes. */
struct store_entry {
	struct store_audit a;
	uint8_t prev[DIGEST_LEN]; /* link of the entry before */
	uint8_t hash[DIGEST_LEN], link[DIGEST_LEN];
	struct store_seal seal;
	struct span hashed;
};

struct span store_entry_key(uint8_t[STORE_ENTRY_KEY], uint64_t seq);
/* The number that a key is; 0: it is none. */
uint64_t store_entry_number(struct span key);

/*
 * The number, then the record, into ${out} (STORE_ENTRY_MAX bytes); its link.  And back: the number
 * has to stand before the record; 0, or -1 and only a.seq and a.damaged are set.
 */
int store_entry_encode(const struct store_sealer *, const struct store_audit *,
    const uint8_t prev[DIGEST_LEN], struct wbuf *out, uint8_t link[DIGEST_LEN], struct err *)
    __attribute__((warn_unused_result));
int store_entry_decode(struct span, struct store_entry *) __attribute__((warn_unused_result));
/* Is it what was written under its number? */
enum store_sealed store_entry_check(const struct store_sealer *, const struct store_entry *);

/* Entries from one number on (audit.c): 1 there is one, 0 none, -1; close in any case. */
struct store_entries {
	struct store_scan scan;
	uint8_t *mem;
};
int store_entries_open(struct store_entries *, struct store *, uint64_t from, struct err *)
    __attribute__((warn_unused_result));
int store_entries_next(struct store_entries *, struct err *) __attribute__((warn_unused_result));
/* The one it is at, valid until the next move; one whose key is no number is number 0. */
void store_entries_get(struct store_entries *, struct store_entry *);
void store_entries_close(struct store_entries *);

/* Says in it who has sealed. */
int store_head_encode(const struct store_sealer *, struct store_trail *, struct wbuf *out,
    struct err *) __attribute__((warn_unused_result));
enum store_sealed store_head_decode(const struct store_sealer *, struct span, struct store_trail *);

#endif /* !STORE_AUDIT_H_ */
