/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/slab_model.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <utlist.h>

#include "common/size_class.h"

#define REGION_BYTES (1ULL << 36) /* addresses, not memory; none is used twice */
#define TAIL_SHARE 32U            /* a tail of 1/32 of a slab is small enough */

const struct slab_policy slab_policy_shares = { .slab_bytes_min = 4096,
	.slab_bytes_max = 65536,
	.share = 16,
	.kept_share = 128,
	.magazine_bytes = 2048,
	.object_bytes_max = 8192 };
const struct slab_policy slab_policy_fixed = { .slab_bytes_min = 65536,
	.slab_bytes_max = 65536,
	.share = 1,
	.kept_share = 16,
	.magazine_bytes = 65536,
	.object_bytes_max = OBJECT_BYTES_MAX };

struct slab {
	struct slab *prev,
		*next; /* in its class's list with_room, in empty, or, if it is full, in none */
	char *memory;
	uint32_t bytes, slots, held;
	uint32_t lowest; /* no slot below is free */
	unsigned size_class;
	bool taken[]; /* slots */
};

struct magazine {
	uint32_t n;
	char *slot[MAGAZINE_SLOTS];
};

static struct {
	struct slab_policy policy;
	char *region;
	struct slab **slab_of_page;
	uint64_t region_used, footprint, empty_bytes;
	struct slab *empty; /* oldest first */
	struct {
		struct slab *with_room; /* slots are taken from the first */
		uint64_t bytes;
	} of_class[SIZE_CLASSES];
} model;

static __thread struct magazine magazines[SIZE_CLASSES];

static uint32_t whole_pages(uint64_t bytes)
{
	return (uint32_t)((bytes + SLAB_PAGE_BYTES - 1) & ~(uint64_t)(SLAB_PAGE_BYTES - 1));
}

uint32_t slab_policy_length(const struct slab_policy *p, unsigned size_class, uint64_t class_bytes)
{
	const uint64_t one = size_class_bytes(size_class) + OBJECT_RECORD_BYTES;
	const uint64_t share = class_bytes / p->share;
	const uint64_t want = share < p->slab_bytes_min   ? p->slab_bytes_min
			      : share > p->slab_bytes_max ? p->slab_bytes_max
							  : share;
	const uint64_t least = want >= one ? want / one : 1;
	uint32_t best = 0;
	uint64_t best_tail = 1; /* of best bytes: all of it */

	for (uint64_t n = least; n <= 2 * least + 4; n++) {
		const uint32_t bytes = whole_pages(n * one);
		const uint64_t tail = bytes % one;

		if (best == 0 || tail * best < best_tail * bytes) {
			best = bytes;
			best_tail = tail;
		}
		if (best_tail * TAIL_SHARE <= best)
			break;
	}
	return best;
}

static void *map(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int slab_model_open(const struct slab_policy *p)
{
	model.policy = *p;
	if (!model.region)
		model.region = map(REGION_BYTES);
	if (!model.slab_of_page)
		model.slab_of_page =
			map(REGION_BYTES / SLAB_PAGE_BYTES * sizeof(*model.slab_of_page));
	return model.region && model.slab_of_page ? 0 : -ENOMEM;
}

/* ---- runs of pages ---- */

static char *run_get(uint64_t bytes, uint64_t align)
{
	const uint64_t at = (model.region_used + align - 1) & ~(align - 1);

	if (at > REGION_BYTES || bytes > REGION_BYTES - at)
		return NULL;
	model.region_used = at + bytes;
	model.footprint += bytes;
	return model.region + at;
}

static void run_put(char *run, uint64_t bytes)
{
	madvise(run, bytes, MADV_DONTNEED);
	model.footprint -= bytes;
}

static struct slab **slab_at(const char *p)
{
	return &model.slab_of_page[(uint64_t)(p - model.region) / SLAB_PAGE_BYTES];
}

/* ---- slabs ---- */

static struct slab *slab_make(unsigned size_class)
{
	const uint32_t bytes =
		slab_policy_length(&model.policy, size_class, model.of_class[size_class].bytes);
	const uint32_t slots = slab_slots(size_class, bytes);
	struct slab *s = calloc(1, sizeof(*s) + slots);

	if (!s)
		return NULL;
	s->memory = run_get(bytes, SLAB_PAGE_BYTES);
	if (!s->memory) {
		free(s);
		return NULL;
	}
	s->bytes = bytes;
	s->slots = slots;
	s->size_class = size_class;
	for (uint32_t at = 0; at < bytes; at += SLAB_PAGE_BYTES)
		*slab_at(s->memory + at) = s;
	model.of_class[size_class].bytes += bytes;
	return s;
}

static void slab_give_back(struct slab *s)
{
	for (uint32_t at = 0; at < s->bytes; at += SLAB_PAGE_BYTES)
		*slab_at(s->memory + at) = NULL;
	model.of_class[s->size_class].bytes -= s->bytes;
	run_put(s->memory, s->bytes);
	free(s);
}

/* One of this class, if it can be had: with room, empty, new. */
static struct slab *slab_with_room(unsigned size_class)
{
	struct slab **list = &model.of_class[size_class].with_room, *s;

	if (*list)
		return *list;
	DL_SEARCH_SCALAR(model.empty, s, size_class, size_class);
	if (s) {
		DL_DELETE(model.empty, s);
		model.empty_bytes -= s->bytes;
	} else {
		s = slab_make(size_class);
	}
	if (s)
		DL_APPEND(*list, s);
	return s;
}

static char *slot_take(unsigned size_class)
{
	struct slab *s = slab_with_room(size_class);
	uint32_t slot;

	if (!s)
		return NULL;
	slot = s->lowest;
	while (s->taken[slot])
		slot++;
	s->taken[slot] = true;
	s->lowest = slot + 1;
	if (++s->held == s->slots)
		DL_DELETE(model.of_class[size_class].with_room, s);
	return s->memory + (uint64_t)slot * size_class_bytes(size_class);
}

static void slot_give(char *p)
{
	struct slab *s = *slab_at(p), **list = &model.of_class[s->size_class].with_room;
	const uint32_t slot = (uint32_t)(p - s->memory) / size_class_bytes(s->size_class);

	s->taken[slot] = false;
	s->lowest = slot < s->lowest ? slot : s->lowest;
	if (s->held-- == s->slots)
		DL_APPEND(*list, s);
	if (s->held > 0)
		return;
	DL_DELETE(*list, s);
	DL_APPEND(model.empty, s);
	model.empty_bytes += s->bytes;
	while (model.empty_bytes > model.footprint / model.policy.kept_share) {
		struct slab *oldest = model.empty;

		DL_DELETE(model.empty, oldest);
		model.empty_bytes -= oldest->bytes;
		slab_give_back(oldest);
	}
}

/* ---- magazines ---- */

static uint32_t magazine_slots(unsigned size_class)
{
	const uint32_t n = model.policy.magazine_bytes / size_class_bytes(size_class);

	return n < MAGAZINE_SLOTS ? n : MAGAZINE_SLOTS;
}

static void magazine_empty(struct magazine *m, uint32_t keep)
{
	while (m->n > keep)
		slot_give(m->slot[--m->n]);
}

static char *magazine_take(unsigned size_class)
{
	const uint32_t batch = magazine_slots(size_class) / 2;
	struct magazine *m = &magazines[size_class];
	char *p;

	if (m->n == 0)
		while (m->n < batch && (p = slot_take(size_class)))
			m->slot[m->n++] = p;
	return m->n > 0 ? m->slot[--m->n] : slot_take(size_class);
}

static void magazine_give(unsigned size_class, char *p)
{
	const uint32_t slots = magazine_slots(size_class);
	struct magazine *m = &magazines[size_class];

	if (slots < 2) {
		slot_give(p);
		return;
	}
	if (m->n == slots)
		magazine_empty(m, slots / 2);
	m->slot[m->n++] = p;
}

/* ---- objects ---- */

static unsigned class_of(size_t bytes, size_t align)
{
	return bytes <= model.policy.object_bytes_max ? size_class_of(bytes, align) : 0;
}

void *slab_model_alloc(size_t bytes, size_t align)
{
	const unsigned size_class = class_of(bytes, align);

	return size_class ? magazine_take(size_class)
			  : run_get(whole_pages(bytes),
				    align > SLAB_PAGE_BYTES ? align : SLAB_PAGE_BYTES);
}

void slab_model_free(void *p, size_t bytes)
{
	struct slab *s = *slab_at(p);

	if (s)
		magazine_give(s->size_class, p);
	else
		run_put(p, whole_pages(bytes));
}

void *slab_model_resize(void *p, size_t old_bytes, size_t bytes)
{
	const struct slab *s = *slab_at(p);
	const unsigned size_class = class_of(bytes, 1);
	void *q;

	if (s ? s->size_class == size_class
	      : size_class == 0 && whole_pages(bytes) == whole_pages(old_bytes))
		return p;
	q = slab_model_alloc(bytes, 1);
	if (!q)
		return NULL;
	memcpy(q, p, bytes < old_bytes ? bytes : old_bytes);
	slab_model_free(p, old_bytes);
	return q;
}

uint64_t slab_model_footprint(void)
{
	return model.footprint;
}

void slab_model_flush(void)
{
	for (unsigned c = 1; c < SIZE_CLASSES; c++)
		magazine_empty(&magazines[c], 0);
}
