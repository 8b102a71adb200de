/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the ledger share: records to be put into one, moves to their end, a model of what is in
 * it, and random numbers that RMEM_TEST_SEED changes. Each test program includes this once.
 */
#ifndef RMEM_TESTS_DRAFTS_H
#define RMEM_TESTS_DRAFTS_H

#include "tests/support/dir.h"

#include <stdio.h>

#include "common/addr.h"
#include "common/units.h"
#include "server/memory/buddy.h"
#include "server/ledger/ledger.h"

#define NAME "ledger"
#define MAX 256
#define ARENA (4 * MIB)

static uint64_t seed;

static inline uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* A whole main(). */
static inline int run_with_seed(const char *name, const struct CMUnitTest *tests, size_t count)
{
	const char *text = getenv("RMEM_TEST_SEED");

	seed = text ? strtoull(text, NULL, 0) : 0x9e3779b97f4a7c15ULL;
	printf("RMEM_TEST_SEED=%#llx\n", (unsigned long long)seed);
	return seed ? _cmocka_run_group_tests(name, tests, count, NULL, NULL) : 2;
}

static inline struct allocation draft(uint64_t offset, uint64_t bytes, uint32_t session)
{
	struct allocation a;

	memset(&a, 0, sizeof(a));
	a.addr = addr_make(64, offset);
	a.bytes = bytes;
	a.session = session;
	a.session_serial = session + 1000;
	a.birth_ns = 77;
	a.site = 3;
	a.seq = 9;
	return a;
}

static inline int end_record(struct ledger *l, const struct allocation *a)
{
	int err = 0;

	if (a->state == ALLOCATION_LIVE)
		err |= ledger_set_state(l, a, ALLOCATION_REVOKING);
	if (a->state == ALLOCATION_REVOKING)
		err |= ledger_set_state(l, a, ALLOCATION_QUARANTINE);
	return err | ledger_set_state(l, a, ALLOCATION_FREE);
}

/* What is, or was, in the ledger. */
struct model {
	struct allocation live[MAX];
	unsigned n;
	uint64_t last_serial;
};

#endif
