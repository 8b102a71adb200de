/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/wish.h"

#include <string.h>

#include "common/size_class.h"
#include "rmem/rmem.h"
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
	q->alloc.node = chance_in(2) ? RMEM_NODE_ANY : (int)chance_below(rooms.sizes.count);
	if (chance_in(80))
		q->alloc.node = 7;
	for (; b && chance_in(6) && q->alloc.navoid < AVOID_MAX; b = model_any_block()) {
		q->alloc.avoid[q->alloc.navoid++] =
			(struct range){ b->addr, b->addr + b->block_bytes };
	}
}

void wish_attach(const struct owner *o, struct request *q)
{
	const struct block *b = name(o, &q->attach.addr, &q->attach.serial);

	q->type = MESSAGE_ATTACH;
	if (b && b->owner != o && b->shared)
		memcpy(q->attach.key, b->key, SHARE_KEY_SIZE);
	q->attach.key[1] ^= chance_in(15);
}

static void wish_lookup(const struct owner *o, struct request *q)
{
	uint64_t serial;
	const struct block *b = name(o, &q->lookup.addr, &serial);

	q->type = MESSAGE_LOOKUP;
	if (b && b->shared)
		memcpy(q->lookup.key, b->key, SHARE_KEY_SIZE);
	q->lookup.key[2] ^= chance_in(10);
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

	if (dice < 36) {
		wish_alloc(q);
	} else if (dice < 54) {
		q->type = MESSAGE_FREE;
		name(o, &q->free.addr, &q->free.serial);
	} else if (dice < 72) {
		wish_attach(o, q);
	} else if (dice < 79) {
		q->type = MESSAGE_SHARE;
		name(o, &q->share.addr, &q->share.serial);
	} else if (dice < 83) {
		wish_lookup(o, q);
	} else if (dice < 89) {
		q->type = MESSAGE_DETACH;
		name(o, &q->detach.addr, &q->detach.serial);
	} else if (dice < 96) {
		wish_fence(q);
	} else if (dice < 99) {
		q->type = MESSAGE_RENEW;
	} else {
		q->type = MESSAGE_BYE;
	}
}
