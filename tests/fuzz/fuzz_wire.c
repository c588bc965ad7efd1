/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Messages on the keeper's socket, several in a datagram: what decodes encodes to the same bytes,
 * so there is one form of each; and no answer admits without a key.
 */

#include "wire/wire.h"

#include "core/token.h"

#include "fuzz.h"

static void
again(struct span message)
{
	static uint8_t mem[WIRE_ANSWER_MAX];
	struct wire_check c;
	struct wire_answer a;
	struct wbuf w;
	struct err e;

	wbuf_init(&w, mem, sizeof(mem));
	if (wire_check_decode(message, &c, &e) == 0) {
		wire_check_encode(&c, &w);
		must(!w.overflow && span_eq(wbuf_view(&w), message));
	} else if (wire_answer_decode(message, &a, &e) == 0) {
		must(a.verdict != VERDICT_OK || token_id_ok(a.id));
		wire_answer_encode(&a, &w);
		must(!w.overflow && span_eq(wbuf_view(&w), message));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span datagram = {(const char *)p, n}, s;

	while (datagram.len > 0) {
		s = wire_next(&datagram);
		must(s.len > 0);
		if (wire_type_of(s) > 0)
			must(wire_body(s).len == s.len - WIRE_HEADER);
		again(s);
	}
	return 0;
}
