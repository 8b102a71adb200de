/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd killed while it opens, uses or removes a pool: at every system call of a start, in each state that it
 * may find, and at random moments of lending, giving back and wiping. The next start lends no old byte, and
 * what was lent is still there.
 */
#include "tests/support/pools.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "server/memory/arena.h"

#define STOPS_MAX 3000 /* twice the system calls of a start; under sanitizers there are more */

/* ---- what is found, and what is done with it ---- */

static void leave_pool(const struct datadir *data)
{
	struct pool p;

	must_open(&p, data, ARENA_BYTES);
	fill(&p, lend(&p, 5000), 'L');
	fill(&p, lend(&p, 100), 'M');
	pool_close(&p);
}

static void leave_damage(const struct datadir *data)
{
	uint8_t one = 1;

	leave_pool(data);
	poke_file(DATADIR_LEDGER, 4096 + offsetof(struct allocation, unshared), &one, 1);
}

static void spoil_arena(void *arg, const struct arena_entry *entry)
{
	(void)arg;
	poke_file(entry->name, (off_t)ARENA_BYTES / 2, "old", 3);
}

/* Old bytes in what is free, and no proof of anything else. */
static void leave_unproven(const struct datadir *data)
{
	leave_pool(data);
	unlinkat(dir, DATADIR_POOL, 0);
	assert_int_equal(arena_scan(dir, spoil_arena, NULL), 0);
}

static void leave_empty(const struct datadir *data)
{
	struct pool p;

	must_open(&p, data, ARENA_BYTES);
	pool_close(&p);
}

/* In the victim: no assertion, its exit status tells. It stops where it may be killed from. */
static void start(const struct datadir *data)
{
	struct pool p;

	raise(SIGSTOP);
	if (try_open(&p, data, ARENA_BYTES, NULL) != 0)
		_exit(1);
	pool_settle(&p);
}

static void start_in_vain(const struct datadir *data)
{
	struct pool p;

	if (try_open(&p, data, ARENA_BYTES, NULL) != 0)
		_exit(1);
	raise(SIGSTOP);
	pool_undo(&p, data);
}

static void start_and_remove(const struct datadir *data)
{
	struct pool p;

	if (try_open(&p, data, ARENA_BYTES, NULL) != 0)
		_exit(1);
	raise(SIGSTOP);
	datadir_remove_files(data, p.id, false);
}

/* As growth.c does it. */
static void start_and_grow(const struct datadir *data)
{
	struct arena_config config = { .data_dir = dir,
		.node = topology_at(machine, 0)->node,
		.bytes = ARENA_BYTES / 2,
		.topology = machine };
	struct progress progress = { .total_bytes = ARENA_BYTES / 2 };
	struct errinfo errinfo = { "" };
	const struct allocation *a;
	struct segment *s;
	struct pool p;

	if (try_open(&p, data, ARENA_BYTES, NULL) != 0)
		_exit(1);
	while (try_lend(&p, 65536, &a) == 0)
		;
	raise(SIGSTOP);
	if (pool_make_segment(&p, &config, &s, &errinfo) != 0 ||
		segment_populate(s, machine, &progress, &errinfo) != 0 ||
		pool_prove_segment(&p, s) != 0 || pool_add_segment(&p, s, machine, &errinfo) != 0)
		_exit(2);
	if (try_lend(&p, 70000, &a) != 0 || pool_find_segment(&p, a->addr) != s)
		_exit(3);
	fill(&p, a, 'G');
}

/* An empty segment beside the first. */
static void leave_grown(const struct datadir *data)
{
	struct arena_config config = { .data_dir = dir,
		.node = topology_at(machine, 0)->node,
		.bytes = ARENA_BYTES / 2,
		.topology = machine };
	struct progress progress = { .total_bytes = ARENA_BYTES / 2 };
	struct errinfo errinfo = { "" };
	struct segment *s;
	struct pool p;

	leave_pool(data);
	must_open(&p, data, ARENA_BYTES);
	assert_int_equal(pool_make_segment(&p, &config, &s, &errinfo), 0);
	assert_int_equal(segment_populate(s, machine, &progress, &errinfo), 0);
	assert_int_equal(pool_prove_segment(&p, s), 0);
	assert_int_equal(pool_add_segment(&p, s, machine, &errinfo), 0);
	pool_close(&p);
}

static void start_and_shrink(const struct datadir *data)
{
	struct segment *s;
	struct pool p;

	if (try_open(&p, data, ARENA_BYTES + ARENA_BYTES / 2, NULL) != 0)
		_exit(1);
	s = p.segments[ADDR_MAX_NODES];
	raise(SIGSTOP);
	if (!s)
		_exit(2);
	pool_drop_segment(&p, data, s->number, s->node);
	segment_close(s);
}

/* ---- at every system call ---- */

/* How far a victim gets: killed at that stop (true), or it ended before. */
static bool kill_at_stop(
	const struct datadir *data, void (*act)(const struct datadir *data), unsigned stop)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(77);
		act(data);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* tracing is forbidden here */
	for (unsigned i = 0; i < stop && WIFSTOPPED(status); i++) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status)) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return true;
}

struct scenario {
	void (*leave)(const struct datadir *data); /* NULL: nothing */
	void (*act)(const struct datadir *data);
	bool holds[2]; /* the blocks of leave_pool() must still be there */
};

static void kill_everywhere(const struct datadir *data, const struct scenario *s)
{
	/* Of the two that each system call makes one is enough; with the sanitizer, which starts slowly, every fifth of these. */
#ifdef __SANITIZE_ADDRESS__
	const unsigned stride = 10;
#else
	const unsigned stride = 2;
#endif
	unsigned stop = 1, kills = 0;
	bool killed = true;

	if (getenv("RMEM_TEST_VALGRIND"))
		skip(); /* the system calls would be valgrind's own */
	for (; killed && stop < STOPS_MAX; stop += stride, kills++) {
		struct pool p;
		uint64_t bytes;

		if (s->leave)
			s->leave(data);
		killed = kill_at_stop(data, s->act, stop);
		bytes = stored_bytes(data);
		must_open(&p, data, bytes > ARENA_BYTES ? bytes : ARENA_BYTES);
		if (s->holds[0])
			assert_holds(&p, 5000, 'L');
		if (s->holds[1])
			assert_holds(&p, 100, 'M');
		assert_free_is_zero(&p);
		datadir_remove_files(data, p.id, false);
		pool_close(&p);
	}
	printf("killed at %u places\n", kills);
	assert_false(killed);
	assert_true(stop > 10);
}

static void test_new_pool(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ NULL, start, { false, false } });
}

static void test_known_pool(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ leave_pool, start, { true, true } });
}

static void test_damaged_pool(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ leave_damage, start, { false, true } });
}

static void test_unproven_pool(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ leave_unproven, start, { true, true } });
}

static void test_start_in_vain(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ NULL, start_in_vain, { false, false } });
}

static void test_removal(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(
		&data, &(struct scenario){ leave_empty, start_and_remove, { false, false } });
}

static void test_growth(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ leave_pool, start_and_grow, { true, true } });
}

static void test_shrinking(void **state)
{
	struct datadir data = data_of(dir, *state);

	kill_everywhere(&data, &(struct scenario){ leave_grown, start_and_shrink, { true, true } });
}

/* ---- at random ---- */

#define ROUNDS 60
#define HELD_MAX 32

static volatile uint64_t *steps; /* of the victim; shared, so it survives it */
static uint64_t seed = 0x9e3779b97f4a7c15ULL;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void use_pool(const struct datadir *data)
{
	const struct allocation *held[HELD_MAX], *a;
	struct pool p;
	unsigned n = 0;

	if (try_open(&p, data, ARENA_BYTES, NULL) != 0)
		_exit(2);
	for (;; (*steps)++) {
		if (n < HELD_MAX && rnd(2) == 0 && try_lend(&p, 1 + rnd(40000), &a) == 0) {
			fill(&p, a, 'O');
			held[n++] = a;
		} else if (n > 0) {
			unsigned i = (unsigned)rnd(n);

			ledger_set_state(p.ledger, held[i], ALLOCATION_REVOKING);
			pool_quarantine(&p, held[i]);
			held[i] = held[--n];
		}
		pool_wipe(&p);
	}
}

static void check_and_empty(const struct datadir *data)
{
	const struct allocation *a;
	uint32_t cursor = 0;
	uint64_t listed = 0;
	struct pool p;

	must_open(&p, data, ARENA_BYTES);
	assert_int_equal(p.unproven_bytes, 0); /* what is free was never in doubt */
	while ((a = ledger_next(p.ledger, &cursor)) != NULL)
		listed += allocation_block_bytes(a);
	assert_int_equal(listed + buddy_free_bytes(first_segment(&p)->buddy), ARENA_BYTES);
	assert_free_is_zero(&p);
	for (cursor = 0; (a = ledger_next(p.ledger, &cursor)) != NULL;) {
		if (a->state == ALLOCATION_LIVE)
			give_back(&p, a);
	}
	pool_wipe_all(&p);
	assert_int_equal(ledger_count(p.ledger), 0);
	assert_free_is_zero(&p);
	cursor = 0;
	while ((a = ledger_next(p.ledger, &cursor)) != NULL)
		give_back(&p, a);
	pool_wipe_all(&p);
	pool_close(&p);
}

static void test_killed_while_lending(void **state)
{
	struct datadir data = data_of(dir, *state);

	steps = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(steps != MAP_FAILED);
	leave_empty(&data);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t until = *steps + 1 + rnd(100), spins = rnd(20000);
		int status;
		pid_t pid;

		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			use_pool(&data);
		while (*steps < until && waitpid(pid, &status, WNOHANG) == 0)
			;
		while (spins-- > 0)
			__asm__ volatile("");
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		check_and_empty(&data);
	}
	printf("%llu steps\n", (unsigned long long)*steps);
	munmap((void *)steps, 4096);
	leave_nothing(&data, ARENA_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_new_pool),
		IN_DIR(test_known_pool),
		IN_DIR(test_damaged_pool),
		IN_DIR(test_unproven_pool),
		IN_DIR(test_start_in_vain),
		IN_DIR(test_removal),
		IN_DIR(test_growth),
		IN_DIR(test_shrinking),
		IN_DIR(test_killed_while_lending),
	};

	return cmocka_run_group_tests(tests, load_machine, forget_machine);
}
