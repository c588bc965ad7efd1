/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_NETADDR_H_
#define BASE_NETADDR_H_

/*
 * IP addresses and networks (CIDR, RFC 4632, RFC 4291).  IPv4 is kept IPv4-mapped, and a mapped
 * IPv6 address is IPv4.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct netaddr {
	uint8_t b[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct netaddr_net {
	struct netaddr addr; /* host bits zero */
	uint8_t bits;	     /* 0..128, of the mapped form: an IPv4 /8 is 104 */
};

#define NETADDR_TEXT_MAX 64 /* any formatted address or network, with NUL */

/* Strict: no port, no zone, no brackets, no leading zeros in IPv4.  0 or -1. */
int netaddr_parse(struct span, struct netaddr *) __attribute__((warn_unused_result));
void netaddr_format(const struct netaddr *, char[NETADDR_TEXT_MAX]);

/* Clear the bits of the address from ${bits} on. */
void netaddr_mask(struct netaddr *, unsigned bits);

/*
 * "10.0.0.0/8", "2001:db8::/32", or a lone address (/32, /128).  0; -1 when malformed
 * or when host bits are set (10.0.0.1/8 is a mistake worth telling).
 */
int netaddr_net_parse(struct span, struct netaddr_net *) __attribute__((warn_unused_result));
void netaddr_net_format(const struct netaddr_net *, char[NETADDR_TEXT_MAX]);
/* Is the address in the network?  1 or 0.  An IPv6 network, be it ::/0, holds no IPv4 address. */
int netaddr_net_has(const struct netaddr_net *, const struct netaddr *);

/*
 * The network that is commonly one client's: an IPv4 address, the /64 of an IPv6 one (RFC 6177: a
 * site has at least that, and may use any address of it for the next request).
 */
void netaddr_client(const struct netaddr *, struct netaddr_net *);

/*
 * An element of X-Forwarded-For: an address, bracketed IPv6, either with a port.  0 or -1.
 */
int netaddr_parse_hop(struct span, struct netaddr *) __attribute__((warn_unused_result));

#endif /* !BASE_NETADDR_H_ */
