/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that several sessions may free (RMEM_SHARE_MAY_FREE), with a lender in the process (tests/support/lender.h): the
 * frees in each order, lost answers, and the slot's next object.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "client/space/call.h"
#include "common/object_record.h"
#include "tests/support/lender.h"

#define SMALL 48
#define LARGE 100000

static struct rmem *owner, *guest, *other;

static void open_all(bool exact)
{
	owner = lender_open(exact, true);
	guest = lender_open(exact, true);
	other = lender_open(exact, true);
	assert_true(owner && guest && other);
}

static void close_all(void)
{
	/* The last has the loans. */
	lender_close(guest);
	lender_close(other);
	lender_close(owner);
}

static struct rmem_share_key key_to(rmem_addr_t addr, uint32_t flags)
{
	struct rmem_share_attr attr = RMEM_SHARE_ATTR_INIT;
	struct rmem_share_key key;

	attr.flags = flags;
	assert_int_equal(rmem_share_with(owner, addr, &attr, &key), 0);
	return key;
}

static rmem_addr_t allocate(size_t bytes)
{
	rmem_addr_t addr = 0;

	assert_int_equal(rmem_alloc(owner, bytes, NULL, &addr), 0);
	return addr;
}

/* An allocation of the owner's that both others have attached, and may free. */
static rmem_addr_t allocate_for_all(size_t bytes)
{
	const rmem_addr_t addr = allocate(bytes);
	const struct rmem_share_key key = key_to(addr, RMEM_SHARE_MAY_FREE);
	size_t got = 0;

	assert_int_equal(rmem_attach(guest, addr, &key, &got), 0);
	assert_true(got == bytes);
	assert_int_equal(rmem_attach(other, addr, &key, NULL), 0);
	return addr;
}

static void expect(int rc, int expected, const char *text)
{
	assert_int_equal(rc, expected);
	if (!strstr(rmem_errmsg(), text))
		fail_msg("\"%s\" is not in: %s", text, rmem_errmsg());
}

static uint64_t record_here(rmem_addr_t addr)
{
	const struct slab *s = blocks_slab(&owner->session.blocks, addr);

	assert_non_null(s);
	return slab_record(s, slab_slot_at(s, addr - s->addr));
}

static uint64_t record_there(rmem_addr_t addr)
{
	const struct loan *loan = lender_find(addr);

	assert_non_null(loan);
	return lender_record(
		loan, (uint32_t)((addr - loan->addr) / size_class_bytes(loan->size_class)));
}

static enum object_state state_there(rmem_addr_t addr)
{
	return object_record_state(record_there(addr));
}

/* The next object of that size, until it is in this slot. */
static void use_again(rmem_addr_t addr)
{
	rmem_addr_t next[2000];
	size_t n = 0;

	do {
		assert_true(n < 2000);
		next[n] = allocate(SMALL);
	} while (next[n++] != addr);
	assert_int_equal(lender_flush(owner), 0);
	assert_int_equal(state_there(addr), OBJECT_LIVE);
	assert_int_equal(rmem_free_many(owner, next, n), 0);
}

static void expect_no_slot_in_use(void)
{
	thread_channels_drain(&owner->channels);
	assert_int_equal(lender_give_back(owner, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
}

/* ---- the orders of two frees ---- */

static void the_owner_first(void **state)
{
	rmem_addr_t addr;

	(void)state;
	for (unsigned exact = 0; exact < 2; exact++) {
		open_all(exact);
		addr = allocate_for_all(SMALL);
		assert_int_equal(rmem_free(owner, addr), 0);
		assert_int_equal(state_there(addr), OBJECT_FREED);
		expect(rmem_free(guest, addr), -EINVAL, "freed already: freed by");
		expect(rmem_free(other, addr), -EINVAL, "freed already: freed by");
		expect(rmem_free(guest, addr), -EINVAL, "was freed already");
		expect(rmem_free(owner, addr), -EINVAL, "was freed already");
		use_again(addr);
		expect_no_slot_in_use();
		close_all();
	}
}

static void another_first(void **state)
{
	rmem_addr_t addr, neighbour;

	(void)state;
	for (unsigned exact = 0; exact < 2; exact++) {
		open_all(exact);
		addr = allocate_for_all(SMALL);
		neighbour = allocate(SMALL);
		assert_int_equal(rmem_free(guest, addr), 0);
		assert_int_equal(state_there(addr), OBJECT_TAKEN);
		expect(rmem_free(other, addr), -EINVAL, "freed already: freed by");
		/* The owner writes what is beside it, and data into it, and not its record. */
		assert_int_equal(rmem_write(owner, neighbour, "data", 4), 0);
		assert_int_equal(rmem_write(owner, addr, "data", 4), 0);
		assert_int_equal(lender_flush(owner), 0);
		assert_int_equal(state_there(addr), OBJECT_TAKEN);
		assert_int_equal(state_there(neighbour), OBJECT_LIVE);
		expect(rmem_free(owner, addr), -EINVAL, "freed already: freed by another session");
		expect(rmem_free(owner, addr), -EINVAL, "was freed already");
		assert_int_equal(rmem_free(owner, neighbour), 0);
		use_again(addr);
		expect_no_slot_in_use();
		close_all();
	}
}

/* The owner does not ask for it: it finds that out, and uses the slot again. */
static void the_owner_finds_out(void **state)
{
	struct rmem_event event = RMEM_EVENT_INIT;
	struct rmem_stat stat = RMEM_STAT_INIT;
	rmem_addr_t addr;

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	assert_int_equal(lender_collect(owner), 0);
	assert_int_equal(rmem_stat(owner, addr, &stat), 0);
	assert_int_equal(rmem_free(guest, addr), 0);
	assert_int_equal(lender_collect(owner), 0);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
	assert_int_equal(rmem_next_event(owner, &event), 1);
	assert_int_equal(event.kind, RMEM_EVENT_REVOKED);
	assert_true(event.addr == addr);
	assert_int_equal(rmem_next_event(owner, &event), 0);
	expect(rmem_stat(owner, addr, &stat), -EFAULT, "that another session has freed");
	expect(rmem_free(owner, addr), -EINVAL, "freed by another session");
	assert_int_equal(lender_collect(owner), 0);
	use_again(addr);
	/* By then the others' frees are too late, and their keys fit nothing. */
	expect(rmem_free(other, addr), -ESTALE, "");
	expect_no_slot_in_use();
	close_all();
}

/* Its end is not confirmed at first, then never: the slot is used again only if it is. */
static void access_ends_before_reuse(void **state)
{
	rmem_addr_t addr, stuck, more[100];

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	assert_int_equal(rmem_free(guest, addr), 0);
	lender.fail_in = 1;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(lender_collect(owner), -ETIMEDOUT);
	assert_int_equal(object_record_state(record_here(addr)), OBJECT_TAKEN);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 1);
	/* It is the slab thread's. */
	expect(rmem_free(owner, addr), -EINVAL, "freed by another session");
	assert_int_equal(lender_collect(owner), 0);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
	use_again(addr);
	stuck = allocate_for_all(SMALL);
	assert_int_equal(rmem_free(other, stuck), 0);
	lender.fail_in = 1;
	lender.fail_with = -EIO;
	assert_int_equal(lender_collect(owner), 0);
	for (unsigned i = 0; i < 100; i++) {
		more[i] = allocate(SMALL);
		assert_true(more[i] != stuck);
	}
	assert_int_equal(rmem_free_many(owner, more, 100), 0);
	thread_channels_drain(&owner->channels);
	assert_int_equal(lender_give_back(owner, true), 0);
	assert_true(lender.lent_bytes > 0);
	close_all();
}

/* ---- lost answers ---- */

static void a_lost_answer_to_the_owner(void **state)
{
	rmem_addr_t addr;

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	lender.fail_in = 1; /* it did not arrive */
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(rmem_free(owner, addr), -ETIMEDOUT);
	assert_int_equal(state_there(addr), OBJECT_LIVE);
	assert_int_equal(object_record_state(record_here(addr)), OBJECT_LIVE);
	lender.lose_answer_in = 1; /* it did */
	assert_int_equal(rmem_free(owner, addr), -ETIMEDOUT);
	assert_int_equal(state_there(addr), OBJECT_FREED);
	assert_int_equal(lender_flush(owner), 0);
	assert_int_equal(state_there(addr), OBJECT_FREED);
	expect(rmem_free(guest, addr), -EINVAL, "freed already");
	assert_int_equal(rmem_free(owner, addr), 0);
	expect(rmem_free(owner, addr), -EINVAL, "was freed already");
	use_again(addr);
	expect_no_slot_in_use();
	close_all();
}

/* What was revoked, which the owner does not know, is freed with the record that it has by now. */
static void a_lost_answer_to_unshare(void **state)
{
	struct rmem_share_key key;
	rmem_addr_t addr;
	uint64_t record;

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	record = record_there(addr);
	lender.lose_answer_in = 1;
	assert_int_equal(rmem_unshare(owner, addr), -ETIMEDOUT);
	assert_true(record_there(addr) != record);
	record = record_there(addr);
	assert_int_equal(lender_flush(owner), 0);
	assert_true(record_there(addr) == record);
	expect(rmem_free(guest, addr), -ESTALE, "");
	key = key_to(addr, RMEM_SHARE_MAY_FREE);
	assert_int_equal(rmem_attach(guest, addr, &key, NULL), 0);
	assert_int_equal(rmem_free(owner, addr), 0);
	expect(rmem_free(guest, addr), -EINVAL, "freed already");
	use_again(addr);
	expect_no_slot_in_use();
	close_all();
}

/* ---- revoking ---- */

static void revoked_keys_free_nothing(void **state)
{
	struct rmem_share_key key;
	rmem_addr_t addr;
	uint64_t record;

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	record = record_there(addr);
	assert_int_equal(rmem_unshare(owner, addr), 0);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
	assert_true(record_there(addr) == record_here(addr));
	assert_true(record_there(addr) != record);
	expect(rmem_free(guest, addr), -ESTALE, "");
	/* From here on it is written as any other. */
	assert_int_equal(rmem_free(owner, addr), 0);
	assert_int_equal(lender_flush(owner), 0);
	assert_int_equal(state_there(addr), OBJECT_FREED);
	/* The next one, that another frees, while its keys are being revoked. */
	use_again(addr);
	addr = allocate(SMALL);
	key = key_to(addr, RMEM_SHARE_MAY_FREE);
	(void)rmem_detach(other, addr); /* it may be where the one before was */
	assert_int_equal(rmem_attach(guest, addr, &key, NULL), 0);
	assert_int_equal(rmem_free(guest, addr), 0);
	expect(rmem_unshare(owner, addr), -ESTALE, "freed already: freed by another session");
	expect(rmem_free(owner, addr), -EINVAL, "freed by another session");
	use_again(addr);
	expect_no_slot_in_use();
	close_all();
}

/* ---- blocks ---- */

static void blocks_too(void **state)
{
	rmem_addr_t addr;

	(void)state;
	open_all(false);
	addr = allocate_for_all(LARGE);
	assert_int_equal(rmem_free(owner, addr), 0);
	expect(rmem_free(guest, addr), -EINVAL, "freed already");
	assert_int_equal(rmem_detach(other, addr), 0);
	addr = allocate_for_all(LARGE);
	assert_int_equal(rmem_free(guest, addr), 0);
	expect(rmem_free(guest, addr), -EINVAL, "was freed already");
	expect(rmem_free(owner, addr), -EINVAL, "freed already: freed by");
	expect(rmem_free(owner, addr), -EINVAL, "was freed already");
	expect(rmem_free(other, addr), -EINVAL, "freed already: freed by");
	assert_int_equal(lender.lent_bytes, 0);
	/* Revoked, it is the owner's alone. */
	addr = allocate_for_all(LARGE);
	assert_int_equal(rmem_unshare(owner, addr), 0);
	expect(rmem_free(guest, addr), -ESTALE, "");
	assert_int_equal(rmem_free(owner, addr), 0);
	assert_int_equal(lender.lent_bytes, 0);
	close_all();
}

/* ---- who may not ---- */

static void other_keys_do_not_admit(void **state)
{
	struct rmem_share_attr attr = RMEM_SHARE_ATTR_INIT;
	const size_t bytes[] = { SMALL, LARGE };
	struct rmem_share_key key;
	rmem_addr_t addr;

	(void)state;
	open_all(false);
	for (unsigned i = 0; i < 2; i++) {
		addr = allocate(bytes[i]);
		key = key_to(addr, 0);
		assert_int_equal(rmem_attach(guest, addr, &key, NULL), 0);
		key = key_to(addr, RMEM_SHARE_READ_ONLY);
		assert_int_equal(rmem_attach(other, addr, &key, NULL), 0);
		expect(rmem_free(guest, addr), -EINVAL, "rmem_detach()");
		expect(rmem_free(other, addr), -EINVAL, "rmem_detach()");
		assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
		assert_int_equal(rmem_detach(guest, addr), 0);
		assert_int_equal(rmem_detach(other, addr), 0);
		attr.flags = RMEM_SHARE_READ_ONLY | RMEM_SHARE_MAY_FREE;
		expect(rmem_share_with(owner, addr, &attr, &key), -EINVAL, "reading only");
		attr.flags = 4;
		assert_int_equal(rmem_share_with(owner, addr, &attr, &key), -EINVAL);
		assert_int_equal(rmem_free(owner, addr), 0);
	}
	expect_no_slot_in_use();
	close_all();
}

/* What was lost with the session is nobody's to free. */
static void lost_with_the_session(void **state)
{
	rmem_addr_t addr;

	(void)state;
	open_all(false);
	addr = allocate_for_all(SMALL);
	lender_lose_all(owner);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
	assert_int_equal(lender_collect(owner), 0);
	assert_int_equal(rmem_free(owner, addr), -ESTALE);
	addr = allocate_for_all(SMALL);
	lender.lose_in = 1; /* in the middle of it */
	assert_int_equal(rmem_free(owner, addr), -ESTALE);
	expect(rmem_free(owner, addr), -EINVAL, "");
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_owner_first),
		cmocka_unit_test(another_first),
		cmocka_unit_test(the_owner_finds_out),
		cmocka_unit_test(access_ends_before_reuse),
		cmocka_unit_test(a_lost_answer_to_the_owner),
		cmocka_unit_test(a_lost_answer_to_unshare),
		cmocka_unit_test(revoked_keys_free_nothing),
		cmocka_unit_test(blocks_too),
		cmocka_unit_test(other_keys_do_not_admit),
		cmocka_unit_test(lost_with_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
