/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/size_class.h"

uint32_t size_class_bytes(unsigned size_class)
{
	const unsigned above =
		size_class - SIZE_CLASSES_FINE - 1; /* from the first that is not fine */

	if (size_class >= SIZE_CLASSES)
		return 0;
	if (size_class <= SIZE_CLASSES_FINE)
		return size_class * 8;
	return (64U << above / 8) + (above % 8 + 1) * (8U << above / 8);
}

unsigned size_class_of(uint64_t bytes, uint64_t align)
{
	uint64_t slot;
	unsigned c;

	if (bytes == 0 || bytes > OBJECT_BYTES_MAX || align > OBJECT_ALIGN_MAX)
		return 0;
	if (align <= 8)
		return size_class_of_bytes((uint32_t)bytes);
	slot = (bytes + align - 1) & ~(align - 1);
	if (slot > OBJECT_BYTES_MAX)
		return 0;
	c = size_class_of_bytes((uint32_t)slot);
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
