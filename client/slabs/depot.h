/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The depot: a session's slabs by class, and the slots of them that are in no magazine and hold no object.
 *
 * Slots are taken from the oldest slab that has any, in the order of addresses. So old slabs stay full, young ones run
 * empty, and go back to the server. Slots that come back may be handed out again when the grace period has ended that
 * their freeing began (client/base/grace.h).
 *
 * Any thread; a lock per class is held for as long as a magazine takes to fill. Pure.
 */
#ifndef RMEM_CLIENT_SLABS_DEPOT_H
#define RMEM_CLIENT_SLABS_DEPOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/base/grace.h"
#include "client/slabs/slab.h"

struct depot_class {
	pthread_mutex_t lock;
	struct slab **slabs; /* by id; NULL: none has it */
	uint64_t *some;      /* a bit for each id whose slab has free slots */
	uint32_t room;       /* ids, a multiple of 64 */
	uint32_t count;      /* slabs, and those to come */
	uint32_t lowest;     /* no slab with an id below this has free slots */
	uint32_t vacant;     /* all ids below this are in use */
	uint32_t nempty;     /* slabs of which all slots are free */
	uint64_t bytes;      /* of all slabs */
};

struct depot {
	struct heap *heap;
	struct grace *grace;
	_Atomic uint64_t bytes, empty_bytes; /* of all slabs, and of those that are empty */
	struct depot_class classes[SIZE_CLASSES];
	_Atomic(struct slab *) dirty; /* slabs with records that have changed */
	_Atomic uint32_t unsent;      /* ... and have not been sent and confirmed */
	_Atomic uint32_t kept;        /* slots whose record the server keeps (enum slab_bits) */
	pthread_mutex_t unused_lock;
	_Atomic unsigned turn; /* which class's empty slab goes back next */
	struct slab *unused;   /* those that were given back, for others to come */
	struct slab *over;     /* those that were lost, and of which all slots have come back */
	struct slab *doubtful; /* those that depot_doubt() was called for */
	_Atomic uint32_t ndoubtful;
};

void depot_init(struct depot *d, struct heap *heap, struct grace *grace);
void depot_destroy(struct depot *d); /* the slabs stay, until the heap goes */

/* The length that the next slab of a class should have. */
uint64_t depot_next_bytes(struct depot *d, unsigned size_class);

/* ... and the shortest that it may have. */
uint64_t depot_least_bytes(unsigned size_class);

/* Up to want slots. Returns how many. */
unsigned depot_take(struct depot *d, unsigned size_class, slab_item *out, unsigned want);

/*
 * Slots come back, all of one class, that nobody holds any more. period: of grace_begin(), after they were freed; 0: no
 * operation is on its way on any. Slots of slabs that were lost count, and are not handed out any more. true:
 * depot_has_surplus().
 */
bool depot_put(
	struct depot *d, unsigned size_class, const slab_item *items, unsigned n, uint64_t period);

/* A slab for depot_add(), or depot_cancel() where the server has none. NULL: out of memory. */
struct slab *depot_make_slab(struct depot *d, unsigned size_class, uint64_t bytes, bool exact);
void depot_cancel(struct depot *d, struct slab *s);
/* All its slots are free from now on. */
void depot_add(struct depot *d, struct slab *s);

/* More of its memory is in empty slabs than it keeps for the next allocations. */
bool depot_has_surplus(struct depot *d);

/* Take out an empty slab, to be given back. NULL: there is none. */
struct slab *depot_take_empty(struct depot *d);
/* ... which it was: its memory is for another slab. */
void depot_drop(struct depot *d, struct slab *s);

__attribute__((noinline)) void depot_add_dirty(struct depot *d, struct slab *s);

/* Have all changes reached the server, for good? */
static inline bool depot_is_sent(const struct depot *d)
{
	return atomic_load(&d->unsent) == 0 && atomic_load(&d->ndoubtful) == 0;
}

/*
 * A line of records has changed; where barrier_is_there(): the journal makes a barrier in all threads
 * (client/base/barrier.h) after it has said that it sends the line, and before it reads the records. The caller looks
 * afterwards whether the slab is SLAB_CLEAN, and then calls depot_add_dirty().
 */
static inline void depot_touch_line(_Atomic uint8_t *line)
{
	atomic_signal_fence(memory_order_seq_cst); /* for the compiler */
	if (atomic_load_explicit(line, memory_order_relaxed) != LINE_CHANGED)
		atomic_store_explicit(line, LINE_CHANGED, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * A record has changed. Any thread, without a lock, and whether or not there is such a barrier: without one, the first
 * fence orders the record and the look at its line, the second the line and the look at SLAB_CLEAN.
 */
static inline void depot_touch(struct depot *d, struct slab *s, uint32_t slot)
{
	atomic_thread_fence(memory_order_seq_cst);
	depot_touch_line(&s->dirty[slot / SLAB_LINE_RECORDS]);
	atomic_thread_fence(memory_order_seq_cst);
	if (__builtin_expect(slab_state(s) & SLAB_CLEAN, 0))
		depot_add_dirty(d, s);
}

/*
 * An operation was given up that writes a record of the slab, and the server may still carry it out, after later ones.
 * When that is over all records are sent again. Any thread.
 */
void depot_doubt(struct depot *d, struct slab *s);
/* Those for which it is over have changed. The thread that sends records. */
void depot_end_doubts(struct depot *d);

static inline bool depot_has_doubts(const struct depot *d)
{
	return atomic_load(&d->ndoubtful) != 0;
}

/* The server keeps the record of a slot from now on, or not any more. With a lock of the caller's. */
void depot_set_kept(struct depot *d, struct slab *s, uint32_t slot, bool kept);
/* The slab with the least id from *id on, of the class or a later one: *size_class and *id are its own. NULL: no more. */
struct slab *depot_next(struct depot *d, unsigned *size_class, uint32_t *id);

/*
 * It was lost: none of its slots is handed out any more. When all have come back, from magazines and from the program,
 * and no operation is on its way on any, its memory is for another slab (depot_reuse_lost()).
 */
void depot_lose(struct depot *d, struct slab *s);

/* Is a slab that was lost still in the session's table? */
typedef bool depot_in_use_fn(void *arg, const struct slab *s);
/* Those that were lost and can be are used again. The thread that sends records. */
void depot_reuse_lost(struct depot *d, depot_in_use_fn *in_use, void *arg);

#endif
