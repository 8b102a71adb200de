/* SPDX-License-Identifier: BSD-3-Clause */
/* What is compared with each other: allocators, as bench/replay.c and bench/malloc.c see them. */
#ifndef RMEM_BENCH_ALLOCATOR_H
#define RMEM_BENCH_ALLOCATOR_H

#include <stddef.h>
#include <stdint.h>

struct allocator {
	const char *name;
	/* 0, or a negative errno: it cannot be had here. Called once, before anything else. */
	int (*open)(void);
	/* align: a power of 2, or 1. NULL: no memory. */
	void *(*alloc)(size_t bytes, size_t align);
	void *(*resize)(void *p, size_t old_bytes, size_t bytes);
	void (*free)(void *p, size_t bytes);
	/* Bytes that are taken from the system, or from a server. NULL: what the process has resident. */
	uint64_t (*footprint)(void);
	/* How many slabs were asked for so far, each in a round trip. NULL: none. */
	uint64_t (*slabs)(void);
};

extern const struct allocator allocator_glibc, allocator_mimalloc, allocator_rmem;

/* NULL: there is none of this name. */
const struct allocator *allocator_named(const char *name);

#endif
