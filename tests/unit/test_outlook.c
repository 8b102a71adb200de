/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has to give back what it holds, so that there is room: on random pools, against trying it out for real on
 * allocators that are rebuilt from the ledger without some sessions.
 */
#include "tests/support/drafts.h"

#include "server/memory/outlook.h"

#define NODES 2
#define SESSIONS 6
#define PAGE BLOCK_MIN_BYTES
#define PAGES (ARENA / PAGE / 16) /* of a node: few, so that MAX allocations fill it */

struct pool {
	struct ledger *ledger;
	struct buddy *nodes[NODES];
};

/* Take random blocks for random sessions until nothing fits; some are zombies, or on their way back. */
static void pool_fill(struct pool *p)
{
	unsigned failures = 0;

	assert_int_equal(ledger_open(&p->ledger, dir, NAME, MAX), 0);
	for (unsigned i = 0; i < NODES; i++)
		assert_int_equal(buddy_create(PAGES * PAGE, &p->nodes[i]), 0);
	while (failures < 20) {
		uint64_t bytes = PAGE << rnd(3), offset;
		unsigned node = (unsigned)rnd(NODES);
		const struct allocation *a;
		struct allocation d;

		if (buddy_alloc(p->nodes[node], bytes, &offset)) {
			failures++;
			continue;
		}
		d = draft(offset, bytes, (uint32_t)rnd(SESSIONS));
		d.addr = addr_make(0, node, offset);
		assert_int_equal(ledger_add(p->ledger, &d, &a), 0);
		if (rnd(10) == 0)
			ledger_set_state(p->ledger, a, ALLOCATION_REVOKING);
		if (a->state == ALLOCATION_REVOKING && rnd(2))
			ledger_set_state(p->ledger, a, ALLOCATION_ZOMBIE);
	}
}

static void pool_drop(struct pool *p)
{
	for (unsigned i = 0; i < NODES; i++)
		buddy_destroy(p->nodes[i]);
	ledger_close(p->ledger);
	unlinkat(dir, NAME, 0);
}

/* The truth: is there room for bytes on these nodes if the sessions of a mask had given back what they can? */
static bool fits_without(const struct pool *p, uint64_t bytes, unsigned nodes, unsigned sessions)
{
	bool fits = false;

	for (unsigned i = 0; i < NODES; i++) {
		const struct allocation *a;
		uint32_t cursor = 0;
		struct buddy *b;

		assert_int_equal(buddy_create(PAGES * PAGE, &b), 0);
		while ((a = ledger_next(p->ledger, &cursor))) {
			if (addr_node(a->addr) == i &&
				(a->state == ALLOCATION_ZOMBIE || !(sessions >> a->session & 1)))
				assert_int_equal(buddy_reserve(b, addr_offset(a->addr),
							 allocation_block_bytes(a)),
					0);
		}
		fits |= (nodes >> i & 1) && buddy_largest_free_bytes(b) >= bytes;
		buddy_destroy(b);
	}
	return fits;
}

static void look(const struct pool *p, struct outlook *o, unsigned nodes)
{
	*o = (struct outlook){ .ledger = p->ledger };
	for (unsigned i = 0; i < NODES; i++) {
		if (nodes >> i & 1)
			assert_int_equal(outlook_add_node(o, i, p->nodes[i]), 0);
	}
}

/* Who is chosen is enough, the last of them is necessary though all before it be gone, and nobody is if that does not help. */
static unsigned try_choose(const struct pool *p, uint64_t bytes, unsigned nodes)
{
	unsigned before_last = 0, all = 0, chosen = 0;
	const struct wish wish = { .bytes = bytes };
	bool needed[SESSIONS] = { false };
	uint32_t slots[SESSIONS];
	size_t n = 0, looked_at;
	struct outlook o;

	for (uint32_t i = 0; i < SESSIONS; i++) {
		uint32_t at = (uint32_t)rnd(n + 1); /* in any order, and not all of them */

		if (rnd(4) == 0)
			continue;
		slots[n] = slots[at];
		slots[at] = i;
		n++;
		all |= 1U << i;
	}
	look(p, &o, nodes);
	assert_int_equal(outlook_has_room(&o, &wish), fits_without(p, bytes, nodes, 0));
	looked_at = outlook_has_room(&o, &wish) ? 0 : outlook_choose(&o, &wish, slots, n, needed);
	outlook_close(&o);
	if (fits_without(p, bytes, nodes, 0))
		return 0;
	assert_int_equal(looked_at > 0, fits_without(p, bytes, nodes, all));
	if (!looked_at)
		return 0;
	for (size_t i = 0; i < looked_at; i++) {
		chosen |= (unsigned)needed[i] << slots[i];
		before_last |= i + 1 < looked_at ? 1U << slots[i] : 0;
	}
	assert_true(needed[looked_at - 1]);
	assert_true(fits_without(p, bytes, nodes, chosen));
	assert_false(fits_without(p, bytes, nodes, before_last));
	return (unsigned)__builtin_popcount(before_last & ~chosen);
}

static void test_choose(void **state)
{
	unsigned spared = 0;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct pool p;

		pool_fill(&p);
		for (unsigned k = 0; k < 60; k++)
			spared += try_choose(&p, PAGE << rnd(6), 1 + (unsigned)rnd(3));
		pool_drop(&p);
	}
	assert_true(spared > 0); /* some that came before in turn were not needed */
}

static void test_without(void **state)
{
	struct allocation d = draft(0, PAGES * PAGE, 1);
	const struct allocation *a;
	struct outlook o = { .ledger = NULL };
	struct ledger *l;
	struct buddy *b;
	const struct wish all = { .bytes = PAGES * PAGE }, more = { .bytes = 2 * PAGES * PAGE };
	struct range lost = { addr_make(0, 0, 0), addr_make(0, 0, PAGE) };
	struct wish one = { .bytes = 1 };
	uint64_t offset;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(buddy_create(PAGES * PAGE, &b), 0);
	assert_int_equal(buddy_alloc(b, PAGES * PAGE, &offset), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	o.ledger = l;
	assert_int_equal(outlook_add_node(&o, 0, b), 0);
	assert_false(outlook_has_room(&o, &one));
	assert_int_equal(outlook_choose(&o, &one, NULL, 0, NULL), 0);
	outlook_without(&o, a);
	outlook_without(&o, a); /* twice is once */
	assert_true(outlook_has_room(&o, &all));
	assert_false(outlook_has_room(&o, &more));
	/* Not where somebody has lost something. */
	one.avoid = &lost;
	one.navoid = 1;
	assert_true(outlook_has_room(&o, &one));
	lost.end = addr_make(0, 0, PAGES * PAGE);
	assert_false(outlook_has_room(&o, &one));
	assert_int_equal(buddy_free_bytes(b), 0); /* it was only tried */
	d = draft(0, PAGE, 1);
	d.addr = addr_make(0, 5, 0);
	outlook_without(&o, &d); /* of a node that is not looked at */
	outlook_close(&o);
	buddy_destroy(b);
	ledger_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_choose),
		IN_DIR(test_without),
	};

	return run_with_seed("outlook", tests, sizeof(tests) / sizeof(tests[0]));
}
