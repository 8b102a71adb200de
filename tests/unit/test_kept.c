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

/* The next object of that size, until it is in this slot: how many. */
static size_t allocate_at(rmem_addr_t addr, rmem_addr_t next[2000])
{
	size_t n = 0;

	do {
		assert_true(n < 2000);
		next[n] = allocate(SMALL);
	} while (next[n++] != addr);
	return n;
}

static void use_again(rmem_addr_t addr)
{
	rmem_addr_t next[2000];
	const size_t n = allocate_at(addr, next);

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

static rmem_addr_t contested;

/* Its owner finds it freed, and has another object in its slot, before it hears of it elsewhere. */
static void free_and_use_again(void)
{
	rmem_addr_t next[2000];

	expect(rmem_free(owner, contested), -EINVAL, "freed by another session");
	(void)allocate_at(contested, next);
}

static void revoking_frees_no_other_object(void **state)
{
	(void)state;
	open_all(false);
	contested = allocate_for_all(SMALL);
	assert_int_equal(rmem_free(guest, contested), 0);
	lender.meanwhile = free_and_use_again;
	expect(rmem_unshare(owner, contested), -ESTALE, "freed already");
	assert_int_equal(object_record_state(record_here(contested)), OBJECT_LIVE);
	assert_int_equal(rmem_free(owner, contested), 0);
	close_all();
}

static void share_again(void)
{
	(void)key_to(contested, RMEM_SHARE_MAY_FREE);
}

static void revoke(void)
{
	assert_int_equal(rmem_unshare(owner, contested), 0);
}

static bool is_shared(rmem_addr_t addr)
{
	return slab_is_shared(blocks_slab(&owner->session.blocks, addr), addr);
}

/* It is shared anew while its keys are being revoked: what the owner knows of it allows for the new key. */
static void shared_while_revoked(void **state)
{
	rmem_addr_t first;

	(void)state;
	open_all(false);
	contested = allocate_for_all(SMALL);
	lender.meanwhile = share_again;
	assert_int_equal(rmem_unshare(owner, contested), 0);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 1);
	assert_true(is_shared(contested));
	assert_int_equal(rmem_unshare(owner, contested), 0);
	assert_int_equal(atomic_load(&owner->session.depot.kept), 0);
	assert_false(is_shared(contested));
	/* Another one, which is shared meanwhile, makes no difference. */
	(void)key_to(contested, RMEM_SHARE_MAY_FREE);
	first = contested;
	contested = allocate(SMALL);
	lender.meanwhile = share_again;
	assert_int_equal(rmem_unshare(owner, first), 0);
	assert_false(is_shared(first));
	assert_int_equal(rmem_free(owner, first), 0);
	(void)key_to(contested, 0);
	lender.meanwhile = share_again;
	assert_int_equal(rmem_unshare(owner, contested), 0);
	assert_true(is_shared(contested));
	/* ... or the other way round: the key is given out last. */
	lender.meanwhile = revoke;
	(void)key_to(contested, 0);
	assert_true(is_shared(contested));
	assert_int_equal(rmem_free(owner, contested), 0);
	contested = first = allocate_for_all(LARGE);
	lender.meanwhile = share_again;
	assert_int_equal(rmem_unshare(owner, first), 0);
	assert_true(blocks_find(&owner->session.blocks, first)->may_free);
	assert_int_equal(rmem_free(owner, first), 0);
	close_all();
}

/* ---- what is on its way ---- */

/* With the exact journal a write may have the record in front of it; with the lazy one nobody waits for it. */
static void operations_are_awaited(void **state)
{
	struct rmem_share_attr attr = RMEM_SHARE_ATTR_INIT;
	struct rmem_share_key key;
	struct grace_member m;
	rmem_addr_t addr;

	(void)state;
	attr.flags = RMEM_SHARE_MAY_FREE;
	for (unsigned exact = 0; exact < 2; exact++) {
		memset(&m, 0, sizeof(m));
		open_all(exact);
		addr = allocate(SMALL);
		owner->session.timeout_ns = 5 * NSEC_PER_MSEC;
		grace_join(&owner->session.grace, &m);
		grace_add(&m.begun, 1);
		/* Also if an earlier call has begun it. */
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(
				rmem_share_with(owner, addr, &attr, &key), exact ? -ETIMEDOUT : 0);
		grace_add(&m.ended, 1);
		assert_int_equal(rmem_share_with(owner, addr, &attr, &key), 0);
		assert_int_equal(rmem_free(owner, addr), 0);
		grace_leave(&owner->session.grace, &m, true);
		close_all();
	}
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

/* The memory of so many slabs that were lost is for others: all their slots have come back. */
static void expect_reused(unsigned n)
{
	thread_channels_drain(&owner->channels);
	assert_int_equal(lender_give_back(owner, false), 0);
	for (const struct slab *s = owner->session.depot.unused; s; s = s->next)
		n--;
	assert_int_equal(n, 0);
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
	expect_reused(2);
	/* ... and while one is collected that another has freed. */
	addr = allocate_for_all(SMALL);
	assert_int_equal(rmem_free(guest, addr), 0);
	lender.lose_in = 1;
	assert_int_equal(lender_collect(owner), 0);
	expect_reused(2);
	/* The answer is lost, and then the session. */
	addr = allocate_for_all(SMALL);
	lender.lose_in = lender.fail_in = 1;
	lender.fail_with = -ETIMEDOUT;
	assert_int_equal(rmem_free(owner, addr), -ESTALE);
	expect_reused(2);
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
		cmocka_unit_test(revoking_frees_no_other_object),
		cmocka_unit_test(shared_while_revoked),
		cmocka_unit_test(operations_are_awaited),
		cmocka_unit_test(blocks_too),
		cmocka_unit_test(other_keys_do_not_admit),
		cmocka_unit_test(lost_with_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
