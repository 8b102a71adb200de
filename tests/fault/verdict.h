/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is right and wrong in the scenario: a step that fails must fail with an error that rmem.h names for that
 * call, and with a sentence, and each fault is one failed step at most. (A fault in rmemd may fail a few, and
 * may leave the pool full.) What is wrong ends the process with a line on standard error that says in which step.
 *
 * It is also what tells the interposer and the test, by the plan that they share, how far the scenario is.
 */
#ifndef RMEM_TESTS_FAULT_VERDICT_H
#define RMEM_TESTS_FAULT_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

/* Calls that may fail with the same errors. */
enum verdict_call { VERDICT_ANY, VERDICT_OPEN, VERDICT_ALLOC, VERDICT_ATOMIC, VERDICT_QUEUE };

/* faults_of_server: so many calls of rmemd fail; 0: it is librmem's that do. */
void verdict_begin(unsigned faults_of_server);

/* From now on it is doing this. */
void verdict_step(const char *name);

/* From now on nothing fails any more. */
void verdict_pause(void);

/* Exits. */
_Noreturn void verdict_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The step has returned this, with this sentence; 0 is no failure, and not for here. */
void verdict_judge(enum verdict_call call, int rc, const char *text);

/* The bytes are what they should be. */
void verdict_compare(const void *got, const void *wanted, size_t n, const char *what);

#endif
