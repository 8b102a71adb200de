/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Size classes of small objects, and how a slab is divided. Client and server compute both alike from a class and the
 * slab's length; neither sends it.
 *
 * Classes: each multiple of 8 up to 64 bytes, then eight per power of two up to OBJECT_BYTES_MAX. An object wastes at
 * most 7 bytes up to 64 bytes, and less than 1/9 of its slot above. A larger one gets a block of its own: on recorded
 * programs, half-filled slabs would waste more than its last page does (bench/traces).
 *
 * A slab is a run of pages: slots of one class from its first byte on, then one record per slot
 * (common/object_record.h). One window covers both.
 *
 * Pure.
 */
#ifndef RMEM_COMMON_SIZE_CLASS_H
#define RMEM_COMMON_SIZE_CLASS_H

#include <stdint.h>

#define OBJECT_BYTES_MAX 16384U
#define OBJECT_ALIGN_MAX 4096U
#define OBJECT_RECORD_BYTES 8U
#define SIZE_CLASSES 73 /* 1 to 72; 0: no class, a block of its own */
#define SLAB_PAGE_BYTES 4096U
#define SLAB_BYTES_MAX (1U << 20)

/*
 * The smallest class whose slots hold bytes and are aligned to align, a power of 2. 0: none; such an allocation takes a
 * block. A slot is aligned to the largest power of 2 that divides its length.
 */
unsigned size_class_of(uint64_t bytes, uint64_t align);

/* The same for 1 to OBJECT_BYTES_MAX bytes, and no more alignment than their own. */
#define SIZE_CLASSES_FINE 8U /* up to 64 bytes, each multiple of 8 is a class */
static inline unsigned size_class_of_bytes(uint32_t bytes)
{
	unsigned doubling;

	if (bytes <= 8 * SIZE_CLASSES_FINE)
		return (bytes + 7) / 8;
	doubling = (unsigned)(31 - __builtin_clz(bytes - 1)) -
		   6; /* bytes is in (64, 128] << doubling */
	return SIZE_CLASSES_FINE + 1 + doubling * 8 +
	       ((bytes - 1 - (64U << doubling)) >> (doubling + 3));
}

/* Bytes of a slot; 0 for 0 and what is no class. */
uint32_t size_class_bytes(unsigned size_class);

/* Slots of a slab. 0: no class, or no slab has this length (whole pages, at most SLAB_BYTES_MAX, at least one slot). */
uint32_t slab_slots(unsigned size_class, uint64_t slab_bytes);

/* Where the records begin, in a slab of so many slots: a multiple of 8. */
static inline uint64_t slab_records_offset(unsigned size_class, uint32_t slots)
{
	return (uint64_t)size_class_bytes(size_class) * slots;
}

#endif
