/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/ledger_recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/size_class.h"
#include "server/base/bitset.h"
#include "server/base/block.h"

uint32_t ledger_record_check(const struct allocation *a)
{
	struct allocation copy = *a;

	copy.state = 0;
	copy.check = 0;
	return (uint32_t)table_sum(&copy, sizeof(copy));
}

static bool is_state(uint32_t state)
{
	return state == ALLOCATION_LIVE || state == ALLOCATION_REVOKING ||
	       state == ALLOCATION_QUARANTINE || state == ALLOCATION_ZOMBIE;
}

bool ledger_record_is_possible(const struct allocation *a)
{
	if (a->bytes == 0 || a->bytes > BLOCK_MAX_BYTES)
		return false;
	if (a->order_or_node >= ALLOCATION_ON_NODE + ADDR_MAX_NODES)
		return false;
	if (a->order_or_node && a->order_or_node < ALLOCATION_ON_NODE &&
		1ULL << a->order_or_node % 64 != block_align(a->bytes))
		return false;
	if (a->size_class && !slab_slots(a->size_class, a->bytes))
		return false;
	return a->check == ledger_record_check(a) && is_state(a->state) &&
	       a->session < SESSIONS_MAX && a->session_serial != 0 && a->serial != 0 &&
	       a->serial <= SERIAL_MAX && a->site < SITES_MAX && addr_is_remote(a->addr) &&
	       a->addr % block_align(a->bytes) == 0;
}

static const struct allocation *record(const struct table *t, uint32_t slot)
{
	return table_record(t, slot);
}

static int push(struct ledger_found *f, uint32_t *room, uint32_t slot)
{
	if (f->count == *room) {
		uint32_t more = *room ? *room * 2 : 1024;
		uint32_t *slots = realloc(f->slots, (size_t)more * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		f->slots = slots;
		*room = more;
	}
	f->slots[f->count++] = slot;
	return 0;
}

/*
 * Collect the records that are valid on their own, and all serial numbers. FREE records and wrong checksums count for
 * serial numbers: a killed process may have left its last number in a half-filled record.
 */
static int collect(const struct table *t, struct slots *slots, struct ledger_found *f)
{
	uint32_t room = 0, begin = 0, end = 0;

	while (table_next_extent(t, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++) {
			const struct allocation *a = record(t, slot);

			numbering_found(&f->serials, a->serial);
			if (a->state == ALLOCATION_FREE)
				continue;
			slots_set_aside(slots, slot);
			if (!ledger_record_is_possible(a))
				f->rejected++;
			else if (push(f, &room, slot) != 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* Drop records with a serial number that was never given. */
static void drop_invalid(const struct table *t, struct ledger_found *f)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		if (numbering_is_valid(&f->serials, record(t, f->slots[i])->serial))
			f->slots[kept++] = f->slots[i];
		else
			f->rejected++;
	}
	f->count = kept;
}

static int by_serial(const void *left, const void *right, void *table)
{
	uint32_t lslot = *(const uint32_t *)left, rslot = *(const uint32_t *)right;
	const struct allocation *l = record(table, lslot), *r = record(table, rslot);

	if (l->serial != r->serial)
		return l->serial < r->serial ? -1 : 1;
	return lslot < rslot ? -1 : lslot > rslot;
}

static int by_addr(const void *left, const void *right, void *table)
{
	const struct allocation *l = record(table, *(const uint32_t *)left);
	const struct allocation *r = record(table, *(const uint32_t *)right);

	if (l->addr != r->addr)
		return l->addr < r->addr ? -1 : 1;
	return by_serial(left, right, table);
}

/* Of records with the same serial number, keep the one in the lowest slot. f->slots is sorted by serial number. */
static void drop_duplicates(const struct table *t, struct ledger_found *f)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		if (kept > 0 &&
			record(t, f->slots[kept - 1])->serial == record(t, f->slots[i])->serial)
			f->rejected++;
		else
			f->slots[kept++] = f->slots[i];
	}
	f->count = kept;
}

static void sort(const struct table *t, uint32_t *slots, uint32_t count,
	int (*order)(const void *, const void *, void *))
{
	if (count > 1)
		qsort_r(slots, count, sizeof(*slots), order, (void *)t);
}

/* Is it the same memory, that a was being handed over with when rmemd was killed? old is older. */
static bool supersedes(const struct allocation *a, const struct allocation *old)
{
	return a->state == ALLOCATION_LIVE && old->state == ALLOCATION_LIVE &&
	       a->addr == old->addr && a->bytes == old->bytes && a->birth_ns == old->birth_ns &&
	       a->size_class == old->size_class;
}

/* Sorts slots by address; sets the slots to drop in out. Returns the slot + 1 of one that was handed over; 0: none. */
static uint32_t find_overlaps(
	const struct table *t, uint32_t *slots, uint32_t count, struct bitset *out)
{
	uint32_t last = 0, superseded = 0;

	sort(t, slots, count, by_addr);
	for (uint32_t i = 1; i < count; i++) {
		const struct allocation *a = record(t, slots[i]), *l = record(t, slots[last]);

		if (a->addr - l->addr >= allocation_block_bytes(l)) {
			last = i;
		} else if (!superseded && supersedes(a, l)) {
			bitset_set(out, slots[last]);
			superseded = slots[last] + 1;
			last = i;
		} else if (a->serial < l->serial) {
			bitset_set(out, slots[last]);
			last = i;
		} else {
			bitset_set(out, slots[i]);
		}
	}
	return superseded;
}

/*
 * Of two records with overlapping blocks, keep the older one; but of an allocation that was being handed over, the new one.
 * f->slots keeps its order.
 */
static int drop_overlaps(const struct table *t, struct ledger_found *f)
{
	uint32_t *by_address = malloc((size_t)f->count * sizeof(*by_address));
	struct bitset dropped = { .levels = 0 };
	uint32_t kept = 0;
	int err = by_address ? bitset_create(&dropped, t->count) : -ENOMEM;

	if (!err) {
		memcpy(by_address, f->slots, f->count * sizeof(*by_address));
		f->superseded = find_overlaps(t, by_address, f->count, &dropped);
		for (uint32_t i = 0; i < f->count; i++)
			if (!bitset_test(&dropped, f->slots[i]))
				f->slots[kept++] = f->slots[i];
		f->rejected += f->count - kept - (f->superseded != 0);
		f->count = kept;
	}
	bitset_destroy(&dropped);
	free(by_address);
	return err;
}

int ledger_recover(const struct table *t, struct slots *slots, struct ledger_found *out)
{
	struct ledger_found f = { .slots = NULL };
	int err;

	numbering_begin(&f.serials, SERIAL_MAX, SERIAL_REACH);
	err = collect(t, slots, &f);
	if (!err) {
		drop_invalid(t, &f);
		sort(t, f.slots, f.count, by_serial);
		drop_duplicates(t, &f);
		err = f.count ? drop_overlaps(t, &f) : 0;
	}
	if (err)
		free(f.slots);
	else
		*out = f;
	return err;
}
