/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/outlook.h"

struct room {
	unsigned node;
	uint64_t offset, bytes;
};

int outlook_add_node(struct outlook *o, unsigned node, const struct buddy *b)
{
	return buddy_copy(b, &o->nodes[node]);
}

void outlook_close(struct outlook *o)
{
	for (unsigned i = 0; i < ADDR_MAX_NODES; i++)
		buddy_destroy(o->nodes[i]);
}

void outlook_without(struct outlook *o, const struct allocation *a)
{
	struct buddy *b = o->nodes[addr_node(a->addr)];

	if (b && a->state != ALLOCATION_ZOMBIE)
		(void)buddy_free(b, addr_offset(a->addr), allocation_block_bytes(a));
}

void outlook_without_session(struct outlook *o, uint32_t slot)
{
	const struct allocation *a = NULL;

	while ((a = ledger_next_of_session(o->ledger, slot, a)))
		outlook_without(o, a);
}

bool outlook_has_room(const struct outlook *o, const struct wish *wish)
{
	struct buddy_range avoid[AVOID_MAX];

	for (unsigned i = 0; i < ADDR_MAX_NODES; i++) {
		if (o->nodes[i] && buddy_has_room(o->nodes[i], wish->bytes, avoid,
					   wish_avoid_on(wish, i, avoid)))
			return true;
	}
	return false;
}

static struct room take_room(struct outlook *o, const struct wish *wish)
{
	struct room r = { .bytes = buddy_block_bytes(wish->bytes) };
	struct buddy_range avoid[AVOID_MAX];

	while (!o->nodes[r.node] || buddy_alloc_outside(o->nodes[r.node], wish->bytes, avoid,
					    wish_avoid_on(wish, r.node, avoid), &r.offset))
		r.node++; /* there is one */
	return r;
}

static bool has_part_of(const struct outlook *o, uint32_t slot, const struct room *r)
{
	const struct allocation *a = NULL;

	while ((a = ledger_next_of_session(o->ledger, slot, a))) {
		const uint64_t offset = addr_offset(a->addr);

		if (addr_node(a->addr) == r->node && offset < r->offset + r->bytes &&
			r->offset < offset + allocation_block_bytes(a))
			return true;
	}
	return false;
}

size_t outlook_choose(
	struct outlook *o, const struct wish *wish, const uint32_t slots[], size_t n, bool needed[])
{
	struct room room;
	size_t looked_at = 0;

	while (!outlook_has_room(o, wish)) {
		if (looked_at == n)
			return 0;
		outlook_without_session(o, slots[looked_at++]);
	}
	room = take_room(o, wish);
	for (size_t i = 0; i < looked_at; i++)
		needed[i] = has_part_of(o, slots[i], &room);
	return looked_at;
}
