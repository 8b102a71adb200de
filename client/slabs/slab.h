/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A slab as its owner knows it: where it lies, and the record of each slot (common/object_record.h). The records here
 * are the truth; those on the server follow (client/space/journal.h). Which lines of records differ is remembered.
 *
 * A slab's memory stays a slab's, this one's or another's, until the heap is destroyed: a program that frees an address twice may look at one
 * that is given back meanwhile.
 *
 * Any thread, but for what depot.h says. Pure.
 */
#ifndef RMEM_CLIENT_SLABS_SLAB_H
#define RMEM_CLIENT_SLABS_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/heap.h"
#include "common/object_record.h"
#include "common/size_class.h"

#define SLAB_LINE_RECORDS 8U /* written together: a cache line */
#define SLAB_SLOTS_MAX 65536U

/* Of a line of records. */
enum line_state {
	LINE_SENT,
	LINE_CHANGED, /* since it was sent last */
	LINE_SENDING, /* in the round that is under way */
};

/* Of a slab: what makes an allocation or a free of its objects more than usual. */
enum slab_state {
	SLAB_LOST = 1,  /* it was taken back by the server, or is being given back */
	SLAB_CLEAN = 2, /* it is not in the list of those whose records have changed */
	SLAB_OPEN = 4,  /* others may reach objects of it, or could */
	SLAB_RARE = 7,  /* any of these */
	SLAB_USE = 8,   /* above: how often its memory became another slab */
};

/* What is known of each slot that was shared. */
enum slab_bits {
	SLAB_SHARED, /* others may reach it */
	SLAB_EVER,   /* ... or ever could */
	SLAB_KEPT, /* others may free it, so that the server keeps its record: nobody writes that one-sided */
	SLAB_BITS
};

struct depot;

struct slab {
	/* Read at each allocation, written when the slab comes and goes. */
	uint64_t addr;
	_Atomic uint8_t *dirty; /* by line: enum line_state */
	_Atomic uint64_t *
		sent; /* journal=exact: the records as they were sent in front of data; else NULL */
	uint64_t reciprocal; /* of slot_bytes */
	uint64_t inverse;    /* of what is odd of them, modulo 2^64: see slab_exact_slot() */
	uint32_t slots, slot_bytes;
	uint32_t room;          /* slots that its memory has room for, a power of 2 */
	_Atomic uint32_t state; /* enum slab_state */
	uint8_t size_class;
	uint8_t twos;            /* that divide slot_bytes */
	struct slab *next_dirty; /* while it is not SLAB_CLEAN */
	/* enum slab_bits, each for all slots; NULL: none was ever shared. */
	_Atomic(_Atomic uint64_t *) shared;
	_Atomic(_Atomic uint32_t *) shadow; /* by slot (shadow.h); NULL: RMEM_CHECK is not full */

	struct slab *next_taken; /* of those that the journal is sending */
	/*
	 * journal=exact: records of the slab are on their way in a line, or may be, so that an older one may arrive after
	 * one that is in front of data: that waits.
	 */
	_Atomic bool in_flight;

	/* Under the depot's unused_lock: an old record may still arrive, before this grace period has ended. */
	struct slab *next_doubtful;
	uint64_t doubt_period;
	bool is_doubtful;

	struct depot *depot; /* that it is in, or was */

	/* The depot's, with the lock of the class. */
	uint64_t *free;  /* a bit for each slot that is in no magazine and not held */
	uint64_t period; /* none is handed out before this grace period has ended */
	uint32_t nfree;
	uint32_t id; /* within its class */
	struct slab *next;

	_Atomic uint64_t records[] __attribute__((aligned(64)));
} __attribute__((aligned(64)));

_Static_assert(SLAB_BYTES_MAX / (8 + OBJECT_RECORD_BYTES) <= SLAB_SLOTS_MAX, "a slot fits 16 bits");

/* All slots unused; lost until depot_add(). exact: with room for what was sent. NULL: out of memory. */
struct slab *slab_create(struct heap *heap, unsigned size_class, uint64_t bytes, bool exact);
/* Make an unused one, with enough room and exact as before, a slab of this class and length; lost until depot_add(). */
void slab_reset(struct slab *s, unsigned size_class, uint64_t bytes);

static inline uint64_t slab_bytes_used(const struct slab *s)
{
	return (uint64_t)s->slots * (s->slot_bytes + OBJECT_RECORD_BYTES);
}

/* The slot that holds the byte at this offset, which is below SLAB_BYTES_MAX; may be past the last. */
static inline uint32_t slab_slot_at(const struct slab *s, uint64_t offset)
{
	return (uint32_t)(offset * s->reciprocal >> 40);
}

/*
 * The slot that begins at this offset, where slot_bytes is 2^twos times an odd number with this inverse; for any other
 * offset a number that no slab has so many slots of. Multiplication by the inverse divides what is divisible, and
 * spreads all else over what is larger than any quotient.
 */
static inline uint64_t slab_exact_slot(uint64_t offset, uint64_t inverse, uint32_t twos)
{
	const uint64_t odd = offset * inverse;

	return odd >> (twos & 63) | odd << (-twos & 63);
}

static inline uint64_t slab_slot_addr(const struct slab *s, uint32_t slot)
{
	return s->addr + (uint64_t)slot * s->slot_bytes;
}

static inline uint64_t slab_record_addr(const struct slab *s, uint32_t slot)
{
	return s->addr + (uint64_t)s->slots * s->slot_bytes + (uint64_t)slot * OBJECT_RECORD_BYTES;
}

/* What was asked for of a slot's bytes. */
static inline uint32_t slab_object_bytes(const struct slab *s, uint64_t record)
{
	return s->slot_bytes - ((uint32_t)(record >> OBJECT_SLACK_SHIFT) & OBJECT_SLACK_MAX);
}

static inline uint64_t slab_record(const struct slab *s, uint32_t slot)
{
	return atomic_load_explicit(&s->records[slot], memory_order_acquire);
}

/* Is the record on the server as it is here, so that data may be written to the object? Always, if the journal is lazy. */
static inline bool slab_is_sent(const struct slab *s, uint32_t slot)
{
	return !s->sent ||
	       atomic_load_explicit(&s->sent[slot], memory_order_acquire) == slab_record(s, slot);
}

/* Is [addr, addr + bytes) inside one live object? *out_slot then. */
static inline bool slab_holds(
	const struct slab *s, uint64_t addr, uint64_t bytes, uint32_t *out_slot)
{
	const uint64_t offset = addr - s->addr;
	uint64_t end, record;
	uint32_t slot;

	if (offset >= (uint64_t)s->slots * s->slot_bytes)
		return false;
	slot = slab_slot_at(s, offset);
	record = slab_record(s, slot);
	if (object_record_state(record) != OBJECT_LIVE ||
		__builtin_add_overflow(offset - (uint64_t)slot * s->slot_bytes, bytes, &end) ||
		end > slab_object_bytes(s, record))
		return false;
	*out_slot = slot;
	return true;
}

static inline uint32_t slab_state(const struct slab *s)
{
	return atomic_load_explicit(&s->state, memory_order_relaxed);
}

static inline bool slab_is_lost(const struct slab *s)
{
	return slab_state(s) & SLAB_LOST;
}

/* The object of a slot, if it is live, is freed from now on. false: it is not. Of several threads, one succeeds. */
static inline bool slab_end_slot(struct slab *s, uint64_t slot)
{
	_Atomic uint64_t *const record = &s->records[slot];
	const uint64_t now = atomic_load_explicit(record, memory_order_relaxed);
	uint64_t live = object_record_with_state(now, OBJECT_LIVE);
	const uint64_t freed = live - OBJECT_LIVE + OBJECT_FREED;

	return atomic_compare_exchange_strong(record, &live, freed);
}

/*
 * The live object that begins at addr, a byte of the slab, is freed from now on, and *out_slot was its slot. false:
 * there is none. Of several threads that free it, one succeeds.
 */
static inline bool slab_end_object(struct slab *s, uint64_t addr, uint32_t *out_slot)
{
	const uint64_t offset = addr - s->addr;
	const uint32_t slot = slab_slot_at(s, offset);

	if (slot >= s->slots || (uint64_t)slot * s->slot_bytes != offset)
		return false;
	*out_slot = slot;
	return slab_end_slot(s, slot);
}

/*
 * The object that begins at addr, a byte of the slab, is live, and gets another generation: *out_slot is its slot. false:
 * there is none.
 */
bool slab_renew_object(struct slab *s, uint64_t addr, uint32_t *out_slot);

/* The record that a live one has then. */
uint64_t slab_renewed_record(uint64_t record);

/* ... and gets another length, of 1 to slot_bytes. It stays the same object: generation, site and birth remain. */
bool slab_resize_object(struct slab *s, uint64_t addr, uint32_t bytes, uint32_t *out_slot);

/* Others may reach the object in a slot, or cannot any more. With a lock of the caller's. false: out of memory. */
bool slab_set_shared(struct slab *s, struct heap *heap, uint32_t slot, bool shared);
/* The server keeps its record from now on, or not any more. The slot was shared. true: that is a change. */
bool slab_set_kept(struct slab *s, uint32_t slot, bool kept);
/* Whatever was shared of it, the server keeps no record of it any more. Returns of how many it did. */
uint32_t slab_forget_kept(struct slab *s);

static inline bool slab_has_bit(const _Atomic uint64_t *bits, uint32_t slot)
{
	return atomic_load_explicit(&bits[slot / 64], memory_order_relaxed) >> slot % 64 & 1;
}

static inline const _Atomic uint64_t *slab_bits(
	const struct slab *s, const _Atomic uint64_t *all, enum slab_bits which)
{
	return all + (size_t)which * (s->room / 64);
}

static inline bool slab_has(const struct slab *s, uint32_t slot, enum slab_bits which)
{
	const _Atomic uint64_t *all = atomic_load_explicit(&s->shared, memory_order_acquire);

	return all && slab_has_bit(slab_bits(s, all, which), slot);
}

static inline bool slab_is_kept(const struct slab *s, uint32_t slot)
{
	return slab_has(s, slot, SLAB_KEPT);
}

/* May others reach the object that addr, a byte of the slab, is in? */
static inline bool slab_is_shared(const struct slab *s, uint64_t addr)
{
	const _Atomic uint64_t *shared = atomic_load_explicit(&s->shared, memory_order_acquire);
	const uint32_t slot = shared ? slab_slot_at(s, addr - s->addr) : 0;

	return shared && slot < s->slots && slab_has_bit(shared, slot);
}

/* The record that comes after another of the same slot, so that none like it comes again. */
void slab_make_unique(struct object_record *next, uint64_t before);
__attribute__((noinline, cold)) uint64_t slab_unique_record(uint64_t next, uint64_t before);

/* Share keys are made of the record: that of a slot that was ever shared must not come again in this slab. */
static inline uint64_t slab_next_record(
	const struct slab *s, uint32_t slot, uint64_t before, uint64_t next)
{
	const _Atomic uint64_t *shared = atomic_load_explicit(&s->shared, memory_order_relaxed);

	if (__builtin_expect(shared && slab_has_bit(slab_bits(s, shared, SLAB_EVER), slot), 0))
		return slab_unique_record(next, before);
	return next;
}

/* Slots whose objects are live. O(slots). */
uint32_t slab_count_live(const struct slab *s);

/*
 * Slots in a magazine: the slab, and which of its slots; never 0. Of a slab that is SLAB_OPEN, with a mark. The address
 * of a slab is a multiple of 64, so that one of up to 53 bits leaves the mark free.
 */
typedef uint64_t slab_item;

#define SLAB_ITEM_OPEN (1ULL << 63)

_Static_assert(_Alignof(struct slab) == 64, "the low 6 bits of its address are 0");

/* ... without the mark. */
static inline slab_item slab_item_plain(const struct slab *s, uint32_t slot)
{
	return (uint64_t)(uintptr_t)s << 10 | slot;
}

static inline slab_item slab_item_make(const struct slab *s, uint32_t slot)
{
	const slab_item item = slab_item_plain(s, slot);

	return slab_state(s) & SLAB_OPEN ? item | SLAB_ITEM_OPEN : item;
}

/* None, or one that has to be looked at: its slot may have been shared. */
static inline bool slab_item_is_rare(slab_item item)
{
	return (int64_t)item <= 0;
}

/* ... of one that is not rare. */
static inline struct slab *slab_item_slab_usual(slab_item item)
{
	return (struct slab *)(uintptr_t)(item >> 16 << 6);
}

static inline struct slab *slab_item_slab(slab_item item)
{
	return slab_item_slab_usual(item & ~SLAB_ITEM_OPEN);
}

static inline uint32_t slab_item_slot(slab_item item)
{
	return (uint32_t)(item & 0xffff);
}

#endif
