/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/blocks.h"

#include "client/base/barrier.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "common/size_class.h"

int blocks_init(struct blocks *t, struct heap *heap, struct depot *depot)
{
	*t = (struct blocks){ .heap = heap, .depot = depot };
	t->map = page_map_create(heap);
	return t->map ? 0 : -ENOMEM;
}

static int add_chunk(struct blocks *t)
{
	const size_t room = t->room ? t->room * 2 : 16;
	struct block *chunk, **chunks;

	if (t->nchunks == BLOCKS_CHUNKS_MAX)
		return -ENOMEM;
	if (t->nchunks == t->room) {
		chunks = heap_grow(
			t->heap, t->chunks, t->room * sizeof(*chunks), room * sizeof(*chunks));
		if (!chunks)
			return -ENOMEM;
		t->chunks = chunks;
		t->room = room;
	}
	chunk = heap_alloc(t->heap, BLOCKS_PER_CHUNK * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	for (unsigned i = BLOCKS_PER_CHUNK; i-- > 0;) {
		chunk[i].slot = (uint32_t)(t->nchunks * BLOCKS_PER_CHUNK + i);
		LL_PREPEND(t->unused, &chunk[i]);
	}
	t->chunks[t->nchunks++] = chunk;
	return 0;
}

int blocks_reserve(struct blocks *t)
{
	const int rc = t->unused ? 0 : add_chunk(t);

	return rc ? rc : page_map_reserve(t->map);
}

static bool is_over(const struct block *b)
{
	return b->state == BLOCK_STALE || b->state == BLOCK_FREED;
}

struct block *blocks_overlap(const struct blocks *t, uint64_t addr, uint64_t bytes)
{
	struct block *b = page_map_first(t->map, addr, bytes);

	/* The last byte of a block need not be the last of its page. */
	while (b && b->addr + b->bytes <= addr) {
		const uint64_t from = (addr | ((1U << PAGE_MAP_SHIFT) - 1)) + 1;

		b = addr + bytes > from ? page_map_first(t->map, from, addr + bytes - from) : NULL;
	}
	return b;
}

/* One that is not in use becomes what new says. There is one: blocks_reserve(). */
static struct block *fill(struct blocks *t, const struct block *new)
{
	struct block *b = t->unused;

	LL_DELETE(t->unused, b);
	atomic_store_explicit(&b->addr, new->addr, memory_order_relaxed);
	atomic_store_explicit(&b->bytes, new->bytes, memory_order_relaxed);
	b->serial = atomic_fetch_add(&t->serials, 1) + 1;
	b->id = new->id;
	b->state = BLOCK_LIVE;
	b->origin = new->origin;
	atomic_store_explicit(&b->slab, atomic_load_explicit(&new->slab, memory_order_relaxed),
		memory_order_release);
	if (new->attached || b->attached)
		memcpy(b->key, new->key, sizeof(b->key));
	b->attached = new->attached;
	b->shared = b->offered = false;
	b->may_free = new->may_free;
	b->node = new->node;
	b->born_ns = new->born_ns;
	b->whole = NULL;
	atomic_store_explicit(&b->foreign, NULL, memory_order_relaxed);
	atomic_store_explicit(&b->read_only, new->read_only, memory_order_relaxed);
	atomic_store_explicit(&b->live, b->serial, memory_order_release);
	return b;
}

int blocks_add(struct blocks *t, const struct block *new)
{
	int rc;

	if (!page_map_fits(new->addr, new->bytes))
		return -EINVAL;
	if (page_map_first(t->map, new->addr, new->bytes))
		return -EEXIST;
	rc = blocks_reserve(t);
	if (rc == 0)
		page_map_set(t->map, new->addr, new->bytes, fill(t, new));
	return rc;
}

/* A reader that has seen it live sees that it is not, before it can see any other block in this memory. */
static void end(struct block *b)
{
	atomic_store_explicit(&b->live, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

/* ---- objects that are attached ---- */

/* The block that stands for a slab, with its pages; *out NULL: something else is there. */
static int find_whole(
	struct blocks *t, uint64_t id, const struct foreign_slab *slab, struct block **out)
{
	struct block *first = page_map_first(t->map, slab->addr, slab->bytes);
	struct foreign *f;

	if (first) {
		*out = first->foreign && first->id == id && first->addr == slab->addr ? first
										      : NULL;
		return 0;
	}
	f = foreign_create(t->heap, &t->foreign, slab);
	if (!f)
		return -ENOMEM;
	*out = fill(
		t, &(struct block){
			   .addr = slab->addr, .bytes = slab->bytes, .id = id, .attached = true });
	end(*out);
	atomic_store_explicit(&(*out)->foreign, f, memory_order_relaxed);
	page_map_set(t->map, slab->addr, slab->bytes, *out);
	return 0;
}

/* It is over if one of its objects is; without any, it goes. */
static void update_whole(struct blocks *t, struct block *whole)
{
	struct foreign *f = whole->foreign;

	if (is_over(whole) && (!f->over || !f->attached))
		DL_DELETE(t->over, whole);
	else if (!is_over(whole) && f->over)
		DL_APPEND(t->over, whole);
	whole->state = f->over ? BLOCK_STALE : BLOCK_LIVE;
	if (f->attached)
		return;
	page_map_set(t->map, whole->addr, whole->bytes, NULL);
	foreign_release(f, &t->foreign);
	LL_PREPEND(t->unused, whole);
}

int blocks_add_object(struct blocks *t, const struct block *new, const struct foreign_slab *slab)
{
	_Atomic(struct block *) *slot;
	struct block *whole, *b;
	int rc;

	if (!page_map_fits(slab->addr, slab->bytes) || !slab_slots(slab->size_class, slab->bytes) ||
		new->addr < slab->addr || new->bytes > size_class_bytes(slab->size_class))
		return -EINVAL;
	/* For two blocks. */
	rc = blocks_reserve(t);
	if (rc == 0 && !t->unused->next)
		rc = add_chunk(t);
	if (rc == 0)
		rc = find_whole(t, new->id, slab, &whole);
	if (rc)
		return rc;
	if (!whole)
		return -EEXIST;
	slot = foreign_slot(whole->foreign, new->addr);
	rc = !slot ? -EINVAL : *slot ? -EEXIST : 0;
	if (rc == 0) {
		b = fill(t, new);
		b->whole = whole;
		whole->foreign->attached++;
		atomic_store_explicit(slot, b, memory_order_release);
	}
	update_whole(t, whole);
	return rc;
}

static void remove_object(struct blocks *t, struct block *b)
{
	struct block *whole = b->whole;

	atomic_store_explicit(foreign_slot(whole->foreign, b->addr), NULL, memory_order_release);
	whole->foreign->attached--;
	whole->foreign->over -= is_over(b);
	update_whole(t, whole);
	LL_PREPEND(t->unused, b);
}

/* ---- ends ---- */

void blocks_remove(struct blocks *t, struct block *b)
{
	end(b);
	if (b->whole) {
		remove_object(t, b);
		return;
	}
	page_map_set(t->map, b->addr, b->bytes, NULL);
	if (is_over(b))
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list with a member has a head */
		DL_DELETE(t->over, b);
	LL_PREPEND(t->unused, b);
}

void blocks_free_lost(struct blocks *t, struct block *b, bool counted)
{
	b->left = counted ? b->left - 1 : slab_count_live(b->slab);
	if (b->left == 0)
		blocks_remove(t, b);
}

/* All but what has to be seen by all threads before it goes on. */
static void change_state(struct blocks *t, struct block *b, enum block_state state)
{
	const bool was_over = is_over(b);

	b->state = (uint8_t)state;
	if (state != BLOCK_LIVE)
		end(b);
	if (b->whole) {
		b->whole->foreign->over += is_over(b) - was_over;
		update_whole(t, b->whole);
	} else if (was_over != is_over(b)) {
		if (was_over)
			DL_DELETE(t->over, b);
		else
			DL_APPEND(t->over, b);
	}
	if (state == BLOCK_STALE && b->slab)
		depot_lose(t->depot, b->slab);
}

/*
 * Its slab is lost, and a barrier was made since: a thread that frees an object from now on sees that, or its object is
 * not counted.
 */
static void count_left(struct blocks *t, struct block *b)
{
	b->left = slab_count_live(b->slab);
	if (b->left == 0)
		blocks_remove(t, b);
}

void blocks_set_state(struct blocks *t, struct block *b, enum block_state state)
{
	change_state(t, b, state);
	if (state != BLOCK_STALE || !b->slab)
		return;
	barrier_all_threads();
	count_left(t, b);
}

struct block *blocks_find_range(const struct blocks *t, uint64_t addr, uint64_t bytes)
{
	struct block *b = addr_is_remote(addr) ? page_map_get(t->map, addr) : NULL;

	if (b && b->foreign)
		b = foreign_at(b->foreign, addr);
	if (!b || addr - b->addr >= b->bytes || bytes > b->bytes - (addr - b->addr))
		return NULL;
	return b;
}

struct block *blocks_find(const struct blocks *t, uint64_t addr)
{
	struct block *b = blocks_find_range(t, addr, 0);

	return b && b->addr == addr ? b : NULL;
}

/* By number: one that is this session's own, and that it still may want; else NULL. */
static struct block *own_block(const struct blocks *t, size_t i)
{
	struct block *b = &t->chunks[i / BLOCKS_PER_CHUNK][i % BLOCKS_PER_CHUNK];

	/* Those that are not in use have no address. */
	return blocks_find(t, b->addr) == b && b->state != BLOCK_FREED && !b->attached ? b : NULL;
}

/* With one barrier for all. */
void blocks_mark_stale(struct blocks *t)
{
	const size_t n = t->nchunks * BLOCKS_PER_CHUNK;
	struct block *b;

	for (size_t i = 0; i < n; i++)
		if ((b = own_block(t, i)) != NULL)
			change_state(t, b, BLOCK_STALE);
	barrier_all_threads();
	for (size_t i = 0; i < n; i++)
		if ((b = own_block(t, i)) != NULL && b->slab)
			count_left(t, b);
}

void blocks_revive(struct blocks *t, struct block *b)
{
	b->state = BLOCK_LIVE;
	b->offered = false;
	b->serial = atomic_fetch_add(&t->serials, 1) + 1;
	atomic_store_explicit(&b->live, b->serial, memory_order_release);
}

/* An object of it that is not over, or NULL. */
static struct block *next_present_object(const struct foreign *f)
{
	for (uint32_t i = 0; i < f->slots && f->over < f->attached; i++) {
		struct block *b = f->objects[i];

		if (b && !is_over(b))
			return b;
	}
	return NULL;
}

struct block *blocks_next_present(const struct blocks *t, uint64_t addr, uint64_t bytes)
{
	const uint64_t end_addr = addr + bytes;
	struct block *b;

	while (addr < end_addr && (b = blocks_overlap(t, addr, end_addr - addr)) != NULL) {
		struct block *object = b->foreign ? next_present_object(b->foreign) : NULL;

		if (object)
			return object;
		if (!b->foreign && !is_over(b))
			return b;
		addr = b->addr + b->bytes;
	}
	return NULL;
}

/* Make room for one more: what lies between two neighbours is covered too, where that is the least. */
static unsigned join_nearest(struct range *ranges, unsigned n)
{
	unsigned at = 1;

	for (unsigned i = 2; i < n; i++)
		if (ranges[i].start - ranges[i - 1].end < ranges[at].start - ranges[at - 1].end)
			at = i;
	ranges[at - 1].end = ranges[at].end;
	memmove(&ranges[at], &ranges[at + 1], (n - at - 1) * sizeof(*ranges));
	return n - 1;
}

/* Put it where it belongs among ascending ranges, one of which may cover it by now. */
static unsigned insert(struct range *ranges, unsigned n, struct range new)
{
	unsigned at = 0;

	while (at < n && ranges[at].end <= new.start)
		at++;
	if (at < n && ranges[at].start <= new.start)
		return n;
	memmove(&ranges[at + 1], &ranges[at], (n - at) * sizeof(*ranges));
	ranges[at] = new;
	return n + 1;
}

unsigned blocks_reserved(const struct blocks *t, struct range out[AVOID_MAX])
{
	struct range ranges[AVOID_MAX + 1];
	const struct block *b;
	unsigned n = 0;

	DL_FOREACH (t->over, b) {
		n = insert(ranges, n, (struct range){ b->addr, b->addr + b->bytes });
		if (n > AVOID_MAX)
			n = join_nearest(ranges, n);
	}
	memcpy(out, ranges, n * sizeof(*ranges));
	return n;
}

bool blocks_view(const struct blocks *t, uint64_t addr, struct block_view *out)
{
	const struct block *b = addr_is_remote(addr) ? page_map_get(t->map, addr) : NULL;
	const struct foreign *f =
		b ? atomic_load_explicit(&b->foreign, memory_order_acquire) : NULL;

	if (f)
		b = foreign_at(f, addr);
	if (!b)
		return false;
	out->live = &b->live;
	out->slot = b->slot;
	out->slab = atomic_load_explicit(&b->slab, memory_order_relaxed);
	out->serial = atomic_load_explicit(&b->live, memory_order_acquire);
	out->addr = atomic_load_explicit(&b->addr, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&b->bytes, memory_order_relaxed);
	out->read_only = atomic_load_explicit(&b->read_only, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return out->serial && addr - out->addr < out->bytes &&
	       atomic_load_explicit(&b->live, memory_order_relaxed) == out->serial;
}
