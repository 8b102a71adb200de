/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/wish.h"

#include <string.h>

#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/sim/chance.h"
#include "tests/sim/model.h"
#include "tests/sim/rooms.h"

/* One of its own, mostly. */
static const struct block *choose(const struct owner *o)
{
	const struct block *b = model_any_block();

	for (unsigned tries = 0; b && b->owner != o && tries < 12; tries++)
		b = model_any_block();
	return b;
}

/* An allocation by address and serial number; now and then a wrong one. */
static const struct block *name(const struct owner *o, uint64_t *addr, uint64_t *serial)
{
	const struct block *b = choose(o);

	*addr = b ? b->addr : PAGE_BYTES;
	*serial = b ? b->serial : 1;
	if (chance_in(20))
		*serial -= 1 + chance_below(3);
	if (chance_in(30))
		*addr += PAGE_BYTES;
	return b;
}

static void wish_placement(struct placement *p, const struct block *b)
{
	static const uint8_t policies[] = { PLACEMENT_BIND, PLACEMENT_PREFERRED,
		PLACEMENT_INTERLEAVE, PLACEMENT_NEAR, PLACEMENT_LOCAL };

	if (chance_in(2))
		return;
	p->nodes = 1ULL << chance_below(rooms.sizes.count);
	if (chance_in(2))
		return;
	p->policy = policies[chance_below(sizeof(policies))];
	if (p->policy == PLACEMENT_NEAR || p->policy == PLACEMENT_LOCAL)
		p->nodes = 0;
	if (p->policy == PLACEMENT_NEAR)
		p->near = b ? b->addr : 0;
	p->policy |= chance_in(3) ? PLACEMENT_STRICT : 0;
	if (chance_in(40))
		p->nodes |= 1U << 7;
}

/* One of those that there are, mostly. */
static void choose_key(const struct block *b, uint8_t key[SHARE_KEY_SIZE])
{
	const struct shares *s = &b->shares;

	if (s->any && !chance_in(4))
		memcpy(key, s->key, SHARE_KEY_SIZE);
	else if (s->to_free && !chance_in(4))
		memcpy(key, s->free_key, SHARE_KEY_SIZE);
	else if (s->to_read && !chance_in(4))
		memcpy(key, s->read_key, SHARE_KEY_SIZE);
	else
		memcpy(key, s->void_key, SHARE_KEY_SIZE);
}

static void wish_alloc(struct request *q)
{
	static const uint64_t pages[] = { 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 8, 16 };
	const struct block *b = model_any_block();

	q->type = MESSAGE_ALLOC;
	q->alloc.bytes = pages[chance_below(sizeof(pages) / sizeof(pages[0]))] * PAGE_BYTES -
			 chance_below(PAGE_BYTES);
	if (chance_in(80))
		q->alloc.bytes = chance_in(2) ? 0 : 1ULL << 40;
	if (chance_in(5)) {
		q->alloc.size_class = (uint8_t)(1 + chance_below(SIZE_CLASSES));
		if (!chance_in(5))
			q->alloc.bytes = block_bytes_for(q->alloc.bytes);
	}
	wish_placement(&q->alloc.placement, b);
	for (; b && chance_in(6) && q->alloc.navoid < AVOID_MAX; b = model_any_block()) {
		q->alloc.avoid[q->alloc.navoid++] =
			(struct range){ b->addr, b->addr + b->block_bytes };
	}
}

void wish_attach(const struct owner *o, struct request *q)
{
	const struct block *b = name(o, &q->attach.addr, &q->attach.serial);
	const struct block *other = model_any_block();

	q->type = MESSAGE_ATTACH;
	if (other && (other->shares.any || other->shares.to_read || other->shares.to_free)) {
		b = other;
		q->attach.addr = b->addr;
		q->attach.serial = b->serial;
	}
	if (b && b->owner != o)
		choose_key(b, q->attach.key);
	if (b && chance_in(2))
		q->attach.offset = chance_below(b->bytes + chance_in(20));
	q->attach.key[1] ^= chance_in(15);
}

static void wish_lookup(const struct owner *o, struct request *q)
{
	uint64_t serial;
	const struct block *b = name(o, &q->lookup.addr, &serial);

	q->type = MESSAGE_LOOKUP;
	if (b)
		choose_key(b, q->lookup.key);
	q->lookup.key[2] ^= chance_in(10);
}

static void wish_unshare(const struct owner *o, struct request *q)
{
	q->type = MESSAGE_UNSHARE;
	name(o, &q->unshare.addr, &q->unshare.serial);
}

/* From a page on; how many bytes there are from there. */
static uint64_t choose_place(const struct owner *o, struct place *p)
{
	const struct block *b = chance_in(3) ? model_any_block() : choose(o);
	uint64_t pages;

	p->addr = b ? b->addr : PAGE_BYTES;
	p->serial = b ? b->serial - chance_in(20) : 1;
	if (!b)
		return PAGE_BYTES;
	if (b->owner != o)
		choose_key(b, p->key);
	pages = b->bytes / PAGE_BYTES;
	p->offset = pages ? chance_below(pages) * PAGE_BYTES : 0;
	return b->bytes - p->offset;
}

/* Now and then one byte too many, or far too many. */
static uint64_t choose_length(uint64_t room)
{
	const uint64_t bytes = room > PAGE_BYTES ? room / PAGE_BYTES * PAGE_BYTES : room;

	if (chance_in(30))
		return chance_in(2) ? room + 1 : UINT64_MAX - chance_below(2 * PAGE_BYTES);
	if (bytes < 8)
		return 0; /* what is looked at is words */
	return chance_in(2) ? bytes : 8;
}

static void wish_copy(const struct owner *o, struct request *q)
{
	const uint64_t from = choose_place(o, &q->copy.src), to = choose_place(o, &q->copy.dst);

	q->type = MESSAGE_COPY;
	q->copy.bytes = choose_length(from < to ? from : to);
}

static void wish_fill(const struct owner *o, struct request *q)
{
	q->type = MESSAGE_FILL;
	q->fill.bytes = choose_length(choose_place(o, &q->fill.dst));
	q->fill.byte = (uint8_t)chance_below(256);
}

static void wish_offer(const struct owner *o, struct request *q)
{
	q->type = MESSAGE_OFFER;
	name(o, &q->offer.addr, &q->offer.serial);
}

static void wish_accept(struct request *q)
{
	const struct block *b = model_any_block();

	for (unsigned tries = 0; b && !b->offered && tries < 12; tries++)
		b = model_any_block();
	q->type = MESSAGE_ACCEPT;
	q->accept.addr = b ? b->addr : PAGE_BYTES;
	if (b)
		memcpy(q->accept.key, b->offer_key, SHARE_KEY_SIZE);
	q->accept.key[4] ^= chance_in(10);
}

/* One that may be freed, mostly. */
static const struct block *choose_shared(const struct owner *o)
{
	const struct block *b = model_any_block();

	for (unsigned tries = 0; b && (!b->shares.to_free || b->owner == o) && tries < 12; tries++)
		b = model_any_block();
	return b;
}

static void wish_release(const struct owner *o, struct request *q)
{
	const struct block *b = chance_in(5) ? choose(o) : choose_shared(o);

	q->type = MESSAGE_RELEASE;
	q->release.addr = b ? b->addr : PAGE_BYTES;
	q->release.serial = b ? b->serial - chance_in(30) : 1;
	if (b && b->owner != o)
		choose_key(b, q->release.key);
	if (b && b->owner != o && b->shares.to_free && !chance_in(6))
		memcpy(q->release.key, b->shares.free_key, SHARE_KEY_SIZE);
	q->release.key[3] ^= chance_in(20);
}

/* As if it repeated one that was carried out. */
static void forge_release(const struct owner *o, struct request *q)
{
	const struct block *b = model_any_block();

	for (unsigned tries = 0; b && !b->size_class && tries < 12; tries++)
		b = model_any_block();
	q->type = MESSAGE_RELEASE;
	q->forged = true;
	q->seq = chance_in(2) || !o->free_seq ? 0 : o->free_seq;
	q->release.addr = b ? b->addr : PAGE_BYTES;
	q->release.serial = b ? b->serial : 1;
	for (unsigned i = 0; i < SHARE_KEY_SIZE; i++)
		q->release.key[i] = (uint8_t)(1 + chance_below(255));
}

/* Its first object is freed, or has another record. */
static void wish_revise(const struct owner *o, struct request *q)
{
	const struct block *b = name(o, &q->revise.addr, &q->revise.serial);

	for (unsigned tries = 0; tries < 12 && !(b && b->size_class); tries++)
		b = name(o, &q->revise.addr, &q->revise.serial);
	q->type = MESSAGE_REVISE;
	if (!b || !b->size_class)
		return;
	q->revise.before = object_record_with_state(
		chance_in(4) ? b->shares.record : model_record(b), OBJECT_LIVE);
	q->revise.after = chance_in(3) ? q->revise.before + (1ULL << OBJECT_GENERATION_SHIFT)
				       : object_record_with_state(q->revise.before, OBJECT_FREED);
	if (chance_in(30))
		q->revise.after = chance_u64();
}

static void wish_tell(const struct owner *o, struct request *q)
{
	const struct block *b = name(o, &q->tell.addr, &q->tell.serial);

	q->type = MESSAGE_TELL;
	if (b && b->owner != o)
		choose_key(b, q->tell.key);
}

static void wish_fence(struct request *q)
{
	const struct owner *o = model_any_owner();

	q->type = MESSAGE_FENCE;
	q->fence.fencing_token = chance_in(4) && model_last_token()
					 ? 1 + chance_below(model_last_token())
					 : o->fencing_token;
	if (chance_in(20))
		q->fence.fencing_token = chance_in(2) ? 0 : 1ULL << 39;
}

void wish_any(const struct owner *o, struct request *q)
{
	const bool has_none = choose(o) == NULL || choose(o)->owner != o;
	const uint64_t dice = has_none && !chance_in(3) ? 0 : chance_below(100);

	if (chance_in(25)) {
		wish_offer(o, q);
	} else if (chance_in(25)) {
		wish_accept(q);
	} else if (chance_in(16)) {
		wish_release(o, q);
	} else if (chance_in(40)) {
		forge_release(o, q);
	} else if (chance_in(20)) {
		wish_revise(o, q);
	} else if (chance_in(60)) {
		wish_tell(o, q);
	} else if (dice < 34) {
		wish_alloc(q);
	} else if (dice < 50) {
		q->type = MESSAGE_FREE;
		name(o, &q->free.addr, &q->free.serial);
	} else if (dice < 66) {
		wish_attach(o, q);
	} else if (dice < 73) {
		q->type = MESSAGE_SHARE;
		name(o, &q->share.addr, &q->share.serial);
		q->share.rights = (uint8_t)chance_below(SHARE_RIGHTS);
	} else if (dice < 76) {
		wish_unshare(o, q);
	} else if (dice < 80) {
		wish_lookup(o, q);
	} else if (dice < 85) {
		q->type = MESSAGE_DETACH;
		name(o, &q->detach.addr, &q->detach.serial);
	} else if (dice < 89) {
		wish_copy(o, q);
	} else if (dice < 91) {
		wish_fill(o, q);
	} else if (dice < 96) {
		wish_fence(q);
	} else if (dice < 99) {
		q->type = MESSAGE_RENEW;
	} else {
		q->type = MESSAGE_BYE;
	}
}
