/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that are known by a seed: what a test writes and expects to find. Different seeds differ in
 * (nearly) every byte. Seed 0 stands for zeroes, which is what fresh memory holds.
 */
#ifndef RMEM_TESTS_PATTERN_H
#define RMEM_TESTS_PATTERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

static inline uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t v = (seed + index) * 0x9e3779b97f4a7c15ULL;

	return seed ? v ^ v >> 29 ^ seed << 7 : 0;
}

/* The bytes [offset, offset + n) of the pattern. */
static inline void pattern_fill_at(void *out, uint64_t offset, size_t n, uint64_t seed)
{
	uint8_t *p = out;

	while (n) {
		uint64_t word = pattern_word(seed, offset / 8);
		size_t skip = offset % 8, part = 8 - skip < n ? 8 - skip : n;

		memcpy(p, (uint8_t *)&word + skip, part);
		p += part;
		offset += part;
		n -= part;
	}
}

static inline void pattern_fill(void *out, size_t n, uint64_t seed)
{
	pattern_fill_at(out, 0, n, seed);
}

/* The offset of the first byte that is not the pattern's, -1 if all are. */
static inline ssize_t pattern_check(const void *bytes, size_t n, uint64_t seed)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = pattern_word(seed, i / 8);
		size_t part = n - i < 8 ? n - i : 8;

		if (memcmp(p + i, &word, part) == 0)
			continue;
		for (size_t k = 0; k < part; k++) {
			if (p[i + k] != ((uint8_t *)&word)[k])
				return (ssize_t)(i + k);
		}
	}
	return -1;
}

#endif
