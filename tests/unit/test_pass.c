/* SPDX-License-Identifier: BSD-3-Clause */
/* One audit beside a real event loop: the loop goes on and changes the ledger, and the result is that of the beginning. */
#include "tests/support/world.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>

#include "common/object_record.h"
#include "common/size_class.h"
#include "server/audit/pass.h"

#define BLOCKS 4000 /* of the world's 4096 */

static bool no_thread;

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	return no_thread ? EAGAIN : __real_pthread_create(thread, attr, start, arg);
}

struct run {
	struct world *w;
	struct event_base *base;
	struct event *other; /* other work of the loop, always due */
	struct pass *pass;
	struct pass_outcome outcome;
	unsigned turns; /* of the other work */
	unsigned reads; /* slabs */
	bool done;
};

/* Every third slot holds an object, one byte shorter than its slot. */
static void read_slab(void *arg, const struct allocation *slab, uint64_t *words, uint32_t n)
{
	const struct object_record held = { .state = OBJECT_LIVE, .slack = 1 };
	struct run *run = arg;

	run->reads++;
	assert_int_equal(ledger_find(run->w->ledger, slab->addr)->serial, slab->serial);
	for (uint32_t i = 0; i < n; i++)
		words[i] = i % 3 ? 0 : object_record_pack(&held);
}

static void free_block(struct world *w, const struct allocation *a)
{
	const uint64_t addr = a->addr, bytes = allocation_block_bytes(a);
	const unsigned node = allocation_node(a);

	set_state(w, a, ALLOCATION_REVOKING);
	set_state(w, a, ALLOCATION_QUARANTINE);
	set_state(w, a, ALLOCATION_FREE);
	assert_int_equal(buddy_free(w->buddies[node], addr_offset(addr), bytes), 0);
}

/* Blocks from both ends go, so that some are fetched before and some after; and others come in their place. */
static void on_other(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once;
	struct run *run = arg;
	const struct allocation *a;
	const uint32_t turn = run->turns++ % BLOCKS;
	uint32_t cursor = turn % 2 ? BLOCKS - 1 - turn : turn;

	(void)fd;
	(void)what;
	a = ledger_next(run->w->ledger, &cursor);
	for (cursor = 0; !a;)
		a = ledger_next(run->w->ledger, &cursor);
	free_block(run->w, a);
	add_block(run->w, 0, 0, 100, 1, 0);
	event_add(run->other, &at_once);
}

static void on_done(void *arg, const struct pass_outcome *outcome)
{
	struct run *run = arg;

	run->outcome = *outcome;
	run->done = true;
	pass_stop(run->pass);
	run->pass = NULL;
	event_base_loopbreak(run->base);
}

static void begin(struct run *run, struct world *w)
{
	static const struct timeval at_once;

	memset(run, 0, sizeof(*run));
	run->w = w;
	run->base = event_base_new();
	assert_non_null(run->base);
	run->other = evtimer_new(run->base, on_other, run);
	assert_non_null(run->other);
	event_add(run->other, &at_once);
}

static void end(struct run *run)
{
	pass_stop(run->pass);
	event_free(run->other);
	event_base_free(run->base);
}

static int start(struct run *run, enum audit_depth depth)
{
	struct audit_input in = input(run->w);
	struct audit *audit;

	const struct pass_source source = {
		.ledger = run->w->ledger, .read = depth == AUDIT_FULL ? read_slab : NULL, .arg = run
	};

	assert_int_equal(audit_begin(&in, NULL, depth, &audit), 0);
	return pass_start(run->base, &source, audit, NULL, on_done, run, &run->pass);
}

static void fill(struct world *w)
{
	uint32_t session = add_session(w);

	for (unsigned i = 0; i < BLOCKS; i++)
		add_block(w, session, 0, 5000, 0, 0);
}

static void test_result(void **state)
{
	struct world *w = *state;
	struct run run;

	fill(w);
	begin(&run, w);
	for (unsigned i = 0; i < 20; i++) {
		const uint32_t count = ledger_count(w->ledger);
		struct audit_input in = input(w);
		struct audit_result *at_once = audit(w, &in, NULL);

		run.done = false;
		run.turns = 0;
		assert_int_equal(start(&run, AUDIT_FULL), 0);
		event_base_dispatch(run.base);
		assert_true(run.turns >= BLOCKS / 64 / 4); /* however fast the thread is */
		assert_true(run.done);
		assert_int_equal(run.outcome.err, 0);
		assert_int_equal(run.outcome.result->allocations_total, count);
		assert_memory_equal(
			run.outcome.result->nodes, at_once->nodes, sizeof(at_once->nodes));
		assert_memory_equal(
			run.outcome.result->totals, at_once->totals, sizeof(at_once->totals));
		audit_scan_destroy(run.outcome.scan);
		audit_result_release(run.outcome.result);
		audit_result_release(at_once);
	}
	end(&run);
}

/* Slabs whose records fill a batch, or more than the rest of one: each is read, and nothing is lost. */
static void test_slabs(void **state)
{
	struct world *w = *state;
	const uint32_t session = add_session(w);
	uint64_t held = 0, slots;
	struct run run;

	for (unsigned i = 0; i < 300; i++) {
		const uint8_t size_class = (uint8_t)(1 + 7 * i % (SIZE_CLASSES - 1));
		const uint64_t bytes = i % 10 == 0 ? SLAB_BYTES_MAX : 65536;

		add_slab(w, session, size_class, bytes, i % NODES, 0);
		add_block(w, session, 0, 100, i % NODES, 0);
		slots = slab_slots(size_class, bytes);
		held += (slots + 2) / 3;
	}
	begin(&run, w);
	event_del(run.other);
	assert_int_equal(start(&run, AUDIT_FULL), 0);
	event_base_dispatch(run.base);
	assert_true(run.done);
	assert_int_equal(run.reads, 300);
	assert_int_equal(run.outcome.result->slabs_total, 300);
	assert_int_equal(run.outcome.result->slabs_unread, 0);
	assert_int_equal(run.outcome.result->objects_total, held);
	assert_int_equal(run.outcome.result->allocations_total, held + 300);
	for (unsigned node = 0; node < NODES; node++)
		assert_int_equal(run.outcome.result->nodes[node].unaccounted_bytes, 0);
	audit_scan_destroy(run.outcome.scan);
	audit_result_release(run.outcome.result);
	/* A scan reads none. */
	run.done = false;
	assert_int_equal(start(&run, AUDIT_SCAN), 0);
	event_base_dispatch(run.base);
	assert_int_equal(run.reads, 300);
	audit_scan_destroy(run.outcome.scan);
	end(&run);
}

/* Given back while the audit runs, before their turn: neither what was there nor what is there now is read. */
static void test_slabs_given_back(void **state)
{
	struct world *w = *state;
	const struct allocation *revoked, *freed, *stays;
	const uint32_t session = add_session(w);
	struct run run;

	for (unsigned i = 0; i < 1000; i++)
		add_block(w, session, 0, 100, 0, 0);
	revoked = add_slab(w, session, 1, 4096, 0, 0);
	freed = add_slab(w, session, 2, 4096, 0, 0);
	stays = add_slab(w, session, 3, 4096, 0, 0);
	begin(&run, w);
	event_del(run.other);
	assert_int_equal(start(&run, AUDIT_FULL), 0);
	set_state(w, revoked, ALLOCATION_REVOKING);
	free_block(w, freed);
	assert_ptr_equal(add_slab(w, session, 4, 4096, 0, 0), freed);
	event_base_dispatch(run.base);
	assert_int_equal(run.reads, 1);
	assert_int_equal(run.outcome.result->slabs_total, 3);
	assert_int_equal(run.outcome.result->slabs_unread, 2);
	assert_int_equal(run.outcome.result->objects_total, (slab_slots(3, stays->bytes) + 2) / 3);
	assert_int_equal(run.outcome.result->nodes[0].unaccounted_bytes, 0);
	assert_false(run.outcome.result->nodes[0].miscounted);
	audit_scan_destroy(run.outcome.scan);
	audit_result_release(run.outcome.result);
	end(&run);
}

/* The loop ends an audit at any point: nothing is left, and the next one can begin. */
static void test_stop(void **state)
{
	struct world *w = *state;
	struct run run;

	fill(w);
	begin(&run, w);
	for (unsigned turns = 0; turns < 12; turns++) {
		assert_int_equal(start(&run, turns % 2 ? AUDIT_FULL : AUDIT_SCAN), 0);
		for (unsigned i = 0; i < turns && run.pass; i++)
			event_base_loop(run.base, EVLOOP_ONCE);
		pass_stop(run.pass);
		run.pass = NULL;
		if (run.done) {
			audit_scan_destroy(run.outcome.scan);
			audit_result_release(run.outcome.result);
		}
		run.done = false;
	}
	end(&run);
}

/* No thread can be made: an error, and the ledger can be audited later. */
static void test_no_thread(void **state)
{
	struct world *w = *state;
	struct run run;

	fill(w);
	begin(&run, w);
	no_thread = true;
	assert_int_equal(start(&run, AUDIT_FULL), -EAGAIN);
	no_thread = false;
	assert_int_equal(start(&run, AUDIT_FULL), 0);
	end(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_result),
		IN_WORLD(test_slabs),
		IN_WORLD(test_slabs_given_back),
		IN_WORLD(test_stop),
		IN_WORLD(test_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
