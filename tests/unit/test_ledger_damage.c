/* SPDX-License-Identifier: BSD-3-Clause */
/* Ledger files that somebody has spoiled: one field, records that overlap, noise. */
#include "tests/support/drafts.h"

#include <errno.h>

#include "core/sessions.h"
#include "core/sites.h"

static void put_record(uint32_t slot, const struct allocation *a)
{
	poke_file(NAME, 4096 + slot * 64, a, sizeof(*a));
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
		poke_file(NAME, 4096, records, sizeof(records));
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		accepted += ledger_count(l);
		rejected += ledger_rejected(l);
		use_what_was_found(l);
		ledger_close(l);
	}
	assert_true(accepted > 1000 && rejected > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_one_bad_field),
		IN_DIR(test_overlaps),
		IN_DIR(test_noise),
	};

	return run_with_seed("ledger_damage", tests, sizeof(tests) / sizeof(tests[0]));
}
