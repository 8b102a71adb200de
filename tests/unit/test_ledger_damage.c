/* SPDX-License-Identifier: BSD-3-Clause */
/* Ledger files that somebody has spoiled: one field, records that overlap, noise. */
#include "tests/support/drafts.h"

#include <errno.h>
#include <stdlib.h>

#include "server/ledger/ledger_recover.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"

static const uint32_t states[] = { ALLOCATION_FREE, ALLOCATION_LIVE, ALLOCATION_REVOKING,
	ALLOCATION_QUARANTINE, ALLOCATION_ZOMBIE, 5 };

static void put_record(uint32_t slot, const struct allocation *a)
{
	poke_file(NAME, 4096 + slot * 64, a, sizeof(*a));
}

/* With the checksum that it would have, so that it is another field that is found wrong. */
static void put_sealed(uint32_t slot, const struct allocation *a)
{
	struct allocation sealed = *a;

	sealed.check = ledger_record_check(a);
	put_record(slot, &sealed);
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
		{ offsetof(struct allocation, addr), 8, addr_make(64, 65536) + 4096 },
		{ offsetof(struct allocation, addr), 8, UINT64_MAX },
		{ offsetof(struct allocation, bytes), 8, 0 },
		{ offsetof(struct allocation, bytes), 8, 65537 },
		{ offsetof(struct allocation, bytes), 8, BLOCK_MAX_BYTES + 1 },
		{ offsetof(struct allocation, bytes), 8, UINT64_MAX },
		{ offsetof(struct allocation, serial), 8, 0 },
		{ offsetof(struct allocation, serial), 8, UINT64_MAX },
		{ offsetof(struct allocation, serial), 8, 1 }, /* the neighbour's */
		{ offsetof(struct allocation, site), 4, SITES_MAX },
		{ offsetof(struct allocation, order_or_node), 1, 12 },
		{ offsetof(struct allocation, order_or_node), 1, 14 },
		{ offsetof(struct allocation, order_or_node), 1, 127 },
		{ offsetof(struct allocation, order_or_node), 1, 192 }, /* node 64 */
		{ offsetof(struct allocation, order_or_node), 1, 255 },
		{ offsetof(struct allocation, size_class), 1, 1 }, /* 5000 bytes are no slab */
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
		put_sealed(1, &record);
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
		put_sealed(i, &a);
	}
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(ledger_at(l, i) != NULL, rows[i].kept);
	assert_int_equal(ledger_rejected(l), 4);
	assert_int_equal(ledger_count(l), 5);
	ledger_close(l);
}

/* Whichever byte of a record is damaged, and however: it is no record, and not free either. */
static void test_any_byte(void **state)
{
	struct allocation d = draft(0, 5000, 2), good;
	const struct allocation *a;
	const unsigned stride = getenv("RMEM_TEST_VALGRIND") ? 3 : 1; /* of every byte */
	uint32_t cursor;
	struct ledger *l;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	good = *a;
	ledger_close(l);
	for (unsigned i = 0; i < sizeof(good) * 8; i += stride) {
		struct allocation bad = good;
		uint8_t *byte = (uint8_t *)&bad + i / 8;

		/* One bit, and the byte as a whole. */
		*byte = i % 8 ? *byte ^ (uint8_t)(1U << i % 8) : (uint8_t) ~*byte;
		put_record(0, &bad);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		assert_int_equal(ledger_count(l), 0);
		assert_int_equal(ledger_rejected(l), 1);
		cursor = 0;
		a = ledger_next_rejected(l, &cursor);
		assert_non_null(a);
		assert_memory_equal(a, &bad, sizeof(bad));
		assert_null(ledger_next_rejected(l, &cursor));
		ledger_close(l);
	}
}

/* What was left out is free when somebody says so, and stays so. */
static void test_dropped(void **state)
{
	struct allocation d = draft(0, 5000, 2);
	const struct allocation *a;
	struct ledger *l;
	uint8_t one = 1;

	(void)state;
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	d = draft(1 * MIB, 1, 2);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	ledger_close(l);
	poke_file(NAME, 4096 + offsetof(struct allocation, unshared), &one, 1);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_rejected(l), 1);
	ledger_drop_rejected(l);
	assert_int_equal(ledger_rejected(l), 0);
	assert_int_equal(ledger_count(l), 1);
	d = draft(2 * MIB, 1, 2);
	assert_int_equal(ledger_add(l, &d, &a), 0);
	assert_int_equal(ledger_slot(l, a), 0);
	assert_int_equal(a->serial, 3);
	ledger_close(l);
	assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
	assert_int_equal(ledger_rejected(l), 0);
	assert_int_equal(ledger_count(l), 2);
	ledger_close(l);
}

/*
 * One record with a serial number that was never given, in every state, with its checksum or without: the next ones go on
 * from the others' numbers, now and after the next start.
 */
static void test_forged_serial(void **state)
{
	static const uint64_t serials[] = { UINT64_MAX - 1, 1ULL << 63, 1ULL << 62 };

	(void)state;
	for (unsigned i = 0; i < 3 * 6 * 2; i++) {
		struct allocation d, record = draft(65536, 5000, 2);
		const struct allocation *a;
		struct ledger *l;

		unlinkat(dir, NAME, 0);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		for (unsigned n = 0; n < 2; n++) {
			d = draft(n * 4096ULL, 1, 2);
			assert_int_equal(ledger_add(l, &d, &a), 0);
		}
		ledger_close(l);
		record.serial = serials[i % 3];
		record.state = states[i / 3 % 6];
		if (i < 18)
			put_sealed(2, &record);
		else
			put_record(2, &record);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		assert_int_equal(ledger_count(l), 2);
		assert_int_equal(ledger_rejected(l), record.state == ALLOCATION_FREE ? 0 : 1);
		d = draft(1 * MIB, 1, 2);
		assert_int_equal(ledger_add(l, &d, &a), 0);
		assert_int_equal(a->serial, 3);
		/* Its slot, and its number, may stay. */
		ledger_drop_rejected(l);
		ledger_close(l);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		assert_int_equal(ledger_count(l), 3);
		assert_int_equal(ledger_rejected(l), 0);
		d = draft(2 * MIB, 1, 2);
		assert_int_equal(ledger_add(l, &d, &a), 0);
		assert_int_equal(a->serial, 4);
		ledger_close(l);
	}
}

/* Whatever is accepted from noise is possible, does not overlap, and the ledger goes on working. */
static void use_what_was_found(struct ledger *l)
{
	const struct allocation *a;
	struct buddy *b[ADDR_MAX_NODES] = { NULL };
	uint32_t cursor = 0, n = 0;

	while ((a = ledger_next(l, &cursor)) != NULL) {
		unsigned segment = addr_segment(a->addr) - 64;

		n++;
		assert_ptr_equal(ledger_find(l, a->addr), a);
		assert_ptr_equal(
			ledger_find_containing(l, a->addr + allocation_block_bytes(a) - 1), a);
		if (addr_offset(a->addr) >= 64 * MIB || segment >= ADDR_MAX_NODES)
			continue;
		if (!b[segment])
			assert_int_equal(buddy_create(64 * MIB, &b[segment]), 0);
		assert_int_equal(
			buddy_reserve(b[segment], addr_offset(a->addr), allocation_block_bytes(a)),
			0);
	}
	assert_int_equal(n, ledger_count(l));
	for (cursor = 0; (a = ledger_next(l, &cursor)) != NULL;)
		assert_int_equal(end_record(l, a), a->state == ALLOCATION_ZOMBIE ? -EINVAL : 0);
	for (unsigned i = 0; i < ADDR_MAX_NODES; i++)
		buddy_destroy(b[i]);
}

static void test_noise(void **state)
{
	const unsigned rounds = getenv("RMEM_TEST_VALGRIND") ? 50 : 300;
	struct allocation records[MAX];
	struct ledger *l;
	uint64_t accepted = 0, rejected = 0;

	(void)state;
	for (unsigned round = 0; round < rounds; round++) {
		unlinkat(dir, NAME, 0);
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		ledger_close(l);
		for (unsigned i = 0; i < MAX; i++) {
			records[i] = draft(rnd(64) * 65536, 1 + rnd(65536), (uint32_t)rnd(8));
			records[i].state = states[rnd(6)];
			records[i].serial = 1 + rnd(1000);
			/* Mostly plausible, with some bytes flipped; every tenth round: pure noise. */
			for (unsigned n = 0; n < (round % 10 == 0 ? 64 : rnd(3)); n++)
				((uint8_t *)&records[i])[rnd(64)] = (uint8_t)rnd(256);
			records[i].check = ledger_record_check(&records[i]);
		}
		poke_file(NAME, 4096, records, sizeof(records));
		assert_int_equal(ledger_open(&l, dir, NAME, MAX), 0);
		accepted += ledger_count(l);
		rejected += ledger_rejected(l);
		use_what_was_found(l);
		ledger_close(l);
	}
	assert_true(accepted > 3 * rounds && rejected > 3 * rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_one_bad_field),
		IN_DIR(test_any_byte),
		IN_DIR(test_dropped),
		IN_DIR(test_overlaps),
		IN_DIR(test_forged_serial),
		IN_DIR(test_noise),
	};

	return run_with_seed("ledger_damage", tests, sizeof(tests) / sizeof(tests[0]));
}
