/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Which answers are failed attempts, whose they are, and what a blocked address is told.  Runs in a
 * worker, for every denial, after everything else is decided; a request that is admitted never gets
 * here.
 *
 * A failed attempt is a 401 to a request that showed a key.  One without a key is none: browsers,
 * probes and misconfigured clients send those all day.  But to a blocked address it is 429 as well,
 * like every 401: it has to wait in any case.
 *
 * Invariants: nothing but a 401 is replaced, and by nothing but client_blocked: a valid key has its
 * own answer, whatever its address did, so that nobody can lock out others behind the same address;
 * an address that is not known, exempt or a trusted proxy's is never counted.
 */

#include <stdlib.h>

#include "gate/attempts.h"

#include "base/log.h"
#include "gate/clients.h"

struct attempts {
	const struct config *config;
	struct clients *clients; /* NULL: switched off */
};

struct attempts *
attempts_new(const struct config *config, struct err *e)
{
	struct clients_rule rule = {.attempts = config->failed_attempts,
	    .window_us = config->failed_window_us,
	    .block_us = config->block_time_us};
	struct attempts *A = calloc(1, sizeof(*A));

	if (A == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	A->config = config;
	if (rule.attempts == 0)
		return A;
	if ((A->clients = clients_open(config->run_dir, &rule, e)) != NULL)
		return A;
	log_event(LOG_LVL_WARNING, "attempts_not_shared", "error", e->msg, "effect",
	    "each worker counts failed attempts alone", NULL);
	if ((A->clients = clients_open(NULL, &rule, e)) == NULL)
		attempts_free(&A);
	return A;
}

void
attempts_free(struct attempts **ap)
{
	if (*ap != NULL)
		clients_close(&(*ap)->clients);
	free(*ap);
	*ap = NULL;
}

static int
is_in(const struct netaddr_net *nets, size_t n, const struct netaddr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (netaddr_net_has(&nets[i], addr))
			return 1;
	return 0;
}

/* What came in the name of a proxy is many clients'. */
static int
is_exempt(const struct config *c, const struct netaddr *addr)
{
	return is_in(c->block_exempt, c->nblock_exempt, addr) ||
	       is_in(c->trusted_proxies, c->ntrusted_proxies, addr);
}

struct attempts_outcome
attempts_judge(struct attempts *A, enum verdict verdict, const struct netaddr *addr, int64_t now_us)
{
	struct attempts_outcome o = {.verdict = verdict};
	enum clients_state state;

	if (A->clients == NULL || addr == NULL || verdict_info(verdict)->status != 401 ||
	    is_exempt(A->config, addr))
		return o;
	netaddr_client(addr, &o.who);
	if (verdict == VERDICT_KEY_MISSING) {
		o.left_us = clients_blocked_us(A->clients, &o.who, now_us);
		if (o.left_us > 0)
			o.verdict = VERDICT_CLIENT_BLOCKED;
		return o;
	}
	state = clients_failed(A->clients, &o.who, now_us, &o.left_us);
	if (state == CLIENTS_BLOCKED)
		o.verdict = VERDICT_CLIENT_BLOCKED;
	o.blocking = state == CLIENTS_BLOCKING;
	return o;
}
