/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Operations on nothing that is stored: ping.
 *
 * Run by ops.c.
 */

#include <unistd.h>

#include "keeper/ops_call.h"

int
ops_misc_ping(struct ops_call *c, struct err *e)
{
	if (cJSON_AddNumberToObject(c->result, "pid", getpid()) == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	json_add_time(c->result, "time", c->now.wall_us);
	return 0;
}
