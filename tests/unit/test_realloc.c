/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocations that get another length, and many at once, with a lender in the process (tests/support/lender.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/space/call.h"
#include "common/object_record.h"
#include "tests/support/lender.h"
#include "tests/support/rounds.h"

#define MANY 300
#define STEPS 20000

static uint8_t *memory_of(rmem_addr_t addr)
{
	const struct loan *loan = lender_find(addr);

	assert_non_null(loan);
	return loan->memory + (addr - loan->addr);
}

static uint64_t record_of(struct rmem *rm, rmem_addr_t addr)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);

	assert_non_null(s);
	return slab_record(s, slab_slot_at(s, addr - s->addr));
}

static struct rmem_stat stat_of(struct rmem *rm, rmem_addr_t addr)
{
	struct rmem_stat stat = RMEM_STAT_INIT;

	assert_int_equal(rmem_stat(rm, addr, &stat), 0);
	return stat;
}

static void expect_gone(struct rmem *rm, rmem_addr_t addr)
{
	struct rmem_stat stat = RMEM_STAT_INIT;

	assert_int_equal(rmem_stat(rm, addr, &stat), -EFAULT);
}

/* Objects that the lender has been told of. */
static unsigned count_held(struct rmem *rm)
{
	unsigned held = 0;

	assert_int_equal(lender_flush(rm), 0);
	for (const struct loan *loan = lender.loans; loan; loan = loan->next)
		for (uint32_t i = 0; loan->serial && i < slab_slots(loan->size_class, loan->bytes);
			i++)
			held += object_record_state(lender_record(loan, i)) == OBJECT_LIVE;
	return held;
}

/* Nothing is held any more, and all goes back. */
static void end(struct rmem *rm)
{
	assert_int_equal(count_held(rm), 0);
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender_close(rm);
}

/* ---- another length ---- */

struct model {
	rmem_addr_t addr[MANY];
	uint32_t bytes[MANY], pattern[MANY];
	unsigned seed;
};

static uint32_t chance(struct model *m, uint32_t below)
{
	return (uint32_t)rand_r(&m->seed) % below;
}

static uint32_t any_bytes(struct model *m)
{
	static const uint32_t below[] = { 70, 600, 20000, 60000 };

	return 1 + chance(m, below[chance(m, 4)]);
}

static void fill(struct model *m, unsigned i)
{
	uint8_t *at = memory_of(m->addr[i]);

	m->pattern[i] = (uint32_t)rand_r(&m->seed);
	for (uint32_t k = 0; k < m->bytes[i]; k++)
		at[k] = (uint8_t)(m->pattern[i] + k * 7);
}

static void check_kept(const struct model *m, unsigned i, uint32_t bytes)
{
	const uint8_t *at = memory_of(m->addr[i]);

	for (uint32_t k = 0; k < bytes; k++)
		assert_int_equal(at[k], (uint8_t)(m->pattern[i] + k * 7));
}

/* What there was is there, nothing else has changed, and the old place is free if there is a new one. */
static void realloc_one(struct rmem *rm, struct model *m)
{
	const unsigned i = chance(m, MANY);
	const uint32_t bytes = any_bytes(m), before = m->bytes[i];
	const rmem_addr_t old = m->addr[i];

	assert_int_equal(rmem_realloc(rm, old, bytes, NULL, &m->addr[i]), 0);
	check_kept(m, i, bytes < before ? bytes : before);
	m->bytes[i] = bytes;
	if (m->addr[i] != old && old)
		expect_gone(rm, old);
	assert_int_equal(stat_of(rm, m->addr[i]).base, m->addr[i]);
	if (bytes <= OBJECT_BYTES_MAX)
		assert_int_equal(stat_of(rm, m->addr[i]).bytes, bytes);
	else
		assert_true(stat_of(rm, m->addr[i]).bytes - bytes < 4096);
	fill(m, i);
}

static void against_the_reference(void **state)
{
	static struct model m;
	struct rmem *rm = lender_open(false, true);

	(void)state;
	memset(&m, 0, sizeof(m));
	m.seed = 11;
	for (unsigned i = 0; i < rounds(STEPS); i++)
		realloc_one(rm, &m);
	for (unsigned i = 0; i < MANY; i++) {
		check_kept(&m, i, m.bytes[i]);
		assert_int_equal(rmem_free(rm, m.addr[i]), 0);
	}
	end(rm);
}

/* The record says the new length, here and where it was sent, and else what it said. */
static void in_place(void **state)
{
	struct rmem *rm = lender_open(false, true);
	const struct loan *loan;
	struct object_record before, after;
	rmem_addr_t addr, at;
	uint64_t requests;

	(void)state;
	assert_int_equal(rmem_alloc(rm, 48, NULL, &addr), 0);
	before = object_record_unpack(record_of(rm, addr));
	assert_int_equal(lender_flush(rm), 0);
	requests = lender.requests;
	assert_int_equal(rmem_realloc(rm, addr, 41, NULL, &at), 0);
	assert_int_equal(at, addr);
	assert_int_equal(lender.requests, requests);
	after = object_record_unpack(record_of(rm, addr));
	assert_int_equal(after.slack, 7);
	after.slack = before.slack;
	assert_memory_equal(&after, &before, sizeof(before));
	assert_false(depot_is_sent(&rm->session.depot));
	assert_int_equal(lender_flush(rm), 0);
	loan = lender_find(addr);
	assert_int_equal(
		lender_record(loan, (uint32_t)((addr - loan->addr) / 48)), record_of(rm, addr));
	assert_int_equal(rmem_free(rm, addr), 0);
	end(rm);
}

static void what_is_added_is_zero(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, at;

	(void)state;
	attr.flags = RMEM_ALLOC_ZERO;
	assert_int_equal(rmem_alloc(rm, 48, NULL, &addr), 0);
	memset(memory_of(addr), 0xee, 48);
	assert_int_equal(rmem_realloc(rm, addr, 42, NULL, &at), 0);
	lender.fail_write_in = 1;
	assert_int_equal(rmem_realloc(rm, addr, 48, &attr, &at), -ECONNRESET);
	assert_int_equal(stat_of(rm, addr).bytes, 42);
	assert_int_equal(rmem_realloc(rm, addr, 48, &attr, &at), 0);
	assert_int_equal(at, addr);
	for (unsigned i = 0; i < 48; i++)
		assert_int_equal(memory_of(addr)[i], i < 42 ? 0xee : 0);
	/* Elsewhere, in a slot that was used. */
	assert_int_equal(rmem_alloc(rm, 100, NULL, &at), 0);
	memset(memory_of(at), 0xdd, 100);
	assert_int_equal(rmem_free(rm, at), 0);
	assert_int_equal(rmem_realloc(rm, addr, 100, &attr, &at), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(memory_of(at)[i], i < 42 ? 0xee : 0);
	assert_int_equal(rmem_free(rm, at), 0);
	end(rm);
}

/* Blocks keep their length, and those that would take fewer pages, or other ones, move. */
static void blocks_stay_or_move(void **state)
{
	struct rmem_alloc_attr isolated = RMEM_ALLOC_ATTR_INIT, aligned = RMEM_ALLOC_ATTR_INIT;
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, at;

	(void)state;
	isolated.flags = RMEM_ALLOC_ISOLATED;
	aligned.align_bytes = 4096;
	assert_int_equal(rmem_alloc(rm, 20000, NULL, &addr), 0);
	assert_int_equal(rmem_realloc(rm, addr, 16500, NULL, &at), 0);
	assert_int_equal(at, addr);
	assert_int_equal(stat_of(rm, at).bytes, 20000);
	assert_int_equal(rmem_realloc(rm, addr, 16500, &isolated, &at), 0);
	assert_int_not_equal(at, addr);
	assert_int_equal(stat_of(rm, at).bytes, 16500);
	expect_gone(rm, addr);
	assert_int_equal(rmem_realloc(rm, at, 16500, &isolated, &addr), 0);
	assert_int_equal(addr, at);
	assert_int_equal(rmem_realloc(rm, at, 16501, NULL, &addr), 0);
	assert_int_not_equal(addr, at);
	assert_int_equal(rmem_realloc(rm, addr, 100, NULL, &at), 0);
	assert_non_null(blocks_slab(&rm->session.blocks, at));
	assert_int_equal(rmem_realloc(rm, at, 100, &aligned, &addr), 0);
	assert_int_equal(addr % 4096, 0);
	expect_gone(rm, at);
	assert_int_equal(rmem_free(rm, addr), 0);
	end(rm);
}

/* Whichever step fails, the allocation is where it was, and nothing else is left. */
static void failures_change_nothing(size_t from, size_t to, unsigned requests)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, at = 1, scratch[2];
	unsigned held = 0;
	uint64_t lent = 0;

	assert_int_equal(rmem_alloc(rm, from, NULL, &addr), 0);
	assert_int_equal(rmem_alloc(rm, from, NULL, &scratch[0]), 0);
	memset(memory_of(addr), 0x5a, from);
	/* The first succeeds, so that the call site has its number, and slabs are there. */
	for (unsigned step = 0; step <= requests; step++) {
		lender.fail_in = step;
		lender.fail_with = -ECONNRESET;
		assert_int_equal(rmem_realloc(rm, step ? addr : scratch[0], to, NULL,
					 step ? &at : &scratch[1]),
			step ? -ECONNRESET : 0);
		assert_int_equal(lender.fail_in, 0);
		assert_int_equal(at, 1);
		if (step == 0) {
			held = count_held(rm);
			lent = lender.lent_bytes;
		}
		assert_int_equal(lender.lent_bytes, lent);
		assert_int_equal(count_held(rm), held);
		assert_int_equal(stat_of(rm, addr).bytes, from);
		for (size_t i = 0; i < from; i++)
			assert_int_equal(memory_of(addr)[i], 0x5a);
	}
	assert_int_equal(rmem_realloc(rm, addr, to, NULL, &at), 0);
	expect_gone(rm, addr);
	assert_int_equal(rmem_free(rm, at), 0);
	assert_int_equal(rmem_free(rm, scratch[1]), 0);
	end(rm);
}

static void failures(void **state)
{
	(void)state;
	failures_change_nothing(100, 200, 1);     /* COPY */
	failures_change_nothing(100, 20000, 2);   /* ALLOC, COPY */
	failures_change_nothing(20000, 100, 1);   /* COPY */
	failures_change_nothing(20000, 40000, 2); /* ALLOC, COPY */
}

/* The old one is being freed, and the answer does not come: the new one is the allocation. */
static void the_last_answer_is_lost(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, at;

	(void)state;
	assert_int_equal(rmem_alloc(rm, 20000, NULL, &addr), 0);
	memset(memory_of(addr), 0x5a, 20000);
	lender.fail_in = 2;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(rmem_realloc(rm, addr, 100, NULL, &at), -ETIMEDOUT); /* the copy */
	assert_int_equal(stat_of(rm, addr).bytes, 20000);
	lender.fail_in = 2;
	assert_int_equal(rmem_realloc(rm, addr, 100, NULL, &at), 0);
	assert_int_equal(lender.fail_in, 0);
	expect_gone(rm, addr);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(memory_of(at)[i], 0x5a);
	assert_int_equal(rmem_free(rm, addr), 0); /* which the program need not */
	assert_int_equal(rmem_free(rm, at), 0);
	end(rm);
}

static void set_shared(struct rmem *rm, rmem_addr_t addr, bool shared)
{
	struct slab *slab = blocks_slab(&rm->session.blocks, addr);

	if (slab)
		assert_true(slab_set_shared(
			slab, rm->session.heap, slab_slot_at(slab, addr - slab->addr), shared));
	else
		blocks_find(&rm->session.blocks, addr)->shared = shared;
}

static void what_is_refused(void **state)
{
	static const size_t lengths[] = { 100, 20000 };
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, at = 1;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const size_t bytes = lengths[i];

		assert_int_equal(rmem_realloc(rm, 0, bytes, NULL, &addr), 0);
		assert_int_equal(rmem_realloc(rm, addr + 8, bytes, NULL, &at), -EINVAL);
		assert_int_equal(rmem_realloc(rm, addr, 0, NULL, &at), -EINVAL);
		assert_int_equal(rmem_realloc(rm, addr, bytes, NULL, NULL), -EINVAL);
		assert_int_equal(rmem_realloc(NULL, addr, bytes, NULL, &at), -EINVAL);
		set_shared(rm, addr, true);
		assert_int_equal(rmem_realloc(rm, addr, bytes - 1, NULL, &at), -EBUSY);
		assert_int_equal(rmem_realloc(rm, addr, bytes * 2, NULL, &at), -EBUSY);
		set_shared(rm, addr, false);
		assert_int_equal(at, 1);
		assert_int_equal(rmem_free(rm, addr), 0);
		assert_int_equal(rmem_realloc(rm, addr, bytes, NULL, &at), -EINVAL);
		assert_int_equal(rmem_alloc(rm, bytes, NULL, &addr), 0);
		lender_lose_all(rm);
		assert_int_equal(rmem_realloc(rm, addr, bytes, NULL, &at), -ESTALE);
		assert_int_equal(rmem_free(rm, addr), -ESTALE);
	}
	end(rm);
}

/* ---- many at once ---- */

static void many_small(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t out[MANY], again;

	(void)state;
	assert_int_equal(rmem_alloc_many(rm, 64, MANY, NULL, out), 0);
	assert_int_equal(count_held(rm), MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(stat_of(rm, out[i]).bytes, 64);
	again = out[7];
	assert_int_equal(rmem_free_many(rm, out, MANY), 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(out[i], 0);
	assert_int_equal(rmem_free(rm, again), -EINVAL);
	assert_int_equal(rmem_free_many(rm, out, MANY), 0);
	/* The second slab cannot be had: none of the first stays. */
	lender.fail_in = 2;
	lender.fail_more = 1; /* a shorter one, if there is any */
	lender.fail_with = -ENOSPC;
	assert_int_equal(rmem_alloc_many(rm, 9000, MANY, NULL, out), -ENOSPC);
	lender.fail_in = lender.fail_more = 0;
	assert_int_equal(count_held(rm), 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(out[i], 0);
	end(rm);
}

static void many_blocks(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t out[4];

	(void)state;
	assert_int_equal(rmem_alloc_many(rm, 20000, 4, NULL, out), 0);
	assert_int_equal(rmem_free_many(rm, out, 4), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender.fail_in = 4; /* after the number of the call site, and two */
	lender.fail_with = -ENOSPC;
	assert_int_equal(rmem_alloc_many(rm, 20000, 4, NULL, out), -ENOSPC);
	assert_int_equal(lender.lent_bytes, 0);
	/* The server does not answer any more: what is left has its address. */
	lender.fail_in = 4;
	lender.fail_more = 2;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(rmem_alloc_many(rm, 20000, 4, NULL, out), -ETIMEDOUT);
	assert_int_equal(lender.fail_in, 0);
	assert_true(out[0] && out[1] && !out[2] && !out[3]);
	assert_int_equal(rmem_free_many(rm, out, 4), 0);
	assert_int_equal(lender.lent_bytes, 0);
	end(rm);
}

/* One that cannot be freed does not keep the others. */
static void some_cannot_be_freed(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addrs[6] = { 0 };
	rmem_addr_t wrong;

	(void)state;
	assert_int_equal(rmem_alloc(rm, 20000, NULL, &addrs[0]), 0);
	assert_int_equal(rmem_alloc_many(rm, 64, 2, NULL, &addrs[1]), 0);
	wrong = addrs[3] = addrs[1] + 8;
	assert_int_equal(rmem_alloc(rm, 64, NULL, &addrs[5]), 0);
	lender.fail_in = 1;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(rmem_free_many(rm, addrs, 6), -ETIMEDOUT);
	assert_true(addrs[0] && !addrs[1] && !addrs[2] && !addrs[4] && !addrs[5]);
	assert_int_equal(addrs[3], wrong);
	assert_int_equal(rmem_free_many(rm, addrs, 6), -EINVAL);
	assert_int_equal(addrs[0], 0);
	assert_int_equal(rmem_free_many(rm, NULL, 1), -EINVAL);
	assert_int_equal(rmem_free_many(rm, NULL, 0), 0);
	assert_int_equal(rmem_alloc_many(rm, 64, 1, NULL, NULL), -EINVAL);
	assert_int_equal(rmem_alloc_many(rm, 0, 1, NULL, addrs), -EINVAL);
	assert_int_equal(rmem_alloc_many(rm, 64, 0, NULL, NULL), 0);
	end(rm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_the_reference),
		cmocka_unit_test(in_place),
		cmocka_unit_test(what_is_added_is_zero),
		cmocka_unit_test(blocks_stay_or_move),
		cmocka_unit_test(failures),
		cmocka_unit_test(the_last_answer_is_lost),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(many_small),
		cmocka_unit_test(many_blocks),
		cmocka_unit_test(some_cannot_be_freed),
	};

	return cmocka_run_group_tests_name("realloc", tests, NULL, NULL);
}
