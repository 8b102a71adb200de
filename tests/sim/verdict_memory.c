/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/verdict_impl.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/size_class.h"
#include "tests/sim/chance.h"
#include "tests/sim/fairness.h"
#include "tests/sim/moment.h"
#include "tests/sim/room.h"
#include "tests/sim/rooms.h"
#include "tests/sim/window.h"

#define COMING_WITHIN_NS (9 * NSEC_PER_SEC)

struct block *verdict_own(const struct link *link, uint64_t addr, uint64_t serial)
{
	struct block *b = model_block(serial);

	return b && b->owner == link->owner && b->addr == addr ? b : NULL;
}

static bool is_allowed(const struct link *link, const struct alloc_request *q, bool when_back)
{
	const struct allocation wanted = { .bytes = q->bytes, .size_class = q->size_class };

	return fairness_allows(link->owner, &wanted, NULL, when_back);
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
				!room_fits_node(q, (unsigned)room_node_of(r->addr)) ||
				!is_allowed(first, q, false),
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
	require(link, room_fits_node(q, (unsigned)room_node_of(r->addr)), "another node");
	require(link, r->node == room_node_of(r->addr), "it says another node");
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
		require(link, status != -EDQUOT || !is_allowed(link, q, false),
			"refused, and it may have more");
		require(link,
			status != -EDQUOT || !is_allowed(link, q, true) ||
				moment_ran_ns() - link->asked_ran_ns >= COMING_WITHIN_NS,
			"refused, and what is on its way back would do");
		require(link, status != -ENOSPC || !room_is_there(q), "refused, and there is room");
		require(link, status != -ENOSPC || !room_is_owed(q),
			"refused, and what the dead have left would make room");
		return;
	}
	require_wished(link, &r);
	require_order(link, &r);
	b = model_add_block(link->owner, &r, link->question.seq);
	b->size_class = q->size_class;
	if (q->size_class && !chance_in(4))
		model_write_record(b);
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
	require(link,
		(status != -EINVAL && status != -EALREADY) ||
			link->owner->free_seq != link->question.seq,
		"repeated, and refused");
	require(link, status != -EALREADY || !b || b->state != BLOCK_LENT,
		"refused, and nobody has freed it");
	if (!status && link->honest)
		verdict_owner_freed(link, q->serial);
	require(link,
		status != -EINVAL || !b || b->state != BLOCK_LENT || b->owner != link->owner ||
			b->addr != q->addr,
		"refused, and it is its own");
}

bool verdict_admits(const struct link *link, const struct block *b,
	const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only)
{
	*out_read_only = false;
	return b->state == BLOCK_LENT &&
	       (b->owner == link->owner || model_key_admits(b, key, out_read_only));
}

/* Can more than read be done with this key of the NIC, which is bound now, or with the answer? */
static bool may_write(uint32_t rkey)
{
	struct window *w = NULL;

	while ((w = window_next(w)) != NULL) {
		if (w->mw.rkey >> 8 == rkey >> 8)
			return w->access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC);
	}
	return false;
}

/* Where the part begins that a byte is in; *bytes, of all, become those of the part. */
static uint64_t part_of(const struct block *b, uint64_t *bytes, uint64_t offset)
{
	const uint64_t most = rooms.pool.part_bytes, start = offset / most * most;

	if (b->size_class || *bytes <= most)
		return 0;
	*bytes = *bytes - start < most ? *bytes - start : most;
	return start;
}

void verdict_attach(struct link *link, int status, struct wire *in)
{
	const struct attach_request *q = &link->question.attach;
	struct grant_reply r;
	uint64_t bytes, record, start;
	struct block *b;
	bool read_only;

	grant_reply_get(in, &r);
	model_sync();
	b = model_block(q->serial);
	if (status) {
		require(link,
			status != -ESTALE || !b || b->addr != q->addr || b->detach_asked ||
				!verdict_admits(link, b, q->key, &read_only),
			"refused, and it may reach it");
		return;
	}
	require(link,
		b && r.serial == q->serial && b->addr == q->addr &&
			verdict_admits(link, b, q->key, &read_only),
		"granted, and it may not reach it");
	require(link, may_write(r.rkey) == !read_only, "granted with other rights");
	(void)model_offers(b, &bytes, &record);
	bytes = b->owner == link->owner ? b->bytes : bytes;
	require(link, q->offset < bytes, "granted, and it is beyond the end");
	start = part_of(b, &bytes, q->offset);
	require(link, r.addr == b->addr + start && r.bytes == bytes, "another part");
}

void verdict_share(struct link *link, int status, struct wire *in)
{
	const struct share_request *q = &link->question.share;
	struct share_reply r;
	uint64_t bytes, record;
	struct block *b;
	uint8_t *key;
	bool *told;

	share_reply_get(in, &r);
	model_sync();
	b = verdict_own(link, q->addr, q->serial);
	if (status) {
		require(link, !b || b->state != BLOCK_LENT || !model_offers(b, &bytes, &record),
			"refused, and it is its own");
		return;
	}
	require(link, b && b->state == BLOCK_LENT && model_offers(b, &bytes, &record),
		"a key to what is not its own");
	if (b->shares.record != record)
		b->shares = (struct shares){ .record = record };
	told = q->rights == SHARE_TO_READ   ? &b->shares.to_read
	       : q->rights == SHARE_TO_FREE ? &b->shares.to_free
					    : &b->shares.any;
	key = q->rights == SHARE_TO_READ   ? b->shares.read_key
	      : q->rights == SHARE_TO_FREE ? b->shares.free_key
					   : b->shares.key;
	require(link, !*told || memcmp(key, r.key, SHARE_KEY_SIZE) == 0, "another key");
	require(link, memcmp(b->shares.void_key, r.key, SHARE_KEY_SIZE) != 0, "a revoked key");
	*told = true;
	memcpy(key, r.key, SHARE_KEY_SIZE);
	require(link,
		!b->shares.any || !b->shares.to_read ||
			memcmp(b->shares.key, b->shares.read_key, SHARE_KEY_SIZE) != 0,
		"the same key for other rights");
	if (q->rights == SHARE_TO_FREE)
		verdict_told_key(b, key, record);
}

void verdict_lookup(struct link *link, int status, struct wire *in)
{
	const struct lookup_request *q = &link->question.lookup;
	struct lookup_reply r;
	uint64_t bytes, record;
	struct block *b, *shared = NULL;
	bool read_only, to_read = false;

	lookup_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; (b = model_block_at(i)) != NULL; i++) {
		if (b->addr != q->addr || b->state != BLOCK_LENT ||
			!model_key_admits(b, q->key, &read_only))
			continue;
		shared = b;
		to_read = read_only;
	}
	require(link, !status == !!shared, "the key fits, and is refused, or the reverse");
	require(link,
		status || (model_offers(shared, &bytes, &record) && r.bytes == bytes &&
				  r.serial == shared->serial &&
				  (r.rights == SHARE_TO_READ) == to_read),
		"another allocation");
}

void verdict_detach(struct link *link, int status)
{
	const struct detach_request *q = &link->question.detach;
	const struct block *b = model_block(q->serial);

	if (!status && b && b->addr == q->addr)
		require(link, !reaches(b, link->owner), "answered while a key of it reaches it");
}

void verdict_unshare(struct link *link, int status)
{
	const struct unshare_request *q = &link->question.unshare;
	struct block *b;

	model_sync();
	b = verdict_own(link, q->addr, q->serial);
	if (status) {
		require(link, status == -EIO || !b || b->state != BLOCK_LENT,
			"refused, and it is its own");
		return;
	}
	if (!b || b->state != BLOCK_LENT)
		return; /* taken from it meanwhile */
	require(link, b->size_class || (!b->shares.any && !b->shares.to_read && !b->shares.to_free),
		"answered, and its keys are good");
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		require(link, !w->bound || w->serial != b->serial || w->link->owner == b->owner,
			"answered while a key of another session reaches it");
}

void verdict_offer(struct link *link, int status, struct wire *in)
{
	const struct offer_request *q = &link->question.offer;
	struct offer_reply r;
	struct block *b;

	offer_reply_get(in, &r);
	model_sync();
	b = verdict_own(link, q->addr, q->serial);
	if (status) {
		require(link, status == -EIO || !b || b->state != BLOCK_LENT || b->size_class,
			"refused, and it is its own");
		return;
	}
	require(link, b && b->state == BLOCK_LENT && !b->size_class,
		"a key to what is not its own");
	require(link, !reaches(b, NULL), "answered while a key reaches it");
	b->offered = true;
	memcpy(b->offer_key, r.key, SHARE_KEY_SIZE);
}

void verdict_accept(struct link *link, int status, struct wire *in)
{
	const struct accept_request *q = &link->question.accept;
	struct accept_reply r;
	struct block *b, *at = NULL;

	accept_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; (b = model_block_at(i)) != NULL; i++) {
		if (b->addr == q->addr && b->state == BLOCK_LENT)
			at = b;
	}
	if (!status) {
		require(link, at && at->owner == link->owner, "answered, and it is not its own");
		require(link, r.bytes == at->bytes && r.serial == at->serial, "another allocation");
		return;
	}
	if (status == -EDQUOT && at) {
		const struct allocation wanted = { .bytes = at->bytes };

		require(link, !fairness_allows(link->owner, &wanted, at->owner, false),
			"refused, and it may have more");
	}
	/* Whoever is being taken from has nothing to give. */
	require(link,
		status != -EACCES || !at || !at->offered || !owner_is_alive(at->owner) ||
			!owner_has_connection(at->owner) ||
			memcmp(q->key, at->offer_key, SHARE_KEY_SIZE) != 0,
		"it is offered, and refused");
}
