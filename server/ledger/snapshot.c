/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int snapshot_begin(struct snapshot *s, const struct bitset *taken, size_t record_bytes)
{
	memset(s, 0, sizeof(*s));
	s->record_bytes = record_bytes;
	return bitset_copy(&s->left, taken);
}

void snapshot_end(struct snapshot *s)
{
	bitset_destroy(&s->left);
	free(s->slots);
	free(s->copies);
	memset(s, 0, sizeof(*s));
}

static int make_room(struct snapshot *s)
{
	const size_t room = s->room ? 2 * s->room : 64;
	uint32_t *slots;
	char *copies;

	if (s->ncopies < s->room)
		return 0;
	slots = realloc(s->slots, room * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	s->slots = slots;
	copies = realloc(s->copies, room * s->record_bytes);
	if (!copies)
		return -ENOMEM;
	s->copies = copies;
	s->room = room;
	return 0;
}

void snapshot_keep(struct snapshot *s, uint32_t slot, const void *record)
{
	if (!bitset_test(&s->left, slot))
		return;
	bitset_clear(&s->left, slot);
	if (make_room(s) != 0) {
		s->failed = true;
		return;
	}
	s->slots[s->ncopies] = slot;
	memcpy(s->copies + s->ncopies++ * s->record_bytes, record, s->record_bytes);
}

static size_t take_copies(struct snapshot *s, uint32_t *slots, void *records, size_t max)
{
	const size_t n = s->ncopies < max ? s->ncopies : max;
	const size_t from = s->ncopies - n;

	if (n == 0)
		return 0;
	memcpy(slots, s->slots + from, n * sizeof(*slots));
	memcpy(records, s->copies + from * s->record_bytes, n * s->record_bytes);
	s->ncopies = from;
	return n;
}

size_t snapshot_next(
	struct snapshot *s, const void *first, uint32_t *slots, void *records, size_t max)
{
	size_t n = 0;

	while (n < max) {
		const uint64_t slot = bitset_next(&s->left, s->cursor);

		if (slot == BITSET_NONE)
			break;
		memcpy((char *)records + n * s->record_bytes,
			(const char *)first + slot * s->record_bytes, s->record_bytes);
		slots[n++] = (uint32_t)slot;
		bitset_clear(&s->left, slot);
		s->cursor = slot + 1;
	}
	return n ? n : take_copies(s, slots, records, max);
}
