/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool that becomes larger and smaller while it is used. */
#include "tests/support/pools.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>

#include "server/memory/growth.h"

#define NODE (topology_at(machine, 0)->node)

/* A device: it can be slow to reach a segment, or refuse it. */
static struct {
	sem_t may_go_on;
	bool slow;
	int err;
	_Atomic unsigned reached, left;
} device;

static int reach(
	void *context, const struct segment *s, struct progress *progress, struct errinfo *errinfo)
{
	assert_ptr_equal(context, &device);
	assert_int_equal(s->number, ADDR_MAX_NODES); /* the first number is the node's */
	device.reached++;
	if (device.slow)
		sem_wait(&device.may_go_on);
	if (!progress_add(progress, 1))
		return errinfo_set(errinfo, -ECANCELED, "stopped");
	return device.err ? errinfo_set(errinfo, device.err, "the device says no") : 0;
}

static void leave(void *context, unsigned number)
{
	assert_ptr_equal(context, &device);
	assert_int_equal(number, ADDR_MAX_NODES);
	device.left++;
}

struct stage {
	struct datadir data;
	struct pool pool;
	struct growth growth;
};

static void open_stage(struct stage *s, const char *path, uint64_t bytes)
{
	struct errinfo errinfo = { "" };

	s->data = data_of(dir, path);
	must_open(&s->pool, &s->data, bytes);
	s->growth = (struct growth){ .pool = &s->pool,
		.data = &s->data,
		.topology = machine,
		.reach = reach,
		.leave = leave,
		.context = &device };
	assert_int_equal(growth_open(&s->growth, &errinfo), 0);
	device.slow = false;
	device.err = 0;
	device.reached = device.left = 0;
	sem_init(&device.may_go_on, 0, 0);
}

static void close_stage(struct stage *s)
{
	growth_close(&s->growth);
	pool_close(&s->pool);
}

static int resize(struct stage *s, uint64_t bytes, struct growth_node *out, struct errinfo *errinfo)
{
	const struct sizes sizes = { 1, { { NODE, bytes } } };
	struct growth_outcome outcome = { .count = 0 };
	int err = growth_resize(&s->growth, &sizes, &outcome, errinfo);

	if (!err) {
		assert_int_equal(outcome.count, 1);
		*out = outcome.nodes[0];
	}
	return err;
}

static struct growth_node must_resize(struct stage *s, uint64_t bytes)
{
	struct errinfo errinfo = { "" };
	struct growth_node n = { .node = 0 };

	if (resize(s, bytes, &n, &errinfo))
		fail_msg("%s", errinfo.text);
	return n;
}

/* As the event loop does it. */
static bool await(struct stage *s)
{
	struct pollfd fd = { .fd = s->growth.done_fd, .events = POLLIN };

	assert_int_equal(poll(&fd, 1, 20000), 1);
	return growth_finish(&s->growth);
}

static uint64_t size_of(const struct stage *s)
{
	return pool_size_bytes(&s->pool, POOL_ALL_NODES);
}

/* In the grown segment. */
static const struct allocation *lend_there(struct stage *s)
{
	const struct allocation *a;

	do {
		a = lend(&s->pool, 16 * 4096);
		fill(&s->pool, a, 'x');
	} while (addr_segment(a->addr) == NODE);
	assert_int_equal(allocation_node(a), NODE);
	return a;
}

/* ---- larger ---- */

static void test_grows_and_stays(void **state)
{
	struct stage s;
	struct growth_node n;
	uint64_t ready_bytes;

	open_stage(&s, *state, ARENA_BYTES);
	assert_int_equal(pool_max_alloc_bytes(&s.pool, POOL_ALL_NODES), ARENA_BYTES);
	n = must_resize(&s, 3 * ARENA_BYTES);
	assert_int_equal(n.was_bytes, ARENA_BYTES);
	assert_int_equal(n.size_bytes, ARENA_BYTES);
	assert_int_equal(n.coming_bytes, 2 * ARENA_BYTES);
	assert_int_equal(size_of(&s), ARENA_BYTES);
	assert_int_equal(growth_coming_bytes(&s.growth, &ready_bytes), 2 * ARENA_BYTES);
	assert_true(await(&s));
	assert_int_equal(growth_coming_bytes(&s.growth, &ready_bytes), 0);
	assert_int_equal(device.reached, 1);
	assert_int_equal(size_of(&s), 3 * ARENA_BYTES);
	assert_int_equal(pool_max_alloc_bytes(&s.pool, 1ULL << NODE), 2 * ARENA_BYTES);
	fill(&s.pool, lend_there(&s), 'G');
	close_stage(&s);

	/* The next run has both segments, and the proof that what is free is zero. */
	open_stage(&s, *state, 3 * ARENA_BYTES);
	assert_int_equal(s.pool.unproven_bytes, 0);
	assert_int_equal(s.pool.segments[ADDR_MAX_NODES]->node, NODE);
	assert_free_is_zero(&s.pool);
	close_stage(&s);
}

/* A start with a larger --size: what is missing comes later. */
static void test_start_with_more(void **state)
{
	const struct sizes sizes = { 1, { { NODE, 2 * ARENA_BYTES } } };
	struct errinfo errinfo = { "" };
	struct stage s;

	open_stage(&s, *state, ARENA_BYTES);
	fill(&s.pool, lend(&s.pool, 5000), 'L');
	close_stage(&s);
	open_stage(&s, *state, 2 * ARENA_BYTES);
	assert_int_equal(size_of(&s), ARENA_BYTES);
	assert_int_equal(growth_begin(&s.growth, &sizes, &errinfo), 0);
	assert_true(await(&s));
	assert_int_equal(size_of(&s), 2 * ARENA_BYTES);
	assert_holds(&s.pool, 5000, 'L');
	assert_int_equal(growth_begin(&s.growth, &sizes, &errinfo), 0); /* nothing to do */
	assert_null(s.growth.jobs);
	close_stage(&s);
}

static void test_device_refuses(void **state)
{
	struct stage s;

	open_stage(&s, *state, ARENA_BYTES);
	device.err = -ENOMEM;
	must_resize(&s, 2 * ARENA_BYTES);
	assert_false(await(&s));
	assert_int_equal(device.left, 1);
	assert_string_equal(s.growth.failure.text, "the device says no");
	assert_int_equal(size_of(&s), ARENA_BYTES);
	assert_int_equal(stored_bytes(&s.data), ARENA_BYTES);
	/* Its number is free again, and what failed is forgotten. */
	device.err = 0;
	must_resize(&s, 2 * ARENA_BYTES);
	assert_true(await(&s));
	assert_string_equal(s.growth.failure.text, "");
	close_stage(&s);
}

static void test_limits(void **state)
{
	struct errinfo errinfo = { "" };
	struct growth_node n;
	struct stage s;

	open_stage(&s, *state, ARENA_BYTES);
	assert_int_equal(resize(&s, 1ULL << 41, &n, &errinfo), -ENOMEM);
	assert_non_null(strstr(errinfo.text, "use a smaller --size"));
	assert_int_equal(stored_bytes(&s.data), ARENA_BYTES);
	assert_int_equal(size_of(&s), ARENA_BYTES);
	close_stage(&s);
}

static void test_one_at_a_time_and_stopped(void **state)
{
	struct errinfo errinfo = { "" };
	struct growth_node n;
	struct stage s;

	open_stage(&s, *state, ARENA_BYTES);
	device.slow = true;
	must_resize(&s, 2 * ARENA_BYTES);
	assert_int_equal(resize(&s, 3 * ARENA_BYTES, &n, &errinfo), -EBUSY);
	while (!device.reached)
		;
	/* It serves meanwhile; and is told to stop. */
	fill(&s.pool, lend(&s.pool, 5000), 'L');
	sem_post(&device.may_go_on);
	growth_close(&s.growth);
	if (size_of(&s) == ARENA_BYTES) {
		assert_int_equal(device.left, 1);
		assert_int_equal(stored_bytes(&s.data), ARENA_BYTES);
	}
	pool_close(&s.pool);
	must_open(&s.pool, &s.data, stored_bytes(&s.data));
	assert_int_equal(s.pool.unproven_bytes, 0);
	assert_holds(&s.pool, 5000, 'L');
	pool_close(&s.pool);
}

/* ---- smaller ---- */

static void test_shrinks_when_empty(void **state)
{
	const struct allocation *a;
	struct growth_node n;
	struct stage s;

	open_stage(&s, *state, ARENA_BYTES);
	fill(&s.pool, lend(&s.pool, 5000), 'L');
	must_resize(&s, 3 * ARENA_BYTES);
	assert_true(await(&s));
	a = lend_there(&s);

	/* Not while something is lent there, or is not wiped. */
	n = must_resize(&s, ARENA_BYTES);
	assert_int_equal(n.size_bytes, 3 * ARENA_BYTES);
	assert_int_equal(n.in_the_way, ADDR_MAX_NODES);
	give_back(&s.pool, a);
	n = must_resize(&s, ARENA_BYTES);
	assert_int_equal(n.in_the_way, ADDR_MAX_NODES);
	pool_wipe_all(&s.pool);

	/* A segment is removed whole or not at all. */
	n = must_resize(&s, 2 * ARENA_BYTES);
	assert_int_equal(n.size_bytes, 3 * ARENA_BYTES);
	n = must_resize(&s, ARENA_BYTES);
	assert_int_equal(n.size_bytes, ARENA_BYTES);
	assert_int_equal(n.in_the_way, -1);
	assert_int_equal(size_of(&s), ARENA_BYTES);
	assert_null(pool_find_segment(&s.pool, addr_make(ADDR_MAX_NODES, 0)));
	assert_int_equal(stored_bytes(&s.data), ARENA_BYTES);
	assert_false(await(&s));
	assert_int_equal(device.left, 1);
	assert_int_equal(s.pool.rejected, 0);

	/* And larger again, under the number that is free again. */
	must_resize(&s, 2 * ARENA_BYTES);
	assert_true(await(&s));
	lend_there(&s);
	assert_holds(&s.pool, 5000, 'L');
	close_stage(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_grows_and_stays),
		IN_DIR(test_start_with_more),
		IN_DIR(test_device_refuses),
		IN_DIR(test_limits),
		IN_DIR(test_one_at_a_time_and_stopped),
		IN_DIR(test_shrinks_when_empty),
	};

	return cmocka_run_group_tests(tests, load_machine, forget_machine);
}
