/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/slabs/depot.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

/* What wastes least on recorded programs (bench/traces): */
#define CLASS_SHARE_LOG2 5      /* a new slab has 1/32 of what its class has, */
#define SLAB_BYTES_MIN 4096U    /* ... at least this much, */
#define SLAB_BYTES_USUAL 65536U /* ... and at most this much, */
#define DEPOT_SHARE_LOG2 8      /* ... or 1/256 of all slabs. */
#define TAIL_SHARE_LOG2 5       /* At most 1/32 of it is in no slot. */
#define EMPTY_SHARE_LOG2 7      /* Empty slabs are kept up to 1/128 of all, */
#define EMPTY_BYTES_KEPT 32768U /* ... and up to this much. */

void depot_init(struct depot *d, struct heap *heap, struct grace *grace)
{
	*d = (struct depot){ .heap = heap, .grace = grace };
	for (unsigned i = 0; i < SIZE_CLASSES; i++)
		pthread_mutex_init(&d->classes[i].lock, NULL);
	pthread_mutex_init(&d->unused_lock, NULL);
}

void depot_destroy(struct depot *d)
{
	for (unsigned i = 0; i < SIZE_CLASSES; i++)
		pthread_mutex_destroy(&d->classes[i].lock);
	pthread_mutex_destroy(&d->unused_lock);
}

static uint64_t clamp(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

/* Whole pages for about so many slots, of this length with their records, so that little is left over. */
static uint64_t cut(uint64_t slots, uint64_t slot)
{
	uint64_t best = 0, best_left = 0;

	for (uint64_t n = slots; n <= 2 * slots + 4; n++) {
		const uint64_t bytes =
			(n * slot + SLAB_PAGE_BYTES - 1) & ~(uint64_t)(SLAB_PAGE_BYTES - 1);
		const uint64_t left = bytes - n * slot;

		if (bytes > SLAB_BYTES_MAX)
			break;
		if (!best || left * best < best_left * bytes) {
			best = bytes;
			best_left = left;
		}
		if (left << TAIL_SHARE_LOG2 <= bytes)
			return bytes;
	}
	return best;
}

uint64_t depot_next_bytes(struct depot *d, unsigned size_class)
{
	struct depot_class *c = &d->classes[size_class];
	const uint64_t slot = size_class_bytes(size_class) + OBJECT_RECORD_BYTES;
	const uint64_t max =
		clamp(atomic_load_explicit(&d->bytes, memory_order_relaxed) >> DEPOT_SHARE_LOG2,
			SLAB_BYTES_USUAL, SLAB_BYTES_MAX);
	uint64_t want;

	pthread_mutex_lock(&c->lock);
	want = clamp(c->bytes >> CLASS_SHARE_LOG2, SLAB_BYTES_MIN, max);
	pthread_mutex_unlock(&c->lock);
	return cut(want > slot ? want / slot : 1, slot);
}

uint64_t depot_least_bytes(unsigned size_class)
{
	return cut(1, size_class_bytes(size_class) + OBJECT_RECORD_BYTES);
}

/* ---- with the lock of the class ---- */

static void mark_some(struct depot_class *c, uint32_t id)
{
	c->some[id / 64] |= 1ULL << id % 64;
	if (id < c->lowest)
		c->lowest = id;
}

static void mark_none(struct depot_class *c, uint32_t id)
{
	c->some[id / 64] &= ~(1ULL << id % 64);
}

/* The oldest from this id on that has free slots; room: there is none. */
static uint32_t next_some(const struct depot_class *c, uint32_t id)
{
	for (uint32_t word = id / 64; word < c->room / 64; word++) {
		uint64_t bits = c->some[word];

		if (word == id / 64)
			bits &= ~0ULL << id % 64;
		if (bits)
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return c->room;
}

/* All its slots are free, or not any more. */
static void count_empty(struct depot *d, struct depot_class *c, const struct slab *s, bool is_empty)
{
	const uint64_t bytes = slab_bytes_used(s);

	c->nempty += is_empty ? 1 : -1U;
	atomic_fetch_add_explicit(&d->empty_bytes, is_empty ? bytes : -bytes, memory_order_relaxed);
}

static unsigned take_from(
	struct depot *d, struct depot_class *c, struct slab *s, slab_item *out, unsigned want)
{
	unsigned n = 0;

	if (s->nfree == s->slots)
		count_empty(d, c, s, false);
	for (uint32_t word = 0; n < want && s->nfree; word++)
		for (; s->free[word] && n < want; s->nfree--) {
			const uint32_t bit = (uint32_t)__builtin_ctzll(s->free[word]);

			s->free[word] &= s->free[word] - 1;
			out[n++] = slab_item_make(s, word * 64 + bit);
		}
	if (!s->nfree)
		mark_none(c, s->id);
	return n;
}

static void put_into(
	struct depot *d, struct depot_class *c, struct slab *s, uint32_t slot, uint64_t period)
{
	s->free[slot / 64] |= 1ULL << slot % 64;
	if (s->nfree++ == 0)
		mark_some(c, s->id);
	if (s->nfree == s->slots)
		count_empty(d, c, s, true);
	if (s->period < period)
		s->period = period;
}

/* All its slots have come back, and it is not in its class any more. */
static void retire(struct depot *d, struct slab *s)
{
	s->period = grace_begin(d->grace);
	pthread_mutex_lock(&d->unused_lock);
	LL_PREPEND(d->over, s);
	pthread_mutex_unlock(&d->unused_lock);
}

static void put_into_lost(struct depot *d, struct slab *s, uint32_t slot)
{
	uint64_t *const word = &s->free[slot / 64];

	if (*word >> slot % 64 & 1)
		return;
	*word |= 1ULL << slot % 64;
	if (++s->nfree == s->slots)
		retire(d, s);
}

/* Room for one more id. */
static int grow(struct depot *d, struct depot_class *c)
{
	const uint32_t room = c->room ? c->room * 2 : 64;
	const size_t old_bytes = c->room * sizeof(struct slab *),
		     bytes = room * sizeof(struct slab *);
	uint64_t *some = heap_alloc(d->heap, room / 64 * sizeof(*some));
	struct slab **slabs = some ? heap_grow(d->heap, c->slabs, old_bytes, bytes) : NULL;

	if (!slabs) {
		heap_free(d->heap, some, room / 64 * sizeof(*some));
		return -ENOMEM;
	}
	if (c->room)
		memcpy(some, c->some, c->room / 64 * sizeof(*some));
	heap_free(d->heap, c->some, c->room / 64 * sizeof(*some));
	c->some = some;
	c->slabs = slabs;
	c->room = room;
	return 0;
}

static void take_out(struct depot *d, struct depot_class *c, struct slab *s)
{
	mark_none(c, s->id);
	if (s->nfree == s->slots)
		count_empty(d, c, s, false);
	c->slabs[s->id] = NULL;
	if (s->id < c->vacant)
		c->vacant = s->id;
	c->count--;
	c->bytes -= slab_bytes_used(s);
	atomic_fetch_sub_explicit(&d->bytes, slab_bytes_used(s), memory_order_relaxed);
	atomic_fetch_or(&s->state, SLAB_LOST);
}

/* ---- calls ---- */

unsigned depot_take(struct depot *d, unsigned size_class, slab_item *out, unsigned want)
{
	struct depot_class *c = &d->classes[size_class];
	unsigned n = 0;
	uint32_t id;

	pthread_mutex_lock(&c->lock);
	id = c->lowest = next_some(c, c->lowest);
	for (; n < want && id < c->room; id = next_some(c, id + 1)) {
		struct slab *s = c->slabs[id];

		if (s->period && !grace_has_ended(d->grace, s->period))
			continue;
		s->period = 0;
		n += take_from(d, c, s, out + n, want - n);
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

bool depot_put(
	struct depot *d, unsigned size_class, const slab_item *items, unsigned n, uint64_t period)
{
	struct depot_class *c = &d->classes[size_class];

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < n; i++) {
		struct slab *s = slab_item_slab(items[i]);

		if (slab_is_lost(s))
			put_into_lost(d, s, slab_item_slot(items[i]));
		else
			put_into(d, c, s, slab_item_slot(items[i]), period);
	}
	pthread_mutex_unlock(&c->lock);
	return depot_has_surplus(d);
}

static int reserve(struct depot *d, struct depot_class *c)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (c->count == c->room)
		rc = grow(d, c);
	c->count += rc == 0;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static void unreserve(struct depot_class *c)
{
	pthread_mutex_lock(&c->lock);
	c->count--;
	pthread_mutex_unlock(&c->lock);
}

/* One that was given back, with room for so many slots, and for the fewest more; or NULL. */
static struct slab *take_unused(struct depot *d, uint32_t slots)
{
	struct slab *s, **at, **best = NULL;

	pthread_mutex_lock(&d->unused_lock);
	for (at = &d->unused; *at && (!best || (*best)->room / 2 >= slots); at = &(*at)->next)
		if ((*at)->room >= slots && (!best || (*at)->room < (*best)->room))
			best = at;
	s = best ? *best : NULL;
	if (s)
		*best = s->next;
	pthread_mutex_unlock(&d->unused_lock);
	return s;
}

struct slab *depot_make_slab(struct depot *d, unsigned size_class, uint64_t bytes, bool exact)
{
	struct slab *s;

	if (reserve(d, &d->classes[size_class]))
		return NULL;
	s = take_unused(d, slab_slots(size_class, bytes));
	if (s)
		slab_reset(s, size_class, bytes);
	else
		s = slab_create(d->heap, size_class, bytes, exact);
	if (s)
		s->depot = d;
	else
		unreserve(&d->classes[size_class]);
	return s;
}

void depot_drop(struct depot *d, struct slab *s)
{
	pthread_mutex_lock(&d->unused_lock);
	LL_PREPEND(d->unused, s);
	pthread_mutex_unlock(&d->unused_lock);
}

void depot_cancel(struct depot *d, struct slab *s)
{
	unreserve(&d->classes[s->size_class]);
	depot_drop(d, s);
}

void depot_add(struct depot *d, struct slab *s)
{
	struct depot_class *c = &d->classes[s->size_class];

	pthread_mutex_lock(&c->lock);
	while (c->slabs[c->vacant])
		c->vacant++;
	s->id = c->vacant++;
	c->slabs[s->id] = s;
	c->bytes += slab_bytes_used(s);
	atomic_fetch_add_explicit(&d->bytes, slab_bytes_used(s), memory_order_relaxed);
	atomic_fetch_and(&s->state, ~(uint32_t)SLAB_LOST);
	count_empty(d, c, s, true);
	mark_some(c, s->id);
	pthread_mutex_unlock(&c->lock);
}

bool depot_has_surplus(struct depot *d)
{
	const uint64_t empty = atomic_load_explicit(&d->empty_bytes, memory_order_relaxed);

	return empty > EMPTY_BYTES_KEPT &&
	       empty > atomic_load_explicit(&d->bytes, memory_order_relaxed) >> EMPTY_SHARE_LOG2;
}

/* All slots are free, and no operation on them is on its way. */
static bool is_over(struct depot *d, const struct slab *s)
{
	return s->nfree == s->slots && (!s->period || grace_has_ended(d->grace, s->period));
}

/* The youngest: it is used last. */
static struct slab *take_empty_of(struct depot *d, struct depot_class *c)
{
	struct slab *s = NULL;

	pthread_mutex_lock(&c->lock);
	for (uint32_t id = c->nempty ? c->room : 0; id-- > 0 && !s;)
		if (c->slabs[id] && is_over(d, c->slabs[id]))
			s = c->slabs[id];
	if (s)
		take_out(d, c, s);
	pthread_mutex_unlock(&c->lock);
	return s;
}

struct slab *depot_take_empty(struct depot *d)
{
	struct slab *s = NULL;

	/* From each class in turn: one class alone would lose each slab that it is about to use again. */
	for (unsigned i = 0; i < SIZE_CLASSES && !s; i++)
		s = take_empty_of(d, &d->classes[atomic_fetch_add(&d->turn, 1) % SIZE_CLASSES]);
	return s;
}

void depot_add_dirty(struct depot *d, struct slab *s)
{
	if (!(atomic_fetch_and(&s->state, ~(uint32_t)SLAB_CLEAN) & SLAB_CLEAN))
		return;
	atomic_fetch_add(&d->unsent, 1);
	s->next_dirty = atomic_load_explicit(&d->dirty, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&d->dirty, &s->next_dirty, s))
		;
}

void depot_doubt(struct depot *d, struct slab *s)
{
	const uint64_t period = grace_begin(d->grace);

	pthread_mutex_lock(&d->unused_lock);
	s->doubt_period = period;
	if (!s->is_doubtful) {
		LL_PREPEND2(d->doubtful, s, next_doubtful);
		atomic_fetch_add(&d->ndoubtful, 1);
	}
	s->is_doubtful = true;
	pthread_mutex_unlock(&d->unused_lock);
}

void depot_end_doubts(struct depot *d)
{
	struct slab *s, *next;

	if (!depot_has_doubts(d))
		return;
	pthread_mutex_lock(&d->unused_lock);
	LL_FOREACH_SAFE2(d->doubtful, s, next, next_doubtful)
	{
		if (!grace_has_ended(d->grace, s->doubt_period))
			continue;
		LL_DELETE2(d->doubtful, s, next_doubtful);
		s->is_doubtful = false;
		for (uint32_t slot = 0; slot < s->slots; slot += SLAB_LINE_RECORDS)
			depot_touch(d, s, slot);
		atomic_fetch_sub(&d->ndoubtful, 1);
	}
	pthread_mutex_unlock(&d->unused_lock);
}

void depot_set_kept(struct depot *d, struct slab *s, uint32_t slot, bool kept)
{
	if (slab_set_kept(s, slot, kept))
		atomic_fetch_add(&d->kept, kept ? 1 : -1U);
}

struct slab *depot_next(struct depot *d, unsigned *size_class, uint32_t *id)
{
	struct slab *s = NULL;

	for (; *size_class < SIZE_CLASSES; ++*size_class, *id = 0) {
		struct depot_class *c = &d->classes[*size_class];

		pthread_mutex_lock(&c->lock);
		while (*id < c->room && !c->slabs[*id])
			++*id;
		s = *id < c->room ? c->slabs[*id] : NULL;
		pthread_mutex_unlock(&c->lock);
		if (s)
			return s;
	}
	return NULL;
}

void depot_lose(struct depot *d, struct slab *s)
{
	struct depot_class *c = &d->classes[s->size_class];

	pthread_mutex_lock(&c->lock);
	/* One that is being given back has left its class already. */
	if (!slab_is_lost(s)) {
		take_out(d, c, s);
		if (s->nfree == s->slots)
			retire(d, s);
	}
	pthread_mutex_unlock(&c->lock);
	atomic_fetch_sub(&d->kept, slab_forget_kept(s));
}

void depot_reuse_lost(struct depot *d, depot_in_use_fn *in_use, void *arg)
{
	struct slab *all, *s, *next;

	pthread_mutex_lock(&d->unused_lock);
	all = d->over;
	d->over = NULL;
	pthread_mutex_unlock(&d->unused_lock);
	LL_FOREACH_SAFE (all, s, next) {
		const bool wanted = !grace_has_ended(d->grace, s->period) || in_use(arg, s);

		pthread_mutex_lock(&d->unused_lock);
		if (wanted)
			LL_PREPEND(d->over, s);
		else
			LL_PREPEND(d->unused, s);
		pthread_mutex_unlock(&d->unused_lock);
	}
}
