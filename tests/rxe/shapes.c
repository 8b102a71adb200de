/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/shapes.h"

#include <stdlib.h>
#include <string.h>

#include "tests/rxe/pattern.h"
#include "tests/rxe/rig.h"
#include "tests/support/random.h"

/* ---- a world ---- */

/* Allocations that lie in a row, which an empty pool gives sooner or later. */
static rmem_addr_t allocate_row(struct rmem *rm)
{
	rmem_addr_t addrs[4 * SHAPES_BLOCKS], row = 0;

	for (int i = 0; i < 4 * SHAPES_BLOCKS; i++)
		addrs[i] = lib_alloc(rm, SHAPES_BLOCK_BYTES);
	for (int i = 0; i < 4 * SHAPES_BLOCKS && !row; i++) {
		int followers = 0;

		for (int k = 0; k < 4 * SHAPES_BLOCKS; k++)
			followers +=
				addrs[k] > addrs[i] && addrs[k] < addrs[i] + SHAPES_REMOTE_BYTES;
		if (followers == SHAPES_BLOCKS - 1)
			row = addrs[i];
	}
	if (!row)
		fail_msg("no %d allocations are neighbours", SHAPES_BLOCKS);
	for (int i = 0; i < 4 * SHAPES_BLOCKS; i++)
		if (addrs[i] < row || addrs[i] >= row + SHAPES_REMOTE_BYTES)
			lib_succeed(rmem_free(rm, addrs[i]));
	return row;
}

void shapes_create(struct shapes *w, struct rmem *rm, uint64_t seed)
{
	*w = (struct shapes){ .rm = rm, .seed = seed };
	for (int i = 0; i < SHAPES_AREAS; i++)
		w->areas[i] = i ? lib_zeroes(SHAPES_AREA_BYTES) : lib_buffer(rm, SHAPES_AREA_BYTES);
	lib_succeed(rmem_buf_register(rm, w->areas[2] + SHAPES_HALF - 50 * KIB, 100 * KIB));
	w->local_model = lib_zeroes(SHAPES_LOCAL_BYTES);
	w->remote = allocate_row(rm);
	w->remote_model = lib_zeroes(SHAPES_REMOTE_BYTES);
	w->scratch = lib_zeroes(SHAPES_REMOTE_BYTES);
	w->shapes = lib_zeroes(SHAPES_BATCH_MAX * sizeof(*w->shapes));
}

void shapes_destroy(struct shapes *w)
{
	lib_succeed(rmem_buf_release(w->rm, w->areas[0]));
	lib_succeed(rmem_buf_release(w->rm, w->areas[2] + SHAPES_HALF - 50 * KIB));
	for (int i = 1; i < SHAPES_AREAS; i++)
		free(w->areas[i]);
	for (int i = 0; i < SHAPES_BLOCKS; i++)
		lib_succeed(rmem_free(w->rm, w->remote + i * SHAPES_BLOCK_BYTES));
	free(w->local_model);
	free(w->remote_model);
	free(w->scratch);
	free(w->shapes);
}

size_t shapes_local_offset(const struct shapes *w, const void *p)
{
	for (size_t i = 0; i < SHAPES_AREAS; i++)
		if ((uintptr_t)p - (uintptr_t)w->areas[i] < SHAPES_AREA_BYTES)
			return i * SHAPES_AREA_BYTES + (size_t)((const uint8_t *)p - w->areas[i]);
	fail_msg("%p is in no area", p);
	return 0;
}

/* ---- making shapes ---- */

/* Pieces of a list are of about one size, so that there are lists of many short ones, and of a few long. */
static size_t piece_limit(uint64_t *seed)
{
	static const size_t limits[] = { 2, 17, 130, 1100, 9000, 66000, 120000 };

	return limits[random_below(seed, sizeof(limits) / sizeof(limits[0]))];
}

static size_t some_length(uint64_t *seed, size_t limit)
{
	if (random_below(seed, 12) == 0)
		return 0;
	return random_below(seed, 4) ? random_below(seed, limit) : limit - 1;
}

static int some_pieces(uint64_t *seed)
{
	static const uint64_t limits[] = { 1, 2, 5, 40, 200, SHAPES_PIECES_MAX };

	return 1 + (int)random_below(seed, limits[random_below(seed, 6)]);
}

/* Where a local piece of at most len bytes may be; len is cut to what there is room for. */
static uint8_t *choose_place(struct shapes *w, const struct shape *s, size_t *len)
{
	size_t area = random_below(&w->seed, SHAPES_AREAS), at;

	if (s->write) {
		at = SHAPES_HALF + random_below(&w->seed, SHAPES_HALF - *len + 1);
	} else if (s->overlaps) {
		at = random_below(&w->seed, SHAPES_HALF - *len + 1);
	} else { /* nobody else's */
		w->used[area] += random_below(&w->seed, 2);
		at = w->used[area];
		*len = at >= SHAPES_HALF ? 0 : *len > SHAPES_HALF - at ? SHAPES_HALF - at : *len;
		w->used[area] += *len;
	}
	return *len ? w->areas[area] + at : NULL;
}

static void choose_local(struct shapes *w, struct shape *s, size_t total_max)
{
	size_t limit = piece_limit(&w->seed);

	s->nlocal = some_pieces(&w->seed);
	s->total = 0;
	for (int i = 0; i < s->nlocal; i++) {
		size_t len = some_length(&w->seed, limit);

		if (len > total_max - s->total)
			len = total_max - s->total;
		s->local[i].iov_base = choose_place(w, s, &len);
		s->local[i].iov_len = len;
		s->total += len;
	}
}

static size_t to_end_of_block(size_t offset)
{
	return SHAPES_BLOCK_BYTES - offset % SHAPES_BLOCK_BYTES;
}

/*
 * As many bytes remotely, in pieces of their own sizes: neighbours more often than not, often across the end
 * of an allocation. Without overlaps they go once around the row at most.
 */
static void choose_remote(struct shapes *w, struct shape *s)
{
	size_t at = random_below(&w->seed, SHAPES_REMOTE_BYTES), left = s->total;
	size_t gaps = SHAPES_REMOTE_BYTES - s->total, limit = piece_limit(&w->seed);
	int wanted = some_pieces(&w->seed);

	if (random_below(&w->seed, 2)) /* close to the end of an allocation */
		at = (1 + random_below(&w->seed, SHAPES_BLOCKS)) * SHAPES_BLOCK_BYTES - 1 -
		     random_below(&w->seed, 100);
	for (s->nremote = 0; left || s->nremote < wanted; s->nremote++) {
		bool last = s->nremote >= wanted - 1 || s->nremote > SHAPES_PIECES_MAX - 20;
		size_t len = last ? left : some_length(&w->seed, limit);
		size_t gap = random_below(&w->seed, 4) ? 0 : random_below(&w->seed, 300);

		if (s->overlaps)
			at = random_below(&w->seed, SHAPES_REMOTE_BYTES);
		else if (gap <= gaps)
			at = (at + gap) % SHAPES_REMOTE_BYTES, gaps -= gap;
		len = len > left ? left : len;
		len = len > to_end_of_block(at) ? to_end_of_block(at) : len;
		s->remote[s->nremote] = (struct rmem_iovec){ w->remote + at, len };
		if (!len && random_below(&w->seed, 2)) /* then it does not matter where */
			s->remote[s->nremote].base = random_u64(&w->seed);
		at = (at + len) % SHAPES_REMOTE_BYTES;
		left -= len;
	}
}

void shapes_make(struct shapes *w, struct shape *s, size_t total_max, bool overlaps)
{
	s->write = random_below(&w->seed, 2);
	s->overlaps = overlaps;
	choose_local(w, s, total_max);
	choose_remote(w, s);
}

void shapes_fresh_local(struct shapes *w)
{
	for (size_t i = 0; i < SHAPES_AREAS; i++) {
		pattern_fill(w->areas[i] + SHAPES_HALF, SHAPES_HALF, random_u64(&w->seed) | 1);
		memcpy(w->local_model + i * SHAPES_AREA_BYTES + SHAPES_HALF,
			w->areas[i] + SHAPES_HALF, SHAPES_HALF);
		w->used[i] = random_below(&w->seed, SHAPES_HALF / 4);
	}
}
