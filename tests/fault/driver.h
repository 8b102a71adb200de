/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both fault tests do: share a plan with a process, choose which calls fail, run the scenario, and
 * judge how it ended. One thread. ERRORS: what goes wrong here fails the running test; what the
 * scenario or librmem did wrong is told (fault_complain) and counted, so that one run finds all.
 */
#ifndef RMEM_TESTS_FAULT_DRIVER_H
#define RMEM_TESTS_FAULT_DRIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/fault/plan.h"
#include "tests/rxe/rig.h"

#define FAULT_CHOSEN_MAX 4096

/* A plan in a file of its own in the rig's directory. */
struct fault_plan *fault_share(struct rig *r, const char *name, char path[128]);
void fault_unshare(struct fault_plan *plan);

/* What is started between these two gets the interposer. */
void fault_preload_begin(const char *plan_path, const char *owner);
void fault_preload_end(void);

/*
 * Which calls of a kind to fail, from what was counted since the plan was armed: the first from every
 * place (a place is a call stack in the object whose calls count); then, while there are fewer than limit,
 * the last from every place, and an even spread. Ascending; returns how many.
 */
size_t fault_choose(const struct fault_plan *plan, enum fault_kind kind, size_t limit,
	uint64_t out[FAULT_CHOSEN_MAX], size_t *places);

/*
 * Did a call of this kind fail in any of its runs? If none did nothing was tested, and that is told; unless it was never
 * called and need not be: absent lists such kinds, until FAULT_NONE.
 */
bool fault_happened(
	enum fault_kind kind, const enum fault_kind absent[], uint64_t calls, unsigned fired);

/* Is this kind to be tried, says $RMEM_FAULT_KIND (names with commas)? */
bool fault_wanted(enum fault_kind kind);
size_t fault_limit(size_t limit); /* unless $RMEM_FAULT_LIMIT says otherwise */
/* How many calls deep a place is while calls are counted, says $RMEM_FAULT_DEPTH; 0: all. */
uint32_t fault_depth(void);
/* If $RMEM_FAULT_N is set, only that one call; else 0. */
uint64_t fault_only_n(void);

/*
 * Are all places of this kind to fail in one run, each once and one after the other? So it is with $RMEM_FAULT_LIMIT=1,
 * where a failing call leaves everything as it was, and the step that made it is tried again. What ends something, or
 * breaks a connection, has a run of its own.
 */
bool fault_in_one_run(enum fault_kind kind);

/* Run the scenario; plan_path NULL: without the interposer. False: it ended badly (told). */
bool fault_scenario(struct rig *r, const char *mode, int files, struct fault_plan *plan,
	const char *plan_path, const char *about);

/* The number that a scenario printed. */
int fault_printed(struct rig *r);

/* Has rmemd logged a line with both texts? */
bool fault_log_says(const struct rig *r, const char *level, const char *text);

/*
 * Print what is wrong, with what the scenario said and the stack of the call that failed. program: the
 * one that has the plan, for the names of its functions.
 */
void fault_complain(struct rig *r, const struct fault_plan *plan, const char *program,
	const char *about, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
