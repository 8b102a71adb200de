/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A word that says where it belongs: the process that wrote it, that process's number for the allocation
 * (its generation), the allocation's number for the write, and the word's place. Aligned words, so that none is seen
 * torn. 0 is what nobody has written.
 */
#ifndef RMEM_TESTS_TORTURE_TAG_H
#define RMEM_TESTS_TORTURE_TAG_H

#include <stdint.h>

#define TAG_OWNERS (1U << 12)
#define TAG_GENERATIONS (1U << 20)
#define TAG_SEQUENCES 65000U
#define TAG_UNITS (1U << 16)

static inline uint64_t tag_make(unsigned owner, unsigned gen, unsigned seq, unsigned unit)
{
	return (uint64_t)owner << 52 | (uint64_t)gen << 32 | (uint64_t)seq << 16 | unit;
}

static inline unsigned tag_owner(uint64_t tag)
{
	return (unsigned)(tag >> 52);
}

static inline unsigned tag_gen(uint64_t tag)
{
	return (unsigned)(tag >> 32) % TAG_GENERATIONS;
}

static inline unsigned tag_seq(uint64_t tag)
{
	return (unsigned)(tag >> 16) & 0xffff;
}

static inline unsigned tag_unit(uint64_t tag)
{
	return (unsigned)tag & 0xffff;
}

#endif
