/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal=exact, over connections that break: data never arrives at an object before the object's record, and an
 * operation that says that it was carried out has its record there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "client/api/queue.h"
#include "client/space/call.h"
#include "common/clock.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/support/cable.h"
#include "tests/support/lender.h"

#define OBJECT_BYTES 100
#define LONG_NS (60 * NSEC_PER_SEC)

static const uint8_t data[OBJECT_BYTES] = { 1, 2, 3 };

static struct {
	struct rmem *rm;
	struct rmem_queue *q;
	rmem_addr_t objects[4];
	/* The record of this object has that fate on the first so many connections that it is posted on. */
	rmem_addr_t victim;
	enum cable_fate fate;
	unsigned times;
	unsigned last_connection;
} it;

static uint64_t record_addr(rmem_addr_t object)
{
	const struct slab *s = blocks_slab(&it.rm->session.blocks, object);

	return slab_record_addr(s, slab_slot_at(s, object - s->addr));
}

static enum cable_fate fate_of_record(const struct ibv_send_wr *wr, unsigned connection)
{
	if (!it.times || wr->opcode != IBV_WR_RDMA_WRITE ||
		wr->wr.rdma.remote_addr != record_addr(it.victim) ||
		connection == it.last_connection)
		return CABLE_DONE;
	it.last_connection = connection;
	it.times--;
	return it.fate;
}

static int setup(void **state)
{
	(void)state;
	memset(&it, 0, sizeof(it));
	it.rm = lender_open(true, true);
	assert_non_null(it.rm);
	lender_wire(it.rm);
	cable.fate = fate_of_record;
	it.fate = CABLE_LOST;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rmem_alloc(it.rm, OBJECT_BYTES, NULL, &it.objects[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (it.q)
		rmem_queue_destroy(it.q);
	assert_int_equal(lender.unannounced, 0);
	lender_close(it.rm);
	return 0;
}

static void lose_record_of(unsigned i, unsigned times)
{
	it.victim = it.objects[i];
	it.times = times;
	it.last_connection = 0;
}

/* Has the data arrived? Then so has the record. */
static bool has_arrived(rmem_addr_t addr)
{
	const struct loan *loan = lender_find(addr);
	const uint64_t offset = addr - loan->addr;
	uint64_t record;

	if (memcmp(loan->memory + offset, data, OBJECT_BYTES) != 0)
		return false;
	record = lender_record(loan, (uint32_t)(offset / size_class_bytes(loan->size_class)));
	assert_int_equal(object_record_state(record), OBJECT_LIVE);
	return true;
}

static void clear(rmem_addr_t addr)
{
	const struct loan *loan = lender_find(addr);

	memset(loan->memory + (addr - loan->addr), 0, OBJECT_BYTES);
}

static void make_queue(unsigned depth)
{
	const struct rmem_queue_attr attr = { .size = sizeof(attr), .depth = depth };

	assert_int_equal(rmem_queue_create(it.rm, &attr, &it.q), 0);
}

static int reap(uint64_t tag)
{
	struct rmem_completion done;

	assert_int_equal(rmem_reap(it.q, &done, 1, -1), 1);
	assert_int_equal(done.tag, tag);
	return done.status;
}

/* ---- by calls ---- */

static void a_record_is_repeated_with_its_data(void **state)
{
	(void)state;
	lose_record_of(0, 1);
	assert_int_equal(rmem_write(it.rm, it.objects[0], data, OBJECT_BYTES), 0);
	assert_true(has_arrived(it.objects[0]));
	assert_int_equal(it.times, 0);
}

/* Two connections broke on it: it is given up, and the data is not sent on the third. */
static void data_does_not_go_without_its_record(void **state)
{
	(void)state;
	for (it.fate = CABLE_UNHEARD; it.fate <= CABLE_LOST; it.fate++) {
		lose_record_of(it.fate, 2);
		assert_int_equal(rmem_write(it.rm, it.victim, data, OBJECT_BYTES), -ECONNRESET);
		assert_int_equal(it.times, 0);
		assert_false(has_arrived(it.victim));
		assert_int_equal(rmem_write(it.rm, it.victim, data, OBJECT_BYTES), 0);
		assert_true(has_arrived(it.victim));
	}
}

static void words_do_not_go_without_their_record(void **state)
{
	const struct rmem_op op = {
		.size = sizeof(op), .kind = RMEM_OP_FETCH_ADD, .addr = it.objects[0], .operand = 5
	};
	const struct loan *loan = lender_find(it.objects[0]);

	(void)state;
	/* It was posted behind the record: it might have been carried out. */
	lose_record_of(0, 1);
	assert_int_equal(rmem_run(it.rm, &op), -EREMOTEIO);
	assert_int_equal(loan->memory[it.objects[0] - loan->addr], 0);
	assert_int_equal(rmem_run(it.rm, &op), 0);
	assert_int_equal(loan->memory[it.objects[0] - loan->addr], 5);
}

static int write_three(void)
{
	const struct iovec local[3] = { { (void *)(uintptr_t)data, OBJECT_BYTES },
		{ (void *)(uintptr_t)data, OBJECT_BYTES },
		{ (void *)(uintptr_t)data, OBJECT_BYTES } };
	const struct rmem_iovec remote[3] = { { it.objects[0], OBJECT_BYTES },
		{ it.objects[1], OBJECT_BYTES }, { it.objects[2], OBJECT_BYTES } };

	if (it.q) {
		assert_int_equal(rmem_start_writev(it.q, local, 3, remote, 3, 7), 0);
		return reap(7);
	}
	return rmem_writev(it.rm, local, 3, remote, 3);
}

/* Objects whose records have not been sent, and whose bytes are zero. */
static void renew_objects(void)
{
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rmem_free(it.rm, it.objects[i]), 0);
		assert_int_equal(rmem_alloc(it.rm, OBJECT_BYTES, NULL, &it.objects[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		clear(it.objects[i]);
}

static void one_of_several_records(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		renew_objects();
		lose_record_of(i, 2);
		assert_int_equal(write_three(), -ECONNRESET);
		assert_int_equal(it.times, 0);
		assert_false(has_arrived(it.objects[2]));
	}
	assert_int_equal(write_three(), 0);
	assert_true(has_arrived(it.objects[2]));
}

/* ---- by a queue ---- */

static void one_of_several_records_in_a_queue(void **state)
{
	make_queue(4);
	one_of_several_records(state);
}

/* What has nothing to do with the record is carried out. */
static void others_in_the_queue_go_on(void **state)
{
	uint8_t got[OBJECT_BYTES];

	(void)state;
	make_queue(8);
	assert_int_equal(rmem_write(it.rm, it.objects[1], data, OBJECT_BYTES), 0);
	lose_record_of(0, 2);
	assert_int_equal(rmem_start_read(it.q, got, it.objects[1], OBJECT_BYTES, 1), 0);
	assert_int_equal(rmem_start_write(it.q, it.objects[0], data, OBJECT_BYTES, 2), 0);
	assert_int_equal(rmem_start_write(it.q, it.objects[3], data, OBJECT_BYTES, 3), 0);
	assert_int_equal(rmem_start_read(it.q, got, it.objects[1], OBJECT_BYTES, 4), 0);
	assert_int_equal(reap(1), 0);
	assert_int_equal(reap(2), -ECONNRESET);
	assert_int_equal(reap(3), 0);
	assert_int_equal(reap(4), 0);
	assert_false(has_arrived(it.objects[0]));
	assert_true(has_arrived(it.objects[3]));
	assert_memory_equal(got, data, OBJECT_BYTES);
}

/* A record without room for the data behind it is of a unit of its own, and no other operation fails with it. */
static void a_record_without_its_data(void **state)
{
	uint8_t got[OBJECT_BYTES];

	(void)state;
	make_queue(2); /* room for two, and a record in front of each */
	lose_record_of(1, 2);
	it.fate = CABLE_SILENT;
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(rmem_start_read(it.q, got, it.objects[0], OBJECT_BYTES, i), 0);
	assert_int_equal(rmem_start_write(it.q, it.objects[1], data, OBJECT_BYTES, 4), -EAGAIN);
	assert_int_equal(reap(1), 0);
	assert_int_equal(reap(2), 0);
	assert_int_equal(it.times, 1);
	assert_int_equal(rmem_start_write(it.q, it.objects[2], data, OBJECT_BYTES, 5), 0);
	assert_int_equal(rmem_submit(it.q), 0);
	cable_break();
	it.fate = CABLE_LOST;
	assert_int_equal(reap(3), 0);
	assert_int_equal(reap(5), 0);
	assert_int_equal(it.times, 0);
	assert_true(has_arrived(it.objects[2]));
}

static uint64_t *record_there(rmem_addr_t object)
{
	const struct loan *loan = lender_find(object);

	return (uint64_t *)(void *)(loan->memory + (record_addr(object) - loan->addr));
}

/* A queue that has so much to do that nothing which is started next is built. */
static uint64_t fill_queue(void)
{
	uint64_t n = 0;

	make_queue(4096);
	while (!it.q->channel->pipeline.building)
		assert_int_equal(rmem_start_write(it.q, it.objects[3], data, OBJECT_BYTES, n++), 0);
	return n;
}

static void reap_all(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(reap(i), 0);
}

/* The write of a record that was planned has what became of the object before it was sent. */
static void a_record_changes_before_it_is_sent(void **state)
{
	struct slab *const slab = blocks_slab(&it.rm->session.blocks, it.objects[0]);
	uint32_t slot;
	uint64_t n;

	(void)state;
	n = fill_queue();
	assert_int_equal(rmem_start_write(it.q, it.objects[0], data, OBJECT_BYTES, n), 0);
	assert_true(slab_renew_object(slab, it.objects[0], &slot));
	reap_all(n + 1);
	assert_true(*record_there(it.objects[0]) == slab_record(slab, slot));
	/* A line of the journal may have been on its way with the one before. */
	assert_false(slab_is_sent(slab, slot));
	assert_true(has_arrived(it.objects[0]));
}

/* ... and is not sent if the server keeps the record by then. */
static void a_record_is_kept_before_it_is_sent(void **state)
{
	struct session *const s = &it.rm->session;
	struct slab *const slab = blocks_slab(&s->blocks, it.objects[0]);
	const uint32_t slot = slab_slot_at(slab, it.objects[0] - slab->addr);
	uint64_t n, taken;

	(void)state;
	assert_int_equal(lender_flush(it.rm), 0);
	n = fill_queue();
	assert_int_equal(rmem_start_write(it.q, it.objects[0], data, OBJECT_BYTES, n), 0);
	assert_true(slab_set_shared(slab, s->heap, slot, true));
	depot_set_kept(&s->depot, slab, slot, true);
	taken = object_record_with_state(slab_record(slab, slot), OBJECT_TAKEN);
	*record_there(it.objects[0]) = taken;
	reap_all(n + 1);
	assert_true(*record_there(it.objects[0]) == taken);
	assert_memory_equal(lender_find(it.objects[0])->memory +
				    (it.objects[0] - lender_find(it.objects[0])->addr),
		data, OBJECT_BYTES);
}

/* The record has the time of its data: where nothing gets through, the operation ends then, and not with the session's. */
static void run_out_of_time(void)
{
	const struct iovec local = { (void *)(uintptr_t)data, OBJECT_BYTES };
	const struct rmem_iovec remote = { it.objects[0], OBJECT_BYTES };
	const struct rmem_op op = { .size = sizeof(op),
		.kind = RMEM_OP_WRITE,
		.local = &local,
		.nlocal = 1,
		.remote = &remote,
		.nremote = 1,
		.timeout_ms = 50,
		.tag = 9 };
	const uint64_t began = clock_boot_ns();

	it.rm->session.timeout_ns = LONG_NS;
	make_queue(4);
	it.fate = CABLE_SILENT;
	lose_record_of(0, 1);
	assert_int_equal(rmem_start(it.q, &op), 0);
	assert_int_equal(rmem_submit(it.q), 0);
	cable.unplugged = true;
	assert_int_equal(reap(9), -ETIMEDOUT);
	assert_true(clock_boot_ns() < began + LONG_NS / 2);
	assert_false(has_arrived(it.objects[0]));
	cable.unplugged = false;
}

static void a_record_has_the_time_of_its_data(void **state)
{
	(void)state;
	run_out_of_time();
}

static enum cable_fate fate_of_line(const struct ibv_send_wr *wr, unsigned connection)
{
	const uint64_t record = it.victim ? record_addr(it.victim) : 0;

	(void)connection;
	return it.times && wr->opcode == IBV_WR_RDMA_WRITE && wr->num_sge &&
			       record - wr->wr.rdma.remote_addr < 64 && wr->sg_list[0].length > 8
		       ? CABLE_SILENT
		       : CABLE_DONE;
}

static void *flush(void *arg)
{
	*(int *)arg = lender_flush(it.rm);
	return NULL;
}

/* A line of records is on its way that has none of the object yet: its record and data do not arrive before that. */
static void a_line_that_is_on_its_way(void **state)
{
	struct rmem_iovec remote = { 0, OBJECT_BYTES };
	const struct iovec local = { (void *)(uintptr_t)data, OBJECT_BYTES };
	struct rmem_op op = { .size = sizeof(op),
		.kind = RMEM_OP_WRITE,
		.local = &local,
		.nlocal = 1,
		.remote = &remote,
		.nremote = 1,
		.timeout_ms = 50 };
	int flushed = 1;
	pthread_t thread;

	(void)state;
	cable.fate = fate_of_line;
	it.victim = it.objects[0];
	it.times = 1;
	assert_int_equal(pthread_create(&thread, NULL, flush, &flushed), 0);
	while (!cable_is_silent())
		sched_yield();
	it.times = 0;
	assert_int_equal(rmem_alloc(it.rm, OBJECT_BYTES, NULL, &remote.base), 0);
	assert_true(record_addr(remote.base) - record_addr(it.objects[0]) < 64);
	make_queue(4);
	assert_int_equal(rmem_run(it.rm, &op), -ETIMEDOUT);
	assert_int_equal(rmem_start(it.q, &op), -ETIMEDOUT);
	assert_false(has_arrived(remote.base));
	cable_arrive();
	pthread_join(thread, NULL);
	assert_int_equal(flushed, 0);
	op.timeout_ms = 0;
	assert_int_equal(rmem_run(it.rm, &op), 0);
	assert_true(has_arrived(remote.base));
}

/* It was given up, its object was freed, which was sent, and then it arrives after all. */
static void a_record_that_was_given_up(void **state)
{
	const struct slab *s = blocks_slab(&it.rm->session.blocks, it.objects[0]);
	const uint32_t slot = slab_slot_at(s, it.objects[0] - s->addr);
	const struct loan *loan = lender_find(it.objects[0]);
	uint64_t journaled;

	(void)state;
	assert_int_equal(lender_flush(it.rm), 0);
	journaled = lender.journaled;
	run_out_of_time();
	assert_int_equal(rmem_free(it.rm, it.objects[0]), 0);
	assert_int_equal(lender_flush(it.rm), 0);
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_FREED);
	/* That is not for good. */
	assert_int_equal(lender.journaled, journaled);
	assert_false(depot_is_sent(&it.rm->session.depot));
	cable_arrive_late();
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_LIVE);
	/* The server ends the connection before when the queue has another one. */
	assert_int_equal(rmem_start_write(it.q, it.objects[1], data, OBJECT_BYTES, 1), 0);
	assert_int_equal(reap(1), 0);
	assert_int_equal(lender_flush(it.rm), 0);
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_FREED);
	assert_int_equal(lender.journaled, journaled + 1);
	assert_true(depot_is_sent(&it.rm->session.depot));
}

/* A record that arrives after a later one of its slot is not the last word. */
static void a_record_that_comes_late(void **state)
{
	const struct slab *s = blocks_slab(&it.rm->session.blocks, it.objects[0]);
	const uint32_t slot = slab_slot_at(s, it.objects[0] - s->addr);
	const struct loan *loan = lender_find(it.objects[0]);

	(void)state;
	make_queue(4);
	it.fate = CABLE_SILENT;
	lose_record_of(0, 1);
	assert_int_equal(rmem_start_write(it.q, it.objects[0], data, OBJECT_BYTES, 1), 0);
	assert_int_equal(rmem_submit(it.q), 0);
	assert_int_equal(it.times, 0);
	assert_int_equal(rmem_free(it.rm, it.objects[0]), 0);
	assert_int_equal(lender_flush(it.rm), 0);
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_FREED);
	cable_arrive();
	assert_int_equal(reap(1), 0);
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_LIVE);
	assert_false(depot_is_sent(&it.rm->session.depot));
	assert_int_equal(lender_flush(it.rm), 0);
	assert_int_equal(object_record_state(lender_record(loan, slot)), OBJECT_FREED);
}

/* ---- by chance ---- */

#define STEPS 20000
#define HELD 64

static unsigned seed;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static enum cable_fate any_fate(const struct ibv_send_wr *wr, unsigned connection)
{
	(void)wr;
	(void)connection;
	return chance(12) ? CABLE_DONE : chance(2) ? CABLE_LOST : CABLE_UNHEARD;
}

static void write_somehow(rmem_addr_t addr)
{
	int rc;

	if (chance(2)) {
		rc = rmem_write(it.rm, addr, data, OBJECT_BYTES);
	} else {
		assert_int_equal(rmem_start_write(it.q, addr, data, OBJECT_BYTES, 5), 0);
		rc = reap(5);
	}
	assert_true(rc == 0 || rc == -ECONNRESET);
	if (rc == 0)
		assert_true(has_arrived(addr));
}

static void objects_by_chance(void **state)
{
	const unsigned steps = getenv("RMEM_TEST_VALGRIND") ? STEPS / 20 : STEPS;
	rmem_addr_t held[HELD];
	unsigned n = 0;

	(void)state;
	seed = 5;
	make_queue(4);
	cable.fate = any_fate;
	for (unsigned i = 0; i < steps; i++) {
		const unsigned at = n ? chance(n) : 0;

		if (n < HELD && chance(3) == 0) {
			assert_int_equal(rmem_alloc(it.rm, OBJECT_BYTES, NULL, &held[n]), 0);
			clear(held[n++]);
		} else if (n && chance(4) == 0) {
			assert_int_equal(rmem_free(it.rm, held[at]), 0);
			held[at] = held[--n];
		} else if (n) {
			write_somehow(held[at]);
		}
	}
	assert_true(cable.connections > steps / 100);
}

#define EXACT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXACT_TEST(a_record_is_repeated_with_its_data),
		EXACT_TEST(data_does_not_go_without_its_record),
		EXACT_TEST(words_do_not_go_without_their_record),
		EXACT_TEST(one_of_several_records),
		EXACT_TEST(one_of_several_records_in_a_queue),
		EXACT_TEST(others_in_the_queue_go_on),
		EXACT_TEST(a_record_without_its_data),
		EXACT_TEST(a_record_changes_before_it_is_sent),
		EXACT_TEST(a_record_is_kept_before_it_is_sent),
		EXACT_TEST(a_record_has_the_time_of_its_data),
		EXACT_TEST(a_line_that_is_on_its_way),
		EXACT_TEST(a_record_that_was_given_up),
		EXACT_TEST(a_record_that_comes_late),
		EXACT_TEST(objects_by_chance),
	};

	return cmocka_run_group_tests_name("exact", tests, NULL, NULL);
}
