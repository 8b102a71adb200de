/* SPDX-License-Identifier: BSD-3-Clause */
/* What is kept of a session's events for the program, and when the descriptor is readable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/control/session.h"
#include "common/addr.h"
#include "common/clock.h"
#include "common/thread.h"

#define THREADS 4
#define EACH 5000U

static struct events events;

static int begin(void **state)
{
	(void)state;
	memset(&events, 0, sizeof(events));
	events_init(&events);
	return 0;
}

static int end(void **state)
{
	(void)state;
	events_destroy(&events);
	return 0;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static int descriptor(void)
{
	struct errinfo errinfo;
	int fd = -1;

	assert_int_equal(events_descriptor(&events, &fd, &errinfo), 0);
	assert_true(fd >= 0);
	return fd;
}

static void expect(enum rmem_event_kind kind, uint64_t addr, uint32_t lost)
{
	struct rmem_event e;

	assert_true(events_take(&events, &e));
	assert_int_equal(e.size, sizeof(e));
	assert_int_equal(e.kind, kind);
	assert_int_equal(e.addr, addr);
	assert_int_equal(e.serial, addr);
	assert_int_equal(e.lost, lost);
}

static void expect_none(void)
{
	struct rmem_event e = { .kind = 77 };

	assert_false(events_take(&events, &e));
	assert_int_equal(e.kind, 77);
}

static void test_order(void **state)
{
	const uint64_t before = clock_boot_ns();
	struct rmem_event e;

	(void)state;
	expect_none();
	events_add(&events, RMEM_EVENT_REVOKED, 5, 5);
	events_add(&events, RMEM_EVENT_RECLAIMED, 0, 0);
	assert_true(events_take(&events, &e));
	assert_int_equal(e.addr, 5);
	assert_true(e.time_ns >= before && e.time_ns <= clock_boot_ns());
	expect(RMEM_EVENT_RECLAIMED, 0, 0);
	expect_none();
}

/* Each begins once, and all end together. */
static void test_troubles(void **state)
{
	(void)state;
	events_end(&events);
	expect_none();
	for (int i = 0; i < 3; i++) {
		events_begin(&events, RMEM_EVENT_GONE);
		events_begin(&events, RMEM_EVENT_LATE);
	}
	events_end(&events);
	events_end(&events);
	events_begin(&events, RMEM_EVENT_GONE);
	expect(RMEM_EVENT_GONE, 0, 0);
	expect(RMEM_EVENT_LATE, 0, 0);
	expect(RMEM_EVENT_CONNECTED, 0, 0);
	expect(RMEM_EVENT_GONE, 0, 0);
	expect_none();
}

static void test_full(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < EVENTS_MAX + 10; i++)
			events_add(&events, RMEM_EVENT_REVOKED, i, i);
		expect(RMEM_EVENT_REVOKED, 10, 10);
		events_add(&events, RMEM_EVENT_REVOKED, 7, 7);
		for (uint64_t i = 11; i < EVENTS_MAX + 10; i++)
			expect(RMEM_EVENT_REVOKED, i, 0);
		expect(RMEM_EVENT_REVOKED, 7, 0);
		expect_none();
	}
}

static void test_descriptor(void **state)
{
	uint64_t n;
	int fd;

	(void)state;
	events_add(&events, RMEM_EVENT_REVOKED, 1, 1);
	fd = descriptor();
	assert_int_equal(descriptor(), fd);
	assert_true(readable(fd));
	events_add(&events, RMEM_EVENT_REVOKED, 2, 2);
	expect(RMEM_EVENT_REVOKED, 1, 0);
	assert_true(readable(fd));
	expect(RMEM_EVENT_REVOKED, 2, 0);
	assert_false(readable(fd));
	for (uint64_t i = 0; i < 3 * EVENTS_MAX; i++)
		events_add(&events, RMEM_EVENT_REVOKED, i, i);
	assert_true(readable(fd));
	for (uint64_t i = 2 * EVENTS_MAX; i < 3 * EVENTS_MAX; i++)
		expect(RMEM_EVENT_REVOKED, i, i == 2 * EVENTS_MAX ? 2 * EVENTS_MAX : 0);
	assert_false(readable(fd));
	expect_none();
	assert_int_equal(read(fd, &n, sizeof(n)), -1);
}

static void test_no_descriptor(void **state)
{
	struct rlimit limit, none;
	struct errinfo errinfo = { "" };
	int fd = 77, rc;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = events_descriptor(&events, &fd, &errinfo);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(fd, 77);
	assert_non_null(strstr(errinfo.text, "eventfd"));
	events_add(&events, RMEM_EVENT_REVOKED, 1, 1);
	assert_true(readable(descriptor()));
}

static void *add_many(void *arg)
{
	for (unsigned i = 0; i < EACH; i++)
		events_add(&events, RMEM_EVENT_REVOKED, (uintptr_t)arg, i);
	return NULL;
}

/* Each is taken or counted as lost; of one thread they come in order. */
static void test_threads(void **state)
{
	uint64_t taken = 0, lost = 0, next[THREADS] = { 0 };
	const int fd = descriptor();
	struct errinfo errinfo;
	pthread_t threads[THREADS];
	struct rmem_event e;

	(void)state;
	for (uintptr_t t = 0; t < THREADS; t++)
		assert_int_equal(
			thread_start(&threads[t], "add", add_many, (void *)t, &errinfo), 0);
	while (taken + lost < (uint64_t)THREADS * EACH) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 60000), 1);
		if (!events_take(&events, &e))
			continue;
		assert_true(e.serial < THREADS && e.addr >= next[e.serial]);
		next[e.serial] = e.addr + 1;
		taken++;
		lost += e.lost;
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	expect_none();
	assert_false(readable(fd));
}

/* ---- what makes them, of a session that has no connection ---- */

#define TTL_MS 60000

static struct session session;
static struct vitals vitals;

static int begin_session(void **state)
{
	(void)state;
	memset(&session, 0, sizeof(session));
	memset(&vitals, 0, sizeof(vitals));
	events_init(&session.events);
	session.vitals = &vitals;
	atomic_store(&vitals.ttl_ms, TTL_MS);
	session.heap = heap_create();
	return session.heap ? blocks_init(&session.blocks, session.heap, NULL) : -1;
}

static int end_session(void **state)
{
	(void)state;
	events_destroy(&session.events);
	heap_destroy(session.heap);
	return 0;
}

static void expect_of_session(enum rmem_event_kind kind)
{
	struct rmem_event e;

	assert_true(events_take(&session.events, &e));
	assert_int_equal(e.kind, kind);
}

static void expect_quiet(void)
{
	assert_int_equal(session.events.count, 0);
}

/* So much of it is left. */
static uint64_t set_lease(int64_t left_ms)
{
	const uint64_t until = clock_boot_ns() + (uint64_t)(left_ms * (int64_t)NSEC_PER_MSEC);

	atomic_store(&vitals.lease_ns, until);
	return until;
}

static void test_lease(void **state)
{
	uint64_t until, sent;

	(void)state;
	assert_int_equal(session_judge(&session, 77), 77); /* there has been none */
	sent = clock_boot_ns();
	session_lease_extend(&session, sent);
	assert_true(session_judge(&session, UINT64_MAX) == sent + TTL_MS / 2 * NSEC_PER_MSEC);
	assert_int_equal(session_judge(&session, sent + 1), sent + 1);
	expect_quiet();
	until = set_lease(TTL_MS / 3);
	assert_true(session_judge(&session, UINT64_MAX) == until);
	(void)session_judge(&session, UINT64_MAX);
	expect_of_session(RMEM_EVENT_LATE);
	expect_quiet();
	session_lease_extend(&session, clock_boot_ns());
	expect_of_session(RMEM_EVENT_CONNECTED);
	set_lease(-1);
	assert_true(session_judge(&session, UINT64_MAX) == UINT64_MAX);
	expect_of_session(RMEM_EVENT_EXPIRED);
	/* An answer to what was sent long ago does not make it good. */
	session_lease_extend(&session, clock_boot_ns() - TTL_MS * NSEC_PER_MSEC);
	expect_quiet();
	session_lease_extend(&session, clock_boot_ns());
	expect_of_session(RMEM_EVENT_CONNECTED);
	expect_quiet();
}

/* It is made good before anybody has looked. */
static void test_lease_unseen(void **state)
{
	(void)state;
	set_lease(-1);
	session_lease_extend(&session, clock_boot_ns());
	expect_of_session(RMEM_EVENT_EXPIRED);
	expect_of_session(RMEM_EVENT_CONNECTED);
	expect_quiet();
}

static uint64_t add_block(unsigned page)
{
	const uint64_t addr = addr_make(0, (uint64_t)page << 12);

	assert_int_equal(blocks_reserve(&session.blocks), 0);
	assert_int_equal(blocks_add(&session.blocks,
				 &(struct block){ .addr = addr, .bytes = 4096, .id = page + 1 }),
		0);
	return addr;
}

static void test_gone_blocks(void **state)
{
	const uint64_t first = add_block(0);
	struct rmem_event e;

	(void)state;
	for (unsigned i = 1; i < 4; i++)
		add_block(i);
	for (unsigned i = 0; i < 2; i++)
		session_revoke(&session, blocks_find(&session.blocks, first));
	assert_true(events_take(&session.events, &e));
	assert_int_equal(e.kind, RMEM_EVENT_REVOKED);
	assert_true(e.addr == first);
	assert_int_equal(e.serial, 1);
	/* One is lost already, one is being freed. */
	blocks_set_state(
		&session.blocks, blocks_find(&session.blocks, first + 4096), BLOCK_FREEING);
	session_displace(&session, first, 3 * 4096);
	assert_true(events_take(&session.events, &e));
	assert_true(e.addr == first + 2 * 4096);
	assert_int_equal(e.serial, 3);
	expect_quiet();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			blocks_find(&session.blocks, first + i * 4096)->state, BLOCK_STALE);
	assert_int_equal(blocks_find(&session.blocks, first + 3 * 4096)->state, BLOCK_LIVE);
}

#define OF_SESSION(f) cmocka_unit_test_setup_teardown(f, begin_session, end_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, begin, end),
		cmocka_unit_test_setup_teardown(test_troubles, begin, end),
		cmocka_unit_test_setup_teardown(test_full, begin, end),
		cmocka_unit_test_setup_teardown(test_descriptor, begin, end),
		cmocka_unit_test_setup_teardown(test_no_descriptor, begin, end),
		cmocka_unit_test_setup_teardown(test_threads, begin, end),
		OF_SESSION(test_lease),
		OF_SESSION(test_lease_unseen),
		OF_SESSION(test_gone_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
