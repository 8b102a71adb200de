/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sentences of the last failures of a queue, by number, so that each operation that has failed has its own.
 * Pure; nothing is allocated but by reasons_create(). The channel's thread.
 */
#ifndef RMEM_CLIENT_DATA_REASONS_H
#define RMEM_CLIENT_DATA_REASONS_H

#include <stdint.h>

#include "common/errinfo.h"

#define REASONS_NUMBER_MAX 0xffffffU /* then they begin again */

struct reason {
	uint32_t number; /* 0: none yet */
	struct errinfo errinfo;
};

struct reasons {
	uint32_t last; /* number given; 0: none yet */
	uint32_t kept;
	struct reason items[];
};

/* Of as many as this, at least 1. NULL: out of memory. To be freed with free(). */
struct reasons *reasons_create(unsigned kept);

/* Keep it: its number, which is that of the one before if both say the same. 0: nothing was said, or r is NULL. */
uint32_t reasons_add(struct reasons *r, const struct errinfo *errinfo);

/* NULL: number is 0, or there have been too many since. */
const struct errinfo *reasons_find(const struct reasons *r, uint32_t number);

#endif
