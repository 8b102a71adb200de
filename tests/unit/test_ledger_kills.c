/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger's file after a kill: at every single instruction of a few calls (by stepping), and at random
 * moments of many.
 */
#include "tests/support/drafts.h"
#include "tests/support/rounds.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* ---- the victim ---- */

/* What the victim was about to do, and what it has done: shared, so it survives the victim. */
struct journal {
	volatile uint64_t done;    /* finished operations */
	volatile uint64_t started; /* the one at work if it is done + 1 */
	struct model model;        /* after the last finished operation */
	struct allocation
		subject; /* of the one at work: added (serial not known), unshared or ended */
	bool changes;    /* the one at work changes the subject: it is there before and after */
	uint32_t heir;   /* ... and it may be that session's */
	struct ledger_seal seal; /* as rmemd keeps it in another file */
	volatile unsigned torn;  /* index + 1 of the model's entry that is being overwritten */
};

/* Write an entry of the model anew; while that goes on it is told apart. */
static void overwrite(struct journal *j, unsigned i, const struct allocation *a)
{
	__atomic_store_n(&j->torn, i + 1, __ATOMIC_SEQ_CST);
	j->model.live[i] = *a;
	__atomic_store_n(&j->torn, 0, __ATOMIC_SEQ_CST);
}

static void victim_unshares(struct journal *j, struct ledger *l)
{
	const unsigned i = (unsigned)rnd(j->model.n);
	const struct allocation *a = ledger_find(l, j->model.live[i].addr);

	j->subject = j->model.live[i];
	__atomic_store_n(&j->started, j->started + 1, __ATOMIC_SEQ_CST);
	if (ledger_unshare(l, a) != 0 || a->unshared != j->subject.unshared + 1)
		_exit(6);
	overwrite(j, i, a);
	__atomic_store_n(&j->done, j->done + 1, __ATOMIC_SEQ_CST);
}

static void victim_hands_over(struct journal *j, struct ledger *l)
{
	const unsigned i = (unsigned)rnd(j->model.n);
	const struct allocation *a = ledger_find(l, j->model.live[i].addr);

	j->subject = j->model.live[i];
	j->heir = (uint32_t)rnd(4);
	__atomic_store_n(&j->changes, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&j->started, j->started + 1, __ATOMIC_SEQ_CST);
	if (ledger_hand_over(l, a, j->heir, j->heir + 100, 77, &a) != 0 || a->session != j->heir ||
		ledger_find(l, j->subject.addr) != a)
		_exit(7);
	j->model.last_serial = a->serial;
	overwrite(j, i, a);
	__atomic_store_n(&j->done, j->done + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&j->changes, false, __ATOMIC_SEQ_CST);
}

static void victim_step(struct journal *j, struct ledger *l, struct buddy *b)
{
	const struct allocation *a;
	struct model *m = &j->model;
	uint64_t offset, bytes = 1 + rnd(4096ULL << rnd(4));
	bool add = m->n == 0 || (m->n < MAX / 2 && rnd(2) == 0);
	unsigned i = m->n ? (unsigned)rnd(m->n) : 0;

	if (m->n && rnd(4) == 0) {
		victim_unshares(j, l);
		return;
	}
	if (m->n && rnd(3) == 0) {
		victim_hands_over(j, l);
		return;
	}
	if (add && buddy_alloc(b, bytes, &offset) != 0)
		return;
	j->subject = add ? draft(offset, bytes, (uint32_t)rnd(4)) : m->live[i];
	__atomic_store_n(&j->started, j->started + 1, __ATOMIC_SEQ_CST);
	if (add) {
		if (ledger_add(l, &j->subject, &a) != 0)
			_exit(3);
		m->last_serial = a->serial;
		m->live[m->n] = *a;
		__atomic_store_n(&m->n, m->n + 1, __ATOMIC_SEQ_CST);
	} else {
		if (end_record(l, ledger_find(l, j->subject.addr)) != 0)
			_exit(4);
		/* First the record, then the block: as the server does. */
		if (buddy_free(b, addr_offset(j->subject.addr),
			    allocation_block_bytes(&j->subject)) != 0)
			_exit(5);
		overwrite(j, i, &m->live[m->n - 1]);
		__atomic_store_n(&m->n, m->n - 1, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&j->done, j->done + 1, __ATOMIC_SEQ_CST);
}

static void run_victim(struct journal *j)
{
	struct ledger *l;
	struct buddy *b;
	const struct allocation *a;
	uint32_t cursor = 0;

	if (ledger_open(&l, dir, NAME, MAX) != 0 || buddy_create(ARENA, &b) != 0)
		_exit(1);
	ledger_keep_seal(l, &j->seal);
	while ((a = ledger_next(l, &cursor)) != NULL) {
		if (buddy_reserve(b, addr_offset(a->addr), allocation_block_bytes(a)) != 0)
			_exit(2);
	}
	for (;;)
		victim_step(j, l, b);
}

/* ---- what is found ---- */

/* Is this record one that must be there, or the one the victim was at? */
static bool is_subject(const struct journal *j, const struct allocation *a)
{
	const bool is_heirs = j->changes && a->session == j->heir &&
			      a->session_serial == j->heir + 100 && a->seq == 77;

	return j->started > j->done && a->addr == j->subject.addr && a->bytes == j->subject.bytes &&
	       (is_heirs || (a->session == j->subject.session &&
				    a->session_serial == j->subject.session_serial &&
				    a->seq == j->subject.seq)) &&
	       a->site == j->subject.site && a->size_class == j->subject.size_class &&
	       a->serial != 0;
}

/* Entry i of the model, unless the kill has left it half written: it was the subject's. */
static const struct allocation *model_entry(const struct journal *j, unsigned i)
{
	return i + 1 == j->torn ? NULL : &j->model.live[i];
}

static const struct allocation *model_exact(const struct journal *j, const struct allocation *a)
{
	for (unsigned i = 0; i < j->model.n; i++) {
		const struct allocation *entry = model_entry(j, i);

		if (entry && entry->addr == a->addr && entry->serial == a->serial)
			return entry;
	}
	return NULL;
}

static void check_after_kill(const struct journal *j, struct ledger *l, struct buddy **out)
{
	const struct allocation *a;
	uint32_t cursor = 0;
	struct buddy *b;

	assert_int_equal(ledger_rejected(l), 0);
	assert_true(ledger_matches(l, &j->seal));
	assert_int_equal(buddy_create(ARENA, &b), 0);
	while ((a = ledger_next(l, &cursor)) != NULL) {
		const struct allocation *want = model_exact(j, a);

		/* Nothing is there twice, and nothing that was free or half-written. */
		assert_int_equal(
			buddy_reserve(b, addr_offset(a->addr), allocation_block_bytes(a)), 0);
		if (is_subject(j, a))
			continue;
		assert_non_null(want);
		assert_memory_equal(a, want, sizeof(*a));
	} /* What changes hands is somebody's at each instant, and the same allocation. */
	if (j->changes && j->started > j->done) {
		a = ledger_find(l, j->subject.addr);
		assert_non_null(a);
		assert_true(a->serial == j->subject.serial || a->session == j->heir);
	}
	/* And everything that was published before is there. */
	for (unsigned i = 0; i < j->model.n; i++) {
		const struct allocation *want = model_entry(j, i);

		if (!want || (j->started > j->done && want->addr == j->subject.addr))
			continue;
		a = ledger_find(l, want->addr);
		assert_non_null(a);
		assert_int_equal(a->serial, want->serial);
	}
	*out = b;
}

static void settle(struct journal *j, struct ledger *l)
{
	const struct allocation *a;
	uint32_t cursor = 0;
	ledger_drop_rejected(l);
	/* A record that was being ended may be on its way: finish it, as a new rmemd does. */
	while ((a = ledger_next(l, &cursor)) != NULL) {
		if (a->state != ALLOCATION_LIVE)
			assert_int_equal(end_record(l, a), 0);
	}
	j->model.n = 0;
	for (cursor = 0; (a = ledger_next(l, &cursor)) != NULL;)
		j->model.live[j->model.n++] = *a;
	j->started = j->done;
	j->changes = false;
	j->torn = 0;
}

/* ---- at random ---- */

static void test_killed_at_random(void **state)
{
	struct journal *j =
		mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t last_serial = 0;
	unsigned busy = 0;

	(void)state;
	assert_true(j != MAP_FAILED);
	for (unsigned round = 0; round < rounds(100); round++) {
		uint64_t until = j->done + 1 + rnd(200), spins = rnd(3000);
		struct ledger *l;
		struct buddy *b;
		int status;
		pid_t pid;

		rnd(2);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			run_victim(j);
		while (j->done < until && waitpid(pid, &status, WNOHANG) == 0)
			;
		while (spins-- > 0)
			__asm__ volatile("");
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		busy += j->started > j->done;
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		check_after_kill(j, l, &b);
		settle(j, l);
		assert_true(j->model.last_serial >= last_serial);
		last_serial = j->model.last_serial;
		buddy_destroy(b);
		ledger_close(l);
	}
	printf("%llu operations, killed inside one %u times of %u\n", (unsigned long long)j->done,
		busy, rounds(100));
	assert_true(busy > 0);
	munmap(j, sizeof(*j));
}

/* ---- at every instruction ---- */

/*
 * Under valgrind every step is one of valgrind's own instructions, a hundred for one: such a run is
 * given up. (Otherwise 10 000 are enough, or 90 000 with sanitizers.)
 */
#define STEPS_MAX 120000

/* The operations whose every instruction is a moment to be killed at. */
static void stepped_victim(struct journal *j)
{
	struct ledger *l;
	struct buddy *b;

	if (ledger_open(&l, dir, NAME, MAX) != 0 || buddy_create(ARENA, &b) != 0)
		_exit(1);
	ledger_keep_seal(l, &j->seal);
	for (unsigned i = 0; i < 12; i++)
		victim_step(j, l, b);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	raise(SIGSTOP);
	for (unsigned i = 0; i < 8; i++)
		victim_step(j, l, b);
	_exit(0);
}

/* The file as it is at this instruction, opened as a new rmemd would. */
static void check_image(const struct journal *j, const uint8_t *image, size_t size)
{
	int fd = openat(dir, "copy", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct ledger *l;
	struct buddy *b;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image, size), (ssize_t)size);
	close(fd);
	assert_int_equal(ledger_open(&l, dir, "copy", MAX), 0);
	check_after_kill(j, l, &b);
	buddy_destroy(b);
	ledger_close(l);
}

static void test_killed_at_every_instruction(void **state)
{
	static uint8_t image[4096 + MAX * 64], last[sizeof(image)];
	struct journal *j =
		mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ledger_seal seal = { 0 };
	unsigned steps = 0, images = 0;
	int status, fd;
	pid_t pid;

	(void)state;
	assert_true(j != MAP_FAILED);
	if (getenv("RMEM_TEST_VALGRIND"))
		skip(); /* the instructions would be valgrind's own */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		stepped_victim(j);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* tracing is forbidden here */
	assert_true(WIFSTOPPED(status));
	fd = open_file(NAME);
	while (WIFSTOPPED(status) && steps < STEPS_MAX) {
		assert_int_equal(pread(fd, image, sizeof(image), 0), sizeof(image));
		if (memcmp(image, last, sizeof(image)) != 0 ||
			memcmp(&j->seal, &seal, sizeof(seal)) != 0) {
			check_image(j, image, sizeof(image));
			memcpy(last, image, sizeof(image));
			seal = j->seal;
			images++;
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		steps++;
	}
	close(fd);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		skip();
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("%u instructions, %u different files\n", steps, images);
	assert_true(images > 20);
	munmap(j, sizeof(*j));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_killed_at_random),
		IN_DIR(test_killed_at_every_instruction),
	};

	return run_with_seed("ledger_kills", tests, sizeof(tests) / sizeof(tests[0]));
}
