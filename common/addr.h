/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remote addresses: what they are made of.
 *
 *	63      56 55          42 41                             0
 *	[ tag 0x9e ][ segment    ][ offset in the segment         ]
 *
 * A segment is a number that the pool gives to a stretch of its memory. On which node it lies is looked up
 * (server/memory/pool.h, server/ledger/allocation.h), never computed from the number. Only this file knows the split.
 *
 * The tag is not canonical on x86-64 or arm64: no small integer, ASCII text or plain user-space pointer
 * looks like it. A pointer with a tag of its own in bits that the processor ignores can: HWASan on arm64
 * draws one of 256 for each object, and AMD's UAI leaves bits 57 to 63 to the program. Intel's LAM does not
 * ignore bit 63, MTE uses bits 56 to 59 only. So an address is remote because it is in a block of the
 * session; the tag alone does not show it (tests/unit/test_addr.c).
 *
 * The same number is the I/O virtual address that the NIC knows the byte under, so a remote address goes
 * into a work request unchanged and does not tell where the server has mapped its memory.
 */
#ifndef RMEM_COMMON_ADDR_H
#define RMEM_COMMON_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define ADDR_TAG 0x9eULL
#define ADDR_TAG_SHIFT 56
#define ADDR_SEGMENT_SHIFT 42
#define ADDR_SEGMENT_BITS (ADDR_TAG_SHIFT - ADDR_SEGMENT_SHIFT)
#define ADDR_SEGMENTS (1U << ADDR_SEGMENT_BITS)
#define ADDR_OFFSET_MASK ((1ULL << ADDR_SEGMENT_SHIFT) - 1) /* 4 TiB per segment */

#define ADDR_MAX_NODES 64 /* of a server */

static inline uint64_t addr_make(unsigned segment, uint64_t offset)
{
	return ADDR_TAG << ADDR_TAG_SHIFT |
	       (uint64_t)(segment % ADDR_SEGMENTS) << ADDR_SEGMENT_SHIFT |
	       (offset & ADDR_OFFSET_MASK);
}

static inline bool addr_is_remote(uint64_t addr)
{
	return addr >> ADDR_TAG_SHIFT == ADDR_TAG;
}

static inline unsigned addr_segment(uint64_t addr)
{
	return (unsigned)(addr >> ADDR_SEGMENT_SHIFT) % ADDR_SEGMENTS;
}

static inline uint64_t addr_offset(uint64_t addr)
{
	return addr & ADDR_OFFSET_MASK;
}

#endif
