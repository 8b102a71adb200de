/* SPDX-License-Identifier: BSD-3-Clause */
/* The straight ways of an allocation and a free (client/space/quick.h): what they compute, and where they give up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/space/call.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/support/heap.h"
#include "tests/support/lender.h"

#define PAGE 4096U
#define FIRST_ADDR (0x9eULL << 56 | 64 << 20)
#define AT_ONCE 64U
#define SAME_SLOT 3000U /* the generation begins anew after 2048 */
#define RACES 20000U
#define FREEING_THREADS 2U

/* ---- what they compute ---- */

/* Of offsets in the slab and beside it, and of any others. */
static void slots_are_exact(void **state)
{
	(void)state;
	for (unsigned c = 1; c < SIZE_CLASSES; c++) {
		const uint32_t slot_bytes = size_class_bytes(c);
		struct slab *s = slab_create(heap, c, SLAB_BYTES_MAX, false);
		uint64_t any = 1;

		assert_non_null(s);
		assert_true(slab_is_lost(s)); /* until it is in the depot */
		for (uint64_t offset = 0; offset < 2UL * SLAB_BYTES_MAX; offset++) {
			const uint64_t slot = slab_exact_slot(offset, s->inverse, s->twos);

			if (offset % slot_bytes == 0)
				assert_int_equal(slot, offset / slot_bytes);
			else
				assert_true(slot > SLAB_SLOTS_MAX);
		}
		for (unsigned i = 0; i < 10000; i++) {
			any = any * 6364136223846793005ULL + 1442695040888963407ULL;
			if (any >= SLAB_BYTES_MAX)
				assert_true(slab_exact_slot(any, s->inverse, s->twos) >= s->slots);
			assert_true(slab_exact_slot(-(any % SLAB_BYTES_MAX) - 1, s->inverse,
					    s->twos) >= s->slots);
		}
	}
}

/* Also of the highest addresses that a process has on arm64, or asks for with 52 bits. */
static void items_hold_any_address(void **state)
{
	const uintptr_t addresses[] = { 64, 0x7ffff7a00040, 0xffff8bad0040, 0xfffffffffffc0 };
	const uint32_t slots[] = { 0, 1, SLAB_SLOTS_MAX - 1 };

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 3; k++) {
			const struct slab *s = (const struct slab *)addresses[i];
			const slab_item item = slab_item_plain(s, slots[k]);

			assert_false(slab_item_is_rare(item));
			assert_true(slab_item_is_rare(item | SLAB_ITEM_OPEN));
			assert_ptr_equal(slab_item_slab_usual(item), s);
			assert_ptr_equal(slab_item_slab(item | SLAB_ITEM_OPEN), s);
			assert_int_equal(slab_item_slot(item | SLAB_ITEM_OPEN), slots[k]);
		}
}

static void records_are_as_packed(void **state)
{
	uint64_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		const struct object_record last = object_record_unpack(before);
		const struct object_record r = { .state = OBJECT_LIVE,
			.generation = (last.generation + 1) & OBJECT_GENERATION_MAX,
			.slack = (uint32_t)rand() & OBJECT_SLACK_MAX,
			.site = (uint32_t)rand() & OBJECT_SITE_MAX,
			.birth_s = (uint32_t)rand() & OBJECT_BIRTH_MAX };
		const uint64_t next =
			object_record_next(before, r.slack, object_record_site(r.site)) |
			object_record_birth(r.birth_s);

		assert_int_equal(next, object_record_pack(&r));
		before = object_record_with_state(next, i % 5 ? OBJECT_FREED : OBJECT_LIVE);
	}
}

/* ---- where they give up ---- */

static rmem_addr_t allocate(struct rmem *rm, size_t bytes)
{
	rmem_addr_t addr = 0;

	assert_int_equal(rmem_alloc(rm, bytes, NULL, &addr), 0);
	return addr;
}

static uint32_t site_of(struct rmem *rm, rmem_addr_t addr)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);

	return object_record_unpack(slab_record(s, slab_slot_at(s, addr - s->addr))).site;
}

static void every_length(void **state)
{
	struct rmem_stat stat = RMEM_STAT_INIT;

	(void)state;
	for (unsigned no_sites = 0; no_sites < 2; no_sites++) {
		struct rmem *rm = lender_open(false, no_sites);

		for (size_t bytes = 1; bytes <= OBJECT_BYTES_MAX; bytes += 1 + bytes / 100)
			for (unsigned i = 0; i < 3; i++) {
				const rmem_addr_t addr = allocate(rm, bytes);

				assert_int_equal(rmem_stat(rm, addr, &stat), 0);
				assert_int_equal(stat.bytes, bytes);
				assert_int_equal(!site_of(rm, addr), no_sites);
				assert_int_equal(rmem_free(rm, addr), 0);
			}
		lender_close(rm);
	}
}

/* Also when everything is warm. */
static void arguments_are_looked_at(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;

	(void)state;
	for (unsigned no_sites = 0; no_sites < 2; no_sites++) {
		struct rmem *rm = lender_open(false, no_sites);
		rmem_addr_t addr = 1;

		assert_int_equal(rmem_free(rm, allocate(rm, 64)), 0);
		assert_int_equal(rmem_free(rm, allocate(rm, 64)), 0);
		assert_int_equal(rmem_alloc(rm, 0, NULL, &addr), -EINVAL);
		assert_int_equal(rmem_alloc(NULL, 64, NULL, &addr), -EINVAL);
		assert_int_equal(rmem_alloc(rm, 64, NULL, NULL), -EINVAL);
		assert_int_equal(rmem_alloc(rm, 640, NULL, NULL), -EINVAL);
		attr.align_bytes = 3;
		assert_int_equal(rmem_alloc(rm, 64, &attr, &addr), -EINVAL);
		assert_int_equal(addr, 1);
		assert_int_equal(rmem_free(NULL, addr), -EINVAL);
		assert_int_equal(rmem_free(rm, 1), -EINVAL);
		assert_int_equal(rmem_free(rm, 0), 0);
		lender_close(rm);
	}
}

static void sessions_in_turn(void **state)
{
	struct rmem *rm[2] = { lender_open(false, true), lender_open(false, true) };
	rmem_addr_t addr[2];

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned k = 0; k < 2; k++)
			addr[k] = allocate(rm[k], 64);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(rmem_free(rm[k], addr[!k]), -EINVAL);
			assert_int_equal(rmem_free(rm[k], addr[k]), 0);
			assert_int_equal(rmem_free(rm[k], addr[k]), -EINVAL);
		}
	}
	lender_close(rm[0]);
	/* The thread remembers the other one's magazines. */
	assert_int_equal(rmem_free(rm[1], allocate(rm[1], 64)), 0);
	lender_close(rm[1]);
}

static void a_child_has_no_session(void **state)
{
	struct rmem *rm = lender_open(false, true);
	const rmem_addr_t kept = allocate(rm, 64);
	rmem_addr_t addr;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(rmem_free(rm, allocate(rm, 64)), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(rmem_alloc(rm, 64, NULL, &addr) == -EPERM && rmem_free(rm, kept) == -EPERM
				? 0
				: 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(rmem_free(rm, kept), 0);
	lender_close(rm);
}

/* A page's worth of one class. */
static void fill_and_empty(struct rmem *rm, size_t bytes, rmem_addr_t *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		out[i] = allocate(rm, bytes);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(rmem_free(rm, out[i]), 0);
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
}

/* What the thread remembers of a slab is not true of the next one at the same address, and in the same memory. */
static void another_slab_in_its_place(void **state)
{
	const unsigned narrow = slab_slots(8, PAGE), wide = slab_slots(size_class_of(128, 1), PAGE);
	rmem_addr_t addr[AT_ONCE];
	struct rmem *rm = lender_open(false, true);
	struct slab *slab;

	(void)state;
	assert_true(narrow <= AT_ONCE);
	lender_lend_next(FIRST_ADDR);
	allocate(rm, 64);
	slab = blocks_slab(&rm->session.blocks, FIRST_ADDR);
	assert_int_equal(rmem_free(rm, FIRST_ADDR), 0);
	fill_and_empty(rm, 64, addr, narrow);
	lender_lend_next(FIRST_ADDR);
	for (unsigned i = 0; i < wide; i++)
		addr[i] = allocate(rm, 128);
	assert_ptr_equal(blocks_slab(&rm->session.blocks, FIRST_ADDR), slab);
	for (unsigned i = 0; i < wide; i++) {
		/* A slot of 64 bytes began there. */
		assert_int_equal(rmem_free(rm, addr[i] + 64), -EINVAL);
		assert_int_equal(rmem_free(rm, addr[i]), 0);
		assert_int_equal(rmem_free(rm, addr[i]), -EINVAL);
	}
	lender_close(rm);
}

static int by_value(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* The slot of an object that was shared once gives no record twice: keys are made of it. */
static void what_was_shared_has_no_record_twice(void **state)
{
	static uint64_t records[SAME_SLOT];
	struct rmem *rm = lender_open(false, true);
	const rmem_addr_t shared = allocate(rm, 64);
	struct slab *s = blocks_slab(&rm->session.blocks, shared);
	const uint32_t slot = slab_slot_at(s, shared - s->addr);
	rmem_addr_t others[AT_ONCE];

	(void)state;
	for (unsigned i = 0; i < AT_ONCE; i++)
		others[i] = allocate(rm, 64);
	/* Its neighbours are in the magazine by now. */
	for (unsigned i = 0; i < AT_ONCE; i += 2)
		assert_int_equal(rmem_free(rm, others[i]), 0);
	assert_true(slab_set_shared(s, rm->session.heap, slot, true));
	assert_true(slab_set_shared(s, rm->session.heap, slot, false));
	assert_int_equal(rmem_free(rm, shared), 0);
	for (unsigned n = 0; n < SAME_SLOT;) {
		const rmem_addr_t addr = allocate(rm, 64);

		if (addr == shared)
			records[n++] = slab_record(s, slot);
		assert_int_equal(rmem_free(rm, addr), 0);
	}
	qsort(records, SAME_SLOT, sizeof(*records), by_value);
	for (unsigned i = 1; i < SAME_SLOT; i++)
		assert_true(records[i] != records[i - 1]);
	lender_close(rm);
}

/* ---- one object, freed by several threads at once ---- */

struct race {
	struct rmem *rm;
	pthread_barrier_t *barrier;
	const rmem_addr_t *addr;
	unsigned freed, refused;
};

static void *free_them(void *arg)
{
	struct race *r = arg;

	/* So that it has magazines, and remembers the slab. */
	rmem_addr_t warm;

	for (unsigned i = 0; i < 2; i++)
		if (rmem_alloc(r->rm, 64, NULL, &warm) || rmem_free(r->rm, warm))
			return NULL;
	pthread_barrier_wait(r->barrier);
	for (unsigned i = 0; i < RACES; i++) {
		const int rc = rmem_free(r->rm, r->addr[i]);

		r->freed += rc == 0;
		r->refused += rc == -EINVAL;
	}
	return NULL;
}

static void of_two_frees_one_succeeds(void **state)
{
	struct rmem *rm = lender_open(false, true);
	rmem_addr_t *addr = calloc(RACES, sizeof(*addr));
	struct race races[FREEING_THREADS];
	pthread_t threads[FREEING_THREADS];
	pthread_barrier_t barrier;
	unsigned freed = 0, refused = 0;

	(void)state;
	assert_non_null(addr);
	for (unsigned i = 0; i < RACES; i++)
		addr[i] = allocate(rm, 64);
	pthread_barrier_init(&barrier, NULL, FREEING_THREADS);
	for (unsigned i = 0; i < FREEING_THREADS; i++) {
		races[i] = (struct race){ .rm = rm, .barrier = &barrier, .addr = addr };
		assert_int_equal(pthread_create(&threads[i], NULL, free_them, &races[i]), 0);
	}
	for (unsigned i = 0; i < FREEING_THREADS; i++) {
		pthread_join(threads[i], NULL);
		freed += races[i].freed;
		refused += races[i].refused;
	}
	assert_int_equal(freed, RACES);
	assert_int_equal(refused, RACES * (FREEING_THREADS - 1));
	pthread_barrier_destroy(&barrier);
	thread_channels_drain(&rm->channels);
	assert_int_equal(lender_give_back(rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender_close(rm);
	free(addr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slots_are_exact, heap_begin, heap_end),
		cmocka_unit_test(items_hold_any_address),
		cmocka_unit_test(records_are_as_packed),
		cmocka_unit_test(every_length),
		cmocka_unit_test(arguments_are_looked_at),
		cmocka_unit_test(sessions_in_turn),
		cmocka_unit_test(a_child_has_no_session),
		cmocka_unit_test(another_slab_in_its_place),
		cmocka_unit_test(what_was_shared_has_no_record_twice),
		cmocka_unit_test(of_two_frees_one_succeeds),
	};

	return cmocka_run_group_tests_name("quick", tests, NULL, NULL);
}
