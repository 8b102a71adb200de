/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger: lookups against a naive model, files full of garbage, and kills: at every single
 * instruction of a few calls (by stepping), and at random moments of many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/units.h"
#include "core/buddy.h"
#include "core/ledger.h"
#include "core/sessions.h"
#include "core/sites.h"

#define NAME "ledger"
#define MAX 256

static uint64_t seed;
static int dir = -1;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static int make_dir(void **state)
{
	char path[] = "/dev/shm/rmem-test-ledger-XXXXXX";

	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = strdup(path);
	return dir < 0 || !*state ? -1 : 0;
}

static int remove_dir(void **state)
{
	unlinkat(dir, NAME, 0);
	unlinkat(dir, "copy", 0);
	close(dir);
	rmdir(*state);
	free(*state);
	return 0;
}

static struct allocation draft(uint64_t offset, uint64_t bytes, uint32_t session)
{
	struct allocation a;

	memset(&a, 0, sizeof(a));
	a.addr = addr_make(1, 0, offset);
	a.bytes = bytes;
	a.order = (uint8_t)__builtin_ctzll(buddy_block_bytes(bytes));
	a.session = session;
	a.session_serial = session + 1000;
	a.birth_ns = 77;
	a.site = 3;
	a.seq = 9;
	return a;
}

static int end_record(struct ledger *l, const struct allocation *a)
{
	int err = 0;

	if (a->state == ALLOCATION_LIVE)
		err |= ledger_set_state(l, a, ALLOCATION_REVOKING);
	if (a->state == ALLOCATION_REVOKING)
		err |= ledger_set_state(l, a, ALLOCATION_QUARANTINE);
	return err | ledger_set_state(l, a, ALLOCATION_FREE);
}

static void test_moves(void **state)
{
	static const enum allocation_state path_to[][3] = {
		[ALLOCATION_LIVE] = { ALLOCATION_FREE },
		[ALLOCATION_REVOKING] = { ALLOCATION_REVOKING, ALLOCATION_FREE },
		[ALLOCATION_QUARANTINE] = { ALLOCATION_REVOKING, ALLOCATION_QUARANTINE },
		[ALLOCATION_ZOMBIE] = { ALLOCATION_REVOKING, ALLOCATION_ZOMBIE },
	};
	static const bool allowed[5][5] = {
		[ALLOCATION_LIVE][ALLOCATION_REVOKING] = true,
		[ALLOCATION_REVOKING][ALLOCATION_QUARANTINE] = true,
		[ALLOCATION_REVOKING][ALLOCATION_ZOMBIE] = true,
		[ALLOCATION_QUARANTINE][ALLOCATION_FREE] = true,
		[ALLOCATION_ZOMBIE][ALLOCATION_QUARANTINE] = true,
	};

	(void)state;
	for (uint32_t from = ALLOCATION_LIVE; from <= ALLOCATION_ZOMBIE; from++) {
		for (uint32_t to = 0; to <= ALLOCATION_ZOMBIE + 1; to++) {
			struct allocation d = draft(0, 100, 1);
			const struct allocation *a;
			struct ledger *l;
			bool ok = to <= ALLOCATION_ZOMBIE && allowed[from][to];

			unlinkat(dir, NAME, 0);
			assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
			assert_int_equal(ledger_add(l, &d, &a), 0);
			for (unsigned i = 0; i < 3 && path_to[from][i] != ALLOCATION_FREE; i++)
				assert_int_equal(ledger_set_state(l, a, path_to[from][i]), 0);
			assert_int_equal(a->state, from);
			assert_int_equal(ledger_set_state(l, a, (enum allocation_state)to),
				ok ? 0 : -EINVAL);
			assert_int_equal(a->state, ok ? to : from);
			ledger_close(l);
		}
	}
}

static void test_refusals(void **state)
{
	struct allocation d = draft(8192, 8192, 1), bad, foreign = d;
	const struct allocation *a = NULL, *b = NULL;
	struct ledger *l = NULL;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, 0), -EINVAL);
	assert_int_equal(ledger_open(&l, dir, NAME, UINT32_MAX), -EINVAL);
	assert_null(l);
	assert_int_equal(ledger_open(&l, dir, NAME, 2), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	assert_int_equal(a->serial, 1);
	assert_int_equal(ledger_add(l, &d, &b), -EEXIST);
	bad = draft(12288, 4096, 1);
	assert_int_equal(ledger_add(l, &bad, &b), -EEXIST);
#define REFUSED(field, value) \
	do { \
		bad = draft(0, 4096, 1); \
		bad.field = (value); \
		assert_int_equal(ledger_add(l, &bad, &b), -EINVAL); \
	} while (0)
	REFUSED(bytes, 0);
	REFUSED(bytes, 4097);
	REFUSED(order, 11);
	REFUSED(order, 32);
	REFUSED(order, 200);
	REFUSED(session, SESSIONS_MAX);
	REFUSED(session_serial, 0);
	REFUSED(site, SITES_MAX);
	REFUSED(addr, 4096);
	REFUSED(addr, addr_make(1, 0, 4096) + 1);
#undef REFUSED
	assert_null(b);
	bad = draft(0, 4096, 1);
	assert_int_equal(ledger_add(l, &bad, &b), 0);
	bad = draft(65536, 4096, 1);
	assert_int_equal(ledger_add(l, &bad, &b), -ENOSPC);
	assert_int_equal(ledger_set_state(l, &foreign, ALLOCATION_REVOKING), -EINVAL);
	assert_int_equal(end_record(l, a), 0);
	assert_int_equal(ledger_set_state(l, a, ALLOCATION_REVOKING), -EINVAL);
	assert_null(ledger_find(l, d.addr));
	assert_null(ledger_at(l, ledger_slot(l, a)));
	assert_null(ledger_at(l, 2));
	assert_null(ledger_at(l, UINT32_MAX));
	assert_null(ledger_next_of_session(l, SESSIONS_MAX, NULL));
	assert_int_equal(ledger_session_count(l, UINT32_MAX), 0);
	assert_int_equal(ledger_max(l), 2);
	ledger_close(l);
	ledger_close(NULL);
}

/* ---- against a model ---- */

#define ARENA (4 * MIB)
#define MODEL_SESSIONS 5

struct model {
	struct allocation live[MAX];
	unsigned n;
	uint64_t last_serial;
};

static const struct allocation *model_at(const struct model *m, uint64_t addr)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (addr >= m->live[i].addr &&
			addr - m->live[i].addr < allocation_block_bytes(&m->live[i]))
			return &m->live[i];
	}
	return NULL;
}

static void check_sessions(const struct ledger *l, const struct model *m)
{
	for (uint32_t s = 0; s < MODEL_SESSIONS; s++) {
		uint64_t bytes = 0, last = UINT64_MAX;
		uint32_t count = 0, listed = 0;

		for (unsigned i = 0; i < m->n; i++) {
			if (m->live[i].session == s) {
				count++;
				bytes += allocation_block_bytes(&m->live[i]);
			}
		}
		assert_int_equal(ledger_session_count(l, s), count);
		assert_int_equal(ledger_session_bytes(l, s), bytes);
		for (const struct allocation *a = NULL;
			(a = ledger_next_of_session(l, s, a)) != NULL; listed++) {
			assert_int_equal(a->session, s);
			assert_true(a->serial < last);
			last = a->serial;
		}
		assert_int_equal(listed, count);
	}
}

static void check_all(const struct ledger *l, const struct model *m)
{
	const struct allocation *a;
	uint32_t cursor = 0, n = 0;

	assert_int_equal(ledger_count(l), m->n);
	assert_int_equal(ledger_rejected(l), 0);
	while ((a = ledger_next(l, &cursor)) != NULL) {
		const struct allocation *want = model_at(m, a->addr);

		assert_non_null(want);
		assert_memory_equal(a, want, sizeof(*a));
		assert_ptr_equal(ledger_find(l, a->addr), a);
		assert_ptr_equal(ledger_at(l, ledger_slot(l, a)), a);
		n++;
	}
	assert_int_equal(n, m->n);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t addr = addr_make(1, 0, rnd(ARENA + MIB));
		const struct allocation *want = model_at(m, addr);

		a = ledger_find_containing(l, addr);
		assert_int_equal(a != NULL, want != NULL);
		if (a)
			assert_int_equal(a->serial, want ? want->serial : 0);
		want = want && want->addr == addr ? want : NULL;
		assert_int_equal(ledger_find(l, addr) != NULL, want != NULL);
	}
	check_sessions(l, m);
}

static void model_add(struct model *m, struct ledger *l, struct buddy *b)
{
	uint64_t offset, bytes = 1 + rnd(4096ULL << rnd(7));
	struct allocation d;
	const struct allocation *a;

	if (m->n == MAX || buddy_alloc(b, bytes, &offset) != 0)
		return;
	d = draft(offset, bytes, (uint32_t)rnd(MODEL_SESSIONS));
	d.seq = (uint32_t)rnd(UINT32_MAX);
	d.site = (uint32_t)rnd(SITES_MAX);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	assert_int_equal(a->serial, m->last_serial + 1);
	assert_int_equal(a->seq, d.seq);
	m->last_serial = a->serial;
	m->live[m->n++] = *a;
}

static void model_end(struct model *m, struct ledger *l, struct buddy *b)
{
	unsigned i;
	struct allocation d;

	if (m->n == 0)
		return;
	i = (unsigned)rnd(m->n);
	d = m->live[i];
	assert_int_equal(end_record(l, ledger_find(l, d.addr)), 0);
	assert_int_equal(buddy_free(b, addr_offset(d.addr), allocation_block_bytes(&d)), 0);
	m->live[i] = m->live[--m->n];
}

static void test_random(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct ledger *l;
	struct buddy *b;

	(void)state;
	assert_non_null(m);
	assert_int_equal(buddy_create(ARENA, &b), 0);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	for (unsigned i = 0; i < 8000; i++) {
		if (rnd(100) < (i / 1000 % 2 ? 40 : 60))
			model_add(m, l, b);
		else
			model_end(m, l, b);
		if (i % 50 == 0)
			check_all(l, m);
		if (i % 400 != 0)
			continue;
		ledger_close(l);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		check_all(l, m);
	}
	while (m->n > 0)
		model_end(m, l, b);
	/* Serial numbers go on even when nothing is left. */
	ledger_close(l);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	check_all(l, m);
	model_add(m, l, b);
	ledger_close(l);
	buddy_destroy(b);
	free(m);
}

/* The current one may be ended when the next one has been fetched. */
static void test_end_session(void **state)
{
	const struct allocation *a, *next;
	struct ledger *l;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct allocation d = draft(i * 4096ULL, 1, i % 3);

		assert_int_equal(ledger_add(l, &d, &a), 0);
	}
	for (a = ledger_next_of_session(l, 1, NULL); a; a = next) {
		next = ledger_next_of_session(l, 1, a);
		assert_int_equal(end_record(l, a), 0);
	}
	assert_int_equal(ledger_session_count(l, 1), 0);
	assert_int_equal(ledger_session_bytes(l, 1), 0);
	assert_int_equal(ledger_count(l), 67);
	ledger_close(l);
}

/* ---- garbage ---- */

static int open_file(const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put_record(uint32_t slot, const struct allocation *a)
{
	int fd = open_file(NAME);

	assert_int_equal(pwrite(fd, a, sizeof(*a), 4096 + slot * 64), sizeof(*a));
	close(fd);
}

static void test_one_bad_field(void **state)
{
	struct allocation good = draft(65536, 5000, 2);
	struct ledger *l;
	struct {
		size_t offset, size;
		uint64_t value;
	} bad[] = {
		{ offsetof(struct allocation, state), 4, 5 },
		{ offsetof(struct allocation, state), 4, UINT32_MAX },
		{ offsetof(struct allocation, session), 4, SESSIONS_MAX },
		{ offsetof(struct allocation, session), 4, UINT32_MAX },
		{ offsetof(struct allocation, session_serial), 8, 0 },
		{ offsetof(struct allocation, addr), 8, 65536 },
		{ offsetof(struct allocation, addr), 8, addr_make(1, 0, 65536) + 4096 },
		{ offsetof(struct allocation, addr), 8, UINT64_MAX },
		{ offsetof(struct allocation, bytes), 8, 0 },
		{ offsetof(struct allocation, bytes), 8, 8193 },
		{ offsetof(struct allocation, bytes), 8, UINT64_MAX },
		{ offsetof(struct allocation, serial), 8, 0 },
		{ offsetof(struct allocation, serial), 8, UINT64_MAX },
		{ offsetof(struct allocation, serial), 8, 1 }, /* the neighbour's */
		{ offsetof(struct allocation, site), 4, SITES_MAX },
		{ offsetof(struct allocation, order), 1, 11 },
		{ offsetof(struct allocation, order), 1, 32 },
		{ offsetof(struct allocation, order), 1, 255 },
		{ offsetof(struct allocation, reserved), 1, 1 },
	};

	(void)state;
	good.state = ALLOCATION_LIVE;
	for (unsigned i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		bool spoil = i < sizeof(bad) / sizeof(bad[0]);
		struct allocation d = draft(0, 1, 2), record = good;
		const struct allocation *a;

		unlinkat(dir, NAME, 0);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		assert_int_equal(ledger_add(l, &d, &a), 0);
		ledger_close(l);
		record.serial = 2;
		if (spoil)
			memcpy((char *)&record + bad[i].offset, &bad[i].value, bad[i].size);
		put_record(1, &record);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		assert_int_equal(ledger_rejected(l), spoil ? 1 : 0);
		assert_int_equal(ledger_count(l), spoil ? 1 : 2);
		assert_non_null(ledger_find(l, d.addr));
		assert_int_equal(ledger_find(l, good.addr) == NULL, spoil);
		/* The bad record's slot is not given out. */
		d = draft(1 * MIB, 1, 2);
		assert_int_equal(ledger_add(l, &d, &a), 0);
		assert_int_equal(ledger_slot(l, a), 2);
		ledger_close(l);
	}
}

static void test_overlaps(void **state)
{
	struct ledger *l;
	struct allocation a;
	/* offset, bytes, serial, kept */
	static const struct {
		uint64_t offset, bytes, serial;
		bool kept;
	} rows[] = {
		{ 0, 8192, 10, true },
		{ 4096, 4096, 11, false },
		{ 0, 4096, 12, false },
		{ 65536, 4096, 5, true },
		{ 65536, 65536, 6, false },
		{ 131072, 4096, 7, true },
		{ 1048576, 1048576, 9, false },
		{ 1048576, 4096, 3, true },
		{ 1052672, 4096, 4, true },
	};

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	ledger_close(l);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a = draft(rows[i].offset, rows[i].bytes, 1);
		a.state = ALLOCATION_LIVE;
		a.serial = rows[i].serial;
		put_record(i, &a);
	}
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(ledger_at(l, i) != NULL, rows[i].kept);
	assert_int_equal(ledger_rejected(l), 4);
	assert_int_equal(ledger_count(l), 5);
	ledger_close(l);
}

/* Whatever is accepted from noise is possible, does not overlap, and the ledger goes on working. */
static void use_what_was_found(struct ledger *l)
{
	const struct allocation *a;
	struct buddy *b[ADDR_MAX_NODES] = { NULL };
	uint32_t cursor = 0, n = 0;

	while ((a = ledger_next(l, &cursor)) != NULL) {
		unsigned node = addr_node(a->addr);

		n++;
		assert_ptr_equal(ledger_find(l, a->addr), a);
		assert_ptr_equal(
			ledger_find_containing(l, a->addr + allocation_block_bytes(a) - 1), a);
		if (addr_offset(a->addr) >= 64 * MIB || addr_server(a->addr) != 1)
			continue;
		if (!b[node])
			assert_int_equal(buddy_create(64 * MIB, &b[node]), 0);
		assert_int_equal(
			buddy_reserve(b[node], addr_offset(a->addr), allocation_block_bytes(a)), 0);
	}
	assert_int_equal(n, ledger_count(l));
	for (cursor = 0; (a = ledger_next(l, &cursor)) != NULL;)
		assert_int_equal(end_record(l, a), a->state == ALLOCATION_ZOMBIE ? -EINVAL : 0);
	for (unsigned i = 0; i < ADDR_MAX_NODES; i++)
		buddy_destroy(b[i]);
}

static void test_noise(void **state)
{
	struct allocation records[MAX];
	struct ledger *l;
	uint64_t accepted = 0, rejected = 0;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		int fd;

		unlinkat(dir, NAME, 0);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		ledger_close(l);
		for (unsigned i = 0; i < MAX; i++) {
			records[i] = draft(rnd(64) * 65536, 1 + rnd(65536), (uint32_t)rnd(8));
			records[i].state = (uint32_t)rnd(6);
			records[i].serial = 1 + rnd(1000);
			/* Mostly plausible, with some bytes flipped; every tenth round: pure noise. */
			for (unsigned n = 0; n < (round % 10 == 0 ? 64 : rnd(3)); n++)
				((uint8_t *)&records[i])[rnd(64)] = (uint8_t)rnd(256);
		}
		fd = open_file(NAME);
		assert_int_equal(pwrite(fd, records, sizeof(records), 4096), sizeof(records));
		close(fd);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		accepted += ledger_count(l);
		rejected += ledger_rejected(l);
		use_what_was_found(l);
		ledger_close(l);
	}
	assert_true(accepted > 1000 && rejected > 1000);
}

/* ---- kills ---- */

/* What the victim was about to do, and what it has done: shared, so it survives the victim. */
struct journal {
	volatile uint64_t done;    /* finished operations */
	volatile uint64_t started; /* the one at work if it is done + 1 */
	struct model model;        /* after the last finished operation */
	struct allocation subject; /* of the one at work: added (serial not known) or ended */
	volatile unsigned torn;    /* index + 1 of the model's entry that is being overwritten */
};

static void victim_step(struct journal *j, struct ledger *l, struct buddy *b)
{
	const struct allocation *a;
	struct model *m = &j->model;
	uint64_t offset, bytes = 1 + rnd(4096ULL << rnd(4));
	bool add = m->n == 0 || (m->n < MAX / 2 && rnd(2) == 0);
	unsigned i = m->n ? (unsigned)rnd(m->n) : 0;

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
		__atomic_store_n(&j->torn, i + 1, __ATOMIC_SEQ_CST);
		m->live[i] = m->live[m->n - 1];
		__atomic_store_n(&j->torn, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&m->n, m->n - 1, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&j->done, j->done + 1, __ATOMIC_SEQ_CST);
}

/* Is this record one that must be there, or the one the victim was at? */
static bool is_subject(const struct journal *j, const struct allocation *a)
{
	return j->started > j->done && a->addr == j->subject.addr && a->bytes == j->subject.bytes &&
	       a->session == j->subject.session && a->session_serial == j->subject.session_serial &&
	       a->seq == j->subject.seq && a->site == j->subject.site &&
	       a->order == j->subject.order && a->serial != 0;
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

	/* A record that was being ended may be on its way: finish it, as a new rmemd does. */
	while ((a = ledger_next(l, &cursor)) != NULL) {
		if (a->state != ALLOCATION_LIVE)
			assert_int_equal(end_record(l, a), 0);
	}
	j->model.n = 0;
	for (cursor = 0; (a = ledger_next(l, &cursor)) != NULL;)
		j->model.live[j->model.n++] = *a;
	j->started = j->done;
	j->torn = 0;
}

static void run_victim(struct journal *j)
{
	struct ledger *l;
	struct buddy *b;
	const struct allocation *a;
	uint32_t cursor = 0;

	if (ledger_open(&l, dir, NAME, MAX) != 0 || buddy_create(ARENA, &b) != 0)
		_exit(1);
	while ((a = ledger_next(l, &cursor)) != NULL) {
		if (buddy_reserve(b, addr_offset(a->addr), allocation_block_bytes(a)) != 0)
			_exit(2);
	}
	for (;;)
		victim_step(j, l, b);
}

static void test_killed_at_random(void **state)
{
	struct journal *j =
		mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t last_serial = 0;
	unsigned busy = 0;

	(void)state;
	assert_true(j != MAP_FAILED);
	for (unsigned round = 0; round < 100; round++) {
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
	printf("%llu operations, killed inside one %u times of 100\n", (unsigned long long)j->done,
		busy);
	assert_true(busy > 0);
	munmap(j, sizeof(*j));
}

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
		if (memcmp(image, last, sizeof(image)) != 0) {
			check_image(j, image, sizeof(image));
			memcpy(last, image, sizeof(image));
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

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_moves),
		IN_DIR(test_refusals),
		IN_DIR(test_random),
		IN_DIR(test_end_session),
		IN_DIR(test_one_bad_field),
		IN_DIR(test_overlaps),
		IN_DIR(test_noise),
		IN_DIR(test_killed_at_random),
		IN_DIR(test_killed_at_every_instruction),
	};
	const char *text = getenv("RMEM_TEST_SEED");

	seed = text ? strtoull(text, NULL, 0) : 0x9e3779b97f4a7c15ULL;
	printf("RMEM_TEST_SEED=%#llx\n", (unsigned long long)seed);
	if (seed == 0)
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
