/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The yardstick T of tests/bench: what an ordinary FastCGI program costs that does nothing at all.
 * The loop of libfcgi's own examples, one request at a time on descriptor 0; tests/bench/run starts
 * several of it on one unix socket. It looks at no parameter and decides nothing. Not part of
 * apikeyd.
 */

#include <fcgiapp.h>

int
main(void)
{
	FCGX_Stream *in, *out, *err;
	FCGX_ParamArray env;

	while (FCGX_Accept(&in, &out, &err, &env) >= 0)
		FCGX_PutS("Status: 200 OK\r\n"
			  "Content-Type: application/json\r\n"
			  "Cache-Control: no-store\r\n"
			  "\r\n"
			  "{\"message\":\"Access granted\"}\n",
		    out);
	return 0;
}
