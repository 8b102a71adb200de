/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/request.h"

#include <errno.h>
#include <string.h>

#include "client/control/connection.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"

#define BACKOFF_MIN_NS (20 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (500 * NSEC_PER_MSEC)

static int ensure_connected(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint64_t backoff = BACKOFF_MIN_NS;

	while (!session_connected(s)) {
		int rc = connection_open(s, deadline_ns, errinfo);

		if (rc == 0)
			return 0;
		log_info("cannot come back: %s", errinfo->text);
		rc = connection_error(rc);
		if (rc != -ECONNRESET || clock_boot_ns() + backoff >= deadline_ns)
			return rc;
		if (handshake_wait(-1, -1, s->cancel_fd, clock_boot_ns() + backoff) == -ECANCELED)
			return errinfo_set(errinfo, -ECANCELED, "closing");
		backoff = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
	}
	return 0;
}

/* -ETIMEDOUT: it is on its way, if its generation is the connection's; else it has to be sent. */
static int send_pending(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct request *r = &s->pending;
	struct wire body = wire_over(r->body, sizeof(r->body));
	int rc;

	body.pos = r->bytes;
	if (session_sender_lock(s, deadline_ns))
		return errinfo_set(
			errinfo, -ETIMEDOUT, "others' messages to rmemd do not get through");
	r->generation = s->generation;
	r->sent_ns = clock_boot_ns();
	rc = endpoint_send(s->endpoint, r->type, r->seq, &body, deadline_ns, errinfo);
	session_sender_unlock(s);
	if (rc == -EBUSY)
		r->generation = 0;
	return rc == -EBUSY ? -ETIMEDOUT : rc;
}

/* COPY and FILL change memory: their caller must still be there, and nothing that it had locked be lost. */
static bool writes_memory(const struct request *r)
{
	return r->type == MESSAGE_COPY || r->type == MESSAGE_FILL;
}

/* As a channel does when it joins: may what is pending be sent now? */
static int check_fences(struct session *s, struct errinfo *errinfo)
{
	struct request *r = &s->pending;
	int rc;

	if (!writes_memory(r))
		return 0;
	pthread_mutex_lock(&s->table);
	rc = lease_epoch_check(&s->lease_epoch, errinfo);
	if (rc == 0 && r->fences != atomic_load(&s->lease_epoch.fences))
		rc = errinfo_set(errinfo, -EOWNERDEAD,
			"a lock was lost while this was on its way: it is not repeated");
	pthread_mutex_unlock(&s->table);
	if (rc)
		r->active = false;
	return rc;
}

/* Carry the pending request through: 0 and the reply, the server's refusal, or an error. */
static int finish_pending(struct session *s, uint64_t deadline_ns, struct wire *out, bool *refused,
	struct errinfo *errinfo)
{
	struct request *r = &s->pending;
	int rc;

	*refused = false;
	for (;;) {
		rc = ensure_connected(s, deadline_ns, errinfo);
		if (rc)
			return rc;
		if (!r->active)
			return errinfo_set(errinfo, -ESTALE,
				"the lease had ended and the server has reclaimed the session");
		if (r->generation != s->generation) {
			rc = check_fences(s, errinfo);
			if (rc == 0)
				rc = send_pending(s, deadline_ns, errinfo);
			if (rc == -ECONNRESET && clock_boot_ns() < deadline_ns)
				continue;
			if (rc == -EMSGSIZE)
				r->active = false;
			if (rc)
				return rc;
		}
		rc = endpoint_receive(
			s->endpoint, r->type, r->seq, deadline_ns, out, refused, errinfo);
		if (rc == 0 || *refused || rc == -EPROTO)
			r->active = false;
		if (rc == -ECONNRESET && clock_boot_ns() < deadline_ns && !*refused)
			continue;
		break;
	}
	if ((rc == 0 || *refused) && rc != -ESTALE)
		session_lease_extend(s, r->sent_ns);
	return rc;
}

static void make_pending(
	struct session *s, enum message_type type, const uint8_t *body, size_t bytes)
{
	struct request *r = &s->pending;

	r->active = true;
	r->type = type;
	r->seq = ++s->seq;
	r->generation = 0;
	r->fences = atomic_load(&s->lease_epoch.fences);
	r->bytes = bytes;
	memcpy(r->body, body, bytes);
}

static void make_pending_free(struct session *s, const struct alloc_reply *lent)
{
	struct free_request request = { .addr = lent->addr, .serial = lent->serial };
	uint8_t buf[16];
	struct wire w = wire_over(buf, sizeof(buf));

	free_request_put(&w, &request);
	make_pending(s, MESSAGE_FREE, buf, w.pos);
}

/* A FREE was answered after its caller had gone: the caller will ask again. */
static void note_late_free(struct session *s, const struct request *r, bool done)
{
	struct free_request request; /* a RELEASE begins with the same */
	struct wire w = wire_over((void *)(uintptr_t)r->body, r->bytes);
	struct block *block;

	free_request_get(&w, &request);
	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, request.addr);
	if (block && block->id == request.serial && block->state == BLOCK_FREEING)
		blocks_set_state(&s->blocks, block, done ? BLOCK_FREED : BLOCK_STALE);
	pthread_mutex_unlock(&s->table);
}

/* Finish a request that an earlier call gave up on, and undo what it brought. */
static int settle_pending(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	while (s->pending.active) {
		struct request *r = &s->pending;
		struct alloc_reply lent;
		struct wire reply;
		bool refused;
		int rc;

		/* On a new connection it is over: nobody wants it done again. */
		rc = ensure_connected(s, deadline_ns, errinfo);
		if (rc)
			return rc;
		if (writes_memory(r) && r->generation != s->generation) {
			r->active = false;
			break;
		}
		rc = finish_pending(s, deadline_ns, &reply, &refused, errinfo);
		if (r->active)
			return rc;
		if ((r->type == MESSAGE_FREE || r->type == MESSAGE_RELEASE) && (rc == 0 || refused))
			note_late_free(s, r, rc == 0);
		if (r->type == MESSAGE_ALLOC && rc == 0) {
			alloc_reply_get(&reply, &lent);
			if (wire_finish(&reply) == 0)
				make_pending_free(s, &lent);
		}
	}
	return 0;
}

/* Ask the server whether the lease still holds; if not, prove ourselves on a new connection. */
static int prove(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct renew_reply reply;
	struct wire in;
	bool refused;
	int rc;

	make_pending(s, MESSAGE_RENEW, s->body_bytes, 0);
	rc = finish_pending(s, deadline_ns, &in, &refused, errinfo);
	if (rc == 0) {
		renew_reply_get(&in, &reply);
		if (wire_finish(&in) == 0 && reply.ttl_ms)
			atomic_store(&s->vitals->ttl_ms, reply.ttl_ms);
		return 0;
	}
	if (!refused)
		return rc == -ESTALE ? 0 : rc; /* replaced: the new session's lease is good */
	endpoint_break(s->endpoint);
	return ensure_connected(s, deadline_ns, errinfo);
}

int request_ready(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc;

	rc = settle_pending(s, deadline_ns, errinfo);
	if (rc == 0)
		rc = ensure_connected(s, deadline_ns, errinfo);
	if (rc == 0 && !session_lease_good(s))
		rc = prove(s, deadline_ns, errinfo);
	return rc;
}

/*
 * The server may still be about to write what a caller has given up, perhaps to an object that is freed, and another by
 * then. It is through when it has ended this connection; slots that are freed wait for that.
 */
static void leave_unfinished(struct session *s)
{
	if (!s->pending.active || !writes_memory(&s->pending))
		return;
	grace_lose(&s->grace);
	if (s->endpoint)
		endpoint_break(s->endpoint);
}

static int call_server(struct session *s, enum message_type type, uint64_t deadline_ns,
	struct wire *out, struct errinfo *errinfo)
{
	size_t bytes = s->body.pos;
	uint64_t generation;
	uint64_t serial = s->serial;
	bool refused;
	int rc;

	if (s->body.failed)
		return errinfo_set(errinfo, -EMSGSIZE, "a %s request does not fit into a message",
			message_name((uint8_t)type));
	rc = request_ready(s, deadline_ns, errinfo);
	for (int tries = 0; rc == 0; tries++) {
		if (s->serial != serial)
			return errinfo_set(errinfo, -ESTALE,
				"the lease had ended and the server has reclaimed the session");
		generation = s->generation;
		make_pending(s, type, s->body_bytes, bytes);
		rc = finish_pending(s, deadline_ns, out, &refused, errinfo);
		leave_unfinished(s);
		/* Was it about the request, or is the whole lease over? */
		if (rc != -ESTALE || !refused || tries > 0 || type == MESSAGE_BYE)
			break;
		rc = prove(s, deadline_ns, errinfo);
		if (rc == 0 && s->serial == serial && generation == s->generation)
			return -ESTALE;
	}
	return rc;
}

int control_call_locked(struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	struct wire reply;
	int rc = 0;

	s->body = wire_over(s->body_bytes, sizeof(s->body_bytes));
	if (call->check)
		rc = call->check(s, call->arg, errinfo);
	if (rc == 0 && call->encode)
		call->encode(&s->body, call->request);
	if (rc == 0)
		rc = call_server(s, call->type, call->deadline_ns, &reply, errinfo);
	if (rc)
		return rc;
	if (call->decode)
		call->decode(&reply, call->reply);
	return wire_finish(&reply) ? errinfo_set(errinfo, -EPROTO,
					     "rmemd sent a malformed answer to a %s request",
					     message_name((uint8_t)call->type))
				   : 0;
}

int control_call(struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	int rc = session_lock(s, call->deadline_ns, errinfo);

	if (rc)
		return rc;
	rc = request_ready(s, call->deadline_ns, errinfo);
	if (rc == 0)
		rc = control_call_locked(s, call, errinfo);
	session_unlock(s);
	return rc;
}
