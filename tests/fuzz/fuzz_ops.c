/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Admin operations: any JSON, or anything else, gets one whole JSON object back, whatever it did to
 * the store; and a pepper is in none.
 */

#include <fcntl.h>

#include "fuzz.h"
#include "../unit/keeper_fixture.h"

/* Pages in Berkeley DB's cache are linked by offsets: whoever looks for pointers to them, as the
 * leak sanitizer does when an input has left memory behind twice, finds none. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3";
}

static struct kf *f;
static char pepper[128];

static void
end(void)
{
	void *state = f;

	(void)kf_teardown(&state);
}

static void
begin(void)
{
	int fd, n;

	f = kf_make();
	kf_open(f);
	fd = open(f->pepper_file, O_RDONLY);
	must(fd >= 0 && (n = (int)read(fd, pepper, sizeof(pepper) - 1)) > 60);
	close(fd);
	memmove(pepper, strchr(pepper, ' ') + 1, 32);
	pepper[32] = '\0';
	(void)atexit(end);
}

/* Not with memmem: the fuzzer looks at what that compares, and says the pepper itself then, as the
 * name of a plan that a later input lists. */
static int
has_pepper(const uint8_t *p, size_t n)
{
	for (size_t at = 0; at + 32 <= n; at++) {
		unsigned differs = 0;

		for (size_t i = 0; i < 32; i++)
			differs |= p[at + i] ^ (uint8_t)pepper[i];
		if (differs == 0)
			return 1;
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t mem[WIRE_MESSAGE_MAX];
	struct ops_peer peer = {.uid = 0, .may_admin = 1};
	struct wbuf w;
	cJSON *reply;
	int changed;

	if (f == NULL)
		begin();
	f->now.wall_us += CLOCK_SECOND;
	f->now.steady_us += CLOCK_SECOND;
	wbuf_init(&w, mem, sizeof(mem) - WIRE_HEADER);
	ops_run(&f->ops, &peer, (struct span){(const char *)p, n}, &w, &changed);
	must(!w.overflow && w.len > 2);
	reply = json_parse_object(wbuf_view(&w), NULL);
	must(reply != NULL && cJSON_IsBool(cJSON_GetObjectItemCaseSensitive(reply, "ok")));
	must(!has_pepper(w.p, w.len));
	cJSON_Delete(reply);
	return 0;
}
