/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RMEM_CHECK: each kind of fault is made, and its report is looked at: kind, address, call stacks, bytes, map. What is
 * written by no call of the library is put into the lender's memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/space/checking.h"
#include "common/log.h"
#include "common/object_record.h"
#include "tests/support/lender.h"

static char heard[65536]; /* all lines, each with its newline */

static void hear(enum log_level level, const char *text)
{
	const size_t at = strlen(heard);

	(void)level;
	snprintf(heard + at, sizeof(heard) - at, "%s\n", text);
}

static struct rmem *open_checked(const char *mode, bool exact)
{
	struct rmem *rm = lender_open(exact, false);

	assert_non_null(rm);
	assert_int_equal(lender_check(rm, mode), 0);
	log_set_tap(LOG_LEVEL_ERROR, hear);
	heard[0] = '\0';
	return rm;
}

static void close_checked(struct rmem *rm)
{
	checking_drain(rm, UINT64_MAX);
	lender_close(rm);
}

static rmem_addr_t allocate(struct rmem *rm, size_t bytes)
{
	rmem_addr_t addr = 0;

	assert_int_equal(rmem_alloc(rm, bytes, NULL, &addr), 0);
	return addr;
}

/* As another session, or raw verbs, would. */
static uint8_t *raw(uint64_t addr)
{
	const struct loan *loan = lender_find(addr);

	assert_non_null(loan);
	return loan->memory + (addr - loan->addr);
}

static void assert_heard(const char *text)
{
	if (!strstr(heard, text))
		fail_msg("\"%s\" is not in:\n%s", text, heard);
}

static void assert_not_heard(const char *text)
{
	if (strstr(heard, text))
		fail_msg("\"%s\" is in:\n%s", text, heard);
}

/* A report of this kind, about this address. */
static void assert_report(const char *what, uint64_t addr)
{
	char line[200];

	snprintf(line, sizeof(line), ": %s 0x%" PRIx64 "\n", what, addr);
	assert_heard(line);
	assert_heard(": called by: test_checking+0x");
}

static void assert_object(uint32_t bytes, uint64_t addr, const char *state)
{
	char line[200];

	snprintf(line, sizeof(line),
		"in the slot of an allocation of %u bytes at 0x%" PRIx64 ", %s\n", bytes, addr,
		state);
	assert_heard(line);
}

/* The stack with the number of a site begins in this program. */
static void assert_stack(const char *verb, uint32_t site)
{
	char text[80];

	snprintf(text, sizeof(text), "%s at site %u: test_checking+0x", verb, site);
	assert_heard(text);
}

static uint32_t site_of(struct rmem *rm, uint64_t addr)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);

	return object_record_unpack(slab_record(s, slab_slot_at(s, addr - s->addr))).site;
}

/* The letter of the map for the 8 bytes at addr. */
static char letter(uint64_t addr)
{
	char row[40];
	const char *at;

	snprintf(row, sizeof(row), " 0x%" PRIx64 " ", (uint64_t)(addr & ~255ULL));
	at = strstr(heard, "map, a letter");
	assert_non_null(at);
	at = strstr(at, row);
	assert_non_null(at);
	return at[strlen(row) + addr % 256 / 8];
}

static void test_modes(void **state)
{
	static const char *const wrong[] = { "sometimes", "sample", "sample:", "sample:0",
		"sample:-1", "sample:1x", "sample:1000000001", "sample:99999999999999999999",
		"fuller" };
	struct rmem *rm = lender_open(false, false);
	struct errinfo errinfo;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(checking_open(rm, wrong[i], &errinfo), -EINVAL);
		assert_non_null(strstr(errinfo.text, wrong[i]));
		assert_null(rm->checking);
	}
	assert_int_equal(checking_open(rm, NULL, &errinfo), 0);
	assert_int_equal(checking_open(rm, "", &errinfo), 0);
	assert_int_equal(checking_open(rm, "off", &errinfo), 0);
	assert_null(rm->checking);
	assert_false(rm->channels.cache_hidden);
	assert_int_equal(checking_open(rm, "sample:1000000000", &errinfo), 0);
	assert_int_equal(rm->checking->one_in, 1000000000);
	lender_close(rm);
}

/* The program is told at once. */
static void test_open_refuses(void **state)
{
	struct rmem *rm = NULL;

	(void)state;
	assert_int_equal(setenv("RMEM_CHECK", "sample:many", 1), 0);
	assert_int_equal(rmem_open("127.0.0.1", NULL, &rm), -EINVAL);
	assert_int_equal(unsetenv("RMEM_CHECK"), 0);
	assert_null(rm);
	assert_non_null(strstr(rmem_errmsg(), "$RMEM_CHECK is \"sample:many\""));
}

/* A canary takes nothing from the object: it is as aligned as without, and what no slot holds then is a block. */
static void test_places(void **state)
{
	static const uint32_t blocks[] = { 4096, 4090, OBJECT_BYTES_MAX - 15, OBJECT_BYTES_MAX };
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem *rm = open_checked("full", false);
	struct rmem_stat stat = RMEM_STAT_INIT;
	rmem_addr_t addr;

	(void)state;
	for (uint32_t bytes = 1; bytes < 4096; bytes *= 2)
		for (unsigned i = 0; i < 5; i++) {
			addr = allocate(rm, bytes);
			assert_int_equal(addr % bytes, 0);
			assert_int_not_equal(lender_find(addr)->size_class, 0);
			assert_int_equal(rmem_stat(rm, addr, &stat), 0);
			assert_int_equal(stat.bytes, bytes);
			assert_int_equal(stat.usable_bytes, bytes);
		}
	attr.align_bytes = 4096;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		assert_int_equal(rmem_alloc(rm, blocks[i], &attr, &addr), 0);
		assert_int_equal(lender_find(addr)->size_class, 0);
		assert_int_equal(lender_find(addr)->bytes, blocks[i]);
	}
	assert_string_equal(heard, "");
	close_checked(rm);
}

static void test_warm_path_is_off(void **state)
{
	struct rmem *rm = lender_open(false, false);

	(void)state;
	assert_int_equal(rmem_free(rm, allocate(rm, 24)), 0);
	assert_non_null(thread_channels_cache_now(&rm->channels));
	lender_close(rm);
	for (unsigned i = 0; i < 2; i++) {
		rm = open_checked(i ? "full" : "sample:1000", false);
		assert_int_equal(rmem_free(rm, allocate(rm, 24)), 0);
		assert_null(thread_channels_cache_now(&rm->channels));
		assert_non_null(thread_channels_sites_now(&rm->channels));
		close_checked(rm);
	}
}

/* A program that does nothing wrong hears nothing, and has what it asked for. */
static void test_no_fault(void **state)
{
	struct rmem *rm = open_checked("full", *state);
	rmem_addr_t addr[200];
	size_t bytes[200] = { 0 };
	unsigned seed = 1;

	for (unsigned i = 0; i < 4000; i++) {
		struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
		const unsigned at = (unsigned)rand_r(&seed) % 200;
		const unsigned most = rand_r(&seed) % 8 ? 300 : OBJECT_BYTES_MAX;

		attr.flags = rand_r(&seed) % 4 ? 0 : RMEM_ALLOC_ZERO;
		attr.align_bytes = rand_r(&seed) % 4 ? 0 : 1ULL << rand_r(&seed) % 13;
		if (bytes[at])
			assert_int_equal(rmem_free(rm, addr[at]), 0);
		bytes[at] = 1 + (unsigned)rand_r(&seed) % most;
		assert_int_equal(rmem_alloc(rm, bytes[at], &attr, &addr[at]), 0);
		if (attr.align_bytes)
			assert_int_equal(addr[at] % attr.align_bytes, 0);
		if (bytes[at] % 4096 == 0)
			assert_int_equal(addr[at] % 4096, 0);
		for (size_t j = 0; j < bytes[at] && (attr.flags & RMEM_ALLOC_ZERO); j++)
			assert_int_equal(raw(addr[at])[j], 0);
		memset(raw(addr[at]), 0x5a, bytes[at]);
	}
	checking_drain(rm, UINT64_MAX);
	assert_string_equal(heard, "");
	close_checked(rm);
}

static void test_write_past_the_end(void **state)
{
	struct rmem *rm = open_checked("full", *state);
	const rmem_addr_t addr = allocate(rm, 21);
	const uint32_t site = site_of(rm, addr);

	(void)allocate(rm, 21);
	memcpy(raw(addr) + 23, "OVER", 4);
	assert_int_equal(rmem_free(rm, addr), 0);
	assert_report("write past the end, found by rmem_free(), at", addr + 23);
	assert_object(21, addr, "being freed");
	assert_stack("allocated", site);
	assert_not_heard("freed at site");
	assert_heard("4f 56 45 52");
	assert_heard("OVER");
	assert_int_equal(letter(addr), 'L');
	assert_int_equal(letter(addr + 16), '5');
	assert_int_equal(letter(addr + 24), 'C');
	close_checked(rm);
}

/* The last byte of the slot is the canary's too, and the first of the object is not. */
static void test_edges(void **state)
{
	struct rmem *rm = open_checked("full", false);
	const rmem_addr_t first = allocate(rm, 24);
	const uint32_t slot_bytes = blocks_slab(&rm->session.blocks, first)->slot_bytes;

	(void)state;
	assert_true(slot_bytes >= 24 + 16);
	raw(first)[0] ^= 0xff;
	raw(first)[23] ^= 0xff;
	assert_int_equal(rmem_free(rm, first), 0);
	assert_string_equal(heard, "");
	for (unsigned i = 0; i < 2; i++) {
		const rmem_addr_t addr = allocate(rm, 24), bad = addr + (i ? slot_bytes - 1 : 24);

		heard[0] = '\0';
		raw(bad)[0] ^= 1;
		assert_int_equal(rmem_free(rm, addr), 0);
		assert_report("write past the end, found by rmem_free(), at", bad);
	}
	close_checked(rm);
}

/* Found when the slot is used again, and where it never is, when the session is closed. */
static void test_write_after_free(void **state)
{
	struct rmem *rm = open_checked("full", *state);
	const rmem_addr_t addr = allocate(rm, 100);
	const uint32_t site = site_of(rm, addr);
	rmem_addr_t again = 0;

	assert_int_equal(rmem_free(rm, addr), 0);
	raw(addr)[99] = 1;
	checking_drain(rm, UINT64_MAX);
	assert_report("write after free, found now, at", addr + 99);
	assert_object(100, addr, "freed, in quarantine");
	assert_stack("allocated", site);
	assert_heard("freed at site");
	assert_int_equal(letter(addr), 'Q');
	heard[0] = '\0';
	for (unsigned i = 0; i < 1000 && again != addr; i++)
		again = allocate(rm, 100);
	assert_int_equal(again, addr);
	assert_report("write after free, found now, at", addr + 99);
	assert_object(100, addr, "freed");
	assert_stack("allocated", site);
	assert_heard("freed at site");
	assert_int_equal(letter(addr), 'F');
	close_checked(rm);
}

static void test_write_to_unused(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem *rm = open_checked("full", false);
	const rmem_addr_t addr = allocate(rm, 40);
	const uint32_t slot_bytes = blocks_slab(&rm->session.blocks, addr)->slot_bytes;
	rmem_addr_t next;

	(void)state;
	attr.flags = RMEM_ALLOC_ZERO;
	raw(addr + slot_bytes)[3] = 7;
	assert_int_equal(rmem_alloc(rm, 40, &attr, &next), 0);
	assert_int_equal(next, addr + slot_bytes);
	assert_report("write to memory that was never allocated, found now, at", next + 3);
	assert_heard("no small allocation of this session was ever there");
	assert_int_equal(letter(next), 'U');
	assert_int_equal(letter(addr), 'L');
	assert_int_equal(raw(next)[3], 0);
	close_checked(rm);
}

/* A slot is not used again before so many bytes were freed after it; then it is. */
static void test_quarantine(void **state)
{
	struct rmem *rm = open_checked("full", false);
	const rmem_addr_t addr = allocate(rm, 3000);
	const uint32_t slot_bytes = blocks_slab(&rm->session.blocks, addr)->slot_bytes;
	const unsigned holds = QUARANTINE_BYTES_MAX / slot_bytes;

	(void)state;
	assert_int_equal(rmem_free(rm, addr), 0);
	for (unsigned i = 0; i < holds; i++) {
		const rmem_addr_t other = allocate(rm, 3000);

		assert_int_not_equal(other, addr);
		assert_int_equal(rmem_free(rm, other), 0);
	}
	assert_true(rm->checking->bytes <= QUARANTINE_BYTES_MAX);
	assert_int_equal(rm->checking->bytes, (uint64_t)holds * slot_bytes);
	assert_int_equal(allocate(rm, 3000), addr);
	/* Small ones are counted. */
	for (unsigned i = 0; i < QUARANTINE_ITEMS + 5; i++)
		assert_int_equal(rmem_free(rm, allocate(rm, 1)), 0);
	assert_true(rm->checking->n <= QUARANTINE_ITEMS);
	assert_string_equal(heard, "");
	close_checked(rm);
}

static void test_bad_frees(void **state)
{
	struct rmem *rm = open_checked("full", *state);
	const rmem_addr_t addr = allocate(rm, 24), live = allocate(rm, 24);
	const uint32_t site = site_of(rm, addr);

	assert_int_equal(rmem_free(rm, addr), 0);
	assert_string_equal(heard, "");
	assert_int_equal(rmem_free(rm, addr), -EINVAL);
	assert_report("double free of", addr);
	assert_object(24, addr, "freed, in quarantine");
	assert_stack("allocated", site);
	assert_heard("freed at site");
	assert_int_equal(letter(addr), 'Q');
	heard[0] = '\0';
	assert_int_equal(rmem_free(rm, live + 8), -EINVAL);
	assert_report("invalid free of", live + 8);
	assert_object(24, live, "live");
	assert_int_equal(letter(live + 8), 'L');
	heard[0] = '\0';
	assert_int_equal(rmem_free(rm, live + (1 << 30)), -EINVAL);
	assert_report("invalid free of", live + (1 << 30));
	assert_heard("no small allocation of this session was ever there");
	assert_int_equal(letter(live + (1 << 30)), '-');
	close_checked(rm);
}

static void test_foreign_free(void **state)
{
	struct rmem *rm = open_checked("full", false);
	struct session *s = &rm->session;
	const rmem_addr_t addr = allocate(rm, 24) + (1 << 24);

	(void)state;
	pthread_mutex_lock(&s->table);
	assert_int_equal(blocks_reserve(&s->blocks), 0);
	assert_int_equal(blocks_add(&s->blocks, &(struct block){ .addr = addr & ~4095ULL,
							.bytes = 4096,
							.id = 77,
							.attached = true }),
		0);
	pthread_mutex_unlock(&s->table);
	assert_int_equal(rmem_free(rm, addr & ~4095ULL), -EINVAL);
	assert_report("foreign free, of an allocation that another session shares (rmemctl "
		      "who-holds tells which):",
		addr & ~4095ULL);
	assert_int_equal(letter(addr & ~4095ULL), 'L');
	close_checked(rm);
}

static void test_refused_accesses(void **state)
{
	struct rmem *rm = open_checked("full", *state);
	const rmem_addr_t addr = allocate(rm, 24), freed = allocate(rm, 24);
	uint8_t bytes[32] = { 0 };

	assert_int_equal(rmem_write(rm, addr, bytes, 24), 0);
	assert_int_equal(rmem_free(rm, freed), 0);
	assert_string_equal(heard, "");
	assert_int_equal(rmem_write(rm, addr + 4, bytes, 21), -EFAULT);
	assert_report("write past the end, from", addr + 4);
	assert_object(24, addr, "live");
	heard[0] = '\0';
	assert_int_equal(rmem_read(rm, bytes, addr, 25), -EFAULT);
	assert_report("read past the end, from", addr);
	heard[0] = '\0';
	assert_int_equal(rmem_read(rm, bytes, freed + 3, 1), -EFAULT);
	assert_report("use after free, a read at", freed + 3);
	assert_object(24, freed, "freed, in quarantine");
	assert_heard("freed at site");
	heard[0] = '\0';
	assert_int_equal(rmem_write(rm, freed, bytes, 24), -EFAULT);
	assert_report("use after free, a write at", freed);
	assert_heard(" fd fd fd fd");
	heard[0] = '\0';
	assert_int_equal(rmem_copy(rm, addr, freed, 8), -EFAULT);
	assert_report("use after free, a read at", freed);
	heard[0] = '\0';
	assert_int_equal(rmem_fill(rm, addr, 0, 25), -EFAULT);
	assert_report("write past the end, from", addr);
	heard[0] = '\0';
	assert_int_equal(rmem_fetch_add(rm, freed, 1, NULL), -EFAULT);
	assert_report("use after free, a write at", freed);
	close_checked(rm);
}

/* What only the server knows of the other session's calls is in the report. */
static void test_other_sessions(void **state)
{
	struct rmem_share_attr attr = { sizeof(attr), RMEM_SHARE_MAY_FREE, 0 };
	struct rmem *rm = open_checked("full", false), *guest = lender_open(false, false);
	const rmem_addr_t addr = allocate(rm, 24), kept = allocate(rm, 24);
	struct rmem_share_key key;
	uint64_t word;

	(void)state;
	assert_int_equal(lender_check(guest, "full"), 0);
	assert_int_equal(rmem_share(rm, kept, &key), 0);
	assert_int_equal(rmem_attach(guest, kept, &key, NULL), 0);
	assert_int_equal(rmem_free(guest, kept), -EINVAL);
	assert_heard("foreign free");
	assert_heard("the server says: allocated by its owner");
	assert_int_equal(rmem_share_with(rm, addr, &attr, &key), 0);
	assert_int_equal(rmem_attach(guest, addr, &key, NULL), 0);
	assert_int_equal(rmem_free(guest, addr), 0);
	/* Twice, by the owner. */
	heard[0] = '\0';
	assert_int_equal(rmem_free(rm, addr), -EINVAL);
	assert_report("double free of", addr);
	assert_object(24, addr, "freed by another session");
	assert_heard("the server says: freed by another session");
	/* After that, by a session that has it attached; and by the one that has freed it. */
	assert_int_equal(rmem_free(rm, kept), 0);
	pthread_mutex_lock(&guest->session.table);
	session_revoke(&guest->session, blocks_find(&guest->session.blocks, kept));
	pthread_mutex_unlock(&guest->session.table);
	heard[0] = '\0';
	assert_int_equal(rmem_read(guest, &word, kept + 8, 8), -ESTALE);
	assert_report("use after free, a read of what another session shared, at", kept + 8);
	assert_heard("the server says: freed by another session");
	heard[0] = '\0';
	assert_int_equal(rmem_free(guest, addr), -EINVAL);
	assert_report("invalid free of", addr);
	checking_drain(guest, UINT64_MAX);
	checking_drain(rm, UINT64_MAX);
	lender_close(guest);
	lender_close(rm);
}

/* Objects of exactly their bytes, where the NIC is the one that checks. */
static void test_samples(void **state)
{
	struct rmem *rm = open_checked("sample:1", false);
	rmem_addr_t addr;

	(void)state;
	for (size_t bytes = 1; bytes <= OBJECT_BYTES_MAX; bytes = bytes * 3 + 1) {
		addr = allocate(rm, bytes);
		assert_int_equal(lender_find(addr)->size_class, 0);
		assert_int_equal(lender_find(addr)->bytes, bytes);
		assert_int_equal(lender_find(addr)->addr, addr);
		assert_int_equal(rmem_free(rm, addr), 0);
		assert_null(lender_find(addr));
	}
	/* There is no block: it is an object as any other. */
	(void)allocate(rm, 24);
	lender.fail_in = 2; /* the call site gets a number first */
	lender.fail_with = -ENOSPC;
	addr = allocate(rm, 24);
	assert_int_not_equal(lender_find(addr)->size_class, 0);
	assert_int_equal(rmem_free(rm, addr), 0);
	assert_int_equal(rmem_free(rm, addr), -EINVAL);
	assert_report("double free of", addr);
	close_checked(rm);
}

/* One in N on average, and not each N-th. */
static void test_sample_distances(void **state)
{
	struct rmem *rm = open_checked("sample:10", false);
	unsigned samples = 0, distance = 0, shortest = 1000, longest = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		const rmem_addr_t addr = allocate(rm, 64);

		distance++;
		if (lender_find(addr)->size_class == 0) {
			shortest = distance < shortest ? distance : shortest;
			longest = distance > longest ? distance : longest;
			distance = 0;
			samples++;
		}
		assert_int_equal(rmem_free(rm, addr), 0);
	}
	assert_in_range(samples, 1800, 2200);
	assert_int_equal(shortest, 1);
	assert_int_equal(longest, 19);
	assert_string_equal(heard, "");
	close_checked(rm);
}

/* The session is gone: nothing can be read or filled, which is no fault. */
static void test_lost(void **state)
{
	struct rmem *rm = open_checked("full", false);
	const rmem_addr_t kept = allocate(rm, 24), freed = allocate(rm, 24);

	(void)state;
	assert_int_equal(rmem_free(rm, freed), 0);
	lender_lose_all(rm);
	assert_int_equal(rmem_free(rm, kept), -ESTALE);
	checking_drain(rm, UINT64_MAX);
	assert_int_equal(rm->checking->n, 0);
	assert_string_equal(heard, "");
	close_checked(rm);
}

#define both_journals(f) cmocka_unit_test_prestate(f, NULL), cmocka_unit_test_prestate(f, (void *)1)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_open_refuses),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_warm_path_is_off),
		both_journals(test_no_fault),
		both_journals(test_write_past_the_end),
		cmocka_unit_test(test_edges),
		both_journals(test_write_after_free),
		cmocka_unit_test(test_write_to_unused),
		cmocka_unit_test(test_quarantine),
		both_journals(test_bad_frees),
		cmocka_unit_test(test_foreign_free),
		both_journals(test_refused_accesses),
		cmocka_unit_test(test_other_sessions),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_sample_distances),
		cmocka_unit_test(test_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
