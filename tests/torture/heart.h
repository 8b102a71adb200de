/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time as this process has had it. A thread beats a hundred times a second; what is missing between two beats is
 * time in which the process did not run, because it was stopped, or because the machine stood still or had no
 * processor for it. No call is blamed for such time.
 *
 * The same thread finds calls that do not return: it tells where they are, and ends the process.
 */
#ifndef RMEM_TESTS_TORTURE_HEART_H
#define RMEM_TESTS_TORTURE_HEART_H

#include <stdint.h>

#include "tests/torture/board.h"

int64_t heart_now(void); /* CLOCK_MONOTONIC, in ns */

/* Start beating. All bounds get slack_ms on top. 0 or -errno. */
int heart_start(int slack_ms);

/* A public call of this thread. */
struct heart_call {
	enum board_call call;
	int64_t begin, bound_ns;
};
void heart_begin(struct heart_call *c, enum board_call call, int64_t bound_ms);
void heart_end(struct heart_call *c, int rc);

/* The result of a public call, which is counted, timed, and blamed if it took longer than its bound. */
#define TIMED(call, bound_ms, expression) \
	({ \
		struct heart_call timed_; \
		int timed_rc_; \
		heart_begin(&timed_, call, bound_ms); \
		timed_rc_ = (expression); \
		heart_end(&timed_, timed_rc_); \
		timed_rc_; \
	})

/* This thread makes no more calls. */
void heart_retire(void);

/* A pause between two tries. */
void heart_pause(int ms);

#endif
