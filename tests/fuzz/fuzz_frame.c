/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * FastCGI bytes before libfcgi reads them: what frame_scan says of a head is within its bytes, and
 * holds whatever stands behind it.
 */

#include "fcgi/frame.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t answer[FRAME_MANAGEMENT_MAX];
	const uint8_t *value;
	struct frame f, g;
	enum frame_result r = frame_scan(p, n, &f);
	size_t len;

	if (r == FRAME_READY || r == FRAME_MANAGEMENT) {
		must(f.head_len > 0 && f.head_len <= n);
		/* The head alone is that head. */
		must(frame_scan(p, f.head_len, &g) == r && g.head_len == f.head_len);
		if (f.head_len > 1)
			must(frame_scan(p, f.head_len - 1, &g) != FRAME_READY);
	}
	if (r == FRAME_MANAGEMENT)
		must(frame_management(p, f.head_len, answer, sizeof(answer)) <= sizeof(answer));
	if (frame_param(p, n, "APIKEYD_MODE", &value, &len))
		must(value >= p && len <= n && value + len <= p + n);
	return 0;
}
