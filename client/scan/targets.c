/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/targets.h"

#include <errno.h>
#include <string.h>

#include "common/addr.h"

#define BITS 64U
#define GROUP 16U /* searches that go side by side, so that they wait for memory together */
#define STRAY_SLOTS ((size_t)TARGETS_STRAYS_MAX * 2) /* a power of 2 */

static uint64_t length_of(const struct target *t)
{
	return t->bytes ? t->bytes : 1;
}

static size_t words_for(size_t n)
{
	return (n + BITS - 1) / BITS;
}

static size_t samples_for(size_t n)
{
	return (n + TARGETS_STEP - 1) / TARGETS_STEP;
}

static bool in_order(const struct target *list, size_t n)
{
	uint64_t reached = 0;

	for (size_t i = 0; i < n; i++) {
		const uint64_t last = list[i].addr + (length_of(&list[i]) - 1);

		if (!addr_is_remote(list[i].addr) || last < list[i].addr || !addr_is_remote(last) ||
			(i && list[i].addr <= reached))
			return false;
		reached = last;
	}
	return true;
}

static int prepare(struct targets *t)
{
	const size_t n = t->nblocks;

	t->strays = heap_alloc(t->heap, STRAY_SLOTS * sizeof(uint64_t));
	if (!t->strays)
		return -ENOMEM;
	if (!n)
		return 0;
	t->samples = heap_alloc(t->heap, samples_for(n) * sizeof(uint64_t));
	t->starts = heap_alloc(t->heap, words_for(n) * sizeof(uint64_t));
	t->interiors = heap_alloc(t->heap, words_for(n) * sizeof(uint64_t));
	if (!t->samples || !t->starts || !t->interiors)
		return -ENOMEM;
	for (size_t i = 0; i < n; i += TARGETS_STEP)
		t->samples[i / TARGETS_STEP] = t->blocks[i].addr;
	return 0;
}

int targets_init(struct targets *t, struct heap *heap, const struct target *blocks, size_t nblocks,
	const struct target *spans, size_t nspans)
{
	*t = (struct targets){ .heap = heap, .blocks = blocks, .nblocks = nblocks };
	t->spans = spans;
	t->nspans = nspans;
	if (!in_order(blocks, nblocks) || !in_order(spans, nspans))
		return -EINVAL;
	return prepare(t);
}

void targets_destroy(struct targets *t)
{
	if (!t->heap)
		return;
	heap_free(t->heap, t->samples, samples_for(t->nblocks) * sizeof(uint64_t));
	heap_free(t->heap, t->starts, words_for(t->nblocks) * sizeof(uint64_t));
	heap_free(t->heap, t->interiors, words_for(t->nblocks) * sizeof(uint64_t));
	heap_free(t->heap, t->strays, STRAY_SLOTS * sizeof(uint64_t));
	*t = (struct targets){ 0 };
}

/* The last of n, at least one, that begins at or before addr; or the first. */
static size_t last_target(const struct target *list, size_t n, uint64_t addr)
{
	size_t at = 0;

	while (n > 1) {
		const size_t half = n / 2;

		at += list[at + half].addr <= addr ? half : 0;
		n -= half;
	}
	return at;
}

static bool in_span(const struct targets *t, uint64_t addr)
{
	const struct target *s;

	if (!t->nspans || addr < t->spans[0].addr)
		return false;
	s = &t->spans[last_target(t->spans, t->nspans, addr)];
	return addr - s->addr < length_of(s);
}

static void keep_stray(struct targets *t, uint64_t addr)
{
	size_t at;

	if (!in_span(t, addr))
		return;
	at = (size_t)(addr * 0x9e3779b97f4a7c15ULL >> 32) & (STRAY_SLOTS - 1);
	while (t->strays[at] && t->strays[at] != addr)
		at = (at + 1) & (STRAY_SLOTS - 1);
	if (t->strays[at] == addr)
		return;
	if (t->nstrays == TARGETS_STRAYS_MAX) {
		t->strays_lost++;
		return;
	}
	t->strays[at] = addr;
	t->nstrays++;
}

/* The block at or before each word; or the first block. */
static void locate(const struct targets *t, const uint64_t *words, unsigned n, size_t at[GROUP])
{
	size_t left = samples_for(t->nblocks);

	memset(at, 0, n * sizeof(*at));
	while (left > 1) {
		const size_t half = left / 2;

		for (unsigned k = 0; k < n; k++)
			at[k] += t->samples[at[k] + half] <= words[k] ? half : 0;
		left -= half;
	}
	for (unsigned k = 0; k < n; k++)
		at[k] *= TARGETS_STEP;
	for (size_t half = TARGETS_STEP / 2; half; half /= 2) {
		for (unsigned k = 0; k < n; k++) {
			const size_t next = at[k] + half < t->nblocks ? at[k] + half : at[k];

			at[k] = t->blocks[next].addr <= words[k] ? next : at[k];
		}
	}
}

static void meet(struct targets *t, uint64_t addr, size_t at)
{
	const struct target *b = &t->blocks[at];

	if (addr == b->addr)
		t->starts[at / BITS] |= 1ULL << at % BITS;
	else if (addr > b->addr && addr - b->addr < length_of(b))
		t->interiors[at / BITS] |= 1ULL << at % BITS;
	else
		keep_stray(t, addr);
}

static void meet_group(struct targets *t, const uint64_t *words, unsigned n)
{
	size_t at[GROUP];

	locate(t, words, n, at);
	for (unsigned k = 0; k < n; k++)
		meet(t, words[k], at[k]);
}

void targets_meet(struct targets *t, const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n && t->nblocks; i += GROUP)
		meet_group(t, words + i, n - i < GROUP ? (unsigned)(n - i) : GROUP);
	for (size_t i = 0; i < n && !t->nblocks; i++)
		keep_stray(t, words[i]);
}

bool targets_start_met(const struct targets *t, size_t i)
{
	return t->starts[i / BITS] >> i % BITS & 1;
}

bool targets_interior_met(const struct targets *t, size_t i)
{
	return t->interiors[i / BITS] >> i % BITS & 1;
}

size_t targets_strays(const struct targets *t, uint64_t out[TARGETS_STRAYS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < STRAY_SLOTS; i++)
		if (t->strays[i])
			out[n++] = t->strays[i];
	return n;
}
