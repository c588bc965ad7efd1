/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Admin operations: any JSON, or anything else, gets one whole JSON object back, whatever it did to
 * the store; and a pepper is in none.
 */

#include <fcntl.h>

#include "fuzz.h"
#include "../unit/keeper_fixture.h"

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
	/* The fuzzer sees what is compared, and says it itself sooner or later. */
	must(memmem(p, n, pepper, 32) != NULL || memmem(w.p, w.len, pepper, 32) == NULL);
	cJSON_Delete(reply);
	return 0;
}
