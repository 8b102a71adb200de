/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/data/explain.h"

/* With the table. */
static int copy_buffers(struct channel *ch)
{
	const struct buffers *from = &ch->session->buffers;
	struct buffers *to = &ch->buffers;
	int rc;

	ch->fastpath.near.bytes = 0;
	to->count = 0;
	rc = buffers_reserve(to, from->count);
	if (rc)
		return rc;
	to->count = from->count;
	if (from->count)
		memcpy(to->items, from->items, from->count * sizeof(*to->items));
	return 0;
}

/* Look at the session again, if anything has changed since the last time. */
void keys_refresh(struct channel *ch)
{
	struct session *s = ch->session;
	uint64_t epoch = atomic_load_explicit(&s->vitals->epoch, memory_order_acquire);

	if (epoch == ch->epoch)
		return;
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

/* Why the range cannot be used, in words: found without a lock, now looked at with it. */
static __attribute__((noinline)) int explain(
	struct session *s, const struct rmem_iovec *piece, struct errinfo *errinfo)
{
	const struct block *block;
	int rc;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, piece->base, piece->len);
	if (!block)
		rc = explain_range(&s->blocks, piece->base, piece->len, errinfo);
	else if (block->state != BLOCK_LIVE)
		rc = explain_state(block, errinfo);
	else /* another one by now */
		rc = explain_freed(piece->base, errinfo);
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* What the key for that address reaches: all of the block, or a part. */
static struct range range_of(const struct channel *ch, const struct block_view *b, uint64_t addr)
{
	struct range r = { b->addr, b->addr + b->bytes };

	if (b->slab || b->bytes <= ch->part_bytes)
		return r;
	r.start = addr & ~(ch->part_bytes - 1);
	if (r.end - r.start > ch->part_bytes)
		r.end = r.start + ch->part_bytes;
	return r;
}

static bool is_part(const struct range *r, const struct block_view *b)
{
	return r->end - r->start != b->bytes;
}

/* The key for a range of a block; false: there is none yet, or it is in several parts. */
static bool find_known(struct channel *ch, const struct rmem_iovec *piece,
	const struct block_view *b, struct range *out, uint32_t *out_rkey)
{
	*out = range_of(ch, b, piece->base);
	if (!is_part(out, b))
		return key_cache_get(&ch->keys, b->slot, b->serial, out_rkey);
	return piece->len <= out->end - piece->base &&
	       key_cache_get_part(&ch->keys, out->start, b->serial, out_rkey);
}

int keys_find(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of,
	struct block_view *out, uint32_t *out_rkey, struct errinfo *errinfo)
{
	const struct near_key *near = key_cache_find(&ch->keys, piece->base, piece->len);
	struct session *s = ch->session;
	struct range r;

	if (near && near->serial <= as_of) {
		out->slab = NULL;
		out->read_only = false;
		*out_rkey = near->rkey;
		return 0;
	}
	if (!blocks_view(&s->blocks, piece->base, out) ||
		piece->len > out->bytes - (piece->base - out->addr))
		return explain(s, piece, errinfo);
	/* It may have been freed since the operation was started, and its address lent anew. */
	if (out->serial > as_of)
		return explain_freed(piece->base, errinfo);
	if (!find_known(ch, piece, out, &r, out_rkey))
		return -EAGAIN;
	/* What is for reading only is looked up each time, so that the short way of a write need not ask. */
	if (!out->read_only)
		key_cache_remember(&ch->keys, piece->base,
			&(struct near_key){ r.start, out->slab ? 0 : r.end - r.start, out->serial,
				out->live, *out_rkey, out->slab });
	return 0;
}

int keys_known(struct channel *ch, const struct operation *op, uint64_t addr, size_t bytes,
	uint32_t *out_rkey, struct errinfo *errinfo)
{
	const struct rmem_iovec piece = { addr, bytes };
	struct block_view block;
	int rc = keys_find(ch, &piece, op->as_of, &block, out_rkey, errinfo);

	return rc == -EAGAIN ? explain_freed(addr, errinfo) : rc;
}

/* ---- fetching ---- */

/* Everything outstanding completes. 0 or -ECONNRESET. */
static int drain(struct channel *ch, struct errinfo *errinfo)
{
	int rc = 0;

	while (rc == 0 && !pipeline_is_idle(&ch->pipeline))
		rc = pipeline_wait(&ch->pipeline, PIPELINE_FOREVER, false);
	if (rc)
		channel_note_failure(ch, errinfo);
	return rc;
}

/* With the table: the block, if it is still there. */
static struct block *find_again(struct session *s, const struct block_view *view)
{
	struct block *block = blocks_find(&s->blocks, view->addr);

	return block && block->serial == view->serial ? block : NULL;
}

/* The server says that it has nothing of ours there: another thread has freed it meanwhile, or it is lost. */
static int mark_stale(struct session *s, const struct block_view *gone, struct errinfo *errinfo)
{
	struct block *block;
	int rc;

	pthread_mutex_lock(&s->table);
	block = find_again(s, gone);
	if (block && (block->state == BLOCK_LIVE || block->state == BLOCK_STALE)) {
		session_revoke(s, block);
		rc = explain_stale(block, errinfo);
	} else {
		rc = explain_freed(gone->addr, errinfo);
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* How the block is named to the server. -EFAULT: it was freed meanwhile. */
static int name_block(struct session *s, const struct block_view *view, struct attach_request *out,
	struct errinfo *errinfo)
{
	const struct block *block;

	pthread_mutex_lock(&s->table);
	block = find_again(s, view);
	if (block) {
		out->addr = block->addr;
		out->serial = block->id;
		/* All zero if it is this session's own. */
		memcpy(out->key, block->key, sizeof(out->key));
	}
	pthread_mutex_unlock(&s->table);
	return block ? 0 : explain_freed(view->addr, errinfo);
}

/* Have a window bound on this connection, around that address. -ECONNRESET: it broke. */
static int fetch(
	struct channel *ch, const struct block_view *block, uint64_t addr, struct errinfo *errinfo)
{
	const struct range r = range_of(ch, block, addr);
	struct attach_request request = { .offset = r.start - block->addr };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	struct grant_reply grant;
	int rc = drain(ch, errinfo);

	if (rc == 0)
		rc = name_block(ch->session, block, &request, errinfo);
	if (rc)
		return rc;
	attach_request_put(&body, &request);
	rc = endpoint_call(ch->pipeline.ep, MESSAGE_ATTACH, ++ch->seq, &body, channel_deadline(ch),
		&reply, errinfo);
	if (rc == -ESTALE || rc == -ENOENT)
		return mark_stale(ch->session, block, errinfo);
	if (rc == -ETIMEDOUT) /* a reply that comes later would be taken for another's */
		endpoint_break(ch->pipeline.ep);
	if (rc)
		return rc;
	grant_reply_get(&reply, &grant);
	if (wire_finish(&reply) || grant.addr != r.start || grant.bytes != r.end - r.start ||
		grant.serial != request.serial)
		return errinfo_set(errinfo, -EPROTO, "rmemd sent a malformed grant");
	rc = is_part(&r, block) ? key_cache_set_part(&ch->keys, r.start, block->live, block->serial,
					  grant.rkey)
				: key_cache_set(&ch->keys, block->slot, block->serial, grant.rkey);
	return rc ? errinfo_set(errinfo, rc, "out of memory") : 0;
}

typedef int visit_fn(struct channel *ch, const struct rmem_iovec *piece, const struct operation *op,
	struct errinfo *errinfo);

/* Every remote piece of an operation, until one fails. */
static int for_each_piece(
	struct channel *ch, const struct operation *op, visit_fn *visit, struct errinfo *errinfo)
{
	const struct rmem_iovec word = { op->addr, sizeof(uint64_t) };
	int rc = 0;

	if (!operation_is_copy(op))
		return visit(ch, &word, op, errinfo);
	for (int i = 0; i < op->left.nremote && rc == 0; i++)
		if (op->left.remote[i].len)
			rc = visit(ch, &op->left.remote[i], op, errinfo);
	return rc;
}

/* Is the piece inside one allocation that may be used? */
static int check_piece(struct channel *ch, const struct rmem_iovec *piece,
	const struct operation *op, struct errinfo *errinfo)
{
	struct block_view block;
	uint32_t rkey, slot;
	int rc = keys_find(ch, piece, op->as_of, &block, &rkey, errinfo);

	if (rc && rc != -EAGAIN)
		return rc;
	if (block.read_only && op->kind != OPERATION_READ)
		return explain_read_only(piece->base, errinfo);
	if (!block.slab || op->is_journal || slab_holds(block.slab, piece->base, piece->len, &slot))
		return 0;
	return explain_object(block.slab, piece->base, piece->len, errinfo);
}

/* Have a key for each part of it on this connection. */
static int fetch_piece(struct channel *ch, const struct rmem_iovec *piece,
	const struct operation *op, struct errinfo *errinfo)
{
	struct rmem_iovec now = *piece;
	struct block_view block;
	uint32_t rkey;
	int rc = 0;

	for (size_t left = piece->len; left && rc == 0; left -= now.len, now.base += now.len) {
		now.len = keys_reach(ch, now.base);
		now.len = now.len < left ? now.len : left;
		rc = keys_find(ch, &now, op->as_of, &block, &rkey, errinfo);
		if (rc == -EAGAIN)
			rc = fetch(ch, &block, now.base, errinfo);
	}
	return rc;
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
