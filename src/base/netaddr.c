/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IP addresses and networks.  Workers use it to find the client's address, the keeper to compare it
 * with a key's networks, the configuration for trusted proxies.  It resolves no names.
 *
 * Invariants:
 * - One address has one representation: IPv4 and IPv4-mapped IPv6 are the same 16 bytes, so that a
 *   restriction cannot be evaded by spelling.
 * - Nothing is guessed: octal, short forms, zones and ports (but for a hop) are refused.
 * - A network of IPv6, be it ::/0, holds no IPv4 address.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/netaddr.h"

#define MAPPED_BITS 96 /* length of the prefix ::ffff:0:0/96 */
#define CLIENT_BITS 64

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int
is_ipv4(const struct netaddr *a)
{
	return memcmp(a->b, mapped, sizeof(mapped)) == 0;
}

void
netaddr_mask(struct netaddr *a, unsigned bits)
{
	unsigned i;

	for (i = bits / 8; i < sizeof(a->b); i++)
		a->b[i] &= i == bits / 8 ? (uint8_t)(0xff00 >> bits % 8) : 0;
}

int
netaddr_parse(struct span s, struct netaddr *out)
{
	char text[INET6_ADDRSTRLEN];
	struct netaddr a;

	memset(out, 0, sizeof(*out));
	if (span_copy(text, sizeof(text), s) != 0)
		return -1;
	if (inet_pton(AF_INET, text, a.b + sizeof(mapped)) == 1)
		memcpy(a.b, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, text, a.b) != 1)
		return -1;
	*out = a;
	return 0;
}

void
netaddr_format(const struct netaddr *a, char out[NETADDR_TEXT_MAX])
{
	int v4 = is_ipv4(a);

	if (inet_ntop(v4 ? AF_INET : AF_INET6, a->b + (v4 ? sizeof(mapped) : 0), out,
		NETADDR_TEXT_MAX) == NULL)
		out[0] = '\0';
}

/* The prefix length after the slash: at most ${max}, and written in one way only. */
static int
parse_bits(struct span s, unsigned max, unsigned *out)
{
	unsigned long long n;

	if (span_u64(s, max, &n) != 0 || (s.len > 1 && s.p[0] == '0'))
		return -1;
	*out = (unsigned)n;
	return 0;
}

int
netaddr_net_parse(struct span s, struct netaddr_net *out)
{
	const char *slash = s.len == 0 ? NULL : memchr(s.p, '/', s.len);
	struct span addr = s, length = {NULL, 0};
	struct netaddr_net net;
	struct netaddr masked;
	unsigned bits = 0, offset = 0;

	memset(out, 0, sizeof(*out));
	if (slash != NULL) {
		addr.len = (size_t)(slash - s.p);
		length = (struct span){slash + 1, s.len - addr.len - 1};
	}
	if (netaddr_parse(addr, &net.addr) != 0)
		return -1;
	/* The length counts in the form that was written: ::ffff:10.0.0.0/104 is 10.0.0.0/8. */
	if (memchr(addr.p, ':', addr.len) == NULL)
		offset = MAPPED_BITS;
	if (slash == NULL)
		bits = 128 - offset;
	else if (parse_bits(length, 128 - offset, &bits) != 0)
		return -1;
	bits += offset;
	masked = net.addr;
	netaddr_mask(&masked, bits);
	if (memcmp(masked.b, net.addr.b, sizeof(masked.b)) != 0)
		return -1;
	net.bits = (uint8_t)bits;
	*out = net;
	return 0;
}

void
netaddr_net_format(const struct netaddr_net *net, char out[NETADDR_TEXT_MAX])
{
	unsigned offset = is_ipv4(&net->addr) ? MAPPED_BITS : 0;
	size_t len;
	int n;

	netaddr_format(&net->addr, out);
	len = strlen(out);
	n = snprintf(out + len, NETADDR_TEXT_MAX - len, "/%u", net->bits - offset);
	if (n < 0 || (size_t)n >= NETADDR_TEXT_MAX - len)
		out[0] = '\0';
}

int
netaddr_net_has(const struct netaddr_net *net, const struct netaddr *a)
{
	struct netaddr masked = *a;

	if (is_ipv4(a) && net->bits < MAPPED_BITS)
		return 0;
	netaddr_mask(&masked, net->bits);
	return memcmp(masked.b, net->addr.b, sizeof(masked.b)) == 0;
}

void
netaddr_client(const struct netaddr *a, struct netaddr_net *out)
{
	*out = (struct netaddr_net){.addr = *a, .bits = is_ipv4(a) ? 128 : CLIENT_BITS};
	netaddr_mask(&out->addr, out->bits);
}

static int
is_port(struct span s)
{
	unsigned long long port;

	return s.len <= 5 && span_u64(s, 65535, &port) == 0;
}

int
netaddr_parse_hop(struct span s, struct netaddr *out)
{
	struct span addr = span_trim(s), port;
	const char *end;

	memset(out, 0, sizeof(*out));
	if (addr.len == 0)
		return -1;
	if (addr.p[0] == '[') {
		end = memchr(addr.p, ']', addr.len);
		if (end == NULL)
			return -1;
		port = (struct span){end + 1, addr.len - (size_t)(end + 1 - addr.p)};
		addr = (struct span){addr.p + 1, (size_t)(end - addr.p) - 1};
		/* Brackets are for IPv6 alone (RFC 3986 3.2.2). */
		if (addr.len == 0 || memchr(addr.p, ':', addr.len) == NULL)
			return -1;
	} else {
		/* One colon ends an IPv4 address; several are an IPv6 address without a port. */
		end = memchr(addr.p, ':', addr.len);
		if (end == NULL || memrchr(addr.p, ':', addr.len) != end)
			return netaddr_parse(addr, out);
		port = (struct span){end, addr.len - (size_t)(end - addr.p)};
		addr.len -= port.len;
	}
	if (port.len > 0 && (port.p[0] != ':' || !is_port((struct span){port.p + 1, port.len - 1})))
		return -1;
	return netaddr_parse(addr, out);
}
