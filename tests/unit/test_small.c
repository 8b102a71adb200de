/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slabs, magazines and the journal against a simple reference: random allocations, frees, flushes and failures, and
 * after them what must hold, on this side and on the lender's, also if the process were killed there.
 *
 * RMEM_TEST_STEPS and RMEM_SEED choose how many and which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "client/space/call.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/support/lender.h"

#define LIVE_MAX 4000
#define STEPS 200000
#define STEPS_VALGRIND 8000
#define PENDING_MAX 512

#define RECENT_MAX 8192

struct object {
	rmem_addr_t addr;
	uint32_t bytes;
	bool journaled; /* all records were sent since it was allocated */
	bool written;   /* data was */
};

/* The reference: which objects there are, and which were freed while an operation was on its way. */
struct model {
	struct object live[LIVE_MAX];
	unsigned n;
	struct object pending[PENDING_MAX]; /* may not be handed out yet */
	uint64_t pending_until[PENDING_MAX];
	unsigned npending;
	rmem_addr_t recent[RECENT_MAX]; /* held at some time since all records were sent */
	unsigned nrecent;
	uint64_t journaled; /* lender.journaled then */
	bool exact;
	bool stuck; /* the last flush has failed: if the journal is exact, first data waits for the next */
	struct grace_member channel; /* that operations are on their way on */
	unsigned seed;
};

static unsigned chance(struct model *m, unsigned below)
{
	return (unsigned)rand_r(&m->seed) % below;
}

/* Mostly small, sometimes anything that a slab may hold. */
static uint32_t any_bytes(struct model *m)
{
	switch (chance(m, 4)) {
	case 0:
		return 1 + chance(m, 64);
	case 1:
		return 1 + chance(m, 600);
	case 2:
		return 64;
	default:
		return 1 + chance(m, chance(m, 8) ? 3000 : OBJECT_BYTES_MAX);
	}
}

static bool overlap(const struct object *a, const struct object *b)
{
	return a->addr < b->addr + b->bytes && b->addr < a->addr + a->bytes;
}

/* It is a slot of a slab that is lent, aligned, and nobody else's. */
static void check_new(const struct model *m, const struct object *o, uint64_t align)
{
	const struct loan *loan = lender_find(o->addr);
	uint64_t slot_bytes, offset;

	assert_non_null(loan);
	slot_bytes = size_class_bytes(loan->size_class);
	offset = o->addr - loan->addr;
	assert_int_equal(offset % slot_bytes, 0);
	assert_true(offset / slot_bytes < slab_slots(loan->size_class, loan->bytes));
	assert_true(o->bytes <= slot_bytes);
	assert_int_equal(o->addr % align, 0);
	for (unsigned i = 0; i < m->n; i++)
		assert_false(overlap(&m->live[i], o));
	for (unsigned i = 0; i < m->npending; i++)
		assert_false(m->channel.ended < m->pending_until[i] && overlap(&m->pending[i], o));
}

static void alloc_one(struct rmem *rm, struct model *m)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct object *o = &m->live[m->n];
	uint64_t natural;

	if (m->n == LIVE_MAX || m->nrecent == RECENT_MAX)
		return;
	o->bytes = any_bytes(m);
	attr.align_bytes = chance(m, 10) ? 0 : 1ULL << chance(m, 13);
	if (size_class_of(o->bytes, attr.align_bytes) == 0)
		return;
	assert_int_equal(rmem_alloc(rm, o->bytes, attr.align_bytes ? &attr : NULL, &o->addr), 0);
	natural = o->bytes & -o->bytes;
	if (natural > OBJECT_ALIGN_MAX)
		natural = OBJECT_ALIGN_MAX;
	check_new(m, o, attr.align_bytes ? attr.align_bytes : natural);
	o->journaled = o->written = false;
	m->recent[m->nrecent++] = o->addr;
	m->n++;
}

/* Frees while an operation is on its way hold their slots until it has ended. */
static void free_one(struct rmem *rm, struct model *m)
{
	const unsigned i = m->n ? chance(m, m->n) : 0;

	if (!m->n)
		return;
	if (m->live[i].bytes > 1)
		assert_int_equal(rmem_free(rm, m->live[i].addr + 1), -EINVAL);
	assert_int_equal(rmem_free(rm, m->live[i].addr), 0);
	if (m->channel.ended < m->channel.begun) {
		const unsigned at =
			m->npending < PENDING_MAX ? m->npending++ : chance(m, PENDING_MAX);

		m->pending[at] = m->live[i];
		m->pending_until[at] = m->channel.begun;
	}
	assert_int_equal(rmem_free(rm, m->live[i].addr), -EINVAL);
	m->live[i] = m->live[--m->n];
}

static const struct object *find(const struct model *m, uint64_t addr)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->live[i].addr == addr)
			return &m->live[i];
	return NULL;
}

/* What has arrived names exactly the objects that there are. */
static void check_records(const struct model *m)
{
	unsigned held = 0;

	for (const struct loan *loan = lender.loans; loan; loan = loan->next) {
		const uint32_t slots = slab_slots(loan->size_class, loan->bytes);

		for (uint32_t i = 0; loan->serial && i < slots; i++) {
			const uint64_t record = lender_record(loan, i);
			const uint32_t slot_bytes = size_class_bytes(loan->size_class);
			const struct object *o = find(m, loan->addr + (uint64_t)i * slot_bytes);

			assert_true(object_record_fits(record, slot_bytes));
			assert_int_equal(object_record_state(record) == OBJECT_LIVE, o != NULL);
			if (!o)
				continue;
			held++;
			assert_int_equal(slot_bytes - object_record_unpack(record).slack, o->bytes);
			assert_in_range(object_record_unpack(record).site, 1, OBJECT_SITE_MAX);
		}
	}
	assert_int_equal(held, m->n);
}

/* A flush has succeeded: has it said that all records are on the server? Not while a slab cannot be given back. */
static void note_journaled(struct model *m)
{
	if (lender.journaled == m->journaled)
		return;
	m->journaled = lender.journaled;
	m->nrecent = 0;
	for (unsigned i = 0; i < m->n; i++) {
		m->live[i].journaled = true;
		m->recent[m->nrecent++] = m->live[i].addr;
	}
}

static bool is_recent(const struct model *m, rmem_addr_t addr)
{
	for (unsigned i = 0; i < m->nrecent; i++)
		if (m->recent[i] == addr)
			return true;
	return false;
}

/*
 * If the process were killed now: what the journal promises is there, to the byte, and nothing is said to be held that
 * was freed before all records were sent.
 */
static void check_killed(const struct model *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct object *o = &m->live[i];
		const struct loan *loan = lender_find(o->addr);
		const uint32_t slot_bytes = size_class_bytes(loan->size_class);
		const uint64_t record =
			lender_record(loan, (uint32_t)((o->addr - loan->addr) / slot_bytes));

		if (!o->journaled && !(m->exact && o->written))
			continue;
		assert_int_equal(object_record_state(record), OBJECT_LIVE);
		assert_int_equal(slot_bytes - object_record_unpack(record).slack, o->bytes);
	}
	for (const struct loan *loan = lender.loans; loan; loan = loan->next) {
		const uint32_t slot_bytes = size_class_bytes(loan->size_class);

		for (uint32_t i = 0; loan->serial && i < slab_slots(loan->size_class, loan->bytes);
			i++)
			if (object_record_state(lender_record(loan, i)) == OBJECT_LIVE)
				assert_true(is_recent(m, loan->addr + (uint64_t)i * slot_bytes));
	}
}

static void write_one(struct rmem *rm, struct model *m)
{
	static const uint8_t data[OBJECT_BYTES_MAX];
	struct object *o = m->n ? &m->live[chance(m, m->n)] : NULL;

	if (!o || (m->exact && m->stuck))
		return;
	assert_int_equal(rmem_write(rm, o->addr, data, 1 + chance(m, o->bytes)), 0);
	o->written = true;
}

/* With empty magazines each slot of a slab is free, or an object's. */
static void check_slots(const struct rmem *rm, const struct model *m)
{
	uint64_t slots = 0, nfree = 0;

	for (const struct loan *loan = lender.loans; loan; loan = loan->next) {
		const struct slab *s =
			loan->serial ? blocks_slab(&rm->session.blocks, loan->addr) : NULL;

		if (!s || slab_is_lost(s)) /* the latter is being given back */
			continue;
		slots += s->slots;
		nfree += s->nfree;
	}
	assert_int_equal(slots, nfree + m->n);
}

static void check_sums(const struct rmem *rm)
{
	uint64_t lent = 0;

	for (const struct loan *loan = lender.loans; loan; loan = loan->next)
		if (loan->serial)
			lent += (uint64_t)slab_slots(loan->size_class, loan->bytes) *
				(size_class_bytes(loan->size_class) + OBJECT_RECORD_BYTES);
	assert_int_equal(lent, rm->session.depot.bytes);
	assert_true(rm->session.depot.empty_bytes <= rm->session.depot.bytes);
}

static void operate(struct model *m)
{
	if (m->channel.ended < m->channel.begun && chance(m, 3))
		grace_add(&m->channel.ended, 1);
	else if (m->channel.begun - m->channel.ended < 20)
		grace_add(&m->channel.begun, 1);
}

static void step(struct rmem *rm, struct model *m, unsigned wanted)
{
	switch (chance(m, 1000)) {
	case 0:
		assert_int_equal(lender_flush(rm), 0);
		m->stuck = false;
		note_journaled(m);
		if (depot_is_sent(&rm->session.depot))
			check_records(m);
		break;
	case 1: /* some lines arrive, the others later */
		lender.fail_write_in = 1 + chance(m, 40);
		m->stuck = lender_flush(rm) != 0;
		if (m->stuck)
			assert_false(depot_is_sent(&rm->session.depot));
		else
			note_journaled(m);
		lender.fail_write_in = 0;
		break;
	case 2:
		assert_int_equal(lender_give_back(rm, chance(m, 2)), 0);
		check_sums(rm);
		break;
	case 3: /* a slab that cannot be given back is given back later */
		lender.fail_in = 1 + chance(m, 3);
		lender.fail_with = -ETIMEDOUT;
		(void)lender_give_back(rm, true);
		lender.fail_in = 0;
		break;
	case 4:
		thread_channels_drain(&rm->channels);
		check_slots(rm, m);
		break;
	case 5:
		check_killed(m);
		break;
	default:
		if (chance(m, 5) == 0)
			operate(m);
		else if (chance(m, 10) == 0)
			write_one(rm, m);
		else if (chance(m, 2 * wanted) < m->n)
			free_one(rm, m);
		else
			alloc_one(rm, m);
	}
}

static void free_all(struct rmem *rm, struct model *m)
{
	while (m->n)
		free_one(rm, m);
	m->channel.ended = m->channel.begun;
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	assert_int_equal(rm->session.depot.bytes, 0);
}

static unsigned long number(const char *variable, unsigned long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void against_the_reference(bool exact)
{
	const unsigned long steps =
		getenv("RMEM_TEST_VALGRIND") ? STEPS_VALGRIND : number("RMEM_TEST_STEPS", STEPS);
	static struct model m;
	struct rmem *rm = lender_open(exact, false);

	assert_non_null(rm);
	memset(&m, 0, sizeof(m));
	m.exact = exact;
	m.seed = (unsigned)number("RMEM_SEED", 7);
	grace_join(&rm->session.grace, &m.channel);
	for (unsigned long i = 0; i < steps; i++)
		step(rm, &m, i / (STEPS / 10) % 2 ? 100 : 1500);
	assert_int_equal(lender_give_back(rm, false), 0);
	assert_int_equal(lender_flush(rm), 0);
	check_records(&m);
	assert_true(depot_is_sent(&rm->session.depot));
	assert_int_equal(lender.unannounced, 0);
	free_all(rm, &m);
	grace_leave(&rm->session.grace, &m.channel, true);
	lender_close(rm);
}

static void lazy_against_the_reference(void **state)
{
	(void)state;
	against_the_reference(false);
}

static void exact_against_the_reference(void **state)
{
	(void)state;
	against_the_reference(true);
}

/* More lines than are sent at once, and the first of them fail: none is forgotten, whatever slab it is in. */
static void a_batch_that_fails(void **state)
{
	struct rmem *rm = lender_open(false, true);
	static rmem_addr_t addrs[12000];
	unsigned n = 0, slabs = 0;

	(void)state;
	for (; n < 12000; n++)
		assert_int_equal(rmem_alloc(rm, 16, NULL, &addrs[n]), 0);
	for (const struct loan *loan = lender.loans; loan; loan = loan->next)
		slabs++;
	assert_true(slabs > 3);
	lender.fail_write_in = 1;
	assert_int_equal(lender_flush(rm), -ECONNRESET);
	assert_false(depot_is_sent(&rm->session.depot));
	assert_int_equal(lender_flush(rm), 0);
	assert_true(depot_is_sent(&rm->session.depot));
	while (n-- > 0) {
		const struct loan *loan = lender_find(addrs[n]);
		const uint64_t record =
			lender_record(loan, (uint32_t)((addrs[n] - loan->addr) / 16));

		assert_int_equal(object_record_state(record), OBJECT_LIVE);
	}
	lender_close(rm);
}

/* Where no grace period ends, nothing that was freed comes back; when it ends, all of it does. */
static void slots_wait_for_operations(void **state)
{
	struct grace_member channel = { 0 };
	struct rmem *rm = lender_open(false, true);
	uint64_t lent;
	rmem_addr_t addr;

	(void)state;
	grace_join(&rm->session.grace, &channel);
	grace_add(&channel.begun, 1);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(rmem_alloc(rm, 1000, NULL, &addr), 0);
		assert_int_equal(rmem_free(rm, addr), 0);
	}
	lent = lender.lent_bytes;
	assert_true(lent >= 1000 * 1000);
	grace_add(&channel.ended, 1);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(rmem_alloc(rm, 1000, NULL, &addr), 0);
		assert_int_equal(rmem_free(rm, addr), 0);
	}
	assert_int_equal(lender.lent_bytes, lent);
	grace_leave(&rm->session.grace, &channel, true);
	lender_close(rm);
}

/* The session is replaced: what it had is given up one by one, and then its addresses are free. */
static void lost_objects_are_given_up(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t lost[300], addr;
	struct range ranges[AVOID_MAX];

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(rmem_alloc(rm, 40, NULL, &lost[i]), 0);
	for (unsigned i = 200; i < 300; i++)
		assert_int_equal(rmem_free(rm, lost[i]), 0);
	lender_lose_all(rm);
	assert_true(blocks_reserved(&rm->session.blocks, ranges) > 0);
	assert_int_equal(rm->session.depot.bytes, 0);
	/* Magazines of before hold slots that are lost: they are not handed out. */
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(rmem_alloc(rm, 40, NULL, &addr), 0);
		assert_non_null(lender_find(addr));
	}
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(rmem_free(rm, lost[i]), -ESTALE);
		assert_int_equal(rmem_free(rm, lost[i]), -EINVAL);
	}
	assert_int_equal(blocks_reserved(&rm->session.blocks, ranges), 0);
	assert_int_equal(rmem_free(rm, lost[250]), -EINVAL);
	lender_close(rm);
}

static uint64_t slabs_made;

struct slab *__real_slab_create(struct heap *heap, unsigned size_class, uint64_t bytes, bool exact);
struct slab *__wrap_slab_create(struct heap *heap, unsigned size_class, uint64_t bytes, bool exact);

struct slab *__wrap_slab_create(struct heap *heap, unsigned size_class, uint64_t bytes, bool exact)
{
	slabs_made++;
	return __real_slab_create(heap, size_class, bytes, exact);
}

#define LOST_OBJECTS 3000

/* A session with objects is lost, and the program gives them up: some before, some after. */
static void lose_a_session(struct rmem *rm)
{
	static rmem_addr_t addrs[LOST_OBJECTS];

	for (unsigned i = 0; i < LOST_OBJECTS; i++)
		assert_int_equal(rmem_alloc(rm, 16 + i % 3 * 300, NULL, &addrs[i]), 0);
	for (unsigned i = 0; i < LOST_OBJECTS; i += 3)
		assert_int_equal(rmem_free(rm, addrs[i]), 0);
	assert_int_equal(lender_flush(rm), 0);
	lender_lose_all(rm);
	for (unsigned i = 0; i < LOST_OBJECTS; i++)
		if (i % 3)
			assert_int_equal(rmem_free(rm, addrs[i]), -ESTALE);
}

/* So often; returns how many slabs memory was taken for that was not there before. */
static uint64_t lose_sessions(struct rmem *rm, unsigned times)
{
	const uint64_t before = slabs_made;

	while (times--) {
		lose_a_session(rm);
		assert_int_equal(lender_give_back(rm, false), 0);
	}
	return slabs_made - before;
}

/* What librmem keeps of the slabs of a session that was lost is for those of the next. */
static void memory_of_lost_slabs_comes_back(void **state)
{
	struct grace_member channel = { 0 };
	struct rmem *rm = lender_open(true, true);
	uint64_t before;

	(void)state;
	grace_join(&rm->session.grace, &channel);
	before = lose_sessions(rm, 3);
	assert_true(before > 30);
	assert_true(lose_sessions(rm, 20) <= 6);
	/* Not while an operation is on its way that may look at them. */
	grace_add(&channel.begun, 1);
	assert_true(lose_sessions(rm, 6) > before);
	grace_add(&channel.ended, 1);
	assert_int_equal(lender_give_back(rm, false), 0);
	assert_true(lose_sessions(rm, 20) <= 6);
	grace_leave(&rm->session.grace, &channel, true);
	lender_close(rm);
}

static __attribute__((noinline)) uint32_t site_of_another(struct rmem *rm)
{
	const struct loan *loan;
	rmem_addr_t addr;

	assert_int_equal(rmem_alloc(rm, 40, NULL, &addr), 0);
	loan = lender_find(addr);
	assert_non_null(loan);
	assert_int_equal(lender_flush(rm), 0);
	return object_record_unpack(lender_record(loan, (uint32_t)((addr - loan->addr) / 40))).site;
}

/* Numbers of call sites are the session's: the next one is told of each again. */
static void sites_are_numbered_anew(void **state)
{
	struct rmem *rm = lender_open(false, false);
	uint32_t sites[2] = { 0, 0 };

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++) {
			const uint32_t site = site_of_another(rm);

			assert_int_not_equal(site, 0);
			assert_true(i == 0 || site == sites[round]);
			sites[round] = site;
		}
		/* Noticed by a call of another thread: this one has slots and sites at hand. */
		lender_lose_all(rm);
	}
	assert_int_not_equal(sites[0], sites[1]);
	lender_close(rm);
}

/* The server tells a thread that asks for a slab: the site that it has in hand is of the session before. */
static void a_session_lost_while_a_slab_is_asked_for(void **state)
{
	struct rmem *rm = lender_open(false, false);
	uint32_t sites[3] = { 0, 0, 0 };
	bool lost = false;

	(void)state;
	for (unsigned i = 0; !sites[2]; i++) {
		const uint32_t site = site_of_another(rm);

		if (i == 0)
			lender.lose_in = 1; /* when a slab is needed */
		sites[lost ? 2 : lender.lose_in == 0] = site;
		lost = lender.lose_in == 0;
	}
	assert_int_not_equal(sites[0], sites[1]);
	assert_int_equal(sites[1], sites[2]);
	lender_close(rm);
}

/* A slab that could not be given back is lost with the session; what is lent at its address by then stays lent. */
static void a_lost_slab_is_not_given_back_twice(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, block;

	(void)state;
	assert_int_equal(rmem_alloc(rm, 64, NULL, &addr), 0);
	assert_int_equal(rmem_free(rm, addr), 0);
	thread_channels_drain(&rm->channels);
	lender.fail_in = 1;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(lender_give_back(rm, true), -ETIMEDOUT);
	lender_lose_all(rm);
	lender_lend_next(addr);
	assert_int_equal(rmem_alloc(rm, 20000, NULL, &block), 0);
	assert_int_equal(block, addr);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_non_null(lender_find(block));
	assert_int_equal(rmem_free(rm, block), 0);
	lender_close(rm);
}

static void memory_of_before_is_zeroed_on_request(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr, again;
	const struct loan *loan;

	(void)state;
	attr.flags = RMEM_ALLOC_ZERO;
	assert_int_equal(rmem_alloc(rm, 5000, &attr, &addr), 0);
	assert_int_equal(lender.writes, 0); /* it is zero already */
	loan = lender_find(addr);
	memset(loan->memory + (addr - loan->addr), 0xee, 5000);
	assert_int_equal(rmem_free(rm, addr), 0);
	/* The write fails: so does the allocation, and the slot is not lost. */
	lender.fail_write_in = 1;
	assert_int_equal(rmem_alloc(rm, 5000, &attr, &again), -ECONNRESET);
	assert_int_equal(rmem_alloc(rm, 5000, &attr, &again), 0);
	assert_int_equal(again, addr);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(loan->memory[addr - loan->addr + i], 0);
	lender_close(rm);
}

/* Without room for the usual slab, a short one does; without room for that, nothing is left behind. */
static void a_full_server(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(rmem_alloc(rm, 512, NULL, &addr), 0);
	for (int tries = 1; tries <= 2; tries++) {
		int rc = 0;

		for (unsigned i = 0; rc == 0 && i < 3000; i++) {
			lender.fail_in = 1;
			lender.fail_with = tries == 1 ? -ENOSPC : -ETIMEDOUT;
			rc = rmem_alloc(rm, 512, NULL, &addr);
			if (lender.fail_in == 0)
				break;
		}
		assert_int_equal(rc, tries == 1 ? 0 : -ETIMEDOUT);
	}
	lender.fail_in = 0;
	assert_int_equal(rmem_alloc(rm, 512, NULL, &addr), 0);
	assert_int_equal(rmem_alloc(rm, 512, NULL, NULL), -EINVAL);
	assert_int_equal(rmem_alloc(rm, 0, NULL, &addr), -EINVAL);
	check_sums(rm);
	lender_close(rm);
}

/* What may be read and written is what was asked for, of a live object. */
static void an_access_ends_with_its_object(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t addr;
	uint32_t slot = 0;

	(void)state;
	for (uint32_t bytes = 1; bytes < 1000; bytes += 7) {
		const struct slab *slab;

		assert_int_equal(rmem_alloc(rm, bytes, NULL, &addr), 0);
		slab = blocks_slab(&rm->session.blocks, addr);
		assert_non_null(slab);
		assert_true(slab_holds(slab, addr, bytes, &slot));
		assert_int_equal(slab_slot_addr(slab, slot), addr);
		assert_true(slab_holds(slab, addr + bytes - 1, 1, &slot));
		assert_false(slab_holds(slab, addr, bytes + 1, &slot));
		assert_false(slab_holds(slab, addr + bytes, 1, &slot));
		assert_false(slab_holds(slab, addr, UINT64_MAX, &slot));
		assert_int_equal(rmem_free(rm, addr), 0);
		assert_false(slab_holds(slab, addr, 1, &slot));
	}
	lender_close(rm);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 20000
#define ROUNDS_VALGRIND 500
#define RING 256

/* Objects go from each thread to the next, which frees them. No address may have two holders. */
struct party {
	struct rmem *rm;
	_Atomic uint64_t ring[RING];
	struct party *next;
	unsigned seed;
	unsigned wrong;
	_Atomic bool over;
	_Atomic unsigned rounds;
};

static _Atomic uint8_t held[1 << 22]; /* by address / 16, from the first one */
static uint64_t first_addr;

static _Atomic uint8_t *holder_of(rmem_addr_t addr)
{
	return &held[(addr - first_addr) / 16 % sizeof(held)];
}

static void *exchange(void *arg)
{
	const unsigned rounds = getenv("RMEM_TEST_VALGRIND") ? ROUNDS_VALGRIND : ROUNDS;
	struct party *p = arg;

	for (unsigned i = 0; i < rounds; i++) {
		rmem_addr_t addr = 0, old;

		if (rmem_alloc(p->rm, 16 + (unsigned)rand_r(&p->seed) % 500, NULL, &addr) ||
			atomic_exchange(holder_of(addr), 1))
			p->wrong++;
		old = atomic_exchange(&p->next->ring[(unsigned)rand_r(&p->seed) % RING], addr);
		if (old && !atomic_exchange(holder_of(old), 0))
			p->wrong++;
		if (old && rmem_free(p->rm, old))
			p->wrong++;
	}
	return NULL;
}

static void threads_exchange_objects(void **state)
{
	static struct party parties[THREADS];
	pthread_t threads[THREADS];
	struct rmem *rm = lender_open(false, true);

	(void)state;
	assert_int_equal(rmem_alloc(rm, 16, NULL, &first_addr), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		parties[i].rm = rm;
		parties[i].next = &parties[(i + 1) % THREADS];
		parties[i].seed = i;
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, exchange, &parties[i]), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(lender_flush(rm), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(parties[i].wrong, 0);
	for (unsigned i = 0; i < THREADS * RING; i++)
		if (parties[i / RING].ring[i % RING])
			assert_int_equal(rmem_free(rm, parties[i / RING].ring[i % RING]), 0);
	assert_int_equal(rmem_free(rm, first_addr), 0);
	/* What the threads had in their magazines has come back when they ended. */
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender_close(rm);
}

#define LOSSES 100
#define LOSSES_VALGRIND 20

/* Sessions are lost under threads: a free says that the object is gone, or frees it, and nothing else. */
static void *exchange_lost(void *arg)
{
	struct party *p = arg;

	while (!atomic_load(&p->over)) {
		rmem_addr_t addr, old;
		int rc;

		if (rmem_alloc(p->rm, 16 + (unsigned)rand_r(&p->seed) % 500, NULL, &addr))
			addr = 0;
		p->wrong += !addr;
		old = atomic_exchange(&p->next->ring[(unsigned)rand_r(&p->seed) % RING], addr);
		rc = old ? rmem_free(p->rm, old) : 0;
		p->wrong += rc && rc != -ESTALE;
		p->rounds++;
	}
	return NULL;
}

static void threads_lose_objects(void **state)
{
	const unsigned losses = getenv("RMEM_TEST_VALGRIND") ? LOSSES_VALGRIND : LOSSES;
	static struct party parties[2];
	pthread_t threads[2];
	struct rmem *rm = lender_open(true, true);
	const uint64_t before = slabs_made;
	struct range ranges[AVOID_MAX];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		parties[i] = (struct party){ .rm = rm, .next = &parties[!i], .seed = i };
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, exchange_lost, &parties[i]), 0);
	for (unsigned i = 0; i < losses; i++) {
		const unsigned rounds = parties[i % 2].rounds;

		while (parties[i % 2].rounds < rounds + RING)
			sched_yield();
		lender_lose_all(rm);
		assert_int_equal(lender_give_back(rm, i % 2), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&parties[i].over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(parties[0].wrong + parties[1].wrong, 0);
	lender_lose_all(rm);
	for (unsigned i = 0; i < 2 * RING; i++)
		if (parties[i / RING].ring[i % RING])
			assert_int_equal(rmem_free(rm, parties[i / RING].ring[i % RING]), -ESTALE);
	assert_int_equal(blocks_reserved(&rm->session.blocks, ranges), 0);
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	/* None is kept, but as memory for others. */
	assert_null(rm->session.depot.over);
	assert_true(slabs_made - before < losses * 25);
	lender_close(rm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lazy_against_the_reference),
		cmocka_unit_test(exact_against_the_reference),
		cmocka_unit_test(a_batch_that_fails),
		cmocka_unit_test(slots_wait_for_operations),
		cmocka_unit_test(lost_objects_are_given_up),
		cmocka_unit_test(memory_of_lost_slabs_comes_back),
		cmocka_unit_test(sites_are_numbered_anew),
		cmocka_unit_test(a_session_lost_while_a_slab_is_asked_for),
		cmocka_unit_test(a_lost_slab_is_not_given_back_twice),
		cmocka_unit_test(memory_of_before_is_zeroed_on_request),
		cmocka_unit_test(a_full_server),
		cmocka_unit_test(an_access_ends_with_its_object),
		cmocka_unit_test(threads_exchange_objects),
		cmocka_unit_test(threads_lose_objects),
	};

	return cmocka_run_group_tests_name("small", tests, NULL, NULL);
}
