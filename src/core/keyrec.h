/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_KEYREC_H_
#define CORE_KEYREC_H_

/*
 * The record of a key: everything that is known of it but the key itself.
 * A decoded record borrows from the bytes it was decoded from (spans); nothing is allocated,
 * because every check decodes one.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/netaddr.h"
#include "base/span.h"
#include "core/scope.h"
#include "core/token.h"

#define KEYREC_MAX 65536 /* bytes of an encoded record */
#define KEYREC_OWNER_MAX 128
#define KEYREC_MEMBER_MAX 128
#define KEYREC_NAME_MAX 128
#define KEYREC_PLAN_MAX 64
#define KEYREC_REASON_MAX 256
#define KEYREC_NETS_MAX 1000
#define KEYREC_LIST_MAX 32     /* referrers, applications */
#define KEYREC_PATTERN_MAX 256 /* bytes of one of those */
#define KEYREC_META_MAX 4096   /* bytes of metadata, as JSON text */
#define KEYREC_METHODS_MAX 16  /* HTTP methods */
#define KEYREC_METHOD_MAX 32   /* bytes of one (RFC 9110 9.1) */
#define KEYREC_DIGEST_LEN 32

enum keyrec_state { KEYREC_ACTIVE, KEYREC_DISABLED, KEYREC_REVOKED };

/* Ways in which a key was seen where it must not be (bits). */
#define KEYREC_EXPOSED_URL 1
#define KEYREC_EXPOSED_HTTP 2
#define KEYREC_EXPOSED_BROWSER 4
#define KEYREC_EXPOSED_WAYS (KEYREC_EXPOSED_URL | KEYREC_EXPOSED_HTTP | KEYREC_EXPOSED_BROWSER)

/* What the store's digest of the key was made from. */
enum keyrec_digest {
	KEYREC_OF_KEY,	  /* HMAC(pepper, key) */
	KEYREC_OF_SHA256, /* HMAC(pepper, SHA-256(key)): imported, the key itself was never here */
	KEYREC_DIGESTS	  /* (count) */
};

/* A key that comes from a browser (Origin or Sec-Fetch-* in the request). */
enum keyrec_browsers {
	KEYREC_BROWSERS_DEFAULT, /* as the configuration says */
	KEYREC_BROWSERS_OFF,	 /* not looked at */
	KEYREC_BROWSERS_FLAG,	 /* marked as exposed */
	KEYREC_BROWSERS_DENY,	 /* refused, and marked */
	KEYREC_BROWSERS		 /* (count) */
};

struct keyrec {
	char id[TOKEN_ID_LEN + 1];
	uint32_t pepper; /* version whose HMAC is the record's key */
	enum keyrec_digest digest_of;
	enum token_env env;
	enum keyrec_state state;
	struct span start; /* visible start of the key */
	struct span owner;
	struct span member; /* empty: none; likewise below */
	struct span name;
	struct span plan;
	struct span reason;			       /* of the revocation */
	struct span meta;			       /* a JSON object of strings, or empty */
	int64_t created_us, changed_us;		       /* wall clock */
	int64_t not_before_us, expires_us, revoked_us; /* 0: none */
	int64_t exposed_us;			       /* first time; 0: never */
	uint8_t exposed_ways;
	struct span exposed_addr; /* text of the first address it was exposed from */
	enum keyrec_browsers browsers;

	/*
	 * The secret: made when, and the one before it, if there was one.  The store remembers that
	 * one under this digest (core/alias.h); what it is good for follows from here
	 * (core/rotation.h).
	 */
	int64_t secret_us;
	const uint8_t *previous;    /* KEYREC_DIGEST_LEN bytes, or NULL */
	int64_t previous_until_us;  /* it works until then */
	int64_t previous_used_us;   /* its use since was last told in the audit trail; 0: never */
	struct span previous_start; /* its visible start */

	size_t nscopes;
	struct span scopes[SCOPE_COUNT_MAX];
	size_t nnets;
	const uint8_t *nets; /* nnets x 17 bytes in order: address, bits; see keyrec_net */
	size_t nreferrers;
	struct span referrers[KEYREC_LIST_MAX];
	size_t napps;
	struct span apps[KEYREC_LIST_MAX];
	size_t nmethods; /* 0: all */
	struct span methods[KEYREC_METHODS_MAX];
};

/* Network ${i} of a record. */
void keyrec_net(const struct keyrec *, size_t, struct netaddr_net *);
/*
 * keyrec_net_find(K, addr, &net): one that the address is in: 1, else 0.  Takes some ten
 * comparisons, however many there are.
 */
int keyrec_net_find(const struct keyrec *, const struct netaddr *, struct netaddr_net *);
/*
 * Add one, in its place, to a record under construction, whose nets is the caller's ${mem} of
 * KEYREC_NETS_MAX * 17 bytes; one that is there already is there once.  -1: too many.
 */
int keyrec_net_add(struct keyrec *, uint8_t *mem, const struct netaddr_net *)
    __attribute__((warn_unused_result));

/* May a key be restricted to this method?  A token (RFC 9110 9.1); those that exist are upper-case
 * letters and '-'. */
int keyrec_method_ok(struct span);

/* Everything that must hold of a record before it is stored; says which field and why. */
int keyrec_check(const struct keyrec *, struct err *) __attribute__((warn_unused_result));

/* First byte: version.  Decoding refuses an unknown version (ERR_VERSION), trailing bytes and
 * out-of-bounds values (ERR_CORRUPT); of the networks only their number is looked at. */
void keyrec_encode(const struct keyrec *, struct wbuf *);
int keyrec_decode(struct span, struct keyrec *, struct err *) __attribute__((warn_unused_result));

/*
 * What its state and its times make of a key at ${now}, the gravest first; nothing but
 * KEYREC_NOW_ACTIVE may admit.  A key is expired from expires_us on and pending before
 * not_before_us.
 */
enum keyrec_now {
	KEYREC_NOW_REVOKED,
	KEYREC_NOW_DISABLED,
	KEYREC_NOW_EXPIRED,
	KEYREC_NOW_PENDING,
	KEYREC_NOW_ACTIVE
};
enum keyrec_now keyrec_now(const struct keyrec *, int64_t now_us);

/* "active", "disabled", "revoked"; and what a person sees at ${now}: those or "expired", "pending".
 */
const char *keyrec_state_name(enum keyrec_state);
/* "url", "http", "browser"; of one bit.  And "default", "off", "flag", "deny". */
const char *keyrec_way_name(uint8_t);
const char *keyrec_browsers_name(enum keyrec_browsers);
/* The other way round; -1 when it is none of them. */
int keyrec_browsers_parse(struct span);
const char *keyrec_state_at(const struct keyrec *, int64_t now_us);

#endif /* !CORE_KEYREC_H_ */
