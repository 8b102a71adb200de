/* SPDX-License-Identifier: BSD-3-Clause */
/* What record.c writes and pack.c reads, on the same machine. */
#ifndef RMEM_BENCH_TRACES_RAW_H
#define RMEM_BENCH_TRACES_RAW_H

#include <stdint.h>

enum raw_kind { RAW_MALLOC, RAW_CALLOC, RAW_ALIGNED, RAW_REALLOC, RAW_FREE };

struct raw_event {
	uint64_t addr;
	uint64_t other; /* RAW_REALLOC: the former address; RAW_ALIGNED: the alignment */
	uint64_t bytes;
	uint32_t thread; /* from 0 */
	uint32_t kind;
};

#endif
