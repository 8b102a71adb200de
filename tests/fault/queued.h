/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steps of the scenario that use a queue: one operation of each kind, started together, with a fence and a
 * submit between them, and reaped; by a queue that waits itself, and after queued_fd() by polling its descriptor.
 *
 * The step is repeated for those operations that have not succeeded yet, as an application would.
 */
#ifndef RMEM_TESTS_FAULT_QUEUED_H
#define RMEM_TESTS_FAULT_QUEUED_H

int queued_create(void);
int queued_fd(void);
int queued_all(void);
int queued_destroy(void);

#endif
