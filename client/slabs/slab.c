/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/slabs/slab.h"

#include <string.h>

static uint32_t lines_of(uint32_t slots)
{
	return (slots + SLAB_LINE_RECORDS - 1) / SLAB_LINE_RECORDS;
}

struct slab *slab_create(struct heap *heap, unsigned size_class, uint64_t bytes, bool exact)
{
	const uint32_t slots = slab_slots(size_class, bytes);
	uint32_t room = 64;
	uint64_t words;
	uint8_t *memory;
	struct slab *s;

	while (room < slots)
		room *= 2;
	words = (uint64_t)room * (exact ? 2 : 1) + room / 64;
	memory = heap_alloc(heap, sizeof(*s) + words * sizeof(uint64_t) + lines_of(room));
	if (!memory)
		return NULL;
	s = (struct slab *)memory;
	s->room = room;
	s->sent = exact ? s->records + room : NULL;
	s->state = SLAB_CLEAN | SLAB_LOST;
	s->free = (uint64_t *)(s->records + (uint64_t)room * (exact ? 2 : 1));
	s->dirty = (_Atomic uint8_t *)(s->free + room / 64);
	slab_reset(s, size_class, bytes);
	return s;
}

/* Of an odd number, modulo 2^64: each step doubles the bits that are right, of which there are 3 at first. */
static uint64_t inverse_of(uint64_t odd)
{
	uint64_t inverse = odd;

	for (unsigned bits = 3; bits < 64; bits *= 2)
		inverse *= 2 - odd * inverse;
	return inverse;
}

void slab_reset(struct slab *s, unsigned size_class, uint64_t bytes)
{
	s->size_class = (uint8_t)size_class;
	s->slot_bytes = size_class_bytes(size_class);
	s->slots = slab_slots(size_class, bytes);
	/* Exact for offsets below 2^20: the error stays below offset * slot_bytes / 2^40, which is less than 1 / slot_bytes. */
	s->reciprocal = (1ULL << 40) / s->slot_bytes + 1;
	s->twos = (uint8_t)__builtin_ctz(s->slot_bytes);
	s->inverse = inverse_of(s->slot_bytes >> s->twos);
	for (uint32_t i = 0; i < s->slots; i++)
		atomic_store_explicit(&s->records[i], 0, memory_order_relaxed);
	for (uint32_t i = 0; s->sent && i < s->slots; i++)
		atomic_store_explicit(&s->sent[i], 0, memory_order_relaxed);
	for (uint32_t i = 0; i < lines_of(s->slots); i++)
		atomic_store_explicit(&s->dirty[i], 0, memory_order_relaxed);
	for (uint32_t i = 0; s->shared && i < SLAB_BITS * (s->room / 64); i++)
		atomic_store_explicit(&s->shared[i], 0, memory_order_relaxed);
	atomic_fetch_and(&s->state, ~(uint32_t)SLAB_OPEN);
	atomic_fetch_add(&s->state, SLAB_USE);
	memset(s->free, 0xff, s->slots / 64 * sizeof(uint64_t));
	if (s->slots % 64)
		s->free[s->slots / 64] = (1ULL << s->slots % 64) - 1;
	s->nfree = s->slots;
	s->period = 0;
}

/* Birth and generation ascend together: a second more where the generation begins anew. For 388 days. */
void slab_make_unique(struct object_record *next, uint64_t before)
{
	const struct object_record last = object_record_unpack(before);
	const bool again = (next->generation & OBJECT_GENERATION_MAX) == 0;
	const uint32_t least = last.birth_s + again;

	if (next->birth_s < least)
		next->birth_s = least < OBJECT_BIRTH_MAX ? least : OBJECT_BIRTH_MAX;
}

uint64_t slab_unique_record(uint64_t next, uint64_t before)
{
	struct object_record r = object_record_unpack(next);

	slab_make_unique(&r, before);
	return object_record_pack(&r);
}

/* The record that takes the place of a live object's. */
typedef void change_fn(
	const struct slab *s, struct object_record *r, uint64_t before, uint32_t arg);

/* The live object that begins at addr gets another record. false: there is none. */
static bool change_object(
	struct slab *s, uint64_t addr, change_fn *change, uint32_t arg, uint32_t *out_slot)
{
	uint64_t before, after;
	uint32_t slot;

	if (!slab_holds(s, addr, 1, &slot) || slab_slot_addr(s, slot) != addr)
		return false;
	before = slab_record(s, slot);
	do {
		struct object_record r = object_record_unpack(before);

		if (r.state != OBJECT_LIVE)
			return false;
		change(s, &r, before, arg);
		after = object_record_pack(&r);
	} while (!atomic_compare_exchange_weak(&s->records[slot], &before, after));
	*out_slot = slot;
	return true;
}

static void renew(const struct slab *s, struct object_record *r, uint64_t before, uint32_t unused)
{
	(void)s;
	(void)unused;
	r->generation++;
	slab_make_unique(r, before);
}

static void resize(const struct slab *s, struct object_record *r, uint64_t before, uint32_t bytes)
{
	(void)before;
	r->slack = s->slot_bytes - bytes;
}

uint64_t slab_renewed_record(uint64_t record)
{
	struct object_record r = object_record_unpack(record);

	renew(NULL, &r, record, 0);
	return object_record_pack(&r);
}

bool slab_renew_object(struct slab *s, uint64_t addr, uint32_t *out_slot)
{
	return change_object(s, addr, renew, 0, out_slot);
}

bool slab_resize_object(struct slab *s, uint64_t addr, uint32_t bytes, uint32_t *out_slot)
{
	return change_object(s, addr, resize, bytes, out_slot);
}

bool slab_set_shared(struct slab *s, struct heap *heap, uint32_t slot, bool shared)
{
	_Atomic uint64_t *words = atomic_load(&s->shared);

	if (!words) {
		words = heap_alloc(heap, SLAB_BITS * (size_t)(s->room / 64) * sizeof(*words));
		if (!words)
			return false;
		atomic_store(&s->shared, words);
	}
	atomic_fetch_or(&s->state, SLAB_OPEN);
	if (shared) {
		atomic_fetch_or(&words[slot / 64], 1ULL << slot % 64);
		atomic_fetch_or(&words[SLAB_EVER * (s->room / 64) + slot / 64], 1ULL << slot % 64);
	} else {
		atomic_fetch_and(&words[slot / 64], ~(1ULL << slot % 64));
	}
	return true;
}

bool slab_set_kept(struct slab *s, uint32_t slot, bool kept)
{
	_Atomic uint64_t *words = atomic_load(&s->shared);
	_Atomic uint64_t *word = words ? &words[SLAB_KEPT * (s->room / 64) + slot / 64] : NULL;
	const uint64_t bit = 1ULL << slot % 64;

	if (!word)
		return false;
	return kept ? !(atomic_fetch_or(word, bit) & bit) : atomic_fetch_and(word, ~bit) & bit;
}

uint32_t slab_forget_kept(struct slab *s)
{
	_Atomic uint64_t *words = atomic_load(&s->shared);
	uint32_t n = 0;

	for (uint32_t i = 0; words && i < s->room / 64; i++)
		n += (uint32_t)__builtin_popcountll(
			atomic_exchange(&words[SLAB_KEPT * (s->room / 64) + i], 0));
	return n;
}

uint32_t slab_count_live(const struct slab *s)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < s->slots; i++)
		live += object_record_state(atomic_load_explicit(
				&s->records[i], memory_order_relaxed)) == OBJECT_LIVE;
	return live;
}
