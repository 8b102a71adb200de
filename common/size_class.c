/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/size_class.h"

#define FINE_MAX 64U  /* up to here each multiple of 8 is a class */
#define FINE_CLASSES 8U
#define PER_DOUBLING_LOG2 3

uint32_t size_class_bytes(unsigned size_class)
{
	const unsigned above = size_class - FINE_CLASSES - 1;
	const unsigned doubling = above >> PER_DOUBLING_LOG2;
	const unsigned step = above & ((1U << PER_DOUBLING_LOG2) - 1);

	if (size_class >= SIZE_CLASSES)
		return 0;
	if (size_class <= FINE_CLASSES)
		return size_class * 8;
	return (FINE_MAX << doubling) + (step + 1) * (FINE_MAX << doubling >> PER_DOUBLING_LOG2);
}

/* For 1 to OBJECT_BYTES_MAX bytes. */
static unsigned class_of_size(uint32_t bytes)
{
	unsigned doubling, shift;

	if (bytes <= FINE_MAX)
		return (bytes + 7) / 8;
	doubling = (unsigned)(31 - __builtin_clz(bytes - 1)) - 6; /* bytes is in (64, 128] << doubling */
	shift = doubling + 6 - PER_DOUBLING_LOG2;
	return FINE_CLASSES + 1 + (doubling << PER_DOUBLING_LOG2) +
	       ((bytes - 1 - (FINE_MAX << doubling)) >> shift);
}

unsigned size_class_of(uint64_t bytes, uint64_t align)
{
	uint64_t slot;
	unsigned c;

	if (bytes == 0 || bytes > OBJECT_BYTES_MAX || align > OBJECT_ALIGN_MAX)
		return 0;
	if (align <= 8)
		return class_of_size((uint32_t)bytes);
	slot = (bytes + align - 1) & ~(align - 1);
	if (slot > OBJECT_BYTES_MAX)
		return 0;
	c = class_of_size((uint32_t)slot);
	while (c < SIZE_CLASSES && size_class_bytes(c) % align)
		c++;
	return c < SIZE_CLASSES ? c : 0;
}

uint32_t slab_slots(unsigned size_class, uint64_t slab_bytes)
{
	const uint32_t slot = size_class_bytes(size_class);

	if (slot == 0 || slab_bytes > SLAB_BYTES_MAX || slab_bytes % SLAB_PAGE_BYTES)
		return 0;
	return (uint32_t)slab_bytes / (slot + OBJECT_RECORD_BYTES);
}
