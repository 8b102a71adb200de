/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/scan.h"

#include <errno.h>
#include <stdlib.h>

#define SUSPECTS_MIN 256

struct suspect {
	uint32_t slot;
	uint64_t serial; /* the next scan may find another allocation in the slot */
};

struct audit_scan {
	struct suspect *suspects; /* sorted by slot once audit_end() has run */
	size_t count, room;
	bool unordered;
};

int audit_scan_add(struct audit_scan *s, uint32_t slot, uint64_t serial)
{
	if (s->count == s->room) {
		size_t room = 2 * s->room;
		struct suspect *suspects = realloc(s->suspects, room * sizeof(*suspects));

		if (!suspects)
			return -ENOMEM;
		s->suspects = suspects;
		s->room = room;
	}
	s->unordered |= s->count > 0 && s->suspects[s->count - 1].slot > slot;
	s->suspects[s->count++] = (struct suspect){ .slot = slot, .serial = serial };
	return 0;
}

struct audit_scan *audit_scan_create(void)
{
	struct audit_scan *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->room = SUSPECTS_MIN;
	s->suspects = calloc(s->room, sizeof(*s->suspects));
	if (s->suspects)
		return s;
	free(s);
	return NULL;
}

void audit_scan_destroy(struct audit_scan *s)
{
	if (!s)
		return;
	free(s->suspects);
	free(s);
}

static int by_slot(const void *left, const void *right)
{
	uint32_t l = ((const struct suspect *)left)->slot,
		 r = ((const struct suspect *)right)->slot;

	return l < r ? -1 : l > r;
}

/* Index of the first suspect at or above slot. Tries four indices from `from` on, then searches all. */
static size_t seek(const struct audit_scan *s, uint32_t slot, size_t from)
{
	size_t below = 0, above = s->count;

	for (unsigned n = 0; n < 4 && from < s->count; n++, from++)
		if (s->suspects[from].slot >= slot &&
			(from == 0 || s->suspects[from - 1].slot < slot))
			return from;
	while (below < above) {
		size_t middle = below + (above - below) / 2;

		if (s->suspects[middle].slot < slot)
			below = middle + 1;
		else
			above = middle;
	}
	return below;
}

bool audit_scan_agrees(const struct audit_scan *s, uint32_t slot, uint64_t serial, size_t *walk)
{
	if (!s)
		return false;
	*walk = seek(s, slot, *walk);
	return *walk < s->count && s->suspects[*walk].slot == slot &&
	       s->suspects[*walk].serial == serial;
}

void audit_scan_sort(struct audit_scan *s)
{
	if (s->unordered)
		qsort(s->suspects, s->count, sizeof(*s->suspects), by_slot);
}
