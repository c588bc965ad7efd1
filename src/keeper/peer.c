/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A connection of the keeper's loop and its queue of messages.
 *
 * It decides nothing about messages: the loop reads and answers, this file keeps what could not be
 * sent at once.
 *
 * Invariants: the queue is bounded, because nothing is read from a peer that has anything in it;
 * messages are wiped before they are freed (the reply to a creation holds a key); sending never
 * blocks.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/peer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

/* What the kernel makes of it is bounded by net.core.wmem_max. */
#define SEND_BUFFER (1 << 20)

struct peer_message {
	struct peer_message *next;
	uint64_t ticket;
	int secret; /* of secret_pages: who administers may be sent a key */
	size_t len;
	uint8_t bytes[];
};

struct peer *
peer_new(int fd, int checks_only, struct err *e)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int bytes = SEND_BUFFER;

	if (p == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		goto fail;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
		err_sys(e, "cannot tell who connected");
		goto fail;
	}
	/* More answers fit before a busy worker has to read; without it things work, too. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	p->fd = fd;
	p->ours = cred.uid == 0 || cred.uid == geteuid();
	p->checks_only = checks_only;
	p->kind = checks_only ? PEER_CHECKS : PEER_NEW;
	p->who = (struct ops_peer){
	    .uid = cred.uid, .pid = cred.pid, .may_admin = p->ours && !checks_only};
	p->out_end = &p->out;
	return p;
fail:
	free(p);
	close(fd);
	return NULL;
}

void
peer_refused(const struct peer *p, const char *why, struct log_pace *pace)
{
	uint64_t held;

	if (log_pace(pace, clock_mono_us(), &held))
		log_event(LOG_LVL_WARNING, "peer_refused", "uid", LOG_NUM(p->who.uid), "pid",
		    LOG_NUM(p->who.pid), "why", why, "not_logged", LOG_NUM(held), NULL);
}

void
peer_request_done(struct peer *p)
{
	secret_pages_free(p->request, p->request_len);
	p->request = NULL;
	p->request_len = 0;
}

static void
drop_first(struct peer *p)
{
	struct peer_message *m = p->out;

	p->out = m->next;
	if (p->out == NULL)
		p->out_end = &p->out;
	secret_wipe(m->bytes, m->len);
	if (m->secret)
		secret_pages_free(m, sizeof(*m) + m->len);
	else
		free(m);
}

void
peer_free(struct peer *p)
{
	while (p->out != NULL)
		drop_first(p);
	peer_request_done(p);
	close(p->fd);
	free(p);
}

void
peer_queue(struct peer *p, struct span message, uint64_t ticket)
{
	int secret = p->kind == PEER_ADMIN;
	size_t size = sizeof(struct peer_message) + message.len;
	struct peer_message *m = secret ? secret_pages(size, NULL) : malloc(size);

	if (m == NULL) {
		log_event(LOG_LVL_ERROR, "peer_dropped", "pid", LOG_NUM(p->who.pid), "why",
		    "out of memory", NULL);
		p->closing = 1;
		return;
	}
	m->next = NULL;
	m->ticket = ticket;
	m->secret = secret;
	m->len = message.len;
	memcpy(m->bytes, message.p, message.len);
	*p->out_end = m;
	p->out_end = &m->next;
}

void
peer_send(struct peer *p, uint64_t ticket, int64_t mono_us)
{
	ssize_t n;

	while (p->out != NULL && p->out->ticket <= ticket && !p->closing) {
		n = send(p->fd, p->out->bytes, p->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (p->stuck_since_us == 0)
				p->stuck_since_us = mono_us;
			return;
		}
		if (n != (ssize_t)p->out->len)
			p->closing = 1;
		drop_first(p);
	}
	p->stuck_since_us = 0;
}

int
peer_idle(const struct peer *p)
{
	return p->out == NULL;
}
