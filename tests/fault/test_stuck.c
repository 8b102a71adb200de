/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device never destroys one window, or one region, of rmemd: what it lent can then not be taken back for
 * certain. The block is a zombie: shown, counted, and lent to nobody; everybody else is served, rmemd
 * stops as always, and its next run has the block back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rmem/rmem.h"
#include "tests/fault/driver.h"
#include "tests/rxe/client.h"
#include "tests/rxe/lib.h"

#define BLOCK (64UL << 10)
#define LARGE (1UL << 20)
#define HELD_MAX 256

static const char *const room[] = { "--size", "64M", NULL };

struct world {
	struct rig *rig;
	struct fault_plan *plan;
	struct client *bystander;
	uint64_t bytes; /* where it wrote */
};

static void begin(struct world *w, struct rig *rig)
{
	char path[128];

	*w = (struct world){ .rig = rig, .plan = fault_share(rig, "server-plan", path) };
	fault_preload_begin(path, "");
	rig_start(rig, room);
	fault_preload_end();
	w->bystander = client_start_puppet(rig->server, RIG_LIMIT_MS);
	client_open(w->bystander);
	w->bytes = client_alloc(w->bystander, BLOCK, -1);
	client_fill(w->bystander, w->bytes, BLOCK, 5);
}

/* From the next one on that it is to destroy, rmemd keeps that object for ever. */
static void keep_next(struct world *w, enum fault_kind kind)
{
	w->plan->sticks = 1;
	fault_plan_arm(w->plan, kind, 1);
}

static rmem_addr_t alloc_written(struct rmem *rm, const char text[8])
{
	rmem_addr_t addr;

	assert_int_equal(rmem_alloc(rm, BLOCK, NULL, &addr), 0);
	assert_int_equal(rmem_write(rm, addr, text, 8), 0);
	return addr;
}

static void assert_reads(struct rmem *rm, rmem_addr_t addr, const char text[8])
{
	char back[8];

	if (rmem_read(rm, back, addr, sizeof(back)))
		fail_msg("rmem_read: %s", rmem_errmsg());
	assert_memory_equal(back, text, sizeof(back));
}

static bool has_zombie(const json_t *leaks, void *arg)
{
	(void)arg;
	return rig_number(leaks, "summary.zombie.blocks") == 1;
}

static void assert_in_map(struct rig *r, rmem_addr_t addr, const char *state)
{
	json_t *map = rig_ask(r, "map");
	const json_t *block;
	char text[32];
	bool found = false;
	size_t i;

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)addr);
	json_array_foreach(json_object_get(map, "blocks"), i, block)
	{
		if (strcmp(rig_text(block, "addr"), text) != 0)
			continue;
		assert_string_equal(rig_text(block, "state"), state);
		found = true;
	}
	assert_true(found);
	json_decref(map);
}

/* Take all that the pool has: none of it is the zombie. Then give it back. */
static void assert_not_lent(const struct world *w, rmem_addr_t zombie)
{
	static const size_t sizes[] = { LARGE, BLOCK };
	struct rmem *rm = lib_open(w->rig->server, 0);
	rmem_addr_t held[HELD_MAX];
	size_t n = 0;
	int err;

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		while ((err = rmem_alloc(rm, sizes[k], NULL, &held[n])) == 0) {
			assert_true(held[n] + sizes[k] <= zombie || held[n] >= zombie + BLOCK);
			assert_true(++n < HELD_MAX);
		}
		assert_int_equal(err, -ENOSPC);
	}
	assert_true(n > 60); /* of 64 MiB */
	while (n)
		assert_int_equal(rmem_free(rm, held[--n]), 0);
	assert_int_equal(rmem_close(rm), 0);
}

/* On whichever node the block is. */
static long long zombie_bytes(const json_t *leaks)
{
	const json_t *node;
	long long sum = 0;
	size_t i;

	json_array_foreach(json_object_get(leaks, "nodes"), i, node) sum +=
		rig_number(node, "zombie_bytes");
	return sum;
}

/* What the operator sees, what others see, and the end of it. */
static void finish(struct world *w, rmem_addr_t zombie)
{
	json_t *leaks = rig_await(w->rig, "leaks", has_zombie, NULL, "the block is a zombie");

	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "summary.zombie.bytes"), BLOCK);
	assert_int_equal(zombie_bytes(leaks), BLOCK);
	json_decref(leaks);
	assert_in_map(w->rig, zombie, "zombie");
	assert_true(fault_log_says(w->rig, "error: ", "does not confirm"));

	assert_not_lent(w, zombie);
	client_check(w->bystander, w->bytes, BLOCK, 5);
	assert_int_equal(w->bystander->failures, 0);
	client_free(w->bystander, w->bytes);
	client_close(w->bystander);
	client_finish(w->bystander);
	rig_stop(w->rig, true);
	fault_unshare(w->plan);

	/* Its queue pairs, windows and regions ended with it: the next one wipes the block, and has it back. */
	rig_start(w->rig, room);
	leaks = rig_ask(w->rig, "leaks");
	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	json_decref(leaks);
	rig_stop(w->rig, false);
}

/* A repeated FREE does not say that nothing reaches the memory any more, as long as something may. */
static void expect_not_confirmed(struct rmem *owner, rmem_addr_t addr)
{
	int err;

	do
		err = rmem_free(owner, addr);
	while (err == -ETIMEDOUT || err == -ECONNRESET);
	lib_expect(err, -EIO, "does not confirm");
	lib_expect(rmem_free(owner, addr), -EINVAL, "was freed already");
}

static void test_window_of_owner(void **state)
{
	struct world w;
	struct rmem *owner;
	rmem_addr_t addr;

	begin(&w, *state);
	owner = lib_open(w.rig->server, 0);
	addr = alloc_written(owner, "stuck..");
	keep_next(&w, FAULT_ibv_dealloc_mw);
	/* The intent is on record: it is not the client's any more, confirmed or not. */
	expect_not_confirmed(owner, addr);
	assert_true(w.plan->fired);
	rmem_close(owner);
	finish(&w, addr);
}

static void test_region_of_guest(void **state)
{
	struct world w;
	struct rmem *owner, *guest;
	struct rmem_share_key key;
	rmem_addr_t addr;
	int err;

	begin(&w, *state);
	owner = lib_open(w.rig->server, 0);
	guest = lib_open(w.rig->server, 0);
	addr = alloc_written(owner, "shared.");
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_attach(guest, addr, &key, NULL), 0);
	assert_reads(guest, addr, "shared.");
	keep_next(&w, FAULT_ibv_dereg_mr);
	do
		err = rmem_detach(guest, addr); /* which can be repeated, says rmem.h */
	while (err == -ETIMEDOUT || err == -ECONNRESET);
	assert_true(w.plan->fired);
	assert_int_equal(err, -EIO);

	/* It is the owner's as before, until that gives it up: then it is nobody's. */
	assert_in_map(w.rig, addr, "live");
	assert_reads(owner, addr, "shared.");
	expect_not_confirmed(owner, addr);
	rmem_close(guest);
	rmem_close(owner);
	finish(&w, addr);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_window_of_owner),
		RIG_TEST(test_region_of_guest),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_FAULT_SERVER, tests, sizeof(tests) / sizeof(tests[0]));
}
