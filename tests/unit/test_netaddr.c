/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: an address or network is read strictly and in one representation, a network holds exactly
 * its addresses, and hops of X-Forwarded-For are told from rubbish.  Guards invariant 6: a
 * restriction by address cannot be evaded by the way an address is written.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/netaddr.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct netaddr
address(const char *text)
{
	struct netaddr a;

	assert_int_equal(netaddr_parse(span_of(text), &a), 0);
	return a;
}

static void
addresses(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"0.0.0.0", "0.0.0.0"},
	    {"192.0.2.1", "192.0.2.1"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"::FFFF:c000:0201", "192.0.2.1"},
	    {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
	    {"::", "::"},
	    {"::1", "::1"},
	    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
	    {"2001:0db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:6666"},
	    {"1111:2222:3333:4444:5555:6666:255.255.255.255",
		"1111:2222:3333:4444:5555:6666:ffff:ffff"},
	};
	char text[NETADDR_TEXT_MAX];
	struct netaddr a, again;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		a = address(cases[i].in);
		netaddr_format(&a, text);
		assert_string_equal(text, cases[i].out);
		again = address(text);
		assert_memory_equal(&a, &again, sizeof(a));
	}
}

static void
addresses_refused(void **state)
{
	static const char *const bad[] = {"", " ", "192.0.2", "192.0.2.1 ", " 192.0.2.1",
	    "192.0.2.256", "192.0.2.01", "192.0.2.1.", "192.0.2.1:80", "0300.0.2.1", "0x7f.0.0.1",
	    "2130706433", "[::1]", "::1%lo", "fe80::1%eth0", ":", ":::", "1::2::3",
	    "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1/128", "localhost",
	    "::ffff:192.0.2.01", "1111:2222:3333:4444:5555:6666:255.255.255.2555", "-1.0.0.0",
	    "192.0.2.1\n"};
	static const struct netaddr zero;
	struct netaddr a;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		memset(&a, 'x', sizeof(a));
		assert_int_equal(netaddr_parse(span_of(bad[i]), &a), -1);
		assert_memory_equal(&a, &zero, sizeof(a));
	}
	assert_int_equal(netaddr_parse((struct span){"192.0.2.1\0", 10}, &a), -1);
	assert_int_equal(netaddr_parse((struct span){NULL, 0}, &a), -1);
}

static void
networks(void **state)
{
	static const struct {
		const char *in, *out;
		unsigned bits;
	} cases[] = {
	    {"10.0.0.0/8", "10.0.0.0/8", 104},
	    {"0.0.0.0/0", "0.0.0.0/0", 96},
	    {"192.0.2.1", "192.0.2.1/32", 128},
	    {"192.0.2.128/25", "192.0.2.128/25", 121},
	    {"2001:db8::/32", "2001:db8::/32", 32},
	    {"::1", "::1/128", 128},
	    {"::/0", "::/0", 0},
	    {"::ffff:10.0.0.0/104", "10.0.0.0/8", 104},
	    {"::ffff:0:0/96", "0.0.0.0/0", 96},
	    {"2001:db8::8000/113", "2001:db8::8000/113", 113},
	};
	char text[NETADDR_TEXT_MAX];
	struct netaddr_net net, again;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(netaddr_net_parse(span_of(cases[i].in), &net), 0);
		assert_int_equal(net.bits, cases[i].bits);
		netaddr_net_format(&net, text);
		assert_string_equal(text, cases[i].out);
		assert_int_equal(netaddr_net_parse(span_of(text), &again), 0);
		assert_memory_equal(&net, &again, sizeof(net));
	}
}

static void
networks_refused(void **state)
{
	static const char *const bad[] = {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08",
	    "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/ 8", "10.0.0.0/255.0.0.0",
	    "10.0.0.1/8", "192.0.2.129/25", "2001:db8::1/32", "2001:db8::/129", "2001:db8::/999",
	    "::ffff:10.0.0.0/8", "::ffff:0:0/95", "::1/0", "10/8"};
	static const struct netaddr_net zero;
	struct netaddr_net net;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		memset(&net, 'x', sizeof(net));
		assert_int_equal(netaddr_net_parse(span_of(bad[i]), &net), -1);
		assert_memory_equal(&net, &zero, sizeof(net));
	}
	assert_int_equal(netaddr_net_parse((struct span){NULL, 0}, &net), -1);
}

static void
membership(void **state)
{
	static const struct {
		const char *net, *addr;
		int has;
	} cases[] = {
	    {"10.0.0.0/8", "10.255.255.255", 1},
	    {"10.0.0.0/8", "::ffff:10.1.2.3", 1},
	    {"10.0.0.0/8", "11.0.0.0", 0},
	    {"10.0.0.0/8", "9.255.255.255", 0},
	    {"10.0.0.0/8", "::10.0.0.1", 0},
	    {"192.0.2.128/25", "192.0.2.128", 1},
	    {"192.0.2.128/25", "192.0.2.127", 0},
	    {"192.0.2.1", "192.0.2.1", 1},
	    {"192.0.2.1", "192.0.2.0", 0},
	    {"0.0.0.0/0", "203.0.113.9", 1},
	    {"0.0.0.0/0", "::1", 0},
	    {"2001:db8::/33", "2001:db8:7fff::1", 1},
	    {"2001:db8::/33", "2001:db8:8000::1", 0},
	    {"::/0", "2001:db8::1", 1},
	    {"::/0", "192.0.2.1", 0},
	    {"::/80", "192.0.2.1", 0},
	    {"::ffff:0:0/96", "192.0.2.1", 1},
	};
	struct netaddr_net net;
	struct netaddr a;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(netaddr_net_parse(span_of(cases[i].net), &net), 0);
		a = address(cases[i].addr);
		assert_int_equal(netaddr_net_has(&net, &a), cases[i].has);
	}
}

/*
 * Every length of prefix: the address that differs in the last bit of it is out, in the next is in.
 */
static void
every_prefix_length(void **state)
{
	struct netaddr a = address("2001:db8:5a5a:a5a5:ffff::"), other;
	struct netaddr_net net;
	unsigned bits, i;

	(void)state;
	for (bits = 0; bits <= 128; bits++) {
		net.addr = a;
		net.bits = (uint8_t)bits;
		for (i = bits; i < 128; i++)
			net.addr.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
		assert_int_equal(netaddr_net_has(&net, &a), 1);
		for (i = 0; i < 128; i++) {
			other = a;
			other.b[i / 8] ^= (uint8_t)(0x80 >> i % 8);
			assert_int_equal(netaddr_net_has(&net, &other), i >= bits);
		}
	}
}

static void
hops(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {" 192.0.2.1\t", "192.0.2.1"},
	    {"192.0.2.1:8080", "192.0.2.1"},
	    {"2001:db8::1", "2001:db8::1"},
	    {"[2001:db8::1]", "2001:db8::1"},
	    {"[2001:db8::1]:443", "2001:db8::1"},
	    {"[::ffff:192.0.2.1]:1", "192.0.2.1"},
	    {"", NULL},
	    {" ", NULL},
	    {"unknown", NULL},
	    {"_hidden", NULL},
	    {"[", NULL},
	    {"]", NULL},
	    {"[]", NULL},
	    {"[]:80", NULL},
	    {"[::1", NULL},
	    {"[::1]80", NULL},
	    {"[::1]:", NULL},
	    {"[::1]:65536", NULL},
	    {"[::1]:000080", NULL},
	    {"[::1]:80:80", NULL},
	    {"[::1%lo]", NULL},
	    {"[192.0.2.1]:80", NULL},
	    {"192.0.2.1:", NULL},
	    {"192.0.2.1:x", NULL},
	    {"192.0.2.1:65536", NULL},
	    {":80", NULL},
	    {"192.0.2.1:80:80", NULL},
	    {"192.0.2.1, 192.0.2.2", NULL},
	    {"\"192.0.2.1\"", NULL},
	};
	char text[NETADDR_TEXT_MAX], *copy;
	struct netaddr a;
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		n = strlen(cases[i].in);
		copy = malloc(n + 1);
		assert_non_null(copy);
		memcpy(copy, cases[i].in, n);
		assert_int_equal(
		    netaddr_parse_hop((struct span){copy, n}, &a), cases[i].out == NULL ? -1 : 0);
		free(copy);
		if (cases[i].out == NULL)
			continue;
		netaddr_format(&a, text);
		assert_string_equal(text, cases[i].out);
	}
}

/* What counts as one client. */
static void
clients(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1/32"},
	    {"::ffff:192.0.2.1", "192.0.2.1/32"},
	    {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
	    {"::1", "::/64"},
	    {"::192.0.2.1", "::/64"}, /* not mapped: an IPv6 address like others */
	    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"},
	};
	char text[NETADDR_TEXT_MAX];
	struct netaddr_net net;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct netaddr a = address(cases[i].in);

		netaddr_client(&a, &net);
		netaddr_net_format(&net, text);
		assert_string_equal(text, cases[i].out);
		assert_int_equal(netaddr_net_has(&net, &a), 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clients),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(addresses_refused),
	    cmocka_unit_test(networks),
	    cmocka_unit_test(networks_refused),
	    cmocka_unit_test(membership),
	    cmocka_unit_test(every_prefix_length),
	    cmocka_unit_test(hops),
	};

	return cmocka_run_group_tests_name("netaddr", tests, NULL, NULL);
}
