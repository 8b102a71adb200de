/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sums that reports show: after any change of the ledger and of the session table they are what counting would
 * give. Also over slots that list memory of several sessions, and over a restart.
 */
#include "tests/support/random.h"
#include "tests/support/world.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS 12
#define STEPS 20000
#define HELD_MAX 300

static bool is_same(const struct ledger_share *a, const struct ledger_share *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void check_shares(struct world *w, uint32_t session, uint64_t serial)
{
	struct ledger_share counted = { 0 };
	struct ledger_share kept = ledger_session_share(w->ledger, session, serial);
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(w->ledger, &cursor)) != NULL) {
		if (a->session != session || a->session_serial != serial)
			continue;
		counted.blocks++;
		counted.bytes += a->bytes;
		counted.block_bytes += allocation_block_bytes(a);
		counted.slabs += a->size_class != 0;
	}
	assert_true(is_same(&counted, &kept));
}

static void check_sessions(struct world *w)
{
	uint32_t counted[SESSION_DEAD + 1] = { 0 }, cursor = 0, slot;
	const struct session_record *r;

	while ((r = sessions_next(w->sessions, &cursor, &slot)) != NULL) {
		counted[r->state]++;
		check_shares(w, slot, r->serial);
	}
	for (uint32_t i = SESSION_CONNECTED; i <= SESSION_DEAD; i++)
		assert_int_equal(sessions_count_in(w->sessions, (enum session_state)i), counted[i]);
}

/* Nothing is missing, and both ways to the numbers of a node give the same. */
static void check_sums(struct world *w)
{
	struct audit_node kept[ADDR_MAX_NODES];
	struct audit_input in = input(w);
	struct audit_result *r = audit(w, &in, NULL);
	uint64_t blocks = 0;

	assert_int_equal(audit_nodes(&in, kept), r->nnodes);
	for (size_t i = 0; i < r->nnodes; i++) {
		struct audit_node *counted = &r->nodes[i];

		assert_false(counted->miscounted);
		assert_int_equal(counted->unaccounted_bytes, 0);
		assert_int_equal(counted->registered_bytes, kept[i].registered_bytes);
		assert_int_equal(counted->free_bytes, kept[i].free_bytes);
		assert_int_equal(counted->counted_bytes[CLASS_LIVE], kept[i].live_bytes);
		assert_int_equal(counted->counted_bytes[CLASS_COURTESY], kept[i].courtesy_bytes);
		assert_int_equal(counted->quarantine_bytes, kept[i].quarantine_bytes);
		assert_int_equal(counted->zombie_bytes, kept[i].zombie_bytes);
		assert_int_equal(kept[i].unaccounted_bytes, 0);
		blocks += ledger_node_share(w->ledger, counted->node).blocks;
	}
	audit_result_release(r);
	assert_int_equal(blocks, ledger_count(w->ledger));
}

static const struct allocation *any_block(struct world *w, uint64_t *seed)
{
	uint32_t cursor = (uint32_t)random_below(seed, HELD_MAX);
	const struct allocation *a = ledger_next(w->ledger, &cursor);

	cursor = 0;
	return a ? a : ledger_next(w->ledger, &cursor);
}

static void advance(struct world *w, const struct allocation *a, uint64_t *seed)
{
	switch (a->state) {
	case ALLOCATION_LIVE:
		set_state(w, a, ALLOCATION_REVOKING);
		break;
	case ALLOCATION_REVOKING:
		set_state(w, a, random_below(seed, 4) ? ALLOCATION_QUARANTINE : ALLOCATION_ZOMBIE);
		break;
	case ALLOCATION_ZOMBIE:
		set_state(w, a, ALLOCATION_QUARANTINE);
		break;
	default:
		assert_int_equal(buddy_free(w->buddies[allocation_node(a)], addr_offset(a->addr),
					 allocation_block_bytes(a)),
			0);
		set_state(w, a, ALLOCATION_FREE);
	}
}

/* What the server does not do on purpose, but what damaged files come to: memory of a session that is not in its slot. */
static void add_foreign(struct world *w, uint32_t slot, uint64_t *seed)
{
	const struct allocation *out;
	struct allocation d;
	uint64_t offset;

	memset(&d, 0, sizeof(d));
	if (buddy_alloc(w->buddies[0], 4096, &offset))
		return;
	d.session = slot;
	d.session_serial = 1 + random_below(seed, 40);
	d.addr = addr_make(64, offset);
	d.bytes = 100;
	assert_int_equal(ledger_add(w->ledger, &d, &out), 0);
}

static void add_any(struct world *w, uint32_t slot, uint64_t *seed)
{
	const unsigned node = (unsigned)random_below(seed, NODES);

	if (random_below(seed, 3) == 0)
		add_slab(w, slot, (uint8_t)(1 + random_below(seed, 30)),
			BLOCK_MIN_BYTES * (1 + random_below(seed, 5)), node, 0);
	else
		add_block(w, slot, 0, 1 + random_below(seed, 20000), node, 0);
}

static void step(struct world *w, uint64_t *seed)
{
	static const enum session_state states[] = { SESSION_CONNECTED, SESSION_DETACHED,
		SESSION_CLOSED, SESSION_DEAD };
	const struct allocation *a = any_block(w, seed);
	uint32_t slot = (uint32_t)random_below(seed, SLOTS);
	const struct session_record *r = sessions_get(w->sessions, slot);

	switch (random_below(seed, 8)) {
	case 0:
	case 1:
	case 2:
		if (r && ledger_count(w->ledger) < HELD_MAX)
			add_any(w, slot, seed);
		break;
	case 3:
	case 4:
		if (a)
			advance(w, a, seed);
		break;
	case 5:
		sessions_set_state(
			w->sessions, slot, states[random_below(seed, 4)], HOLDER_NO_EVIDENCE, NOW);
		break;
	case 6:
		if (sessions_count(w->sessions) < SLOTS)
			add_session(w);
		else if (random_below(seed, 4) == 0)
			sessions_remove(w->sessions, slot);
		break;
	default:
		if (random_below(seed, 8) == 0 && ledger_count(w->ledger) < HELD_MAX)
			add_foreign(w, slot, seed);
	}
}

/* Another process finds the same sums: nothing of them is stored. */
static void restart(struct world *w)
{
	ledger_close(w->ledger);
	sessions_close(w->sessions);
	assert_int_equal(ledger_open(&w->ledger, w->dir, "ledger", 4096), 0);
	assert_int_equal(sessions_open(&w->sessions, w->dir, "sessions"), 0);
	check_sessions(w);
	sessions_tell(w->sessions, w->ledger);
}

static void test_any_order(void **state)
{
	const unsigned steps = getenv("RMEM_TEST_VALGRIND") ? STEPS / 10 : STEPS;
	struct world *w = *state;
	uint64_t seed = 8;

	for (unsigned i = 0; i < steps; i++) {
		step(w, &seed);
		check_sums(w);
		if (i % 16 == 0)
			check_sessions(w);
		if (i % 1024 == 1023) {
			restart(w);
			check_sums(w);
			check_sessions(w);
		}
	}
	assert_true(ledger_count(w->ledger) > 50);
}

static void check_same(const struct audit_result *a, const struct audit_result *b)
{
	assert_int_equal(a->nnodes, b->nnodes);
	assert_memory_equal(a->nodes, b->nodes, a->nnodes * sizeof(a->nodes[0]));
	assert_memory_equal(a->totals, b->totals, sizeof(a->totals));
	assert_int_equal(a->allocations_total, b->allocations_total);
	assert_int_equal(a->orphans, b->orphans);
	assert_int_equal(a->sessions_total, b->sessions_total);
	assert_int_equal(a->sessions_not_judged, b->sessions_not_judged);
	assert_int_equal(a->nfindings, b->nfindings);
	for (size_t i = 0; i < a->nfindings; i++) {
		assert_true(a->findings[i].id == b->findings[i].id);
		assert_int_equal(a->findings[i].bytes, b->findings[i].bytes);
		assert_int_equal(a->findings[i].nholders, b->findings[i].nholders);
	}
}

/* An audit is of one moment, whatever happens between the pieces in which it is made; its scan serves the next one. */
static void test_changes_during_an_audit(void **state)
{
	struct world *w = *state;
	struct audit_scan *scan = NULL;
	uint64_t seed = 9;

	for (unsigned i = 0; i < 400; i++) {
		struct audit_input in = input(w);
		struct audit_result *at_once = audit(w, &in, scan), *result;
		struct audit_scan *next;
		struct allocation records[7];
		struct audit *pieces;
		uint32_t slots[7];
		size_t n;

		assert_int_equal(audit_begin(&in, scan, AUDIT_FULL, &pieces), 0);
		assert_int_equal(ledger_begin_snapshot(w->ledger), 0);
		assert_int_equal(ledger_begin_snapshot(w->ledger), -EBUSY);
		do {
			for (uint64_t steps = random_below(&seed, 6); steps > 0; steps--)
				step(w, &seed);
			n = ledger_next_of_snapshot(
				w->ledger, slots, records, 1 + random_below(&seed, 7));
			audit_add(pieces, slots, records, n);
		} while (n > 0);
		assert_int_equal(ledger_end_snapshot(w->ledger), 0);
		assert_int_equal(audit_end(pieces, &next, &result), 0);
		check_same(result, at_once);
		for (size_t node = 0; node < result->nnodes; node++)
			assert_int_equal(result->nodes[node].unaccounted_bytes, 0);
		audit_result_release(at_once);
		audit_result_release(result);
		audit_scan_destroy(scan);
		scan = next;
	}
	audit_scan_destroy(scan);
	assert_true(ledger_count(w->ledger) > 50);
}

static bool is_miscounted(struct world *w, unsigned node)
{
	struct audit_input in = input(w);
	struct audit_result *r = audit_twice(w, &in);
	bool miscounted = r->nodes[node].miscounted;

	assert_int_equal(r->nodes[node].unaccounted_bytes, 0);
	audit_result_release(r);
	return miscounted;
}

/* A change that the sums do not hear of, in each of the places where there are any. */
static void test_a_difference_is_found(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	struct allocation *a = (struct allocation *)add_block(w, session, 0, 5000, 1, 0);

	assert_false(is_miscounted(w, 1));
	plant(w->sessions, session)->state = SESSION_DETACHED;
	assert_true(is_miscounted(w, 1));
	assert_false(is_miscounted(w, 0));
	plant(w->sessions, session)->state = SESSION_CONNECTED;
	assert_false(is_miscounted(w, 1));
	a->state = ALLOCATION_ZOMBIE;
	assert_true(is_miscounted(w, 1));
	a->state = ALLOCATION_LIVE;
	a->bytes--;
	assert_true(is_miscounted(w, 1));
	a->bytes++;
	assert_false(is_miscounted(w, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_any_order),
		IN_WORLD(test_changes_during_an_audit),
		IN_WORLD(test_a_difference_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
