/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Who is who, for the audit trail.  It decides nothing: rights go by numbers.
 *
 * Looking a name up may read files, load libraries and ask daemons, none of which the keeper's
 * sandbox allows.  What was learnt is process-wide, like the accounts themselves, and written once,
 * before there is a second thread.
 */

#include <pwd.h>
#include <unistd.h>

#include "keeper/actors.h"

#include "base/log.h"
#include "base/span.h"

#define NAME_BYTES 64

static struct {
	uid_t uid;
	char name[NAME_BYTES];
} known[2];

static int learnt;

static void
look_up(uid_t uid, char *out, size_t cap)
{
	struct passwd pw, *found = NULL;
	char mem[4096];

	if (getpwuid_r(uid, &pw, mem, sizeof(mem), &found) == 0 && found != NULL &&
	    span_copy(out, cap, span_of(pw.pw_name)) == 0)
		return;
	log_num(out, (int64_t)uid);
}

void
actors_learn(void)
{
	known[0].uid = 0;
	known[1].uid = geteuid();
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		look_up(known[i].uid, known[i].name, sizeof(known[i].name));
	learnt = 1;
}

void
actors_name(uid_t uid, char *out, size_t cap)
{
	if (!learnt) {
		look_up(uid, out, cap);
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].uid == uid && span_copy(out, cap, span_of(known[i].name)) == 0)
			return;
	}
	log_num(out, (int64_t)uid);
}
