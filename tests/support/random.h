/* SPDX-License-Identifier: BSD-3-Clause */
/* Reproducible random numbers for tests (splitmix64): the seed is all there is to know. */
#ifndef RMEM_TESTS_RANDOM_H
#define RMEM_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t random_u64(uint64_t *seed)
{
	uint64_t v = *seed += 0x9e3779b97f4a7c15ULL;

	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ULL;
	v = (v ^ v >> 27) * 0x94d049bb133111ebULL;
	return v ^ v >> 31;
}

/* 0 … n - 1 */
static inline uint64_t random_below(uint64_t *seed, uint64_t n)
{
	return random_u64(seed) % n;
}

static inline void random_bytes(uint64_t *seed, void *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)random_u64(seed);
}

#endif
