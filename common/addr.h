/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remote addresses: what they are made of.
 *
 *	63      56 55      48 47    42 41                             0
 *	[ tag 0x9e ][ server  ][ node  ][ offset in the node's arena   ]
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
#define ADDR_SERVER_SHIFT 48
#define ADDR_NODE_SHIFT 42
#define ADDR_MAX_NODES 64
#define ADDR_SERVER 0                                    /* the only one in this version */
#define ADDR_OFFSET_MASK ((1ULL << ADDR_NODE_SHIFT) - 1) /* 4 TiB per node */

static inline uint64_t addr_make(uint8_t server, unsigned node, uint64_t offset)
{
	return ADDR_TAG << ADDR_TAG_SHIFT | (uint64_t)server << ADDR_SERVER_SHIFT |
	       (uint64_t)(node % ADDR_MAX_NODES) << ADDR_NODE_SHIFT | (offset & ADDR_OFFSET_MASK);
}

static inline bool addr_is_remote(uint64_t addr)
{
	return addr >> ADDR_TAG_SHIFT == ADDR_TAG;
}

static inline uint8_t addr_server(uint64_t addr)
{
	return (uint8_t)(addr >> ADDR_SERVER_SHIFT);
}

static inline unsigned addr_node(uint64_t addr)
{
	return (unsigned)(addr >> ADDR_NODE_SHIFT) % ADDR_MAX_NODES;
}

static inline uint64_t addr_offset(uint64_t addr)
{
	return addr & ADDR_OFFSET_MASK;
}

#endif
