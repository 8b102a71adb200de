/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks that the server has lent to a session: what every address is checked against before anything is sent.
 * They never overlap, and each page belongs to one of them at most, found through a page map.
 *
 * A block is removed by the program only, with rmem_free() or rmem_detach(). Until then its addresses mean this
 * block, also when it is gone: were they lent to the program again, what still uses them for the lost one would reach
 * the new one.
 *
 * Pure. The caller locks (client/control/session.h: table), except for blocks_view(), which any thread may call at
 * any time. A block's memory stays a block's until the heap is destroyed: a reader that is late finds another serial.
 */
#ifndef RMEM_CLIENT_CONTROL_BLOCKS_H
#define RMEM_CLIENT_CONTROL_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/base/page_map.h"
#include "client/control/foreign.h"
#include "client/slabs/depot.h"
#include "common/message.h"

enum block_state {
	BLOCK_LIVE,
	BLOCK_FREEING, /* a FREE is on its way, and may have been carried out */
	BLOCK_FREED,   /* ... and was, after its caller had given up waiting */
	BLOCK_STALE, /* the server has, or may have, reclaimed it; of an attached one: its owner has freed it */
};

/* Where it was allocated, for messages; not that of a slab. */
struct origin {
	uint32_t site;    /* the server's number; 0: unknown */
	const char *code; /* that called rmem_alloc(), as sites_code() has it; NULL: unknown */
};

/* Adding and removing one in a million is mostly cache misses: what they need is in the first line. */
struct block {
	_Atomic uint64_t live; /* serial while it may be used, else 0 */
	_Atomic uint64_t addr, bytes;
	/* how many blocks this session has had, with it: a later one has a greater */
	uint64_t serial;
	uint64_t id;        /* its serial number on the server */
	struct block *next; /* among those that are over, or among the unused */
	uint32_t slot; /* small, and its own while it is here: an index for what belongs to it */
	uint8_t state; /* enum block_state */
	bool attached; /* another session's, which shares it */
	_Atomic bool read_only; /* ... for reading only */
	bool shared;            /* this session's, and keys to it may be good */
	bool may_free;          /* others may free it; of an attached one: this session may */
	bool offered; /* FREEING, because it was offered to another session, which may have it by now */
	struct origin origin;
	struct block *prev;
	_Atomic(struct slab *) slab; /* it is one; NULL: it is one allocation */
	uint32_t left;               /* a STALE slab's objects that the program has not freed */
	uint8_t key[SHARE_KEY_SIZE]; /* of an attached one; else zero */
	uint8_t node;                /* the server's NUMA node that it lies on */
	uint64_t born_ns;            /* on the boot clock: allocated then */
	/*
	 * Attached objects have no pages of their own. A block that is never LIVE stands for the slab they are in: it has the
	 * pages, and knows the objects; it is over as long as one of them is.
	 */
	_Atomic(struct foreign *) foreign; /* of that block; else NULL */
	struct block *whole;               /* of an attached object: that block; else NULL */
} __attribute__((aligned(64)));

#define BLOCKS_PER_CHUNK 64
#define BLOCKS_CHUNKS_MAX (1U << 18) /* 16 Mi blocks: what a server keeps */

struct blocks {
	struct heap *heap;
	struct page_map *map;
	struct depot *depot;   /* of the slabs */
	struct block **chunks; /* of BLOCKS_PER_CHUNK each */
	size_t nchunks, room;
	struct block *unused;
	struct block *over;       /* STALE or FREED: the server may take these addresses for free */
	struct foreign *foreign;  /* those that are of no slab */
	_Atomic uint64_t serials; /* so far */
};

/* 0 or -ENOMEM. Everything goes with the heap. */
int blocks_init(struct blocks *t, struct heap *heap, struct depot *depot);

/* Make room, so that the next blocks_add() cannot fail for lack of memory. 0 or -ENOMEM. */
int blocks_reserve(struct blocks *t);

/*
 * Add a LIVE one, as new says: its addr, bytes, id, origin, slab, born_ns, attached, read_only and key; the rest is given
 * here. -EEXIST if it overlaps another, -EINVAL if there can be no such block, -ENOMEM.
 */
int blocks_add(struct blocks *t, const struct block *new);

/*
 * The same of an object that is attached, which begins where a slot of another session's slab does. -EEXIST also where
 * something else than objects of that slab is attached.
 */
int blocks_add_object(struct blocks *t, const struct block *new, const struct foreign_slab *slab);

void blocks_remove(struct blocks *t, struct block *b);
/* A slab that becomes STALE is lost to the depot, and removed at once where the program holds no object of it. */
void blocks_set_state(struct blocks *t, struct block *b, enum block_state state);

/*
 * The program has freed an object of a STALE slab; counted: all such calls so far have been told. Else objects are
 * counted anew: one was freed while the slab was being lost. With the last, the slab is removed.
 */
void blocks_free_lost(struct blocks *t, struct block *b, bool counted);

/* It was FREEING, and is LIVE again, as another: what was known of access to it is not true any more. */
void blocks_revive(struct blocks *t, struct block *b);

/* The first that has a byte in [addr, addr + bytes) and is not over, or NULL. */
struct block *blocks_next_present(const struct blocks *t, uint64_t addr, uint64_t bytes);

/* Ranges that cover all addresses of blocks that are over, ascending. Returns how many. O(blocks that are over). */
unsigned blocks_reserved(const struct blocks *t, struct range out[AVOID_MAX]);

/* The one that starts at / wholly contains [addr, addr + bytes), or NULL. */
struct block *blocks_find(const struct blocks *t, uint64_t addr);
struct block *blocks_find_range(const struct blocks *t, uint64_t addr, uint64_t bytes);

/* The first that has a byte in [addr, addr + bytes), or NULL. */
struct block *blocks_overlap(const struct blocks *t, uint64_t addr, uint64_t bytes);

/* Without a lock: the slab that addr is in, whatever has become of it; or NULL. */
static inline struct slab *blocks_slab(const struct blocks *t, uint64_t addr)
{
	const struct block *b = addr_is_remote(addr) ? page_map_get(t->map, addr) : NULL;

	return b ? atomic_load_explicit(&b->slab, memory_order_acquire) : NULL;
}

/* All that are this session's own. */
void blocks_mark_stale(struct blocks *t);

/* What an access has to know of a block, all as of one moment. */
struct block_view {
	uint64_t addr, bytes, serial;
	uint32_t slot;
	bool read_only;
	const struct slab *slab;      /* it is one; else NULL */
	const _Atomic uint64_t *live; /* as long as it is serial, all of this holds */
};

/* Without a lock: the LIVE block that addr is in. false: there is none. */
bool blocks_view(const struct blocks *t, uint64_t addr, struct block_view *out);

#endif
