/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/attach.h"

#include <errno.h>

#include "client/explain.h"
#include "client/lookup.h"
#include "client/recovery.h"

/* Everything outstanding completes. 0 or -ECONNRESET. */
static int drain(struct channel *ch, struct why *why)
{
	int rc = 0;

	while (rc == 0 && !pipeline_is_idle(&ch->pipeline))
		rc = pipeline_wait(&ch->pipeline, PIPELINE_FOREVER);
	if (rc)
		recovery_note_failure(ch, why);
	return rc;
}

/* The server says that it has nothing of ours there: another thread has freed it meanwhile, or it is lost. */
static int mark_stale(struct session *s, const struct own *gone, struct why *why)
{
	struct own *own;
	bool lost;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, gone->addr);
	lost = own && own->serial == gone->serial &&
	       (own->state == OWN_LIVE || own->state == OWN_STALE);
	if (lost)
		allocations_set_state(&s->allocations, own, OWN_STALE);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	return lost ? explain_stale(gone, why) : explain_freed(gone->addr, why);
}

/* Have a window bound on this connection. -ECONNRESET: it broke. */
static int attach(struct channel *ch, const struct own *own, struct why *why)
{
	struct attach_request request = { .addr = own->addr, .serial = own->id };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	struct grant_reply grant;
	int rc = drain(ch, why);

	if (rc)
		return rc;
	memcpy(request.key, own->key, sizeof(request.key)); /* all zero if it is our own */
	attach_request_put(&body, &request);
	rc = endpoint_call(ch->pipeline.ep, MESSAGE_ATTACH, ++ch->seq, &body, channel_deadline(ch),
		&reply, why);
	if (rc == -ESTALE || rc == -ENOENT)
		return mark_stale(ch->session, own, why);
	if (rc == -ETIMEDOUT) /* a reply that comes later would be taken for another's */
		endpoint_break(ch->pipeline.ep);
	if (rc)
		return rc;
	grant_reply_get(&reply, &grant);
	if (wire_finish(&reply) || grant.addr != own->addr || grant.bytes != own->bytes ||
		grant.serial != own->id)
		return why_set(why, -EPROTO, "rmemd sent a malformed grant");
	if (keys_set(&ch->keys, own->slot, own->serial, grant.rkey))
		return why_set(why, -ENOMEM, "out of memory");
	return 0;
}

typedef int visit_fn(
	struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct why *why);

/* Every remote piece of an operation, until one fails. */
static int for_each_piece(
	struct channel *ch, const struct operation *op, visit_fn *visit, struct why *why)
{
	const struct rmem_iovec word = { op->addr, sizeof(uint64_t) };
	int rc = 0;

	if (!operation_is_copy(op))
		return visit(ch, &word, op->as_of, why);
	for (int i = 0; i < op->left.nremote && rc == 0; i++)
		if (op->left.remote[i].len)
			rc = visit(ch, &op->left.remote[i], op->as_of, why);
	return rc;
}

/* Is the piece inside one allocation that may be used? */
static int check_piece(
	struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct why *why)
{
	struct own own;
	uint32_t rkey;
	int rc = lookup_key(ch, piece, as_of, &own, &rkey, why);

	return rc == -EAGAIN ? 0 : rc;
}

/* Have a key for it on this connection. */
static int attach_piece(
	struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct why *why)
{
	struct own own;
	uint32_t rkey;
	int rc = lookup_key(ch, piece, as_of, &own, &rkey, why);

	return rc == -EAGAIN ? attach(ch, &own, why) : rc;
}

/*
 * May it go over this connection? What is to be done in a tenure that is over must not be done in the next.
 */
static int check_sending(const struct channel *ch, const struct operation *op, struct why *why)
{
	if (!operation_is_copy(op) && !endpoint_has_atomics(ch->pipeline.ep))
		return why_set(
			why, -EOPNOTSUPP, "this machine's RDMA device has no atomic operations");
	if (!op->tenure || op->tenure == ch->tenure)
		return 0;
	return why_set(why, -ESTALE, "the lease had ended before this was sent");
}

int attach_check(struct channel *ch, const struct operation *op, struct why *why)
{
	return for_each_piece(ch, op, check_piece, why);
}

int attach_all(struct channel *ch, const struct operation *op, struct why *why)
{
	int rc = check_sending(ch, op, why);

	return rc ? rc : for_each_piece(ch, op, attach_piece, why);
}
