/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger: what it refuses, and lookups against a naive model. Its file: test_ledger_damage.c, test_ledger_kills.c. */
#include "tests/support/drafts.h"

#include <errno.h>
#include <fcntl.h>

#include "common/size_class.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"

static void test_moves(void **state)
{
	enum { FREE, LIVE, REVOKING, QUARANTINE, ZOMBIE, STATES };
	static const enum allocation_state states[STATES + 1] = { ALLOCATION_FREE, ALLOCATION_LIVE,
		ALLOCATION_REVOKING, ALLOCATION_QUARANTINE, ALLOCATION_ZOMBIE, 5 };
	static const unsigned path_to[STATES][3] = {
		[LIVE] = { FREE },
		[REVOKING] = { REVOKING, FREE },
		[QUARANTINE] = { REVOKING, QUARANTINE },
		[ZOMBIE] = { REVOKING, ZOMBIE },
	};
	static const bool allowed[STATES][STATES + 1] = {
		[LIVE][REVOKING] = true,
		[REVOKING][QUARANTINE] = true,
		[REVOKING][ZOMBIE] = true,
		[QUARANTINE][FREE] = true,
		[ZOMBIE][QUARANTINE] = true,
	};

	(void)state;
	for (unsigned from = LIVE; from < STATES; from++) {
		for (unsigned to = FREE; to <= STATES; to++) {
			struct allocation d = draft(0, 100, 1);
			const struct allocation *a;
			struct ledger *l;
			bool ok = allowed[from][to];

			unlinkat(dir, NAME, 0);
			assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
			assert_int_equal(ledger_add(l, &d, &a), 0);
			for (unsigned i = 0; i < 3 && path_to[from][i] != FREE; i++)
				assert_int_equal(
					ledger_set_state(l, a, states[path_to[from][i]]), 0);
			assert_int_equal(a->state, states[from]);
			assert_int_equal(ledger_set_state(l, a, states[to]), ok ? 0 : -EINVAL);
			assert_int_equal(a->state, states[ok ? to : from]);
			ledger_close(l);
		}
	}
}

/* It is counted over restarts, up to an end; nothing else of the record changes; the next in its slot begins anew. */
static void test_unshare(void **state)
{
	struct allocation d = draft(0, 100, 1), before;
	const struct allocation *a;
	struct ledger *l;

	(void)state;
	unlinkat(dir, NAME, 0);
	assert_int_equal(ledger_open(&l, dir, NAME, 1), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	before = *a;
	for (unsigned i = 1; i <= UNSHARED_MAX; i++) {
		assert_int_equal(ledger_unshare(l, a), 0);
		assert_int_equal(a->unshared, i);
	}
	assert_int_equal(ledger_unshare(l, a), -EDQUOT);
	assert_int_equal(a->unshared, UNSHARED_MAX);
	ledger_close(l);
	assert_int_equal(ledger_open(&l, dir, NAME, 1), 0);
	assert_int_equal(ledger_rejected(l), 0);
	a = ledger_find(l, d.addr);
	assert_non_null(a);
	assert_int_equal(a->unshared, UNSHARED_MAX);
	before.unshared = a->unshared;
	before.check = a->check;
	assert_memory_equal(a, &before, sizeof(before));
	assert_int_equal(end_record(l, a), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	assert_int_equal(a->unshared, 0);
	ledger_close(l);
}

/* As long as a segment, and a third of one: found by any byte, and after a restart. */
static void test_long_blocks(void **state)
{
	struct allocation whole = draft(0, BLOCK_MAX_BYTES, 1), third = whole, inside;
	const struct allocation *a, *b;
	struct ledger *l;

	(void)state;
	unlinkat(dir, NAME, 0);
	third.addr = addr_make(65, BLOCK_MAX_BYTES / 2);
	third.bytes = BLOCK_MAX_BYTES / 3;
	allocation_set_node(&third, 0);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_add(l, &whole, &a), 0);
	assert_int_equal(ledger_add(l, &third, &b), 0);
	inside = third;
	inside.addr += BLOCK_MAX_BYTES / 4;
	inside.bytes = 1;
	assert_int_equal(ledger_add(l, &inside, &b), -EEXIST);
	ledger_close(l);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_rejected(l), 0);
	a = ledger_find_containing(l, whole.addr + BLOCK_MAX_BYTES - 1);
	assert_true(a && a->addr == whole.addr && a->bytes == BLOCK_MAX_BYTES);
	a = ledger_find_containing(l, third.addr + BLOCK_MAX_BYTES / 3);
	assert_true(a && a->addr == third.addr);
	assert_null(ledger_find_containing(l, third.addr + BLOCK_MAX_BYTES / 3 + 4096));
	assert_null(ledger_find_containing(l, third.addr - 1));
	assert_int_equal(ledger_session_bytes(l, 1),
		allocation_block_bytes(&whole) + allocation_block_bytes(&third));
	ledger_close(l);
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
	REFUSED(bytes, BLOCK_MAX_BYTES + 1);
	REFUSED(size_class, SIZE_CLASSES);
	REFUSED(session, SESSIONS_MAX);
	REFUSED(session_serial, 0);
	REFUSED(site, SITES_MAX);
	REFUSED(addr, 4096);
	REFUSED(addr, addr_make(64, 4096) + 1);
#undef REFUSED
	bad = draft(4096, 4097, 1);
	assert_int_equal(ledger_add(l, &bad, &b), -EINVAL);
	bad = draft(0, 4097, 1);
	bad.size_class = 1;
	assert_int_equal(ledger_add(l, &bad, &b), -EINVAL);
	assert_null(b);
	bad = draft(0, 4096, 1);
	assert_int_equal(ledger_add(l, &bad, &b), 0);
	bad = draft(65536, 4096, 1);
	assert_int_equal(ledger_add(l, &bad, &b), -EDQUOT);
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

static bool full;

int __real_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	errno = ENOSPC;
	return full ? -1 : __real_fallocate(fd, mode, offset, bytes);
}

/* The file system is full, not the ledger: another error, nothing changes, and later there may be room. */
static void test_full_file_system(void **state)
{
	const struct allocation *a = NULL;
	struct ledger *l = NULL;
	uint32_t n = 0;
	int err = 0;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, 10000), 0);
	full = true;
	for (; !err; n += !err) {
		struct allocation d = draft(n * 4096ULL, 4096, 1);

		err = ledger_add(l, &d, &a);
	}
	full = false;
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(ledger_count(l), n);
	for (uint32_t i = 0; i < 2000; i++) {
		struct allocation d = draft((n + i) * 4096ULL, 4096, 1);

		assert_int_equal(ledger_add(l, &d, &a), 0);
		assert_int_equal(a->serial, n + i + 1);
	}
	ledger_close(l);
}

/* ---- against a model ---- */

#define MODEL_SESSIONS 5

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
		uint64_t addr = addr_make(64, rnd(ARENA + MIB));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_moves),
		IN_DIR(test_unshare),
		IN_DIR(test_long_blocks),
		IN_DIR(test_refusals),
		IN_DIR(test_full_file_system),
		IN_DIR(test_random),
		IN_DIR(test_end_session),
	};

	return run_with_seed("ledger", tests, sizeof(tests) / sizeof(tests[0]));
}
