/* SPDX-License-Identifier: BSD-3-Clause */
/* Work on several items at the same time, each in a thread of its own, while the caller waits. */
#ifndef RMEM_SERVER_BASE_CREW_H
#define RMEM_SERVER_BASE_CREW_H

#include "common/errinfo.h"

struct crew {
	int (*work)(void *item, struct errinfo *errinfo);
	void (*watch)(void *arg); /* called by the caller's thread ten times a second */
	void *arg;
};

/*
 * Where no thread can be started, the caller works itself. Returns when all are done: 0, or the error of the first item
 * (in the list's order) that has one other than -ECANCELED, else -ECANCELED if any has.
 */
int crew_run(const struct crew *crew, void *const *items, unsigned n, struct errinfo *errinfo);

#endif
