/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools in a test's directory: lend, fill, give back, and see whether what is free is zero. Each test program
 * includes this once.
 */
#ifndef RMEM_TESTS_POOLS_H
#define RMEM_TESTS_POOLS_H

#include "tests/support/dir.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "common/units.h"
#include "numa/topology.h"
#include "rmem/rmem.h"
#include "server/memory/pool.h"

#define ARENA_BYTES (1 * MIB)

static struct topology *machine;

static inline int load_machine(void **state)
{
	(void)state;
	return topology_load(&machine);
}

static inline int forget_machine(void **state)
{
	(void)state;
	topology_destroy(machine);
	return 0;
}

static inline struct datadir data_of(int fd, const char *path)
{
	struct datadir d = { .arenas = fd, .tables = fd };

	snprintf(d.arenas_path, sizeof(d.arenas_path), "%s", path);
	snprintf(d.tables_path, sizeof(d.tables_path), "%s", path);
	return d;
}

static inline int try_open(
	struct pool *p, const struct datadir *data, uint64_t bytes, struct errinfo *errinfo)
{
	const struct sizes sizes = { 1, { { topology_at(machine, 0)->node, bytes } } };

	return pool_open(p, data, &sizes, machine, errinfo);
}

static inline void must_open(struct pool *p, const struct datadir *data, uint64_t bytes)
{
	struct errinfo errinfo = { "" };

	if (try_open(p, data, bytes, &errinfo) != 0)
		fail_msg("%s", errinfo.text);
}

/* SIGTERM, as rmemd has it while it starts: blocked, and pending or not. */
static inline void tell_to_stop(bool stop)
{
	static const struct timespec at_once;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (stop)
		raise(SIGTERM);
	else
		sigtimedwait(&set, NULL, &at_once);
}

static inline struct segment *first_segment(const struct pool *p)
{
	unsigned cursor = 0;

	return pool_next_segment(p, &cursor);
}

static inline int try_lend(struct pool *p, uint64_t bytes, const struct allocation **out)
{
	const struct allocation draft = { .session_serial = 1 };
	const struct wish wish = { .bytes = bytes };

	return pool_alloc(p, &wish, &draft, out);
}

static inline const struct allocation *lend(struct pool *p, uint64_t bytes)
{
	const struct allocation *a = NULL;

	assert_int_equal(try_lend(p, bytes, &a), 0);
	return a;
}

/* The whole block, whatever was asked for. */
static inline void fill(struct pool *p, const struct allocation *a, char with)
{
	memset(pool_pointer(p, a), with, allocation_block_bytes(a));
}

static inline void give_back(struct pool *p, const struct allocation *a)
{
	assert_int_equal(ledger_set_state(p->ledger, a, ALLOCATION_REVOKING), 0);
	pool_quarantine(p, a);
}

/* There is a block of so many bytes that were asked for, full of it. */
static inline void assert_holds(struct pool *p, uint64_t bytes, char what)
{
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(p->ledger, &cursor)) != NULL && a->bytes != bytes)
		;
	assert_non_null(a);
	for (uint64_t i = 0; i < allocation_block_bytes(a); i++) {
		if (((const char *)pool_pointer(p, a))[i] != what)
			fail_msg("byte %" PRIu64 " of %" PRIu64 " is not what it was", i, bytes);
	}
}

/* What the next clients would get, page by page; afterwards the pool is full. */
static inline void assert_free_is_zero(struct pool *p)
{
	const struct allocation *a;

	while (try_lend(p, BLOCK_MIN_BYTES, &a) == 0) {
		const char *page = pool_pointer(p, a);

		for (unsigned i = 0; i < BLOCK_MIN_BYTES; i++) {
			if (page[i])
				fail_msg("0x%" PRIx64 " is lent with old contents: %02x",
					a->addr + i, (unsigned char)page[i]);
		}
	}
}

static inline void add_size(void *arg, const struct arena_entry *entry)
{
	*(uint64_t *)arg += entry->bytes;
}

/* Of all arenas in the directory. */
static inline uint64_t stored_bytes(const struct datadir *data)
{
	uint64_t bytes = 0;

	assert_int_equal(arena_scan(data->arenas, add_size, &bytes), 0);
	return bytes;
}

/* Open it once more and give up all that is in it. */
static inline void leave_nothing(const struct datadir *data, uint64_t bytes)
{
	struct pool p;

	must_open(&p, data, bytes);
	datadir_remove_files(data, p.id, false);
	pool_close(&p);
}

#endif
