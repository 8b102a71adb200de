/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/data/explain.h"

/* With the table. */
static int copy_buffers(struct channel *ch)
{
	const struct buffers *from = &ch->session->buffers;
	struct buffers *to = &ch->buffers;
	struct buffer *items = realloc(to->items, (from->count + 1) * sizeof(*items));

	ch->fastpath.near = NULL;
	if (items)
		to->items = items;
	to->count = items ? from->count : 0;
	if (items && from->count)
		memcpy(items, from->items, from->count * sizeof(*items));
	return items ? 0 : -ENOMEM;
}

/* Look at the session again, if anything has changed since the last time. */
void keys_refresh(struct channel *ch)
{
	struct session *s = ch->session;
	uint64_t epoch = atomic_load_explicit(&s->vitals->epoch, memory_order_acquire);

	if (epoch == ch->epoch)
		return;
	key_cache_forget_near(&ch->keys);
	pthread_mutex_lock(&s->table);
	/* Without memory for the copy, registered buffers are used like any other memory. */
	if (ch->buffers_version != s->buffers_version && copy_buffers(ch) == 0)
		ch->buffers_version = s->buffers_version;
	/* The server ends our connection with the one we belong to. */
	if (ch->pipeline.ep && ch->generation != s->generation)
		endpoint_break(ch->pipeline.ep);
	pthread_mutex_unlock(&s->table);
	ch->epoch = epoch;
}

/*
 * A copy of the allocation that holds the range, if it may be used and was there when the operation was started: it
 * may have been freed since, and its address lent anew.
 */
static int find_own(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of,
	struct own *out, struct errinfo *errinfo)
{
	struct session *s = ch->session;
	const struct own *own;
	int rc = 0;

	*out = (struct own){ 0 };
	pthread_mutex_lock(&s->table);
	ch->as_of = keys_as_of(s);
	own = allocations_find_range(&s->allocations, piece->base, piece->len);
	if (!own)
		rc = explain_range(&s->allocations, piece->base, piece->len, errinfo);
	else if (own->serial > as_of)
		rc = explain_freed(piece->base, errinfo);
	else if (own->state != OWN_LIVE)
		rc = explain_state(own, errinfo);
	else
		*out = *own;
	pthread_mutex_unlock(&s->table);
	return rc;
}

int keys_find(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct own *own,
	uint32_t *out_rkey, struct errinfo *errinfo)
{
	struct near_key near;
	int rc;

	if (key_cache_find_as_of(&ch->keys, piece->base, piece->len, as_of, out_rkey))
		return 0;
	rc = find_own(ch, piece, as_of, own, errinfo);
	if (rc)
		return rc;
	if (!key_cache_get(&ch->keys, own->slot, own->serial, out_rkey))
		return -EAGAIN;
	near = (struct near_key){ own->addr, own->addr + own->bytes, own->serial, *out_rkey };
	key_cache_remember(&ch->keys, piece->base, &near);
	return 0;
}

int keys_known(struct channel *ch, const struct operation *op, uint64_t addr, size_t bytes,
	uint32_t *out_rkey, struct errinfo *errinfo)
{
	const struct rmem_iovec piece = { addr, bytes };
	struct own own;
	int rc = keys_find(ch, &piece, op->as_of, &own, out_rkey, errinfo);

	return rc == -EAGAIN ? explain_freed(addr, errinfo) : rc;
}

/* ---- fetching ---- */

/* Everything outstanding completes. 0 or -ECONNRESET. */
static int drain(struct channel *ch, struct errinfo *errinfo)
{
	int rc = 0;

	while (rc == 0 && !pipeline_is_idle(&ch->pipeline))
		rc = pipeline_wait(&ch->pipeline, PIPELINE_FOREVER);
	if (rc)
		channel_note_failure(ch, errinfo);
	return rc;
}

/* The server says that it has nothing of ours there: another thread has freed it meanwhile, or it is lost. */
static int mark_stale(struct session *s, const struct own *gone, struct errinfo *errinfo)
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
	return lost ? explain_stale(gone, errinfo) : explain_freed(gone->addr, errinfo);
}

/* Have a window bound on this connection. -ECONNRESET: it broke. */
static int fetch(struct channel *ch, const struct own *own, struct errinfo *errinfo)
{
	struct attach_request request = { .addr = own->addr, .serial = own->id };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	struct grant_reply grant;
	int rc = drain(ch, errinfo);

	if (rc)
		return rc;
	memcpy(request.key, own->key, sizeof(request.key)); /* all zero if it is our own */
	attach_request_put(&body, &request);
	rc = endpoint_call(ch->pipeline.ep, MESSAGE_ATTACH, ++ch->seq, &body, channel_deadline(ch),
		&reply, errinfo);
	if (rc == -ESTALE || rc == -ENOENT)
		return mark_stale(ch->session, own, errinfo);
	if (rc == -ETIMEDOUT) /* a reply that comes later would be taken for another's */
		endpoint_break(ch->pipeline.ep);
	if (rc)
		return rc;
	grant_reply_get(&reply, &grant);
	if (wire_finish(&reply) || grant.addr != own->addr || grant.bytes != own->bytes ||
		grant.serial != own->id)
		return errinfo_set(errinfo, -EPROTO, "rmemd sent a malformed grant");
	if (key_cache_set(&ch->keys, own->slot, own->serial, grant.rkey))
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	return 0;
}

typedef int visit_fn(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of,
	struct errinfo *errinfo);

/* Every remote piece of an operation, until one fails. */
static int for_each_piece(
	struct channel *ch, const struct operation *op, visit_fn *visit, struct errinfo *errinfo)
{
	const struct rmem_iovec word = { op->addr, sizeof(uint64_t) };
	int rc = 0;

	if (!operation_is_copy(op))
		return visit(ch, &word, op->as_of, errinfo);
	for (int i = 0; i < op->left.nremote && rc == 0; i++)
		if (op->left.remote[i].len)
			rc = visit(ch, &op->left.remote[i], op->as_of, errinfo);
	return rc;
}

/* Is the piece inside one allocation that may be used? */
static int check_piece(
	struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct errinfo *errinfo)
{
	struct own own;
	uint32_t rkey;
	int rc = keys_find(ch, piece, as_of, &own, &rkey, errinfo);

	return rc == -EAGAIN ? 0 : rc;
}

/* Have a key for it on this connection. */
static int fetch_piece(
	struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct errinfo *errinfo)
{
	struct own own;
	uint32_t rkey;
	int rc = keys_find(ch, piece, as_of, &own, &rkey, errinfo);

	return rc == -EAGAIN ? fetch(ch, &own, errinfo) : rc;
}

/*
 * May it go over this connection? What was asked for in one lease epoch must not be done in the next.
 */
static int check_sending(
	const struct channel *ch, const struct operation *op, struct errinfo *errinfo)
{
	if (!operation_is_copy(op) && !endpoint_has_atomics(ch->pipeline.ep))
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"this machine's RDMA device has no atomic operations");
	if (!op->lease_epoch || op->lease_epoch == ch->lease_epoch)
		return 0;
	return errinfo_set(errinfo, -ESTALE, "the lease had ended before this was sent");
}

int keys_check(struct channel *ch, const struct operation *op, struct errinfo *errinfo)
{
	return for_each_piece(ch, op, check_piece, errinfo);
}

int keys_fetch(struct channel *ch, const struct operation *op, struct errinfo *errinfo)
{
	int rc = check_sending(ch, op, errinfo);

	return rc ? rc : for_each_piece(ch, op, fetch_piece, errinfo);
}
