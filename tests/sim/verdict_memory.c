/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/verdict_impl.h"

#include <errno.h>
#include <string.h>

#include "common/size_class.h"
#include "rmem/rmem.h"
#include "tests/sim/room.h"
#include "tests/sim/rooms.h"
#include "tests/sim/window.h"

struct block *verdict_own(const struct link *link, uint64_t addr, uint64_t serial)
{
	struct block *b = model_block(serial);

	return b && b->owner == link->owner && b->addr == addr ? b : NULL;
}

/* -1: it is outside of the pool. */
static int node_of(uint64_t addr)
{
	const struct segment *s = pool_find_segment(&rooms.pool, addr);

	return s ? (int)s->node : -1;
}

/* Among those that wait, who came first gets what both could have. */
static void require_order(const struct link *link, const struct alloc_reply *r)
{
	for (unsigned i = 0; i < LINKS_MAX && link->waited; i++) {
		const struct link *first = &links[i];
		const struct alloc_request *q = &first->question.alloc;

		if (first == link || !first->asked || first->question.type != MESSAGE_ALLOC ||
			first->asked_order > link->asked_order || q->navoid)
			continue;
		require(link,
			block_bytes_for(q->bytes) > block_bytes_for(r->bytes) ||
				(q->node != RMEM_NODE_ANY && q->node != node_of(r->addr)),
			"served before one that has waited longer");
	}
}

static void require_wished(const struct link *link, const struct alloc_reply *r)
{
	const struct alloc_request *q = &link->question.alloc;
	const uint64_t end = r->addr + block_bytes_for(r->bytes);

	require(link, r->bytes == q->bytes, "another size");
	require(link, !q->size_class || slab_slots(q->size_class, q->bytes),
		"a slab that cannot be");
	require(link, q->node == RMEM_NODE_ANY || q->node == node_of(r->addr), "another node");
	for (unsigned i = 0; i < q->navoid; i++)
		require(link,
			q->avoid[i].start >= end || q->avoid[i].end <= r->addr ||
				q->avoid[i].start >= q->avoid[i].end,
			"where nothing was to be lent");
}

void verdict_alloc(struct link *link, int status, struct wire *in)
{
	const struct alloc_request *q = &link->question.alloc;
	struct alloc_reply r;
	struct block *b;

	alloc_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; !status && (b = model_block_at(i)) != NULL; i++) {
		if (b->owner != link->owner || b->seq != link->question.seq ||
			b->state != BLOCK_LENT)
			continue;
		require(link, b->serial == r.serial && b->addr == r.addr && b->bytes == r.bytes,
			"repeated, and made twice");
		return;
	}
	if (status) {
		require(link, status != -EDQUOT, "the ledger is full, and the pool is not");
		require(link, status != -ENOSPC || !room_is_there(q), "refused, and there is room");
		require(link, status != -ENOSPC || !room_is_owed(q),
			"refused, and what the dead have left would make room");
		return;
	}
	require_wished(link, &r);
	require_order(link, &r);
	model_add_block(link->owner, &r, link->question.seq)->size_class = q->size_class;
}

/* Does anybody reach it, or anybody of that session? */
static bool reaches(const struct block *b, const struct owner *only)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		if (w->bound && w->serial == b->serial && (!only || w->link->owner == only))
			return true;
	}
	return false;
}

void verdict_free(struct link *link, int status)
{
	const struct free_request *q = &link->question.free;
	struct block *b;

	model_sync();
	b = verdict_own(link, q->addr, q->serial);
	if (!status && b) {
		require(link, b->state != BLOCK_LENT, "answered, and it is still lent");
		require(link, !reaches(b, NULL), "answered while a key reaches it");
	}
	if (!status && (b = model_block(q->serial)) != NULL)
		require(link, b->owner == link->owner, "answered, and it is another's");
	require(link, status != -EINVAL || link->owner->free_seq != link->question.seq,
		"repeated, and refused");
	require(link,
		status != -EINVAL || !b || b->state != BLOCK_LENT || b->owner != link->owner ||
			b->addr != q->addr,
		"refused, and it is its own");
}

static bool may_attach(const struct link *link, const struct block *b, const uint8_t *key)
{
	return b->state == BLOCK_LENT &&
	       (b->owner == link->owner || (b->shared && memcmp(b->key, key, SHARE_KEY_SIZE) == 0));
}

void verdict_attach(struct link *link, int status, struct wire *in)
{
	const struct attach_request *q = &link->question.attach;
	struct grant_reply r;
	struct block *b;

	grant_reply_get(in, &r);
	model_sync();
	b = model_block(q->serial);
	if (status) {
		require(link,
			status != -ESTALE || !b || b->addr != q->addr || b->detach_asked ||
				!may_attach(link, b, q->key),
			"refused, and it may reach it");
		return;
	}
	require(link,
		b && r.serial == q->serial && r.addr == q->addr && b->addr == q->addr &&
			may_attach(link, b, q->key),
		"granted, and it may not reach it");
	require(link, r.bytes == b->bytes, "another size");
}

void verdict_share(struct link *link, int status, struct wire *in)
{
	const struct share_request *q = &link->question.share;
	struct share_reply r;
	struct block *b;

	share_reply_get(in, &r);
	model_sync();
	b = verdict_own(link, q->addr, q->serial);
	if (status) {
		require(link, !b || b->state != BLOCK_LENT, "refused, and it is its own");
		return;
	}
	require(link, b && b->state == BLOCK_LENT, "a key to what is not its own");
	require(link, !b->shared || memcmp(b->key, r.key, SHARE_KEY_SIZE) == 0, "another key");
	b->shared = true;
	memcpy(b->key, r.key, SHARE_KEY_SIZE);
}

void verdict_lookup(struct link *link, int status, struct wire *in)
{
	const struct lookup_request *q = &link->question.lookup;
	struct lookup_reply r;
	struct block *b, *shared = NULL;

	lookup_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; (b = model_block_at(i)) != NULL; i++) {
		if (b->addr == q->addr && b->state == BLOCK_LENT && b->shared &&
			memcmp(b->key, q->key, SHARE_KEY_SIZE) == 0)
			shared = b;
	}
	require(link, !status == !!shared, "the key fits, and is refused, or the reverse");
	require(link, status || (r.bytes == shared->bytes && r.serial == shared->serial),
		"another allocation");
}

void verdict_detach(struct link *link, int status)
{
	const struct detach_request *q = &link->question.detach;
	const struct block *b = model_block(q->serial);

	if (!status && b && b->addr == q->addr)
		require(link, !reaches(b, link->owner), "answered while a key of it reaches it");
}
