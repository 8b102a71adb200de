/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session of the lender (lender.h) with a queue, for tests of rmem_start_alloc() and its like. Operations of the queue complete when
 * the test says so; the thread that carries calls out stands still while the test has the session's control.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka). One thread, but for calls_reap_one().
 */
#ifndef RMEM_TESTS_SUPPORT_CALLS_BENCH_H
#define RMEM_TESTS_SUPPORT_CALLS_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>

#include "client/api/queue.h"
#include "tests/support/lender.h"

#define CALLS_BLOCK 100000U /* bytes of an allocation that is no small one */
#define CALLS_DEPTH 8
#define CALLS_LIMIT_MS 90000

struct calls_bench {
	struct rmem *rm;
	struct rmem_queue *q;
};

extern unsigned calls_may_complete;               /* operations, at the next look */
extern bool calls_no_thread, calls_no_descriptor; /* there is none to be had */

struct calls_bench calls_set_up(unsigned depth, uint32_t flags);
/* All that is left of calls is done; slabs are given back; then nothing is lent. */
void calls_tear_down(struct calls_bench *b);

void calls_hold(struct calls_bench *b);
void calls_let_go(struct calls_bench *b);

/* As progress_start() leaves an operation that is on its way. */
void calls_start_operation(struct rmem_queue *q, uint64_t tag);

/* The next completion, which must have this tag; or there must be none. */
struct rmem_completion calls_reap_one(struct rmem_queue *q, uint64_t tag);
void calls_expect_nothing(struct rmem_queue *q, int timeout_ms);
/* ... of an allocation that has succeeded: its address. */
rmem_addr_t calls_reap_address(struct rmem_queue *q, uint64_t tag, uint64_t bytes);

/* Start and reap. A small one has 100 bytes. */
rmem_addr_t calls_alloc_block(struct rmem_queue *q, uint64_t tag);
rmem_addr_t calls_alloc_small(struct rmem_queue *q, const struct rmem_alloc_attr *attr);
void calls_free_block(struct rmem_queue *q, rmem_addr_t addr, uint64_t tag);

#endif
